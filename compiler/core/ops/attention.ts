// Attention and its gradient. In: queries, keys and values [..., T, d]. Out: weighted values; the gradient in two operators
// (one a query row, one a key row), so that a target may claim each as one kernel and store nothing of size T x S.
// Elsewhere all three expand to the same scores and weights, which they then share.
import { asConst, type Dim, dim, mul as dimMul, sub as dimSub, exactQuotient, isConst } from "../dims/dim.ts";
import type { Builder, Node, OpDef, TensorType, Value } from "../ir/types.ts";
import { broadcastTo, cast, reshape, sum, unbroadcast } from "./axes.ts";
import {
  allowDtypes,
  bool,
  boolAt,
  broadcastsTo,
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
} from "./define.ts";
import { dot } from "./dot.ts";
import {
  add,
  and,
  cos,
  div,
  eq,
  exp,
  isFiniteOp,
  le,
  lt,
  mul,
  not,
  or,
  roundOp,
  sin,
  stopGradient,
  sub,
  where,
} from "./elementwise.ts";
import { concat } from "./joins.ts";
import { place } from "./lookup.ts";
import { sliceAxis, swapLast } from "./movement.ts";
import { max } from "./reduce.ts";

/** What a hidden score becomes: the least finite number, so that no score that is seen is smaller. */
export const MASKED = -3.4028234663852886e38;

export const attentionOp: OpDef = {
  name: "attention",
  torch: "F.scaled_dot_product_attention",
  doc: "softmax(q @ k.T * scale) @ v over [..., T, d], k and v [..., S, d]; scale is 1 / sqrt(d) by default. `mask` is bool (true: attend) or added to the scores, where -inf hides a key; `causal` hides keys after the query, aligned at the end, and joins a mask. k and v may have fewer heads (the axis before T) than q, each of which then serves several in a row (PyTorch's enable_gqa). A query that sees no key gives zeros and has no gradient.",
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
      fail(
        "E0506",
        "attention: scale is needed where the last axis is not a known number: of q * rsqrt(f32(D)) it is 1",
        {
          attr: "scale",
        },
      );
    return { causal: boolAt(attrs, "causal"), scale: attrs.scale ?? 1 / Math.sqrt(d || 1) };
  },
  infer: (inputs, _attrs, b) => {
    const [q, k, v, mask] = inputs;
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
      const heads = i === rank - 3 && groupsOf(inputs) > 1 ? k.shape[i] : d;
      sameSize(heads, k.shape[i], `attention: batch axis ${i} of q and k`, b, refuse(1, "batch axes differ"));
      sameSize(heads, v.shape[i], `attention: batch axis ${i} of q and v`, b, refuse(2, "batch axes differ"));
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
      if (!broadcastsTo("attention", mask.shape, scores, b))
        fail(
          "E0301",
          `attention: mask ${shapeText(mask.shape)} does not broadcast to scores ${shapeText(scores)}`,
          { operand: 3 },
        );
    }
    return [{ dtype: q.dtype, shape: [...q.shape.slice(0, -1), v.shape[rank - 1]] }];
  },
  vjp: attentionVjp,
  inline: (inputs) => groupsOf(inputs) > 1,
  expand: (b, node) => {
    const [q, , v] = node.inputs;
    if (groupsOf(node.inputs.map((x) => x.type)) > 1) return [grouped(b, node)];
    return [cast(b, dot(b, weightsOf(b, node).p, cast(b, v, "f32")), q.type.dtype)];
  },
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
    {
      shapes: [[2, 3, 4], [2, 2, 4], [2, 2, 4], [2]],
      dtypes: ["f32", "f32", "f32", "bool"],
      attrs: { causal: true },
    },
    {
      shapes: [
        [2, 4, 3, 4],
        [2, 2, 5, 4],
        [2, 2, 5, 3],
      ],
    },
    {
      shapes: [
        [1, 4, 3, 4],
        [1, 2, 3, 4],
        [1, 2, 3, 4],
      ],
      attrs: { causal: true },
    },
    {
      shapes: [
        [1, 4, 2, 4],
        [1, 2, 3, 4],
        [1, 2, 3, 4],
        [4, 1, 3],
      ],
    },
  ],
};

