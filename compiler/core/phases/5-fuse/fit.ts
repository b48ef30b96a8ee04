// Cuts kernels that read more than a device binds. In: groups whose inlined values are decided. Out: the same groups, with
// more of what was inlined stored, and what a region took in given back, until each kernel fits. Separate from the growing
// of regions, which looks at one region at a time: a value stored for one kernel is a binding of every other that reads it.
//
// It ends: each step stores one value more, or takes one out of a region, and where every operand of a kernel's single
// node is stored, the node fits (no node has more operands than that: 4-simplify/operands.ts).
import { InternalError } from "../../diagnostics/index.ts";
import { asConst, product, substitute } from "../../dims/dim.ts";
import type { Node, Value } from "../../ir/types.ts";
import { isStoredFor } from "../../regions/region.ts";
import type { Readings } from "./inline.ts";
import { type Draft, isView, type Partition } from "./partition.ts";
import { rowsOf } from "./reductions.ts";

/** What is inlined into one kernel, at most: its text, its uniform words and its registers grow with it. */
export const LARGEST = 128;
/** A view's coordinates take words of the uniform block for each axis. */
const weight = (n: Node): number => (n.op.fuses === "view" ? Math.max(1, n.outs[0].type.shape.length) : 1);
/** What a symbol counts for when two values are compared by size. */
const NOMINAL = 32;

export interface Cone {
  /** What the kernel computes on the way, beside the nodes it starts from. */
  readonly inner: ReadonlySet<Node>;
  /** What that adds to its text. */
  readonly weight: number;
  /** What it reads from buffers. */
  readonly reads: ReadonlySet<Value>;
}
/** What a kernel of `g` computes and reads to get at `starts`; `stored` counts as if it were stored. */
export function coneOf(
  starts: Iterable<Node>,
  g: Draft | undefined,
  home: ReadonlyMap<Value, Draft>,
  stored?: Node,
): Cone {
  const first = new Set(starts);
  const inner = new Set<Node>();
  const reads = new Set<Value>();
  const stack = [...first];
  let total = 0;
  for (let n = stack.pop(); n; n = stack.pop()) {
    for (let i = 0; i < n.inputs.length; i++) {
      const v = n.inputs[i];
      const m = v.node;
      if (isStoredFor(home, g, v) || m === stored) reads.add(v);
      else if (!inner.has(m) && !first.has(m)) {
        inner.add(m);
        total += weight(m);
        stack.push(m);
      }
    }
  }
  return { inner, weight: total, reads };
}

export function fitKernels(p: Partition, readings: Readings): void {
  const max = p.options.maxBindings;
  /** The inlined value whose storing leaves the fewest bindings: of those the smallest, then the last computed. */
  const best = (starts: readonly Node[], g: Draft | undefined, cone: Cone): Node | undefined => {
    let found: { n: Node; reads: number; size: number } | undefined;
    for (const n of cone.inner) {
      // What the group computes, or needs it, cannot be computed before it.
      if (g?.nodes.has(n) || (g && [...coneOf([n], g, p.home).inner].some((m) => g.nodes.has(m)))) continue;
      const reads = coneOf(starts, g, p.home, n).reads.size;
      if (reads >= cone.reads.size) continue;
      const size = nominal(n);
      const better =
        !found ||
        reads - found.reads ||
        size - found.size ||
        Number(n.op.fuses === "view") - Number(found.n.op.fuses === "view") ||
        found.n.id - n.id;
      if (better === true || better < 0) found = { n, reads, size };
    }
    return found?.n;
  };
  let changed = false;
  const store = (n: Node): void => {
    readings.known.delete(n);
    p.store(n);
    changed = true;
  };
  /** Makes the kernel that computes n alone fit, or would make it fit, where n is inlined. */
  const fitNode = (n: Node): void => {
    const g = p.region.get(n);
    for (;;) {
      const cone = coneOf([n], g, p.home);
      const needs = g ? p.bindings(g, cone.reads) : cone.reads.size + n.outs.length;
      const large = cone.weight > LARGEST;
      if (needs <= max && !large) return;
      const next = (needs > max && !large ? best([n], g, cone) : undefined) ?? widest(n, g, cone);
      if (!next)
        throw new InternalError("fuse", `${n.op.name} has ${n.inputs.length} operands: ${needs} bindings`);
      store(next);
    }
  };
  /** The inlined operand that holds most of the expression. */
  const widest = (n: Node, g: Draft | undefined, cone: Cone): Node | undefined => {
    let found: { n: Node; reads: number; inner: number } | undefined;
    for (const v of n.inputs) {
      if (!cone.inner.has(v.node)) continue;
      const own = coneOf([v.node], g, p.home);
      const [reads, inner] = [own.reads.size, own.inner.size];
      if (!found || inner > found.inner || (inner === found.inner && reads > found.reads))
        found = { n: v.node, reads, inner };
    }
    return found?.n;
  };
  const fitRegion = (g: Draft): void => {
    while (g.nodes.size > 1) {
      const starts = g.roots.map((r) => r.node);
      const cone = coneOf(starts, g, p.home);
      if (p.bindings(g, cone.reads) <= max && cone.weight <= 2 * LARGEST) return;
      const next = best(starts, g, cone);
      if (next) {
        store(next);
        continue;
      }
      for (const n of shed(p, readings, g)) if (p.region.has(n)) fitNode(n);
      changed = true;
    }
    fitNode(g.anchor);
  };
  do {
    changed = false;
    for (const n of p.nodes) {
      const g = p.region.get(n);
      if (g ? g.nodes.size === 1 && kernel(g) : readings.known.has(n)) fitNode(n);
    }
    for (let i = 0; i < p.regions.length; i++)
      if (p.regions[i].nodes.size > 1 && kernel(p.regions[i])) fitRegion(p.regions[i]);
  } while (changed);
}

/** Loops and packs run no kernel of their own. */
const kernel = (g: Draft): boolean => g.kind !== "control" && g.kind !== "pack";
const nominal = (n: Node): number =>
  asConst(substitute(product(n.outs[0].type.shape), () => NOMINAL)) ?? Number.POSITIVE_INFINITY;
/** Takes the last value that a group computes out of it, into a kernel of its own, and what cannot stay without it. */
function shed(p: Partition, readings: Readings, g: Draft): readonly Node[] {
  const out: Node[] = [];
  // A sum of contractions is one kernel or as many as it has parts.
  const parts = [...g.nodes].filter((n) => p.anchors.has(n)).length;
  do {
    const last = [...g.nodes].filter((n) => n !== g.anchor).sort((a, b) => b.id - a.id)[0];
    if (!last) break;
    p.drop(g, last);
    for (const v of last.outs) p.home.delete(v);
    out.push(last);
    if (!isView(last)) p.store(last);
    else readings.known.set(last, readings.of(last.outs[0]));
    for (const r of g.roots) if (g.nodes.has(r.node)) p.home.delete(r);
    g.roots = p.storedBy(g);
    for (const r of g.roots) p.home.set(r, g);
  } while (g.nodes.size > 1 && (parts > 1 || (g.kind === "rows" && rowsOf(p, g) === undefined)));
  return out;
}
