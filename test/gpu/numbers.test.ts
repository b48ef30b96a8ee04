// Numbers as written and as they are held: infinities, signs of zero, integers that wrap, remainders, half precision. What is
// right is IEEE's or closed form; the reference evaluator is held to it, too.
import { describe, expect, it } from "vitest";
import { dense, evaluate } from "../../compiler/core/reference/evaluate.ts";
import { hasHalf, targets } from "../support/adapter.ts";
import { compileText, testModule } from "../support/module.ts";

const numbers = `
model Numbers {
  buffer lowest: f32[2] = -inf
  fn written(x: f32[N], m: bool[N]) {
    (masked = where(m, x, -inf), most = max(x, -inf), held = clamp(x, min = -inf, max = 2), none = x * nan,
     filled = x + full([N], inf), kept = max(x, lowest[0]), less = x < inf)
  }
  fn zeros(x: f32[N]) { (minus = 1 / (x * 0.0 + -0.0), product = 1 / (x * -0.0), negated = 1 / -(x * 0.0)) }
  fn literals(x: f32[N]) {
    (over = x + f32(0) / f32(0), log = x + log(f32(0)), root = x * sqrt(f32(-1)), most = x * (f32(1e38) * f32(10)),
     by = f32(1) / f32(0) + x, left = f32(7) % f32(0) + x)
  }
  fn wrapped(x: i32[N]) {
    (big = iota(N) * 100000 * 100000, squares = iota(N) * iota(N) * iota(N) * 70000, over = iota(N) + 2147483647,
     under = -iota(N) - 2147483647 - 2, data = x * x * x, size = N * 65536 * i32(65537) + x, left = x % 7, whole = floor_div(x, -3),
     one = x % -1)
  }
  fn halves(x: f32[N], y: f32[N]) { (left = f32(f16(x) % f16(y)), whole = f32(floor_div(f16(x), f16(y))), most = f32(max(f16(x), f16(y))), relu = f32(relu(f16(x)))) }
  fn fused(x: f32[B, 1, 4, 4], w: f32[8, 1, 1, 1]) { conv2d(x, w) |> relu |> max_pool2d(2) }
  fn dense(x: f32[B, 2], w: f32[2, 8]) { relu(x @ w) }
}
`;
const half = `
model Half {
  fn half_rows(x: f32[R, 4]) {
    (most = f32(max(f16(x), axis = 1)), least = f32(min(f16(x), axis = 1)), first = argmax(f16(x), axis = 1),
     tanh = f32(tanh(f16(x))), erf = f32(erf(f16(x))), held = f32(clamp(f16(x), -1, 1)), lse = f32(logsumexp(f16(x), axis = 1)),
     differs = f16(x) != f16(x))
  }
  fn reduced(x: f32[2, N]) {
    (mean = f32(mean(f16(x), axis = 1)), var = f32(var(f16(x), axis = 1)), lse = f32(logsumexp(f16(x), axis = 1)),
     norm = f32(layer_norm(f16(x))), soft = f32(softmax(f16(x))))
  }
  fn columns(x: f32[N, 2]) { (mean = f32(mean(f16(x), axis = 0)), sum = f32(sum(f16(x) * f16(0.001), axis = 0))) }
  fn products(a: f32[M, K], b: f32[K, L]) { (dot = f32(f16(a) @ f16(b)), prod = f32(prod(f16(a), axis = 1))) }
  fn image(x: f32[B, 1, 64, 64], w: f32[1, 1, 3, 3]) {
    (pool = f32(avg_pool2d(f16(x), 64)), conv = f32(conv2d(f16(x), f16(w))[:, :, 0, 0]), most = f32(max_pool2d(f16(x), 64)),
     line = f32(conv1d(f16(x)[:, :, 0], f16(w)[:, :, 0])[:, :, 0]), volume = f32(conv3d(f16(x)[:, :, new], f16(w)[:, :, new])[:, :, 0, 0, 0]),
     film = f32(avg_pool3d(f16(x)[:, :, new], [1, 64, 64])))
  }
  private fn loss(w: f32[N], x: f32[N]) -> f32 { f32(mse_loss(f16(w) * f16(x), f16(x))) }
  fn slope(w: f32[N], x: f32[N]) { (loss = loss(w, x), g = grad(loss, wrt = w)(w, x)) }
}
`;
const [numberModule, halfModule] = [testModule(numbers), testModule(half)];
const f32 = (data: readonly number[], shape: readonly number[] = [data.length]) => ({
  data: Float32Array.from(data),
  shape,
});
const { NaN: nan, POSITIVE_INFINITY: inf } = Number;

