// The safetensors format. In: a file's bytes, or tensors. Out: tensors by path with their element type, or a file's bytes.
// A file is not trusted: sizes and offsets are checked before anything is read.
import { WeightsError } from "./errors.ts";
import type { DType } from "./program.ts";
import {
  type AnyArray,
  arrayOf,
  bf16ToNumber,
  f16ToNumber,
  itemBytes,
  numberToF16,
  sizeOf,
} from "./tensor.ts";

export interface FileTensor {
  /** As the file says it: F32, BF16, I64, … */
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

const FILE_BYTES: Readonly<Record<string, number>> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
};

const bad = (why: string): WeightsError =>
  new WeightsError("weights-format", `not a safetensors file: ${why}`);

export function parseSafetensors(file: Uint8Array): Map<string, FileTensor> {
  if (file.byteLength < 8) throw bad(`it has ${file.byteLength} bytes`);
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const length = view.getUint32(0, true) + view.getUint32(4, true) * 2 ** 32;
  if (length > file.byteLength - 8) throw bad("its header is longer than the file");
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length)));
  } catch (cause) {
    throw new WeightsError("weights-format", "not a safetensors file: its header is no JSON", {}, cause);
  }
  if (typeof header !== "object" || header === null) throw bad("its header is no object");
  const body = file.subarray(8 + length);
  const tensors = new Map<string, FileTensor>();
  for (const [path, entry] of Object.entries(header)) {
    if (path === "__metadata__") continue;
    const { dtype, shape, data_offsets: at } = (entry ?? {}) as Record<string, unknown>;
    const isSizes = (x: unknown): x is number[] =>
      Array.isArray(x) && x.every((d) => Number.isSafeInteger(d) && d >= 0);
    if (typeof dtype !== "string" || !isSizes(shape) || !isSizes(at) || at.length !== 2) {
      throw bad(`${path} has no dtype, shape or data_offsets`);
    }
    const item = Object.hasOwn(FILE_BYTES, dtype) ? FILE_BYTES[dtype] : undefined;
    if (item === undefined) throw bad(`${path} has the unknown dtype ${dtype}`);
    if (at[1] > body.byteLength) throw bad(`${path} lies beyond its end (the file may be truncated)`);
    if (at[1] - at[0] !== sizeOf(shape) * item)
      throw bad(`${path} has ${at[1] - at[0]} bytes for [${shape}]`);
    tensors.set(path, { dtype, shape, bytes: body.subarray(at[0], at[1]) });
  }
  return tensors;
}

const isFloat = (fileDtype: string): boolean => fileDtype.includes("F");

/** A file's elements as `dtype`; undefined where that would not be the same kind of number. */
export function convert(tensor: FileTensor, dtype: DType): AnyArray | undefined {
  const { dtype: from, bytes, shape } = tensor;
  if ((dtype === "f32" || dtype === "f16") !== isFloat(from)) return undefined;
  const count = sizeOf(shape);
  if (from === "F32" && bytes.byteOffset % 4 === 0)
    return new Float32Array(bytes.buffer, bytes.byteOffset, count);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const out = arrayOf(dtype, count);
  const item = FILE_BYTES[from];
  for (let i = 0; i < count; i++) {
    const value = readItem(view, from, i * item);
    out[i] = dtype === "bool" ? (value ? 1 : 0) : value;
    // Integers that do not fit are refused, floats are rounded.
    if (!isFloat(from) && dtype !== "bool" && out[i] !== value) return undefined;
  }
  return out;
}

function readItem(view: DataView, dtype: string, at: number): number {
  switch (dtype) {
    case "F64":
      return view.getFloat64(at, true);
    case "F32":
      return view.getFloat32(at, true);
    case "F16":
      return f16ToNumber(view.getUint16(at, true));
    case "BF16":
      return bf16ToNumber(view.getUint16(at, true));
    case "I64":
      return Number(view.getBigInt64(at, true));
    case "I32":
      return view.getInt32(at, true);
    case "I16":
      return view.getInt16(at, true);
    case "I8":
      return view.getInt8(at);
    case "U64":
      return Number(view.getBigUint64(at, true));
    case "U32":
      return view.getUint32(at, true);
    case "U16":
      return view.getUint16(at, true);
    default:
      return view.getUint8(at);
  }
}

const FILE_DTYPE: Readonly<Record<DType, string>> = {
  f32: "F32",
  f16: "F16",
  i32: "I32",
  u32: "U32",
  bool: "BOOL",
};

export interface NamedTensor {
  readonly path: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: AnyArray;
}

export function formatSafetensors(
  tensors: readonly NamedTensor[],
  metadata: Record<string, string>,
): Uint8Array {
  // Keys are quoted by hand: an object would reorder integer-like ones and swallow `__proto__`.
  const parts = [`"__metadata__":${JSON.stringify(metadata)}`];
  let offset = 0;
  for (const { path, dtype, shape, data } of tensors) {
    const bytes = data.length * (dtype === "bool" ? 1 : itemBytes(dtype));
    parts.push(
      `${JSON.stringify(path)}:{"dtype":"${FILE_DTYPE[dtype]}","shape":[${shape}],"data_offsets":[${offset},${offset + bytes}]}`,
    );
    offset += bytes;
  }
  const text = new TextEncoder().encode(`{${parts.join(",")}}`);
  const start = 8 + Math.ceil(text.length / 8) * 8;
  const out = new Uint8Array(start + offset).fill(0x20, 8, start);
  new DataView(out.buffer).setUint32(0, start - 8, true);
  out.set(text, 8);
  let at = start;
  for (const { dtype, data } of tensors) {
    const raw = dtype === "f16" ? Uint16Array.from(data, numberToF16) : data;
    out.set(new Uint8Array(raw.buffer, raw.byteOffset, raw.byteLength), at);
    at += raw.byteLength;
  }
  return out;
}
