// Row reductions with what reads them back: the threads of a workgroup share a row (or four neighbouring rows, where rows
// are what lies side by side in memory). Folds sit at row level: each thread folds its part, the parts are combined by
// subgroup operations or a tree in workgroup memory, and every later value of the row sees the result.
// In: a rows group. Out: a kernel with one workgroup per row (or four).

import { InternalError } from "../../diagnostics/index.ts";
import { add, ceilDiv, isConst, isMultipleOf, mul, product } from "../../dims/dim.ts";
import type { Value } from "../../ir/types.ts";
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
} from "../../kernel/code.ts";
import { rowMajor } from "../../kernel/coordinates.ts";
import { COMBINE_NAME, combine } from "../../kernel/emitter.ts";
import { foldOf, identityOf } from "../../kernel/lowering.ts";
import type { Axis, Combine, Scalar, ScalarOf } from "../../kernel/scalar.ts";
import { children, loadsOf } from "../../kernel/scalar.ts";
import { workOf } from "../../kernel/work.ts";
import { subgroupOf } from "../../targets.ts";
import {
  decode,
  emitterFor,
  extentOf,
  finish,
  groupLowering,
  groupName,
  groupX,
  laneX,
  lowerRoot,
} from "./common.ts";
import { type Family, type Job, type Launch, oneLaunch } from "./family.ts";

/** Threads of a workgroup, and how they bring their parts together: by a subgroup operation, or in workgroup memory. */
type Choice = { readonly threads: number; readonly combine: "subgroup" | "shared" };

export const rowsFamily: Family<Choice> = {
  name: "rows",
  choices({ group, ctx: { target } }) {
    if (group.kind !== "rows") return [];
    const lanes = subgroupOf(target);
    const combine = (threads: number): Choice["combine"] => (threads === lanes ? "subgroup" : "shared");
    return [target.rowThreads, ...[32, 64, 128, 256].filter((n) => n !== target.rowThreads)].map(
      (threads) => ({ threads, combine: combine(threads) }),
    );
  },
  lower: (job, choice) => oneLaunch(scheduleRows(job, choice)),
};

/** Threads that combine the others' parts. */
const COMBINERS = 8;

