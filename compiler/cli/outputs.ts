// `--output FILE`: results as files. In: results by name. Out: .npy, .npz, .json, .csv, .png or raw .bin files, all or none; `-`
// is JSON on standard output. Several results make one .json or .npz with all of them, or one file a result: out.npy is
// out.NAME.npy then. `--output y=FILE` is one of the results. Pictures of one result are a file each, or one with `--grid`.
import { extname } from "node:path";
import { numberToF16 } from "../../runtime/core/tensor.ts";
import { formatCsv } from "../../runtime/data/csv.ts";
import { PictureError } from "../../runtime/data/node/pictures/picture.ts";
import { encodePng } from "../../runtime/data/node/pictures/png.ts";
import { formatZip } from "../../runtime/data/node/zip.ts";
import { formatNpy } from "../../runtime/data/npy.ts";
import { InputFailure, UsageError } from "./failure.ts";
import { type OutputFile, writeFiles } from "./files.ts";
import { gridOf, toPictures } from "./pictures/tensor.ts";
import type { Result } from "./print-tensor.ts";

/** Where results go: all of them, or one. */
export interface Output {
  readonly result?: string;
  readonly path: string;
}

type Results = Readonly<Record<string, Result>>;

export interface Layout {
  /** Pictures of a result in one file, so many in a row. */
  readonly grid?: number;
}

/** A file's contents, of one result each; a picture may be several. */
const FORMATS: Readonly<
  Record<
    string,
    (result: Result, name: string, layout: Layout) => Uint8Array | string | readonly Uint8Array[]
  >
> = {
  ".npy": ({ dtype, shape, data }) => formatNpy(dtype, shape, data),
  ".bin": raw,
  ".json": (result) => `${jsonText(result)}\n`,
  ".csv": (result) => formatCsv(result.shape, (i) => numberText(result, i).replaceAll('"', "")),
  ".npz": (result, name) => formatNpz([[name, result]]),
  ".png": (result, _name, { grid }) => {
    const all = toPictures(result);
    const files = grid === undefined || all.length === 0 ? all : [gridOf(all, grid)];
    return files.map((p) => encodePng(p.width, p.height, p.channels, p.data));
  },
};
/** Of all results together. */
const TOGETHER: Readonly<
  Record<string, (all: readonly (readonly [string, Result])[]) => Uint8Array | string>
> = {
  ".json": (all) => `${object(all)}\n`,
  ".npz": formatNpz,
};

function formatNpz(all: readonly (readonly [string, Result])[]): Uint8Array {
  return formatZip(
    all.map(([name, r]) => ({ name: `${name}.npy`, data: formatNpy(r.dtype, r.shape, r.data) })),
  );
}

/** Refused before anything is compiled. */
export function checkOutputs(texts: readonly string[], { grid }: Layout): void {
  for (const text of texts) checkOutput(text);
  if (grid !== undefined && !texts.some((text) => extname(text).toLowerCase() === ".png"))
    throw new UsageError("--grid lays out the pictures of a .png, and no --output ends in that");
}

function checkOutput(text: string): void {
  const path = text.slice(/^\w+=/.exec(text)?.[0].length ?? 0);
  if (text !== "-" && path !== "-" && !Object.hasOwn(FORMATS, extname(path).toLowerCase()))
    throw new UsageError(
      `--output takes a file that ends in ${Object.keys(FORMATS).join(", ")}, or -, given ${text}`,
    );
}

/** `FILE`, or `NAME=FILE` with one of the entry's results; refused before anything runs. */
export function parseOutput(text: string, names: readonly string[]): Output {
  const [, name, path] = /^(\w+)=(.*)$/s.exec(text) ?? [];
  if (name === undefined) return { path: text };
  if (names.includes(name)) return { result: name, path };
  throw new InputFailure(`there is no result ${name}: the results are ${names.join(", ")}`);
}

/** Writes the results, all of them or none; the paths that were written. */
export async function writeResults(
  results: Results,
  outputs: readonly Output[],
  layout: Layout = {},
): Promise<string[]> {
  const files: OutputFile[] = [];
  let printed = "";
  for (const { result, path } of outputs) {
    const all = Object.entries(results).filter(([name]) => result === undefined || name === result);
    const json = all.length === 1 ? jsonText(all[0][1]) : object(all);
    if (path === "-") printed += `${json}\n`;
    else files.push(...filesOf(all, path, layout));
  }
  const twice = files.find((f, i) => files.findIndex((g) => g.path === f.path) < i);
  if (twice) throw new UsageError(`two results would be written to ${twice.path}`);
  await writeFiles(files);
  process.stdout.write(printed);
  return files.map((f) => f.path);
}

function filesOf(all: readonly (readonly [string, Result])[], path: string, layout: Layout): OutputFile[] {
  const extension = extname(path);
  const format = extension.toLowerCase();
  const stem = path.slice(0, -extension.length);
  if (all.length > 1 && Object.hasOwn(TOGETHER, format)) return [{ path, data: TOGETHER[format](all) }];
  return all.flatMap(([name, result]) => {
    const own = all.length === 1 ? stem : `${stem}.${name}`;
    try {
      const data = FORMATS[format](result, name, layout);
      if (!Array.isArray(data)) return [{ path: `${own}${extension}`, data: data as Uint8Array | string }];
      return data.map((d: Uint8Array, i) => ({
        path: data.length === 1 ? `${own}${extension}` : `${own}.${i}${extension}`,
        data: d,
      }));
    } catch (error) {
      if (!(error instanceof PictureError)) throw error;
      throw new InputFailure(`${name} ${error.message}`);
    }
  });
}

const object = (all: readonly (readonly [string, Result])[]): string =>
  `{\n${all.map(([name, result]) => `  ${JSON.stringify(name)}: ${jsonText(result)}`).join(",\n")}\n}`;

/** Nested arrays; NaN and the infinities, which JSON has not, as strings. */
export function jsonText(result: Result): string {
  const { shape } = result;
  let at = 0;
  const nest = (axis: number): string =>
    axis < shape.length
      ? `[${Array.from({ length: shape[axis] }, () => nest(axis + 1)).join(", ")}]`
      : numberText(result, at++);
  return nest(0);
}

function numberText({ dtype, data }: Result, at: number): string {
  const x = data[at];
  if (dtype === "bool") return x ? "true" : "false";
  if (!Number.isFinite(x)) return JSON.stringify(String(x));
  return dtype === "f32" || dtype === "f16" ? shortest(x) : String(x);
}

/** The shortest decimal that is this float32. */
function shortest(x: number): string {
  for (let digits = 6; digits < 9; digits++) {
    const text = Number(x.toPrecision(digits));
    if (Math.fround(text) === x) return String(text);
  }
  return String(Number(x.toPrecision(9)));
}

function raw({ dtype, data }: Result): Uint8Array {
  const view = dtype === "f16" ? Uint16Array.from(data, numberToF16) : data;
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}
