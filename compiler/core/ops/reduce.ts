// Reductions over axes. In: a tensor, axes (all by default), keepdims. Out: folds, and composites of folds and maps.
// `sum` lives in axes.ts, because broadcasting needs it.
import { asConst, type Dim, dim, product } from "../dims/dim.ts";
import type { Attrs, Builder, OpDef, TensorType, Value } from "../ir/types.ts";
import type { Combine } from "../kernel/scalar.ts";
import {
  broadcastTo,
  cast,
  completeAxes,
  keepsByView,
  onAxis,
  readReduced,
  reduce,
  reducedShape,
  reducedType,
  reductionOf,
  reductionParams,
  reshape,
  spread,
  sum,
} from "./axes.ts";
import {
  allowDtypes,
  atLeast,
  axis,
  bool,
  boolAt,
  FLOATS,
  fail,
  float,
  int,
  isFloat,
  NUMBERS,
  normalizeAxis,
  numberAt,
  numbersAt,
  sameDtypes,
  sameShapes,
  sizeValue,
  tensor,
  type ValueOrNumber,
} from "./define.ts";
import { eachOffset, reduceDense, reducedStrides, times } from "./dense.ts";
import {
  abs,
  add,
  and,
  div,
  eq,
  exp,
  isFiniteOp,
  isNanOp,
  log,
  maximum,
  mul,
  ne,
  or,
  pow,
  sign,
  sqrt,
  square,
  stopGradient,
  sub,
  where,
} from "./elementwise.ts";
import { iota as iotaOp } from "./source.ts";

const axesOf = (attrs: Attrs): readonly number[] => numbersAt(attrs, "axes");
/** The number of elements an element of the result stands for, as a float scalar or a literal. */
export function countOf(b: Builder, x: TensorType, over: readonly number[]): ValueOrNumber {
  const n = product(over.map((i) => x.shape[i]));
  return asConst(n) ?? cast(b, sizeValue(b, n), x.dtype);
}

// ------------------------------------------------------------------------------------- prod, max and min

function foldOp(
  name: string,
  doc: string,
  combine: Combine,
  init: (x: TensorType["dtype"]) => number,
  f: (dtype: TensorType["dtype"], a: number, v: number) => number,
  vjp: (b: Builder, g: Value, x: Value, y: Value, over: readonly number[]) => Value,
  examples: OpDef["examples"],
): OpDef {
  const op: OpDef = {
    name,
    doc,
    torch: name === "prod" ? undefined : `torch.a${name}`,
    fuses: "fold",
    reduction: reductionOf(() => op),
    ...keepsByView,
    params: reductionParams,
    complete: completeAxes(name),
    infer: ([x], attrs) => {
      allowDtypes(name, [x], NUMBERS);
      return [reducedType(x, attrs)];
    },
    reference: ([x], attrs, [out]) =>
      reduceDense(x, numbersAt(attrs, "axes"), out, init(x.dtype), (a, v) => f(x.dtype, a, v)),
    vjp: (b, node, [g]) => [
      g && isFloat(g.type.dtype) ? vjp(b, g, node.inputs[0], node.outs[0], axesOf(node.attrs)) : undefined,
    ],
    lower: (s, node, at) => {
      const x = node.inputs[0];
      const over = axesOf(node.attrs);
      return s.fold(
        combine,
        over.map((i) => x.type.shape[i]),
        (...inner) => readReduced(s, x, over, boolAt(node.attrs, "keepdims"), at, inner),
      );
    },
    examples,
  };
  return op;
}
const reduceExamples: OpDef["examples"] = [
  { shapes: [[2, 3, 4]], attrs: { axes: [1] } },
  { shapes: [[2, 3, 4]], attrs: { axes: [0, -1], keepdims: true } },
  { shapes: [[5]] },
  { shapes: [[2, 5]], dtypes: ["i32"], attrs: { axes: [1] }, grad: false },
  { shapes: [[2, 5]], dtypes: ["u32"], attrs: { axes: [0] }, grad: false },
];
/**
 * Ties share the gradient evenly, as PyTorch's amax and amin do (its max(dim) gives all to one index). Where the result is
 * NaN nothing equals it, and the whole row's gradient is 0 / 0.
 */
