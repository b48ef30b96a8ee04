// Attention and its gradient. In: queries, keys and values [..., T, d]. Out: weighted values; the gradient in two operators
// (one a query row, one a key row), so that a target may claim each as one kernel and store nothing of size T x S.
// Elsewhere all three expand to the same scores and weights, which they then share.
import { asConst, dim, sub as dimSub, isConst } from "../dims/dim.ts";
import type { Builder, Node, OpDef, TensorType, Value } from "../ir/types.ts";
import { reshape, sum } from "./axes.ts";
import {
  allowDtypes,
  bool,
  boolAt,
  broadcastShapes,
  FLOATS,
  fail,
  float,
  numberAt,
  sameDtypes,
  sameSize,
  shapeText,
  sizeValue,
  tensor,
  typeText,
  zerosLike,
} from "./define.ts";
import { dot } from "./dot.ts";
import { add, exp, le, log, mul, sub, where } from "./elementwise.ts";
import { place } from "./lookup.ts";
import { swapLast } from "./movement.ts";
import { softmax } from "./nn.ts";
import { max } from "./reduce.ts";

/** What a masked score becomes: finite, so that no infinity reaches a shader, and 0 after the exponential. */
export const MASKED = -1e30;
/** The same for f16, whose largest number is 65504. */
const MASKED_F16 = -3e4;

export const attentionOp: OpDef = {
  name: "attention",
  doc: "softmax(q @ k.T * scale) @ v over [..., T, d], k and v [..., S, d]; scale is 1 / sqrt(d) by default. `mask` is bool (true: attend) or added to the scores; `causal` hides keys after the query, aligned at the end.",
  fuses: "composite",
  params: [
    tensor("q"),
    tensor("k"),
    tensor("v"),
    tensor("mask", { optional: true }),
    bool("causal", { default: false }),
    float("scale", { optional: true }),
  ],
  complete: ([q], attrs) => {
    const d = asConst(q.shape[q.shape.length - 1] ?? dim(1));
    if (attrs.scale === undefined && d === undefined)
      fail("E0506", "attention: scale is needed where the last axis is not a known number", {
        attr: "scale",
      });
    return { causal: boolAt(attrs, "causal"), scale: attrs.scale ?? 1 / Math.sqrt(d ?? 1) };
  },
  infer: ([q, k, v, mask], _attrs, b) => {
    sameDtypes("attention", [q, k, v]);
    allowDtypes("attention", [q, k, v], FLOATS);
    const rank = q.shape.length;
    [q, k, v].forEach((t, operand) => {
      if (t.shape.length < 2 || t.shape.length !== rank)
        fail("E0304", `attention takes q, k and v [..., T, d] of one rank, given ${typeText(t)}`, {
          operand,
        });
    });
    const refuse = (operand: number, what: string) => (): never =>
      fail(
        "E0302",
        `attention: ${what}: q ${shapeText(q.shape)}, k ${shapeText(k.shape)}, v ${shapeText(v.shape)}`,
        { operand },
      );
    const batch = q.shape.slice(0, -2);
    batch.forEach((d, i) => {
      sameSize(d, k.shape[i], `attention: batch axis ${i} of q and k`, b, refuse(1, "batch axes differ"));
      sameSize(d, v.shape[i], `attention: batch axis ${i} of q and v`, b, refuse(2, "batch axes differ"));
    });
    sameSize(
      q.shape[rank - 1],
      k.shape[rank - 1],
      "attention: features of q and k",
      b,
      refuse(1, "features of q and k differ"),
    );
    sameSize(
      k.shape[rank - 2],
      v.shape[rank - 2],
      "attention: keys and values",
      b,
      refuse(2, "k and v differ in length"),
    );
    if (mask) {
      if (mask.dtype !== "bool" && mask.dtype !== q.dtype)
        fail("E0404", `attention: the mask is ${mask.dtype}, not bool or ${q.dtype}`, { operand: 3 });
      const scores = [...batch, q.shape[rank - 2], k.shape[rank - 2]];
      if (broadcastShapes("attention", [scores, mask.shape], b).length > rank)
        fail(
          "E0301",
          `attention: mask ${shapeText(mask.shape)} does not broadcast to scores ${shapeText(scores)}`,
          { operand: 3 },
        );
    }
    return [{ dtype: q.dtype, shape: [...q.shape.slice(0, -1), v.shape[rank - 1]] }];
  },
  vjp: attentionVjp,
  expand: (b, node) => [dot(b, softmax(b, scoresOf(b, node).scores, -1), node.inputs[2])],
  examples: [
    {
      shapes: [
        [2, 3, 4],
        [2, 5, 4],
        [2, 5, 3],
      ],
    },
    {
      shapes: [
        [2, 2, 3, 4],
        [2, 2, 3, 4],
        [2, 2, 3, 4],
      ],
      attrs: { causal: true },
    },
    {
      shapes: [
        [1, 2, 4],
        [1, 4, 4],
        [1, 4, 4],
      ],
      attrs: { causal: true, scale: 0.3 },
    },
    { shapes: [[2, 2, 4], [2, 3, 4], [2, 3, 4], [3]], dtypes: ["f32", "f32", "f32", "bool"] },
    {
      shapes: [
        [2, 2, 4],
        [2, 3, 4],
        [2, 3, 4],
        [2, 3],
      ],
    },
  ],
};

