/**
 * Lines, braces and columns, whatever stands in them. In: texts with their comments. Out: one text. Separate
 * from the printers of nodes, which say what the texts are.
 */
import type * as ast from "../../syntax/ast.ts";
import { documented } from "./trivia.ts";

export const width = 120;
export const step = 2;

/** A line, or several, of a body; `cells` are there where it is one line that may be aligned. */
export interface Entry {
  readonly text: string;
  readonly trivia?: ast.Trivia;
  readonly doc?: string;
  /** `///` directly above it would be its doc. */
  readonly documented?: boolean;
  readonly cells?: readonly string[];
  readonly columns?: Columns;
}

/** What is aligned with what: neighbours of one kind, as long as no cell of a column is longer than another by more than its slack. */
export interface Columns {
  readonly kind: string;
  readonly slack: readonly number[];
  /** The first cell is a word of the language: these are as wide as each other whatever follows, and equal ones are closer kin. */
  readonly words?: boolean;
}

/** Entries on their lines, each with what belongs to it, without a newline at the end. */
export function body(entries: readonly Entry[], indent: number, inner: readonly ast.Comment[]): string {
  const pad = " ".repeat(indent);
  const texts = align(entries, width - indent);
  const trailing = trailingComments(entries, texts, width - indent);
  const out: string[] = [];
  const blank = (): void => {
    if (out.length > 0 && out[out.length - 1] !== "") out.push("");
  };
  const comments = (list: readonly ast.Comment[]): void => {
    for (const comment of list) {
      if (comment.blankBefore) blank();
      out.push(`${pad}//${comment.text}`);
    }
  };
  entries.forEach((entry, i) => {
    const { trivia, doc } = entry;
    comments(trivia?.leading ?? []);
    // A comment that is no doc stays none.
    const apart = entry.documented && /^\/(?!\/)/.test(trivia?.leading.at(-1)?.text ?? "");
    if (trivia?.blankBefore === true || apart) blank();
    for (const line of doc?.split("\n") ?? [])
      out.push(`${pad}///${line === "" ? "" : " "}${line}`.trimEnd());
    out.push(`${pad}${texts[i]}${trailing[i]}`);
  });
  comments(inner);
  return out.join("\n");
}

export function braces(
  entries: readonly Entry[],
  indent: number,
  inner: readonly ast.Comment[] = [],
): string {
  if (entries.length === 0 && inner.length === 0) return "{}";
  return `{\n${body(entries, indent + step, inner)}\n${" ".repeat(indent)}}`;
}

/** One line if it fits, else an element a line with a comma after each. */
export function group(
  open: string,
  items: readonly Entry[],
  close: string,
  comments: boolean,
  inner: readonly ast.Comment[],
  indent: number,
  column: number,
  tail: number,
): string {
  const flat = `${open}${items.map((i) => i.text).join(", ")}${close}`;
  const fits = !flat.includes("\n") && column + flat.length + tail <= width;
  if ((fits || items.length === 0) && !comments && inner.length === 0) return flat;
  const pad = " ".repeat(indent);
  const joined = items.map((i) => i.text).join(", ");
  // All of them on a line of their own, before each is on one.
  if (!comments && inner.length === 0 && !joined.includes("\n") && indent + step + joined.length <= width) {
    return `${open}\n${pad}${" ".repeat(step)}${joined}\n${pad}${close}`;
  }
  const list = items.map((i) => ({ ...i, text: `${i.text},` }));
  return `${open}\n${body(list, indent + step, inner)}\n${" ".repeat(indent)}${close}`;
}

export function hasComments(node: ast.Node): boolean {
  const { trivia } = node;
  return (
    trivia !== undefined &&
    (trivia.leading.length > 0 || trivia.inner.length > 0 || trivia.trailing !== undefined)
  );
}

export function triviaOf(node: ast.Node): Pick<Entry, "trivia" | "doc" | "documented"> {
  const doc = "doc" in node ? node.doc : undefined;
  return {
    ...(documented.has(node.kind) ? { documented: true } : {}),
    ...(node.trivia === undefined ? {} : { trivia: node.trivia }),
    ...(doc === undefined ? {} : { doc }),
  };
}

/** The length of a text's last line. */
export function lastLine(text: string): number {
  return text.length - text.lastIndexOf("\n") - 1;
}

