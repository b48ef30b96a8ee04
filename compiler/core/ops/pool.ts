// Pooling over windows of NCHW images. In: images. Out: folds over a window (forwards) or over the windows that contain
// an element (backwards), so that nothing scatters. A max pool's gradient goes to the first largest element of a window,
// as PyTorch's does: its place is computed once (max_pool2d_index), and both directions select by it.
import { add, asConst, ceilDiv, type Dim, dim, floorDiv, ONE, sub } from "../dims/dim.ts";
import type { Attrs, Builder, ConcreteAttrs, OpDef, TensorType, Value } from "../ir/types.ts";
import type { Lowering, Scalar } from "../kernel/scalar.ts";
import { broadcastTo } from "./axes.ts";
import {
  allowDtypes,
  atLeast,
  bool,
  boolAt,
  dimsAt,
  FLOATS,
  fail,
  full,
  numbersAt,
  pair,
  type Requirer,
  rankOf,
  tensor,
} from "./define.ts";
import { div } from "./elementwise.ts";
import { pad, sliceAxis } from "./movement.ts";

interface Pool {
  readonly kernel: readonly number[];
  readonly stride: readonly number[];
  readonly padding: readonly number[];
  readonly dilation: readonly number[];
}
const poolOf = (a: Attrs | ConcreteAttrs): Pool => ({
  kernel: numbersAt(a, "kernel"),
  stride: numbersAt(a, "stride"),
  padding: numbersAt(a, "padding"),
  dilation: numbersAt(a, "dilation"),
});
const poolParams = [
  pair("kernel"),
  pair("stride", { optional: true, doc: "as `kernel` by default" }),
  pair("padding", { default: [0, 0] }),
  pair("dilation", { default: [1, 1] }),
  bool("ceil_mode", { default: false }),
];
const completePool: NonNullable<OpDef["complete"]> = (_types, attrs) => ({
  ...attrs,
  stride: attrs.stride ?? attrs.kernel,
  padding: attrs.padding ?? [0, 0],
  dilation: attrs.dilation ?? [1, 1],
  ceil_mode: boolAt(attrs, "ceil_mode"),
});
const spanOf = (a: Pool, d: number): number => (a.kernel[d] - 1) * a.dilation[d] + 1;

/** The positions of windows along H and W, by PyTorch's rule. */
function positions(name: string, x: TensorType, attrs: Attrs, b: Requirer): Dim[] {
  rankOf(name, x, 4, 0, "an input [N, C, H, W]");
  const a = poolOf(attrs);
  if ([...a.kernel, ...a.stride, ...a.dilation].some((n) => n < 1))
    fail("E0607", `${name}: kernel, stride and dilation are at least 1`, { attr: "kernel" });
  return [0, 1].map((d) => {
    if (a.padding[d] * 2 > a.kernel[d])
      fail("E0607", `${name}: padding ${a.padding[d]} is more than half of kernel ${a.kernel[d]}`, {
        attr: "padding",
      });
    const room = add(x.shape[2 + d], 2 * a.padding[d] - spanOf(a, d));
    atLeast(room, dim(0), `${name}: room for a window`, b, () =>
      fail("E0302", `${name}: a window of ${spanOf(a, d)} does not fit into ${x.shape[2 + d].key} elements`, {
        operand: 0,
      }),
    );
    if (!boolAt(attrs, "ceil_mode")) return add(floorDiv(room, a.stride[d]), 1);
    const count = add(ceilDiv(room, a.stride[d]), 1);
    // A last window that starts in the padding behind is left out.
    const [n, extent] = [asConst(count), asConst(x.shape[2 + d])];
    if (n === undefined || extent === undefined) {
      if (a.stride[d] === 1 || (a.padding[d] === 0 && a.stride[d] <= spanOf(a, d))) return count;
      return fail("E0504", `${name}: ceil_mode needs a known extent here`, { attr: "ceil_mode" });
    }
    return dim((n - 1) * a.stride[d] >= extent + a.padding[d] ? n - 1 : n);
  });
}
const pooled = (name: string): OpDef["infer"] => {
  return ([x], attrs, b) => {
    allowDtypes(name, [x], FLOATS);
    return [{ dtype: x.dtype, shape: [...x.shape.slice(0, 2), ...positions(name, x, attrs, b)] }];
  };
};