const extremumVjp = (b: Builder, g: Value, x: Value, y: Value, over: readonly number[]): Value => {
  const hits = eq(b, x, spread(b, y, x.type, over));
  const count = sum(b, cast(b, hits, "f32"), over, true);
  const share = div(b, reshape(b, g, count.type.shape), cast(b, count, g.type.dtype));
  return mul(b, cast(b, hits, x.type.dtype), broadcastTo(b, share, x.type.shape));
};
/** What no element is below, and what none is above. */
export const lowest = (t: TensorType["dtype"]): number =>
  t === "i32" ? -2147483648 : t === "u32" ? 0 : -Infinity;
export const highest = (t: TensorType["dtype"]): number =>
  t === "i32" ? 2147483647 : t === "u32" ? 4294967295 : Infinity;

export const maxOp = foldOp(
  "max",
  "The largest over axes; ties share the gradient evenly. With two operands max(x, y) is element-wise.",
  "max",
  lowest,
  (_t, a, v) => Math.max(a, v),
  extremumVjp,
  reduceExamples,
);
export const minOp = foldOp(
  "min",
  "The smallest over axes; ties share the gradient evenly. With two operands min(x, y) is element-wise.",
  "min",
  highest,
  (_t, a, v) => Math.min(a, v),
  extremumVjp,
  reduceExamples,
);
const reduceCall =
  (op: OpDef) =>
  (b: Builder, x: Value, over: readonly number[] = x.type.shape.map((_, i) => i), keepdims = false): Value =>
    reduce(b, op, x, over, keepdims);
export const max = reduceCall(maxOp);
export const min = reduceCall(minOp);

/**
 * The product of the others beside each factor, of the product of those that are not 0 and how many are: with one zero only
 * that factor has a gradient.
 */
export function productOfOthers(b: Builder, x: Value, rest: Value, zeros: Value): Value {
  const zero = eq(b, x, 0);
  const alone = and(b, zero, eq(b, zeros, 1));
  // By 0 and not 0: a NaN among the others stays one.
  const among = where(b, eq(b, zeros, 0), div(b, rest, where(b, zero, 1, x)), mul(b, rest, 0));
  return where(b, alone, rest, among);
}
export const prodOp: OpDef = foldOp(
  "prod",
  "The product over axes.",
  "mul",
  () => 1,
  times,
  (b, g, x, _y, over) => {
    const zero = eq(b, x, 0);
    const rest = reduce(b, prodOp, where(b, zero, 1, x), over, true);
    const count = sum(b, cast(b, zero, "i32"), over, true);
    const each = (v: Value): Value => broadcastTo(b, v, x.type.shape);
    return mul(b, spread(b, g, x.type, over), productOfOthers(b, x, each(rest), each(count)));
  },
  reduceExamples,
);

// -------------------------------------------------------------------------------------------- any and all

function logicOp(name: "any" | "all", doc: string, combine: Combine): OpDef {
  const op: OpDef = {
    name,
    doc,
    fuses: "fold",
    reduction: reductionOf(() => op),
    ...keepsByView,
    params: reductionParams,
    complete: completeAxes(name),
    infer: ([x], attrs) => {
      allowDtypes(name, [x], ["bool"]);
      return [reducedType(x, attrs)];
    },
    reference: ([x], attrs, [out]) =>
      reduceDense(x, numbersAt(attrs, "axes"), out, name === "any" ? 0 : 1, (a, v) =>
        name === "any" ? a | v : a & v,
      ),
    noGrad: "the result is bool",
    // A fold over u32: bool has neither max nor min.
    lower: (s, node, at) => {
      const x = node.inputs[0];
      const over = axesOf(node.attrs);
      const bits = s.fold(
        combine,
        over.map((i) => x.type.shape[i]),
        (...inner) => s.cast(readReduced(s, x, over, boolAt(node.attrs, "keepdims"), at, inner), "u32"),
      );
      return s.call("ne", bits, s.const("u32", 0));
    },
    examples: [
      { shapes: [[3, 4]], dtypes: ["bool"], attrs: { axes: [1] }, grad: false },
      { shapes: [[3, 4]], dtypes: ["bool"], grad: false },
      { shapes: [[3, 0]], dtypes: ["bool"], attrs: { axes: [1], keepdims: true }, grad: false },
    ],
  };
  return op;
}
export const anyOp = logicOp("any", "True where any element over the axes is.", "max");
export const allOp = logicOp("all", "True where all elements over the axes are.", "min");
export const all = reduceCall(allOp);

