// What the kernels of attention stand on: a workgroup owns a block of rows and walks over the rows of the other side, a tile
// at a time. `lanes` threads share four rows. Products of the two are computed as tiles of a matrix product, four rows by
// four others a thread; sums weighted by them, four rows by whole vec4s of features. Every operand lies in workgroup memory
// by the axis that is summed, so that there is one loop for all of them; its size does not grow with the features. In: a
// claimed node and a cut. Out: statements.
import { asConst, ceilDiv, type Dim, dim, isConst, mul, ONE, product } from "../../../dims/dim.ts";
import type { DType, Value } from "../../../ir/types.ts";
import {
  bin,
  call,
  lit,
  part,
  type SharedArray,
  sharedAt,
  variable,
  vec,
  widen,
  type X,
} from "../../../kernel/code.ts";
import type { Emitter } from "../../../kernel/emitter.ts";
import type { ScalarContext } from "../../../kernel/lowering.ts";
import type { Axis, Scalar } from "../../../kernel/scalar.ts";
import { MASKED } from "../../../ops/attention.ts";
import { limitOf, type Target } from "../../../targets.ts";
import { decode, emitterFor, groupLowering, groupX, laneX } from "../common.ts";
import type { Job } from "../family.ts";
import { most, total, weightOf } from "./softmax.ts";

/** Rows of a workgroup, and threads that share four of them: they see four rows of the other side each at a time. */
export type Cut = { readonly rows: number; readonly lanes: number };

/** Rows, and others, of a thread. */
const FOUR = 4;
/** Vec4s of a quad of what is summed, in groups of four rows: one more, so that neighbours meet other banks. */
const quadSize = (groups: number): number => FOUR * groups + 1;
/** Where those of group `g` begin in the quad `q`; those of the next in it lie `groups` further. */
const placeOf = (q: X, groups: number, g: X): X => bin("+", bin("*", q, lit(quadSize(groups))), g);
/** Vec4s of workgroup memory for what is staged, at most. */
const ROOM = 672;

/** Quads of features of a product that are staged at a time: in equal parts. */
function depthOf({ lanes }: Cut, quads: number): number {
  const most = lanes > 16 ? 4 : 8;
  return Math.ceil(quads / Math.ceil(quads / most));
}
/** Rows of the other side, of `quads` of features, that `gather` stages at a time. The last lanes read past their row. */
function stretchOf({ lanes }: Cut, quads: number): { readonly rows: number; readonly size: number } {
  const spare = Math.ceil(quads / lanes) * lanes - quads;
  let rows = FOUR * lanes;
  while (rows > FOUR && rows * quads + spare > ROOM) rows /= 2;
  return { rows, size: rows * quads + spare };
}

/** What of a cut's kernel lies in workgroup memory, in vec4s. */
export function roomOf(cut: Cut, products: readonly Value[], gathered: readonly Value[]) {
  const teams = cut.rows / FOUR;
  const tile = Math.max(
    ...products.map((v) => depthOf(cut, quadsOf(v)) * (quadSize(teams) + quadSize(cut.lanes))),
    ...gathered.map((v) => stretchOf(cut, quadsOf(v)).size),
  );
  const weights = cut.lanes * quadSize(teams);
  const shown = cut.lanes * teams;
  return { tile, weights, shown, bytes: 16 * (tile + weights + shown) };
}

/** The last size of a value, where it is a number. */
export const featureSize = (v: Value): number | undefined => asConst(v.type.shape[v.type.shape.length - 1]);
/** Whole vec4s of features. */
export const quadsOf = (v: Value): number => (featureSize(v) as number) / 4;
/** The last but one. */
export const lengthOf = (v: Value): Dim => v.type.shape[v.type.shape.length - 2];

export const isFloat = (dtype: DType): boolean => dtype === "f32" || dtype === "f16";
/** Everything is computed in f32. */
export const inF32 = (x: X): X => (x.dtype === "f16" ? call("cast_f32", [x], "f32") : x);
/** Rows of a value from one on. */
export interface Rows {
  readonly v: Value;
  readonly first: X;
}

