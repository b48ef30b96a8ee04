// `x[:, a:b:step, ..., i, new]`. In: an index expression. Out: slices and reshapes; a run-time index becomes a gather; lists
// and tuples are indexed statically. Separate because the rules of indices are many and nobody else needs them.
import {
  add,
  asConst,
  ceilDiv,
  type Dim,
  dim,
  ONE,
  print,
  sub,
  surelyNotNegative,
  ZERO,
} from "../../../dims/dim.ts";
import { OpError, type Value } from "../../../ir/types.ts";
import { reshape } from "../../../ops/axes.ts";
import { slice } from "../../../ops/movement.ts";
import type * as ast from "../../../syntax/ast.ts";
import { type Ctx, evaluate, fail, originOf, traceOf } from "../values/context.ts";
import { describe, intVal, parts, tensorVal, type Val } from "../values/values.ts";
import { applyOperator } from "./apply.ts";
import { operator } from "./arith.ts";
import { isTensor, toTensor } from "./tensors.ts";

export function index(ctx: Ctx, e: ast.IndexExpr): Val {
  const object = evaluate(ctx, e.object);
  if (isTensor(object)) return tensorIndex(ctx, e, toTensor(ctx, object, e.object.span));
  const items = parts(object);
  if (!items)
    return fail(ctx, "E0204", `${describe(object)} is not indexed`, e.object.span, {
      ...(object.kind === "instance" ? { help: "a parameter of it is: table.weight[0:n]" } : {}),
    });
  if (e.items.length !== 1) return fail(ctx, "E0304", "a list has one index", e.span);
  const [item] = e.items;
  const n = items.length;
  if (item.kind === "at") {
    const i = staticInt(ctx, item.value);
    if (i < -n || i >= n) fail(ctx, "E0306", `index ${i} of a list of ${n}`, item.span);
    return items[i < 0 ? i + n : i];
  }
  if (item.kind !== "slice") return fail(ctx, "E0306", "a list is indexed by an int or a range", item.span);
  const step = item.step ? staticInt(ctx, item.step) : 1;
  if (step === 0) fail(ctx, "E0607", "a step of 0", item.span);
  const wrap = (x: ast.Expr | undefined, otherwise: number): number => {
    if (!x) return otherwise;
    const v = staticInt(ctx, x);
    const w = v < 0 ? v + n : v;
    if (w < 0 || w > n) fail(ctx, "E0306", `index ${v} of a list of ${n}`, x.span);
    return w;
  };
  const start = wrap(item.start, step > 0 ? 0 : n - 1);
  const stop = wrap(item.stop, step > 0 ? n : -1);
  const out: Val[] = [];
  for (let i = start; step > 0 ? i < stop : i > stop; i += step) if (i >= 0 && i < n) out.push(items[i]);
  return { kind: "list", items: out };
}

function staticInt(ctx: Ctx, e: ast.Expr): number {
  const v = evaluate(ctx, e);
  const n = v.kind === "int" ? asConst(v.dim) : undefined;
  return n ?? fail(ctx, "E0506", `a static int is needed, not ${describe(v)}`, e.span);
}

/** What one index says of one axis of the operand. */
interface AxisIndex {
  readonly start: Dim;
  readonly count: Dim;
  readonly step: number;
}