// -------------------------------------------------------------------------------------- walking windows

const knob = (s: Lowering, name: string, value: number, neutral: number): Dim =>
  value === neutral ? dim(value) : s.opaque(name, value);
/** The image coordinate of tap `i` of window `y`. */
const tapAt = (s: Lowering, a: Pool, d: 0 | 1, y: Scalar, i: Scalar): Scalar => {
  const hw = d === 0 ? "h" : "w";
  return s.iadd(
    s.imul(y, knob(s, `stride_${hw}`, a.stride[d], 1)),
    s.imul(i, knob(s, `dilation_${hw}`, a.dilation[d], 1)),
    sub(dim(0), knob(s, `padding_${hw}`, a.padding[d], 0)),
  );
};
/** Axes along which a window may leave the image. */
const guarded = (attrs: Attrs): readonly number[] =>
  [2, 3].filter((i) => boolAt(attrs, "ceil_mode") || numbersAt(attrs, "padding")[i - 2] !== 0);
const guardOf = (
  attrs: Attrs,
  outside: number,
): { outside: number; guard: readonly number[] } | undefined => {
  const guard = guarded(attrs);
  return guard.length ? { outside, guard } : undefined;
};

/** Elements of a window in order: f(tap, offset into the image, offset into the windows). */
function eachTap(
  x: readonly number[],
  out: readonly number[],
  a: Pool,
  f: (tap: number, image: number, window: number) => void,
): void {
  const [N, C, H, W] = x;
  const [, , OH, OW] = out;
  for (let p = 0; p < N * C; p++)
    for (let y = 0; y < OH; y++)
      for (let q = 0; q < OW; q++)
        for (let i = 0; i < a.kernel[0]; i++) {
          const h = y * a.stride[0] + i * a.dilation[0] - a.padding[0];
          if (h < 0 || h >= H) continue;
          for (let j = 0; j < a.kernel[1]; j++) {
            const v = q * a.stride[1] + j * a.dilation[1] - a.padding[1];
            if (v >= 0 && v < W) f(i * a.kernel[1] + j, (p * H + h) * W + v, (p * OH + y) * OW + q);
          }
        }
}

/**
 * The windows that contain an image coordinate: with t = h + padding, windows t / stride - k for k = 0 .. and the tap
 * that lies there; `on` where there is one.
 */
function windowsAt(s: Lowering, a: Pool, d: 0 | 1, h: Scalar) {
  const t = s.iadd(h, a.padding[d]);
  const [first, rest] = [s.idiv(t, a.stride[d]), s.imod(t, a.stride[d])];
  return {
    count: ceilDiv(spanOf(a, d), a.stride[d]),
    at: (k: Scalar) => {
      const offset = s.iadd(rest, s.imul(k, a.stride[d]));
      const tap = a.dilation[d] === 1 ? offset : s.idiv(offset, a.dilation[d]);
      // The largest offset that can occur; below the span every one is a tap.
      const most = a.stride[d] - 1 + (Math.ceil(spanOf(a, d) / a.stride[d]) - 1) * a.stride[d];
      const on: Scalar[] = [];
      if (most >= spanOf(a, d)) on.push(s.call("lt", offset, s.dim(spanOf(a, d))));
      if (a.dilation[d] !== 1) on.push(s.call("eq", s.imod(offset, a.dilation[d]), s.dim(0)));
      return { window: s.iadd(first, s.imul(k, -1)), tap, on };
    },
  };
}

// --------------------------------------------------------------------------------------------- max pooling

const poolExamples: OpDef["examples"] = [
  { shapes: [[2, 2, 4, 6]], attrs: { kernel: [2, 2] } },
  { shapes: [[1, 2, 5, 5]], attrs: { kernel: [3, 3], stride: [2, 2], padding: [1, 1] } },
  { shapes: [[1, 1, 6, 5]], attrs: { kernel: [3, 2], stride: [2, 1], ceil_mode: true } },
  { shapes: [[1, 1, 7, 7]], attrs: { kernel: [2, 3], stride: [1, 2], dilation: [3, 2], padding: [1, 1] } },
];

