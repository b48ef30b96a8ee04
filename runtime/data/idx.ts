// MNIST's idx format and the binary records of CIFAR. In: the bytes of files that are unpacked already. Out: data sets.
import { sizeOf } from "../core/tensor.ts";
import { DataError, type Dataset, type Elements, revive } from "./dataset.ts";

export interface Idx {
  readonly shape: readonly number[];
  readonly data: Elements;
}

const KINDS: Readonly<Record<number, { readonly bytes: number; readonly name: string }>> = {
  8: { bytes: 1, name: "unsigned bytes" },
  9: { bytes: 1, name: "signed bytes" },
  11: { bytes: 2, name: "16-bit integers" },
  12: { bytes: 4, name: "32-bit integers" },
  13: { bytes: 4, name: "floats" },
  14: { bytes: 8, name: "doubles" },
};

/** Any idx file: sizes and elements, which are big-endian in the file. */
export function parseIdx(bytes: Uint8Array, file: string): Idx {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const kind = bytes.length >= 4 && view.getUint16(0) === 0 ? KINDS[bytes[2]] : undefined;
  if (!kind) throw new DataError(`${file} is no idx file (MNIST's format): it does not begin as one`);
  const start = 4 + 4 * bytes[3];
  if (bytes.length < start) throw new DataError(`${file} is cut off within its header`);
  const shape = Array.from({ length: bytes[3] }, (_, i) => view.getUint32(4 + 4 * i));
  const elements = sizeOf(shape);
  const have = bytes.length - start;
  if (have !== elements * kind.bytes) {
    const record = shape.length ? (elements / shape[0]) * kind.bytes : 1;
    const where =
      have < elements * kind.bytes ? `: it is cut off in record ${Math.floor(have / record)}` : "";
    throw new DataError(
      `${file}: its header says [${shape.join(", ")}] ${kind.name}, ${elements * kind.bytes} bytes, and ${have} follow${where}`,
    );
  }
  if (bytes[2] === 8) return { shape, data: bytes.subarray(start) };
  const body = new DataView(bytes.buffer, bytes.byteOffset + start, have);
  const read = {
    9: () => Int8Array.from({ length: elements }, (_, i) => body.getInt8(i)),
    11: () => Int16Array.from({ length: elements }, (_, i) => body.getInt16(2 * i)),
    12: () => Int32Array.from({ length: elements }, (_, i) => body.getInt32(4 * i)),
    13: () => Float32Array.from({ length: elements }, (_, i) => body.getFloat32(4 * i)),
    14: () => Float64Array.from({ length: elements }, (_, i) => body.getFloat64(8 * i)),
  }[bytes[2] as 9 | 11 | 12 | 13 | 14];
  return { shape, data: read() };
}

/** Images f32[1, h, w] from 0 to 1 as `x`, classes as `y`, of two idx files. */
export function mnist(
  images: { readonly bytes: Uint8Array; readonly file: string },
  labels: { readonly bytes: Uint8Array; readonly file: string },
): Dataset {
  const x = parseIdx(images.bytes, images.file);
  const y = parseIdx(labels.bytes, labels.file);
  if (x.shape.length !== 3)
    throw new DataError(
      `${images.file}: images have three sizes (how many, height, width), it has [${x.shape.join(", ")}]`,
    );
  if (y.shape.length !== 1)
    throw new DataError(`${labels.file}: labels have one size, it has [${y.shape.join(", ")}]`);
  const [size, height, width] = x.shape;
  if (y.shape[0] !== size)
    throw new DataError(`${labels.file} has ${y.shape[0]} labels, ${images.file} has ${size} images`);
  return revive({
    kind: "arrays",
    name: images.file,
    size,
    columns: {
      x: {
        dtype: "f32",
        shape: [1, height, width],
        data: x.data,
        over: x.data instanceof Uint8Array ? 255 : 1,
        file: images.file,
      },
      y: { dtype: "i32", shape: [], data: y.data, file: labels.file },
    },
  });
}

const SIDE = 32;

/** CIFAR's binary records: one label (CIFAR-100: a coarse and a fine one), then planes of red, green and blue. */
export function cifar(
  bytes: Uint8Array,
  file: string,
  options: { readonly labels?: 1 | 2; readonly classes?: readonly string[] } = {},
): Dataset {
  const { labels = 1, classes } = options;
  const pixels = 3 * SIDE * SIDE;
  const stride = labels + pixels;
  const size = bytes.length / stride;
  if (!Number.isInteger(size) || size === 0)
    throw new DataError(
      `${file}: records of ${labels === 1 ? "CIFAR-10" : "CIFAR-100"} are ${stride} bytes, and it has ${bytes.length}: it is cut off in record ${Math.floor(size)}`,
    );
  const most = classes?.length ?? (labels === 1 ? 10 : 100);
  for (let i = 0; i < size; i++) {
    const label = bytes[i * stride + labels - 1];
    if (label >= most)
      throw new DataError(`${file}: record ${i} has the label ${label}, expected 0 to ${most - 1}`);
  }
  return revive({
    kind: "arrays",
    name: file,
    size,
    classes,
    columns: {
      x: { dtype: "f32", shape: [3, SIDE, SIDE], data: bytes, start: labels, stride, over: 255, file },
      y: { dtype: "i32", shape: [], data: bytes, start: labels - 1, stride, file },
    },
  });
}
