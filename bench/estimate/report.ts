// Rows of estimates as tables. In: rows. Out: text.
import type { Alternative, Table, Way } from "../../compiler/cli/tune/index.ts";
import { columns } from "../report.ts";
import type { Figures } from "./figures.ts";
import recorded from "./peers.json" with { type: "json" };
import type { SpillRow } from "./spills.ts";

export interface KernelRow {
  readonly name: string;
  /** Where in the source it comes from. */
  readonly site: string;
  /** In a call. */
  readonly times: number;
  readonly groups: number;
  readonly figures?: Figures;
  /** Why there are none. */
  readonly failed?: string;
}
export interface EstimateRow {
  readonly workload: string;
  readonly what: string;
  readonly chip: string;
  /** Of all dispatches: of each the larger of what the model says and its tensors once through memory. */
  readonly us: number;
  readonly memory_us: number;
  /** What no kernel could be below: of each dispatch the larger of its tensors once through memory and its multiply-adds at peak. */
  readonly bound_us: number;
  readonly dispatches: number;
  readonly tflops: number;
  readonly peak_tflops: number;
  /** Of kernels whose loops were not all found: too little is counted of them. */
  readonly unmatched_us: number;
  /** Kernels with registers in memory. */
  readonly spills: number;
  /** Recorded figures of others for the same, fastest first. */
  readonly peers: readonly { readonly system: string; readonly us: number; readonly dispatches: number }[];
  readonly kernels: readonly KernelRow[];
}

export const peerFigures = (workload: string, chip: string): EstimateRow["peers"] =>
  recorded.rows
    .filter((r) => r.workload === workload && r.chip === chip)
    .map(({ system, us, dispatches }) => ({ system, us, dispatches }))
    .sort((a, b) => a.us - b.us);

const number = (x: number): string => (x >= 100 ? x.toFixed(0) : x >= 10 ? x.toFixed(1) : x.toFixed(2));
const percent = (x: number): string => `${(100 * x).toFixed(0)} %`;

const HEAD = [
  "workload",
  "chip",
  "est us",
  "memory us",
  "dispatches",
  "TFLOP/s",
  "of peak",
  "bound / est",
  "spills",
  "best peer",
  "peer us",
  "us / peer",
  "",
];

/** A line for each call and chip. */
const linesOf = (rows: readonly EstimateRow[]): string[][] =>
  rows.map((r) => {
    const [best] = r.peers;
    const failed = r.kernels.filter((k) => k.failed !== undefined).length;
    const notes = [
      failed > 0 ? `${failed} not compiled` : "",
      r.unmatched_us > 0.02 * r.us ? `loops not found in ${percent(r.unmatched_us / r.us)}` : "",
    ];
    return [
      r.workload,
      r.chip,
      number(r.us),
      number(r.memory_us),
      String(r.dispatches),
      number(r.tflops),
      percent(r.tflops / r.peak_tflops),
      (r.bound_us / r.us).toFixed(2),
      String(r.spills),
      best?.system ?? "",
      best ? number(best.us) : "",
      best ? (r.us / best.us).toFixed(2) : "",
      notes.filter(Boolean).join(", "),
    ];
  });

export const estimateTable = (rows: readonly EstimateRow[]): string => columns([HEAD, ...linesOf(rows)], 2);

/** What a page has a table of. */
export interface Part {
  readonly title: string;
  readonly text: string;
  /** Names of calls. */
  readonly of: readonly string[];
}

const mean = (list: readonly number[]): number =>
  Math.exp(list.reduce((n, x) => n + Math.log(x), 0) / list.length);
/** How near calls come to what bounds them, by chip: geometric means, and the spread. */
function nearness(rows: readonly EstimateRow[]): string {
  const chips = [...new Set(rows.map((r) => r.chip))];
  return chips
    .map((chip) => {
      const near = rows.filter((r) => r.chip === chip).map((r) => r.bound_us / r.us);
      return `${chip} ${mean(near).toFixed(2)} (${Math.min(...near).toFixed(2)} to ${Math.max(...near).toFixed(2)})`;
    })
    .join(", ");
}

/** The same as a page, for bench/results. */
export function estimatePage(
  name: string,
  rows: readonly EstimateRow[],
  revision: string,
  parts: readonly Part[],
): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  const spilling = rows.flatMap((r) =>
    r.kernels
      .filter((k) => k.figures && k.figures.spilled > 0)
      .map((k) => `${k.name} in ${r.workload} on ${r.chip}`),
  );
  const left = parts.flatMap(({ of }) => of).filter((call) => !rows.some((r) => r.workload === call));
  const tables = parts.flatMap(({ title, text, of }) => {
    const own = rows.filter((r) => of.includes(r.workload));
    if (own.length === 0) return [];
    return [
      ...[`## ${title}`, "", text, ""],
      line(HEAD.map((cell) => cell || "notes")),
      line(HEAD.map((_, i) => (i < 2 ? "---" : "--:"))),
      ...linesOf(own).map(line),
      "",
      `bound / est, geometric means: ${nearness(own)}.`,
      "",
    ];
  });
  return [
    "# Estimates for GPUs that are not here",
    "",
    "**Nothing here was run on a GPU.** Kernels were compiled for each chip by its own compiler, and a model of one unit of it stepped through the machine code: [estimate/README.md](../estimate/README.md) says how far to trust that (ratios above 1.5, orders of magnitude). Launches, uploads and readbacks are left out. `memory us` is every tensor of every dispatch once through DRAM; `bound / est` is 1 where every dispatch takes what its tensors take through memory, or its multiply-adds at the chip's peak; `best peer` is a recorded figure (`estimate/peers.json`), estimated in the same way.",
    "",
    `Made by \`npm run bench -- --estimate ${[...new Set(rows.map((r) => r.chip))].join(",")} --results ${name}\` of ${revision}${left.length > 0 ? `, without ${left.join(" and ")}` : ""}.`,
    "",
    ...tables,
    spilling.length > 0
      ? `Registers in memory: ${spilling.join("; ")}.`
      : "No kernel of these keeps registers in memory.",
    "",
  ].join("\n");
}

