// Row reductions with what reads them back. The threads of a workgroup share rows; long rows of which there are few are cut
// into parts, each of which a workgroup folds and leaves behind, and a further launch combines the parts, always in the same
// order, and computes what follows. In: a rows group. Out: one launch, or one for each fold that waits for another, and the
// last.
import {
  asConst,
  ceilDiv,
  type Dim,
  dim,
  equal,
  evaluateAll,
  isMultipleOf,
  max,
  mul,
  NOMINAL,
} from "../../../dims/dim.ts";
import type { DType, Value } from "../../../ir/types.ts";
import { type Axis, loadsOf, type Scalar, type ScalarOf } from "../../../kernel/scalar.ts";
import { trains } from "../../../regions/region.ts";
import { limitOf, subgroupOf, type Target } from "../../../targets.ts";
import { type Family, type Job, type Launches, oneLaunch, temporary } from "../family.ts";
import { type Places, rowsKernel, type Shape } from "./kernel.ts";
import {
  atLeast,
  foldsIn,
  type Power,
  powersOf,
  type RowRoot,
  type Rows,
  rowsOf,
  type Spread,
  spreadOf,
} from "./nest.ts";

type Fold = ScalarOf<"fold">;

/** How the threads of a workgroup stand, and into how many parts a row is cut, at most; 1 is whole. */
type Choice = {
  readonly threads: number;
  readonly rows: number;
  readonly combine: "subgroup" | "shared";
  readonly parts: number;
};

export const rowsFamily: Family<Choice> = {
  name: "rows",
  choices(job) {
    const { group } = job;
    const { target } = job.ctx;
    if (group.kind !== "rows") return [];
    const rows = rowsOf(job);
    const liked = threadsFor(rows, target);
    // In a step many kernels stand beside one another, for which workgroups are of one size.
    const step = trains(job.ctx.fused);
    const whole = [liked, ...[32, 64, 128, 256].filter((n) => n !== liked)].map(
      (threads): Choice => ({ ...shapeFor(rows, target, threads, step), parts: 1 }),
    );
    const cut = partsFor(job, rows);
    if (!cut) return whole;
    return cut.pays ? [cut.choice, ...whole] : [whole[0], cut.choice, ...whole.slice(1)];
  },
  lower(job, choice) {
    const rows = rowsOf(job);
    const shape: Shape = { ...choice, ahead: job.ctx.target.rows.ahead };
    return choice.parts === 1
      ? oneLaunch(rowsKernel(job, rows, shape))
      : inParts(job, rows, shape, choice.parts);
  },
};

const nominal = (d: Dim): number => evaluateAll(d, NOMINAL);
/** The power of two that is not below. */
const power = (n: number): number => 2 ** Math.ceil(Math.log2(Math.max(1, n)));
/** Fours of a row that a thread has before others are given to help it. */
const TURNS = 4;
/** Threads that share a row whose length is known at the call only, where there are rows enough. */
const UNKNOWN = 32;

/** The longest of what runs along a row, in turns of one thread. */
function turnsOf(rows: Rows): number | undefined {
  const axes = [...rows.folds.values(), ...rows.roots.flatMap((q) => q.inner ?? [])];
  const long = axes.map((k) => asConst(k.extent));
  if (long.some((n) => n === undefined)) return undefined;
  const most = Math.max(1, ...(long as number[]));
  return rows.side ? most : Math.ceil(most / 4);
}

