/**
 * The scan between lexer and parser. In: all tokens of a file. Out: the tokens the grammar sees, whose
 * brackets are balanced and bounded in depth and whose newlines are those that end something, and what there
 * is to say about the rest. Separate from the grammar because it is one loop: nothing here recurses, so that
 * whatever it lets through the parser can recurse over.
 *
 * Newlines. Inside ( ) and [ ] they mean nothing; inside { }, and at top level, a newline ends a line unless
 *  - the line before it ends with an operator, `,`, `=`, `<-`, `->`, `:`, `.`, an opening bracket or a
 *    reserved word that wants more (`if`, `else`, `for`, `in`, `scan`, `fn`, `private`, `import`), or
 *  - the line after it begins with a binary operator other than `-`, with `|>`, `.`, `=`, `<-`, `->`, `{`,
 *    `,`, a closing bracket or `else`, or at top level with `grad (` or a wgsl body.
 * So a line that begins with `(`, `[` or `-` is a line of its own, never a call, an index or a subtraction.
 * `;` ends a line wherever one may end.
 *
 * Brackets. Where they match, that is all. Where they do not, declarations at the beginning of a line tell
 * which one was left open, an unclosed ( or [ ends with its line if that can be, and virtual closers (empty
 * tokens) are put in, so that one missing bracket is one error and the rest of the file still parses.
 */
import type { IToken, TokenType } from "chevrotain";
import type { Diagnostics } from "../../diagnostics/report.ts";
import type { Span } from "../../diagnostics/span.ts";
import { maxNesting } from "../../syntax/limits.ts";
import * as t from "./tokens.ts";

/** What hangs on a bracket token as its payload. */
export interface Bracket {
  /** The token that closes this one, or that it closes. */
  partner: IToken;
  /** Whether this token stands in the text. */
  readonly virtual: boolean;
}

export function bracketOf(token: IToken): Bracket {
  return token.payload as Bracket;
}

const closers = new Map<TokenType, TokenType>([
  [t.LParen, t.RParen],
  [t.LSquare, t.RSquare],
  [t.LCurly, t.RCurly],
]);
const closerTypes = new Set(closers.values());
const text = new Map<TokenType, string>([
  [t.LParen, "("],
  [t.RParen, ")"],
  [t.LSquare, "["],
  [t.RSquare, "]"],
  [t.LCurly, "{"],
  [t.RCurly, "}"],
]);

const binary = [
  ...[t.DotDot, t.PipeArrow, t.OrOr, t.AndAnd, t.EqualsEquals, t.NotEquals, t.LessEquals, t.GreaterEquals],
  ...[t.Less, t.Greater, t.Plus, t.StarStar, t.Star, t.Slash, t.Percent, t.At],
];
/** A line that ends with one of these goes on. */
const wantsMore = new Set<TokenType>([
  ...[...binary, t.Minus, t.Not, t.Comma, t.Equals, t.LeftArrow, t.Arrow, t.Colon, t.Dot, t.Bar],
  ...[t.If, t.Else, t.For, t.In, t.Scan, t.Fn, t.Private, t.Import, t.StarDot],
]);
/** A line that begins with one of these goes on from the one before. */
const goesOn = new Set<TokenType>([
  ...[...binary, t.Dot, t.DotStar, t.Equals, t.LeftArrow, t.Arrow, t.LCurly, t.Comma, t.Else, t.Bar],
  ...[t.RParen, t.RSquare],
]);
/** These open a level before their `{` comes: `if if if …` would recurse without any bracket. */
const headWords = new Set<TokenType>([t.If, t.For, t.Scan]);

/** Unclosed openers, and for each the token before which it must have been closed (undefined: the end). */
type Unclosed = Map<IToken, { readonly before: IToken | undefined; readonly line: number }>;

interface Matching {
  readonly unclosed: Unclosed;
  /** Closers that close nothing. */
  readonly stray: Set<IToken>;
  /** Closers of the wrong kind, which were taken for the right one, with their openers. */
  readonly wrong: Map<IToken, IToken>;
  /** For the index of an opener the index of its closer, 0 where there is none. */
  readonly partner: Int32Array;
}

export function structure(
  tokens: readonly IToken[],
  comments: readonly IToken[],
  file: string,
  out: Diagnostics,
): IToken[] {
  const plain = matchBrackets(tokens, false);
  const clean = plain.unclosed.size === 0 && plain.stray.size === 0 && plain.wrong.size === 0;
  const matching = clean ? plain : matchBrackets(tokens, true);
  if (!clean) reportBrackets(matching, tokens, comments, file, out);
  return assemble(tokens, matching, file, out);
}

