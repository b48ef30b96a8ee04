// Frozen parameters in a plan: no backward work, no optimiser state, no memory for what only their backward needs; as the source
// says it, or whoever compiles.
import { describe, expect, it } from "vitest";
import { compileText } from "../support/module.ts";

const source = (frozen = ""): string => `
import { BasicBlock, Conv2d, Linear } from "std/nn"
layer Trunk() {
  stem   = Conv2d(3, 32, 3, padding = 1)
  blocks = [BasicBlock(32, 32) for i in range(4)]
  fn forward(x: f32[N, 3, 16, 16]) { x |> stem |> relu |> blocks }
}
model Classifier {
  trunk = Trunk()
  head  = Linear(32, 10)
  fn loss(x: f32[N, 3, 16, 16], y: i32[N]) -> f32 { cross_entropy(mean(trunk(x), axes = [2, 3]) |> head, y) }
}
train fit for Classifier { minimize loss; ${frozen}with adam() }
`;

describe("a head on a frozen trunk", () => {
  const planned = (text: string, options: { freeze?: readonly string[] } = {}) => {
    const compiled = compileText(text, { targets: ["gpu"], bind: { N: 32 }, ...options });
    const { report, artefact } = compiled;
    const step = report.entries.find((e) => e.name === "fit_step")!;
    const moments = artefact.state.filter((s) => /exp_avg/.test(s.path)).reduce((n, s) => n + s.bytes, 0);
    return {
      plan: compiled.emit("plan", "gpu").split("entry fit_step")[1],
      dispatches: Number(step.dispatches),
      peak: step.memory[0].peak,
      moments,
    };
  };
  const all = planned(source());
  const frozen = planned(source("frozen trunk.*; "));

  it("goes back through the head alone", () => {
    expect(all.plan).toMatch(/trunk.*gradient of conv2d/);
    const backward = frozen.plan.split("\n").filter((line) => /in trunk.*gradient of/.test(line));
    expect(backward).toEqual([]);
    expect(frozen.dispatches).toBeLessThan(0.65 * all.dispatches);
  });
  it("has no moments for the trunk", () => {
    // The head's 330 numbers, twice, in whole rows.
    expect(all.moments).toBeGreaterThan(2 * 4 * 32 * 32 * 9 * 8);
    expect(frozen.moments).toBeLessThan(0.2 * all.moments);
  });
  it("holds no more than what a layer reads and makes", () => {
    // Stem, two of each block, and their norms' inputs: 16 of [32, 32, 16, 16]; forward, three at once.
    const whole = 32 * 32 * 16 * 16 * 4;
    expect(all.peak).toBeGreaterThan(12 * whole);
    expect(frozen.peak).toBeLessThan(4.5 * whole);
  });
  it("is what --freeze makes of it, too", () => {
    expect(planned(source(), { freeze: ["trunk.*"] }).plan).toBe(frozen.plan);
    expect(() => planned(source(), { freeze: ["trunc.*"] })).toThrow(/no parameter is called trunc\.\*/);
  });
});
