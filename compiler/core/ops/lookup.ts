// Access by index known at run time: take (embedding), gather, their gradients, one_hot, slices and updates at a run-time
// start, and triangles. In: tensors and i32 indices. Out: gathers only. A gradient adds up what names an element in
// index order: deterministic, without atomics. It sorts (7-schedule/scatter.ts), or, where little is to be done, folds over all
// indices and selects.
// Indices outside, in data that a call did not check, are clamped on reading (starts so that the whole block fits), and
// have no gradient: what was read in their stead is nobody's choice. A block is moved, and so is its gradient.
import { add as addDims, asConst, type Dim, dim, sub } from "../dims/dim.ts";
import type {
  Attrs,
  Builder,
  ConcreteAttrs,
  Dense,
  DType,
  IndexUse,
  OpDef,
  TensorType,
  Value,
} from "../ir/types.ts";
import type { Combine, Lowering, Scalar } from "../kernel/scalar.ts";
import { broadcastTo, cast, onAxis, reshape } from "./axes.ts";
import {
  algorithm,
  atLeast,
  axis,
  dimAt,
  dimsAt,
  dtype,
  dtypeAt,
  fail,
  int,
  isFloat,
  normalizeAxis,
  numberAt,
  type Requirer,
  sameDtypes,
  sameSize,
  shapeText,
  size,
  sizes,
  sizeValue,
  tensor,
  tensors,
  typeText,
  word,
  zerosLike,
} from "./define.ts";
import { eachOffset, stridesOf, times } from "./dense.ts";
import { add as addValues, and, eq, ge, le, lt, where } from "./elementwise.ts";
import { highest, lowest } from "./reduce.ts";
import { iota as iotaOp } from "./source.ts";

export const needIndex = (name: string, t: TensorType, operand: number): void => {
  if (t.dtype !== "i32") fail("E0404", `${name}: the index is ${t.dtype}, not i32`, { operand });
};
const clampTo = (s: Lowering, index: Scalar, last: Dim): Scalar =>
  s.call("min", s.call("max", index, s.dim(0)), s.dim(last));
/** Where an index is inside, x; elsewhere zeros. `lift` gives the index the shape of x. */
export function whereInside(
  b: Builder,
  index: Value,
  extent: Dim,
  x: Value,
  lift: (v: Value) => Value,
): Value {
  const inside = and(b, ge(b, index, 0), lt(b, index, sizeValue(b, extent)));
  return where(b, broadcastTo(b, lift(inside), x.type.shape), x, 0);
}
const clampNumber = (v: number, last: number): number => Math.min(Math.max(v, 0), last);

// ----------------------------------------------------------------------------------------- take, embedding

const indexUse = (name: string, operand: number, shape: readonly Dim[], along: number): IndexUse => ({
  operand,
  extent: shape[along],
  use: `${name} from axis ${along} of ${shapeText(shape)}`,
});

