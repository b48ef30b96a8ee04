// Declared types against actual values: dtypes, dims, symbols. In: a type of the syntax tree and a tensor. Out: symbols
// bound in the fn's scope, conditions for the call, or an error that names both sides. Bare symbols bind first; every
// other dim is an expression over them and is compared afterwards.
import { pointer } from "../../../diagnostics/nearest.ts";
import type { Label, Span } from "../../../diagnostics/report.ts";
import {
  asConst,
  type Dim,
  DimError,
  dim,
  evaluate,
  exactQuotient,
  floorDiv,
  linearIn,
  neg,
  print,
  sub,
  surelyDiffer,
  sym,
  symbols,
} from "../../../dims/dim.ts";
import { typeText } from "../../../ir/build.ts";
import type { Constraint, DType, TensorType } from "../../../ir/types.ts";
import type { BoundaryDType } from "../../../model.ts";
import type * as ast from "../../../syntax/ast.ts";
import { capital, dimText, inferredHelp, isSymbolName, namesIn, symbolHelp } from "../names/symbols.ts";
import { type Ctx, fail, inner, report, sameDim, shapeText } from "./context.ts";
import { describe, intVal } from "./values.ts";

const INSIDE: Readonly<Record<string, DType>> = {
  f32: "f32",
  f16: "f16",
  i32: "i32",
  u32: "u32",
  bool: "bool",
  i8: "i32",
  u8: "i32",
  i64: "i32",
};
export const DTYPES: readonly DType[] = ["f32", "f16", "i32", "u32", "bool"];

/** The dtype of the graph for a declared one; `boundary` where they differ. */
export function boundaryDType(ctx: Ctx, name: ast.Ident): { dtype: DType; boundary?: BoundaryDType } {
  const dtype = Object.hasOwn(INSIDE, name.name) ? INSIDE[name.name] : undefined;
  if (!dtype) {
    const help =
      pointer(name.name, Object.keys(INSIDE)) ?? `a dtype is one of ${Object.keys(INSIDE).join(", ")}`;
    fail(ctx, "E0206", `there is no dtype ${name.name}`, name.span, { help });
  }
  return dtype === name.name ? { dtype } : { dtype, boundary: name.name as BoundaryDType };
}

/**
 * True for a size that the type itself introduces. A lower-case one is said to be wrong, once, and taken for what was meant.
 */
export function introduces(ctx: Ctx, d: ast.Expr): d is ast.NameExpr {
  if (d.kind !== "name") return false;
  if (isSymbolName(d.name)) return true;
  if (ctx.scope.find(d.name) || ctx.module.names.has(d.name) || ctx.module.missing.has(d.name)) return false;
  if (d.name === "none" || d.name === "training" || !/^[a-z]/.test(d.name)) return false;
  report(ctx, "E0201", `there is no ${d.name} here`, d.span, { help: inferredHelp(d.name, ctx.scope.all()) });
  return true;
}

/** Gives a symbol its value; a lower-case one is its capital, too. */
export function bindSymbol(ctx: Ctx, name: string, value: Dim, span: Span): void {
  for (const n of isSymbolName(name) ? [name] : [name, capital(name)])
    if (n === name || !ctx.scope.find(n))
      ctx.scope.names.set(n, { val: intVal(value), kind: "symbol", span });
}

/** A dim of a type or a list of sizes. */
export function evalDim(ctx: Ctx, e: ast.Expr): Dim {
  const all = evalDims(ctx, e);
  return all.length === 1 ? all[0] : fail(ctx, "E0505", "a size is an int, not a list", e.span);
}
/** The same where a static list stands for its items. */
export function evalDims(ctx: Ctx, e: ast.Expr): Dim[] {
  for (const name of namesIn(e)) {
    if (
      !isSymbolName(name.name) ||
      ctx.scope.find(name.name) ||
      ctx.module.names.get(name.name)?.item.kind === "bind"
    )
      continue;
    fail(ctx, "E0501", `the symbol ${name.name} is not bound here`, name.span, {
      help: symbolHelp(name.name, ctx.scope.all()),
    });
  }
  const v = ctx.shared.interpreter.expr(ctx, e);
  const sizes = v.kind === "list" ? v.items : [v];
  return sizes.map((s) =>
    s.kind === "int" ? s.dim : fail(ctx, "E0505", `a size is an int, not ${describe(s)}`, e.span),
  );
}

