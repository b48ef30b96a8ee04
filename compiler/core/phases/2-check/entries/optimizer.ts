// Optimisers. In: the `with` clauses of a train block, and what it trains. Out: rules, each a graph of one step of one
// parameter, with the groups of parameters that follow it and the host's numbers of each group. Which numbers an optimiser
// has, what it keeps and what a step is, its declaration says (std/optim, or the author's own).
import { asConst, dim } from "../../../dims/dim.ts";
import { createBuilder, reachable } from "../../../ir/build.ts";
import type { Graph, Node } from "../../../ir/types.ts";
import type { HostExpr, RuleGroup, UpdateRule } from "../../../model.ts";
import { input } from "../../../ops/source.ts";
import type * as ast from "../../../syntax/ast.ts";
import { construct } from "../instances/construct.ts";
import { matchSlots } from "../instances/slots.ts";
import { callFn, tensorType } from "../interpret/call.ts";
import { evalExpr } from "../interpret/expr.ts";
import { foldHost, WITH_NAMES } from "../interpret/schedules.ts";
import { hostOf } from "../tensors/arith.ts";
import { toTensor } from "../tensors/tensors.ts";
import { coerceStatic, matchArgs } from "../values/arguments.ts";
import { baseCtx, type Ctx, fail, failName, report, Scope } from "../values/context.ts";
import {
  type ArgVal,
  asNumber,
  describe,
  floatVal,
  type Instance,
  type Slot,
  tensorVal,
  typeOfVal,
  type Val,
} from "../values/values.ts";
import { newTrace, seal } from "./trace.ts";

type OptimizerVal = Extract<Val, { kind: "optimizer" }>;
/** A `with` clause: an optimiser, its arguments by name, and what it is for. */
interface Asked {
  readonly optimizer: OptimizerVal;
  readonly clause: ast.WithClause;
  readonly args: ReadonlyMap<string, Val>;
  readonly slots: readonly Slot[];
  readonly noDecay: ReadonlySet<Slot>;
  /** What the caller names its learning rate by. */
  readonly lr: string;
}

/** Behind the numbers an optimiser declares, where it has a weight decay. */
const NO_DECAY = "no_decay";
const DECAY = "weight_decay";

export function optimizers(
  base: Ctx,
  model: Instance,
  clauses: readonly ast.WithClause[],
  update: readonly Slot[],
): UpdateRule[] {
  const taken = new Map<Slot, ast.WithClause>();
  const chosen = clauses.map((c) => (c.patterns ? chosenBy(base, c, c.patterns, update, taken) : undefined));
  const plain = clauses.filter((c) => !c.patterns);
  for (const again of plain.slice(1))
    report(base, "E0905", "with stands twice without for", again.span, {
      secondary: [{ span: plain[0].span, text: "first here" }],
      help: "say what each is for: with adamw(lr = 1e-4) for trunk.*",
    });
  const left = update.filter((s) => !taken.has(s));
  if (plain.length === 0 && left.length > 0)
    fail(base, "E0904", `no with is for ${left[0].paths[0]}`, clauses[clauses.length - 1].span, {
      help: "a with without for is for the rest; what is not to be trained is frozen",
    });
  let named = 0;
  const asked = clauses.map((c, i): Asked => {
    const lr = c === (plain[0] ?? clauses[0]) ? "lr" : `lr_${++named}`;
    return ask(base, model, c, chosen[i] ?? left, lr);
  });
  // Those that differ in the host's numbers alone are one rule.
  const alike = new Map<string, Asked[]>();
  for (const a of asked) {
    if (a.slots.length === 0) continue;
    const { decl, module } = a.optimizer;
    const fixed = decl.params
      .filter((p) => !isSchedule(p))
      .map((p) => typeOfVal(a.args.get(p.name.name) as Val));
    const key = JSON.stringify([module.file, decl.name.name, ...fixed]);
    alike.set(key, [...(alike.get(key) ?? []), a]);
  }
  return [...alike.values()].map((list) => ruleOf(base, list));
}

