/**
 * Expressions from flat pieces. In: operands and operators in the order of the text, literals' images. Out:
 * nodes. Separate from the grammar because precedence is a loop over a stack here and not a ladder of rules:
 * the parser's depth does not grow with it, nor with the length of a chain.
 *
 * From loose to tight: |>   ||   &&   == != < <= > >= (not chained)   .. (not chained)   + -   * / % @
 * prefix - !   ** (to the right). All others group to the left.
 */
import type { IToken } from "chevrotain";
import type { Diagnostics } from "../../diagnostics/report.ts";
import { cover, type Span } from "../../diagnostics/span.ts";
import type { BinaryOp, Expr, Ident, StringLiteral, Target, Type, UnaryOp } from "../../syntax/ast.ts";
import { tokenEnd } from "./tokens.ts";

/** An expression with the place it takes, parentheses included. */
export interface Operand {
  readonly prefix: readonly IToken[];
  readonly value: Expr;
  readonly outer: Span;
}

const levels: Readonly<Record<string, number>> = {
  "|>": 1,
  "||": 2,
  "&&": 3,
  "==": 4,
  "!=": 4,
  "<": 4,
  "<=": 4,
  ">": 4,
  ">=": 4,
  "..": 5,
  "+": 6,
  "-": 6,
  "*": 7,
  "/": 7,
  "%": 7,
  "@": 7,
  "**": 9,
};
/** Also used by the printer, to know where parentheses are needed. */
export const compareLevel = 4;
export const rangeLevel = 5;
export const prefixLevel = 8;
export const powerLevel = 9;

export function levelOf(op: string): number {
  return levels[op];
}

interface Pending {
  readonly token: IToken;
  readonly level: number;
  readonly prefix: boolean;
}

export function buildOperators(
  operands: readonly Operand[],
  operators: readonly IToken[],
  file: string,
  out: Diagnostics,
): Expr {
  if (operators.length === 0 && operands[0].prefix.length === 0) return operands[0].value;
  const values: { expr: Expr; outer: Span }[] = [];
  const pending: Pending[] = [];

  const reduce = (): void => {
    const { token, prefix } = pending.pop() as Pending;
    const opSpan = tokenSpan(token, file);
    const right = values.pop() as { expr: Expr; outer: Span };
    if (prefix) {
      const whole = cover(opSpan, right.outer);
      const expr: Expr = {
        kind: "unary",
        op: token.image as UnaryOp,
        operand: right.expr,
        span: whole,
      };
      values.push({ expr, outer: whole });
      return;
    }
    const left = values.pop() as { expr: Expr; outer: Span };
    const whole = cover(left.outer, right.outer);
    values.push({ expr: binary(token.image, opSpan, left.expr, right.expr, whole), outer: whole });
  };

  for (let i = 0; i < operands.length; i++) {
    if (i > 0) {
      const token = operators[i - 1];
      const level = levels[token.image];
      while (pending.length > 0) {
        const top = pending[pending.length - 1];
        if (top.level < level || (top.level === level && level === powerLevel)) break;
        if (top.level === level && (level === compareLevel || level === rangeLevel)) {
          const what = level === compareLevel ? "comparisons do not chain" : "ranges do not chain";
          const help =
            level === compareLevel ? { help: "join two comparisons with &&" } : { help: "use one" };
          out.report("E0111", what, tokenSpan(token, file), {
            secondary: [{ span: tokenSpan(top.token, file), text: "after this one" }],
            ...help,
          });
        }
        reduce();
      }
      pending.push({ token, level, prefix: false });
    }
    for (const token of operands[i].prefix) pending.push({ token, level: prefixLevel, prefix: true });
    values.push({ expr: operands[i].value, outer: operands[i].outer });
  }
  while (pending.length > 0) reduce();
  return values[0].expr;
}

function binary(op: string, opSpan: Span, left: Expr, right: Expr, whole: Span): Expr {
  if (op === "|>") return { kind: "pipe", opSpan, left, right, span: whole };
  if (op === "..") return { kind: "range", start: left, stop: right, span: whole };
  return { kind: "binary", op: op as BinaryOp, opSpan, left, right, span: whole };
}

export function tokenSpan(token: IToken, file: string): Span {
  return { file, start: token.startOffset, end: tokenEnd(token) };
}

// ---------------------------------------------------------------------------------------------- literals

