// Weights in the layout a contraction likes: columns innermost, so that a lane loads four of them at once. A parameter that
// lies otherwise is copied once (a derived weight at inference, a kernel of the step in training). A filter that a family wants
// in another form is made ahead in the same way. In: fused groups with layouts. Out: extra groups, and who reads what of them.

import { asConst, equal, isMultipleOf } from "../../dims/dim.ts";
import { attrsText, createBuilder, usersOf } from "../../ir/build.ts";
import type { Attrs, Node, OpDef, Value } from "../../ir/types.ts";
import { applySplits, contractionOf, splitsOf } from "../../kernel/contraction.ts";
import { lanesAlong } from "../../kernel/facts.ts";
import { foldOf, type ScalarContext } from "../../kernel/lowering.ts";
import { type Axis, loadsOf, type Scalar } from "../../kernel/scalar.ts";
import { loweringFor, lowerValue } from "../../kernel/values.ts";
import { copy } from "../../ops/copy.ts";
import { type Fused, isStoredFor, type Region } from "../../regions/region.ts";

import { groupReads } from "./in-place.ts";
import { copiesApart, type Layouts, type Lies } from "./layouts.ts";

/** A form of a filter: the operator that makes it, of what. */
export interface FilterForm {
  readonly of: Value;
  readonly op: OpDef;
  readonly attrs: Attrs;
  readonly lies: Lies;
  /** Calls may be too large for what reads it: their kernel reads the filter as others do. */
  readonly spare: boolean;
}
/** A filter in that form. */
export interface Filter {
  readonly value: Value;
  readonly spare: boolean;
}
/** The form in which a region of laid out values wants its filter, where it wants another one. */
export type FilterFor = (fused: Fused, layouts: Layouts, g: Region) => FilterForm | undefined;
/** How many columns of their second factors products want to lie together, where they want that. */
export type PanelsIn = (fused: Fused) => ReadonlyMap<Region, number>;

export interface Packing {
  readonly groups: readonly Region[];
  readonly packed: ReadonlyMap<Region, ReadonlyMap<Value, Value>>;
  readonly filters: ReadonlyMap<Region, Filter>;
  readonly home: ReadonlyMap<Value, Region>;
}

/**
 * Adds copies before the groups that want them. Layouts of derived values that only contractions read are set in place.
 * `copied`: values of which each reader is to have a copy, in whatever order (storage.ts).
 */
export function packWeights(
  fused: Fused,
  layouts: Layouts,
  fixed: ReadonlySet<Value>,
  options: {
    readonly derive: boolean;
    readonly copied?: (v: Value) => boolean;
    readonly filterFor?: FilterFor;
    readonly panelsIn?: PanelsIn;
    /** Rows of so many elements are copied further apart for long products (Target.apart). */
    readonly apart?: number;
  },
): Packing {
  const { derive, copied = () => false, filterFor = () => undefined, panelsIn, apart } = options;
  const panels = panelsIn?.(fused);
  const packed = new Map<Region, Map<Value, Value>>();
  const home = new Map(fused.home);
  const groups: Region[] = [];
  const filters = new Map<Region, Filter>();
  const known = new Map<string, Value>();
  const readers = new Map<Value, Set<Region>>();
  for (const g of fused.groups)
    for (const n of g.nodes) for (const v of n.inputs) readers.set(v, (readers.get(v) ?? new Set()).add(g));
  const users = usersOf(fused.graph.nodes);
  let nextId = 1 + Math.max(0, ...fused.graph.nodes.map((n) => n.id));
  const builder = createBuilder(nextId);
  /** What a kernel of its own makes of a value, once for all who want it. */
  const made = (of: Value, op: OpDef, attrs: Attrs, kind: Region["kind"], lies: Lies): Value => {
    const how = `${attrsText(attrs)}${lies.order.join()}/${lies.panel ?? ""}`;
    const key = `${of.node.id}.${of.index}:${op.name}${how}`;
    let value = known.get(key);
    if (!value) {
      const { origin, label } = of.node;
      value = builder.at({ ...origin, derived: [...origin.derived, "packing"] }, () =>
        builder.make(op, [of], attrs, label),
      );
      const group: Region = {
        id: 100000 + nextId++,
        kind,
        nodes: new Set<Node>([value.node]),
        roots: [value],
        anchor: value.node,
        derived: derive && fromParams(fused, of),
      };
      layouts.set(value, lies);
      home.set(value, group);
      groups.push(group);
      known.set(key, value);
    }
    return value;
  };
  /** Has `g` read a copy that lies so. */
  const pack = (g: Region, of: Value, lies: Lies): void => {
    const value = made(of, copy, {}, "map", lies);
    packed.set(g, (packed.get(g) ?? new Map<Value, Value>()).set(of, value));
  };
  for (const g of fused.groups) {
    const wanted = filterFor(fused, layouts, g);
    // What a call brings, or computes, has no form before it.
    const form = wanted && fromParams(fused, wanted.of) ? wanted : undefined;
    if (form) {
      // What the filter is made of (a scale) is made on the way, where nobody else wants it.
      const owner = home.get(form.of);
      const only = users.get(form.of)?.length === 1 && !fixed.has(form.of);
      if (owner?.derived && owner.kind === "map" && owner.roots.length === 1 && only && !form.spare) {
        groups.splice(groups.indexOf(owner), 1);
        home.delete(form.of);
      }
      const value = made(form.of, form.op, form.attrs, "claimed", form.lies);
      filters.set(g, { value, spare: form.spare });
    }
    // While training a copy is made with each step: a filter for each channel is not worth it.
    if ((g.kind === "contraction" && (!form || form.spare)) || (g.kind === "map" && derive)) {
      for (const { value, order } of weightsOf(fused, g, layouts)) {
        const wide = panels?.get(g);
        const last = value.type.shape[order.at(-1) as number];
        const lies = { order, panel: wide !== undefined && isMultipleOf(last, wide) ? wide : undefined };
        const owner = fused.home.get(value);
        const alone = owner?.derived && owner.kind === "map" && (readers.get(value)?.size ?? 0) <= 1;
        if (alone && !fixed.has(value)) layouts.set(value, lies);
        else pack(g, value, lies);
      }
    }
    if (apart !== undefined)
      for (const [v, lies] of copiesApart(fused, g, layouts, apart))
        if (!packed.get(g)?.has(v)) pack(g, v, lies);
    if (!g.derived && g.kind !== "control" && g.kind !== "pack")
      for (const v of groupReads(fused, g))
        if (copied(v) && !packed.get(g)?.has(v)) pack(g, v, { order: layouts.order(v) });
    groups.push(g);
  }
  return { groups, packed, filters, home };
}

