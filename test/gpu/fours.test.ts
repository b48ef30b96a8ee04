// Rows that have room for whole fours (`Target.fours`), on the adapter beside the reference: lengths that four does and does not divide,
// known ones, one and none; as what is summed along, across and against the grain; with what lay there before being NaN; gradients,
// loops, f16. And several subgroups a workgroup, each with a row of its own.
import { expect, it } from "vitest";
import { targets } from "../../compiler/core/index.ts";
import { andInHalf, type ShapedCall, sourceBeside } from "../support/beside.ts";

const source = `
model M {
  param w: f32[64, 64] = normal(0, 0.1)
  param odd: f32[64, 197] = normal(0, 0.1)
  param back: f32[197, 64] = normal(0, 0.1)
  param six: f32[6, 64] = normal(0, 0.2)
  param seven: f32[7, 64] = normal(0, 0.2)

  fn scores(x: f32[B, T, 64], y: f32[B, S, 64]) -> f32[B, T, S] { x @ transpose(y, [0, 2, 1]) * 0.125 }
  fn spoilt(x: f32[B, T, 64]) -> f32[B, T, T] {
    h = sqrt(-1.0 - x * x) @ w
    g = h @ w
    s = softmax(g @ transpose(g, [0, 2, 1]), axis = 2)
    where(s @ s > 0.0, 0.0, 1.0)
  }
  fn attend(x: f32[B, T, 64], y: f32[B, S, 64]) -> f32[B, T, 64] { softmax(scores(x, y), axis = 2) @ y }
  fn product(x: f32[B, T, 64], y: f32[B, S, 64]) -> f32[B, T, 64] { (scores(x, y) @ scores(y, y)) @ y }
  fn parts(x: f32[B, 64]) -> f32[B, 64]    { x[:, 8:14] @ six + x[:, 4:11] @ seven + x[:, 4:5] @ six[0:1] }
  fn rows(x: f32[B, T, 64], y: f32[B, S, 64]) -> f32[B, T]        { sum(scores(x, y), axis = 2) }
  fn across(x: f32[B, T, 64], y: f32[B, S, 64]) -> f32[B, S]      { max(softmax(scores(x, y), axis = 2), axis = 1) }
  fn turned(x: f32[B, T, 64], y: f32[B, S, 64]) -> f32[B, S, 64]  {
    transpose(softmax(scores(x, y), axis = 2), [0, 2, 1]) @ x
  }
  fn squares(x: f32[B, T, 64]) -> f32[B, T, T] {
    p = softmax(scores(x, x), axis = 2)
    p @ transpose(p, [0, 2, 1])
  }
  fn seen(x: f32[B, T, 64]) -> (p: f32[B, T, T], y: f32[B, T, 64]) {
    p = softmax(scores(x, x), axis = 2)
    (p = p, y = p @ x)
  }
  fn joined(x: f32[B, T, 64]) -> f32[B, T, 2 * T] {
    p = softmax(scores(x, x), axis = 2)
    concat([p, p @ p], axis = 2)
  }
  fn known(x: f32[B, 64]) -> f32[B, 64]    { softmax(tanh(x @ odd), axis = 1) @ back }
  fn twice(x: f32[B, 64]) -> f32[B, 64]    { h = x @ odd; softmax(h - mean(h, axis = 1, keepdims = true), axis = 1) @ back }
  fn hidden(x: f32[B, T, 64]) -> f32[B, T, 64] {
    last = scan xt over x axis 1 with s = x { s = tanh(softmax(scores(s, s), axis = 2) @ s + xt[:, new, :]) }
    last
  }
  fn causal(x: f32[B, T, 64]) -> f32[B, T, 64] { attention(x, x @ w, x, causal = true) }
  fn heads(x: f32[B, 4, T, 16]) -> f32[B, 4, T, 16] { attention(x, tanh(x), x) }
  fn loss(x: f32[B, T, 64]) -> f32             { sum(tanh(attend(x, x) @ odd @ back)) }
  fn slope(x: f32[B, T, 64]) -> f32[B, T, 64]  { grad(loss, wrt = x)(x) }
}`;

const lengths = [1, 2, 3, 4, 5, 31, 33, 70];
const pairs = lengths.map((T, i): readonly [number, number] => [T, lengths[(i + 3) % lengths.length]]);
const both = (name: string): ShapedCall[] => pairs.map(([T, S]) => [name, { x: [2, T, 64], y: [2, S, 64] }]);
const one = (name: string, ...of: readonly number[]): ShapedCall[] =>
  of.map((T) => [name, { x: [2, T, 64] }]);
const calls: readonly ShapedCall[] = [
  // First, so that what the others do not write is NaN.
  ...one("spoilt", 128),
  ...both("attend"),
  ...both("product"),
  ...both("rows"),
  ...both("across"),
  ...both("turned"),
  ...one("squares", 1, 3, 34),
  ...one("seen", 5, 33),
  ...one("joined", 3, 33),
  ...[1, 9, 64].flatMap((B): ShapedCall[] => [
    ["known", { x: [B, 64] }],
    ["parts", { x: [B, 64] }],
    ["twice", { x: [B, 64] }],
  ]),
  ...one("hidden", 1, 6),
  ...one("causal", 1, 7, 37),
  ...[1, 6, 33].map((T): ShapedCall => ["heads", { x: [3, 4, T, 16] }]),
  ["attend", { x: [2, 3, 64], y: [2, 0, 64] }],
  ["attend", { x: [0, 3, 64], y: [0, 5, 64] }],
  ...one("slope", 1, 6, 33),
];
const such = targets.filter((t) => t.fours);
it.for(andInHalf(such, { rtol: 3e-5, atol: 5e-5 }))("on $name", async (way, context) => {
  const compiled = await sourceBeside(context, source, way, calls);
  const { texts } = compiled.artefact;
  const has = (...parts: readonly RegExp[]): boolean =>
    texts.some((text) => parts.every((part) => part.test(text)));
  // A softmax that loads and stores by fours, in workgroups of four subgroups; and a product of pairs of terms of such rows.
  expect(has(/: rows\n/, /@workgroup_size\(32\)/, /d\d+ = 4 \* floor\(\(T \+ 3\) \/ 4\)/)).toBe(true);
  expect(has(/contraction\.subgroup/, /array<vec2<f(32|16)>>/, /let there(_\d+)? = /)).toBe(true);
});
