// Workgroups that draw what they compute (7-schedule/draw.ts), on the adapter beside the reference: fewer tiles than workgroups and
// more, dispatches that are cut, calls that overlap, loops, and beside a literal tensor, which lies in the buffer that they
// count in. What one dispatch left in the counter would be missing in the next: calls follow one another.
import { expect, it } from "vitest";
import { targets } from "../../compiler/core/index.ts";
import { literalData } from "../../compiler/core/ir/data.ts";
import { COUNTER } from "../../compiler/core/phases/7-schedule/draw.ts";
import { besideReference, type ShapedCall } from "../support/beside.ts";
import { signed } from "../support/hashing.ts";
import { compileText, testCompiled } from "../support/module.ts";

const source = `
model M {
  param a: f32[96, 96] = normal(0, 0.08)
  param bias: f32[96] = normal(0, 0.5)
  param filter: f32[32, 16, 3, 3] = normal(0, 0.08)

  fn product(x: f32[N, 96]) -> f32[N, 96]             { x @ a }
  fn itself(x: f32[N, 96]) -> f32[N, N]               { x @ transpose(x) }
  fn residual(x: f32[N, 96]) -> f32[N, 96]            { relu(x + x @ a) }
  fn scaled(x: f32[N, 96]) -> f32[N, 3, 32]           { reshape(x @ a + bias, [N, 3, 32]) * reshape(stack([0.5, -1.0, 2.0]), [1, 3, 1]) }
  fn images(x: f32[N, 16, H, W]) -> f32[N, 32, H, W]  { relu(conv2d(x, filter, padding = 1)) }
  fn looped(x: f32[K, N, 96], h: f32[N, 96]) -> f32[N, 96] {
    last = scan xt over x axis 0 with s = h { s = tanh(s @ a + xt) }
    last @ a
  }
}`;

const calls: readonly ShapedCall[] = [
  ["product", { x: [37, 96] }],
  ["product", { x: [1, 96] }],
  ["product", { x: [0, 96] }],
  // 65 tiles of 32 rows by three of columns, where 64 workgroups draw.
  ["product", { x: [2065, 96] }],
  ["itself", { x: [70, 96] }],
  ["residual", { x: [33, 96] }],
  ["scaled", { x: [45, 96] }],
  ["images", { x: [2, 16, 9, 11] }],
  ["looped", { x: [3, 70, 96], h: [70, 96] }],
  ["looped", { x: [0, 70, 96], h: [70, 96] }],
  ["product", { x: [37, 96] }],
];
const drawing = (compiled: ReturnType<typeof compileText>): string[] =>
  compiled.artefact.programs.flatMap((p) => p.kernels.filter((k) => k.draws).map((k) => k.name));
const dealt = targets.filter((t) => t.ways > 1);

it.for(dealt.flatMap((target) => [1, 0.001].map((part) => ({ name: target.name, target, part }))))(
  "on $name, in dispatches of $part of the usual length",
  async ({ target, part }, context) => {
    const compiled = compileText(source, { targets: [target] });
    expect(drawing(compiled).length).toBeGreaterThan(3);
    const cut = part === 1 ? {} : { maxSubmitMs: part };
    const net = await testCompiled(() => compiled).load(context, { target: target.name, ...cut });
    await besideReference(compiled, net, calls, { rtol: 1e-5, atol: 2e-5 });
  },
);

it.for(dealt)("in calls that overlap, on $name", async (target, context) => {
  const module = testCompiled(() => compileText(source, { targets: [target] }));
  const nets = [
    await module.load(context, { target: target.name }),
    await module.load(context, { target: target.name }),
  ];
  const data = (rows: number) => ({ shape: [rows, 96], data: signed("x", [rows, 96]) });
  const once = await nets[0].results("residual", { x: data(130) });
  const many = await Promise.all(
    Array.from({ length: 6 }, (_, i) =>
      nets[i % 2].results(i % 3 ? "residual" : "product", { x: data(130) }),
    ),
  );
  for (const i of [1, 2, 4, 5]) expect(many[i].y).toEqual(once.y);
});

it("is for kernels that take long, on adapters that deal out stretches, where bytes do not count", () => {
  for (const target of targets) {
    const found = drawing(compileText(source, { targets: [target], entries: ["product"] }));
    expect(found.length).toBe(target.ways > 1 ? 1 : 0);
  }
  expect(drawing(compileText(source, { minify: true }))).toEqual([]);
  // A zero of a model's is not what they count in.
  expect(literalData("u32", [0])).not.toBe(COUNTER);
  const small = "model S { fn y(x: f32[N, 8]) -> f32[N] { sum(x, axis = 1) } }";
  expect(drawing(compileText(small))).toEqual([]);
});
