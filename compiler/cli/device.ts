// `--device` of commands that go over data: which kind of adapter computes. In: a name. Out: where adapters of that kind come from.
// (`mdl run --device cpu` is the reference evaluator, which would take days for an epoch.)
import type { Gpu } from "../../runtime/core/api.ts";
import { isSoftwareAdapter, requestGpu, UnsupportedError } from "../../runtime/node/index.ts";
import { harmless } from "./style.ts";

export type Device = "auto" | "gpu" | "cpu";

/** How WebGPU may be asked for an adapter of this kind; it may give another one all the same. */
const WAYS: Readonly<Record<Exclude<Device, "auto">, readonly GPURequestAdapterOptions[]>> = {
  gpu: [{ powerPreference: "high-performance" }, { powerPreference: "low-power" }],
  cpu: [{ forceFallbackAdapter: true }, {}],
};

/** What gives adapters of a kind alone: what WebGPU gives first, a real GPU, or a software adapter. Rejects with an UnsupportedError. */
export async function gpuOf(device: Device): Promise<Gpu> {
  const gpu = await requestGpu();
  if (device === "auto") return gpu as unknown as Gpu;
  return {
    async requestAdapter(options) {
      let other = "";
      for (const way of WAYS[device]) {
        const adapter = await gpu.requestAdapter({ ...options, ...way });
        if (adapter && isSoftwareAdapter(adapter.info) === (device === "cpu")) return adapter;
        if (adapter) other = adapter.info.description || adapter.info.vendor;
      }
      throw new UnsupportedError("no-adapter", none(device, harmless(other)));
    },
  };
}

function none(device: Exclude<Device, "auto">, other: string): string {
  return device === "gpu"
    ? `--device gpu: there is no GPU that WebGPU can use${other ? `, but ${other}, which computes on the CPU: --device cpu takes it` : ""}`
    : `--device cpu: there is no software adapter: on Linux install Mesa's lavapipe (package mesa-vulkan-drivers)${other ? `, or leave --device out for ${other}` : ""}`;
}
