// What Dawn says of compiled kernels, without a driver: its null backend validates texts, layouts and pipelines. In: an
// artefact and a target. Out: messages. `baseline` gets what every WebGPU device has: default limits and no feature; what is behind
// a feature that Dawn does not offer unasked, those too.
import type { Artefact } from "../../runtime/core/program.ts";
import { nullDevice } from "./device.ts";

/** What the device says of each kernel of a target: its text, and a pipeline with the layout the runtime gives it. */
export async function errorsOf(artefact: Artefact, target: string): Promise<string[]> {
  const program = artefact.programs.find((p) => p.target === target);
  if (!program) throw new Error(`no program for ${target}`);
  const experimental = program.requires.features.some((f) => f.startsWith("chromium-experimental-"));
  const { device } = await nullDevice(
    target === "baseline" ? "default" : experimental ? "experimental" : "everything",
  );
  const out: string[] = [];
  for (const feature of target === "baseline" ? program.requires.features : [])
    out.push(`baseline requires ${feature}`);
  for (const kernel of program.kernels) {
    const code = artefact.texts[kernel.text];
    device.pushErrorScope("validation");
    const module = device.createShaderModule({ code });
    const layout = device.createBindGroupLayout({
      entries: [
        {
          binding: 0,
          visibility: 4,
          buffer: { type: "uniform", hasDynamicOffset: true, minBindingSize: 4 * kernel.uniformWords },
        },
        ...kernel.access.map((a, i) => ({
          binding: i + 1,
          visibility: 4,
          buffer: { type: a === "read" ? ("read-only-storage" as const) : ("storage" as const) },
        })),
      ],
    });
    device.createComputePipeline({
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: "main", constants: { ...kernel.constants } },
    });
    const error = await device.popErrorScope();
    if (error) out.push(`${kernel.name}: ${error.message}\n${code}`);
  }
  return out;
}
