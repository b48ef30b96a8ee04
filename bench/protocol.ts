// What the main process and the processes of the workloads say to each other: plain data over Node's IPC channel. One
// process runs one workload on one system: it says Opened once, by itself, and then answers each request.
import type { Expected } from "./reference.ts";
import type { SampleOptions } from "./sampling.ts";
import type { GpuTime } from "./statistics.ts";
import type { GpuClockName, Shipped } from "./systems/system.ts";
import type { UserModel } from "./user.ts";

/** What such a process is started with. */
export interface Task {
  readonly workload: string;
  /** In place of one of the list. */
  readonly user?: UserModel;
  readonly system: string;
  readonly shipped: Shipped | undefined;
  /** Where it may write. */
  readonly folder: string;
  readonly threads: number;
}

export interface Device {
  readonly name: string;
  readonly vendor: string;
  readonly architecture: string;
}

/** Opened, called, and what came out was right. */
export interface Ready {
  readonly kind: "ready";
  readonly device: Device | undefined;
  readonly variant: string;
  /** From no device to where calls can be made; the code was loaded before. */
  readonly loadMs: number;
  /** The first call. */
  readonly firstMs: number;
  /** Undefined where nobody knows what is right: `results` are there instead, to be held to another system's. */
  readonly maxError: number | undefined;
  readonly results?: Readonly<Record<string, Expected>>;
  /** Undefined below: it is not this process's WebGPU. Made up to the end of the first call. */
  readonly pipelines: number | undefined;
  /** Of a later call. */
  readonly dispatches: number | undefined;
  readonly peakBytes: number | undefined;
  readonly arenaBytes: number | undefined;
  /** Medians of warm calls: to the return of the last submit, and of that outside of Dawn. */
  readonly submitMs: number | undefined;
  readonly ownMs: number | undefined;
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
  | {
      readonly kind: "samples";
      readonly milliseconds: readonly number[];
      /** Of a few calls after them; none where there is no way to tell. */
      readonly gpu: readonly GpuTime[];
      readonly gpuBy: GpuClockName | undefined;
    }
  | { readonly kind: "failed"; readonly reason: string };
