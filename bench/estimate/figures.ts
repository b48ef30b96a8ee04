// From machine code to figures of a dispatch: loops with turns, mixes, occupancy, bounds and an estimate of time. One for both
// vendors. In: what the compiler gave, the trace of the program, the grid. Out: figures. Registers, spills, workgroup memory and
// counts are facts of real code; what a unit takes is a model's (machine/*-time.ts).
import { type Chip, isGcn, lanesOf } from "./chips.ts";
import { type AmdInstruction, parseAmd } from "./machine/amd.ts";
import { type Run, type Simulated, simulateAmd } from "./machine/amd-time.ts";
import {
  executions,
  findLoops,
  KINDS,
  type Listed,
  type Loop,
  type Mix,
  matchLoops,
  mixOf,
  pathOf,
  type SourceLoop,
  setTurns,
} from "./machine/listing.ts";
import { type NvidiaInstruction, parseNvidia } from "./machine/nvidia.ts";
import { simulateNvidia } from "./machine/nvidia-time.ts";
import { patternOf } from "./patterns.ts";
import type { Trace } from "./spirv/trace.ts";

/** What a compiler made of a kernel. */
export interface MachineCode {
  readonly listing: string;
  readonly wave: number;
  /** Of a thread. */
  readonly registers: number;
  /** Registers that went to memory. */
  readonly spilled: number;
  /** Bytes of memory of a thread's own: of spilled registers, and of arrays that are indexed. */
  readonly scratch: number;
  /** Bytes of workgroup memory. */
  readonly shared: number;
  /** Waves per SIMD, where the compiler says it. */
  readonly waves?: number;
}
export interface Work {
  readonly groups: number;
  /** Of the tensors it is given, once each. */
  readonly bytes: number;
  readonly threads: number;
  /** By kind of workgroup; none where the program could not be traced. */
  readonly traces: readonly Trace[];
}
export interface Figures {
  readonly registers: number;
  readonly spilled: number;
  readonly scratch: number;
  readonly shared: number;
  readonly instructions: number;
  readonly threads: number;
  readonly groups: number;
  /** Of workgroups. */
  readonly kinds: number;
  /** Workgroups that a unit holds, and waves (or warps) of a SIMD then. */
  readonly fit: number;
  readonly occupancy: number;
  /** Whether all loops were found: their turns are right. */
  readonly matched: boolean;
  readonly whole: Mix;
  /** A turn of the hot loop. */
  readonly inner: Mix | undefined;
  /** Multiply-adds of all issue slots of the hot loop (of AMD's vector units). */
  readonly fmaShare: number;
  /** Of the peak of multiply-adds at most, by bound. */
  readonly bounds: { readonly issue: number; readonly lds: number; readonly cache: number };
  /** Of the grid by the model, in microseconds, and of the tensors through memory once. */
  readonly computeUs: number;
  readonly memoryUs: number;
  /** The larger of the two. */
  readonly us: number;
  /** Multiply-adds of the whole grid. */
  readonly fmas: number;
}

/** A mean of mixes by their weights. */
function meanOf(mixes: readonly (readonly [Mix, number])[]): Mix {
  const mean = (of: (mix: Mix) => number): number => mixes.reduce((n, [mix, w]) => n + w * of(mix), 0);
  return {
    total: mean((m) => m.total),
    fmas: mean((m) => m.fmas),
    valuSlots: mean((m) => m.valuSlots),
    ldsReadBytes: mean((m) => m.ldsReadBytes),
    ldsWriteBytes: mean((m) => m.ldsWriteBytes),
    loadBytes: mean((m) => m.loadBytes),
    storeBytes: mean((m) => m.storeBytes),
    kinds: Object.fromEntries(KINDS.map((kind) => [kind, mean((m) => m.kinds[kind] ?? 0)])),
  };
}

/** Turns of the outer loops that are simulated, at least and at most; the rest goes on as they do. */
const TURNS = { least: 8, most: 20 };
/** As many turns as come to so many instructions. */
const INSTRUCTIONS = 6000;
/** A kernel with fewer multiply-adds is not about them. */
export const ARITHMETIC = 64;

