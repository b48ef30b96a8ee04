// An operator of the author's: a scalar expression over its operands, applied element by element, with a gradient of its
// own where one is given. In: an op declaration and arguments. Out: the expression in primitive operators, or, where it has
// a `grad`, a composite that holds its definition and gradient as graphs. A `wgsl` body beside it is checked here.
import type { Span } from "../../../diagnostics/report.ts";
import { sym } from "../../../dims/dim.ts";
import { createBuilder, finishGraph, reachable } from "../../../ir/build.ts";
import type { Attrs, DType, Graph, TensorType, Value } from "../../../ir/types.ts";
import { broadcastTogether, broadcastToOp } from "../../../ops/axes.ts";
import { customOp } from "../../../ops/custom.ts";
import { input as inputOp } from "../../../ops/source.ts";
import type * as ast from "../../../syntax/ast.ts";
import { coerceStatic, matchArgs, referArgs } from "../values/arguments.ts";
import {
  type Ctx,
  evaluate,
  Failed,
  fail,
  labelOf,
  originOf,
  report,
  Scope,
  type Trace,
  traceOf,
} from "../values/context.ts";
import { boundaryDType } from "../values/types.ts";
import { type ArgVal, describe, parts, tensorVal, type Val } from "../values/values.ts";
import { isLiteral, toTensor } from "./tensors.ts";

type UserOp = Extract<Val, { kind: "userop" }>;

/** The dtype of a scalar parameter; undefined for static ones. */
function scalarType(ctx: Ctx, t: ast.Type | ast.RecordType): TensorType | undefined {
  if (t.kind !== "tensor_type") return undefined;
  if (t.dims.length > 0)
    fail(ctx, "E0206", "an op is defined on scalars; it applies to tensors element by element", t.span, {
      help: `write ${t.dtype.name}`,
    });
  return { dtype: boundaryDType(ctx, t.dtype).dtype, shape: [] };
}

export function callUserOp(ctx: Ctx, op: UserOp, args: readonly ArgVal[], site: ast.Expr): Val {
  const { decl } = op;
  if (ctx.shared.damaged.has(decl)) throw new Failed("syntax");
  const name = decl.name.name;
  const trace = traceOf(ctx, site.span, `the result of ${name}`);
  const inside = opFrame(ctx, op, trace, site.span);
  const matched = matchArgs(
    ctx,
    name,
    decl.params.map((p) => p.name.name),
    args,
    site.span,
  );
  referArgs(ctx, args, decl.params);
  const values: Value[] = [];
  const names: string[] = [];
  decl.params.forEach((p, i) => {
    const arg = matched[i];
    const type = scalarType(inside, p.type);
    if (!arg && !p.default) fail(ctx, "E0601", `${name} needs ${p.name.name}`, site.span);
    const raw = arg ? arg.val : evaluate(inside, p.default as ast.Expr);
    const span = arg?.span ?? p.span;
    if (!type) {
      const val = coerceStatic(ctx, inside, p.type, raw, span, `${name}: ${p.name.name}`);
      inside.scope.names.set(p.name.name, { val, kind: "param", span: p.name.span });
      return;
    }
    const v = toTensor(ctx, raw, span, isLiteral(raw) ? type.dtype : undefined);
    if (v.type.dtype !== type.dtype)
      fail(ctx, "E0406", `${name}: ${p.name.name} is ${type.dtype}, given ${v.type.dtype}`, span, {
        help: `cast it: ${type.dtype}(…)`,
      });
    values.push(v);
    names.push(p.name.name);
  });
  if (values.length > 0) scalarBodies(inside, decl, names, values);
  if (values.length === 0) fail(inside, "E0206", "an op has at least one scalar operand", decl.name.span);
  const together = broadcastTogether(trace.b, values, name);
  if (!decl.grad) {
    return asVal(bodyValues(inside, decl, names, together));
  }
  const attrs = definition(inside, decl, names, values);
  const outs = trace.b.at(originOf(ctx, site.span), () =>
    trace.b.node(customOp, together, attrs, labelOf(site)),
  );
  return asVal(namesOf(attrs).map((name, i) => ({ name, value: outs[i] })));
}

/** A result of an operator; the only one has no name, unless it is declared with one. */
interface OpResult {
  readonly name: string | undefined;
  readonly value: Value;
}
/** Names of the results of an operator with a gradient. */
const namesOf = (attrs: Attrs): readonly (string | undefined)[] =>
  attrs.one ? [undefined] : (attrs.body as Graph).results.map((r) => r.name);
const asVal = (results: readonly OpResult[]): Val =>
  results.length === 1 && results[0].name === undefined
    ? tensorVal(results[0].value)
    : { kind: "record", fields: new Map(results.map((r) => [String(r.name), tensorVal(r.value)])) };

function opFrame(ctx: Ctx, op: UserOp, trace: Trace, site: Span): Ctx {
  return {
    ...ctx,
    trace,
    module: op.module,
    scope: new Scope(undefined, true),
    self: undefined,
    fn: op.decl.name.name,
    calls: [...ctx.calls, site],
    rest: { dims: undefined },
  };
}

