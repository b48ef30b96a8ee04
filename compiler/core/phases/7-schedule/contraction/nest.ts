// A contraction (matmul, conv, their gradients) as rows x columns over k, with whatever is fused before and after. A tiling
// window (pooling) enumerates its positions as consecutive rows, so that the pool is a combination of accumulators in the
// epilogue. In: a contraction group with layouts. Out: a Nest, and its epilogue as a function of a kernel.

import { InternalError } from "../../../diagnostics/index.ts";
import {
  add,
  asConst,
  type Dim,
  dim,
  equal,
  isConst,
  isMultipleOf,
  mul,
  product,
  roundUp,
} from "../../../dims/dim.ts";
import type { DType, Value } from "../../../ir/types.ts";
import { bin, type Stmt, variable, type Width, widen, type X } from "../../../kernel/code.ts";
import { applySplits, type Contraction, contractionOf, splitsOf } from "../../../kernel/contraction.ts";
import { rowMajor } from "../../../kernel/coordinates.ts";
import type { Emitter } from "../../../kernel/emitter.ts";
import { lanesAlong } from "../../../kernel/facts.ts";
import { foldOf, resolved, type ScalarContext } from "../../../kernel/lowering.ts";
import type { Axis, Scalar, ScalarOf } from "../../../kernel/scalar.ts";
import { children, foldsOf, loadsBesideFolds, loadsOf } from "../../../kernel/scalar.ts";
import type { Region } from "../../../regions/region.ts";
import { decode, extentOf, groupLowering, lowerRoot } from "../common.ts";
import type { ScheduleContext } from "../family.ts";

export interface Segment {
  readonly k: readonly Axis[];
  /** Depends on rows, batch and k; on columns, batch and k. */
  readonly a: Scalar;
  readonly b: Scalar;
}
/** A contraction in linear row, column and batch axes: what every family of contractions needs to know. */
export interface Nest {
  readonly s: ScalarContext;
  readonly row: Axis;
  readonly col: Axis;
  readonly batch: Axis;
  /** What is summed: one product over its own k each (a sum of contractions has several). */
  readonly segments: readonly Segment[];
  /** Rows that one result needs (the size of the fused window). */
  readonly window: number;
  readonly dtype: "f32" | "f16";
  /** What is behind the sums. */
  readonly epilogue: Epilogue;
}
/** From the sums to what is stored. */
interface Epilogue {
  readonly values: readonly Value[];
  /** The axes of the first of them. */
  readonly out: readonly Axis[];
  /** An element of each value, and where it is stored. */
  readonly roots: readonly Scalar[];
  readonly where: readonly (readonly Scalar[])[];
  /** The sum of all segments, as it stands in the roots. */
  readonly total: Scalar;
  readonly windows: readonly ScalarOf<"fold">[];
  readonly windowAxes: readonly Axis[];
  readonly windowExtents: readonly number[];
  /** The axes that the linear row runs over, and all axes in terms of the linear ones. */
  readonly rows: readonly Axis[];
  /** How far the linear row runs over each: the innermost may have room behind it. */
  readonly extents: readonly Dim[];
  readonly to: ReadonlyMap<Axis, Scalar>;
}

const sameShape = (a: Value, b: Value): boolean =>
  a.type.shape.length === b.type.shape.length && a.type.shape.every((d, i) => d.key === b.type.shape[i].key);

/** The contraction folds in an expression. */
function contractionFolds(x: Scalar): ScalarOf<"fold">[] {
  const out: ScalarOf<"fold">[] = [];
  const seen = new Set<Scalar>();
  const visit = (y: Scalar): void => {
    if (seen.has(y)) return;
    seen.add(y);
    if (y.kind === "fold" && (contractionOf(y) || splitsOf(y).length > 0)) {
      out.push(y);
      return;
    }
    for (const c of children(y)) visit(c);
  };
  visit(x);
  return out;
}

/** An element of each root at the place of the first root's element. */
function lowerRoots(ctx: ScheduleContext, g: Region) {
  const s = groupLowering(ctx, g);
  const first = g.roots[0];
  const outAxes = first.type.shape.map((d, i) => s.axis(`i${i}`, d));
  const at0 = outAxes.map((a) => s.axisValue(a));
  // Roots may show the same elements under another shape.
  const linear = rowMajor(s, at0, first.type.shape);
  const where: Scalar[][] = g.roots.map((r) => (sameShape(r, first) ? at0 : decode(s, linear, r.type.shape)));
  return { s, first, outAxes, where, roots: g.roots.map((r, i) => lowerRoot(s, r, where[i])) };
}

