import type { Span } from "../../../diagnostics/report.ts";
import { asConst, type Dim } from "../../../dims/dim.ts";
import type * as ast from "../../../syntax/ast.ts";
import type { Module } from "../names/modules.ts";
import { coerceStatic, matchArgs, referArgs } from "../values/arguments.ts";
import {
  type Binding,
  baseCtx,
  type Ctx,
  evaluate,
  exhaust,
  Failed,
  fail,
  LIMITS,
  note,
  recover,
  recoverVal,
  Scope,
} from "../values/context.ts";
import { checkRange } from "../values/ranges.ts";
import { takeApart } from "../values/targets.ts";
import { boundaryDType, evalDims } from "../values/types.ts";
import {
  type ArgVal,
  describe,
  ERROR,
  type Instance,
  NONE,
  owner,
  type Slot,
  type Val,
} from "../values/values.ts";
import { constantInit } from "./init.ts";

let layerDepth = 0;

/** `ConvBlock(1, 32)`. */
export function construct(
  from: Ctx,
  decl: Instance["decl"],
  module: Module,
  args: readonly ArgVal[],
  site: Span,
  calls: readonly Span[] = [...from.calls, site].slice(-LIMITS.layerDepth),
  /** What `...` is in the types of its buffers: of an optimiser alone. */
  rest?: readonly Dim[],
): Instance {
  if (++from.shared.spent.instances > LIMITS.instances)
    exhaust(from, "E1004", `more than ${LIMITS.instances} instances of layers in all`, site);
  if (layerDepth >= LIMITS.layerDepth)
    exhaust(from, "E0705", `${decl.name.name} contains itself, ${LIMITS.layerDepth} deep`, site, {
      help: "a layer that builds itself needs an if that ends it",
    });
  if (from.shared.damaged.has(decl)) throw new Failed("syntax");
  const params = new Scope();
  const base: Ctx = {
    ...baseCtx(from.shared, module),
    scope: params,
    path: from.path,
    calls,
    rest: { dims: rest },
  };
  const bound = bindStatics(from, base, decl.name.name, decl.params, args, site);
  for (const [name, val] of bound) {
    const p = decl.params.find((q) => q.name.name === name);
    params.names.set(name, { val, kind: "param", span: p?.span });
  }
  const scope = new Scope(params, true);
  const instance: Instance = {
    decl,
    module,
    args: bound,
    members: new Map(),
    called: new Map(),
    statics: new Scope(params),
    scope,
    path: undefined,
  };
  layerDepth++;
  try {
    const ctx: Ctx = { ...base, scope, self: instance };
    for (const m of decl.members) recover(() => member(ctx, instance, m), undefined);
  } finally {
    layerDepth--;
  }
  return instance;
}

function member(ctx: Ctx, instance: Instance, m: ast.Member): void {
  const damaged = ctx.shared.damaged.has(m);
  switch (m.kind) {
    case "param_decl":
    case "buffer_decl": {
      const slot = damaged ? ERROR : recoverVal(() => declareSlot(ctx, instance.statics, m));
      bindMember(ctx, instance, m.name, slot);
      if (m.called && slot.kind === "slot") call({ ...ctx, scope: instance.statics }, instance, m, m.called);
      return;
    }
    case "bind":
      bindStatic(ctx, instance, m.name, damaged ? ERROR : recoverVal(() => evaluate(ctx, m.value)));
      if (m.called && !damaged) call(ctx, instance, m, m.called);
      return;
    case "bind_tuple": {
      const all = damaged ? ERROR : recoverVal(() => evaluate(ctx, m.value));
      for (const [name, val] of takeApart(ctx, m.target, all))
        if (name.name !== "_") recover(() => bindStatic(ctx, instance, name, val), undefined);
      return;
    }
    case "tie":
      if (!damaged) tie(ctx, m);
      return;
    case "fn": {
      if (instance.scope.names.has(m.name.name))
        fail(ctx, "E0202", `${m.name.name} is bound twice in ${instance.decl.name.name}`, m.name.span);
      instance.scope.names.set(m.name.name, {
        val: { kind: "fn", decl: m, module: ctx.module, self: instance, pinned: false },
        kind: "member",
        span: m.name.span,
      });
      return;
    }
    case "frozen":
    case "error":
      return;
  }
}

