// Declared types against actual values: dtypes, dims, symbols. In: a type of the syntax tree and a tensor. Out: symbols
// bound in the fn's scope, conditions for the call, or an error that names both sides. Bare symbols bind first; every
// other dim is an expression over them and is compared afterwards.
import { didYouMean } from "../../diagnostics/nearest.ts";
import type { Label, Span } from "../../diagnostics/report.ts";
import { asConst, type Dim, dim, print, symbols } from "../../dims/dim.ts";
import { typeText } from "../../ir/build.ts";
import type { DType, TensorType } from "../../ir/types.ts";
import type * as ast from "../1-parse/ast.ts";
import type { BoundaryDType } from "./checked.ts";
import { type Ctx, fail, sameDim, shapeText } from "./context.ts";
import { evalExpr } from "./expr.ts";
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
      didYouMean(name.name, Object.keys(INSIDE)) ?? `a dtype is one of ${Object.keys(INSIDE).join(", ")}`;
    fail(ctx, "E0206", `there is no dtype ${name.name}`, name.span, { help });
  }
  return dtype === name.name ? { dtype } : { dtype, boundary: name.name as BoundaryDType };
}

export const isSymbolName = (name: string): boolean => /^[A-Z]/.test(name);

/** The names of an expression of sizes. */
export const namesIn = (e: ast.Expr): ast.NameExpr[] =>
  e.kind === "name"
    ? [e]
    : e.kind === "binary"
      ? [...namesIn(e.left), ...namesIn(e.right)]
      : e.kind === "unary"
        ? namesIn(e.operand)
        : e.kind === "call"
          ? e.args.flatMap((a) => namesIn(a.value))
          : [];

/** What to do about a symbol that nothing binds. */
export function symbolHelp(name: string, scope: Iterable<string>): string {
  const known = [...scope].filter(isSymbolName);
  const list = known.length > 0 ? `the symbols here are ${known.join(", ")}; ` : "";
  return (
    didYouMean(name, known) ??
    `${list}a symbol is introduced by a parameter's type, in which it stands alone as one of the sizes`
  );
}

/** A dim of a type or a list of sizes. */
export function evalDim(ctx: Ctx, e: ast.Expr): Dim {
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
  const v = evalExpr(ctx, e);
  if (v.kind === "int") return v.dim;
  return fail(ctx, "E0505", `a size is an int, not ${describe(v)}`, e.span);
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

/** A dim as the author wrote it. */
export function dimText(d: ast.Dim): string {
  switch (d.kind) {
    case "ellipsis":
      return "...";
    case "name":
      return d.name;
    case "int":
      return d.raw;
    case "binary":
      return `${dimText(d.left)} ${d.op} ${dimText(d.right)}`;
    case "unary":
      return `${d.op}${dimText(d.operand)}`;
    case "call":
      return `${dimText(d.callee)}(${d.args.map((a) => dimText(a.value)).join(", ")})`;
    case "member":
      return `${dimText(d.object)}.${d.name.name}`;
    default:
      return "?";
  }
}

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
  const later: { arg: TypedArg; declared: ast.Expr; actual: Dim; axis: number }[] = [];
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
      if (d.kind !== "name" || !isSymbolName(d.name)) {
        later.push({ arg, ...p });
        continue;
      }
      const old = ctx.scope.names.get(d.name);
      if (old?.val.kind !== "int") {
        ctx.scope.names.set(d.name, { val: intVal(p.actual), kind: "symbol", span: d.span });
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
  for (const { arg, declared: d, actual, axis } of later) {
    const want = evalDim(ctx, d);
    const what = (): string =>
      `${fnName}: axis ${axis} of ${arg.name} is ${sized(d, want)}, given ${print(actual)}`;
    if (sameDim(caller, want, actual, what, arg.span) === "differ")
      fail(caller, "E0307", what(), arg.span, { label: typeText(arg.actual), secondary: [declared(arg)] });
  }
}

const sized = (d: ast.Expr, value: Dim): string => {
  const text = dimText(d);
  return text === print(value) ? text : `${text} = ${print(value)}`;
};

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
    if (sameDim(ctx, want, p.actual, what, span) === "differ")
      fail(ctx, "E0303", what(), span, { label: typeText(actual), secondary: [label] });
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
