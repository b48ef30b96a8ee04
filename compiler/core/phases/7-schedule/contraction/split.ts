// Contractions with few tiles, in parts of k: each part has tiles of its own, which leave their sums behind, and a second
// launch adds those up, always in the same order, and computes what follows. How many parts there are follows from the sizes
// of the call; where one is enough, the first launch stores the results itself, and the second has no workgroups.
// In: a nest and a choice. Out: a temporary, and the second launch.
import {
  add,
  asConst,
  ceilDiv,
  type Dim,
  dim,
  evaluateAll,
  floorDiv,
  isConst,
  isMultipleOf,
  max,
  min,
  mul,
  NOMINAL,
  product,
  sub,
} from "../../../dims/dim.ts";
import type { Value } from "../../../ir/types.ts";
import { bin, call, lit, variable, type Width, widen, type X } from "../../../kernel/code.ts";
import type { Emitter } from "../../../kernel/emitter.ts";
import { loadsOf } from "../../../kernel/scalar.ts";
import { trains } from "../../../regions/region.ts";
import { limitOf } from "../../../targets.ts";
import { emitterFor, finish, groupName, groupX, laneX } from "../common.ts";
import { type Family, type Job, type Launch, type Launches, temporary } from "../family.ts";
import { emitStore, type Nest, type Store, storeFunction } from "./nest.ts";

/** Parts, at most. */
const MOST = 64;
/** Of a training step, launches that a cut must be worth where more of a batch would do as well. */
const GROWING = 6;
/** Partial sums that a thread of the second launch has on their way at a time. */
const AT_ONCE = 4;

/** Terms of all sums together, for one result. */
const termsOf = (n: Nest): Dim => add(...n.segments.map((q) => product(q.k.map((a) => a.extent))));

/**
 * Into how many parts k may be cut, best first; 1 is whole. Worth a second launch at the sizes that a call may have: one of a
 * batch where nothing is trained, and the nominal ones. `steps`: of the loop that is cut, where no part can have less than one.
 */
export function splitsOf(job: Job, n: Nest, tiles: Dim, steps?: Dim): readonly number[] {
  const { target, fused } = job.ctx;
  if (job.group.derived || n.dtype !== "f32") return [1];
  // Either launch binds the temporary beside what it reads and stores; the first may store the results, too.
  const after = [...n.epilogue.roots.flatMap(loadsOf).map((l) => l.value), ...n.epilogue.values];
  const before = n.segments.flatMap((q) => [q.a, q.b].flatMap(loadsOf)).map((l) => l.value);
  if (new Set([...before, ...after]).size + 1 > limitOf(target, "maxStorageBuffersPerShaderStage"))
    return [1];
  const { most, count } = partsFor(job, n, tiles, steps);
  const gain = (size: number): number => {
    const parts = evaluateAll(count, size);
    return evaluateAll(termsOf(n), size) * (1 - 1 / Math.max(1, parts));
  };
  const step = trains(fused);
  const best = Math.max(...(step ? [NOMINAL] : [1, NOMINAL]).map(gain));
  // A step has many products whose tiles a larger batch would fill the device with, and runs one after the other.
  const grows = step && asConst(tiles) === undefined;
  if (best >= target.split.launch * (grows ? GROWING : 1)) return [most, 1];
  return most > 1 ? [1, most] : [1];
}

/** Parts of k: as many as keep the device busy and are worth while, by the sizes of the call; `most` whatever these are. */
function partsFor(
  job: Job,
  n: Nest,
  tiles: Dim,
  steps: Dim | undefined,
  limit = MOST,
): { readonly count: Dim; readonly most: number } {
  const { groups, least } = job.ctx.target.split;
  const wanted = max(1, floorDiv(groups, max(1, tiles)));
  const worth = max(1, floorDiv(termsOf(n), least));
  const bounds = [wanted, worth, ...(steps ? [max(1, steps)] : [])];
  const most = Math.min(limit, ...bounds.map((d) => asConst(d) ?? limit));
  return {
    count: bounds.filter((d) => asConst(d) === undefined).reduce((a, d) => min(a, d), dim(most)),
    most,
  };
}

/** The parts of k of a product: how many, and what they leave for the launch that adds them up. */
export class Parts {
  /** One where k stays whole. */
  readonly count: Dim;
  readonly partial: Value | undefined;
  private readonly job: Job;
  private readonly n: Nest;

