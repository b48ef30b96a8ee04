// Convolution in two dimensions over NCHW (a cross-correlation, as everywhere), and the two operators that are its
// gradients. In: images and filters. Out: sums of products whose factors depend on one operand each. All three are
// bilinear and each one's gradients are the other two, so derivatives of any order exist.
import {
  add,
  asConst,
  ceilDiv,
  type Dim,
  dim,
  exactQuotient,
  floorDiv,
  isConst,
  mod,
  mul,
  ONE,
  sub,
} from "../dims/dim.ts";
import type { Attrs, Builder, ConcreteAttrs, OpDef, TensorType, Value } from "../ir/types.ts";
import type { Lowering, Scalar } from "../kernel/scalar.ts";
import { broadcastTo, reshape } from "./axes.ts";
import {
  allowDtypes,
  atLeast,
  dimsAt,
  FLOATS,
  fail,
  int,
  numberAt,
  numbersAt,
  pair,
  type Requirer,
  rankOf,
  sameDtypes,
  sameSize,
  tensor,
} from "./define.ts";
import { add as addValues } from "./elementwise.ts";
import { sliceAxis, transpose } from "./movement.ts";

/** Attributes of one convolution; `padding` is in front (top, left), `padding_high` behind. */
interface Window {
  readonly stride: readonly number[];
  readonly padding: readonly number[];
  readonly dilation: readonly number[];
  readonly groups: number;
}
const windowOf = (a: Attrs | ConcreteAttrs): Window => ({
  stride: numbersAt(a, "stride"),
  padding: numbersAt(a, "padding"),
  dilation: numbersAt(a, "dilation"),
  groups: numberAt(a, "groups"),
});
const windowParams = [
  pair("stride", { default: [1, 1] }),
  pair("padding", { default: [0, 0], doc: "zeros before and after, [h, w]" }),
  pair("dilation", { default: [1, 1] }),
  int("groups", { default: 1 }),
  pair("padding_high", { optional: true, doc: "zeros after, where they differ from `padding`" }),
];
const completeWindow: NonNullable<OpDef["complete"]> = (_types, attrs) => ({
  stride: attrs.stride ?? [1, 1],
  padding: attrs.padding ?? [0, 0],
  dilation: attrs.dilation ?? [1, 1],
  groups: attrs.groups ?? 1,
  padding_high: attrs.padding_high ?? attrs.padding ?? [0, 0],
});

/** Elements a dilated window spans. */
export const span = (kernel: Dim, dilation: number): Dim => add(mul(sub(kernel, 1), dilation), 1);

/** The group of an output channel, and a channel's place in its group. */
const groupOf = (s: Lowering, channel: Scalar, perGroup: Dim, groups: number): Scalar =>
  groups === 1 ? s.dim(0) : s.idiv(channel, perGroup);
const withinGroup = (s: Lowering, channel: Scalar, perGroup: Dim, groups: number): Scalar =>
  groups === 1 ? channel : s.imod(channel, perGroup);

/** A kernel parameter where it is not the one that index arithmetic simplifies by. */
const knob = (s: Lowering, name: string, value: number, neutral: number): Dim =>
  value === neutral ? dim(value) : s.opaque(name, value);

// ----------------------------------------------------------------------------------------------- conv2d

