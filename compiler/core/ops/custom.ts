// Operators of the author's as data, and a value of its own to take a gradient of. In: graphs over scalars. Out: a composite
// whose definition and gradient are these graphs, applied element by element: so a graph that holds one is text like any
// other, and no pass calls back into the checker.
import type { Attrs, Builder, Graph, OpDef, Value } from "../ir/types.ts";
import { broadcastTo, broadcastTogether } from "./axes.ts";
import { full, sameShapes } from "./define.ts";

/**
 * The results of a graph over scalars for operands of any one shape, element by element. Its inputs are the operands in
 * their order.
 */
function elementByElement(b: Builder, graph: Graph, operands: readonly Value[]): readonly Value[] {
  const shape = operands[0].type.shape;
  const map = new Map<Value, Value>();
  graph.inputs.forEach((n, i) => void map.set(n.outs[0], operands[i]));
  for (const n of graph.nodes) {
    if (map.has(n.outs[0])) continue;
    const inputs = n.inputs.map((v) => map.get(v) as Value);
    // Literals and sizes stay scalars until they meet an operand.
    const outs = b.node(n.op, inputs.length > 1 ? broadcastTogether(b, inputs, n.op.name) : inputs, n.attrs);
    n.outs.forEach((v, i) => void map.set(v, outs[i]));
  }
  return graph.results.map((r) => broadcastTo(b, map.get(r.value) as Value, shape));
}

const graphOf = (attrs: Attrs, name: string): Graph => attrs[name] as Graph;

/**
 * `op f(x: f32) -> f32 { … } grad (g) { … }`: attrs name (the author's), one (it has one result, without a name), body and gradient (graphs over scalars: the
 * operands, and the operands with the cotangents of the results behind them). The operands have one shape.
 */
export const customOp: OpDef = {
  name: "custom",
  doc: "An operator of the author's that has a gradient of its own.",
  fuses: "composite",
  exposed: false,
  params: [{ name: "operands", kind: "tensors" }],
  infer: (types, attrs, b) => {
    const shape = sameShapes(String(attrs.name), types, b);
    return graphOf(attrs, "body").results.map((r) => ({ dtype: r.value.type.dtype, shape }));
  },
  expand: (b, node) => elementByElement(b, graphOf(node.attrs, "body"), node.inputs),
  vjp(b, node, grads) {
    if (grads.every((g) => g === undefined)) return node.inputs.map(() => undefined);
    const cotangents = grads.map((g, i) => g ?? full(b, 0, node.outs[i].type));
    return elementByElement(b, graphOf(node.attrs, "gradient"), [...node.inputs, ...cotangents]);
  },
  examples: [],
};

/** The operand itself, but a value of its own: what other arguments depend on is not what f's parameter is. */
export const variableOp: OpDef = {
  name: "variable",
  doc: "A value to take a gradient of.",
  fuses: "map",
  exposed: false,
  pure: false,
  params: [{ name: "x", kind: "tensor" }],
  infer: ([x]) => [x],
  reference: ([x], _attrs, [out]) => out.data.set(x.data),
  vjp: (_b, _node, [g]) => [g],
  lower: (s, node, at) => s.read(node.inputs[0], at),
  examples: [],
};
