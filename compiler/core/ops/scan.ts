// scan: a loop over a dimension that need not be known. The body is a graph; its inputs are, in order, one slice of each
// `xs` operand, the carries, and the captured values; its results are the next carries and then the emitted values.
// Operands: xs..., initial carries..., captured.... Results: final carries..., emitted values stacked along their axis.
import { type Dim, type DimLike, dim, equal, print } from "../dims/dim.ts";
import { createBuilder, finishGraph, replay, sameType, typeText } from "../ir/build.ts";
import {
  type Attr,
  type Attrs,
  type Backward,
  type Builder,
  type Graph,
  type Node,
  type OpDef,
  OpError,
  type TensorType,
  type Value,
} from "../ir/types.ts";
import { full, isFloat } from "./define.ts";
import { add } from "./elementwise.ts";
import { input } from "./source.ts";

export interface ScanAttrs {
  readonly body: Graph;
  /** How many operands are sequences, and how many carries follow them. */
  readonly xs: number;
  readonly carries: number;
  /** The looped axis of each sequence; of each emitted result. */
  readonly axes: readonly number[];
  readonly emitAxes: readonly number[];
  readonly count: Dim;
  /** From the last slice to the first (gradients). */
  readonly reverse: boolean;
}
export const scanAttrs = (attrs: Attrs): ScanAttrs => {
  const a = attrs as unknown as ScanAttrs;
  // A graph that was read from its text has numbers where sizes are literals.
  return typeof a.count === "number" ? { ...a, count: dim(a.count) } : a;
};

/** A final carry: it lies where the last iteration left it, and no kernel can be told to store it elsewhere. */
export const isCarried = (v: Value): boolean =>
  v.node.op === scan && v.index < scanAttrs(v.node.attrs).carries;

const without = (shape: readonly Dim[], axis: number): Dim[] => shape.filter((_, i) => i !== axis);
const withAxis = (shape: readonly Dim[], axis: number, extent: Dim): Dim[] => [
  ...shape.slice(0, axis),
  extent,
  ...shape.slice(axis),
];

export const scan: OpDef = {
  name: "scan",
  doc: "Runs a body over the slices of an axis, carrying values along.",
  fuses: "control",
  exposed: false,
  params: [],
  infer(inputs, attrs) {
    const a = scanAttrs(attrs);
    const bodyIn = a.body.inputs.map((n) => n.outs[0].type);
    if (bodyIn.length !== inputs.length)
      throw new OpError("E0601", `scan: the body takes ${bodyIn.length} values, ${inputs.length} are given`);
    inputs.forEach((t, i) => {
      const want: TensorType = i < a.xs ? { dtype: t.dtype, shape: without(t.shape, a.axes[i]) } : t;
      if (i < a.xs && !equal(t.shape[a.axes[i]], a.count))
        throw new OpError(
          "E0301",
          `scan: sequence ${i + 1} has ${print(t.shape[a.axes[i]])} slices, expected ${print(a.count)}`,
          { operand: i },
        );
      if (!sameType(want, bodyIn[i]))
        throw new OpError("E0301", `scan: the body takes ${typeText(bodyIn[i])}, given ${typeText(want)}`, {
          operand: i,
        });
    });
    const results = a.body.results.map((r) => r.value.type);
    for (let i = 0; i < a.carries; i++) {
      const want = bodyIn[a.xs + i];
      if (!sameType(want, results[i]))
        throw new OpError(
          "E0301",
          `scan: a carried value begins as ${typeText(want)} and becomes ${typeText(results[i])}`,
          { operand: a.xs + i },
        );
    }
    return results.map((t, i) =>
      i < a.carries ? t : { dtype: t.dtype, shape: withAxis(t.shape, a.emitAxes[i - a.carries], a.count) },
    );
  },
  vjp: scanGradient,
  examples: [],
};

/** One slice of an axis at an index that is a size (the loop's counter): attrs axis, index. */
export const pick: OpDef = {
  name: "pick",
  doc: "The slice of an axis at a size.",
  fuses: "view",
  exposed: false,
  params: [],
  infer: ([x], attrs) => [{ dtype: x.dtype, shape: without(x.shape, attrs.axis as number) }],
  lower: (s, node, at) => {
    const axis = node.attrs.axis as number;
    return s.read(node.inputs[0], [
      ...at.slice(0, axis),
      s.dim(dim(node.attrs.index as DimLike)),
      ...at.slice(axis),
    ]);
  },
  noGrad: "it is made after gradients are taken",
  examples: [],
};
/**
 * A leaf of a loop's body: operand `index` of the loop; of an initial carry, what the pass before left (attrs index, dtype,
 * shape).
 */