// ------------------------------------------------------------------------------- composites: mean, var, …

const floatReduction = (name: string): OpDef["infer"] => {
  return ([x], attrs) => {
    allowDtypes(name, [x], FLOATS);
    return [reducedType(x, attrs)];
  };
};
const smoothExamples: OpDef["examples"] = [
  { shapes: [[2, 3, 4]], attrs: { axes: [1] } },
  { shapes: [[2, 3, 4]], attrs: { axes: [0, 2], keepdims: true } },
  { shapes: [[5]] },
];

export const meanOp: OpDef = {
  name: "mean",
  doc: "The mean over axes.",
  fuses: "composite",
  params: reductionParams,
  complete: completeAxes("mean"),
  infer: floatReduction("mean"),
  expand: (b, node) => {
    const [x] = node.inputs;
    const over = axesOf(node.attrs);
    return [reshape(b, div(b, sum(b, x, over), countOf(b, x.type, over)), node.outs[0].type.shape)];
  },
  examples: smoothExamples,
};
export const mean = reduceCall(meanOp);

export const varOp: OpDef = {
  name: "var",
  doc: "The variance over axes, divided by the number of elements minus `correction` (1, as PyTorch).",
  fuses: "composite",
  params: [...reductionParams, float("correction", { default: 1 })],
  complete: (types, attrs) => ({ ...completeAxes("var")(types, attrs), correction: attrs.correction ?? 1 }),
  infer: floatReduction("var"),
  // The mean's own part of the gradient is zero: the deviations sum to nothing.
  vjp: (b, node, [g]) => {
    const [x] = node.inputs;
    const over = axesOf(node.attrs);
    if (!g) return [undefined];
    const scaled = div(b, mul(b, g, 2), freedom(b, x, over, numberAt(node.attrs, "correction")));
    return [mul(b, spread(b, scaled, x.type, over), deviation(b, x, over))];
  },
  expand: (b, node) => {
    const [x] = node.inputs;
    const over = axesOf(node.attrs);
    const total = sum(b, square(b, deviation(b, x, over)), over);
    const result = div(b, total, freedom(b, x, over, numberAt(node.attrs, "correction")));
    return [reshape(b, result, node.outs[0].type.shape)];
  },
  examples: [...smoothExamples, { shapes: [[4, 3]], attrs: { axes: [0], correction: 0 } }],
};
const deviation = (b: Builder, x: Value, over: readonly number[]): Value => sub(b, x, mean(b, x, over, true));
function freedom(b: Builder, x: Value, over: readonly number[], correction: number): ValueOrNumber {
  const n = countOf(b, x.type, over);
  if (typeof n === "number") return n - correction;
  return correction === 0 ? n : sub(b, n, correction);
}
export const variance = (
  b: Builder,
  x: Value,
  over: readonly number[],
  keepdims = false,
  correction = 1,
): Value => reduce(b, varOp, x, over, keepdims, { correction });

export const stdOp: OpDef = {
  name: "std",
  doc: "The standard deviation over axes: the root of var, with the same `correction` (1, as PyTorch). Its gradient where it is 0 is 0.",
  fuses: "composite",
  params: varOp.params,
  complete: (types, attrs) => ({ ...completeAxes("std")(types, attrs), correction: attrs.correction ?? 1 }),
  infer: floatReduction("std"),
  vjp: (b, node, [g]) => {
    const [x] = node.inputs;
    const [y] = node.outs;
    const over = axesOf(node.attrs);
    if (!g) return [undefined];
    const scaled = div(b, div(b, g, y), freedom(b, x, over, numberAt(node.attrs, "correction")));
    const each = where(b, eq(b, y, 0), 0, scaled);
    return [mul(b, spread(b, each, x.type, over), deviation(b, x, over))];
  },
  expand: (b, node) => {
    const { keepdims, correction } = node.attrs;
    const over = axesOf(node.attrs);
    return [sqrt(b, variance(b, node.inputs[0], over, keepdims === true, correction as number))];
  },
  examples: varOp.examples,
};

