// Building a model: layers become instances with members, parameters and buffers, and each gets its path.
// In: a layer and static arguments. Out: a tree of instances. Separate from tracing: no tensor exists yet here.
import type { Init } from "../../../../runtime/core/program.ts";
import { didYouMean } from "../../diagnostics/nearest.ts";
import type { Span } from "../../diagnostics/report.ts";
import { asConst } from "../../dims/dim.ts";
import type { DType } from "../../ir/types.ts";
import type * as ast from "../1-parse/ast.ts";
import {
  type Binding,
  type Ctx,
  exhaust,
  Failed,
  fail,
  LIMITS,
  newStores,
  recover,
  recoverVal,
  Scope,
  type Shared,
  step,
} from "./context.ts";
import { evalExpr } from "./expr.ts";
import { constantInit } from "./init.ts";
import type { Module } from "./modules.ts";
import { checkRange } from "./ranges.ts";
import { bindStatics } from "./statics.ts";
import { boundaryDType, evalDim } from "./types.ts";
import { type ArgVal, describe, ERROR, NONE, type Val } from "./values.ts";

/** A declared parameter or buffer of one instance. */
export interface Slot {
  readonly kind: "param" | "buffer";
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly init: Init;
  /** Its declared type, as messages show it. */
  readonly span: Span;
  readonly doc?: string;
  /** Set by `place`: its first path, then the others. */
  paths: string[];
  frozen: boolean;
  /** The slot this one is tied to. */
  tied: Slot | undefined;
}

export interface Instance {
  readonly decl: ast.LayerDecl | ast.ModelDecl;
  readonly module: Module;
  readonly args: Map<string, Val>;
  readonly members: Map<string, Val>;
  /** Arguments and what is bound to names so far, without params and buffers: what declarations of these see. */
  readonly statics: Scope;
  /** Scope of its fns: arguments and members. */
  readonly scope: Scope;
  /** Set by `place`. */
  path: string | undefined;
}

/** The slot that holds the data. */
export function owner(slot: Slot): Slot {
  let s = slot;
  while (s.tied) s = s.tied;
  return s;
}

export const baseCtx = (shared: Shared, module: Module): Ctx => ({
  shared,
  module,
  scope: new Scope(),
  trace: undefined,
  stores: newStores(),
  self: undefined,
  path: "",
  fn: "",
  calls: [],
  mode: "eval",
  rest: { dims: undefined },
});

let layerDepth = 0;

/** `ConvBlock(1, 32)`. */
export function construct(
  from: Ctx,
  decl: ast.LayerDecl | ast.ModelDecl,
  module: Module,
  args: readonly ArgVal[],
  site: Span,
  calls: readonly Span[] = [...from.calls, site].slice(-LIMITS.layerDepth),
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
      return;
    }
    case "bind":
      bindMember(ctx, instance, m.name, damaged ? ERROR : recoverVal(() => evalExpr(ctx, m.value)));
      instance.statics.names.set(m.name.name, instance.scope.names.get(m.name.name) as Binding);
      return;
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

function bindMember(ctx: Ctx, instance: Instance, name: ast.Ident, val: Val): void {
  const old = instance.scope.names.get(name.name);
  if (old)
    fail(ctx, "E0202", `${name.name} is bound twice in ${instance.decl.name.name}`, name.span, {
      secondary: old.span ? [{ span: old.span, text: "first here" }] : [],
    });
  instance.scope.names.set(name.name, { val, kind: "member", span: name.span });
  instance.members.set(name.name, val);
}

