// Hash-made numbers: the rule of test/figures/make/hashing.py, which says it in full. A name and a shape in, the same
// floats as there out, so that figures need not hold weights or inputs.

function fmix32(h: number): number {
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  h ^= h >>> 16;
  return h >>> 0;
}

function fnv1a(name: string): number {
  let h = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) h = Math.imul(h ^ byte, 0x01000193);
  return h >>> 0;
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);

/** Element i in [0, 1), as a double. */
function unit(name: string): (i: number) => number {
  const key = fnv1a(name);
  return (i) => (fmix32(fmix32(i) ^ key) >>> 8) / 16777216;
}

function floats(name: string, shape: readonly number[], value: (u: number) => number): Float32Array {
  const u = unit(name);
  return Float32Array.from({ length: sizeOf(shape) }, (_, i) => value(u(i)));
}

/** In [-1, 1): inputs and directions. */
export function signed(name: string, shape: readonly number[]): Float32Array {
  return floats(name, shape, (u) => 2 * u - 1);
}

/** In [0, 1): pixels, shares. */
export function unitFloats(name: string, shape: readonly number[]): Float32Array {
  return floats(name, shape, (u) => u);
}

/** In 0 .. below - 1: labels and token ids. */
export function integers(name: string, shape: readonly number[], below: number): Int32Array {
  const u = unit(name);
  return Int32Array.from({ length: sizeOf(shape) }, (_, i) => Math.floor(u(i) * below));
}

/** A parameter or running statistic, by the end of its name and its rank. */
export function parameter(name: string, shape: readonly number[]): Float32Array {
  if (name.endsWith("running_var") || (shape.length === 1 && name.endsWith("weight"))) {
    return floats(name, shape, (u) => 0.75 + 0.5 * u);
  }
  if (shape.length <= 1) return floats(name, shape, (u) => 0.2 * (2 * u - 1));
  const bound = Math.sqrt(6 / sizeOf(shape.slice(1)));
  return floats(name, shape, (u) => (2 * u - 1) * bound);
}

/** The checksum of a large tensor: its dot product with `signed("probe:" + name)`. */
export function probe(name: string, values: ArrayLike<number>): number {
  const direction = signed(`probe:${name}`, [values.length]);
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] * direction[i];
  return sum;
}
