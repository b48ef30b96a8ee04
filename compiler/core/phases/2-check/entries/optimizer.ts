// Optimisers. In: the `with` clause. Out: an Optimizer, whose numbers may be schedules. Separate because it is a table and what
// may stand in it.
import type { HostExpr, Optimizer } from "../../../model.ts";
import type * as ast from "../../../syntax/ast.ts";
import { matchSlots } from "../instances/slots.ts";
import { evalExpr } from "../interpret/expr.ts";
import { OPTIMIZERS, WITH_NAMES } from "../interpret/schedules.ts";
import { hostOf } from "../tensors/arith.ts";
import { matchArgs } from "../values/arguments.ts";
import { type Ctx, fail, failName, Scope } from "../values/context.ts";
import { type ArgVal, asNumber, describe, type Instance, type Slot } from "../values/values.ts";

export const OPTIMIZER_PARAMS: Readonly<Record<Optimizer["kind"], Readonly<Record<string, number>>>> = {
  sgd: { lr: 1e-3, momentum: 0, weight_decay: 0 },
  adam: { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0 },
  adamw: { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 1e-2 },
};

/** What a call of the optimiser may name, in order. */
export const optimizerParams = (kind: Optimizer["kind"]): string[] => [
  ...Object.keys(OPTIMIZER_PARAMS[kind]).filter((n) => !n.startsWith("beta")),
  ...(kind === "sgd" ? ["nesterov"] : ["betas"]),
  "no_decay",
];

export function optimizer(
  base: Ctx,
  model: Instance,
  clause: ast.WithClause,
  update: readonly Slot[],
): Optimizer {
  const scope = new Scope(model.scope);
  for (const [name, val] of WITH_NAMES) scope.names.set(name, { val, kind: "local" });
  const ctx: Ctx = { ...base, scope };
  const e = clause.optimizer;
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
      OPTIMIZERS,
      e.callee.span,
      `there are ${OPTIMIZERS.join(", ")}`,
    );
  const v = evalExpr(ctx, e);
  if (v.kind !== "optimizer")
    return fail(ctx, "E0907", `with takes an optimizer, not ${describe(v)}`, e.span, {
      help: `such as ${OPTIMIZERS.join(", ")}`,
    });
  const kind = v.name as Optimizer["kind"];
  const defaults = OPTIMIZER_PARAMS[kind];
  const names = optimizerParams(kind);
  const got = new Map(matchArgs(ctx, kind, names, v.args, e.span).map((a, i) => [names[i], a]));
  const args: Record<string, HostExpr> = { ...defaults };
  let nesterov = false;
  let noDecay: string[] = [];
  for (const [name, a] of got) {
    if (!a) continue;
    if (name === "nesterov") {
      if (a.val.kind !== "bool")
        fail(ctx, "E0605", `nesterov is true or false, given ${describe(a.val)}`, a.span);
      nesterov = a.val.value;
    } else if (name === "no_decay") noDecay = decayless(ctx, a, update);
    else if (name === "betas") {
      const items = a.val.kind === "tuple" || a.val.kind === "list" ? a.val.items.map(hostOf) : [];
      if (items.length !== 2 || items[0] === undefined || items[1] === undefined)
        fail(ctx, "E0605", `betas is a pair of numbers, given ${describe(a.val)}`, a.span, {
          help: "betas = (0.9, 0.999)",
        });
      args.beta1 = items[0] as HostExpr;
      args.beta2 = items[1] as HostExpr;
    } else
      args[name] =
        hostOf(a.val) ??
        fail(ctx, "E0605", `${name} is a number or a schedule, given ${describe(a.val)}`, a.span);
    const n = asNumber(a.val);
    if (n !== undefined && n < 0) fail(ctx, "E0607", `${name} is at least 0, given ${n}`, a.span);
    // These are written into the kernels; only what the host computes each step may change.
    const parts =
      name === "betas" ? [args.beta1, args.beta2] : name === "momentum" || name === "eps" ? [args[name]] : [];
    if (parts.some((x) => typeof x !== "number"))
      fail(ctx, "E0605", `${name} takes numbers; lr and weight_decay may follow a schedule`, a.span);
  }
  return { kind, args, nesterov, noDecay };
}

/** `no_decay = ["*.bias", "*.bn*"]`: paths of trained parameters. */
function decayless(ctx: Ctx, a: ArgVal, update: readonly Slot[]): string[] {
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
  return update.filter((s) => out.has(s)).map((s) => s.paths[0]);
}