/** A member that declarations of params and buffers behind it see. */
function bindStatic(ctx: Ctx, instance: Instance, name: ast.Ident, val: Val): void {
  bindMember(ctx, instance, name, val);
  instance.statics.names.set(name.name, instance.scope.names.get(name.name) as Binding);
}

/** What paths call a member: a word, nothing at all, or a list of these for the items of its list. */
function call(ctx: Ctx, instance: Instance, m: { readonly name: ast.Ident }, called: ast.Expr): void {
  const v = evaluate(ctx, called);
  const of = instance.members.get(m.name.name) as Val;
  if (v.kind === "error" || of.kind === "error") return;
  const word = (w: Val): string => {
    if (w.kind !== "string")
      return fail(ctx, "E0605", `paths are strings, not ${describe(w)}`, called.span, {
        help: `write ${m.name.name} as "word" + i`,
      });
    if (!/^$|^\w+(\.\w+)*$/.test(w.value) || (w.value === "" && of.kind === "slot"))
      fail(ctx, "E0607", `${JSON.stringify(w.value)} is no path`, called.span, {
        help: "a path is made of letters, digits and _, with dots between names",
      });
    return w.value;
  };
  if (v.kind !== "list" && v.kind !== "tuple") {
    instance.called.set(m.name.name, word(v));
    return;
  }
  const items = of.kind === "list" || of.kind === "tuple" ? of.items.length : undefined;
  if (items !== v.items.length)
    fail(
      ctx,
      "E0609",
      `${v.items.length} paths, but ${items === undefined ? `${m.name.name} is ${describe(of)}` : `${m.name.name} has ${items} items`}`,
      called.span,
    );
  instance.called.set(m.name.name, v.items.map(word));
}

function bindMember(ctx: Ctx, instance: Instance, name: ast.Ident, val: Val): void {
  const old = instance.scope.names.get(name.name);
  if (old)
    fail(ctx, "E0202", `${name.name} is bound twice in ${instance.decl.name.name}`, name.span, {
      secondary: old.span ? [{ span: old.span, text: "first here" }] : [],
    });
  instance.scope.names.set(name.name, { val, kind: "member", span: name.span });
  note(ctx, name.span, val);
  instance.members.set(name.name, val);
}

function declareSlot(ctx: Ctx, statics: Scope, m: ast.ParamDecl | ast.BufferDecl): Val {
  if (m.when) {
    const c = evaluate({ ...ctx, scope: statics }, m.when);
    if (c.kind === "error") return ERROR;
    if (c.kind !== "bool") fail(ctx, "E0605", `a condition is a bool, not ${describe(c)}`, m.when.span);
    if (!c.value) return NONE;
  }
  if (m.type.kind === "error") return ERROR;
  if (m.type.kind !== "tensor_type")
    fail(ctx, "E0206", "a parameter is a tensor, such as f32[n, d]", m.type.span);
  const { dtype } = boundaryDType(ctx, m.type.dtype);
  if (m.kind === "param_decl" && dtype !== "f32" && dtype !== "f16")
    fail(ctx, "E0404", `a param is f32 or f16, not ${dtype}`, m.type.dtype.span, {
      help: "make it a buffer",
    });
  const shape = m.type.dims.flatMap((d) => {
    if (d.kind === "ellipsis" && ctx.rest.dims) return ctx.rest.dims.map((size) => asConst(size) as number);
    if (d.kind === "ellipsis") return fail(ctx, "E0206", "the rank of a parameter is written out", d.span);
    return evalDims({ ...ctx, scope: statics }, d).map((dim) => {
      const size = asConst(dim);
      if (size === undefined) return fail(ctx, "E0506", "a parameter's shape is static", d.span);
      if (size < 0) return fail(ctx, "E0504", `a size of ${size}`, d.span);
      return size;
    });
  });
  if (shape.length > LIMITS.rank) fail(ctx, "E0304", `a tensor has at most ${LIMITS.rank} axes`, m.type.span);
  if (shape.reduce((a, b) => a * b, 1) > LIMITS.elements)
    fail(ctx, "E1006", `${m.name.name} has more than 2^44 elements`, m.type.span);
  if (!m.init)
    fail(ctx, "E0706", `${m.name.name} has no initial value`, m.span, {
      help: `write = ${m.kind === "param_decl" ? "he_normal()" : "zeros()"} behind its type`,
    });
  const made = evaluate({ ...ctx, scope: statics }, m.init);
  if (made.kind === "error") return ERROR;
  const init = made.kind === "init" ? made.make(shape) : constantInit(made);
  if (!init)
    fail(
      ctx,
      "E0706",
      `${m.name.name} begins as an initialiser or a number, not ${describe(made)}`,
      m.init.span,
      {
        help: "such as normal(std = 0.02), uniform(bound), he_normal(), zeros() or 0.5, which take the declared shape",
      },
    );
  if ("why" in init) return fail(ctx, "E0706", `${init.why}, given [${shape.join(", ")}]`, m.init.span);
  // Integers begin as integers: what a draw or a fraction would be truncated to is not what was meant.
  const whole = init.kind === "constant" && Number.isInteger(init.value);
  if ((dtype === "i32" || dtype === "u32") && !whole)
    fail(ctx, "E0402", `${m.name.name} is ${dtype} and begins as an int`, m.init.span);
  if (init.kind === "constant") checkRange(ctx, init.value, dtype, m.init.span);
  const slot: Slot = {
    kind: m.kind === "param_decl" ? "param" : "buffer",
    name: m.name.name,
    private: m.kind === "buffer_decl" && m.private,
    dtype,
    shape,
    init,
    span: m.type.span,
    ...(m.doc === undefined ? {} : { doc: m.doc }),
    paths: [],
    frozen: false,
    tied: undefined,
  };
  return { kind: "slot", slot };
}

