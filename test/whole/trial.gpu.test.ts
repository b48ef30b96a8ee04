// Models as a PyTorch user writes them (test/trial) on the adapter against PyTorch's figures: forward values, the loss, and what
// one training step adds to each parameter and running statistic. A software adapter takes seconds to compile a model's
// kernels, so an ordinary run takes those that are made of the rarest things; MDL_TEST_SECONDS takes all, on every target.
import { describe, it, type TestContext } from "vitest";
import { targets } from "../support/adapter.ts";
import { patient } from "../support/budget.ts";
import { testCompiled } from "../support/module.ts";
import { writeSafetensors } from "../support/safetensors.ts";
import { compileTrial, figureAgrees, trialFigures, trialWeights } from "../support/trial-figures.ts";

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
      await figureAgrees(name, f, compiled, () => module.load(context, { weights, target }));
    });
  });
