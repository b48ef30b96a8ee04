// Compares tensors element by element: |actual - expected| <= atol + rtol * |expected|, as numpy does. What goes wrong is
// told so that one can act on it: how many, the worst place with its index, and the shape.

export interface Tolerance {
  readonly rtol?: number;
  readonly atol?: number;
  /** Named in the message. */
  readonly name?: string;
  /** For indices in the message; flat ones without it. */
  readonly shape?: readonly number[];
}

/** Undefined where all agree; otherwise what to tell. */
export function difference(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  { rtol = 1e-4, atol = 1e-5, name = "tensor", shape }: Tolerance = {},
): string | undefined {
  if (actual.length !== expected.length) {
    return `${name}: ${actual.length} elements, expected ${expected.length}`;
  }
  let wrong = 0;
  let worst = -1;
  let worstExcess = 0;
  let maxError = 0;
  for (let i = 0; i < expected.length; i++) {
    const a = actual[i];
    const e = expected[i];
    if (a === e || (Number.isNaN(a) && Number.isNaN(e))) continue;
    const error = Math.abs(a - e);
    const excess = Number.isNaN(error) ? Number.POSITIVE_INFINITY : error - (atol + rtol * Math.abs(e));
    if (!Number.isNaN(error)) maxError = Math.max(maxError, error);
    if (excess <= 0) continue;
    wrong++;
    if (worst < 0 || excess > worstExcess) {
      worst = i;
      worstExcess = excess;
    }
  }
  if (wrong === 0) return undefined;
  const place = shape === undefined ? `[${worst}]` : `[${unravel(worst, shape).join(", ")}]`;
  const of = shape === undefined ? "" : ` of [${shape.join(", ")}]`;
  return (
    `${name}: ${wrong} of ${expected.length} elements differ by more than ${atol} + ${rtol} * |expected|; ` +
    `worst at ${place}${of}: ${actual[worst]}, expected ${expected[worst]}; largest error ${maxError.toExponential(3)}`
  );
}

/** Throws where `difference` finds one. */
export function allclose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: Tolerance = {},
): void {
  const message = difference(actual, expected, tolerance);
  if (message !== undefined) throw new Error(message);
}

function unravel(flat: number, shape: readonly number[]): number[] {
  const index: number[] = [];
  for (let k = shape.length - 1; k >= 0; k--) {
    index.unshift(flat % shape[k]);
    flat = Math.floor(flat / shape[k]);
  }
  return index;
}
