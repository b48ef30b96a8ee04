// Recognises contractions: a sum over k of a product of two factors, whose axes fall into rows (first factor only),
// columns (second only), batch (both) and k. In: a fold as a scalar expression. Out: the classification. The schedules and
// the grouping both ask; nothing here names an operator: matmul, conv and its gradients are one thing.

import { type Dim, dim, exactQuotient, isConst } from "../dims/dim.ts";
import type { ScalarContext } from "./lowering.ts";
import type { Axis, Scalar, ScalarOf } from "./scalar.ts";
import { children } from "./scalar.ts";

export interface Contraction {
  readonly fold: ScalarOf<"fold">;
  readonly a: Scalar;
  readonly b: Scalar;
  readonly batch: readonly Axis[];
  readonly rows: readonly Axis[];
  readonly cols: readonly Axis[];
  readonly k: readonly Axis[];
}

/** Classifies a fold, or undefined when it is no contraction. Axes of `fold.free` only. */
export function contractionOf(fold: Scalar): Contraction | undefined {
  if (fold.kind !== "fold" || fold.combine !== "add") return undefined;
  const body = fold.body;
  if (body.kind !== "call" || body.fn !== "mul" || body.args[0] === body.args[1]) return undefined;
  if (body.dtype !== "f32" && body.dtype !== "f16") return undefined;
  const [a, b] = body.args;
  if (!a.free.some((x) => fold.axes.includes(x)) || !b.free.some((x) => fold.axes.includes(x)))
    return undefined;
  const inA = new Set(a.free);
  const inB = new Set(b.free);
  const rows = fold.free.filter((x) => inA.has(x) && !inB.has(x));
  const cols = fold.free.filter((x) => inB.has(x) && !inA.has(x));
  const batch = fold.free.filter((x) => inA.has(x) && inB.has(x));
  if (rows.length === 0 || cols.length === 0) return undefined;
  return { fold, a, b, batch, rows, cols, k: fold.axes };
}

/** An axis that one factor sees only through floor(axis / by): how to split it into group and member. */
export interface Split {
  readonly axis: Axis;
  readonly by: Dim;
}
/** Splits that would turn batch axes into batch x rows or batch x columns (grouped convolutions). */
export function splitsOf(fold: Scalar): readonly Split[] {
  if (fold.kind !== "fold" || fold.body.kind !== "call" || fold.body.fn !== "mul") return [];
  const [a, b] = fold.body.args;
  const out: Split[] = [];
  for (const axis of fold.free) {
    if (!a.free.includes(axis) || !b.free.includes(axis)) continue;
    const by = onlyThroughDiv(a, axis) ?? onlyThroughDiv(b, axis);
    if (by && !isConst(by, 1) && exactQuotient(axis.extent, by)) out.push({ axis, by });
  }
  return out;
}
function onlyThroughDiv(x: Scalar, axis: Axis): Dim | undefined {
  let by: Dim | undefined;
  let ok = true;
  const seen = new Set<Scalar>();
  const visit = (y: Scalar): void => {
    if (!ok || seen.has(y) || !y.free.includes(axis)) return;
    seen.add(y);
    if (y.kind === "axis") {
      ok = false;
      return;
    }
    if (y.kind === "div" && y.arg.kind === "axis" && y.arg.axis === axis) {
      if (by && by.key !== y.by.key) ok = false;
      by = y.by;
      return;
    }
    for (const c of children(y)) visit(c);
  };
  visit(x);
  return ok ? by : undefined;
}
/** Replaces each split axis by group * by + member throughout `x`. */
export function applySplits(
  s: ScalarContext,
  x: Scalar,
  splits: readonly Split[],
): { x: Scalar; parts: Map<Axis, { group: Axis; member: Axis }> } {
  const parts = new Map<Axis, { group: Axis; member: Axis }>();
  const by = new Map<Axis, Scalar>();
  for (const sp of splits) {
    const q = exactQuotient(sp.axis.extent, sp.by) ?? dim(1);
    const group = s.axis(`${sp.axis.name}_group`, q);
    const member = s.axis(sp.axis.name, sp.by);
    parts.set(sp.axis, { group, member });
    by.set(sp.axis, s.iadd(s.imul(s.axisValue(group), sp.by), s.axisValue(member)));
  }
  return { x: s.substitute(x, by), parts };
}
