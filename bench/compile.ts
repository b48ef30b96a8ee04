// `npm run bench -- --compile`: how long compiling takes, and how much memory. In: the models below. Out: a table, with the
// limits that the project holds itself to. Each compilation is a process of its own, so that none profits from another's
// warm code and the memory is its own; times are medians. Time is counted from where Node has started to where the module's
// text is there: loading the compiler is in it. Processor time stands beside it, for machines that have other things to do.
import { fork } from "node:child_process";
import { performance } from "node:perf_hooks";
import { optimiseLater } from "../compiler/cli/pace.ts";
import { targets as allTargets, compile, emitModule } from "../compiler/core/index.ts";
import { dropChatter } from "../runtime/node/index.ts";
import { program, readText, root } from "./paths.ts";
import { columns } from "./report.ts";
import { median } from "./statistics.ts";

export const COMPILE_WORKER = "--compile-worker";

interface Job {
  readonly name: string;
  readonly file: string;
  readonly set?: Readonly<Record<string, number>>;
  readonly model?: string;
  /** All entries by default. */
  readonly entries?: readonly string[];
  /** One of each kind of adapter by default, as the limits are for. */
  readonly targets?: readonly string[];
  /** What it should stay below. */
  readonly seconds?: number;
  readonly megabytes?: number;
  /** The job of half the size, and how many times as long this one may take. */
  readonly half?: { readonly job: string; readonly ratio: number };
  /** The curve of compile time against size that it is a point of. */
  readonly curve?: string;
}

const kinds = allTargets.filter((t) => t.requires.adapters === undefined).map((t) => t.name);

const MODELS = "bench/models/compile";
const tangled = (name: string, turns: number): Job => ({
  name,
  file: `${MODELS}/tangled.mdl`,
  set: { turns },
  targets: ["gpu"],
  curve: "compile_tangled",
});
const gpt = (name: string, entry: string): Job => ({
  name,
  file: "dsl-examples/transformer.mdl",
  model: "GPT",
  set: { depth: 96 },
  entries: [entry],
  seconds: 10,
});
const residual = (name: string, blocks: number): Job => ({
  name,
  file: `${MODELS}/residual.mdl`,
  set: { blocks },
  targets: ["gpu"],
  curve: "compile_residual",
});

/** A half before its whole. */
export const compileJobs: readonly Job[] = [
  tangled("tangled_quarter", 455),
  tangled("tangled_half", 910),
  { ...tangled("tangled", 1820), seconds: 30, megabytes: 2000, half: { job: "tangled_half", ratio: 2.5 } },
  residual("residual_quarter", 500),
  residual("residual_half", 1000),
  { ...residual("residual", 2000), seconds: 30, megabytes: 2000, half: { job: "residual_half", ratio: 2.5 } },
  { name: "mobilenetv2", file: `${MODELS}/mobilenetv2.mdl`, seconds: 5 },
  {
    name: "mobilenetv2_all",
    file: `${MODELS}/mobilenetv2.mdl`,
    targets: allTargets.map((t) => t.name),
  },
  { name: "resnet50", file: `${MODELS}/resnet50.mdl`, seconds: 8 },
  gpt("gpt_96", "logits"),
  gpt("gpt_96_step", "fit_step"),
];

/** Curves of compiling, by the jobs that are their points. */
export const compileCurves: ReadonlyMap<string, readonly string[]> = new Map(
  ["compile_residual", "compile_tangled"].map((curve) => [
    curve,
    compileJobs.filter((j) => j.curve === curve).map((j) => j.name),
  ]),
);

/** What a process says of its compilation. */
type Said =
  | {
      readonly seconds: number;
      readonly cpuSeconds: number;
      readonly megabytes: number;
      /** Of the simplified graphs of one target. */
      readonly nodes: number;
      readonly dispatches: number;
    }
  | { readonly failed: string };

/** The process of one compilation. */
export function compileWork(name: string): void {
  const job = compileJobs.find((j) => j.name === name)!;
  let said: Said;
  // As the command does.
  optimiseLater();
  try {
    const { set, model, entries, targets = kinds } = job;
    const compiled = compile(readText(job.file), job.file, { set, model, entries, targets });
    emitModule(compiled.artefact, { runtime: "inline", source: job.file });
    const { user, system } = process.cpuUsage();
    const { bootstrapComplete } = performance.nodeTiming;
    const seconds = (performance.now() - bootstrapComplete) / 1000;
    const first = compiled.report.entries.filter((e) => e.target === compiled.report.entries[0].target);
    said = {
      seconds,
      cpuSeconds: (user + system) / 1e6,
      megabytes: process.resourceUsage().maxRSS / 1024,
      nodes: compiled
        .emit("graph")
        .split("\n")
        .filter((line) => line.startsWith("  %")).length,
      dispatches: first.reduce((n, e) => n + e.nominalDispatches, 0),
    };
  } catch (error) {
    said = { failed: String((error as Error).message ?? error).split("\n")[0] };
  }
  process.send?.(said);
}

