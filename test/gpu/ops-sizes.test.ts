// Operators at sizes that fit no tile: odd extents, rank 0 and rank 6, axes of one, empty tensors, and one entry over many
// sizes of its symbols; dtypes. Kernels of every target against the reference evaluator. (ops.test.ts runs the examples.)
import { afterEach, describe, it } from "vitest";
import { backward } from "../../compiler/core/autodiff/backward.ts";
import { type Dim, dim, evaluate as evaluateDim, sym } from "../../compiler/core/dims/dim.ts";
import { createBuilder, finishGraph } from "../../compiler/core/ir/build.ts";
import type { Dense, DType, Graph, Node, Value } from "../../compiler/core/ir/types.ts";
import { type Argument, applyOp, opNamed } from "../../compiler/core/ops/index.ts";
import { input } from "../../compiler/core/ops/source.ts";
import { own, targets } from "../support/adapter.ts";
import { patient } from "../support/budget.ts";
import { testDevice } from "../support/device.ts";
import { buildGraphs, disagreement, expectedOf, GraphNet } from "../support/graphs.ts";
import { drawDense, randomFrom } from "../support/opcheck.ts";

const N = sym("N");
type Size = number | Dim;
type Args = Readonly<Record<string, Argument>>;

/** An operator on inputs x0, x1, …; one that a call's sizes may change. */
interface Case {
  readonly op: string;
  readonly shapes: readonly (readonly Size[])[];
  readonly dtypes?: readonly DType[];
  readonly range?: readonly [number, number];
  readonly attrs?: Args;
  /** Values of N to call it with. */
  readonly n?: readonly number[];
  /** Gradients of float operands, along ones. */
  readonly grad?: boolean;
}

