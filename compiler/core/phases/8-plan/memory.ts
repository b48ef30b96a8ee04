// What a call needs of the arena. In: an entry's plan and the bytes of its slots. Out: for given sizes, what the runtime
// makes of it (runtime/core/arena.ts), and the least that any assignment could.
import { layOut, spansOf } from "../../../../runtime/core/arena.ts";
import type { EntryPlan } from "../../../../runtime/core/program.ts";
import { type Dim, evaluateAll } from "../../dims/dim.ts";

export interface MemoryAt {
  /** Every size that is open. */
  readonly size: number;
  /** Bytes that live at once, at most, and bytes of the arena. */
  readonly bound: number;
  readonly peak: number;
}

export function memoryAt(plan: EntryPlan, slots: readonly Dim[], size: number, alignment: number): MemoryAt {
  const bytes = slots.map((d) => Math.ceil(evaluateAll(d, size) / alignment) * alignment);
  const spans = spansOf(plan);
  const changes = new Map<number, number>();
  const change = (step: number, by: number): unknown => changes.set(step, (changes.get(step) ?? 0) + by);
  spans.forEach(({ from, to }, i) => {
    change(from, bytes[i]);
    change(to + 1, -bytes[i]);
  });
  let live = 0;
  let bound = 0;
  for (const [, by] of [...changes].sort(([a], [b]) => a - b)) {
    live += by;
    bound = Math.max(bound, live);
  }
  return { size, bound, peak: layOut(spans, bytes).total };
}
