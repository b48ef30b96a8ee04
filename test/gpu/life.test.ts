// The life of a loaded model when things go wrong around it: devices lost at any moment, memory that changes hands, names,
// options and callbacks of all kinds, signals, worker threads. By an artefact written by hand, with sums done in the head.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, describe, expect, it, onTestFinished, type TestContext } from "vitest";
import type { LoadOptions, Snapshot, StepResult, Tensor } from "../../runtime/core/api.ts";
import { COPY_SRC } from "../../runtime/core/flags.ts";
import { load, MdlRuntimeError, type Net } from "../../runtime/core/index.ts";
import { testDevice } from "../support/device.ts";
import { testModule } from "../support/module.ts";
import { tiny } from "../support/tiny.ts";

const WEIGHTS = { scale: [1, 2, 3, 4], bias: [10, 20, 30, 40], count: 0 };

let nets: { dispose(): void }[] = [];
afterEach(() => {
  for (const net of nets) net.dispose();
  nets = [];
});

/** On a device of its own, which may be lost; training takes lr = 1 and subtracts the mean of x from scale. */
async function open(context: TestContext, options: LoadOptions = {}): Promise<Net> {
  await testDevice(context); // skips where there is no adapter
  const net = await load(tiny, { weights: WEIGHTS, ...options });
  nets.push(net);
  return net;
}
/** On the test file's device: quicker. */
const share = async (context: TestContext, options: LoadOptions = {}): Promise<Net> =>
  open(context, { device: (await testDevice(context)).device, ...options });

const step = (net: Net, x: number, options: object = {}): Promise<StepResult> =>
  net.entries["fit_step"]({ x: [x] }, { lr: 1, ...options }) as Promise<StepResult>;
const add = async (net: Net, a: unknown, b: unknown, options?: object): Promise<Tensor> =>
  ((await net.entries["add"]({ a, b }, options)) as { sum: Tensor }).sum;
const scale = async (net: Net): Promise<number[]> => [...(await net.getParameter("scale")).data];
async function lose(net: Net): Promise<void> {
  const device = net.device as unknown as GPUDevice;
  device.destroy();
  await device.lost;
}
/** What a promise rejects with. */
async function refusal(promise: Promise<unknown>, what = "it"): Promise<Error & { code?: string }> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error(`nothing was refused: ${what}`);
}
const LOST = { name: "DeviceLostError", code: "device-lost" };

