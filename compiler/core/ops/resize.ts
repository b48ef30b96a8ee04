// Images at another size: interpolate, grid_sample, pixel_shuffle and back. In: [N, C, spatial axes]. Out: views, and sums of
// few of them with weights.
// One axis at a time: out element o lies at ((2 o + 1) num - den) / (2 den) of the old axis, or at o num / den where the corners
// are aligned, for two integers num and den (the sizes, or what a scale is as a fraction), so that which elements are its
// neighbours is exact, whatever a device's division gives. `resample` is the view of the neighbour `tap` steps from the one
// below; its gradient looks through the few out elements that can have an element for a neighbour, so nothing scatters.
import {
  add,
  asConst,
  ceilDiv,
  type Dim,
  dim,
  floorDiv,
  max as maxDim,
  mul,
  product,
  sub,
} from "../dims/dim.ts";
import type { Attrs, Builder, ConcreteAttrs, OpDef, TensorType, Value } from "../ir/types.ts";
import type { Lowering, Scalar } from "../kernel/scalar.ts";
import { averagePool } from "./adaptive.ts";
import { broadcastTo, cast, onAxis, reshape, sum } from "./axes.ts";
import {
  allowDtypes,
  axis,
  bool,
  boolAt,
  dimAt,
  dimsAt,
  FLOATS,
  fail,
  int,
  isFloat,
  numberAt,
  type Requirer,
  sameDtypes,
  sameSize,
  shapeText,
  size,
  sizes,
  sizeValue,
  tensor,
  typeText,
  word,
} from "./define.ts";
import { sizeOf } from "./dense.ts";
import {
  abs,
  add as addValues,
  and,
  div,
  floorOp,
  ge,
  gt,
  le,
  lt,
  mul as mulValues,
  rem,
  roundOp,
  sub as subValues,
  where,
} from "./elementwise.ts";
import { concat } from "./joins.ts";
import { place, takeOp } from "./lookup.ts";
import { sliceAxis, transpose } from "./movement.ts";

// ------------------------------------------------------------------------------------------- one axis at a time

/** Where out elements lie on the old axis: the numerator of their place, and what it is over. */
interface Places {
  readonly num: Dim;
  readonly den: Dim;
  readonly align: boolean;
}
/** Which element is the one below: of the element's centre, or its edge (PyTorch's nearest), or the nearest to the centre. */
type Below = "centre" | "edge" | "exact";
const belowFor = (attrs: Attrs | ConcreteAttrs): Below =>
  boolAt(attrs, "exact") ? "exact" : boolAt(attrs, "nearest") ? "edge" : "centre";
const placesOf = (attrs: Attrs): Places => ({
  num: dimAt(attrs, "num"),
  den: dimAt(attrs, "den"),
  align: boolAt(attrs, "align"),
});
/** Twice the denominator where halves occur. */
const unitOf = (p: Places): Dim => (p.align ? p.den : mul(p.den, 2));
/** The element at or below a place, from -1 on. */
function belowAt(s: Lowering, p: Places, o: Scalar, rule: Below): Scalar {
  if (p.align || rule === "edge") return s.idiv(s.imul(o, p.num), p.den);
  if (rule === "exact") return s.idiv(s.iadd(s.imul(o, mul(p.num, 2)), p.num), mul(p.den, 2));
  const unit = unitOf(p);
  // A unit up, so that it is not negative.
  return s.iadd(s.idiv(s.iadd(s.imul(o, mul(p.num, 2)), p.num, sub(unit, p.den)), unit), -1);
}
const belowOf = (a: ConcreteAttrs, o: number): number => {
  const [num, den] = [numberAt(a, "num"), numberAt(a, "den")];
  const rule = belowFor(a);
  if (boolAt(a, "align") || rule === "edge") return Math.floor((o * num) / den);
  if (rule === "exact") return Math.floor(((2 * o + 1) * num) / (2 * den));
  return Math.floor(((2 * o + 1) * num - den) / (2 * den));
};

