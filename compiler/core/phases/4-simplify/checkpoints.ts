// Pass: checkpoints become what they hold, in loops' bodies as well. In: a graph that nobody differentiates any more. Out: one in
// which equal work within and without is one: what a call stores, what a metric and a loss both compute.
import { bodyOf, withBody } from "../../ir/blocks.ts";
import { transform } from "../../ir/transform.ts";
import type { Graph } from "../../ir/types.ts";
import { checkpoint } from "../../ops/checkpoint.ts";

/** Bodies that several loops share stay one. */
const bodies = new WeakMap<Graph, Graph>();

export function openCheckpoints(graph: Graph): Graph {
  let g = graph;
  while (holdsOne(g))
    g = transform(g, (b, n, inputs) => {
      const body = bodyOf(n);
      if (body && holdsOne(body)) {
        const open = bodies.get(body) ?? openCheckpoints(body);
        bodies.set(body, open);
        return b.node(n.op, inputs, withBody(n, open), n.label);
      }
      return n.op === checkpoint ? checkpoint.expand?.(b, { ...n, inputs }) : undefined;
    }).graph;
  return g;
}

function holdsOne(graph: Graph): boolean {
  return graph.nodes.some((n) => {
    const body = bodyOf(n);
    return n.op === checkpoint || (body !== undefined && holdsOne(body));
  });
}
