// `npm run bench`: times what the compiler makes beside its peers; other options time the compiler itself, weigh modules, or
// say what calls would take on GPUs that are not here.
// In: the command line (bench/options.ts). Out: tables on standard output, rows as JSON where a file was named, a page of
// results where one was, and what is going on on standard error. bench/README.md says what the figures mean. Exit codes: 0
// done; 1 something computed a wrong result or failed; 2 usage; 3 nothing could run on this machine.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Ceilings } from "../compiler/cli/profile/ceilings.ts";
import { commitRevision } from "../scripts/replay/revision.ts";
import { type Called, Caller } from "./calls.ts";
import { CEILINGS_WORKER, ceilings, ceilingsWork } from "./ceilings.ts";
import { WORKER } from "./child.ts";
import {
  COMPILE_WORKER,
  type CompileRow,
  compileCurves,
  compileJobs,
  compileTable,
  compileWork,
  measureCompiling,
} from "./compile.ts";
import { computeFigures } from "./compute-figures.ts";
import { calls, parts as pageParts, usualCalls } from "./estimate/calls.ts";
import { chips } from "./estimate/chips.ts";
import { callsAsked, estimate, estimatorFor } from "./estimate/estimate.ts";
import {
  estimatePage,
  estimateTable,
  kernelTable,
  spillPage,
  spillTable,
  tuneTable,
  waysTable,
} from "./estimate/report.ts";
import { spills } from "./estimate/spills.ts";
import { tune, writeTable } from "./estimate/tune.ts";
import { type BenchOptions, HELP, parseOptions, UsageError } from "./options.ts";
import { readText, root } from "./paths.ts";
import { installPeers } from "./peers/install.ts";
import type { Device, Task } from "./protocol.ts";
import { type Machine, type Report, table } from "./report.ts";
import { writeResults } from "./results.ts";
import { type SizeRow, sizedModels, sizeOf, sizeTable } from "./sizes.ts";
import { systems } from "./systems/index.ts";
import { type Library, mdlOf, REVISION } from "./systems/mdl.ts";
import type { System } from "./systems/system.ts";
import { userModel, userWorkload } from "./user.ts";
import { work } from "./worker.ts";
import type { Workload } from "./workload.ts";
import { curveNames, curves, quickWorkloads, workloads } from "./workloads.ts";

const say = (line: string): void => console.error(`bench: ${line}`);

async function main(options: BenchOptions): Promise<number> {
  const cache = join(root, "node_modules", ".cache", "mdl");
  mkdirSync(cache, { recursive: true });
  // In the tree, so that what lies in it finds the package of WebGPU.
  const folder = mkdtempSync(join(cache, "bench-"));
  try {
    return await measureIn(folder, options);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measureIn(folder: string, options: BenchOptions): Promise<number> {
  const { what, only } = options;
  if (what[0] === "estimate") return benchEstimate(options);
  if (what[0] === "figures") return computeFigures(only.figures, folder, say);
  const timed = what.includes("calls");
  const picked = timed || what.includes("curves") ? await systemsOf(options) : [];
  const parts: Parts = {};
  if (picked.some((s) => s.device === "webgpu")) parts.ceilings = ceilings();
  const where = machine(picked);
  /** As far as it has come: a run is long, and what was measured is not lost with it. */
  const save = (): void => {
    if (!options.json) return;
    writeFileSync(options.json, `${JSON.stringify(jsonOf(reportOf(parts, where), what), null, 2)}\n`);
  };
  const callsOf = (list: readonly Workload[], caller: Caller, name: "calls" | "curves"): Promise<void> =>
    measureAll(list, caller, (soFar) => {
      parts[name] = soFar;
      save();
    });

  if (timed && options.user) {
    const user = await userModel(options.user.file, options.user);
    parts.calls = await new Caller(picked, options, folder, say).measure(userWorkload(user), user);
  } else if (timed) {
    const wanted = workloads.filter((w) => only.calls.includes(w.name));
    await callsOf(wanted, new Caller(picked, options, folder, say), "calls");
  }
  if (what.includes("curves")) {
    const wanted = curves.filter((w) => only.curves.includes(w.point!.curve));
    const extent = { ...options, starts: 1, rounds: Math.min(2, options.rounds) };
    await callsOf(wanted, new Caller(picked, extent, folder, say), "curves");
  }
  // Points of curves of compiling are jobs of its table.
  const jobs = what.includes("compile")
    ? only.compile
    : what.includes("curves")
      ? only.curves.flatMap((name) => compileCurves.get(name) ?? [])
      : [];
  if (jobs.length > 0) parts.compile = await measureCompiling(jobs, options.starts, say);
  if (what.includes("sizes")) {
    parts.sizes = sizedModels
      .filter((m) => only.sizes.includes(m.name))
      .map((m) => {
        say(m.name);
        return sizeOf(m);
      });
  }
  save();

  const report = reportOf(parts, where);
  const called = [...report.rows, ...(report.curves ?? [])];
  const tables = [
    ...(called.length > 0 ? [table({ ...report, rows: called })] : []),
    ...(parts.compile ? [compileTable(parts.compile)] : []),
    ...(parts.sizes ? [sizeTable(parts.sizes)] : []),
  ];
  console.log(tables.join("\n\n"));
  if (options.results) for (const file of await writeResults(options.results, report)) say(`wrote ${file}`);

  if (called.some((row) => row.failed !== undefined && row.system.startsWith("mdl"))) return 1;
  if (parts.compile?.some((row) => row.failed !== undefined)) return 1;
  return called.length === 0 || called.some((row) => row.warm_ms) ? 0 : 3;
}

/** The revision of this tree, for what is written of it. */
function revisionName(): string {
  const head = spawnSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root, encoding: "utf8" });
  return head.status === 0 ? head.stdout.trim() : "a tree without git";
}

