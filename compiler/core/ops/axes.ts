// Operators on which everything else stands: cast, reshape, broadcast_to and sum.
// In: tensors of any shape. Out: the same elements elsewhere, repeated, or added up. They share a file because each is
// (part of) another's gradient; explicit broadcasting, which all families use, stands on them.
import {
  asConst,
  type Dim,
  dim,
  equal,
  exactQuotient,
  floorDiv,
  isConst,
  mul,
  product,
  surelyDiffer,
} from "../dims/dim.ts";
import type { Builder, DType, OpDef, Part, Reduction, TensorType, Value } from "../ir/types.ts";
import type { Lowering, Scalar } from "../kernel/scalar.ts";
import {
  ANY,
  allowDtypes,
  axes,
  bool,
  boolAt,
  broadcastShapes,
  dimsAt,
  dtype,
  dtypeAt,
  fail,
  full,
  INTS,
  isFloat,
  isWhole,
  literalOf,
  normalizeAxes,
  numbersAt,
  type Requirer,
  shapeText,
  sizes,
  tensor,
  typeText,
  type ValueOrNumber,
  wholePart,
} from "./define.ts";
import { convert, eachOffset, reduceDense, stridesOf, wrap } from "./dense.ts";

// ------------------------------------------------------------------------------------------------- cast

export const castOp: OpDef = {
  name: "cast",
  torch: "x.to",
  doc: "The same values in another dtype: floats to integers towards zero, anything to bool by `!= 0`. In the language: f32(x).",
  fuses: "map",
  params: [tensor("x"), dtype("dtype")],
  infer: ([x], attrs) => [{ dtype: dtypeAt(attrs), shape: x.shape }],
  reference: ([x], _attrs, [out]) => {
    for (let i = 0; i < out.data.length; i++) out.data[i] = convert(x.data[i], x.dtype, out.dtype);
  },
  vjp: (b, node, [g]) => {
    const from = node.inputs[0].type.dtype;
    return [g && isFloat(from) && isFloat(node.outs[0].type.dtype) ? cast(b, g, from) : undefined];
  },
  // Between integers the bits are the same, and an index outside stays outside.
  comesFrom: (node, part) =>
    INTS.includes(node.inputs[0].type.dtype) && INTS.includes(node.outs[0].type.dtype)
      ? [{ operand: 0, part }]
      : undefined,
  lower: (s, node, at) => s.cast(s.read(node.inputs[0], at), dtypeAt(node.attrs)),
  examples: [
    { shapes: [[2, 3]], attrs: { dtype: "i32" }, range: [-3, 3], grad: false },
    { shapes: [[4]], dtypes: ["i32"], attrs: { dtype: "f32" }, grad: false },
    { shapes: [[4]], dtypes: ["bool"], attrs: { dtype: "i32" }, grad: false },
    { shapes: [[4]], attrs: { dtype: "bool" }, grad: false },
  ],
};
export const cast = (b: Builder, x: Value, to: DType): Value =>
  x.type.dtype === to ? x : b.make(castOp, [x], { dtype: to });

// ---------------------------------------------------------------------------------------------- reshape

/**
 * Runs of axes with equal products: [from, to) of the operand and of the result. Only a run that changes needs
 * division; where a boundary cannot be shown, runs merge.
 */
export function reshapeRuns(
  from: readonly Dim[],
  to: readonly Dim[],
): { from: readonly [number, number]; to: readonly [number, number] }[] {
  const runs: { from: readonly [number, number]; to: readonly [number, number] }[] = [];
  let i = 0;
  let j = 0;
  while (i < from.length || j < to.length) {
    const [i0, j0] = [i, j];
    // An axis of extent 1 on one side alone is a run of its own.
    if (i < from.length && j < to.length && equal(from[i], to[j])) {
      i++;
      j++;
    } else if (i < from.length && isConst(from[i], 1)) i++;
    else if (j < to.length && isConst(to[j], 1)) j++;
    else [i, j] = nextBoundary(from, to, i, j);
    runs.push({ from: [i0, i], to: [j0, j] });
  }
  return runs;
}
/** The nearest later boundary at which both products agree; the end where none can be shown. */
function nextBoundary(from: readonly Dim[], to: readonly Dim[], i: number, j: number): [number, number] {
  const products = new Map<string, number>();
  let p = dim(1);
  for (let k = i; k < from.length; k++) {
    p = mul(p, from[k]);
    if (!products.has(p.key)) products.set(p.key, k + 1);
  }
  let q = dim(1);
  for (let k = j; k < to.length; k++) {
    q = mul(q, to[k]);
    const at = products.get(q.key);
    if (at !== undefined) return [at, k + 1];
  }
  return [from.length, to.length];
}

