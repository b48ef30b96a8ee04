// Models as a PyTorch user writes them (test/trial) on the adapter against PyTorch's figures: forward values, the loss, and what
// one training step adds to each parameter and running statistic. A software adapter takes seconds to compile a model's
// kernels, so an ordinary run takes those that are made of the rarest things; MDL_TEST_SECONDS takes all, on every target.
import { describe, expect, it, type TestContext } from "vitest";
import type { Compiled } from "../../compiler/core/index.ts";
import { targets } from "../../compiler/core/targets.ts";
import { patient } from "../support/budget.ts";
import { type Net, testCompiled } from "../support/module.ts";
import { writeSafetensors } from "../support/safetensors.ts";
import {
  checkSummary,
  compileTrial,
  type TrialFigure,
  trialFigures,
  trialInputs,
  trialWeights,
} from "../support/trial-figures.ts";

/** Second derivatives, loops with attention inside, one network called twice, many tensors in one kernel, lookups, masks. */
const USUAL = [
  "seq2seq",
  "siamese",
  "pinn",
  "maml",
  "dqn",
  "tabular",
  "nerf",
  "tagger",
  "custom",
  "gcn",
  "bert",
  "ctc",
];

for (const [name, f] of Object.entries(trialFigures).filter(([name]) => patient || USUAL.includes(name)))
  describe(name, () => {
    const own = patient ? targets.map((t) => t.name) : ["own"];
    it.for(own)("agrees with PyTorch, target %s", async (name_, context: TestContext) => {
      const target = name_ === "own" ? undefined : name_;
      const compiled = compileTrial(f, target === undefined ? {} : { targets: [target] });
      const module = testCompiled(() => compiled);
      const weights = writeSafetensors(trialWeights(f));
      await agrees(name, f, compiled, () => module.load(context, { weights, target }));
    });
  });

async function agrees(
  name: string,
  f: TrialFigure,
  compiled: Compiled,
  load: () => Promise<Net>,
): Promise<void> {
  const net = await load();
  for (const [entry, { inputs, results }] of Object.entries(f.entries)) {
    const out = await net.results(entry, trialInputs(f, compiled, entry, inputs));
    for (const [result, summary] of Object.entries(results))
      checkSummary(`${name} ${entry}`, result, out[result], summary, 1e-4, 1e-4);
  }
  net.base.dispose();
  for (const [block, { inputs, loss, added }] of Object.entries(f.steps)) {
    const trained = await load();
    const got = await trained.step(block, trialInputs(f, compiled, `${block}_step`, inputs));
    expect(Math.abs(got - loss)).toBeLessThan(1e-4 * Math.max(1, Math.abs(loss)));
    for (const [path, summary] of Object.entries(added)) {
      const before = (trialWeights(f).get(path) as { data: Float32Array }).data;
      const after = await trained.parameter(path);
      const delta = Array.from(before, (x, i) => Number(after[i]) - x);
      checkSummary(`${name} ${block}`, path, delta, summary, 1e-3, 1e-4);
    }
    trained.base.dispose();
  }
}