export const maxPool2dOp: OpDef = {
  name: "max_pool2d",
  doc: "The largest of each window of x [N, C, H, W]. The gradient goes to the first largest.",
  fuses: "fold",
  params: [tensor("x"), ...poolParams],
  complete: completePool,
  infer: pooled("max_pool2d"),
  reference: ([x], attrs, [out]) => {
    out.data.fill(-Infinity);
    eachTap(x.shape, out.shape, poolOf(attrs), (_tap, image, window) => {
      if (x.data[image] > out.data[window] || Number.isNaN(x.data[image])) out.data[window] = x.data[image];
    });
  },
  vjp: (b, node, [g]) => {
    const [x] = node.inputs;
    if (!g) return [undefined];
    const index = b.make(maxPool2dIndexOp, [x, node.outs[0]], node.attrs);
    return [b.make(maxPool2dGradOp, [index, g], { ...node.attrs, size: x.type.shape.slice(2) })];
  },
  lower: (s, node, [n, c, y, q]) => {
    const a = poolOf(node.attrs);
    return s.fold(
      "max",
      a.kernel,
      (i, j) =>
        s.read(
          node.inputs[0],
          [n, c, tapAt(s, a, 0, y, i), tapAt(s, a, 1, q, j)],
          guardOf(node.attrs, -Infinity),
        ),
      ["wy", "wx"],
    );
  },
  examples: poolExamples,
};
/** Larger than any tap. */
const NO_TAP = 2147483647;

export const maxPool2dIndexOp: OpDef = {
  name: "max_pool2d_index",
  doc: "The tap (row-major in the window) of the first element equal to the window's largest, of the last NaN where there is one: x, max_pool2d(x) -> i32.",
  fuses: "fold",
  exposed: false,
  params: [tensor("x"), tensor("y"), ...poolParams],
  complete: completePool,
  infer: ([, y]) => [{ dtype: "i32", shape: y.shape }],
  noGrad: "the result is an index",
  reference: ([x, y], attrs, [out]) => {
    out.data.fill(NO_TAP);
    eachTap(x.shape, out.shape, poolOf(attrs), (tap, image, window) => {
      const nan = Number.isNaN(x.data[image]);
      if (nan || (x.data[image] === y.data[window] && tap < out.data[window])) out.data[window] = tap;
    });
  },
  lower: (s, node, at) => {
    const [x, y] = node.inputs;
    const a = poolOf(node.attrs);
    const top = s.read(y, at);
    // Taps of NaN count downwards from -1, so that the last of them is the least.
    const least = s.fold(
      "min",
      a.kernel,
      (i, j) => {
        const v = s.read(
          x,
          [at[0], at[1], tapAt(s, a, 0, at[2], i), tapAt(s, a, 1, at[3], j)],
          guardOf(node.attrs, -Infinity),
        );
        const tap = s.iadd(s.imul(i, a.kernel[1]), j);
        const found = s.select(s.call("eq", v, top), tap, s.const("i32", NO_TAP));
        return s.select(s.call("is_nan", v), s.iadd(s.imul(tap, -1), -1), found);
      },
      ["wy", "wx"],
    );
    return s.select(s.call("lt", least, s.dim(0)), s.iadd(s.imul(least, -1), -1), least);
  },
  examples: [],
};

