// Every shader that the compiler emits is valid, as it reads and minified: examples, layers' training steps and random
// graphs, for each target, on Dawn's null backend. `baseline` gets what every WebGPU device has: default limits and no feature.
import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/core/index.ts";
import { build } from "../../compiler/core/pipeline.ts";
import { gpuMatrix, targets as kinds, withPrecision } from "../../compiler/core/targets.ts";
import { budget, firstSeed, untilTimeIsUp } from "../support/budget.ts";
import { projectFile } from "../support/files.ts";
import { modelOfGraphs } from "../support/graphs.ts";
import { randomGraph } from "../support/random-graphs.ts";
import { errorsOf } from "../support/shaders.ts";

const examples: readonly (readonly [string, string])[] = [
  ["mlp", "MLP"],
  ["convnet", "ConvNet"],
  ["convnet", "ConvNetBN"],
  ["resnet20", "ResNet20"],
  ["resnet18", "ResNet18"],
  ["transformer", "Encoder"],
  ["transformer", "GPT"],
  ["lstm", "CharLSTM"],
];

const targets = [...kinds, withPrecision(gpuMatrix, "f16")];
describe.each(targets.map((t) => t.name))("shaders for %s", (target) => {
  it.each(examples)(
    "of %s, %s",
    async (file, wanted) => {
      const source = projectFile(`dsl-examples/${file}.mdl`);
      const model = new RegExp(`^model ${wanted}\\b`, "m").test(source) ? wanted : undefined;
      for (const minify of [false, true]) {
        const { artefact } = compile(source, `${file}.mdl`, {
          model,
          targets: targets.filter((t) => t.name === target),
          minify,
        });
        expect(artefact.programs[0].kernels.length).toBeGreaterThan(0);
        expect(await errorsOf(artefact, target)).toEqual([]);
      }
    },
    60_000,
  );

  it("of random graphs", async () => {
    const n = await untilTimeIsUp(budget(6), firstSeed(300_000), 100, async (seed) => {
      const { graph } = randomGraph(seed, { gradients: true, steps: 10 });
      for (const minify of [false, true]) {
        const { artefact } = build(modelOfGraphs([graph]), {
          targets: targets.filter((t) => t.name === target),
          minify,
          place: () => "",
        });
        const [wrong] = await errorsOf(artefact, target);
        if (wrong) throw new Error(wrong);
      }
    });
    expect(n).toBeGreaterThan(3);
  }, 60_000);
});
