// The runtime on the adapter, through an artefact written by hand: numbers, sizes, errors, weights, life and death.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, describe, expect, it, onTestFinished, type TestContext } from "vitest";
import type { LoadOptions, Progress, Tensor } from "../../runtime/core/api.ts";
import { COPY_DST, COPY_SRC, STORAGE } from "../../runtime/core/flags.ts";
import { load, type Net } from "../../runtime/core/index.ts";
import { drawKey, randomBits, seedWords } from "../../runtime/core/threefry.ts";
import { freshDevice, testDevice } from "../support/device.ts";
import { readSafetensors, writeSafetensors } from "../support/safetensors.ts";
import { DRAW_HASH, tiny } from "../support/tiny.ts";

let nets: Net[] = [];
afterEach(() => {
  for (const net of nets) net.dispose();
  nets = [];
});

/** On the test file's device, unless options say otherwise. */
async function open(context: TestContext, options: LoadOptions = {}): Promise<Net> {
  const { device } = await testDevice(context);
  const net = await load(tiny, { device, ...options });
  nets.push(net);
  return net;
}

type Results = Record<string, Tensor>;
const call = async (net: Net, name: string, inputs: object, options?: object): Promise<Results> =>
  (await net.entries[name]({ ...inputs }, options)) as Results;
const numbers = (tensor: Tensor): number[] => [...tensor.data];

const SCALE = Float32Array.of(1, 2, 3, 4);
const BIAS = Float32Array.of(10, 20, 30, 40);
const WEIGHTS = { scale: SCALE, bias: BIAS, count: Int32Array.of(5) };

