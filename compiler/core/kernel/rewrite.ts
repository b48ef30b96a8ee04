// Kernel code with other names, buffers and words. In: what each is now. Out: functions on expressions, statements and
// functions. What is shared in the code stays shared, unless places are told apart, and an expression in which nothing
// changes stays what it is.
import {
  type BufferSlot,
  type CodeFunction,
  type MatrixPlace,
  type OverrideSlot,
  partsOf,
  type Stmt,
  type Width,
  withParts,
  type X,
} from "./code.ts";

export interface Rewriting {
  readonly buffer: (b: BufferSlot) => BufferSlot;
  /** Where an element, or four of them, lies in what is bound now. */
  readonly place?: (b: BufferSlot, index: X, width: Width) => X;
  /** Of what is declared in the code: locals, arrays, functions. */
  readonly name?: (name: string) => string;
  readonly variable?: (x: Extract<X, { k: "var" }>) => X;
  readonly uniform?: (x: Extract<X, { k: "uniform" }>) => X;
  /** What is shared is asked about at each of its places, in the order in which they are read. */
  readonly apart?: true;
  readonly override?: (slot: OverrideSlot) => OverrideSlot;
  /** Of `/` and `%`: what is divided by now, `by`, in the expression that was `x`. */
  readonly divisor?: (by: X, x: X) => X;
}

export function rewriting(to: Rewriting) {
  const name = to.name ?? ((text: string) => text);
  const place = to.place ?? ((_b: BufferSlot, index: X) => index);
  const made = new Map<X, X>();
  const expr = (x: X): X => {
    if (x.k === "lit") return x;
    let out = made.get(x);
    if (!out) {
      out = own(withParts(x, partsOf(x).map(expr)), x);
      if (!to.apart) made.set(x, out);
    }
    return out;
  };
  /** What an expression says itself, beside its parts. */
  const own = (x: X, was: X): X => {
    switch (x.k) {
      case "bin":
        return to.divisor && (x.op === "/" || x.op === "%") ? withParts(x, [x.a, to.divisor(x.b, was)]) : x;
      case "var":
        return to.variable ? to.variable(x) : x;
      case "uniform":
        return to.uniform ? to.uniform(x) : x;
      case "override":
        return to.override ? { ...x, slot: to.override(x.slot) } : x;
      case "load":
        return { ...x, buffer: to.buffer(x.buffer), index: place(x.buffer, x.index, x.width) };
      case "call":
        return to.name && x.fn.startsWith("fn:") ? { ...x, fn: `fn:${name(x.fn.slice(3))}` } : x;
      case "shared":
      case "element":
        return to.name ? { ...x, name: name(x.name) } : x;
      default:
        return x;
    }
  };
  const matrixPlace = (p: MatrixPlace): MatrixPlace => ({
    ...p,
    array: name(p.array),
    index: expr(p.index),
  });
  const stmt = (s: Stmt): Stmt => {
    switch (s.k) {
      case "let":
      case "var":
      case "set":
        return { ...s, x: expr(s.x), name: name(s.name) };
      case "array":
        return { ...s, parts: s.parts.map(expr), name: name(s.name) };
      case "for":
        return {
          ...s,
          name: name(s.name),
          from: expr(s.from),
          below: expr(s.below),
          step: expr(s.step),
          body: s.body.map(stmt),
        };
      case "if":
        return { ...s, cond: expr(s.cond), body: s.body.map(stmt) };
      case "store":
        return {
          ...s,
          buffer: to.buffer(s.buffer),
          index: place(s.buffer, expr(s.index), s.x.width),
          x: expr(s.x),
        };
      case "setShared":
        return { ...s, name: name(s.name), index: expr(s.index), x: expr(s.x) };
      case "run":
        return { ...s, fn: name(s.fn), args: s.args.map(expr) };
      case "matrix":
        return { ...s, name: name(s.name), ...(s.from ? { from: matrixPlace(s.from) } : {}) };
      case "multiply":
        return { ...s, into: name(s.into), left: name(s.left), right: name(s.right) };
      case "storeMatrix":
        return { ...s, matrix: name(s.matrix), to: matrixPlace(s.to) };
      case "barrier":
      case "return":
        return s;
    }
  };
  const fn = (f: CodeFunction): CodeFunction => ({
    name: name(f.name),
    params: f.params.map((p) => ({ ...p, name: name(p.name) })),
    body: f.body.map(stmt),
    ...(f.result ? { result: expr(f.result) } : {}),
  });
  return { expr, stmt, fn };
}
