// Element-wise operators: one result element from one element of each operand.
// In: operands of one shape (the helpers here, and `applyOp` for the language, insert the broadcasts). Out: `map` nodes.
// A row gives name, scalar function (kernel/functions.ts), meaning, gradient and examples; everything else is the same.
import type { Builder, ConcreteAttrs, DType, Node, OpDef, OpExample, Value } from "../ir/types.ts";
import type { Lowering, Scalar } from "../kernel/scalar.ts";
import {
  copySign,
  erfc as erfcDouble,
  erf as erfDouble,
  floorDivide,
  pow as powDouble,
  remainder,
  roundHalfEven,
  shiftLeft,
  shiftRight,
} from "../kernel/special.ts";
import { adapt, broadcastTogether } from "./axes.ts";
import {
  ANY,
  allowDtypes,
  castHelp,
  FLOATS,
  fail,
  float,
  INTS,
  isFloat,
  literalOf,
  NUMBERS,
  numberAt,
  sameDtypes,
  sameShapes,
  tensor,
  type ValueOrNumber,
} from "./define.ts";
import { times, wrap } from "./dense.ts";

interface MapRow {
  readonly doc: string;
  readonly torch?: string;
  readonly operands?: readonly string[];
  readonly dtypes: readonly DType[];
  /** Dtype of the result where it is not the operands'. */
  readonly result?: DType;
  /** The meaning on doubles, before wrap-around. */
  readonly f: (dtype: DType, ...xs: number[]) => number;
  /** Where the scalar function of the operator's name is not the lowering. */
  readonly lower?: (s: Lowering, xs: readonly Scalar[]) => Scalar;
  readonly vjp?: (b: Builder, g: Value, xs: readonly Value[], y: Value) => readonly (Value | undefined)[];
  readonly noGrad?: string;
  readonly check?: (dtype: DType) => void;
  readonly examples?: readonly OpExample[];
}

function mapOp(name: string, row: MapRow): OpDef {
  const operands = row.operands ?? (row.f.length <= 2 ? ["x"] : ["x", "y"]);
  const shapes = operands.map(() => [2, 3]);
  return {
    name,
    doc: row.doc,
    torch: row.torch,
    fuses: "map",
    params: operands.map((o) => tensor(o)),
    infer: (types, _attrs, b) => {
      sameDtypes(name, types);
      row.check?.(types[0].dtype);
      allowDtypes(name, types, row.dtypes);
      return [{ dtype: row.result ?? types[0].dtype, shape: sameShapes(name, types, b) }];
    },
    reference: (xs, _attrs, [out]) => {
      const [x, y] = xs;
      const { data } = out;
      const from = x.dtype;
      for (let i = 0; i < data.length; i++)
        data[i] = wrap(out.dtype, y ? row.f(from, x.data[i], y.data[i]) : row.f(from, x.data[i]));
    },
    vjp: row.noGrad
      ? undefined
      : (b, node, [g]) =>
          g && isFloat(node.outs[0].type.dtype) && row.vjp
            ? row.vjp(b, g, node.inputs, node.outs[0])
            : node.inputs.map(() => undefined),
    noGrad: row.noGrad,
    lower: (s, node, at) => {
      const xs = node.inputs.map((v) => s.read(v, at));
      return row.lower ? row.lower(s, xs) : s.call(name, ...xs);
    },
    examples: row.examples ?? [
      { shapes },
      ...(row.dtypes.includes("i32")
        ? [{ shapes, dtypes: operands.map((): DType => "i32"), grad: false }]
        : []),
    ],
  };
}
/** An example of two operands of one shape. */
const pair = (more: Partial<OpExample> = {}): OpExample => ({
  shapes: [
    [2, 3],
    [2, 3],
  ],
  ...more,
});
const unaryCall =
  (op: OpDef) =>
  (b: Builder, x: Value): Value =>
    b.make(op, [x]);
/** Adapts literals and broadcasts. */
const binaryCall =
  (op: OpDef) =>
  (b: Builder, x: ValueOrNumber, y: ValueOrNumber): Value =>
    b.make(op, broadcastTogether(b, adapt(b, op.name, [x, y]), op.name));

// ------------------------------------------------------------------------------------------- arithmetic

