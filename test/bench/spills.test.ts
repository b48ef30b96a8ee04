// No kernel of the examples keeps registers in memory on any chip: compiled by the chips' own compilers (bench/estimate), where
// those are on this machine; nothing is fetched for it. `npm run bench -- --estimate navi21,a6000` fetches them.
import { describe, expect, it, type TestContext } from "vitest";
import { chips } from "../../bench/estimate/chips.ts";
import { type KernelText, MachineCodes } from "../../bench/estimate/machine-code.ts";
import { dawnParts, isMissing, nvidiaParts } from "../../bench/estimate/parts.ts";
import { build, check } from "../../compiler/core/index.ts";
import { patient } from "../support/budget.ts";
import { allSources } from "../support/sources.ts";

/** What an ordinary run looks at; MDL_TEST_SECONDS takes all examples. */
const USUAL = /^(convnet|lstm|mlp|resnet18|resnet20|transformer)\.mdl$/;

/** Every kernel of the models of the examples on a target, each text with its constants once. */
function examples(target: string): (KernelText & { readonly name: string })[] {
  const all = new Map<string, KernelText & { readonly name: string }>();
  const files = allSources().flatMap(({ file, text }) =>
    file.startsWith("dsl-examples/") ? [{ file: file.slice("dsl-examples/".length), text }] : [],
  );
  for (const { file, text } of files.filter((f) => patient || USUAL.test(f.file))) {
    const resolve = (path: string): string | undefined => files.find((f) => f.file === path)?.text;
    for (const model of check(text, file, { resolve }).models!) {
      const { artefact } = build(model, { targets: [target], source: { file, text } });
      for (const { name, text: index, constants } of artefact.programs[0].kernels) {
        const code = artefact.texts[index];
        all.set(code + JSON.stringify(constants ?? {}), {
          name: `${file}: ${model.name}: ${name}`,
          code,
          constants,
        });
      }
    }
  }
  return [...all.values()];
}

function machineCodes(context: TestContext, chip: string): MachineCodes {
  const dawn = dawnParts();
  if (isMissing(dawn)) return context.skip(dawn.missing);
  const nvidia = nvidiaParts();
  const wanted = chips.filter((c) => c.name === chip);
  if (wanted[0].vendor === "nvidia" && isMissing(nvidia)) return context.skip(nvidia.missing);
  return new MachineCodes(dawn, nvidia, wanted);
}

describe("kernels of the examples", () => {
  // Made where there is a compiler to look at them.
  const made = new Map<string, ReturnType<typeof examples>>();

  for (const name of ["navi21", "navi31", "a6000"])
    it(`spill no register on ${name}`, { timeout: 900_000 }, (context) => {
      const codes = machineCodes(context, name);
      const chip = chips.find((c) => c.name === name)!;
      // What the chip is given.
      const target = chip.vendor === "nvidia" ? "gpu-nvidia" : "gpu";
      const kernels = made.get(target) ?? examples(target);
      made.set(target, kernels);
      codes.prepare(kernels, () => {});
      const found: string[] = [];
      for (const kernel of kernels) {
        const compiled = codes.compiled(kernel, chip);
        if ("error" in compiled) found.push(`${kernel.name} does not compile: ${compiled.error}`);
        else if (compiled.machine.spilled > 0)
          found.push(`${kernel.name}: ${compiled.machine.spilled} registers`);
      }
      expect(found).toEqual([]);
    });
});