const cases: readonly Case[] = [
  // Contractions: no multiple of a tile anywhere; rows, columns and depth of one; nothing to sum.
  {
    op: "matmul",
    shapes: [
      [N, 7],
      [7, 5],
    ],
    n: [1, 3, 33, 100, 0],
    grad: true,
  },
  {
    op: "matmul",
    shapes: [
      [N, 64],
      [64, 64],
    ],
    n: [1, 31, 64, 65],
  },
  {
    op: "matmul",
    shapes: [
      [N, 1],
      [1, 33],
    ],
    n: [1, 17],
  },
  {
    op: "matmul",
    shapes: [
      [37, 130],
      [130, 1],
    ],
    grad: true,
  },
  {
    op: "matmul",
    shapes: [
      [1, 259],
      [259, 70],
    ],
    grad: true,
  },
  {
    op: "matmul",
    shapes: [
      [5, N],
      [N, 6],
    ],
    n: [1, 4, 9, 50, 0],
    grad: true,
  },
  {
    op: "matmul",
    shapes: [
      [2, 3, N, 9],
      [9, 6],
    ],
    n: [1, 5, 0],
  },
  {
    op: "matmul",
    shapes: [
      [N, 3, 6, 9],
      [N, 3, 9, 6],
    ],
    n: [1, 3],
    grad: true,
  },
  { op: "matmul", shapes: [[9], [9]], grad: true },
  { op: "matmul", shapes: [[N, 9], [9]], n: [1, 20] },
  {
    op: "matmul",
    shapes: [
      [6, 9],
      [9, 4],
    ],
    dtypes: ["i32", "i32"],
  },
  // Convolutions.
  {
    op: "conv2d",
    shapes: [
      [N, 3, 9, 7],
      [5, 3, 3, 3],
    ],
    attrs: { padding: 1 },
    n: [1, 3, 0],
    grad: true,
  },
  {
    op: "conv2d",
    shapes: [[N, 4, 8, 8], [8, 4, 3, 3], [8]],
    attrs: { stride: 2, padding: 1 },
    n: [1, 2],
    grad: true,
  },
  {
    op: "conv2d",
    shapes: [
      [2, 6, 11, 5],
      [4, 3, 3, 2],
    ],
    attrs: { groups: 2, dilation: [2, 1], padding: [1, 2] },
    grad: true,
  },
  {
    op: "conv2d",
    shapes: [
      [N, 8, 5, 5],
      [8, 1, 3, 3],
    ],
    attrs: { groups: 8, padding: 1 },
    n: [1, 4],
    grad: true,
  },
  {
    op: "conv2d",
    shapes: [
      [1, 1, 30, 31],
      [1, 1, 7, 7],
    ],
    attrs: { stride: 3, padding: 3 },
  },
  {
    op: "conv2d",
    shapes: [
      [N, 5, 4, 4],
      [33, 5, 1, 1],
    ],
    n: [1, 9],
  },
  {
    op: "conv2d",
    shapes: [
      [1, 3, N, 6],
      [4, 3, 3, 3],
    ],
    attrs: { padding: 1 },
    n: [1, 2, 13],
  },
  {
    op: "conv1d",
    shapes: [[N, 4, 37], [6, 2, 5], [6]],
    attrs: { groups: 2, stride: 2, padding: 2, dilation: 2 },
    n: [1, 5, 0],
    grad: true,
  },
  {
    op: "conv1d",
    shapes: [
      [1, 3, N],
      [4, 3, 3],
    ],
    attrs: { padding: 1 },
    n: [1, 40],
    grad: true,
  },
  {
    op: "conv3d",
    shapes: [
      [N, 3, 5, 6, 4],
      [5, 3, 2, 3, 3],
    ],
    attrs: { stride: [1, 2, 1], padding: [0, 1, 2] },
    n: [1, 3, 0],
    grad: true,
  },
  // Windows.
  {
    op: "max_pool1d",
    shapes: [[N, 3, 21]],
    attrs: { kernel: 3, stride: 2, padding: 1, dilation: 2 },
    n: [1, 2, 0],
    grad: true,
  },
  {
    op: "avg_pool3d",
    shapes: [[N, 2, 5, 4, 7]],
    attrs: { kernel: [3, 2, 2], stride: 2, padding: [1, 0, 1], ceil_mode: true },
    n: [1, 2, 0],
    grad: true,
  },
  {
    op: "max_pool2d",
    shapes: [[N, 3, 9, 7]],
    attrs: { kernel: 3, stride: 2, padding: 1 },
    n: [1, 2, 0],
    grad: true,
  },
  { op: "avg_pool2d", shapes: [[2, 3, 7, 8]], attrs: { kernel: [2, 3], ceil_mode: true }, grad: true },
  { op: "max_pool2d", shapes: [[1, 1, 5, 5]], attrs: { kernel: 5 } },
  // Rows: short, long, of one, empty; over inner, outer and several axes.
  ...["sum", "max", "mean", "logsumexp"].flatMap((op): Case[] => [
    { op, shapes: [[N, 5]], attrs: { axes: [1] }, n: [1, 3, 70], grad: true },
    { op, shapes: [[5, N]], attrs: { axes: [1] }, n: [1, 3, 64, 257], grad: true },
    { op, shapes: [[N, 5]], attrs: { axes: [0] }, n: [1, 9, 130] },
    { op, shapes: [[3, N, 6]], attrs: { axes: [0, 2], keepdims: true }, n: [1, 7], grad: true },
    { op, shapes: [[N, 4, 3]], n: [1, 6] },
    { op, shapes: [[1, 1, 1]], attrs: { axes: [1] } },
    { op, shapes: [[2, 1, 3, 2, 1, 5]], attrs: { axes: [2, 5] }, grad: true },
  ]),
  { op: "sum", shapes: [[N, 5]], attrs: { axes: [0] }, n: [0] },
  { op: "sum", shapes: [[4, 0, 3]], attrs: { axes: [1] } },
  { op: "sum", shapes: [[N, 6]], dtypes: ["i32"], attrs: { axes: [1] }, n: [1, 9] },
  { op: "sum", shapes: [[7, 9]], dtypes: ["bool"], attrs: { axes: [0] } },
  { op: "any", shapes: [[7, 9]], dtypes: ["bool"], attrs: { axes: [1] } },
  { op: "all", shapes: [[N, 9]], dtypes: ["bool"], attrs: { axes: [0] }, n: [1, 2, 0] },
  { op: "prod", shapes: [[N, 3]], attrs: { axes: [0] }, n: [1, 5, 0] },
  { op: "argmax", shapes: [[N, 11]], attrs: { axis: 1 }, n: [1, 8] },
  { op: "argmin", shapes: [[N, 11, 3]], attrs: { axis: 1 }, n: [1, 5] },
  { op: "var", shapes: [[N, 13]], attrs: { axes: [1] }, n: [1, 6], grad: true },
  { op: "softmax", shapes: [[N, 13]], n: [1, 5, 0], grad: true },
  { op: "softmax", shapes: [[13, N]], n: [1, 4, 65], grad: true },
  { op: "softmax", shapes: [[3, N, 5]], attrs: { axis: 1 }, n: [1, 4] },
  { op: "log_softmax", shapes: [[N, 1]], n: [3] },
  { op: "layer_norm", shapes: [[N, 3, 13], [13], [13]], n: [1, 4, 0], grad: true },
  {
    op: "cross_entropy",
    shapes: [[N, 11], [N]],
    dtypes: ["f32", "i32"],
    range: [0, 4],
    n: [1, 6],
    grad: true,
  },
  {
    op: "attention",
    shapes: [
      [2, 3, N, 4],
      [2, 3, N, 4],
      [2, 3, N, 4],
    ],
    attrs: { causal: true },
    n: [1, 7, 20],
    grad: true,
  },
  {
    op: "attention",
    shapes: [
      [1, 1, 3, 6],
      [1, 1, N, 6],
      [1, 1, N, 5],
    ],
    n: [1, 9, 33],
  },
  // One query: keys in parts, where there are many.
  {
    op: "attention",
    shapes: [[2, 3, 1, 40], [2, 3, N, 40], [2, 3, N, 72], [N]],
    dtypes: ["f32", "f32", "f32", "bool"],
    n: [1, 40, 300],
  },
  // More rows and keys than a tile has, hidden by a mask, and rows that see nothing but one key.
  {
    op: "attention",
    shapes: [
      [2, N, 8],
      [2, N, 8],
      [2, N, 12],
    ],
    attrs: { causal: true, scale: 0.7 },
    n: [1, 16, 65, 131],
    grad: true,
  },
  {
    op: "attention",
    shapes: [
      [3, 5, 4],
      [3, N, 4],
      [3, N, 4],
      [5, N],
    ],
    dtypes: ["f32", "f32", "f32", "bool"],
    n: [1, 18, 40],
    grad: true,
  },
  { op: "cumsum", shapes: [[N, 3]], attrs: { axis: 0 }, n: [1, 9, 0], grad: true },
  // Element by element.
  ...["add", "mul", "maximum", "div"].flatMap((op): Case[] => [
    { op, shapes: [[N], [N]], range: [0.5, 2], n: [1, 3, 4, 5, 257, 0], grad: true },
    { op, shapes: [[], []], range: [0.5, 2], grad: true },
    {
      op,
      shapes: [
        [N, 1, 3],
        [5, 1],
      ],
      range: [0.5, 2],
      n: [1, 4, 0],
      grad: true,
    },
    {
      op,
      shapes: [
        [2, 1, 3, 1, 2, 3],
        [2, 1, 5, 1, 1],
      ],
      range: [0.5, 2],
      grad: true,
    },
  ]),
  { op: "add", shapes: [[N, 3], [3]], dtypes: ["i32", "i32"], range: [-9, 9], n: [1, 6] },
  { op: "floor_div", shapes: [[N], []], dtypes: ["i32", "i32"], range: [1, 9], n: [5] },
  { op: "mul", shapes: [[7], [7]], dtypes: ["u32", "u32"], range: [0, 9] },
  { op: "xor", shapes: [[N, 3], [3]], dtypes: ["bool", "bool"], n: [1, 6] },
  { op: "not", shapes: [[N]], dtypes: ["bool"], n: [1, 6, 0] },
  { op: "where", shapes: [[N, 1], [3], [N, 3]], dtypes: ["bool", "f32", "f32"], n: [1, 6], grad: true },
  ...(["f32", "i32", "u32", "bool"] as const).map(
    (dtype): Case => ({ op: "cast", shapes: [[N, 3]], attrs: { dtype }, range: [0, 3], n: [1, 6] }),
  ),
  { op: "cast", shapes: [[N]], dtypes: ["bool"], attrs: { dtype: "f32" }, n: [1, 6] },
  { op: "gelu", shapes: [[2, 1, 2, 3, 1, 2]], grad: true },
  // Movement.
  { op: "transpose", shapes: [[N, 5, 3]], attrs: { perm: [2, 0, 1] }, n: [1, 6, 0], grad: true },
  { op: "transpose", shapes: [[2, 3, 1, 2, 2, 3]], attrs: { perm: [5, 3, 1, 0, 2, 4] }, grad: true },
  {
    op: "concat",
    shapes: [
      [N, 3],
      [2, 3],
      [N, 3],
    ],
    attrs: { axis: 0 },
    n: [1, 4, 0],
    grad: true,
  },
  {
    op: "concat",
    shapes: [
      [3, 0],
      [3, 2],
    ],
    attrs: { axis: 1 },
  },
  { op: "pad", shapes: [[N, 3]], attrs: { low: [2, 0], high: [1, 2], value: 0.5 }, n: [1, 5, 0], grad: true },
  { op: "pad", shapes: [[3]], attrs: { low: [1], high: [0], interior: [2] }, grad: true },
  { op: "flip", shapes: [[N, 3]], attrs: { axes: [0] }, n: [1, 5, 0], grad: true },
  {
    op: "take",
    shapes: [
      [7, 3],
      [N, 2],
    ],
    dtypes: ["f32", "i32"],
    range: [-1, 4],
    n: [1, 5, 0],
    grad: true,
  },
  {
    op: "gather",
    shapes: [
      [7, 3],
      [7, 2],
    ],
    dtypes: ["f32", "i32"],
    attrs: { axis: 1 },
    range: [0, 2],
    grad: true,
  },
  { op: "one_hot", shapes: [[N]], dtypes: ["i32"], attrs: { classes: 5 }, n: [1, 7] },
  { op: "tril", shapes: [[N, 5]], n: [1, 6] },
  {
    op: "slice_at",
    shapes: [[9, 3], [], []],
    dtypes: ["f32", "i32", "i32"],
    attrs: { sizes: [4, 2] },
    grad: true,
  },
];

