// Where weights come from and go to. In: a URL, path, Blob, Response or bytes. Out: bytes to read from, as a whole or in
// parts; or a file written whole or not at all. Separate because it alone knows that Node reads paths: its modules are asked
// for by a name that bundlers for the browser do not follow.
import { MdlRuntimeError, reason, shown, WeightsError } from "./errors.ts";
import { fnv1a } from "./threefry.ts";

interface FileInfo {
  isFile(): boolean;
  isDirectory(): boolean;
  readonly size: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}
interface FileHandle {
  stat(): Promise<FileInfo>;
  read(into: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesRead: number }>;
  writeFile(data: Uint8Array | string): Promise<void>;
  chown(uid: number, gid: number): Promise<void>;
  chmod(mode: number): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}
interface NodeFiles {
  open(path: string | URL, flags: string, mode?: number): Promise<FileHandle>;
  stat(path: string | URL): Promise<FileInfo>;
  access(path: string, mode: number): Promise<void>;
  readdir(path: string): Promise<string[]>;
  readlink(path: string): Promise<string>;
  realpath(path: string): Promise<string>;
  rename(from: string, to: string): Promise<void>;
  rm(path: string, options: { force: boolean }): Promise<void>;
}
interface NodePath {
  basename(path: string): string;
  dirname(path: string): string;
  join(...parts: string[]): string;
  resolve(...parts: string[]): string;
}

const node = (
  globalThis as {
    readonly process?: {
      readonly versions?: { readonly node?: string };
      readonly pid: number;
      kill(pid: number, signal: number): void;
    };
  }
).process;

async function nodeModule<T>(name: string): Promise<T> {
  return (await import(/* @vite-ignore */ /* webpackIgnore: true */ name)) as T;
}
const nodeFiles = (): Promise<NodeFiles> => nodeModule("node:fs/promises");

const isUrl = (text: string): boolean => /^[a-z][a-z0-9+.-]+:/i.test(text);

/** Whether a place is Node's to open: a path, or a URL of one. */
const isPath = (place: string): boolean => !!node?.versions?.node && (/^file:/i.test(place) || !isUrl(place));

/** Bytes to read from. */
export interface ByteSource {
  readonly size: number;
  /** `count` bytes from `at` on; a view where all bytes are in memory. */
  read(at: number, count: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** The bytes of `source`; undefined where it is none of what a file may be. Memory of the caller's is copied at once. */
export function openBytes(source: unknown): Promise<ByteSource> | undefined {
  if (typeof source === "string") return attempt(source, () => openPlace(source));
  if (typeof source !== "object" || source === null) return undefined;
  const tag = Object.prototype.toString.call(source);
  if (ArrayBuffer.isView(source) || tag === "[object ArrayBuffer]" || tag === "[object SharedArrayBuffer]")
    return attempt("the bytes given", async () => inMemory(copyBytes(source as ArrayBuffer)));
  if ("arrayBuffer" in source && typeof source.arrayBuffer === "function") {
    const file = source as Blob | Response;
    const place = "url" in file && file.url ? file.url : `the ${tag.slice(8, -1)} given`;
    return attempt(place, () => openBody(place, file));
  }
  if ("href" in source && typeof source.href === "string") return openBytes(source.href);
  return undefined;
}

/** A copy of memory that may be shared, resizable, or gone. */
export function copyBytes(source: ArrayBuffer | ArrayBufferView): Uint8Array {
  if (!ArrayBuffer.isView(source)) return new Uint8Array(source).slice();
  return new Uint8Array(source.buffer, source.byteOffset, source.byteLength).slice();
}

const inMemory = (bytes: Uint8Array): ByteSource => ({
  size: bytes.byteLength,
  read: async (at, count) => bytes.subarray(at, at + count),
  close: async () => undefined,
});

/** What goes wrong while reading weights, as a WeightsError. */
export async function attempt<T>(place: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof MdlRuntimeError) throw cause;
    throw new WeightsError(
      "weights-source",
      `weights: cannot read ${shown(place)}: ${reason(cause)}`,
      {},
      cause,
    );
  }
}

async function openBody(place: string, file: Blob | Response): Promise<ByteSource> {
  if ("ok" in file && !file.ok)
    throw new WeightsError("weights-source", `weights: fetching ${shown(place)} gave ${file.status}`);
  if (!("size" in file && "slice" in file)) return inMemory(new Uint8Array(await file.arrayBuffer()));
  return {
    size: file.size,
    read: (at, count) =>
      attempt(place, async () => new Uint8Array(await file.slice(at, at + count).arrayBuffer())),
    close: async () => undefined,
  };
}

async function openPlace(place: string): Promise<ByteSource> {
  if (!isPath(place)) return openBody(place, await fetch(place));
  const files = await nodeFiles();
  const path = /^file:/i.test(place) ? new URL(place) : place;
  // Before it is opened: that alone would wait for the other end of a FIFO.
  if (!(await files.stat(path)).isFile())
    throw new WeightsError("weights-source", `weights: ${shown(place)} is not a file`);
  const file = await files.open(path, "r");
  const { size } = await file.stat();
  return {
    size,
    read: (at, count) =>
      attempt(place, async () => {
        const bytes = new Uint8Array(count);
        // In pieces: one read of Node's takes 2 GiB at most, and may give fewer bytes than asked for.
        for (let got = 0; got < count; ) {
          const { bytesRead } = await file.read(bytes, got, Math.min(count - got, 2 ** 30), at + got);
          if (bytesRead === 0) throw new Error("it ended early");
          got += bytesRead;
        }
        return bytes;
      }),
    close: () => file.close(),
  };
}

