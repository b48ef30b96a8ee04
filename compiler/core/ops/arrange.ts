// Arranging: elements moved around, repeated and paired (roll, tile, repeat, repeat_interleave, outer, diagonal), and what
// is made of places alone (eye, linspace). In: tensors and sizes. Out: views, and what is said with them.
import {
  type Dim,
  dim,
  floorDiv,
  isConst,
  max as maxDim,
  min as minDim,
  mod,
  mul as mulDims,
  sub as subDims,
} from "../dims/dim.ts";
import type { Builder, OpDef, Value } from "../ir/types.ts";
import { broadcastTo, cast, reshape } from "./axes.ts";
import {
  allowDtypes,
  atLeast,
  axes,
  axis,
  dimAt,
  dimsAt,
  dtype,
  dtypeAt,
  fail,
  float,
  int,
  NUMBERS,
  normalizeAxis,
  numberAt,
  numbersAt,
  sameDtypes,
  size,
  sizes,
  sizeValue,
  tensor,
  typeText,
  zerosLike,
} from "./define.ts";
import { eachOffset, stridesOf } from "./dense.ts";
import { add, div, eq, lt, mul, sub, where } from "./elementwise.ts";
import { concat } from "./joins.ts";
import { place } from "./lookup.ts";
import { pad, sliceAxis } from "./movement.ts";
import { iota } from "./source.ts";

// -------------------------------------------------------------------------------------------------- roll

export const rollOp: OpDef = {
  name: "roll",
  doc: "Elements moved by `shifts` places along axes, those that leave at one end back at the other; of the flattened tensor without axes.",
  fuses: "composite",
  params: [
    tensor("x"),
    { name: "shifts", kind: "ints" },
    axes("axes", { optional: true, aliases: ["axis"] }),
  ],
  complete: ([x], attrs) => ({
    ...attrs,
    axes:
      attrs.axes === undefined
        ? undefined
        : numbersAt(attrs, "axes").map((a) => normalizeAxis("roll", a, x.shape.length, "axes")),
  }),
  infer: ([x], attrs) => {
    const shifts = numbersAt(attrs, "shifts");
    const over = attrs.axes === undefined ? undefined : numbersAt(attrs, "axes");
    if (shifts.length !== (over?.length ?? 1))
      fail("E0607", `roll: ${shifts.length} shifts for ${over?.length ?? 1} axes`, { attr: "shifts" });
    return [x];
  },
  inline: () => true,
  expand: (b, { inputs: [x], attrs }) => {
    const shifts = numbersAt(attrs, "shifts");
    if (attrs.axes !== undefined)
      return [numbersAt(attrs, "axes").reduce((v, along, i) => rolled(b, v, along, shifts[i]), x)];
    const flat = reshape(b, x, [mulDims(...x.type.shape)]);
    return [reshape(b, rolled(b, flat, 0, shifts[0]), x.type.shape)];
  },
  examples: [
    { shapes: [[5]], attrs: { shifts: [2] } },
    { shapes: [[3, 4]], attrs: { shifts: [-1, 6], axes: [0, 1] } },
    { shapes: [[2, 3]], attrs: { shifts: [1] } },
  ],
};
function rolled(b: Builder, x: Value, along: number, shift: number): Value {
  const extent = x.type.shape[along];
  // How many leave at the end: a shift goes round, and an axis may turn out to have no elements. Kernels divide numbers that
  // are not negative.
  const by = mod(Math.abs(shift), maxDim(extent, 1));
  if (isConst(by, 0)) return x;
  const count = shift > 0 ? by : subDims(extent, by);
  const stay = subDims(extent, count);
  return concat(b, [sliceAxis(b, x, along, stay, count), sliceAxis(b, x, along, 0, stay)], along);
}

// ---------------------------------------------------------------------------- tile, repeat, repeat_interleave

