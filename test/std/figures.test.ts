// Examples and layers of the standard library against PyTorch's figures, on the reference evaluator: results and gradients
// of one call, in eval and train mode, with the running statistics that training leaves.
import { describe, expect, it } from "vitest";
import { evaluate } from "../../compiler/core/reference/evaluate.ts";
import { modelOf } from "../support/check.ts";
import { gradientNames, layerSource } from "../support/figure-sources.ts";
import { type Figure, figure } from "../support/figures.ts";
import { projectFile } from "../support/files.ts";
import { denseDirections, denseInputs, denseWeights, withGradients } from "../support/reference.ts";

const exact = { rtol: 1e-6, atol: 1e-6 };

describe("examples agree with PyTorch", () => {
  for (const name of ["mlp", "encoder", "char_lstm", "gpt"]) {
    const f = figure(name);
    const model = () => modelOf(projectFile(f.info.source!), { model: f.info.model, set: f.info.set });
    const results = f.names("eval/result/");
    const weights = denseWeights(f);
    const data = { params: weights, state: weights };

    it(`${name}: results`, () => {
      for (const result of results) {
        const { graph } = model().entries.find((e) => e.name === result)!;
        f.check(`eval/result/${result}`, evaluate(graph, denseInputs(f), data).results[result].data, exact);
      }
    });

    it(`${name}: gradients`, () => {
      const last = results.includes("loss") ? "loss" : results[0];
      const graph = withGradients(model().entries.find((e) => e.name === last)!.graph);
      const inputs = { ...denseInputs(f), ...denseDirections(f, [last]) };
      const out = evaluate(graph, inputs, data).results;
      for (const path of f.names("eval/grad/")) {
        f.check(`eval/grad/${path}`, out[`gradient ${path}`].data, exact);
      }
    });
  }
});

describe("layers agree with PyTorch", () => {
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
    const weights = denseWeights(f, "it.");
    const data = { params: weights, state: weights };
    const inputs = { ...denseInputs(f), ...denseDirections(f, results) };
    const model = modelOf(layerSource(f));
    const graphOf = (entry: string) => model.entries.find((e) => e.name === entry)!.graph;

    it(`${name}: results`, () => {
      const out = evaluate(graphOf("call"), inputs, data).results;
      for (const result of results) {
        f.check(`eval/result/${result}`, (out[result] ?? out["call"]).data, exact);
      }
    });

    it(`${name}: gradients, asked for in the language`, () => {
      gradientNames(f).forEach((path, i) => {
        const entry = `gradient${i}`;
        f.check(`eval/grad/${path}`, evaluate(graphOf(entry), inputs, data).results[entry].data, exact);
      });
    });

    if (f.info.modes?.includes("train")) {
      it(`${name}: gradients and running statistics in training`, () => {
        const out = evaluate(withGradients(model.trains[0].lossGraph), inputs, data);
        expect(out.results["loss"].data[0]).toBeCloseTo(weighted(f), 4);
        for (const path of f.names("train/grad/")) {
          const key = f.info.inputs[path] ? path : `it.${path}`;
          f.check(`train/grad/${path}`, out.results[`gradient ${key}`].data, exact);
        }
        for (const path of f.names("train/state/")) {
          f.check(`train/state/${path}`, out.writes[`it.${path}`].data, exact);
        }
      });
    }
  }
});

/** What `total` is in training: the figure's results along their directions. */
function weighted(f: Figure): number {
  let sum = 0;
  for (const name of f.names("train/result/")) {
    const { data, shape } = f.expected(`train/result/${name}`);
    const direction = f.direction(name, shape);
    data.forEach((v, i) => {
      sum += v * direction[i];
    });
  }
  return sum;
}
