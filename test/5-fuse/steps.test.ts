// How many dispatches a training step is: what the project holds itself to, on GPUs and on software adapters.
import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/core/index.ts";
import { projectFile } from "../support/files.ts";

const targets = ["cpu-subgroup", "gpu-nvidia", "gpu"];

describe("dispatches of a training step", () => {
  it.each([
    { name: "ConvNet", file: "dsl-examples/convnet.mdl", model: "ConvNet", most: 24, nvidia: 24 },
    { name: "ResNet-20", file: "dsl-examples/resnet20.mdl", most: 116, nvidia: 116 },
    {
      name: "GPT of four blocks",
      file: "dsl-examples/transformer.mdl",
      model: "GPT",
      most: 110,
      nvidia: 110,
    },
    { name: "MobileNetV2", file: "bench/models/compile/mobilenetv2.mdl", most: 271, nvidia: 285 },
    // On gpu-nvidia products have a kernel of small tiles beside the one of large ones, with threads of their own number: fewer
    // stand beside others.
  ])("$name: $most at most", ({ file, model, most, nvidia }) => {
    const { report } = compile(projectFile(file), file, { model, entries: ["fit_step"], targets });
    expect(report.entries.map((e) => e.target)).toEqual(targets);
    for (const { target, nominalDispatches } of report.entries) {
      expect(nominalDispatches, target).toBeLessThanOrEqual(target === "gpu-nvidia" ? nvidia : most);
      expect(nominalDispatches, target).toBeGreaterThan(0);
    }
  });
});
