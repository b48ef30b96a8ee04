// Repeats in short kernel texts: `fold` says them once, `unfold` says them again. In: texts. Out: the same, after both.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { brief } from "../../compiler/core/phases/9-emit/brief.ts";
import { fold } from "../../compiler/core/phases/9-emit/fold.ts";
import { unfold } from "../../runtime/core/unfold.ts";
import { compileText } from "../support/module.ts";

const lines = (n: number, line: (i: number) => string): string =>
  Array.from({ length: n }, (_, i) => line(i)).join("");
const named = (stem: string, i: number): string => (i === 0 ? stem : `${stem}${i}`);

describe("brief", () => {
  const kernel = (words: string, buffers: string, rest: string): string =>
    `enable subgroups;struct P{${words}a0:i32}@group(0)@binding(0)var<uniform>p:P;${buffers}var<workgroup>S:array<f32,8>;@compute@workgroup_size(64)fn main(@builtin(workgroup_id)w:vec3u,@builtin(num_workgroups)n:vec3u,@builtin(local_invocation_index)h:u32){let g=i32(w.x+w.y*n.x)+p.a0;if(g>=p.a){return;}let j=i32(h);${rest}}`;
  const binding = (i: number, how: string, name: string, type: string): string =>
    `@group(0)@binding(${i})var<storage,${how}>${name}:array<${type}>;`;

  it("says of bindings and of the beginning what is a kernel's own", () => {
    const text = kernel(
      "a:i32,a1:i32,",
      binding(1, "read", "A", "vec4f") + binding(2, "read_write", "B", "atomic<u32>"),
      "let x=i32(u32(j)/u32(p.a1));",
    );
    expect(brief(text)).toBe('#enable subgroups;2Lvec4fKatomic<u32>;":array<f32,8>;@64TRj)/X?));}');
    expect(unfold(brief(text))).toBe(text);
  });

  it.each([
    ["other words", kernel("a:i32,scale:f32,", binding(1, "read", "A", "f32"), "")],
    ["no buffers", kernel("a:i32,", "", "workgroupBarrier();")],
    ["no kernel", "let x=i32(u32(j)/4);"],
    ["its own letters", kernel("a:i32,", binding(1, "read", "A", "f32"), "let xK=1;let N=2;")],
    ["a sign of its own", `@64;${kernel("a:i32,", binding(1, "read", "A", "f32"), "")}`],
  ])("loses nothing of %s", (_what, text) => {
    expect(unfold(brief(text))).toBe(text);
  });
});

