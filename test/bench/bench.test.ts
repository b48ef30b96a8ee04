// The benchmark's pure parts: statistics, the check of results, rows and table, the command line, the operands of the
// hand-written kernels. Timings are not tested; that sampling counts calls and hands errors on, is.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { differenceOf } from "../../bench/calls.ts";
import { type CompileRow, compileJobs, compileTable } from "../../bench/compile.ts";
import { calls, parts, usualCalls } from "../../bench/estimate/calls.ts";
import { chips } from "../../bench/estimate/chips.ts";
import { expectedOf } from "../../bench/figures.ts";
import { convKernel } from "../../bench/hand/conv.ts";
import { matmulKernel } from "../../bench/hand/matmul.ts";
import { columnPanels, rowPanels } from "../../bench/hand/tile.ts";
import { parseOptions, UsageError } from "../../bench/options.ts";
import type { Ready } from "../../bench/protocol.ts";
import { keep, largestError, placesOf } from "../../bench/reference.ts";
import { emptyRow, type Measured, type Report, ratiosOf, rowOf, table } from "../../bench/report.ts";
import { sample } from "../../bench/sampling.ts";
import { sizedModels, sizeOf, sizeTable } from "../../bench/sizes.ts";
import { busyAndSpan, median, quantile, speedups, summarize } from "../../bench/statistics.ts";
import { systems } from "../../bench/systems/index.ts";
import { mdl } from "../../bench/systems/mdl.ts";
import { curveNames, curves, quickWorkloads, workloads } from "../../bench/workloads.ts";
import { check } from "../../compiler/core/index.ts";
import { nullDevice, shaderErrors } from "../support/device.ts";
import { projectFile } from "../support/files.ts";

describe("statistics", () => {
  it("takes medians of odd and even counts, in any order, and leaves its argument alone", () => {
    const values = [10, 9, 100];
    expect(median(values)).toBe(10);
    expect(values).toEqual([10, 9, 100]);
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(() => median([])).toThrow(RangeError);
  });

  it("summarizes", () => {
    expect(summarize([3, 1, 2, 50])).toEqual({ median: 2.5, min: 1, max: 50, n: 4 });
  });

  it("has quantiles between values", () => {
    expect([0, 0.25, 0.5, 1].map((part) => quantile([40, 10, 20, 30], part))).toEqual([10, 17.5, 25, 40]);
    expect(quantile([7], 0.25)).toBe(7);
    expect(() => quantile([], 0.5)).toThrow(RangeError);
  });

  it("count time on the GPU once, where passes overlap, and not what lies between", () => {
    const intervals = [
      [8_000_000n, 9_000_000n],
      [1_000_000n, 4_000_000n],
      [2_000_000n, 3_000_000n],
      [3_500_000n, 5_000_000n],
    ] as const;
    expect(busyAndSpan(intervals)).toEqual({ busy: 5, span: 8 });
    expect(busyAndSpan([])).toBeUndefined();
  });

  it("compares rounds in pairs, so that a machine that slows down for both changes nothing", () => {
    expect(speedups([[1], [10], [100]], [[3], [30], [300]])).toEqual([3, 3, 3]);
    const [ours, theirs] = [
      [
        [1, 1, 9],
        [2, 2, 2],
      ],
      [
        [2, 2, 2],
        [8, 8, 8],
      ],
    ];
    expect(speedups(ours, theirs)).toEqual([2, 4]);
    expect(() => speedups([[1]], [[1], [2]])).toThrow(RangeError);
  });
});

describe("sampling", () => {
  it("takes a sample of every call, one after the other", async () => {
    let calls = 0;
    let running = 0;
    const milliseconds = await sample(
      async () => {
        calls++;
        expect(++running).toBe(1);
        await new Promise((resolve) => setTimeout(resolve, 1));
        running--;
      },
      { seconds: 0.02, atLeast: 5 },
    );
    expect(milliseconds.length).toBeGreaterThanOrEqual(5);
    // Benchmark.js may begin a call that it no longer counts.
    expect(calls).toBeGreaterThanOrEqual(milliseconds.length);
    for (const ms of milliseconds) expect(ms).toBeGreaterThan(0);
  });

  it("rejects with what a call rejects with", async () => {
    let calls = 0;
    const failing = async (): Promise<void> => {
      if (++calls === 3) throw new Error("the third call");
    };
    await expect(sample(failing, { seconds: 0.05, atLeast: 10 })).rejects.toThrow("the third call");
  });
});

