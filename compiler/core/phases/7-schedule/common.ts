// What the kernel families share: lowering a group's roots, linear iteration spaces, the finished kernel.
// In: a fused group with layouts. Out: a Launch: kernel code, the sizes its uniform block holds, its grid.

import { asConst, type Dim, NOMINAL, product, roughly, substitute } from "../../dims/dim.ts";
import { PART_OF } from "../../ir/build.ts";
import type { Value } from "../../ir/types.ts";
import type { KernelCode, X } from "../../kernel/code.ts";
import { decode } from "../../kernel/coordinates.ts";
import { Emitter } from "../../kernel/emitter.ts";
import { resolved, type ScalarContext } from "../../kernel/lowering.ts";
import type { Axis, Scalar } from "../../kernel/scalar.ts";
import { loweringFor } from "../../kernel/values.ts";
import { isStoredFor, type Region } from "../../regions/region.ts";
import type { Launch, ScheduleContext } from "./family.ts";

export { decode };

/** A lowering for one group: stored values of other groups are loads, everything else is inlined. */
export function groupLowering(ctx: ScheduleContext, g: Region, literal = false): ScalarContext {
  const packed = ctx.packed.get(g);
  return loweringFor(
    (v) => isStoredFor(ctx.fused.home, g, v),
    (v) => packed?.get(v),
    literal,
  );
}
/** What writes a group's kernel. */
export const emitterFor = (ctx: ScheduleContext, s: ScalarContext): Emitter =>
  new Emitter(s, ctx.layouts, ctx.target.backend.words, ctx.placing);
/** One element of a root at coordinates: the same expression that other roots have where they read it there. */
export function lowerRoot(s: ScalarContext, root: Value, at: readonly Scalar[]): Scalar {
  const read = s.read(root, at);
  if (read.kind !== "load" || read.value !== root) return read;
  const lower = root.node.op.lower;
  if (!lower) throw new Error(`${root.node.op.name} has no lowering`);
  return lower(s, root.node, at, root.index);
}

/** Coordinates of a value (logical order) of the linear index in its physical order. */
export function decodeValue(
  s: ScalarContext,
  linear: Scalar,
  shape: readonly Dim[],
  order: readonly number[],
): Scalar[] {
  const physical = decode(
    s,
    linear,
    order.map((a) => shape[a]),
  );
  const out: Scalar[] = [];
  order.forEach((axis, i) => {
    out[axis] = physical[i];
  });
  return out;
}
/** What a size is taken to be where the call alone knows it. */
export const nominal = (d: Dim): number => asConst(substitute(d, () => NOMINAL)) ?? Number.POSITIVE_INFINITY;
export const extentOf = (axes: readonly Axis[]): Dim => product(axes.map((a) => a.extent));

export function finish(
  em: Emitter,
  s: ScalarContext,
  parts: {
    name: string;
    family: string;
    workgroup: number;
    groups: Dim;
    cost: Dim;
    nest: readonly string[];
    subgroups?: boolean;
  },
): Launch {
  const code: KernelCode = {
    name: parts.name,
    family: parts.family,
    uniforms: em.uniforms,
    overrides: [],
    buffers: em.buffers,
    shared: em.sharedArrays,
    functions: em.functions,
    workgroup: parts.workgroup,
    body: em.stack[0].stmts,
    subgroups: parts.subgroups ?? false,
    nest: parts.nest,
  };
  return {
    code,
    groups: resolved(s, parts.groups),
    uniforms: em.uniforms.map((u) => resolved(s, u.dim)),
    overrides: [],
    buffers: em.bindings,
    cost: roughly(resolved(s, parts.cost)),
  };
}

/** A readable name from the operators of a group, as the author wrote them: conv2d_relu_max_pool2d, softmax. */
export function groupName(g: Region): string {
  const names: string[] = [];
  for (const n of [...g.nodes].sort((a, b) => a.id - b.id)) {
    const whole = n.origin.derived.find((d) => d.startsWith(PART_OF));
    const name = whole ? whole.slice(PART_OF.length) : n.op.name;
    if (n.op.fuses === "view" || n.op.name === "full" || names.includes(name)) continue;
    names.push(name);
  }
  return (
    names
      .slice(0, 4)
      .join("_")
      .replace(/[^A-Za-z0-9_]/g, "_") || g.anchor.op.name
  );
}
export const laneX = (): X => ({ k: "var", name: "lane", dtype: "i32", width: 1 });
export const groupX = (): X => ({ k: "var", name: "group", dtype: "i32", width: 1 });
