// The targets to try on the adapter at hand, known when tests are collected. In: the adapter. Out: its targets, and its own.
// Tests go through `targets`, or take `own` where one is enough, and name none: then they are right on every adapter.
import { allTargets, targets as kinds, type Target } from "../../compiler/core/targets.ts";
import { misfit } from "../../runtime/core/adapter.ts";
import { requestTestAdapter } from "./device.ts";

// Without an adapter nothing runs: the names are those of a software adapter.
const adapter = await requestTestAdapter().catch(() => null);

/**
 * What this adapter fits when asked for by name, and of what was made for a maker's devices, what was made for this one: all
 * three kinds on lavapipe, `gpu-nvidia`, `gpu` and `baseline` on NVIDIA's, `gpu` and `baseline` on others.
 */
export const targets: readonly Target[] = adapter
  ? allTargets.filter((t) => misfit(t, adapter, t.requires.adapters === undefined) === undefined)
  : kinds;

/** What `load` takes here of a module that has all. */
export const own: Target = targets.find((t) => !adapter || misfit(t, adapter) === undefined) ?? kinds[0];

/** Whether it has half precision: tests that are not about that do without where there is none. */
export const hasHalf: boolean = adapter?.features.has("shader-f16") ?? true;

/** Names of targets, each once: `own` may be one that a test names. */
export const once = (...names: readonly string[]): string[] => [...new Set(names)];
