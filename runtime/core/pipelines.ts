// From kernel texts to pipelines that are ready. In: a program's kernels. Out: one pipeline per distinct kernel, with
// explicit layouts (binding 0: the uniform block), compiled without blocking and run once each, so that nothing is compiled in a
// first call: software adapters compile at a pipeline's first dispatch, not at its creation.
import type * as api from "./api.ts";
import { GpuError } from "./errors.ts";
import { COPY_DST, STORAGE, UNIFORM } from "./flags.ts";
import type { Artefact, Kernel, Program } from "./program.ts";
import { neededKernels } from "./select.ts";
import { alignTo } from "./tensor.ts";

/** What of a session is there before its pipelines are. */
export interface PipelineHost {
  readonly device: GPUDevice;
  readonly software: boolean;
  wait<T>(promise: Promise<T>): Promise<T>;
  createBuffer(label: string, size: number, usage: number): GPUBuffer;
  destroyBuffer(buffer: GPUBuffer): void;
  /** Throws where the device is known to be lost. */
  check(): void;
}

export interface ReadyKernel {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
  readonly layoutKey: string;
  readonly access: Kernel["access"];
  /**
   * Loops run its text, so often that calls which bind alike share a bind group: the place of their block is told with each.
   * For others it stands in the group: a software adapter makes a group anew for each place that it is told.
   */
  readonly looped: boolean;
  readonly blockBytes: number;
  readonly spare: boolean | undefined;
}

export interface Pipelines {
  /** As the program numbers them; undefined for those that no entry needs. */
  readonly kernels: readonly (ReadyKernel | undefined)[];
  /** Each has run once, but for spare ones. */
  readonly warm: Promise<void>;
  /** A bind group; `at` gives a storage binding, or undefined for an empty tensor, which gets a stand-in. */
  group(
    kernel: ReadyKernel,
    uniforms: GPUBuffer,
    block: number,
    at: (i: number) => GPUBufferBinding | undefined,
  ): GPUBindGroup;
}

const STAND_IN = 256;

export async function compilePipelines(
  session: PipelineHost,
  artefact: Artefact,
  program: Program,
  tell?: (event: api.Progress) => void,
): Promise<Pipelines> {
  const { device } = session;
  // Errors of a shader come back with its pipeline; nobody else should be told.
  device.pushErrorScope("validation");
  const modules = new Map<number, GPUShaderModule>();
  const layouts = new Map<string, GPUBindGroupLayout>();
  const made = new Map<string, Promise<GPUComputePipeline>>();
  let done = 0;
  const report = (phase: "compile" | "warm-up", total: number): void =>
    tell?.({ phase, done: ++done, total });
  const needed = neededKernels(program);
  const loopedTexts = new Set(program.kernels.filter((_, i) => needed.get(i)).map((k) => k.text));

  const pending = program.kernels.map((kernel, i) => {
    if (!needed.has(i)) return undefined;
    const { text, name: label, access, constants, uniformWords, spare } = kernel;
    const module = modules.get(text) ?? device.createShaderModule({ label, code: artefact.texts[text] });
    modules.set(text, module);
    const looped = loopedTexts.has(text);
    const layoutKey = `${access}${looped}`;
    const layout = layouts.get(layoutKey) ?? layoutOf(device, access, looped);
    layouts.set(layoutKey, layout);
    const key = `${text}|${layoutKey}|${JSON.stringify(constants ?? {})}`;
    let pipeline = made.get(key);
    if (!pipeline) {
      pipeline = device.createComputePipelineAsync({
        label,
        layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
        compute: { module, constants: { ...constants } },
      });
      made.set(key, pipeline);
      pipeline.then(
        () => report("compile", made.size),
        () => undefined,
      );
    }
    const blockBytes = alignTo(Math.max(uniformWords, 1) * 4, 16);
    return { label, module, pipeline, rest: { layout, layoutKey, access, looped, blockBytes, spare } };
  });
  const scope = device.popErrorScope();
  // Settled, so that no second rejection goes unheard.
  await session.wait(Promise.allSettled(made.values()));
  await scope.catch(() => undefined);

  const kernels: (ReadyKernel | undefined)[] = [];
  for (const one of pending) {
    try {
      kernels.push(one && { pipeline: await one.pipeline, ...one.rest });
    } catch (cause) {
      if (one) throw await compileError(session, one.label, one.module, cause);
    }
  }

  // Stand-ins for empty tensors: apart by access, because one buffer may not be bound for both in one dispatch, and each
  // writable one at a place of its own, because writable bindings may not overlap.
  const most = Math.max(1, ...program.kernels.map((k) => k.access.length));
  const readable = session.createBuffer("stand-in", STAND_IN, STORAGE);
  const writable = session.createBuffer("stand-in", STAND_IN * most, STORAGE);
  const group: Pipelines["group"] = (kernel, uniforms, block, at) => {
    const entries: GPUBindGroupEntry[] = [
      { binding: 0, resource: { buffer: uniforms, offset: block, size: kernel.blockBytes } },
    ];
    kernel.access.forEach((access, i) => {
      const standIn =
        access === "read"
          ? { buffer: readable, offset: 0, size: STAND_IN }
          : { buffer: writable, offset: STAND_IN * i, size: STAND_IN };
      entries.push({ binding: i + 1, resource: at(i) ?? standIn });
    });
    return device.createBindGroup({ layout: kernel.layout, entries });
  };
  done = 0;
  const warm = warmUp(session, kernels, group, (total) => report("warm-up", total));
  warm.catch(() => undefined); // told to who waits for it
  return { kernels, warm, group };
}