describe("a device that is lost between two calls", () => {
  it("rejects the first call after it where steps are lost, says how many, and goes on from the weights", async (context) => {
    const net = await open(context);
    for (let i = 0; i < 3; i++) await step(net, 1);
    await lose(net);
    const error = await refusal(step(net, 1));
    expect(error).toMatchObject(LOST);
    expect(error.message).toMatch(
      /3 steps of fit changed since it was loaded .* its weights as loaded.*snapshotEvery/s,
    );
    const next = await step(net, 1);
    expect(next.step).toBe(0);
    expect(await next.loss).toBe(1);
    expect(await scale(net)).toEqual([0, 1, 2, 3]);
  });

  it("rejects all that were made before it was told, and those after a restore go on", async (context) => {
    const net = await open(context);
    const good = await net.snapshot();
    await step(net, 1);
    await step(net, 1);
    await lose(net);
    const made = [step(net, 1), net.getParameter("scale"), net.snapshot(), net.restore(good), step(net, 1)];
    const [a, b, c, d, e] = await Promise.allSettled(made);
    for (const refused of [a, b, c]) expect(refused).toMatchObject({ status: "rejected", reason: LOST });
    expect([d.status, e.status]).toEqual(["fulfilled", "fulfilled"]);
    expect(await scale(net)).toEqual([0, 1, 2, 3]);
  });

  it.for([
    "getParameter",
    "setParameter",
    "loadWeights",
    "save",
    "snapshot",
    "reset",
    "profile",
    "add",
  ] as const)("rejects %s as any other call", async (name, context) => {
    const net = await open(context);
    await step(net, 1);
    await lose(net);
    const calls = {
      getParameter: () => net.getParameter("scale"),
      setParameter: () => net.setParameter("bias", [0, 0, 0, 0]),
      loadWeights: () => net.loadWeights({ bias: [0, 0, 0, 0] }, { partial: true }),
      save: () => net.save(),
      snapshot: () => net.snapshot(),
      reset: () => net.reset(),
      profile: () => net.profile("add", { a: [1], b: [1] }),
      add: () => add(net, [1], [1]),
    };
    await expect(calls[name]()).rejects.toMatchObject(LOST);
    await calls[name]();
    // The refused call has changed nothing, the second has.
    expect(await scale(net)).toEqual([1, 2, 3, 4]);
  });

  it("lets through what says all that the model is: restore, and reset with a seed", async (context) => {
    const net = await open(context);
    await step(net, 1);
    const snapshot = await net.snapshot();
    await step(net, 1);
    await lose(net);
    await net.restore(snapshot);
    expect(await scale(net)).toEqual([0, 1, 2, 3]);
    await step(net, 1);
    await lose(net);
    await net.reset(3);
    expect((await step(net, 0)).step).toBe(0);
  });

  it("is no news where nothing is lost", async (context) => {
    const net = await open(context);
    await net.setParameter("bias", [1, 1, 1, 1]);
    await net.loadWeights({ count: 7 }, { partial: true });
    await lose(net);
    expect(await scale(net)).toEqual([1, 2, 3, 4]);
    expect([...(await net.getParameter("bias")).data]).toEqual([1, 1, 1, 1]);
    await step(net, 1);
    await net.snapshot();
    await lose(net);
    expect(await scale(net)).toEqual([0, 1, 2, 3]);
    // Set again after the step: nothing of it is left that could be lost, but the count is.
    await step(net, 1);
    await net.setParameter("scale", [5, 5, 5, 5]);
    await lose(net);
    await expect(net.getParameter("scale")).rejects.toMatchObject(LOST);
    expect(await scale(net)).toEqual([5, 5, 5, 5]);
  });

  it("never writes initial weights over a good file", async (context) => {
    const folder = mkdtempSync(join(tmpdir(), "mdl-life-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const path = join(folder, "weights.safetensors");
    const net = await open(context);
    await step(net, 1);
    await net.save(path);
    const good = readFileSync(path);
    await step(net, 1);
    await lose(net);
    await expect(net.save(path)).rejects.toMatchObject(LOST);
    expect(readFileSync(path).equals(good)).toBe(true);
  });

  it("loses nothing with snapshots as it goes, or says what", async (context) => {
    const net = await open(context, { snapshotEvery: 2 });
    for (let i = 0; i < 4; i++) await step(net, 1);
    await lose(net);
    expect((await step(net, 1)).step).toBe(4);
    expect(await scale(net)).toEqual([-4, -3, -2, -1]);
    await lose(net);
    const error = await refusal(step(net, 1));
    expect(error.message).toMatch(
      /1 step of fit changed since the last snapshot is gone.*\(step 4 of fit\)/s,
    );
    expect(await scale(net)).toEqual([-3, -2, -1, 0]);
    // By time: any time has passed.
    const timed = await open(context, { snapshotEvery: { ms: 1e-6 } });
    for (let i = 0; i < 3; i++) {
      await step(timed, 1);
      await lose(timed);
    }
    expect(await scale(timed)).toEqual([-2, -1, 0, 1]);
  });

  it("is told once for each loss, also twice in a row", async (context) => {
    const net = await open(context);
    await step(net, 1);
    await lose(net);
    await expect(step(net, 1)).rejects.toMatchObject(LOST);
    await lose(net);
    expect(await scale(net)).toEqual([1, 2, 3, 4]); // nothing was written since
    await step(net, 1);
    await lose(net);
    await expect(net.save()).rejects.toMatchObject(LOST);
    expect((await step(net, 1)).step).toBe(0);
  });

  it("keeps what state was reset to", async (context) => {
    const net = await open(context);
    await step(net, 1);
    await net.snapshot();
    await net.reset(); // state and steps; scale stays trained
    await lose(net);
    expect(await scale(net)).toEqual([0, 1, 2, 3]);
    expect([...(await net.getParameter("count")).data]).toEqual([0]);
    expect((await step(net, 1)).step).toBe(0);
  });
});

describe("a device that is lost under", () => {
  it("a call, a snapshot, a save, a step's figures", async (context) => {
    const net = await open(context);
    for (const begin of [
      () => add(net, [1], [2]),
      () => net.snapshot(),
      () => net.save(),
      async () => (await step(net, 1)).loss,
    ]) {
      const pending = begin();
      pending.catch(() => undefined);
      (net.device as unknown as GPUDevice).destroy();
      await expect(pending).rejects.toMatchObject(LOST);
      // Told with the step that was lost, where it was one; the net goes on either way.
      await scale(net).catch((error: unknown) => expect(error).toMatchObject(LOST));
      expect(await scale(net)).toEqual([1, 2, 3, 4]);
    }
  });

  it("restore, which then holds on the next device", async (context) => {
    const net = await open(context);
    await step(net, 1);
    const snapshot = await net.snapshot();
    await net.reset(1);
    const device = net.device as unknown as GPUDevice;
    const restoring = net.restore(snapshot);
    device.destroy();
    await restoring;
    await device.lost;
    expect(await scale(net)).toEqual([0, 1, 2, 3]);
  });

  it("setParameter and loadWeights, which then hold on the next device", async (context) => {
    const net = await open(context);
    const device = net.device as unknown as GPUDevice;
    const setting = net.setParameter("scale", [7, 7, 7, 7]);
    const loading = net.loadWeights({ bias: [1, 1, 1, 1] }, { partial: true });
    device.destroy();
    await Promise.all([setting, loading]);
    await device.lost;
    expect(await scale(net)).toEqual([7, 7, 7, 7]);
    expect([...(await net.getParameter("bias")).data]).toEqual([1, 1, 1, 1]);
  });

  it("a hundred calls that nobody waits for", async (context) => {
    const net = await open(context, { snapshotEvery: 1000 });
    await step(net, 1);
    const calls = Array.from({ length: 100 }, () => step(net, 1));
    (net.device as unknown as GPUDevice).destroy();
    const ends = await Promise.allSettled(calls);
    for (const end of ends) if (end.status === "rejected") expect(end.reason).toMatchObject(LOST);
    await scale(net).catch((error: unknown) => expect(error).toMatchObject(LOST));
    expect(await scale(net)).toEqual([1, 2, 3, 4]);
  });

  it("tries again after a device could not be had", async (context) => {
    await testDevice(context);
    const { requestGpu } = await import("../../runtime/core/dawn.ts");
    const gpu = await requestGpu();
    let fails = false;
    const net = await load(tiny, {
      weights: WEIGHTS,
      gpu: { requestAdapter: async (options) => (fails ? null : gpu.requestAdapter(options as object)) },
    });
    nets.push(net);
    await step(net, 1);
    await lose(net);
    fails = true;
    const error = await refusal(step(net, 1));
    expect(error).toMatchObject(LOST);
    expect(error.message).toMatch(/opening another failed: .*no adapter.*tries again/s);
    fails = false;
    await expect(step(net, 1)).rejects.toThrow(/1 step of fit/);
    expect((await step(net, 1)).step).toBe(0);
  });

  it("forty times, with the right numbers each time", async (context) => {
    const net = await open(context, { snapshotEvery: 1 });
    for (let i = 0; i < 40; i++) {
      const { step: number, loss } = await step(net, 0.5);
      expect([number, await loss]).toEqual([i, 0.5]);
      if (i % 4 === 3) await lose(net);
    }
    expect(await scale(net)).toEqual([-19, -18, -17, -16]);
    expect([...(await net.getParameter("count")).data]).toEqual([40]);
  });
});

describe("memory of the caller's", () => {
  it("may change after the call: inputs, also of the call that opens another device", async (context) => {
    const net = await open(context);
    const mine = Float32Array.of(1, 2, 3);
    await lose(net);
    const calls = [0, 1, 2].map(() => add(net, mine, { data: mine, shape: [3] }));
    mine.fill(9);
    for (const call of calls) expect((await call).data).toEqual(Float32Array.of(2, 4, 6));
  });

  it("may change after load: weights as bytes, as a record, as a tensor", async (context) => {
    const bytes = (await (await share(context)).save()) as Uint8Array;
    const records = [
      { ...WEIGHTS, scale: Float32Array.of(1, 2, 3, 4) },
      { ...WEIGHTS, scale: [1, 2, 3, 4] },
    ];
    const loads = [bytes, ...records].map((weights) => load(tiny, { weights }));
    bytes.fill(0x41);
    for (const record of records) (record.scale as number[]).fill(9);
    for (const net of await Promise.all(loads)) {
      nets.push(net);
      expect(await scale(net)).toEqual([1, 2, 3, 4]);
      await lose(net);
      expect(await scale(net)).toEqual([1, 2, 3, 4]);
    }
  });

  it("may change or be transferred: snapshots that were handed out or taken in", async (context) => {
    const net = await open(context);
    const one = await net.snapshot();
    structuredClone(one, { transfer: [one.params.buffer, one.state.buffer] });
    await lose(net);
    expect(await scale(net)).toEqual([1, 2, 3, 4]);
    const two = await net.snapshot();
    const restoring = net.restore(two);
    two.params.fill(0);
    await restoring;
    expect(await scale(net)).toEqual([1, 2, 3, 4]);
    await lose(net);
    expect(await scale(net)).toEqual([1, 2, 3, 4]);
    await expect(net.restore(one)).rejects.toThrow(
      /its params have 0 bytes instead of 512 \(were they transferred/,
    );
  });

  it("may be freed: tensors and buffers on the GPU, whatever is under way", async (context) => {
    const net = await share(context);
    const { device } = await testDevice(context);
    for (const size of [10, 60_000]) {
      const a = await add(net, new Float32Array(4).fill(1), new Float32Array(4), { gpu: true });
      const buffer = device.createBuffer({ size: 16, usage: COPY_SRC, mappedAtCreation: true });
      new Float32Array(buffer.getMappedRange()).set([1, 2, 3, 4]);
      buffer.unmap();
      // Grows the arena the second time, so that the next calls have to wait.
      const other = add(net, new Float32Array(size), new Float32Array(size));
      const calls = Array.from({ length: 12 }, () => add(net, a, buffer));
      a.dispose();
      buffer.destroy();
      await other;
      for (const call of calls) expect((await call).data).toEqual(Float32Array.of(2, 3, 4, 5));
    }
    const kept = await add(net, [1], [1], { gpu: true });
    const setting = share(context).then(async (second) => {
      const value = await add(second, [5, 6, 7, 8], [0, 0, 0, 0], { gpu: true });
      const set = second.setParameter("scale", value);
      const read = scale(second);
      value.dispose();
      await set;
      return read;
    });
    expect(await setting).toEqual([5, 6, 7, 8]); // in the order of the calls
    (kept.buffer as unknown as GPUBuffer).destroy();
    await expect(kept.read()).rejects.toMatchObject({ name: "GpuError" });
  });

  it("is not taken from a device that is gone", async (context) => {
    const net = await open(context);
    const a = await add(net, [1], [1], { gpu: true });
    await lose(net);
    await expect(add(net, a, [1])).rejects.toMatchObject({ name: "InputError", code: "input-device" });
    await expect(a.read()).rejects.toMatchObject(LOST);
    expect((await add(net, [1], [1])).item()).toBe(2);
  });

  it("is the caller's: shapes and lists that were handed out", async (context) => {
    const net = await share(context);
    const wipe = (shape: readonly number[]): void => {
      try {
        (shape as number[]).shift();
      } catch (error) {
        expect(error).toBeInstanceOf(TypeError); // frozen
      }
    };
    wipe((await add(net, [1, 2], [3, 4])).shape);
    expect((await add(net, [1, 2], [3, 4])).shape).toEqual([2]);
    wipe((await net.getParameter("scale")).shape);
    for (const { shape } of net.parameters()) wipe(shape);
    expect((await net.getParameter("scale")).shape).toEqual([4]);
    expect(net.parameters()[0].shape).toEqual([4]);
    await net.loadWeights(await net.save());
  });
});

describe("a snapshot", () => {
  it("is refused with a typed error, and nothing is changed, whatever is wrong with it", async (context) => {
    const net = await share(context);
    await step(net, 1);
    const good = await net.snapshot();
    const bad: [unknown, RegExp][] = [
      [undefined, /expected a snapshot, given undefined/],
      [null, /given null/],
      ["snapshot", /given a string/],
      [{}, /has a signature/],
      [{ ...good, signature: good.signature + 1 }, /of another model/],
      [{ ...good, params: undefined }, /its params are a Uint8Array/],
      [{ ...good, params: new Float32Array(128) }, /its params are a Uint8Array, given a Float32Array/],
      [{ ...good, params: good.params.subarray(4) }, /508 bytes instead of 512/],
      [{ ...good, state: [...good.state] }, /its state are a Uint8Array/],
      [{ ...good, steps: undefined }, /its steps are an object/],
      [{ ...good, steps: { fit: "7" } }, /its steps of fit are an integer/],
      [{ ...good, steps: { fit: -1 } }, /its steps of fit are an integer/],
      [{ ...good, steps: { fit: 1.5 } }, /its steps of fit are an integer/],
      [{ ...good, steps: { other: 1 } }, /no such train block/],
      [{ ...good, seed: undefined }, /its seed is/],
      [{ ...good, seed: -1 }, /its seed is/],
    ];
    for (const [snapshot, message] of bad) {
      const error = await refusal(net.restore(snapshot as Snapshot));
      expect(error).toMatchObject({ name: "InputError", code: "snapshot" });
      expect(error.message).toMatch(message);
    }
    expect(await net.snapshot()).toEqual(good);
  });

  it("may lie in shared or resizable memory", async (context) => {
    const net = await share(context);
    const good = await net.snapshot();
    const shared = new Uint8Array(new SharedArrayBuffer(good.params.length));
    shared.set(good.params);
    const resizable = new Uint8Array(
      Reflect.construct(ArrayBuffer, [good.state.length, { maxByteLength: 4096 }]) as ArrayBuffer,
    );
    resizable.set(good.state);
    await step(net, 1);
    await net.restore({ ...good, params: shared, state: resizable });
    expect(await net.snapshot()).toEqual(good);
  });
});

describe("hyperparameters", () => {
  it.for([
    [Number.NaN, /lr is NaN at step 1, as given/],
    [Number.POSITIVE_INFINITY, /lr is Infinity at step 1/],
    [1e39, /lr is 1e\+39 at step 1/], // infinite in single precision
    ["0.1", /fit_step: lr is a number, given "0.1"/],
    [null, /lr is a number/],
  ] as const)("of %s are refused before anything runs", async ([lr, message], context) => {
    const net = await share(context);
    await step(net, 1);
    const error = await refusal(step(net, 1, { lr }));
    expect(error.name).toBe("InputError");
    expect(error.message).toMatch(message);
    const next = await step(net, 1);
    expect([next.step, await next.loss]).toEqual([1, 1]);
    expect(await scale(net)).toEqual([-1, 0, 1, 2]);
  });

  it("of a schedule are, too", async (context) => {
    const artefact = structuredClone(tiny) as typeof tiny;
    const entry = artefact.programs[0].entries.find((e) => e.train);
    // log(1 - step / total_steps): -Infinity at the last step, NaN from then on.
    Object.assign(entry?.implicit[0] ?? {}, { value: ["log", ["-", 1, ["/", "step", "total_steps"]]] });
    const { device } = await testDevice(context);
    const net = await load(artefact, { device, weights: WEIGHTS, train: { totalSteps: 1 } });
    nets.push(net);
    await net.entries["fit_step"]({ x: [1] });
    const error = await refusal(net.entries["fit_step"]({ x: [1] }));
    expect(error).toMatchObject({ name: "InputError", code: "hyperparameter" });
    expect(error.message).toMatch(/lr is -Infinity at step 1, by its schedule/);
    expect((await step(net, 1)).step).toBe(1);
  });

  it.for([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, "10", null])(
    "know no total of %s steps",
    async (totalSteps, context) => {
      const { device } = await testDevice(context);
      const loading = load(tiny, { device, train: { totalSteps: totalSteps as number } });
      await expect(loading).rejects.toMatchObject({ name: "InputError", code: "option" });
    },
  );
});

describe("options", () => {
  it("are refused with a typed error that names them, in every method", async (context) => {
    const { device } = await testDevice(context);
    const net = await share(context);
    const loads: unknown[] = [
      null,
      5,
      "x",
      [],
      { weight: 1 },
      { weights: null },
      { weights: 5 },
      { weights: () => 0 },
      { device: {} },
      { device: null },
      { device: 5 },
      { gpu: {} },
      { gpu: { requestAdapter: () => ({}) } },
      {
        gpu: {
          requestAdapter: () => {
            throw new TypeError("no");
          },
        },
      },
      { device, powerPreference: "low" },
      { device, target: 5 },
      { device, target: "none" },
      { device, seed: "1" },
      { device, seed: 1.5 },
      { device, seed: Symbol("s") },
      { device, seed: Object.create(null) },
      { device, entries: "predict" },
      { device, entries: [5] },
      { device, entries: ["none"] },
      { device, bind: 8 },
      { device, bind: { N: "8" } },
      { device, bind: { N: 1.5 } },
      { device, bind: { N: -1 } },
      { device, bind: { N: Number.NaN } },
      { device, bind: { M: 8 } },
      { device, bind: { N: 0 } }, // add wants one element
      { device, train: 5 },
      { device, train: { total: 5 } },
      { device, snapshotEvery: 0 },
      { device, snapshotEvery: "10" },
      { device, snapshotEvery: { every: 1 } },
      { device, snapshotEvery: { ms: -1 } },
      { device, maxSubmitMs: -1 },
      { device, maxSubmitMs: Number.NaN },
      { device, signal: {} },
      { device, onProgress: 5 },
      { device, onIgnored: {} },
      { device, strict: 1 },
    ];
    for (const options of loads) {
      const error = await refusal(load(tiny, options as LoadOptions));
      expect(error, String((error as Error).stack)).toBeInstanceOf(MdlRuntimeError);
    }
    const any = net as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
    const x = { a: [1], b: [1] };
    const calls: [string, ...unknown[]][] = [
      ["add", null],
      ["add", 5],
      ["add", []],
      ["add", x, null],
      ["add", x, 5],
      ["add", x, "gpu"],
      ["add", x, { gpu: 1 }],
      ["add", x, { outputs: "sum" }],
      ["add", x, { outputs: [5] }],
      ["add", x, { outputs: ["none"] }],
      ["add", x, { seed: {} }],
      ["add", x, { signal: 5 }],
      ["add", x, { lr: 1 }],
      ["add", { a: { size: 4, usage: COPY_SRC, mapState: "unmapped" }, b: [1] }],
      ["fit_step", { x: [1] }, { lr: "1" }],
      ["fit_step", { x: [1] }, { gpu: true }],
      ["fit_step", { x: [1] }, { seed: -1 }],
      ["getParameter"],
      ["getParameter", 5],
      ["getParameter", Symbol("s")],
      ["getParameter", "toString"],
      ["setParameter"],
      ["setParameter", {}, [1]],
      ["setParameter", "scale"],
      ["setParameter", "scale", null],
      ["setParameter", "scale", "1"],
      ["save", 5],
      ["save", null],
      ["save", {}],
      ["loadWeights"],
      ["loadWeights", 5],
      ["loadWeights", WEIGHTS, 5],
      ["loadWeights", WEIGHTS, { partal: true }],
      ["loadWeights", WEIGHTS, { partial: 1 }],
      ["reset", "1"],
      ["reset", null],
      ["profile"],
      ["profile", 5],
      ["profile", "add"],
      ["profile", "add", 5],
    ];
    const before = await net.snapshot();
    for (const [name, ...args] of calls) {
      const error = await refusal(any[name].apply(net, args), `${name} ${args.map(String)}`);
      expect(error, `${name}: ${error.stack}`).toBeInstanceOf(MdlRuntimeError);
    }
    expect(await net.snapshot()).toEqual(before);
    expect((await add(net, [1], [1])).item()).toBe(2);
  });

  it("may be changed after load", async (context) => {
    const bind = { N: 4 };
    const train = { totalSteps: 4 };
    const net = await open(context, { bind, train });
    bind.N = -1;
    train.totalSteps = Number.NaN;
    await lose(net);
    const { loss } = (await net.entries["fit_step"]({ x: [2] })) as StepResult;
    expect(await loss).toBe(2);
  });
});

describe("callbacks", () => {
  it.for(["weights", "compile", "warm-up"])(
    "that throw at %s reject load with what they threw",
    async (phase, context) => {
      const { device } = await testDevice(context);
      const mine = new Error("the bar is gone");
      const onProgress = (e: { phase: string }): void => {
        if (e.phase === phase) throw mine;
      };
      expect(await refusal(load(tiny, { device, weights: WEIGHTS, onProgress }))).toBe(mine);
      const late = async (e: { phase: string }): Promise<void> => onProgress(e);
      expect(await refusal(load(tiny, { device, weights: WEIGHTS, onProgress: late }))).toBe(mine);
    },
  );

  it("that are told what was passed over may throw, too", async (context) => {
    const { device } = await testDevice(context);
    const onIgnored = (): never => {
      throw new Error("not that");
    };
    const loading = load(tiny, { device, weights: { scale: [1, 2, 3, 4] }, partial: true, onIgnored });
    await expect(loading).rejects.toThrow("not that");
  });
});

describe("a signal", () => {
  it("aborts load, whenever it comes, with its reason", async (context) => {
    const { device } = await testDevice(context);
    const reason = new Error("enough");
    await expect(load(tiny, { device, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    for (const when of ["weights", "compile", "warm-up"]) {
      const control = new AbortController();
      const onProgress = (e: { phase: string }): void => {
        if (e.phase === when) control.abort(reason);
      };
      const loading = load(tiny, { device, weights: WEIGHTS, signal: control.signal, onProgress });
      await expect(loading).rejects.toBe(reason);
    }
    const own = new AbortController();
    const loading = load(tiny, { signal: own.signal });
    own.abort();
    await expect(loading).rejects.toMatchObject({ name: "AbortError" });
  });

  it("aborts a call that is not on its way, and no other", async (context) => {
    const net = await share(context);
    await step(net, 0);
    const control = new AbortController();
    const { signal } = control;
    const reason = new Error("enough");
    const first = step(net, 1, { signal }); // on its way at once
    const second = step(net, 1, { signal });
    const third = add(net, [1], [1], { signal });
    const fourth: Promise<unknown> = net.loadWeights({ scale: [0, 0, 0, 0] }, {
      partial: true,
      signal,
    } as object);
    const fifth = step(net, 1);
    control.abort(reason);
    const refused = [second, third, fourth].map((call) => expect(call).rejects.toBe(reason));
    expect((await first).step).toBe(1);
    await Promise.all(refused);
    expect((await fifth).step).toBe(2);
    expect(await scale(net)).toEqual([-1, 0, 1, 2]);
    await expect(step(net, 1, { signal })).rejects.toBe(reason);
    expect((await step(net, 1, { signal: new AbortController().signal })).step).toBe(3);
  });

  it("does not let weights that never come hold up the rest", async (context) => {
    const net = await share(context);
    const control = new AbortController();
    const never = { arrayBuffer: () => new Promise<ArrayBuffer>(() => undefined) };
    const loading = net.loadWeights(never, { signal: control.signal } as object);
    const after = add(net, [1], [1]);
    control.abort();
    await expect(loading).rejects.toMatchObject({ name: "AbortError" });
    expect((await after).item()).toBe(2);
  });
});

describe("the end", () => {
  it("is told as what it is by everything that is left of a model", async (context) => {
    const net = await share(context);
    const kept = await add(net, [1], [1], { gpu: true });
    const figures = await step(net, 1);
    net.dispose();
    for (const late of [
      () => kept.read(),
      () => figures.loss,
      () => figures.read(),
      () => net.save(),
      () => net.profile("add", {}),
      () => step(net, 1),
    ])
      await expect(late()).rejects.toMatchObject({ name: "DisposedError" });
    await net.close();
  });

  it("waits for what is under way when it is asked to", async (context) => {
    const net = await open(context);
    const calls = Array.from({ length: 20 }, () => add(net, [1], [1]));
    const steps = Array.from({ length: 5 }, () => step(net, 1));
    const closing = net.close();
    await expect(add(net, [1], [1])).rejects.toMatchObject({ name: "DisposedError" });
    await closing;
    for (const call of calls) expect((await call).item()).toBe(2);
    expect((await steps[4]).step).toBe(4);
    await expect(add(net, [1], [1])).rejects.toMatchObject({ name: "DisposedError" });
  });

  it("counts no step that the GPU refused", async (context) => {
    const net = await share(context);
    const { device } = await testDevice(context);
    await step(net, 1);
    const buffer = device.createBuffer({ size: 4, usage: COPY_SRC });
    buffer.destroy();
    const refused = net.entries["fit_step"]({ x: buffer }, { lr: 1 });
    await expect(refused).rejects.toMatchObject({ name: "GpuError" });
    expect((await step(net, 1)).step).toBe(1);
    expect(await scale(net)).toEqual([-1, 0, 1, 2]);
  });
});

describe("what goes on and on", () => {
  it("takes no more memory after 2,000 calls and 300 steps than after a few", async (context) => {
    const net = await share(context, { snapshotEvery: 50 });
    const gone = (await testDevice(context)).device.createBuffer({ size: 4, usage: COPY_SRC });
    gone.destroy();
    const none = { size: 4, usage: COPY_SRC, mapState: "unmapped" };
    const few = async (n: number): Promise<void> => {
      for (let i = 0; i < n; i++) {
        await add(net, [1, 2], [3, 4]);
        if (i % 7 === 0) (await add(net, [1], [2], { gpu: true })).dispose();
        if (i % 7 === 1) await (await step(net, 0)).loss;
        // What is refused leaves nothing behind, either.
        if (i % 7 === 2)
          for (const gpu of [true, false])
            for (const a of [gone, none]) await expect(add(net, a, [1], { gpu })).rejects.toThrow();
      }
    };
    await few(400);
    const before = net.memory();
    await few(2000);
    expect(net.memory()).toEqual(before);
  });
});

const NAMES = testModule(`
model M {
  param constructor: f32[3] = ones()
  param toString: f32[3] = ones()
  param __proto__: f32[3] = ones()
  param _1: f32[3] = ones()
  fn loss(x: f32[N, 3]) -> f32 { mean((x * constructor * toString * __proto__ * _1) ** 2) }
  fn step(x: f32[N, 3]) -> f32 { mean(x) }
  fn read(x: f32[N, 3]) -> f32 { mean(x) * 2 }
  fn then(x: f32[N, 3]) -> f32 { mean(x) * 3 }
  fn valueOf(x: f32[N, 3]) -> f32 { mean(x) * 4 }
  fn dispose(a: f32[N]) -> (then: f32[N], constructor: f32[N], __proto__: f32[N], hasOwnProperty: f32[N]) {
    (then = a + 1, constructor = a + 2, __proto__ = a + 3, hasOwnProperty = a + 4)
  }
  fn save(__proto__: f32[N], then: f32[N], toString: f32[N]) -> f32[N] { __proto__ + then * 2 + toString * 3 }
}
train constructor for M { minimize loss
 report step
 report read
 report then
 report valueOf
 with sgd(lr = 0.125) }
train __proto__ for M { minimize loss
 with sgd(lr = 0.125) }
`);

describe("names that every object has, or a promise", () => {
  it("are entries, inputs, results, parameters, reports and train blocks as others are", async (context) => {
    const { base } = await NAMES.load(context);
    const net = base as unknown as Net;
    const { entries } = net;
    const results = async (name: string, inputs: object, options?: object): Promise<unknown[]> => {
      const all = (await entries[name]({ ...inputs }, options)) as Record<string, Tensor>;
      return Promise.all(Object.entries(all).map(async ([key, tensor]) => [key, ...(await tensor.read())]));
    };
    expect(await results("dispose", { a: [1] })).toEqual([
      ["then", 2],
      ["constructor", 3],
      ["__proto__", 4],
      ["hasOwnProperty", 5],
    ]);
    expect(await results("dispose", { a: [1] }, { gpu: true, outputs: ["__proto__"] })).toEqual([
      ["__proto__", 4],
    ]);
    const inputs = JSON.parse('{ "__proto__": [1], "then": [10], "toString": [100] }');
    expect(await results("save", inputs)).toEqual([["save", 321]]);
    expect(await results("then", { x: [[1, 1, 1]] })).toEqual([["then", 3]]);

    const first = (await entries["constructor_step"]({ x: [[1, 1, 1]] })) as StepResult<"valueOf">;
    expect(first.step).toBe(0);
    expect([await first.loss, await first.valueOf]).toEqual([1, 4]);
    expect(Object.entries(await first.read())).toEqual([
      ["loss", 1],
      ["step", 1],
      ["read", 2],
      ["then", 3],
      ["valueOf", 4],
    ]);
    // d/dp mean(p_1 p_2 p_3 p_4)^2 is 2 / 3 at ones.
    const after = 1 - 0.125 * (2 / 3);
    for (const path of ["constructor", "toString", "__proto__", "_1"])
      expect((await net.getParameter(path)).data[2]).toBeCloseTo(after, 6);
    const second = (await entries["__proto___step"]({ x: [[1, 1, 1]] })) as StepResult;
    expect([second.step, await second.loss]).toEqual([0, expect.closeTo(after ** 8, 6)]);

    const snapshot = await net.snapshot();
    expect(Object.entries(snapshot.steps)).toEqual([
      ["constructor", 1],
      ["__proto__", 1],
    ]);
    await net.restore(structuredClone(snapshot));
    expect(((await entries["constructor_step"]({ x: [[0, 0, 0]] })) as StepResult).step).toBe(1);
    const record = JSON.parse('{ "__proto__": [1, 2, 3], "constructor": [4, 5, 6] }');
    await net.loadWeights(record, { partial: true });
    expect([...(await net.getParameter("__proto__")).data]).toEqual([1, 2, 3]);
    expect([...(await net.getParameter("constructor")).data]).toEqual([4, 5, 6]);
  });
});

const RANDOM = testModule(`
model R {
  param w: f32[8] = ones()
  fn noise() -> f32[8] { rand(8) }
  fn loss(x: f32[8]) -> f32 { mean(dropout(x * w, 0.5)) }
}
train fit for R { minimize loss
 with sgd(lr = 0) }
`);

describe("seeds", () => {
  it("that are given repeat, whatever was called between; the others go on from load's", async (context) => {
    const { base } = await RANDOM.load(context, { seed: 5 });
    const net = base as unknown as Net;
    const noise = async (options?: object): Promise<number[]> => [
      ...((await net.entries["noise"]({}, options)) as { noise: Tensor }).noise.data,
    ];
    const drop = async (options?: object): Promise<number> => {
      const { loss } = (await net.entries["fit_step"](
        { x: [1, 2, 4, 8, 16, 32, 64, 128] },
        options,
      )) as StepResult;
      return loss;
    };
    const [a, b] = [await noise(), await noise()];
    expect(b).not.toEqual(a);
    const seeded = await noise({ seed: 7 });
    const dropped = await drop({ seed: 7 });
    const c = await noise();
    expect(await noise({ seed: 7 })).toEqual(seeded);
    const [d, e] = [await drop(), await drop()];
    expect(await drop({ seed: 7 })).toBe(dropped);
    expect(await noise({ seed: 8 })).not.toEqual(seeded);
    // The same without the seeded calls between: they have moved nothing. A snapshot goes on alike elsewhere.
    const again = (await RANDOM.load(context, { seed: 5 })).base as unknown as Net;
    const plain = async (of: Net): Promise<number[]> => [
      ...((await of.entries["noise"]({})) as { noise: Tensor }).noise.data,
    ];
    expect([await plain(again), await plain(again), await plain(again)]).toEqual([a, b, c]);
    const other = (await RANDOM.load(context, { seed: 99 })).base as unknown as Net;
    await other.restore(structuredClone(await again.snapshot()));
    const figures = async (of: Net): Promise<number> =>
      ((await of.entries["fit_step"]({ x: [1, 2, 4, 8, 16, 32, 64, 128] })) as StepResult).loss;
    expect([await figures(other), await figures(other)]).toEqual([d, e]);
    expect(await plain(other)).toEqual(await noise());
    expect(await plain(again)).not.toEqual(a);
  });

  it("go on where they were on another device: the count of draws is not lost", async (context) => {
    await testDevice(context);
    const net = await load(
      ((await import(pathToFileURL(RANDOM.path()).href)) as { artefact: typeof tiny }).artefact,
      {
        seed: 5,
      },
    );
    nets.push(net);
    const noise = async (): Promise<number[]> => [
      ...((await net.entries["noise"]({})) as { noise: Tensor }).noise.data,
    ];
    const draws = [await noise(), await noise(), await noise()];
    await net.reset();
    expect(await noise()).toEqual(draws[0]);
    await lose(net);
    expect(await noise()).toEqual(draws[1]);
    expect(await noise()).toEqual(draws[2]);
  });
});

describe("processes and threads", () => {
  const TRAIN = `
    const net = await load({ seed: 11, train: { totalSteps: 100 } });
    const { createHash } = await import("node:crypto");
    const x = Float32Array.of(1, 2, 4, 8, 16, 32, 64, 128);
    const losses = [];
    for (let i = 0; i < 20; i++) losses.push(await (await net.fit_step({ x }, { lr: 0.01 })).loss);
    losses.push(...(await net.getParameter("w")).data, ...(await net.noise()).noise.data);
    const hash = createHash("sha256").update(Float64Array.from(losses)).digest("hex");
    await net.close();`;

  it("train alike, bit for bit; a thread that closed its model may end or be terminated", async (context) => {
    await testDevice(context);
    const folder = mkdtempSync(join(RANDOM.path(), "..", "threads-"));
    const file = join(folder, "main.mjs");
    const module = JSON.stringify(pathToFileURL(RANDOM.path()).href);
    writeFileSync(
      file,
      `import { Worker, isMainThread, parentPort } from "node:worker_threads";
      import { load } from ${module};
      const run = async () => { ${TRAIN} return hash; };
      if (isMainThread) {
        console.log(await run());
        for (const end of ["terminate", "end"]) {
          const worker = new Worker(new URL(import.meta.url), { stderr: true });
          console.log(await new Promise((told, failed) => worker.once("message", told).once("error", failed)));
          if (end === "end") worker.postMessage("close");
          else await worker.terminate();
          if (end === "end") await new Promise((ended) => worker.once("exit", ended));
        }
        console.log("done");
      } else {
        parentPort.postMessage(await run());
        parentPort.once("message", () => parentPort.close());
      }`,
    );
    const runs = [1, 2].map(() => spawnSync(process.execPath, [file], { encoding: "utf8", timeout: 60_000 }));
    for (const { status, signal, stderr } of runs) expect([status, signal], stderr).toEqual([0, null]);
    const lines = runs.flatMap((run) => run.stdout.trim().split("\n"));
    expect(lines.filter((line) => line === "done")).toHaveLength(2);
    const hashes = lines.filter((line) => line !== "done");
    expect(hashes).toHaveLength(6);
    expect(new Set(hashes).size).toBe(1);
    expect(existsSync(file)).toBe(true);
  });
});
