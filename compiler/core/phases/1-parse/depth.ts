/**
 * The bound on a tree's depth. In: a tree of any depth. Out: the same tree, with "error" nodes where it was
 * too deep, and one diagnostic. Separate from the structure scan, which bounds brackets: a chain of operators,
 * calls or members is as deep as it is long without any bracket. The one pass that must not recurse.
 */
import type { Diagnostics } from "../../diagnostics/report.ts";
import type { Node, SourceFile } from "../../syntax/ast.ts";
import { maxTreeDepth } from "../../syntax/limits.ts";

/** What makes trees deep; other nodes at the bound are followed to the next of these. */
const cut = new Set<Node["kind"]>([
  ...(["call", "member", "index", "unary", "binary", "pipe", "range", "list", "tuple", "record"] as const),
  ...(["comprehension", "if", "for", "scan", "let", "store", "emit", "expr_stmt", "list_type"] as const),
]);

export function boundDepth(root: SourceFile, out: Diagnostics): void {
  let nodes: Node[] = [root];
  let reported = false;
  for (let depth = 2; nodes.length > 0; depth++) {
    const below: Node[] = [];
    /** The node to have in this one's place, which is the field `key` of its parent. */
    const visit = (node: Node, key: string): Node => {
      // A target is a path by its type; what is too deep in it is found further down.
      if (depth <= maxTreeDepth || !cut.has(node.kind) || key === "target") {
        below.push(node);
        return node;
      }
      if (!reported) out.report("E1001", `nested more than ${maxTreeDepth} levels deep`, node.span);
      reported = true;
      const hole = { kind: "error", span: node.span } as const;
      return key === "else" ? { kind: "block", statements: [hole], multiline: false, span: node.span } : hole;
    };
    for (const node of nodes) {
      const fields = node as unknown as Record<string, unknown>;
      for (const key in fields) {
        const value = fields[key];
        if (typeof value !== "object" || value === null || key === "span" || key === "opSpan") continue;
        if (!Array.isArray(value)) fields[key] = visit(value as Node, key);
        else if (typeof value[0] === "object")
          for (let i = 0; i < value.length; i++) value[i] = visit(value[i], key);
      }
    }
    nodes = below;
  }
}
