// The one interface of what is timed: mdl, the hand-written kernels, and whoever joins. A system is asked twice: once in the
// main process to build what its processes will load, and then in a process of its own for each workload.
import type { Results } from "../reference.ts";
import type { Workload, WorkloadData } from "../workloads.ts";

export interface System {
  readonly name: string;
  /** Why it has nothing to time for this workload; undefined where it has. */
  lacks(workload: Workload): string | undefined;
  /** In the main process, before anything is timed: writes what is to be shipped into the folder. */
  build?(workload: Workload, folder: string): Shipped;
  /** In a process of its own, timed: from nothing to where calls can be made. Throws CannotRun where the device lacks something. */
  open(workload: Workload, data: WorkloadData, shipped: Shipped | undefined): Promise<Subject>;
}

/** What `build` leaves behind; goes to the other process as JSON. */
export interface Shipped {
  readonly file: string;
  /** Gzipped, without weights. */
  readonly bytes: number;
}

export interface Subject {
  /** For the reader: which of several ways the system took. */
  readonly variant: string;
  readonly adapter: GPUAdapterInfo;
  /** A call from inputs on the host to its results on the host; a training step to its loss. */
  call(): Promise<void>;
  /** What the last call gave, as the workload's reference names it and in PyTorch's layouts. */
  results(): Promise<Results>;
  /** Of GPU memory that is planned for activations; undefined where there is no such thing. */
  arenaBytes(): number | undefined;
  close(): void;
}

/** The system cannot run the workload on this device: a row that says so, no failure. */
export class CannotRun extends Error {
  override readonly name = "CannotRun";
}