/** One parameter and what is given for it. */
export interface TypedArg {
  readonly name: string;
  readonly type: ast.TensorType;
  readonly actual: TensorType;
  /** Where it is given. */
  readonly span: Span;
}

const declaredText = (t: ast.TensorType): string => {
  const d = t.dims.map(dimText);
  return d.length === 0 ? t.dtype.name : `${t.dtype.name}[${d.join(", ")}]`;
};

/** The actual axes facing the declared dims, and those facing `...`. */
function align(
  ctx: Ctx,
  type: ast.TensorType,
  actual: TensorType,
  onRank: (want: string) => never,
): {
  pairs: { declared: ast.Expr; actual: Dim; axis: number }[];
  rest: readonly Dim[] | undefined;
  restSpan?: Span;
} {
  const at = type.dims.findIndex((d) => d.kind === "ellipsis");
  const n = type.dims.length;
  const rank = actual.shape.length;
  if (at < 0 ? n !== rank : rank < n - 1) onRank(at < 0 ? `${n}` : `at least ${n - 1}`);
  const pairs: { declared: ast.Expr; actual: Dim; axis: number }[] = [];
  type.dims.forEach((d, i) => {
    if (d.kind === "ellipsis") {
      if (i !== at) fail(ctx, "E0206", "... stands once in a type", d.span);
      return;
    }
    const axis = at >= 0 && i > at ? i + rank - n : i;
    pairs.push({ declared: d, actual: actual.shape[axis], axis });
  });
  if (at < 0) return { pairs, rest: undefined };
  return { pairs, rest: actual.shape.slice(at, at + rank - n + 1), restSpan: type.dims[at].span };
}

/**
 * Unifies all tensor parameters of a call with their arguments. `ctx` is the callee's; symbols are bound in its scope.
 * `caller` reports.
 */
export function unify(caller: Ctx, ctx: Ctx, fnName: string, args: readonly TypedArg[]): void {
  // What is wrong with an argument is shown where it is given, and names the instance it is given to.
  caller = { ...caller, path: ctx.path };
  const boundBy = new Map<string, TypedArg>();
  const later: Facing[] = [];
  let restBy: TypedArg | undefined;
  const declared = (a: TypedArg): Label => ({
    span: a.type.span,
    text: `${a.name}: ${declaredText(a.type)}`,
  });
  for (const arg of args) {
    const { dtype } = boundaryDType(ctx, arg.type.dtype);
    if (dtype !== arg.actual.dtype)
      fail(caller, "E0406", `${fnName}: ${arg.name} is ${dtype}, given ${arg.actual.dtype}`, arg.span, {
        label: typeText(arg.actual),
        secondary: [declared(arg)],
        help: `cast it: ${dtype}(…)`,
      });
    const { pairs, rest, restSpan } = align(ctx, arg.type, arg.actual, (want) =>
      fail(
        caller,
        "E0304",
        `${fnName}: ${arg.name} has ${want} ${want === "1" ? "axis" : "axes"}, given ${arg.actual.shape.length}`,
        arg.span,
        { label: typeText(arg.actual), secondary: [declared(arg)] },
      ),
    );
    if (rest) {
      const before = ctx.rest.dims;
      if (!before) {
        ctx.rest.dims = rest;
        restBy = arg;
      } else {
        const what = (): string =>
          `${fnName}: ... is ${shapeText(before)} in ${restBy?.name ?? "another parameter"} and ${shapeText(rest)} in ${arg.name}`;
        const differs =
          before.length !== rest.length ||
          before.some((d, i) => sameDim(caller, d, rest[i], what, arg.span) === "differ");
        if (differs)
          fail(caller, "E0502", what(), arg.span, {
            label: typeText(arg.actual),
            secondary: restBy ? [{ span: restBy.span, text: typeText(restBy.actual) }, declared(arg)] : [],
          });
      }
      void restSpan;
    }
    for (const p of pairs) {
      const d = p.declared;
      if (!introduces(ctx, d)) {
        later.push({ arg, ...p });
        continue;
      }
      const old = ctx.scope.names.get(d.name);
      if (old?.val.kind !== "int") {
        bindSymbol(ctx, d.name, p.actual, d.span);
        boundBy.set(d.name, arg);
        continue;
      }
      const first = boundBy.get(d.name);
      const before = old.val.dim;
      const what = (): string =>
        `${fnName}: ${d.name} is ${print(before)} in ${first?.name ?? "another parameter"} and ${print(p.actual)} in ${arg.name}`;
      if (sameDim(caller, old.val.dim, p.actual, what, arg.span) === "differ")
        fail(caller, "E0502", what(), arg.span, {
          label: typeText(arg.actual),
          secondary:
            first && first !== arg
              ? [{ span: first.span, text: typeText(first.actual) }, declared(arg)]
              : [declared(arg)],
        });
    }
  }
  solveLinear(caller, ctx, fnName, later, declared);
  for (const { arg, declared: d, actual, axis } of later) {
    const want = evalDim(ctx, d);
    const what = (): string =>
      `${fnName}: axis ${axis} of ${arg.name} is ${sized(d, want)}, given ${print(actual)}`;
    if (sameDim(caller, want, actual, what, arg.span) === "differ")
      fail(caller, "E0307", what(), arg.span, { label: typeText(arg.actual), secondary: [declared(arg)] });
  }
}

