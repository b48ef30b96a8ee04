// Files as commands read and write them. In: paths. Out: bytes or text, or an InputFailure that names the file. What is
// written goes to temporary files first, which then take their places together: an error leaves everything as it was.
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { stdSources } from "../core/generated/std.ts";
import { fileTrouble, InputFailure } from "./failure.ts";

export function readBytes(path: string): Uint8Array {
  try {
    return readFileSync(path === "-" ? 0 : path);
  } catch (error) {
    throw new InputFailure(fileTrouble(error, path === "-" ? "standard input" : path));
  }
}

export function readText(path: string): string {
  const bytes = readBytes(path);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new InputFailure(`${path} is not UTF-8 text`);
  }
}

export interface OutputFile {
  readonly path: string;
  readonly data: Uint8Array | string;
}

/** Writes all of them or none. */
export function writeFiles(files: readonly OutputFile[]): void {
  const written: string[] = [];
  try {
    for (const { path, data } of files) {
      const temporary = `${path}.${process.pid}.tmp`;
      written.push(temporary);
      let isFolder = false;
      try {
        mkdirSync(dirname(path), { recursive: true });
        isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
        writeFileSync(temporary, data);
      } catch (error) {
        throw new InputFailure(`cannot write ${fileTrouble(error, path)}`);
      }
      // What a rename would trip over is found before the first one.
      if (isFolder) throw new InputFailure(`cannot write ${path}: there is a folder of that name`);
    }
    files.forEach(({ path }, i) => {
      try {
        renameSync(written[i], path);
      } catch (error) {
        throw new InputFailure(`cannot write ${fileTrouble(error, path)}`);
      }
    });
  } finally {
    for (const temporary of written) removeQuietly(temporary);
  }
}

function removeQuietly(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // What could not be made is not there either.
  }
}

/** A source and what it imports: the texts by the names that diagnostics carry. */
export class SourceFiles {
  /** As diagnostics name it. */
  readonly file: string;
  readonly text: string;
  readonly #texts = new Map<string, string | undefined>();

  constructor(path: string) {
    // The language joins import paths with "/".
    this.file = process.platform === "win32" ? path.replaceAll("\\", "/") : path;
    this.text = readText(path);
    this.#texts.set(this.file, this.text);
  }

  /** For the compiler's option `resolve`. */
  readonly resolve = (file: string): string | undefined => {
    if (!this.#texts.has(file)) {
      let text: string | undefined;
      try {
        text = readFileSync(file, "utf8");
      } catch {
        // The compiler says which import asked for it.
      }
      this.#texts.set(file, text);
    }
    return this.#texts.get(file);
  };

  /** For rendering diagnostics. */
  readonly source = (file: string): string | undefined =>
    Object.hasOwn(stdSources, file) ? stdSources[file] : this.#texts.get(file);
}