const sizeOf = (d: Size): Dim => dim(d);
function graphOf(c: Case, name: string): Graph {
  const b = createBuilder();
  const def = opNamed(c.op);
  if (!def) throw new Error(`no operator ${c.op}`);
  const inputs = c.shapes.map((shape, i) =>
    b.make(input, [], { name: `x${i}`, dtype: c.dtypes?.[i] ?? "f32", shape: shape.map(sizeOf) }),
  );
  const args: Record<string, Argument> = { ...c.attrs };
  let next = 0;
  for (const p of def.params) {
    if (p.kind === "tensor" && next < inputs.length) args[p.name] = inputs[next++];
    else if (p.kind === "tensors") {
      args[p.name] = inputs.slice(next);
      next = inputs.length;
    }
  }
  const outs = applyOp(b, def, args);
  const results = outs.map((value, i) => ({ name: `y${i}`, value }));
  const seeds: Node[] = [];
  if (c.grad) {
    const directions = outs.map((v, i): Value => {
      const seed = b.make(input, [], { name: `d${i}`, dtype: "f32", shape: [...v.type.shape] });
      seeds.push(seed.node);
      return seed;
    });
    const wrt = inputs.filter((v) => v.type.dtype === "f32");
    backward(b, outs, directions, wrt).forEach((value, i) => {
      if (value) results.push({ name: `g${i}`, value });
    });
  }
  const symbolic = c.shapes.some((s) => s.includes(N));
  return finishGraph({
    name,
    inputs: [...inputs.map((v) => v.node), ...seeds],
    results,
    symbols: symbolic ? ["N"] : [],
    constraints: b.constraints,
  });
}

