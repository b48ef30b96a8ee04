// What is one kernel. In: a graph of primitives. Out: groups in execution order, each with the values it stores; every
// other value is inlined where it is read. Decided by growing regions from anchors (contractions, then reductions), then
// by who reads what. No operator is named here: roles come from `fuses` and from the shape of the lowered expression.

import { InternalError } from "../../diagnostics/index.ts";
import { asConst, equal, isConst, product, substitute, symbols } from "../../dims/dim.ts";
import { attrsHaveSymbols, usersOf } from "../../ir/build.ts";
import { type Graph, GraphLimit, type Node, type Value } from "../../ir/types.ts";
import { createLowering, foldOf, indexForm, type ScalarContext } from "../../kernel/lowering.ts";
import type { Axis, Scalar, ScalarOf } from "../../kernel/scalar.ts";
import { children } from "../../kernel/scalar.ts";
import { applySplits, contractionOf, splitsOf } from "./contraction.ts";
import { coneOf, fitKernels, LARGEST } from "./fit.ts";

export type GroupKind = "map" | "rows" | "contraction" | "pack" | "control" | "claimed";

export interface Group {
  readonly id: number;
  readonly kind: GroupKind;
  /** The nodes computed here and nowhere else (inlined nodes may appear in several kernels and are not listed). */
  readonly nodes: Set<Node>;
  /** Values this group stores. */
  roots: Value[];
  readonly anchor: Node;
  /** Depends on parameters and unwritten state only: belongs to `prepare`. */
  readonly derived: boolean;
}

export interface Fused {
  readonly graph: Graph;
  readonly groups: readonly Group[];
  /** The group that stores each materialised value. */
  readonly home: ReadonlyMap<Value, Group>;
  /** Sinks that are a materialised value seen through order-keeping views. */
  readonly alias: ReadonlyMap<Value, Value>;
}

export interface FuseOptions {
  /** Storage bindings a kernel may have (8 by default in WebGPU). */
  readonly maxBindings: number;
  /** Whether values of parameters alone go to a prepare program (inference), or are part of the step (training). */
  readonly derive: boolean;
  /** Composite nodes a kernel family takes whole on this target. */
  readonly claims?: (node: Node) => boolean;
  /** State whose update cannot be stored over the old value: it needs a binding of its own. */
  readonly notInPlace?: ReadonlySet<string>;
  /** What a program may still spend, in looks at nodes; all its entries and loops draw on it. */
  readonly budget?: FuseBudget;
}
export interface FuseBudget {
  left: number;
}
/**
 * Looks at nodes that fusing a program of one target may take. Which values wait for which is asked of what is grown so far,
 * so a graph in which everything is read far behind takes more than its size; this is some fifteen seconds of a slow core, a
 * hundred times what ResNet-18 with its training step takes.
 */
export const MOST_LOOKS = 80_000_000;

const HEAVY = new Set([
  "exp",
  "exp2",
  "log",
  "log2",
  "tanh",
  "erf",
  "pow",
  "sin",
  "cos",
  "tan",
  "sqrt",
  "rsqrt",
  "log1p",
  "expm1",
  "threefry_a",
  "threefry_b",
]);

/** A lowering that inlines exactly the values `stored` does not name. */
export function loweringFor(stored: (v: Value) => boolean): ScalarContext {
  const memo = new Map<string, Scalar>();
  const s: ScalarContext = createLowering((value, at) => {
    const op = value.node.op;
    if (op.fuses === "source" || !op.lower || stored(value)) return undefined;
    const key = `${value.node.id}.${value.index}(${at.map((a) => a.id)})`;
    let out = memo.get(key);
    if (!out) {
      out = op.lower(s, value.node, at, value.index);
      memo.set(key, out);
    }
    return out;
  });
  return s;
}
/** One element of `value` (itself inlined) over fresh axes. */
export function lowerValue(s: ScalarContext, value: Value): { at: Axis[]; x: Scalar } {
  const at = value.type.shape.map((d, i) => s.axis(`i${i}`, d));
  const lower = value.node.op.lower;
  if (!lower) throw new InternalError("fuse", `${value.node.op.name} has no lowering`);
  return {
    at,
    x: lower(
      s,
      value.node,
      at.map((a) => s.axisValue(a)),
      value.index,
    ),
  };
}

/** Inlined values one behind the other, at most: an expression is built and printed by recursion. */
const LONGEST_CHAIN = 64;
/** Different places at which one kernel computes an inlined value: what reads shifted copies of itself doubles them. */
const MOST_PLACES = 16;
/** Operands of a view that a kernel picks from in its innermost loop. */
const MOST_PICKED = 3;
/** Nodes a region takes in after its anchor. */
const LARGEST_REGION = 96;
/** Asked of each node once: what it says depends on the node alone. */
function remembered(ask: (n: Node) => boolean): (n: Node) => boolean {
  const known = new Map<Node, boolean>();
  return (n) => {
    let answer = known.get(n);
    if (answer === undefined) {
      answer = ask(n);
      known.set(n, answer);
    }
    return answer;
  };
}
const isViewNode = (n: Node): boolean => n.op.fuses === "view";
const shapeKey = (v: Value): string => v.type.shape.map((d) => d.key).join();
const elements = (v: Value) => product(v.type.shape);