interface Facing {
  readonly arg: TypedArg;
  readonly declared: ast.Expr;
  readonly actual: Dim;
  readonly axis: number;
}

/** Sums, differences and products of sizes: what may bind the one symbol in it that is not bound yet. */
const polynomial = (e: ast.Expr): boolean =>
  e.kind === "name" ||
  e.kind === "int" ||
  (e.kind === "unary" && e.op === "-" && polynomial(e.operand)) ||
  (e.kind === "binary" && "+-*".includes(e.op) && polynomial(e.left) && polynomial(e.right));

/** The symbols of a size that have no value yet. */
export const openSymbols = (ctx: Ctx, e: ast.Expr): string[] => [
  ...new Set(namesIn(e).flatMap((n) => (isSymbolName(n.name) && !isBound(ctx, n.name) ? [n.name] : []))),
];
const isBound = (ctx: Ctx, name: string): boolean =>
  ctx.scope.find(name) !== undefined || ctx.module.names.get(name)?.item.kind === "bind";

/** A size as an expression that is linear in `name`, which is not bound yet. */
export function lineOf(
  ctx: Ctx,
  e: ast.Expr,
  name: string,
): { readonly coef: Dim; readonly rest: Dim } | undefined {
  if (!polynomial(e)) return undefined;
  const c = inner(ctx);
  c.scope.names.set(name, { val: intVal(sym(`$${name}`)), kind: "symbol" });
  const { table } = ctx.shared;
  const mark = table?.mark;
  const line = linearIn(evalDim(c, e), `$${name}`);
  if (mark !== undefined) table?.back(mark);
  return line;
}

