// Scalar expressions: what one element of a tensor is, as a function of its coordinates.
// In: coordinates and reads of graph values. Out: a hash-consed DAG that fusion substitutes into and schedules place at
// compute levels (a node's level is the innermost loop among its free axes). Index arithmetic is kept in a linear normal
// form over axes with Dim coefficients, so that reshapes of reshapes cancel and contiguity can be decided.
import type { Dim, DimLike } from "../dims/dim.ts";
import type { DType, Value } from "../ir/types.ts";

/** A loop or grid variable with values 0 .. extent - 1. */
export interface Axis {
  readonly id: number;
  readonly name: string;
  readonly extent: Dim;
}

export type Combine = "add" | "mul" | "max" | "min";

/** Scalar functions by name; their meaning is in kernel/functions.ts. */
export type Scalar = {
  readonly id: number;
  readonly dtype: DType;
  /** Axes this value depends on, sorted by id. */
  readonly free: readonly Axis[];
} & (
  | { readonly kind: "const"; readonly value: number }
  /** sum of coef * atom + offset, an i32; atoms are "axis", "div" or any other i32 scalar. */
  | {
      readonly kind: "index";
      readonly terms: readonly { readonly coef: Dim; readonly atom: Scalar }[];
      readonly offset: Dim;
    }
  | { readonly kind: "axis"; readonly axis: Axis }
  /** floor(arg / by); only as an atom of an index. */
  | { readonly kind: "div"; readonly arg: Scalar; readonly by: Dim }
  /** An element of a value that lives in a buffer. */
  | { readonly kind: "load"; readonly value: Value; readonly at: readonly Scalar[] }
  | { readonly kind: "call"; readonly fn: string; readonly args: readonly Scalar[] }
  | {
      readonly kind: "fold";
      readonly combine: Combine;
      readonly axes: readonly Axis[];
      readonly body: Scalar;
    }
);
export type ScalarOf<K extends Scalar["kind"]> = Extract<Scalar, { kind: K }>;

/** What an operator's `lower` builds with. */
export interface Lowering {
  const(dtype: DType, value: number): Scalar;
  /** An integer known at the dispatch. */
  dim(d: DimLike): Scalar;
  /**
   * A size that stays a parameter of the kernel even where it is a literal (a conv's stride), so that one kernel serves
   * many layers. Facts about it (divisibility) are given up.
   */
  opaque(name: string, d: DimLike): Dim;
  /** Index arithmetic on i32 scalars; normal forms are kept. */
  iadd(...xs: (Scalar | DimLike)[]): Scalar;
  imul(x: Scalar, by: DimLike): Scalar;
  /** floor(x / by) and x mod by, for x >= 0 and by > 0. */
  idiv(x: Scalar, by: DimLike): Scalar;
  imod(x: Scalar, by: DimLike): Scalar;
  /**
   * Element of an operand at coordinates. With `outside`, coordinates may lie outside the operand on any axis in
   * `guard` (default: all) and the result there is `outside`.
   */
  read(value: Value, at: readonly Scalar[], opts?: { outside?: number; guard?: readonly number[] }): Scalar;
  /** A scalar function from kernel/functions.ts; the dtype is that of its rule. */
  call(fn: string, ...args: Scalar[]): Scalar;
  select(cond: Scalar, yes: Scalar, no: Scalar): Scalar;
  cast(x: Scalar, dtype: DType): Scalar;
  /** combine over all points of `extents`; the empty fold is the combine's identity. */
  fold(
    combine: Combine,
    extents: readonly DimLike[],
    body: (...at: Scalar[]) => Scalar,
    names?: readonly string[],
  ): Scalar;
}

export function children(x: Scalar): readonly Scalar[] {
  switch (x.kind) {
    case "index":
      return x.terms.map((t) => t.atom);
    case "div":
      return [x.arg];
    case "load":
      return x.at;
    case "call":
      return x.args;
    case "fold":
      return [x.body];
    default:
      return [];
  }
}
/** What is of a kind in an expression, each once; within what `enters` is true of. */
function ofKind<K extends Scalar["kind"]>(
  x: Scalar,
  kind: K,
  enters: (y: Scalar) => boolean = () => true,
): ScalarOf<K>[] {
  const out: ScalarOf<K>[] = [];
  const seen = new Set<Scalar>();
  const visit = (y: Scalar): void => {
    if (seen.has(y)) return;
    seen.add(y);
    if (y.kind === kind) out.push(y as ScalarOf<K>);
    if (!enters(y)) return;
    const parts = children(y);
    for (let i = 0; i < parts.length; i++) visit(parts[i]);
  };
  visit(x);
  return out;
}
export const loadsOf = (x: Scalar): ScalarOf<"load">[] => ofKind(x, "load");
/** What is loaded behind the sums; what they are made of (a scale of weights that are stored in few bits) is loaded there. */
export const loadsBesideFolds = (x: Scalar): ScalarOf<"load">[] =>
  ofKind(x, "load", (y) => y.kind !== "fold");
export const foldsOf = (x: Scalar): ScalarOf<"fold">[] => ofKind(x, "fold");
