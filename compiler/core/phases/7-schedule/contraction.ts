// Contractions (matmul, conv, their gradients): rows x columns tiles over k, with whatever is fused before and after.
// Two families from one description: register tiles by subgroup broadcast (software adapters; no barrier, named
// accumulators) and workgroup-memory tiles. A tiling window (pooling) enumerates its positions as consecutive rows, so that
// the pool is a combination of accumulators in the epilogue.
// In: a contraction group with layouts. Out: a kernel.

import { InternalError } from "../../diagnostics/index.ts";
import {
  add,
  asConst,
  ceilDiv,
  type Dim,
  dim,
  exactQuotient,
  isConst,
  isMultipleOf,
  mul,
  product,
  substitute,
} from "../../dims/dim.ts";
import type { Value } from "../../ir/types.ts";
import {
  bin,
  call,
  lit,
  part,
  type Stmt,
  sharedAt,
  variable,
  vec,
  widen,
  type X,
} from "../../kernel/code.ts";
import { Emitter } from "../../kernel/emitter.ts";
import { foldOf, type ScalarContext } from "../../kernel/lowering.ts";
import type { Axis, Scalar, ScalarOf } from "../../kernel/scalar.ts";
import { children, loadsOf } from "../../kernel/scalar.ts";
import { limitOf } from "../../targets.ts";
import { applySplits, type Contraction, contractionOf, splitsOf } from "../5-fuse/contraction.ts";
import { type Group, rowMajor } from "../5-fuse/groups.ts";
import {
  decode,
  extentOf,
  finish,
  groupLowering,
  groupName,
  groupX,
  laneX,
  lowerRoot,
  type ScheduleContext,
  type Scheduled,
} from "./common.ts";
import { scheduleMap } from "./map.ts";

export interface Segment {
  readonly k: readonly Axis[];
  /** Depends on rows, batch and k; on columns, batch and k. */
  readonly a: Scalar;
  readonly b: Scalar;
}
/** Everything both families need to know, in linear row, column and batch axes. */
export interface Nest {
  readonly s: ScalarContext;
  readonly em: Emitter;
  readonly row: Axis;
  readonly col: Axis;
  readonly batch: Axis;
  /** What is summed: one product over its own k each (a sum of contractions has several). */
  readonly segments: readonly Segment[];
  /** Rows that one result needs (the size of the fused window). */
  readonly window: number;
  /** Emits `store(batch, row, col, v...)` as a function and returns its name. */
  readonly storeFunction: () => string;
  readonly dtype: "f32" | "f16";
}

export function scheduleContraction(ctx: ScheduleContext, g: Group): Scheduled {
  const nest = buildNest(ctx, g);
  // Inlined operands may have taken rows or columns away (a broadcast): a plain loop, then.
  if (!nest) return scheduleMap(ctx, g);
  return ctx.target.contraction.kind === "subgroup"
    ? subgroupTiles(ctx, g, nest, ctx.target.contraction)
    : workgroupTiles(ctx, g, nest, ctx.target.contraction);
}

const sameShape = (a: Value, b: Value): boolean =>
  a.type.shape.length === b.type.shape.length && a.type.shape.every((d, i) => d.key === b.type.shape[i].key);

