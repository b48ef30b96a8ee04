// How each stored value lies in its buffer: an order of its logical axes, outermost first. Logical layout is what the
// source says; this is the only place where another one is chosen, and only for values nobody outside can see.
// In: fused groups. Out: an order and strides per stored value.

import {
  asConst,
  type Dim,
  dim,
  equal,
  isConst,
  isMultipleOf,
  mul,
  ONE,
  product,
  roundUp,
} from "../../dims/dim.ts";
import { usersOf } from "../../ir/build.ts";
import type { DType, Node, Value } from "../../ir/types.ts";
import { contractionOf } from "../../kernel/contraction.ts";
import { lanesAlong } from "../../kernel/facts.ts";
import type { Memory } from "../../kernel/launch.ts";
import { foldOf, type ScalarContext } from "../../kernel/lowering.ts";
import { type Axis, loadsOf, type Scalar } from "../../kernel/scalar.ts";
import { loweringFor, lowerValue } from "../../kernel/values.ts";
import { transposeOp } from "../../ops/movement.ts";
import { factsOf } from "../../regions/facts.ts";
import { type Fused, isStoredFor, type Region } from "../../regions/region.ts";
import { LONG_PRODUCT, type Target } from "../../targets.ts";
import { groupReads } from "./in-place.ts";

/** An order of axes; and of the innermost one how many elements lie together, or how far apart its rows are. */
export interface Lies {
  readonly order: readonly number[];
  readonly panel?: number;
  readonly pitch?: Dim;
}

export interface Layouts {
  /** Axis order of a stored value, outermost first (row-major unless chosen otherwise). */
  order(v: Value): readonly number[];
  /** Of the innermost axis, how many elements lie together: panels of so many, one behind the other; undefined: all. */
  panel(v: Value): number | undefined;
  /** Elements from one row, along the innermost axis, to the next, where there is room behind each. */
  pitch(v: Value): Dim | undefined;
  /** Equal for values of one shape that lie alike. */
  text(v: Value): string;
  /** Where an element lies. */
  offset(s: Places, v: Value, at: readonly Scalar[]): Scalar;
  set(v: Value, lies: Lies): void;
  /** What its elements are in memory: what they are in kernels, unless a narrower type was chosen. */
  dtype(v: Value): DType;
  store(v: Value, dtype: DType): void;
  /** What memory those take that do not take what they are. */
  memory(): ReadonlyMap<Value, Memory>;
}

/** What the place of an element is said with. */
type Places = Pick<ScalarContext, "isum" | "idiv" | "imod">;

export function rowMajorOrder(v: Value): readonly number[] {
  return v.type.shape.map((_, i) => i);
}
const isRowMajor = (order: readonly number[]): boolean => order.every((a, i) => a === i);

/** How a value lies, for people: nothing where as its shape says. */
export function lyingText(layouts: Layouts, v: Value): string {
  const order = layouts.order(v);
  const [panel, pitch] = [layouts.panel(v), layouts.pitch(v)];
  const axes = isRowMajor(order) ? "" : ` lying as [${order.join(", ")}]`;
  const panels = panel === undefined ? "" : ` in panels of ${panel}`;
  return `${axes}${panels}${pitch ? ` in rows of ${pitch.key}` : ""}`;
}

export function createLayouts(): Layouts {
  const chosen = new Map<Value, Lies>();
  const strides = new Map<Value, { readonly axes: readonly Dim[]; readonly panels: Dim }>();
  const narrowed = new Map<Value, DType>();
  const order = (v: Value): readonly number[] => chosen.get(v)?.order ?? rowMajorOrder(v);
  const panel = (v: Value): number | undefined => chosen.get(v)?.panel;
  const pitch = (v: Value): Dim | undefined => chosen.get(v)?.pitch;
  const lastOf = (v: Value): number => order(v).at(-1) as number;
  /** Of each axis, within its panel where there are any, and of panels. */
  const stridesOf = (v: Value) => {
    let out = strides.get(v);
    if (!out) {
      const axes: Dim[] = v.type.shape.map(() => ONE);
      let step: Dim = ONE;
      for (const [i, axis] of [...order(v)].reverse().entries()) {
        axes[axis] = step;
        step = mul(step, i === 0 ? (panel(v) ?? pitch(v) ?? v.type.shape[axis]) : v.type.shape[axis]);
      }
      out = { axes, panels: step };
      strides.set(v, out);
    }
    return out;
  };
  const elementsOf = (v: Value): Dim =>
    product(v.type.shape.map((d, i) => (i === lastOf(v) ? (pitch(v) ?? roundUp(d, panel(v) ?? 1)) : d)));
  const takesOther = (v: Value): boolean => narrowed.has(v) || !!panel(v) || !!pitch(v);
  return {
    order,
    panel,
    pitch,
    memory: () =>
      new Map(
        [...new Set([...chosen.keys(), ...narrowed.keys()])]
          .filter(takesOther)
          .map((v) => [v, { dtype: narrowed.get(v) ?? v.type.dtype, elements: elementsOf(v) }]),
      ),
    text: (v) =>
      `${order(v).join()}/${panel(v) ?? ""}/${pitch(v)?.key ?? ""} as ${narrowed.get(v) ?? v.type.dtype}`,
    dtype: (v) => narrowed.get(v) ?? v.type.dtype,
    store: (v, dtype) => void narrowed.set(v, dtype),
    set(v, lies) {
      chosen.set(v, lies);
      strides.delete(v);
    },
    offset(s, v, at) {
      const { axes, panels } = stridesOf(v);
      const width = panel(v);
      if (width === undefined) return s.isum(at, axes);
      const last = lastOf(v);
      const within = at.map((x, i) => (i === last ? s.imod(x, width) : x));
      return s.isum([...within, s.idiv(at[last], width)], [...axes, panels]);
    },
  };
}