export const addOp = mapOp("add", {
  doc: "x + y.",
  dtypes: NUMBERS,
  f: (_t, x, y) => x + y,
  vjp: (_b, g) => [g, g],
});
export const add = binaryCall(addOp);
export const subOp = mapOp("sub", {
  doc: "x - y.",
  dtypes: NUMBERS,
  f: (_t, x, y) => x - y,
  vjp: (b, g) => [g, neg(b, g)],
});
export const sub = binaryCall(subOp);
export const mulOp = mapOp("mul", {
  doc: "x * y.",
  dtypes: NUMBERS,
  f: times,
  vjp: (b, g, [x, y]) => [mul(b, g, y), mul(b, g, x)],
});
export const mul = binaryCall(mulOp);
export const divOp = mapOp("div", {
  doc: "x / y, for floats; an error for integers (floor_div divides those).",
  dtypes: FLOATS,
  f: (_t, x, y) => x / y,
  check: (t) => {
    if (INTS.includes(t))
      fail("E0403", `div: operands are ${t}`, { operand: 0, help: "cast to f32, or use floor_div" });
  },
  vjp: (b, g, [, y], out) => [div(b, g, y), neg(b, mul(b, g, div(b, out, y)))],
  examples: [
    {
      shapes: [
        [2, 3],
        [2, 3],
      ],
      range: [0.5, 2],
    },
  ],
});
export const div = binaryCall(divOp);
export const floorDivOp = mapOp("floor_div", {
  torch: "torch.floor_divide",
  doc: "floor(x / y), as PyTorch's floor_divide; 0 for an integer division by 0.",
  dtypes: NUMBERS,
  f: (t, x, y) => (isFloat(t) ? floorDivide(x, y) : y !== 0 ? Math.floor(x / y) : 0),
  vjp: () => [undefined, undefined],
  examples: [
    {
      shapes: [
        [2, 3],
        [2, 3],
      ],
      range: [0.5, 2],
      grad: false,
    },
    {
      shapes: [
        [2, 3],
        [2, 3],
      ],
      dtypes: ["i32", "i32"],
      range: [-7, 7],
      grad: false,
    },
    {
      shapes: [
        [2, 3],
        [2, 3],
      ],
      dtypes: ["u32", "u32"],
      grad: false,
    },
  ],
});
export const floorDiv = binaryCall(floorDivOp);
export const remOp = mapOp("rem", {
  torch: "torch.remainder",
  doc: "x % y with the sign of y, as PyTorch's remainder: exact, as fmod is; 0 for an integer y of 0.",
  dtypes: NUMBERS,
  f: (t, x, y) => (isFloat(t) || y !== 0 ? remainder(x, y) : 0),
  vjp: (b, g, [x, y]) => [g, neg(b, mul(b, g, floorDiv(b, x, y)))],
  examples: [
    {
      shapes: [
        [2, 3],
        [2, 3],
      ],
      range: [0.5, 2],
    },
    {
      shapes: [
        [2, 3],
        [2, 3],
      ],
      dtypes: ["i32", "i32"],
      range: [-7, 7],
      grad: false,
    },
    {
      shapes: [
        [2, 3],
        [2, 3],
      ],
      dtypes: ["u32", "u32"],
      grad: false,
    },
  ],
});
export const rem = binaryCall(remOp);
export const fmodOp = mapOp("fmod", {
  doc: "What is left of x by y, with the sign of x, as PyTorch's and C's fmod: exact; 0 for an integer y of 0. rem has the sign of y.",
  dtypes: NUMBERS,
  f: (t, x, y) => (isFloat(t) || y !== 0 ? x % y : 0),
  vjp: (b, g, [x, y]) => [g, neg(b, mul(b, g, b.make(truncOp, [div(b, x, y)])))],
  examples: [
    pair({ range: [0.5, 2] }),
    pair({ dtypes: ["i32", "i32"], range: [-7, 7], grad: false }),
    pair({ dtypes: ["u32", "u32"], grad: false }),
  ],
});
export const powOp = mapOp("pow", {
  doc: "x to the power of y, as C's pow: a negative x has real powers at integers only.",
  dtypes: FLOATS,
  f: (_t, x, y) => powDouble(x, y),
  vjp: (b, g, [x, y], out) => [
    // d/dx is 0 where y is 0, also at x = 0, and d/dy is 0 where x is 0 and y is not negative: as PyTorch.
    mul(b, g, where(b, eq(b, y, 0), 0, mul(b, y, pow(b, x, sub(b, y, 1))))),
    mul(b, g, where(b, and(b, eq(b, x, 0), ge(b, y, 0)), 0, mul(b, out, log(b, x)))),
  ],
  examples: [
    {
      shapes: [
        [2, 3],
        [2, 3],
      ],
      range: [0.5, 2],
    },
  ],
});
export const pow = binaryCall(powOp);
/** Ties share the gradient evenly and a NaN lets it through to both, as PyTorch's maximum and minimum have it. */
const pickVjp =
  (loses: (b: Builder, x: Value, y: Value) => Value): MapRow["vjp"] =>
  (b, g, [x, y]) => {
    const shared = where(b, eq(b, x, y), mul(b, g, 0.5), g);
    return [where(b, loses(b, x, y), 0, shared), where(b, loses(b, y, x), 0, shared)];
  };
export const maximumOp = mapOp("maximum", {
  doc: "The larger of x and y. In the language: max(x, y).",
  dtypes: NUMBERS,
  f: (_t, x, y) => Math.max(x, y),
  lower: (s, [x, y]) => s.call("max", x, y),
  vjp: pickVjp((b, x, y) => lt(b, x, y)),
});
export const maximum = binaryCall(maximumOp);
export const minimumOp = mapOp("minimum", {
  doc: "The smaller of x and y. In the language: min(x, y).",
  dtypes: NUMBERS,
  f: (_t, x, y) => Math.min(x, y),
  lower: (s, [x, y]) => s.call("min", x, y),
  vjp: pickVjp((b, x, y) => gt(b, x, y)),
});
export const minimum = binaryCall(minimumOp);

