// What both machine languages share: instructions, the loops of a listing and their match with the loops of the program, mixes
// of instructions, and the way of a wave through them. In: parsed listings (amd.ts, nvidia.ts). Out: counts and paths.
import type { TracedLoop } from "../spirv/trace.ts";

export const KINDS = [
  "fma",
  "float",
  "trans",
  "int",
  "cmp",
  "move",
  "lds",
  "vmem",
  "smem",
  "salu",
  "branch",
  "wait",
  "barrier",
  "nop",
] as const;
export type Kind = (typeof KINDS)[number];

/** What an instruction's name says of it. */
export interface Class {
  readonly kind: Kind;
  /** Issue slots of the vector units; 0 for the rest. */
  readonly valu: number;
  /** Multiply-adds of a lane. */
  readonly fmas: number;
  /** Of an access, of a lane. */
  readonly bytes: number;
  readonly write: boolean;
  /** To memory of a thread's own: a spilled register, or an array that is indexed. */
  readonly spill: boolean;
}
export interface Listed extends Class {
  readonly at: number;
  readonly op: string;
  /** Whether it always branches. */
  readonly always: boolean;
  /** Index of the instruction it branches to. */
  readonly target: number | undefined;
  // From the trace (figures.ts): passes over banks, lines and sectors for 32 lanes.
  conflict?: number;
  lines?: number;
  sectors?: number;
}
export interface Loop {
  readonly id: number;
  readonly first: number;
  readonly last: number;
  readonly parent: number | undefined;
  /** Of the kind of workgroup that is looked at; 0: it is not entered. */
  turns: number;
  /** The program's loop that it is. */
  source?: number;
  /** Made by the compiler: zeroes workgroup memory. */
  zeroes?: boolean;
}

/** Backward branches make loops, in order; of two, the inner one comes later. */
export function findLoops(list: readonly Listed[]): Loop[] {
  const spans = new Map<number, number>();
  list.forEach(({ target }, i) => {
    if (target !== undefined && target <= i) spans.set(target, Math.max(spans.get(target) ?? 0, i));
  });
  const sorted = [...spans].sort(([a, b], [c, d]) => a - c || d - b);
  return sorted.map(([first, last], id) => {
    const around = sorted.findLastIndex(([a, b], i) => i !== id && a <= first && b >= last && i < id);
    return { id, first, last, parent: around < 0 ? undefined : around, turns: 1 };
  });
}

export interface Mix {
  total: number;
  fmas: number;
  valuSlots: number;
  ldsReadBytes: number;
  ldsWriteBytes: number;
  loadBytes: number;
  storeBytes: number;
  readonly kinds: Partial<Record<Kind, number>>;
}
/** Counts by kind, with bytes moved by a lane. */
export function mixOf(list: readonly Listed[], weight: (x: Listed) => number): Mix {
  const out: Mix = {
    total: 0,
    fmas: 0,
    valuSlots: 0,
    ldsReadBytes: 0,
    ldsWriteBytes: 0,
    loadBytes: 0,
    storeBytes: 0,
    kinds: {},
  };
  for (const x of list) {
    const w = weight(x);
    if (w === 0 || x.kind === "nop") continue;
    out.total += w;
    out.kinds[x.kind] = (out.kinds[x.kind] ?? 0) + w;
    out.fmas += w * x.fmas;
    out.valuSlots += w * x.valu;
    if (x.kind === "lds") out[x.write ? "ldsWriteBytes" : "ldsReadBytes"] += w * x.bytes;
    if (x.kind === "vmem") out[x.write ? "storeBytes" : "loadBytes"] += w * x.bytes;
  }
  return out;
}

/** A loop of the program, by its longest turn in any kind of workgroup. */
export type SourceLoop = Pick<TracedLoop, "id" | "parent" | "literal" | "trips">;

/**
 * Finds for each loop of the listing its loop in the program: in order, where unrolled ones are missing. Returns whether all
 * were found.
 */
