// Kernels that differ in nothing but what they do with their sums (add a bias; add a shortcut and take the ReLU) are one: it has
// the ends of all of them, and a word of the call says which is meant. A software adapter compiles a tile for 0.3 s, and an end
// for a hundredth of that. In: the routines of a program. Out: the same, with fewer kernels.
import { type Dim, dim } from "../../dims/dim.ts";
import { type Block, eachBlock, mapBlocks } from "../../ir/blocks.ts";
import type { Value } from "../../ir/types.ts";
import {
  type BufferSlot,
  bin,
  type CodeFunction,
  declaredWidth,
  expressionsOf,
  type KernelCode,
  lit,
  partsOf,
  type Stmt,
  type UniformSlot,
  type X,
} from "../../kernel/code.ts";
import { shapeOf } from "../../kernel/key.ts";
import type { Binding, Launch, Routine } from "../../kernel/launch.ts";
import { Names } from "../../kernel/names.ts";
import { rewriting } from "../../kernel/rewrite.ts";
import { limitOf, type Target } from "../../targets.ts";
import { temporary } from "./family.ts";

/** Statements of a kernel without its end from which it pays. */
const LARGE = 20;
/** Ends of one kernel. */
const MOST = 8;

/** `look` is shown every kernel that is made. */
export function shareEnds(
  routines: readonly Block<Routine>[],
  target: Target,
  look?: (code: KernelCode) => void,
): readonly Block<Routine>[] {
  if (!target.dearTexts) return routines;
  const steps = routines.flatMap((r) => [...eachBlock(r)].flatMap(({ own }) => own.steps));
  const prepared = new Set(steps.flatMap((s) => (s.kind === "prepare" ? s.roots : [])));
  /** Whether nothing is written, while a call runs, to where it lies. */
  const isFixed = (v: Value): boolean => v.node.op.name === "param" || prepared.has(v);

  const byBody = new Map<string, Map<KernelCode, Split>>();
  for (const step of steps) {
    if (step.kind !== "launch") continue;
    for (const { code, buffers } of step.launches.list) {
      const split = splitOf(code);
      if (!split) continue;
      const { text } = shapeOf(split.body);
      const alike = byBody.get(text) ?? new Map<KernelCode, Split>();
      byBody.set(text, alike);
      const known = alike.get(code) ?? split;
      alike.set(code, known);
      buffers.forEach((b, i) => {
        if (!isFixed(b.value)) known.loose.add(code.buffers[i]);
      });
    }
  }
  const instead = new Map<KernelCode, Moved>();
  for (const alike of byBody.values()) {
    const all = [...alike.values()];
    for (let from = 0; from + 1 < all.length; from += MOST) {
      const made = unite(all.slice(from, from + MOST), target);
      if (!made) continue;
      for (const [code, to] of made.moved) instead.set(code, to);
      look?.(made.code);
    }
  }
  return routines.map((r) =>
    mapBlocks(r, (own) => ({
      ...own,
      steps: own.steps.map((step) => {
        if (step.kind !== "launch" || !step.launches.list.some((l) => instead.has(l.code))) return step;
        const temporaries = [...step.launches.temporaries];
        const list = step.launches.list.map((l): Launch => {
          const to = instead.get(l.code);
          if (!to) return l;
          const fixed = l.buffers.find((b) => isFixed(b.value))?.value;
          const buffers = to.buffers.map((b, i): Binding => {
            const { access } = to.code.buffers[i];
            if (b.from !== undefined) return { ...l.buffers[b.from], access };
            if (b.fixed && fixed) return { value: fixed, access };
            // Stored or read by ends that are not run: to the plan, that is where it is made.
            const nothing = temporary("nothing", b.dtype, [4], l.buffers[0].value.node);
            temporaries.push(nothing);
            return { value: nothing, access: "read_write" };
          });
          return {
            ...l,
            code: to.code,
            uniforms: to.words.map((w) => (typeof w === "number" ? l.uniforms[w] : w)),
            buffers,
          };
        });
        return { ...step, launches: { list, temporaries } };
      }),
    })),
  );
}