const RIGHT: readonly OpExample[] = [pair({ range: [0.3, 2] }), pair({ range: [-3, -0.5], grad: false })];
export const atan2Op = mapOp("atan2", {
  doc: "The angle of the point (x, y) to the x axis, from -pi to pi; signs of zeros count, as in C.",
  operands: ["y", "x"],
  dtypes: FLOATS,
  f: (_t, y, x) => Math.atan2(y, x),
  vjp: (b, g, [y, x]) => {
    const square = add(b, mul(b, y, y), mul(b, x, x));
    // The origin has no direction.
    const r = where(b, eq(b, square, 0), 0, reciprocal(b, square));
    return [mul(b, g, mul(b, x, r)), mul(b, g, mul(b, neg(b, y), r))];
  },
  examples: RIGHT,
});
export const hypotOp = mapOp("hypot", {
  doc: "sqrt(x^2 + y^2), where neither square overflows; inf where one is infinite, as C's hypot.",
  dtypes: FLOATS,
  f: (_t, x, y) => Math.hypot(x, y),
  lower: (s, [x, y]) => {
    const [p, q] = [s.call("abs", x), s.call("abs", y)];
    const [large, small] = [s.call("max", p, q), s.call("min", p, q)];
    const [zero, one] = [s.const(x.dtype, 0), s.const(x.dtype, 1)];
    const r = s.select(s.call("eq", large, zero), zero, s.call("div", small, large));
    const root = s.call("mul", large, s.call("sqrt", s.call("add", one, s.call("mul", r, r))));
    const infinite = s.call("or", s.call("is_inf", x), s.call("is_inf", y));
    return s.select(infinite, s.const(x.dtype, Number.POSITIVE_INFINITY), root);
  },
  vjp: (b, g, [x, y], out) => [mul(b, g, div(b, x, out)), mul(b, g, div(b, y, out))],
  examples: RIGHT,
});
export const copysignOp = mapOp("copysign", {
  doc: "|x| with the sign of y, that of a zero, too. The gradient at x = 0 is 0.",
  dtypes: FLOATS,
  f: (_t, x, y) => copySign(x, y),
  vjp: (b, g, [x], out) => [mul(b, g, where(b, eq(b, x, 0), 0, div(b, out, x))), undefined],
  examples: RIGHT,
});
export const xlogyOp = mapOp("xlogy", {
  doc: "x * log(y), and 0 where x is 0, whatever the logarithm: terms of an entropy. NaN where y is.",
  dtypes: FLOATS,
  f: (_t, x, y) => (Number.isNaN(y) ? y : x === 0 ? 0 : x * Math.log(y)),
  lower: (s, [x, y]) => {
    const none = s.call("and", s.call("eq", x, s.const(x.dtype, 0)), s.call("not", s.call("is_nan", y)));
    return s.select(none, s.const(x.dtype, 0), s.call("mul", x, s.call("log", y)));
  },
  vjp: (b, g, [x, y]) => {
    const none = and(b, eq(b, x, 0), le(b, y, 0));
    return [mul(b, g, where(b, none, 0, log(b, y))), mul(b, g, div(b, x, y))];
  },
  examples: [pair({ range: [0.2, 3] })],
});

// ------------------------------------------------------------------------------------- one operand, exact

