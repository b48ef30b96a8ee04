// What `with` in a train block is made of: optimizers, and schedules as expressions the host evaluates at each step.
// In: static numbers. Out: HostExpr trees over `step` and `total_steps`. Separate because none of it touches the graph.
import type { HostExpr } from "../../../../../runtime/core/program.ts";
import type * as ast from "../../../syntax/ast.ts";
import { hostOf } from "../tensors/arith.ts";
import { matchArgs } from "../values/arguments.ts";
import { type Ctx, fail } from "../values/context.ts";
import { type ArgVal, describe, type Val } from "../values/values.ts";

const PREFIX = "with ";

type H = HostExpr;
/** Arithmetic on literals is done here, so that a plain rate stays a plain number. */
const fold =
  (op: string, f: (a: number, b: number) => number) =>
  (a: H, b: H): H =>
    typeof a === "number" && typeof b === "number" ? f(a, b) : [op, a, b];
const plus = fold("+", (a, b) => a + b);
const add = (a: H, b: H): H => (a === 0 ? b : b === 0 ? a : plus(a, b));
const minus = fold("-", (a, b) => a - b);
const sub = (a: H, b: H): H => (b === 0 ? a : minus(a, b));
const times = fold("*", (a, b) => a * b);
const mul = (a: H, b: H): H => (a === 1 ? b : b === 1 ? a : times(a, b));
const div = fold("/", (a, b) => a / b);
const max = (a: H, b: H): H => ["max", a, b];
const min = (a: H, b: H): H => ["min", a, b];
const where = (c: H, a: H, b: H): H => ["where", c, a, b];
const STEP: H = "step";
const TOTAL: H = "total_steps";

/** How far along the steps behind the warm-up are, between 0 and 1. */
const progress = (warmup: H): H => min(1, max(0, div(sub(STEP, warmup), max(1, sub(TOTAL, warmup)))));
/** A linear rise to `peak` over the first steps, then `rest`. */
const warm = (peak: H, warmup: H, rest: H): H =>
  warmup === 0 ? rest : where(["<", STEP, warmup], div(mul(peak, add(STEP, 1)), warmup), rest);
const cosineFrom = (from: H, to: H, t: H): H =>
  add(to, mul(mul(0.5, sub(from, to)), add(1, ["cos", mul(Math.PI, t)])));

export interface Schedule {
  /** For `mdl ops`. */
  readonly doc: string;
  readonly params: readonly { readonly name: string; readonly default?: number; readonly list?: true }[];
  /** A list is an expression whose head says so. */
  readonly make: (...xs: H[]) => H;
}

const LIST = "list";
const itemsOf = (list: H): readonly H[] => (list as readonly [string, ...H[]]).slice(1);

/** A schedule that begins `after` steps later, and has as many fewer. */
const later = (e: H, after: H): H =>
  e === STEP || e === TOTAL
    ? minus(e, after)
    : typeof e === "object"
      ? [e[0], ...e.slice(1).map((x) => later(x, after))]
      : e;
/** A schedule at its first step. */
const first = (e: H): H => (e === STEP ? 0 : typeof e === "object" ? [e[0], ...e.slice(1).map(first)] : e);

const warmed = [{ name: "peak" }, { name: "warmup", default: 0 }, { name: "final", default: 0 }];

