// Train blocks: what is minimised and reported becomes one graph in train mode, the rest becomes plain data.
// In: a train declaration and the model's instance. Out: a CheckedTrain. Separate because a train block has an evaluation
// of its own: a bare name is a fn of the model applied to the step's inputs.
import { reachable } from "../../../ir/build.ts";
import type { Constraint, Graph, Node, Value } from "../../../ir/types.ts";
import { type CheckedTrain, GRAD_NORM, type PortInfo, type Sight } from "../../../model.ts";
import { sum } from "../../../ops/axes.ts";
import { isFloat } from "../../../ops/define.ts";
import { abs, add, mul, square, stopGradientOp } from "../../../ops/elementwise.ts";
import { full, param as paramOp } from "../../../ops/source.ts";
import type * as ast from "../../../syntax/ast.ts";
import { matchSlots } from "../instances/slots.ts";
import { finish, frame } from "../interpret/call.ts";
import { evalArgs, evalBlock, evalExpr } from "../interpret/expr.ts";
import { readSlot } from "../tensors/state.ts";
import { isLiteral, toTensor } from "../tensors/tensors.ts";
import { matchArgs, paramOf } from "../values/arguments.ts";
import {
  baseCtx,
  type Ctx,
  fail,
  newState,
  originOf,
  report,
  Scope,
  type Shared,
  see,
  spendGraph,
  type Trace,
} from "../values/context.ts";
import {
  type ArgVal,
  asNumber,
  describe,
  type FnVal,
  type Instance,
  type Slot,
  tensorVal,
  type Val,
} from "../values/values.ts";
import { bindEntry, type Ports } from "./entry.ts";
import { optimizers, trainedBy } from "./optimizer.ts";
import { type Solved, untilSolved } from "./solve.ts";
import { newTrace, seal } from "./trace.ts";

export function checkTrain(shared: Shared, model: Instance, decl: ast.TrainDecl): CheckedTrain {
  const ctx = baseCtx(shared, model.module);
  const one = <K extends ast.TrainClause["kind"]>(
    kind: K,
  ): Extract<ast.TrainClause, { kind: K }> | undefined => {
    const found = decl.clauses.filter((c): c is Extract<ast.TrainClause, { kind: K }> => c.kind === kind);
    for (const again of found.slice(1))
      report(ctx, "E0905", `${kind} stands twice in ${decl.name.name}`, again.span, {
        secondary: [{ span: found[0].span, text: "first here" }],
      });
    return found[0];
  };
  const minimize = one("minimize");
  const withs = decl.clauses.filter((c) => c.kind === "with");
  if (!minimize)
    fail(ctx, "E0904", `${decl.name.name} has no minimize`, decl.name.span, { help: "minimize loss" });
  const gradients = one("gradients");
  if (gradients) alone(ctx, decl, gradients);
  if (withs.length === 0 && !gradients)
    fail(ctx, "E0904", `${decl.name.name} has no with`, decl.name.span, { help: "with adamw(lr = 1e-3)" });
  const reports = decl.clauses.flatMap((c) => (c.kind === "report" ? c.values : []));
  const traced = untilSolved(shared.table, (solved) =>
    traceLoss(shared, model, decl, minimize, reports, solved),
  );
  const update = updates(ctx, shared.slots, decl);
  for (const { path } of traced.graph.writes)
    if (update.some((s) => s.paths[0] === path))
      fail(
        ctx,
        "E0910",
        `${path} is stored into by the loss, and trained by this block`,
        minimize.value.span,
      );
  differentiable(ctx, traced.graph, update, minimize);
  const taken = gradients && update.find((s) => ["loss", ...traced.reports].includes(s.paths[0]));
  if (taken)
    fail(
      ctx,
      "E0202",
      `${taken.paths[0]} is a figure of the block, and a parameter it gives the gradient of`,
      gradients.span,
    );
  const count = (e: ast.Expr | undefined, what: string): number | undefined =>
    number(ctx, model, e, what, (n) => Number.isInteger(n) && n >= 1, "a positive int");
  const batch = count(one("batch")?.size, "batch");
  const clip = one("clip");
  const limit = number(ctx, model, clip?.limit, "clip", (n) => n > 0, "a positive number");
  const ema = number(ctx, model, one("ema")?.decay, "ema", (n) => n > 0 && n < 1, "a number between 0 and 1");
  const accumulate = count(one("accumulate")?.count, "accumulate");
  const lossScale = number(
    ctx,
    model,
    one("loss_scale")?.initial,
    "loss_scale",
    (n) => n >= 1 && n <= 2 ** 24,
    "a number from 1 to 2^24",
  );
  return {
    name: decl.name.name,
    ...(decl.doc === undefined ? {} : { doc: decl.doc }),
    lossGraph: traced.graph,
    inputs: traced.inputs,
    reports: traced.reports,
    update: update.map((s) => s.paths[0]),
    rules: gradients ? [] : optimizers(ctx, model, withs, update),
    ...(batch === undefined ? {} : { batch }),
    ...(clip && limit !== undefined ? { clip: { by: clip.by, limit } } : {}),
    ...(ema === undefined ? {} : { ema }),
    ...(accumulate === undefined ? {} : { accumulate }),
    ...(lossScale === undefined ? {} : { lossScale }),
    maxNorm: maxNorms(ctx, model, decl, update),
    ...(traced.seen ? { seen: traced.seen } : {}),
    span: decl.name.span,
  };
}

