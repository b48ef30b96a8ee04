// scan: a loop over a dimension that need not be known. The body is a graph; its inputs are, in order, one slice of each
// `xs` operand, the carries, and the captured values; its results are the next carries and then the emitted values.
// Operands: xs..., initial carries..., captured.... Results: final carries..., emitted values stacked along their axis.
import { type Dim, dim, equal, print } from "../dims/dim.ts";
import { createBuilder, finishGraph, sameType, typeText } from "../ir/build.ts";
import {
  type Attr,
  type Attrs,
  type Builder,
  type Graph,
  type Node,
  type OpDef,
  OpError,
  type TensorType,
  type Value,
} from "../ir/types.ts";

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
export const scanAttrs = (attrs: Attrs): ScanAttrs => attrs as unknown as ScanAttrs;

/** A final carry: it lies where the last iteration left it, and no kernel can be told to store it elsewhere. */
export const isCarried = (v: Value): boolean =>
  v.node.op === scan && v.index < scanAttrs(v.node.attrs).carries;

const without = (shape: readonly Dim[], axis: number): Dim[] => shape.filter((_, i) => i !== axis);
const withAxis = (shape: readonly Dim[], axis: number, extent: Dim): Dim[] => [
  ...shape.slice(0, axis),
  extent,
  ...shape.slice(axis),
];

/** Backward through a scan needs the gradient driver, which needs operators: it is handed in (phases/3-grad). */
export type ScanGradient = (
  b: Builder,
  node: Node,
  grads: readonly (Value | undefined)[],
) => readonly (Value | undefined)[];
let gradient: ScanGradient | undefined;
export function setScanGradient(f: ScanGradient): void {
  gradient = f;
}

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
  vjp(b, node, grads) {
    if (!gradient) throw new Error("the gradient of scan is not installed");
    return gradient(b, node, grads);
  },
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
    return s.read(node.inputs[0], [...at.slice(0, axis), s.dim(node.attrs.index as Dim), ...at.slice(axis)]);
  },
  noGrad: "it is made after gradients are taken",
  examples: [],
};
/** A value of the loop's surroundings, or the carry of the iteration before: a leaf of a body (attrs name, dtype, shape). */
export const outer: OpDef = {
  name: "outer",
  doc: "A value from outside a scan's body.",
  fuses: "source",
  exposed: false,
  pure: false,
  params: [],
  infer: (_inputs, attrs) => [
    { dtype: attrs.dtype as TensorType["dtype"], shape: attrs.shape as readonly Dim[] },
  ],
  examples: [],
};

/** Makes a scan node; `attrs.count` may be a number. */
export function makeScan(b: Builder, inputs: readonly Value[], attrs: ScanAttrs): readonly Value[] {
  return b.node(scan, inputs, attrs as unknown as { readonly [k: string]: Attr });
}
export { createBuilder, dim, finishGraph };
