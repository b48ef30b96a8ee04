/**
 * Text to tree: the phase's one entry. In: the source of a file and its name, as spans shall carry it. Out:
 * the tree and all there is to say about its syntax; never an exception. Where there are errors the tree has
 * "error" nodes and is good for tools, but not for the next phase's judgement of names.
 */
import { Diagnostics } from "../../diagnostics/report.ts";
import type { Parsed } from "../../syntax/ast.ts";
import { maxNameLength, maxSourceLength } from "../../syntax/limits.ts";
import { boundDepth } from "./depth.ts";
import { MdlParser } from "./grammar.ts";
import { structure } from "./structure.ts";
import { lex, Name } from "./tokens.ts";
import { attachTrivia } from "./trivia.ts";

// Made at the first use: analysing the grammar takes a moment, and importing the compiler should not.
let parser: MdlParser | undefined;

export function parse(source: string, file: string): Parsed {
  const out = new Diagnostics();
  const whole = { file, start: 0, end: source.length };
  if (source.length > maxSourceLength) {
    const size = (source.length / 2 ** 20).toFixed(1);
    out.report("E1002", `the file has ${size} MiB, more than ${maxSourceLength / 2 ** 20} MiB`, {
      ...whole,
      end: 0,
    });
    return { ast: { kind: "source_file", items: [], span: whole }, diagnostics: out.list() };
  }
  try {
    const { tokens, comments } = lex(source);
    for (const { image, tokenType, startOffset } of tokens)
      if (image.length > maxNameLength && tokenType.CATEGORIES?.includes(Name))
        out.report("E1002", `a name of ${image.length} characters, more than ${maxNameLength}`, {
          file,
          start: startOffset,
          end: startOffset + image.length,
        });
    parser ??= new MdlParser();
    const ast = parser.parseFile(structure(tokens, comments, file, out), file, source, out);
    boundDepth(ast, out);
    return { ast: attachTrivia(ast, source, comments), diagnostics: out.list() };
  } catch (error) {
    // The limits fit the stack of a thread; a caller may have used most of it up, or have a smaller one.
    if (!(error instanceof RangeError)) throw error;
    out.report("E1001", "nested too deeply for the stack there is", { ...whole, end: 0 });
    return { ast: { kind: "source_file", items: [], span: whole }, diagnostics: out.list() };
  }
}
