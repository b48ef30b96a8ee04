// What must hold of values that are laid out. In: Laid, and the step that made it. Out: nothing, or an InternalError that names
// the rule. On in the tests after every step.
import { InternalError } from "../../diagnostics/report.ts";
import { equal, isMultipleOf, product } from "../../dims/dim.ts";
import { sameType } from "../../ir/build.ts";
import type { Value } from "../../ir/types.ts";
import type { Region } from "../../regions/region.ts";
import { groupReads } from "./in-place.ts";
import type { Laid } from "./layout.ts";

export function verifyLaid(laid: Laid, step: string): void {
  const { fused, layouts, packed, inPlace, order } = laid;
  const { graph, groups, home, alias } = fused;
  const fail = (what: string): never => {
    throw new InternalError(step, `${graph.name}: ${what}`);
  };
  const name = (v: Value): string => `${v.node.op.name}#${v.node.id}`;

  // --- orders are permutations, and what others than kernels see lies row-major
  for (const g of groups)
    for (const r of g.roots) {
      if (home.get(r) !== g) fail(`${name(r)} is at home in another region than the one that stores it`);
      const axes = [...layouts.order(r)].sort((a, b) => a - b);
      if (axes.length !== r.type.shape.length || axes.some((a, i) => a !== i))
        fail(`${name(r)} lies as [${layouts.order(r).join(", ")}], which is no order of its axes`);
      const [width, pitch] = [layouts.panel(r), layouts.pitch(r)];
      const inner = r.type.shape[layouts.order(r).at(-1) as number];
      if (width !== undefined && !isMultipleOf(inner, width))
        fail(`${name(r)} lies in panels of ${width} that do not divide it`);
      if (pitch && width !== undefined) fail(`${name(r)} lies in panels, and in rows of ${pitch.key}`);
    }
  const plain = (v: Value, what: string): void => {
    if (layouts.dtype(v) !== v.type.dtype) fail(`${name(v)} is stored as ${layouts.dtype(v)} and is ${what}`);
    if (layouts.order(v).some((a, i) => a !== i) || layouts.panel(v) !== undefined || layouts.pitch(v))
      fail(`${name(v)} lies in an order of its own and is ${what}`);
  };
  for (const r of graph.results) plain(alias.get(r.value) ?? r.value, "a result");
  for (const w of graph.writes) plain(alias.get(w.value) ?? w.value, "written");
  for (const [v, base] of alias) {
    plain(base, `seen as ${name(v)}`);
    if (!home.has(base)) fail(`${name(v)} shows ${name(base)}, which no kernel stores`);
    if (!equal(product(v.type.shape), product(base.type.shape)) || v.type.dtype !== base.type.dtype)
      fail(`${name(v)} has other elements than ${name(base)}`);
  }
  for (const g of groups)
    if (g.kind === "control" || g.kind === "pack")
      for (const v of [...g.anchor.inputs, ...g.roots]) plain(alias.get(v) ?? v, `of ${g.anchor.op.name}`);

  // --- groups run once, and after what they read
  if (
    order.length !== groups.length ||
    new Set(order).size !== order.length ||
    order.some((g) => !groups.includes(g))
  )
    fail("the regions that run are not those that were made");
  const place = new Map(order.map((g, i) => [g, i]));
  const reads = new Map(order.map((g) => [g, readsOf(laid, g)]));
  for (const g of order)
    for (const v of reads.get(g) ?? []) {
      const from = home.get(alias.get(v) ?? v);
      if (from && from !== g && (place.get(from) as number) > (place.get(g) as number))
        fail(`${g.anchor.op.name} reads ${name(v)} before it is there`);
    }

  // --- what is made ahead needs nothing of a call
  for (const g of order) {
    if (!g.derived) continue;
    const late = [...(reads.get(g) ?? [])].find(
      (v) => v.node.op.name === "input" || home.get(alias.get(v) ?? v)?.derived === false,
    );
    if (late) fail(`${g.anchor.op.name} is made ahead and reads ${name(late)}`);
  }

  // --- packed copies are copies
  for (const [g, copies] of packed)
    for (const [of, made] of copies) {
      if (!sameType(of.type, made.type) || made.node.inputs[0] !== of)
        fail(`${name(made)} is packed for ${name(of)} and is no copy of it`);
      const from = home.get(made);
      if (!from || (place.get(from) as number) > (place.get(g) as number))
        fail(`${name(made)} is not there when ${g.anchor.op.name} reads it`);
    }

  for (const [g, { value: made }] of laid.filters) {
    const from = home.get(made);
    if (!from || (place.get(from) as number) > (place.get(g) as number))
      fail(`${name(made)} is not there when ${g.anchor.op.name} reads it`);
  }

  // --- nobody misses what is overwritten
  if (new Set(inPlace.values()).size !== inPlace.size) fail("one state is overwritten twice");
  for (const [root, source] of inPlace) {
    plain(root, "stored in place");
    const g = home.get(root);
    if (g?.kind !== "map" || g.derived)
      fail(`${name(root)} is stored in place and no pointwise kernel of the call makes it`);
    const after = order.slice((place.get(g as Region) as number) + 1);
    const late = after.find((x) => reads.get(x)?.has(source));
    if (late) fail(`${late.anchor.op.name} reads ${name(source)} after it is overwritten`);
    if (graph.results.some((r) => r.value === source)) fail(`the result ${name(source)} is overwritten`);
  }
}

/** Stored values that run before a region: a loop's and a pack's operands, the loads of a kernel. */
function readsOf({ fused, packed }: Laid, g: Region): ReadonlySet<Value> {
  if (g.kind === "control" || g.kind === "pack") return new Set(g.anchor.inputs);
  return new Set([...groupReads(fused, g)].map((v) => packed.get(g)?.get(v) ?? v));
}
