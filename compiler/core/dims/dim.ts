// Integer expressions over symbols: the sizes of tensors, attributes and grids.
// In: literals and symbols. Out: one normal form (a polynomial over symbols and floor/min/max atoms), so that equal
// normal forms are equal and printing is canonical. A symbol stands for an integer >= 0 that is known at the call.
// Separate from the graph because the checker, the planner and the kernels all speak it. Pure and immutable.

/** An indivisible factor of a monomial. `key` is its canonical text. */
export type Atom =
  | { readonly kind: "symbol"; readonly name: string; readonly key: string }
  | { readonly kind: "floor"; readonly num: Dim; readonly den: Dim; readonly key: string }
  | { readonly kind: "min" | "max"; readonly a: Dim; readonly b: Dim; readonly key: string };

/** coef * product(atoms); atoms are sorted by key and repeat for powers. */
export interface Term {
  readonly coef: number;
  readonly atoms: readonly Atom[];
  readonly key: string;
}

/** A normal form: terms sorted by key, none with coefficient 0; the empty sum is 0. */
export interface Dim {
  readonly terms: readonly Term[];
  readonly key: string;
}

export type DimLike = Dim | number;

/**
 * Thrown when an expression leaves the exact integers (`large`, beyond 2^53; `fraction`), divides by zero, has more terms
 * than anyone's shape (`complex`), is no text of a size, or is evaluated without a symbol's value.
 */
export class DimError extends Error {
  override name = "DimError";
  readonly why: "zero" | "fraction" | "large" | "complex" | "text" | "unbound";
  constructor(why: DimError["why"], message: string) {
    super(message);
    this.why = why;
  }
}

/** Terms of a polynomial before like ones are added, and characters of its text: (N + 1) ** 4000 ends here. */
const MAX_TERMS = 4096;
const MAX_TEXT = 2 ** 20;
const tooComplex = (): DimError => new DimError("complex", "a size has too many terms");

const monoKey = (atoms: readonly Atom[]): string => atoms.map((a) => a.key).join("*");

/** A normal form; its text is made when it is first asked for: most sums are on the way to others. */
class Normal implements Dim {
  readonly terms: readonly Term[];
  #key: string | undefined;

  constructor(terms: readonly Term[]) {
    this.terms = terms;
  }
  get key(): string {
    if (this.#key === undefined) {
      const key = printTerms(this.terms);
      if (key.length > MAX_TEXT) throw tooComplex();
      this.#key = key;
    }
    return this.#key;
  }
}
/** Higher-degree terms first, constants last; then by text. */
const before = (a: Term, b: Term): number =>
  b.atoms.length - a.atoms.length || (a.key < b.key ? -1 : a.key > b.key ? 1 : 0);
const exact = (coef: number): number => {
  if (!Number.isSafeInteger(coef)) throw new DimError("large", "a size exceeds 2^53");
  return coef;
};
/** Terms that are in order, each once, none 0. */
function normal(terms: readonly Term[]): Dim {
  if (terms.length === 0) return ZERO;
  return terms.length === 1 && terms[0].atoms.length === 0 ? dim(terms[0].coef) : new Normal(terms);
}

function fromTerms(list: readonly Term[]): Dim {
  if (list.length > MAX_TERMS) throw tooComplex();
  if (list.length === 1) return exact(list[0].coef) === 0 ? ZERO : normal([list[0]]);
  const byKey = new Map<string, Term>();
  for (const t of list) {
    const old = byKey.get(t.key);
    byKey.set(t.key, { coef: exact((old?.coef ?? 0) + t.coef), atoms: t.atoms, key: t.key });
  }
  return normal([...byKey.values()].filter((t) => t.coef !== 0).sort(before));
}
/** The sum of two normal forms: both are in order. */
function merged(a: readonly Term[], b: readonly Term[]): Dim {
  if (a.length + b.length > MAX_TERMS) throw tooComplex();
  const out: Term[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    const x = a[i];
    const y = b[j];
    const order = x.key === y.key ? 0 : before(x, y);
    if (order < 0) {
      out.push(x);
      i++;
    } else if (order > 0) {
      out.push(y);
      j++;
    } else {
      const coef = exact(x.coef + y.coef);
      if (coef !== 0) out.push({ coef, atoms: x.atoms, key: x.key });
      i++;
      j++;
    }
  }
  while (i < a.length) out.push(a[i++]);
  while (j < b.length) out.push(b[j++]);
  return normal(out);
}

