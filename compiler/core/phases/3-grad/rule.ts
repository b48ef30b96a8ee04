// An optimiser's rule over parameters. In: its graph of one step, of one element or of one whole parameter. Out: the same step of
// many elements at once, where what hangs on no element is computed once; or of one parameter.
import type { Dim } from "../../dims/dim.ts";
import { dim } from "../../dims/dim.ts";
import type { Builder, Graph, Node, Value } from "../../ir/types.ts";
import { broadcastTo, broadcastTogether, reshape } from "../../ops/axes.ts";
import { APART, pack } from "../../ops/copy.ts";
import { literalOf } from "../../ops/define.ts";
import { sliceAxis } from "../../ops/movement.ts";

/** What a step makes: the next parameter, and what the rule keeps, by name. */
export interface Stepped {
  readonly param: Value;
  readonly states: ReadonlyMap<string, Value>;
}

const nameOf = (n: Node): string => String(n.op.name === "state" ? n.attrs.path : n.attrs.name);
const isLeaf = (n: Node): boolean => n.op.name === "state" || n.op.name === "input";

/** A rule's values for these leaves, node by node. */
function rebuilt(
  b: Builder,
  nodes: readonly Node[],
  map: Map<Value, Value>,
  operands: (n: Node, inputs: readonly Value[]) => readonly Value[] = (_, inputs) => inputs,
): void {
  for (const n of nodes) {
    if (map.has(n.outs[0])) continue;
    const inputs = n.inputs.map((v) => map.get(v) as Value);
    const outs = b.node(n.op, operands(n, inputs), n.attrs);
    n.outs.forEach((v, i) => void map.set(v, outs[i]));
  }
}
const steppedBy = (graph: Graph, of: (v: Value) => Value): Stepped => ({
  param: of(graph.results[0].value),
  states: new Map(graph.writes.map((w) => [w.path, of(w.value)])),
});

/** One step of one parameter, with the leaves of that parameter. */
export function stepWhole(b: Builder, graph: Graph, leaf: (name: string) => Value): Stepped {
  const map = new Map<Value, Value>();
  for (const n of graph.nodes) if (isLeaf(n)) map.set(n.outs[0], leaf(nameOf(n)));
  rebuilt(b, graph.nodes, map);
  return steppedBy(graph, (v) => map.get(v) as Value);
}

/** A rule of one element: which of its values hang on elements. */
export class ElementRule {
  readonly #graph: Graph;
  /** Values that differ from element to element. */
  readonly #moved: ReadonlySet<Value>;
  /** What it keeps of each element; all else that it keeps is one number. */
  readonly ofElements: ReadonlySet<string>;

  /** `differ`: leaves that are not the same for all elements, beside the parameter and its gradient. */
  constructor(graph: Graph, differ: Iterable<string>) {
    this.#graph = graph;
    const leaves = new Set(["param", "grad", ...differ]);
    for (;;) {
      const moved = new Set<Value>();
      for (const n of graph.nodes)
        if (isLeaf(n) ? leaves.has(nameOf(n)) : n.inputs.some((v) => moved.has(v)))
          for (const v of n.outs) moved.add(v);
      const more = graph.writes.filter((w) => moved.has(w.value) && !leaves.has(w.path));
      this.#moved = moved;
      this.ofElements = leaves;
      if (more.length === 0) return;
      for (const w of more) leaves.add(w.path);
    }
  }

  /** With the numbers that all elements have in common. */
  with(b: Builder, number: (name: string) => Value): Spread {
    const fixed = new Map<Value, Value>();
    const still = this.#graph.nodes.filter((n) => !this.#moved.has(n.outs[0]));
    for (const n of still) if (isLeaf(n)) fixed.set(n.outs[0], number(nameOf(n)));
    rebuilt(b, still, fixed);
    // What elements meet of what is computed lies side by side, so that the update binds one buffer for it.
    const met = new Set<Value>();
    for (const n of this.#graph.nodes)
      if (this.#moved.has(n.outs[0]))
        for (const v of n.inputs) if (!this.#moved.has(v) && v.node.inputs.length > 0) met.add(v);
    const computed = [...new Set([...met].map((v) => fixed.get(v) as Value))].filter(
      (v) => v.type.dtype === "f32" && literalOf(v) === undefined,
    );
    const beside = new Map(fixed);
    if (computed.length > 1) {
      const offsets = computed.map((_, i) => i * APART);
      const packed = b.make(
        pack,
        computed.map((v) => reshape(b, v, [dim(1)])),
        { offsets, total: computed.length * APART },
        "factors",
      );
      for (const v of met) {
        const at = computed.indexOf(fixed.get(v) as Value);
        if (at < 0) continue;
        beside.set(v, reshape(b, sliceAxis(b, packed, 0, offsets[at], 1), []));
      }
    }
    const graph = this.#graph;
    const moved = this.#moved;
    const kept = this.ofElements;
    return {
      numbers: new Map(
        graph.writes.flatMap((w) => (moved.has(w.value) ? [] : [[w.path, fixed.get(w.value) as Value]])),
      ),
      over(shape, leaf) {
        const map = new Map(beside);
        for (const n of graph.nodes)
          if (isLeaf(n) && moved.has(n.outs[0])) map.set(n.outs[0], leaf(nameOf(n)));
        // Numbers stay scalars until they meet an element.
        rebuilt(b, graph.nodes, map, (n, inputs) =>
          inputs.length > 1 ? broadcastTogether(b, inputs, n.op.name) : inputs,
        );
        const stepped = steppedBy(graph, (v) => broadcastTo(b, map.get(v) as Value, shape));
        return {
          param: stepped.param,
          states: new Map([...stepped.states].filter(([name]) => kept.has(name))),
        };
      },
    };
  }
}
export interface Spread {
  /** The next values of what is kept once. */
  readonly numbers: ReadonlyMap<string, Value>;
  over(shape: readonly Dim[], leaf: (name: string) => Value): Stepped;
}
