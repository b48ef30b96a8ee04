// One kernel for products that differ in what is done with their sums (7-schedule/ends.ts), on the adapter beside the reference:
// ends with operands of their own, in one call and in several, in a loop, and where what one of them reads is a parameter.
import { expect, it } from "vitest";
import { targets } from "../../compiler/core/index.ts";
import { besideReference, type ShapedCall } from "../support/beside.ts";
import { compileText, testCompiled } from "../support/module.ts";

const source = `
model M {
  param a: f32[96, 96] = normal(0, 0.08)
  param b: f32[96, 96] = normal(0, 0.08)
  param wide: f32[96, 160] = normal(0, 0.08)
  param bias: f32[96] = normal(0, 0.5)
  param grid: f32[40, 96] = normal(0, 0.5)

  fn plain(x: f32[N, 96]) -> f32[N, 96]                     { x @ a }
  fn bent(x: f32[N, 96]) -> f32[N, 96]                      { tanh(x @ b) }
  fn shortcut(x: f32[N, 96], y: f32[N, 96]) -> f32[N, 96]   { relu(x @ a + y) }
  fn itself(x: f32[N, 96]) -> f32[N, 96]                    { x + x @ b }
  fn gated(x: f32[N, 96], y: f32[N, 96], z: f32[N, 96]) -> f32[N, 96] { x @ a * y + z }
  fn placed(x: f32[40, 96]) -> f32[40, 96]                  { x @ b + grid }
  fn other(x: f32[N, 96]) -> f32[N, 160]                    { x @ wide }
  fn kept(x: f32[N, 96]) -> (y: f32[N, 96], z: f32[N, 96])  {
    h = x @ a
    (y = h, z = sigmoid(h))
  }
  fn all(x: f32[40, 96], y: f32[40, 96]) -> f32[40, 96] {
    h = tanh(x @ a)
    g = relu(h @ b + y)
    tanh(g @ a + grid) @ b
  }
  fn ten(x: f32[N, 96], c: f32[N, 96], d: f32[N, 96], e: f32[N, 96], f: f32[N, 96], g: f32[N, 96], h: f32[N, 96],
         i: f32[N, 96], j: f32[N, 96], k: f32[N, 96]) -> f32[N, 96] { x @ a + c + d * e + f * g + h * i + j * k }
  fn biased(x: f32[N, 96]) -> f32[N, 96]                    { relu(x @ a + bias) }
  fn looped(x: f32[K, N, 96], h: f32[N, 96]) -> f32[N, 96] {
    last = scan xt over x axis 0 with s = h { s = tanh(s @ a + xt) }
    last @ b
  }
}`;

const calls: readonly ShapedCall[] = [
  ["plain", { x: [37, 96] }],
  ["plain", { x: [1, 96] }],
  ["bent", { x: [64, 96] }],
  ["shortcut", { x: [37, 96], y: [37, 96] }],
  ["itself", { x: [33, 96] }],
  ["gated", { x: [70, 96], y: [70, 96], z: [70, 96] }],
  ["placed", { x: [40, 96] }],
  ["other", { x: [5, 96] }],
  ["kept", { x: [34, 96] }],
  ["all", { x: [40, 96], y: [40, 96] }],
  ["ten", Object.fromEntries([..."xcdefghijk"].map((name) => [name, [37, 96]]))],
  ["shortcut", { x: [0, 96], y: [0, 96] }],
  ["biased", { x: [65, 96] }],
  ["looped", { x: [3, 20, 96], h: [20, 96] }],
];

const shared = (compiled: ReturnType<typeof compileText>): string[] =>
  compiled.artefact.programs[0].kernels.map((k) => k.name).filter((name) => /_or_\d/.test(name));
const dear = targets.filter((t) => t.dearTexts);

it.for(dear)("on $name", async (target, context) => {
  const compiled = compileText(source, { targets: [target] });
  expect(shared(compiled).length).toBeGreaterThan(0);
  const net = await testCompiled(() => compiled).load(context, { target: target.name });
  await besideReference(compiled, net, calls, { rtol: 1e-5, atol: 2e-5 });
});

it("compiles a body once, whatever its ends are", () => {
  const of = (entries: string[]): number =>
    compileText(source, { targets: ["cpu-subgroup"], entries }).artefact.texts.length;
  expect(of(["bent"])).toBe(of(["bent", "plain"]));
  expect(of(["gated"])).toBe(of(["gated", "itself", "shortcut", "plain"]));
});

it("leaves kernels as they are where texts are cheap, and where bytes count", () => {
  for (const target of targets.filter((t) => !t.dearTexts))
    expect(shared(compileText(source, { targets: [target] }))).toEqual([]);
  for (const target of dear)
    expect(shared(compileText(source, { targets: [target], minify: true }))).toEqual([]);
});
