// Contractions as tiles in workgroup memory: both factors are staged, each thread owns some rows x columns of the tile.
// In: a nest. Out: one launch, or two where k is cut.
import { asConst, type Dim, isConst, isMultipleOf, mul, product } from "../../../dims/dim.ts";
import { bin, lit, type Stmt, sharedAt, variable, widen, type X } from "../../../kernel/code.ts";
import type { Emitter } from "../../../kernel/emitter.ts";
import { limitOf, type Target } from "../../../targets.ts";
import { emitterFor, finish, groupName, laneX, nominal } from "../common.ts";
import type { Job, Launch } from "../family.ts";
import { costOf, describe, type Nest } from "./nest.ts";
import { Cut, type Fewer, fewOf, type Parts, type TileCounts, tileCounts, tiledFamily } from "./split.ts";
import { Places, readingOf, type Sides, Staging } from "./staging.ts";
import { isLong, longSum, SERIAL } from "./sums.ts";

/**
 * `high`, `wide`: rows and columns of a thread. `pad`: elements between the rows of one term and the next's in workgroup
 * memory, against bank conflicts. `ahead`: turns that are loaded into registers while one is multiplied. `slices`: sets of
 * threads that share out the terms of a turn; each has the whole tile, and their sums are added up at the end.
 */
type Tile = {
  readonly rows: number;
  readonly cols: number;
  readonly depth: number;
  readonly high: number;
  readonly wide: number;
  readonly pad: number;
  readonly ahead: number;
  readonly slices: number;
};

export const tileFamily = tiledFamily<Tile>("contraction.tile", 2, (job, n) => {
  const { target } = job.ctx;
  return {
    tiles: () => tilesFor(job, n),
    fewer: fewerOf(target, n),
    countsOf: (t) => tilesOf(t, n, target),
    possible: (t) => fits(t, n, target),
    launch: (t, parts, when) => workgroupTiles(job, n, t, parts, when),
  };
});

/** The target's tile for calls that have few of the usual one; undefined where long sums take the registers. */
function fewerOf(target: Target, n: Nest): Fewer<Tile> | undefined {
  const { few } = target;
  if (!few || isLong(n)) return undefined;
  const tile = { ...FOUR, ...few.tile, depth: isShort(n) ? SHORT : few.tile.depth };
  return { tile, when: fewOf(tilesOf(tile, n, target), few.below) };
}
/** Sums that a turn of so many terms holds: a deeper one would be half empty. */
const SHORT = 16;
const isShort = (n: Nest): boolean =>
  n.segments.every((q) => (asConst(product(q.k.map((x) => x.extent))) ?? SHORT + 1) <= SHORT);
