// Calls of operators drawn at random on the adapter: kernels of every target, results and gradients, against the reference
// evaluator; NaN and infinity among the values, and weights in few bits. Many calls are one module. The seed and the counts are
// printed.
import { describe, expect, it } from "vitest";
import { targets } from "../support/adapter.ts";
import { firstSeed, patient } from "../support/budget.ts";
import { testDevice } from "../support/device.ts";
import { runDrawn } from "../support/operator-runs.ts";

const CASES = 40;
const STORED = 8;

describe.each(targets.map((target, i) => ({ name: target.name, target, i })))("on $name", ({ target, i }) => {
  it("drawn calls of operators are what the reference says", async (context) => {
    const { device } = await testDevice(context);
    const seed = firstSeed(100_000) + i * CASES;
    const rounds = patient ? 10 : 1;
    for (let k = 0; k < rounds; k++) {
      const { wrong, ...counts } = await runDrawn(device, target, seed + 1000 * k, CASES);
      console.log(
        `operators drawn from seed ${seed + 1000 * k} for ${target.name}: ${JSON.stringify(counts)}`,
      );
      expect(wrong).toEqual([]);
      expect(counts.cases).toBeGreaterThan(CASES / 2);
    }
  });

  it("calls with weights stored in 16, 8 and 4 bits are what these stand for gives", async (context) => {
    const { device } = await testDevice(context);
    const seed = firstSeed(200_000) + i * STORED;
    const { wrong, ...counts } = await runDrawn(device, target, seed, STORED * (patient ? 4 : 1), "stored");
    console.log(`with stored weights from seed ${seed} for ${target.name}: ${JSON.stringify(counts)}`);
    expect(wrong).toEqual([]);
    expect(counts.stored).toBe(counts.cases);
    expect(counts.stored).toBeGreaterThan(0);
  });
});
