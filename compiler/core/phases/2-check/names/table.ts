// What every name in the sources refers to, and what every expression was found to be: for editors, beside the diagnostics.
// In: what the pass over names and the interpreter meet, as they go. Out: answers by file and offset. Separate because a check
// works the same with one as without; it is filled only where a host asks for it.
import type { Span } from "../../../diagnostics/report.ts";
import { maxNameLength } from "../../../syntax/limits.ts";

export type DefinitionKind =
  | "layer"
  | "model"
  | "optimizer"
  | "train"
  | "fn"
  | "op"
  | "constant"
  /** Of a fn, layer, model or op. */
  | "parameter"
  /** A member that is a tensor to be trained; one that is state. */
  | "param"
  | "buffer"
  | "member"
  | "local"
  | "symbol"
  /** What the language brings: it has no place. */
  | "builtin";

/** One for each thing that has a name: two references to the same thing have the same object. */
export interface Definition {
  readonly kind: DefinitionKind;
  readonly name: string;
  /** Where its name stands in its declaration. */
  readonly span?: Span;
  readonly doc?: string;
}

/** What an expression is in one instance of the layer it stands in. */
export interface TypeInInstance {
  /** The instance path, e.g. `trunk.block2.conv`; "" in the model itself and where there is no model around. */
  readonly path: string;
  readonly type: string;
}

/** Names and types of the files of a check, to be asked by place. */
export interface Names {
  /** The name that an offset is in or at the end of, and what it refers to. */
  definitionAt(
    file: string,
    offset: number,
  ): { readonly span: Span; readonly definition: Definition } | undefined;
  /** Where a thing is named, its declaration among them, by file and place. */
  referencesTo(definition: Definition): readonly Span[];
  /**
   * The innermost expression or bound name at an offset, and its types by instance, in the order they were met; the first 64 of
   * them. Undefined where nothing was evaluated: in what no model reaches.
   */
  typesAt(
    file: string,
    offset: number,
  ): { readonly span: Span; readonly types: readonly TypeInInstance[] } | undefined;
  /** Everything that is defined in the files, by file and place: for outlines and completion. */
  definitions(): readonly Definition[];
}

const MOST_TYPES = 64;

/** An instance that is being built gets its path when all of them are. */
interface Placed {
  readonly path: string | undefined;
}

interface Met<V> {
  readonly span: Span;
  readonly values: { readonly where: string | Placed; readonly value: V }[];
}

export class SourceTable<V> implements Names {
  private readonly text: (value: V) => string;
  private readonly known = new Map<Span, Definition>();
  private readonly builtins = new Map<string, Definition>();
  /** By file and start. */
  private readonly names = new Map<string, Map<number, { span: Span; definition: Definition }>>();
  private readonly met = new Map<Span, Met<V>>();
  private readonly journal: Met<V>[] = [];

  constructor(text: (value: V) => string) {
    this.text = text;
  }

  // ---------------------------------------------------------------------------------------------- filling

  /** The definition whose name stands at `span` (the syntax tree's own object), made where it is new. */
  define(span: Span, kind: DefinitionKind, name: string, doc?: string): Definition {
    let d = this.known.get(span);
    if (!d) {
      d = { kind, name, span, ...(doc === undefined ? {} : { doc }) };
      this.known.set(span, d);
    }
    this.refer(span, d);
    return d;
  }
  refer(span: Span, definition: Definition | undefined): void {
    if (!definition) return;
    let file = this.names.get(span.file);
    if (!file) {
      file = new Map();
      this.names.set(span.file, file);
    }
    file.set(span.start, { span, definition });
  }
  /** A name that refers to what is defined at `at`; said by those who meet a value and not its declaration. */
  referTo(span: Span | undefined, at: Span | undefined): void {
    if (span && at) this.refer(span, this.known.get(at));
  }
  referToBuiltin(span: Span, name: string): void {
    let d = this.builtins.get(name);
    if (!d) {
      d = { kind: "builtin", name };
      this.builtins.set(name, d);
    }
    this.refer(span, d);
  }
  value(span: Span, where: string | Placed, value: V): void {
    let m = this.met.get(span);
    if (!m) {
      m = { span, values: [] };
      this.met.set(span, m);
    }
    if (m.values.length >= MOST_TYPES) return;
    m.values.push({ where, value });
    this.journal.push(m);
  }
  /** What has been evaluated so far; `back` forgets what came after: an entry is traced anew once a size is solved for. */
  get mark(): number {
    return this.journal.length;
  }
  back(mark: number): void {
    while (this.journal.length > mark) this.journal.pop()?.values.pop();
  }

  // ---------------------------------------------------------------------------------------------- asking

  definitionAt(file: string, offset: number): { span: Span; definition: Definition } | undefined {
    // Names do not overlap, and are short: the last one that begins at or before the offset is it, or there is none.
    const names = this.names.get(file);
    for (let at = offset; names && at >= 0 && at >= offset - maxNameLength; at--) {
      const n = names.get(at);
      if (n) return offset <= n.span.end ? n : undefined;
    }
    return undefined;
  }
  referencesTo(definition: Definition): readonly Span[] {
    const out: Span[] = [];
    for (const file of this.names.values())
      for (const n of file.values()) if (n.definition === definition) out.push(n.span);
    return out.sort(byPlace);
  }
  typesAt(file: string, offset: number): { span: Span; types: readonly TypeInInstance[] } | undefined {
    let best: Met<V> | undefined;
    for (const m of this.met.values()) {
      const { span } = m;
      if (span.file !== file || span.start > offset || offset > span.end || m.values.length === 0) continue;
      if (!best || span.end - span.start < best.span.end - best.span.start) best = m;
    }
    if (!best) return undefined;
    const types = new Map<string, TypeInInstance>();
    for (const { where, value } of best.values) {
      const path = typeof where === "string" ? where : (where.path ?? "");
      const type = this.text(value);
      types.set(`${path}\n${type}`, { path, type });
    }
    return { span: best.span, types: [...types.values()] };
  }
  definitions(): readonly Definition[] {
    return [...this.known.values()].sort((a, b) => byPlace(a.span as Span, b.span as Span));
  }
}

/** What a pass over the text alone can say. */
export type Referrer = Pick<SourceTable<unknown>, "define" | "refer" | "referTo" | "referToBuiltin">;

const byPlace = (a: Span, b: Span): number =>
  a.file < b.file ? -1 : a.file > b.file ? 1 : a.start - b.start;
