// Folders of pictures, one a class. In: a folder. Out: a Dataset whose pictures are decoded when they are read: f32[c, h, w] from
// 0 to 1 as `x`, classes in the order of their names as `y`.
import { join } from "node:path";
import { type Column, DataError, type Dataset, type PlainOther } from "../../dataset.ts";
import { bytesOf, isFolder, namesIn } from "../files.ts";
import { decodePicture } from "./decode.ts";
import { type Picture, PictureError } from "./picture.ts";
import { fitted } from "./resize.ts";

export interface FolderOptions {
  /** Height and width, where pictures are to be scaled; without it all have to be as large as the first. */
  readonly size?: readonly [number, number];
  /** `crop`: scaled to cover the size, then the middle of it. */
  readonly resize?: "stretch" | "crop";
  /** 1 makes them grey; 3 without it. */
  readonly channels?: 1 | 3;
}

interface PlainPictures extends PlainOther {
  readonly name: string;
  readonly files: readonly string[];
  readonly labels: Int32Array;
  readonly classes: readonly string[];
  readonly channels: 1 | 3;
  readonly size: readonly [number, number];
  readonly resize: "stretch" | "crop" | undefined;
}

const PICTURE = /\.(png|jpe?g)$/i;
/** Bytes of decoded pictures that are kept. */
const KEPT = 2 ** 28;

export function pictureFolder(folder: string, options: FolderOptions = {}): Dataset {
  const classes = namesIn(folder).filter((name) => isFolder(join(folder, name)));
  if (classes.length === 0)
    throw new DataError(
      `${folder} has no folders in it: pictures lie in one folder a class, as in ${join(folder, "cat", "1.png")}`,
    );
  const files: string[] = [];
  const labels: number[] = [];
  classes.forEach((name, label) => {
    const own = namesIn(join(folder, name)).filter((file) => PICTURE.test(file));
    if (own.length === 0) throw new DataError(`${join(folder, name)} has no pictures (.png, .jpg) in it`);
    for (const file of own) {
      files.push(join(folder, name, file));
      labels.push(label);
    }
  });
  const first = options.size ? undefined : decode(files[0]);
  return ofPictures({
    kind: "pictures",
    name: folder,
    files,
    labels: Int32Array.from(labels),
    classes,
    channels: options.channels ?? 3,
    size: options.size ?? [(first as Picture).height, (first as Picture).width],
    resize: options.size ? (options.resize ?? "stretch") : undefined,
  });
}

function decode(file: string): Picture {
  const bytes = bytesOf(file);
  try {
    return decodePicture(bytes);
  } catch (error) {
    if (!(error instanceof PictureError)) throw error;
    throw new DataError(`${file} is no picture that can be read: ${error.message}`);
  }
}

export function ofPictures(given: PlainOther): Dataset {
  const plain = given as PlainPictures;
  const { name, files, labels, classes, channels, size, resize } = plain;
  const [height, width] = size;
  const pixels = channels * height * width;
  const kept = new Map<number, Uint8Array>();
  const load = (record: number): Uint8Array => {
    const there = kept.get(record);
    if (there) return there;
    const made = planes(ofSize(decode(files[record]), size, resize, files[record], files[0]), channels);
    if ((kept.size + 1) * pixels <= KEPT) kept.set(record, made);
    return made;
  };
  const x: Column = {
    dtype: "f32",
    shape: [channels, height, width],
    read(record, into, at) {
      const from = load(record);
      for (let i = 0; i < pixels; i++) into[at + i] = from[i] / 255;
    },
  };
  const y: Column = {
    dtype: "i32",
    shape: [],
    read: (record, into, at) => {
      into[at] = labels[record];
    },
  };
  return { name, size: files.length, columns: { x, y }, classes, place: (record) => files[record], plain };
}

function ofSize(
  picture: Picture,
  [height, width]: readonly [number, number],
  resize: PlainPictures["resize"],
  file: string,
  first: string,
): Picture {
  if (picture.width === width && picture.height === height) return picture;
  if (resize === undefined)
    throw new DataError(
      `${file} is ${picture.width} by ${picture.height} pixels (width by height), ${first} ${width} by ${height}; size=${height}x${width} scales them`,
    );
  return fitted(picture, width, height, resize);
}

/** Bytes by channel: grey by ITU-R 601, rounded as Pillow does; alpha is passed over. */
function planes({ width, height, channels: has, data, most }: Picture, channels: 1 | 3): Uint8Array {
  const out = new Uint8Array(channels * width * height);
  const byte = (v: number): number => Math.floor((v * 255) / most + 0.5);
  for (let p = 0; p < width * height; p++) {
    const i = p * has;
    if (channels === 1)
      out[p] = byte(has >= 3 ? (299 * data[i] + 587 * data[i + 1] + 114 * data[i + 2]) / 1000 : data[i]);
    else for (let c = 0; c < 3; c++) out[c * width * height + p] = byte(has >= 3 ? data[i + c] : data[i]);
  }
  return out;
}
