// Scalar functions: what an expression may call. In: names. Out: for each the dtype of its result, its meaning in
// JavaScript (doubles; integers exact), and how far a kernel's result may be from the meaning. How a backend spells them is
// its own business (backends/wgsl/functions.ts).
import { threefry2x32 } from "../../../runtime/core/threefry.ts";
import { ofHalf } from "../ir/data.ts";
import type { DType } from "../ir/types.ts";
import {
  copySign,
  erf,
  erfc,
  floorDivide,
  pow,
  remainder,
  roundHalfEven,
  shiftLeft,
  shiftRight,
} from "./special.ts";

/** How far a kernel's result in f32 may be from the meaning: |error| <= abs + ulp * (spacing of f32 at the exact result). */
export interface Tolerance {
  readonly ulp: number;
  readonly abs?: number;
}

interface ScalarFunction {
  readonly arity: number;
  /** Dtype of the result; that of the first argument by default. */
  readonly result?: DType;
  /** The meaning; integers are wrapped to the dtype afterwards. */
  readonly js: (t: DType, ...x: number[]) => number;
  readonly tolerance?: Tolerance;
  /** Additions that take as long, roughly: what a pass weighs computing anew by. 1 by default. */
  readonly cost?: number;
  /** An argument that is known is text, however large it is, and no word of the uniform block: shifts by it are then known. */
  readonly literal?: true;
}
/** From this cost on a call is dear: rather stored than computed by many readers. */
export const DEAR = 8;

const isFloat = (t: DType): boolean => t === "f32" || t === "f16";

function sortKey(t: DType, x: number): number {
  if (!isFloat(t)) return t === "i32" ? (x ^ 0x80000000) >>> 0 : x;
  if (Number.isNaN(x)) return 0xffffffff;
  const bits = new Uint32Array(Float32Array.of(x).buffer)[0];
  if (x === 0) return 0x80000000;
  return (bits > 0x80000000 ? ~bits : bits ^ 0x80000000) >>> 0;
}

const EXACT: Tolerance = { ulp: 0 };
/** An unary float function. */
const unary = (js: (x: number) => number, tolerance: Tolerance = EXACT, cost = 1): ScalarFunction => ({
  arity: 1,
  js: (_t, x) => js(x),
  tolerance,
  cost,
});
const compare = (js: (x: number, y: number) => boolean): ScalarFunction => ({
  arity: 2,
  result: "bool",
  js: (_t, x, y) => (js(x, y) ? 1 : 0),
});
const classify = (js: (x: number) => boolean): ScalarFunction => ({
  arity: 1,
  result: "bool",
  js: (_t, x) => (js(x) ? 1 : 0),
});

