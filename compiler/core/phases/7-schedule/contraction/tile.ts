// Contractions as tiles in workgroup memory: both factors are staged, each thread owns some rows x columns of the tile.
// In: a nest. Out: one launch, or two where k is cut.
import { ceilDiv, isConst, mul } from "../../../dims/dim.ts";
import { bin, call, lit, sharedAt, variable, widen, type X } from "../../../kernel/code.ts";
import { limitOf, type Target } from "../../../targets.ts";
import { emitterFor, finish, groupName, laneX } from "../common.ts";
import type { Family, Job, Launches } from "../family.ts";
import { costOf, describe, type Nest } from "./nest.ts";
import { Cut, splitsOf } from "./split.ts";
import { Places, readingOf, type Sides, Staging } from "./staging.ts";
import { isLong, longSum, SERIAL } from "./sums.ts";

/**
 * `high`, `wide`: rows and columns of a thread. `pad`: elements between the rows of one term and the next's in workgroup
 * memory, against bank conflicts. `ahead`: turns that are loaded into registers while one is multiplied.
 */
type Tile = {
  readonly rows: number;
  readonly cols: number;
  readonly depth: number;
  readonly high: number;
  readonly wide: number;
  readonly pad: number;
  readonly ahead: number;
};
/** `split`: parts of k at most. */
type Choice = Tile & { readonly split: number };

export const tileFamily: Family<Choice> = {
  name: "contraction.tile",
  choices(job) {
    const nest = job.group.kind === "contraction" ? job.nest() : undefined;
    if (!nest) return [];
    const { target } = job.ctx;
    const [first, ...others] = tilesFor(target, nest);
    const splits = splitsOf(job, nest, tilesOf(first, nest, target).all);
    return [
      ...splits.map((split) => ({ ...first, split })),
      ...others.filter((c) => fits(c, nest, target)).map((c) => ({ ...c, split: 1 })),
    ];
  },
  lower: (job, choice) => workgroupTiles(job, job.nest() as Nest, choice),
};

const FOUR = { high: 4, wide: 4, pad: 4, ahead: 0 };
const EIGHT = { high: 8, wide: 8, pad: 4, ahead: 0 };
const TILES: readonly Tile[] = [
  { rows: 64, cols: 64, depth: 16, ...FOUR },
  { rows: 64, cols: 64, depth: 16, ...EIGHT },
  { rows: 64, cols: 32, depth: 16, ...FOUR },
  { rows: 32, cols: 32, depth: 16, ...FOUR },
  { rows: 16, cols: 64, depth: 16, ...FOUR },
];
/** Best first. Long sums have two sets of accumulators: of eight rows by eight columns they would take all registers. */
function tilesFor({ tile }: Target, n: Nest): readonly Tile[] {
  const most = isLong(n) ? 4 : Number.POSITIVE_INFINITY;
  const first: Tile = {
    ...tile,
    high: Math.min(tile.high, most),
    wide: Math.min(tile.wide, most),
    pad: FOUR.pad,
    ahead: FOUR.ahead,
  };
  return [
    first,
    ...TILES.filter((t) => Object.entries(t).some(([what, x]) => first[what as keyof Tile] !== x)),
  ];
}

/** Threads along both sides, and the rows of a thread: whole windows. */
function shapeOf(t: Tile, n: Nest, target: Target) {
  // Rows of a thread are four and four more, far apart; a window that does not divide four has its rows side by side.
  const fours = 4 % n.window === 0;
  const RM = fours ? t.high : n.window > 4 ? n.window : 4 - (4 % n.window);
  const threadsX = t.cols / t.wide;
  // A window that does not divide four takes fewer rows a thread, and must not take more threads than there may be.
  const most = Math.floor(limitOf(target, "maxComputeInvocationsPerWorkgroup") / threadsX);
  const threadsY = Math.min(most, Math.max(1, Math.floor(t.rows / RM)));
  return { fours, RM, threadsX, threadsY };
}
function sidesOf(t: Tile, n: Nest, target: Target): Sides {
  const { RM, threadsX, threadsY } = shapeOf(t, n, target);
  const rows = threadsY * RM;
  return { rows, cols: t.cols, depth: t.depth, pitch: rows + t.pad, threads: threadsX * threadsY };
}
function fits(t: Tile, n: Nest, target: Target): boolean {
  const { pitch, cols, depth } = sidesOf(t, n, target);
  return (pitch + cols) * depth * 4 <= limitOf(target, "maxComputeWorkgroupStorageSize");
}

function tilesOf(t: Tile, n: Nest, target: Target) {
  const rowTiles = ceilDiv(n.row.extent, sidesOf(t, n, target).rows);
  const colTiles = ceilDiv(n.col.extent, t.cols);
  return { rowTiles, colTiles, all: mul(rowTiles, colTiles, n.batch.extent) };
}

