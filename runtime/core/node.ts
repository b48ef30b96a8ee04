// What a module knows of Node: Dawn from the npm package `webgpu`, imported lazily, and files. In: nothing but the host's
// globals. Out: a GPU; a file's bytes in parts, or a file written whole or not at all. Node's own modules are asked for with
// process.getBuiltinModule or by a name that bundlers for the browser do not follow, so that the text is inert there. A module
// made for pages has page.ts in its place.
import { shown, UnsupportedError, WeightsError } from "./errors.ts";
import { isSoftwareAdapter } from "./software.ts";
import { fnv1a } from "./threefry.ts";

/** The one Dawn instance of a process. It is global because dropping the last reference to it aborts the process. */
const DAWN = Symbol.for("mdl.dawn");

interface Globals {
  readonly navigator?: { readonly gpu?: GPU };
  readonly process?: NodeProcess;
  readonly setImmediate?: (callback: () => void) => void;
  [DAWN]?: Promise<GPU>;
}

interface NodeProcess {
  readonly platform: string;
  readonly pid: number;
  kill(pid: number, signal: number): void;
  readonly versions?: { readonly node?: string };
  getBuiltinModule?(name: "node:fs"): NodeFs;
  getBuiltinModule?(name: "node:worker_threads"): { readonly isMainThread: boolean };
  getActiveResourcesInfo?(): string[];
}

interface NodeFs {
  readonly constants: Readonly<Record<"O_WRONLY" | "O_APPEND" | "O_NOCTTY" | "O_NONBLOCK", number>>;
  openSync(path: string, flags: number): number;
  closeSync(fd: number): void;
  fstatSync(fd: number): {
    isFile(): boolean;
    isCharacterDevice(): boolean;
    readonly size: number;
    readonly rdev: number;
  };
  readFileSync(path: string, encoding: "utf8"): string;
  readdirSync(path: string): string[];
  readlinkSync(path: string): string;
}

const host = globalThis as unknown as Globals;

/** The process's Dawn, started with flags of its own by whoever is first. Rejects with an UnsupportedError. */
export function startDawn(flags: string[] = []): Promise<GPU> {
  host[DAWN] ??= createDawn(host.process as NodeProcess, flags);
  return host[DAWN];
}

async function createDawn(node: NodeProcess, flags: string[]): Promise<GPU> {
  let dawn: { create(flags: string[]): GPU };
  try {
    dawn = await nodeModule("webgpu");
  } catch (cause) {
    host[DAWN] = undefined; // the package may be there at the next try
    const missing = (cause as { code?: string }).code === "ERR_MODULE_NOT_FOUND";
    throw new UnsupportedError(
      "no-webgpu",
      missing
        ? "WebGPU in Node needs a package: npm install webgpu, or pass options.device"
        : `the package webgpu cannot be loaded: ${(cause as Error).message}`,
      cause,
    );
  }
  const gpu = dawn.create(flags);
  await settle(node);
  const restore = silenceStandardError(node);
  // The first request looks for drivers, synchronously, and that is where Dawn and Mesa print what no user asked for
  // ("artificially reduced", XDG_RUNTIME_DIR). What it finds, or not, is told to whoever asks next.
  let discovery: Promise<unknown>;
  try {
    discovery = gpu.requestAdapter();
  } finally {
    restore();
  }
  await discovery.catch(() => undefined);
  return gpu;
}

/**
 * The same promise. While it is pending, and where Dawn computes on the CPU, the event loop sleeps a little between its
 * turns: dawn.node polls in every turn, which otherwise takes one of the cores that do the work.
 */
export function pollPolitely<T>(promise: Promise<T>, info: GPUAdapterInfo): Promise<T> {
  if (host.navigator?.gpu || !host.process || !host.setImmediate || !isSoftwareAdapter(info)) return promise;
  return restWhile(promise);
}

/** The same promise; while it is pending the event loop of Node sleeps a little between its turns. */
export function restWhile<T>(promise: Promise<T>): Promise<T> {
  if (pending++ === 0) since = performance.now();
  if (!polling) {
    polling = true;
    host.setImmediate?.(sleepAwhile);
  }
  return promise.finally(() => {
    const took = performance.now() - since;
    // What was there at the first look after a long rest may have been for most of it.
    if (--pending === 0) usual = slept ? Math.min(usual, took) * 0.7 : took;
  });
}

