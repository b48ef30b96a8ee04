// Running sums, products and extrema along an axis. In: a tensor and an axis. Out: algorithms (7-schedule/prefix.ts computes
// them in the time of reading), and what is said with them.
import { asConst, dim, symbols } from "../dims/dim.ts";
import { createBuilder, finishGraph } from "../ir/build.ts";
import type { Builder, Dense, DType, Node, OpDef, Value } from "../ir/types.ts";
import type { Combine } from "../kernel/scalar.ts";
import { cast } from "./axes.ts";
import {
  algorithm,
  allowDtypes,
  axis,
  bool,
  boolAt,
  FLOATS,
  full,
  isFloat,
  NUMBERS,
  normalizeAxis,
  numberAt,
  tensor,
} from "./define.ts";
import { eachOffset, stridesOf, times, wrap } from "./dense.ts";
import {
  add,
  and,
  div,
  eq,
  exp,
  ge,
  gt,
  isNanOp,
  log,
  logaddexpOp,
  mul,
  neg,
  or,
  sub,
  where,
} from "./elementwise.ts";
import { concat } from "./joins.ts";
import { gatherGradOp, place } from "./lookup.ts";
import { sliceAxis } from "./movement.ts";
import { makeScan } from "./scan.ts";
import { input } from "./source.ts";

interface Running {
  readonly name: string;
  readonly doc: string;
  readonly combine: Combine;
  readonly exposed?: boolean;
  init(dtype: DType): number;
  f(dtype: DType, before: number, v: number): number;
  vjp(b: Builder, node: Node, g: Value): Value;
  readonly examples: OpDef["examples"];
}
/** What came before an element along the axis, and the element, combined. */
function running(of: Running): readonly [OpDef, OpDef] {
  const { name, doc, combine, examples } = of;
  return algorithm({
    name,
    doc,
    fuses: "fold",
    ...(of.exposed === false ? { exposed: false } : {}),
    params: [tensor("x"), axis("axis", { default: 0 }), bool("reverse", { default: false })],
    complete: ([x], attrs) => ({
      axis: normalizeAxis(name, (attrs.axis as number) ?? 0, x.shape.length),
      reverse: boolAt(attrs, "reverse"),
    }),
    infer: ([x]) => {
      allowDtypes(name, [x], NUMBERS);
      return [x];
    },
    reference: ([x], attrs, [out]) =>
      eachLine(x, numberAt(attrs, "axis"), (start, stride, extent) => {
        let total = of.init(x.dtype);
        for (let k = 0; k < extent; k++) {
          const at = start + (boolAt(attrs, "reverse") ? extent - 1 - k : k) * stride;
          total = of.f(x.dtype, total, x.data[at]);
          out.data[at] = total;
        }
      }),
    vjp: (b, node, [g]) => [g && isFloat(g.type.dtype) ? of.vjp(b, node, g) : undefined],
    lower: (s, node, at) => {
      const x = node.inputs[0];
      const along = numberAt(node.attrs, "axis");
      return s.fold(combine, [x.type.shape[along]], (k) => {
        const v = s.read(
          x,
          at.map((p, i) => (i === along ? k : p)),
        );
        const on = boolAt(node.attrs, "reverse") ? s.call("ge", k, at[along]) : s.call("le", k, at[along]);
        return s.select(on, v, s.const(x.type.dtype, of.init(x.type.dtype)));
      });
    },
    examples,
  });
}
/** Calls `f` for each line along an axis: where it starts, how far apart its elements are, how many there are. */
export function eachLine(
  x: Dense,
  along: number,
  f: (start: number, stride: number, extent: number) => void,
): void {
  const own = stridesOf(x.shape);
  eachOffset(
    x.shape.filter((_, i) => i !== along),
    own.filter((_, i) => i !== along),
    0,
    (_flat, start) => f(start, own[along], x.shape[along]),
  );
}

const examples: OpDef["examples"] = [
  { shapes: [[2, 4]], attrs: { axis: 1 } },
  { shapes: [[3, 2]], attrs: { axis: 0, reverse: true } },
  { shapes: [[2, 70]], attrs: { axis: 1 }, grad: false },
];

// ------------------------------------------------------------------------------------------- sums, products