async function benchTune(options: BenchOptions, file: string): Promise<number> {
  const estimator = estimatorFor(options.chips, say);
  if ("missing" in estimator) {
    console.log(`skipped: ${estimator.missing}`);
    return 0;
  }
  const asked = callsAsked({ ...options, only: options.only.estimate });
  const [chip] = estimator.chips;
  const made = {
    by: `npm run bench -- --estimate ${chip.name} --tune, of ${revisionName()}: estimated, nothing was run`,
    on: chip.title,
    date: new Date().toISOString().slice(0, 10),
    of: asked.map((call) => call.name).join(", "),
  };
  const { table: tuned, ways, before, after } = await tune(estimator, chip, asked, made, say);
  writeTable(file, tuned);
  if (options.kernels) console.log(`${waysTable(ways)}\n`);
  console.log(tuneTable(tuned, before, after));
  say(`wrote ${file}`);
  return 0;
}

/** What was estimated, as a page of results. */
function writePage(name: string, text: string, data: object): void {
  const page = join(root, "bench", "results", name);
  mkdirSync(dirname(page), { recursive: true });
  writeFileSync(`${page}.md`, text);
  writeFileSync(`${page}.json`, `${JSON.stringify(data, null, 1)}\n`);
  say(`wrote bench/results/${name}.md and .json`);
}

/** 1 where a kernel spills, for whoever asks before a change lands. */
async function benchSpills({ chips, above, json, results }: BenchOptions): Promise<number> {
  const rows = spills(chips, above, say);
  if ("missing" in rows) {
    console.log(`skipped: ${rows.missing}`);
    return 0;
  }
  console.log(spillTable(rows));
  if (json) writeFileSync(json, `${JSON.stringify({ rows }, null, 2)}\n`);
  if (results) writePage(results, spillPage(results, rows, above, revisionName()), { rows });
  return rows.some((row) => row.spills.length > 0) ? 1 : 0;
}

async function benchEstimate(options: BenchOptions): Promise<number> {
  if (options.tune !== undefined) return benchTune(options, options.tune);
  if (options.spills) return benchSpills(options);
  const rows = estimate({ ...options, only: options.only.estimate }, say);
  if ("missing" in rows) {
    console.log(`skipped: ${rows.missing}`);
    return 0;
  }
  if (options.kernels) console.log(rows.map((row) => `${kernelTable(row)}\n`).join("\n"));
  console.log(estimateTable(rows));
  const bare = rows.map((row) => ({ ...row, kernels: options.kernels ? row.kernels : undefined }));
  if (options.json)
    writeFileSync(options.json, `${JSON.stringify({ estimated: true, rows: bare }, null, 2)}\n`);
  if (options.results) {
    const page = estimatePage(options.results, rows, revisionName(), pageParts);
    writePage(options.results, page, { estimated: true, rows: bare });
  }
  return 0;
}

