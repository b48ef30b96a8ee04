// The random programs' own tools, without an adapter: programs are the same for a seed and mostly pass the checker, what is
// wrong is found at each stage, and a failing program is made small.
import { describe, expect, it } from "vitest";
import { check } from "../../compiler/core/index.ts";
import { generateProgram } from "../support/programs/generate.ts";
import { sizesOf, tryProgram } from "../support/programs/run.ts";
import { shrink } from "../support/programs/shrink.ts";

const errors = (source: string): number =>
  check(source, "program.mdl").diagnostics.filter((d) => d.severity === "error").length;

describe("the generator", () => {
  const programs = Array.from({ length: 150 }, (_, seed) => generateProgram(seed));

  it("gives the same program for a seed", () => {
    expect(programs.slice(0, 5)).toEqual([0, 1, 2, 3, 4].map(generateProgram));
    expect(new Set(programs).size).toBe(programs.length);
  });

  it("writes what the checker takes, but for losses that reach nothing", () => {
    expect(programs.filter((p) => errors(p) === 0).length).toBeGreaterThan(100);
  });

  it("writes all that it is for", () => {
    const all = programs.join("\n");
    for (const what of [
      "scan ",
      "emit ",
      "for ",
      "if training",
      "buffer ",
      "<-",
      "f16[",
      "grad(",
      "bool[",
      "i32[",
      "attention(",
      "conv2d(",
      "max_pool2d(",
      "dropout(",
      "gather(",
      "concat(",
      "BatchNorm1d(",
      "LSTM(",
      "clip norm",
      "frozen",
      "report",
      "adamw(",
      ".weight = ",
      "op own",
      "N=0",
      "N=1",
    ])
      expect(all, what).toContain(what);
    // Loops in loops, several train blocks, entries of many inputs.
    expect(all).toMatch(/scan [^\n]*\n(?: {6}[^\n]*\n)*? {6}r\d+ = scan/);
    expect(programs.some((p) => (p.match(/^train /gm) ?? []).length > 1)).toBe(true);
    expect(programs.some((p) => /fn \w+\((?:\w+: [^:]*, ){8}/.test(p))).toBe(true);
  });
});

describe("a trial without a device", () => {
  const model = (body: string): string =>
    `// sizes N=2 T=3; N=0 T=1\nmodel M {\n  param w: f32[3] = ones()\n  fn loss(x: f32[N, 3]) -> f32 { ${body} }\n}\ntrain fit for M { minimize loss; with sgd(lr = 0.1) }\n`;

  it("reads sizes, passes what is right and tells what is refused", async () => {
    const source = model("mean(square(x * w))");
    expect(sizesOf(source)).toEqual([
      { N: 2, T: 3 },
      { N: 0, T: 1 },
    ]);
    expect(sizesOf(source.replace("\n", "\n// bound\n"))).toEqual([{ N: 2, T: 3 }]);
    expect(await tryProgram({ source })).toMatchObject({ status: "agreed" });
    expect(await tryProgram({ source: model("mean(x * v)") })).toMatchObject({ status: "refused" });
  });

  it("holds gradients against differences", async () => {
    // An operator whose author says that its gradient is twice what it is.
    const source = `op bad(x: f32) -> f32 { x * x }\ngrad (g) { g * 4 * x }\n${model("mean(bad(x * w))")}`;
    expect(await tryProgram({ source })).toMatchObject({
      status: "failed",
      failure: { kind: expect.stringContaining("gradient") },
    });
  });
});

describe("shrinking", () => {
  it("leaves what the failure needs, and what the checker needs", async () => {
    const source = generateProgram(3);
    const needed = /\b(\w+)\(/g;
    const word = [...source.matchAll(needed)]
      .map(([, name]) => name)
      .find((n) => n === "sum" || n === "tanh")!;
    const small = await shrink(source, async (text) => errors(text) === 0 && text.includes(`${word}(`), 20);
    expect(errors(small)).toBe(0);
    expect(small).toContain(`${word}(`);
    expect(small.length).toBeLessThan(source.length / 4);
  });
});