/** The axes of take's result: those before, those of the index, those after. */
const takeShape = (x: readonly Dim[], index: readonly Dim[], along: number): readonly Dim[] => [
  ...x.slice(0, along),
  ...index,
  ...x.slice(along + 1),
];
export const takeOp: OpDef = {
  name: "take",
  torch: "torch.index_select",
  doc: "Slices of x along an axis, by index: the axis is replaced by the index's axes (PyTorch's index_select, of any rank). An index outside is refused in data from the host; elsewhere it reads the nearest slice, and has no gradient.",
  fuses: "view",
  params: [tensor("x"), tensor("index", { literal: "i32" }), axis("axis", { default: 0 })],
  complete: ([x], attrs) => ({ axis: normalizeAxis("take", (attrs.axis as number) ?? 0, x.shape.length) }),
  infer: ([x, index], attrs) => {
    needIndex("take", index, 1);
    return [{ dtype: x.dtype, shape: takeShape(x.shape, index.shape, numberAt(attrs, "axis")) }];
  },
  indexes: ([x], attrs) => [indexUse("take", 1, x.shape, numberAt(attrs, "axis"))],
  reference: ([x, index], attrs, [out]) => {
    const along = numberAt(attrs, "axis");
    const inner = x.shape.slice(along + 1).reduce((a, d) => a * d, 1);
    const outer = x.shape.slice(0, along).reduce((a, d) => a * d, 1);
    const n = index.data.length;
    for (let p = 0; p < outer; p++)
      for (let i = 0; i < n; i++) {
        const row = p * x.shape[along] + clampNumber(index.data[i], x.shape[along] - 1);
        out.data.set(x.data.subarray(row * inner, (row + 1) * inner), (p * n + i) * inner);
      }
  },
  vjp: (b, node, [g]) => {
    const [x, index] = node.inputs;
    const along = numberAt(node.attrs, "axis");
    if (!g || !isFloat(g.type.dtype)) return [undefined, undefined];
    if (index.node.op === iotaOp) return [placed(b, g, along, x.type.shape), undefined];
    return [b.make(takeGradOp, [index, g], { axis: along, extent: x.type.shape[along] }), undefined];
  },
  lower: (s, node, at) => {
    const [x, index] = node.inputs;
    const along = numberAt(node.attrs, "axis");
    const rank = index.type.shape.length;
    const row = clampTo(s, s.read(index, at.slice(along, along + rank)), sub(x.type.shape[along], 1));
    return s.read(x, [...at.slice(0, along), row, ...at.slice(along + rank)]);
  },
  examples: [
    { shapes: [[5, 3], [4]], dtypes: ["f32", "i32"] },
    {
      shapes: [
        [2, 5, 3],
        [2, 2],
      ],
      dtypes: ["f32", "i32"],
      attrs: { axis: 1 },
    },
    { shapes: [[3], []], dtypes: ["f32", "i32"], range: [-2, 4], grad: false },
  ],
};
/** The gradient of taking the first slices, each once: g among zeros, or as much of it as there is room for. */
function placed(b: Builder, g: Value, along: number, shape: readonly Dim[]): Value {
  const rows = b.make(iotaOp, [], { extent: shape[along], dtype: "i32" });
  const taken = b.make(takeOp, [g, rows], { axis: along });
  const lifted = shape.map((d, i) => (i === along ? d : dim(1)));
  return whereInside(b, rows, g.type.shape[along], taken, (v) => reshape(b, v, lifted));
}
export const [takeGradOp, takeGradEach] = algorithm({
  name: "take_grad",
  doc: "The gradient of take: zeros with `extent` rows along the axis, each slice of g added to the row its index names, if there is one.",
  fuses: "fold",
  exposed: false,
  params: [tensor("index"), tensor("g"), axis("axis"), size("extent")],
  infer: ([index, g], attrs) => {
    const along = numberAt(attrs, "axis");
    const shape = [
      ...g.shape.slice(0, along),
      dimAt(attrs, "extent"),
      ...g.shape.slice(along + index.shape.length),
    ];
    return [{ dtype: g.dtype, shape }];
  },
  reference: ([index, g], attrs, [out]) => {
    const along = numberAt(attrs, "axis");
    const inner = out.shape.slice(along + 1).reduce((a, d) => a * d, 1);
    const outer = out.shape.slice(0, along).reduce((a, d) => a * d, 1);
    const extent = out.shape[along];
    const n = index.data.length;
    for (let p = 0; p < outer; p++)
      for (let i = 0; i < n; i++) {
        if (index.data[i] < 0 || index.data[i] >= extent) continue;
        const row = p * extent + index.data[i];
        for (let k = 0; k < inner; k++) out.data[row * inner + k] += g.data[(p * n + i) * inner + k];
      }
  },
  vjp: (b, node, [h]) => {
    const [index, g] = node.inputs;
    if (!h) return [undefined, undefined];
    const along = numberAt(node.attrs, "axis");
    const taken = b.make(takeOp, [h, index], { axis: along });
    const axes = g.type.shape.map((d, i) => (i >= along && i < along + index.type.shape.length ? d : dim(1)));
    return [undefined, whereInside(b, index, dimAt(node.attrs, "extent"), taken, (v) => reshape(b, v, axes))];
  },
  lower: (s, node, at) => {
    const [index, g] = node.inputs;
    const along = numberAt(node.attrs, "axis");
    return s.fold("add", index.type.shape, (...i) => {
      const row = s.read(index, i);
      const value = s.read(g, [...at.slice(0, along), ...i, ...at.slice(along + 1)]);
      return s.select(s.call("eq", row, at[along]), value, s.const(g.type.dtype, 0));
    });
  },
  examples: [
    { shapes: [[6], [6, 2]], dtypes: ["i32", "f32"], attrs: { axis: 0, extent: 4 } },
    {
      shapes: [
        [2, 2],
        [3, 2, 2, 2],
      ],
      dtypes: ["i32", "f32"],
      attrs: { axis: 1, extent: 5 },
    },
  ],
});
export const embeddingOp: OpDef = {
  name: "embedding",
  torch: "F.embedding",
  doc: "Rows of weight [n, d] by index: ids [...] -> [..., d]. An id outside is refused in data from the host; elsewhere it reads the first or last row, and trains none.",
  fuses: "composite",
  params: [tensor("ids", { literal: "i32" }), tensor("weight")],
  infer: ([ids, w]) => {
    needIndex("embedding", ids, 0);
    if (w.shape.length !== 2)
      fail("E0304", `embedding takes a weight [n, d], given ${typeText(w)}`, { operand: 1 });
    return [{ dtype: w.dtype, shape: [...ids.shape, w.shape[1]] }];
  },
  inline: () => true,
  expand: (b, node) => [b.make(takeOp, [node.inputs[1], node.inputs[0]], { axis: 0 })],
  examples: [
    {
      shapes: [
        [2, 3],
        [5, 2],
      ],
      dtypes: ["i32", "f32"],
    },
  ],
};

