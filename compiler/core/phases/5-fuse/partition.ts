// The regions of a graph while they are made: who is in which, what each would store and read, and what may still be joined.
// The steps of fusion (contractions, reductions, inline, fit, merge) change it; what comes out is `Region`s.
import { asConst, type Dim, equal, product, symbols } from "../../dims/dim.ts";
import { attrsHaveSymbols, usersOf } from "../../ir/build.ts";
import type { Graph, Node, Value } from "../../ir/types.ts";
import { factsOf } from "../../regions/facts.ts";
import { isStoredFor, type Region, type RegionKind } from "../../regions/region.ts";
import { UnitOrder } from "./unit-order.ts";

export interface FuseOptions {
  /** Storage bindings a kernel may have (8 by default in WebGPU). */
  readonly maxBindings: number;
  /** Whether values of parameters alone go to a prepare program (inference), or are part of the step (training). */
  readonly derive: boolean;
  /** Composites and algorithms a kernel family takes whole on this target. */
  readonly claims?: (node: Node) => boolean;
  /** What kernels of a claimed node bind beside its operands and results. */
  readonly room?: (node: Node) => number;
  /** Contractions that are better alone than summed with others in one kernel. */
  readonly alone?: (node: Node) => boolean;
  /** The graph runs many times a call, as a loop's body does: a dispatch less is worth a merge by itself. */
  readonly often?: boolean;
  /** State whose update cannot be stored over the old value: it needs a binding of its own. */
  readonly notInPlace?: ReadonlySet<string>;
}

/** A region that is being made. */
export interface Draft extends Region {
  readonly nodes: Set<Node>;
  roots: Value[];
  rows?: ReadonlyMap<Value, readonly number[]>;
}

/** A region, or a node that is in none. */
type Unit = Draft | Node;

/** Nodes a region takes in after its anchor. */
const LARGEST_REGION = 96;
/** Inlined values one behind the other, at most: an expression is built and printed by recursion. */
export const LONGEST_CHAIN = 64;
/** Nodes that are computed again where that saves a store and a load. */
const MOST_AGAIN = 12;
/** Inlined nodes after which a kernel's reads are no longer counted: such a chain is cut before it is a kernel. */
const MOST_INLINED = 1024;

export const isView = (n: Node): boolean => n.op.fuses === "view";
export const shapeKey = (v: Value): string => v.type.shape.map((d) => d.key).join();
/** By type: values share those, and are asked for the number again and again. */
const counts = new WeakMap<Value["type"], Dim>();
export function elements(v: Value): Dim {
  let n = counts.get(v.type);
  if (!n) {
    n = product(v.type.shape);
    counts.set(v.type, n);
  }
  return n;
}

const NOBODY: readonly Node[] = [];

export class Partition {
  readonly graph: Graph;
  readonly nodes: readonly Node[];
  readonly options: FuseOptions;
  readonly regions: Draft[] = [];
  /** The region a node is computed in. */
  readonly region = new Map<Node, Draft>();
  /** The region that stores a value. */
  readonly home = new Map<Value, Draft>();
  /** Sinks that are a stored value seen through order-keeping views. */
  readonly alias = new Map<Value, Value>();
  /** It is known what is stored: nothing is to be expected any more. */
  decided = false;
  /** Values that will be stored, whatever grows: what a contraction reads many times over, and is dear to compute. */
  private readonly firm = new Set<Value>();
  /** Values that an anchor reads, through views or not. */
  private readonly hot = new Set<Value>();
  /** Nodes that are kernels read many times over: contractions, and composites taken whole. */
  readonly anchors = new Set<Node>();
  readonly sinks: ReadonlySet<Value>;
  /** Values that are sinks, or that views show there. */
  readonly shownBySinks: ReadonlySet<Value>;
  private readonly users: ReadonlyMap<Value, readonly Node[]>;
  private readonly position: ReadonlyMap<Node, number>;
  private readonly order: UnitOrder<Unit>;
  /** Where a node stood before it was joined to a region. */
  private readonly stood = new Map<Node, number>();
  /** Values that are written to state, by path (through views that keep the order). */
  private readonly writtenTo = new Map<Value, string>();
  /** How regions of one shape are cut into rows (reductions.ts). */
  readonly rowsByShape = new Map<string, readonly (readonly number[] | undefined)[] | "none">();
  private readonly derivedNodes = new Set<Node>();
  private readonly fromParams = new Set<Node>();