const SIGNED: readonly DType[] = [...FLOATS, "i32"];
const zeroGradient = (): readonly undefined[] => [undefined];
const rounding = (doc: string, f: (x: number) => number): MapRow => ({
  doc: `${doc} The gradient is zero.`,
  dtypes: FLOATS,
  f: (_t, x) => f(x),
  vjp: zeroGradient,
  examples: [{ shapes: [[2, 3]], range: [-3, 3], grad: false }],
});
export const negOp = mapOp("neg", {
  doc: "-x.",
  dtypes: SIGNED,
  f: (_t, x) => -x,
  vjp: (b, g) => [neg(b, g)],
});
export const neg = unaryCall(negOp);
export const absOp = mapOp("abs", {
  doc: "The absolute value; its gradient at 0 is 0.",
  dtypes: SIGNED,
  f: (_t, x) => Math.abs(x),
  vjp: (b, g, [x]) => [mul(b, g, sign(b, x))],
});
export const abs = unaryCall(absOp);
export const signOp = mapOp("sign", {
  doc: "-1, 0 or 1; 0 for NaN, as PyTorch's.",
  dtypes: SIGNED,
  f: (_t, x) => Math.sign(x) || 0,
  vjp: zeroGradient,
  examples: [{ shapes: [[2, 3]], grad: false }],
});
export const sign = unaryCall(signOp);
export const floorOp = mapOp("floor", rounding("The largest integer <= x.", Math.floor));
export const floor = unaryCall(floorOp);
export const ceilOp = mapOp("ceil", rounding("The smallest integer >= x.", Math.ceil));
export const roundOp = mapOp("round", rounding("The nearest integer, halves to even.", roundHalfEven));
export const truncOp = mapOp("trunc", rounding("x without its fraction.", Math.trunc));
export const squareOp = mapOp("square", {
  doc: "x * x.",
  dtypes: NUMBERS,
  f: (t, x) => times(t, x, x),
  lower: (s, [x]) => s.call("mul", x, x),
  vjp: (b, g, [x]) => [mul(b, g, mul(b, x, 2))],
});
export const square = unaryCall(squareOp);
export const reluOp = mapOp("relu", {
  doc: "max(x, 0); its gradient at 0 is 0.",
  dtypes: SIGNED,
  f: (_t, x) => (x > 0 ? x : Number.isNaN(x) ? x : 0),
  // From the result, so that the operand need not be kept. A NaN lets the gradient through.
  vjp: (b, g, _xs, y) => [where(b, le(b, y, 0), 0, g)],
});
export const relu = unaryCall(reluOp);
export const stopGradientOp = mapOp("stop_gradient", {
  torch: "x.detach",
  doc: "x, through which no gradient passes.",
  dtypes: ANY,
  f: (_t, x) => x,
  lower: (_s, [x]) => x,
  vjp: zeroGradient,
  examples: [{ shapes: [[2, 3]], grad: false }],
});
export const stopGradient = unaryCall(stopGradientOp);

// ------------------------------------------------------------------------------ one operand, transcendental

const POSITIVE: readonly OpExample[] = [{ shapes: [[2, 3]], range: [0.2, 3] }];
const smooth = (
  doc: string,
  f: (x: number) => number,
  vjp: (b: Builder, g: Value, x: Value, y: Value) => Value,
  examples: readonly OpExample[] = [{ shapes: [[2, 3]], range: [-2, 2] }],
): MapRow => ({
  doc,
  dtypes: FLOATS,
  f: (_t, x) => f(x),
  vjp: (b, g, [x], y) => [vjp(b, g, x, y)],
  examples,
});