/** Row-major number of the coordinates within their extents. */
function merge(s: Lowering, at: readonly Scalar[], extents: readonly Dim[]): Scalar {
  let flat: Scalar | undefined;
  at.forEach((x, i) => {
    flat = flat === undefined ? x : s.iadd(s.imul(flat, extents[i]), x);
  });
  return flat ?? s.dim(0);
}
/** The coordinates of a row-major number. */
function split(s: Lowering, flat: Scalar, extents: readonly Dim[]): Scalar[] {
  // Nothing has coordinates in an empty tensor.
  if (extents.some((d) => isConst(d, 0))) return extents.map(() => s.dim(0));
  const out: Scalar[] = [];
  let rest = flat;
  for (let i = extents.length - 1; i > 0; i--) {
    out.unshift(s.imod(rest, extents[i]));
    rest = s.idiv(rest, extents[i]);
  }
  return extents.length === 0 ? [] : [rest, ...out];
}

const totalsMatch = (from: readonly Dim[], to: readonly Dim[], require: Requirer): void => {
  const [left, right] = [product(from), product(to)];
  if (equal(left, right)) return;
  if (surelyDiffer(left, right))
    fail("E0302", `reshape: ${shapeText(from)} has ${left.key} elements, ${shapeText(to)} has ${right.key}`, {
      attr: "shape",
    });
  require?.require({
    left,
    relation: "==",
    right,
    message: `reshape: elements of ${shapeText(from)} and ${shapeText(to)}`,
  });
};

export const reshapeOp: OpDef = {
  name: "reshape",
  doc: "The same elements in row-major order under another shape. One size may be -1: what is left.",
  fuses: "view",
  along: (b, node, [x], extent) => reshape(b, x, [extent, ...node.outs[0].type.shape]),
  params: [tensor("x"), sizes("shape")],
  complete: ([x], attrs) => {
    const shape = dimsAt(attrs, "shape");
    const open = shape.findIndex((d) => isConst(d, -1));
    if (open < 0) return { ...attrs, shape };
    const rest = product(shape.filter((_, i) => i !== open));
    if (shape.some((d, i) => i !== open && (asConst(d) ?? 0) < 0))
      fail("E0302", "reshape: only one size may be -1", { attr: "shape" });
    const total = product(x.shape);
    // What does not divide is refused or checked by infer: the totals then differ.
    const size = isConst(rest, 0) ? dim(0) : (exactQuotient(total, rest) ?? floorDiv(total, rest));
    return { ...attrs, shape: shape.map((d, i) => (i === open ? size : d)) };
  },
  infer: ([x], attrs, b) => {
    const shape = dimsAt(attrs, "shape");
    if (shape.some((d) => (asConst(d) ?? 0) < 0))
      fail("E0504", `reshape: a size of ${shapeText(shape)} is negative`, { attr: "shape" });
    totalsMatch(x.shape, shape, b);
    return [{ dtype: x.dtype, shape }];
  },
  reference: ([x], _attrs, [out]) => out.data.set(x.data),
  vjp: (b, node, [g]) => [g && reshape(b, g, node.inputs[0].type.shape)],
  comesFrom: (node, part) => {
    const [from, to] = [node.inputs[0].type.shape, node.outs[0].type.shape];
    const found: Part[number][] = [];
    for (const run of reshapeRuns(from, to)) {
      const [wide, narrow] = [from.slice(...run.from), to.slice(...run.to)];
      if (wide.length === 1 && narrow.length === 1) found.push(...part.slice(...run.to));
      else if (isWhole(part.slice(...run.to), narrow)) found.push(...wholePart(wide));
      else return undefined;
    }
    return [{ operand: 0, part: found }];
  },
  lower: (s, node, at) => {
    const from = node.inputs[0].type.shape;
    const to = node.outs[0].type.shape;
    const coords: Scalar[] = [];
    for (const run of reshapeRuns(from, to)) {
      const flat = merge(s, at.slice(...run.to), to.slice(...run.to));
      coords.push(...split(s, flat, from.slice(...run.from)));
    }
    return s.read(node.inputs[0], coords);
  },
  examples: [
    { shapes: [[2, 3, 4]], attrs: { shape: [6, 4] } },
    { shapes: [[2, 6]], attrs: { shape: [2, 2, 3] } },
    { shapes: [[4, 6]], attrs: { shape: [3, 8] } },
    { shapes: [[2, 1, 3]], attrs: { shape: [1, 2, 3, 1] } },
    { shapes: [[2, 3, 5]], attrs: { shape: [-1, 5] } },
    { shapes: [[1, 1]], attrs: { shape: [] } },
    { shapes: [[0, 3]], attrs: { shape: [3, 0] } },
  ],
};
export function reshape(b: Builder, x: Value, shape: readonly Dim[]): Value {
  if (shape.length === x.type.shape.length && shape.every((d, i) => equal(d, x.type.shape[i]))) return x;
  const n = literalOf(x);
  if (n !== undefined) return full(b, n, { dtype: x.type.dtype, shape });
  return b.make(reshapeOp, [x], { shape: [...shape] });
}
/** A vector as one axis of a shape, its other axes 1: to be broadcast. */
export const onAxis = (b: Builder, x: Value, shape: readonly Dim[], along: number): Value =>
  reshape(
    b,
    x,
    shape.map((d, i) => (i === along ? d : dim(1))),
  );