export function intLiteral(token: IToken, at: Span, out: Diagnostics): Expr {
  if (token.payload === "bad") return { kind: "error", span: at };
  const value = Number(token.image.replaceAll("_", ""));
  if (!Number.isSafeInteger(value)) {
    out.report("E0104", "the number is beyond 2^53, where integers are no longer exact", at, {
      help: "write it as a float",
    });
    return { kind: "error", span: at };
  }
  return { kind: "int", value, raw: token.image, span: at };
}

export function floatLiteral(token: IToken, at: Span, out: Diagnostics): Expr {
  const value = Number(token.image.replaceAll("_", ""));
  if (!Number.isFinite(value)) {
    out.report("E0104", "the number is too large for a float", at, { help: "infinity is written inf" });
    return { kind: "error", span: at };
  }
  return { kind: "float", value, raw: token.image, span: at };
}

const escapes: Readonly<Record<string, string>> = { n: "\n", t: "\t", r: "\r", '"': '"', "\\": "\\" };

export function stringLiteral(token: IToken, at: Span, out: Diagnostics): StringLiteral {
  const body = token.payload === "bad" ? token.image.slice(1) : token.image.slice(1, -1);
  if (!body.includes("\\")) return { kind: "string", value: body, span: at };
  const parts: string[] = [];
  for (let i = 0; i < body.length; i++) {
    if (body[i] !== "\\") {
      const next = body.indexOf("\\", i);
      parts.push(body.slice(i, next < 0 ? body.length : next));
      i = (next < 0 ? body.length : next) - 1;
      continue;
    }
    const start = i;
    const c = body[++i];
    const plain = c === undefined ? undefined : escapes[c];
    if (plain !== undefined) {
      parts.push(plain);
      continue;
    }
    const code = c === "u" ? /^\{([0-9A-Fa-f]{1,6})\}/.exec(body.slice(i + 1, i + 9)) : null;
    if (code !== null && Number.parseInt(code[1], 16) <= 0x10ffff) {
      parts.push(String.fromCodePoint(Number.parseInt(code[1], 16)));
      i += code[0].length;
      continue;
    }
    const from = at.start + 1 + start;
    out.report(
      "E0112",
      "unknown escape in a string",
      { file: at.file, start: from, end: from + (c === undefined ? 1 : 2) },
      { help: 'known are \\n \\r \\t \\" \\\\ and \\u{1f600}' },
    );
  }
  return { kind: "string", value: parts.join(""), span: at };
}

/** `"a" | "b"` is one type of two words, in a union as well; anything else with a bar is a union. */
export function typeOfChoices(choices: readonly Type[]): Type {
  if (choices.length === 1) return choices[0];
  const span = cover(choices[0].span, choices[choices.length - 1].span);
  const words = choices.flatMap((c) => (c.kind === "enum_type" ? c.values : []));
  const word: Type = {
    kind: "enum_type",
    values: words,
    span: words.length > 0 ? cover(words[0].span, words[words.length - 1].span) : span,
  };
  const types = choices.filter(
    (c, i) => c.kind !== "enum_type" || choices.findIndex((d) => d.kind === "enum_type") === i,
  );
  if (types.length === 1) return { ...word, span };
  return { kind: "union_type", types: types.map((c) => (c.kind === "enum_type" ? word : c)), span };
}

// ----------------------------------------------------------------------------------------------- targets

/** What an expression binds as the left side of `=`; undefined where it can bind nothing. */
export function asTarget(left: Expr): Target | undefined {
  if (left.kind === "name") return asIdent(left);
  if (left.kind !== "tuple") return undefined;
  const items: Target[] = [];
  for (const item of left.items) {
    const target = asTarget(item);
    if (target === undefined) return undefined;
    items.push(target);
  }
  return { kind: "tuple_target", items, span: left.span };
}

function asIdent(name: { readonly name: string; readonly span: Span }): Ident {
  return { kind: "ident", name: name.name, span: name.span };
}

/** The segments of `a.b[0].c`, or undefined where the expression is not such a path. */
export function pathSegments(expr: Expr): string[] | undefined {
  const segments: string[] = [];
  let at = expr;
  for (;;) {
    if (at.kind === "name") {
      segments.push(at.name);
      return segments.reverse();
    }
    if (at.kind === "pattern") {
      for (let i = at.segments.length - 1; i >= 0; i--) segments.push(at.segments[i]);
      return segments.reverse();
    }
    if (at.kind === "member") {
      segments.push(at.name.name);
      at = at.object;
    } else if (at.kind === "index" && at.items.length === 1) {
      const item = at.items[0];
      if (item.kind !== "at" || item.value.kind !== "int") return undefined;
      segments.push(String(item.value.value));
      at = at.object;
    } else return undefined;
  }
}