export function fuse(graph: Graph, options: FuseOptions): Fused {
  const nodes = graph.nodes;
  const budget = options.budget ?? { left: MOST_LOOKS };
  const look = (): void => {
    if (budget.left-- <= 0) throw new GraphLimit(MOST_LOOKS, "tangled");
  };
  const users = usersOf(nodes);
  const position = new Map(nodes.map((n, i) => [n, i]));
  const written = new Set(graph.writes.map((w) => w.path));
  const sinks = new Set<Value>([...graph.results.map((r) => r.value), ...graph.writes.map((w) => w.value)]);
  const groups: Group[] = [];
  const region = new Map<Node, Group>();
  const home = new Map<Value, Group>();
  const alias = new Map<Value, Value>();
  /** Values that are written to state, by path (through views that keep the order). */
  const writtenTo = new Map<Value, string>();
  for (const w of graph.writes) {
    writtenTo.set(w.value, w.path);
    if (isViewNode(w.value.node) && w.value.node.inputs.length === 1)
      writtenTo.set(w.value.node.inputs[0], w.path);
  }

  // --- what depends on parameters alone -------------------------------------------------------------------------
  const derivedNode = new Map<Node, boolean>();
  const fromParams = new Map<Node, boolean>();
  for (const n of nodes) {
    const leafOk =
      n.op.name === "param" ||
      n.op.name === "constant" ||
      (n.op.name === "state" && !written.has(String(n.attrs.path)));
    const constant =
      n.op.fuses === "map" &&
      n.inputs.length === 0 &&
      n.outs[0].type.shape.every((d) => symbols(d).size === 0);
    const ok =
      options.derive &&
      (n.op.fuses === "source"
        ? leafOk
        : n.inputs.length === 0
          ? constant
          : n.op.fuses !== "control" && n.inputs.every((v) => derivedNode.get(v.node)));
    // A prepare program runs before any sizes are known.
    const fixed = !attrsHaveSymbols(n.attrs);
    derivedNode.set(
      n,
      ok && fixed && n.outs.every((v) => v.type.shape.every((d) => asConst(d) !== undefined)),
    );
    fromParams.set(n, n.op.fuses === "source" ? leafOk : n.inputs.some((v) => fromParams.get(v.node)));
  }
  const isDerived = (n: Node): boolean => derivedNode.get(n) === true;

  const newGroup = (kind: GroupKind, anchor: Node, derived = isDerived(anchor)): Group => {
    const g: Group = { id: groups.length, kind, nodes: new Set([anchor]), roots: [], anchor, derived };
    groups.push(g);
    join(g, anchor);
    return g;
  };
  // For each node, the earliest start of a group that reaches over it: a group is computed at once, so that who needs one
  // of its first nodes waits for its last.
  const reachesBack = new Int32Array(nodes.length).map((_, i) => i);
  const extents = new Map<Group, { from: number; to: number }>();
  /** Makes a node part of a group. */
  function join(g: Group, n: Node): void {
    g.nodes.add(n);
    region.set(n, g);
    const at = position.get(n) as number;
    const e = extents.get(g) ?? { from: at, to: at };
    extents.set(g, e);
    const [from, to] = [Math.min(e.from, at), Math.max(e.to, at)];
    for (let i = from < e.from ? from : e.to; i <= to; i++) reachesBack[i] = Math.min(reachesBack[i], from);
    e.from = from;
    e.to = to;
  }
  const nodeUsers = (v: Value): readonly Node[] => users.get(v) ?? [];
  const isView = (n: Node): boolean => n.op.fuses === "view";
  /** Values that are sinks, or that views show there. */
  const shownBySinks = new Set<Value>(sinks);
  for (const n of [...nodes].reverse())
    if (isView(n) && n.outs.some((v) => shownBySinks.has(v))) for (const v of n.inputs) shownBySinks.add(v);

  // --- shapes of anchors ----------------------------------------------------------------------------------------
  const isolated = (n: Node): { s: ScalarContext; at: Axis[]; x: Scalar } => {
    const s = createLowering(() => undefined);
    return { s, ...lowerValue(s, n.outs[0]) };
  };
  const isContraction = remembered((n: Node): boolean => {
    const x = foldOf(isolated(n).x);
    return x !== undefined && (contractionOf(x) !== undefined || splitsOf(x).length > 0);
  });
  /** A window that tiles its operand: fold over small literal axes, coordinate = out * extent + window axis. */
  const tilesOperand = (n: Node): Value | undefined => {
    if (n.op.fuses !== "fold") return undefined;
    const { s, x } = isolated(n);
    if (x.kind !== "fold" || x.body.kind !== "load") return undefined;
    let windowSize = 1;
    for (const axis of x.axes) {
      const e = asConst(resolveOpaque(s, axis.extent));
      if (e === undefined) return undefined;
      windowSize *= e;
    }
    if (windowSize > 16) return undefined;
    const seen = new Set<Axis>();
    for (const c of x.body.at) {
      const f = indexForm(c);
      const win = f.terms.filter((t) => t.atom.kind === "axis" && x.axes.includes(t.atom.axis));
      if (win.length === 0) continue;
      const outer = f.terms.filter((t) => !win.includes(t));
      if (win.length !== 1 || outer.length > 1 || !isConst(resolveOpaque(s, f.offset), 0)) return undefined;
      const w = (win[0].atom as ScalarOf<"axis">).axis;
      if (seen.has(w) || !isConst(resolveOpaque(s, win[0].coef), 1)) return undefined;
      seen.add(w);
      if (
        outer.length === 1 &&
        (outer[0].atom.kind !== "axis" || !equal(resolveOpaque(s, outer[0].coef), resolveOpaque(s, w.extent)))
      )
        return undefined;
    }
    return seen.size === x.axes.length ? x.body.value : undefined;
  };
  /** A reduction whose operand coordinates are out axes or fold axes, never both: a row reduction. */
  const isRowReduction = remembered((n: Node): boolean => {
    const x = foldOf(isolated(n).x);
    if (!x) return false;
    let ok = true;
    const visit = (y: Scalar): void => {
      if (
        y.kind === "index" &&
        y.free.some((a) => x.axes.includes(a)) &&
        y.free.some((a) => !x.axes.includes(a))
      )
        ok = false;
      if (y.kind === "fold") ok = false;
      if (ok) for (const c of children(y)) visit(c);
    };
    visit(x.body);
    return ok;
  });
  /** A view that shows all elements of its operand in the same row-major order. */
  const keepsOrder = remembered((n: Node): boolean => {
    if (n.inputs.length !== 1 || !equal(elements(n.inputs[0]), elements(n.outs[0]))) return false;
    const { s, at, x } = isolated(n);
    if (x.kind !== "load" || x.value !== n.inputs[0]) return false;
    return (
      rowMajor(s, x.at, x.value.type.shape) ===
      rowMajor(
        s,
        at.map((a) => s.axisValue(a)),
        n.outs[0].type.shape,
      )
    );
  });

  // --- growing a region -------------------------------------------------------------------------------------------
  /** True when computing `from` needs something of `target`, groups taken whole. */
  const needs = (from: Node, target: ReadonlySet<Node>): boolean => {
    let lowest = Number.POSITIVE_INFINITY;
    for (const t of target) lowest = Math.min(lowest, position.get(t) as number);
    while (reachesBack[lowest] < lowest) lowest = reachesBack[lowest];
    const seen = new Set<Node>();
    const stack: Node[] = [from];
    while (stack.length > 0) {
      const n = stack.pop() as Node;
      look();
      if (target.has(n)) return true;
      if (seen.has(n) || (position.get(n) as number) < lowest) continue;
      seen.add(n);
      const g = region.get(n);
      if (g) for (const m of g.nodes) if (!seen.has(m)) stack.push(m);
      for (const v of n.inputs) stack.push(v.node);
    }
    return false;
  };
  /** Adds to the group every later node `accept`s whose other operands do not wait for the group. */
  const grow = (g: Group, start: Node, accept: (n: Node) => boolean): Node[] => {
    const inside = new Set<Node>([start]);
    const tainted = new Set<Node>();
    const added: Node[] = [];
    let last = position.get(start) as number;
    const reach = (n: Node): void => {
      for (const o of n.outs) for (const u of nodeUsers(o)) last = Math.max(last, position.get(u) as number);
    };
    reach(start);
    for (let i = (position.get(start) as number) + 1; i <= last && i < nodes.length; i++) {
      const n = nodes[i];
      const touches = n.inputs.some((v) => inside.has(v.node));
      if (!touches && !n.inputs.some((v) => tainted.has(v.node))) continue;
      const foreign = n.inputs.filter((v) => !inside.has(v.node)).map((v) => v.node);
      const ok =
        touches &&
        added.length < LARGEST_REGION &&
        !region.has(n) &&
        (n.op.fuses === "map" || n.op.fuses === "view" || n.op.fuses === "fold") &&
        isDerived(n) === g.derived &&
        accept(n) &&
        !storedElsewhere(n) &&
        !foreign.some((f) => tainted.has(f) || needs(f, g.nodes));
      if (ok) {
        inside.add(n);
        join(g, n);
        added.push(n);
        reach(n);
      } else {
        tainted.add(n);
      }
    }
    return added;
  };
  const drop = (g: Group, n: Node): void => {
    g.nodes.delete(n);
    region.delete(n);
  };
  /** Values of the region that somebody outside reads, views looked through. */
  const exitsOf = (g: Group): Value[] => {
    const out = new Set<Value>();
    for (const n of g.nodes) {
      for (const v of n.outs) {
        const outside = sinks.has(v) || nodeUsers(v).some((u) => !g.nodes.has(u));
        if (!outside) continue;
        // A view is never stored: its base is.
        let base = v;
        while (isView(base.node) && g.nodes.has(base.node))
          base = base.node.inputs.find((x) => g.nodes.has(x.node)) ?? base.node.inputs[0];
        out.add(base);
      }
    }
    return [...out].sort((a, b) => a.node.id - b.node.id);
  };
  /** Distinct values a kernel with these roots would read, given what is in its region. */
  const readsOf = (roots: readonly Value[], g: Group | undefined): Set<Value> => {
    const found = new Set<Value>();
    const seen = new Set<Node>(roots.map((r) => r.node));
    const stack = [...seen];
    for (let n = stack.pop(); n; n = stack.pop()) {
      look();
      for (const v of n.inputs) {
        const m = v.node;
        const elsewhere = region.get(m);
        const stored =
          m.op.fuses === "source" ||
          !m.op.lower ||
          home.has(v) ||
          (elsewhere !== undefined && elsewhere !== g);
        // What parameters alone decide is stored ahead, whatever it is made of.
        const ahead = !isView(m) && isDerived(m) && fromParams.get(m) && !(g?.derived ?? true);
        if ((stored && !g?.nodes.has(m)) || ahead) found.add(v);
        else if (!seen.has(m)) {
          seen.add(m);
          stack.push(m);
        }
      }
    }
    return found;
  };
  const bindingsOf = (reads: ReadonlySet<Value>, roots: readonly Value[]): number => {
    const all = new Set([...reads, ...roots]);
    // An update in place shares its source's binding.
    for (const r of roots) {
      const path = writtenTo.get(r);
      if (
        path !== undefined &&
        !options.notInPlace?.has(path) &&
        [...reads].some((v) => v.node.attrs.path === path && v.node.op.fuses === "source")
      )
        all.delete(r);
    }
    return all.size;
  };
  const bindings = (g: Group): number => {
    const exits = exitsOf(g);
    const reads = readsOf(exits, g);
    // Only pointwise kernels update in place (the planner's rule).
    return g.kind === "map" ? bindingsOf(reads, exits) : new Set([...reads, ...exits]).size;
  };
  /** Takes the youngest nodes out again until the kernel fits its bindings. */
  const fitBindings = (g: Group, added: Node[]): void => {
    while (added.length > 0 && bindings(g) > options.maxBindings) drop(g, added.pop() as Node);
  };
  /** Maps over the elements of `start`, also under another shape of the same order (a reshape between them). */
  const sameElements = (start: Node): ((m: Node) => boolean) => {
    const shapes = new Set([shapeKey(start.outs[0])]);
    return (m) => {
      if (m.op.fuses === "map") return shapes.has(shapeKey(m.outs[0]));
      if (!isView(m) || !keepsOrder(m)) return false;
      shapes.add(shapeKey(m.outs[0]));
      return true;
    };
  };
  /** Views at the edge compute nothing: they are left to their readers. */
  const trimViews = (g: Group, added: Node[]): void => {
    for (const m of [...added].reverse())
      if (isView(m) && m.outs.every((o) => nodeUsers(o).every((u) => !g.nodes.has(u)))) {
        drop(g, m);
        added.splice(added.indexOf(m), 1);
      }
  };
  /** An element-wise function of what is stored anyway (a relu's mask) is cheaper computed again than stored. */
  const dropCheapExits = (g: Group): void => {
    for (let again = true; again; ) {
      again = false;
      const exits = exitsOf(g);
      const stored = new Set(exits.map((e) => e.node));
      for (const e of [...exits].reverse()) {
        const n = e.node;
        if (n === g.anchor || n.op.fuses !== "map" || sinks.has(e)) continue;
        if (nodeUsers(e).some((u) => g.nodes.has(u))) continue;
        const operands = n.inputs.filter((v) => g.nodes.has(v.node));
        const others = n.inputs.filter((v) => !g.nodes.has(v.node));
        const free = others.every((v) => readsOf([v], undefined).size === 0 && v.node.op.fuses !== "source");
        if (operands.length !== 1 || operands[0].node === n || !stored.has(operands[0].node) || !free)
          continue;
        drop(g, n);
        again = true;
        break;
      }
    }
  };
  const settle = (g: Group): void => {
    dropCheapExits(g);
    g.roots = exitsOf(g);
    for (const r of g.roots) home.set(r, g);
  };

  // --- 0. what is a kernel (or a storage trick) by itself ---------------------------------------------------------
  const anchors = new Set<Node>();
  for (const n of nodes) {
    const claimed = n.op.fuses === "composite" && options.claims?.(n);
    if (n.op.fuses === "control" || n.op.fuses === "pack" || claimed) {
      const g = newGroup(n.op.fuses === "composite" ? "claimed" : (n.op.fuses as "control" | "pack"), n);
      // A claimed operator reads its operands many times, as a contraction does.
      if (g.kind === "claimed") anchors.add(n);
      g.roots = [...n.outs];
      for (const r of g.roots) home.set(r, g);
    } else if (n.op.fuses === "composite") throw new InternalError("fuse", `${n.op.name} was not expanded`);
  }
  // --- 1. contractions take their epilogue, a tiling window and what follows it ------------------------------------
  for (const n of nodes) if (n.op.fuses === "fold" && isContraction(n)) anchors.add(n);
  for (const n of nodes) {
    if (!anchors.has(n) || region.has(n)) continue;
    const g = newGroup("contraction", n);
    const added = grow(g, n, sameElements(n));
    trimViews(g, added);
    fitBindings(g, added);
    const exits = exitsOf(g);
    if (exits.length === 1 && !sinks.has(exits[0])) {
      const next = nodeUsers(exits[0]);
      const window =
        next.length === 1 &&
        !region.has(next[0]) &&
        tilesOperand(next[0]) === exits[0] &&
        windowsOneFactor(n, exits[0], next[0])
          ? next[0]
          : undefined;
      if (window) {
        join(g, window);
        const after = grow(g, window, sameElements(window));
        trimViews(g, after);
        fitBindings(g, after);
      }
    }
    settle(g);
  }
  // --- 1b. a sum of two contractions over the same rows and columns is one, with two segments of k ------------------------
  for (const g of groups) {
    if (g.kind !== "contraction" || g.nodes.size < 2) continue;
    for (const n of [...g.nodes]) {
      if (!isSum(n)) continue;
      const foreign = n.inputs.find((v) => !g.nodes.has(v.node));
      const other = foreign && region.get(foreign.node);
      if (!foreign || !other || other.kind !== "contraction" || other === g || other.derived !== g.derived)
        continue;
      if (
        other.roots.length !== 1 ||
        other.roots[0] !== foreign ||
        sinks.has(foreign) ||
        nodeUsers(foreign).length !== 1
      )
        continue;
      const mine = n.inputs.find((v) => g.nodes.has(v.node)) as Value;
      if (!sumsUpTo(foreign, other) || !sumsUpTo(mine, g) || !sameRowsAndColumns(g.anchor, other.anchor))
        continue;
      const before = new Set(g.nodes);
      for (const m of other.nodes) join(g, m);
      home.delete(foreign);
      if (bindings(g) > options.maxBindings) {
        for (const m of other.nodes)
          if (!before.has(m)) {
            g.nodes.delete(m);
            region.set(m, other);
          }
        home.set(foreign, other);
        continue;
      }
      other.nodes.clear();
      other.roots = [];
      settle(g);
      break;
    }
  }
  /** The axes a window runs over are all rows of the contraction, or all columns: never both, never batch. */
  function windowsOneFactor(anchor: Node, stored: Value, window: Node): boolean {
    if (shapeKey(anchor.outs[0]) !== shapeKey(stored)) return false;
    const { s, at, x: whole } = isolated(anchor);
    const x = foldOf(whole);
    if (!x) return false;
    const split = applySplits(s, x, contractionOf(x) ? [] : splitsOf(x));
    const c = contractionOf(split.x);
    const w = isolated(window).x;
    if (!c || w.kind !== "fold" || w.body.kind !== "load") return false;
    const over = w.body.at.flatMap((q, i) => (q.free.some((a) => w.axes.includes(a)) ? [at[i]] : []));
    return over.every((a) => c.rows.includes(a)) || over.every((a) => c.cols.includes(a));
  }
  function isSum(n: Node): boolean {
    if (n.op.fuses !== "map" || n.inputs.length !== 2) return false;
    const { x } = isolated(n);
    return x.kind === "call" && x.fn === "add";
  }
  /** From the group's anchor to `v` there are only additions (biases). */
  function sumsUpTo(v: Value, g: Group): boolean {
    let at = v.node;
    while (at !== g.anchor) {
      if (!g.nodes.has(at)) return false;
      const inside = at.inputs.filter((x) => g.nodes.has(x.node));
      if (inside.length !== 1 || !(isSum(at) || (isView(at) && keepsOrder(at)))) return false;
      at = inside[0].node;
    }
    return true;
  }
  function sameRowsAndColumns(a: Node, b: Node): boolean {
    if (shapeKey(a.outs[0]) !== shapeKey(b.outs[0])) return false;
    const classes = (n: Node): string | undefined => {
      const { at, x: whole } = isolated(n);
      const x = foldOf(whole);
      const c = x && contractionOf(x);
      const list = (axes: readonly Axis[]): string =>
        at
          .map((q, i) => (axes.includes(q) ? i : -1))
          .filter((i) => i >= 0)
          .join();
      return c && `${list(c.rows)}|${list(c.cols)}|${list(c.batch)}`;
    };
    const mine = classes(a);
    return mine !== undefined && mine === classes(b);
  }
  // --- 2. reductions over rows take what reads them back over the same rows -----------------------------------------
  for (const n of nodes) {
    if (n.op.fuses !== "fold" || region.has(n)) continue;
    if (!isRowReduction(n)) {
      const g = newGroup("map", n);
      const added = grow(g, n, sameElements(n));
      trimViews(g, added);
      fitBindings(g, added);
      settle(g);
      continue;
    }
    const g = newGroup("rows", n);
    const rowCount = elements(n.outs[0]);
    const fullCount = elements(n.inputs[0]);
    const added = grow(g, n, (m) => {
      const size = elements(m.outs[0]);
      if (m.op.fuses === "map" || m.op.fuses === "view")
        return equal(size, rowCount) || equal(size, fullCount);
      return (
        !anchors.has(m) &&
        equal(size, rowCount) &&
        equal(elements(m.inputs[0]), fullCount) &&
        isRowReduction(m)
      );
    });
    for (;;) {
      fitBindings(g, added);
      if (added.length === 0 || rowsAreAligned(g)) break;
      drop(g, added.pop() as Node);
    }
    trimViews(g, added);
    settle(g);
  }
  /** A fold that has no kernel yet is among what the exits are made of. */
  function foldsOutside(exits: readonly Value[], g: Group): boolean {
    const seen = new Set<Node>(exits.map((e) => e.node));
    const stack = [...seen];
    for (let n = stack.pop(); n; n = stack.pop()) {
      if (n.op.fuses === "fold" && !g.nodes.has(n)) return true;
      for (const v of n.inputs) {
        const m = v.node;
        if (seen.has(m) || m.op.fuses === "source" || (region.has(m) && !g.nodes.has(m))) continue;
        seen.add(m);
        stack.push(m);
      }
    }
    return false;
  }
  /** Every fold of every exit hangs on the same rows, counted in the same order. */
  function rowsAreAligned(g: Group): boolean {
    const exits = exitsOf(g);
    if (foldsOutside(exits, g)) return false;
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

  // --- 3. the rest: inline or store, from the readers back ------------------------------------------------------------
  interface Reading {
    /** Kernels that would compute the value, through whatever is inlined in them. */
    readonly groups: Set<Group>;
    /** Distinct coordinates at which they would compute it. */
    readonly places: Set<number>;
    hot: boolean;
    /** Inlined values between it and the kernel that stores something, this one counted. */
    chain: number;
    /** Somebody who is not derived reads it. */
    outside: boolean;
  }
  const readings = new Map<Node, Reading>();
  const placeIds = new Map<string, number>();
  const placeId = (key: string): number => {
    const id = placeIds.get(key) ?? placeIds.size;
    placeIds.set(key, id);
    return id;
  };
  /** Who reads v, views looked through. */
  const readingOf = (v: Value): Reading => {
    const out: Reading = { groups: new Set(), places: new Set(), hot: false, chain: 1, outside: false };
    for (const u of nodeUsers(v)) {
      const g = region.get(u);
      if (g) {
        out.groups.add(g);
        if (anchors.has(u)) out.hot = true;
        out.outside ||= !isDerived(u);
        if (u.op.fuses === "map") out.places.add(placeId(`${g.id}`));
        else
          u.inputs.forEach((x, i) => {
            if (x === v) out.places.add(placeId(`${g.id}:${u.id}.${i}`));
          });
        continue;
      }
      const r = readings.get(u);
      if (!r) continue;
      for (const x of r.groups) out.groups.add(x);
      out.hot ||= r.hot;
      out.outside ||= isView(u) ? r.outside : !isDerived(u);
      out.chain = Math.max(out.chain, r.chain + 1);
      if (!isView(u)) for (const p of r.places) out.places.add(p);
      else
        u.inputs.forEach((x, i) => {
          if (x === v) for (const p of r.places) out.places.add(placeId(`${u.id}.${i}@${p}`));
        });
    }
    return out;
  };
  /** An expression grows with its depth, and with the places it is computed at: both have an end. */
  const tooFar = (n: Node, r: Reading): boolean =>
    n.inputs.length > 0 &&
    (r.chain > LONGEST_CHAIN || r.places.size > MOST_PLACES * Math.max(1, r.groups.size));
  /** Heavy scalar functions in an operator's own expression. */
  const heavyIn = new Map<Node, number>();
  const heavyOf = (n: Node): number => {
    let count = heavyIn.get(n);
    if (count === undefined) {
      count = 0;
      const seen = new Set<Scalar>();
      const visit = (y: Scalar): void => {
        if (seen.has(y)) return;
        seen.add(y);
        if (y.kind === "call" && HEAVY.has(y.fn)) count = (count as number) + 1;
        for (const c of children(y)) visit(c);
      };
      visit(isolated(n).x);
      heavyIn.set(n, count);
    }
    return count;
  };
  /** What computing v anew costs each reader: values to load, heavy functions to call. */
  const costOf = (v: Value): { loads: number; heavy: number } => {
    const leaves = new Set<Value>();
    const inner = new Set<Node>([v.node]);
    let heavy = 0;
    for (const n of inner) {
      // More than a reader would want to know.
      if (inner.size > LONGEST_CHAIN) return { loads: inner.size, heavy };
      heavy += heavyOf(n);
      for (const i of n.inputs) {
        if (i.node.op.fuses === "source" || home.has(i) || region.has(i.node)) leaves.add(i);
        else inner.add(i.node);
      }
    }
    return { loads: leaves.size, heavy };
  };
  const store = (n: Node): Group => {
    const fold = n.op.fuses === "fold";
    const g = newGroup(
      fold && anchors.has(n) ? "contraction" : fold && isRowReduction(n) ? "rows" : "map",
      n,
    );
    g.roots = [n.outs[0]];
    home.set(n.outs[0], g);
    return g;
  };
  for (let i = nodes.length - 1; i >= 0; i--) {
    const n = nodes[i];
    if (n.op.fuses === "source") continue;
    const v = n.outs[0];
    const within = region.get(n);
    if (within) {
      // A view that a pack or sink names is stored as its base, or by a kernel of its own where it lies otherwise.
      if (isView(n) && !home.has(v) && (sinks.has(v) || nodeUsers(v).some(mustStore))) {
        const base = orderKeepingBase(v);
        if (base && home.has(base)) alias.set(v, base);
        else {
          drop(within, n);
          store(n);
        }
      }
      continue;
    }
    const named = sinks.has(v) || nodeUsers(v).some(mustStore);
    if (isView(n)) {
      if (home.has(v)) continue;
      const r = readingOf(v);
      if (named) {
        const base = orderKeepingBase(v);
        if (base && base.node.op.fuses !== "source") {
          alias.set(v, base);
          if (!home.has(base) && !region.has(base.node)) store(base.node);
        } else {
          store(n);
          continue;
        }
      } else if (tooFar(n, r) || (r.hot && n.inputs.length > MOST_PICKED)) {
        store(n);
        continue;
      }
      readings.set(n, r);
      continue;
    }
    if (named || alias.has(v)) {
      store(n);
      continue;
    }
    const r = readingOf(v);
    if (r.groups.size === 0) {
      // Only reads by inlined nodes that were inlined nowhere: dead, or reached through views of sinks.
      if (shownBySinks.has(v)) store(n);
      continue;
    }
    if (isDerived(n) && fromParams.get(n) === true && r.outside) {
      store(n);
      continue;
    }
    if (tooFar(n, r)) {
      store(n);
      continue;
    }
    const cost = costOf(v);
    const cheap = cost.loads <= 1 && cost.heavy === 0;
    if ((r.groups.size === 1 && !r.hot) || cheap) readings.set(n, r);
    else if (r.groups.size === 1 && r.hot && cost.loads <= 1 && cost.heavy <= 1) readings.set(n, r);
    else store(n);
  }
  function mustStore(u: Node): boolean {
    const g = region.get(u);
    return g !== undefined && (g.kind === "control" || g.kind === "pack");
  }
  /** A view that a pack or sink names, lying otherwise than what it shows: a kernel of its own stores it. */
  function storedElsewhere(n: Node): boolean {
    const [v] = n.outs;
    return isView(n) && (sinks.has(v) || nodeUsers(v).some(mustStore)) && orderKeepingBase(v) === undefined;
  }
  /** The value v shows element by element in the same row-major order, through views only. */
  function orderKeepingBase(v: Value): Value | undefined {
    let base = v;
    while (isView(base.node) && base.node.inputs.length === 1 && !home.has(base)) {
      if (!keepsOrder(base.node)) return undefined;
      base = base.node.inputs[0];
    }
    return base === v ? undefined : base;
  }

  // --- 4. what a kernel may bind --------------------------------------------------------------------------------------
  const cutToFit = (): void =>
    fitKernels({
      nodes,
      max: options.maxBindings,
      groups,
      region,
      home,
      inlined: (n) => readings.has(n),
      // Only pointwise kernels update in place (the planner's rule).
      bindings: (g, reads) =>
        g.kind === "map" ? bindingsOf(reads, g.roots) : new Set([...reads, ...g.roots]).size,
      store: (n) => {
        readings.delete(n);
        store(n);
      },
      shed,
    });
  /** Takes the last value that a group computes out of it, into a kernel of its own, and what cannot stay without it. */
  function shed(g: Group): readonly Node[] {
    const out: Node[] = [];
    // A sum of contractions is one kernel or as many as it has parts.
    const parts = [...g.nodes].filter((n) => anchors.has(n)).length;
    do {
      const last = [...g.nodes].filter((n) => n !== g.anchor).sort((a, b) => b.id - a.id)[0];
      if (!last) break;
      drop(g, last);
      for (const v of last.outs) home.delete(v);
      out.push(last);
      if (!isView(last)) store(last);
      else readings.set(last, readingOf(last.outs[0]));
      for (const r of g.roots) if (g.nodes.has(r.node)) home.delete(r);
      g.roots = exitsOf(g);
      for (const r of g.roots) home.set(r, g);
    } while (g.nodes.size > 1 && (parts > 1 || (g.kind === "rows" && !rowsAreAligned(g))));
    return out;
  }
  cutToFit();
  // --- 5. kernels over the same elements become one where that saves a pass --------------------------------------------
  const mustKeep = (r: Value): boolean =>
    sinks.has(r) || [...alias.values()].includes(r) || nodeUsers(r).some(mustStore);
  mergeMaps(groups, home, { needs, readsOf, bindingsOf, mustKeep, join, max: options.maxBindings });

  cutToFit();

  const live = groups.filter((g) => g.nodes.size > 0 && g.roots.length > 0);
  return { graph, groups: ordered(live, (g) => readsOf(g.roots, g), home), home, alias };
}

/** Row-major linear index. */
export function rowMajor(
  s: ScalarContext,
  at: readonly Scalar[],
  shape: readonly Value["type"]["shape"][number][],
): Scalar {
  let out = s.dim(0);
  at.forEach((c, i) => {
    out = s.iadd(s.imul(out, shape[i]), c);
  });
  return out;
}
/** Coordinates of a linear index over `extents`, outermost first: what `rowMajor` takes back. */
export function decode(
  s: ScalarContext,
  linear: Scalar,
  extents: readonly Value["type"]["shape"][number][],
): Scalar[] {
  const out: Scalar[] = [];
  let inner = product([]);
  for (let i = extents.length - 1; i >= 0; i--) {
    const q = s.idiv(linear, inner);
    out[i] = isConst(extents[i], 1) ? s.dim(0) : s.imod(q, extents[i]);
    inner = product([inner, extents[i]]);
  }
  return out;
}
const resolveOpaque = (s: ScalarContext, d: Parameters<typeof substitute>[0]) =>
  substitute(d, (name) => s.opaques.get(name));

/** Merges pointwise groups of one shape that feed each other or read the same values. */
function mergeMaps(
  groups: Group[],
  home: Map<Value, Group>,
  h: {
    readonly needs: (from: Node, target: ReadonlySet<Node>) => boolean;
    readonly readsOf: (roots: readonly Value[], g: Group | undefined) => Set<Value>;
    readonly bindingsOf: (reads: ReadonlySet<Value>, roots: readonly Value[]) => number;
    readonly mustKeep: (r: Value) => boolean;
    readonly join: (g: Group, n: Node) => void;
    readonly max: number;
  },
): void {
  const byShape = new Map<string, Group[]>();
  for (const g of groups) {
    if (g.kind !== "map" || g.roots.length === 0) continue;
    const key = `${g.derived}|${g.roots[0].type.shape.map((d) => d.key).join()}`;
    const list = byShape.get(key);
    if (list) list.push(g);
    else byShape.set(key, [g]);
  }
  // Who reads what: a root that only the merged kernel itself reads need not be stored.
  const readers = new Map<Value, Set<Group>>();
  for (const g of groups) {
    if (g.nodes.size === 0) continue;
    for (const v of g.kind === "control" || g.kind === "pack" ? g.anchor.inputs : h.readsOf(g.roots, g)) {
      const set = readers.get(v);
      if (set) set.add(g);
      else readers.set(v, new Set([g]));
    }
  }
  for (const list of byShape.values()) {
    list.sort((a, b) => a.anchor.id - b.anchor.id);
    for (let i = 0; i < list.length; i++) {
      const into = list[i];
      for (let j = i + 1; j < list.length && j < i + 16; j++) {
        const from = list[j];
        if (from.nodes.size === 0) continue;
        const a = h.readsOf(into.roots, into);
        const b = h.readsOf(from.roots, from);
        const feeds = into.roots.some((r) => b.has(r));
        const shared = [...b].filter((v) => a.has(v) && v.type.shape.length > 0);
        if (!feeds && shared.length === 0) continue;
        if (feeds && !readsElementwise(from, into, home)) continue;
        const both = new Set([...a, ...b]);
        const roots = [...into.roots, ...from.roots];
        for (const r of roots) both.delete(r);
        const kept = roots.filter(
          (r) => h.mustKeep(r) || [...(readers.get(r) ?? [])].some((q) => q !== into && q !== from),
        );
        if (kept.length === 0 || h.bindingsOf(both, kept) > h.max) continue;
        const size = (g: Group): number =>
          coneOf(
            g.roots.map((r) => r.node),
            g,
            home,
          ).weight;
        if (size(into) + size(from) > LARGEST) continue;
        // Nothing between them may wait for `into`, nor may `into` wait for `from`.
        const wait = [...b].some((v) => !into.roots.includes(v) && h.needs(v.node, into.nodes));
        if (wait || [...a].some((v) => h.needs(v.node, from.nodes))) continue;
        for (const n of from.nodes) h.join(into, n);
        for (const r of roots) {
          if (kept.includes(r)) home.set(r, into);
          else home.delete(r);
        }
        for (const set of readers.values()) if (set.delete(from)) set.add(into);
        into.roots = kept;
        from.nodes.clear();
        from.roots = [];
      }
    }
  }
}
/** True when `from` reads the roots of `into` only at its own coordinates. */
function readsElementwise(from: Group, into: Group, home: ReadonlyMap<Value, Group>): boolean {
  const wanted = new Set(into.roots);
  const s = loweringFor((v) => wanted.has(v) || (home.has(v) && !from.nodes.has(v.node)));
  for (const root of from.roots) {
    const { at, x } = lowerValue(s, root);
    const own = at.map((a) => s.axisValue(a));
    let ok = true;
    const seen = new Set<Scalar>();
    const visit = (y: Scalar): void => {
      if (!ok || seen.has(y)) return;
      seen.add(y);
      if (y.kind === "load" && wanted.has(y.value) && !y.at.every((c, i) => c === own[i])) ok = false;
      for (const c of children(y)) visit(c);
    };
    visit(x);
    if (!ok) return false;
  }
  return true;
}

/** Groups in an order that computes before it reads, keeping source order where it can. */
function ordered(
  groups: readonly Group[],
  reads: (g: Group) => Set<Value>,
  home: ReadonlyMap<Value, Group>,
): Group[] {
  const out: Group[] = [];
  const state = new Map<Group, 1 | 2>();
  const deps = new Map<Group, Group[]>();
  for (const g of groups) {
    const list = new Set<Group>();
    const values = g.kind === "control" || g.kind === "pack" ? new Set(g.anchor.inputs) : reads(g);
    for (const v of values) {
      const h = home.get(v) ?? home.get(baseOf(v));
      if (h && h !== g) list.add(h);
    }
    deps.set(
      g,
      [...list].sort((a, b) => a.anchor.id - b.anchor.id),
    );
  }
  const sorted = [...groups].sort(
    (a, b) => Math.max(...a.roots.map((r) => r.node.id)) - Math.max(...b.roots.map((r) => r.node.id)),
  );
  for (const first of sorted) {
    const stack: { g: Group; next: number }[] = [{ g: first, next: 0 }];
    if (state.get(first)) continue;
    state.set(first, 1);
    while (stack.length > 0) {
      const top = stack[stack.length - 1];
      const list = deps.get(top.g) ?? [];
      if (top.next < list.length) {
        const d = list[top.next++];
        const st = state.get(d);
        if (st === 1)
          throw new InternalError(
            "fuse",
            `kernels wait for each other (${top.g.anchor.op.name}, ${d.anchor.op.name})`,
          );
        if (!st) {
          state.set(d, 1);
          stack.push({ g: d, next: 0 });
        }
      } else {
        state.set(top.g, 2);
        out.push(top.g);
        stack.pop();
      }
    }
  }
  return out;
}
/** A control's operand may be a view of what is stored. */
function baseOf(v: Value): Value {
  let b = v;
  while (b.node.op.fuses === "view" && b.node.inputs.length === 1) b = b.node.inputs[0];
  return b;
}