/** What of a target says how rows lie. */
export type Room = Pick<Target, "apart" | "fours">;

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

/**
 * Chooses layouts for all stored values of a fused graph. `apart`: rows of whole so many elements lie a cache line further apart, where
 * products alone read them; `fours`: rows have room for whole fours (Target).
 */
export function chooseLayouts(fused: Fused, fixed: ReadonlySet<Value>, { apart, fours }: Room = {}): Layouts {
  const layouts = createLayouts();
  const users = usersOf(fused.graph.nodes);
  for (const g of fused.groups) {
    for (const root of g.roots) {
      if (fixed.has(root) || root.type.shape.length < 2 || g.kind === "claimed") continue;
      const order =
        g.kind === "contraction"
          ? (columnsInnermost(g, root) ?? channelsInnermost(fused, g, root, layouts) ?? asRead(users, root))
          : (likeOperands(fused, g, root, layouts) ?? channelsInnermost(fused, g, root, layouts));
      if (order && !isRowMajor(order)) layouts.set(root, { order });
    }
  }
  if (apart === undefined && !fours) return layouts;
  const readers = new Map<Value, Region[]>();
  for (const g of fused.groups)
    for (const v of groupReads(fused, g)) readers.set(v, [...(readers.get(v) ?? []), g]);
  for (const g of fused.groups)
    for (const root of g.roots) {
      if (g.derived || fixed.has(root) || root.type.shape.length < 2) continue;
      const [order, by] = [layouts.order(root), readers.get(root) ?? []];
      const pitch =
        (apart !== undefined && pitchApart(fused, g, root, layouts, by, apart)) ||
        (fours && pitchInFours(g, root, order, by));
      if (pitch) layouts.set(root, { order, pitch });
    }
  return layouts;
}

/** Elements of a cache line. */
const LINE = 16;
/** The pitch of rows of whole `apart` elements that would lie further apart; undefined for others. */
function furtherApart(layouts: Layouts, v: Value, apart: number): Dim | undefined {
  const order = layouts.order(v);
  const extent = asConst(v.type.shape[order.length - 1]);
  // One row has none beside it.
  if (order.length < 2 || !isRowMajor(order) || layouts.pitch(v)) return undefined;
  return extent !== undefined && extent % apart === 0 ? dim(extent + LINE) : undefined;
}
/**
 * Rows of linear layers. (Convolutions of one element, whose values lie with channels innermost, would gain as much; but what lives
 * while a network of them runs lies in the arena less well where sizes differ by a little: ResNet-50 takes 1.42 times its bound.)
 */
function pitchApart(
  fused: Fused,
  g: Region,
  root: Value,
  layouts: Layouts,
  readers: readonly Region[],
  apart: number,
): Dim | undefined {
  const pitch = g.kind === "contraction" ? furtherApart(layouts, root, apart) : undefined;
  return pitch && readers.every((by) => readsRows(fused, by, root)) ? pitch : undefined;
}
/**
 * Rows of products and of reductions that such alone read, of a length that four does not divide, or nobody knows (scores of attention):
 * each begins at a multiple of four, so that it is loaded and stored by fours.
 */
function pitchInFours(
  g: Region,
  root: Value,
  order: readonly number[],
  readers: readonly Region[],
): Dim | undefined {
  const extent = root.type.shape[order.at(-1) as number];
  const such = (by: Region): boolean => by.kind === "contraction" || by.kind === "rows";
  const long = (asConst(extent) ?? Number.POSITIVE_INFINITY) >= LINE;
  return such(g) && readers.every(such) && long && !isMultipleOf(extent, 4) ? roundUp(extent, 4) : undefined;
}
/**
 * What a long product reads along its rows, and others see as it is: such rows, of whole `apart` elements, are copied further apart for
 * it. How the copies lie.
 */
