// Windows of 3 x 3 at every place of an image, by Winograd's method: of a block of the image come as many factors for each
// channel as it has elements, each factor is one of a product over channels, and of the products come the block's results.
// Where multiplications are what takes the time, that is a quarter of them. In: a contraction that is a correlation, and its
// filter in that form. Out: three launches (blocks, products, results), of which the last computes what follows.

import { InternalError } from "../../../diagnostics/index.ts";
import {
  asConst,
  ceilDiv,
  type Dim,
  dim,
  equal,
  evaluateAll,
  floorDiv,
  isConst,
  max,
  min,
  mul,
  NOMINAL,
  product,
  sub,
} from "../../../dims/dim.ts";
import type { Correlation, Graph, Node, Value } from "../../../ir/types.ts";
import { bin, call, lit, variable, widen, type X } from "../../../kernel/code.ts";
import type { Emitter } from "../../../kernel/emitter.ts";
import { createLowering, foldOf, type ScalarContext } from "../../../kernel/lowering.ts";
import { type Axis, foldsOf, type Scalar } from "../../../kernel/scalar.ts";
import { type Matrix, TAPS, TILES, transformsOf } from "../../../kernel/winograd.ts";
import { winogradFilter } from "../../../ops/winograd.ts";
import type { Fused, Region } from "../../../regions/region.ts";
import { limitOf, subgroupOf, type Target } from "../../../targets.ts";
import type { FilterFor } from "../../6-layout/weights.ts";
import { emitterFor, finish, groupLowering, groupName, groupX, laneX, lowerRoot } from "../common.ts";
import {
  type Family,
  type Job,
  type Launch,
  type Launches,
  oneLaunch,
  type ScheduleContext,
  temporary,
} from "../family.ts";
import { emitStore, type Nest, nestOf } from "./nest.ts";
import { subgroupTiles } from "./subgroup.ts";

/** `tile`: results of a block along an axis. */
type Choice = { readonly tile: number };
const THREADS = 64;

export const winogradFamily: Family<Choice> = {
  name: "contraction.winograd",
  choices(job) {
    const filter = job.ctx.filters.get(job.group);
    return filter ? [{ tile: tileOf(filter.value) }] : [];
  },
  lower: (job, { tile }) => blocks(job, job.nest() as Nest, tile),
};
export const winogradFilterFamily: Family<Choice> = {
  name: "winograd filter",
  claims: (node) => node.op === winogradFilter,
  choices: ({ group }) => (group.anchor.op === winogradFilter ? [{ tile: tileOf(group.roots[0]) }] : []),
  lower: (job, { tile }) => oneLaunch(filterLaunch(job, tile)),
};
const tileOf = (filter: Value): number => Number(filter.node.attrs.tile);

/** The form in which a region of this target wants its filter. */
export function filtersFor(target: Target): FilterFor | undefined {
  if (!target.winograd || subgroupOf(target) === undefined) return undefined;
  return (fused, layouts, g) => {
    const ctx = { fused, layouts, target, packed: new Map(), filters: new Map() };
    const found = fittingOf(ctx, g);
    const tile = found && bestTile(target, found, found.window);
    if (!found || tile === undefined || (asConst(roomOf(found, tile)) ?? 0) > holdsOf(target))
      return undefined;
    // What a workgroup reads of it lies together: at few blocks it is most of what there is to read.
    const panel = (subgroupOf(target) ?? 0) * 4;
    const lies = { order: [0, 1, 2], panel: found.out % panel === 0 ? panel : undefined };
    const spare = isTight(target, fused, found, tile);
    return { of: found.correlation.filter, op: winogradFilter, attrs: { tile }, lies, spare };
  };
}

// ------------------------------------------------------------------------------------------------- which, and when

/** A correlation with 3 x 3 taps, and its sizes. */
interface Sliding {
  readonly correlation: Correlation;
  readonly images: Dim;
  /** Rows and columns of results. */
  readonly high: Dim;
  readonly wide: Dim;
  /** Channels that are summed, and that come out. */
  readonly from: number;
  readonly out: number;
}
/** What its region makes of it, too. */
interface Fitting extends Sliding {
  /** Rows and columns of a fused window: [1, 1] where there is none. */
  readonly window: readonly [number, number];
}