function printTerms(terms: readonly Term[]): string {
  if (terms.length === 0) return "0";
  return terms
    .map((t, i) => {
      const abs = Math.abs(t.coef);
      const body =
        t.atoms.length === 0 ? String(abs) : abs === 1 ? monoKeyPretty(t) : `${abs} * ${monoKeyPretty(t)}`;
      return i === 0 ? (t.coef < 0 ? `-${body}` : body) : t.coef < 0 ? ` - ${body}` : ` + ${body}`;
    })
    .join("");
}
const monoKeyPretty = (t: Term): string => t.atoms.map((a) => a.key).join(" * ");

const small = new Map<number, Dim>();
/** A literal. */
export function dim(value: DimLike): Dim {
  if (typeof value !== "number") return value;
  const known = small.get(value);
  if (known) return known;
  if (!Number.isSafeInteger(value))
    throw new DimError("fraction", `a size must be an exact integer, not ${value}`);
  const made = new Normal(value === 0 ? [] : [{ coef: value, atoms: [], key: "" }]);
  if (Math.abs(value) <= 65536) small.set(value, made);
  return made;
}
export const ZERO = dim(0);
export const ONE = dim(1);

/** A symbol: an identifier bound to an integer >= 0 at the call. */
export function sym(name: string): Dim {
  return fromAtom({ kind: "symbol", name, key: name });
}
const fromAtom = (a: Atom): Dim => fromTerms([{ coef: 1, atoms: [a], key: a.key }]);

export function add(...xs: DimLike[]): Dim {
  if (xs.length === 2) return add2(xs[0], xs[1]);
  let sum = ZERO;
  let n = 0;
  let constant = 0;
  for (const x of xs) {
    const c = asConst(x);
    if (c !== undefined) constant = exact(constant + c);
    else sum = n++ === 0 ? (x as Dim) : merged(sum.terms, (x as Dim).terms);
  }
  if (constant === 0) return sum;
  return n === 0 ? dim(constant) : merged(sum.terms, dim(constant).terms);
}
function add2(a: DimLike, b: DimLike): Dim {
  const ca = asConst(a);
  const cb = asConst(b);
  if (ca !== undefined && cb !== undefined) return dim(exact(ca + cb));
  if (ca === 0) return b as Dim;
  return cb === 0 ? (a as Dim) : merged(dim(a).terms, dim(b).terms);
}
export const neg = (a: DimLike): Dim => scaled(dim(a), -1);
export const sub = (a: DimLike, b: DimLike): Dim => {
  const cb = asConst(b);
  return add2(a, cb === undefined ? neg(b) : -cb);
};

export function mul(...xs: DimLike[]): Dim {
  let out = ONE;
  let literal = 1;
  for (let i = 0; i < xs.length; i++) {
    const d = dim(xs[i]);
    const c = asConst(d);
    if (c === undefined) out = mul2(out, d);
    else literal = exact(literal * c);
  }
  return out === ONE ? dim(literal) : scaled(out, literal);
}
function scaled(a: Dim, by: number): Dim {
  if (by === 0) return ZERO;
  if (by === 1) return a;
  const c = asConst(a);
  if (c !== undefined) return dim(exact(c * by));
  return normal(a.terms.map((t) => ({ coef: exact(t.coef * by), atoms: t.atoms, key: t.key })));
}
function mul2(a: Dim, b: Dim): Dim {
  const ca = asConst(a);
  if (ca !== undefined) return scaled(b, ca);
  const cb = asConst(b);
  if (cb !== undefined) return scaled(a, cb);
  if (a.terms.length * b.terms.length > MAX_TERMS) throw tooComplex();
  const terms: Term[] = [];
  for (const p of a.terms)
    for (const q of b.terms) {
      const atoms = inOrder(p.atoms, q.atoms);
      terms.push({ coef: p.coef * q.coef, atoms, key: atoms === p.atoms ? p.key : monoKey(atoms) });
    }
  return fromTerms(terms);
}
/** Atoms of two monomials: both are in order. */
function inOrder(a: readonly Atom[], b: readonly Atom[]): readonly Atom[] {
  if (b.length === 0) return a;
  const out: Atom[] = [];
  let i = 0;
  for (const x of b) {
    while (i < a.length && a[i].key <= x.key) out.push(a[i++]);
    out.push(x);
  }
  while (i < a.length) out.push(a[i++]);
  return out;
}

