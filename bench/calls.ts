// Times calls. In: workloads and systems. Out: rows and ratios. The systems of a workload are opened one after the other,
// each in a process of its own, and held to what must come out; then they are timed by turns.
import { cpus } from "node:os";
import { Child } from "./child.ts";
import type { Device, Ready, Task } from "./protocol.ts";
import { type Expected, placesOf } from "./reference.ts";
import { emptyRow, type Measured, type Ratio, type Row, ratiosOf, rowOf } from "./report.ts";
import type { GpuTime } from "./statistics.ts";
import type { GpuClockName, System } from "./systems/system.ts";
import type { UserModel } from "./user.ts";
import type { Workload } from "./workload.ts";

export interface Extent {
  /** Cold starts at most. */
  readonly starts: number;
  readonly rounds: number;
  readonly seconds: number;
  readonly atLeast: number;
  /** After so many seconds no further peer is started: the rows say so. */
  readonly budget?: number;
  /** The systems of a workload are opened at once: sooner, and without cold figures. */
  readonly together?: boolean;
}

/** What further cold starts of a system may take together. */
const STARTS_SECONDS = 20;
/** Between systems: threads that a library leaves spinning come to rest. */
const REST_MS = 300;

/** What is being measured of a workload: everything but the row's final figures. */
interface Running {
  readonly system: System;
  readonly task: Task;
  readonly child: Child;
  readonly starts: Ready[];
  readonly rounds: (readonly number[])[];
  /** Of the GPU, by rounds. */
  readonly gpu: (readonly GpuTime[])[];
  gpuBy?: GpuClockName;
  failed?: string;
}

type Begun = Running | { readonly skipped: string } | { readonly failed: string };

export interface Called {
  readonly rows: readonly Row[];
  readonly ratios: readonly Ratio[];
  readonly device?: Device;
}

export class Caller {
  readonly #systems: readonly System[];
  readonly #extent: Extent;
  readonly #folder: string;
  readonly #say: (line: string) => void;
  readonly #began = performance.now();

  constructor(systems: readonly System[], extent: Extent, folder: string, say: (line: string) => void) {
    this.#systems = systems;
    this.#extent = extent;
    this.#folder = folder;
    this.#say = say;
  }

  /** One workload on all systems: opened and checked, then timed by turns. */
  async measure(workload: Workload, user?: UserModel): Promise<Called> {
    const { name } = workload;
    const rows = new Map<System, Row>();
    const running: Running[] = [];
    const begin = async (system: System): Promise<Begun> => {
      const lacks = system.lacks(workload) ?? this.#late(system);
      return lacks === undefined ? this.#begin(workload, system, user) : { skipped: lacks };
    };
    const { rounds, seconds, atLeast, together } = this.#extent;
    const begun = together ? await Promise.all(this.#systems.map(begin)) : [];
    for (const [i, system] of this.#systems.entries()) {
      const began = begun[i] ?? (await begin(system));
      if ("child" in began) running.push(began);
      else {
        const [[how, why]] = Object.entries(began);
        this.#say(`${name}, ${system.name}: ${how}: ${why}`);
        rows.set(system, emptyRow(name, system.name, began));
      }
    }
    compareResults(running);

    for (let round = 0; round < rounds; round++) {
      for (const one of running.filter((r) => r.failed === undefined)) {
        if (running.length > 1) await rest();
        const answer = await one.child.sample({ seconds, atLeast });
        if (answer.kind === "samples") {
          one.rounds.push(answer.milliseconds);
          one.gpu.push(answer.gpu);
          one.gpuBy = answer.gpuBy;
        } else one.failed = answer.reason;
      }
    }

    const measured: Measured[] = [];
    for (const { system, task, child, starts, rounds, gpu, gpuBy, failed } of running) {
      await child.end();
      if (failed !== undefined) {
        this.#say(`${name}, ${system.name}: failed: ${failed}`);
        rows.set(system, emptyRow(name, system.name, { failed }));
        continue;
      }
      const { flops, point } = workload;
      const artefactBytes = task.shipped?.bytes;
      const one = {
        workload: name,
        system: system.name,
        flops,
        artefactBytes,
        starts,
        rounds,
        gpu,
        gpuBy,
        together,
      };
      measured.push(one);
      rows.set(system, { ...rowOf(one), ...point });
    }
    return {
      rows: this.#systems.map((system) => rows.get(system)!),
      ratios: ratiosOf(measured),
      device: running.map((r) => r.starts[0].device).find((d) => d !== undefined),
    };
  }

  #late({ installed }: System): string | undefined {
    const { budget } = this.#extent;
    const over = budget !== undefined && performance.now() - this.#began > 1000 * budget;
    return over && installed !== undefined ? `the ${budget} s for peers were over` : undefined;
  }

  /** Builds, starts a process and has its results checked; further starts for the median of the cold ones. */
  async #begin(workload: Workload, system: System, user: UserModel | undefined): Promise<Begun> {
    const { name } = workload;
    let task: Task;
    try {
      const shipped = await system.build?.(workload, this.#folder);
      const threads = cpus().length;
      task = { workload: name, user, system: system.name, shipped, folder: this.#folder, threads };
    } catch (error) {
      return { failed: `it was not built: ${(error as Error).message}` };
    }
    const { child, opened } = await Child.start(task);
    if (opened.kind !== "ready")
      return opened.kind === "skipped" ? { skipped: opened.reason } : { failed: opened.reason };
    const { maxError } = opened;
    const right = maxError === undefined ? "there" : `right to ${maxError.toExponential(1)}`;
    this.#say(`${name}, ${system.name}: ${right}`);
    const starts: Ready[] = [opened];
    const began = performance.now();
    while (starts.length < this.#extent.starts && performance.now() - began < STARTS_SECONDS * 1000) {
      const again = await Child.start(task);
      await again.child.end();
      if (again.opened.kind !== "ready") {
        await child.end();
        return { failed: `start ${starts.length + 1}: ${again.opened.reason}` };
      }
      starts.push(again.opened);
    }
    return { system, task, child, starts, rounds: [], gpu: [] };
  }
}

const rest = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, REST_MS));

/** Where nobody knows what must come out, all are held to the last one, which is the one on the CPU where it runs. */
function compareResults(running: readonly Running[]): void {
  const unknown = running.filter((r) => r.starts[0].results !== undefined);
  const by = unknown.find((r) => r.system.device === "cpu") ?? unknown[0];
  for (const one of unknown) {
    const error = differenceOf(one.starts[0].results!, by.starts[0].results!);
    if (error <= one.system.tolerance) {
      for (const [i, start] of one.starts.entries()) one.starts[i] = { ...start, maxError: error };
    } else one.failed = `its results are off those of ${by.system.name} by ${error.toExponential(1)}`;
  }
}

type Kept = Readonly<Record<string, Expected>>;

/** The largest difference of what was kept of two systems' results, as a part of the largest value; NaN where they differ in kind. */
export function differenceOf(ours: Kept, theirs: Kept): number {
  let worst = 0;
  for (const [name, want] of Object.entries(theirs)) {
    const have = ours[name] as Expected | undefined;
    if (have?.size !== want.size) return Number.NaN;
    const off = Math.abs(have.probe - want.probe) / (want.norm || 1);
    const errors = Array.from(placesOf(want.size), (_, i) => Math.abs(have.values[i] - want.values[i]));
    for (const error of [off, ...errors.map((e) => e / (want.largest || 1))]) {
      if (!(error <= worst)) worst = error;
    }
  }
  return worst;
}