function workgroupTiles(job: Job, n: Nest, t: Choice): Launches {
  const { s, batch, dtype } = n;
  const { target } = job.ctx;
  const em = emitterFor(job.ctx, s);
  const { fours, RM, threadsX, threadsY } = shapeOf(t, n, target);
  const sides = sidesOf(t, n, target);
  const { depth, pitch } = sides;
  const { rowTiles, colTiles, all } = tilesOf(t, n, target);
  const cut = new Cut(job, n, em, t.split, all);
  const tileRow = em.let("tile_row", bin("%", cut.tile, em.dim(rowTiles)));
  const rest = em.let("tile_rest", bin("/", cut.tile, em.dim(rowTiles)));
  const tileCol = isConst(batch.extent, 1) ? rest : em.let("tile_col", bin("%", rest, em.dim(colTiles)));
  const batchV = isConst(batch.extent, 1) ? lit(0) : em.let("batch", bin("/", rest, em.dim(colTiles)));
  em.bind(batch, batchV);
  const row0 = em.let("row_0", bin("*", tileRow, lit(sides.rows)));
  const col0 = em.let("col_0", bin("*", tileCol, lit(t.cols)));
  const { tx, ty } = threadAt(em, threadsX, threadsY);
  // What a thread has: rows that follow each other from `myRow` and from each step on, and so columns, four by four.
  const run = fours ? 4 : RM;
  const myRow = em.let("my_row", bin("*", ty, lit(run)));
  const rowAt = (i: number): number => Math.floor(i / run) * threadsY * run + (i % run);
  const colParts = t.wide / 4;

  const tileA = em.shared("tile_a", dtype, 1, pitch * depth);
  const tileB = em.shared("tile_b", dtype, 4, (t.cols / 4) * depth);
  const accs = Array.from({ length: RM }, () => Array.from({ length: colParts }, () => em.fresh("c")));
  for (const name of accs.flat()) em.put({ k: "var", name, x: widen(lit(0, dtype), 4) });
  const long = longSum(em, n, accs.flat());
  const multiply = (): void =>
    em.loop(undefined, "kk", lit(depth), (kk) => {
      const a0 = em.let("at_a", bin("+", bin("*", kk, lit(pitch)), myRow));
      const b0 = em.let("at_b", bin("+", bin("*", kk, lit(t.cols / 4)), tx));
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
  const stagings = n.segments.map(
    (q) => new Staging(em, n, q, readingOf(em, n, q, sides), sides, tileA, tileB, places),
  );
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
    if (t.ahead === 0)
      em.loop(
        staging.turn,
        "turn",
        end,
        (turn) => {
          staging.put(staging.load());
          em.put({ k: "barrier" });
          multiply();
          flush(turn);
          em.put({ k: "barrier" });
        },
        from,
      );
    // What a turn loads waits in registers while the one before is multiplied; the last is loaded twice.
    else
      em.loop(
        undefined,
        "turn",
        bin("+", end, lit(1)),
        (turn) => {
          em.bind(staging.turn, em.let("now", call("min", [turn, bin("-", end, lit(1))], "i32")));
          const loaded = staging.load();
          em.push();
          multiply();
          flush(turn);
          em.put({ k: "if", cond: bin("<", from, turn), body: em.pop() });
          em.put({ k: "barrier" });
          staging.put(loaded);
          em.put({ k: "barrier" });
        },
        from,
      );
  }
  long?.finish();
  const store = cut.store(batchV);
  const first = bin("+", row0, myRow);
  const outCol = em.let("out_col", bin("+", col0, bin("*", tx, lit(4))));
  const outRow = em.let("out_row", bin("/", first, lit(n.window)));
  for (let i = 0; i < RM; i += n.window)
    for (let j = 0; j < colParts; j++)
      em.put({
        k: "run",
        fn: store.name,
        args: [
          store.batch,
          bin("+", outRow, lit(rowAt(i) / n.window)),
          bin("+", outCol, lit(j * threadsX * 4)),
          ...Array.from({ length: n.window }, (_, p) => variable(accs[i + p][j], dtype, 4)),
        ],
      });
  const launch = finish(em, s, {
    name: groupName(job.group),
    family: `contraction.tile ${sides.rows}x${t.cols}x${depth}, ${RM}x${t.wide} a thread`,
    workgroup: sides.threads,
    groups: cut.groups,
    cost: costOf(n),
    nest: describe(n, `workgroup tile ${sides.rows} rows x ${t.cols} columns x ${depth}`),
  });
  return cut.launches(launch);
}

/**
 * Where a thread stands in its tile: eight columns by four rows of threads are neighbours, so that what a subgroup reads of
 * both factors is little.
 */
function threadAt(em: ReturnType<typeof emitterFor>, threadsX: number, threadsY: number) {
  const lane = laneX();
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
