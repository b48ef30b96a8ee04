// WebGPU: kernels are compute shaders in WGSL.
import type { Backend } from "../backend.ts";
import { printKernel } from "./print.ts";
import { words } from "./words.ts";

export const wgsl: Backend = {
  name: "wgsl",
  words,
  rules: {
    // minStorageBufferOffsetAlignment and minUniformBufferOffsetAlignment are at most this.
    alignment: 256,
    limits: {
      maxStorageBuffersPerShaderStage: 8,
      maxStorageBufferBindingSize: 2 ** 27,
      maxUniformBufferBindingSize: 65536,
      // Members of a structure.
      maxUniformWords: 1023,
      maxComputeWorkgroupStorageSize: 16384,
      maxComputeInvocationsPerWorkgroup: 256,
    },
    bytesOf: (dtype) => (dtype === "f16" ? 2 : 4),
    // One buffer may not be bound for reading and for writing in one dispatch; two ranges for both may. What lies in the
    // arena is written by others: the same kernel is then one pipeline wherever it is.
    access(ranges) {
      const written = new Set(ranges.filter((r) => r.writes).map((r) => r.buffer));
      return ranges.map((r) => (r.buffer === "arena" || written.has(r.buffer) ? "read_write" : "read"));
    },
  },
  print: printKernel,
};
