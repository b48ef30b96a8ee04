// Sizes that a kernel divides by (again and again, or at all), as constants of its pipeline: one text still serves all
// layers, and the device's compiler sees a literal, by which it multiplies and shifts. In: a launch. Out: the same, with those
// of its words that are such sizes, and the same at every call, as overrides; and with them, in loops, small literals, which
// others have as words.
import { asConst } from "../dims/dim.ts";
import {
  type CodeFunction,
  expressionsOf,
  type KernelCode,
  partsOf,
  type Stmt,
  type UniformSlot,
  widen,
  type X,
} from "./code.ts";
import type { Launch } from "./launch.ts";
import { rewriting } from "./rewrite.ts";

/** Which divisions count: those in loops, or all. */
export type Divisors = "loops" | "all";

export function withOverrides(l: Launch, which: Divisors): Launch {
  const { words: hot, literals } = divisorsOf(l.code, which);
  const value = (i: number): number | undefined => {
    const n = asConst(l.uniforms[i]);
    // By an empty axis nothing divides: such a kernel does not run, and a device may refuse it.
    return n !== undefined && n > 0 && hot.has(l.code.uniforms[i]) ? n : undefined;
  };
  const chosen = l.code.uniforms.flatMap((slot, i) => {
    const n = value(i);
    return n === undefined ? [] : [{ slot, n }];
  });
  // Names of the house, which no label gives.
  const spelled = new Map([...new Set(literals.values())].map((n) => [n, { name: `mdl_by${n}` }]));
  if (chosen.length + spelled.size === 0) return l;
  // A word's name is a member's; a constant's stands beside those of buffers and variables, which users name.
  const taken = namesIn(l.code);
  const named = ({ name }: UniformSlot) => ({ name: taken.has(name) ? `mdl_${name}` : name });
  const overrides = new Map(chosen.map(({ slot }) => [slot, named(slot)]));
  const { stmt, fn } = rewriting({
    buffer: (b) => b,
    uniform: (x) => {
      const slot = overrides.get(x.slot);
      return slot ? { k: "override", slot, dtype: "i32", width: 1 } : x;
    },
    divisor: (by, x) => {
      const n = literals.get(x);
      const slot = n === undefined ? undefined : spelled.get(n);
      return slot ? widen({ k: "override", slot, dtype: "i32", width: 1 }, by.width) : by;
    },
  });
  const code: KernelCode = {
    ...l.code,
    uniforms: l.code.uniforms.filter((u) => !overrides.has(u)),
    overrides: [...overrides.values(), ...spelled.values()],
    functions: l.code.functions.map(fn),
    body: l.code.body.map(stmt),
  };
  return {
    ...l,
    code,
    uniforms: l.uniforms.filter((_, i) => value(i) === undefined),
    overrides: [...chosen.map(({ n }) => n), ...spelled.keys()],
  };
}

/**
 * Small sizes that are written as they are elsewhere (`dim` of the emitter), and are constants here: layers of other sizes divide by
 * words, and have the same text then. 3, which is a window's side in most layers, stays text: as a constant it makes modules longer.
 */
const HELD: readonly number[] = [2, 4];

/** Everything that a kernel declares beside its words. */
function namesIn(code: KernelCode): ReadonlySet<string> {
  const names = new Set([...code.buffers, ...code.shared].map((x) => x.name));
  const visit = (s: Stmt): void => {
    if ("name" in s) names.add(s.name);
    if ("body" in s) for (const b of s.body) visit(b);
  };
  for (const f of code.functions) {
    for (const { name } of [f, ...f.params]) names.add(name);
    for (const s of f.body) visit(s);
  }
  for (const s of code.body) visit(s);
  return names;
}

/**
 * Words that are divided by, and divisions by literals that are held: anywhere, or in a loop and in functions that a loop
 * calls. Elsewhere a division is soon over.
 */
function divisorsOf(
  code: KernelCode,
  which: Divisors,
): { readonly words: ReadonlySet<UniformSlot>; readonly literals: ReadonlyMap<X, number> } {
  const words = new Set<UniformSlot>();
  const literals = new Map<X, number>();
  const called = new Set<string>();
  const seen = new Set<X>();
  const expr = (x: X): void => {
    if (seen.has(x)) return;
    seen.add(x);
    if (x.k === "call" && x.fn.startsWith("fn:")) called.add(x.fn.slice(3));
    if (x.k === "bin" && x.dtype === "i32" && (x.op === "/" || x.op === "%")) {
      const by = x.b.k === "splat" ? x.b.a : x.b;
      if (by.k === "uniform") words.add(by.slot);
      if (which === "loops" && by.k === "lit" && HELD.includes(by.value)) literals.set(x, by.value);
    }
    const parts = partsOf(x);
    for (let i = 0; i < parts.length; i++) expr(parts[i]);
  };
  const stmt = (s: Stmt, inLoop: boolean): void => {
    switch (s.k) {
      case "for":
        for (const b of s.body) stmt(b, true);
        return;
      case "if":
        if (inLoop) expr(s.cond);
        for (const b of s.body) stmt(b, inLoop);
        return;
      default:
        if (inLoop) for (const x of expressionsOf(s)) expr(x);
        if (inLoop && s.k === "run") called.add(s.fn);
    }
  };
  for (const s of code.body) stmt(s, which === "all");
  // A function is declared before those that call it.
  const all: CodeFunction[] = [...code.functions].reverse();
  for (const f of all) {
    const inLoop = which === "all" || called.has(f.name);
    for (const s of f.body) stmt(s, inLoop);
    if (inLoop && f.result) expr(f.result);
  }
  return { words, literals };
}
