// The filter of a convolution as its kernels by Winograd's method read it (7-schedule/contraction/winograd.ts).
import { ceilDiv, dim } from "../dims/dim.ts";
import type { OpDef } from "../ir/types.ts";
import { TAPS, transformsOf } from "../kernel/winograd.ts";
import { numberAt, rankOf, tensor } from "./define.ts";

/** Columns of a panel: as many as a kernel's tile has. */
export const PANEL = 32;

export const winogradFilter: OpDef = {
  name: "winograd_filter",
  doc: "A filter [out, in, 3, 3] as factors of products, [(tile + 2)^2, panels, in, 32]: columns of a panel lie side by side, those beyond the last are anything.",
  fuses: "algorithm",
  exposed: false,
  // `tile`: results of a block along an axis.
  params: [tensor("w"), { name: "tile", kind: "int" }],
  infer: ([w], attrs) => {
    rankOf("winograd_filter", w, 4, 0, "a filter [out, in, 3, 3]");
    const side = numberAt(attrs, "tile") + TAPS - 1;
    return [
      { dtype: w.dtype, shape: [dim(side * side), ceilDiv(w.shape[0], PANEL), w.shape[1], dim(PANEL)] },
    ];
  },
  reference: ([w], attrs, [result]) => {
    const { filter } = transformsOf(numberAt(attrs, "tile"));
    const [, panels, from] = result.shape;
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
        for (let p = 0; p < panels; p++)
          for (let c = 0; c < from; c++)
            for (let o = p * PANEL; o < (p + 1) * PANEL; o++, at++)
              if (o < w.shape[0]) result.data[at] = factor(a, b, c, o);
  },
  noGrad: "it is made after gradients are taken",
  examples: [],
};
