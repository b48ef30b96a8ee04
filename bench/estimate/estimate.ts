// `npm run bench -- --estimate CHIPS`: what calls would take on GPUs that are not here. In: chips, calls, files. Out: a row for each
// call and chip, with its kernels. README.md says what is a fact of machine code in it and what is a model's.
import { readTable, tunedTarget } from "../../compiler/cli/tune/index.ts";
import type { StorageName } from "../../compiler/core/index.ts";
import {
  type Call,
  calls,
  callsOfFile,
  type Dispatch,
  dispatchesOf,
  type KnownCall,
  targetFor,
} from "./calls.ts";
import { type Chip, chips, peakOf } from "./chips.ts";
import { type Figures, figuresOf } from "./figures.ts";
import { keep, kept, keyOf, MachineCodes } from "./machine-code.ts";
import { type Found, isMissing, partsFor } from "./parts.ts";
import { recordedCall } from "./recorded.ts";
import { type EstimateRow, type KernelRow, peerFigures } from "./report.ts";
import type { SpirvModule } from "./spirv/module.ts";
import { type Trace, traceSpirv } from "./spirv/trace.ts";

/** Of how figures come about: to be counted up where that changes, since figures are kept. */
const MODEL = 4;

export interface EstimateOptions {
  readonly chips: readonly string[];
  /** Of the calls known here. */
  readonly only: readonly string[];
  /** Sources of a user's. */
  readonly files: readonly string[];
  readonly sizes: Readonly<Record<string, number>>;
  readonly storage?: StorageName;
  /** A table of `mdl tune`, or of `--tune`. */
  readonly tuning?: string;
}

/** The rows; or in words why there can be none on this machine. */
export function estimate(
  options: EstimateOptions,
  say: (line: string) => void,
): readonly EstimateRow[] | { readonly missing: string } {
  const estimator = estimatorFor(options.chips, say);
  if (isMissing(estimator)) return estimator;
  const table = options.tuning === undefined ? undefined : tunedTarget(readTable(options.tuning));
  const rows: EstimateRow[] = [];
  // A run may take an hour: what it has come to.
  const take = (own: readonly EstimateRow[]): void => {
    rows.push(...own);
    for (const row of own) say(`  ${row.us.toPrecision(3)} us on ${row.chip}, ${row.spills} kernels spill`);
  };
  for (const known of callsAsked(options)) {
    say(`${known.name} (${known.what})`);
    const call = known.make(table && { targets: [table] });
    const of = (chip: Chip): string => table?.name ?? targetFor(chip);
    for (const target of new Set(estimator.chips.map(of)))
      take(
        estimator.rows(
          call,
          target,
          estimator.chips.filter((c) => of(c) === target),
        ),
      );
  }
  for (const call of options.files.filter(isRecorded).map(recordedCall)) {
    say(`${call.name} (${call.what})`);
    take(estimator.rowsOf(call, call.list, estimator.chips));
  }
  return rows;
}

const isRecorded = (file: string): boolean => file.endsWith(".json");
/** What was named: of the calls known here, and of a user's files. */
export const callsAsked = (
  options: Pick<EstimateOptions, "only" | "files" | "sizes" | "storage">,
): readonly KnownCall[] => [
  ...calls.filter((c) => options.only.includes(c.name)),
  ...options.files
    .filter((file) => !isRecorded(file))
    .flatMap((file) => callsOfFile(file, options.sizes, options.storage)),
];

type Named = Pick<Call, "name" | "what">;
export interface Estimator {
  /** Those of the chips asked for whose compilers are here. */
  readonly chips: readonly Chip[];
  rows(call: Call, target: string, chips: readonly Chip[]): readonly EstimateRow[];
  /** Of a call whose dispatches are known. */
  rowsOf(call: Named, list: readonly Dispatch[], chips: readonly Chip[]): readonly EstimateRow[];
}
export function estimatorFor(names: readonly string[], say: (line: string) => void): Found<Estimator> {
  const wanted = names.map((name) => chips.find((c) => c.name === name)!);
  const parts = partsFor(wanted, say);
  if (isMissing(parts)) return parts;
  const { dawn, nvidia, needsNvidia } = parts;
  const can = wanted.filter((c) => c.vendor === "amd" || !isMissing(nvidia));
  if (isMissing(nvidia) && needsNvidia) say(nvidia.missing);
  if (can.length === 0) return isMissing(nvidia) ? nvidia : { missing: "no chip is named" };

  const codes = new MachineCodes(dawn, nvidia, can);
  const estimator: Estimator = {
    chips: can,
    rows: (call, target, on) => estimator.rowsOf(call, dispatchesOf(call, target), on),
    rowsOf(call, list, on) {
      codes.prepare(list, say);
      const traced = new Map<Dispatch, readonly Trace[]>();
      const traces = (d: Dispatch) => (): readonly Trace[] => {
        const found = traced.get(d) ?? tracesOf(d, codes.spirv(d));
        traced.set(d, found);
        return found;
      };
      return on.map((chip) =>
        rowOf(
          call,
          chip,
          list.map((d) => kernelOf(d, chip, codes, traces(d))),
        ),
      );
    },
  };
  return estimator;
}

/** None where the program is outside of what is known; it is estimated without, then. */
function tracesOf(d: Dispatch, module: SpirvModule | undefined): readonly Trace[] {
  if (!module) return [];
  try {
    return traceSpirv(module, {
      grid: d.grid,
      bytes: (group, binding) => d.small.find((s) => s.group === group && s.binding === binding)?.bytes,
    });
  } catch {
    return [];
  }
}

function kernelOf(d: Dispatch, chip: Chip, codes: MachineCodes, traces: () => readonly Trace[]): KernelRow {
  const { name, site, times, groups, grid, bytes } = d;
  const small = d.small.map((s) => [s.group, s.binding, ...s.bytes]);
  const key = keyOf("figures", MODEL, codes.key(d, chip), chip, grid, small, bytes);
  let figures = kept<Figures>(key);
  // A spill is looked at again: there may be another way to compile it by now.
  if (!figures || figures.spilled > 0) {
    const compiled = codes.compiled(d, chip);
    if ("error" in compiled) return { name, site, times, groups, failed: compiled.error };
    const threads = codes.spirv(d)!.size.reduce((n, x) => n * x, 1);
    figures = figuresOf(compiled.machine, chip, { groups, bytes, threads, traces: traces() });
    keep(key, figures);
  }
  return { name, site, times, groups, figures };
}

function rowOf(call: Named, chip: Chip, kernels: readonly KernelRow[]): EstimateRow {
  const sum = (of: (f: Figures) => number): number =>
    kernels.reduce((n, k) => n + (k.figures ? of(k.figures) * k.times : 0), 0);
  const us = sum((f) => f.us);
  return {
    workload: call.name,
    what: call.what,
    chip: chip.name,
    us,
    memory_us: sum((f) => f.memoryUs),
    bound_us: sum((f) => Math.max(f.memoryUs, (2 * f.fmas) / peakOf(chip) / 1e6)),
    dispatches: kernels.reduce((n, k) => n + k.times, 0),
    tflops: us > 0 ? (2 * sum((f) => f.fmas)) / us / 1e6 : 0,
    peak_tflops: peakOf(chip),
    unmatched_us: sum((f) => (f.matched ? 0 : f.us)),
    spills: kernels.filter((k) => k.figures && k.figures.spilled > 0).length,
    peers: peerFigures(call.name, chip.name),
    kernels,
  };
}
