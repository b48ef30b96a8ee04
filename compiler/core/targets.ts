// The targets a program is scheduled for: what the adapter must have and which shapes of kernel it likes.
// In: nothing. Out: plain data the schedules and `requires` read. Measurements behind the numbers: docs/performance.md.
import type { Requires } from "../../runtime/core/program.ts";
import type { Backend } from "./backends/backend.ts";
import { wgsl } from "./backends/wgsl/wgsl.ts";
import type { KernelLimit, KernelRules } from "./kernel/verify.ts";

export interface Target {
  /** What `load({ target })` asks for. */
  readonly name: string;
  /** What its kernels are written in. */
  readonly backend: Backend;
  readonly requires: Requires;
  /** Threads of a pointwise workgroup; each handles four elements. */
  readonly mapThreads: number;
  /** Threads that share a row of a reduction. */
  readonly rowThreads: number;
  /** Lines of a running sum, or workgroups of a product by a vector, that keep the device busy. */
  readonly busyRows: number;
  /** When the terms of a product are summed in parts, each of which has workgroups of its own. */
  readonly split: {
    /** Workgroups that keep the device busy. */
    readonly groups: number;
    /** Terms of a part, at least. */
    readonly least: number;
    /** Terms that a workgroup sums in the time of a launch. */
    readonly launch: number;
  };
  /** When long rows are cut into parts, and how a row is read. */
  readonly rows: {
    /** Workgroups that keep the device busy. */
    readonly groups: number;
    /** Elements of a row (of four, where they lie side by side) from which cutting it pays for the launch that it takes. */
    readonly alone: number;
    /** The same where elements come out, too, which the kernel of whole rows computes in the same launch. */
    readonly back: number;
    /** That, where a row's elements lie side by side; `back` where it is not said. */
    readonly backAlong?: number;
    /** Fours of numbers that a thread loads before it uses the first; 1 where memory is near. */
    readonly ahead: number;
  };
  /** Rows and columns of a product that a workgroup computes at a time, and how many terms of each it keeps at hand. */
  readonly tile: {
    readonly rows: number;
    readonly cols: number;
    readonly depth: number;
    /** Rows and columns of a thread, where tiles lie in workgroup memory. */
    readonly high: number;
    readonly wide: number;
    /** Sets of threads that share out the terms of a tile. */
    readonly slices: number;
    /** Turns that are loaded into registers while one is multiplied; none where it is not said. */
    readonly ahead?: number;
  };
  /**
   * Where the first factor is read element by element, as an image with channels first is: bringing it is what takes the time, and
   * a larger tile uses each element more often.
   */
  readonly scattered?: Target["tile"];
  /**
   * Where columns fill it, and calls of the usual size have `from` of it and more: a wider tile, which reads the first factor
   * half as often.
   */
  readonly broad?: { readonly from: number; readonly tile: Target["tile"] };
  /**
   * Where four of the first factor are one load, sums go along one axis and have `terms` and more, and there are `from` of it and
   * more: there is little to work out for a load, and where it is loaded ahead, nothing else to do while it is on its way.
   */
  readonly deep?: { readonly terms: number; readonly from: number; readonly tile: Target["tile"] };
  /**
   * For calls where those are too few to keep the device busy: a smaller tile, where there are fewer than `below` of it. Where sizes
   * are open, products have a kernel for either, and a call runs one of them.
   */
  readonly few?: {
    readonly below: number;
    readonly tile: Target["tile"];
  };
  /**
   * Sizes that loops divide by are constants of a pipeline, so that layers of other sizes have pipelines of their own. A GPU
   * divides by what it does not know in some twenty operations and compiles in milliseconds; a software adapter divides in
   * one or two and takes a second.
   */
  readonly literalDivisors: boolean;
  /**
   * Into how many stretches the workgroups of kernels side by side are dealt out, by turns: 1 where the device takes them as
   * it gets to them. A software adapter gives each of its threads a stretch of all, whatever these have to do.
   */
  readonly ways: number;
  /**
   * Statements of kernels that run side by side, at most, and where one of them would by itself be the same text for layers
   * of other sizes. A software adapter compiles texts one after the other, in a time that grows faster than they do.
   */
  readonly statements: { readonly most: number; readonly shared: number };
  /**
   * Where small windows at every place of an image are multiplied less often by Winograd's method: what it costs to bring an
   * element of its own into, and out of, the products, in multiplications of a product; and for how many layers at least. Its four
   * launches, and that of the filter, are half a second of compiling, which all layers share; rows that share lines
   * (contraction/lines.ts) take some 1.2 of the time and one text. A convolution alone pays for five in thousands of calls, a network in
   * tens.
   */
  readonly winograd?: { readonly image: number; readonly result: number; readonly layers: number };
  /**
   * Rows of so many elements, and of several times that, fall on the same places of a core's first cache, so that those of a tile
   * throw each other out.
   */
  readonly apart?: number;
  /** Rows that kernels alone see have room for whole fours: a load costs the same for one number and little more for four. */
  readonly fours?: true;
  /** Lines of windows, one below the other, that a thread has, where a few threads keep the device busy: it loads each line once. */
  readonly walk?: number;
  /**
   * What the matrix unit of a subgroup multiplies at a time: f16, with sums in f32. Products are computed by it where what they read
   * may be rounded so (`precision` is `f16`).
   */
  readonly matrix?: { readonly rows: number; readonly cols: number; readonly depth: number };
  /** Compiling a text takes as long as running it a few times: what can be a loop is one. */
  readonly dearTexts: boolean;
  /** Workgroup memory is a memory of its own, faster than where buffers lie. */
  readonly fastShared: boolean;
  /** What was measured to be better than the first choice of a family, on the adapters that it requires. */
  readonly tuning?: Tuning;
  /** What may be stored as f16 (by training steps: with `f16`); all as it is, without. */
  readonly precision?: Precision;
}
/** `f16-weights`: what parameters alone decide; `f16`: what kernels leave for each other, too. Kernels compute in f32. */
export type Precision = "f16-weights" | "f16";
/** A target where weights, or all, are stored as f16: for adapters that have it. */
export const withPrecision = (target: Target, precision: Precision): Target => ({
  ...target,
  name: `${target.name}-${precision}`,
  requires: { ...target.requires, features: [...target.requires.features, "shader-f16"] },
  precision,
});

