/** Trees without their places, to compare what two texts mean. */
import type { SourceFile } from "../../compiler/core/syntax/ast.ts";

const places = new Set(["span", "opSpan", "multiline", "oneLine", "newLine"]);

/** Plain data, equal for two trees that differ only in spans and in where lines break. Comments and blank lines count. */
export function withoutSpans(ast: SourceFile): unknown {
  return JSON.parse(JSON.stringify(ast, (key, value) => (places.has(key) ? undefined : value)));
}
