// Evaluates blocks, statements and expressions. In: the syntax tree and where it stands (Ctx). Out: values; nodes in the
// graph being built. A failure is reported where it happens and abandons the statement, so that one run reports many.

import { foreign } from "../../../diagnostics/foreign.ts";
import type { Span } from "../../../diagnostics/report.ts";
import { asConst, ceilDiv, floorDiv } from "../../../dims/dim.ts";
import type { Value } from "../../../ir/types.ts";
import { opNamed } from "../../../ops/index.ts";
import type * as ast from "../../../syntax/ast.ts";
import { binary, binaryValues, truth, unary } from "../tensors/arith.ts";
import { aside, blockValue, isAside } from "../tensors/asides.ts";
import { makeGrad } from "../tensors/gradient.ts";
import { index } from "../tensors/indexing.ts";
import { bindTarget, carriesOf, nextCarries } from "../tensors/locals.ts";
import { evalScan } from "../tensors/scan.ts";
import { counterpart, store } from "../tensors/stores.ts";
import { toTensor } from "../tensors/tensors.ts";
import { paramOf } from "../values/arguments.ts";
import {
  type Ctx,
  exhaust,
  Failed,
  fail,
  failName,
  giveLabel,
  hold,
  type Interpreter,
  inner,
  LIMITS,
  labelOf,
  note,
  plainSize,
  recoverVal,
  report,
  Scope,
  see,
  spend,
  step,
  withDims,
} from "../values/context.ts";
import {
  type ArgVal,
  boolVal,
  calledParts,
  describe,
  ERROR,
  floatVal,
  type Instance,
  intVal,
  NONE,
  parts,
  type Val,
} from "../values/values.ts";
import { builtinNames, builtinValue } from "./builtins.ts";
import { callValue } from "./call.ts";

/** What the forms that hold syntax are handed. */
export const interpreter: Interpreter = {
  expr: evalExpr,
  block: evalBlock,
  statement: evalStmt,
  call: callValue,
};

// ------------------------------------------------------------------------------------------- statements

/** Runs a block in `ctx`'s own scope; its value is that of its last expression, or none. */
export function evalBlock(ctx: Ctx, block: ast.Block): Val {
  for (const s of block.statements) evalStmt(ctx, s);
  return blockValue(ctx, block, NONE);
}

export function evalStmt(ctx: Ctx, s: ast.Stmt): void {
  switch (s.kind) {
    case "let": {
      if (s.target.kind === "ident") giveLabel(s.value, s.target.name);
      const val = recoverVal(() => evalExpr(ctx, s.value));
      bindTarget(ctx, s.target, val, s.value);
      return;
    }
    case "store":
      recoverVal(() => store(ctx, s));
      return;
    case "emit":
      recoverVal(() =>
        fail(ctx, "E0906", "emit stands in the body of a scan, not in a block inside it", s.span),
      );
      return;
    case "expr_stmt": {
      if (isAside(ctx, s.value)) {
        const said = recoverVal(() => aside(ctx, s.value));
        // What stands behind an assertion may be nonsense where it is false.
        if (said.kind === "bool" && !said.value) failSilently();
        return;
      }
      const v = recoverVal(() => evalExpr(ctx, s.value));
      // An `if` that stores has no value.
      const stores = v.kind === "none" && s.value.kind === "if";
      if (v.kind !== "error" && !stores) report(ctx, "W0202", "this value is not used", s.value.span);
      return;
    }
    case "error":
      return;
  }
}

// ------------------------------------------------------------------------------------------ expressions

export function evalExpr(ctx: Ctx, e: ast.Expr): Val {
  const shared = ctx.shared;
  if (++shared.depth > LIMITS.depth) {
    shared.depth--;
    exhaust(ctx, "E1005", "calls and expressions are nested too deeply here", e.span, {
      help: "does a fn call itself?",
    });
  }
  try {
    step(ctx, e.span);
    const val = withDims(ctx, e.span, () => evalInner(ctx, e));
    if (val.kind === "int") plainSize(ctx, val.dim, e.span);
    note(ctx, e.span, val);
    return val;
  } finally {
    shared.depth--;
  }
}