  /** Whether a region's kernel could store these, as far as its kind says: rows are cut as its reductions read them. */
  private readonly isOneKernel: (g: Draft, roots: readonly Value[]) => boolean;

  constructor(
    graph: Graph,
    options: FuseOptions,
    isOneKernel: (p: Partition, g: Draft, roots: readonly Value[]) => boolean = () => true,
  ) {
    this.isOneKernel = (g, roots) => isOneKernel(this, g, roots);
    this.graph = graph;
    this.nodes = graph.nodes;
    this.options = options;
    this.users = usersOf(graph.nodes);
    this.position = new Map(graph.nodes.map((n, i) => [n, i]));
    this.order = new UnitOrder<Unit>(
      graph.nodes,
      (u, to) => {
        if (!("nodes" in u)) this.needed(u, to);
        else for (const n of u.nodes) this.needed(n, to);
      },
      (u, to) => {
        if (!("nodes" in u)) this.needing(u, to);
        else for (const n of u.nodes) this.needing(n, to);
      },
    );
    this.sinks = new Set([...graph.results.map((r) => r.value), ...graph.writes.map((w) => w.value)]);
    for (const w of graph.writes) {
      this.writtenTo.set(w.value, w.path);
      if (isView(w.value.node) && w.value.node.inputs.length === 1)
        this.writtenTo.set(w.value.node.inputs[0], w.path);
    }
    const shown = new Set(this.sinks);
    for (const n of [...graph.nodes].reverse())
      if (isView(n) && n.outs.some((v) => shown.has(v))) for (const v of n.inputs) shown.add(v);
    this.shownBySinks = shown;
    this.findDerived();
  }

  /** What depends on parameters alone. */
  private findDerived(): void {
    const written = new Set(this.graph.writes.map((w) => w.path));
    for (const n of this.nodes) {
      const leafOk =
        n.op.name === "param" ||
        n.op.name === "constant" ||
        (n.op.name === "state" && !written.has(String(n.attrs.path)));
      const constant =
        n.op.fuses === "map" &&
        n.inputs.length === 0 &&
        n.outs[0].type.shape.every((d) => symbols(d).size === 0);
      const ok =
        this.options.derive &&
        (n.op.fuses === "source"
          ? leafOk
          : n.inputs.length === 0
            ? constant
            : n.op.fuses !== "control" &&
              !n.op.unpacks &&
              n.inputs.every((v) => this.derivedNodes.has(v.node)));
      // A prepare program runs before any sizes are known.
      const fixed = ok && !attrsHaveSymbols(n.attrs);
      if (fixed && n.outs.every((v) => v.type.shape.every((d) => asConst(d) !== undefined)))
        this.derivedNodes.add(n);
      if (n.op.fuses === "source" ? leafOk : n.inputs.some((v) => this.fromParams.has(v.node)))
        this.fromParams.add(n);
    }
  }
  /** Depends on parameters and unwritten state alone: a prepare program computes it. */
  isDerived(n: Node): boolean {
    return this.derivedNodes.has(n);
  }
  /** Some parameter is among what it is made of. */
  isFromParams(n: Node): boolean {
    return this.fromParams.has(n);
  }
  usersOf(v: Value): readonly Node[] {
    return this.users.get(v) ?? NOBODY;
  }