const x = [1, -1, 3, nan];
const ints = [0, 1, -1, 46341, -2147483648, 2147483647, 1291, -7];
const wrap = (f: (v: number, i: number) => number): number[] => ints.map((v, i) => f(v, i) | 0);
const cube = (v: number): number => Math.imul(Math.imul(v, v), v);
const numberCases: Readonly<Record<string, [object, Readonly<Record<string, readonly number[]>>]>> = {
  written: [
    { x: f32(x), m: { data: Uint8Array.of(1, 0, 1, 1), shape: [4] } },
    {
      masked: [1, -inf, 3, nan],
      most: [1, -1, 3, nan],
      held: [1, -1, 2, nan],
      none: [nan, nan, nan, nan],
      filled: [inf, inf, inf, nan],
      kept: [1, -1, 3, nan],
      less: [1, 1, 1, 0],
    },
  ],
  zeros: [{ x: f32([-2, 2]) }, { minus: [-inf, inf], product: [inf, -inf], negated: [inf, -inf] }],
  literals: [
    { x: f32([1, 2]) },
    {
      over: [nan, nan],
      log: [-inf, -inf],
      root: [nan, nan],
      most: [inf, inf],
      by: [inf, inf],
      left: [nan, nan],
    },
  ],
  wrapped: [
    { x: { data: Int32Array.from(ints), shape: [ints.length] } },
    {
      big: wrap((_v, i) => Math.imul(Math.imul(i, 100000), 100000)),
      squares: wrap((_v, i) => Math.imul(cube(i), 70000)),
      over: wrap((_v, i) => i + 2147483647),
      under: wrap((_v, i) => -i - 2147483649),
      data: wrap(cube),
      size: wrap((v) => Math.imul(Math.imul(ints.length, 65536), 65537) + v),
      left: [0, 1, 6, 1, 5, 1, 3, 0],
      whole: ints.map((v) => Math.floor(v / -3)),
      one: ints.map(() => 0),
    },
  ],
  // Through the kernels of contractions, where the activation and the pool are fused behind.
  fused: [
    {
      x: f32([1, 2, nan, 0, 3, -4, 5, 6, -inf, -1, inf, 0, -2, -3, 1, 1], [1, 1, 4, 4]),
      w: f32([1, 1, 1, 1, 1, 1, 1, 1], [8, 1, 1, 1]),
    },
    { fused: Array.from({ length: 8 }, () => [3, nan, 0, inf]).flat() },
  ],
  dense: [
    { x: f32([1, nan, inf, -1, -inf, 1], [3, 2]), w: f32(new Array(16).fill(1), [2, 8]) },
    { dense: [nan, inf, 0].flatMap((v) => new Array<number>(8).fill(v)) },
  ],
  halves: [
    { x: f32([7.5, -7.5, 100, nan, 3, -5]), y: f32([2, 2, 0.300048828125, 1, -inf, nan]) },
    {
      left: [1.5, 0.5, 0.083740234375, nan, -inf, nan],
      whole: [3, -4, 333, nan, -1, nan],
      most: [7.5, 2, 100, nan, 3, nan],
      relu: [7.5, 0, 100, nan, 3, 0],
    },
  ],
};
const N = 4000;
const row = Array.from({ length: N }, (_, i) => (i % 2 === 0 ? 180 : 220));
const norm = row.map((v) => (v - 200) / Math.sqrt(400 + 1e-5));
const e = Math.exp(-40);
const halfCases: Readonly<Record<string, [object, Readonly<Record<string, readonly number[]>>]>> = {
  half_rows: [
    { x: f32([1, nan, 2, nan, -inf, -inf, -inf, -inf, inf, 0, -inf, 1], [3, 4]) },
    {
      most: [nan, -inf, inf],
      least: [nan, -inf, -inf],
      first: [1, 0, 0],
      tanh: [0.76171875, nan, 0.9638671875, nan, -1, -1, -1, -1, 1, 0, -1, 0.76171875],
      erf: [0.8427734375, nan, 0.9951171875, nan, -1, -1, -1, -1, 1, 0, -1, 0.8427734375],
      held: [1, nan, 1, nan, -1, -1, -1, -1, 1, 0, -1, 1],
      lse: [nan, -inf, inf],
      differs: [0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
    },
  ],
  reduced: [
    { x: f32([...row, ...row], [2, N]) },
    {
      mean: [200, 200],
      var: [(400 * N) / (N - 1), (400 * N) / (N - 1)],
      lse: [220 + Math.log((N / 2) * (1 + e)), 220 + Math.log((N / 2) * (1 + e))],
      norm: [...norm, ...norm],
      soft: [...row, ...row].map((v) => (v === 220 ? 2 / N : 0)),
    },
  ],
  columns: [
    {
      x: f32(
        row.flatMap((v) => [v, 100]),
        [N, 2],
      ),
    },
    { mean: [200, 100], sum: [N * 0.2, N * 0.1] },
  ],
  products: [
    { a: f32([300, 300, 0.001, 0.001], [1, 4]), b: f32([300, 1, -299, 1, 0, 1, 0, 1], [4, 2]) },
    { dot: [300, 600], prod: [0.09] },
  ],
  image: [
    {
      x: f32(new Array(4096).fill(200), [1, 1, 64, 64]),
      w: f32([300, 0, 0, 0, -299, 0, 0, 0, 0], [1, 1, 3, 3]),
    },
    { pool: [200], conv: [200], most: [200], line: [60000], volume: [200], film: [200] },
  ],
  slope: [
    { w: f32([11, 1]), x: f32([30, 20]) },
    { loss: [45000], g: [9000, 0] },
  ],
};

const near = (got: number, want: number, rtol: number): boolean =>
  Number.isFinite(want) ? Math.abs(got - want) <= rtol * Math.abs(want) + rtol * 1e-3 : Object.is(got, want);
function differences(
  what: string,
  got: Readonly<Record<string, ArrayLike<number>>>,
  want: Readonly<Record<string, readonly number[]>>,
  rtol: number,
): string[] {
  return Object.entries(want).flatMap(([k, list]) =>
    list.flatMap((w, i) =>
      near(Number(got[k][i]), w, rtol) ? [] : [`${what}.${k}[${i}]: ${got[k][i]}, want ${w}`],
    ),
  );
}

describe.each([
  ["numbers", numbers, numberModule, numberCases, 0],
  ["half precision", half, halfModule, halfCases, 2e-3],
] as const)("%s", (_name, source, module, cases, rtol) => {
  it("in the reference evaluator", () => {
    const { model } = compileText(source, { targets: [] });
    const state = { lowest: dense("f32", [2], [-inf, -inf]) };
    const wrong = Object.entries(cases).flatMap(([name, [inputs, want]]) => {
      const entry = model.entries.find((q) => q.name === name);
      if (!entry) throw new Error(`no entry ${name}`);
      const data = Object.fromEntries(
        Object.entries(inputs as Record<string, { data: ArrayLike<number>; shape: number[] }>).map(
          ([k, v]) => [
            k,
            dense(
              v.data instanceof Int32Array ? "i32" : v.data instanceof Uint8Array ? "bool" : "f32",
              v.shape,
              v.data,
            ),
          ],
        ),
      );
      const { results } = evaluate(entry.graph, data, { state, roundFloats: true });
      return differences(
        name,
        Object.fromEntries(Object.entries(results).map(([k, v]) => [k, v.data])),
        want,
        Math.max(rtol, 1e-6),
      );
    });
    expect(wrong).toEqual([]);
  });
  it.for(targets.map((t) => t.name))("on %s", async (target, context) => {
    const net = await module.load(context, { target });
    const wrong: string[] = [];
    for (const [name, [inputs, want]] of Object.entries(cases)) {
      // An adapter without half precision runs the others.
      if (name === "halves" && !hasHalf) continue;
      wrong.push(...differences(name, await net.results(name, inputs as never), want, rtol));
    }
    expect(wrong).toEqual([]);
  });
});
