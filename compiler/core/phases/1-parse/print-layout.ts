/**
 * Lines, braces and columns, whatever stands in them. In: texts with their comments. Out: one text. Separate
 * from the printers of nodes, which say what the texts are.
 */
import type * as ast from "../../syntax/ast.ts";

export const width = 110;
export const step = 2;

/** A line, or several, of a body; `cells` are there where it is one line that may be aligned. */
export interface Entry {
  readonly text: string;
  readonly trivia?: ast.Trivia;
  readonly doc?: string;
  readonly cells?: readonly string[];
  readonly group?: string;
}

/** Entries on their lines, each with what belongs to it, without a newline at the end. */
export function body(entries: readonly Entry[], indent: number, inner: readonly ast.Comment[]): string {
  const pad = " ".repeat(indent);
  const texts = align(entries, width - indent);
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
    if (trivia?.blankBefore === true) blank();
    for (const line of doc?.split("\n") ?? [])
      out.push(`${pad}///${line === "" ? "" : " "}${line}`.trimEnd());
    const trailing = trivia?.trailing === undefined ? "" : ` //${trivia.trailing.text}`;
    out.push(`${pad}${texts[i]}${trailing}`);
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

export function triviaOf(node: ast.Node): { readonly trivia?: ast.Trivia; readonly doc?: string } {
  const doc = "doc" in node ? node.doc : undefined;
  return {
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

/** A name this much longer than its neighbours' begins a run of its own. */
const maxPadding = 4;

/** The entries' texts, with the cells of neighbours of one group in columns. */
function align(entries: readonly Entry[], room: number): string[] {
  const texts = entries.map((e) => e.text);
  let from = 0;
  while (from < entries.length) {
    const columns = (entries[from].cells?.length ?? 0) - 1;
    let low = widths(entries[from], columns);
    let high = low;
    let to = from + 1;
    for (; to < entries.length && alignable(entries[from], entries[to]); to++) {
      const own = widths(entries[to], columns);
      const shorter = low.map((w, c) => Math.min(w, own[c]));
      const longer = high.map((w, c) => Math.max(w, own[c]));
      const limit = entries[from].group === "bind" ? maxPadding : 4 * maxPadding;
      if (longer.some((w, c) => w - shorter[c] > limit)) break;
      low = shorter;
      high = longer;
    }
    if (to > from + 1) {
      const padded = entries
        .slice(from, to)
        .map((e) => (e.cells ?? []).map((t, c) => t.padEnd(high[c] ?? 0)).join(" "));
      if (padded.every((line) => line.length <= room)) {
        for (let i = from; i < to; i++) texts[i] = padded[i - from];
      }
    }
    from = to;
  }
  return texts;
}

/** Of all cells but the last, which needs no padding. */
function widths(entry: Entry, columns: number): number[] {
  return (entry.cells ?? []).slice(0, Math.max(0, columns)).map((cell) => cell.length);
}

function alignable(first: Entry, entry: Entry): boolean {
  if (entry.cells === undefined || entry.group !== first.group || entry.doc !== undefined) return false;
  if (entry.trivia !== undefined && (entry.trivia.blankBefore || entry.trivia.leading.length > 0))
    return false;
  return !entry.text.includes("\n") && !first.text.includes("\n");
}
