// checkpoint: what it computes is what the same program without it computes, to the bit in the reference; and a plan that
// needs less memory. Dropout draws the same again, and what is stored is stored once.
import { describe, expect, it } from "vitest";
import { evaluate } from "../../compiler/core/reference/evaluate.ts";
import { difference } from "../support/allclose.ts";
import { modelOf } from "../support/check.ts";
import { compileText } from "../support/module.ts";
import { drawDense, randomFrom } from "../support/opcheck.ts";
import { referenceNet } from "../support/reference.ts";

/** Every `keep(f)` is `checkpoint(f)`, or f. */
const written = (source: string, checkpoint: boolean): string =>
  source.replace(/keep\((\w+(?:\[\d\])?)\)/g, checkpoint ? "checkpoint($1)" : "$1");

const block = `
import { BatchNorm1d, Linear } from "std/nn"
layer Block(d: int) {
  wide = Linear(d, 4 * d)
  bn   = BatchNorm1d(4 * d)
  back = Linear(4 * d, d)
  fn forward(x: f32[N, D]) { x + (x |> wide |> bn |> gelu |> dropout(0.25) |> back |> tanh) }
}
`;
const deep = (body: string, size: number, blocks: number): string => `${block}
model M {
  blocks = [Block(${size}) for i in range(${blocks})]
  private fn two(x: f32[N, D]) { x |> blocks[0] |> keep(blocks[1]) }
  private fn apply(f: fn, x: f32[N, D]) { x |> keep(f) }
  fn loss(x: f32[N, ${size}], y: f32[N, ${size}]) -> f32 { mse_loss(${body}, y) }
}
train fit for M {
  minimize loss
  with sgd(lr = 0.1)
}
`;
const programs = {
  "blocks in a loop": deep("for b in blocks with h = x { keep(b)(h) }", 4, 3),
  nested: deep("x |> keep(two) |> blocks[2]", 4, 3),
  "an unnamed fn": deep("apply(fn(h) { h |> blocks[0] |> blocks[1] }, x)", 4, 2),
};

describe("a step", () => {
  it.each(Object.entries(programs))("of %s is the one without checkpoint", (_, source) => {
    const after = [false, true].map((checkpoint) => {
      const compiled = compileText(written(source, checkpoint), { targets: ["baseline"], verify: true });
      const net = referenceNet(compiled, { seed: 3 });
      const draw = randomFrom(11);
      const batch = () => drawDense("f32", [5, 4], draw);
      for (let i = 0; i < 3; i++) net.step("fit", { x: batch(), y: batch() });
      const { params, state } = compiled.artefact;
      return Object.fromEntries([...params, ...state].map(({ path }) => [path, [...net.tensor(path).data]]));
    });
    expect(after[1]).toEqual(after[0]);
    const moved = after[0]["blocks.0.bn.running_mean"];
    expect(moved.some((v) => v !== 0)).toBe(true);
  });

  it("takes less memory, as its plan says", () => {
    const [kept, again] = [false, true].map((checkpoint) => {
      const source = written(deep("for b in blocks with h = x { keep(b)(h) }", 64, 4), checkpoint);
      const { report } = compileText(source, { targets: ["gpu"], bind: { N: 2048 }, verify: true });
      const [step, loss] = ["fit_step", "loss"].map((name) => report.entries.find((e) => e.name === name)!);
      return {
        peak: step.memory[0].peak,
        dispatches: step.dispatches,
        loss: [loss.memory[0].peak, loss.dispatches],
      };
    });
    // Four blocks hold their insides, or one does.
    expect(again.peak).toBeLessThan(0.5 * kept.peak);
    // What nobody differentiates is as it was.
    expect(again.loss).toEqual(kept.loss);
  });
});

describe("a gradient in the language", () => {
  const source = `
model M {
  param w: f32[3, 3] = xavier_uniform()
  private fn cell(s: f32[B, 3], x: f32[B, 3]) { (next = tanh(s @ w + x) * (1 + 0.1 * sum(s, axis = -1)[:, new]), seen = sum(sin(s) * x)) }
  private fn run(x: f32[B, T, 3]) -> f32 {
    r = scan xt over x axis 1 with s = zeros(B, 3) {
      c = keep(cell)(s, xt)
      emit y = c.seen
      s = c.next
    }
    mean(square(r.s)) + sum(r.y)
  }
  private fn whole(x: f32[B, T, 3]) -> f32 { keep(run)(x) }
  private fn steep(x: f32[B, T, 3]) -> f32 { sum(square(grad(whole, wrt = x)(x))) }
  fn first(x: f32[B, T, 3]) { (x = grad(keep(whole), wrt = x)(x), w = grad(whole, wrt = params)(x).w) }
  fn second(x: f32[B, T, 3]) { grad(steep, wrt = w)(x) }
}
`;
  it("is the same in scans and around them, of a record, and to the second order", () => {
    const draw = randomFrom(5);
    const x = drawDense("f32", [2, 4, 3], draw);
    const w = drawDense("f32", [3, 3], draw);
    const [kept, again] = [false, true].map((checkpoint) => {
      const model = modelOf(written(source, checkpoint));
      return Object.fromEntries(
        model.entries.flatMap(({ name, graph }) =>
          Object.entries(evaluate(graph, { x }, { params: { w } }).results).map(([result, { data }]) => [
            `${name}.${result}`,
            data,
          ]),
        ),
      );
    });
    expect(Object.keys(again)).toEqual(["first.x", "first.w", "second.second"]);
    for (const [name, data] of Object.entries(again)) {
      expect(data.some((v) => Math.abs(v) > 1e-3)).toBe(true);
      expect(difference(data, kept[name], { rtol: 1e-12, atol: 1e-12, name })).toBeUndefined();
    }
  });
});