/** x repeated `times` along each of its axes. */
function tiled(b: Builder, x: Value, times: readonly Dim[]): Value {
  const { shape } = x.type;
  const among = <T>(f: (i: number) => readonly T[]): T[] => shape.flatMap((_, i) => f(i));
  const apart = reshape(
    b,
    x,
    among((i) => [dim(1), shape[i]]),
  );
  const wide = broadcastTo(
    b,
    apart,
    among((i) => [times[i], shape[i]]),
  );
  return reshape(
    b,
    wide,
    shape.map((d, i) => mulDims(times[i], d)),
  );
}
const repeating = (name: "tile" | "repeat", doc: string): OpDef => ({
  name,
  doc,
  torch: name === "tile" ? undefined : "x.repeat",
  fuses: "composite",
  params: [tensor("x"), sizes("times", { aliases: ["repeats", "reps"] })],
  infer: ([x], attrs, b) => {
    const times = dimsAt(attrs, "times");
    if (name === "repeat" && times.length < x.shape.length)
      fail("E0304", `repeat: ${times.length} numbers for the ${x.shape.length} axes of ${typeText(x)}`, {
        attr: "times",
        help: "one number an axis; tile takes those of the last axes alone",
      });
    for (const t of times)
      atLeast(t, dim(0), `${name}: how often`, b, () =>
        fail("E0607", `${name}: a negative number`, { attr: "times" }),
      );
    const rank = Math.max(times.length, x.shape.length);
    const at = (list: readonly Dim[], i: number): Dim => list[i - rank + list.length] ?? dim(1);
    return [
      {
        dtype: x.dtype,
        shape: Array.from({ length: rank }, (_, i) => mulDims(at(times, i), at(x.shape, i))),
      },
    ];
  },
  inline: () => true,
  expand: (b, { inputs: [x], attrs }) => {
    const times = dimsAt(attrs, "times");
    const { shape } = x.type;
    const ones = (n: number): Dim[] => Array.from({ length: Math.max(0, n) }, () => dim(1));
    const whole = reshape(b, x, [...ones(times.length - shape.length), ...shape]);
    return [tiled(b, whole, [...ones(shape.length - times.length), ...times])];
  },
  examples: [
    { shapes: [[2, 3]], attrs: { times: [2, 1] } },
    { shapes: [[3]], attrs: { times: [2, 2] } },
    ...(name === "tile" ? [{ shapes: [[2, 3]], attrs: { times: [3] } }] : []),
  ],
});
export const tileOp = repeating(
  "tile",
  "x repeated as a whole: `times` names the last axes, more numbers than axes make new ones (numpy's and PyTorch's tile).",
);
export const repeatOp = repeating(
  "repeat",
  "x repeated as a whole, a number for each axis, more of them make new leading ones (PyTorch's x.repeat).",
);

export const repeatInterleaveOp: OpDef = {
  name: "repeat_interleave",
  doc: "Each element repeated in its place along an axis; of the flattened tensor without one.",
  fuses: "composite",
  params: [tensor("x"), size("repeats"), axis("axis", { optional: true })],
  complete: ([x], attrs) => ({
    ...attrs,
    axis:
      attrs.axis === undefined
        ? undefined
        : normalizeAxis("repeat_interleave", numberAt(attrs, "axis"), x.shape.length),
  }),
  infer: ([x], attrs, b) => {
    const times = dimAt(attrs, "repeats");
    atLeast(times, dim(0), "repeat_interleave: how often", b, () =>
      fail("E0607", "repeat_interleave: a negative number", { attr: "repeats" }),
    );
    if (attrs.axis === undefined) return [{ dtype: x.dtype, shape: [mulDims(...x.shape, times)] }];
    return [{ dtype: x.dtype, shape: x.shape.map((d, i) => (i === attrs.axis ? mulDims(d, times) : d)) }];
  },
  inline: () => true,
  expand: (b, { inputs: [x], attrs, outs }) => {
    const flat = attrs.axis === undefined ? reshape(b, x, [mulDims(...x.type.shape)]) : x;
    const behind = (attrs.axis === undefined ? 0 : numberAt(attrs, "axis")) + 1;
    const { shape } = flat.type;
    const apart = reshape(b, flat, [...shape.slice(0, behind), dim(1), ...shape.slice(behind)]);
    const wide = broadcastTo(b, apart, [
      ...shape.slice(0, behind),
      dimAt(attrs, "repeats"),
      ...shape.slice(behind),
    ]);
    return [reshape(b, wide, outs[0].type.shape)];
  },
  examples: [
    { shapes: [[2, 3]], attrs: { repeats: 2, axis: 1 } },
    { shapes: [[2, 3]], attrs: { repeats: 3, axis: 0 } },
    { shapes: [[2, 2]], attrs: { repeats: 2 } },
  ],
};

