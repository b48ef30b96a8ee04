// `checkpoint(f)`: what f makes is computed again in the backward pass. In: a call of f. Out: its value, of one node that holds
// what the call made. The call is traced into the graph around it, as a scan's body is; what it made is then copied into a graph
// of its own, and what it reads from before becomes an operand. What it stores is not part of that: it is stored once.
import type { Span } from "../../../diagnostics/report.ts";
import { symbols } from "../../../dims/dim.ts";
import { createBuilder, finishGraph, reachable } from "../../../ir/build.ts";
import type { Graph, Node, Value } from "../../../ir/types.ts";
import { checkpoint } from "../../../ops/checkpoint.ts";
import { input } from "../../../ops/source.ts";
import { type Ctx, originOf, traceOf } from "../values/context.ts";
import { tensorVal, type Val } from "../values/values.ts";

export function checkpointed(ctx: Ctx, span: Span, call: () => Val): Val {
  // A debug build keeps everything, so that everything can be looked at.
  if (ctx.shared.watch) return call();
  const { b, next } = traceOf(ctx, span, "checkpoint");
  const first = next();
  const val = call();
  const made: Value[] = [];
  const collect = (v: Val): void => {
    if (v.kind === "tensor" && isWithin(v.value.node, first) && !isLiteral(v.value.node)) made.push(v.value);
    else if (v.kind === "list" || v.kind === "tuple") v.items.forEach(collect);
    else if (v.kind === "record") for (const f of v.fields.values()) collect(f);
  };
  collect(val);
  const whole = [...new Set(made)];
  if (whole.length === 0) return val;
  const { body, operands } = partFrom(first, `${ctx.fn ?? "checkpoint"}.checkpoint`, whole);
  const outs = b.at(originOf(ctx, span), () => b.node(checkpoint, operands, { body }));
  const standing = (v: Val): Val => {
    if (v.kind === "tensor") {
      const i = whole.indexOf(v.value);
      return i < 0 ? v : tensorVal(outs[i]);
    }
    if (v.kind === "list" || v.kind === "tuple") return { ...v, items: v.items.map(standing) };
    if (v.kind === "record")
      return { ...v, fields: new Map([...v.fields].map(([k, f]) => [k, standing(f)])) };
    return v;
  };
  return standing(val);
}

/** Made since, of something: what is a leaf was only named first here. */
const isWithin = (n: Node, first: number): boolean =>
  (n.id >= first && n.op.fuses !== "source") || isLiteral(n);
/** Costs nothing to have once more. */
const isLiteral = (n: Node): boolean => n.inputs.length === 0 && n.op.fuses === "map";

/** What was made since `first` of the graph that ends in `results`, and what it is made of. */
function partFrom(
  first: number,
  name: string,
  results: readonly Value[],
): { readonly body: Graph; readonly operands: readonly Value[] } {
  const b = createBuilder();
  const map = new Map<Value, Value>();
  const operands: Value[] = [];
  const inputs: Node[] = [];
  const used = new Set<string>();
  const inside = (v: Value): Value => {
    let made = map.get(v);
    if (!made) {
      const attrs = { name: `in${inputs.length}`, dtype: v.type.dtype, shape: [...v.type.shape] };
      made = b.make(input, [], attrs, v.node.label);
      operands.push(v);
      inputs.push(made.node);
      map.set(v, made);
    }
    return made;
  };
  for (const n of reachable(results, (n) => isWithin(n, first))) {
    const outs = b.at(n.origin, () => b.node(n.op, n.inputs.map(inside), n.attrs, n.label));
    n.outs.forEach((v, i) => {
      map.set(v, outs[i]);
      for (const d of v.type.shape) symbols(d, used);
    });
  }
  return {
    body: finishGraph({
      name,
      inputs,
      results: results.map((v, i) => ({ name: `out${i}`, value: map.get(v) as Value })),
      symbols: [...used],
    }),
    operands,
  };
}
