// Weights that are stored in fewer bits than kernels compute in (`mdl quantize`, compiler/core/storage.ts): numbers side by side
// in words of 32 bits along one axis, and scales. In: words, scales. Out: what they stand for, decoded where it is read: as a
// view is, it is stored nowhere, and what parameters alone decide is not made of it ahead (`unpacks`).
import { ceilDiv, isConst } from "../dims/dim.ts";
import { ofHalf } from "../ir/data.ts";
import type { OpDef } from "../ir/types.ts";
import type { Scalar } from "../kernel/scalar.ts";
import { axis, dimAt, fail, int, normalizeAxis, numberAt, size, tensor, typeText } from "./define.ts";
import { sizeOf } from "./dense.ts";

/**
 * Attributes: bits of a number (16 is a half, 8 and 4 are integers with a sign), the axis of the result along which numbers
 * lie in words, its size, and how many numbers along it share a scale. Scales have the result's axes, each whole or 1, and
 * along the axis of the words as many as there are groups, or 1.
 */
export const dequantizeOp: OpDef = {
  name: "dequantize",
  doc: "Numbers of 16, 8 or 4 bits, taken out of the words they are stored in, times their scales.",
  fuses: "view",
  unpacks: true,
  exposed: false,
  params: [
    tensor("words"),
    tensor("scale", { optional: true }),
    int("bits"),
    axis("axis"),
    size("size"),
    int("group"),
  ],
  complete: ([words], attrs) => ({
    ...attrs,
    axis: normalizeAxis("dequantize", numberAt(attrs, "axis"), words.shape.length),
  }),
  infer: ([words, scale], attrs) => {
    const along = numberAt(attrs, "axis");
    const whole = dimAt(attrs, "size");
    const shape = words.shape.map((d, i) => (i === along ? whole : d));
    if (words.dtype !== "u32" || ceilDiv(whole, 32 / numberAt(attrs, "bits")).key !== words.shape[along].key)
      fail("E0302", `dequantize: ${typeText(words)} is not words of ${whole.key} numbers`, { operand: 0 });
    const groups = ceilDiv(whole, numberAt(attrs, "group"));
    const fits =
      !scale ||
      (scale.dtype === "f32" &&
        scale.shape.length === shape.length &&
        scale.shape.every((d, i) => isConst(d, 1) || d.key === (i === along ? groups : shape[i]).key));
    if (!fits) fail("E0302", `dequantize: ${typeText(scale)} is not their scales`, { operand: 1 });
    return [{ dtype: "f32", shape }];
  },
  reference: ([words, scale], attrs, [out]) => {
    const [along, bits, group] = ["axis", "bits", "group"].map((name) => numberAt(attrs, name));
    const at = (shape: readonly number[], flat: number, by: number): number => {
      let offset = 0;
      let step = 1;
      for (let i = shape.length - 1, rest = flat; i >= 0; i--) {
        const place = rest % out.shape[i];
        rest = Math.floor(rest / out.shape[i]);
        if (shape[i] !== 1) offset += step * (i === along ? Math.floor(place / by) : place);
        step *= shape[i];
      }
      return offset;
    };
    const inner = sizeOf(out.shape.slice(along + 1));
    for (let flat = 0; flat < out.data.length; flat++) {
      const place = Math.floor(flat / inner) % out.shape[along];
      const word = words.data[at(words.shape, flat, 32 / bits)];
      const raw = Math.floor(word / 2 ** (bits * (place % (32 / bits)))) % 2 ** bits;
      const number = bits === 16 ? ofHalf(raw) : raw < 2 ** (bits - 1) ? raw : raw - 2 ** bits;
      out.data[flat] = scale ? number * scale.data[at(scale.shape, flat, group)] : number;
    }
  },
  noGrad: "weights that are stored in few bits are not trained",
  lower: (s, node, at) => {
    const [words, scale] = node.inputs;
    const [along, bits, group] = ["axis", "bits", "group"].map((name) => numberAt(node.attrs, name));
    const by = (n: number): Scalar[] => at.map((x, i) => (i === along ? s.idiv(x, n) : x));
    const word = s.read(words, by(32 / bits));
    const number = s.call(bits === 16 ? "unpack_f16" : `unpack_i${bits}`, word, s.imod(at[along], 32 / bits));
    if (!scale) return number;
    const places = by(group);
    const from = scale.type.shape.map((d, i) => (isConst(d, 1) ? s.dim(0) : places[i]));
    return s.call("mul", number, s.read(scale, from));
  },
  examples: [
    {
      shapes: [
        [3, 2],
        [3, 1],
      ],
      dtypes: ["u32", "f32"],
      attrs: { bits: 8, axis: 1, size: 7, group: 7 },
      range: [0, 0xffffffff],
    },
    {
      shapes: [
        [2, 4],
        [3, 4],
      ],
      dtypes: ["u32", "f32"],
      attrs: { bits: 4, axis: 0, size: 12, group: 4 },
      range: [0, 0xffffffff],
    },
    {
      shapes: [[2, 3]],
      dtypes: ["u32"],
      attrs: { bits: 16, axis: 1, size: 5, group: 5 },
      range: [0, 0x3bff3bff],
    },
  ],
};