const resampleParams: OpDef["params"] = [
  axis("axis"),
  int("tap"),
  bool("nearest"),
  bool("exact", { optional: true }),
  bool("align"),
  size("num"),
  size("den"),
  size("size"),
];
const resized = (name: string): OpDef["infer"] => {
  return ([x], attrs) => {
    allowDtypes(name, [x], [...FLOATS, "i32", "u32", "bool"]);
    return [{ dtype: x.dtype, shape: x.shape.map((d, i) => (i === attrs.axis ? dimAt(attrs, "size") : d)) }];
  };
};
export const resampleOp: OpDef = {
  name: "resample",
  doc: "Along an axis, for each element of another size the element `tap` steps from the one below its place, or the first or last.",
  fuses: "view",
  exposed: false,
  params: [tensor("x"), ...resampleParams],
  infer: resized("resample"),
  reference: ([x], attrs, [out]) =>
    eachSample(x.shape, out.shape, attrs, (from, to) => {
      out.data[to] = x.data[from];
    }),
  vjp: (b, node, [g]) => {
    const [x] = node.inputs;
    if (!g || !isFloat(g.type.dtype)) return [undefined];
    return [b.make(resampleGradOp, [g], { ...node.attrs, size: x.type.shape[numberAt(node.attrs, "axis")] })];
  },
  lower: (s, node, at) => {
    const [x] = node.inputs;
    const axis = numberAt(node.attrs, "axis");
    const below = belowAt(s, placesOf(node.attrs), at[axis], belowFor(node.attrs));
    const there = clampTo(s, s.iadd(below, numberAt(node.attrs, "tap")), sub(x.type.shape[axis], 1));
    return s.read(
      x,
      at.map((p, i) => (i === axis ? there : p)),
    );
  },
  examples: [
    {
      shapes: [[2, 3]],
      attrs: { axis: 1, tap: 1, nearest: false, align: false, num: 3, den: 7, size: 7 },
    },
    {
      shapes: [[5, 2]],
      attrs: { axis: 0, tap: 0, nearest: true, align: false, num: 5, den: 3, size: 3 },
    },
  ],
};
const clampTo = (s: Lowering, index: Scalar, last: Dim): Scalar =>
  s.call("min", s.call("max", index, s.dim(0)), s.dim(last));