// ---------------------------------------------------------------------------------------- broadcast_to

export const broadcastToOp: OpDef = {
  name: "broadcast_to",
  doc: "Repeats axes of extent 1, and the whole along new leading axes. Only a literal 1 expands.",
  fuses: "view",
  along: (b, node, [x], extent) => {
    const { shape } = node.outs[0].type;
    const own = node.inputs[0].type.shape;
    const ones = shape.slice(own.length).map(() => dim(1));
    return broadcastTo(b, reshape(b, x, [extent, ...ones, ...own]), [extent, ...shape]);
  },
  params: [tensor("x"), sizes("shape")],
  infer: ([x], attrs, b) => {
    const shape = dimsAt(attrs, "shape");
    const extra = shape.length - x.shape.length;
    const refuse = (): never =>
      fail("E0301", `broadcast_to: ${typeText(x)} does not expand to ${shapeText(shape)}`, { operand: 0 });
    if (extra < 0) refuse();
    x.shape.forEach((d, i) => {
      const to = shape[i + extra];
      if (isConst(d, 1) || equal(d, to)) return;
      if (surelyDiffer(d, to)) refuse();
      b?.require({
        left: d,
        relation: "==",
        right: to,
        message: `broadcast_to: axis ${i} of ${shapeText(x.shape)}`,
      });
    });
    return [{ dtype: x.dtype, shape }];
  },
  reference: ([x], _attrs, [out]) => {
    const extra = out.shape.length - x.shape.length;
    const own = stridesOf(x.shape);
    const strides = out.shape.map((_, i) => (i < extra || x.shape[i - extra] === 1 ? 0 : own[i - extra]));
    eachOffset(out.shape, strides, 0, (flat, o) => {
      out.data[flat] = x.data[o];
    });
  },
  vjp: (b, node, [g]) => [g && unbroadcast(b, g, node.inputs[0].type.shape)],
  comesFrom: (node, part) => {
    const from = node.inputs[0].type.shape;
    const one = wholePart([dim(1)]);
    return [
      {
        operand: 0,
        part: from.map((d, i) => (isConst(d, 1) ? one[0] : part[i + part.length - from.length])),
      },
    ];
  },
  lower: (s, node, at) => {
    const from = node.inputs[0].type.shape;
    const extra = at.length - from.length;
    return s.read(
      node.inputs[0],
      from.map((d, i) => (isConst(d, 1) ? s.dim(0) : at[i + extra])),
    );
  },
  examples: [
    { shapes: [[3]], attrs: { shape: [2, 3] } },
    { shapes: [[2, 1, 4]], attrs: { shape: [3, 2, 5, 4] } },
    { shapes: [[]], attrs: { shape: [2, 2] } },
    { shapes: [[2, 1]], attrs: { shape: [2, 0] } },
  ],
};
/** `x` with the given shape; literals are made in that shape, equal shapes are left alone. */
export function broadcastTo(b: Builder, x: Value, shape: readonly Dim[]): Value {
  const own = x.type.shape;
  if (own.length === shape.length && own.every((d, i) => equal(d, shape[i]) || !isConst(d, 1))) return x;
  const n = literalOf(x);
  if (n !== undefined) return full(b, n, { dtype: x.type.dtype, shape });
  return b.make(broadcastToOp, [x], { shape: [...shape] });
}
/** The sum over what a broadcast from `shape` repeated. */
export function unbroadcast(b: Builder, g: Value, shape: readonly Dim[]): Value {
  const extra = g.type.shape.length - shape.length;
  const over = g.type.shape
    .map((d, i) => (i < extra || (isConst(shape[i - extra], 1) && !isConst(d, 1)) ? i : -1))
    .filter((i) => i >= 0);
  return reshape(b, sum(b, g, over), shape);
}

