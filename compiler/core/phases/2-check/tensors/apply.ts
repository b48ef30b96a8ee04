// Calls an operator: arguments to operands and attributes, literals adapted, errors placed under the argument at fault.
// In: an operator and arguments as written. Out: a value of the graph. Separate because every operator passes here, by its
// declared parameters alone; no operator is known by name.
import type { Code, Label, Span } from "../../../diagnostics/index.ts";
import { codes, InternalError } from "../../../diagnostics/index.ts";
import { asConst, surelyNotNegative, ZERO } from "../../../dims/dim.ts";
import { isDim, typeText } from "../../../ir/build.ts";
import { type Attr, type DType, type OpDef, OpError, type OpParam, type Value } from "../../../ir/types.ts";
import { tupleText } from "../../../ops/define.ts";
import { type Argument, applyOp } from "../../../ops/index.ts";
import { RANDOM_STEP, seed as seedOp, state as stateOp } from "../../../ops/source.ts";
import type * as ast from "../../../syntax/ast.ts";
import { matchArgs } from "../values/arguments.ts";
import {
  type Ctx,
  exhaust,
  fail,
  failName,
  hold,
  LIMITS,
  labelOf,
  originOf,
  type Trace,
  traceOf,
} from "../values/context.ts";
import { checkRange } from "../values/ranges.ts";
import { type ArgVal, asNumber, describe, tensorVal, type Val } from "../values/values.ts";
import { checkSize, isLiteral, isTensor, tensorTypeOf, toTensor } from "./tensors.ts";

interface Bound {
  /** By parameter name, as `applyOp` takes them. */
  readonly args: Record<string, Argument>;
  /** Where each operand is written, in the order of the node's inputs. */
  readonly spans: ArgVal[];
  /** Where each attribute is. */
  readonly places: Map<string, Span>;
}

export function applyOperator(ctx: Ctx, op: Val, args: readonly ArgVal[], site: ast.Expr): Val {
  if (op.kind !== "op") throw new InternalError("check", "not an operator");
  const { def } = op;
  const trace = traceOf(ctx, site.span, `the result of ${def.name}`);
  if (ctx.shared.spent.nodes + trace.count() > LIMITS.nodes)
    exhaust(ctx, "E1003", `the entries expand to more than ${LIMITS.nodes} operations`, site.span, {
      help: "does a fn call another several times, and that again?",
    });
  const bound = bind(ctx, trace, def, args, site);
  return place(ctx, trace, def, bound, site);
}

function bind(ctx: Ctx, trace: Trace, def: OpDef, args: readonly ArgVal[], site: ast.Expr): Bound {
  const params = def.params.filter((p) => !p.implicit);
  const given = args.map((a) => {
    const p = a.name === undefined ? undefined : params.find((q) => q.aliases?.includes(a.name as string));
    return p ? { ...a, name: p.name } : a;
  });
  const matched = matchArgs(
    ctx,
    def.name,
    params.map((p) => p.name),
    collect(params, given),
    site.span,
  );
  const adapt = adaptTo(params, matched);
  const out: Bound = { args: {}, spans: [], places: new Map() };
  for (const p of def.params) {
    const arg = p.implicit ? undefined : matched[params.indexOf(p)];
    if (p.implicit) implicit(ctx, trace, p, out, site);
    else if (!arg || arg.val.kind === "none") {
      if (p.optional || p.default !== undefined) continue;
      const message = arg ? `${def.name}: ${p.name} is none` : `${def.name} needs ${p.name}`;
      fail(ctx, "E0601", message, arg?.span ?? site.span, {
        help: p.doc ? `${p.name}: ${p.doc}` : `its parameters are ${params.map((q) => q.name).join(", ")}`,
      });
    } else if (p.kind === "tensor") {
      const v = toTensor(
        ctx,
        arg.val,
        arg.span,
        isLiteral(arg.val) ? literalDType(arg.val, p.literal ?? adapt) : undefined,
      );
      out.args[p.name] = v;
      out.spans.push({ ...arg, val: tensorVal(v) });
    } else if (p.kind === "tensors") {
      const list = p.alone && isTensor(arg.val) ? { items: [arg.val] } : arg.val;
      if (!("items" in list))
        fail(
          ctx,
          "E0605",
          `${def.name}: ${p.name} is a list of tensors, given ${describe(arg.val)}`,
          arg.span,
        );
      // Literals in a list take the dtype of the list's tensors (places of an update are ints, whatever it updates).
      const beside =
        p.literal ?? list.items.map((item) => tensorTypeOf(item)?.dtype).find((d) => d !== undefined);
      const values = list.items.map((item) =>
        toTensor(ctx, item, arg.span, isLiteral(item) ? literalDType(item, beside) : undefined),
      );
      out.args[p.name] = values;
      for (const v of values) out.spans.push({ val: tensorVal(v), span: arg.span });
    } else {
      out.args[p.name] = attribute(ctx, def, p, arg);
      notNegative(trace, out.args[p.name], `${def.name}: ${p.name}`, arg.span);
      out.places.set(p.name, arg.span);
      // A number of the operator's meets elements of its operands' dtype.
      const n = p.kind === "float" ? asNumber(arg.val) : undefined;
      if (n !== undefined) checkRange(ctx, n, adapt ?? "f32", arg.span);
    }
  }
  return out;
}

