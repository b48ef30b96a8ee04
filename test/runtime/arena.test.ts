// Where values lie in the arena: apart while they live, and in little more room than they need.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { layOut, spansOf } from "../../runtime/core/arena.ts";
import type { Range } from "../../runtime/core/program.ts";

const alignTo = (n: number): number => Math.ceil(n / 256) * 256;

describe("the arena", () => {
  const value = fc.record({ bytes: fc.nat(5000), from: fc.integer({ min: -1, max: 12 }), length: fc.nat(8) });

  it("keeps apart what lives at the same time", () => {
    fc.assert(
      fc.property(fc.array(value, { maxLength: 20 }), (list) => {
        const spans = list.map(({ from, length }) => ({ from, to: from + length }));
        const { starts, total } = layOut(
          spans,
          list.map((v) => v.bytes),
        );
        const ranges = list.map((v, i) => ({ ...spans[i], low: starts[i], high: starts[i] + v.bytes }));
        for (const r of ranges) {
          expect(r.low % 256).toBe(0);
          expect(r.high).toBeLessThanOrEqual(total);
        }
        for (const [i, a] of ranges.entries())
          for (const b of ranges.slice(i + 1)) {
            const together = a.from <= b.to && b.from <= a.to;
            if (together && a.high > a.low && b.high > b.low)
              expect(a.high <= b.low || b.high <= a.low).toBe(true);
          }
        const live = (step: number): number =>
          list.reduce(
            (n, v, i) => (spans[i].from <= step && step <= spans[i].to ? n + alignTo(v.bytes) : n),
            0,
          );
        const bound = Math.max(0, ...spans.map((s) => live(s.from)));
        expect(total).toBeGreaterThanOrEqual(bound);
        expect(total).toBeLessThanOrEqual(2 * bound);
      }),
      { numRuns: 1000, seed: 5 },
    );
  });

  it("gives what is dead to who comes after, also where that is two", () => {
    const spans = [
      { from: -1, to: 0 },
      { from: 1, to: 3 },
      { from: 2, to: 4 },
    ];
    expect(layOut(spans, [2048, 1024, 1000])).toEqual({ starts: [0, 0, 1024], total: 2048 });
  });

  it("reads spans from the steps: loops are one, inputs are there before, results after", () => {
    const at = (slot: number): Range => ({ buffer: "arena", slot, offset: 0, bytes: 0 });
    const copy = (from: number, to: number) => ({
      kind: "copy" as const,
      from: at(from),
      to: at(to),
      label: "",
    });
    const port = (slot: number) => ({
      name: "",
      dtype: "f32" as const,
      shape: [],
      shapeText: [],
      range: at(slot),
    });
    const body = {
      exprs: [],
      steps: [
        copy(0, 1),
        {
          kind: "loop" as const,
          symbol: "t",
          count: 0,
          label: "",
          body: { exprs: [], steps: [copy(1, 2), copy(2, 3)] },
        },
        copy(3, 4),
      ],
    };
    const slots = [0, 0, 0, 0, 0, 0];
    expect(spansOf({ body, slots, inputs: [port(0)], outputs: [port(4)] })).toEqual([
      { from: -1, to: 0 },
      { from: 0, to: 1 },
      { from: 1, to: 1 },
      { from: 1, to: 2 },
      { from: 2, to: 3 },
      // Named by nobody.
      { from: -1, to: 3 },
    ]);
  });
});