let pending = 0;
let since = 0;
/** How long waits take of late, in milliseconds. */
let usual = 0;
/** The last rest was one until what is waited for may be expected. */
let slept = false;
let polling = false;
let cell: Int32Array | undefined;

function sleepAwhile(): void {
  polling = pending > 0;
  if (!polling) return;
  const waited = performance.now() - since;
  // Short kernels are polled for; where long ones are usual, what is known at once is (whether a call was refused). From then
  // on a twentieth of what was waited, or most of what is left of what waits take of late: a turn takes 15 to 30 us of a core
  // that would compute. Other work of the event loop is held up by two milliseconds at most.
  const [short, long] = [0.02 + waited * 0.05, usual * 0.9 - waited];
  slept = long > short;
  if (waited > (long > 1 ? 0.08 : 0.15)) {
    cell ??= new Int32Array(new SharedArrayBuffer(4));
    Atomics.wait(cell, 0, 0, Math.min(2, slept ? long : short));
  }
  host.setImmediate?.(sleepAwhile);
}

/** Waits, 50 ms at most, until no request of ours that may open a file is under way in libuv's threads. */
async function settle(node: NodeProcess): Promise<void> {
  for (let i = 0; i < 50 && opensFiles(node); i++) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** What may be active without a thread of libuv's opening a descriptor. */
const HARMLESS =
  /^(Timeout|Immediate|FSEvent\w*|(FileHandle)?CloseReq|(TTY|Pipe|TCP|UDP|Process|Signal)\w*W(rap|RAP))$/;

function opensFiles(node: NodeProcess): boolean {
  return node.getActiveResourcesInfo?.().some((kind) => !HARMLESS.test(kind)) ?? true;
}

/**
 * Points file descriptor 2 at /dev/null until the returned function is called; Dawn has no switch for what it prints.
 * Plain Node has no dup2, so the descriptor is closed and the lowest free one, which is then 2, is opened. That is
 * done only where nothing can be lost, else standard error stays as it is:
 * - nobody else opens a file meanwhile: main thread, no request under way in libuv's threads;
 * - standard error can be opened again to the same effect: a terminal (by /dev/tty where its own path may not be opened,
 *   as after su and in containers), a pipe, a file written by appending, or a file that no other descriptor of any process
 *   may be writing at an offset of its own.
 */
function silenceStandardError(node: NodeProcess): () => void {
  const asItIs = (): void => undefined;
  const fs = node.getBuiltinModule?.("node:fs");
  const threads = node.getBuiltinModule?.("node:worker_threads");
  if (node.platform !== "linux" || !fs || !threads?.isMainThread || opensFiles(node)) return asItIs;
  const { O_WRONLY, O_APPEND, O_NOCTTY, O_NONBLOCK } = fs.constants;
  let saved = -1;
  let flags: number;
  let path = "/proc/self/fd/2";
  try {
    const info = fs.readFileSync("/proc/self/fdinfo/2", "utf8");
    const field = (name: string, radix: number): number =>
      Number.parseInt(new RegExp(`^${name}:\\s*(\\d+)`, "m").exec(info)?.[1] ?? "", radix);
    flags = (field("flags", 8) & (3 | O_APPEND | O_NONBLOCK)) | O_NOCTTY;
    const status = fs.fstatSync(2);
    if (status.isFile() && !(flags & O_APPEND)) {
      if (field("pos", 10) !== status.size || isShared(fs, node.pid)) return asItIs;
      flags |= O_APPEND;
    }
    fs.closeSync(fs.openSync("/dev/null", O_WRONLY));
    // O_NONBLOCK: a pipe that nobody reads any more then fails to open instead of waiting for a reader.
    try {
      saved = fs.openSync(path, flags | O_NONBLOCK);
      path = `/proc/self/fd/${saved}`;
    } catch (error) {
      if (!isControllingTerminal(fs)) throw error;
      path = "/dev/tty";
      saved = fs.openSync(path, flags | O_NONBLOCK);
    }
    if (saved <= 2) throw new Error("a standard descriptor is closed");
  } catch {
    if (saved >= 0) fs.closeSync(saved);
    return asItIs;
  }
  reopenStandardError(fs, "/dev/null", O_WRONLY);
  return () => {
    try {
      fs.closeSync(fs.openSync(path, flags | O_NONBLOCK));
      reopenStandardError(fs, path, flags);
    } catch {
      // Its reader is gone: what is printed from now on has nowhere to go, and descriptor 2 stays at /dev/null.
    }
    fs.closeSync(saved);
  };
}

function reopenStandardError(fs: NodeFs, path: string, flags: number): void {
  fs.closeSync(2);
  try {
    fs.openSync(path, flags);
  } catch {
    fs.openSync("/dev/null", fs.constants.O_WRONLY);
  }
}

/** Whether standard error is the terminal that /dev/tty names for this process. */
function isControllingTerminal(fs: NodeFs): boolean {
  const status = fs.fstatSync(2);
  // The process's name, in parentheses, may hold anything; then come state, parent, group, session, terminal.
  const terminal = fs.readFileSync("/proc/self/stat", "utf8").replace(/^.*\)/s, "").trim().split(" ")[4];
  return status.isCharacterDevice() && status.rdev !== 0 && String(status.rdev) === terminal;
}

