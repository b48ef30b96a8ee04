// Step: reductions over rows take what reads them back over the same rows; other folds (windows, gathers) what follows them
// element by element.
import { equal, product } from "../../dims/dim.ts";
import type { Node } from "../../ir/types.ts";
import { decode, rowMajor } from "../../kernel/coordinates.ts";
import { foldOf } from "../../kernel/lowering.ts";
import { children, type Scalar, type ScalarOf } from "../../kernel/scalar.ts";
import { loweringFor } from "../../kernel/values.ts";
import { factsOf } from "./facts.ts";
import { type Draft, elements, type Partition } from "./partition.ts";

export function growReductions(p: Partition): void {
  for (const n of p.nodes) {
    if (n.op.fuses !== "fold" || p.region.has(n)) continue;
    if (!factsOf(n).rowReduction) {
      const g = p.create("map", n);
      const added = p.grow(g, n, p.sameElements(n), p.overfull(g));
      p.trimViews(g, added);
      p.fitBindings(g, added);
      p.settle(g);
      continue;
    }
    const g = p.create("rows", n);
    const rowCount = elements(n.outs[0]);
    const fullCount = elements(n.inputs[0]);
    const overfull = p.overfull(g);
    const added = p.grow(
      g,
      n,
      (m) => {
        const size = elements(m.outs[0]);
        if (m.op.fuses === "map" || m.op.fuses === "view")
          return equal(size, rowCount) || equal(size, fullCount);
        return (
          !p.anchors.has(m) &&
          equal(size, rowCount) &&
          equal(elements(m.inputs[0]), fullCount) &&
          factsOf(m).rowReduction
        );
      },
      // What needs a fold of another kernel that is not made yet would not be aligned.
      (m, foreign) => foreign.some((f) => foldsOutside(p, f, g)) || overfull(m, foreign),
    );
    for (;;) {
      p.fitBindings(g, added);
      if (added.length === 0 || rowsAreAligned(p, g)) break;
      p.drop(g, added.pop() as Node);
    }
    p.trimViews(g, added);
    p.settle(g);
  }
}
/** A fold that has no kernel yet is among what a node of this region's kernel is made of. */
function foldsOutside(p: Partition, start: Node, g: Draft): boolean {
  const seen = new Set<Node>([start]);
  const stack = [start];
  const loose = (m: Node): boolean => m.op.fuses !== "source" && (!p.region.has(m) || g.nodes.has(m));
  if (!loose(start)) return false;
  for (let n = stack.pop(); n; n = stack.pop()) {
    if (n.op.fuses === "fold" && !g.nodes.has(n)) return true;
    for (const v of n.inputs) {
      const m = v.node;
      if (seen.has(m) || !loose(m)) continue;
      seen.add(m);
      stack.push(m);
    }
  }
  return false;
}
/** Every fold of every exit hangs on the same rows, counted in the same order. */
export function rowsAreAligned(p: Partition, g: Draft): boolean {
  const exits = p.exitsOf(g);
  if (exits.some((e) => foldsOutside(p, e.node, g))) return false;
  // What else is computed outside has no say in it, stored or inlined: it is a load here.
  const s = loweringFor((v) => !g.nodes.has(v.node));
  const rowCount = elements(g.anchor.outs[0]);
  const reductions = [...g.nodes].filter((n) => n.op.fuses === "fold");
  for (const e of exits) {
    const at = e.type.shape.map((d, i) => s.axis(`i${i}`, d));
    const x = s.read(
      e,
      at.map((a) => s.axisValue(a)),
    );
    const folds: ScalarOf<"fold">[] = [];
    const seen = new Set<Scalar>();
    const visit = (y: Scalar): void => {
      if (seen.has(y)) return;
      seen.add(y);
      if (y.kind === "fold") folds.push(y);
      for (const c of children(y)) visit(c);
    };
    visit(x);
    // The exit's coordinates that its reductions see are its row, and each reduction is the group's own at that row.
    const free = new Set(folds.flatMap((f) => f.free));
    const rows = at.filter((a) => free.has(a));
    if (folds.length === 0 || free.size !== rows.length) return false;
    if (!equal(product(rows.map((a) => a.extent)), rowCount)) return false;
    const row = rowMajor(
      s,
      rows.map((a) => s.axisValue(a)),
      rows.map((a) => a.extent),
    );
    const known = new Set(
      reductions.map((n) => foldOf(s.read(n.outs[0], decode(s, row, n.outs[0].type.shape)))),
    );
    if (folds.some((f) => !known.has(f))) return false;
  }
  return true;
}
