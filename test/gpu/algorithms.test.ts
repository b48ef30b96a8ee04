// Operators that are no function of one element, on the adapter: every way a family offers to compute them, at sizes at which
// it is more than one workgroup or part, against the reference evaluator; and figures of known sums.
import { afterEach, describe, expect, it } from "vitest";
import { dim, mul as mulDims, sym } from "../../compiler/core/dims/dim.ts";
import { compile } from "../../compiler/core/index.ts";
import { createBuilder, finishGraph } from "../../compiler/core/ir/build.ts";
import type { Attrs, Dense, DType, Graph, OpDef, Value } from "../../compiler/core/ir/types.ts";
import { broadcastTo, cast, reshape, sum } from "../../compiler/core/ops/axes.ts";
import { convolutions } from "../../compiler/core/ops/conv.ts";
import { dot } from "../../compiler/core/ops/dot.ts";
import { add, div, gt, mul, relu, roundOp, sub, where } from "../../compiler/core/ops/elementwise.ts";
import { applyOp, opNamed } from "../../compiler/core/ops/index.ts";
import { gatherGradOp, takeGradOp } from "../../compiler/core/ops/lookup.ts";
import { transpose } from "../../compiler/core/ops/movement.ts";
import { softmax } from "../../compiler/core/ops/nn.ts";
import { pooling } from "../../compiler/core/ops/pool.ts";
import { cumprodOp, cumsumOp } from "../../compiler/core/ops/running.ts";
import { argsort, putOp, scatterOp, scatterReduceOp, sortOp, topKOp } from "../../compiler/core/ops/sort.ts";
import { input as inputOp } from "../../compiler/core/ops/source.ts";
import { build } from "../../compiler/core/pipeline.ts";
import { hasHalf, targets } from "../support/adapter.ts";
import { testDevice } from "../support/device.ts";
import { buildGraphs, disagreement, expectedOf, GraphNet } from "../support/graphs.ts";
import { drawDense, randomFrom } from "../support/opcheck.ts";

let open: GraphNet | undefined;
afterEach(() => open?.dispose());

interface Case {
  readonly name: string;
  /** Types of the operands; sizes may be names. */
  readonly inputs: readonly (readonly [DType, readonly (number | string)[]])[];
  make(b: ReturnType<typeof createBuilder>, inputs: readonly Value[]): Value;
  /** Sizes to call it at, and the range of whole numbers. */
  readonly at: readonly Readonly<Record<string, number>>[];
  readonly range?: readonly [number, number];
}
const graphOf = (c: Case, k: number): Graph => {
  const b = createBuilder();
  const inputs = c.inputs.map(([dtype, shape], i) =>
    b.make(inputOp, [], {
      name: `x${i}`,
      dtype,
      shape: shape.map((n) => (typeof n === "number" ? dim(n) : sym(n))),
    }),
  );
  const value = c.make(b, inputs);
  const symbols = [...new Set(c.inputs.flatMap(([, s]) => s.filter((n) => typeof n === "string")))];
  return finishGraph({
    name: `case${k}`,
    inputs: inputs.map((v) => v.node),
    results: [{ name: "y", value }],
    symbols: symbols as string[],
  });
};
const dataOf = (c: Case, sizes: Readonly<Record<string, number>>, seed: number): Record<string, Dense> => {
  const random = randomFrom(seed);
  return Object.fromEntries(
    c.inputs.map(([dtype, shape], i) => [
      `x${i}`,
      drawDense(
        dtype,
        shape.map((n) => (typeof n === "number" ? n : sizes[n])),
        random,
        dtype === "i32" || dtype === "u32" ? c.range : undefined,
      ),
    ]),
  );
};
const op = (of: OpDef, attrs: Attrs) => (b: ReturnType<typeof createBuilder>, x: readonly Value[]) =>
  b.make(of, x, attrs);

const named = (list: readonly OpDef[], name: string): OpDef => list.find((o) => o.name === name) as OpDef;

