// Files as commands read and write them. In: paths. Out: bytes or text, or an InputFailure that names the file. What is
// written goes to temporary files first, which then take their places together: an error leaves everything as it was.
// Nothing here waits for ever: what is no regular file is read only where it is a stream that somebody already writes,
// and no more of it than a limit.
import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  type Stats,
  statSync,
} from "node:fs";
import { dirname } from "node:path";
import { type StagedFile, stageFile } from "../../runtime/core/node.ts";
import { stdSources } from "../core/index.ts";
import { fileTrouble, InputFailure } from "./failure.ts";

/** Most that is read of a stream, in bytes: standard input, and pipes that a shell makes. */
const STREAM_LIMIT = 2 ** 31 - 1;

/** A source longer than this is not read whole, since the compiler refuses far shorter ones (E1002). */
const SOURCE_LIMIT = 2 ** 26;

/** What a shell hands on as a file: `<(command)` and /dev/stdin. Its other end is open already. */
const STREAM = /^\/(?:dev\/(?:stdin|fd\/\d+)|proc\/self\/fd\/\d+)$/;

/** The bytes of a file, or of standard input for `-`; at most `limit` of them. */
export function readBytes(path: string, limit: number = STREAM_LIMIT): Uint8Array {
  const name = path === "-" ? "standard input" : path;
  let bytes: Uint8Array;
  try {
    if (path === "-") bytes = readStream(0, limit);
    else {
      const what = kindOf(statSync(path));
      if (what !== undefined && !STREAM.test(path)) {
        throw new InputFailure(
          `${path} is ${what}, expected a file; for what a program writes give - and pipe it in`,
        );
      }
      const file = openSync(path, "r");
      try {
        const size = fstatSync(file).size;
        if (what === undefined && size > limit) throw new InputFailure(tooLong(name, limit));
        bytes = what === undefined ? readFileSync(file) : readStream(file, limit);
      } finally {
        closeSync(file);
      }
    }
  } catch (error) {
    throw error instanceof InputFailure ? error : new InputFailure(fileTrouble(error, name));
  }
  if (bytes.byteLength > limit) throw new InputFailure(tooLong(name, limit));
  return bytes;
}

const tooLong = (name: string, limit: number): string =>
  `${name} is longer than ${Math.ceil(limit / 2 ** 20)} MiB, which is the most that is read`;

/** What a path leads to where it is neither a file nor a folder (which reading says by itself). */
function kindOf(status: Stats): string | undefined {
  if (status.isFIFO()) return "a pipe";
  if (status.isCharacterDevice() || status.isBlockDevice()) return "a device";
  if (status.isSocket()) return "a socket";
  return undefined;
}

/** A stream up to its end, or one byte past the limit. */
function readStream(file: number, limit: number): Uint8Array {
  const parts: Buffer[] = [];
  let total = 0;
  const chunk = Buffer.alloc(1 << 16);
  while (total <= limit) {
    let count: number;
    try {
      count = readSync(file, chunk, 0, Math.min(chunk.length, limit + 1 - total), null);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EOF") break; // Windows, at the end of a pipe
      if (code !== "EAGAIN") throw error;
      // Standard input that another process made non-blocking: nothing is there yet.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
      continue;
    }
    if (count === 0) break;
    parts.push(Buffer.from(chunk.subarray(0, count)));
    total += count;
  }
  return Buffer.concat(parts);
}

export function readText(path: string): string {
  const bytes = readBytes(path, SOURCE_LIMIT);
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

/** Writes all of them or none, each as `stageFile` does: mode and links stay, nothing that was planted is followed. */
export async function writeFiles(files: readonly OutputFile[]): Promise<void> {
  const staged: StagedFile[] = [];
  const trouble = (error: unknown, path: string): InputFailure =>
    error instanceof InputFailure ? error : new InputFailure(`cannot write ${fileTrouble(error, path)}`);
  try {
    for (const { path, data } of files) {
      try {
        makeFolder(dirname(path));
        // What a rename would trip over is found before the first one.
        const there = statSync(path, { throwIfNoEntry: false });
        if (there?.isDirectory())
          throw new InputFailure(`cannot write ${path}: there is a folder of that name`);
        if (there && !there.isFile())
          throw new InputFailure(`cannot write ${path}: it is ${kindOf(there)}, not a file`);
        staged.push(await stageFile(path, data));
      } catch (error) {
        throw trouble(error, path);
      }
    }
    for (const [i, { path }] of files.entries()) {
      await staged[i].commit().catch((error: unknown) => {
        throw trouble(error, path);
      });
    }
  } finally {
    for (const file of staged) await file.discard();
  }
}

/** Makes a folder and those above it, one by one: Node's own way to does not end below /proc. */
function makeFolder(folder: string): void {
  if (statSync(folder, { throwIfNoEntry: false })) return;
  if (dirname(folder) !== folder) makeFolder(dirname(folder));
  try {
    mkdirSync(folder);
  } catch (error) {
    // Somebody else's, just now.
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return;
    throw new InputFailure(
      `cannot make the folder ${fileTrouble(error, folder).replace("no such file", "nothing can be made there")}`,
    );
  }
}

/** A path as the language has it, which joins those of imports with "/". */
export const sourceName = (path: string): string =>
  process.platform === "win32" ? path.replaceAll("\\", "/") : path;

/** A source and what it imports: the texts by the names that diagnostics carry. */
export class SourceFiles {
  /** As diagnostics name it. */
  readonly file: string;
  readonly text: string;
  readonly #texts = new Map<string, string | undefined>();

  readonly #looksAt: ((file: string) => void) | undefined;

  /** `looksAt` is told each file that is asked for, before it is read. */
  constructor(path: string, looksAt?: (file: string) => void) {
    this.#looksAt = looksAt;
    this.file = sourceName(path);
    this.text = readText(path);
    this.#texts.set(this.file, this.text);
  }

  /** For the compiler's option `resolve`. */
  readonly resolve = (file: string): string | undefined => {
    if (!this.#texts.has(file)) {
      let text: string | undefined;
      this.#looksAt?.(file);
      try {
        text = readText(file);
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
