// Long sums on the adapter: a cascade in a fixed order, whatever folds them. What they should be is closed form: sums of one
// number, or of a known row.
import { describe, expect, it } from "vitest";
import { targets } from "../support/adapter.ts";
import { testModule } from "../support/module.ts";

const module = testModule(`
model M {
  fn whole(x: f32[1]) -> f32 { mean(broadcast_to(x, [20000000])) }
  fn called(x: f32[N]) -> f32 { mean(x) }
  fn rows(x: f32[2, N]) -> f32[2] { mean(x, axis = 1) }
  fn strided(x: f32[N, 5]) -> f32[5] { mean(x, axis = 0) }
  fn middle(x: f32[2, N, 3]) -> f32[2, 3] { mean(x, axis = 1) }
  fn spread(x: f32[N, 4]) -> f32[4] { var(x, axis = 0) }
  fn running(x: f32[1], at: i32[N]) -> f32[N] { cumsum(broadcast_to(x, [65536]))[at] }
  fn product(x: f32[N, 4]) -> f32[4, 4] { x.T @ x }
  fn windows(x: f32[1]) -> f32[1, 1, 1, 1] { avg_pool2d(broadcast_to(x, [1, 1, 600, 600]), 600) }
  private fn loss(w: f32[1], x: f32[N]) -> f32 { mean(w * x) }
  fn slope(w: f32[1], x: f32[N]) -> f32[1] { grad(loss, wrt = w)(w, x) }
}
`);
const fill = (n: number, v: number): Float32Array => new Float32Array(n).fill(v);

describe.each(targets.map((t) => [t.name]))("on %s", (target) => {
  it("long sums are right", async (context) => {
    const net = await module.load(context, { target });
    const wrong: string[] = [];
    const check = (what: string, got: ArrayLike<number>, want: number, rtol = 1e-6): void => {
      for (const v of Array.from(got))
        if (!(Math.abs(v / want - 1) <= rtol))
          wrong.push(`${what}: ${v} for ${want}, off by ${v / want - 1}`);
    };
    for (const v of [0.1, 0.7]) {
      const f = Math.fround(v);
      const x = (shape: number[]) => ({
        data: fill(
          shape.reduce((a, b) => a * b),
          v,
        ),
        shape,
      });
      check("whole", await net.call("whole", { x: x([1]) }), f);
      check("called", await net.call("called", { x: x([1_000_000]) }), f);
      check("rows", await net.call("rows", { x: x([2, 500_000]) }), f);
      check("strided", await net.call("strided", { x: x([200_000, 5]) }), f);
      check("middle", await net.call("middle", { x: x([2, 150_000, 3]) }), f);
      const at = Int32Array.of(999, 40_000, 65_535);
      const sums = await net.call("running", { x: x([1]), at });
      at.forEach((k, i) => {
        check(`running ${k}`, [sums[i]], (k + 1) * f);
      });
      // Contractions in two levels only: 1e-5, as a library of blocked products has it.
      check("product", await net.call("product", { x: x([300_000, 4]) }), 300_000 * f * f, 1e-5);
      check("windows", await net.call("windows", { x: x([1]) }), f);
      check("slope", await net.call("slope", { w: x([1]), x: x([1_000_000]) }), f);
    }
    const two = Float32Array.from({ length: 400_000 }, (_, i) => (i % 8 < 4 ? 1000 : 1000.5));
    check("spread", await net.call("spread", { x: { data: two, shape: [100_000, 4] } }), 0.0625, 2e-5);
    // The same order every time.
    const x = { data: Float32Array.from({ length: 100_003 }, (_, i) => Math.sin(i)), shape: [100_003] };
    const first = await net.call("called", { x });
    expect(await net.call("called", { x })).toEqual(first);
    expect(wrong).toEqual([]);
  });
});