function checkConv(types: readonly TensorType[], attrs: Attrs, b: Requirer): Window {
  const [x, w, bias] = types;
  sameDtypes("conv2d", types);
  allowDtypes("conv2d", types, FLOATS);
  rankOf("conv2d", x, 4, 0, "an input [N, C, H, W]");
  rankOf("conv2d", w, 4, 1, "a weight [out, in / groups, height, width]");
  const a = windowOf(attrs);
  if (a.stride.some((n) => n < 1)) fail("E0607", "conv2d: stride must be at least 1", { attr: "stride" });
  if (a.dilation.some((n) => n < 1))
    fail("E0607", "conv2d: dilation must be at least 1", { attr: "dilation" });
  if (!Number.isInteger(a.groups) || a.groups < 1)
    fail("E0607", "conv2d: groups must be at least 1", { attr: "groups" });
  const [cin, expects, cout] = [x.shape[1], mul(w.shape[1], a.groups), w.shape[0]];
  sameSize(cin, expects, "conv2d: input channels", b, () => {
    const ratio = exactQuotient(cin, w.shape[1]);
    const groups = ratio && asConst(ratio);
    const fits = groups !== undefined && groups > 0 && exactQuotient(cout, groups) !== undefined;
    return fail("E0302", `conv2d: input has ${cin.key} channels, weight expects ${expects.key}`, {
      operand: 0,
      help: fits
        ? `change the weight's second size, or set groups = ${groups}`
        : "change the weight's second size",
    });
  });
  if (!exactQuotient(cout, a.groups))
    fail("E0302", `conv2d: ${cout.key} output channels do not divide into ${a.groups} groups`, {
      attr: "groups",
    });
  if (bias) {
    rankOf("conv2d", bias, 1, 2, "a bias [out]");
    sameSize(bias.shape[0], cout, "conv2d: bias and output channels", b, () =>
      fail("E0302", `conv2d: bias has ${bias.shape[0].key} elements, weight gives ${cout.key} channels`, {
        operand: 2,
      }),
    );
  }
  return a;
}

export const conv2dOp: OpDef = {
  name: "conv2d",
  doc: "Convolution of x [N, C, H, W] with weight [out, C / groups, height, width], plus bias [out].",
  fuses: "fold",
  params: [tensor("x"), tensor("weight"), tensor("bias", { optional: true }), ...windowParams],
  complete: completeWindow,
  infer: (types, attrs, b) => {
    const [x, w] = types;
    const a = checkConv(types, attrs, b);
    const high = numbersAt(attrs, "padding_high");
    const size = [0, 1].map((i) => {
      const room = sub(add(x.shape[2 + i], a.padding[i], high[i]), span(w.shape[2 + i], a.dilation[i]));
      atLeast(room, dim(0), "conv2d: room for the window", b, () =>
        fail(
          "E0302",
          `conv2d: a window of ${span(w.shape[2 + i], a.dilation[i]).key} does not fit into ${add(x.shape[2 + i], a.padding[i], high[i]).key}`,
          {
            operand: 1,
            help: "add padding, or use a smaller kernel",
          },
        ),
      );
      return add(floorDiv(room, a.stride[i]), 1);
    });
    return [{ dtype: x.dtype, shape: [x.shape[0], w.shape[0], ...size] }];
  },
  inline: (types) => types.length === 3,
  expand: (b, node) => {
    const [x, w, bias] = node.inputs;
    const y = b.make(conv2dOp, [x, w], node.attrs);
    return [
      bias
        ? addValues(
            b,
            y,
            broadcastTo(b, reshape(b, bias, [dim(1), bias.type.shape[0], ONE, ONE]), y.type.shape),
          )
        : y,
    ];
  },
  reference: ([x, w], attrs, [out]) => {
    const a = windowOf(attrs);
    const [from, into] = [x.data, out.data];
    eachRow(x.shape, w.shape, out.shape, a, (xi, step, wi, oi, count) => {
      const v = w.data[wi];
      for (let k = 0; k < count; k++) into[oi + k] += from[xi + k * step] * v;
    });
  },
  vjp: (b, node, [g]) => {
    const [x, w] = node.inputs;
    if (!g) return [undefined, undefined];
    return [inputGrad(b, g, w, node.attrs, x.type.shape), weightGrad(b, x, g, node.attrs, w.type.shape)];
  },
  lower: (s, node, [n, o, y, q]) => {
    const [x, w] = node.inputs;
    const a = windowOf(node.attrs);
    const [cout, perGroup, kh, kw] = w.type.shape;
    const outPerGroup = floorDiv(cout, a.groups);
    const guard = [2, 3].filter((i) => mayLeave(node.attrs, i - 2));
    return s.fold(
      "add",
      [perGroup, kh, kw],
      (c, i, j) => {
        const channel = s.iadd(s.imul(groupOf(s, o, outPerGroup, a.groups), perGroup), c);
        const row = tap(s, a, 0, y, i);
        const column = tap(s, a, 1, q, j);
        const image = s.read(x, [n, channel, row, column], guard.length ? { outside: 0, guard } : undefined);
        return s.call("mul", image, s.read(w, [o, c, i, j]));
      },
      ["c", "ky", "kx"],
    );
  },
  examples: [
    {
      shapes: [
        [2, 3, 5, 6],
        [4, 3, 3, 2],
      ],
    },
    {
      shapes: [
        [1, 2, 7, 7],
        [3, 2, 3, 3],
      ],
      attrs: { stride: [2, 2], padding: [1, 1] },
    },
    {
      shapes: [
        [1, 2, 6, 5],
        [2, 2, 3, 3],
      ],
      attrs: { stride: [2, 1], padding: [1, 0], padding_high: [0, 2] },
    },
    {
      shapes: [
        [2, 4, 4, 4],
        [6, 2, 3, 3],
      ],
      attrs: { padding: [1, 1], groups: 2 },
    },
    {
      shapes: [
        [1, 3, 4, 5],
        [3, 1, 3, 3],
      ],
      attrs: { padding: [1, 1], groups: 3 },
    },
    {
      shapes: [
        [1, 2, 7, 8],
        [2, 2, 2, 3],
      ],
      attrs: { dilation: [2, 2], padding: [1, 2] },
    },
    {
      shapes: [
        [1, 1, 9, 9],
        [2, 1, 3, 2],
      ],
      attrs: { dilation: [2, 3], stride: [2, 3], padding: [2, 1] },
    },
    {
      shapes: [
        [1, 1, 9, 8],
        [1, 1, 2, 3],
      ],
      attrs: { dilation: [2, 1], stride: [2, 4] },
    },
    { shapes: [[2, 3, 4, 4], [2, 3, 1, 1], [2]], attrs: { stride: [2, 2] } },
  ],
};
/** The coordinate of tap `i` of output position `y`. */
function tap(s: Lowering, a: Window, d: 0 | 1, y: Scalar, i: Scalar): Scalar {
  const hw = d === 0 ? "h" : "w";
  return s.iadd(
    s.imul(y, knob(s, `stride_${hw}`, a.stride[d], 1)),
    s.imul(i, knob(s, `dilation_${hw}`, a.dilation[d], 1)),
    sub(dim(0), knob(s, `padding_${hw}`, a.padding[d], 0)),
  );
}
const mayLeave = (attrs: Attrs, d: number): boolean =>
  numbersAt(attrs, "padding")[d] !== 0 || numbersAt(attrs, "padding_high")[d] !== 0;

