// Contractions by the matrix unit of subgroups: both factors are staged as f16 in workgroup memory, each subgroup multiplies its
// part of the tile in matrices that its lanes hold together, and sums stay f32 all the way. For targets with such a unit, where
// products may round what they read. In: a nest. Out: one launch, or two where k is cut.
import { asConst, type Dim, mul, product } from "../../../dims/dim.ts";
import {
  bin,
  call,
  lit,
  type MatrixType,
  type SharedArray,
  sharedAt,
  subgroupId,
  vec,
  widen,
  type X,
} from "../../../kernel/code.ts";
import type { Emitter } from "../../../kernel/emitter.ts";
import { limitOf, type Target } from "../../../targets.ts";
import { emitterFor, finish, groupName, laneX } from "../common.ts";
import type { Job, Launch } from "../family.ts";
import { costOf, describe, type Nest } from "./nest.ts";
import { Cut, type Fewer, fewOf, type Parts, type TileCounts, tileCounts, tiledFamily } from "./split.ts";
import { Places, readingOf, type Sides, Staging, type Strides } from "./staging.ts";
import { isLong, SERIAL } from "./sums.ts";

/** `high`, `wide`: rows and columns of a subgroup. `ahead`: turns that are loaded while one is multiplied. */
type Tile = {
  readonly rows: number;
  readonly cols: number;
  readonly depth: number;
  readonly high: number;
  readonly wide: number;
  readonly ahead: number;
};

export const matrixFamily = tiledFamily<Tile>("contraction.matrix", 2, (job, n) =>
  gains(job, n)
    ? {
        tiles: () => tilesFor(n),
        fewer: fewerOf(job.ctx.target, n),
        countsOf: (t) => tilesOf(t, n),
        possible: () => true,
        launch: (t, parts, when) => matrixTiles(job, n, t, parts, when),
      }
    : undefined,
);

type Unit = NonNullable<Target["matrix"]>;
/** Lanes of a subgroup, as targets with such a unit require. */
const LANES = 32;
/**
 * Terms of a long sum that stay in the matrices. The unit adds up `depth` products at a time, so that a sum of so many is rounded less
 * often than one of `SERIAL` terms.
 */
const BLOCK = 4 * SERIAL;

/**
 * Factors that fill a matrix, of numbers that may be rounded: what others are made of ahead (`derived`) keeps its digits. A
 * window's positions must lie in one matrix, whose rows are taken on together.
 */
function gains({ ctx, group }: Job, n: Nest): boolean {
  const unit = ctx.target.matrix;
  if (!unit) return false;
  const { rows, cols, depth } = unit;
  const fills = (d: Dim, least: number): boolean => (asConst(d) ?? least) >= least;
  return (
    ctx.half === true &&
    !group.derived &&
    n.dtype === "f32" &&
    rows % n.window === 0 &&
    fills(n.row.extent, rows) &&
    fills(n.col.extent, cols) &&
    n.segments.every((q) => fills(product(q.k.map((x) => x.extent)), depth))
  );
}

/** Four subgroups each, whose threads are a multiple of any subgroup's size, as Dawn asks. */
const USUAL: Tile = { rows: 64, cols: 64, depth: 32, high: 32, wide: 32, ahead: 0 };
const NARROW: Tile = { rows: 64, cols: 32, depth: 32, high: 32, wide: 16, ahead: 0 };
const SMALL: Tile = { rows: 32, cols: 32, depth: 32, high: 16, wide: 16, ahead: 0 };
/** Read each factor less often, and keep fewer workgroups busy. */
const LARGE: readonly Tile[] = [
  { rows: 128, cols: 64, depth: 16, high: 64, wide: 32, ahead: 0 },
  { rows: 128, cols: 128, depth: 16, high: 64, wide: 64, ahead: 0 },
];
/** Lanes come to matrices together, so what is multiplied before the first turn must be zeros: nobody has staged before. */
const aheadIn = (n: Nest): 0 | 1 => (n.segments.length === 1 && !isLong(n) ? 1 : 0);
/** Best first. Totals of long sums are registers beside those of the matrices: of a large tile there would be too few. */
function tilesFor(n: Nest): readonly Tile[] {
  const narrow = (asConst(n.col.extent) ?? NARROW.cols + 1) <= NARROW.cols;
  const usual = narrow ? [NARROW, USUAL] : [USUAL, NARROW];
  const ahead = aheadIn(n) === 1 ? [USUAL, SMALL].map((t) => ({ ...t, ahead: 1 })) : [];
  return [...usual, SMALL, ...ahead, ...(isLong(n) ? [] : LARGE)];
}
/** Where there are few tiles, each waits for its loads alone. */
function fewerOf({ few }: Target, n: Nest): Fewer<Tile> | undefined {
  if (!few) return undefined;
  const tile = { ...SMALL, ahead: aheadIn(n) };
  return { tile, when: fewOf(tilesOf(tile, n), few.below) };
}