function slidingOf(n: Node): Sliding | undefined {
  const correlation = n.op.correlation?.(n);
  if (!correlation) return undefined;
  const { image, filter } = correlation;
  const [, , high, wide, ...more] = n.outs[0].type.shape;
  if (!wide || more.length > 0 || filter.type.shape.slice(2).some((d) => !isConst(d, TAPS))) return undefined;
  if ([image, filter].some((v) => v.type.dtype !== "f32")) return undefined;
  const [out, from] = filter.type.shape.map((d) => asConst(d));
  if (!out || !from || out % 4 !== 0 || from % 4 !== 0) return undefined;
  return { correlation, images: image.type.shape[0], high, wide, from, out };
}

/** The correlation of a region, where blocks can be all that it is made of. */
function fittingOf(
  ctx: ScheduleContext,
  g: Region,
  nest: () => Nest | undefined = () => nestOf(ctx, g),
): Fitting | undefined {
  const found = g.kind === "contraction" && !g.derived ? slidingOf(g.anchor) : undefined;
  const window = found && windowOf(ctx, g);
  if (!found || !window) return undefined;
  const { images, out, high, wide } = found;
  const shape = [images, out, floorDiv(high, window[0]), floorDiv(wide, window[1])];
  const [first] = g.roots;
  if (!shape.every((d, i) => equal(d, first.type.shape[i]))) return undefined;
  // Columns are the channels that come out, and there is nothing else than this one sum.
  const n = nest();
  if (n?.segments.length !== 1 || !isConst(n.batch.extent, 1) || !isConst(n.col.extent, out))
    return undefined;
  const [image, channel, ...place] = n.epilogue.out;
  const known = [image, ...place];
  if (n.epilogue.rows.some((a) => a === channel || (!known.includes(a) && !isConst(a.extent, 1))))
    return undefined;
  return { ...found, window };
}

/**
 * Rows and columns of a fused window, where the first root's elements, in their order, are those of the region's contraction, or of
 * windows that tile it.
 */
function windowOf(ctx: ScheduleContext, g: Region): readonly [number, number] | undefined {
  const [first] = g.roots;
  if (first.type.shape.length !== 4) return undefined;
  const s = groupLowering(ctx, g, true);
  const at = first.type.shape.map((d, i) => s.axisValue(s.axis(`i${i}`, d)));
  const folds = foldsOf(lowerRoot(s, first, at));
  const [sum, ...more] = folds.filter((f) => foldsOf(f.body).length === 0);
  const [window, ...others] = folds.filter((f) => f !== sum);
  if (!sum || more.length + others.length > 0) return undefined;
  const extents = window ? window.axes.map((a) => asConst(a.extent)) : [1, 1];
  const [high, wide] = extents;
  if (extents.length !== 2 || high === undefined || wide === undefined) return undefined;
  const inside = (i: number): Scalar => (window ? s.axisValue(window.axes[i]) : s.dim(0));
  const place = [s.iadd(s.imul(at[2], high), inside(0)), s.iadd(s.imul(at[3], wide), inside(1))];
  const own = s.read(g.anchor.outs[0], [at[0], at[1], ...place]);
  return foldOf(own) === sum ? [high, wide] : undefined;
}

/** Rows of a register tile whose arithmetic takes as long as a load of four. */
const LOAD = 4.5;
/** Rows that a tile of the products sums by themselves, where it has no more. */
const FEW = 8;
/** It must be worth two more launches; and may be slower than windows by so much, at a batch of one. */
const GAIN = 0.6;
const LOSS = 1.25;

/** Whether a contraction is better computed by blocks, which it can be where it is alone in its kernel. */
export const wantsBlocks = (n: Node, target: Target): boolean => {
  const found = target.winograd && slidingOf(n);
  return found !== undefined && bestTile(target, found) !== undefined;
};

/** Whether blocks are worth their texts in a graph. */
export const blocksPay = (graph: Graph, target: Target): boolean =>
  graph.nodes.filter((n) => wantsBlocks(n, target)).length >= (target.winograd?.layers ?? 0);

