// Pooling over windows of images with n spatial axes, [N, C, spatial axes]. In: images. Out: folds over a window (forwards)
// or over the windows that contain an element (backwards), so that nothing scatters. A max pool's gradient goes to the first
// largest element of a window, as PyTorch's does: its place is computed once (max_pool2d_index), and both directions select
// by it. The rank is a number: the pools over one, two and three axes are one definition.
import {
  add,
  asConst,
  ceilDiv,
  type Dim,
  dim,
  exactQuotient,
  floorDiv as floorDivDims,
  min as minDims,
  mul,
  ONE,
  product,
  sub,
} from "../dims/dim.ts";
import type { Attrs, Builder, ConcreteAttrs, OpDef, OpExample, TensorType, Value } from "../ir/types.ts";
import type { Lowering, Scalar } from "../kernel/scalar.ts";
import { broadcastTo, reshape } from "./axes.ts";
import {
  allowDtypes,
  atLeast,
  bool,
  boolAt,
  dimsAt,
  FLOATS,
  fail,
  float,
  full,
  isFloat,
  numberAt,
  numbersAt,
  type Requirer,
  rankOf,
  sameShapes,
  sameSize,
  sizes as sizesParam,
  sizeValue,
  tensor,
} from "./define.ts";
import { add as addValues, div, floorDiv, mul as mulValues, pow, rem } from "./elementwise.ts";
import { gatherOp, needIndex, place } from "./lookup.ts";
import { pad, sliceAxis } from "./movement.ts";
import { scatterOp } from "./sort.ts";
import {
  directions,
  elementAt,
  everyWhere,
  guardAlong,
  imageText,
  perAxis,
  RANKS,
  runsOf,
  sizeOf,
  spanOf,
  spatialAxes,
  type Window,
  windowOf,
} from "./window.ts";

interface Pool extends Window {
  readonly kernel: readonly number[];
}
const poolOf = (a: Attrs | ConcreteAttrs): Pool => ({ ...windowOf(a), kernel: numbersAt(a, "kernel") });
/** Elements a window spans in a direction. */
const reach = (a: Pool, d: number): number => asConst(spanOf(a.kernel[d], a.dilation[d])) as number;

/** The positions of windows in each direction, by PyTorch's rule. A pool has some of the image in each of its windows. */
function positions(name: string, x: TensorType, attrs: Attrs, b: Requirer, pools = true): Dim[] {
  const a = poolOf(attrs);
  const rank = a.kernel.length;
  rankOf(name, x, 2 + rank, 0, `an input ${imageText(rank)}`);
  if ([...a.kernel, ...a.stride, ...a.dilation].some((n) => n < 1))
    fail("E0607", `${name}: kernel, stride and dilation are at least 1`, { attr: "kernel" });
  return directions(rank).map((d) => {
    if (pools && a.padding[d] * 2 > a.kernel[d])
      fail("E0607", `${name}: padding ${a.padding[d]} is more than half of kernel ${a.kernel[d]}`, {
        attr: "padding",
      });
    const room = add(x.shape[2 + d], 2 * a.padding[d] - reach(a, d));
    atLeast(room, dim(0), `${name}: room for a window`, b, () =>
      fail("E0302", `${name}: a window of ${reach(a, d)} does not fit into ${x.shape[2 + d].key} elements`, {
        operand: 0,
      }),
    );
    if (!boolAt(attrs, "ceil_mode")) return add(floorDivDims(room, a.stride[d]), 1);
    const count = add(ceilDiv(room, a.stride[d]), 1);
    // Windows that follow each other reach the end of the image.
    if (a.stride[d] === 1 || (a.padding[d] === 0 && a.stride[d] <= reach(a, d))) return count;
    // A last window that starts in the padding behind is left out; there is one at most, since padding is half a window.
    return minDims(count, ceilDiv(add(x.shape[2 + d], a.padding[d]), a.stride[d]));
  });
}
const pooled = (name: string): OpDef["infer"] => {
  return ([x], attrs, b) => {
    allowDtypes(name, [x], FLOATS);
    return [{ dtype: x.dtype, shape: [...x.shape.slice(0, 2), ...positions(name, x, attrs, b)] }];
  };
};

// -------------------------------------------------------------------------------------- walking windows

