// The one interface of what is timed: mdl, its peers, the hand-written kernels. A system is asked twice: once in the main
// process to build what its processes will load, and then in a process of its own for each workload.
import type { Results } from "../reference.ts";
import type { GpuTime } from "../statistics.ts";
import type { Workload, WorkloadData } from "../workload.ts";

export interface System {
  readonly name: string;
  /** For the reader. */
  readonly what: string;
  /**
   * Where it computes, and whether it does so by this process's WebGPU, so that what it asks for can be counted. `native`: by
   * a WebGPU of its own.
   */
  readonly device: "webgpu" | "native" | "cuda" | "cpu";
  /** Of a peer: it comes with bench/package.json, or is whatever the machine has. */
  readonly installed?: boolean;
  /** How far its results may be off, of the largest value. */
  readonly tolerance: number;
  /** It computes in less than the f32 of the others: what it takes is held to nobody else's. */
  readonly precision?: "f16";
  /** Of Dawn's, that it needs and nobody has unasked. */
  readonly dawnFeatures?: readonly string[];
  /** Why it has nothing to time for this workload; undefined where it has. */
  lacks(workload: Workload): string | undefined;
  /** Of what it is made of. */
  versions?(): Readonly<Record<string, string>>;
  /** In the main process, before anything is timed: writes what is to be shipped into the folder. */
  build?(workload: Workload, folder: string): Promise<Shipped>;
  /**
   * In a process of its own: loads the code, and brings the data into the form that the system takes. What it returns is
   * timed: from no device to where calls can be made. Throws CannotRun where the device lacks something.
   */
  prepare(workload: Workload, data: WorkloadData, place: Place): Promise<() => Promise<Subject>>;
}

/** Where its process finds things. */
export interface Place {
  /** What `build` left. */
  readonly shipped: Shipped | undefined;
  /** For files of its own; it goes after the run. */
  readonly folder: string;
  /** Threads that whoever computes on the CPU may have. */
  readonly threads: number;
}

/** What `build` leaves behind; goes to the other process as JSON. */
export interface Shipped {
  readonly file: string;
  /** All that a user would load, gzipped, without weights. */
  readonly bytes: number;
}

/** How far results of f16 may be off, of the largest value: what a network of some tens of layers rounds. */
export const HALF_TOLERANCE = 3e-2;

export interface Subject {
  /** For the reader: which of several ways the system took. */
  readonly variant: string;
  readonly adapter?: GPUAdapterInfo;
  /** A call from inputs on the host to its results on the host; a training step to its loss. */
  call(): Promise<void>;
  /** What the last call gave, as the workload's reference names it and in PyTorch's layouts; the losses of the first steps. */
  results(): Promise<Results>;
  /** Of GPU memory that is planned for activations; undefined where there is no such thing. */
  arenaBytes?(): number | undefined;
  /** Of a GPU that is not this process's WebGPU: what it took for a few calls, and how that was seen. */
  gpuTimes?(): Promise<{ readonly gpu: readonly GpuTime[]; readonly gpuBy: GpuClockName }>;
  close(): void;
}

/**
 * How the time on a GPU was seen. `timestamps`: its clock at the begin and end of every pass. `graph`: events around replays of
 * a CUDA graph of the call. `events`: events around calls, with what the host's launches cost where they are slower.
 */
export type GpuClockName = "timestamps" | "graph" | "events";

/** The system cannot run the workload on this device: a row that says so, no failure. */
export class CannotRun extends Error {
  override readonly name = "CannotRun";
}
