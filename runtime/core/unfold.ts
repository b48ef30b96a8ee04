// A kernel's text as the compiler folded it (compiler/core/phases/9-emit/fold.ts), whole again.

/** The innermost fold first: each takes the first of its numbers' marks. */
export function unfold(text: string): string {
  let rest = text;
  for (let last = ""; rest !== last; ) {
    last = rest;
    rest = last.replace(/#(\d+):([^#$]*)\$/g, (_, count, body: string) =>
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
