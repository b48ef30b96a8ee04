// What is stored as f16 (6-layout/storage.ts), on the adapter: examples with f16 weights, and with f16 activations, against the
// same in f32, on every target. The bounds are what f16's eleven digits leave of the results, with room; docs/performance.md
// has the errors as they were measured.
import { readFileSync } from "node:fs";
import { expect, it, type TestContext } from "vitest";
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
  { file: "resnet20", model: "ResNet20", entry: "logits", sizes: { N: 1 }, target: "cpu-subgroup" },
  {
    file: "transformer",
    model: "GPT",
    set: { depth: 1, context: 32 },
    entry: "logits",
    sizes: { B: 2, T: 17 },
    target: "cpu-subgroup",
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

it.each(cases)("$model with f16 on $target is the same to f16's digits", async (c, context) => {
  const { features } = await testDevice(context as never);
  if (!features.has("shader-f16")) return (context as never as TestContext).skip("this adapter has no f16");
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
