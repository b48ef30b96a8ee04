// Pools to a given size (PyTorch's adaptive pools), [N, C, spatial axes] over n axes. In: images, and how many windows there
// are to be on each axis. Out: folds. Window i of o over n elements is [floor(i n / o), ceil((i + 1) n / o)): uneven where o does
// not divide n, and the windows that contain an element are the windows of the way back, o and n exchanged. So a sum's gradient
// is a sum to the old size, and nothing scatters.
import {
  add,
  asConst,
  ceilDiv,
  type Dim,
  dim,
  exactQuotient,
  isConst,
  ONE,
  product,
  sub,
} from "../dims/dim.ts";
import type { Attrs, Builder, OpDef, OpExample, TensorType, Value } from "../ir/types.ts";
import type { Lowering, Scalar } from "../kernel/scalar.ts";
import { broadcastTo, reshape } from "./axes.ts";
import {
  allowDtypes,
  atLeast,
  dimsAt,
  FLOATS,
  fail,
  full,
  rankOf,
  shapeText,
  sizes,
  tensor,
} from "./define.ts";
import { div } from "./elementwise.ts";
import { gatherOp } from "./lookup.ts";
import { lines, pooling } from "./pool.ts";
import { mean } from "./reduce.ts";
import { directions, everyWhere, imageText, RANKS, spatialAxes } from "./window.ts";

/** The window at a place on one axis of n elements and o windows: at most `most` taps, the first at `at(0)`. */
function windowAt(s: Lowering, i: Scalar, n: Dim, o: Dim) {
  const whole = exactQuotient(n, o);
  if (whole) return { most: whole, at: (t: Scalar) => s.iadd(s.imul(i, whole), t), on: undefined };
  const repeats = exactQuotient(o, n);
  if (repeats) return { most: ONE, at: () => s.idiv(i, repeats), on: undefined };
  const start = s.idiv(s.imul(i, n), o);
  const end = s.idiv(s.iadd(s.imul(i, n), n, o, -1), o);
  return {
    most: add(ceilDiv(n, o), 1),
    at: (t: Scalar) => s.iadd(start, t),
    on: (t: Scalar) => s.call("lt", s.iadd(start, t), end),
  };
}
/** What `f` gives of the elements of a window, combined; `none` stands for those a window has not. */
function overWindow(
  s: Lowering,
  combine: "add" | "max" | "min",
  from: readonly Dim[],
  to: readonly Dim[],
  position: readonly Scalar[],
  none: Scalar,
  f: (at: readonly Scalar[]) => Scalar,
): Scalar {
  const windows = position.map((p, d) => windowAt(s, p, from[d], to[d]));
  return s.fold(
    combine,
    windows.map((w) => w.most),
    (...taps) => {
      // Beyond its window an element is read that is there, and left out.
      const at = windows.map((w, d) =>
        w.on ? s.call("min", w.at(taps[d]), s.dim(sub(from[d], 1))) : w.at(taps[d]),
      );
      const on = windows.flatMap((w, d) => (w.on ? [w.on(taps[d])] : []));
      return on.reduce((v, p) => s.select(p, v, none), f(at));
    },
    spatialAxes(position.length).map((a) => `w${a.loop}`),
  );
}
/** The row-major number of an element in its image. */
const flatIn = (s: Lowering, image: readonly Dim[], at: readonly Scalar[]): Scalar =>
  at.reduce((flat, p, d) => s.iadd(s.imul(flat, image[d]), p), s.dim(0));

/** Windows of images as numbers, for references. */
function eachWindow(
  x: readonly number[],
  out: readonly number[],
  f: (window: number, element: number, flat: number) => void,
): void {
  const [from, to] = [x.slice(2), out.slice(2)];
  const [area, places] = [from, to].map((d) => d.reduce((a, n) => a * n, 1));
  const walk = (d: number, window: number, element: number, visit: (w: number, e: number) => void): void => {
    if (d === from.length) visit(window, element);
    else
      for (let i = 0; i < to[d]; i++)
        for (let k = Math.floor((i * from[d]) / to[d]); k < Math.ceil(((i + 1) * from[d]) / to[d]); k++)
          walk(d + 1, window * to[d] + i, element * from[d] + k, visit);
  };
  for (let p = 0; p < x[0] * x[1]; p++) walk(0, 0, 0, (w, e) => f(p * places + w, p * area + e, e));
}

/** Larger than any place. */
const NOWHERE = 2147483647;

const opOf = (name: string): OpDef => pooling.find((op) => op.name === name) as OpDef;