export const resampleGradOp: OpDef = {
  name: "resample_grad",
  doc: "The gradient of resample: for each element of the old size, the sum over those that it was taken for.",
  fuses: "fold",
  exposed: false,
  params: [tensor("g"), ...resampleParams],
  infer: resized("resample_grad"),
  reference: ([g], attrs, [out]) =>
    eachSample(out.shape, g.shape, attrs, (from, to) => {
      out.data[from] += g.data[to];
    }),
  vjp: (b, node, [h]) => {
    const [g] = node.inputs;
    return [
      h && b.make(resampleOp, [h], { ...node.attrs, size: g.type.shape[numberAt(node.attrs, "axis")] }),
    ];
  },
  lower: (s, node, at) => {
    const [g] = node.inputs;
    const axis = numberAt(node.attrs, "axis");
    const tap = numberAt(node.attrs, "tap");
    const rule = belowFor(node.attrs);
    const p = placesOf(node.attrs);
    const count = g.type.shape[axis];
    const last = sub(node.outs[0].type.shape[axis], 1);
    const h = at[axis];
    // Its places lie in [h - tap, h - tap + 1), and at the ends what was moved there comes from two more. In out elements,
    // with one to spare at both ends.
    const num = maxDim(p.num, 1);
    const reach = 1 + 2 * Math.max(1, Math.abs(tap));
    const most = add(ceilDiv(mul(p.den, reach), num), 2);
    const from = s.iadd(h, -tap - Math.max(1, Math.abs(tap)));
    const first = s.iadd(s.idiv(s.call("max", s.imul(from, p.den), s.dim(0)), num), -1);
    return s.fold("add", [most], (k) => {
      const o = s.iadd(first, k);
      const inside = s.call("and", s.call("ge", o, s.dim(0)), s.call("lt", o, s.dim(count)));
      const safe = clampTo(s, o, sub(count, 1));
      const taken = clampTo(s, s.iadd(belowAt(s, p, safe, rule), tap), last);
      const hit = s.call("and", inside, s.call("eq", taken, h));
      const value = s.read(
        g,
        at.map((q, i) => (i === axis ? safe : q)),
      );
      return s.select(hit, value, s.const(g.type.dtype, 0));
    });
  },
  examples: [
    {
      shapes: [[2, 7]],
      attrs: { axis: 1, tap: -1, nearest: false, align: false, num: 3, den: 7, size: 3 },
    },
  ],
};
/** Offsets of each out element and of what it takes. */
function eachSample(
  from: readonly number[],
  to: readonly number[],
  attrs: ConcreteAttrs,
  f: (from: number, to: number) => void,
): void {
  const axis = numberAt(attrs, "axis");
  const inner = sizeOf(from.slice(axis + 1));
  const outer = sizeOf(from.slice(0, axis));
  for (let p = 0; p < outer; p++)
    for (let o = 0; o < to[axis]; o++) {
      const at = Math.min(Math.max(belowOf(attrs, o) + numberAt(attrs, "tap"), 0), from[axis] - 1);
      for (let k = 0; k < inner; k++) f((p * from[axis] + at) * inner + k, (p * to[axis] + o) * inner + k);
    }
}

/** How far behind the element below it each out element of an axis lies, [size] in f32. */
function fractions(b: Builder, p: Places, count: Dim, cubic: boolean): Value {
  const o = place(b, [count], 0);
  const num = sizeValue(b, p.num);
  const unit = sizeValue(b, unitOf(p));
  const scaled = p.align
    ? mulValues(b, o, broadcastTo(b, num, o.type.shape))
    : subValues(
        b,
        mulValues(b, addValues(b, mulValues(b, o, 2), 1), broadcastTo(b, num, o.type.shape)),
        broadcastTo(b, sizeValue(b, p.den), o.type.shape),
      );
  // PyTorch keeps places of linear modes at the first element, those of the cubic one beyond it.
  const at = cubic ? scaled : where(b, ge(b, scaled, 0), scaled, 0);
  const left = rem(b, at, broadcastTo(b, unit, at.type.shape));
  return div(b, cast(b, left, "f32"), broadcastTo(b, cast(b, unit, "f32"), left.type.shape));
}

/** The weights of the neighbours by tap, of which they are functions of the fraction. */
type Weights = readonly { readonly tap: number; readonly weight: (b: Builder, t: Value) => Value }[];
const LINEAR: Weights = [
  { tap: 0, weight: (b, t) => subValues(b, 1, t) },
  { tap: 1, weight: (_b, t) => t },
];
const NEAREST: Weights = [{ tap: 0, weight: (_b, t) => t }];
/** Keys' kernel with PyTorch's a. */
const A = -0.75;
const near = (b: Builder, t: Value): Value =>
  // (a + 2) t^3 - (a + 3) t^2 + 1
  addValues(b, mulValues(b, mulValues(b, subValues(b, mulValues(b, t, A + 2), A + 3), t), t), 1);
const far = (b: Builder, t: Value): Value =>
  // a t^3 - 5 a t^2 + 8 a t - 4 a
  subValues(
    b,
    mulValues(b, addValues(b, mulValues(b, subValues(b, mulValues(b, t, A), 5 * A), t), 8 * A), t),
    4 * A,
  );
const CUBIC: Weights = [
  { tap: -1, weight: (b, t) => far(b, addValues(b, t, 1)) },
  { tap: 0, weight: near },
  { tap: 1, weight: (b, t) => near(b, subValues(b, 1, t)) },
  { tap: 2, weight: (b, t) => far(b, subValues(b, 2, t)) },
];

