// A graph in the making, from nothing to what the model holds. In: nodes that were traced, results. Out: a Graph with its
// writes, conditions and index ranges. Separate because entries and train blocks end alike.
import { print, symbols } from "../../../dims/dim.ts";
import { createBuilder, finishGraph, reachable } from "../../../ir/build.ts";
import type { Constraint, Graph, Origin, Value } from "../../../ir/types.ts";
import { add } from "../../../ops/elementwise.ts";
import { full, RANDOM_STEP, seed as seedOp } from "../../../ops/source.ts";
import { stepValue } from "../tensors/apply.ts";
import { checkLiterals, indexRanges } from "../tensors/indexes.ts";
import { checkSize } from "../tensors/tensors.ts";
import { type Ctx, newState, type Trace } from "../values/context.ts";

/** A graph in the making, with its builder. */
export function newTrace(name: string): Trace {
  const b = createBuilder();
  return {
    b,
    name,
    count: () => b.count,
    next: () => b.next,
    constraints: () => b.constraints,
    indexings: () => b.indexings,
    slices: new Map(),
    inputs: [],
    gradients: [],
    seen: [],
    state: newState(),
    calls: 0,
    randoms: new Map(),
    pass: undefined,
  };
}

/** Collects a trace into a graph. */
export function seal(
  ctx: Ctx,
  trace: Trace,
  results: readonly { readonly name: string; readonly value: Value }[],
): { graph: Graph; constraints: readonly Constraint[] } {
  const writes = [...trace.state.written].map(([path, w]) => ({ path, value: w.value }));
  const sinks = [...results, ...writes].map((r) => r.value);
  if (reachable(sinks).some((n) => n.op === seedOp))
    writes.push({ path: RANDOM_STEP, value: nextStep(trace) });
  checkLiterals(ctx, trace);
  const constraints = trace.constraints().map(sayBoth);
  const used = new Set<string>();
  for (const i of trace.inputs) {
    if (i.attrs.counts) used.add(String(i.attrs.name));
    for (const d of i.outs[0].type.shape) symbols(d, used);
  }
  const graph = finishGraph({
    name: trace.name,
    inputs: trace.inputs,
    results: results.map(({ name, value }) => ({ name, value })),
    writes,
    symbols: [...used],
    constraints,
    indexes: indexRanges(trace.indexings(), trace.inputs, trace.slices),
  });
  let at: Ctx = ctx;
  let of: Origin | undefined;
  for (const n of graph.nodes) {
    const span = n.origin.span ?? ctx.calls[0];
    if (!span) continue;
    if (n.origin !== of) {
      of = n.origin;
      at = { ...ctx, path: of.path, calls: of.calls };
    }
    for (const v of n.outs) checkSize(at, v.type, span);
  }
  return { graph, constraints };
}

/** A condition's message names both sides. */
function sayBoth(c: Constraint): Constraint {
  const [left, right] = [print(c.left), print(c.right)];
  if (c.message.includes(left) && c.message.includes(right)) return c;
  const verb =
    c.relation === "==" ? "must equal" : c.relation === ">=" ? "must be at least" : "must be divisible by";
  return { ...c, message: `${c.message}: ${left} ${verb} ${right}` };
}

function nextStep(trace: Trace): Value {
  const one = trace.b.make(full, [], { value: 1, dtype: "u32", shape: [] });
  return add(trace.b, stepValue(trace), one);
}
