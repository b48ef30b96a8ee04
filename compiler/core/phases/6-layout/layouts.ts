// How each stored value lies in its buffer: an order of its logical axes, outermost first. Logical layout is what the
// source says; this is the only place where another one is chosen, and only for values nobody outside can see.
// In: fused groups. Out: an order and strides per stored value.
import { asConst, type Dim, mul, ONE } from "../../dims/dim.ts";
import type { Value } from "../../ir/types.ts";
import { createLowering, foldOf } from "../../kernel/lowering.ts";
import { applySplits, contractionOf, splitsOf } from "../5-fuse/contraction.ts";
import { type Fused, type Group, lowerValue } from "../5-fuse/groups.ts";

export interface Layouts {
  /** Axis order of a stored value, outermost first (row-major unless chosen otherwise). */
  order(v: Value): readonly number[];
  strides(v: Value): readonly Dim[];
  set(v: Value, order: readonly number[]): void;
}

export function rowMajorOrder(v: Value): readonly number[] {
  return v.type.shape.map((_, i) => i);
}
const isRowMajor = (order: readonly number[]): boolean => order.every((a, i) => a === i);

export function createLayouts(): Layouts {
  const chosen = new Map<Value, readonly number[]>();
  const strides = new Map<Value, readonly Dim[]>();
  const order = (v: Value): readonly number[] => chosen.get(v) ?? rowMajorOrder(v);
  return {
    order,
    set(v, o) {
      chosen.set(v, o);
      strides.delete(v);
    },
    strides(v) {
      let out = strides.get(v);
      if (!out) {
        const list: Dim[] = v.type.shape.map(() => ONE);
        let step: Dim = ONE;
        for (const axis of [...order(v)].reverse()) {
          list[axis] = step;
          step = mul(step, v.type.shape[axis]);
        }
        out = list;
        strides.set(v, out);
      }
      return out;
    },
  };
}

/** Values that others than kernels see, as bytes: they lie row-major. */
export function seenAsBytes(fused: Fused): Set<Value> {
  const seen = new Set<Value>();
  const see = (v: Value): void => {
    seen.add(v);
    const base = fused.alias.get(v);
    if (base) seen.add(base);
  };
  for (const { value } of [...fused.graph.results, ...fused.graph.writes]) see(value);
  for (const base of fused.alias.values()) seen.add(base);
  for (const g of fused.groups)
    if (g.kind === "control" || g.kind === "pack") for (const v of [...g.roots, ...g.anchor.inputs]) see(v);
  return seen;
}

/** Chooses layouts for all stored values of a fused graph. */
export function chooseLayouts(fused: Fused, fixed: ReadonlySet<Value>): Layouts {
  const layouts = createLayouts();
  for (const g of fused.groups) {
    for (const root of g.roots) {
      if (fixed.has(root) || root.type.shape.length < 2 || g.kind === "claimed") continue;
      const order =
        g.kind === "contraction" ? columnsInnermost(g, root) : likeOperands(fused, g, root, layouts);
      if (order && !isRowMajor(order)) layouts.set(root, order);
    }
  }
  return layouts;
}

/** A contraction stores four columns at once: the column axis goes innermost. */
function columnsInnermost(g: Group, root: Value): readonly number[] | undefined {
  const anchor = g.anchor.outs[0];
  if (anchor.type.shape.length !== root.type.shape.length) return undefined;
  const s = createLowering(() => undefined);
  const lowered = lowerValue(s, anchor);
  const fold = foldOf(lowered.x);
  if (!fold) return undefined;
  const { x, parts } = applySplits(s, fold, splitsOf(fold));
  const c = contractionOf(x);
  if (!c) return undefined;
  const last = lowered.at.length - 1;
  const isCol = (i: number): boolean => {
    const axis = lowered.at[i];
    const part = parts.get(axis);
    return c.cols.includes(axis) || (part !== undefined && c.cols.includes(part.member));
  };
  if (isCol(last)) return undefined;
  const col = lowered.at.findIndex((_, i) => isCol(i));
  if (
    col < 0 ||
    asConst(root.type.shape[col]) === undefined ||
    (asConst(root.type.shape[col]) as number) % 4 !== 0
  )
    return undefined;
  return [...rowMajorOrder(root).filter((i) => i !== col), col];
}

/** Elsewhere: lie as the operands of the same rank lie. */
function likeOperands(fused: Fused, g: Group, root: Value, layouts: Layouts): readonly number[] | undefined {
  const rank = root.type.shape.length;
  let found: readonly number[] | undefined;
  const seen = new Set<Value>();
  const visit = (v: Value, top: boolean): void => {
    if (found || seen.has(v)) return;
    seen.add(v);
    if (!top && (v.node.op.fuses === "source" || (fused.home.has(v) && fused.home.get(v) !== g))) {
      const o = layouts.order(v);
      if (v.type.shape.length === rank && !isRowMajor(o)) found = o;
      return;
    }
    // A view that permutes or regroups axes breaks the likeness; broadcasts do not, but carry none either.
    if (v.node.op.fuses === "view") return;
    for (const i of v.node.inputs) visit(i, false);
  };
  visit(root, true);
  return found;
}