/** The ways to cut a workgroup, the one that is best where there are many rows first. */
const CUTS: readonly Cut[] = [
  { rows: 32, lanes: 8 },
  { rows: 16, lanes: 16 },
  { rows: 8, lanes: 32 },
];
/** Vec4s that a thread may hold on to through its loops: with more, compilers spill. */
const HELD = 24;
/**
 * The cuts that fit, for whole vec4s of features: `products` and `gathered` are what `Tiles` is going to be asked for, with
 * the sums that stay in registers, and `held` what else does.
 */
export function cutsFor(
  target: Pick<Target, "requires" | "backend">,
  products: readonly Value[],
  gathered: readonly Value[],
  sums: readonly Value[],
  held: number,
): readonly Cut[] {
  const whole = (v: Value): boolean => {
    const size = featureSize(v);
    return size !== undefined && size > 0 && size % FOUR === 0;
  };
  if (![...products, ...gathered, ...sums].every(whole)) return [];
  return CUTS.filter((cut) => {
    const own = sums.reduce((n, v) => n + FOUR * Math.ceil(quadsOf(v) / cut.lanes), held);
    const { bytes } = roomOf(cut, products, gathered);
    return own <= HELD && bytes <= limitOf(target, "maxComputeWorkgroupStorageSize");
  });
}

export class Tiles {
  readonly s: ScalarContext;
  readonly em: Emitter;
  readonly batchAt: readonly Scalar[];
  /** The first row of the workgroup, and of the thread. */
  readonly row0: X;
  readonly rowX: X;
  readonly row: Axis;
  readonly groups: Dim;
  /** The part of the other side that is the workgroup's, where there are several. */
  readonly part: X;
  readonly batch: Axis;
  readonly threads: number;
  /** Rows of the other side that are seen at a time. */
  readonly others: number;
  private readonly cut: Cut;
  private readonly teams: number;
  private readonly tx: X;
  private readonly ty: X;
  private readonly tile: SharedArray;
  private readonly weights: SharedArray;

  /** `products` and `gathered`: what it is going to be asked for. */
  constructor(
    { ctx, group: g }: Job,
    cut: Cut,
    rowCount: Dim,
    products: readonly Value[],
    gathered: readonly Value[],
    parts: Dim = ONE,
  ) {
    this.cut = cut;
    this.teams = cut.rows / FOUR;
    this.threads = this.teams * cut.lanes;
    this.others = FOUR * cut.lanes;
    this.s = groupLowering(ctx, g);
    this.em = emitterFor(ctx, this.s);
    const { s, em } = this;
    const batchShape = g.anchor.inputs[0].type.shape.slice(0, -2);
    const tiles = ceilDiv(rowCount, cut.rows);
    const batch = s.axis("batch", product(batchShape));
    this.batchAt = decode(s, s.axisValue(batch), batchShape);
    this.batch = batch;
    const whole = mul(batch.extent, tiles);
    const cutX = isConst(parts, 1)
      ? undefined
      : { part: bin("/", groupX(), em.dim(whole)), tile: bin("%", groupX(), em.dim(whole)) };
    this.part = cutX ? em.let("part", cutX.part) : lit(0);
    const tileX = cutX ? em.let("tile_of", cutX.tile) : groupX();
    em.bind(batch, em.let("batch", bin("/", tileX, em.dim(tiles))));
    this.row0 = em.let("row_0", bin("*", bin("%", tileX, em.dim(tiles)), lit(cut.rows)));
    this.tx = em.let("tx", bin("%", laneX(), lit(cut.lanes)));
    this.ty = em.let("ty", bin("/", laneX(), lit(cut.lanes)));
    this.row = s.axis("row", rowCount);
    this.rowX = em.let("row", bin("+", this.row0, bin("*", this.ty, lit(FOUR))));
    em.bind(this.row, this.rowX);
    this.groups = mul(whole, parts);
    const room = roomOf(cut, products, gathered);
    this.tile = em.shared("tile", "f32", 4, room.tile);
    this.weights = em.shared("weights", "f32", 4, room.weights);
  }