/** How a window's elements are read: directions in which it may leave the image. */
const guardOf = (attrs: Attrs, outside: number) =>
  guardAlong(
    directions(numbersAt(attrs, "kernel").length).filter(
      (d) => boolAt(attrs, "ceil_mode") || numbersAt(attrs, "padding")[d] !== 0,
    ),
    outside,
  );

/** The number of a tap in its window, row by row. */
const tapNumber = (s: Lowering, a: Pool, taps: readonly Scalar[]): Scalar =>
  taps.reduce((at, t, d) => s.iadd(s.imul(at, a.kernel[d]), t));

/** Elements of windows: f(tap, offset into the image, offset into the windows). A window's taps come in order. */
function eachTap(
  x: readonly number[],
  out: readonly number[],
  a: Pool,
  f: (tap: number, image: number, window: number) => void,
): void {
  const [image, windows] = [x.slice(2), out.slice(2)];
  const runs = runsOf(image, a.kernel, windows, a);
  const [area, places] = [sizeOf(image), sizeOf(windows)];
  const step = a.stride[a.stride.length - 1];
  for (let p = 0; p < x[0] * x[1]; p++)
    for (const r of runs)
      for (let k = 0; k < r.count; k++) f(r.tap, p * area + r.image + k * step, p * places + r.window + k);
}

/** The same where windows' elements are told apart, [N, C, taps, positions]. */
function eachOfWindows(
  x: readonly number[],
  windows: readonly number[],
  a: Pool,
  f: (image: number, window: number) => void,
): void {
  const rank = a.kernel.length;
  const [taps, places] = [sizeOf(a.kernel), sizeOf(windows.slice(2 + rank))];
  eachTap(x, [...windows.slice(0, 2), ...windows.slice(2 + rank)], a, (tap, image, window) =>
    f(image, (Math.floor(window / places) * taps + tap) * places + (window % places)),
  );
}

/**
 * The windows that contain an image coordinate: with t = h + padding, windows t / stride - k for k = 0 .. and the tap
 * that lies there; `on` where there is one.
 */
function windowsAt(s: Lowering, a: Pool, d: number, h: Scalar) {
  const t = s.iadd(h, a.padding[d]);
  const [first, rest] = [s.idiv(t, a.stride[d]), s.imod(t, a.stride[d])];
  const extent = reach(a, d);
  return {
    count: ceilDiv(extent, a.stride[d]),
    at: (k: Scalar) => {
      const offset = s.iadd(rest, s.imul(k, a.stride[d]));
      const tap = a.dilation[d] === 1 ? offset : s.idiv(offset, a.dilation[d]);
      // The largest offset that can occur; below the span every one is a tap.
      const most = a.stride[d] - 1 + (Math.ceil(extent / a.stride[d]) - 1) * a.stride[d];
      const on: Scalar[] = [];
      if (most >= extent) on.push(s.call("lt", offset, s.dim(extent)));
      if (a.dilation[d] !== 1) on.push(s.call("eq", s.imod(offset, a.dilation[d]), s.dim(0)));
      return { window: s.iadd(first, s.imul(k, -1)), tap, on };
    },
  };
}

/** Larger than any tap. */
const NO_TAP = 2147483647;

