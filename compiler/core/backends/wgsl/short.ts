// The short form of a kernel's text. In: kernel code; a printed text. Out: names by what they are and where they come, and
// the text without what only people need. What matters is the size of all kernels of a module together, compressed: similar
// kernels have to be alike in their letters. So a name says its kind and how deep it lies and is numbered within its block:
// a statement more in one place renames nothing in others.
import type { KernelCode, Stmt, UniformSlot, X } from "../../kernel/code.ts";
import { words } from "./words.ts";

export interface ShortNames {
  readonly of: (name: string) => string;
  readonly field: (slot: UniformSlot) => string;
  /** The first word of the uniform block, and the block's type. */
  readonly groups: string;
  /** And its last. */
  readonly first: string;
  readonly block: string;
}

/** What the printer writes in every kernel; `p` is the uniform block. Locals are none of these letters. */
const OURS: { readonly [name: string]: string } = {
  lane: "j",
  group: "g",
  wid: "w",
  nwg: "n",
  lid: "h",
  subgroup_id: "q",
};

/** Words of the uniform block are numbered, too: rows of a tile have strides that follow one another. */
const WORD = "a";

const LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const letters = (n: number): string =>
  n < LETTERS.length ? LETTERS[n] : letters(Math.floor(n / LETTERS.length) - 1) + LETTERS[n % LETTERS.length];

/** Whether it is a number of the workgroup: it is spelled as where a kernel runs alone. */
const isGroup = (s: Stmt): boolean => s.k === "let" && s.group === true;

/** Loads, indices (i8 is a reserved word, and would be missed in the count), conditions, other values. */
const kindOf = (x: X): string => {
  if (x.k === "load" || x.k === "shared") return "l";
  return x.dtype === "i32" ? "x" : x.dtype === "bool" ? "b" : "v";
};

export function shortNames(k: KernelCode): ShortNames {
  const to = new Map(Object.entries(OURS));
  type Counts = Map<string, number>;
  const give = (name: string, stem: string, counts: Counts): void => {
    let made: string;
    do {
      const n = counts.get(stem) ?? 0;
      counts.set(stem, n + 1);
      made = n === 0 ? stem : `${stem}${n}`;
    } while (words.reserved.has(made));
    to.set(name, made);
  };
  const module: Counts = new Map();
  for (const [i, b] of k.buffers.entries()) give(b.name, "ABCDEFGHIJKLMNO"[i] ?? "O", module);
  for (const s of k.shared) give(s.name, "S", module);
  for (const o of k.overrides) give(o.name, "Z", module);
  const block = (list: readonly Stmt[], depth: number): void => {
    const counts: Counts = new Map();
    const at = depth === 0 ? "" : letters(depth - 1);
    // Where nothing is named, names within are no deeper: a kernel beside others is spelled as it is alone.
    const within = list.some((s) => "name" in s && s.k !== "set" && !isGroup(s)) ? depth + 1 : depth;
    for (const s of list) {
      if (s.k === "let" && s.group) to.set(s.name, depth === 0 && list === k.body ? "g1" : "g");
      else if (s.k === "let") give(s.name, kindOf(s.x) + at, counts);
      else if (s.k === "var") give(s.name, `c${at}`, counts);
      else if (s.k === "array") give(s.name, `t${at}`, counts);
      else if (s.k === "matrix") give(s.name, `m${at}`, counts);
      else if (s.k === "for") {
        // Loops of one block are over when the next begins.
        to.set(s.name, `k${at}`);
        block(s.body, depth + 1);
      } else if (s.k === "if") block(s.body, within);
    }
  };
  for (const f of k.functions) {
    give(f.name, "f", module);
    const counts: Counts = new Map();
    for (const q of f.params) give(q.name, "a", counts);
    block(f.body, 0);
  }
  block(k.body, 0);
  const fields = new Map(k.uniforms.map((u, i) => [u, `${WORD}${i + 1}`]));
  return {
    of: (name) => to.get(name) as string,
    field: (slot) => fields.get(slot) as string,
    groups: WORD,
    first: `${WORD}0`,
    block: "P",
  };
}

/** A text without needless blanks, and with the short names of types and of our own functions. */
export const squeezed = (text: string): string =>
  text
    .replace(/\bvec([24])<([fiu])32>/g, "vec$1$2")
    .replace(/\bvec3<u32>/g, "vec3u")
    .replace(/\bvec([24])<f16>/g, "vec$1h")
    .replace(/\bmdl_(\w+)_([14])\b/g, (_m, name: string, width: string) => name.replaceAll("_", "") + width)
    .replace(/(\d)\.0(?![\w.])/g, "$1.")
    // A constructor, an index and a sum that ends say what a number is.
    .replace(/\bvec4f\(0f?\)/g, "vec4f()")
    .replace(/\b(\d+|0x[\da-f]+)u(?=[)\]])/g, "$1")
    .replace(/\s+/g, " ")
    .replace(/ ?([^\w\s]) ?/g, "$1")
    .trim();