/** Evaluates the body with the operands bound; each result has the operands' shape. */
function bodyValues(
  inside: Ctx,
  decl: ast.OpDecl,
  names: readonly string[],
  values: readonly Value[],
): readonly OpResult[] {
  const { body, result } = decl;
  const scope = new Scope(inside.scope, true);
  names.forEach((n, i) => {
    scope.names.set(n, { val: tensorVal(values[i]), kind: "param" });
  });
  const ctx: Ctx = { ...inside, scope };
  const span = body.result?.span ?? body.span;
  const val = ctx.shared.interpreter.block(ctx, body);
  const one = (name: string | undefined, v: Val, declared: ast.Type | undefined): OpResult => {
    const type = declared ? scalarType(inside, declared) : undefined;
    const value = toTensor(ctx, v, span, isLiteral(v) ? (type?.dtype ?? values[0].type.dtype) : undefined);
    const what = name === undefined ? decl.name.name : `${decl.name.name}.${name}`;
    if (type && value.type.dtype !== type.dtype)
      fail(ctx, "E0405", `${what} gives ${value.type.dtype}, declared ${type.dtype}`, span);
    return { name, value: elementwise(ctx, decl, value, values, span) };
  };
  if (result?.kind !== "record_type")
    return val.kind === "record" && !result
      ? [...val.fields].map(([name, v]) => one(name, v, undefined))
      : [one(undefined, val, result)];
  const given = val.kind === "record" ? val.fields : undefined;
  const list = parts(val);
  const missing = result.fields.find((f) => given && !given.has(f.name.name));
  if (!list || list.length !== result.fields.length || missing)
    return fail(
      ctx,
      "E0303",
      `${decl.name.name} gives ${describe(val)}, declared (${result.fields.map((f) => f.name.name).join(", ")})`,
      span,
    );
  return result.fields.map((f, i) => one(f.name.name, given?.get(f.name.name) ?? list[i], f.type));
}

function elementwise(ctx: Ctx, decl: ast.OpDecl, v: Value, values: readonly Value[], span: Span): Value {
  const b = traceOf(ctx, span, "a tensor").b;
  const [out] = broadcastTogether(b, [v, values[0]], decl.name.name);
  if (
    out.type.shape.length !== values[0].type.shape.length ||
    out.type.shape.some((d, i) => d.key !== values[0].type.shape[i].key)
  )
    fail(
      ctx,
      "E0303",
      `${decl.name.name} works element by element, and this is ${describe(tensorVal(v))}`,
      span,
    );
  return out;
}

const scalarChecked = new WeakMap<ast.OpDecl, Ctx["shared"]>();
/**
 * Tries the body and the gradient once, on vectors: what they say is to be of one element. It also shows what is wrong with
 * them here, and not in a pass that expands the operator later.
 */
function scalarBodies(
  inside: Ctx,
  decl: ast.OpDecl,
  names: readonly string[],
  values: readonly Value[],
): void {
  if (scalarChecked.get(decl) === inside.shared) return;
  const b = createBuilder();
  const trial = (n: string, dtype: TensorType["dtype"]): Value =>
    b.make(inputOp, [], { name: n, dtype, shape: [sym("N")] });
  const operands = names.map((n, i) => trial(n, values[i].type.dtype));
  const trace: Trace = { ...(inside.trace as Trace), b, seen: undefined, count: () => 0 };
  const ctx: Ctx = { ...inside, trace, calls: [] };
  const results = bodyValues(ctx, decl, names, operands);
  const outs = results.map((r) => r.value);
  if (decl.grad) {
    const cotangents = results.map((r, i) => ({ ...r, value: trial(`g${i}`, r.value.type.dtype) }));
    outs.push(...gradValues(ctx, decl, names, operands, cotangents));
  }
  for (const n of reachable(outs))
    if (
      n.op.fuses !== "map" &&
      n.op.fuses !== "source" &&
      n.op.fuses !== "composite" &&
      n.op !== broadcastToOp
    )
      fail(
        ctx,
        "E0302",
        `${n.op.name} does not work element by element, as ${decl.name.name} must`,
        n.origin.span ?? decl.body.span,
        {
          help: "make it a fn",
        },
      );
  scalarChecked.set(decl, inside.shared);
}

/** The author's gradients of the operands. */
function gradValues(
  ctx: Ctx,
  decl: ast.OpDecl,
  names: readonly string[],
  operands: readonly Value[],
  /** One for each result. */
  cotangents: readonly OpResult[],
): Value[] {
  const grad = decl.grad as ast.OpGrad;
  const scope = new Scope(ctx.scope, true);
  names.forEach((n, i) => {
    scope.names.set(n, { val: tensorVal(operands[i]), kind: "param" });
  });
  scope.names.set(grad.cotangent.name, { val: asVal(cotangents), kind: "param" });
  const at: Ctx = { ...ctx, scope };
  const val = ctx.shared.interpreter.block(at, grad.body);
  const span = grad.body.result?.span ?? grad.body.span;
  const list = names.length === 1 && !(val.kind === "tuple" || val.kind === "list") ? [val] : parts(val);
  if (!list || list.length !== names.length)
    fail(
      at,
      "E0609",
      `grad of ${decl.name.name} gives ${describe(val)}, for ${names.length} operands`,
      span,
      {
        help: `end it with ${names.length === 1 ? "one value" : `(${names.map((n) => `d${n}`).join(", ")})`}`,
      },
    );
  return list.map((v, i) =>
    elementwise(
      at,
      decl,
      toTensor(at, v, span, isLiteral(v) ? operands[i].type.dtype : undefined),
      operands,
      span,
    ),
  );
}

