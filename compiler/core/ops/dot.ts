// Contractions of matrices: the primitive dot, and matmul and linear, which are said with it.
// In: batches of matrices. Out: sums of products; dot's two factors depend on one operand each, so a schedule can tell
// rows (axes of the left factor), columns (of the right one) and batch (of both).
import { type Dim, dim, product } from "../dims/dim.ts";
import type { Builder, OpDef, TensorType, Value } from "../ir/types.ts";
import { broadcastTo, reshape } from "./axes.ts";
import {
  allowDtypes,
  broadcastShapes,
  fail,
  isFloat,
  NUMBERS,
  type Requirer,
  rankOf,
  sameDtypes,
  sameSize,
  tensor,
  typeText,
} from "./define.ts";
import { times, wrap } from "./dense.ts";
import { add } from "./elementwise.ts";
import { isTurned, swapLast } from "./movement.ts";

export const dotOp: OpDef = {
  name: "dot",
  doc: "Matrix products [..., M, K] x [..., K, N] -> [..., M, N] over equal batch axes.",
  fuses: "fold",
  along: (b, _node, [x, y]) => b.make(dotOp, [x, y]),
  params: [tensor("x"), tensor("y")],
  exposed: false,
  infer: ([x, y], _attrs, b) => {
    sameDtypes("dot", [x, y]);
    allowDtypes("dot", [x, y], NUMBERS);
    const rank = x.shape.length;
    if (rank < 2 || y.shape.length !== rank)
      fail(
        "E0304",
        `dot takes two matrices or equal batches of them, given ${typeText(x)} and ${typeText(y)}`,
        {
          operand: 1,
        },
      );
    const refuse = (): never =>
      fail("E0302", `dot: ${typeText(x)} and ${typeText(y)} do not fit`, { operand: 1 });
    const batch = x.shape
      .slice(0, -2)
      .map((d, i) => sameSize(d, y.shape[i], `dot: batch axis ${i}`, b, refuse));
    sameSize(x.shape[rank - 1], y.shape[rank - 2], "dot: the contracted axis", b, refuse);
    return [{ dtype: x.dtype, shape: [...batch, x.shape[rank - 2], y.shape[rank - 1]] }];
  },
  reference: ([x, y], _attrs, [out]) => {
    const [m, n] = out.shape.slice(-2);
    const k = x.shape[x.shape.length - 1];
    const batches = m * n === 0 ? 0 : out.data.length / (m * n);
    const exact = isFloat(x.dtype);
    for (let p = 0; p < batches; p++)
      for (let i = 0; i < m; i++)
        for (let q = 0; q < k; q++) {
          const v = x.data[(p * m + i) * k + q];
          const row = (p * k + q) * n;
          const into = (p * m + i) * n;
          if (exact) for (let j = 0; j < n; j++) out.data[into + j] += v * y.data[row + j];
          else
            for (let j = 0; j < n; j++)
              out.data[into + j] = wrap(x.dtype, out.data[into + j] + times(x.dtype, v, y.data[row + j]));
        }
  },
  vjp: (b, node, [g]) => {
    const [x, y] = node.inputs;
    if (!g || !isFloat(g.type.dtype)) return [undefined, undefined];
    const turned = swapLast(b, g);
    // The gradient of a transposed operand is made as what it was before: a weight's is stored as the weight lies.
    return [
      isTurned(x) ? swapLast(b, dot(b, y, turned)) : dot(b, g, swapLast(b, y)),
      isTurned(y) ? swapLast(b, dot(b, turned, x)) : dot(b, swapLast(b, x), g),
    ];
  },
  lower: (s, node, at) => {
    const [x, y] = node.inputs;
    const rank = at.length;
    const batch = at.slice(0, -2);
    return s.fold(
      "add",
      [x.type.shape[rank - 1]],
      (k) => s.call("mul", s.read(x, [...batch, at[rank - 2], k]), s.read(y, [...batch, k, at[rank - 1]])),
      ["k"],
    );
  },
  examples: [
    {
      shapes: [
        [2, 3],
        [3, 4],
      ],
    },
    {
      shapes: [
        [2, 3, 4],
        [2, 4, 2],
      ],
    },
    {
      shapes: [
        [2, 0],
        [0, 3],
      ],
    },
    {
      shapes: [
        [2, 3],
        [3, 2],
      ],
      dtypes: ["i32", "i32"],
      grad: false,
    },
  ],
};
export const dot = (b: Builder, x: Value, y: Value): Value => b.make(dotOp, [x, y]);

// ----------------------------------------------------------------------------------------------- matmul

