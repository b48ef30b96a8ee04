// The gate's real input: ResNet-20 with trained weights, in a plain Node program, is right on 3992 of CIFAR-10's first 4000
// training images (give or take one), and its test data sets agree.
import { spawnSync } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { allclose } from "../support/allclose.ts";
import { testDevice } from "../support/device.ts";
import { projectFile } from "../support/files.ts";
import { testModule } from "../support/module.ts";
import { sharedData, testDataSets } from "../support/shared-data.ts";

const model = ["models", "cifar10-resnet20"] as const;
const program = fileURLToPath(new URL("./resnet20.mjs", import.meta.url));

describe("ResNet-20", () => {
  const module = testModule(projectFile("dsl-examples/resnet20.mdl"), { entries: ["logits"] });

  it("agrees with its test data sets", async (context) => {
    const folder = sharedData(context, ...model);
    const net = await module.load(context, { weights: readFileSync(join(folder, "model.safetensors")) });
    for (const { inputs, outputs } of testDataSets(folder)) {
      const logits = await net.call("logits", { x: inputs[0].data as Float32Array });
      allclose(logits, outputs[0].data as Float32Array, { rtol: 1e-3, atol: 1e-3, shape: outputs[0].shape });
    }
  });

  it("classifies CIFAR-10 in a program that ends by itself", async (context) => {
    await testDevice(context);
    const images = sharedData(context, "datasets", "cifar10", "train_first4000.bin.gz");
    const weights = join(sharedData(context, ...model), "model.safetensors");
    // As at a terminal or `2>> log`; what child_process gives as a pipe is a socket, which cannot be silenced in Node.
    const log = join(dirname(module.path()), "resnet20.log");
    const standardError = openSync(log, "a");
    const args = [program, module.path(), weights, images, "32"];
    const run = spawnSync(process.execPath, args, {
      stdio: ["ignore", "pipe", standardError],
      encoding: "utf8",
    });
    closeSync(standardError);
    expect({ status: run.status, log: readFileSync(log, "utf8") }).toEqual({ status: 0, log: "" });
    const { count, correct } = JSON.parse(run.stdout) as { count: number; correct: number };
    expect(count).toBe(4000);
    expect(Math.abs(correct - 3992)).toBeLessThanOrEqual(1);
  });
});
