// Reverse-mode differentiation, graph to graph: part of what phases share, since an expression of the language (`grad`) and a
// training step both differentiate. In: outputs with the gradients that flow into them, and the values with
// respect to which. Out: one gradient each, as new nodes of the builder. Every rule is an operator's own (`vjp`); a
// composite without one is differentiated through its definition. Contributions are added in reverse topological order,
// so that a graph always gives the same sums.
import { InternalError } from "../diagnostics/index.ts";
import { derivedOrigin, typeText } from "../ir/build.ts";
import { type Builder, type Node, OpError, type Value } from "../ir/types.ts";
import { isFloat } from "../ops/define.ts";
import { add } from "../ops/elementwise.ts";

export type Gradients = readonly (Value | undefined)[];

/**
 * The gradients of sum(outputs * seeds) with respect to `wrt`; undefined where an output does not depend on it in a
 * differentiable way (zero). Throws OpError E1101 where the way leads through an operator without a gradient.
 * `b` must allocate ids above those of the graph.
 */
export function backward(
  b: Builder,
  outputs: readonly Value[],
  seeds: Gradients,
  wrt: readonly Value[],
): Gradients {
  return propagate(b, outputs, seeds, wrt, new Set());
}

/** `stop`: values whose producers are outside what is differentiated. */
function propagate(
  b: Builder,
  outputs: readonly Value[],
  seeds: Gradients,
  wrt: readonly Value[],
  stop: ReadonlySet<Value>,
): Gradients {
  const order = activeNodes(outputs, wrt, stop);
  const active = new Set(order);
  const wanted = new Set(wrt);
  const grads = new Map<Value, Value>();
  const contribute = (v: Value, g: Value | undefined): void => {
    if (!g || !isFloat(v.type.dtype)) return;
    if (g.type.dtype !== v.type.dtype || g.type.shape.length !== v.type.shape.length)
      throw new InternalError(
        "grad",
        `${v.node.op.name} is ${typeText(v.type)}, its gradient ${typeText(g.type)}`,
      );
    const old = grads.get(v);
    grads.set(v, old ? add(b, old, g) : g);
  };
  outputs.forEach((v, i) => {
    contribute(v, seeds[i]);
  });
  for (const node of order.reverse()) {
    const flowing = node.outs.map((v) => (stop.has(v) ? undefined : grads.get(v)));
    if (flowing.every((g) => g === undefined)) continue;
    const needed = node.inputs.map((v) => active.has(v.node) || wanted.has(v));
    const origin = derivedOrigin(node.origin, `gradient of ${node.op.name}`);
    b.at(origin, () => {
      gradientsOf(b, node, flowing, needed).forEach((g, i) => {
        if (needed[i]) contribute(node.inputs[i], g);
      });
    });
  }
  return wrt.map((v) => grads.get(v));
}

function gradientsOf(b: Builder, node: Node, grads: Gradients, needed: readonly boolean[]): Gradients {
  const { op } = node;
  // An operand may be computed from another one: the way between them is not the operator's.
  const within: typeof backward = (b, outputs, seeds, wrt) =>
    propagate(b, outputs, seeds, wrt, new Set([...node.inputs, ...wrt]));
  if (op.vjp) return op.vjp(b, node, grads, within, needed);
  if (op.expand) {
    const wrt = [...new Set(node.inputs.filter((_, i) => needed[i]))];
    const found = within(b, op.expand(b, node), grads, wrt);
    // An operand that occurs twice gets its whole gradient at the first place.
    return node.inputs.map((v, i) => (node.inputs.indexOf(v) === i ? found[wrt.indexOf(v)] : undefined));
  }
  throw new OpError("E1101", `${op.name} has no gradient${op.noGrad ? `: ${op.noGrad}` : ""}`);
}

/**
 * The nodes between `wrt` and the outputs through float values, in topological order; those of `wrt` themselves are
 * among them only where another of `wrt` lies before. Iterative: graphs are deep.
 */
function activeNodes(outputs: readonly Value[], wrt: readonly Value[], stop: ReadonlySet<Value>): Node[] {
  const targets = new Set(wrt);
  const active = new Map<Node, boolean>();
  const order: Node[] = [];
  const stack: { node: Node; next: number; on: boolean }[] = [];
  const enter = (node: Node): void => {
    if (active.has(node)) return;
    active.set(node, false);
    stack.push({ node, next: 0, on: false });
  };
  for (const v of outputs) {
    if (stop.has(v)) continue;
    enter(v.node);
    while (stack.length > 0) {
      const top = stack[stack.length - 1];
      if (top.next < top.node.inputs.length) {
        const v = top.node.inputs[top.next++];
        if (!isFloat(v.type.dtype)) continue;
        if (targets.has(v)) top.on = true;
        if (stop.has(v)) continue;
        enter(v.node);
      } else {
        stack.pop();
        const on =
          top.on || top.node.inputs.some((v) => isFloat(v.type.dtype) && !stop.has(v) && active.get(v.node));
        if (!on) continue;
        active.set(top.node, true);
        order.push(top.node);
      }
    }
  }
  return order;
}