/** The block that is multiplied least, where that is less than without blocks at the sizes that calls usually have. */
function bestTile(target: Target, f: Sliding, window: readonly number[] = []): number | undefined {
  const cost = target.winograd;
  if (!cost) return undefined;
  const lanes = subgroupOf(target) ?? 1;
  const most = target.tile.rows;
  /** Of a turn over a tile's rows, in the time that one of a whole tile takes for each. */
  const timeOf = (rows: number): number =>
    (most * (rows + LOAD * (rows / lanes + 4))) / (most + LOAD * (most / lanes + 4));
  const rowsOf = (rows: number, few = 0): number => {
    const rest = rows % most;
    return rows - rest + (rest === 0 ? 0 : timeOf(rest <= few ? few : most));
  };
  /** Multiplications, or what takes as long, by blocks and by windows. */
  const ratio = (tile: number, size: number): number => {
    const [high, wide] = [f.high, f.wide].map((d) => evaluateAll(d, NOMINAL));
    const images = evaluateAll(f.images, size);
    const count = images * Math.ceil(high / tile) * Math.ceil(wide / tile);
    const products = rowsOf(count, FEW) * f.from * f.out;
    const moved = count * (f.from * cost.image + f.out * cost.result);
    const windows = rowsOf(images * high * wide) * f.from * f.out * TAPS * TAPS;
    return ((tile + TAPS - 1) ** 2 * (products + moved)) / windows;
  };
  const [best] = TILES.filter((tile) => window.every((n) => tile % n === 0))
    .map((tile) => ({ tile, one: ratio(tile, 1), many: ratio(tile, NOMINAL) }))
    .map((t) => ({ ...t, gain: Math.sqrt(t.one * t.many) }))
    .filter((t) => t.one < LOSS && t.gain < GAIN)
    .sort((a, b) => a.gain - b.gain);
  return best?.tile;
}

/** More than the largest value of the graph by so much, what passes between launches may be what no buffer can hold. */
const ROOM = 1.25;
/** Whether there are calls that the graph's own values allow, and what passes between the launches does not. */
function isTight(target: Target, fused: Fused, f: Sliding, tile: number): boolean {
  const room = roomOf(f, tile);
  if ((asConst(room) ?? Number.POSITIVE_INFINITY) <= holdsOf(target)) return false;
  const values = [...fused.graph.inputs.flatMap((n) => n.outs), ...fused.groups.flatMap((g) => g.roots)];
  // What has a known size allows all calls.
  const sizes = values.map((v) => product(v.type.shape)).filter((d) => asConst(d) === undefined);
  const largest = Math.max(0, ...sizes.map((d) => evaluateAll(d, NOMINAL)));
  const known = [f.high, f.wide].every((d) => asConst(d) !== undefined);
  return !known || evaluateAll(room, NOMINAL) > ROOM * largest;
}
/** Elements that a kernel can bind. */
const holdsOf = (target: Target): number => Math.floor(limitOf(target, "maxStorageBufferBindingSize") / 4);
/** Elements that pass from launch to launch. */
function roomOf(f: Sliding, tile: number): Dim {
  const { side, count } = new Blocks(f, tile);
  return mul(side * side, count, f.from + f.out);
}

// -------------------------------------------------------------------------------------------------------- kernels

/** How blocks lie over the images. Sizes stay parameters of the kernels: one text for all layers. */
class Blocks {
  readonly tile: number;
  readonly side: number;
  /** Below and beside each other in an image, and all there are. */
  readonly down: Dim;
  readonly across: Dim;
  readonly count: Dim;

  constructor(f: Sliding, tile: number, s?: ScalarContext) {
    const size = (what: string, d: Dim): Dim => (s ? s.opaque(what, d) : d);
    this.tile = tile;
    this.side = tile + TAPS - 1;
    this.down = size("down", ceilDiv(f.high, tile));
    this.across = size("across", ceilDiv(f.wide, tile));
    this.count = mul(size("images", f.images), this.down, this.across);
  }
}
function blocks(job: Job, n: Nest, tile: number): Launches {
  const { ctx, group } = job;
  const found = fittingOf(ctx, group, () => n);
  const filter = ctx.filters.get(group);
  const lanes = subgroupOf(ctx.target);
  if (!found || !filter || lanes === undefined)
    throw new InternalError("schedule", `${group.anchor.op.name} has no blocks`);
  // 1 where a buffer can hold what passes between launches, 0 where it can't.
  const fits = filter.spare ? min(1, floorDiv(holdsOf(ctx.target), max(1, roomOf(found, tile)))) : dim(1);
  const room = new Room(found, tile, fits, group.anchor);
  const choice = { lanes, rows: ctx.target.tile.rows, wide: 1, split: 1 };
  const where = (holds: Dim, list: readonly Launch[]): Launch[] =>
    list.map((l) => ({ ...l, groups: mul(l.groups, holds) }));
  const list = where(fits, [
    imageLaunch(job, found, tile, room),
    ...subgroupTiles(job, productOf(found, tile, room, filter.value), choice, { few: FEW }).list,
    resultLaunch(job, n, found, tile, room),
  ]);
  if (filter.spare) {
    const whole = { ...n, s: n.s.fork() };
    const other = where(sub(1, fits), subgroupTiles(job, whole, choice).list);
    list.push(...other.map((l): Launch => ({ ...l, spare: true })));
  }
  return { list, temporaries: [room.value] };
}

