// One kernel for layers that differ in which of their sizes are equal (7-schedule/words.ts), and heads that lie as they are
// read (6-layout/layouts.ts), on the adapter beside the reference.
import { expect, it } from "vitest";
import { targets } from "../../compiler/core/index.ts";
import { besideReference, type ShapedCall } from "../support/beside.ts";
import { compileText, testCompiled } from "../support/module.ts";

const source = `
model M {
  param wide: f32[96, 160] = normal(0, 0.08)
  param square: f32[160, 160] = normal(0, 0.08)
  param narrow: f32[160, 96] = normal(0, 0.08)

  fn layers(x: f32[N, 96]) -> f32[N, 96] { tanh(tanh(tanh(x @ wide) @ square) @ narrow) }
  fn rows(a: f32[320, 320], b: f32[320, 160]) -> f32[320, 160]    { a @ b }
  fn columns(a: f32[160, 320], b: f32[320, 320]) -> f32[160, 320] { a @ b }
  fn heads(p: f32[N, 4, T, T], v: f32[N, 4, T, 24]) -> f32[N, T, 96] {
    y = p @ v |> transpose([0, 2, 1, 3]) |> reshape([N, T, 96])
    tanh(y @ transpose(narrow) @ narrow)
  }
  fn heads_and_means(p: f32[N, 4, T, T], v: f32[N, 4, T, 24]) -> (y: f32[N, T, 96], m: f32[N, 4, T]) {
    h = p @ v
    (y = tanh(h |> transpose([0, 2, 1, 3]) |> reshape([N, T, 96])), m = mean(h, axis = -1))
  }
}`;

const calls: readonly ShapedCall[] = [
  ["layers", { x: [37, 96] }],
  ["layers", { x: [1, 96] }],
  ["rows", { a: [320, 320], b: [320, 160] }],
  ["columns", { a: [160, 320], b: [320, 320] }],
  ["heads", { p: [2, 4, 33, 33], v: [2, 4, 33, 24] }],
  ["heads", { p: [1, 4, 4, 4], v: [1, 4, 4, 24] }],
  ["heads_and_means", { p: [2, 4, 9, 9], v: [2, 4, 9, 24] }],
];

it.for(targets)("on $name", async (target, context) => {
  const compiled = compileText(source, { targets: [target] });
  const names = compiled.artefact.programs[0].kernels.map((k) => k.name);
  expect(names.filter((n) => n === "dot" || /^dot_\d/.test(n)).length).toBeLessThan(6);
  const net = await testCompiled(() => compiled).load(context, { target: target.name });
  await besideReference(compiled, net, calls, { rtol: 1e-5, atol: 2e-5 });
});
