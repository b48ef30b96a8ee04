// Joining and parting: concat, stack, split, and axes of extent 1 (squeeze, unsqueeze, flatten).
// In: tensors. Out: views, and what is said with them.
import { add, type Dim, dim, floorDiv, isConst, ONE, product, sub } from "../dims/dim.ts";
import type { Attrs, Builder, OpDef, TensorType, Value } from "../ir/types.ts";
import type { Scalar } from "../kernel/scalar.ts";
import { reshape } from "./axes.ts";
import {
  axes,
  axis,
  dimsAt,
  fail,
  int,
  isWhole,
  multipleOf,
  normalizeAxes,
  normalizeAxis,
  numberAt,
  type Requirer,
  sameDtypes,
  sameSize,
  shapeText,
  sizes,
  tensor,
  tensors,
  typeText,
  wholePart,
} from "./define.ts";
import { eachOffset, stridesOf } from "./dense.ts";

import { sliceAxis } from "./movement.ts";
// ----------------------------------------------------------------------------------- concat, stack, split

export const concatOp: OpDef = {
  name: "concat",
  torch: "torch.cat",
  doc: "The operands one after the other along an axis.",
  fuses: "view",
  associative: true,
  along: (b, { attrs }, xs) => b.make(concatOp, xs, { axis: numberAt(attrs, "axis") + 1 }),
  params: [tensors("xs"), axis("axis", { default: 0 })],
  complete: (xs, attrs) => ({
    ...attrs,
    axis: normalizeAxis("concat", (attrs.axis as number) ?? 0, firstOf("concat", xs).shape.length),
  }),
  infer: (xs, attrs, b) => {
    const along = numberAt(attrs, "axis");
    const first = firstOf("concat", xs);
    sameDtypes("concat", xs);
    const shape = xs.slice(1).reduce((sum, t, i) => {
      const refuse = (): never =>
        fail(
          "E0302",
          `concat: ${shapeText(first.shape)} and ${shapeText(t.shape)} differ off axis ${along}`,
          {
            operand: i + 1,
          },
        );
      if (t.shape.length !== sum.length) refuse();
      return sum.map((d, j) =>
        j === along
          ? add(d, t.shape[j])
          : sameSize(d, t.shape[j], `concat: axis ${j} of the operands`, b, refuse),
      );
    }, first.shape);
    return [{ dtype: first.dtype, shape }];
  },
  reference: (xs, attrs, [out]) => {
    const along = numberAt(attrs, "axis");
    const strides = stridesOf(out.shape);
    let start = 0;
    for (const x of xs) {
      eachOffset(x.shape, strides, start * strides[along], (flat, o) => {
        out.data[o] = x.data[flat];
      });
      start += x.shape[along];
    }
  },
  vjp: (b, node, [g]) => {
    const along = numberAt(node.attrs, "axis");
    let start: Dim = dim(0);
    return node.inputs.map((x) => {
      const from = start;
      start = add(start, x.type.shape[along]);
      return g && sliceAxis(b, g, along, from, x.type.shape[along]);
    });
  },
  comesFrom: (node, part) => {
    const along = numberAt(node.attrs, "axis");
    if (!isWhole([part[along]], [node.outs[0].type.shape[along]])) return undefined;
    return node.inputs.map((x, operand) => ({
      operand,
      part: part.map((p, i) => (i === along ? wholePart([x.type.shape[i]])[0] : p)),
    }));
  },
  lower: (s, node, at) => {
    const along = numberAt(node.attrs, "axis");
    const starts: Dim[] = [];
    let end: Dim = dim(0);
    for (const x of node.inputs) {
      starts.push(end);
      end = add(end, x.type.shape[along]);
    }
    const part = (i: number): Scalar =>
      s.read(
        node.inputs[i],
        at.map((p, j) => (j === along ? s.iadd(p, sub(dim(0), starts[i])) : p)),
        node.inputs.length === 1 ? undefined : { outside: 0, guard: [along] },
      );
    let out = part(node.inputs.length - 1);
    for (let i = node.inputs.length - 2; i >= 0; i--)
      out = s.select(s.call("lt", at[along], s.dim(starts[i + 1])), part(i), out);
    return out;
  },
  examples: [
    {
      shapes: [
        [2, 3],
        [2, 1],
        [2, 2],
      ],
      attrs: { axis: 1 },
    },
    {
      shapes: [
        [2, 3],
        [1, 3],
      ],
      attrs: { axis: -2 },
    },
    {
      shapes: [
        [0, 3],
        [2, 3],
      ],
    },
    { shapes: [[2, 3]] },
  ],
};
function firstOf(name: string, xs: readonly TensorType[]): TensorType {
  if (xs.length === 0) fail("E0601", `${name} needs at least one tensor`);
  return xs[0];
}
export const concat = (b: Builder, xs: readonly Value[], along: number): Value =>
  xs.length === 1 ? xs[0] : b.make(concatOp, xs, { axis: along });