/** What passes from launch to launch, in one: of each of a block's elements the factors of all channels, and then the products. */
class Room {
  readonly value: Value;
  private readonly f: Sliding;
  private readonly count: Dim;
  private readonly products: Dim;

  constructor(f: Sliding, tile: number, fits: Dim, from: Node) {
    const { side, count } = new Blocks(f, tile);
    this.f = f;
    this.count = count;
    this.products = mul(side * side, count, f.from);
    this.value = temporary("blocks", "f32", [mul(roomOf(f, tile), fits)], from);
  }
  factor(s: ScalarContext, ...at: readonly Scalar[]): Scalar {
    return s.isum(at, [mul(this.count, this.f.from), this.f.from, 1]);
  }
  product(s: ScalarContext, ...at: readonly Scalar[]): Scalar {
    return s.isum(at, [mul(this.count, this.f.out), this.f.out, 1], this.products);
  }
}

/**
 * matrix * x * transposed matrix, an element of x after the other, column by column: names of the sums, row by row. `from`: where
 * loops begin to count, at what no compiler knows: it would write their turns out otherwise, and take as many times as long.
 */
function bothWays(
  em: Emitter,
  matrix: Matrix,
  [row, column]: readonly Axis[],
  from: X,
  x: () => X,
): readonly (readonly string[])[] {
  const zero = (base: string): string => {
    const name = em.fresh(base);
    em.put({ k: "var", name, x: widen(lit(0, "f32"), 4) });
    return name;
  };
  const add = (name: string, x: X, by: X): void =>
    em.put({ k: "set", name, x: bin("+", variable(name, "f32", 4), bin("*", x, by)) });
  const numbers = matrix.map((row) => numberOf(em, row));
  const each = (axis: Axis, body: (by: readonly X[]) => void): void =>
    em.uncounted(axis, matrix[0].length, from, (i) =>
      body(numbers.map((fn) => em.let("by", call(`fn:${fn}`, [i], "f32")))),
    );
  const sums = matrix.map(() => matrix.map(() => zero("s")));
  each(column, (beside) => {
    const lines = matrix.map(() => zero("t"));
    each(row, (below) => {
      const element = em.let("x", x());
      for (const [a, line] of lines.entries()) add(line, element, below[a]);
    });
    for (const [a, names] of sums.entries())
      for (const [b, name] of names.entries()) add(name, variable(lines[a], "f32", 4), beside[b]);
  });
  return sums;
}
/** Emits a function that gives one of these numbers by its place, and returns its name. */
function numberOf(em: Emitter, among: readonly number[]): string {
  const times = (n: number): number => among.filter((x) => x === n).length;
  const [usual] = [...among].sort((a, b) => times(b) - times(a));
  const name = em.fresh("number");
  const i = em.fresh("i");
  const result = among.reduce<X>(
    (x, n, at) =>
      n === usual
        ? x
        : call("select", [call("eq", [variable(i, "i32"), lit(at)], "bool"), em.literal(n, "f32"), x], "f32"),
    em.literal(usual, "f32"),
  );
  em.functions.push({ name, params: [{ name: i, dtype: "i32", width: 1 }], result, body: [] });
  return name;
}
/** Stores what the sums are, one after the other, where `at` says; `from` as above. */
function storeAll(
  em: Emitter,
  sums: readonly (readonly string[])[],
  from: X,
  into: Value,
  lane: Axis,
  at: (sum: Scalar) => readonly Scalar[],
): void {
  const element = arrayOf(em, sums);
  const axis = em.s.axis("factor", sums.length ** 2);
  const place = at(em.s.axisValue(axis));
  em.uncounted(axis, sums.length ** 2, from, (i) => em.store(into, place, element(i), lane));
}
/** The sums as an array: an element of it, by a number that the loop that asks knows. */
function arrayOf(em: Emitter, sums: readonly (readonly string[])[]): (index: X) => X {
  const name = em.fresh("tile");
  em.put({ k: "array", name, parts: sums.flat().map((sum) => variable(sum, "f32", 4)) });
  return (index) => ({ k: "element", name, index, dtype: "f32", width: 4 });
}

