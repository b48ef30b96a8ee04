// Tensors at the boundary and their bytes. In: typed arrays and shapes. Out: the Tensor class, and the conversions between
// what JavaScript holds and what the GPU holds (bool is u32 there, f16 two bytes; copies are multiples of four bytes).
import type * as api from "./api.ts";
import { few, InputError, told } from "./errors.ts";
import { tensorText } from "./print.ts";
import type { DType } from "./program.ts";

export type AnyArray = Float32Array | Int32Array | Uint32Array | Uint8Array;
export type AnyView = AnyArray | Uint16Array | BigInt64Array;

export const sizeOf = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);
/** Bytes of an element on the GPU. */
export const itemBytes = (dtype: DType): number => (dtype === "f16" ? 2 : 4);
export const alignTo = (n: number, to: number): number => Math.ceil(n / to) * to;

/** `f32[2, 3]`, as messages say it. */
export const typeText = (dtype: string, shape: readonly (number | string)[]): string =>
  `${dtype}[${shape.join(", ")}]`;

/** The method by which an object says how Node prints it. */
export const inspect: unique symbol = Symbol.for("nodejs.util.inspect.custom") as never;

/** A tensor's elements on the GPU: how to bring them back, and how to free them. */
export interface Remote {
  readonly buffer: GPUBuffer;
  fetch(): Promise<AnyArray>;
  free(): void;
}

/** What holds elements outside the GPU. */
const CLASSES = { f32: Float32Array, f16: Float32Array, i32: Int32Array, u32: Uint32Array, bool: Uint8Array };

/** The tag of that class: an array's of another realm (an iframe, a vm context) has it, too. */
export const heldBy = (dtype: DType): string => CLASSES[dtype].name;

export const tagOf = (view: unknown): string | undefined =>
  ArrayBuffer.isView(view)
    ? (view as { readonly [Symbol.toStringTag]?: string })[Symbol.toStringTag]
    : undefined;

/** Whether a typed array's memory was transferred, or shrank under it: it would pass for an empty one. */
export function isGone(view: ArrayBufferView): boolean {
  try {
    (view as Uint8Array).values();
    return false;
  } catch {
    return true;
  }
}

/** Sizes as given by a caller, copied. */
export function takeShape(shape: unknown, what: string): number[] {
  const sizes =
    Array.isArray(shape) || (ArrayBuffer.isView(shape) && tagOf(shape))
      ? [...(shape as Iterable<unknown>)]
      : undefined;
  if (
    !sizes?.every((d) => Number.isSafeInteger(d) && (d as number) >= 0) ||
    !Number.isSafeInteger(sizeOf(sizes as number[]))
  )
    throw new InputError(
      "input-shape",
      `${what}: a shape is a list of sizes, given ${sizes ? `[${few(sizes.map(told))}]` : typeof shape}`,
    );
  return sizes.map((d) => (d as number) + 0); // no -0
}

export class Tensor<D extends DType = DType> implements api.Tensor<D> {
  static readonly name: string = "Tensor"; // survives minification
  readonly #dtype: D;
  readonly #shape: readonly number[];
  readonly #count: number;
  #data: AnyArray | undefined;
  #remote: Remote | undefined;

