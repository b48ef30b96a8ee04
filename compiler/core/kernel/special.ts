// Functions that JavaScript lacks, in double precision. In: a number. Out: a number, within a few ulp.
// Apart from functions.ts because the operators' references use them, too.

const TWO_OVER_SQRT_PI = 1.1283791670955126;

/** The error function: a power series near 0, a continued fraction of erfc beyond. */
export function erf(x: number): number {
  const a = Math.abs(x);
  if (Number.isNaN(x)) return x;
  if (a > 6) return Math.sign(x);
  if (a < 2.5) {
    // erf(x) = 2 / sqrt(pi) * exp(-x^2) * sum of 2^n x^(2n+1) / (2n+1)!!: all terms positive, nothing cancels.
    let term = a;
    let sum = a;
    for (let n = 1; n < 200 && term > sum * 1e-17; n++) {
      term *= (2 * a * a) / (2 * n + 1);
      sum += term;
    }
    return Math.sign(x) * TWO_OVER_SQRT_PI * Math.exp(-a * a) * sum;
  }
  return Math.sign(x) * (1 - erfcLarge(a));
}
/** erfc for x >= 2.5 by its continued fraction, evaluated from the inside. */
function erfcLarge(x: number): number {
  let t = x;
  for (let k = 60; k > 0; k--) t = x + k / 2 / t;
  return (Math.exp(-x * x) / t) * (TWO_OVER_SQRT_PI / 2);
}

/** 1 - erf(x), also where that is tiny. */
export function erfc(x: number): number {
  if (x > 2.5) return erfcLarge(x);
  return x < -2.5 ? 2 - erfcLarge(-x) : 1 - erf(x);
}

/** |x| with the sign of y, that of a zero, too. */
export function copySign(x: number, y: number): number {
  const a = Math.abs(x);
  return y < 0 || Object.is(y, -0) ? -a : a;
}

/** Of the 32 bits of x, as PyTorch: a shift by fewer than 0 or more than 31 places leaves none of them. */
export const shiftLeft = (x: number, by: number): number => (by >= 0 && by < 32 ? x << by : 0);
/** The same to the right, the sign shifted in where there is one. */
export function shiftRight(signed: boolean, x: number, by: number): number {
  const inside = by >= 0 && by < 32;
  return signed ? x >> (inside ? by : 31) : inside ? x >>> by : 0;
}

/** Rounds to the nearest integer, halves to even (PyTorch, devices). */
export function roundHalfEven(x: number): number {
  const r = Math.round(x);
  return Math.abs(x - Math.trunc(x)) === 0.5 && r % 2 !== 0 ? r - 1 : r;
}

/** C's pow: unlike JavaScript's, 1 to any power and (-1) to an infinite one are 1. */
export function pow(x: number, y: number): number {
  if (x === 1) return 1;
  if (x === -1 && (y === Number.POSITIVE_INFINITY || y === Number.NEGATIVE_INFINITY)) return 1;
  return x ** y;
}

/** PyTorch's remainder: exact as fmod is, with the sign of y. */
export function remainder(x: number, y: number): number {
  const r = x % y;
  return r !== 0 && r < 0 !== y < 0 ? r + y : r;
}

/** PyTorch's floor_divide of floats: the whole quotient of what `remainder` leaves. */
export function floorDivide(x: number, y: number): number {
  if (y === 0) return x / y;
  const r = x % y;
  const q = (x - r) / y - (r !== 0 && r < 0 !== y < 0 ? 1 : 0);
  const f = Math.floor(q);
  return q - f > 0.5 ? f + 1 : f;
}
