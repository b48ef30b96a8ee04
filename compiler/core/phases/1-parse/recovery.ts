/**
 * What a grammar of lines and brackets needs beside its rules: lists, and going on after an error. In: what the
 * rules pass as closures. Out: nodes with "error" nodes in the gaps, and diagnostics. Separate from grammar.ts,
 * which then reads as the grammar.
 *
 * Chevrotain's own recovery looks for a token that may follow any open rule, which in such a language lands in
 * the middle of something else, and it rescans for each error. Since structure.ts leaves the brackets balanced,
 * errors are contained instead: in the innermost round brackets (`inside` skips to the closing one), in what
 * stands before a body (`header` skips to its brace), else in the line (`lines` and `rescue` skip to its end,
 * over brackets). What was read before the error is kept.
 */
import {
  EmbeddedActionsParser,
  EOF,
  type IRecognitionException,
  type IToken,
  isRecognitionException,
  type TokenType,
  tokenMatcher,
} from "chevrotain";
import type { Code, DiagnosticExtra, Diagnostics } from "../../diagnostics/report.ts";
import type { Span } from "../../diagnostics/span.ts";
import type { ErrorNode } from "../../syntax/ast.ts";
import { maxSyntaxErrors } from "../../syntax/limits.ts";
import { clauseHint, describeToken, hintFor, messages } from "./messages.ts";
import { bracketOf } from "./structure.ts";
import * as t from "./tokens.ts";

const closerText = new Map<TokenType, string>([
  [t.RParen, "`)`"],
  [t.RSquare, "`]`"],
  [t.RCurly, "`}`"],
]);

const isOpener = ({ tokenType }: IToken): boolean =>
  tokenType === t.LParen || tokenType === t.LSquare || tokenType === t.LCurly;

export abstract class RecoveringParser extends EmbeddedActionsParser {
  protected file = "";
  private text = "";
  private out: Diagnostics | undefined;
  private errorCount = 0;

  /** Validating the grammar takes as long as using it does: a test asks for it, once for all. */
  constructor(validate: boolean) {
    super(t.allTokens, {
      recoveryEnabled: false,
      // Two tokens decide everywhere; nothing backtracks.
      maxLookahead: 2,
      errorMessageProvider: messages,
      skipValidations: !validate,
    });
  }

  protected begin(tokens: IToken[], file: string, text: string, out: Diagnostics): void {
    this.input = tokens;
    this.file = file;
    this.text = text;
    this.out = out;
    this.errorCount = 0;
  }

  protected get sink(): Diagnostics {
    return this.out as Diagnostics;
  }

  /** Elements separated by commas, with one after the last if the author likes. */
  protected commaList<T>(into: T[], element: () => T): void {
    let more = true;
    this.MANY7({
      GATE: () => more,
      DEF: () => {
        into.push(element());
        more = false;
        this.OPTION7(() => {
          this.CONSUME7(t.Comma);
          more = true;
        });
      },
    });
  }

  /** Elements separated by newlines and semicolons, up to the closing brace of `open` or the end of the file. */
  protected lines<T>(thing: string, into: (T | ErrorNode)[], element: () => T, open?: IToken): void {
    const partner = open === undefined || this.RECORDING_PHASE ? undefined : bracketOf(open).partner;
    for (;;) {
      let fresh = true;
      try {
        this.MANY(() => this.CONSUME(t.Separator));
        this.MANY1({
          GATE: () => fresh,
          DEF: () => {
            into.push(element());
            fresh = false;
            this.MANY2(() => {
              this.CONSUME1(t.Separator);
              fresh = true;
            });
          },
        });
        if (this.RECORDING_PHASE) return;
        const next = this.LA(1);
        if (next === partner || tokenMatcher(next, EOF)) return;
        const wanted = fresh ? thing : "a new line or `;`";
        if (fresh && thing === "a clause" && tokenMatcher(next, t.Name)) {
          this.say("E0109", `unknown clause ${describeToken(next)}`, this.spanOf(next), {
            help: clauseHint(next.image),
          });
        } else this.complain(next, undefined, `expected ${wanted}, found ${describeToken(next)}`);
      } catch (error) {
        this.record(error);
      }
      into.push(this.hole(this.spanOf(this.LA(1))));
      this.skipLine(partner);
    }
  }

  /**
   * What stands between `open`, which was just read, and its partner, which is the next token afterwards,
   * come what may.
   */
  protected inside(open: IToken, what: string, thing: string, body: () => void, onError?: () => void): void {
    if (this.RECORDING_PHASE) {
      body();
      return;
    }
    const { partner } = bracketOf(open);
    try {
      body();
      const next = this.LA(1);
      if (next === partner) return;
      const atElement = this.LA(0) === open || this.LA(0).tokenType === t.Comma;
      const closer = closerText.get(partner.tokenType);
      const wanted = atElement ? thing : `\`,\` or ${closer}`;
      const label = `${closer} closes the ${what} that starts here`;
      const message = `expected ${wanted}, found ${describeToken(next)}`;
      this.complain(next, open, message, atElement ? undefined : label);
    } catch (error) {
      this.record(error, open);
    }
    onError?.();
    while (this.LA(1) !== partner && !tokenMatcher(this.LA(1), EOF)) this.SKIP_TOKEN();
  }

