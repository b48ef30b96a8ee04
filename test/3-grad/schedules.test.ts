// Schedules give PyTorch's learning rates (test/figures/schedules.golden.json), as the host evaluates them; plateaus are counted as its
// ReduceLROnPlateau counts them.
import { describe, expect, it } from "vitest";
import { evaluateHost } from "../../runtime/core/train.ts";
import { type PlateauOptions, ReduceOnPlateau } from "../../runtime/plateau/index.ts";
import { projectFile } from "../support/files.ts";
import { compileText } from "../support/module.ts";

const figures = JSON.parse(projectFile("test/figures/schedules.golden.json")) as {
  readonly total_steps: number;
  readonly schedules: Readonly<Record<string, readonly number[]>>;
  readonly metrics: readonly (number | null)[];
  readonly plateaus: readonly {
    readonly options: Readonly<Record<string, unknown>>;
    readonly rates: readonly number[];
  }[];
};
const MODEL = "model M() { param w: f32[3] = ones()\n fn loss(x: f32[3]) -> f32 { sum(w * x) } }\n";
const hyperOf = (lr: string) =>
  compileText(`${MODEL}train fit for M { minimize loss; with sgd(lr = ${lr}) }`, { targets: ["baseline"] })
    .reference.steps[0].hyper;

describe("schedules give PyTorch's rates", () => {
  it.each(Object.entries(figures.schedules))("%s", (text, rates) => {
    const { lr } = hyperOf(text);
    const total = figures.total_steps;
    rates.forEach((rate, step) => {
      expect(evaluateHost(lr, { step, total_steps: total }), `step ${step}`).toBeCloseTo(rate, 12);
    });
  });
  it("on a plateau, by the caller's count, which is 0 where it gives none", () => {
    const hyper = hyperOf("plateau(0.5, factor = 0.3, least = 0.1)");
    expect(Object.entries(hyper)[0]).toEqual(["plateaus", 0]);
    const at = (plateaus: number) => evaluateHost(hyper.lr, { plateaus });
    expect([0, 1, 2, 9].map(at)).toEqual([0.5, 0.15, 0.1, 0.1]);
  });
});

describe("plateaus", () => {
  it.each(figures.plateaus)("of a metric, with $options", ({ options, rates }) => {
    const { threshold_mode: thresholdMode, ...rest } = options;
    const all = { ...rest, ...(thresholdMode ? { thresholdMode } : {}) } as PlateauOptions;
    let plateau = new ReduceOnPlateau(all);
    figures.metrics.forEach((metric, i) => {
      // Halfway it goes on elsewhere.
      if (i === 8) {
        const { state } = plateau;
        plateau = new ReduceOnPlateau(all);
        plateau.restore(JSON.parse(JSON.stringify(state)));
      }
      plateau.step(metric ?? Number.NaN);
      expect(0.5 ** plateau.plateaus, `metric ${i}`).toBe(rates[i]);
    });
  });
  it("have options that are told when wrong", () => {
    expect(() => new ReduceOnPlateau({ patients: 3 } as object)).toThrow("has no option patients");
    expect(() => new ReduceOnPlateau({ patience: -1 })).toThrow("patience cannot be -1");
  });
});
