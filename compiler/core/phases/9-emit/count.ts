// Numbers of a short kernel text, said by counting from the last one. In: a text, folded (fold.ts). Out: the same, in which
// kernels that do the same after they did different things are the same text; `unfold` (runtime/core/unfold.ts) reads it.
//
// `let x=` is the next x, `let x?=` the first, `let x!3=` the next but three; elsewhere `x?` is the last one that was defined,
// `x?2` the one two before. `p.?` is the word of the uniform block behind the last one that was read, `p.?0` the same again.
// What is further off stands there as it is.

/** The words, and the names of values (backends/wgsl/short.ts). */
const COUNTED = /\bp\.a(|[1-9]\d{0,8})(?!\w)|(?<!\.)\b(let )?([xlbv][a-z]?)(|[1-9]\d{0,8})(?![\w(:<.])/g;

/** Names further back are said as they are: most are of the beginning, which all kernels have in common. */
const NEAR = 4;

export function countBack(text: string): string {
  let word = 0;
  const last = new Map<string, number>();
  return text.replace(
    COUNTED,
    (all, field: string | undefined, defines: string | undefined, stem, number) => {
      if (field !== undefined) {
        const by = Number(field) - word;
        word = Number(field);
        return by === 1 ? "p.?" : by === 0 ? "p.?0" : all;
      }
      const n = Number(number);
      const before = last.get(stem) ?? -1;
      if (!defines) return n > before || n < before - NEAR ? all : `${stem}?${before - n || ""}`;
      last.set(stem, n);
      const over = n - before - 1;
      return `let ${stem}${over === 0 ? "" : n === 0 ? "?" : `!${over}`}`;
    },
  );
}
