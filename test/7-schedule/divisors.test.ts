// Sizes that short kernels divide by are constants of their pipelines, on every target; those of kernels that run once are not.
import { describe, expect, it } from "vitest";
import { targets } from "../../compiler/core/targets.ts";
import { compileText } from "../support/module.ts";

describe.each(targets)("on $name", (target) => {
  const kernelsOf = (source: string) =>
    compileText(source, { targets: [target], verify: true }).artefact.programs[0].kernels;

  it("a pool has them as constants", () => {
    const source = "model M() { fn f(x: f32[N, 12, 40, 40]) -> f32[N, 12, 20, 20] { max_pool2d(x, 2) } }";
    const [pool] = kernelsOf(source);
    // Columns of a row, and of an image.
    expect(Object.values(pool.constants ?? {})).toEqual([20, 400]);
  });

  it("two pools of other sizes are two pipelines of one text", () => {
    const fn = (name: string, size: number): string =>
      `fn ${name}(x: f32[N, 12, ${2 * size}, ${2 * size}]) -> f32[N, 12, ${size}, ${size}] { max_pool2d(x, 2) }`;
    const kernels = kernelsOf(`model M() {\n${fn("f", 20)}\n${fn("g", 28)}\n}`);
    expect(kernels).toHaveLength(2);
    expect(kernels[0].text).toBe(kernels[1].text);
    expect(kernels[0].constants).not.toEqual(kernels[1].constants);
  });
});

it("a weight that is copied once has none on a software adapter", () => {
  const [target] = targets;
  const source = `model M() {
  param w: f32[96, 160] = zeros()
  fn f(x: f32[N, 160]) -> f32[N, 96] { x @ transpose(w) }
}`;
  const kernels = compileText(source, { targets: [target] }).artefact.programs[0].kernels;
  const copy = kernels.find((k) => k.name.startsWith("copy"));
  expect(copy).toBeDefined();
  expect(copy?.constants).toBeUndefined();
});