/** The pools over `rank` spatial axes. */
function pools(
  rank: number,
  examples: readonly OpExample[],
  averages: readonly OpExample[],
): readonly OpDef[] {
  const named = (what: string, part = ""): string => `${what}_pool${rank}d${part}`;
  const along = directions(rank);
  const loops = spatialAxes(rank).map((a) => `w${a.loop}`);
  const image = imageText(rank);
  const poolParams = [
    perAxis(rank, "kernel"),
    perAxis(rank, "stride", { optional: true, doc: "as `kernel` by default" }),
    perAxis(rank, "padding", { default: 0 }),
    perAxis(rank, "dilation", { default: 1 }),
    bool("ceil_mode", { default: false }),
  ];
  const completePool: NonNullable<OpDef["complete"]> = (_types, attrs) => ({
    ...attrs,
    stride: attrs.stride ?? attrs.kernel,
    padding: attrs.padding ?? everyWhere(rank, 0),
    dilation: attrs.dilation ?? everyWhere(rank, 1),
    ceil_mode: boolAt(attrs, "ceil_mode"),
  });
  /** Of an image's size, from the gradients of its windows. */
  const toSize: OpDef["infer"] = (types, attrs) => {
    const g = types[types.length - 1];
    return [{ dtype: g.dtype, shape: [...g.shape.slice(0, 2), ...dimsAt(attrs, "size")] }];
  };
  const withSize = (attrs: Attrs, x: TensorType): Attrs => ({ ...attrs, size: x.shape.slice(2) });
  const withoutSize = ({ size: _size, ...attrs }: Attrs): Attrs => attrs;

  /**
   * The sum over the windows that contain an element: `term` of each one's position, the tap that the element is there, and
   * what holds where it is one.
   */
  const overWindows = (
    s: Lowering,
    a: Pool,
    element: readonly Scalar[],
    term: (window: readonly Scalar[], taps: readonly Scalar[], on: readonly Scalar[]) => Scalar,
  ): Scalar => {
    const over = element.map((h, d) => windowsAt(s, a, d, h));
    return s.fold(
      "add",
      over.map((w) => w.count),
      (...k) => {
        const hits = over.map((w, d) => w.at(k[d]));
        return term(
          hits.map((h) => h.window),
          hits.map((h) => h.tap),
          hits.flatMap((h) => h.on),
        );
      },
      loops,
    );
  };
  /** x where all of these hold, elsewhere 0. */
  const where = (s: Lowering, on: readonly Scalar[], x: Scalar): Scalar =>
    on.reduce((v, p) => s.select(p, v, s.const(x.dtype, 0)), x);

  // ------------------------------------------------------------------------------------------- max pooling

  const maxPool: OpDef = {
    name: named("max"),
    torch: `F.${named("max")}`,
    doc: `The largest of each window of x ${image}. The gradient goes to the first largest.`,
    fuses: "fold",
    params: [tensor("x"), ...poolParams],
    complete: completePool,
    infer: pooled(named("max")),
    reference: ([x], attrs, [out]) => {
      out.data.fill(-Infinity);
      eachTap(x.shape, out.shape, poolOf(attrs), (_tap, image, window) => {
        if (x.data[image] > out.data[window] || Number.isNaN(x.data[image])) out.data[window] = x.data[image];
      });
    },
    vjp: (b, node, [g]) => {
      const [x] = node.inputs;
      if (!g) return [undefined];
      const index = b.make(maxIndex, [x, node.outs[0]], node.attrs);
      return [b.make(maxGrad, [index, g], withSize(node.attrs, x.type))];
    },
    lower: (s, node, [n, c, ...position]) => {
      const a = poolOf(node.attrs);
      return s.fold(
        "max",
        a.kernel,
        (...tap) =>
          s.read(node.inputs[0], [n, c, ...elementAt(s, a, position, tap)], guardOf(node.attrs, -Infinity)),
        loops,
      );
    },
    examples,
  };

  const maxIndex: OpDef = {
    name: named("max", "_index"),
    doc: `The tap (row-major in the window) of the first element equal to the window's largest, of the last NaN where there is one: x, ${named("max")}(x) -> i32.`,
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
      const [n, c, ...position] = at;
      const a = poolOf(node.attrs);
      const top = s.read(y, at);
      // Taps of NaN count downwards from -1, so that the last of them is the least.
      const least = s.fold(
        "min",
        a.kernel,
        (...taps) => {
          const there = [n, c, ...elementAt(s, a, position, taps)];
          const guard = guardOf(node.attrs, -Infinity);
          const v = s.read(x, there, guard);
          const tap = tapNumber(s, a, taps);
          // Beside the image is nothing to be found, also where all of a window is as small as that.
          const is = s.call("eq", v, top);
          const inside = guard
            ? s.call("and", is, s.call("eq", s.read(x, there, { ...guard, outside: Infinity }), top))
            : is;
          const found = s.select(inside, tap, s.const("i32", NO_TAP));
          return s.select(s.call("is_nan", v), s.iadd(s.imul(tap, -1), -1), found);
        },
        loops,
      );
      return s.select(s.call("lt", least, s.dim(0)), s.iadd(s.imul(least, -1), -1), least);
    },
    examples: [],
  };

  const maxGrad: OpDef = {
    name: named("max", "_grad"),
    doc: `Each window's gradient at the element its index names, elsewhere 0: index, g -> ${image} of the given size.`,
    fuses: "fold",
    exposed: false,
    params: [tensor("index"), tensor("g"), ...poolParams, { name: "size", kind: "dims" }],
    complete: completePool,
    infer: toSize,
    reference: ([index, g], attrs, [out]) => {
      eachTap(out.shape, g.shape, poolOf(attrs), (tap, image, window) => {
        if (index.data[window] === tap) out.data[image] += g.data[window];
      });
    },
    vjp: (b, node, [h]) => [undefined, h && b.make(maxSelect, [node.inputs[0], h], withoutSize(node.attrs))],
    lower: (s, node, [n, c, ...element]) => {
      const [index, g] = node.inputs;
      const a = poolOf(node.attrs);
      const guard = guardAlong(along, 0);
      return overWindows(s, a, element, (window, taps, on) => {
        const at = [n, c, ...window];
        // Outside the windows the gradient read is 0, so the index there does not matter.
        const hit = s.call("eq", s.read(index, at, guard), tapNumber(s, a, taps));
        const all = on.reduce((p, w) => s.call("and", p, w), hit);
        return s.select(all, s.read(g, at, guard), s.const(g.type.dtype, 0));
      });
    },
    examples: [],
  };

  const maxSelect: OpDef = {
    name: named("max", "_select"),
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
      return [undefined, g && b.make(maxGrad, [index, g], withSize(node.attrs, x.type))];
    },
    lower: (s, node, at) => {
      const [index, x] = node.inputs;
      const [n, c, ...position] = at;
      const a = poolOf(node.attrs);
      const place = s.read(index, at);
      return s.fold(
        "add",
        a.kernel,
        (...taps) => {
          const v = s.read(x, [n, c, ...elementAt(s, a, position, taps)], guardOf(node.attrs, 0));
          return s.select(s.call("eq", place, tapNumber(s, a, taps)), v, s.const(x.type.dtype, 0));
        },
        loops,
      );
    },
    examples: [],
  };

  // --------------------------------------------------------------------------------------- average pooling

  const sumPool: OpDef = {
    name: named("sum"),
    doc: `The sum of each window of x ${image}.`,
    fuses: "fold",
    exposed: false,
    params: [tensor("x"), ...poolParams],
    complete: completePool,
    infer: pooled(named("sum")),
    reference: ([x], attrs, [out]) => {
      eachTap(x.shape, out.shape, poolOf(attrs), (_tap, image, window) => {
        out.data[window] += x.data[image];
      });
    },
    vjp: (b, node, [g]) => [g && b.make(sumGrad, [g], withSize(node.attrs, node.inputs[0].type))],
    lower: (s, node, [n, c, ...position]) => {
      const a = poolOf(node.attrs);
      return s.fold(
        "add",
        a.kernel,
        (...tap) => s.read(node.inputs[0], [n, c, ...elementAt(s, a, position, tap)], guardOf(node.attrs, 0)),
        loops,
      );
    },
    examples,
  };

  const sumGrad: OpDef = {
    name: named("sum", "_grad"),
    doc: `The sum of the windows' gradients over those that contain an element: g -> ${image} of the given size.`,
    fuses: "fold",
    exposed: false,
    params: [tensor("g"), ...poolParams, { name: "size", kind: "dims" }],
    complete: completePool,
    infer: toSize,
    reference: ([g], attrs, [out]) => {
      eachTap(out.shape, g.shape, poolOf(attrs), (_tap, image, window) => {
        out.data[image] += g.data[window];
      });
    },
    vjp: (b, node, [h]) => [h && b.make(sumPool, [h], withoutSize(node.attrs))],
    lower: (s, node, [n, c, ...element]) => {
      const [g] = node.inputs;
      const guard = guardAlong(along, 0);
      return overWindows(s, poolOf(node.attrs), element, (window, _taps, on) =>
        where(s, on, s.read(g, [n, c, ...window], guard)),
      );
    },
    examples: [],
  };

  const avgPool: OpDef = {
    name: named("avg"),
    torch: `F.${named("avg")}`,
    doc: `The mean of each window of x ${image}; with count_include_pad (as PyTorch) the padding counts.`,
    fuses: "composite",
    params: [
      ...[tensor("x"), ...poolParams].filter((p) => p.name !== "dilation"),
      bool("count_include_pad", { default: true }),
    ],
    complete: (types, attrs) => ({
      ...completePool(types, attrs),
      dilation: everyWhere(rank, 1),
      count_include_pad: attrs.count_include_pad !== false,
    }),
    infer: pooled(named("avg")),
    expand: (b, node) => {
      const [x] = node.inputs;
      const { count_include_pad: include, ...attrs } = node.attrs;
      const total = b.make(sumPool, [x], attrs);
      return [div(b, total, broadcastTo(b, windowSizes(b, x, attrs, include === true), total.type.shape))];
    },
    examples: averages,
  };
  /** The number of elements each window is divided by. */
  function windowSizes(b: Builder, x: Value, attrs: Attrs, include: boolean): Value {
    const a = poolOf(attrs);
    const [dtype, ceil] = [x.type.dtype, boolAt(attrs, "ceil_mode")];
    const padded = a.padding.some((p) => p !== 0);
    if (!ceil && (include || !padded)) return full(b, sizeOf(a.kernel), { dtype, shape: [] });
    const ones = full(b, 1, { dtype, shape: [ONE, ONE, ...x.type.shape.slice(2)] });
    if (!include) return b.make(sumPool, [ones], attrs);
    // Ones where the padding is, so that only what lies beyond it (ceil_mode) does not count.
    const around = [0, 0, ...a.padding];
    const image = pad(b, ones, around, around, 1);
    const counts = b.make(sumPool, [image], { ...attrs, padding: everyWhere(rank, 0) });
    // PyTorch leaves out a last window that starts in the padding behind; over the padded image it is there.
    const size = positions(named("avg"), x.type, attrs, undefined);
    return along.reduce((v, d) => sliceAxis(b, v, 2 + d, 0, size[d]), counts);
  }

  // -------------------------------------------------------------------------------- places of the largest, and back

  const maxPlaces: OpDef = {
    name: named("max", "_with_indices"),
    torch: `F.max_pool${rank}d(…, return_indices=True)`,
    doc: `(values, indices): ${named("max")} of x ${image}, and where in its image each was found (row-major, i32), as PyTorch's return_indices.`,
    fuses: "composite",
    params: [tensor("x"), ...poolParams],
    complete: completePool,
    infer: (types, attrs, b) => {
      const [y] = pooled(named("max"))(types, attrs, b);
      return [y, { dtype: "i32", shape: y.shape }];
    },
    inline: () => true,
    expand: (b, node) => {
      const [x] = node.inputs;
      const y = b.make(maxPool, [x], node.attrs);
      const a = poolOf(node.attrs);
      let rest = b.make(maxIndex, [x, y], node.attrs);
      const taps: Value[] = [];
      for (const d of [...along].reverse()) {
        taps[d] = rem(b, rest, a.kernel[d]);
        rest = floorDiv(b, rest, a.kernel[d]);
      }
      const { shape } = y.type;
      const index = along.reduce<Value>(
        (flat, d) => {
          const extent = broadcastTo(b, sizeValue(b, x.type.shape[2 + d]), shape);
          const window = addValues(b, mulValues(b, place(b, shape, 2 + d), a.stride[d]), -a.padding[d]);
          const at = addValues(b, window, mulValues(b, taps[d], a.dilation[d]));
          return addValues(b, mulValues(b, flat, extent), at);
        },
        full(b, 0, { dtype: "i32", shape }),
      );
      return [y, index];
    },
    examples: examples.slice(0, 2),
  };
  const maxUnpool: OpDef = {
    name: `max_unpool${rank}d`,
    torch: `F.max_unpool${rank}d`,
    doc: `Zeros with each element of x where its index says in its image (row-major, as ${named("max", "_with_indices")} gives it), as PyTorch's; the image's \`size\` is what the pool took, the smallest such by default. Where several go to one place, the last one stays.`,
    fuses: "composite",
    params: [
      tensor("x"),
      tensor("indices"),
      ...poolParams.slice(0, 3),
      sizesParam("size", { optional: true, aliases: ["output_size"] }),
    ],
    complete: ([x], { size, ...attrs }) => {
      const stride = numbersAt({ stride: attrs.stride ?? attrs.kernel }, "stride");
      const padding = attrs.padding ?? everyWhere(rank, 0);
      const a = { stride, padding: numbersAt({ padding }, "padding"), kernel: numbersAt(attrs, "kernel") };
      const least = along.map((d) =>
        add(mul(sub(x.shape[2 + d] ?? ONE, 1), a.stride[d]), a.kernel[d] - 2 * a.padding[d]),
      );
      return { kernel: attrs.kernel, stride, padding, size: size ?? least };
    },
    infer: ([x, indices], attrs, b) => {
      const name = `max_unpool${rank}d`;
      allowDtypes(name, [x], FLOATS);
      rankOf(name, x, 2 + rank, 0, `an input ${image}`);
      needIndex(name, indices, 1);
      sameShapes(name, [x, indices], b);
      const size = dimsAt(attrs, "size");
      if (size.length !== rank)
        fail("E0607", `${name}: ${size.length} sizes for ${rank} axes`, { attr: "size" });
      return [{ dtype: x.dtype, shape: [...x.shape.slice(0, 2), ...size] }];
    },
    indexes: (_types, attrs) => [
      {
        operand: 1,
        extent: product(dimsAt(attrs, "size")),
        use: `max_unpool${rank}d to ${product(dimsAt(attrs, "size")).key} places`,
      },
    ],
    // Each element has the gradient of its place, as in PyTorch, where several have one, too.
    vjp: (b, node, [g]) => {
      const [x, indices] = node.inputs;
      if (!g) return [undefined, undefined];
      const taken = b.make(gatherOp, [lines(b, g), lines(b, indices)], { axis: 2 });
      return [reshape(b, taken, x.type.shape), undefined];
    },
    expand: (b, node) => {
      const [x, indices] = node.inputs;
      const { dtype, shape } = node.outs[0].type;
      const zeros = full(b, 0, { dtype, shape: [...shape.slice(0, 2), product(shape.slice(2))] });
      const put = b.make(scatterOp, [zeros, lines(b, indices), lines(b, x)], { axis: 2 });
      return [reshape(b, put, shape)];
    },
    examples: [
      {
        shapes: [
          [1, 2, ...everyWhere(rank, 2)],
          [1, 2, ...everyWhere(rank, 2)],
        ],
        dtypes: ["f32", "i32"],
        attrs: { kernel: 2, size: everyWhere(rank, 5) },
        range: [0, 2 ** rank - 1],
        grad: false,
      },
    ],
  };

  // ------------------------------------------------------------------------------------------- norms of windows

  const lpPool: OpDef = {
    name: named("lp"),
    torch: `F.${named("lp")}`,
    doc: `The p-norm of each window of x ${image}: (sum of x ** p) ** (1 / p), as PyTorch's lp_pool.`,
    fuses: "composite",
    params: [
      tensor("x"),
      float("norm_type"),
      ...poolParams.slice(0, 2),
      ...poolParams.filter((p) => p.name === "ceil_mode"),
    ],
    complete: (types, attrs) => ({
      ...completePool(types, attrs),
      norm_type: attrs.norm_type,
    }),
    infer: (types, attrs, b) => {
      if (numberAt(attrs, "norm_type") === 0)
        fail("E0607", `${named("lp")}: norm_type is 0`, { attr: "norm_type" });
      return pooled(named("lp"))(types, attrs, b);
    },
    expand: (b, node) => {
      const [x] = node.inputs;
      const { norm_type, ...attrs } = node.attrs;
      const p = Number(norm_type);
      // Of a window that hangs over the edge (ceil_mode) PyTorch takes the mean times a whole window's elements.
      const total = mulValues(
        b,
        b.make(avgPool, [pow(b, x, p)], { ...attrs, count_include_pad: true }),
        sizeOf(poolOf(node.attrs).kernel),
      );
      return [pow(b, total, 1 / p)];
    },
    examples: averages.slice(0, 1).map(({ shapes, attrs }) => ({
      shapes,
      attrs: { norm_type: 2, kernel: attrs?.kernel, stride: attrs?.stride },
      range: [0.2, 1],
    })),
  };

  // ------------------------------------------------------------------------------------------ windows themselves

  const windowShape = (x: TensorType, attrs: Attrs, b: Requirer): readonly Dim[] => [
    ...x.shape.slice(0, 2),
    ...poolOf(attrs).kernel.map((n) => dim(n)),
    ...positions(`unfold${rank}d`, x, attrs, b, false),
  ];
  const windows: OpDef = {
    name: `windows${rank}d`,
    doc: `The elements of each window of x ${image}, zeros beside it: [N, C, taps, positions].`,
    fuses: "view",
    exposed: false,
    params: [tensor("x"), ...poolParams],
    complete: completePool,
    infer: ([x], attrs, b) => [{ dtype: x.dtype, shape: windowShape(x, attrs, b) }],
    reference: ([x], attrs, [out]) =>
      eachOfWindows(x.shape, out.shape, poolOf(attrs), (image, window) => {
        out.data[window] = x.data[image];
      }),
    vjp: (b, node, [g]) => [
      g && isFloat(g.type.dtype)
        ? b.make(windowsGrad, [g], withSize(node.attrs, node.inputs[0].type))
        : undefined,
    ],
    lower: (s, node, [n, c, ...at]) => {
      const element = elementAt(s, poolOf(node.attrs), at.slice(rank), at.slice(0, rank));
      return s.read(node.inputs[0], [n, c, ...element], guardOf(node.attrs, 0));
    },
    examples: examples.slice(0, 2),
  };
  const windowsGrad: OpDef = {
    name: `windows${rank}d_grad`,
    doc: `Windows' elements added up where they overlap: [N, C, taps, positions] -> ${image} of the given size.`,
    fuses: "fold",
    exposed: false,
    params: [tensor("g"), ...poolParams, { name: "size", kind: "dims" }],
    complete: completePool,
    infer: toSize,
    reference: ([g], attrs, [out]) =>
      eachOfWindows(out.shape, g.shape, poolOf(attrs), (image, window) => {
        out.data[image] += g.data[window];
      }),
    vjp: (b, node, [h]) => [h && b.make(windows, [h], withoutSize(node.attrs))],
    lower: (s, node, [n, c, ...element]) => {
      const [g] = node.inputs;
      // A tap that is none is masked; it is read where there is one.
      const guard = { outside: 0, guard: along.flatMap((d) => [2 + d, 2 + rank + d]) };
      return overWindows(s, poolOf(node.attrs), element, (window, taps, on) =>
        where(s, on, s.read(g, [n, c, ...taps, ...window], guard)),
      );
    },
    examples: [],
  };
  const unfold: OpDef = {
    name: rank === 2 ? "unfold" : `unfold${rank}d`,
    torch: rank === 2 ? "F.unfold" : "",
    doc: `The elements of each window of x ${image} as columns: [N, C * taps, positions], as PyTorch's unfold (im2col).`,
    fuses: "composite",
    params: [tensor("x"), poolParams[0], perAxis(rank, "stride", { default: 1 }), ...poolParams.slice(2, 4)],
    complete: (types, attrs) =>
      completePool(types, { ...attrs, stride: attrs.stride ?? everyWhere(rank, 1) }),
    infer: ([x], attrs, b) => {
      const [n, c, ...rest] = windowShape(x, attrs, b);
      return [
        { dtype: x.dtype, shape: [n, product([c, ...rest.slice(0, rank)]), product(rest.slice(rank))] },
      ];
    },
    inline: () => true,
    expand: (b, node) => [reshape(b, b.make(windows, [node.inputs[0]], node.attrs), node.outs[0].type.shape)],
    examples: examples
      .slice(0, 2)
      .map(({ shapes, attrs }) => ({ shapes, attrs: { ...attrs, ceil_mode: undefined } })),
  };
  const fold: OpDef = {
    name: rank === 2 ? "fold" : `fold${rank}d`,
    torch: rank === 2 ? "F.fold" : "",
    doc: `Columns of windows [N, C * taps, positions] added up where they overlap: ${image} of the given size, as PyTorch's fold (col2im).`,
    fuses: "composite",
    params: [
      tensor("x"),
      sizesParam("size", { aliases: ["output_size"] }),
      poolParams[0],
      perAxis(rank, "stride", { default: 1 }),
      ...poolParams.slice(2, 4),
    ],
    complete: (types, { size, ...attrs }) => ({
      ...completePool(types, { ...attrs, stride: attrs.stride ?? everyWhere(rank, 1) }),
      size,
    }),
    infer: ([x], attrs, b) => {
      const name = rank === 2 ? "fold" : `fold${rank}d`;
      allowDtypes(name, [x], FLOATS);
      rankOf(name, x, 3, 0, "columns [N, C * taps, positions]");
      const size = dimsAt(attrs, "size");
      if (size.length !== rank)
        fail("E0607", `${name}: ${size.length} sizes for ${rank} axes`, { attr: "size" });
      const taps = sizeOf(poolOf(attrs).kernel);
      const channels = exactQuotient(x.shape[1], taps);
      if (!channels)
        fail("E0302", `${name}: ${x.shape[1].key} rows do not divide by ${taps} taps`, { operand: 0 });
      const shape = [x.shape[0], channels as Dim, ...size];
      const places = product(positions(name, { dtype: x.dtype, shape }, attrs, b, false));
      sameSize(x.shape[2], places, `${name}: positions`, b, () =>
        fail("E0302", `${name}: x has ${x.shape[2].key} positions, an image of this size ${places.key}`, {
          operand: 0,
        }),
      );
      return [{ dtype: x.dtype, shape }];
    },
    inline: () => true,
    expand: (b, node) => {
      const [x] = node.inputs;
      const type = node.outs[0].type;
      const shape = windowShape(type, withoutSize(node.attrs), b);
      return [b.make(windowsGrad, [reshape(b, x, shape)], node.attrs)];
    },
    // The columns of two taps and three places on each axis.
    examples: [
      {
        shapes: [[2, 2 * 2 ** rank, 3 ** rank]],
        attrs: { size: everyWhere(rank, 4), kernel: 2 },
      },
      {
        shapes: [[1, 2 ** rank, 2 ** rank]],
        attrs: { size: everyWhere(rank, 3), kernel: 2, stride: 2, padding: 1, dilation: 2 },
      },
    ],
  };
  return [
    maxPool,
    maxIndex,
    maxGrad,
    maxSelect,
    sumPool,
    sumGrad,
    avgPool,
    maxPlaces,
    maxUnpool,
    lpPool,
    windows,
    windowsGrad,
    unfold,
    fold,
  ];
}
/** Images as lines of elements. */
export function lines(b: Builder, v: Value): Value {
  const { shape } = v.type;
  return reshape(b, v, [...shape.slice(0, 2), product(shape.slice(2))]);
}

