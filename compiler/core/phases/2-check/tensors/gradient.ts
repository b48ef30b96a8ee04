// `grad(f, wrt = x)`: a fn whose value is the gradient of f's. In: a fn, and which of its parameters (or of the model's).
// Out: graph values made by the gradient driver, so that it nests. Separate because `wrt` is a name, not a value.

import { backward } from "../../../autodiff/backward.ts";
import { reachable } from "../../../ir/build.ts";
import { type Node, OpError, type Value } from "../../../ir/types.ts";
import { variableOp } from "../../../ops/custom.ts";
import { full, isFloat, zerosLike } from "../../../ops/define.ts";
import { stopGradientOp } from "../../../ops/elementwise.ts";
import { input as inputOp } from "../../../ops/source.ts";
import type * as ast from "../../../syntax/ast.ts";
import { matchSlots } from "../instances/slots.ts";
import { matchArgs } from "../values/arguments.ts";
import {
  type Ctx,
  evaluate,
  fail,
  failName,
  originOf,
  type PendingGradient,
  type Trace,
  traceOf,
} from "../values/context.ts";
import { type ArgVal, describe, type Slot, tensorVal, type Val } from "../values/values.ts";
import { readSlot } from "./state.ts";
import { isLiteral, isTensor, toTensor } from "./tensors.ts";

/** Makes the gradient function; `wrt` stays text until the call, where f's parameters are known. */
export function makeGrad(ctx: Ctx, e: ast.CallExpr): Val {
  const places = e.args.filter((a) => !a.name);
  const wrt = e.args.find((a) => a.name?.name === "wrt")?.value ?? places[1]?.value;
  const other = e.args.find((a) => a.name && a.name.name !== "wrt");
  if (other?.name)
    failName(ctx, "E0603", `grad has no parameter ${other.name.name}`, other.name.name, ["wrt"], other.span);
  const f = places[0] ? evaluate(ctx, places[0].value) : fail(ctx, "E0601", "grad needs a fn", e.span);
  if (!wrt)
    return fail(ctx, "E0601", "grad needs wrt", e.span, {
      help: "name a parameter of the fn: grad(f, wrt = x)",
    });
  return { kind: "grad", fn: f, wrt, ctx };
}

/** The argument as a value that nothing else is, where something else is it, too. */
function variable(trace: Trace, value: Value, others: readonly Value[]): Value {
  const shared = value.node.inputs.length === 0 && typeof value.node.attrs.path === "string";
  if (!shared && !reachable(others).includes(value.node)) return value;
  return trace.b.make(variableOp, [value]);
}

type GradVal = Extract<Val, { kind: "grad" }>;

export function callGrad(ctx: Ctx, g: GradVal, args: readonly ArgVal[], site: ast.Expr): Val {
  const trace = traceOf(ctx, site.span, "a gradient");
  let named = g.fn;
  while (named.kind === "checkpoint") named = named.fn;
  const fn = named.kind === "fn" ? named.decl : undefined;
  const params = fn ? fn.params.map((p) => p.name.name) : [];
  const exprs = g.wrt.kind === "list" || g.wrt.kind === "tuple" ? g.wrt.items : [g.wrt];
  const name = fn ? fn.name.name : describe(named);
  const matched = fn ? matchArgs(ctx, name, params, args, site.span) : [...args];
  /** `named`: by a name of its own, and not as one of all that a pattern finds. */
  const targets: { readonly value: Value; readonly key: string; readonly named: boolean }[] = [];
  let single = exprs.length === 1 && exprs[0].kind !== "pattern";
  const slots = (list: readonly Slot[], e: ast.Expr, isNamed = false): void => {
    for (const s of list)
      targets.push({ value: readSlot(ctx, s, e.span), key: s.paths[0] ?? s.name, named: isNamed });
  };
  for (const e of exprs) {
    const at = e.kind === "name" ? params.indexOf(e.name) : -1;
    if (at >= 0) {
      if (fn) ctx.shared.table?.referTo(e.span, fn.params[at].name.span);
      const arg = matched[at];
      if (!arg || !(isTensor(arg.val) || isLiteral(arg.val)))
        return fail(ctx, "E1103", `${params[at]} is no tensor of this call`, e.span);
      const others = matched.flatMap((a, i) =>
        a && i !== at && a.val.kind === "tensor" ? [a.val.value] : [],
      );
      const value = variable(trace, toTensor(ctx, arg.val, arg.span, "f32"), others);
      matched[at] = { ...arg, val: tensorVal(value) };
      targets.push({ value, key: params[at], named: true });
      continue;
    }
    const outer = g.ctx as Ctx;
    if (e.kind === "pattern") {
      slots(matchSlots(outer, outer.shared.slots, e, outer.self?.path ?? ""), e);
      continue;
    }
    if (e.kind === "name" && e.name === "params" && !outer.scope.find("params")) {
      single = false;
      slots(
        outer.shared.slots.filter((s) => s.kind === "param"),
        e,
      );
      continue;
    }
    if (e.kind === "name" && !outer.scope.find(e.name))
      failName(
        ctx,
        "E1103",
        `${name} has no parameter ${e.name}`,
        e.name,
        [...params, "params"],
        e.span,
        params.length > 0 ? `its parameters are ${params.join(", ")}` : undefined,
      );
    const v = evaluate(outer, e);
    if (v.kind !== "slot" || v.slot.kind !== "param")
      return fail(
        ctx,
        "E1103",
        `wrt names a parameter of ${name} or of the model, not ${describe(v)}`,
        e.span,
        params.length > 0 ? { help: `the parameters of ${name} are ${params.join(", ")}` } : {},
      );
    slots([v.slot], e, true);
  }
  const given = matched.flatMap((a, i): ArgVal[] => (a ? [fn ? { ...a, name: params[i] } : a] : []));
  const out = ctx.shared.interpreter.call(ctx, g.fn, given, site, site.span);
  const loss = toTensor(ctx, out, site.span);
  if (loss.type.shape.length > 0 || (loss.type.dtype !== "f32" && loss.type.dtype !== "f16"))
    fail(
      ctx,
      "E1102",
      `${name} gives ${describe(tensorVal(loss))}; a gradient is of an f32 of no axes`,
      site.span,
      { help: "take its mean or sum" },
    );
  const values = targets.map((t) => t.value);
  for (const [i, v] of values.entries())
    if (!isFloat(v.type.dtype))
      fail(ctx, "E1101", `${targets[i].key} is ${v.type.dtype}; a gradient is of floats`, g.wrt.span);
  const grads = trace.b.at(originOf(ctx, site.span), () => {
    const one = full(trace.b, 1, loss.type);
    try {
      return backward(trace.b, [loss], [one], values);
    } catch (e) {
      if (!(e instanceof OpError)) throw e;
      return fail(ctx, "E1101", e.message, site.span);
    }
  });
  // An argument f never uses, or one that every way to it stops: zero would hide a mistake. Where a way leads through
  // operators whose gradient is zero everywhere (floor, sign), zero is the answer. Of a pattern's parameters some may be others'.
  const reached = targets.map(({ value }, i) => grads[i] !== undefined || reaches(loss, new Set([value])));
  const missing = targets.filter((t, i) => !reached[i] && (t.named || !reached.includes(true)));
  if (missing.length > 0 || targets.length === 0)
    fail(
      ctx,
      "E1101",
      `${name} does not depend differentiably on ${missing.map((t) => t.key).join(", ") || "anything"}`,
      g.wrt.span,
    );
  const wanted = new Set(values);
  const fixed = reachedLeaves([loss], wanted);
  if (fixed.size > 0)
    trace.gradients.push({ leaves: fixed, wanted, keys: targets.map((t) => t.key), ctx, span: site.span });
  const vals = grads.map((v, i) => tensorVal(v ?? zerosLike(trace.b, targets[i].value)));
  if (single) return vals[0];
  return exprs.length === 1
    ? { kind: "record", fields: new Map(vals.map((v, i) => [targets[i].key, v])) }
    : { kind: "tuple", items: vals };
}

