// Gradients to be compared: of a training step's loss, or of an entry's results, by every parameter and input that is a float. In: a
// model that was checked for debugging. Out: an entry that gives the loss and the gradients, and one whose values can be pushed a
// little, each by an input of its own: what finite differences of any value are taken by.
import { backward } from "../autodiff/backward.ts";
import { createBuilder, finishGraph } from "../ir/build.ts";
import { transform } from "../ir/transform.ts";
import { type Graph, type Node, OpError, type Value } from "../ir/types.ts";
import { blockEntry, type CheckedEntry, type CheckedModel } from "../model.ts";
import { cast, sum } from "../ops/axes.ts";
import { full, isFloat } from "../ops/define.ts";
import { add, mul } from "../ops/elementwise.ts";
import { input, param } from "../ops/source.ts";
import { portOf } from "./entry.ts";

export interface Gradient {
  readonly name: string;
  readonly of: "parameter" | "input" | "value";
  readonly value: Value;
  readonly gradient: Value;
}
export interface GradientEntry {
  /** Results: `loss`. */
  readonly entry: CheckedEntry;
  /** Results of an entry that have a weight in its loss: inputs of the name that they are given here. */
  readonly weights: readonly { readonly name: string; readonly value: Value }[];
  /** By parameters and inputs. */
  readonly gradients: readonly Gradient[];
  /** By what lies between, in the order of the graph. */
  readonly between: readonly Gradient[];
}

/** Of an entry, or of a train block by its own. */
export function gradientEntry(model: CheckedModel, name: string): GradientEntry {
  const train = model.trains.find((t) => blockEntry(t) === name);
  const source = train ? { ...train, graph: train.lossGraph } : model.entries.find((e) => e.name === name);
  if (!source) throw new Error(`${model.name} has no entry ${name}`);
  const { graph, inputs, span } = source;
  const b = createBuilder(1 + Math.max(0, ...graph.nodes.map((n) => n.id)));
  const weights: { name: string; value: Value; node: Node }[] = [];
  const terms = (train ? [graph.results[0]] : graph.results).flatMap(({ name: of, value }) => {
    if (!isFloat(value.type.dtype)) return [];
    if (train) return [cast(b, value, "f32")];
    // A plain sum would not see what sums to one: each element counts by its own weight.
    const { shape } = value.type;
    const w = b.make(input, [], { name: `weight of ${of}`, dtype: "f32", shape: [...shape] });
    weights.push({ name: `weight of ${of}`, value, node: w.node });
    const product = mul(b, cast(b, value, "f32"), w);
    return [shape.length === 0 ? product : sum(b, product)];
  });
  const loss = terms.length ? terms.reduce((x, y) => add(b, x, y)) : undefined;
  const gradientsBy = (leaves: readonly Target[]): Gradient[] => {
    const targets = [...leaves, ...valuesBetween(graph, leaves)];
    if (!loss) return [];
    const wrt = targets.map((t) => t.value);
    const grads = backward(b, [loss], [full(b, 1, loss.type)], wrt);
    return targets.flatMap((t, i): Gradient[] => {
      const gradient = grads[i];
      return gradient ? [{ ...t, gradient }] : [];
    });
  };
  const leaves = leavesOf(graph, train && new Set(train.update));
  let found: Gradient[];
  try {
    found = gradientsBy(leaves);
  } catch (e) {
    // An input may stand behind an operator without a gradient.
    if (!(e instanceof OpError)) throw e;
    found = gradientsBy(leaves.filter((t) => t.of === "parameter"));
  }
  const results = loss ? [{ name: "loss", value: loss }] : [];
  return {
    entry: {
      name,
      graph: finishGraph({
        ...graph,
        inputs: [...graph.inputs, ...weights.map((w) => w.node)],
        results,
        writes: [],
      }),
      inputs: [...inputs, ...weights.map((w) => portOf(w.name, w.node.outs[0], span))],
      outputs: results.map((r) => portOf(r.name, r.value, span)),
      training: true,
      span,
    },
    weights,
    gradients: found.filter((g) => g.of !== "value"),
    between: found.filter((g) => g.of === "value"),
  };
}

type Target = Omit<Gradient, "gradient">;

/** Parameters (of a step: those it trains) and inputs that are floats. */
function leavesOf({ nodes, inputs }: Graph, trained: ReadonlySet<string> | undefined): Target[] {
  const params = nodes.filter((n) => n.op === param && (!trained || trained.has(String(n.attrs.path))));
  return [
    ...params.map((n): Target => ({ name: String(n.attrs.path), of: "parameter", value: n.outs[0] })),
    // A step's inputs may stand behind what has no gradient; what is trained does not.
    ...(trained ? [] : inputs).map(
      (n): Target => ({ name: String(n.attrs.name), of: "input", value: n.outs[0] }),
    ),
  ].filter((t) => isFloat(t.value.type.dtype));
}

function valuesBetween({ nodes }: Graph, leaves: readonly Target[]): Target[] {
  const moved = new Set<Node>(leaves.map((l) => l.value.node));
  const out: Target[] = [];
  for (const n of [...nodes].sort((x, y) => x.id - y.id)) {
    if (moved.has(n) || !n.inputs.some((v) => moved.has(v.node) && isFloat(v.type.dtype))) continue;
    moved.add(n);
    if (n.op.fuses !== "view")
      for (const value of n.outs) if (isFloat(value.type.dtype)) out.push({ name: "", of: "value", value });
  }
  return out;
}

/** The entry with an input beside each of these values, which is added to it. */
export function pushed(
  entry: CheckedEntry,
  values: readonly Value[],
): { readonly entry: CheckedEntry; readonly inputs: ReadonlyMap<Value, string> } {
  const names = new Map(values.map((v, i) => [v, `push ${i}`]));
  const extra: Node[] = [];
  const own = new Map<Node, Node>();
  const { graph, map } = transform(entry.graph, (b, n, operands) => {
    if (!n.outs.some((v) => names.has(v))) return undefined;
    const outs = b.node(n.op, operands, n.attrs, n.label);
    own.set(n, outs[0].node);
    return outs.map((v, i) => {
      const name = names.get(n.outs[i]);
      if (name === undefined) return v;
      const { dtype, shape } = v.type;
      const push = b.make(input, [], { name, dtype, shape: [...shape] });
      extra.push(push.node);
      return add(b, v, push);
    });
  });
  return {
    inputs: names,
    entry: {
      ...entry,
      graph: finishGraph({
        ...graph,
        // What is added to an input is no input.
        inputs: [
          ...entry.graph.inputs.map((n) => own.get(n) ?? (map.get(n.outs[0]) as Value).node),
          ...extra,
        ],
      }),
      inputs: [...entry.inputs, ...extra.map((n) => portOf(String(n.attrs.name), n.outs[0], entry.span))],
    },
  };
}

/** Floats that the entry and these gradients compute, in the order of the graph: forward, then gradients. */
export function computed(values: readonly Value[]): Value[] {
  const { nodes } = finishGraph({
    name: "",
    inputs: [],
    results: values.map((value) => ({ name: "", value })),
    symbols: [],
  });
  return [...nodes]
    .sort((x, y) => x.id - y.id)
    .filter((n) => n.op.fuses !== "source" && n.op.fuses !== "view" && n.inputs.length > 0)
    .flatMap((n) => n.outs)
    .filter((v) => isFloat(v.type.dtype));
}