  /** The thread's four others of a tile that begins at `first`, as a vec4 of numbers. */
  othersAt(first: X): X {
    const { em, tx } = this;
    return em.let(
      "other",
      bin("+", bin("+", first, bin("*", tx, lit(FOUR))), vec([0, 1, 2, 3].map((i) => lit(i)))),
    );
  }
  variables(name: string, count: number, value = 0): string[] {
    return Array.from({ length: count }, () => {
      const n = this.em.fresh(name);
      this.em.put({ k: "var", name: n, x: widen(lit(value, "f32"), 4) });
      return n;
    });
  }
  /** Sums by row: for each of the thread's rows its vec4s of `quads`. */
  sums(name: string, quads: number): string[][] {
    return Array.from({ length: FOUR }, () => this.variables(name, Math.ceil(quads / this.cut.lanes)));
  }
  at = (name: string): X => variable(name, "f32", 4);
  set(name: string, x: X): void {
    this.em.put({ k: "set", name, x });
  }
  barrier(): void {
    this.em.put({ k: "barrier" });
  }

  /** Products of the thread's four rows with its four others: a vec4 over the others for each row. */
  products(own: Rows, other: Rows): string[] {
    const { em, cut, teams } = this;
    const quads = quadsOf(own.v);
    const depth = depthOf(cut, quads);
    const { tile } = this;
    const behind = depth * quadSize(teams);
    const sums = this.variables("s", FOUR);
    const chunk = (from: X): void => {
      this.barrier();
      this.across(own, tile, 0, teams, from, depth);
      this.across(other, tile, behind, cut.lanes, from, depth);
      this.barrier();
      this.outer(
        sums.map((n) => [n]),
        depth,
        { of: tile, groups: teams, from: lit(0) },
        (q) => bin("+", lit(behind), placeOf(q, cut.lanes, this.tx)),
        tile,
        cut.lanes,
      );
    };
    if (depth === quads) chunk(lit(0));
    else em.loop(undefined, "quad_0", lit(quads), chunk, lit(0), lit(depth));
    return sums;
  }
  /** Leaves weights for `gather`: a vec4 over the thread's others for each of its rows. */
  spread(weights: readonly X[]): void {
    const { em, teams, tx, ty } = this;
    const held = weights.map((w) => em.let("w", w));
    const at = em.let("at", placeOf(tx, teams, ty));
    for (let c = 0; c < FOUR; c++)
      em.put({
        k: "setShared",
        name: this.weights.name,
        index: bin("+", at, lit(c * teams)),
        x: vec(held.map((w) => part(w, c))),
      });
  }
  /**
   * sums += weights * rows of the other side. Those past `count` may hold anything. `rolled`: as a loop whose turns nobody
   * knows, for kernels whose registers are short: compilers move loads of all turns to the front of one they unroll.
   */
  gather(sums: readonly (readonly string[])[], other: Rows, count: Dim, rolled = false): void {
    const { em, s, teams } = this;
    const wide = quadsOf(other.v);
    const { rows: keys } = stretchOf(this.cut, wide);
    const { tile } = this;
    const chunk = (from: X): void => {
      this.barrier();
      this.each(keys * wide, (u) => {
        const [at, e] = [s.axis("other", count), s.axis("e", wide * 4)];
        const atX = em.let("at", bin("+", bin("+", other.first, from), bin("/", u, lit(wide))));
        em.bind(at, atX);
        em.bind(e, em.let("e", bin("*", bin("%", u, lit(wide)), lit(4))));
        const x = this.load(other.v, s.axisValue(at), e);
        // 0 * anything need not be 0.
        const ok = widen(bin("<", atX, em.dim(count)), 4);
        em.put({
          k: "setShared",
          name: tile.name,
          index: u,
          x: call("select", [ok, x, widen(lit(0, "f32"), 4)], "f32"),
        });
      });
      this.barrier();
      this.outer(
        sums,
        keys / FOUR,
        { of: this.weights, groups: teams, from },
        (q) => bin("+", bin("*", q, lit(FOUR * wide)), this.tx),
        tile,
        wide,
        rolled,
      );
    };
    if (keys === this.others) chunk(lit(0));
    else em.loop(undefined, "part", lit(this.others), chunk, lit(0), lit(keys));
  }
  /** Of each of the thread's rows the sum over the thread's features of a function of values that are as wide. */
  own(values: readonly Value[], of: (at: readonly X[]) => X): X {
    const { em, s, cut } = this;
    const wide = quadsOf(values[0]);
    const rows = Array.from({ length: FOUR }, (_, i) => {
      const terms = Array.from({ length: Math.ceil(wide / cut.lanes) }, (_, n) => {
        const e = s.axis("e", wide * 4);
        const quad = this.quad(n);
        em.bind(e, em.let("e", bin("*", quad, lit(4))));
        const x = of(values.map((v) => this.load(v, s.iadd(s.axisValue(this.row), i), e)));
        const ok = widen(bin("<", quad, lit(wide)), 4);
        return this.isWhole(n, wide) ? x : call("select", [ok, x, widen(lit(0, "f32"), 4)], "f32");
      });
      return em.let(
        "sum",
        terms.reduce((x, y) => bin("+", x, y)),
      );
    });
    return vec(rows.map(total.within));
  }
  /** A value of every thread that shares the thread's rows. */
  exchange(x: X): X[] {
    const { em, cut, ty } = this;
    const all = em.shared("shown", "f32", 4, this.threads);
    em.put({ k: "setShared", name: all.name, index: laneX(), x });
    this.barrier();
    const from = em.let("from", bin("*", ty, lit(cut.lanes)));
    return Array.from({ length: cut.lanes }, (_, i) => sharedAt(all, bin("+", from, lit(i))));
  }
  /** Stores the thread's rows of a result, of which there are `count`. */
  store(out: Value, sums: readonly (readonly string[])[], of: (x: X, row: number) => X, count: Dim): void {
    const { s } = this;
    const wide = quadsOf(out);
    this.eachRow(count, (i) => {
      sums[i].forEach((name, n) => {
        const at = [...this.batchAt, s.iadd(s.axisValue(this.row), i)];
        const below = this.isWhole(n, wide) ? undefined : wide;
        this.storeQuad(out, at, this.quad(n), of(this.at(name), i), below);
      });
    });
  }
  /** The thread's n-th quad of features, and whether all threads have one. */
  quad(n: number): X {
    return bin("+", this.tx, lit(n * this.cut.lanes));
  }
  isWhole(n: number, quads: number): boolean {
    return (n + 1) * this.cut.lanes <= quads;
  }
  /** What is done for each of the thread's rows that there is. */
  eachRow(count: Dim, body: (i: number) => void): void {
    const { em } = this;
    for (let i = 0; i < FOUR; i++) {
      em.push();
      body(i);
      const then = em.pop();
      em.put({ k: "if", cond: bin("<", bin("+", this.rowX, lit(i)), em.dim(count)), body: then });
    }
  }
  /** Stores four features, where there are so many. */
  storeQuad(out: Value, at: readonly Scalar[], quad: X, x: X, below: number | undefined): void {
    const { em, s } = this;
    em.push();
    const e = s.axis("e", featureSize(out) as number);
    em.bind(e, em.let("e", bin("*", quad, lit(4))));
    const { dtype } = out.type;
    em.store(out, [...at, s.axisValue(e)], dtype === "f32" ? x : call(`cast_${dtype}`, [x], dtype), e);
    const body = em.pop();
    if (below === undefined) for (const stmt of body) em.put(stmt);
    else em.put({ k: "if", cond: bin("<", quad, lit(below)), body });
  }

