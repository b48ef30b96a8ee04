// `--results NAME`: a page of results. In: a report. Out: bench/results/NAME.md, its charts NAME-*.svg beside it, and NAME.json
// with all of it as data.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { compileCurves, compileTable } from "./compile.ts";
import { root } from "./paths.ts";
import { installPeers } from "./peers/install.ts";
import {
  bytes,
  ceilingsText,
  count,
  fine,
  ms,
  ofPeak,
  type Ratio,
  type Report,
  type Row,
  untimed,
} from "./report.ts";
import { sizeTable } from "./sizes.ts";
import { systemOf } from "./systems/index.ts";
import { peerFile } from "./systems/peers.ts";

type Spec = Readonly<Record<string, unknown>>;

export async function writeResults(name: string, report: Report): Promise<string[]> {
  const folder = join(root, "bench", "results");
  mkdirSync(folder, { recursive: true });
  const charts = chartsOf(report);
  const files: string[] = [];
  const write = (file: string, text: string): void => {
    writeFileSync(join(folder, file), text);
    files.push(`bench/results/${file}`);
  };
  // What draws them is installed with the peers.
  const missing = charts.size > 0 ? installPeers(() => undefined) : undefined;
  if (missing === undefined && charts.size > 0) {
    const { svgOf } = await peerFile<{ svgOf(spec: Spec): Promise<string> }>("charts.mjs");
    for (const [chart, spec] of charts) write(`${name}-${chart}.svg`, `${await svgOf(spec)}\n`);
  }
  const drawn = missing === undefined ? (chart: string) => `![${chart}](${name}-${chart}.svg)` : () => "";
  write(`${name}.md`, pageOf(name, report, drawn));
  write(`${name}.json`, `${JSON.stringify(report, null, 1)}\n`);
  return files;
}

// ------------------------------------------------------------------------------------------ the page

export const tableOf = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map((_, i) => (i === 0 ? "---" : "--:")), ...rows]
    .map((cells) => `| ${cells.join(" | ")} |`)
    .join("\n");

export const unique = (values: readonly string[]): string[] => [...new Set(values)];

/** A table of workloads by systems. */
function pivot(rows: readonly Row[], cell: (row: Row) => string): string {
  const systems = unique(rows.map((r) => r.system));
  const lines = unique(rows.map((r) => r.workload)).map((workload) => [
    workload,
    ...systems.map((system) => {
      const row = rows.find((r) => r.workload === workload && r.system === system);
      return row?.warm_ms ? cell(row) : "–";
    }),
  ]);
  return tableOf(["ms", ...systems], lines);
}

/** The ratio to the one that mdl leads least, of those asked for. */
export function leadOf(report: Report, workload: string, of: (system: string) => boolean): Ratio | undefined {
  const ratios = report.ratios.filter((r) => r.workload === workload && r.system === "mdl" && of(r.against));
  return ratios.sort((a, b) => a.speedup - b.speedup)[0];
}

function leads(report: Report, workload: string, of: (system: string) => boolean): string {
  const lead = leadOf(report, workload, of);
  return lead ? `${lead.speedup.toFixed(2)} (${lead.against})` : "–";
}

/** Of peers, those that compute by WebGPU. */
export const isWebGpu = (system: string): boolean => {
  const { device, installed } = systemOf(system);
  return installed === true && device !== "cpu";
};

/** Neither a yardstick nor less than what mdl computes. */
const isComparable = (system: string): boolean => system !== "hand" && !systemOf(system).precision;

const fenced = (text: string): string => `\`\`\`text\n${text}\n\`\`\``;

