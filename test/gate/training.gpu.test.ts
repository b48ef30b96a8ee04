// The gate's training figures: three steps of Adam (AdamW, SGD) on ConvNet and its batch-norm variant give PyTorch's losses,
// gradients and weights; what is predicted after them uses the new weights; and a part of MNIST is learned.
import { describe, expect, it } from "vitest";
import { allclose } from "../support/allclose.ts";
import { type Figure, figure, type WeightTensor } from "../support/figures.ts";
import { projectFile } from "../support/files.ts";
import { probe } from "../support/hashing.ts";
import { type Net, testModule } from "../support/module.ts";
import { writeSafetensors } from "../support/safetensors.ts";
import { normalized, readMnist, sharedData } from "../support/shared-data.ts";

/** Train blocks for the tests; `plain` makes a step of the gradient itself: w - w' = g. */
const trainBlocks = (model: string): string => `
train adam  for ${model} { minimize loss;  with adam(lr = 1e-3) }
train adamw for ${model} { minimize loss;  with adamw(lr = 1e-3, weight_decay = 0.01) }
train sgd   for ${model} { minimize loss;  with sgd(lr = 0.005, momentum = 0.9) }
train plain for ${model} { minimize loss;  with sgd(lr = 1.0) }
`;

/** Weights before step `step` of a figure's run. */
function stateBefore(f: Figure, run: string, step: number): Map<string, WeightTensor> {
  if (step === 1) return f.weights();
  const prefix = `${run}/${step - 1}/state/`;
  return new Map(f.names(prefix).map((path) => [path, f.expected(prefix + path)]));
}

async function stepsAgree(net: Net, f: Figure, run: string): Promise<void> {
  for (let step = 1; step <= f.info.steps!; step++) {
    f.check(`${run}/${step}/loss`, [await net.step(run, f.inputs(step))], { rtol: 1e-4 });
    const prefix = `${run}/${step}/state/`;
    for (const path of f.names(prefix)) {
      f.check(prefix + path, await net.parameter(path), { rtol: 1e-4, atol: 2e-5 });
    }
  }
  // Predicting after training: derived weights (a folded batch norm, packed ones) are those of the new parameters.
  const logits = await net.call("logits", { x: f.inputs(1)["x"] });
  f.check(`${run}/after/logits`, logits, { rtol: 1e-4, atol: 1e-4 });
}

async function gradientsAgree(net: Net, f: Figure, run: string, step: number): Promise<void> {
  const before = stateBefore(f, run, step);
  await net.step("plain", f.inputs(step));
  const prefix = `${run}/${step}/grad/`;
  for (const path of f.names(prefix)) {
    const after = await net.parameter(path);
    const gradient = before.get(path)!.data.map((w, i) => w - after[i]);
    f.check(prefix + path, gradient, { rtol: 1e-4, atol: 1e-5 });
  }
}

for (const name of ["convnet", "convnet_bn"]) {
  const f = figure(name);
  const model = f.info.model!;
  const steps = [...Object.keys(f.info.optimizers!), "plain"].map((block) => `${block}_step`);
  const module = testModule(projectFile(f.info.source!) + trainBlocks(model), {
    model,
    set: f.info.set,
    entries: ["logits", "loss", ...steps],
  });

  describe(`training ${name}`, () => {
    it("starts from PyTorch's logits and loss", async (context) => {
      const net = await module.load(context, { weights: writeSafetensors(f.weights()) });
      const inputs = f.inputs(1);
      f.check("logits", await net.call("logits", { x: inputs["x"] }), { rtol: 1e-4, atol: 2e-5 });
      f.check("loss", await net.call("loss", inputs));
    });

    for (const run of Object.keys(f.info.optimizers!)) {
      it(`takes three steps of ${run} like PyTorch`, async (context) => {
        await stepsAgree(await module.load(context, { weights: writeSafetensors(f.weights()) }), f, run);
      });
    }

    for (const step of [1, 2, 3]) {
      it(`has PyTorch's gradients at step ${step}`, async (context) => {
        const weights = writeSafetensors(stateBefore(f, "adam", step));
        await gradientsAgree(await module.load(context, { weights }), f, "adam", step);
      });
    }
  });
}

// The masks are drawn as the figures' script draws them: bits are equal everywhere.
for (const name of ["convnet_dropout", "convnet_bn_dropout"]) {
  const f = figure(name);
  const model = f.info.model!;
  const module = testModule(projectFile(f.info.source!) + trainBlocks(model), {
    model,
    set: f.info.set,
    entries: ["logits", "adam_step"],
  });

  it(`three steps of ${name} with the figure's masks`, async (context) => {
    const weights = writeSafetensors(f.weights());
    await stepsAgree(await module.load(context, { weights, seed: f.info.dropout!.seed }), f, "adam");
  });
}

describe("ConvNet at full size", () => {
  const f = figure("convnet_full");
  const source = projectFile(f.info.source!) + trainBlocks("ConvNet");
  const entries = ["logits", "plain_step"];
  const module = testModule(source, { model: "ConvNet", set: f.info.set, entries });

  it("has PyTorch's logits, loss and gradients", async (context) => {
    const weights = f.weights();
    const net = await module.load(context, { weights: writeSafetensors(weights) });
    const inputs = f.inputs();
    f.check("logits", await net.call("logits", { x: inputs["x"] }), { rtol: 1e-4, atol: 2e-5 });
    f.check("loss", [await net.step("plain", inputs)]);
    for (const [path, expected] of Object.entries(f.info.gradients!)) {
      const after = await net.parameter(path);
      const gradient = Float64Array.from(weights.get(path)!.data, (w, i) => w - after[i]);
      const norm = Math.sqrt(gradient.reduce((sum, g) => sum + g * g, 0));
      const atol = 1e-5 * expected.norm;
      const first = gradient.subarray(0, expected.first.length);
      allclose(first, expected.first, { name: `first of ${path}'s gradient`, atol });
      allclose([norm], [expected.norm], { name: `norm of ${path}'s gradient` });
      allclose([probe(path, gradient)], [expected.probe], {
        name: `probe of ${path}'s gradient`,
        atol: 10 * atol,
      });
    }
  });
});

describe("MNIST", () => {
  const source = projectFile("dsl-examples/convnet.mdl") + trainBlocks("ConvNet");
  const entries = ["accuracy", "adam_step"];
  const module = testModule(source, { model: "ConvNet", set: { width: 8 }, entries });

  it("is learned, in part, from one pass over 3200 images with dropout", async (context) => {
    const folder = sharedData(context, "datasets", "mnist");
    const train = readMnist(folder, "train");
    const test = readMnist(folder, "t10k");
    const net = await module.load(context, { seed: 1 });
    const losses: number[] = [];
    for (let from = 0; from < 3200; from += 32) {
      const x = normalized(train, from, from + 32, [0.1307], [0.3081]);
      const y = Int32Array.from(train.labels.subarray(from, from + 32));
      losses.push(await net.step("adam", { x, y }));
    }
    const mean = (v: readonly number[]): number => v.reduce((a, b) => a + b, 0) / v.length;
    expect(mean(losses.slice(-10))).toBeLessThan(mean(losses.slice(0, 10)) / 2);
    const x = normalized(test, 0, 1000, [0.1307], [0.3081]);
    const y = Int32Array.from(test.labels.subarray(0, 1000));
    expect((await net.call("accuracy", { x, y }))[0]).toBeGreaterThan(0.8);
  });
});
