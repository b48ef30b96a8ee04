// What a training step leaves: a bad one (a loss, a gradient or anything it would write is not finite) nothing but the next
// random step, whatever the dtype of the state; a good one what PyTorch's optimisers compute. Expected values are closed
// forms, or PyTorch's where it says so.
import { describe, expect, it, type TestContext } from "vitest";
import { hasHalf, own, targets } from "../support/adapter.ts";
import { type Net, testModule } from "../support/module.ts";

const WITH_HALF = `model M() {
  param w: f32[4] = constant(1.0)
  buffer count: i32[]   = zeros()
  buffer total: u32[]   = zeros()
  buffer odd:   bool[]  = zeros()
  buffer grown: f32[3]  = ones()
  buffer half:  f16[2]  = ones()
  /// The loss follows x; s multiplies state that the loss does not see.
  fn loss(x: f32[4], s: f32[]) -> f32 {
    count <- count + 1
    total <- total + 2
    odd   <- !odd
    grown <- grown * s
    half  <- half * f16(s)
    sum(w * x)
  }
}
train fit   for M { minimize loss; with sgd(lr = 0.5, momentum = 0.9) }
train steep for M { minimize loss; with adam(lr = 0.5) }`;
const STATE = hasHalf ? WITH_HALF : WITH_HALF.replaceAll("f16", "f32");

const floats = (list: readonly number[]) => Float32Array.from(list);
const input = (x: readonly number[], s: number) => ({
  x: { data: floats(x), shape: [4] },
  s: { data: floats([s]), shape: [] },
});
const PATHS = ["w", "count", "total", "odd", "grown", "half", "fit.momentum_buffer", "fit.step"];
const all = async (net: Net): Promise<Record<string, number[]>> =>
  Object.fromEntries(
    await Promise.all(PATHS.map(async (p) => [p, Array.from(await net.parameter(p), Number)] as const)),
  );
const bad = (step: Promise<number>) => expect(step).rejects.toMatchObject({ name: "NonFiniteError" });

describe.each(targets.map((t) => t.name))("on %s", (target) => {
  const module = testModule(STATE, { targets: [target] });
  const load = (context: TestContext, seed = 1): Promise<Net> => module.load(context, { target, seed });

  it("a good step writes state of every dtype", async (context) => {
    const net = await load(context);
    expect(await net.step("fit", input([1, 2, 3, 4], 2))).toBe(10);
    await net.step("fit", input([1, 2, 3, 4], 2));
    const left = await all(net);
    // v = 0.9 v + g: 1, then 1.9; w = 1 - 0.5 (1 + 1.9) g.
    [1, 2, 3, 4].forEach((g, i) => {
      expect(left.w[i]).toBeCloseTo(1 - 1.45 * g, 5);
    });
    expect(left.count).toEqual([2]);
    expect(left.total).toEqual([4]);
    expect(left.odd).toEqual([0]);
    expect(left.grown).toEqual([4, 4, 4]);
    expect(left.half).toEqual([4, 4]);
  });

  it("a bad one writes none of it", async (context) => {
    const net = await load(context);
    await net.step("fit", input([1, 2, 3, 4], 2));
    const before = await all(net);
    await bad(net.step("fit", input([1, Number.NaN, 1, 1], 2)));
    expect(await all(net)).toEqual(before);
    await bad(net.step("fit", input([1, Number.POSITIVE_INFINITY, 1, 1], 2)));
    expect(await all(net)).toEqual(before);
  });

  it("state that is not finite makes a step bad, where loss and gradients are fine", async (context) => {
    const net = await load(context);
    // f16 ends at 65504, f32 at 3.4e38.
    const much = hasHalf ? 1e3 : 1e30;
    await net.step("fit", input([1, 2, 3, 4], much));
    const before = await all(net);
    await bad(net.step("fit", input([1, 2, 3, 4], much)));
    expect(await all(net)).toEqual(before);
    await bad(net.step("fit", input([1, 2, 3, 4], Number.NaN)));
    expect(await all(net)).toEqual(before);
  });

  it("good ones go on as though there had been none: Adam's count does not count it", async (context) => {
    const [with_, without] = [await load(context), await load(context)];
    for (let i = 0; i < 3; i++) {
      const good = input([1, 2, 3 + i, -4], 1);
      // Its figures tell of the first bad step, though the step is good.
      await (i === 0 ? with_.step("steep", good) : bad(with_.step("steep", good)));
      await without.step("steep", good);
      if (i < 2) await bad(with_.step("steep", input([1, Number.NaN, 1, 1], 1)));
    }
    expect(await all(with_)).toEqual(await all(without));
    // torch.optim.Adam(lr = 0.5) on these gradients, three steps from 1.
    const w = Array.from(await without.parameter("w"), Number);
    const want = [-0.5, -0.5, -0.497066, 2.5];
    for (const [i, x] of w.entries()) expect(x).toBeCloseTo(want[i], 4);
  });

  it("so do parameters and moments that overflow", async (context) => {
    const net = await load(context);
    const before = await all(net);
    // The momentum is 1e38, 1.9e38, and then 1.71e38 + 3e38: more than f32 holds. No rate multiplies it.
    await net.step("fit", input([1e38, 0, 0, 0], 1), { lr: 0 });
    await net.step("fit", input([1e38, 0, 0, 0], 1), { lr: 0 });
    const between = await all(net);
    await bad(net.step("fit", input([3e38, 0, 0, 0], 1), { lr: 0 }));
    expect(await all(net)).toEqual(between);
    expect(between["fit.step"]).toEqual([2]);
    // A finite momentum times a finite rate.
    await bad(net.step("fit", input([1e38, 0, 0, 0], 1), { lr: 1e6 }));
    expect(await all(net)).toEqual(between);
    const fresh = await load(context);
    // The square of a finite gradient.
    await bad(fresh.step("steep", input([1e25, 0, 0, 0], 1)));
    expect(await all(fresh)).toEqual(before);
  });
});

