// Contractions with few tiles and a long k, in parts of k: each part has tiles of its own, which leave their sums behind, and
// a second launch adds those up, always in the same order, and computes what follows. In: a nest and a choice. Out: a
// temporary, and the second launch.
import {
  asConst,
  ceilDiv,
  type Dim,
  isConst,
  isMultipleOf,
  max,
  min,
  mul,
  product,
  substitute,
} from "../../../dims/dim.ts";
import type { Value } from "../../../ir/types.ts";
import { bin, call, lit, variable, widen, type X } from "../../../kernel/code.ts";
import type { Emitter } from "../../../kernel/emitter.ts";
import { loadsOf } from "../../../kernel/scalar.ts";
import { limitOf } from "../../../targets.ts";
import { emitterFor, finish, groupName, groupX, laneX } from "../common.ts";
import { type Job, type Launch, type Launches, oneLaunch, temporary } from "../family.ts";
import { type Nest, storeFunction } from "./nest.ts";

/** Terms of a part, at least: fewer are no work for a workgroup, and the second launch costs about as many. */
const LEAST = 512;
/** A k from which parts pay for the launch they take, where the tiles leave three quarters of the device idle. */
const LONG = 8192;
const IDLE = 4;
/** Parts, at most. */
const MOST = 64;
const NOMINAL = 32;
const nominal = (d: Dim): number => asConst(substitute(d, () => NOMINAL)) ?? Number.POSITIVE_INFINITY;

/** Into how many parts k may be cut, best first; 1 is whole. */
export function splitsOf(job: Job, n: Nest, tiles: Dim): readonly number[] {
  const { target } = job.ctx;
  if (job.group.derived || n.window !== 1 || n.dtype !== "f32" || n.segments.length !== 1) return [1];
  // The second launch binds the temporary beside what follows the sums.
  const bound = new Set([...n.epilogue.roots.flatMap(loadsOf).map((l) => l.value), ...n.epilogue.values]);
  if (bound.size + 1 > limitOf(target, "maxStorageBuffersPerShaderStage")) return [1];
  const few = Math.ceil(target.busyRows / nominal(tiles));
  const k = nominal(product(n.segments[0].k.map((a) => a.extent)));
  const parts = Math.min(MOST, Math.max(few, 2), Math.floor(k / LEAST));
  if (parts < 2) return [1];
  return few >= IDLE && k >= LONG ? [parts, 1] : [1, parts];
}

/** Parts of an axis: as many as the sizes of the call want. */
export interface Parts {
  readonly count: Dim;
  readonly size: Dim;
}
/** `most` parts of whole `grain`s; `rest`: terms behind each step of the axis. */
export function partsOf(extent: Dim, most: number, grain: number, rest: Dim): Parts {
  const least = Math.ceil(Math.max(1, LEAST / nominal(rest)) / grain) * grain;
  return {
    size: max(least, mul(ceilDiv(ceilDiv(extent, most), grain), grain)),
    count: min(most, ceilDiv(extent, least)),
  };
}

/** The tiles of one kernel, cut or whole: which tile a workgroup has, what it sums, and where that goes. */
export class Cut {
  /** The tile by number. */
  readonly tile: X;
  private readonly job: Job;
  private readonly n: Nest;
  private readonly em: Emitter;
  private readonly most: number;
  private readonly tiles: Dim;
  private readonly part: X | undefined;
  private parts: Parts | undefined;
  private partial: Value | undefined;

  constructor(job: Job, n: Nest, em: Emitter, most: number, tiles: Dim) {
    this.job = job;
    this.n = n;
    this.em = em;
    this.most = most;
    this.tiles = tiles;
    const cut = most > 1;
    this.tile = cut ? em.let("tile", bin("%", groupX(), em.dim(tiles))) : groupX();
    this.part = cut ? em.let("part", bin("/", groupX(), em.dim(tiles))) : undefined;
  }
  /** What of an axis of k the workgroup sums. */
  range(extent: Dim, grain: number, rest: Dim): { readonly from: X; readonly end: X } {
    const { em, part } = this;
    if (!part) return { from: lit(0), end: em.dim(extent) };
    this.parts = partsOf(extent, this.most, grain, rest);
    const from = em.let("first", bin("*", part, em.dim(this.parts.size)));
    return {
      from,
      end: em.let("last", call("min", [bin("+", from, em.dim(this.parts.size)), em.dim(extent)], "i32")),
    };
  }
  /** The function that takes sums on, and the batch it is told. */
  store(batch: X): { readonly name: string; readonly batch: X } {
    const { em, n, part, parts } = this;
    if (!part || !parts) return { name: storeFunction(em, n), batch };
    const slabs = mul(parts.count, n.batch.extent);
    this.partial = temporary("parts", n.dtype, [slabs, n.row.extent, n.col.extent], this.job.group.anchor);
    return {
      name: storePart(em, n, this.partial),
      batch: em.let("slab", bin("+", bin("*", part, em.dim(n.batch.extent)), batch)),
    };
  }
  /** Workgroups of the kernel. */
  get groups(): Dim {
    return this.parts ? mul(this.tiles, this.parts.count) : this.tiles;
  }
  launches(first: Launch): Launches {
    const { partial, parts } = this;
    if (!partial || !parts) return oneLaunch(first);
    return { list: [first, joined(this.job, this.n, partial, parts.count)], temporaries: [partial] };
  }
}

