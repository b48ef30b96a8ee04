// `npm run bench`: times what the compiler makes; `--compile` times the compiler itself, `--sizes` weighs modules, `--estimate`
// says what calls would take on GPUs that are not here. In: the
// command line (bench/options.ts). Out: a table on standard output, rows as JSON where a file was named, and what is going on
// on standard error. bench/README.md says what the figures mean. Exit codes: 0 done; 1 something computed a wrong result or
// failed; 2 usage; 3 nothing could run on this machine.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { Child, WORKER } from "./child.ts";
import { COMPILE_WORKER, compileJobs, compileTable, compileWork, measureCompiling } from "./compile.ts";
import { calls } from "./estimate/calls.ts";
import { chips } from "./estimate/chips.ts";
import { estimate } from "./estimate/estimate.ts";
import { estimateTable, kernelTable } from "./estimate/report.ts";
import { type BenchOptions, HELP, parseOptions, UsageError } from "./options.ts";
import { readText, root } from "./paths.ts";
import type { Device, Ready, Task } from "./protocol.ts";
import {
  emptyRow,
  type Measured,
  type Ratio,
  type Report,
  type Row,
  ratiosOf,
  rowOf,
  table,
} from "./report.ts";
import { sizedModels, sizeOf, sizeTable } from "./sizes.ts";
import { systems } from "./systems/index.ts";
import type { System } from "./systems/system.ts";
import { work } from "./worker.ts";
import { type Workload, workloads } from "./workloads.ts";

const say = (line: string): void => console.error(`bench: ${line}`);

/** What is being measured of a workload: everything but the row's final figures. */
interface Running {
  readonly system: System;
  readonly task: Task;
  readonly child: Child;
  readonly starts: Ready[];
  readonly rounds: (readonly number[])[];
  failed?: string;
}

const main = (options: BenchOptions): Promise<number> | number =>
  ({ calls: benchCalls, compile: benchCompiling, sizes: benchSizes, estimate: benchEstimate })[options.what](
    options,
  );

async function benchCompiling(options: BenchOptions): Promise<number> {
  const rows = await measureCompiling(options.only, options.starts, say);
  console.log(compileTable(rows));
  if (options.json) writeFileSync(options.json, `${JSON.stringify({ machine: machine(), rows }, null, 2)}\n`);
  return rows.some((row) => row.failed !== undefined) ? 1 : 0;
}

function benchSizes(options: BenchOptions): number {
  const rows = sizedModels
    .filter((m) => options.only.includes(m.name))
    .map((m) => {
      say(m.name);
      return sizeOf(m);
    });
  console.log(sizeTable(rows));
  if (options.json) writeFileSync(options.json, `${JSON.stringify({ rows }, null, 2)}\n`);
  return 0;
}

function benchEstimate(options: BenchOptions): number {
  const rows = estimate(options, say);
  if ("missing" in rows) {
    console.log(`skipped: ${rows.missing}`);
    return 0;
  }
  if (options.kernels) console.log(rows.map((row) => `${kernelTable(row)}\n`).join("\n"));
  console.log(estimateTable(rows));
  if (options.json) writeFileSync(options.json, `${JSON.stringify({ estimated: true, rows }, null, 2)}\n`);
  return 0;
}

