// Tiles of products with many terms (`Target.deep`), which load a turn ahead on NVIDIA's, on the adapter beside the reference: known and
// open rows, few and none, factors either way round, batches, k in parts, sums of two products (where a turn finds what the other
// left), gradients, loops.
import { expect, it } from "vitest";
import { type Target, targets } from "../../compiler/core/index.ts";
import { type ShapedCall, sourceBeside } from "../support/beside.ts";

const source = `
model M {
  param up: f32[72, 128] = normal(0, 0.1)
  param square: f32[128, 128] = normal(0, 0.1)
  param odd: f32[100, 64] = normal(0, 0.1)
  param heads: f32[3, 72, 64] = normal(0, 0.1)
  param deep: f32[1028, 64] = normal(0, 0.03)
  param bias: f32[128] = normal(0, 0.5)

  fn known(x: f32[70, 72]) -> f32[70, 128]             { relu(x @ up + bias) }
  fn open(x: f32[B, T, 72]) -> f32[B, T, 128]          { tanh(x @ up) @ square }
  fn turned(x: f32[72, M]) -> f32[M, 128]              { transpose(x, [1, 0]) @ up }
  fn last(x: f32[M, 100]) -> f32[M, 64]                { x @ odd }
  fn many(x: f32[3, T, 72]) -> f32[3, T, 64]           { x @ heads }
  fn parts(x: f32[M, 1028]) -> f32[M, 64]              { gelu(x @ deep) }
  fn two(x: f32[M, 72], y: f32[M, 128]) -> f32[M, 128] { x @ up + y @ square }
  fn looped(x: f32[K, M, 128]) -> f32[M, 128] {
    first = x[0]
    last = scan xt over x axis 0 with s = first * 0.0 { s = tanh((s + xt) @ square) }
    last
  }
  fn loss(x: f32[M, 72]) -> f32                        { sum(tanh(x @ up) ** 2.0) }
  fn slope(x: f32[M, 72]) -> f32[M, 72]                { grad(loss, wrt = x)(x) }
}`;

const calls: readonly ShapedCall[] = [
  ["known", { x: [70, 72] }],
  ["open", { x: [2, 33, 72] }],
  ["open", { x: [0, 5, 72] }],
  ["open", { x: [1, 1, 72] }],
  ["turned", { x: [72, 68] }],
  ["turned", { x: [72, 3] }],
  ["last", { x: [65, 100] }],
  ["many", { x: [3, 9, 72] }],
  ["parts", { x: [5, 1028] }],
  ["two", { x: [67, 72], y: [67, 128] }],
  ["looped", { x: [3, 17, 128] }],
  ["slope", { x: [66, 72] }],
];
// On any adapter, for sums and calls of all sizes; `baseline` has that of `gpu`.
const deep = targets
  .filter((t, i) => t.deep && targets.findIndex((other) => other.deep === t.deep) === i)
  .map(
    (t): Target => ({
      ...t,
      requires: { features: [], limits: {} },
      deep: t.deep && { ...t.deep, terms: 64, from: 1 },
      few: undefined,
    }),
  );
it.for(deep)("on $name", async (target, context) => {
  const way = { name: target.name, target, tolerance: { rtol: 3e-5, atol: 5e-5 } };
  const compiled = await sourceBeside(context, source, way, calls);
  const { rows, cols, depth, ahead } = target.deep!.tile;
  const made = compiled.artefact.texts.filter((text) =>
    text.includes(`contraction.tile ${rows}x${cols}x${depth}`),
  );
  expect(made.length).toBeGreaterThan(3);
  if (ahead) for (const text of made) expect(text).toMatch(/ now(_\d+)? = min/);
});
