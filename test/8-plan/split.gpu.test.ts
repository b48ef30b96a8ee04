// Operands larger than what a kernel binds, on a target that says it binds little: each dispatch keeps to it, and results and a
// step of a head on a frozen trunk are the reference's.
import { describe, expect, it } from "vitest";
import { type Target, targets } from "../../compiler/core/index.ts";
import { dense } from "../../compiler/core/reference/evaluate.ts";
import { bindEntry, type PlanLimits } from "../../runtime/core/plan.ts";
import { allclose } from "../support/allclose.ts";
import { integers, signed } from "../support/hashing.ts";
import { compileText, testCompiled } from "../support/module.ts";
import { referenceNet } from "../support/reference.ts";

const BYTES = 1 << 14;
const small = (t: Target): Target => ({
  ...t,
  requires: { ...t.requires, limits: { maxStorageBufferBindingSize: BYTES } },
});

const source = `import { Linear } from "std/nn"
model M {
  wide = Linear(48, 200)
  param back: f32[200, 40] = xavier_uniform()
  head = Linear(40, 5)
  frozen wide.*, back
  private fn features(x: f32[N, 48]) -> f32[N, 40] { relu(wide(x)) @ back |> tanh }
  fn scores(x: f32[N, 48]) -> f32[N, 5] { x |> features |> head }
  fn towards(x: f32[N, 48]) -> f32[N, 48] { grad(total, wrt = x)(x) }
  private fn total(x: f32[N, 48]) -> f32 { sum(features(x) ** 2) }
  private fn loss(x: f32[N, 48], y: i32[N]) -> f32 { cross_entropy(scores(x), y) }
}
train fit for M { minimize loss; with sgd(lr = 0.1) }`;

const limits: PlanLimits = {
  maxComputeWorkgroupsPerDimension: 65535,
  minUniformBufferOffsetAlignment: 256,
  maxStorageBufferBindingSize: BYTES,
  maxDispatchCost: 1e12,
};

describe.each(targets)("for $name", (target) => {
  it("no kernel binds more than the limit", () => {
    const bind = (of: Target): void => {
      const { artefact } = compileText(source, { targets: [of] });
      const [program] = artefact.programs;
      for (const entry of program.entries) bindEntry(program, entry, new Map([["N", 7]]), limits);
    };
    bind(small(target));
    expect(() => bind(target)).toThrow(/a tensor of 38400 bytes; this device binds 16384 at most/);
  });
});

it("results, gradients and a step are the reference's", async (context) => {
  const compiled = compileText(source, { targets: targets.map(small) });
  const net = await testCompiled(() => compiled).load(context, { seed: 3 });
  const reference = referenceNet(compiled, { seed: 3 });
  const [x, y] = [signed("x", [7, 48]), integers("y", [7], 5)];
  const exact = { x: dense("f32", [7, 48], x), y: dense("i32", [7], y) };
  for (const entry of ["scores", "towards"]) {
    const expected = reference.call(entry, { x: exact.x })[entry];
    allclose(await net.call(entry, { x }), expected.data, { rtol: 1e-4, atol: 1e-5, name: entry });
  }
  allclose([await net.step("fit", { x, y })], reference.step("fit", exact).loss.data, { rtol: 1e-5 });
  for (const path of ["head.weight", "wide.weight", "back"])
    allclose(await net.parameter(path), reference.tensor(path).data, { rtol: 1e-4, atol: 1e-6, name: path });
});
