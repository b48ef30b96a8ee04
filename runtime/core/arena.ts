// Where the values of a call lie in the arena. In: a plan's values, with the steps they live over and their bytes. Out: where
// each begins: apart from all that live meanwhile, in little more than lives at once. It is worked out when sizes are known;
// the compiler reports the same for a few sizes.
import type { EntryPlan, Range, Step } from "./program.ts";

/** Bytes at which a value may begin. */
const ALIGNMENT = 256;

export interface Span {
  /** First and last step that needs it (inclusive). */
  readonly from: number;
  readonly to: number;
}

/** The span of each slot: a loop is one step. Inputs are there before the first step, results until after the last. */
export function spansOf({
  body: { steps },
  slots,
  inputs = [],
  implicit = [],
  outputs = [],
}: Pick<EntryPlan, "body" | "slots"> & Partial<EntryPlan>): Span[] {
  const spans = slots.map(() => ({ from: steps.length, to: -1 }));
  const touch = ({ slot }: Range, at: number): void => {
    if (slot === undefined) return;
    spans[slot].from = Math.min(spans[slot].from, at);
    spans[slot].to = Math.max(spans[slot].to, at);
  };
  const visit = (list: readonly Step[], at?: number): void => {
    list.forEach((s, i) => {
      const here = at ?? i;
      if (s.kind === "loop") visit(s.body.steps, here);
      else
        for (const range of s.kind === "dispatch" ? s.bind : s.kind === "copy" ? [s.from, s.to] : [s.range])
          touch(range, here);
    });
  };
  visit(steps);
  for (const { range } of [...inputs, ...implicit]) touch(range, -1);
  for (const { range } of outputs) touch(range, steps.length);
  // What no step names lives all the while.
  return spans.map((s) => (s.from > s.to ? { from: -1, to: steps.length } : s));
}

export interface Layout {
  readonly starts: readonly number[];
  readonly total: number;
}

/** From the largest on, and from the last to go on back: neither is always the better one. */
export function layOut(spans: readonly Span[], bytes: readonly number[]): Layout {
  const sizes = bytes.map((n) => Math.ceil(n / ALIGNMENT) * ALIGNMENT);
  const all = [...spans.keys()];
  const bySize = [...all].sort((a, b) => sizes[b] - sizes[a]);
  const byTime = [...all].sort((a, b) => spans[b].to - spans[a].to || sizes[b] - sizes[a]);
  const [x, y] = [bySize, byTime].map((order) => placed(order, spans, sizes));
  return y.total < x.total ? y : x;
}

/** Each in the smallest gap that is large enough all the while it lives. */
function placed(order: readonly number[], spans: readonly Span[], sizes: readonly number[]): Layout {
  const starts: number[] = [];
  /** By where they begin. */
  const there: number[] = [];
  let total = 0;
  for (const i of order) {
    const { from, to } = spans[i];
    let end = 0;
    let best = -1;
    let room = Number.POSITIVE_INFINITY;
    let place = 0;
    for (const k of there) {
      if (spans[k].from > to || spans[k].to < from) continue;
      const gap = starts[k] - end;
      if (gap >= sizes[i] && gap < room) [best, room] = [end, gap];
      end = Math.max(end, starts[k] + sizes[k]);
    }
    starts[i] = best < 0 ? end : best;
    while (place < there.length && starts[there[place]] <= starts[i]) place++;
    there.splice(place, 0, i);
    total = Math.max(total, starts[i] + sizes[i]);
  }
  return { starts, total };
}