function evalInner(ctx: Ctx, e: ast.Expr): Val {
  switch (e.kind) {
    case "int":
      return intVal(e.value);
    case "float":
      return floatVal(e.value);
    case "bool":
      return boolVal(e.value);
    case "string":
      return { kind: "string", value: e.value };
    case "name":
      return lookup(ctx, e);
    case "pattern":
      if (ctx.each !== undefined) return counterpart(ctx, e, ctx.each);
      return fail(
        ctx,
        "E0506",
        "a pattern of parameters stands in penalties and clauses of a train block only",
        e.span,
      );
    case "call":
      return evalCall(ctx, e, undefined);
    case "member":
      return member(ctx, e);
    case "index":
      return index(ctx, e);
    case "unary":
      return unary(ctx, e);
    case "binary":
      return binary(ctx, e);
    case "pipe":
      return pipe(ctx, e);
    case "range":
      return range(ctx, e);
    case "list":
    case "tuple":
      hold(ctx, e.span, e.items.length);
      return { kind: e.kind, items: e.items.map((i) => evalExpr(ctx, i)) };
    case "record": {
      const fields = new Map<string, Val>();
      for (const f of e.fields) {
        if (fields.has(f.name.name))
          fail(ctx, "E0202", `${f.name.name} stands twice in a record`, f.name.span);
        giveLabel(f.value, f.name.name);
        fields.set(f.name.name, evalExpr(ctx, f.value));
      }
      return { kind: "record", fields };
    }
    case "comprehension": {
      const items: Val[] = [];
      const from = iterate(ctx, e.iterable);
      hold(ctx, e.span, from.length);
      for (const item of from) {
        const c = inner(ctx);
        bindTarget(c, e.target, item, undefined, "loop");
        if (e.condition && !truth(c, evalExpr(c, e.condition), e.condition)) continue;
        items.push(evalExpr(c, e.element));
      }
      return { kind: "list", items };
    }
    case "if":
      return evalIf(ctx, e);
    case "for":
      return evalFor(ctx, e);
    case "scan":
      return evalScan(ctx, e);
    case "fn_expr": {
      const { params, result, body, span } = e;
      const name: ast.Ident = { kind: "ident", name: "fn", span: { ...span, end: span.start + 2 } };
      const decl: ast.FnDecl = {
        kind: "fn",
        name,
        params,
        ...(result ? { result } : {}),
        body,
        private: false,
        span,
      };
      return {
        kind: "fn",
        decl,
        module: ctx.module,
        ...(ctx.self ? { self: ctx.self } : {}),
        around: ctx.scope,
        pinned: false,
      };
    }
    case "error":
      return failSilently();
  }
}

function failSilently(): never {
  throw new Failed("syntax");
}

function lookup(ctx: Ctx, e: ast.NameExpr): Val {
  const name = e.name;
  const b = ctx.scope.find(name);
  if (b) return b.val.kind === "error" ? failSilently() : b.val;
  if (name === "none") return NONE;
  if (name === "training") return boolVal(ctx.mode === "train");
  const top = ctx.module.names.get(name);
  if (top) {
    const { item, module } = top;
    switch (item.kind) {
      case "layer":
      case "model":
        return { kind: "layer", decl: item, module };
      case "fn":
        return { kind: "fn", decl: item, module, pinned: false };
      case "op":
        return { kind: "userop", decl: item, module };
      case "optimizer":
        return { kind: "optimizer", decl: item, module };
      case "bind":
        return constant(ctx, item, module);
    }
  }
  const known = builtinValue(name);
  if (known) return known;
  // An import that failed has said so.
  if (ctx.module.missing.has(name)) return failSilently();
  return failName(ctx, "E0201", `there is no ${name} here`, name, namesInScope(ctx), e.span);
}