export const SCHEDULES: Readonly<Record<string, Schedule>> = {
  constant: {
    doc: "`value` at every step, after a linear rise over `warmup` steps.",
    params: [{ name: "value" }, { name: "warmup", default: 0 }],
    make: (v, w) => warm(v, w, v),
  },
  cosine: {
    doc: "CosineAnnealingLR: a linear rise to `peak` over `warmup` steps, then half a cosine down to `final` at the last of total_steps.",
    params: warmed,
    make: (p, w, f) => warm(p, w, cosineFrom(p, f, progress(w))),
  },
  linear: {
    doc: "A linear rise to `peak` over `warmup` steps, then a line down to `final` at the last of total_steps.",
    params: warmed,
    make: (p, w, f) => warm(p, w, add(p, mul(sub(f, p), progress(w)))),
  },
  step_decay: {
    doc: "StepLR: value * gamma ^ floor(step / every).",
    params: [{ name: "value" }, { name: "every" }, { name: "gamma", default: 0.1 }],
    make: (v, e, g) => mul(v, ["**", g, ["floor", div(STEP, e)]]),
  },
  multi_step: {
    doc: "MultiStepLR: value * gamma ^ (how many of the milestones are reached).",
    params: [{ name: "value" }, { name: "milestones", list: true }, { name: "gamma", default: 0.1 }],
    make: (v, list, g) =>
      mul(v, [
        "**",
        g,
        itemsOf(list)
          .map((m): H => [">=", STEP, m])
          .reduce(add, 0),
      ]),
  },
  cosine_restarts: {
    doc: "CosineAnnealingWarmRestarts: half a cosine from `peak` to `final` within `period` steps, then again, each `mult` times as long as the one before.",
    params: [
      { name: "peak" },
      { name: "period" },
      { name: "mult", default: 1 },
      { name: "final", default: 0 },
    ],
    make: (p, n, k, f) => {
      if (k === 1) return cosineFrom(p, f, div(["%", STEP, n], n));
      // How many periods are over: floor(log_k(step / n * (k - 1) + 1)), as PyTorch has it.
      const over = add(mul(div(STEP, n), minus(k, 1)), 1);
      const done: H = ["floor", add(div(["log", over], ["log", k]), 1e-9)];
      const grown: H = ["**", k, done];
      const since = minus(STEP, div(mul(n, minus(grown, 1)), minus(k, 1)));
      return cosineFrom(p, f, div(since, mul(n, grown)));
    },
  },
  polynomial: {
    doc: "PolynomialLR: a linear rise to `peak` over `warmup` steps, then final + (peak - final) * (1 - progress) ^ power, to the last of total_steps.",
    params: [
      { name: "peak" },
      { name: "power", default: 1 },
      { name: "warmup", default: 0 },
      { name: "final", default: 0 },
    ],
    make: (p, k, w, f) => warm(p, w, add(f, mul(sub(p, f), ["**", minus(1, progress(w)), k]))),
  },
  warm_up: {
    doc: "Any schedule behind a rise over `steps` steps, from `start` times its first value to that value; its own steps begin then.",
    params: [{ name: "schedule" }, { name: "steps" }, { name: "start", default: 0 }],
    make: (v, n, start) => {
      const risen = add(start, mul(sub(1, start), div(add(STEP, 1), n)));
      return where(["<", STEP, n], mul(first(v), risen), later(v, n));
    },
  },
  plateau: {
    doc: "ReduceLROnPlateau: value * factor ^ plateaus, not below `least`. How often the metric has stopped getting better is the caller's number: train_step(batch, { plateaus }), counted by ReduceOnPlateau of mdlc/plateau.",
    params: [{ name: "value" }, { name: "factor", default: 0.1 }, { name: "least", default: 0 }],
    make: (v, g, least) => max(least, mul(v, ["**", g, "plateaus"])),
  },
  exponential: {
    doc: "ExponentialLR, a step at a time: value * gamma ^ step.",
    params: [{ name: "value" }, { name: "gamma" }],
    make: (v, g) => mul(v, ["**", g, STEP]),
  },
  one_cycle: {
    doc: "OneCycleLR with cosine annealing: from peak / div up to `peak` for `pct` of total_steps, then down to peak / (div * final_div).",
    params: [
      { name: "peak" },
      { name: "pct", default: 0.3 },
      { name: "div", default: 25 },
      { name: "final_div", default: 1e4 },
    ],
    make: (p, pct, d, fd) => {
      const up = max(1, sub(mul(pct, TOTAL), 1));
      const down = max(1, sub(sub(TOTAL, up), 1));
      const start = div(p, d);
      const rise = cosineFrom(start, p, min(1, div(STEP, up)));
      const fall = cosineFrom(p, div(start, fd), min(1, max(0, div(sub(STEP, up), down))));
      return where(["<", STEP, up], rise, fall);
    },
  },
};

/** What of an expression is numbers alone is a number; nothing times anything is nothing. */
export function foldHost(e: H): H {
  if (typeof e !== "object") return e;
  const [name, ...rest] = e;
  const args = rest.map(foldHost);
  const [x, y] = args;
  if (name === "*" && (x === 0 || y === 0)) return 0;
  if (name === "*" && (x === 1 || y === 1)) return x === 1 ? y : x;
  if (name === "+" && (x === 0 || y === 0)) return x === 0 ? y : x;
  if (name === "-" && y === 0) return x;
  if (typeof x === "number" && typeof y === "number" && Object.hasOwn(PLAIN, name)) return PLAIN[name](x, y);
  return [name, ...args];
}
const PLAIN: Readonly<Record<string, (a: number, b: number) => number>> = {
  "+": (a, b) => a + b,
  "-": (a, b) => a - b,
  "*": (a, b) => a * b,
  "/": (a, b) => a / b,
};

/** Number functions the host knows, on schedules. */
const NUMERIC: ReadonlySet<string> = new Set([
  "floor",
  "ceil",
  "round",
  "sqrt",
  "exp",
  "log",
  "sin",
  "cos",
  "abs",
  "max",
  "min",
]);

/** Names of a `with` clause, bound there alone: `linear` is an operator everywhere else. */
export const WITH_NAMES: ReadonlyMap<string, Val> = new Map<string, Val>([
  ["step", { kind: "host", expr: STEP }],
  ["total_steps", { kind: "host", expr: TOTAL }],
  ...Object.keys(SCHEDULES).map((n): [string, Val] => [n, { kind: "builtin", name: `${PREFIX}${n}` }]),
]);

export function hostFunction(ctx: Ctx, full: string, args: readonly ArgVal[], site: ast.Expr): Val {
  const name = full.startsWith(PREFIX) ? full.slice(PREFIX.length) : full;
  const number = (a: ArgVal): H =>
    hostOf(a.val) ??
    fail(ctx, "E0605", `${name} takes numbers and schedules, not ${describe(a.val)}`, a.span);
  if (NUMERIC.has(name)) return { kind: "host", expr: [name, ...args.map(number)] };
  if (!Object.hasOwn(SCHEDULES, name))
    return fail(ctx, "E0605", `${name} does not take a schedule`, site.span);
  const schedule = SCHEDULES[name];
  const got = matchArgs(
    ctx,
    name,
    schedule.params.map((p) => p.name),
    args,
    site.span,
  );
  const values = schedule.params.map((p, i): H => {
    const a = got[i];
    if (a && p.list) {
      const items = a.val.kind === "list" || a.val.kind === "tuple" ? a.val.items : [a.val];
      return [LIST, ...items.map((val) => number({ val, span: a.span }))];
    }
    if (a) return number(a);
    return (
      p.default ??
      fail(ctx, "E0601", `${name} needs ${p.name}`, site.span, {
        help: `its parameters are ${schedule.params.map((q) => q.name).join(", ")}`,
      })
    );
  });
  return { kind: "host", expr: schedule.make(...values) };
}