export function pageOf(name: string, report: Report, chart: (name: string) => string): string {
  const { device, ceilings, machine, rows, curves = [], compile, sizes } = report;
  const parts: string[] = [
    `# ${name}`,
    "Written by `npm run bench -- --results`; [the benchmark's page](../README.md) says how everything was measured and what differs between systems. Compare within the run: machines are noisy.",
    tableOf(
      ["", ""],
      [
        ["device", ceilings ? `${device}; ${ceilingsText(ceilings)}` : device],
        ...Object.entries(machine).map(([key, value]) => [key, String(value)]),
      ],
    ),
  ];
  const timed = rows.filter((row) => row.warm_ms);
  if (timed.length > 0) {
    parts.push(
      "## Warm calls",
      "Medians in milliseconds, upload and readback included.",
      pivot(timed, (row) => ms(row.warm_ms!.median)),
      chart("warm"),
      "How many times as fast as others mdl is, by pairs of rounds:",
      tableOf(
        ["workload", "the fastest WebGPU peer", "ONNX Runtime wasm", "the fastest of all"],
        unique(timed.map((r) => r.workload)).map((workload) => [
          workload,
          leads(report, workload, isWebGpu),
          leads(report, workload, (system) => system === "ort-wasm"),
          leads(report, workload, isComparable),
        ]),
      ),
      "Spread, from the fastest call to the slowest:",
      pivot(timed, (row) => `${ms(row.warm_ms!.min)}–${ms(row.warm_ms!.max)}`),
      ...(timed.some((row) => row.gpu_ms)
        ? [
            "## On the GPU",
            "Of a call, in milliseconds: in which something ran, without uploads and readbacks; `*` has what the host's launches cost in it.",
            pivot(timed, (row) => `${fine(row.gpu_ms?.median)}${row.gpu_by === "events" ? " *" : ""}`),
            chart("gpu"),
          ]
        : []),
      ...(timed.some((row) => row.cold_ms !== null)
        ? [
            "## Cold starts",
            "From no device to the first result, code loaded, shader cache off; in brackets the first call of that.",
            pivot(timed, (row) => `${ms(row.cold_ms)} (${ms(row.first_ms)})`),
            chart("cold"),
          ]
        : []),
      "## Of a call",
      tableOf(
        [
          "workload",
          "system",
          "GFLOP/s",
          "gpu ms",
          "span ms",
          "gpu GFLOP/s",
          "of peak",
          "error",
          "dispatches",
          "pipelines",
          "submit ms",
          "own ms",
          "arena",
          "peak",
          "artefact",
        ],
        timed.map((row) => [
          row.workload,
          row.variant && row.variant !== row.system ? `${row.system} (${row.variant})` : row.system,
          ms(row.gflops),
          fine(row.gpu_ms?.median),
          fine(row.gpu_span_ms),
          ms(row.gpu_gflops),
          ofPeak(row, ceilings),
          row.max_error === null ? "–" : row.max_error.toExponential(1),
          count(row.dispatches),
          count(row.pipelines),
          ms(row.submit_ms),
          ms(row.own_ms),
          bytes(row.arena_bytes),
          bytes(row.peak_bytes),
          bytes(row.artefact_bytes),
        ]),
      ),
    );
  }
  for (const curve of unique(curves.map((row) => row.curve!))) {
    const points = curves.filter((row) => row.curve === curve && row.warm_ms);
    if (points.length === 0) continue;
    parts.push(
      `## ${curve}`,
      `Milliseconds of a warm call by ${points[0].axis}.`,
      pivot(points, (row) => ms(row.warm_ms!.median)),
      chart(curve),
    );
  }
  if (compile) {
    parts.push("## Compiling", fenced(compileTable(compile)));
    for (const curve of compileCurves.keys())
      if (compilePoints(report, curve).length > 1) parts.push(chart(curve));
  }
  if (sizes) parts.push("## Sizes", fenced(sizeTable(sizes)));
  const none = untimed([...rows, ...curves]);
  if (none.length > 0) parts.push("## Not run", none.map((line) => `- ${line}`).join("\n"));
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`;
}

// ------------------------------------------------------------------------------------------ charts

const SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json";
const config = { background: "white", font: "sans-serif", axis: { titleFontWeight: "normal" } };

/** One mark a system, by workload, as a multiple of mdl's. */
const timesChart = (title: string, values: readonly object[]): Spec => ({
  $schema: SCHEMA,
  config,
  width: 520,
  height: { step: 24 },
  data: { values },
  mark: { type: "point", filled: true, size: 60, opacity: 0.8 },
  encoding: {
    y: { field: "workload", type: "nominal", title: null, sort: null, axis: { grid: true } },
    x: { field: "times", type: "quantitative", scale: { type: "log" }, title },
    color: { field: "system", type: "nominal", sort: null, title: null },
    shape: { field: "system", type: "nominal", sort: null, title: null },
  },
});

const lineChart = (values: readonly object[], x: string, y: string, series: string): Spec => ({
  $schema: SCHEMA,
  config,
  width: 420,
  height: 260,
  data: { values },
  mark: { type: "line", point: true },
  encoding: {
    x: { field: "x", type: "quantitative", scale: { type: "log", base: 2 }, title: x },
    y: { field: "y", type: "quantitative", scale: { type: "log" }, title: y },
    color: { field: series, type: "nominal", sort: null, title: null },
  },
});

function compilePoints(
  report: Report,
  curve: string,
): { nodes: number; seconds: number; megabytes: number }[] {
  const jobs = compileCurves.get(curve) ?? [];
  return (report.compile ?? [])
    .filter((row) => jobs.includes(row.name) && row.failed === undefined)
    .map(({ nodes, cpu_seconds: seconds, megabytes }) => ({ nodes, seconds, megabytes }));
}

export function chartsOf(report: Report): ReadonlyMap<string, Spec> {
  const charts = new Map<string, Spec>();
  const times = (of: (row: Row) => number | null | undefined): object[] =>
    report.rows.flatMap((row) => {
      const ours = report.rows.find((r) => r.workload === row.workload && r.system === "mdl");
      const [mine, theirs] = [ours && of(ours), of(row)];
      return mine && theirs ? [{ workload: row.workload, system: row.system, times: theirs / mine }] : [];
    });
  const add = (name: string, values: readonly object[], spec: () => Spec): void => {
    if (values.length > 1) charts.set(name, spec());
  };
  const warm = times((row) => row.warm_ms?.median);
  add("warm", warm, () => timesChart("warm call, as a multiple of mdl's (left of 1: faster than mdl)", warm));
  const gpu = times((row) => row.gpu_ms?.median);
  add("gpu", gpu, () =>
    timesChart("time on the GPU, as a multiple of mdl's (left of 1: faster than mdl)", gpu),
  );
  const cold = times((row) => row.cold_ms);
  add("cold", cold, () =>
    timesChart("cold start, as a multiple of mdl's (left of 1: faster than mdl)", cold),
  );
  for (const curve of unique((report.curves ?? []).map((row) => row.curve!))) {
    const points = report.curves!.filter((row) => row.curve === curve && row.warm_ms);
    const values = points.map((row) => ({ x: row.at, y: row.warm_ms!.median, system: row.system }));
    add(curve, values, () => lineChart(values, points[0].axis!, "ms", "system"));
  }
  for (const curve of compileCurves.keys()) {
    const values = compilePoints(report, curve).flatMap(({ nodes, seconds, megabytes }) => [
      { x: nodes, y: seconds, what: "CPU seconds" },
      { x: nodes, y: megabytes, what: "MB" },
    ]);
    add(curve, values.slice(1), () => lineChart(values, "nodes of the graph", "seconds, MB", "what"));
  }
  return charts;
}