/** A row: of a class of groups (7-schedule/tuned.ts), the choice of a family at a version of it. */
export interface TuningRow {
  readonly region: string;
  readonly family: string;
  readonly version: number;
  readonly choice: { readonly [what: string]: number | string };
}
export type Tuning = readonly TuningRow[];

/** A limit that holds for every kernel of a target: the one place that fusion, plans and the verifier ask. */
export const limitOf = (target: Pick<Target, "requires" | "backend">, name: KernelLimit): number =>
  target.requires.limits[name] ?? target.backend.rules.limits[name];
/** What the verifier holds every kernel of a target to. */
export const rulesOf = (target: Target): KernelRules => ({
  limit: (name) => limitOf(target, name),
  words: target.backend.words,
  bytesOf: target.backend.rules.bytesOf,
});

/** Lanes of a subgroup, where kernels may count on a number. */
export const subgroupOf = ({ requires }: Pick<Target, "requires">): number | undefined =>
  requires.features.includes("subgroups") ? requires.subgroupSize : undefined;

/** A discrete or integrated GPU: tiles in workgroup memory, attention as one kernel. */
export const gpu: Target = {
  name: "gpu",
  backend: wgsl,
  requires: { features: [], limits: {}, adapter: "gpu" },
  mapThreads: 64,
  rowThreads: 128,
  busyRows: 64,
  split: { groups: 256, least: 128, launch: 192 },
  rows: { groups: 128, alone: 1 << 15, back: 1 << 18, ahead: 4 },
  tile: { rows: 32, cols: 32, depth: 32, high: 4, wide: 4, slices: 2 },
  scattered: { rows: 64, cols: 64, depth: 16, high: 4, wide: 4, slices: 1 },
  broad: { from: 256, tile: { rows: 32, cols: 64, depth: 32, high: 4, wide: 4, slices: 2 } },
  deep: {
    terms: 1024,
    from: 256,
    tile: { rows: 32, cols: 64, depth: 16, high: 4, wide: 4, slices: 1 },
  },
  literalDivisors: true,
  ways: 1,
  statements: { most: 600, shared: 600 },
  dearTexts: false,
  fastShared: true,
};
/**
 * WebGPU's default limits and no optional feature: runs anywhere. Its kernels are those of `gpu`, which need no more, so that a
 * module holds them once; but attention is products around a softmax, whose kernels software adapters compile far sooner.
 */