export const normOp: OpDef = {
  name: "norm",
  torch: "torch.linalg.vector_norm",
  doc: "The p-norm over axes, sum(|x|^p)^(1/p), as PyTorch's linalg.vector_norm: of p = 2 by default; inf and -inf give the largest and the smallest magnitude, 0 counts what is not 0.",
  fuses: "composite",
  params: [...reductionParams, float("p", { default: 2, aliases: ["ord"] })],
  complete: (types, attrs) => ({ ...completeAxes("norm")(types, attrs), p: attrs.p ?? 2 }),
  infer: floatReduction("norm"),
  // Where the norm is 0 it has no direction, and the gradient is 0.
  vjp: (b, node, [g]) => {
    const [x] = node.inputs;
    const [y] = node.outs;
    const [over, p] = [axesOf(node.attrs), numberAt(node.attrs, "p")];
    if (!g || p === 0) return [undefined];
    const wide = (v: Value): Value => spread(b, v, x.type, over);
    if (Math.abs(p) === Number.POSITIVE_INFINITY) {
      // Those that are as large share it; beside a NaN there are none.
      const hits = cast(b, eq(b, abs(b, x), wide(y)), x.type.dtype);
      const count = maximum(b, reshape(b, sum(b, hits, over), g.type.shape), 1);
      return [mul(b, mul(b, sign(b, x), hits), wide(div(b, g, count)))];
    }
    if (p === 1) return [mul(b, wide(g), sign(b, x))];
    const none = eq(b, y, 0);
    if (p === 2) return [mul(b, x, wide(where(b, none, 0, div(b, g, y))))];
    const each = where(b, none, 0, div(b, g, pow(b, y, p - 1)));
    const slope = mul(b, sign(b, x), pow(b, abs(b, x), p - 1));
    return [mul(b, p < 1 ? where(b, eq(b, x, 0), 0, slope) : slope, wide(each))];
  },
  expand: (b, node) => {
    const [x] = node.inputs;
    const y = norm(b, x, axesOf(node.attrs), numberAt(node.attrs, "p"));
    return [reshape(b, y, node.outs[0].type.shape)];
  },
  examples: [
    { shapes: [[2, 3, 4]], attrs: { axes: [1] } },
    { shapes: [[3, 4]], attrs: { axes: [0], keepdims: true, p: 1 } },
    { shapes: [[3, 4]], attrs: { axes: [1], p: Number.POSITIVE_INFINITY } },
    { shapes: [[3, 4]], attrs: { axes: [1], p: Number.NEGATIVE_INFINITY } },
    { shapes: [[2, 5]], attrs: { p: 3 } },
    { shapes: [[2, 5]], attrs: { p: 0.5 }, range: [0.2, 2] },
    { shapes: [[2, 5]], attrs: { p: 0 }, grad: false },
  ],
};
function norm(b: Builder, x: Value, over: readonly number[], p: number): Value {
  if (p === 2) return sqrt(b, sum(b, square(b, x), over));
  if (p === 0) return sum(b, cast(b, ne(b, x, 0), x.type.dtype), over);
  const size = abs(b, x);
  if (p === 1) return sum(b, size, over);
  if (p === Number.POSITIVE_INFINITY) return max(b, size, over);
  if (p === Number.NEGATIVE_INFINITY) return min(b, size, over);
  return pow(b, sum(b, pow(b, size, p), over), 1 / p);
}
export const vectorNorm = (b: Builder, x: Value, over: readonly number[], keepdims = false): Value =>
  reduce(b, normOp, x, over, keepdims, { p: 2 });

export const vecdotOp: OpDef = {
  name: "vecdot",
  torch: "torch.linalg.vecdot",
  doc: "sum(x * y) along an axis (the last by default), as PyTorch's linalg.vecdot; the others broadcast. Of two vectors x @ y is the same.",
  fuses: "composite",
  params: [tensor("x"), tensor("y"), axis("axis", { default: -1 })],
  broadcasts: true,
  complete: (types, attrs) => ({
    axis: normalizeAxis(
      "vecdot",
      numberAt(attrs, "axis") ?? -1,
      Math.max(...types.map((t) => t.shape.length)),
    ),
  }),
  infer: (types, attrs, b) => {
    sameDtypes("vecdot", types);
    allowDtypes("vecdot", types, NUMBERS);
    const shape = sameShapes("vecdot", types, b);
    return [{ dtype: types[0].dtype, shape: shape.filter((_, i) => i !== attrs.axis) }];
  },
  expand: (b, { inputs: [x, y], attrs }) => [sum(b, mul(b, x, y), [numberAt(attrs, "axis")])],
  examples: [
    { shapes: [[5], [5]] },
    { shapes: [[2, 3, 4], [4]] },
    {
      shapes: [
        [2, 3],
        [2, 3],
      ],
      attrs: { axis: 0 },
    },
    {
      shapes: [
        [2, 3],
        [2, 3],
      ],
      dtypes: ["i32", "i32"],
      grad: false,
    },
  ],
};

