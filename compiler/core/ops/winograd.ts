// The filter of a convolution as its kernels by Winograd's method read it (7-schedule/contraction/winograd.ts).
import { dim } from "../dims/dim.ts";
import type { OpDef } from "../ir/types.ts";
import { TAPS, transformsOf } from "../kernel/winograd.ts";
import { numberAt, rankOf, tensor } from "./define.ts";

export const winogradFilter: OpDef = {
  name: "winograd_filter",
  doc: "A filter [out, in, 3, 3] as factors of products, [(tile + 2)^2, in, out].",
  fuses: "algorithm",
  exposed: false,
  // `tile`: results of a block along an axis.
  params: [tensor("w"), { name: "tile", kind: "int" }],
  infer: ([w], attrs) => {
    rankOf("winograd_filter", w, 4, 0, "a filter [out, in, 3, 3]");
    const side = numberAt(attrs, "tile") + TAPS - 1;
    return [{ dtype: w.dtype, shape: [dim(side * side), w.shape[1], w.shape[0]] }];
  },
  reference: ([w], attrs, [result]) => {
    const { filter } = transformsOf(numberAt(attrs, "tile"));
    const [, from, out] = result.shape;
    const factor = (a: number, b: number, c: number, o: number): number => {
      let sum = 0;
      for (let y = 0; y < TAPS; y++)
        for (let x = 0; x < TAPS; x++)
          sum += filter[a][y] * filter[b][x] * w.data[((o * from + c) * TAPS + y) * TAPS + x];
      return sum;
    };
    let at = 0;
    for (let a = 0; a < filter.length; a++)
      for (let b = 0; b < filter.length; b++)
        for (let c = 0; c < from; c++) for (let o = 0; o < out; o++) result.data[at++] = factor(a, b, c, o);
  },
  noGrad: "it is made after gradients are taken",
  examples: [],
};
