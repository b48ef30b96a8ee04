// Devices for tests. `testDevice(context)` is the real adapter's, one per test file, or skips the test with the reason;
// `nullDevice()` validates WGSL, layouts and pipelines as a real one does, computes nothing, and needs no driver.
// Both live in one process: they are two Dawn instances.
import type { TestContext } from "vitest";
import { create } from "webgpu";
import type { Program } from "../../runtime/core/program.ts";
import { neededFeatures } from "../../runtime/core/select.ts";
import { requestExactGpu } from "../../runtime/node/exact.ts";
import { disguised } from "./disguise.ts";

export interface TestDevice {
  readonly device: GPUDevice;
  readonly info: GPUAdapterInfo;
  readonly features: GPUSupportedFeatures;
  readonly limits: GPUSupportedLimits;
}

let real: Promise<TestDevice | string> | undefined;

/** The adapter's device with all its features and limits; the calling test is skipped where there is none. */
export async function testDevice(context: TestContext): Promise<TestDevice> {
  real ??= openDevice();
  const found = await real;
  if (typeof found === "string") return context.skip(found);
  return found;
}

/** The same for a program; the calling test is skipped where the adapter lacks a feature that it needs. */
export async function deviceFor(context: TestContext, program: Program): Promise<TestDevice> {
  const found = await testDevice(context);
  const lacks = lacking(program, found.device);
  return lacks === undefined ? found : context.skip(lacks);
}

/** What the device lacks of what the program needs, as a reason for skipping. */
export function lacking(program: Program, { features }: Pick<GPUDevice, "features">): string | undefined {
  const missing = [...program.requires.features, ...neededFeatures(program)].filter((f) => !features.has(f));
  return missing.length > 0 ? `the adapter has no ${[...new Set(missing)].join(", ")}` : undefined;
}

/** Dawn's toggles of `MDL_TEST_DAWN`, for devices that have what it does not offer unasked: `allow_unsafe_apis`. */
const DAWN_FEATURES = (process.env["MDL_TEST_DAWN"] ?? "").split(",").filter(Boolean);

/** The adapter of tests, or null. */
export async function requestTestAdapter(): Promise<GPUAdapter | null> {
  // Dispatches of tests are shorter than the steps that timestamps are cut to otherwise.
  return disguised(await requestExactGpu(DAWN_FEATURES)).requestAdapter();
}

async function openDevice(): Promise<TestDevice | string> {
  const adapter = await requestTestAdapter();
  if (!adapter) return "no WebGPU adapter";
  return open(adapter);
}

/** A device of its own, with all the adapter has: for tests that lose or destroy it. */
export async function freshDevice(context: TestContext): Promise<TestDevice> {
  const found = await openDevice();
  if (typeof found === "string") return context.skip(found);
  return found;
}

let nullGpu: GPU | undefined;
let experimentalGpu: GPU | undefined;

/**
 * A device of Dawn's null backend. By default it has every feature and limit of that backend; `limits: "default"` gives
 * what every WebGPU device has and no feature, which is what the `baseline` target may use; `experimental`, what Dawn does not
 * offer unless it is told to, too.
 */
export async function nullDevice(
  kind: "everything" | "default" | "experimental" = "everything",
): Promise<TestDevice> {
  // Kept for ever: dropping a Dawn instance aborts the process.
  nullGpu ??= create(["backend=null"]);
  if (kind === "experimental")
    experimentalGpu ??= create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]);
  const adapter = await (kind === "experimental" ? experimentalGpu : nullGpu)?.requestAdapter();
  if (!adapter) throw new Error("Dawn's null backend gave no adapter");
  return open(adapter, kind === "default" ? kind : "everything");
}

async function open(adapter: GPUAdapter, kind: "everything" | "default" = "everything"): Promise<TestDevice> {
  const { info, features, limits } = adapter;
  const requiredLimits: Record<string, number> = {};
  for (const name in limits) {
    const value = (limits as unknown as Record<string, unknown>)[name];
    if (typeof value === "number") requiredLimits[name] = value;
  }
  const device = await adapter.requestDevice(
    kind === "default" ? {} : { requiredFeatures: [...features] as GPUFeatureName[], requiredLimits },
  );
  return { device, info, features: device.features, limits: device.limits };
}

/** What the device says is wrong with a shader and its pipeline; empty when they are right. */
export async function shaderErrors(device: GPUDevice, code: string, entryPoint = "main"): Promise<string[]> {
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ code });
  const { messages } = await module.getCompilationInfo();
  const errors = messages
    .filter((message) => message.type === "error")
    .map((message) => `${message.lineNum}:${message.linePos} ${message.message}`);
  if (errors.length === 0) {
    device.createComputePipeline({ layout: "auto", compute: { module, entryPoint } });
  }
  const scope = await device.popErrorScope();
  return errors.length === 0 && scope ? [scope.message] : errors;
}