/** Scaled scores [..., T, S], hidden ones MASKED, and where they are seen (undefined: everywhere). */
function scoresOf(b: Builder, node: Node): { scores: Value; seen: Value | undefined } {
  const [q, k] = node.inputs;
  const mask = node.op === attentionOp ? node.inputs[3] : undefined;
  let scores = mul(b, dot(b, q, swapLast(b, k)), numberAt(node.attrs, "scale"));
  let seen: Value | undefined;
  const { shape } = scores.type;
  const hide = (visible: Value): void => {
    scores = where(b, visible, scores, scores.type.dtype === "f16" ? MASKED_F16 : MASKED);
    seen = visible;
  };
  if (mask?.type.dtype === "bool") hide(mask);
  else if (mask) scores = add(b, scores, mask);
  if (boolAt(node.attrs, "causal")) {
    const [row, column] = [place(b, shape, shape.length - 2), place(b, shape, shape.length - 1)];
    const late = dimSub(shape[shape.length - 1], shape[shape.length - 2]);
    const last = asConst(late) === 0 ? row : add(b, row, sizeValue(b, late));
    hide(le(b, column, last));
  }
  return { scores, seen };
}

/** Weights and the gradient of the scores, for output gradient g. */
function weightsBack(b: Builder, node: Node, g: Value): { scores: Value; p: Value; dp: Value; ds: Value } {
  const v = node.inputs[2];
  const { scores, seen } = scoresOf(b, node);
  const p = softmax(b, scores, -1);
  const dp = dot(b, g, swapLast(b, v));
  const over = [p.type.shape.length - 1];
  let ds = mul(b, p, sub(b, dp, sum(b, mul(b, dp, p), over, true)));
  // A row that sees nothing has equal weights, but hidden scores have no gradient.
  if (seen) ds = where(b, seen, ds, zerosLike(b, ds));
  return { scores, p, dp, ds };
}

const gradParams: OpDef["params"] = [
  tensor("q"),
  tensor("k"),
  tensor("v"),
  tensor("g"),
  bool("causal", { default: false }),
  float("scale", { optional: true }),
];
const rowsOf = (t: TensorType): TensorType => ({ dtype: t.dtype, shape: t.shape.slice(0, -1) });

/** The query's gradient, and per query row what the other half needs: log of the sum of exponentials, and sum(dp * p). */
export const attentionGradQueryOp: OpDef = {
  name: "attention_grad_query",
  doc: "Of attention: the gradient of q, the rows' log-sum-exp, and the rows' weighted gradient.",
  fuses: "composite",
  exposed: false,
  params: gradParams,
  infer: ([q]) => [q, rowsOf(q), rowsOf(q)],
  expand: (b, node) => {
    const [, k, , g] = node.inputs;
    const { scores, p, dp, ds } = weightsBack(b, node, g);
    const over = [scores.type.shape.length - 1];
    const most = max(b, scores, over, true);
    const total = add(b, log(b, sum(b, exp(b, sub(b, scores, most)), over, true)), most);
    const row = rowsOf(node.inputs[0].type).shape;
    return [
      mul(b, dot(b, ds, k), numberAt(node.attrs, "scale")),
      reshape(b, total, row),
      sum(b, mul(b, dp, p), over),
    ];
  },
  examples: [
    {
      shapes: [
        [2, 3, 4],
        [2, 5, 4],
        [2, 5, 3],
        [2, 3, 3],
      ],
      attrs: { scale: 0.5 },
    },
    {
      shapes: [
        [1, 4, 4],
        [1, 4, 4],
        [1, 4, 4],
        [1, 4, 4],
      ],
      attrs: { scale: 0.5, causal: true },
    },
  ],
};
/** The gradients of keys and values; the rows' figures spare it a pass of its own where it is one kernel. */
export const attentionGradKeyOp: OpDef = {
  name: "attention_grad_key",
  doc: "Of attention: the gradients of k and v.",
  fuses: "composite",
  exposed: false,
  params: [...gradParams.slice(0, 4), tensor("total"), tensor("delta"), ...gradParams.slice(4)],
  infer: ([, k, v]) => [k, v],
  expand: (b, node) => {
    const [q, , , g] = node.inputs;
    const { p, ds } = weightsBack(b, node, g);
    return [mul(b, dot(b, swapLast(b, ds), q), numberAt(node.attrs, "scale")), dot(b, swapLast(b, p), g)];
  },
  examples: [],
};

/** The gradient of a mask that is added: that of the scores, summed over the axes along which it was repeated. */
function maskGradient(b: Builder, node: Node, g: Value): Value | undefined {
  const mask = node.inputs[3];
  if (!mask || mask.type.dtype === "bool") return undefined;
  const { ds } = weightsBack(b, node, g);
  const { shape } = mask.type;
  const extra = ds.type.shape.length - shape.length;
  const repeated = ds.type.shape.flatMap((d, i) =>
    i < extra || (isConst(shape[i - extra], 1) && !isConst(d, 1)) ? [i] : [],
  );
  return reshape(b, repeated.length > 0 ? sum(b, ds, repeated) : ds, shape);
}

function attentionVjp(b: Builder, node: Node, [g]: readonly (Value | undefined)[]): (Value | undefined)[] {
  if (!g) return node.inputs.map(() => undefined);
  const [q, k, v, mask] = node.inputs;
  if (mask) {
    const scale = numberAt(node.attrs, "scale");
    const { p, ds } = weightsBack(b, node, g);
    return [
      mul(b, dot(b, ds, k), scale),
      mul(b, dot(b, swapLast(b, ds), q), scale),
      dot(b, swapLast(b, p), g),
      maskGradient(b, node, g),
    ];
  }
  const [dq, total, delta] = b.node(attentionGradQueryOp, [q, k, v, g], node.attrs);
  const [dk, dv] = b.node(attentionGradKeyOp, [q, k, v, g, total, delta], node.attrs);
  return [dq, dk, dv];
}

export const attentions: readonly OpDef[] = [attentionOp, attentionGradQueryOp, attentionGradKeyOp];
