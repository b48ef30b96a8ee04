// NaN, infinity and the like on the adapter as PyTorch has them: values and gradients of the kernels of every target.
import { describe, expect, it } from "vitest";
import { own, targets } from "../support/adapter.ts";
import { testModule } from "../support/module.ts";
import { differences, specialModel } from "../support/specials.ts";

/** Of f32. */
const LARGEST = (2 - 2 ** -23) * 2 ** 127;
const { source, specials } = specialModel();
const module = testModule(source);

describe.each(targets.map((t) => [t.name]))("on %s", (target) => {
  it("special values are PyTorch's", async (context) => {
    // Element-wise kernels are the same text everywhere: on the other targets the reductions are what is tried.
    const tried = specials.filter((s) => target === own.name || s.inputs.x?.shape.length !== 1);
    const net = await module.load(context, { target, entries: tried.flatMap((s) => s.entries) });
    const wrong: string[] = [];
    for (const special of tried) {
      const inputs = Object.fromEntries(
        Object.entries(special.inputs).map(([n, a]) => [
          n,
          { data: (a.dtype === "i32" ? Int32Array : Float32Array).from(a.data), shape: a.shape },
        ]),
      );
      for (const name of special.entries)
        for (const [k, v] of Object.entries(await net.results(name, inputs)))
          wrong.push(...differences(special, k, v));
    }
    // WGSL promises nothing of a division by more than 2 ** 126: an H100 multiplies by its reciprocal, which is 0.
    const promised = own.requires.adapter === "cpu" ? wrong : wrong.filter((w) => !w.includes(`${LARGEST}`));
    expect(promised).toEqual([]);
  });
});