  // --- members -------------------------------------------------------------------------------------------------------
  create(kind: RegionKind, anchor: Node): Draft {
    const g: Draft = {
      id: this.regions.length,
      kind,
      nodes: new Set([anchor]),
      roots: [],
      anchor,
      derived: this.isDerived(anchor),
    };
    this.regions.push(g);
    const at = this.order.label(anchor);
    this.stood.set(anchor, at);
    this.order.set(g, at);
    this.region.set(anchor, g);
    return g;
  }
  /** Makes a node part of a region. */
  join(g: Draft, n: Node): void {
    if (g.nodes.has(n)) return;
    const label = this.order.prepare(g, n);
    this.stood.set(n, this.order.label(n));
    this.order.set(g, label);
    g.nodes.add(n);
    this.region.set(n, g);
  }
  /** Makes all of a region, which may be one kernel with it, part of another; it is empty then. */
  absorb(g: Draft, other: Draft): void {
    for (const n of other.nodes) {
      g.nodes.add(n);
      this.region.set(n, g);
    }
    for (const r of other.roots) if (this.home.get(r) === other) this.home.delete(r);
    other.nodes.clear();
    other.roots = [];
  }
  /** The same while regions grow: others are asked whether they wait for it later on. */
  unite(g: Draft, other: Draft): void {
    this.order.set(g, this.order.prepare(g, other));
    this.absorb(g, other);
  }
  drop(g: Draft, n: Node): void {
    g.nodes.delete(n);
    if (this.region.get(n) !== g) return;
    this.region.delete(n);
    this.order.restore(n, this.stood.get(n) ?? -1);
  }
  /** True when both can be one kernel: neither waits for something that waits for the other. */
  joinable(a: Draft, b: Draft | Node): boolean {
    return this.order.joinable(a, b);
  }
  /** True when computing a node needs something of a region, other regions taken whole. */
  needs(n: Node, g: Draft): boolean {
    return this.order.needs(this.unitOf(n), g);
  }
  /** How many nodes of the graph lie between two. */
  distance(a: Node, b: Node): number {
    return Math.abs((this.position.get(a) as number) - (this.position.get(b) as number));
  }
  private needed({ inputs }: Node, to: Unit[]): void {
    for (let i = 0; i < inputs.length; i++) to.push(this.unitOf(inputs[i].node));
  }
  private needing({ outs }: Node, to: Unit[]): void {
    for (let i = 0; i < outs.length; i++) {
      const users = this.usersOf(outs[i]);
      for (let k = 0; k < users.length; k++) to.push(this.unitOf(users[k]));
    }
  }
  private unitOf(n: Node): Unit {
    return this.region.get(n) ?? n;
  }

  /**
   * Adds to the region, beginning with what reads `starts`, every later node that `accept`s, and whose other operands do not
   * wait for the region; ends where `full` says that no more would stay.
   */
  grow(
    g: Draft,
    starts: readonly Node[],
    accept: (n: Node) => boolean,
    full: (n: Node, foreign: readonly Node[]) => boolean = () => false,
  ): Node[] {
    const inside = new Set<Node>(starts);
    const added: Node[] = [];
    const queue = new PositionQueue();
    const reach = (n: Node): void => {
      for (const o of n.outs) for (const u of this.usersOf(o)) queue.add(this.position.get(u) as number);
    };
    for (const n of starts) reach(n);
    for (let i = queue.take(); i !== undefined && g.nodes.size <= LARGEST_REGION; i = queue.take()) {
      const n = this.nodes[i];
      if (this.region.has(n) || !(n.op.fuses === "map" || isView(n) || n.op.fuses === "fold")) continue;
      if (this.isDerived(n) !== g.derived || !accept(n) || this.storedElsewhere(n)) continue;
      const foreign = n.inputs.filter((v) => !inside.has(v.node)).map((v) => v.node);
      if (foreign.some((f) => this.needs(f, g))) continue;
      if (full(n, foreign)) break;
      inside.add(n);
      this.join(g, n);
      added.push(n);
      reach(n);
    }
    return added;
  }