/** The trained parameters that a clause names. */
function chosenBy(
  ctx: Ctx,
  clause: ast.WithClause,
  patterns: readonly ast.Pattern[],
  update: readonly Slot[],
  taken: Map<Slot, ast.WithClause>,
): Slot[] {
  const own = new Set<Slot>();
  for (const p of patterns) {
    for (const s of trainedBy(ctx, p, update)) {
      const other = taken.get(s);
      if (other && other !== clause)
        fail(ctx, "E0905", `${s.paths[0]} is in two groups`, p.span, {
          secondary: [{ span: other.span, text: "the other one" }],
        });
      taken.set(s, clause);
      own.add(s);
    }
  }
  return update.filter((s) => own.has(s));
}

/** What a pattern names of what a block trains; there is something. */
export function trainedBy(ctx: Ctx, pattern: ast.Pattern, update: readonly Slot[]): readonly Slot[] {
  const trained = matchSlots(ctx, ctx.shared.slots, pattern, "").filter((s) => update.includes(s));
  if (trained.length === 0)
    fail(ctx, "E0908", `this block trains nothing that ${pattern.segments.join(".")} names`, pattern.span, {
      help: "it is frozen, or left out by update",
    });
  return trained;
}

const isSchedule = (p: ast.Param): boolean =>
  p.type.kind === "static_type" && p.type.name.name === "schedule";

function ask(base: Ctx, model: Instance, clause: ast.WithClause, slots: readonly Slot[], lr: string): Asked {
  const scope = new Scope(model.scope);
  for (const [name, val] of WITH_NAMES) scope.names.set(name, { val, kind: "local" });
  for (const [name, { item, module }] of base.module.optimizers)
    scope.names.set(name, { val: { kind: "optimizer", decl: item, module }, kind: "local" });
  // The rate of the others is a part of that of the block.
  if (lr !== "lr") scope.names.set("lr", { val: { kind: "host", expr: "lr" }, kind: "local" });
  const ctx: Ctx = { ...base, scope };
  const e = clause.optimizer;
  const own = [...base.module.names].flatMap(([n, { item }]) => (item.kind === "optimizer" ? [n] : []));
  const known = [...base.module.optimizerNames, ...own];
  if (
    e.kind === "call" &&
    e.callee.kind === "name" &&
    !scope.find(e.callee.name) &&
    !ctx.module.names.has(e.callee.name)
  )
    failName(
      ctx,
      "E0907",
      `there is no optimizer ${e.callee.name}`,
      e.callee.name,
      known,
      e.callee.span,
      `there are ${known.join(", ")}`,
    );
  const v = evalExpr(ctx, e);
  if (v.kind !== "optimizer")
    return fail(ctx, "E0907", `with takes an optimizer, not ${describe(v)}`, e.span, {
      help: `such as ${known.join(", ")}`,
    });
  const { decl } = v;
  const params = decl.params.map((p) => p.name.name);
  const names = params.includes(DECAY) ? [...params, NO_DECAY] : params;
  const got = matchArgs(ctx, decl.name.name, names, v.args ?? [], e.span);
  const args = new Map<string, Val>();
  const inside: Ctx = { ...baseCtx(ctx.shared, v.module), scope: new Scope() };
  decl.params.forEach((p, i) => {
    const a = got[i];
    const { name } = p.name;
    if (!a && !p.default)
      fail(ctx, "E0601", `${decl.name.name} needs ${name}`, e.span, {
        help: `its parameters are ${names.join(", ")}`,
      });
    const raw = a ? a.val : evalExpr(inside, p.default as ast.Expr);
    if (a && a.val.kind === "host" && !isSchedule(p)) {
      const may = decl.params.filter(isSchedule).map((q) => q.name.name);
      fail(ctx, "E0605", `${name} takes a number; ${may.join(" and ")} may follow a schedule`, a.span);
    }
    const val = coerceStatic(ctx, inside, p.type, raw, a?.span ?? p.span, `${decl.name.name}: ${name}`);
    const n = asNumber(val);
    if (a && n !== undefined && n < 0) fail(ctx, "E0607", `${name} is at least 0, given ${n}`, a.span);
    args.set(name, val);
    inside.scope.names.set(name, { val, kind: "param", span: p.span });
  });
  const spared = got[params.length];
  return {
    optimizer: v,
    clause,
    args,
    slots,
    noDecay: spared ? decayless(ctx, spared, slots) : new Set(),
    lr,
  };
}