/** The loss must reach what is trained, through operators that have gradients; the first that has none is shown. */
function differentiable(ctx: Ctx, graph: Graph, update: readonly Slot[], minimize: ast.MinimizeClause): void {
  const paths = new Set(update.map((s) => s.paths[0]));
  const loss = graph.results[0].value;
  /** Nodes whose value moves with a trained parameter, smoothly as far as is known. */
  const moved = new Set<Node>();
  let stopped: Node | undefined;
  for (const n of reachable([loss])) {
    if (n.inputs.length === 0) {
      if (typeof n.attrs.path === "string" && n.op === paramOp && paths.has(n.attrs.path)) moved.add(n);
    } else if (n.inputs.some((v) => moved.has(v.node))) {
      if (n.op.vjp || n.op.expand) {
        if (n.op !== stopGradientOp && n.outs.some((v) => isFloat(v.type.dtype))) moved.add(n);
      } else stopped ??= n;
    }
  }
  if (moved.has(loss.node)) {
    for (const s of withoutWay(loss, update))
      report(
        ctx,
        "W1101",
        `${s.paths[0]} gets no gradient: the loss depends on it in steps only`,
        minimize.value.span,
        {
          secondary: [{ span: s.span, text: "declared here" }],
        },
      );
    return;
  }
  fail(
    ctx,
    "E1101",
    "the loss does not depend differentiably on the parameters of this block",
    minimize.value.span,
    {
      secondary: stopped?.origin.span
        ? [{ span: stopped.origin.span, text: `${stopped.op.name} has no gradient` }]
        : [],
    },
  );
}

/** What a loss is computed of, but through indices and conditions alone (an argmax, a comparison). */
function withoutWay(loss: Value, update: readonly Slot[]): readonly Slot[] {
  const leaves = (counts: (v: Value) => boolean): Set<unknown> => {
    const seen = new Set<Node>();
    const found = new Set<unknown>();
    const open = [loss];
    for (let v = open.pop(); v; v = open.pop()) {
      if (seen.has(v.node) || v.node.op === stopGradientOp) continue;
      seen.add(v.node);
      if (v.node.op === paramOp) found.add(v.node.attrs.path);
      open.push(...v.node.inputs.filter(counts));
    }
    return found;
  };
  const all = leaves(() => true);
  const smooth = leaves((v) => isFloat(v.type.dtype));
  return update.filter((s) => all.has(s.paths[0]) && !smooth.has(s.paths[0]));
}

/** Beside `gradients` stands nothing that is of an update. */
function alone(ctx: Ctx, decl: ast.TrainDecl, gradients: ast.GradientsClause): void {
  const beside: ReadonlySet<string> = new Set([
    "minimize",
    "report",
    "update",
    "frozen",
    "batch",
    "gradients",
    "error",
  ]);
  for (const c of decl.clauses)
    if (!beside.has(c.kind))
      fail(ctx, "E0905", `${c.kind} is of an update, and this block makes none`, c.span, {
        secondary: [{ span: gradients.span, text: "it gives its gradients" }],
      });
}

/** A number of a clause that fits; undefined where there is no clause. */
function number(
  ctx: Ctx,
  model: Instance,
  e: ast.Expr | undefined,
  what: string,
  fits: (n: number) => boolean,
  want: string,
): number | undefined {
  if (!e) return undefined;
  const n = staticNumber(ctx, model, e, what);
  return fits(n) ? n : fail(ctx, "E0607", `${what} takes ${want}, not ${n}`, e.span);
}

function maxNorms(
  ctx: Ctx,
  model: Instance,
  decl: ast.TrainDecl,
  update: readonly Slot[],
): CheckedTrain["maxNorm"] {
  const taken = new Map<Slot, ast.MaxNormClause>();
  return decl.clauses.flatMap((c) => {
    if (c.kind !== "max_norm") return [];
    const limit = number(ctx, model, c.limit, "max_norm", (n) => n > 0, "a positive number") as number;
    const named = c.patterns?.flatMap((p) => {
      const slots = trainedBy(ctx, p, update);
      for (const s of slots)
        if (s.shape.length < 2)
          fail(
            ctx,
            "E0304",
            `max_norm is of rows, and ${s.paths[0]} has ${s.shape.length || "no"} axes`,
            p.span,
            {
              help: "name matrices and filters: head.weight",
            },
          );
      return slots;
    });
    const slots = new Set(named ?? update.filter((s) => s.shape.length >= 2));
    for (const s of slots) {
      const other = taken.get(s);
      if (other)
        fail(ctx, "E0905", `${s.paths[0]} has two limits`, c.span, {
          secondary: [{ span: other.span, text: "the other one" }],
        });
      taken.set(s, c);
    }
    return [{ limit, paths: [...slots].map((s) => s.paths[0]) }];
  });
}

