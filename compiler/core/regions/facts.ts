// What fusion asks of a node, and what its expression alone answers: nothing here depends on what else is in the graph.
// Asked once for each shape of node: two layers of one kind, and the programs of three targets, share the answers.
import { asConst, type Dim, equal, isConst, product } from "../dims/dim.ts";
import { attrsText, isGraph, NO_ORIGIN, opKey, typeText } from "../ir/build.ts";
import type { Node, Value } from "../ir/types.ts";
import { applySplits, contractionOf, splitsOf } from "../kernel/contraction.ts";
import { DEAR, functionCost } from "../kernel/functions.ts";
import { foldOf, indexForm, resolved, type ScalarContext } from "../kernel/lowering.ts";
import { type Axis, children, type Scalar, type ScalarOf } from "../kernel/scalar.ts";
import { isolated, keepsOrder } from "../kernel/values.ts";
import { outside } from "../ops/scan.ts";

/** A fold that is a contraction; axes are those of the node's result, by number. */
export interface ContractionFacts {
  readonly rows: readonly number[];
  readonly cols: readonly number[];
  readonly batch: readonly number[];
  /** Axes that fall into a group and its members (a grouped convolution's channels). */
  readonly split: readonly number[];
  /** Of those, where the members are columns. */
  readonly splitCols: readonly number[];
  /** Terms of each sum. */
  readonly terms: Dim;
  /** How many axes they go along, those of one element left out. */
  readonly sums: number;
  /** Many small products: no more than four rows or columns in each of a batch. */
  readonly narrow: boolean;
}

export interface NodeFacts {
  readonly contraction: ContractionFacts | undefined;
  /** A reduction whose operand's coordinates are axes of the result or of the fold, never both. */
  readonly rowReduction: boolean;
  /** A view that shows all elements of its operand in the same row-major order. */
  readonly keepsOrder: boolean;
  /** A fold over a small window that tiles its operand: which of the operand's axes it runs over. */
  readonly window: readonly number[] | undefined;
  /** Expensive scalar functions in the expression. */
  readonly heavy: number;
  /** The sum of two operands, element by element. */
  readonly sum: boolean;
}

/** Elements of a window that may become rows of a contraction. */
const LARGEST_WINDOW = 16;

const byNode = new WeakMap<Node, NodeFacts>();
const byShape = new Map<string, NodeFacts>();
/** Kept from one compilation to the next, up to a point: a server compiles many models. */
const MOST_SHAPES = 20_000;

export function factsOf(n: Node): NodeFacts {
  let facts = byNode.get(n);
  if (!facts) {
    const key = shapeOf(n);
    facts = key === undefined ? undefined : byShape.get(key);
    facts ??= lazily(detached(n));
    if (key !== undefined) {
      if (byShape.size >= MOST_SHAPES) byShape.clear();
      byShape.set(key, facts);
    }
    byNode.set(n, facts);
  }
  return facts;
}

const shapes = new WeakMap<Node, { readonly text: string | undefined }>();
/** All that a node's expression is made of; equal for nodes that compute the same of other operands. */
export function shapeOf(n: Node): string | undefined {
  let known = shapes.get(n);
  if (!known) {
    known = { text: shapeText(n) };
    shapes.set(n, known);
  }
  return known.text;
}
function shapeText(n: Node): string | undefined {
  if (Object.values(n.attrs).some(isGraph)) return undefined;
  const first = (v: Value): number => n.inputs.indexOf(v);
  return `${opKey(n.op)}(${n.inputs.map((v) => `${first(v)}:${typeText(v.type)}`).join()})${attrsText(n.attrs)}`;
}

/** The node over leaves: what is kept for its shape keeps no graph alive. */
function detached(n: Node): Node {
  const leaves = new Map<Value, Value>();
  const inputs = n.inputs.map((v) => {
    let leaf = leaves.get(v);
    if (!leaf) {
      const outs: Value[] = [];
      const node: Node = { id: leaves.size, op: outside, inputs: [], attrs: {}, outs, origin: NO_ORIGIN };
      leaf = { node, index: 0, type: v.type };
      outs.push(leaf);
      leaves.set(v, leaf);
    }
    return leaf;
  });
  const outs: Value[] = [];
  const node: Node = { id: leaves.size, op: n.op, inputs, attrs: n.attrs, outs, origin: NO_ORIGIN };
  for (const { index, type } of n.outs) outs.push({ node, index, type });
  return node;
}