describe("calls", () => {
  it("adds vectors of many lengths through the same pipelines", async (context) => {
    const net = await open(context);
    const { device } = await testDevice(context);
    const create = device.createComputePipelineAsync;
    onTestFinished(() => {
      device.createComputePipelineAsync = create;
    });
    device.createComputePipelineAsync = () => {
      throw new Error("a pipeline was made after load");
    };
    // More sizes than plans are kept, and one beyond 65,535 workgroups.
    for (const n of [
      1,
      7,
      32,
      64,
      65,
      1000,
      ...Array.from({ length: 20 }, (_, i) => i + 100),
      65536 * 64 + 3,
    ]) {
      const a = Float32Array.from({ length: n }, (_, i) => i % 1000);
      const b = Float32Array.from({ length: n }, (_, i) => 0.5 * (i % 7));
      const { sum } = await call(net, "add", { a, b });
      expect(sum.shape).toEqual([n]);
      const wrong = sum.data.findIndex((x, i) => x !== a[i] + b[i]);
      expect(wrong).toBe(-1);
    }
  });

  it("takes nested arrays, tensors, shaped data and shared memory", async (context) => {
    const net = await open(context);
    const { sum } = await call(net, "add", {
      a: [1, 2, 3],
      b: { data: Float32Array.of(1, 1, 1), shape: [3] },
    });
    expect(numbers(sum)).toEqual([2, 3, 4]);
    const shared = new Float32Array(new SharedArrayBuffer(12));
    shared.set([10, 20, 30]);
    const again = await call(net, "add", { a: sum, b: shared });
    expect(again.sum.toArray()).toEqual([12, 23, 34]);
    // A view that begins inside its buffer.
    const part = new Float32Array([9, 9, 1, 2, 3]).subarray(2);
    expect(numbers((await call(net, "add", { a: part, b: part })).sum)).toEqual([2, 4, 6]);
  });

  it("runs two kernels, infers the batch, and brings back what is asked for", async (context) => {
    const net = await open(context, { weights: WEIGHTS });
    const x = Float32Array.of(1, 1, 1, 1, 2, 2, 2, 2);
    const all = await call(net, "chain", { x });
    expect(all["hidden"].toArray()).toEqual([
      [1, 2, 3, 4],
      [2, 4, 6, 8],
    ]);
    expect(all["y"].toArray()).toEqual([
      [11, 22, 33, 44],
      [12, 24, 36, 48],
    ]);
    const only = await call(net, "chain", { x }, { outputs: ["y"] });
    expect(Object.keys(only)).toEqual(["y"]);
    expect(numbers(only["y"])).toEqual(numbers(all["y"]));
  });

  it("loops over a length that the call says, clears and copies", async (context) => {
    const net = await open(context);
    for (const t of [1, 3, 300]) {
      const { total } = await call(net, "scan", { x: Float32Array.from({ length: 4 * t }, (_, i) => i % 4) });
      expect(numbers(total)).toEqual([0, t, 2 * t, 3 * t]);
    }
  });

  it("splits long submits without changing the numbers", async (context) => {
    const net = await open(context, { maxSubmitMs: 1e-12 });
    const { total } = await call(net, "scan", { x: Float32Array.from({ length: 400 }, () => 1) });
    expect(numbers(total)).toEqual([100, 100, 100, 100]);
  });

  it("keeps empty tensors empty", async (context) => {
    const net = await open(context);
    const { y } = await call(net, "chain", { x: { data: new Float32Array(0), shape: [0, 4] } });
    expect(y.shape).toEqual([0, 4]);
    expect(y.data).toHaveLength(0);
    const { total } = await call(net, "scan", { x: { data: new Float32Array(0), shape: [0, 4] } });
    expect(numbers(total)).toEqual([0, 0, 0, 0]);
  });

  it("has bool at the boundary and takes 64-bit integers that fit", async (context) => {
    const net = await open(context);
    const { picked, big } = await call(net, "pick", {
      m: Uint8Array.of(1, 0, 1),
      a: BigInt64Array.of(-3n, 4n, 500n),
    });
    expect([...picked.data]).toEqual([-3, -1, 500]);
    expect(big.data).toEqual(Uint8Array.of(0, 0, 1));
    const nested = await call(net, "pick", { m: [true, false], a: [7, 8] });
    expect([...nested["picked"].data]).toEqual([7, -1]);
  });

  it("draws the bits of threefry.ts, by load's seed or the call's", async (context) => {
    const net = await open(context, { seed: 7 });
    for (const [seed, options] of [
      [7, {}],
      [2 ** 40 + 3, { seed: 2 ** 40 + 3 }],
      [2n ** 63n, { seed: 2n ** 63n }],
    ] as const) {
      const { bits } = await call(net, "draw", {}, options);
      const key = drawKey(seedWords(seed)!, DRAW_HASH, 0);
      expect(numbers(bits)).toEqual(Array.from({ length: 100 }, (_, i) => randomBits(key, i)));
    }
  });

  it("keeps results on the GPU and takes them, and buffers, as inputs", async (context) => {
    const net = await open(context);
    const { device } = await testDevice(context);
    const { sum } = await call(net, "add", { a: [1, 2], b: [3, 4] }, { gpu: true });
    expect(() => sum.data).toThrow(/await read\(\)/);
    // Later calls do not disturb it.
    await call(net, "add", { a: [0, 0], b: [0, 0] });
    const next = await call(net, "add", { a: sum, b: sum });
    expect(numbers(next.sum)).toEqual([8, 12]);
    expect([...(await sum.read())]).toEqual([4, 6]);
    sum.dispose();

    const buffer = device.createBuffer({
      size: 12,
      usage: COPY_SRC | COPY_DST,
    });
    device.queue.writeBuffer(buffer, 0, Float32Array.of(5, 6, 7));
    expect(numbers((await call(net, "add", { a: buffer, b: [1, 1, 1] })).sum)).toEqual([6, 7, 8]);
    const useless = device.createBuffer({ size: 12, usage: STORAGE });
    await expect(call(net, "add", { a: useless, b: [1, 1, 1] })).rejects.toThrow(/COPY_SRC/);
    buffer.destroy();
    useless.destroy();
  });

  it("runs overlapping calls in order, with the inputs as they were when called", async (context) => {
    const net = await open(context);
    const a = new Float32Array(1);
    const calls: Promise<Results>[] = [];
    for (let i = 0; i < 40; i++) {
      a[0] = i;
      calls.push(call(net, "add", { a, b: [0.5] }));
    }
    const results = await Promise.all(calls);
    expect(results.map((r) => r["sum"].item())).toEqual(Array.from({ length: 40 }, (_, i) => i + 0.5));
  });
});

