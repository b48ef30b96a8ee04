// The gate's real input: ResNet-20 with trained weights, compiled by the command, in a plain Node program: right on 3992 of
// CIFAR-10's first 4000 training images (give or take one); and its test data sets agree.
import { spawnSync } from "node:child_process";
import { closeSync, copyFileSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { allclose } from "../support/allclose.ts";
import { example, testCli } from "../support/cli.ts";
import { testDevice } from "../support/device.ts";
import { projectFile, projectRoot } from "../support/files.ts";
import { testModule } from "../support/module.ts";
import { sharedData, testDataSets } from "../support/shared-data.ts";

const model = ["models", "cifar10-resnet20"] as const;
const source = fileURLToPath(new URL("./resnet20.mjs", import.meta.url));

describe("ResNet-20", () => {
  const cli = testCli();
  const module = testModule(projectFile("dsl-examples/resnet20.mdl"), { entries: ["logits"] });
  // Within the project, so that the program finds the package webgpu as a user's would.
  const folder = mkdtempSync(join(projectRoot, "node_modules", ".cache-resnet20-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("agrees with its test data sets", async (context) => {
    const at = sharedData(context, ...model);
    const net = await module.load(context, { weights: readFileSync(join(at, "model.safetensors")) });
    for (const { inputs, outputs } of testDataSets(at)) {
      const logits = await net.call("logits", { x: inputs[0].data as Float32Array });
      allclose(logits, outputs[0].data as Float32Array, { rtol: 1e-3, atol: 1e-3, shape: outputs[0].shape });
    }
  });

  it("classifies CIFAR-10 in a program that ends by itself", async (context) => {
    await testDevice(context);
    const images = sharedData(context, "datasets", "cifar10", "train_first4000.bin.gz");
    const trained = join(sharedData(context, ...model), "model.safetensors");
    const compiled = cli.run([
      "compile",
      example("resnet20"),
      "--weights",
      trained,
      "--entry",
      "logits",
      "-o",
      folder,
    ]);
    expect(compiled, compiled.err).toMatchObject({ code: 0 });
    const program = join(folder, "program.mjs");
    copyFileSync(source, program);
    // As at a terminal or `2>> log`; what child_process gives as a pipe is a socket, which cannot be silenced in Node.
    const log = join(folder, "log");
    const standardError = openSync(log, "a");
    const args = [program, join(folder, "resnet20.js"), join(folder, "resnet20.safetensors"), images, "32"];
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