  /** The rest of a line; where it is broken, all of it is skipped and what was read is kept. */
  protected rescue(body: () => void): void {
    if (this.RECORDING_PHASE) {
      body();
      return;
    }
    try {
      body();
    } catch (error) {
      this.record(error);
      this.skipLine(undefined);
    }
  }

  /** What stands before a `{`; where it is broken but the brace is there, the body still parses. */
  protected header(body: () => void): void {
    if (this.RECORDING_PHASE) {
      body();
      return;
    }
    try {
      body();
      if (this.LA(1).tokenType === t.LCurly) return;
      const [previous, next] = [this.LA(0), this.LA(1)];
      if (!this.skipTo(t.LCurly)) return;
      this.complainOf(next, previous, undefined, `expected \`{\`, found ${describeToken(next)}`);
    } catch (error) {
      if (!isRecognitionException(error as Error) || !this.skipTo(t.LCurly)) throw error;
      this.record(error);
    }
  }

  /** Over everything on this line, brackets included, to a token of that type; stays where there is none. */
  private skipTo(type: TokenType): boolean {
    let depth = 0;
    for (let k = 1; ; k++) {
      const next = this.LA(k);
      if (depth === 0 && next.tokenType === type) break;
      if (tokenMatcher(next, EOF) || (depth === 0 && tokenMatcher(next, t.Separator))) return false;
      if (isOpener(next)) depth++;
      else if (closerText.has(next.tokenType) && depth-- === 0) return false;
    }
    for (;;) {
      const next = this.LA(1);
      if (next.tokenType === type) return true;
      if (tokenMatcher(next, t.Separator) || tokenMatcher(next, EOF) || closerText.has(next.tokenType))
        return false;
      this.skipOne();
    }
  }

  private skipLine(partner: IToken | undefined): void {
    for (;;) {
      const next = this.LA(1);
      if (next === partner || tokenMatcher(next, t.Separator) || tokenMatcher(next, EOF)) return;
      if (partner === undefined && closerText.has(next.tokenType)) return;
      this.skipOne();
    }
  }

  private skipOne(): void {
    const token = this.LA(1);
    if (isOpener(token)) {
      const { partner } = bracketOf(token);
      while (this.LA(1) !== partner && !tokenMatcher(this.LA(1), EOF)) this.SKIP_TOKEN();
    }
    this.SKIP_TOKEN();
  }

  // ------------------------------------------------------------------------------------------------ errors

  private record(error: unknown, open?: IToken): void {
    if (!isRecognitionException(error as Error)) throw error;
    const { token, previousToken, message } = error as IRecognitionException & { previousToken: IToken };
    this.complainOf(token, previousToken, open, message);
  }

  /** A syntax error at the next token. */
  protected complain(token: IToken, open: IToken | undefined, message: string, label?: string): void {
    this.complainOf(token, this.LA(0), open, message, label);
  }

  /** A syntax error at a token, unless the token or its bracket has been reported already. */
  private complainOf(
    token: IToken,
    previous: IToken,
    open: IToken | undefined,
    message: string,
    label?: string,
  ): void {
    if (token.tokenType === t.Unknown || (closerText.has(token.tokenType) && bracketOf(token).virtual))
      return;
    if (open !== undefined && bracketOf(bracketOf(open).partner).virtual) return;
    const help = hintFor(previous, token, message);
    const secondary =
      open === undefined || label === undefined ? [] : [{ span: this.spanOf(open), text: label }];
    // What is missing at the end of a line is shown there, and not where the next token happens to be.
    const { file, end } = this.spanOf(previous);
    const next = this.spanOf(token);
    const atEnd = tokenMatcher(token, EOF) || /[\r\n]/.test(this.text.slice(end, next.start + 1));
    const at = atEnd && !tokenMatcher(previous, t.Separator) ? { file, start: end, end } : next;
    this.say("E0101", message, at, { secondary, ...opt({ help }) });
  }

  protected say(code: Code, message: string, at: Span, extra: DiagnosticExtra): void {
    if (this.errorCount >= maxSyntaxErrors) return;
    this.errorCount++;
    this.sink.report(code, message, at, extra);
    if (this.errorCount < maxSyntaxErrors) return;
    this.sink.report("E1007", "too many syntax errors; the rest of the file was not read", at);
    while (!tokenMatcher(this.LA(1), EOF)) this.SKIP_TOKEN();
  }

  // ------------------------------------------------------------------------------------------------ places

  protected spanOf(token: IToken): Span {
    const start = Number.isNaN(token.startOffset) ? this.text.length : token.startOffset;
    return { file: this.file, start, end: Math.max(start, start + token.image.length) };
  }

  /** From a token to the last one read. */
  protected since(token: IToken): Span {
    const start = this.spanOf(token).start;
    return { file: this.file, start, end: Math.max(start, this.spanOf(this.LA(0)).end) };
  }

  protected sinceSpan(from: Span | undefined): Span {
    // While chevrotain records the grammar, rules return nothing that has a span.
    const start = from?.start ?? 0;
    return { file: this.file, start, end: Math.max(start, this.spanOf(this.LA(0)).end) };
  }

  protected hole(at: Span | undefined): ErrorNode {
    return { kind: "error", span: at ?? { file: this.file, start: 0, end: 0 } };
  }
}

/** Without the fields that are undefined: an absent field is not there. */
export function opt<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const out: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(fields)) if (value !== undefined) out[key] = value;
  return out as { [K in keyof T]?: Exclude<T[K], undefined> };
}
