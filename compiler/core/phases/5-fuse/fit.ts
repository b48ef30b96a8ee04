// Cuts kernels that read more than a device binds. In: groups whose inlined values are decided. Out: the same groups, with
// more of what was inlined stored, and what a region took in given back, until each kernel fits. Separate from the growing
// of regions, which looks at one region at a time: a value stored for one kernel is a binding of every other that reads it.
//
// It ends: each step stores one value more, or takes one out of a region, and where every operand of a kernel's single
// node is stored, the node fits (no node has more operands than that: 4-simplify/operands.ts).
import { InternalError } from "../../diagnostics/index.ts";
import { asConst, product, substitute } from "../../dims/dim.ts";
import type { Node, Value } from "../../ir/types.ts";
import type { Group } from "./groups.ts";

export interface Fitting {
  readonly nodes: readonly Node[];
  /** Buffers a kernel may bind. */
  readonly max: number;
  readonly groups: readonly Group[];
  readonly region: ReadonlyMap<Node, Group>;
  readonly home: ReadonlyMap<Value, Group>;
  /** Computed by its readers. */
  inlined(n: Node): boolean;
  /** Buffers of a group's kernel that reads these. */
  bindings(g: Group, reads: ReadonlySet<Value>): number;
  /** Gives an inlined node a kernel of its own. */
  store(n: Node): void;
  /** Takes the last value a group computes out of it, and what cannot stay without it, each into a kernel of its own. */
  shed(g: Group): readonly Node[];
}

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
  g: Group | undefined,
  home: ReadonlyMap<Value, Group>,
  stored?: Node,
): Cone {
  const first = new Set(starts);
  const inner = new Set<Node>();
  const reads = new Set<Value>();
  const stack = [...first];
  let total = 0;
  for (let n = stack.pop(); n; n = stack.pop()) {
    for (const v of n.inputs) {
      const m = v.node;
      const at = home.get(v);
      if (m.op.fuses === "source" || !m.op.lower || (at && at !== g) || m === stored) reads.add(v);
      else if (!inner.has(m) && !first.has(m)) {
        inner.add(m);
        total += weight(m);
        stack.push(m);
      }
    }
  }
  return { inner, weight: total, reads };
}

export function fitKernels(h: Fitting): void {
  /** The inlined value whose storing leaves the fewest bindings: of those the smallest, then the last computed. */
  const best = (starts: readonly Node[], g: Group | undefined, cone: Cone): Node | undefined => {
    let found: { n: Node; reads: number; size: number } | undefined;
    for (const n of cone.inner) {
      // What the group computes, or needs it, cannot be computed before it.
      if (g?.nodes.has(n) || (g && [...coneOf([n], g, h.home).inner].some((m) => g.nodes.has(m)))) continue;
      const reads = coneOf(starts, g, h.home, n).reads.size;
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
    h.store(n);
    changed = true;
  };
  /** Makes the kernel that computes n alone fit, or would make it fit, where n is inlined. */
  const fitNode = (n: Node): void => {
    const g = h.region.get(n);
    for (;;) {
      const cone = coneOf([n], g, h.home);
      const needs = g ? h.bindings(g, cone.reads) : cone.reads.size + n.outs.length;
      const large = cone.weight > LARGEST;
      if (needs <= h.max && !large) return;
      const next = (needs > h.max && !large ? best([n], g, cone) : undefined) ?? widest(n, g, cone);
      if (!next)
        throw new InternalError("fuse", `${n.op.name} has ${n.inputs.length} operands: ${needs} bindings`);
      store(next);
    }
  };
  /** The inlined operand that holds most of the expression. */
  const widest = (n: Node, g: Group | undefined, cone: Cone): Node | undefined => {
    let found: { n: Node; reads: number; inner: number } | undefined;
    for (const v of n.inputs) {
      if (!cone.inner.has(v.node)) continue;
      const own = coneOf([v.node], g, h.home);
      const [reads, inner] = [own.reads.size, own.inner.size];
      if (!found || inner > found.inner || (inner === found.inner && reads > found.reads))
        found = { n: v.node, reads, inner };
    }
    return found?.n;
  };
  const fitGroup = (g: Group): void => {
    while (g.nodes.size > 1) {
      const starts = g.roots.map((r) => r.node);
      const cone = coneOf(starts, g, h.home);
      if (h.bindings(g, cone.reads) <= h.max && cone.weight <= 2 * LARGEST) return;
      const next = best(starts, g, cone);
      if (next) {
        store(next);
        continue;
      }
      for (const n of h.shed(g)) if (h.region.has(n)) fitNode(n);
      changed = true;
    }
    fitNode(g.anchor);
  };
  do {
    changed = false;
    for (const n of h.nodes) {
      const g = h.region.get(n);
      if (g ? g.nodes.size === 1 && kernel(g) : h.inlined(n)) fitNode(n);
    }
    for (let i = 0; i < h.groups.length; i++)
      if (h.groups[i].nodes.size > 1 && kernel(h.groups[i])) fitGroup(h.groups[i]);
  } while (changed);
}

/** Loops and packs run no kernel of their own. */
const kernel = (g: Group): boolean => g.kind !== "control" && g.kind !== "pack";
const nominal = (n: Node): number =>
  asConst(substitute(product(n.outs[0].type.shape), () => NOMINAL)) ?? Number.POSITIVE_INFINITY;
