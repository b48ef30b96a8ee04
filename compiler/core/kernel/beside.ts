// Several kernels as one: each takes a stretch of the workgroups. In: launches of one workgroup size that do not wait for each
// other. Out: a launch that does the work of all, in one dispatch. What each computes is untouched, but for names and for how
// it finds the number of its workgroup, and its values where several lie in one that is bound once.
import { add, ceilDiv, type Dim, dim, floorDiv, mul } from "../dims/dim.ts";
import type { Value } from "../ir/types.ts";
import {
  type BufferSlot,
  bin,
  type CodeFunction,
  type KernelCode,
  lit,
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

/** A value in which others lie, and where one of them begins, in elements: a multiple of four. */
export interface Within {
  readonly whole: Value;
  readonly at: Dim;
}
/** Of values that one kernel binds, those that are found in a whole: where it holds several, it is bound in their place. */
export function found(
  values: Iterable<Value>,
  within: (v: Value) => Within | undefined,
): ReadonlyMap<Value, Within> {
  const byWhole = new Map<Value, Map<Value, Within>>();
  for (const v of values) {
    const at = within(v);
    if (at) byWhole.set(at.whole, (byWhole.get(at.whole) ?? new Map<Value, Within>()).set(v, at));
  }
  return new Map([...byWhole.values()].filter((list) => list.size > 1).flatMap((list) => [...list]));
}

/** Threads of these wait for each other: all of a workgroup have to be there. */
export const waits = ({ code }: Launch): boolean => code.subgroups || code.shared.length > 0;

/** Of a kernel's arrays in workgroup memory, each with its kind, and with which of that kind it is. */
function arraysOf({ shared }: KernelCode) {
  const counts = new Map<string, number>();
  return shared.map((array) => {
    const kind = `${array.dtype} ${array.width}`;
    const nth = counts.get(kind) ?? 0;
    counts.set(kind, nth + 1);
    return { array, kind, key: `${kind} ${nth}` };
  });
}
/**
 * The arrays that kernels side by side have, by `key`: a workgroup is one kernel's, so the nth of each kind is one for all, as large
 * as the largest.
 */
export function sharedBeside(codes: readonly KernelCode[]): ReadonlyMap<string, SharedArray> {
  const byKind = new Map<string, Map<string, SharedArray>>();
  for (const { array, kind, key } of codes.flatMap(arraysOf)) {
    const list = byKind.get(kind) ?? new Map<string, SharedArray>();
    byKind.set(kind, list);
    const there = list.get(key);
    if (!there || there.size < array.size) list.set(key, array);
  }
  return new Map([...byKind.values()].flatMap((list) => [...list]));
}

/**
 * One launch for all of them. `ways`: of so many workgroups that follow one another, each is of another part of the whole
 * (1: they run in order), for devices that deal out workgroups to their threads in stretches.
 */
export function beside(
  given: readonly Launch[],
  words: Words,
  within: (v: Value) => Within | undefined = () => undefined,
  ways = 1,
): Launch {
  // Threads of the others may be gone by the end of their stretch, as far as a device can tell.
  const parts = [...given.filter(waits), ...given.filter((l) => !waits(l))];
  const places = found(
    parts.flatMap((l) => l.buffers.map((b) => b.value)),
    within,
  );
  /** What is bound, each once; for each buffer of each part, which of these it is, and where it begins in that. */
  const bound: Value[] = [];
  const numbers = new Map<Value, number>();
  const lies = parts.map((l) =>
    l.buffers.map((b) => {
      const place = places.get(b.value);
      const value = place?.whole ?? b.value;
      let nth = numbers.get(value);
      if (nth === undefined) {
        nth = bound.push(value) - 1;
        numbers.set(value, nth);
      }
      return { nth, at: place?.at };
    }),
  );
  const sizes = sizesOf(parts, lies, ways);
  const { code, uniforms } = joinedOf(given[0].code, parts, lies, sizes, words, ways);
  return {
    code,
    groups: ways === 1 ? sizes.whole : mul(sizes.each, ways),
    uniforms: uniforms.map((u) => u(sizes)),
    overrides: parts.flatMap((p) => p.overrides),
    buffers: bound.map((value, i) => ({ value, access: code.buffers[i].access })),
    cost: add(...parts.map((p) => p.cost)),
  };
}

/** A buffer of a part: which of all it is, and where it begins where it lies in that. */
type Lies = readonly (readonly { readonly nth: number; readonly at: Dim | undefined }[])[];
/** What words of the uniform block are made of: of parts in their order, and their buffers. */
interface Sizes {
  readonly whole: Dim;
  /** Workgroups of a way. */
  readonly each: Dim;
  readonly groups: readonly Dim[];
  /** Where each part ends. */
  readonly ends: readonly Dim[];
  readonly uniforms: readonly (readonly Dim[])[];
  readonly begins: readonly (readonly (Dim | undefined)[])[];
}
function sizesOf(parts: readonly Launch[], lies: Lies, ways: number): Sizes {
  const ends: Dim[] = [];
  let whole = dim(0);
  for (const l of parts) {
    whole = add(whole, l.groups);
    ends.push(whole);
  }
  return {
    whole,
    each: ceilDiv(whole, ways),
    groups: parts.map((l) => l.groups),
    ends,
    uniforms: parts.map((l) => l.uniforms),
    begins: lies.map((own) => own.map(({ at }) => at)),
  };
}

/** Kernels side by side, and what the words of its uniform block are, whatever they are bound to. */
interface Joined {
  readonly code: KernelCode;
  readonly uniforms: readonly ((s: Sizes) => Dim)[];
}
/** Layers of a kind have the same kernels side by side, bound alike: they share the code. */
const joined = new WeakMap<KernelCode, { readonly of: readonly unknown[]; readonly made: Joined }[]>();
function joinedOf(
  first: KernelCode,
  parts: readonly Launch[],
  lies: Lies,
  sizes: Sizes,
  words: Words,
  ways: number,
): Joined {
  const of = [words, ways, ...parts.map((p) => p.code), ...lies.flat().flatMap((b) => [b.nth, !b.at])];
  const known = joined.get(first) ?? [];
  joined.set(first, known);
  const same = known.find((k) => k.of.length === of.length && k.of.every((x, i) => x === of[i]));
  if (same) return same.made;
  const codes = parts.map((p) => p.code);
  const made = join(first, codes, lies, sizes, words, ways);
  known.push({ of, made });
  return made;
}

function join(
  first: KernelCode,
  parts: readonly KernelCode[],
  lies: Lies,
  sizes: Sizes,
  words: Words,
  ways: number,
): Joined {
  const names = new Names(words);
  const uniforms: UniformSlot[] = [];
  const values: Joined["uniforms"][number][] = [];
  const members = new Names(words);
  members.fresh("groups");
  const word = (name: string, of: Dim, value: Joined["uniforms"][number]): UniformSlot => {
    const made = { dim: of, name: members.fresh(name) };
    uniforms.push(made);
    values.push(value);
    return made;
  };
  const buffers: BufferSlot[] = [];
  const arrayNames = new Map<string, string>();
  const functions: CodeFunction[] = [];
  const body: Stmt[] = [];
  let before: X | undefined;
  let all = variable(GROUP, "i32");
  if (ways > 1) {
    const name = names.fresh(GROUP);
    const each = word("each", sizes.each, (s) => s.each);
    body.push({ k: "let", name, x: dealt(all, each, ways), group: true });
    all = variable(name, "i32");
  }
  const overrides: OverrideSlot[] = [];
  for (const [nth, code] of parts.entries()) {
    const renamed = new Map<string, string>();
    const nameOf = (name: string): string => {
      let made = renamed.get(name);
      if (made === undefined) {
        made = names.fresh(name);
        renamed.set(name, made);
      }
      return made;
    };
    const slots = new Map(code.uniforms.map((u, i) => [u, word(u.name, u.dim, (s) => s.uniforms[nth][i])]));
    const constants = new Map(code.overrides.map((o) => [o, { name: nameOf(o.name) }]));
    overrides.push(...constants.values());
    const slotOf = new Map<BufferSlot, BufferSlot>();
    const begins = new Map<BufferSlot, X>();
    for (const [i, b] of code.buffers.entries()) {
      const { nth: which, at } = lies[nth][i];
      let slot = buffers[which];
      if (!slot) {
        slot = { ...b, name: nameOf(b.name) };
        buffers[which] = slot;
      }
      if (b.access === "read_write") slot.access = b.access;
      slot.wide ||= b.wide;
      if (b.pairs) slot.pairs = b.pairs;
      slotOf.set(b, slot);
      if (at) {
        const fours = word("begin", at, (s) => floorDiv(s.begins[nth][i] as Dim, 4));
        begins.set(b, { k: "uniform", slot: fours, dtype: "i32", width: 1 });
      }
    }
    for (const { array, key } of arraysOf(code)) {
      const name = arrayNames.get(key);
      if (name === undefined) arrayNames.set(key, nameOf(array.name));
      else renamed.set(array.name, name);
    }
    // No workgroup is behind the last part, but those that make the ways equally long.
    const open = ways === 1 && nth === parts.length - 1;
    const end: X | undefined = open
      ? undefined
      : { k: "uniform", slot: word("end", sizes.groups[nth], (s) => s.ends[nth]), dtype: "i32", width: 1 };
    let mine = all;
    const inside: Stmt[] = [];
    if (before || ways > 1) {
      const name = names.fresh(GROUP);
      inside.push({ k: "let", name, x: before ? bin("-", all, before) : all, group: true });
      mine = variable(name, "i32");
    }
    const { stmt, fn } = rewriting({
      name: nameOf,
      buffer: (b) => slotOf.get(b) as BufferSlot,
      place: (b, index, width) => {
        const begin = begins.get(b);
        if (!begin) return index;
        return bin("+", index, bin("*", begin, lit(4 / width)));
      },
      uniform: (x) => ({ ...x, slot: slots.get(x.slot) as UniformSlot }),
      override: (slot) => constants.get(slot) as OverrideSlot,
      variable: (x) => (x.name === GROUP ? mine : x.name === "lane" ? x : { ...x, name: nameOf(x.name) }),
    });
    for (const f of code.functions) functions.push(fn(f));
    const bounds = [before && bin(">=", all, before), end && bin("<", all, end)].filter(
      (x) => x !== undefined,
    );
    body.push({
      k: "if",
      cond: bounds.reduce((a, b) => bin("&&", a, b)),
      body: [...inside, ...code.body.map(stmt)],
    });
    before = end;
  }
  const families = new Set(parts.map((p) => p.family));
  return {
    code: {
      name: `${first.name}_and_${parts.length - 1}`,
      family: `${[...families].join(" and ")}, ${parts.length} side by side`,
      uniforms,
      overrides,
      buffers,
      shared: [...sharedBeside(parts)].map(([key, a]) => ({ ...a, name: arrayNames.get(key) as string })),
      functions,
      workgroup: first.workgroup,
      body,
      subgroups: parts.some((p) => p.subgroups),
      nest: parts.flatMap((p) => p.nest),
    },
    uniforms: values,
  };
}

/** The number that a workgroup has in the whole, where neighbours are far apart. */
function dealt(group: X, each: UniformSlot, ways: number): X {
  const size: X = { k: "uniform", slot: each, dtype: "i32", width: 1 };
  return bin("+", bin("*", bin("%", group, lit(ways)), size), bin("/", group, lit(ways)));
}