/** The quotient when `term` is divisible by `by` as monomials, else undefined. */
function divideTerm(term: Term, by: Term): Term | undefined {
  if (term.coef % by.coef !== 0) return undefined;
  if (by.atoms.length === 0) return { coef: term.coef / by.coef, atoms: term.atoms, key: term.key };
  const rest = [...term.atoms];
  for (const a of by.atoms) {
    const i = rest.findIndex((r) => r.key === a.key);
    if (i < 0) return undefined;
    rest.splice(i, 1);
  }
  return { coef: term.coef / by.coef, atoms: rest, key: monoKey(rest) };
}

const gcd = (a: number, b: number): number => {
  a = Math.abs(a);
  b = Math.abs(b);
  while (b) [a, b] = [b, a % b];
  return a;
};

/** floor(a / b). Terms divisible by b leave the floor; common factors cancel; nested floors merge. */
export function floorDiv(a: DimLike, b: DimLike): Dim {
  let num = dim(a);
  let den = dim(b);
  const d = asConst(den);
  if (d === 0) throw new DimError("zero", "division by zero in a size");
  const n = asConst(num);
  if (n !== undefined && d !== undefined) return dim(Math.floor(n / d));
  if (d === 1) return num;
  if (d === -1) return neg(num);
  if (den.terms.length > 1 && den.terms.length === num.terms.length && num.key === den.key) return ONE;
  if (den.terms.length === 1) {
    const by = den.terms[0];
    const out: Term[] = [];
    const rest: Term[] = [];
    for (const t of num.terms) {
      const q = divideTerm(t, by);
      if (q) out.push(q);
      else rest.push(t);
    }
    if (out.length > 0) return add(fromTerms(out), floorDiv(fromTerms(rest), den));
    if (d !== undefined && d > 1) {
      // A remainder constant in [0, d) on top of multiples of nothing: normalise the constant into [0, d).
      const c = num.terms.find((t) => t.atoms.length === 0)?.coef ?? 0;
      const whole = Math.floor(c / d);
      if (whole !== 0) return add(whole, floorDiv(sub(num, whole * d), den));
      // floor((g*x + r) / (g*m)) = floor((x + floor(r / g)) / m) where r is the constant.
      let g = d;
      for (const t of num.terms) if (t.atoms.length > 0) g = gcd(g, t.coef);
      if (g > 1) {
        num = fromTerms(
          num.terms.map((t) =>
            t.atoms.length ? { ...t, coef: t.coef / g } : { ...t, coef: Math.floor(t.coef / g) },
          ),
        );
        den = dim(d / g);
        return floorDiv(num, den);
      }
    }
    // floor(floor(x / p) / q) = floor(x / (p * q)), for positive p and q.
    if (num.terms.length === 1 && num.terms[0].coef === 1 && num.terms[0].atoms.length === 1) {
      const a0 = num.terms[0].atoms[0];
      if (a0.kind === "floor" && d !== undefined && d > 0 && (asConst(a0.den) ?? 0) > 0)
        return floorDiv(a0.num, mul(a0.den, den));
    }
  }
  if (num.terms.length === 0) return ZERO;
  return fromAtom({ kind: "floor", num, den, key: floorText(num, den) });
}
/** `floor(H / 2)`, `floor((H + 1) / 2)`: parentheses where `parseDim` needs them. */
function floorText(num: Dim, den: Dim): string {
  const product = num.terms.length === 1 && num.terms[0].coef > 0;
  const [d] = den.terms;
  const atom =
    den.terms.length === 1 && d.coef > 0 && (d.atoms.length === 0 || (d.atoms.length === 1 && d.coef === 1));
  return `floor(${product ? num.key : `(${num.key})`} / ${atom ? den.key : `(${den.key})`})`;
}
/** ceil(a / b) = -floor(-a / b). */
export const ceilDiv = (a: DimLike, b: DimLike): Dim => {
  const d = asConst(dim(b));
  // (a + b - 1) / b keeps the atoms positive, which divides and prints better.
  return d !== undefined && d > 0 ? floorDiv(add(a, d - 1), d) : floorDiv(add(a, sub(b, 1)), b);
};
/** a mod b with the sign of b (a - b * floor(a / b)). */
export const mod = (a: DimLike, b: DimLike): Dim => sub(a, mul(b, floorDiv(a, b)));
/** Round up to a multiple. */
export const roundUp = (a: DimLike, b: DimLike): Dim => mul(b, ceilDiv(a, b));

