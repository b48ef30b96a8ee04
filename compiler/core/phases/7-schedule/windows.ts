// Folds over a few places that are known, which are written out: what several of them load is then one load. In: what a thread
// computes, as expressions. Out: which folds, and their terms.
import { asConst } from "../../dims/dim.ts";
import type { ScalarContext } from "../../kernel/lowering.ts";
import { type Axis, foldsOf, loadsOf, type Scalar, type ScalarOf } from "../../kernel/scalar.ts";

type Fold = ScalarOf<"fold">;

/** Places of a window that is written out, at most. */
const FEW = 9;

/** The terms of a fold over some of its axes, whose sizes are known. */
export function termsOf(s: ScalarContext, fold: Fold, axes = fold.axes): readonly Scalar[] {
  const extents = axes.map((a) => asConst(a.extent) as number);
  return Array.from({ length: extents.reduce((n, e) => n * e, 1) }, (_, n) => {
    const at = new Map<Axis, Scalar>();
    let rest = n;
    for (const [i, axis] of [...axes.entries()].reverse()) {
      at.set(axis, s.dim(rest % extents[i]));
      rest = Math.floor(rest / extents[i]);
    }
    return s.substitute(fold.body, at);
  });
}

/** Folds that read the same windows as others of what a thread computes: the largest of each, and where that is. */
export function twinsOf(values: readonly Scalar[]): ReadonlySet<Fold> {
  const known = new Map<string, Fold[]>();
  for (const fold of new Set(values.flatMap(foldsOf))) {
    const key = windowOf(fold);
    if (key !== undefined) known.set(key, [...(known.get(key) ?? []), fold]);
  }
  return new Set([...known.values()].filter((folds) => folds.length > 1).flat());
}
/** What tells windows apart: their sizes, and the values that they read. Undefined where there are many places, or who knows how many. */
function windowOf(fold: Fold): string | undefined {
  const extents = fold.axes.map((a) => asConst(a.extent));
  if (extents.some((e) => e === undefined)) return undefined;
  const places = extents.reduce<number>((n, e) => n * (e ?? 0), 1);
  if (places < 1 || places > FEW) return undefined;
  const read = loadsOf(fold.body).filter((l) => fold.axes.some((a) => l.free.includes(a)));
  return `${extents.join()}:${[...new Set(read.map((l) => `${l.value.node.id}.${l.value.index}`))].sort().join()}`;
}