  constructor(job: Job, n: Nest, count: Dim) {
    this.job = job;
    this.n = n;
    this.count = count;
    if (isConst(count, 1)) return;
    // Nothing is left behind where there is one part.
    const slabs = mul(count, n.batch.extent, whetherMany(count));
    this.partial = temporary("parts", n.dtype, [slabs, n.row.extent, n.col.extent], job.group.anchor);
  }
  /** `most` parts at most; `steps` as `splitsOf` was told. */
  static countOf(job: Job, n: Nest, most: number, tiles: Dim, steps?: Dim): Dim {
    return most === 1 ? dim(1) : partsFor(job, n, tiles, steps, most).count;
  }
  /** The kernels of the tiles, and what adds up. */
  launches(...first: Launch[]): Launches {
    const { job, n, partial, count } = this;
    if (!partial) return { list: first, temporaries: [] };
    return { list: [...first, joined(job, n, partial, count)], temporaries: [partial] };
  }
}

export interface TileCounts {
  readonly rowTiles: Dim;
  readonly colTiles: Dim;
  readonly all: Dim;
}
/** How many tiles of so many rows and columns a nest has. */
export function tileCounts(n: Nest, rows: number, cols: number): TileCounts {
  const rowTiles = ceilDiv(n.row.extent, rows);
  const colTiles = ceilDiv(n.col.extent, cols);
  return { rowTiles, colTiles, all: mul(rowTiles, colTiles, n.batch.extent) };
}

/** 1 where a call has fewer than `below` of them, else 0. */
export const fewOf = ({ all }: TileCounts, below: number): Dim => sub(1, min(1, floorDiv(all, below)));

/** A tile that is taken, with its number of parts; `few`: 1 where calls with few tiles have a smaller one, by a kernel of its own. */
type CutTile<T> = T & { readonly split: number; readonly few: 0 | 1 };
/** For calls where the usual tiles would be few: a smaller one, and which calls these are. */
export interface Fewer<T> {
  readonly tile: T;
  readonly when: Dim;
}
/** The ways to compute a product by tiles. */
interface Tiling<T> {
  /** Best first. */
  readonly tiles: () => readonly T[];
  readonly fewer: Fewer<T> | undefined;
  countsOf(t: T): TileCounts;
  /** What is not the best must be. */
  possible(t: T): boolean;
  /** The kernel of a tile, for calls where `when` is 1. */
  launch(t: T, parts: Parts, when: Dim): Launch;
}
/** A family of products by tiles, whole or in parts of k; `tilingOf` is undefined for those it does not compute. */
export const tiledFamily = <T extends object>(
  name: string,
  version: number,
  tilingOf: (job: Job, n: Nest) => Tiling<T> | undefined,
): Family<CutTile<T>> => ({
  name,
  version,
  choices(job) {
    const n = job.group.kind === "contraction" ? job.nest() : undefined;
    const tiling = n && tilingOf(job, n);
    return tiling ? cutTiles(job, n, tiling) : [];
  },
  lower(job, choice) {
    const n = job.nest() as Nest;
    return launchesOf(job, n, choice, tilingOf(job, n) as Tiling<T>);
  },
});
/** Where it follows from the sizes of a call which of two tiles is best, both; then each by itself, whole and in parts. */
function cutTiles<T extends object>(
  job: Job,
  n: Nest,
  { tiles, fewer, countsOf, possible }: Tiling<T>,
): readonly CutTile<T>[] {
  const [first, ...others] = tiles();
  const cut = (t: T): CutTile<T>[] =>
    splitsOf(job, n, countsOf(t).all).map((split) => ({ ...t, split, few: 0 }));
  const open = fewer !== undefined && asConst(fewer.when) === undefined;
  // Of sizes that are known, the better of the two.
  const main = fewer && isConst(fewer.when, 1) ? fewer.tile : first;
  return [
    ...(open ? splitsOf(job, n, countsOf(fewer.tile).all).slice(0, 1) : []).map(
      (split): CutTile<T> => ({ ...first, split, few: 1 }),
    ),
    ...cut(main),
    ...[first, ...others].filter((t) => t !== main && possible(t)).flatMap(cut),
  ];
}
function launchesOf<T>(
  job: Job,
  n: Nest,
  choice: CutTile<T>,
  { fewer, countsOf, launch }: Tiling<T>,
): Launches {
  const countFor = (t: T): Dim => Parts.countOf(job, n, choice.split, countsOf(t).all);
  if (choice.few === 0 || !fewer) {
    const parts = new Parts(job, n, countFor(choice));
    return parts.launches(launch(choice, parts, dim(1)));
  }
  // What adds up parts is the same for both.
  const { tile, when } = fewer;
  const many = sub(1, when);
  const parts = new Parts(job, n, add(mul(many, countFor(choice)), mul(when, countFor(tile))));
  return parts.launches(launch(choice, parts, many), launch(tile, parts, when));
}

/** The tiles of one kernel, cut or whole: which tile a workgroup has, what it sums, and where that goes. */
export class Cut {
  /** The tile by number. */
  readonly tile: X;
  /** Workgroups of the kernel. */
  readonly groups: Dim;
  private readonly n: Nest;
  private readonly em: Emitter;
  private readonly parts: Parts;
  /** The one of this workgroup; undefined where k stays whole. */
  private readonly part: X | undefined;

