// Which contractions are next to nothing of what a graph computes, where open sizes are what they usually are. In: a fused graph.
// Out: an answer for each of its regions.
import { asConst, type Dim, mul, product, substitute } from "../../../dims/dim.ts";
import { factsOf } from "../../../regions/facts.ts";
import type { Fused, Region } from "../../../regions/region.ts";

/** What a symbol counts for when a tile is chosen. */
export const NOMINAL_ROWS = 32;
/** A size at such symbols; infinite where something else is in it. */
export const nominal = (d: Dim, at = NOMINAL_ROWS): number =>
  asConst(d) ?? asConst(substitute(d, () => at)) ?? Number.POSITIVE_INFINITY;

/** Part of all products that is next to nothing, and what an open side of an image, or length, is about. */
const MINOR = 1 / 128;
const USUAL_SIDE = 256;
const known = new WeakMap<Fused, ReadonlySet<Region>>();

export function isMinor(fused: Fused, g: Region): boolean {
  let minor = known.get(fused);
  if (!minor) {
    const costs = fused.groups.flatMap((of) => {
      const facts = of.kind === "contraction" ? factsOf(of.anchor).contraction : undefined;
      const [out] = of.anchor.outs;
      return facts ? [{ of, cost: nominal(mul(product(out.type.shape), facts.terms), USUAL_SIDE) }] : [];
    });
    const all = costs.reduce((sum, { cost }) => sum + cost, 0);
    minor = new Set(costs.filter(({ cost }) => cost < all * MINOR).map(({ of }) => of));
    known.set(fused, minor);
  }
  return minor.has(g);
}
