// Order along an axis: argsort, sort, top_k, and scatters, whose terms are sorted by where they go. In: tensors, i32 indices.
// Out: one order whatever the device: stable, NaN after everything else (and -0 beside 0), as PyTorch's.
// An order is indices that name each place once: elements are arranged by them, and put back, and each is the other's
// gradient, so that nothing is added up.
import { asConst, type Dim, dim } from "../dims/dim.ts";
import type { Attrs, Builder, ConcreteAttrs, DType, Node, OpDef, TensorType, Value } from "../ir/types.ts";
import type { Lowering, Scalar } from "../kernel/scalar.ts";
import { cast } from "./axes.ts";
import {
  ANY,
  algorithm,
  allowDtypes,
  atLeast,
  axis,
  bool,
  boolAt,
  dimAt,
  FLOATS,
  fail,
  full,
  isFloat,
  NUMBERS,
  normalizeAxis,
  numberAt,
  type Requirer,
  sameDtypes,
  sameSize,
  shapeText,
  size,
  tensor,
  word,
} from "./define.ts";
import { eachOffset, stridesOf } from "./dense.ts";
import { add, div, eq, ge, gt, maximum, minimum, mul, where } from "./elementwise.ts";
import {
  gatherGradEach,
  gatherGradOp,
  gatherOp,
  needIndex,
  place,
  scatterFoldOp,
  scatterLastOp,
  takeGradOp,
  whereInside,
} from "./lookup.ts";
import { sliceAxis } from "./movement.ts";
import { productOfOthers } from "./reduce.ts";
import { eachLine } from "./running.ts";

const along = (attrs: Attrs | ConcreteAttrs): number => numberAt(attrs, "axis");
const withAxis = (
  name: string,
  more: (attrs: Attrs) => Attrs = () => ({}),
): NonNullable<OpDef["complete"]> => {
  return ([x], attrs) => ({
    ...attrs,
    axis: normalizeAxis(name, (attrs.axis as number) ?? -1, x.shape.length),
    ...more(attrs),
  });
};
const descends = (attrs: Attrs): Attrs => ({ descending: boolAt(attrs, "descending") });

// -------------------------------------------------------------------------------------------------- argsort

/** A number without sign that grows with an element; falls where the order descends. */
export function keyOf(s: Lowering, node: Node, x: Scalar): Scalar {
  const key = s.call("sort_key", x);
  return boolAt(node.attrs, "descending") ? s.call("sub", s.const("u32", 4294967295), key) : key;
}
/** Less than 0 where x comes before y. */
function compare(dtype: DType, x: number, y: number): number {
  if (isFloat(dtype) && (Number.isNaN(x) || Number.isNaN(y)))
    return Number(Number.isNaN(x)) - Number(Number.isNaN(y));
  return x < y ? -1 : x > y ? 1 : 0;
}

/** How many come before each: the way back from an order to its elements, for what is small. */
const rankOp: OpDef = {
  name: "sort_rank",
  doc: "The place of each element in the order along an axis.",
  fuses: "fold",
  exposed: false,
  params: [tensor("x"), axis("axis"), bool("descending", { default: false })],
  complete: withAxis("sort_rank", descends),
  infer: ([x]) => [{ dtype: "i32", shape: x.shape }],
  noGrad: "the result is an index",
  reference: ([x], attrs, [out]) =>
    eachLine(x, along(attrs), (start, stride, extent) => {
      const sign = boolAt(attrs, "descending") ? -1 : 1;
      for (let k = 0; k < extent; k++)
        for (let i = 0; i < extent; i++) {
          const c = sign * compare(x.dtype, x.data[start + i * stride], x.data[start + k * stride]);
          if (c < 0 || (c === 0 && i < k)) out.data[start + k * stride]++;
        }
    }),
  lower: (s, node, at) => {
    const [x] = node.inputs;
    const axis = along(node.attrs);
    const own = keyOf(s, node, s.read(x, at));
    return s.fold("add", [x.type.shape[axis]], (k) => {
      const other = keyOf(
        s,
        node,
        s.read(
          x,
          at.map((p, i) => (i === axis ? k : p)),
        ),
      );
      const tie = s.call("and", s.call("eq", other, own), s.call("lt", k, at[axis]));
      const before = s.call("or", s.call("lt", other, own), tie);
      return s.select(before, s.const("i32", 1), s.const("i32", 0));
    });
  },
  examples: [
    { shapes: [[2, 5]], attrs: { axis: 1 }, grad: false },
    { shapes: [[6, 2]], dtypes: ["i32"], attrs: { axis: 0, descending: true }, grad: false },
  ],
};

