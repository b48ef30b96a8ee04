// Calls: fns are inlined with fresh symbols, instances call forward, lists apply in turn, layers are built.
// In: a callable and its arguments. Out: its value. Separate from expressions because a fn's frame is made here.
import type { Span } from "../../../diagnostics/report.ts";
import type * as ast from "../../../syntax/ast.ts";
import { construct } from "../instances/construct.ts";
import { applyOperator } from "../tensors/apply.ts";
import { isAside } from "../tensors/asides.ts";
import { checkpointed } from "../tensors/checkpoint.ts";
import { callGrad } from "../tensors/gradient.ts";
import { readNow } from "../tensors/state.ts";
import { commit } from "../tensors/stores.ts";
import { castTo, isLiteral, isTensor, toTensor } from "../tensors/tensors.ts";
import { callUserOp } from "../tensors/userop.ts";
import { coerceStatic, matchArgs, referArgs } from "../values/arguments.ts";
import {
  type Ctx,
  evaluate,
  exhaust,
  Failed,
  fail,
  failName,
  LIMITS,
  newStores,
  note,
  Scope,
  see,
  step,
} from "../values/context.ts";
import { boundaryDType, checkResult, type TypedArg, unify } from "../values/types.ts";
import { type ArgVal, describe, type FnVal, tensorVal, type Val } from "../values/values.ts";
import { callBuiltin } from "./builtins.ts";

export function callValue(ctx: Ctx, callee: Val, args: readonly ArgVal[], site: ast.Expr, at: Span): Val {
  step(ctx, site.span);
  switch (callee.kind) {
    case "fn":
      return callFn(ctx, callee, args, site);
    case "instance": {
      const { instance, pinned } = callee;
      const forward = instance.scope.names.get("forward")?.val;
      if (forward?.kind !== "fn")
        return fail(ctx, "E0204", `${instance.decl.name.name} has no forward`, at, {
          help: `give ${instance.decl.name.name} a fn forward, or call one of its fns`,
        });
      return callFn(ctx, pinned ? { ...forward, pinned } : forward, args, site);
    }
    case "op":
      if (!ctx.trace && isPartial(callee, args)) return { kind: "partial", callee, args };
      return applyOperator(ctx, callee, args, site);
    case "builtin":
      return callBuiltin(ctx, callee.name, args, site, at);
    case "userop":
      return callUserOp(ctx, callee, args, site);
    case "dtype":
      return castTo(ctx, callee.dtype, args, site);
    case "grad":
      return callGrad(ctx, callee, args, site);
    case "checkpoint":
      return checkpointed(ctx, site.span, () => callValue(ctx, callee.fn, args, site, at));
    case "partial": {
      const places = args.filter((a) => a.name === undefined);
      const named = args.filter((a) => a.name !== undefined);
      return callValue(ctx, callee.callee, [...places, ...callee.args, ...named], site, at);
    }
    case "list": {
      if (args.length !== 1 || args[0].name !== undefined)
        return fail(ctx, "E0602", `a list of callables takes 1 argument, given ${args.length}`, site.span);
      let val = args[0].val;
      for (const f of callee.items) val = callValue(ctx, f, [{ val, span: args[0].span }], site, at);
      return val;
    }
    case "layer": {
      if (ctx.trace)
        return fail(ctx, "E0701", `${callee.decl.name.name} is constructed in a fn`, site.span, {
          help: "bind an instance in the layer's body, and call that here",
        });
      const instance = construct(ctx, callee.decl, callee.module, args, site.span);
      return { kind: "instance", instance, pinned: false };
    }
    case "optimizer":
      if (callee.args) return fail(ctx, "E0204", `${describe(callee)} has its numbers`, at);
      return { ...callee, args };
    case "none":
      return fail(ctx, "E0204", "none is not called", at);
    default:
      return fail(ctx, "E0204", `${describe(callee)} is not called`, at);
  }
}

/** In a layer's body an operator without its tensor is a step of a list: `[conv, relu, max_pool2d(2)]`. */
export const isPartial = (callee: Val, args: readonly ArgVal[]): boolean =>
  callee.kind === "op" && callee.def.params[0]?.kind === "tensor" && !args.some((a) => isTensor(a.val));

