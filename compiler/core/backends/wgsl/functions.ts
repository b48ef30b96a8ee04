// Scalar functions as WGSL. In: a name of kernel/functions.ts and its operands as texts. Out: an expression, for one element
// or for four, and the functions it calls. Where WGSL's own function is far off on a software adapter (tanh, asin, acos,
// atan, log near 1), or missing (erf, log1p, expm1), a polynomial of our own goes into the kernel's prelude, generated from
// one template for both widths. How far a spelling may be from the meaning is said there (`functionTolerance`).
import type { DType } from "../../ir/types.ts";
import { castTarget, type ScalarFunctionName } from "../../kernel/functions.ts";

export type FunctionWidth = 1 | 4;

export interface Spelling {
  readonly text: string;
  /** Functions the text calls, by name, in the order they must be declared in. */
  readonly preludes?: ReadonlyMap<string, string>;
}
type Spell = (t: DType, w: FunctionWidth, ...x: string[]) => Spelling | string;

const isFloat = (t: DType): boolean => t === "f32" || t === "f16";
const typeName = (t: DType, w: FunctionWidth): string => (w === 1 ? t : `vec4<${t}>`);

// ------------------------------------------------------------------------------------------------ preludes

interface Prelude {
  readonly needs?: readonly string[];
  readonly body: string;
  /** Four wide it is called once a lane: what loops or branches by element. */
  readonly perLane?: readonly ("T" | "U" | "I")[];
}

/**
 * Templates: `T` f32, `U` u32, `I` i32 of the width; `#name` is another function of the same width.
 * Coefficients are those of Cephes' single precision library, within 2 ulp in f32, unless it says otherwise.
 */