/** Heads of q for each head of k and v, where they are a multiple of them. */
function groupsOf([q, k]: readonly TensorType[]): number {
  const axis = q.shape.length - 3;
  if (axis < 0 || k.shape.length !== q.shape.length) return 1;
  const groups = exactQuotient(q.shape[axis], k.shape[axis]);
  return (groups && asConst(groups)) ?? 1;
}
/** The heads of a group as an axis of their own, over which k and v are the same; as more queries, where all see the same keys. */
function grouped(b: Builder, node: Node): Value {
  const [q, k, v, mask] = node.inputs;
  const groups = dim(groupsOf([q.type, k.type]));
  const lead = k.type.shape.slice(0, -2);
  const [t, d] = q.type.shape.slice(-2);
  const scale = node.attrs.scale;
  const causal = boolAt(node.attrs, "causal") && asConst(t) !== 1;
  if (!mask && !causal) {
    const queries = reshape(b, q, [...lead, dimMul(groups, t), d]);
    const o = b.make(attentionOp, [queries, k, v], { causal, scale });
    return reshape(b, o, node.outs[0].type.shape);
  }
  const apart = (x: Value, heads: readonly Dim[]): Value =>
    reshape(b, x, [...x.type.shape.slice(0, -3), ...heads, ...x.type.shape.slice(-2)]);
  const shared = (x: Value): Value => {
    const one = apart(x, [lead[lead.length - 1], dim(1)]);
    return broadcastTo(b, one, [...lead, groups, ...x.type.shape.slice(-2)]);
  };
  const heads = [lead[lead.length - 1], groups];
  const masks = (m: Value): Value => {
    if (m.type.shape.length < 3) return m;
    return apart(m, isConst(m.type.shape[m.type.shape.length - 3], 1) ? [dim(1), dim(1)] : heads);
  };
  const o = b.make(attentionOp, [apart(q, heads), shared(k), shared(v), ...(mask ? [masks(mask)] : [])], {
    causal,
    scale,
  });
  return reshape(b, o, node.outs[0].type.shape);
}

/** Scaled scores [..., T, S] in f32, hidden ones MASKED, and where they are seen (undefined: everywhere). */
function scoresOf(b: Builder, node: Node): { scores: Value; seen: Value | undefined } {
  const [q, k] = node.inputs.map((v) => cast(b, v, "f32"));
  const mask = node.op === attentionOp ? node.inputs[3] : undefined;
  let scores = mul(b, dot(b, q, swapLast(b, k)), numberAt(node.attrs, "scale"));
  let seen: Value | undefined;
  const { shape } = scores.type;
  const show = (visible: Value): void => {
    seen = seen ? and(b, seen, visible) : broadcastTo(b, visible, shape);
  };
  if (mask?.type.dtype === "bool") show(mask);
  else if (mask) {
    scores = add(b, scores, cast(b, mask, "f32"));
    // Hidden is -inf alone: NaN is seen, and makes its row NaN.
    show(or(b, b.make(isFiniteOp, [scores]), not(b, lt(b, scores, 0))));
  }
  if (boolAt(node.attrs, "causal")) {
    const [row, column] = [place(b, shape, shape.length - 2), place(b, shape, shape.length - 1)];
    const late = dimSub(shape[shape.length - 1], shape[shape.length - 2]);
    const last = asConst(late) === 0 ? row : add(b, row, sizeValue(b, late));
    show(le(b, column, last));
  }
  return { scores: seen ? where(b, seen, scores, MASKED) : scores, seen };
}

/**
 * The weights p [..., T, S] in f32: a softmax over the keys seen, zeros in a row that sees none. `top` and `inverse` are
 * the rows' largest score and 1 / the sum of exponentials (0 in such a row), [..., T, 1].
 */
function weightsOf(
  b: Builder,
  node: Node,
): { p: Value; seen: Value | undefined; top: Value; inverse: Value } {
  const { scores, seen } = scoresOf(b, node);
  const over = [scores.type.shape.length - 1];
  const top = stopGradient(b, max(b, scores, over, true));
  const exponentials = exp(b, sub(b, scores, top));
  const counted = seen ? where(b, seen, exponentials, 0) : exponentials;
  const total = sum(b, counted, over, true);
  const empty = eq(b, total, 0);
  const inverse = seen ? where(b, empty, 0, div(b, 1, where(b, empty, 1, total))) : div(b, 1, total);
  return { p: mul(b, counted, inverse), seen, top, inverse };
}