/** What was measured so far. */
interface Parts {
  ceilings?: Ceilings;
  calls?: Called;
  curves?: Called;
  compile?: CompileRow[];
  sizes?: SizeRow[];
}

function reportOf(
  { ceilings: most, calls: called, curves: points, compile, sizes }: Parts,
  where: Machine,
): Report {
  return {
    device: deviceText(called?.device ?? points?.device),
    ceilings: most ?? null,
    machine: where,
    rows: called?.rows ?? [],
    ratios: [...(called?.ratios ?? []), ...(points?.ratios ?? [])],
    ...(points ? { curves: points.rows } : {}),
    ...(compile ? { compile } : {}),
    ...(sizes ? { sizes } : {}),
  };
}

/** A table of one kind has its rows in `rows`; beside others each has its name. */
function jsonOf(report: Report, what: BenchOptions["what"]): object {
  const { machine: where, compile, sizes } = report;
  if (what.length > 1 || (what[0] !== "compile" && what[0] !== "sizes")) return report;
  return { machine: where, rows: what[0] === "compile" ? compile : sizes };
}

async function measureAll(
  list: readonly Workload[],
  caller: Caller,
  each: (soFar: Called) => void,
): Promise<void> {
  let soFar: Called = { rows: [], ratios: [] };
  for (const [i, workload] of list.entries()) {
    say(`${workload.name}: ${workload.what} (${i + 1} of ${list.length})`);
    const { rows, ratios, device } = await caller.measure(workload);
    soFar = {
      rows: [...soFar.rows, ...rows],
      ratios: [...soFar.ratios, ...ratios],
      device: soFar.device ?? device,
    };
    each(soFar);
  }
}

/** The systems asked for, those that are installed on demand installed; or this tree's compiler and another revision's. */
async function systemsOf(options: BenchOptions): Promise<readonly System[]> {
  const picked = systems.filter((s) => options.systems.includes(s.name));
  if (options.compare !== undefined) {
    const { name, compiler } = await commitRevision(root, options.compare);
    say(`against ${name}`);
    const library = (await import(pathToFileURL(compiler).href)) as Library;
    return [...picked, mdlOf(`${REVISION}${name.split(" ")[0]}`, library)];
  }
  if (!picked.some((s) => s.installed)) return picked;
  const missing = installPeers(say);
  return missing === undefined
    ? picked
    : picked.map((s) => (s.installed ? { ...s, lacks: () => missing } : s));
}

const deviceText = (device: Device | undefined): string =>
  device ? `${device.name} (${device.vendor}, ${device.architecture})` : "no device";

function machine(picked: readonly System[]): Machine {
  const version = (name: string): string =>
    (JSON.parse(readText(`node_modules/${name}/package.json`)) as { readonly version: string }).version;
  return {
    date: new Date().toISOString().slice(0, 10),
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    memory_gb: Math.round(totalmem() / 2 ** 30),
    platform: `${process.platform} ${process.arch}`,
    node: process.versions.node,
    webgpu: version("webgpu"),
    benchmark: version("benchmark"),
    ...Object.assign({}, ...picked.map((s) => s.versions?.() ?? {})),
  };
}

const [role, given] = process.argv.slice(2);
if (role === WORKER) await work(JSON.parse(given) as Task);
else if (role === COMPILE_WORKER) compileWork(given);
else if (role === CEILINGS_WORKER) await ceilingsWork();
else {
  try {
    const names = (list: readonly { readonly name: string }[]): string[] => list.map(({ name }) => name);
    const options = parseOptions(process.argv.slice(2), {
      calls: names(workloads),
      quick: quickWorkloads,
      curves: [...curveNames, ...compileCurves.keys()],
      compile: names(compileJobs),
      sizes: names(sizedModels),
      estimate: names(calls),
      usual: usualCalls,
      page: pageParts.flatMap(({ of }) => of),
      chips: names(chips),
      figures: names([...workloads, ...curves]),
      systems: names(systems),
    });
    if (options) process.exitCode = await main(options);
    else console.log(HELP);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    say(`${error.message}; --help says more`);
    process.exitCode = 2;
  }
}
