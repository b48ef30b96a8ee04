// Pointwise kernels (and windows, gathers, plain contractions: folds run in the thread): one thread computes four
// neighbouring elements of the roots. In: a map group. Out: a kernel over the linear index of the roots' layout.
import { add, asConst, ceilDiv, dim, isMultipleOf, mul, product } from "../../dims/dim.ts";
import { bin, lit, type X } from "../../kernel/code.ts";
import { rowMajor } from "../../kernel/coordinates.ts";
import { workOf } from "../../kernel/work.ts";
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
    const liked = ctx.target.mapThreads;
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
  const wide = asConst(total) !== 1;
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
  em.count(values);
  for (const fold of twinsOf(values)) em.written.set(fold, termsOf(s, fold));
  const lane = wide ? i : undefined;
  const thread = bin("+", bin("*", groupX(), lit(threads)), laneX());
  const start = em.let("i", wide ? bin("*", thread, lit(4)) : thread);
  em.put({
    k: "if",
    cond: { k: "call", fn: "ge", args: [start, em.dim(total)], dtype: "bool", width: 1 },
    body: [{ k: "return" }],
  });
  em.push();
  em.bind(i, start);
  const results: X[] = values.map((v) => em.x(v, lane));
  const tail = { at: s.axisValue(i), extent: total };
  g.roots.forEach((r, n) => {
    const masked = wide && !isMultipleOf(total, 4);
    em.store(r, where[n], results[n], lane, masked ? tail : undefined);
  });
  const body = em.pop();
  for (const b of body) em.put(b);
  const perGroup = threads * (wide ? 4 : 1);
  return finish(em, s, {
    name: groupName(g),
    family: "map",
    workgroup: threads,
    groups: ceilDiv(total, perGroup),
    cost: mul(total, add(work, g.roots.length)),
    nest: [
      `grid i in 0 .. ${add(total, dim(0)).key} by 4 lanes`,
      ...g.roots.map((r) => `  root   ${r.node.label ?? r.node.op.name}`),
    ],
  });
}
