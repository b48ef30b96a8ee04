// What is right, and how far a result is from it. PyTorch's results in double precision (figures.ts) are what every system
// is held to before anything is timed; for a model of the user's, the results of another system.
import { integers, probe } from "../test/support/hashing.ts";

export type Values = ArrayLike<number>;

/** What a system computed, by the names that the workload's reference has. */
export type Results = Readonly<Record<string, Values>>;

/** A result, of which a few elements are kept, and two numbers that hang on all of them. */
export interface Expected {
  readonly size: number;
  /** The elements at `placesOf(size)`. */
  readonly values: readonly number[];
  /** The largest magnitude. */
  readonly largest: number;
  /** Of all elements: the Euclidean norm, and the dot product with hash-made numbers (`probe` of hashing.ts). */
  readonly norm: number;
  readonly probe: number;
}

const KEPT = 256;

/** Which elements of a result are kept: all of few, else scattered ones. */
export const placesOf = (size: number): Int32Array =>
  size <= KEPT ? Int32Array.from({ length: size }, (_, i) => i) : integers("places", [KEPT], size);

export function keep(values: Values): Expected {
  let largest = 0;
  let squares = 0;
  for (let i = 0; i < values.length; i++) {
    largest = Math.max(largest, Math.abs(values[i]));
    squares += values[i] ** 2;
  }
  const size = values.length;
  return {
    size,
    values: Array.from(placesOf(size), (i) => values[i]),
    largest,
    norm: Math.sqrt(squares),
    probe: probe("all", values),
  };
}

/**
 * The largest difference, as a part of the largest expected value, over all expected results; the difference of the probes
 * as a part of the norm is held to the same. Throws, saying where, for what is missing, misshapen, not finite, or further
 * off than the tolerance.
 */
export function largestError(
  results: Results,
  expected: Readonly<Record<string, Expected>>,
  tolerance: number,
): number {
  let worst = 0;
  for (const [name, want] of Object.entries(expected)) {
    const actual = results[name] as Values | undefined;
    if (!actual) throw new Error(`there is no ${name}`);
    if (actual.length !== want.size)
      throw new Error(`${name} has ${actual.length} elements, expected ${want.size}`);
    for (let i = 0; i < actual.length; i++) {
      if (!Number.isFinite(actual[i])) throw new Error(`${name}[${i}] is ${actual[i]}`);
    }
    for (const [i, place] of placesOf(want.size).entries()) {
      const error = Math.abs(actual[place] - want.values[i]) / (want.largest || 1);
      if (!(error <= tolerance))
        throw new Error(`${name}[${place}] is ${actual[place]}, expected ${want.values[i]}`);
      worst = Math.max(worst, error);
    }
    const off = Math.abs(probe("all", actual) - want.probe) / (want.norm || 1);
    if (!(off <= tolerance))
      throw new Error(`${name} as a whole is off by ${off.toExponential(1)} of its norm`);
  }
  return worst;
}
