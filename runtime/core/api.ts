// What the user of a module sees, as types. In: nothing. Out: types only. The text below the line is put into every
// module's `.d.ts` as it stands (scripts/generate.mjs), so it leans on no library of types: neither the DOM's, nor
// Node's, nor @webgpu/types. The runtime implements these, so that there is one definition.
// ---
/** An element type. `bool` is a Uint8Array of 0 and 1, `f16` a Float32Array, outside the GPU. */
export type DType = "f32" | "f16" | "i32" | "u32" | "bool";

/** How elements are held outside the GPU. */
export interface TypedArrays {
  f32: Float32Array;
  f16: Float32Array;
  i32: Int32Array;
  u32: Uint32Array;
  bool: Uint8Array;
}

/** A number, or a nested array of numbers: `[[1, 2], [3, 4]]` is a 2 by 2 tensor. */
export type Numbers = number | readonly Numbers[];
export type Booleans = boolean | readonly Booleans[];

/** A GPUBuffer, by what tells it apart. As an input it needs the usage COPY_SRC. */
export interface GpuBuffer {
  readonly size: number;
  readonly usage: number;
  readonly mapState: string;
}
/** A GPUDevice. */
export interface GpuDevice {
  readonly queue: object;
  readonly limits: object;
  readonly lost: Promise<unknown>;
  destroy(): unknown;
}
/** What `navigator.gpu` is. */
export interface Gpu {
  requestAdapter(options?: object): Promise<object | null>;
}

/** A dense tensor: a result, or an input if you like. */
export interface Tensor<D extends DType = DType> {
  readonly dtype: D;
  readonly shape: readonly number[];
  /** The elements, in row-major order. Throws for a tensor that is on the GPU and was not `read()` yet. */
  readonly data: TypedArrays[D];
  /** Where the elements are, for a tensor on the GPU (option `gpu: true`); bool is u32 there. */
  readonly buffer: GpuBuffer | undefined;
  /** The elements; copied from the GPU the first time where they are there. */
  read(): Promise<TypedArrays[D]>;
  /** The only element, as a number. */
  item(): number;
  /** Nested arrays of numbers; a number for rank 0. */
  toArray(): Numbers;
  /** Frees the GPU's memory, where there is some. */
  dispose(): void;
}
export interface TensorConstructor {
  new <D extends DType>(dtype: D, shape: readonly number[], data: TypedArrays[D]): Tensor<D>;
}

interface Flat {
  f32: Float32Array;
  f16: Float32Array;
  i32: Int32Array | BigInt64Array | Int8Array | Uint8Array | Uint8ClampedArray | Int16Array;
  u32: Uint32Array;
  bool: Uint8Array;
}
interface Nested {
  f32: Numbers;
  f16: Numbers;
  i32: Numbers;
  u32: Numbers;
  bool: Booleans | Numbers;
}
/**
 * What an entry takes for a tensor: a flat typed array (one unknown size is inferred from its length), nested arrays,
 * a Tensor, a GPUBuffer, or `{ data, shape }`.
 */
export type Input<D extends DType> =
  | Flat[D]
  | Nested[D]
  | Tensor<D>
  | GpuBuffer
  | { readonly data: Flat[D] | GpuBuffer; readonly shape: readonly number[] };

/** An AbortSignal, by what is used of it. */
export interface Signal {
  readonly aborted: boolean;
  readonly reason?: unknown;
  addEventListener(type: "abort", listener: () => void): void;
  removeEventListener(type: "abort", listener: () => void): void;
}

export interface CallOptions<Output extends string = string> {
  /** Which results to bring back; all of them without it. */
  readonly outputs?: readonly Output[];
  /**
   * For entries that draw random numbers: the same call with the same seed gives the same numbers, whatever was called
   * before. Without it, each call draws on from the seed of `load`.
   */
  readonly seed?: number | bigint;
  /**
   * Whether inputs from the host that are used as indices (ids of an embedding, classes of a loss) are looked through for
   * one outside; as for `load` without it. What is on the GPU is not looked at.
   */
  readonly checks?: boolean;
  /** Aborting rejects with its reason, as long as the call is not on its way to the GPU. */
  readonly signal?: Signal;
  /** Leave the results on the GPU: `await result.read()` brings one back, `result.dispose()` frees it. */
  readonly gpu?: boolean;
}