/**
 * A row reduction that is the product of a vector and a matrix, as a contraction of one row: the axes that only one factor
 * sees are columns.
 */
export function vectorNestOf(ctx: ScheduleContext, g: Region): Nest | undefined {
  const many = product(g.roots[0].type.shape);
  if ([...g.roots, ...g.anchor.outs].some((r) => !equal(product(r.type.shape), many))) return undefined;
  const { s, first, outAxes, where, roots } = lowerRoots(ctx, g);
  const folds = new Set(roots.flatMap(foldsOf));
  const [fold] = folds;
  if (folds.size !== 1 || fold.combine !== "add" || (fold.dtype !== "f32" && fold.dtype !== "f16"))
    return undefined;
  if (fold.body.kind !== "call" || fold.body.fn !== "mul") return undefined;
  const [p, q] = fold.body.args;
  const own = (x: Scalar, y: Scalar): Axis[] =>
    x.free.filter((a) => !fold.axes.includes(a) && !y.free.includes(a));
  if ((own(p, q).length === 0) === (own(q, p).length === 0)) return undefined;
  const [vector, matrix] = own(p, q).length === 0 ? [p, q] : [q, p];
  const live = ctx.layouts.order(first).map((i) => outAxes[i]);
  const cols = live.filter((a) => own(matrix, vector).includes(a));
  const batches = live.filter((a) => vector.free.includes(a));
  if (live.some((a) => !isConst(a.extent, 1) && !cols.includes(a) && !batches.includes(a))) return undefined;
  const row = s.axis("row", 1);
  const col = s.axis("col", extentOf(cols));
  const batch = s.axis("batch", extentOf(batches));
  const to = new Map<Axis, Scalar>();
  for (const [linear, axes] of [
    [col, cols],
    [batch, batches],
  ] as const)
    decode(
      s,
      s.axisValue(linear),
      axes.map((a) => a.extent),
    ).forEach((x, i) => void to.set(axes[i], x));
  return {
    s,
    row,
    col,
    batch,
    segments: [{ k: fold.axes, a: s.substitute(vector, to), b: s.substitute(matrix, to) }],
    window: 1,
    dtype: fold.dtype,
    epilogue: {
      values: g.roots,
      out: outAxes,
      roots,
      where,
      total: fold,
      windows: [],
      windowAxes: [],
      windowExtents: [],
      rows: [],
      extents: [],
      to,
    },
  };
}

