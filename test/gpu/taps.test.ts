// Gradients of depthwise convolutions towards their filters: sums over all positions, in parts and whole, on the adapter beside the
// reference. Strides, dilations, paddings of one side; channels that no workgroup's share divides; no image, one, and a few.
import { expect, it } from "vitest";
import { type Target, targets } from "../../compiler/core/index.ts";
import { dense } from "../../compiler/core/reference/evaluate.ts";
import { difference } from "../support/allclose.ts";
import { signed } from "../support/hashing.ts";
import { compileText, testCompiled } from "../support/module.ts";
import { referenceNet } from "../support/reference.ts";

const gpu = targets.find((t) => t.name === "gpu") as Target;
/** Of so few threads that lavapipe, which takes seconds over barriers, has few of these. */
const anywhere: Target = {
  ...gpu,
  name: "anywhere",
  requires: { features: [], limits: {} },
  rowThreads: 32,
};
/** Of so few workgroups that nothing is cut. */
const whole: Target = { ...anywhere, name: "whole", rows: { ...gpu.rows, groups: 1 } };

const source = `
model M {
  fn one(x: f32[N, 4, H, W], a: f32[12, 4, 1, 1], w: f32[12, 1, 3, 3]) -> f32 {
    y = conv2d(conv2d(x, a), w, padding = 1, groups = 12)
    sum(conv2d(y * y, ones(4, 12, 1, 1) * 0.1) ** 2)
  }
  fn two(x: f32[N, 4, H, W], a: f32[8, 4, 1, 1], w: f32[8, 1, 2, 3]) -> f32 {
    y = conv2d(conv2d(x, a), w, stride = 2, padding = (1, 0), dilation = (1, 2), groups = 8)
    sum(conv2d(y * y, ones(4, 8, 1, 1) * 0.1) ** 2)
  }
  fn g_one(x: f32[N, 4, H, W], a: f32[12, 4, 1, 1], w: f32[12, 1, 3, 3]) -> f32[12, 1, 3, 3] { grad(one, wrt = w)(x, a, w) }
  fn g_two(x: f32[N, 4, H, W], a: f32[8, 4, 1, 1], w: f32[8, 1, 2, 3]) -> f32[8, 1, 2, 3] { grad(two, wrt = w)(x, a, w) * 0.5 }
}`;
const shapes: Readonly<Record<string, Readonly<Record<string, readonly number[]>>>> = {
  g_one: { a: [12, 4, 1, 1], w: [12, 1, 3, 3] },
  g_two: { a: [8, 4, 1, 1], w: [8, 1, 2, 3] },
};

it.for([
  { target: anywhere, entries: ["g_one"], launches: 2 },
  { target: whole, entries: ["g_two"], launches: 1 },
])("are sums over positions, on $target.name", async ({ target, entries, launches }, context) => {
  const compiled = compileText(source, { targets: [target], entries });
  const kernels = compiled.emit("kernels", target.name);
  expect(kernels.match(/choice taps/g)).toHaveLength(launches);
  const net = await testCompiled(() => compiled).load(context);
  const reference = referenceNet(compiled);
  for (const [N, H, W] of [
    [0, 6, 6],
    [1, 5, 7],
    [3, 34, 61],
  ])
    for (const entry of entries) {
      const all = Object.entries({ x: [N, 4, H, W], ...shapes[entry] });
      const given = all.map(([name, shape]) => [name, { shape, data: signed(name, shape) }] as const);
      const got = await net.results(entry, Object.fromEntries(given));
      const exact = given.map(([name, { shape, data }]) => [name, dense("f32", shape, data)] as const);
      const want = reference.call(entry, Object.fromEntries(exact))[entry];
      const name = `${entry} of ${N} x ${H} x ${W}`;
      const most = Math.max(...want.data.map(Math.abs), 1);
      expect(difference(got[entry], want.data, { rtol: 1e-4, atol: 2e-6 * most, name })).toBeUndefined();
    }
});
