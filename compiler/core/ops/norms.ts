// Norms: x less its mean, divided by its deviation, over rows, channels or groups of them. In: tensors, scales. Out:
// composites in forms that fusion sees through: folds over axes, and maps around them.
import { type Dim, dim, floorDiv, isConst, mul as mulDims } from "../dims/dim.ts";
import type { Builder, OpDef, TensorType, Value } from "../ir/types.ts";
import { reshape, sum } from "./axes.ts";
import {
  allowDtypes,
  axis,
  broadcastsTo,
  FLOATS,
  fail,
  float,
  int,
  multipleOf,
  normalizeAxis,
  numberAt,
  type Requirer,
  sameDtypes,
  sameSize,
  shapeText,
  tensor,
  typeText,
} from "./define.ts";
import { add, clamp, div, mul, pow, rsqrt, square, sub } from "./elementwise.ts";
import { pad } from "./movement.ts";
import { alongChannels } from "./nn.ts";
import { sumPool2d } from "./pool.ts";
import { mean, variance, vectorNorm } from "./reduce.ts";

/** The axes layer_norm and rms_norm are over: as many last ones as the weight has. */
const normAxes = (x: TensorType, weight: TensorType | undefined): readonly number[] => {
  const count = weight?.shape.length ?? 1;
  return Array.from({ length: count }, (_, i) => x.shape.length - count + i);
};
/** x, and weights (and biases) that have its last axes. */
function ofLastAxes(name: string, types: readonly TensorType[], b: Requirer): readonly TensorType[] {
  const [x, ...scales] = types;
  sameDtypes(name, types);
  allowDtypes(name, types, FLOATS);
  scales.forEach((t, k) => {
    const rank = t.shape.length;
    const refuse = (): never =>
      fail(
        "E0302",
        `${name}: ${k === 0 ? "weight" : "bias"} ${shapeText(t.shape)} does not fit the last axes of ${shapeText(x.shape)}`,
        { operand: k + 1 },
      );
    if (rank === 0 || rank > x.shape.length || rank !== scales[0].shape.length) refuse();
    for (const [i, d] of t.shape.entries())
      sameSize(d, x.shape[x.shape.length - rank + i], `${name}: axis ${i} of the scale`, b, refuse);
  });
  if (x.shape.length === 0) fail("E0304", `${name} takes a vector or more, given a scalar`, { operand: 0 });
  return [x];
}