/**
 * Every pair of an input element and a filter element with the output element they add to, by rows of the output:
 * f(input offset, its step, filter offset, output offset, count).
 */
function eachRow(
  x: readonly number[],
  w: readonly number[],
  out: readonly number[],
  a: Window,
  f: (x: number, step: number, w: number, out: number, count: number) => void,
): void {
  const [N, C, H, W] = x;
  const [O, P, KH, KW] = w;
  const [, , OH, OW] = out;
  const perGroup = O / a.groups;
  const step = a.stride[1];
  for (let n = 0; n < N; n++)
    for (let o = 0; o < O; o++)
      for (let c = 0; c < P; c++) {
        const channel = (n * C + Math.floor(o / perGroup) * P + c) * H * W;
        for (let i = 0; i < KH; i++)
          for (let j = 0; j < KW; j++) {
            const wi = ((o * P + c) * KH + i) * KW + j;
            // Positions whose tap lies inside the row.
            const shift = j * a.dilation[1] - a.padding[1];
            const first = Math.max(0, Math.ceil(-shift / step));
            const count = Math.min(OW - 1, Math.floor((W - 1 - shift) / step)) + 1 - first;
            if (count <= 0) continue;
            for (let y = 0; y < OH; y++) {
              const h = y * a.stride[0] + i * a.dilation[0] - a.padding[0];
              if (h < 0 || h >= H) continue;
              f(channel + h * W + first * step + shift, step, wi, ((n * O + o) * OH + y) * OW + first, count);
            }
          }
      }
}

// ------------------------------------------------------------------------------------- the input's gradient

/**
 * Note [phases]. The input gradient of a conv with stride s is s * s convs with stride 1, one per position modulo s.
 * The operator's result is phase-major, [N, C, s, s, Y, X] for the input's (padded) row s * (Y + origin) + phase:
 * so the image's coordinates stay in one factor and the phase in the filter's, and a schedule sees C * s * s columns.
 * Views (transpose, reshape, slice) bring it back to [N, C, H, W].
 */