/** One pair of graphs per declaration, static arguments and dtypes: hash-consing goes by the object. */
const definitions = new WeakMap<ast.OpDecl, { shared: Ctx["shared"]; key: string; attrs: Attrs }[]>();

/** The author's text as graphs over scalars. */
function definition(
  inside: Ctx,
  decl: ast.OpDecl,
  names: readonly string[],
  values: readonly Value[],
): Attrs {
  const dtypes = values.map((v) => v.type.dtype);
  const key = [...inside.scope.names].map(([n, b]) => `${n} = ${describe(b.val)}`).join(", ");
  const list = definitions.get(decl) ?? [];
  definitions.set(decl, list);
  const old = list.find((o) => o.shared === inside.shared && o.key === `${key} ${dtypes}`);
  if (old) return old.attrs;
  const graph = (
    inputs: readonly { readonly name: string; readonly dtype: DType }[],
    body: (ctx: Ctx, operands: readonly Value[]) => readonly OpResult[],
  ): Graph => {
    const b = createBuilder();
    const operands = inputs.map(({ name, dtype }) => b.make(inputOp, [], { name, dtype, shape: [] }, name));
    const trace: Trace = {
      ...(inside.trace as Trace),
      b,
      seen: undefined,
      count: () => 0,
      constraints: () => [],
    };
    const outs = body({ ...inside, trace, calls: [] }, operands);
    return finishGraph({
      name: decl.name.name,
      inputs: operands.map((v) => v.node),
      results: outs.map(({ name = "y", value }) => ({ name, value })),
      symbols: [],
    });
  };
  const operands = names.map((name, i) => ({ name, dtype: dtypes[i] }));
  let one = false;
  const body = graph(operands, (ctx, xs) => {
    const outs = bodyValues(ctx, decl, names, xs);
    one = outs.length === 1 && outs[0].name === undefined;
    return outs;
  });
  const g = (decl.grad as ast.OpGrad).cotangent.name;
  const cotangents = body.results.map(({ name, value }) => ({
    name: one ? g : `${g}.${name}`,
    dtype: value.type.dtype,
  }));
  const gradient = graph([...operands, ...cotangents], (ctx, xs) => {
    const flowing = body.results.map(({ name }, i) => ({
      name: one ? undefined : name,
      value: xs[names.length + i],
    }));
    return gradValues(ctx, decl, names, xs.slice(0, names.length), flowing).map((value, i) => ({
      name: names[i],
      value,
    }));
  });
  const attrs: Attrs = { name: decl.name.name, body, gradient, one };
  list.push({ shared: inside.shared, key: `${key} ${dtypes}`, attrs });
  return attrs;
}

const WORDS: ReadonlySet<string> = new Set([
  ..."let var return if else f32 i32 u32 bool f16 true false".split(" "),
  ..."abs sign floor ceil round trunc fract min max clamp mix step smoothstep select fma saturate".split(" "),
  ..."exp exp2 log log2 pow sqrt inverseSqrt sin cos tan sinh cosh tanh asin acos atan atan2".split(" "),
]);

/**
 * A WGSL body may hold numbers, the operands, locals it binds, arithmetic and the scalar functions of WGSL, and nothing
 * else: no attributes, pointers, loops, types other than scalars, or names of the kernel around it.
 */
export function checkWgsl(ctx: Ctx, decl: ast.OpDecl): void {
  const body = decl.wgsl;
  if (!body) return;
  const known = new Set(decl.params.map((p) => p.name.name));
  const token = /\s+|\/\/[^\n]*|[A-Za-z_]\w*|\d[\w.]*|==|!=|<=|>=|&&|\|\||[-+*/%<>!=(){},;.]/y;
  let at = 0;
  let before = "";
  while (at < body.text.length) {
    token.lastIndex = at;
    const m = token.exec(body.text);
    const refuse = (what: string): void =>
      report(ctx, "E0206", `${what} is not allowed in the wgsl body of ${decl.name.name}`, body.span, {
        help: "a body holds let, return, if, arithmetic, its operands and scalar functions",
      });
    if (!m) {
      refuse(JSON.stringify(body.text[at]));
      return;
    }
    const t = m[0];
    if (/^[A-Za-z_]/.test(t)) {
      if (before === "let" || before === "var") known.add(t);
      else if (!WORDS.has(t) && !known.has(t)) {
        refuse(t);
        return;
      }
    }
    if (/\S/.test(t)) before = t;
    at += t.length;
  }
}
