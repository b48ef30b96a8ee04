/**
 * Diagnostics for people and for tools. In: diagnostics and the texts they point into. Out: text with source
 * lines and carets, or JSON. Separate from report.ts because only hosts render.
 */
import type { Diagnostic, Label, Sources } from "./report.ts";
import { LineMap, type Span } from "./span.ts";

/** Colours, given by a host with a terminal; each takes text and gives it back wrapped. */
export interface Painter {
  readonly error: (text: string) => string;
  readonly warning: (text: string) => string;
  /** The message, and labels of the primary place are painted as `error` or `warning`. */
  readonly strong: (text: string) => string;
  /** Labels of further places. */
  readonly secondary: (text: string) => string;
  /** Line numbers and rules. */
  readonly gutter: (text: string) => string;
  readonly help: (text: string) => string;
}

const identity = (text: string): string => text;
export const plain: Painter = {
  error: identity,
  warning: identity,
  strong: identity,
  secondary: identity,
  gutter: identity,
  help: identity,
};

/** Longer source lines are shown as a window around the place. */
const maxLineWidth = 120;

interface Mark {
  readonly label: Label;
  readonly primary: boolean;
  readonly line: number;
  readonly column: number;
  /** Length on the first line in UTF-16 units; the rest of a longer span is shown by an ellipsis. */
  readonly length: number;
  readonly continues: boolean;
}

/** Renders many, one blank line between them. Line maps are built once per file. */
export function renderAll(
  diagnostics: readonly Diagnostic[],
  sources: Sources,
  paint: Painter = plain,
): string {
  const maps = lineMaps(sources);
  return diagnostics.map((d) => renderWith(d, maps, paint)).join("\n");
}

export function render(d: Diagnostic, sources: Sources, paint: Painter = plain): string {
  return renderWith(d, lineMaps(sources), paint);
}

type Maps = (file: string) => LineMap | undefined;

function lineMaps(sources: Sources): Maps {
  const cache = new Map<string, LineMap | undefined>();
  return (file) => {
    if (!cache.has(file)) {
      const text = sources(file);
      cache.set(file, text === undefined ? undefined : new LineMap(text));
    }
    return cache.get(file);
  };
}

function renderWith(d: Diagnostic, maps: Maps, paint: Painter): string {
  const lead = d.severity === "error" ? paint.error : paint.warning;
  const out = [`${lead(`${d.severity}[${d.code}]`)}${paint.strong(`: ${printable(d.message)}`)}`];
  const inPath = d.path === undefined ? "" : `in ${d.path}`;
  const primaryText = [d.primary.text, inPath].filter((s) => s !== "").join(", ");
  const labels: [Label, boolean][] = [
    [{ span: d.primary.span, text: primaryText }, true],
    ...d.secondary.map((l): [Label, boolean] => [l, false]),
  ];

  // One block per file, the primary's first.
  const files: string[] = [];
  for (const [l] of labels) if (!files.includes(l.span.file)) files.push(l.span.file);
  const blocks = files.map((file) => {
    const map = maps(file);
    return { file, map, labels: labels.filter(([l]) => l.span.file === file) };
  });
  let gutter = 1;
  for (const b of blocks) {
    for (const [l] of b.labels) {
      if (b.map !== undefined) gutter = Math.max(gutter, String(b.map.position(l.span.start).line).length);
    }
  }

  for (const b of blocks) {
    const head = b.labels.find(([, primary]) => primary) ?? b.labels[0];
    out.push(`${paint.gutter(`${" ".repeat(gutter)} ┌─`)} ${place(head[0].span, b.map)}`);
    if (b.map === undefined) {
      // The text is gone: say the words without the lines.
      for (const [l] of b.labels) {
        if (l.text !== "") out.push(`${paint.gutter(`${" ".repeat(gutter)} │`)} ${printable(l.text)}`);
      }
    } else out.push(...renderLines(marks(b.map, b.labels), b.map, gutter, lead, paint));
  }

  const rule = paint.gutter(`${" ".repeat(gutter)} =`);
  for (const call of d.calls) out.push(`${rule} called at ${place(call, maps(call.file))}`);
  for (const note of d.notes) out.push(`${rule} note: ${printable(note)}`);
  if (d.help !== undefined) out.push(`${rule} ${paint.help("help:")} ${printable(d.help)}`);
  return `${out.join("\n")}\n`;
}

function place(at: Span, map: LineMap | undefined): string {
  if (map === undefined) return printable(at.file);
  const { line, column } = map.position(at.start);
  return `${printable(at.file)}:${line}:${column}`;
}

function marks(map: LineMap, labels: readonly (readonly [Label, boolean])[]): Mark[] {
  return labels
    .map(([label, primary]): Mark => {
      const start = map.position(label.span.start);
      const end = map.position(Math.max(label.span.start, label.span.end));
      const continues = end.line > start.line;
      const lineLength = map.line(start.line).length;
      const stop = continues ? Math.max(start.column, lineLength + 1) : end.column;
      const length = Math.max(1, stop - start.column);
      return { label, primary, line: start.line, column: start.column, length, continues };
    })
    .sort((a, b) => a.line - b.line || a.column - b.column || Number(b.primary) - Number(a.primary));
}