function resizeAxis(b: Builder, x: Value, axis: number, count: Dim, p: Places, mode: string): Value {
  const attrs = { axis, align: p.align, num: p.num, den: p.den, size: count };
  const tap = (n: number, nearest: boolean): Value => b.make(resampleOp, [x], { ...attrs, tap: n, nearest });
  if (mode === "nearest") return tap(0, true);
  if (mode === "nearest-exact")
    return b.make(resampleOp, [x], { ...attrs, tap: 0, nearest: true, exact: true });
  const cubic = mode === "bicubic";
  const t = fractions(b, p, count, cubic);
  const lifted = (v: Value, like: TensorType): Value =>
    broadcastTo(b, onAxis(b, cast(b, v, like.dtype), like.shape, axis), like.shape);
  return (cubic ? CUBIC : LINEAR)
    .map(({ tap: n, weight }) => {
      const v = tap(n, false);
      return mulValues(b, v, lifted(weight(b, t), v.type));
    })
    .reduce((sum, v) => addValues(b, sum, v));
}

/** A number as a fraction of small integers. */
function fraction(x: number): readonly [number, number] {
  let best: readonly [number, number] = [Math.max(1, Math.round(x)), 1];
  for (let den = 1; den <= 1000; den++) {
    const num = Math.round(x * den);
    if (num > 0 && Math.abs(num / den - x) < Math.abs(best[0] / best[1] - x) - 1e-12) best = [num, den];
  }
  return best;
}

const MODES = ["nearest", "nearest-exact", "linear", "bilinear", "trilinear", "bicubic", "area"];
const PICKS = ["nearest", "nearest-exact"];
const RANK_OF: Readonly<Record<string, number>> = { linear: 1, bilinear: 2, trilinear: 3, bicubic: 2 };