const table = {
  add: { arity: 2, js: (_t, x, y) => x + y },
  sub: { arity: 2, js: (_t, x, y) => x - y },
  mul: { arity: 2, js: (t, x, y) => (isFloat(t) ? x * y : Math.imul(x, y)) },
  div: { arity: 2, js: (_t, x, y) => x / y, tolerance: { ulp: 2.5 }, cost: 4 },
  floor_div: {
    arity: 2,
    js: (t, x, y) => (isFloat(t) ? floorDivide(x, y) : y !== 0 ? Math.floor(x / y) : 0),
    cost: 6,
  },
  rem: {
    arity: 2,
    js: (t, x, y) => (isFloat(t) || y !== 0 ? remainder(x, y) : 0),
    tolerance: { ulp: 1 },
    cost: 6,
  },
  /** C's fmod: what is left of x, with its sign. */
  fmod: { arity: 2, js: (t, x, y) => (isFloat(t) || y !== 0 ? x % y : 0), cost: 6 },
  pow: { arity: 2, js: (_t, x, y) => pow(x, y), tolerance: { ulp: 64 }, cost: 16 },
  atan2: { arity: 2, js: (_t, y, x) => Math.atan2(y, x), tolerance: { ulp: 6 }, cost: 20 },
  /** |x| with the sign of y, that of a zero, too. */
  copysign: { arity: 2, js: (_t, x, y) => copySign(x, y) },
  max: { arity: 2, js: (_t, x, y) => Math.max(x, y) },
  min: { arity: 2, js: (_t, x, y) => Math.min(x, y) },
  /** The larger or smaller where NaN is watched for otherwise: by `magnitude` along, and `unless_nan` at the end. */
  raw_max: { arity: 2, js: (_t, x, y) => Math.max(x, y) },
  raw_min: { arity: 2, js: (_t, x, y) => Math.min(x, y) },
  /** The bits of |x| (of a half as f32): above those of infinity for NaN alone. */
  magnitude: {
    arity: 1,
    result: "u32",
    js: (_t, x) => new Uint32Array(Float32Array.of(Math.abs(x)).buffer)[0],
  },
  /** x, but NaN where the largest magnitude that went into it is one. */
  unless_nan: { arity: 2, js: (_t, x, m) => (m > 0x7f800000 ? Number.NaN : x) },
  clamp: { arity: 3, js: (_t, x, low, high) => Math.min(Math.max(x, low), high) },
  relu: { arity: 1, js: (_t, x) => (x > 0 || Number.isNaN(x) ? x : 0) },
  neg: unary((x) => -x),
  abs: unary(Math.abs),
  /** 0 for NaN, as PyTorch's. */
  sign: unary((x) => Math.sign(x) || 0),
  floor: unary(Math.floor),
  ceil: unary(Math.ceil),
  round: unary(roundHalfEven),
  trunc: unary(Math.trunc),
  sqrt: unary(Math.sqrt, { ulp: 2.5 }, 8),
  rsqrt: unary((x) => 1 / Math.sqrt(x), { ulp: 2.5 }, 8),
  reciprocal: unary((x) => 1 / x, { ulp: 2.5 }, 4),
  // WGSL allows 3 + 2 |x| ulp: what rounding x * log2(e) costs.
  exp: unary(Math.exp, { ulp: 64 }, 8),
  exp2: unary((x) => 2 ** x, { ulp: 64 }, 8),
  expm1: unary(Math.expm1, { ulp: 64 }, 16),
  // WGSL allows 2 ** -21 between 0.5 and 2, and GPUs use it: near 1 the logarithm is as small as its error.
  log: unary(Math.log, { ulp: 4, abs: 2 ** -21 }, 8),
  log2: unary(Math.log2, { ulp: 4, abs: 2 ** -21 }, 8),
  log1p: unary(Math.log1p, { ulp: 6 }, 16),
  sin: unary(Math.sin, { ulp: 2, abs: 2 ** -11 }, 8),
  cos: unary(Math.cos, { ulp: 2, abs: 2 ** -11 }, 8),
  tan: unary(Math.tan, { ulp: 64, abs: 2 ** -10 }, 16),
  asin: unary(Math.asin, { ulp: 6 }, 16),
  acos: unary(Math.acos, { ulp: 6, abs: 1.5e-7 }, 16),
  atan: unary(Math.atan, { ulp: 6 }, 16),
  tanh: unary(Math.tanh, { ulp: 6 }, 16),
  sinh: unary(Math.sinh, { ulp: 16 }, 20),
  cosh: unary(Math.cosh, { ulp: 16 }, 20),
  asinh: unary(Math.asinh, { ulp: 8 }, 24),
  acosh: unary(Math.acosh, { ulp: 8 }, 24),
  atanh: unary(Math.atanh, { ulp: 8 }, 24),
  // Just not dear, though it is an exp and a division: gates of recurrent cells would be a kernel more at each step.
  sigmoid: unary((x) => 1 / (1 + Math.exp(-x)), { ulp: 64 }, 7),
  erf: unary(erf, { ulp: 8 }, 24),
  // Below the smallest normal number, beyond 9.2, it may be 0.
  erfc: unary(erfc, { ulp: 24, abs: 2 ** -126 }, 24),
  eq: compare((x, y) => x === y),
  ne: compare((x, y) => x !== y),
  lt: compare((x, y) => x < y),
  le: compare((x, y) => x <= y),
  gt: compare((x, y) => x > y),
  ge: compare((x, y) => x >= y),
  and: { arity: 2, result: "bool", js: (_t, x, y) => x & y },
  or: { arity: 2, result: "bool", js: (_t, x, y) => x | y },
  xor: { arity: 2, result: "bool", js: (_t, x, y) => x ^ y },
  not: { arity: 1, result: "bool", js: (_t, x) => 1 - x },
  // By bits, of integers and of bool.
  bitwise_and: { arity: 2, js: (_t, x, y) => x & y },
  bitwise_or: { arity: 2, js: (_t, x, y) => x | y },
  bitwise_xor: { arity: 2, js: (_t, x, y) => x ^ y },
  bitwise_not: { arity: 1, js: (t, x) => (t === "bool" ? 1 - x : ~x) },
  bitwise_left_shift: { arity: 2, js: (_t, x, y) => shiftLeft(x, y) },
  bitwise_right_shift: { arity: 2, js: (t, x, y) => shiftRight(t === "i32", x, y) },
  is_nan: classify(Number.isNaN),
  is_inf: classify((x) => Math.abs(x) === Number.POSITIVE_INFINITY),
  is_finite: classify(Number.isFinite),
  /** 0 <= x < extent. */
  inside: { arity: 2, result: "bool", js: (_t, x, extent) => (x >= 0 && x < extent ? 1 : 0) },
  select: { arity: 3, js: (_t, c, x, y) => (c ? x : y) },
  shift_right: { arity: 2, js: (_t, x, y) => x >>> y },
  /** What goes where nothing widens it again: as `cast_f16`, but the device rounds as it does. */
  to_f16: { arity: 1, result: "f16", js: (t, x) => convert(x, t, "f16") },
  /** One of the numbers that lie side by side in a word, the first in its lowest bits: two halves, four bytes, eight of four bits. */
  unpack_f16: { arity: 2, result: "f32", js: (_t, w, i) => ofHalf((w >>> (16 * i)) & 0xffff), literal: true },
  unpack_i8: { arity: 2, result: "f32", js: (_t, w, i) => (w << (24 - 8 * i)) >> 24, literal: true },
  unpack_i4: { arity: 2, result: "f32", js: (_t, w, i) => (w << (28 - 4 * i)) >> 28, literal: true },
  /** A number without sign that is larger where x comes later in an order: zeros are one, and NaN comes last. */
  sort_key: { arity: 1, result: "u32", cost: 6, js: sortKey },
  threefry_a: {
    arity: 4,
    result: "u32",
    cost: 100,
    js: (_t, k0, k1, c0, c1) => threefry2x32([k0, k1], [c0, c1])[0],
  },
  threefry_b: {
    arity: 4,
    result: "u32",
    cost: 100,
    js: (_t, k0, k1, c0, c1) => threefry2x32([k0, k1], [c0, c1])[1],
  },
} satisfies { readonly [name: string]: ScalarFunction };
/** Names of all functions but `cast_DTYPE`. */
export type ScalarFunctionName = keyof typeof table;