function staticNumber(ctx: Ctx, model: Instance, e: ast.Expr, what: string): number {
  const v = evalExpr({ ...ctx, scope: new Scope(model.scope) }, e);
  return asNumber(v) ?? fail(ctx, "E0506", `${what} takes a static number, not ${describe(v)}`, e.span);
}

/** The parameters this block trains: what `update` names or all, less the frozen. */
function updates(ctx: Ctx, slots: readonly Slot[], decl: ast.TrainDecl): readonly Slot[] {
  const params = slots.filter((s) => s.kind === "param");
  const patterns = decl.clauses.flatMap((c) => (c.kind === "update" ? c.patterns : []));
  const frozen = new Set(
    decl.clauses
      .flatMap((c) => (c.kind === "frozen" ? c.patterns : []))
      .flatMap((p) => matchSlots(ctx, slots, p, "")),
  );
  const named =
    patterns.length > 0 ? new Set(patterns.flatMap((p) => matchSlots(ctx, slots, p, ""))) : new Set(params);
  const left = params.filter((s) => named.has(s) && !s.frozen && !frozen.has(s));
  if (left.length === 0)
    fail(
      ctx,
      "E0908",
      params.length === 0 ? "the model has no parameters" : "all parameters of this block are frozen",
      decl.name.span,
    );
  return left;
}

// ------------------------------------------------------------------------------------------------- loss

interface TracedLoss {
  readonly graph: CheckedTrain["lossGraph"];
  readonly constraints: readonly Constraint[];
  readonly inputs: readonly PortInfo[];
  readonly reports: readonly string[];
  readonly seen: readonly Sight[] | undefined;
}

function traceLoss(
  shared: Shared,
  model: Instance,
  decl: ast.TrainDecl,
  minimize: ast.MinimizeClause,
  reports: readonly ast.Expr[],
  solved: Solved,
): TracedLoss {
  const trace = newTrace(decl.name.name);
  shared.depth = 0;
  shared.iterations = 0;
  const ports: Ports = new Map();
  const ctx: Ctx = {
    ...baseCtx(shared, model.module),
    scope: new Scope(model.scope, true),
    trace,
    self: model,
    mode: "train",
  };
  return spendGraph(shared, trace, () => {
    const block: Block = { ctx, trace, model, solved, ports, symbols: new Map() };
    const loss = scalar(block, minimize.value);
    see(ctx, "loss", tensorVal(loss), minimize.value.span);
    const results = [{ name: "loss", value: loss }];
    const names: string[] = [];
    for (const r of reports) {
      trace.randoms.clear();
      const name = reportName(r);
      // The step's own, unless the model has a fn of that name.
      if (r.kind === "name" && name === GRAD_NORM && !ctx.scope.find(name)) {
        if (!names.includes(name)) names.push(name);
        continue;
      }
      if (name === "loss" || names.includes(name)) {
        if (name !== "loss") report(ctx, "E0905", `${name} is reported twice`, r.span);
        continue;
      }
      // What a report stores is not kept: state is written by what is minimised.
      const value = lossValue({ ...block, ctx: { ...ctx, trace: { ...trace, state: newState() } } }, r);
      const v = toTensor(ctx, value, r.span);
      if (v.type.shape.length > 0)
        fail(
          ctx,
          "E0903",
          `${name} has the shape [${v.type.shape.map((d) => d.key).join(", ")}]; a report is a scalar`,
          r.span,
        );
      results.push({ name, value: v });
      names.push(name);
    }
    return {
      ...seal(ctx, trace, results),
      inputs: [...ports.values()].map(({ value: _, ...port }) => port),
      reports: names,
      seen: shared.watch && trace.seen,
    };
  });
}

const reportName = (e: ast.Expr): string =>
  e.kind === "name"
    ? e.name
    : e.kind === "call"
      ? reportName(e.callee)
      : e.kind === "member"
        ? e.name.name
        : "value";

interface Block {
  readonly ctx: Ctx;
  readonly trace: Trace;
  readonly model: Instance;
  readonly solved: Solved;
  readonly ports: Ports;
  readonly symbols: Map<string, Val>;
}

