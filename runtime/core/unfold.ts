// A kernel's text as a module holds it (compiler/core/phases/9-emit: brief.ts, fold.ts and count.ts), whole again.

/** What kernels say often, by the letter that stands for it; no kernel has these letters otherwise. Longer ones come first. */
export const PHRASES: Readonly<Record<string, string>> = {
  I: "(a:i32,a1:i32,a2:i32,",
  J: "subgroupShuffle(",
  N: "*p.?",
  Q: "workgroupBarrier();",
  R: "i32(u32(",
  T: ";let x=",
  U: "for(var ",
  V: "select(",
  W: "vec4f(",
  X: "u32(p.",
  Y: "let ",
  '"': "var<workgroup>S",
  "~": "vec4<bool>(",
};

/** How a kernel of `$1` threads begins. */
export const BEGIN =
  "@compute@workgroup_size($1)fn main(@builtin(workgroup_id)w:vec3u,@builtin(num_workgroups)n:vec3u,@builtin(local_invocation_index)h:u32){let g=i32(w.x+w.y*n.x)+p.a0;if(g>=p.a){return;}let j=i32(h);";

/** The block of a dispatch's words, of which the first says where its workgroups end. */
export const blockText = (words: number): string =>
  `struct P{${Array.from({ length: words }, (_, i) => `a${i || ""}:i32,`).join("")}a0:i32}@group(0)@binding(0)var<uniform>p:P;`;

/** The `i`th buffer, up to its type: `K` is written, `L` is not. */
export const bufferText = (i: number, how: string): string =>
  `@group(0)@binding(${i})var<storage,read${how === "K" ? "_write" : ""}>${String.fromCharCode(64 + i)}:array<`;

/** How the buffers are bound, as a whole text says it. */
export const accessOf = (text: string): ("read" | "read_write")[] =>
  Array.from(text.matchAll(/var<storage, ?(\w+)/g), ([, how]) => how as "read");

export function unfold(text: string): string {
  if (text[0] !== "#") return text;
  let word = 0;
  const last: Record<string, number> = {};
  let rest = text
    .slice(1)
    .replace(/[IJNQRT-Y"~]/g, (letter) => PHRASES[letter])
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
  return rest
    .replace(/(\d+)((?:[KL][^KL;]+)+);/, (_, words, types: string) => {
      let i = 0;
      const buffers = types.replace(/(.)([^KL]+)/g, (_, how, type) => `${bufferText(++i, how)}${type}>;`);
      return blockText(words) + buffers;
    })
    .replace(/@(\d+);/, BEGIN);
}
