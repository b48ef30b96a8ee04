// Zip archives, as far as .npz files go: read with the sizes and checks of the directory, written without compression. In: bytes.
// Out: entries by name. Own code, because Node's zlib does what is difficult and bounds what it unpacks; the directory is a
// page, and the packages for zip that we looked at pass an entry's checksum over (docs/architecture.md, dependencies).
import { inflateRawSync } from "node:zlib";

export class ZipError extends Error {
  override name = "ZipError";
}

export interface ZipEntry {
  readonly name: string;
  /** Bytes once unpacked, as the directory says. */
  readonly size: number;
  /** Unpacks it. Throws ZipError where it is not what the directory says, and beyond `limit` bytes. */
  read(limit: number): Uint8Array;
}

const END = 0x06054b50;
const END_64 = 0x06064b50;
const LOCATOR_64 = 0x07064b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;

export const isZip = (bytes: Uint8Array): boolean =>
  bytes.length >= 4 && bytes[0] === 0x50 && bytes[1] === 0x4b && (bytes[2] === 3 || bytes[2] === 5);

/** Bytes of an array, at most. */
const MOST_ARRAY = 2 ** 31 - 1;

/** The arrays of an .npz archive by name; what is read is as a .npy file has it. */
export const readNpz = (bytes: Uint8Array): { readonly name: string; readonly read: () => Uint8Array }[] =>
  readZip(bytes)
    .filter((e) => e.name.endsWith(".npy"))
    .map((e) => ({ name: e.name.slice(0, -".npy".length), read: () => e.read(MOST_ARRAY) }));

export function readZip(bytes: Uint8Array): ZipEntry[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const inside = (at: number, length: number): void => {
    if (!(at >= 0 && at + length <= bytes.length))
      throw new ZipError("it ends too early, or its directory is wrong");
  };
  const u16 = (at: number): number => view.getUint16(at, true);
  const u32 = (at: number): number => view.getUint32(at, true);
  const u64 = (at: number): number => Number(view.getBigUint64(at, true));

  let end = bytes.length - 22;
  const least = Math.max(0, end - 0xffff);
  while (end >= least && u32(end) !== END) end--;
  if (end < least || end < 0) throw new ZipError("it has no directory of a zip archive: was it cut off?");
  let count = u16(end + 10);
  let at = u32(end + 16);
  if ((count === 0xffff || at === 0xffffffff) && end >= 20 && u32(end - 20) === LOCATOR_64) {
    const end64 = u64(end - 12);
    inside(end64, 56);
    if (u32(end64) !== END_64) throw new ZipError("its directory is wrong");
    count = u64(end64 + 32);
    at = u64(end64 + 48);
  }
  const entries: ZipEntry[] = [];
  for (let i = 0; i < count; i++) {
    inside(at, 46);
    if (u32(at) !== CENTRAL) throw new ZipError("its directory is wrong");
    const [flags, method, crc] = [u16(at + 8), u16(at + 10), u32(at + 16)];
    const [nameLength, extraLength, commentLength] = [u16(at + 28), u16(at + 30), u16(at + 32)];
    let [packed, size, local] = [u32(at + 20), u32(at + 24), u32(at + 42)];
    inside(at + 46, nameLength + extraLength + commentLength);
    const name = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + nameLength));
    // What does not fit in 32 bits is in an extra field, in this order.
    for (let e = at + 46 + nameLength, last = e + extraLength; e + 4 <= last; e += 4 + u16(e + 2)) {
      if (u16(e) !== 1) continue;
      let p = e + 4;
      const wide = (old: number): number => {
        if (old !== 0xffffffff) return old;
        inside(p, 8);
        p += 8;
        return u64(p - 8);
      };
      [size, packed, local] = [wide(size), wide(packed), wide(local)];
    }
    at += 46 + nameLength + extraLength + commentLength;
    entries.push({
      name,
      size,
      read(limit) {
        if (flags & 1) throw new ZipError(`${name} in it is encrypted`);
        if (size > limit)
          throw new ZipError(`${name} in it has ${size} bytes, more than ${limit} are not read`);
        inside(local, 30);
        if (u32(local) !== LOCAL) throw new ZipError("its directory is wrong");
        const start = local + 30 + u16(local + 26) + u16(local + 28);
        inside(start, packed);
        const data = bytes.subarray(start, start + packed);
        const out = method === 0 ? data : method === 8 ? inflated(data, size, name) : undefined;
        if (!out) throw new ZipError(`${name} in it is packed in a way (${method}) that is not read`);
        if (out.length !== size)
          throw new ZipError(`${name} in it has ${out.length} bytes, its directory says ${size}`);
        if (crc32(out) !== crc) throw new ZipError(`${name} in it is damaged: its checksum is wrong`);
        return out;
      },
    });
  }
  return entries;
}

function inflated(data: Uint8Array, size: number, name: string): Uint8Array {
  try {
    return inflateRawSync(data, { maxOutputLength: Math.max(1, size) });
  } catch (error) {
    throw new ZipError(`${name} in it cannot be unpacked: ${(error as Error).message}`);
  }
}

/** An archive that holds these as they are, as `numpy.savez` writes it. */
export function formatZip(
  files: readonly { readonly name: string; readonly data: Uint8Array }[],
): Uint8Array {
  const parts: Uint8Array[] = [];
  const central: Uint8Array[] = [];
  let at = 0;
  for (const { name, data } of files) {
    const text = new TextEncoder().encode(name);
    const sum = crc32(data);
    const head = (signature: number, length: number, from: number): DataView => {
      const view = new DataView(new ArrayBuffer(length));
      view.setUint32(0, signature, true);
      view.setUint16(from, 20, true);
      view.setUint16(from + 2, 0x800, true); // names are UTF-8
      view.setUint16(from + 8, 0x21, true); // the first of January 1980
      view.setUint32(from + 10, sum, true);
      view.setUint32(from + 14, data.length, true);
      view.setUint32(from + 18, data.length, true);
      view.setUint16(from + 22, text.length, true);
      return view;
    };
    const local = head(LOCAL, 30, 4);
    const entry = head(CENTRAL, 46, 6);
    entry.setUint16(4, 20, true);
    entry.setUint32(42, at, true);
    parts.push(new Uint8Array(local.buffer), text, data);
    central.push(new Uint8Array(entry.buffer), text);
    at += 30 + text.length + data.length;
  }
  const size = central.reduce((n, p) => n + p.length, 0);
  if (at + size > 0xfffffffe) throw new ZipError("more than 4 GiB do not fit in one archive");
  const end = new DataView(new ArrayBuffer(22));
  end.setUint32(0, END, true);
  end.setUint16(8, files.length, true);
  end.setUint16(10, files.length, true);
  end.setUint32(12, size, true);
  end.setUint32(16, at, true);
  return Buffer.concat([...parts, ...central, new Uint8Array(end.buffer)]);
}

const table = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
  return c;
});

/** Of zip archives and of PNG's chunks. (Node's own is younger than Node 20.) */
export function crc32(bytes: Uint8Array): number {
  let c = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) c = table[(c ^ bytes[i]) & 0xff] ^ (c >>> 8);
  return ~c >>> 0;
}
