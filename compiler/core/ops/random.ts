// Random numbers: threefry2x32 on a key made of the call's seed, a hash of the place in the program, and the step.
// In: seed u32[2], step u32[] and the hash, which the checker gives. Out: bits, uniforms, normals, masks; bits and
// uniforms are equal on every device. Counter-based, so that any element can be computed anywhere, and again.
import { drawKey, randomBits } from "../../../runtime/core/threefry.ts";
import { type Dim, dim } from "../dims/dim.ts";
import type { Attrs, Builder, OpDef, OpExample, OpParam, TensorType, Value } from "../ir/types.ts";
import type { Scalar } from "../kernel/scalar.ts";
import { broadcastTo, cast } from "./axes.ts";
import {
  allowDtypes,
  axis,
  bool,
  boolAt,
  dimsAt,
  FLOATS,
  fail,
  float,
  int,
  normalizeAxis,
  numberAt,
  sizes,
  tensor,
  typeText,
} from "./define.ts";
import { add, cos, ge, log, lt, maximum, mul, neg, rem, sqrt, sub, where } from "./elementwise.ts";
import { argmaxOp } from "./reduce.ts";
import { imageText, RANKS } from "./window.ts";

const implicit: readonly OpParam[] = [
  tensor("seed", { implicit: true }),
  tensor("step", { implicit: true }),
  tensor("pass", { implicit: true, optional: true }),
  int("hash", { implicit: true }),
];
const KEYS = implicit.slice(0, 3);
const HASH = implicit[3];

export const randomBitsOp: OpDef = {
  name: "random_bits",
  doc: "32 random bits an element: threefry2x32 of the element's number and the pass of a scan, keyed by seed, hash and step.",
  fuses: "map",
  params: [...implicit, sizes("shape")],
  exposed: false,
  infer: ([seed, step, pass], attrs) => {
    if (seed.dtype !== "u32" || step.dtype !== "u32" || (pass && pass.dtype !== "u32"))
      fail("E0404", "random_bits: seed, step and pass are u32");
    return [{ dtype: "u32", shape: dimsAt(attrs, "shape") }];
  },
  noGrad: "random bits are integers",
  reference: ([seed, step, pass], attrs, [out]) => {
    const key = drawKey([seed.data[0], seed.data[1]], numberAt(attrs, "hash") >>> 0, step.data[0]);
    for (let i = 0; i < out.data.length; i++) out.data[i] = randomBits(key, i, pass?.data[0]);
  },
  lower: (s, node, at) => {
    const [seed, step, pass] = node.inputs;
    const shape = node.outs[0].type.shape;
    const key = [
      s.read(seed, [s.dim(0)]),
      s.read(seed, [s.dim(1)]),
      s.const("u32", numberAt(node.attrs, "hash") >>> 0),
      s.read(step, []),
    ];
    const [k0, k1] = [s.call("threefry_a", ...key), s.call("threefry_b", ...key)];
    let flat: Scalar = s.dim(0);
    at.forEach((p, i) => {
      flat = s.iadd(s.imul(flat, shape[i]), p);
    });
    return s.call("threefry_a", k0, k1, s.cast(flat, "u32"), pass ? s.read(pass, []) : s.const("u32", 0));
  },
  examples: [
    { shapes: [[2], []], dtypes: ["u32", "u32"], attrs: { shape: [3, 5], hash: 12345 }, grad: false },
    { shapes: [[2], []], dtypes: ["u32", "u32"], attrs: { shape: [], hash: 4294967295 }, grad: false },
    { shapes: [[2], [], []], dtypes: ["u32", "u32", "u32"], attrs: { shape: [7], hash: 3 }, grad: false },
  ],
};

export const uniformBitsOp: OpDef = {
  name: "uniform_from_bits",
  doc: "The upper 24 of 32 bits as a number in [0, 1).",
  fuses: "map",
  exposed: false,
  params: [tensor("bits")],
  infer: ([bits]) => {
    if (bits.dtype !== "u32") fail("E0404", "uniform_from_bits takes u32", { operand: 0 });
    return [{ dtype: "f32", shape: bits.shape }];
  },
  noGrad: "random numbers depend on nothing",
  reference: ([bits], _attrs, [out]) => {
    for (let i = 0; i < out.data.length; i++) out.data[i] = Math.floor(bits.data[i] / 256) / 2 ** 24;
  },
  lower: (s, node, at) =>
    s.call(
      "mul",
      s.cast(s.call("shift_right", s.read(node.inputs[0], at), s.const("u32", 8)), "f32"),
      s.const("f32", 2 ** -24),
    ),
  examples: [{ shapes: [[2, 3]], dtypes: ["u32"], range: [0, 4294967295], grad: false }],
};