  // --- what a region stores and reads ------------------------------------------------------------------------------------
  /** Values of the region that somebody outside reads, views looked through. */
  exitsOf(g: Draft): Value[] {
    const out = new Set<Value>();
    for (const n of g.nodes) {
      for (let i = 0; i < n.outs.length; i++) {
        const v = n.outs[i];
        const outside = this.sinks.has(v) || this.usersOf(v).some((u) => !g.nodes.has(u));
        if (!outside) continue;
        // A view is never stored: its base is.
        let base = v;
        while (isView(base.node) && g.nodes.has(base.node))
          base = base.node.inputs.find((x) => g.nodes.has(x.node)) ?? base.node.inputs[0];
        out.add(base);
      }
    }
    return [...out].sort((a, b) => a.node.id - b.node.id);
  }
  /** True where a region's kernel finds a value in a buffer, as far as that is known. */
  isStoredFor(v: Value, g: Draft | undefined): boolean {
    if (isStoredFor(this.home, g, v)) return true;
    if (this.decided || g?.nodes.has(v.node) || this.region.has(v.node)) return false;
    return this.firm.has(v);
  }
  /** What holds where a value is stored, whatever grows. */
  supposing<T>(v: Value, f: () => T): T {
    const had = this.firm.has(v);
    this.firm.add(v);
    const out = f();
    if (!had) this.firm.delete(v);
    return out;
  }
  /** Says which values anchors read, and which of these will be stored: computing them again for each read would cost. */
  findFirm(): void {
    for (const n of [...this.nodes].reverse())
      for (const v of n.outs)
        if (
          this.usersOf(v).some(
            (u) => this.anchors.has(u) || (isView(u) && u.outs.some((o) => this.hot.has(o))),
          )
        )
          this.hot.add(v);
    for (const n of this.nodes) {
      if (n.op.fuses !== "map" || !this.hot.has(n.outs[0]) || this.isDerived(n)) continue;
      const cost = this.costOf(n.outs[0]);
      if (cost.loads > 1 || cost.heavy > 1) this.firm.add(n.outs[0]);
    }
  }
  /** What computing v anew costs each reader: values to load, heavy functions to call. */
  costOf(v: Value): { readonly loads: number; readonly heavy: number } {
    const leaves = new Set<Value>();
    const inner = new Set<Node>([v.node]);
    let heavy = 0;
    for (const n of inner) {
      // More than a reader would want to know.
      if (inner.size > LONGEST_CHAIN) return { loads: inner.size, heavy };
      heavy += factsOf(n).heavy;
      for (let i = 0; i < n.inputs.length; i++) {
        const v = n.inputs[i];
        if (this.isStoredFor(v, undefined)) leaves.add(v);
        else inner.add(v.node);
      }
    }
    return { loads: leaves.size, heavy };
  }
  /**
   * Distinct values a kernel with these roots would read, given what is in its region; no more than `most` + 1 of them, for
   * who only wants to know whether they are too many.
   */
  readsOf(roots: readonly Value[], g: Draft | undefined, most = Number.POSITIVE_INFINITY): Set<Value> {
    const found = new Set<Value>();
    const seen = new Set<Node>(roots.map((r) => r.node));
    const stack = [...seen];
    let inlined = 0;
    for (let n = stack.pop(); n && found.size <= most && inlined <= MOST_INLINED; n = stack.pop()) {
      for (let i = 0; i < n.inputs.length; i++) {
        const v = n.inputs[i];
        const m = v.node;
        // What parameters alone decide is stored ahead, whatever it is made of.
        const ahead = !isView(m) && this.isDerived(m) && this.isFromParams(m) && !(g?.derived ?? true);
        if (ahead || this.isStoredFor(v, g)) found.add(v);
        else if (!seen.has(m)) {
          seen.add(m);
          if (!g?.nodes.has(m)) inlined++;
          stack.push(m);
        }
      }
    }
    return found;
  }
  bindingsOf(reads: ReadonlySet<Value>, roots: readonly Value[]): number {
    const all = new Set([...reads, ...roots]);
    // An update in place shares its source's binding.
    for (const r of roots) {
      const path = this.writtenTo.get(r);
      if (
        path !== undefined &&
        !this.options.notInPlace?.has(path) &&
        [...reads].some((v) => v.node.attrs.path === path && v.node.op.fuses === "source")
      )
        all.delete(r);
    }
    return all.size;
  }
  /** Buffers of a region's kernel that reads these and stores those. */
  bindings(g: Draft, reads: ReadonlySet<Value>, roots: readonly Value[] = g.roots): number {
    const room = g.kind === "claimed" ? (this.options.room?.(g.anchor) ?? 0) : 0;
    // Only pointwise kernels update in place (the planner's rule).
    return g.kind === "map" ? this.bindingsOf(reads, roots) : new Set([...reads, ...roots]).size + room;
  }
  fits(g: Draft, exits: readonly Value[] = this.storedBy(g)): boolean {
    const max = this.options.maxBindings;
    // In place or not, what is read is bound.
    const reads = this.readsOf(exits, g, max);
    return reads.size <= max && this.bindings(g, reads, exits) <= max;
  }
  /** Says of a growing region when whatever comes would be taken out again, since it binds too much by then. */
  overfull(g: Draft): (n: Node, foreign: readonly Node[]) => boolean {
    const read = new Set<Value>();
    return (n) => {
      for (const v of n.inputs) if (this.isStoredFor(v, g)) read.add(v);
      return read.size > this.options.maxBindings;
    };
  }
  /** Takes the youngest nodes out again until the kernel fits its bindings. */
  fitBindings(g: Draft, added: Node[]): void {
    while (added.length > 0 && !this.fits(g)) this.drop(g, added.pop() as Node);
  }
  /** Views at the edge compute nothing: they are left to their readers. */
  trimViews(g: Draft, added: Node[]): void {
    for (const m of [...added].reverse())
      if (isView(m) && m.outs.every((o) => this.usersOf(o).every((u) => !g.nodes.has(u)))) {
        this.drop(g, m);
        added.splice(added.indexOf(m), 1);
      }
  }
  /** Maps over the elements of `start`, also under another shape of the same order (a reshape between them). */
  sameElements(start: Node): (m: Node) => boolean {
    const shapes = new Set([shapeKey(start.outs[0])]);
    return (m) => {
      if (m.op.fuses === "map") return shapes.has(shapeKey(m.outs[0]));
      if (!isView(m) || !factsOf(m).keepsOrder) return false;
      shapes.add(shapeKey(m.outs[0]));
      return true;
    };
  }
  /**
   * What a region stores: its exits, but for those that are cheaper computed again by who reads them, from what is stored
   * anyway: an element-wise function of one value as large and of smaller ones (a relu's mask; what a batch norm centred and
   * scaled, of its operand, mean and deviation), or of two where one kernel reads it.
   */
  storedBy(g: Draft): Value[] {
    const exits = this.exitsOf(g);
    const kept = new Set(exits);
    /** Who reads a value in the course of computing others again. */
    const readers = new Map<Value, Set<Node>>();
    for (const e of [...exits].reverse()) {
      kept.delete(e);
      const own = new Set([...this.usersOf(e).filter((u) => !g.nodes.has(u)), ...(readers.get(e) ?? [])]);
      const again = e.node === g.anchor ? undefined : this.againFrom(e, g, kept, own.size);
      for (const v of again?.small ?? [e]) kept.add(v);
      for (const v of again?.large ?? []) readers.set(v, new Set([...(readers.get(v) ?? []), ...own]));
    }
    return [...kept].sort((a, b) => a.node.id - b.node.id);
  }
  /**
   * What else a region has to store, so that so many readers can compute `e` from what is `kept` and from stored values, and
   * what of that is as large as `e`; undefined where that is not cheap.
   */
  private againFrom(
    e: Value,
    g: Draft,
    kept: ReadonlySet<Value>,
    readers: number,
  ): { readonly small: ReadonlySet<Value>; readonly large: ReadonlySet<Value> } | undefined {
    if (e.node.op.fuses !== "map" || this.isShown(e)) return undefined;
    const size = elements(e);
    // One element of what the region reduces to is there for many of these.
    const row = g.kind === "rows" ? elements(g.anchor.outs[0]) : undefined;
    const inner = new Set<Node>([e.node]);
    const large = new Set<Value>();
    const leaves = new Set<Value>();
    const small = new Set<Value>();
    for (const n of inner) {
      if (inner.size > MOST_AGAIN || factsOf(n).heavy > 0) return undefined;
      // What is picked by an index, or from several.
      if (isView(n) && n.inputs.length > 1) return undefined;
      for (let i = 0; i < n.inputs.length; i++) {
        const v = n.inputs[i];
        const map = v.node.op.fuses === "map";
        if (kept.has(v) || this.isStoredFor(v, g)) {
          leaves.add(v);
          if (equal(elements(v), size)) large.add(v);
        } else if (map && !g.nodes.has(v.node) && !equal(elements(v), size)) {
          // Spread out over many elements: whoever makes it stores it.
          leaves.add(v);
        } else if (
          (map || v.node.op.fuses === "fold") &&
          row &&
          g.nodes.has(v.node) &&
          equal(elements(v), row) &&
          !equal(row, size)
        ) {
          leaves.add(v);
          small.add(v);
        } else if (map || isView(v.node)) inner.add(v.node);
        else return undefined;
      }
    }
    if (large.size > (readers === 1 ? 2 : 1)) return undefined;
    // A contraction reads it over and over.
    return leaves.size <= 1 || !this.hot.has(e) ? { small, large } : undefined;
  }
  /** Says what a grown region stores. */
  settle(g: Draft): void {
    g.roots = this.storedBy(g);
    // What none of that is made of is left to who wants it.
    const wanted = new Set<Node>(g.roots.map((r) => r.node));
    for (const n of wanted) for (const v of n.inputs) if (g.nodes.has(v.node)) wanted.add(v.node);
    for (const n of [...g.nodes].sort((a, b) => b.id - a.id)) if (!wanted.has(n)) this.drop(g, n);
    for (const r of g.roots) this.home.set(r, g);
  }

