// Coordinates of a tensor's elements as index scalars: a linear index from them, and back.
import { type Dim, isConst, mul, ONE, product } from "../dims/dim.ts";
import type { ScalarContext } from "./lowering.ts";
import type { Scalar } from "./scalar.ts";

/** Row-major linear index. */
export function rowMajor(s: ScalarContext, at: readonly Scalar[], shape: readonly Dim[]): Scalar {
  const strides: Dim[] = [];
  let step = ONE;
  for (let i = at.length - 1; i >= 0; i--) {
    strides[i] = step;
    step = mul(step, shape[i]);
  }
  return s.isum(at, strides);
}
/** Coordinates of a linear index over `extents`, outermost first: what `rowMajor` takes back. */
export function decode(s: ScalarContext, linear: Scalar, extents: readonly Dim[]): Scalar[] {
  const out: Scalar[] = [];
  let inner = product([]);
  for (let i = extents.length - 1; i >= 0; i--) {
    const q = s.idiv(linear, inner);
    out[i] = isConst(extents[i], 1) ? s.dim(0) : s.imod(q, extents[i]);
    inner = product([inner, extents[i]]);
  }
  return out;
}
