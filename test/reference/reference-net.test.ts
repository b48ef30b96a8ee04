// Training steps on the reference evaluator: PyTorch's losses, weights and running statistics over three steps, with its
// dropout masks; schedules, overrides and bad steps by closed forms.
import { describe, expect, it } from "vitest";
import { dense } from "../../compiler/core/reference/evaluate.ts";
import { figure } from "../support/figures.ts";
import { projectFile } from "../support/files.ts";
import { compileText } from "../support/module.ts";
import { denseTensors, referenceNet } from "../support/reference.ts";

const exact = { rtol: 1e-5, atol: 2e-6 };
const blocks = (model: string): string => `
train adam  for ${model} { minimize loss;  with adam(lr = 1e-3) }
train adamw for ${model} { minimize loss;  with adamw(lr = 1e-3, weight_decay = 0.01) }
train sgd   for ${model} { minimize loss;  with sgd(lr = 0.005, momentum = 0.9) }
`;

describe("three steps agree with PyTorch", () => {
  for (const name of ["convnet", "convnet_bn", "convnet_bn_dropout"]) {
    const f = figure(name);
    const model = f.info.model!;
    for (const run of Object.keys(f.info.optimizers!)) {
      it(`${name}: ${run}`, () => {
        const compiled = compileText(projectFile(f.info.source!) + blocks(model), {
          model,
          set: f.info.set,
          entries: [`${run}_step`],
          targets: ["baseline"],
        });
        const net = referenceNet(compiled, {
          seed: f.info.dropout?.seed,
          tensors: denseTensors(f.weights()),
        });
        for (let step = 1; step <= f.info.steps!; step++) {
          const inputs = Object.fromEntries(
            Object.entries(f.shapedInputs(step)).map(([key, { shape, data }]) => [
              key,
              dense(data instanceof Int32Array ? "i32" : "f32", shape, data),
            ]),
          );
          f.check(`${run}/${step}/loss`, net.step(run, inputs)["loss"].data, exact);
          const prefix = `${run}/${step}/state/`;
          for (const path of f.names(prefix)) f.check(prefix + path, net.tensor(path).data, exact);
        }
      });
    }
  }
});

describe("a step", () => {
  // d(x w)/dw = x: each step moves w by lr * x.
  const source = `
model M {
  param w: f32[] = constant(2.0)
  buffer seen: i32 = zeros()
  fn loss(x: f32[]) -> f32 { seen <- seen + 1; x * w }
  fn twice(x: f32[]) -> f32 { seen <- seen + 10; x * w * 2 }
}
train fit for M { minimize loss; with sgd(lr = exponential(1.0, 0.5)) }
`;
  const x = (value: number) => ({ x: dense("f32", [], [value]) });
  const compiled = compileText(source, { targets: ["baseline"] });

  it("follows its schedule, or the rate given, and keeps what it writes", () => {
    const net = referenceNet(compiled);
    expect(net.step("fit", x(0.25))["loss"].data[0]).toBe(0.5);
    expect(net.tensor("w").data[0]).toBe(1.75);
    net.step("fit", x(0.25));
    expect(net.tensor("w").data[0]).toBe(1.625);
    net.step("fit", x(0.25), { lr: 2 });
    expect(net.tensor("w").data[0]).toBe(1.125);
    expect(net.tensor("seen").data[0]).toBe(3);
    expect(net.call("twice", x(1))["twice"].data[0]).toBe(2.25);
    expect(net.tensor("seen").data[0]).toBe(13);
  });

  it("that is bad says so and leaves the parameters", () => {
    const net = referenceNet(compiled);
    net.step("fit", x(1));
    const { bad_step } = net.step("fit", x(Number.POSITIVE_INFINITY));
    expect([bad_step.data[0], net.tensor("w").data[0]]).toEqual([2, 1]);
    net.step("fit", x(1));
    expect(net.tensor("w").data[0]).toBe(0.75);
  });
});