function renderLines(
  list: readonly Mark[],
  map: LineMap,
  gutter: number,
  lead: (text: string) => string,
  paint: Painter,
): string[] {
  const out: string[] = [];
  let previous = 0;
  for (const line of new Set(list.map((m) => m.line))) {
    const here = list.filter((m) => m.line === line);
    if (previous !== 0 && line > previous + 1) out.push(paint.gutter(`${" ".repeat(gutter)} ⋮`));
    previous = line;
    const shown = cutout(map.line(line), here);
    out.push(`${paint.gutter(`${String(line).padStart(gutter)} │`)} ${shown.text}`.trimEnd());
    for (const m of here) {
      const from = shown.column(m.column - 1);
      const to = Math.max(from + 1, shown.column(m.column - 1 + m.length));
      const tone = m.primary ? lead : paint.secondary;
      const text = [m.continues ? "…" : "", printable(m.label.text)].filter((s) => s !== "").join(" ");
      const under = `${(m.primary ? "^" : "-").repeat(to - from)}${text === "" ? "" : ` ${text}`}`;
      out.push(`${paint.gutter(`${" ".repeat(gutter)} │`)} ${" ".repeat(from)}${tone(under)}`);
    }
  }
  return out;
}

/** A source line made safe and short for a terminal, and where each of its columns went. */
function cutout(
  text: string,
  here: readonly Mark[],
): { readonly text: string; readonly column: (index: number) => number } {
  const first = Math.min(...here.map((m) => m.column - 1));
  const cut = text.length > maxLineWidth;
  const from = cut ? Math.max(0, Math.min(first - 40, text.length - maxLineWidth)) : 0;
  const to = cut ? Math.min(text.length, from + maxLineWidth) : text.length;
  const before = from > 0 ? "…" : "";
  let shown = before;
  let width = before.length;
  const columns: number[] = [];
  for (const character of text.slice(from, to)) {
    const safe = character === "\t" ? "    " : printable(character);
    for (let unit = 0; unit < character.length; unit++) columns.push(width);
    shown += safe;
    width += displayWidth(safe);
  }
  if (to < text.length) shown += "…";
  const column = (index: number): number => {
    if (index < from) return 0;
    return columns[index - from] ?? width;
  };
  return { text: shown, column };
}

/** Text from a source, an input or a file never reaches a terminal as control characters. */
export function printable(text: string): string {
  let out = "";
  for (const character of text) out += isControl(character.codePointAt(0) ?? 0) ? "\ufffd" : character;
  return out;
}

/** C0, C1 and the invisible characters that reorder or hide text. */
function isControl(c: number): boolean {
  return (
    c < 0x20 ||
    (c >= 0x7f && c <= 0x9f) ||
    c === 0x200b ||
    (c >= 0x200e && c <= 0x200f) ||
    (c >= 0x2028 && c <= 0x202e) ||
    (c >= 0x2066 && c <= 0x2069) ||
    c === 0xfeff
  );
}

function displayWidth(text: string): number {
  let width = 0;
  for (const character of text) {
    const c = character.codePointAt(0) ?? 0;
    if (c >= 0x300 && c <= 0x36f) continue;
    const wide =
      (c >= 0x1100 && c <= 0x115f) ||
      (c >= 0x2e80 && c <= 0xa4cf) ||
      (c >= 0xac00 && c <= 0xd7a3) ||
      (c >= 0xf900 && c <= 0xfaff) ||
      (c >= 0xfe30 && c <= 0xfe6f) ||
      (c >= 0xff00 && c <= 0xff60) ||
      (c >= 0xffe0 && c <= 0xffe6) ||
      (c >= 0x1f300 && c <= 0x1faff) ||
      (c >= 0x20000 && c <= 0x3fffd);
    width += wide ? 2 : 1;
  }
  return width;
}

// -------------------------------------------------------------------------------------------------- JSON

/** A place as tools want it: lines and columns from 1, the end exclusive. Zero where the text is gone. */
export interface JsonPlace {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly endLine: number;
  readonly endColumn: number;
}

export interface JsonDiagnostic extends JsonPlace {
  readonly code: string;
  readonly severity: string;
  readonly message: string;
  /** The primary place first. */
  readonly labels: readonly (JsonPlace & { readonly text: string; readonly primary: boolean })[];
  readonly notes: readonly string[];
  readonly help: string | null;
  readonly path: string | null;
  readonly calls: readonly JsonPlace[];
}

export function toJSON(diagnostics: readonly Diagnostic[], sources: Sources): JsonDiagnostic[] {
  const maps = lineMaps(sources);
  const jsonPlace = (at: Span): JsonPlace => {
    const map = maps(at.file);
    if (map === undefined) return { file: at.file, line: 0, column: 0, endLine: 0, endColumn: 0 };
    const start = map.position(at.start);
    const end = map.position(at.end);
    return {
      file: at.file,
      line: start.line,
      column: start.column,
      endLine: end.line,
      endColumn: end.column,
    };
  };
  return diagnostics.map((d) => ({
    code: d.code,
    severity: d.severity,
    message: d.message,
    ...jsonPlace(d.primary.span),
    labels: [
      { ...jsonPlace(d.primary.span), text: d.primary.text, primary: true },
      ...d.secondary.map((l) => ({ ...jsonPlace(l.span), text: l.text, primary: false })),
    ],
    notes: d.notes,
    help: d.help ?? null,
    path: d.path ?? null,
    calls: d.calls.map(jsonPlace),
  }));
}
