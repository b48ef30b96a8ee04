// The yardstick: kernels written by hand for software adapters with subgroups of eight, one for each workload that is a
// single kernel, on the same device and with the same transfers as everybody else (inputs up, results down, at each call).
import { pollPolitely, requestGpu } from "../../runtime/core/dawn.ts";
import { COPY_DST, COPY_SRC, MAP_READ, STORAGE, UNIFORM } from "../../runtime/core/flags.ts";
import { convKernel } from "../hand/conv.ts";
import type { HandKernel } from "../hand/kernel.ts";
import { matmulKernel } from "../hand/matmul.ts";
import type { WorkloadData } from "../workload.ts";
import { CannotRun, type System } from "./system.ts";

const matmulSize = { m: 1024, k: 1024, n: 1024 };
const convSize = { cin: 64, cout: 64, height: 56, width: 56 };

const kernels: Readonly<Record<string, (data: WorkloadData) => HandKernel>> = {
  a_matmul1024: ({ inputs }) => matmulKernel(inputs["a"].data, inputs["b"].data, matmulSize),
  b_conv64_56: ({ inputs, weights }) =>
    convKernel(inputs["x"].data, weights.get("weight")!.data, weights.get("bias")!.data, convSize),
};

export const hand: System = {
  name: "hand",
  what: "kernels written by hand for subgroups of eight, a yardstick",
  device: "webgpu",
  tolerance: 1e-3,
  lacks: ({ name }) => (Object.hasOwn(kernels, name) ? undefined : "no kernel was written for it"),

  prepare:
    async ({ name }, data) =>
    async () => {
      const gpu = await requestGpu();
      const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
      if (!adapter) throw new CannotRun("there is no adapter");
      const { info } = adapter;
      if (!adapter.features.has("subgroups") || info.subgroupMinSize !== 8 || info.subgroupMaxSize !== 8)
        throw new CannotRun("the kernels are written for subgroups of 8");
      const kernel = kernels[name](data);
      const device = await adapter.requestDevice({ requiredFeatures: ["subgroups"] });
      const { queue } = device;
      const buffer = (bytes: number, usage: number): GPUBuffer => device.createBuffer({ size: bytes, usage });
      const filled = (values: Float32Array | Uint32Array, usage: number): GPUBuffer => {
        const made = buffer(values.byteLength, usage | COPY_DST);
        queue.writeBuffer(made, 0, values as Float32Array<ArrayBuffer>);
        return made;
      };
      const size = filled(Uint32Array.from([...kernel.size, 0, 0, 0]), UNIFORM);
      const inputs = kernel.inputs.map((values) => filled(values, STORAGE));
      const constants = kernel.constants.map((values) => filled(values, STORAGE));
      const output = buffer(kernel.outputBytes, STORAGE | COPY_SRC);
      const staging = buffer(kernel.outputBytes, MAP_READ | COPY_DST);
      const pipeline = await device.createComputePipelineAsync({
        layout: "auto",
        compute: { module: device.createShaderModule({ code: kernel.text }) },
      });
      const group = device.createBindGroup({
        layout: pipeline.getBindGroupLayout(0),
        entries: [size, ...inputs, ...constants, output].map((made, binding) => ({
          binding,
          resource: { buffer: made },
        })),
      });

      let last = new Float32Array();
      return {
        variant: "subgroups of 8",
        adapter: info,
        async call() {
          kernel.inputs.forEach((values, i) => {
            queue.writeBuffer(inputs[i], 0, values as Float32Array<ArrayBuffer>);
          });
          const encoder = device.createCommandEncoder();
          const pass = encoder.beginComputePass();
          pass.setPipeline(pipeline);
          pass.setBindGroup(0, group);
          pass.dispatchWorkgroups(...kernel.grid);
          pass.end();
          encoder.copyBufferToBuffer(output, 0, staging, 0, kernel.outputBytes);
          queue.submit([encoder.finish()]);
          await pollPolitely(staging.mapAsync(MAP_READ), info);
          last = new Float32Array(staging.getMappedRange().slice(0));
          staging.unmap();
        },
        results: async () => kernel.result(last),
        close: () => device.destroy(),
      };
    },
};