/** `keys`: seed, step and, in a scan, the pass. */
function bits(b: Builder, keys: readonly Value[], attrs: Attrs, shape: readonly Dim[], salt = 0): Value {
  return b.make(randomBitsOp, keys, {
    hash: (numberAt(attrs, "hash") ^ salt) >>> 0,
    shape: [...shape],
  });
}
const uniforms = (b: Builder, raw: Value): Value => b.make(uniformBitsOp, [raw]);

const shaped = (
  name: string,
  doc: string,
  more: readonly OpParam[],
  expand: NonNullable<OpDef["expand"]>,
  attrs = {},
): OpDef => ({
  name,
  doc,
  fuses: "composite",
  params: [...KEYS, sizes("shape"), ...more, HASH],
  infer: (_types, a) => [{ dtype: name === "bernoulli" ? "bool" : "f32", shape: dimsAt(a, "shape") }],
  inline: () => true,
  noGrad: "random numbers depend on nothing",
  expand,
  examples: [
    { shapes: [[2], []], dtypes: ["u32", "u32"], attrs: { shape: [4, 3], hash: 7, ...attrs }, grad: false },
  ],
});
export const randOp = shaped("rand", "Uniform random numbers in [0, 1).", [], (b, node) => [
  uniforms(b, bits(b, node.inputs, node.attrs, dimsAt(node.attrs, "shape"))),
]);
export const randnOp = shaped("randn", "Normal random numbers (Box and Muller).", [], (b, node) => {
  const shape = dimsAt(node.attrs, "shape");
  const draw = (salt?: number): Value => uniforms(b, bits(b, node.inputs, node.attrs, shape, salt));
  const [u, v] = [draw(), draw(0x9e3779b9)];
  // 1 - u is in (0, 1], so that the logarithm is finite.
  return [mul(b, sqrt(b, mul(b, log(b, sub(b, 1, u)), -2)), cos(b, mul(b, v, 2 * Math.PI)))];
});
export const bernoulliOp = shaped(
  "bernoulli",
  "True with probability p.",
  [float("p", { default: 0.5 })],
  (b, node) => [
    lt(
      b,
      uniforms(b, bits(b, node.inputs, node.attrs, dimsAt(node.attrs, "shape"))),
      (node.attrs.p as number) ?? 0.5,
    ),
  ],
  { p: 0.25 },
);

export const randintOp: OpDef = {
  ...shaped(
    "randint",
    "Random integers i32 from `low` (0) up to `high`, without it.",
    [int("low", { default: 0 }), int("high")],
    (b, node) => {
      const [low, high] = [numberAt(node.attrs, "low"), numberAt(node.attrs, "high")];
      const drawn = bits(b, node.inputs, node.attrs, dimsAt(node.attrs, "shape"));
      return [add(b, cast(b, rem(b, drawn, high - low), "i32"), low)];
    },
    { low: -2, high: 5 },
  ),
  complete: (_types, attrs) => ({ ...attrs, low: attrs.low ?? 0 }),
  infer: (_types, attrs) => {
    const [low, high] = [numberAt(attrs, "low"), numberAt(attrs, "high")];
    if (!(low < high)) fail("E0607", `randint: nothing from ${low} up to ${high}`, { attr: "high" });
    if (low < -(2 ** 31) || high > 2 ** 31 || high - low >= 2 ** 32)
      fail("E0607", `randint: ${low} to ${high} is beyond 32 bits`, { attr: "high" });
    return [{ dtype: "i32", shape: dimsAt(attrs, "shape") }];
  },
};