export const interpolateOp: OpDef = {
  name: "interpolate",
  torch: "F.interpolate",
  doc: "x [N, C, spatial axes] at another size, as PyTorch's interpolate: `size` (a number or one an axis) or `scale`; mode is nearest, nearest-exact, linear, bilinear, trilinear, bicubic or area (means of what an element covers); `align_corners` lays first and last elements over each other.",
  fuses: "composite",
  params: [
    tensor("x"),
    sizes("size", { optional: true }),
    { name: "scale", kind: "float", optional: true, aliases: ["scale_factor"] },
    word("mode", { default: "nearest", among: MODES }),
    bool("align_corners", { default: false }),
  ],
  complete: ([x], attrs) => {
    const rank = x.shape.length - 2;
    const given = attrs.size === undefined ? undefined : dimsAt(attrs, "size");
    const scale = attrs.scale as number | undefined;
    if ((given === undefined) === (scale === undefined))
      fail("E0601", "interpolate takes a size or a scale", { attr: "size" });
    if (scale !== undefined && !(scale > 0))
      fail("E0607", "interpolate: scale is not above 0", { attr: "scale" });
    const [num, den] = scale === undefined ? [1, 1] : fraction(scale);
    const size = given
      ? given.length === 1
        ? x.shape.slice(2).map(() => given[0])
        : given
      : x.shape.slice(2).map((d) => floorDiv(mul(d, num), den));
    if (size.length !== rank)
      fail("E0607", `interpolate: ${size.length} sizes for ${rank} spatial axes`, { attr: "size" });
    return {
      size,
      ...(scale === undefined ? {} : { scale }),
      mode: attrs.mode ?? "nearest",
      align_corners: boolAt(attrs, "align_corners"),
    };
  },
  infer: ([x], attrs) => {
    const mode = String(attrs.mode);
    const rank = x.shape.length - 2;
    if (rank < 1 || rank > 3)
      fail("E0304", `interpolate takes [N, C, spatial axes], given ${typeText(x)}`, { operand: 0 });
    if (!PICKS.includes(mode)) allowDtypes("interpolate", [x], FLOATS);
    if (RANK_OF[mode] !== undefined && RANK_OF[mode] !== rank)
      fail("E0606", `interpolate: mode ${mode} is of ${RANK_OF[mode]} spatial axes, x has ${rank}`, {
        attr: "mode",
      });
    if (RANK_OF[mode] === undefined && boolAt(attrs, "align_corners"))
      fail("E0606", "interpolate: align_corners is for linear and cubic modes", { attr: "align_corners" });
    return [{ dtype: x.dtype, shape: [...x.shape.slice(0, 2), ...dimsAt(attrs, "size")] }];
  },
  inline: (_types, attrs) => RANK_OF[String(attrs.mode)] === undefined,
  expand: (b, node) => {
    const [x] = node.inputs;
    if (node.attrs.mode === "area") {
      const pool = averagePool(x.type.shape.length - 2);
      return [b.make(pool, [x], { size: node.attrs.size })];
    }
    const align = boolAt(node.attrs, "align_corners");
    const scale = node.attrs.scale as number | undefined;
    return [
      dimsAt(node.attrs, "size").reduce((y, count, d) => {
        const old = y.type.shape[2 + d];
        if (old.key === count.key && scale === undefined) return y;
        const [up, down] = scale === undefined ? [count, old] : fraction(scale).map((n) => dim(n));
        const p: Places = align
          ? { num: sub(old, 1), den: maxDim(sub(count, 1), 1), align }
          : { num: down, den: up, align };
        return resizeAxis(b, y, 2 + d, count, p, String(node.attrs.mode));
      }, x),
    ];
  },
  examples: [
    { shapes: [[1, 2, 3, 2]], attrs: { scale: 2 } },
    { shapes: [[2, 1, 5, 4]], attrs: { size: [3, 7] } },
    { shapes: [[2, 1, 5, 4]], attrs: { size: [3, 7], mode: "nearest-exact" } },
    { shapes: [[2, 1, 5, 4]], attrs: { size: [3, 7], mode: "area" } },
    { shapes: [[1, 2, 3, 4]], attrs: { size: [6, 5], mode: "bilinear" } },
    { shapes: [[1, 1, 4, 3]], attrs: { size: [3, 5], mode: "bilinear", align_corners: true } },
    { shapes: [[1, 1, 4, 3]], attrs: { size: [6, 2], mode: "bicubic" } },
    { shapes: [[1, 2, 4]], attrs: { scale: 1.5, mode: "linear" } },
    { shapes: [[1, 1, 2, 3, 2]], attrs: { size: [3, 2, 4], mode: "trilinear" } },
  ],
};

// -------------------------------------------------------------------------------------------------- grid_sample