export function figuresOf(code: MachineCode, chip: Chip, work: Work): Figures {
  const machine = machineOf(code, chip);
  const { list } = machine;
  const { traces, threads, groups } = work;
  const loops = findLoops(list);
  const matched = matchLoops(loops, longestTurns(traces), list);
  const waves = Math.ceil(threads / code.wave);
  const { fit, occupancy } = occupancyOf(code, chip, waves);
  const shape: Shape = { chip, wave: code.wave, waves, threads, fit };
  const kinds = (traces.length > 0 ? traces : [undefined]).map((trace) =>
    kindOf(machine, loops, trace, groups, shape),
  );
  // Kinds run beside each other: it takes as long as the longest of them, or as the units need for all.
  const together = kinds.reduce((n, k) => n + k.load, 0);
  const computeUs = Math.max(...kinds.map((k) => k.alone), together) / chip.ghz / 1e3;
  const memoryUs = work.bytes / chip.dram / 1e3;
  const whole = meanOf(kinds.map((k) => [k.whole, k.groups / groups]));
  const main = kinds.reduce((a, b) => (b.groups * b.whole.total > a.groups * a.whole.total ? b : a));
  return {
    registers: code.registers,
    spilled: code.spilled,
    scratch: code.scratch,
    shared: code.shared,
    instructions: list.length,
    threads,
    groups,
    kinds: kinds.length,
    fit,
    occupancy,
    matched,
    whole,
    inner: main.inner,
    fmaShare: main.fmaShare,
    bounds: main.bounds,
    computeUs,
    memoryUs,
    us: Math.max(computeUs, memoryUs),
    fmas: whole.fmas * threads * groups,
  };
}

/** What is the same for all workgroups of a dispatch. */
interface Shape {
  readonly chip: Chip;
  readonly wave: number;
  readonly waves: number;
  readonly threads: number;
  /** Workgroups that a unit holds. */
  readonly fit: number;
}
/** One kind of workgroup. */
interface Kind extends Pick<Figures, "whole" | "inner" | "fmaShare" | "bounds"> {
  readonly groups: number;
  /** Cycles of a grid of those alone. */
  readonly alone: number;
  /** Cycles of all units for them, where they are among others. */
  readonly load: number;
}

function kindOf(
  machine: Machine,
  loops: readonly Loop[],
  trace: Trace | undefined,
  all: number,
  shape: Shape,
): Kind {
  const { list } = machine;
  const { chip, fit } = shape;
  const groups = trace?.groups ?? all;
  setTurns(loops, trace?.loops);
  if (trace) turnUnrolled(list, loops, trace);
  annotate(list, loops, trace);
  const runs = executions(list, loops);
  const whole = mixOf(list, (x) => runs[x.at]);
  const hot = hottest(list, loops, runs);
  const inner = hot && mixOf(list.slice(hot.first, hot.last + 1), (x) => runs[x.at] / runs[hot.first]);
  const lead = inner ?? whole;
  const slots = chip.vendor === "amd" ? lead.valuSlots : lead.total;
  const known = new Map<number, number>();
  const cyclesOf = (resident: number): number => {
    if (!known.has(resident)) known.set(resident, unitCycles(machine, loops, resident, shape));
    return known.get(resident)!;
  };
  const residentOf = (n: number): number => Math.max(1, Math.min(fit, Math.ceil(n / chip.units)));
  const batch = chip.units * residentOf(groups);
  const rounds = Math.floor(groups / batch);
  const last = Math.ceil((groups - rounds * batch) / chip.units);
  const alone = (rounds > 0 ? rounds * cyclesOf(residentOf(groups)) : 0) + (last > 0 ? cyclesOf(last) : 0);
  const load = groups === all ? 0 : (groups / (chip.units * residentOf(all))) * cyclesOf(residentOf(all));
  return {
    groups,
    whole,
    inner,
    fmaShare: slots > 0 ? lead.fmas / slots : 0,
    bounds: boundsOf(list, runs, whole, shape),
    alone,
    load,
  };
}

/** All loops, with their longest turns in any kind of workgroup. */
const longestTurns = (traces: readonly Trace[]): SourceLoop[] | undefined =>
  traces[0]?.loops.map(({ id, parent, literal }) => ({
    id,
    parent,
    literal,
    trips: Math.max(...traces.map((t) => t.loops[id].trips)),
  }));