/** A kernel, and what it is without what it does with its sums. */
interface Split {
  readonly code: KernelCode;
  /** The function at the end; in the body's code, it does nothing. What other functions the body runs come before it there. */
  readonly end: CodeFunction;
  readonly body: KernelCode;
  /** Buffers that some launch binds to what is written while a call runs. */
  readonly loose: Set<BufferSlot>;
}
const splits = new WeakMap<KernelCode, Omit<Split, "loose"> | "none">();
/** Undefined for a kernel that is small, or does not end in the last of its functions. */
function splitOf(code: KernelCode): Split | undefined {
  let split = splits.get(code);
  if (split === undefined) {
    split = makeSplit(code) ?? "none";
    splits.set(code, split);
  }
  return split === "none" ? undefined : { ...split, loose: new Set() };
}
function makeSplit(code: KernelCode): Omit<Split, "loose"> | undefined {
  const end = code.functions.at(-1);
  if (!end || end.result || code.overrides.length > 0) return undefined;
  const { statements, runs, buffers } = usesOf(code.body);
  if (statements < LARGE || !runs.has(end.name)) return undefined;
  // Functions are declared before they are run.
  const tools = code.functions
    .slice(0, -1)
    .reverse()
    .filter((f) => {
      const used = runs.has(f.name);
      if (used) for (const name of usesOf(f.body, f.result).runs) runs.add(name);
      return used;
    });
  for (const f of tools) for (const b of usesOf(f.body, f.result).buffers) buffers.add(b);
  const body = { ...code, buffers: [...buffers], functions: [...tools.reverse(), { ...end, body: [] }] };
  return { code, end, body };
}

/** How many statements, which functions are run or called, and which buffers are bound, in the order in which they are met. */
function usesOf(body: readonly Stmt[], result?: X) {
  let statements = 0;
  const runs = new Set<string>();
  const buffers = new Set<BufferSlot>();
  const expr = (x: X): void => {
    for (const part of partsOf(x)) expr(part);
    if (x.k === "load") buffers.add(x.buffer);
    if (x.k === "call" && x.fn.startsWith("fn:")) runs.add(x.fn.slice(3));
  };
  const block = (list: readonly Stmt[]): void => {
    for (const s of list) {
      statements++;
      expressionsOf(s).forEach(expr);
      if (s.k === "store") buffers.add(s.buffer);
      if (s.k === "run") runs.add(s.fn);
      if (s.k === "for" || s.k === "if") block(s.body);
    }
  };
  block(body);
  if (result) expr(result);
  return { statements, runs, buffers };
}

/** What a launch of a kernel is as one of another. */
interface Moved {
  readonly code: KernelCode;
  /** Its own word by number, or what the word is else. */
  readonly words: readonly (number | Dim)[];
  /** Its own buffer by number, or what is bound because another end has a buffer there: `fixed` as all of those are. */
  readonly buffers: readonly {
    readonly from: number | undefined;
    readonly fixed: boolean;
    readonly dtype: BufferSlot["dtype"];
  }[];
}
/** A buffer that ends have beside those of the body. */
interface Extra {
  readonly slot: BufferSlot;
  readonly loose: boolean;
}

