// Composites of networks: softmax and activations (norms are in norms.ts). In: tensors. Out: their definition in simpler
// operators (`expand`), kept in forms that fusion sees through: folds over an axis and maps around them.
import { dim, floorDiv, isConst } from "../dims/dim.ts";
import type { Builder, OpDef, OpExample, TensorType, Value } from "../ir/types.ts";
import { broadcastTo, cast, reshape, sum, unbroadcast } from "./axes.ts";
import {
  allowDtypes,
  axis,
  FLOATS,
  fail,
  float,
  multipleOf,
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
  clamp,
  div,
  erf,
  exp,
  expm1,
  gt,
  le,
  log,
  log1p,
  lt,
  maximum,
  minimum,
  mul,
  neg,
  sigmoid,
  sub,
  tanh,
  where,
} from "./elementwise.ts";
import { sliceAxis } from "./movement.ts";
import { shiftedExp } from "./reduce.ts";

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
  torch: `F.${name}`,
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

/** What is held between two numbers, as PyTorch's hardtanh: nothing passes back at the bounds. */
export const hardtanhOp = activation(
  "hardtanh",
  "x held between `min_val` (-1) and `max_val` (1).",
  [float("min_val", { default: -1 }), float("max_val", { default: 1 })],
  (b, x, attrs) => clamp(b, x, (attrs.min_val as number) ?? -1, (attrs.max_val as number) ?? 1),
);
export const relu6Op = activation(
  "relu6",
  "x held between 0 and 6.",
  [],
  (b, x) => clamp(b, x, 0, 6),
  undefined,
  [{ shapes: [[2, 3]], range: [-3, 9] }],
);

/**
 * What elu, selu and celu are, with PyTorch's three numbers: x times `up` where it is positive, else
 * `low` * expm1(x * `inner`).
 */
function exponentialUnit(
  name: string,
  doc: string,
  params: OpDef["params"],
  numbers: (attrs: Parameters<OpDef["infer"]>[1]) => { low: number; up: number; inner: number },
  examples?: readonly OpExample[],
): OpDef {
  const scaled = (b: Builder, x: Value, by: number): Value => (by === 1 ? x : mul(b, x, by));
  return activation(
    name,
    doc,
    params,
    (b, x, attrs) => {
      const { low, up, inner } = numbers(attrs);
      return where(b, le(b, x, 0), mul(b, expm1(b, scaled(b, x, inner)), low), scaled(b, x, up));
    },
    (b, node, [g]) => {
      const [x] = node.inputs;
      const { low, up, inner } = numbers(node.attrs);
      // Of what is not above 0, so that nothing overflows that is not taken.
      const slope = mul(b, exp(b, scaled(b, minimum(b, x, 0), inner)), low * inner);
      return [g && mul(b, g, where(b, le(b, x, 0), slope, up))];
    },
    examples,
  );
}
const alphaOf = (attrs: Parameters<OpDef["infer"]>[1]): number => (attrs.alpha as number) ?? 1;
const alphas: readonly OpExample[] = [
  { shapes: [[2, 3]], range: [-3, 3] },
  { shapes: [[2, 3]], range: [-3, 3], attrs: { alpha: 0.7 } },
];
export const eluOp = exponentialUnit(
  "elu",
  "x where it is positive, else `alpha` * (exp(x) - 1).",
  [float("alpha", { default: 1 })],
  (attrs) => ({ low: alphaOf(attrs), up: 1, inner: 1 }),
  alphas,
);
const SELU = { alpha: 1.6732632423543772, scale: 1.0507009873554805 };
export const seluOp = exponentialUnit(
  "selu",
  "1.0507 times x where it is positive, else 1.7581 * (exp(x) - 1): a network of it keeps mean 0 and variance 1.",
  [],
  () => ({ low: SELU.alpha * SELU.scale, up: SELU.scale, inner: 1 }),
);
export const celuOp = exponentialUnit(
  "celu",
  "x where it is positive, else `alpha` * (exp(x / alpha) - 1).",
  [float("alpha", { default: 1 })],
  (attrs) => ({ low: alphaOf(attrs), up: 1, inner: 1 / alphaOf(attrs) }),
  alphas,
);
export const mishOp = activation("mish", "x * tanh(softplus(x)).", [], (b, x) =>
  mul(b, x, tanh(b, b.make(softplusOp, [x]))),
);
export const softsignOp = activation("softsign", "x / (1 + |x|).", [], (b, x) =>
  div(b, x, add(b, abs(b, x), 1)),
);
export const logsigmoidOp = activation(
  "logsigmoid",
  "log(sigmoid(x)), stable for large x.",
  [],
  (b, x) => neg(b, b.make(softplusOp, [neg(b, x)])),
  (b, node, [g]) => [g && mul(b, g, sigmoid(b, neg(b, node.inputs[0])))],
);
export const tanhshrinkOp = activation("tanhshrink", "x - tanh(x).", [], (b, x) => sub(b, x, tanh(b, x)));
const lambda = float("lambda", { default: 0.5 });
const lambdaOf = (attrs: Parameters<OpDef["infer"]>[1]): number => (attrs.lambda as number) ?? 0.5;
/** Outside of the two; a NaN is not. */
const shrinkVjp: OpDef["vjp"] = (b, node, [g]) => [
  g && where(b, gt(b, abs(b, node.inputs[0]), lambdaOf(node.attrs)), g, 0),
];
export const hardshrinkOp = activation(
  "hardshrink",
  "x, but 0 between -`lambda` and `lambda`, both among them.",
  [lambda],
  (b, x, attrs) => where(b, le(b, abs(b, x), lambdaOf(attrs)), 0, x),
  shrinkVjp,
);
export const softshrinkOp = activation(
  "softshrink",
  "x moved towards 0 by `lambda`, and 0 where that would go beyond it.",
  [lambda],
  (b, x, attrs) => sub(b, x, clamp(b, x, -lambdaOf(attrs), lambdaOf(attrs))),
  shrinkVjp,
);
export const hardsigmoidOp = activation("hardsigmoid", "x / 6 + 1 / 2 held between 0 and 1.", [], (b, x) =>
  mul(b, clamp(b, add(b, x, 3), 0, 6), 1 / 6),
);
export const hardswishOp = activation(
  "hardswish",
  "x * hardsigmoid(x).",
  [],
  (b, x) => mul(b, x, mul(b, clamp(b, add(b, x, 3), 0, 6), 1 / 6)),
  (b, node, [g]) => {
    const [x] = node.inputs;
    const between = where(b, lt(b, x, 3), add(b, mul(b, x, 1 / 3), 0.5), 1);
    return [g && mul(b, g, where(b, le(b, x, -3), 0, between))];
  },
);

