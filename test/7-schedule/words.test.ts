// Kernels that differ in which of their words are equal are one kernel, and one text.
import { describe, expect, it } from "vitest";
import { cpuSubgroup, gpu } from "../../compiler/core/targets.ts";
import { compileText } from "../support/module.ts";

const product = (name: string, rows: number, terms: number, columns: number): string =>
  `  fn ${name}(a: f32[${rows}, ${terms}], b: f32[${terms}, ${columns}]) -> f32[${rows}, ${columns}] { a @ b }`;
const model = (...products: readonly string[]): string => `model M() {\n${products.join("\n")}\n}`;

describe.each([cpuSubgroup, gpu])("a program for $name", (target) => {
  const compiled = (source: string) => {
    const { artefact } = compileText(source, { targets: [target], verify: true });
    return { kernels: artefact.programs[0].kernels, texts: artefact.texts };
  };

  it("has one kernel for a square matrix and for one that is not, whichever comes first", () => {
    const list = [product("p", 640, 480, 480), product("q", 640, 320, 480)];
    for (const order of [list, [...list].reverse()])
      expect(compiled(model(...order)).kernels.map((k) => k.name)).toEqual(["dot"]);
  });

  it("tells apart what either of two does", () => {
    const one = compiled(model(product("p", 640, 640, 320)));
    const two = compiled(model(product("p", 640, 640, 320), product("q", 320, 640, 640)));
    expect(two.kernels).toHaveLength(1);
    expect(two.kernels[0].uniformWords).toBeGreaterThan(one.kernels[0].uniformWords);
    const [, words] = /struct Params \{ (.*?) \}/.exec(two.texts[0]) ?? [];
    const names = words.split(", ").map((w) => w.split(":")[0]);
    expect(new Set(names).size).toBe(names.length);
  });

  it("keeps kernels apart that compute something else", () => {
    const source = model(
      product("p", 640, 640, 320),
      "  fn q(a: f32[320, 640], b: f32[640, 640]) -> f32[320, 640] { a @ transpose(b) }",
    );
    expect(compiled(source).kernels).toHaveLength(2);
  });
});
