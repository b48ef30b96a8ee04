// copy: the identity that computes. A sink that is a source (or one value stored in two places) needs a kernel of its own;
// a weight that lies badly for a kernel is copied into a better layout.
import { dim } from "../dims/dim.ts";
import type { OpDef } from "../ir/types.ts";

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

/** Elements of 4 bytes between what is packed by kernels of its own: each is written where a binding may begin. */
export const APART = 64;
/**
 * pack: operands, flat, at given places of one buffer; zero elsewhere. Operands are written there by their own kernels:
 * no dispatch. Attributes: offsets (elements, one an operand), total.
 */
export const pack: OpDef = {
  name: "pack",
  doc: "Operands at given offsets of one flat tensor, with zeros between.",
  fuses: "pack",
  exposed: false,
  params: [],
  infer: (inputs, attrs) => [{ dtype: inputs[0].dtype, shape: [dim(attrs.total as number)] }],
  reference(inputs, attrs, [out]) {
    const offsets = attrs.offsets as readonly number[];
    inputs.forEach((x, i) => void out.data.set(x.data, offsets[i]));
  },
  noGrad: "it is made after gradients are taken",
  examples: [],
};