/** A parameter, or what is made of parameters alone and stored. */
const fromParams = (fused: Fused, v: Value): boolean =>
  v.node.op.name === "param" || fused.home.get(v)?.derived === true;

/** Operands of the second factor that come from parameters alone and are not contiguous along the columns. */
function weightsOf(fused: Fused, g: Region, layouts: Layouts): { value: Value; order: readonly number[] }[] {
  const s = loweringFor((v) => isStoredFor(fused.home, g, v));
  const lowered = lowerValue(s, g.anchor.outs[0]);
  const fold = foldOf(lowered.x);
  if (!fold) return [];
  const out: { value: Value; order: readonly number[] }[] = [];
  const found = g.kind === "map" ? channelOf(g, fold, lowered.at, layouts) : columnOf(s, fold, lowered.at);
  if (!found) return out;
  const { col, loads } = found;
  for (const load of loads) {
    const v = load.value;
    if (!fromParams(fused, v) || !load.free.includes(col)) continue;
    if (lanesAlong(layouts.offset(s, v, load.at), col) === "vector") continue;
    // The axis whose coordinate is the column, alone.
    const axis = load.at.findIndex((q) => q.kind === "axis" && q.axis === col);
    if (axis < 0 || !isMultipleOf(v.type.shape[axis], 4)) continue;
    if (load.at.some((q, i) => i !== axis && q.free.includes(col))) continue;
    // k axes in loop order (window-like outside, channels inside), columns innermost.
    const others = v.type.shape.map((_, i) => i).filter((i) => i !== axis);
    others.sort((a, b) => (size(v, b) === size(v, a) ? a - b : size(v, a) - size(v, b)));
    out.push({ value: v, order: [...others, axis] });
  }
  return out;
}
/** The column that lies innermost, and what the second factor reads. */
function columnOf(s: ScalarContext, fold: Scalar, at: readonly Axis[]) {
  const { x, parts } = applySplits(s, fold, contractionOf(fold) ? [] : splitsOf(fold));
  const c = contractionOf(x);
  if (!c) return undefined;
  const outer = at.filter((a) => (asConst(a.extent) ?? 2) !== 1);
  const cols = [...c.cols].sort((a, b) => rankOf(outer, parts, a) - rankOf(outer, parts, b));
  const col = cols.at(-1);
  return col && { col, loads: loadsOf(c.b) };
}
/** Where a product has no columns (a filter for each channel): the axis that lies innermost in the result. */
function channelOf(g: Region, fold: Scalar, at: readonly Axis[], layouts: Layouts) {
  const [root] = g.roots;
  const inner = layouts.order(root).at(-1);
  const alike =
    root.type.shape.length === at.length && root.type.shape.every((d, i) => equal(d, at[i].extent));
  if (inner === undefined || !alike || fold.kind !== "fold" || fold.body.kind !== "call") return undefined;
  return fold.body.fn === "mul" ? { col: at[inner], loads: loadsOf(fold.body) } : undefined;
}
const size = (v: Value, i: number): number => asConst(v.type.shape[i]) ?? 0;
function rankOf(
  at: readonly { id: number }[],
  parts: ReadonlyMap<{ id: number }, { group: { id: number }; member: { id: number } }>,
  axis: { id: number },
): number {
  const direct = at.indexOf(axis);
  if (direct >= 0) return direct;
  let rank = -1;
  for (const [a, p] of parts) if (p.member === axis || p.group === axis) rank = at.indexOf(a);
  return rank;
}