export const [cumsumOp, cumsumEach] = running({
  name: "cumsum",
  doc: "Running sums along an axis; `reverse` starts at its end.",
  combine: "add",
  init: () => 0,
  f: (dtype, before, v) => wrap(dtype, before + v),
  vjp: (b, node, g) => cumsum(b, g, numberAt(node.attrs, "axis"), !boolAt(node.attrs, "reverse")),
  examples,
});
const cumsum = (b: Builder, x: Value, along: number, reverse: boolean): Value =>
  b.make(cumsumOp, [x], { axis: along, reverse });

export const [cumprodOp, cumprodEach] = running({
  name: "cumprod",
  doc: "Running products along an axis; `reverse` starts at its end.",
  combine: "mul",
  init: () => 1,
  f: times,
  // Of an element before the first zero: the sum of g * y behind it, over the element. Of that zero itself: the same with a 1
  // in its place. What lies behind the first zero is multiplied by it, whatever it is.
  vjp: (b, node, g) => {
    const [x] = node.inputs;
    const [along, reverse] = [numberAt(node.attrs, "axis"), boolAt(node.attrs, "reverse")];
    const zero = eq(b, x, 0);
    const zeros = cumsum(b, cast(b, zero, "i32"), along, reverse);
    const before = eq(b, zeros, 0);
    const first = and(b, zero, eq(b, zeros, 1));
    const behind = (y: Value): Value => cumsum(b, mul(b, g, y), along, !reverse);
    const without = b.make(cumprodOp, [where(b, first, 1, x)], node.attrs);
    const own = div(b, behind(node.outs[0]), where(b, before, x, 1));
    return where(b, before, own, where(b, first, behind(without), 0));
  },
  examples: [
    ...examples,
    { shapes: [[2, 5]], dtypes: ["i32"], attrs: { axis: 1 }, grad: false },
    { shapes: [[6]], attrs: {}, range: [0.5, 2] },
  ],
});

// -------------------------------------------------------------------------------------------------- extrema

const lowest = (t: DType): number => (t === "i32" ? -2147483648 : t === "u32" ? 0 : -Infinity);
const highest = (t: DType): number => (t === "i32" ? 2147483647 : t === "u32" ? 4294967295 : Infinity);

function extremum(which: "max" | "min"): { whole: OpDef; each: OpDef; pair: OpDef } {
  const word = which === "max" ? "largest" : "smallest";
  const [whole, each] = running({
    name: `running_${which}`,
    doc: `The ${word} so far along an axis.`,
    combine: which,
    exposed: false,
    init: which === "max" ? lowest : highest,
    f: (_t, before, v) => (which === "max" ? Math.max(before, v) : Math.min(before, v)),
    vjp: (b, node, g) => {
      const along = numberAt(node.attrs, "axis");
      const index = whence(b, node.inputs[0], node.outs[0], along);
      return b.make(gatherGradOp, [index, g], { axis: along, extent: g.type.shape[along] });
    },
    examples: [
      { shapes: [[2, 4]], attrs: { axis: 1 } },
      { shapes: [[70]], attrs: {}, grad: false },
      { shapes: [[3, 4]], dtypes: ["i32"], attrs: { axis: 1 }, grad: false },
    ],
  });
  /** Where the extremum so far was met last. NaN is one as soon as there is one. */
  const whence = (b: Builder, x: Value, y: Value, along: number): Value => {
    const met = which === "max" ? ge(b, x, y) : ge(b, y, x);
    const hits = isFloat(x.type.dtype) ? or(b, met, b.make(isNanOp, [x])) : met;
    const index = where(b, hits, place(b, x.type.shape, along), 0);
    return b.make(runningMax, [index], { axis: along, reverse: false });
  };
  const pair: OpDef = {
    name: `cum${which}`,
    doc: `(values, indices): the ${word} so far along an axis, and where it was met last (i32); from the first NaN on, NaN.`,
    fuses: "composite",
    params: [tensor("x"), axis("axis", { default: 0 })],
    complete: ([x], attrs) => ({
      axis: normalizeAxis(`cum${which}`, (attrs.axis as number) ?? 0, x.shape.length),
    }),
    infer: ([x]) => {
      allowDtypes(`cum${which}`, [x], NUMBERS);
      return [x, { dtype: "i32", shape: x.shape }];
    },
    inline: () => true,
    expand: (b, node) => {
      const [x] = node.inputs;
      const along = numberAt(node.attrs, "axis");
      const y = b.make(whole, [x], { axis: along, reverse: false });
      return [y, whence(b, x, y, along)];
    },
    examples: [
      { shapes: [[2, 4]], attrs: { axis: 1 } },
      { shapes: [[5]], dtypes: ["i32"], grad: false },
    ],
  };
  return { whole, each, pair };
}
const largest = extremum("max");
const runningMax = largest.whole;
const smallest = extremum("min");

