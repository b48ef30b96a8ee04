// Builds scalar expressions: hash-consed, with index arithmetic in linear normal form.
// In: an operator's `lower` calls; a resolver that says what reading a graph value means (a load, or the producer's own
// expression: that is fusion by substitution). Out: Scalars. The facts a schedule asks about an expression (range,
// stride along an axis, divisibility) live beside it in kernel/facts.ts.
import {
  asConst,
  type Dim,
  type DimLike,
  add as dAdd,
  dim,
  mul as dMul,
  neg as dNeg,
  exactQuotient,
  isConst,
  ONE,
  substitute,
  sym,
  ZERO,
} from "../dims/dim.ts";
import type { DType, Value } from "../ir/types.ts";
import { inRange, maxOf } from "./facts.ts";
import { callFunction, functionDtype, overflowed } from "./functions.ts";
import type { Axis, Combine, Lowering, Scalar, ScalarOf } from "./scalar.ts";

export interface IndexTerm {
  readonly coef: Dim;
  readonly atom: Scalar;
}

export interface ScalarContext extends Lowering {
  axis(name: string, extent: DimLike): Axis;
  axisValue(axis: Axis): Scalar;
  load(value: Value, at: readonly Scalar[]): Scalar;
  /** A fold over given axes (schedules build these; operators use `fold`). */
  foldOver(combine: Combine, axes: readonly Axis[], body: Scalar): Scalar;
  /** 0 <= x < extent as a bool. */
  inside(x: Scalar, extent: DimLike): Scalar;
  /** The sum of all these, each times a size, and of an offset. */
  isum(xs: readonly Scalar[], by: readonly DimLike[], offset?: DimLike): Scalar;
  /** Replaces axes by index scalars, simplifying again. */
  substitute(x: Scalar, by: ReadonlyMap<Axis, Scalar>): Scalar;
  /** Rebuilds bottom-up, replacing nodes for which `f` gives something. */
  rewrite(x: Scalar, f: (s: Scalar) => Scalar | undefined): Scalar;
  /** What opaque symbols stand for. */
  readonly opaques: ReadonlyMap<string, Dim>;
  /** One that goes on from here by itself: what either makes from now on, the other knows nothing of. */
  fork(): ScalarContext;
}

/** A size with what opaque symbols stand for. */
export const resolved = (s: ScalarContext, d: Dim): Dim => substitute(d, (name) => s.opaques.get(name));

/** The fold that an operator's expression is, but for the rounding of a sum in half precision. */
export function foldOf(x: Scalar): ScalarOf<"fold"> | undefined {
  if (x.kind === "fold") return x;
  return x.kind === "call" && x.fn === "cast_f16" && x.args[0].kind === "fold" ? x.args[0] : undefined;
}

/** The linear form of an i32 scalar. */
export function indexForm(x: Scalar): { terms: readonly IndexTerm[]; offset: Dim } {
  if (x.kind === "index") return x;
  if (x.kind === "const") return { terms: [], offset: dim(x.value) };
  return { terms: [{ coef: ONE, atom: x }], offset: ZERO };
}

/** Three numbers below this, and one of a function, are one that is exact: fewer than 2 ** 11 functions. */
const MOST_SCALARS = 2 ** 21;

const NONE: readonly Axis[] = [];
/** Both of two lists that are sorted by id; one of them where it has all. */
function united(a: readonly Axis[], b: readonly Axis[]): readonly Axis[] {
  if (a === b || b.length === 0) return a;
  if (a.length === 0) return b;
  const out: Axis[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (j === b.length || (i < a.length && a[i].id < b[j].id)) out.push(a[i++]);
    else {
      if (i < a.length && a[i].id === b[j].id) i++;
      out.push(b[j++]);
    }
  }
  return out.length === a.length ? a : out.length === b.length ? b : out;
}