/** Whether the file that is standard error may be open elsewhere: in this process, or in any that can be looked into. */
function isShared(fs: NodeFs, self: number): boolean {
  const file = fs.readlinkSync("/proc/self/fd/2");
  const parents = new Set<string>();
  for (let pid = String(self); pid && pid !== "0"; ) {
    pid = /^PPid:\s*(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "";
    parents.add(pid);
  }
  for (const pid of fs.readdirSync("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    let descriptors: string[];
    try {
      descriptors = fs.readdirSync(`/proc/${pid}/fd`);
    } catch {
      if (parents.has(pid)) return true;
      continue;
    }
    for (const fd of descriptors) {
      if (pid === String(self) && fd === "2") continue;
      try {
        if (fs.readlinkSync(`/proc/${pid}/fd/${fd}`) === file) return true;
      } catch {
        // closed meanwhile
      }
    }
  }
  return false;
}

// --------------------------------------------------------------------------------------------- files

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

/** By a name that no bundler for the browser follows: not a literal, nor one after minification. */
async function nodeModule<T>(name: string): Promise<T> {
  return (await import(/* @vite-ignore */ /* webpackIgnore: true */ name)) as T;
}
const nodeFiles = (): Promise<NodeFiles> => nodeModule("node:fs/promises");

/** Whether a place is Node's to open: a path, or a URL of one. */
export const isPath = (place: string): boolean =>
  !!host.process?.versions?.node && (/^file:/i.test(place) || !/^[a-z][a-z0-9+.-]+:/i.test(place));

/** Bytes to read from. */
export interface ByteSource {
  readonly size: number;
  /** `count` bytes from `at` on; a view where all bytes are in memory. */
  read(at: number, count: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** A file, to read parts of. Rejects with what Node says, or a WeightsError. */
export async function openPath(place: string): Promise<ByteSource> {
  const files = await nodeFiles();
  const path = /^file:/i.test(place) ? new URL(place) : place;
  // Before it is opened: that alone would wait for the other end of a FIFO.
  if (!(await files.stat(path)).isFile())
    throw new WeightsError("weights-source", `weights: ${shown(place)} is not a file`);
  const file = await files.open(path, "r");
  const { size } = await file.stat();
  return {
    size,
    read: async (at, count) => {
      const bytes = new Uint8Array(count);
      // In pieces: one read of Node's takes 2 GiB at most, and may give fewer bytes than asked for.
      for (let got = 0; got < count; ) {
        const { bytesRead } = await file.read(bytes, got, Math.min(count - got, 2 ** 30), at + got);
        if (bytesRead === 0) throw new Error("it ended early");
        got += bytesRead;
      }
      return bytes;
    },
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
  const temporary = join(
    folder,
    `.${basename(target).slice(0, 40)}.${mark}.${host.process?.pid}.${random}.tmp`,
  );
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
    host.process?.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { readonly code?: string }).code !== "ESRCH";
  }
}

/** Writes a file whole or not at all. */
export async function writePath(place: string, bytes: Uint8Array): Promise<void> {
  const { fileURLToPath } = await nodeModule<{ fileURLToPath(url: string): string }>("node:url");
  const staged = await stageFile(/^file:/i.test(place) ? fileURLToPath(place) : place, bytes);
  await staged.commit();
}