/** `whole`: the linear row runs over whole so many of its innermost axis; what is behind its end is not stored. */
export function nestOf(ctx: ScheduleContext, g: Region, whole = 1): Nest | undefined {
  const { layouts } = ctx;
  const lowered = lowerRoots(ctx, g);
  const { s, first, outAxes } = lowered;
  let { where, roots } = lowered;
  // Grouped contractions: split the channel axis into group and member.
  let fold = contractionFolds(roots[0])[0];
  if (!fold) return undefined;
  const splits = splitsOf(fold);
  const splitMap = new Map<Axis, { group: Axis; member: Axis }>();
  if (splits.length > 0 && !contractionOf(fold)) {
    const by = applySplits(s, s.dim(0), splits);
    for (const [axis, p] of by.parts) splitMap.set(axis, p);
    const sub = new Map<Axis, Scalar>();
    for (const sp of splits) {
      const p = by.parts.get(sp.axis) as { group: Axis; member: Axis };
      sub.set(sp.axis, s.iadd(s.imul(s.axisValue(p.group), sp.by), s.axisValue(p.member)));
    }
    roots = roots.map((x) => s.substitute(x, sub));
    where = where.map((list) => list.map((x) => s.substitute(x, sub)));
    fold = contractionFolds(roots[0])[0];
    if (!fold) return undefined;
  }
  // Several contractions that are added up share the accumulators: their sum is one term.
  const joined = joinSums(s, roots);
  roots = joined.roots;
  const total = joined.sum ?? fold;
  const folds = joined.sum ? joined.folds : [fold];
  const all = folds.map((f) => contractionOf(f));
  if (all.some((x) => !x)) return undefined;
  const c = together(all as Contraction[]);
  const windows = windowFolds(roots, folds[0]);
  const windowAxes = windows.length > 0 ? windows[0].axes : [];
  const literalExtent = (a: Axis): number => {
    const n = asConst(resolved(s, a.extent));
    if (n === undefined) throw new InternalError("schedule", "a fused window has no literal size");
    return n;
  };
  const windowExtents = windowAxes.map(literalExtent);
  const window = windowExtents.reduce((p, q) => p * q, 1);

  // Orders: physical order of the first root, windows innermost among rows.
  const physical = layouts.order(first).flatMap((i) => {
    const p = splitMap.get(outAxes[i]);
    return p ? [p.group, p.member] : [outAxes[i]];
  });
  const rank = (axes: readonly Axis[]): Axis[] => [
    ...physical.filter((a) => axes.includes(a)),
    ...axes.filter((a) => !physical.includes(a) && !windowAxes.includes(a)),
  ];
  // A window's positions are rows.
  const swap =
    windowAxes.length > 0 ? windowAxes.every((a) => c.cols.includes(a)) : betterSwapped(ctx, s, c, physical);
  const rowsOf = swap ? c.cols : c.rows;
  const colsOf = swap ? c.rows : c.cols;
  if (windowAxes.some((a) => colsOf.includes(a) || c.batch.includes(a)))
    throw new InternalError("schedule", "a window runs over columns");
  // An operand inlined from a broadcast does not see every axis of the result: those count as rows.
  const seen = new Set([...c.rows, ...c.cols, ...c.batch]);
  const unseen = physical.filter((a) => !seen.has(a) && !isConst(a.extent, 1));
  const ranked = rank([...rowsOf, ...unseen]);
  // Where no axis of k lies side by side in the first factor, but one of its rows does, that is the innermost row: what is
  // staged, or a lane of a subgroup loads, is read by fours along it.
  const first4 = swap ? c.b : c.a;
  const side = (axis: Axis): boolean => isMultipleOf(axis.extent, 4) && liesAlong(ctx, s, first4, axis);
  const inner = windowAxes.length === 0 && !c.k.some(side) ? ranked.find(side) : undefined;
  const rows = inner ? [...ranked.filter((a) => a !== inner), inner] : ranked;
  const cols = rank(colsOf);
  const batches = rank(c.batch);
  // Size-1 out axes take part in nothing; the others must all be classified.
  const extents = rows.map((a, i) =>
    i === rows.length - 1 && whole > 1 ? roundUp(a.extent, whole) : a.extent,
  );
  const row = s.axis("row", mul(product(extents), window));
  const col = s.axis("col", extentOf(cols));
  const batch = s.axis("batch", extentOf(batches));
  const to = new Map<Axis, Scalar>();
  const outer = s.idiv(s.axisValue(row), window);
  decode(s, outer, extents).forEach((x, i) => void to.set(rows[i], x));
  decode(
    s,
    s.axisValue(col),
    cols.map((a) => a.extent),
  ).forEach((x, i) => void to.set(cols[i], x));
  decode(
    s,
    s.axisValue(batch),
    batches.map((a) => a.extent),
  ).forEach((x, i) => void to.set(batches[i], x));
  const position = s.imod(s.axisValue(row), window);
  const toRows = new Map(to);
  decode(
    s,
    position,
    windowExtents.map((n) => dim(n)),
  ).forEach((x, i) => void toRows.set(windowAxes[i], x));
  const segments = (all as Contraction[]).map((q): Segment => {
    const [fa, fb] = swap ? [q.b, q.a] : [q.a, q.b];
    return { k: q.k, a: s.substitute(fa, toRows), b: s.substitute(fb, toRows) };
  });

  return {
    s,
    row,
    col,
    batch,
    segments,
    window,
    dtype: fold.dtype as "f32" | "f16",
    epilogue: {
      values: g.roots,
      out: outAxes,
      roots,
      where,
      total,
      windows,
      windowAxes,
      windowExtents,
      rows,
      extents,
      to,
    },
  };
}

/** Emits what takes the accumulators of a result to the roots; its name. */
export const storeFunction = (em: Emitter, n: Nest): string => emitStore(em, n, false).name;

/** A function that stores, and what else than place and accumulators it is told: what it reads by the column alone. */
export interface Store {
  readonly name: string;
  /** What it reads for a column, loaded in the block that asks. */
  readonly byColumn: (col: X) => readonly X[];
}
/**
 * Emits `store(batch, row, col, v..., b...)`, which takes the accumulators of a result (one for each position of its window) to
 * the roots. What is read by the column alone (a bias) is loaded by who calls it, where `apart`: once for all rows of a thread,
 * before each of them is looked at.
 */