export const expOp = mapOp(
  "exp",
  smooth("e to the power of x.", Math.exp, (b, g, _x, y) => mul(b, g, y)),
);
export const exp = unaryCall(expOp);
export const exp2Op = mapOp(
  "exp2",
  smooth(
    "2 to the power of x.",
    (x) => 2 ** x,
    (b, g, _x, y) => mul(b, g, mul(b, y, Math.LN2)),
  ),
);
export const expm1Op = mapOp(
  "expm1",
  smooth("exp(x) - 1, accurate near 0.", Math.expm1, (b, g, _x, y) => mul(b, g, add(b, y, 1))),
);
export const expm1 = unaryCall(expm1Op);
export const logOp = mapOp(
  "log",
  smooth("The natural logarithm.", Math.log, (b, g, x) => div(b, g, x), POSITIVE),
);
export const log = unaryCall(logOp);
export const log2Op = mapOp(
  "log2",
  smooth("The logarithm to base 2.", Math.log2, (b, g, x) => div(b, g, mul(b, x, Math.LN2)), POSITIVE),
);
export const log10Op = mapOp("log10", {
  ...smooth("The logarithm to base 10.", Math.log10, (b, g, x) => div(b, g, mul(b, x, Math.LN10)), POSITIVE),
  lower: (s, [x]) => s.call("mul", s.call("log", x), s.const(x.dtype, Math.LOG10E)),
});
export const log1pOp = mapOp(
  "log1p",
  smooth("log(1 + x), accurate near 0.", Math.log1p, (b, g, x) => div(b, g, add(b, x, 1)), [
    { shapes: [[2, 3]], range: [-0.8, 3] },
  ]),
);
export const log1p = unaryCall(log1pOp);
export const sqrtOp = mapOp(
  "sqrt",
  smooth("The square root.", Math.sqrt, (b, g, _x, y) => div(b, mul(b, g, 0.5), y), POSITIVE),
);
export const sqrt = unaryCall(sqrtOp);
export const rsqrtOp = mapOp(
  "rsqrt",
  smooth(
    "1 / sqrt(x).",
    (x) => 1 / Math.sqrt(x),
    (b, g, _x, y) => mul(b, mul(b, g, -0.5), mul(b, y, mul(b, y, y))),
    POSITIVE,
  ),
);
export const rsqrt = unaryCall(rsqrtOp);
export const reciprocalOp = mapOp(
  "reciprocal",
  smooth(
    "1 / x.",
    (x) => 1 / x,
    (b, g, _x, y) => neg(b, mul(b, g, mul(b, y, y))),
    POSITIVE,
  ),
);
export const reciprocal = unaryCall(reciprocalOp);
export const sinOp = mapOp(
  "sin",
  smooth("Sine.", Math.sin, (b, g, x) => mul(b, g, cos(b, x))),
);
export const sin = unaryCall(sinOp);
export const cosOp = mapOp(
  "cos",
  smooth("Cosine.", Math.cos, (b, g, x) => neg(b, mul(b, g, sin(b, x)))),
);
export const cos = unaryCall(cosOp);
export const tanOp = mapOp(
  "tan",
  smooth("Tangent.", Math.tan, (b, g, _x, y) => mul(b, g, add(b, mul(b, y, y), 1)), [
    { shapes: [[2, 3]], range: [-1.2, 1.2] },
  ]),
);
const ARC: readonly OpExample[] = [{ shapes: [[2, 3]], range: [-0.9, 0.9] }];
export const asinOp = mapOp(
  "asin",
  smooth("Arc sine.", Math.asin, (b, g, x) => mul(b, g, rsqrt(b, sub(b, 1, mul(b, x, x)))), ARC),
);
export const acosOp = mapOp(
  "acos",
  smooth("Arc cosine.", Math.acos, (b, g, x) => neg(b, mul(b, g, rsqrt(b, sub(b, 1, mul(b, x, x))))), ARC),
);
export const atanOp = mapOp(
  "atan",
  smooth("Arc tangent.", Math.atan, (b, g, x) => div(b, g, add(b, mul(b, x, x), 1))),
);
export const sinhOp = mapOp(
  "sinh",
  smooth("Hyperbolic sine.", Math.sinh, (b, g, x) => mul(b, g, b.make(coshOp, [x]))),
);
export const coshOp: OpDef = mapOp(
  "cosh",
  smooth("Hyperbolic cosine.", Math.cosh, (b, g, x) => mul(b, g, b.make(sinhOp, [x]))),
);
export const asinhOp = mapOp(
  "asinh",
  smooth("Inverse of the hyperbolic sine.", Math.asinh, (b, g, x) =>
    mul(b, g, rsqrt(b, add(b, mul(b, x, x), 1))),
  ),
);
export const acoshOp = mapOp(
  "acosh",
  smooth(
    "Inverse of the hyperbolic cosine, of x >= 1.",
    Math.acosh,
    (b, g, x) => mul(b, g, rsqrt(b, sub(b, mul(b, x, x), 1))),
    [{ shapes: [[2, 3]], range: [1.2, 4] }],
  ),
);
export const atanhOp = mapOp(
  "atanh",
  smooth(
    "Inverse of the hyperbolic tangent, of |x| <= 1.",
    Math.atanh,
    (b, g, x) => div(b, g, sub(b, 1, mul(b, x, x))),
    ARC,
  ),
);
export const tanhOp = mapOp(
  "tanh",
  smooth("Hyperbolic tangent.", Math.tanh, (b, g, _x, y) => mul(b, g, sub(b, 1, mul(b, y, y)))),
);
export const tanh = unaryCall(tanhOp);
export const sigmoidOp = mapOp(
  "sigmoid",
  smooth(
    "1 / (1 + exp(-x)).",
    (x) => 1 / (1 + Math.exp(-x)),
    (b, g, _x, y) => mul(b, g, mul(b, y, sub(b, 1, y))),
  ),
);
export const sigmoid = unaryCall(sigmoidOp);
export const erfOp = mapOp(
  "erf",
  smooth("The error function.", erfDouble, (b, g, x) =>
    mul(b, mul(b, g, 2 / Math.sqrt(Math.PI)), exp(b, neg(b, mul(b, x, x)))),
  ),
);
export const erf = unaryCall(erfOp);
export const erfcOp = mapOp(
  "erfc",
  smooth("1 - erf(x), also where that is tiny.", erfcDouble, (b, g, x) =>
    mul(b, mul(b, g, -2 / Math.sqrt(Math.PI)), exp(b, neg(b, mul(b, x, x)))),
  ),
);
export const logaddexpOp = mapOp("logaddexp", {
  doc: "log(exp(x) + exp(y)), where neither overflows: a sum of what is kept as its logarithm.",
  dtypes: FLOATS,
  // Equal ones apart: two infinities have no difference.
  f: (_t, x, y) => (x === y ? x + Math.LN2 : Math.max(x, y) + Math.log1p(Math.exp(-Math.abs(x - y)))),
  lower: (s, [x, y]) => {
    const less = s.call("neg", s.call("abs", s.call("sub", x, y)));
    const unequal = s.call("add", s.call("max", x, y), s.call("log1p", s.call("exp", less)));
    return s.select(s.call("eq", x, y), s.call("add", x, s.const(x.dtype, Math.LN2)), unequal);
  },
  vjp: (b, g, [x, y]) => [mul(b, g, sigmoid(b, sub(b, x, y))), mul(b, g, sigmoid(b, sub(b, y, x)))],
  examples: [
    {
      shapes: [
        [2, 3],
        [2, 3],
      ],
      range: [-3, 3],
    },
  ],
});

// -------------------------------------------------------------------------------- comparisons and logic

