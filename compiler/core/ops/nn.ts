// Composites of networks: softmax, activations, norms, attention. In: tensors. Out: their definition in simpler
// operators (`expand`), kept in forms that fusion sees through: folds over an axis and maps around them.
import { dim } from "../dims/dim.ts";
import type { Builder, OpDef, OpExample, TensorType, Value } from "../ir/types.ts";
import { cast, reshape, sum } from "./axes.ts";
import {
  allowDtypes,
  axis,
  broadcastShapes,
  FLOATS,
  fail,
  float,
  normalizeAxis,
  numberAt,
  sameDtypes,
  sameSize,
  shapeText,
  tensor,
  word,
} from "./define.ts";
import {
  abs,
  add,
  div,
  erf,
  exp,
  gt,
  log,
  log1p,
  maximum,
  mul,
  neg,
  rsqrt,
  sigmoid,
  sub,
  tanh,
  where,
} from "./elementwise.ts";
import { mean, shiftedExp, variance } from "./reduce.ts";

const sameAsOperand = (name: string): OpDef["infer"] => {
  return ([x]) => {
    allowDtypes(name, [x], FLOATS);
    return [x];
  };
};
const alongAxis = (name: string): Pick<OpDef, "params" | "complete" | "infer" | "fuses"> => ({
  fuses: "composite",
  params: [tensor("x"), axis("axis", { default: -1 })],
  complete: ([x], attrs) => ({ axis: normalizeAxis(name, (attrs.axis as number) ?? -1, x.shape.length) }),
  infer: sameAsOperand(name),
});
const softmaxExamples: readonly OpExample[] = [
  { shapes: [[2, 5]] },
  { shapes: [[2, 3, 4]], attrs: { axis: 1 } },
  { shapes: [[2, 4]], range: [-90, 90], grad: false },
  { shapes: [[2, 4]], range: [1e6, 1e6 + 3], grad: false },
];

// ---------------------------------------------------------------------------------------------- softmax

export const softmaxOp: OpDef = {
  name: "softmax",
  doc: "exp(x) / sum(exp(x)) along an axis (the last by default), stable for large x.",
  ...alongAxis("softmax"),
  vjp: (b, node, [g]) => {
    if (!g) return [undefined];
    const [y, h] = [cast(b, node.outs[0], "f32"), cast(b, g, "f32")];
    const over = [numberAt(node.attrs, "axis")];
    return [cast(b, mul(b, y, sub(b, h, sum(b, mul(b, h, y), over, true))), g.type.dtype)];
  },
  expand: (b, node) => {
    const [x] = node.inputs;
    const { exponentials, total } = shiftedExp(b, x, [numberAt(node.attrs, "axis")]);
    return [cast(b, div(b, exponentials, total), x.type.dtype)];
  },
  examples: softmaxExamples,
};
export const softmax = (b: Builder, x: Value, along: number): Value =>
  b.make(softmaxOp, [x], { axis: normalizeAxis("softmax", along, x.type.shape.length) });

export const logSoftmaxOp: OpDef = {
  name: "log_softmax",
  doc: "log(softmax(x)) along an axis (the last by default).",
  ...alongAxis("log_softmax"),
  vjp: (b, node, [g]) => {
    if (!g) return [undefined];
    const over = [numberAt(node.attrs, "axis")];
    // exp of a result rounded to f16 would be off by its own size.
    const y = g.type.dtype === "f32" ? node.outs[0] : logSoftmax(b, node.inputs[0], over);
    const h = cast(b, g, "f32");
    return [cast(b, sub(b, h, mul(b, exp(b, y), sum(b, h, over, true))), g.type.dtype)];
  },
  expand: (b, node) => {
    const [x] = node.inputs;
    return [cast(b, logSoftmax(b, x, [numberAt(node.attrs, "axis")]), x.type.dtype)];
  },
  examples: softmaxExamples,
};
/** In f32. */
function logSoftmax(b: Builder, x: Value, over: readonly number[]): Value {
  const { shifted, total } = shiftedExp(b, x, over);
  return sub(b, shifted, log(b, total));
}

// ------------------------------------------------------------------------------------------- activations