let open: GraphNet | undefined;
afterEach(() => open?.dispose());
const SLOW = new Set(["matmul", "conv1d", "conv2d", "conv3d", "layer_norm", "attention", "logsumexp", "max"]);
const families = [...new Set(cases.map((c) => c.op))];

describe.each(targets.map((t) => [t.name, t] as const))("on %s", (name, target) => {
  for (const family of families)
    it(family, async (context) => {
      const { device } = await testDevice(context);
      // Software adapters take seconds to compile a loop with barriers: a part of the cases unless somebody waits.
      const slow = !patient && name !== own.name && SLOW.has(family);
      const mine = cases.filter((c) => c.op === family).filter((_, i) => !slow || i % 3 === 0);
      const graphs = mine.map((c, i) => graphOf(c, `case${i}`));
      open = await GraphNet.load(buildGraphs(graphs, [target]), device, {}, { target: name });
      const wrong: string[] = [];
      for (const [i, graph] of graphs.entries())
        for (const n of mine[i].n ?? [1]) {
          const random = randomFrom(n + 100 * i);
          const data: Record<string, Dense> = {};
          for (const node of graph.inputs) {
            const { dtype, shape } = node.outs[0].type;
            const at = shape.map((d) => evaluateDim(d, { N: n }));
            const drawn = drawDense(
              dtype,
              at,
              random,
              String(node.attrs.name).startsWith("d") ? undefined : mine[i].range,
            );
            data[String(node.attrs.name)] =
              dtype === "f32" ? { ...drawn, data: drawn.data.map(Math.fround) } : drawn;
          }
          const want = expectedOf(graph, data, {});
          const got = await open.run(`case${i}`, data);
          for (const [k, v] of Object.entries(want.results)) {
            const message = disagreement(`${family} #${i}, N = ${n}: ${k}`, got[k], v, want.slack[k]);
            if (message) wrong.push(message);
          }
        }
      if (wrong.length > 0) throw new Error(wrong.join("\n"));
    });
});
