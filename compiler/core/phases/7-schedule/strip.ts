// Windows of products that have hardly any rows or columns (a depthwise convolution, and its gradient towards the input):
// each channel has a filter of its own. A thread has four channels of a few neighbouring windows: what the windows have in common it
// loads once, and a filter's elements for all of them. Where threads need not be many, one walks down the image and keeps what lines
// add to the windows below. In: a map group whose folds are such windows. Out: one launch.
import {
  add,
  asConst,
  ceilDiv,
  type Dim,
  equal,
  isConst,
  isMultipleOf,
  mul,
  product,
} from "../../dims/dim.ts";
import type { Value } from "../../ir/types.ts";
import { bin, call, lit, variable, widen, type X } from "../../kernel/code.ts";
import type { Emitter } from "../../kernel/emitter.ts";
import type { ScalarContext } from "../../kernel/lowering.ts";
import { type Axis, foldsOf, loadsOf, type Scalar, type ScalarOf } from "../../kernel/scalar.ts";
import { workOf } from "../../kernel/work.ts";
import { factsOf } from "../../regions/facts.ts";
import type { Region } from "../../regions/region.ts";
import { OfGroups } from "./asked.ts";
import { emitterFor, finish, groupLowering, groupName, groupX, laneX, lowerRoot } from "./common.ts";
import { type Family, type Job, type Launch, oneLaunch, type ScheduleContext } from "./family.ts";
import { termsOf } from "./windows.ts";

/**
 * Windows beside and below each other that a thread has; `looped`: 1 where lines of a window are turns of a loop, or of windows below
 * each other, the windows.
 */
type Choice = {
  readonly across: number;
  readonly down: number;
  readonly threads: number;
  readonly looped: 0 | 1;
};

/** Products that a thread writes out, at most. */
const MOST = 128;
/** Windows that share what they have in common, at least: of fewer written out, a loop over lines is better. */
const SHARING = 4;

export const stripFamily: Family<Choice> = {
  name: "strip",
  choices(job) {
    const strip = stripOf(job);
    if (!strip) return [];
    const threads = 64;
    const { taps, lines } = strip;
    const written = [
      { across: 4, down: 2 },
      { across: 4, down: 1 },
      { across: 2, down: 1 },
      { across: 1, down: 1 },
    ]
      .filter((c) => c.across * c.down * taps <= MOST && (c.down === 1 || strip.shares))
      .map((c): Choice => ({ ...c, threads, looped: 0 }));
    const looped: Choice = { across: SHARING, down: 1, threads, looped: 1 };
    if ((taps / lines) * SHARING > MOST) return written;
    const { dearTexts, walk } = job.ctx.target;
    const walked =
      walk !== undefined && strip.step !== 0 && taps * SHARING <= MOST ? [{ ...looped, down: walk }] : [];
    // Where compiling is dear, a third of the loads are in the text, and the kernel is as fast.
    const short = dearTexts || taps * SHARING > MOST;
    return short ? [...walked, looped, ...written] : [...walked, ...written];
  },
  lower: (job, choice) => {
    const what = `${choice.down} by ${choice.across}, ${choice.threads}, ${choice.looped}`;
    const { ctx, group } = job;
    // Written out, they are the longest kernels, and alike on all targets.
    return oneLaunch(
      written.of(group, what, ctx.target, (target) => strips({ ...job, ctx: { ...ctx, target } }, choice)),
    );
  },
};
const written = new OfGroups<Launch>();
const described = new OfGroups<Strip | undefined>();

interface Strip {
  /** Axes of the first root, outermost first as they lie; the last is the channel. */
  readonly order: readonly number[];
  /** Axes along which windows overlap, or are beside each other; -1 where there is no second one. */
  readonly across: number;
  readonly down: number;
  /** A window needs at least half of what the one above it does. */
  readonly shares: boolean;
  /** 1 where the second line of a window is the first one of the window below, -1 where its first line is the second one, else 0. */
  readonly step: 1 | -1 | 0;
  /** Products of a window, and the lines that these are in. */
  readonly taps: number;
  readonly lines: number;
}

const sameShape = (a: Value, b: Value): boolean =>
  a.type.shape.length === b.type.shape.length && a.type.shape.every((d, i) => equal(d, b.type.shape[i]));

const stripOf = ({ ctx, group }: Job): Strip | undefined =>
  described.of(group, "strip", ctx.target, (target) => describe({ ...ctx, target }, group));