const running: readonly Case[] = [
  {
    name: "the last axis",
    inputs: [["f32", ["R", "K"]]],
    make: op(cumsumOp, { axis: 1, reverse: false }),
    at: [
      { R: 3, K: 2600 },
      { R: 1, K: 1 },
      { R: 70, K: 65 },
      { R: 2, K: 0 },
    ],
  },
  {
    name: "from the end, of what is computed on the way",
    inputs: [["f32", [2, 1030]]],
    make: (b, [x]) => b.make(cumsumOp, [mul(b, x, 0.5)], { axis: 1, reverse: true }),
    at: [{}],
  },
  {
    name: "an axis within",
    inputs: [["f32", [2, "K", 6]]],
    make: op(cumsumOp, { axis: 1, reverse: false }),
    at: [{ K: 1300 }, { K: 3 }],
  },
  {
    name: "an axis within, from the end",
    inputs: [["i32", ["K", 8]]],
    make: op(cumsumOp, { axis: 0, reverse: true }),
    at: [{ K: 2100 }],
    range: [-1000, 1000],
  },
  {
    name: "products",
    inputs: [["f32", [3, "K"]]],
    make: (b, [x]) => b.make(cumprodOp, [add(b, mul(b, x, 0.01), 1)], { axis: 1, reverse: false }),
    at: [{ K: 2500 }, { K: 40 }],
  },
  {
    name: "the largest so far, and where it was, in a few lines and in many",
    inputs: [["f32", ["R", "K"]]],
    make: (b, [x]) => {
      const [y, index] = applyOp(b, opNamed("cummax") as OpDef, { x, axis: 1 });
      return add(b, y, cast(b, index, "f32"));
    },
    at: [
      { R: 2, K: 2100 },
      { R: 300, K: 40 },
    ],
  },
  {
    name: "the smallest of whole numbers so far",
    inputs: [["i32", ["K", 5]]],
    make: (b, [x]) => applyOp(b, opNamed("cummin") as OpDef, { x, axis: 0 })[0],
    at: [{ K: 1500 }],
    range: [-100000, 100000],
  },
  {
    name: "half precision",
    inputs: [["f32", [3, 700]]],
    make: (b, [x]) => cast(b, b.make(cumsumOp, [cast(b, x, "f16")], { axis: 1, reverse: false }), "f32"),
    at: [{}],
  },
];

const scattered: readonly Case[] = [
  {
    name: "rows of a table",
    inputs: [
      ["i32", ["N", 3]],
      ["f32", ["N", 3, 12]],
    ],
    make: op(takeGradOp, { axis: 0, extent: 700 }),
    at: [{ N: 150 }, { N: 0 }, { N: 1 }],
    // Some are outside.
    range: [-3, 705],
  },
  {
    name: "one row for nearly all, in an axis within, not by fours",
    inputs: [
      ["i32", [2000]],
      ["f32", [2, 2000, 7]],
    ],
    make: op(takeGradOp, { axis: 1, extent: 70_000 }),
    at: [{}],
    range: [68_999, 69_000],
  },
  {
    name: "as many rows as the call has",
    inputs: [
      ["i32", [3000]],
      ["f32", [3000, 16]],
      ["f32", ["E", 16]],
    ],
    make: (b, [index, g, like]) =>
      b.make(takeGradOp, [index, mul(b, g, 2)], { axis: 0, extent: like.type.shape[0] }),
    at: [{ E: 300 }],
    range: [-1, 300],
  },
  {
    name: "elements of lines",
    inputs: [
      ["i32", [40, "K"]],
      ["f32", [40, "K"]],
    ],
    make: op(gatherGradOp, { axis: 1, extent: 300 }),
    at: [{ K: 90 }],
    range: [-2, 302],
  },
  {
    name: "elements of lines, as many as the call has",
    inputs: [
      ["i32", ["R", "K"]],
      ["f32", ["R", "K"]],
      ["f32", ["R", "E"]],
    ],
    make: (b, [index, g, like]) => b.make(gatherGradOp, [index, g], { axis: 1, extent: like.type.shape[1] }),
    at: [
      { R: 3, K: 500, E: 300 },
      { R: 2, K: 3, E: 1 },
    ],
    range: [-1, 300],
  },
  {
    name: "elements along an axis within, in half precision",
    inputs: [
      ["i32", [5, 400, 6]],
      ["f32", [5, 400, 6]],
    ],
    make: (b, [index, g]) =>
      cast(b, b.make(gatherGradOp, [index, cast(b, g, "f16")], { axis: 1, extent: 100 }), "f32"),
    at: [{}],
    range: [0, 99],
  },
  ...(["prod", "amin"] as const).map(
    (reduce): Case => ({
      name: `${reduce} of the elements sent to a place, and of its own`,
      inputs: [
        ["f32", [60, 300]],
        ["i32", [60, "K"]],
        ["f32", [60, "K"]],
      ],
      make: (b, [x, index, source]) => applyOp(b, scatterReduceOp, { x, index, source, reduce })[0],
      at: [{ K: 700 }, { K: 0 }],
      range: [-2, 302],
    }),
  ),
];

