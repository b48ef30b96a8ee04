// Rows that share lines of an image (7-schedule/contraction/lines.ts) on the adapter beside the reference: widths that tiles divide and
// others, open ones, pools, borders, steps and dilations, gradients, loops, f16; and where there is nothing to share.
import { expect, it } from "vitest";
import { targets } from "../../compiler/core/index.ts";
import { andInHalf, type ShapedCall, sourceBeside } from "../support/beside.ts";
import { compileText } from "../support/module.ts";

const source = `
model M {
  param a: f32[32, 20, 3, 3] = normal(0, 0.05)
  param b: f32[36, 32, 3, 3] = normal(0, 0.05)
  param flat: f32[32, 20, 3, 2] = normal(0, 0.05)
  param tall: f32[32, 20, 2, 4] = normal(0, 0.05)
  param first: f32[32, 1, 3, 3] = normal(0, 0.3)
  param lines: f32[32, 20, 3] = normal(0, 0.1)
  param halves: f32[64, 10, 3, 3] = normal(0, 0.05)
  param mirrored: f32[20, 32, 3, 3] = normal(0, 0.05)
  param bias: f32[36] = normal(0, 0.5)

  fn known(x: f32[N, 20, 28, 28]) -> f32[N, 36, 14, 14]    { conv2d(relu(conv2d(x, a, padding = 1)), b, bias, padding = 1) |> relu |> max_pool2d(2) }
  fn sevens(x: f32[N, 20, 21, 7]) -> f32[N, 32, 21, 7]     { tanh(conv2d(x, a, padding = 1)) }
  fn eights(x: f32[N, 20, 5, 40]) -> f32[N, 32, 5, 40]     { relu(conv2d(x, a, padding = 1)) }
  fn odd(x: f32[N, 20, 9, 27]) -> f32[N, 32, 9, 27]        { relu(conv2d(x, a, padding = 1)) }
  fn narrow(x: f32[N, 20, 30, 30]) -> f32[N, 32, 28, 28]   { conv2d(x, a) }
  fn open(x: f32[N, 20, H, W]) -> f32[N, 32, H, W]         { relu(conv2d(x, a, padding = 1)) }
  fn pooled(x: f32[N, 20, H, W]) -> f32[N, 32, floor(H / 2), floor(W / 2)] { conv2d(x, a, padding = 1) |> relu |> max_pool2d(2) }
  fn means(x: f32[N, 20, 28, 28]) -> f32[N, 32, 14, 14]    { conv2d(x, a, padding = 1) |> avg_pool2d(2) }
  fn pairs(x: f32[N, 20, 30, 29]) -> f32[N, 32, 28, 28]    { conv2d(x, flat) }
  fn fours(x: f32[N, 20, 15, 59]) -> f32[N, 32, 14, 56]    { conv2d(x, tall) }
  fn ones(x: f32[N, 1, 28, 28]) -> f32[N, 32, 28, 28]      { relu(conv2d(x, first, padding = 1)) }
  fn stepped(x: f32[N, 20, 28, 28]) -> f32[N, 32, 14, 14]  { conv2d(x, a, stride = 2, padding = 1) }
  fn apart(x: f32[N, 20, 28, 28]) -> f32[N, 32, 28, 28]    { conv2d(x, a, padding = 2, dilation = 2) }
  fn row(x: f32[N, 20, 56]) -> f32[N, 32, 56]              { conv1d(x, lines, padding = 1) }
  fn tall_pool(x: f32[N, 20, 28, 28]) -> f32[N, 32, 14, 28] { conv2d(x, a, padding = 1) |> relu |> max_pool2d([2, 1]) }
  fn wide_pool(x: f32[N, 20, 28, 28]) -> f32[N, 32, 28, 14] { conv2d(x, a, padding = 1) |> relu |> max_pool2d([1, 2]) }
  fn grouped(x: f32[N, 20, 14, 14]) -> f32[N, 64, 14, 14]  { relu(conv2d(x, halves, padding = 1, groups = 2)) }
  fn askew(x: f32[N, 20, 28, 28]) -> f32[N, 32, 28, 28]    { conv2d(x, a, padding = [2, 1], dilation = [2, 1]) }
  fn flipped(x: f32[N, 20, 14, 28]) -> f32[N, 32, 14, 28]  { conv2d(flip(x, axis = 3), a, padding = 1) }
  fn wrapped(x: f32[N, 20, 14, 28]) -> f32[N, 32, 14, 28]  { conv2d(concat([x[:, :, :, 27:28], x, x[:, :, :, 0:1]], axis = 3), a, padding = [1, 0]) }
  fn back(x: f32[N, 20, 14, 28]) -> f32[N, 32, 14, 28]     { conv_transpose2d(x, mirrored, padding = 1) }
  fn residual(x: f32[N, 32, 14, 14]) -> f32[N, 36, 14, 14] { h = relu(conv2d(x, b, bias, padding = 1)); h + conv2d(x, b, padding = 1) * 0.5 }
  fn given(x: f32[N, 20, 14, 28], w: f32[32, 20, 3, 3]) -> f32[N, 32, 14, 28] { conv2d(x * 2.0, w, padding = 1) }
  fn loss(x: f32[N, 20, 28, 28]) -> f32                    { sum(conv2d(x, a, padding = 1) ** 2.0) * 0.1 }
  fn slope(x: f32[N, 20, 28, 28]) -> f32[N, 20, 28, 28]    { grad(loss, wrt = x)(x) }
  fn looped(x: f32[K, N, 32, 14, 14], w: f32[32, 32, 3, 3]) -> f32[N, 32, 14, 14] {
    first_x = x[0]
    last = scan xt over x axis 0 with s = first_x * 0.0 { s = tanh(conv2d(s + xt, w * 0.05, padding = 1)) }
    last
  }
}`;

