// A program as a user would write it (dawn.test.ts runs it in a process of its own): a device, a kernel, a readback.
// It ends by itself: nothing is destroyed and process.exit is not called. What it prints on standard error is its own.
import { pollPolitely, requestGpu } from "../../../runtime/core/dawn.ts";

const COPY_SRC = 0x4;
const COPY_DST = 0x8;
const MAP_READ = 0x1;
const STORAGE = 0x80;

console.error("before");
const gpu = await requestGpu();
const adapter = await gpu.requestAdapter();
if (!adapter) throw new Error("no adapter");
const device = await adapter.requestDevice();
const code = /* wgsl */ `
  @group(0) @binding(0) var<storage, read_write> x: array<f32>;
  @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) i: vec3u) { x[i.x] = f32(i.x) * 2.0; }`;
const pipeline = await device.createComputePipelineAsync({
  layout: "auto",
  compute: { module: device.createShaderModule({ code }), entryPoint: "main" },
});
const buffer = device.createBuffer({ size: 256, usage: STORAGE | COPY_SRC });
const back = device.createBuffer({ size: 256, usage: MAP_READ | COPY_DST });
const encoder = device.createCommandEncoder();
const pass = encoder.beginComputePass();
pass.setPipeline(pipeline);
const layout = pipeline.getBindGroupLayout(0);
pass.setBindGroup(0, device.createBindGroup({ layout, entries: [{ binding: 0, resource: { buffer } }] }));
pass.dispatchWorkgroups(1);
pass.end();
encoder.copyBufferToBuffer(buffer, 0, back, 0, 256);
device.queue.submit([encoder.finish()]);
await pollPolitely(back.mapAsync(MAP_READ), adapter.info);
console.log(new Float32Array(back.getMappedRange())[63]);
console.error("after");