  /** Without `data`, `remote` says where the elements are. */
  constructor(dtype: D, shape: readonly number[], data: AnyArray | undefined, remote?: Remote) {
    if (typeof dtype !== "string" || !Object.hasOwn(CLASSES, dtype))
      throw new InputError(
        "tensor",
        `a Tensor is of ${Object.keys(CLASSES).join(", ")}, given ${told(dtype)}`,
      );
    this.#dtype = dtype;
    this.#shape = takeShape(shape, "a Tensor");
    if (!remote && tagOf(data) !== heldBy(dtype))
      throw new InputError(
        "tensor",
        `a Tensor of ${dtype} has a ${heldBy(dtype)}, given ${tagOf(data) ?? typeof data}`,
      );
    this.#count = sizeOf(this.#shape);
    if (data && data.length !== this.#count)
      throw new InputError("tensor", `${this.#type()} has ${this.#count} elements, given ${data.length}`);
    this.#data = data;
    this.#remote = remote;
  }

  get dtype(): D {
    return this.#dtype;
  }

  /** A copy: what a caller does to it changes no tensor, and no plan. */
  get shape(): readonly number[] {
    return [...this.#shape];
  }

  get buffer(): api.GpuBuffer | undefined {
    return this.#remote?.buffer;
  }

  get data(): api.TypedArrays[D] {
    const trouble = this.#trouble();
    if (trouble) throw new InputError(trouble[0], `this ${this.#type()} ${trouble[1]}`);
    return this.#data as AnyArray as api.TypedArrays[D];
  }

  #type(): string {
    return typeText(this.#dtype, this.#shape);
  }

  /** Why its elements cannot be had: a code, and words. */
  #trouble(): readonly [string, string] | undefined {
    if (!this.#data)
      return ["on-gpu", this.#remote ? "is on the GPU: await read() first" : "was disposed of"];
    // Memory that was transferred, or shrank under its view, leaves none; so nothing is missed where there are none.
    if (this.#data.length === this.#count) return undefined;
    return ["detached", "lost its elements: their memory was transferred or resized"];
  }

  async read(): Promise<api.TypedArrays[D]> {
    if (!this.#data && this.#remote) this.#data = await this.#remote.fetch();
    return this.data;
  }

  item(): number {
    if (this.#count !== 1)
      throw new InputError("tensor", `item() is for one element, this is ${this.#type()}`);
    return this.data[0];
  }

  toArray(): api.Numbers {
    const [data, shape] = [this.data, this.#shape];
    let at = 0;
    const nest = (axis: number): api.Numbers =>
      axis === shape.length ? data[at++] : Array.from({ length: shape[axis] }, () => nest(axis + 1));
    return nest(0);
  }

  /** As `console.log` prints it. */
  toString(): string {
    const trouble = this.#trouble();
    if (trouble) return `Tensor ${this.#type()} that ${trouble[1]}`;
    const text = tensorText({ dtype: this.#dtype, shape: this.#shape, data: this.data });
    return `Tensor ${this.#type()}${text.includes("\n") ? "\n" : " "}${text}`;
  }

  /** What Node's `console.log` asks for. */
  [inspect](): string {
    return this.toString();
  }

  dispose(): void {
    this.#remote?.free();
    this.#remote = undefined;
  }
}

/** Elements from the GPU's bytes (a copy that is ours). */
export function fromGpu(dtype: DType, bytes: ArrayBuffer, count: number): AnyArray {
  if (dtype === "bool") return Uint8Array.from(new Uint32Array(bytes, 0, count));
  if (dtype === "f16") return Float32Array.from(new Uint16Array(bytes, 0, count), f16ToNumber);
  return new CLASSES[dtype](bytes, 0, count);
}

/** An array that queue.writeBuffer takes in every browser: memory neither shared nor resizable. */
export function unshared<T extends AnyView>(data: T): T {
  const buffer = data.buffer as ArrayBuffer & { readonly resizable?: boolean };
  return buffer instanceof ArrayBuffer && !buffer.resizable ? data : (data.slice() as T);
}

/** The GPU's bytes of elements, padded to four; the array itself where it is right already. */
export function toGpu(dtype: DType, data: AnyArray): AnyView {
  const own = unshared(data);
  if (dtype === "bool") return Uint32Array.from(own, (x) => (x ? 1 : 0));
  if (dtype !== "f16") return own;
  const out = new Uint16Array(alignTo(own.length, 2));
  for (let i = 0; i < own.length; i++) out[i] = numberToF16(own[i]);
  return out;
}

/** A bare constructor per dtype, as held outside the GPU. */
export const arrayOf = (dtype: DType, length: number): AnyArray => new CLASSES[dtype](length);

const word = new DataView(new ArrayBuffer(4));

export function f16ToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Rounds a float32 to half precision, ties to even. */
export function numberToF16(value: number): number {
  word.setFloat32(0, value);
  const high = word.getUint16(0);
  const sign = high & 0x8000;
  const size = Math.abs(word.getFloat32(0));
  if (!(size < 65520)) return sign | (size > 0 ? 0x7c00 : 0x7e00);
  const exponent = Math.max(-14, ((high >> 7) & 255) - 127);
  // In units of the last place; what is added and taken away rounds to even. A carry runs into the exponent, which is right.
  return sign | (((exponent + 14) << 10) + (size * 2 ** (10 - exponent) + 2 ** 52 - 2 ** 52));
}

export function bf16ToNumber(bits: number): number {
  word.setUint32(0, bits << 16);
  return word.getFloat32(0);
}