const PADDINGS = ["zeros", "border", "reflection"];
export const gridSampleOp: OpDef = {
  name: "grid_sample",
  torch: "F.grid_sample",
  doc: "x [N, C, spatial axes] read at places of a grid [N, out axes, axes], as PyTorch's grid_sample: the last axis is (x, y) or (x, y, z), -1 and 1 are the image's edges (the centres of its first and last elements with `align_corners`). mode bilinear (trilinear for three axes), nearest, or bicubic (of two axes); beyond the image are zeros, its border or its reflection (`padding`).",
  fuses: "composite",
  params: [
    tensor("x"),
    tensor("grid"),
    word("mode", { default: "bilinear", among: ["bilinear", "nearest", "bicubic"] }),
    word("padding", { default: "zeros", among: PADDINGS, aliases: ["padding_mode"] }),
    bool("align_corners", { default: false }),
  ],
  complete: (_types, attrs) => ({
    mode: attrs.mode ?? "bilinear",
    padding: attrs.padding ?? "zeros",
    align_corners: boolAt(attrs, "align_corners"),
  }),
  infer: ([x, grid], attrs, b) => {
    sameDtypes("grid_sample", [x, grid]);
    allowDtypes("grid_sample", [x], FLOATS);
    const rank = x.shape.length - 2;
    if (rank < 2 || rank > 3)
      fail("E0304", `grid_sample takes images [N, C, H, W] or [N, C, D, H, W], given ${typeText(x)}`, {
        operand: 0,
      });
    if (attrs.mode === "bicubic" && rank !== 2)
      fail("E0606", "grid_sample: mode bicubic is of images [N, C, H, W]", { attr: "mode" });
    checkGrid(x, grid, b);
    return [{ dtype: x.dtype, shape: [...x.shape.slice(0, 2), ...grid.shape.slice(1, -1)] }];
  },
  vjp: (b, node, [g], backward) => {
    const [x, grid] = node.inputs;
    return g
      ? backward(b, [gridSample(b, x, grid, node.attrs, true)], [g], [x, grid])
      : [undefined, undefined];
  },
  expand: (b, node) => [gridSample(b, node.inputs[0], node.inputs[1], node.attrs)],
  examples: [
    {
      shapes: [
        [2, 2, 3, 4],
        [2, 2, 3, 2],
      ],
    },
    {
      shapes: [
        [1, 2, 3, 4],
        [1, 3, 2, 2],
      ],
      attrs: { mode: "nearest", padding: "border" },
      grad: false,
    },
    {
      shapes: [
        [1, 1, 4, 3],
        [1, 3, 3, 2],
      ],
      attrs: { padding: "reflection", align_corners: true },
      range: [-2, 2],
    },
    {
      shapes: [
        [1, 2, 2, 3, 2],
        [1, 2, 1, 2, 3],
      ],
    },
    {
      shapes: [
        [1, 2, 3, 4],
        [1, 2, 2, 2],
      ],
      attrs: { mode: "bicubic", padding: "border" },
    },
  ],
};
function checkGrid(x: TensorType, grid: TensorType, b: Requirer): void {
  const rank = x.shape.length - 2;
  const refuse = (): never =>
    fail("E0302", `grid_sample: grid ${shapeText(grid.shape)} for ${shapeText(x.shape)}`, {
      operand: 1,
      help: `a grid is [N, ${rank === 2 ? "H, W" : "D, H, W"}, ${rank}]`,
    });
  if (grid.shape.length !== rank + 2) refuse();
  sameSize(x.shape[0], grid.shape[0], "grid_sample: images and grids", b, refuse);
  sameSize(grid.shape[rank + 1], dim(rank), "grid_sample: coordinates of the grid", b, refuse);
}
/** Where a point's value comes from: a corner of the cell around it. */
interface Corner {
  /** The element among those of all images, [N, points]. */
  readonly row: Value;
  /** How much of it, [N, points]; all where absent. */
  readonly weight: Value | undefined;
}
function cornersOf(b: Builder, x: TensorType, grid: Value, attrs: Attrs): readonly Corner[] {
  const rank = x.shape.length - 2;
  const [n, , ...image] = x.shape;
  const points = product(grid.type.shape.slice(1, -1));
  const align = boolAt(attrs, "align_corners");
  const padding = String(attrs.padding);
  const nearest = attrs.mode === "nearest";
  const cubic = attrs.mode === "bicubic";
  const { dtype } = grid.type;
  const shape = [n, points];
  const flat = reshape(b, grid, [n, points, dim(rank)]);
  const float = (d: Dim): Value => broadcastTo(b, cast(b, sizeValue(b, d), dtype), shape);
  const movedInside = (p: Value, extent: Value): Value => {
    if (padding === "zeros") return p;
    const inside = padding === "reflection" ? reflected(b, p, extent, align) : p;
    return clampBetween(b, inside, subValues(b, extent, 1));
  };
  // Coordinates in elements, outermost axis first: the grid has them innermost first.
  const at = image.map((size, d) => {
    const g = reshape(b, sliceAxis(b, flat, 2, rank - 1 - d, 1), shape);
    const extent = float(size);
    const p = align
      ? mulValues(b, mulValues(b, addValues(b, g, 1), 0.5), subValues(b, extent, 1))
      : mulValues(b, subValues(b, mulValues(b, addValues(b, g, 1), extent), 1), 0.5);
    // A cubic's neighbours are moved inside one by one.
    return cubic ? p : movedInside(p, extent);
  });
  const low = at.map((p) => b.make(nearest ? roundOp : floorOp, [p]));
  const corners: Corner[] = [];
  const visit = (d: number, row: Value, weight: Value | undefined): void => {
    if (d === rank) {
      corners.push({ row, weight });
      return;
    }
    const t = subValues(b, at[d], low[d]);
    const extent = float(image[d]);
    const last = subValues(b, extent, 1);
    for (const { tap, weight: of } of nearest ? NEAREST : cubic ? CUBIC : LINEAR) {
      const beside = tap === 0 ? low[d] : addValues(b, low[d], tap);
      const there = cubic ? movedInside(beside, extent) : beside;
      const seen = and(b, ge(b, there, 0), le(b, there, last));
      const share = nearest ? cast(b, seen, dtype) : where(b, seen, of(b, t), 0);
      // Moved inside, the nearest is always there.
      const own = nearest && padding !== "zeros" ? undefined : share;
      const index = cast(b, clampBetween(b, there, last), "i32");
      const size = broadcastTo(b, sizeValue(b, image[d]), shape);
      const both = weight && own ? mulValues(b, weight, own) : (weight ?? own);
      visit(d + 1, addValues(b, mulValues(b, row, size), index), both);
    }
  };
  visit(0, place(b, shape, 0), undefined);
  return corners;
}
/**
 * Corner by corner, or, `stacked`, all corners of all points by one look-up: then the image's gradient is one sum by index,
 * and channels are added up once for the grid's.
 */