const image = (...shape: number[]) => ({ x: shape });
const calls: readonly ShapedCall[] = [
  ["known", image(3, 20, 28, 28)],
  ["sevens", image(5, 20, 21, 7)],
  ["eights", image(3, 20, 5, 40)],
  ["odd", image(2, 20, 9, 27)],
  ["narrow", image(2, 20, 30, 30)],
  ["open", image(1, 20, 9, 56)],
  ["open", image(2, 20, 5, 30)],
  ["open", image(3, 20, 1, 1)],
  ["open", image(0, 20, 8, 8)],
  ["pooled", image(1, 20, 56, 56)],
  ["pooled", image(2, 20, 11, 17)],
  ["means", image(2, 20, 28, 28)],
  ["pairs", image(2, 20, 30, 29)],
  ["fours", image(2, 20, 15, 59)],
  ["ones", image(5, 1, 28, 28)],
  ["stepped", image(2, 20, 28, 28)],
  ["apart", image(2, 20, 28, 28)],
  ["row", image(4, 20, 56)],
  ["tall_pool", image(2, 20, 28, 28)],
  ["wide_pool", image(2, 20, 28, 28)],
  ["grouped", image(3, 20, 14, 14)],
  ["askew", image(2, 20, 28, 28)],
  ["flipped", image(2, 20, 14, 28)],
  ["wrapped", image(2, 20, 14, 28)],
  ["back", image(2, 20, 14, 28)],
  ["residual", image(3, 32, 14, 14)],
  ["given", { x: [2, 20, 14, 28], w: [32, 20, 3, 3] }],
  ["slope", image(2, 20, 28, 28)],
  ["looped", { x: [2, 3, 32, 14, 14], w: [32, 32, 3, 3] }],
];
const inLines = (entry: string): boolean =>
  compileText(source, { targets: ["cpu-subgroup"], entries: [entry] })
    .emit("kernels", "cpu-subgroup")
    .includes("rows of lines");
const tiled = targets.filter((t) => t.winograd);

it.for(andInHalf(tiled, { rtol: 1e-5, atol: 2e-5 }))("on $name", async (way, context) => {
  await sourceBeside(context, source, way, calls);
});

it.each([
  "known",
  "sevens",
  "eights",
  "odd",
  "narrow",
  "open",
  "pooled",
  "means",
  "pairs",
  "fours",
  "ones",
  "row",
  "given",
  "slope",
  "looped",
])("%s has them", (entry) => {
  expect(inLines(entry)).toBe(true);
});
it.each(["stepped", "apart"])("%s has none", (entry) => {
  expect(inLines(entry)).toBe(false);
});
