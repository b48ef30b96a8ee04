// The arena: which values share memory. In: values with the span of steps they live over and their size. Out: the slots,
// which lie one after the other, and the slot of each value. Slots are chosen by liveness at nominal sizes and are as large as their largest tenant
// whatever the sizes are, so that the assignment holds at every call.
import { type Dim, evaluateAll, max, NOMINAL, roundUp } from "../../dims/dim.ts";

export interface Tenant {
  readonly bytes: Dim;
  /** First and last step that needs it (inclusive). */
  readonly from: number;
  readonly to: number;
}
export interface Arena {
  /** Bytes of each slot. */
  readonly slots: readonly Dim[];
  /** By tenant. */
  readonly slotOf: readonly number[];
  /** The least any assignment could need at nominal sizes, and what this one needs. */
  readonly bound: number;
  readonly peak: number;
}

/** Offsets are multiples of `alignment`; slots are compared where all symbols are `nominal`. */
export function assignArena(tenants: readonly Tenant[], alignment: number, nominal = NOMINAL): Arena {
  const at = (d: Dim): number => evaluateAll(d, nominal);
  const padded = tenants.map((t) => roundUp(t.bytes, alignment));
  const sizes = padded.map(at);
  interface Slot {
    bytes: Dim;
    size: number;
    busyTo: number;
    readonly tenants: number[];
  }
  const slots: Slot[] = [];
  const order = tenants
    .map((_, i) => i)
    .sort((a, b) => tenants[a].from - tenants[b].from || sizes[b] - sizes[a]);
  for (const i of order) {
    const t = tenants[i];
    // The free slot that fits best: smallest that is large enough, else the largest one (it grows).
    let best: Slot | undefined;
    for (const s of slots) {
      if (s.busyTo >= t.from) continue;
      if (!best) best = s;
      else if (
        s.size >= sizes[i]
          ? best.size < sizes[i] || s.size < best.size
          : best.size < sizes[i] && s.size > best.size
      )
        best = s;
    }
    if (!best) {
      best = { bytes: padded[i], size: sizes[i], busyTo: -1, tenants: [] };
      slots.push(best);
    } else if (best.bytes.key !== padded[i].key) {
      best.bytes = max(best.bytes, padded[i]);
      best.size = Math.max(best.size, sizes[i]);
    }
    best.busyTo = t.to;
    best.tenants.push(i);
  }
  const slotOf: number[] = [];
  slots.forEach((s, slot) => {
    for (const i of s.tenants) slotOf[i] = slot;
  });
  const last = Math.max(0, ...tenants.map((t) => t.to));
  let bound = 0;
  for (let step = 0; step <= last; step++) {
    let live = 0;
    tenants.forEach((t, i) => {
      if (t.from <= step && step <= t.to) live += sizes[i];
    });
    bound = Math.max(bound, live);
  }
  const peak = slots.reduce((sum, s) => sum + s.size, 0);
  return { slots: slots.map((s) => s.bytes), slotOf, bound, peak };
}