/** A size that the call alone tells may turn out to be negative (N - 4): it is then refused there. */
export function notNegative(trace: Trace, sizes: unknown, what: string, span: Span): void {
  for (const d of Array.isArray(sizes) ? sizes : [sizes])
    if (isDim(d) && asConst(d) === undefined && !surelyNotNegative(d))
      trace.b.require({ left: d, relation: ">=", right: ZERO, message: what, span });
}

const literalDType = (v: Val, dtype: DType | undefined): DType | undefined =>
  v.kind === "bool" ? undefined : dtype;

/** `reshape(x, 2, 3)` for `reshape(x, [2, 3])`, `transpose(x, 0, 2, 1)`: a last list parameter takes what is left over. */
function collect(params: readonly OpParam[], args: readonly ArgVal[]): readonly ArgVal[] {
  const at = params.findIndex(
    (p, i) =>
      p.kind === "dims" ||
      p.kind === "tensors" ||
      ((p.kind === "ints" || p.kind === "axes") && i === params.length - 1),
  );
  const places = args.filter((a) => a.name === undefined).length;
  if (at < 0 || places <= at + 1) return args;
  const rest = args.slice(at, places);
  const ints =
    params[at].kind === "tensors"
      ? rest.every((a) => isTensor(a.val))
      : rest.every((a) => a.val.kind === "int");
  if (!ints) return args;
  const list: ArgVal = { val: { kind: "list", items: rest.map((a) => a.val) }, span: rest[0].span };
  return [...args.slice(0, at), list, ...args.slice(places)];
}

/** The dtype literals take: that of the tensors beside them (a condition's bool only where nothing else is there). */
function adaptTo(params: readonly OpParam[], matched: readonly (ArgVal | undefined)[]): DType | undefined {
  const dtypes: DType[] = [];
  params.forEach((p, i) => {
    const v = matched[i]?.val;
    if (!v) return;
    const type = p.kind === "tensor" ? tensorTypeOf(v) : undefined;
    if (type) dtypes.push(type.dtype);
  });
  const numeric = dtypes.find((d) => d !== "bool");
  if (numeric) return numeric;
  const literals = params.flatMap((p, i) =>
    p.kind === "tensor" && matched[i] && isLiteral(matched[i].val) ? [matched[i].val] : [],
  );
  return literals.some((v) => v.kind === "float") ? "f32" : undefined;
}

function attribute(ctx: Ctx, def: OpDef, p: OpParam, arg: ArgVal): Attr {
  const v = arg.val;
  const wrong = (want: string): never => {
    if (isTensor(v))
      return fail(ctx, "E0506", `${def.name}: ${p.name} is static, and this is ${describe(v)}`, arg.span);
    return fail(ctx, "E0605", `${def.name}: ${p.name} is ${want}, given ${describe(v)}`, arg.span);
  };
  const int = (x: Val): number => {
    if (x.kind !== "int") return wrong("an int");
    return (
      asConst(x.dim) ??
      fail(ctx, "E0506", `${def.name}: ${p.name} is a static int, given ${describe(x)}`, arg.span)
    );
  };
  const named = (word: string, among: readonly string[]): string =>
    among.includes(word)
      ? word
      : failName(
          ctx,
          "E0606",
          `${def.name}: ${p.name} is not "${word}"`,
          word,
          among,
          arg.span,
          `choose ${among.map((w) => `"${w}"`).join(" or ")}`,
        );
  const items = v.kind === "list" || v.kind === "tuple" ? v.items : undefined;
  if (items) hold(ctx, arg.span, items.length);
  switch (p.kind) {
    case "int":
    case "axis":
      return int(v);
    case "ints":
    case "axes":
      return items ? items.map(int) : [int(v)];
    case "tuple": {
      const length = p.length as number;
      if (v.kind === "string" && p.among) return named(v.value, p.among);
      if (!items) return new Array<number>(length).fill(int(v));
      return items.length === length ? items.map(int) : wrong(tupleText(p));
    }
    case "float":
      if (v.kind === "float") return v.value;
      return v.kind === "int" ? int(v) : wrong("a float");
    case "bool":
      return v.kind === "bool" ? v.value : wrong("true or false");
    case "name":
      if (v.kind !== "string") return wrong(`one of ${(p.among ?? []).map((w) => `"${w}"`).join(", ")}`);
      return p.among ? named(v.value, p.among) : v.value;
    case "dtype":
      return v.kind === "dtype" ? v.dtype : wrong("a dtype, such as f32");
    case "dim":
      return v.kind === "int" ? v.dim : wrong("a size");
    case "dims": {
      const want = items?.some((x) => x.kind === "list" || x.kind === "tuple")
        ? "one list of sizes, a number for each axis"
        : "a list of sizes";
      const one = (x: Val): Attr => (x.kind === "int" ? x.dim : wrong(want));
      return items ? items.map(one) : v.kind === "int" ? [v.dim] : wrong(want);
    }
    case "tensor":
    case "tensors":
      throw new InternalError("check", "an operand is no attribute");
  }
}

