// What can be proved about an index expression: its range, its stride along an axis, its divisibility.
// In: Scalars of dtype i32. Out: facts that hold for every value of the symbols; "not shown" is always a safe answer.
// Separate because both the simplifier (floor of a coordinate in range is 0) and the schedules (vec4 or scalar) ask.
import {
  add,
  asConst,
  type Dim,
  exactQuotient,
  floorDiv,
  isConst,
  literalDivisor,
  mul,
  neg,
  ONE,
  sub,
  ZERO,
} from "../dims/dim.ts";
import type { Axis, Scalar } from "./scalar.ts";

interface Term {
  readonly coef: Dim;
  readonly atom: Scalar;
}
const form = (x: Scalar): { terms: readonly Term[]; offset: Dim } => {
  if (x.kind === "index") return x;
  return { terms: [{ coef: ONE, atom: x }], offset: ZERO };
};

/** True when the size is >= 0 whatever its symbols (which are >= 0) are. */
export function nonNegative(d: Dim): boolean {
  for (let i = 0; i < d.terms.length; i++) if (d.terms[i].coef < 0) return false;
  return true;
}

/** A proven maximum of an atom known to be >= 0, or undefined. */
function atomMax(atom: Scalar): Dim | undefined {
  if (atom.kind === "axis") return sub(atom.axis.extent, 1);
  if (atom.kind === "div") {
    const top = maxOf(atom.arg);
    return top && floorDiv(top, atom.by);
  }
  return undefined;
}

/** A proven maximum of an index expression that is proven to be >= 0, else undefined. */
export function maxOf(x: Scalar): Dim | undefined {
  const f = form(x);
  if (!nonNegative(f.offset)) return undefined;
  if (!f.terms.some((t) => t.atom.kind === "div" && !nonNegative(t.coef))) return summed(f.terms, f.offset);
  const terms = new Map(f.terms.map((t) => [t.atom.id, t]));
  let top: Dim = f.offset;
  let bottom: Dim = f.offset;
  // c * arg - c * by * floor(arg / by) is c * (arg mod by), in [0, c * (by - 1)].
  for (const t of f.terms) {
    if (t.atom.kind !== "div" || nonNegative(t.coef)) continue;
    const c = exactQuotient(neg(t.coef), t.atom.by);
    if (!c || !nonNegative(c)) return undefined;
    const arg = form(t.atom.arg);
    for (const a of arg.terms) {
      const have = terms.get(a.atom.id);
      if (!have) return undefined;
      const left = sub(have.coef, mul(c, a.coef));
      if (asConst(left) === 0) terms.delete(a.atom.id);
      else terms.set(a.atom.id, { coef: left, atom: a.atom });
    }
    // The terms hold c * (arg - its offset): what is missing is the offset's part.
    const missing = neg(mul(c, arg.offset));
    top = add(top, mul(c, sub(t.atom.by, 1)), missing);
    bottom = add(bottom, missing);
    terms.delete(t.atom.id);
  }
  return nonNegative(bottom) ? summed([...terms.values()], top) : undefined;
}
/** `top` and the most that all these are, where none may be negative. */
function summed(terms: readonly Term[], top: Dim): Dim | undefined {
  let sum = top;
  for (let i = 0; i < terms.length; i++) {
    const { coef, atom } = terms[i];
    const most = atomMax(atom);
    if (!most || !nonNegative(coef)) return undefined;
    sum = add(sum, isConst(coef, 1) ? most : mul(coef, most));
  }
  return sum;
}

/** 0 <= x < extent for all values of axes and symbols. */
export function inRange(x: Scalar, extent: Dim): boolean {
  const top = maxOf(x);
  return top !== undefined && nonNegative(sub(sub(extent, 1), top));
}

/** True when x is a multiple of n whatever axes and symbols are, given that `aligned` axes take multiples of n only. */
export function multipleOf(x: Scalar, n: number, aligned?: ReadonlySet<Axis>): boolean {
  const f = form(x);
  return (
    literalDivisor(f.offset) % n === 0 &&
    f.terms.every(
      (t) =>
        literalDivisor(t.coef) % n === 0 ||
        (t.atom.kind === "axis" && aligned?.has(t.atom.axis)) ||
        atomMultiple(t.atom, n, aligned),
    )
  );
}
function atomMultiple(atom: Scalar, n: number, aligned?: ReadonlySet<Axis>): boolean {
  // floor(m n q / m) and the like: the argument is a multiple of by * n.
  if (atom.kind !== "div") return false;
  const by = asConst(atom.by);
  return by !== undefined && by > 0 && multipleOf(atom.arg, n * by, aligned);
}

/**
 * The change of x when `axis` steps by one inside an aligned group of `width` (a multiple-of-width base): a size, or
 * undefined where the steps are not all equal.
 */
export function strideAlong(x: Scalar, axis: Axis, width: number): Dim | undefined {
  if (!x.free.includes(axis)) return ZERO;
  switch (x.kind) {
    case "axis":
      return ONE;
    case "index": {
      let sum: Dim = ZERO;
      for (const t of x.terms) {
        const step = strideAlong(t.atom, axis, width);
        if (!step) return undefined;
        sum = add(sum, mul(t.coef, step));
      }
      return sum;
    }
    case "div": {
      const step = strideAlong(x.arg, axis, width);
      if (!step) return undefined;
      const q = exactQuotient(step, x.by);
      // A step divisible by the divisor moves the quotient by exactly that.
      if (q) return q;
      const s = asConst(step);
      // Inside an aligned group of width steps of s, floor(./by) is constant when by is a multiple of s * width and the
      // base is a multiple of s * width, too.
      if (
        s !== undefined &&
        s > 0 &&
        literalDivisor(x.by) % (s * width) === 0 &&
        multipleAtBase(x.arg, axis, s * width, width)
      )
        return ZERO;
      return undefined;
    }
    default:
      return undefined;
  }
}
/** True when x at axis = multiple of `width` is a multiple of n. */
function multipleAtBase(x: Scalar, axis: Axis, n: number, width: number): boolean {
  const f = form(x);
  return (
    literalDivisor(f.offset) % n === 0 &&
    f.terms.every((t) => {
      const c = literalDivisor(t.coef);
      if (t.atom.kind === "axis" && t.atom.axis === axis) return (c * width) % n === 0;
      return c % n === 0 || atomAtBase(t.atom, axis, n, width);
    })
  );
}
function atomAtBase(atom: Scalar, axis: Axis, n: number, width: number): boolean {
  if (atom.kind !== "div") return false;
  const by = asConst(atom.by);
  return by !== undefined && by > 0 && multipleAtBase(atom.arg, axis, n * by, width);
}

export const alignedAt = multipleAtBase;

/** Whether four elements along `lane`, from a multiple of four on, lie side by side, are one, or lie anywhere. */
export function lanesAlong(offset: Scalar, lane: Axis): "vector" | "same" | "scalars" {
  const step = strideAlong(offset, lane, 4);
  if (step && isConst(step, 1) && multipleAtBase(offset, lane, 4, 4)) return "vector";
  return step && isConst(step, 0) ? "same" : "scalars";
}