export const momentsOp: OpDef = {
  name: "moments",
  torch: "torch.var_mean",
  doc: "(mean, variance) over axes, the variance biased: what batch norm normalises with.",
  fuses: "composite",
  params: [
    ...reductionParams,
    int("least", { default: 1, doc: "the fewest values a statistic may stand on; fewer are an error" }),
  ],
  complete: (types, attrs) => ({ ...completeAxes("moments")(types, attrs), least: attrs.least ?? 1 }),
  infer: (types, attrs, b) => {
    const [t] = floatReduction("moments")(types, attrs);
    const least = numberAt(attrs, "least");
    const count = product(axesOf(attrs).map((i) => types[0].shape[i]));
    if (least > 1) {
      const message = `moments: at least ${least} values are needed for each statistic`;
      atLeast(count, dim(least), message, b, () =>
        fail("E0504", `${message}, given ${count.key}`, {
          operand: 0,
          help: "a batch of one has no variance to train with: use a larger one, or the layer's .eval()",
        }),
      );
    }
    return [t, t];
  },
  // In half precision it stays whole, so that it is computed in single.
  inline: ([x]) => x.dtype !== "f16",
  expand: (b, node) => {
    const [x] = node.inputs;
    const [over, keepdims] = [axesOf(node.attrs), boolAt(node.attrs, "keepdims")];
    return [mean(b, x, over, keepdims), variance(b, x, over, keepdims, 0)];
  },
  examples: [{ shapes: [[2, 3, 2, 2]], attrs: { axes: [0, 2, 3] } }],
};

/**
 * What softmax, log_softmax, logsumexp and cross_entropy stand on: x less the largest over axes, and the sum (axes kept)
 * of the exponentials of that. Differences of x survive at any common offset, so nothing is made of log(sum(exp(x)))
 * itself. In f32, whatever x is: one rounding, at the end.
 */
export function shiftedExp(
  b: Builder,
  x: Value,
  over: readonly number[],
  top: Value = stopGradient(b, max(b, cast(b, x, "f32"), over, true)),
): { shifted: Value; exponentials: Value; total: Value } {
  const shifted = sub(b, cast(b, x, "f32"), top);
  const exponentials = exp(b, shifted);
  return { shifted, exponentials, total: sum(b, exponentials, over, true) };
}

export const logsumexpOp: OpDef = {
  name: "logsumexp",
  doc: "log(sum(exp(x))) over axes, stable for large x; -inf where all of them are, inf where one is.",
  fuses: "composite",
  params: reductionParams,
  complete: completeAxes("logsumexp"),
  infer: floatReduction("logsumexp"),
  vjp: (b, node, [g]) => {
    const [x] = node.inputs;
    const over = axesOf(node.attrs);
    if (!g) return [undefined];
    // The softmax, not exp(x - result): at large offsets the result has lost the log of the sum.
    const { exponentials, total } = shiftedExp(b, x, over, finiteTop(b, x, over));
    const share = div(b, exponentials, total);
    const wide = { dtype: share.type.dtype, shape: x.type.shape };
    return [cast(b, mul(b, spread(b, cast(b, g, "f32"), wide, over), share), x.type.dtype)];
  },
  expand: (b, node) => {
    const [x] = node.inputs;
    const over = axesOf(node.attrs);
    const top = finiteTop(b, x, over);
    const kept = add(b, log(b, shiftedExp(b, x, over, top).total), top);
    const shape = reducedShape(x.type.shape, over, boolAt(node.attrs, "keepdims"));
    return [cast(b, reshape(b, kept, shape), x.type.dtype)];
  },
  examples: [
    ...smoothExamples,
    { shapes: [[2, 6]], attrs: { axes: [1] }, range: [-90, 90], grad: false },
    { shapes: [[2, 6]], attrs: { axes: [1] }, range: [1e6, 1e6 + 3], grad: false },
  ],
};
/** The largest, or 0 where that is no number to subtract: inf - inf is none. */
function finiteTop(b: Builder, x: Value, over: readonly number[]): Value {
  const top = stopGradient(b, max(b, cast(b, x, "f32"), over, true));
  return where(b, b.make(isFiniteOp, [top]), top, 0);
}
export const logsumexp = reduceCall(logsumexpOp);

