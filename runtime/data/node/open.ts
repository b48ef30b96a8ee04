// `mnist:DIR` and its like: data sets by a line of text. In: KIND:PATH?option=value&…, or a path whose kind shows. Out: the data
// to train on, and what its makers hold out, where they do.
import { existsSync } from "node:fs";
import { extname, join } from "node:path";
import { DataError, type Dataset, type Elements, fromArrays, ofClasses } from "../dataset.ts";
import { cifar, mnist } from "../idx.ts";
import { NpyError, parseNpy } from "../npy.ts";
import { table } from "../table.ts";
import { byteWindows, characterWindows, lines } from "../text.ts";
import { bytesOf, findFile, isFolder, namesIn, textOf } from "./files.ts";
import { pictureFolder } from "./pictures/folder.ts";
import { readNpz, ZipError } from "./zip.ts";

export interface Opened {
  readonly train: Dataset;
  /** What is held out by its makers: MNIST's t10k, CIFAR's test batch, a folder `test` or `val`. */
  readonly test?: Dataset;
  /** Records have an order that means something: what is held out of them is their end. */
  readonly ordered?: boolean;
}

type Options = Readonly<Record<string, string>>;

interface Kind {
  readonly form: string;
  readonly options: readonly string[];
  readonly open: (path: string, options: Options) => Opened;
}

const KINDS: Readonly<Record<string, Kind>> = {
  mnist: { form: "mnist:DIR", options: ["classes"], open: (path) => openMnist(path) },
  cifar10: { form: "cifar10:DIR", options: ["classes"], open: (path) => openCifar(path, 1) },
  cifar100: { form: "cifar100:DIR", options: ["classes"], open: (path) => openCifar(path, 2) },
  csv: {
    form: "csv:FILE?label=NAME",
    options: ["label", "drop", "over", "target", "classes"],
    open: (path, { label, drop, over, target }) => {
      if (target !== undefined && target !== "class" && target !== "value")
        throw new DataError(`target is class or value, given ${target}`);
      const options = {
        label,
        drop: drop?.split(","),
        over: over === undefined ? undefined : positive("over", over),
        target,
      };
      return { train: table(textOf(path), path, options as Parameters<typeof table>[2]) };
    },
  },
  npz: { form: "npz:FILE", options: ["classes"], open: (path) => ({ train: openNpz(path) }) },
  npy: { form: "npy:x=FILE,y=FILE", options: ["classes"], open: (path) => ({ train: openNpy(path) }) },
  images: {
    form: "images:DIR?size=32",
    options: ["size", "resize", "channels", "classes"],
    open: (path, options) => openImages(path, options),
  },
  text: {
    form: "text:FILE?length=64",
    options: ["length", "stride"],
    open: (path, options) => ({ train: characterWindows(textOf(path), path, sizes(options)), ordered: true }),
  },
  bytes: {
    form: "bytes:FILE?length=64",
    options: ["length", "stride"],
    open: (path, options) => ({ train: byteWindows(bytesOf(path), path, sizes(options)), ordered: true }),
  },
  lines: {
    form: "lines:FILE",
    options: ["length"],
    open: (path, options) => ({ train: lines(textOf(path), path, sizes(options)) }),
  },
};

/** The forms there are, for messages and help. */
export const dataForms: readonly string[] = Object.values(KINDS).map((k) => k.form);

export function openData(text: string): Opened {
  const [, named, rest] = /^(\w+):(.*)$/s.exec(text) ?? [];
  const known = named !== undefined && Object.hasOwn(KINDS, named);
  const [path, query] = splitOnce(known ? rest : text, "?");
  const kind = known ? named : kindOf(path, text);
  const { options: names, form, open } = KINDS[kind];
  const options: Record<string, string> = Object.create(null);
  for (const part of query?.split("&").filter(Boolean) ?? []) {
    const [name, value] = splitOnce(part, "=");
    if (!names.includes(name) || value === undefined)
      throw new DataError(
        `${kind} has no option ${part}: ${names.length ? `its options are ${names.join(", ")}` : "it has none"}, as in ${form}`,
      );
    options[name] = value;
  }
  const { classes, ...own } = options;
  const opened = open(path, own);
  if (classes === undefined) return opened;
  const { train, test } = opened;
  const some = (of: Dataset): Dataset => ofClasses(of, classes.split(","));
  return { ...opened, train: some(train), test: test && some(test) };
}

const splitOnce = (text: string, at: string): [string, string | undefined] => {
  const i = text.indexOf(at);
  return i < 0 ? [text, undefined] : [text.slice(0, i), text.slice(i + 1)];
};

/** By what a path leads to. */
function kindOf(path: string, text: string): string {
  const extension = extname(path).toLowerCase().slice(1);
  if (isFolder(path)) return findFile(path, IMAGES[0]) ? "mnist" : "images";
  if (extension === "csv" || extension === "tsv" || extension === "npz")
    return extension.replace("tsv", "csv");
  if (extension === "txt") return "text";
  if (!existsSync(path) && !/^\w+:/.test(text)) throw new DataError(`${path}: no such file`);
  throw new DataError(`what data ${text} is does not show: write ${dataForms.join(", ")}`);
}

function positive(name: string, text: string): number {
  const n = Number(text);
  if (!(n > 0 && Number.isFinite(n))) throw new DataError(`${name} is a number above 0, given ${text}`);
  return n;
}
function whole(name: string, text: string): number {
  const n = positive(name, text);
  if (!Number.isSafeInteger(n)) throw new DataError(`${name} is an integer, given ${text}`);
  return n;
}
const sizes = (options: Options): { length?: number; stride?: number } =>
  Object.fromEntries(Object.entries(options).map(([name, value]) => [name, whole(name, value)]));

