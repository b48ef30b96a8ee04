// Weights as packed words with scales, and back (storage.ts says which, and how they lie). In: a weight's numbers. Out: words and
// scales, or the numbers that these stand for. Numbers are symmetric about 0, so that 0 stays 0; a scale is what one step is
// worth. Of 4 bits the scale is the one of a few that leaves the smallest squares.
import { halfBits, ofHalf } from "./ir/data.ts";
import type { StoredWeight } from "./storage.ts";

export interface Quantized {
  readonly words: Uint32Array;
  readonly scale?: Float32Array;
}

/** What cannot be stored: which number it is, and why. */
export class QuantizeError extends Error {
  override name = "QuantizeError";
}

/** Below this a step would be no normal number, which devices may take for 0. */
const SMALLEST = 2 ** -126;
/** Of 4 bits the largest number need not be the last step: clipping it makes all others finer. */
const TRIED = [1, 0.95, 0.9, 0.85, 0.8, 0.75] as const;

const count = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/**
 * For each number of a weight in its own order: calls `each` with its place, and those of its word, of its place in that, and
 * of its scale.
 */
function walk(w: StoredWeight, each: (i: number, word: number, place: number, scale: number) => void): void {
  const { shape, axis, bits, group, order } = w;
  const per = 32 / bits;
  /** Steps of words and scales along the weight's axes. */
  const steps = (of: readonly number[] | undefined): number[] => {
    const out = shape.map(() => 0);
    let step = 1;
    for (let i = order.length - 1; of && i >= 0; i--) {
      out[order[i]] = of[i] === 1 ? 0 : step;
      step *= of[i];
    }
    return out;
  };
  const words = steps(w.words.shape);
  const scales = steps(w.scale?.shape);
  const at = shape.map(() => 0);
  let word = 0;
  let scale = 0;
  for (let i = 0, n = count(shape); i < n; i++) {
    const k = at[axis];
    each(i, word + Math.floor(k / per) * words[axis], k % per, scale + Math.floor(k / group) * scales[axis]);
    for (let d = shape.length - 1; d >= 0; d--) {
      at[d]++;
      if (d !== axis) {
        word += words[d];
        scale += scales[d];
      }
      if (at[d] < shape[d]) break;
      if (d !== axis) {
        word -= words[d] * shape[d];
        scale -= scales[d] * shape[d];
      }
      at[d] = 0;
    }
  }
}

/** The words and scales of a weight. Throws QuantizeError for numbers that cannot be stored so. */
export function quantizeWeight(w: StoredWeight, data: ArrayLike<number>): Quantized {
  const { bits, path } = w;
  for (let i = 0; i < data.length; i++)
    if (!Number.isFinite(data[i]))
      throw new QuantizeError(`${path} has ${data[i]} at element ${i}: only finite numbers can be stored`);
  const words = new Uint32Array(count(w.words.shape));
  if (bits === 16) {
    walk(w, (i, word, place) => {
      const half = halfBits(data[i]);
      if ((half & 0x7fff) === 0x7c00)
        throw new QuantizeError(`${path} has ${data[i]} at element ${i}: halves end at 65504`);
      words[word] |= half << (16 * place);
    });
    return { words };
  }
  const scale = scalesOf(w, data);
  const [low, high] = rangeOf(bits);
  const mask = 2 ** bits - 1;
  walk(w, (i, word, place, s) => {
    words[word] |= (stepOf(data[i], scale[s], low, high) & mask) << (bits * place);
  });
  return { words, scale };
}
const rangeOf = (bits: number): readonly [number, number] =>
  bits === 8 ? [-127, 127] : [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1];
const stepOf = (x: number, scale: number, low: number, high: number): number =>
  scale === 0 ? 0 : Math.min(high, Math.max(low, Math.round(x / scale)));

function scalesOf(w: StoredWeight, data: ArrayLike<number>): Float32Array {
  const n = count(w.scale?.shape ?? []);
  /** The number of the largest magnitude, with its sign. */
  const peak = new Float64Array(n);
  const of = new Uint32Array(data.length);
  walk(w, (i, _word, _place, s) => {
    of[i] = s;
    if (Math.abs(data[i]) > Math.abs(peak[s])) peak[s] = data[i];
  });
  const normal = (x: number): number => (Math.abs(x) < SMALLEST ? 0 : x);
  if (w.bits === 8) return Float32Array.from(peak, (x) => normal(Math.abs(x) / 127));
  // There is one step more below 0 than above: the peak takes it.
  const [low, high] = rangeOf(w.bits);
  const tried = TRIED.map((part) => Float32Array.from(peak, (x) => normal((part * x) / low)));
  const squares = tried.map(() => new Float64Array(n));
  for (let i = 0; i < data.length; i++)
    for (const [t, scale] of tried.entries()) {
      const step = scale[of[i]];
      squares[t][of[i]] += (data[i] - step * stepOf(data[i], step, low, high)) ** 2;
    }
  return Float32Array.from(peak, (_, s) => {
    let best = 0;
    for (let t = 1; t < tried.length; t++) if (squares[t][s] < squares[best][s]) best = t;
    return tried[best][s];
  });
}

/** The numbers that words and scales stand for, as kernels decode them. */
export function dequantizeWeight(w: StoredWeight, { words, scale }: Quantized): Float32Array {
  const out = new Float32Array(count(w.shape));
  const { bits } = w;
  walk(w, (i, word, place, s) => {
    const raw = words[word] >>> (bits * place);
    out[i] = bits === 16 ? ofHalf(raw & 0xffff) : ((raw << (32 - bits)) >> (32 - bits)) * (scale?.[s] ?? 1);
  });
  return out;
}