/** A thread's four channels of a block: binds them, and says what is beside them. Threads beyond the last return. */
function threadOf(em: Emitter, channels: Axis, count: Dim): { readonly block: X; readonly all: Dim } {
  const quads = ceilDiv(channels.extent, 4);
  const all = mul(quads, count);
  const i = em.let("i", bin("+", bin("*", groupX(), lit(THREADS)), laneX()));
  em.put({ k: "if", cond: bin(">=", i, em.dim(all)), body: [{ k: "return" }] });
  em.bind(channels, em.let("c", bin("*", bin("%", i, em.dim(quads)), lit(4))));
  return { block: em.let("block", bin("/", i, em.dim(quads))), all };
}
/** The image of a block, and its first row and column. */
function placeOf(em: Emitter, b: Blocks, block: X): { readonly image: X; readonly row: X; readonly col: X } {
  const line = em.let("line", bin("/", block, em.dim(b.across)));
  const tile = lit(b.tile);
  return {
    image: em.let("image", bin("/", line, em.dim(b.down))),
    row: em.let("row", bin("*", bin("%", line, em.dim(b.down)), tile)),
    col: em.let("col", bin("*", bin("%", block, em.dim(b.across)), tile)),
  };
}

/** Factors of all blocks: what the image is made of is computed where it is read. */
function imageLaunch(job: Job, f: Sliding, tile: number, room: Room): Launch {
  const s = groupLowering(job.ctx, job.group);
  const b = new Blocks(f, tile, s);
  const em = emitterFor(job.ctx, s);
  const { image, offset } = f.correlation;
  const channel = s.axis("c", f.from);
  const { block, all } = threadOf(em, channel, b.count);
  const place = placeOf(em, b, block);
  const own = s.axis("block", b.count);
  em.bind(own, block);
  const [n, row, col] = [s.axis("n", f.images), s.axis("row", f.high), s.axis("col", f.wide)];
  em.bind(n, place.image);
  em.bind(row, place.row);
  em.bind(col, place.col);
  const inside = [s.axis("y", b.side), s.axis("x", b.side)];
  const at = [row, col].map((a, i) => s.iadd(s.axisValue(a), s.axisValue(inside[i]), offset[i]));
  const element = s.read(image, [s.axisValue(n), s.axisValue(channel), ...at], { outside: 0, guard: [2, 3] });
  em.count([element]);
  const sums = bothWays(em, transformsOf(b.tile).image, inside, block, () =>
    widen(em.x(element, channel), 4),
  );
  storeAll(em, sums, block, room.value, channel, (sum) => [
    room.factor(s, sum, s.axisValue(own), s.axisValue(channel)),
  ]);
  return finish(em, s, {
    name: `${groupName(job.group)}_blocks`,
    family: `winograd blocks ${b.tile}x${b.tile}`,
    workgroup: THREADS,
    groups: ceilDiv(all, THREADS),
    cost: mul(all, 4 * b.side ** 3),
    nest: [`grid block, c in 0 .. ${all.key} by 4 lanes`, `  thread ${b.side} x ${b.side} of the image`],
  });
}

/** The products: one for each factor, over channels. */
function productOf(f: Sliding, tile: number, room: Room, filter: Value): Nest {
  const s = createLowering();
  const b = new Blocks(f, tile, s);
  const [row, batch] = [s.axis("row", b.count), s.axis("batch", b.side ** 2)];
  const channel = s.axis("c", f.from);
  const col = s.axis("col", mul(s.opaque("quads", f.out / 4), 4));
  const at = (...axes: Axis[]): Scalar[] => axes.map((a) => s.axisValue(a));
  const x = s.load(room.value, [room.factor(s, ...at(batch, row, channel))]);
  const y = s.load(filter, at(batch, channel, col));
  const total = s.foldOver("add", [channel], s.call("mul", x, y));
  return {
    s,
    row,
    col,
    batch,
    segments: [{ k: [channel], a: x, b: y }],
    window: 1,
    dtype: "f32",
    epilogue: {
      values: [room.value],
      out: [batch, row, col],
      roots: [total],
      where: [[room.product(s, ...at(batch, row, col))]],
      total,
      windows: [],
      windowAxes: [],
      windowExtents: [],
      rows: [row],
      extents: [row.extent],
      to: new Map(),
    },
  };
}