function scalar(block: Block, e: ast.Expr): Value {
  const { ctx } = block;
  const val = lossValue(block, e);
  if (isLiteral(val)) fail(ctx, "E0903", `${describe(val)} depends on nothing`, e.span);
  const v = toTensor(ctx, val, e.span);
  if (v.type.shape.length > 0 || (v.type.dtype !== "f32" && v.type.dtype !== "f16"))
    fail(
      ctx,
      "E0903",
      `minimize takes an f32 of no axes, given ${v.type.dtype}[${v.type.shape.map((d) => d.key).join(", ")}]`,
      e.span,
      {
        help: "take its mean or sum",
      },
    );
  return v;
}

/** An expression of minimize or report: fns of the model by bare name, penalties over patterns, arithmetic. */
function lossValue(block: Block, e: ast.Expr): Val {
  const { ctx } = block;
  if (e.kind === "name") {
    const b = ctx.scope.find(e.name);
    if (b?.val.kind === "fn") return modelFn(block, b.val, [], e);
    return evalExpr(ctx, e);
  }
  if (e.kind === "binary") {
    const left = lossValue(block, e.left);
    const right = lossValue(block, e.right);
    const scope = new Scope(ctx.scope);
    // Operands by name, so that arithmetic has one home.
    scope.names.set("$left", { val: left, kind: "local" });
    scope.names.set("$right", { val: right, kind: "local" });
    const name = (n: string, span: ast.Expr["span"]): ast.NameExpr => ({ kind: "name", name: n, span });
    return evalExpr(
      { ...ctx, scope },
      { ...e, left: name("$left", e.left.span), right: name("$right", e.right.span) },
    );
  }
  if (e.kind === "call" && e.callee.kind === "name") {
    const { name } = e.callee;
    const b = ctx.scope.find(name);
    if ((name === "l1" || name === "l2") && !b) return penalty(block, name, e);
    if (b?.val.kind === "fn" && b.val.self === block.model) {
      inputsOfStep(block, b.val, e);
      return modelFn(block, b.val, evalArgs(ctx, e.args), e);
    }
  }
  return evalExpr(ctx, e);
}

/** What a block calls by its fns' names has the step's inputs for tensors; none is written. */
function inputsOfStep(block: Block, fn: FnVal, e: ast.CallExpr): void {
  const { params } = fn.decl;
  e.args.forEach((a, i) => {
    const p = a.name ? paramOf(params, a.name.name) : params[i];
    if (p && tensorParam(p))
      fail(block.ctx, "E0506", `${p.name.name} is an input of the step`, a.span, {
        help: `write ${fn.decl.name.name} alone, or with its static arguments`,
      });
  });
}

/** A fn of the model on the step's inputs: its tensor parameters are inputs by name, shared by all fns of the block. */
function modelFn(block: Block, fn: FnVal, args: readonly ArgVal[], e: ast.Expr): Val {
  const { ctx, trace } = block;
  const inside = frame(ctx, fn);
  const params = fn.decl.params.map((p) => p.name.name);
  const got = matchArgs(ctx, fn.decl.name.name, params, args, e.span);
  const given = new Map<string, ArgVal>();
  got.forEach((a, i) => {
    if (a) given.set(params[i], a);
  });
  bindEntry(inside, trace, fn.decl, block.solved, block.ports, given);
  return finish(inside, fn.decl, evalBlock(inside, fn.decl.body));
}
const tensorParam = (p: ast.Param): boolean => p.type.kind === "tensor_type";

/** `l1(head.*, 1e-5)`: the sum of absolute values, `l2`: of squares, times the weight. */
function penalty(block: Block, kind: "l1" | "l2", e: ast.CallExpr): Val {
  const { ctx, trace } = block;
  const [what, weight] = e.args;
  if (!what || !weight || e.args.length > 2)
    return fail(ctx, "E0601", `${kind} takes parameters and a weight`, e.span, {
      help: `${kind}(head.*, 1e-5)`,
    });
  const factor = staticNumber(ctx, block.model, weight.value, kind);
  let slots: readonly Slot[];
  if (what.value.kind === "pattern") slots = matchSlots(ctx, ctx.shared.slots, what.value, "");
  else {
    const v = evalExpr(ctx, what.value);
    if (v.kind !== "slot")
      return fail(ctx, "E0605", `${kind} takes parameters, not ${describe(v)}`, what.span, {
        help: `${kind}(head.*, 1e-5)`,
      });
    slots = [v.slot];
  }
  const { b } = trace;
  return b.at(originOf(ctx, e.span), () => {
    const parts = slots.map((s) => {
      const p = readSlot(ctx, s, e.span);
      return sum(b, kind === "l1" ? abs(b, p) : square(b, p));
    });
    const total = parts.reduce((x, y) => add(b, x, y));
    return tensorVal(mul(b, total, b.make(full, [], { value: factor, dtype: total.type.dtype, shape: [] })));
  });
}
