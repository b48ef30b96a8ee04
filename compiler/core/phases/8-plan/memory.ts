// The arena: which values share memory. In: values with the span of steps they live over and their size. Out: the slots,
// which lie one after the other, and the slot of each value. Slots are chosen by liveness at nominal sizes and are as large
// as their largest tenant whatever the sizes are, so that the assignment holds at every call.
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
  // Two ways, of which neither is always the better one.
  const slots = [byTime, bySize]
    .map((way) => way(tenants, padded, sizes))
    .reduce((x, y) => (peakOf(y) < peakOf(x) ? y : x));
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
  return { slots: slots.map((s) => s.bytes), slotOf, bound, peak: peakOf(slots) };
}

interface Slot {
  bytes: Dim;
  size: number;
  readonly tenants: number[];
}
const peakOf = (slots: readonly Slot[]): number => slots.reduce((sum, s) => sum + s.size, 0);

/** From the first step on: the free slot that fits best (the smallest that is large enough, else the largest: it grows). */
function byTime(tenants: readonly Tenant[], padded: readonly Dim[], sizes: readonly number[]): Slot[] {
  const slots: (Slot & { busyTo: number })[] = [];
  const order = tenants
    .map((_, i) => i)
    .sort((a, b) => tenants[a].from - tenants[b].from || sizes[b] - sizes[a]);
  for (const i of order) {
    const t = tenants[i];
    let best: (typeof slots)[number] | undefined;
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
    } else grow(best, padded[i], sizes[i]);
    best.busyTo = t.to;
    best.tenants.push(i);
  }
  return slots;
}
/** From the largest tenant on: the first slot that is free all the while. */
function bySize(tenants: readonly Tenant[], padded: readonly Dim[], sizes: readonly number[]): Slot[] {
  const slots: (Slot & { readonly busy: Tenant[] })[] = [];
  const order = tenants
    .map((_, i) => i)
    .sort((a, b) => sizes[b] - sizes[a] || tenants[a].from - tenants[b].from);
  for (const i of order) {
    const t = tenants[i];
    let slot: (typeof slots)[number] | undefined;
    let at = 0;
    for (const s of slots) {
      at = firstAfter(s.busy, t.from);
      if ((at > 0 && s.busy[at - 1].to >= t.from) || (at < s.busy.length && s.busy[at].from <= t.to))
        continue;
      slot = s;
      break;
    }
    if (!slot) {
      slot = { bytes: padded[i], size: sizes[i], tenants: [], busy: [] };
      slots.push(slot);
      at = 0;
    } else grow(slot, padded[i], sizes[i]);
    slot.busy.splice(at, 0, t);
    slot.tenants.push(i);
  }
  return slots;
}
function grow(slot: Slot, bytes: Dim, size: number): void {
  if (slot.bytes.key === bytes.key) return;
  slot.bytes = max(slot.bytes, bytes);
  slot.size = Math.max(slot.size, size);
}
/** The place of the first that begins at a step or later, among tenants that do not overlap, in order. */
function firstAfter(busy: readonly Tenant[], step: number): number {
  let [low, high] = [0, busy.length];
  while (low < high) {
    const mid = (low + high) >> 1;
    if (busy[mid].from < step) low = mid + 1;
    else high = mid;
  }
  return low;
}
