// `mdl doctor`: what this machine has for mdl, which target a module would take here, whether a small model runs and is
// right, and what is missing with the one command that gets it.
import { createRequire } from "node:module";
import { arch, cpus, platform, release } from "node:os";
import { misfit } from "../../../runtime/core/adapter.ts";
import { load } from "../../../runtime/core/index.ts";
import type { Tensor } from "../../../runtime/core/tensor.ts";
import {
  isSoftwareAdapter,
  requestGpu,
  runAgainQuietly,
  UnsupportedError,
} from "../../../runtime/node/index.ts";
import { compile, targets } from "../../core/index.ts";
import { driverAdvice } from "../driver.ts";
import { EXIT } from "../failure.ts";
import { bytesText, type Style, styleFor, table } from "../style.ts";
import { version } from "../version.ts";

export async function doctorCommand(): Promise<number> {
  const code = await runAgainQuietly();
  if (code !== undefined) return code;
  const style = styleFor(process.stdout);
  const say = (text: string): void => void process.stdout.write(`${text}\n`);
  const [cpu] = cpus();
  say(style.bold("machine"));
  say(
    table([
      [style.dim("mdl"), version()],
      [
        style.dim("Node"),
        `${process.versions.node}${Number(process.versions.node.split(".")[0]) < 20 ? style.red("  (mdl needs 20 or newer)") : ""}`,
      ],
      [style.dim("system"), `${platform()} ${release()} ${arch()}`],
      [style.dim("processor"), `${cpu?.model.trim() ?? "unknown"}, ${cpus().length} threads`],
      [style.dim("WebGPU"), webgpuText()],
    ]),
  );

  let adapters: GPUAdapter[];
  try {
    adapters = await findAdapters(await requestGpu());
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    say(`\n${style.red("no WebGPU")}: ${error.message}`);
    return EXIT.machine;
  }
  if (adapters.length === 0) {
    say(`\n${style.red("no adapter")}: WebGPU is here, but no driver that it can use`);
    if (platform() === "linux") {
      const advice = driverAdvice();
      if (advice) {
        say("  Mesa's software driver computes on the processor; to get it:\n");
        if (advice.first) say(`    ${advice.first}, then`);
        say(`    ${style.bold(advice.command)}`);
      } else say("  install your GPU's Vulkan driver, or Mesa's software driver (lavapipe)");
    } else say("  install your GPU's driver");
    say("\nuntil then: mdl run MODEL.mdl ENTRY --device cpu");
    return EXIT.machine;
  }
  adapters.forEach((adapter, i) => {
    say(`\n${style.bold(i === 0 ? "adapter, the one that is used" : "another adapter")}`);
    say(adapterText(adapter, style));
  });
  say(`\n${style.bold("targets")}`);
  say(targetText(adapters[0], style));
  say("");
  return (await tryModel(say, style)) ? EXIT.done : EXIT.machine;
}

function webgpuText(): string {
  if ((globalThis as { navigator?: { gpu?: unknown } }).navigator?.gpu) return "Node's own (navigator.gpu)";
  try {
    const { version: v } = createRequire(import.meta.url)("webgpu/package.json") as { version: string };
    return `Dawn, from the package webgpu ${v}`;
  } catch {
    return "the package webgpu is not here: npm install webgpu";
  }
}

/** The one that is used first. */
async function findAdapters(gpu: GPU): Promise<GPUAdapter[]> {
  const found: GPUAdapter[] = [];
  for (const options of [
    { powerPreference: "high-performance" },
    { powerPreference: "low-power" },
    { forceFallbackAdapter: true },
  ] as const) {
    const adapter = await gpu.requestAdapter(options).catch(() => null);
    const name = (a: GPUAdapter): string => `${a.info.vendor} ${a.info.device} ${a.info.description}`;
    if (adapter && !found.some((a) => name(a) === name(adapter))) found.push(adapter);
  }
  return found;
}

/** Features that kernels of some target use, now or in targets to come. */
const FEATURES = ["subgroups", "shader-f16", "timestamp-query"];

function adapterText({ info, features, limits }: GPUAdapter, style: Style): string {
  const { subgroupMinSize: low, subgroupMaxSize: high } = info;
  const has = FEATURES.map((f) => (features.has(f) ? style.green(f) : style.dim(`no ${f}`))).join(", ");
  const sizes =
    low === undefined || high === undefined ? "unknown" : low === high ? `${low}` : `${low} to ${high}`;
  return table([
    [style.dim("name"), info.description || info.device || "unnamed"],
    [
      style.dim("kind"),
      `${isSoftwareAdapter(info) ? "software, computes on the processor" : "GPU"} (${[info.vendor, info.architecture].filter(Boolean).join(", ")})`,
    ],
    [style.dim("features"), has],
    [style.dim("subgroups"), sizes],
    [
      style.dim("buffers"),
      `${bytesText(limits.maxBufferSize)} at most, ${bytesText(limits.maxStorageBufferBindingSize)} in a binding, ${limits.maxStorageBuffersPerShaderStage} bindings`,
    ],
    [
      style.dim("workgroups"),
      `${limits.maxComputeInvocationsPerWorkgroup} threads, ${bytesText(limits.maxComputeWorkgroupStorageSize)} of shared memory`,
    ],
  ]);
}

function targetText(adapter: GPUAdapter, style: Style): string {
  let taken = false;
  const rows = targets.map((target) => {
    const reason = misfit(target, adapter);
    const first = !reason && !taken;
    taken ||= first;
    return [
      first ? style.green(target.name) : target.name,
      first ? "is taken here" : (reason ?? "would fit, too"),
    ];
  });
  return table(rows);
}

const MODEL = `
model Check {
  param weight: f32[16, 16] = ones()
  fn forward(x: f32[N, 16]) -> f32[N, 16] { relu(x @ weight - 100.0) }
}`;

/** A matmul through the whole of mdl, against what it should be. */
async function tryModel(say: (text: string) => void, style: Style): Promise<boolean> {
  const n = 24;
  const x = Float32Array.from({ length: n * 16 }, (_, i) => i % 17);
  const rowSum = (row: number): number => x.subarray(row * 16, row * 16 + 16).reduce((a, b) => a + b, 0);
  const since = performance.now();
  const net = await load(compile(MODEL, "check.mdl").artefact);
  try {
    const call = net.entries["forward"] as (inputs: object) => Promise<{ forward: Tensor<"f32"> }>;
    const { forward } = await call({ x });
    const wrong = forward.data.findIndex((y, i) => y !== Math.max(0, rowSum(Math.floor(i / 16)) - 100));
    const time = `${Math.round(performance.now() - since)} ms`;
    if (wrong < 0)
      say(
        `${style.green("all well")}: a small model was compiled, ran and is right (${time}, target ${net.target})`,
      );
    else
      say(
        `${style.red("wrong numbers")}: a small model gave ${forward.data[wrong]} at ${wrong}; this driver computes wrongly, please report it`,
      );
    return wrong < 0;
  } finally {
    net.dispose();
  }
}
