// Kernels that differ in which of their words are equal (a layer with as many inputs as outputs, and one with others) are one:
// what tells apart all words that one of them does serves all, with one value for several words. In: the routines of a
// program. Out: the same, with fewer kernels.
import { type Block, eachBlock } from "../../ir/blocks.ts";
import type { KernelCode, UniformSlot } from "../../kernel/code.ts";
import { shapeOf } from "../../kernel/key.ts";
import { type Launch, mapLaunches, type Routine, type Step } from "../../kernel/launch.ts";
import { rewriting } from "../../kernel/rewrite.ts";

/** `look` is shown every kernel that is made for it. */
export function shareWords(
  routines: readonly Block<Routine>[],
  look?: (code: KernelCode) => void,
): Block<Routine>[] {
  const byShape = new Map<string, Set<KernelCode>>();
  for (const routine of routines)
    for (const { own } of eachBlock(routine))
      for (const { code } of own.steps.flatMap(launchesOf)) {
        const { text } = shapeOf(code);
        const alike = byShape.get(text) ?? new Set();
        byShape.set(text, alike.add(code));
      }
  const instead = new Map<KernelCode, Instead>();
  for (const alike of byShape.values()) {
    if (alike.size === 1) continue;
    const code = unite([...alike], instead);
    if (!alike.has(code)) look?.(code);
  }

  return mapLaunches(routines, (l) => {
    const to = instead.get(l.code);
    return to ? { ...l, code: to.code, uniforms: to.words.map((w) => l.uniforms[w]) } : l;
  });
}
const launchesOf = (s: Step): readonly Launch[] =>
  s.kind === "launch" || s.kind === "prepare" ? (s.launches?.list ?? []) : [];

/** The code that stands for another one, and which of the other's words each of its own is. */
interface Instead {
  readonly code: KernelCode;
  readonly words: readonly number[];
}

/** The one for kernels of one shape: a word for each set of places at which none of them tells words apart. */
function unite(codes: readonly KernelCode[], instead: Map<KernelCode, Instead>): KernelCode {
  const words = codes.map((code) => shapeOf(code).words);
  const wordOf = new Map<string, number>();
  // By word, where it is read first.
  const first: number[] = [];
  const at = words[0].map((_, place) => {
    const key = words.map((w) => w[place]).join();
    let word = wordOf.get(key);
    if (word === undefined) {
      word = wordOf.size;
      wordOf.set(key, word);
      first.push(place);
    }
    return word;
  });
  const finest = codes.findIndex(
    (code, i) => code.uniforms.length === first.length && new Set(words[i]).size === first.length,
  );
  const code = codes[finest] ?? withWords(codes[0], at, first);
  const order = finest < 0 ? first : code.uniforms.map((_, word) => words[finest].indexOf(word));
  for (const [i, own] of codes.entries())
    if (own !== code) instead.set(own, { code, words: order.map((place) => words[i][place]) });
  return code;
}

/** The code with a word of its own at each place: `at` tells which, `first` where each of them is read first. */
function withWords(code: KernelCode, at: readonly number[], first: readonly number[]): KernelCode {
  const before = shapeOf(code).words;
  const names = new Set<string>();
  const uniforms = first.map((place): UniformSlot => {
    const { dim, name } = code.uniforms[before[place]];
    let own = name;
    for (let n = 1; names.has(own); n++) own = `${name}_${n}`;
    names.add(own);
    return { dim, name: own };
  });
  let place = 0;
  const { stmt, fn } = rewriting({
    buffer: (b) => b,
    uniform: (x) => ({ ...x, slot: uniforms[at[place++]] }),
    apart: true,
  });
  return { ...code, uniforms, functions: code.functions.map(fn), body: code.body.map(stmt) };
}
