// Scans become loops, which the steps after this one can follow: a loop reads each value outside once, its body picks slices
// by the counter, and every result of the body is a value that some kernel of the body stores. In: primitives, bodies too.
// Out: the same values; each later step does with a body what it does with any graph (ir/blocks.ts).
import { InternalError } from "../../diagnostics/index.ts";
import { type Dim, exactQuotient, product, sub, sym, symbols } from "../../dims/dim.ts";
import { attrsText, createBuilder, finishGraph, reachable, sameType, typeText } from "../../ir/build.ts";
import { transform } from "../../ir/transform.ts";
import type { Attr, Builder, Graph, Node, Value } from "../../ir/types.ts";
import { readsAlong } from "../../kernel/values.ts";
import { copy } from "../../ops/copy.ts";
import { type LoopAttrs, loop, loopAttrs, outside, pick, scan, scanAttrs } from "../../ops/scan.ts";

/** Ids of a body's nodes are apart from those of every other graph of the entry: kernels know values by them. */
const APART = 1_000_000;

export function lowerLoops(graph: Graph): Graph {
  if (!graph.nodes.some((n) => n.op === scan)) return graph;
  let loops = 0;
  const lower = (b: Builder, n: Node, inputs: readonly Value[], around: readonly string[]) => {
    const a = scanAttrs(n.attrs);
    const number = ++loops;
    const symbol = `$t${number - 1}`;
    const t = sym(symbol);
    const index = a.reverse ? sub(sub(a.count, 1), t) : t;
    const inside = createBuilder(number * APART);
    const operands: Value[] = [];
    const begin: number[] = [];
    const leaf = (at: number, { dtype, shape }: Value["type"], label: string): Value =>
      inside.make(outside, [], { index: at, dtype, shape: [...shape] }, label);
    // One leaf for one place: a kernel may not bind the same range twice.
    const leaves = new Map<Value, Value>();
    const read = (v: Value): Value => {
      const { base, views } = shown(v);
      let made = leaves.get(base);
      if (!made) {
        const { attrs, label, op } = base.node;
        made = leaf(operands.length, base.type, label ?? String(attrs.path ?? attrs.name ?? op.name));
        operands.push(base);
        leaves.set(base, made);
      }
      return views.reduce(
        (x, n) => inside.at(n.origin, () => inside.make(n.op, [x], n.attrs, n.label)),
        made,
      );
    };
    const bound = a.body.inputs.map((input, i) => {
      const name = input.label ?? String(input.attrs.name);
      if (i >= a.xs + a.carries) return read(inputs[i]);
      if (i >= a.xs) {
        begin.push(operands.push(inputs[i]) - 1);
        return leaf(begin[i - a.xs], input.outs[0].type, name);
      }
      return inside.make(pick, [read(inputs[i])], { axis: a.axes[i], index }, name);
    });
    const at = new Map(a.body.inputs.map((x, i) => [x, bound[i]]));
    const known = [...around, symbol];
    const { map } = transform(
      a.body,
      (_, x, operandsOf) => {
        const given = at.get(x);
        if (given) return [given];
        return x.op === scan ? lower(inside, x, operandsOf, known) : undefined;
      },
      inside,
    );
    const results = stored(
      inside,
      a.body.results.map((r) => ({ name: r.name, value: map.get(r.value) as Value })),
      a.carries,
    );
    // Kernels and plans name what the author wrote.
    const label = n.label ?? n.op.name;
    const attrs: LoopAttrs = {
      body: finishGraph({ name: `${label} body`, inputs: [], results, symbols: known }),
      symbol,
      count: a.count,
      begin,
      emitAxes: a.emitAxes,
      index,
    };
    return b.node(loop, operands, attrs as unknown as { readonly [k: string]: Attr }, label);
  };
  return transform(graph, (b, n, inputs) => (n.op === scan ? lower(b, n, inputs, graph.symbols) : undefined))
    .graph;
}

/**
 * The value that a chain of views shows, and the views, which cost nothing in the body: where its elements are read as they
 * lie, and where storing what is shown would store no less. (A transposed weight is stored: it is read many times.)
 */