// ------------------------------------------------------------------------------------------------- gather

export const gatherOp: OpDef = {
  name: "gather",
  doc: "Along an axis, the element of x that the index at the same place names; index and x agree on the other axes (PyTorch's gather). An index outside is refused in data from the host; elsewhere it reads the nearest element, and has no gradient.",
  fuses: "view",
  params: [tensor("x"), tensor("index", { literal: "i32" }), axis("axis", { default: -1 })],
  complete: ([x], attrs) => ({ axis: normalizeAxis("gather", (attrs.axis as number) ?? -1, x.shape.length) }),
  infer: ([x, index], attrs, b) => {
    needIndex("gather", index, 1);
    const refuse = (): never =>
      fail(
        "E0302",
        `gather: index ${shapeText(index.shape)} does not fit ${shapeText(x.shape)} off axis ${attrs.axis}`,
        { operand: 1, help: "an index has x's other sizes, as in PyTorch: broadcast_to(index, [N, k, d])" },
      );
    if (x.shape.length !== index.shape.length) refuse();
    x.shape.forEach((d, i) => {
      if (i !== attrs.axis) sameSize(d, index.shape[i], `gather: axis ${i} of both operands`, b, refuse);
    });
    return [{ dtype: x.dtype, shape: index.shape }];
  },
  indexes: ([x], attrs) => [indexUse("gather", 1, x.shape, numberAt(attrs, "axis"))],
  reference: ([x, index], attrs, [out]) => {
    const along = numberAt(attrs, "axis");
    const strides = stridesOf(x.shape);
    eachOffset(
      index.shape,
      strides.map((v, i) => (i === along ? 0 : v)),
      0,
      (flat, o) => {
        out.data[flat] = x.data[o + clampNumber(index.data[flat], x.shape[along] - 1) * strides[along]];
      },
    );
  },
  vjp: (b, node, [g]) => {
    const [x, index] = node.inputs;
    const along = numberAt(node.attrs, "axis");
    return [
      g && isFloat(g.type.dtype)
        ? b.make(gatherGradOp, [index, g], { axis: along, extent: x.type.shape[along] })
        : undefined,
      undefined,
    ];
  },
  lower: (s, node, at) => {
    const [x, index] = node.inputs;
    const along = numberAt(node.attrs, "axis");
    const place = clampTo(s, s.read(index, at), sub(x.type.shape[along], 1));
    return s.read(
      x,
      at.map((p, i) => (i === along ? place : p)),
    );
  },
  examples: [
    {
      shapes: [
        [3, 5],
        [3, 2],
      ],
      dtypes: ["f32", "i32"],
    },
    {
      shapes: [
        [5, 2],
        [3, 2],
      ],
      dtypes: ["f32", "i32"],
      attrs: { axis: 0 },
    },
  ],
};
/** The elements of an index, in order, that name a place of `out` along an axis, and where that is. */
function eachNamed(index: Dense, out: Dense, along: number, visit: (flat: number, at: number) => void): void {
  const strides = stridesOf(out.shape);
  eachOffset(
    index.shape,
    strides.map((v, i) => (i === along ? 0 : v)),
    0,
    (flat, o) => {
      const place = index.data[flat];
      if (place >= 0 && place < out.shape[along]) visit(flat, o + place * strides[along]);
    },
  );
}
/** Of an operator that says, along an axis of `extent` places, what the elements whose index names a place come to. */
function byIndex(combine: (attrs: Attrs | ConcreteAttrs) => Combine) {
  return {
    fuses: "fold",
    exposed: false,
    infer: ([, g], attrs) => [
      { dtype: g.dtype, shape: g.shape.map((d, i) => (i === attrs.axis ? dimAt(attrs, "extent") : d)) },
    ],
    reference: ([index, g], attrs, [out]) => {
      const { none, both } = COMES_TO[combine(attrs)];
      out.data.fill(none(g.dtype));
      eachNamed(index, out, numberAt(attrs, "axis"), (flat, at) => {
        out.data[at] = both(g.dtype, out.data[at], g.data[flat]);
      });
    },
    lower: (s, node, at) => {
      const [index, g] = node.inputs;
      const along = numberAt(node.attrs, "axis");
      const how = combine(node.attrs);
      const none = s.const(g.type.dtype, COMES_TO[how].none(g.type.dtype));
      return s.fold(how, [index.type.shape[along]], (k) => {
        const there = at.map((p, i) => (i === along ? k : p));
        return s.select(s.call("eq", s.read(index, there), at[along]), s.read(g, there), none);
      });
    },
  } satisfies Partial<OpDef>;
}
/** What no elements come to, and two. */
const COMES_TO: Readonly<
  Record<Combine, { none(t: DType): number; both(t: DType, a: number, b: number): number }>