export const argsortOp: OpDef = {
  name: "argsort",
  doc: "The indices (i32) that sort x along an axis: stable, NaN last; first where it descends.",
  fuses: "algorithm",
  params: [tensor("x"), axis("axis", { default: -1 }), bool("descending", { default: false })],
  complete: withAxis("argsort", descends),
  infer: ([x]) => {
    allowDtypes("argsort", [x], ANY);
    return [{ dtype: "i32", shape: x.shape }];
  },
  noGrad: "the result is an index",
  reference: ([x], attrs, [out]) =>
    eachLine(x, along(attrs), (start, stride, extent) => {
      const sign = boolAt(attrs, "descending") ? -1 : 1;
      const at = (k: number): number => x.data[start + k * stride];
      Array.from({ length: extent }, (_, k) => k)
        .sort((i, j) => sign * compare(x.dtype, at(i), at(j)) || i - j)
        .forEach((k, p) => {
          out.data[start + p * stride] = k;
        });
    }),
  expand: (b, node) => {
    const [x] = node.inputs;
    const axis = along(node.attrs);
    const { shape } = x.type;
    // One element, or none, is in order.
    if ((asConst(shape[axis]) ?? 2) < 2) return [full(b, 0, { dtype: "i32", shape })];
    const rank = b.make(rankOp, [x], node.attrs);
    return [b.make(gatherGradEach, [rank, place(b, shape, axis)], { axis, extent: shape[axis] })];
  },
  examples: [
    { shapes: [[2, 5]], grad: false },
    { shapes: [[7, 2]], dtypes: ["i32"], attrs: { axis: 0, descending: true }, grad: false },
    { shapes: [[2, 9]], dtypes: ["bool"], grad: false },
  ],
};
export const argsort = (b: Builder, x: Value, axis: number, descending: boolean): Value =>
  b.make(argsortOp, [x], { axis, descending });

// --------------------------------------------------------------------------- elements by indices that are an order

export const arrangeOp: OpDef = {
  name: "arrange",
  doc: "Along an axis, the elements that indices name, of which no two in a line are the same.",
  fuses: "view",
  exposed: false,
  params: [tensor("x"), tensor("index"), axis("axis")],
  infer: ([x, index]) => [{ dtype: x.dtype, shape: index.shape }],
  reference: ([x, index], attrs, [out]) =>
    eachPlaced(index, x.shape, attrs, (flat, o) => {
      out.data[flat] = x.data[o];
    }),
  vjp: (b, node, [g]) => {
    const [x, index] = node.inputs;
    const axis = along(node.attrs);
    return [
      g && isFloat(g.type.dtype)
        ? b.make(putOp, [index, g], { axis, extent: x.type.shape[axis] })
        : undefined,
      undefined,
    ];
  },
  lower: (s, node, at) => {
    const [x, index] = node.inputs;
    const axis = along(node.attrs);
    const place = s.read(index, at);
    return s.read(
      x,
      at.map((p, i) => (i === axis ? place : p)),
    );
  },
  // Made by sorts, whose tests try it.
  examples: [],
};
export const [putOp, putEach] = algorithm({
  name: "put",
  doc: "The gradient of arrange: zeros of `extent` along the axis, and each element where its index says.",
  fuses: "fold",
  exposed: false,
  params: [tensor("index"), tensor("g"), axis("axis"), size("extent")],
  infer: ([, g], attrs) => [
    { dtype: g.dtype, shape: g.shape.map((d, i) => (i === attrs.axis ? dimAt(attrs, "extent") : d)) },
  ],
  reference: ([index, g], attrs, [out]) =>
    eachPlaced(index, out.shape, attrs, (flat, o) => {
      out.data[o] = g.data[flat];
    }),
  vjp: (b, node, [h]) => {
    const [index] = node.inputs;
    return [undefined, h && b.make(arrangeOp, [h, index], { axis: along(node.attrs) })];
  },
  lower: (s, node, at) => gatherGradEach.lower?.(s, node, at, 0) as Scalar,
  examples: [],
});
/** For each index: its own offset, and that of what it names in a tensor of this shape. */
function eachPlaced(
  index: { readonly shape: readonly number[]; readonly data: Float64Array },
  shape: readonly number[],
  attrs: ConcreteAttrs,
  f: (flat: number, offset: number) => void,
): void {
  const axis = along(attrs);
  const strides = stridesOf(shape);
  eachOffset(
    index.shape,
    strides.map((v, i) => (i === axis ? 0 : v)),
    0,
    (flat, o) => f(flat, o + index.data[flat] * strides[axis]),
  );
}

