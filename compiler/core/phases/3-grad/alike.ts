// Buffers that are written by one formula, such as all running statistics of a model's batch norms. In: what is written to a
// buffer. Out: the formula, as a function of the buffer's old value and a few values beside it; equal formulas have equal
// keys. Buffers that lie side by side are then written by it at once, and what is beside is all that each has of its own.
import { equal } from "../../dims/dim.ts";
import { attrsText } from "../../ir/build.ts";
import type { Builder, Dense, Value } from "../../ir/types.ts";
import { full, literalOf } from "../../ops/define.ts";
import { emptyDense } from "../../ops/dense.ts";

export interface Formula {
  readonly key: string;
  /** The values beside the old one, in the order of the formula. */
  readonly beside: readonly Value[];
  /** The formula of other values of one shape. */
  of(b: Builder, old: Value, beside: readonly Value[]): Value;
}

/** Operators deep that a formula is looked into. */
const DEEP = 12;
/** Values beside the old one: a statistic of a layer that is called twice has two. */
const MOST = 3;

type Term =
  | { readonly kind: "old" }
  | { readonly kind: "beside"; readonly value: Value }
  | { readonly kind: "literal"; readonly value: number; readonly like: Value }
  | { readonly kind: "map"; readonly from: Value; readonly args: readonly Term[]; readonly key: string };

/** How f32 `value` is made of the buffer's old value, element by element; undefined where that cannot be said. */
export function formulaOf(b: Builder, value: Value, path: string): Formula | undefined {
  const { shape } = value.type;
  const alike = (v: Value): boolean =>
    v.type.shape.length === shape.length && v.type.shape.every((d, i) => equal(d, shape[i]));
  const has = (t: Term): boolean => t.kind === "old" || (t.kind === "map" && t.args.some(has));
  const look = (v: Value, depth: number): Term => {
    const { node } = v;
    const n = literalOf(v);
    if (n !== undefined) return { kind: "literal", value: n, like: v };
    if (node.op.name === "state" && node.attrs.path === path) return { kind: "old" };
    const beside: Term = { kind: "beside", value: v };
    if (depth === 0 || !alike(v) || node.outs.length !== 1) return beside;
    if (node.op.fuses === "composite" && node.op.expand) {
      const made = look(node.op.expand(b, node)[0], depth - 1);
      return has(made) ? made : beside;
    }
    if (node.op.fuses !== "map" || node.op.pure === false) return beside;
    const args = node.inputs.map((x) => look(x, depth - 1));
    if (!args.some(has)) return beside;
    return { kind: "map", from: v, args, key: `${node.op.name}{${attrsText(node.attrs)}}` };
  };
  const formula = look(value, DEEP);
  const values = new Set<Value>();
  const keyOf = (t: Term): string => {
    if (t.kind === "old") return "old";
    if (t.kind === "literal") return `${t.value}:${t.like.type.dtype}`;
    if (t.kind === "beside") {
      values.add(t.value);
      return `beside ${[...values].indexOf(t.value)}`;
    }
    return `${t.key}(${t.args.map(keyOf).join()})`;
  };
  const key = keyOf(formula);
  const beside = [...values];
  if (formula.kind !== "map" || beside.length < 1 || beside.length > MOST) return undefined;
  if (!beside.every((v) => v.type.dtype === "f32" && alike(v))) return undefined;
  // Between buffers there are zeros, which stay finite.
  if (!Number.isFinite(atZero(formula))) return undefined;
  const build = (into: Builder, t: Term, old: Value, others: readonly Value[]): Value => {
    if (t.kind === "old") return old;
    if (t.kind === "beside") return others[beside.indexOf(t.value)];
    if (t.kind === "literal") return full(into, t.value, { dtype: t.like.type.dtype, shape: old.type.shape });
    const { op, attrs } = t.from.node;
    return into.make(
      op,
      t.args.map((a) => build(into, a, old, others)),
      attrs,
    );
  };
  return { key, beside, of: (into, old, others) => build(into, formula, old, others) };
}

/** The formula where the old value and the one beside it are 0. */
function atZero(t: Term): number {
  const run = (x: Term): Dense => {
    if (x.kind === "map") {
      const { op, attrs } = x.from.node;
      const out = emptyDense(x.from.type.dtype, [1]);
      // Attributes of a map hold no sizes.
      op.reference?.(x.args.map(run), attrs as never, [out]);
      return out;
    }
    const dtype = x.kind === "literal" ? x.like.type.dtype : "f32";
    const out = emptyDense(dtype, [1]);
    if (x.kind === "literal") out.data[0] = x.value;
    return out;
  };
  return run(t).data[0];
}
