// What depends on parameters and unwritten state alone: at inference it is computed once, ahead of the calls.
import { asConst } from "../../dims/dim.ts";
import { attrsHaveSymbols } from "../../ir/build.ts";
import type { Graph, Node, Value } from "../../ir/types.ts";

/** A test for values that a prepare program could compute. */
export function derivedTest(writtenPaths: ReadonlySet<string>): (v: Value) => boolean {
  const memo = new Map<Node, boolean>();
  const ok = (n: Node): boolean => {
    const known = memo.get(n);
    if (known !== undefined) return known;
    const fixed =
      !attrsHaveSymbols(n.attrs) && n.outs.every((v) => v.type.shape.every((d) => asConst(d) !== undefined));
    const out =
      fixed &&
      (n.op.fuses === "source"
        ? n.op.name === "param" ||
          n.op.name === "constant" ||
          (n.op.name === "state" && !writtenPaths.has(String(n.attrs.path)))
        : n.op.fuses !== "control" && !n.op.unpacks && n.inputs.every((v) => ok(v.node)));
    memo.set(n, out);
    return out;
  };
  return (v) => ok(v.node);
}
export const writtenBy = (g: Graph): Set<string> => new Set(g.writes.map((w) => w.path));