export const outside: OpDef = {
  name: "outside",
  doc: "A value from outside a loop's body.",
  fuses: "source",
  exposed: false,
  pure: false,
  params: [],
  infer: (_inputs, attrs) => [
    {
      dtype: attrs.dtype as TensorType["dtype"],
      shape: (attrs.shape as readonly DimLike[]).map((d) => dim(d)),
    },
  ],
  examples: [],
};

export interface LoopAttrs {
  /** Its leaves are `outside`s; its results are the next carries, then what is emitted. */
  readonly body: Graph;
  /** The counter: a size in the body, from 0 up. */
  readonly symbol: string;
  readonly count: Dim;
  /** The operands that carries begin with, by index. */
  readonly begin: readonly number[];
  /** Where an emitted value is put: its axis in the whole, and the slice. */
  readonly emitAxes: readonly number[];
  readonly index: Dim;
}
export const loopAttrs = (attrs: Attrs): LoopAttrs => attrs as unknown as LoopAttrs;

/**
 * What a scan becomes for the steps after simplification (phases/4-simplify/loops.ts): operands are the initial carries, and
 * each value that the body reads, once; slices are picked in the body. Results: final carries, then what was emitted.
 */
export const loop: OpDef = {
  name: "loop",
  doc: "Runs a body a number of times, carrying values along.",
  fuses: "control",
  exposed: false,
  params: [],
  infer(inputs, attrs) {
    const a = loopAttrs(attrs);
    const results = a.body.results.map((r) => r.value.type);
    const carries = a.begin.length;
    if (results.length !== carries + a.emitAxes.length)
      throw new OpError("E0601", `loop: the body has ${results.length} results`);
    a.begin.forEach((operand, i) => {
      if (!inputs[operand] || !sameType(inputs[operand], results[i]))
        throw new OpError(
          "E0301",
          `loop: a carried value begins as ${inputs[operand] ? typeText(inputs[operand]) : "none of the operands"} and becomes ${typeText(results[i])}`,
          { operand },
        );
    });
    return results.map((t, i) =>
      i < carries ? t : { dtype: t.dtype, shape: withAxis(t.shape, a.emitAxes[i - carries], a.count) },
    );
  },
  noGrad: "it is made after gradients are taken",
  examples: [],
};

/** Makes a scan node; `attrs.count` may be a number. */
export function makeScan(b: Builder, inputs: readonly Value[], attrs: ScanAttrs): readonly Value[] {
  return b.node(scan, inputs, attrs as unknown as { readonly [k: string]: Attr });
}

// --------------------------------------------------------------------------------------------- gradient

/**
 * The gradient of a scan: a scan backwards over the same slices. A second forward scan emits the carries each step began with
 * (the forward one does not keep them); the body of the backward scan computes a step again and its gradient.
 */
function scanGradient(
  b: Builder,
  node: Node,
  grads: readonly (Value | undefined)[],
  backward: Backward,
  needed: readonly boolean[],
): readonly (Value | undefined)[] {
  const a = scanAttrs(node.attrs);
  const xs = node.inputs.slice(0, a.xs);
  const carries = node.inputs.slice(a.xs, a.xs + a.carries);
  const captured = node.inputs.slice(a.xs + a.carries);
  const saved = makeScan(b, node.inputs, keepingCarries(a)).slice(node.outs.length);

  // Only floats have gradients; the places of the others stay empty, and of what nobody asks for. What flows along the carries
  // is on the way to both.
  const floats = (list: readonly Value[]): number[] =>
    list.map((v, i) => (isFloat(v.type.dtype) ? i : -1)).filter((i) => i >= 0);
  const dx = floats(xs).filter((i) => needed[i]);
  const dc = floats(carries);
  const dk = floats(captured).filter((i) => needed[a.xs + a.carries + i]);
  const emits = node.outs.slice(a.carries);
  const flowing = emits.map((v, i) => ({ v, i, g: grads[a.carries + i] })).filter((e) => e.g !== undefined);

  const step = backwardBody(backward, a, {
    dx,
    dc,
    dk,
    emits: flowing.map((e) => e.i),
    types: { carries: carries.map((v) => v.type), captured: captured.map((v) => v.type) },
  });
  const zeros = (t: TensorType): Value => full(b, 0, t);
  const outs = makeScan(
    b,
    [
      ...xs,
      ...saved,
      ...flowing.map((e) => e.g as Value),
      ...dc.map((i) => grads[i] ?? zeros(carries[i].type)),
      ...dk.map((i) => zeros(captured[i].type)),
      ...captured,
    ],
    {
      body: step,
      xs: xs.length + saved.length + flowing.length,
      carries: dc.length + dk.length,
      axes: [...a.axes, ...saved.map(() => 0), ...flowing.map((e) => a.emitAxes[e.i])],
      emitAxes: dx.map((i) => a.axes[i]),
      count: a.count,
      reverse: !a.reverse,
    },
  );
  const back: (Value | undefined)[] = node.inputs.map(() => undefined);
  dc.forEach((i, k) => {
    back[a.xs + i] = outs[k];
  });
  dk.forEach((i, k) => {
    back[a.xs + a.carries + i] = outs[dc.length + k];
  });
  dx.forEach((i, k) => {
    back[i] = outs[dc.length + dk.length + k];
  });
  return back;
}