function tie(ctx: Ctx, m: ast.TieDecl): void {
  const target = evaluate(ctx, m.target);
  const value = evaluate(ctx, m.value);
  if (target.kind === "error" || value.kind === "error") return;
  if (target.kind !== "slot" || target.slot.kind !== "param")
    fail(ctx, "E0703", `only a parameter is tied, not ${describe(target)}`, m.target.span);
  if (value.kind !== "slot" || value.slot.kind !== "param")
    fail(ctx, "E0703", `a parameter is tied to a parameter, not to ${describe(value)}`, m.value.span);
  const a = owner(target.slot);
  const b = owner(value.slot);
  if (target.slot.tied) fail(ctx, "E0703", `${target.slot.name} is tied already`, m.target.span);
  if (a === b) fail(ctx, "E0703", "a parameter is tied to itself", m.span);
  if (a.dtype !== b.dtype || a.shape.join() !== b.shape.join()) {
    const text = (s: Slot): string => `${s.dtype}[${s.shape.join(", ")}]`;
    fail(ctx, "E0702", `a tie of ${text(a)} to ${text(b)}`, m.span, {
      secondary: [
        { span: a.span, text: text(a) },
        { span: b.span, text: text(b) },
      ],
    });
  }
  a.tied = b;
}

/** Binds the static parameters of a layer; defaults see the parameters before them. `inside` has the scope to fill. */
function bindStatics(
  caller: Ctx,
  inside: Ctx,
  name: string,
  params: readonly ast.Param[],
  args: readonly ArgVal[],
  site: Span,
): Map<string, Val> {
  const out = new Map<string, Val>();
  referArgs(caller, args, params);
  const given = matchArgs(
    caller,
    name,
    params.map((p) => p.name.name),
    args,
    site,
  );
  params.forEach((p, i) => {
    const arg = given[i];
    if (out.has(p.name.name)) fail(inside, "E0202", `${p.name.name} is bound twice`, p.name.span);
    if (!arg && !p.default)
      fail(caller, "E0601", `${name} needs ${p.name.name}`, site, {
        secondary: [{ span: p.span, text: "has no default" }],
        help: `its parameters are ${params.map((q) => q.name.name).join(", ")}`,
      });
    const raw = arg ? arg.val : evaluate(inside, p.default as ast.Expr);
    const val = coerceStatic(
      arg ? caller : inside,
      inside,
      p.type,
      raw,
      arg?.span ?? p.span,
      `${name}: ${p.name.name}`,
    );
    out.set(p.name.name, val);
    inside.scope.names.set(p.name.name, { val, kind: "param", span: p.span });
  });
  return out;
}