const BOOL_RESULT = "the result is bool";
const comparison = (
  doc: string,
  f: (x: number, y: number) => boolean,
  dtypes: readonly DType[] = NUMBERS,
): MapRow => ({
  doc,
  dtypes,
  result: "bool",
  f: (_t, x, y) => (f(x, y) ? 1 : 0),
  noGrad: BOOL_RESULT,
  examples: [
    {
      shapes: [
        [2, 3],
        [2, 3],
      ],
    },
    { shapes: [[9], [9]], dtypes: ["i32", "i32"] },
  ].map((e) => ({
    ...e,
    grad: false,
  })) as OpExample[],
});
export const eqOp = mapOp(
  "eq",
  comparison("x == y.", (x, y) => x === y, ANY),
);
export const eq = binaryCall(eqOp);
export const neOp = mapOp(
  "ne",
  comparison("x != y.", (x, y) => x !== y, ANY),
);
export const ne = binaryCall(neOp);
export const ltOp = mapOp(
  "lt",
  comparison("x < y.", (x, y) => x < y),
);
export const lt = binaryCall(ltOp);
export const leOp = mapOp(
  "le",
  comparison("x <= y.", (x, y) => x <= y),
);
export const le = binaryCall(leOp);
export const gtOp = mapOp(
  "gt",
  comparison("x > y.", (x, y) => x > y),
);
export const gt = binaryCall(gtOp);
export const geOp = mapOp(
  "ge",
  comparison("x >= y.", (x, y) => x >= y),
);
export const ge = binaryCall(geOp);

const logic = (torch: string, doc: string, f: MapRow["f"], operands: readonly string[]): MapRow => ({
  doc,
  torch,
  operands,
  dtypes: ["bool"],
  f,
  noGrad: BOOL_RESULT,
  examples: [{ shapes: operands.map(() => [8]), dtypes: operands.map(() => "bool"), grad: false }],
});
export const andOp = mapOp(
  "and",
  logic("torch.logical_and", "Both.", (_t, x, y) => x & y, ["x", "y"]),
);
export const and = binaryCall(andOp);
export const orOp = mapOp(
  "or",
  logic("torch.logical_or", "One or both.", (_t, x, y) => x | y, ["x", "y"]),
);
export const or = binaryCall(orOp);
export const xorOp = mapOp(
  "xor",
  logic("torch.logical_xor", "One, not both.", (_t, x, y) => x ^ y, ["x", "y"]),
);
export const notOp = mapOp(
  "not",
  logic("torch.logical_not", "The opposite.", (_t, x) => 1 - x, ["x"]),
);
export const not = unaryCall(notOp);

const byBits = (
  doc: string,
  f: MapRow["f"],
  operands: readonly string[],
  range?: [number, number],
): MapRow => ({
  doc,
  operands,
  dtypes: range ? INTS : [...INTS, "bool"],
  f,
  noGrad: "the result is made of bits",
  examples: (range ? INTS : [...INTS, "bool" as const]).map((t) => ({
    shapes: operands.map(() => [9]),
    dtypes: operands.map(() => t),
    range: range ?? (t === "i32" ? [-9, 9] : [0, 9]),
    grad: false,
  })),
});
export const bitwiseAndOp = mapOp(
  "bitwise_and",
  byBits("The bits that are set in both, of integers; of bool the same as x && y.", (_t, x, y) => x & y, [
    "x",
    "y",
  ]),
);
export const bitwiseOrOp = mapOp(
  "bitwise_or",
  byBits(
    "The bits that are set in one or both, of integers; of bool the same as x || y.",
    (_t, x, y) => x | y,
    ["x", "y"],
  ),
);
export const bitwiseXorOp = mapOp(
  "bitwise_xor",
  byBits("The bits that are set in one, not both, of integers and of bool.", (_t, x, y) => x ^ y, ["x", "y"]),
);
export const bitwiseNotOp = mapOp(
  "bitwise_not",
  byBits(
    "All bits turned over, of integers; of bool the same as !x.",
    (t, x) => (t === "bool" ? 1 - x : ~x),
    ["x"],
  ),
);
const PLACES: [number, number] = [-2, 40];
export const leftShiftOp = mapOp(
  "bitwise_left_shift",
  byBits(
    "x * 2^y, what is beyond 32 bits lost: 0 for y below 0 or above 31.",
    (_t, x, y) => shiftLeft(x, y),
    ["x", "y"],
    PLACES,
  ),
);
export const rightShiftOp = mapOp(
  "bitwise_right_shift",
  byBits(
    "floor(x / 2^y): of y below 0 or above 31, as if all bits were shifted out.",
    (t, x, y) => shiftRight(t === "i32", x, y),
    ["x", "y"],
    PLACES,
  ),
);