export function emitStore(em: Emitter, n: Nest, apart: boolean): Store {
  const { s, col, batch, window } = n;
  const { values, roots, where, total, windows, windowAxes, windowExtents, rows, extents, to } = n.epilogue;
  // Roots in terms of the outer row: window positions are literal here.
  const orow = s.axis("row", product(extents));
  const toOuter = new Map(to);
  decode(s, s.axisValue(orow), extents).forEach((x, i) => void toOuter.set(rows[i], x));
  const saved = em.stack;
  em.stack = [];
  em.push();
  const name = em.fresh("store");
  const rowName = em.fresh("row");
  const colName = em.fresh("col");
  const batchName = em.fresh("batch");
  em.bind(orow, variable(rowName, "i32"));
  em.bind(col, variable(colName, "i32"));
  em.bind(batch, variable(batchName, "i32"));
  const params: { name: string; dtype: DType; width: Width }[] = [
    { name: batchName, dtype: "i32", width: 1 },
    { name: rowName, dtype: "i32", width: 1 },
    { name: colName, dtype: "i32", width: 1 },
  ];
  const accs: X[] = [];
  for (let p = 0; p < window; p++) {
    const v = em.fresh("v");
    params.push({ name: v, dtype: n.dtype, width: 4 });
    accs.push(variable(v, n.dtype, 4));
  }
  // The window fold becomes a combination of its positions; the contraction at each is an argument.
  const expand = (x: Scalar): Scalar =>
    s.rewrite(x, (y) => {
      if (y.kind !== "fold" || !windows.includes(y)) return undefined;
      const ones = Array.from({ length: window }, (_, p) => {
        const at = new Map<Axis, Scalar>();
        let rest = p;
        for (let i = y.axes.length - 1; i >= 0; i--) {
          const n = windowExtents[i];
          at.set(y.axes[i], s.dim(rest % n));
          rest = Math.floor(rest / n);
        }
        return s.substitute(y.body, at);
      });
      const all = (fn: string, list: readonly Scalar[]): Scalar => list.reduce((a, b) => s.call(fn, a, b));
      const { combine } = y;
      if ((combine !== "max" && combine !== "min") || (y.dtype !== "f32" && y.dtype !== "f16"))
        return all(combine, ones);
      // Whether a NaN is among them is asked once, of the largest magnitude.
      const magnitudes = ones.map((x) => s.call("magnitude", x));
      return s.call("unless_nan", all(`raw_${combine}`, ones), all("max", magnitudes));
    });
  const finalRoots = roots.map((x) => s.substitute(expand(x), toOuter));
  for (let p = 0; p < window; p++) {
    const at = new Map<Axis, Scalar>();
    let rest = p;
    for (let i = windowAxes.length - 1; i >= 0; i--) {
      at.set(windowAxes[i], s.dim(rest % windowExtents[i]));
      rest = Math.floor(rest / windowExtents[i]);
    }
    em.define(s.substitute(s.substitute(total, at), toOuter), accs[p], col);
  }
  const own = new Set(apart ? finalRoots.flatMap(loadsBesideFolds) : []);
  const apartLoads = [...own].filter(
    (l) => l.dtype === "f32" && l.free.includes(col) && l.free.every((a) => a === col),
  );
  for (const l of apartLoads) {
    const b = em.fresh("b");
    params.push({ name: b, dtype: l.dtype, width: 4 });
    em.define(l, variable(b, l.dtype, 4), col);
  }
  em.count(finalRoots);
  const storeAt = where.map((list) => list.map((x) => s.substitute(x, toOuter)));
  const inRows = bin("<", variable(rowName, "i32"), em.dim(orow.extent));
  // Behind the end of the innermost axis there is nothing to store.
  const inner = rows.at(-1);
  const padded = inner && !equal(extents[rows.length - 1], inner.extent);
  const there = padded && bin("<", em.x(toOuter.get(inner) as Scalar), em.dim(inner.extent));
  if (there) em.push();
  const results = finalRoots.map((x) => em.x(x, col));
  const tail = isMultipleOf(col.extent, 4) ? undefined : { at: s.axisValue(col), extent: col.extent };
  for (const [i, r] of values.entries()) em.store(r, storeAt[i], results[i], col, tail);
  if (there) em.put({ k: "if", cond: there, body: em.pop() });
  const body = em.pop();
  em.stack = saved;
  const guarded: Stmt[] = [
    {
      k: "if",
      cond: bin("&&", inRows, bin("<", variable(colName, "i32"), em.dim(col.extent))),
      body: body,
    },
  ];
  em.functions.push({ name, params, body: guarded });
  const byColumn = (at: X): readonly X[] =>
    apartLoads.map((l) => {
      const axis = s.axis("col", col.extent);
      em.bind(axis, at);
      return em.let("by_col", widen(em.x(s.substitute(l, new Map([[col, s.axisValue(axis)]])), axis), 4));
    });
  return { name, byColumn };
}

