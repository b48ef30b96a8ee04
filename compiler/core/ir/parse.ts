// Reads the text form of a graph back: parseGraph(printGraph(g)) prints and builds as g does. In: text, the operators by name,
// and the data that the text names. Out: a graph; its types are those of the text, which `verify` holds to the operators'
// rules. Separate from the printer because only tests, tools and importers read graphs.
import { type Dim, parseDim } from "../dims/dim.ts";
import { type Data, literalData } from "./data.ts";
import type {
  Attr,
  Constraint,
  DType,
  Graph,
  IndexRange,
  Node,
  OpDef,
  Origin,
  TensorType,
  Value,
} from "./types.ts";

export class GraphTextError extends Error {
  override name = "GraphTextError";
}

export function parseGraph(
  text: string,
  op: (name: string) => OpDef | undefined,
  constant: (name: string) => Data | undefined = () => undefined,
): Graph {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  const reader = new Reader(lines, op, constant);
  return reader.all();
}

const NUMBER = /^(-?(\d+(\.\d+)?(e[+-]?\d+)?|Infinity)|NaN)$/;
const RELATION = / (==|divides|>=) /;

class Reader {
  private at = 0;
  private nextId = 0;
  /** Attributes that are graphs, to be filled in when these have been read. */
  private readonly held: { attrs: Record<string, Attr>; key: string; name: string }[] = [];
  private readonly lines: readonly string[];
  private readonly op: (name: string) => OpDef | undefined;
  private readonly constant: (name: string) => Data | undefined;

  constructor(
    lines: readonly string[],
    op: (name: string) => OpDef | undefined,
    constant: (name: string) => Data | undefined,
  ) {
    this.lines = lines;
    this.op = op;
    this.constant = constant;
  }
  get atEnd(): boolean {
    return this.at >= this.lines.length;
  }
  fail(what: string): never {
    throw new GraphTextError(`line ${this.at + 1}: ${what}: ${this.lines[this.at] ?? "end of the text"}`);
  }

  /** The graph, and after it those that nodes hold, by name. */
  all(): Graph {
    const graph = this.graph();
    const bodies = new Map<string, Graph>();
    while (!this.atEnd && bodies.size < new Set(this.held.map((h) => h.name)).size) {
      const body = this.graph();
      bodies.set(body.name, body);
    }
    if (!this.atEnd) this.fail("expected the end");
    for (const { attrs, key, name } of this.held)
      attrs[key] = bodies.get(name) ?? this.fail(`there is no graph ${name}`);
    return graph;
  }

