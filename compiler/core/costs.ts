// What a call of an entry takes, layer by layer, before anything is fused: for `mdl summary` and its like. In: a model, one of
// its graphs and sizes. Out: arithmetic, parameters and the shape of what came out last, for each instance of a layer. What is
// counted is what operators' lowerings say one element is, so that nothing here names an operator.
import { evaluate } from "./dims/dim.ts";
import { createBuilder, isGraph } from "./ir/build.ts";
import { transform } from "./ir/transform.ts";
import type { DType, Graph, Node } from "./ir/types.ts";
import { children, type Scalar } from "./kernel/scalar.ts";
import { isolated } from "./kernel/values.ts";
import type { CheckedModel } from "./model.ts";
import { isFloat } from "./ops/define.ts";
import { scanAttrs } from "./ops/scan.ts";
import { expandingBuilder } from "./reference/expand.ts";

export interface LayerCost {
  /** As parameters are named: `layer1.0.conv1`; "" is the model. */
  readonly path: string;
  /** The declaration's name. */
  readonly layer: string;
  /** What it computed last, and of which dtype; none where the entry does not call it. */
  readonly output?: { readonly dtype: DType; readonly shape: readonly number[] };
  /** Elements of its parameters, those of layers within included; what is shared counts where it was declared. */
  readonly parameters: number;
  readonly frozen: number;
  /** Multiplications that are summed up (matrix products, convolutions), and all arithmetic on floats, of a call. */
  readonly macs: number;
  readonly flops: number;
}

type Sizes = Readonly<Record<string, number>>;

/** A row for the model and for each instance, in the order of declaration. */
export function layerCosts(model: CheckedModel, graph: Graph, sizes: Sizes): LayerCost[] {
  const own = new Map<string, { macs: number; flops: number; last?: Node }>();
  const at = (path: string): { macs: number; flops: number; last?: Node } => {
    let cost = own.get(path);
    if (!cost) {
      cost = { macs: 0, flops: 0 };
      own.set(path, cost);
    }
    return cost;
  };
  const count = (g: Graph, times: number): void => {
    for (const n of g.nodes) {
      if (n.op.fuses === "control") {
        const passes = evaluate(scanAttrs(n.attrs).count, sizes);
        for (const a of Object.values(n.attrs)) if (isGraph(a)) count(a, times * passes);
        continue;
      }
      const { macs, flops } = nodeCost(n, sizes);
      const cost = at(n.origin.path);
      cost.macs += times * macs;
      cost.flops += times * flops;
    }
  };
  count(transform(graph, () => undefined, expandingBuilder(createBuilder())).graph, 1);
  // What a layer gives is looked for where composites are whole: the last that was made in it or in a layer within.
  for (const n of graph.nodes) if (n.op.fuses !== "source") at(n.origin.path).last = n;

  // What is called by no name of its own is a part of what holds it.
  const rows = [{ path: "", layer: model.name }, ...model.layers].filter(
    ({ path }, i, all) => all.findIndex((l) => l.path === path) === i,
  );
  return rows.map(({ path, layer }) => {
    const within = (other: string): boolean => path === "" || other === path || other.startsWith(`${path}.`);
    const inside = [...own].flatMap(([p, cost]) => (within(p) ? [cost] : []));
    const last = inside.reduce<Node | undefined>(
      (best, { last }) => (last && (!best || last.id > best.id) ? last : best),
      undefined,
    );
    const type = path === "" ? graph.results[0]?.value.type : last?.outs[0].type;
    const params = model.params.filter((p) => within(p.path));
    const elements = (list: typeof params): number =>
      list.reduce((n, p) => n + p.shape.reduce((a, b) => a * b, 1), 0);
    return {
      path,
      layer,
      ...(type ? { output: { dtype: type.dtype, shape: type.shape.map((d) => evaluate(d, sizes)) } } : {}),
      parameters: elements(params),
      frozen: elements(params.filter((p) => p.frozen)),
      macs: inside.reduce((n, c) => n + c.macs, 0),
      flops: inside.reduce((n, c) => n + c.flops, 0),
    };
  });
}

function nodeCost(n: Node, sizes: Sizes): { readonly macs: number; readonly flops: number } {
  if (n.op.fuses === "source" || n.op.fuses === "view" || n.op.fuses === "pack") return { macs: 0, flops: 0 };
  const elements = n.outs[0].type.shape.reduce((p, d) => p * evaluate(d, sizes), 1);
  // What is several launches of a family of its own (a sort, a running sum) has no expression of one element to count.
  if (!n.op.lower) return { macs: 0, flops: elements };
  const env: Record<string, number> = { ...sizes };
  const { s, x } = isolated(n);
  for (const [name, d] of s.opaques) env[name] = evaluate(d, sizes);
  const seen = new Set<Scalar>();
  let macs = 0;
  const flopsOf = (y: Scalar): number => {
    if (seen.has(y)) return 0;
    seen.add(y);
    if (y.kind === "fold") {
      const terms = y.axes.reduce((p, a) => p * evaluate(a.extent, env), 1);
      const { body } = y;
      const product = y.combine === "add" && body.kind === "call" && body.fn === "mul" && isFloat(body.dtype);
      if (product) macs += elements * terms;
      return terms * (flopsOf(body) + (isFloat(y.dtype) ? 1 : 0));
    }
    const own =
      y.kind === "call" && isFloat(y.dtype) && y.fn !== "select" && !y.fn.startsWith("cast") ? 1 : 0;
    return children(y).reduce((sum, c) => sum + flopsOf(c), own);
  };
  const flops = elements * flopsOf(x);
  return { macs, flops };
}
