// Ends in the middle of things, in the way its argument names (dawn.test.ts): Dawn must not abort the process.
import { requestGpu } from "../../../runtime/core/dawn.ts";

const gpu = await requestGpu();
const adapter = await gpu.requestAdapter();
let device = await adapter?.requestDevice();
if (!device) throw new Error("no adapter");
const code = /* wgsl */ `
  @group(0) @binding(0) var<storage, read_write> x: array<f32>;
  @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) i: vec3u) {
    var s = 0.0;
    for (var k = 0u; k < 2000u; k++) { s += f32(k) * x[i.x]; }
    x[i.x] = s;
  }`;
const compute = { module: device.createShaderModule({ code }), entryPoint: "main" };
const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute });
const buffer = device.createBuffer({ size: 65536, usage: 0x84 });
const back = device.createBuffer({ size: 65536, usage: 0x9 });
const encoder = device.createCommandEncoder();
const pass = encoder.beginComputePass();
pass.setPipeline(pipeline);
const layout = pipeline.getBindGroupLayout(0);
pass.setBindGroup(0, device.createBindGroup({ layout, entries: [{ binding: 0, resource: { buffer } }] }));
pass.dispatchWorkgroups(256);
pass.end();
encoder.copyBufferToBuffer(buffer, 0, back, 0, 65536);
device.queue.submit([encoder.finish()]);

switch (process.argv[2]) {
  case "work under way":
    break;
  case "process.exit with a map pending":
    back.mapAsync(1).catch(() => undefined);
    process.exit(7);
    break;
  case "exception with a map pending":
    back.mapAsync(1).catch(() => undefined);
    throw new Error("the user's");
  case "mapped":
    await back.mapAsync(1);
    back.getMappedRange();
    break;
  case "pipeline under way":
    void device.createComputePipelineAsync({ layout: "auto", compute, label: "another" });
    break;
  case "device destroyed":
    device.destroy();
    break;
  case "device collected":
    await back.mapAsync(1);
    device = undefined;
    for (let i = 0; i < 3; i++) {
      globalThis.gc?.();
      await new Promise((resolve) => setTimeout(resolve, 10));
      await (await gpu.requestAdapter())?.requestDevice();
    }
    break;
  default:
    throw new Error("which ending?");
}