  /** Four features of a row, in f32. */
  private load(v: Value, row: Scalar, e: Axis): X {
    const x = widen(this.em.x(this.s.read(v, [...this.batchAt, row, this.s.axisValue(e)]), e), 4);
    return inF32(x);
  }
  /** A loop of the workgroup over `count` of something. */
  private each(count: number, body: (u: X) => void): void {
    const { em, threads } = this;
    const turns = Math.ceil(count / threads);
    const turn = (from: X): void => {
      const u = bin("+", from, laneX());
      if (turns * threads === count) {
        body(turns === 1 ? u : em.let("u", u));
        return;
      }
      em.push();
      body(em.let("u", u));
      const then = em.pop();
      em.put({ k: "if", cond: bin("<", u, lit(count)), body: then });
    };
    if (turns === 1) turn(lit(0));
    else em.loop(undefined, "turn", lit(turns * threads), turn, lit(0), lit(threads));
  }
  /** Stages some quads of features of rows, by feature: vec4s over four rows. */
  private across(
    { v, first }: Rows,
    tile: SharedArray,
    at: number,
    groups: number,
    from: X,
    depth: number,
  ): void {
    const { em, s } = this;
    const quads = quadsOf(v);
    this.each(groups * depth, (u) => {
      const quad = em.let("quad", bin("%", u, lit(depth)));
      const group = em.let("four", bin("/", u, lit(depth)));
      const [row, e] = [s.axis("other", lengthOf(v)), s.axis("e", quads * 4)];
      em.bind(row, em.let("first", bin("+", first, bin("*", group, lit(FOUR)))));
      const place = em.let("place", bin("+", from, quad));
      em.bind(e, em.let("e", bin("*", place, lit(4))));
      const inside = quads % depth === 0 ? undefined : widen(bin("<", place, lit(quads)), 4);
      const rows = [0, 1, 2, 3].map((i) => {
        const x = this.load(v, s.iadd(s.axisValue(row), i), e);
        return em.let("x", inside ? call("select", [inside, x, widen(lit(0, "f32"), 4)], "f32") : x);
      });
      const to = em.let("to", bin("+", placeOf(quad, groups, group), lit(at)));
      for (let c = 0; c < FOUR; c++)
        em.put({
          k: "setShared",
          name: tile.name,
          index: bin("+", to, lit(c * groups)),
          x: vec(rows.map((x) => part(x, c))),
        });
    });
  }
  /** sums[i][n] += a[k].i * b[k][n] over quads of k. */
  private outer(
    sums: readonly (readonly string[])[],
    quads: number,
    a: { readonly of: SharedArray; readonly groups: number; readonly from: X },
    bAt: (q: X) => X,
    b: SharedArray,
    stride: number,
    rolled = false,
  ): void {
    const { em, cut, ty } = this;
    em.loop(undefined, "q", rolled ? em.dim(dim(quads)) : lit(quads), (q) => {
      const inA = bin("+", bin(">>", a.from, lit(2)), q);
      const atA = em.let("at_a", placeOf(a.from.k === "lit" ? q : em.let("q_a", inA), a.groups, ty));
      const atB = em.let("at_b", bAt(q));
      em.loop(undefined, "c", lit(FOUR), (c) => {
        const left = em.let("a", sharedAt(a.of, bin("+", atA, bin("*", c, lit(a.groups)))));
        const place = em.let("at", bin("+", atB, bin("*", c, lit(stride))));
        sums[0].forEach((_, n) => {
          const right = em.let("b", sharedAt(b, bin("+", place, lit(n * cut.lanes))));
          sums.forEach((list, i) => {
            this.set(list[n], bin("+", this.at(list[n]), bin("*", part(left, i), right)));
          });
        });
      });
    });
  }
}

