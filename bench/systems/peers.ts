// The peers that come with bench/package.json. What calls them is plain JavaScript in bench/peers, where their packages are
// found: their types are there only once they are installed. A system here says what such a file is given.
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { requestGpu } from "../../runtime/core/dawn.ts";
import { restWhile } from "../../runtime/core/node.ts";
import { isSoftwareAdapter } from "../../runtime/core/software.ts";
import { prepared } from "../networks/prepared.ts";
import { graphBytes, onnxModel } from "../onnx.ts";
import { root } from "../paths.ts";
import { STEPS, type Workload, type WorkloadData } from "../workload.ts";
import { CannotRun, type Shipped, type Subject, type System } from "./system.ts";

const peersFolder = join(root, "bench", "peers");
const packages = join(root, "bench", "node_modules");

interface Peer {
  prepare(how: object): Promise<() => Promise<Omit<Subject, "variant">>>;
}
export const peerFile = async <T = Peer>(name: string): Promise<T> =>
  (await import(pathToFileURL(join(peersFolder, name)).href)) as T;

export const versionsOf = (...names: readonly string[]): Record<string, string> =>
  Object.fromEntries(
    names.flatMap((name) => {
      const file = join(packages, name, "package.json");
      if (!existsSync(file)) return [];
      return [[name, (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version]];
    }),
  );

const weighed = new Map<string, number>();
/** Files of packages; in a name `*` stands for what a build put there. */
const filesOf = (pattern: string): string[] => {
  const folder = join(packages, dirname(pattern));
  const [start, end] = basename(pattern).split("*");
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => (end === undefined ? name === start : name.startsWith(start) && name.endsWith(end)))
    .map((name) => join(folder, name));
};

/** What they weigh gzipped. */
function gzipped(patterns: readonly string[]): number {
  let sum = 0;
  for (const path of patterns.flatMap(filesOf)) {
    // Of a large library a fast compression tells enough.
    const level = statSync(path).size > 2 ** 24 ? 1 : 9;
    let size = weighed.get(path);
    if (size === undefined) {
      size = gzipSync(readFileSync(path), { level }).length;
      weighed.set(path, size);
    }
    sum += size;
  }
  return sum;
}

const own = (workload: Workload): string | undefined =>
  workload.network ? undefined : "it is told workloads of the list only";

/** Dawn as navigator.gpu, for peers that look there, and what the adapter is. */
async function browserGpu(): Promise<GPUAdapterInfo> {
  const [{ install }, { globals }] = await Promise.all([
    peerFile<{ install(gpu: GPU, globals: object, politely: (promise: Promise<unknown>) => unknown): void }>(
      "webgpu.mjs",
    ),
    import("webgpu"),
  ]);
  const gpu = await requestGpu();
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw new CannotRun("there is no adapter");
  const software = isSoftwareAdapter(adapter.info);
  install(gpu, globals, (promise) => (software ? restWhile(promise) : promise));
  return adapter.info;
}

// ------------------------------------------------------------------------------------------ ONNX Runtime

const ORT_FILES: Readonly<Record<string, readonly string[]>> = {
  wasm: ["onnxruntime-web/dist/ort.wasm.min.mjs", "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm"],
};
const nativeFiles = [
  `onnxruntime-node/bin/napi-v6/${process.platform}/${process.arch}/libonnxruntime.so.1`,
  `onnxruntime-node/bin/napi-v6/${process.platform}/${process.arch}/onnxruntime_binding.node`,
];

/** The ONNX file of a workload, once for the three of them; and what there is in it beside weights. */
const onnxFiles = new Map<string, { readonly file: string; readonly bytes: number }>();
function onnxFile(workload: Workload, folder: string): { readonly file: string; readonly bytes: number } {
  if (workload.onnx !== undefined) return { file: workload.onnx, bytes: 0 };
  let made = onnxFiles.get(workload.name);
  if (!made) {
    const ready = prepared(workload.network!, workload.data().weights, { turned: true });
    const model = onnxModel(ready, workload.name);
    const file = join(folder, `${workload.name}.onnx`);
    writeFileSync(file, model);
    made = { file, bytes: graphBytes(model, ready) };
    onnxFiles.set(workload.name, made);
  }
  return made;
}

