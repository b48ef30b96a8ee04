// What was measured, as rows of data and as a table. In: what the processes said and the samples. Out: the JSON's shape and
// text for a terminal.
import type { Ceilings } from "../compiler/cli/profile/ceilings.ts";
import type { CompileRow } from "./compile.ts";
import type { Ready } from "./protocol.ts";
import type { SizeRow } from "./sizes.ts";
import { type GpuTime, median, quantile, type Summary, speedups, summarize } from "./statistics.ts";
import type { GpuClockName } from "./systems/system.ts";

/** Milliseconds, bytes and counts; null for what was not measured or does not exist. */
export interface Row {
  readonly workload: string;
  readonly system: string;
  /** The way the system took: mdl's target. */
  readonly variant: string | null;
  readonly warm_ms: Summary | null;
  /** On the GPU: of a call, in which something ran; without uploads, readbacks and what lies between passes. */
  readonly gpu_ms: Summary | null;
  /** From the begin of its first pass to the end of its last: a median. */
  readonly gpu_span_ms: number | null;
  readonly gpu_by: GpuClockName | null;
  /** From no device to the first result, code and driver loaded, with no shader cache: the median of the starts. */
  readonly cold_ms: number | null;
  /** The first call of those. */
  readonly first_ms: number | null;
  /** The largest difference from the reference, as a part of the largest value of it. */
  readonly max_error: number | null;
  /** Of a call. */
  readonly dispatches: number | null;
  readonly pipelines: number | null;
  /** On the calling thread, from the call to the return of its last submit; and of that outside of WebGPU's methods. */
  readonly submit_ms: number | null;
  readonly own_ms: number | null;
  /** The most bytes of GPU buffers at once. */
  readonly peak_bytes: number | null;
  /** Of these, planned for activations. */
  readonly arena_bytes: number | null;
  /** Of all that a user would load, gzipped, without weights. */
  readonly artefact_bytes: number | null;
  readonly gflops: number | null;
  /** By the time on the GPU. */
  readonly gpu_gflops: number | null;
  /** Of a point of a curve. */
  readonly curve?: string;
  readonly axis?: string;
  readonly at?: number;
  /** Why there are no figures: it cannot run here, */
  readonly skipped?: string;
  /** or it went wrong. */
  readonly failed?: string;
}

export interface Ratio {
  readonly workload: string;
  readonly system: string;
  readonly against: string;
  /** How many times faster `system` is than `against`, warm: the median of the ratios of rounds. */
  readonly speedup: number;
  /** Between which half of those ratios are. */
  readonly quartiles: readonly [number, number];
  /** The same of the time on the GPU; null where one of them has none. */
  readonly gpu_speedup: number | null;
}

/** What it ran on: names and versions. */
export type Machine = Readonly<Record<string, string | number>>;

export interface Report {
  readonly device: string;
  /** What the device does at most, measured; null where that was not. */
  readonly ceilings: Ceilings | null;
  readonly machine: Machine;
  readonly rows: readonly Row[];
  readonly ratios: readonly Ratio[];
  /** Points of curves. */
  readonly curves?: readonly Row[];
  readonly compile?: readonly CompileRow[];
  readonly sizes?: readonly SizeRow[];
}

/** All of one workload on one system. */
export interface Measured {
  readonly workload: string;
  readonly system: string;
  readonly flops: number;
  readonly artefactBytes?: number;
  /** One for each start. */
  readonly starts: readonly Ready[];
  /** Milliseconds of warm calls by round. */
  readonly rounds: readonly (readonly number[])[];
  /** Times on the GPU, of other calls of the same rounds. */
  readonly gpu: readonly (readonly GpuTime[])[];
  readonly gpuBy?: GpuClockName;
  /** It was opened beside others: its start says nothing. */
  readonly together?: boolean;
}

const rounded = (x: number, digits = 3): number => Number(x.toFixed(digits));

const roundedSummary = (samples: readonly number[], digits: number): Summary => {
  const { median, min, max, n } = summarize(samples);
  return { median: rounded(median, digits), min: rounded(min, digits), max: rounded(max, digits), n };
};