const IDENTITY: Record<Combine, { float: number; int: number; uint: number }> = {
  add: { float: 0, int: 0, uint: 0 },
  mul: { float: 1, int: 1, uint: 1 },
  max: { float: -Infinity, int: -2147483648, uint: 0 },
  min: { float: Infinity, int: 2147483647, uint: 4294967295 },
};
/** The neutral element of a combine in a dtype. */
export function identityOf(combine: Combine, dtype: DType): number {
  const row = IDENTITY[combine];
  return dtype === "f32" || dtype === "f16"
    ? row.float
    : dtype === "u32" || dtype === "bool"
      ? row.uint
      : row.int;
}

/** All that a lowering has made. */
interface Made {
  readonly nextId: number;
  readonly nextAxis: number;
  readonly table: ReadonlyMap<string | number, Scalar>;
  readonly functions: ReadonlyMap<string, number>;
  readonly axisValues: ReadonlyMap<Axis, Scalar>;
  readonly opaques: ReadonlyMap<string, Dim>;
  readonly opaqueByKey: ReadonlyMap<string, Dim>;
  readonly read: ReadonlyMap<string, Scalar>;
}

/**
 * `resolve`: what elements of a value are, by their coordinates, where that is no load. `plain`: sizes that might stay parameters of the kernel
 * (opaque ones) are what they are.
 */