/** Views that bring the operands to one shape, right-aligned as numpy does. */
export function broadcastTogether(
  b: Builder,
  values: readonly Value[],
  name = "broadcast",
): readonly Value[] {
  const shape = broadcastShapes(
    name,
    values.map((v) => v.type.shape),
    b,
  );
  return values.map((v) => broadcastTo(b, v, shape));
}
/** Literals as tensors of their neighbours' dtype (f32 where all are literals). */
export function adapt(
  b: Builder,
  name: string,
  xs: readonly ValueOrNumber[],
  dtypes?: readonly (DType | undefined)[],
): readonly Value[] {
  const neighbour = xs.find((x, i): x is Value => typeof x !== "number" && !dtypes?.[i]);
  return xs.map((x, i) => {
    if (typeof x !== "number") return x;
    const to = dtypes?.[i] ?? neighbour?.type.dtype ?? "f32";
    if (!isFloat(to) && !Number.isInteger(x))
      fail("E0402", `${name}: ${x} does not adapt to ${to}`, {
        operand: i,
        help: `write an integer, or cast the tensor to f32`,
      });
    return full(b, x, { dtype: to, shape: [] });
  });
}

// -------------------------------------------------------------------------------------------------- sum

/** Params every reduction has: `axis` and `axes` are one. */
export const reductionParams = [
  tensor("x"),
  axes("axes", { optional: true, aliases: ["axis"], doc: "all axes by default" }),
  bool("keepdims", { default: false }),
];
export const completeAxes =
  (name: string): NonNullable<OpDef["complete"]> =>
  ([x], attrs) => ({
    ...attrs,
    axes: normalizeAxes(name, attrs.axes, x.shape.length),
    // Said only where it is: equal reductions are one node.
    keepdims: boolAt(attrs, "keepdims") || undefined,
  });
/**
 * A reduction over axes. `keepdims` is a view behind it: so the sums (and means, and whatever is made of them) of one tensor
 * over the same axes are one, whichever way each reader wants the axes.
 */