export function callFn(ctx: Ctx, fn: FnVal, args: readonly ArgVal[], site: ast.Expr): Val {
  const { decl } = fn;
  if (ctx.shared.damaged.has(decl)) throw new Failed("syntax");
  // `block(x)` is written without forward, and so it is named.
  const name = decl.name.name === "forward" && fn.self ? fn.self.decl.name.name : decl.name.name;
  if (ctx.trace && ++ctx.trace.calls > LIMITS.calls)
    exhaust(ctx, "E1003", `${ctx.trace.name} makes more than ${LIMITS.calls} calls`, site.span, {
      help: "does a fn call another several times, and that again?",
    });
  if (ctx.calls.length >= LIMITS.callDepth)
    exhaust(ctx, "E1005", `calls are nested more than ${LIMITS.callDepth} deep`, site.span, {
      help: `does ${name} call itself?`,
      calls: ctx.calls.slice(-4).reverse(),
    });
  const inside = frame(ctx, fn, site.span);
  referArgs(ctx, args, decl.params);
  const matched = matchArgs(
    ctx,
    name,
    decl.params.map((p) => p.name.name),
    args,
    site.span,
  );
  const typed: TypedArg[] = [];
  const bind = (p: ast.Param, val: Val): void => {
    if (inside.scope.names.has(p.name.name) && inside.scope.names.get(p.name.name)?.kind === "param")
      fail(inside, "E0202", `${p.name.name} is bound twice`, p.name.span);
    inside.scope.names.set(p.name.name, { val, kind: "param", span: p.name.span });
    note(inside, p.name.span, val);
  };
  decl.params.forEach((p, i) => {
    const arg = matched[i];
    if (!arg && !p.default)
      fail(ctx, "E0601", `${name} needs ${p.name.name}`, site.span, {
        secondary: [{ span: p.span, text: "has no default" }],
        help: `its parameters are ${decl.params.map((q) => q.name.name).join(", ")}`,
      });
    const raw = arg ? arg.val : evaluate(inside, p.default as ast.Expr);
    const span = arg?.span ?? p.span;
    const type = tensorType(p.type);
    if (!type || (raw.kind === "none" && p.type.kind === "optional_type")) {
      bind(p, coerceStatic(arg ? ctx : inside, inside, p.type, raw, span, `${name}: ${p.name.name}`));
      return;
    }
    const { dtype } = boundaryDType(inside, type.dtype);
    const value = toTensor(ctx, raw, span, isLiteral(raw) ? dtype : undefined);
    typed.push({ name: p.name.name, type, actual: value.type, span });
    bind(p, tensorVal(value));
  });
  unify(ctx, inside, name, typed);
  const val = finish(inside, decl, ctx.shared.interpreter.block(inside, decl.body));
  // What a layer makes is called by where the layer is.
  see(inside, decl.name.name === "forward" && fn.self ? "" : decl.name.name, val, site.span);
  return val;
}

/** Where a fn's body is evaluated. */
export function frame(ctx: Ctx, fn: FnVal, site?: Span): Ctx {
  return {
    ...ctx,
    module: fn.module,
    scope: new Scope(fn.around ?? fn.self?.scope, true),
    stores: newStores(ctx.stores),
    self: fn.self,
    path: fn.self ? (fn.self.path ?? ctx.path) : ctx.path,
    fn: fn.decl.name.name,
    calls: site ? [...ctx.calls, site] : ctx.calls,
    mode: fn.pinned ? "eval" : ctx.mode,
    rest: { dims: undefined },
  };
}

/** The tensor type of a parameter, under `?` too. */
export function tensorType(t: ast.Type): ast.TensorType | undefined {
  if (t.kind === "optional_type") return tensorType(t.element);
  return t.kind === "tensor_type" ? t : undefined;
}

/** Ends a fn: its value as declared, and what it stores for those who read later. */
export function finish(ctx: Ctx, decl: ast.FnDecl, val: Val): Val {
  const result = readNow(ctx, finishValue(ctx, decl, val), decl.body.span);
  commit(ctx);
  return result;
}

function finishValue(ctx: Ctx, decl: ast.FnDecl, val: Val): Val {
  const { result } = decl;
  const name = decl.name.name === "forward" && ctx.self ? ctx.self.decl.name.name : decl.name.name;
  const last = decl.body.result?.span ?? decl.body.span;
  const ends = decl.body.result && !isAside(ctx, decl.body.result);
  if (val.kind === "none" && !ends && result)
    fail(ctx, "E0303", `${name} ends without a value`, decl.name.span, {
      help: "end its body with an expression",
    });
  if (!result || result.kind === "error")
    return val.kind === "slot" ? tensorVal(toTensor(ctx, val, last)) : val;
  if (result.kind === "record_type") return finishRecord(ctx, decl, result, val, last);
  return finishOne(ctx, name, result, val, last);
}

function finishOne(ctx: Ctx, name: string, type: ast.Type, val: Val, span: Span): Val {
  const tensor = tensorType(type);
  if (!tensor || (val.kind === "none" && type.kind === "optional_type"))
    return coerceStatic(ctx, ctx, type, val, span, `the result of ${name}`);
  const { dtype } = boundaryDType(ctx, tensor.dtype);
  const value = toTensor(ctx, val, span, isLiteral(val) ? dtype : undefined);
  checkResult(ctx, name, tensor, value.type, span);
  return tensorVal(value);
}

function finishRecord(ctx: Ctx, decl: ast.FnDecl, type: ast.RecordType, val: Val, span: Span): Val {
  const name = decl.name.name;
  const want = type.fields.map((f) => f.name.name);
  let of: (field: string, i: number) => Val | undefined;
  if (val.kind === "record") {
    of = (f) => val.fields.get(f);
    for (const f of val.fields.keys())
      if (!want.includes(f))
        failName(
          ctx,
          "E0303",
          `${name} gives ${f}, which its result (${want.join(", ")}) does not have`,
          f,
          want,
          span,
        );
  } else if (val.kind === "tuple" && val.items.length === want.length) of = (_f, i) => val.items[i];
  else if (want.length === 1) of = () => val;
  else
    return fail(ctx, "E0303", `${name} gives ${describe(val)}, declared (${want.join(", ")})`, span, {
      secondary: [{ span: type.span, text: "declared" }],
    });
  const fields = new Map<string, Val>();
  type.fields.forEach((f, i) => {
    const v = of(f.name.name, i);
    if (!v)
      fail(ctx, "E0303", `${name} does not give ${f.name.name}`, span, {
        secondary: [{ span: f.span, text: "declared" }],
      });
    fields.set(f.name.name, finishOne(ctx, `${name}.${f.name.name}`, f.type, v, span));
  });
  return { kind: "record", fields };
}
