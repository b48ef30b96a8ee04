// No kernel of the examples keeps registers in memory on any chip: compiled by the chips' own compilers (bench/estimate), where
// those are on this machine; nothing is fetched for it. `npm run bench -- --estimate navi21,a6000` fetches them.
import { describe, expect, it, type TestContext } from "vitest";
import { targetFor } from "../../bench/estimate/calls.ts";
import { chips } from "../../bench/estimate/chips.ts";
import { MachineCodes } from "../../bench/estimate/machine-code.ts";
import { dawnParts, isMissing, nvidiaParts } from "../../bench/estimate/parts.ts";
import { type ExampleKernel, exampleKernels, spillsOf } from "../../bench/estimate/spills.ts";
import { patient } from "../support/budget.ts";

/** What an ordinary run looks at; MDL_TEST_SECONDS takes all examples. */
const USUAL = /^(convnet|lstm|mlp|resnet18|resnet20|transformer)\.mdl$/;

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
  const made = new Map<string, readonly ExampleKernel[]>();

  // All chips: `npm run bench -- --estimate all --spills`.
  for (const name of ["navi21", "navi31", "a6000"])
    it(`spill no register on ${name}`, { timeout: 900_000 }, (context) => {
      const codes = machineCodes(context, name);
      const chip = chips.find((c) => c.name === name)!;
      const target = targetFor(chip);
      const kernels = made.get(target) ?? exampleKernels(target, (file) => patient || USUAL.test(file));
      made.set(target, kernels);
      codes.prepare(kernels, () => {});
      const { spills, failed } = spillsOf(kernels, chip, codes);
      expect({ spills, failed }).toEqual({ spills: [], failed: [] });
    });
});
