// Products by matrices of a subgroup (7-schedule/contraction/matrix.ts); on an adapter that has none by kernels in whose text
// plain functions stand for them (test/support/matrices.ts). What is multiplied is f16 already, so that nothing but the order of
// sums in f32 tells results from the reference's.
import { afterEach, describe, expect, it } from "vitest";
import { drawInputs, sizesOf } from "../../compiler/cli/draw.ts";
import { type BuildOptions, compile } from "../../compiler/core/index.ts";
import type { Dense } from "../../compiler/core/ir/types.ts";
import type { Target } from "../../compiler/core/targets.ts";
import { load } from "../../runtime/core/index.ts";
import type { Tensor } from "../../runtime/core/tensor.ts";
import { own } from "../support/adapter.ts";
import { budget, firstSeed, untilTimeIsUp } from "../support/budget.ts";
import { type TestDevice, testDevice } from "../support/device.ts";
import { projectFile } from "../support/files.ts";
import { disagreement, expectedOf, GraphNet } from "../support/graphs.ts";
import { matricesFor } from "../support/matrices.ts";
import { compileText } from "../support/module.ts";
import { drawDense, randomFrom } from "../support/opcheck.ts";

let open: GraphNet | undefined;
afterEach(() => {
  open?.dispose();
  open = undefined;
});

async function halfDevice(context: Parameters<typeof testDevice>[0]): Promise<TestDevice> {
  const found = await testDevice(context);
  if (!found.features.has("shader-f16")) return context.skip("the adapter has no shader-f16");
  return found;
}

/** Numbers that f16 has, of nine digits each: sums of their products are rounded. */
function drawHalf(shape: readonly number[], random: () => number): Dense {
  const drawn = drawDense("f32", shape, random);
  return { ...drawn, data: drawn.data.map((x) => Math.round(x * 512) / 512) };
}

/** The number of the offer by matrices that is to be taken: the first, or the one that `want` says. */
const byMatrices =
  (want: (choice: Readonly<Record<string, number | string>>) => boolean = () => true): BuildOptions["pick"] =>
  (offers) => {
    const at = offers.findIndex((o) => o.family === "contraction.matrix" && want(o.choice));
    return Math.max(0, at);
  };

interface Wanted {
  readonly seed?: number;
  readonly target?: Target;
  readonly pick?: BuildOptions["pick"];
  /** What the kernels must be. */
  readonly kernels?: RegExp;
  /** The part of a result's largest number that it may be off by: results of several products in a row are rounded between. */
  readonly rtol?: number;
}
/** Compares all entries with the reference, at each of some shapes. */
async function check(
  device: GPUDevice,
  source: string,
  shapes: readonly Readonly<Record<string, readonly number[]>>[],
  { seed = 1, target = matricesFor(device), pick, kernels = /contraction\.matrix/, rtol }: Wanted = {},
): Promise<void> {
  const c = compileText(source, { targets: [target], ...(pick ? { pick } : {}) });
  expect(c.emit("kernels", target.name)).toMatch(kernels);
  open?.dispose();
  open = await GraphNet.load(c, device, {}, { target: target.name });
  const random = randomFrom(seed);
  for (const of of shapes) {
    const inputs = Object.fromEntries(
      Object.entries(of).map(([name, shape]) => [name, drawHalf(shape, random)]),
    );
    for (const { name: entry, graph } of c.model.entries) {
      const { results, slack } = expectedOf(graph, inputs, {});
      const got = await open.run(entry, inputs);
      for (const [name, want] of Object.entries(results)) {
        const problem = disagreement(`${entry} ${name}`, got[name], want, slack[name], rtol);
        if (problem) throw new Error(`${problem}\n${JSON.stringify(of)}\n${source}`);
      }
    }
  }
}