/** `8 * H` given 64 binds H to 8: a size that is linear in one open symbol gives it its value, in any order. */
function solveLinear(
  caller: Ctx,
  ctx: Ctx,
  fnName: string,
  sizes: readonly Facing[],
  declared: (a: TypedArg) => Label,
): void {
  for (let again = true; again; ) {
    again = false;
    for (const { arg, declared: d, actual, axis } of sizes) {
      const open = openSymbols(ctx, d);
      const line = open.length === 1 ? lineOf(ctx, d, open[0]) : undefined;
      if (!line || asConst(line.coef) === 0) continue;
      const rest = sub(actual, line.rest);
      const refuse = (): never =>
        fail(
          caller,
          "E0307",
          `${fnName}: axis ${axis} of ${arg.name} is ${dimText(d)}, given ${print(actual)}`,
          arg.span,
          {
            label: typeText(arg.actual),
            secondary: [declared(arg)],
            help: `no size of ${open[0]} gives ${print(actual)}`,
          },
        );
      let value = exactQuotient(rest, line.coef);
      if (!value) {
        if (!caller.trace || asConst(line.coef) === undefined) continue;
        if (asConst(rest) !== undefined) refuse();
        caller.trace.b.require({
          left: rest,
          relation: "divides",
          right: line.coef,
          message: `${fnName}: axis ${axis} of ${arg.name} is ${dimText(d)}`,
          span: arg.span,
        });
        value = floorDiv(rest, line.coef);
      }
      if ((asConst(value) ?? 0) < 0) refuse();
      ctx.scope.names.set(open[0], { val: intVal(value), kind: "symbol", span: d.span });
      again = true;
    }
  }
}

const sized = (d: ast.Expr, value: Dim): string => {
  const text = dimText(d);
  return text === print(value) ? text : `${text} = ${print(value)}`;
};

/**
 * Sizes for which two expressions differ though every condition of the call holds, in words; undefined where none is found:
 * then they may be equal for a reason that the normal form does not see, and the call checks it.
 */
function counterexample(ctx: Ctx, want: Dim, actual: Dim): string | undefined {
  if (!ctx.trace || surelyDiffer(want, actual)) return undefined;
  const conditions = ctx.trace.constraints();
  const names = new Set([...symbols(want), ...symbols(actual)]);
  // Conditions on these sizes bring further sizes with them.
  for (let before = -1; before !== names.size; ) {
    before = names.size;
    for (const c of conditions) {
      const own = [...symbols(c.left), ...symbols(c.right)];
      if (own.some((n) => names.has(n))) for (const n of own) names.add(n);
    }
  }
  const list = [...names];
  const among = conditions.filter((c) => [...symbols(c.left), ...symbols(c.right)].some((n) => names.has(n)));
  const free = freeSymbols(list, among);
  let state = 1;
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  for (let trial = 0; trial < 256; trial++) {
    const step = [1, 1, 2, 8, 24][trial % 5];
    const env: Record<string, number> = {};
    for (const n of list) env[n] = step * (1 + Math.floor(next() * 40));
    for (const [n, d] of free) {
      const v = evaluated(d, env);
      if (v !== undefined) env[n] = v;
    }
    if (!among.every((c) => holds(c, env))) continue;
    const [w, a] = [evaluated(want, env), evaluated(actual, env)];
    if (w === undefined || a === undefined || w === a) continue;
    const where = list.filter((n) => symbols(want).has(n) || symbols(actual).has(n));
    return `inputs bind sizes and a result does not: with ${where.map((n) => `${n} = ${env[n]}`).join(" and ")} the result's axis is ${a}, declared ${w}`;
  }
  return undefined;
}

/** Whether a condition is met by these sizes. */
function holds(c: Constraint, env: Readonly<Record<string, number>>): boolean {
  const [left, right] = [evaluated(c.left, env), evaluated(c.right, env)];
  if (left === undefined || right === undefined) return false;
  if (c.relation === "==") return left === right;
  return c.relation === ">=" ? left >= right : right !== 0 && left % right === 0;
}

const evaluated = (d: Dim, env: Readonly<Record<string, number>>): number | undefined => {
  try {
    return evaluate(d, env);
  } catch (e) {
    if (e instanceof DimError) return undefined;
    throw e;
  }
};

/** Symbols that an equation among the conditions gives as an expression of others, in an order in which they can be had. */
function freeSymbols(names: readonly string[], conditions: readonly Constraint[]): [string, Dim][] {
  const out: [string, Dim][] = [];
  for (const c of conditions) {
    if (c.relation !== "==") continue;
    for (const n of names) {
      if (out.some(([m]) => m === n)) continue;
      const line = linearIn(sub(c.left, c.right), n);
      const value = line && exactQuotient(neg(line.rest), line.coef);
      if (!value) continue;
      out.push([n, value]);
      break;
    }
  }
  return out.reverse();
}

