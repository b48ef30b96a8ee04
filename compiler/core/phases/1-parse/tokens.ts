/**
 * The words of the language. In: text. Out: tokens, comments and what is neither. Separate from the grammar
 * because the structure scan (structure.ts) works on tokens before the parser sees them.
 *
 * Words such as `model`, `emit` or `axis` mean something only where the grammar looks for them and are names
 * everywhere else (the category Name); `if`, `for` and a few more are reserved.
 */
import { createToken, type IToken, Lexer, type TokenType } from "chevrotain";

/** Any name, contextual words included. */
export const Name = createToken({ name: "Name", pattern: Lexer.NA, label: "a name" });
export const Identifier = createToken({
  name: "Identifier",
  pattern: /[A-Za-z_][A-Za-z0-9_]*/,
  categories: [Name],
  label: "a name",
});

const reserved = (word: string): TokenType =>
  createToken({
    name: word[0].toUpperCase() + word.slice(1),
    pattern: new RegExp(word),
    longer_alt: Identifier,
    label: `\`${word}\``,
  });
const contextual = (word: string): TokenType =>
  createToken({
    name: word[0].toUpperCase() + word.slice(1),
    pattern: new RegExp(word),
    longer_alt: Identifier,
    categories: [Name],
    label: `\`${word}\``,
  });

export const Import = reserved("import");
export const Private = reserved("private");
export const Fn = reserved("fn");
export const If = reserved("if");
export const Else = reserved("else");
export const For = reserved("for");
export const In = reserved("in");
export const Scan = reserved("scan");
export const New = reserved("new");
export const True = reserved("true");
export const False = reserved("false");

export const Layer = contextual("layer");
export const Model = contextual("model");
export const Optimizer = contextual("optimizer");
export const Op = contextual("op");
export const Grad = contextual("grad");
export const Wgsl = contextual("wgsl");
export const Train = contextual("train");
export const ParamWord = contextual("param");
export const BufferWord = contextual("buffer");
export const Frozen = contextual("frozen");
export const As = contextual("as");
export const From = contextual("from");
export const With = contextual("with");
export const Over = contextual("over");
export const Axis = contextual("axis");
export const Emit = contextual("emit");
export const Minimize = contextual("minimize");
export const Update = contextual("update");
export const Report = contextual("report");
export const Batch = contextual("batch");
export const Clip = contextual("clip");
export const Ema = contextual("ema");
export const Accumulate = contextual("accumulate");
export const MaxNorm = contextual("max_norm");
export const LossScale = contextual("loss_scale");
export const Gradients = contextual("gradients");