function tensorIndex(ctx: Ctx, e: ast.IndexExpr, x: Value): Val {
  const rank = x.type.shape.length;
  const used = e.items.filter((i) => i.kind === "at" || i.kind === "slice").length;
  const nothing = e.items.find((i) => i.kind === "at" && i.value.kind === "name" && i.value.name === "none");
  if (used > rank)
    fail(ctx, "E0304", `${used} indices for ${rank} ${rank === 1 ? "axis" : "axes"}`, e.span, {
      label: `[${x.type.shape.map(print).join(", ")}]`,
      ...(nothing ? { help: "an axis of 1 is made by new: x[:, new]" } : {}),
    });
  const dots = e.items.filter((i) => i.kind === "ellipsis");
  if (dots.length > 1) fail(ctx, "E0305", "... stands once in an index", dots[1].span);
  const axes: AxisIndex[] = [];
  /** Axes of the result, after slicing: an axis of the operand, or a new one. */
  const shape: ("keep" | "new" | "drop")[] = [];
  const runtime: { axis: number; val: Value; item: ast.IndexAt }[] = [];
  const whole = (): void => {
    axes.push({ start: ZERO, count: x.type.shape[axes.length], step: 1 });
    shape.push("keep");
  };
  for (const item of e.items) {
    switch (item.kind) {
      case "new":
        shape.push("new");
        break;
      case "ellipsis":
        for (let k = rank - used; k > 0; k--) whole();
        break;
      case "slice":
        axes.push(axisSlice(ctx, item, x.type.shape[axes.length], axes.length));
        shape.push("keep");
        break;
      case "at": {
        const v = evaluate(ctx, item.value);
        if (isTensor(v)) {
          const val = toTensor(ctx, v, item.span);
          if (val.type.dtype !== "i32" && val.type.dtype !== "u32")
            fail(
              ctx,
              "E0404",
              `an index is i32 or u32, not ${val.type.dtype}`,
              item.span,
              val.type.dtype === "bool"
                ? { help: "choose element by element with where(condition, a, b)" }
                : {},
            );
          runtime.push({ axis: shape.filter((s) => s !== "drop").length, val, item });
          whole();
          break;
        }
        if (v.kind !== "int") fail(ctx, "E0605", `an index is an int, not ${describe(v)}`, item.span);
        const extent = x.type.shape[axes.length];
        const at = placeOf(extent, v.dim);
        const n = asConst(at);
        const size = asConst(extent);
        if (n !== undefined && size !== undefined && (n < 0 || n >= size))
          fail(
            ctx,
            "E0306",
            `index ${print(v.dim)} is outside axis ${axes.length} of size ${size}`,
            item.span,
          );
        axes.push({ start: at, count: ONE, step: 1 });
        shape.push("drop");
        break;
      }
    }
  }
  while (axes.length < rank) whole();
  const { b } = traceOf(ctx, e.span, "an element of a tensor");
  const sliced = b.at(originOf(ctx, e.span), () => {
    try {
      const part = slice(
        b,
        x,
        axes.map((a) => a.start),
        axes.map((a) => a.count),
        axes.map((a) => a.step),
      );
      let axis = 0;
      const to: Dim[] = [];
      for (const s of shape) {
        if (s === "new") to.push(ONE);
        else if (s === "keep") to.push(axes[axis++].count);
        else axis++;
      }
      return reshape(b, part, to);
    } catch (err) {
      if (!(err instanceof OpError)) throw err;
      return fail(ctx, "E0306", err.message, e.span, { label: `[${x.type.shape.map(print).join(", ")}]` });
    }
  });
  return gatherAt(ctx, e, sliced, runtime);
}

/** Run-time indices, one after the other: a scalar removes its axis, a vector takes its place. */
function gatherAt(
  ctx: Ctx,
  e: ast.IndexExpr,
  x: Value,
  at: { axis: number; val: Value; item: ast.IndexAt }[],
): Val {
  if (at.filter((r) => r.val.type.shape.length > 0).length > 1)
    fail(ctx, "E0304", "one index of a list of indices may be a tensor with axes", e.span, {
      help: "index twice: x[i][:, j]",
    });
  let val: Val = tensorVal(x);
  let moved = 0;
  for (const r of at) {
    const args = [
      { val, span: e.object.span },
      { val: tensorVal(r.val), span: r.item.span },
      { name: "axis", val: intVal(r.axis + moved), span: r.item.span },
    ];
    val = applyOperator(ctx, operator("take"), args, e);
    moved += r.val.type.shape.length - 1;
  }
  return val;
}

/** A negative literal counts from the end. */
const placeOf = (extent: Dim, at: Dim): Dim => ((asConst(at) ?? 0) < 0 ? add(extent, at) : at);

function axisSlice(ctx: Ctx, item: ast.IndexSlice, extent: Dim, axis: number): AxisIndex {
  const step = item.step ? staticInt(ctx, item.step) : 1;
  if (step === 0) fail(ctx, "E0607", "a step of 0", item.span);
  const bound = (x: ast.Expr | undefined, otherwise: Dim): Dim => {
    if (!x) return otherwise;
    const v = evaluate(ctx, x);
    if (isTensor(v))
      return fail(
        ctx,
        "E0506",
        "the ends of a slice are sizes, and this tensor is known at run time only",
        x.span,
        { help: "slice_at(x, …) slices at a run-time place" },
      );
    return v.kind === "int"
      ? placeOf(extent, v.dim)
      : fail(ctx, "E0605", `a slice is between ints, not ${describe(v)}`, x.span);
  };
  const start = bound(item.start, step > 0 ? ZERO : sub(extent, 1));
  const stop = bound(item.stop, step > 0 ? extent : dim(-1));
  const [low, high] = [asConst(start), asConst(stop)];
  const size = asConst(extent);
  const outside = (n: number | undefined): boolean =>
    n !== undefined && (n < (step > 0 ? 0 : -1) || (size !== undefined && n > size));
  if (outside(low) || outside(high))
    fail(
      ctx,
      "E0306",
      `${low ?? print(start)}:${high ?? print(stop)} is outside axis ${axis} of size ${print(extent)}`,
      item.span,
    );
  const span = step > 0 ? sub(stop, start) : sub(start, stop);
  const count = ceilDiv(span, Math.abs(step));
  const n = asConst(count);
  if (n !== undefined && n < 0)
    fail(ctx, "E0306", `the slice ${print(start)}:${print(stop)} is empty`, item.span);
  if (n === undefined && ctx.trace && !surelyNotNegative(span))
    ctx.trace.b.require({
      left: span,
      relation: ">=",
      right: ZERO,
      message: `the slice ${print(start)}:${print(stop)} of axis ${axis}`,
      span: item.span,
    });
  return { start, count, step };
}