function adaptive(rank: number, examples: readonly OpExample[]): readonly OpDef[] {
  const image = imageText(rank);
  const params = [tensor("x"), sizes("size")];
  const complete: NonNullable<OpDef["complete"]> = (_types, attrs) => {
    const size = dimsAt(attrs, "size");
    return { ...attrs, size: size.length === 1 ? directions(rank).map(() => size[0]) : size };
  };
  const infer =
    (name: string): OpDef["infer"] =>
    ([x], attrs, b) => {
      allowDtypes(name, [x], FLOATS);
      rankOf(name, x, 2 + rank, 0, `an input ${image}`);
      const size = dimsAt(attrs, "size");
      if (size.length !== rank || size.some((d) => (asConst(d) ?? 1) < 1))
        fail("E0607", `${name}: size is ${rank === 1 ? "one number" : `${rank} numbers`} above 0`, {
          attr: "size",
        });
      // As in PyTorch: of nothing there is no window.
      for (const d of directions(rank)) {
        const axis = 2 + d;
        atLeast(x.shape[axis], ONE, `${name}: elements of axis ${axis}`, b, () =>
          fail("E0302", `${name}: axis ${axis} of ${shapeText(x.shape)} is empty`, { operand: 0 }),
        );
      }
      return [{ dtype: x.dtype, shape: [...x.shape.slice(0, 2), ...size] }];
    };
  const sizeOf = (x: TensorType): Attrs => ({ size: x.shape.slice(2) });

  const sumPool: OpDef = {
    name: `adaptive_sum_pool${rank}d`,
    doc: `The sums of as many windows as \`size\` says, over x ${image}.`,
    fuses: "fold",
    exposed: false,
    params,
    complete,
    infer: infer(`adaptive_sum_pool${rank}d`),
    reference: ([x], _attrs, [out]) =>
      eachWindow(x.shape, out.shape, (window, element) => {
        out.data[window] += x.data[element];
      }),
    vjp: (b, node, [g]) => [g && b.make(sumPool, [g], sizeOf(node.inputs[0].type))],
    lower: (s, node, [n, c, ...position]) => {
      const [x] = node.inputs;
      const zero = s.const(x.type.dtype, 0);
      const [from, to] = [x.type.shape.slice(2), dimsAt(node.attrs, "size")];
      return overWindow(s, "add", from, to, position, zero, (at) => s.read(x, [n, c, ...at]));
    },
    examples,
  };
  const avgPool: OpDef = {
    name: `adaptive_avg_pool${rank}d`,
    torch: `F.adaptive_avg_pool${rank}d`,
    doc: `The means of as many windows as \`size\` says, over x ${image}; uneven ones where it does not divide, as PyTorch's.`,
    fuses: "composite",
    params,
    complete,
    infer: infer(`adaptive_avg_pool${rank}d`),
    expand: (b, node) => {
      const [x] = node.inputs;
      const size = dimsAt(node.attrs, "size");
      if (size.every((d) => isConst(d, 1)))
        return [
          mean(
            b,
            x,
            directions(rank).map((d) => 2 + d),
            true,
          ),
        ];
      const even = evenPool(x.type, node.attrs);
      if (even) return [b.make(opOf(`avg_pool${rank}d`), [x], { ...even, count_include_pad: true })];
      const total = b.make(sumPool, [x], node.attrs);
      return [div(b, total, broadcastTo(b, counts(b, x, node.attrs), total.type.shape))];
    },
    examples,
  };
  /** The pool it is where windows of one known size lie side by side. */
  function evenPool(x: TensorType, attrs: Attrs): Attrs | undefined {
    const kernel = dimsAt(attrs, "size").map((o, d) => {
      const whole = exactQuotient(x.shape[2 + d], o);
      return whole && asConst(whole);
    });
    return kernel.every((n) => n !== undefined)
      ? {
          kernel,
          stride: kernel,
          padding: everyWhere(rank, 0),
          dilation: everyWhere(rank, 1),
          ceil_mode: false,
        }
      : undefined;
  }
  function counts(b: Builder, x: Value, attrs: Attrs): Value {
    const from = x.type.shape.slice(2);
    const whole = dimsAt(attrs, "size").map((o, d) => exactQuotient(from[d], o));
    const { dtype } = x.type;
    const known = asConst(product(whole.map((q) => q ?? dim(0))));
    if (known) return full(b, known, { dtype, shape: [] });
    return b.make(sumPool, [full(b, 1, { dtype, shape: [ONE, ONE, ...from] })], attrs);
  }

  const maxPool: OpDef = {
    name: `adaptive_max_pool${rank}d`,
    torch: `F.adaptive_max_pool${rank}d`,
    doc: `The largest of each of as many windows as \`size\` says, over x ${image}. The gradient goes to the first largest.`,
    fuses: "fold",
    params,
    complete,
    infer: infer(`adaptive_max_pool${rank}d`),
    inline: ([x], attrs) => evenPool(x, attrs) !== undefined,
    expand: (b, node) => [
      b.make(opOf(`max_pool${rank}d`), node.inputs, evenPool(node.inputs[0].type, node.attrs)),
    ],
    reference: ([x], _attrs, [out]) => {
      out.data.fill(-Infinity);
      eachWindow(x.shape, out.shape, (window, element) => {
        out.data[window] = Math.max(out.data[window], x.data[element]);
      });
    },
    vjp: (b, node, [g]) => {
      const [x] = node.inputs;
      if (!g) return [undefined];
      const index = b.make(maxIndex, [x, node.outs[0]], node.attrs);
      return [b.make(maxGrad, [index, g], sizeOf(x.type))];
    },
    lower: (s, node, [n, c, ...position]) => {
      const [x] = node.inputs;
      const none = s.const(x.type.dtype, -Infinity);
      const [from, to] = [x.type.shape.slice(2), dimsAt(node.attrs, "size")];
      return overWindow(s, "max", from, to, position, none, (at) => s.read(x, [n, c, ...at]));
    },
    examples,
  };
  const maxIndex: OpDef = {
    name: `adaptive_max_pool${rank}d_index`,
    doc: "The place (row-major in its image) of the first element equal to the window's largest, of the last NaN where there is one.",
    fuses: "fold",
    exposed: false,
    params: [tensor("x"), tensor("y"), sizes("size")],
    infer: ([, y]) => [{ dtype: "i32", shape: y.shape }],
    noGrad: "the result is an index",
    reference: ([x, y], _attrs, [out]) => {
      out.data.fill(NOWHERE);
      eachWindow(x.shape, out.shape, (window, element, flat) => {
        const nan = Number.isNaN(x.data[element]);
        if (nan || (x.data[element] === y.data[window] && flat < out.data[window])) out.data[window] = flat;
      });
    },
    lower: (s, node, at) => {
      const [x, y] = node.inputs;
      const [n, c, ...position] = at;
      const top = s.read(y, at);
      const [from, to] = [x.type.shape.slice(2), dimsAt(node.attrs, "size")];
      const none = s.const("i32", NOWHERE);
      // Places of NaN count downwards from -1, so that the last of them is the least.
      const least = overWindow(s, "min", from, to, position, none, (there) => {
        const v = s.read(x, [n, c, ...there]);
        const flat = flatIn(s, from, there);
        const found = s.select(s.call("eq", v, top), flat, none);
        return s.select(s.call("is_nan", v), s.iadd(s.imul(flat, -1), -1), found);
      });
      return s.select(s.call("lt", least, s.dim(0)), s.iadd(s.imul(least, -1), -1), least);
    },
    examples: [],
  };
  const maxGrad: OpDef = {
    name: `adaptive_max_pool${rank}d_grad`,
    doc: "Each window's gradient at the element its index names, elsewhere 0: index, g -> images of the given size.",
    fuses: "fold",
    exposed: false,
    params: [tensor("index"), tensor("g"), sizes("size")],
    infer: ([, g], attrs) => [{ dtype: g.dtype, shape: [...g.shape.slice(0, 2), ...dimsAt(attrs, "size")] }],
    reference: ([index, g], _attrs, [out]) =>
      eachWindow(out.shape, g.shape, (window, element, flat) => {
        if (index.data[window] === flat) out.data[element] += g.data[window];
      }),
    vjp: (b, node, [h]) => {
      const [index, g] = node.inputs;
      if (!h) return [undefined, undefined];
      const taken = b.make(gatherOp, [lines(b, h), lines(b, index)], { axis: 2 });
      return [undefined, reshape(b, taken, g.type.shape)];
    },
    lower: (s, node, [n, c, ...element]) => {
      const [index, g] = node.inputs;
      const to = dimsAt(node.attrs, "size");
      const own = flatIn(s, to, element);
      const zero = s.const(g.type.dtype, 0);
      return overWindow(s, "add", g.type.shape.slice(2), to, element, zero, (at) => {
        const there = [n, c, ...at];
        return s.select(s.call("eq", s.read(index, there), own), s.read(g, there), zero);
      });
    },
    examples: [],
  };
  return [sumPool, avgPool, maxPool, maxIndex, maxGrad];
}

const EXAMPLES: readonly (readonly OpExample[])[] = [
  [
    { shapes: [[2, 2, 7]], attrs: { size: 3 } },
    { shapes: [[1, 2, 3]], attrs: { size: 7 } },
    { shapes: [[2, 2, 4]], attrs: { size: 1 } },
  ],
  [
    { shapes: [[1, 2, 5, 7]], attrs: { size: [3, 2] } },
    { shapes: [[2, 1, 6, 4]], attrs: { size: [3, 1] } },
    { shapes: [[1, 1, 2, 3]], attrs: { size: [4, 5] } },
  ],
  [{ shapes: [[1, 2, 3, 4, 5]], attrs: { size: [2, 4, 3] } }],
];
export const adaptives: readonly OpDef[] = RANKS.flatMap((rank) => adaptive(rank, EXAMPLES[rank - 1]));
/** The mean over windows that cover images of so many axes. */
export const averagePool = (rank: number): OpDef =>
  adaptives.find((op) => op.name === `adaptive_avg_pool${rank}d`) as OpDef;
