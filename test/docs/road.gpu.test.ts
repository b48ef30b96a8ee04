// docs/training.md's road from PyTorch: its model is compiled, its program trains it, saves it, loads it again, and measures the
// same.
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { compile, emitModule } from "../../compiler/core/index.ts";
import { bundleText } from "../support/bundle.ts";
import { testDevice } from "../support/device.ts";
import { fencesOf } from "../support/fences.ts";
import { projectRoot } from "../support/files.ts";

const folder = join(projectRoot, "node_modules", ".cache", "mdl", `road.${process.pid}`);
mkdirSync(folder, { recursive: true });
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const fences = fencesOf("docs/training.md");
const model = fences.find((f) => f.language === "mdl" && f.body.includes("model Classifier"))?.body ?? "";

/** A program beside the model's module, in a process of its own: what it printed. */
async function run(program: string): Promise<string> {
  const { artefact } = compile(model, "classifier.mdl");
  writeFileSync(join(folder, "classifier.js"), emitModule(artefact, { runtime: "inline" }).js);
  const main = join(folder, "main.mjs");
  await bundleText(
    program
      .replace('"mdlc/data"', '"./runtime/data/index.ts"')
      .replace('"./classifier.js"', JSON.stringify(join(folder, "classifier.js"))),
    main,
  );
  const ran = spawnSync(process.execPath, ["--expose-gc", main], { cwd: folder, encoding: "utf8" });
  expect(ran.status, ran.stderr).toBe(0);
  return ran.stdout;
}

it("trains, saves, reloads and measures the same", async (context) => {
  await testDevice(context);
  const program = fences.find((f) => f.language === "js" && f.kind === "program")?.body ?? "";
  const out = await run(program);
  expect(out.split("\n").slice(0, 4).join("\n")).toMatch(/^(epoch \d: loss \d\.\d\d\n?){4}$/);
  const [, accuracy, same] = /accuracy ([\d.]+), reloaded ([\d.]+)/.exec(out) ?? [];
  expect(Number(accuracy)).toBeGreaterThan(0.9);
  expect(same).toBe(accuracy);
});

it("takes no more memory after many steps than after some", async (context) => {
  await testDevice(context);
  const out = await run(`
import { load } from "./classifier.js";
import { batches, fromArrays } from "mdlc/data";
const data = fromArrays({ x: { data: new Float32Array(640 * 64).fill(0.5), shape: [640, 1, 8, 8] }, y: new Int32Array(640) });
const net = await load({ train: { totalSteps: 1000 } });
const used = () => {
  globalThis.gc();
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  return heapUsed + external + arrayBuffers;
};
let step;
const run = async (epochs) => {
  for (let epoch = 0; epoch < epochs; epoch++)
    for (const batch of batches(data, { batch: 32, epoch, augment: "flip" })) step = await net.train_step(batch);
  await step.loss;
};
await run(8);
const [before, gpu] = [used(), net.memory()];
await run(20);
console.log(JSON.stringify({ grown: used() - before, gpu: net.memory().total - gpu.total, buffers: net.memory().buffers - gpu.buffers, step: step.step }));
net.dispose();
`);
  const { grown, gpu, buffers, step } = JSON.parse(out);
  expect({ gpu, buffers, step }).toEqual({ gpu: 0, buffers: 0, step: 559 });
  // What the collector has not found yet comes and goes; a batch of each of the 400 steps would be 3.3 MB.
  expect(grown).toBeLessThan(1_500_000);
});