function describe(ctx: ScheduleContext, g: Region): Strip | undefined {
  if (g.kind !== "map" && !factsOf(g.anchor).contraction?.narrow) return undefined;
  const [first] = g.roots;
  const order = ctx.layouts.order(first);
  const channel = order.at(-1);
  if (channel === undefined || !isMultipleOf(first.type.shape[channel], 4)) return undefined;
  if (isConst(first.type.shape[channel], 0)) return undefined;
  if (g.roots.some((r) => !sameShape(r, first) || ctx.layouts.order(r).join() !== order.join()))
    return undefined;
  const s = literally(ctx, g);
  const axes = first.type.shape.map((d, i) => s.axis(`i${i}`, d));
  const at = axes.map((a) => s.axisValue(a));
  const folds = new Set(g.roots.flatMap((r) => foldsOf(lowerRoot(s, r, at))));
  const [fold] = folds;
  if (folds.size !== 1) return undefined;
  const taps = tapsOf(fold);
  if (taps === undefined || taps < 2 || taps > MOST) return undefined;
  if (fold.combine !== "add" || fold.body.kind !== "call" || fold.body.fn !== "mul") return undefined;
  // A coordinate that runs with the window and within it.
  const slides = (axis: Axis): boolean =>
    loadsOf(fold.body).some((l) =>
      l.at.some((x) => x.free.includes(axis) && x.free.some((a) => fold.axes.includes(a))),
    );
  const [across, down] = [...order]
    .reverse()
    .slice(1)
    .filter((i) => slides(axes[i]));
  if (across === undefined) return undefined;
  /** What a window `below` the first loads for each of its lines that is not the same for all windows. */
  const slid = (below: number): readonly ReadonlySet<Scalar>[] => {
    const place = at.map((x, i) => (i === down ? s.iadd(x, below) : x));
    const [own] = foldsOf(lowerRoot(s, first, place));
    const line = lineIn(s, own);
    return Array.from(
      { length: extentOf(lineOf(own)) },
      (_, n) => new Set(loadsOf(line(s.dim(n))).filter((l) => l.at.some((x) => x.free.includes(axes[down])))),
    );
  };
  const shared = (): Pick<Strip, "shares" | "step"> => {
    const [above, below] = [slid(0), slid(1)];
    const needed = new Set(above.flatMap((line) => [...line]));
    const both = new Set(below.flatMap((line) => [...line].filter((l) => needed.has(l))));
    return {
      shares: both.size * 2 >= needed.size,
      step: isSame(below.slice(0, -1), above.slice(1))
        ? 1
        : isSame(below.slice(1), above.slice(0, -1))
          ? -1
          : 0,
    };
  };
  return {
    order,
    across,
    down: down ?? -1,
    ...(down === undefined ? { shares: false, step: 0 } : shared()),
    taps,
    lines: extentOf(lineOf(fold)),
  };
}

/** There are lines, and they load the same, each as its own one of the others. */
const isSame = (a: readonly ReadonlySet<Scalar>[], b: readonly ReadonlySet<Scalar>[]): boolean =>
  a.length > 0 &&
  a.every((line, n) => line.size > 0 && line.size === b[n].size && [...line].every((l) => b[n].has(l)));

/** Windows are written out: their knobs are literals. */
const literally = (ctx: ScheduleContext, g: Job["group"]): ScalarContext => groupLowering(ctx, g, true);

const extentOf = (a: Axis): number => asConst(a.extent) as number;
function tapsOf(fold: ScalarOf<"fold">): number | undefined {
  return asConst(product(fold.axes.map((a) => a.extent)));
}
/** The axis that the lines of a window are along. */
const lineOf = ({ axes }: ScalarOf<"fold">): Axis => axes.find((a) => !isConst(a.extent, 1)) ?? axes[0];
/** A sum over some of its axes, written out. */
const writtenOut = (s: ScalarContext, fold: ScalarOf<"fold">, axes?: readonly Axis[]): Scalar =>
  termsOf(s, fold, axes).reduce((a, b) => s.call("add", a, b));

/** What a line of a window, by its number, adds to its sum. */
function lineIn(s: ScalarContext, fold: ScalarOf<"fold">): (at: Scalar) => Scalar {
  const own = lineOf(fold);
  const rest = fold.axes.filter((a) => a !== own);
  const whole = writtenOut(s, fold, rest);
  return (at) => s.substitute(whole, new Map([[own, at]]));
}