/**
 * A training step that is under way. Its figures stay on the GPU until they are asked for:
 * `const step = await net.train_step(batch); if (n % 50 === 0) console.log(await step.loss);`
 * Reading rejects with a NonFiniteError where this or an earlier step met an infinity or NaN.
 */
export type StepResult<Report extends string = never> = {
  /** 0-based number of the step. */
  readonly step: number;
  /** Everything at once, also reports that are called `step`, `read` or `then`. */
  read(): Promise<{ readonly [name in Report | "loss"]: number }>;
} & { readonly [name in Exclude<Report, "step" | "read" | "then"> | "loss"]: Promise<number> };

/**
 * Per step: a seed (it draws the same each time it is given), a signal to abort with before it is submitted, and finite
 * numbers in place of what the train block says (`{ lr: 1e-4 }`).
 */
export type StepOptions<Hyper extends string = never> = Pick<CallOptions, "seed" | "signal" | "checks"> & {
  readonly [name in Hyper]?: number;
};

/** A safetensors file: a URL (in Node also a path), its bytes, a Blob or Response; or tensors by path. */
export type Weights =
  | string
  | { readonly href: string }
  | ArrayBuffer
  | Uint8Array
  | { arrayBuffer(): Promise<ArrayBuffer> }
  | { readonly [path: string]: Input<DType> }
  | ReadonlyMap<string, Input<DType>>;

/** What a file need not fit in. Shapes and dtypes must always. */
export interface WeightsOptions {
  /** `false`: what is missing or unexpected is passed over, and told. */
  readonly strict?: boolean;
  /** `true`: weights may be missing (those keep what they have), but none unexpected. */
  readonly partial?: boolean;
}
/** What was passed over, by path. */
export interface Ignored {
  /** The model's, which the weights have not. */
  readonly missing: readonly string[];
  /** The weights', which the model has not. */
  readonly unexpected: readonly string[];
}

export interface Progress {
  readonly phase: "weights" | "compile" | "warm-up";
  readonly done: number;
  readonly total: number;
}

export interface LoadOptions extends WeightsOptions {
  /** Without it, parameters begin as the model declares, drawn from `seed`. */
  readonly weights?: Weights;
  /** Told what `strict: false` or `partial` passed over, where there is something; without it, `console.warn` says it. */
  readonly onIgnored?: (ignored: Ignored) => void;
  /** The device to run on; it is not destroyed by `dispose()`. Without it, the module asks for one. */
  readonly device?: GpuDevice;
  /** Where to ask for an adapter; else `navigator.gpu`, else (in Node) the package `webgpu`. */
  readonly gpu?: Gpu;
  readonly powerPreference?: "high-performance" | "low-power";
  /** Take this target instead of the first that fits, also on an adapter it was not made for. */
  readonly target?: string;
  /** For initial parameters and random operators; 0 without it. */
  readonly seed?: number | bigint;
  /** Whether calls refuse indices outside in what they are given by the host; true without it. */
  readonly checks?: boolean;
  /** Make ready for these entries only, so that a cold start compiles less; the others are refused. */
  readonly entries?: readonly string[];
  /** Sizes to make ready for: `{ N: 8 }`. Other sizes work, too; a name that is no size of the model is refused. */
  readonly bind?: { readonly [symbol: string]: number };
  /** What learning-rate schedules need to know. */
  readonly train?: { readonly totalSteps?: number };
  /**
   * Longest estimated time of one submit; 50 in a browser, 1000 in Node. A dispatch that would take longer, or more than a
   * second, is cut.
   */
  readonly maxSubmitMs?: number;
  /**
   * Takes snapshots as the model is trained, so that a lost device costs less: after so many calls that wrote parameters
   * or state, or when so many milliseconds have passed since the last. Such a call resolves when its snapshot is here.
   */
  readonly snapshotEvery?: number | { readonly steps?: number; readonly ms?: number };
  /** Aborting rejects with its reason and frees what was opened. */
  readonly signal?: Signal;
  /** Told of what load does; what it throws, load rejects with. */
  readonly onProgress?: (event: Progress) => void;
}

export interface Parameter<Path extends string = string> {
  readonly path: Path;
  /** Other paths that are tied to it. */
  readonly aliases: readonly string[];
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly bytes: number;
  readonly frozen: boolean;
  /** `buffer`: saved beside the parameters; `internal`: optimiser state and counters, in snapshots only. */
  readonly role: "param" | "buffer" | "internal";
}