// --------------------------------------------------------------------------------------------- sort and top_k

const withIndices = (x: TensorType, shape: readonly Dim[]): readonly TensorType[] => [
  { dtype: x.dtype, shape },
  { dtype: "i32", shape },
];
const arranged = (b: Builder, x: Value, index: Value, axis: number): readonly Value[] => [
  b.make(arrangeOp, [x, index], { axis }),
  index,
];
export const sortOp: OpDef = {
  name: "sort",
  doc: "(values, indices): x in order along an axis, and where each element was (i32). Stable; NaN last, first where it descends.",
  fuses: "composite",
  params: [tensor("x"), axis("axis", { default: -1 }), bool("descending", { default: false })],
  complete: withAxis("sort", descends),
  infer: ([x]) => {
    allowDtypes("sort", [x], ANY);
    return withIndices(x, x.shape);
  },
  inline: () => true,
  expand: (b, node) => {
    const [x] = node.inputs;
    return arranged(
      b,
      x,
      argsort(b, x, along(node.attrs), boolAt(node.attrs, "descending")),
      along(node.attrs),
    );
  },
  examples: [
    { shapes: [[2, 5]] },
    { shapes: [[5, 3]], attrs: { axis: 0, descending: true } },
    { shapes: [[2, 0]] },
    { shapes: [[3, 8]], dtypes: ["u32"], grad: false },
  ],
};
export const topKOp: OpDef = {
  name: "top_k",
  torch: "torch.topk",
  doc: "(values, indices): the k largest along an axis, in order, and where they were (i32); the smallest where `largest` is false. Of equal ones the first; NaN is larger than all (PyTorch's topk).",
  fuses: "composite",
  params: [tensor("x"), size("k"), axis("axis", { default: -1 }), bool("largest", { default: true })],
  complete: withAxis("top_k", (attrs) => ({ largest: attrs.largest !== false })),
  infer: ([x], attrs, b) => {
    allowDtypes("top_k", [x], ANY);
    const axis = along(attrs);
    const k = dimAt(attrs, "k");
    atLeast(k, dim(0), "top_k: k", b, () => fail("E0607", `top_k: k is ${k.key}`, { attr: "k" }));
    atLeast(x.shape[axis], k, "top_k: elements to choose from", b, () =>
      fail("E0302", `top_k: ${k.key} of ${x.shape[axis].key} elements`, { attr: "k" }),
    );
    return withIndices(
      x,
      x.shape.map((d, i) => (i === axis ? k : d)),
    );
  },
  inline: () => true,
  expand: (b, node) => {
    const [x] = node.inputs;
    const axis = along(node.attrs);
    const order = argsort(b, x, axis, boolAt(node.attrs, "largest"));
    return arranged(b, x, sliceAxis(b, order, axis, 0, dimAt(node.attrs, "k")), axis);
  },
  examples: [
    { shapes: [[2, 6]], attrs: { k: 3 } },
    { shapes: [[5, 2]], attrs: { k: 2, axis: 0, largest: false } },
    { shapes: [[7]], dtypes: ["i32"], attrs: { k: 7 }, grad: false },
  ],
};

// --------------------------------------------------------------------------------------------------- scatters

