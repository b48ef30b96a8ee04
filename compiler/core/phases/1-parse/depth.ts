/**
 * The bound on a tree's depth. In: a tree of any depth. Out: the same tree, cut where it was too deep, with
 * one diagnostic. Separate from the structure scan, which bounds brackets: a chain of operators, calls or
 * members is as deep as it is long without any bracket. The one pass over the tree that must not recurse.
 */
import type { Diagnostics } from "../../diagnostics/report.ts";
import type { Node, SourceFile } from "./ast.ts";
import { maxTreeDepth } from "./limits.ts";

export function boundDepth(root: SourceFile, out: Diagnostics): void {
  let nodes: object[] = [root];
  let reported = false;
  for (let depth = 1; nodes.length > 0; depth++) {
    const below: object[] = [];
    for (const node of nodes) {
      const fields = node as Record<string, unknown>;
      for (const key in fields) {
        const value = fields[key];
        if (typeof value !== "object" || value === null || key === "span" || key === "opSpan") continue;
        if (depth < maxTreeDepth) {
          if (Array.isArray(value)) {
            for (const item of value) if (typeof item === "object") below.push(item as object);
          } else below.push(value);
        } else if ("kind" in value) {
          if (!reported) {
            const { span } = node as Node;
            out.report("E1001", `an expression is more than ${maxTreeDepth} levels deep`, span);
            reported = true;
          }
          // An expression in a chain; lists below it are cut with it, one level further down.
          fields[key] = { kind: "error", span: (value as Node).span };
        } else if (Array.isArray(value)) fields[key] = [];
      }
    }
    nodes = below;
  }
}