describe("refusals", () => {
  const refusal = async (
    promise: Promise<unknown>,
  ): Promise<{ code: string; message: string; name: string }> => {
    try {
      await promise;
    } catch (error) {
      return error as { code: string; message: string; name: string };
    }
    throw new Error("nothing was refused");
  };

  it("names what was expected and what was given", async (context) => {
    const net = await open(context);
    const x8 = new Float32Array(8);
    const cases: [Promise<unknown>, string, RegExp][] = [
      [
        call(net, "add", { a: [1], bb: [1] }),
        "unknown-input",
        /no input bb: its inputs are a, b; did you mean b\?/,
      ],
      [call(net, "add", { a: [1] }), "missing-input", /needs b: f32\[N\]/],
      [
        call(net, "add", { a: Int32Array.of(1), b: [1] }),
        "input-dtype",
        /a: f32\[N\] takes a Float32Array.*an Int32Array/,
      ],
      [call(net, "add", { a: "x", b: [1] }), "input-dtype", /given a string/],
      [call(net, "add", { a: [[1]], b: [1] }), "input-shape", /expected a: f32\[N\], given f32\[1, 1\]/],
      [
        call(net, "add", { a: [1, 2], b: [1, 2, 3] }),
        "symbol-mismatch",
        /N is 2 in a \(axis 0\) and 3 in b \(axis 0\)/,
      ],
      [call(net, "add", { a: [], b: [] }), "constraint", /N >= 1 \(0 and 1 here\)/],
      [
        call(net, "chain", { x: { data: x8, shape: [4, 2] } }),
        "input-shape",
        /given f32\[4, 2\] \(axis 1 is 2, expected 4\)/,
      ],
      [call(net, "chain", { x: new Float32Array(7) }), "input-shape", /multiple of 4 elements, given 7/],
      [
        call(net, "chain", {
          x: [
            [1, 2, 3, 4],
            [1, 2],
          ],
        }),
        "input-shape",
        /not of one length/,
      ],
      [call(net, "chain", { x: { data: x8, shape: [3, 4] } }), "input-shape", /12 elements, its data has 8/],
      [call(net, "pick", { m: [true], a: [1.5] }), "input-range", /1.5 at 0 is no i32/],
      [call(net, "pick", { m: [true], a: BigInt64Array.of(2n ** 40n) }), "input-range", /1099511627776 at 0/],
      [call(net, "add", { a: [1], b: [1] }, { outputs: ["product"] }), "unknown-output", /no result product/],
      [call(net, "add", { a: [1], b: [1] }, { output: ["sum"] }), "unknown-option", /did you mean outputs/],
      [call(net, "draw", {}, { seed: -1 }), "seed", /seed is an integer from 0 .*, given -1/],
      [net.getParameter("scal"), "unknown-parameter", /did you mean scale/],
      [net.profile("ad", {}), "unknown-entry", /did you mean add/],
    ];
    for (const [promise, code, message] of cases) {
      const error = await refusal(promise);
      expect(error.message).toMatch(message);
      expect([error.code, error.name]).toEqual([code, "InputError"]);
    }
    // And goes on as before.
    expect(numbers((await call(net, "add", { a: [1], b: [1] })).sum)).toEqual([2]);
  });

  it("says why no target fits, and which there are", async (context) => {
    const { device } = await testDevice(context);
    const needs = (requires: object) => ({
      ...tiny,
      programs: [{ ...tiny.programs[0], requires: { features: [], limits: {}, ...requires } }],
    });
    const tried = [
      [needs({ features: ["a-feature-of-tomorrow"] }), /baseline needs a-feature-of-tomorrow/],
      [needs({ limits: { maxBufferSize: 1e15 } }), /baseline needs maxBufferSize 1000000000000000/],
      [needs({ subgroupSize: 3 }), /baseline needs subgroups of 3/],
    ] as const;
    for (const [artefact, message] of tried) {
      const error = await refusal(load(artefact, { device }));
      expect(error.name).toBe("UnsupportedError");
      expect(error.message).toMatch(message);
    }
    expect((await refusal(load(tiny, { device, target: "gpu" }))).message).toMatch(
      /no target gpu: it was compiled for baseline/,
    );
    expect((await refusal(load({ ...tiny, version: 99 }, { device }))).message).toMatch(
      /compile the model again/,
    );
  });

  it("takes the first program that fits", async (context) => {
    const { device } = await testDevice(context);
    const programs = [
      {
        ...tiny.programs[0],
        target: "future",
        requires: { features: ["a-feature-of-tomorrow"], limits: {} },
      },
      { ...tiny.programs[0], target: "first" },
      { ...tiny.programs[0], target: "second" },
    ];
    for (const [target, chosen] of [
      [undefined, "first"],
      ["second", "second"],
    ] as const) {
      const net = await load({ ...tiny, programs }, { device, target });
      expect(net.target).toBe(chosen);
      net.dispose();
    }
  });

  it("names the kernel that does not compile", async (context) => {
    const { device } = await testDevice(context);
    const broken = { ...tiny, texts: tiny.texts.map((t) => t.replace("a[i] + b[i]", "a[i] + nothing[i]")) };
    const error = await refusal(load(broken, { device }));
    expect(error.name).toBe("GpuError");
    expect(error.message).toMatch(/kernel add does not compile.*nothing/s);
  });

  it("says beforehand when a call needs more memory than the device allows", async (context) => {
    const net = await open(context);
    const { limits } = await testDevice(context);
    const n = Math.floor(limits.maxStorageBufferBindingSize / 4) + 1024;
    // A sparse stand-in for a huge array: a buffer is not read before the refusal.
    const huge = { size: 4 * n, usage: COPY_SRC, mapState: "unmapped" };
    const error = await refusal(call(net, "add", { a: huge, b: huge }));
    expect(error.name).toBe("LimitError");
    expect(error.message).toMatch(/this device (binds|allows)/);
  });
});

