// What is stored as f16 (6-layout/storage.ts), on the adapter: examples with f16 weights, and with f16 activations, against the
// same in f32, on every target; and training steps. The bounds are what f16's eleven digits leave of the results, with room; docs/performance.md
// has the errors as they were measured.
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { drawInputs, sizesOf } from "../../compiler/cli/draw.ts";
import {
  type Compiled,
  compile,
  type Precision,
  type Target,
  targets,
  withPrecision,
} from "../../compiler/core/index.ts";
import { load } from "../../runtime/core/index.ts";
import type { Tensor } from "../../runtime/core/tensor.ts";
import { own } from "../support/adapter.ts";
import { example } from "../support/cli.ts";
import { testDevice } from "../support/device.ts";

interface Case {
  readonly file: string;
  readonly model: string;
  readonly set?: Readonly<Record<string, number>>;
  readonly entry: string;
  readonly sizes: Readonly<Record<string, number>>;
  readonly target: string;
}
/** Each target once: pipelines take this device's compiler seconds. */
const cases: readonly Case[] = [
  { file: "mlp", model: "MLP", entry: "logits", sizes: { N: 5 }, target: "baseline" },
  { file: "convnet", model: "ConvNetBN", set: { width: 8 }, entry: "logits", sizes: { N: 3 }, target: "gpu" },
  { file: "resnet20", model: "ResNet20", entry: "logits", sizes: { N: 1 }, target: own.name },
  {
    file: "transformer",
    model: "GPT",
    set: { depth: 1, context: 32 },
    entry: "logits",
    sizes: { B: 2, T: 17 },
    target: own.name,
  },
];
/** Largest difference over the largest result. */
const BOUND: Readonly<Record<Precision, number>> = { "f16-weights": 2e-3, f16: 8e-3 };

const compiled = (c: Case, wanted: Parameters<typeof compile>[2]): Compiled =>
  compile(readFileSync(example(c.file), "utf8"), `${c.file}.mdl`, {
    model: c.model,
    set: c.set,
    entries: [c.entry],
    verify: true,
    ...wanted,
  });

async function results(c: Case, of: Compiled, target: string): Promise<Float32Array> {
  const net = await load(of.artefact, { target, seed: 3 });
  try {
    const entry = of.artefact.programs[0].entries[0];
    const inputs = drawInputs(entry, sizesOf(entry, c.sizes), 1);
    const call = net.entries[c.entry] as (x: object) => Promise<Record<string, Tensor>>;
    return Object.values(await call(inputs))[0].data as Float32Array;
  } finally {
    net.dispose();
  }
}

it.for(cases)("$model with f16 on $target is the same to f16's digits", async (c, context) => {
  const { features } = await testDevice(context);
  if (!features.has("shader-f16")) return context.skip("the adapter has no shader-f16");
  const target = targets.find((t) => t.name === c.target) as Target;
  const narrow = (["f16-weights", "f16"] as const).map((p) => withPrecision(target, p));
  const made = compiled(c, { targets: [...narrow, target] });
  const plain = await results(c, made, c.target);
  const largest = plain.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
  for (const { name, precision } of narrow) {
    const own = await results(c, made, name);
    const error = own.reduce((m, x, i) => Math.max(m, Math.abs(x - plain[i])), 0) / largest;
    expect(error, name).toBeLessThan(BOUND[precision as Precision]);
    // Something was rounded: the path is the one that was asked for.
    expect(error, name).toBeGreaterThan(0);
    if (process.env["MDL_TEST_TELL"]) process.stderr.write(`${c.model} ${name} ${error.toExponential(1)}\n`);
  }
});

