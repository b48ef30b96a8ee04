// What `with` in a train block is made of: optimizers, and schedules as expressions the host evaluates at each step.
// In: static numbers. Out: HostExpr trees over `step` and `total_steps`. Separate because none of it touches the graph.
import type { HostExpr } from "../../../../../runtime/core/program.ts";
import type * as ast from "../../../syntax/ast.ts";
import { hostOf } from "../tensors/arith.ts";
import { matchArgs } from "../values/arguments.ts";
import { type Ctx, fail } from "../values/context.ts";
import { type ArgVal, describe, type Val } from "../values/values.ts";

export const OPTIMIZERS = ["sgd", "adam", "adamw"] as const;

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
  readonly params: readonly { readonly name: string; readonly default?: number }[];
  readonly make: (...xs: H[]) => H;
}

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
  ...[...OPTIMIZERS, ...Object.keys(SCHEDULES)].map((n): [string, Val] => [
    n,
    { kind: "builtin", name: `${PREFIX}${n}` },
  ]),
]);

export function hostFunction(ctx: Ctx, full: string, args: readonly ArgVal[], site: ast.Expr): Val {
  const name = full.startsWith(PREFIX) ? full.slice(PREFIX.length) : full;
  if ((OPTIMIZERS as readonly string[]).includes(name)) return { kind: "optimizer", name, args };
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
    if (a) return number(a);
    return p.default ?? fail(ctx, "E0601", `${name} needs ${p.name}`, site.span);
  });
  return { kind: "host", expr: schedule.make(...values) };
}