/** Index and source have one shape, which is x's but along the axis. */
function fits(name: string, types: readonly TensorType[], attrs: Attrs, b: Requirer): readonly TensorType[] {
  const [x, index, source] = types;
  needIndex(name, index, 1);
  sameDtypes(name, [x, source]);
  const axis = along(attrs);
  const refuse = (operand: number) => (): never =>
    fail(
      "E0302",
      `${name}: index ${shapeText(index.shape)} and source ${shapeText(source.shape)} do not fit ${shapeText(x.shape)} off axis ${axis}`,
      { operand, help: "index and source have one shape, and x's sizes on all other axes" },
    );
  if (index.shape.length !== x.shape.length) refuse(1)();
  if (source.shape.length !== x.shape.length) refuse(2)();
  x.shape.forEach((d, i) => {
    if (i !== axis) sameSize(d, index.shape[i], `${name}: axis ${i} of x and the index`, b, refuse(1));
    sameSize(index.shape[i], source.shape[i], `${name}: axis ${i} of index and source`, b, refuse(2));
  });
  return [x];
}
const scatterParams: OpDef["params"] = [
  tensor("x"),
  tensor("index", { literal: "i32" }),
  tensor("source"),
  axis("axis", { default: -1 }),
];
const scatterUses =
  (name: string): NonNullable<OpDef["indexes"]> =>
  ([x], attrs) => [
    {
      operand: 1,
      extent: x.shape[along(attrs)],
      use: `${name} to axis ${along(attrs)} of ${shapeText(x.shape)}`,
    },
  ];
const scatterExamples: OpDef["examples"] = [
  {
    shapes: [
      [3, 5],
      [3, 4],
      [3, 4],
    ],
    dtypes: ["f32", "i32", "f32"],
  },
  {
    shapes: [
      [5, 2],
      [6, 2],
      [6, 2],
    ],
    dtypes: ["f32", "i32", "f32"],
    attrs: { axis: 0 },
  },
];
export const scatterOp: OpDef = {
  name: "scatter",
  doc: "x with each element of source where the index at its place says along an axis (PyTorch's scatter); where several go to one place, the last one stays, on every device. An index outside is refused in data from the host; elsewhere it goes nowhere.",
  fuses: "composite",
  params: scatterParams,
  complete: withAxis("scatter"),
  infer: (types, attrs, b) => fits("scatter", types, attrs, b),
  indexes: scatterUses("scatter"),
  vjp: (b, node, [g]) => {
    const [x, index] = node.inputs;
    if (!g || !isFloat(g.type.dtype)) return [undefined, undefined, undefined];
    const axis = along(node.attrs);
    const last = winners(b, index, x.type.shape[axis], axis);
    // What stayed, and nothing else, has what came back.
    const stays = eq(b, b.make(gatherOp, [last, index], { axis }), place(b, index.type.shape, axis));
    return [
      where(b, ge(b, last, 0), 0, g),
      undefined,
      where(b, stays, b.make(gatherOp, [g, index], { axis }), 0),
    ];
  },
  expand: (b, node) => {
    const [x, index, source] = node.inputs;
    const axis = along(node.attrs);
    const last = winners(b, index, x.type.shape[axis], axis);
    return [where(b, ge(b, last, 0), b.make(gatherOp, [source, last], { axis }), x)];
  },
  examples: [
    ...scatterExamples,
    { shapes: [[4], [6], [6]], dtypes: ["i32", "i32", "i32"], range: [-2, 5], grad: false },
  ],
};
const winners = (b: Builder, index: Value, extent: Dim, axis: number): Value =>
  b.make(scatterLastOp, [index], { axis, extent });

export const scatterAddOp: OpDef = {
  name: "scatter_add",
  doc: "x with each element of source added where the index at its place says along an axis (PyTorch's scatter_add), in the same order at every call. An index outside is refused in data from the host; elsewhere nothing is added.",
  fuses: "composite",
  params: scatterParams,
  complete: withAxis("scatter_add"),
  infer: (types, attrs, b) => fits("scatter_add", types, attrs, b),
  indexes: scatterUses("scatter_add"),
  inline: () => true,
  expand: (b, node) => {
    const [x, index, source] = node.inputs;
    const axis = along(node.attrs);
    return [add(b, x, b.make(gatherGradOp, [index, source], { axis, extent: x.type.shape[axis] }))];
  },
  examples: scatterExamples,
};
/** The ways of scatter_reduce that are folds of their own. */
const FOLDED: Readonly<Record<string, "mul" | "max" | "min">> = { prod: "mul", amax: "max", amin: "min" };
/** How many elements of the source go to each place. */
const counted = (b: Builder, index: Value, extent: Dim, axis: number, dtype: DType): Value =>
  cast(b, scattered(b, index, full(b, 1, { dtype: "i32", shape: index.type.shape }), extent, axis), dtype);
const scattered = (b: Builder, index: Value, source: Value, extent: Dim, axis: number): Value =>
  b.make(gatherGradOp, [index, source], { axis, extent });