/** Elements between a term's rows and the next's, beyond these: lines that a subgroup reads at once lie in other banks. */
const PAD = 8;
/** The same between rows of sums. */
const SUMS_PAD = 4;
const subgroupsOf = (t: Tile): number => (t.rows / t.high) * (t.cols / t.wide);
function sidesOf(t: Tile) {
  const { rows, cols, depth } = t;
  const threads = subgroupsOf(t) * LANES;
  return {
    rows,
    cols,
    depth,
    pitch: rows + PAD,
    colPitch: cols + PAD,
    rowPitch: depth + PAD,
    threads,
  } satisfies Sides;
}
const tilesOf = (t: Tile, n: Nest): TileCounts => tileCounts(n, t.rows, t.cols);

/** `when`: 1 for calls that this is for, 0 for others. */
function matrixTiles(job: Job, n: Nest, t: Tile, parts: Parts, when: Dim): Launch {
  const { s, window } = n;
  const em = emitterFor(job.ctx, s);
  const sides = sidesOf(t);
  const counts = tilesOf(t, n);
  const cut = new Cut(n, em, counts.all, parts);
  const { batch, row0, col0 } = cut.begin(counts, t.rows, t.cols);

  const held = new Matrices(em, t, window, job.ctx.target);
  const places = new Places(em, n, row0, col0);
  const stagings = n.segments.map(
    (q) => new Staging(em, n, q, readingOf(em, n, q, sides), sides, held.tileA, held.tileB, places),
  );
  const turns = (staging: Staging, from: X, end: X): void => {
    const multiply = (): void => held.multiply(staging.strides);
    if (t.ahead === 0) staging.loop(from, end, multiply);
    else staging.loopAhead(from, end, false, multiply);
  };
  const totals = isLong(n) ? held.taken.map(() => totalOf(em, window)) : undefined;
  if (!totals) held.begin();
  for (const staging of stagings) {
    const { from, end } = cut.range(staging.turns, 1);
    if (!totals) {
      turns(staging, from, end);
      continue;
    }
    const step = lit(BLOCK / t.depth);
    em.loop(
      undefined,
      "block",
      end,
      (block) => {
        held.begin();
        turns(staging, block, em.let("end", call("min", [bin("+", block, step), end], "i32")));
        held.take((i, sums) => {
          sums.forEach((x, p) => {
            const total = totals[i][p];
            em.put({ k: "set", name: total.name, x: bin("+", total, x) });
          });
        });
      },
      from,
      step,
    );
  }
  const store = cut.store(batch);
  const outRow = em.let("out_row", bin("/", bin("+", row0, held.row), lit(window)));
  const columns = held.columns.map((at) => {
    const x = em.let("out_col", bin("+", col0, at));
    return { x, read: store.byColumn(x) };
  });
  const finishOne = (i: number, sums: readonly X[]): void => {
    const { row, column } = held.taken[i];
    const { x, read } = columns[column];
    const args = [store.batch, bin("+", outRow, lit(row / window)), x, ...sums, ...read];
    em.put({ k: "run", fn: store.name, args });
  };
  if (!totals) held.take(finishOne);
  else held.where(() => totals.forEach((sums, i) => void finishOne(i, sums)));
  return finish(em, s, {
    name: groupName(job.group),
    family: `contraction.matrix ${t.rows}x${t.cols}x${t.depth}, ${t.high}x${t.wide} a subgroup`,
    workgroup: sides.threads,
    groups: mul(cut.groups, when),
    cost: costOf(n),
    nest: describe(n, `workgroup tile ${t.rows} rows x ${t.cols} columns x ${t.depth}`),
  });
}