function pick(kind: "min" | "max", a: DimLike, b: DimLike): Dim {
  let x = dim(a);
  let y = dim(b);
  if (x.key === y.key) return x;
  const diff = asConst(sub(x, y));
  if (diff !== undefined) return (kind === "min") === diff < 0 ? x : y;
  if (x.key > y.key) [x, y] = [y, x];
  return fromAtom({ kind, a: x, b: y, key: `${kind}(${x.key}, ${y.key})` });
}
export const min = (a: DimLike, b: DimLike): Dim => pick("min", a, b);
export const max = (a: DimLike, b: DimLike): Dim => pick("max", a, b);

/** The value of a literal, or undefined. */
export function asConst(a: DimLike): number | undefined {
  if (typeof a === "number") return a;
  if (a.terms.length === 0) return 0;
  return a.terms.length === 1 && a.terms[0].atoms.length === 0 ? a.terms[0].coef : undefined;
}
export const isConst = (a: DimLike, value: number): boolean => asConst(a) === value;
/** Equality of normal forms: true means equal; false means "not shown equal". */
export function equal(a: DimLike, b: DimLike): boolean {
  const x = dim(a);
  const y = dim(b);
  if (x === y) return true;
  if (x.terms.length !== y.terms.length) return false;
  // Few are compared one by one: their text may be asked for nowhere else.
  if (x.terms.length > 8) return x.key === y.key;
  for (let i = 0; i < x.terms.length; i++)
    if (x.terms[i].coef !== y.terms[i].coef || x.terms[i].key !== y.terms[i].key) return false;
  return true;
}
/**
 * True when a and b differ for every value of the symbols (their difference is a nonzero literal), or for every one but 0, as
 * N and 2 * N do: what fits empty tensors alone was not meant.
 */