const sorted: readonly Case[] = [
  {
    name: "one long line, and what comes of its order",
    inputs: [["f32", ["N"]]],
    make: (b, [x]) => applyOp(b, sortOp, { x })[0],
    at: [{ N: 5000 }, { N: 1 }, { N: 0 }, { N: 65 }],
  },
  {
    name: "many lines along an axis within, falling, with equal ones and NaN",
    inputs: [["f32", [3, "K", 30]]],
    make: (b, [x]) => {
      const few = b.make(roundOp, [mul(b, x, 3)]);
      return argsort(b, where(b, gt(b, few, 2), div(b, sub(b, few, few), 0), few), 1, true);
    },
    at: [{ K: 200 }, { K: 70 }],
  },
  {
    name: "whole numbers below 0, the largest few",
    inputs: [["i32", [5, 300]]],
    make: (b, [x]) => applyOp(b, topKOp, { x, k: 70 })[0],
    at: [{}],
    range: [-1000, 1000],
  },
  {
    name: "the way back from the largest few",
    inputs: [
      ["f32", ["B", 400]],
      ["f32", ["B", 50]],
    ],
    make: (b, [x, g]) => {
      const [, index] = applyOp(b, topKOp, { x, k: 50 });
      return b.make(putOp, [index, mul(b, g, 2)], { axis: 1, extent: 400 });
    },
    at: [{ B: 7 }, { B: 0 }],
  },
  {
    name: "a scatter, of which the last stays",
    inputs: [
      ["f32", [6, 300]],
      ["i32", [6, "K"]],
      ["f32", [6, "K"]],
    ],
    make: (b, [x, index, source]) => applyOp(b, scatterOp, { x, index, source })[0],
    at: [{ K: 400 }, { K: 0 }, { K: 1 }],
    range: [-2, 302],
  },
];

const conv = (
  b: ReturnType<typeof createBuilder>,
  x: Value,
  w: Value,
  groups: number,
  stride: readonly [number, number],
  padding: readonly [number, number],
  dilation: readonly [number, number] = [1, 1],
): Value =>
  b.make(named(convolutions, "conv2d"), [x, w], { stride, padding, padding_high: padding, dilation, groups });

const products: readonly Case[] = [
  {
    name: "a product over a long k, with what follows it",
    inputs: [
      ["f32", ["N", 256, 12]],
      ["f32", ["N", 256, 7]],
      ["f32", [7]],
    ],
    make: (b, [x, y, z]) => {
      const rows = mulDims(x.type.shape[0], 256);
      const product = dot(
        b,
        transpose(b, reshape(b, x, [rows, dim(12)]), [1, 0]),
        reshape(b, y, [rows, dim(7)]),
      );
      return relu(b, add(b, product, broadcastTo(b, z, product.type.shape)));
    },
    at: [{ N: 23 }, { N: 1 }, { N: 0 }],
  },
  {
    // In parts where the batch is small, whole where it is large.
    name: "a convolution with a pool behind it, for few images or many",
    inputs: [
      ["f32", ["N", 48, 4, 4]],
      ["f32", [4, 48, 3, 3]],
      ["f32", [4, 1, 1]],
    ],
    make: (b, [x, w, z]) => {
      const image = conv(b, x, w, 1, [1, 1], [1, 1]);
      const pool = { kernel: [2, 2], stride: [2, 2], padding: [0, 0], dilation: [1, 1], ceil_mode: false };
      return b.make(
        named(pooling, "max_pool2d"),
        [relu(b, add(b, image, broadcastTo(b, z, image.type.shape)))],
        pool,
      );
    },
    at: [{ N: 3 }, { N: 1 }, { N: 0 }, { N: 517 }],
  },
  {
    name: "a long k of an odd length, few rows and columns",
    inputs: [
      ["f32", [4001, 12]],
      ["f32", [4001, 20]],
    ],
    make: (b, [x, y]) => dot(b, transpose(b, x, [1, 0]), y),
    at: [{}],
  },
  {
    name: "a filter's gradient from lines of an odd length",
    inputs: [
      ["f32", ["N", 8, 9, 7]],
      ["f32", ["N", 12, 9, 7]],
    ],
    make: (b, [x, g]) =>
      b.make(named(convolutions, "conv2d_weight_grad"), [x, g], {
        stride: [1, 1],
        padding: [1, 1],
        padding_high: [1, 1],
        dilation: [1, 1],
        groups: 1,
        kernel: [3, 3],
      }),
    at: [{ N: 5 }, { N: 1 }, { N: 0 }],
  },
  {
    name: "two products added up",
    inputs: [
      ["f32", ["N", 300]],
      ["f32", [300, 20]],
      ["f32", ["N", 510]],
      ["f32", [510, 20]],
    ],
    make: (b, [x, v, y, w]) => add(b, dot(b, x, v), dot(b, y, w)),
    at: [{ N: 3 }, { N: 0 }, { N: 70 }],
  },
];

