// Files of data. In: paths. Out: bytes, unpacked where gzip packed them; or a DataError that names the file.
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { DataError } from "../dataset.ts";
import { isGzip } from "../gzip.ts";

function troubleOf(error: unknown, path: string): DataError {
  const { code, message } = error as NodeJS.ErrnoException;
  const words: Readonly<Record<string, string>> = {
    ENOENT: "no such file",
    EISDIR: "is a folder, expected a file",
    EACCES: "no permission",
    ENOTDIR: "is no folder",
  };
  return new DataError(`${path}: ${words[code ?? ""] ?? message}`);
}

export function bytesOf(path: string): Uint8Array {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw troubleOf(error, path);
  }
  if (!isGzip(bytes)) return bytes;
  try {
    return gunzipSync(bytes);
  } catch (error) {
    throw new DataError(`${path} cannot be unpacked, it is cut off or damaged: ${(error as Error).message}`);
  }
}

export function textOf(path: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytesOf(path));
  } catch (error) {
    throw error instanceof DataError ? error : new DataError(`${path} is not UTF-8 text`);
  }
}

export const isFolder = (path: string): boolean =>
  statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;

/** Names in a folder, sorted; hidden ones are passed over. */
export function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => !name.startsWith("."))
      .sort();
  } catch (error) {
    throw troubleOf(error, folder);
  }
}

/** The first of these that is in the folder, as it is or packed. */
export function findFile(folder: string, names: readonly string[]): string | undefined {
  for (const name of names)
    for (const end of ["", ".gz"]) if (existsSync(join(folder, name + end))) return join(folder, name + end);
  return undefined;
}
