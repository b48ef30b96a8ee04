// The benchmark's clock on the GPU: that passes of whoever runs are timed, that nothing is said where one could not be, and
// that devices get timestamps without asking. What it says is not held to anything but the order of begin and end.
import { beforeAll, describe, expect, it } from "vitest";
import { GpuClock, withTimestamps } from "../../bench/counters.ts";
import { requestExactGpu } from "../../runtime/node/exact.ts";

const CODE = `
@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  var x = y[id.x] + 1.0;
  for (var i = 0u; i < 1000u; i++) { x = x * 0.999 + 0.001; }
  y[id.x] = x;
}`;
const STORAGE = 128;
const COPY_SRC = 4;

interface Work {
  readonly device: GPUDevice;
  call(passes: number, writes?: GPUComputePassTimestampWrites): Promise<void>;
}

async function workOn(device: GPUDevice): Promise<Work> {
  const y = device.createBuffer({ size: 4 * 4096, usage: STORAGE | COPY_SRC });
  const pipeline = await device.createComputePipelineAsync({
    layout: "auto",
    compute: { module: device.createShaderModule({ code: CODE }) },
  });
  const group = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: [{ binding: 0, resource: { buffer: y } }],
  });
  return {
    device,
    async call(passes, timestampWrites) {
      const encoder = device.createCommandEncoder();
      for (let i = 0; i < passes; i++) {
        const pass =
          i === 0 && !timestampWrites
            ? encoder.beginComputePass()
            : encoder.beginComputePass({ label: "a pass", timestampWrites });
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, group);
        // Of many passes the last two do something: that is in the second set of queries.
        if (i >= passes - 2) pass.dispatchWorkgroups(64);
        pass.end();
      }
      device.queue.submit([encoder.finish()]);
      await device.queue.onSubmittedWorkDone();
    },
  };
}

describe("the GPU's clock around a call", () => {
  let timed: Work;
  let plain: Work;
  let missing: string | undefined;
  beforeAll(async () => {
    const adapter = async (): Promise<GPUAdapter | null> => (await requestExactGpu()).requestAdapter();
    const first = await adapter();
    if (!first?.features.has("timestamp-query")) {
      missing = first ? "the adapter has no timestamps" : "no WebGPU adapter";
      return;
    }
    const guard = withTimestamps();
    // As libraries ask: with nothing, or with features and limits of their own.
    timed = await workOn(await first.requestDevice());
    const limits = { maxBufferSize: first.limits.maxBufferSize };
    const asked = await (await adapter())!.requestDevice({ label: "mine", requiredLimits: limits });
    guard.remove();
    expect([asked.label, asked.limits.maxBufferSize]).toEqual(["mine", limits.maxBufferSize]);
    expect(asked.features.has("timestamp-query")).toBe(true);
    asked.destroy();
    plain = await workOn(await (await adapter())!.requestDevice());
  });

  it("has what its passes took, not longer than the call, and leaves Dawn's methods as they were", async (context) => {
    if (missing) context.skip(missing);
    const clock = new GpuClock();
    await timed.call(1);
    for (const passes of [1, 2]) {
      const begin = performance.now();
      const time = await clock.time(() => timed.call(passes));
      const wall = performance.now() - begin;
      expect(time!.busy).toBeGreaterThan(0);
      expect(time!.span!).toBeGreaterThanOrEqual(time!.busy);
      expect(time!.span!).toBeLessThanOrEqual(wall);
    }
    const quiet = await clock.time(async () => undefined);
    expect(quiet).toBeUndefined();
    timed.device.pushErrorScope("validation");
    await timed.call(2);
    expect(await timed.device.popErrorScope()).toBeNull();
  });

  it("times more passes than a set of queries has room for", async (context) => {
    if (missing) context.skip(missing);
    timed.device.pushErrorScope("validation");
    const time = await new GpuClock().time(() => timed.call(2050));
    expect(await timed.device.popErrorScope()).toBeNull();
    expect(time!.busy).toBeGreaterThan(0);
    expect(time!.span!).toBeGreaterThanOrEqual(time!.busy);
  });

  it("says nothing where a pass has timestamps of its owner's, or the device has none", async (context) => {
    if (missing) context.skip(missing);
    const querySet = timed.device.createQuerySet({ type: "timestamp", count: 2 });
    const writes = { querySet, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 };
    timed.device.pushErrorScope("validation");
    expect(await new GpuClock().time(() => timed.call(2, writes))).toBeUndefined();
    expect(await timed.device.popErrorScope()).toBeNull();
    expect(await new GpuClock().time(() => plain.call(1))).toBeUndefined();
  });

  it("hands on what a call rejects with", async (context) => {
    if (missing) context.skip(missing);
    const failing = async (): Promise<void> => {
      throw new Error("the call");
    };
    await expect(new GpuClock().time(failing)).rejects.toThrow("the call");
  });
});