/** The contraction folds in an expression. */
export function contractionFolds(x: Scalar): ScalarOf<"fold">[] {
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

function buildNest(ctx: ScheduleContext, g: Group): Nest | undefined {
  const { layouts } = ctx;
  const s = groupLowering(ctx, g);
  const first = g.roots[0];
  const outAxes = first.type.shape.map((d, i) => s.axis(`i${i}`, d));
  const at0 = outAxes.map((a) => s.axisValue(a));
  // Roots may show the same elements under another shape.
  const linear = rowMajor(s, at0, first.type.shape);
  let where: Scalar[][] = g.roots.map((r) => (sameShape(r, first) ? at0 : decode(s, linear, r.type.shape)));
  let roots = g.roots.map((r, i) => lowerRoot(s, r, where[i]));
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
  const c = all[0];
  if (!c || all.some((x) => !x)) return undefined;
  const windows = windowFolds(roots, folds[0]);
  const windowAxes = windows.length > 0 ? windows[0].axes : [];
  const literalExtent = (a: Axis): number => {
    const n = asConst(substitute(a.extent, (name) => s.opaques.get(name)));
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
  const rows = rank([...rowsOf, ...unseen]);
  const cols = rank(colsOf);
  const batches = rank(c.batch);
  // Size-1 out axes take part in nothing; the others must all be classified.
  const row = s.axis("row", mul(extentOf(rows), window));
  const col = s.axis("col", extentOf(cols));
  const batch = s.axis("batch", extentOf(batches));
  const to = new Map<Axis, Scalar>();
  const outer = s.idiv(s.axisValue(row), window);
  decode(
    s,
    outer,
    rows.map((a) => a.extent),
  ).forEach((x, i) => void to.set(rows[i], x));
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

  const em = new Emitter(s, (v) => layouts.strides(v), ctx.placing);
  const storeFunction = (): string => {
    // Roots in terms of the outer row: window positions are literal here.
    const orow = s.axis("row", extentOf(rows));
    const toOuter = new Map(to);
    decode(
      s,
      s.axisValue(orow),
      rows.map((x) => x.extent),
    ).forEach((x, i) => void toOuter.set(rows[i], x));
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
    const params = [
      { name: batchName, dtype: "i32" as const, width: 1 as const },
      { name: rowName, dtype: "i32" as const, width: 1 as const },
      { name: colName, dtype: "i32" as const, width: 1 as const },
    ];
    const accs: X[] = [];
    for (let p = 0; p < window; p++) {
      const v = em.fresh("v");
      params.push({ name: v, dtype: fold.dtype as never, width: 4 as never });
      accs.push(variable(v, fold.dtype, 4));
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
    em.count(finalRoots);
    const storeAt = where.map((list) => list.map((x) => s.substitute(x, toOuter)));
    const inRows = bin("<", variable(rowName, "i32"), em.dim(orow.extent));
    const results = finalRoots.map((x) => em.x(x, col));
    const tail = isMultipleOf(col.extent, 4) ? undefined : { at: s.axisValue(col), extent: col.extent };
    for (const [i, r] of g.roots.entries()) em.store(r, storeAt[i], results[i], col, tail);
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
    return name;
  };
  return { s, em, row, col, batch, segments, window, storeFunction, dtype: fold.dtype as "f32" | "f16" };
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
  const em = new Emitter(s, (v) => ctx.layouts.strides(v));
  const lying = (x: Scalar, axis: Axis): boolean =>
    loadsOf(x).some((l) => l.free.includes(axis) && em.access(em.offset(l.value, l.at), axis) === "vector");
  const lastCol = c.cols.at(-1) as Axis;
  return lying(c.a, last) && !lying(c.b, lastCol);
}

function describe(n: Nest, tile: string): string[] {
  return [
    `grid batch in 0 .. ${n.batch.extent.key}, ${tile}`,
    ...n.segments.flatMap((q) => q.k.map((a) => `  tile   for ${a.name} in 0 .. ${a.extent.key}`)),
    `  register accumulators; window of ${n.window}`,
    "  inline epilogue (root)",
  ];
}

/** Register tiles: a subgroup owns rows x (lanes * 4) columns; rows travel by broadcast. */
function subgroupTiles(
  _ctx: ScheduleContext,
  g: Group,
  n: Nest,
  t: { lanes: number; rows: number },
): Scheduled {
  const { s, em, row, col, batch } = n;
  const L = t.lanes;
  const TM = rowsPerTile(t.rows, n.window, row.extent);
  const TN = L * 4;
  const rowTiles = ceilDiv(row.extent, TM);
  const colTiles = ceilDiv(col.extent, TN);
  const tileRow = em.let("tile_row", bin("%", groupX(), em.dim(rowTiles)));
  const rest = em.let("tile_rest", bin("/", groupX(), em.dim(rowTiles)));
  const tileCol = isConst(batch.extent, 1) ? rest : em.let("tile_col", bin("%", rest, em.dim(colTiles)));
  em.bind(batch, isConst(batch.extent, 1) ? lit(0) : em.let("batch", bin("/", rest, em.dim(colTiles))));
  const colX = em.let("col", bin("+", bin("*", tileCol, lit(TN)), bin("*", laneX(), lit(4))));
  em.bind(col, colX);
  const row0 = em.let("row_0", bin("*", tileRow, lit(TM)));

  const accs: string[] = [];
  for (let i = 0; i < TM; i++) {
    const name = em.fresh("c");
    accs.push(name);
    em.put({ k: "var", name, x: widen(lit(0, n.dtype), 4) });
  }
  const acc = (i: number): X => variable(accs[i], n.dtype, 4);
  // Row numbers of the rows a lane loads, shared by the segments that load alike.
  const rowNames = new Map<string, X>();
  const rowOf = (byRows: boolean, i: number): X => {
    const key = `${byRows}${i}`;
    let x = rowNames.get(key);
    if (!x) {
      x = em.let(
        "row",
        bin("+", row0, bin("+", byRows ? bin("*", laneX(), lit(4)) : laneX(), lit(i * L * (byRows ? 4 : 1)))),
      );
      rowNames.set(key, x);
    }
    return x;
  };
  const long = longSum(n, accs);
  for (const segment of n.segments) subgroupSegment(n, segment, { L, TM, acc, accs, rowOf, long });
  long?.finish();
  const store = n.storeFunction();
  const outRow0 = n.window === 1 ? row0 : em.let("out_row", bin("*", tileRow, lit(TM / n.window)));
  // The epilogue is a loop over the tile's rows, with a bound nobody can unroll: thirty-two copies of it would take the
  // device's compiler longer than all the rest.
  const tile = em.fresh("tile");
  em.put({ k: "array", name: tile, parts: accs.map((_, i) => acc(i)) });
  const outRows = n.window === 1 ? row.extent : exactQuotient(row.extent, n.window);
  if (!outRows) throw new InternalError("schedule", "rows are no whole windows");
  const left = em.let("left", call("min", [lit(TM / n.window), bin("-", em.dim(outRows), outRow0)], "i32"));
  em.loop(undefined, "i", left, (i) => {
    const at = (p: number): X => ({
      k: "element",
      name: tile,
      index: bin("+", bin("*", i, lit(n.window)), lit(p)),
      dtype: n.dtype,
      width: 4,
    });
    em.put({
      k: "run",
      fn: store,
      args: [
        batchX(em, batch),
        bin("+", outRow0, i),
        colX,
        ...Array.from({ length: n.window }, (_, p) => at(p)),
      ],
    });
  });
  return finish(em, s, {
    name: groupName(g),
    family: `contraction.subgroup ${TM}x${TN}`,
    workgroup: L,
    groups: mul(rowTiles, colTiles, batch.extent),
    cost: mul(
      2,
      row.extent,
      col.extent,
      batch.extent,
      add(...n.segments.map((q) => product(q.k.map((x) => x.extent)))),
    ),
    nest: describe(n, `tile ${TM} rows x ${TN} columns`),
    subgroups: true,
  });
}
/** One product of the sum, added into the accumulators. */
function subgroupSegment(
  n: Nest,
  q: Segment,
  t: {
    readonly L: number;
    readonly TM: number;
    readonly acc: (i: number) => X;
    readonly accs: readonly string[];
    readonly rowOf: (byRows: boolean, i: number) => X;
    readonly long: LongSum | undefined;
  },
): void {
  const { s, em, row, col } = n;
  const { L, TM, acc, accs } = t;
  // How the first factor comes: four along k, four rows at once, or one by one.
  const aLoads = loadsOf(q.a).filter((l) => l.free.some((x) => q.k.includes(x)));
  const accessAlong = (x: Axis, loads: readonly ScalarOf<"load">[]): boolean =>
    loads.length > 0 &&
    loads.every((l) => !l.free.includes(x) || em.access(em.offset(l.value, l.at), x) === "vector") &&
    loads.some((l) => l.free.includes(x));
  const alongK = [...q.k].reverse().find((x) => isMultipleOf(x.extent, 4) && accessAlong(x, aLoads));
  const byRows = !alongK && TM % 4 === 0 && TM / 4 <= L * Math.ceil(TM / 4 / L) && accessAlong(row, aLoads);
  const inner = alongK ?? innermostK(s, q.k);
  const KU = alongK ? 4 : 1;
  // One copy of the first factor per group of rows a lane loads.
  const aOf: { x: Scalar; axis: Axis }[] = [];
  for (let i = 0; i < (byRows ? Math.ceil(TM / 4 / L) : Math.ceil(TM / L)); i++) {
    const axis = s.axis("row", row.extent);
    em.bind(axis, t.rowOf(byRows, i));
    aOf.push({ x: s.substitute(q.a, new Map([[row, s.axisValue(axis)]])), axis });
  }
  em.count([...aOf.map((x) => x.x), q.b]);
  const bLoads = loadsOf(q.b);
  const transposeB =
    KU === 4 &&
    !accessAlong(
      col,
      bLoads.filter((l) => l.free.includes(col)),
    ) &&
    accessAlong(inner, bLoads);
  const step = (): void => {
    const as = aOf.map((x) =>
      em.let("a", byRows ? widen(em.x(x.x, x.axis), 4) : KU === 4 ? widen(em.x(x.x, inner), 4) : em.x(x.x)),
    );
    let bs: X[];
    if (transposeB) {
      const columns = [0, 1, 2, 3].map((j) => widen(em.x(em.shift(q.b, col, j), inner), 4));
      bs = [0, 1, 2, 3].map((u) => em.let("b", vec(columns.map((x) => part(x, u)))));
    } else
      bs = Array.from({ length: KU }, (_, u) => em.let("b", widen(em.x(em.shift(q.b, inner, u), col), 4)));
    for (let i = 0; i < TM; i++) {
      let sum = acc(i);
      for (let u = 0; u < KU; u++) {
        const from: X = byRows
          ? part(as[Math.floor(i / 4 / L)], i % 4)
          : KU === 4
            ? part(as[Math.floor(i / L)], u)
            : as[Math.floor(i / L)];
        const lane = byRows ? Math.floor(i / 4) % L : i % L;
        sum = {
          k: "bin",
          op: "+",
          a: sum,
          b: {
            k: "bin",
            op: "*",
            a: { k: "broadcast", a: from, lane, dtype: n.dtype, width: 1 },
            b: bs[u],
            dtype: n.dtype,
            width: 4,
          },
          dtype: n.dtype,
          width: 4,
        };
      }
      em.put({ k: "set", name: accs[i], x: sum });
    }
  };
  const outerK = q.k.filter((x) => x !== inner && !isConst(x.extent, 1));
  // The innermost loop one turn of which is a block, or nearly.
  const terms = (i: number): number =>
    [...outerK.slice(i + 1), inner].reduce((p, x) => p * (asConst(x.extent) ?? NOMINAL_ROWS), 1);
  let flushed = outerK.length - 1;
  while (flushed > 0 && terms(flushed) < SERIAL / 2) flushed--;
  const loops = (i: number): void => {
    if (i < outerK.length) {
      em.loop(outerK[i], outerK[i].name, em.dim(outerK[i].extent), () => {
        loops(i + 1);
        if (i === flushed) t.long?.flush();
      });
      return;
    }
    const extent = em.dim(inner.extent);
    if (!t.long || (outerK.length > 0 && (asConst(inner.extent) ?? 0) <= 4 * SERIAL)) {
      em.loop(inner, inner.name, extent, step, lit(0), lit(KU));
      return;
    }
    inBlocks(em, t.long, `${inner.name}_block`, extent, (from, end) =>
      em.loop(inner, inner.name, end, step, from, lit(KU)),
    );
  };
  loops(0);
}

/** Terms that are added up one after the other before they go into the sum of such sums. */
const SERIAL = 512;
/**
 * Up to so many terms one sum is right to a few millionths, and a layer's pipeline is the same as its neighbours': a second
 * set of accumulators would make convolutions of 64 and of 256 channels two kernels.
 */
const SHORT = 16_384;
interface LongSum {
  /** A block is in the accumulators: they go into the totals and begin anew. */
  flush(): void;
  /** Brings everything together in the accumulators. */
  finish(): void;
}
/**
 * A second set of accumulators for sums that may be long: the error of a sum in one go grows with its terms. Undefined
 * where they are few.
 */
function longSum(n: Nest, accs: readonly string[]): LongSum | undefined {
  const { em, dtype } = n;
  const most = Math.max(
    ...n.segments.map((q) => asConst(product(q.k.map((x) => x.extent))) ?? Number.POSITIVE_INFINITY),
  );
  if (most <= SHORT) return undefined;
  const totals = accs.map(() => em.fresh("total"));
  for (const name of totals) em.put({ k: "var", name, x: widen(lit(0, dtype), 4) });
  const add = (into: string, from: string): void =>
    em.put({ k: "set", name: into, x: bin("+", variable(into, dtype, 4), variable(from, dtype, 4)) });
  return {
    flush() {
      for (const [i, c] of accs.entries()) {
        add(totals[i], c);
        em.put({ k: "set", name: c, x: widen(lit(0, dtype), 4) });
      }
    },
    finish() {
      for (const [i, c] of accs.entries()) add(c, totals[i]);
    },
  };
}
/** A loop below `extent` as one over blocks, each of which goes into the totals. */
function inBlocks(
  em: Emitter,
  long: LongSum,
  name: string,
  extent: X,
  body: (from: X, end: X) => void,
): void {
  em.loop(
    undefined,
    name,
    extent,
    (from) => {
      body(from, em.let("end", call("min", [bin("+", from, lit(SERIAL)), extent], "i32")));
      long.flush();
    },
    lit(0),
    lit(SERIAL),
  );
}
const batchX = (em: Emitter, batch: Axis): X => em.stack[0].bound.get(batch) ?? lit(0);

/** What a symbol counts for when a tile is chosen. */
const NOMINAL_ROWS = 32;
/** Rows of a register tile: whole windows, not many more than there are. */
function rowsPerTile(most: number, window: number, rows: Dim): number {
  let tile = Math.max(window, Math.floor(most / window) * window);
  // A literal row count smaller than the tile, or few rows per unit of the symbols, take a smaller tile.
  const known = asConst(rows) ?? asConst(substitute(rows, () => NOMINAL_ROWS));
  if (known !== undefined) while (tile > 8 && tile % (2 * window) === 0 && tile / 2 >= known) tile /= 2;
  return tile;
}
/** Where nothing is contiguous, the longest axis goes innermost and window-like ones outside. */
function innermostK(s: ScalarContext, k: readonly Axis[]): Axis {
  const live = k.filter((a) => !isConst(a.extent, 1));
  if (live.length === 0) return k[0] ?? s.axis("k", 1);
  return [...live].sort((a, b) => (asConst(a.extent) ?? 1e6) - (asConst(b.extent) ?? 1e6)).at(-1) as Axis;
}

/** Workgroup-memory tiles: both factors are staged, each thread owns a few rows x four columns. */
function workgroupTiles(
  ctx: ScheduleContext,
  g: Group,
  n: Nest,
  t: { rows: number; cols: number; depth: number },
): Scheduled {
  const { s, em, row, col, batch } = n;
  const RM = n.window > 4 ? n.window : 4 - (4 % n.window === 0 ? 0 : 4 % n.window);
  const threadsX = t.cols / 4;
  // A window that does not divide four takes fewer rows a thread, and must not take more threads than there may be.
  const most = Math.floor(limitOf(ctx.target, "maxComputeInvocationsPerWorkgroup") / threadsX);
  const threadsY = Math.min(most, Math.max(1, Math.floor(t.rows / RM)));
  const BM = threadsY * RM;
  const BK = t.depth;
  const T = threadsX * threadsY;
  const rowTiles = ceilDiv(row.extent, BM);
  const colTiles = ceilDiv(col.extent, t.cols);
  const tileRow = em.let("tile_row", bin("%", groupX(), em.dim(rowTiles)));
  const rest = em.let("tile_rest", bin("/", groupX(), em.dim(rowTiles)));
  const tileCol = isConst(batch.extent, 1) ? rest : em.let("tile_col", bin("%", rest, em.dim(colTiles)));
  const batchV = isConst(batch.extent, 1) ? lit(0) : em.let("batch", bin("/", rest, em.dim(colTiles)));
  em.bind(batch, batchV);
  const row0 = em.let("row_0", bin("*", tileRow, lit(BM)));
  const col0 = em.let("col_0", bin("*", tileCol, lit(t.cols)));
  const tx = em.let("tx", bin("%", laneX(), lit(threadsX)));
  const ty = em.let("ty", bin("/", laneX(), lit(threadsX)));

  // load_a(row, k) and load_b(k, col) as functions: fused producers land there.
  const loader = (
    base: string,
    x: Scalar,
    axes: readonly [Axis, string][],
    lane: Axis | undefined,
  ): string => {
    const saved = em.stack;
    em.stack = [];
    em.push();
    const name = em.fresh(base);
    const params: { name: string; dtype: "i32"; width: 1 }[] = [];
    for (const [axis, label] of [...axes, [batch, "batch"] as [Axis, string]]) {
      const p = em.fresh(label);
      params.push({ name: p, dtype: "i32", width: 1 });
      em.bind(axis, variable(p, "i32"));
    }
    em.count([x]);
    const result = lane ? widen(em.x(x, lane), 4) : em.x(x);
    const body = em.pop();
    em.stack = saved;
    em.functions.push({ name, params, body, result });
    return name;
  };
  const tileA = em.shared("tile_a", n.dtype, 1, BM * BK);
  const tileB = em.shared("tile_b", n.dtype, 4, (t.cols / 4) * BK);
  const accs = Array.from({ length: RM }, () => em.fresh("c"));
  for (const name of accs) em.put({ k: "var", name, x: widen(lit(0, n.dtype), 4) });
  const long = longSum(n, accs);
  for (const q of n.segments) {
    const kLinear = s.axis("k", product(q.k.map((x) => x.extent)));
    const toK = new Map<Axis, Scalar>();
    decode(
      s,
      s.axisValue(kLinear),
      q.k.map((x) => x.extent),
    ).forEach((x, i) => void toK.set(q.k[i], x));
    const loadA = loader(
      "load_a",
      s.substitute(q.a, toK),
      [
        [row, "row"],
        [kLinear, "k"],
      ],
      undefined,
    );
    const loadB = loader(
      "load_b4",
      s.substitute(q.b, toK),
      [
        [kLinear, "k"],
        [col, "col"],
      ],
      col,
    );
    const kExtent = em.dim(kLinear.extent);
    const tiles = (from: X, end: X): void =>
      em.loop(
        undefined,
        "k0",
        end,
        (k0) => {
          em.loop(
            undefined,
            "e",
            lit(BM * BK),
            (e) => {
              const kk = em.let("k", bin("+", k0, bin("%", e, lit(BK))));
              const m = em.let("row", bin("+", row0, bin("/", e, lit(BK))));
              const inside = bin("&&", bin("<", kk, kExtent), bin("<", m, em.dim(row.extent)));
              const value: X = call(
                "select",
                [
                  inside,
                  { k: "call", fn: `fn:${loadA}`, args: [m, kk, batchV], dtype: n.dtype, width: 1 },
                  lit(0, n.dtype),
                ],
                n.dtype,
              );
              em.put({
                k: "setShared",
                name: tileA.name,
                index: bin("+", bin("*", bin("%", e, lit(BK)), lit(BM)), bin("/", e, lit(BK))),
                x: value,
              });
            },
            laneX(),
            lit(T),
          );
          em.loop(
            undefined,
            "e",
            lit((t.cols / 4) * BK),
            (e) => {
              const kk = em.let("k", bin("+", k0, bin("/", e, lit(t.cols / 4))));
              const c4 = em.let("col", bin("+", col0, bin("*", bin("%", e, lit(t.cols / 4)), lit(4))));
              const inside = bin("<", kk, kExtent);
              const value: X = call(
                "select",
                [
                  widen(inside, 4),
                  { k: "call", fn: `fn:${loadB}`, args: [kk, c4, batchV], dtype: n.dtype, width: 4 },
                  widen(lit(0, n.dtype), 4),
                ],
                n.dtype,
              );
              em.put({ k: "setShared", name: tileB.name, index: e, x: value });
            },
            laneX(),
            lit(T),
          );
          em.put({ k: "barrier" });
          em.loop(undefined, "kk", lit(BK), (kk) => {
            const bv = em.let("b", sharedAt(tileB, bin("+", bin("*", kk, lit(t.cols / 4)), tx)));
            accs.forEach((name, i) => {
              const av = sharedAt(
                tileA,
                bin("+", bin("+", bin("*", kk, lit(BM)), bin("*", ty, lit(RM))), lit(i)),
              );
              em.put({
                k: "set",
                name,
                x: {
                  k: "bin",
                  op: "+",
                  a: variable(name, n.dtype, 4),
                  b: { k: "bin", op: "*", a: av, b: bv, dtype: n.dtype, width: 4 },
                  dtype: n.dtype,
                  width: 4,
                },
              });
            });
          });
          em.put({ k: "barrier" });
        },
        from,
        lit(BK),
      );
    // A block of k at a time, where it is long.
    if (long) inBlocks(em, long, "k_block", kExtent, tiles);
    else tiles(lit(0), kExtent);
  }
  long?.finish();
  const store = n.storeFunction();
  const outRow = em.let("out_row", bin("/", bin("+", row0, bin("*", ty, lit(RM))), lit(n.window)));
  const outCol = em.let("out_col", bin("+", col0, bin("*", tx, lit(4))));
  for (let i = 0; i < RM; i += n.window)
    em.put({
      k: "run",
      fn: store,
      args: [
        batchV,
        bin("+", outRow, lit(i / n.window)),
        outCol,
        ...Array.from({ length: n.window }, (_, p) => variable(accs[i + p], n.dtype, 4)),
      ],
    });
  return finish(em, s, {
    name: groupName(g),
    family: `contraction.tile ${BM}x${t.cols}x${BK}`,
    workgroup: T,
    groups: mul(rowTiles, colTiles, batch.extent),
    cost: mul(
      2,
      row.extent,
      col.extent,
      batch.extent,
      add(...n.segments.map((q) => product(q.k.map((x) => x.extent)))),
    ),
    nest: describe(n, `workgroup tile ${BM} rows x ${t.cols} columns x ${BK}`),
  });
}