function gridSample(b: Builder, x: Value, grid: Value, attrs: Attrs, stacked = false): Value {
  const [n, c, ...image] = x.type.shape;
  const out = grid.type.shape.slice(1, -1);
  const corners = cornersOf(b, x.type, grid, attrs);
  // Channels innermost: rows of elements.
  const moved = transpose(b, x, [0, ...image.map((_, d) => 2 + d), 1]);
  const rows = reshape(b, moved, [mul(n, product(image)), c]);
  const read = (row: Value, weight: Value | undefined): Value => {
    const taken = b.make(takeOp, [rows, row], { axis: 0 });
    if (!weight) return taken;
    const column = reshape(b, weight, [...weight.type.shape, dim(1)]);
    return mulValues(b, taken, broadcastTo(b, column, taken.type.shape));
  };
  const all = (values: readonly Value[]): Value =>
    concat(
      b,
      values.map((v) => reshape(b, v, [dim(1), ...v.type.shape])),
      0,
    );
  const weights = corners.flatMap(({ weight }) => weight ?? []);
  const total = stacked
    ? sum(b, read(all(corners.map(({ row }) => row)), weights.length > 0 ? all(weights) : undefined), [0])
    : corners.map(({ row, weight }) => read(row, weight)).reduce((p, q) => addValues(b, p, q));
  return reshape(b, transpose(b, total, [0, 2, 1]), [n, c, ...out]);
}
/** Between 0 and the last element; the gradient of what is moved is 0. */
const clampBetween = (b: Builder, p: Value, last: Value): Value => {
  const low = where(b, gt(b, p, 0), p, 0);
  return where(b, lt(b, low, last), low, last);
};
/** Mirrored at the image's edges, or at the centres of its first and last elements, as often as it takes. */
function reflected(b: Builder, p: Value, extent: Value, align: boolean): Value {
  const span = align ? subValues(b, extent, 1) : extent;
  const from = align ? p : addValues(b, p, 0.5);
  const far_ = abs(b, from);
  // One element is its own mirror image.
  const length = where(b, le(b, span, 0), 1, span);
  const turns = b.make(floorOp, [div(b, far_, length)]);
  const extra = subValues(b, far_, mulValues(b, turns, length));
  const even = le(b, rem(b, turns, 2), 0.5);
  const there = where(b, even, extra, subValues(b, length, extra));
  const kept = where(b, le(b, span, 0), 0, there);
  return align ? kept : subValues(b, kept, 0.5);
}