> = {
  add: { none: () => 0, both: (_t, a, b) => a + b },
  mul: { none: () => 1, both: times },
  max: { none: lowest, both: (_t, a, b) => Math.max(a, b) },
  min: { none: highest, both: (_t, a, b) => Math.min(a, b) },
};
export const [gatherGradOp, gatherGradEach] = algorithm({
  name: "gather_grad",
  doc: "The gradient of gather: zeros of `extent` along the axis, each element of g added where its index names, if that is inside.",
  params: [tensor("index"), tensor("g"), axis("axis"), size("extent")],
  ...byIndex(() => "add"),
  vjp: (b, node, [h]) => {
    const [index] = node.inputs;
    if (!h) return [undefined, undefined];
    const taken = b.make(gatherOp, [h, index], { axis: node.attrs.axis });
    return [undefined, whereInside(b, index, dimAt(node.attrs, "extent"), taken, (v) => v)];
  },
  examples: [
    {
      shapes: [
        [3, 4],
        [3, 4],
      ],
      dtypes: ["i32", "f32"],
      attrs: { axis: 1, extent: 5 },
    },
  ],
});

/** What `scatter_reduce` combines (sort.ts). */
const FOLDS = ["mul", "max", "min"] as const;
export const [scatterFoldOp, scatterFoldEach] = algorithm({
  name: "scatter_fold",
  doc: "Along an axis of `extent` places: the product, the largest or the smallest of the elements whose index names the place, in index order; 1, or the lowest or highest number, where none does.",
  params: [tensor("index"), tensor("g"), axis("axis"), size("extent"), word("combine", { among: FOLDS })],
  ...byIndex((attrs) => attrs.combine as Combine),
  noGrad: "what is made of it has a gradient of its own",
  examples: FOLDS.map((combine) => ({
    shapes: [
      [3, 4],
      [3, 4],
    ],
    dtypes: ["i32", "f32"],
    attrs: { axis: 1, extent: 5, combine },
    grad: false,
  })),
});

