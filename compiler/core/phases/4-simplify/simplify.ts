// Graph to smaller graph. In: a checked (or differentiated) graph. Out: primitives only, weights folded where they may be,
// and every sink a value that some kernel computes. Each pass is a named function on graphs; the order is the list below.

import { bodyOf, withBody } from "../../ir/blocks.ts";
import { derivedOrigin, numbered, PART_OF } from "../../ir/build.ts";
import { transform } from "../../ir/transform.ts";
import type { Graph, Node, Value } from "../../ir/types.ts";
import { copy } from "../../ops/copy.ts";
import { isCarried } from "../../ops/scan.ts";
import { openCheckpoints } from "./checkpoints.ts";
import { hoist } from "./hoist.ts";
import { lowerLoops } from "./loops.ts";
import { narrow } from "./narrow.ts";
import { limitOperands } from "./operands.ts";
import { foldScales } from "./scales.ts";
import { mergeScans } from "./scans.ts";
import { shareOperands } from "./share.ts";
import { splitOperands } from "./split.ts";
import { shareSums } from "./sums.ts";

export interface SimplifyOptions {
  /** Parameters do not change between calls: their arithmetic may be done ahead. */
  readonly inference: boolean;
  readonly claims?: (node: Node) => boolean;
  /** Operands a kernel can read (see operands.ts). */
  readonly operands?: number;
  /** Bytes of an operand that a kernel can bind (see split.ts). */
  readonly bytes?: number;
}
export type Pass = { readonly name: string; readonly run: (g: Graph, o: SimplifyOptions) => Graph };

export const passes: readonly Pass[] = [
  // What differentiates is done; what lies within is merged with what lies without.
  { name: "open-checkpoints", run: (g) => openCheckpoints(g) },
  // Before expansion, which rebuilds bodies, after which nobody could tell that two were one.
  { name: "merge-scans", run: (g) => mergeScans(g) },
  { name: "expand", run: expand },
  // Needs primitives; what comes out is simplified further.
  { name: "hoist", run: (g) => hoist(g) },
  // Needs primitives. Before products are shared: each is by itself here.
  { name: "narrow", run: (g) => narrow(g) },
  // Needs primitives: batch norm is arithmetic by now.
  { name: "fold-scales", run: (g, o) => (o.inference ? foldScales(g) : g) },
  { name: "share-operands", run: (g, o) => (o.inference ? shareOperands(g, o.bytes) : g) },
  { name: "share-sums", run: (g) => shareSums(g) },
  // After products are shared: weights side by side are no leaves.
  { name: "split-operands", run: (g, o) => splitOperands(g, o.bytes ?? Number.POSITIVE_INFINITY) },
  { name: "limit-operands", run: (g, o) => limitOperands(g, o.operands ?? Number.POSITIVE_INFINITY) },
  // Kernels store what sinks name.
  { name: "store-sinks", run: storeSinks },
  // Last: passes know scans, the steps after them loops.
  { name: "loops", run: (g) => lowerLoops(g) },
];

/** The first pass that asks how many operands there may be, and nothing else. Those before it ask the rest. */
const OWN = passes.findIndex((p) => p.name === "limit-operands");

/**
 * What the passes have made of one graph: what came out of the first ones, what was asked on the way, and what the
 * others made of that, by operands.
 */
export type Simplified = {
  readonly graph: Graph;
  readonly bytes: number | undefined;
  readonly asked: ReadonlyMap<Node, boolean>;
  readonly done: Map<number | undefined, Graph>;
}[];

/** `known` is kept for one graph, and for targets that differ in what is asked of them. */
export function simplify(
  graph: Graph,
  options: SimplifyOptions,
  around: (name: string, g: Graph) => void = () => {},
  known: Simplified = [],
): Graph {
  const run = (list: readonly Pass[], from: Graph, o: SimplifyOptions): Graph =>
    list.reduce((g, p) => {
      const next = p.run(g, o);
      around(p.name, next);
      return next;
    }, from);
  const claims = options.claims ?? (() => false);
  // Where a target would have answered alike all along, the same comes out.
  const { inference, operands, bytes } = options;
  let first = known.find(
    (k) => k.bytes === bytes && [...k.asked].every(([n, answer]) => claims(n) === answer),
  );
  if (!first) {
    const asked = new Map<Node, boolean>();
    const recorded = (n: Node): boolean => {
      const answer = claims(n);
      asked.set(n, answer);
      return answer;
    };
    const made = run(passes.slice(0, OWN), graph, { ...options, claims: recorded });
    first = { graph: made, bytes, asked, done: new Map() };
    known.push(first);
  }
  const out = first.done.get(operands) ?? run(passes.slice(OWN), first.graph, { inference, operands });
  first.done.set(operands, out);
  return out;
}