/** Weights and the gradient of the scores, for output gradient g; in f32. */
function weightsBack(
  b: Builder,
  node: Node,
  g: Value,
): { p: Value; ds: Value; delta: Value; top: Value; inverse: Value } {
  const { p, seen, top, inverse } = weightsOf(b, node);
  const dp = dot(b, cast(b, g, "f32"), swapLast(b, cast(b, node.inputs[2], "f32")));
  const delta = sum(b, mul(b, dp, p), [p.type.shape.length - 1], true);
  const ds = mul(b, p, sub(b, dp, delta));
  return { p, ds: seen ? where(b, seen, ds, 0) : ds, delta, top, inverse };
}
/** The gradients of q, k and v, of the dtype they have. */
const queryBack = (b: Builder, node: Node, ds: Value): Value =>
  scaled(b, node, dot(b, ds, cast(b, node.inputs[1], "f32")));
const keyBack = (b: Builder, node: Node, ds: Value): Value =>
  scaled(b, node, dot(b, swapLast(b, ds), cast(b, node.inputs[0], "f32")));
const valueBack = (b: Builder, p: Value, g: Value): Value =>
  cast(b, dot(b, swapLast(b, p), cast(b, g, "f32")), g.type.dtype);
const scaled = (b: Builder, node: Node, x: Value): Value =>
  cast(b, mul(b, x, numberAt(node.attrs, "scale")), node.inputs[0].type.dtype);

const gradParams: OpDef["params"] = [
  tensor("q"),
  tensor("k"),
  tensor("v"),
  tensor("g"),
  tensor("o"),
  bool("causal", { default: false }),
  float("scale", { optional: true }),
];
/** Figures of a row: the largest score, 1 / the sum of exponentials, the weighted gradient. One tensor, one binding. */
const ROW_FIGURES = 3;
const figuresOf = (t: TensorType): TensorType => ({
  dtype: "f32",
  shape: [...t.shape.slice(0, -1), dim(ROW_FIGURES)],
});

/** The query's gradient, and per query row what the other half needs. */
export const attentionGradQueryOp: OpDef = {
  name: "attention_grad_query",
  doc: "Of attention: the gradient of q, and the figures of its rows (largest score, 1 / sum, weighted gradient). o is what attention gave: g * o sums to the weighted gradients.",
  fuses: "composite",
  exposed: false,
  params: gradParams,
  infer: ([q]) => [q, figuresOf(q)],
  expand: (b, node) => {
    const { ds, delta, top, inverse } = weightsBack(b, node, node.inputs[3]);
    return [queryBack(b, node, ds), concat(b, [top, inverse, delta], top.type.shape.length - 1)];
  },
  // Nothing differentiates the figures; the second gradients of attention are those of the rest. No examples: o is no
  // tensor of its own.
  examples: [],
};
/** The gradients of keys and values; the rows' figures spare it a pass of its own where it is one kernel. */
export const attentionGradKeyOp: OpDef = {
  name: "attention_grad_key",
  doc: "Of attention: the gradients of k and v.",
  fuses: "composite",
  exposed: false,
  params: [...gradParams.slice(0, 4), tensor("figures"), ...gradParams.slice(5)],
  infer: ([, k, v]) => [k, v],
  expand: (b, node) => {
    const g = node.inputs[3];
    const { p, ds } = weightsBack(b, node, g);
    return [keyBack(b, node, ds), valueBack(b, p, g)];
  },
  examples: [],
};

function attentionVjp(b: Builder, node: Node, [g]: readonly (Value | undefined)[]): (Value | undefined)[] {
  if (!g) return node.inputs.map(() => undefined);
  const [q, k, v, mask] = node.inputs;
  if (mask) {
    const { p, ds } = weightsBack(b, node, g);
    // A mask that is added has the gradient of the scores, summed where it was repeated.
    const added =
      mask.type.dtype === "bool" ? undefined : cast(b, unbroadcast(b, ds, mask.type.shape), mask.type.dtype);
    return [queryBack(b, node, ds), keyBack(b, node, ds), valueBack(b, p, g), added];
  }
  const [dq, figures] = b.node(attentionGradQueryOp, [q, k, v, g, node.outs[0]], node.attrs);
  const [dk, dv] = b.node(attentionGradKeyOp, [q, k, v, g, figures], node.attrs);
  return [dq, dk, dv];
}

// ----------------------------------------------------------------------------------------------------- rotary

