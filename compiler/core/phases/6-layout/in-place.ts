// Writes that go straight over the old value. In: fused groups with layouts. Out: which stored value lies where its state
// lies, and an order of the groups in which nobody reads what another has overwritten.

import type { Value } from "../../ir/types.ts";
import { rowMajor } from "../../kernel/coordinates.ts";
import type { Scalar } from "../../kernel/scalar.ts";
import { children } from "../../kernel/scalar.ts";
import { loweringFor, lowerValue } from "../../kernel/values.ts";
import { isFlat, isRun } from "../../ops/source.ts";
import { type Fused, isStoredFor, type Region } from "../../regions/region.ts";
import type { Layouts } from "./layouts.ts";

/**
 * Writes that may go straight to their state: made by a pointwise kernel that reads the old value at the same place only,
 * where nobody who comes after needs the old value.
 */
export function inPlaceWrites(
  fused: Fused,
  layouts: Layouts,
): { readonly sources: Map<Value, Value>; readonly order: readonly Region[] } {
  const sources = new Map<Value, Value>();
  for (const w of fused.graph.writes) {
    const root = fused.alias.get(w.value) ?? w.value;
    const home = fused.home.get(root);
    // What is prepared ahead of the calls is no update of theirs.
    if (home?.kind !== "map" || home.derived || !layouts.order(root).every((a, i) => a === i)) continue;
    const source = fused.graph.nodes.find(
      (n) => (n.op.name === "state" || n.op.name === "param") && n.attrs.path === w.path,
    )?.outs[0];
    if (!source || fused.graph.results.some((r) => r.value === source)) continue;
    if (fused.graph.writes.filter((o) => (fused.alias.get(o.value) ?? o.value) === root).length > 1) continue;
    if (readsAtItsOwnPlace(fused, home, source)) sources.set(root, source);
  }
  const reads = new Map(fused.groups.map((g) => [g, groupReads(fused, g)] as const));
  for (;;) {
    // Kernels that overwrite, and whoever reads what they make, come last, in their order.
    const late = new Set([...sources.keys()].map((r) => fused.home.get(r) as Region));
    for (const g of fused.groups)
      if ([...(reads.get(g) as Set<Value>)].some((v) => late.has(fused.home.get(v) as Region))) late.add(g);
    const order = [...fused.groups.filter((g) => !late.has(g)), ...fused.groups.filter((g) => late.has(g))];
    const wrong = [...sources].find(([root, source]) => {
      const home = fused.home.get(root) as Region;
      return order
        .slice(order.indexOf(home) + 1)
        .some((g) => [...(reads.get(g) as Set<Value>)].some((v) => overlaps(v, source)));
    });
    if (!wrong) return { sources, order };
    sources.delete(wrong[0]);
  }
}

/** Stored values and sources that a group's kernel (or loop) reads. */
export function groupReads(fused: Fused, g: Region): Set<Value> {
  const out = new Set<Value>();
  const seen = new Set<Value>();
  const visit = (v: Value, top: boolean): void => {
    if (seen.has(v)) return;
    seen.add(v);
    if (!top && isStoredFor(fused.home, g, v)) {
      out.add(v);
      return;
    }
    for (const i of v.node.inputs) visit(i, false);
  };
  for (const r of g.roots) visit(r, true);
  return out;
}
/** Paths whose update is not in place, in a kernel that would have to be smaller then. */
export function overfull(fused: Fused, inPlace: ReadonlyMap<Value, Value>, max: number): string[] {
  return fused.graph.writes.flatMap(({ path, value }) => {
    const root = fused.alias.get(value) ?? value;
    const home = fused.home.get(root);
    if (home?.kind !== "map" || home.derived || inPlace.has(root)) return [];
    const bound = new Set([...groupReads(fused, home), ...home.roots.filter((r) => !inPlace.has(r))]);
    return bound.size > max ? [path] : [];
  });
}
/** Two sources whose bytes may be the same: one path, or a parameter or buffer and several at once. */
function overlaps(a: Value, b: Value): boolean {
  if (a.node.op !== b.node.op || a.node.op.fuses !== "source") return false;
  const [x, y] = [a.node.attrs.path, b.node.attrs.path];
  return x === y || (a.node.op.name === "param" ? isFlat(x) !== isFlat(y) : isRun(x) !== isRun(y));
}
/** The kernel reads `source` at the element it writes, nowhere else. */
function readsAtItsOwnPlace(fused: Fused, home: Region, source: Value): boolean {
  for (const root of home.roots) {
    const s = loweringFor((v) => isStoredFor(fused.home, home, v));
    const { at, x } = lowerValue(s, root);
    const own = rowMajor(
      s,
      at.map((q) => s.axisValue(q)),
      root.type.shape,
    );
    let ok = true;
    const seen = new Set<Scalar>();
    const visit = (y: Scalar): void => {
      if (seen.has(y) || !ok) return;
      seen.add(y);
      if (y.kind === "load" && y.value === source && rowMajor(s, y.at, source.type.shape) !== own) ok = false;
      for (const c of children(y)) visit(c);
    };
    visit(x);
    if (!ok) return false;
  }
  return true;
}