function lazily(n: Node): NodeFacts {
  const known = new Map<keyof NodeFacts, unknown>();
  const once = <K extends keyof NodeFacts>(key: K, ask: (n: Node) => NodeFacts[K]): NodeFacts[K] => {
    if (!known.has(key)) known.set(key, ask(n));
    return known.get(key) as NodeFacts[K];
  };
  return {
    get contraction() {
      return once("contraction", contraction);
    },
    get rowReduction() {
      return once("rowReduction", rowReduction);
    },
    get keepsOrder() {
      return once("keepsOrder", keepsOrder);
    },
    get window() {
      return once("window", window);
    },
    get heavy() {
      return once("heavy", heavy);
    },
    get sum() {
      return once("sum", sum);
    },
  };
}

function contraction(n: Node): ContractionFacts | undefined {
  if (n.op.fuses !== "fold") return undefined;
  const { s, at, x: whole } = isolated(n);
  const fold = foldOf(whole);
  if (!fold) return undefined;
  const plain = contractionOf(fold);
  const splits = plain ? [] : splitsOf(fold);
  if (!plain && splits.length === 0) return undefined;
  const { x, parts } = applySplits(s, fold, splits);
  const c = plain ?? contractionOf(x);
  const numbers = (list: readonly Axis[]): number[] => at.flatMap((a, i) => (list.includes(a) ? [i] : []));
  const split = at.flatMap((a, i) => (parts.has(a) ? [i] : []));
  return {
    rows: c ? numbers(c.rows) : [],
    cols: c ? numbers(c.cols) : [],
    batch: c ? numbers(c.batch) : [],
    split,
    splitCols: split.filter((i) => c?.cols.includes(parts.get(at[i])?.member as Axis)),
    terms: product(fold.axes.map((a) => a.extent)),
    sums: fold.axes.filter((a) => !isConst(a.extent, 1)).length,
    narrow: c !== undefined && c.batch.length > 0 && [c.rows, c.cols].some((list) => isFew(s, list)),
  };
}

/** Four at most, whatever the sizes are. */
const isFew = (s: ScalarContext, axes: readonly Axis[]): boolean =>
  (asConst(resolved(s, product(axes.map((a) => a.extent)))) ?? Number.POSITIVE_INFINITY) <= 4;

function rowReduction(n: Node): boolean {
  const x = foldOf(isolated(n).x);
  // Nothing has no rows.
  if (!x || isConst(product(n.outs[0].type.shape), 0)) return false;
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
}

/** Fold over small literal axes, coordinate = out * extent + window axis. */
function window(n: Node): readonly number[] | undefined {
  if (n.op.fuses !== "fold") return undefined;
  const { s, x } = isolated(n);
  if (x.kind !== "fold" || x.body.kind !== "load" || x.body.value !== n.inputs[0]) return undefined;
  let size = 1;
  for (const axis of x.axes) {
    const e = asConst(resolved(s, axis.extent));
    if (e === undefined) return undefined;
    size *= e;
  }
  if (size > LARGEST_WINDOW) return undefined;
  const seen = new Set<Axis>();
  const over: number[] = [];
  for (const [i, c] of x.body.at.entries()) {
    const f = indexForm(c);
    const win = f.terms.filter((t) => t.atom.kind === "axis" && x.axes.includes(t.atom.axis));
    if (c.free.some((a) => x.axes.includes(a))) over.push(i);
    if (win.length === 0) continue;
    const outer = f.terms.filter((t) => !win.includes(t));
    if (win.length !== 1 || outer.length > 1 || !isConst(resolved(s, f.offset), 0)) return undefined;
    const w = (win[0].atom as ScalarOf<"axis">).axis;
    if (seen.has(w) || !isConst(resolved(s, win[0].coef), 1)) return undefined;
    seen.add(w);
    if (
      outer.length === 1 &&
      (outer[0].atom.kind !== "axis" || !equal(resolved(s, outer[0].coef), resolved(s, w.extent)))
    )
      return undefined;
  }
  return seen.size === x.axes.length ? over : undefined;
}

function heavy(n: Node): number {
  let count = 0;
  const seen = new Set<Scalar>();
  const visit = (y: Scalar): void => {
    if (seen.has(y)) return;
    seen.add(y);
    if (y.kind === "call" && functionCost(y.fn) >= DEAR) count++;
    for (const c of children(y)) visit(c);
  };
  visit(isolated(n).x);
  return count;
}

function sum(n: Node): boolean {
  if (n.op.fuses !== "map" || n.inputs.length !== 2) return false;
  const { x } = isolated(n);
  return x.kind === "call" && x.fn === "add";
}
