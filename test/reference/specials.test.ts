// NaN, infinity and the like as PyTorch has them: the reference evaluator, values and gradients.
import { expect, it } from "vitest";
import { dense, evaluate } from "../../compiler/core/reference/evaluate.ts";
import { compileText } from "../support/module.ts";
import { differences, specialModel } from "../support/specials.ts";

it("the reference evaluator agrees with PyTorch at special values", () => {
  const { source, specials } = specialModel();
  const { model } = compileText(source, { targets: [] });
  const wrong: string[] = [];
  for (const special of specials) {
    const inputs = Object.fromEntries(
      Object.entries(special.inputs).map(([n, a]) => [n, dense(a.dtype, a.shape, a.data)]),
    );
    for (const name of special.entries) {
      const entry = model.entries.find((e) => e.name === name);
      if (!entry) throw new Error(`no entry ${name}`);
      const { results } = evaluate(entry.graph, inputs, { roundFloats: true });
      for (const [k, v] of Object.entries(results)) wrong.push(...differences(special, k, v.data));
    }
  }
  expect(wrong).toEqual([]);
});
