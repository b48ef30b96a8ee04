// `mdl train` on the adapter: it learns, writes what it says, and goes on bit for bit from where it was stopped; `mdl eval`
// measures the same.
import { spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { crc32c } from "../../compiler/cli/train/tensorboard.ts";
import { parseSafetensors } from "../../runtime/core/safetensors.ts";
import { isSoftwareAdapter } from "../../runtime/node/index.ts";
import { BANDS, BANDS_STATE } from "../support/bands.ts";
import { type Ran, testCli } from "../support/cli.ts";
import { mnistFiles } from "../support/data-files.ts";
import { testDevice } from "../support/device.ts";
import { GAN } from "../support/gan.ts";

const { folder, main, run } = testCli();
beforeAll(() => {
  writeFileSync(join(folder, "bands.mdl"), BANDS);
  writeFileSync(
    join(folder, "wide.mdl"),
    BANDS.replaceAll("16)", "17)").replaceAll("Linear(16,", "Linear(17,"),
  );
  mkdirSync(join(folder, "data"));
  for (const [name, data] of Object.entries(mnistFiles(200, 80, 8, 4)))
    writeFileSync(join(folder, "data", name), data);
});
const read = (name: string): Buffer => readFileSync(join(folder, name));
const options = "--data mnist:data --augment shift:0.03,erase:0.1 --seed 5 --epochs 40 --batch 16".split(" ");

/** The command, stopped by Ctrl-C once it has printed its first epoch. */
function stopped(args: readonly string[]): Promise<Ran> {
  const child = spawn(process.execPath, [main(), ...args], { cwd: folder });
  const out = { out: "", err: "" };
  let told = false;
  child.stdout.on("data", (text) => {
    out.out += text;
    if (!told && /^ +1 /m.test(out.out)) told = child.kill("SIGINT");
  });
  child.stderr.on("data", (text) => {
    out.err += text;
  });
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, ...out })));
}

