// Models as a PyTorch user writes them (test/trial), forward and one training step each, by the reference evaluator against
// PyTorch's figures: what the language means by them, and their gradients, before any kernel. trial.gpu.test.ts runs kernels.
import { describe, expect, it } from "vitest";
import type { Compiled } from "../../compiler/core/index.ts";
import type { Dense } from "../../compiler/core/ir/types.ts";
import { dense } from "../../compiler/core/reference/evaluate.ts";
import { referenceNet } from "../support/reference.ts";
import {
  checkSummary,
  compileTrial,
  trialFigures,
  trialInputs,
  trialWeights,
} from "../support/trial-figures.ts";

/** As the evaluator takes them. */
const denseOf = (operands: ReturnType<typeof trialInputs>): Record<string, Dense> =>
  Object.fromEntries(
    Object.entries(operands).map(([name, { dtype, shape, data }]) => [name, dense(dtype, shape, data)]),
  );

describe.each(Object.entries(trialFigures))("%s", (name, f) => {
  const weights = trialWeights(f);
  const tensors = Object.fromEntries(
    [...weights].map(([path, { shape, data }]) => [path, dense("f32", shape, data)]),
  );
  let made: Compiled | undefined;
  const compiled = (): Compiled => (made ??= compileTrial(f, { targets: ["baseline"] }));

  it("has PyTorch's parameters, forward values, loss, gradients and running statistics", () => {
    const own = [
      ...compiled().artefact.params,
      ...compiled().artefact.state.filter((s) => s.role === "buffer"),
    ];
    expect(Object.fromEntries(own.map((p) => [p.path, p.shape]))).toEqual(f.parameters);

    for (const [entry, { inputs, results }] of Object.entries(f.entries)) {
      const net = referenceNet(compiled(), { tensors });
      const out = net.call(entry, denseOf(trialInputs(f, compiled(), entry, inputs)));
      for (const [result, summary] of Object.entries(results))
        checkSummary(`${name} ${entry}`, result, out[result].data, summary, 1e-6, 1e-6);
    }
    for (const [block, { inputs, loss, added }] of Object.entries(f.steps)) {
      const net = referenceNet(compiled(), { tensors });
      const out = net.step(block, denseOf(trialInputs(f, compiled(), `${block}_step`, inputs)));
      expect(Math.abs(out.loss.data[0] - loss)).toBeLessThan(1e-6 * Math.max(1, Math.abs(loss)));
      for (const [path, summary] of Object.entries(added)) {
        const before = (weights.get(path) as { data: Float32Array }).data;
        const delta = net.tensor(path).data.map((x, i) => x - before[i]);
        checkSummary(`${name} ${block}`, path, delta, summary, 1e-5, 1e-5);
      }
    }
  });
});
