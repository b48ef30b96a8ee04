// Long sums of a contraction: the error of a sum in one go grows with its terms, so blocks of k go into totals of their own.
// In: accumulators of a tile. Out: statements around the loops over k.
import { asConst, product } from "../../../dims/dim.ts";
import { bin, call, lit, variable, widen, type X } from "../../../kernel/code.ts";
import type { Emitter } from "../../../kernel/emitter.ts";
import type { Nest } from "./nest.ts";

/** Terms that are added up one after the other before they go into the sum of such sums. */
export const SERIAL = 512;
/**
 * Up to so many terms one sum is right to a few millionths, and a layer's pipeline is the same as its neighbours': a second
 * set of accumulators would make convolutions of 64 and of 256 channels two kernels.
 */
const SHORT = 16_384;
export interface LongSum {
  /** A block is in the accumulators: they go into the totals and begin anew. */
  flush(): void;
  /** Brings everything together in the accumulators. */
  finish(): void;
}
/** Whether sums may be so long that their accumulators are two sets. */
export const isLong = (n: Nest): boolean =>
  n.segments.some((q) => (asConst(product(q.k.map((x) => x.extent))) ?? Number.POSITIVE_INFINITY) > SHORT);
/**
 * A second set of accumulators for sums that may be long: the error of a sum in one go grows with its terms. Undefined
 * where they are few.
 */
export function longSum(em: Emitter, n: Nest, accs: readonly string[]): LongSum | undefined {
  const { dtype } = n;
  if (!isLong(n)) return undefined;
  const totals = accs.map(() => em.fresh("total"));
  for (const name of totals) em.put({ k: "var", name, x: widen(lit(0, dtype), 4) });
  const add = (into: string, from: string): void =>
    em.put({ k: "set", name: into, x: bin("+", variable(into, dtype, 4), variable(from, dtype, 4)) });
  return {
    flush() {
      for (const [i, c] of accs.entries()) {
        add(totals[i], c);
        em.put({ k: "set", name: c, x: widen(lit(0, dtype), 4) });
      }
    },
    finish() {
      for (const [i, c] of accs.entries()) add(c, totals[i]);
    },
  };
}
/** A loop below `extent` as one over blocks, each of which goes into the totals. */
export function inBlocks(
  em: Emitter,
  long: LongSum,
  name: string,
  extent: X,
  body: (from: X, end: X) => void,
  first: X = lit(0),
): void {
  em.loop(
    undefined,
    name,
    extent,
    (from) => {
      body(from, em.let("end", call("min", [bin("+", from, lit(SERIAL)), extent], "i32")));
      long.flush();
    },
    first,
    lit(SERIAL),
  );
}