describe("mdl train", () => {
  it("learns, and writes weights, a log, curves and events", async (context) => {
    const { info } = await testDevice(context);
    const kind = isSoftwareAdapter(info) ? "cpu" : "gpu";
    const files =
      "--save whole.safetensors --checkpoint whole.ckpt --log run.jsonl --plot run.svg --tensorboard board";
    const ran = run(["train", "bands.mdl", ...options, ...files.split(" ")]);
    expect([ran.code, ran.err]).toEqual([0, ""]);
    expect(ran.out).toMatch(/^Bands, 1,108 parameters, on /);
    expect(ran.out).toContain("x: f32[1, 8, 8] as [64], y: i32");
    const log = read("run.jsonl")
      .toString()
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(new Set(log.map((e) => e.event))).toEqual(new Set(["step", "epoch", "end"]));
    for (const e of log)
      expect(Object.keys(e)).toEqual(
        expect.arrayContaining(["epoch", "step", "loss", "lr", "samples_per_s"]),
      );
    const end = log.at(-1);
    expect(end).toMatchObject({ event: "end", epoch: 40, step: 520, reason: "done" });
    expect(end.val.accuracy).toBeGreaterThan(0.95);
    expect(log.filter((e) => e.event === "epoch")).toHaveLength(40);
    expect(read("run.svg").toString()).toMatch(/^<svg [\s\S]*polyline[\s\S]*<\/svg>\n$/);
    // TensorBoard's records: a length with its checksum, data with its own.
    const [name] = readdirSync(join(folder, "board"));
    const events = read(join("board", name));
    let at = 0;
    for (; at < events.length; ) {
      const length = events.readUInt32LE(at);
      const sum = crc32c(events.subarray(at + 12, at + 12 + length));
      expect(events.readUInt32LE(at + 12 + length)).toBe((((sum >>> 15) | (sum << 17)) + 0xa282ead8) >>> 0);
      at += length + 16;
    }
    expect(at).toBe(events.length);
    const json = run([
      "eval",
      "bands.mdl",
      "--weights",
      "whole.safetensors",
      "--data",
      "mnist:data",
      "--json",
      "--device",
      kind,
    ]);
    if (kind === "cpu") {
      const refused = run(["train", "bands.mdl", ...options, "--device", "gpu"]);
      expect([refused.code, refused.out]).toEqual([3, ""]);
      expect(refused.err).toContain("--device gpu: there is no GPU that WebGPU can use, but ");
    }
    const metrics = JSON.parse(json.out);
    expect(metrics.accuracy).toBeCloseTo(end.val.accuracy, 6);
    expect(metrics.loss).toBeCloseTo(end.val.loss, 5);
    const table = run([
      "eval",
      "bands.mdl",
      "--weights",
      "whole.safetensors",
      "--data",
      "mnist:data",
      "--confusion",
    ]);
    expect(table.out).toMatch(
      /^Bands on 80 records of data\/t10k-images-idx3-ubyte.gz\n {2}loss +[\d.e-]+\n {2}accuracy/,
    );
    const records = ["--data", "mnist:data", "--records", "0:3", "--output", "-"];
    const scores = run(["run", "bands.mdl", "logits", "--weights", "whole.safetensors", ...records]);
    expect(JSON.parse(scores.out).logits ?? JSON.parse(scores.out)).toHaveLength(3);
    // A row a class: all records are in the table, and those on its diagonal are right.
    const rows = table.out.trimEnd().split("\n").slice(-4);
    const counts = rows.map((row) =>
      row
        .trim()
        .split(/ +/)
        .slice(1, 5)
        .map((n) => (n === "." ? 0 : Number(n))),
    );
    const sum = (of: readonly number[]): number => of.reduce((a, b) => a + b, 0);
    expect(sum(counts.flat())).toBe(80);
    expect(sum(counts.map((row, i) => row[i])) / 80).toBeCloseTo(metrics.accuracy, 6);
  });
  it("stopped and resumed, is what it would have been: the same bits", async (context) => {
    await testDevice(context);
    const ran = await stopped(["train", "bands.mdl", ...options, "--save", "two.safetensors"]);
    expect(ran.code).toBe(130);
    expect(ran.out).toContain("stopped; wrote two.ckpt: go on with mdl train bands.mdl --resume two.ckpt\n");
    const other = run(["train", "wide.mdl", "--resume", "two.ckpt"]);
    expect([other.code, other.err]).toEqual([
      1,
      "error: two.ckpt cannot be gone on with: it is of another Bands, with other parameters or another optimiser\n",
    ]);
    const more = run(["train", "bands.mdl", "--resume", "two.ckpt", "--save", "two.safetensors"]);
    expect([more.code, more.err]).toEqual([0, ""]);
    expect(read("two.safetensors").equals(read("whole.safetensors"))).toBe(true);
  });
  it("goes on within an epoch with averages, sums of gradients and plateaus, which it measures and saves", async (context) => {
    await testDevice(context);
    writeFileSync(join(folder, "state.mdl"), BANDS_STATE);
    const model = ["state.mdl", "--model", "Bands"];
    const args = [
      "train",
      ...model,
      "--set",
      "p=0.4",
      "--data",
      "mnist:data",
      "--epochs",
      "8",
      "--plateau",
      "1",
    ];
    const whole = run([...args, "--steps", "50", "--log", "state.jsonl", "--save", "state.safetensors"]);
    expect(whole.err).toBe("");
    expect(whole.out).toContain(" records; every 2 of fit make an update\n");
    const json = run(["eval", ...model, "--weights", "state.safetensors", "--data", "mnist:data", "--json"]);
    const end = JSON.parse(read("state.jsonl").toString().trimEnd().split("\n").at(-1) as string);
    expect(JSON.parse(json.out).loss).toBeCloseTo(end.val.loss, 5);
    // Between the two steps of an update.
    const part = run([...args, "--steps", "21", "--checkpoint", "state.ckpt"]);
    expect([part.err, part.out]).toEqual([
      "",
      expect.stringContaining("an update, the last 1 of the run none\n"),
    ]);
    // What the run was asked for goes on: the model of its file, its arguments, what counts as a plateau.
    const more = ["train", "state.mdl", "--resume", "state.ckpt", "--steps", "50"];
    expect(run([...more, "--precision", "f16"]).err).toMatch(
      /^error: state\.ckpt cannot be gone on with: its run was in f32 and this is in f16, .*--precision f16 --init WEIGHTS\n$/,
    );
    expect(run([...more, "--save", "parts.safetensors"]).err).toBe("");
    expect(read("parts.safetensors").equals(read("state.safetensors"))).toBe(true);
  });
  it("takes turns with several blocks, on noise that is drawn; the same seed gives the same bits", async (context) => {
    await testDevice(context);
    writeFileSync(join(folder, "gan.mdl"), GAN);
    const turns = ["train", "gan.mdl", "discriminator,generator", "--data", "mnist:data", "--val", "none"];
    const more = ["--map", "z=normal()", "--epochs", "4", "--log", "gan.jsonl"];
    for (const name of ["one", "other"]) {
      const ran = run([...turns, ...more, "--save", `${name}.safetensors`]);
      expect([ran.code, ran.err]).toEqual([0, ""]);
    }
    expect(read("one.safetensors").equals(read("other.safetensors"))).toBe(true);
    const end = JSON.parse(read("gan.jsonl").toString().trimEnd().split("\n").at(-1) as string);
    expect(end).toMatchObject({ step: 28, reason: "done" });
    expect(end.generator_loss).toBeGreaterThan(0);
    expect(run(["train", "gan.mdl", "--data", "mnist:data"]).err).toContain(
      "discriminator,generator to take turns",
    );
  });
  it("looks for a rate, takes schedules of the language, and ends early", async (context) => {
    await testDevice(context);
    const find = run(["train", "bands.mdl", "--data", "mnist:data", "--lr-find", "--plot", "find.svg"]);
    expect(find.err).toBe("");
    expect(find.out).toMatch(/the loss falls steepest at lr \d/);
    const schedule = ["--schedule", "one_cycle", "--lr", "0.02", "--log", "cycle.jsonl"];
    const cycle = run([
      "train",
      "bands.mdl",
      "--data",
      "mnist:data",
      "--epochs",
      "2",
      ...schedule,
      "--init",
      "whole.safetensors",
    ]);
    expect(cycle.err).toBe("");
    expect(cycle.out).toContain("4 of 4 tensors from whole.safetensors");
    const [first] = read("cycle.jsonl").toString().split("\n");
    expect(JSON.parse(first).lr).toBeCloseTo(0.02 / 25, 8);
    // What is frozen is as it was; the head is not.
    const frozen = ["--freeze", "hidden.*", "--init", "whole.safetensors", "--save", "frozen.safetensors"];
    expect(run(["train", "bands.mdl", "--data", "mnist:data", "--epochs", "1", ...frozen]).err).toBe("");
    const [was, is] = ["whole", "frozen"].map((name) => parseSafetensors(read(`${name}.safetensors`)));
    for (const name of was.keys())
      expect([
        name,
        Buffer.compare(was.get(name)?.bytes as Uint8Array, is.get(name)?.bytes as Uint8Array) === 0,
      ]).toEqual([name, name.startsWith("hidden")]);
    const early = run(
      "train bands.mdl --data mnist:data --epochs 50 --lr 0 --patience 2 --keep best --save best.safetensors".split(
        " ",
      ),
    );
    expect(early.out).toContain("stopped early: 2 epochs were no better\n");
  });
});
