// What `npm start` shows once everything is there: a model trained by the command line on digits that are drawn here, compiled
// with its weights, and asked on this machine, as a user's own program would do it. Without a GPU: a small one, trained
// before (scripts/digits.safetensors), by the reference evaluator. `node scripts/main-job.mjs --retrain` makes that file again.
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { requestGpu, UnsupportedError } from "../dist/runtime/node/index.js";
import { digitFiles, digits, picture, SIZE } from "./digits.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const build = join(root, "build");
const smallWeights = join(root, "scripts", "digits.safetensors");
const source = join("dsl-examples", "convnet.mdl");
const PIXELS = SIZE * SIZE;
const BATCH = 32;

const color = process.stdout.isTTY && !process.env.NO_COLOR;
const paint = (code, text) => (color ? `\x1b[${code}m${text}\x1b[0m` : text);
const bold = (text) => paint(1, text);
const dim = (text) => paint(2, text);

/** Runs `mdl` with the terminal as ours. */
function mdl(...args) {
  console.log(`${bold("$")} mdl ${args.map((a) => a.replace(root, "")).join(" ")}\n`);
  const cli = join(root, "dist", "compiler", "cli", "main.js");
  const { status } = spawnSync(process.execPath, [cli, ...args], { cwd: root, stdio: "inherit" });
  if (status !== 0) throw new Error(`mdl ended with exit code ${status}`);
}

function show(image, label, scores) {
  const order = [...scores.keys()].sort((a, b) => scores[b] - scores[a]).slice(0, 3);
  const lines = order.map(
    (d) => `${d}  ${"█".repeat(Math.round(scores[d] * 20)).padEnd(20)} ${(100 * scores[d]).toFixed(1)} %`,
  );
  const right = [
    bold(`this is a ${order[0]}`),
    order[0] === label ? dim("which is right") : dim(`it was drawn as a ${label}`),
    "",
    ...lines,
  ];
  for (const [row, line] of picture(image).entries())
    console.log(`  ${line}  ${right[row - 4] ?? ""}`.trimEnd());
}

/** Steps until the seconds are over, or the loss is small. */
async function train(net, seconds, most, lr) {
  const pool = digits(1, 4096);
  const losses = [];
  const since = performance.now();
  let average = Number.POSITIVE_INFINITY;
  while (losses.length < most && performance.now() - since < seconds * 1000 && average > 0.05) {
    const at = (losses.length * BATCH) % (4096 - BATCH + 1);
    const x = pool.x.subarray(at * PIXELS, (at + BATCH) * PIXELS);
    const step = await net.train_step({ x, y: pool.y.subarray(at, at + BATCH) }, { lr });
    losses.push(await step.loss);
    const latest = losses.slice(-8);
    average = latest.length < 8 ? average : latest.reduce((a, b) => a + b, 0) / 8;
  }
  return losses;
}

async function withGpu(adapter) {
  console.log(`${bold("GPU")}  ${adapter.info.description || adapter.info.device || adapter.info.vendor}\n`);
  const test = writeDigits(join(build, "digits"));
  const trained = join("build", "trained.safetensors");
  const model = [source, "--model", "ConvNet"];
  const how = ["--schedule", "one_cycle", "--lr", "3e-3", "--epochs", "2", "--seed", "1"];
  mdl("train", ...model, "--data", `mnist:${join("build", "digits")}`, ...how, "--save", trained);
  console.log("");
  mdl("compile", ...model, "--weights", trained, "-o", "build");

  const { load } = await import(pathToFileURL(join(build, "convnet.js")).href);
  const net = await load({ weights: join(build, "convnet.safetensors"), entries: ["predict", "accuracy"] });
  const x = Float32Array.from(test.pixels, (v) => v / 255);
  const { accuracy } = await net.accuracy({ x, y: test.labels });
  const count = test.labels.length;
  console.log(
    `\n${bold("held-out digits")}  ${Math.round(accuracy.item() * count)} of ${count} are right, by build/convnet.js in this program\n`,
  );
  const image = x.subarray(0, PIXELS);
  const { predict } = await net.predict({ x: image });
  show(image, test.labels[0], predict.data);
  net.dispose();
  console.log(
    `\n${dim("what it is made of: build/convnet.js and its types beside it; mdl --help says the rest")}`,
  );
}

/** Digits as MNIST's files have them, to train on and to hold out. */
function writeDigits(folder) {
  mkdirSync(folder, { recursive: true });
  const [train, test] = [digitFiles(1, 6000), digitFiles(2, 1000)];
  for (const [part, { images, classes }] of Object.entries({ train, t10k: test })) {
    writeFileSync(join(folder, `${part}-images-idx3-ubyte`), images);
    writeFileSync(join(folder, `${part}-labels-idx1-ubyte`), classes);
  }
  return test;
}

function withoutGpu(reason) {
  console.log(`${bold("no GPU")}  ${reason}`);
  console.log(
    "without one a model is compiled as always, and runs by the reference evaluator, exact and slow:",
  );
  console.log(
    "a quarter of one percent of the full model's arithmetic, with weights that were trained before\n",
  );
  mdl("compile", source, "--model", "ConvNet", "--set", "width=4", "--weights", smallWeights, "-o", "build");
  const { x, y } = digits(2, 1);
  const input = join(build, "digit.bin");
  writeFileSync(input, new Uint8Array(x.buffer));
  console.log("");
  const weights = join("build", "convnet.safetensors");
  const model = [source, "predict", "--model", "ConvNet", "--set", "width=4"];
  mdl("run", ...model, "--weights", weights, "--input", `x=${input}`, "--device", "cpu", "--top", "3");
  console.log("");
  for (const line of picture(x)) console.log(`  ${line}`);
  console.log(`  ${dim(`it was drawn as a ${y[0]}`)}`);
}

async function retrain() {
  mdl("compile", source, "--model", "ConvNet", "--set", "width=4", "--set", "p=0", "-o", "build");
  const { load } = await import(pathToFileURL(join(build, "convnet.js")).href);
  const net = await load({ seed: 1 });
  const losses = await train(net, 120, 1500, 3e-3);
  const { accuracy } = await net.accuracy(digits(2, 500));
  await net.save(smallWeights);
  net.dispose();
  console.log(
    `${losses.length} steps, loss ${losses.at(-1).toFixed(3)}, ${(100 * accuracy.item()).toFixed(1)} % right`,
  );
}

/** The adapter, or why there is none. */
async function findAdapter() {
  try {
    const gpu = await requestGpu();
    return (await gpu.requestAdapter()) ?? "there is no WebGPU adapter (mdl doctor says how to get one)";
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    return error.message;
  }
}

mkdirSync(build, { recursive: true });
const adapter = await findAdapter();
if (process.argv.includes("--retrain")) await retrain();
else if (typeof adapter === "string") withoutGpu(adapter);
else await withGpu(adapter);
