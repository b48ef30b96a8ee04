// The weights beside the examples do what docs/training.md says of them.
import { join } from "node:path";
import { expect, it } from "vitest";
import { example, testCli } from "../support/cli.ts";
import { testDevice } from "../support/device.ts";
import { projectRoot } from "../support/files.ts";
import { sharedData } from "../support/shared-data.ts";

const { run } = testCli();

it("convnet-mnist is right on 99.5 % of MNIST's test images", async (context) => {
  await testDevice(context);
  const data = `mnist:${sharedData(context, "datasets", "mnist")}`;
  const weights = join(projectRoot, "dsl-examples", "weights", "convnet-mnist.safetensors");
  const args = ["--model", "ConvNet", "--weights", weights, "--data", data, "--entry", "accuracy", "--json"];
  const ran = run(["eval", example("convnet"), ...args]);
  expect(ran.err).toBe("");
  expect(JSON.parse(ran.out).accuracy).toBeGreaterThanOrEqual(0.995);
});
