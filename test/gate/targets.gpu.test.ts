// The examples and the layers of the standard library on a GPU against PyTorch's figures: on the adapter's own target with
// gradients (the training step `plain` moves each parameter by its gradient) and running statistics; and on every target,
// forced, every example forwards and one figure with gradients: a software adapter takes seconds to compile a kernel that
// was written for another kind, hence one.
import { describe, it, type TestContext } from "vitest";
import { evaluate } from "../../compiler/core/reference/evaluate.ts";
import { targets } from "../support/adapter.ts";
import { allclose, type Tolerance } from "../support/allclose.ts";
import { modelOf } from "../support/check.ts";
import { layerSource, totalInputs } from "../support/figure-sources.ts";
import { type Figure, figure } from "../support/figures.ts";
import { projectFile } from "../support/files.ts";
import { parameter, signed } from "../support/hashing.ts";
import { type Net, type TestModule, testModule } from "../support/module.ts";
import { denseTensors } from "../support/reference.ts";
import { writeSafetensors } from "../support/safetensors.ts";

const close: Tolerance = { rtol: 1e-4, atol: 2e-5 };

const weightsOf = (f: Figure, prefix = ""): Uint8Array =>
  writeSafetensors(new Map([...f.weights()].map(([path, tensor]) => [prefix + path, tensor])));

const load = (context: TestContext, module: TestModule, weights: Uint8Array, target?: string): Promise<Net> =>
  module.load(context, { weights, ...(target === undefined ? {} : { target }) });

/** The step `plain`: w - w' for every parameter among the tensors `prefix`… of the figure; they are at `at` in the model. */
async function gradientsAgree(net: Net, f: Figure, prefix: string, at: string): Promise<void> {
  const before = f.weights();
  await net.step("plain", at === "" ? f.shapedInputs() : totalInputs(f));
  for (const path of f.names(prefix)) {
    const weight = before.get(path);
    if (weight === undefined) continue;
    const after = await net.parameter(at + path);
    const gradient = weight.data.map((w, i) => w - Number(after[i]));
    f.check(prefix + path, gradient, close);
  }
}

/** An example with a loss: logits, loss, gradients. */
function example(name: string): void {
  const f = figure(name);
  const plain = `train plain for ${f.info.model} { minimize loss;  with sgd(lr = 1.0) }\n`;
  const module = testModule(`${projectFile(f.info.source!)}\n${plain}`, {
    model: f.info.model,
    set: f.info.set,
    entries: ["logits", "loss", "plain_step"],
  });
  it(`${name}: results and gradients`, async (context) => {
    const net = await load(context, module, weightsOf(f));
    const inputs = f.shapedInputs();
    const first = Object.keys(inputs)[0];
    f.check("eval/result/logits", await net.call("logits", { [first]: inputs[first] }), close);
    f.check("eval/result/loss", await net.call("loss", inputs), close);
    await gradientsAgree(net, f, "eval/grad/", "");
  });
}

/** A layer of the standard library: results; gradients and running statistics in training where it has that mode. */
function layer(name: string, target?: string): void {
  const f = figure(name);
  const results = f.names("eval/result/");
  const mode = f.info.modes!.includes("train") ? "train" : "eval";
  const module = testModule(layerSource(f), {
    entries: ["call", "plain_step"],
    ...(target === undefined ? {} : { targets: [target] }),
  });
  it(`${name}: results and gradients`, async (context) => {
    const net = await load(context, module, weightsOf(f, "it."), target);
    const out = await net.results("call", f.inputs());
    for (const result of results) f.check(`eval/result/${result}`, out[result] ?? out["call"], close);
    await gradientsAgree(net, f, `${mode}/grad/`, "it.");
    for (const path of f.names(`${mode}/state/`)) {
      f.check(`${mode}/state/${path}`, await net.parameter(`it.${path}`), close);
    }
  });
}

describe("on the adapter's own target", () => {
  for (const name of ["mlp", "char_lstm", "gpt"]) example(name);
  const layers = [
    "residual",
    "residual_projection",
    "transformer_block",
    "multi_head_attention",
    "lstm",
    "gru",
  ];
  for (const name of layers) layer(name);

  it("GPT's cache gives one token at a time what the whole sequence gives", async (context) => {
    const f = figure("gpt");
    const options = { model: f.info.model, set: f.info.set, entries: ["next"] };
    const net = await load(context, testModule(projectFile(f.info.source!), options), weightsOf(f));
    const { data, shape } = f.expected("eval/result/logits");
    const [batch, length, vocab] = shape;
    const ids = f.inputs()["ids"] as Int32Array;
    for (let b = 0; b < batch; b++) {
      for (let at = 0; at < length; at++) {
        const row = b * length + at;
        const logits = await net.call("next", { id: ids.subarray(row, row + 1), at: Int32Array.of(at) });
        const name = `sequence ${b}, token ${at}`;
        allclose(logits, data.subarray(row * vocab, (row + 1) * vocab), { ...close, name });
      }
    }
  });

  it("ResNet-18 has PyTorch's logits at full size", async (context) => {
    const f = figure("resnet18");
    const module = testModule(projectFile(f.info.source!), { entries: ["logits"] });
    const net = await load(context, module, weightsOf(f));
    f.check("logits", await net.call("logits", f.inputs()), { rtol: 1e-3, atol: 1e-3 });
  });
});

for (const { name: target } of targets) {
  describe(`on ${target}`, () => {
    // The tiles of baseline are those of gpu in another size: gradients once for both (seconds of compiling each).
    if (target !== "baseline") layer("residual_projection", target);

    for (const [name, result] of [
      ["mlp", "eval/result/logits"],
      ["char_lstm", "eval/result/logits"],
      ["encoder", "eval/result/encode"],
      ["gpt", "eval/result/logits"],
      ["convnet", "logits"],
      ["convnet_bn", "logits"],
    ]) {
      const f = figure(name);
      const entry = result.split("/").at(-1)!;
      const module = testModule(projectFile(f.info.source!), {
        model: f.info.model,
        set: f.info.set,
        entries: [entry],
        targets: [target],
      });
      it(`${name}: ${entry}`, async (context) => {
        const net = await load(context, module, weightsOf(f), target);
        const [first, input] = Object.entries(f.shapedInputs(1))[0];
        f.check(result, await net.call(entry, { [first]: input }), close);
      });
    }

    // At a small size, against the reference evaluator, which the figures judge as well.
    for (const [name, set, shape] of [
      ["resnet20", { width: 4, depth: 1 }, [2, 3, 32, 32]],
      ["resnet18", { width: 4, size: 32, classes: 5 }, [2, 3, 32, 32]],
    ] as const) {
      const source = projectFile(`dsl-examples/${name}.mdl`);
      const module = testModule(source, { set, entries: ["logits"], targets: [target] });
      it(`${name}: logits`, async (context) => {
        const model = modelOf(source, { set });
        const specs = [...model.params, ...model.buffers.filter((b) => !b.internal)];
        const weights = new Map(
          specs.map((s) => [s.path, { shape: s.shape, data: parameter(s.path, s.shape) }]),
        );
        const x = signed("x", shape);
        const net = await load(context, module, writeSafetensors(weights), target);
        const { graph } = model.entries.find((e) => e.name === "logits")!;
        const given = denseTensors(weights);
        const expected = evaluate(graph, denseTensors(new Map([["x", { shape, data: x }]])), {
          params: given,
          state: given,
        }).results["logits"];
        allclose(await net.call("logits", { x }), expected.data, { ...close, shape: expected.shape });
      });
    }
  });
}