/** Twice pi in two parts, of which whole multiples of the first are exact. */
const TURN = [6.28125, 2 * Math.PI - 6.28125];

export const rotaryOp: OpDef = {
  name: "rotary_embedding",
  torch: "",
  doc: "x [..., T, d] with its features turned by angles that grow with the position: pair i by position * base ** (-2 i / d). Pairs are the features i and i + d / 2 (Llama's as Hugging Face has it), or `interleaved` 2 i and 2 i + 1. positions (i32) are [T], or have axes before it as x has; 0 .. T - 1 by default.",
  fuses: "composite",
  params: [
    tensor("x"),
    tensor("positions", { optional: true, literal: "i32" }),
    float("base", { default: 10000 }),
    bool("interleaved", { default: false }),
  ],
  complete: (_types, attrs) => ({ base: attrs.base ?? 10000, interleaved: boolAt(attrs, "interleaved") }),
  infer: ([x, positions], attrs, b) => {
    allowDtypes("rotary_embedding", [x], FLOATS);
    const d = asConst(x.shape[x.shape.length - 1] ?? dim(1));
    if (x.shape.length < 2 || d === undefined || d % 2 !== 0)
      fail("E0304", `rotary_embedding takes [..., T, d] with an even d, given ${typeText(x)}`, {
        operand: 0,
      });
    if (!(numberAt(attrs, "base") > 0))
      fail("E0607", "rotary_embedding: base is not above 0", { attr: "base" });
    if (positions) {
      if (positions.dtype !== "i32")
        fail("E0404", `rotary_embedding: positions are ${positions.dtype}, not i32`, { operand: 1 });
      const rows = x.shape.slice(0, -1);
      if (!broadcastsTo("rotary_embedding", positions.shape, rows, b))
        fail("E0301", `rotary_embedding: positions ${shapeText(positions.shape)} for ${shapeText(rows)}`, {
          operand: 1,
        });
    }
    return [x];
  },
  expand: (b, node) => {
    const [x, given] = node.inputs;
    const { shape } = x.type;
    const rank = shape.length;
    const wide = cast(b, x, "f32");
    const half = (asConst(shape[rank - 1]) as number) / 2;
    const line = given ?? place(b, [shape[rank - 2]], 0);
    const rows = [...line.type.shape, dim(half)];
    const positions = broadcastTo(b, reshape(b, cast(b, line, "f32"), [...line.type.shape, dim(1)]), rows);
    const rate = exp(
      b,
      mul(b, cast(b, place(b, rows, rows.length - 1), "f32"), -Math.log(numberAt(node.attrs, "base")) / half),
    );
    const angle = mul(b, positions, rate);
    // Within a turn: devices' sines are good near 0.
    const turns = b.make(roundOp, [mul(b, angle, 1 / (2 * Math.PI))]);
    const within = TURN.reduce((a, part) => sub(b, a, mul(b, turns, part)), angle);
    const pairs = [...shape.slice(0, -1), dim(half)];
    const [c, s] = [cos, sin].map((f) => broadcastTo(b, f(b, within), pairs));
    const turned = (p: Value, q: Value): readonly Value[] => [
      sub(b, mul(b, p, c), mul(b, q, s)),
      add(b, mul(b, q, c), mul(b, p, s)),
    ];
    if (!boolAt(node.attrs, "interleaved")) {
      const [p, q] = [0, half].map((from) => sliceAxis(b, wide, rank - 1, from, half));
      return [cast(b, concat(b, turned(p, q), rank - 1), x.type.dtype)];
    }
    const apart = reshape(b, wide, [...pairs, dim(2)]);
    const [p, q] = [0, 1].map((k) => reshape(b, sliceAxis(b, apart, rank, k, 1), pairs));
    const both = turned(p, q).map((v) => reshape(b, v, [...pairs, dim(1)]));
    return [cast(b, reshape(b, concat(b, both, rank), shape), x.type.dtype)];
  },
  examples: [
    { shapes: [[2, 3, 4]] },
    { shapes: [[2, 2, 3, 6]], attrs: { interleaved: true, base: 100 } },
    {
      shapes: [
        [2, 3, 4],
        [2, 1],
      ],
      dtypes: ["f32", "i32"],
    },
  ],
};

export const attentions: readonly OpDef[] = [rotaryOp, attentionOp, attentionGradQueryOp, attentionGradKeyOp];