const ort = (name: string, kind: "webgpu" | "wasm" | "cpu", what: string): System => ({
  name,
  what,
  device: kind === "webgpu" ? "native" : "cpu",
  installed: true,
  tolerance: 1e-3,
  lacks: (workload) =>
    workload.training
      ? "ONNX Runtime does not train in JavaScript"
      : workload.onnx !== undefined
        ? undefined
        : own(workload),
  versions: () => versionsOf(kind === "wasm" ? "onnxruntime-web" : "onnxruntime-node"),

  async build(workload, folder): Promise<Shipped> {
    const { file, bytes } = onnxFile(workload, folder);
    return { file, bytes: bytes + gzipped(ORT_FILES[kind] ?? nativeFiles) };
  },

  async prepare(_, { inputs }, { shipped, threads }) {
    const { prepare } = await peerFile("ort.mjs");
    const open = await prepare({ kind, model: readFileSync(shipped!.file), inputs, threads });
    return async () => ({ variant: kind === "webgpu" ? "native" : `${threads} threads`, ...(await open()) });
  },
});

// ------------------------------------------------------------------------------------------ libraries

const library = (
  name: string,
  file: string,
  kind: "webgpu" | "wasm",
  what: string,
  packageNames: readonly string[],
  files: readonly string[],
  lacks: (workload: Workload) => string | undefined = () => undefined,
): System => ({
  name,
  what,
  device: kind === "webgpu" ? "webgpu" : "cpu",
  installed: true,
  tolerance: 1e-3,
  lacks: (workload) => own(workload) ?? lacks(workload),
  versions: () => versionsOf(...packageNames),

  build: async () => ({ file: "", bytes: gzipped(files) }),

  async prepare({ network }, { inputs, weights }: WorkloadData, { threads }) {
    // Before the code: TensorFlow.js looks for navigator.gpu as it is loaded.
    const adapter = kind === "webgpu" ? await browserGpu() : undefined;
    const { prepare } = await peerFile(file);
    const open = await prepare({
      kind,
      inputs,
      threads,
      steps: STEPS,
      ...prepared(network!, weights, { turned: true }),
    });
    const variant = kind === "wasm" ? `${threads} threads` : kind;
    return async () => ({ variant, adapter, ...(await open()) });
  },
});

const TFJS = ["@tensorflow/tfjs"];
const TFJS_FILES = ["@tensorflow/tfjs/dist/tf.min.js"];

export const peers: readonly System[] = [
  ort("ort-webgpu", "webgpu", "ONNX Runtime's native WebGPU, with a Dawn of its own"),
  ort("ort-wasm", "wasm", "ONNX Runtime Web, WebAssembly"),
  ort("ort-cpu", "cpu", "ONNX Runtime on the CPU, native"),
  library(
    "tfjs-webgpu",
    "tfjs.mjs",
    "webgpu",
    "TensorFlow.js on WebGPU",
    [...TFJS, "@tensorflow/tfjs-backend-webgpu"],
    [...TFJS_FILES, "@tensorflow/tfjs-backend-webgpu/dist/tf-backend-webgpu.min.js"],
  ),
  library(
    "tfjs-wasm",
    "tfjs.mjs",
    "wasm",
    "TensorFlow.js, WebAssembly",
    [...TFJS, "@tensorflow/tfjs-backend-wasm"],
    [
      ...TFJS_FILES,
      "@tensorflow/tfjs-backend-wasm/dist/tf-backend-wasm.min.js",
      "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-threaded-simd.wasm",
    ],
    ({ training }) => (training ? "its WebAssembly backend has no gradients of convolutions" : undefined),
  ),
  library(
    "jax-webgpu",
    "jax.mjs",
    "webgpu",
    "jax-js on WebGPU",
    ["@jax-js/jax"],
    ["@jax-js/jax/dist/index.js", "@jax-js/jax/dist/backend-*.js", "@jax-js/jax/dist/webgpu-*.js"],
  ),
];
