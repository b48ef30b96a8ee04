// Step: reductions over rows take what reads them back over the same rows, other reductions of the same operands, and what
// they are made of where others read that, too. Other folds (windows, gathers) take what follows them element by element.
import { type Dim, equal, isConst, product } from "../../dims/dim.ts";
import type { Node, Value } from "../../ir/types.ts";
import { decode, rowMajor } from "../../kernel/coordinates.ts";
import { foldOf } from "../../kernel/lowering.ts";
import { children, loadsOf, type Scalar, type ScalarOf } from "../../kernel/scalar.ts";
import { loweringFor } from "../../kernel/values.ts";
import { factsOf, shapeOf } from "../../regions/facts.ts";
import { type Draft, elements, isView, type Partition } from "./partition.ts";

/** Reductions beside the first that a region takes because they read what it reads. */
const MOST_SIBLINGS = 4;
/** Nodes of the graph between a reduction and a sibling. */
const FAR = 512;
/** Of those, the first that are asked whether they could be; and of what a region might store on the way, the last. */
const NEAREST = 8;
/** Inlined values between a stored one and a reduction of it that is a sibling. */
const SIBLING_DEPTH = 6;

export function growReductions(p: Partition): void {
  for (const n of p.nodes) {
    if (n.op.fuses !== "fold" || p.region.has(n)) continue;
    if (factsOf(n).rowReduction) growRows(p, n);
    else {
      const g = p.create("map", n);
      const added = p.grow(g, [n], p.sameElements(n), p.overfull(g));
      p.trimViews(g, added);
      p.fitBindings(g, added);
      p.settle(g);
    }
  }
}

function growRows(p: Partition, n: Node): void {
  const g = p.create("rows", n);
  const rowCount = elements(n.outs[0]);
  const fullCount = elements(n.inputs[0]);
  const alike = (m: Node): boolean =>
    !p.anchors.has(m) &&
    equal(elements(m.outs[0]), rowCount) &&
    equal(elements(m.inputs[0]), fullCount) &&
    factsOf(m).rowReduction;
  const added: Node[] = [];
  const fits = (): boolean => {
    const stored = p.storedBy(g);
    return p.fits(g, stored) && rowsOf(p, g, stored) !== undefined;
  };
  /** Takes the youngest out again until what is left is one kernel. */
  const shrink = (to = 0): void => {
    while (added.length > to && !fits()) p.drop(g, added.pop() as Node);
  };
  const extend = (): void => {
    const overfull = p.overfull(g);
    added.push(
      ...p.grow(
        g,
        [...g.nodes],
        (m) => {
          if (m.op.fuses === "fold") return alike(m);
          const size = elements(m.outs[0]);
          return equal(size, rowCount) || equal(size, fullCount);
        },
        // What needs a fold of another kernel that is not made yet would not be aligned.
        (m, foreign) => foreign.some((f) => foldsOutside(p, f, g)) || overfull(m, foreign),
      ),
    );
  };
  // What it reduces is stored on the way where others read it, too: a sum that goes on from layer to layer would be made of
  // more with each of them, until no kernel binds it all.
  const [reduced] = shared(p, g, fullCount);
  if (reduced) {
    const before = added.length;
    const path = [...pathFrom(p, g, reduced), reduced];
    const all = path.every((m) => {
      const can = p.joinable(g, m);
      if (can) {
        p.join(g, m);
        added.push(m);
      }
      return can;
    });
    if (!all || !fits()) while (added.length > before) p.drop(g, added.pop() as Node);
  }
  const least = added.length;
  extend();
  shrink(least);
  for (let i = 0; i < MOST_SIBLINGS; i++) {
    const sibling = [...siblings(p, g, fullCount), ...partners(p, g, rowCount)].find(
      (m) => alike(m) && p.joinable(g, m),
    );
    if (!sibling) break;
    const before = added.length;
    p.join(g, sibling);
    added.push(sibling);
    if (!fits() && !storeBelow(p, g, fullCount, fits)) {
      shrink(before);
      break;
    }
    extend();
    shrink(before + 1);
  }
  // What others read, too, is stored on the way.
  for (const m of shared(p, g, fullCount)) {
    if (!p.joinable(g, m)) continue;
    p.join(g, m);
    if (fits()) added.push(m);
    else p.drop(g, m);
  }
  // A view that is left to its readers may leave what it shows to be stored.
  p.trimViews(g, added);
  while (!fits() && added.length > 0) {
    p.drop(g, added.pop() as Node);
    p.trimViews(g, added);
  }
  p.settle(g);
}

