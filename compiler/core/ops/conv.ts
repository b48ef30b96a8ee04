// Convolution over n spatial axes (a cross-correlation, as everywhere), and the two operators that are its gradients. In:
// images and filters, [N, C, spatial axes] and [out, C / groups, kernel]. Out: sums of products whose factors depend on one
// operand each. All three are bilinear and each one's gradients are the other two, so derivatives of any order exist. The
// rank is a number: conv1d, conv2d and conv3d are one definition.
import {
  add,
  asConst,
  ceilDiv,
  type Dim,
  dim,
  exactQuotient,
  floorDiv,
  isConst,
  max,
  mod,
  mul,
  ONE,
  sub,
} from "../dims/dim.ts";
import type { Attrs, Builder, ConcreteAttrs, OpDef, OpExample, TensorType, Value } from "../ir/types.ts";
import type { Lowering, Scalar } from "../kernel/scalar.ts";
import { broadcastTo, reshape } from "./axes.ts";
import {
  allowDtypes,
  atLeast,
  dimsAt,
  FLOATS,
  fail,
  full,
  int,
  numberAt,
  numbersAt,
  type Requirer,
  rankOf,
  sameDtypes,
  sameSize,
  tensor,
} from "./define.ts";
import { add as addValues } from "./elementwise.ts";
import { concat } from "./joins.ts";
import { sliceAxis, transpose } from "./movement.ts";
import {
  directions,
  elementAt,
  everyWhere,
  guardAlong,
  imageText,
  knob,
  perAxis,
  RANKS,
  runsOf,
  sizeOf,
  spanOf,
  spatialAxes,
  spatialText,
  type Window,
  windowOf,
} from "./window.ts";

/** Attributes of one convolution; `padding` is in front (top, left), `padding_high` behind. */
interface Conv extends Window {
  readonly groups: number;
}
const convOf = (a: Attrs | ConcreteAttrs): Conv => ({ ...windowOf(a), groups: numberAt(a, "groups") });
/** Each result has all channels of neighbouring elements, and the next one is a step further. */
const isPlain = (attrs: Attrs): boolean =>
  numberAt(attrs, "groups") === 1 &&
  [...numbersAt(attrs, "stride"), ...numbersAt(attrs, "dilation")].every((n) => n === 1);

/** The group of an output channel, and a channel's place in its group. */
const groupOf = (s: Lowering, channel: Scalar, perGroup: Dim, groups: number): Scalar =>
  groups === 1 ? s.dim(0) : s.idiv(channel, perGroup);
const withinGroup = (s: Lowering, channel: Scalar, perGroup: Dim, groups: number): Scalar =>
  groups === 1 ? channel : s.imod(channel, perGroup);

/** Directions in which a window may leave the image. */
const awayOf = (attrs: Attrs, rank: number): readonly number[] =>
  directions(rank).filter(
    (d) => numbersAt(attrs, "padding")[d] !== 0 || numbersAt(attrs, "padding_high")[d] !== 0,
  );

/**
 * Note [phases]. The input gradient of a conv with stride s is a conv with stride 1 for each position modulo s (s * s of them
 * over an image). The operator's result is phase-major, [N, C, s, s, Y, X] for the input's (padded) row s * (Y + origin) +
 * phase: so the image's coordinates stay in one factor and the phase in the filter's, and a schedule sees C * s * s columns.
 * Views (transpose, reshape, slice) bring it back to [N, C, H, W].
 */
