// copy: the identity that computes. A sink that is a source (or one value stored in two places) needs a kernel of its own;
// a weight that lies badly for a kernel is copied into a better layout.
import { asConst, dim, product } from "../dims/dim.ts";
import { type OpDef, OpError, type TensorType } from "../ir/types.ts";

export const copy: OpDef = {
  name: "copy",
  doc: "The same values in another buffer.",
  fuses: "map",
  exposed: false,
  pure: false,
  params: [],
  infer: ([x]) => [x],
  reference: ([x], _attrs, [out]) => void out.data.set(x.data),
  vjp: (_b, _node, [g]) => [g],
  lower: (s, node, at) => s.read(node.inputs[0], at),
  examples: [],
};

/**
 * pack: operands, flat and in order, in one buffer, each beginning at a multiple of `align` elements; the rest is zero.
 * Operands are written there by their own kernels: no dispatch.
 */
export const packOffsets = (sizes: readonly number[], align: number): { offsets: number[]; total: number } => {
  const offsets: number[] = [];
  let total = 0;
  for (const n of sizes) {
    offsets.push(total);
    total += Math.ceil(n / align) * align;
  }
  return { offsets, total };
};

const count = (t: TensorType): number => {
  const n = asConst(product(t.shape));
  if (n === undefined) throw new OpError("E0501", "pack: operands need literal sizes");
  return n;
};
export const pack: OpDef = {
  name: "pack",
  doc: "Operands one after the other in one flat tensor, aligned, with zeros between: attrs align.",
  fuses: "pack",
  exposed: false,
  params: [],
  infer(inputs, attrs) {
    const { total } = packOffsets(inputs.map(count), Number(attrs.align));
    return [{ dtype: inputs[0].dtype, shape: [dim(total)] }];
  },
  reference(inputs, attrs, [out]) {
    const { offsets } = packOffsets(
      inputs.map((x) => x.data.length),
      Number(attrs.align),
    );
    inputs.forEach((x, i) => out.data.set(x.data, offsets[i]));
  },
  noGrad: "it is made after gradients are taken",
  examples: [],
};