async function benchCalls(options: BenchOptions): Promise<number> {
  const rows: Row[] = [];
  const ratios: Ratio[] = [];
  let device: Device | undefined;
  const cache = join(root, "node_modules", ".cache", "mdl");
  mkdirSync(cache, { recursive: true });
  // In the tree, so that what lies in it finds the package of WebGPU.
  const folder = mkdtempSync(join(cache, "bench-"));
  try {
    for (const workload of workloads.filter((w) => options.only.includes(w.name))) {
      const result = await measure(workload, options, folder);
      rows.push(...result.rows);
      ratios.push(...result.ratios);
      device ??= result.device;
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const report: Report = {
    device: device ? `${device.name} (${device.vendor}, ${device.architecture})` : "no device",
    machine: machine(),
    rows,
    ratios,
  };
  console.log(table(report));
  if (options.json) writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`);
  if (rows.some((row) => row.failed !== undefined)) return 1;
  return rows.some((row) => row.warm_ms) ? 0 : 3;
}

function machine(): Report["machine"] {
  const version = (name: string): string =>
    (JSON.parse(readText(`node_modules/${name}/package.json`)) as { readonly version: string }).version;
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    platform: `${process.platform} ${process.arch}`,
    node: process.versions.node,
    webgpu: version("webgpu"),
    benchmark: version("benchmark"),
  };
}

/** One workload on all systems that are asked for: opened and checked, then timed by turns. */
async function measure(
  workload: Workload,
  options: BenchOptions,
  folder: string,
): Promise<{ rows: Row[]; ratios: Ratio[]; device?: Device }> {
  const { name } = workload;
  const rows = new Map<System, Row>();
  const running: Running[] = [];
  const asked = systems.filter((s) => options.systems.includes(s.name));
  for (const system of asked) {
    const lacks = system.lacks(workload);
    if (lacks !== undefined) {
      rows.set(system, emptyRow(name, system.name, { skipped: lacks }));
      continue;
    }
    const began = await begin(workload, system, options, folder);
    if ("child" in began) running.push(began);
    else rows.set(system, began);
  }

  for (let round = 0; round < options.rounds; round++) {
    for (const one of running.filter((r) => r.failed === undefined)) {
      const answer = await one.child.sample({ seconds: options.seconds, atLeast: options.atLeast });
      if (answer.kind === "samples") one.rounds.push(answer.milliseconds);
      else one.failed = answer.reason;
    }
  }

  const measured: Measured[] = [];
  for (const { system, task, child, starts, rounds, failed } of running) {
    await child.end();
    if (failed !== undefined) {
      rows.set(system, emptyRow(name, system.name, { failed }));
      continue;
    }
    const artefactBytes = task.shipped?.bytes;
    const one = { workload: name, system: system.name, flops: workload.flops, artefactBytes, starts, rounds };
    measured.push(one);
    rows.set(system, rowOf(one));
  }
  return {
    rows: asked.map((system) => rows.get(system)!),
    ratios: ratiosOf(measured),
    device: running[0]?.starts[0].device,
  };
}

/** Builds, starts a process and has its results checked; further starts for the median of the cold ones. */
async function begin(
  workload: Workload,
  system: System,
  options: BenchOptions,
  folder: string,
): Promise<Running | Row> {
  const { name, what } = workload;
  let task: Task;
  try {
    task = { workload: name, system: system.name, shipped: system.build?.(workload, folder) };
  } catch (error) {
    const failed = `it was not built: ${(error as Error).message}`;
    say(`${name}, ${system.name}: ${failed}`);
    return emptyRow(name, system.name, { failed });
  }
  const { child, opened } = await Child.start(task);
  const starts: Ready[] = [];
  if (opened.kind === "ready") {
    starts.push(opened);
    say(`${name} (${what}), ${system.name}: right to ${opened.maxError.toExponential(1)}`);
  } else {
    say(`${name}, ${system.name}: ${opened.kind}: ${opened.reason}`);
    const why = opened.kind === "failed" ? { failed: opened.reason } : { skipped: opened.reason };
    return emptyRow(name, system.name, why);
  }
  for (let i = 1; i < options.starts; i++) {
    const again = await Child.start(task);
    await again.child.end();
    if (again.opened.kind !== "ready") {
      await child.end();
      return emptyRow(name, system.name, { failed: `start ${i + 1}: ${again.opened.reason}` });
    }
    starts.push(again.opened);
  }
  return { system, task, child, starts, rounds: [] };
}

const [role, given] = process.argv.slice(2);
if (role === WORKER) await work(JSON.parse(given) as Task);
else if (role === COMPILE_WORKER) compileWork(given);
else {
  try {
    const names = (list: readonly { readonly name: string }[]): string[] => list.map(({ name }) => name);
    const known = {
      calls: names(workloads),
      compile: names(compileJobs),
      sizes: names(sizedModels),
      systems: names(systems),
      estimate: names(calls),
      chips: names(chips),
    };
    const options = parseOptions(process.argv.slice(2), known);
    if (options) process.exitCode = await main(options);
    else console.log(HELP);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    say(`${error.message}; --help says more`);
    process.exitCode = 2;
  }
}
