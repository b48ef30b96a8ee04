// Every target, forced, against PyTorch's figures: examples, layers of the standard library, their gradients (the training
// step `plain` moves each parameter by its gradient) and running statistics.
import { describe, it } from "vitest";
import { targets } from "../../compiler/core/targets.ts";
import { allclose, type Tolerance } from "../support/allclose.ts";
import { layerSource, totalInputs } from "../support/figure-sources.ts";
import { type Figure, figure } from "../support/figures.ts";
import { projectFile } from "../support/files.ts";
import { type Inputs, type Net, testModule } from "../support/module.ts";
import { writeSafetensors } from "../support/safetensors.ts";

const close: Tolerance = { rtol: 1e-4, atol: 2e-5 };

/** The weights of a figure with empty caches for GPT's blocks, which PyTorch's model does not have. */
function withCaches(f: Figure): Uint8Array {
  const weights = f.weights();
  const { depth, heads, context, d } = f.info.set as Record<string, number>;
  for (let i = 0; i < (depth ?? 0) && heads !== undefined; i++) {
    for (const name of ["keys", "values"]) {
      const shape = [1, heads, context, d / heads];
      weights.set(`blocks.${i}.${name}`, { shape, data: new Float32Array(context * d) });
    }
  }
  return writeSafetensors(weights);
}

/** Takes the step `plain`; w - w' for every path of `prefix` of the figure, in place of `at`. */
async function gradientsAgree(
  net: Net,
  name: string,
  prefix: string,
  at: string,
  inputs: Inputs,
): Promise<void> {
  const f = figure(name);
  const before = f.weights();
  await net.step("plain", inputs);
  for (const path of f.names(prefix)) {
    const weight = before.get(path);
    if (weight === undefined) continue;
    const after = await net.parameter(at + path);
    const gradient = weight.data.map((w, i) => w - Number(after[i]));
    f.check(prefix + path, gradient, close);
  }
}

for (const target of targets.map((t) => t.name)) {
  describe(`on ${target}, examples agree with PyTorch`, () => {
    for (const name of ["mlp", "char_lstm", "gpt"]) {
      const f = figure(name);
      const plain = `train plain for ${f.info.model} { minimize loss;  with sgd(lr = 1.0) }\n`;
      const module = testModule(`${projectFile(f.info.source!)}\n${plain}`, {
        model: f.info.model,
        set: f.info.set,
        entries: ["logits", "loss", "plain_step"],
        targets: [target],
      });

      it(name, async (context) => {
        const net = await module.load(context, { target, weights: withCaches(f) });
        const inputs = f.shapedInputs();
        const first = Object.keys(inputs)[0];
        f.check("eval/result/logits", await net.call("logits", { [first]: inputs[first] }), close);
        f.check("eval/result/loss", await net.call("loss", inputs), close);
        await gradientsAgree(net, name, "eval/grad/", "", inputs);
      });
    }

    const encoder = figure("encoder");
    const module = testModule(projectFile(encoder.info.source!), {
      model: encoder.info.model,
      set: encoder.info.set,
      targets: [target],
    });

    it("encoder", async (context) => {
      const net = await module.load(context, { target, weights: writeSafetensors(encoder.weights()) });
      encoder.check("eval/result/encode", await net.call("encode", encoder.shapedInputs()), close);
    });
  });

  describe(`on ${target}, layers agree with PyTorch`, () => {
    const layers = [
      "residual",
      "residual_projection",
      "transformer_block",
      "multi_head_attention",
      "lstm",
      "gru",
    ];
    for (const name of layers) {
      const f = figure(name);
      const results = f.names("eval/result/");
      const mode = f.info.modes!.includes("train") ? "train" : "eval";
      const module = testModule(layerSource(f), { entries: ["call", "plain_step"], targets: [target] });

      it(name, async (context) => {
        const weights = new Map([...f.weights()].map(([path, tensor]) => [`it.${path}`, tensor]));
        const net = await module.load(context, { target, weights: writeSafetensors(weights) });
        const out = await net.results("call", f.inputs());
        for (const result of results) f.check(`eval/result/${result}`, out[result] ?? out["call"], close);
        await gradientsAgree(net, name, `${mode}/grad/`, "it.", totalInputs(f));
        for (const path of f.names(`${mode}/state/`)) {
          f.check(`${mode}/state/${path}`, await net.parameter(`it.${path}`), close);
        }
      });
    }
  });
}

describe("a cache", () => {
  const f = figure("gpt");
  const module = testModule(projectFile(f.info.source!), {
    model: f.info.model,
    set: f.info.set,
    entries: ["next"],
  });

  it("gives GPT one token at a time what the whole sequence gives", async (context) => {
    const net = await module.load(context, { weights: withCaches(f) });
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
});

describe("ResNet-18", () => {
  const f = figure("resnet18");
  const module = testModule(projectFile(f.info.source!), { entries: ["logits"] });

  it("has PyTorch's logits at full size", async (context) => {
    const net = await module.load(context, { weights: writeSafetensors(f.weights()) });
    f.check("logits", await net.call("logits", f.inputs()), { rtol: 1e-3, atol: 1e-3 });
  });
});