const FOUR = { high: 4, wide: 4, pad: 4, ahead: 0, slices: 1 };
const EIGHT = { high: 8, wide: 8, pad: 4, ahead: 0, slices: 1 };
const TILES: readonly Tile[] = [
  { rows: 32, cols: 32, depth: 32, ...FOUR, slices: 2 },
  { rows: 32, cols: 64, depth: 32, ...FOUR, slices: 2 },
  { rows: 64, cols: 64, depth: 16, ...FOUR },
  { rows: 64, cols: 64, depth: 16, ...EIGHT },
  { rows: 64, cols: 64, depth: 16, ...EIGHT, slices: 2 },
  { rows: 64, cols: 64, depth: 16, ...EIGHT, wide: 4, slices: 2, ahead: 1 },
  { rows: 64, cols: 64, depth: 16, ...EIGHT, slices: 2, ahead: 1 },
  { rows: 64, cols: 64, depth: 8, ...EIGHT, slices: 2, ahead: 1 },
  { rows: 64, cols: 32, depth: 16, ...FOUR },
  { rows: 32, cols: 32, depth: 16, ...FOUR },
  { rows: 16, cols: 64, depth: 16, ...FOUR },
];
/** Best first. Long sums have two sets of accumulators: of eight rows by eight columns they would take all registers. */
function tilesFor(job: Job, n: Nest): readonly Tile[] {
  const usual = usualTile(job, n);
  const most = isLong(n) ? 4 : Number.POSITIVE_INFINITY;
  const first: Tile = {
    rows: usual.rows,
    cols: usual.cols,
    depth: isShort(n) ? Math.min(usual.depth, SHORT) : usual.depth,
    high: Math.min(usual.high, most),
    wide: Math.min(usual.wide, most),
    pad: FOUR.pad,
    ahead: usual.ahead ?? FOUR.ahead,
    slices: usual.slices,
  };
  return [
    first,
    ...TILES.filter((t) => Object.entries(t).some(([what, x]) => first[what as keyof Tile] !== x)),
  ];
}
function usualTile(job: Job, n: Nest): Target["tile"] {
  const { target } = job.ctx;
  const { tile, scattered, deep, broad } = target;
  if (scattered && isScattered(job, n, scattered)) return scattered;
  if (deep && isMany(target, n, deep) && isDeep(job, n, deep)) return deep.tile;
  return broad && isMany(target, n, broad) ? broad.tile : tile;
}
/** Whether sums have many terms, though not so many that they are two sets of registers, and four of the first factor are one load. */
function isDeep(job: Job, n: Nest, { terms, tile }: NonNullable<Target["deep"]>): boolean {
  if (isLong(n)) return false;
  const em = emitterFor(job.ctx, n.s);
  const sides = sidesOf({ ...FOUR, ...tile }, n, job.ctx.target);
  return n.segments.every(
    (q) =>
      (asConst(product(q.k.map((x) => x.extent))) ?? 0) >= terms &&
      q.k.filter((x) => !isConst(x.extent, 1)).length === 1 &&
      readingOf(em, n, q, sides).width === 4,
  );
}
/** Whether a first factor is read element by element, and a tile of so many columns uses each more often. */
function isScattered(job: Job, n: Nest, tile: Target["tile"]): boolean {
  if (!isMultipleOf(n.col.extent, tile.cols)) return false;
  const em = emitterFor(job.ctx, n.s);
  const sides = sidesOf({ ...FOUR, ...tile }, n, job.ctx.target);
  return n.segments.some((q) => readingOf(em, n, q, sides).width === 1);
}

/** Whether columns fill a tile, and there are many of it. */
type Many = { readonly from: number; readonly tile: Target["tile"] };
function isMany(target: Target, n: Nest, { from, tile }: Many): boolean {
  const { all } = tilesOf({ ...FOUR, ...tile }, n, target);
  return isMultipleOf(n.col.extent, tile.cols) && nominal(all) >= from;
}

/** Threads along both sides, and the rows of a thread: whole windows. */
function shapeOf(t: Tile, n: Nest, target: Target) {
  // Rows of a thread are four and four more, far apart; a window that does not divide four has its rows side by side.
  const fours = 4 % n.window === 0;
  const RM = fours ? t.high : n.window > 4 ? n.window : 4 - (4 % n.window);
  const threadsX = t.cols / t.wide;
  // A window that does not divide four takes fewer rows a thread, and must not take more threads than there may be.
  const most = Math.floor(limitOf(target, "maxComputeInvocationsPerWorkgroup") / (threadsX * t.slices));
  const threadsY = Math.min(most, Math.max(1, Math.floor(t.rows / RM)));
  return { fours, RM, threadsX, threadsY };
}
function sidesOf(t: Tile, n: Nest, target: Target): Sides {
  const { RM, threadsX, threadsY } = shapeOf(t, n, target);
  const rows = threadsY * RM;
  return { rows, cols: t.cols, depth: t.depth, pitch: rows + t.pad, threads: threadsX * threadsY * t.slices };
}
function fits(t: Tile, n: Nest, target: Target): boolean {
  const { pitch, cols, depth } = sidesOf(t, n, target);
  return (pitch + cols) * depth * 4 <= limitOf(target, "maxComputeWorkgroupStorageSize");
}

const tilesOf = (t: Tile, n: Nest, target: Target): TileCounts =>
  tileCounts(n, sidesOf(t, n, target).rows, t.cols);