/** The kernel with the ends of all that fit, and what their launches are then; undefined where no two of them do. */
function unite(
  all: readonly Split[],
  target: Target,
): { readonly code: KernelCode; readonly moved: ReadonlyMap<KernelCode, Moved> } | undefined {
  const names = new Names(target.backend.words);
  const extras: Extra[] = [];
  const parts: { readonly split: Split; readonly slots: ReadonlyMap<BufferSlot, BufferSlot> }[] = [];
  const [first] = all;
  const bodyBuffers = first.body.buffers.map((b, i): BufferSlot => {
    const written = all.some(({ body }) => body.buffers[i].access === "read_write");
    return { ...b, name: names.fresh(b.name), access: written ? "read_write" : "read" };
  });
  const most = limitOf(target, "maxStorageBuffersPerShaderStage") - bodyBuffers.length;
  for (const split of all) {
    const slots = new Map(split.body.buffers.map((b, i) => [b, bodyBuffers[i]]));
    const taken = new Set<Extra>();
    const fresh: Extra[] = [];
    for (const b of split.code.buffers) {
      if (slots.has(b)) continue;
      const loose = split.loose.has(b);
      let extra = extras.find(
        (x) =>
          !taken.has(x) &&
          x.loose === loose &&
          x.slot.dtype === b.dtype &&
          declaredWidth(x.slot) === declaredWidth(b) &&
          x.slot.access === b.access,
      );
      if (!extra) {
        extra = { slot: { ...b, name: names.fresh(b.name) }, loose };
        fresh.push(extra);
      }
      taken.add(extra);
      slots.set(b, extra.slot);
    }
    if (extras.length + fresh.length > most) continue;
    extras.push(...fresh);
    parts.push({ split, slots });
  }
  if (parts.length < 2) return undefined;

  const members = new Names(target.backend.words);
  members.fresh("groups");
  const uniforms: UniformSlot[] = [];
  /** What a word is for a launch of each part: one of its own words, or a number where its end has none there. */
  const meant: (readonly (number | Dim)[])[] = [];
  const word = ({ dim: of, name }: UniformSlot, ofParts: readonly (number | Dim)[]): UniformSlot => {
    const slot = { dim: of, name: members.fresh(name) };
    uniforms.push(slot);
    meant.push(ofParts);
    return slot;
  };
  // The body's: one for each set of places at which none of the kernels tells words apart.
  const places = parts.map(({ split }) => shapeOf(split.body).words);
  const lead = parts[0].split;
  const known = new Map<string, UniformSlot>();
  const bodyWords = places[0].map((_, place) => {
    const own = places.map((w) => w[place]);
    const key = own.join();
    const slot = known.get(key) ?? word(lead.code.uniforms[own[0]], own);
    known.set(key, slot);
    return slot;
  });
  const end = word(
    { dim: dim(0), name: "end" },
    parts.map((_, i) => dim(i)),
  );
  const inBody = uniforms.length;
  // Those that an end has beside them; where another has none, it is a number that nothing goes wrong with.
  const endWords = parts.map(({ split }, i): Map<UniformSlot, UniformSlot> => {
    let next = inBody;
    return new Map(
      split.code.uniforms.map((u, n) => {
        const at = places[i].indexOf(n);
        if (at >= 0) return [u, bodyWords[at]];
        if (next === uniforms.length)
          word(
            u,
            parts.map(() => dim(1)),
          );
        meant[next] = meant[next].with(i, n);
        return [u, uniforms[next++]];
      }),
    );
  });

  const renamed =
    (own: Map<string, string>) =>
    (name: string): string => {
      const to = own.get(name) ?? names.fresh(name);
      own.set(name, to);
      return to;
    };
  const leadNames = new Map<string, string>();
  let place = 0;
  const leading = rewriting({
    name: renamed(leadNames),
    buffer: (b) => parts[0].slots.get(b) as BufferSlot,
    uniform: (x) => ({ ...x, slot: bodyWords[place++] }),
    variable: (x) =>
      x.name === "group" || x.name === "lane" ? x : { ...x, name: renamed(leadNames)(x.name) },
    apart: true,
  });
  // In the order in which places were counted.
  const tools = lead.body.functions.slice(0, -1).map(leading.fn);
  const params = lead.end.params.map((p) => ({ ...p, name: names.fresh(p.name) }));
  const body = lead.code.body.map(leading.stmt);

  const which: X = { k: "uniform", slot: end, dtype: "i32", width: 1 };
  const others: CodeFunction[] = [];
  const endings = parts.map(({ split, slots }, i): Stmt => {
    const inBody = split.body.functions.slice(0, -1);
    const own = new Map([
      ...inBody.map((f, n): [string, string] => [f.name, tools[n].name]),
      ...split.end.params.map((p, n): [string, string] => [p.name, params[n].name]),
    ]);
    const { stmt, fn } = rewriting({
      name: renamed(own),
      buffer: (b) => slots.get(b) as BufferSlot,
      uniform: (x) => ({ ...x, slot: endWords[i].get(x.slot) as UniformSlot }),
      variable: (x) => ({ ...x, name: renamed(own)(x.name) }),
    });
    for (const f of split.code.functions) if (f !== split.end && !inBody.includes(f)) others.push(fn(f));
    const bounds = [
      ...(i > 0 ? [bin(">=", which, lit(i))] : []),
      ...(i < parts.length - 1 ? [bin("<", which, lit(i + 1))] : []),
    ];
    return { k: "if", cond: bounds.reduce((a, b) => bin("&&", a, b)), body: split.end.body.map(stmt) };
  });
  const slots = [...bodyBuffers, ...extras.map((x) => x.slot)];
  const code: KernelCode = {
    ...lead.code,
    name: `${lead.code.name}_or_${parts.length - 1}`,
    uniforms,
    buffers: slots,
    shared: lead.code.shared.map((a) => ({ ...a, name: renamed(leadNames)(a.name) })),
    functions: [...tools, ...others, { name: leadNames.get(lead.end.name) as string, params, body: endings }],
    body,
    nest: [...lead.code.nest, `  end    one of ${parts.map(({ split }) => split.code.name).join(", ")}`],
  };
  const moved = parts.map(({ split, slots: to }, i): [KernelCode, Moved] => {
    const from = new Map(split.code.buffers.map((b, n) => [to.get(b), n]));
    return [
      split.code,
      {
        code,
        words: meant.map((of) => of[i]),
        buffers: slots.map((slot, n) => ({
          from: from.get(slot),
          // What is written is bound once.
          fixed: slot.access === "read" && extras[n - bodyBuffers.length]?.loose === false,
          dtype: slot.dtype,
        })),
      },
    ];
  });
  return { code, moved: new Map(moved) };
}
