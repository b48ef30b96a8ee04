// Reductions with few rows and very long ones are two: partial results over many rows, then those. One workgroup a row would
// leave the device idle. In: primitives. Out: the same sums in another (fixed) order.
import { asConst, dim, product } from "../../dims/dim.ts";
import { transform } from "../../ir/transform.ts";
import type { Builder, Graph, Node, OpDef, Value } from "../../ir/types.ts";
import { reshape } from "../../ops/axes.ts";

/** Elements of a row from which it counts as very long. */
const LONG = 16384;
/** Parts a single long axis is cut into, at most. */
const PARTS = 256;

/** `rows`: how many rows keep the target busy. */
export function splitReductions(graph: Graph, rows: number): Graph {
  return transform(graph, (b, n, inputs) => {
    const combine = n.op.partials?.();
    if (!combine || n.outs[0].type.dtype !== "f32") return undefined;
    const [x] = inputs;
    const over = n.attrs.axes as readonly number[];
    const kept = asConst(product(n.outs[0].type.shape));
    // What is not known counts as one: a batch of 1 must not be slower for it.
    const long = over.reduce((p, a) => p * (asConst(x.type.shape[a]) ?? 1), 1);
    if (kept === undefined || kept >= rows || long < LONG) return undefined;
    const partial = cut(b, n, combine, x, over);
    return partial && [reshape(b, partial, n.outs[0].type.shape)];
  }).graph;
}

/** The fold over parts of its axes, then what combines the parts. */
function cut(b: Builder, n: Node, combine: OpDef, x: Value, over: readonly number[]): Value | undefined {
  const fold = (op: OpDef, v: Value, axes: readonly number[]): Value =>
    b.make(op, [v], { ...n.attrs, axes: [...axes], keepdims: false });
  if (over.length > 1) {
    const [first, ...rest] = over;
    return fold(combine, fold(n.op, x, rest), [first]);
  }
  const axis = over[0];
  const size = asConst(x.type.shape[axis]) as number;
  let parts = PARTS;
  while (parts > 1 && size % parts !== 0) parts--;
  if (parts < 8) return undefined;
  const { shape } = x.type;
  const apart = reshape(b, x, [
    ...shape.slice(0, axis),
    dim(parts),
    dim(size / parts),
    ...shape.slice(axis + 1),
  ]);
  return fold(combine, fold(n.op, apart, [axis + 1]), [axis]);
}