describe("products", () => {
  const OPEN = "model M() { fn f(x: f32[M, K], y: f32[K, N]) -> f32[M, N] { x @ y } }";
  const sizes = [1, 5, 16, 17, 33, 100, 129];

  it("of all odd sizes, where sizes are open", async (context) => {
    const { device } = await halfDevice(context);
    const shapes = sizes.map((m, i) => {
      const [k, n] = [sizes[(i * 3 + 2) % sizes.length], sizes[(i * 2 + 3) % sizes.length]];
      return { x: [m, k], y: [k, n] };
    });
    await check(device, OPEN, shapes);
  });

  // The two small tiles hold totals beside their matrices; a sum of 2048 terms and more goes into them in blocks.
  it("with long sums, in parts and whole", async (context) => {
    const { device } = await halfDevice(context);
    const shapes = [2047, 2048, 2049, 5000].map((k) => ({ x: [17, k], y: [k, 33] }));
    for (const split of [1, 64])
      await check(device, OPEN, shapes, {
        pick: byMatrices((c) => c.split === split),
        kernels: /total|contraction/,
      });
  });

  const CLOSED =
    "model M() { fn f(x: f32[3, M, 72], y: f32[3, 72, 136], b: f32[136]) -> f32[3, M, 136] { relu(x @ y + b) } }";
  const closed = [1, 65, 130].map((m) => ({ x: [3, m, 72], y: [3, 72, 136], b: [136] }));
  it.for(["64x64", "64x64 ahead", "64x32", "32x32", "32x32 ahead", "128x64", "128x128"])(
    "by tiles of %s, with a batch",
    async (tile, context) => {
      const { device } = await halfDevice(context);
      const [rows, cols] = tile.split("x").map(Number.parseFloat);
      const ahead = tile.endsWith("ahead") ? 1 : 0;
      const pick = byMatrices((c) => c.rows === rows && c.cols === cols && c.ahead === ahead);
      const kernels = new RegExp(`contraction\\.matrix ${rows}x${cols}x`);
      await check(device, CLOSED, closed, { pick, kernels });
    },
  );
});

it("calls with few tiles have smaller ones, by a kernel of their own", async (context) => {
  const { device } = await halfDevice(context);
  const few = { below: 5, tile: { rows: 32, cols: 32, depth: 32, high: 4, wide: 4, slices: 2 } };
  const source = `model M() { fn f(x: f32[M, 80], y: f32[80, 64]) -> f32[M, 64] { relu(x @ y) } }`;
  const shapes = [1, 33, 64, 65, 200].map((m) => ({ x: [m, 80], y: [80, 64] }));
  const kernels = /matrix 64x64x[\s\S]*matrix 32x32x/;
  await check(device, source, shapes, { target: matricesFor(device, { few }), kernels });
});

it("sums of products share their matrices", async (context) => {
  const { device } = await halfDevice(context);
  const source = `model M() { fn f(x: f32[M, 40], y: f32[40, 48], v: f32[M, K], w: f32[K, 48]) -> f32[M, 48] { tanh(x @ y + v @ w) } }`;
  const of = (m: number, k: number) => ({ x: [m, 40], y: [40, 48], v: [m, k], w: [k, 48] });
  await check(device, source, [of(70, 33), of(3, 2100)]);
});

