// What the main process and the processes of the workloads say to each other: plain data over Node's IPC channel. One
// process runs one workload on one system: it says Opened once, by itself, and then answers each request.
import type { SampleOptions } from "./sampling.ts";
import type { Shipped } from "./systems/system.ts";

/** What such a process is started with. */
export interface Task {
  readonly workload: string;
  readonly system: string;
  readonly shipped: Shipped | undefined;
}

export interface Device {
  readonly name: string;
  readonly vendor: string;
  readonly architecture: string;
}

/** Opened, called, and what came out was right. */
export interface Ready {
  readonly kind: "ready";
  readonly device: Device;
  readonly variant: string;
  /** From nothing to where calls can be made. */
  readonly loadMs: number;
  /** The first call. */
  readonly firstMs: number;
  readonly maxError: number;
  /** Made up to the end of the first call. */
  readonly pipelines: number;
  /** Of a later call. */
  readonly dispatches: number;
  readonly peakBytes: number;
  readonly arenaBytes: number | undefined;
}
export interface NotReady {
  /** `skipped`: it cannot run here. `failed`: it should have. */
  readonly kind: "skipped" | "failed";
  readonly reason: string;
}
export type Opened = Ready | NotReady;

export interface Request {
  readonly sample: SampleOptions;
}
export type Answer =
  | { readonly kind: "samples"; readonly milliseconds: readonly number[] }
  | { readonly kind: "failed"; readonly reason: string };
