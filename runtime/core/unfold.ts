// A kernel's text as the compiler folded it and counted its names (compiler/core/phases/9-emit/fold.ts and count.ts), whole
// again.

export function unfold(text: string): string {
  if (text[0] !== "#") return text;
  let word = 0;
  const last: Record<string, number> = {};
  let rest = text
    .slice(1)
    .replace(
      /\bp\.(?:\?(\d*)|a((?:[1-9]\d{0,8})?)(?!\w))|(?<!\.)\b(let )?([xlbv][a-z]?)(\?\d*|!-?\d+|(?:[1-9]\d{0,8})?)(?![\w(:<.])/g,
      (_, by, field, defines, stem, number) => {
        if (!stem) {
          word = field === undefined ? word + (by === "" ? 1 : +by) : +field;
          return `p.a${word || ""}`;
        }
        const before = last[stem] ?? -1;
        const n = number.slice(1);
        let at = +number;
        if (number[0] === "?") at = defines ? 0 : before - n;
        else if (number[0] === "!") at = before + 1 + +n;
        else if (defines) at = before + 1;
        if (defines) last[stem] = at;
        return (defines ?? "") + stem + (at || "");
      },
    );
  // The innermost fold first: each takes the first of its numbers' marks.
  for (let old = ""; rest !== old; ) {
    old = rest;
    rest = old.replace(/#(\d+):([^#$]*)\$/g, (_, count, body: string) =>
      Array.from({ length: count }, (_, i) =>
        body.replace(
          /([A-Za-z]?)(\d*)'(\d*)([\d']*)/g,
          (_, letter, n, step, rest) =>
            letter + (+n + i * (step === "" ? 1 : step) || (letter ? "" : 0)) + rest,
        ),
      ).join(""),
    );
  }
  return rest;
}
