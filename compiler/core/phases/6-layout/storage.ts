// What elements of stored values are in memory. Kernels compute in the value's own type; where the author allows it
// (`Target.precision`), weights, or weights and activations, are stored as f16: half the bytes, and half the time of kernels
// that wait for memory. What others than kernels see stays as it is. In: a graph, fused, laid out and packed. Out: narrower
// types in the layouts.
import { asConst, isConst, product } from "../../dims/dim.ts";
import type { Value } from "../../ir/types.ts";
import type { Fused } from "../../regions/region.ts";
import type { Precision } from "../../targets.ts";
import { groupReads } from "./in-place.ts";
import type { Layouts } from "./layouts.ts";

/** Elements from which a weight is stored narrower: biases and norms stay as they are, which keeps their digits. */
const LARGE = 1024;

const isLarge = (v: Value): boolean => {
  const elements = asConst(product(v.type.shape));
  return v.type.dtype === "f32" && v.type.shape.length >= 2 && elements !== undefined && elements >= LARGE;
};
/** A parameter that is read from a narrower copy: what was given stays what it is. */
export const isNarrowed = (v: Value): boolean => v.node.op.name === "param" && isLarge(v);

/**
 * Of a training step, as of torch.autocast: what products (convolutions, attention) read and what they give, forward and
 * backward. Sums, norms, losses, what parameters get and all of the update stay as they are.
 */
export function narrowStep(fused: Fused, layouts: Layouts, fixed: ReadonlySet<Value>): void {
  for (const g of fused.groups) {
    if (g.kind !== "contraction") continue;
    for (const v of [...groupReads(fused, g), ...g.roots])
      if (fused.home.has(v) && !fixed.has(v) && v.type.dtype === "f32" && isTable(v)) layouts.store(v, "f16");
  }
}
/** A matrix or more, which is not small: no sums of a channel, no figures. */
function isTable({ type: { shape } }: Value): boolean {
  const elements = asConst(product(shape));
  return shape.filter((d) => !isConst(d, 1)).length >= 2 && (elements === undefined || elements >= LARGE);
}

/** Of inference. `fixed`: values that others see as bytes. */
export function narrow(
  fused: Fused,
  layouts: Layouts,
  fixed: ReadonlySet<Value>,
  precision: Precision,
): void {
  // What another weight is made of keeps its digits until then.
  const parts = new Set(fused.groups.filter((g) => g.derived).flatMap((g) => [...groupReads(fused, g)]));
  for (const g of fused.groups) {
    if (g.kind === "pack" || g.kind === "control") continue;
    for (const root of g.roots) {
      if (fixed.has(root) || root.type.dtype !== "f32") continue;
      if (g.derived ? isLarge(root) && !parts.has(root) : precision === "f16") layouts.store(root, "f16");
    }
  }
}
