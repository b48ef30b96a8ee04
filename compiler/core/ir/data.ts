// The elements of literal tensors, held once and referred to. In: numbers. Out: Data, one object for equal contents, with a
// name that says them: so keys and texts of graphs hold a name, however many elements there are. Separate because everything
// else in a graph is as small as what the author wrote.
import type { Attr, DType, Graph } from "./types.ts";

export interface Data {
  readonly dtype: DType;
  /** In row-major order, rounded to its dtype; bool as 0 and 1. Never written to. */
  readonly elements: Float32Array | Int32Array | Uint32Array;
  /** What texts call it: dtype, number of elements, digits made of the contents. The same in every process. */
  readonly name: string;
}

export const isData = (a: Attr): a is Data => typeof a === "object" && a !== null && "elements" in a;

/** What is alive of all data, by name. */
const known = new Map<string, WeakRef<Data>>();

/** The data that holds these numbers, made where there is none yet. The numbers are copied. */
export function literalData(dtype: DType, numbers: ArrayLike<number>): Data {
  const elements =
    dtype === "f32"
      ? Float32Array.from(numbers)
      : dtype === "f16"
        ? Float32Array.from(numbers, (x) => ofHalf(halfBits(x)))
        : dtype === "i32"
          ? Int32Array.from(numbers)
          : Uint32Array.from(numbers);
  const words = new Uint32Array(elements.buffer);
  // Two different contents of one name would be one tensor: the second is called otherwise.
  for (let name = `${dtype}x${elements.length}_${digits(words)}`; ; name += "x") {
    const old = known.get(name)?.deref();
    if (old) {
      const others = new Uint32Array(old.elements.buffer);
      if (others.every((w, i) => w === words[i])) return old;
      continue;
    }
    const made: Data = { dtype, elements, name };
    known.set(name, new WeakRef(made));
    return made;
  }
}

/** 64 bits of the contents: two hashes of 32, each FNV-1a over words and mixed. */
function digits(words: Uint32Array): string {
  let a = 0x811c9dc5;
  let b = 0x9e3779b9;
  for (const w of words) {
    a = Math.imul(a ^ w, 0x01000193);
    a ^= a >>> 15;
    b = Math.imul(b ^ w, 0x85ebca6b);
    b = (b << 13) | (b >>> 19);
  }
  const hex = (h: number): string => (mixed(h) >>> 0).toString(16).padStart(8, "0");
  return hex(a) + hex(b);
}
function mixed(h: number): number {
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** Bytes of an element where kernels read it. */
export const bytesPer = (dtype: DType): number => (dtype === "f16" ? 2 : 4);
/** The elements as a kernel reads them: four bytes each, and two of f16, little-endian. */
export function dataBytes(d: Data): Uint8Array {
  const { elements } = d;
  if (d.dtype === "f16") return new Uint8Array(Uint16Array.from(elements, halfBits).buffer);
  return new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength);
}

const scratch = new Float32Array(1);
const bitsOf = new Uint32Array(scratch.buffer);
/** An f32 as the nearest f16, ties to even. */
export function halfBits(x: number): number {
  scratch[0] = x;
  const bits = bitsOf[0];
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  // Below the normal numbers of f16, adding 0.5 shifts the digits to where they are to be, and rounds.
  if (magnitude < 0x38800000) {
    scratch[0] = Math.abs(x) + 0.5;
    return sign | (bitsOf[0] - 0x3f000000);
  }
  return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
}

/** The number of these 16 bits. */
export const ofHalf = (h: number): number => {
  const [exponent, digits] = [(h >>> 10) & 31, h & 1023];
  const size =
    exponent === 31
      ? digits === 0
        ? Number.POSITIVE_INFINITY
        : Number.NaN
      : exponent === 0
        ? digits * 2 ** -24
        : (1024 + digits) * 2 ** (exponent - 25);
  return h & 0x8000 ? -size : size;
};

/** The data that graphs refer to, bodies included, by name: what the text of a graph needs beside it. */
export function constantsOf(...graphs: readonly Graph[]): Map<string, Data> {
  const out = new Map<string, Data>();
  const visit = (a: Attr): void => {
    if (isData(a)) out.set(a.name, a);
    else if (typeof a === "object" && a !== null && "nodes" in a) within(a);
    else if (Array.isArray(a)) a.forEach(visit);
  };
  const within = (g: Graph): void => {
    for (const n of g.nodes) Object.values(n.attrs).forEach(visit);
  };
  graphs.forEach(within);
  return out;
}
