// Where a module's GPU comes from when it is not handed in: navigator.gpu, else (in Node) Dawn from the npm package
// `webgpu`, imported lazily. In: nothing but the host's globals. Out: a GPU, or an UnsupportedError that says how to get
// one. Separate from the rest of the runtime because it alone knows about hosts. Node's own modules are asked for with
// process.getBuiltinModule, so that the text is inert in browsers and for bundlers.
import { UnsupportedError } from "./errors.ts";

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

/** The host's GPU: navigator.gpu, else Dawn in Node. Rejects with an UnsupportedError. */
export async function requestGpu(): Promise<GPU> {
  const own = host.navigator?.gpu;
  if (own) return own;
  if (!host.process?.versions?.node) {
    throw new UnsupportedError(
      "no-webgpu",
      "this browser has no WebGPU: use a recent Chrome, Edge, Firefox or Safari on a secure (https) page, " +
        "or pass options.device",
    );
  }
  host[DAWN] ??= createDawn(host.process);
  return host[DAWN];
}

async function createDawn(node: NodeProcess): Promise<GPU> {
  // Not a literal, nor one after minification, so that a bundler for the browser does not look for the package.
  const name = ["web", "gpu"].join("");
  let dawn: { create(flags: string[]): GPU };
  try {
    dawn = (await import(name)) as typeof dawn;
  } catch (cause) {
    host[DAWN] = undefined; // the package may be there at the next try
    const missing = (cause as { code?: string }).code === "ERR_MODULE_NOT_FOUND";
    throw new UnsupportedError(
      "no-webgpu",
      missing
        ? "WebGPU in Node needs the package webgpu: npm install webgpu, or pass options.device"
        : `the package webgpu (Dawn) cannot be loaded here: ${(cause as Error).message}`,
      cause,
    );
  }
  const gpu = dawn.create([]);
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

/** Whether the adapter computes on the CPU (lavapipe, SwiftShader, WARP). */
export function isSoftwareAdapter(info: GPUAdapterInfo): boolean {
  return info.isFallbackAdapter || /^(software|swiftshader|warp)$/.test(info.architecture);
}

/**
 * The same promise. While it is pending, and where Dawn computes on the CPU, the event loop sleeps a little between its
 * turns: dawn.node polls in every turn, which otherwise takes one of the cores that do the work.
 */
export function pollPolitely<T>(promise: Promise<T>, info: GPUAdapterInfo): Promise<T> {
  if (host.navigator?.gpu || !host.process || !host.setImmediate || !isSoftwareAdapter(info)) return promise;
  if (pending++ === 0) since = performance.now();
  if (!polling) {
    polling = true;
    host.setImmediate(sleepAwhile);
  }
  return promise.finally(() => {
    pending--;
  });
}

let pending = 0;
let since = 0;
let polling = false;
let cell: Int32Array | undefined;

function sleepAwhile(): void {
  polling = pending > 0;
  if (!polling) return;
  const waited = performance.now() - since;
  // Short kernels are polled for; from then on a hundredth of what was waited, at most a millisecond: other work of the
  // event loop is held up no longer than that.
  if (waited > 0.15) {
    cell ??= new Int32Array(new SharedArrayBuffer(4));
    Atomics.wait(cell, 0, 0, Math.min(1, 0.02 + waited * 0.01));
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
