// The list of all operators: adding one touches its family's file and, for a new family, this list.
// In: the families. Out: lookup by name, and which operator a call in the language means.
import type { OpDef } from "../ir/types.ts";
import { adaptives } from "./adaptive.ts";
import { arranging } from "./arrange.ts";
import { attentions } from "./attention.ts";
import { broadcastToOp, castOp, reshapeOp, sumOp } from "./axes.ts";
import { afterOp, checkpoint } from "./checkpoint.ts";
import { convolutions } from "./conv.ts";
import { copy, pack } from "./copy.ts";
import { customOp, variableOp } from "./custom.ts";
import { contractions } from "./dot.ts";
import { einsums } from "./einsum.ts";
import { elementwise, maximumOp, minimumOp } from "./elementwise.ts";
import { joins } from "./joins.ts";
import { lookups } from "./lookup.ts";
import { losses } from "./loss.ts";
import { movement } from "./movement.ts";
import { networks } from "./nn.ts";
import { norms } from "./norms.ts";
import { pooling } from "./pool.ts";
import { random } from "./random.ts";
import { maxOp, minOp, reductions } from "./reduce.ts";
import { resizes } from "./resize.ts";
import { runnings } from "./running.ts";
import { loop, outside, pick, scan } from "./scan.ts";
import { sorts } from "./sort.ts";
import { constant, full, hyper, input, iota, param, seed, size, state } from "./source.ts";
import { dequantizeOp } from "./stored.ts";
import { winogradFilter } from "./winograd.ts";

export { type Argument, type Arguments, applyOp, bindArguments } from "./apply.ts";
export { broadcastTo, broadcastTogether } from "./axes.ts";
export { byName } from "./define.ts";

/** Operators by what they do, in the order that lists and pages have them. */
export const opFamilies: readonly { readonly title: string; readonly ops: readonly OpDef[] }[] = [
  { title: "Sources", ops: [input, param, state, seed, hyper, constant, full, size, iota] },
  { title: "Casts, shapes and sums", ops: [castOp, reshapeOp, broadcastToOp, sumOp] },
  { title: "Element by element", ops: elementwise },
  { title: "Movement", ops: [...movement, ...joins, ...arranging] },
  { title: "Reductions and scans", ops: [...reductions, ...runnings] },
  { title: "Products of matrices", ops: [...contractions, ...einsums] },
  { title: "Convolutions", ops: convolutions },
  { title: "Pools and windows", ops: [...pooling, ...adaptives] },
  { title: "Images at other sizes", ops: resizes },
  { title: "Lookups", ops: lookups },
  { title: "Order and scatters", ops: sorts },
  { title: "Random numbers", ops: random },
  { title: "Softmax and activations", ops: networks },
  { title: "Norms", ops: norms },
  { title: "Attention", ops: attentions },
  { title: "Losses", ops: losses },
  {
    title: "Of the compiler's own",
    ops: [
      copy,
      pack,
      winogradFilter,
      dequantizeOp,
      scan,
      loop,
      pick,
      outside,
      customOp,
      variableOp,
      checkpoint,
      afterOp,
    ],
  },
];
export const allOps: readonly OpDef[] = opFamilies.flatMap((family) => family.ops);

const named = new Map<string, OpDef>();
for (const op of allOps) {
  if (named.has(op.name)) throw new Error(`two operators are called ${op.name}`);
  named.set(op.name, op);
}

/** The operator of a name, as in graph text; any, also those the language does not expose. */
export const opNamed = (name: string): OpDef | undefined => named.get(name);

/** Operators a program may call, in the order of the families. */
export const exposedOps: readonly OpDef[] = allOps.filter((o) => o.exposed !== false);

const pairs: { readonly [name: string]: readonly [OpDef, OpDef] } = {
  max: [maximumOp, maxOp],
  min: [minimumOp, minOp],
};
/**
 * The operator a call means: of `max(x, y)` (two by place) the element-wise one, of `max(x, axis = 1)` the reduction.
 * Undefined where the language has none of that name.
 */
export function opForCall(name: string, positional: number): OpDef | undefined {
  const pair = pairs[name];
  if (pair) return positional >= 2 ? pair[0] : pair[1];
  const op = named.get(name);
  return op && op.exposed !== false ? op : undefined;
}