describe("folding", () => {
  it.each([
    [
      "a row of a tile",
      lines(8, (i) => `${named("c", i)}+=subgroupShuffle(v,${i})*l;`),
      "#8:c'+=subgroupShuffle(v,0')*l;$",
    ],
    [
      "rows of loads",
      lines(32, (i) => `${named("c", i)}+=subgroupShuffle(${named("v", i >> 3)},${i % 8})*l;`),
      "#4:#8:c''8+=subgroupShuffle(v'0',0')*l;$$",
    ],
    ["lists", `f(${lines(5, (i) => `a[${3 * i}],`)}b);`, "f(a[0],#4:a[3'3],$b);"],
    ["terms of a sum", `y=${lines(4, (i) => `s[${i}]+`)}z;`, "y=s[0]+#3:s[1']+$z;"],
    ["blocks", lines(4, (i) => `if(x<${i + 1}){y[${i}]=0;}`), "#4:if(x<1'){y[0']=0;}$"],
  ])("says once: %s", (_what, text, folded) => {
    expect(fold(text)).toBe(`#${folded}`);
    expect(unfold(`#${folded}`)).toBe(text);
  });

  it("leaves alone what does not go on evenly", () => {
    for (const text of [
      "a1=b1;a2=b4;a3=b9;a4=b8;",
      "x3=1;x2=1;x1=1;x0=1;",
      "let x=1;let y=2;",
      "p=p*x+8.3334519073e-3;p=p*x+4.1665795894e-2;",
      lines(4, (i) => `a${i}=${i}.5;`).replace("a0", "a00"),
    ])
      expect(fold(text)).toBe(`#${text}`);
  });

  it("does not touch what holds its own letters, as texts with an author's words may", () => {
    for (const text of [0, 1, 2, 3, 4].map((k) => lines(8, (i) => `it${"#$'?"[k] ?? "!"}${i};let x9=x8;`))) {
      expect(fold(text)).toBe(text);
      expect(unfold(text)).toBe(text);
    }
  });

  it.each([
    [
      "the next and the first of a name",
      "let x=a;let x1=b;let x2=c;let x=d;",
      "let x=a;let x=b;let x=c;let x?=d;",
    ],
    ["a leap over what a fold defined", "let x=1;let x5=2;let x3=1;", "let x=1;let x!4=2;let x!-3=1;"],
    ["those just before", "let x=1;let x1=x;let x2=x1+x;y=x2;", "let x=1;let x=x?1;let x=x?1+x?2;y=x?;"],
    ["not those far back", "let l9=1;f(l9,l5,l4,l);", "let l!9=1;f(l?,l?4,l4,l);"],
    ["each kind by itself", "let va=1;let x=va;let vb=va+x;", "let va=1;let x=va?;let vb=va?+x?;"],
    ["words of the block", "p.a+p.a1+p.a2*p.a2+p.a9+p.a10", "p.?0+p.?+p.?*p.?0+p.a9+p.?"],
    ["neither members nor types", "let x=w.x;let x1=n.x1+x(1)+x1<x;", "let x=w.x;let x=n.x1+x(1)+x1<x?1;"],
  ])("counts %s", (_what, text, counted) => {
    expect(fold(text)).toBe(`#${counted}`);
    expect(unfold(`#${counted}`)).toBe(text);
  });

  it("loses nothing of any text", () => {
    const token = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.constantFrom(
          "c",
          "la",
          "x",
          "let x",
          "p.a",
          "=",
          "+",
          ";",
          ";",
          ",",
          "{",
          "}",
          "[",
          "]",
          "(",
          ")",
          ".",
        ),
      },
      { weight: 3, arbitrary: fc.nat(12).map(String) },
      fc.constantFrom("1.5", "2.", "1e-8", "0x7f", "3u", "vec4f(", "i32", "-", "p.b", " ", "00", "!", "?"),
    );
    const body = fc.array(token, { minLength: 1, maxLength: 12 });
    // What repeats, with numbers that go on, in what does not.
    const counted = fc
      .tuple(body, fc.integer({ min: 1, max: 9 }), fc.nat(4))
      .map(([tokens, n, step]) =>
        lines(n, (i) => `${tokens.map((t) => (/^\d+$/.test(t) ? Number(t) + i * step : t)).join("")};`),
      );
    const text = fc
      .array(
        fc.oneof(
          body.map((t) => t.join("")),
          counted,
        ),
        { maxLength: 6 },
      )
      .map((t) => t.join(""));
    fc.assert(
      fc.property(text, (t) => unfold(fold(t)) === t),
      { numRuns: 3000, seed: 7 },
    );
    fc.assert(
      fc.property(text, fc.nat(5), (t, n) => unfold(fold(lines(n, () => t))) === lines(n, () => t)),
      { numRuns: 1000, seed: 8 },
    );
  });

  it("makes the kernels of a model half as long", () => {
    const { texts } = compileText(
      `import { Conv2d, Linear } from "std/nn"
      model M {
        conv = Conv2d(4, 8, 3, padding = 1)
        head = Linear(8 * 8 * 8, 5)
        fn logits(x: f32[N, 4, 8, 8]) { x |> conv |> relu |> flatten |> head }
      }`,
      { minify: true, targets: ["cpu-subgroup"] },
    ).artefact;
    const short = texts.map(brief);
    expect(short.map(unfold)).toEqual(texts);
    expect(short.map((t) => t[0]).join("")).toMatch(/^#+$/);
    expect(short.join("").length).toBeLessThan(0.5 * texts.join("").length);
  });
});