/** `when`: 1 for calls that this is for, 0 for others. */
function workgroupTiles(job: Job, n: Nest, t: Tile, parts: Parts, when: Dim): Launch {
  const { s, dtype } = n;
  const { target } = job.ctx;
  const em = emitterFor(job.ctx, s);
  const { fours, RM, threadsX, threadsY } = shapeOf(t, n, target);
  const whole = sidesOf(t, n, target);
  const readings = n.segments.map((q) => readingOf(em, n, q, whole));
  // Threads that stand along k store a term's rows each; those along rows meet no bank twice.
  const sides = readings.some((r) => r.along === "k") ? whole : { ...whole, pitch: whole.rows };
  const { depth, pitch } = sides;
  const counts = tilesOf(t, n, target);
  const cut = new Cut(n, em, counts.all, parts);
  const { batch, row0, col0 } = cut.begin(counts, sides.rows, t.cols);
  const { lane, slice } = sliceAt(em, threadsX * threadsY, t.slices);
  const { tx, ty } = threadAt(em, lane, threadsX, threadsY);
  // What a thread has: rows that follow each other from `myRow` and from each step on, and so columns, four by four.
  const run = fours ? 4 : RM;
  const myRow = em.let("my_row", bin("*", ty, lit(run)));
  const rowAt = (i: number): number => Math.floor(i / run) * threadsY * run + (i % run);
  const colParts = t.wide / 4;

  const tileA = em.shared("tile_a", dtype, 1, pitch * depth);
  // The sums of all slices but the first travel through it.
  const each = threadsX * threadsY;
  const others = t.slices - 1;
  // As many of a thread's at a time as there is memory for beside the other factor.
  const room = limitOf(target, "maxComputeWorkgroupStorageSize") / 4 - pitch * depth;
  const atOnce = Math.max(1, Math.floor(room / (4 * each * Math.max(1, others))));
  const sums = Math.min(RM * colParts, atOnce);
  const vectors = Math.max((t.cols / 4) * depth, sums * each * others);
  const tileB = em.shared("tile_b", dtype, 4, vectors);
  const accs = Array.from({ length: RM }, () => Array.from({ length: colParts }, () => em.fresh("c")));
  for (const name of accs.flat()) em.put({ k: "var", name, x: widen(lit(0, dtype), 4) });
  const long = longSum(em, n, accs.flat());
  // Where the terms of a slice begin.
  const terms = depth / t.slices;
  const sliceA = slice ? em.let("slice_a", bin("+", bin("*", slice, lit(terms * pitch)), myRow)) : myRow;
  const sliceB = slice ? em.let("slice_b", bin("+", bin("*", slice, lit((terms * t.cols) / 4)), tx)) : tx;
  const multiply = (): void =>
    em.loop(undefined, "kk", lit(terms), (kk) => {
      const a0 = em.let("at_a", bin("+", bin("*", kk, lit(pitch)), sliceA));
      const b0 = em.let("at_b", bin("+", bin("*", kk, lit(t.cols / 4)), sliceB));
      const bs = accs[0].map((_, j) => em.let("b", sharedAt(tileB, bin("+", b0, lit(j * threadsX)))));
      accs.forEach((list, i) => {
        const a = em.let("a", sharedAt(tileA, bin("+", a0, lit(rowAt(i)))));
        list.forEach((name, j) => {
          const product: X = { k: "bin", op: "*", a, b: bs[j], dtype, width: 4 };
          em.put({ k: "set", name, x: bin("+", variable(name, dtype, 4), product) });
        });
      });
    });
  const places = new Places(em, n, row0, col0);
  const stagings = n.segments.map((q, i) => new Staging(em, n, q, readings[i], sides, tileA, tileB, places));
  for (const staging of stagings) {
    const { from, end } = cut.range(staging.turns, 1);
    const flush = (turn: X): void => {
      if (!long) return;
      em.push();
      long.flush();
      const body = em.pop();
      em.put({
        k: "if",
        cond: bin(">=", bin("%", turn, lit(SERIAL / depth)), lit(SERIAL / depth - 1)),
        body,
      });
    };
    const sum = (turn: X): void => {
      multiply();
      flush(turn);
    };
    if (t.ahead === 0) staging.loop(from, end, sum);
    else staging.loopAhead(from, end, true, sum);
  }
  long?.finish();
  if (slice) {
    const names = accs.flat();
    const mine = others === 1 ? lane : bin("-", laneX(), lit(each));
    const first = bin("<", slice, lit(1));
    for (let from = 0; from < names.length; from += sums) {
      const some = names.slice(from, from + sums);
      if (from > 0) {
        em.put({ k: "if", cond: first, body: em.pop() });
        em.put({ k: "barrier" });
      }
      const put = some.map((name, i): Stmt => {
        const index = bin("+", mine, lit(each * others * i));
        return { k: "setShared", name: tileB.name, index, x: variable(name, dtype, 4) };
      });
      em.put({ k: "if", cond: bin(">=", slice, lit(1)), body: put });
      em.put({ k: "barrier" });
      em.push();
      some.forEach((name, i) => {
        const left = Array.from({ length: others }, (_, q) =>
          sharedAt(tileB, bin("+", lane, lit(each * (i * others + q)))),
        );
        em.put({ k: "set", name, x: left.reduce((a, b) => bin("+", a, b), variable(name, dtype, 4)) });
      });
    }
  }
  const first = bin("+", row0, myRow);
  const outRow = em.let("out_row", bin("/", first, lit(n.window)));
  const columns = Array.from({ length: colParts }, (_, j) =>
    em.let("out_col", bin("+", col0, bin("+", bin("*", tx, lit(4)), lit(j * threadsX * 4)))),
  );
  cut.stores(batch, (store) => {
    const byColumn = columns.map((x) => store.byColumn(x));
    for (let i = 0; i < RM; i += n.window)
      for (const [j, column] of columns.entries())
        em.put({
          k: "run",
          fn: store.name,
          args: [
            store.batch,
            bin("+", outRow, lit(rowAt(i) / n.window)),
            column,
            ...Array.from({ length: n.window }, (_, p) => variable(accs[i + p][j], dtype, 4)),
            ...byColumn[j],
          ],
        });
  });
  if (slice) em.put({ k: "if", cond: bin("<", slice, lit(1)), body: em.pop() });
  return finish(em, s, {
    name: groupName(job.group),
    family: `contraction.tile ${sides.rows}x${t.cols}x${depth}, ${RM}x${t.wide} a thread${slice ? ` of ${t.slices} slices` : ""}`,
    workgroup: sides.threads,
    groups: mul(cut.groups, when),
    cost: costOf(n),
    nest: describe(n, `workgroup tile ${sides.rows} rows x ${t.cols} columns x ${depth}`),
  });
}