function scheduleRows({ ctx, group: g }: Job, choice: Choice): Launch {
  const { layouts } = ctx;
  const s = groupLowering(ctx, g);
  // The anchor says what a row is.
  const anchorAt = g.anchor.outs[0].type.shape.map((d, i) => s.axis(`i${i}`, d));
  const anchor = foldOf(
    lowerRoot(
      s,
      g.anchor.outs[0],
      anchorAt.map((a) => s.axisValue(a)),
    ),
  );
  if (!anchor) throw new InternalError("schedule", "a row reduction is not a fold");
  const rowAxes = anchorAt.filter((a) => !isConst(a.extent, 1));
  // Where neighbouring elements belong to neighbouring rows, four rows go together.
  const lying = loadsOf(anchor.body).sort((a, b) => b.value.type.shape.length - a.value.type.shape.length);
  const main = lying.find((l) => l.free.some((a) => anchor.axes.includes(a)));
  const innermost = main ? main.at[layouts.order(main.value).at(-1) as number] : undefined;
  const byRows =
    innermost !== undefined &&
    rowAxes.length > 0 &&
    innermost.free.length > 0 &&
    innermost.free.every((a) => rowAxes.includes(a));
  // Rows in the physical order of what they are reduced from.
  const rowOrder = main ? orderBy(rowAxes, main, layouts.order(main.value)) : rowAxes;
  const rowCount = product(rowAxes.map((a) => a.extent));
  const r = s.axis("row", rowCount);
  const rowAt = new Map<Axis, Scalar>();
  decode(
    s,
    s.axisValue(r),
    rowOrder.map((a) => a.extent),
  ).forEach((x, i) => void rowAt.set(rowOrder[i], x));
  const rowNumber = rowMajor(
    s,
    rowAxes.map((a) => rowAt.get(a) as Scalar),
    rowAxes.map((a) => a.extent),
  );
  const foldOrder = main ? orderBy(anchor.axes, main, layouts.order(main.value)) : anchor.axes;
  const k0 = product(anchor.axes.map((a) => a.extent));

  /** Row-level folds over one linear axis, in physical order. */
  const foldAxes = new Map<string, Axis>();
  const innerAxes = new Map<string, Axis>();
  const linearFolds = new Map<Scalar, Scalar>();
  const foldAxis = new Map<Scalar, Axis>();
  const linear = (x: Scalar): Scalar =>
    s.rewrite(x, (y) => {
      if (y.kind !== "fold") return undefined;
      const known = linearFolds.get(y);
      if (known) return known;
      // Each fold's axes correspond to the anchor's by position.
      const axes =
        y.axes.length === anchor.axes.length ? foldOrder.map((a) => y.axes[anchor.axes.indexOf(a)]) : y.axes;
      // One axis for all folds of these extents: the same fold in two roots becomes one.
      const extents = axes.map((a) => a.extent.key).join();
      const k = foldAxes.get(extents) ?? s.axis("k", product(axes.map((a) => a.extent)));
      foldAxes.set(extents, k);
      const at = new Map<Axis, Scalar>();
      decode(
        s,
        s.axisValue(k),
        axes.map((a) => a.extent),
      ).forEach((c, i) => void at.set(axes[i], c));
      const out = s.foldOver(y.combine, [k], s.substitute(linear(y.body), at));
      if (out.kind === "fold") foldAxis.set(out, k);
      linearFolds.set(y, out);
      return out;
    });

  interface Root {
    readonly value: Value;
    readonly x: Scalar;
    readonly at: readonly Scalar[];
    readonly inner: Axis | undefined;
  }
  const roots: Root[] = g.roots.map((value) => {
    const axes = value.type.shape.map((d, i) => s.axis(`i${i}`, d));
    const x = lowerRoot(
      s,
      value,
      axes.map((a) => s.axisValue(a)),
    );
    const numbers = g.rows?.get(value);
    if (!numbers) throw new InternalError("schedule", `${value.node.op.name} has no rows`);
    const rows = numbers.map((i) => axes[i]);
    // The same rows, perhaps under another shape of the same order.
    const at = new Map<Axis, Scalar>();
    const alike =
      rows.length === rowAxes.length && rows.every((a, i) => a.extent.key === rowAxes[i].extent.key);
    const row = alike
      ? rowAxes.map((a) => rowAt.get(a) as Scalar)
      : decode(
          s,
          rowNumber,
          rows.map((a) => a.extent),
        );
    rows.forEach((a, i) => void at.set(a, row[i]));
    const rest = axes.filter((a) => !at.has(a) && !isConst(a.extent, 1));
    let inner: Axis | undefined;
    if (rest.length > 0) {
      const physical = layouts
        .order(value)
        .map((i) => axes[i])
        .filter((a) => rest.includes(a));
      // Roots over the same elements share a loop.
      const extents = physical.map((a) => a.extent.key).join();
      inner = innerAxes.get(extents) ?? s.axis("e", product(rest.map((a) => a.extent)));
      innerAxes.set(extents, inner);
      decode(
        s,
        s.axisValue(inner),
        physical.map((a) => a.extent),
      ).forEach((c, i) => void at.set(physical[i], c));
    }
    const where = axes.map((a) => (isConst(a.extent, 1) ? s.dim(0) : s.substitute(s.axisValue(a), at)));
    return { value, x: linear(s.substitute(x, at)), at: where, inner };
  });

  // Each fold once a row, and what reads it at each element of the row.
  const folds = new Set(linearFolds.values());
  const work = add(
    ...[...folds].map((f) =>
      f.kind === "fold"
        ? mul(extentOf(f.axes), add(workOf([f.body], folds), 1))
        : workOf([f], new Set([...folds].filter((x) => x !== f))),
    ),
    ...roots.map((q) => mul(q.inner?.extent ?? 1, add(workOf([q.x], folds), 1))),
  );

  const { threads } = choice;
  const em = emitterFor(ctx, s);
  em.count(roots.map((q) => q.x));
  em.bind(r, em.let("row", byRows ? bin("*", groupX(), lit(4)) : groupX()));
  const rowDepth = 0;
  const rowLane = byRows ? r : undefined;

  /** All threads fold together; the result is the same in each. */
  const across = (how: Combine, x: X): X => {
    if (choice.combine === "subgroup") {
      const all = (combine: Combine, a: X): X => ({
        k: "subgroup",
        combine,
        a,
        dtype: a.dtype,
        width: a.width,
      });
      const out = all(how, x);
      const watched = (how === "max" || how === "min") && (x.dtype === "f32" || x.dtype === "f16");
      return em.let(
        COMBINE_NAME[how],
        watched ? call("unless_nan", [out, all("max", call("magnitude", [x], "u32"))], x.dtype) : out,
      );
    }
    // In two steps: eight threads combine an eighth of the parts each, then everybody those eight. Two barriers a fold; a
    // tree would have one for each halving, and some compilers take seconds over them.
    const dtype = x.dtype === "bool" ? "u32" : x.dtype;
    const array = (what: string, size: number): SharedArray =>
      em.shared(`${what}_${dtype}_${x.width}`, dtype, x.width, size);
    const parts = array("parts", threads);
    const groups = array("groups", COMBINERS);
    const chunk = threads / COMBINERS;
    em.put({ k: "setShared", name: parts.name, index: laneX(), x });
    em.put({ k: "barrier" });
    em.push();
    const part = em.fresh("part");
    em.put({ k: "var", name: part, x: sharedAt(parts, bin("*", laneX(), lit(chunk))) });
    const partX = variable(part, dtype, x.width);
    em.loop(
      undefined,
      "i",
      lit(chunk),
      (at) =>
        em.put({
          k: "set",
          name: part,
          x: combine(how, partX, sharedAt(parts, bin("+", bin("*", laneX(), lit(chunk)), at))),
        }),
      lit(1),
    );
    em.put({ k: "setShared", name: groups.name, index: laneX(), x: partX });
    const body = em.pop();
    em.put({ k: "if", cond: bin("<", laneX(), lit(COMBINERS)), body });
    em.put({ k: "barrier" });
    const all = Array.from({ length: COMBINERS }, (_, n) => sharedAt(groups, lit(n)));
    return em.let(
      COMBINE_NAME[how],
      all.reduce((a, b) => combine(how, a, b)),
    );
  };
  // Folds that do not wait for each other share a loop: what they read is read once.
  const folded = new Map<Scalar, X>();
  const laneOf = (f: Scalar): Axis | undefined => (rowLane && f.free.includes(rowLane) ? rowLane : undefined);
  const adds = (f: Scalar): boolean =>
    f.kind === "fold" && f.combine === "add" && (f.dtype === "f32" || f.dtype === "f16");
  const together = (fold: ScalarOf<"fold">, k: Axis, lane: Axis | undefined): ScalarOf<"fold">[] => {
    const out = [fold];
    if (laneOf(fold) !== lane) return out;
    for (const f of new Set(linearFolds.values())) {
      if (f === fold || f.kind !== "fold" || folded.has(f) || foldAxis.get(f) !== k) continue;
      if (laneOf(f) !== lane || adds(f) !== adds(fold)) continue;
      if (foldsOf(f.body).every((x) => folded.has(x))) out.push(f);
    }
    return out;
  };
  em.onFold = (fold, depth, lane) => {
    if (laneOf(fold) === lane && folded.has(fold)) return folded.get(fold);
    const k = foldAxis.get(fold);
    if (!k || depth > rowDepth) return undefined;
    em.atDepth(rowDepth, () => {
      const list = together(fold, k, lane);
      const totals = list.map((f) => em.running(f.combine, f.dtype, 4));
      em.foldLoop(
        totals,
        false,
        k,
        (runs, at) => {
          for (const [n, f] of list.entries()) {
            let x = lane ? em.x(f.body, lane) : widen(em.x(f.body, k), 4);
            if (!lane && !isMultipleOf(k.extent, 4)) {
              const ok = call(
                "inside",
                [bin("+", at, vec([lit(0), lit(1), lit(2), lit(3)])), em.dim(k.extent)],
                "bool",
              );
              const identity = em.literal(identityOf(f.combine, f.dtype), f.dtype);
              x = call("select", [ok, x, widen(identity, 4)], x.dtype);
            }
            runs[n].add(x);
          }
        },
        lane ? laneX() : bin("*", laneX(), lit(4)),
        lane ? threads : threads * 4,
      );
      for (const [n, f] of list.entries()) {
        let v = totals[n].value();
        if (!lane)
          v = em.let(
            "part",
            combine(
              f.combine,
              combine(f.combine, part(v, 0), part(v, 1)),
              combine(f.combine, part(v, 2), part(v, 3)),
            ),
          );
        folded.set(f, across(f.combine, v));
      }
    });
    return folded.get(fold);
  };

  const tail = byRows && !isMultipleOf(rowCount, 4) ? { at: s.axisValue(r), extent: rowCount } : undefined;
  // Row-level values first, all threads together; then one thread stores them.
  const rowRoots = roots.filter((q) => !q.inner);
  const results = rowRoots.map((q) => em.x(q.x, rowLane));
  if (rowRoots.length > 0) {
    em.push();
    for (const [i, q] of rowRoots.entries()) em.store(q.value, q.at, results[i], rowLane, tail);
    const then = em.pop();
    em.put({ k: "if", cond: call("eq", [laneX(), lit(0)], "bool"), body: then });
  }
  for (const inner of new Set(roots.flatMap((q) => q.inner ?? []))) {
    const mine = roots.filter((q) => q.inner === inner);
    // Row-level values of the expressions are computed before the loop, where all threads take part.
    for (const q of mine)
      for (const f of foldsOf(q.x)) em.x(f, rowLane && f.free.includes(rowLane) ? rowLane : undefined);
    const lane = rowLane ?? inner;
    const guard = rowLane
      ? tail
      : isMultipleOf(inner.extent, 4)
        ? undefined
        : { at: s.axisValue(inner), extent: inner.extent };
    em.loop(
      inner,
      "e",
      em.dim(inner.extent),
      () => {
        const values = mine.map((q) => em.x(q.x, lane));
        for (const [i, q] of mine.entries()) em.store(q.value, q.at, values[i], lane, guard);
      },
      rowLane ? laneX() : bin("*", laneX(), lit(4)),
      lit(rowLane ? threads : threads * 4),
    );
  }
  return finish(em, s, {
    name: groupName(g),
    family: "rows",
    workgroup: threads,
    groups: byRows ? ceilDiv(rowCount, 4) : rowCount,
    cost: mul(rowCount, work),
    subgroups: choice.combine === "subgroup",
    nest: [
      `grid row in 0 .. ${rowCount.key}${byRows ? " by 4 lanes" : ""}`,
      ...[...linearFolds.values()].map(
        (f) => `  row    ${f.kind === "fold" ? f.combine : "value"} over k in 0 .. ${k0.key}`,
      ),
      ...roots.map(
        (q) => `  ${q.inner ? "inline" : "row   "} ${q.value.node.label ?? q.value.node.op.name} (root)`,
      ),
    ],
  });
}

function foldsOf(x: Scalar): Scalar[] {
  const out: Scalar[] = [];
  const seen = new Set<Scalar>();
  const visit = (y: Scalar): void => {
    if (seen.has(y)) return;
    seen.add(y);
    for (const c of children(y)) visit(c);
    if (y.kind === "fold") out.push(y);
  };
  visit(x);
  return out;
}
/** Axes sorted as they appear in the physical order of a load. */
function orderBy(axes: readonly Axis[], load: ScalarOf<"load">, order: readonly number[]): Axis[] {
  const place = (a: Axis): number => order.findIndex((axis) => load.at[axis].free.includes(a));
  return [...axes].sort((a, b) => place(a) - place(b));
}
