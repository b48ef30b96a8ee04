// The tutorial's network, compiled and emitted: the same module gives the same logits, and the same losses of two training
// steps, in Node and in headless Chromium with a device handed in.

import { expect, test } from "vitest";
import { compile, emitModule } from "../../compiler/core/index.ts";
import type { Numbers, StepResult, Tensor } from "../../runtime/core/api.ts";
import { load } from "../../runtime/core/index.ts";
import { allclose } from "../support/allclose.ts";
import { openPage } from "../support/browser.ts";
import { testDevice } from "../support/device.ts";
import { projectFile } from "../support/files.ts";
import { signed } from "../support/hashing.ts";

const OPTIONS = { seed: 5, entries: ["logits", "train_step"], train: { totalSteps: 10 } };
const N = 3;

test("ConvNet gives in Chromium what it gives in Node", async (context) => {
  const { device } = await testDevice(context);
  const file = "dsl-examples/convnet.mdl";
  const { artefact } = compile(projectFile(file), file, { model: "ConvNet", set: { width: 8 } });
  const x = signed("x", [N, 1, 28, 28]);
  const y = Int32Array.of(3, 1, 4);

  const net = await load(artefact, { ...OPTIONS, device });
  const { logits } = (await net.entries["logits"]({ x })) as { logits: Tensor };
  const losses: number[] = [];
  for (let i = 0; i < 2; i++)
    losses.push(await ((await net.entries["train_step"]({ x, y })) as StepResult).loss);
  net.dispose();
  expect(logits.shape).toEqual([N, 10]);

  const page = await openPage(context, {
    "convnet.js": emitModule(artefact, { runtime: "inline", minify: true, host: "page", source: file }).js,
    "main.js": `
      import { load } from "./convnet.js";
      export async function main(options, x, y) {
        const adapter = await navigator.gpu.requestAdapter();
        const device = await adapter.requestDevice();
        const net = await load({ ...options, device });
        x = Float32Array.from(x);
        const { logits } = await net.logits({ x });
        const losses = [];
        for (let i = 0; i < 2; i++) losses.push(await (await net.train_step({ x, y })).loss);
        net.dispose();
        return { logits: logits.toArray(), losses, target: net.target };
      }`,
  });
  const given = [OPTIONS, [...x], [...y]].map((value) => JSON.stringify(value)).join();
  // As text: vitest would rewrite the import of a function given here.
  const found = (await page.evaluate(`import("/main.js").then(({ main }) => main(${given}))`)) as {
    logits: Numbers[][];
    losses: number[];
    target: string;
  };
  expect(found.target).toBe("baseline"); // a device of default limits, without features
  allclose(found.logits.flat() as number[], logits.data, { name: "logits", rtol: 1e-4, atol: 1e-4 });
  allclose(found.losses, losses, { name: "losses", rtol: 1e-4, atol: 1e-4 });
  expect(losses[0]).not.toBe(losses[1]);
});