/** Float to integer as devices do: towards zero, saturating. */
function convert(v: number, from: DType, to: DType): number {
  if (to === "bool") return v !== 0 ? 1 : 0;
  if (isFloat(to)) return v;
  if (isFloat(from)) {
    if (Number.isNaN(v)) return 0;
    const [low, high] = to === "i32" ? [-2147483648, 2147483647] : [0, 4294967295];
    return Math.min(high, Math.max(low, Math.trunc(v)));
  }
  return to === "i32" ? v | 0 : v >>> 0;
}

/** A literal as a dtype holds it where it is beyond the largest number: an infinity. Others are left as they are. */
export function overflowed(dtype: DType, v: number): number {
  const limit = dtype === "f16" ? 65520 : dtype === "f32" ? 3.4028235677973366e38 : undefined;
  return limit !== undefined && Math.abs(v) >= limit ? Math.sign(v) * Number.POSITIVE_INFINITY : v;
}

/** The dtype that `cast_DTYPE` gives. */
export const castTarget = (fn: string): DType | undefined =>
  fn.startsWith("cast_") ? (fn.slice(5) as DType) : undefined;

function functionOf(fn: string): ScalarFunction {
  const to = castTarget(fn);
  if (to) return { arity: 1, result: to, js: (t, x) => convert(x, t, to) };
  const f = Object.hasOwn(table, fn) ? table[fn as ScalarFunctionName] : undefined;
  if (!f) throw new Error(`no scalar function is called ${fn}`);
  return f;
}

export const functionNames: readonly string[] = Object.keys(table);
export const functionArity = (fn: string): number => functionOf(fn).arity;
export const functionTakesLiterals = (fn: string): boolean => functionOf(fn).literal === true;
export const functionCost = (fn: string): number => functionOf(fn).cost ?? 1;
export const functionTolerance = (fn: string): Tolerance => functionOf(fn).tolerance ?? EXACT;

/** The dtype of a call, from those of its arguments. */
export function functionDtype(fn: string, args: readonly DType[]): DType {
  if (fn === "select") return args[1];
  return functionOf(fn).result ?? args[0];
}

/** The value of a call in double precision; integers wrap around. `dtype` is that of the first argument. */
export function callFunction(fn: string, dtype: DType, ...args: number[]): number {
  const f = functionOf(fn);
  const v = f.js(dtype, ...args);
  const to = f.result ?? (fn === "select" ? undefined : dtype);
  return to === "i32" ? v | 0 : to === "u32" ? v >>> 0 : v;
}