  constructor(n: Nest, em: Emitter, tiles: Dim, parts: Parts) {
    this.n = n;
    this.em = em;
    this.parts = parts;
    this.groups = mul(tiles, parts.count);
    this.tile = parts.partial ? em.let("tile", bin("%", groupX(), em.dim(tiles))) : groupX();
    this.part = parts.partial ? em.let("part", bin("/", groupX(), em.dim(tiles))) : undefined;
  }
  /** Binds the batch of the workgroup's tile; it, and where the tile begins, of tiles of so many rows and columns. */
  begin({ rowTiles, colTiles }: TileCounts, rows: number, cols: number) {
    const { em, tile, n } = this;
    const tileRow = em.let("tile_row", bin("%", tile, em.dim(rowTiles)));
    const rest = em.let("tile_rest", bin("/", tile, em.dim(rowTiles)));
    const one = isConst(n.batch.extent, 1);
    const tileCol = one ? rest : em.let("tile_col", bin("%", rest, em.dim(colTiles)));
    const batch = one ? lit(0) : em.let("batch", bin("/", rest, em.dim(colTiles)));
    em.bind(n.batch, batch);
    const row0 = em.let("row_0", bin("*", tileRow, lit(rows)));
    return { batch, row0, col0: em.let("col_0", bin("*", tileCol, lit(cols))) };
  }
  /** What of an axis of k the workgroup sums: whole `grain`s. */
  range(extent: Dim, grain: number): { readonly from: X; readonly end: X } {
    const { em, part, parts } = this;
    if (!part) return { from: lit(0), end: em.dim(extent) };
    const size = mul(ceilDiv(ceilDiv(extent, parts.count), grain), grain);
    const from = em.let("first", bin("*", part, em.dim(size)));
    return {
      from,
      end: em.let("last", call("min", [bin("+", from, em.dim(size)), em.dim(extent)], "i32")),
    };
  }
  /** The function that takes sums on, and the batch it is told: for who calls it in one place, in a loop over rows. */
  store(batch: X): Place {
    const { em, n, part } = this;
    const { partial, count } = this.parts;
    if (!part || !partial) return { ...emitStore(em, n, true), batch };
    const either = asConst(count) === undefined ? { count, alone: storeFunction(em, n) } : undefined;
    return this.leaving(part, partial, batch, either);
  }
  /**
   * Emits `body` with such a function, for who calls it for each row: where calls have one part or several, once for either, so
   * that the number of parts is not asked for each row.
   */
  stores(batch: X, body: (store: Place) => void): void {
    const { em, n, part } = this;
    const { partial, count } = this.parts;
    if (!part || !partial || asConst(count) !== undefined) {
      body(this.store(batch));
      return;
    }
    const alone = storeFunction(em, n);
    em.push();
    body(this.leaving(part, partial, batch));
    em.put({ k: "if", cond: bin(">=", em.dim(count), lit(2)), body: em.pop() });
    em.push();
    body({ name: alone, byColumn: () => [], batch });
    em.put({ k: "if", cond: bin("<", em.dim(count), lit(2)), body: em.pop() });
  }
  private leaving(part: X, partial: Value, batch: X, either?: Either): Place {
    const { em, n } = this;
    return {
      name: storePart(em, n, partial, either),
      byColumn: () => [],
      batch: em.let("slab", bin("+", bin("*", part, em.dim(n.batch.extent)), batch)),
    };
  }
}
type Place = Store & { readonly batch: X };
/** What a call of one part does in place of leaving its sums behind: another function, told the same. */
type Either = { readonly count: Dim; readonly alone: string };
/** 1 where there are several parts, 0 where there is one. */
const whetherMany = (count: Dim): Dim => min(1, sub(count, 1));