export const scatterReduceOp: OpDef = {
  name: "scatter_reduce",
  doc: "x with the sum, product, mean, largest or smallest (`sum`, `prod`, `mean`, `amax`, `amin`) of the elements of source that the index sends to each place along an axis, in the same order at every call; x's own is one of them, or, with include_self = false, only where none is sent (PyTorch's scatter_reduce). An index outside is refused in data from the host; elsewhere it goes nowhere.",
  fuses: "composite",
  params: [
    ...scatterParams,
    word("reduce", { among: ["sum", "prod", "mean", "amax", "amin"] }),
    bool("include_self", { default: true }),
  ],
  complete: withAxis("scatter_reduce", (attrs) => ({ include_self: attrs.include_self !== false })),
  infer: (types, attrs, b) => {
    allowDtypes("scatter_reduce", [types[0]], attrs.reduce === "mean" ? FLOATS : NUMBERS);
    return fits("scatter_reduce", types, attrs, b);
  },
  indexes: scatterUses("scatter_reduce"),
  vjp: (b, node, [g]) => {
    const [x, index, source] = node.inputs;
    const [y] = node.outs;
    const { reduce } = node.attrs;
    const own = boolAt(node.attrs, "include_self");
    if (!g || !isFloat(g.type.dtype)) return [undefined, undefined, undefined];
    const axis = along(node.attrs);
    const extent = x.type.shape[axis];
    const { dtype } = x.type;
    const sent = (v: Value): Value => scattered(b, index, v, extent, axis);
    const named = (v: Value): Value => b.make(gatherOp, [v, index], { axis });
    /** What comes back to x's own where it is one of them; else as it was where none is sent. */
    const toSelf = (v: () => Value): Value =>
      own ? v() : where(b, gt(b, counted(b, index, extent, axis, "i32"), 0), 0, g);
    const grads = (self: () => Value, each: Value): readonly (Value | undefined)[] => [
      toSelf(self),
      undefined,
      whereInside(b, index, extent, each, (v) => v),
    ];
    if (reduce === "sum") return grads(() => g, named(g));
    if (reduce === "mean") {
      const n = counted(b, index, extent, axis, dtype);
      const share = div(b, g, own ? add(b, n, 1) : maximum(b, n, 1));
      return grads(() => share, named(share));
    }
    if (reduce === "prod") {
      const nonzero = (v: Value): Value => where(b, eq(b, v, 0), 1, v);
      const zeros = (v: Value): Value => cast(b, eq(b, v, 0), "i32");
      const rest = b.make(scatterReduceOp, [nonzero(x), index, nonzero(source)], node.attrs);
      const fromSource = sent(zeros(source));
      const count = own ? add(b, fromSource, zeros(x)) : fromSource;
      return grads(
        () => mul(b, g, productOfOthers(b, x, rest, count)),
        mul(b, named(g), productOfOthers(b, source, named(rest), named(count))),
      );
    }
    // Ties share the gradient evenly, as those of max over axes do.
    const best = cast(b, eq(b, x, y), "f32");
    const hits = cast(b, eq(b, source, named(y)), "f32");
    const n = own ? add(b, sent(hits), best) : sent(hits);
    const share = div(b, g, cast(b, n, dtype));
    return grads(() => mul(b, cast(b, best, dtype), share), mul(b, cast(b, hits, dtype), named(share)));
  },
  expand: (b, node) => {
    const [x, index, source] = node.inputs;
    const { reduce } = node.attrs;
    const own = boolAt(node.attrs, "include_self");
    const axis = along(node.attrs);
    const extent = x.type.shape[axis];
    const count = (dtype: DType): Value => counted(b, index, extent, axis, dtype);
    const combine = FOLDED[reduce as string];
    const all = combine
      ? b.make(scatterFoldOp, [index, source], { axis, extent, combine })
      : scattered(b, index, source, extent, axis);
    const both = { mul, max: maximum, min: minimum, add }[combine ?? "add"];
    const total = own ? both(b, x, all) : all;
    const n = (): Value => (own ? add(b, count(x.type.dtype), 1) : maximum(b, count(x.type.dtype), 1));
    const result = reduce === "mean" ? div(b, total, n()) : total;
    return [own ? result : where(b, gt(b, count("i32"), 0), result, x)];
  },
  examples: [
    ...["sum", "prod", "mean", "amax", "amin"].flatMap((reduce) =>
      scatterExamples.map((e, i) => ({ ...e, attrs: { ...e.attrs, reduce, include_self: i === 0 } })),
    ),
    {
      shapes: [[4], [6], [6]],
      dtypes: ["i32", "i32", "i32"],
      attrs: { reduce: "prod" },
      range: [-2, 5],
      grad: false,
    },
  ],
};
export const indexAddOp: OpDef = {
  name: "index_add",
  doc: "x with each slice of source along an axis added to the slice of x that its index names (PyTorch's index_add), in the same order at every call: index [n], source n slices. An index outside is refused in data from the host; elsewhere nothing is added.",
  fuses: "composite",
  params: [tensor("x"), tensor("index", { literal: "i32" }), tensor("source"), axis("axis", { default: 0 })],
  complete: ([x], attrs) => ({
    axis: normalizeAxis("index_add", (attrs.axis as number) ?? 0, x.shape.length),
  }),
  infer: ([x, index, source], attrs, b) => {
    needIndex("index_add", index, 1);
    sameDtypes("index_add", [x, source]);
    const axis = along(attrs);
    const want = x.shape.map((d, i) => (i === axis ? (index.shape[0] ?? dim(1)) : d));
    const refuse = (): never =>
      fail("E0302", `index_add: source ${shapeText(source.shape)}, expected ${shapeText(want)}`, {
        operand: 2,
      });
    if (index.shape.length !== 1)
      fail("E0304", `index_add takes an index [n], given ${shapeText(index.shape)}`, { operand: 1 });
    if (source.shape.length !== want.length) refuse();
    want.forEach(
      (d, i) => void sameSize(d, source.shape[i], `index_add: axis ${i} of the source`, b, refuse),
    );
    return [x];
  },
  indexes: scatterUses("index_add"),
  inline: () => true,
  expand: (b, node) => {
    const [x, index, source] = node.inputs;
    const axis = along(node.attrs);
    return [add(b, x, b.make(takeGradOp, [index, source], { axis, extent: x.type.shape[axis] }))];
  },
  examples: [
    { shapes: [[4, 3], [6], [6, 3]], dtypes: ["f32", "i32", "f32"] },
    { shapes: [[2, 5, 2], [3], [2, 3, 2]], dtypes: ["f32", "i32", "f32"], attrs: { axis: 1 } },
  ],
};
export const segmentSumOp: OpDef = {
  name: "segment_sum",
  torch: "",
  doc: "The sums of the slices of x (along axis 0) that have the same id: ids [n], x [n, ...] -> [segments, ...]. An id outside is refused in data from the host; elsewhere it counts for nothing.",
  fuses: "composite",
  params: [tensor("x"), tensor("ids", { literal: "i32" }), size("segments")],
  infer: ([x, ids], attrs, b) => {
    needIndex("segment_sum", ids, 1);
    if (ids.shape.length !== 1 || x.shape.length === 0)
      fail("E0304", `segment_sum takes x [n, ...] and ids [n], given ids ${shapeText(ids.shape)}`, {
        operand: 1,
      });
    sameSize(x.shape[0], ids.shape[0], "segment_sum: x and ids", b, () =>
      fail("E0302", `segment_sum: x has ${x.shape[0].key} slices, ids ${ids.shape[0].key}`, { operand: 1 }),
    );
    return [{ dtype: x.dtype, shape: [dimAt(attrs, "segments"), ...x.shape.slice(1)] }];
  },
  indexes: (_types, attrs) => [
    {
      operand: 1,
      extent: dimAt(attrs, "segments"),
      use: `segment_sum of ${dimAt(attrs, "segments").key} segments`,
    },
  ],
  inline: () => true,
  expand: (b, node) => {
    const [x, ids] = node.inputs;
    return [b.make(takeGradOp, [ids, x], { axis: 0, extent: dimAt(node.attrs, "segments") })];
  },
  examples: [{ shapes: [[6, 2], [6]], dtypes: ["f32", "i32"], attrs: { segments: 5 } }],
};

export const sorts: readonly OpDef[] = [
  rankOp,
  argsortOp,
  arrangeOp,
  putOp,
  putEach,
  sortOp,
  topKOp,
  scatterOp,
  scatterAddOp,
  scatterReduceOp,
  indexAddOp,
  segmentSumOp,
];