/**
 * The sums of all windows, a line of each a turn; what `others` need besides is counted, too. `from`: what turns are counted from
 * where a compiler that knew would write them out.
 */
function loopOver(
  em: Emitter,
  folds: readonly ScalarOf<"fold">[],
  lane: Axis,
  others: readonly Scalar[],
  from: X | undefined,
): void {
  // One axis for all: what a line of several windows needs is then the same.
  const line = lineOf(folds[0]);
  const lines = folds.map((fold) => lineIn(em.s, fold)(em.s.axisValue(line)));
  em.count([...lines, ...others]);
  const sums = folds.map(({ dtype }) => ({ name: em.fresh("sum"), dtype }));
  for (const { name, dtype } of sums) em.put({ k: "var", name, x: widen(lit(0, dtype), 4) });
  const sumOf = (i: number): X => variable(sums[i].name, sums[i].dtype, 4);
  const turn = (): void =>
    lines.forEach((x, i) => {
      em.put({ k: "set", name: sums[i].name, x: bin("+", sumOf(i), em.x(x, lane)) });
    });
  if (from) em.uncounted(line, extentOf(line), from, turn);
  else em.loop(line, "line", lit(extentOf(line)), turn);
  em.onFold = (fold) => sumOf(folds.indexOf(fold));
}

/**
 * Windows below each other, a line of the image a turn: the last line of a window is the one before the last of the window below, and so
 * on (from below, the first is the second one). A turn adds it to each of them, so that it is loaded once, and a window's sum comes
 * together over as many turns as it has lines. `fold`: the sum of a window across, so far below the one that the turn is the last for;
 * `body`: what is done with finished sums.
 */
function walkDown(
  em: Emitter,
  turns: { readonly axis: Axis; readonly from: X; readonly end: X; readonly step: 1 | -1 },
  across: number,
  fold: (x: number, below: number) => ScalarOf<"fold">,
  lane: Axis,
  others: readonly Scalar[],
  body: () => void,
): void {
  const columns = Array.from({ length: across }, (_, x) => x);
  const own = columns.map((x) => fold(x, 0));
  const last = extentOf(lineOf(own[0])) - 1;
  const terms = columns.map((x) =>
    Array.from({ length: last + 1 }, (_, below) =>
      lineIn(em.s, fold(x, below))(em.s.dim(turns.step > 0 ? last - below : below)),
    ),
  );
  em.count([...terms.flat(), ...others]);
  const [{ dtype }] = own;
  const kept = columns.map(() => Array.from({ length: last }, () => em.fresh("sum")));
  for (const name of kept.flat()) em.put({ k: "var", name, x: widen(lit(0, dtype), 4) });
  const sumOf = (name: string): X => variable(name, dtype, 4);
  const turn = (at: X): void => {
    const sums = columns.map((x) => {
      const [first, ...below] = terms[x].map((term) => em.x(term, lane));
      const [nearest, ...further] = kept[x];
      const sum = em.let("whole", bin("+", sumOf(nearest), first));
      kept[x].forEach((name, n) => {
        em.put({ k: "set", name, x: n < last - 1 ? bin("+", sumOf(further[n]), below[n]) : below[n] });
      });
      return sum;
    });
    em.onFold = (f) => sums[own.indexOf(f)];
    em.push();
    body();
    // The first turns are of windows above.
    em.put({ k: "if", cond: bin(">=", at, bin("+", turns.from, lit(last))), body: em.pop() });
  };
  em.loop(turns.axis, "turn", bin("+", turns.end, lit(last)), turn, turns.from);
}

