// One set of pipelines: after `load` nothing is compiled, whatever the batch size, and one pipeline serves many layers.
import { afterEach, describe, expect, it } from "vitest";
import type { LoadOptions } from "../../runtime/core/api.ts";
import { load, type Net } from "../../runtime/core/index.ts";
import { own, targets } from "../support/adapter.ts";
import { testDevice } from "../support/device.ts";
import { projectFile } from "../support/files.ts";
import { compileText } from "../support/module.ts";

const COMPILES = ["createShaderModule", "createComputePipeline", "createComputePipelineAsync"] as const;

/** The device, with everything counted that compiles. */
function counting(device: GPUDevice): { device: GPUDevice; count: () => number } {
  let count = 0;
  const proxy = new Proxy(device, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        if ((COMPILES as readonly string[]).includes(String(name))) count++;
        return Reflect.apply(value as (...a: unknown[]) => unknown, target, args);
      };
    },
  });
  return { device: proxy, count: () => count };
}

/** Compiling loops with barriers takes a software adapter long: less than ConvNet for the targets that have them. */
const SMALL = `import { Linear } from "std/nn"
model ConvNet(classes: int = 10, width: int = 4) {
  param weight: f32[width, 1, 3, 3] = he_normal()
  param bias:   f32[width]          = zeros()
  head = Linear(width, classes)

  fn predict(x: f32[N, 1, 28, 28]) -> f32[N, classes] {
    conv2d(x, weight, bias, padding = 1) |> relu |> max_pool2d(2) |> mean(axes = [2, 3]) |> head |> softmax
  }
}`;

let net: Net | undefined;
afterEach(() => net?.dispose());
const random = (n: number): Float32Array =>
  Float32Array.from({ length: n }, (_, i) => Math.sin(i * 12.9898) / 2);

describe.each(targets.map((t) => t.name))("on %s", (target) => {
  it("batches of 1, 7 and 32 compile nothing after load", async (context) => {
    const real = await testDevice(context);
    const { device, count } = counting(real.device);
    const source = target === own.name ? projectFile("dsl-examples/convnet.mdl") : SMALL;
    const { artefact } = compileText(source, {
      model: "ConvNet",
      set: { width: 4 },
      entries: ["predict"],
      targets: [target],
    });
    net = await load(artefact, { device, target } as LoadOptions);
    const after = count();
    expect(after).toBeGreaterThan(3);
    for (const n of [1, 7, 32, 3]) {
      const x = random(n * 784);
      const { predict } = (await net.entries.predict({ x })) as { predict: { data: Float32Array } };
      expect(predict.data.length).toBe(10 * n);
      for (let i = 0; i < n; i++) {
        const row = predict.data.subarray(10 * i, 10 * i + 10);
        expect(row.reduce((a, b) => a + b)).toBeCloseTo(1, 4);
      }
      // The first image is the same in every batch.
      expect(predict.data[0]).toBeCloseTo((await first(net))[0], 5);
    }
    net.dispose();
    expect(count()).toBe(after);
  });

  it("training steps of several sizes compile nothing after load", async (context) => {
    const real = await testDevice(context);
    const { device, count } = counting(real.device);
    const source = projectFile("dsl-examples/mlp.mdl");
    const { artefact } = compileText(source, { set: { inputs: 12, hidden: 8 }, targets: [target] });
    net = await load(artefact, { device, target, train: { totalSteps: 10 } } as LoadOptions);
    const after = count();
    for (const n of [1, 7, 32]) {
      const x = { data: random(n * 12), shape: [n, 12] };
      const step = (await net.entries.train_step({
        x,
        y: Int32Array.from({ length: n }, (_, i) => i % 10),
      })) as {
        loss: Promise<number>;
      };
      expect(Number.isFinite(await step.loss)).toBe(true);
    }
    expect(count()).toBe(after);
  });
});

async function first(of: Net): Promise<Float32Array> {
  const { predict } = (await of.entries.predict({ x: random(784) })) as { predict: { data: Float32Array } };
  return predict.data;
}

describe("ResNet-18", () => {
  it("shares at most eight pipelines among its twenty convolutions on cpu-subgroup", () => {
    const { artefact } = compileText(projectFile("dsl-examples/resnet18.mdl"), {
      entries: ["logits"],
      targets: ["cpu-subgroup"],
    });
    const [program] = artefact.programs;
    const { steps } = program.entries[0].body;
    const kernels = steps.flatMap((s) => (s.kind === "dispatch" ? [program.kernels[s.kernel]] : []));
    const convolutions = kernels.filter((k) => k.name.startsWith("conv2d"));
    expect(convolutions.length).toBeGreaterThanOrEqual(16);
    const pipelines = new Set(
      convolutions.map((k) => `${k.text}|${k.access.join()}|${JSON.stringify(k.constants ?? {})}`),
    );
    expect(pipelines.size).toBeLessThanOrEqual(8);
  });
});