// --------------------------------------------------------------------------------------- argmax and argmin

function argOp(name: "argmax" | "argmin", extremum: typeof max): OpDef {
  return {
    name,
    doc: `The index (i32) of the first ${name === "argmax" ? "largest" : "smallest"} element along an axis, of the first NaN where there is one; of the flattened tensor without an axis.`,
    fuses: "composite",
    params: [tensor("x"), axis("axis", { optional: true }), bool("keepdims", { default: false })],
    complete: ([x], attrs) => ({
      axis:
        attrs.axis === undefined ? undefined : normalizeAxis(name, numberAt(attrs, "axis"), x.shape.length),
      keepdims: boolAt(attrs, "keepdims"),
    }),
    infer: ([x], attrs) => {
      allowDtypes(name, [x], NUMBERS);
      if (attrs.axis !== undefined && asConst(x.shape[numberAt(attrs, "axis")]) === 0)
        fail("E0504", `${name}: an axis without elements`, { operand: 0 });
      const over = attrs.axis === undefined ? x.shape.map((_, i) => i) : [numberAt(attrs, "axis")];
      return [{ dtype: "i32", shape: reducedShape(x.shape, over, boolAt(attrs, "keepdims")) }];
    },
    reference: ([x], attrs, [out]) => {
      const over = attrs.axis === undefined ? x.shape.map((_, i) => i) : [numberAt(attrs, "axis")];
      const best = new Float64Array(out.data.length).fill(Number.NaN);
      const seen = new Float64Array(out.data.length);
      eachOffset(x.shape, reducedStrides(x.shape, over), 0, (flat, o) => {
        const v = x.data[flat];
        const better = name === "argmax" ? v > best[o] : v < best[o];
        if (seen[o] === 0 || better || (Number.isNaN(v) && !Number.isNaN(best[o]))) {
          best[o] = v;
          out.data[o] = seen[o];
        }
        seen[o]++;
      });
    },
    noGrad: "the result is an index",
    expand: (b, node) => {
      const shape = node.outs[0].type.shape;
      const flat = node.attrs.axis === undefined;
      const x = flat ? reshape(b, node.inputs[0], [product(node.inputs[0].type.shape)]) : node.inputs[0];
      const along = flat ? 0 : numberAt(node.attrs, "axis");
      const extent: Dim = x.type.shape[along];
      const same = eq(b, x, broadcastTo(b, extremum(b, x, [along], true), x.type.shape));
      // Where there is a NaN, nothing is the same and the first NaN it is.
      const hits = isFloat(x.type.dtype) ? or(b, same, b.make(isNanOp, [x])) : same;
      const place = b.make(iotaOp, [], { extent, dtype: "i32" });
      const places = broadcastTo(b, onAxis(b, place, x.type.shape, along), x.type.shape);
      const last = sub(b, sizeValue(b, extent), 1);
      const first = min(b, where(b, hits, places, last), [along]);
      return [reshape(b, first, shape)];
    },
    examples: [
      { shapes: [[3, 5]], attrs: { axis: 1 }, grad: false },
      { shapes: [[3, 5]], attrs: { axis: 0, keepdims: true }, grad: false },
      { shapes: [[3, 5]], grad: false },
      { shapes: [[3, 9]], dtypes: ["i32"], attrs: { axis: -1 }, grad: false },
    ],
  };
}
export const argmaxOp = argOp("argmax", max);
export const argminOp = argOp("argmin", min);

export const reductions: readonly OpDef[] = [
  maxOp,
  minOp,
  prodOp,
  anyOp,
  allOp,
  meanOp,
  varOp,
  stdOp,
  momentsOp,
  normOp,
  vecdotOp,
  logsumexpOp,
  argmaxOp,
  argminOp,
];
