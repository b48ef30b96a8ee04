// Running sums (and products, and extrema: "sum" below is any of them) along an axis in the time that reading takes. Where the axis is innermost the threads of a workgroup share a
// line: each adds up neighbours, the sums before it come through workgroup memory. Elsewhere a thread has lines of its own,
// which lie beside its neighbours'. Few long lines are cut into parts: the parts' sums, their running sums, and then each
// part from where it begins. Sums are cascades, as a fold's are: what a block adds up to is one term of the next level.
// Where workgroup memory is not faster than any other, threads have lines of their own whatever the axis.
// In: a running sum that the family claims. Out: one launch, or three with two temporaries.
import { asConst, ceilDiv, type Dim, dim, isConst, isMultipleOf, mul, product, sub } from "../../dims/dim.ts";
import type { DType, Node, Value } from "../../ir/types.ts";
import {
  bin,
  call,
  lit,
  part as partOf,
  sharedAt,
  variable,
  vec,
  type Width,
  widen,
  type X,
} from "../../kernel/code.ts";
import { combine, type Emitter } from "../../kernel/emitter.ts";
import { identityOf, type ScalarContext } from "../../kernel/lowering.ts";
import type { Combine, Scalar } from "../../kernel/scalar.ts";
import { runningOf } from "../../ops/running.ts";
import type { Target } from "../../targets.ts";
import { decode, emitterFor, finish, groupLowering, groupX, laneX, nominal } from "./common.ts";
import {
  type Family,
  type Job,
  type Launch,
  type Launches,
  oneLaunch,
  type ScheduleContext,
  temporary,
} from "./family.ts";

/** `each`: elements that a thread adds up at a time; `parts`: elements of a part, 0 for lines in one piece. */
type Choice = {
  readonly by: "workgroup" | "thread";
  readonly threads: number;
  readonly each: number;
  readonly part: number;
};
/** A line as long as this is summed for each element by itself: a window. */
const SHORT = 32;
/** Elements of a part where a thread sums it. */
const PART = 512;

export const prefixFamily: Family<Choice> = {
  name: "running sum",
  claims: (node) => runningOf(node) !== undefined && (asConst(lengthOf(node)) ?? SHORT + 1) > SHORT,
  room: 1,
  choices({ group, ctx: { target } }) {
    const node = group.anchor;
    if (runningOf(node) === undefined) return [];
    const { shape } = node.outs[0].type;
    const axis = node.attrs.axis as number;
    const innermost = shape.slice(axis + 1).every((d) => isConst(d, 1));
    const lines = nominal(product(shape.filter((_, i) => i !== axis)));
    const length = asConst(shape[axis]) ?? Number.POSITIVE_INFINITY;
    const groups = workgroupShape(target);
    const span = groups.threads * groups.each;
    const whole: Choice = { by: "workgroup", ...groups, part: 0 };
    const cut: Choice = { by: "workgroup", ...groups, part: span };
    const own: Choice = { by: "thread", threads: target.mapThreads, each: 1, part: 0 };
    const ownCut: Choice = { ...own, part: PART };
    const busy = target.busyRows;
    const byGroup = lines < busy && length > 4 * span ? [cut, whole] : [whole, cut];
    const few = lines < 4 * target.mapThreads * busy && length > 2 * PART;
    const byThread = few ? [ownCut, own] : [own, ownCut];
    return innermost && target.fastShared ? [...byGroup, ...byThread] : [...byThread, ...byGroup];
  },
  lower: (job, choice) => runningSum(job, choice),
};
const lengthOf = (node: Node): Dim => node.outs[0].type.shape[node.attrs.axis as number];

/** A workgroup of a line: with fast memory of its own many threads, else few with much to do between barriers. */
const workgroupShape = (target: Target): { threads: number; each: number } =>
  target.fastShared ? { threads: target.rowThreads, each: 8 } : { threads: 8, each: 64 };
