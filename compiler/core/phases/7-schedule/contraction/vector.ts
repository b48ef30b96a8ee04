// Matrix-vector products (a few rows against a matrix: what decoding at batch 1 is made of). All the time goes into reading
// the matrix, so it is read as it lies. Where its columns lie side by side, a thread has four of them, and slices of k are
// shared out among the threads of a workgroup; where k lies side by side, a workgroup has four columns and its threads share
// out k. In: a nest of up to four rows. Out: one launch.
import { asConst, ceilDiv, type Dim, exactQuotient, isConst, isMultipleOf, mul } from "../../../dims/dim.ts";
import { bin, lit, part, sharedAt, variable, vec, widen, type X } from "../../../kernel/code.ts";
import type { Emitter } from "../../../kernel/emitter.ts";
import { lanesAlong } from "../../../kernel/facts.ts";
import type { Axis, Scalar } from "../../../kernel/scalar.ts";
import { loadsOf } from "../../../kernel/scalar.ts";
import { subgroupOf } from "../../../targets.ts";
import { emitterFor, finish, groupName, groupX, laneX, nominal } from "../common.ts";
import { type Family, type Job, type Launch, oneLaunch, type ScheduleContext } from "../family.ts";
import { costOf, describe, type Nest, storeFunction } from "./nest.ts";

/** `lanes`: threads beside each other along what lies side by side; `slices`: threads that share out k for the same columns. */
type Choice = { readonly along: "columns" | "k"; readonly lanes: number; readonly slices: number };

/** Rows of the vector's side, at most. */
const ROWS = 4;
/** A k below this keeps no threads busy. */
const SHORT = 64;

export const vectorFamily: Family<Choice> = {
  name: "matrix-vector",
  choices(job) {
    const n = job.nest();
    const rows = n && asConst(n.row.extent);
    if (!n || rows === undefined || rows > ROWS || rows < 1 || n.window !== 1 || n.segments.length !== 1)
      return [];
    const [{ k, b }] = n.segments;
    const live = k.filter((a) => !isConst(a.extent, 1));
    if (live.length !== 1 || nominal(live[0].extent) < SHORT) return [];
    const { target } = job.ctx;
    const lanes = subgroupOf(target) ?? 8;
    // A reduction of its own for each column keeps a device busy with fewer columns.
    const busy = (width: number, slices: number): boolean =>
      job.group.kind !== "rows" ||
      nominal(mul(ceilDiv(n.col.extent, width), n.batch.extent)) * slices >= target.busyRows;
    if (liesAlong(job.ctx, n, b, n.col) && isMultipleOf(n.col.extent, 4)) {
      const slices = target.fastShared ? target.rowThreads / lanes : 1;
      if (!busy(lanes * 4, slices)) return [];
      return [slices, slices === 1 ? 8 : 1].map((s) => ({ along: "columns", lanes, slices: s }));
    }
    if (!liesAlong(job.ctx, n, b, live[0]) || !isMultipleOf(live[0].extent, 4)) return [];
    if (!busy(4, 1)) return [];
    return [{ along: "k", lanes: Math.max(lanes, target.fastShared ? 32 : 8), slices: 1 }];
  },
  lower: (job, choice) => oneLaunch(vectorProduct(job, job.nest() as Nest, choice)),
};

/** What of the matrix depends on the axis is four elements at once along it. */
function liesAlong(ctx: ScheduleContext, n: Nest, matrix: Scalar, axis: Axis): boolean {
  const em = emitterFor(ctx, n.s);
  const loads = loadsOf(matrix).filter((l) => l.free.includes(axis));
  return loads.length > 0 && loads.every((l) => lanesAlong(em.offset(l.value, l.at), axis) === "vector");
}

