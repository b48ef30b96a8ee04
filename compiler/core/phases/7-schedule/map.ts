// Pointwise kernels (and windows, gathers, plain contractions: folds run in the thread): one thread computes four
// neighbouring elements of the roots. In: a map group. Out: a kernel over the linear index of the roots' layout.
import { add, asConst, ceilDiv, dim, isMultipleOf, mul, product } from "../../dims/dim.ts";
import { bin, call, lit, type X } from "../../kernel/code.ts";
import { rowMajor } from "../../kernel/coordinates.ts";
import type { Emitter } from "../../kernel/emitter.ts";
import { lanesAlong } from "../../kernel/facts.ts";
import { type Axis, loadsOf, type Scalar } from "../../kernel/scalar.ts";
import { workOf } from "../../kernel/work.ts";
import { copy } from "../../ops/copy.ts";
import type { Region } from "../../regions/region.ts";
import {
  decode,
  decodeValue,
  emitterFor,
  finish,
  groupLowering,
  groupName,
  groupX,
  laneX,
  lowerRoot,
} from "./common.ts";
import { type Family, type Job, type Launch, oneLaunch } from "./family.ts";
import { termsOf, twinsOf } from "./windows.ts";

type Choice = { readonly threads: number };

export const mapFamily: Family<Choice> = {
  name: "map",
  brief: true,
  choices({ group, ctx }) {
    // A contraction is one, too, with its fold in the thread: where it has no rows and columns, nothing else is left.
    if (group.kind !== "map" && group.kind !== "contraction") return [];
    // What is made ahead runs once: the text that all targets have.
    const liked = group.derived ? 64 : ctx.target.mapThreads;
    return [liked, 64, 128, 256].filter((n, i) => i === 0 || n !== liked).map((threads) => ({ threads }));
  },
  lower: (job, choice) => oneLaunch(scheduleMap(job, choice)),
};

function scheduleMap({ ctx, group: g }: Job, { threads }: Choice): Launch {
  const { layouts } = ctx;
  const s = groupLowering(ctx, g);
  const em = emitterFor(ctx, s);
  const first = g.roots[0];
  const total = product(first.type.shape);
  const order = layouts.order(first);
  const i = s.axis("i", total);
  const at = decodeValue(s, s.axisValue(i), first.type.shape, order);
  // Roots may show the same elements under another shape (row-major then, as the first).
  const where = g.roots.map((r) =>
    r.type.shape.length === first.type.shape.length &&
    r.type.shape.every((d, k) => d.key === first.type.shape[k].key)
      ? at
      : decode(s, rowMajor(s, at, first.type.shape), r.type.shape),
  );
  const values = g.roots.map((r, n) => lowerRoot(s, r, where[n]));
  const work = workOf(values);
  const gathered = isGathered(em, g, values, i);
  const wide = asConst(total) !== 1 && !gathered;
  em.count(values);
  for (const fold of twinsOf(values)) em.written.set(fold, termsOf(s, fold));
  const lane = wide ? i : undefined;
  const tail = { at: s.axisValue(i), extent: total };
  const masked = wide && !isMultipleOf(total, 4);
  const store = (at: X): void => {
    em.bind(i, at);
    const results = values.map((v) => em.x(v, lane));
    for (const [n, r] of g.roots.entries())
      em.store(r, where[n], results[n], lane, masked ? tail : undefined);
  };
  if (gathered) {
    const first = bin("*", groupX(), lit(threads * 4));
    const end = call("min", [bin("+", first, lit(threads * 4)), em.dim(total)], "i32");
    em.loop(undefined, "i", end, store, bin("+", first, laneX()), lit(threads));
  } else {
    const thread = bin("+", bin("*", groupX(), lit(threads)), laneX());
    const start = em.let("i", wide ? bin("*", thread, lit(4)) : thread);
    em.put({
      k: "if",
      cond: { k: "call", fn: "ge", args: [start, em.dim(total)], dtype: "bool", width: 1 },
      body: [{ k: "return" }],
    });
    em.push();
    store(start);
    const body = em.pop();
    for (const b of body) em.put(b);
  }
  const perGroup = threads * (wide || gathered ? 4 : 1);
  return finish(em, s, {
    name: groupName(g),
    family: "map",
    workgroup: threads,
    groups: ceilDiv(total, perGroup),
    cost: mul(total, add(work, g.roots.length)),
    nest: [
      `grid i in 0 .. ${add(total, dim(0)).key} by 4 ${gathered ? "turns" : "lanes"}`,
      ...g.roots.map((r) => `  root   ${r.node.label ?? r.node.op.name}`),
    ],
  });
}

/**
 * A copy, or what is made ahead, that finds elements one by one: a thread takes four in a loop, each as far from the next as there
 * are threads. Four loads and a store of four at once are no faster, and take a software adapter three times as long to compile.
 */
function isGathered(em: Emitter, g: Region, values: readonly Scalar[], i: Axis): boolean {
  if (!g.derived && g.anchor.op !== copy) return false;
  return values.flatMap(loadsOf).some((l) => lanesAlong(em.offset(l.value, l.at), i) === "scalars");
}