function convolutionsOver(rank: number, examples: Examples): readonly OpDef[] {
  const name = `conv${rank}d`;
  const along = directions(rank);
  const axes = spatialAxes(rank);
  const shapeText = spatialText(rank, "N, out", (a) => `O${a.shape}`);
  const weightText = spatialText(rank, "out, in / groups", (a) => a.word);
  const kernelLoops = axes.map((a) => `k${a.loop}`);
  const windowParams = [
    perAxis(rank, "stride", { default: 1 }),
    perAxis(rank, "padding", {
      default: 0,
      doc: `zeros before and after${rank > 1 ? `, [${axes.map((a) => a.knob).join(", ")}]` : ""}`,
    }),
    perAxis(rank, "dilation", { default: 1 }),
    int("groups", { default: 1 }),
    perAxis(rank, "padding_high", { optional: true, doc: "zeros after, where they differ from `padding`" }),
  ];

  // ------------------------------------------------------------------------------------- the convolution

  function checkConv(types: readonly TensorType[], attrs: Attrs, b: Requirer): Conv {
    const [x, w, bias] = types;
    sameDtypes(name, types);
    allowDtypes(name, types, FLOATS);
    rankOf(name, x, 2 + rank, 0, `an input ${imageText(rank)}`);
    rankOf(name, w, 2 + rank, 1, `a weight ${weightText}`);
    const a = convOf(attrs);
    if (a.stride.some((n) => n < 1)) fail("E0607", `${name}: stride must be at least 1`, { attr: "stride" });
    if (a.dilation.some((n) => n < 1))
      fail("E0607", `${name}: dilation must be at least 1`, { attr: "dilation" });
    if (!Number.isInteger(a.groups) || a.groups < 1)
      fail("E0607", `${name}: groups must be at least 1`, { attr: "groups" });
    const [cin, expects, cout] = [x.shape[1], mul(w.shape[1], a.groups), w.shape[0]];
    sameSize(cin, expects, `${name}: input channels`, b, () => {
      const ratio = exactQuotient(cin, w.shape[1]);
      const groups = ratio && asConst(ratio);
      const fits = groups !== undefined && groups > 0 && exactQuotient(cout, groups) !== undefined;
      return fail("E0302", `${name}: input has ${cin.key} channels, weight expects ${expects.key}`, {
        operand: 0,
        help: fits
          ? `change the weight's second size, or set groups = ${groups}`
          : "change the weight's second size",
      });
    });
    if (!exactQuotient(cout, a.groups))
      fail("E0302", `${name}: ${cout.key} output channels do not divide into ${a.groups} groups`, {
        attr: "groups",
      });
    if (bias) {
      rankOf(name, bias, 1, 2, "a bias [out]");
      sameSize(bias.shape[0], cout, `${name}: bias and output channels`, b, () =>
        fail("E0302", `${name}: bias has ${bias.shape[0].key} elements, weight gives ${cout.key} channels`, {
          operand: 2,
        }),
      );
    }
    return a;
  }

  /** PyTorch's words: none, or as much as keeps the size, an odd element of it behind. */
  function paddingOf(word: string, w: TensorType, attrs: Attrs): Attrs {
    if (word === "valid") return { padding: everyWhere(rank, 0), padding_high: everyWhere(rank, 0) };
    if (numbersAt(attrs, "stride").some((n) => n !== 1))
      fail("E0607", `${name}: padding "same" is for a stride of 1`, { attr: "padding" });
    const total = along.map((d) => {
      const kernel = asConst(w.shape[2 + d] ?? ONE);
      if (kernel === undefined)
        return fail("E0506", `${name}: padding "same" needs a kernel of known size`, { attr: "padding" });
      return numbersAt(attrs, "dilation")[d] * (kernel - 1);
    });
    return { padding: total.map((n) => Math.floor(n / 2)), padding_high: total.map((n) => Math.ceil(n / 2)) };
  }

  const conv: OpDef = {
    name,
    doc: `Convolution of x ${imageText(rank)} with weight ${spatialText(rank, "out, C / groups", (a) => a.word)}, plus bias [out].`,
    fuses: "fold",
    params: [
      tensor("x"),
      tensor("weight"),
      tensor("bias", { optional: true }),
      ...windowParams.map((p) => (p.name === "padding" ? { ...p, among: ["same", "valid"] } : p)),
    ],
    complete: ([, w], attrs) => {
      const whole = {
        stride: attrs.stride ?? everyWhere(rank, 1),
        padding: attrs.padding ?? everyWhere(rank, 0),
        dilation: attrs.dilation ?? everyWhere(rank, 1),
        groups: attrs.groups ?? 1,
        padding_high: attrs.padding_high ?? attrs.padding ?? everyWhere(rank, 0),
      };
      return typeof attrs.padding === "string" ? { ...whole, ...paddingOf(attrs.padding, w, whole) } : whole;
    },
    scales: { operand: 1, from: 0, axis: 1 },
    infer: (types, attrs, b) => {
      const [x, w] = types;
      const a = checkConv(types, attrs, b);
      const high = numbersAt(attrs, "padding_high");
      const size = along.map((d) => {
        const extent = add(x.shape[2 + d], a.padding[d], high[d]);
        const window = spanOf(w.shape[2 + d], a.dilation[d]);
        const room = sub(extent, window);
        atLeast(room, dim(0), `${name}: room for the window`, b, () =>
          fail("E0302", `${name}: a window of ${window.key} does not fit into ${extent.key}`, {
            operand: 1,
            help: "add padding, or use a smaller kernel",
          }),
        );
        return add(floorDiv(room, a.stride[d]), 1);
      });
      return [{ dtype: x.dtype, shape: [x.shape[0], w.shape[0], ...size] }];
    },
    inline: (types) => types.length === 3,
    expand: (b, node) => {
      const [x, w, bias] = node.inputs;
      const y = b.make(conv, [x, w], node.attrs);
      return [bias ? plusBias(b, y, bias) : y];
    },
    reference: ([x, w], attrs, [out]) => {
      const [from, into] = [x.data, out.data];
      eachRun(x.shape, w.shape, out.shape, convOf(attrs), (xi, step, wi, oi, count) => {
        const v = w.data[wi];
        for (let k = 0; k < count; k++) into[oi + k] += from[xi + k * step] * v;
      });
    },
    vjp: (b, node, [g]) => {
      const [x, w] = node.inputs;
      if (!g) return [undefined, undefined];
      return [toInput(b, g, w, node.attrs, x.type.shape), toWeight(b, x, g, node.attrs, w.type.shape)];
    },
    lower: (s, node, [n, o, ...position]) => {
      const [x, w] = node.inputs;
      const a = convOf(node.attrs);
      const [cout, perGroup, ...kernel] = w.type.shape;
      const outPerGroup = floorDiv(cout, a.groups);
      const guard = guardAlong(awayOf(node.attrs, rank), 0);
      return s.fold(
        "add",
        [perGroup, ...kernel],
        (c, ...tap) => {
          const channel = s.iadd(s.imul(groupOf(s, o, outPerGroup, a.groups), perGroup), c);
          const image = s.read(x, [n, channel, ...elementAt(s, a, position, tap)], guard);
          return s.call("mul", image, s.read(w, [o, c, ...tap]));
        },
        ["c", ...kernelLoops],
      );
    },
    correlation: ({ inputs: [image, filter], attrs }) =>
      isPlain(attrs) ? { image, filter, offset: numbersAt(attrs, "padding").map((n) => -n) } : undefined,
    examples: examples.conv,
  };

  function plusBias(b: Builder, y: Value, bias: Value): Value {
    const channels = reshape(b, bias, [dim(1), bias.type.shape[0], ...along.map(() => ONE)]);
    return addValues(b, y, broadcastTo(b, channels, y.type.shape));
  }

  // ----------------------------------------------------------------------------------- the input's gradient

  const inputGrad: OpDef = {
    name: `${name}_input_grad`,
    doc: `Gradient of ${name}'s input, phase-major: g ${shapeText}, weight -> [N, C, ${axes.map((a) => `s${a.knob}`).join(", ")}, grid] (see conv.ts, phases).`,
    fuses: "fold",
    exposed: false,
    // `origin` and `grid`: first row of blocks and number of them, per direction, in units of the stride.
    params: [
      tensor("g"),
      tensor("weight"),
      ...windowParams.filter((p) => !p.name.startsWith("padding")),
      perAxis(rank, "origin"),
      { name: "grid", kind: "dims" },
    ],
    infer: ([g, w], attrs) => {
      sameDtypes(`${name}_input_grad`, [g, w]);
      rankOf(`${name}_input_grad`, g, 2 + rank, 0, `a gradient ${shapeText}`);
      const stride = numbersAt(attrs, "stride").map((n) => dim(n));
      return [
        {
          dtype: g.dtype,
          shape: [
            g.shape[0],
            mul(w.shape[1], numberAt(attrs, "groups")),
            ...stride,
            ...dimsAt(attrs, "grid"),
          ],
        },
      ];
    },
    reference: ([g, w], attrs, [out]) => {
      const [stride, origin] = [numbersAt(attrs, "stride"), numbersAt(attrs, "origin")];
      const [N, C] = out.shape;
      const blocks = out.shape.slice(2 + rank);
      const image = blocks.map((n, d) => n * stride[d]);
      const area = sizeOf(image);
      const a = convOf({ ...attrs, padding: origin.map((o, d) => o * stride[d]) });
      eachRun([N, C, ...image], w.shape, g.shape, a, (xi, _step, wi, oi, count) => {
        let rest = xi % area;
        let [phase, block] = [0, 0];
        let [phases, positions] = [1, 1];
        for (let d = rank - 1; d >= 0; d--) {
          const at = rest % image[d];
          rest = Math.floor(rest / image[d]);
          phase += (at % stride[d]) * phases;
          block += Math.floor(at / stride[d]) * positions;
          phases *= stride[d];
          positions *= blocks[d];
        }
        // The next position is a stride further: the same phase of the next block.
        const at = (Math.floor(xi / area) * phases + phase) * positions + block;
        const v = w.data[wi];
        for (let k = 0; k < count; k++) out.data[at + k] += g.data[oi + k] * v;
      });
    },
    vjp: (b, node, [h]) => {
      const [g, w] = node.inputs;
      if (!h) return [undefined, undefined];
      const { image, attrs } = asImage(b, node.attrs, g.type, w.type, fromPhases(b, h, rank), rank);
      const whole = b.make(conv, [image, w], attrs);
      const dg = along.reduce((v, d) => sliceAxis(b, v, 2 + d, 0, g.type.shape[2 + d]), whole);
      return [dg, toWeight(b, image, g, attrs, w.type.shape)];
    },
    lower: (s, node, [n, c, ...at]) => {
      const [g, w] = node.inputs;
      const a = convOf({ ...node.attrs, padding: everyWhere(rank, 0) });
      const [phase, block] = [at.slice(0, rank), at.slice(rank)];
      const origin = numbersAt(node.attrs, "origin");
      const [cout, perGroup, ...kernel] = w.type.shape;
      const outPerGroup = floorDiv(cout, a.groups);
      const channel = withinGroup(s, c, perGroup, a.groups);
      const taps = along.map((d) => phaseTaps(s, a, rank, d, kernel[d], origin[d], phase[d], block[d]));
      return s.fold(
        "add",
        [outPerGroup, ...taps.map((t) => t.count)],
        (o, ...k) => {
          const out = s.iadd(s.imul(groupOf(s, c, perGroup, a.groups), outPerGroup), o);
          const hits = taps.map((t, d) => t.at(k[d]));
          const outside = guardAlong(along, 0);
          let gradient = s.read(g, [n, out, ...hits.map((h) => h.out)], outside);
          for (const { on } of hits) if (on) gradient = s.select(on, gradient, s.const(g.type.dtype, 0));
          const partial = along.filter((d) => hits[d].partial);
          const filter = s.read(w, [out, channel, ...hits.map((h) => h.tap)], guardAlong(partial, 0));
          return s.call("mul", gradient, filter);
        },
        ["o", ...kernelLoops],
      );
    },
    examples: examples.inputGrad,
  };

  /** The gradient of a convolution's input of the given shape. */
  function toInput(b: Builder, g: Value, w: Value, attrs: Attrs, shape: readonly Dim[]): Value {
    const a = convOf(attrs);
    const origin = a.padding.map((p, d) => Math.floor(p / a.stride[d]));
    // Blocks from that of the first (unpadded) row to that of the last.
    const grid = along.map((d) =>
      add(sub(floorDiv(add(shape[2 + d], a.padding[d] - 1), a.stride[d]), origin[d]), 1),
    );
    const { stride, dilation, groups } = a;
    const h = b.make(inputGrad, [g, w], { stride, dilation, groups, origin, grid });
    return along.reduce(
      (v, d) => sliceAxis(b, v, 2 + d, a.padding[d] - origin[d] * a.stride[d], shape[2 + d]),
      fromPhases(b, h, rank),
    );
  }

  // ---------------------------------------------------------------------------------- the weight's gradient

  const weightGrad: OpDef = {
    name: `${name}_weight_grad`,
    doc: `Gradient of ${name}'s weight: x ${imageText(rank)}, g ${shapeText} -> ${spatialText(rank, "out, C / groups", (a) => a.word)}.`,
    fuses: "fold",
    exposed: false,
    params: [tensor("x"), tensor("g"), ...windowParams, { name: "kernel", kind: "dims" }],
    infer: ([x, g], attrs) => {
      sameDtypes(`${name}_weight_grad`, [x, g]);
      rankOf(`${name}_weight_grad`, x, 2 + rank, 0, `an input ${imageText(rank)}`);
      rankOf(`${name}_weight_grad`, g, 2 + rank, 1, `a gradient ${shapeText}`);
      const perGroup = floorDiv(x.shape[1], numberAt(attrs, "groups"));
      return [{ dtype: x.dtype, shape: [g.shape[1], perGroup, ...dimsAt(attrs, "kernel")] }];
    },
    reference: ([x, g], attrs, [out]) => {
      eachRun(x.shape, out.shape, g.shape, convOf(attrs), (xi, step, wi, oi, count) => {
        let total = 0;
        for (let k = 0; k < count; k++) total += x.data[xi + k * step] * g.data[oi + k];
        out.data[wi] += total;
      });
    },
    vjp: (b, node, [h]) => {
      const [x, g] = node.inputs;
      if (!h) return [undefined, undefined];
      const { kernel: _kernel, ...attrs } = node.attrs;
      return [toInput(b, g, h, node.attrs, x.type.shape), b.make(conv, [x, h], attrs)];
    },
    lower: (s, node, [o, c, ...tap]) => {
      const [x, g] = node.inputs;
      const a = convOf(node.attrs);
      const perGroup = node.outs[0].type.shape[1];
      const [batch, cout, ...positions] = g.type.shape;
      const channel = s.iadd(s.imul(groupOf(s, o, floorDiv(cout, a.groups), a.groups), perGroup), c);
      const guard = guardAlong(awayOf(node.attrs, rank), 0);
      return s.fold(
        "add",
        [batch, ...positions],
        (n, ...position) =>
          s.call(
            "mul",
            s.read(x, [n, channel, ...elementAt(s, a, position, tap)], guard),
            s.read(g, [n, o, ...position]),
          ),
        ["n", ...axes.map((x) => x.loop)],
      );
    },
    examples: examples.weightGrad,
  };
  function toWeight(b: Builder, x: Value, g: Value, attrs: Attrs, shape: readonly Dim[]): Value {
    return b.make(weightGrad, [x, g], { ...attrs, kernel: shape.slice(2) });
  }

  // -------------------------------------------------------------------------------------------- transposed

  const transposedName = `conv_transpose${rank}d`;
  const transposedWeight = spatialText(rank, "in, out / groups", (a) => a.word);
  /** What spreads an image as a convolution's gradient does: an output's rows are those of the convolution's input. */
  const transposed: OpDef = {
    name: transposedName,
    doc: `Transposed convolution of x ${imageText(rank)} with weight ${transposedWeight}, plus bias [out]: the gradient of ${name}'s input. \`output_padding\` makes the result larger behind.`,
    fuses: "composite",
    params: [
      tensor("x"),
      tensor("weight"),
      tensor("bias", { optional: true }),
      perAxis(rank, "stride", { default: 1 }),
      perAxis(rank, "padding", { default: 0, doc: "rows left out of the result before and after" }),
      perAxis(rank, "output_padding", {
        default: 0,
        doc: "rows more behind, less than `stride` or `dilation`",
      }),
      int("groups", { default: 1 }),
      perAxis(rank, "dilation", { default: 1 }),
    ],
    infer: (types, attrs, b) => {
      const [x, w, bias] = types;
      sameDtypes(transposedName, types);
      allowDtypes(transposedName, types, FLOATS);
      rankOf(transposedName, x, 2 + rank, 0, `an input ${imageText(rank)}`);
      rankOf(transposedName, w, 2 + rank, 1, `a weight ${transposedWeight}`);
      const a = convOf(attrs);
      const more = numbersAt(attrs, "output_padding");
      if ([...a.stride, ...a.dilation, a.groups].some((n) => n < 1))
        fail("E0607", `${transposedName}: stride, dilation and groups are at least 1`, { attr: "stride" });
      if (a.padding.some((n) => n < 0))
        fail("E0607", `${transposedName}: padding must not be negative`, { attr: "padding" });
      for (const d of along)
        if (more[d] < 0 || more[d] >= Math.max(a.stride[d], a.dilation[d]))
          fail("E0607", `${transposedName}: output_padding must be less than stride or dilation`, {
            attr: "output_padding",
          });
      const [cin, cout] = [w.shape[0], mul(w.shape[1], a.groups)];
      sameSize(x.shape[1], cin, `${transposedName}: input channels`, b, () =>
        fail("E0302", `${transposedName}: input has ${x.shape[1].key} channels, weight expects ${cin.key}`, {
          operand: 0,
          help: "change the weight's first size",
        }),
      );
      if (!exactQuotient(cin, a.groups))
        fail("E0302", `${transposedName}: ${cin.key} input channels do not divide into ${a.groups} groups`, {
          attr: "groups",
        });
      if (bias) {
        rankOf(transposedName, bias, 1, 2, "a bias [out]");
        sameSize(bias.shape[0], cout, `${transposedName}: bias and output channels`, b, () =>
          fail(
            "E0302",
            `${transposedName}: bias has ${bias.shape[0].key} elements, weight gives ${cout.key} channels`,
            { operand: 2 },
          ),
        );
      }
      const size = along.map((d) => {
        if (isConst(x.shape[2 + d], 0))
          fail("E0302", `${transposedName}: axis ${2 + d} of the input is empty`, { operand: 0 });
        const n = add(
          mul(sub(x.shape[2 + d], 1), a.stride[d]),
          spanOf(w.shape[2 + d], a.dilation[d]),
          more[d] - 2 * a.padding[d],
        );
        atLeast(n, dim(1), `${transposedName}: size of the result`, b, () =>
          fail("E0302", `${transposedName}: nothing is left of the result with this padding`, {
            attr: "padding",
          }),
        );
        return n;
      });
      return [{ dtype: x.dtype, shape: [x.shape[0], cout, ...size] }];
    },
    inline: () => true,
    expand: (b, node) => {
      const [x, w, bias] = node.inputs;
      const { output_padding: _more, ...attrs } = node.attrs;
      const y = toInput(b, x, w, attrs, node.outs[0].type.shape);
      return [bias ? plusBias(b, y, bias) : y];
    },
    examples: examples.transposed,
  };

  return [conv, inputGrad, weightGrad, transposed];
}