export const conv2dInputGradOp: OpDef = {
  name: "conv2d_input_grad",
  doc: "Gradient of conv2d's input, phase-major: g [N, out, OH, OW], weight -> [N, C, sh, sw, grid] (see conv.ts, phases).",
  fuses: "fold",
  exposed: false,
  // `origin` and `grid`: first row of blocks and number of them, per direction, in units of the stride.
  params: [
    tensor("g"),
    tensor("weight"),
    ...windowParams.filter((p) => !p.name.startsWith("padding")),
    pair("origin"),
    { name: "grid", kind: "dims" },
  ],
  infer: ([g, w], attrs) => {
    sameDtypes("conv2d_input_grad", [g, w]);
    rankOf("conv2d_input_grad", g, 4, 0, "a gradient [N, out, OH, OW]");
    const stride = numbersAt(attrs, "stride").map((n) => dim(n));
    return [
      {
        dtype: g.dtype,
        shape: [g.shape[0], mul(w.shape[1], numberAt(attrs, "groups")), ...stride, ...dimsAt(attrs, "grid")],
      },
    ];
  },
  reference: ([g, w], attrs, [out]) => {
    const [sh, sw] = numbersAt(attrs, "stride");
    const [N, C, , , Y, X] = out.shape;
    const image = [N, C, Y * sh, X * sw];
    const origin = numbersAt(attrs, "origin");
    const a = { ...windowOf({ ...attrs, padding: [origin[0] * sh, origin[1] * sw] }) };
    eachRow(image, w.shape, g.shape, a, (xi, _step, wi, oi, count) => {
      const column = xi % (X * sw);
      const row = Math.floor(xi / (X * sw)) % (Y * sh);
      const channel = Math.floor(xi / (X * sw * Y * sh));
      // The next position is a stride further: the same phase of the next block.
      const at =
        (((channel * sh + (row % sh)) * sw + (column % sw)) * Y + Math.floor(row / sh)) * X +
        Math.floor(column / sw);
      const v = w.data[wi];
      for (let k = 0; k < count; k++) out.data[at + k] += g.data[oi + k] * v;
    });
  },
  vjp: (b, node, [h]) => {
    const [g, w] = node.inputs;
    if (!h) return [undefined, undefined];
    const image = fromPhases(b, h);
    const attrs = blockAttrs(node.attrs, g.type, w.type, image.type);
    const whole = b.make(conv2dOp, [image, w], attrs);
    const dg = [2, 3].reduce((v, i) => sliceAxis(b, v, i, 0, g.type.shape[i]), whole);
    return [dg, weightGrad(b, image, g, attrs, w.type.shape)];
  },
  lower: (s, node, [n, c, py, px, by, bx]) => {
    const [g, w] = node.inputs;
    const a = windowOf({ ...node.attrs, padding: [0, 0] });
    const origin = numbersAt(node.attrs, "origin");
    const [cout, perGroup] = w.type.shape;
    const outPerGroup = floorDiv(cout, a.groups);
    const channel = withinGroup(s, c, perGroup, a.groups);
    const rows = phaseTaps(s, a, 0, w.type.shape[2], origin[0], py, by);
    const columns = phaseTaps(s, a, 1, w.type.shape[3], origin[1], px, bx);
    return s.fold(
      "add",
      [outPerGroup, rows.count, columns.count],
      (o, i, j) => {
        const out = s.iadd(s.imul(groupOf(s, c, perGroup, a.groups), outPerGroup), o);
        const [r, q] = [rows.at(i), columns.at(j)];
        let gradient = s.read(g, [n, out, r.out, q.out], { outside: 0, guard: [2, 3] });
        for (const on of [r.on, q.on]) if (on) gradient = s.select(on, gradient, s.const(g.type.dtype, 0));
        const guard = [...(r.partial ? [2] : []), ...(q.partial ? [3] : [])];
        const filter = s.read(
          w,
          [out, channel, r.tap, q.tap],
          guard.length ? { outside: 0, guard } : undefined,
        );
        return s.call("mul", gradient, filter);
      },
      ["o", "ky", "kx"],
    );
  },
  examples: [
    {
      shapes: [
        [1, 2, 3, 3],
        [2, 3, 3, 3],
      ],
      attrs: { stride: [1, 1], dilation: [1, 1], groups: 1, origin: [1, 0], grid: [3, 5] },
    },
    {
      shapes: [
        [1, 2, 3, 2],
        [2, 2, 3, 2],
      ],
      attrs: { stride: [2, 2], dilation: [1, 1], groups: 1, origin: [0, 0], grid: [4, 2] },
    },
    {
      shapes: [
        [1, 4, 2, 2],
        [4, 1, 3, 3],
      ],
      attrs: { stride: [2, 3], dilation: [1, 1], groups: 2, origin: [0, 0], grid: [2, 2] },
    },
    {
      shapes: [
        [1, 1, 3, 2],
        [1, 2, 2, 3],
      ],
      attrs: { stride: [3, 2], dilation: [2, 3], groups: 1, origin: [1, 0], grid: [3, 4] },
    },
  ],
};
/** Which taps reach phase `p` of block `y`, and from which output position. */
function phaseTaps(s: Lowering, a: Window, d: 0 | 1, kernel: Dim, origin: number, p: Scalar, y: Scalar) {
  const hw = d === 0 ? "h" : "w";
  const [step, spread] = [a.stride[d], a.dilation[d]];
  const at0 = s.iadd(y, knob(s, `origin_${hw}`, origin, 0));
  if (spread === 1 || step === 1) {
    // Row s * Y + p is hit by taps p, p + s, p + 2s, …, each one output position further back.
    return {
      count: ceilDiv(kernel, step),
      at: (j: Scalar) => ({
        tap: s.iadd(p, s.imul(j, step)),
        out: s.iadd(at0, s.imul(j, -spread)),
        on: undefined,
        partial: !isConst(mod(kernel, step), 0),
      }),
    };
  }
  // Stride and dilation: every tap, where the distance is a multiple of the stride. The shift keeps it >= 0.
  const shift = mul(kernel, spread);
  return {
    count: kernel,
    at: (i: Scalar) => {
      const distance = s.iadd(s.imul(at0, step), p, s.imul(i, -spread), mul(shift, step));
      return {
        tap: i,
        out: s.iadd(s.idiv(distance, step), sub(dim(0), shift)),
        on: s.call("eq", s.imod(distance, step), s.dim(0)),
        partial: false,
      };
    },
  };
}
/** [N, C, sh, sw, Y, X] -> [N, C, Y * sh, X * sw]. */
function fromPhases(b: Builder, h: Value): Value {
  const [n, c, sh, sw, y, x] = h.type.shape;
  return reshape(b, transpose(b, h, [0, 1, 4, 2, 5, 3]), [n, c, mul(y, sh), mul(x, sw)]);
}
/**
 * The conv over the blocks' rows whose input gradient this is. The padding behind gives exactly g's positions where
 * that can be computed; otherwise enough, and the caller cuts the rest off.
 */
