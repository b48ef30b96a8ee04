// From a call in the language to nodes. In: an operator and its arguments by parameter name. Out: the result values.
// Fills defaults, normalises attributes, makes literals tensors, broadcasts element-wise operands with explicit views, and
// expands what is only a convenience. The checker and the tests come through here; passes use `b.make`.
import { asConst, type Dim, type DimLike, dim } from "../dims/dim.ts";
import { isDim } from "../ir/build.ts";
import type { Attr, Attrs, Builder, DType, OpDef, OpParam, Value } from "../ir/types.ts";
import { broadcastTogether, cast, castOp } from "./axes.ts";
import { fail, full, isFloat, tupleText } from "./define.ts";

/** A tensor, a literal that adapts, or lists of them; an attribute's value; undefined is an argument not given. */
export type Argument = Value | Attr | readonly (Value | number | boolean)[];
export type Arguments = { readonly [name: string]: Argument };

const isValue = (a: unknown): a is Value =>
  typeof a === "object" && a !== null && "node" in a && "index" in a;

export function applyOp(b: Builder, op: OpDef, args: Arguments, label?: string): readonly Value[] {
  const { inputs, attrs } = bindArguments(b, op, args);
  const types = inputs.map((v) => v.type);
  // In half precision what an operator is made of is computed in single, and its result rounded once: sums of squares and
  // exponentials overflow long before a mean or a norm does.
  if (op.fuses === "composite" && !op.inline?.(types, attrs) && types.some((t) => t.dtype === "f16")) {
    const results = op.infer(types, attrs, b);
    const wide = inputs.map((v) => (v.type.dtype === "f16" ? cast(b, v, "f32") : v));
    const outs = made(b, op, wide, attrs);
    return outs.map((v, i) =>
      results[i].dtype === "f16" ? b.make(castOp, [v], { dtype: "f16" }, label) : v,
    );
  }
  return made(b, op, inputs, attrs, label);
}

function made(
  b: Builder,
  op: OpDef,
  inputs: readonly Value[],
  attrs: Attrs,
  label?: string,
): readonly Value[] {
  const types = inputs.map((v) => v.type);
  if (op.inline?.(types, attrs) && op.expand) {
    // The node is made for its checks and its types; nothing refers to it.
    const [node] = b.node(op, inputs, attrs, label).map((v) => v.node);
    return op.expand(b, node);
  }
  return b.node(op, inputs, attrs, label);
}

/** The operands and attributes of a call, complete: what `infer` takes. */
export function bindArguments(
  b: Builder,
  op: OpDef,
  args: Arguments,
): { inputs: readonly Value[]; attrs: Attrs } {
  const names = new Map(op.params.flatMap((p) => [p.name, ...(p.aliases ?? [])].map((n) => [n, p] as const)));
  const given = new Map<OpParam, Argument>();
  for (const [name, a] of Object.entries(args)) {
    if (a === undefined) continue;
    const p = names.get(name);
    if (!p) fail("E0603", `${op.name} has no parameter ${name}`, { attr: name });
    if (given.has(p)) fail("E0604", `${op.name}: ${p.name} is given twice`, { attr: name });
    given.set(p, a);
  }
  const inputs = operands(b, op, given);
  const written: Record<string, Attr> = {};
  for (const p of op.params) {
    if (p.kind === "tensor" || p.kind === "tensors") continue;
    const a = given.get(p) ?? p.default;
    if (a !== undefined) written[p.name] = attribute(op, p, a as Attr);
    else if (!p.optional) fail("E0601", `${op.name}: ${p.name} is not given`, { attr: p.name });
  }
  const complete = op.complete?.(
    inputs.map((v) => v.type),
    written,
  );
  return { inputs, attrs: complete ? ordered(op, complete) : written };
}

/** Attributes in the order of the parameters, so that equal nodes print alike. */
function ordered(op: OpDef, attrs: Attrs): Attrs {
  const out: Record<string, Attr> = {};
  for (const name of [...op.params.map((p) => p.name), ...Object.keys(attrs)])
    if (attrs[name] !== undefined) out[name] = attrs[name];
  return out;
}

