// Parameters that entries and training steps store into (target networks, averages, clipped weights), and ints of a call that
// are sizes. Expected values are closed forms.
import { describe, expect, it, type TestContext } from "vitest";
import { targets } from "../support/adapter.ts";
import { type Net, testModule } from "../support/module.ts";

const SOURCE = `
model M {
  param a: f32[70] = constant(1.0)
  param b: f32[70] = constant(2.0)
  param c: f32[70] = constant(3.0)
  param target: f32[2, 70] = constant(0.5)
  buffer seen: i32 = zeros()

  fn read() -> f32[4, 70] { concat([stack([a, b], axis = 0), c[new], target[:1]], axis = 0) }
  /// A copy and an average, and what is read behind them.
  fn sync(tau: f32) -> f32[70] {
    follow(tau)
    target[1]
  }
  private fn follow(tau: f32) -> f32 {
    target <- lerp(target, stack([a, b], axis = 0), tau)
    tau
  }
  fn copy() -> f32 {
    b <- a
    sum(b)
  }
  fn limit() -> f32[70] {
    a <- clamp(a, -0.25, 0.25)
    a
  }
  private fn ab(x: f32[N]) -> f32 { mean(x) * sum(a + b) }
  private fn bc(x: f32[N]) -> f32 { mean(x) * sum(b + c) }
  /// b lies between a and c, which are trained.
  private fn ac(x: f32[N]) -> f32 {
    b <- lerp(b, a, 0.5)
    target <- target + mean(x)
    seen <- seen + 1
    mean(x) * sum(a + c) + sum(stop_gradient(b))
  }
  fn sample(n: int, at: f32) -> f32[n, 2] { f32(iota(n))[:, new] * at + f32(n) + zeros(n, 2) }
}
train one   for M { minimize ab; update a, b; with sgd(lr = 0.5) }
train two   for M { minimize bc; update b, c; with sgd(lr = 0.5) }
train three for M { minimize ac; update a, c; with sgd(lr = 0.5) }
`.replace("follow(tau)\n    target[1]", "t = follow(tau)\n    target[1] * t / t");

const x = (...list: number[]) => ({ x: { data: Float32Array.from(list), shape: [list.length] } });
const scalar = (value: number) => ({ data: Float32Array.of(value), shape: [] });
const firsts = async (net: Net): Promise<number[]> =>
  Promise.all(["a", "b", "c", "target"].map(async (p) => Number((await net.parameter(p))[0])));

describe.each(targets.map((t) => t.name))("on %s", (target) => {
  const module = testModule(SOURCE, { targets: [target] });
  const load = (context: TestContext): Promise<Net> => module.load(context, { target });

  it("entries store into parameters, and later ones read that", async (context) => {
    const net = await load(context);
    const after = await net.call("sync", { tau: scalar(0.5) });
    expect([...after]).toEqual(Array(70).fill(1.25));
    expect(await firsts(net)).toEqual([1, 2, 3, 0.75]);
    expect([...(await net.call("copy", {}))]).toEqual([140]);
    expect(await firsts(net)).toEqual([1, 1, 3, 0.75]);
    await net.call("limit", {});
    expect(await firsts(net)).toEqual([0.25, 1, 3, 0.75]);
    const all = await net.call("read", {});
    expect([0, 1, 2, 3].map((i) => all[70 * i])).toEqual([0.25, 1, 3, 0.75]);
    await net.step("one", x(1, 3));
    expect(await firsts(net)).toEqual([-0.75, 0, 3, 0.75]);
  });

  it("a step stores beside what it trains, and a bad one nothing", async (context) => {
    const net = await load(context);
    // b and target follow the values before the step.
    expect(await net.step("three", x(1, 3))).toBe(2 * 70 * 4 + 70 * 2);
    expect(await firsts(net)).toEqual([0, 1.5, 2, 2.5]);
    for (const p of ["a", "b", "c"]) expect(new Set(await net.parameter(p)).size, p).toBe(1);
    const bad = net.step("three", x(Number.NaN));
    await expect(bad).rejects.toMatchObject({ name: "NonFiniteError" });
    expect(await firsts(net)).toEqual([0, 1.5, 2, 2.5]);
    expect(Number((await net.parameter("seen"))[0])).toBe(1);
    await net.step("two", x(2));
    expect(await firsts(net)).toEqual([0, 0.5, 1, 2.5]);
  });

  it("an int of a call is a size", async (context) => {
    const net = await load(context);
    const sample = net.base as unknown as {
      sample(given: object): Promise<{ sample: { shape: number[]; data: ArrayLike<number> } }>;
    };
    for (const n of [3, 1, 0, 130]) {
      const { sample: out } = await sample.sample({ n, at: 10 });
      expect(out.shape).toEqual([n, 2]);
      expect([...Array.from(out.data)]).toEqual(
        Array.from({ length: 2 * n }, (_, i) => Math.floor(i / 2) * 10 + n),
      );
    }
    await expect(sample.sample({ n: -1, at: 1 })).rejects.toMatchObject({
      name: "InputError",
      message: expect.stringContaining("n is a count"),
    });
    await expect(sample.sample({ n: 1.5, at: 1 })).rejects.toMatchObject({ name: "InputError" });
  });
});
