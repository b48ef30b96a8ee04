// What is stored into buffers and parameters. In: a store, and the state of the trace. Out: the state that later reads see. A fn reads its
// buffers as they were when it was called; what it stores takes effect when it ends.
import { asConst } from "../../../dims/dim.ts";
import type * as ast from "../../../syntax/ast.ts";
import { type Ctx, evaluate, fail, failName, type Stored, type Stores, traceOf } from "../values/context.ts";
import { describe, ERROR, NONE, pathOf, type Slot, type Val } from "../values/values.ts";
import { toTensor } from "./tensors.ts";

/** `buffer <- value`, or a parameter's: kept until the fn ends. */
export function store(ctx: Ctx, s: ast.StoreStmt): Val {
  if (s.target.kind === "pattern") {
    const { slots, within } = allOf(ctx, s.target);
    for (const slot of slots) storeOne({ ...ctx, each: within(slot) }, s, { kind: "slot", slot });
    return NONE;
  }
  return storeOne(ctx, s, evaluate(ctx, s.target));
}

/** What `target.*` stands for in a store: the parameters and buffers of an instance, and what each is called within it. */
function allOf(ctx: Ctx, pattern: ast.Pattern) {
  const base = pattern.segments.slice(0, -1);
  if (base.length === 0 || base.some((x) => x.includes("*")) || pattern.segments.at(-1) !== "*")
    fail(
      ctx,
      "E0901",
      `a store is into all of one instance, not into ${pattern.segments.join(".")}`,
      pattern.span,
      {
        help: "target.* <- online.*",
      },
    );
  const own = ctx.self?.path ?? "";
  const prefix = `${own === "" ? "" : `${own}.`}${base.join(".")}.`;
  const within = (s: Slot): string =>
    (s.paths.find((p) => p.startsWith(prefix)) ?? prefix).slice(prefix.length);
  const slots = ctx.shared.slots.filter((s) => within(s) !== "");
  if (slots.length === 0)
    failName(
      ctx,
      "E0704",
      `nothing is called ${pattern.segments.join(".")} here`,
      base[0],
      ctx.self?.members.keys() ?? [],
      pattern.span,
    );
  return { slots, within };
}

/** `online.*` in what is stored: what is called there as the one at hand is. */
export function counterpart(ctx: Ctx, pattern: ast.Pattern, each: string): Val {
  const { slots, within } = allOf(ctx, pattern);
  const slot = slots.find((s) => within(s) === each);
  if (!slot)
    return fail(ctx, "E0704", `${pattern.segments.slice(0, -1).join(".")} has no ${each}`, pattern.span, {
      help: "both sides of the store have the same layers",
    });
  return { kind: "slot", slot };
}

function storeOne(ctx: Ctx, s: ast.StoreStmt, target: Val): Val {
  if (target.kind === "error") return ERROR;
  if (target.kind !== "slot")
    fail(ctx, "E0901", `<- stores into a buffer or parameter, not into ${describe(target)}`, s.target.span, {
      help: "= binds a local",
    });
  traceOf(ctx, s.span, "a store");
  const slot = target.slot;
  const path = pathOf(slot);
  const value = toTensor(ctx, evaluate(ctx, s.value), s.value.span, slot.dtype);
  const text = `${slot.dtype}[${slot.shape.join(", ")}]`;
  const declared = [{ span: slot.span, text }];
  if (value.type.dtype !== slot.dtype)
    fail(ctx, "E0406", `${slot.name} is ${slot.dtype}, given ${value.type.dtype}`, s.value.span, {
      secondary: declared,
    });
  const fits =
    value.type.shape.length === slot.shape.length &&
    value.type.shape.every((d, i) => asConst(d) === slot.shape[i]);
  if (!fits) {
    const given = `[${value.type.shape.map((d) => d.key).join(", ")}]`;
    fail(ctx, "E0307", `${slot.name} is ${text}, given ${given}`, s.value.span, {
      label: given,
      secondary: declared,
    });
  }
  const old = ctx.stores.own.get(path);
  if (old)
    fail(ctx, "E0902", `${slot.name} is written twice in one call`, s.span, {
      secondary: [{ span: old.span, text: "first here" }],
      help: "a fn reads its buffers as they were when it was called; put the second write into a fn of its own",
    });
  ctx.stores.own.set(path, { slot, value, span: s.span });
  return NONE;
}

/** What a fn, or a pass of a scan, stores takes effect: whoever reads later reads it. */
export function commit(ctx: Ctx): void {
  for (const stored of ctx.stores.own.values()) write(ctx, ctx.stores.outer, stored);
}
/** A buffer's new value, which a fn around this call must not have a value of its own for. */
export function write(ctx: Ctx, around: Stores | undefined, stored: Stored): void {
  const { state } = traceOf(ctx, stored.span, "a store");
  const path = pathOf(stored.slot);
  for (let s = around; s; s = s.outer) {
    const other = s.own.get(path);
    if (other)
      fail(
        ctx,
        "E0902",
        `${stored.slot.name} is written here, while a fn around this call is to write it`,
        stored.span,
        {
          secondary: [{ span: other.span, text: "takes effect when that fn ends" }],
          help: "call first, and write then",
        },
      );
  }
  state.written.set(path, stored);
}
