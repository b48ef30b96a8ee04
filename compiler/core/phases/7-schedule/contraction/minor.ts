// Which contractions are next to nothing of what a graph computes, where open sizes are what they usually are, and whether nearly all
// of it is of a kind. In: a fused graph. Out: answers.
import { asConst, type Dim, isConst, mul, product, substitute } from "../../../dims/dim.ts";
import { type ContractionFacts, factsOf } from "../../../regions/facts.ts";
import type { Fused, Region } from "../../../regions/region.ts";

/** What a symbol counts for when a tile is chosen. */
export const NOMINAL_ROWS = 32;
/** A size at such symbols; infinite where something else is in it. */
export const nominal = (d: Dim, at = NOMINAL_ROWS): number =>
  asConst(d) ?? asConst(substitute(d, () => at)) ?? Number.POSITIVE_INFINITY;

/** Part of all products that is next to nothing, and what an open side of an image, or length, is about. */
const MINOR = 1 / 128;
const USUAL_SIDE = 256;
/** Part that is nearly all. */
const MOST = 7 / 8;

interface Cost {
  readonly of: Region;
  readonly cost: number;
  readonly cols: Dim;
  readonly facts: ContractionFacts;
  /** No product of a batch. */
  readonly one: boolean;
}
const costs = new WeakMap<Fused, readonly Cost[]>();
/** What each contraction computes. */
function costsOf(fused: Fused): readonly Cost[] {
  let known = costs.get(fused);
  if (!known) {
    known = countCosts(fused);
    costs.set(fused, known);
  }
  return known;
}
const countCosts = (fused: Fused): readonly Cost[] =>
  fused.groups.flatMap((of) => {
    const facts = of.kind === "contraction" ? factsOf(of.anchor).contraction : undefined;
    if (!facts) return [];
    const { shape } = of.anchor.outs[0].type;
    const cols = product([...facts.cols, ...facts.splitCols].map((i) => shape[i]));
    const one = facts.batch.every((i) => isConst(shape[i], 1));
    return [{ of, cost: nominal(mul(product(shape), facts.terms), USUAL_SIDE), cols, facts, one }];
  });
const sumOf = (list: readonly { readonly cost: number }[]): number => list.reduce((n, x) => n + x.cost, 0);

/** A loop over all terms of a sum, and columns side by side. */
export interface Loop {
  readonly terms: Dim;
  readonly cols: Dim;
}
/** The loops of the linear layers of a graph, which are no products of a batch. */
export const linearLoops = (fused: Fused): ReadonlyMap<Region, Loop> =>
  new Map(
    costsOf(fused)
      .filter(isLinear)
      .map(({ of, cols, facts }) => [of, { cols, terms: facts.terms }]),
  );
const isLinear = ({ one, facts }: Cost): boolean => one && facts.sums === 1;
/**
 * Whether nearly all that a graph's contractions compute is linear layers of such loops; products of a batch, which have a text of
 * their own, are left out.
 */
export function mostAre(fused: Fused, such: (loop: Loop) => boolean): boolean {
  const all = costsOf(fused).filter((x) => x.one);
  const are = all.filter((x) => isLinear(x) && such({ terms: x.facts.terms, cols: x.cols }));
  return sumOf(are) >= sumOf(all) * MOST;
}

const known = new WeakMap<Fused, ReadonlySet<Region>>();
export function isMinor(fused: Fused, g: Region): boolean {
  let minor = known.get(fused);
  if (!minor) {
    const all = costsOf(fused);
    const least = sumOf(all) * MINOR;
    minor = new Set(all.filter(({ cost }) => cost < least).map(({ of }) => of));
    known.set(fused, minor);
  }
  return minor.has(g);
}
