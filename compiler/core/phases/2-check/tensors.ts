// From values of the checker to values of the graph: parameters and buffers read, literals as splats, sizes as scalars.
// In: a Val. Out: a graph value. Separate because arithmetic, calls and stores all need it.
import type { Span } from "../../diagnostics/report.ts";
import { dim } from "../../dims/dim.ts";
import { typeText } from "../../ir/build.ts";
import type { DType, TensorType, Value } from "../../ir/types.ts";
import { cast } from "../../ops/axes.ts";
import { sizeValue } from "../../ops/define.ts";
import { full, param as paramOp, state as stateOp } from "../../ops/source.ts";
import type * as ast from "../1-parse/ast.ts";
import {
  type Ctx,
  Failed,
  fail,
  LIMITS,
  nominalElements,
  originOf,
  plainSize,
  type State,
  step,
  traceOf,
  withDims,
} from "./context.ts";
import { owner, type Slot } from "./instances.ts";
import { checkRange } from "./ranges.ts";
import { type ArgVal, asNumber, describe, tensorVal, type Val } from "./values.ts";

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

/** A parameter's value, or a buffer's: what the last call that ended has left in it, else its value at entry. */
export function readSlot(ctx: Ctx, slot: Slot, span: Span): Value {
  const trace = traceOf(ctx, span, `the ${slot.kind} ${slot.name}`);
  const own = owner(slot);
  const path = own.paths[0] ?? own.name;
  for (let s: State | undefined = trace.state; s; s = s.outer) {
    const held = s.written.get(path)?.value ?? s.carried.get(path);
    if (held) return held;
  }
  const attrs = { path, dtype: own.dtype, shape: own.shape.map((d) => dim(d)) };
  return trace.b.at({ span: own.span, path: "", calls: [], derived: [] }, () =>
    trace.b.make(own.kind === "param" ? paramOp : stateOp, [], attrs, own.name),
  );
}

/** A local or a result is a value: what its buffers hold now, whatever is written later. */
export function readNow(ctx: Ctx, v: Val, span: Span): Val {
  if (!ctx.trace) return v;
  // A list may hold one list many times: each is visited once, and stays itself where nothing in it is read.
  const known = new Map<Val, Val>();
  const all = (items: readonly Val[]): readonly Val[] => {
    step(ctx, span, items.length >> 4);
    const out = items.map(visit);
    return out.every((x, i) => x === items[i]) ? items : out;
  };
  const made = (v: Val): Val => {
    switch (v.kind) {
      case "slot":
        return v.slot.kind === "buffer" && !v.value ? { ...v, value: readSlot(ctx, v.slot, span) } : v;
      case "list":
      case "tuple": {
        const items = all(v.items);
        return items === v.items ? v : { ...v, items };
      }
      case "record": {
        const before = [...v.fields.values()];
        const now = all(before);
        return now === before
          ? v
          : { ...v, fields: new Map([...v.fields.keys()].map((k, i) => [k, now[i]])) };
      }
      default:
        return v;
    }
  };
  const visit = (v: Val): Val => {
    if (v.kind !== "slot" && v.kind !== "list" && v.kind !== "tuple" && v.kind !== "record") return v;
    const old = known.get(v);
    if (old) return old;
    const out = made(v);
    known.set(v, out);
    return out;
  };
  return visit(v);
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
    case "record":
      if (v.fields.size === 1) return toTensor(ctx, [...v.fields.values()][0], span, adapt);
      return fail(ctx, "E0506", `a tensor is needed here, not ${describe(v)}`, span, {
        help: `take one of its parts: .${[...v.fields.keys()].join(", .")}`,
      });
    case "error":
      // Reported already.
      throw new Failed("reported");
    default:
      return fail(ctx, "E0506", `a tensor is needed here, not ${describe(v)}`, span);
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
