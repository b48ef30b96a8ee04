// Several kernels as one: each takes a stretch of the workgroups. In: launches of one workgroup size that do not wait for each
// other. Out: a launch that does the work of all, in one dispatch. What each computes is untouched, but for names and for how
// it finds the number of its workgroup.
import { add, dim } from "../dims/dim.ts";
import type { Value } from "../ir/types.ts";
import {
  type BufferSlot,
  bin,
  type CodeFunction,
  type OverrideSlot,
  type SharedArray,
  type Stmt,
  type UniformSlot,
  variable,
  type X,
} from "./code.ts";
import type { Launch } from "./launch.ts";
import { Names, type Words } from "./names.ts";
import { rewriting } from "./rewrite.ts";

/** The name under which every kernel finds the number of its workgroup. */
const GROUP = "group";

export function beside(parts: readonly Launch[], words: Words): Launch {
  const names = new Names(words);
  const uniforms: UniformSlot[] = [];
  const values: Launch["uniforms"][number][] = [];
  const members = new Names(words);
  members.fresh("groups");
  const word = (slot: UniformSlot, value: Launch["uniforms"][number]): UniformSlot => {
    const made = { dim: slot.dim, name: members.fresh(slot.name) };
    uniforms.push(made);
    values.push(value);
    return made;
  };
  const buffers = new Map<Value, BufferSlot>();
  const shared: SharedArray[] = [];
  const functions: CodeFunction[] = [];
  const body: Stmt[] = [];
  let before: X | undefined;
  let groups = dim(0);
  const overrides: OverrideSlot[] = [];
  for (const { code, uniforms: given, groups: own, buffers: bound } of parts) {
    const renamed = new Map<string, string>();
    const nameOf = (name: string): string => {
      let made = renamed.get(name);
      if (made === undefined) {
        made = names.fresh(name);
        renamed.set(name, made);
      }
      return made;
    };
    const slots = new Map(code.uniforms.map((u, i) => [u, word(u, given[i])]));
    const constants = new Map(code.overrides.map((o) => [o, { name: nameOf(o.name) }]));
    overrides.push(...constants.values());
    const slotOf = new Map<BufferSlot, BufferSlot>();
    for (const [i, b] of code.buffers.entries()) {
      const { value } = bound[i];
      let slot = buffers.get(value);
      if (!slot) {
        slot = { ...b, name: nameOf(b.name) };
        buffers.set(value, slot);
      }
      if (b.access === "read_write") slot.access = b.access;
      slot.wide ||= b.wide;
      slotOf.set(b, slot);
    }
    const end: X = {
      k: "uniform",
      slot: word({ dim: own, name: "end" }, add(groups, own)),
      dtype: "i32",
      width: 1,
    };
    groups = add(groups, own);
    const all = variable(GROUP, "i32");
    const mine = before ? variable(names.fresh(GROUP), "i32") : all;
    const { stmt, fn } = rewriting({
      name: nameOf,
      buffer: (b) => slotOf.get(b) as BufferSlot,
      uniform: (x) => ({ ...x, slot: slots.get(x.slot) as UniformSlot }),
      override: (slot) => constants.get(slot) as OverrideSlot,
      variable: (x) => (x.name === GROUP ? mine : x.name === "lane" ? x : { ...x, name: nameOf(x.name) }),
    });
    for (const a of code.shared) shared.push({ ...a, name: nameOf(a.name) });
    for (const f of code.functions) functions.push(fn(f));
    const inside: Stmt[] =
      before && mine.k === "var" ? [{ k: "let", name: mine.name, x: bin("-", all, before) }] : [];
    const below = bin("<", all, end);
    const cond = before ? bin("&&", bin(">=", all, before), below) : below;
    body.push({ k: "if", cond, body: [...inside, ...code.body.map(stmt)] });
    before = end;
  }
  const [first] = parts;
  return {
    code: {
      name: `${first.code.name}_and_${parts.length - 1}`,
      family: `${first.code.family}, ${parts.length} side by side`,
      uniforms,
      overrides,
      buffers: [...buffers.values()],
      shared,
      functions,
      workgroup: first.code.workgroup,
      body,
      subgroups: parts.some((p) => p.code.subgroups),
      nest: parts.flatMap((p) => p.code.nest),
    },
    groups,
    uniforms: values,
    overrides: parts.flatMap((p) => p.overrides),
    buffers: [...buffers].map(([value, { access }]) => ({ value, access })),
    cost: add(...parts.map((p) => p.cost)),
  };
}