function* namesInScope(ctx: Ctx): Iterable<string> {
  yield* ctx.scope.all();
  yield* ctx.module.names.keys();
  yield* builtinNames();
}

/** A top-level `name = value`: evaluated once, in its own file. */
function constant(ctx: Ctx, item: ast.BindMember, module: Ctx["module"]): Val {
  const known = ctx.shared.constants.get(item);
  if (known) return known.kind === "error" ? failSilently() : known;
  ctx.shared.constants.set(item, ERROR);
  if (ctx.shared.damaged.has(item)) failSilently();
  const c: Ctx = { ...ctx, module, scope: new Scope(), trace: undefined, self: undefined };
  const val = evalExpr(c, item.value);
  if (val.kind === "instance")
    fail(ctx, "E0701", "a layer is instantiated in a layer or model", item.value.span);
  ctx.shared.constants.set(item, val);
  return val;
}

// -------------------------------------------------------------------------------------- calls and pipes

export function evalArgs(ctx: Ctx, args: readonly ast.Arg[]): ArgVal[] {
  return args.map((a) => ({
    ...(a.name ? { name: a.name.name, nameSpan: a.name.span } : {}),
    val: evalExpr(ctx, a.value),
    span: a.value.span,
  }));
}

function evalCall(ctx: Ctx, e: ast.CallExpr, piped: ArgVal | undefined, site: ast.Expr = e): Val {
  const name = e.callee.kind === "name" ? e.callee.name : undefined;
  // floor(a / b) and ceil(a / b) of sizes divide without demanding an exact quotient.
  if ((name === "floor" || name === "ceil") && !piped && e.args.length === 1 && !ctx.scope.find(name)) {
    const quotient = roundedDivision(ctx, name, e.args[0].value);
    if (quotient) return quotient;
  }
  const callee = evalExpr(ctx, e.callee);
  // grad sees the text of its wrt, which is a name and no value.
  if (callee.kind === "builtin" && callee.name === "grad") return makeGrad(ctx, e);
  const args = evalArgs(ctx, e.args);
  return callValue(ctx, callee, piped ? [piped, ...args] : args, site, e.callee.span);
}

function roundedDivision(ctx: Ctx, name: "floor" | "ceil", arg: ast.Expr): Val | undefined {
  if (arg.kind !== "binary" || arg.op !== "/") return undefined;
  const a = evalExpr(ctx, arg.left);
  const b = evalExpr(ctx, arg.right);
  if (a.kind === "int" && b.kind === "int")
    return intVal(name === "floor" ? floorDiv(a.dim, b.dim) : ceilDiv(a.dim, b.dim));
  const quotient = binaryValues(ctx, arg, a, b);
  const def = builtinValue(name);
  return def && callValue(ctx, def, [{ val: quotient, span: arg.span }], arg, arg.span);
}
function pipe(ctx: Ctx, e: ast.PipeExpr): Val {
  // Left-associative chains are long and shallow in meaning: walked, not recursed into.
  const steps: ast.PipeExpr[] = [];
  let first: ast.Expr = e;
  while (first.kind === "pipe") {
    steps.push(first);
    first = first.left;
  }
  let val = evalExpr(ctx, first);
  for (const step of steps.reverse()) {
    const left: ArgVal = { val, span: step.left.span };
    const right = step.right;
    if (right.kind === "call" && !givesCallable(ctx, right)) val = evalCall(ctx, right, left, step);
    else val = callValue(ctx, evalExpr(ctx, right), [left], step, right.span);
  }
  return val;
}

/** `block.eval()`, `checkpoint(block)` and `grad(f, wrt = x)` give a callable; the left side of a pipe goes into that. */
function givesCallable(ctx: Ctx, e: ast.CallExpr): boolean {
  if (e.callee.kind === "member") return e.callee.name.name === "eval" && e.args.length === 0;
  if (e.callee.kind !== "name" || ctx.scope.find(e.callee.name) || ctx.module.names.has(e.callee.name))
    return false;
  return e.callee.name === "checkpoint" || e.callee.name === "grad";
}