/** Turns of the usual threads from which twice as many are worth the longer combining. */
const WORTH = 16;
/** More threads a workgroup where workgroups are few, and rows long. */
function threadsFor(rows: Rows, target: Target): number {
  const { rowThreads } = target;
  if (subgroupOf(target) === rowThreads) return rowThreads;
  const fours = Math.ceil(nominal(rows.row.extent) / (rows.side ? 4 : 1));
  const long = Math.max(...[...rows.folds.values()].map((k) => nominal(k.extent)), 1) / (rows.side ? 1 : 4);
  const most = limitOf(target, "maxComputeInvocationsPerWorkgroup");
  return fours <= target.rows.groups && long >= WORTH * rowThreads
    ? Math.min(2 * rowThreads, most)
    : rowThreads;
}
/** Subgroups of a workgroup, each of which has a row. */
const SUBGROUPS = 4;
/** Several rows a workgroup, where one is not enough for all of its threads and rows are plenty. */
function shapeFor(rows: Rows, target: Target, threads: number, step: boolean): Omit<Choice, "parts"> {
  const lanes = subgroupOf(target);
  if (threads === lanes) {
    const { extent } = rows.row;
    const plenty = nominal(extent) >= SUBGROUPS * target.rows.groups;
    const each = !step && !rows.side && plenty && isMultipleOf(extent, SUBGROUPS) ? SUBGROUPS : 1;
    return { threads: threads * each, rows: each, combine: "subgroup" };
  }
  const turns = turnsOf(rows);
  const many = Math.ceil(nominal(rows.row.extent) / (rows.side ? 4 : 1));
  let share = turns === undefined ? UNKNOWN : Math.min(threads, power(Math.ceil(turns / TURNS)));
  const most = turns === undefined ? threads : Math.min(threads, power(turns));
  while (share < most && many / (threads / share) < target.rows.groups) share *= 2;
  return { threads, rows: threads / Math.min(share, threads), combine: "shared" };
}

// --- parts

/** Parts of a row, at most. */
const MOST = 64;
/** The whole is cut where workgroups leave this part of the device idle. */
const IDLE = 4;
/** Launches for folds that wait for one another, at most. */
const STAGES = 2;

function partsFor(job: Job, rows: Rows): { readonly choice: Choice; readonly pays: boolean } | undefined {
  const { group } = job;
  const { target } = job.ctx;
  const k = lineOf(rows);
  const inner = rows.roots.flatMap((q) => q.inner ?? []);
  if (!k || group.derived || inner.some((a) => !equal(a.extent, k.extent))) return undefined;
  const stages = stagesIn(job, rows);
  if (!stages) return undefined;
  const lanes = subgroupOf(target);
  const threads = lanes ?? target.rowThreads;
  const fours = Math.ceil(nominal(rows.row.extent) / (rows.side ? 4 : 1));
  // Neighbouring rows lie side by side: a workgroup reads as many together as make whole lines of memory.
  const together = lanes || !rows.side ? 1 : Math.min(16, threads, power(fours));
  const groups = Math.ceil(fours / together);
  const length = nominal(k.extent);
  const least = (threads / together) * (rows.side ? 1 : 4) * TURNS;
  const parts = Math.min(MOST, Math.ceil(target.rows.groups / groups), Math.floor(length / least));
  if (parts < 2) return undefined;
  const elements = length * (rows.side ? 4 : 1);
  const reads = rows.roots.some((q) => q.inner !== undefined);
  const { alone, back, backAlong = back } = target.rows;
  const long = (reads ? (rows.side ? back : backAlong) : alone) * (stages.length > 1 ? 2 : 1);
  return {
    choice: { threads, rows: together, combine: lanes ? "subgroup" : "shared", parts },
    pays: elements >= long && fours <= target.rows.groups / IDLE,
  };
}
/** What launches of parts wait for, one by one; undefined where they can't be. */
function stagesIn(job: Job, rows: Rows): Stage[] | undefined {
  const stages = stagesOf(rows);
  return stages && stages.length <= STAGES && bindable(job, rows, stages) ? stages : undefined;
}
export const canBeCut = (job: Job, rows: Rows): boolean => stagesIn(job, rows) !== undefined;
/** The axis that all folds of the rows run along; undefined where there are several, or none. */
function lineOf(rows: Rows): Axis | undefined {
  const own = [...rows.folds].filter(([f]) => isOwn(rows, f));
  const [first] = own;
  // A sum of what is no function of the row is the same in all.
  return own.length > 0 && own.every(([f, k]) => k === first[1] && (!rows.side || f.free.length > 0))
    ? first[1]
    : undefined;
}
/** A fold of a row, and not one within what another folds. */
const isOwn = (rows: Rows, f: Fold): boolean => f.free.every((a) => a === rows.row);