function vectorProduct(job: Job, n: Nest, t: Choice): Launch {
  const { s, row, col, batch, dtype } = n;
  const em = emitterFor(job.ctx, s);
  const [{ k: all, a, b }] = n.segments;
  const k = all.find((x) => !isConst(x.extent, 1)) as Axis;
  for (const x of all) if (x !== k) em.bind(x, lit(0));
  const M = asConst(row.extent) as number;
  const byColumns = t.along === "columns";
  const threads = t.lanes * t.slices;
  const width = byColumns ? t.lanes * 4 : 4;
  const tiles = ceilDiv(col.extent, width);
  const tile = isConst(batch.extent, 1) ? groupX() : em.let("tile", bin("%", groupX(), em.dim(tiles)));
  const batchX = isConst(batch.extent, 1) ? lit(0) : em.let("batch", bin("/", groupX(), em.dim(tiles)));
  em.bind(batch, batchX);
  const first = em.let("col_0", bin("*", tile, lit(width)));
  const lane = t.slices === 1 ? laneX() : em.let("lane_of", bin("%", laneX(), lit(t.lanes)));
  const slice = t.slices === 1 ? lit(0) : em.let("slice", bin("/", laneX(), lit(t.lanes)));
  const colX = byColumns ? em.let("col", bin("+", first, bin("*", lane, lit(4)))) : first;
  em.bind(col, colX);
  const rows = Array.from({ length: M }, (_, i) => s.substitute(a, new Map([[row, s.dim(i)]])));
  em.count([...rows, b]);

  /** A variable that a loop adds to. */
  const sumOf = (name: string): { readonly now: X; add(x: X): void } => {
    const v = em.fresh(name);
    em.put({ k: "var", name: v, x: widen(lit(0, dtype), 4) });
    const now = variable(v, dtype, 4);
    return { now, add: (x) => em.put({ k: "set", name: v, x: bin("+", now, x) }) };
  };
  // The columns of a thread: four at once, or four one after the other, each with four of k at a time.
  const perRow = byColumns ? 1 : 4;
  const totals = rows.map(() => Array.from({ length: perRow }, () => sumOf("total")));
  // Numbers of k that lie in one word are a thread's, one after the other: it is loaded once.
  const per = byColumns ? numbersInWord(b, k) : 1;
  const step = (byColumns ? t.slices : t.lanes * 4) * per;
  // Blocks of k are terms of the total.
  em.loop(
    undefined,
    "k_block",
    em.dim(k.extent),
    (block) => {
      const sums = rows.map(() => Array.from({ length: perRow }, () => sumOf("sum")));
      const end = em.let("end", {
        k: "call",
        fn: "min",
        args: [bin("+", block, lit(step * SERIAL)), em.dim(k.extent)],
        dtype: "i32",
        width: 1,
      });
      em.loop(
        k,
        k.name,
        end,
        () => {
          if (per > 1) {
            const word = inWord(em, s, k, per);
            for (let i = 0; i < per; i++) {
              const m = em.let("b", widen(em.x(word.at(b, i), col), 4));
              for (const [r, x] of rows.entries()) sums[r][0].add(bin("*", widen(word.of(x, i), 4), m));
            }
            return;
          }
          const matrix = byColumns
            ? [widen(em.x(b, col), 4)]
            : [0, 1, 2, 3].map((c) => em.let("b", widen(em.x(em.shift(b, col, c), k), 4)));
          for (const [i, x] of rows.entries()) {
            const vector = byColumns ? widen(em.x(x), 4) : em.let("a", widen(em.x(x, k), 4));
            for (const [c, m] of matrix.entries()) sums[i][c].add(bin("*", vector, m));
          }
        },
        bin("+", block, byColumns ? bin("*", slice, lit(per)) : bin("*", lane, lit(4))),
        lit(step),
      );
      for (const [i, row] of sums.entries()) for (const [c, x] of row.entries()) totals[i][c].add(x.now);
    },
    lit(0),
    lit(step * SERIAL),
  );
  const results = totals.map((row) =>
    byColumns
      ? together(em, row[0].now, dtype, t.slices, t.lanes)
      : across(em, vec(row.map((x) => four(x.now))), dtype, threads, threads === subgroupOf(job.ctx.target)),
  );
  const store = storeFunction(em, n);
  em.push();
  for (const [i, x] of results.entries()) em.put({ k: "run", fn: store, args: [batchX, lit(i), colX, x] });
  const body = em.pop();
  const owner = byColumns ? slice : lane;
  if (byColumns && t.slices === 1) for (const q of body) em.put(q);
  else em.put({ k: "if", cond: bin("<", owner, lit(1)), body });
  return finish(em, s, {
    name: groupName(job.group),
    family: `matrix-vector ${M} by ${width}`,
    workgroup: threads,
    groups: mul(tiles, batch.extent),
    cost: costOf(n),
    nest: describe(n, `${M} rows x ${width} columns, ${threads} threads along ${t.along}`),
    subgroups: !byColumns && threads === subgroupOf(job.ctx.target),
  });
}
/** How many numbers along an axis a matrix has in one word (weights that are stored in few bits), where the axis is whole words. */
function numbersInWord(matrix: Scalar, axis: Axis): number {
  const [word] = loadsOf(matrix).filter((l) => l.dtype === "u32");
  const div = word?.at.find((x) => x.kind === "div" && x.arg.kind === "axis" && x.arg.axis === axis);
  const by = div?.kind === "div" ? asConst(div.by) : undefined;
  return by !== undefined && isMultipleOf(axis.extent, by) ? by : 1;
}
/** The numbers of the word that `k` is the first of: what an expression is at each, `of` four at a time where they lie so. */
function inWord(em: Emitter, s: Nest["s"], k: Axis, per: number) {
  const word = s.axis("word", exactQuotient(k.extent, per) as Dim);
  em.bind(word, em.let("word", bin("/", em.x(s.axisValue(k)), lit(per))));
  /** Words, and groups of whole words, have their numbers in common. */
  const shared = (x: Scalar): Scalar =>
    s.rewrite(x, (y) => {
      if (y.kind !== "div" || y.arg.kind !== "axis" || y.arg.axis !== k) return undefined;
      const words = exactQuotient(y.by, per);
      return words && s.idiv(s.axisValue(word), words);
    });
  const at = (x: Scalar, i: number): Scalar =>
    s.substitute(shared(x), new Map([[k, s.iadd(s.imul(s.axisValue(word), per), i)]]));
  const fours = Array.from({ length: per / 4 }, (_, i) => {
    const four = s.axis("four", k.extent);
    em.bind(four, bin("+", em.x(s.axisValue(k)), lit(4 * i)));
    return four;
  });
  return {
    at,
    of: (x: Scalar, i: number): X => {
      const four = fours[i >> 2];
      return four
        ? part(em.x(s.substitute(x, new Map([[k, s.axisValue(four)]])), four), i % 4)
        : em.x(at(x, i));
    },
  };
}
/** Terms that a thread adds up one after the other. */
const SERIAL = 256;
const four = (x: X): X => bin("+", bin("+", part(x, 0), part(x, 1)), bin("+", part(x, 2), part(x, 3)));

