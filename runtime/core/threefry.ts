// Random bits that are equal everywhere: Threefry-2x32 with 20 rounds (Salmon et al., 2011), bit for bit what the kernels
// compute. In: key and counter words. Out: words, and uniforms made of them. The compiler imports this file, too (constant
// folding, the reference evaluator), so that there is one definition.
//
// How a tensor draws: key = threefry(seed, (hash of its path, step)); element i is the first word of threefry(key, (i, pass)),
// where pass counts the passes of the loops around it and is 0 outside of any.

export type Words = readonly [number, number];

const ROTATIONS = [13, 15, 26, 6, 17, 29, 16, 24];

/** The two words of the block `counter` under `key`, as unsigned numbers. */
export function threefry2x32(key: Words, counter: Words): Words {
  const keys = [key[0], key[1], key[0] ^ key[1] ^ 0x1bd11bda];
  let a = (counter[0] + key[0]) | 0;
  let b = (counter[1] + key[1]) | 0;
  for (let block = 0; block < 5; block++) {
    for (let i = 0; i < 4; i++) {
      const r = ROTATIONS[((block & 1) << 2) + i];
      a = (a + b) | 0;
      b = ((b << r) | (b >>> (32 - r))) ^ a;
    }
    a = (a + keys[(block + 1) % 3]) | 0;
    b = (b + keys[(block + 2) % 3] + block + 1) | 0;
  }
  return [a >>> 0, b >>> 0];
}

/** The 32-bit FNV-1a hash of a text's UTF-8 bytes: how an instance path becomes part of a key. */
export function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  // Escapes are the bytes of UTF-8; the compiler imports this file and has no TextEncoder.
  for (const [one] of encodeURIComponent(text).matchAll(/%..|./g)) {
    const byte = one.length === 3 ? Number.parseInt(one.slice(1), 16) : one.charCodeAt(0);
    hash = Math.imul(hash ^ byte, 0x01000193);
  }
  return hash >>> 0;
}

/** The key under which a path draws in a step. */
export const drawKey = (seed: Words, hash: number, step: number): Words => threefry2x32(seed, [hash, step]);

/** Random bits of element `i` under a key of `drawKey`; loops draw anew in each `pass`. */
export const randomBits = (key: Words, i: number, pass = 0): number => threefry2x32(key, [i, pass])[0];

/** In [0, 1), from the upper 24 bits: exact in float32. */
export const uniformFromBits = (bits: number): number => (bits >>> 8) / 16777216;

/** A standard normal value of element `i` (Box and Muller), from both words of its block. */
export function normal(key: Words, i: number): number {
  const [a, b] = threefry2x32(key, [i, 0]);
  return Math.sqrt(-2 * Math.log(1 - uniformFromBits(a))) * Math.cos(2 * Math.PI * uniformFromBits(b));
}

/** The two words of a seed: a non-negative integer below 2^64 (numbers: below 2^53). */
export function seedWords(seed: number | bigint): Words | undefined {
  if (typeof seed === "number") {
    if (!Number.isSafeInteger(seed) || seed < 0) return undefined;
    return [seed >>> 0, Math.floor(seed / 4294967296)];
  }
  if (seed < 0n || seed >> 64n) return undefined;
  return [Number(seed & 0xffffffffn), Number(seed >> 32n)];
}

/** The seed of two words, as `seedWords` takes it. */
export const seedOf = ([low, high]: Words): number | bigint =>
  high < 2 ** 21 ? high * 4294967296 + low : (BigInt(high) << 32n) | BigInt(low);
