// What goes in and out of a loaded module, on the adapter: weights all or nothing, tensors of other modules, buffers that are
// none or no longer there, results that print.
import { inspect } from "node:util";
import { describe, expect, it, onTestFinished, type TestContext, vi } from "vitest";
import type { Ignored, LoadOptions, StepResult, Weights } from "../../runtime/core/api.ts";
import { load, type Net, Tensor } from "../../runtime/core/index.ts";
import { testDevice } from "../support/device.ts";
import { tiny } from "../support/tiny.ts";

const SCALE = [1, 2, 3, 4];
const BIAS = [5, 6, 7, 8];

async function open(context: TestContext, options: LoadOptions = {}): Promise<Net> {
  const { device } = await testDevice(context);
  const net = await load(tiny, { device, train: { totalSteps: 4 }, ...options });
  onTestFinished(() => net.dispose());
  return net;
}
const parameter = async (net: Net, path: string): Promise<number[]> => [
  ...(await net.getParameter(path)).data,
];
const call = async (
  net: Net,
  entry: string,
  inputs: object,
  options?: object,
): Promise<Record<string, Tensor>> =>
  (await net.entries[entry](inputs as Record<string, unknown>, options)) as Record<string, Tensor>;

describe("weights", () => {
  it("may have gaps and more where load is told so, and load tells of them", async (context) => {
    const told: Ignored[] = [];
    const weights = { scale: SCALE, extra: BIAS };
    const net = await open(context, { weights, strict: false, onIgnored: (i) => told.push(i) });
    expect(told).toEqual([{ missing: ["bias", "count"], unexpected: ["extra"] }]);
    expect(await parameter(net, "scale")).toEqual(SCALE);
    // What is missing begins as declared.
    expect(await parameter(net, "bias")).toEqual(await parameter(await open(context), "bias"));

    const warn = vi.spyOn(console, "warn").mockImplementation(() => undefined);
    onTestFinished(() => warn.mockRestore());
    await open(context, { weights: { bias: BIAS, count: 0 }, partial: true });
    expect(warn.mock.calls).toEqual([["Tiny: weights were passed over: missing scale"]]);
    await open(context, { weights: { scale: SCALE, bias: BIAS, count: 0 }, strict: false });
    expect(warn).toHaveBeenCalledTimes(1);

    await expect(open(context, { weights })).rejects.toMatchObject({
      name: "WeightsError",
      missing: ["bias", "count"],
      unexpected: ["extra"],
    });
    await expect(open(context, { weights, partial: true })).rejects.toThrow(/unexpected extra/);
  });

  it("of a load that is refused change nothing", async (context) => {
    const net = await open(context, { weights: { scale: SCALE, bias: BIAS, count: 3 } });
    const before = (await net.save()) as Uint8Array;
    const internal = async (): Promise<number[]> => parameter(net, "bad_step");
    const shifted = before.slice();
    shifted[0]--;
    const refused: Weights[] = [
      { scale: [9, 9, 9, 9], bias: [9, 9, 9], count: 9 },
      { scale: [9, 9, 9, 9] },
      { scale: [9, 9, 9, 9], bias: BIAS, count: 9, bad_step: 9 },
      shifted,
      before.subarray(0, before.length - 1),
    ];
    for (const weights of refused)
      await expect(net.loadWeights(weights)).rejects.toMatchObject({ name: "WeightsError" });
    expect(await net.save()).toEqual(before);
    expect(await internal()).toEqual([0]);
    expect(await net.loadWeights({ bias: [0, 0, 0, 0], bad_step: 7, more: 1 }, { strict: false })).toEqual({
      missing: ["scale", "count"],
      unexpected: ["bad_step", "more"],
    });
    expect([await parameter(net, "scale"), await parameter(net, "bias"), await internal()]).toEqual([
      SCALE,
      [0, 0, 0, 0],
      [0],
    ]);
  });
});

