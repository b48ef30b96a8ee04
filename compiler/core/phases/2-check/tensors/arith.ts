// Operators of expressions: arithmetic, comparison and logic on static values and sizes, and their tensor counterparts.
// In: an operator and its operands. Out: a value. Separate from calls because literals adapt here and sizes stay exact.

import type { HostExpr } from "../../../../../runtime/core/program.ts";
import {
  add,
  asConst,
  type Dim,
  dim,
  exactQuotient,
  floorDiv,
  mod,
  mul,
  neg,
  print,
  sub,
} from "../../../dims/dim.ts";
import { remainder } from "../../../kernel/special.ts";
import { opNamed } from "../../../ops/index.ts";
import type * as ast from "../../../syntax/ast.ts";
import { type Ctx, evaluate, fail, hold, plainSize, step } from "../values/context.ts";
import { asNumber, boolVal, describe, floatVal, intVal, type Val } from "../values/values.ts";
import { applyOperator } from "./apply.ts";
import { isTensor, tensorTypeOf } from "./tensors.ts";

/** The tensor operators behind the signs. */
const TENSOR_OPS: Readonly<Partial<Record<ast.BinaryOp, string>>> = {
  "+": "add",
  "-": "sub",
  "*": "mul",
  "/": "div",
  "%": "rem",
  "**": "pow",
  "@": "matmul",
  "==": "eq",
  "!=": "ne",
  "<": "lt",
  "<=": "le",
  ">": "gt",
  ">=": "ge",
  "&&": "and",
  "||": "or",
};

export function operator(name: string): Val {
  const def = opNamed(name);
  if (!def) throw new Error(`no operator ${name}`);
  return { kind: "op", def };
}

export function binary(ctx: Ctx, e: ast.BinaryExpr): Val {
  // Chains associate to the left and may be long: walked from their first operand.
  const chain: ast.BinaryExpr[] = [];
  let first: ast.Expr = e;
  while (first.kind === "binary" && first.op !== "&&" && first.op !== "||") {
    chain.push(first);
    first = first.left;
  }
  if (chain.length === 0) return logical(ctx, e);
  let left = evaluate(ctx, first);
  for (const step of chain.reverse()) left = binaryValues(ctx, step, left, evaluate(ctx, step.right));
  return left;
}

function logical(ctx: Ctx, e: ast.BinaryExpr): Val {
  const a = evaluate(ctx, e.left);
  if (isTensor(a)) return binaryValues(ctx, e, a, evaluate(ctx, e.right));
  const left = truth(ctx, a, e.left);
  if (left === (e.op === "||")) return boolVal(left);
  const b = evaluate(ctx, e.right);
  return isTensor(b) ? b : boolVal(truth(ctx, b, e.right));
}

/** A static condition. */
export function truth(ctx: Ctx, v: Val, at: ast.Expr): boolean {
  if (v.kind === "bool") return v.value;
  if (isTensor(v))
    fail(ctx, "E0506", "a condition is static, and this tensor is known at run time only", at.span, {
      help: "choose element by element with where(condition, a, b)",
    });
  return fail(ctx, "E0605", `a condition is a bool, not ${describe(v)}`, at.span);
}

export function unary(ctx: Ctx, e: ast.UnaryExpr): Val {
  const v = evaluate(ctx, e.operand);
  if (isTensor(v)) {
    const def = operator(e.op === "-" ? "neg" : "not");
    return applyOperator(ctx, def, [{ val: v, span: e.operand.span }], e);
  }
  if (e.op === "!") return boolVal(!truth(ctx, v, e.operand));
  if (v.kind === "int") return intVal(neg(v.dim));
  if (v.kind === "float") return floatVal(-v.value);
  if (v.kind === "host") return { kind: "host", expr: ["-", 0, v.expr] };
  return fail(ctx, "E0605", `- takes a number, not ${describe(v)}`, e.operand.span);
}

