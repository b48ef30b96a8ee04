// No node has more operands than a kernel can read. In: primitives, and how many that are. Out: the same values from nodes
// with at most so many operands each, in loops' bodies as well. What joins its operands one by one (concat) is joined in
// steps, from the left, so that joins with the same beginning share it. What else has many (a run-time start for each axis)
// finds those of one dtype in one buffer, of which each is a part.
import { add, type Dim, dim, product } from "../../dims/dim.ts";
import { bodyOf, withBody } from "../../ir/blocks.ts";
import { transform } from "../../ir/transform.ts";
import type { Builder, Graph, Node, Value } from "../../ir/types.ts";
import { reshape } from "../../ops/axes.ts";
import { concat } from "../../ops/joins.ts";
import { sliceAxis } from "../../ops/movement.ts";

/** `most`: operands a node may have. */
export function limitOperands(graph: Graph, most: number, bodies = new Map<Graph, Graph>()): Graph {
  const limited = (body: Graph): Graph => {
    const out = bodies.get(body) ?? limitOperands(body, most, bodies);
    bodies.set(body, out);
    return out;
  };
  const many = (n: Node): boolean => n.inputs.length > most && n.op.fuses !== "pack";
  const within = (n: Node): boolean => n.op.fuses === "control";
  if (!graph.nodes.some((n) => within(n) || many(n))) return graph;
  return transform(graph, (b, n, inputs) => {
    const body = bodyOf(n);
    if (body) return b.node(n.op, inputs, withBody(n, limited(body)), n.label);
    if (!many(n) || within(n)) return undefined;
    return n.op.associative
      ? [joinInSteps(b, n, inputs, most)]
      : b.node(n.op, inOneBuffer(b, inputs, most), n.attrs, n.label);
  }).graph;
}

function joinInSteps(b: Builder, n: Node, inputs: readonly Value[], most: number): Value {
  let list = inputs;
  while (list.length > most) {
    // What can wait for the last join is not copied twice: only as many steps as it takes, or all, where that is not enough.
    const enough = Math.ceil((list.length - most) / (most - 1));
    const end = enough * most <= list.length ? enough * most : list.length;
    const joined: Value[] = [];
    for (let i = 0; i < end; i += most)
      joined.push(b.make(n.op, list.slice(i, Math.min(i + most, end)), n.attrs, n.label));
    list = [...joined, ...list.slice(end)];
  }
  return b.make(n.op, list, n.attrs, n.label);
}

/** The smallest operands of one dtype, in one buffer: what is read is a part of it. */
function inOneBuffer(b: Builder, inputs: readonly Value[], most: number): readonly Value[] {
  const out = [...inputs];
  const byType = new Map<string, number[]>();
  inputs.forEach((v, i) => void byType.set(v.type.dtype, [...(byType.get(v.type.dtype) ?? []), i]));
  const scalarsFirst = [...byType.values()].map((list) =>
    [...list].sort((i, j) => inputs[i].type.shape.length - inputs[j].type.shape.length),
  );
  scalarsFirst.sort((a, c) => c.length - a.length);
  let count = inputs.length;
  for (const list of scalarsFirst) {
    if (count <= most || list.length < 2) break;
    const joined = list.slice(0, count - most + 1);
    const flat = joined.map((i) => reshape(b, inputs[i], [product(inputs[i].type.shape)]));
    const whole = concat(b, flat, 0);
    let start: Dim = dim(0);
    joined.forEach((i, k) => {
      const size = flat[k].type.shape[0];
      out[i] = reshape(b, sliceAxis(b, whole, 0, start, size), inputs[i].type.shape);
      start = add(start, size);
    });
    count -= joined.length - 1;
  }
  return out;
}
