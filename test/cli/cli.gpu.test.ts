// The command line on the adapter: a source and its module give what the reference evaluator gives, in processes that end by
// themselves and say nothing of Dawn's.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type Target, targets } from "../../compiler/core/index.ts";
import { formatNpy, parseNpy } from "../../runtime/data/npy.ts";
import { allclose } from "../support/allclose.ts";
import { example, testCli } from "../support/cli.ts";
import { testDevice } from "../support/device.ts";
import { projectRoot } from "../support/files.ts";
import { readmeBlock } from "../support/readme.ts";
import { type Alternative, compile as compileTuned, TUNED_SOURCE } from "../support/tune.ts";

const { folder, run } = testCli();
const out = (name: string): Float32Array => parseNpy(readFileSync(join(folder, name))).data as Float32Array;

describe("mdl on a GPU", () => {
  it("runs a source and its module to the same numbers as the reference", async (context) => {
    await testDevice(context);
    const images = Float32Array.from({ length: 2 * 784 }, (_, i) => Math.sin(i * 0.37));
    writeFileSync(join(folder, "x.npy"), formatNpy("f32", [2, 1, 28, 28], images));
    const source = example("convnet");
    const compiled = run([
      "compile",
      source,
      "--model",
      "ConvNet",
      "--set",
      "width=8",
      "--entry",
      "predict",
      "-o",
      ".",
    ]);
    expect([compiled.code, compiled.err]).toEqual([0, ""]);
    const given = ["predict", "--input", "x=x.npy", "--seed", "5"];
    const note =
      "ConvNet runs with parameters as they are initialised (seed 5): give trained ones with --weights FILE\n";
    const ways = {
      "module.npy": ["run", "convnet.js", ...given],
      "source.npy": ["run", source, ...given, "--model", "ConvNet", "--set", "width=8", "--device", "gpu"],
      "baseline.npy": [
        "run",
        source,
        ...given,
        "--model",
        "ConvNet",
        "--set",
        "width=8",
        "--target",
        "baseline",
      ],
      "cpu.npy": ["run", source, ...given, "--model", "ConvNet", "--set", "width=8", "--device", "cpu"],
    };
    for (const [name, args] of Object.entries(ways)) {
      expect(run([...args, "--output", name])).toEqual({ code: 0, out: "", err: `${note}wrote ${name}\n` });
    }
    for (const name of ["module.npy", "source.npy", "baseline.npy"])
      allclose(out(name), out("cpu.npy"), { rtol: 1e-4, atol: 1e-6, shape: [2, 10] });
  });

  it("takes a training step", async (context) => {
    await testDevice(context);
    writeFileSync(
      join(folder, "x.json"),
      JSON.stringify([Array.from({ length: 4 }, (_, i) => i / 4), [0, 1, 0, 1]]),
    );
    const args = ["--set", "inputs=4", "--set", "hidden=8", "--input", "x=x.json", "--input", "y=[1, 2]"];
    const { code, out: text } = run(["run", example("mlp"), "fit_step", ...args]);
    expect(text).toMatch(/^loss: f32 = \d\.\d{4}\naccuracy: f32 = \S+\n$/);
    expect(code).toBe(0);
  });

  it("profiles a step kernel by kernel, as a table, a trace and figures", async (context) => {
    await testDevice(context);
    const source = example("mlp");
    const { code, out: text } = run([
      "profile",
      source,
      "train",
      "--size",
      "N=3",
      "--runs",
      "2",
      "--top",
      "4",
      "--trace",
      "trace.json",
      "--json",
      "profile.json",
    ]);
    expect(code).toBe(0);
    expect(text).toMatch(/^fit_step at N = 3 on .+, target \S+$/m);
    const { rows, ceilings, host_ms, call_ms } = JSON.parse(
      readFileSync(join(folder, "profile.json"), "utf8"),
    );
    expect(text.match(/^ +\d+ .* % .*$/gm)).toHaveLength(4);
    expect(text).toContain(`and ${rows.length - 4} others`);
    expect(rows.every((r: { microseconds: number }) => r.microseconds >= 0)).toBe(true);
    // A product of [3, 784] and [784, 128]: two operations a multiply-add.
    const first = rows.find((r: { kernel: string }) => r.kernel.startsWith("dot_add_relu"));
    expect(first.site).toMatch(/mlp\.mdl:\d+:\d+ in layers\.0/);
    expect(first.flops).toBeGreaterThanOrEqual(2 * 3 * 784 * 128);
    expect(first.bytes).toBeGreaterThanOrEqual(4 * (3 * 784 + 784 * 128 + 3 * 128));
    expect(Math.min(ceilings.gflops, ceilings.gbs, host_ms, call_ms - host_ms)).toBeGreaterThan(0);
    const { traceEvents } = JSON.parse(readFileSync(join(folder, "trace.json"), "utf8"));
    const kernels = traceEvents.filter((e: { cat?: string }) => e.cat === "gpu");
    expect(kernels.map((e: { name: string }) => e.name)).toEqual(
      rows.map((r: { kernel: string }) => r.kernel),
    );
    // One after the other.
    for (const [i, e] of kernels.slice(1).entries())
      expect(e.ts).toBeCloseTo(kernels[i].ts + kernels[i].dur, 3);
    expect(run(["profile", source, "logits", "--size", "M=3"])).toEqual({
      code: 1,
      out: "",
      err: "error: logits has no size M: its sizes are N\n",
    });
  });

  it("tunes for the adapter, and a module takes the tuned program there", async (context) => {
    await testDevice(context);
    writeFileSync(join(folder, "two.mdl"), TUNED_SOURCE);
    const {
      code,
      out: text,
      err,
    } = run(["tune", "two.mdl", "--size", "N=3", "--budget", "1s", "-o", "table.json"]);
    expect([code, err]).toEqual([
      0,
      expect.stringMatching(/^times forward as they are\n[\s\S]*wrote table\.json\n$/),
    ]);
    expect(text).not.toBe("");
    const table = JSON.parse(readFileSync(join(folder, "table.json"), "utf8"));
    // What the search would find changes with the machine: another choice of the first product, whatever it costs.
    const ways = new Map<string, readonly Alternative[]>();
    compileTuned([targets.find((t) => t.name === table.target) as Target], (offers, way) => {
      if (offers.length > 1) ways.set(way, offers);
      return 0;
    });
    const [[region, offers]] = ways;
    table.rows = [{ region, ...offers[1], microseconds: 1, before: 2 }];
    writeFileSync(join(folder, "table.json"), JSON.stringify(table));
    expect(run(["compile", "two.mdl", "--tuning", "table.json"]).code).toBe(0);
    writeFileSync(
      join(folder, "two.npy"),
      formatNpy(
        "f32",
        [3, 256],
        Float32Array.from({ length: 768 }, (_, i) => Math.sin(i)),
      ),
    );
    const given = ["run", "two.js", "forward", "--input", "x=two.npy", "--output"];
    expect(run([...given, "tuned.npy"]).code).toBe(0);
    expect(run([...given, "plain.npy", "--target", table.target]).code).toBe(0);
    allclose(out("tuned.npy"), out("plain.npy"), { rtol: 1e-4, atol: 1e-4, shape: [3, 64] });
    const profiled = run(["profile", "two.js", "forward", "--size", "N=3", "--runs", "1"]).out;
    expect(profiled).toContain(`target ${table.target}-${table.adapter.replace(" ", "-")}`);
  });

  it("does what the README shows", async (context) => {
    await testDevice(context);
    writeFileSync(join(folder, "spiral.mdl"), readmeBlock("spiral.mdl"));
    writeFileSync(join(folder, "spiral.mjs"), readmeBlock("spiral.mjs"));
    symlinkSync(join(projectRoot, "node_modules"), join(folder, "node_modules"), "junction");
    expect(run(["compile", "spiral.mdl", "-o", "build"]).code).toBe(0);
    const program = spawnSync(process.execPath, ["spiral.mjs"], { cwd: folder, encoding: "utf8" });
    expect(program.status).toBe(0);
    const losses = [...program.stdout.matchAll(/^\d+ (\S+)$/gm)].map((m) => Number(m[1]));
    expect(losses).toHaveLength(4);
    expect(losses[3]).toBeLessThan(losses[0] / 10);
    expect(existsSync(join(folder, "spiral.safetensors"))).toBe(true);
  });

  it("knows the machine", async (context) => {
    const { info } = await testDevice(context);
    const { code, out: text, err } = run(["doctor"]);
    expect([code, err]).toEqual([0, ""]);
    expect(text).toContain(info.description || info.device);
    expect(text).toMatch(/is taken here/);
    expect(text).toMatch(/all well: a small model was compiled, ran and is right/);
  });
});

describe("mdl without a GPU", () => {
  // Without drivers, as on a machine that has none.
  const env = { VK_ICD_FILENAMES: "/nonexistent", VK_DRIVER_FILES: "/nonexistent" };
  const linux = process.platform === "linux";

  it.skipIf(!linux)("says what is missing, with exit code 3", () => {
    const doctor = run(["doctor"], { env });
    expect(doctor.code).toBe(3);
    expect(doctor.out).toContain("no adapter");
    const model = [example("mlp"), "logits", "--input", "x=-", "--set", "inputs=2", "--set", "hidden=2"];
    const gpu = run(["run", ...model, "--device", "gpu"], { env, input: "[[1, 2]]" });
    expect([gpu.code, gpu.err]).toEqual([3, expect.stringContaining("no adapter")]);
    const auto = run(["run", ...model], { env, input: "[[1, 2]]" });
    expect([auto.code, auto.err]).toEqual([0, expect.stringContaining("going on with --device cpu")]);
    // Standard input is read once.
    expect(auto.out).toMatch(/^logits: f32\[1, 10\]\n\[\[/);
  });
});
