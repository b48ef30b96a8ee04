// Steps of the library's optimisers and of what a train block says of its update, as kernels: what the reference evaluator gives,
// which PyTorch's figures judge (test/3-grad).
import { describe, expect, it } from "vitest";
import { dense } from "../../compiler/core/reference/evaluate.ts";
import { farthest } from "../support/groups.ts";
import { compileText, testCompiled } from "../support/module.ts";
import { referenceNet } from "../support/reference.ts";

const SOURCE = `import { Linear } from "std/nn"
model M() {
  a = Linear(5, 4)
  b = Linear(4, 6)
  c = Linear(6, 3)
  fn loss(x: f32[N, 5], y: i32[N]) -> f32 { cross_entropy(x |> a |> tanh |> b |> tanh |> c, y) }
  fn sum_of(z: f32[N]) -> f32 { sum(a.weight) * sum(z) + sum(c.bias) }
}
train nadam_all for M { minimize loss; with nadam(lr = 0.02, weight_decay = 0.1); clip norm 0.5; report grad_norm }
train mixed     for M {
  minimize   loss
  with       muon(lr = 0.02, ns_steps = 2) for "*.weight"
  with       radam(lr = 0.03, betas = (0.9, 0.99))
  accumulate 2
  ema        0.5
  max_norm   0.8
}
train scaled for M { minimize sum_of; with sgd(lr = 1e-30); loss_scale 65536 }
`;
const compiled = () => compileText(SOURCE, { targets: ["cpu-subgroup", "baseline"] });
const module = testCompiled(compiled);
const x = (i: number) => Float32Array.from({ length: 35 }, (_, k) => Math.sin(5 * i + k));
const y = Int32Array.of(0, 2, 1, 2, 0, 1, 1);

describe("optimisers on the adapter", () => {
  it("take the reference's steps", async (context) => {
    const net = await module.load(context, { seed: 3 });
    const judge = referenceNet(compiled(), { seed: 3 });
    const agree = async (what: string): Promise<void> => {
      for (const path of ["a.weight", "a.bias", "b.weight", "c.weight", "c.bias"]) {
        const far = farthest(await net.parameter(path), judge.tensor(path).data);
        expect(far, `${what}: ${path}`).toBeLessThan(2e-5);
      }
    };
    for (const block of ["nadam_all", "mixed"]) {
      for (let i = 0; i < 4; i++) {
        const loss = await net.step(block, { x: x(i), y });
        const want = judge.step(block, { x: dense("f32", [7, 5], x(i)), y: dense("i32", [7], y) });
        expect(Math.abs(loss - want.loss.data[0]), `${block}, step ${i}`).toBeLessThan(2e-5);
      }
      await agree(block);
    }
    await net.call("mixed_swap_ema", {});
    judge.call("mixed_swap_ema", {});
    await agree("averages");
    await net.call("mixed_swap_ema", {});
    judge.call("mixed_swap_ema", {});
    await agree("averages back");
  });

  it("pass gradients over that leave the range when they are scaled, and take the next at a smaller scale", async (context) => {
    const net = await module.load(context, { seed: 3 });
    // The gradient of a.weight is 1e34 each: 65536 of it is infinite, 32768 is not.
    const z = Float32Array.of(0.5e34, 0.5e34);
    const before = await net.parameter("a.weight");
    await net.step("scaled", { z });
    const lower = before.map((w) => w - 1e4);
    const [scale] = await net.parameter("scaled.loss_scale");
    if (scale === 65536) {
      // WGSL lets a device cancel the scale, as NVIDIA's do: then nothing left the range, and the step is right.
      expect(farthest(await net.parameter("a.weight"), lower)).toBeLessThan(1e-2);
      return;
    }
    expect(scale).toBe(32768);
    expect(await net.parameter("a.weight")).toEqual(before);
    await net.step("scaled", { z });
    expect(farthest(await net.parameter("a.weight"), lower)).toBeLessThan(1e-2);
    expect([...(await net.parameter("scaled.scaled_steps"))]).toEqual([1]);
  });
});