const activation = (
  name: string,
  doc: string,
  params: OpDef["params"],
  expand: (b: Builder, x: Value, attrs: Parameters<OpDef["infer"]>[1]) => Value,
  vjp?: OpDef["vjp"],
  examples: readonly OpExample[] = [{ shapes: [[2, 3]], range: [-3, 3] }],
): OpDef => ({
  name,
  doc,
  fuses: "composite",
  params: [tensor("x"), ...params],
  infer: sameAsOperand(name),
  vjp,
  expand: (b, node) => [expand(b, node.inputs[0], node.attrs)],
  examples,
});
export const geluOp = activation(
  "gelu",
  "x times the normal distribution function of x; `approximate` is none (by erf) or tanh.",
  [word("approximate", { default: "none", among: ["none", "tanh"] })],
  (b, x, attrs) => {
    const half = mul(b, x, 0.5);
    if (attrs.approximate !== "tanh") return mul(b, half, add(b, erf(b, mul(b, x, Math.SQRT1_2)), 1));
    const inner = mul(b, x, add(b, mul(b, mul(b, x, x), 0.044715), 1));
    return mul(b, half, add(b, tanh(b, mul(b, inner, Math.sqrt(2 / Math.PI))), 1));
  },
  undefined,
  [
    { shapes: [[2, 3]], range: [-3, 3] },
    { shapes: [[2, 3]], range: [-3, 3], attrs: { approximate: "tanh" } },
  ],
);
export const siluOp = activation("silu", "x * sigmoid(x), also called swish.", [], (b, x) =>
  mul(b, x, sigmoid(b, x)),
);
export const softplusOp = activation(
  "softplus",
  "log(1 + exp(x)), stable for large x.",
  [],
  (b, x) => add(b, maximum(b, x, 0), log1p(b, exp(b, neg(b, abs(b, x))))),
  (b, node, [g]) => [g && mul(b, g, sigmoid(b, node.inputs[0]))],
);
export const leakyReluOp = activation(
  "leaky_relu",
  "x where it is positive, else `slope` times x.",
  [float("slope", { default: 0.01 })],
  (b, x, attrs) => where(b, gt(b, x, 0), x, mul(b, x, (attrs.slope as number) ?? 0.01)),
  undefined,
  [{ shapes: [[2, 3]], attrs: { slope: 0.2 } }],
);

// ------------------------------------------------------------------------------------------------- norms

/** The axes layer_norm normalises: as many last ones as its weight has. */
const normAxes = (x: TensorType, weight: TensorType | undefined): readonly number[] => {
  const count = weight?.shape.length ?? 1;
  return Array.from({ length: count }, (_, i) => x.shape.length - count + i);
};
export const layerNormOp: OpDef = {
  name: "layer_norm",
  doc: "(x - mean) / sqrt(var + eps) over the last axis (the last axes, where weight has more), times weight plus bias.",
  fuses: "composite",
  params: [
    tensor("x"),
    tensor("weight", { optional: true }),
    tensor("bias", { optional: true }),
    float("eps", { default: 1e-5 }),
  ],
  complete: (_types, attrs) => ({ eps: attrs.eps ?? 1e-5 }),
  infer: (types, _attrs, b) => {
    const [x, ...scales] = types;
    sameDtypes("layer_norm", types);
    allowDtypes("layer_norm", types, FLOATS);
    scales.forEach((t, k) => {
      const rank = t.shape.length;
      const refuse = (): never =>
        fail(
          "E0302",
          `layer_norm: ${k === 0 ? "weight" : "bias"} ${shapeText(t.shape)} does not fit the last axes of ${shapeText(x.shape)}`,
          {
            operand: k + 1,
          },
        );
      if (rank === 0 || rank > x.shape.length || rank !== scales[0].shape.length) refuse();
      for (const [i, d] of t.shape.entries())
        sameSize(d, x.shape[x.shape.length - rank + i], `layer_norm: axis ${i} of the scale`, b, refuse);
    });
    if (x.shape.length === 0)
      fail("E0304", "layer_norm takes a vector or more, given a scalar", { operand: 0 });
    return [x];
  },
  vjp: (b, node, [g]) => {
    const [x, weight, bias] = node.inputs;
    if (!g) return node.inputs.map(() => undefined);
    const over = normAxes(x.type, weight?.type);
    const { scaled, scale } = normalized(b, x, over, numberAt(node.attrs, "eps"));
    const h = weight ? mul(b, g, weight) : g;
    const centred = sub(
      b,
      h,
      add(b, mean(b, h, over, true), mul(b, scaled, mean(b, mul(b, h, scaled), over, true))),
    );
    const others = x.type.shape.map((_, i) => i).filter((i) => !over.includes(i));
    return [
      mul(b, centred, scale),
      ...(weight ? [sum(b, mul(b, g, scaled), others)] : []),
      ...(bias ? [sum(b, g, others)] : []),
    ];
  },
  expand: (b, node) => {
    const [x, weight, bias] = node.inputs;
    const { scaled } = normalized(b, x, normAxes(x.type, weight?.type), numberAt(node.attrs, "eps"));
    const times = weight ? mul(b, scaled, weight) : scaled;
    return [bias ? add(b, times, bias) : times];
  },
  examples: [
    { shapes: [[3, 6], [6], [6]] },
    { shapes: [[2, 3, 4]] },
    {
      shapes: [
        [2, 3, 4],
        [3, 4],
      ],
    },
  ],
};
function normalized(
  b: Builder,
  x: Value,
  over: readonly number[],
  eps: number,
): { scaled: Value; scale: Value } {
  const scale = rsqrt(b, add(b, variance(b, x, over, true, 0), eps));
  return { scaled: mul(b, sub(b, x, mean(b, x, over, true)), scale), scale };
}

