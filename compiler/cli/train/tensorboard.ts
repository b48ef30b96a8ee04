// TensorBoard's event files, written by hand: records of length, checksum and a protocol buffer, of which scalars need four
// fields. In: scalars by tag and step. Out: a file in a folder, that TensorBoard finds by its name. The format is TFRecord's
// (masked CRC-32C) around tensorflow.Event; the package for it would be TensorFlow.
import { appendFileSync, mkdirSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";

const table = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
  return c;
});

/** Castagnoli's. */
export function crc32c(bytes: Uint8Array): number {
  let c = 0xffffffff;
  for (const byte of bytes) c = table[(c ^ byte) & 0xff] ^ (c >>> 8);
  return ~c >>> 0;
}
const masked = (bytes: Uint8Array): number => {
  const c = crc32c(bytes);
  return (((c >>> 15) | (c << 17)) + 0xa282ead8) >>> 0;
};

function record(data: Uint8Array): Uint8Array {
  const out = new Uint8Array(data.length + 16);
  const view = new DataView(out.buffer);
  view.setUint32(0, data.length, true);
  view.setUint32(8, masked(out.subarray(0, 8)), true);
  out.set(data, 12);
  view.setUint32(12 + data.length, masked(data), true);
  return out;
}

function varint(value: number): number[] {
  const out: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) out.push((rest % 128) | 128);
  return [...out, rest];
}
const field = (number: number, bytes: ArrayLike<number>): number[] => [
  (number << 3) | 2,
  ...varint(bytes.length),
  ...Array.from(bytes),
];
const fixed = (number: number, bytes: Uint8Array): number[] => [
  (number << 3) | (bytes.length === 8 ? 1 : 5),
  ...bytes,
];
const text = (s: string): Uint8Array => new TextEncoder().encode(s);

/** tensorflow.Event: wall_time 1, step 2, file_version 3, summary 5 { value 1 { tag 1, simple_value 2 } }. */
function event(seconds: number, step: number, scalars: Readonly<Record<string, number>>): Uint8Array {
  const values = Object.entries(scalars).flatMap(([tag, value]) =>
    field(1, [...field(1, text(tag)), ...fixed(2, new Uint8Array(Float32Array.of(value).buffer))]),
  );
  return Uint8Array.from([
    ...fixed(1, new Uint8Array(Float64Array.of(seconds).buffer)),
    (2 << 3) | 0,
    ...varint(step),
    ...field(5, values),
  ]);
}

export class TensorBoard {
  readonly #path: string;

  constructor(folder: string) {
    mkdirSync(folder, { recursive: true });
    const now = Date.now() / 1000;
    this.#path = join(folder, `events.out.tfevents.${Math.floor(now)}.${hostname()}.${process.pid}`);
    const version = Uint8Array.from([
      ...fixed(1, new Uint8Array(Float64Array.of(now).buffer)),
      ...field(3, text("brain.Event:2")),
    ]);
    appendFileSync(this.#path, record(version));
  }

  add(step: number, scalars: Readonly<Record<string, number | undefined>>): void {
    const there = Object.entries(scalars).filter(
      (e): e is [string, number] => e[1] !== undefined && Number.isFinite(e[1]),
    );
    if (there.length === 0) return;
    appendFileSync(this.#path, record(event(Date.now() / 1000, step, Object.fromEntries(there))));
  }
}
