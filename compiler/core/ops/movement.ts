// Movement: transpose, slice, flip, pad. In: tensors. Out: the same elements at other coordinates; views are index
// arithmetic in whatever reads them. What joins and parts tensors is in joins.ts.
import { add, type Dim, dim, isConst, mul, sub } from "../dims/dim.ts";
import type { Attrs, Builder, OpDef, TensorType, Value } from "../ir/types.ts";
import type { Scalar } from "../kernel/scalar.ts";
import { sum } from "./axes.ts";
import {
  atLeast,
  axes,
  dimsAt,
  fail,
  float,
  ints,
  isFloat,
  normalizeAxes,
  normalizeAxis,
  numberAt,
  numbersAt,
  sizes,
  tensor,
  typeText,
  word,
  zerosLike,
} from "./define.ts";
import { eachOffset, stridesOf } from "./dense.ts";
import { add as addValues } from "./elementwise.ts";

// -------------------------------------------------------------------------------------------- transpose

export const transposeOp: OpDef = {
  name: "transpose",
  torch: "torch.permute",
  doc: "Axis i of the result is axis perm[i] of x; without perm the last two axes swap.",
  fuses: "view",
  along: (b, { attrs }, [x]) => transpose(b, x, [0, ...numbersAt(attrs, "perm").map((p) => p + 1)]),
  params: [tensor("x"), ints("perm", { optional: true })],
  complete: ([x], attrs) => {
    const rank = x.shape.length;
    if (attrs.perm === undefined) {
      if (rank < 2) fail("E0304", `transpose needs two axes to swap, given ${typeText(x)}`, { operand: 0 });
      return { ...attrs, perm: x.shape.map((_, i) => (i < rank - 2 ? i : 2 * rank - 3 - i)) };
    }
    return {
      ...attrs,
      perm: numbersAt(attrs, "perm").map((a) => normalizeAxis("transpose", a, rank, "perm")),
    };
  },
  infer: ([x], attrs) => {
    const perm = numbersAt(attrs, "perm");
    if (perm.length !== x.shape.length || new Set(perm).size !== perm.length)
      fail("E0305", `transpose: [${perm.join(", ")}] does not name each axis of ${typeText(x)} once`, {
        attr: "perm",
        help: "name all of them in their new order, as in transpose(x, [0, 2, 1])",
      });
    return [{ dtype: x.dtype, shape: perm.map((p) => x.shape[p]) }];
  },
  reference: ([x], attrs, [out]) => {
    const strides = stridesOf(x.shape);
    eachOffset(
      out.shape,
      numbersAt(attrs, "perm").map((p) => strides[p]),
      0,
      (flat, o) => {
        out.data[flat] = x.data[o];
      },
    );
  },
  vjp: (b, node, [g]) => [g && transpose(b, g, inverse(numbersAt(node.attrs, "perm")))],
  comesFrom: (node, part) => [
    { operand: 0, part: inverse(numbersAt(node.attrs, "perm")).map((i) => part[i]) },
  ],
  lower: (s, node, at) =>
    s.read(
      node.inputs[0],
      inverse(numbersAt(node.attrs, "perm")).map((i) => at[i]),
    ),
  examples: [
    { shapes: [[2, 3]] },
    { shapes: [[2, 3, 4]], attrs: { perm: [2, 0, 1] } },
    { shapes: [[2, 3, 4, 2]], attrs: { perm: [0, 2, 1, -1] } },
  ],
};
const inverse = (perm: readonly number[]): readonly number[] => perm.map((_, i) => perm.indexOf(i));
export function transpose(b: Builder, x: Value, perm: readonly number[]): Value {
  if (perm.every((p, i) => p === i)) return x;
  if (x.node.op !== transposeOp) return b.make(transposeOp, [x], { perm: [...perm] });
  // Of a transposed one, in one step: a matrix that is turned twice is the matrix.
  const before = numbersAt(x.node.attrs, "perm");
  return transpose(
    b,
    x.node.inputs[0],
    perm.map((p) => before[p]),
  );
}
/** True for what is the last two axes of something swapped. */
export const isTurned = ({ node }: Value): boolean => {
  if (node.op !== transposeOp) return false;
  const perm = numbersAt(node.attrs, "perm");
  const rank = perm.length;
  return perm.every((p, i) => p === (i < rank - 2 ? i : 2 * rank - 3 - i));
};
/** The last two axes swapped. */
export const swapLast = (b: Builder, x: Value): Value => {
  const rank = x.type.shape.length;
  return transpose(
    b,
    x,
    x.type.shape.map((_, i) => (i < rank - 2 ? i : 2 * rank - 3 - i)),
  );
};