/** The results of all blocks, and what follows them. */
function resultLaunch(job: Job, n: Nest, f: Fitting, tile: number, room: Room): Launch {
  const { s, col } = n;
  const b = new Blocks(f, tile, s);
  const em = emitterFor(job.ctx, s);
  const { block, all } = threadOf(em, col, b.count);
  const place = placeOf(em, b, block);
  const own = s.axis("block", b.count);
  em.bind(own, block);
  const inside = [s.axis("y", b.side), s.axis("x", b.side)];
  const factor = s.axis("factor", b.side ** 2);
  const lies = room.product(s, ...[factor, own, col].map((a) => s.axisValue(a)));
  const element = s.load(room.value, [lies]);
  em.count([element]);
  const sums = bothWays(em, transformsOf(b.tile).result, inside, block, () => {
    const [y, x] = inside.map((a) => em.x(s.axisValue(a)));
    em.bind(factor, em.let("factor", bin("+", bin("*", y, lit(b.side)), x)));
    return widen(em.x(element, col), 4);
  });
  const result = arrayOf(em, sums);
  const colX = em.x(s.axisValue(col));
  const store = emitStore(em, n, true);
  const byColumn = store.byColumn(colX);
  const [high, wide] = f.window;
  const [below, beside] = [floorDiv(f.high, high), floorDiv(f.wide, wide)];
  const start = (x: X, by: number): X => (by === 1 ? x : em.let("first", bin("/", x, lit(by))));
  const [rowX, besideX] = [start(place.row, high), start(place.col, wide)];
  const end = (from: X, many: number, size: Dim): X =>
    em.let("last", call("min", [bin("+", from, lit(many)), em.dim(size)], "i32"));
  const rowEnd = end(rowX, b.tile / high, below);
  const colEnd = end(besideX, b.tile / wide, beside);
  const { out, rows } = n.epilogue;
  em.loop(
    undefined,
    "y",
    rowEnd,
    (y) => {
      em.loop(
        undefined,
        "x",
        colEnd,
        (x) => {
          // The linear number of the result: its axes as they lie.
          const at = new Map<Axis, X>([
            [out[0], place.image],
            [out[2], y],
            [out[3], x],
          ]);
          const row = rows.reduce<X>(
            (sum, a) => bin("+", bin("*", sum, em.dim(a.extent)), at.get(a) ?? lit(0)),
            lit(0),
          );
          const up = bin("*", bin("-", y, rowX), lit(high * b.tile));
          const corner = em.let("at", bin("+", up, bin("*", bin("-", x, besideX), lit(wide))));
          const positions = Array.from({ length: n.window }, (_, p) =>
            result(bin("+", corner, lit(Math.floor(p / wide) * b.tile + (p % wide)))),
          );
          em.put({
            k: "run",
            fn: store.name,
            args: [lit(0), em.let("row", row), colX, ...positions, ...byColumn],
          });
        },
        besideX,
      );
    },
    rowX,
  );
  return finish(em, s, {
    name: groupName(job.group),
    family: `winograd results ${b.tile}x${b.tile}`,
    workgroup: THREADS,
    groups: ceilDiv(all, THREADS),
    cost: mul(all, 4 * b.side ** 3),
    nest: [
      `grid block, col in 0 .. ${all.key} by 4 lanes`,
      `  thread ${b.tile} x ${b.tile} results; window of ${n.window}`,
      "  inline epilogue (root)",
    ],
  });
}

/** A filter's factors: four channels that come out, of one that goes in. */
function filterLaunch(job: Job, tile: number): Launch {
  const s = groupLowering(job.ctx, job.group);
  const em = emitterFor(job.ctx, s);
  const [root] = job.group.roots;
  const [w] = job.group.anchor.inputs;
  const [out, from] = w.type.shape;
  const col = s.axis("col", out);
  const { block, all } = threadOf(em, col, from);
  const channel = s.axis("c", from);
  em.bind(channel, block);
  const inside = [s.axis("y", TAPS), s.axis("x", TAPS)];
  const taps = inside.map((a) => s.axisValue(a));
  const [o, c] = [s.axisValue(col), s.axisValue(channel)];
  const element = s.read(w, [o, c, ...taps]);
  em.count([element]);
  const sums = bothWays(em, transformsOf(tile).filter, inside, block, () => widen(em.x(element, col), 4));
  storeAll(em, sums, block, root, col, (sum) => [sum, c, o]);
  return finish(em, s, {
    name: "winograd_filter",
    family: `winograd filter ${tile}x${tile}`,
    workgroup: THREADS,
    groups: ceilDiv(all, THREADS),
    cost: mul(all, 4 * (tile + TAPS - 1) ** 2 * TAPS),
    nest: [`grid c, col in 0 .. ${all.key} by 4 lanes`, `  thread ${TAPS} x ${TAPS} taps`],
  });
}