// ------------------------------------------------------------------------------------------- sums of logarithms

/**
 * Each step adds what lies twice as far: no sum of exponentials is ever formed, so that neither a large element nor a small one
 * before it is lost. A length that the call alone knows is gone through one by one.
 */
function logCumulative(b: Builder, x: Value, along: number, reverse: boolean): Value {
  const { dtype, shape } = x.type;
  const count = shape[along];
  const length = asConst(count);
  if (length === undefined) return logLoop(b, x, along, reverse);
  let y = x;
  for (let step = 1; step < length; step *= 2) {
    const none = full(b, Number.NEGATIVE_INFINITY, {
      dtype,
      shape: shape.map((d, i) => (i === along ? dim(step) : d)),
    });
    const kept = sliceAxis(b, y, along, reverse ? step : 0, length - step);
    y = b.make(logaddexpOp, [y, concat(b, reverse ? [kept, none] : [none, kept], along)]);
  }
  return y;
}
function logLoop(b: Builder, x: Value, along: number, reverse: boolean): Value {
  const { dtype } = x.type;
  const shape = x.type.shape.filter((_, i) => i !== along);
  const inner = createBuilder();
  const [own, before] = ["x", "before"].map((name, place) =>
    inner.make(input, [], { name, dtype, shape, place }, name),
  );
  const value = inner.make(logaddexpOp, [before, own]);
  const used = new Set<string>();
  for (const d of shape) symbols(d, used);
  const body = finishGraph({
    name: "logcumsumexp",
    inputs: [own.node, before.node],
    results: [
      { name: "next", value },
      { name: "y", value },
    ],
    symbols: [...used],
  });
  const begin = full(b, Number.NEGATIVE_INFINITY, { dtype, shape });
  const count = x.type.shape[along];
  return makeScan(b, [x, begin], {
    body,
    xs: 1,
    carries: 1,
    axes: [along],
    emitAxes: [along],
    count,
    reverse,
  })[1];
}
export const logcumsumexpOp: OpDef = {
  name: "logcumsumexp",
  doc: "The logarithm of running sums of exponentials along an axis, without overflow; `reverse` starts at its end.",
  fuses: "composite",
  params: [tensor("x"), axis("axis", { default: 0 }), bool("reverse", { default: false })],
  complete: ([x], attrs) => ({
    axis: normalizeAxis("logcumsumexp", (attrs.axis as number) ?? 0, x.shape.length),
    reverse: boolAt(attrs, "reverse"),
  }),
  infer: ([x]) => {
    allowDtypes("logcumsumexp", [x], FLOATS);
    return [x];
  },
  // Of exp(x - y) for all y behind, weighted: positive and negative weights as logarithms, too.
  vjp: (b, node, [g]) => {
    if (!g) return [undefined];
    const [x] = node.inputs;
    const [y] = node.outs;
    const attrs = { axis: numberAt(node.attrs, "axis"), reverse: !boolAt(node.attrs, "reverse") };
    const part = (share: Value): Value => {
      const on = gt(b, share, 0);
      const weight = where(b, on, sub(b, log(b, where(b, on, share, 1)), y), Number.NEGATIVE_INFINITY);
      return exp(b, add(b, x, b.make(logcumsumexpOp, [weight], attrs)));
    };
    return [sub(b, part(g), part(neg(b, g)))];
  },
  expand: (b, node) => [
    logCumulative(b, node.inputs[0], numberAt(node.attrs, "axis"), boolAt(node.attrs, "reverse")),
  ],
  examples,
};

const combines: ReadonlyMap<OpDef, Combine> = new Map([
  [cumsumOp, "add"],
  [cumprodOp, "mul"],
  [largest.whole, "max"],
  [smallest.whole, "min"],
]);
/** How a running operator combines; undefined for any other. */
export const runningOf = (node: Node): Combine | undefined => combines.get(node.op);

export const runnings: readonly OpDef[] = [
  cumsumOp,
  cumsumEach,
  cumprodOp,
  cumprodEach,
  ...[largest, smallest].flatMap((e) => [e.whole, e.each, e.pair]),
  logcumsumexpOp,
];
