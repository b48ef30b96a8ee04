// Tiles of two fours of columns a lane, and rows that lie a cache line further apart (`Target.broad`, `Target.apart`), on the adapter
// beside the reference: known and open rows, few and none, sums of two products, batches, long sums, gradients, loops, f16.
import { expect, it } from "vitest";
import { targets } from "../../compiler/core/index.ts";
import { andInHalf, type ShapedCall, sourceBeside } from "../support/beside.ts";

const source = `
model M {
  param up: f32[256, 512] = normal(0, 0.02)
  param down: f32[512, 256] = normal(0, 0.02)
  param square: f32[512, 512] = normal(0, 0.02)
  param long: f32[8192, 128] = normal(0, 0.01)
  param narrow: f32[512, 12] = normal(0, 0.02)
  param heads: f32[4, 256, 128] = normal(0, 0.06)
  param wide: f32[512, 1024] = normal(0, 0.02)
  param bias: f32[512] = normal(0, 0.5)

  fn block(x: f32[B, T, 256]) -> f32[B, T, 256]        { x + gelu(x @ up + bias) @ down }
  fn known(x: f32[1100, 256]) -> f32[1100, 256]        { relu(x @ up) @ down }
  fn two(x: f32[B, T, 256], y: f32[B, T, 512]) -> f32[B, T, 512] { tanh(x @ up + y @ square) @ square }
  fn both(x: f32[B, T, 256]) -> (h: f32[B, T, 256], s: f32[B, T]) {
    h = relu(x @ up)
    (h = h @ down, s = sum(h, axis = 2))
  }
  fn seen(x: f32[B, T, 256]) -> (h: f32[B, T, 512], y: f32[B, T, 256]) {
    h = relu(x @ up)
    (h = h, y = h @ down)
  }
  fn turned(x: f32[B, T, 256]) -> f32[B, T, T]         { h = tanh(x @ up); h @ transpose(h, [0, 2, 1]) }
  fn few(x: f32[B, T, 256]) -> f32[B, T, 12]           { (relu(x @ up) @ square) @ narrow }
  fn many(x: f32[4, T, 256]) -> f32[4, T, 128]         { x @ heads }
  fn far(x: f32[B, T, 8192]) -> f32[B, T, 128]         { x @ long }
  fn given(x: f32[1100, 512]) -> (h: f32[1100, 1024], y: f32[1100, 512]) {
    h = x @ wide
    (h = h, y = h @ transpose(wide, [1, 0]) + x)
  }
  fn looped(x: f32[K, B, T, 256]) -> f32[B, T, 256] {
    first = x[0]
    last = scan xt over x axis 0 with s = first * 0.0 { s = tanh(gelu((s + xt) @ up) @ down) }
    last
  }
  fn loss(x: f32[B, T, 256]) -> f32                    { sum(block(x) ** 2.0) }
  fn slope(x: f32[B, T, 256]) -> f32[B, T, 256]        { grad(loss, wrt = x)(x) }
}`;

const calls: readonly ShapedCall[] = [
  ["block", { x: [2, 33, 256] }],
  ["block", { x: [1, 1, 256] }],
  ["block", { x: [0, 5, 256] }],
  ["block", { x: [1, 70, 256] }],
  ["known", { x: [1100, 256] }],
  ["two", { x: [1, 37, 256], y: [1, 37, 512] }],
  ["both", { x: [3, 11, 256] }],
  ["seen", { x: [1, 35, 256] }],
  ["turned", { x: [2, 19, 256] }],
  ["few", { x: [1, 40, 256] }],
  ["many", { x: [4, 35, 256] }],
  ["far", { x: [1, 33, 8192] }],
  ["given", { x: [1100, 512] }],
  ["looped", { x: [3, 2, 17, 256] }],
  ["looped", { x: [1, 1, 1, 256] }],
  ["slope", { x: [1, 33, 256] }],
];
const moved = targets.filter((t) => t.apart !== undefined);
it.for(andInHalf(moved, { rtol: 3e-5, atol: 5e-5 }))("on $name", async (way, context) => {
  const compiled = await sourceBeside(context, source, way, calls);
  const broad = compiled.artefact.texts.filter((text) => text.includes("contraction.subgroup 32x64"));
  expect(broad.length).toBeGreaterThan(3);
  // What is given, or seen, is copied for long products.
  const { entries, kernels } = compiled.artefact.programs[0];
  const given = entries.find((e) => e.name === "given")!.body.steps;
  const copies = given.filter(
    (step) => step.kind === "dispatch" && kernels[step.kernel].name.startsWith("copy"),
  );
  expect(copies.length).toBe(2);
});
