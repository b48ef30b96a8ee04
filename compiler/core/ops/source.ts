// Leaves of a graph: inputs, parameters, state, the seed, literals and sizes as values.
// They hold no meaning of their own: evaluators, planners and the builder of entries bind them by attribute.
import { type Dim, dim, isConst, product } from "../dims/dim.ts";
import { typeText } from "../ir/build.ts";
import { type Data, literalData } from "../ir/data.ts";
import { type Builder, type DType, type OpDef, OpError, type TensorType, type Value } from "../ir/types.ts";

const shaped = (attrs: { readonly [k: string]: unknown }): TensorType => ({
  dtype: attrs.dtype as DType,
  shape: (attrs.shape as readonly (Dim | number)[]).map((d) => dim(d)),
});
const leaf = (name: string, doc: string, more: Partial<OpDef> = {}): OpDef => ({
  name,
  doc,
  fuses: "source",
  exposed: false,
  params: [],
  infer: (_inputs, attrs) => [shaped(attrs)],
  examples: [],
  ...more,
});

/** An argument of the entry: attrs name, dtype, shape; `counts` where its value is the size of its name. */
export const input = leaf("input", "An argument of the entry.");
/** A trainable tensor: attrs path, dtype, shape; `from` where it is some of its rows: the first of them. */
export const param = leaf("param", "A parameter, by path.");
/** A buffer's value at entry: attrs path, dtype, shape. */
export const state = leaf("state", "A buffer's value at entry, by path.");
/** The path of the state (u32) that counts the calls that drew random numbers. */
export const RANDOM_STEP = "random_step";
/** What the paths of buffers that are written as one begin with. */
export const RUN = "$buffers";
/** The path of all parameters of a dtype at once, for the update of a training step: this, and `.f16` behind it. */
export const PARAMS = "$params";
/** Parts of a flat tensor of parameters when it is reduced in two steps: it is a multiple of as many rows. */
export const GRAIN = 64;
export const isFlat = (path: unknown): boolean => String(path).startsWith(PARAMS);
export const isRun = (path: unknown): boolean => String(path).startsWith(RUN);

/** The call's seed: u32[2]. */
export const seed = leaf("seed", "The seed of the call.", {
  infer: () => [{ dtype: "u32", shape: [dim(2)] }],
});
/** Host-side scalars of a training step (learning rate, …): attrs names; f32[names]. */
export const hyper = leaf("hyper", "Host-side scalars of the step, by name.", {
  infer: (_inputs, attrs) => [{ dtype: "f32", shape: [dim((attrs.names as readonly string[]).length)] }],
});
/** Literal data: attrs data (Data), dtype, shape of literals. */
export const constant = leaf("constant", "A literal tensor.", {
  infer: (_inputs, attrs) => {
    const type = shaped(attrs);
    const data = attrs.data as Data;
    if (data.dtype !== type.dtype || !isConst(product(type.shape), data.elements.length))
      throw new OpError(
        "E0302",
        `constant: ${data.elements.length} elements of ${data.dtype} are no ${typeText(type)}`,
      );
    return [type];
  },
});
/** A literal tensor of these numbers. */
export const literal = (
  b: Builder,
  dtype: DType,
  shape: readonly number[],
  numbers: ArrayLike<number>,
  label?: string,
): Value =>
  b.make(constant, [], { data: literalData(dtype, numbers), dtype, shape: shape.map((n) => dim(n)) }, label);

/** A splat: attrs value, dtype, shape. */
export const full: OpDef = {
  name: "full",
  doc: "A tensor filled with one literal value.",
  fuses: "map",
  exposed: false,
  params: [],
  infer: (_inputs, attrs) => [shaped(attrs)],
  reference: (_inputs, attrs, [out]) => void out.data.fill(Number(attrs.value)),
  vjp: () => [],
  lower: (s, node) => s.const(node.outs[0].type.dtype, Number(node.attrs.value)),
  examples: [],
};

/** A size as a value: attrs dim; i32[]. */
export const size: OpDef = {
  name: "size",
  doc: "A size of the program as an i32 scalar.",
  fuses: "map",
  exposed: false,
  params: [],
  infer: () => [{ dtype: "i32", shape: [] }],
  reference: (_inputs, attrs, [out]) => void out.data.fill(Number(attrs.dim)),
  vjp: () => [],
  lower: (s, node) => s.dim(dim(node.attrs.dim as Dim | number)),
  examples: [],
};

/** 0, 1, … extent - 1: attrs extent, dtype. */
export const iota: OpDef = {
  name: "iota",
  torch: "torch.arange",
  doc: "The integers 0 .. extent - 1 as a vector.",
  fuses: "map",
  params: [
    { name: "extent", kind: "dim" },
    { name: "dtype", kind: "dtype", default: "i32" },
  ],
  infer: (_inputs, attrs) => [
    { dtype: (attrs.dtype as DType) ?? "i32", shape: [dim(attrs.extent as Dim | number)] },
  ],
  reference: (_inputs, _attrs, [out]) => {
    for (let i = 0; i < out.data.length; i++) out.data[i] = i;
  },
  vjp: () => [],
  lower: (s, node, [i]) => (node.outs[0].type.dtype === "i32" ? i : s.cast(i, node.outs[0].type.dtype)),
  examples: [],
};
