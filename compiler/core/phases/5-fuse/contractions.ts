// Step: contractions take what follows them element by element, a window that tiles their result, and what follows that.
// Step: a sum of two contractions is one.
import type { Node, Value } from "../../ir/types.ts";
import { factsOf } from "../../regions/facts.ts";
import { type Draft, isView, type Partition, shapeKey } from "./partition.ts";

export function growContractions(p: Partition): void {
  for (const n of p.nodes) if (n.op.fuses === "fold" && factsOf(n).contraction) p.anchors.add(n);
  p.findFirm();
  for (const n of p.nodes) {
    if (!p.anchors.has(n) || p.region.has(n)) continue;
    const g = p.create("contraction", n);
    const extend = (from: Node): void => {
      const added = p.grow(g, [from], p.sameElements(from), p.overfull(g));
      p.trimViews(g, added);
      p.fitBindings(g, added);
    };
    extend(n);
    const exits = p.storedBy(g);
    if (exits.length === 1 && !p.sinks.has(exits[0])) {
      const next = p.usersOf(exits[0]);
      if (
        next.length === 1 &&
        !p.region.has(next[0]) &&
        next[0].inputs[0] === exits[0] &&
        windowsOneFactor(n, exits[0], next[0])
      ) {
        p.join(g, next[0]);
        extend(next[0]);
      }
    }
    p.settle(g);
  }
}

/** The axes a window runs over are all rows of the contraction, or all columns: never both, never batch. */
function windowsOneFactor(anchor: Node, stored: Value, window: Node): boolean {
  const over = factsOf(window).window;
  const c = factsOf(anchor).contraction;
  if (!over || !c || shapeKey(anchor.outs[0]) !== shapeKey(stored)) return false;
  return over.every((i) => c.rows.includes(i)) || over.every((i) => c.cols.includes(i));
}

/** Over the same rows and columns: one kernel, with two segments of k. */
export function sumContractions(p: Partition): void {
  for (const g of p.regions) {
    if (g.kind !== "contraction" || g.nodes.size < 2 || p.options.alone?.(g.anchor)) continue;
    for (const n of [...g.nodes]) {
      if (!factsOf(n).sum) continue;
      const foreign = n.inputs.find((v) => !g.nodes.has(v.node));
      const other = foreign && p.region.get(foreign.node);
      if (!foreign || !other || other.kind !== "contraction" || other === g || other.derived !== g.derived)
        continue;
      if (p.options.alone?.(other.anchor)) continue;
      if (
        other.roots.length !== 1 ||
        other.roots[0] !== foreign ||
        p.sinks.has(foreign) ||
        p.usersOf(foreign).length !== 1
      )
        continue;
      const mine = n.inputs.find((v) => g.nodes.has(v.node)) as Value;
      if (!sumsUpTo(foreign, other) || !sumsUpTo(mine, g) || !sameRowsAndColumns(g.anchor, other.anchor))
        continue;
      const both = new Set([...g.nodes, ...other.nodes]);
      if (!p.joinable(g, other) || !p.fits({ ...g, nodes: both })) continue;
      p.unite(g, other);
      p.settle(g);
      break;
    }
  }
}
/** From the region's anchor to `v` there are only additions (biases). */
function sumsUpTo(v: Value, g: Draft): boolean {
  let at = v.node;
  while (at !== g.anchor) {
    if (!g.nodes.has(at)) return false;
    const inside = at.inputs.filter((x) => g.nodes.has(x.node));
    if (inside.length !== 1 || !(factsOf(at).sum || (isView(at) && factsOf(at).keepsOrder))) return false;
    at = inside[0].node;
  }
  return true;
}
function sameRowsAndColumns(a: Node, b: Node): boolean {
  const [x, y] = [factsOf(a).contraction, factsOf(b).contraction];
  if (!x || !y || x.split.length + y.split.length > 0) return false;
  const alike = (m: readonly number[], n: readonly number[]): boolean => m.join() === n.join();
  return (
    shapeKey(a.outs[0]) === shapeKey(b.outs[0]) &&
    alike(x.rows, y.rows) &&
    alike(x.cols, y.cols) &&
    alike(x.batch, y.batch)
  );
}
