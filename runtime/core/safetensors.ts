// The safetensors format. In: a file's header, or tensors. Out: where each tensor lies with its element type, or a file's
// bytes. A file is not trusted: what the safetensors library refuses is refused (test/figures/safetensors.json), and so are
// two tensors of one name.
import { few, isObject, shown, WeightsError } from "./errors.ts";
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

/** Where a tensor lies. */
export interface FileEntry {
  /** As the file says it: F32, BF16, I64, … */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** In the file. */
  readonly begin: number;
  readonly end: number;
}

export interface FileTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** All that the format knows; those that `convert` does not read may stand in a file, too. */
const DTYPES =
  "F64 F32 F16 BF16 I64 I32 I16 I8 U64 U32 U16 U8 BOOL C64 F8_E4M3 F8_E5M2 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ F6_E2M3 F6_E3M2 F4".split(
    " ",
  );
/** Bits of an element: the first number of its name. */
const bitsOf = (dtype: string): number => +(/\d+/.exec(dtype) ?? 8);

/** As the library has it. */
const MOST_HEADER_BYTES = 100_000_000;

const bad = (why: string): WeightsError =>
  new WeightsError("weights-format", `not a safetensors file: ${why}`);

/** What else a file that was given may be, by its first bytes (`printable`), with the way out. */
const FOREIGN: readonly (readonly [RegExp, string])[] = [
  [
    /^PK%03%04.*data\.pkl|^%80%0[2-5]/,
    'it is a PyTorch checkpoint (.pth, .pt) or another pickle: in Python, safetensors.torch.save_file(model.state_dict(), "model.safetensors") writes one',
  ],
  [
    /^PK%03%04.*\.npy/,
    'it is NumPy\'s .npz: in Python, safetensors.numpy.save_file(dict(numpy.load("model.npz")), "model.safetensors") writes one',
  ],
  [/^PK%03%04/, "it is a zip archive"],
  [/^%93NUMPY/, "it is NumPy's .npy, one array without a name"],
  [/^%1f%8b/, "it is compressed by gzip: decompress it first"],
  [/^%89HDF/, "it is HDF5 (.h5): write its tensors with the library safetensors"],
  [/^GGUF/, "it is GGUF: take the model's .safetensors"],
  [/^(%..|.){4}TFL3/, "it is a TensorFlow Lite model: write its tensors with the library safetensors"],
  [/^%08%[01].(%12|:)/, "it is an ONNX model: write its tensors with the library safetensors"],
  [/^version https:..git-lfs/, "it is a pointer of Git LFS: git lfs pull brings the file"],
  [/^( |%0[9ad])*</, "it is HTML or XML: is its address right?"],
  [/^( |%0[9ad])*[[{]/, "it is JSON text (an index of several files?): give the .safetensors itself"],
];

/** Bytes as text, `%1f` for what ASCII does not print. */
const printable = (bytes: Uint8Array): string =>
  String.fromCharCode(...bytes).replace(
    /[^ -~]/g,
    (c) => `%${c.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );

/** How many bytes of a file's beginning `headerLength` looks at. */
export const HEAD_BYTES = 1024;

/** The length of the header, which begins at byte 8. In: the file's first bytes, and its size. */
export function headerLength(head: Uint8Array, size: number): number {
  if (size < 8) throw bad(`it has ${size} bytes`);
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const length = view.getUint32(0, true) + view.getUint32(4, true) * 2 ** 32;
  if (length <= Math.min(size - 8, MOST_HEADER_BYTES)) return length;
  const text = printable(head.subarray(0, HEAD_BYTES));
  // A header that begins in its place is one, of a file that was cut.
  const known = /^(%..|.){8} *\{/.test(text) ? undefined : FOREIGN.find(([pattern]) => pattern.test(text));
  if (known) throw bad(known[1]);
  if (length > size - 8) throw bad("its header is longer than the file");
  throw bad(`its header has ${length} bytes, ${MOST_HEADER_BYTES} at most are allowed`);
}

/** The tensors by path. In: the header's bytes, and the file's size. */
export function parseHeader(bytes: Uint8Array, size: number): Map<string, FileEntry> {
  let header: unknown;
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    header = JSON.parse(text);
    scan(text);
  } catch (cause) {
    if (cause instanceof WeightsError) throw cause;
    // Without the cause, which shows a piece of the file as it is.
    throw bad("its header is no JSON");
  }
  if (!isObject(header)) throw bad("its header is no object");
  const metadata = header["__metadata__"] ?? {};
  if (!(isObject(metadata) && Object.values(metadata).every((v) => typeof v === "string")))
    throw bad("its __metadata__ is no object of strings");
  const start = 8 + bytes.byteLength;
  const tensors = new Map<string, FileEntry>();
  for (const [path, entry] of Object.entries(header)) {
    if (path === "__metadata__") continue;
    const { dtype, shape, data_offsets: at } = isObject(entry) ? entry : {};
    if (typeof dtype !== "string" || !isSizes(shape) || !isSizes(at) || at.length !== 2)
      throw bad(`${shown(path)} has no dtype, shape or data_offsets`);
    if (!DTYPES.includes(dtype)) throw bad(`${shown(path)} has the unknown dtype ${shown(dtype)}`);
    // In the order of its sizes, as the library multiplies: what overflows on the way is refused in spite of a zero.
    let bits = 1;
    for (const d of [...shape, bitsOf(dtype)]) {
      bits *= d;
      if (!Number.isSafeInteger(bits))
        throw bad(`${shown(path)} has too many elements: [${few(shape.map(String))}]`);
    }
    if (at[1] > size - start) throw bad(`${shown(path)} lies beyond its end (the file may be truncated)`);
    if ((at[1] - at[0]) * 8 !== bits)
      throw bad(`${shown(path)} has ${at[1] - at[0]} bytes for [${few(shape.map(String))}]`);
    tensors.set(path, { dtype, shape, begin: start + at[0], end: start + at[1] });
  }
  // Every byte belongs to one tensor; a shifted or patched file shows here.
  let end = start;
  const inOrder = [...tensors].sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  for (const [path, tensor] of inOrder) {
    if (tensor.begin !== end)
      throw bad(
        `${shown(path)} begins at byte ${tensor.begin} of the file, expected ${end}: tensors overlap or leave a gap`,
      );
    end = tensor.end;
  }
  if (end !== size) throw bad(`${size - end} bytes at its end belong to no tensor`);
  return tensors;
}

const isSizes = (x: unknown): x is number[] =>
  Array.isArray(x) && x.every((d) => Number.isSafeInteger(d) && d >= 0);

/** What JSON.parse lets pass in a text that it took: keys given twice, halves of surrogate pairs, sizes like `2.0`. */
function scan(text: string): void {
  const open: Set<string>[] = [];
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === "{") open.push(new Set());
    else if (c === "}") open.pop();
    else if (c === "." || c === "-") throw bad("its header has a number that is no size");
    else if (/[eE]/.test(c) && /\d/.test(text[i - 1])) throw bad("its header has a number that is no size");
    if (c !== '"') continue;
    const from = i;
    while (text[++i] !== '"') if (text[i] === "\\") i++;
    const string = JSON.parse(text.slice(from, i + 1)) as string;
    if (/\p{Cs}/u.test(string)) throw bad(`its header has a text that is no Unicode: ${shown(string)}`);
    let next = i + 1;
    while (text[next] <= " ") next++;
    if (text[next] !== ":") continue;
    const keys = open[open.length - 1];
    if (keys.has(string)) throw bad(`its header says ${shown(string)} twice`);
    keys.add(string);
  }
}

/** A file that is in memory. */
export function parseSafetensors(file: Uint8Array): Map<string, FileTensor> {
  const start = 8 + headerLength(file.subarray(0, HEAD_BYTES), file.byteLength);
  return new Map(
    [...parseHeader(file.subarray(8, start), file.byteLength)].map(([path, { dtype, shape, begin, end }]) => [
      path,
      { dtype, shape, bytes: file.subarray(begin, end) },
    ]),
  );
}

/** A file's elements as `dtype`; undefined where that would not be the same kind of number. */
export function convert(tensor: FileTensor, dtype: DType): AnyArray | undefined {
  const { dtype: from, bytes, shape } = tensor;
  const getter = `get${GETTERS[from]}` as "getFloat64" | "getBigInt64";
  const isFloat = from.includes("F");
  if ((dtype === "f32" || dtype === "f16") !== isFloat || !Object.hasOwn(GETTERS, from)) return undefined;
  const count = sizeOf(shape);
  if (from === "F32" && bytes.byteOffset % 4 === 0)
    return new Float32Array(bytes.buffer, bytes.byteOffset, count);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const out = arrayOf(dtype, count);
  const item = bitsOf(from) / 8;
  for (let i = 0; i < count; i++) {
    const raw = Number(view[getter](i * item, true));
    const value = from === "F16" ? f16ToNumber(raw) : from === "BF16" ? bf16ToNumber(raw) : raw;
    out[i] = dtype === "bool" ? (value ? 1 : 0) : value;
    // Integers that do not fit are refused, floats are rounded.
    if (!isFloat && dtype !== "bool" && out[i] !== value) return undefined;
  }
  return out;
}

/** The numbers of a file by its dtype: what reads them as a DataView has it. */
const GETTERS: Readonly<Record<string, string>> = {
  F64: "Float64",
  F32: "Float32",
  F16: "Uint16",
  BF16: "Uint16",
  I64: "BigInt64",
  I32: "Int32",
  I16: "Int16",
  I8: "Int8",
  U64: "BigUint64",
  U32: "Uint32",
  U16: "Uint16",
  U8: "Uint8",
  BOOL: "Uint8",
};

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
    if (path === "__metadata__")
      throw new WeightsError("weights-format", "no tensor of a safetensors file may be called __metadata__");
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