const spanOf = (token: IToken, file: string): Span => ({
  file,
  start: token.startOffset,
  end: t.tokenEnd(token),
});

// ---------------------------------------------------------------------------------------------- matching

/** With `guess`, declarations at the beginning of a line close what cannot hold them. */
function matchBrackets(tokens: readonly IToken[], guess: boolean): Matching {
  const unclosed: Unclosed = new Map();
  const stray = new Set<IToken>();
  const wrong = new Map<IToken, IToken>();
  const partner = new Int32Array(tokens.length);
  const stack: IToken[] = [];
  const indices: number[] = [];
  const lines: number[] = [];
  let line = 0;
  // Down to a depth, all of the stack is unclosed.
  const leave = (depth: number, before: IToken | undefined): void => {
    while (stack.length > depth) unclosed.set(stack.pop() as IToken, { before, line: lines[stack.length] });
    indices.length = depth;
    lines.length = depth;
  };
  const close = (): void => {
    stack.pop();
    indices.pop();
    lines.pop();
  };
  // Whether the outermost brace of the stack is the body of a layer or model, which may hold fns.
  let headOfItem: TokenType | undefined;
  let lineStart = true;
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i];
    const type = token.tokenType;
    if (type === t.Newline || type === t.Semicolon) {
      if (type === t.Newline) line++;
      lineStart = true;
      continue;
    }
    if (lineStart) {
      if (guess && stack.length > 0) {
        leave(Math.min(stack.length, declarationRoom(tokens, i, headOfItem)), token);
      }
      if (stack.length === 0) headOfItem = type;
      lineStart = false;
    }
    if (closers.has(type)) {
      stack.push(token);
      indices.push(i);
      lines.push(line);
    } else if (closerTypes.has(type)) {
      const top = stack.at(-1);
      if (top !== undefined && closers.get(top.tokenType) === type) {
        partner[indices[stack.length - 1]] = i;
        close();
      } else {
        let depth = stack.length - 1;
        // Far below the top a partner is a coincidence, and looking for it would take a square of time.
        const bottom = Math.max(0, stack.length - 2 * maxNesting);
        while (depth >= bottom && closers.get(stack[depth].tokenType) !== type) depth--;
        if (depth >= bottom) {
          leave(depth + 1, token);
          partner[indices[depth]] = i;
          close();
        } else if (top !== undefined && top.tokenType !== t.LCurly && type !== t.RCurly) {
          wrong.set(token, top);
          partner[indices[stack.length - 1]] = i;
          close();
        } else stray.add(token);
      }
    }
  }
  leave(0, undefined);
  return { unclosed, stray, wrong, partner };
}

const hasMembers = (type: TokenType | undefined): boolean =>
  type === t.Layer || type === t.Model || type === t.Optimizer;

/** How many open brackets may surround what begins at a line's first token. */
function declarationRoom(tokens: readonly IToken[], i: number, headOfItem: TokenType | undefined): number {
  const type = tokens[i].tokenType;
  const next = tokens[i + 1]?.tokenType;
  const third = tokens[i + 2]?.tokenType;
  const named = next === t.Identifier;
  if (type === t.Import && next === t.LCurly) return 0;
  if (hasMembers(type) && named && (third === t.LParen || third === t.LCurly)) return 0;
  if (type === t.Train && third === t.For) return 0;
  if (type === t.Op && named && third === t.LParen) return 0;
  const member =
    (type === t.Fn && next !== t.RParen) ||
    type === t.Private ||
    ((type === t.ParamWord || type === t.BufferWord) && third === t.Colon);
  if (member) return hasMembers(headOfItem) ? 1 : 0;
  return tokens.length;
}

/** Whether a comment ends the line of a token: Python's `//` of two ints begins one. */
function commentBehind(token: IToken, tokens: readonly IToken[], comments: readonly IToken[]): boolean {
  const behind = (o: IToken): boolean => o.startOffset > token.startOffset;
  const end =
    tokens.find((o) => o.tokenType === t.Newline && behind(o))?.startOffset ?? Number.POSITIVE_INFINITY;
  return comments.some((c) => behind(c) && c.startOffset < end);
}