export function binaryValues(ctx: Ctx, e: ast.BinaryExpr, a: Val, b: Val): Val {
  const { op } = e;
  if ((op === "==" || op === "!=") && (a.kind === "none" || b.kind === "none"))
    return boolVal((a.kind === b.kind) === (op === "=="));
  if (isTensor(a) || isTensor(b)) return tensorBinary(ctx, e, a, b);
  if (op === "==" || op === "!=") return boolVal(staticEqual(ctx, e, a, b) === (op === "=="));
  if (a.kind === "host" || b.kind === "host") return host(ctx, e, a, b);
  if (a.kind === "int" && b.kind === "int") return ints(ctx, e, a.dim, b.dim);
  if (op === "+" && a.kind === "list" && b.kind === "list") {
    hold(ctx, e.span, a.items.length + b.items.length);
    return { kind: "list", items: [...a.items, ...b.items] };
  }
  if (op === "+" && (a.kind === "string" || b.kind === "string")) {
    const [x, y] = [wordOf(a), wordOf(b)];
    if (x !== undefined && y !== undefined) {
      hold(ctx, e.span, x.length + y.length);
      return { kind: "string", value: x + y };
    }
  }
  const x = asNumber(a);
  const y = asNumber(b);
  if (x !== undefined && y !== undefined) return floats(ctx, e, x, y);
  const sizes = [a, b].find((v) => v.kind === "int" && asConst(v.dim) === undefined);
  if (sizes && [a, b].every((v) => v.kind === "int" || v.kind === "float"))
    fail(ctx, "E0506", `${describe(sizes)} is known at the call only; a static number is needed`, e.span, {
      help: "as a tensor: f32(…)",
    });
  return fail(ctx, "E0605", `${op} does not take ${describe(a)} and ${describe(b)}`, e.opSpan);
}

/** A string, or a static int as its digits. */
const wordOf = (v: Val): string | undefined =>
  v.kind === "string" ? v.value : v.kind === "int" ? asConst(v.dim)?.toString() : undefined;

function tensorBinary(ctx: Ctx, e: ast.BinaryExpr, a: Val, b: Val): Val {
  const args = [
    { val: a, span: e.left.span },
    { val: b, span: e.right.span },
  ];
  const name = TENSOR_OPS[e.op];
  if (name === undefined) return fail(ctx, "E0204", `${e.op} is not for tensors`, e.opSpan);
  if (e.op === "/") {
    const dtype = tensorTypeOf(a)?.dtype ?? tensorTypeOf(b)?.dtype;
    const floats = [a, b].some((v) => v.kind === "float");
    if (!floats && (dtype === "i32" || dtype === "u32"))
      fail(ctx, "E0403", `/ divides floats, and this is ${dtype}`, e.opSpan);
  }
  return applyOperator(ctx, operator(name), args, e);
}

function staticEqual(ctx: Ctx, e: ast.BinaryExpr, a: Val, b: Val): boolean {
  step(ctx, e.span);
  if (a.kind === "int" && b.kind === "int") return compareDims(ctx, e, a.dim, b.dim) === 0;
  const x = asNumber(a);
  const y = asNumber(b);
  if (x !== undefined && y !== undefined) return x === y;
  if ((a.kind === "bool" && b.kind === "bool") || (a.kind === "string" && b.kind === "string"))
    return a.value === b.value;
  if (a.kind === "dtype" && b.kind === "dtype") return a.dtype === b.dtype;
  if (a.kind === "instance" && b.kind === "instance") return a.instance === b.instance;
  if ((a.kind === "list" || a.kind === "tuple") && (b.kind === "list" || b.kind === "tuple"))
    return a.items.length === b.items.length && a.items.every((v, i) => staticEqual(ctx, e, v, b.items[i]));
  // In an optimiser: a schedule is no number, whatever it comes to.
  if (ctx.trace && (a.kind === "host" || b.kind === "host")) return false;
  // What may be a word or a number is asked for the word.
  const plain = (v: Val): boolean =>
    v.kind === "list" || v.kind === "tuple" || v.kind === "string" || asNumber(v) !== undefined;
  if (plain(a) && plain(b)) return false;
  return fail(ctx, "E0605", `${e.op} does not compare ${describe(a)} and ${describe(b)}`, e.opSpan);
}

/** Sign of a - b, where it is the same for every value of the symbols. */
function compareDims(ctx: Ctx, e: ast.BinaryExpr, a: Dim, b: Dim): number {
  const d = sub(a, b);
  const n = asConst(d);
  if (n !== undefined) return n;
  return fail(
    ctx,
    "E0506",
    `${print(a)} ${e.op} ${print(b)} is known at the call only; a condition is static`,
    e.span,
    {
      help: "make the size a static parameter of the model",
    },
  );
}