export function createLowering(
  resolve: (s: ScalarContext, value: Value) => ((at: readonly Scalar[]) => Scalar) | undefined = () =>
    undefined,
  plain = false,
  from?: Made,
): ScalarContext {
  let nextId = from?.nextId ?? 0;
  let nextAxis = from?.nextAxis ?? 0;
  const table = new Map(from?.table);
  const functions = new Map(from?.functions);
  const axisValues = new Map(from?.axisValues);
  const opaques = new Map(from?.opaques);
  const opaqueByKey = new Map(from?.opaqueByKey);
  /** What was resolved, by value and coordinates. */
  const read = new Map(from?.read);

  const free = (xs: readonly Scalar[]): readonly Axis[] => {
    let all: readonly Axis[] = NONE;
    for (let i = 0; i < xs.length; i++) all = united(all, xs[i].free);
    return all;
  };
  type Fields = { [K in Scalar["kind"]]: Omit<ScalarOf<K>, "id" | "free" | "dtype"> }[Scalar["kind"]];
  /** A function of one or two, by numbers: no text is made for it. */
  const callKey = (fn: string, args: readonly Scalar[]): string | number => {
    if (args.length > 2 || nextId >= MOST_SCALARS) return `${fn}(${args.map((a) => a.id)})`;
    let f = functions.get(fn);
    if (f === undefined) {
      f = functions.size;
      functions.set(fn, f);
    }
    const second = args.length > 1 ? args[1].id + 1 : 0;
    return (f * MOST_SCALARS + args[0].id) * MOST_SCALARS + second;
  };
  const intern = (key: string | number, dtype: DType, freeAxes: readonly Axis[], fields: Fields): Scalar => {
    const old = table.get(key);
    if (old) return old;
    const made = { id: nextId++, dtype, free: freeAxes, ...fields } as Scalar;
    table.set(key, made);
    return made;
  };

  const index = (terms: readonly IndexTerm[], offset: Dim): Scalar => {
    const list = mergedTerms(terms);
    if (list.length === 1 && isConst(list[0].coef, 1) && isConst(offset, 0)) return list[0].atom;
    let key = `x${offset.key}`;
    for (let i = 0; i < list.length; i++) key += `|${list[i].coef.key}@${list[i].atom.id}`;
    const old = table.get(key);
    if (old) return old;
    return intern(key, "i32", free(list.map((t) => t.atom)), { kind: "index", terms: list, offset });
  };
  const scaled = (x: Scalar, by: Dim): readonly IndexTerm[] =>
    indexForm(x).terms.map((t) => ({ coef: dMul(t.coef, by), atom: t.atom }));

  const resolved = (value: Value, at: readonly Scalar[]): Scalar | undefined => {
    const how = resolve(s, value);
    if (!how) return undefined;
    const key = `${value.node.id}.${value.index}(${at.map((a) => a.id)})`;
    let out = read.get(key);
    if (!out) {
      out = how(at);
      read.set(key, out);
    }
    return out;
  };

  const s: ScalarContext = {
    opaques,
    fork: () =>
      createLowering(resolve, plain, {
        nextId,
        nextAxis,
        table,
        functions,
        axisValues,
        opaques,
        opaqueByKey,
        read,
      }),
    axis: (name, extent) => ({ id: nextAxis++, name, extent: dim(extent) }),
    axisValue(axis) {
      let made = axisValues.get(axis);
      if (!made) {
        made = isConst(axis.extent, 1)
          ? index([], ZERO)
          : intern(`a${axis.id}`, "i32", [axis], { kind: "axis", axis });
        axisValues.set(axis, made);
      }
      return made;
    },
    const(dtype, value) {
      if (dtype === "i32") return index([], dim(value));
      const v = dtype === "bool" ? (value ? 1 : 0) : value;
      return intern(`c${dtype}${Object.is(v, -0) ? "-0" : v}`, dtype, [], { kind: "const", value: v });
    },
    dim: (d) => index([], dim(d)),
    opaque(name, d) {
      const bound = dim(d);
      if (plain) return bound;
      const key = `${name}|${bound.key}`;
      let made = opaqueByKey.get(key);
      if (!made) {
        let unique = `$${name}`;
        for (let i = 1; opaques.has(unique); i++) unique = `$${name}${i}`;
        made = sym(unique);
        opaqueByKey.set(key, made);
        opaques.set(unique, bound);
      }
      return made;
    },
    iadd(...xs) {
      const terms: IndexTerm[] = [];
      let offset = ZERO;
      for (let k = 0; k < xs.length; k++) {
        const x = xs[k];
        if (isSize(x)) offset = dAdd(offset, x);
        else {
          const f = indexForm(x);
          for (let i = 0; i < f.terms.length; i++) terms.push(f.terms[i]);
          if (f.offset !== ZERO) offset = dAdd(offset, f.offset);
        }
      }
      return index(terms, offset);
    },
    isum(xs, by, from = 0) {
      const terms: IndexTerm[] = [];
      let offset = dim(from);
      for (let i = 0; i < xs.length; i++) {
        const f = indexForm(xs[i]);
        const one = isConst(by[i], 1);
        for (let k = 0; k < f.terms.length; k++) {
          const t = f.terms[k];
          terms.push(one ? t : { coef: dMul(t.coef, by[i]), atom: t.atom });
        }
        if (f.offset !== ZERO) offset = dAdd(offset, dMul(f.offset, by[i]));
      }
      return index(terms, offset);
    },
    imul(x, by) {
      if (isConst(by, 1)) return x;
      return index(scaled(x, dim(by)), dMul(indexForm(x).offset, by));
    },
    idiv(x, by) {
      const d = dim(by);
      if (isConst(d, 1)) return x;
      // Nothing has coordinates in an empty tensor.
      if (isConst(d, 0)) return index([], ZERO);
      const { terms, offset } = indexForm(x);
      const whole: IndexTerm[] = [];
      const rest: IndexTerm[] = [];
      for (const t of terms) {
        const q = exactQuotient(t.coef, d);
        if (q) whole.push({ coef: q, atom: t.atom });
        else rest.push(t);
      }
      // The part of the offset that d divides leaves the division, too.
      let wholeOffset = ZERO;
      let restOffset = offset;
      const oq = exactQuotient(offset, d);
      const n = asConst(offset);
      const dn = asConst(d);
      if (oq) {
        wholeOffset = oq;
        restOffset = ZERO;
      } else if (n !== undefined && dn !== undefined) {
        wholeOffset = dim(Math.floor(n / dn));
        restOffset = dim(n - dn * Math.floor(n / dn));
      }
      const remainder = index(rest, restOffset);
      if (inRange(remainder, d)) return index(whole, wholeOffset);
      const rf = indexForm(remainder);
      // floor(floor(y / p) / q) = floor(y / (p q))
      if (
        rf.terms.length === 1 &&
        rf.terms[0].atom.kind === "div" &&
        isConst(rf.terms[0].coef, 1) &&
        isConst(rf.offset, 0)
      ) {
        const inner = rf.terms[0].atom;
        return s.iadd(index(whole, wholeOffset), s.idiv(inner.arg, dMul(inner.by, d)));
      }
      // floor((g x + y) / (g q)) = floor(x / q) where 0 <= y < g: what is finer than all that counts leaves the division.
      for (const { coef: g } of rf.terms) {
        const q = isConst(g, 1) ? undefined : exactQuotient(d, g);
        if (!q) continue;
        const coarse: IndexTerm[] = [];
        const fine: IndexTerm[] = [];
        for (const t of rf.terms) {
          const c = exactQuotient(t.coef, g);
          if (c) coarse.push({ coef: c, atom: t.atom });
          else fine.push(t);
        }
        const shift = exactQuotient(rf.offset, g);
        const x = index(coarse, shift ?? ZERO);
        if (maxOf(x) !== undefined && inRange(index(fine, shift ? ZERO : rf.offset), g))
          return s.iadd(index(whole, wholeOffset), s.idiv(x, q));
      }
      // Kernels divide unsigned: what is left inside must not have become negative. x itself is not.
      if (maxOf(remainder) === undefined) {
        const whole = intern(`d${x.id}/${d.key}`, "i32", x.free, { kind: "div", arg: x, by: d });
        return index([{ coef: ONE, atom: whole }], ZERO);
      }
      const atom = intern(`d${remainder.id}/${d.key}`, "i32", remainder.free, {
        kind: "div",
        arg: remainder,
        by: d,
      });
      return index([...whole, { coef: ONE, atom }], wholeOffset);
    },
    imod: (x, by) => s.isum([x, s.idiv(x, by)], [1, dNeg(dim(by))]),
    load(value, at) {
      return intern(`l${value.node.id}.${value.index}(${at.map((a) => a.id)})`, value.type.dtype, free(at), {
        kind: "load",
        value,
        at,
      });
    },
    read(value, at, opts) {
      const shape = value.type.shape;
      // An axis of extent 1 has one coordinate.
      const coords = at.map((x, i) =>
        isConst(shape[i], 1) && opts?.outside === undefined ? index([], ZERO) : x,
      );
      const inner = resolved(value, coords) ?? s.load(value, coords);
      if (opts?.outside === undefined) return inner;
      const guards = (opts.guard ?? shape.map((_, i) => i)).map((i) => s.inside(at[i], shape[i]));
      const ok = guards.reduce((a, b) => s.call("and", a, b), s.const("bool", 1));
      return s.select(ok, inner, s.const(value.type.dtype, opts.outside));
    },
    inside(x, extent) {
      if (inRange(x, dim(extent))) return s.const("bool", 1);
      const known = literal(x);
      const most = asConst(extent);
      if (known !== undefined && (known < 0 || (most !== undefined && known >= most)))
        return s.const("bool", 0);
      const to = index([], dim(extent));
      return intern(callKey("inside", [x, to]), "bool", x.free, {
        kind: "call",
        fn: "inside",
        args: [x, to],
      });
    },
    call(fn, ...given) {
      // A literal comes second, however it was written: one spelling, one kernel.
      const flip = (fn === "add" || fn === "mul") && given[0].kind === "const" && given[1].kind !== "const";
      const args = flip ? [given[1], given[0]] : given;
      const simple = simplifyCall(s, fn, args);
      if (simple) return simple;
      const dtype = functionDtype(
        fn,
        args.map((a) => a.dtype),
      );
      return intern(callKey(fn, args), dtype, free(args), { kind: "call", fn, args });
    },
    select(cond, yes, no) {
      if (cond.kind === "const") return cond.value ? yes : no;
      if (yes === no) return yes;
      return intern(`select(${cond.id},${yes.id},${no.id})`, yes.dtype, free([cond, yes, no]), {
        kind: "call",
        fn: "select",
        args: [cond, yes, no],
      });
    },
    cast(x, dtype) {
      if (x.dtype === dtype) return x;
      if (
        x.kind === "const" ||
        (x.kind === "index" && x.terms.length === 0 && asConst(x.offset) !== undefined)
      ) {
        const v = x.kind === "const" ? x.value : (asConst(x.offset) as number);
        if (dtype === "i32" && Number.isInteger(v) && Math.abs(v) < 2 ** 31) return s.const("i32", v);
        if (dtype === "f32" || dtype === "f16") return s.const(dtype, v);
        if (dtype === "bool") return s.const("bool", v !== 0 ? 1 : 0);
      }
      return intern(callKey(`cast_${dtype}`, [x]), dtype, x.free, {
        kind: "call",
        fn: `cast_${dtype}`,
        args: [x],
      });
    },
    fold(combine, extents, body, names = []) {
      const axes = extents.map((e, i) => s.axis(names[i] ?? `k${i}`, e));
      const x = body(...axes.map((a) => s.axisValue(a)));
      if (x.dtype !== "f16" || combine === "max" || combine === "min") return s.foldOver(combine, axes, x);
      // Half precision adds up in single, products included, and is rounded once at the end.
      const wide =
        x.kind === "call" && x.fn === "mul"
          ? s.call("mul", s.cast(x.args[0], "f32"), s.cast(x.args[1], "f32"))
          : s.cast(x, "f32");
      return s.cast(s.foldOver(combine, axes, wide), "f16");
    },
    foldOver(combine, axes, body) {
      // An axis of extent 1 takes part only as coordinate 0, which axisValue already says.
      const real = axes.filter((a) => !isConst(a.extent, 1));
      if (real.length === 0) return body;
      const bound = new Set(real);
      return intern(
        `f${combine}[${real.map((a) => a.id)}](${body.id})`,
        body.dtype,
        body.free.filter((a) => !bound.has(a)),
        { kind: "fold", combine, axes: real, body },
      );
    },
    substitute(x, by) {
      return s.rewrite(x, (y) =>
        y.kind === "axis" ? by.get(y.axis) : y.free.some((a) => by.has(a)) ? undefined : y,
      );
    },
    rewrite(x, f) {
      const memo = new Map<Scalar, Scalar>();
      const go = (y: Scalar): Scalar => {
        const known = memo.get(y);
        if (known) return known;
        const out = f(y) ?? rebuild(y);
        memo.set(y, out);
        return out;
      };
      const rebuild = (y: Scalar): Scalar => {
        switch (y.kind) {
          case "const":
          case "axis":
            return y;
          case "index":
            return s.iadd(...y.terms.map((t) => s.imul(go(t.atom), t.coef)), y.offset);
          case "div":
            return s.idiv(go(y.arg), y.by);
          case "load":
            return s.load(y.value, y.at.map(go));
          case "fold":
            return s.foldOver(y.combine, y.axes, go(y.body));
          case "call": {
            const args = y.args.map(go);
            if (y.fn === "select") return s.select(args[0], args[1], args[2]);
            if (y.fn === "inside") return s.inside(args[0], indexForm(args[1]).offset);
            if (y.fn.startsWith("cast_")) return s.cast(args[0], y.dtype);
            return s.call(y.fn, ...args);
          }
        }
      };
      return go(x);
    },
  };
  return s;
}