// ------------------------------------------------------------------------------------------------ slice

/** The last coordinate a slice of `size` reads along an axis, counted from its start. */
const reach = (size: Dim, step: number): Dim => mul(sub(size, 1), step);

export const sliceOp: OpDef = {
  name: "slice",
  torch: "x[a:b:step]",
  doc: "Per axis `sizes` elements from `starts` on, `steps` apart (negative steps walk backwards). In the language: x[a:b:step].",
  fuses: "view",
  along: (b, { attrs }, [x], extent) =>
    b.make(sliceOp, [x], {
      starts: [dim(0), ...dimsAt(attrs, "starts")],
      sizes: [extent, ...dimsAt(attrs, "sizes")],
      steps: [1, ...numbersAt(attrs, "steps")],
    }),
  params: [tensor("x"), sizes("starts"), sizes("sizes"), ints("steps", { optional: true })],
  complete: ([x], attrs) => ({ ...attrs, steps: attrs.steps ?? x.shape.map(() => 1) }),
  infer: ([x], attrs, b) => {
    const [starts, counts, steps] = [
      dimsAt(attrs, "starts"),
      dimsAt(attrs, "sizes"),
      numbersAt(attrs, "steps"),
    ];
    const rank = x.shape.length;
    if (starts.length !== rank || counts.length !== rank || steps.length !== rank)
      fail("E0304", `slice: starts, sizes and steps name each of the ${rank} axes`, { operand: 0 });
    x.shape.forEach((extent, i) => {
      if (steps[i] === 0) fail("E0607", "slice: a step of 0", { attr: "steps" });
      atLeast(counts[i], dim(0), `slice: size of axis ${i}`, b, () =>
        fail("E0306", `slice: axis ${i} would have ${counts[i].key} elements`, { attr: "sizes" }),
      );
      if (isConst(counts[i], 0)) return;
      const far = add(starts[i], reach(counts[i], steps[i]));
      const [low, high] = steps[i] > 0 ? [starts[i], far] : [far, starts[i]];
      atLeast(low, dim(0), `slice: start of axis ${i}`, b, () => outside(x, i));
      atLeast(extent, add(high, 1), `slice: end of axis ${i}`, b, () => outside(x, i));
    });
    return [{ dtype: x.dtype, shape: counts }];
  },
  reference: ([x], attrs, [out]) => {
    const [starts, steps] = [numbersAt(attrs, "starts"), numbersAt(attrs, "steps")];
    const strides = stridesOf(x.shape);
    const start = starts.reduce((sum, s, i) => sum + s * strides[i], 0);
    eachOffset(
      out.shape,
      strides.map((s, i) => s * steps[i]),
      start,
      (flat, o) => {
        out.data[flat] = x.data[o];
      },
    );
  },
  vjp: (b, node, [g]) => {
    const x = node.inputs[0];
    if (!g) return [undefined];
    const [starts, counts, steps] = [
      dimsAt(node.attrs, "starts"),
      dimsAt(node.attrs, "sizes"),
      numbersAt(node.attrs, "steps"),
    ];
    if (counts.some((c) => isConst(c, 0))) return [zerosLike(b, x)];
    const forwards = flip(
      b,
      g,
      steps.map((s, i) => (s < 0 ? i : -1)).filter((i) => i >= 0),
    );
    const low = starts.map((s, i) => (steps[i] < 0 ? add(s, reach(counts[i], steps[i])) : s));
    const high = x.type.shape.map((d, i) => sub(d, add(low[i], reach(counts[i], Math.abs(steps[i])), 1)));
    return [
      pad(
        b,
        forwards,
        low,
        high,
        0,
        steps.map((s) => Math.abs(s) - 1),
      ),
    ];
  },
  comesFrom: (node, part) => {
    const [starts, steps] = [dimsAt(node.attrs, "starts"), numbersAt(node.attrs, "steps")];
    const inside = part.map(({ start, size, step }, i) => {
      const [first, by] = [add(starts[i], mul(start, steps[i])), step * steps[i]];
      return { start: by < 0 ? add(first, reach(size, by)) : first, size, step: Math.abs(by) };
    });
    return [{ operand: 0, part: inside }];
  },
  lower: (s, node, at) => {
    const [starts, steps] = [dimsAt(node.attrs, "starts"), numbersAt(node.attrs, "steps")];
    return s.read(
      node.inputs[0],
      at.map((x, i) => s.iadd(s.imul(x, steps[i]), starts[i])),
    );
  },
  examples: [
    { shapes: [[4, 5]], attrs: { starts: [1, 0], sizes: [2, 5] } },
    { shapes: [[6, 5]], attrs: { starts: [1, 4], sizes: [3, 3], steps: [2, -2] } },
    { shapes: [[5]], attrs: { starts: [4], sizes: [5], steps: [-1] } },
    { shapes: [[5, 2]], attrs: { starts: [2, 0], sizes: [0, 2] } },
  ],
};
function outside(x: TensorType, axis: number): never {
  return fail("E0306", `slice: outside axis ${axis} of ${typeText(x)}`, { operand: 0 });
}
export function slice(
  b: Builder,
  x: Value,
  starts: readonly (Dim | number)[],
  counts: readonly (Dim | number)[],
  steps: readonly number[] = counts.map(() => 1),
): Value {
  const whole = x.type.shape.every(
    (d, i) => isConst(starts[i], 0) && steps[i] === 1 && d.key === dim(counts[i]).key,
  );
  return whole
    ? x
    : b.make(sliceOp, [x], { starts: starts.map(dim), sizes: counts.map(dim), steps: [...steps] });
}
/** A range of one axis. */
export const sliceAxis = (
  b: Builder,
  x: Value,
  along: number,
  start: Dim | number,
  count: Dim | number,
): Value =>
  slice(
    b,
    x,
    x.type.shape.map((_, i) => (i === along ? start : 0)),
    x.type.shape.map((d, i) => (i === along ? count : d)),
  );

