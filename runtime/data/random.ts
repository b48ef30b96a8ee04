// What is drawn for data: by a seed, an epoch and a record alone, so that neither workers nor where a run was resumed change
// it. In: these numbers. Out: uniforms, orders. Threefry, as everything random in a model is.
import { drawKey, fnv1a, seedWords, threefry2x32, type Words } from "../core/threefry.ts";
import { DataError } from "./dataset.ts";

export function keyOf(seed: number | bigint, purpose: string, epoch: number): Words {
  const words = seedWords(seed);
  if (!words) throw new DataError(`a seed is an integer from 0 to 2^64 - 1, given ${seed}`);
  return drawKey(words, fnv1a(purpose), epoch);
}

/** Uniforms in [0, 1), one after the other. */
export type Draw = () => number;

export function drawOf(key: Words, record: number): Draw {
  let i = 0;
  return () => (threefry2x32(key, [record, i++])[0] >>> 8) / 16777216;
}

/** The numbers below `n` in an order of the key's own (Fisher and Yates). */
export function permutation(n: number, key: Words): Int32Array {
  const order = Int32Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    // 53 bits, so that no place is likelier than another by more than 2^-21.
    const [a, b] = threefry2x32(key, [i, 0]);
    const j = Math.floor((((a >>> 5) * 67108864 + (b >>> 6)) / 9007199254740992) * (i + 1));
    const t = order[i];
    order[i] = order[j];
    order[j] = t;
  }
  return order;
}

/** A standard normal value. */
export const normal = (draw: Draw): number =>
  Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());

/** Marsaglia and Tsang (2000); below 1 by the power of a uniform. */
function gamma(shape: number, draw: Draw): number {
  if (shape < 1) return gamma(shape + 1, draw) * (1 - draw()) ** (1 / shape);
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = normal(draw);
    const v = (1 + c * x) ** 3;
    if (v > 0 && Math.log(1 - draw()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return d * v;
  }
}

/** Beta(a, a), of which mixup takes its share. */
export function beta(a: number, draw: Draw): number {
  const [x, y] = [gamma(a, draw), gamma(a, draw)];
  return x / (x + y);
}