export function rowOf(measured: Measured): Row {
  const { workload, system, flops, artefactBytes, starts, rounds, gpuBy, together } = measured;
  const [first] = starts;
  const warm = summarize(rounds.flat());
  const gpu = measured.gpu.flat();
  const busy =
    gpu.length === 0
      ? null
      : roundedSummary(
          gpu.map((t) => t.busy),
          4,
        );
  const spans = gpu.flatMap(({ span }) => (span === undefined ? [] : [span]));
  return {
    workload,
    system,
    variant: first.variant,
    warm_ms: roundedSummary(rounds.flat(), 3),
    gpu_ms: busy,
    gpu_span_ms: spans.length === 0 ? null : rounded(median(spans), 4),
    gpu_by: gpuBy ?? null,
    cold_ms: together ? null : rounded(median(starts.map((s) => s.loadMs + s.firstMs)), 1),
    first_ms: together ? null : rounded(median(starts.map((s) => s.firstMs)), 1),
    max_error:
      first.maxError === undefined
        ? null
        : Number(Math.max(...starts.map((s) => s.maxError!)).toPrecision(3)),
    dispatches: first.dispatches ?? null,
    pipelines: first.pipelines ?? null,
    submit_ms: first.submitMs === undefined ? null : rounded(median(starts.map((s) => s.submitMs!))),
    own_ms: first.ownMs === undefined ? null : rounded(median(starts.map((s) => s.ownMs!))),
    peak_bytes: first.peakBytes ?? null,
    arena_bytes: first.arenaBytes ?? null,
    // Nothing was weighed where a peer is there without the files that a page would load.
    artefact_bytes: artefactBytes || null,
    gflops: flops === 0 ? null : rounded(flops / warm.median / 1e6, 2),
    gpu_gflops: flops === 0 || !busy?.median ? null : rounded(flops / busy.median / 1e6, 2),
  };
}

export function emptyRow(
  workload: string,
  system: string,
  why: { readonly skipped: string } | { readonly failed: string },
): Row {
  return {
    workload,
    system,
    variant: null,
    warm_ms: null,
    gpu_ms: null,
    gpu_span_ms: null,
    gpu_by: null,
    cold_ms: null,
    first_ms: null,
    max_error: null,
    dispatches: null,
    pipelines: null,
    submit_ms: null,
    own_ms: null,
    peak_bytes: null,
    arena_bytes: null,
    artefact_bytes: null,
    gflops: null,
    gpu_gflops: null,
    ...why,
  };
}

/** The first system against each of the others that ran the same workload. */
export function ratiosOf(measured: readonly Measured[]): Ratio[] {
  const [ours, ...others] = measured;
  return others.map((other) => {
    const ratios = speedups(ours.rounds, other.rounds);
    const seen = [ours, other].every(({ gpu }) => gpu.length > 0 && gpu.every((round) => round.length > 0));
    const busy = ({ gpu }: Measured): number[][] => gpu.map((round) => round.map((t) => t.busy));
    return {
      workload: ours.workload,
      system: ours.system,
      against: other.system,
      speedup: rounded(median(ratios)),
      quartiles: [rounded(quantile(ratios, 0.25)), rounded(quantile(ratios, 0.75))],
      gpu_speedup: seen ? rounded(median(speedups(busy(ours), busy(other)))) : null,
    };
  });
}

const COLUMNS = [
  "workload",
  "system",
  "warm ms",
  "min",
  "max",
  "n",
  "GFLOP/s",
  "gpu ms",
  "span ms",
  "gpu GFLOP/s",
  "of peak",
  "cold ms",
  "first ms",
  "error",
  "dispatches",
  "pipelines",
  "submit ms",
  "own ms",
  "arena",
  "peak",
  "artefact",
] as const;

export const ms = (x: number | null | undefined): string =>
  x === null || x === undefined ? "–" : x.toFixed(x < 10 ? 2 : x < 100 ? 1 : 0);