export function surelyDiffer(a: DimLike, b: DimLike): boolean {
  const { terms } = dim(sub(a, b));
  if (terms.length !== 1) return false;
  const { atoms } = terms[0];
  // A literal 0 is meant to be empty.
  return atoms.every((x) => x.kind === "symbol") && (atoms.length === 0 || !(isConst(a, 0) || isConst(b, 0)));
}
/** True when `a` is at least 0 for every value of its symbols, as far as its form shows. */
export function surelyNotNegative(a: DimLike): boolean {
  const atom = (x: Atom): boolean => {
    if (x.kind === "symbol") return true;
    if (x.kind === "floor") return surelyNotNegative(x.num) && surelyNotNegative(x.den);
    const both = [surelyNotNegative(x.a), surelyNotNegative(x.b)];
    return x.kind === "max" ? both.some(Boolean) : both.every(Boolean);
  };
  return dim(a).terms.every((t) => t.coef >= 0 && t.atoms.every(atom));
}
/** The largest literal known to divide `a` for every value of its symbols (0 for the literal 0). */
export function literalDivisor(a: DimLike): number {
  let g = 0;
  const { terms } = dim(a);
  for (let i = 0; i < terms.length; i++) {
    const { coef, atoms } = terms[i];
    let inner = coef;
    for (const atom of atoms)
      if (atom.kind === "min" || atom.kind === "max")
        inner *= gcd(literalDivisor(atom.a), literalDivisor(atom.b)) || 1;
    g = gcd(g, inner);
  }
  return g;
}
/** True when `a` is a multiple of the literal n for every value of its symbols. */
export const isMultipleOf = (a: DimLike, n: number): boolean => literalDivisor(a) % n === 0;
/** a / b when b divides a term by term, else undefined. */
export function exactQuotient(a: DimLike, b: DimLike): Dim | undefined {
  const num = dim(a);
  const den = dim(b);
  const n = asConst(num);
  const d = asConst(den);
  if (d === 0) return undefined;
  if (d !== undefined) {
    if (d === 1) return num;
    if (n !== undefined) return n % d === 0 ? dim(n / d) : undefined;
  }
  if (equal(num, den)) return ONE;
  if (den.terms.length !== 1) return longDivision(num, den);
  const out: Term[] = [];
  for (const t of num.terms) {
    const q = divideTerm(t, den.terms[0]);
    if (!q) return undefined;
    out.push(q);
  }
  return fromTerms(out);
}
/** Polynomial division by more than one term, when it leaves no remainder (e.g. (a*b + a) / (b + 1)). */
function longDivision(num: Dim, den: Dim): Dim | undefined {
  let rest = num;
  let out = ZERO;
  for (let step = 0; rest.terms.length > 0; step++) {
    if (step > 16) return undefined;
    const q = divideTerm(rest.terms[0], den.terms[0]);
    if (!q) return undefined;
    out = add(out, fromTerms([q]));
    const next = sub(rest, mul(fromTerms([q]), den));
    if (next.terms.length >= rest.terms.length + den.terms.length) return undefined;
    rest = next;
  }
  return out;
}

/** Product of sizes. */
/**
 * About as much: the terms of the highest degree, their coefficients rounded to powers of two. For estimates, which then
 * are the same ones at many places.
 */
export function roughly(a: DimLike): Dim {
  const { terms } = dim(a);
  const degree = Math.max(0, ...terms.map((t) => t.atoms.length));
  return fromTerms(
    terms
      .filter((t) => t.atoms.length === degree)
      .map((t) => ({ ...t, coef: Math.sign(t.coef) * 2 ** Math.round(Math.log2(Math.abs(t.coef))) })),
  );
}

export const product = (xs: readonly DimLike[]): Dim => mul(...xs);

/** Names of all symbols in `a`, in order of first appearance. */
export function symbols(a: DimLike, into: Set<string> = new Set()): Set<string> {
  const { terms } = dim(a);
  for (let i = 0; i < terms.length; i++)
    for (let k = 0; k < terms[i].atoms.length; k++) {
      const atom = terms[i].atoms[k];
      if (atom.kind === "symbol") into.add(atom.name);
      else if (atom.kind === "floor") {
        symbols(atom.num, into);
        symbols(atom.den, into);
      } else {
        symbols(atom.a, into);
        symbols(atom.b, into);
      }
    }
  return into;
}

/** `a` as coef * symbol + rest, where it is that: neither part holds the symbol. */
export function linearIn(a: DimLike, name: string): { readonly coef: Dim; readonly rest: Dim } | undefined {
  const coef: Term[] = [];
  const rest: Term[] = [];
  for (const t of dim(a).terms) {
    const others = t.atoms.filter((x) => !(x.kind === "symbol" && x.name === name));
    if (t.atoms.length - others.length > 1 || others.some((x) => symbols(fromAtom(x)).has(name)))
      return undefined;
    if (others.length === t.atoms.length) rest.push(t);
    else coef.push({ coef: t.coef, atoms: others, key: monoKey(others) });
  }
  return { coef: fromTerms(coef), rest: fromTerms(rest) };
}

/** True where a symbol of `a` is one of those. */
function mentions(a: Dim, one: (name: string) => boolean): boolean {
  for (const t of a.terms)
    for (const atom of t.atoms) {
      if (atom.kind === "symbol") {
        if (one(atom.name)) return true;
      } else if (atom.kind === "floor") {
        if (mentions(atom.num, one) || mentions(atom.den, one)) return true;
      } else if (mentions(atom.a, one) || mentions(atom.b, one)) return true;
    }
  return false;
}