/** `no_decay = ["*.bias", "*.bn*"]`: paths of trained parameters. */
function decayless(ctx: Ctx, a: ArgVal, update: readonly Slot[]): Set<Slot> {
  const items = a.val.kind === "list" || a.val.kind === "tuple" ? a.val.items : [a.val];
  const out = new Set<Slot>();
  for (const v of items) {
    if (v.kind !== "string")
      return fail(ctx, "E0605", `no_decay is a list of patterns, given ${describe(v)}`, a.span, {
        help: 'no_decay = ["*.bias"]',
      });
    const pattern: ast.Pattern = { kind: "pattern", segments: v.value.split("."), span: a.span };
    for (const s of matchSlots(ctx, update, pattern, "")) out.add(s);
  }
  return out;
}

/** The numbers of a group of parameters, by the optimiser's names. */
type Numbers = ReadonlyMap<string, HostExpr>;

function ruleOf(base: Ctx, list: readonly Asked[]): UpdateRule {
  const [{ optimizer, clause }] = list;
  const { decl, module } = optimizer;
  const hyper: Record<string, HostExpr> = {};
  const groups: { slots: readonly Slot[]; numbers: Numbers }[] = [];
  for (const a of list) {
    const numbers = new Map<string, HostExpr>();
    for (const p of decl.params.filter(isSchedule)) {
      const { name } = p.name;
      const expr = hostOf(a.args.get(name) as Val) as HostExpr;
      // What the caller may give in place of the block's own: the rate, and what follows a schedule.
      const own = a.lr === "lr" ? name : a.lr.replace("lr", name);
      if (name === "lr" || typeof expr !== "number") {
        hyper[own] = expr;
        numbers.set(name, own);
      } else numbers.set(name, expr);
    }
    const decays = a.slots.filter((s) => !a.noDecay.has(s));
    const spared = a.slots.filter((s) => a.noDecay.has(s));
    if (decays.length > 0) groups.push({ slots: decays, numbers });
    if (spared.length > 0) groups.push({ slots: spared, numbers: new Map([...numbers, [DECAY, 0]]) });
  }
  // A number that is 0 for all is the number 0, which the rule may ask for; the others are the host's.
  const args = decl.params.map((p): ArgVal => {
    const { name, span } = p.name;
    const all = groups.map((g) => g.numbers.get(name));
    const val: Val = !isSchedule(p)
      ? (list[0].args.get(name) as Val)
      : all.every((x) => x === 0)
        ? floatVal(0)
        : { kind: "host", expr: name };
    return { name, val, span };
  });
  const update = decl.members.find((m): m is ast.FnDecl => m.kind === "fn" && m.name.name === "update");
  const [first] = update?.params ?? [];
  const type = first && tensorType(first.type);
  if (!update || !type)
    return fail(
      base,
      "E0204",
      `${decl.name.name} has no fn update of a parameter and its gradient`,
      clause.span,
      {
        secondary: [{ span: decl.name.span, text: "declared here" }],
        help: "fn update(param: f32, grad: f32) -> f32 { … }",
      },
    );
  const elementwise = type.dims.length === 0;
  const rule: Rule = { base, decl, module, args, site: clause.optimizer, elementwise };
  const traced = new Map<string, Traced>();
  const shapeOf = (s: Slot): readonly number[] => (elementwise ? [] : s.shape);
  for (const { slots } of groups)
    for (const s of slots) {
      const shape = shapeOf(s);
      // What is wrong with a whole parameter is said of the first one of its shape.
      const path = elementwise ? base.path : s.paths[0];
      if (!traced.has(shape.join())) traced.set(shape.join(), trace(rule, update, shape, path));
    }
  const [one] = traced.values();
  const numbersOf = ({ numbers }: { readonly numbers: Numbers }): RuleGroup["numbers"] =>
    Object.fromEntries(
      [...traced.values()].flatMap((t) =>
        t.numbers.map(([key, expr]) => [key, foldHost(named(expr, numbers))]),
      ),
    );
  return {
    optimizer: decl.name.name,
    elementwise,
    graphs: new Map([...traced].map(([shape, t]) => [shape, t.graph])),
    states: one.states,
    hyper,
    groups: groups.map((g) => ({ paths: g.slots.map((s) => s.paths[0]), numbers: numbersOf(g) })),
  };
}