const HALF = `model H() {
  param a: f16[2, 3] = constant(0.5)
  param b: f32[3]    = constant(0.25)
  fn out(x: f16[N, 2]) -> f16[N, 3] { x @ a + f16(b) }
  fn loss(x: f16[N, 2]) -> f16 { mean(out(x) ** 2) }
  fn wide(x: f16[N, 2]) -> f32 { mean(f32(out(x)) ** 2) }
}
train sgd_fit  for H { minimize loss; with sgd(lr = 0.1, momentum = 0.9, weight_decay = 0.01); report wide }
train adam_fit for H { minimize wide; with adamw(lr = 0.01, no_decay = ["b"]); clip norm 0.5 }`;

describe("f16 parameters", () => {
  const target = own.name;
  const module = testModule(HALF, { targets: [target] });
  const x = { data: floats([1, 2, -1, 0.5]), shape: [2, 2] };

  it("are trained in f32 and rounded once, with an f16 loss", async (context) => {
    const net = await module.load(context, { target });
    // out = x @ a + b = [1.75 …; 0 …]: the loss is 1.75^2 / 2.
    expect(await net.step("sgd_fit", { x } as never)).toBeCloseTo(1.53125, 3);
    const a = Array.from(await net.parameter("a"), Number);
    const b = Array.from(await net.parameter("b"), Number);
    // d out = out / 3; da = x.T @ d out = [1.75 / 3, 3.5 / 3]; db = 1.75 / 3. Decayed by 0.01 and followed by 0.1.
    const want = [0.5 - 0.1 * (1.75 / 3 + 0.005), 0.5 - 0.1 * (3.5 / 3 + 0.005)];
    for (const i of [0, 1, 2]) {
      expect(Math.abs(a[i] - want[0])).toBeLessThan(2 ** -11);
      expect(Math.abs(a[3 + i] - want[1])).toBeLessThan(2 ** -11);
      expect(Math.abs(b[i] - (0.25 - 0.1 * (1.75 / 3 + 0.0025)))).toBeLessThan(1e-3);
    }
  });

  it("follow AdamW, clipped by the norm of all of them", async (context) => {
    const net = await module.load(context, { target });
    expect(await net.step("adam_fit", { x } as never)).toBeCloseTo(1.53125, 3);
    const a = Array.from(await net.parameter("a"), Number);
    const b = Array.from(await net.parameter("b"), Number);
    // The first step of Adam is the sign of the gradient; a decays by 0.01 * 0.01 as PyTorch's default has it.
    for (const v of a) expect(Math.abs(v - (0.5 * (1 - 1e-4) - 0.01))).toBeLessThan(2 ** -11);
    for (const v of b) expect(v).toBeCloseTo(0.24, 5);
  });

  it("make a bad step where they overflow", async (context) => {
    const net = await module.load(context, { target });
    await net.base.setParameter("a", floats([65504, 0, 0, 0, 0, 0]));
    const tiny = { data: floats([-6e-5, 0, 0, 0]), shape: [2, 2] };
    await bad(net.step("sgd_fit", { x: tiny } as never, { lr: 1e9 }));
    expect(Array.from(await net.parameter("a"), Number)).toEqual([65504, 0, 0, 0, 0, 0]);
  });
});