const SPILL_HEAD = ["chip", "", "kernels", "looked at", "spill", "not compiled"];
const spillLines = (rows: readonly SpillRow[]): string[][] =>
  rows.map((r) => [
    ...[r.chip, r.title, String(r.all ?? r.kernels), String(r.kernels)],
    ...[String(r.spills.length), String(r.failed.length)],
  ]);
/** Every kernel that spills, or that did not compile. */
const spillNotes = (rows: readonly SpillRow[]): string[] =>
  rows.flatMap((r) => [
    ...r.spills.map(({ kernel, registers }) => `${r.chip}: ${kernel} keeps ${registers} registers in memory`),
    ...r.failed.map(({ kernel, why }) => `${r.chip}: ${kernel}: ${why}`),
  ]);

export const spillTable = (rows: readonly SpillRow[]): string =>
  [columns([SPILL_HEAD, ...spillLines(rows)], 2), ...spillNotes(rows)].join("\n");

/** The same as a page, for bench/results. */
export function spillPage(
  name: string,
  rows: readonly SpillRow[],
  above: number | undefined,
  revision: string,
): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  const notes = spillNotes(rows);
  return [
    "# Registers in memory",
    "",
    "What the chips' own compilers say of every kernel of the examples (`dsl-examples`), of all entries and training steps: [estimate/README.md](../estimate/README.md) says how they are compiled. Nothing was run on a GPU. Sizes that are open are in uniforms, so the kernels are the same for every N.",
    ...(above === undefined
      ? []
      : [
          "",
          `One chip of AMD's has all of them; on the others, those that take more than ${above} registers there (of 256).`,
        ]),
    "",
    `Made by \`npm run bench -- --estimate ${rows.map((r) => r.chip).join(",")} --spills${above === undefined ? "" : ` --above ${above}`} --results ${name}\` of ${revision}.`,
    "",
    line(SPILL_HEAD),
    line(SPILL_HEAD.map((_, i) => (i < 2 ? "---" : "--:"))),
    ...spillLines(rows).map(line),
    "",
    ...(notes.length > 0 ? notes.map((note) => `- ${note}`) : ["No kernel keeps registers in memory."]),
    "",
  ].join("\n");
}

const choiceText = ({ family, choice }: Alternative): string =>
  [family, ...Object.entries(choice).map(([what, n]) => `${what} ${n}`)].join(", ");

/** All choices that were tried, of each class. */
export const waysTable = (ways: readonly Way[]): string =>
  ways
    .map(({ way, offers, times }) =>
      [
        way,
        ...offers.map((o, i) => `  ${number(times[i] ?? Number.NaN).padStart(8)}  ${choiceText(o)}`),
      ].join("\n"),
    )
    .join("\n\n");

/** What a table chooses, and what calls take without it and with it. */
export function tuneTable(
  { rows }: Table,
  before: readonly EstimateRow[],
  after: readonly EstimateRow[],
): string {
  const chosen = rows.map((r) => [number(r.before), number(r.microseconds), choiceText(r), r.region]);
  const lines = before.map((b, i) => [
    b.workload,
    number(b.us),
    number(after[i].us),
    (after[i].us / b.us).toFixed(2),
  ]);
  const head = ["us", "with it", "choice", "of"];
  return [
    rows.length > 0 ? columns([head, ...chosen], 0) : "nothing is clearly shorter: the table is empty",
    "",
    columns([["workload", "us", "with the table", ""], ...lines], 1),
  ].join("\n");
}

const KERNEL_HEAD = [
  "kernel",
  "us",
  "times",
  "groups",
  "threads",
  "registers",
  "spilled",
  "shared B",
  "waves",
  "FMA",
  "issue",
  "lds",
  "cache",
  "TFLOP/s",
  "memory us",
  "source",
];

/** A line for each kernel of a call, the longest first. */
export function kernelTable(row: EstimateRow): string {
  const sorted = [...row.kernels].sort(
    (a, b) => (b.figures?.us ?? 0) * b.times - (a.figures?.us ?? 0) * a.times,
  );
  const lines = sorted.map(({ name, site, times, groups, figures: f, failed }) => {
    if (!f)
      return [
        name,
        "-",
        String(times),
        String(groups),
        ...new Array<string>(11).fill(""),
        `${site}: ${failed}`,
      ];
    const arithmetic = f.fmas > 0 && f.whole.fmas > 64;
    return [
      name,
      number(f.us * times),
      String(times),
      String(groups),
      String(f.threads),
      String(f.registers),
      f.scratch > 0 ? `${f.spilled} (${f.scratch} B)` : String(f.spilled),
      String(f.shared),
      number(f.occupancy),
      arithmetic ? percent(f.fmaShare) : "",
      arithmetic ? percent(f.bounds.issue) : "",
      arithmetic ? percent(f.bounds.lds) : "",
      arithmetic ? percent(f.bounds.cache) : "",
      arithmetic ? number((2 * f.fmas) / f.us / 1e6) : "",
      number(f.memoryUs * times),
      `${site}${f.matched ? "" : " (loops not found)"}`,
    ];
  });
  const head = `${row.workload} on ${row.chip}: ${number(row.us)} us`;
  return `${head}\n${columns([KERNEL_HEAD, ...lines], 1)}`;
}