const templates: { readonly [name: string]: Prelude } = {
  // log(1 + x) for 1 + x in [sqrt(1/2), sqrt(2)].
  log1p_core: {
    body: `(x: T) -> T {
  let z = x * x;
  var p = x * 7.0376836292e-2 - 1.1514610310e-1;
  p = p * x + 1.1676998740e-1;
  p = p * x - 1.2420140846e-1;
  p = p * x + 1.4249322787e-1;
  p = p * x - 1.6668057665e-1;
  p = p * x + 2.0000714765e-1;
  p = p * x - 2.4999993993e-1;
  p = p * x + 3.3333331174e-1;
  return x + (x * z * p - 0.5 * z);
}`,
  },
  // Devices that keep subnormals may take their exponent wrongly here: they are brought among the others.
  log: {
    needs: ["log1p_core"],
    body: `(x: T) -> T {
  let tiny = x < T(1.17549435e-38);
  let far = log(select(x, x * 16777216.0, tiny)) - select(T(), T(16.635532333438686), tiny);
  return select(far, #log1p_core(x - 1.0), (x > T(0.7071068)) & (x < T(1.4142135)));
}`,
  },
  log2: {
    needs: ["log1p_core"],
    body: `(x: T) -> T {
  let tiny = x < T(1.17549435e-38);
  let far = log2(select(x, x * 16777216.0, tiny)) - select(T(), T(24.0), tiny);
  return select(far, #log1p_core(x - 1.0) * 1.4426950408889634, (x > T(0.7071068)) & (x < T(1.4142135)));
}`,
  },
  log1p: {
    needs: ["log1p_core"],
    body: `(x: T) -> T {
  return select(log(1.0 + x), #log1p_core(x), (x > T(-0.2928932)) & (x < T(0.4142135)));
}`,
  },
  expm1: {
    body: `(x: T) -> T {
  var p = x * 1.9875691500e-4 + 1.3981999507e-3;
  p = p * x + 8.3334519073e-3;
  p = p * x + 4.1665795894e-2;
  p = p * x + 1.6666665459e-1;
  p = p * x + 5.0000001201e-1;
  return select(exp(x) - 1.0, x + x * x * p, abs(x) < T(0.35));
}`,
  },
  tanh: {
    body: `(x: T) -> T {
  let a = abs(x);
  let z = x * x;
  var p = z * -5.70498872745e-3 + 2.06390887954e-2;
  p = p * z - 5.37397155531e-2;
  p = p * z + 1.33314422036e-1;
  p = p * z - 3.33332819422e-1;
  let far = 1.0 - 2.0 / (exp(2.0 * min(a, T(16.0))) + 1.0);
  let y = select(select(far, -far, x < T()), x + x * z * p, a < T(0.625));
  return select(y, x, (bitcast<U>(x) & U(0x7fffffffu)) > U(0x7f800000u));
}`,
  },
  // From 1 on by a polynomial of our own in the exponent, log(erfc(a)) but for what 1e-9 of erf is; within 1.3 ulp.
  erf: {
    body: `(x: T) -> T {
  let z = x * x;
  var n = z * 7.853861353153693e-5 - 8.010193625184903e-4;
  n = n * z + 5.188327685732524e-3;
  n = n * z - 2.685381193529856e-2;
  n = n * z + 1.128358514861418e-1;
  n = n * z - 3.761262582423300e-1;
  n = n * z + 1.128379165726710;
  let a = min(abs(x), T(4.0));
  var q = a * 1.855749e-4 - 2.9396159e-3;
  q = q * a + 2.1805352e-2;
  q = q * a - 1.0303744e-1;
  q = q * a - 6.382256e-1;
  q = q * a - 1.12704;
  q = q * a - 3.5370892e-4;
  let far = 1.0 - exp(q);
  let w = select(select(far, -far, x < T()), x * n, abs(x) < T(1.0));
  return select(w, x, (bitcast<U>(x) & U(0x7fffffffu)) > U(0x7f800000u));
}`,
  },
  // exp(x) * 2^n, from what whole halvings leave of x: a device's own is off by what rounding x * log2(e) costs.
  scaled_exp: {
    body: `(x: T, n: T) -> T {
  let k = round(x * 1.4426950408889634);
  return ldexp(exp((x - k * 0.693359375) + k * 2.1219444005469057e-4), I(k + n));
}`,
  },
  // exp(x) / 2 of x >= 0, up to the largest numbers; infinite beyond.
  half_exp: {
    needs: ["scaled_exp"],
    body: `(x: T) -> T {
  return 2.0 * #scaled_exp(min(x, T(90.0)), T(-2.0));
}`,
  },
  // exp(-a * a) of the square in two parts: what is lost of it would be lost of the exponent. exp(a * a) * a * erfc(a) is the
  // last select.
  erfc: {
    needs: ["erf", "scaled_exp"],
    body: `(x: T) -> T {
  let a = clamp(abs(x), T(1.0), T(11.0));
  let q = 1.0 / a;
  let y = q * q;
  var p = y * 2.326819970068386e-2 - 1.387039388740657e-1;
  p = p * y + 3.687424674597105e-1;
  p = p * y - 5.824733027278666e-1;
  p = p * y + 6.210004621745983e-1;
  p = p * y - 4.944515323274145e-1;
  p = p * y + 3.404879937665872e-1;
  p = p * y - 2.741127028184656e-1;
  p = p * y + 5.638259427386472e-1;
  var r = y * -1.047766399936249e+1 + 1.297719955372516e+1;
  r = r * y - 7.495518717768503;
  r = r * y + 2.921019019210786;
  r = r * y - 1.015265279202700;
  r = r * y + 4.218463358204948e-1;
  r = r * y - 2.820767439740514e-1;
  r = r * y + 5.641895067754075e-1;
  let c = bitcast<T>(bitcast<U>(a) & U(0xfffff000u));
  let far = #scaled_exp(-c * c, T()) * exp((c - a) * (c + a)) * q * select(r, p, a < T(2.0));
  let w = select(select(far, 2.0 - far, x < T()), 1.0 - #erf(x), abs(x) < T(1.0));
  return select(w, x, (bitcast<U>(x) & U(0x7fffffffu)) > U(0x7f800000u));
}`,
  },
  asin_core: {
    body: `(x: T, z: T) -> T {
  var p = z * 4.2163199048e-2 + 2.4181311049e-2;
  p = p * z + 4.5470025998e-2;
  p = p * z + 7.4953002686e-2;
  p = p * z + 1.6666752422e-1;
  return x + x * z * p;
}`,
  },
  asin: {
    needs: ["asin_core"],
    body: `(x: T) -> T {
  let a = abs(x);
  let h = 0.5 * (1.0 - a);
  let far = 1.5707963267948966 - 2.0 * #asin_core(sqrt(h), h);
  return select(select(far, -far, x < T()), #asin_core(x, x * x), a <= T(0.5));
}`,
  },
  acos: {
    needs: ["asin_core"],
    body: `(x: T) -> T {
  let a = abs(x);
  let h = 0.5 * (1.0 - a);
  let far = 2.0 * #asin_core(sqrt(h), h);
  return select(select(far, 3.141592653589793 - far, x < T()), 1.5707963267948966 - #asin_core(x, x * x), a <= T(0.5));
}`,
  },
  atan: {
    body: `(x: T) -> T {
  let a = abs(x);
  let big = a > T(2.414213562373095);
  let middle = a > T(0.4142135623730950);
  let t = select(select(a, (a - 1.0) / (a + 1.0), middle), -1.0 / max(a, T(1.0)), big);
  let base = select(select(T(), T(0.7853981633974483), middle), T(1.5707963267948966), big);
  let z = t * t;
  var p = z * 8.05374449538e-2 - 1.38776856032e-1;
  p = p * z + 1.99777106478e-1;
  p = p * z - 3.33329491539e-1;
  let y = base + (t + t * z * p);
  return select(y, -y, x < T());
}`,
  },
  // From the quotient of the smaller by the larger, brought to the right octant; signs by bits, those of zeros, too. Large
  // operands are brought down, since quotients of the largest are less exact.
  atan2: {
    needs: ["atan"],
    body: `(y: T, x: T) -> T {
  let by = bitcast<U>(y);
  let bx = bitcast<U>(x);
  let p = abs(y);
  let q = abs(x);
  let large = max(p, q);
  let s = select(T(1.0), T(8.271806125530277e-25), large > T(1e24));
  let small = min(p, q);
  let t = select(select((small * s) / (large * s), T(1.0), p == q), T(), large == T());
  let a = #atan(t);
  let b = select(a, 1.5707963267948966 - a, p > q);
  let c = select(b, 3.141592653589793 - b, bx >= U(0x80000000u));
  let m = max(by & U(0x7fffffffu), bx & U(0x7fffffffu));
  return select(bitcast<T>(bitcast<U>(c) | (by & U(0x80000000u))), bitcast<T>(m), m > U(0x7f800000u));
}`,
  },
  sinh: {
    needs: ["expm1", "half_exp"],
    body: `(x: T) -> T {
  let a = abs(x);
  let e = #expm1(min(a, T(1.0)));
  let h = #half_exp(a);
  let far = select(0.5 * (e + e / (e + 1.0)), h - 0.25 / h, a > T(1.0));
  let y = select(far, -far, x < T());
  return select(y, x, (bitcast<U>(x) & U(0x7fffffffu)) > U(0x7f800000u));
}`,
  },
  cosh: {
    needs: ["half_exp"],
    body: `(x: T) -> T {
  let h = #half_exp(abs(x));
  return select(h + 0.25 / h, x, (bitcast<U>(x) & U(0x7fffffffu)) > U(0x7f800000u));
}`,
  },
  asinh: {
    needs: ["log1p"],
    body: `(x: T) -> T {
  let a = abs(x);
  let b = min(a, T(1e9));
  let near = #log1p(b + b * b / (1.0 + sqrt(b * b + 1.0)));
  let far = select(near, log(a) + 0.6931471805599453, a > T(1e9));
  let y = select(far, -far, x < T());
  return select(y, x, (bitcast<U>(x) & U(0x7fffffffu)) > U(0x7f800000u));
}`,
  },
  // A NaN is made at run time, as in pow.
  acosh: {
    needs: ["log1p"],
    body: `(x: T) -> T {
  let t = clamp(x, T(1.0), T(1e9)) - 1.0;
  let near = #log1p(t + sqrt(2.0 * t + t * t));
  let y = select(near, log(max(x, T(1.0))) + 0.6931471805599453, x > T(1e9));
  return select(y, bitcast<T>(bitcast<U>(x) | U(0x7fc00000u)), (x < T(1.0)) | ((bitcast<U>(x) & U(0x7fffffffu)) > U(0x7f800000u)));
}`,
  },
  atanh: {
    needs: ["log1p"],
    body: `(x: T) -> T {
  let a = abs(x);
  let b = 0.5 * #log1p(2.0 * a / (1.0 - a));
  let y = select(b, -b, x < T());
  return select(y, bitcast<T>(bitcast<U>(x) | U(0x7fc00000u)), (a > T(1.0)) | ((bitcast<U>(x) & U(0x7fffffffu)) > U(0x7f800000u)));
}`,
  },
  copysign: {
    body: `(x: T, y: T) -> T {
  return bitcast<T>((bitcast<U>(x) & U(0x7fffffffu)) | (bitcast<U>(y) & U(0x80000000u)));
}`,
  },
  fmod: {
    needs: ["fmod_bits"],
    body: `(x: f32, y: f32) -> f32 {
  let a = bitcast<u32>(x);
  return bitcast<f32>(#fmod_bits(a & 0x7fffffffu, bitcast<u32>(y) & 0x7fffffffu) | (a & 0x80000000u));
}`,
    perLane: ["T", "T"],
  },
  // As C's pow. A NaN is made at run time: as a constant WGSL refuses it.
  pow: {
    needs: ["log2"],
    body: `(x: T, y: T) -> T {
  let a = abs(x);
  let b = bitcast<U>(x);
  let whole = floor(y) == y;
  let odd = abs(y - 2.0 * floor(y * 0.5)) == T(1.0);
  let number = (bitcast<U>(y) & U(0x7fffffffu)) <= U(0x7f800000u);
  var r = exp2(y * #log2(a));
  r = select(r, a, y == T(1.0));
  r = select(r, T(), (a == T()) & (y > T()));
  r = select(r, T(1.0), (a == T(1.0)) & number);
  r = select(r, -r, odd & (b >= U(0x80000000u)));
  r = select(r, bitcast<T>(b | U(0x7fc00000u)), (x < T()) & (b < U(0xff800000u)) & !whole);
  return select(r, T(1.0), (y == T()) | (x == T(1.0)));
}`,
  },
  // Of two, NaN where one is: WGSL's own may give either. The larger of the magnitudes' bits tells, and is the NaN.
  max: {
    body: `(x: T, y: T) -> T {
  let m = max(bitcast<U>(x) & U(0x7fffffffu), bitcast<U>(y) & U(0x7fffffffu));
  return select(max(x, y), bitcast<T>(m), m > U(0x7f800000u));
}`,
  },
  min: {
    body: `(x: T, y: T) -> T {
  let m = max(bitcast<U>(x) & U(0x7fffffffu), bitcast<U>(y) & U(0x7fffffffu));
  return select(min(x, y), bitcast<T>(m), m > U(0x7f800000u));
}`,
  },
  // Negative numbers alone, from the largest that is one down to -0 by bits: a NaN of either sign stays. No compiler takes
  // it for its own max, which may lose NaN.
  relu: {
    body: `(x: T) -> T {
  return select(x, T(), bitcast<I>(x) <= I(-8388608));
}`,
  },
  sign: {
    body: `(x: T) -> T {
  return select(sign(x), T(), (bitcast<U>(x) & U(0x7fffffffu)) > U(0x7f800000u));
}`,
  },
  clamp: {
    body: `(x: T, low: T, high: T) -> T {
  return select(min(max(x, low), high), x, (bitcast<U>(x) & U(0x7fffffffu)) > U(0x7f800000u));
}`,
  },
  // C's fmod, exact: the remainder of the significands, eight binary places at a time. x, y >= 0 as bits, and so the result.
  fmod_bits: {
    body: `(x: u32, y: u32) -> u32 {
  if (y == 0u || x >= 0x7f800000u || y > 0x7f800000u) { return 0x7fc00000u; }
  if (x < y) { return x; }
  let ex = max(x >> 23u, 1u);
  let ey = max(y >> 23u, 1u);
  let my = (y & 0x7fffffu) | select(0u, 0x800000u, y >= 0x800000u);
  var r = ((x & 0x7fffffu) | select(0u, 0x800000u, x >= 0x800000u)) % my;
  for (var d = ex - ey; d > 0u && r != 0u; ) {
    let s = min(d, 8u);
    r = (r << s) % my;
    d -= s;
  }
  if (r == 0u) { return 0u; }
  let n = min(countLeadingZeros(r) - 8u, ey - 1u);
  return ((ey - n - 1u) << 23u) + (r << n);
}`,
    perLane: [],
  },
  // PyTorch's remainder: what fmod leaves, moved to the sign of y.
  rem: {
    needs: ["fmod_bits"],
    body: `(x: f32, y: f32) -> f32 {
  let a = bitcast<u32>(x);
  let b = bitcast<u32>(y);
  let m = #fmod_bits(a & 0x7fffffffu, b & 0x7fffffffu);
  let r = bitcast<f32>(m | (a & 0x80000000u));
  return select(r, r + y, (m != 0u) & (m <= 0x7f800000u) & (((a ^ b) & 0x80000000u) != 0u));
}`,
    perLane: ["T", "T"],
  },
  // PyTorch's floor_divide: the quotient of what the remainder leaves is whole but for rounding.
  floor_div: {
    needs: ["fmod_bits"],
    body: `(x: f32, y: f32) -> f32 {
  let a = bitcast<u32>(x);
  let b = bitcast<u32>(y);
  if ((b & 0x7fffffffu) == 0u) { return x / y; }
  let m = #fmod_bits(a & 0x7fffffffu, b & 0x7fffffffu);
  if (m > 0x7f800000u) { return bitcast<f32>(m); }
  let q = (x - bitcast<f32>(m | (a & 0x80000000u))) / y;
  let d = select(q, q - 1.0, (m != 0u) & (((a ^ b) & 0x80000000u) != 0u));
  let f = floor(d);
  return select(f, f + 1.0, d - f > 0.5);
}`,
    perLane: ["T", "T"],
  },
  unless_nan: {
    body: `(x: T, m: U) -> T {
  return select(x, bitcast<T>(m), m > U(0x7f800000u));
}`,
  },
  // Negative numbers the other way round, below the others; zeros are one, and NaN is above all.
  sort_key: {
    body: `(x: T) -> U {
  let b = bitcast<U>(x);
  let m = b & U(0x7fffffffu);
  let k = select(b ^ U(0x80000000u), ~b, b > U(0x80000000u));
  return select(select(k, U(0x80000000u), m == U()), U(0xffffffffu), m > U(0x7f800000u));
}`,
  },
  floor_div_i32: {
    body: `(x: I, y: I) -> I {
  let q = x / y;
  let r = x - q * y;
  return select(select(q, q - 1, (r != I()) & ((r < I()) != (y < I()))), I(), y == I());
}`,
  },
  rem_i32: {
    body: `(x: I, y: I) -> I {
  let r = x % y;
  return select(select(r, r + y, (r != I()) & ((r < I()) != (y < I()))), I(), y == I());
}`,
  },
  unpack_f16: {
    perLane: ["U", "I"],
    body: `(w: U, i: I) -> T {
  return unpack2x16float(w >> (u32(i) << 4u)).x;
}`,
  },
  // What is too small for a normal half would become 0.
  to_half: {
    body: `(x: T) -> T {
  return select(x, quantizeToF16(x), abs(x) >= T(6.103515625e-5));
}`,
  },
  threefry_round: {
    body: `(v: array<U, 2>, r: u32) -> array<U, 2> {
  let a = v[0] + v[1];
  return array<U, 2>(a, ((v[1] << U(r)) | (v[1] >> U(32u - r))) ^ a);
}`,
  },
  threefry: {
    needs: ["threefry_round"],
    body: `(k0: U, k1: U, c0: U, c1: U) -> array<U, 2> {
  let k2 = k0 ^ k1 ^ U(0x1bd11bdau);
  var v = array<U, 2>(c0 + k0, c1 + k1);
  v = #threefry_round(#threefry_round(#threefry_round(#threefry_round(v, 13u), 15u), 26u), 6u);
  v = array<U, 2>(v[0] + k1, v[1] + k2 + 1u);
  v = #threefry_round(#threefry_round(#threefry_round(#threefry_round(v, 17u), 29u), 16u), 24u);
  v = array<U, 2>(v[0] + k2, v[1] + k0 + 2u);
  v = #threefry_round(#threefry_round(#threefry_round(#threefry_round(v, 13u), 15u), 26u), 6u);
  v = array<U, 2>(v[0] + k0, v[1] + k1 + 3u);
  v = #threefry_round(#threefry_round(#threefry_round(#threefry_round(v, 17u), 29u), 16u), 24u);
  v = array<U, 2>(v[0] + k1, v[1] + k2 + 4u);
  v = #threefry_round(#threefry_round(#threefry_round(#threefry_round(v, 13u), 15u), 26u), 6u);
  return array<U, 2>(v[0] + k2, v[1] + k0 + 5u);
}`,
  },
};

