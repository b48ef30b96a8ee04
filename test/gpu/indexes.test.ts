// Indices outside that no call has checked: on the GPU reads are clamped, what they read has no gradient, a loss leaves
// them out, and a start moves the block. Values by hand; repeated indices as PyTorch's embedding has them.
import { describe, expect, it } from "vitest";
import { targets } from "../support/adapter.ts";
import { testModule } from "../support/module.ts";

const module = testModule(`
import { nll_loss } from "std/loss"
model M {
  param w: f32[3, 2] = ones()
  private fn looked(w: f32[3, 2], i: i32[N], c: f32[N, 2]) -> f32 { sum(embedding(i, w) * c) }
  private fn gathered(w: f32[3, 2], i: i32[N, 2]) -> f32 { sum(square(gather(w, i, axis = 0))) }
  private fn ce(x: f32[N, 3], y: i32[N]) -> f32 { cross_entropy(x, y) }
  private fn nll(x: f32[N, 3], y: i32[N]) -> f32 { nll_loss(x, y) }
  fn rows(w: f32[3, 2], i: i32[N], c: f32[N, 2]) { (y = embedding(i, w), g = grad(looked, wrt = w)(w, i, c)) }
  fn second(w: f32[3, 2], i: i32[N, 2]) { (y = gather(w, i, axis = 0), g = grad(gathered, wrt = w)(w, i)) }
  fn hot(i: i32[N]) -> f32[N, 3] { one_hot(i, 3) }
  fn losses(x: f32[N, 3], y: i32[N]) {
    (l = ce(x, y), n = nll(x, y), g = grad(ce, wrt = x)(x, y), gn = grad(nll, wrt = x)(x, y))
  }
  fn block(x: f32[T], i: i32) -> f32[2] { slice_at(x, [i], [2]) }
  fn loss(i: i32[N], y: i32[N]) -> f32 { cross_entropy(concat([embedding(i, w), zeros(N, 1)], axis = 1), y) }
}
train fit for M { minimize loss; with sgd(lr = 1.0) }`);
const f32 = (shape: number[], ...data: number[]) => ({ data: Float32Array.from(data), shape });
const i32 = (shape: number[], ...data: number[]) => ({ data: Int32Array.from(data), shape });
const near = (xs: ArrayLike<number>, want: readonly number[]): void => {
  expect([...Array.from(xs)]).toEqual(want.map((x) => expect.closeTo(x, 5)));
};

describe.each(targets.map((t) => t.name))("an index outside on %s", (target) => {
  it("reads what is nearest, and its gradient goes nowhere", async (context) => {
    const net = await module.load(context, { target, checks: false });
    const w = f32([3, 2], 1, 2, 3, 4, 5, 6);
    const c = f32([5, 2], 1, 2, 10, 20, 100, 200, 1000, 2000, 0.5, 0.25);
    const rows = await net.results("rows", { w, i: i32([5], 1, -1, 3, 2_000_000_000, 1), c });
    near(rows["y"], [3, 4, 1, 2, 5, 6, 5, 6, 3, 4]);
    near(rows["g"], [0, 0, 1.5, 2.25, 0, 0]);

    const i = i32([2, 2], 0, 3, -5, 2);
    const second = await net.results("second", { w, i });
    near(second["y"], [1, 6, 1, 6]);
    near(second["g"], [2, 0, 0, 0, 0, 12]);

    near(await net.call("hot", { i: i32([3], -1, 3, 1) }), [0, 0, 0, 0, 0, 0, 0, 1, 0]);
    near(await net.call("block", { x: f32([4], 1, 2, 3, 4), i: Int32Array.of(9) }), [3, 4]);
    near(await net.call("block", { x: f32([4], 1, 2, 3, 4), i: Int32Array.of(-9) }), [1, 2]);
  });

  it("is left out of a loss, like a class to be ignored", async (context) => {
    const net = await module.load(context, { target, checks: false });
    const x = f32([4, 3], 0, Math.log(2), 0, 5, 6, 7, 1, 2, 3, 0, 0, Math.log(2));
    const got = await net.results("losses", { x, y: i32([4], 1, -100, 3, 0) });
    near(got["l"], [(Math.log(2) + Math.log(4)) / 2]);
    near(got["g"], [0.125, -0.25, 0.125, 0, 0, 0, 0, 0, 0, -0.375, 0.125, 0.25]);
    near(got["n"], [-(Math.log(2) + 0) / 2]);
    near(got["gn"], [0, -0.5, 0, 0, 0, 0, 0, 0, 0, -0.5, 0, 0]);
  });

  it("is refused in a step before anything runs; with checks: false it trains nothing", async (context) => {
    const net = await module.load(context, { target });
    const good = { i: i32([2], 0, 1), y: i32([2], 0, 1) };
    await expect(net.step("fit", { ...good, y: i32([2], 0, 3) })).rejects.toThrow(
      "y[1] is 3, expected 0 to 2 or -100 (cross_entropy of 3 classes)",
    );
    await expect(net.step("fit", { ...good, i: i32([2], 0, 3) })).rejects.toThrow(
      "i[1] is 3, expected 0 to 2",
    );
    near(await net.parameter("w"), [1, 1, 1, 1, 1, 1]);
    const steps = net.base as unknown as {
      fit_step(inputs: unknown, options: unknown): Promise<{ loss: Promise<number> }>;
    };
    await (await steps.fit_step({ i: i32([2], 3, 0), y: i32([2], 0, -7) }, { checks: false })).loss;
    near(await net.parameter("w"), [1, 1, 1, 1, 1, 1]);
    await net.step("fit", good);
    expect((await net.parameter("w"))[0]).toBeGreaterThan(1);
  });
});