export const maxPool2dGradOp: OpDef = {
  name: "max_pool2d_grad",
  doc: "Each window's gradient at the element its index names, elsewhere 0: index, g -> [N, C, H, W] of the given size.",
  fuses: "fold",
  exposed: false,
  params: [tensor("index"), tensor("g"), ...poolParams, { name: "size", kind: "dims" }],
  complete: completePool,
  infer: ([, g], attrs) => [{ dtype: g.dtype, shape: [...g.shape.slice(0, 2), ...dimsAt(attrs, "size")] }],
  reference: ([index, g], attrs, [out]) => {
    eachTap(out.shape, g.shape, poolOf(attrs), (tap, image, window) => {
      if (index.data[window] === tap) out.data[image] += g.data[window];
    });
  },
  vjp: (b, node, [h]) => {
    const { size: _size, ...attrs } = node.attrs;
    return [undefined, h && b.make(maxPool2dSelectOp, [node.inputs[0], h], attrs)];
  },
  lower: (s, node, [n, c, h, v]) => {
    const [index, g] = node.inputs;
    const a = poolOf(node.attrs);
    const [rows, columns] = [windowsAt(s, a, 0, h), windowsAt(s, a, 1, v)];
    return s.fold(
      "add",
      [rows.count, columns.count],
      (i, j) => {
        const [r, q] = [rows.at(i), columns.at(j)];
        const at = [n, c, r.window, q.window];
        const guard = { outside: 0, guard: [2, 3] };
        const tap = s.iadd(s.imul(r.tap, a.kernel[1]), q.tap);
        // Outside the windows the gradient read is 0, so the index there does not matter.
        const hit = s.call("eq", s.read(index, at, guard), tap);
        const on = [...r.on, ...q.on].reduce((p, w) => s.call("and", p, w), hit);
        return s.select(on, s.read(g, at, guard), s.const(g.type.dtype, 0));
      },
      ["wy", "wx"],
    );
  },
  examples: [],
};

export const maxPool2dSelectOp: OpDef = {
  name: "max_pool2d_select",
  doc: "The element of x that each window's index names: index, x -> as index.",
  fuses: "fold",
  exposed: false,
  params: [tensor("index"), tensor("x"), ...poolParams],
  complete: completePool,
  infer: ([index, x]) => [{ dtype: x.dtype, shape: index.shape }],
  reference: ([index, x], attrs, [out]) => {
    eachTap(x.shape, out.shape, poolOf(attrs), (tap, image, window) => {
      if (index.data[window] === tap) out.data[window] += x.data[image];
    });
  },
  vjp: (b, node, [g]) => {
    const [index, x] = node.inputs;
    return [
      undefined,
      g && b.make(maxPool2dGradOp, [index, g], { ...node.attrs, size: x.type.shape.slice(2) }),
    ];
  },
  lower: (s, node, at) => {
    const [index, x] = node.inputs;
    const a = poolOf(node.attrs);
    const place = s.read(index, at);
    return s.fold(
      "add",
      a.kernel,
      (i, j) => {
        const v = s.read(
          x,
          [at[0], at[1], tapAt(s, a, 0, at[2], i), tapAt(s, a, 1, at[3], j)],
          guardOf(node.attrs, 0),
        );
        const tap = s.iadd(s.imul(i, a.kernel[1]), j);
        return s.select(s.call("eq", place, tap), v, s.const(x.type.dtype, 0));
      },
      ["wy", "wx"],
    );
  },
  examples: [],
};

// ------------------------------------------------------------------------------------------ average pooling

export const sumPool2dOp: OpDef = {
  name: "sum_pool2d",
  doc: "The sum of each window of x [N, C, H, W].",
  fuses: "fold",
  exposed: false,
  params: [tensor("x"), ...poolParams],
  complete: completePool,
  infer: pooled("sum_pool2d"),
  reference: ([x], attrs, [out]) => {
    eachTap(x.shape, out.shape, poolOf(attrs), (_tap, image, window) => {
      out.data[window] += x.data[image];
    });
  },
  vjp: (b, node, [g]) => [
    g && b.make(sumPool2dGradOp, [g], { ...node.attrs, size: node.inputs[0].type.shape.slice(2) }),
  ],
  lower: (s, node, [n, c, y, q]) => {
    const a = poolOf(node.attrs);
    return s.fold(
      "add",
      a.kernel,
      (i, j) =>
        s.read(node.inputs[0], [n, c, tapAt(s, a, 0, y, i), tapAt(s, a, 1, q, j)], guardOf(node.attrs, 0)),
      ["wy", "wx"],
    );
  },
  examples: poolExamples,
};
export const sumPool2dGradOp: OpDef = {
  name: "sum_pool2d_grad",
  doc: "The sum of the windows' gradients over those that contain an element: g -> [N, C, H, W] of the given size.",
  fuses: "fold",
  exposed: false,
  params: [tensor("g"), ...poolParams, { name: "size", kind: "dims" }],
  complete: completePool,
  infer: ([g], attrs) => [{ dtype: g.dtype, shape: [...g.shape.slice(0, 2), ...dimsAt(attrs, "size")] }],
  reference: ([g], attrs, [out]) => {
    eachTap(out.shape, g.shape, poolOf(attrs), (_tap, image, window) => {
      out.data[image] += g.data[window];
    });
  },
  vjp: (b, node, [h]) => {
    const { size: _size, ...attrs } = node.attrs;
    return [h && b.make(sumPool2dOp, [h], attrs)];
  },
  lower: (s, node, [n, c, h, v]) => {
    const [g] = node.inputs;
    const a = poolOf(node.attrs);
    const [rows, columns] = [windowsAt(s, a, 0, h), windowsAt(s, a, 1, v)];
    return s.fold(
      "add",
      [rows.count, columns.count],
      (i, j) => {
        const [r, q] = [rows.at(i), columns.at(j)];
        const value = s.read(g, [n, c, r.window, q.window], { outside: 0, guard: [2, 3] });
        return [...r.on, ...q.on].reduce((x, on) => s.select(on, x, s.const(g.type.dtype, 0)), value);
      },
      ["wy", "wx"],
    );
  },
  examples: [],
};