// ------------------------------------------------------------------------------------------- MNIST, CIFAR

/** Names of the two parts' images and labels, as they are met. */
const IMAGES = [
  ["train-images-idx3-ubyte", "train-images.idx3-ubyte"],
  ["t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte"],
];
const LABELS = IMAGES.map((names) =>
  names.map((name) => name.replace("images", "labels").replace("idx3", "idx1")),
);

function openMnist(folder: string): Opened {
  namesIn(folder);
  const part = (i: number): Dataset | undefined => {
    const images = findFile(folder, IMAGES[i]);
    const labels = findFile(folder, LABELS[i]);
    if (!images && !labels) return undefined;
    const missing = images ? LABELS[i][0] : IMAGES[i][0];
    if (!images || !labels) throw new DataError(`${folder} has no ${missing} (.gz or not)`);
    return mnist({ bytes: bytesOf(images), file: images }, { bytes: bytesOf(labels), file: labels });
  };
  const [train, test] = [part(0), part(1)];
  const any = train ?? test;
  if (!any) throw new DataError(`${folder} has no ${IMAGES[0][0]} (.gz or not)`);
  return train ? { train, test } : { train: any };
}

function openCifar(path: string, labels: 1 | 2): Opened {
  const kind = labels === 1 ? "CIFAR-10" : "CIFAR-100";
  const folder = isFolder(path);
  const files = folder
    ? namesIn(path)
        .filter((name) => /\.bin(\.gz)?$/.test(name))
        .map((name) => join(path, name))
    : [path];
  if (files.length === 0) throw new DataError(`${path} has no .bin files of ${kind}`);
  const names = folder
    ? findFile(path, labels === 1 ? ["classes.txt", "batches.meta.txt"] : ["fine_label_names.txt"])
    : undefined;
  const classes = names ? textOf(names).split(/\r?\n/).filter(Boolean) : undefined;
  const part = (own: readonly string[]): Dataset | undefined => {
    if (own.length === 0) return undefined;
    // Each by itself, so that what is wrong with one is said of it.
    const parts = own.map((file) => ({ file, bytes: bytesOf(file) }));
    const sets = parts.map(({ file, bytes }) => cifar(bytes, file, { labels, classes }));
    if (sets.length === 1) return sets[0];
    return cifar(Buffer.concat(parts.map((p) => p.bytes)), path, { labels, classes });
  };
  const isTest = (file: string): boolean => folder && /test[^/\\]*$/.test(file);
  const train = part(files.filter((f) => !isTest(f)));
  const test = part(files.filter(isTest));
  return train ? { train, test } : { train: test as Dataset };
}

// ------------------------------------------------------------------------------------------------ arrays

function arrayOf(
  bytes: Uint8Array,
  file: string,
): { readonly data: Elements; readonly shape: readonly number[] } {
  try {
    const { data, shape } = parseNpy(bytes);
    if (shape.length === 0) throw new DataError(`${file}: one number is no data set`);
    if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
      const out = new Int32Array(data.length);
      const per = data.length / Math.max(1, shape[0]);
      for (let i = 0; i < data.length; i++) {
        out[i] = Number(data[i]);
        if (BigInt(out[i]) !== data[i])
          throw new DataError(
            `${file}: record ${Math.floor(i / per)} has ${data[i]}, which is no 32-bit integer`,
          );
      }
      return { data: out, shape };
    }
    return { data: data as Elements, shape };
  } catch (error) {
    if (!(error instanceof NpyError)) throw error;
    throw new DataError(`${file} is no .npy file that can be read: ${error.message}`);
  }
}

function openNpz(path: string): Dataset {
  try {
    const arrays = readNpz(bytesOf(path)).map(
      ({ name, read }) => [name, arrayOf(read(), `${path}:${name}`)] as const,
    );
    return fromArrays(Object.fromEntries(arrays), { name: path });
  } catch (error) {
    if (!(error instanceof ZipError)) throw error;
    throw new DataError(`${path} is no .npz file that can be read: ${error.message}`);
  }
}

function openNpy(text: string): Dataset {
  const arrays = text.split(",").map((part) => {
    const [name, file] = splitOnce(part, "=");
    if (file === undefined)
      throw new DataError(
        `npy takes an array for each input, as in npy:x=images.npy,y=labels.npy; given ${part}`,
      );
    return [name, arrayOf(bytesOf(file), file)] as const;
  });
  return fromArrays(Object.fromEntries(arrays), { name: text });
}

// ---------------------------------------------------------------------------------------------- pictures

function openImages(folder: string, { size, resize, channels }: Options): Opened {
  const [h, w = h] = size?.split("x").map((n) => whole("size", n)) ?? [];
  if (channels !== undefined && channels !== "1" && channels !== "3")
    throw new DataError(`channels is 1 or 3, given ${channels}`);
  if (resize !== undefined && resize !== "crop" && resize !== "stretch")
    throw new DataError(`resize is stretch or crop, given ${resize}`);
  const options = {
    size: h === undefined ? undefined : ([h, w] as const),
    resize: resize as "crop" | "stretch" | undefined,
    channels: channels === undefined ? undefined : (Number(channels) as 1 | 3),
  };
  const parts = namesIn(folder);
  const held = ["val", "test"].find((name) => parts.includes(name));
  if (!parts.includes("train") || held === undefined) return { train: pictureFolder(folder, options) };
  const train = pictureFolder(join(folder, "train"), options);
  const test = pictureFolder(join(folder, held), options);
  if (train.classes?.join("\n") !== test.classes?.join("\n"))
    throw new DataError(
      `${join(folder, held)} has other classes (${test.classes?.join(", ")}) than ${join(folder, "train")}`,
    );
  return { train, test };
}