/** Running sums of a few lines of what parts summed up to. */
export const sumsOfParts = (ctx: ScheduleContext, lines: Lines, sums: Sums): Launch =>
  ctx.target.fastShared
    ? sumsByWorkgroup(ctx, lines, workgroupShape(ctx.target), sums)
    : sumsByThread(ctx, lines, { threads: ctx.target.mapThreads }, sums);

/** What is summed: `size` elements of each line. */
export interface Lines {
  readonly s: ScalarContext;
  /** Extents that number the lines. */
  readonly rows: readonly Dim[];
  readonly size: Dim;
  /** Of the sums. */
  readonly dtype: DType;
  read(line: readonly Scalar[], k: Scalar): Scalar;
}
/** Where a kernel is: its line by number and coordinates, and its part. */
interface Place {
  readonly row: Scalar;
  readonly line: readonly Scalar[];
  readonly part: Scalar;
}
export interface Sums {
  readonly name: string;
  /** How elements are combined; sums where absent. */
  readonly combine?: Combine;
  /** Elements of a part and how many there are; whole lines where absent. */
  readonly parts?: { readonly size: number; readonly count: Dim };
  /** What stands before the first element. */
  begin?(at: Place): Scalar;
  /** Running sums, or, `before`, those without the element itself. */
  readonly running?: {
    readonly value: Value;
    readonly before?: boolean;
    at(at: Place, k: Scalar): readonly Scalar[];
  };
  /** The sum of the line or part. */
  readonly total?: { readonly value: Value; at(at: Place): readonly Scalar[] };
}

function runningSum({ ctx, group }: Job, choice: Choice): Launches {
  const node = group.anchor;
  const [x] = node.inputs;
  const out = node.outs[0];
  const { shape, dtype } = out.type;
  const axis = node.attrs.axis as number;
  const reverse = node.attrs.reverse === true;
  const last = sub(shape[axis], 1);
  const at = (line: readonly Scalar[], k: Scalar, s: ScalarContext): readonly Scalar[] => [
    ...line.slice(0, axis),
    reverse ? s.iadd(last, s.imul(k, -1)) : k,
    ...line.slice(axis),
  ];
  const sumType: DType = dtype === "f16" ? "f32" : dtype;
  const rows = shape.filter((_, i) => i !== axis);
  // Each launch has a lowering of its own, so that nothing of one is in another's uniform words.
  const lines = (): Lines => {
    const s = groupLowering(ctx, group);
    return {
      s,
      rows,
      size: shape[axis],
      dtype: sumType,
      read: (line, k) => s.cast(s.read(x, at(line, k, s)), sumType),
    };
  };
  const sums = choice.by === "workgroup" ? sumsByWorkgroup : sumsByThread;
  const combine = runningOf(node);
  const { name } = node.op;
  const whole = lines();
  const running = (l: Lines) => ({
    value: out,
    at: (p: Place, k: Scalar) => at(p.line, k, l.s),
  });
  if (choice.part === 0)
    return oneLaunch(sums(ctx, whole, choice, { name, combine, running: running(whole) }));
  const count = ceilDiv(shape[axis], choice.part);
  const parts = { size: choice.part, count };
  const many = product(rows);
  const inner = choice.by === "workgroup";
  const sumOf = temporary("part_sums", sumType, inner ? [many, count] : [count, many], node);
  const before = temporary("part_begins", sumType, inner ? [many, count] : [count, many], node);
  const place = (row: Scalar, part: Scalar): readonly Scalar[] => (inner ? [row, part] : [part, row]);
  const first = sums(ctx, whole, choice, {
    name: `${name}_parts`,
    combine,
    parts,
    total: { value: sumOf, at: (p) => place(p.row, p.part) },
  });
  const s = groupLowering(ctx, group);
  const between: Lines = {
    s,
    rows: [many],
    size: count,
    dtype: sumType,
    read: ([row], k) => s.load(sumOf, place(row, k)),
  };
  const second = sumsOfParts(ctx, between, {
    name: `${name}_begins`,
    combine,
    running: { value: before, before: true, at: (p, k) => place(p.row, k) },
  });
  const again = lines();
  const third = sums(ctx, again, choice, {
    name,
    combine,
    parts,
    begin: (p) => again.s.load(before, place(p.row, p.part)),
    running: running(again),
  });
  return { list: [first, second, third], temporaries: [sumOf, before] };
}