/** A member by the word that paths have for it, as in `lstm.weight_ih_l0`. */
function calledMember(instance: Instance, word: string): { readonly val: Val } | undefined {
  for (const name of instance.called.keys())
    for (const [called, val] of calledParts(instance, name)) {
      if (called === word) return { val };
      // Called by nothing: its members are this one's.
      if (called !== "" || val.kind !== "instance") continue;
      const own = val.instance.members.get(word);
      const found = own ? { val: own } : calledMember(val.instance, word);
      if (found) return found;
    }
  return undefined;
}

function member(ctx: Ctx, e: ast.MemberExpr): Val {
  const object = evalExpr(ctx, e.object);
  const name = e.name.name;
  switch (object.kind) {
    case "instance": {
      const { instance, pinned } = object;
      if (name === "eval" && !instance.scope.names.has("eval"))
        return {
          kind: "partial",
          callee: { kind: "builtin", name: "eval" },
          args: [{ val: object, span: e.object.span }],
        };
      const b: { readonly val: Val; readonly span?: Span } | undefined =
        instance.scope.names.get(name) ??
        (instance.args.has(name)
          ? { val: instance.args.get(name) as Val, span: paramOf(instance.decl.params, name)?.name.span }
          : calledMember(instance, name));
      if (!b) {
        const what = instance.decl.kind === "model" ? "model" : "layer";
        return failName(
          ctx,
          "E0203",
          `the ${what} ${instance.decl.name.name} has no ${name}`,
          name,
          [...instance.scope.names.keys(), "eval"],
          e.name.span,
        );
      }
      ctx.shared.table?.referTo(e.name.span, b.span);
      if (b.val.kind === "error") return failSilently();
      if (b.val.kind === "fn") {
        if (b.val.decl.private && ctx.self?.decl !== instance.decl)
          fail(ctx, "E0207", `${name} is private to ${instance.decl.name.name}`, e.name.span, {
            secondary: [{ span: b.val.decl.name.span, text: "private" }],
          });
        return pinned ? { ...b.val, pinned: true } : b.val;
      }
      return pinned && b.val.kind === "instance" ? { ...b.val, pinned: true } : b.val;
    }
    case "record": {
      const v = object.fields.get(name);
      return (
        v ??
        failName(
          ctx,
          "E0203",
          `the record has no ${name}`,
          name,
          object.fields.keys(),
          e.name.span,
          `it has ${[...object.fields.keys()].join(", ")}`,
        )
      );
    }
    case "slot":
    case "tensor":
      return tensorMember(ctx, e, object);
    case "error":
      return failSilently();
    default:
      return fail(ctx, "E0203", `${describe(object)} has no member ${name}`, e.name.span);
  }
}

function tensorMember(ctx: Ctx, e: ast.MemberExpr, object: Val): Val {
  const type = object.kind === "slot" ? undefined : object.kind === "tensor" ? object.value.type : undefined;
  const shape = object.kind === "slot" ? object.slot.shape : type?.shape;
  switch (e.name.name) {
    case "shape":
      return { kind: "list", items: (shape ?? []).map((d) => intVal(d)) };
    case "rank":
      return intVal(shape?.length ?? 0);
    case "dtype":
      return { kind: "dtype", dtype: object.kind === "slot" ? object.slot.dtype : (type?.dtype ?? "f32") };
    case "T": {
      const v: Value = toTensor(ctx, object, e.object.span);
      const rank = v.type.shape.length;
      if (rank < 2) fail(ctx, "E0304", `.T takes at least 2 axes, given ${describe(object)}`, e.span);
      const perm = v.type.shape.map((_, i) => (i < rank - 2 ? i : i === rank - 2 ? rank - 1 : rank - 2));
      const def = opNamed("transpose");
      if (!def) throw new Error("no operator transpose");
      return callValue(
        ctx,
        { kind: "op", def },
        [
          { val: object, span: e.object.span },
          { val: { kind: "list", items: perm.map((p) => intVal(p)) }, span: e.name.span },
        ],
        e,
        e.span,
      );
    }
    default:
      return failName(
        ctx,
        "E0203",
        `a tensor has no member ${e.name.name}`,
        e.name.name,
        ["T", "shape", "rank", "dtype"],
        e.name.span,
        foreign(e.name.name) ??
          (builtinValue(e.name.name)
            ? `operators are called on it: ${e.name.name}(x), or x |> ${e.name.name}`
            : "it has T, shape, rank and dtype"),
      );
  }
}