// ------------------------------------------------------------------------------------- channels as pixels, and back

const shuffle = (name: "pixel_shuffle" | "pixel_unshuffle", doc: string): OpDef => ({
  name,
  torch: `F.${name}`,
  doc,
  fuses: "composite",
  params: [tensor("x"), int("factor", { aliases: ["upscale_factor", "downscale_factor"] })],
  infer: ([x], attrs) => {
    const r = numberAt(attrs, "factor");
    if (r < 1) fail("E0607", `${name}: factor is at least 1`, { attr: "factor" });
    if (x.shape.length < 3)
      fail("E0304", `${name} takes [..., C, H, W], given ${typeText(x)}`, { operand: 0 });
    const [c, h, w] = x.shape.slice(-3);
    const refuse = (what: string, d: Dim, by: number): never =>
      fail("E0302", `${name}: ${d.key} ${what} do not divide by ${by}`, { operand: 0 });
    const quotient = (what: string, d: Dim, by: number): Dim => {
      const n = asConst(d);
      if (n !== undefined && n % by !== 0) refuse(what, d, by);
      return floorDiv(d, by);
    };
    const shape =
      name === "pixel_shuffle"
        ? [quotient("channels", c, r * r), mul(h, r), mul(w, r)]
        : [mul(c, r * r), quotient("rows", h, r), quotient("columns", w, r)];
    return [{ dtype: x.dtype, shape: [...x.shape.slice(0, -3), ...shape] }];
  },
  inline: () => true,
  expand: (b, node) => {
    const [x] = node.inputs;
    const r = dim(numberAt(node.attrs, "factor"));
    const outer = x.type.shape.slice(0, -3);
    const rank = outer.length;
    const keep = outer.map((_, i) => i);
    const { shape } = node.outs[0].type;
    const [c, h, w] = (name === "pixel_shuffle" ? x.type : node.outs[0].type).shape.slice(-3);
    const channels = floorDiv(c, mul(r, r));
    if (name === "pixel_shuffle") {
      const apart = reshape(b, x, [...outer, channels, r, r, h, w]);
      return [reshape(b, transpose(b, apart, [...keep, ...[0, 3, 1, 4, 2].map((i) => rank + i)]), shape)];
    }
    const apart = reshape(b, x, [...outer, x.type.shape[rank], h, r, w, r]);
    return [reshape(b, transpose(b, apart, [...keep, ...[0, 2, 4, 1, 3].map((i) => rank + i)]), shape)];
  },
  examples: [
    { shapes: [name === "pixel_shuffle" ? [2, 8, 2, 3] : [2, 2, 4, 6]], attrs: { factor: 2 } },
    { shapes: [name === "pixel_shuffle" ? [9, 2, 1] : [1, 6, 3]], attrs: { factor: 3 } },
  ],
});

export const resizes: readonly OpDef[] = [
  resampleOp,
  resampleGradOp,
  interpolateOp,
  gridSampleOp,
  shuffle(
    "pixel_shuffle",
    "[..., C * r * r, H, W] -> [..., C, H * r, W * r]: channels become pixels (PyTorch's pixel_shuffle; ONNX's DepthToSpace of mode CRD).",
  ),
  shuffle(
    "pixel_unshuffle",
    "[..., C, H * r, W * r] -> [..., C * r * r, H, W]: pixels become channels (PyTorch's pixel_unshuffle).",
  ),
];