/** Two of them combined. */
type Both = (a: X, b: X) => X;

/** Terms of one level of a long sum. */
const BLOCK = 16;
/** Spans of the levels above the first for so many turns of `step` elements. */
function levelsOf(size: Dim, step: number): readonly number[] {
  const turns = (asConst(size) ?? Number.POSITIVE_INFINITY) / step;
  return turns <= BLOCK ? [] : turns <= BLOCK ** 2 ? [BLOCK * step] : [BLOCK ** 2 * step, BLOCK * step];
}
/**
 * A loop in which every turn knows what was before it: `each` gives what its turn adds. Sums of blocks are terms of the
 * level above, so that the error grows with the levels. Gives the sum of all.
 */
function cascade(
  em: Emitter,
  of: { readonly dtype: DType; readonly width: Width; readonly none: X; readonly both: Both },
  range: { readonly from: X; readonly end: X; readonly step: number },
  levels: readonly number[],
  before: X,
  each: (at: X, before: X) => X,
): X {
  const sum = em.fresh("sum");
  em.put({ k: "var", name: sum, x: widen(of.none, of.width) });
  const now = variable(sum, of.dtype, of.width);
  const [size, ...rest] = levels;
  em.loop(
    undefined,
    "from",
    range.end,
    (from) => {
      const here = em.let("before", of.both(before, now));
      const add =
        size === undefined
          ? each(from, here)
          : cascade(
              em,
              of,
              {
                ...range,
                from,
                end: em.let("end", call("min", [bin("+", from, lit(size)), range.end], "i32")),
              },
              rest,
              here,
              each,
            );
      em.put({ k: "set", name: sum, x: of.both(now, add) });
    },
    range.from,
    lit(size ?? range.step),
  );
  return now;
}