/** Of a GPU, for which a microsecond is much. */
export const fine = (x: number | null | undefined): string =>
  typeof x === "number" && x < 1 ? x.toFixed(4) : ms(x);
/** What part of the device's multiply-adds a call's make out, by the time on the GPU. */
export const ofPeak = ({ gpu_gflops: reached }: Row, ceilings: Ceilings | null): string =>
  reached === null || ceilings === null ? "–" : `${((100 * reached) / ceilings.gflops).toFixed(1)} %`;
export const ceilingsText = ({ gflops, gbs }: Ceilings): string =>
  `measured at most: ${Math.round(gflops)} GFLOP/s in f32, ${Math.round(gbs)} GB/s copied`;
export const count = (x: number | null | undefined): string =>
  x === null || x === undefined ? "–" : String(x);
export const bytes = (x: number | null): string => {
  if (x === null) return "–";
  const units = ["B", "KiB", "MiB", "GiB"];
  const unit = Math.min(3, Math.max(0, Math.floor(Math.log2(Math.max(1, x)) / 10)));
  const value = x / 1024 ** unit;
  return `${value.toFixed(unit > 0 && value < 100 ? 1 : 0)} ${units[unit]}`;
};

const cells = (row: Row, ceilings: Ceilings | null): string[] => [
  row.workload,
  row.variant && row.variant !== row.system ? `${row.system} (${row.variant})` : row.system,
  ms(row.warm_ms?.median),
  ms(row.warm_ms?.min),
  ms(row.warm_ms?.max),
  count(row.warm_ms?.n),
  ms(row.gflops),
  fine(row.gpu_ms?.median),
  fine(row.gpu_span_ms),
  ms(row.gpu_gflops),
  ofPeak(row, ceilings),
  ms(row.cold_ms),
  ms(row.first_ms),
  row.max_error === null ? "–" : row.max_error.toExponential(1),
  count(row.dispatches),
  count(row.pipelines),
  ms(row.submit_ms),
  ms(row.own_ms),
  bytes(row.arena_bytes),
  bytes(row.peak_bytes),
  bytes(row.artefact_bytes),
];

/** Names to the left, numbers to the right; rows without figures say why below. */
export function table({ device, ceilings, rows, ratios }: Report): string {
  const timed = rows.filter((row) => row.warm_ms);
  const lines: string[] = [device, ...(ceilings ? [ceilingsText(ceilings)] : [])];
  if (timed.length > 0) {
    lines.push("", columns([COLUMNS, ...timed.map((row) => cells(row, ceilings))], 2));
  }
  if (ratios.length > 0) lines.push("");
  for (const { workload, system, against, speedup, quartiles, gpu_speedup: gpu } of ratios) {
    const [low, high] = quartiles.map((q) => q.toFixed(2));
    const times = speedup.toFixed(2);
    lines.push(
      `${workload}: ${system} is ${times} times as fast as ${against} (half of the rounds: ${low} to ${high}${gpu === null ? "" : `; on the GPU ${gpu.toFixed(2)}`})`,
    );
  }
  const launched = timed.filter((row) => row.gpu_by === "events");
  if (launched.length > 0) lines.push("");
  for (const { workload, system } of launched)
    lines.push(`${workload}, ${system}: the time on the GPU has what the host's launches cost in it`);
  const none = untimed(rows);
  if (none.length > 0) lines.push("", ...none);
  return lines.join("\n");
}

/** What each row without figures says of why. */
export const untimed = (rows: readonly Row[]): string[] =>
  rows
    .filter((row) => !row.warm_ms)
    .map(
      (row) =>
        `${row.workload}, ${row.system}: ${row.failed ? `failed: ${row.failed}` : `skipped: ${row.skipped}`}`,
    );

/** Lines in columns; the first `names` are words, the others figures. */
export function columns(lines: readonly (readonly string[])[], names: number): string {
  const widths = lines[0].map((_, i) => Math.max(...lines.map((line) => line[i].length)));
  return lines
    .map((line) => line.map((cell, i) => (i < names ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))))
    .map((cells) => cells.join("  ").trimEnd())
    .join("\n");
}
