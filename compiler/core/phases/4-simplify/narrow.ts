// A slice of a product that nobody else reads is a product of slices:
//   slice(x @ w + b)  ->  slice(x) @ slice(w) + slice(b)
// A model that wants the next token alone takes the last row of all logits: the others need not be computed. In: primitives.
// Out: products of fewer rows, columns or batches, whose elements are the sums they were. A slice that leads to no product
// stays, since what is not stored is computed where it is read anyway.
import { type Dim, dim, equal, isConst, ONE, product } from "../../dims/dim.ts";
import { usersOf } from "../../ir/build.ts";
import { transform } from "../../ir/transform.ts";
import type { Builder, Graph, Node, Value } from "../../ir/types.ts";
import { broadcastTo, broadcastToOp, reshape, reshapeOp } from "../../ops/axes.ts";
import { dimsAt, numbersAt } from "../../ops/define.ts";
import { dot, dotOp } from "../../ops/dot.ts";
import { slice, sliceOp } from "../../ops/movement.ts";

/** Maps between a slice and its product that are looked through. */
const MOST = 32;

/** What a slice takes of one axis. */
interface Part {
  readonly start: Dim;
  readonly size: Dim;
  readonly step: number;
}
const whole = (size: Dim): Part => ({ start: dim(0), size, step: 1 });
const partsOf = ({ attrs }: Node): readonly Part[] => {
  const [starts, steps] = [dimsAt(attrs, "starts"), numbersAt(attrs, "steps")];
  return dimsAt(attrs, "sizes").map((size, i) => ({ start: starts[i], size, step: steps[i] }));
};
const sliced = (b: Builder, x: Value, parts: readonly Part[]): Value =>
  slice(
    b,
    x,
    parts.map((p) => p.start),
    parts.map((p) => p.size),
    parts.map((p) => p.step),
  );

/** The product that a value is, or shows: then its rows as the axes that they are shown as. */
interface Product {
  readonly dot: Node;
  readonly rows?: readonly Dim[];
}

export function narrow(graph: Graph): Graph {
  const users = usersOf(graph.nodes);
  const sinks = new Set([...graph.results, ...graph.writes].map((s) => s.value));
  const readOnce = (v: Value): boolean => users.get(v)?.length === 1 && !sinks.has(v);
  /** Values of which a part costs less than all, by how many maps are before the product. */
  const leads = new Map<Value, number>();
  const products = new Map<Value, Product>();
  const wanted = new Set<Node>();
  for (const n of graph.nodes) {
    const [v] = n.outs;
    if (n.op === sliceOp && leads.has(n.inputs[0])) {
      const { shape } = n.inputs[0].type;
      if (partsOf(n).some((p, i) => !equal(p.size, shape[i]))) wanted.add(n);
    }
    if (!readOnce(v)) continue;
    const found = productOf(n, readOnce);
    if (found) {
      products.set(v, found);
      leads.set(v, 0);
    } else if (isMap(n)) {
      const before = n.inputs.flatMap((x) => leads.get(x) ?? []);
      if (before.length > 0 && Math.max(...before) < MOST) leads.set(v, 1 + Math.max(...before));
    }
  }
  if (wanted.size === 0) return graph;

  const rebuilt = new Map<Value, Value>();
  return transform(graph, (b, n, inputs) => {
    n.inputs.forEach((v, i) => void rebuilt.set(v, inputs[i]));
    const now = (v: Value): Value => rebuilt.get(v) as Value;
    const part = (v: Value, parts: readonly Part[]): Value => {
      const found = products.get(v);
      if (found) return partOfProduct(b, found, now, parts);
      if (!leads.has(v)) return partOf(b, v, now, parts);
      const operands = v.node.inputs.map((x) => part(x, parts));
      return b.node(v.node.op, operands, v.node.attrs, v.node.label)[0];
    };
    return wanted.has(n) ? [part(n.inputs[0], partsOf(n))] : undefined;
  }).graph;
}

/** One result element of one element of each operand, at the same place. */
function isMap({ op, inputs, outs }: Node): boolean {
  const { shape } = outs[0].type;
  const same = (xs: readonly Dim[]): boolean =>
    xs.length === shape.length && xs.every((d, i) => equal(d, shape[i]));
  const is = op.fuses === "map" && op.pure !== false && outs.length === 1 && inputs.length > 0;
  return is && inputs.every((v) => same(v.type.shape));
}

function productOf(n: Node, readOnce: (v: Value) => boolean): Product | undefined {
  if (n.op === dotOp) return { dot: n };
  if (n.op !== reshapeOp) return undefined;
  const [of] = n.inputs;
  if (of.node.op !== dotOp || of.type.shape.length !== 2 || !readOnce(of)) return undefined;
  const { shape } = n.outs[0].type;
  const rows = shape.slice(0, -1);
  const [m, columns] = of.type.shape;
  const shown = shape.length > 1 && equal(shape[shape.length - 1], columns) && equal(product(rows), m);
  return shown ? { dot: of.node, rows } : undefined;
}

function partOfProduct(
  b: Builder,
  { dot: { inputs }, rows }: Product,
  now: (v: Value) => Value,
  parts: readonly Part[],
): Value {
  const [x, y] = inputs;
  const k = x.type.shape[x.type.shape.length - 1];
  const lines = [...parts.slice(0, -1), whole(k)];
  const columns = [whole(k), parts[parts.length - 1]];
  if (!rows) return dot(b, partOf(b, x, now, lines), partOf(b, y, now, [...parts.slice(0, -2), ...columns]));
  const few = sliced(b, reshape(b, now(x), [...rows, k]), lines);
  const flat = reshape(b, few, [product(few.type.shape.slice(0, -1)), k]);
  return reshape(
    b,
    dot(b, flat, partOf(b, y, now, columns)),
    parts.map((p) => p.size),
  );
}

/** A slice; of what is repeated, what is sliced repeated: a part of a bias is a bias still. */
function partOf(b: Builder, v: Value, now: (v: Value) => Value, parts: readonly Part[]): Value {
  if (v.node.op !== broadcastToOp) return sliced(b, now(v), parts);
  const x = now(v.node.inputs[0]);
  const own = parts.slice(parts.length - x.type.shape.length);
  const kept = x.type.shape.map((d, i) => (isConst(d, 1) ? whole(ONE) : own[i]));
  return broadcastTo(
    b,
    sliced(b, x, kept),
    parts.map((p) => p.size),
  );
}