function blockAttrs(attrs: Attrs, g: TensorType, w: TensorType, image: TensorType): Attrs {
  const [stride, dilation] = [numbersAt(attrs, "stride"), numbersAt(attrs, "dilation")];
  const padding = numbersAt(attrs, "origin").map((o, i) => o * stride[i]);
  const high = [0, 1].map((i) => {
    const window = span(w.shape[2 + i], dilation[i]);
    const reach = add(mul(sub(g.shape[2 + i], 1), stride[i]), window);
    return asConst(sub(reach, add(image.shape[2 + i], padding[i]))) ?? asConst(window) ?? 0;
  });
  return { stride, padding, dilation, groups: attrs.groups, padding_high: high };
}
/** The gradient of a conv2d's input of the given shape. */
function inputGrad(b: Builder, g: Value, w: Value, attrs: Attrs, shape: readonly Dim[]): Value {
  const a = windowOf(attrs);
  const origin = a.padding.map((p, i) => Math.floor(p / a.stride[i]));
  // Blocks from that of the first (unpadded) row to that of the last.
  const grid = [0, 1].map((i) =>
    add(sub(floorDiv(add(shape[2 + i], a.padding[i] - 1), a.stride[i]), origin[i]), 1),
  );
  const h = b.make(conv2dInputGradOp, [g, w], {
    stride: a.stride,
    dilation: a.dilation,
    groups: a.groups,
    origin,
    grid,
  });
  const image = fromPhases(b, h);
  return [2, 3].reduce(
    (v, i) => sliceAxis(b, v, i, a.padding[i - 2] - origin[i - 2] * a.stride[i - 2], shape[i]),
    image,
  );
}

