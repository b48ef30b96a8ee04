// Sums that differ by factors which are the same along the summed axes are one sum, with the factors behind it:
//   sum(g * w), sum(g)                    ->  sum(g) * w, sum(g)
//   sum(g * w * d), sum(g * (d * r))      ->  sum(g * d) * w, sum(g * d) * r
// The gradients of a batch norm's weight and bias are its input's two sums so. In: primitives. Out: the same values to
// rounding; a sum that shares with nobody is left as it is.
import { type Dim, isConst, ONE } from "../../dims/dim.ts";
import { transform } from "../../ir/transform.ts";
import type { Builder, Graph, Node, Value } from "../../ir/types.ts";
import { broadcastTo, reshape } from "../../ops/axes.ts";
import { literalOf } from "../../ops/define.ts";
import { div, mul, neg } from "../../ops/elementwise.ts";

/** Factors of a product that is looked at; a longer one is taken as it is. */
const MOST = 16;

/** x = product(inner) * product(outer) / product(under), and -x where `minus`; what is outer is constant along the axes. */
interface Product {
  readonly inner: readonly Value[];
  readonly outer: readonly Value[];
  readonly under: readonly Value[];
  readonly minus: boolean;
}

export function shareSums(graph: Graph): Graph {
  const classes = new Map<string, Set<Value>>();
  const keyOf = (n: Node): string | undefined => {
    const p = productOf(n, n.inputs[0]);
    if (!p || p.inner.length === 0) return undefined;
    return `${n.op.name}|${n.op.reduction?.axes(n.attrs)}|${idsOf(p.inner)}`;
  };
  for (const n of graph.nodes) {
    const key = keyOf(n);
    if (key !== undefined) classes.set(key, (classes.get(key) ?? new Set()).add(n.inputs[0]));
  }
  const shared = (n: Node): boolean => (classes.get(keyOf(n) ?? "")?.size ?? 0) > 1;
  if (![...classes.values()].some((xs) => xs.size > 1)) return graph;
  return transform(graph, (b, n, inputs) => {
    const p = shared(n) ? productOf(n, inputs[0]) : undefined;
    const { reduction } = n.op;
    if (!p || !reduction) return undefined;
    const over = reduction.axes(n.attrs);
    const { shape } = inputs[0].type;
    // In one order, whichever way each of them was written.
    const product = [...p.inner].sort((x, y) => x.node.id - y.node.id).reduce((x, y) => mul(b, x, y));
    const kept = (v: Value): Value => without(b, v, over, shape);
    let out = reduction.over(b, product, over, n.attrs);
    for (const v of p.outer) out = mul(b, out, kept(v));
    for (const v of p.under) out = div(b, out, kept(v));
    if (p.minus) out = neg(b, out);
    return [reshape(b, out, n.outs[0].type.shape)];
  }).graph;
}

const idsOf = (values: readonly Value[]): string =>
  values
    .map((v) => `${v.node.id}.${v.index}`)
    .sort()
    .join();

/** The factors of what a linear fold takes together. */
function productOf(n: Node, x: Value): Product | undefined {
  const { reduction } = n.op;
  if (!reduction?.linear || x.type.dtype !== "f32" || n.outs[0].type.dtype !== "f32") return undefined;
  const over = reduction.axes(n.attrs).filter((i) => !isConst(x.type.shape[i], 1));
  if (over.length === 0) return undefined;
  const inner: Value[] = [];
  const outer: Value[] = [];
  const under: Value[] = [];
  let minus = false;
  const visit = (v: Value): void => {
    const { op, inputs } = v.node;
    const fits = inner.length + outer.length + under.length < MOST;
    if (isConstant(v, over)) outer.push(v);
    else if (fits && op.name === "mul") for (const i of inputs) visit(i);
    else if (fits && op.name === "neg") {
      minus = !minus;
      visit(inputs[0]);
    } else if (fits && op.name === "div" && isConstant(inputs[1], over)) {
      under.push(inputs[1]);
      visit(inputs[0]);
    } else inner.push(v);
  };
  visit(x);
  return { inner, outer, under, minus };
}

/** True for what is repeated along all of these axes. */
function isConstant(v: Value, over: readonly number[]): boolean {
  if (literalOf(v) !== undefined) return true;
  if (v.node.op.name !== "broadcast_to") return false;
  const padded = paddedShape(v.node.inputs[0], v.type.shape.length);
  return over.every((i) => isConst(padded[i], 1));
}
/** The shape before it was repeated, with ones for the axes that were not there. */
const paddedShape = (v: Value, rank: number): readonly Dim[] => [
  ...new Array<Dim>(rank - v.type.shape.length).fill(ONE),
  ...v.type.shape,
];
/** A value that is constant along axes, without them. */
function without(b: Builder, v: Value, over: readonly number[], shape: readonly Dim[]): Value {
  const stays = (xs: readonly Dim[]): Dim[] => xs.filter((_, i) => !over.includes(i));
  if (literalOf(v) !== undefined) return reshape(b, v, stays(shape));
  const [base] = v.node.inputs;
  return broadcastTo(b, reshape(b, base, stays(paddedShape(base, shape.length))), stays(shape));
}
