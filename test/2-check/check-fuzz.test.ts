/** No program makes the checker throw, hang or exhaust the stack: mutated sources end in diagnostics or in models. */
import { describe, expect, it } from "vitest";
import { renderAll } from "../../compiler/core/diagnostics/index.ts";
import { mutationSeed, mutations } from "../support/budget.ts";
import { checkText } from "../support/check.ts";
import { mutate, random, seeds } from "../support/mutate.ts";

describe("mutated programs", () => {
  const rounds = mutations(1000);
  const base = mutationSeed(1);
  const parts = 10;
  it("begin as good ones", () => {
    for (const source of seeds)
      expect(checkText(source).diagnostics.filter((d) => d.severity === "error")).toEqual([]);
  });
  // Most of them must get past the parser, or this says little of the checker.
  const reached = { syntax: 0, checker: 0, models: 0 };
  for (let part = 0; part < parts; part++) {
    it(`end in diagnostics or models (${part + 1} of ${parts})`, { timeout: 120_000 }, () => {
      for (let i = part; i < rounds; i += parts) {
        const seed = base * 1_000_003 + i;
        const next = random(seed);
        const source = mutate(seeds[i % seeds.length], next);
        const started = performance.now();
        let result: ReturnType<typeof checkText>;
        try {
          result = checkText(source);
        } catch (e) {
          const cause = e instanceof Error && e.cause instanceof Error ? e.cause.stack : "";
          throw new Error(`seed ${seed}: ${e}\n${cause}\n${source}`);
        }
        reached[
          result.models ? "models" : result.diagnostics.some((d) => d.code > "E02") ? "checker" : "syntax"
        ]++;
        if (!result.models) expect(result.diagnostics.length, `seed ${seed}`).toBeGreaterThan(0);
        renderAll(result.diagnostics, () => source);
        expect(performance.now() - started, `seed ${seed} took too long:\n${source}`).toBeLessThan(20_000);
      }
    });
  }
  it("mostly reach the checker", () => {
    expect(reached.checker).toBeGreaterThan(rounds / 5);
    expect(reached.models).toBeGreaterThan(rounds / 30);
  });
});