/** A softmax under way: the largest score of each of the thread's rows, and the sum of the weights. */
export class Running {
  private readonly t: Tiles;
  private readonly top: string;
  private readonly all: string;

  constructor(t: Tiles) {
    this.t = t;
    [this.top] = t.variables("most", 1, MASKED);
    [this.all] = t.variables("sum", 1);
  }
  /** The weights of a tile of scores; what came together before is brought to the same largest score. */
  add(scores: readonly X[], sums: readonly (readonly string[])[]): X[] {
    const { t, top, all } = this;
    const { em } = t;
    const next = em.let("next", most.of([t.at(top), ...t.exchange(vec(scores.map(most.within)))]));
    const kept = em.let("kept", call("exp", [bin("-", t.at(top), next)], "f32"));
    t.set(top, next);
    const weights = scores.map((x, i) => em.let("w", weightOf(x, part(next, i))));
    t.set(all, bin("+", bin("*", t.at(all), kept), vec(weights.map(total.within))));
    sums.forEach((list, i) => {
      for (const name of list) t.set(name, bin("*", t.at(name), part(kept, i)));
    });
    return weights;
  }
  most(): X {
    return this.t.at(this.top);
  }
  /** The sum, of all threads. */
  sum(): X {
    return this.t.em.let("total", total.of(this.t.exchange(this.t.at(this.all))));
  }
}