function ints(ctx: Ctx, e: ast.BinaryExpr, a: Dim, b: Dim): Val {
  switch (e.op) {
    case "+":
      return intVal(add(a, b));
    case "-":
      return intVal(sub(a, b));
    case "*":
      return intVal(mul(a, b));
    case "/":
      return intVal(divide(ctx, e, a, b));
    case "%":
      return intVal(mod(a, b));
    case "**": {
      const n = asConst(b);
      if (n === undefined) return fail(ctx, "E0506", "an exponent is static", e.right.span);
      if (n < 0) {
        const base = asConst(a);
        if (base === undefined || base === 0)
          return fail(ctx, "E0608", "a size has no negative power", e.span);
        return floatVal(base ** n);
      }
      if (n > 64 && asConst(a) === undefined) return fail(ctx, "E0607", `the power ${n} of a size`, e.span);
      const base = asConst(a);
      if (base !== undefined) {
        const value = base ** n;
        if (!Number.isSafeInteger(value)) fail(ctx, "E0608", "the result exceeds 2^53", e.span);
        return intVal(value);
      }
      let power = dim(1);
      for (let i = 0; i < n; i++) {
        power = mul(power, a);
        plainSize(ctx, power, e.span);
      }
      return intVal(power);
    }
    case "<":
      return boolVal(compareDims(ctx, e, a, b) < 0);
    case "<=":
      return boolVal(compareDims(ctx, e, a, b) <= 0);
    case ">":
      return boolVal(compareDims(ctx, e, a, b) > 0);
    case ">=":
      return boolVal(compareDims(ctx, e, a, b) >= 0);
    default:
      return fail(ctx, "E0605", `${e.op} does not take ints`, e.opSpan);
  }
}

/** Exact division: shown, refuted, or checked at the call. */
function divide(ctx: Ctx, e: ast.BinaryExpr, a: Dim, b: Dim): Dim {
  const q = exactQuotient(a, b);
  if (q) return q;
  if (asConst(b) === 0) fail(ctx, "E0608", "division by zero", e.span);
  const rest = asConst(mod(a, b));
  const help = `round with floor(${print(a)} / ${print(b)})${asConst(a) !== undefined && asConst(b) !== undefined ? `, or write ${print(a)}.0 / ${print(b)} for a float` : ""}`;
  if (rest !== undefined && rest !== 0)
    fail(ctx, "E0503", `${print(a)} is not divisible by ${print(b)}`, e.span, { help });
  if (!ctx.trace) fail(ctx, "E0503", `${print(a)} / ${print(b)} is not known to be exact`, e.span, { help });
  ctx.trace.b.require({
    left: a,
    relation: "divides",
    right: b,
    message: `${print(a)} must be divisible by ${print(b)}`,
    span: e.span,
  });
  return floorDiv(a, b);
}

function floats(ctx: Ctx, e: ast.BinaryExpr, x: number, y: number): Val {
  const result = (value: number): Val => {
    if (!Number.isFinite(value) && Number.isFinite(x) && Number.isFinite(y))
      fail(ctx, "E0608", `${x} ${e.op} ${y} is not finite`, e.span);
    return floatVal(value);
  };
  switch (e.op) {
    case "+":
      return result(x + y);
    case "-":
      return result(x - y);
    case "*":
      return result(x * y);
    case "/":
      if (y === 0) fail(ctx, "E0608", "division by zero", e.span);
      return result(x / y);
    case "%":
      if (y === 0) fail(ctx, "E0608", "division by zero", e.span);
      return result(remainder(x, y));
    case "**":
      return result(x ** y);
    case "<":
      return boolVal(x < y);
    case "<=":
      return boolVal(x <= y);
    case ">":
      return boolVal(x > y);
    case ">=":
      return boolVal(x >= y);
    default:
      return fail(ctx, "E0605", `${e.op} does not take numbers`, e.opSpan);
  }
}

/** A static number or schedule as an expression the host evaluates. */
export function hostOf(v: Val): HostExpr | undefined {
  return v.kind === "host" ? v.expr : asNumber(v);
}

function host(ctx: Ctx, e: ast.BinaryExpr, a: Val, b: Val): Val {
  const x = hostOf(a);
  const y = hostOf(b);
  if (x === undefined || y === undefined || e.op === "@" || e.op === "&&" || e.op === "||")
    return fail(ctx, "E0605", `${e.op} does not take ${describe(a)} and ${describe(b)}`, e.opSpan);
  return { kind: "host", expr: [e.op, x, y] };
}