export const layerNormOp: OpDef = {
  name: "layer_norm",
  torch: "F.layer_norm",
  doc: "(x - mean) / sqrt(var + eps) over the last axis (the last axes, where weight has more), times weight plus bias.",
  fuses: "composite",
  params: [
    tensor("x"),
    tensor("weight", { optional: true }),
    tensor("bias", { optional: true }),
    float("eps", { default: 1e-5 }),
  ],
  complete: (_types, attrs) => ({ eps: attrs.eps ?? 1e-5 }),
  infer: (types, _attrs, b) => ofLastAxes("layer_norm", types, b),
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

export const rmsNormOp: OpDef = {
  name: "rms_norm",
  torch: "F.rms_norm",
  doc: "x / sqrt(mean(x^2) + eps) over the last axis (the last axes, where weight has more), times weight. `eps` is what a single has after 1 by default, as PyTorch's.",
  fuses: "composite",
  params: [tensor("x"), tensor("weight", { optional: true }), float("eps", { default: 2 ** -23 })],
  complete: (_types, attrs) => ({ eps: attrs.eps ?? 2 ** -23 }),
  infer: (types, _attrs, b) => ofLastAxes("rms_norm", types, b),
  vjp: (b, node, [g]) => {
    const [x, weight] = node.inputs;
    if (!g) return node.inputs.map(() => undefined);
    const over = normAxes(x.type, weight?.type);
    const scale = rootMeanSquare(b, x, over, numberAt(node.attrs, "eps"));
    const scaled = mul(b, x, scale);
    const h = weight ? mul(b, g, weight) : g;
    const others = x.type.shape.map((_, i) => i).filter((i) => !over.includes(i));
    return [
      mul(b, sub(b, h, mul(b, scaled, mean(b, mul(b, h, scaled), over, true))), scale),
      ...(weight ? [sum(b, mul(b, g, scaled), others)] : []),
    ];
  },
  expand: (b, node) => {
    const [x, weight] = node.inputs;
    const scale = rootMeanSquare(b, x, normAxes(x.type, weight?.type), numberAt(node.attrs, "eps"));
    const scaled = mul(b, x, scale);
    return [weight ? mul(b, scaled, weight) : scaled];
  },
  examples: [
    { shapes: [[3, 6], [6]] },
    { shapes: [[2, 3, 4]] },
    {
      shapes: [
        [2, 3, 4],
        [3, 4],
      ],
    },
  ],
};
/** 1 / sqrt(mean(x^2) + eps). */
const rootMeanSquare = (b: Builder, x: Value, over: readonly number[], eps: number): Value =>
  rsqrt(b, add(b, mean(b, square(b, x), over, true), eps));

// ------------------------------------------------------------------------------------- norms of channels

export const normalizeOp: OpDef = {
  name: "normalize",
  torch: "",
  doc: "(x - mean) / sqrt(var + eps); statistics of rank 1 lie along `axis` (1, the channels), others broadcast.",
  fuses: "composite",
  params: [
    tensor("x"),
    tensor("mean", {
      doc: "of x, as moments(x) gives it; what PyTorch calls F.normalize is l2_normalize(x)",
    }),
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
      } else if (!broadcastsTo("normalize", t.shape, x.shape, b))
        fail(
          "E0302",
          `normalize: statistics ${shapeText(t.shape)} do not broadcast to ${shapeText(x.shape)}`,
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

/** x [N, C, ...], and numbers for each channel. */
function ofChannels(
  name: string,
  types: readonly TensorType[],
  words: readonly string[],
  b: Requirer,
): readonly TensorType[] {
  const [x, ...others] = types;
  sameDtypes(name, types);
  allowDtypes(name, types, FLOATS);
  if (x.shape.length < 2) fail("E0304", `${name} takes [N, C, ...], given ${typeText(x)}`, { operand: 0 });
  others.forEach((t, k) => {
    const refuse = (): never =>
      fail(
        "E0302",
        `${name}: ${words[k]} ${shapeText(t.shape)} for ${x.shape[1].key} channels of ${shapeText(x.shape)}`,
        {
          operand: k + 1,
        },
      );
    if (t.shape.length !== 1) refuse();
    sameSize(t.shape[0], x.shape[1], `${name}: channels`, b, refuse);
  });
  return [x];
}
/** Times a weight and plus a bias a channel, where there are any. */
function affine(b: Builder, y: Value, weight: Value | undefined, bias: Value | undefined): Value {
  const scaled = weight ? mul(b, y, alongChannels(b, weight, y.type)) : y;
  return bias ? add(b, scaled, alongChannels(b, bias, y.type)) : scaled;
}
/** (x - mean) / sqrt(var + eps) over stretches of `size` elements, in row-major order; `outer` are the axes of stretches. */
function overStretches(b: Builder, x: Value, outer: readonly Dim[], size: Dim, eps: number): Value {
  const rows = reshape(b, x, [...outer, size]);
  return reshape(b, b.make(layerNormOp, [rows], { eps }), x.type.shape);
}
const optionalScales = [tensor("weight", { optional: true }), tensor("bias", { optional: true })];
const EPS = float("eps", { default: 1e-5 });

export const groupNormOp: OpDef = {
  name: "group_norm",
  torch: "F.group_norm",
  doc: "(x - mean) / sqrt(var + eps) of x [N, C, ...] over each of `groups` groups of channels, times weight plus bias, one a channel.",
  fuses: "composite",
  params: [tensor("x"), int("groups", { aliases: ["num_groups"] }), ...optionalScales, EPS],
  complete: (_types, attrs) => ({ ...attrs, eps: attrs.eps ?? 1e-5 }),
  infer: (types, attrs, b) => {
    const [x] = ofChannels("group_norm", types, ["weight", "bias"], b);
    const groups = numberAt(attrs, "groups");
    const message = `group_norm: ${x.shape[1].key} channels in ${groups} groups`;
    const refuse = (): never => fail("E0302", message, { attr: "groups" });
    if (groups < 1) refuse();
    multipleOf(x.shape[1], groups, message, b, refuse);
    return [x];
  },
  expand: (b, node) => {
    const [x, weight, bias] = node.inputs;
    const groups = numberAt(node.attrs, "groups");
    const [n, channels, ...space] = x.type.shape;
    const each = floorDiv(channels, groups);
    const y = overStretches(b, x, [n, dim(groups)], mulDims(each, ...space), numberAt(node.attrs, "eps"));
    return [affine(b, y, weight, bias)];
  },
  examples: [
    { shapes: [[2, 4, 3], [4], [4]], attrs: { groups: 2 } },
    { shapes: [[2, 6, 2, 2]], attrs: { groups: 3 } },
    { shapes: [[3, 4], [4]], attrs: { groups: 1 } },
  ],
};

export const instanceNormOp: OpDef = {
  name: "instance_norm",
  torch: "F.instance_norm",
  doc: "(x - mean) / sqrt(var + eps) of x [N, C, ...] over the axes behind the channels, times weight plus bias, one a channel.",
  fuses: "composite",
  params: [tensor("x"), ...optionalScales, EPS],
  complete: (_types, attrs) => ({ eps: attrs.eps ?? 1e-5 }),
  infer: (types, _attrs, b) => {
    const [x] = ofChannels("instance_norm", types, ["weight", "bias"], b);
    if (x.shape.length < 3)
      fail(
        "E0304",
        `instance_norm takes [N, C, ...] with an axis behind the channels, given ${typeText(x)}`,
        {
          operand: 0,
        },
      );
    return [x];
  },
  expand: (b, node) => {
    const [x, weight, bias] = node.inputs;
    const [n, channels, ...space] = x.type.shape;
    const y = overStretches(b, x, [n, channels], mulDims(...space), numberAt(node.attrs, "eps"));
    return [affine(b, y, weight, bias)];
  },
  examples: [{ shapes: [[2, 3, 5], [3], [3]] }, { shapes: [[2, 2, 3, 2]] }],
};

export const batchNormOp: OpDef = {
  name: "batch_norm",
  torch: "F.batch_norm",
  doc: "(x - mean) / sqrt(var + eps) of x [N, C, ...] with one mean and variance a channel that are given, times weight plus bias: PyTorch's F.batch_norm in eval mode. Those of the batch itself are moments(x, axes = [0, 2, 3]); BatchNorm2d of std/nn keeps the running ones.",
  fuses: "composite",
  params: [tensor("x"), tensor("mean"), tensor("var"), ...optionalScales, EPS],
  complete: (_types, attrs) => ({ eps: attrs.eps ?? 1e-5 }),
  infer: (types, _attrs, b) => ofChannels("batch_norm", types, ["mean", "var", "weight", "bias"], b),
  inline: ([x]) => x.dtype !== "f16",
  expand: (b, node) => {
    const [x, m, v, weight, bias] = node.inputs;
    const along = (t: Value): Value => alongChannels(b, t, x.type);
    const y = mul(b, sub(b, x, along(m)), rsqrt(b, add(b, along(v), numberAt(node.attrs, "eps"))));
    return [affine(b, y, weight, bias)];
  },
  examples: [
    { shapes: [[2, 3, 2, 2], [3], [3], [3], [3]], range: [0.2, 1] },
    { shapes: [[4, 3], [3], [3]], range: [0.2, 1] },
  ],
};

export const localResponseNormOp: OpDef = {
  name: "local_response_norm",
  torch: "F.local_response_norm",
  doc: "x [N, C, ...] / (k + alpha * mean of the squares of `size` neighbouring channels) ^ beta; channels beyond the first and the last are 0.",
  fuses: "composite",
  params: [
    tensor("x"),
    int("size"),
    float("alpha", { default: 1e-4 }),
    float("beta", { default: 0.75 }),
    float("k", { default: 1 }),
  ],
  complete: (_types, attrs) => ({ alpha: 1e-4, beta: 0.75, k: 1, ...attrs }),
  infer: (types, attrs, b) => {
    const [x] = ofChannels("local_response_norm", types, [], b);
    if (numberAt(attrs, "size") < 1)
      fail("E0607", "local_response_norm: size is at least 1", { attr: "size" });
    return [x];
  },
  expand: (b, node) => {
    const [x] = node.inputs;
    const [size, alpha, beta, k] = ["size", "alpha", "beta", "k"].map((name) => numberAt(node.attrs, name));
    const [n, channels, ...space] = x.type.shape;
    if (x.type.shape.some((d) => isConst(d, 0))) return [x];
    // Channels as the rows of an image: a window of `size` rows, the larger half of the others before it.
    const image = reshape(b, square(b, x), [n, dim(1), channels, mulDims(...space)]);
    const before = Math.floor(size / 2);
    const padded = pad(b, image, [0, 0, before, 0], [0, 0, size - 1 - before, 0]);
    const sums = b.make(sumPool2d, [padded], {
      kernel: [size, 1],
      stride: [1, 1],
      padding: [0, 0],
      dilation: [1, 1],
      ceil_mode: false,
    });
    const mixed = add(b, mul(b, reshape(b, sums, x.type.shape), alpha / size), k);
    return [mul(b, x, pow(b, mixed, -beta))];
  },
  examples: [
    { shapes: [[2, 5, 3]], attrs: { size: 3, alpha: 0.5 } },
    { shapes: [[2, 4, 2, 2]], attrs: { size: 2, alpha: 0.3, beta: 0.5, k: 2 } },
  ],
};

export const l2NormalizeOp: OpDef = {
  name: "l2_normalize",
  torch: "F.normalize",
  doc: "x divided by its Euclidean norm along an axis (1 by default, as PyTorch's F.normalize), or by `eps` where that is larger.",
  fuses: "composite",
  params: [tensor("x"), axis("axis", { default: 1 }), float("eps", { default: 1e-12 })],
  complete: ([x], attrs) => ({
    axis: normalizeAxis("l2_normalize", (attrs.axis as number) ?? 1, x.shape.length),
    eps: attrs.eps ?? 1e-12,
  }),
  infer: ([x]) => {
    allowDtypes("l2_normalize", [x], FLOATS);
    return [x];
  },
  expand: (b, node) => {
    const [x] = node.inputs;
    const length = vectorNorm(b, x, [numberAt(node.attrs, "axis")], true);
    return [div(b, x, clamp(b, length, numberAt(node.attrs, "eps")))];
  },
  examples: [{ shapes: [[2, 5]] }, { shapes: [[3, 2, 4]], attrs: { axis: -1 } }],
};

export const norms: readonly OpDef[] = [
  layerNormOp,
  rmsNormOp,
  normalizeOp,
  batchNormOp,
  groupNormOp,
  instanceNormOp,
  localResponseNormOp,
  l2NormalizeOp,
];
