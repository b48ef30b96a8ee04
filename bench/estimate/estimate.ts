// `npm run bench -- --estimate CHIPS`: what calls would take on GPUs that are not here. In: chips, calls, files. Out: a row for each
// call and chip, with its kernels. README.md says what is a fact of machine code in it and what is a model's.
import type { StorageName } from "../../compiler/core/index.ts";
import { type Call, calls, callsOfFile, type Dispatch, dispatchesOf, targetFor } from "./calls.ts";
import { type Chip, chips, peakOf } from "./chips.ts";
import { type Figures, figuresOf } from "./figures.ts";
import { keep, kept, keyOf, MachineCodes } from "./machine-code.ts";
import { dawnParts, isMissing, nvidiaParts, setUp } from "./parts.ts";
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
}

/** The rows; or in words why there can be none on this machine. */
export function estimate(
  options: EstimateOptions,
  say: (line: string) => void,
): readonly EstimateRow[] | { readonly missing: string } {
  const wanted = options.chips.map((name) => chips.find((c) => c.name === name)!);
  const needsNvidia = wanted.some((c) => c.vendor === "nvidia");
  setUp(needsNvidia, say);
  const dawn = dawnParts();
  if (isMissing(dawn)) return dawn;
  const nvidia = nvidiaParts();
  const can = wanted.filter((c) => c.vendor === "amd" || !isMissing(nvidia));
  if (isMissing(nvidia) && needsNvidia) say(nvidia.missing);
  if (can.length === 0) return isMissing(nvidia) ? nvidia : { missing: "no chip is named" };

  const codes = new MachineCodes(dawn, nvidia, can);
  const rows: EstimateRow[] = [];
  const asked = calls.filter((c) => options.only.includes(c.name));
  for (const file of options.files) asked.push(...callsOfFile(file, options.sizes, options.storage));
  for (const known of asked) {
    say(`${known.name} (${known.what})`);
    const call = known.make();
    for (const target of new Set(can.map(targetFor))) {
      const list = dispatchesOf(call, target);
      codes.prepare(list, say);
      const traced = new Map<Dispatch, readonly Trace[]>();
      const traces = (d: Dispatch) => (): readonly Trace[] => {
        const found = traced.get(d) ?? tracesOf(d, codes.spirv(d));
        traced.set(d, found);
        return found;
      };
      for (const chip of can.filter((c) => targetFor(c) === target))
        rows.push(
          rowOf(
            call,
            chip,
            list.map((d) => kernelOf(d, chip, codes, traces(d))),
          ),
        );
    }
  }
  return rows;
}

/** None where the program is outside of what is known; it is estimated without, then. */
function tracesOf(d: Dispatch, module: SpirvModule | undefined): readonly Trace[] {
  if (!module) return [];
  try {
    return traceSpirv(module, {
      grid: d.grid,
      bytes: (group, binding) => (group === 0 && binding === 0 ? d.block : undefined),
    });
  } catch {
    return [];
  }
}

function kernelOf(d: Dispatch, chip: Chip, codes: MachineCodes, traces: () => readonly Trace[]): KernelRow {
  const { name, site, times, groups, grid, bytes } = d;
  const key = keyOf("figures", MODEL, codes.key(d, chip), chip, grid, [...d.block], bytes);
  let figures = kept<Figures>(key);
  if (!figures) {
    const compiled = codes.compiled(d, chip);
    if ("error" in compiled) return { name, site, times, groups, failed: compiled.error };
    const threads = codes.spirv(d)!.size.reduce((n, x) => n * x, 1);
    figures = figuresOf(compiled.machine, chip, { groups, bytes, threads, traces: traces() });
    keep(key, figures);
  }
  return { name, site, times, groups, figures };
}

function rowOf(call: Call, chip: Chip, kernels: readonly KernelRow[]): EstimateRow {
  const sum = (of: (f: Figures) => number): number =>
    kernels.reduce((n, k) => n + (k.figures ? of(k.figures) * k.times : 0), 0);
  const us = sum((f) => f.us);
  return {
    workload: call.name,
    what: call.what,
    chip: chip.name,
    us,
    memory_us: sum((f) => f.memoryUs),
    dispatches: kernels.reduce((n, k) => n + k.times, 0),
    tflops: us > 0 ? (2 * sum((f) => f.fmas)) / us / 1e6 : 0,
    peak_tflops: peakOf(chip),
    unmatched_us: sum((f) => (f.matched ? 0 : f.us)),
    spills: kernels.filter((k) => k.figures && k.figures.spilled > 0).length,
    peers: peerFigures(call.name, chip.name),
    kernels,
  };
}