/** The shapes of a product as PyTorch's matmul has them: vectors are rows (left) or columns (right). */
function matmulShape(name: string, x: TensorType, y: TensorType, b: Requirer): readonly Dim[] {
  sameDtypes(name, [x, y]);
  allowDtypes(name, [x, y], NUMBERS);
  [x, y].forEach((t, operand) => {
    if (t.shape.length === 0)
      fail("E0304", `${name} takes vectors and matrices, given ${typeText(t)}`, { operand });
  });
  const left = x.shape.length === 1 ? [dim(1), ...x.shape] : x.shape;
  const right = y.shape.length === 1 ? [...y.shape, dim(1)] : y.shape;
  const [inner, other] = [left[left.length - 1], right[right.length - 2]];
  sameSize(inner, other, `${name}: the contracted axis`, b, () =>
    fail("E0302", `${name}: left has ${inner.key} columns, right has ${other.key} rows`, {
      operand: 1,
      help: "the last axis of the left must equal the last but one of the right",
    }),
  );
  const batch = broadcastShapes(name, [left.slice(0, -2), right.slice(0, -2)], b);
  return [
    ...batch,
    ...(x.shape.length === 1 ? [] : [left[left.length - 2]]),
    ...(y.shape.length === 1 ? [] : [right[right.length - 1]]),
  ];
}

export const matmulOp: OpDef = {
  name: "matmul",
  doc: "The matrix product over the last two axes, as PyTorch's: batch axes broadcast, vectors are rows or columns. In the language: x @ y.",
  fuses: "composite",
  params: [tensor("x"), tensor("y")],
  infer: ([x, y], _attrs, b) => [{ dtype: x.dtype, shape: matmulShape("matmul", x, y, b) }],
  inline: () => true,
  expand: (b, node) => [matmul(b, node.inputs[0], node.inputs[1])],
  examples: [
    {
      shapes: [
        [2, 3],
        [3, 4],
      ],
    },
    { shapes: [[3], [3]] },
    { shapes: [[2, 3], [3]] },
    { shapes: [[3], [2, 3, 2]] },
    {
      shapes: [
        [2, 2, 3],
        [3, 2],
      ],
    },
    {
      shapes: [
        [2, 1, 2, 3],
        [3, 3, 2],
      ],
    },
  ],
};
export function matmul(b: Builder, x: Value, y: Value): Value {
  const shape = matmulShape("matmul", x.type, y.type, b);
  const left = x.type.shape.length === 1 ? reshape(b, x, [dim(1), ...x.type.shape]) : x;
  const right = y.type.shape.length === 1 ? reshape(b, y, [...y.type.shape, dim(1)]) : y;
  const [p, q] = [left.type.shape, right.type.shape];
  if (q.length === 2) {
    // One right matrix: the batch is more rows, so that its gradient is one contraction, too.
    const rows = reshape(b, left, [product(p.slice(0, -1)), p[p.length - 1]]);
    return reshape(b, dot(b, rows, right), shape);
  }
  const batch = broadcastShapes("matmul", [p.slice(0, -2), q.slice(0, -2)], b);
  const full = dot(
    b,
    broadcastTo(b, left, [...batch, ...p.slice(-2)]),
    broadcastTo(b, right, [...batch, ...q.slice(-2)]),
  );
  return reshape(b, full, shape);
}

export const linearOp: OpDef = {
  name: "linear",
  torch: "F.linear",
  doc: "x @ weight.T + bias over the last axis: weight [out, in], bias [out] or none.",
  fuses: "composite",
  params: [tensor("x"), tensor("weight"), tensor("bias", { optional: true })],
  infer: (types, _attrs, b) => {
    const [x, w, bias] = types;
    sameDtypes("linear", types);
    rankOf("linear", w, 2, 1, "a weight [out, in]");
    if (x.shape.length === 0) fail("E0304", "linear takes a vector or more, given a scalar", { operand: 0 });
    const last = x.shape[x.shape.length - 1];
    sameSize(last, w.shape[1], "linear: input features", b, () =>
      fail("E0302", `linear: input has ${last.key} features, weight expects ${w.shape[1].key}`, {
        operand: 0,
      }),
    );
    if (bias) {
      rankOf("linear", bias, 1, 2, "a bias [out]");
      sameSize(bias.shape[0], w.shape[0], "linear: output features", b, () =>
        fail("E0302", `linear: bias has ${bias.shape[0].key} elements, weight gives ${w.shape[0].key}`, {
          operand: 2,
        }),
      );
    }
    return [{ dtype: x.dtype, shape: [...x.shape.slice(0, -1), w.shape[0]] }];
  },
  inline: () => true,
  expand: (b, node) => {
    const [x, w, bias] = node.inputs;
    const y = matmul(b, x, swapLast(b, w));
    return [bias ? add(b, y, bias) : y];
  },
  examples: [
    { shapes: [[2, 3], [4, 3], [4]] },
    {
      shapes: [
        [2, 2, 3],
        [4, 3],
      ],
    },
  ],
};

export const contractions: readonly OpDef[] = [dotOp, matmulOp, linearOp];