/**
 * Folds that do not wait for one another. A spread among them goes along with the sum that it is taken about, a sum of
 * exponentials with the largest.
 */
interface Stage {
  readonly plain: readonly Fold[];
  readonly spreads: readonly (Spread & { readonly fold: Fold })[];
  readonly powers: readonly (Power & { readonly fold: Fold })[];
}
/** The folds of rows by what they wait for, each list for the ones before. */
function stagesOf(rows: Rows): Stage[] | undefined {
  const stages: Stage[] = [];
  let left = [...rows.folds.keys()].filter((f) => isOwn(rows, f));
  const done = new Set<Fold>();
  const there = (x: Scalar): boolean => foldsIn(x).every((f) => done.has(f) || !isOwn(rows, f));
  while (left.length > 0) {
    const plain = left.filter((f) => there(f.body));
    const along = <Found extends Spread>(of: (fold: Fold, k: Axis) => Found | undefined) =>
      left.flatMap((fold) => {
        const found = of(fold, rows.folds.get(fold) as Axis);
        return found && !plain.includes(fold) && there(found.x) ? [{ ...found, fold }] : [];
      });
    const [apart, below] = [along(spreadOf), along(powersOf)];
    for (const f of plain) done.add(f);
    const spreads = apart.filter((p) => there(p.from));
    const powers = below.filter((p) => plain.includes(p.largest));
    for (const p of [...spreads, ...powers]) done.add(p.fold);
    if (plain.length + spreads.length === 0) return undefined;
    left = left.filter((f) => !done.has(f));
    stages.push({ plain, spreads, powers });
  }
  return stages;
}
/** Whether each launch can bind what it reads beside the parts, which are one buffer a dtype. */
function bindable(job: Job, rows: Rows, stages: readonly Stage[]): boolean {
  const most = limitOf(job.ctx.target, "maxStorageBuffersPerShaderStage");
  const foldsOf = ({ plain, spreads, powers }: Stage): Fold[] => [
    ...plain,
    ...[...spreads, ...powers].map((p) => p.fold),
  ];
  const folds = stages.flatMap(foldsOf);
  const loads = (xs: readonly Scalar[]): Set<Value> => new Set(xs.flatMap(loadsOf).map((l) => l.value));
  const types = new Set(folds.map((f) => f.dtype)).size;
  const parts = stages.every(
    (list) => loads(foldsOf(list).map((f) => f.body)).size + types * stages.length <= most,
  );
  return parts && lastOf(job, rows, types * stages.length) !== undefined;
}
/**
 * The roots of the last launches, by launch: one, where it can bind what all read; else one for elements and one for the
 * rows' values, which few wait for.
 */
function lastOf(job: Job, rows: Rows, parts: number): readonly (readonly RowRoot[])[] | undefined {
  const most = limitOf(job.ctx.target, "maxStorageBuffersPerShaderStage");
  const fits = (roots: readonly RowRoot[]): boolean =>
    new Set([...roots.flatMap((q) => loadsOf(q.x)).map((l) => l.value), ...roots.map((q) => q.value)]).size +
      parts <=
    most;
  if (fits(rows.roots)) return [rows.roots];
  const apart = [rows.roots.filter((q) => q.inner), rows.roots.filter((q) => !q.inner)];
  return apart.every((roots) => roots.length > 0 && fits(roots)) ? apart : undefined;
}