export const normalizeOp: OpDef = {
  name: "normalize",
  doc: "(x - mean) / sqrt(var + eps); statistics of rank 1 lie along `axis` (1, the channels), others broadcast.",
  fuses: "composite",
  params: [
    tensor("x"),
    tensor("mean"),
    tensor("var"),
    float("eps", { default: 1e-5 }),
    axis("axis", { default: 1 }),
  ],
  complete: ([x], attrs) => ({
    eps: attrs.eps ?? 1e-5,
    axis: normalizeAxis(
      "normalize",
      Math.min((attrs.axis as number) ?? 1, Math.max(0, x.shape.length - 1)),
      x.shape.length,
    ),
  }),
  infer: (types, attrs, b) => {
    const [x, ...statistics] = types;
    sameDtypes("normalize", types);
    allowDtypes("normalize", types, FLOATS);
    statistics.forEach((t, k) => {
      const operand = k + 1;
      if (t.shape.length === 1) {
        const channels = x.shape[numberAt(attrs, "axis")];
        sameSize(t.shape[0], channels, "normalize: channels", b, () =>
          fail(
            "E0302",
            `normalize: ${t.shape[0].key} statistics for ${channels.key} channels of ${shapeText(x.shape)}`,
            { operand },
          ),
        );
      } else if (broadcastShapes("normalize", [x.shape, t.shape], b).length > x.shape.length)
        fail(
          "E0302",
          `normalize: statistics ${shapeText(t.shape)} have more axes than ${shapeText(x.shape)}`,
          { operand },
        );
    });
    return [x];
  },
  inline: ([x]) => x.dtype !== "f16",
  expand: (b, node) => {
    const [x, m, v] = node.inputs;
    const along = numberAt(node.attrs, "axis");
    const lift = (t: Value): Value =>
      t.type.shape.length === 1 && x.type.shape.length > 1
        ? reshape(
            b,
            t,
            x.type.shape.map((_, i) => (i === along ? t.type.shape[0] : dim(1))),
          )
        : t;
    return [mul(b, sub(b, x, lift(m)), rsqrt(b, add(b, lift(v), numberAt(node.attrs, "eps"))))];
  },
  examples: [
    { shapes: [[2, 3, 2, 2], [3], [3]], range: [0.2, 1] },
    {
      shapes: [
        [4, 3],
        [4, 1],
        [4, 1],
      ],
      range: [0.2, 1],
    },
  ],
};

export const networks: readonly OpDef[] = [
  softmaxOp,
  logSoftmaxOp,
  geluOp,
  siluOp,
  softplusOp,
  leakyReluOp,
  layerNormOp,
  normalizeOp,
];