export const preluOp: OpDef = {
  name: "prelu",
  torch: "F.prelu",
  doc: "x where it is positive, else the weight times x: one weight for all, or one for each channel (axis 1).",
  fuses: "composite",
  params: [tensor("x"), tensor("weight")],
  infer: (types, _attrs, b) => {
    const [x, weight] = types;
    sameDtypes("prelu", types);
    allowDtypes("prelu", types, FLOATS);
    const refuse = (): never =>
      fail(
        "E0302",
        `prelu: weights ${shapeText(weight.shape)} for ${shapeText(x.shape)}: one, or one a channel`,
        {
          operand: 1,
        },
      );
    if (weight.shape.length > 1) refuse();
    const [count] = weight.shape;
    if (count && !isConst(count, 1)) {
      if (x.shape.length < 2) refuse();
      sameSize(count, x.shape[1], "prelu: channels", b, refuse);
    }
    return [x];
  },
  vjp: (b, node, [g]) => {
    const [x, weight] = node.inputs;
    if (!g) return [undefined, undefined];
    const spread = broadcastTo(b, alongChannels(b, weight, x.type), x.type.shape);
    const positive = gt(b, x, 0);
    // What is not taken does not count, infinite as it may be.
    const each = where(b, positive, 0, mul(b, g, x));
    const summed = unbroadcast(b, each, alongChannels(b, weight, x.type).type.shape);
    return [mul(b, g, where(b, positive, 1, spread)), reshape(b, summed, weight.type.shape)];
  },
  expand: (b, node) => {
    const [x, weight] = node.inputs;
    return [where(b, gt(b, x, 0), x, mul(b, alongChannels(b, weight, x.type), x))];
  },
  examples: [{ shapes: [[2, 3], [1]] }, { shapes: [[2, 3, 4], [3]] }, { shapes: [[5], []] }],
};
/** One number, or one a channel, to be broadcast over x [N, C, ...]. */
export function alongChannels(b: Builder, v: Value, x: TensorType): Value {
  const [count] = v.type.shape;
  if (!count || isConst(count, 1)) return reshape(b, v, []);
  return reshape(
    b,
    v,
    x.shape.slice(1).map((_, i) => (i === 0 ? count : dim(1))),
  );
}

export const gluOp: OpDef = {
  name: "glu",
  torch: "F.glu",
  doc: "Of two halves of x along an axis (the last by default), the first times the sigmoid of the second.",
  fuses: "composite",
  params: [tensor("x"), axis("axis", { default: -1 })],
  complete: ([x], attrs) => ({ axis: normalizeAxis("glu", (attrs.axis as number) ?? -1, x.shape.length) }),
  infer: ([x], attrs, b) => {
    allowDtypes("glu", [x], FLOATS);
    const along = numberAt(attrs, "axis");
    const message = `glu: axis ${along} of ${shapeText(x.shape)} in two halves`;
    multipleOf(x.shape[along], 2, message, b, () => fail("E0302", message, { operand: 0 }));
    return [{ dtype: x.dtype, shape: x.shape.map((d, i) => (i === along ? floorDiv(d, 2) : d)) }];
  },
  expand: (b, node) => {
    const [x] = node.inputs;
    const along = numberAt(node.attrs, "axis");
    const count = floorDiv(x.type.shape[along], 2);
    return [mul(b, sliceAxis(b, x, along, 0, count), sigmoid(b, sliceAxis(b, x, along, count, count)))];
  },
  examples: [{ shapes: [[2, 6]] }, { shapes: [[2, 4, 3]], attrs: { axis: 1 } }],
};

export const networks: readonly OpDef[] = [
  softmaxOp,
  logSoftmaxOp,
  geluOp,
  siluOp,
  softplusOp,
  leakyReluOp,
  relu6Op,
  hardtanhOp,
  eluOp,
  seluOp,
  celuOp,
  mishOp,
  softsignOp,
  logsigmoidOp,
  hardsigmoidOp,
  hardswishOp,
  hardshrinkOp,
  softshrinkOp,
  tanhshrinkOp,
  preluOp,
  gluOp,
];