/** Terms by atom, each atom once, none with 0. */
function mergedTerms(terms: readonly IndexTerm[]): readonly IndexTerm[] {
  let inOrder = true;
  for (let i = 0; i < terms.length && inOrder; i++)
    inOrder = !isConst(terms[i].coef, 0) && (i === 0 || terms[i - 1].atom.id < terms[i].atom.id);
  if (inOrder) return terms;
  const merged = new Map<number, IndexTerm>();
  for (const t of terms) {
    const old = merged.get(t.atom.id);
    merged.set(t.atom.id, old ? { coef: dAdd(old.coef, t.coef), atom: t.atom } : t);
  }
  return [...merged.values()].filter((t) => !isConst(t.coef, 0)).sort((a, b) => a.atom.id - b.atom.id);
}

const isSize = (x: Scalar | DimLike): x is DimLike => typeof x === "number" || !("kind" in x);

const literal = (x: Scalar): number | undefined =>
  x.kind === "const" ? x.value : x.kind === "index" && x.terms.length === 0 ? asConst(x.offset) : undefined;

const isFloat = (t: DType): boolean => t === "f32" || t === "f16";

/** Identities that hold bit for bit (x + 0 is left alone for floats only where -0 would matter: x + 0.0 keeps -0 + 0 = 0). */
function simplifyCall(s: ScalarContext, fn: string, args: readonly Scalar[]): Scalar | undefined {
  const [a, b] = args;
  // Of literals alone: here, as the device would have it. Its language may refuse what is infinite or no number, and wrap nothing.
  const known = args.map(literal);
  if (known.every((v): v is number => v !== undefined)) {
    const dtype = functionDtype(
      fn,
      args.map((x) => x.dtype),
    );
    return s.const(dtype, overflowed(dtype, callFunction(fn, a.dtype, ...known)));
  }
  if (a.dtype === "i32") {
    // Coordinates stay in normal form: sizes, which do not wrap. So does data for which that makes no difference.
    const fits = (x: Scalar): Scalar | undefined => {
      const top = maxOf(x);
      const most = top && asConst(top);
      return most !== undefined && most < 2 ** 31 ? x : undefined;
    };
    if (fn === "add" && isIndexLike(a) && isIndexLike(b)) return fits(s.iadd(a, b));
    if (fn === "mul" && isIndexLike(a) && isIndexLike(b)) {
      const fa = indexForm(a);
      const fb = indexForm(b);
      if (fb.terms.length === 0) return fits(s.imul(a, fb.offset));
      if (fa.terms.length === 0) return fits(s.imul(b, fa.offset));
    }
  }
  // What a compiler may take for 0, 1, true or false whatever x is: NaN and infinity are told apart by bits.
  if (a === b && isFloat(a.dtype)) {
    if (fn === "eq") return s.call("not", s.call("is_nan", a));
    if (fn === "ne") return s.call("is_nan", a);
    const otherwise = s.const(a.dtype, Number.NaN);
    if (fn === "sub") return s.select(s.call("is_finite", a), s.const(a.dtype, 0), otherwise);
    if (fn === "div")
      return s.select(
        s.call("and", s.call("is_finite", a), s.call("not", s.call("eq", a, s.const(a.dtype, 0)))),
        s.const(a.dtype, 1),
        otherwise,
      );
  }
  const [la, lb] = known;
  switch (fn) {
    case "and":
      if (la !== undefined) return la ? b : a;
      if (lb !== undefined) return lb ? a : b;
      return a === b ? a : undefined;
    case "or":
      if (la !== undefined) return la ? a : b;
      if (lb !== undefined) return lb ? b : a;
      return a === b ? a : undefined;
    case "not":
      return la !== undefined ? s.const("bool", la ? 0 : 1) : undefined;
    case "mul":
      if (la === 1) return b;
      if (lb === 1) return a;
      return undefined;
    case "div":
      return lb === 1 ? a : undefined;
    case "add":
      // Said as a difference, so that x + -x is one.
      if (isFloat(a.dtype) && b.kind === "call" && b.fn === "neg") return s.call("sub", a, b.args[0]);
      if (la === 0 && a.dtype !== "f32" && a.dtype !== "f16") return b;
      if (lb === 0) return a;
      return undefined;
    case "sub":
      return lb === 0 ? a : undefined;
    default:
      return undefined;
  }
}
/** Coordinates and sizes, not data: integer data may wrap, coordinates do not. */
const isIndexLike = (x: Scalar): boolean =>
  x.kind === "index" || x.kind === "axis" || x.kind === "div" || (x.kind === "const" && x.dtype === "i32");
