/**
 * The small pieces of printed source. In: a leaf of the tree, an operator's operands. Out: text, and whether
 * parentheses are needed. Separate because nothing here knows of lines.
 */
import type * as ast from "../../syntax/ast.ts";
import { compareLevel, levelOf, powerLevel, prefixLevel, rangeLevel } from "./expressions.ts";

export const atomLevel = 10;

export function operation(node: ast.BinaryExpr | ast.PipeExpr | ast.RangeExpr): {
  readonly op: string;
  readonly left: ast.Expr;
  readonly right: ast.Expr;
} {
  if (node.kind === "range") return { op: "..", left: node.start, right: node.stop };
  return { op: node.kind === "pipe" ? "|>" : node.op, left: node.left, right: node.right };
}

/** How tightly a node holds together; blocks and loops get parentheses wherever they are operands. */
export function levelOfNode(node: ast.Expr): number {
  switch (node.kind) {
    case "binary":
    case "pipe":
    case "range":
      return levelOf(operation(node).op);
    case "unary":
      return prefixLevel;
    case "if":
    case "for":
    case "scan":
    case "fn_expr":
      return 0;
    default:
      return atomLevel;
  }
}

export function leftParens(op: string, left: ast.Expr): boolean {
  const own = levelOf(op);
  const level = levelOfNode(left);
  if (level !== own) return level < own;
  return own === compareLevel || own === rangeLevel || own === powerLevel;
}

export function rightParens(op: string, right: ast.Expr): boolean {
  const own = levelOf(op);
  const level = levelOfNode(right);
  if (own === powerLevel && level === prefixLevel) return false;
  return level === own ? own !== powerLevel : level < own;
}

export function leaf(node: ast.Expr): string {
  switch (node.kind) {
    case "int":
    case "float":
      return node.raw;
    case "bool":
      return String(node.value);
    case "string":
      return quoted(node.value);
    case "name":
      return node.name;
    case "pattern":
      return pathText(node.segments);
    default:
      return "";
  }
}

/** A pattern in an expression, where a number between dots is an index. */
function pathText(segments: readonly string[]): string {
  let out = "";
  segments.forEach((s, i) => {
    if (/^\d/.test(s)) out += `[${s}]`;
    else out += i === 0 ? s : `.${s}`;
  });
  return out;
}

/** A pattern in a clause: bare where the grammar can read it so, else as a string. */
export function patternText(node: ast.Pattern): string {
  const { segments } = node;
  const bare =
    segments.every((s) => s === "*" || /^(?:[A-Za-z_][A-Za-z0-9_]*|\d+)$/.test(s)) &&
    !segments.every((s) => s === "*") &&
    !segments.some(
      (s, i) => s === "*" && segments[i + 1] === "*" && segments.slice(0, i).some((t) => t !== "*"),
    ) &&
    !segments.some((s) => reservedWords.has(s)) &&
    !/^\d/.test(segments[0]);
  return bare ? segments.join(".") : quoted(segments.join("."));
}

const reservedWords = new Set([
  ...["import", "private", "fn", "if", "else", "for", "in", "scan", "new", "true", "false"],
]);

export function targetText(node: ast.Target): string {
  return node.kind === "ident" ? node.name : `(${node.items.map(targetText).join(", ")})`;
}

const escapes: Readonly<Record<string, string>> = {
  '"': '\\"',
  "\\": "\\\\",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
};

export function quoted(text: string): string {
  let body = "";
  for (const c of text) {
    // What cannot be seen is written as an escape.
    body += escapes[c] ?? (/[\p{C}\p{Zl}\p{Zp}]/u.test(c) ? `\\u{${c.codePointAt(0)?.toString(16)}}` : c);
  }
  return `"${body}"`;
}