// ------------------------------------------------------------------------------------- ranges and loops

function range(ctx: Ctx, e: ast.RangeExpr): Val {
  const ends = [e.start, e.stop].map((x) => {
    const v = evalExpr(ctx, x);
    const n = v.kind === "int" ? asConst(v.dim) : undefined;
    return (
      n ??
      fail(ctx, "E0506", `a range needs static ints, not ${describe(v)}`, x.span, {
        help: "scan loops over an axis whose length is known at run time only",
      })
    );
  });
  const n = Math.max(0, ends[1] - ends[0]);
  spend(ctx, n, e);
  hold(ctx, e.span, n);
  return { kind: "list", items: Array.from({ length: n }, (_, i) => intVal(ends[0] + i)) };
}

function iterate(ctx: Ctx, e: ast.Expr): readonly Val[] {
  const v = evalExpr(ctx, e);
  const items = v.kind === "record" ? undefined : parts(v);
  if (!items) {
    const help = v.kind === "tensor" || v.kind === "slot" ? "scan loops over an axis of a tensor" : undefined;
    return fail(
      ctx,
      "E0605",
      `a loop goes over a list, not ${describe(v)}`,
      e.span,
      help === undefined ? {} : { help },
    );
  }
  spend(ctx, items.length, e);
  return items;
}

function evalIf(ctx: Ctx, e: ast.IfExpr): Val {
  const c = evalExpr(ctx, e.condition);
  if (truth(ctx, c, e.condition)) {
    const label = labelOf(e);
    if (label !== undefined && e.then.result) giveLabel(e.then.result, label);
    return evalBlock(inner(ctx), e.then);
  }
  if (!e.else) return NONE;
  return e.else.kind === "if" ? evalExpr(ctx, e.else) : evalBlock(inner(ctx), e.else);
}

function evalFor(ctx: Ctx, e: ast.ForExpr): Val {
  const items = iterate(ctx, e.iterable);
  let carried = carriesOf(ctx, e.carries);
  if (e.carries.length === 0 && e.body.result && !isAside(ctx, e.body.result) && items.length > 0)
    report(ctx, "W0202", "this loop carries nothing, so its values are not used", e.body.result.span, {
      help: "carry a value: for … with h = x { … }, or write a comprehension [… for …]",
    });
  for (const item of items) {
    const c = inner(ctx);
    bindTarget(c, e.target, item, undefined, "loop");
    for (const f of e.carries) {
      const val = carried.get(f.name.name) ?? ERROR;
      c.scope.names.set(f.name.name, { val, kind: "carry", span: f.name.span });
    }
    const result = evalBlock(c, e.body);
    if (e.carries.length === 0) continue;
    const next = nextCarries(c, e.body, e.carries, result);
    carried = new Map(e.carries.map((f, i) => [f.name.name, next[i]]));
    for (const f of e.carries) see(c, f.name.name, carried.get(f.name.name) ?? ERROR, f.name.span);
  }
  const out = [...carried.values()];
  if (out.some((v) => v.kind === "error")) failSilently();
  if (out.length === 0) return NONE;
  return out.length === 1 ? out[0] : { kind: "record", fields: carried };
}
