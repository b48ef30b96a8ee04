// Random programs: the source of a whole model with its train blocks, from a seed. In: a seed. Out: a text that should pass
// the checker. It is drawn from a typed grammar: every value's dtype and shape are known while the text is written, so that
// operands fit. Values are kept small, so that single precision can be told from wrong. What inputs hold is in their names
// (`k3_5` is an i32 below 5); the first line says the sizes to call it with, and `// bound` that it is compiled for the first
// of them. So a text alone repeats its run.
import { randomFrom, TAME } from "../opcheck.ts";

type Dt = "f32" | "f16" | "i32" | "bool";
/** A number, or an expression of the sizes known at the call. */
type Dim = number | string;
interface Ty {
  readonly dtype: Dt;
  readonly shape: readonly Dim[];
  /** Of indices: all are below this. */
  readonly below?: number;
}
interface Val extends Ty {
  readonly text: string;
}
/** Something that takes tensors and gives tensors: an instance, a fn. */
interface Callable {
  readonly text: string;
  readonly params: readonly Ty[];
  readonly results: readonly { readonly name?: string; readonly ty: Ty }[];
  /** Writes a buffer. */
  readonly writes?: boolean;
  /** Several, each on what the one before gave. */
  readonly list?: boolean;
  /** Names of model params that it reads: a gradient may be taken with respect to them. */
  readonly reads?: readonly string[];
}
class Owner {
  readonly members: string[] = [];
  readonly params: Val[] = [];
  readonly callables: Callable[] = [];
  /** Its own prefix of names, so that no local hides a member. */
  readonly isModel: boolean;
  constructor(isModel: boolean) {
    this.isModel = isModel;
  }
}
interface Fn {
  readonly inputs: Val[];
  readonly open: boolean;
  readonly written: Set<string>;
  readonly reads: Set<string>;
}
class Scope {
  readonly values: Val[] = [];
  readonly lines: string[] = [];
  readonly owner: Owner;
  readonly fn: Fn;
  readonly outer: Scope | undefined;
  readonly loops: number;
  readonly inFor: boolean;
  constructor(owner: Owner, fn: Fn, outer?: Scope, kind?: "scan" | "for") {
    this.owner = owner;
    this.fn = fn;
    this.outer = outer;
    this.loops = (outer?.loops ?? 0) + (kind ? 1 : 0);
    this.inFor = kind === "for" || (outer?.inFor ?? false);
  }
  all(): Val[] {
    return [...(this.outer?.all() ?? []), ...this.values];
  }
}

const isLit = (d: Dim): d is number => typeof d === "number";
const literal = (shape: readonly Dim[]): boolean => shape.every(isLit);
const typeText = (t: Ty): string => `${t.dtype}[${t.shape.join(", ")}]`;
const same = (a: readonly Dim[], b: readonly Dim[]): boolean =>
  a.length === b.length && a.every((d, i) => d === b[i]);
const isFloat = (t: Ty): boolean => t.dtype === "f32" || t.dtype === "f16";
/** An upper bound of elements, with nine for every symbol. */
const bulk = (shape: readonly Dim[]): number => shape.reduce<number>((n, d) => n * (isLit(d) ? d : 9), 1);
const indent = (lines: readonly string[]): string[] => lines.map((l) => `  ${l}`);

