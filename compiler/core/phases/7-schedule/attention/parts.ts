// Attention of few queries, in parts of the keys: each part leaves its sums behind with their largest score and their
// weights' total, and a second launch brings them together, always in the same order. How many parts there are follows from
// the sizes of the call; where one is enough, the first launch stores the results itself, and the second has no workgroups.
// In: an attention kernel under way. Out: a temporary, and the second launch.
import { asConst, ceilDiv, type Dim, dim, floorDiv, max, min, mul, product, sub } from "../../../dims/dim.ts";
import type { Value } from "../../../ir/types.ts";
import { bin, call, lit, part, variable, vec, widen, type X } from "../../../kernel/code.ts";
import { MASKED } from "../../../ops/attention.ts";
import { trains } from "../../../regions/region.ts";
import { decode, emitterFor, finish, groupLowering, groupX, laneX } from "../common.ts";
import { type Job, type Launch, type Launches, temporary } from "../family.ts";
import { type Cut, featureSize, lengthOf, quadsOf, type Tiles } from "./tiles.ts";

/** Parts, at most. */
const MOST = 64;

/** Into how many parts the keys may be cut, best first; 1 is whole. A step that trains has a batch that keeps a device busy. */
export function partsOf(job: Job, cut: Cut): readonly number[] {
  const most = asConst(countOf(job, cut, MOST)) ?? MOST;
  if (most === 1) return [1];
  return trains(job.ctx.fused) ? [1, most] : [most, 1];
}
/** Parts by the sizes of the call: as many as keep the device busy, each of whole tiles. */
export function countOf({ ctx, group }: Job, cut: Cut, most: number): Dim {
  if (most === 1) return dim(1);
  const [q, k] = group.anchor.inputs;
  const tiles = mul(product(q.type.shape.slice(0, -2)), ceilDiv(lengthOf(q), cut.rows));
  const wanted = max(1, floorDiv(ctx.target.split.groups, max(1, tiles)));
  return min(most, min(wanted, max(1, ceilDiv(lengthOf(k), 4 * cut.lanes))));
}
/** The keys of the workgroup: whole tiles. */
export function rangeOf(t: Tiles, S: Dim, end: X, parts: Dim): { readonly from: X; readonly end: X } {
  const { em } = t;
  if (asConst(parts) === 1) return { from: lit(0), end };
  const size = mul(ceilDiv(ceilDiv(S, parts), t.others), t.others);
  const from = em.let("first_key", bin("*", t.part, em.dim(size)));
  return { from, end: em.let("last_key", call("min", [bin("+", from, em.dim(size)), end], "i32")) };
}

export class Parts {
  private readonly job: Job;
  private readonly t: Tiles;
  private readonly out: Value;
  private readonly count: Dim;
  /** Sums by part, batch, row; behind them four figures: the largest score, the total of weights. */
  private readonly partial: Value;