/** What the user never writes: the seed, the step, the key of this random operation, the mode. */
function implicit(ctx: Ctx, trace: Trace, p: OpParam, out: Bound, site: ast.Expr): void {
  if (p.name === "training") {
    out.args.training = ctx.mode === "train";
    return;
  }
  if (p.name === "pass") {
    // Where there is a key: each pass of a scan draws anew.
    if (trace.pass === undefined || out.args.step === undefined) return;
    out.args.pass = trace.pass;
    out.spans.push({ val: tensorVal(trace.pass), span: site.span });
    return;
  }
  // Optional keys are those of operators that are random in training only.
  if (p.optional && ctx.mode === "eval") return;
  if (p.name === "hash") out.args.hash = randomKey(ctx, trace);
  else if (p.name === "seed" || p.name === "step") {
    const value = p.name === "seed" ? seedValue(trace) : stepValue(trace);
    out.args[p.name] = value;
    out.spans.push({ val: tensorVal(value), span: site.span });
  } else throw new InternalError("check", `an implicit parameter ${p.name}`);
}

export const seedValue = (trace: Trace): Value => trace.b.make(seedOp, [], {});
export const stepValue = (trace: Trace): Value =>
  trace.b.make(stateOp, [], { path: RANDOM_STEP, dtype: "u32", shape: [] }, RANDOM_STEP);

/**
 * The static part of a random operation's key: instance path, fn, and how many came before in the same fn of the same
 * instance within one entry (or one clause of a train block). Counting starts anew for each of these, so that a loss and
 * an accuracy that call the same network draw the same numbers and share its work.
 */
export function randomKey(ctx: Ctx, trace: Trace): number {
  const site = `${ctx.path}/${ctx.fn}`;
  const n = trace.randoms.get(site) ?? 0;
  trace.randoms.set(site, n + 1);
  return hash32(`${site}/${n}`);
}

/** FNV-1a over UTF-16 units, then mixed, so that near texts give far keys. */
export function hash32(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

function place(ctx: Ctx, trace: Trace, def: OpDef, bound: Bound, site: ast.Expr): Val {
  const { b } = trace;
  try {
    const outs = b.at(originOf(ctx, site.span), () => applyOp(b, def, bound.args, labelOf(site)));
    for (const v of outs) checkSize(ctx, v.type, site.span);
    return outs.length === 1 ? tensorVal(outs[0]) : { kind: "tuple", items: outs.map(tensorVal) };
  } catch (e) {
    if (!(e instanceof OpError)) throw e;
    const at = e.at.operand === undefined ? undefined : bound.spans[e.at.operand];
    const other = bound.spans.filter((s) => s !== at);
    const say = (s: ArgVal): Label => ({ span: s.span, text: operandText(s.val) });
    const declared = bound.spans.flatMap((s) => declaredAt(s.val));
    const code: Code = Object.hasOwn(codes, e.code) ? (e.code as Code) : "E0302";
    const place = at?.span ?? (e.at.attr === undefined ? undefined : bound.places.get(e.at.attr));
    return fail(ctx, code, e.message, place ?? site.span, {
      ...(at
        ? { label: operandText(at.val) }
        : bound.spans.length > 0 && !place
          ? { label: bound.spans.map((s) => operandText(s.val)).join(", ") }
          : {}),
      secondary: [
        ...(place ? other.filter((s) => declaredAt(s.val).length === 0).map(say) : []),
        ...declared,
      ],
      ...(e.at.help === undefined ? {} : { help: e.at.help }),
    });
  }
}

const operandText = (v: Val): string => {
  const t = tensorTypeOf(v);
  return t ? typeText(t) : describe(v);
};
/** The declaration of a parameter that is an operand. */
function declaredAt(v: Val): Label[] {
  if (v.kind !== "tensor" || v.value.node.inputs.length > 0) return [];
  const { op, attrs, origin } = v.value.node;
  return typeof attrs.path === "string" && origin.span && op.fuses === "source"
    ? [{ span: origin.span, text: typeText(v.value.type) }]
    : [];
}
