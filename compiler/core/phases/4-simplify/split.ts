// Reductions with few rows and very long ones are two: partial results over many rows, then those. One workgroup a row would
// leave the device idle. In: primitives. Out: the same sums in another (fixed) order.
import { asConst, dim, product } from "../../dims/dim.ts";
import { transform } from "../../ir/transform.ts";
import type { Builder, Graph, Value } from "../../ir/types.ts";
import { reshape } from "../../ops/axes.ts";

/** Elements of a row from which it counts as very long. */
const LONG = 16384;
/** Parts a single long axis is cut into, at most. */
const PARTS = 256;

/** `rows`: how many rows keep the target busy. */
export function splitReductions(graph: Graph, rows: number): Graph {
  return transform(graph, (b, n, inputs) => {
    const { reduction } = n.op;
    const combine = reduction?.combine?.().reduction;
    if (!reduction || !combine || n.outs[0].type.dtype !== "f32") return undefined;
    const [x] = inputs;
    const over = reduction.axes(n.attrs);
    const kept = asConst(product(n.outs[0].type.shape));
    // What is not known counts as one: a batch of 1 must not be slower for it.
    const long = over.reduce((p, a) => p * (asConst(x.type.shape[a]) ?? 1), 1);
    if (kept === undefined || kept >= rows || long < LONG) return undefined;
    const part = (v: Value, axes: readonly number[]): Value => reduction.over(b, v, axes, n.attrs);
    const whole = (v: Value, axes: readonly number[]): Value => combine.over(b, v, axes, n.attrs);
    if (over.length > 1) {
      const [first, ...rest] = over;
      return [reshape(b, whole(part(x, rest), [first]), n.outs[0].type.shape)];
    }
    const [axis] = over;
    const apart = cut(b, x, axis);
    return apart && [reshape(b, whole(part(apart, [axis + 1]), [axis]), n.outs[0].type.shape)];
  }).graph;
}

/** An axis as parts and what is in them; undefined where it has no divisor that helps. */
function cut(b: Builder, x: Value, axis: number): Value | undefined {
  const { shape } = x.type;
  const size = asConst(shape[axis]) as number;
  let parts = PARTS;
  while (parts > 1 && size % parts !== 0) parts--;
  if (parts < 8) return undefined;
  return reshape(b, x, [...shape.slice(0, axis), dim(parts), dim(size / parts), ...shape.slice(axis + 1)]);
}