const symbol = (name: string, text: string, categories: TokenType[] = []): TokenType =>
  createToken({
    name,
    pattern: new RegExp(text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&")),
    label: `\`${text}\``,
    categories,
  });

/** Every binary operator of an expression, so that a chain of them is one loop of the grammar. */
export const BinaryOperator = createToken({
  name: "BinaryOperator",
  pattern: Lexer.NA,
  label: "an operator",
});
/** What may stand before an operand. */
export const PrefixOperator = createToken({
  name: "PrefixOperator",
  pattern: Lexer.NA,
  label: "an operator",
});
/** The end of a line or `;`. */
export const Separator = createToken({
  name: "Separator",
  pattern: Lexer.NA,
  label: "a new line or `;`",
});

export const LParen = symbol("LParen", "(");
export const RParen = symbol("RParen", ")");
export const LSquare = symbol("LSquare", "[");
export const RSquare = symbol("RSquare", "]");
export const LCurly = symbol("LCurly", "{");
export const RCurly = symbol("RCurly", "}");
export const Comma = symbol("Comma", ",");
export const Colon = symbol("Colon", ":");
export const Question = symbol("Question", "?");
export const Semicolon = symbol("Semicolon", ";", [Separator]);
export const Arrow = symbol("Arrow", "->");
export const LeftArrow = symbol("LeftArrow", "<-");
export const Ellipsis = symbol("Ellipsis", "...");
export const DotDot = symbol("DotDot", "..", [BinaryOperator]);
/** `.*` as in `head.*`: no expression has these two together otherwise. */
export const DotStar = createToken({ name: "DotStar", pattern: /\.\*(?!\*)/, label: "`.*`" });
/** `*.` as in `*.bias`. */
export const StarDot = createToken({ name: "StarDot", pattern: /\*\.(?!\.)/, label: "`*.`" });
export const Dot = symbol("Dot", ".");
export const PipeArrow = symbol("PipeArrow", "|>", [BinaryOperator]);
export const OrOr = symbol("OrOr", "||", [BinaryOperator]);
export const Bar = symbol("Bar", "|");
export const AndAnd = symbol("AndAnd", "&&", [BinaryOperator]);
export const EqualsEquals = symbol("EqualsEquals", "==", [BinaryOperator]);
export const NotEquals = symbol("NotEquals", "!=", [BinaryOperator]);
export const LessEquals = symbol("LessEquals", "<=", [BinaryOperator]);
export const GreaterEquals = symbol("GreaterEquals", ">=", [BinaryOperator]);
export const Less = symbol("Less", "<", [BinaryOperator]);
export const Greater = symbol("Greater", ">", [BinaryOperator]);
export const Equals = symbol("Equals", "=");
export const Not = symbol("Not", "!", [PrefixOperator]);
export const Plus = symbol("Plus", "+", [BinaryOperator]);
export const Minus = symbol("Minus", "-", [BinaryOperator, PrefixOperator]);
export const StarStar = symbol("StarStar", "**", [BinaryOperator]);
export const Star = symbol("Star", "*", [BinaryOperator]);
export const Slash = symbol("Slash", "/", [BinaryOperator]);
export const Percent = symbol("Percent", "%", [BinaryOperator]);
export const At = symbol("At", "@", [BinaryOperator]);

export const Newline = createToken({
  name: "Newline",
  pattern: /\r\n|\n|\r/,
  line_breaks: true,
  categories: [Separator],
  label: "the end of the line",
});
const Whitespace = createToken({ name: "Whitespace", pattern: /[ \t\f\u00a0\ufeff]+/, group: Lexer.SKIPPED });
const Comment = createToken({ name: "Comment", pattern: /\/\/[^\r\n]*/, group: "comments" });

export const Float = createToken({
  name: "Float",
  pattern: /\d[\d_]*(?:\.\d[\d_]*(?:[eE][+-]?\d+)?|[eE][+-]?\d+)(?![A-Za-z0-9_])/,
  label: "a number",
});
export const Int = createToken({
  name: "Int",
  pattern: /(?:0[xX][0-9A-Fa-f_]+|\d[\d_]*)(?![A-Za-z0-9_]|\.(?![.*A-Za-z_]))/,
  label: "a number",
});
/** What begins like a number and is none; reported by the structure scan. */
export const BadNumber = createToken({
  name: "BadNumber",
  pattern: /\d[A-Za-z0-9_]*\.?\d*/,
  label: "a number",
});

// Strings are scanned by hand: the backtracking of a regular expression over some megabytes of string would
// run out of its stack and throw.
function quoted(text: string, start: number): number {
  for (let i = start + 1; i < text.length; i++) {
    const c = text[i];
    if (c === '"') return i + 1;
    if (c === "\n" || c === "\r") return -i;
    if (c === "\\") i++;
  }
  return -text.length;
}

const custom = (match: (text: string, start: number) => number) => ({
  exec: (text: string, start: number): RegExpExecArray | null => {
    const end = match(text, start);
    if (end <= start) return null;
    const found = [text.slice(start, end)] as unknown as RegExpExecArray;
    return found;
  },
});

export const String_ = createToken({
  name: "String",
  pattern: custom((text, start) => (text[start] === '"' ? quoted(text, start) : -1)),
  start_chars_hint: ['"'],
  line_breaks: false,
  label: "a string",
});
/** A string with no end on its line; reported by the structure scan, and a string to the parser. */
export const OpenString = createToken({
  name: "OpenString",
  pattern: custom((text, start) => (text[start] === '"' ? Math.min(text.length, -quoted(text, start)) : -1)),
  start_chars_hint: ['"'],
  line_breaks: false,
  label: "a string",
});
/** Text in backticks, over any number of lines, without escapes: WGSL. */
export const RawString = createToken({
  name: "RawString",
  pattern: custom((text, start) => (text[start] === "`" ? text.indexOf("`", start + 1) + 1 : -1)),
  start_chars_hint: ["`"],
  line_breaks: true,
  label: "text in backticks",
});
/** A character that begins nothing. Never matched: the lexer reports it and `lex` puts it in its place. */
export const Unknown = createToken({ name: "Unknown", pattern: Lexer.NA, label: "an unknown character" });

/** Longer ones first: the first that matches is taken. */
export const allTokens: TokenType[] = [
  Newline,
  Whitespace,
  Comment,
  ...[Import, Private, Fn, If, Else, For, In, Scan, New, True, False],
  ...[
    Layer,
    Model,
    Optimizer,
    Op,
    Gradients,
    Grad,
    Wgsl,
    Train,
    ParamWord,
    BufferWord,
    Frozen,
    As,
    From,
    With,
    Over,
    Axis,
    Emit,
  ],
  ...[Minimize, Update, Report, Batch, Clip, Ema, Accumulate, MaxNorm, LossScale],
  ...[Identifier, Float, Int, BadNumber, String_, OpenString, RawString],
  ...[LParen, RParen, LSquare, RSquare, LCurly, RCurly, Comma, Colon, Question, Semicolon],
  ...[Arrow, LeftArrow, Ellipsis, DotDot, DotStar, Dot, PipeArrow, OrOr, Bar, AndAnd],
  ...[EqualsEquals, NotEquals, LessEquals, GreaterEquals, Less, Greater, Equals, Not],
  ...[Plus, Minus, StarStar, StarDot, Star, Slash, Percent, At],
  ...[Name, BinaryOperator, PrefixOperator, Separator, Unknown],
];

const lexer = new Lexer(allTokens, { positionTracking: "onlyOffset", ensureOptimizations: true });

export interface Lexed {
  /** In order, with Unknown tokens where nothing matched. */
  readonly tokens: IToken[];
  /** `//` and `///` alike. */
  readonly comments: readonly IToken[];
}

export function lex(text: string): Lexed {
  const result = lexer.tokenize(text);
  const comments = result.groups["comments"] ?? [];
  if (result.errors.length === 0) return { tokens: result.tokens, comments };
  const unknown = result.errors.map((e) =>
    makeToken(Unknown, text.slice(e.offset, e.offset + e.length), e.offset),
  );
  const tokens = [...result.tokens, ...unknown].sort((a, b) => a.startOffset - b.startOffset);
  return { tokens, comments };
}

/** A token that the lexer did not make. */
export function makeToken(type: TokenType, image: string, startOffset: number): IToken {
  return {
    image,
    startOffset,
    tokenType: type,
    tokenTypeIdx: type.tokenTypeIdx ?? 0,
  };
}

/** A token's end, exclusive; the lexer tracks starts only. */
export function tokenEnd(token: IToken): number {
  return token.startOffset + token.image.length;
}