/** A workgroup a line, or a part of one. */
export function sumsByWorkgroup(
  ctx: ScheduleContext,
  lines: Lines,
  { threads, each }: { readonly threads: number; readonly each: number },
  sums: Sums,
): Launch {
  const { s, dtype, size } = lines;
  const em = emitterFor(ctx, s);
  const span = threads * each;
  const count = sums.parts?.count ?? dim(1);
  const many = product(lines.rows);
  const r = s.axis("row", many);
  const p = s.axis("part", count);
  const cut = sums.parts !== undefined;
  em.bind(r, em.let("row", cut ? bin("/", groupX(), em.dim(count)) : groupX()));
  em.bind(p, cut ? em.let("part", bin("%", groupX(), em.dim(count))) : lit(0));
  const place: Place = {
    row: s.axisValue(r),
    line: decode(s, s.axisValue(r), lines.rows),
    part: s.axisValue(p),
  };
  const k = s.axis("k", size);
  const x = lines.read(place.line, s.axisValue(k));
  em.count([x]);
  const sizeX = em.dim(size);
  const exact = isMultipleOf(size, span);
  const { combine: how = "add" } = sums;
  const both: Both = (a, b) => combine(how, a, b);
  const zero = em.literal(identityOf(how, dtype), dtype);
  /** The thread's elements of a turn, four at a time. */
  const quads = (mine: X, body: (at: X, v: X) => void): void =>
    em.loop(
      undefined,
      "e",
      lit(each),
      (e) => {
        const at = em.let("k", bin("+", mine, e));
        em.bind(k, at);
        let v = widen(em.x(x, k), 4);
        if (!exact) {
          const ok = call("inside", [bin("+", at, vec([lit(0), lit(1), lit(2), lit(3)])), sizeX], "bool");
          v = call("select", [ok, v, widen(zero, 4)], dtype);
        }
        body(at, em.let("v", v));
      },
      lit(0),
      lit(4),
    );
  const team = threadsOfTeam(threads);
  const own = em.shared("own", dtype, 1, threads);
  const teams = em.shared("teams", dtype, 1, threads / team);
  const accumulate = (name: string, from: X, below: X, add: (i: X) => X): X => {
    const v = em.fresh(name);
    em.put({ k: "var", name: v, x: zero });
    const now = variable(v, dtype);
    em.loop(undefined, "i", below, (i) => em.put({ k: "set", name: v, x: both(now, add(i)) }), from);
    return now;
  };
  /** `span` elements from `from` on; gives their sum. */
  const turn = (from: X, before: X, loops: boolean): X => {
    const mine = em.let("mine", bin("+", from, bin("*", laneX(), lit(each))));
    const four = em.fresh("four");
    em.put({ k: "var", name: four, x: widen(zero, 4) });
    const sum4 = variable(four, dtype, 4);
    quads(mine, (_at, v) => em.put({ k: "set", name: four, x: both(sum4, v) }));
    const one = both(both(partOf(sum4, 0), partOf(sum4, 1)), both(partOf(sum4, 2), partOf(sum4, 3)));
    // The turn before may still be read.
    if (loops) em.put({ k: "barrier" });
    em.put({ k: "setShared", name: own.name, index: laneX(), x: one });
    em.put({ k: "barrier" });
    em.push();
    const first = em.let("first", bin("*", laneX(), lit(team)));
    const all = accumulate("all", lit(0), lit(team), (i) => sharedAt(own, bin("+", first, i)));
    em.put({ k: "setShared", name: teams.name, index: laneX(), x: all });
    const body = em.pop();
    em.put({ k: "if", cond: bin("<", laneX(), lit(threads / team)), body });
    em.put({ k: "barrier" });
    if (sums.running) {
      const { value, before: without } = sums.running;
      const mates = em.let("team", bin("/", laneX(), lit(team)));
      const others = accumulate("others", lit(0), mates, (i) => sharedAt(teams, i));
      const near = accumulate("near", bin("*", mates, lit(team)), laneX(), (i) => sharedAt(own, i));
      const run = em.fresh("run");
      em.put({ k: "var", name: run, x: both(before, both(others, near)) });
      const now = variable(run, dtype);
      const where = sums.running.at(place, s.axisValue(k));
      quads(mine, (at, v) => {
        const steps = [now];
        for (let i = 0; i < 4; i++) steps.push(em.let("to", both(steps[i], partOf(v, i))));
        const shown = vec(without ? steps.slice(0, 4) : steps.slice(1));
        const out =
          value.type.dtype === dtype ? shown : call(`cast_${value.type.dtype}`, [shown], value.type.dtype);
        em.push();
        if (isConst(size, 1)) em.store(value, where, partOf(out, 0), undefined);
        else em.store(value, where, out, k, { at: s.axisValue(k), extent: size });
        const stores = em.pop();
        if (exact) for (const q of stores) em.put(q);
        else em.put({ k: "if", cond: bin("<", at, sizeX), body: stores });
        em.put({ k: "set", name: run, x: steps[4] });
      });
    }
    return accumulate("total", lit(0), lit(threads / team), (i) => sharedAt(teams, i));
  };
  const begin = sums.begin ? em.x(sums.begin(place)) : zero;
  let total: X;
  const literal = asConst(size);
  if (cut) total = turn(em.let("from", bin("*", em.x(s.axisValue(p)), lit(span))), begin, false);
  else if (literal !== undefined && literal <= span) total = turn(lit(0), begin, false);
  else
    total = cascade(
      em,
      { dtype, width: 1, none: zero, both },
      { from: lit(0), end: sizeX, step: span },
      levelsOf(size, span),
      begin,
      (from, before) => turn(from, before, true),
    );
  if (sums.total) {
    em.push();
    em.store(sums.total.value, sums.total.at(place), total, undefined);
    const body = em.pop();
    em.put({ k: "if", cond: call("eq", [laneX(), lit(0)], "bool"), body });
  }
  return finish(em, s, {
    name: sums.name,
    family: `running sum ${threads}x${each}`,
    workgroup: threads,
    groups: mul(many, count),
    cost: mul(many, size, 2),
    nest: [
      `grid row in 0 .. ${many.key}${cut ? `, part in 0 .. ${count.key}` : ""}`,
      `  tile   k in 0 .. ${size.key}, ${span} a turn`,
      `  row    ${[sums.running ? "running sums" : "", sums.total ? "sum" : ""].filter(Boolean).join(", ")}`,
    ],
  });
}
/** Threads whose sums are added up by one of them: about the square root. */
const threadsOfTeam = (threads: number): number => 2 ** Math.ceil(Math.log2(threads) / 2);