function reportBrackets(
  matching: Matching,
  tokens: readonly IToken[],
  comments: readonly IToken[],
  file: string,
  out: Diagnostics,
): void {
  for (const token of matching.stray) {
    out.report("E0105", `this \`${token.image}\` closes nothing`, spanOf(token, file));
  }
  for (const [token, opener] of matching.wrong) {
    const expected = text.get(closers.get(opener.tokenType) as TokenType);
    out.report("E0105", `expected \`${expected}\`, found \`${token.image}\``, spanOf(token, file), {
      secondary: [{ span: spanOf(opener, file), text: "to close this" }],
    });
  }
  // Of several on one line the innermost is said: the others' closers may be there.
  const seen = new Set<number>();
  const innermostFirst = [...matching.unclosed].sort(([a], [b]) => b.startOffset - a.startOffset);
  const reported = innermostFirst.filter(([, { line }]) => !seen.has(line) && seen.add(line));
  for (const [opener, { before }] of reported.reverse()) {
    const closer = text.get(closers.get(opener.tokenType) as TokenType);
    // A ( or [ was to be closed on its own line, as far as anyone can tell.
    const secondary =
      before === undefined || opener.tokenType !== t.LCurly
        ? []
        : [{ span: spanOf(before, file), text: `\`${closer}\` is missing before this` }];
    out.report("E0105", `\`${opener.image}\` is never closed`, spanOf(opener, file), {
      help:
        opener.tokenType !== t.LCurly && commentBehind(opener, tokens, comments)
          ? `add \`${closer}\` before the comment; floor(a / b) rounds a quotient down, // begins a comment`
          : `add \`${closer}\``,
      secondary,
    });
  }
}

// ---------------------------------------------------------------------------------------------- assembling

interface Open {
  readonly token: IToken;
  /** Closed by its line's end if that can be, else before `before`. */
  readonly unclosed: boolean;
  readonly before: IToken | undefined;
  /** Newlines mean nothing inside: ( [ and the braces of an import. */
  readonly round: boolean;
  /** `if`s and `for`s in this bracket whose `{` is still to come. */
  heads: number;
}

function assemble(tokens: readonly IToken[], m: Matching, file: string, out: Diagnostics): IToken[] {
  const result: IToken[] = [];
  const stack: Open[] = [];
  const bottom: Open = {
    token: t.makeToken(t.Unknown, "", 0),
    unclosed: false,
    before: undefined,
    round: false,
    heads: 0,
  };
  const top = (): Open => stack.at(-1) ?? bottom;
  let depth = 0;
  let reported = false;

  // A line's end and the bracket's own end are the end of an `if` or `for` whose `{` never came.
  const endHeads = (): void => {
    depth -= top().heads;
    top().heads = 0;
  };
  const end = (): number => (result.length === 0 ? 0 : t.tokenEnd(result[result.length - 1]));
  const close = (closer: IToken, virtual: boolean): void => {
    const opener = stack.pop() as Open;
    depth -= 1 + opener.heads;
    closer.payload = { partner: opener.token, virtual } satisfies Bracket;
    opener.token.payload = { partner: closer, virtual: false } satisfies Bracket;
    result.push(closer);
  };
  const closeVirtually = (): void => {
    // Before the newline that was read already, so that the line it ends is the closer's.
    const newline = result.at(-1)?.tokenType === t.Newline ? result.pop() : undefined;
    const type = closers.get(top().token.tokenType) as TokenType;
    close(t.makeToken(type, "", end()), true);
    if (newline !== undefined) result.push(newline);
  };

  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i];
    const type = token.tokenType;

    if (type === t.Newline) {
      let j = i + 1;
      while (j < tokens.length && tokens[j].tokenType === t.Newline) j++;
      i = j - 1;
      const next = tokens[j];
      const last = result.at(-1);
      const more = last === undefined || wantsMore.has(last.tokenType) || closers.has(last.tokenType);
      while (!more && top().round && top().unclosed) {
        if (next !== undefined && goesOn.has(next.tokenType)) break;
        closeVirtually();
      }
      if (top().round) continue;
      // After `{`, and between lines, one newline is as good as none.
      if (last === undefined || last.tokenType === t.Newline || (more && last.tokenType !== t.LCurly))
        continue;
      if (next === undefined || continues(tokens, j, stack.length)) continue;
      endHeads();
      result.push(token);
      continue;
    }

    // Everything that was to be closed before this token.
    while (stack.length > 0 && top().unclosed && top().before === token) closeVirtually();

    const opens = closers.has(type);
    // Inside ( and [ a brace follows an `if` or `for` only.
    while (type === t.LCurly && top().round && top().unclosed && top().heads === 0) closeVirtually();
    if (type === t.LCurly && top().heads > 0) {
      top().heads--;
      depth--;
    }
    if ((opens || headWords.has(type)) && depth >= maxNesting) {
      if (!reported) {
        out.report("E1001", `nested more than ${maxNesting} deep`, spanOf(token, file));
        reported = true;
      }
      // The parser takes an unknown token for something that has been reported.
      result.push(t.makeToken(t.Unknown, "", token.startOffset));
      i = opens ? skipBracket(tokens, i, m) : skipLine(tokens, i, m, top().round);
      continue;
    }

    if (opens) {
      stack.push({
        token,
        unclosed: m.unclosed.has(token),
        before: m.unclosed.get(token)?.before,
        round: type !== t.LCurly || result.at(-1)?.tokenType === t.Import,
        heads: 0,
      });
      depth++;
      result.push(token);
    } else if (closerTypes.has(type)) {
      if (m.stray.has(token)) {
        result.push(t.makeToken(t.Unknown, token.image, token.startOffset));
        continue;
      }
      const right = closers.get(top().token.tokenType);
      if (right === undefined) continue;
      close(right === type ? token : t.makeToken(right, token.image, token.startOffset), false);
    } else {
      if (headWords.has(type)) {
        top().heads++;
        depth++;
      } else if (type === t.Semicolon) endHeads();
      result.push(checked(token, file, out));
    }
  }
  while (stack.length > 0) closeVirtually();
  return result;
}

