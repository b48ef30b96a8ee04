// Matrices of a subgroup (7-schedule/contraction/matrix.ts), without a device that has them: what is asked for, when, and that Dawn
// takes the real texts. What they compute, test/gpu/matrices.test.ts says.
import { describe, expect, it } from "vitest";
import { targetsWith } from "../../compiler/cli/tune/table.ts";
import { compile, type Diagnostic, MdlError, type Target } from "../../compiler/core/index.ts";
import { gpu, gpuMatrix, withPrecision } from "../../compiler/core/targets.ts";
import { nullDevice, shaderErrors } from "../support/device.ts";
import { projectFile } from "../support/files.ts";
import { compileText } from "../support/module.ts";
import { errorsOf } from "../support/shaders.ts";

const target = withPrecision(gpuMatrix, "f16");
const FEATURE = "chromium-experimental-subgroup-matrix";
const PRODUCT = "model M() { fn f(x: f32[N, 64], y: f32[64, 48]) -> f32[N, 48] { x @ y } }";

describe("the texts", () => {
  it.each([
    ["convnet", "ConvNetBN"],
    ["resnet18", "ResNet18"],
    ["transformer", "GPT"],
  ])("of %s, %s, and of its training step, are what Dawn takes", async (file, model) => {
    const source = projectFile(`dsl-examples/${file}.mdl`);
    const { artefact } = compile(source, `${file}.mdl`, { model, targets: [target], verify: true });
    const [program] = artefact.programs;
    const own = program.kernels.filter((k) => artefact.texts[k.text].includes("subgroup_matrix"));
    expect(own.length).toBeGreaterThan(0);
    for (const k of own) {
      // For the subgroup's number; the others are the program's.
      expect(k.features).toEqual(["subgroups"]);
      expect(artefact.texts[k.text]).toMatch(/subgroupMatrixLoad[\s\S]*subgroupMatrixStore/);
      // The uniformity of what all lanes must share is Dawn's to find out.
      expect(artefact.texts[k.text]).not.toContain("diagnostic");
    }
    const steps = program.entries.filter((e) => e.name.endsWith("_step"));
    for (const { body } of steps)
      expect(body.steps.some((s) => s.kind === "dispatch" && own.includes(program.kernels[s.kernel]))).toBe(
        true,
      );
    expect(await errorsOf(artefact, target.name)).toEqual([]);
  });

  // The emulation (test/support/matrices.ts) takes a stride to lie between rows where they are side by side, and between columns
  // else, and a left factor to be [rows, depth]: so do the least strides that Dawn allows.
  it.each([
    ["left<f16, 8, 16>", "row_major", 16],
    ["left<f16, 8, 16>", "col_major", 32],
    ["right<f16, 8, 16>", "row_major", 16],
    ["right<f16, 8, 16>", "col_major", 32],
  ])("%s, %s, has lines of %i bytes", async (type, order, bytes) => {
    const { device } = await nullDevice("experimental");
    const code = `enable f16; enable chromium_experimental_subgroup_matrix;
var<workgroup> a: array<f16, 1024>;
@compute @workgroup_size(128) fn main() { let m = subgroupMatrixLoad<subgroup_matrix_${type}, ${order}>(&a, 0, 1); }`;
    expect((await shaderErrors(device, code)).join()).toContain(`the minimum stride (${bytes} bytes)`);
  });
});

describe("the target", () => {
  const kernels = (of: Target, source = PRODUCT): string =>
    compileText(source, { targets: [of] }).emit("kernels", of.name);

  it("is asked for by name, and with f16", () => {
    for (const asked of ["gpu-matrix", gpuMatrix, withPrecision(gpuMatrix, "f16-weights")]) {
      let problems: readonly Diagnostic[] = [];
      try {
        compile(PRODUCT, "m.mdl", { targets: [asked] });
      } catch (error) {
        if (!(error instanceof MdlError)) throw error;
        problems = error.diagnostics;
      }
      expect(problems).toHaveLength(1);
      expect(problems[0]).toMatchObject({
        code: "E0606",
        help: expect.stringContaining("take --precision f16"),
      });
      expect(problems[0].message).toMatch(/^the target gpu-matrix(-f16-weights)? is for products in f16/);
    }
    expect(compile(PRODUCT, "m.mdl").artefact.programs.map((p) => p.target)).not.toContain("gpu-matrix");
  });

  it("comes before the others, as the command line asks, and has no program without f16", () => {
    const asked = targetsWith([], ["gpu", "gpu-matrix"], "f16");
    const { artefact } = compile(PRODUCT, "m.mdl", { targets: asked });
    expect(artefact.programs.map((p) => p.target)).toEqual(["gpu-matrix-f16", "gpu-f16", "gpu"]);
    // Weights alone are not enough, which is said once.
    expect(targetsWith([], ["gpu-matrix"], "f16-weights")).toHaveLength(1);
    const [first, ...others] = artefact.programs;
    expect(first.requires).toMatchObject({ features: [FEATURE, "shader-f16"], subgroupSize: 32 });
    for (const p of others) expect(JSON.stringify(p)).not.toContain(FEATURE);
  });

  it("has matrices where factors fill them and may be rounded", () => {
    const has = /contraction\.matrix/;
    expect(kernels(target)).toMatch(has);
    expect(kernels(withPrecision(gpu, "f16"))).not.toMatch(has);
    const product = (m: string, k: number, n: number): string =>
      `model M() { fn f(x: f32[${m}, ${k}], y: f32[${k}, ${n}]) -> f32[${m}, ${n}] { x @ y } }`;
    expect(kernels(target, product("N", 64, 15))).not.toMatch(has);
    expect(kernels(target, product("15", 64, 64))).not.toMatch(has);
    expect(kernels(target, product("N", 15, 64))).not.toMatch(has);
    expect(kernels(target, product("16", 16, 16))).toMatch(has);
  });

  it("keeps what loops and gradients of the caller's compute in f32", () => {
    const source = `model M() {
  param w: f32[32, 32] = ones()
  fn f(x: f32[N, 32]) -> f32 { sum((x @ w) ** 2) }
}
train own for M { minimize f; gradients }
train fit for M { minimize f; with sgd(lr = 0.1) }`;
    const of = (entry: string): string =>
      compileText(source, { targets: [target], entries: [entry] }).emit("kernels", target.name);
    expect(of("f")).toMatch(/contraction\.matrix/);
    expect(of("fit_step")).toMatch(/contraction\.matrix/);
    expect(of("own_gradients")).toMatch(/contraction\.tile/);
    expect(of("own_gradients")).not.toMatch(/contraction\.matrix/);
  });
});