/**
 * The axes of contractions that are added up. An operand inlined from a broadcast does not see all it is multiplied along:
 * what is a row of one term may be batch of another, and is batch then.
 */
function together(all: readonly Contraction[]): Contraction {
  const inA = new Set(all.flatMap((q) => q.a.free));
  const inB = new Set(all.flatMap((q) => q.b.free));
  const axes = [...new Set(all.flatMap((q) => q.fold.free))];
  return {
    ...all[0],
    rows: axes.filter((x) => inA.has(x) && !inB.has(x)),
    cols: axes.filter((x) => inB.has(x) && !inA.has(x)),
    batch: axes.filter((x) => inA.has(x) && inB.has(x)),
  };
}

/**
 * Where the roots add two or more contractions (with biases between them), regroups the additions so that the
 * contractions' sum is one term: (f + p) + (g + q) -> (f + g) + (p + q).
 */
function joinSums(
  s: ScalarContext,
  roots: readonly Scalar[],
): { roots: Scalar[]; sum: Scalar | undefined; folds: ScalarOf<"fold">[] } {
  const folds = contractionFolds(roots[0]);
  if (folds.length < 2) return { roots: [...roots], sum: undefined, folds };
  const isFold = (x: Scalar): boolean => folds.includes(foldOf(x) as ScalarOf<"fold">);
  const terms = (x: Scalar): Scalar[] =>
    x.kind === "call" && x.fn === "add" && !isFold(x) && contractionFolds(x).length > 0
      ? x.args.flatMap(terms)
      : [x];
  const sum = folds.slice(1).reduce<Scalar>((a, f) => s.call("add", a, f), folds[0]);
  const regroup = (root: Scalar): Scalar =>
    s.rewrite(root, (x) => {
      if (x.kind !== "call" || x.fn !== "add") return undefined;
      const list = terms(x);
      if (!folds.every((f) => list.some((t) => foldOf(t) === f))) return undefined;
      return list
        .filter((t) => !isFold(t))
        .reduce<Scalar>((a, t) => s.call("add", a, t), s.cast(sum, x.dtype));
    });
  return { roots: roots.map(regroup), sum, folds };
}

/** Folds around the contraction that are a fused window. */
function windowFolds(roots: readonly Scalar[], fold: Scalar): ScalarOf<"fold">[] {
  const out: ScalarOf<"fold">[] = [];
  const seen = new Set<Scalar>();
  const holds = (x: Scalar): boolean => x === fold || contractionFolds(x).length > 0;
  const visit = (y: Scalar): void => {
    if (seen.has(y) || y === fold) return;
    seen.add(y);
    if (y.kind === "fold" && y !== fold && !contractionOf(y) && holds(y.body)) out.push(y);
    for (const c of children(y)) visit(c);
  };
  for (const r of roots) visit(r);
  return out;
}

/** Four neighbours along an axis are one load, in a load that depends on it. */
function liesAlong(ctx: ScheduleContext, s: ScalarContext, x: Scalar, axis: Axis): boolean {
  return loadsOf(x).some(
    (l) => l.free.includes(axis) && lanesAlong(ctx.layouts.offset(s, l.value, l.at), axis) === "vector",
  );
}

/** Columns are what a lane stores and loads four of: swap the factors where the other way round is contiguous. */
function betterSwapped(
  ctx: ScheduleContext,
  s: ScalarContext,
  c: Contraction,
  physical: readonly Axis[],
): boolean {
  const last = [...physical].reverse().find((a) => !isConst(a.extent, 1));
  if (!last || c.cols.includes(last) || !c.rows.includes(last)) return false;
  // The innermost stored axis is a row: swap when the first factor is contiguous along it and the second is not along its own.
  const lying = (x: Scalar, axis: Axis): boolean => liesAlong(ctx, s, x, axis);
  const lastCol = c.cols.at(-1) as Axis;
  return lying(c.a, last) && !lying(c.b, lastCol);
}

/** The nest for people. */
export function describe(n: Nest, tile: string): string[] {
  return [
    `grid batch in 0 .. ${n.batch.extent.key}, ${tile}`,
    ...n.segments.flatMap((q) => q.k.map((a) => `  tile   for ${a.name} in 0 .. ${a.extent.key}`)),
    `  register accumulators; window of ${n.window}`,
    "  inline epilogue (root)",
  ];
}
/** Floating-point operations. */
export const costOf = (n: Nest): Dim =>
  mul(
    2,
    n.row.extent,
    n.col.extent,
    n.batch.extent,
    add(...n.segments.map((q) => product(q.k.map((x) => x.extent)))),
  );