const functionName = (name: string, w: FunctionWidth): string => `mdl_${name}_${w}`;

/** The text of one prelude function, f32 or integers, of a width. */
export function preludeText(name: string, w: FunctionWidth): string {
  const { perLane } = templates[name];
  if (perLane && w === 4) {
    const kinds = perLane.map((t) => ({ T: "f32", U: "u32", I: "i32" })[t]);
    const params = kinds.map((t, i) => `a${i}: vec4<${t}>`).join(", ");
    const lanes = ["x", "y", "z", "w"].map(
      (c) => `${functionName(name, 1)}(${kinds.map((_, i) => `a${i}.${c}`).join(", ")})`,
    );
    return `fn ${functionName(name, 4)}(${params}) -> vec4<f32> {\n  return vec4<f32>(${lanes.join(", ")});\n}`;
  }
  const body = templates[name].body
    .replace(/#(\w+)\(/g, (_m, other: string) => `${functionName(other, w)}(`)
    .replace(/\b([TUI])\b/g, (_m, t: string) =>
      typeName(({ T: "f32", U: "u32", I: "i32" } as const)[t as "T"], w),
    );
  return `fn ${functionName(name, w)}${body}`;
}

function withPrelude(name: string, w: FunctionWidth, text: (call: string) => string): Spelling {
  const preludes = new Map<string, string>();
  const need = (n: string, width: FunctionWidth): void => {
    const { needs, perLane } = templates[n];
    if (perLane && width === 4) need(n, 1);
    else for (const other of needs ?? []) need(other, width);
    preludes.set(functionName(n, width), preludeText(n, width));
  };
  need(name, w);
  return { text: text(functionName(name, w)), preludes };
}
/** A prelude function in f32, through f32 for f16. */
const own =
  (name: string): Spell =>
  (t, w, ...x) =>
    withPrelude(name, w, (call) =>
      t === "f16"
        ? `${typeName("f16", w)}(${call}(${x.map((a) => `${typeName("f32", w)}(${a})`).join(", ")}))`
        : `${call}(${x.join(", ")})`,
    );
const builtin =
  (name: string): Spell =>
  (_t, _w, ...x) =>
    `${name}(${x.join(", ")})`;
const infix =
  (sign: string): Spell =>
  (_t, _w, x, y) =>
    `${operand(x)} ${sign} ${operand(y)}`;
/** Of integers, 0 where the second is 0. */
const unlessZero =
  (sign: string): Spell =>
  (t, w, x, y) =>
    `select(${operand(x)} ${sign} ${operand(y)}, ${typeName(t, w)}(), ${operand(y)} == ${typeName(t, w)}())`;
/** The bits of a float. */
const bitsOf = (t: DType, w: FunctionWidth, x: string): string =>
  `bitcast<${typeName("u32", w)}>(${t === "f16" ? `${typeName("f32", w)}(${x})` : x})`;
const splat = (w: FunctionWidth, bits: string): string => (w === 1 ? bits : `vec4<u32>(${bits})`);
/** Of a word, the number of so many bits at a place, its sign in the highest of them. */
const signed =
  (bits: number): Spell =>
  (_t, w, x, i) => {
    const top = splat(w, `${32 - bits}u`);
    const place = /^(?:vec4<i32>\()?(\d+)\)?$/.exec(i)?.[1];
    const up = place
      ? splat(w, `${32 - bits - bits * Number(place)}u`)
      : `(${top} - ${typeName("u32", w)}(${i}) * ${splat(w, `${bits}u`)})`;
    return `${typeName("f32", w)}(bitcast<${typeName("i32", w)}>(${operand(x)} << ${up}) >> ${top})`;
  };
/** Of a shift: the places, and the most that a device takes, which counts them modulo 32. */
const placesOf = (w: FunctionWidth, y: string): readonly [string, string] => [
  `bitcast<${typeName("u32", w)}>(${y})`,
  splat(w, "31u"),
];

// ------------------------------------------------------------------------------------------------ the table

const EXPONENT = "0x7f800000u";
const MAGNITUDE = "0x7fffffffu";
/** By bits: compilers may assume that no value is NaN or infinite. */
const byBits =
  (test: (bits: string, w: FunctionWidth) => string): Spell =>
  (t, w, x) =>
    test(bitsOf(t, w, x), w);

/** Every scalar function, by the type of the first argument. */
const spellings: Readonly<Record<ScalarFunctionName, Spell>> = {
  add: infix("+"),
  sub: infix("-"),
  mul: infix("*"),
  div: infix("/"),
  floor_div: (t, w, x, y) => {
    if (isFloat(t)) return own("floor_div")(t, w, x, y);
    if (t === "i32") return withPrelude("floor_div_i32", w, (call) => `${call}(${x}, ${y})`);
    return unlessZero("/")(t, w, x, y);
  },
  rem: (t, w, x, y) => {
    if (isFloat(t)) return own("rem")(t, w, x, y);
    if (t === "i32") return withPrelude("rem_i32", w, (call) => `${call}(${x}, ${y})`);
    return unlessZero("%")(t, w, x, y);
  },
  fmod: (t, w, x, y) => (isFloat(t) ? own("fmod") : unlessZero("%"))(t, w, x, y),
  // exp2(y * log2(x)): the error grows with the exponent of the result.
  pow: own("pow"),
  atan2: own("atan2"),
  copysign: own("copysign"),
  max: (t, w, x, y) =>
    t === "bool" ? `${operand(x)} | ${operand(y)}` : isFloat(t) ? own("max")(t, w, x, y) : `max(${x}, ${y})`,
  min: (t, w, x, y) =>
    t === "bool" ? `${operand(x)} & ${operand(y)}` : isFloat(t) ? own("min")(t, w, x, y) : `min(${x}, ${y})`,
  raw_max: builtin("max"),
  raw_min: builtin("min"),
  magnitude: (t, w, x) => `${bitsOf(t, w, x)} & ${splat(w, MAGNITUDE)}`,
  unless_nan: (t, w, x, m) =>
    withPrelude("unless_nan", w, (call) =>
      t === "f16"
        ? `${typeName("f16", w)}(${call}(${typeName("f32", w)}(${x}), ${m}))`
        : `${call}(${x}, ${m})`,
    ),
  clamp: (t, w, x, low, high) =>
    isFloat(t) ? own("clamp")(t, w, x, low, high) : `min(max(${x}, ${low}), ${high})`,
  relu: (t, w, x) => (isFloat(t) ? own("relu")(t, w, x) : `max(${x}, ${typeName(t, w)}())`),
  neg: (_t, _w, x) => `-${operand(x)}`,
  abs: builtin("abs"),
  sign: (t, w, x) => (isFloat(t) ? own("sign")(t, w, x) : `sign(${x})`),
  floor: builtin("floor"),
  ceil: builtin("ceil"),
  round: builtin("round"),
  trunc: builtin("trunc"),
  sqrt: builtin("sqrt"),
  rsqrt: builtin("inverseSqrt"),
  reciprocal: (t, _w, x) => `${t === "f16" ? "1.0h" : "1.0"} / ${operand(x)}`,
  exp: builtin("exp"),
  exp2: builtin("exp2"),
  expm1: own("expm1"),
  log: own("log"),
  log2: own("log2"),
  log1p: own("log1p"),
  sin: builtin("sin"),
  cos: builtin("cos"),
  tan: builtin("tan"),
  asin: own("asin"),
  acos: own("acos"),
  atan: own("atan"),
  tanh: own("tanh"),
  sinh: own("sinh"),
  cosh: own("cosh"),
  asinh: own("asinh"),
  acosh: own("acosh"),
  atanh: own("atanh"),
  sigmoid: (t, _w, x) =>
    t === "f16" ? `1.0h / (1.0h + exp(-${operand(x)}))` : `1.0 / (1.0 + exp(-${operand(x)}))`,
  erf: own("erf"),
  erfc: own("erfc"),
  eq: infix("=="),
  // Compilers spell != of floats so that it is false for NaN.
  ne: (t, _w, x, y) => (isFloat(t) ? `!(${operand(x)} == ${operand(y)})` : `${operand(x)} != ${operand(y)}`),
  lt: infix("<"),
  le: infix("<="),
  gt: infix(">"),
  ge: infix(">="),
  and: infix("&"),
  or: infix("|"),
  xor: infix("!="),
  not: (_t, _w, x) => `!${operand(x)}`,
  bitwise_and: infix("&"),
  bitwise_or: infix("|"),
  bitwise_xor: (t, _w, x, y) => `${operand(x)} ${t === "bool" ? "!=" : "^"} ${operand(y)}`,
  bitwise_not: (t, _w, x) => `${t === "bool" ? "!" : "~"}${operand(x)}`,
  // More places than 31, and fewer than 0 (many, unsigned), are told apart.
  bitwise_left_shift: (t, w, x, y) => {
    const [places, most] = placesOf(w, y);
    return `select(${operand(x)} << min(${places}, ${most}), ${typeName(t, w)}(), ${places} > ${most})`;
  },
  bitwise_right_shift: (t, w, x, y) => {
    const [places, most] = placesOf(w, y);
    const shifted = `${operand(x)} >> min(${places}, ${most})`;
    return t === "i32" ? shifted : `select(${shifted}, ${typeName(t, w)}(), ${places} > ${most})`;
  },
  is_nan: byBits((b, w) => `(${b} & ${splat(w, MAGNITUDE)}) > ${splat(w, EXPONENT)}`),
  is_inf: byBits((b, w) => `(${b} & ${splat(w, MAGNITUDE)}) == ${splat(w, EXPONENT)}`),
  is_finite: byBits((b, w) => `(${b} & ${splat(w, EXPONENT)}) != ${splat(w, EXPONENT)}`),
  // In one comparison.
  inside: (_t, w, x, extent) => `${typeName("u32", w)}(${x}) < ${typeName("u32", w)}(${extent})`,
  select: (_t, _w, c, x, y) => `select(${y}, ${x}, ${c})`,
  shift_right: infix(">>"),
  to_f16: (_t, w, x) => `${typeName("f16", w)}(${x})`,
  unpack_f16: own("unpack_f16"),
  unpack_i8: signed(8),
  unpack_i4: signed(4),
  sort_key: (t, w, x) => {
    if (isFloat(t))
      return withPrelude(
        "sort_key",
        w,
        (call) => `${call}(${t === "f16" ? `${typeName("f32", w)}(${x})` : x})`,
      );
    const bits = `${typeName("u32", w)}(${x})`;
    return t === "i32" ? `${bits} ^ ${splat(w, "0x80000000u")}` : bits;
  },
  threefry_a: (_t, w, ...x) => withPrelude("threefry", w, (call) => `${call}(${x.join(", ")})[0]`),
  threefry_b: (_t, w, ...x) => withPrelude("threefry", w, (call) => `${call}(${x.join(", ")})[1]`),
};
const cast =
  (to: DType): Spell =>
  (t, w, x) => {
    if (t === to) return x;
    // Compilers leave out a rounding whose result is widened again; half of a float is rounded by what they may not.
    return to === "f16" && t === "f32"
      ? withPrelude("to_half", w, (call) => `${typeName(to, w)}(${call}(${x}))`)
      : `${typeName(to, w)}(${x})`;
  };

/**
 * A call as WGSL: `args` are expressions of `argDtype` (for select the first is the condition) and of the given width.
 * bool is WGSL's bool here; storage as u32 is the business of loads and stores.
 */
export function wgslFunction(
  fn: string,
  args: readonly string[],
  argDtype: DType,
  width: FunctionWidth,
): Spelling {
  const to = castTarget(fn);
  const spell = to ? cast(to) : spellings[fn as ScalarFunctionName];
  const spelled = spell(argDtype, width, ...args);
  return typeof spelled === "string" ? { text: spelled } : spelled;
}

/** The text in parentheses unless it is a name, a literal, an element or one call. */
function operand(text: string): string {
  if (/^[\w.]+$/.test(text)) return text;
  const open = /^[\w.]*(<[\w<>, ]*>)?[([]/.exec(text);
  if (!open) return `(${text})`;
  let depth = 0;
  for (let i = open[0].length - 1; i < text.length; i++) {
    if (text[i] === "(" || text[i] === "[") depth++;
    else if ((text[i] === ")" || text[i] === "]") && --depth === 0) {
      const rest = text.slice(i + 1);
      if (rest === "" || /^(\.[xyzw]+|\[\d+\])$/.test(rest)) return text;
      if (rest.startsWith("[") || rest.startsWith("(")) continue;
      return `(${text})`;
    }
  }
  return `(${text})`;
}
