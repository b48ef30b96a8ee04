/**
 * What a syntax error says. In: the tokens at the place and the rule of the grammar. Out: words. Separate
 * from the grammar so that the wording can be read and changed in one place.
 */
import { EOF, type IParserErrorMessageProvider, type IToken, type TokenType, tokenMatcher } from "chevrotain";
import { foreignClause, foreignSyntax } from "../../diagnostics/foreign.ts";
import { closest } from "../../diagnostics/nearest.ts";
import { quote } from "./structure.ts";
import * as t from "./tokens.ts";

/** What each rule of the grammar reads, as a reader would name it. */
const things: Readonly<Record<string, string>> = {
  atom: "an expression",
  postfix: "an expression",
  operand: "an expression",
  expression: "an expression",
  indexItem: "an index or a slice",
  type: "a type",
  oneType: "a type",
  resultType: "a type",
  dim: "a dim",
  statement: "a statement",
  member: "a declaration",
  item: "a declaration",
  clause: "a clause",
  pattern: "a path of parameters",
  target: "a name or names in parentheses",
  segment: "a name or `*`",
};

export function describeToken(token: IToken): string {
  if (tokenMatcher(token, EOF)) return "the end of the file";
  if (token.tokenType === t.Newline) return "the end of the line";
  return quote(token.image);
}

export function describeType(type: TokenType): string {
  return type === EOF ? "the end of the file" : (type.LABEL ?? type.name);
}

export const messages: IParserErrorMessageProvider = {
  buildMismatchTokenMessage: ({ expected, actual }) =>
    `expected ${describeType(expected)}, found ${describeToken(actual)}`,
  buildNotAllInputParsedMessage: ({ firstRedundant }) =>
    `expected a declaration, found ${describeToken(firstRedundant)}`,
  buildNoViableAltMessage: ({ actual, ruleName, customUserDescription }) =>
    `expected ${customUserDescription ?? things[ruleName] ?? "something else"}, found ${describeToken(actual[0])}`,
  buildEarlyExitMessage: ({ actual, ruleName, customUserDescription }) =>
    `expected ${customUserDescription ?? things[ruleName] ?? "something else"}, found ${describeToken(actual[0])}`,
};

const braces =
  "bodies stand in braces, fn f(x: f32[N]) -> f32[N] { x }, for x in xs with h = 0 { h + x }, and no colon before them";
const imports = 'operators need no import; layers and losses: import { Linear } from "std/nn"';

/** The fix, where the tokens betray what was meant. */
export function hintFor(previous: IToken, actual: IToken, message: string): string | undefined {
  const type = actual.tokenType;
  if (type === t.Colon && message.startsWith("expected `{`")) return braces;
  if (
    type === t.Equals &&
    "+-*/%@**&&||".includes(previous.image) &&
    tokenMatcher(previous, t.BinaryOperator)
  )
    return `names are bound once: y = x ${previous.image} 1`;
  if (type === t.Equals && previous.tokenType !== t.Equals) {
    return "= binds a name at the beginning of a line; to compare, write ==";
  }
  if (previous.tokenType === t.Import || previous.image === "import" || actual.image === "from")
    return imports;
  if (type === t.Import) return "imports stand at top level";
  if (type === t.Bar) return "or is written ||, and a pipe |>";
  if (message === "expected a dim, found `?`")
    return "a size to be inferred is a name with a capital: f32[N, 3]";
  if (type === t.If || type === t.Question) return "a choice is written if c { a } else { b }";
  const lineStart = tokenMatcher(previous, t.Separator) || previous.tokenType === t.LCurly;
  if (lineStart && type === t.Fn) return "a fn is declared at top level, or in a layer or model";
  if (lineStart && type === t.Private)
    return "what is private is a fn at top level or in a layer or model, or a buffer of one";
  if (type === t.Dot && message.startsWith("expected an expression"))
    return "a float has a digit before its point: 0.5";
  if ((type === t.LSquare || type === t.LParen) && message.includes("`,` or `)`"))
    return "sizes stand in one pair of brackets behind the dtype: f32[N, 3]; before what follows stands a comma";
  if (previous.image === "/" && actual.image.startsWith("*")) return "comments begin with //, on each line";
  if (type === t.Comma && message.startsWith("expected `in`"))
    return "several names stand in parentheses: for (i, x) in enumerate(xs)";
  if (previous.image === "clip") return "write clip norm 1.0, or clip value 0.5";
  if (message.startsWith("expected `for`"))
    return "a train block has a name and a model: train fit for Net { … }";
  if (type === t.StarDot) return "a float has a digit before its point";
  if (type === t.Colon)
    return "a type stands in parameters and after param and buffer only; a function is declared with fn";
  return foreignSyntax(actual.image) ?? foreignSyntax(previous.image);
}

const clauses = [
  ...["minimize", "update", "frozen", "report", "with", "gradients", "batch", "clip", "max_norm"],
  ...["accumulate", "ema", "loss_scale"],
];

export function clauseHint(word: string): string {
  const told = foreignClause(word);
  if (told !== undefined) return told;
  const near = closest(word, clauses);
  return near === undefined ? `clauses are ${clauses.join(", ")}` : `did you mean ${near}?`;
}