/** Nodes that a region's kernel computes on the way to what it stores, without being in it. */
function inlinedIn(p: Partition, g: Draft): Node[] {
  const seen = new Set<Node>();
  const stack = [...g.nodes];
  for (let n = stack.pop(); n; n = stack.pop())
    for (const v of n.inputs) {
      const m = v.node;
      if (g.nodes.has(m) || seen.has(m) || p.isStoredFor(v, g) || p.region.has(m)) continue;
      seen.add(m);
      stack.push(m);
    }
  return [...seen].sort((a, b) => a.id - b.id);
}
/** What is inlined between a node and the region, the last first. */
function pathFrom(p: Partition, g: Draft, from: Node): Node[] {
  const reached = new Set([from]);
  const path: Node[] = [];
  for (const n of inlinedIn(p, g))
    if (n.inputs.some((v) => reached.has(v.node))) {
      reached.add(n);
      path.push(n);
    }
  return path.reverse();
}
/** Reductions that read what the region reads, and are in none. */
function siblings(p: Partition, g: Draft, fullCount: Dim): Node[] {
  const found = new Set<Node>();
  const seen = new Set<Node>();
  const reads = p.readsOf(p.storedBy(g), g);
  let front: Value[] = [...reads].filter((v) => equal(elements(v), fullCount));
  for (let depth = 0; depth < SIBLING_DEPTH && front.length > 0; depth++) {
    const next: Value[] = [];
    for (const v of front)
      for (const u of p.usersOf(v)) {
        if (seen.has(u) || p.region.has(u) || p.isDerived(u) !== g.derived) continue;
        // What is far behind waits for it, mostly, and that is dear to find out.
        if (p.distance(u, g.anchor) > FAR) continue;
        seen.add(u);
        if (u.op.fuses === "fold") found.add(u);
        else if ((u.op.fuses === "map" || isView(u)) && equal(elements(u.outs[0]), fullCount))
          next.push(...u.outs);
      }
    front = next;
  }
  return [...found].sort((a, b) => a.id - b.id).slice(0, NEAREST);
}
/** Reductions of other values that are in none, and meet what the region makes of its rows: a sum and the count it is divided by. */
function partners(p: Partition, g: Draft, rowCount: Dim): Node[] {
  const found = new Set<Node>();
  const seen = new Set<Node>(g.nodes);
  const ofRows = (n: Node): boolean =>
    !p.region.has(n) &&
    (n.op.fuses === "map" || isView(n)) &&
    p.isDerived(n) === g.derived &&
    equal(elements(n.outs[0]), rowCount);
  const above = (n: Node): void => {
    if (seen.has(n) || p.region.has(n) || p.distance(n, g.anchor) > FAR) return;
    seen.add(n);
    if (n.op.fuses === "fold") found.add(n);
    else if (ofRows(n)) for (const v of n.inputs) above(v.node);
  };
  let front = p.exitsOf(g).filter((v) => equal(elements(v), rowCount));
  for (let depth = 0; depth < SIBLING_DEPTH && front.length > 0; depth++) {
    const met = front.flatMap((v) => p.usersOf(v)).filter((u) => !seen.has(u) && ofRows(u));
    for (const u of met) {
      seen.add(u);
      for (const v of u.inputs) above(v.node);
    }
    front = met.flatMap((u) => u.outs);
  }
  return [...found].sort((a, b) => a.id - b.id).slice(0, NEAREST);
}
/**
 * Stores by itself what several of the region's reductions are made of, where the region's kernel can bind that and not what
 * it is made of in turn (a gradient behind a mask, which two sums of a norm read): it would be stored anyway, as what two
 * kernels read. True where it fits then.
 */
function storeBelow(p: Partition, g: Draft, fullCount: Dim, fits: () => boolean): boolean {
  const inlined = inlinedIn(p, g);
  const own = new Set([...g.nodes, ...inlined]);
  const v = inlined
    .reverse()
    .map((m) => m.outs[0])
    .find(
      (o) =>
        o.node.op.fuses === "map" &&
        equal(elements(o), fullCount) &&
        p.isDerived(o.node) === g.derived &&
        p.usersOf(o).filter((u) => own.has(u)).length > 1 &&
        p.costOf(o).loads > 2,
    );
  if (!v || !p.supposing(v, fits)) return false;
  p.store(v.node);
  return true;
}
/** What is inlined here and read elsewhere, too: somebody would store it. The last first. */
function shared(p: Partition, g: Draft, fullCount: Dim): Node[] {
  const inlined = inlinedIn(p, g);
  const own = new Set([...g.nodes, ...inlined]);
  return inlined
    .filter((m) => {
      if (m.op.fuses !== "map" || !equal(elements(m.outs[0]), fullCount) || p.isDerived(m) !== g.derived)
        return false;
      if (m.outs.every((v) => p.usersOf(v).every((u) => own.has(u)) && !p.isNamed(v))) return false;
      const cost = p.costOf(m.outs[0]);
      return cost.loads > 1 || cost.heavy > 0;
    })
    .reverse()
    .slice(0, NEAREST);
}

/** A fold that has no kernel yet is among what a node of this region's kernel is made of. */
function foldsOutside(p: Partition, start: Node, g: Draft): boolean {
  const seen = new Set<Node>([start]);
  const stack = [start];
  const loose = (m: Node): boolean => m.op.fuses !== "source" && (!p.region.has(m) || g.nodes.has(m));
  if (!loose(start)) return false;
  for (let n = stack.pop(); n; n = stack.pop()) {
    if (n.op.fuses === "fold" && !g.nodes.has(n)) return true;
    for (let i = 0; i < n.inputs.length; i++) {
      const m = n.inputs[i].node;
      if (seen.has(m) || !loose(m)) continue;
      seen.add(m);
      stack.push(m);
    }
  }
  return false;
}
/**
 * Which axes of each root number its row, where all are computed row by row, the rows of the anchor: every fold of a root hangs
 * on the same rows, counted in the same order; what has no fold is cut into rows as the folds read it. Undefined where they
 * are not.
 */
