import type { IToken } from "chevrotain";
import type { SourceFile } from "./ast.ts";
export function attachTrivia(root: SourceFile, _text: string, _comments: readonly IToken[]): SourceFile {
  return root;
}