const strips: readonly Case[] = [
  {
    name: "a filter for each channel, channels innermost, twice",
    inputs: [
      ["f32", ["N", 3, "H", "W"]],
      ["f32", [8, 3, 1, 1]],
      ["f32", [8, 1, 3, 3]],
      ["f32", [8, 1, 1]],
      ["f32", [8, 1, 2, 3]],
    ],
    make: (b, [x, v, w, z, u]) => {
      const first = conv(b, conv(b, x, v, 1, [1, 1], [0, 0]), w, 8, [1, 1], [1, 1]);
      const second = relu(b, add(b, first, broadcastTo(b, z, first.type.shape)));
      return conv(b, second, u, 8, [2, 1], [0, 2], [1, 2]);
    },
    at: [
      { N: 2, H: 9, W: 7 },
      { N: 1, H: 2, W: 1 },
      { N: 0, H: 4, W: 8 },
      { N: 1, H: 4, W: 8 },
    ],
  },
  {
    name: "rows innermost, and several filters for each channel",
    inputs: [
      ["f32", ["N", 4, "H", 12]],
      ["f32", [8, 1, 3, 3]],
    ],
    make: (b, [x, w]) => conv(b, x, w, 4, [2, 1], [1, 1]),
    at: [{ N: 3, H: 11 }],
  },
  {
    name: "more lines than a thread walks down, and windows of which some are outside",
    inputs: [
      ["f32", ["N", 3, "H", "W"]],
      ["f32", [8, 3, 1, 1]],
      ["f32", [8, 1, 5, 4]],
    ],
    make: (b, [x, v, w]) => conv(b, conv(b, x, v, 1, [1, 1], [0, 0]), w, 8, [1, 1], [2, 1], [1, 2]),
    at: [
      { N: 2, H: 37, W: 9 },
      { N: 1, H: 16, W: 6 },
      { N: 3, H: 1, W: 5 },
    ],
  },
  {
    name: "windows without padding, two lines apart, of every second line",
    inputs: [
      ["f32", ["N", 3, "H", "W"]],
      ["f32", [8, 3, 1, 1]],
      ["f32", [8, 1, 3, 3]],
    ],
    make: (b, [x, v, w]) => conv(b, conv(b, x, v, 1, [1, 1], [0, 0]), w, 8, [2, 1], [0, 0], [2, 1]),
    at: [
      { N: 2, H: 41, W: 6 },
      { N: 1, H: 5, W: 3 },
    ],
  },
  {
    name: "images of a known size, which the first and last windows leave",
    inputs: [
      ["f32", ["N", 3, 12, 14]],
      ["f32", [8, 3, 1, 1]],
      ["f32", [8, 1, 4, 5]],
    ],
    make: (b, [x, v, w]) => conv(b, conv(b, x, v, 1, [1, 1], [0, 0]), w, 8, [2, 2], [1, 0], [2, 2]),
    at: [{ N: 3 }],
  },
  {
    name: "the gradient of an image, from below",
    inputs: [
      ["f32", ["N", 3, 35, "W"]],
      ["f32", [8, 3, 1, 1]],
      ["f32", [8, 1, 3, 3]],
    ],
    make: (b, [x, v, w]) =>
      b.make(named(convolutions, "conv2d_input_grad"), [conv(b, x, v, 1, [1, 1], [0, 0]), w], {
        stride: [1, 1],
        dilation: [1, 1],
        groups: 8,
        origin: [1, 1],
        grid: [dim(35), x.type.shape[3]],
      }),
    at: [
      { N: 2, W: 9 },
      { N: 1, W: 1 },
    ],
  },
  {
    name: "filters of 42 elements, a line of windows at a time",
    inputs: [
      ["f32", ["N", 3, "H", "W"]],
      ["f32", [8, 3, 1, 1]],
      ["f32", [8, 1, 7, 6]],
      ["f32", [8, 1, 1]],
    ],
    make: (b, [x, v, w, z]) => {
      const own = conv(b, conv(b, x, v, 1, [1, 1], [0, 0]), w, 8, [1, 2], [3, 2]);
      return relu(b, add(b, own, broadcastTo(b, z, own.type.shape)));
    },
    at: [
      { N: 2, H: 9, W: 11 },
      { N: 1, H: 1, W: 2 },
      { N: 0, H: 4, W: 8 },
    ],
  },
];