describe("weights", () => {
  it("begins as declared, drawn from the seed, alike for the same seed", async (context) => {
    const one = await open(context, { seed: 1 });
    const same = await open(context, { seed: 1 });
    const other = await open(context, { seed: 2 });
    const read = async (net: Net, path: string): Promise<number[]> => numbers(await net.getParameter(path));
    const scale = await read(one, "scale");
    expect(scale.every((x) => x >= -1 && x < 1)).toBe(true);
    expect(new Set(scale).size).toBe(4);
    expect(await read(same, "scale")).toEqual(scale);
    expect(await read(other, "scale")).not.toEqual(scale);
    expect(await read(one, "count")).toEqual([0]);
  });

  it("goes through a file and back, by bytes, path, URL, Blob and record", async (context) => {
    const folder = mkdtempSync(join(tmpdir(), "mdl-test-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const net = await open(context, { weights: WEIGHTS });
    const bytes = (await net.save()) as Uint8Array;
    const file = readSafetensors(bytes);
    expect([...file.tensors.keys()]).toEqual(["scale", "bias", "count"]);
    expect(file.tensors.get("bias")!.data).toEqual(BIAS);
    expect(file.tensors.get("count")!.data).toEqual(Int32Array.of(5));
    const path = join(folder, "tiny.safetensors");
    await net.save(path);
    expect(readFileSync(path).equals(bytes)).toBe(true);
    const sources = [
      bytes,
      bytes.slice().buffer,
      path,
      pathToFileURL(path),
      pathToFileURL(path).href,
      new Blob([bytes.slice()]),
    ];
    for (const weights of sources) {
      const again = await open(context, { weights });
      expect(numbers(await again.getParameter("scale"))).toEqual([...SCALE]);
      expect(numbers(await again.getParameter("count"))).toEqual([5]);
    }
    await expect(net.save(join(folder, "no", "where"))).rejects.toMatchObject({ code: "weights-source" });
    await expect(open(context, { weights: join(folder, "none") })).rejects.toMatchObject({
      code: "weights-source",
    });
  });

  it("lists everything that does not fit, at once", async (context) => {
    const net = await open(context);
    const file = writeSafetensors(
      new Map([
        ["scale", { shape: [2, 2], data: SCALE }],
        ["extra", { shape: [4], data: BIAS }],
        ["bn.num_batches_tracked", { shape: [1], data: Float32Array.of(1) }],
      ]),
    );
    await expect(net.loadWeights(file)).rejects.toMatchObject({
      name: "WeightsError",
      code: "weights-mismatch",
      missing: ["bias", "count"],
      unexpected: ["extra"],
      misshapen: ["scale: expected f32[4], the file has F32[2, 2]"],
    });
    await net.loadWeights({ bias: BIAS }, { partial: true });
    expect(numbers(await net.getParameter("bias"))).toEqual([...BIAS]);
  });

  it("accepts tied names and wants them to agree", async (context) => {
    const net = await open(context, { weights: { ...WEIGHTS, "tied.scale": SCALE } });
    expect(numbers(await net.getParameter("tied.scale"))).toEqual([...SCALE]);
    await net.loadWeights({ "tied.scale": BIAS, bias: BIAS, count: Int32Array.of(0) });
    expect(numbers(await net.getParameter("scale"))).toEqual([...BIAS]);
    const differing = net.loadWeights({
      scale: SCALE,
      "tied.scale": BIAS,
      bias: BIAS,
      count: Int32Array.of(0),
    });
    await expect(differing).rejects.toThrow(/scale and tied.scale are tied but differ/);
  });

  it("rebuilds derived weights before the next reader", async (context) => {
    const net = await open(context, { weights: WEIGHTS });
    const x = [[1, 1, 1, 1]];
    expect(numbers((await call(net, "doubled", { x })).y)).toEqual([2, 4, 6, 8]);
    await net.setParameter("scale", [5, 5, 5, 5]);
    expect(numbers((await call(net, "doubled", { x })).y)).toEqual([10, 10, 10, 10]);
    await net.loadWeights(WEIGHTS);
    expect(numbers((await call(net, "doubled", { x })).y)).toEqual([2, 4, 6, 8]);
    await expect(net.setParameter("scale", [1, 2])).rejects.toThrow(
      /expected scale: f32\[4\], given f32\[2\]/,
    );
  });

  it("resets state, and parameters with a seed", async (context) => {
    const net = await open(context, { weights: WEIGHTS });
    await net.reset();
    expect(numbers(await net.getParameter("count"))).toEqual([0]);
    expect(numbers(await net.getParameter("scale"))).toEqual([...SCALE]);
    await net.reset(3);
    const fresh = await open(context, { seed: 3 });
    expect(numbers(await net.getParameter("scale"))).toEqual(numbers(await fresh.getParameter("scale")));
  });

  it("lists its parameters", async (context) => {
    const net = await open(context);
    expect(net.parameters().map((p) => [p.path, p.role, p.frozen])).toEqual([
      ["scale", "param", false],
      ["bias", "param", true],
      ["count", "buffer", false],
      ["bad_step", "internal", false],
    ]);
  });
});

describe("training steps", () => {
  it("leaves the loss on the GPU until it is read, and follows the schedule", async (context) => {
    const net = await open(context, { weights: WEIGHTS, train: { totalSteps: 4 } });
    const step = async (x: number[], options?: object) =>
      (await net.entries["train_step"]({ x }, options)) as {
        step: number;
        loss: Promise<number>;
        steps_done: Promise<number>;
        read(): Promise<Record<string, number>>;
      };
    const first = await step([1, 3]); // loss 2, lr 0.5
    const second = await step([4]); // loss 4, lr 0.375
    expect([first.step, second.step]).toEqual([0, 1]);
    expect(await second.loss).toBe(4);
    expect(await first.loss).toBe(2);
    expect(await first.read()).toEqual({ loss: 2, steps_done: 6 });
    const moved = 2 * 0.5 + 4 * 0.375;
    expect(numbers(await net.getParameter("scale"))).toEqual([...SCALE].map((s) => s - moved));
    // The caller's own learning rate.
    await step([8], { lr: 0.125 });
    expect(numbers(await net.getParameter("scale"))).toEqual([...SCALE].map((s) => s - moved - 1));
    // A derived weight of a trained parameter is built anew.
    const { y } = await call(net, "doubled", { x: [[1, 0, 0, 0]] });
    expect(y.data[0]).toBe(2 * (1 - moved - 1));
    await expect(step([1], { lrr: 1 })).rejects.toThrow(/no option lrr; did you mean lr/);
  });

  it("wants the number of steps where the schedule does", async (context) => {
    const net = await open(context);
    await expect(net.entries["train_step"]({ x: [1] })).rejects.toMatchObject({ code: "total-steps" });
    await net.entries["train_step"]({ x: [1] }, { lr: 0.1 });
  });

  it("refuses the loss of a step that was not finite, and of those after it, naming it", async (context) => {
    const net = await open(context, {
      weights: { ...WEIGHTS, count: Int32Array.of(0) },
      train: { totalSteps: 10 },
    });
    const step = async (x: number) =>
      (await net.entries["train_step"]({ x: [x] })) as { loss: Promise<number> };
    const good = await step(1);
    const bad = await step(Number.POSITIVE_INFINITY);
    const after = await step(1);
    expect(await good.loss).toBe(1);
    await expect(bad.loss).rejects.toMatchObject({
      name: "NonFiniteError",
      code: "non-finite",
      step: 1,
      block: "fit",
    });
    await expect(after.loss).rejects.toMatchObject({ step: 1 });
  });

  it("keeps the figures of many steps, and says when they are gone", async (context) => {
    const net = await open(context, { train: { totalSteps: 2000 } });
    const step = async (x: number) =>
      (await net.entries["train_step"]({ x: [x] }, { lr: 0 })) as { loss: Promise<number> };
    const first = await step(-1);
    const rest: { loss: Promise<number> }[] = [];
    for (let i = 0; i < 1024; i++) rest.push(await step(i));
    expect(await rest[0].loss).toBe(0);
    expect(await rest[1023].loss).toBe(1023);
    await expect(first.loss).rejects.toMatchObject({ code: "step-gone" });
  });

  it("goes back to a snapshot, exactly, and goes on alike", async (context) => {
    const net = await open(context, { weights: WEIGHTS, train: { totalSteps: 10 } });
    const step = async (x: number) => {
      const result = (await net.entries["train_step"]({ x: [x] })) as { step: number; loss: Promise<number> };
      return [result.step, await result.loss];
    };
    await step(1);
    const snapshot = structuredClone(await net.snapshot());
    const before = numbers(await net.getParameter("scale"));
    const went = [await step(2), await step(3)];
    const after = numbers(await net.getParameter("scale"));
    await net.restore(snapshot);
    expect(numbers(await net.getParameter("scale"))).toEqual(before);
    expect([await step(2), await step(3)]).toEqual(went);
    expect(numbers(await net.getParameter("scale"))).toEqual(after);
    await expect(net.restore({ ...snapshot, signature: 1 })).rejects.toMatchObject({ code: "snapshot" });
  });
});

describe("life and death", () => {
  it("tells its progress and is ready for sizes that were announced", async (context) => {
    const events: Progress[] = [];
    const net = await open(context, {
      weights: WEIGHTS,
      bind: { N: 1000 },
      onProgress: (e) => events.push(e),
    });
    const last = (phase: string): Progress => events.filter((e) => e.phase === phase).at(-1)!;
    for (const phase of ["weights", "compile", "warm-up"]) expect(last(phase).done).toBe(last(phase).total);
    expect(last("compile").total).toBe(tiny.programs[0].kernels.length);
    const { arena } = net.memory();
    expect(arena).toBeGreaterThanOrEqual(3 * 16000);
    await call(net, "chain", { x: new Float32Array(4000) });
    expect(net.memory().arena).toBe(arena);
  });

  it("makes only the entries ready that are asked for", async (context) => {
    const events: Progress[] = [];
    const net = await open(context, {
      entries: ["doubled", "train_step"],
      weights: WEIGHTS,
      onProgress: (e) => events.push(e),
    });
    // scale_columns, descend, and double for the derived weight.
    expect(events.filter((e) => e.phase === "compile").at(-1)).toEqual({
      phase: "compile",
      done: 3,
      total: 3,
    });
    expect(numbers((await call(net, "doubled", { x: [[1, 1, 1, 1]] }))["y"])).toEqual([2, 4, 6, 8]);
    await net.entries["fit_step"]({ x: [1] }, { lr: 1 });
    await expect(call(net, "add", { a: [1], b: [1] })).rejects.toMatchObject({ code: "not-ready" });
    await expect(open(context, { entries: ["ad"] })).rejects.toThrow(/no entry ad; did you mean add\?/);
  });

  it("counts its memory, and keeps it over many calls", async (context) => {
    const net = await open(context);
    const run = (): Promise<unknown> => call(net, "add", { a: [1, 2], b: [3, 4] });
    for (let i = 0; i < 10; i++) await run();
    const before = net.memory();
    expect(before.params).toBe(512);
    expect(before.total).toBe(
      before.params + before.state + before.derived + before.constants + before.arena + before.other,
    );
    for (let i = 0; i < 200; i++) await run();
    expect(net.memory()).toEqual(before);
  });

  it("frees everything once, and refuses calls from then on", async (context) => {
    const net = await open(context);
    const pending = call(net, "add", { a: [1], b: [1] });
    net.dispose();
    net.dispose();
    await expect(pending).rejects.toMatchObject({ name: "DisposedError" });
    await expect(call(net, "add", { a: [1], b: [1] })).rejects.toMatchObject({ code: "disposed" });
    await expect(net.getParameter("scale")).rejects.toMatchObject({ code: "disposed" });
    expect(net.memory().buffers).toBe(0);
    // The device was handed in, so it is not ours to destroy.
    const other = await open(context);
    expect(numbers((await call(other, "add", { a: [1], b: [1] })).sum)).toEqual([2]);
    expect(typeof (net as unknown as Record<symbol, unknown>)[Symbol.dispose]).toBe("function");
  });

  it("times its dispatches", async (context) => {
    const net = await open(context, { weights: WEIGHTS });
    const profile = await net.profile("chain", { x: new Float32Array(4 * 4096) });
    expect(profile.rows.map((r) => [r.label, r.kernel, r.groups])).toEqual([
      ["scale_columns tiny.mdl:7:5", "scale_columns", 256],
      ["add_bias tiny.mdl:8:5", "add_bias", 256],
    ]);
    expect(profile.rows.every((r) => r.microseconds >= 0)).toBe(true);
    expect(profile.totalMicroseconds).toBeGreaterThan(0);
    const scan = await net.profile("scan", { x: new Float32Array(12) });
    expect(scan.rows.map((r) => r.kernel)).toEqual([
      "clear",
      "accumulate_row",
      "accumulate_row",
      "accumulate_row",
      "copy",
    ]);
  });

  it("rejects calls in flight when the device is lost", async (context) => {
    const { device } = await freshDevice(context);
    const net = await open(context, { device });
    const pending = call(net, "add", { a: [1], b: [1] });
    device.destroy();
    await expect(pending).rejects.toMatchObject({ name: "DeviceLostError", code: "device-lost" });
    await expect(call(net, "add", { a: [1], b: [1] })).rejects.toMatchObject({ code: "device-lost" });
  });

  it("opens a device of its own again, with its weights and its last snapshot", async (context) => {
    await testDevice(context); // skips where there is no adapter
    const net = await load(tiny, { weights: WEIGHTS, train: { totalSteps: 10 } });
    nets.push(net);
    await net.setParameter("bias", [1, 1, 1, 1]);
    (net.device as unknown as GPUDevice).destroy();
    await (net.device as unknown as GPUDevice).lost;
    expect((await call(net, "chain", { x: [[1, 1, 1, 1]] }))["y"].toArray()).toEqual([[2, 3, 4, 5]]);

    await net.entries["train_step"]({ x: [1] }, { lr: 1 });
    await net.snapshot();
    await net.entries["train_step"]({ x: [1] }, { lr: 1 });
    (net.device as unknown as GPUDevice).destroy();
    await (net.device as unknown as GPUDevice).lost;
    // The second step is gone, which is told once.
    await expect(net.getParameter("scale")).rejects.toMatchObject({ code: "device-lost" });
    expect(numbers(await net.getParameter("scale"))).toEqual([0, 1, 2, 3]);
    const { step } = (await net.entries["train_step"]({ x: [1] }, { lr: 1 })) as { step: number };
    expect(step).toBe(1);
  });
});
