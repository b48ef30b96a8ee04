// The targets a program is scheduled for: what the adapter must have and which shapes of kernel it likes.
// In: nothing. Out: plain data the schedules and `requires` read. Measurements behind the numbers: docs/performance.md.
import type { Requires } from "../../runtime/core/program.ts";

export interface Target {
  readonly name: "baseline" | "gpu" | "cpu-subgroup";
  readonly requires: Requires;
  /** Threads of a pointwise workgroup; each handles four elements. */
  readonly mapThreads: number;
  /** Threads that share a row of a reduction, and how they combine. */
  readonly rowThreads: number;
  readonly rowCombine: "subgroup" | "tree";
  /** With fewer rows than this, long ones are reduced in two steps. */
  readonly busyRows: number;
  readonly contraction:
    | { readonly kind: "subgroup"; readonly lanes: number; readonly rows: number }
    | { readonly kind: "tile"; readonly rows: number; readonly cols: number; readonly depth: number };
  /** Whether attention is one kernel with a running maximum here. */
  readonly fusedAttention: boolean;
}

/** What WebGPU allows a kernel on every device; a target's `requires.limits` may ask for more. */
const DEFAULT_LIMITS = {
  maxStorageBuffersPerShaderStage: 8,
  maxUniformBufferBindingSize: 65536,
  maxComputeWorkgroupStorageSize: 16384,
  maxComputeInvocationsPerWorkgroup: 256,
} as const;
export type KernelLimit = keyof typeof DEFAULT_LIMITS;
/** A limit that holds for every kernel of a target: the one place that fusion, plans and the verifier ask. */
export const limitOf = (target: Pick<Target, "requires">, name: KernelLimit): number =>
  target.requires.limits[name] ?? DEFAULT_LIMITS[name];

/** WebGPU's default limits and no optional feature: runs anywhere. */
export const baseline: Target = {
  name: "baseline",
  requires: { features: [], limits: {} },
  mapThreads: 64,
  rowThreads: 64,
  rowCombine: "tree",
  busyRows: 32,
  contraction: { kind: "tile", rows: 32, cols: 32, depth: 16 },
  fusedAttention: false,
};
/** A discrete or integrated GPU: workgroup-memory tiles of 64, attention as one kernel. */
export const gpu: Target = {
  name: "gpu",
  requires: { features: [], limits: {}, adapter: "gpu" },
  mapThreads: 128,
  rowThreads: 128,
  rowCombine: "tree",
  busyRows: 64,
  contraction: { kind: "tile", rows: 64, cols: 64, depth: 16 },
  fusedAttention: true,
};
/** A software adapter with subgroups of eight (lavapipe): register tiles by subgroup broadcast, no barriers. */
export const cpuSubgroup: Target = {
  name: "cpu-subgroup",
  requires: { features: ["subgroups"], limits: {}, subgroupSize: 8, adapter: "cpu" },
  mapThreads: 64,
  rowThreads: 8,
  rowCombine: "subgroup",
  busyRows: 4,
  contraction: { kind: "subgroup", lanes: 8, rows: 32 },
  fusedAttention: false,
};

/** In the order `load` tries them. */
export const targets: readonly Target[] = [cpuSubgroup, gpu, baseline];
