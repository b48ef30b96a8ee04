// Figures on the reference evaluator: a figure's tensors as the evaluator takes them, and a graph with the gradients of its
// results beside them.
import { beginning } from "../../compiler/cli/weights.ts";
import { backward } from "../../compiler/core/autodiff/backward.ts";
import type { Compiled } from "../../compiler/core/index.ts";
import { createBuilder, finishGraph } from "../../compiler/core/ir/build.ts";
import type { Dense, Graph, Node, Value } from "../../compiler/core/ir/types.ts";
import { add } from "../../compiler/core/ops/elementwise.ts";
import { full, input } from "../../compiler/core/ops/source.ts";
import { dense } from "../../compiler/core/reference/evaluate.ts";
import { ReferenceNet } from "../../compiler/core/reference/net.ts";
import { seedWords } from "../../runtime/core/threefry.ts";
import { evaluateHost } from "../../runtime/core/train.ts";
import { type Figure, operand, type WeightTensor } from "./figures.ts";

/** The compiled model on the reference evaluator, as `load` with this seed begins it, but for the tensors given. */
export function referenceNet(
  compiled: Pick<Compiled, "artefact" | "reference">,
  options: {
    readonly seed?: number;
    readonly tensors?: Readonly<Record<string, Dense>>;
    readonly totalSteps?: number;
    readonly roundFloats?: boolean;
  } = {},
): ReferenceNet {
  const seed = options.seed ?? 0;
  const initial = [...beginning(compiled.artefact, undefined, seed)].map(([spec, data]) => [
    spec.path,
    dense(spec.dtype, spec.shape, data as never),
  ]);
  return new ReferenceNet(compiled.reference, {
    ...options,
    tensors: { ...Object.fromEntries(initial), ...options.tensors },
    seed: seedWords(seed),
    evaluateHost,
  });
}

/** Weights and running statistics by path, `prefix` before each. */
export function denseWeights(f: Figure, prefix = ""): Record<string, Dense> {
  return denseTensors(new Map([...f.weights()].map(([path, tensor]) => [prefix + path, tensor])));
}

/** Float tensors by name as the evaluator takes them. */
export function denseTensors(tensors: ReadonlyMap<string, WeightTensor>): Record<string, Dense> {
  return Object.fromEntries([...tensors].map(([name, { shape, data }]) => [name, dense("f32", shape, data)]));
}

/** The inputs of a figure of one call. */
export function denseInputs(f: Figure): Record<string, Dense> {
  return Object.fromEntries(
    Object.entries(f.info.inputs).map(([name, how]) => {
      const data = operand(f.info.salt + name, how);
      return [name, dense(data instanceof Int32Array ? "i32" : "f32", how.shape, data)];
    }),
  );
}

/** The directions of results, as inputs `direction_NAME`. */
export function denseDirections(f: Figure, results: readonly string[]): Record<string, Dense> {
  return Object.fromEntries(
    results.map((name) => {
      const { shape } = f.expected(`eval/result/${name}`);
      return [`direction_${name}`, dense("f32", shape, f.direction(name, shape))];
    }),
  );
}

/**
 * The graph's results, and as results `gradient PATH` the gradients of their sum by every parameter and float input it
 * reads; a result that is no scalar counts by its input `direction_NAME`.
 */
export function withGradients(graph: Graph): Graph {
  const b = createBuilder(1 + Math.max(...graph.nodes.map((n) => n.id)));
  const extra: Node[] = [];
  const seeds = graph.results.map(({ name, value }): Value => {
    const { dtype, shape } = value.type;
    if (shape.length === 0) return b.make(full, [], { value: 1, dtype, shape });
    const direction = b.make(input, [], { name: `direction_${name}`, dtype, shape });
    extra.push(direction.node);
    return direction;
  });
  const leaves = graph.nodes.filter(
    (n) => (n.op.name === "param" || n.op.name === "input") && n.outs[0].type.dtype === "f32",
  );
  const grads = backward(
    b,
    graph.results.map((r) => r.value),
    seeds,
    leaves.map((n) => n.outs[0]),
  );
  const named = leaves.flatMap((n, i) => {
    const value = grads[i];
    return value ? [{ name: `gradient ${n.attrs.path ?? n.attrs.name}`, value: add(b, value, 0) }] : [];
  });
  return finishGraph({
    ...graph,
    inputs: [...graph.inputs, ...extra],
    results: [...graph.results, ...named],
    constraints: [...graph.constraints, ...b.constraints],
  });
}
