// Windows of products that have hardly any rows or columns (a depthwise convolution, and its gradient towards the input):
// each channel has a filter of its own. A thread has four channels of a few neighbouring windows: what the windows have in common it
// loads once, and a filter's elements for all of them. In: a map group whose folds are such windows. Out: one launch.
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
import { bin, lit, variable, widen, type X } from "../../kernel/code.ts";
import type { Emitter } from "../../kernel/emitter.ts";
import type { ScalarContext } from "../../kernel/lowering.ts";
import { type Axis, foldsOf, loadsOf, type Scalar, type ScalarOf } from "../../kernel/scalar.ts";
import { workOf } from "../../kernel/work.ts";
import { factsOf } from "../../regions/facts.ts";
import type { Region } from "../../regions/region.ts";
import { OfGroups } from "./asked.ts";
import { emitterFor, finish, groupLowering, groupName, groupX, laneX, lowerRoot } from "./common.ts";
import { type Family, type Job, type Launch, oneLaunch, type ScheduleContext } from "./family.ts";

/** Windows beside and below each other that a thread has; `looped`: 1 where lines of a window are turns of a loop. */
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
    // Where compiling is dear, a third of the loads are in the text, and the kernel is as fast.
    const short = job.ctx.target.dearTexts || taps * SHARING > MOST;
    return short ? [looped, ...written] : written;
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
  /** What a window `below` the first loads that is not the same for all of them. */
  const slid = (below: number): readonly Scalar[] => {
    const place = at.map((x, i) => (i === down ? s.iadd(x, below) : x));
    const [own] = foldsOf(lowerRoot(s, first, place));
    return loadsOf(writtenOut(s, own)).filter((l) => l.at.some((x) => x.free.includes(axes[down])));
  };
  const shares = (): boolean => {
    const needed = new Set(slid(0));
    return slid(1).filter((l) => needed.has(l)).length * 2 >= needed.size;
  };
  return {
    order,
    across,
    down: down ?? -1,
    shares: down !== undefined && shares(),
    taps,
    lines: extentOf(lineOf(fold)),
  };
}

/** Windows are written out: their knobs are literals. */
const literally = (ctx: ScheduleContext, g: Job["group"]): ScalarContext => groupLowering(ctx, g, true);

const extentOf = (a: Axis): number => asConst(a.extent) as number;
function tapsOf(fold: ScalarOf<"fold">): number | undefined {
  return asConst(product(fold.axes.map((a) => a.extent)));
}
/** The axis that the lines of a window are along. */
const lineOf = ({ axes }: ScalarOf<"fold">): Axis => axes.find((a) => !isConst(a.extent, 1)) ?? axes[0];
/** A sum over some of its axes, written out. */
function writtenOut(s: ScalarContext, fold: ScalarOf<"fold">, axes = fold.axes): Scalar {
  const count = axes.reduce((n, a) => n * extentOf(a), 1);
  const terms = Array.from({ length: count }, (_, n) => {
    const at = new Map<Axis, Scalar>();
    let rest = n;
    for (const a of [...axes].reverse()) {
      at.set(a, s.dim(rest % extentOf(a)));
      rest = Math.floor(rest / extentOf(a));
    }
    return s.substitute(fold.body, at);
  });
  return terms.reduce((a, b) => s.call("add", a, b));
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
  const lines = folds.map((fold) => {
    const own = lineOf(fold);
    const rest = fold.axes.filter((a) => a !== own);
    return em.s.substitute(writtenOut(em.s, fold, rest), new Map([[own, em.s.axisValue(line)]]));
  });
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

function strips(job: Job, t: Choice): Launch {
  const { ctx, group: g } = job;
  const { order, across, down } = stripOf(job) as Strip;
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
  const placed = (y: number, x: number): Scalar[] =>
    shape.map((_, i) => {
      if (i === channel) return s.axisValue(lane);
      const base = s.imul(s.axisValue(blocks.get(i) as Axis), span(i));
      return i === across ? s.iadd(base, x) : i === down ? s.iadd(base, y) : base;
    });
  const windows = Array.from({ length: t.across * t.down }, (_, n) => {
    const [y, x] = [Math.floor(n / t.across), n % t.across];
    const at = placed(y, x);
    const whole = g.roots.map((r) => lowerRoot(s, r, at));
    const sumsOut = (v: Scalar): Scalar =>
      s.rewrite(v, (part) => (part.kind === "fold" ? writtenOut(s, part) : undefined));
    return { y, x, at, whole, values: t.looped ? whole : whole.map(sumsOut) };
  });
  const values = windows.flatMap((w) => w.values);
  if (t.looped)
    loopOver(
      em,
      [...new Set(values.flatMap(foldsOf))],
      lane,
      values,
      ctx.target.dearTexts ? thread : undefined,
    );
  else em.count(values);
  const work = workOf(windows[0].whole);
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
  return finish(em, s, {
    name: groupName(g),
    family: `strip ${t.down}x${t.across}${t.looped ? " by lines" : ""}`,
    workgroup: t.threads,
    groups: ceilDiv(total, t.threads),
    cost: mul(product(shape), add(work, g.roots.length)),
    nest: [
      `grid ${live.map((i) => `i${i}`).join(", ")} in 0 .. ${total.key}, ${t.down} x ${t.across} windows by 4 lanes`,
      ...g.roots.map((r) => `  root   ${r.node.label ?? r.node.op.name}`),
    ],
  });
}
