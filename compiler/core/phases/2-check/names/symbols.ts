// Sizes by the text alone: which names are symbols, what an expression of sizes names, how it is written. In: the tree. Out:
// names and texts. Separate because the pass over names and the interpreter say the same of them.
import { didYouMean } from "../../../diagnostics/nearest.ts";
import type * as ast from "../../../syntax/ast.ts";

export const isSymbolName = (name: string): boolean => /^[A-Z]/.test(name);

export const capital = (name: string): string => name[0].toUpperCase() + name.slice(1);

/** What to do about a lower-case size that nothing binds. */
export function inferredHelp(name: string, scope: Iterable<string>): string {
  const near = didYouMean(name, scope);
  const inferred = `a size to be inferred begins with a capital: ${capital(name)}`;
  return near === undefined ? inferred : `${near} or, ${inferred}`;
}

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
    `${list}a symbol is introduced by a parameter's type: by a size that is the symbol, or that is linear in it, such as 8 * ${name}`
  );
}

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