/** A file that is complete beside the place it is to take. */
export interface StagedFile {
  /** Takes the place. */
  commit(): Promise<void>;
  /** Leaves everything as it was; nothing after `commit`. */
  discard(): Promise<void>;
}

/**
 * Writes a file beside `path`, ready to take its place by a rename: whoever reads finds the old one or the new one whole,
 * however many write at once. Its name cannot be guessed, and nothing that has it already is followed or overwritten. A
 * link stays a link, what it names is replaced; permissions are kept. What is no file (a device, a pipe) is written into.
 */
export async function stageFile(path: string, data: Uint8Array | string): Promise<StagedFile> {
  const files = await nodeFiles();
  const { basename, dirname, join } = await nodeModule<NodePath>("node:path");
  const target = await throughLinks(files, path);
  const old = await files.stat(target).catch(() => undefined);
  if (old && !old.isFile()) {
    // The system's own error for a folder.
    const handle = await files.open(target, "r+");
    const commit = (): Promise<void> => handle.writeFile(data).finally(discard);
    let open = true;
    const discard = async (): Promise<void> => {
      if (open) await handle.close();
      open = false;
    };
    return { commit, discard };
  }
  // A rename would replace what its owner made read-only.
  if (old) await files.access(target, 2);
  const folder = dirname(target);
  const mark = await hostMark();
  await removeStale(files, join, folder, basename(target), mark);
  const random = Array.from(crypto.getRandomValues(new Uint32Array(4)), (x) => x.toString(36)).join("");
  const temporary = join(folder, `.${basename(target).slice(0, 40)}.${mark}.${node?.pid}.${random}.tmp`);
  const discard = (): Promise<void> => files.rm(temporary, { force: true }).catch(() => undefined);
  const handle = await files.open(temporary, "wx", old ? old.mode & 0o777 : 0o666);
  try {
    if (old) {
      await handle.chown(old.uid, old.gid).catch(() => undefined); // only root may
      await handle.chmod(old.mode & 0o777);
    }
    await handle.writeFile(data);
    await handle.sync().catch((error: { readonly code?: string }) => {
      // Some network file systems cannot; what is lost (EIO, ENOSPC) is told.
      if (!["EINVAL", "ENOTSUP", "ENOSYS"].includes(error.code ?? "")) throw error;
    });
  } catch (error) {
    await handle.close().catch(() => undefined);
    await discard();
    throw error;
  }
  await handle.close();
  return {
    commit: () =>
      files.rename(temporary, target).catch(async (error: unknown) => {
        await discard();
        throw error;
      }),
    discard,
  };
}

/** Where a path ends once links are followed, also those that name nothing yet. */
async function throughLinks(files: NodeFiles, path: string): Promise<string> {
  const { dirname, resolve } = await nodeModule<NodePath>("node:path");
  let at = path;
  for (let i = 0; i < 40; i++) {
    const real = await files.realpath(at).catch(() => undefined);
    if (real !== undefined) return real;
    const to = await files.readlink(at).catch(() => undefined);
    if (to === undefined) return at;
    at = resolve(await files.realpath(dirname(at)), to);
  }
  throw new Error("its links lead nowhere");
}

/** Tells this machine's processes from those of others that write into the same folder. */
async function hostMark(): Promise<string> {
  const { hostname } = await nodeModule<{ hostname(): string }>("node:os");
  return fnv1a(hostname()).toString(36);
}

/** Removes what processes of this machine that were killed left beside `name`. */
async function removeStale(
  files: NodeFiles,
  join: NodePath["join"],
  folder: string,
  name: string,
  mark: string,
): Promise<void> {
  const start = `.${name.slice(0, 40)}.${mark}.`;
  for (const found of await files.readdir(folder).catch(() => [])) {
    const pid = /^(\d+)\.\w+\.tmp$/.exec(found.startsWith(start) ? found.slice(start.length) : "")?.[1];
    if (pid && !isRunning(Number(pid)))
      await files.rm(join(folder, found), { force: true }).catch(() => undefined);
  }
}

function isRunning(pid: number): boolean {
  try {
    node?.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { readonly code?: string }).code !== "ESRCH";
  }
}

/** Writes a file whole or not at all. */
export async function writeFile(place: string, bytes: Uint8Array): Promise<void> {
  if (!isPath(place)) {
    throw new WeightsError(
      "weights-source",
      `cannot write ${shown(place)}: call save() without a path for the bytes`,
    );
  }
  try {
    const { fileURLToPath } = await nodeModule<{ fileURLToPath(url: string): string }>("node:url");
    const staged = await stageFile(/^file:/i.test(place) ? fileURLToPath(place) : place, bytes);
    await staged.commit();
  } catch (cause) {
    throw new WeightsError("weights-source", `cannot write ${shown(place)}: ${reason(cause)}`, {}, cause);
  }
}