export const flipOp: OpDef = {
  name: "flip",
  doc: "The order along axes reversed.",
  fuses: "composite",
  params: [tensor("x"), axes("axes", { optional: true, aliases: ["axis"] })],
  complete: ([x], attrs) => ({ ...attrs, axes: normalizeAxes("flip", attrs.axes, x.shape.length) }),
  infer: ([x]) => [x],
  inline: () => true,
  expand: (b, node) => [flip(b, node.inputs[0], numbersAt(node.attrs, "axes"))],
  examples: [{ shapes: [[3, 4]], attrs: { axes: [1] } }],
};
export function flip(b: Builder, x: Value, over: readonly number[]): Value {
  if (over.length === 0) return x;
  const { shape } = x.type;
  return slice(
    b,
    x,
    shape.map((d, i) => (over.includes(i) ? sub(d, 1) : 0)),
    shape,
    shape.map((_, i) => (over.includes(i) ? -1 : 1)),
  );
}

// -------------------------------------------------------------------------------------------------- pad

/** PyTorch counts from the last axis, in one list; NumPy has a pair for each. */
const PAD_HELP = "from the first axis on, as in pad(x, low = [0, 0, 1], high = [0, 0, 2])";
/** What stands around x where it is of x itself. */
const BORDERS = ["reflect", "replicate", "circular"];

