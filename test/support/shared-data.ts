// The data sets and trained models beside the project, at ../shared/data: read where they are, and where they are not a
// test says that it was skipped. Also the readers of their formats: CIFAR-10's binary, MNIST's idx, ONNX's TensorProto.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import type { TestContext } from "vitest";
import type { HostTensor } from "./safetensors.ts";

const root = fileURLToPath(new URL("../../../shared/data/", import.meta.url));

/** The path of something in ../shared/data; where it is missing the calling test is skipped. */
export function sharedData(context: TestContext, ...parts: string[]): string {
  const path = join(root, ...parts);
  if (!existsSync(path)) return context.skip("../shared/data is missing");
  return path;
}

function bytesOf(path: string): Uint8Array {
  const raw = readFileSync(path);
  return path.endsWith(".gz") ? gunzipSync(raw) : raw;
}

export interface Images {
  readonly count: number;
  /** [count, channels, height, width], 0..255. */
  readonly shape: readonly [number, number, number, number];
  readonly pixels: Uint8Array;
  readonly labels: Uint8Array;
}

/** CIFAR-10's binary layout: records of a label and 3 x 32 x 32 bytes, planes of red, green and blue. */
export function readCifar10(path: string): Images {
  const bytes = bytesOf(path);
  const pixelsOf = 3 * 32 * 32;
  const count = bytes.length / (1 + pixelsOf);
  if (!Number.isInteger(count)) throw new Error(`${path} does not hold whole CIFAR-10 records`);
  const pixels = new Uint8Array(count * pixelsOf);
  const labels = new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    const start = i * (1 + pixelsOf);
    labels[i] = bytes[start];
    pixels.set(bytes.subarray(start + 1, start + 1 + pixelsOf), i * pixelsOf);
  }
  return { count, shape: [count, 3, 32, 32], pixels, labels };
}

/** An idx file of bytes (MNIST): its dimensions and values. */
export function readIdx(path: string): { readonly shape: readonly number[]; readonly data: Uint8Array } {
  const bytes = bytesOf(path);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint16(0) !== 0 || bytes[2] !== 0x08) throw new Error(`${path} is not an idx file of bytes`);
  const rank = bytes[3];
  const shape = Array.from({ length: rank }, (_, i) => view.getUint32(4 + 4 * i));
  const data = bytes.subarray(4 + 4 * rank);
  if (data.length !== shape.reduce((n, d) => n * d, 1))
    throw new Error(`${path} does not hold what its header says`);
  return { shape, data };
}

/** MNIST's images with labels; `part` is "train" or "t10k". */
export function readMnist(folder: string, part: "train" | "t10k"): Images {
  const images = readIdx(join(folder, `${part}-images-idx3-ubyte.gz`));
  const labels = readIdx(join(folder, `${part}-labels-idx1-ubyte.gz`));
  const [count, height, width] = images.shape;
  return { count, shape: [count, 1, height, width], pixels: images.data, labels: labels.data };
}

/** Pixels `from .. to - 1` as floats, each channel scaled to 0..1 and then (v - mean) / std. */
export function normalized(
  images: Images,
  from: number,
  to: number,
  mean: readonly number[],
  std: readonly number[],
): Float32Array {
  const [, channels, height, width] = images.shape;
  const plane = height * width;
  const size = channels * plane;
  const out = new Float32Array((to - from) * size);
  for (let i = 0; i < out.length; i++) {
    const c = Math.floor((i % size) / plane);
    out[i] = (images.pixels[from * size + i] / 255 - mean[c]) / std[c];
  }
  return out;
}

/** The test data sets beside a model: its inputs and outputs in order. */
export function testDataSets(folder: string): { inputs: HostTensor[]; outputs: HostTensor[] }[] {
  return readdirSync(folder)
    .filter((name) => name.startsWith("test_data_set_"))
    .sort()
    .map((set) => {
      const files = readdirSync(join(folder, set));
      const read = (kind: string): HostTensor[] =>
        files
          .filter((name) => name.startsWith(kind) && name.endsWith(".pb"))
          .sort((a, b) => number(a) - number(b))
          .map((name) => readTensorProto(readFileSync(join(folder, set, name))));
      return { inputs: read("input_"), outputs: read("output_") };
    });
}

const number = (name: string): number => Number(/_(\d+)\.pb$/.exec(name)?.[1]);

/**
 * ONNX's TensorProto, as far as test data needs it: dims (1), data_type (2), float_data (4), int32_data (5),
 * int64_data (7), raw_data (9); float32, int32, int64 and bool.
 */
export function readTensorProto(file: Uint8Array): HostTensor {
  // Not the Buffer it may be: whose slice() is no copy.
  const bytes = new Uint8Array(file.buffer, file.byteOffset, file.byteLength);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return BigInt.asIntN(64, value);
    }
  };
  const dims: number[] = [];
  const floats: number[] = [];
  const ints: bigint[] = [];
  let type = 0;
  let raw: Uint8Array | undefined;
  while (at < bytes.length) {
    const tag = Number(varint());
    const field = tag >>> 3;
    const wire = tag & 7;
    if (wire === 0) {
      const value = varint();
      if (field === 1) dims.push(Number(value));
      else if (field === 2) type = Number(value);
      else if (field === 5 || field === 7) ints.push(value);
    } else if (wire === 5) {
      if (field === 4) floats.push(view.getFloat32(at, true));
      at += 4;
    } else if (wire === 1) {
      at += 8;
    } else if (wire === 2) {
      const end = Number(varint()) + at;
      if (field === 9) {
        raw = bytes.slice(at, end);
      } else if (field === 4) {
        for (; at < end; at += 4) floats.push(view.getFloat32(at, true));
      } else if (field === 1 || field === 5 || field === 7) {
        while (at < end) {
          if (field === 1) dims.push(Number(varint()));
          else ints.push(varint());
        }
      }
      at = end;
    } else {
      throw new Error(`not a TensorProto: wire type ${wire} at byte ${at}`);
    }
  }
  switch (type) {
    case 1:
      return {
        dtype: "F32",
        shape: dims,
        data: raw ? new Float32Array(raw.buffer) : Float32Array.from(floats),
      };
    case 6:
      return {
        dtype: "I32",
        shape: dims,
        data: raw ? new Int32Array(raw.buffer) : Int32Array.from(ints, Number),
      };
    case 7:
      return {
        dtype: "I64",
        shape: dims,
        data: raw ? new BigInt64Array(raw.buffer) : BigInt64Array.from(ints),
      };
    case 9:
      return { dtype: "BOOL", shape: dims, data: raw ?? Uint8Array.from(ints, Number) };
    default:
      throw new Error(`the tests' TensorProto reader does not know data type ${type}`);
  }
}