export const stackOp: OpDef = {
  name: "stack",
  doc: "The operands along a new axis.",
  fuses: "composite",
  params: [tensors("xs"), axis("axis", { default: 0 })],
  complete: (xs, attrs) => ({
    ...attrs,
    axis: normalizeAxis("stack", (attrs.axis as number) ?? 0, firstOf("stack", xs).shape.length + 1),
  }),
  infer: (xs, attrs, b) => {
    const first = firstOf("stack", xs);
    sameDtypes("stack", xs);
    for (const [i, t] of xs.entries()) {
      const refuse = (): never =>
        fail("E0302", `stack: ${shapeText(first.shape)} and ${shapeText(t.shape)} differ`, { operand: i });
      if (t.shape.length !== first.shape.length) refuse();
      for (const [j, d] of t.shape.entries())
        sameSize(first.shape[j], d, `stack: axis ${j} of the operands`, b, refuse);
    }
    return [{ dtype: first.dtype, shape: insert(first.shape, [numberAt(attrs, "axis")], dim(xs.length)) }];
  },
  inline: () => true,
  expand: (b, node) => {
    const along = numberAt(node.attrs, "axis");
    return [
      concat(
        b,
        node.inputs.map((x) => reshape(b, x, insert(x.type.shape, [along]))),
        along,
      ),
    ];
  },
  examples: [
    {
      shapes: [
        [2, 3],
        [2, 3],
      ],
      attrs: { axis: 1 },
    },
    { shapes: [[3], [3]], attrs: { axis: -1 } },
  ],
};
/** A shape with `size` put in so that it stands at the given axes of the result. */
function insert(shape: readonly Dim[], at: readonly number[], size: Dim = ONE): Dim[] {
  const out = [...shape];
  for (const i of at) out.splice(i, 0, size);
  return out;
}

const MAX_PARTS = 4096;
/** Sizes of the parts of a split. */
function partSizes([x]: readonly TensorType[], attrs: Attrs, b?: Requirer): readonly Dim[] {
  const along = numberAt(attrs, "axis");
  const extent = x.shape[along];
  if (attrs.sizes !== undefined) {
    const list = dimsAt(attrs, "sizes");
    sameSize(extent, add(0, ...list), `split: sizes along axis ${along}`, b, () =>
      fail("E0302", `split: sizes ${shapeText(list)} do not add up to ${extent.key}`, { attr: "sizes" }),
    );
    return list;
  }
  const parts = attrs.parts as number | undefined;
  if (parts === undefined) fail("E0601", "split: neither parts nor sizes is given", { attr: "parts" });
  if (!Number.isInteger(parts) || parts < 1 || parts > MAX_PARTS)
    fail("E0607", `split: into ${parts} parts`, {
      attr: "parts",
      help: `each part is a tensor of its own; there are from 1 to ${MAX_PARTS}`,
    });
  multipleOf(extent, parts, `split: axis ${along} into ${parts} parts`, b, () =>
    fail("E0302", `split: axis ${along} of ${typeText(x)} does not divide into ${parts} parts`, {
      operand: 0,
    }),
  );
  return Array.from({ length: parts }, () => floorDiv(extent, parts));
}
export const splitOp: OpDef = {
  name: "split",
  doc: "x taken apart along an axis into `parts` equal parts, or into parts of the given `sizes`.",
  fuses: "composite",
  params: [
    tensor("x"),
    int("parts", { optional: true }),
    axis("axis", { default: 0 }),
    sizes("sizes", { optional: true }),
  ],
  complete: ([x], attrs) => ({
    ...attrs,
    axis: normalizeAxis("split", (attrs.axis as number) ?? 0, x.shape.length),
  }),
  infer: (xs, attrs, b) =>
    partSizes(xs, attrs, b).map((d) => ({
      dtype: xs[0].dtype,
      shape: xs[0].shape.map((e, i) => (i === attrs.axis ? d : e)),
    })),
  inline: () => true,
  expand: (b, node) => {
    const [x] = node.inputs;
    const along = numberAt(node.attrs, "axis");
    let start: Dim = dim(0);
    return partSizes([x.type], node.attrs).map((d) => {
      const from = start;
      start = add(start, d);
      return sliceAxis(b, x, along, from, d);
    });
  },
  examples: [
    { shapes: [[2, 6]], attrs: { parts: 3, axis: -1 } },
    { shapes: [[5, 2]], attrs: { sizes: [2, 3] } },
  ],
};

