// Samples in, what a row says of them out.

export interface Summary {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly n: number;
}

export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError("nothing has no median");
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export function summarize(samples: readonly number[]): Summary {
  return {
    median: median(samples),
    min: samples.reduce((a, b) => Math.min(a, b)),
    max: samples.reduce((a, b) => Math.max(a, b)),
    n: samples.length,
  };
}

/** By straight lines between the values in order: 0 the least, 1 the greatest. */
export function quantile(values: readonly number[], part: number): number {
  if (values.length === 0) throw new RangeError("nothing has no quantiles");
  const sorted = [...values].sort((a, b) => a - b);
  const place = part * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
}

/**
 * How many times faster `ours` is than `theirs`, round by round: the ratios of medians. The two of a round were timed one
 * after the other, so that a machine whose speed drifts does not come into it.
 */
export function speedups(
  ours: readonly (readonly number[])[],
  theirs: readonly (readonly number[])[],
): number[] {
  if (ours.length !== theirs.length) throw new RangeError("rounds must come in pairs");
  return ours.map((round, i) => median(theirs[i]) / median(round));
}

/** Nanoseconds of a GPU's clock. */
export type Interval = readonly [begin: bigint, end: bigint];

/** Milliseconds of a call on the GPU. */
export interface GpuTime {
  /** In which something ran. */
  readonly busy: number;
  /** From the first begin to the last end; undefined where that is not to be seen. */
  readonly span?: number;
}

/** How long at least one of them was open, so that what overlaps counts once; and from the first begin to the last end. */
export function busyAndSpan(intervals: readonly Interval[]): GpuTime | undefined {
  if (intervals.length === 0) return undefined;
  const sorted = [...intervals].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  const [[first]] = sorted;
  let busy = 0n;
  let until = first;
  for (const [begin, end] of sorted) {
    if (end <= until) continue;
    busy += end - (begin > until ? begin : until);
    until = end;
  }
  return { busy: Number(busy) / 1e6, span: Number(until - first) / 1e6 };
}