/**
 * Every pair of an input element and a filter element with the output element they add to, by runs along the last axis of
 * the output: f(input offset, its step, filter offset, output offset, count).
 */
function eachRun(
  x: readonly number[],
  w: readonly number[],
  out: readonly number[],
  a: Conv,
  f: (x: number, step: number, w: number, out: number, count: number) => void,
): void {
  const [N, C, ...image] = x;
  const [O, P, ...kernel] = w;
  const positions = out.slice(2);
  const runs = runsOf(image, kernel, positions, a);
  const [area, taps, places] = [sizeOf(image), sizeOf(kernel), sizeOf(positions)];
  const perGroup = O / a.groups;
  const step = a.stride[a.stride.length - 1];
  for (let n = 0; n < N; n++)
    for (let o = 0; o < O; o++)
      for (let c = 0; c < P; c++) {
        const from = (n * C + Math.floor(o / perGroup) * P + c) * area;
        const filter = (o * P + c) * taps;
        const into = (n * O + o) * places;
        for (const r of runs) f(from + r.image, step, filter + r.tap, into + r.window, r.count);
      }
}

/** Which taps reach phase `p` of block `y`, and from which output position. */
function phaseTaps(
  s: Lowering,
  a: Window,
  rank: number,
  d: number,
  kernel: Dim,
  origin: number,
  p: Scalar,
  y: Scalar,
) {
  const [step, spread] = [a.stride[d], a.dilation[d]];
  const at0 = s.iadd(y, knob(s, rank, "origin", d, origin, 0));
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
function fromPhases(b: Builder, h: Value, rank: number): Value {
  const { shape } = h.type;
  const along = directions(rank);
  const order = [0, 1, ...along.flatMap((d) => [2 + rank + d, 2 + d])];
  return reshape(b, transpose(b, h, order), [
    ...shape.slice(0, 2),
    ...along.map((d) => mul(shape[2 + rank + d], shape[2 + d])),
  ]);
}
/**
 * The conv over the blocks' rows whose input gradient this is. The padding behind gives exactly g's positions where
 * that can be computed; otherwise enough, and the caller cuts the rest off. Where a window's size is known at the call only,
 * zeros stand behind the image instead.
 */
function asImage(
  b: Builder,
  attrs: Attrs,
  g: TensorType,
  w: TensorType,
  rows: Value,
  rank: number,
): { readonly image: Value; readonly attrs: Attrs } {
  const [stride, dilation] = [numbersAt(attrs, "stride"), numbersAt(attrs, "dilation")];
  const padding = numbersAt(attrs, "origin").map((o, d) => o * stride[d]);
  let image = rows;
  const high = directions(rank).map((d) => {
    const window = spanOf(w.shape[2 + d], dilation[d]);
    const reach = add(mul(sub(g.shape[2 + d], 1), stride[d]), window);
    const missing = sub(reach, add(rows.type.shape[2 + d], padding[d]));
    const known = asConst(missing) ?? asConst(window);
    if (known !== undefined) return known;
    const shape = image.type.shape.map((n, i) => (i === 2 + d ? max(missing, 0) : n));
    image = concat(b, [image, full(b, 0, { dtype: image.type.dtype, shape })], 2 + d);
    return 0;
  });
  return { image, attrs: { stride, padding, dilation, groups: attrs.groups, padding_high: high } };
}

// ---------------------------------------------------------------------------------------------- examples

interface Examples {
  readonly conv: readonly OpExample[];
  readonly inputGrad: readonly OpExample[];
  readonly weightGrad: readonly OpExample[];
  readonly transposed: readonly OpExample[];
}
const example = (shapes: readonly (readonly number[])[], attrs: OpExample["attrs"] = {}): OpExample => ({
  shapes,
  attrs,
});
const EXAMPLES: readonly Examples[] = [
  {
    conv: [
      example(
        [
          [2, 3, 9],
          [4, 3, 3],
        ],
        { stride: 2, padding: 1 },
      ),
      example([[1, 4, 8], [6, 2, 3], [6]], { dilation: 2, padding: 1, padding_high: 2, groups: 2 }),
    ],
    inputGrad: [
      example(
        [
          [1, 2, 4],
          [2, 3, 3],
        ],
        { stride: [2], dilation: [1], groups: 1, origin: [1], grid: [4] },
      ),
      example(
        [
          [2, 2, 3],
          [2, 1, 2],
        ],
        { stride: [3], dilation: [2], groups: 2, origin: [0], grid: [3] },
      ),
    ],
    weightGrad: [
      example(
        [
          [2, 4, 7],
          [2, 2, 4],
        ],
        { stride: [2], padding: [1], dilation: [1], groups: 2, padding_high: [1], kernel: [3] },
      ),
    ],
    transposed: [example([[2, 4, 5], [4, 2, 3], [2]], { stride: 2, padding: 1, output_padding: 1 })],
  },
  {
    conv: [
      example([
        [2, 3, 5, 6],
        [4, 3, 3, 2],
      ]),
      example(
        [
          [1, 2, 7, 7],
          [3, 2, 3, 3],
        ],
        { stride: [2, 2], padding: [1, 1] },
      ),
      example(
        [
          [1, 2, 6, 5],
          [2, 2, 3, 3],
        ],
        { stride: [2, 1], padding: [1, 0], padding_high: [0, 2] },
      ),
      example(
        [
          [2, 4, 4, 4],
          [6, 2, 3, 3],
        ],
        { padding: [1, 1], groups: 2 },
      ),
      example(
        [
          [1, 3, 4, 5],
          [3, 1, 3, 3],
        ],
        { padding: [1, 1], groups: 3 },
      ),
      example(
        [
          [1, 2, 7, 8],
          [2, 2, 2, 3],
        ],
        { dilation: [2, 2], padding: [1, 2] },
      ),
      example(
        [
          [1, 1, 9, 9],
          [2, 1, 3, 2],
        ],
        { dilation: [2, 3], stride: [2, 3], padding: [2, 1] },
      ),
      example(
        [
          [1, 1, 9, 8],
          [1, 1, 2, 3],
        ],
        { dilation: [2, 1], stride: [2, 4] },
      ),
      example([[2, 3, 4, 4], [2, 3, 1, 1], [2]], { stride: [2, 2] }),
    ],
    inputGrad: [
      example(
        [
          [1, 2, 3, 3],
          [2, 3, 3, 3],
        ],
        { stride: [1, 1], dilation: [1, 1], groups: 1, origin: [1, 0], grid: [3, 5] },
      ),
      example(
        [
          [1, 2, 3, 2],
          [2, 2, 3, 2],
        ],
        { stride: [2, 2], dilation: [1, 1], groups: 1, origin: [0, 0], grid: [4, 2] },
      ),
      example(
        [
          [1, 4, 2, 2],
          [4, 1, 3, 3],
        ],
        { stride: [2, 3], dilation: [1, 1], groups: 2, origin: [0, 0], grid: [2, 2] },
      ),
      example(
        [
          [1, 1, 3, 2],
          [1, 2, 2, 3],
        ],
        { stride: [3, 2], dilation: [2, 3], groups: 1, origin: [1, 0], grid: [3, 4] },
      ),
    ],
    weightGrad: [
      example(
        [
          [2, 2, 5, 4],
          [2, 3, 5, 4],
        ],
        {
          stride: [1, 1],
          padding: [1, 1],
          dilation: [1, 1],
          groups: 1,
          padding_high: [1, 1],
          kernel: [3, 3],
        },
      ),
      example(
        [
          [1, 4, 6, 5],
          [1, 2, 3, 2],
        ],
        {
          stride: [2, 2],
          padding: [1, 0],
          dilation: [1, 1],
          groups: 2,
          padding_high: [0, 0],
          kernel: [3, 3],
        },
      ),
    ],
    transposed: [
      example(
        [
          [1, 4, 3, 3],
          [4, 1, 3, 2],
        ],
        { stride: [2, 1], padding: [1, 0], groups: 2, dilation: [1, 2] },
      ),
    ],
  },
  {
    conv: [
      example(
        [
          [2, 2, 4, 5, 3],
          [3, 2, 3, 2, 1],
        ],
        { stride: [1, 2, 1], padding: [1, 0, 1] },
      ),
      example([[1, 4, 4, 4, 5], [2, 2, 2, 2, 2], [2]], {
        dilation: [1, 2, 3],
        padding: [0, 1, 0],
        groups: 2,
      }),
    ],
    inputGrad: [
      example(
        [
          [1, 2, 3, 2, 3],
          [2, 1, 2, 3, 1],
        ],
        { stride: [2, 1, 2], dilation: [1, 1, 1], groups: 2, origin: [0, 1, 0], grid: [3, 2, 3] },
      ),
    ],
    weightGrad: [
      example(
        [
          [2, 2, 3, 4, 3],
          [2, 2, 3, 2, 3],
        ],
        {
          stride: [1, 2, 1],
          padding: [1, 0, 0],
          dilation: [1, 1, 1],
          groups: 1,
          padding_high: [1, 0, 0],
          kernel: [3, 2, 1],
        },
      ),
    ],
    transposed: [
      example(
        [
          [1, 2, 2, 3, 2],
          [2, 3, 2, 2, 3],
        ],
        { stride: 2, padding: [0, 1, 1] },
      ),
    ],
  },
];

/** For each rank the convolution, its gradients, and the transposed one. */
export const convolutions: readonly OpDef[] = RANKS.flatMap((rank) =>
  convolutionsOver(rank, EXAMPLES[rank - 1]),
);
