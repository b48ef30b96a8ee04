// checkpoint: what its gradient computes again and nobody keeps. In: a part of a graph as a graph of its own, and what it reads.
// Out: a composite whose definition is that graph, and whose gradient computes it a second time, from its operands alone and
// not before a gradient flows back into it: so what lies within lives from the one to the other, and not all the while.
import { replay } from "../ir/build.ts";
import type { Attrs, Builder, Graph, Node, OpDef, Value } from "../ir/types.ts";

const bodyOf = (attrs: Attrs): Graph => attrs.body as Graph;

/** Attrs: body, a graph whose inputs are the operands, in their order. */
export const checkpoint: OpDef = {
  name: "checkpoint",
  doc: "A part of a graph that its gradient computes again.",
  fuses: "composite",
  exposed: false,
  params: [{ name: "operands", kind: "tensors" }],
  infer: (_inputs, attrs) => bodyOf(attrs).results.map((r) => r.value.type),
  expand: (b, node) => results(b, node, node.inputs),
  vjp(b, node, grads, backward, needed) {
    const flowing = grads.filter((g) => g !== undefined);
    // Parameters are there anyway; with a value of their own for each time, nothing is taken for what was computed before.
    const again = node.inputs.map((v) =>
      v.node.op.name === "param" || v.node.op.name === "constant" ? v : b.make(afterOp, [v, ...flowing]),
    );
    const wanted = again.filter((_, i) => needed[i]);
    const found = backward(b, results(b, node, again), grads, wanted);
    return again.map((v, i) => (needed[i] ? found[wanted.indexOf(v)] : undefined));
  },
  examples: [],
};

function results(b: Builder, node: Node, operands: readonly Value[]): readonly Value[] {
  const body = bodyOf(node.attrs);
  const at = replay(b, body, operands);
  return body.results.map((r) => at(r.value));
}

/** The first operand as a value of its own, which is not there before the others are. */
export const afterOp: OpDef = {
  name: "after",
  doc: "A value, after others.",
  fuses: "view",
  late: true,
  exposed: false,
  pure: false,
  params: [{ name: "operands", kind: "tensors" }],
  infer: ([x]) => [x],
  reference: ([x], _attrs, [out]) => out.data.set(x.data),
  vjp: (_b, _node, [g]) => [g],
  lower: (s, node, at) => s.read(node.inputs[0], at),
  examples: [],
};
