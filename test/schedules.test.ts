// Equal groups are scheduled once, and nobody can tell: the same program comes out as where each is scheduled by itself.
import { describe, expect, it, vi } from "vitest";
import { check } from "../compiler/core/index.ts";
import { families } from "../compiler/core/phases/7-schedule/families.ts";
import { build } from "../compiler/core/pipeline.ts";
import { targets } from "../compiler/core/targets.ts";
import { projectFile } from "./support/files.ts";

function checked(source: string, name?: string) {
  const { models } = check(source, "main.mdl", { model: name });
  const [model] = models ?? [];
  if (!model) throw new Error("no model");
  return model;
}
const net = (layers: number): string => `import { LayerNorm, Linear } from "std/nn"
layer Block() {
  norm = LayerNorm(16)
  up   = Linear(16, 32)
  down = Linear(32, 16)
  fn forward(x: f32[N, 16]) { x + (x |> norm |> up |> gelu |> down) }
}
model Deep(layers: int = ${layers}) {
  blocks = [Block() for i in 0..layers]
  fn f(x: f32[N, 16]) -> f32[N, 16] { x |> blocks }
  private fn loss(x: f32[N, 16]) -> f32 { mean(f(x) ** 2) }
}
train fit for Deep { minimize loss; with adam(lr = 0.01) }`;

describe("equal groups", () => {
  it("of layers are scheduled once", () => {
    const made = (layers: number): number => {
      const spies = families.map((f) => vi.spyOn(f, "lower"));
      build(checked(net(layers)), { targets: targets.slice(0, 1), place: () => "" });
      const calls = spies.reduce((n, spy) => n + spy.mock.calls.length, 0);
      for (const spy of spies) spy.mockRestore();
      return calls;
    };
    const few = made(3);
    expect(few).toBeGreaterThan(10);
    // What joins the gradients of all parameters, and the update of all, are kernels of their own.
    expect(made(9)).toBeLessThanOrEqual(few + 2);
  });

  it.each([
    ["deep", undefined],
    ["transformer", "GPT"],
    ["lstm", "CharLSTM"],
  ])("are what they are by themselves: %s", (file, name) => {
    const model = checked(file === "deep" ? net(4) : projectFile(`dsl-examples/${file}.mdl`), name);
    const options = { targets: file === "deep" ? targets : targets.slice(1, 2), place: () => "" };
    const shared = build(model, options).artefact;
    // The first way is what is taken anyway; whoever picks is asked for each group.
    const alone = build(model, { ...options, pick: () => 0 }).artefact;
    expect(JSON.stringify(shared) === JSON.stringify(alone)).toBe(true);
  });
});