describe("the reference", () => {
  const TOLERANCE = 1e-4;
  it("measures the largest difference as a part of the largest value", () => {
    const error = largestError({ y: [1, 2, 100.001] }, { y: keep([1, 2, 100]) }, TOLERANCE);
    expect(error).toBeCloseTo(1e-5, 9);
    expect(largestError({ y: [7] }, { y: keep([7]) }, TOLERANCE)).toBe(0);
  });

  it("keeps some elements of many, and two numbers that hang on all", () => {
    const many = Float32Array.from({ length: 100_000 }, (_, i) => Math.sin(i));
    const kept = keep(many);
    expect(kept.values.length).toBe(256);
    expect(new Set(placesOf(many.length)).size).toBeGreaterThan(250);
    expect(largestError({ y: many }, { y: kept }, TOLERANCE)).toBe(0);
    const other = many.slice();
    const untouched = other.findIndex((_, i) => !placesOf(many.length).includes(i));
    other[untouched] += 100;
    expect(() => largestError({ y: other }, { y: kept }, TOLERANCE)).toThrow("y as a whole is off by");
  });

  it.each([
    ["a wrong element", { y: [1, 2.1] }, "y[1] is 2.1, expected 2"],
    ["a missing result", {}, "there is no y"],
    ["another size", { y: [1] }, "y has 1 elements, expected 2"],
    ["what is not finite", { y: [1, Number.NaN] }, "y[1] is NaN"],
  ])("refuses %s", (_, results, message) => {
    expect(() => largestError(results, { y: keep([1, 2]) }, TOLERANCE)).toThrow(message);
  });

  it("looks for what is not finite beyond the elements that are kept", () => {
    const many = new Float32Array(1000);
    const expected = { y: keep(many) };
    many[many.findIndex((_, i) => !placesOf(1000).includes(i))] = Number.POSITIVE_INFINITY;
    expect(() => largestError({ y: many }, expected, TOLERANCE)).toThrow("is Infinity");
  });

  it("compares what was kept of two systems", () => {
    const ours = { y: keep([1, 2, 3]) };
    expect(differenceOf(ours, ours)).toBe(0);
    expect(differenceOf(ours, { y: keep([1, 2, 4]) })).toBeGreaterThanOrEqual(0.25);
    expect(differenceOf(ours, { y: keep([1, 2]) })).toBeNaN();
    expect(differenceOf({}, ours)).toBeNaN();
  });
});

