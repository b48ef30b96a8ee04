// `--output FILE`: results as files. In: results by name. Out: .npy, .json or raw .bin files, all or none; `-` is JSON on
// standard output. Several results make one .json with an object, or one file a result: out.npy is out.NAME.npy then.
import { extname } from "node:path";
import { numberToF16 } from "../../runtime/core/tensor.ts";
import { UsageError } from "./failure.ts";
import { type OutputFile, writeFiles } from "./files.ts";
import { formatNpy } from "./npy.ts";
import type { Result } from "./print-tensor.ts";

const FORMATS = [".npy", ".json", ".bin"];

/** Refused before anything runs. */
export function checkOutput(path: string): void {
  if (path !== "-" && !FORMATS.includes(extname(path).toLowerCase())) {
    throw new UsageError(`--output takes a file that ends in .npy, .json or .bin, or -, given ${path}`);
  }
}

/** Writes the results; the paths that were written. */
export async function writeResults(
  results: Readonly<Record<string, Result>>,
  path: string,
): Promise<string[]> {
  const all = Object.entries(results);
  const json = (): string => `${all.length === 1 ? jsonText(all[0][1]) : object(all)}\n`;
  if (path === "-") {
    process.stdout.write(json());
    return [];
  }
  const extension = extname(path);
  const format = extension.toLowerCase();
  let files: OutputFile[];
  if (format === ".json") files = [{ path, data: json() }];
  else {
    const stem = path.slice(0, -extension.length);
    files = all.map(([name, result]) => ({
      path: all.length === 1 ? path : `${stem}.${name}${extension}`,
      data: format === ".npy" ? formatNpy(result.dtype, result.shape, result.data) : raw(result),
    }));
  }
  await writeFiles(files);
  return files.map((f) => f.path);
}

const object = (all: readonly (readonly [string, Result])[]): string =>
  `{\n${all.map(([name, result]) => `  ${JSON.stringify(name)}: ${jsonText(result)}`).join(",\n")}\n}`;

/** Nested arrays; NaN and the infinities, which JSON has not, as strings. */
export function jsonText({ dtype, shape, data }: Result): string {
  let at = 0;
  const nest = (axis: number): string => {
    if (axis < shape.length)
      return `[${Array.from({ length: shape[axis] }, () => nest(axis + 1)).join(", ")}]`;
    const x = data[at++];
    if (dtype === "bool") return x ? "true" : "false";
    if (!Number.isFinite(x)) return JSON.stringify(String(x));
    return dtype === "f32" || dtype === "f16" ? shortest(x) : String(x);
  };
  return nest(0);
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