  // --- what has to be stored ----------------------------------------------------------------------------------------------
  /** Loops and packs read what is stored. */
  mustStore(u: Node): boolean {
    const kind = this.region.get(u)?.kind;
    return kind === "control" || kind === "pack";
  }
  /** A sink, a pack or a loop names the value. */
  isNamed(v: Value): boolean {
    return this.sinks.has(v) || this.usersOf(v).some((u) => this.mustStore(u));
  }
  /** The same of it or of what views show of it. */
  private isShown(v: Value): boolean {
    return this.isNamed(v) || this.usersOf(v).some((u) => isView(u) && u.outs.some((o) => this.isShown(o)));
  }
  /** A view that a pack or sink names, lying otherwise than what it shows: a kernel of its own stores it. */
  storedElsewhere(n: Node): boolean {
    const [v] = n.outs;
    return isView(n) && this.isNamed(v) && this.orderKeepingBase(v) === undefined;
  }
  /** The value v shows element by element in the same row-major order, through views only. */
  orderKeepingBase(v: Value): Value | undefined {
    let base = v;
    while (isView(base.node) && base.node.inputs.length === 1 && !this.home.has(base)) {
      if (!factsOf(base.node).keepsOrder) return undefined;
      base = base.node.inputs[0];
    }
    return base === v ? undefined : base;
  }
  /** The region that stores a value, or what it shows: a loop's operand may be a view of what is stored. */
  homeOf(v: Value): Draft | undefined {
    return this.home.get(v) ?? this.home.get(this.baseOf(v));
  }
  /** What a value shows, through views of one operand. */
  baseOf(v: Value): Value {
    let base = v;
    while (isView(base.node) && base.node.inputs.length === 1) base = base.node.inputs[0];
    return base;
  }
  /** A region that would read a node's value is one that the region of the node waits for. */
  private waitsForReader(within: Draft, n: Node): boolean {
    const seen = new Set<Node>();
    const stack = [n];
    for (let m = stack.pop(); m; m = stack.pop())
      for (const v of m.outs)
        for (const u of this.usersOf(v)) {
          if (seen.has(u) || within.nodes.has(u)) continue;
          seen.add(u);
          const g = this.region.get(u);
          if (g && this.order.needs(within, g)) return true;
          if (!u.outs.some((o) => this.home.has(o))) stack.push(u);
        }
    return false;
  }
  /** Stores a node's value: where its region can, there; else by a kernel of its own. */
  store(n: Node): Draft {
    const within = this.region.get(n);
    if (within) {
      const roots = [...within.roots, n.outs[0]].sort((a, b) => a.node.id - b.node.id);
      const reads = this.readsOf(roots, within, this.options.maxBindings);
      if (
        this.bindings(within, reads, roots) <= this.options.maxBindings &&
        this.isOneKernel(within, roots) &&
        !this.waitsForReader(within, n)
      ) {
        within.roots = roots;
        this.home.set(n.outs[0], within);
        return within;
      }
      // Where it does not fit, a kernel of its own stores it, and the region goes on computing it for itself.
    }
    const fold = n.op.fuses === "fold";
    const kind =
      fold && this.anchors.has(n) ? "contraction" : fold && factsOf(n).rowReduction ? "rows" : "map";
    const g = this.create(kind, n);
    g.roots = [n.outs[0]];
    this.home.set(n.outs[0], g);
    return g;
  }
}

/** Positions of nodes, each taken once, the first first. */
class PositionQueue {
  private readonly heap: number[] = [];
  private readonly known = new Set<number>();
  add(x: number): void {
    if (this.known.has(x)) return;
    this.known.add(x);
    const h = this.heap;
    let i = h.push(x) - 1;
    for (let up = (i - 1) >> 1; i > 0 && h[up] > x; up = (i - 1) >> 1) {
      h[i] = h[up];
      i = up;
    }
    h[i] = x;
  }
  take(): number | undefined {
    const h = this.heap;
    const first = h[0];
    const last = h.pop();
    if (last === undefined || h.length === 0) return first;
    let i = 0;
    for (let down = 1; down < h.length; down = 2 * i + 1) {
      if (down + 1 < h.length && h[down + 1] < h[down]) down++;
      if (h[down] >= last) break;
      h[i] = h[down];
      i = down;
    }
    h[i] = last;
    return first;
  }
}