/** The sum of what the slices have, for the first slice. */
function together(em: Emitter, x: X, dtype: Nest["dtype"], slices: number, lanes: number): X {
  if (slices === 1) return x;
  const array = em.shared(`parts_${em.fresh("row")}`, dtype, 4, slices * lanes);
  em.put({ k: "setShared", name: array.name, index: laneX(), x });
  em.put({ k: "barrier" });
  return addedUp(em, dtype, slices, (i) =>
    sharedAt(array, bin("+", bin("*", i, lit(lanes)), bin("%", laneX(), lit(lanes)))),
  );
}
/** The sum of what all threads have. */
function across(em: Emitter, x: X, dtype: Nest["dtype"], threads: number, subgroup: boolean): X {
  if (subgroup) return em.let("sum", { k: "subgroup", combine: "add", a: x, dtype, width: 4 });
  const array = em.shared(`parts_${em.fresh("row")}`, dtype, 4, threads);
  em.put({ k: "setShared", name: array.name, index: laneX(), x });
  em.put({ k: "barrier" });
  return addedUp(em, dtype, threads, (i) => sharedAt(array, i));
}
function addedUp(em: Emitter, dtype: Nest["dtype"], count: number, at: (i: X) => X): X {
  const name = em.fresh("sum");
  em.put({ k: "var", name, x: widen(lit(0, dtype), 4) });
  const now = variable(name, dtype, 4);
  em.loop(undefined, "i", lit(count), (i) => em.put({ k: "set", name, x: bin("+", now, at(i)) }));
  return now;
}