function shown(v: Value): { base: Value; views: readonly Node[] } {
  const views: Node[] = [];
  let base = v;
  let found = { base, views: [] as readonly Node[] };
  while (readsAlong(base.node)) {
    views.unshift(base.node);
    base = base.node.inputs[0];
    const stored = base.node.op.fuses === "source" || base.node.op.fuses === "control";
    const larger = exactQuotient(product(v.type.shape), product(base.type.shape)) !== undefined;
    if (stored || larger) found = { base, views: [...views] };
  }
  return found;
}

/**
 * Results as values of their own that a kernel of the body stores where the loop wants them. What else reads such a value
 * reads it where it lies otherwise: a slice of the whole is no place to read from (a copy is one more root of the same
 * kernel); the next carry is one.
 */
function stored(
  b: Builder,
  results: readonly { readonly name: string; readonly value: Value }[],
  carries: number,
): { name: string; value: Value }[] {
  const read = new Set(reachable(results.map((r) => r.value)).flatMap((x) => x.inputs));
  const taken = new Set<Value>();
  return results.map(({ name, value }, i) => {
    const own = hasKernel(value.node) && !taken.has(value) && (i < carries || !read.has(value));
    const v = own ? value : b.make(copy, [value], {}, name);
    taken.add(v);
    return { name, value: v };
  });
}
/** Sources and what views show have no kernel; a loop in a loop stores its results where it likes. */
const hasKernel = (n: Node): boolean => !["source", "view", "control"].includes(n.op.fuses);

/** What must hold of loops: or an InternalError that names the pass. */
export function verifyLoops(graph: Graph, pass: string, counters: readonly string[] = []): void {
  for (const n of graph.nodes) {
    if (n.op === scan) throw new InternalError(pass, `${graph.name}: a scan was not lowered`);
    if (n.op === loop) verifyLoop(n, pass, counters);
  }
}
function verifyLoop(n: Node, pass: string, counters: readonly string[]): void {
  const a = loopAttrs(n.attrs);
  const fail = (what: string): never => {
    throw new InternalError(pass, `${a.body.name}: ${what}`);
  };
  if (counters.includes(a.symbol)) fail(`${a.symbol} counts a loop around this one, too`);
  if (new Set(a.begin).size !== a.begin.length) fail("two carries begin as one operand");
  const leaves = new Set<number>();
  const sizes = new Set(a.body.symbols);
  const known = (d: Dim, where: string): void => {
    for (const s of symbols(d)) if (!sizes.has(s)) fail(`${s} is no size in ${where}`);
  };
  for (const x of a.body.nodes) {
    for (const v of x.outs) for (const d of v.type.shape) known(d, x.op.name);
    if (x.op === pick) known(x.attrs.index as Dim, "pick");
    if (x.op.fuses !== "source") continue;
    // A literal brings its elements along; all others come in as operands.
    if (x.op !== outside && x.attrs.data === undefined) fail(`the leaf ${x.op.name} is not bound`);
    if (x.op !== outside) continue;
    const at = x.attrs.index as number;
    const operand = n.inputs[at] ?? fail(`the leaf ${attrsText(x.attrs)} is none of the operands`);
    if (leaves.has(at)) fail(`operand ${at} has two leaves`);
    leaves.add(at);
    if (!sameType(operand.type, x.outs[0].type))
      fail(`operand ${at} is ${typeText(operand.type)}, its leaf ${typeText(x.outs[0].type)}`);
  }
  const reads = n.inputs.filter((_, i) => !a.begin.includes(i));
  if (new Set(reads).size !== reads.length) fail("an operand is read by two leaves");
  const placed = new Set<Value>();
  a.body.results.forEach(({ name, value }) => {
    if (!hasKernel(value.node)) fail(`${name} is a ${value.node.op.name}, which no kernel stores`);
    if (placed.has(value)) fail(`${name} is stored in two places`);
    placed.add(value);
  });
  verifyLoops(a.body, pass, [...counters, a.symbol]);
}
