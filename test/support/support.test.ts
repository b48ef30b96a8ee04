// What the other tests lean on: the hash rule, the readers and allclose, each against numbers from elsewhere.
import { describe, expect, it, vi } from "vitest";
import { allclose, difference } from "./allclose.ts";
import { disguised } from "./disguise.ts";
import { figure, operand } from "./figures.ts";
import { integers, parameter, probe, signed } from "./hashing.ts";
import { readSafetensors, writeSafetensors } from "./safetensors.ts";
import { readCifar10, readMnist, readTensorProto, sharedData, testDataSets } from "./shared-data.ts";

// Printed by test/figures/make/hashing.py.
const SIGNED = [0.41134870052337646, -0.6337563991546631, 0.4306819438934326, -0.8527008295059204];
const INTEGERS = [7, 9, 5, 8, 5, 0, 8, 8];
const WEIGHT = [-1.2364460229873657, 1.0663340091705322, 0.991887629032135];
const SCALE = [1.0863844156265259, 1.2373864650726318, 1.085008144378662];
const BIAS = [0.05108535289764404, 0.044075775891542435, -0.1278260499238968];
const PROBE = -3.2467046976089478;

describe("hash-made numbers", () => {
  it("are those of the Python side", () => {
    expect([...signed("x.1", [2, 2])]).toEqual(SIGNED);
    expect([...integers("y.1", [8], 10)]).toEqual(INTEGERS);
    expect([...parameter("head.weight", [1, 3])]).toEqual(WEIGHT);
    expect([...parameter("bn.weight", [3])]).toEqual(SCALE);
    expect([...parameter("bn.bias", [3])]).toEqual(BIAS);
    expect(probe("p", [1, 2, 3])).toBe(PROBE);
  });
});

describe("allclose", () => {
  it("accepts what is within the tolerance, NaN for NaN and infinity for infinity", () => {
    allclose(
      [1, 2.00001, Number.NaN, Number.POSITIVE_INFINITY],
      [1, 2, Number.NaN, Number.POSITIVE_INFINITY],
    );
  });
  it("names the worst place", () => {
    expect(difference([1, 2, 3, 5], [1, 2.5, 3, 4], { name: "y", shape: [2, 2] })).toBe(
      "y: 2 of 4 elements differ by more than 0.00001 + 0.0001 * |expected|; worst at [1, 1] of [2, 2]: 5, expected 4; largest error 1.000e+0",
    );
  });
  it("refuses NaN, infinity and another length", () => {
    expect(difference([Number.NaN], [1])).toContain("worst at [0]: NaN");
    expect(difference([Number.POSITIVE_INFINITY], [1])).toContain("Infinity, expected 1");
    expect(difference([1], [1, 2])).toBe("tensor: 1 elements, expected 2");
  });
});

describe("safetensors", () => {
  it("read what was written", () => {
    const tensors = new Map([["a.b", { shape: [2, 1], data: Float32Array.of(1, -2) }]]);
    const read = readSafetensors(writeSafetensors(tensors));
    expect(read.tensors.get("a.b")).toEqual({ dtype: "F32", shape: [2, 1], data: Float32Array.of(1, -2) });
  });
});

describe("figures", () => {
  it("make weights and inputs again", () => {
    const f = figure("convnet");
    expect(f.weights().get("block1.weight")?.data.length).toBe(4 * 9);
    expect(f.inputs(2)["x"].length).toBe(6 * 28 * 28);
    expect(f.expected("adam/3/state/head.bias").shape).toEqual([10]);
    expect(f.names("sgd/1/grad/")).toContain("block3.weight");
  });
  // The figure's own first number, from numbers on this side only: mean squared error is easily said.
  it("agree with what is computed from the made inputs", () => {
    const f = figure("operators");
    const mse = f.info.cases?.find((c) => c.name === "mse_loss");
    const [x, y] = (mse?.operands ?? []).map((how, i) => [...operand(`mse_loss.${i}`, how)]);
    const mean = x.reduce((sum, v, i) => sum + (v - y[i]) ** 2, 0) / x.length;
    f.check("mse_loss/y", [mean], { rtol: 1e-6 });
  });
});

describe("TensorProto", () => {
  it("reads packed floats", () => {
    // dims 2 (packed), float32, float_data 1.5 and -2
    const bytes = [0x0a, 1, 2, 0x10, 1, 0x22, 8, 0, 0, 0xc0, 0x3f, 0, 0, 0, 0xc0];
    expect(readTensorProto(Uint8Array.from(bytes))).toEqual({
      dtype: "F32",
      shape: [2],
      data: Float32Array.of(1.5, -2),
    });
  });
});

describe("shared data", () => {
  it("reads CIFAR-10", (context) => {
    const images = readCifar10(sharedData(context, "datasets", "cifar10", "train_first4000.bin.gz"));
    expect(images.count).toBe(4000);
    expect([...images.labels.subarray(0, 8)]).toEqual([6, 9, 9, 4, 1, 1, 2, 7]);
  });
  it("reads MNIST", (context) => {
    const images = readMnist(sharedData(context, "datasets", "mnist"), "t10k");
    expect(images.shape).toEqual([10000, 1, 28, 28]);
    expect([...images.labels.subarray(0, 5)]).toEqual([7, 2, 1, 0, 4]);
  });
  it("reads a model's test data sets", (context) => {
    const sets = testDataSets(sharedData(context, "models", "cifar10-resnet20"));
    expect(sets.map((s) => [s.inputs[0].shape, s.outputs[0].shape])).toEqual([
      [
        [8, 3, 32, 32],
        [8, 10],
      ],
      [
        [8, 3, 32, 32],
        [8, 10],
      ],
    ]);
  });
});

describe("a disguise", () => {
  const gpu = () =>
    ({
      requestAdapter: async () => ({
        info: { vendor: "mesa", architecture: "software" },
        features: new Set(["shader-f16", "subgroups", "timestamp-query"]),
        requestDevice: async () => ({ adapterInfo: { vendor: "mesa" } }),
      }),
    }) as unknown as GPU;
  const request = async (): Promise<GPUAdapter> => (await disguised(gpu()).requestAdapter()) as GPUAdapter;

  it("shows the adapter that it is named after, without what that one lacks", async () => {
    vi.stubEnv("MDL_TEST_DISGUISE", "nvidia");
    const adapter = await request();
    expect([adapter.info.vendor, adapter.info.isFallbackAdapter]).toEqual(["nvidia", false]);
    expect([...adapter.features]).toEqual(["timestamp-query"]);
    const device = await adapter.requestDevice({ requiredFeatures: ["timestamp-query"] });
    expect(device.adapterInfo.vendor).toBe("nvidia");
    await expect(adapter.requestDevice({ requiredFeatures: ["shader-f16"] })).rejects.toThrow("shader-f16");
    vi.stubEnv("MDL_TEST_DISGUISE", "nobody");
    await expect(request()).rejects.toThrow("no disguise nobody: nvidia");
    vi.stubEnv("MDL_TEST_DISGUISE", "");
    expect((await request()).info.vendor).toBe("mesa");
    vi.unstubAllEnvs();
  });
});