export interface CompileRow {
  readonly name: string;
  readonly targets: number;
  readonly nodes: number;
  readonly dispatches: number;
  readonly seconds: number;
  readonly cpu_seconds: number;
  readonly limit_seconds?: number;
  readonly megabytes: number;
  readonly limit_megabytes?: number;
  /** Of processor time, to the job of half the size. */
  readonly ratio?: number;
  readonly limit_ratio?: number;
  readonly failed?: string;
}

/** Compiles the named jobs `runs` times each. */
export async function measureCompiling(
  names: readonly string[],
  runs: number,
  say: (line: string) => void,
): Promise<CompileRow[]> {
  const rows: CompileRow[] = [];
  for (const job of compileJobs.filter((j) => names.includes(j.name))) {
    const all: Exclude<Said, { failed: string }>[] = [];
    let failed: string | undefined;
    for (let run = 0; run < runs && failed === undefined; run++) {
      const said = await one(job.name);
      if ("failed" in said) failed = said.failed;
      else {
        all.push(said);
        say(`${job.name}: ${said.seconds.toFixed(1)} s, ${said.megabytes.toFixed(0)} MB`);
      }
    }
    const limits = { limit_seconds: job.seconds, limit_megabytes: job.megabytes };
    const targets = (job.targets ?? kinds).length;
    if (failed !== undefined) {
      say(`${job.name}: ${failed}`);
      const none = { nodes: 0, dispatches: 0, seconds: 0, cpu_seconds: 0, megabytes: 0 };
      rows.push({ name: job.name, targets, ...none, ...limits, failed });
      continue;
    }
    const cpu = median(all.map((s) => s.cpuSeconds));
    const half = rows.find((r) => r.name === job.half?.job && r.failed === undefined);
    rows.push({
      name: job.name,
      targets,
      nodes: all[0].nodes,
      dispatches: all[0].dispatches,
      seconds: median(all.map((s) => s.seconds)),
      cpu_seconds: cpu,
      megabytes: Math.max(...all.map((s) => s.megabytes)),
      ...limits,
      ...(half ? { ratio: cpu / half.cpu_seconds, limit_ratio: job.half?.ratio } : {}),
    });
  }
  return rows;
}

function one(name: string): Promise<Said> {
  return new Promise((resolve, reject) => {
    const child = fork(program, [COMPILE_WORKER, name], {
      cwd: root,
      // As the command runs: without the source map of all of the benchmark, which takes Node half a second to read.
      execArgv: process.execArgv.filter((arg) => arg !== "--enable-source-maps"),
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    let said: Said | undefined;
    let last = "";
    child.stderr
      ?.setEncoding("utf8")
      .pipe(dropChatter())
      .on("data", (text: string) => {
        last = (last + text).slice(-4000);
      });
    child.on("message", (message: Said) => {
      said = message;
    });
    child.on("error", reject);
    child.on("close", (code, signal) => {
      const why = /^.*(?:Error|FATAL).*$/m.exec(last)?.[0];
      resolve(
        said ?? { failed: `its process ended with ${signal ?? `code ${code}`}${why ? `: ${why}` : ""}` },
      );
    });
  });
}

const HEAD = [
  "model",
  "targets",
  "nodes",
  "dispatches",
  "s",
  "limit",
  "cpu s",
  "MB",
  "limit",
  "x half",
  "limit",
  "",
];

/** The table of rows: a row that is over a limit says so. */
export function compileTable(rows: readonly CompileRow[]): string {
  const limit = (n: number | undefined): string => (n === undefined ? "" : String(n));
  const over = (r: CompileRow): string =>
    r.failed !== undefined
      ? "failed"
      : [
          r.limit_seconds !== undefined && r.seconds > r.limit_seconds ? "time" : "",
          r.limit_megabytes !== undefined && r.megabytes > r.limit_megabytes ? "memory" : "",
          r.limit_ratio !== undefined && r.ratio !== undefined && r.ratio > r.limit_ratio ? "ratio" : "",
        ]
          .filter(Boolean)
          .join(", ")
          .replace(/^(?=.)/, "over: ");
  const cells = rows.map((r) =>
    r.failed === undefined
      ? [
          r.name,
          String(r.targets),
          String(r.nodes),
          String(r.dispatches),
          r.seconds.toFixed(1),
          limit(r.limit_seconds),
          r.cpu_seconds.toFixed(1),
          r.megabytes.toFixed(0),
          limit(r.limit_megabytes),
          r.ratio?.toFixed(2) ?? "",
          limit(r.limit_ratio),
          over(r),
        ]
      : [r.name, String(r.targets), "", "", "", limit(r.limit_seconds), "", "", "", "", "", over(r)],
  );
  const failed = rows.filter((r) => r.failed !== undefined).map((r) => `${r.name}: ${r.failed}`);
  return [columns([HEAD, ...cells], 1), ...(failed.length > 0 ? ["", ...failed] : [])].join("\n");
}