/** Emits `store(slab, row, col, v)`, which leaves the sums of a part behind, and returns its name. */
function storePart(em: Emitter, n: Nest, partial: Value): string {
  const { s, row, col } = n;
  const slab = s.axis("slab", partial.type.shape[0]);
  const saved = em.stack;
  em.stack = [];
  em.push();
  const name = em.fresh("store");
  const params = ["slab", "row", "col"].map((what) => ({
    name: em.fresh(what),
    dtype: "i32" as const,
    width: 1 as const,
  }));
  const value = { name: em.fresh("v"), dtype: n.dtype, width: 4 as const };
  const [slabX, rowX, colX] = params.map((p) => variable(p.name, "i32"));
  em.bind(slab, slabX);
  em.bind(row, rowX);
  em.bind(col, colX);
  const at = [s.axisValue(slab), s.axisValue(row), s.axisValue(col)];
  const tail = isMultipleOf(col.extent, 4) ? undefined : { at: s.axisValue(col), extent: col.extent };
  if (isConst(col.extent, 1))
    em.store(
      partial,
      at,
      { k: "part", a: variable(value.name, n.dtype, 4), i: 0, dtype: n.dtype, width: 1 },
      undefined,
    );
  else em.store(partial, at, variable(value.name, n.dtype, 4), col, tail);
  const body = em.pop();
  em.stack = saved;
  const inside = bin("&&", bin("<", rowX, em.dim(row.extent)), bin("<", colX, em.dim(col.extent)));
  em.functions.push({ name, params: [...params, value], body: [{ k: "if", cond: inside, body }] });
  return name;
}

/** The second launch: four neighbouring sums a thread, part by part, and what follows them. */
function joined(job: Job, n: Nest, partial: Value, count: Dim): Launch {
  const { s, row, col, batch, dtype } = n;
  const em = emitterFor(job.ctx, s);
  const threads = job.ctx.target.mapThreads;
  const quads = ceilDiv(col.extent, 4);
  const many = mul(quads, row.extent, batch.extent);
  const i = em.let("i", bin("+", bin("*", groupX(), lit(threads)), laneX()));
  em.put({ k: "if", cond: bin(">=", i, em.dim(many)), body: [{ k: "return" }] });
  const colX = em.let("col", bin("*", bin("%", i, em.dim(quads)), lit(4)));
  const line = em.let("line", bin("/", i, em.dim(quads)));
  const rowX = em.let("row", bin("%", line, em.dim(row.extent)));
  const batchX = em.let("batch", bin("/", line, em.dim(row.extent)));
  em.bind(col, colX);
  em.bind(row, rowX);
  em.bind(batch, batchX);
  const part = s.axis("part", count);
  const slab = s.iadd(s.imul(s.axisValue(part), batch.extent), s.axisValue(batch));
  const sum = em.fresh("sum");
  em.put({ k: "var", name: sum, x: widen(lit(0, dtype), 4) });
  const now = variable(sum, dtype, 4);
  const load = s.load(partial, [slab, s.axisValue(row), s.axisValue(col)]);
  em.loop(part, "part", em.dim(count), () =>
    em.put({ k: "set", name: sum, x: bin("+", now, widen(em.x(load, col), 4)) }),
  );
  em.put({ k: "run", fn: storeFunction(em, n), args: [batchX, rowX, colX, now] });
  return finish(em, s, {
    name: `${groupName(job.group)}_parts`,
    // As any kernel of an element a thread: it may run beside others.
    family: "map",
    workgroup: threads,
    groups: ceilDiv(many, threads),
    cost: mul(many, count, 4),
    nest: [
      `grid batch, row, col in 0 .. ${many.key} by 4 lanes`,
      `  thread part in 0 .. ${count.key}`,
      "  inline epilogue (root)",
    ],
  });
}
