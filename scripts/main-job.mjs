// What `npm start` shows once everything is there. It uses the built package as a user's program would.
import { requestGpu, UnsupportedError } from "../dist/runtime/node/index.js";

try {
  const gpu = await requestGpu();
  const adapter = await gpu.requestAdapter();
  if (!adapter) console.log("no WebGPU adapter");
  else {
    const { info, limits, features } = adapter;
    console.log(`adapter    ${info.description || info.device} (${info.vendor}, ${info.architecture})`);
    console.log(`subgroups  ${info.subgroupMinSize}..${info.subgroupMaxSize}`);
    console.log(
      `buffers    ${limits.maxBufferSize / 2 ** 20} MiB, bindings ${limits.maxStorageBufferBindingSize / 2 ** 20} MiB`,
    );
    console.log(`f16        ${features.has("shader-f16") ? "yes" : "no"}`);
  }
} catch (error) {
  if (!(error instanceof UnsupportedError)) throw error;
  console.log(error.message);
}