/** Parts of an axis: whole fours, as many as the sizes of the call want. */
function partsOf(extent: Dim, most: number, least: number): { readonly size: Dim; readonly count: Dim } {
  const size = mul(4, max(Math.ceil(least / 4), ceilDiv(extent, 4 * most)));
  return { size, count: ceilDiv(extent, size) };
}

export function inParts(job: Job, rows: Rows, shape: Shape, most: number): Launches {
  const { s, row, side } = rows;
  const k = lineOf(rows) as Axis;
  const least = (shape.threads / shape.rows) * (side ? 1 : 4) * TURNS;
  const { size, count } = partsOf(k.extent, most, least);
  const part = s.axis("part", count);
  const within = s.axis("k", size);
  const first = s.imul(s.axisValue(part), size);
  const at = new Map([[k, s.iadd(first, s.axisValue(within))]]);
  const left = s.iadd(k.extent, s.imul(first, -1));
  const many = asConst(ceilDiv(k.extent, size)) === 1 ? s.dim(k.extent) : s.call("min", s.dim(size), left);
  const even = isMultipleOf(size, 4) && isMultipleOf(k.extent, 4);
  const places: Places = { many, first, whole: k.extent, even };
  const counted = s.cast(many, "f32");

  /** What folds have become: of the parts. */
  const joined = new Map<Scalar, Scalar>();
  const now = (x: Scalar): Scalar => s.rewrite(x, (y) => joined.get(y));
  const over = s.axis("part", count);
  const list: ReturnType<typeof rowsKernel>[] = [];
  const temporaries: Value[] = [];
  const joinedFolds = new Map<Fold, Axis>();
  const keep = (x: Scalar): Scalar => {
    for (const f of foldsIn(x)) if (f.axes[0] === over) joinedFolds.set(f, over);
    return x;
  };
  for (const { plain, spreads, powers } of stagesOf(rows) as Stage[]) {
    const slots = new Map<DType, Fold[]>();
    // Each part's spread is about its own mean, so the sum comes with it.
    const sumOf = (x: Scalar): Fold => s.foldOver("add", [k], x) as Fold;
    const wanted = new Set([
      ...plain,
      ...spreads.flatMap((p) => [sumOf(p.x), p.fold]),
      ...powers.map((p) => p.fold),
    ]);
    for (const f of wanted) slots.set(f.dtype, [...(slots.get(f.dtype) ?? []), f]);
    const place = new Map<Fold, { readonly value: Value; readonly slot: Scalar }>();
    for (const [dtype, folds] of slots) {
      const shapeOf = side ? [dim(folds.length), count, row.extent] : [dim(folds.length), row.extent, count];
      const value = temporary("parts", dtype, shapeOf, job.group.anchor);
      temporaries.push(value);
      folds.forEach((f, i) => void place.set(f, { value, slot: s.dim(i) }));
    }
    const placeOf = (f: Fold) => place.get(f) as { readonly value: Value; readonly slot: Scalar };
    const where = (f: Fold, p: Axis): readonly Scalar[] => {
      const [i, j] = [s.axisValue(p), s.axisValue(row)];
      return [placeOf(f).slot, ...(side ? [i, j] : [j, i])];
    };
    const here = (x: Scalar): Scalar => s.substitute(now(x), at);
    const partial = (combine: Fold["combine"], x: Scalar): Scalar => s.foldOver(combine, [within], x);
    const own = new Map<Fold, Axis>(joinedFolds);
    const root = (f: Fold, x: Scalar): RowRoot => {
      for (const y of foldsIn(x)) if (y.axes[0] === within) own.set(y, within);
      return { value: placeOf(f).value, x, at: where(f, part), inner: undefined };
    };
    const spread = new Map(spreads.map((p) => [p.fold, p]));
    const power = new Map(powers.map((p) => [p.fold, p]));
    const roots = [...wanted].map((f): RowRoot => {
      const below = power.get(f);
      if (below) {
        const most = atLeast(s, partial("max", here(below.x)));
        return root(f, partial("add", s.call("exp", s.call("sub", here(below.x), most))));
      }
      const about = spread.get(f);
      if (!about) return root(f, partial(f.combine, here(f.body)));
      const mean = s.call("mul", partial("add", here(about.x)), s.call("div", s.const("f32", 1), counted));
      const apart = s.call("sub", here(about.x), mean);
      return root(f, partial("add", s.call("mul", apart, apart)));
    });
    const share = { part, count, places: new Map([[within, places]]), each: true };
    const suffix = list.length === 0 ? "_parts" : `_parts_${list.length + 1}`;
    list.push(rowsKernel(job, { s, row, side, roots, folds: own }, shape, suffix, share));
    // What is there once for each part, put together.
    const of = (f: Fold): Scalar => s.load(placeOf(f).value, where(f, over));
    for (const f of plain) joined.set(f, keep(s.foldOver(f.combine, [over], of(f))));
    for (const { fold, largest } of powers) {
      const below = s.call("sub", atLeast(s, of(largest)), now(largest));
      joined.set(fold, keep(s.foldOver("add", [over], s.call("mul", of(fold), s.call("exp", below)))));
    }
    for (const { fold, x, from } of spreads) {
      const number = s.substitute(counted, new Map([[part, s.axisValue(over)]]));
      const mean = s.call("mul", of(sumOf(x)), s.call("div", s.const("f32", 1), number));
      const apart = s.call("sub", mean, now(from));
      const rest = s.call("mul", number, s.call("mul", apart, apart));
      joined.set(fold, keep(s.foldOver("add", [over], s.call("add", of(fold), rest))));
    }
  }
  const names = ["", "_rows"];
  (lastOf(job, rows, temporaries.length) ?? [rows.roots]).forEach((own, i) => {
    const roots = own.map((q) => ({ ...q, x: now(q.x) }));
    const wanted = new Set(roots.flatMap((q) => foldsIn(q.x)));
    const folds = new Map([...joinedFolds].filter(([f]) => wanted.has(f)));
    list.push(last(job, { ...rows, roots, folds }, shape, most, names[i]));
  });
  return { list, temporaries };
}