function layoutOf(
  device: GPUDevice,
  access: Kernel["access"],
  hasDynamicOffset: boolean,
): GPUBindGroupLayout {
  const visibility = 4; // compute
  return device.createBindGroupLayout({
    entries: [
      { binding: 0, visibility, buffer: { type: "uniform", hasDynamicOffset } },
      ...access.map(
        (a, i): GPUBindGroupLayoutEntry => ({
          binding: i + 1,
          visibility,
          buffer: { type: a === "read" ? "read-only-storage" : "storage" },
        }),
      ),
    ],
  });
}

/** One dispatch in a pass that has the kernel's pipeline. */
export function dispatch(
  pass: GPUComputePassEncoder,
  { looped }: ReadyKernel,
  group: GPUBindGroup | undefined,
  { block, x, y }: { readonly block: number; readonly x: number; readonly y?: number },
): void {
  pass.setBindGroup(0, group, looped ? [block] : undefined);
  pass.dispatchWorkgroups(x, y);
}

async function compileError(
  session: PipelineHost,
  name: string,
  module: GPUShaderModule,
  cause: unknown,
): Promise<Error> {
  session.check();
  const info = await module.getCompilationInfo().catch(() => undefined);
  const error = info?.messages.find((m) => m.type === "error");
  const why = error ? `${error.message} (line ${error.lineNum} of its text)` : (cause as Error).message;
  return new GpuError("compile", `kernel ${name} does not compile on this device: ${why}`, cause);
}

/** Kernels that a software adapter compiles while the host does something else. */
const AHEAD = 4;

/**
 * Runs every pipeline that calls of usual sizes need, once and with no work: word 0 of the uniform block, where workgroups
 * end, is 0. A software adapter compiles a kernel when it runs, for up to seconds: few at a time, so that progress is told as
 * it is made and closing waits for few.
 */
async function warmUp(
  session: PipelineHost,
  ready: Pipelines["kernels"],
  group: Pipelines["group"],
  report: (total: number) => void,
): Promise<void> {
  const { device } = session;
  const kernels = ready.filter((k): k is ReadyKernel => !!k && !k.spare);
  const size = Math.max(16, ...kernels.map((k) => k.blockBytes));
  const zeros = session.createBuffer("zeros", size, UNIFORM | COPY_DST);
  const byPipeline = new Map(kernels.map((k) => [k.pipeline, k]));
  const running: Promise<void>[] = [];
  for (const kernel of byPipeline.values()) {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(kernel.pipeline);
    const nothing = group(kernel, zeros, 0, () => undefined);
    dispatch(pass, kernel, nothing, { block: 0, x: 1 });
    pass.end();
    device.queue.submit([encoder.finish()]);
    const ran = session.wait(device.queue.onSubmittedWorkDone()).then(() => report(byPipeline.size));
    ran.catch(() => undefined); // whoever waits for one that failed waits for no other
    running.push(ran);
    if (session.software && running.length >= AHEAD) await running.shift();
    session.check();
  }
  await Promise.all(running);
  session.destroyBuffer(zeros);
}