/** What `scatter` overwrites with (scatter.ts). Here, because it sorts as a gather's gradient does. */
export const [scatterLastOp, scatterLastEach] = algorithm({
  name: "scatter_last",
  doc: "Along an axis of `extent` places: where in the line the last index stands that names the place, -1 where none does.",
  fuses: "fold",
  exposed: false,
  params: [tensor("index"), axis("axis"), size("extent")],
  infer: ([index], attrs) => [
    { dtype: "i32", shape: index.shape.map((d, i) => (i === attrs.axis ? dimAt(attrs, "extent") : d)) },
  ],
  noGrad: "the result is an index",
  reference: ([index], attrs, [out]) => {
    const along = numberAt(attrs, "axis");
    const own = stridesOf(index.shape)[along];
    out.data.fill(-1);
    eachNamed(index, out, along, (flat, at) => {
      out.data[at] = Math.max(out.data[at], Math.floor(flat / own) % index.shape[along]);
    });
  },
  lower: (s, node, at) => {
    const [index] = node.inputs;
    const along = numberAt(node.attrs, "axis");
    const last = s.fold("max", [index.type.shape[along]], (k) => {
      const place = s.read(
        index,
        at.map((p, i) => (i === along ? k : p)),
      );
      return s.select(s.call("eq", place, at[along]), k, s.const("i32", -1));
    });
    return s.call("max", last, s.const("i32", -1));
  },
  examples: [{ shapes: [[3, 4]], dtypes: ["i32"], attrs: { axis: 1, extent: 5 }, grad: false }],
});

// ------------------------------------------------------------------------------- indicators: one_hot, triangles

/** iota along one axis of a shape. */
export function place(b: Builder, shape: readonly Dim[], along: number): Value {
  const line = b.make(iotaOp, [], { extent: shape[along], dtype: "i32" });
  return broadcastTo(b, onAxis(b, line, shape, along), shape);
}
export const oneHotOp: OpDef = {
  name: "one_hot",
  torch: "F.one_hot",
  doc: "1 where the class (a new last axis of `classes`) is the index, else 0: ids [...] -> [..., classes]. An id outside is refused in data from the host; elsewhere it gives zeros.",
  fuses: "composite",
  params: [tensor("ids", { literal: "i32" }), size("classes"), dtype("dtype", { default: "f32" })],
  complete: (_types, attrs) => ({ ...attrs, dtype: attrs.dtype ?? "f32" }),
  infer: ([ids], attrs) => {
    needIndex("one_hot", ids, 0);
    return [{ dtype: dtypeAt(attrs), shape: [...ids.shape, dimAt(attrs, "classes")] }];
  },
  indexes: (_types, attrs) => [
    { operand: 0, extent: dimAt(attrs, "classes"), use: `one_hot of ${dimAt(attrs, "classes").key} classes` },
  ],
  noGrad: "the operand is an index",
  expand: (b, node) => {
    const [ids] = node.inputs;
    const { dtype, shape } = node.outs[0].type;
    return [cast(b, isClass(b, ids, shape, shape.length - 1), dtype)];
  },
  examples: [{ shapes: [[2, 3]], dtypes: ["i32"], attrs: { classes: 5 }, grad: false }],
};
/** True in `shape` where the coordinate along an axis is the index's (whose shape lacks that axis). */
export function isClass(b: Builder, ids: Value, shape: readonly Dim[], along: number): Value {
  const column = reshape(
    b,
    ids,
    shape.map((d, i) => (i === along ? dim(1) : d)),
  );
  return eq(b, place(b, shape, along), broadcastTo(b, column, shape));
}