const example = (shape: readonly number[], attrs: OpExample["attrs"]): OpExample => ({
  shapes: [shape],
  attrs,
});
const EXAMPLES: readonly { readonly pools: readonly OpExample[]; readonly averages: readonly OpExample[] }[] =
  [
    {
      pools: [
        example([2, 2, 7], { kernel: 3, stride: 2, padding: 1 }),
        example([1, 2, 8], { kernel: 2, stride: 3, dilation: 2, ceil_mode: true }),
      ],
      averages: [
        example([2, 2, 7], { kernel: 3, stride: 2, padding: 1, count_include_pad: false }),
        example([1, 2, 8], { kernel: 3, stride: 2, ceil_mode: true }),
      ],
    },
    {
      pools: [
        example([2, 2, 4, 6], { kernel: [2, 2] }),
        example([1, 2, 5, 5], { kernel: [3, 3], stride: [2, 2], padding: [1, 1] }),
        example([1, 1, 6, 5], { kernel: [3, 2], stride: [2, 1], ceil_mode: true }),
        example([1, 1, 7, 7], { kernel: [2, 3], stride: [1, 2], dilation: [3, 2], padding: [1, 1] }),
      ],
      averages: [
        example([2, 2, 4, 6], { kernel: [2, 2] }),
        example([1, 2, 5, 5], { kernel: [3, 3], stride: [2, 2], padding: [1, 1] }),
        example([1, 2, 5, 5], { kernel: [3, 3], stride: [2, 2], padding: [1, 1], count_include_pad: false }),
        example([1, 1, 6, 5], { kernel: [3, 2], stride: [2, 2], padding: [1, 0], ceil_mode: true }),
      ],
    },
    {
      pools: [
        example([1, 2, 4, 5, 3], {
          kernel: [2, 3, 2],
          stride: [2, 1, 1],
          padding: [1, 0, 1],
          dilation: [1, 2, 1],
        }),
      ],
      averages: [
        example([1, 2, 4, 5, 3], {
          kernel: [2, 3, 2],
          stride: 2,
          padding: [1, 1, 0],
          ceil_mode: true,
          count_include_pad: false,
        }),
      ],
    },
  ];

export const pooling: readonly OpDef[] = RANKS.flatMap((rank) => {
  const { pools: forPools, averages } = EXAMPLES[rank - 1];
  return pools(rank, forPools, averages);
});
/** The sums of an image's windows, of which a norm over neighbouring channels is made. */
export const sumPool2d = pooling.find((op) => op.name === "sum_pool2d") as OpDef;
