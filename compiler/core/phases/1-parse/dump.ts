/**
 * The tree as a tree, for `--emit ast` and for debugging. In: a node. Out: a line a node: kind, own words,
 * offsets; two spaces a level. Separate from print.ts, which gives source text back.
 */
import type { Node } from "../../syntax/ast.ts";
import { childrenOf } from "../../syntax/walk.ts";

/** Fields whose value is worth a word on the node's line. */
const words = ["name", "op", "value", "segments", "private", "by"] as const;

export function dumpAst(root: Node): string {
  const out: string[] = [];
  const visit = (node: Node, depth: number): void => {
    const fields = node as unknown as Record<string, unknown>;
    const own = words
      .filter((w) => fields[w] !== undefined && fields[w] !== false)
      .map((w) => fields[w])
      .filter((v) => typeof v !== "object" || Array.isArray(v))
      .map((v) => (Array.isArray(v) ? v.join(".") : v === true ? "private" : JSON.stringify(v)));
    const { start, end } = node.span;
    out.push(`${"  ".repeat(depth)}${[node.kind, ...own].join(" ")} @${start}..${end}`);
    for (const child of childrenOf(node)) visit(child, depth + 1);
  };
  visit(root, 0);
  return `${out.join("\n")}\n`;
}