/** A listing with the model it is simulated by. */
interface Machine {
  readonly list: readonly Listed[];
  readonly simulate: (path: readonly number[], run: Run) => Simulated;
}
function machineOf(code: MachineCode, chip: Chip): Machine {
  if (chip.vendor === "amd") {
    const list: readonly AmdInstruction[] = parseAmd(code.listing);
    return { list, simulate: (path, run) => simulateAmd(list, path, chip, run) };
  }
  const list: readonly NvidiaInstruction[] = parseNvidia(code.listing);
  return { list, simulate: (path, run) => simulateNvidia(list, path, chip, run) };
}

/** How many workgroups a unit holds. */
function occupancyOf(code: MachineCode, chip: Chip, waves: number): { fit: number; occupancy: number } {
  if (chip.vendor === "amd") {
    const occupancy = code.waves ?? chip.slots;
    const byMemory = code.shared ? Math.floor(chip.lds / code.shared) : Number.POSITIVE_INFINITY;
    return { fit: Math.max(1, Math.min(Math.floor((occupancy * chip.simds) / waves), byMemory)), occupancy };
  }
  const perWarp = Math.ceil((Math.max(code.registers, 16) * 32) / 256) * 256;
  const byRegisters = Math.floor((Math.floor(16384 / perWarp) * 4) / waves);
  const byMemory = Math.floor(chip.shared / (code.shared + 1024));
  const fit = Math.max(1, Math.min(byRegisters, Math.floor(chip.warps / waves), chip.blocks, byMemory));
  return { fit, occupancy: (fit * waves) / 4 };
}

/** A loop that the compiler unrolled in part turns less often: its body moves several times the bytes of the program's. */
function turnUnrolled(list: readonly Listed[], loops: readonly Loop[], trace: Trace): void {
  for (const l of loops) {
    if (l.source === undefined || l.turns < 2 || loops.some((x) => x.parent === l.id)) continue;
    const moved = list
      .slice(l.first, l.last + 1)
      .reduce((n, x) => n + (x.kind === "lds" || (x.kind === "vmem" && !x.spill) ? x.bytes : 0), 0);
    const source = trace.loops[l.source];
    const inside = (loop: number | undefined): boolean =>
      loop !== undefined && (loop === l.source || inside(trace.loops[loop].parent));
    const wanted = trace.sites.reduce(
      (n, s) => n + (inside(s.loop) ? (s.bytes * s.calls) / Math.max(1, source.turns) : 0),
      0,
    );
    const ratio = wanted > 0 ? moved / wanted : 1;
    const factor = Math.round(ratio);
    // Where it does not divide the turns, the rest runs before or after the loop: only an exact ratio is believed then.
    const exact = Math.abs(ratio - factor) < 0.01 && factor < source.trips;
    if (factor >= 2 && (source.trips % factor === 0 || exact)) l.turns = Math.floor(source.trips / factor);
  }
}

/** Bank passes and lines of the program's accesses, given to the listing's accesses of the same loop and width. */
function annotate(list: readonly Listed[], loops: readonly Loop[], trace: Trace | undefined): void {
  for (const x of list) {
    x.conflict = undefined;
    x.lines = undefined;
    x.sectors = undefined;
  }
  if (!trace) return;
  const kept = new Set(loops.map((l) => l.source));
  // The loop of the listing that an access of the program is in: its own, or the first one around that was not unrolled.
  const homeOf = (loop: number | undefined): number | undefined =>
    loop === undefined || kept.has(loop) ? loop : homeOf(trace.loops[loop].parent);
  const homes = trace.sites.map((s) => homeOf(s.loop));
  for (const x of list) {
    if ((x.kind !== "lds" && x.kind !== "vmem") || x.spill) continue;
    const around = loops.findLast((l) => l.first <= x.at && x.at <= l.last);
    if (around?.zeroes) continue;
    const space = x.kind === "lds" ? "workgroup" : "storage";
    const like = trace.sites.filter(
      (s, i) => s.space === space && s.write === x.write && s.calls > 0 && homes[i] === around?.source,
    );
    if (like.length === 0) continue;
    const same = like.filter((s) => s.bytes === x.bytes);
    const use = same.length > 0 ? same : like;
    const calls = use.reduce((n, s) => n + s.calls, 0);
    const patterns = use.map((s) => (x.bytes <= s.bytes ? s : patternOf(s, trace.lanes, x.bytes)));
    const mean = (of: "conflict" | "lines" | "sectors"): number =>
      use.reduce((n, s, i) => n + patterns[i][of] * s.calls, 0) / calls;
    if (x.kind === "lds") x.conflict = mean("conflict");
    else {
      x.lines = mean("lines");
      x.sectors = mean("sectors");
    }
  }
}