/** What a uniform number is at least taken for where its logarithm is wanted: half of the smallest. */
const LEAST = 2 ** -25;
export const categoricalOp: OpDef = {
  name: "categorical",
  torch: "torch.distributions.Categorical(logits = x).sample",
  doc: "A class (i32) drawn for each row along an axis (the last by default), with probabilities softmax(x): of probabilities p, categorical(log(p)) is PyTorch's multinomial of one sample. A class at -inf is never drawn.",
  fuses: "composite",
  params: [tensor("x"), ...KEYS, axis("axis", { default: -1 }), HASH],
  complete: ([x], attrs) => ({
    ...attrs,
    axis: normalizeAxis("categorical", (attrs.axis as number) ?? -1, x.shape.length),
  }),
  infer: ([x], attrs) => {
    allowDtypes("categorical", [x], FLOATS);
    return [{ dtype: "i32", shape: x.shape.filter((_, i) => i !== attrs.axis) }];
  },
  inline: ([x]) => x.dtype !== "f16",
  noGrad: "the result is an index",
  // The largest of the scores plus Gumbel's noise, -log(-log(u)).
  expand: (b, node) => {
    const [x, ...keys] = node.inputs;
    const u = uniforms(b, bits(b, keys, node.attrs, x.type.shape));
    const waiting = maximum(b, neg(b, log(b, sub(b, 1, u))), LEAST);
    const scores = sub(b, x, log(b, waiting));
    return [b.make(argmaxOp, [scores], { axis: node.attrs.axis, keepdims: false })];
  },
  examples: [
    { shapes: [[4, 5], [2], []], dtypes: ["f32", "u32", "u32"], attrs: { hash: 5 }, grad: false },
    { shapes: [[3, 2, 4], [2], []], dtypes: ["f32", "u32", "u32"], attrs: { hash: 6, axis: 1 }, grad: false },
  ],
};

/** A dropout whose draws have the shape that `drawn` gives of x's. */
const dropping = (
  name: string,
  doc: string,
  drawn: (x: TensorType) => readonly Dim[],
  shape: readonly number[],
): OpDef => ({
  name,
  doc,
  torch: `F.${name}`,
  fuses: "composite",
  params: [
    tensor("x"),
    // Only needed in training.
    ...KEYS.map((q) => ({ ...q, optional: true })),
    float("p", { default: 0.5 }),
    bool("training", { implicit: true, default: false }),
    { ...HASH, optional: true },
  ],
  infer: ([x], attrs) => {
    allowDtypes(name, [x], FLOATS);
    const p = (attrs.p as number) ?? 0.5;
    if (!(p >= 0 && p <= 1)) fail("E0607", `${name}: p = ${p} is not a probability`, { attr: "p" });
    drawn(x);
    return [x];
  },
  inline: () => true,
  expand: (b, node) => {
    const [x, ...keys] = node.inputs;
    const p = (node.attrs.p as number) ?? 0.5;
    if (!boolAt(node.attrs, "training") || p === 0) return [x];
    if (p === 1) return [mul(b, x, 0)];
    const kept = ge(b, uniforms(b, bits(b, keys, node.attrs, drawn(x.type))), p);
    return [where(b, broadcastTo(b, kept, x.type.shape), mul(b, x, 1 / (1 - p)), 0)];
  },
  examples: [true, false].map(
    (training): OpExample => ({
      shapes: [shape, [2], []],
      dtypes: ["f32", "u32", "u32"],
      attrs: { p: 0.5, training, hash: 99 },
    }),
  ),
});
export const dropoutOp = dropping(
  "dropout",
  "In training, each element 0 with probability p and the others scaled by 1 / (1 - p); in eval the identity.",
  (x) => x.shape,
  [4, 3],
);
/** dropout1d, dropout2d and dropout3d: whole channels. */
const channelDropouts = RANKS.map((rank) => {
  const name = `dropout${rank}d`;
  return dropping(
    name,
    `In training, each channel of x ${imageText(rank)} 0 as a whole with probability p and the others scaled by 1 / (1 - p); in eval the identity.`,
    (x) => {
      if (x.shape.length !== rank + 2)
        fail("E0304", `${name} takes ${imageText(rank)}, given ${typeText(x)}`, { operand: 0 });
      return x.shape.map((d, i) => (i < 2 ? d : dim(1)));
    },
    [2, 3, ...new Array<number>(rank).fill(2)],
  );
});

export const random: readonly OpDef[] = [
  randomBitsOp,
  uniformBitsOp,
  randOp,
  randnOp,
  bernoulliOp,
  randintOp,
  categoricalOp,
  dropoutOp,
  ...channelDropouts,
];
