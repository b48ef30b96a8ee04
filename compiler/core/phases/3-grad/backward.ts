// Reverse-mode gradients, graph to graph. In: outputs with their seeds, and the values to differentiate by. Out: one
// gradient per value (undefined where nothing flows), as nodes of the same builder. Each operator brings its own rule
// (`vjp`); accumulation is in a fixed order, so that a training run repeats bit for bit.
import { derivedOrigin, reachable } from "../../ir/build.ts";
import { type Builder, type Node, OpError, type Value } from "../../ir/types.ts";
import { add } from "../../ops/elementwise.ts";

export function backward(
  b: Builder,
  outputs: readonly Value[],
  seeds: readonly (Value | undefined)[],
  wrt: readonly Value[],
): (Value | undefined)[] {
  const order = reachable(outputs);
  // Only nodes on a way from `wrt` to an output take part.
  const wanted = new Set<Node>();
  const targets = new Set(wrt.map((v) => v.node));
  for (const n of order) if (targets.has(n) || n.inputs.some((v) => wanted.has(v.node))) wanted.add(n);
  const grads = new Map<Value, Value>();
  const give = (v: Value, g: Value | undefined): void => {
    if (!g || !wanted.has(v.node)) return;
    const old = grads.get(v);
    grads.set(v, old ? add(b, old, g) : g);
  };
  outputs.forEach((v, i) => give(v, seeds[i]));
  const isTarget = new Set(wrt);
  for (const n of [...order].reverse()) {
    if (!wanted.has(n) || n.inputs.length === 0) continue;
    const gs = n.outs.map((o) => grads.get(o));
    if (gs.every((g) => g === undefined)) continue;
    if (n.outs.every((o) => isTarget.has(o)) && !n.inputs.some((v) => wanted.has(v.node))) continue;
    if (!n.inputs.some((v) => wanted.has(v.node))) continue;
    b.at(derivedOrigin(n.origin, `gradient of ${n.op.name}`), () => {
      if (!n.op.vjp && n.op.expand) {
        // A composite without a rule of its own is differentiated through its definition.
        const inner = n.op.expand(b, n);
        const through = backward(b, inner, gs, n.inputs);
        n.inputs.forEach((v, i) => give(v, through[i]));
        return;
      }
      if (!n.op.vjp) {
        if (n.op.noGrad !== undefined && n.outs.every((o) => o.type.dtype !== "f32" && o.type.dtype !== "f16")) return;
        throw new OpError("E1101", `${n.op.name} has no gradient${n.op.noGrad ? `: ${n.op.noGrad}` : ""}`);
      }
      const ins = n.op.vjp(b, n, gs);
      n.inputs.forEach((v, i) => give(v, ins[i]));
    });
  }
  return wrt.map((v) => grads.get(v));
}