describe("convolutions", () => {
  const conv = (options: string, after = "", size = "H, W", w = "3, 3"): string => `model M() {
  fn f(x: f32[N, 20, ${size}], w: f32[24, 20, ${w}], b: f32[24]) {
    conv2d(x, w, ${options}) + reshape(b, [24, 1, 1])${after}
  }
}`;
  const sizes = (w: number, ...images: readonly (readonly [number, number, number])[]) =>
    images.map(([n, h, v]) => ({ x: [n, 20, h, v], w: [24, 20, w, w], b: [24] }));
  const cases: readonly (readonly [string, string, ReturnType<typeof sizes>, RegExp?])[] = [
    ["3x3 with padding", conv("padding = 1"), sizes(3, [1, 7, 5], [2, 16, 16])],
    ["3x3 of every second place", conv("stride = 2, padding = 1"), sizes(3, [2, 9, 11], [1, 16, 8])],
    ["1x1", conv("stride = 1", "", "H, W", "1, 1"), sizes(1, [2, 5, 7], [1, 8, 16])],
    [
      "3x3 with what follows, a pool of four places last",
      conv("padding = 1", " |> relu |> max_pool2d(2)", "12, 20"),
      sizes(3, [1, 12, 20], [3, 12, 20]),
      /relu_max_pool2d \(contraction\.matrix/,
    ],
    [
      "a pool of two places",
      conv("padding = 1", " |> max_pool2d([1, 2])", "6, 10"),
      sizes(3, [2, 6, 10]),
      /max_pool2d \(contraction\.matrix/,
    ],
    [
      "a pool of a whole matrix",
      conv("padding = 1", " |> avg_pool2d(4)", "12, 20"),
      sizes(3, [2, 12, 20]),
      /\(contraction\.matrix/,
    ],
    [
      "a pool whose places do not share a matrix is for others",
      conv("padding = 1", " |> max_pool2d(3)", "12, 18"),
      sizes(3, [2, 12, 18]),
      /max_pool2d \(contraction\.tile/,
    ],
  ];
  it.for(cases)("%s", async ([, source, shapes, kernels], context) => {
    const { device } = await halfDevice(context);
    await check(device, source, shapes, { kernels });
  });

  it("and their gradients, to f16's digits", async (context) => {
    const { device } = await halfDevice(context);
    const source = `model M() {
  private fn size(x: f32[N, 16, 8, 8], w: f32[32, 16, 3, 3]) -> f32 { sum(conv2d(x, w, padding = 1) ** 2) }
  fn of_x(x: f32[N, 16, 8, 8], w: f32[32, 16, 3, 3]) -> f32[N, 16, 8, 8] { grad(size, wrt = x)(x, w) }
  fn of_w(x: f32[N, 16, 8, 8], w: f32[32, 16, 3, 3]) -> f32[32, 16, 3, 3] { grad(size, wrt = w)(x, w) }
}`;
    const shapes = [1, 3].map((n) => ({ x: [n, 16, 8, 8], w: [32, 16, 3, 3] }));
    await check(device, source, shapes, { rtol: 2e-3 });
  });
});

// Of the families' other parts: how factors are read, and where a call is cut, is drawn.
it("random products and convolutions agree with the reference", async (context) => {
  const { device } = await halfDevice(context);
  const n = await untilTimeIsUp(budget(20), firstSeed(7000), 40, async (seed) => {
    const random = randomFrom(seed);
    const pick = <T>(of: readonly T[]): T => of[Math.floor(random() * of.length)];
    const from = (least: number, most: number): number => least + Math.floor(random() * (most - least + 1));
    const { source, shapes } = random() < 0.5 ? drawProduct(pick, from) : drawConvolution(pick, from);
    const way = from(0, 9);
    const choose: BuildOptions["pick"] = (offers) => {
      const own = offers.flatMap((o, i) => (o.family === "contraction.matrix" ? [i] : []));
      return own.length === 0 ? 0 : own[way % own.length];
    };
    await check(device, source, [shapes], { seed, pick: choose });
  });
  expect(n).toBeGreaterThan(0);
});

type Draw = (least: number, most: number) => number;
type Pick = <T>(of: readonly T[]) => T;
/** A size that is known, or open: 1 and beyond one tile, of all residues. */
const drawSize = (from: Draw, pick: Pick): number => pick([from(16, 40), from(41, 140), 16 * from(1, 5)]);

function drawProduct(pick: Pick, from: Draw) {
  const [m, k, n] = [0, 1, 2].map(() => drawSize(from, pick));
  const batch = pick([[], [from(1, 3)]]);
  const named = ["M", "K", "N"].map((name, i) => (pick([true, false]) ? name : String([m, k, n][i])));
  const [M, K, N] = named;
  const lead = batch.map((b) => `${b}, `).join("");
  const flip = pick([
    [false, false],
    [true, false],
    [false, true],
    [true, true],
  ] as const);
  const typeOf = (rows: string, cols: string, flipped: boolean): string =>
    `f32[${lead}${flipped ? `${cols}, ${rows}` : `${rows}, ${cols}`}]`;
  const axes = batch.length ? "[0, 2, 1]" : "[1, 0]";
  const operand = (name: string, flipped: boolean): string =>
    flipped ? `transpose(${name}, ${axes})` : name;
  const source = `model M() {
  fn f(x: ${typeOf(M, K, flip[0])}, y: ${typeOf(K, N, flip[1])}) -> f32[${lead}${M}, ${N}] {
    ${pick(["", "relu", "tanh"])}(${operand("x", flip[0])} @ ${operand("y", flip[1])})
  }
}`;
  const shape = (rows: number, cols: number, flipped: boolean): number[] => [
    ...batch,
    ...(flipped ? [cols, rows] : [rows, cols]),
  ];
  return { source, shapes: { x: shape(m, k, flip[0]), y: shape(k, n, flip[1]) } };
}

function drawConvolution(pick: Pick, from: Draw) {
  const [kh, kw] = [from(1, 4), from(1, 4)];
  const stride = [pick([1, 1, 2]), pick([1, 1, 2])];
  const padding = [from(0, Math.floor(kh / 2)), from(0, Math.floor(kw / 2))];
  const [channels, filters] = [pick([16, 20, 32, 3 * from(6, 9)]), pick([16, 20, 33, 64])];
  const [h, w] = [from(kh + 3, 14), from(kw + 3, 20)];
  const count = from(1, 3);
  const size = pick([
    [String(h), String(w)],
    ["H", "W"],
  ]);
  const after = size[0] === "H" ? "" : pick(["", " |> max_pool2d(2)", " |> relu |> avg_pool2d(2)"]);
  const source = `model M() {
  fn f(x: f32[N, ${channels}, ${size.join()}], w: f32[${filters}, ${channels}, ${kh}, ${kw}]) {
    conv2d(x, w, stride = [${stride}], padding = [${padding}])${after}
  }
}`;
  return { source, shapes: { x: [count, channels, h, w], w: [filters, channels, kh, kw] } };
}

interface Whole {
  readonly file: string;
  readonly model: string;
  readonly set: Readonly<Record<string, number>>;
  readonly sizes: Readonly<Record<string, number>>;
}
const wholes: readonly Whole[] = [
  { file: "convnet", model: "ConvNetBN", set: { width: 16 }, sizes: { N: 3 } },
  // Without a memory that is faster than others, attention is products, too.
  { file: "transformer", model: "GPT", set: { depth: 1, context: 32 }, sizes: { B: 2, T: 17 } },
];
// The bound is that of f16 (test/gpu/precision.test.ts): activations are stored so.
it.for(wholes)(
  "$model computes what it does in f32, to f16's digits",
  async ({ file, model, set, sizes }, context) => {
    const { device } = await halfDevice(context);
    const matrices = matricesFor(device, { fastShared: false });
    const { artefact, emit } = compile(projectFile(`dsl-examples/${file}.mdl`), `${file}.mdl`, {
      model,
      set,
      entries: ["logits"],
      verify: true,
      targets: [matrices, own],
    });
    expect(emit("kernels", matrices.name).match(/^kernel .*contraction\.matrix/gm)?.length).toBeGreaterThan(
      1,
    );
    const entry = artefact.programs[0].entries[0];
    const inputs = drawInputs(entry, sizesOf(entry, sizes), 1);
    const [half, plain] = await Promise.all(
      [matrices.name, own.name].map(async (target) => {
        const net = await load(artefact, { device, target, seed: 3 });
        const call = net.entries["logits"] as (x: object) => Promise<Record<string, Tensor>>;
        const { data } = Object.values(await call(inputs))[0];
        net.dispose();
        return data as Float32Array;
      }),
    );
    const largest = plain.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
    const error = half.reduce((m, x, i) => Math.max(m, Math.abs(x - plain[i])), 0) / largest;
    expect(error).toBeGreaterThan(0);
    expect(error).toBeLessThan(8e-3);
  },
);

it("a training step by them trains as one in f32 does", async (context) => {
  const { device } = await halfDevice(context);
  const source = `
import { Conv2d, Linear } from "std/nn"
model Small() {
  conv = Conv2d(1, 16, 3, padding = 1)
  next = Conv2d(16, 16, 3, padding = 1)
  head = Linear(16 * 4 * 4, 4)
  fn loss(x: f32[N, 1, 8, 8], y: i32[N]) -> f32 {
    h = x |> conv |> relu |> next |> max_pool2d(2) |> flatten |> head
    cross_entropy(h, y)
  }
}
train fit for Small { minimize loss; with adamw(lr = 1e-2) }`;
  const matrices = matricesFor(device);
  const made = compileText(source, { targets: [matrices, own], entries: ["fit_step"] });
  // Forward, and both gradients of a convolution, which stand beside each other.
  expect(
    made.emit("kernels", matrices.name).match(/^kernel .*contraction\.matrix/gm)?.length,
  ).toBeGreaterThanOrEqual(2);
  const inputs = {
    x: { data: Float32Array.from({ length: 32 * 64 }, (_, i) => Math.sin(i * i)), shape: [32, 1, 8, 8] },
    y: Int32Array.from({ length: 32 }, (_, i) => i % 4),
  };
  const run = async (target: string): Promise<number[]> => {
    const net = await load(made.artefact, { device, target, seed: 3 });
    const step = net.entries["fit_step"] as (x: object) => Promise<{ loss: Promise<number> }>;
    const losses: number[] = [];
    for (let i = 0; i < 8; i++) losses.push(await (await step(inputs)).loss);
    net.dispose();
    return losses;
  };
  const plain = await run(own.name);
  const half = await run(matrices.name);
  expect(plain[7]).toBeLessThan(0.9 * plain[0]);
  expect(half).not.toEqual(plain);
  expect(Math.max(...half.map((loss, i) => Math.abs(loss - plain[i])))).toBeLessThan(2e-2);
});
