// PNG, all of it that is pixels: bit depths, palettes, transparency, interlacing. In: a file's bytes, or a picture. Out: a
// picture, or bytes. Own code, because it is Node's zlib that unpacks (and stops where the picture is full, whatever the file
// says), and the rest is filters and bits. Colour profiles and gamma are passed over, as torchvision does.
import { deflateSync, inflateSync } from "node:zlib";
import { crc32 } from "../zip.ts";
import { checkSize, type Picture, PictureError } from "./picture.ts";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

export const isPng = (bytes: Uint8Array): boolean => SIGNATURE.every((b, i) => bytes[i] === b);

interface Header {
  readonly width: number;
  readonly height: number;
  readonly depth: number;
  readonly type: number;
  readonly interlaced: boolean;
}

/** Samples of a pixel by colour type, and the bit depths it has. */
const TYPES: Readonly<
  Record<number, { readonly samples: 1 | 2 | 3 | 4; readonly depths: readonly number[] }>
> = {
  0: { samples: 1, depths: [1, 2, 4, 8, 16] },
  2: { samples: 3, depths: [8, 16] },
  3: { samples: 1, depths: [1, 2, 4, 8] },
  4: { samples: 2, depths: [8, 16] },
  6: { samples: 4, depths: [8, 16] },
};

/** Adam7: first column and row, and steps between them. */
const PASSES = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

export function decodePng(file: Uint8Array): Picture {
  if (!isPng(file)) throw new PictureError("it does not begin as a .png file does");
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  let header: Header | undefined;
  let palette: Uint8Array | undefined;
  let clear: Uint8Array | undefined;
  const packed: Uint8Array[] = [];
  for (let at = SIGNATURE.length, done = false; !done; ) {
    if (at + 12 > file.length) throw new PictureError("it ends too early");
    const length = view.getUint32(at);
    if (length > file.length - at - 12) throw new PictureError("it ends too early");
    const name = String.fromCharCode(...file.subarray(at + 4, at + 8));
    const body = file.subarray(at + 8, at + 8 + length);
    if (crc32(file.subarray(at + 4, at + 8 + length)) !== view.getUint32(at + 8 + length))
      throw new PictureError(`it is damaged: the checksum of its part ${name} is wrong`);
    if ((name === "IHDR") !== (header === undefined))
      throw new PictureError("its header is missing, or there twice");
    if (name === "IHDR") header = headerOf(body);
    else if (name === "PLTE") palette = body;
    else if (name === "tRNS") clear = body;
    else if (name === "IDAT") packed.push(body);
    else if (name === "IEND") done = true;
    // Of the others, those that a reader must know begin with a capital.
    else if (/^[A-Z]/.test(name)) throw new PictureError(`its part ${name} is not known`);
    at += 12 + length;
  }
  if (!header) throw new PictureError("its header is missing");
  const samples = unpacked(header, Buffer.concat(packed));
  return pictureOf(header, samples, palette, clear);
}

function headerOf(body: Uint8Array): Header {
  if (body.length !== 13) throw new PictureError("its header is not one");
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  const [width, height, depth, type] = [view.getUint32(0), view.getUint32(4), body[8], body[9]];
  if (!TYPES[type]?.depths.includes(depth) || body[10] !== 0 || body[11] !== 0 || body[12] > 1)
    throw new PictureError("its header is not one");
  checkSize(width, height);
  return { width, height, depth, type, interlaced: body[12] === 1 };
}

/** One number a sample, in the order of the picture. */
function unpacked(
  { width, height, depth, type, interlaced }: Header,
  packed: Uint8Array,
): Uint16Array | Uint8Array {
  const { samples } = TYPES[type];
  const passes = (interlaced ? PASSES : [[0, 0, 1, 1] as const])
    .map(([x, y, dx, dy]) => ({
      ...{ x, y, dx, dy },
      wide: Math.ceil((width - x) / dx),
      high: Math.ceil((height - y) / dy),
    }))
    .filter(({ wide, high }) => wide > 0 && high > 0);
  const rowBytes = (wide: number): number => Math.ceil((wide * samples * depth) / 8);
  const total = passes.reduce((n, p) => n + p.high * (1 + rowBytes(p.wide)), 0);
  let raw: Uint8Array;
  try {
    raw = inflateSync(packed, { maxOutputLength: total });
  } catch (error) {
    throw new PictureError(`its pixels cannot be unpacked: ${(error as Error).message}`);
  }
  if (raw.length !== total) throw new PictureError("it has fewer pixels than its header says");
  const out = new (depth === 16 ? Uint16Array : Uint8Array)(width * height * samples);
  const step = Math.max(1, (samples * depth) >> 3);
  let at = 0;
  for (const { x, y, dx, dy, wide, high } of passes) {
    const bytes = rowBytes(wide);
    let before: Uint8Array | undefined;
    for (let row = 0; row < high; row++) {
      const line = raw.subarray(at + 1, at + 1 + bytes);
      unfilter(raw[at], line, before, step);
      before = line;
      at += 1 + bytes;
      for (let i = 0; i < wide * samples; i++) {
        const column = x + Math.floor(i / samples) * dx;
        const to = ((y + row * dy) * width + column) * samples + (i % samples);
        if (depth === 8) out[to] = line[i];
        else if (depth === 16) out[to] = (line[2 * i] << 8) | line[2 * i + 1];
        else {
          const bit = i * depth;
          out[to] = (line[bit >> 3] >> (8 - depth - (bit & 7))) & ((1 << depth) - 1);
        }
      }
    }
  }
  return out;
}