function declareSlot(ctx: Ctx, statics: Scope, m: ast.ParamDecl | ast.BufferDecl): Val {
  if (m.when) {
    const c = evalExpr({ ...ctx, scope: statics }, m.when);
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
  const shape = m.type.dims.map((d) => {
    if (d.kind === "ellipsis") return fail(ctx, "E0206", "the rank of a parameter is written out", d.span);
    const size = asConst(evalDim({ ...ctx, scope: statics }, d));
    if (size === undefined) return fail(ctx, "E0506", "a parameter's shape is static", d.span);
    if (size < 0) return fail(ctx, "E0504", `a size of ${size}`, d.span);
    return size;
  });
  if (shape.length > LIMITS.rank) fail(ctx, "E0304", `a tensor has at most ${LIMITS.rank} axes`, m.type.span);
  if (shape.reduce((a, b) => a * b, 1) > LIMITS.elements)
    fail(ctx, "E1006", `${m.name.name} has more than 2^44 elements`, m.type.span);
  if (!m.init)
    fail(ctx, "E0706", `${m.name.name} has no initial value`, m.span, {
      help: `write = ${m.kind === "param_decl" ? "he_normal()" : "zeros()"} behind its type`,
    });
  const made = evalExpr({ ...ctx, scope: statics }, m.init);
  if (made.kind === "error") return ERROR;
  const init = made.kind === "init" ? made.make(shape) : constantInit(made);
  if (!init)
    fail(
      ctx,
      "E0706",
      `${m.name.name} begins as an initialiser or a number, not ${describe(made)}`,
      m.init.span,
    );
  // Integers begin as integers: what a draw or a fraction would be truncated to is not what was meant.
  const whole = init.kind === "constant" && Number.isInteger(init.value);
  if ((dtype === "i32" || dtype === "u32") && !whole)
    fail(ctx, "E0402", `${m.name.name} is ${dtype} and begins as an int`, m.init.span);
  if (init.kind === "constant") checkRange(ctx, init.value, dtype, m.init.span);
  const slot: Slot = {
    kind: m.kind === "param_decl" ? "param" : "buffer",
    name: m.name.name,
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
  const target = evalExpr(ctx, m.target);
  const value = evalExpr(ctx, m.value);
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

/** All values in the order of declaration, instances, lists and slots alike. */
export function place(root: Instance, shared: Shared): readonly Slot[] {
  const slots: Slot[] = [];
  const seen = new Set<Slot>();
  const ctx = baseCtx(shared, root.module);
  const join = (path: string, name: string): string => (path === "" ? name : `${path}.${name}`);
  const visitInstance = (instance: Instance, path: string): void => {
    const first = instance.path === undefined;
    if (first) instance.path = path;
    for (const [name, val] of instance.members) visit(val, join(path, name));
    for (const [name, val] of instance.args) visit(val, join(path, name));
  };
  const visit = (val: Val, path: string): void => {
    // A list of lists may hold one list many times, and an instance be reached by many paths.
    step(ctx, root.decl.name.span);
    if (val.kind === "slot") {
      const slot = val.slot;
      // A slot that is a member of another instance (a plain re-binding of it) is a further path of the same.
      if (!slot.paths.includes(path)) slot.paths.push(path);
      if (!seen.has(slot)) {
        seen.add(slot);
        slots.push(slot);
      }
    } else if (val.kind === "instance") visitInstance(val.instance, path);
    else if (val.kind === "list" || val.kind === "tuple")
      for (const [i, v] of val.items.entries()) visit(v, join(path, String(i)));
    else if (val.kind === "record") for (const [k, v] of val.fields) visit(v, join(path, k));
    else if (val.kind === "partial") for (const a of val.args) visit(a.val, path);
  };
  visitInstance(root, "");
  // A tie is one tensor: the paths of both, in the order of declaration.
  const order = new Map(slots.map((s, i) => [s, i]));
  const owners: Slot[] = [];
  const members = new Map<Slot, Slot[]>();
  for (const s of slots) {
    const o = owner(s);
    const list = members.get(o);
    if (list) list.push(s);
    else {
      members.set(o, [s]);
      owners.push(o);
    }
  }
  for (const [o, list] of members) {
    if (list.length === 1 && list[0] === o) continue;
    const all = list.sort((x, y) => (order.get(x) ?? 0) - (order.get(y) ?? 0)).flatMap((s) => s.paths);
    o.paths = [...new Set(all)];
    for (const s of list) s.paths = o.paths;
  }
  for (const kind of ["param", "buffer"] as const) {
    const bytes = owners
      .filter((s) => s.kind === kind)
      .reduce((n, s) => n + s.shape.reduce((a, b) => a * b, 1) * (s.dtype === "f16" ? 2 : 4), 0);
    const largest = owners.filter((s) => s.kind === kind).sort((a, b) => elements(b) - elements(a))[0];
    if (bytes > LIMITS.bytes)
      fail(
        ctx,
        "E1006",
        `the ${kind}s of ${root.decl.name.name} take ${(bytes / 2 ** 30).toFixed(1)} GiB, more than ${LIMITS.bytes / 2 ** 30} GiB`,
        largest.span,
        { help: "the largest is declared here" },
      );
  }
  freeze(root, owners, shared);
  return owners;
}

const elements = (s: Slot): number => s.shape.reduce((a, b) => a * b, 1);

function freeze(root: Instance, slots: readonly Slot[], shared: Shared): void {
  const done = new Set<Instance>();
  const stack: Instance[] = [root];
  const met = new Set<Val>();
  const push = (v: Val): void => {
    if (met.has(v)) return;
    met.add(v);
    if (v.kind === "instance") stack.push(v.instance);
    else if (v.kind === "list" || v.kind === "tuple") v.items.forEach(push);
    else if (v.kind === "record") for (const f of v.fields.values()) push(f);
  };
  for (let i = stack.pop(); i; i = stack.pop()) {
    if (done.has(i)) continue;
    done.add(i);
    for (const v of i.members.values()) push(v);
    for (const v of i.args.values()) push(v);
    for (const m of i.decl.members) {
      if (m.kind !== "frozen") continue;
      const ctx: Ctx = { ...baseCtx(shared, i.module), path: i.path ?? "" };
      for (const p of m.patterns)
        recover(() => {
          for (const s of matchSlots(ctx, slots, p, i.path ?? "")) s.frozen = true;
        }, undefined);
    }
  }
}

const segmentMatches = (glob: string, text: string): boolean => {
  const [first, ...rest] = glob.split("*");
  const last = rest.pop();
  if (last === undefined) return glob === text;
  if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last))
    return false;
  // Each part as early as it can be: linear, whatever the pattern is.
  let at = first.length;
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return at <= text.length - last.length;
};
/** A pattern's segments against a path's; a lone `*` first or last stands for one or more segments. */
export function pathMatches(glob: readonly string[], path: string): boolean {
  const text = path.split(".");
  const from = (g: number, t: number): boolean => {
    if (g === glob.length) return t === text.length;
    if (t === text.length) return false;
    if (glob[g] === "*" && (g === 0 || g === glob.length - 1)) {
      for (let n = t + 1; n <= text.length; n++) if (from(g + 1, n)) return true;
      return false;
    }
    return segmentMatches(glob[g], text[t]) && from(g + 1, t + 1);
  };
  return from(0, 0);
}

/** The parameters a pattern names, by any of their paths, relative to the instance at `prefix`. */
export function matchSlots(
  ctx: Ctx,
  slots: readonly Slot[],
  pattern: ast.Pattern,
  prefix: string,
): readonly Slot[] {
  const glob = [...(prefix === "" ? [] : prefix.split(".")), ...pattern.segments];
  const free = prefix === "" ? glob : undefined;
  const hit = (path: string): boolean => {
    if (free) return pathMatches(free, path);
    if (!path.startsWith(`${prefix}.`)) return false;
    return pathMatches(pattern.segments, path.slice(prefix.length + 1));
  };
  step(ctx, pattern.span, slots.length);
  const params = slots.filter((s) => s.kind === "param");
  const found = params.filter((s) => s.paths.some(hit));
  if (found.length === 0) {
    const text = pattern.segments.join(".");
    const known = params.flatMap((s) => s.paths.map((p) => p.slice(prefix === "" ? 0 : prefix.length + 1)));
    const heads = [...new Set(known.map((p) => p.split(".")[0]))];
    const near = didYouMean(text, known) ?? didYouMean(pattern.segments[0] ?? "", heads);
    const some = known.filter((p) => p.split(".")[0] === pattern.segments[0]);
    const list = some.length > 0 ? some : heads;
    const help =
      near ?? (list.length > 0 ? `there is ${list.slice(0, 8).join(", ")}` : "there are no parameters here");
    fail(ctx, "E0704", `no parameter is called ${text}`, pattern.span, { help });
  }
  return found;
}
