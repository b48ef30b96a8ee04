// Every invariant of a graph as one list of checks. In: a graph, and the pass that made it. Out: nothing, or an
// InternalError naming the pass. On in the tests after every pass.
import { InternalError } from "../diagnostics/index.ts";
import { equal } from "../dims/dim.ts";
import { isGraph, sameType, typeText } from "./build.ts";
import type { Constraint, Graph, Node, Value } from "./types.ts";

export function verify(graph: Graph, pass: string): void {
  examine(graph, (what) => {
    throw new InternalError(pass, what);
  });
}

/** `fail` is told the first thing that does not hold; `require` the conditions that operators make of sizes. */
export function examine(
  graph: Graph,
  refuse: (what: string) => never,
  require: (c: Constraint) => void = () => {},
): void {
  const fail = (what: string): never => refuse(`${graph.name}: ${what}`);
  const known = new Set<Node>();
  const where = (n: Node): string => `${n.op.name}#${n.id}`;
  for (const n of graph.nodes) {
    for (const v of n.inputs) {
      if (!known.has(v.node)) fail(`${where(n)} comes before its operand ${where(v.node)}`);
      if (v.node.outs[v.index] !== v) fail(`${where(n)} reads a result that ${where(v.node)} does not have`);
    }
    known.add(n);
    const types = n.op.infer(
      n.inputs.map((v) => v.type),
      n.attrs,
      { require },
    );
    if (types.length !== n.outs.length)
      fail(`${where(n)} has ${n.outs.length} results, its rule gives ${types.length}`);
    types.forEach((t, i) => {
      const have = n.outs[i].type;
      const same = t.dtype === have.dtype && t.shape.length === have.shape.length;
      if (!same || !(sameType(t, have) || t.shape.every((d, j) => equal(d, have.shape[j]))))
        fail(`${where(n)} is ${typeText(have)}, its rule gives ${typeText(t)}`);
    });
    for (const a of Object.values(n.attrs)) if (isGraph(a)) examine(a, refuse, require);
  }
  const sink = (v: Value, name: string): void => {
    if (!known.has(v.node)) fail(`the sink ${name} is not in the graph`);
  };
  for (const r of graph.results) sink(r.value, r.name);
  for (const w of graph.writes) sink(w.value, w.path);
  for (const i of graph.inputs)
    if (!known.has(i)) fail(`the input ${String(i.attrs.name)} is not in the graph`);
  const paths = graph.writes.map((w) => w.path);
  if (new Set(paths).size !== paths.length) fail("a state is written twice");
}