export const avgPool2dOp: OpDef = {
  name: "avg_pool2d",
  doc: "The mean of each window of x [N, C, H, W]; with count_include_pad (as PyTorch) the padding counts.",
  fuses: "composite",
  params: [
    ...[tensor("x"), ...poolParams].filter((p) => p.name !== "dilation"),
    bool("count_include_pad", { default: true }),
  ],
  complete: (types, attrs) => ({
    ...completePool(types, attrs),
    dilation: [1, 1],
    count_include_pad: attrs.count_include_pad !== false,
  }),
  infer: pooled("avg_pool2d"),
  expand: (b, node) => {
    const [x] = node.inputs;
    const { count_include_pad: include, ...attrs } = node.attrs;
    const total = b.make(sumPool2dOp, [x], attrs);
    return [div(b, total, broadcastTo(b, windowSizes(b, x, attrs, include === true), total.type.shape))];
  },
  examples: [
    { shapes: [[2, 2, 4, 6]], attrs: { kernel: [2, 2] } },
    { shapes: [[1, 2, 5, 5]], attrs: { kernel: [3, 3], stride: [2, 2], padding: [1, 1] } },
    {
      shapes: [[1, 2, 5, 5]],
      attrs: { kernel: [3, 3], stride: [2, 2], padding: [1, 1], count_include_pad: false },
    },
    { shapes: [[1, 1, 6, 5]], attrs: { kernel: [3, 2], stride: [2, 2], padding: [1, 0], ceil_mode: true } },
  ],
};
/** The number of elements each window is divided by. */
function windowSizes(b: Builder, x: Value, attrs: Attrs, include: boolean): Value {
  const a = poolOf(attrs);
  const [dtype, ceil] = [x.type.dtype, boolAt(attrs, "ceil_mode")];
  const padded = a.padding.some((p) => p !== 0);
  if (!ceil && (include || !padded)) return full(b, a.kernel[0] * a.kernel[1], { dtype, shape: [] });
  const ones = full(b, 1, { dtype, shape: [ONE, ONE, ...x.type.shape.slice(2)] });
  if (!include) return b.make(sumPool2dOp, [ones], attrs);
  // Ones where the padding is, so that only what lies beyond it (ceil_mode) does not count.
  const around = [0, 0, ...a.padding];
  const image = pad(b, ones, around, around, 1);
  const counts = b.make(sumPool2dOp, [image], { ...attrs, padding: [0, 0] });
  // PyTorch leaves out a last window that starts in the padding behind; over the padded image it is there.
  const size = positions("avg_pool2d", x.type, attrs, undefined);
  return [2, 3].reduce((v, i) => sliceAxis(b, v, i, 0, size[i - 2]), counts);
}

export const pooling: readonly OpDef[] = [
  maxPool2dOp,
  maxPool2dIndexOp,
  maxPool2dGradOp,
  maxPool2dSelectOp,
  sumPool2dOp,
  sumPool2dGradOp,
  avgPool2dOp,
];