export function matchLoops(
  loops: readonly Loop[],
  traced: readonly SourceLoop[] | undefined,
  list: readonly Listed[],
): boolean {
  const top = loops.filter((l) => l.parent === undefined);
  for (const l of top) l.zeroes = zeroes(l, list);
  if (!traced) return loops.every((l) => l.zeroes);
  const within = (l: SourceLoop): SourceLoop[] => [l, ...kids(l).flatMap(within)];
  const kids = (l: SourceLoop): SourceLoop[] => traced.filter((x) => x.parent === l.id);
  let all = true;
  const place = (mine: readonly Loop[], theirs: readonly SourceLoop[]): void => {
    /** What is left of their loops where some were unrolled. */
    const left = (unrolled: ReadonlySet<number>): SourceLoop[] => {
      const out: SourceLoop[] = [];
      const add = (l: SourceLoop): void => {
        if (unrolled.has(l.id)) kids(l).forEach(add);
        else out.push(l);
      };
      theirs.forEach(add);
      return out;
    };
    // Those of constant length unroll first, short ones before long ones.
    const order = theirs
      .flatMap(within)
      .sort((a, b) => Number(b.literal > 0) - Number(a.literal > 0) || a.trips - b.trips);
    const fitting = (candidates: readonly SourceLoop[]): SourceLoop[] | undefined => {
      for (let n = 0; n <= candidates.length; n++) {
        const rest = left(new Set(candidates.slice(0, n).map((l) => l.id)));
        if (rest.length === mine.length) return rest;
      }
      return undefined;
    };
    const found = fitting(order.filter((l) => l.literal > 0)) ?? fitting(order);
    if (!found) all = false;
    mine.forEach((l, i) => {
      const own = found?.[i];
      l.source = own?.id;
      place(
        loops.filter((x) => x.parent === l.id),
        own ? kids(own) : [],
      );
    });
  };
  place(
    top.filter((l) => !l.zeroes),
    traced.filter((l) => l.parent === undefined),
  );
  return all;
}
function zeroes(l: Loop, list: readonly Listed[]): boolean {
  const body = list.slice(l.first, l.last + 1);
  const stores = body.some((x) => x.kind === "lds" && x.write);
  const more = body.some((x) => x.kind === "vmem" || x.fmas > 0 || (x.kind === "lds" && !x.write));
  return stores && !more && !list.slice(0, l.first).some((x) => x.kind === "vmem");
}

/** Gives loops the turns that they have in one kind of workgroup; those that were not found turn once. */
export function setTurns(loops: readonly Loop[], traced: readonly TracedLoop[] | undefined): void {
  for (const l of loops) {
    const own = l.source === undefined ? undefined : traced?.[l.source];
    l.turns = !own ? 1 : own.entries > 0 ? Math.max(1, own.trips) : 0;
  }
}

/** How often each instruction runs. */
export const executions = (list: readonly Listed[], loops: readonly Loop[]): number[] =>
  list.map((_, i) => loops.reduce((n, l) => (l.first <= i && i <= l.last ? n * l.turns : n), 1));

/**
 * The indices that one wave runs, in order, with at most `most` turns of the outermost loops. Forward branches are not taken,
 * so both sides of a divergent if run; but an else is jumped over where the then-side says so, of two sides the one with loops
 * is taken, and what has only loops that are not entered is jumped over.
 */
export function pathOf(
  list: readonly Listed[],
  loops: readonly Loop[],
  most: number | ((outer: Loop) => number),
): number[] {
  const limit = (l: Loop): number => (typeof most === "number" ? most : most(l));
  const out: number[] = [];
  const starts = new Map<number, Loop[]>();
  for (const l of loops) starts.set(l.first, [...(starts.get(l.first) ?? []), l]);
  const looped = (a: number, b: number): boolean => loops.some((l) => a <= l.first && l.last <= b);
  /** Whether there are loops in a stretch, all of which are not entered. */
  const idle = (a: number, b: number): boolean => {
    const within = loops.filter((l) => a <= l.first && l.last <= b);
    return within.length > 0 && within.every((l) => l.turns === 0);
  };
  const walk = (first: number, last: number, inside: readonly Loop[]): void => {
    for (let i = first; i <= last; ) {
      const l = (starts.get(i) ?? []).find((x) => !inside.includes(x) && x.last <= last);
      if (l) {
        const turns = Math.round(l.parent === undefined ? Math.min(l.turns, limit(l)) : l.turns);
        for (let t = 0; t < turns; t++) walk(l.first, l.last, [...inside, l]);
        i = l.last + 1;
        continue;
      }
      const x = list[i];
      out.push(i);
      const to = x.target !== undefined && x.target > i && x.target <= last ? x.target : undefined;
      const before = to === undefined ? undefined : list[to - 1];
      const other = before?.always ? before.target : undefined;
      const sideWithLoops =
        to !== undefined && other !== undefined && other > to && looped(to, other) && !looped(i, to - 1);
      i = to !== undefined && (x.always || sideWithLoops || idle(i + 1, to - 1)) ? to : i + 1;
    }
  };
  walk(0, list.length - 1, []);
  return out;
}