// ------------------------------------------------------------------------------------ the weight's gradient

export const conv2dWeightGradOp: OpDef = {
  name: "conv2d_weight_grad",
  doc: "Gradient of conv2d's weight: x [N, C, H, W], g [N, out, OH, OW] -> [out, C / groups, height, width].",
  fuses: "fold",
  exposed: false,
  params: [tensor("x"), tensor("g"), ...windowParams, { name: "kernel", kind: "dims" }],
  infer: ([x, g], attrs) => {
    sameDtypes("conv2d_weight_grad", [x, g]);
    rankOf("conv2d_weight_grad", x, 4, 0, "an input [N, C, H, W]");
    rankOf("conv2d_weight_grad", g, 4, 1, "a gradient [N, out, OH, OW]");
    const perGroup = floorDiv(x.shape[1], numberAt(attrs, "groups"));
    return [{ dtype: x.dtype, shape: [g.shape[1], perGroup, ...dimsAt(attrs, "kernel")] }];
  },
  reference: ([x, g], attrs, [out]) => {
    eachRow(x.shape, out.shape, g.shape, windowOf(attrs), (xi, step, wi, oi, count) => {
      let total = 0;
      for (let k = 0; k < count; k++) total += x.data[xi + k * step] * g.data[oi + k];
      out.data[wi] += total;
    });
  },
  vjp: (b, node, [h]) => {
    const [x, g] = node.inputs;
    if (!h) return [undefined, undefined];
    return [
      inputGrad(b, g, h, node.attrs, x.type.shape),
      b.make(conv2dOp, [x, h], withoutKernel(node.attrs)),
    ];
  },
  lower: (s, node, [o, c, i, j]) => {
    const [x, g] = node.inputs;
    const a = windowOf(node.attrs);
    const perGroup = node.outs[0].type.shape[1];
    const outPerGroup = floorDiv(g.type.shape[1], a.groups);
    const channel = s.iadd(s.imul(groupOf(s, o, outPerGroup, a.groups), perGroup), c);
    const guard = [2, 3].filter((k) => mayLeave(node.attrs, k - 2));
    return s.fold(
      "add",
      [g.type.shape[0], g.type.shape[2], g.type.shape[3]],
      (n, y, q) =>
        s.call(
          "mul",
          s.read(
            x,
            [n, channel, tap(s, a, 0, y, i), tap(s, a, 1, q, j)],
            guard.length ? { outside: 0, guard } : undefined,
          ),
          s.read(g, [n, o, y, q]),
        ),
      ["n", "y", "x"],
    );
  },
  examples: [
    {
      shapes: [
        [2, 2, 5, 4],
        [2, 3, 5, 4],
      ],
      attrs: {
        stride: [1, 1],
        padding: [1, 1],
        dilation: [1, 1],
        groups: 1,
        padding_high: [1, 1],
        kernel: [3, 3],
      },
    },
    {
      shapes: [
        [1, 4, 6, 5],
        [1, 2, 3, 2],
      ],
      attrs: {
        stride: [2, 2],
        padding: [1, 0],
        dilation: [1, 1],
        groups: 2,
        padding_high: [0, 0],
        kernel: [3, 3],
      },
    },
  ],
};
function weightGrad(b: Builder, x: Value, g: Value, attrs: Attrs, shape: readonly Dim[]): Value {
  return b.make(conv2dWeightGradOp, [x, g], { ...attrs, kernel: [shape[2], shape[3]] });
}
function withoutKernel(attrs: Attrs): Attrs {
  const { kernel: _kernel, ...rest } = attrs;
  return rest;
}

export const convolutions: readonly OpDef[] = [conv2dOp, conv2dInputGradOp, conv2dWeightGradOp];