const classify = (torch: string, doc: string, f: (x: number) => boolean): MapRow => ({
  doc,
  torch,
  dtypes: FLOATS,
  result: "bool",
  f: (_t, x) => (f(x) ? 1 : 0),
  noGrad: BOOL_RESULT,
  examples: [{ shapes: [[2, 3]], grad: false }],
});
export const isNanOp = mapOp("is_nan", classify("torch.isnan", "True for NaN, by its bits.", Number.isNaN));
export const isInfOp = mapOp(
  "is_inf",
  classify(
    "torch.isinf",
    "True for both infinities, by their bits.",
    (x) => Math.abs(x) === Number.POSITIVE_INFINITY,
  ),
);
export const isFiniteOp = mapOp(
  "is_finite",
  classify("torch.isfinite", "False for NaN and the infinities, by their bits.", Number.isFinite),
);

// ------------------------------------------------------------------------------------------ three operands

export const whereOp: OpDef = {
  name: "where",
  doc: "x where the condition holds, else y, element by element.",
  fuses: "map",
  params: [tensor("condition"), tensor("x"), tensor("y")],
  infer: ([c, x, y], _attrs, b) => {
    if (c.dtype !== "bool") fail("E0404", `where: the condition is ${c.dtype}, not bool`, { operand: 0 });
    if (x.dtype !== y.dtype)
      fail("E0401", `where: operands are ${x.dtype} and ${y.dtype}`, {
        operand: 2,
        help: castHelp(x.dtype, y.dtype),
      });
    return [{ dtype: x.dtype, shape: sameShapes("where", [c, x, y], b) }];
  },
  reference: ([c, x, y], _attrs, [out]) => {
    for (let i = 0; i < out.data.length; i++) out.data[i] = c.data[i] ? x.data[i] : y.data[i];
  },
  vjp: (b, node, [g]) => {
    const c = node.inputs[0];
    return g && isFloat(g.type.dtype)
      ? [undefined, where(b, c, g, 0), where(b, c, 0, g)]
      : [undefined, undefined, undefined];
  },
  // where(y == 7, 0, y) is y but for its sevens; so is where(y != 7, y, 0).
  comesFrom: (node, part) => {
    const [c, x, y] = node.inputs;
    const kept = c.node.op === eqOp ? 2 : c.node.op === neOp ? 1 : 0;
    const other = literalOf(kept === 2 ? x : y);
    const [p, q] = c.node.inputs;
    const except =
      p === node.inputs[kept] ? literalOf(q) : q === node.inputs[kept] ? literalOf(p) : undefined;
    return kept === 0 || other === undefined || except === undefined
      ? undefined
      : [{ operand: kept, part, except }];
  },
  lower: (s, node, at) => {
    const [c, x, y] = node.inputs.map((v) => s.read(v, at));
    return s.select(c, x, y);
  },
  examples: [
    {
      shapes: [
        [2, 3],
        [2, 3],
        [2, 3],
      ],
      dtypes: ["bool", "f32", "f32"],
    },
  ],
};
export function where(b: Builder, c: Value, x: ValueOrNumber, y: ValueOrNumber): Value {
  const [p, q] = adapt(b, "where", [x, y]);
  return b.make(whereOp, broadcastTogether(b, [c, p, q], "where"));
}

const bound = (attrs: Node["attrs"] | ConcreteAttrs, name: string): number | undefined =>
  attrs[name] as number | undefined;
export const clampOp: OpDef = {
  name: "clamp",
  doc: "x held between `min` and `max`, each optional. The gradient passes strictly between them, as PyTorch has it.",
  fuses: "map",
  params: [tensor("x"), float("min", { optional: true }), float("max", { optional: true })],
  infer: ([x], attrs) => {
    allowDtypes("clamp", [x], NUMBERS);
    for (const name of ["min", "max"]) {
      const v = bound(attrs, name);
      if (v !== undefined && !isFloat(x.dtype) && !Number.isInteger(v))
        fail("E0402", `clamp: ${v} does not adapt to ${x.dtype}`, { attr: name });
    }
    return [x];
  },
  reference: ([x], attrs, [out]) => {
    const lo = bound(attrs, "min") ?? -Infinity;
    const hi = bound(attrs, "max") ?? Infinity;
    for (let i = 0; i < out.data.length; i++) out.data[i] = Math.min(Math.max(x.data[i], lo), hi);
  },
  vjp: (b, node, [g]) => {
    const x = node.inputs[0];
    if (!g || !isFloat(x.type.dtype)) return [undefined];
    const lo = bound(node.attrs, "min");
    const hi = bound(node.attrs, "max");
    const tests = [...(lo === undefined ? [] : [gt(b, x, lo)]), ...(hi === undefined ? [] : [lt(b, x, hi)])];
    return [tests.reduce((acc, t) => where(b, t, acc, 0), g)];
  },
  lower: (s, node, at) => {
    const x = s.read(node.inputs[0], at);
    const lo = bound(node.attrs, "min");
    const hi = bound(node.attrs, "max");
    if (lo !== undefined && hi !== undefined)
      return s.call("clamp", x, s.const(x.dtype, lo), s.const(x.dtype, hi));
    if (lo !== undefined) return s.call("max", x, s.const(x.dtype, lo));
    return hi === undefined ? x : s.call("min", x, s.const(x.dtype, hi));
  },
  examples: [
    { shapes: [[2, 3]], attrs: { min: -0.5, max: 0.5 } },
    { shapes: [[2, 3]], attrs: { min: 0 } },
    { shapes: [[2, 3]], attrs: { max: 1 }, dtypes: ["i32"], grad: false },
  ],
};
export const clamp = (b: Builder, x: Value, min?: number, max?: number): Value =>
  b.make(clampOp, [x], { min, max });

