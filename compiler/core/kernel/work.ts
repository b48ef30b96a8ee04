// What computing takes, roughly: arithmetic operations of expressions. In: expressions over axes. Out: a size. An estimate,
// for deciding what is worth its while and how much fits into one submission; index arithmetic is free.
import { add, type Dim, mul, product } from "../dims/dim.ts";
import { functionCost } from "./functions.ts";
import { children, type Scalar } from "./scalar.ts";

/**
 * Operations for one element of each of these; what they share is counted once, and the body of a fold as often as it is
 * combined. Folds in `made` are computed elsewhere and cost nothing here.
 */
export function workOf(xs: readonly Scalar[], made?: ReadonlySet<Scalar>): Dim {
  let own = 0;
  const folds: Dim[] = [];
  const seen = new Set<Scalar>();
  const visit = (x: Scalar): void => {
    if (seen.has(x) || made?.has(x)) return;
    seen.add(x);
    if (x.kind === "fold") {
      folds.push(mul(product(x.axes.map((a) => a.extent)), add(workOf([x.body], made), 1)));
      return;
    }
    if (x.kind === "load") own += 1;
    else if (x.kind === "call") own += functionCost(x.fn);
    for (const c of children(x)) visit(c);
  };
  for (const x of xs) visit(x);
  return add(own, ...folds);
}