export function reduce(
  b: Builder,
  op: OpDef,
  x: Value,
  over: readonly number[],
  keepdims = false,
  more: OpAttrs = {},
): Value {
  const y = b.make(op, [x], { axes: [...over], ...more });
  return keepdims ? reshape(b, y, reducedShape(x.type.shape, over, true)) : y;
}
/** What a fold with `reductionParams` is. */
export const reductionOf = (op: () => OpDef, more: Partial<Reduction> = {}): Reduction => ({
  axes: (attrs) => numbersAt(attrs, "axes"),
  over: (b, x, over) => reduce(b, op(), x, over),
  ...more,
});
/** Of a fold: a call with `keepdims` is the one without, and a view. */
export const keepsByView: Pick<OpDef, "inline" | "expand"> = {
  inline: (_types, attrs) => boolAt(attrs, "keepdims"),
  expand: (b, { op, inputs: [x], attrs: { axes: over, keepdims, ...more } }) => [
    reduce(b, op, x, over as readonly number[], keepdims === true, more),
  ],
};
export const reducedShape = (
  shape: readonly Dim[],
  over: readonly number[],
  keepdims: boolean,
): readonly Dim[] =>
  keepdims ? shape.map((d, i) => (over.includes(i) ? dim(1) : d)) : shape.filter((_, i) => !over.includes(i));
export const reducedType = (x: TensorType, attrs: OpAttrs, to: DType = x.dtype): TensorType => ({
  dtype: to,
  shape: reducedShape(x.shape, numbersAt(attrs, "axes"), boolAt(attrs, "keepdims")),
});
type OpAttrs = Parameters<OpDef["infer"]>[1];

/** Reads the operand with the reduced axes' coordinates put back. */
export function readReduced(
  s: Lowering,
  x: Value,
  over: readonly number[],
  keepdims: boolean,
  at: readonly Scalar[],
  inner: readonly Scalar[],
): Scalar {
  let kept = 0;
  let folded = 0;
  const coords = x.type.shape.map((_, i) => {
    if (!over.includes(i)) return at[kept++];
    if (keepdims) kept++;
    return inner[folded++];
  });
  return s.read(x, coords);
}
/** The gradient of a reduction, with the reduced axes back as ones and repeated. */
export function spread(b: Builder, g: Value, x: TensorType, over: readonly number[]): Value {
  return broadcastTo(b, reshape(b, g, reducedShape(x.shape, over, true)), x.shape);
}

export const sumOp: OpDef = {
  name: "sum",
  doc: "The sum over axes. The sum of bool is i32: a count.",
  fuses: "fold",
  reduction: reductionOf(() => sumOp, { linear: true }),
  ...keepsByView,
  params: reductionParams,
  complete: completeAxes("sum"),
  infer: ([x], attrs) => {
    allowDtypes("sum", [x], ANY);
    return [reducedType(x, attrs, x.dtype === "bool" ? "i32" : x.dtype)];
  },
  reference: ([x], attrs, [out]) =>
    reduceDense(x, numbersAt(attrs, "axes"), out, 0, (a, v) => wrap(out.dtype, a + v)),
  vjp: (b, node, [g]) => [
    g && isFloat(g.type.dtype) ? spread(b, g, node.inputs[0].type, numbersAt(node.attrs, "axes")) : undefined,
  ],
  lower: (s, node, at) => {
    const x = node.inputs[0];
    const over = numbersAt(node.attrs, "axes");
    return s.fold(
      "add",
      over.map((i) => x.type.shape[i]),
      (...inner) =>
        s.cast(readReduced(s, x, over, boolAt(node.attrs, "keepdims"), at, inner), node.outs[0].type.dtype),
    );
  },
  examples: [
    { shapes: [[2, 3, 4]], attrs: { axes: [1] } },
    { shapes: [[2, 3, 4]], attrs: { axes: [0, 2], keepdims: true } },
    { shapes: [[3, 4]] },
    { shapes: [[]] },
    { shapes: [[0, 3]], attrs: { axes: [0] } },
    { shapes: [[2, 5]], dtypes: ["bool"], attrs: { axes: [-1] }, grad: false },
    { shapes: [[2, 5]], dtypes: ["i32"], attrs: { axes: [0] }, grad: false },
  ],
};
export function sum(b: Builder, x: Value, over?: readonly number[], keepdims = false): Value {
  const rank = x.type.shape.length;
  const list = over ?? Array.from({ length: rank }, (_, i) => i);
  if (list.length === 0 && x.type.dtype !== "bool") return x;
  return reduce(b, sumOp, x, list, keepdims);
}