/** A thread's number in its slice, and the slice; undefined where there is one. */
function sliceAt(
  em: Emitter,
  threads: number,
  slices: number,
): { readonly lane: X; readonly slice: X | undefined } {
  if (slices === 1) return { lane: laneX(), slice: undefined };
  return {
    lane: em.let("lane_of", bin("%", laneX(), lit(threads))),
    slice: em.let("slice", bin("/", laneX(), lit(threads))),
  };
}

/**
 * Where a thread stands in its tile: eight columns by four rows of threads are neighbours, so that what a subgroup reads of
 * both factors is little.
 */
function threadAt(em: Emitter, lane: X, threadsX: number, threadsY: number) {
  if (threadsX <= 8 || threadsX % 8 !== 0 || threadsY % 4 !== 0)
    return {
      tx: em.let("tx", bin("%", lane, lit(threadsX))),
      ty: em.let("ty", bin("/", lane, lit(threadsX))),
    };
  const across = lit(threadsX / 8);
  const patch = em.let("patch", bin("/", lane, lit(32)));
  return {
    tx: em.let("tx", bin("+", bin("*", bin("%", patch, across), lit(8)), bin("%", lane, lit(8)))),
    ty: em.let(
      "ty",
      bin("+", bin("*", bin("/", patch, across), lit(4)), bin("%", bin("/", lane, lit(8)), lit(4))),
    ),
  };
}
