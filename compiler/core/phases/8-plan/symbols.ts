// The sizes of a call from the shapes of its inputs.

import { InternalError } from "../../diagnostics/report.ts";
import { asConst, type Dim, floorDiv, linearIn, sub, substitute, sym, symbols } from "../../dims/dim.ts";
import type { Graph } from "../../ir/types.ts";
import { ExprTable } from "./exprs.ts";
/** Each symbol from the actual sizes (names `input.axis`): a bare axis first, else a linear one. */
export function solveSymbols(graph: Graph): {
  solve: ExprTable;
  values: Map<string, { dim: Dim; text: string }>;
} {
  const values = new Map<string, { dim: Dim; text: string }>();
  const axes = graph.inputs.flatMap((n) =>
    n.outs[0].type.shape.map((d, i) => ({ d, name: `${String(n.attrs.name)}.${i}` })),
  );
  for (const { d, name } of axes) {
    const bare =
      d.terms.length === 1 &&
      d.terms[0].coef === 1 &&
      d.terms[0].atoms.length === 1 &&
      d.terms[0].atoms[0].kind === "symbol";
    if (bare && !values.has(d.key)) values.set(d.key, { dim: sym(name), text: name });
  }
  for (const { attrs } of graph.inputs)
    if (attrs.counts) values.set(String(attrs.name), { dim: sym(String(attrs.name)), text: "" });
  for (let again = true; again; ) {
    again = false;
    for (const { d, name } of axes) {
      const open = [...symbols(d)].filter((s) => !values.has(s));
      if (open.length !== 1) continue;
      const line = linearIn(d, open[0]);
      const c = line && asConst(line.coef);
      if (!line || c === undefined || c === 0) continue;
      const rest = sub(
        sym(name),
        substitute(line.rest, (s) => values.get(s)?.dim),
      );
      // The check of the axis refuses what does not divide.
      values.set(open[0], { dim: floorDiv(rest, c), text: "" });
      again = true;
    }
  }
  const missing = graph.symbols.find((s) => !values.has(s));
  if (missing)
    throw new InternalError("plan", `the size ${missing} cannot be found from the inputs of ${graph.name}`);
  return { solve: new ExprTable(), values };
}