/** An expression over an optimiser's names, over a group's. */
const named = (expr: HostExpr, numbers: Numbers): HostExpr =>
  typeof expr === "number"
    ? expr
    : typeof expr === "string"
      ? (numbers.get(expr) ?? expr)
      : [expr[0], ...expr.slice(1).map((x) => named(x, numbers))];

interface Traced {
  readonly graph: Graph;
  /** The host's numbers that it reads, by the name of their input. */
  readonly numbers: readonly (readonly [string, HostExpr])[];
  readonly states: UpdateRule["states"];
}
interface Rule {
  readonly base: Ctx;
  readonly decl: ast.OptimizerDecl;
  readonly module: Ctx["module"];
  readonly args: readonly ArgVal[];
  readonly site: ast.Expr;
  readonly elementwise: boolean;
}

/** One step of one parameter of this shape, in f32: inputs param, grad, step and the numbers; writes are what it keeps. */
function trace(
  { base, decl, module, args, site, elementwise }: Rule,
  update: ast.FnDecl,
  shape: readonly number[],
  path: string,
): Traced {
  const own = newTrace(decl.name.name);
  const dims = shape.map((n) => dim(n));
  const numbers = new Map<string, HostExpr>();
  const leaf = (name: string, of: typeof dims): Node["outs"][number] => {
    const found = own.inputs.find((n) => n.attrs.name === name);
    if (found) return found.outs[0];
    const value = own.b.make(input, [], { name, dtype: "f32", shape: of }, name);
    own.inputs.push(value.node);
    return value;
  };
  const hyper = (expr: HostExpr): Node["outs"][number] => {
    const key = `host ${JSON.stringify(expr)}`;
    numbers.set(key, expr);
    return leaf(key, []);
  };
  const instance = construct(
    { ...base, scope: new Scope() },
    decl,
    module,
    args,
    site.span,
    base.calls,
    dims,
  );
  for (const m of decl.members)
    if (m.kind === "param_decl")
      fail(base, "E0206", `${decl.name.name} declares a parameter`, m.span, {
        help: "what it keeps is a buffer",
      });
  const ctx: Ctx = { ...baseCtx(base.shared, module), path, trace: { ...own, hyper }, mode: "train" };
  const given = [leaf("param", dims), leaf("grad", dims), leaf("step", [])].map((v) => ({
    val: tensorVal(v),
    span: site.span,
  }));
  const fn = instance.scope.names.get("update")?.val;
  if (fn?.kind !== "fn") return fail(base, "E0204", `${decl.name.name} has no update`, site.span);
  const val = callFn(ctx, fn, given.slice(0, Math.max(2, update.params.length)), site);
  const at = update.body.result?.span ?? update.body.span;
  const next = toTensor(ctx, val, at);
  const fits =
    next.type.shape.length === shape.length && next.type.shape.every((d, i) => asConst(d) === shape[i]);
  if (next.type.dtype !== "f32" || !fits)
    fail(ctx, "E0405", `update gives ${describe(tensorVal(next))}, not the parameter's next value`, at);
  const { graph } = seal(ctx, own, [{ name: "param", value: next }]);
  for (const n of graph.nodes) {
    const wrong =
      n.op.name === "seed"
        ? "draws random numbers"
        : elementwise && !isPlain(n)
          ? `cannot use ${n.op.name} of one element`
          : undefined;
    if (wrong)
      fail(ctx, "E0303", `${decl.name.name} ${wrong}`, n.origin.span ?? at, {
        help: "an update of f32 works element by element; one of f32[...] sees a whole parameter",
      });
  }
  const states = [...instance.members].flatMap(([name, v]) =>
    v.kind === "slot" ? [{ name, init: v.slot.init, shape: v.slot.shape }] : [],
  );
  for (const s of states)
    if (s.init.kind !== "constant")
      fail(ctx, "E0706", `${s.name} of an optimizer begins as one number`, decl.name.span);
  return { graph, numbers: [...numbers], states };
}
/** What means the same of one element as of many. */
function isPlain(node: Node): boolean {
  const { op, inputs } = node;
  if (op.fuses === "composite" && op.expand)
    return reachable(op.expand(createBuilder(), node)).every(isPlain);
  return inputs.length === 0 || op.fuses === "map" || op.fuses === "view";
}