  constructor(job: Job, t: Tiles, out: Value, count: Dim) {
    this.job = job;
    this.t = t;
    this.out = out;
    this.count = count;
    const slabs = mul(count, t.batch.extent, this.several);
    const wide = (featureSize(out) as number) + 4;
    this.partial = temporary("parts", "f32", [slabs, lengthOf(out), wide], job.group.anchor);
  }
  /** 1 where there are several parts, 0 where there is one. */
  private get several(): Dim {
    return min(1, sub(this.count, 1));
  }
  /** Where there are several parts: leaves a part's sums behind, and is done. */
  leave(sums: readonly (readonly string[])[], most: X, total: X): void {
    const { t, partial, out, count } = this;
    const { em, s } = t;
    const wide = quadsOf(out);
    const slab = s.axis("slab", partial.type.shape[0]);
    em.push();
    const slabX = bin("+", bin("*", t.part, em.dim(t.batch.extent)), em.x(s.axisValue(t.batch)));
    em.bind(slab, em.let("slab", slabX));
    t.eachRow(lengthOf(out), (i) => {
      const at = [s.axisValue(slab), s.iadd(s.axisValue(t.row), i)];
      sums[i].forEach((name, n) => {
        t.storeQuad(partial, at, t.quad(n), t.at(name), t.isWhole(n, wide) ? undefined : wide);
      });
      const zero = lit(0, "f32");
      em.push();
      t.storeQuad(partial, at, lit(wide), vec([part(most, i), part(total, i), zero, zero]), undefined);
      em.put({ k: "if", cond: bin("<", t.quad(0), lit(1)), body: em.pop() });
    });
    em.put({ k: "return" });
    const body = em.pop();
    em.put({ k: "if", cond: bin(">=", em.dim(count), lit(2)), body });
  }
  launches(first: Launch): Launches {
    return { list: [first, this.joined()], temporaries: [this.partial] };
  }
  /** The second launch: four features of a row a thread. */
  private joined(): Launch {
    const { job, partial, out, count, several } = this;
    const { ctx, group } = job;
    const s = groupLowering(ctx, group);
    const em = emitterFor(ctx, s);
    const threads = ctx.target.mapThreads;
    const wide = quadsOf(out);
    const T = lengthOf(out);
    const batchShape = out.type.shape.slice(0, -2);
    const [batch, row] = [s.axis("batch", product(batchShape)), s.axis("row", T)];
    const many = mul(batch.extent, T, wide);
    const i = em.let("i", bin("+", bin("*", groupX(), lit(threads)), laneX()));
    em.put({ k: "if", cond: bin(">=", i, em.dim(many)), body: [{ k: "return" }] });
    const e = s.axis("e", wide * 4);
    em.bind(e, em.let("e", bin("*", bin("%", i, lit(wide)), lit(4))));
    const line = em.let("line", bin("/", i, lit(wide)));
    em.bind(row, em.let("row", bin("%", line, em.dim(T))));
    em.bind(batch, em.let("batch", bin("/", line, em.dim(T))));
    const held = (name: string, value: number, width: 1 | 4): { name: string; now: X } => {
      const fresh = em.fresh(name);
      em.put({ k: "var", name: fresh, x: widen(lit(value, "f32"), width) });
      return { name: fresh, now: variable(fresh, "f32", width) };
    };
    const [most, total, sum] = [held("most", MASKED, 1), held("total", 0, 1), held("sum", 0, 4)];
    const at = s.axis("part", count);
    const four = s.axis("f", 4);
    em.bind(four, lit(0));
    em.loop(at, "part", em.dim(count), () => {
      const slab = s.iadd(s.imul(s.axisValue(at), batch.extent), s.axisValue(batch));
      const load = (feature: typeof e, from: number): X =>
        em.x(s.load(partial, [slab, s.axisValue(row), s.iadd(s.axisValue(feature), from)]), feature);
      const figures = em.let("figures", load(four, 4 * wide));
      const next = em.let("next", call("raw_max", [most.now, part(figures, 0)], "f32"));
      const kept = em.let("kept", call("exp", [bin("-", most.now, next)], "f32"));
      const weight = em.let("weight", call("exp", [bin("-", part(figures, 0), next)], "f32"));
      em.put({ k: "set", name: most.name, x: next });
      const add = (to: { name: string; now: X }, x: X): void =>
        em.put({ k: "set", name: to.name, x: bin("+", bin("*", to.now, kept), bin("*", x, weight)) });
      add(total, part(figures, 1));
      add(sum, widen(load(e, 0), 4));
    });
    const none = call("eq", [total.now, lit(0, "f32")], "bool");
    const over = em.let("over", call("select", [none, lit(1, "f32"), total.now], "f32"));
    const batchAt = decode(s, s.axisValue(batch), batchShape);
    const value = bin("/", sum.now, over);
    const { dtype } = out.type;
    em.store(
      out,
      [...batchAt, s.axisValue(row), s.axisValue(e)],
      dtype === "f32" ? value : call(`cast_${dtype}`, [value], dtype),
      e,
    );
    return finish(em, s, {
      name: "attention_parts",
      // As any kernel of an element a thread: it may run beside others.
      family: "map",
      workgroup: threads,
      groups: mul(ceilDiv(many, threads), several),
      cost: mul(many, count, 8, several),
      nest: [`grid batch, row, e in 0 .. ${many.key} by 4 lanes`, `  thread part in 0 .. ${count.key}`],
    });
  }
}
