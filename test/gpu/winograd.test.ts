// Convolutions by blocks (7-schedule/contraction/winograd.ts) beside the reference in double precision: images of all sizes that
// blocks do not divide, windows behind them, what is computed on the way in and on the way out, filters that are shared or made.
import { describe, expect, it } from "vitest";
import { dense } from "../../compiler/core/reference/evaluate.ts";
import { cpuSubgroup, type Target } from "../../compiler/core/targets.ts";
import { allclose } from "../support/allclose.ts";
import { signed } from "../support/hashing.ts";
import { compileText, testCompiled } from "../support/module.ts";
import { referenceNet } from "../support/reference.ts";

// Small convolutions are worth it here.
const target: Target = { ...cpuSubgroup, winograd: { image: 0, result: 0, layers: 1 } };

const source = `
model M {
  param w: f32[36, 20, 3, 3] = normal(0, 0.1)
  param v: f32[36, 36, 3, 3] = normal(0, 0.1)
  param b: f32[36] = normal(0, 0.1)
  param s: f32[36] = uniform(0.5, 1.5)
  param p: f32[64, 20, 3, 3] = normal(0, 0.1)

  fn same(x: f32[N, 20, H, W]) -> f32[N, 36, H, W]                     { tanh(conv2d(x, w, b, padding = 1)) }
  fn inner(x: f32[N, 20, H, W]) -> f32[N, 36, H - 2, W - 2]            { conv2d(x, w) |> relu }
  fn outer(x: f32[N, 20, H, W]) -> f32[N, 36, H + 2, W + 1] {
    conv2d(x, w, b, padding = 2, padding_high = [2, 1]) |> sigmoid
  }
  fn panels(x: f32[N, 20, H, W]) -> f32[N, 64, H, W]                   { conv2d(relu(x), p, padding = 1) |> abs }
  fn pooled(x: f32[N, 20, H, W]) -> f32[N, 36, floor(H / 2), floor(W / 2)] {
    conv2d(x, w, b, padding = 1) |> relu |> max_pool2d(2)
  }
  fn means(x: f32[N, 20, H, W]) -> f32[N, 36, floor(H / 4), floor(W / 2)] {
    conv2d(x, w, padding = 1) |> avg_pool2d([4, 2]) |> tanh
  }
  fn made(x: f32[N, 20, H, W]) -> f32[N, 36, H, W]                     { conv2d(x * 2, w * reshape(s, [36, 1, 1, 1]), padding = 1) |> relu }
  fn block(x: f32[N, 20, H, W]) -> f32[N, 36, H, W] {
    h = conv2d(x, w, b, padding = 1) |> relu
    g = conv2d(h, v, padding = 1) |> relu
    relu(conv2d(g, v, b, padding = 1) + h)
  }
}`;

/** What passes between the launches of larger calls is more than its buffers hold. */
const tight: Target = {
  ...target,
  requires: { ...target.requires, limits: { maxStorageBufferBindingSize: 1 << 18 } },
};

