/**
 * Diagnostics: what is wrong, where, and how to say it. In: a code with spans and words. Out: text with the
 * lines of the source and carets under them, or JSON. Separate from codes.ts (the catalogue) and free of any
 * terminal: colours come from an injected painter.
 */
import { type Code, codes, type Severity } from "./codes.ts";
import type { Span } from "./span.ts";

export type { Code, Severity } from "./codes.ts";
export { cover, type Position, type Span, span } from "./span.ts";

/** A place and what to say under it. */
export interface Label {
  readonly span: Span;
  readonly text: string;
}

export interface Diagnostic {
  readonly code: Code;
  readonly severity: Severity;
  /** Lower case, one sentence, no full stop. */
  readonly message: string;
  readonly primary: Label;
  readonly secondary: readonly Label[];
  /** Further sentences, each printed as `= note:`. */
  readonly notes: readonly string[];
  readonly help?: string;
  /** The instance the error arose in, such as `trunk.block2`. */
  readonly path?: string;
  /** The calls that led here, innermost first. */
  readonly calls: readonly Span[];
}

export interface DiagnosticExtra {
  /** What to say under the primary place. */
  readonly label?: string;
  readonly secondary?: readonly Label[];
  readonly notes?: readonly string[];
  readonly help?: string;
  readonly path?: string;
  readonly calls?: readonly Span[];
}

export function diagnostic(code: Code, message: string, at: Span, extra: DiagnosticExtra = {}): Diagnostic {
  const info = codes[code];
  const help = extra.help ?? info.help;
  return {
    code,
    severity: info.severity,
    message: clip(message),
    primary: { span: at, text: clip(extra.label ?? "") },
    secondary: (extra.secondary ?? []).map((l) => ({ span: l.span, text: clip(l.text) })),
    notes: (extra.notes ?? []).map(clip),
    calls: extra.calls ?? [],
    ...(help === undefined ? {} : { help: clip(help) }),
    ...(extra.path === undefined || extra.path === "" ? {} : { path: extra.path }),
  };
}

/** The user's source or input is at fault. */
export class MdlError extends Error {
  override name = "MdlError";
  readonly diagnostics: readonly Diagnostic[];

  constructor(diagnostics: readonly Diagnostic[]) {
    const first = diagnostics[0];
    const more = diagnostics.length > 1 ? ` (and ${diagnostics.length - 1} more)` : "";
    super(first === undefined ? "no diagnostics" : `${first.code}: ${first.message}${more}`);
    this.diagnostics = diagnostics;
  }
}

/** We are at fault. Names the pass, so that a report of it is of use. */
export class InternalError extends Error {
  override name = "InternalError";
  readonly pass: string;

  constructor(pass: string, message: string, options?: ErrorOptions) {
    super(`internal error in ${pass}: ${message}; this is a bug in mdl, not in your model`, options);
    this.pass = pass;
  }
}

const keyOf = (code: Code, message: string, { file, start, end }: Span): string =>
  `${code}\n${file}\n${start}\n${end}\n${clip(message)}`;

/** A name or value in a message may be as long as the file: what is said stays readable, and small. */
const MAX_TEXT = 1_000;
const clip = (text: string): string =>
  text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT / 2)} … ${text.slice(-MAX_TEXT / 4)}`;

/**
 * Collects what a compilation has to say: each thing once, in the order of the text, up to a number of errors and as many
 * warnings (so that no number of warnings hides an error).
 */
export class Diagnostics {
  readonly limit: number;
  private readonly seen = new Map<string, Diagnostic>();
  private readonly kept = { error: 0, warning: 0 };
  private readonly dropped = { error: 0, warning: 0 };

  constructor(limit = 100) {
    this.limit = limit;
  }

  add(d: Diagnostic): void {
    // One mistake in a layer shows up once per instance of it: same code, place and message are one.
    const key = keyOf(d.code, d.message, d.primary.span);
    if (this.seen.has(key)) return;
    if (this.kept[d.severity] >= this.limit) this.dropped[d.severity]++;
    else {
      this.kept[d.severity]++;
      this.seen.set(key, d);
    }
  }

  /** True where a diagnostic like this would not be shown, so that nothing need be looked up for it. */
  knows(code: Code, message: string, at: Span): boolean {
    return this.kept[codes[code].severity] >= this.limit || this.seen.has(keyOf(code, message, at));
  }

  report(code: Code, message: string, at: Span, extra?: DiagnosticExtra): void {
    this.add(diagnostic(code, message, at, extra));
  }

  get hasErrors(): boolean {
    return this.kept.error > 0;
  }

  /** Sorted by file (in order of first mention) and place; ends with E1007 where some were left out. */
  list(): Diagnostic[] {
    const all = [...this.seen.values()];
    const files = new Map<string, number>();
    for (const d of all) if (!files.has(d.primary.span.file)) files.set(d.primary.span.file, files.size);
    const sorted = all
      .map((d, index) => ({ d, index, file: files.get(d.primary.span.file) ?? 0 }))
      .sort((a, b) => a.file - b.file || a.d.primary.span.start - b.d.primary.span.start || a.index - b.index)
      .map((e) => e.d);
    const last = sorted.at(-1);
    if (this.dropped.error > 0 && last !== undefined)
      sorted.push(diagnostic("E1007", `${this.dropped.error} more errors are not shown`, last.primary.span));
    return sorted;
  }

  throwIfErrors(): void {
    if (this.hasErrors) throw new MdlError(this.list());
  }
}

/** The text of a file by the name its spans carry; undefined where it cannot be had any more. */
export type Sources = (file: string) => string | undefined;