/** The scan that also emits the carries a step begins with, along axis 0. */
function keepingCarries(a: ScanAttrs): ScanAttrs {
  const carries = a.body.inputs.slice(a.xs, a.xs + a.carries);
  const body: Graph = {
    ...a.body,
    results: [...a.body.results, ...carries.map((n, i) => ({ name: `before${i}`, value: n.outs[0] }))],
  };
  return { ...a, body, emitAxes: [...a.emitAxes, ...carries.map(() => 0)] };
}

interface Places {
  /** Sequences, carries and captured values with gradients; emitted values into which one flows. */
  readonly dx: readonly number[];
  readonly dc: readonly number[];
  readonly dk: readonly number[];
  readonly emits: readonly number[];
  readonly types: { readonly carries: readonly TensorType[]; readonly captured: readonly TensorType[] };
}

/**
 * One step back. Inputs: slices, carries before the step, gradients of emitted values; the carried gradients and sums
 * over steps of the captured values' gradients; the captured values. Results: the next carries, then the slices' gradients.
 */
function backwardBody(backward: Backward, a: ScanAttrs, p: Places): Graph {
  const b = createBuilder(1 + Math.max(0, ...a.body.nodes.map((n) => n.id)));
  const inputs: Node[] = [];
  const fresh = (name: string, type: TensorType): Value => {
    const v = b.make(
      input,
      [],
      { name, dtype: type.dtype, shape: [...type.shape], place: inputs.length },
      name,
    );
    inputs.push(v.node);
    return v;
  };
  const formals = a.body.inputs.map((n) => n.outs[0]);
  const [slices, before, captured] = [
    formals.slice(0, a.xs),
    formals.slice(a.xs, a.xs + a.carries),
    formals.slice(a.xs + a.carries),
  ];
  const stand = (list: readonly Value[]): Value[] =>
    list.map((v) => fresh(String(v.node.attrs.name), v.type));
  const given = [...stand(slices), ...stand(before)];
  const results = a.body.results.map((r) => r.value);
  const seeds: (Value | undefined)[] = results.map(() => undefined);
  for (const i of p.emits) seeds[a.carries + i] = fresh(`d_emit${i}`, results[a.carries + i].type);
  for (const i of p.dc) seeds[i] = fresh(`d_carry${i}`, p.types.carries[i]);
  const sums = p.dk.map((i) => fresh(`d_captured${i}`, p.types.captured[i]));
  given.push(...stand(captured));

  // The step again, on these inputs.
  const at = replay(b, a.body, given);
  const wrt = [
    ...p.dx.map((i) => slices[i]),
    ...p.dc.map((i) => before[i]),
    ...p.dk.map((i) => captured[i]),
  ].map(at);
  const found = backward(b, results.map(at), seeds, wrt);
  const grads = wrt.map((v, i) => found[i] ?? full(b, 0, v.type));
  const dxs = grads.slice(0, p.dx.length);
  const carried = grads.slice(p.dx.length, p.dx.length + p.dc.length);
  const totals = grads.slice(p.dx.length + p.dc.length).map((g, i) => add(b, sums[i], g));
  return finishGraph({
    name: `${a.body.name}.gradient`,
    inputs,
    results: [
      ...carried.map((value, i) => ({ name: `d_carry${p.dc[i]}`, value })),
      ...totals.map((value, i) => ({ name: `d_captured${p.dk[i]}`, value })),
      ...dxs.map((value, i) => ({ name: `d_x${p.dx[i]}`, value })),
    ],
    symbols: a.body.symbols,
    constraints: a.body.constraints,
  });
}
