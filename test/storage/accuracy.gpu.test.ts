// Trained weights in few bits: ResNet-20 on CIFAR-10's training images, which it knows to 99.8 %. On the adapter.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { compile, quantizeWeight, type Storage } from "../../compiler/core/index.ts";
import { load } from "../../runtime/core/index.ts";
import { convert, parseSafetensors } from "../../runtime/core/safetensors.ts";
import type { Tensor } from "../../runtime/core/tensor.ts";
import { own } from "../support/adapter.ts";
import { example } from "../support/cli.ts";
import { testDevice } from "../support/device.ts";
import { readCifar10, sharedData } from "../support/shared-data.ts";
import { packed } from "./support.ts";

const PLANE = 32 * 32;
const COUNT = 100;
const BATCH = 50;

it.for<{ storage: Storage; wrong: number }>([
  { storage: { bits: 8 }, wrong: 1 },
  { storage: { bits: 4 }, wrong: 5 },
])("ResNet-20 with $storage.bits bits knows its images", async ({ storage, wrong }, context) => {
  await testDevice(context);
  const at = sharedData(context, "models", "cifar10-resnet20");
  const { pixels, labels } = readCifar10(
    sharedData(context, "datasets", "cifar10", "train_first4000.bin.gz"),
  );
  const made = compile(readFileSync(example("resnet20"), "utf8"), "resnet20.mdl", {
    entries: ["logits"],
    targets: [own],
    storage,
  });
  const file = parseSafetensors(readFileSync(join(at, "model.safetensors")));
  const weights: Record<string, { data: Float32Array | Uint32Array; shape: readonly number[] }> = {};
  for (const [path, tensor] of file) {
    const data = convert(tensor, "f32") as Float32Array | undefined;
    const w = made.stored?.weights.find((x) => x.path === path);
    if (!data) continue;
    if (!w) weights[path] = { data, shape: tensor.shape };
    else Object.assign(weights, packed(w, quantizeWeight(w, data)));
  }
  const net = await load(made.artefact, { weights });
  try {
    let right = 0;
    for (let from = 0; from < COUNT; from += BATCH) {
      const x = Float32Array.from({ length: BATCH * 3 * PLANE }, (_, j) => {
        const c = Math.floor(j / PLANE) % 3;
        const pixel = pixels[from * 3 * PLANE + j];
        return (pixel / 255 - [0.485, 0.456, 0.406][c]) / [0.229, 0.224, 0.225][c];
      });
      const call = net.entries["logits"] as (inputs: object) => Promise<{ logits: Tensor }>;
      const { logits } = await call({ x: { data: x, shape: [BATCH, 3, 32, 32] } });
      for (let i = 0; i < BATCH; i++) {
        const row = logits.data.slice(10 * i, 10 * i + 10) as Float32Array;
        if (row.indexOf(Math.max(...row)) === labels[from + i]) right++;
      }
    }
    if (process.env["MDL_TEST_TELL"]) process.stderr.write(`${storage.bits} bits: ${right} of ${COUNT}\n`);
    expect(right).toBeGreaterThanOrEqual(COUNT - wrong);
  } finally {
    net.dispose();
  }
});