const STEPS = `
import { BatchNorm2d, Conv2d, Linear } from "std/nn"
model Small(scale: float = 1.0) {
  conv = Conv2d(1, 8, 3, padding = 1, bias = false)
  bn   = BatchNorm2d(8)
  wide = Linear(8 * 4 * 4, 64)
  head = Linear(64, 4)
  fn loss(x: f32[N, 1, 8, 8], y: i32[N]) -> f32 {
    h = x |> conv |> bn |> relu |> max_pool2d(2) |> flatten |> wide |> gelu |> dropout(0.1) |> head
    scale * cross_entropy(h, y)
  }
}
train fit for Small { minimize loss; with adamw(lr = 1e-2); clip norm 1.0 }
train own for Small { minimize loss; gradients }
`;
const small = (target: Target, set?: Readonly<Record<string, number>>): Compiled =>
  compile(STEPS, "small.mdl", { set, verify: true, targets: [withPrecision(target, "f16"), target] });
const inputs = {
  x: { data: Float32Array.from({ length: 32 * 64 }, (_, i) => Math.sin(i * i)), shape: [32, 1, 8, 8] },
  y: Int32Array.from({ length: 32 }, (_, i) => i % 4),
};

it("a step stores what products read and give as f16, no sum, no gradient of a parameter, nothing of the update", () => {
  const made = small(targets.find((t) => t.name === "cpu-subgroup") as Target);
  const text = made.emit("fused", "cpu-subgroup-f16");
  const [step, gradients] = ["fit_step", "own_gradients"].map((name) =>
    text.split(/^entry /m).find((part) => part.startsWith(name)),
  );
  expect(step).toMatch(/conv2d: f32\[N, 8, 8, 8\].* as f16/);
  for (const line of (step as string).split("\n")) {
    const stored = (line.split("} -> ")[1] ?? "").split(/, (?=\w+: )/);
    for (const one of stored.filter((s) => s.endsWith(" as f16")))
      expect(one).toMatch(/\[N, \d+|\[\d{2,}, \d{2,}\]/);
  }
  // Whose gradients go to the caller, who has no scale for them.
  expect(gradients).not.toContain("as f16");
  expect(made.emit("fused", "cpu-subgroup")).not.toContain("as f16");
  expect(made.artefact.state.map((s) => s.path)).toContain("fit.loss_scale");
});

it("a step in f16 trains as one in f32 does, to f16's digits; a scale that is too large is halved", async (context) => {
  const { features } = await testDevice(context);
  if (!features.has("shader-f16")) return context.skip("the adapter has no shader-f16");
  const made = small(own);
  const run = async (target: string, set?: Readonly<Record<string, number>>) => {
    const net = await load((set ? small(own, set) : made).artefact, {
      target,
      seed: 3,
      entries: ["fit_step"],
    });
    const step = net.entries["fit_step"] as (x: object) => Promise<{ loss: Promise<number> }>;
    const losses: number[] = [];
    const before = (await net.snapshot()).params;
    losses.push(await (await step(inputs)).loss);
    const still = Buffer.from(before).equals((await net.snapshot()).params);
    for (let i = 0; i < 11; i++) losses.push(await (await step(inputs)).loss);
    const { state } = await net.snapshot();
    const at = made.artefact.state.find((s) => s.path === "fit.loss_scale")?.offset as number;
    net.dispose();
    return { losses, still, scale: new DataView(state.buffer, state.byteOffset).getFloat32(at, true) };
  };
  const plain = await run(own.name);
  const half = await run(`${own.name}-f16`);
  expect(plain.losses[11]).toBeLessThan(0.8 * plain.losses[0]);
  expect(half.losses).not.toEqual(plain.losses);
  const errors = half.losses.map((loss, i) => Math.abs(loss - plain.losses[i]));
  expect(Math.max(...errors)).toBeLessThan(1e-2);
  expect([plain.scale, half.scale]).toEqual([65536, 65536]);
  // A loss that is 4,000 times as large: its gradients are beyond f16 at that scale, and nothing is changed until they are not.
  const large = await run(`${own.name}-f16`, { scale: 4000 });
  expect(large.scale).toBeLessThan(65536);
  expect([plain.still, half.still, large.still]).toEqual([false, false, true]);
  expect(large.losses[11]).toBeLessThan(0.95 * large.losses[0]);
  expect(large.losses.every(Number.isFinite)).toBe(true);
});