export const maskedFillOp: OpDef = {
  name: "masked_fill",
  doc: "`value` where the mask holds, else x: where(mask, value, x).",
  fuses: "composite",
  params: [tensor("x"), tensor("mask"), float("value")],
  broadcasts: true,
  inline: () => true,
  infer: ([x, mask], attrs, b) => {
    if (mask.dtype !== "bool")
      fail("E0404", `masked_fill: the mask is ${mask.dtype}, not bool`, { operand: 1 });
    const value = numberAt(attrs, "value");
    if (!isFloat(x.dtype) && (!Number.isInteger(value) || (x.dtype === "bool" && value !== 0 && value !== 1)))
      fail("E0402", `masked_fill: ${value} does not adapt to ${x.dtype}`, { attr: "value" });
    return [{ dtype: x.dtype, shape: sameShapes("masked_fill", [x, mask], b) }];
  },
  expand: (b, { inputs: [x, mask], attrs }) => [where(b, mask, numberAt(attrs, "value"), x)],
  examples: [
    { ...pair(), dtypes: ["f32", "bool"], attrs: { value: -2 } },
    { ...pair(), dtypes: ["bool", "bool"], attrs: { value: 1 }, grad: false },
  ],
};

export const nanToNumOp: OpDef = {
  name: "nan_to_num",
  doc: "x, with `nan` (0) in the place of NaN, and `posinf` and `neginf` (the largest and the least number of the dtype) in those of the infinities. What was replaced has no gradient.",
  fuses: "composite",
  params: [
    tensor("x"),
    float("nan", { default: 0 }),
    float("posinf", { optional: true }),
    float("neginf", { optional: true }),
  ],
  infer: ([x]) => {
    allowDtypes("nan_to_num", [x], FLOATS);
    return [x];
  },
  inline: () => true,
  expand: (b, { inputs: [x], attrs }) => {
    const most = x.type.dtype === "f16" ? 65504 : 3.4028234663852886e38;
    const above = where(b, eq(b, x, Number.POSITIVE_INFINITY), bound(attrs, "posinf") ?? most, x);
    const both = where(b, eq(b, x, Number.NEGATIVE_INFINITY), bound(attrs, "neginf") ?? -most, above);
    return [where(b, b.make(isNanOp, [x]), bound(attrs, "nan") ?? 0, both)];
  },
  examples: [{ shapes: [[2, 3]] }],
};

export const lerpOp: OpDef = {
  name: "lerp",
  doc: "x + t * (y - x).",
  fuses: "composite",
  params: [tensor("x"), tensor("y"), tensor("t")],
  infer: (types, _attrs, b) => {
    sameDtypes("lerp", types);
    allowDtypes("lerp", types, FLOATS);
    return [{ dtype: types[0].dtype, shape: sameShapes("lerp", types, b) }];
  },
  broadcasts: true,
  inline: () => true,
  expand: (b, { inputs: [x, y, t] }) => [add(b, x, mul(b, t, sub(b, y, x)))],
  examples: [
    {
      shapes: [
        [2, 3],
        [2, 3],
        [2, 3],
      ],
    },
  ],
};

export const elementwise: readonly OpDef[] = [
  addOp,
  subOp,
  mulOp,
  divOp,
  floorDivOp,
  remOp,
  fmodOp,
  powOp,
  maximumOp,
  minimumOp,
  atan2Op,
  hypotOp,
  copysignOp,
  xlogyOp,
  negOp,
  absOp,
  signOp,
  floorOp,
  ceilOp,
  roundOp,
  truncOp,
  squareOp,
  reluOp,
  stopGradientOp,
  expOp,
  exp2Op,
  expm1Op,
  logOp,
  log2Op,
  log10Op,
  log1pOp,
  sqrtOp,
  rsqrtOp,
  reciprocalOp,
  sinOp,
  cosOp,
  tanOp,
  asinOp,
  acosOp,
  atanOp,
  sinhOp,
  coshOp,
  asinhOp,
  acoshOp,
  atanhOp,
  tanhOp,
  sigmoidOp,
  erfOp,
  erfcOp,
  logaddexpOp,
  eqOp,
  neOp,
  ltOp,
  leOp,
  gtOp,
  geOp,
  andOp,
  orOp,
  xorOp,
  notOp,
  bitwiseAndOp,
  bitwiseOrOp,
  bitwiseXorOp,
  bitwiseNotOp,
  leftShiftOp,
  rightShiftOp,
  isNanOp,
  isInfOp,
  isFiniteOp,
  whereOp,
  clampOp,
  lerpOp,
  maskedFillOp,
  nanToNumOp,
];