// ------------------------------------------------------------------------------------------ outer, diagonal

export const outerOp: OpDef = {
  name: "outer",
  doc: "The product of each element of a vector with each of another: [n], [m] -> [n, m].",
  fuses: "composite",
  params: [tensor("x"), tensor("y")],
  infer: (types) => {
    sameDtypes("outer", types);
    allowDtypes("outer", types, NUMBERS);
    types.forEach((t, operand) => {
      if (t.shape.length !== 1) fail("E0304", `outer takes vectors, given ${typeText(t)}`, { operand });
    });
    return [{ dtype: types[0].dtype, shape: types.flatMap((t) => t.shape) }];
  },
  inline: () => true,
  expand: (b, { inputs: [x, y] }) => [mul(b, reshape(b, x, [...x.type.shape, dim(1)]), y)],
  examples: [{ shapes: [[3], [4]] }, { shapes: [[2], [5]], dtypes: ["i32", "i32"], grad: false }],
};

/** Where the diagonal begins: the row and the column. */
const corner = (offset: number): readonly [number, number] => [Math.max(0, -offset), Math.max(0, offset)];
export const diagonalOp: OpDef = {
  name: "diagonal",
  doc: "The elements of the last two axes whose column is their row plus `offset`: [..., n, m] -> [..., k] (PyTorch's with dim1 = -2, dim2 = -1). Their sum is the trace.",
  fuses: "view",
  params: [tensor("x"), int("offset", { default: 0 })],
  complete: (_types, attrs) => ({ offset: attrs.offset ?? 0 }),
  infer: ([x], attrs) => {
    const rank = x.shape.length;
    if (rank < 2) fail("E0304", `diagonal takes a matrix, given ${typeText(x)}`, { operand: 0 });
    const [row, column] = corner(numberAt(attrs, "offset"));
    const [n, m] = x.shape.slice(rank - 2);
    const count = maxDim(minDim(subDims(n, row), subDims(m, column)), 0);
    return [{ dtype: x.dtype, shape: [...x.shape.slice(0, rank - 2), count] }];
  },
  reference: ([x], attrs, [out]) => {
    const strides = stridesOf(x.shape);
    const rank = x.shape.length;
    const [row, column] = corner(numberAt(attrs, "offset"));
    const start = row * strides[rank - 2] + column * strides[rank - 1];
    const step = strides[rank - 2] + strides[rank - 1];
    eachOffset(out.shape, [...strides.slice(0, rank - 2), step], start, (flat, o) => {
      out.data[flat] = x.data[o];
    });
  },
  vjp: (b, node, [g]) => {
    const { shape } = node.inputs[0].type;
    if (!g) return [undefined];
    const rank = shape.length;
    const offset = numberAt(node.attrs, "offset");
    const [row] = corner(offset);
    const [n] = shape.slice(rank - 2);
    const count = g.type.shape[rank - 2];
    if (isConst(count, 0)) return [zerosLike(b, node.inputs[0])];
    const low = g.type.shape.map((_, i) => (i === rank - 2 ? dim(row) : dim(0)));
    const high = g.type.shape.map((_, i) => (i === rank - 2 ? subDims(n, subDims(count, -row)) : dim(0)));
    const rows = pad(b, g, low, high);
    const column = reshape(b, rows, [...rows.type.shape, dim(1)]);
    const [r, c] = [place(b, shape, rank - 2), place(b, shape, rank - 1)];
    const on = eq(b, c, offset === 0 ? r : add(b, r, offset));
    return [where(b, on, broadcastTo(b, column, shape), 0)];
  },
  lower: (s, node, at) => {
    const [row, column] = corner(numberAt(node.attrs, "offset"));
    const k = at[at.length - 1];
    return s.read(node.inputs[0], [...at.slice(0, -1), s.iadd(k, row), s.iadd(k, column)]);
  },
  examples: [
    { shapes: [[3, 3]] },
    { shapes: [[2, 3, 4]], attrs: { offset: 1 } },
    { shapes: [[4, 3]], attrs: { offset: -2 } },
    { shapes: [[2, 2]], attrs: { offset: 5 }, grad: false },
  ],
};