/** Whether the line that begins at `i` belongs to the one before. */
function continues(tokens: readonly IToken[], i: number, openBrackets: number): boolean {
  const type = tokens[i].tokenType;
  if (goesOn.has(type)) return true;
  if (openBrackets > 0) return false;
  const next = tokens[i + 1]?.tokenType;
  return (type === t.Grad && next === t.LParen) || (type === t.Wgsl && next === t.RawString);
}

/** The index of the last token of the bracket that opens at `i`. */
function skipBracket(tokens: readonly IToken[], i: number, m: Matching): number {
  if (m.partner[i] > 0) return m.partner[i];
  const before = m.unclosed.get(tokens[i])?.before;
  let j = i + 1;
  while (j < tokens.length && tokens[j] !== before) j++;
  return j - 1;
}

/** The index of the last token before the end of the line, or of the round bracket, that holds `i`. */
function skipLine(tokens: readonly IToken[], i: number, m: Matching, round: boolean): number {
  let j = i;
  for (; j < tokens.length; j++) {
    const type = tokens[j].tokenType;
    if (closers.has(type)) j = skipBracket(tokens, j, m);
    else if (closerTypes.has(type) || type === t.Semicolon) break;
    else if (type === t.Newline && !round) break;
  }
  return j - 1;
}

// ------------------------------------------------------------------------------------------- bad tokens

const hints: Readonly<Record<string, string>> = {
  "#": "comments begin with //",
  "'": 'strings stand in double quotes: "same"',
  "&": "and is written &&",
  "^": "a power is written **",
  "~": "not is written !",
  "`": "close the text with another backtick",
  "\\": "a line goes on after an operator or inside brackets",
};

/** Reports what the lexer let through; the parser then sees an ordinary token, or one it knows is reported. */
function checked(token: IToken, file: string, out: Diagnostics): IToken {
  const type = token.tokenType;
  const at = spanOf(token, file);
  if (type === t.BadNumber) {
    const help = /^\d+\.$/.test(token.image) ? `write ${token.image}0` : undefined;
    out.report("E0104", `${quote(token.image)} is not a number`, at, help === undefined ? {} : { help });
    return badToken(t.Int, token);
  }
  if (type === t.OpenString) {
    out.report("E0103", "the string is not closed on its line", at);
    return badToken(t.String_, token);
  }
  if (type === t.Unknown) {
    const help = hints[token.image[0]];
    const what = /^[\p{L}]/u.test(token.image) ? "names are made of ASCII letters" : "no token begins with";
    out.report("E0102", `${what}${what.startsWith("no") ? ` ${quote(token.image)}` : ""}`, at, {
      ...(help === undefined ? {} : { help }),
    });
  }
  return token;
}

function badToken(type: TokenType, token: IToken): IToken {
  return { ...t.makeToken(type, token.image, token.startOffset), payload: "bad" };
}

/** Source text inside a message: short, and in backticks. */
export function quote(image: string): string {
  return `\`${image.length > 24 ? `${image.slice(0, 24)}…` : image}\``;
}