/** In place: each byte was written as its difference to what its neighbours foretell. */
function unfilter(filter: number, line: Uint8Array, above: Uint8Array | undefined, step: number): void {
  if (filter > 4) throw new PictureError("it is damaged: a row has an unknown filter");
  if (filter === 0) return;
  for (let i = 0; i < line.length; i++) {
    const left = i >= step ? line[i - step] : 0;
    const up = above?.[i] ?? 0;
    if (filter === 1) line[i] += left;
    else if (filter === 2) line[i] += up;
    else if (filter === 3) line[i] += (left + up) >> 1;
    else {
      const corner = i >= step ? (above?.[i - step] ?? 0) : 0;
      const guess = left + up - corner;
      const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
      line[i] += a <= b && a <= c ? left : b <= c ? up : corner;
    }
  }
}

function pictureOf(
  { width, height, depth, type }: Header,
  samples: Uint8Array | Uint16Array,
  palette: Uint8Array | undefined,
  clear: Uint8Array | undefined,
): Picture {
  const size = { width, height };
  const pixels = width * height;
  if (type === 3) {
    if (!palette || palette.length % 3 !== 0) throw new PictureError("its palette is missing");
    const channels = clear ? 4 : 3;
    const data = new Uint8Array(pixels * channels);
    for (let i = 0; i < pixels; i++) {
      const colour = samples[i];
      if (3 * colour >= palette.length)
        throw new PictureError("it is damaged: a colour is not in its palette");
      for (let c = 0; c < 3; c++) data[i * channels + c] = palette[3 * colour + c];
      if (clear) data[i * channels + 3] = clear[colour] ?? 255;
    }
    return { ...size, channels, data, most: 255 };
  }
  // One colour that is no colour: greys and colours without alpha may say which.
  const { samples: n } = TYPES[type];
  let data = samples;
  const most = depth === 16 ? 65535 : 255;
  const view = clear && new DataView(clear.buffer, clear.byteOffset, clear.byteLength);
  const key =
    view && (type === 0 || type === 2) && view.byteLength >= 2 * n
      ? Array.from({ length: n }, (_, c) => view.getUint16(2 * c))
      : undefined;
  if (key) {
    const wide = new (depth === 16 ? Uint16Array : Uint8Array)(pixels * (n + 1));
    for (let i = 0; i < pixels; i++) {
      let same = true;
      for (let c = 0; c < n; c++) {
        const v = samples[i * n + c];
        wide[i * (n + 1) + c] = depth < 8 ? (v * 255) / ((1 << depth) - 1) : v;
        same &&= v === key[c];
      }
      wide[i * (n + 1) + n] = same ? 0 : most;
    }
    return { ...size, channels: (n + 1) as 2 | 4, data: wide, most };
  }
  if (depth < 8) data = samples.map((v) => (v * 255) / ((1 << depth) - 1));
  return { ...size, channels: n, data, most };
}

/** With 8 bits a sample. */
export function encodePng(width: number, height: number, channels: 1 | 3 | 4, data: Uint8Array): Uint8Array {
  const row = width * channels;
  const raw = new Uint8Array(height * (row + 1));
  for (let y = 0; y < height; y++) raw.set(data.subarray(y * row, (y + 1) * row), y * (row + 1) + 1);
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, 8);
  header.setUint8(9, { 1: 0, 3: 2, 4: 6 }[channels]);
  const chunk = (name: string, body: Uint8Array): Uint8Array => {
    const out = Buffer.alloc(body.length + 12);
    out.writeUInt32BE(body.length, 0);
    out.write(name, 4, "latin1");
    out.set(body, 8);
    out.writeUInt32BE(crc32(out.subarray(4, 8 + body.length)), 8 + body.length);
    return out;
  };
  return Buffer.concat([
    Uint8Array.from(SIGNATURE),
    chunk("IHDR", new Uint8Array(header.buffer)),
    chunk("IDAT", deflateSync(raw)),
    chunk("IEND", new Uint8Array()),
  ]);
}