/** What follows the folds, from their parts: values of rows, and elements, of which each workgroup has some. */
function last(
  job: Job,
  rows: Rows,
  shape: Shape,
  most: number,
  suffix: string,
): ReturnType<typeof rowsKernel> {
  const { s, side, roots } = rows;
  const inner = [...new Set(roots.flatMap((q) => q.inner ?? []))];
  if (inner.length === 0) return rowsKernel(job, rows, shape, suffix);
  // Parts of the elements, of all axes alike.
  const [long] = inner;
  const least = (shape.threads / shape.rows) * (side ? 1 : 4) * TURNS;
  const { size, count } = partsOf(long.extent, most, least);
  const slices = max(count, 1);
  const part = s.axis("slice", slices);
  const first = s.imul(s.axisValue(part), size);
  const places = new Map<Axis, Places>();
  const at = new Map<Axis, Scalar>();
  const own = new Map<Axis, Axis>();
  for (const axis of inner) {
    const within = s.axis("e", size);
    own.set(axis, within);
    at.set(axis, s.iadd(first, s.axisValue(within)));
    const left = s.iadd(axis.extent, s.imul(first, -1));
    places.set(within, {
      many: s.call("min", s.dim(size), left),
      first,
      whole: axis.extent,
      even: isMultipleOf(size, 4) && isMultipleOf(axis.extent, 4),
    });
  }
  const cut = roots.map(
    (q): RowRoot =>
      q.inner
        ? {
            ...q,
            x: s.substitute(q.x, at),
            at: q.at.map((c) => s.substitute(c, at)),
            inner: own.get(q.inner),
          }
        : q,
  );
  return rowsKernel(job, { ...rows, roots: cut }, shape, suffix, {
    part,
    count: slices,
    places,
    each: false,
  });
}