/** All that training changes, at one moment, as copies of their own; may be cloned, stored, sent to a worker. */
export interface Snapshot {
  /** Of the parameters' names and shapes. */
  readonly signature: number;
  readonly params: Uint8Array;
  readonly state: Uint8Array;
  readonly steps: { readonly [block: string]: number };
  /** Random numbers go on from it (and the count of draws in `state`). */
  readonly seed: number | bigint;
}

export interface Profile {
  readonly entry: string;
  /** One row a dispatch or copy, in order. */
  readonly rows: readonly {
    readonly label: string;
    readonly kernel: string;
    readonly groups: number;
    /** Floating-point operations, as the compiler counted them. */
    readonly flops: number;
    /** Of everything it binds, each once: what goes through memory at least where all of it is used. */
    readonly bytes: number;
    readonly microseconds: number;
  }[];
  /** `timestamps` of the GPU, or the host's `clock` around each dispatch (overhead included). */
  readonly by: "timestamps" | "clock";
  readonly totalMicroseconds: number;
}

/** Bytes of GPU memory, and the number of buffers. */
export interface Memory {
  readonly params: number;
  readonly state: number;
  readonly derived: number;
  readonly constants: number;
  readonly arena: number;
  /** Uniform blocks, staging and the like. */
  readonly other: number;
  readonly total: number;
  readonly buffers: number;
}

/** What every loaded model can do. Calls may overlap; they run in the order they were made. */
export interface NetBase<Path extends string = string> {
  readonly name: string;
  /** The target that was chosen. */
  readonly target: string;
  readonly device: GpuDevice;
  parameters(): readonly Parameter<Path>[];
  getParameter(path: Path): Promise<Tensor>;
  setParameter(path: Path, value: Input<DType>): Promise<void>;
  /** A safetensors file of parameters and buffers: its bytes, or (in Node) written to a path. */
  save(): Promise<Uint8Array>;
  save(path: string | { readonly href: string }): Promise<void>;
  /**
   * All or nothing: rejects with a WeightsError that lists every missing, unexpected and misshapen tensor. Resolves to
   * what `strict: false` or `partial` passed over, as PyTorch's `load_state_dict` does.
   */
  loadWeights(weights: Weights, options?: WeightsOptions & { readonly signal?: Signal }): Promise<Ignored>;
  snapshot(): Promise<Snapshot>;
  restore(snapshot: Snapshot): Promise<void>;
  /** State as declared; with a seed the parameters are drawn anew, too. */
  reset(seed?: number | bigint): Promise<void>;
  /** Runs an entry once, timing each dispatch. */
  profile(entry: string, inputs: { readonly [name: string]: unknown }): Promise<Profile>;
  memory(): Memory;
  /** Frees everything; twice is fine. Calls that are under way reject. */
  dispose(): void;
  /** Takes no more calls, waits for what is under way, then frees everything. In a worker: before it ends or is terminated. */
  close(): Promise<void>;
  [Symbol.dispose](): void;
  [Symbol.asyncDispose](): Promise<void>;
}

/** The base of every error of this module; `code` is stable. */
export interface MdlRuntimeError extends Error {
  readonly code: string;
}
/** An argument of a call or of `load` is not what was expected. */
export interface InputError extends MdlRuntimeError {}
/** Weights that cannot be read or do not fit. */
export interface WeightsError extends MdlRuntimeError {
  readonly missing: readonly string[];
  readonly unexpected: readonly string[];
  readonly misshapen: readonly string[];
}
/** No WebGPU, or no program of the module fits the adapter. */
export interface UnsupportedError extends MdlRuntimeError {}
/** More than the device allows or has. */
export interface LimitError extends MdlRuntimeError {}
/** The GPU reported an error of its own. */
export interface GpuError extends MdlRuntimeError {}
/** The device was lost under the call, or before it with values that no snapshot and no weights have. */
export interface DeviceLostError extends MdlRuntimeError {}
/** The model was disposed of. */
export interface DisposedError extends MdlRuntimeError {}
/** A training step met an infinity or NaN and was left out. */
export interface NonFiniteError extends MdlRuntimeError {
  /** 0-based number of the first such step. */
  readonly step: number;
  /** Of which train block. */
  readonly block: string;
}

declare global {
  interface SymbolConstructor {
    /** For `using`; as in TypeScript's own library. */
    readonly dispose: unique symbol;
    /** For `await using`; as in TypeScript's own library. */
    readonly asyncDispose: unique symbol;
  }
}