const triangle = (name: "tril" | "triu"): OpDef => ({
  name,
  doc: `x with zeros ${name === "tril" ? "above" : "below"} diagonal k of the last two axes.`,
  fuses: "composite",
  params: [tensor("x"), int("k", { default: 0 })],
  infer: ([x]) => {
    if (x.shape.length < 2) fail("E0304", `${name} takes a matrix, given ${typeText(x)}`, { operand: 0 });
    return [x];
  },
  inline: () => true,
  expand: (b, node) => {
    const [x] = node.inputs;
    const { shape } = x.type;
    const k = (node.attrs.k as number) ?? 0;
    const [row, column] = [place(b, shape, shape.length - 2), place(b, shape, shape.length - 1)];
    const shifted = k === 0 ? row : addValues(b, row, k);
    return [
      name === "tril" ? where(b, le(b, column, shifted), x, 0) : where(b, le(b, shifted, column), x, 0),
    ];
  },
  examples: [
    { shapes: [[3, 4]] },
    { shapes: [[2, 3, 3]], attrs: { k: -1 } },
    { shapes: [[4, 3]], attrs: { k: 1 } },
  ],
});
export const trilOp = triangle("tril");
export const triuOp = triangle("triu");

// ------------------------------------------------------------------------------- slices at a run-time start

const needStarts = (name: string, rank: number, starts: readonly TensorType[], first: number): void => {
  if (starts.length !== rank)
    fail("E0304", `${name}: \`at\` names ${starts.length} of ${rank} axes`, { attr: "at" });
  starts.forEach((t, i) => {
    if (t.dtype !== "i32" || t.shape.length !== 0)
      fail("E0404", `${name}: a start is i32[], given ${typeText(t)}`, { operand: first + i });
  });
};
/** What starts may be, of which the first is operand `first`. */
const startUses = (
  name: string,
  whole: readonly Dim[],
  block: readonly Dim[],
  first: number,
): readonly IndexUse[] =>
  whole.map((d, i) => ({
    operand: first + i,
    extent: addDims(sub(d, block[i]), 1),
    use: `${name} of ${block[i].key} from an axis of ${d.key}`,
  }));
/** Coordinates shifted by run-time starts, clamped so that a block of `block` fits into `whole`. */
function starts(s: Lowering, at: readonly Value[], whole: readonly Dim[], block: readonly Dim[]): Scalar[] {
  return at.map((v, i) => {
    const room = sub(whole[i], block[i]);
    return asConst(room) === 0 ? s.dim(0) : clampTo(s, s.read(v, []), room);
  });
}
const startNumbers = (at: readonly Dense[], whole: readonly number[], block: readonly number[]): number[] =>
  at.map((v, i) => clampNumber(v.data[0], whole[i] - block[i]));

export const sliceAtOp: OpDef = {
  name: "slice_at",
  torch: "x[i:i + n]",
  doc: "A block of the given sizes from run-time starts `at` (one i32 per axis). A start that leaves no room is refused in data from the host; elsewhere the block is moved so that it fits.",
  fuses: "view",
  params: [tensor("x"), tensors("at", { literal: "i32" }), sizes("sizes")],
  indexes: ([x], attrs) => startUses("slice_at", x.shape, dimsAt(attrs, "sizes"), 1),
  infer: ([x, ...at], attrs, b) => {
    needStarts("slice_at", x.shape.length, at, 1);
    return [{ dtype: x.dtype, shape: blockShape("slice_at", x.shape, dimsAt(attrs, "sizes"), b) }];
  },
  reference: ([x, ...at], _attrs, [out]) => {
    const strides = stridesOf(x.shape);
    const start = startNumbers(at, x.shape, out.shape).reduce((sum, v, i) => sum + v * strides[i], 0);
    eachOffset(out.shape, strides, start, (flat, o) => {
      out.data[flat] = x.data[o];
    });
  },
  vjp: (b, node, [g]) => {
    const [x, ...at] = node.inputs;
    return [
      g && isFloat(g.type.dtype) ? update(b, zerosLike(b, x), g, at) : undefined,
      ...at.map(() => undefined),
    ];
  },
  lower: (s, node, coords) => {
    const [x, ...at] = node.inputs;
    const from = starts(s, at, x.type.shape, node.outs[0].type.shape);
    return s.read(
      x,
      coords.map((p, i) => s.iadd(p, from[i])),
    );
  },
  examples: [
    { shapes: [[4, 5], [], []], dtypes: ["f32", "i32", "i32"], attrs: { sizes: [2, 3] } },
    { shapes: [[6], []], dtypes: ["f32", "i32"], attrs: { sizes: [4] }, range: [-3, 9] },
  ],
};
function blockShape(name: string, whole: readonly Dim[], block: readonly Dim[], b: Requirer): readonly Dim[] {
  if (block.length !== whole.length)
    fail("E0304", `${name}: sizes name ${block.length} of ${whole.length} axes`, { attr: "sizes" });
  block.forEach((d, i) => {
    const what = `${name}: a block of ${shapeText(block)}`;
    atLeast(whole[i], d, `${what} must fit into axis ${i} of ${shapeText(whole)}`, b, () =>
      fail("E0302", `${what} does not fit into ${shapeText(whole)}`, { attr: "sizes" }),
    );
  });
  return block;
}

