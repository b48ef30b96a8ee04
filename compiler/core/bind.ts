// Sizes that are fixed ahead (`--bind N=8`), against what a model has. In: a checked model and the sizes. Out: diagnostics
// for a name that is no size, a value that is none, tensors that would be too large, and conditions that could not hold.
import { closest, type Diagnostics } from "./diagnostics/index.ts";
import { asConst, DimError, product, substitute } from "./dims/dim.ts";
import type { Graph } from "./ir/types.ts";
import { blockEntry, type CheckedModel } from "./model.ts";

/** Kernels count elements in 32-bit integers. */
const LARGEST = 2 ** 31 - 1;

export function checkBind(
  model: CheckedModel,
  bind: Readonly<Record<string, number>>,
  entries: readonly string[] | undefined,
  problems: Diagnostics,
): void {
  const graphs: { readonly name: string; readonly graph: Graph }[] = [
    ...model.entries.map((e) => ({ name: e.name, graph: e.graph })),
    ...model.trains.map((t) => ({ name: blockEntry(t), graph: t.lossGraph })),
  ].filter(({ name }) => {
    const only = model.trains.length === 1 && name === `${model.trains[0].name}_step` ? "train_step" : name;
    return entries === undefined || entries.includes(name) || entries.includes(only);
  });
  const known = [...new Set(graphs.flatMap(({ graph }) => graph.symbols))];
  for (const [name, size] of Object.entries(bind)) {
    if (!known.includes(name)) {
      const near = closest(name, known);
      problems.report("E0603", `${model.name} has no size ${name} to bind`, model.span, {
        help: near
          ? `did you mean ${near}?`
          : known.length
            ? `its sizes are ${known.join(", ")}`
            : "all its sizes are fixed",
      });
    } else if (!Number.isSafeInteger(size) || size < 0 || size > LARGEST) {
      problems.report("E0607", `${name} = ${size} is no size`, model.span, {
        help: `a size is an integer from 0 to ${LARGEST}`,
      });
    }
  }
  if (problems.hasErrors) return;
  const by = (name: string): number | undefined => (Object.hasOwn(bind, name) ? bind[name] : undefined);
  for (const { name, graph } of graphs) checkGraph(model, name, graph, by, problems);
}

function checkGraph(
  model: CheckedModel,
  entry: string,
  graph: Graph,
  by: (name: string) => number | undefined,
  problems: Diagnostics,
): void {
  for (const node of graph.nodes)
    for (const { type } of node.outs) {
      let elements: number | undefined;
      try {
        elements = asConst(product(type.shape.map((d) => substitute(d, by))));
      } catch (error) {
        if (!(error instanceof DimError)) throw error;
        elements = Number.POSITIVE_INFINITY;
      }
      if (elements === undefined || elements <= LARGEST) continue;
      const shape = type.shape.map((d) => d.key).join(", ");
      problems.report(
        "E1006",
        `with these sizes ${entry} has a tensor of more than 2^31 elements: ${type.dtype}[${shape}]`,
        node.origin.span ?? model.span,
      );
      return;
    }
  for (const { left, relation, right, message } of graph.constraints) {
    const [a, b] = [left, right].map((d) => asConst(substitute(d, by)));
    if (a === undefined || b === undefined) continue;
    const holds = relation === "==" ? a === b : relation === ">=" ? a >= b : b !== 0 && a % b === 0;
    if (!holds)
      problems.report("E0607", `with these sizes ${entry} cannot be called: ${message}`, model.span);
  }
}
