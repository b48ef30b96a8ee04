// Step: pointwise kernels over the same elements become one where that saves a pass, or a dispatch of a loop's body.
import type { Value } from "../../ir/types.ts";
import { children, type Scalar } from "../../kernel/scalar.ts";
import { loweringFor, lowerValue } from "../../kernel/values.ts";
import { coneOf, LARGEST } from "./fit.ts";
import { type Draft, type Partition, shapeKey } from "./partition.ts";
import { ordered } from "./sort.ts";
import { UnitOrder } from "./unit-order.ts";

/** Regions of one shape that a region is compared with. */
const NEIGHBOURS = 16;

/** Merges pointwise regions of one shape that feed each other or read the same values. */
export function mergeMaps(p: Partition): void {
  const named = new Set(p.alias.values());
  const mustKeep = (r: Value): boolean => named.has(r) || p.isNamed(r);
  const byShape = new Map<string, Draft[]>();
  for (const g of p.regions) {
    if (g.kind !== "map" || g.roots.length === 0) continue;
    const key = `${g.derived}|${shapeKey(g.roots[0])}`;
    const list = byShape.get(key);
    if (list) list.push(g);
    else byShape.set(key, [g]);
  }
  // Who reads what: a root that only the merged kernel itself reads need not be stored.
  const reads = new Map<Draft, ReadonlySet<Value>>();
  const readsOf = (g: Draft): ReadonlySet<Value> => {
    let known = reads.get(g);
    if (!known) {
      known = g.kind === "control" || g.kind === "pack" ? new Set(g.anchor.inputs) : p.readsOf(g.roots, g);
      reads.set(g, known);
    }
    return known;
  };
  const readers = new Map<Value, Set<Draft>>();
  for (const g of p.regions) {
    if (g.nodes.size === 0) continue;
    for (const read of readsOf(g)) {
      const v = p.home.has(read) ? read : p.baseOf(read);
      const set = readers.get(v);
      if (set) set.add(g);
      else readers.set(v, new Set([g]));
    }
  }
  // What is inlined by now is part of who computes it: regions wait for regions.
  const order = new UnitOrder<Draft>(
    ordered(p),
    (g, to) => {
      for (const v of readsOf(g)) {
        const home = p.homeOf(v);
        if (home) to.push(home);
      }
    },
    (g, to) => {
      for (const r of g.roots) to.push(...(readers.get(r) ?? []));
    },
  );
  const size = (g: Draft): number =>
    coneOf(
      g.roots.map((r) => r.node),
      g,
      p.home,
    ).weight;
  for (const list of byShape.values()) {
    list.sort((a, b) => a.anchor.id - b.anchor.id);
    for (let i = 0; i < list.length; i++) {
      const into = list[i];
      for (let j = i + 1; j < list.length && j < i + NEIGHBOURS; j++) {
        const from = list[j];
        if (from.nodes.size === 0 || into.nodes.size === 0) continue;
        const a = readsOf(into);
        const b = readsOf(from);
        const feeds = into.roots.some((r) => b.has(r));
        const shared = [...b].some((v) => a.has(v) && v.type.shape.length > 0);
        if (!feeds && !shared && !p.options.often) continue;
        if (feeds && !readsElementwise(p, from, into)) continue;
        const both = new Set([...a, ...b]);
        const roots = [...into.roots, ...from.roots];
        for (const r of roots) both.delete(r);
        const kept = roots.filter(
          (r) => mustKeep(r) || [...(readers.get(r) ?? [])].some((q) => q !== into && q !== from),
        );
        if (kept.length === 0 || p.bindingsOf(both, kept) > p.options.maxBindings) continue;
        if (size(into) + size(from) > LARGEST) continue;
        if (!order.joinable(into, from)) continue;
        const label = order.prepare(into, from);
        for (const v of b) {
          readers.get(v)?.delete(from);
          readers.get(v)?.add(into);
        }
        p.absorb(into, from);
        for (const r of roots) {
          if (kept.includes(r)) p.home.set(r, into);
          else p.home.delete(r);
        }
        into.roots = kept;
        order.set(into, label);
        reads.delete(into);
        reads.delete(from);
      }
    }
  }
}
/** True when `from` reads the roots of `into` only at its own coordinates. */
function readsElementwise(p: Partition, from: Draft, into: Draft): boolean {
  const wanted = new Set(into.roots);
  const s = loweringFor((v) => wanted.has(v) || (p.home.has(v) && !from.nodes.has(v.node)));
  for (const root of from.roots) {
    const { at, x } = lowerValue(s, root);
    const own = at.map((a) => s.axisValue(a));
    let ok = true;
    const seen = new Set<Scalar>();
    const visit = (y: Scalar): void => {
      if (!ok || seen.has(y)) return;
      seen.add(y);
      if (y.kind === "load" && wanted.has(y.value) && !y.at.every((c, i) => c === own[i])) ok = false;
      for (const c of children(y)) visit(c);
    };
    visit(x);
    if (!ok) return false;
  }
  return true;
}