export const baseline: Target = {
  ...gpu,
  name: "baseline",
  requires: { features: [], limits: {} },
  fastShared: false,
};
/**
 * What reads workgroup memory at four bytes for each multiplication that it could do, not two: a thread has eight rows and
 * eight columns, so that it needs half. Workgroups are small, and more of them keep the device busy.
 */
export const gpuNvidia: Target = {
  ...gpu,
  name: "gpu-nvidia",
  requires: { ...gpu.requires, adapters: ["nvidia"] },
  // Of another size than attention's workgroups: beside maps, it would keep more than a thread's registers hold.
  mapThreads: 128,
  split: { ...gpu.split, groups: 448 },
  rows: { ...gpu.rows, backAlong: 1 << 15 },
  tile: { rows: 64, cols: 64, depth: 16, high: 8, wide: 8, slices: 1 },
  scattered: undefined,
  broad: { from: 96, tile: { rows: 64, cols: 128, depth: 16, high: 8, wide: 8, slices: 1 } },
  deep: {
    terms: 1024,
    from: 128,
    tile: { rows: 64, cols: 64, depth: 8, high: 8, wide: 8, slices: 2, ahead: 1 },
  },
  few: { below: 1024, tile: gpu.tile },
};
/** Operations of a product from which a copy of what it reads, or a text of its own, is next to nothing of it. */
export const LONG_PRODUCT = 2 ** 30;

/** A software adapter with subgroups of eight (lavapipe): register tiles by subgroup broadcast, no barriers. */
export const cpuSubgroup: Target = {
  name: "cpu-subgroup",
  backend: wgsl,
  requires: { features: ["subgroups"], limits: {}, subgroupSize: 8, adapter: "cpu" },
  mapThreads: 64,
  rowThreads: 8,
  busyRows: 4,
  split: { groups: 4, least: 512, launch: 6144 },
  rows: { groups: 16, alone: 1 << 14, back: 1 << 30, ahead: 1 },
  tile: { rows: 32, cols: 32, depth: 16, high: 4, wide: 4, slices: 1 },
  broad: { from: 32, tile: { rows: 32, cols: 64, depth: 16, high: 4, wide: 4, slices: 1 } },
  literalDivisors: false,
  ways: 8,
  statements: { most: 450, shared: 350 },
  winograd: { image: 24, result: 27, layers: 4 },
  walk: 16,
  apart: 512,
  fours: true,
  dearTexts: true,
  fastShared: false,
};

/**
 * NVIDIA's devices where Dawn's experimental feature is allowed (`enable-dawn-features=allow_unsafe_apis`; in Chromium,
 * `--enable-unsafe-webgpu`). Their driver has this shape on all cards since Turing.
 * `subgroups` is asked for by the kernels that have matrices: the others were not measured with them.
 */
export const gpuMatrix: Target = {
  ...gpuNvidia,
  name: "gpu-matrix",
  requires: {
    ...gpuNvidia.requires,
    features: ["chromium-experimental-subgroup-matrix"],
    subgroupSize: 32,
  },
  matrix: { rows: 16, cols: 16, depth: 16 },
};

/** Kinds of adapter, in the order `load` tries them: what is tried on every target is tried on these. */
export const targets: readonly Target[] = [cpuSubgroup, gpu, baseline];
/** What a module is compiled for: before a kind, what varies its sizes for some makers' devices. */
export const allTargets: readonly Target[] = targets.flatMap((t) => (t === gpu ? [gpuNvidia, gpu] : [t]));
/** What can be asked for by name: before those that a module has unasked, what needs a feature that browsers do not have yet. */
export const namedTargets: readonly Target[] = [gpuMatrix, ...allTargets];
/** Whether a target is one for matrices of a subgroup, and would have none: they are for products in f16. */
export const lacksHalf = ({ matrix, precision }: Target): boolean =>
  matrix !== undefined && precision !== "f16";