export function copiesApart(
  fused: Fused,
  g: Region,
  layouts: Layouts,
  apart: number,
): ReadonlyMap<Value, Lies> {
  const c = g.kind === "contraction" && !g.derived ? factsOf(g.anchor).contraction : undefined;
  const cost = c && asConst(mul(2, product(g.anchor.outs[0].type.shape), c.terms));
  const out = new Map<Value, Lies>();
  if (cost === undefined || cost < LONG_PRODUCT) return out;
  for (const v of groupReads(fused, g)) {
    const pitch = furtherApart(layouts, v, apart);
    if (pitch && readsRows(fused, g, v)) out.set(v, { order: layouts.order(v), pitch });
  }
  return out;
}
/** Whether a region is a product of one loop along the rows of the value, which its first factor alone reads. */
function readsRows(fused: Fused, g: Region, v: Value): boolean {
  if (g.kind !== "contraction") return false;
  const s = loweringFor((of) => isStoredFor(fused.home, g, of));
  const fold = foldOf(lowerValue(s, g.anchor.outs[0]).x);
  const c = fold && contractionOf(fold);
  if (c?.k.length !== 1 || loadsOf(c.b).some((l) => l.value === v)) return false;
  return loadsOf(c.a).every((l) => l.value !== v || isAxis(l.at[l.at.length - 1], c.k[0]));
}
const isAxis = (x: Scalar, axis: Axis): boolean => x.kind === "axis" && x.axis === axis;

/** A contraction stores four columns at once: the column axis goes innermost. */
function columnsInnermost(g: Region, root: Value): readonly number[] | undefined {
  const anchor = g.anchor.outs[0].type.shape;
  const c = factsOf(g.anchor).contraction;
  const of = c && alike(anchor, root.type.shape);
  if (!of) return undefined;
  const cols = new Set([...c.cols, ...c.splitCols].map((i) => of[i]));
  const { shape } = root.type;
  if (cols.has(shape.length - 1)) return undefined;
  const col = shape.findIndex((_, i) => cols.has(i));
  const extent = col < 0 ? undefined : asConst(shape[col]);
  if (extent === undefined || extent % 4 !== 0) return undefined;
  return [...rowMajorOrder(root).filter((i) => i !== col), col];
}
/** For each axis of `a` the one of `b` that it is, where the two differ in axes of extent 1 only; -1 for such an axis. */
function alike(a: readonly Dim[], b: readonly Dim[]): readonly number[] | undefined {
  if (a.length === b.length) return a.map((_, i) => i);
  const out: number[] = [];
  let at = 0;
  for (const d of a) {
    if (isConst(d, 1)) {
      out.push(-1);
      continue;
    }
    while (at < b.length && isConst(b[at], 1)) at++;
    if (at === b.length || b[at].key !== d.key) return undefined;
    out.push(at++);
  }
  return b.slice(at).every((d) => isConst(d, 1)) ? out : undefined;
}

/** A sum of products without columns (a filter for each channel) lies as what it reads does that was laid out before. */
function channelsInnermost(
  fused: Fused,
  g: Region,
  root: Value,
  layouts: Layouts,
): readonly number[] | undefined {
  const anchor = g.anchor.outs[0];
  const { shape } = root.type;
  if (g.anchor.op.fuses !== "fold" || shape.length !== anchor.type.shape.length) return undefined;
  if (g.kind !== "map" && !factsOf(g.anchor).contraction?.narrow) return undefined;
  const s = loweringFor((v) => isStoredFor(fused.home, g, v));
  const { at, x } = lowerValue(s, anchor);
  const fold = foldOf(x);
  if (fold?.body.kind !== "call" || fold.body.fn !== "mul") return undefined;
  const loads = loadsOf(fold.body).filter((l) => !isRowMajor(layouts.order(l.value)));
  const channel = at.findIndex(
    (a, i) =>
      equal(a.extent, shape[i]) &&
      isMultipleOf(a.extent, 4) &&
      loads.some((l) => l.free.includes(a) && lanesAlong(layouts.offset(s, l.value, l.at), a) === "vector"),
  );
  if (channel < 0) return undefined;
  return [...rowMajorOrder(root).filter((i) => i !== channel), channel];
}

/**
 * All read it with its axes in another order (heads that are brought together again): it lies in that one, where the innermost
 * axis is the same, and what reads it finds its rows in one piece.
 */
function asRead(users: ReadonlyMap<Value, readonly Node[]>, root: Value): readonly number[] | undefined {
  const orders = (users.get(root) ?? []).map(({ op, attrs }) =>
    op === transposeOp ? (attrs.perm as readonly number[]) : rowMajorOrder(root),
  );
  const [order] = orders;
  if (!order || order.at(-1) !== order.length - 1) return undefined;
  return orders.every((o) => o.every((axis, i) => axis === order[i])) ? order : undefined;
}

/** Elsewhere: lie as the operands of the same rank lie. */
function likeOperands(fused: Fused, g: Region, root: Value, layouts: Layouts): readonly number[] | undefined {
  const rank = root.type.shape.length;
  let found: readonly number[] | undefined;
  const seen = new Set<Value>();
  const visit = (v: Value, top: boolean): void => {
    if (found || seen.has(v)) return;
    seen.add(v);
    if (!top && isStoredFor(fused.home, g, v)) {
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
