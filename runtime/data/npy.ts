// NumPy's .npy format, versions 1 to 3. In: a file's bytes, or a tensor. Out: elements with shape and element type, or bytes.
// Own code because it is a page, and the packages for it are unmaintained or take the file apart without checking it.
// Big-endian files and column-major ones are converted; structured, object and complex ones are refused.
import { f16ToNumber } from "../core/tensor.ts";

export interface NpyArray {
  /** As NumPy names it: float32, int64, bool, … */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Row-major. 64-bit integers are bigints. */
  readonly data: ArrayLike<number> | BigInt64Array | BigUint64Array;
}

export class NpyError extends Error {
  override name = "NpyError";
}

interface Kind {
  readonly name: string;
  readonly bytes: number;
  readonly make: (length: number) => { [i: number]: number } & ArrayLike<number>;
  readonly get: (view: DataView, at: number, little: boolean) => number;
}
const kind = (name: string, bytes: number, make: Kind["make"], get: Kind["get"]): Kind => ({
  name,
  bytes,
  make,
  get,
});

const KINDS: Readonly<Record<string, Kind>> = {
  f2: kind(
    "float16",
    2,
    (n) => new Float32Array(n),
    (v, at, e) => f16ToNumber(v.getUint16(at, e)),
  ),
  f4: kind(
    "float32",
    4,
    (n) => new Float32Array(n),
    (v, at, e) => v.getFloat32(at, e),
  ),
  f8: kind(
    "float64",
    8,
    (n) => new Float64Array(n),
    (v, at, e) => v.getFloat64(at, e),
  ),
  i1: kind(
    "int8",
    1,
    (n) => new Int8Array(n),
    (v, at) => v.getInt8(at),
  ),
  i2: kind(
    "int16",
    2,
    (n) => new Int16Array(n),
    (v, at, e) => v.getInt16(at, e),
  ),
  i4: kind(
    "int32",
    4,
    (n) => new Int32Array(n),
    (v, at, e) => v.getInt32(at, e),
  ),
  u1: kind(
    "uint8",
    1,
    (n) => new Uint8Array(n),
    (v, at) => v.getUint8(at),
  ),
  u2: kind(
    "uint16",
    2,
    (n) => new Uint16Array(n),
    (v, at, e) => v.getUint16(at, e),
  ),
  u4: kind(
    "uint32",
    4,
    (n) => new Uint32Array(n),
    (v, at, e) => v.getUint32(at, e),
  ),
  b1: kind(
    "bool",
    1,
    (n) => new Uint8Array(n),
    (v, at) => (v.getUint8(at) ? 1 : 0),
  ),
};

export const isNpy = (bytes: Uint8Array): boolean =>
  bytes.length >= 6 && bytes[0] === 0x93 && String.fromCharCode(...bytes.subarray(1, 6)) === "NUMPY";

export function parseNpy(file: Uint8Array): NpyArray {
  if (!isNpy(file)) throw new NpyError("it does not begin as an .npy file does");
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (file.length < 12) throw new NpyError("it ends within its header");
  const version = file[6];
  if (version < 1 || version > 3) throw new NpyError(`it is of version ${version}, expected 1, 2 or 3`);
  const start = version === 1 ? 10 : 12;
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (start + length > file.length) throw new NpyError("it ends within its header");
  const header = new TextDecoder(version === 3 ? "utf-8" : "latin1").decode(
    file.subarray(start, start + length),
  );

  const descr = /'descr'\s*:\s*'([^']*)'/.exec(header)?.[1];
  const fortran = /'fortran_order'\s*:\s*(True|False)/.exec(header)?.[1];
  const sizes = /'shape'\s*:\s*\(([\d,\sL]*)\)/.exec(header)?.[1];
  if (descr === undefined && /'descr'\s*:\s*\[/.test(header))
    throw new NpyError("structured arrays are not taken");
  if (descr === undefined || fortran === undefined || sizes === undefined) {
    throw new NpyError("its header has no descr, fortran_order or shape");
  }
  const shape = sizes
    .split(",")
    .map((s) => s.replace("L", "").trim())
    .filter((s) => s !== "")
    .map(Number);
  const elements = shape.reduce((n, d) => n * d, 1);
  if (!Number.isSafeInteger(elements)) throw new NpyError(`its shape (${shape.join(", ")}) is too large`);

  const [, order, type] = /^([<>|=]?)(\w+)$/.exec(descr) ?? [];
  const little = order !== ">";
  const wide = type === "i8" || type === "u8";
  const of = wide ? undefined : Object.hasOwn(KINDS, type ?? "") ? KINDS[type] : undefined;
  if (!of && !wide)
    throw new NpyError(`its element type ${descr} is not taken (floats, integers and bool are)`);
  const bytes = wide ? 8 : (of as Kind).bytes;
  const have = file.length - start - length;
  if (have !== elements * bytes) {
    throw new NpyError(
      `(${shape.join(", ")}) of ${descr} is ${elements * bytes} bytes, the file has ${have}`,
    );
  }

  const body = new DataView(file.buffer, file.byteOffset + start + length, have);
  const place = fortran === "True" ? columnMajor(shape) : (i: number): number => i;
  if (wide) {
    const data = type === "i8" ? new BigInt64Array(elements) : new BigUint64Array(elements);
    for (let i = 0; i < elements; i++) {
      const at = place(i) * 8;
      data[i] = type === "i8" ? body.getBigInt64(at, little) : body.getBigUint64(at, little);
    }
    return { dtype: type === "i8" ? "int64" : "uint64", shape, data };
  }
  const { name, make, get } = of as Kind;
  const data = make(elements);
  for (let i = 0; i < elements; i++) data[i] = get(body, place(i) * bytes, little);
  return { dtype: name, shape, data };
}

/** Where the element of a row-major index lies in a column-major array. */
function columnMajor(shape: readonly number[]): (i: number) => number {
  return (i) => {
    let rest = i;
    let stride = shape.reduce((n, d) => n * d, 1);
    let at = 0;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      stride /= shape[axis];
      at += (rest % shape[axis]) * stride;
      rest = Math.floor(rest / shape[axis]);
    }
    return at;
  };
}

const DESCR = { f32: "<f4", f16: "<f4", i32: "<i4", u32: "<u4", bool: "|b1" } as const;

/** A version 1 file; f16 is written as float32, which is how it is held outside the GPU. */
export function formatNpy(
  dtype: keyof typeof DESCR,
  shape: readonly number[],
  data: Float32Array | Int32Array | Uint32Array | Uint8Array,
): Uint8Array {
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const header = `{'descr': '${DESCR[dtype]}', 'fortran_order': False, 'shape': (${sizes}), }`;
  // The elements begin at a multiple of 64, and the header ends with a line break.
  const start = Math.ceil((10 + header.length + 1) / 64) * 64;
  const out = new Uint8Array(start + data.byteLength).fill(0x20, 10, start);
  out.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0]);
  new DataView(out.buffer).setUint16(8, start - 10, true);
  out.set(new TextEncoder().encode(header), 10);
  out[start - 1] = 0x0a;
  out.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), start);
  return out;
}