/** Replace symbols by sizes; the result is in normal form again. */
export function substitute(a: DimLike, by: (name: string) => DimLike | undefined): Dim {
  const d = dim(a);
  if (!mentions(d, (name) => by(name) !== undefined)) return d;
  const atomOf = (atom: Atom): Dim => {
    if (atom.kind === "symbol") {
      const v = by(atom.name);
      return v === undefined ? fromAtom(atom) : dim(v);
    }
    if (atom.kind === "floor") return floorDiv(substitute(atom.num, by), substitute(atom.den, by));
    return pick(atom.kind, substitute(atom.a, by), substitute(atom.b, by));
  };
  return add(...d.terms.map((t) => mul(t.coef, ...t.atoms.map(atomOf))));
}

/** The integer value under `env`; throws DimError when a symbol is unbound or the value leaves the safe integers. */
export function evaluate(a: DimLike, env: Readonly<Record<string, number>>): number {
  return evaluateBy(a, (name) => {
    const s = env[name];
    if (s === undefined) throw new DimError("unbound", `symbol ${name} has no value`);
    return s;
  });
}
function evaluateBy(a: DimLike, symbol: (name: string) => number): number {
  if (typeof a === "number") return a;
  let sum = 0;
  for (let i = 0; i < a.terms.length; i++) {
    const { coef, atoms } = a.terms[i];
    let v = coef;
    for (let j = 0; j < atoms.length; j++) {
      const atom = atoms[j];
      if (atom.kind === "symbol") v *= symbol(atom.name);
      else if (atom.kind === "floor") {
        const den = evaluateBy(atom.den, symbol);
        if (den === 0) throw new DimError("zero", `division by zero in ${atom.key}`);
        v *= Math.floor(evaluateBy(atom.num, symbol) / den);
      } else v *= Math[atom.kind](evaluateBy(atom.a, symbol), evaluateBy(atom.b, symbol));
    }
    sum += v;
  }
  if (!Number.isSafeInteger(sum)) throw new DimError("large", "a size exceeds 2^53");
  return sum;
}

/** What plans are compared at: the value every symbol is taken to have. */
export const NOMINAL = 32;
/** The value where all symbols are `n`. */
export const evaluateAll = (a: DimLike, n: number): number => evaluateBy(a, () => n);

/** Canonical text; `parseDim` reads it back. */
export const print = (a: DimLike): string => dim(a).key;

/** Reads what `print` writes (and any integer expression with + - * % floor((a) / (b)) ceil min max). */
export function parseDim(text: string): Dim {
  const tokens = text.match(/[A-Za-z_$][\w$.']*|\d+|[-+*%/(),]/g) ?? [];
  let at = 0;
  const fail = (): never => {
    throw new DimError("text", `cannot read the size '${text}'`);
  };
  const expect = (t: string): void => {
    if (tokens[at++] !== t) fail();
  };
  const primary = (): Dim => {
    const t = tokens[at++];
    if (t === undefined) return fail();
    if (t === "-") return neg(primary());
    if (t === "(") {
      const e = sum();
      expect(")");
      return e;
    }
    if (/^\d/.test(t)) return dim(Number(t));
    if (t === "floor" || t === "ceil") {
      expect("(");
      const a = product0();
      expect("/");
      const b = primary();
      expect(")");
      return t === "floor" ? floorDiv(a, b) : ceilDiv(a, b);
    }
    if (t === "min" || t === "max") {
      expect("(");
      const a = sum();
      expect(",");
      const b = sum();
      expect(")");
      return pick(t, a, b);
    }
    if (!/^[A-Za-z_$]/.test(t)) return fail();
    return sym(t);
  };
  const product0 = (): Dim => {
    let a = primary();
    while (tokens[at] === "*" || tokens[at] === "%") {
      const op = tokens[at++];
      const b = primary();
      a = op === "*" ? mul(a, b) : mod(a, b);
    }
    return a;
  };
  const sum = (): Dim => {
    let a = product0();
    while (tokens[at] === "+" || tokens[at] === "-")
      a = tokens[at++] === "+" ? add(a, product0()) : sub(a, product0());
    return a;
  };
  const out = sum();
  if (at !== tokens.length) fail();
  return out;
}
