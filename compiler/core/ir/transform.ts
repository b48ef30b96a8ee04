// Rebuilding a graph node by node. In: a graph and a function that may replace a node given its rebuilt operands.
// Out: a new graph whose names, results, writes and constraints correspond. Every pass that is not fusion is one of these.
import { type Dim, substitute } from "../dims/dim.ts";
import { createBuilder, finishGraph, isDim, isGraph } from "./build.ts";
import type { Attr, Attrs, Builder, Graph, Node, TensorType, Value } from "./types.ts";

export type Replace = (b: Builder, node: Node, inputs: readonly Value[]) => readonly Value[] | undefined;

export interface Transformed {
  readonly graph: Graph;
  /** Where each old value went. */
  readonly map: ReadonlyMap<Value, Value>;
}

export function transform(graph: Graph, replace: Replace, into: Builder = createBuilder()): Transformed {
  const map = new Map<Value, Value>();
  for (const n of graph.nodes) {
    const inputs = n.inputs.map((v) => map.get(v) as Value);
    const outs = into.at(
      n.origin,
      () => replace(into, n, inputs) ?? into.node(n.op, inputs, n.attrs, n.label, typesOf(n, inputs)),
    );
    for (let i = 0; i < outs.length; i++) map.set(n.outs[i], outs[i]);
  }
  return {
    map,
    graph: finishGraph({
      name: graph.name,
      inputs: graph.inputs.map((n) => (map.get(n.outs[0]) as Value).node),
      results: graph.results.map((r) => ({ name: r.name, value: map.get(r.value) as Value })),
      writes: graph.writes.map((w) => ({ path: w.path, value: map.get(w.value) as Value })),
      symbols: graph.symbols,
      constraints: graph.constraints,
      indexes: graph.indexes,
    }),
  };
}

/** Types of the node's results on other operands, where these are of its operands' types. */
const typesOf = (n: Node, inputs: readonly Value[]): readonly TensorType[] | undefined =>
  inputs.every((v, i) => v.type === n.inputs[i].type) ? n.outs.map((v) => v.type) : undefined;

/** The graph with symbols bound to sizes, everywhere they occur. */
export function bindSymbols(graph: Graph, by: (name: string) => Dim | number | undefined): Graph {
  const attr = (a: Attr): Attr => {
    if (isDim(a)) return substitute(a, by);
    if (isGraph(a)) return bindSymbols(a, by);
    return Array.isArray(a) ? a.map(attr) : a;
  };
  const attrsOf = (attrs: Attrs): Attrs =>
    Object.fromEntries(Object.entries(attrs).map(([k, v]) => [k, attr(v)]));
  const { graph: bound } = transform(graph, (b, n, inputs) =>
    b.node(n.op, inputs, attrsOf(n.attrs), n.label),
  );
  return {
    ...bound,
    symbols: bound.symbols.filter((s) => by(s) === undefined),
    constraints: bound.constraints.map((c) => ({
      ...c,
      left: substitute(c.left, by),
      right: substitute(c.right, by),
    })),
    indexes: bound.indexes?.map((r) => ({
      ...r,
      extent: substitute(r.extent, by),
      part: r.part?.map((p) => ({ ...p, start: substitute(p.start, by), size: substitute(p.size, by) })),
    })),
  };
}
