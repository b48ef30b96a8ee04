// A target is one object: a program's author can bring one. Here a GPU whose subgroups have a known size, which the compiler
// does not ship: attention whole, products as register tiles, rows brought together by subgroup operations. An entry and
// training steps on the adapter beside the reference.
import { expect, it } from "vitest";
import { type Target, targets } from "../../compiler/core/index.ts";
import { dense } from "../../compiler/core/reference/evaluate.ts";
import { allclose } from "../support/allclose.ts";
import { testDevice } from "../support/device.ts";
import { signed } from "../support/hashing.ts";
import { compileText, testCompiled } from "../support/module.ts";
import { referenceNet } from "../support/reference.ts";

const gpu = targets.find((t) => t.name === "gpu") as Target;
const gpuSubgroup = (lanes: number): Target => ({
  ...gpu,
  name: "gpu-subgroup",
  requires: { features: ["subgroups"], limits: {}, subgroupSize: lanes },
  rowThreads: lanes,
  tile: { rows: 16, cols: 64, depth: 16, high: 4, wide: 4, slices: 1 },
  scattered: undefined,
});

const source = `import { LayerNorm, Linear } from "std/nn"
model M {
  proj = Linear(16, 24)
  norm = LayerNorm(8)
  head = Linear(8, 5)
  fn scores(x: f32[N, T, 16]) -> f32[N, T, 5] {
    (q, k, v) = split(proj(x), 3, axis = -1)
    attention(q, k, v, causal = true) |> norm |> head |> log_softmax
  }
  private fn loss(x: f32[N, T, 16], y: f32[N, T, 5]) -> f32 { mse_loss(scores(x), y) }
}
train fit for M { minimize loss; with sgd(lr = 0.1) }`;

it("compiles for a target of the host's own, and runs there", async (context) => {
  const { info, features } = await testDevice(context);
  const { subgroupMinSize: lanes, subgroupMaxSize: most } = info;
  if (!features.has("subgroups") || lanes !== most) return context.skip("no subgroups of one size");
  const compiled = compileText(source, { targets: ["baseline", gpuSubgroup(lanes)] });
  const net = await testCompiled(() => compiled).load(context);
  expect(net.base.target).toBe("gpu-subgroup");
  const kernels = compiled.emit("kernels", "gpu-subgroup");
  for (const family of ["attention", "contraction.subgroup", "rows"]) expect(kernels).toContain(family);
  expect(compiled.emit("wgsl", "gpu-subgroup")).toContain("subgroupAdd");

  const reference = referenceNet(compiled);
  const [x, y] = [signed("x", [3, 7, 16]), signed("y", [3, 7, 5])];
  const shaped = { x: { data: x, shape: [3, 7, 16] }, y: { data: y, shape: [3, 7, 5] } };
  const exact = { x: dense("f32", [3, 7, 16], x), y: dense("f32", [3, 7, 5], y) };
  const agree = async (): Promise<void> => {
    const got = await net.call("scores", { x: shaped.x });
    allclose(got, reference.call("scores", { x: exact.x }).scores.data, { rtol: 1e-4, atol: 1e-5 });
  };
  await agree();
  for (let i = 0; i < 3; i++) {
    const { loss } = reference.step("fit", exact);
    allclose([await net.step("fit", shaped)], loss.data, { rtol: 1e-4, atol: 1e-6 });
  }
  await agree();
});

it("asks that each target have a name of its own", () => {
  expect(() => compileText(source, { targets: ["gpu", { ...gpu }] })).toThrow(/two targets gpu/);
  expect(() => compileText(source, { targets: [gpuSubgroup(8), gpuSubgroup(32)] })).toThrow(
    /two targets gpu-subgroup/,
  );
  expect(() => compileText(source, { targets: ["abacus"] })).toThrow(/no target abacus/);
});