// -------------------------------------------------------------------------------------------- made of places

export const eyeOp: OpDef = {
  name: "eye",
  doc: "A matrix with ones on its diagonal and zeros elsewhere: [n, m], square without `m`.",
  fuses: "composite",
  params: [size("n"), size("m", { optional: true }), dtype("dtype", { default: "f32" })],
  complete: (_types, attrs) => ({ ...attrs, m: attrs.m ?? attrs.n, dtype: attrs.dtype ?? "f32" }),
  infer: (_types, attrs) => [{ dtype: dtypeAt(attrs), shape: [dimAt(attrs, "n"), dimAt(attrs, "m")] }],
  inline: () => true,
  noGrad: "it depends on nothing",
  expand: (b, { outs: [{ type }] }) => [
    cast(b, eq(b, place(b, type.shape, 0), place(b, type.shape, 1)), type.dtype),
  ],
  examples: [
    { shapes: [], attrs: { n: 3 }, grad: false },
    { shapes: [], attrs: { n: 2, m: 4, dtype: "i32" }, grad: false },
  ],
};

export const linspaceOp: OpDef = {
  name: "linspace",
  doc: "`steps` numbers from `start` to `end`, both among them, as far apart: counted from the nearer end, as PyTorch's.",
  fuses: "composite",
  params: [float("start"), float("end"), size("steps")],
  infer: (_types, attrs) => [{ dtype: "f32", shape: [dimAt(attrs, "steps")] }],
  inline: () => true,
  noGrad: "it depends on nothing",
  expand: (b, { attrs }) => {
    const steps = dimAt(attrs, "steps");
    const [start, end] = [numberAt(attrs, "start"), numberAt(attrs, "end")];
    const at = b.make(iota, [], { extent: steps, dtype: "i32" });
    const last = sizeValue(b, subDims(steps, 1));
    const far = cast(b, sub(b, last, at), "f32");
    const near = cast(b, at, "f32");
    // One number is the first; of it, the distance does not matter.
    const apart = div(b, end - start, cast(b, sizeValue(b, maxDim(subDims(steps, 1), 1)), "f32"));
    const half = lt(b, at, sizeValue(b, maxDim(floorDiv(steps, 2), 1)));
    return [where(b, half, add(b, mul(b, near, apart), start), sub(b, end, mul(b, far, apart)))];
  },
  examples: [
    { shapes: [], attrs: { start: -1, end: 2, steps: 7 }, grad: false },
    { shapes: [], attrs: { start: 3, end: 5, steps: 1 }, grad: false },
  ],
};

export const arranging: readonly OpDef[] = [
  rollOp,
  tileOp,
  repeatOp,
  repeatInterleaveOp,
  outerOp,
  diagonalOp,
  eyeOp,
  linspaceOp,
];