export function rowsOf(
  p: Partition,
  g: Draft,
  roots: readonly Value[] = g.roots,
): ReadonlyMap<Value, readonly number[]> | undefined {
  for (const r of roots) if (foldsOutside(p, r.node, g)) return undefined;
  // What else is computed outside has no say in it, so layers that are alike have one answer.
  const key = rowsKey(g, roots);
  let own = key === undefined ? undefined : p.rowsByShape.get(key);
  if (own === undefined) {
    own = rowsWithin(g, roots) ?? "none";
    if (key !== undefined) p.rowsByShape.set(key, own);
  }
  if (own === "none") return undefined;
  const out = new Map<Value, readonly number[]>();
  for (const [i, e] of roots.entries()) {
    const rows = own[i] ?? rowsAsRead(p, g, e);
    if (!rows) return undefined;
    out.set(e, rows);
  }
  return out;
}
/** What says how a region computes these: equal for regions of equal nodes that read each other alike. */
function rowsKey(g: Draft, roots: readonly Value[]): string | undefined {
  const inside = new Map<Node, number>();
  const outside = new Map<Value, number>();
  const parts: string[] = [];
  const read = (v: Value): string => {
    const at = inside.get(v.node);
    if (at !== undefined) return `${at}.${v.index}`;
    if (!outside.has(v)) outside.set(v, outside.size);
    return `o${outside.get(v)}`;
  };
  for (const n of [...g.nodes].sort((a, b) => a.id - b.id)) {
    const shape = shapeOf(n);
    if (shape === undefined) return undefined;
    parts.push(`${shape}<${n.inputs.map(read).join()}>`);
    inside.set(n, inside.size);
  }
  return roots.every((r) => inside.has(r.node))
    ? `${parts.join("|")} ${roots.map(read).join()} ${inside.get(g.anchor)}`
    : undefined;
}
/**
 * The rows of each root, as far as the region's own nodes tell; undefined for a root in which nothing is folded. Undefined
 * where they are not one kernel's.
 */
function rowsWithin(g: Draft, roots: readonly Value[]): (readonly number[] | undefined)[] | undefined {
  // What is computed outside is a load here, stored or inlined.
  const s = loweringFor((v) => !g.nodes.has(v.node));
  const rowCount = elements(g.anchor.outs[0]);
  const reductions = [...g.nodes].filter((n) => n.op.fuses === "fold");
  const out: (readonly number[] | undefined)[] = [];
  for (const e of roots) {
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
    if (folds.length === 0) {
      out.push(undefined);
      continue;
    }
    // The root's coordinates that its reductions see are its row, and each reduction is the region's own at that row.
    const free = new Set(folds.flatMap((f) => f.free));
    const rows = at.filter((a) => free.has(a));
    if (free.size !== rows.length) return undefined;
    if (!equal(product(rows.map((a) => a.extent)), rowCount)) return undefined;
    const row = rowMajor(
      s,
      rows.map((a) => s.axisValue(a)),
      rows.map((a) => a.extent),
    );
    const known = new Set(
      reductions.map((n) => foldOf(s.read(n.outs[0], decode(s, row, n.outs[0].type.shape)))),
    );
    if (folds.some((f) => !known.has(f))) return undefined;
    const whole = equal(elements(e), rowCount);
    out.push(at.flatMap((a, i) => ((whole ? !isConst(a.extent, 1) : free.has(a)) ? [i] : [])));
  }
  return out;
}
/** How the folds of a region read a value that is none of theirs: the axes that are the anchor's rows, in their order. */
function rowsAsRead(p: Partition, g: Draft, e: Value): readonly number[] | undefined {
  const anchor = g.anchor.outs[0];
  const s = loweringFor((v) => v === e || p.isStoredFor(v, g));
  const at = anchor.type.shape.map((d, i) => s.axis(`i${i}`, d));
  const { lower } = g.anchor.op;
  const fold =
    lower &&
    foldOf(
      lower(
        s,
        g.anchor,
        at.map((a) => s.axisValue(a)),
        0,
      ),
    );
  const load = fold && loadsOf(fold.body).find((l) => l.value === e);
  if (!load) return undefined;
  const rows: number[] = [];
  const axes = at.filter((a) => !isConst(a.extent, 1));
  for (const [i, c] of load.at.entries()) {
    if (isConst(e.type.shape[i], 1)) continue;
    if (c.kind !== "axis") return undefined;
    if (fold.axes.includes(c.axis)) continue;
    // Counted in the order of the anchor's rows.
    if (c.axis !== axes[rows.length]) return undefined;
    rows.push(i);
  }
  return rows.length === axes.length ? rows : undefined;
}