function operands(b: Builder, op: OpDef, given: ReadonlyMap<OpParam, Argument>): readonly Value[] {
  const slots: { readonly param: OpParam; readonly value: Value | number | boolean }[] = [];
  let skipped: OpParam | undefined;
  for (const param of op.params) {
    if (param.kind !== "tensor" && param.kind !== "tensors") continue;
    const a = given.get(param);
    if (a === undefined) {
      if (!param.optional) fail("E0601", `${op.name}: ${param.name} is not given`, { attr: param.name });
      skipped = param;
      continue;
    }
    // Operands are told apart by position.
    if (skipped && !param.implicit)
      fail("E0601", `${op.name}: ${param.name} needs ${skipped.name}`, { attr: skipped.name });
    const list = param.kind === "tensors" && Array.isArray(a) ? a : [a];
    for (const value of list) slots.push({ param, value: value as Value | number | boolean });
  }
  const tensors = slots.map((s) => s.value).filter(isValue);
  const neighbour = (tensors.find((v) => v.type.dtype !== "bool") ?? tensors[0])?.type.dtype;
  const values = slots.map(({ param, value }, operand) => {
    if (isValue(value)) return value;
    const literal = constantSize(value);
    if (typeof literal !== "number" && typeof literal !== "boolean")
      return fail("E0605", `${op.name}: ${param.name} is not a tensor`, { operand });
    const to: DType = typeof literal === "boolean" ? "bool" : (param.literal ?? neighbour ?? "f32");
    if (!isFloat(to) && !Number.isInteger(Number(literal)))
      fail("E0402", `${op.name}: ${literal} does not adapt to ${to}`, {
        operand,
        help: "write an integer, or cast the tensor to f32",
      });
    return full(b, Number(literal), { dtype: to, shape: [] });
  });
  return (op.broadcasts ?? op.fuses === "map") ? broadcastTogether(b, values, op.name) : values;
}
const constantSize = (a: unknown): unknown => (isDim(a as Attr) ? (asConst(a as Dim) ?? a) : a);

/** An attribute in its parameter's form; the checker has checked what kind of value it is. */
function attribute(op: OpDef, p: OpParam, a: Attr): Attr {
  const integer = (x: unknown): number => {
    const n = constantSize(x);
    if (typeof n !== "number" || !Number.isInteger(n))
      return fail("E0605", `${op.name}: ${p.name} takes integers`, { attr: p.name });
    return n;
  };
  const wrong = (what: string): never =>
    fail("E0605", `${op.name}: ${p.name} takes ${what}`, { attr: p.name });
  switch (p.kind) {
    case "int":
    case "axis":
      return integer(a);
    case "ints":
    case "axes":
      return (Array.isArray(a) ? a : [a]).map(integer);
    case "tuple": {
      if (typeof a === "string" && p.among?.includes(a)) return a;
      const length = p.length as number;
      const list = (Array.isArray(a) ? a : new Array(length).fill(a)).map(integer);
      return list.length === length ? list : wrong(tupleText(p));
    }
    case "dim":
      return size(op, p, a);
    case "dims":
      return (Array.isArray(a) ? a : [a]).map((x) => size(op, p, x as Attr));
    case "float":
      return typeof constantSize(a) === "number" ? (constantSize(a) as number) : wrong("a number");
    case "bool":
      return typeof a === "boolean" ? a : wrong("true or false");
    case "name":
      if (typeof a !== "string") return wrong("a string");
      if (p.among && !p.among.includes(a))
        fail("E0606", `${op.name}: ${p.name} is one of ${p.among.join(", ")}, not ${a}`, { attr: p.name });
      return a;
    default:
      return a;
  }
}
function size(op: OpDef, p: OpParam, a: Attr): Dim {
  if (typeof a === "number" && Number.isInteger(a)) return dim(a);
  if (isDim(a)) return dim(a as DimLike);
  return fail("E0605", `${op.name}: ${p.name} takes sizes`, { attr: p.name });
}
