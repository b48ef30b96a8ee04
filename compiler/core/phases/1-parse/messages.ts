/**
 * What a syntax error says. In: the tokens at the place and the rule of the grammar. Out: words. Separate
 * from the grammar so that the wording can be read and changed in one place.
 */
import { EOF, type IParserErrorMessageProvider, type IToken, type TokenType, tokenMatcher } from "chevrotain";
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

/** Words of other languages, as the token found or the one before it. */
const habits: Readonly<Record<string, string>> = {
  let: "a binding has no keyword: x = 1",
  const: "a binding has no keyword: x = 1",
  var: "a binding has no keyword: x = 1",
  return: "the value of a block is the expression it ends with",
  def: "a function is declared with fn",
  func: "a function is declared with fn",
  function: "a function is declared with fn",
  class: "declare a layer or a model",
  and: "and is written &&",
  or: "or is written ||",
  not: "not is written !",
  elif: "write else if",
  while: "loop with for over a range or list, or with scan over an axis",
  lambda: "declare a fn and pass its name",
  True: "write true",
  False: "write false",
};

/** The fix, where the tokens betray what was meant. */
export function hintFor(previous: IToken, actual: IToken): string | undefined {
  const type = actual.tokenType;
  if (type === t.Equals && previous.tokenType !== t.Equals) {
    return "= binds a name at the beginning of a line; to compare, write ==";
  }
  if (type === t.Bar) return "or is written ||";
  if (type === t.If) return "a choice is written if c { a } else { b }";
  const lineStart = tokenMatcher(previous, t.Separator) || previous.tokenType === t.LCurly;
  if (lineStart && (type === t.Fn || type === t.Private))
    return "a fn is declared at top level, or in a layer or model";
  if (type === t.StarDot) return "a float has a digit before its point";
  if (type === t.Colon) return "a type stands in parameters and after param and buffer only";
  return own(actual.image) ?? own(previous.image);
}

const own = (word: string): string | undefined => (Object.hasOwn(habits, word) ? habits[word] : undefined);

const clauses = ["minimize", "update", "frozen", "report", "with", "batch", "clip", "ema"];

export function clauseHint(word: string): string {
  const near = closest(word, clauses);
  return near === undefined ? `clauses are ${clauses.join(", ")}` : `did you mean ${near}?`;
}
