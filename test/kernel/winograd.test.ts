// The matrices of Winograd's method (kernel/winograd.ts), and the operator that brings a filter into its form (ops/winograd.ts).
import { describe, expect, it } from "vitest";
import { type Matrix, TAPS, TILES, transformsOf } from "../../compiler/core/kernel/winograd.ts";
import { winogradFilter } from "../../compiler/core/ops/winograd.ts";
import { dense } from "../../compiler/core/reference/evaluate.ts";
import { signed } from "../support/hashing.ts";

const times = (m: Matrix, v: readonly number[]): number[] =>
  m.map((row) => row.reduce((sum, x, i) => sum + x * v[i], 0));

describe.each(TILES)("blocks of %i", (tile) => {
  const side = tile + TAPS - 1;
  const t = transformsOf(tile);

  it("are correlations", () => {
    for (let draw = 0; draw < 20; draw++) {
      const image = [...signed(`image${draw}`, [side])];
      const filter = [...signed(`filter${draw}`, [TAPS])];
      const [d, g] = [times(t.image, image), times(t.filter, filter)];
      const results = times(
        t.result,
        d.map((x, i) => x * g[i]),
      );
      results.forEach((y, i) => {
        const sum = filter.reduce((all, w, k) => all + w * image[i + k], 0);
        expect(y).toBeCloseTo(sum, 12);
      });
    }
  });
  it("have numbers that f32 holds, but for the filter's", () => {
    for (const x of [...t.image, ...t.result].flat()) expect(Math.fround(x)).toBe(x);
    for (const x of [...t.image, ...t.filter, ...t.result].flat()) expect(Object.is(x, -0)).toBe(false);
  });
  it("have filters by either axis", () => {
    const [out, from] = [5, 3];
    const shape = [out, from, TAPS, TAPS];
    const w = dense("f32", shape, signed("w", shape));
    const data = new Float64Array(side * side * from * out);
    winogradFilter.reference?.([w], { tile }, [{ dtype: "f32", shape: [side * side, from, out], data }]);
    for (let o = 0; o < out; o++)
      for (let c = 0; c < from; c++) {
        const rows = Array.from({ length: TAPS }, (_, y) => {
          const at = ((o * from + c) * TAPS + y) * TAPS;
          return times(t.filter, [...w.data.slice(at, at + TAPS)]);
        });
        for (let b = 0; b < side; b++)
          times(
            t.filter,
            rows.map((row) => row[b]),
          ).forEach((x, a) => {
            expect(data[((a * side + b) * from + c) * out + o]).toBeCloseTo(x, 12);
          });
      }
  });
});