export const borderOp: OpDef = {
  name: "pad_border",
  doc: "x with what its own elements say around it (mode): reflect, replicate or circular.",
  fuses: "view",
  exposed: false,
  params: [tensor("x"), sizes("low"), sizes("high"), word("mode", { among: BORDERS })],
  infer: ([x], attrs, b) => {
    const [low, high] = [dimsAt(attrs, "low"), dimsAt(attrs, "high")];
    const { mode } = attrs;
    const rank = x.shape.length;
    if (low.length !== rank || high.length !== rank)
      fail("E0304", `pad: low and high name each of the ${rank} axes`, { operand: 0, help: PAD_HELP });
    for (const [name, amounts] of [
      ["low", low],
      ["high", high],
    ] as const)
      amounts.forEach((d, i) => {
        atLeast(d, dim(0), "pad: an amount", b, () =>
          fail("E0607", "pad: a negative amount", { attr: name }),
        );
        if (isConst(d, 0)) return;
        const need = mode === "reflect" ? add(d, 1) : mode === "circular" ? d : dim(1);
        atLeast(x.shape[i], need, `pad: elements of axis ${i} to ${String(mode)}`, b, () =>
          fail(
            "E0302",
            `pad: ${d.key} elements of mode ${String(mode)} need ${need.key} on axis ${i} of ${typeText(x)}`,
            {
              attr: name,
            },
          ),
        );
      });
    return [{ dtype: x.dtype, shape: x.shape.map((d, i) => add(low[i], d, high[i])) }];
  },
  reference: ([x], attrs, [out]) => {
    const low = numbersAt(attrs, "low");
    const strides = stridesOf(x.shape);
    const inside = (p: number, n: number): number => {
      if (attrs.mode === "circular") return (p + n) % n;
      if (attrs.mode === "replicate") return Math.min(Math.max(p, 0), n - 1);
      return n - 1 - Math.abs(n - 1 - Math.abs(p));
    };
    const own = stridesOf(out.shape);
    for (let flat = 0; flat < out.data.length; flat++)
      out.data[flat] =
        x.data[
          x.shape.reduce((o, n, i) => {
            const at = Math.floor(flat / own[i]) % out.shape[i];
            return o + inside(at - low[i], n) * strides[i];
          }, 0)
        ];
  },
  vjp: (b, node, [g]) => [g && borderGrad(b, g, node.inputs[0], node.attrs)],
  lower: (s, node, at) => {
    const x = node.inputs[0];
    const [low, high] = [dimsAt(node.attrs, "low"), dimsAt(node.attrs, "high")];
    const coords = at.map((p, i) => {
      if (isConst(low[i], 0) && isConst(high[i], 0)) return p;
      const n = x.type.shape[i];
      const q = s.iadd(p, sub(dim(0), low[i]));
      if (node.attrs.mode === "replicate") return s.call("min", s.call("max", q, s.dim(0)), s.dim(sub(n, 1)));
      if (node.attrs.mode === "circular") return s.imod(s.iadd(q, n), n);
      const a = s.call("max", q, s.imul(q, -1));
      return s.call("min", a, s.iadd(s.imul(a, -1), mul(sub(n, 1), 2)));
    });
    return s.read(x, coords);
  },
  examples: [
    { shapes: [[3, 4]], attrs: { low: [2, 1], high: [1, 3], mode: "reflect" } },
    { shapes: [[3, 1]], attrs: { low: [2, 1], high: [0, 3], mode: "replicate" } },
    { shapes: [[2, 3]], attrs: { low: [2, 0], high: [1, 3], mode: "circular" } },
  ],
};
/** Axis by axis, last first: what came of the elements themselves, and of those before and behind that are theirs, too. */
function borderGrad(b: Builder, g: Value, x: Value, attrs: Attrs): Value {
  const [low, high] = [dimsAt(attrs, "low"), dimsAt(attrs, "high")];
  let out = g;
  for (let i = x.type.shape.length - 1; i >= 0; i--) {
    const n = x.type.shape[i];
    const all = out;
    const behind = add(low[i], n);
    out = sliceAxis(b, all, i, low[i], n);
    const put = (part: Value, before: Dim): void => {
      const zero = all.type.shape.map(() => dim(0));
      const size = part.type.shape[i];
      const at = (d: Dim): Dim[] => zero.map((z, k) => (k === i ? d : z));
      out = addValues(b, out, pad(b, part, at(before), at(sub(n, add(before, size)))));
    };
    if (!isConst(low[i], 0)) {
      const part = sliceAxis(b, all, i, 0, low[i]);
      if (attrs.mode === "circular") put(part, sub(n, low[i]));
      else if (attrs.mode === "reflect") put(flip(b, part, [i]), dim(1));
      else put(sum(b, part, [i], true), dim(0));
    }
    if (!isConst(high[i], 0)) {
      const part = sliceAxis(b, all, i, behind, high[i]);
      if (attrs.mode === "circular") put(part, dim(0));
      else if (attrs.mode === "reflect") put(flip(b, part, [i]), sub(n, add(high[i], 1)));
      else put(sum(b, part, [i], true), sub(n, 1));
    }
  }
  return out;
}

