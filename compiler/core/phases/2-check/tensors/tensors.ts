// From values of the checker to values of the graph: parameters and buffers read, literals as splats, sizes as scalars.
// In: a Val. Out: a graph value. Separate because arithmetic, calls and stores all need it.
import type { Span } from "../../../diagnostics/report.ts";
import { dim } from "../../../dims/dim.ts";
import { typeText } from "../../../ir/build.ts";
import type { DType, TensorType, Value } from "../../../ir/types.ts";
import { cast } from "../../../ops/axes.ts";
import { sizeValue } from "../../../ops/define.ts";
import { full } from "../../../ops/source.ts";
import type * as ast from "../../../syntax/ast.ts";
import {
  type Ctx,
  Failed,
  fail,
  LIMITS,
  nominalElements,
  originOf,
  plainSize,
  traceOf,
  withDims,
} from "../values/context.ts";
import { checkRange } from "../values/ranges.ts";
import { type ArgVal, asNumber, describe, tensorVal, type Val } from "../values/values.ts";
import { readSlot } from "./state.ts";

/** What every tensor keeps to, whoever makes it: a few axes, sizes that are plain, a number of elements that can be had. */
export function checkSize(ctx: Ctx, type: TensorType, span: Span): void {
  if (type.shape.length > LIMITS.rank)
    fail(
      ctx,
      "E0304",
      `a tensor has at most ${LIMITS.rank} axes, this would have ${type.shape.length}`,
      span,
    );
  for (const d of type.shape) plainSize(ctx, d, span);
  const n = withDims(ctx, span, () => nominalElements(type.shape));
  if (n > LIMITS.elements) fail(ctx, "E1006", `${typeText(type)} has more than 2^44 elements`, span);
}

/** True for what is, or reads as, a tensor. */
export const isTensor = (v: Val): boolean => v.kind === "tensor" || v.kind === "slot";

/** The type of a tensor or slot without reading it. */
export function tensorTypeOf(v: Val): TensorType | undefined {
  if (v.kind === "tensor") return v.value.type;
  return v.kind === "slot" ? { dtype: v.slot.dtype, shape: v.slot.shape.map((d) => dim(d)) } : undefined;
}

/** True for static values that adapt to a tensor's dtype. */
export const isLiteral = (v: Val): boolean => v.kind === "int" || v.kind === "float" || v.kind === "bool";

const CALLED: ReadonlySet<Val["kind"]> = new Set([
  "instance",
  "fn",
  "op",
  "userop",
  "builtin",
  "partial",
] as const);

/** A value as a tensor; literals take `adapt`, or i32 / f32 / bool by what they are. */
export function toTensor(ctx: Ctx, v: Val, span: Span, adapt?: DType): Value {
  switch (v.kind) {
    case "tensor":
      return v.value;
    case "slot":
      return v.value ?? readSlot(ctx, v.slot, span);
    case "int":
    case "float":
    case "bool":
      return literal(ctx, v, span, adapt);
    case "host":
      if (ctx.trace?.hyper) return ctx.trace.hyper(v.expr);
      return fail(ctx, "E0506", "a schedule is a number of the host's: it stands in `with` alone", span);
    case "record":
      if (v.fields.size === 1) return toTensor(ctx, [...v.fields.values()][0], span, adapt);
      return fail(ctx, "E0506", `a tensor is needed here, not ${describe(v)}`, span, {
        help: `take one of its parts: .${[...v.fields.keys()].join(", .")}`,
      });
    case "error":
      // Reported already.
      throw new Failed("reported");
    case "list":
      return fail(ctx, "E0506", `a tensor is needed here, not ${describe(v)}`, span, {
        help: "stack([a, b]) makes a tensor of numbers or of tensors alike, concat([a, b], axis = 0) joins tensors",
      });
    default:
      return fail(ctx, "E0506", `a tensor is needed here, not ${describe(v)}`, span, {
        ...(CALLED.has(v.kind)
          ? { help: "call it: f(x), or x |> f" }
          : v.kind === "tuple"
            ? { help: "its parts are arguments of their own: f(x, a, b)" }
            : {}),
      });
  }
}

function literal(ctx: Ctx, v: Val & { kind: "int" | "float" | "bool" }, span: Span, adapt?: DType): Value {
  const { b } = traceOf(ctx, span, "a tensor");
  const own: DType = v.kind === "float" ? "f32" : v.kind === "int" ? "i32" : "bool";
  const dtype = adapt ?? own;
  return b.at(originOf(ctx, span), () => {
    if (v.kind === "bool") {
      if (dtype !== "bool")
        fail(ctx, "E0401", `${v.value} with a ${dtype} tensor`, span, {
          help: `cast it: ${dtype}(${v.value})`,
        });
      return b.make(full, [], { value: v.value ? 1 : 0, dtype, shape: [] });
    }
    if (dtype === "bool") fail(ctx, "E0401", `${describe(v)} with a bool tensor`, span);
    if (v.kind === "float" && (dtype === "i32" || dtype === "u32"))
      fail(ctx, "E0402", `${describe(v)} does not adapt to a tensor of ${dtype}`, span, {
        help: Number.isInteger(v.value) ? `write ${v.value}` : "cast the tensor: f32(…)",
      });
    const n = asNumber(v);
    if (n === undefined) return cast(b, sizeValue(b, (v as Val & { kind: "int" }).dim), dtype);
    checkRange(ctx, n, dtype, span);
    return b.make(full, [], { value: n, dtype, shape: [] });
  });
}

/** `f32(x)`, `i32(n)`, `bool(x)`. */
export function castTo(ctx: Ctx, dtype: DType, args: readonly ArgVal[], site: ast.Expr): Val {
  if (args.length !== 1)
    fail(
      ctx,
      args.length === 0 ? "E0601" : "E0602",
      `${dtype}(…) takes 1 argument, given ${args.length}`,
      site.span,
    );
  const [arg] = args;
  const trace = traceOf(ctx, site.span, `${dtype}(…)`);
  const v = arg.val;
  // A literal is made in the dtype it is cast to.
  const n = v.kind === "bool" ? Number(v.value) : asNumber(v);
  const origin = originOf(ctx, site.span);
  if (n !== undefined) {
    const value = dtype === "bool" ? Number(n !== 0) : dtype === "i32" || dtype === "u32" ? Math.trunc(n) : n;
    checkRange(ctx, value, dtype, arg.span);
    return tensorVal(trace.b.at(origin, () => trace.b.make(full, [], { value, dtype, shape: [] })));
  }
  const x = toTensor(ctx, v, arg.span);
  return tensorVal(trace.b.at(origin, () => cast(trace.b, x, dtype)));
}
