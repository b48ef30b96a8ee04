// Whatever passes `check` compiles: kernels that would bind too much, or whose text would never end, are cut into several.
// The programs are such as people write; Dawn looks at each kernel of each target.
import { describe, expect, it } from "vitest";
import { budget, firstSeed, untilTimeIsUp } from "../support/budget.ts";
import { compileText } from "../support/module.ts";
import { random } from "../support/mutate.ts";
import { errorsOf } from "../support/shaders.ts";
import { randomWide, wide } from "../support/wide.ts";

/** WebGPU's least: storage buffers of a kernel. */
const BUFFERS = 8;

async function fits(source: string): Promise<void> {
  const { artefact } = compileText(source);
  for (const program of artefact.programs) {
    for (const kernel of program.kernels) {
      expect(kernel.access.length, `${program.target} ${kernel.name}`).toBeLessThanOrEqual(BUFFERS);
      // A structure has 1,023 members at most.
      expect(kernel.uniformWords).toBeLessThan(1000);
      expect(artefact.texts[kernel.text].length).toBeLessThan(64_000);
    }
    expect(await errorsOf(artefact, program.target), program.target).toEqual([]);
  }
}

describe("kernels that would read too much", () => {
  for (const [name, source] of Object.entries(wide)) it(name, () => fits(source), 120_000);

  it("random models of many operands", async () => {
    let compiled = 0;
    await untilTimeIsUp(budget(10), firstSeed(500_000), 40, async (seed) => {
      const next = random(seed);
      try {
        await fits(randomWide((below) => Math.floor(next() * below)));
        compiled++;
      } catch (error) {
        // The only thing to refuse here: a gradient of what does not depend on it.
        if (!/E1101/.test(String((error as Error).message))) throw error;
      }
    });
    expect(compiled).toBeGreaterThan(0);
  }, 120_000);

  it("nothing is cut that fits", () => {
    const count = (source: string): number =>
      compileText(source, { targets: ["gpu"] }).artefact.programs[0].entries[0].body.steps.length;
    const sum = (n: number): string => {
      const names = Array.from({ length: n }, (_, i) => `x${i}`);
      return `model M { fn f(${names.map((x) => `${x}: f32[N]`).join(", ")}) -> f32[N] { ${names.join(" + ")} } }`;
    };
    expect([7, 8, 13, 14].map((n) => count(sum(n)))).toEqual([1, 2, 2, 3]);
  });
});