/** Variables for what a thread has of a long sum at a place. */
function totalOf(em: Emitter, window: number): readonly Extract<X, { k: "var" }>[] {
  return Array.from({ length: window }, () => {
    const name = em.fresh("total");
    em.put({ k: "var", name, x: widen(lit(0, "f32"), 4) });
    return { k: "var", name, dtype: "f32", width: 4 };
  });
}

/** Four neighbouring sums, at each position of a window, that a thread takes on. */
interface Taken {
  /** Of the first position, counted from where the thread's rows begin. */
  readonly row: number;
  /** Which of the thread's columns. */
  readonly column: number;
}

/**
 * The matrices of a workgroup's subgroups, each of which has `high` rows by `wide` columns of the tile; factors come out of workgroup
 * memory, and sums go to the threads through it, some at a time.
 */
class Matrices {
  readonly tileA: SharedArray;
  readonly tileB: SharedArray;
  /** Where the rows of a thread begin in the tile, and its columns. */
  readonly row: X;
  readonly columns: readonly X[];
  /** What a thread takes, in order. */
  readonly taken: readonly Taken[];
  private readonly em: Emitter;
  private readonly t: Tile;
  private readonly unit: Unit;
  private readonly window: number;
  private readonly sums: SharedArray;
  /** Matrices beside each other that are stored at a time, and what lies between their rows. */
  private readonly together: number;
  private readonly pitch: number;
  /** Rounds in which a subgroup's threads take the lines (windows) of a matrix, so many in each. */
  private readonly rounds: number;
  private readonly lines: number;
  /** Whether a thread has a line at all; undefined where all have. */
  private readonly busy: X | undefined;
  /** The part of the subgroup among the factors, and of the sums. */
  private readonly left: X;
  private readonly right: X;
  private readonly own: X;
  /** Where a thread's sums begin. */
  private readonly from: X;
  private results: readonly (readonly string[])[] = [];

  constructor(em: Emitter, t: Tile, window: number, target: Target) {
    const unit = target.matrix as Unit;
    this.em = em;
    this.t = t;
    this.unit = unit;
    this.window = window;
    const { pitch, colPitch, rowPitch } = sidesOf(t);
    const subgroups = subgroupsOf(t);
    // Either way that a first factor may lie.
    const sizeA = Math.max(pitch * t.depth, rowPitch * t.rows);
    const sizeB = colPitch * t.depth;
    this.tileA = em.shared("tile_a", "f16", 1, sizeA);
    this.tileB = em.shared("tile_b", "f16", 1, sizeB);
    const room = limitOf(target, "maxComputeWorkgroupStorageSize") - (sizeA + sizeB) * 2;
    const sizeOf = (matrices: number): number => unit.rows * (matrices * unit.cols + SUMS_PAD);
    let together = t.wide / unit.cols;
    while (together > 1 && subgroups * sizeOf(together) * 4 > room) together /= 2;
    this.together = together;
    this.pitch = together * unit.cols + SUMS_PAD;
    this.sums = em.shared("sums", "f32", 1, subgroups * sizeOf(together));
    const quads = (together * unit.cols) / 4;
    this.lines = LANES / quads;
    const all = unit.rows / window;
    this.rounds = Math.ceil(all / this.lines);

    const across = t.cols / t.wide;
    const subgroup = em.let("subgroup", subgroupId);
    this.left = em.let("left", bin("*", bin("/", subgroup, lit(across)), lit(t.high)));
    this.right = em.let("right", bin("*", bin("%", subgroup, lit(across)), lit(t.wide)));
    this.own = em.let("own", bin("*", subgroup, lit(sizeOf(together))));
    // Threads take what lies where their number says, whichever subgroup they are of.
    const region = em.let("region", bin("/", laneX(), lit(LANES)));
    const member = em.let("member", bin("%", laneX(), lit(LANES)));
    const line = em.let("line", bin("/", member, lit(quads)));
    const quad = em.let("quad", bin("*", bin("%", member, lit(quads)), lit(4)));
    this.busy = all < this.lines ? bin("<", line, lit(all)) : undefined;
    const first = bin("*", line, lit(window));
    this.from = em.let(
      "from",
      bin("+", bin("+", bin("*", region, lit(sizeOf(together))), bin("*", first, lit(this.pitch))), quad),
    );
    this.row = em.let("my_row", bin("+", bin("*", bin("/", region, lit(across)), lit(t.high)), first));
    const myCol = em.let("my_col", bin("+", bin("*", bin("%", region, lit(across)), lit(t.wide)), quad));
    const blocks = t.wide / unit.cols / together;
    this.columns = Array.from({ length: blocks }, (_, j) => bin("+", myCol, lit(j * together * unit.cols)));
    this.taken = this.columns.flatMap((_, column) =>
      Array.from({ length: t.high / unit.rows }, (_, i) =>
        Array.from({ length: this.rounds }, (_, u) => ({
          row: i * unit.rows + u * this.lines * window,
          column,
        })),
      ).flat(),
    );
  }