function strips(job: Job, t: Choice): Launch {
  const { ctx, group: g } = job;
  const { order, across, down, step, lines } = stripOf(job) as Strip;
  const s = literally(ctx, g);
  const em = emitterFor(ctx, s);
  const { shape } = g.roots[0].type;
  const channel = order[order.length - 1];
  const span = (axis: number): number =>
    axis === channel ? 4 : axis === across ? t.across : axis === down ? t.down : 1;
  // A thread's place in blocks, innermost first.
  const blocks = new Map(order.map((i) => [i, s.axis(`b${i}`, ceilDiv(shape[i], span(i)))]));
  const blocksOf = (i: number): Dim => (blocks.get(i) as Axis).extent;
  const total = product(order.map(blocksOf));
  const thread = em.let("i", bin("+", bin("*", groupX(), lit(t.threads)), laneX()));
  em.put({ k: "if", cond: bin(">=", thread, em.dim(total)), body: [{ k: "return" }] });
  const lane = s.axis("c", shape[channel]);
  let rest: X = thread;
  const live = [...order].reverse().filter((i) => !isConst(blocksOf(i), 1));
  for (const i of order) em.bind(blocks.get(i) as Axis, lit(0));
  em.bind(lane, lit(0));
  live.forEach((i, n) => {
    const last = n === live.length - 1;
    const own = last ? rest : em.let("b", bin("%", rest, em.dim(blocksOf(i))));
    if (!last) rest = em.let("rest", bin("/", rest, em.dim(blocksOf(i))));
    em.bind(blocks.get(i) as Axis, own);
    if (i === channel) em.bind(lane, em.let("c", bin("*", own, lit(4))));
  });
  const begin = (i: number): Scalar => s.imul(s.axisValue(blocks.get(i) as Axis), span(i));
  /** Where a thread is that walks: a turn ahead for each line of a window but the first, so that no number is negative. */
  const turn = t.looped && t.down > 1 ? s.axis("turn", add(shape[down], lines - 1)) : undefined;
  const placed = (y: number, x: number): Scalar[] =>
    shape.map((_, i) => {
      if (i === channel) return s.axisValue(lane);
      if (i === down) return s.iadd(turn ? s.iadd(s.axisValue(turn), 1 - lines) : begin(i), y);
      return i === across ? s.iadd(begin(i), x) : begin(i);
    });
  const windows = Array.from({ length: t.across * (turn ? 1 : t.down) }, (_, n) => {
    const [y, x] = [Math.floor(n / t.across), n % t.across];
    const at = placed(y, x);
    const whole = g.roots.map((r) => lowerRoot(s, r, at));
    const sumsOut = (v: Scalar): Scalar =>
      s.rewrite(v, (part) => (part.kind === "fold" ? writtenOut(s, part) : undefined));
    return { y, x, at, whole, values: t.looped ? whole : whole.map(sumsOut) };
  });
  const values = windows.flatMap((w) => w.values);
  const work = workOf(windows[0].whole);
  const storeAll = (): void => {
    for (const { y, x, at, values } of windows) {
      const results = values.map((v) => em.x(v, lane));
      // The first window of a block is always there.
      const beyond = [
        ...(x > 0 && !isMultipleOf(shape[across], t.across) ? [across] : []),
        ...(y > 0 && !isMultipleOf(shape[down], t.down) ? [down] : []),
      ];
      em.push();
      g.roots.forEach((r, n) => void em.store(r, at, results[n], lane));
      const body = em.pop();
      if (beyond.length === 0) for (const b of body) em.put(b);
      else {
        const inside = beyond
          .map((i) => bin("<", em.x(at[i]), em.dim(shape[i])))
          .reduce((a, b) => bin("&&", a, b));
        em.put({ k: "if", cond: inside, body });
      }
    }
  };
  if (turn && step !== 0) {
    const from = em.let("first", em.x(begin(down)));
    const beyond = bin("+", from, lit(t.down));
    const end = em.let(
      "end",
      isMultipleOf(shape[down], t.down) ? beyond : call("min", [beyond, em.dim(shape[down])], "i32"),
    );
    const fold = (x: number, below: number): ScalarOf<"fold"> =>
      foldsOf(lowerRoot(s, g.roots[0], placed(below, x)))[0];
    walkDown(em, { axis: turn, from, end, step }, t.across, fold, lane, values, storeAll);
  } else {
    if (t.looped)
      loopOver(
        em,
        [...new Set(values.flatMap(foldsOf))],
        lane,
        values,
        ctx.target.dearTexts ? thread : undefined,
      );
    else em.count(values);
    storeAll();
  }
  return finish(em, s, {
    name: groupName(g),
    family: `strip ${t.down}x${t.across}${t.looped ? ` ${turn ? "walked down" : "by lines"}` : ""}`,
    workgroup: t.threads,
    groups: ceilDiv(total, t.threads),
    cost: mul(product(shape), add(work, g.roots.length)),
    nest: [
      `grid ${live.map((i) => `i${i}`).join(", ")} in 0 .. ${total.key}, ${t.down} x ${t.across} windows by 4 lanes`,
      ...g.roots.map((r) => `  root   ${r.node.label ?? r.node.op.name}`),
    ],
  });
}