// -------------------------------------------------------------------------------- axes of extent 1, flatten

const reshaping = (
  name: string,
  doc: string,
  params: OpDef["params"],
  shape: (x: TensorType, attrs: Attrs) => readonly Dim[],
  examples: OpDef["examples"],
): OpDef => ({
  name,
  doc,
  fuses: "composite",
  params: [tensor("x"), ...params],
  infer: ([x], attrs) => [{ dtype: x.dtype, shape: shape(x, attrs) }],
  inline: () => true,
  expand: (b, node) => [reshape(b, node.inputs[0], node.outs[0].type.shape)],
  examples,
});
export const squeezeOp = reshaping(
  "squeeze",
  "Without the given axes of extent 1 (all axes of literal extent 1 by default).",
  [axes("axes", { optional: true, aliases: ["axis"] })],
  (x, attrs) => {
    const over = attrs.axes === undefined ? undefined : normalizeAxes("squeeze", attrs.axes, x.shape.length);
    for (const i of over ?? [])
      if (!isConst(x.shape[i], 1))
        fail("E0302", `squeeze: axis ${i} of ${typeText(x)} has extent ${x.shape[i].key}`, { operand: 0 });
    return x.shape.filter((d, i) => (over ? !over.includes(i) : !isConst(d, 1)));
  },
  [{ shapes: [[2, 1, 3]], attrs: { axes: [1] } }, { shapes: [[1, 2, 1]] }],
);
export const unsqueezeOp = reshaping(
  "unsqueeze",
  "With new axes of extent 1 at the given places of the result.",
  [axes("axes", { aliases: ["axis"] })],
  (x, attrs) => {
    const count = Array.isArray(attrs.axes) ? attrs.axes.length : 1;
    return insert(x.shape, normalizeAxes("unsqueeze", attrs.axes, x.shape.length + count));
  },
  [{ shapes: [[2, 3]], attrs: { axes: [0, -1] } }],
);
export const flattenOp = reshaping(
  "flatten",
  "The axes from `start` to `end` (inclusive) as one; by default all but the first, as PyTorch's nn.Flatten.",
  [int("start", { default: 1 }), int("end", { default: -1 })],
  (x, attrs) => {
    const rank = x.shape.length;
    if (rank === 0) return [ONE];
    const start = Math.min(
      normalizeAxis("flatten", Math.min((attrs.start as number) ?? 1, rank - 1), rank, "start"),
      rank - 1,
    );
    const end = normalizeAxis("flatten", (attrs.end as number) ?? -1, rank, "end");
    if (end < start) fail("E0305", `flatten: end ${end} is before start ${start}`, { attr: "end" });
    return [...x.shape.slice(0, start), product(x.shape.slice(start, end + 1)), ...x.shape.slice(end + 1)];
  },
  [{ shapes: [[2, 3, 4]] }, { shapes: [[2, 3, 4]], attrs: { start: 0, end: 1 } }],
);

export const joins: readonly OpDef[] = [concatOp, stackOp, splitOp, squeezeOp, unsqueezeOp, flattenOp];