describe("workloads", () => {
  it("are named as the peers' measurements are", () => {
    const names = [
      "a_matmul1024",
      "b_conv64_56",
      "c_convnet28",
      "d_resnet18",
      "e_mobilenetv2",
      "f_encoder",
      "g_train",
    ];
    expect(quickWorkloads).toEqual(names);
    const megaflops = workloads.slice(0, 7).map((w) => Math.round(w.flops / 1e6));
    expect(megaflops).toEqual([2147, 231, 478, 3628, 602, 218, 1433]);
    expect(systems.map((s) => s.name)).toEqual([
      ...[
        "mdl",
        "mdl-f16",
        "ort-webgpu",
        "ort-wasm",
        "ort-cpu",
        "tfjs-webgpu",
        "tfjs-wasm",
        "jax-webgpu",
        "torch-cpu",
        "torch-cuda",
        "torch-cuda-f16",
        "hand",
      ],
    ]);
  });

  it("have names of their own, and what must come out of each is there", () => {
    const all = [...workloads, ...curves];
    expect(new Set(all.map((w) => w.name)).size).toBe(all.length);
    for (const { name, network } of all) {
      const results = network!.training ? ["losses"] : Object.keys(network!.outputs);
      expect(Object.keys(expectedOf(name) ?? {}), name).toEqual(results);
    }
  });

  it("have the parameters and inputs of the model that mdl compiles", () => {
    for (const { name, mdl: model, network } of workloads) {
      const { file, append = "", open, options, entry, scalars = {} } = model!;
      const { model: set, set: values } = options;
      const { models } = check(projectFile(file) + append, file, { model: set, set: values });
      const [checked] = models!;
      const entries = [
        ...checked.entries,
        ...checked.trains.map((t) => ({ name: `${t.name}_step`, inputs: t.inputs })),
      ];
      const found = entries.find((e) => e.name === entry)!;
      expect(found?.name, name).toBe(entry);
      const wanted = [...Object.keys(network!.inputs), ...Object.keys(scalars)];
      expect(found.inputs.map((i) => i.name).sort(), name).toEqual(wanted.sort());
      // What is private is no weight: a network can say what it holds where the benchmark opens it.
      const buffers = checked.buffers.filter((b) => open || !b.internal);
      const shapes = new Map([...checked.params, ...buffers].map((p) => [p.path, p.shape]));
      for (const [path, { shape, part }] of Object.entries(network!.params))
        expect(shapes.get(part?.of ?? path), `${name}: ${path}`).toEqual(part?.shape ?? shape);
    }
  });

  it("are compiled into modules of their own", async () => {
    const folder = mkdtempSync(join(tmpdir(), "mdl-bench-test-"));
    try {
      for (const workload of workloads.slice(0, 2)) {
        const { file, bytes } = await mdl.build!(workload, folder);
        const text = readFileSync(file, "utf8");
        expect(text).toContain("mdlArtefact");
        expect(bytes).toBeGreaterThan(1000);
        expect(bytes).toBeLessThan(text.length / 2);
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe("hand-written kernels", () => {
  it("pack operands in panels", () => {
    // Element (row, k) is 100 row + k.
    const left = rowPanels(64, 8, (row, k) => 100 * row + k);
    expect([...left.subarray(0, 6)]).toEqual([0, 1, 2, 3, 100, 101]);
    expect(left[32 * 4]).toBe(4); // the next four of k
    expect(left[32 * 8]).toBe(3200); // the next panel
    const right = columnPanels(3, 64, (k, column) => 100 * k + column);
    expect([...right.subarray(30, 34)]).toEqual([30, 31, 100, 101]);
    expect(right[3 * 32]).toBe(32);
  });

  it("are valid WGSL", async () => {
    const { device } = await nullDevice();
    const size = { m: 32, k: 4, n: 32 };
    const matmul = matmulKernel(new Float32Array(128), new Float32Array(128), size);
    const shape = { cin: 4, cout: 32, height: 8, width: 8 };
    const weight = new Float32Array(32 * 4 * 9);
    const conv = convKernel(new Float32Array(4 * 64), weight, new Float32Array(32), shape);
    for (const { text } of [matmul, conv]) expect(await shaderErrors(device, text)).toEqual([]);
  });

  it("give images with channels first", () => {
    const shape = { cin: 4, cout: 32, height: 8, width: 8 };
    const image = Float32Array.from({ length: 4 * 64 }, (_, i) => i);
    const kernel = convKernel(image, new Float32Array(32 * 4 * 9), new Float32Array(32), shape);
    expect([...kernel.inputs[0].subarray(0, 5)]).toEqual([0, 64, 128, 192, 1]);
    const { y } = kernel.result(Float32Array.from({ length: 16 * 32 }, (_, i) => i));
    expect([y[0], y[1], y[16]]).toEqual([0, 32, 1]);
  });

  it("are skipped, with a reason, for what they were not written for", () => {
    const hand = systems.find((s) => s.name === "hand")!;
    expect(workloads.filter((w) => hand.lacks(w) === undefined).map((w) => w.name)).toEqual([
      "a_matmul1024",
      "b_conv64_56",
    ]);
  });
});

const start = (loadMs: number, firstMs: number): Ready => ({
  kind: "ready",
  device: { name: "a device", vendor: "mesa", architecture: "software" },
  variant: "cpu-subgroup",
  loadMs,
  firstMs,
  maxError: 1.23456e-6,
  pipelines: 3,
  dispatches: 2,
  peakBytes: 3 * 2 ** 20,
  arenaBytes: 2048,
  submitMs: 0.5,
  ownMs: 0.1,
});
const measured = (system: string, rounds: number[][]): Measured => ({
  workload: "a_matmul1024",
  system,
  flops: 2e9,
  artefactBytes: system === "mdl" ? 20480 : undefined,
  starts: [start(100, 50), start(300, 10), start(200, 40)],
  rounds,
  // The GPU is busy for half of the call.
  gpu: rounds.map((round) => round.map((ms) => ({ busy: ms / 2, span: ms - 1 }))),
  gpuBy: "timestamps",
});

describe("the report", () => {
  const ours = measured("mdl", [
    [20, 22],
    [40, 44],
  ]);
  const theirs = measured("hand", [
    [10, 11],
    [20, 22],
  ]);
  const report: Report = {
    device: "a device (mesa, software)",
    ceilings: { gflops: 258.08, gbs: 20.4 },
    machine: { node: "20" },
    rows: [
      rowOf(ours),
      rowOf(theirs),
      emptyRow("d_resnet18", "hand", { skipped: "no kernel was written for it" }),
      emptyRow("g_train", "mdl", { failed: "loss[0] is NaN" }),
    ],
    ratios: ratiosOf([ours, theirs]),
  };

  it("has a row's figures under their names", () => {
    expect(JSON.parse(JSON.stringify(report.rows[0]))).toEqual({
      workload: "a_matmul1024",
      system: "mdl",
      variant: "cpu-subgroup",
      warm_ms: { median: 31, min: 20, max: 44, n: 4 },
      gpu_ms: { median: 15.5, min: 10, max: 22, n: 4 },
      gpu_span_ms: 30,
      gpu_by: "timestamps",
      cold_ms: 240,
      first_ms: 40,
      max_error: 1.23e-6,
      dispatches: 2,
      pipelines: 3,
      submit_ms: 0.5,
      own_ms: 0.1,
      peak_bytes: 3 * 2 ** 20,
      arena_bytes: 2048,
      artefact_bytes: 20480,
      gflops: 64.52,
      gpu_gflops: 129.03,
    });
    expect(report.rows[1].artefact_bytes).toBeNull();
  });

  it("says why there are no figures, in a row of the same shape", () => {
    const { skipped, ...rest } = JSON.parse(JSON.stringify(report.rows[2])) as Record<string, unknown>;
    expect(skipped).toBe("no kernel was written for it");
    expect(Object.keys(rest)).toEqual(Object.keys(report.rows[0]));
    expect(rest["warm_ms"]).toBeNull();
  });

  it("compares the first system with the others", () => {
    const expected = {
      workload: "a_matmul1024",
      system: "mdl",
      against: "hand",
      speedup: 0.5,
      quartiles: [0.5, 0.5],
      gpu_speedup: 0.5,
    };
    expect(report.ratios).toEqual([expected]);
    expect(ratiosOf([ours, { ...theirs, gpu: [[], []] }])).toEqual([{ ...expected, gpu_speedup: null }]);
    expect(ratiosOf([])).toEqual([]);
  });

  it("is a table with aligned columns", () => {
    const lines = table(report).split("\n");
    expect(lines[0]).toBe("a device (mesa, software)");
    expect(lines[1]).toBe("measured at most: 258 GFLOP/s in f32, 20 GB/s copied");
    const head = lines.find((line) => line.startsWith("workload"))!;
    const [mdlLine, handLine] = lines.filter((line) => line.startsWith("a_matmul1024 "));
    expect(mdlLine).toContain("mdl (cpu-subgroup)");
    for (const [name, cell] of [
      ["warm ms", "31.0"],
      ["n", "4"],
      ["GFLOP/s", "64.5"],
      ["gpu ms", "15.5"],
      ["gpu GFLOP/s", "129"],
      ["of peak", "50.0 %"],
      ["error", "1.2e-6"],
      ["arena", "2.0 KiB"],
      ["artefact", "20.0 KiB"],
    ]) {
      const end = head.search(new RegExp(`(?<= )${name}( |$)`)) + name.length;
      expect(mdlLine.slice(0, end).endsWith(` ${cell}`), `${name} in ${mdlLine}`).toBe(true);
    }
    expect(handLine.endsWith("–")).toBe(true);
    expect(lines).toContain(
      "a_matmul1024: mdl is 0.50 times as fast as hand (half of the rounds: 0.50 to 0.50; on the GPU 0.50)",
    );
    expect(lines).toContain("d_resnet18, hand: skipped: no kernel was written for it");
    expect(lines).toContain("g_train, mdl: failed: loss[0] is NaN");
  });

  it("says whose time on the GPU is of launches, and has none of what cannot be seen", () => {
    const launched = rowOf({ ...theirs, gpu: [[{ busy: 0.00125 }], [{ busy: 0.00125 }]], gpuBy: "events" });
    expect(launched).toMatchObject({ gpu_ms: { median: 0.0013 }, gpu_span_ms: null, gpu_by: "events" });
    expect(table({ ...report, rows: [launched] })).toContain(
      "a_matmul1024, hand: the time on the GPU has what",
    );
    const unseen = rowOf({ ...theirs, gpu: [[], []], gpuBy: undefined });
    const beside = rowOf({ ...theirs, together: true });
    expect([beside.cold_ms, beside.first_ms]).toEqual([null, null]);
    expect([unseen.gpu_ms, unseen.gpu_gflops, unseen.gpu_by]).toEqual([null, null, null]);
  });

  it("is readable where nothing ran", () => {
    const text = table({ device: "no device", ceilings: null, machine: {}, rows: [], ratios: [] });
    expect(text).toBe("no device");
  });
});

describe("compiling", () => {
  const row: CompileRow = {
    name: "net",
    targets: 3,
    nodes: 1000,
    dispatches: 50,
    seconds: 4,
    cpu_seconds: 5,
    limit_seconds: 5,
    megabytes: 300,
    limit_megabytes: 2000,
    ratio: 2.2,
    limit_ratio: 2.5,
  };
  const last = (r: CompileRow): string => compileTable([r]).split("\n")[1];
  it("says what is over which limit", () => {
    expect(last(row)).toMatch(/^net +3 +1000 +50 +4\.0 +5 +5\.0 +300 +2000 +2\.20 +2\.5$/);
    expect(last({ ...row, seconds: 5.1 })).toMatch(/over: time$/);
    expect(last({ ...row, megabytes: 2001, ratio: 2.6 })).toMatch(/over: memory, ratio$/);
    expect(compileTable([{ ...row, failed: "too tangled" }])).toMatch(/failed\n\nnet: too tangled$/);
  });
  it("has the half of a job before the job", () => {
    const names = compileJobs.map((j) => j.name);
    for (const job of compileJobs.filter((j) => j.half)) {
      expect(names.indexOf(job.half!.job)).toBeGreaterThanOrEqual(0);
      expect(names.indexOf(job.half!.job)).toBeLessThan(names.indexOf(job.name));
    }
  });
  it("has models that can be checked", () => {
    for (const { file, model, set } of compileJobs) {
      // Small ones: the checker's own time grows with them.
      const few = set && Object.fromEntries(Object.keys(set).map((name) => [name, 2]));
      expect(check(projectFile(file), file, { model, set: few }).diagnostics, file).toEqual([]);
    }
  });
});

describe("sizes", () => {
  it("adds up, and tells what is over the limit", () => {
    const file = "bench/models/matmul.mdl";
    const row = sizeOf({ name: "matmul", file, entries: ["y"], limit: 1000 });
    const whole = row.minified_bytes;
    expect(row.wgsl_bytes + row.plan_bytes + row.runtime_bytes).toBe(whole);
    for (const part of [row.wgsl_bytes, row.plan_bytes, row.runtime_bytes]) expect(part).toBeGreaterThan(500);
    expect(sizeTable([row])).toMatch(/over$/);
    expect(sizeTable([{ ...row, limit_bytes: 100_000 }])).not.toMatch(/over/);
  });
});

describe("the command line", () => {
  const known = {
    calls: workloads.map((w) => w.name),
    compile: compileJobs.map((j) => j.name),
    sizes: sizedModels.map((m) => m.name),
    systems: ["mdl", "hand"],
    estimate: calls.map((c) => c.name),
    usual: usualCalls,
    page: parts.flatMap((p) => p.of),
    chips: chips.map((c) => c.name),
    quick: quickWorkloads,
    curves: curveNames,
    figures: workloads.map((w) => w.name),
  };

  it("runs everything unless told otherwise", () => {
    const options = parseOptions([], known)!;
    expect(options.what).toEqual(["calls"]);
    expect(options.only.calls).toEqual(known.calls);
    expect(options.systems).toEqual(known.systems);
    for (const name of ["json", "results", "compare", "user"] as const) expect(options[name]).toBeUndefined();
    const quick = parseOptions(["--quick"], known)!;
    expect(quick.only.calls).toEqual(quickWorkloads);
    expect(quick.rounds * quick.seconds).toBeLessThan(options.rounds * options.seconds);
    expect(quick.starts).toBeLessThan(options.starts);
    expect([quick.budget! < 300, options.budget]).toEqual([true, undefined]);
    expect(parseOptions(["--full"], known)!.what).toEqual(["calls", "curves", "compile", "sizes"]);
  });

  it("measures as much as it is told to", () => {
    const args = ["--quick", "--starts", "2", "--rounds=3", "--seconds", "0.1", "--together"];
    expect(parseOptions(args, known)).toMatchObject({
      ...{ starts: 2, rounds: 3, seconds: 0.1, atLeast: 3, together: true },
    });
  });

  it("picks, in the order of the list", () => {
    const args = ["--only", "vgg16,b_conv64_56", "--systems=hand", "--json", "out.json", "--quick"];
    expect(parseOptions(args, known)).toMatchObject({
      only: { calls: ["b_conv64_56", "vgg16"] },
      systems: ["hand"],
      json: "out.json",
    });
  });

  it("names compilations and modules in place of calls", () => {
    expect(parseOptions(["--compile", "--only", "tangled,resnet50"], known)).toMatchObject({
      what: ["compile"],
      only: { compile: ["tangled", "resnet50"], calls: ["resnet50"] },
    });
    const { what, only } = parseOptions(["--sizes"], known)!;
    expect([what, only.sizes]).toEqual([["sizes"], known.sizes]);
  });

  it("compares this tree with a revision", () => {
    const args = ["--compare", "HEAD~1", "--only", "g_train"];
    expect(parseOptions(args, known)).toMatchObject({
      compare: "HEAD~1",
      systems: ["mdl"],
      only: { calls: ["g_train"] },
    });
  });

  it("takes a model of the user's, with what it needs", () => {
    const args = [
      "--model",
      "my.mdl",
      "--entry",
      "fit_step",
      "--set",
      "p=0",
      "--set",
      "deep=true",
      "--size",
      "N=8",
    ];
    expect(parseOptions(args, known)!.user).toEqual({
      file: "my.mdl",
      entry: "fit_step",
      model: undefined,
      set: { p: 0, deep: true },
      sizes: { N: 8 },
    });
  });

  it("estimates calls on chips, and models of the user's", () => {
    expect(parseOptions(["--estimate", "a6000,navi21", "--only", "attention"], known)).toMatchObject({
      what: ["estimate"],
      chips: ["a6000", "navi21"],
      only: { estimate: ["attention"] },
      files: [],
    });
    expect(
      parseOptions(["--estimate", "h100", "my.mdl", "--size", "N=8", "--size", "T=4"], known),
    ).toMatchObject({
      only: { estimate: [] },
      files: ["my.mdl"],
      sizes: { N: 8, T: 4 },
    });
    expect(parseOptions(["--estimate", "h100"], known)!.only.estimate).toEqual(usualCalls);
    expect(parseOptions(["--estimate", "h100", "--results", "x"], known)!.only.estimate).toEqual(known.page);
    expect(parseOptions(["--estimate", "h100", "--tune", "t.json"], known)).toMatchObject({ tune: "t.json" });
    expect(parseOptions(["--estimate", "all", "--spills"], known)).toMatchObject({
      chips: known.chips,
      spills: true,
    });
  });
  it("has each call in one part of a page, and all that it has", () => {
    expect(new Set(known.page).size).toBe(known.page.length);
    expect(known.page.filter((name) => !known.estimate.includes(name))).toEqual([]);
  });

  it("gives help", () => expect(parseOptions(["--help"], known)).toBeUndefined());

  it.each([
    [["--only", "resnet"], "--only: there is no resnet; there are a_matmul1024"],
    [["--systems", ","], "--systems names nothing"],
    [["--sizes", "--only", "g_train"], "--only: there is no g_train; there are convnet"],
    [["--sizes", "--compile"], "one at a time"],
    [["--estimate", "a6000", "--compile"], "one at a time"],
    [["--estimate", "voodoo2"], "--estimate: there is no voodoo2; there are navi21"],
    [["--estimate", "a6000", "m.mdl", "--size", "N"], "--size N is not"],
    [["--tune", "t.json"], "--tune and --tuning go with --estimate"],
    [["--spills"], "--spills goes with --estimate"],
    [["--estimate", "a6000", "--above", "80"], "--above goes with --spills"],
    [["--estimate", "all"], "--estimate: there is no all; there are navi21"],
    [["--estimate", "a6000,navi21", "--tune", "t.json"], "--tune makes a table for one chip"],
    [["--rounds", "1.5"], "--rounds takes a whole number above 0"],
    [["--seconds", "0"], "--seconds takes a number above 0"],
    [["--compare", "HEAD", "--systems", "hand"], "--systems is for peers"],
    [["--compare", "HEAD", "--sizes"], "--compare times calls"],
    [["--model", "a.onnx", "--only", "g_train"], "in place of the workloads"],
    [["--entry", "logits"], "belong to --model"],
    [["--model", "a.mdl", "--set", "p"], "--set takes name=value"],
    [["--full", "--sizes"], "--full has --sizes in it"],
    [["--results", "../up"], "--results takes a name"],
    [["--fast"], "--fast"],
    [["a_matmul1024"], "a_matmul1024"],
  ])("refuses %j", (args, message) => {
    expect(() => parseOptions(args, known)).toThrow(UsageError);
    expect(() => parseOptions(args, known)).toThrow(message);
  });
});