export const padOp: OpDef = {
  name: "pad",
  torch: "F.pad",
  doc: "x with `low` and `high` elements of `value` around it per axis, and `interior` of them between neighbours. Other modes than constant take what is around it from x: reflect (mirrored at the first and last element), replicate (these) or circular.",
  fuses: "view",
  inline: (_types, attrs) => attrs.mode !== undefined,
  expand: (b, node) => [
    b.make(borderOp, [node.inputs[0]], {
      low: node.attrs.low,
      high: node.attrs.high,
      mode: node.attrs.mode,
    }),
  ],
  params: [
    tensor("x"),
    sizes("low"),
    sizes("high", { optional: true, doc: "as `low` by default" }),
    float("value", { default: 0 }),
    ints("interior", { optional: true }),
    word("mode", { default: "constant", among: ["constant", ...BORDERS] }),
  ],
  complete: ([x], { mode, ...attrs }) => ({
    ...attrs,
    // A constant is what there is without it.
    ...(mode === undefined || mode === "constant" ? {} : { mode }),
    high: attrs.high ?? attrs.low,
    value: attrs.value ?? 0,
    interior: attrs.interior ?? x.shape.map(() => 0),
  }),
  infer: ([x], attrs, b) => {
    const [low, high, interior] = [dimsAt(attrs, "low"), dimsAt(attrs, "high"), numbersAt(attrs, "interior")];
    const rank = x.shape.length;
    if (low.length !== rank || high.length !== rank || interior.length !== rank)
      fail("E0304", `pad: low and high name each of the ${rank} axes`, { operand: 0, help: PAD_HELP });
    const negative = (): never => fail("E0607", "pad: a negative amount", { attr: "low" });
    for (const d of [...low, ...high]) atLeast(d, dim(0), "pad: an amount", b, negative);
    if (interior.some((n) => n < 0)) negative();
    if (!isFloat(x.dtype) && !Number.isInteger(numberAt(attrs, "value")))
      fail("E0402", `pad: ${numberAt(attrs, "value")} does not adapt to ${x.dtype}`, { attr: "value" });
    return [
      { dtype: x.dtype, shape: x.shape.map((d, i) => add(low[i], high[i], d, mul(sub(d, 1), interior[i]))) },
    ];
  },
  reference: ([x], attrs, [out]) => {
    const [low, interior] = [numbersAt(attrs, "low"), numbersAt(attrs, "interior")];
    out.data.fill(numberAt(attrs, "value"));
    const strides = stridesOf(out.shape);
    eachOffset(
      x.shape,
      strides.map((s, i) => s * (interior[i] + 1)),
      low.reduce((sum, l, i) => sum + l * strides[i], 0),
      (flat, o) => {
        out.data[o] = x.data[flat];
      },
    );
  },
  vjp: (b, node, [g]) => [
    g &&
      slice(
        b,
        g,
        dimsAt(node.attrs, "low"),
        node.inputs[0].type.shape,
        numbersAt(node.attrs, "interior").map((n) => n + 1),
      ),
  ],
  lower: (s, node, at) => {
    const x = node.inputs[0];
    const [low, high, interior] = [
      dimsAt(node.attrs, "low"),
      dimsAt(node.attrs, "high"),
      numbersAt(node.attrs, "interior"),
    ];
    const value = numberAt(node.attrs, "value");
    const guard = at
      .map((_, i) => i)
      .filter((i) => !(isConst(low[i], 0) && isConst(high[i], 0) && interior[i] === 0));
    const on: Scalar[] = [];
    const coords = at.map((p, i) => {
      const q = s.iadd(p, sub(dim(0), low[i]));
      if (interior[i] === 0) return q;
      // Division is for q >= 0 only; left of the first element the condition is false whatever it gives.
      on.push(s.call("ge", q, s.dim(0)), s.call("eq", s.imod(q, interior[i] + 1), s.dim(0)));
      return s.idiv(q, interior[i] + 1);
    });
    const inside = s.read(x, coords, { outside: value, guard });
    return on.length === 0
      ? inside
      : s.select(
          on.reduce((p, q) => s.call("and", p, q)),
          inside,
          s.const(x.type.dtype, value),
        );
  },
  examples: [
    { shapes: [[2, 3]], attrs: { low: [1, 0], high: [0, 2], value: 0.5 } },
    { shapes: [[3]], attrs: { low: [2] } },
    { shapes: [[2, 3]], attrs: { low: [0, 1], high: [1, 1], interior: [1, 2] } },
    { shapes: [[2]], attrs: { low: [1] }, dtypes: ["i32"], grad: false },
    { shapes: [[2, 3]], attrs: { low: [1, 2], high: [0, 1], mode: "reflect" } },
  ],
};
export function pad(
  b: Builder,
  x: Value,
  low: readonly (Dim | number)[],
  high: readonly (Dim | number)[],
  value = 0,
  interior: readonly number[] = low.map(() => 0),
): Value {
  if ([...low, ...high].every((d) => isConst(d, 0)) && interior.every((n) => n === 0)) return x;
  return b.make(padOp, [x], { low: low.map(dim), high: high.map(dim), value, interior: [...interior] });
}

export const movement: readonly OpDef[] = [transposeOp, sliceOp, flipOp, borderOp, padOp];