/** The column behind a text that began at `column`. */
export function after(column: number, text: string): number {
  return text.includes("\n") ? lastLine(text) : column + text.length;
}

/** A comment that trails a line stands two blanks behind it; those of neighbouring lines stand below each other. */
function trailingComments(entries: readonly Entry[], texts: readonly string[], room: number): string[] {
  const out = entries.map(({ trivia }) =>
    trivia?.trailing === undefined ? "" : `  //${trivia.trailing.text}`,
  );
  const joins = (i: number): boolean => {
    const { trivia, doc } = entries[i];
    return out[i] !== "" && doc === undefined && trivia?.blankBefore === false && trivia.leading.length === 0;
  };
  for (let from = 0, to: number; from < entries.length; from = to) {
    to = from + 1;
    if (out[from] === "") continue;
    while (to < entries.length && joins(to)) to++;
    const ends = texts.slice(from, to).map(lastLine);
    const column = Math.max(...ends);
    if (ends.some((end, i) => column + out[from + i].length > room && end < column)) continue;
    for (let i = from; i < to; i++) out[i] = " ".repeat(column - ends[i - from]) + out[i];
  }
  return out;
}

/** The entries' texts, with the cells of neighbours of one kind in columns. */
function align(entries: readonly Entry[], room: number): string[] {
  const texts = entries.map((e) => e.text);
  entries = evenWords(entries);
  for (let from = 0, to: number; from < entries.length; from = to) {
    const { columns } = entries[from];
    to = from + 1;
    if (columns === undefined) continue;
    let { low, high } = widths(entries[from]);
    for (; to < entries.length && alignable(entries[from], entries[to]); to++) {
      const own = widths(entries[to]);
      const shorter = least(low, own.low);
      const longer = most(high, own.high);
      const kin = !columns.words || entries[to].cells?.[0] === entries[from].cells?.[0];
      if (longer.some((w, c) => w - (shorter[c] ?? w) > columns.slack[c] / (kin ? 1 : 2))) break;
      low = shorter;
      high = longer;
    }
    if (to === from + 1 && !columns.words) continue;
    const padded = entries.slice(from, to).map(({ cells = [] }) => {
      const last = cells.findLastIndex((cell) => cell !== "");
      return cells
        .slice(0, last + 1)
        .map((cell, c) => (c === last ? cell : cell.padEnd(high[c])))
        .join(" ");
    });
    if (padded.some((line) => line.length > room)) continue;
    for (let i = from; i < to; i++) texts[i] = padded[i - from];
  }
  return texts;
}

/** Neighbours' words as wide as each other. */
function evenWords(entries: readonly Entry[]): readonly Entry[] {
  const out = [...entries];
  for (let from = 0, to: number; from < entries.length; from = to) {
    to = from + 1;
    if (!entries[from].columns?.words) continue;
    while (to < entries.length && alignable(entries[from], entries[to])) to++;
    const run = entries.slice(from, to);
    const widest = Math.max(...run.map(({ cells = [] }) => cells[0].length));
    run.forEach((e, i) => {
      const [word, ...rest] = e.cells ?? [];
      if (!e.text.includes("\n")) out[from + i] = { ...e, cells: [word.padEnd(widest), ...rest] };
    });
  }
  return out;
}

/** Of all cells that something follows: the last needs no padding. A cell that is not there counts for nothing. */
function widths({ cells = [] }: Entry): { low: readonly (number | undefined)[]; high: readonly number[] } {
  const last = cells.findLastIndex((cell) => cell !== "");
  const own = cells.slice(0, -1).map((cell, c) => (c < last ? cell.length : undefined));
  return { low: own, high: own.map((w) => w ?? 0) };
}

const least = (
  a: readonly (number | undefined)[],
  b: readonly (number | undefined)[],
): (number | undefined)[] => a.map((w, c) => (w === undefined ? b[c] : Math.min(w, b[c] ?? w)));
const most = (a: readonly number[], b: readonly number[]): number[] => a.map((w, c) => Math.max(w, b[c]));

function alignable(first: Entry, entry: Entry): boolean {
  if (entry.cells === undefined || entry.columns?.kind !== first.columns?.kind || entry.doc !== undefined)
    return false;
  if (entry.trivia !== undefined && (entry.trivia.blankBefore || entry.trivia.leading.length > 0))
    return false;
  return !entry.text.includes("\n") && !first.text.includes("\n");
}
