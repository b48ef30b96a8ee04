// Walking dense tensors of the reference evaluator: strides, cells, reductions, integer wrap-around.
// In: shapes and Float64Arrays. Out: plain loops. Separate from the graph so that references share nothing with `lower`.
import type { Dense, DType } from "../ir/types.ts";

export const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** Row-major strides. */
export function stridesOf(shape: readonly number[]): number[] {
  const out = new Array<number>(shape.length);
  let s = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    out[i] = s;
    s *= shape[i];
  }
  return out;
}

export const emptyDense = (dtype: DType, shape: readonly number[]): Dense => ({
  dtype,
  shape,
  data: new Float64Array(sizeOf(shape)),
});

/** Calls `f` for each cell in row-major order; `at` is reused. */
export function eachCell(shape: readonly number[], f: (at: readonly number[], flat: number) => void): void {
  const n = sizeOf(shape);
  const at = new Array<number>(shape.length).fill(0);
  for (let flat = 0; flat < n; flat++) {
    f(at, flat);
    for (let i = shape.length - 1; i >= 0; i--) {
      if (++at[i] < shape[i]) break;
      at[i] = 0;
    }
  }
}

/**
 * For each cell of `shape` in row-major order, a second offset that moves by `strides` per axis (0 repeats): the inner
 * loop of every broadcast, transpose, slice and reduction.
 */
export function eachOffset(
  shape: readonly number[],
  strides: readonly number[],
  start: number,
  f: (flat: number, offset: number) => void,
): void {
  const n = sizeOf(shape);
  const rank = shape.length;
  const at = new Array<number>(rank).fill(0);
  let offset = start;
  for (let flat = 0; flat < n; flat++) {
    f(flat, offset);
    for (let i = rank - 1; i >= 0; i--) {
      offset += strides[i];
      if (++at[i] < shape[i]) break;
      offset -= strides[i] * shape[i];
      at[i] = 0;
    }
  }
}

/** Strides of the result of reducing `axes`, one per axis of the operand: 0 along the reduced ones. */
export function reducedStrides(shape: readonly number[], axes: readonly number[]): number[] {
  const kept = stridesOf(shape.map((d, i) => (axes.includes(i) ? 1 : d)));
  return kept.map((s, i) => (axes.includes(i) ? 0 : s));
}

/** Combines along `axes` into `out`, which keepdims does not change the order of. */
export function reduceDense(
  x: Dense,
  axes: readonly number[],
  out: Dense,
  init: number,
  combine: (sum: number, v: number) => number,
): void {
  out.data.fill(init);
  const { data } = x;
  const into = out.data;
  eachOffset(x.shape, reducedStrides(x.shape, axes), 0, (flat, o) => {
    into[o] = combine(into[o], data[flat]);
  });
}

/** The value a dtype holds: integers wrap around, bool is 0 or 1; floats stay doubles. */
export function wrap(dtype: DType, v: number): number {
  switch (dtype) {
    case "i32":
      return v | 0;
    case "u32":
      return v >>> 0;
    case "bool":
      return v ? 1 : 0;
    default:
      return v;
  }
}
/** A product in the dtype: exact modulo 2^32 for integers. */
export const times = (dtype: DType, a: number, b: number): number =>
  dtype === "i32" ? Math.imul(a, b) : dtype === "u32" ? Math.imul(a, b) >>> 0 : a * b;

/** Float to integer as C and WGSL do: towards zero, saturating; NaN is 0. */
export function convert(v: number, from: DType, to: DType): number {
  if (to === "bool") return v !== 0 ? 1 : 0;
  if (to === "f32" || to === "f16") return v;
  if (from === "f32" || from === "f16") {
    if (Number.isNaN(v)) return 0;
    const t = Math.trunc(v);
    return to === "i32"
      ? Math.min(2147483647, Math.max(-2147483648, t))
      : Math.min(4294967295, Math.max(0, t));
  }
  return wrap(to, v);
}
