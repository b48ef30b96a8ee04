// Picks the program that fits and asks for its device. In: the artefact's programs and what the caller or the host offers.
// Out: a device with what that program requires, or an UnsupportedError that says for each target why it does not fit.
import type * as api from "./api.ts";
import { isSoftwareAdapter, requestGpu } from "./dawn.ts";
import { few, InputError, MdlRuntimeError, UnsupportedError } from "./errors.ts";
import type { Artefact, Program } from "./program.ts";
import { neededFeatures, runnable, selectEntries } from "./select.ts";

export interface OpenDevice {
  readonly device: GPUDevice;
  readonly program: Program;
  readonly info: GPUAdapterInfo;
  readonly software: boolean;
  /** Whether it was made here, and so is ours to destroy and to make again. */
  readonly own: boolean;
}

/** The part of an adapter, or of a device, that programs are chosen by. */
interface Offer {
  readonly features: { has(name: string): boolean };
  readonly limits: GPUSupportedLimits;
  readonly info: GPUAdapterInfo;
}

const limitOf = (limits: GPUSupportedLimits, name: string): number | undefined =>
  (limits as unknown as Record<string, number | undefined>)[name];

/**
 * Why a program does not fit; undefined where it does. A target that was asked for by name may run on the other kind of
 * adapter: the kind says where it is fast, the rest where it is right.
 */
export function misfit(
  { requires }: Pick<Program, "requires">,
  offer: Offer,
  named = false,
): string | undefined {
  const missing = requires.features.filter((name) => !offer.features.has(name));
  if (missing.length) return `needs ${few(missing)}`;
  for (const [name, needed] of Object.entries(requires.limits)) {
    const has = limitOf(offer.limits, name) ?? 0;
    // Alignments are better when smaller.
    if (name.startsWith("min") ? has > needed : has < needed)
      return `needs ${name} ${needed}${requires.why?.[name] ?? ""}, this has ${has}`;
  }
  const { subgroupMinSize: min, subgroupMaxSize: max } = offer.info;
  if (
    requires.subgroupSize !== undefined &&
    (min !== requires.subgroupSize || max !== requires.subgroupSize)
  ) {
    return `needs subgroups of ${requires.subgroupSize}, this has ${min === max ? min : `${min} to ${max}`}`;
  }
  const kind = isSoftwareAdapter(offer.info) ? "cpu" : "gpu";
  if (!named && requires.adapter && requires.adapter !== kind) {
    return requires.adapter === "cpu"
      ? "is for software adapters"
      : "is for real GPUs, this is a software adapter";
  }
  const names = [offer.info.vendor, classOf(offer.info)];
  if (!named && requires.adapters && !requires.adapters.some((a) => names.includes(a)))
    return `was tuned for ${few(requires.adapters)}`;
  return undefined;
}
/** What adapters have in common for which one tuning is good: vendor and architecture. */
export const classOf = ({ vendor, architecture }: GPUAdapterInfo): string =>
  [vendor, architecture].filter(Boolean).join(" ");

function choose(artefact: Artefact, { target, entries }: api.LoadOptions, offer: Offer): Program {
  const targets = artefact.programs.map((p) => p.target);
  if (target !== undefined && !targets.includes(target)) {
    throw new InputError(
      "unknown-target",
      `${artefact.name} has no target ${target}: it was compiled for ${few(targets)}`,
    );
  }
  const reasons: string[] = [];
  for (const program of artefact.programs) {
    if (target !== undefined && program.target !== target) continue;
    let reason = misfit(program, offer, target !== undefined);
    if (!reason) {
      const wanted = selectEntries(program, entries);
      const here = runnable(wanted, (feature) => offer.features.has(feature));
      if (here.entries.length > 0 || wanted.entries.length === 0) return here;
      reason = `needs ${few(neededFeatures(wanted))}`;
    }
    reasons.push(`${program.target} ${reason}`);
  }
  throw new UnsupportedError(
    "unsupported",
    `no target of ${artefact.name} fits this adapter (${classOf(offer.info) || "unnamed"}): ${few(reasons)}`,
  );
}

const NO_INFO = {
  vendor: "",
  architecture: "",
  device: "",
  description: "",
  isFallbackAdapter: false,
} as GPUAdapterInfo;

/** What a host's objects throw is told as a typed error. */
export async function openDevice(artefact: Artefact, options: api.LoadOptions): Promise<OpenDevice> {
  try {
    return await open(artefact, options);
  } catch (cause) {
    if (cause instanceof MdlRuntimeError) throw cause;
    throw new UnsupportedError(
      "no-device",
      `no device can be had: ${(cause as Error)?.message ?? cause}`,
      cause,
    );
  }
}

async function requestAdapter({ gpu, powerPreference }: api.LoadOptions): Promise<GPUAdapter> {
  const from = gpu ? (gpu as unknown as GPU) : await requestGpu();
  const adapter = await from.requestAdapter({ powerPreference: powerPreference ?? "high-performance" });
  if (adapter) return adapter;
  throw new UnsupportedError(
    "no-adapter",
    "no adapter: install a graphics driver (on Linux without a GPU: mesa-vulkan-drivers), or pass options.device",
  );
}

async function open(artefact: Artefact, options: api.LoadOptions): Promise<OpenDevice> {
  const given = options.device as unknown as GPUDevice | undefined;
  const adapter = given ? undefined : await requestAdapter(options);
  const { features, limits } = given ?? (adapter as GPUAdapter);
  const info = given?.adapterInfo ?? adapter?.info ?? NO_INFO;
  const program = choose(artefact, options, { features, limits, info });
  const opened = { program, info, software: isSoftwareAdapter(info), own: !given };
  if (!adapter) return { device: given as GPUDevice, ...opened };
  // Exactly what the program requires, and beside it: as much memory as there is (how much a call needs is only known
  // then, and a device cannot be given more later), and timestamps for profile().
  const requiredLimits: Record<string, number> = { ...program.requires.limits };
  for (const name of ["maxBufferSize", "maxStorageBufferBindingSize"] as const) {
    requiredLimits[name] = limits[name];
  }
  const requiredFeatures = [...program.requires.features, ...neededFeatures(program)];
  if (features.has("timestamp-query") && !requiredFeatures.includes("timestamp-query")) {
    requiredFeatures.push("timestamp-query");
  }
  const device = await adapter.requestDevice({
    label: artefact.name,
    requiredFeatures: requiredFeatures as GPUFeatureName[],
    requiredLimits,
  });
  return { device, ...opened };
}