const vectors: readonly Case[] = [
  {
    name: "a row by a matrix whose columns lie side by side",
    inputs: [
      ["f32", [1, 1300]],
      ["f32", [1300, 136]],
      ["f32", [136]],
    ],
    make: (b, [x, m, z]) => {
      const product = dot(b, x, m);
      return relu(b, add(b, product, broadcastTo(b, z, product.type.shape)));
    },
    at: [{}],
  },
  {
    name: "three rows by a matrix whose rows lie side by side",
    inputs: [
      ["f32", [3, 516]],
      ["f32", [70, 516]],
    ],
    make: (b, [x, m]) => dot(b, x, transpose(b, m, [1, 0])),
    at: [{}],
  },
  {
    name: "one query of each head by all keys",
    inputs: [
      ["f32", ["B", 1, 64]],
      ["f32", ["B", "T", 64]],
    ],
    make: (b, [q, k]) => dot(b, q, transpose(b, k, [0, 2, 1])),
    at: [
      { B: 3, T: 33 },
      { B: 1, T: 1 },
      { B: 2, T: 0 },
    ],
  },
];

/** What is one kernel whichever way, at a size that is more than one tile of some. */
const plain: readonly Case[] = [
  {
    name: "a softmax",
    inputs: [["f32", ["N", 70]]],
    make: (b, [x]) => softmax(b, x, 1),
    at: [{ N: 9 }],
  },
  {
    name: "sums of columns",
    inputs: [["f32", [90, 21]]],
    make: (b, [x]) => sum(b, x, [0]),
    at: [{}],
  },
  {
    name: "a product in a batch",
    inputs: [
      ["f32", [2, "N", 20]],
      ["f32", [2, 20, 40]],
    ],
    make: (b, [x, y]) => relu(b, dot(b, x, y)),
    at: [{ N: 70 }],
  },
];

/** What the first target gave. */
const sums = new Map<string, string>();

/** An adapter without half precision runs the others. */
const isHalf = (graph: Graph): boolean => graph.nodes.some((n) => n.outs.some((v) => v.type.dtype === "f16"));

