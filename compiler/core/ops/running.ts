// Running sums, products and extrema along an axis. In: a tensor and an axis. Out: algorithms (7-schedule/prefix.ts computes
// them in the time of reading), and what is said with them.
import type { Builder, Dense, DType, Node, OpDef, Value } from "../ir/types.ts";
import type { Combine } from "../kernel/scalar.ts";
import { cast } from "./axes.ts";
import {
  algorithm,
  allowDtypes,
  axis,
  bool,
  boolAt,
  isFloat,
  NUMBERS,
  normalizeAxis,
  numberAt,
  tensor,
} from "./define.ts";
import { eachOffset, stridesOf, times, wrap } from "./dense.ts";
import { and, div, eq, ge, isNanOp, mul, or, where } from "./elementwise.ts";
import { gatherGradOp, place } from "./lookup.ts";

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
];
