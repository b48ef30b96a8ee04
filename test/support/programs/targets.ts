// The targets random programs run on. In: nothing. Out: targets by label. A software adapter takes seconds to compile a
// kernel whose tile was made for a real GPU; with a small tile, and few threads to a row, the same schedules make kernels
// that it compiles in a tenth of that. So the two targets that are not a software adapter's own run small most of the
// time (`gpu-small`, `baseline-small`), and as they are now and then; so everywhere, so that a seed is tried alike.
import { baseline, cpuSubgroup, gpu, gpuNvidia, type Target } from "../../../compiler/core/targets.ts";

const small = (target: Target): Target => ({
  ...target,
  mapThreads: 16,
  rowThreads: 16,
  tile: { rows: 8, cols: 8, depth: 4, high: 4, wide: 4, slices: 1 },
  scattered: undefined,
});
export const TARGETS: ReadonlyMap<string, Target> = new Map([
  ["cpu-subgroup", cpuSubgroup],
  ["gpu-nvidia", gpuNvidia],
  ["gpu", gpu],
  ["baseline", baseline],
  ["gpu-small", small(gpu)],
  ["baseline-small", small(baseline)],
]);

/**
 * The targets of program `k` on an adapter whose own target is `own`: that one always, each second time another, each
 * twenty-fourth time that one in full.
 */
export function targetsOf(k: number, own: string): string[] {
  const other = k % 4 === 1 ? "gpu" : k % 4 === 3 ? "baseline" : undefined;
  if (other === undefined) return [own];
  const full = k % 24 < 2 || k % 24 > 22;
  return [own, full && other !== own ? other : `${other}-small`];
}