/** The innermost loop around most multiply-adds (or, without any, most work). */
function hottest(list: readonly Listed[], loops: readonly Loop[], runs: readonly number[]): Loop | undefined {
  const candidates = loops.filter((l) => !l.zeroes);
  const body = (l: Loop): readonly Listed[] => list.slice(l.first, l.last + 1);
  const sum = (l: Loop, of: (x: Listed) => number): number =>
    body(l).reduce((n, x) => n + runs[x.at] * of(x), 0);
  const fmas = candidates.map((l) => sum(l, (x) => x.fmas));
  const most = Math.max(0, ...fmas);
  if (most <= ARITHMETIC) {
    const all = candidates.map((l) => sum(l, () => 1));
    return candidates[all.indexOf(Math.max(...all))];
  }
  const main = candidates
    .filter((_, i) => fmas[i] >= 0.5 * most)
    .sort((a, b) => a.last - a.first - (b.last - b.first));
  // The loop over tiles (around a barrier) says more than the loop over k within it.
  return main.find((l) => body(l).some((x) => x.kind === "barrier")) ?? main[0];
}

/** Shares of the peak of multiply-adds that issue, workgroup memory and the cache's pipe leave. */
function boundsOf(
  list: readonly Listed[],
  runs: readonly number[],
  whole: Mix,
  { chip, wave, waves, threads }: Shape,
): Figures["bounds"] {
  const gcn = chip.vendor === "amd" && isGcn(chip);
  const lanes = lanesOf(chip);
  const pipes = chip.vendor === "amd" && !gcn ? 2 : 1;
  const sum = (kind: Listed["kind"], of: (x: Listed) => number): number =>
    (list.reduce((n, x) => n + (x.kind === kind ? runs[x.at] * of(x) : 0), 0) * waves) / pipes;
  const half = wave / 32;
  const ideal = (whole.fmas * threads) / lanes;
  const issue = chip.vendor === "amd" ? (whole.valuSlots * threads) / lanes : (whole.total * waves) / 4;
  const share = (cycles: number): number => (cycles > 0 ? Math.min(1, ideal / cycles) : 1);
  return {
    issue: share(issue),
    lds: share(sum("lds", (x) => half * Math.max(1, x.bytes / 4) * (x.conflict ?? 1))),
    cache: share(sum("vmem", (x) => half * Math.max(x.bytes / 4, x.lines ?? 1) * (gcn ? 2 : 1))),
  };
}

/** Cycles until a unit is through with so many workgroups at a time. */
function unitCycles(
  { list, simulate }: Machine,
  loops: readonly Loop[],
  groups: number,
  { wave, waves }: Shape,
): number {
  const outer = loops.filter((l) => l.parent === undefined);
  const longest = Math.max(0, ...outer.map((l) => l.turns));
  const run = (most: number | ((l: Loop) => number)): number =>
    simulate(pathOf(list, loops, most), { wave, waves, groups }).cycles;
  const turn = pathOf(list, loops, 2).length - pathOf(list, loops, 1).length;
  const turns = Math.min(TURNS.most, Math.max(TURNS.least, Math.ceil(INSTRUCTIONS / Math.max(1, turn))));
  if (longest <= turns * 1.2) return run(Number.POSITIVE_INFINITY);
  const few = Math.floor(turns * 0.4);
  const begun = run(turns);
  // Of loops that follow each other, each goes on at its own pace.
  return outer
    .filter((l) => l.turns > turns)
    .reduce((sum, l) => {
      const less = run((x) => (x === l ? few : turns));
      return sum + ((begun - less) / (turns - few)) * (l.turns - turns);
    }, begun);
}
