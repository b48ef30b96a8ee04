// First and second derivatives of random programs (test/support/derivatives.ts), from a seed.
import { expect, it } from "vitest";
import { dense, evaluate } from "../../compiler/core/reference/evaluate.ts";
import { budget, firstSeed, untilTimeIsUp } from "../support/budget.ts";
import { modelOf } from "../support/check.ts";
import { checkDerivatives } from "../support/derivatives.ts";

it("derivatives of random programs agree with differences, first and second", async () => {
  expect(await untilTimeIsUp(budget(5), firstSeed(1), 60, checkDerivatives)).toBeGreaterThan(5);
}, 600_000);

it("a transposed convolution's gradient is the same where the window is known at the call", () => {
  const values = (n: number) => Array.from({ length: n }, (_, i) => Math.sin(i));
  for (const k of [2, 3]) {
    const inputs = {
      x: dense("f32", [1, 2, 3, 3], values(18)),
      w: dense("f32", [2, 1, k, k], values(2 * k * k)),
    };
    const [open, fixed] = [
      ["H, W", "K, L"],
      ["3, 3", `${k}, ${k}`],
    ].map(([image, window]) => {
      const args = `x: f32[1, 2, ${image}], w: f32[2, 1, ${window}]`;
      const model = modelOf(`model M {
  private fn l(${args}) -> f32 { sum(sin(conv_transpose2d(x, w, stride = 2, padding = 1))) }
  fn g(${args}) { (gx, gw) = grad(l, wrt = (x, w))(x, w); (x = gx, w = gw) }
}`);
      const { results } = evaluate(model.entries[0].graph, inputs);
      return [results.x.data, results.w.data];
    });
    expect(open).toEqual(fixed);
  }
});

it("a scan's gradient sums nothing for what is not asked for", () => {
  const model = modelOf(`model M {
  param w: f32[3, 3] = zeros()
  private fn l(x: f32[T, 3]) -> f32 { sum(scan xt over x axis 0 with s = zeros(3) { s = tanh(w @ s + xt) }) }
  fn input(x: f32[T, 3]) { grad(l, wrt = x)(x) }
  fn both(x: f32[T, 3]) { (gx, gw) = grad(l, wrt = (x, w))(x); (x = gx, w = gw) }
}`);
  const carries = model.entries.map(({ graph }) =>
    graph.nodes.filter((n) => n.op.name === "scan" && n.attrs.reverse).map((n) => n.attrs.carries),
  );
  expect(carries).toEqual([[1], [2]]);
});
