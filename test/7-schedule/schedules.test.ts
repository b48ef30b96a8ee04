// What is done once for many: equal groups are scheduled once, targets share what does not depend on them. Nobody can tell:
// the same program comes out as where each is made by itself.
import { describe, expect, it, vi } from "vitest";
import { check } from "../../compiler/core/index.ts";
import { families } from "../../compiler/core/phases/7-schedule/families.ts";
import { build } from "../../compiler/core/pipeline.ts";
import { baseline, gpu, gpuNvidia, targets } from "../../compiler/core/targets.ts";
import { projectFile } from "../support/files.ts";
import { compileText } from "../support/module.ts";

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
  /** How many groups are scheduled for a model. */
  const made = (layers: number, list = targets.slice(0, 1)): number => {
    const spies = families.map((f) => vi.spyOn(f, "lower"));
    build(checked(net(layers)), { targets: list, place: () => "" });
    const calls = spies.reduce((n, spy) => n + spy.mock.calls.length, 0);
    for (const spy of spies) spy.mockRestore();
    return calls;
  };
  it("of targets are scheduled once where both would have answered alike", () => {
    const own = made(3, [gpu]);
    // Weight gradients ask whether workgroup memory is fast: they read their rows side by side then.
    expect(made(3, [gpu, baseline])).toBeLessThanOrEqual(own + 4);
    // Products have other tiles; what is element by element has not.
    const other = made(3, [gpu, gpuNvidia]);
    expect(other).toBeGreaterThan(own);
    expect(other).toBeLessThan(own + made(3, [gpuNvidia]) - 5);
  });
  it("of layers are scheduled once", () => {
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

describe("a program", () => {
  it("is the same whichever targets are compiled beside it", () => {
    const source = `import { BatchNorm2d, Conv2d } from "std/nn"
      model M {
        conv = Conv2d(3, 8, 3)
        bn   = BatchNorm2d(8)
        fn f(x: f32[N, 3, 8, 8]) -> f32[N, 8, 6, 6] { x |> conv |> bn |> relu }
        fn heads(q: f32[T, 8], k: f32[T, 8], v: f32[T, 8]) -> f32[T, 8] { attention(q, k, v, causal = true) }
        fn turns(x: f32[B, T, 4, 8]) -> f32[B, 4, 8] { scan t over x axis 1 with s = zeros(B, 4, 8) { s = attention(t, s, t) } }
        private fn loss(x: f32[N, 3, 8, 8], q: f32[T, 8]) -> f32 { mean(f(x) ** 2) + mean(heads(q, q * 2, q + 1)) }
      }
      train fit for M { minimize loss; with sgd(lr = 0.1) }`;
    const model = checked(source);
    const program = (list: typeof targets, name: string): string => {
      const { artefact } = build(model, { targets: list, place: () => "" });
      const found = artefact.programs.find((p) => p.target === name);
      const kernels = found?.kernels.map((k) => ({ ...k, text: artefact.texts[k.text] }));
      return JSON.stringify({ ...found, kernels });
    };
    for (const t of targets) expect(program(targets, t.name) === program([t], t.name), t.name).toBe(true);
  });
});

describe("a product that is a result itself", () => {
  it.each([
    ["beside what is made of it", "(u = d, v = d * m)", "f32[B * T, 128]"],
    ["in another shape", "(u = d, v = reshape(d, [B, T, 128]) * m)", "f32[B, T, 128]"],
  ])("is summed up once, %s", (_, results, shape) => {
    const source = `model M() {
  param w: f32[384, 128] = zeros()
  fn y(a: f32[B, T, 384], m: ${shape}) -> (u: f32[B * T, 128], v: ${shape}) {
    d = reshape(a, [B * T, 384]) @ w
    ${results}
  }
}`;
    const { texts } = compileText(source, { targets: ["gpu"] }).artefact;
    const stores = texts.flatMap((text) => text.match(/^fn store[\s\S]*?^}/gm) ?? []);
    expect(stores.length).toBeGreaterThan(0);
    for (const text of stores) expect(text).not.toContain("for (");
  });
});

it.each(Array.from({ length: 12 }, (_, i) => `d${i}`))(
  "sizes that are constants of a pipeline keep clear of what users name %s",
  (name) => {
    const source = `model M() {
  param w: f32[16, 8, 3, 3] = zeros()
  fn y(${name}: f32[2, 16, 5, 5]) -> f32[2, 8, 9, 9] { conv_transpose2d(${name}, w, stride = 2, padding = 1) }
}`;
    expect(() => compileText(source, { targets: ["gpu"] })).not.toThrow();
  },
);
