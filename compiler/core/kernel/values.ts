// Graph values as scalar expressions. In: a value, and which values are stored. Out: one element over fresh axes; what is not
// stored is inlined (fusion by substitution).
import { InternalError } from "../diagnostics/index.ts";
import { equal, isConst, product } from "../dims/dim.ts";
import type { Node, Value } from "../ir/types.ts";
import { rowMajor } from "./coordinates.ts";
import { strideAlong } from "./facts.ts";
import { createLowering, type ScalarContext } from "./lowering.ts";
import type { Axis, Scalar } from "./scalar.ts";

/** A lowering that inlines exactly the values `stored` does not name; where there is a `copyOf` one, that is loaded. */
export function loweringFor(
  stored: (v: Value) => boolean,
  copyOf: (v: Value) => Value | undefined = () => undefined,
  literal = false,
): ScalarContext {
  return createLowering((s, value) => {
    const copy = copyOf(value);
    if (copy) return (at) => s.load(copy, at);
    const { fuses, lower } = value.node.op;
    if (fuses === "source" || !lower || stored(value)) return undefined;
    return (at) => lower(s, value.node, at, value.index);
  }, literal);
}
/** One element of `value` (itself inlined) over fresh axes. */
export function lowerValue(s: ScalarContext, value: Value): { at: Axis[]; x: Scalar } {
  const at = value.type.shape.map((d, i) => s.axis(`i${i}`, d));
  const lower = value.node.op.lower;
  if (!lower) throw new InternalError("fuse", `${value.node.op.name} has no lowering`);
  return {
    at,
    x: lower(
      s,
      value.node,
      at.map((a) => s.axisValue(a)),
      value.index,
    ),
  };
}
/** A node's own expression: its operands are loads. */
export function isolated(n: Node): { s: ScalarContext; at: Axis[]; x: Scalar } {
  const s = createLowering();
  return { s, ...lowerValue(s, n.outs[0]) };
}
/** A view whose last axis runs along its operand's elements, or stays at one: read through it, they are read as they lie. */
export function readsAlong(n: Node): boolean {
  if (n.op.fuses !== "view" || n.inputs.length !== 1) return false;
  const { s, at, x } = isolated(n);
  const last = at.at(-1);
  if (x.kind !== "load" || x.value !== n.inputs[0]) return false;
  const step = last && strideAlong(rowMajor(s, x.at, x.value.type.shape), last, 4);
  return last === undefined || (step !== undefined && (isConst(step, 0) || isConst(step, 1)));
}
/** A view that shows all elements of its operand in the same row-major order. */
export function keepsOrder(n: Node): boolean {
  if (n.inputs.length !== 1 || !equal(product(n.inputs[0].type.shape), product(n.outs[0].type.shape)))
    return false;
  const { s, at, x } = isolated(n);
  if (x.kind !== "load" || x.value !== n.inputs[0]) return false;
  const own = at.map((a) => s.axisValue(a));
  return rowMajor(s, x.at, x.value.type.shape) === rowMajor(s, own, n.outs[0].type.shape);
}