export const updateOp: OpDef = {
  name: "update",
  torch: "x[i:i + n] = block",
  doc: "x with a block written at run-time starts `at` (one i32 per axis). A start that leaves no room is refused in data from the host; elsewhere the block is moved so that it fits.",
  fuses: "view",
  params: [tensor("x"), tensor("block"), tensors("at", { literal: "i32" })],
  indexes: ([x, block]) => startUses("update", x.shape, block.shape, 2),
  infer: ([x, block, ...at], _attrs, b) => {
    sameDtypes("update", [x, block]);
    needStarts("update", x.shape.length, at, 2);
    if (block.shape.length !== x.shape.length)
      fail("E0304", `update: a block ${typeText(block)} for ${typeText(x)}`, { operand: 1 });
    blockShape("update", x.shape, block.shape, b);
    return [x];
  },
  reference: ([x, block, ...at], _attrs, [out]) => {
    out.data.set(x.data);
    const strides = stridesOf(x.shape);
    const start = startNumbers(at, x.shape, block.shape).reduce((sum, v, i) => sum + v * strides[i], 0);
    eachOffset(block.shape, strides, start, (flat, o) => {
      out.data[o] = block.data[flat];
    });
  },
  vjp: (b, node, [g]) => {
    const [, block, ...at] = node.inputs;
    if (!g || !isFloat(g.type.dtype)) return node.inputs.map(() => undefined);
    return [
      update(b, g, zerosLike(b, block), at),
      b.make(sliceAtOp, [g, ...at], { sizes: [...block.type.shape] }),
      ...at.map(() => undefined),
    ];
  },
  lower: (s, node, coords) => {
    const [x, block, ...at] = node.inputs;
    const from = starts(s, at, x.type.shape, block.type.shape);
    const there = coords.map((p, i) => s.iadd(p, s.imul(from[i], -1)));
    // Axes that the block fills are always inside.
    const guard = there.map((_, i) => i).filter((i) => x.type.shape[i].key !== block.type.shape[i].key);
    if (guard.length === 0) return s.read(block, there);
    const inside = guard
      .map((i) =>
        s.call("and", s.call("ge", there[i], s.dim(0)), s.call("lt", there[i], s.dim(block.type.shape[i]))),
      )
      .reduce((p, q) => s.call("and", p, q));
    return s.select(inside, s.read(block, there, { outside: 0, guard }), s.read(x, coords));
  },
  examples: [
    { shapes: [[4, 5], [2, 5], [], []], dtypes: ["f32", "f32", "i32", "i32"] },
    { shapes: [[6], [2], []], dtypes: ["f32", "f32", "i32"], range: [-3, 9] },
  ],
};
export const update = (b: Builder, x: Value, block: Value, at: readonly Value[]): Value =>
  b.make(updateOp, [x, block, ...at]);

export const lookups: readonly OpDef[] = [
  takeOp,
  takeGradOp,
  takeGradEach,
  embeddingOp,
  gatherOp,
  gatherGradOp,
  gatherGradEach,
  scatterFoldOp,
  scatterFoldEach,
  scatterLastOp,
  scatterLastEach,
  oneHotOp,
  trilOp,
  triuOp,
  sliceAtOp,
  updateOp,
];