/** Composites become their definitions, in loops' bodies as well. */
export function expand(graph: Graph, options: SimplifyOptions): Graph {
  const opens = (n: Node): boolean =>
    (n.op.fuses === "composite" || n.op.fuses === "algorithm") &&
    n.op.expand !== undefined &&
    !options.claims?.(n);
  let g = graph;
  for (;;) {
    let again = false;
    g = transform(g, (b, n, inputs) => {
      const body = bodyOf(n);
      if (body) return b.node(n.op, inputs, withBody(n, expandBody(body, options)), n.label);
      const { expand: definition } = n.op;
      if (!definition || !opens(n)) return undefined;
      again = true;
      const made = b.node(n.op, inputs, n.attrs, n.label)[0].node;
      // Kernels and messages name the operator the author wrote.
      return b.at(derivedOrigin(n.origin, `${PART_OF}${n.op.name}`), () => definition(b, made));
    }).graph;
    if (!again) return g;
    // What is made of definitions has ids of all that was made on the way.
    if (!g.nodes.some(opens)) return numbered(g);
  }
}
/** Bodies by what is claimed in them: one that several loops share stays one. */
const bodies = new WeakMap<object, WeakMap<Graph, Graph>>();
const unclaimed = {};
function expandBody(body: Graph, options: SimplifyOptions): Graph {
  const key = options.claims ?? unclaimed;
  const known = bodies.get(key) ?? new WeakMap<Graph, Graph>();
  bodies.set(key, known);
  let out = known.get(body);
  if (!out) {
    out = expand(body, options);
    known.set(body, out);
    known.set(out, out);
  }
  return out;
}

/**
 * A result or write that is a source, or a view of one, is copied: it needs storage of its own. So is what a pack cannot
 * have stored in its range: one value in two places (two parameters with one gradient), one that is written to state, and
 * what a loop leaves in a carry (a gradient summed over its steps).
 */
function storeSinks(graph: Graph): Graph {
  const needs = (n: Node): boolean =>
    n.op.fuses === "source" || (n.op.fuses === "view" && n.inputs.every((v) => needs(v.node)));
  const shown = (v: Value): Value => {
    let base = v;
    while (base.node.op.fuses === "view" && base.node.inputs.length === 1) base = base.node.inputs[0];
    return base;
  };
  const written = new Set(graph.writes.map((w) => shown(w.value)));
  const placed = new Set<Value>();
  const { graph: g } = transform(graph, (b, n, inputs) => {
    if (n.op.fuses !== "pack") return undefined;
    const operands = inputs.map((v, i) => {
      const base = shown(v);
      if (needs(base.node) || isCarried(base) || placed.has(base) || written.has(shown(n.inputs[i])))
        return b.make(copy, [v], {}, v.node.label);
      placed.add(base);
      return v;
    });
    return b.node(n.op, operands, n.attrs, n.label);
  });
  const sinks = [...g.results, ...g.writes];
  if (!sinks.some((s) => needs(s.value.node))) return g;
  const copies = new Map<unknown, ReturnType<typeof copyOf>>();
  let id = 1 + Math.max(0, ...g.nodes.map((n) => n.id));
  function copyOf(v: Graph["results"][number]["value"]) {
    const outs: { node: Node; index: number; type: typeof v.type }[] = [];
    const node: Node = {
      id: id++,
      op: copy,
      inputs: [v],
      attrs: {},
      outs,
      origin: v.node.origin,
      label: v.node.label,
    };
    outs.push({ node, index: 0, type: v.type });
    return outs[0];
  }
  const extra: Node[] = [];
  const fix = <S extends { readonly value: (typeof g.results)[number]["value"] }>(s: S): S => {
    if (!needs(s.value.node)) return s;
    let made = copies.get(s.value);
    if (!made) {
      made = copyOf(s.value);
      copies.set(s.value, made);
      extra.push(made.node);
    }
    return { ...s, value: made };
  };
  const results = g.results.map(fix);
  const writes = g.writes.map(fix);
  return { ...g, results, writes, nodes: [...g.nodes, ...extra] };
}