async function agree(all: readonly Case[], target: (typeof targets)[number], device: GPUDevice, way: number) {
  const cases = all.filter((c) => hasHalf || !isHalf(graphOf(c, 0)));
  const graphs = cases.map(graphOf);
  const used = new Set<string>();
  const built = buildGraphs(graphs, [target], undefined, (offers) => {
    const n = Math.min(way, offers.length - 1);
    used.add(offers[0].family.name);
    return offers[n].family.name === offers[0].family.name ? n : 0;
  });
  // One of the ways in short dispatches: cut, they compute the same.
  const cut = way === 1 ? { maxSubmitMs: 0.02 } : {};
  const net = await GraphNet.load(built, device, {}, { target: target.name, ...cut });
  open = net;
  const wrong: string[] = [];
  for (const [k, c] of cases.entries())
    for (const sizes of c.at) {
      const data = dataOf(c, sizes, 5 + k);
      const want = expectedOf(graphs[k], data, { sizes });
      const got = await net.run(`case${k}`, data);
      const message = disagreement(c.name, got.y, want.results.y, want.slack.y);
      if (message) wrong.push(`${JSON.stringify(sizes)} ${message}`);
      // Terms are added in one order, whatever the device.
      const key = `${c.name} ${JSON.stringify(sizes)} ${way}`;
      const bits = String(got.y.data);
      if ((all === scattered || all === sorted) && (sums.get(key) ?? bits) !== bits)
        wrong.push(`${key}: other bits`);
      sums.set(key, bits);
    }
  net.dispose();
  open = undefined;
  expect(wrong).toEqual([]);
  return used;
}

const inLoops = compile(
  `model M {
  private fn looked(w: f32[2000, 16], x: f32[B, T, 16], ids: i32[B, T]) -> f32 {
    r = scan (xt, it) over (x, ids) axis 1 with s = zeros(B, 16) {
      s = tanh(s + take(w, it) * xt + cumsum(xt * 0.1, axis = 0))
    }
    mean(r ** 2)
  }
  fn slope(w: f32[2000, 16], x: f32[B, T, 16], ids: i32[B, T]) -> f32[2000, 16] {
    grad(looked, wrt = w)(w, x, ids)
  }
  fn slope_x(w: f32[2000, 16], x: f32[B, T, 16], ids: i32[B, T]) -> f32[B, T, 16] {
    grad(looked, wrt = x)(w, x, ids)
  }
  private fn flat(w: f32[2000, 16], x: f32[B, T, 16], ids: i32[B, T]) -> f32 {
    sum(tanh(take(w, ids) * x) ** 2)
  }
  private fn slope_of(w: f32[2000, 16], x: f32[B, T, 16], ids: i32[B, T]) -> f32[2000, 16] {
    grad(flat, wrt = w)(w, x, ids)
  }
  private fn size(w: f32[2000, 16], x: f32[B, T, 16], ids: i32[B, T]) -> f32 {
    sum(square(slope_of(w, x, ids)))
  }
  fn second(w: f32[2000, 16], x: f32[B, T, 16], ids: i32[B, T]) -> f32[2000, 16] {
    grad(size, wrt = w)(w, x, ids)
  }
}`,
  "loops.mdl",
  { targets: ["baseline"] },
);

describe.each(targets.map((t) => [t.name, t] as const))("on %s", (_name, target) => {
  for (const [name, cases] of [
    ["running sum", running],
    ["scatter", scattered],
    ["sort", sorted],
    ["contraction", products],
    ["matrix-vector", vectors],
    ["strip", strips],
  ] as const)
    it(`${name}: every way agrees with the reference`, async (context) => {
      const { device } = await testDevice(context);
      for (const way of [0, 1]) expect([...(await agree(cases, target, device, way))].join()).toContain(name);
    });
  it("rows, maps and tiles: every way agrees with the reference", async (context) => {
    const { device } = await testDevice(context);
    for (const way of [1, 3]) await agree(plain, target, device, way);
  });
  it("lookups and running sums in a loop, and gradients of gradients, agree with the reference", async (context) => {
    const { device } = await testDevice(context);
    const { artefact } = build(inLoops.model, { targets: [target], verify: true, place: () => "" });
    open = await GraphNet.load({ artefact }, device, {}, { target: target.name });
    const sizes = { B: 50, T: 3 };
    const random = randomFrom(3);
    const data = {
      w: drawDense("f32", [2000, 16], random),
      x: drawDense("f32", [sizes.B, sizes.T, 16], random),
      ids: drawDense("i32", [sizes.B, sizes.T], random, [0, 150]),
    };
    const wrong: (string | undefined)[] = [];
    for (const { name, graph } of inLoops.model.entries) {
      const want = expectedOf(graph, data, { sizes });
      const got = await open.run(name, data);
      wrong.push(disagreement(name, got[name], want.results[name], want.slack[name]));
    }
    expect(wrong.filter((m) => m !== undefined)).toEqual([]);
  });
});