export function generateProgram(seed: number): string {
  const random = randomFrom(seed * 2654435 + 97);
  const below = (n: number): number => Math.floor(random() * n);
  const pick = <T>(list: readonly T[]): T => list[below(list.length)];
  const chance = (p: number): boolean => random() < p;
  const between = (low: number, high: number): number => low + below(high - low + 1);
  const subset = <T>(list: readonly T[], atLeast = 1): T[] => {
    const out = list.filter(() => chance(0.5));
    return out.length >= atLeast ? out : list.slice(0, atLeast);
  };
  let serial = 0;
  const name = (stem: string): string => `${stem}${++serial}`;
  const imports = new Map<string, Set<string>>();
  const std = (what: string, from = "std/nn"): string => {
    imports.set(from, (imports.get(from) ?? new Set()).add(what));
    return what;
  };

  // ---------------------------------------------------------------------------------------------- features
  /** What this program is about; not everything at once, or every program would be the same mixture. */
  const wants = {
    scans: chance(0.5),
    f16: chance(0.15),
    convs: chance(0.2),
    grads: chance(0.35),
    indices: chance(0.4),
    random: chance(0.25),
    many: chance(0.15),
    std: chance(0.4),
    attention: chance(0.15),
    /** Extents beyond a tile, a subgroup, a row's threads. */
    large: chance(0.12),
  };
  const shared = { symbols: chance(0.9) ? ["N", "T"] : ["N"] };

  // ------------------------------------------------------------------------------------------------ values
  const extent = (): number =>
    pick(wants.large && chance(0.3) ? [9, 16, 17, 33, 36] : [1, 2, 2, 3, 3, 4, 4, 5, 6, 8]);
  const bind = (s: Scope, text: string, ty: Ty, stem = "v"): Val => {
    const v: Val = { ...ty, text: name(stem) };
    s.lines.push(`${v.text} = ${text}`);
    s.values.push(v);
    return v;
  };
  /** A value that passes the test; young ones first, since depth finds more than breadth. */
  const some = (s: Scope, test: (v: Val) => boolean = () => true): Val | undefined => {
    const list = s.all().filter((v) => isFloat(v) && test(v));
    if (list.length === 0) return undefined;
    return chance(0.6) ? list[Math.max(0, list.length - 1 - below(4))] : pick(list);
  };
  const newParam = (owner: Owner, shape: readonly number[], dtype: Dt = "f32"): Val => {
    const v: Val = { text: name("w"), dtype, shape };
    const init = pick([
      `normal(${pick([0.3, 0.5])})`,
      `uniform(${pick([0.5, 1])})`,
      "xavier_uniform()",
      ...(shape.length < 2 ? ["ones()", "zeros()", "constant(0.5)"] : []),
    ]);
    owner.members.push(`param ${v.text}: ${typeText(v)} = ${init}`);
    owner.params.push(v);
    return v;
  };
  /** A parameter of this shape: one there is already, now and then. */
  const param = (s: Scope, shape: readonly Dim[], dtype: Dt = "f32"): Val | undefined => {
    if (!literal(shape) || bulk(shape) > 400) return undefined;
    const known = s.owner.params.filter((p) => p.dtype === dtype && same(p.shape, shape));
    const v = known.length > 0 && chance(0.5) ? pick(known) : newParam(s.owner, shape as number[], dtype);
    s.fn.reads.add(v.text);
    return v;
  };
  const newInput = (fn: Fn, ty: Ty): Val => {
    const stem = name(ty.dtype === "i32" ? "k" : ty.dtype === "bool" ? "m" : "x");
    const v: Val = { ...ty, text: ty.dtype === "i32" ? `${stem}_${ty.below ?? 4}` : stem };
    fn.inputs.push(v);
    return v;
  };
  const newBuffer = (owner: Owner, ty: Ty): Val => {
    const v: Val = { ...ty, text: name("b") };
    owner.members.push(
      `buffer ${v.text}: ${typeText(ty)} = ${ty.dtype === "f32" && chance(0.3) ? "ones()" : "zeros()"}`,
    );
    return v;
  };
  /** A value of this type from somewhere: known, an input of the fn, a parameter. */
  const need = (s: Scope, ty: Ty): Val => {
    const known = s
      .all()
      .filter(
        (v) =>
          v.dtype === ty.dtype &&
          same(v.shape, ty.shape) &&
          (ty.below === undefined || (v.below ?? 99) <= ty.below),
      );
    if (known.length > 0 && chance(0.7)) return pick(known);
    if (isFloat(ty) && literal(ty.shape) && chance(0.4)) {
      const p = param(s, ty.shape, ty.dtype);
      if (p) return p;
    }
    const symbols = new Set(s.fn.inputs.flatMap((v) => v.shape.filter((d) => !isLit(d))));
    const plain = ty.shape.every((d) => isLit(d) || symbols.has(d));
    if (s.fn.open && plain && s.fn.inputs.length < 8) return newInput(s.fn, ty);
    if (known.length > 0) return pick(known);
    const dtype = ty.dtype === "f32" ? "" : `, dtype = ${ty.dtype}`;
    const made =
      ty.shape.length === 0
        ? `full([], ${ty.dtype === "f32" ? 0.5 : ty.dtype === "bool" ? "true" : 1}${dtype && ty.dtype !== "bool" ? dtype : ""})`
        : `${pick(["zeros", "ones"])}(${ty.shape.join(", ")}${dtype})`;
    return { ...ty, text: made };
  };
  /** What broadcasts to `v`: text. */
  const companion = (s: Scope, v: Val): string => {
    const fits = s
      .all()
      .filter(
        (w) =>
          w.dtype === v.dtype &&
          w.shape.length <= v.shape.length &&
          w.shape.every((d, i) => d === 1 || d === v.shape[i + v.shape.length - w.shape.length]),
      );
    if (fits.length > 0 && chance(0.6)) return pick(fits).text;
    if (chance(0.3)) return pick(["2.0", "0.5", "-1.0", "0.25", "1.0"]);
    const tail = v.shape.slice(below(v.shape.length + 1)).map((d) => (!isLit(d) || chance(0.25) ? 1 : d));
    return param(s, tail, v.dtype)?.text ?? "0.75";
  };
  /** `v` as text, or tamed: as large as one at most. */
  const tame = (text: string): string =>
    chance(0.4)
      ? `tanh(${text})`
      : `0.5 * ${/^[\w.]+$|\)$/.test(text) && !/^\(/.test(text) ? text : `(${text})`}`;
  /** An expression of type `ty` that depends on what is young in the scope. */
  const coerce = (s: Scope, ty: Ty, base: string): string => {
    const fits = s.values.filter((v) => v.dtype === ty.dtype && same(v.shape, ty.shape) && v.text !== base);
    if (!isFloat(ty)) return fits.length > 0 ? pick(fits).text : base;
    if (fits.length > 0 && chance(0.85)) {
      const v = fits[Math.max(0, fits.length - 1 - below(2))].text;
      return pick([
        `tanh(${v})`,
        `0.5 * ${base} + 0.5 * tanh(${v})`,
        `sigmoid(${v}) * ${base}`,
        `lerp(${base}, tanh(${v}), 0.3)`,
        v,
      ]);
    }
    const other = s.values.filter(isFloat).at(-1 - below(2)) ?? s.values.find(isFloat);
    if (!other) return `0.9 * ${base}`;
    const total = `0.1 * sum(tanh(${other.text}))`;
    return `0.8 * ${base} + tanh(${other.dtype === ty.dtype ? total : `${ty.dtype}(${total})`})`;
  };
  const indices = (s: Scope, n: number, shape: readonly Dim[]): Val =>
    need(s, { dtype: "i32", shape, below: n });
  const substitute = (d: Dim, map: ReadonlyMap<string, Dim>): Dim =>
    isLit(d)
      ? d
      : map.has(d)
        ? (map.get(d) as Dim)
        : d.replace(/\b[A-Z]\b/g, (x) => {
            const to = map.get(x) ?? x;
            return isLit(to) || /^\w+$/.test(to) ? `${to}` : `(${to})`;
          });
  /** Whether a value may be passed for a type, and what its symbols are then. */
  const unify = (want: Ty, v: Ty, map: Map<string, Dim>): boolean => {
    if (want.dtype !== v.dtype || want.shape.length !== v.shape.length) return false;
    if (want.below !== undefined && (v.below ?? 99) > want.below) return false;
    return want.shape.every((d, i) => {
      if (isLit(d)) return d === v.shape[i];
      if (!map.has(d)) map.set(d, v.shape[i]);
      return map.get(d) === v.shape[i];
    });
  };
  /** Arguments for a callable from what there is; undefined where nothing fits. */
  const argsFor = (
    s: Scope,
    c: { readonly params: readonly Ty[] },
  ): { args: Val[]; map: Map<string, Dim> } | undefined => {
    const map = new Map<string, Dim>();
    const args: Val[] = [];
    for (const want of c.params) {
      const fits = s.all().filter((v) => unify(want, v, new Map(map)));
      if (fits.length > 0) {
        const v = fits[Math.max(0, fits.length - 1 - below(3))];
        unify(want, v, map);
        args.push(v);
        continue;
      }
      if (want.shape.some((d) => !isLit(d) && !map.has(d) && !s.fn.inputs.some((v) => v.shape.includes(d))))
        return undefined;
      const shape = want.shape.map((d) => substitute(d, map));
      for (const d of want.shape) if (!isLit(d) && !map.has(d)) map.set(d, d);
      args.push(need(s, { ...want, shape }));
    }
    return { args, map };
  };
  const call = (s: Scope, c: Callable): boolean => {
    const given = argsFor(s, c);
    if (!given) return false;
    if (c.writes) s.fn.written.add(c.text);
    for (const r of c.reads ?? []) s.fn.reads.add(r);
    const args = given.args.map((a) => a.text);
    const [first, ...rest] = args;
    const text =
      args.length > 0 && /^\w+$/.test(first) && chance(0.4)
        ? `${first} |> ${c.text}${rest.length > 0 ? `(${rest.join(", ")})` : ""}`
        : `${c.text}(${args.join(", ")})`;
    if (c.list && chance(0.5)) {
      const [h, each] = [name("h"), name("i")];
      s.lines.push(`${h} = for ${each} in ${c.text} with ${h} = ${first} { ${each}(${h}) }`);
      s.values.push({ ...given.args[0], text: h });
      return true;
    }
    const types = c.results.map(({ ty }) => ({
      ...ty,
      shape: ty.shape.map((d) => substitute(d, given.map)),
    }));
    if (c.results.length === 1 && c.results[0].name === undefined) bind(s, text, types[0]);
    else {
      const r = name("r");
      s.lines.push(`${r} = ${text}`);
      for (const [i, { name: part }] of c.results.entries())
        s.values.push({ ...types[i], text: `${r}.${part}` });
    }
    return true;
  };

  /** Operators of the program's own, and free fns; each is written when it is first used. */
  const ops = new Map<string, readonly string[]>();
  const own = (s: Scope): boolean => {
    const x = some(s, (v) => v.dtype === "f32");
    if (!x) return false;
    const way = below(4);
    const title = `own${way}`;
    const texts: readonly (readonly string[])[] = [
      ["op own0(x: f32) -> f32 { m = max(x, -0.1); m * m }", "grad (g) { g * 2 * max(x, -0.1) }"],
      ["op own1(x: f32, y: f32) -> f32 { x * tanh(y) + 0.5 * y }"],
      ["fn own2(x: f32[..., D]) -> f32[..., D] { x * sigmoid(x) - mean(x, axis = -1, keepdims = true) }"],
      ["fn own3(x: f32[...], k: float = 0.5) -> f32[...] { lerp(x, sin(x), k) }"],
    ];
    if (way === 2 && !isLit(x.shape.at(-1) ?? "")) return false;
    ops.set(title, texts[way]);
    const y = some(s, (v) => v.dtype === "f32" && same(v.shape, x.shape)) ?? x;
    bind(
      s,
      way === 1
        ? `own1(${x.text}, ${y.text})`
        : way === 3 && chance(0.5)
          ? `own3(${x.text}, k = 0.25)`
          : `${title}(${x.text})`,
      x,
    );
    return true;
  };

  // -------------------------------------------------------------------------------------------- statements
  type Statement = (s: Scope) => boolean | undefined;
  const axesOf = (v: Ty): number[] => v.shape.map((_, i) => i);
  const axisText = (v: Ty, a: number): number => (chance(0.3) ? a - v.shape.length : a);
  const drop = (shape: readonly Dim[], axes: readonly number[], keep: boolean): Dim[] =>
    keep ? shape.map((d, i) => (axes.includes(i) ? 1 : d)) : shape.filter((_, i) => !axes.includes(i));

  const unary: Statement = (s) => {
    const x = some(s);
    if (!x) return false;
    const form = pick([
      ...[...TAME, "square"].map((f) => `${f}($)`),
      "exp(tanh($))",
      "expm1(tanh($))",
      "sqrt(abs($) + 0.5)",
      "rsqrt(square($) + 0.5)",
      "log(abs($) + 0.5)",
      "log1p(abs($))",
      "1 / (abs($) + 0.5)",
      "clamp($, -0.6, 0.7)",
      "max($, 0.1)",
      "-$",
      "$ ** 2",
      "(abs($) + 0.3) ** 1.5",
      'gelu($, approximate = "tanh")',
      "stop_gradient($) * $",
    ]);
    bind(s, form.replaceAll("$", x.text), x);
    return true;
  };
  const binary: Statement = (s) => {
    const x = some(s);
    if (!x) return false;
    const y = companion(s, x);
    const form = pick([
      "$ + #",
      "$ - #",
      "$ * #",
      "$ * #",
      "# - $",
      "max($, #)",
      "min(#, $)",
      "$ / (abs(#) + 0.5)",
      "where($ > #, $, 0.5 * $)",
      "lerp($, tanh($), sigmoid(0.3 + 0 * $))",
      "(abs($) + 0.5) ** tanh(#)",
    ]);
    if (/max|min|abs\(#\)|where|tanh\(#\)/.test(form) && /^-?[\d.]+$/.test(y) && form.includes("(#")) {
      bind(s, `${x.text} + ${y}`, x);
      return true;
    }
    bind(s, form.replaceAll("$", x.text).replaceAll("#", /^-/.test(y) ? `(${y})` : y), x);
    return true;
  };
  const chain: Statement = (s) => {
    const list = s.all().filter(isFloat);
    const x = some(s);
    if (!x) return false;
    const alike = list.filter((v) => v.dtype === x.dtype && same(v.shape, x.shape));
    if (alike.length < 3) return false;
    const terms = Array.from({ length: between(3, 10) }, () => pick(alike).text);
    bind(s, tame(terms.join(pick([" + ", " - ", " + "]))), x);
    return true;
  };
  const where: Statement = (s) => {
    const x = some(s);
    if (!x) return false;
    const mask = s.all().filter((v) => v.dtype === "bool" && same(v.shape, x.shape));
    const condition =
      mask.length > 0
        ? pick(mask).text
        : wants.indices && chance(0.3)
          ? need(s, { dtype: "bool", shape: x.shape }).text
          : `${x.text} ${pick([">", "<", ">=", "<="])} ${companion(s, x)}`;
    bind(s, `where(${condition}, ${x.text}, ${pick(["0.25", `-${x.text}`, `tanh(${x.text})`, "0"])})`, x);
    return true;
  };
  const compare: Statement = (s) => {
    const x = some(s);
    if (!x) return false;
    const m = bind(
      s,
      `${x.text} ${pick([">", "<", ">="])} ${companion(s, x)}`,
      { dtype: "bool", shape: x.shape },
      "m",
    );
    if (chance(0.5))
      bind(
        s,
        chance(0.5) ? `!${m.text}` : `${m.text} && (${x.text} < 0.5)`,
        { dtype: "bool", shape: x.shape },
        "m",
      );
    if (chance(0.5)) bind(s, `f32(${m.text})`, { dtype: "f32", shape: x.shape });
    if (chance(0.3) && x.shape.length > 0) {
      const a = below(x.shape.length);
      bind(
        s,
        `${pick(["any", "all"])}(${m.text}, axis = ${a})`,
        { dtype: "bool", shape: drop(x.shape, [a], false) },
        "m",
      );
    }
    return true;
  };
  const reduce: Statement = (s) => {
    const x = some(s, (v) => v.shape.length > 0);
    if (!x) return false;
    const axes = subset(axesOf(x));
    const keep = chance(0.5);
    const op = pick(["sum", "mean", "max", "min", "mean", "sum", "logsumexp", "var"]);
    const along =
      axes.length === x.shape.length && chance(0.5) && !keep
        ? ""
        : axes.length === 1
          ? `, axis = ${axisText(x, axes[0])}`
          : `, axes = [${axes.join(", ")}]`;
    const text = `${op}(${op === "sum" ? `0.3 * ${x.text}` : x.text}${along}${keep ? ", keepdims = true" : ""}${op === "var" ? ", correction = 0" : ""})`;
    bind(s, text, { dtype: x.dtype, shape: drop(x.shape, axes, keep) });
    return true;
  };
  const prod: Statement = (s) => {
    const x = some(s, (v) => v.shape.some((d) => isLit(d) && d <= 4));
    if (!x) return false;
    const a = x.shape.findIndex((d) => isLit(d) && d <= 4);
    bind(s, `prod(${x.text}, axis = ${a})`, { dtype: x.dtype, shape: drop(x.shape, [a], false) });
    return true;
  };
  const normalise: Statement = (s) => {
    const x = some(s, (v) => v.shape.length > 0);
    if (!x) return false;
    const a = below(x.shape.length);
    const way = below(3);
    if (way === 0)
      bind(s, `${pick(["softmax", "log_softmax", "softmax"])}(${x.text}, axis = ${axisText(x, a)})`, x);
    else if (way === 1) {
      const m = name("u");
      s.lines.push(`(${m}, ${m}v) = moments(${x.text}, axes = [${a}], keepdims = true)`);
      bind(s, `(${x.text} - ${m}) * rsqrt(${m}v + 0.1)`, x);
    } else {
      const last = x.shape.at(-1) as Dim;
      const w = chance(0.6) ? param(s, [last], x.dtype) : undefined;
      const b = w && chance(0.6) ? param(s, [last], x.dtype) : undefined;
      bind(s, `layer_norm(${[x.text, w?.text, b?.text].filter(Boolean).join(", ")}, eps = 0.1)`, x);
    }
    return true;
  };
  const cumulate: Statement = (s) => {
    const x = some(s, (v) => v.shape.length > 0 && v.dtype === "f32");
    if (!x) return false;
    bind(
      s,
      `cumsum(0.3 * ${x.text}, axis = ${below(x.shape.length)}${chance(0.4) ? ", reverse = true" : ""})`,
      x,
    );
    return true;
  };
  const matmul: Statement = (s) => {
    const x = some(s, (v) => v.shape.length >= 1 && isLit(v.shape.at(-1) as Dim));
    if (!x) return false;
    const k = x.shape.at(-1) as number;
    const m = pick([1, 2, 3, 4, 4, 5, 8, 12]);
    const turned = chance(0.5);
    const shape = [...x.shape.slice(0, -1), m];
    if (bulk(shape) > 4000) return false;
    const w = param(s, turned ? [m, k] : [k, m], x.dtype);
    if (!w) return false;
    const product =
      chance(0.25) && turned ? `linear(${x.text}, ${w.text})` : `${x.text} @ ${w.text}${turned ? ".T" : ""}`;
    const b = chance(0.5) ? param(s, [m], x.dtype) : undefined;
    bind(s, b ? (chance(0.3) ? `tanh(${product} + ${b.text})` : `${product} + ${b.text}`) : tame(product), {
      dtype: x.dtype,
      shape,
    });
    return true;
  };
  const vector: Statement = (s) => {
    // A product with a vector: an axis goes.
    const x = some(s, (v) => v.shape.length >= 2 && isLit(v.shape.at(-1) as Dim));
    if (!x) return false;
    const w = param(s, [x.shape.at(-1) as number], x.dtype);
    if (!w) return false;
    bind(s, `0.5 * (${x.text} @ ${w.text})`, { dtype: x.dtype, shape: x.shape.slice(0, -1) });
    return true;
  };
  const selfProduct: Statement = (s) => {
    const x = some(s, (v) => v.shape.length >= 2 && bulk(v.shape) < 600);
    if (!x) return false;
    const [p, q] = x.shape.slice(-2);
    const batch = x.shape.slice(0, -2);
    const y = some(s, (v) => v.dtype === x.dtype && same(v.shape, x.shape)) ?? x;
    if (chance(0.5)) bind(s, `0.25 * (${x.text} @ ${y.text}.T)`, { dtype: x.dtype, shape: [...batch, p, p] });
    else bind(s, `0.25 * (${x.text}.T @ ${y.text})`, { dtype: x.dtype, shape: [...batch, q, q] });
    return true;
  };
  const contract: Statement = (s) => {
    // [.., a, b] @ [.., b, c] of two activations.
    const x = some(s, (v) => v.shape.length >= 2);
    if (!x) return false;
    const b = x.shape.at(-1) as Dim;
    const y = some(
      s,
      (v) =>
        v.dtype === x.dtype &&
        v.shape.length >= 2 &&
        v.shape.at(-2) === b &&
        (v.shape.length === 2 || same(v.shape.slice(0, -2), x.shape.slice(0, -2))),
    );
    if (!y || bulk([...x.shape, y.shape.at(-1) as Dim]) > 8000) return false;
    bind(s, tame(`${x.text} @ ${y.text}`), {
      dtype: x.dtype,
      shape: [...x.shape.slice(0, -1), y.shape.at(-1) as Dim],
    });
    return true;
  };
  const reshape: Statement = (s) => {
    const x = some(s, (v) => v.shape.length >= 2);
    if (!x) return false;
    const at = below(x.shape.length - 1);
    const [p, q] = [x.shape[at], x.shape[at + 1]];
    if (isLit(p) && isLit(q) ? false : !(isLit(p) || /^\w$/.test(p)) || !(isLit(q) || /^\w$/.test(q)))
      return false;
    const merged = isLit(p) && isLit(q) ? p * q : p === 1 ? q : q === 1 ? p : `${p} * ${q}`;
    if (chance(0.5))
      bind(
        s,
        `reshape(${x.text}, [${[...x.shape.slice(0, at), merged, ...x.shape.slice(at + 2)].join(", ")}])`,
        { dtype: x.dtype, shape: [...x.shape.slice(0, at), merged, ...x.shape.slice(at + 2)] },
      );
    else if (x.shape.length > 1)
      bind(s, `flatten(${x.text}, start = ${at}, end = ${at + 1})`, {
        dtype: x.dtype,
        shape: [...x.shape.slice(0, at), merged, ...x.shape.slice(at + 2)],
      });
    return true;
  };
  const splitAxis: Statement = (s) => {
    const x = some(s, (v) => v.shape.some((d) => isLit(d) && d % 2 === 0 && d > 0) && v.shape.length < 4);
    if (!x) return false;
    const at = x.shape.findIndex((d) => isLit(d) && d % 2 === 0 && d > 0);
    const d = x.shape[at] as number;
    if (chance(0.5)) {
      const shape = [...x.shape.slice(0, at), d / 2, 2, ...x.shape.slice(at + 1)];
      bind(s, `reshape(${x.text}, [${shape.join(", ")}])`, { dtype: x.dtype, shape });
      return true;
    }
    const ty = { dtype: x.dtype, shape: x.shape.map((e, i) => (i === at ? d / 2 : e)) };
    const [p, q] = [name("v"), name("v")];
    s.lines.push(`(${p}, ${q}) = split(${x.text}, 2, axis = ${axisText(x, at)})`);
    s.values.push({ text: p, ...ty }, { text: q, ...ty });
    return true;
  };
  const transpose: Statement = (s) => {
    const x = some(s, (v) => v.shape.length >= 2);
    if (!x) return false;
    const perm = axesOf(x);
    for (let i = perm.length - 1; i > 0; i--) {
      const j = below(i + 1);
      [perm[i], perm[j]] = [perm[j], perm[i]];
    }
    bind(s, `transpose(${x.text}, [${perm.join(", ")}])`, {
      dtype: x.dtype,
      shape: perm.map((i) => x.shape[i]),
    });
    return true;
  };
  const slice: Statement = (s) => {
    const x = some(s, (v) => v.shape.some((d) => isLit(d) && d >= 2));
    if (!x) return false;
    const at = x.shape.findIndex((d) => isLit(d) && d >= 2);
    const n = x.shape[at] as number;
    const start = below(n - 1);
    const [part, size] = pick<readonly [string, Dim | undefined]>([
      [`${start}:${start + 1}`, 1],
      [`${start}:`, n - start],
      ["::2", Math.ceil(n / 2)],
      [":-1", n - 1],
      ["-1", undefined],
      [`${start}`, undefined],
      ["::-1", n],
    ]);
    const text = [
      ...x.shape.slice(0, at).map(() => ":"),
      part,
      ...(chance(0.5) && at + 1 < x.shape.length ? ["..."] : []),
    ].join(", ");
    bind(s, `${x.text}[${text}]`, {
      dtype: x.dtype,
      shape: [...x.shape.slice(0, at), ...(size === undefined ? [] : [size]), ...x.shape.slice(at + 1)],
    });
    return true;
  };
  const sliceOpen: Statement = (s) => {
    const x = some(s, (v) => v.shape.some((d) => !isLit(d) && /^\w$/.test(d)));
    if (!x) return false;
    const at = x.shape.findIndex((d) => !isLit(d) && /^\w$/.test(d));
    const n = x.shape[at] as string;
    const others = (part: string): string => [...x.shape.slice(0, at).map(() => ":"), part].join(", ");
    const zeros = x.shape.map((_, i) => (i === at ? 1 : 0)).join(", ");
    const [text, size] = pick<readonly [string, Dim | undefined]>([
      [`${x.text}[${others("1:")}]`, `${n} - 1`],
      [`${x.text}[${others(":-1")}]`, `${n} - 1`],
      [`${x.text}[${others("-1")}]`, undefined],
      [`${x.text}[${others("::-1")}]`, n],
      [`pad(${x.text}, [${zeros}], [${zeros}])`, `${n} + 2`],
      [`concat([${x.text}, ${companionOf(s, x)}], axis = ${at})`, `2 * ${n}`],
    ]);
    bind(s, text, {
      dtype: x.dtype,
      shape: [...x.shape.slice(0, at), ...(size === undefined ? [] : [size]), ...x.shape.slice(at + 1)],
    });
    return true;
  };
  const companionOf = (s: Scope, x: Val): string =>
    pick(s.all().filter((v) => v.dtype === x.dtype && same(v.shape, x.shape))).text;
  const integer: Statement = (s) => {
    const k =
      s
        .all()
        .filter((v) => v.dtype === "i32")
        .at(-1 - below(2)) ?? s.all().find((v) => v.dtype === "i32");
    if (!k) return false;
    const made = bind(
      s,
      pick([
        `${k.text} + 1`,
        `3 * ${k.text} - 1`,
        `${k.text} % 3`,
        `max(${k.text}, 1)`,
        `${k.text} * ${k.text}`,
        `where(${k.text} > 1, ${k.text}, -${k.text})`,
      ]),
      { dtype: "i32", shape: k.shape },
      "j",
    );
    if (k.shape.length > 0 && chance(0.5)) {
      const a = below(k.shape.length);
      bind(
        s,
        `${pick(["sum", "max", "min"])}(${made.text}, axis = ${a})`,
        { dtype: "i32", shape: drop(k.shape, [a], false) },
        "j",
      );
    }
    if (chance(0.3))
      bind(s, `${made.text} ${pick(["==", "!=", "<"])} ${k.text}`, { dtype: "bool", shape: k.shape }, "m");
    bind(s, `0.2 * f32(${chance(0.2) ? `u32(abs(${made.text}))` : made.text})`, {
      dtype: "f32",
      shape: k.shape,
    });
    return true;
  };
  const flip: Statement = (s) => {
    const x = some(s, (v) => v.shape.length > 0);
    if (!x) return false;
    bind(s, `flip(${x.text}, axes = [${subset(axesOf(x)).join(", ")}])`, x);
    return true;
  };
  const pad: Statement = (s) => {
    const x = some(s, (v) => v.shape.length > 0 && v.shape.length <= 4 && literal(v.shape.slice(-1)));
    if (!x) return false;
    const [low, high] = [below(3), below(3)];
    const zeros = x.shape.slice(1).map(() => 0);
    bind(
      s,
      `pad(${x.text}, [${[...zeros, low].join(", ")}], [${[...zeros, high].join(", ")}]${chance(0.3) ? ", value = 0.5" : ""})`,
      {
        dtype: x.dtype,
        shape: [...x.shape.slice(0, -1), (x.shape.at(-1) as number) + low + high],
      },
    );
    return true;
  };
  const newAxis: Statement = (s) => {
    const x = some(s, (v) => v.shape.length <= 3);
    if (!x) return false;
    const at = below(x.shape.length + 1);
    const shape = [...x.shape.slice(0, at), 1, ...x.shape.slice(at)];
    if (at === x.shape.length || chance(0.5))
      bind(s, `unsqueeze(${x.text}, axes = [${at}])`, { dtype: x.dtype, shape });
    else
      bind(s, `${x.text}[${[...x.shape.slice(0, at).map(() => ":"), "new", "..."].join(", ")}]`, {
        dtype: x.dtype,
        shape,
      });
    return true;
  };
  const squeeze: Statement = (s) => {
    const x = some(s, (v) => v.shape.includes(1));
    if (!x) return false;
    const at = x.shape.indexOf(1);
    bind(s, `squeeze(${x.text}, axes = [${at}])`, { dtype: x.dtype, shape: drop(x.shape, [at], false) });
    return true;
  };
  const repeat: Statement = (s) => {
    const x = some(s, (v) => v.shape.includes(1) && bulk(v.shape) < 300);
    if (!x) return false;
    const shape = x.shape.map((d) => (d === 1 ? extent() : d));
    bind(s, `broadcast_to(${x.text}, [${shape.join(", ")}])`, { dtype: x.dtype, shape });
    return true;
  };
  const concat: Statement = (s) => {
    const x = some(s, (v) => v.shape.length > 0 && bulk(v.shape) < 600);
    if (!x) return false;
    const at = below(x.shape.length);
    const own = x.shape[at];
    const alike = s
      .all()
      .filter(
        (v) =>
          v.dtype === x.dtype &&
          v.shape.length === x.shape.length &&
          v.shape.every((d, i) =>
            i === at ? isLit(d) === isLit(own) && (isLit(own) || d === own) : d === x.shape[i],
          ),
      );
    const count = wants.many ? between(2, 10) : between(2, 4);
    const parts = [x, ...Array.from({ length: count - 1 }, () => pick(alike))];
    if (isLit(own)) {
      const size = parts.reduce((n, v) => n + (v.shape[at] as number), 0);
      bind(s, `concat([${parts.map((v) => v.text).join(", ")}], axis = ${axisText(x, at)})`, {
        dtype: x.dtype,
        shape: x.shape.map((d, i) => (i === at ? size : d)),
      });
      return true;
    }
    const stacked = parts.filter((v) => same(v.shape, x.shape));
    if (x.shape.length > 3) return false;
    bind(s, `stack([${stacked.map((v) => v.text).join(", ")}], axis = ${at})`, {
      dtype: x.dtype,
      shape: [...x.shape.slice(0, at), stacked.length, ...x.shape.slice(at)],
    });
    return true;
  };
  const lookup: Statement = (s) => {
    if (!wants.indices) return false;
    const way = below(6);
    if (way === 0) {
      const n = pick([3, 5, 7]);
      const d = pick([1, 2, 4]);
      const ids = indices(
        s,
        n,
        pick<Dim[]>([["N"], ["N", "T"], [], [3]]).filter(
          (x) => isLit(x) || s.fn.inputs.some((v) => v.shape.includes(x)),
        ),
      );
      const table = param(s, [n, d]);
      if (!table) return false;
      bind(s, `embedding(${ids.text}, ${table.text})`, { dtype: "f32", shape: [...ids.shape, d] });
      return true;
    }
    if (way === 1) {
      const x = some(s, (v) => v.shape.some((d) => isLit(d)) && v.shape.length < 4);
      if (!x) return false;
      const at = x.shape.findIndex(isLit);
      const ids = indices(s, x.shape[at] as number, pick([[], [2], [3]]));
      bind(s, `take(${x.text}, ${ids.text}, axis = ${axisText(x, at)})`, {
        dtype: x.dtype,
        shape: [...x.shape.slice(0, at), ...ids.shape, ...x.shape.slice(at + 1)],
      });
      return true;
    }
    if (way === 2) {
      const x = some(s, (v) => v.shape.length > 0 && isLit(v.shape.at(-1) as Dim));
      if (!x) return false;
      const shape = [...x.shape.slice(0, -1), pick([1, 2, 3])];
      const ids = indices(s, x.shape.at(-1) as number, shape);
      bind(s, `gather(${x.text}, ${ids.text}${chance(0.5) ? ", axis = -1" : ""})`, { dtype: x.dtype, shape });
      return true;
    }
    if (way === 3) {
      const ids = s.all().find((v) => v.dtype === "i32");
      if (!ids || ids.shape.length > 3) return false;
      const c = ids.below ?? 4;
      bind(s, `one_hot(${ids.text}, ${c})`, { dtype: "f32", shape: [...ids.shape, c] });
      return true;
    }
    if (way === 4) {
      const x = some(s, (v) => v.shape.length > 0 && v.shape.length < 4 && isLit(v.shape.at(-1) as Dim));
      if (!x) return false;
      const a = x.shape.length - 1;
      bind(
        s,
        `${pick(["argmax", "argmin"])}(${x.text}, axis = ${axisText(x, a)})`,
        { dtype: "i32", shape: x.shape.slice(0, -1), below: x.shape.at(-1) as number },
        "k",
      );
      return true;
    }
    const x = some(s, (v) => v.shape.length > 0 && literal(v.shape));
    if (!x) return false;
    const at = axesOf(x).map(() => indices(s, 3, []).text);
    const sizes = (x.shape as number[]).map((d) => between(1, d));
    if (chance(0.5))
      bind(s, `slice_at(${x.text}, [${at.join(", ")}], sizes = [${sizes.join(", ")}])`, {
        dtype: x.dtype,
        shape: sizes,
      });
    else {
      const block = need(s, { dtype: x.dtype, shape: sizes });
      bind(s, `update(${x.text}, ${block.text}, [${at.join(", ")}])`, x);
    }
    return true;
  };
  const triangle: Statement = (s) => {
    const x = some(s, (v) => v.shape.length >= 2);
    if (!x) return false;
    bind(s, `${pick(["tril", "triu"])}(${x.text}${chance(0.5) ? `, k = ${pick([-1, 1])}` : ""})`, x);
    return true;
  };
  const half: Statement = (s) => {
    if (!wants.f16) return false;
    const x = some(s);
    if (!x) return false;
    const to = x.dtype === "f32" ? "f16" : "f32";
    bind(s, to === "f16" ? `f16(0.5 * ${x.text})` : `f32(${x.text})`, { dtype: to, shape: x.shape });
    return true;
  };
  const randomly: Statement = (s) => {
    if (!wants.random) return false;
    const x = some(s, (v) => v.dtype === "f32" && v.shape.length > 0);
    if (!x) return false;
    bind(
      s,
      pick([
        `dropout(${x.text}, 0.3)`,
        `dropout(${x.text}, ${pick([0.1, 0.5])})`,
        `${x.text} + 0.1 * randn([${x.shape.join(", ")}])`,
        `${x.text} * rand([${x.shape.join(", ")}])`,
      ]),
      x,
    );
    return true;
  };
  const attention: Statement = (s) => {
    if (!wants.attention) return false;
    const q = some(
      s,
      (v) =>
        v.dtype === "f32" &&
        v.shape.length >= 2 &&
        v.shape.length <= 4 &&
        bulk(v.shape) < 800 &&
        isLit(v.shape.at(-1) as Dim),
    );
    if (!q) return false;
    const d = q.shape.at(-1) as Dim;
    const k =
      some(
        s,
        (v) =>
          v.dtype === "f32" &&
          v.shape.length === q.shape.length &&
          v.shape.at(-1) === d &&
          same(v.shape.slice(0, -2), q.shape.slice(0, -2)),
      ) ?? q;
    const v =
      some(
        s,
        (w) =>
          w.dtype === "f32" &&
          w.shape.length === q.shape.length &&
          same(w.shape.slice(0, -1), k.shape.slice(0, -1)),
      ) ?? k;
    const [T, S] = [q.shape.at(-2) as Dim, k.shape.at(-2) as Dim];
    const plain = (x: Dim): boolean => isLit(x) || s.fn.inputs.some((w) => w.shape.includes(x));
    const mask =
      chance(0.4) && plain(T) && plain(S)
        ? need(s, { dtype: chance(0.6) ? "bool" : "f32", shape: [T, S] }).text
        : undefined;
    const causal = T === S && chance(0.4);
    bind(
      s,
      `attention(${[q.text, k.text, v.text, mask].filter(Boolean).join(", ")}${causal ? ", causal = true" : ""}${chance(0.2) ? ", scale = 0.3" : ""})`,
      { dtype: "f32", shape: [...q.shape.slice(0, -1), v.shape.at(-1) as Dim] },
    );
    return true;
  };
  const conv: Statement = (s) => {
    if (!wants.convs) return false;
    const x = some(s, (v) => v.shape.length === 4 && literal(v.shape.slice(1)) && bulk(v.shape) < 2500);
    if (!x) return false;
    const [n, c, h, w] = x.shape as [Dim, number, number, number];
    if (chance(0.35) && h >= 2 && w >= 2) {
      const stride = chance(0.7) ? 2 : 1;
      const out = (d: number): number => Math.floor((d - 2) / stride) + 1;
      if (chance(0.3)) {
        const out3 = (d: number): number => Math.floor((d + 2 - 3) / 2) + 1;
        bind(s, `${pick(["max_pool2d", "avg_pool2d"])}(${x.text}, 3, stride = 2, padding = 1)`, {
          dtype: x.dtype,
          shape: [n, c, out3(h), out3(w)],
        });
        return true;
      }
      bind(s, `${pick(["max_pool2d", "avg_pool2d"])}(${x.text}, 2, stride = ${stride})`, {
        dtype: x.dtype,
        shape: [n, c, out(h), out(w)],
      });
      return true;
    }
    const k = Math.min(pick([1, 2, 3, 3]), h, w);
    const padding = k === 1 ? 0 : below(2);
    const stride = chance(0.7) ? 1 : 2;
    const groups = chance(0.25) ? pick([1, 2, 3, 4].filter((g) => c % g === 0)) : 1;
    const o = groups * pick([1, 2, 3, 4]);
    const weight = param(s, [o, c / groups, k, k], x.dtype);
    const bias = chance(0.5) ? param(s, [o], x.dtype) : undefined;
    if (!weight) return false;
    const out = (d: number): number => Math.floor((d + 2 * padding - k) / stride) + 1;
    const options = `${padding ? `, padding = ${padding}` : ""}${stride > 1 ? `, stride = ${stride}` : ""}${groups > 1 ? `, groups = ${groups}` : ""}`;
    const text = `conv2d(${[x.text, weight.text, bias?.text].filter(Boolean).join(", ")}${options})`;
    bind(s, chance(0.4) ? `relu(${text})` : text, { dtype: x.dtype, shape: [n, o, out(h), out(w)] });
    return true;
  };
  const library: Statement = (s) => {
    if (!wants.std) return false;
    const known = s.owner.callables.filter((c) => /^s\d/.test(c.text));
    if (known.length > 0 && chance(0.4) && call(s, pick(known))) return true;
    const x = some(s, (v) => v.dtype === "f32" && v.shape.length >= 2 && isLit(v.shape.at(-1) as Dim));
    if (!x) return false;
    const d = x.shape.at(-1) as number;
    const lead = ["P", "Q", "R"].slice(0, x.shape.length - 1);
    const ty = (shape: readonly Dim[]): Ty => ({ dtype: "f32", shape });
    const make = (
      layer: string,
      args: string,
      params: Ty[],
      results: Callable["results"],
      writes = false,
    ): boolean => {
      const instance = name("s");
      s.owner.members.push(`${instance} = ${std(layer)}(${args})`);
      const c = { text: instance, params, results, writes };
      s.owner.callables.push(c);
      if (layer === "Linear" && chance(0.35)) {
        // Another like it, whose weight the model may tie to this one's.
        const twin = name("s");
        s.owner.members.push(`${twin} = ${layer}(${args})`);
        s.owner.callables.push({ ...c, text: twin });
        call(s, { ...c, text: twin });
      }
      return call(s, c);
    };
    const one = (shape: readonly Dim[]): Callable["results"] => [{ ty: ty(shape) }];
    const options: (() => boolean)[] = [
      () => {
        const m = pick([1, 2, 3, 4, 8]);
        return make(
          "Linear",
          `${d}, ${m}${chance(0.3) ? ", bias = false" : ""}`,
          [ty([...lead, d])],
          one([...lead, m]),
        );
      },
      () => make(pick(["LayerNorm", "RMSNorm"]), `${d}, eps = 0.1`, [ty([...lead, d])], one([...lead, d])),
    ];
    if (x.shape.length === 2)
      options.push(() => make("BatchNorm1d", `${d}, eps = 0.1`, [ty(["P", d])], one(["P", d]), true));
    if (x.shape.length === 3) {
      const h = pick([2, 3, 4]);
      options.push(
        () =>
          make(
            "GRU",
            `${d}, ${h}`,
            [ty(["P", "Q", d])],
            [
              { name: "y", ty: ty(["P", "Q", h]) },
              { name: "s", ty: ty(["P", h]) },
            ],
          ),
        () =>
          make(
            "LSTM",
            `${d}, ${h}`,
            [ty(["P", "Q", d])],
            [
              { name: "y", ty: ty(["P", "Q", h]) },
              { name: "s", ty: ty(["P", h]) },
              { name: "c", ty: ty(["P", h]) },
            ],
          ),
      );
      if (d % 2 === 0 && wants.attention)
        options.push(() =>
          make(
            "SelfAttention",
            `${d}, 2${chance(0.5) ? ", causal = true" : ""}`,
            [ty(["P", "Q", d])],
            one(["P", "Q", d]),
          ),
        );
    }
    if (wants.random)
      options.push(() => make("MLP", `${d}, hidden = 5, p = 0.2`, [ty([...lead, d])], one([...lead, d])));
    return pick(options)();
  };
  const buffer: Statement = (s) => {
    // A fn writes a buffer once, and a static loop would write it in each pass; a scan is one write.
    if (s.inFor) return false;
    const x = some(s, (v) => v.dtype === "f32" && literal(v.shape) && v.shape.length <= 2);
    if (!x) return false;
    if (chance(0.25)) {
      const b = newBuffer(s.owner, { dtype: "i32", shape: [] });
      s.lines.push(`${b.text} <- ${b.text} + 1`);
      s.values.push({ text: `f32(${b.text})`, dtype: "f32", shape: [] });
    } else {
      const b = newBuffer(s.owner, { dtype: "f32", shape: x.shape });
      s.lines.push(
        `${b.text} <- ${pick([`lerp(${b.text}, ${x.text}, 0.1)`, `0.9 * ${b.text} + 0.1 * tanh(${x.text})`, `tanh(${x.text})`])}`,
      );
      s.values.push({ ...b });
    }
    s.fn.written.add("own");
    return true;
  };
  const use: Statement = (s) => {
    const list = s.owner.callables.filter((c) => !/^s\d/.test(c.text));
    return list.length > 0 && call(s, pick(list));
  };
  const choice: Statement = (s) => {
    const x = some(s);
    if (!x || s.loops > 1 || s.fn.written.size > 40) return false;
    if (chance(0.4)) {
      // Modes: both sides have the type.
      const v = name("v");
      const [a, b] = [new Scope(s.owner, s.fn, s, "for"), new Scope(s.owner, s.fn, s, "for")];
      for (const side of [a, b]) statements(side, between(1, 2));
      const condition = pick(["training", "training", "1 < 2", "!training"]);
      s.lines.push(
        `${v} = if ${condition} {`,
        ...indent([...a.lines, coerce(a, x, x.text)]),
        "} else {",
        ...indent([...b.lines, coerce(b, x, x.text)]),
        "}",
      );
      s.values.push({ ...x, text: v });
      return true;
    }
    const h = name("h");
    const inner = new Scope(s.owner, s.fn, s, "for");
    inner.values.push({ ...x, text: h });
    statements(inner, between(1, 3));
    s.lines.push(
      `${h} = for ${name("i")} in 0..${between(1, 3)} with ${h} = ${x.text} {`,
      ...indent([...inner.lines, coerce(inner, x, h)]),
      "}",
    );
    s.values.push({ ...x, text: h });
    return true;
  };
  const scan: Statement = (s) => {
    if (!wants.scans || s.loops > 1) return false;
    const x = some(s, (v) => v.dtype === "f32" && v.shape.length > 0 && bulk(v.shape) < 2000);
    if (!x) return false;
    const at = below(x.shape.length);
    const more = s
      .all()
      .filter((v) => v.text !== x.text && v.shape.length > at && v.shape[at] === x.shape[at]);
    const sequences = [x, ...more.filter(() => chance(0.3)).slice(0, 2)];
    const inner = new Scope(s.owner, s.fn, s, "scan");
    const slices = sequences.map((v) => ({
      text: name("z"),
      dtype: v.dtype,
      shape: drop(v.shape, [at], false),
    }));
    inner.values.push(...slices);
    const carries = Array.from({ length: pick([0, 1, 1, 1, 2, 2, 3]) }, () => {
      const way = below(4);
      const known = some(s, (v) => v.dtype === "f32" && v.shape.length <= 2 && bulk(v.shape) < 200);
      const from = way === 0 && known ? known : way === 1 ? param(s, [pick([1, 2, 3, 4])]) : undefined;
      const shape = from?.shape ?? pick([slices[0].shape, [], slices[0].shape]);
      const init =
        from?.text ??
        (shape.length === 0
          ? pick(["full([], 0.0)", "full([], 0.5)"])
          : `${pick(["zeros", "ones"])}(${shape.join(", ")})`);
      return { text: name("c"), dtype: "f32" as Dt, shape, init };
    });
    if (chance(0.15))
      carries.push({ text: name("c"), dtype: "i32", shape: [], init: "full([], 0, dtype = i32)" });
    inner.values.push(...carries);
    statements(inner, between(2, 5));
    // The next values may read each other's old ones, or new ones.
    const next: string[] = [];
    for (const c of carries)
      next.push(`${c.text} = ${c.dtype === "i32" ? `${c.text} + 1` : coerce(inner, c, c.text)}`);
    const emits = inner.values
      .filter(
        (v) =>
          bulk(v.shape) < 500 &&
          v.shape.length < 4 &&
          /^\w+$/.test(v.text) &&
          (chance(0.2) || !slices.some((z) => z.text === v.text)),
      )
      .filter(() => chance(0.4))
      .slice(-3);
    const captured = s.all().filter((v) => isFloat(v) && bulk(v.shape) < 100 && v.shape.length < 3);
    if (chance(0.1) && captured.length > 0) emits.push(pick(captured));
    if (carries.length === 0 && emits.length === 0) return false;
    const names = emits.map(() => name("e"));
    const emitLines = emits.map(
      (v, i) =>
        `emit ${names[i]} = ${carries.some((c) => c.text === v.text) || !isFloat(v) || chance(0.6) ? v.text : tame(v.text)}`,
    );
    const r = name("r");
    const begin = carries.length > 0 ? ` with ${carries.map((c) => `${c.text} = ${c.init}`).join(", ")}` : "";
    const target = slices.length === 1 ? slices[0].text : `(${slices.map((z) => z.text).join(", ")})`;
    const over = sequences.length === 1 ? x.text : `(${sequences.map((v) => v.text).join(", ")})`;
    const body = chance(0.5)
      ? [...inner.lines, ...emitLines, ...next]
      : [...inner.lines, ...next, ...emitLines];
    s.lines.push(`${r} = scan ${target} over ${over} axis ${at}${begin} {`, ...indent(body), "}");
    const outs: Val[] = [
      ...emits.map((v, i) => ({
        ...v,
        text: names[i],
        shape: [...v.shape.slice(0, at), x.shape[at], ...v.shape.slice(at)],
      })),
      ...carries.map(({ init: _, ...c }) => c),
    ];
    for (const v of outs)
      s.values.push({ text: outs.length === 1 ? r : `${r}.${v.text}`, dtype: v.dtype, shape: v.shape });
    return true;
  };
  const gradient: Statement = (s) => {
    if (!wants.grads || !s.owner.isModel || gradables.length === 0) return false;
    const g = pick(gradables);
    const given = argsFor(s, g);
    if (!given) return false;
    const floats = g.params.flatMap((p, i) => (isFloat(p) ? [i] : []));
    const wrt = chance(0.3) && (g.reads ?? []).length > 0 ? pick(g.reads as string[]) : undefined;
    const at = floats.length > 0 ? pick(floats) : undefined;
    const given_ = `(${given.args.map((a) => a.text).join(", ")})`;
    for (const r of g.reads ?? []) s.fn.reads.add(r);
    if (wrt !== undefined) {
      const p = s.owner.params.find((x) => x.text === wrt);
      if (!p) return false;
      bind(s, `tanh(grad(${g.text}, wrt = ${wrt})${given_})`, p);
    } else if (at !== undefined) {
      const inputs = gradNames.get(g.text) as string[];
      const ty = { ...g.params[at], shape: g.params[at].shape.map((d) => substitute(d, given.map)) };
      bind(
        s,
        `${chance(0.5) ? "tanh" : ""}(grad(${g.text}, wrt = ${inputs[at]})${given_})`.replace(
          /^\((.*)\)$/,
          "$1",
        ),
        ty,
      );
    } else return false;
    return true;
  };

  const table: readonly (readonly [number, Statement])[] = [
    [5, unary],
    [6, binary],
    [1, chain],
    [2, where],
    [1.5, compare],
    [4, reduce],
    [0.5, prod],
    [3, normalise],
    [1, cumulate],
    [6, matmul],
    [1, vector],
    [1.5, selfProduct],
    [1.5, contract],
    [1.5, reshape],
    [1.5, splitAxis],
    [2, transpose],
    [2, slice],
    [2, sliceOpen],
    [1.5, integer],
    [0.7, flip],
    [1, pad],
    [1, newAxis],
    [1, squeeze],
    [1, repeat],
    [2, concat],
    [4, lookup],
    [0.7, triangle],
    [3, half],
    [1.5, randomly],
    [5, attention],
    [7, conv],
    [3, library],
    [1.5, buffer],
    [4, use],
    [2, choice],
    [5, scan],
    [3, gradient],
    [1.5, own],
  ];
  const total = table.reduce((n, [w]) => n + w, 0);
  const statements = (s: Scope, count: number): void => {
    for (let made = 0, tries = 0; made < count && tries < count * 6; tries++) {
      let at = random() * total;
      let k = 0;
      for (; k < table.length - 1 && at >= table[k][0]; k++) at -= table[k][0];
      if (table[k][1](s)) made++;
    }
  };

  // --------------------------------------------------------------------------------------------------- fns
  const gradables: Callable[] = [];
  const gradNames = new Map<string, string[]>();
  const inputType = (): Ty => {
    const N = pick(shared.symbols.slice(0, 1));
    const T = shared.symbols[1] ?? 3;
    if (wants.convs && chance(0.6))
      return { dtype: "f32", shape: [N, pick([1, 2, 3, 4]), pick([3, 4, 5]), pick([3, 4, 5])] };
    const shape = pick<Dim[]>([
      [N, extent()],
      [N, extent()],
      [N, T, extent()],
      [N, T, extent()],
      [T, N],
      [N],
      [extent(), extent()],
      [T, extent()],
      [extent()],
      [N, extent(), extent()],
    ]);
    return { dtype: wants.f16 && chance(0.2) ? "f16" : "f32", shape };
  };
  const open = (owner: Owner, inputs: number): Scope => {
    const fn: Fn = { inputs: [], open: true, written: new Set(), reads: new Set() };
    const s = new Scope(owner, fn);
    const first = inputType();
    for (let i = 0; i < inputs; i++) s.values.push(newInput(fn, chance(0.5) ? first : inputType()));
    return s;
  };
  const header = (s: Scope): string => s.fn.inputs.map((v) => `${v.text}: ${typeText(v)}`).join(", ");
  const braces = (head: string, lines: readonly string[]): string[] => [`${head} {`, ...indent(lines), "}"];
  /** Some of what was computed, late ones above all. */
  const results = (s: Scope, count: number): Val[] => {
    const own = s.values.filter((v) => !s.fn.inputs.some((x) => x.text === v.text));
    const list = own.length > 0 ? own : s.values;
    const out = new Set<Val>([list[list.length - 1]]);
    for (let i = 1; i < count; i++) out.add(pick(list));
    return [...out];
  };
  const layer = (): {
    name: string;
    lines: string[];
    /** Has static parameters. */
    scaled: boolean;
    callable: Omit<Callable, "text">;
  } => {
    const owner = new Owner(false);
    const s = open(owner, pick([1, 1, 2]));
    // Instances of earlier layers.
    if (layers.length > 0 && chance(0.5)) instance(owner, pick(layers));
    statements(s, between(2, 5));
    const outs = results(s, chance(0.8) ? 1 : 2).filter((v) => v.dtype !== "i32");
    const list = outs.length > 0 ? outs : [s.values[0]];
    const value =
      list.length === 1 ? list[0].text : `(${list.map((v, i) => `${"pq"[i]} = ${v.text}`).join(", ")})`;
    const title = name("L");
    const scale = name("k");
    const scaled = chance(0.3) && list.length === 1 && list[0].dtype === "f32";
    return {
      name: title,
      lines: braces(`layer ${title}(${scaled ? `${scale}: float = 0.5, wide: bool = true` : ""})`, [
        ...owner.members,
        ...braces(`fn forward(${header(s)})`, [
          ...s.lines,
          scaled ? `if wide { ${scale} * ${value} } else { ${value} }` : value,
        ]),
      ]),
      scaled,
      callable: {
        params: s.fn.inputs,
        results: list.map((v, i) => ({
          name: list.length === 1 ? undefined : "pq"[i],
          ty: { dtype: v.dtype, shape: v.shape, below: v.below },
        })),
        writes: s.fn.written.size > 0,
      },
    };
  };
  const instance = (owner: Owner, l: (typeof layers)[number]): void => {
    const text = name("a");
    const args = l.scaled ? pick(["", "0.75", "wide = false", "1.5, wide = true"]) : "";
    owner.members.push(`${text} = ${l.name}(${args})`);
    owner.callables.push({ ...l.callable, text });
    if (chance(0.25)) {
      // Shared: another name of the same instance.
      const again = name("a");
      owner.members.push(`${again} = ${text}`);
      owner.callables.push({ ...l.callable, text: again });
    }
    const [p] = l.callable.params;
    const [r] = l.callable.results;
    if (
      chance(0.3) &&
      l.callable.params.length === 1 &&
      l.callable.results.length === 1 &&
      p.dtype === r.ty.dtype &&
      same(p.shape, r.ty.shape)
    ) {
      const list = name("a");
      owner.members.push(`${list} = [${l.name}() for ${name("i")} in 0..2]`);
      owner.callables.push({ ...l.callable, text: list, list: true });
    }
  };
  const layers: ReturnType<typeof layer>[] = [];
  for (let i = pick([0, 0, 1, 1, 2]); i > 0; i--) layers.push(layer());

  const model = new Owner(true);
  for (const l of layers) if (chance(0.9)) instance(model, l);
  const fns: string[][] = [];
  /** A number that depends on what the scope computed. */
  const scalarOf = (s: Scope): string => {
    const floats = results(s, between(1, 3)).filter(isFloat);
    const list = floats.length > 0 ? floats : s.values.filter(isFloat).slice(-1);
    const terms = list.map((v) => {
      const x = v.dtype === "f16" ? `f32(${v.text})` : v.text;
      if (v.shape.length === 0) return `square(${x})`;
      if (wants.indices && v.shape.length === 2 && v.shape[0] === "N" && isLit(v.shape[1]) && v.shape[1] > 1)
        return `cross_entropy(${x}, ${indices(s, v.shape[1], ["N"]).text})`;
      return pick([
        `mean(square(${x}))`,
        `mean(tanh(${x}))`,
        `0.1 * sum(square(${x}))`,
        `mean(softplus(${x}))`,
        `mse_loss(${x}, tanh(${x} + 0.5))`,
        `${std(pick(["l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy_with_logits"]), "std/loss")}(${x}, sigmoid(${x} - 0.3))`,
      ]);
    });
    return terms.join(" + ");
  };
  if (wants.grads) {
    for (let i = pick([1, 1, 2]); i > 0; i--) {
      const s = open(model, pick([1, 1, 2]));
      statements(s, between(2, 4));
      const value = scalarOf(s);
      const f = name("q");
      fns.push(braces(`private fn ${f}(${header(s)}) -> f32`, [...s.lines, value]));
      if (s.fn.written.size > 0) continue;
      gradNames.set(
        f,
        s.fn.inputs.map((v) => v.text),
      );
      gradables.push({
        text: f,
        params: [...s.fn.inputs],
        results: [{ ty: { dtype: "f32", shape: [] } }],
        reads: [...s.fn.reads].filter((r) => model.params.some((p) => p.text === r)),
      });
      model.callables.push(gradables[gradables.length - 1]);
    }
  }
  for (let i = pick([1, 1, 2]); i > 0; i--) {
    const s = open(model, wants.many && chance(0.6) ? between(5, 10) : pick([1, 2, 2, 3]));
    statements(s, between(2, 7));
    if (wants.many && chance(0.6)) chain(s);
    const outs = results(s, pick([1, 1, 2, 3]));
    if (chance(0.1)) outs.push(pick([...s.fn.inputs, ...outs]));
    const entry = name("entry");
    const value =
      outs.length === 1 ? outs[0].text : `(${outs.map((v, k) => `o${k} = ${v.text}`).join(", ")})`;
    fns.push(braces(`fn ${entry}(${header(s)})`, [...s.lines, value]));
  }
  const losses: string[] = [];
  const blocks = pick([0, 1, 1, 1, 1, 2]);
  for (let i = 0; i < Math.max(1, blocks) && blocks > 0; i++) {
    const s = open(model, pick([1, 2, 2]));
    statements(s, between(3, 7));
    // Something must be trained.
    if (s.fn.reads.size === 0) matmul(s) || newAxis(s);
    const trained = model.params.filter((p) => p.dtype === "f32");
    const value = `${scalarOf(s)}${trained.length > 0 && chance(0.5) ? ` + 0.05 * sum(square(${pick(trained).text}))` : ""}`;
    const f = name("loss");
    losses.push(f);
    fns.push(braces(`fn ${f}(${header(s)}) -> f32`, [...s.lines, value]));
  }
  if (model.params.length === 0 && blocks > 0) newParam(model, [3]);
  const ties: string[] = [];
  const linears = model.members.filter((m) => /^s\d+ = (Linear|LayerNorm|RMSNorm)/.test(m));
  for (const [i, m] of linears.entries()) {
    const twin = linears
      .slice(i + 1)
      .find((o) => o.split(" = ").slice(1).join() === m.split(" = ").slice(1).join());
    if (twin && chance(0.7)) ties.push(`${twin.split(" ")[0]}.weight = ${m.split(" ")[0]}.weight`);
  }
  const trains: string[][] = [];
  for (let i = 0; i < blocks; i++) {
    const paths = model.params.filter((p) => p.dtype === "f32").map((p) => p.text);
    const penalty =
      paths.length > 0 && chance(0.3)
        ? ` + ${pick(["l1", "l2"])}(${pick(paths)}, ${pick(["1e-2", "1e-3"])})`
        : "";
    const minimize = i > 0 && chance(0.3) ? `${losses[0]} + 0.5 * ${losses[i]}` : losses[i];
    const lr = pick([
      "0.1",
      "0.05",
      "1e-2",
      "cosine(0.1, warmup = 2)",
      "exponential(0.1, 0.9)",
      "linear(0.1)",
      "step_decay(0.1, 1, 0.5)",
    ]);
    const optimizer = pick([
      `sgd(lr = ${lr})`,
      `sgd(lr = ${lr}, momentum = 0.9)`,
      `sgd(lr = ${lr}, momentum = 0.8, nesterov = true, weight_decay = 0.01)`,
      `adam(lr = ${lr}, eps = 1e-2)`,
      `adam(lr = ${lr}, eps = 1e-2, betas = (0.8, 0.95), weight_decay = 0.1)`,
      `adamw(lr = ${lr}, eps = 1e-2)`,
      `adamw(lr = ${lr}, eps = 1e-2, weight_decay = 0.1${paths.length > 0 ? `, no_decay = ["${pick(paths)}"]` : ""})`,
    ]);
    trains.push(
      braces(`train ${name("fit")} for M`, [
        `minimize ${minimize}${penalty}`,
        `with ${optimizer}`,
        ...(chance(0.25) ? [pick(["clip norm 0.5", "clip norm 1.0", "clip value 0.1"])] : []),
        ...(losses.length > 1 && chance(0.4) ? [`report ${losses[(i + 1) % losses.length]}`] : []),
        ...(paths.length > 1 && !optimizer.includes("no_decay") && chance(0.2)
          ? [`frozen ${pick(paths)}`]
          : []),
      ]),
    );
  }
  const sizes = (small: boolean): string =>
    `N=${small ? pick([0, 1, 1, 2]) : pick([2, 3, 3, 5, 7])} T=${small ? pick([0, 1, 1, 2]) : pick(wants.large && !wants.scans ? [17, 33, 40] : [2, 3, 4, 7])}`;
  return [
    `// sizes ${sizes(false)}; ${sizes(true)}`,
    ...(chance(0.12) ? ["// bound"] : []),
    ...[...imports].map(([from, names]) => `import { ${[...names].sort().join(", ")} } from "${from}"`),
    "",
    ...[...ops.values()].flatMap((lines) => [...lines, ""]),
    ...layers.flatMap((l) => [...l.lines, ""]),
    ...braces("model M", [...model.members, ...ties, ...fns.flat()]),
    "",
    ...trains.flatMap((t) => [...t, ""]),
  ].join("\n");
}