  private type(role: MatrixType["role"]): MatrixType {
    const { rows, cols, depth } = this.unit;
    if (role === "left") return { role, dtype: "f16", rows, cols: depth };
    return role === "right" ? { role, dtype: "f16", rows: depth, cols } : { role, dtype: "f32", rows, cols };
  }
  /** Sums from zero on, in the innermost block. */
  begin(): void {
    const { em, t, unit } = this;
    this.results = Array.from({ length: t.high / unit.rows }, () =>
      Array.from({ length: t.wide / unit.cols }, () => {
        const name = em.fresh("c");
        em.put({ k: "matrix", name, type: this.type("result") });
        return name;
      }),
    );
  }
  /** Adds the products of what is staged, the first factor's rows and terms so far apart. */
  multiply({ row, term }: Strides): void {
    const { em, t, unit, results } = this;
    const { colPitch } = sidesOf(t);
    const order =
      row === 1 ? ({ stride: term, along: "columns" } as const) : ({ stride: row, along: "rows" } as const);
    const terms = (kk: X): void => {
      const by = (x: X, stride: number): X => (stride === 1 ? x : bin("*", x, lit(stride)));
      const a0 = em.let("at_a", bin("+", by(kk, term), by(this.left, row)));
      const b0 = em.let("at_b", bin("+", bin("*", kk, lit(colPitch)), this.right));
      const rights = results[0].map((_, j) => {
        const name = em.fresh("b");
        const index = bin("+", b0, lit(j * unit.cols));
        const from = { array: this.tileB.name, index, stride: colPitch, along: "rows" } as const;
        em.put({ k: "matrix", name, type: this.type("right"), from });
        return name;
      });
      results.forEach((list, i) => {
        const left = em.fresh("a");
        const index = bin("+", a0, lit(i * unit.rows * row));
        const from = { array: this.tileA.name, index, ...order };
        em.put({ k: "matrix", name: left, type: this.type("left"), from });
        list.forEach((into, j) => {
          em.put({ k: "multiply", into, left, right: rights[j] });
        });
      });
    };
    if (t.depth === unit.depth) terms(lit(0));
    else em.loop(undefined, "kk", lit(t.depth), terms, lit(0), lit(unit.depth));
  }
  /** Brings the sums to the threads: `each` is told which of `taken` it has, and its sums, of each position of a window. */
  take(each: (i: number, sums: readonly X[]) => void): void {
    const { em, results, together, unit, pitch, window } = this;
    let i = 0;
    this.columns.forEach((_, column) => {
      for (const list of results) {
        // What was there has been taken.
        if (i > 0) em.put({ k: "barrier" });
        list.slice(column * together, (column + 1) * together).forEach((matrix, j) => {
          const index = bin("+", this.own, lit(j * unit.cols));
          em.put({
            k: "storeMatrix",
            matrix,
            to: { array: this.sums.name, index, stride: pitch, along: "rows" },
          });
        });
        em.put({ k: "barrier" });
        const first = i;
        i += this.rounds;
        this.where(() => {
          for (let u = 0; u < this.rounds; u++) {
            const at = u * this.lines * window * pitch;
            each(
              first + u,
              Array.from({ length: window }, (_, p) => this.four(at + p * pitch)),
            );
          }
        });
      }
    });
  }
  private four(at: number): X {
    return vec([0, 1, 2, 3].map((u) => sharedAt(this.sums, bin("+", this.from, lit(at + u)))));
  }
  /** By threads that have something to take. */
  where(body: () => void): void {
    const { em, busy } = this;
    if (busy) em.push();
    body();
    if (busy) em.put({ k: "if", cond: busy, body: em.pop() });
  }
}