  private graph(): Graph {
    const head = /^graph (.*)\((.*)\) \{$/.exec(this.lines[this.at] ?? "");
    if (!head) return this.fail("expected `graph name(symbols) {`");
    this.at++;
    const values = new Map<string, Value>();
    const nodes: Node[] = [];
    const constraints: Constraint[] = [];
    const indexes: IndexRange[] = [];
    const writes: { path: string; value: Value }[] = [];
    const results: { name: string; value: Value }[] = [];
    const value = (name: string): Value => values.get(name) ?? this.fail(`${name} has no value`);
    for (; ; this.at++) {
      const line = this.lines[this.at] ?? this.fail("expected `}`");
      if (line === "}") break;
      const part = line.trim();
      const write = /^write (".*") <- (%\d+)$/.exec(part);
      const result = /^return (.*) = (%\d+)$/.exec(part);
      const require = /^require (.*) (".*")$/.exec(part);
      if (part.startsWith("index ")) indexes.push(this.index(part));
      else if (write) writes.push({ path: JSON.parse(write[1]) as string, value: value(write[2]) });
      else if (result) results.push({ name: result[1], value: value(result[2]) });
      else if (require) constraints.push(this.constraint(require[1], JSON.parse(require[2]) as string));
      else nodes.push(this.node(part, values, value));
    }
    this.at++;
    const symbols = head[2] === "" ? [] : head[2].split(", ");
    const inputs = nodes.filter((n) => n.op.name === "input");
    return { name: head[1], nodes, inputs, results, writes, symbols, constraints, indexes };
  }

  private constraint(text: string, message: string): Constraint {
    const m = RELATION.exec(text);
    if (!m) return this.fail("expected a relation");
    return {
      left: parseDim(text.slice(0, m.index)),
      relation: m[1] as Constraint["relation"],
      right: parseDim(text.slice(m.index + m[0].length)),
      message,
    };
  }

  /** `index "x" < V except 255 at [0 : N : 1] "what for"`. */
  private index(text: string): IndexRange {
    const s = new Scanner(text, (what) => this.fail(what));
    const quoted = (): string => {
      s.expect('"');
      return s.string();
    };
    s.expect("index ");
    const input = quoted();
    s.expect(" < ");
    const extent = parseDim(s.match(/.*?(?= except | at \[| ")/y));
    const except = s.take(" except ") ? Number(s.match(/-?\d+/y)) : undefined;
    const part: { start: Dim; size: Dim; step: number }[] = [];
    const places = s.take(" at [");
    while (places && !s.take("]")) {
      const [start, size, step] = s.piece().split(" : ");
      part.push({ start: parseDim(start), size: parseDim(size), step: Number(step) });
      s.take(", ");
    }
    s.expect(" ");
    const use = quoted();
    return {
      input,
      extent,
      ...(except === undefined ? {} : { except }),
      ...(places ? { part } : {}),
      use,
    };
  }

  /** `%3: f32[N, 10] = add(%1, %2) {axis = 1} "logits"  // path (derived from)`. */
  private node(text: string, values: Map<string, Value>, value: (name: string) => Value): Node {
    const s = new Scanner(text, (what) => this.fail(what));
    const outs: { name: string; type: TensorType }[] = [];
    do {
      const out = s.match(/%\d+/y);
      s.expect(": ");
      outs.push({ name: out, type: type(s) });
    } while (s.take(", "));
    s.expect(" = ");
    const name = s.match(/\w+/y);
    const op = this.op(name) ?? this.fail(`there is no operator ${name}`);
    s.expect("(");
    const inputs: Value[] = [];
    while (!s.take(")")) {
      inputs.push(value(s.match(/%\d+/y)));
      s.take(", ");
    }
    const attrs: Record<string, Attr> = {};
    if (s.take(" {")) {
      while (!s.take("}")) {
        const key = s.match(/\w+/y);
        s.expect(" = ");
        attrs[key] = attribute(s, this.constant);
        s.take(", ");
      }
    }
    const label = s.take(' "') ? s.string() : undefined;
    const origin = originOf(s.take("  // ") ? s.rest() : "");
    if (!s.done) this.fail(`cannot read ${s.rest()}`);
    for (const [key, a] of Object.entries(attrs))
      if (typeof a === "string" && /^@body\d+$/.test(a)) this.held.push({ attrs, key, name: a.slice(1) });
    const list: Value[] = [];
    const node: Node = { id: this.nextId++, op, inputs, attrs, outs: list, origin, label };
    outs.forEach((o, index) => {
      const v = { node, index, type: o.type };
      list.push(v);
      values.set(o.name, v);
    });
    return node;
  }
}

function type(s: Scanner): TensorType {
  const dtype = s.match(/f32|f16|i32|u32|bool/y) as DType;
  s.expect("[");
  const shape: Dim[] = [];
  while (!s.take("]")) {
    shape.push(parseDim(s.piece()));
    s.take(", ");
  }
  return { dtype, shape };
}
/** What stands behind a node: its instance path last before what it was derived from, and before that a place for people. */
function originOf(text: string): Origin {
  const [, where, derived] = /^(.*?)((?: ?\([^()]*\))*)$/.exec(text) as unknown as [string, string, string];
  const path = where.split(" ").at(-1) ?? "";
  return {
    path: /^\w+(\.\w+)*$/.test(path) ? path : "",
    calls: [],
    derived: [...derived.matchAll(/\(([^()]*)\)/g)].map((m) => m[1]),
  };
}
function attribute(s: Scanner, constant: (name: string) => Data | undefined): Attr {
  if (s.take('"')) return s.string();
  if (s.take("[")) {
    const list: Attr[] = [];
    while (!s.take("]")) {
      list.push(attribute(s, constant));
      s.take(", ");
    }
    return list;
  }
  if (s.take("@")) {
    const name = s.match(/\w+/y);
    return constant(name) ?? s.fail(`the elements of ${name} are not given`);
  }
  const dtype = s.takeMatch(/(f32|f16|i32|u32|bool)</y);
  if (dtype !== undefined) {
    const list = s.match(/[^>]*/y);
    s.expect(">");
    const numbers = list === "" ? [] : list.split(", ").map(Number);
    return literalData(dtype.slice(0, -1) as DType, numbers);
  }
  const word = s.piece();
  if (word === "true" || word === "false") return word === "true";
  if (word === "none") return undefined;
  return NUMBER.test(word) ? Number(word) : parseDim(word);
}

/** A line, read from left to right. */
class Scanner {
  private at = 0;
  private readonly text: string;
  readonly fail: (what: string) => never;
  constructor(text: string, fail: (what: string) => never) {
    this.text = text;
    this.fail = fail;
  }
  get done(): boolean {
    return this.at === this.text.length;
  }
  take(word: string): boolean {
    if (!this.text.startsWith(word, this.at)) return false;
    this.at += word.length;
    return true;
  }
  expect(word: string): void {
    if (!this.take(word)) this.fail(`expected \`${word}\` at column ${this.at + 1}`);
  }
  match(pattern: RegExp): string {
    return this.takeMatch(pattern) ?? this.fail(`expected ${pattern.source} at column ${this.at + 1}`);
  }
  takeMatch(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.at;
    const m = pattern.exec(this.text);
    if (!m) return undefined;
    this.at += m[0].length;
    return m[0];
  }
  /** The rest of a string whose opening quote is taken. */
  string(): string {
    return JSON.parse(`"${this.match(/([^"\\]|\\.)*"/y)}`) as string;
  }
  /** Up to the comma or bracket that ends a size or number. */
  piece(): string {
    const from = this.at;
    for (let depth = 0; this.at < this.text.length; this.at++) {
      const c = this.text[this.at];
      if (depth === 0 && (c === "," || c === "]" || c === "}")) break;
      if (c === "(") depth++;
      if (c === ")") depth--;
    }
    return this.text.slice(from, this.at);
  }
  rest(): string {
    const out = this.text.slice(this.at);
    this.at = this.text.length;
    return out;
  }
}
