// A process of its own: Dawn on a chip that is not there, pipelines one by one. In: a job file (modules with their constants) and
// the environment that null-driver.c reads. Out: a result file with what the driver said of each, and Tint's SPIR-V. Plain
// JavaScript, since it is run as it is: the device below has no end that could be waited for, so the process just ends.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { create, globals } from "webgpu";

const [job, result] = process.argv.slice(2);
Object.assign(globalThis, globals);
const gpu = create(["backend=vulkan"]);
globalThis.gpu = gpu; // The adapter does not keep it.
const adapter = await gpu.requestAdapter();
if (!adapter) throw new Error("Dawn found no adapter");
const limits = [
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxStorageBuffersPerShaderStage",
  "maxStorageBufferBindingSize",
  "maxBufferSize",
];
const device = await adapter.requestDevice({
  requiredFeatures: [...adapter.features].filter((f) => f === "shader-f16" || f === "subgroups"),
  requiredLimits: Object.fromEntries(limits.map((name) => [name, adapter.limits[name]])),
});
const { ESTIMATE_OUT: statistics, ESTIMATE_SPIRV: folder } = process.env;
const said = () => (existsSync(statistics) ? readFileSync(statistics, "utf8") : "");

const out = [];
for (const { code, entry, constants } of JSON.parse(readFileSync(job, "utf8"))) {
  const files = new Set(readdirSync(folder));
  const before = said().length;
  device.pushErrorScope("validation");
  let error;
  try {
    const module = device.createShaderModule({ code });
    await device.createComputePipelineAsync({
      layout: "auto",
      compute: { module, entryPoint: entry, constants },
    });
  } catch (e) {
    error = String(e.message).slice(0, 300);
  }
  const scope = await device.popErrorScope();
  const line = said().slice(before).trim().split("\n").at(-1);
  const spirv = readdirSync(folder).find((f) => !files.has(f));
  out.push({
    error: scope?.message ?? error,
    executable: line ? JSON.parse(line).executables[0] : undefined,
    spirv: spirv && readFileSync(join(folder, spirv)).toString("base64"),
  });
}
writeFileSync(result, JSON.stringify(out));
process.exit(0);
