// A graph in primitives: composites replaced by their definitions, all the way down.
// In: any graph. Out: one that evaluates to the same. Separate from simplification, which keeps composites for the kernel
// families that claim them.
import { createBuilder } from "../ir/build.ts";
import { transform } from "../ir/transform.ts";
import type { Builder, Graph, Node } from "../ir/types.ts";

/** A builder that makes composites (those for which `keep` is false) by their `expand`. */
export function expandingBuilder(inner: Builder, keep: (node: Node) => boolean = () => false): Builder {
  const outer: Builder = {
    get origin() {
      return inner.origin;
    },
    at: (origin, body) => inner.at(origin, body),
    require: (c) => inner.require(c),
    node(op, inputs, attrs, label) {
      const outs = inner.node(op, inputs, attrs, label);
      const { node } = outs[0];
      return op.expand && op.fuses === "composite" && !keep(node) ? op.expand(outer, node) : outs;
    },
    make: (op, inputs, attrs, label) => outer.node(op, inputs, attrs, label)[0],
  };
  return outer;
}

const known = new WeakMap<Graph, Graph>();
/** The graph in primitives; composites with a reference of their own stay. */
export function inPrimitives(graph: Graph): Graph {
  let made = known.get(graph);
  if (!made) {
    const into = expandingBuilder(createBuilder(), (n) => n.op.reference !== undefined);
    made = transform(graph, () => undefined, into).graph;
    known.set(graph, made);
  }
  return made;
}