/** Four neighbouring lines a thread, or a part of them. */
export function sumsByThread(
  ctx: ScheduleContext,
  lines: Lines,
  { threads }: { readonly threads: number },
  sums: Sums,
): Launch {
  const { s, dtype, size } = lines;
  const em = emitterFor(ctx, s);
  const many = product(lines.rows);
  const count = sums.parts?.count ?? dim(1);
  const quads = ceilDiv(many, 4);
  const r = s.axis("row", many);
  const p = s.axis("part", count);
  const k = s.axis("k", size);
  const place: Place = {
    row: s.axisValue(r),
    line: decode(s, s.axisValue(r), lines.rows),
    part: s.axisValue(p),
  };
  const i = em.let("i", bin("+", bin("*", groupX(), lit(threads)), laneX()));
  em.put({
    k: "if",
    cond: { k: "call", fn: "ge", args: [i, em.dim(mul(quads, count))], dtype: "bool", width: 1 },
    body: [{ k: "return" }],
  });
  const cut = sums.parts !== undefined;
  em.bind(r, em.let("row", bin("*", cut ? bin("%", i, em.dim(quads)) : i, lit(4))));
  em.bind(p, cut ? em.let("part", bin("/", i, em.dim(quads))) : lit(0));
  const x = lines.read(place.line, s.axisValue(k));
  em.count([x]);
  const store = (to: Value, at: readonly Scalar[], v: X): void =>
    isConst(many, 1)
      ? em.store(to, at, partOf(v, 0), undefined)
      : em.store(to, at, v, r, { at: s.axisValue(r), extent: many });
  const { combine: how = "add" } = sums;
  const both: Both = (a, b) => combine(how, a, b);
  const zero = em.literal(identityOf(how, dtype), dtype);
  const begin = widen(sums.begin ? em.x(sums.begin(place), r) : zero, 4);
  const sizeX = em.dim(size);
  const step = sums.parts?.size ?? 0;
  const from = cut ? em.let("first", bin("*", em.x(s.axisValue(p)), lit(step))) : lit(0);
  const end = cut ? em.let("last", call("min", [bin("+", from, lit(step)), sizeX], "i32")) : sizeX;
  const total = cascade(
    em,
    { dtype, width: 4, none: zero, both },
    { from, end, step: 1 },
    levelsOf(cut ? dim(step) : size, 1),
    begin,
    (at, before) => {
      em.bind(k, at);
      const v = widen(em.x(x, r), 4);
      if (sums.running) {
        const { value, before: without } = sums.running;
        const shown = without ? before : em.let("to", both(before, v));
        const out =
          value.type.dtype === dtype ? shown : call(`cast_${value.type.dtype}`, [shown], value.type.dtype);
        store(value, sums.running.at(place, s.axisValue(k)), out);
      }
      return v;
    },
  );
  if (sums.total) store(sums.total.value, sums.total.at(place), total);
  return finish(em, s, {
    name: sums.name,
    family: `running sum ${threads} threads`,
    workgroup: threads,
    groups: ceilDiv(mul(quads, count), threads),
    cost: mul(many, size, 2),
    nest: [
      `grid ${cut ? `part in 0 .. ${count.key}, ` : ""}row in 0 .. ${many.key} by 4 lanes`,
      `  thread k in 0 .. ${size.key}`,
      `  inline ${[sums.running ? "running sums" : "", sums.total ? "sum" : ""].filter(Boolean).join(", ")}`,
    ],
  });
}