/** Emits `store(slab, row, col, v...)`, which leaves the sums of a part behind; its name. */
function storePart(em: Emitter, n: Nest, partial: Value, either: Either | undefined): string {
  const { s, row, col } = n;
  const slab = s.axis("slab", partial.type.shape[0]);
  const saved = em.stack;
  em.stack = [];
  em.push();
  const name = em.fresh("store");
  const param = (what: string, dtype: "i32" | Nest["dtype"], width: Width) => {
    return { name: em.fresh(what), dtype, width };
  };
  const params = ["slab", "row", "col"].map((what) => param(what, "i32", 1));
  const values = Array.from({ length: n.window }, () => param("v", n.dtype, 4));
  const [slabX, rowX, colX] = params.map((p) => variable(p.name, "i32"));
  const sums = values.map((v) => variable(v.name, n.dtype, 4));
  if (either) {
    em.push();
    em.put({ k: "run", fn: either.alone, args: [slabX, rowX, colX, ...sums] });
    em.put({ k: "return" });
    em.put({ k: "if", cond: bin("<", em.dim(either.count), lit(2)), body: em.pop() });
  }
  // All positions of a window, as rows of the sums.
  const firstRow = n.window === 1 ? rowX : em.let("row", bin("*", rowX, lit(n.window)));
  const inside = bin("&&", bin("<", firstRow, em.dim(row.extent)), bin("<", colX, em.dim(col.extent)));
  em.push();
  em.bind(slab, slabX);
  em.bind(row, firstRow);
  em.bind(col, colX);
  const tail = isMultipleOf(col.extent, 4) ? undefined : { at: s.axisValue(col), extent: col.extent };
  sums.forEach((v, i) => {
    const at = [s.axisValue(slab), s.iadd(s.axisValue(row), i), s.axisValue(col)];
    if (isConst(col.extent, 1))
      em.store(partial, at, { k: "part", a: v, i: 0, dtype: n.dtype, width: 1 }, undefined);
    else em.store(partial, at, v, col, tail);
  });
  em.put({ k: "if", cond: inside, body: em.pop() });
  const body = em.pop();
  em.stack = saved;
  em.functions.push({ name, params: [...params, ...values], body });
  return name;
}

/** The second launch: four neighbouring sums a thread, part by part, and what follows them. */
function joined(job: Job, n: Nest, partial: Value, count: Dim): Launch {
  const { s, row, col, batch, dtype } = n;
  const em = emitterFor(job.ctx, s);
  const threads = job.ctx.target.mapThreads;
  const quads = ceilDiv(col.extent, 4);
  const rows = floorDiv(row.extent, n.window);
  const many = mul(quads, rows, batch.extent);
  const i = em.let("i", bin("+", bin("*", groupX(), lit(threads)), laneX()));
  em.put({ k: "if", cond: bin(">=", i, em.dim(many)), body: [{ k: "return" }] });
  const colX = em.let("col", bin("*", bin("%", i, em.dim(quads)), lit(4)));
  const line = em.let("line", bin("/", i, em.dim(quads)));
  const rowX = em.let("row", bin("%", line, em.dim(rows)));
  const batchX = em.let("batch", bin("/", line, em.dim(rows)));
  em.bind(col, colX);
  em.bind(row, n.window === 1 ? rowX : em.let("first_row", bin("*", rowX, lit(n.window))));
  em.bind(batch, batchX);
  const positions = Array.from({ length: n.window }, (_, at) => {
    const sum = em.fresh("sum");
    em.put({ k: "var", name: sum, x: widen(lit(0, dtype), 4) });
    return { at, sum, now: variable(sum, dtype, 4) };
  });
  const add4 = (sum: string, now: X, x: X): void => em.put({ k: "set", name: sum, x: bin("+", now, x) });
  const load = (part: X, at: number): X => {
    const axis = s.axis("part", count);
    em.bind(axis, part);
    const slab = s.iadd(s.imul(s.axisValue(axis), batch.extent), s.axisValue(batch));
    return widen(em.x(s.load(partial, [slab, s.iadd(s.axisValue(row), at), s.axisValue(col)]), col), 4);
  };
  // Loads that do not wait for each other, then what is left.
  const atOnce = n.window === 1 ? AT_ONCE : 1;
  const whole = em.dim(mul(floorDiv(count, atOnce), atOnce));
  if (atOnce > 1)
    em.loop(
      undefined,
      "part",
      whole,
      (part) => {
        const loaded = Array.from({ length: atOnce }, (_, u) =>
          em.let("v", load(em.let("part", bin("+", part, lit(u))), 0)),
        );
        for (const x of loaded) add4(positions[0].sum, positions[0].now, x);
      },
      lit(0),
      lit(atOnce),
    );
  em.loop(
    undefined,
    "part",
    em.dim(count),
    (part) => {
      for (const { at, sum, now } of positions) add4(sum, now, load(part, at));
    },
    atOnce > 1 ? whole : lit(0),
  );
  em.put({
    k: "run",
    fn: storeFunction(em, n),
    args: [batchX, rowX, colX, ...positions.map((p) => p.now)],
  });
  const needed = asConst(count) === undefined ? whetherMany(count) : dim(1);
  return finish(em, s, {
    name: `${groupName(job.group)}_parts`,
    // As any kernel of an element a thread: it may run beside others.
    family: "map",
    workgroup: threads,
    groups: mul(ceilDiv(many, threads), needed),
    cost: mul(many, count, 4, needed),
    nest: [
      `grid batch, row, col in 0 .. ${many.key} by 4 lanes`,
      `  thread part in 0 .. ${count.key}`,
      "  inline epilogue (root)",
    ],
  });
}