/** Whether a value is computed of one of these through floats alone, and not only behind stop_gradient. */
function reaches(of: Value, wanted: ReadonlySet<Value>): boolean {
  let found = false;
  walkFloats([of], (v) => {
    found ||= wanted.has(v);
    return !found;
  });
  return found;
}

/** Slices and carries of the scans around that values are computed of through floats, not counting the ways through `wanted`. */
function reachedLeaves(of: readonly Value[], wanted: ReadonlySet<Value>): Set<Node> {
  const leaves = new Set<Node>();
  walkFloats(of, (v) => {
    if (wanted.has(v)) return false;
    if (v.node.op === inputOp && v.node.attrs.scan !== undefined) leaves.add(v.node);
    return true;
  });
  return leaves;
}

/** `visit` says whether to go on to what a value is computed of. */
function walkFloats(from: readonly Value[], visit: (v: Value) => boolean): void {
  const seen = new Set<Value>();
  const open = [...from];
  for (let v = open.pop(); v !== undefined; v = open.pop()) {
    if (seen.has(v) || !isFloat(v.type.dtype) || v.node.op === stopGradientOp) continue;
    seen.add(v);
    if (visit(v)) open.push(...v.node.inputs);
  }
}

/**
 * A gradient in a scan's body sees one pass. Where the fn is given a slice or a carry that depends on what the gradient is taken
 * of, that way is not among what it sees, and it would be another than in the loop written out: refused. `leaves`: what each slice
 * and carry of the scan comes from, of the passes before, too.
 */
export function checkGradients(
  trace: Trace,
  gradients: readonly PendingGradient[],
  leaves: ReadonlyMap<Node, readonly Value[]>,
): void {
  for (const g of gradients) {
    const outer = new Set([...g.leaves].filter((n) => !leaves.has(n)));
    const seen = new Set<Node>();
    const open = [...g.leaves].filter((n) => leaves.has(n));
    for (let n = open.pop(); n; n = open.pop()) {
      if (seen.has(n)) continue;
      seen.add(n);
      const from = leaves.get(n) as readonly Value[];
      if (from.some((v) => reaches(v, g.wanted)))
        fail(
          g.ctx,
          "E1101",
          `in a pass of this scan, the gradient does not see that ${n.label ?? "a value"} depends on ${g.keys.join(", ")}`,
          g.span,
          {
            help: `take the gradient of the whole scan, or say that it is a constant: stop_gradient(${n.label ?? "x"})`,
          },
        );
      for (const m of reachedLeaves(from, g.wanted))
        if (leaves.has(m)) open.push(m);
        else outer.add(m);
    }
    if (outer.size > 0) trace.gradients.push({ ...g, leaves: outer });
  }
}