describe("tensors", () => {
  it("of another module are taken where they are", async (context) => {
    const net = await open(context);
    // Another copy of the runtime, as a second module inlines it.
    vi.resetModules();
    const other = (await import("../../runtime/core/index.ts")) as {
      readonly load: typeof load;
      readonly Tensor: typeof Tensor;
    };
    expect(other.Tensor).not.toBe(Tensor);
    const { device } = await testDevice(context);
    const second = await other.load(tiny, { device });
    onTestFinished(() => second.dispose());
    for (const gpu of [false, true]) {
      const { sum } = await call(second, "add", { a: [1, 2], b: [3, 4] }, { gpu });
      expect(sum).not.toBeInstanceOf(Tensor);
      const again = await call(net, "add", { a: sum, b: sum });
      expect(again["sum"].toArray()).toEqual([8, 12]);
    }
  });

  it("that are no buffers, or are gone, are refused with a typed error", async (context) => {
    const net = await open(context);
    const { device } = await testDevice(context);
    const fake = { size: 8, usage: 4, mapState: "unmapped" };
    await expect(call(net, "add", { a: fake, b: fake })).rejects.toMatchObject({ name: "InputError" });
    const { sum } = await call(net, "add", { a: [1, 2], b: [3, 4] }, { gpu: true });
    (sum.buffer as unknown as GPUBuffer).destroy();
    await expect(call(net, "add", { a: sum, b: sum })).rejects.toMatchObject({ name: "GpuError" });
    await expect(sum.read()).rejects.toMatchObject({ name: "GpuError" });
    sum.dispose();
    await expect(call(net, "add", { a: sum, b: sum })).rejects.toThrow(/^a: f32\[N\]: .*disposed/);
    const small = device.createBuffer({ size: 4, usage: 4 });
    onTestFinished(() => small.destroy());
    const shaped = { data: small, shape: [2] };
    await expect(call(net, "add", { a: shaped, b: [1, 2] })).rejects.toThrow(
      /\[2\] is 2 elements, its data has 1/,
    );
    // What was refused left nothing behind.
    expect((await call(net, "add", { a: [1], b: [2] }))["sum"].toArray()).toEqual([3]);
  });

  it("whose memory was transferred are refused, and none stands in for them", async (context) => {
    const net = await open(context);
    await call(net, "add", { a: [1, 2], b: [3, 4] });
    const data = Float32Array.of(1, 2);
    const tensor = new Tensor("f32", [2], data);
    structuredClone(data.buffer, { transfer: [data.buffer] });
    for (const a of [tensor, data, { data, shape: [2] }])
      await expect(call(net, "add", { a, b: [1, 2] })).rejects.toMatchObject({
        name: "InputError",
        code: "detached",
      });
    await expect(net.setParameter("scale", tensor)).rejects.toMatchObject({ name: "InputError" });
    await expect(net.setParameter("scale", data)).rejects.toMatchObject({ name: "InputError" });
  });

  it("have shapes that a caller may do with what he likes", async (context) => {
    const net = await open(context, { weights: { scale: SCALE, bias: BIAS, count: 3 } });
    for (let i = 0; i < 2; i++) {
      const { sum } = await call(net, "add", { a: [1, 2], b: [3, 4] }, { gpu: i === 1 });
      (sum.shape as number[]).shift();
      expect(sum.shape).toEqual([2]);
    }
    const scale = await net.getParameter("scale");
    (scale.shape as number[])[0] = 3;
    for (const p of net.parameters()) (p.shape as number[]).push(9);
    const again = await open(context, { weights: (await net.save()) as Uint8Array });
    expect(await parameter(again, "scale")).toEqual(SCALE);
  });
});

describe("a training step", () => {
  it("prints its figures once they were read", async (context) => {
    const net = await open(context, { weights: { scale: SCALE, bias: BIAS, count: 0 } });
    const step = (await net.entries["fit_step"]({ x: [2, 4] })) as StepResult;
    expect(inspect(step)).toMatch(/^step 0 of fit: loss \(on the GPU\), steps_done .*await step\.read\(\)/);
    const { loss } = await step.read();
    expect(inspect(step)).toBe(`step 0 of fit: loss ${loss}, steps_done 1`);
    expect(String(step)).toBe(inspect(step));
  });

  it("prints, too, where a report is called toString", async (context) => {
    const { device } = await testDevice(context);
    const rename = (name: string): string => (name === "steps_done" ? "toString" : name);
    const programs = tiny.programs.map((p) => ({
      ...p,
      entries: p.entries.map((e) => ({
        ...e,
        outputs: e.outputs.map((o) => ({ ...o, name: rename(o.name) })),
        ...(e.train && { train: { ...e.train, reports: e.train.reports.map(rename) } }),
      })),
    }));
    const net = await load({ ...tiny, programs }, { device, train: { totalSteps: 4 } });
    onTestFinished(() => net.dispose());
    const step = (await net.entries["fit_step"]({ x: [2, 4] })) as StepResult<"toString">;
    expect(await step.toString).toBe(1);
    expect(inspect(step)).toMatch(/^step 0 of fit: loss .*, toString 1$/);
  });
});
