// Batches that threads make are those that one makes, and what they cannot read is said as it is without them.
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { bundleText } from "../support/bundle.ts";
import { projectRoot } from "../support/files.ts";

const folder = join(projectRoot, "node_modules", ".cache", "mdl", `workers.${process.pid}`);
mkdirSync(folder, { recursive: true });
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const PROGRAM = `
import { deepStrictEqual } from "node:assert";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { batches, fromArrays, split } from "./runtime/data/index.ts";
import { Loader, pictureFolder } from "./runtime/data/node/index.ts";
import { encodePng } from "./runtime/data/node/pictures/png.ts";

const x = { data: Uint8Array.from({ length: 50 * 27 }, (_, i) => (i * 7) % 256), shape: [50, 3, 3, 3] };
const arrays = split(fromArrays({ x, y: Int32Array.from({ length: 50 }, (_, i) => i % 5) }), 0.2).train;
const dir = process.argv[2];
for (const name of ["a", "b"]) mkdirSync(join(dir, name), { recursive: true });
for (let i = 0; i < 6; i++)
  writeFileSync(join(dir, i % 2 ? "a" : "b", i + ".png"), encodePng(4, 4, 3, new Uint8Array(48).fill(40 * i)));

for (const data of [arrays, pictureFolder(dir)]) {
  const options = { batch: 4, seed: 3, augment: "crop:1,flip,mixup:1", inputs: { x: "x", y: { column: "y", oneHot: 5 } } };
  const loader = new Loader(data, { ...options, workers: 2 });
  for (const [epoch, from] of [[0, 0], [1, 1]]) {
    const got = [];
    for await (const batch of loader.epoch(epoch, from)) got.push({ ...batch });
    deepStrictEqual(got, [...batches(data, { ...options, epoch, from })].map((b) => ({ ...b })));
  }
  await loader.close();
}
writeFileSync(join(dir, "a", "1.png"), "no picture");
const broken = new Loader(pictureFolder(dir, { size: [4, 4] }), { batch: 2, workers: 2 });
try {
  for await (const _ of broken.epoch(0)) void 0;
} catch (error) {
  console.log(error.name, error.message.replace(dir, "DIR"));
}
await broken.close();
// One that is left half-way does not keep the process.
const left = new Loader(arrays, { batch: 4, workers: 1 });
for await (const _ of left.epoch(0)) break;
console.log("end");
`;

it("two threads give what one gives", async () => {
  await bundleText(PROGRAM, join(folder, "main.mjs"));
  const worker = readFileSync(join(projectRoot, "runtime/data/node/worker.ts"), "utf8");
  await bundleText(
    worker.replaceAll(/"\.\.?\//g, (from) =>
      from === '"../' ? '"./runtime/data/' : '"./runtime/data/node/',
    ),
    join(folder, "worker.js"),
  );
  const args = [join(folder, "main.mjs"), join(folder, "pictures")];
  const ran = spawnSync(process.execPath, args, { encoding: "utf8", timeout: 25_000 });
  expect([ran.stdout, ran.stderr, ran.status]).toEqual([
    "DataError DIR/a/1.png is no picture that can be read: it does not begin as a .png file does\nend\n",
    "",
    0,
  ]);
});