/** The declared result against what the body gives. */
export function checkResult(
  ctx: Ctx,
  fnName: string,
  type: ast.TensorType,
  actual: TensorType,
  span: Span,
): void {
  const { dtype } = boundaryDType(ctx, type.dtype);
  const label: Label = { span: type.span, text: `declared ${declaredText(type)}` };
  if (dtype !== actual.dtype)
    fail(ctx, "E0405", `${fnName} gives ${actual.dtype}, declared ${dtype}`, span, {
      label: typeText(actual),
      secondary: [label],
      help: `cast the result: ${dtype}(…)`,
    });
  const wrongRank = (): never =>
    fail(ctx, "E0303", `${fnName} gives ${typeText(actual)}, declared ${declaredText(type)}`, span, {
      label: typeText(actual),
      secondary: [label],
    });
  const { pairs, rest } = align(ctx, type, actual, wrongRank);
  if (rest) {
    const before = ctx.rest.dims;
    if (!before) fail(ctx, "E0501", "... in a result stands for the axes of ... in a parameter", type.span);
    const what = (): string =>
      `${fnName} gives ${typeText(actual)}, declared ${declaredText(type)} with ... = ${shapeText(before)}`;
    if (
      before.length !== rest.length ||
      before.some((d, i) => sameDim(ctx, d, rest[i], what, span) === "differ")
    )
      fail(ctx, "E0303", what(), span, { label: typeText(actual), secondary: [label] });
  }
  for (const p of pairs) {
    const want = evalDim(ctx, p.declared);
    const what = (): string =>
      `${fnName}: axis ${p.axis} of the result is ${print(p.actual)}, declared ${sized(p.declared, want)}`;
    const wrong = (help?: string): never =>
      fail(ctx, "E0303", what(), span, {
        label: typeText(actual),
        secondary: [label],
        ...(help === undefined ? {} : { help }),
      });
    // A result is what the body gives: it never decides a size that the inputs leave free.
    const against = want.key === p.actual.key ? undefined : counterexample(ctx, want, p.actual);
    if (against !== undefined) wrong(against);
    if (sameDim(ctx, want, p.actual, what, span) === "differ") wrong();
  }
}

/** The declared type of an entry's input, symbols already in scope. */
export function declaredType(ctx: Ctx, type: ast.TensorType): { type: TensorType; boundary?: BoundaryDType } {
  const { dtype, boundary } = boundaryDType(ctx, type.dtype);
  const shape = type.dims.map((d) =>
    d.kind === "ellipsis"
      ? fail(ctx, "E0304", "an entry's input needs all its axes written out", d.span, {
          help: "name them, or make the fn private",
        })
      : evalDim(ctx, d),
  );
  return {
    type: { dtype, shape: shape.map((d) => dim(d)) },
    ...(boundary === undefined ? {} : { boundary }),
  };
}

/** Sizes for people: literals as numbers, expressions over symbols alone as they are written, others in normal form. */
export function shapeTexts(type: ast.TensorType | undefined, shape: readonly Dim[]): string[] {
  const written = type && type.dims.length === shape.length ? type.dims : undefined;
  return shape.map((d, i) => {
    const e = written?.[i];
    const named =
      e &&
      e.kind !== "ellipsis" &&
      asConst(d) === undefined &&
      ofSymbols(e) &&
      namesIn(e).every((s) => symbols(d).has(s.name));
    return named ? dimText(e) : print(d);
  });
}
const ofSymbols = (e: ast.Expr): boolean =>
  e.kind === "int" ||
  (e.kind === "name" && isSymbolName(e.name)) ||
  (e.kind === "binary" && ofSymbols(e.left) && ofSymbols(e.right)) ||
  (e.kind === "call" && e.args.every((a) => ofSymbols(a.value)));