describe("convolutions by blocks", () => {
  const compiled = compileText(source, { targets: [target] });
  const reference = referenceNet(compiled);
  const sizes = [
    [1, 4, 4],
    [1, 3, 3],
    [2, 5, 9],
    [3, 12, 7],
    [1, 17, 34],
    [0, 8, 8],
  ];
  type Net = Awaited<ReturnType<ReturnType<typeof testCompiled>["load"]>>;
  async function compare(net: Net, entry: string, shape: number[]): Promise<void> {
    const data = signed("x", shape);
    const got = await net.call(entry, { x: { shape, data } });
    const exact = reference.call(entry, { x: dense("f32", shape, data) })[entry].data;
    // Of the largest: sums of blocks are of one size, whatever a result is (docs/performance.md has the errors).
    const largest = exact.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
    allclose(got, exact, { rtol: 0, atol: 1e-5 * largest });
  }
  it.for(["same", "inner", "outer", "panels", "pooled", "means", "made", "block"])(
    "%s",
    async (entry, context) => {
      const own = compileText(source, { targets: [target], entries: [entry] });
      expect(own.emit("kernels", target.name)).toContain("winograd results 4x4");
      const net = await testCompiled(() => own).load(context);
      for (const [n, h, w] of sizes.filter(([, h]) => entry !== "means" || h >= 4)) {
        await compare(net, entry, [n, 20, h, w]);
      }
    },
  );

  it("calls that are too large for them are computed by windows", async (context) => {
    const own = compileText(source, { targets: [tight] });
    // Who loads the model does not wait for kernels that usual calls have no work for.
    const { kernels } = own.artefact.programs[0];
    const warmed: { done: number; total: number }[] = [];
    const net = await testCompiled(() => own).load(context, {
      onProgress: ({ phase, done, total }) => void (phase === "warm-up" && warmed.push({ done, total })),
    });
    const usual = kernels.filter((k) => !k.spare).length;
    expect(usual).toBeLessThan(kernels.length);
    expect(warmed.at(-1)).toEqual({ done: usual, total: usual });
    for (const entry of ["panels", "pooled", "block"])
      for (const [h, w] of [
        [8, 8],
        [17, 34],
      ]) {
        await compare(net, entry, [1, 20, h, w]);
      }
  });

  it("filters that a call brings or computes are no filters of theirs", async (context) => {
    const source = `model M {
      param p: f32[36, 20, 3, 3] = normal(0, 0.1)
      fn given(x: f32[N, 20, 8, 8], w: f32[36, 20, 3, 3]) -> f32[N, 36, 8, 8] { relu(conv2d(x, w, padding = 1)) }
      fn scaled(x: f32[N, 20, 8, 8], g: f32[36]) -> f32[N, 36, 8, 8] {
        relu(conv2d(x, p * reshape(g, [36, 1, 1, 1]), padding = 1))
      }
    }`;
    const own = compileText(source, { targets: [target] });
    expect(own.emit("kernels", target.name)).not.toContain("winograd");
    const net = await testCompiled(() => own).load(context);
    const plain = referenceNet(own);
    // The second call has another one.
    for (const [entry, name, shape] of [
      ["given", "w", [36, 20, 3, 3]],
      ["scaled", "g", [36]],
    ] as const)
      for (const [call, n] of [2, 1, 0].entries()) {
        const x = { shape: [n, 20, 8, 8], data: signed("x", [n, 20, 8, 8]) };
        const filter = { shape: [...shape], data: signed(`${name}${call}`, [...shape]) };
        const got = await net.call(entry, { x, [name]: filter });
        const exact = plain.call(entry, {
          x: dense("f32", x.shape, x.data),
          [name]: dense("f32", filter.shape, filter.data),
        })[entry].data;
        allclose(got, exact, { rtol: 1e-5, atol: 1e-5 });
      }
  });

  it("a NaN stays in the blocks that see it", async (context) => {
    const net = await testCompiled(() => compiled).load(context);
    const shape = [1, 20, 24, 24];
    const data = signed("x", shape);
    data[10 * 24 + 10] = Number.NaN;
    const clean = signed("x", shape);
    const [got, exact] = await Promise.all([
      net.call("same", { x: { shape, data } }),
      reference.call("same", { x: dense("f32", shape, clean) }).same.data,
    ]);
    for (let c = 0; c < 36; c++)
      for (let y = 0; y < 24; y++)
        for (let x = 0; x < 24; x++) {
          const i = (c * 24 + y) * 24 + x;
          const sees = Math.abs(y - 10) <= 1 && Math.abs(x - 10) <= 1;
          if (sees) expect(got[i]).toBeNaN();
          else if (y < 8 || y >= 12 || x < 8 || x >= 12)
            expect(Math.abs(got[i] - exact[i])).toBeLessThan(1e-5);
        }
  });
});

describe("blocks are for what gains by them", () => {
  const kernels = (source: string, options: object = {}): string =>
    compileText(source, { targets: [cpuSubgroup], ...options }).emit("kernels", "cpu-subgroup");
  const conv = (cin: number, cout: number, more = "padding = 1", layers = 4): string => {
    const each = (text: (i: number) => string): string[] => Array.from({ length: layers }, (_, i) => text(i));
    return `model M {
    ${each((i) => `param w${i}: f32[${cout}, ${cin}, 3, 3] = normal(0, 0.1)`).join("\n")}
    fn y(x: f32[N, ${cin}, 56, 56]) -> f32 { ${each((i) => `mean(relu(conv2d(x, w${i}, ${more})))`).join(" + ")} }
  }`;
  };
  it.each([
    ["many channels", conv(64, 64), {}, true],
    ["few channels", conv(8, 8), {}, false],
    ["few layers", conv(64, 64, "padding = 1", 3), {}, false],
    ["a stride", conv(64, 64, "padding = 1, stride = 2"), {}, false],
    ["a dilation", conv(64, 64, "padding = 2, dilation = 2"), {}, false],
    ["the small form", conv(64, 64), { minify: true }, false],
    [
      "training",
      `${conv(64, 64).replace("fn y", "fn loss")}\ntrain t for M { minimize loss;  with sgd(lr = 0.1) }`,
      { entries: ["t_step"] },
      false,
    ],
  ])("%s", (_what, source, options, by) => {
    expect(kernels(source, options).includes("winograd")).toBe(by);
  });
});
