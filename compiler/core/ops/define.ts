// What the operator families share: parameters, shape and dtype rules, attributes read back, constants.
// In: nothing but the graph's types. Out: helpers for `infer`, `complete`, `reference` and `lower`.
// Separate so that a family's file holds its operators and nothing else.
import {
  asConst,
  type Dim,
  type DimLike,
  dim,
  equal,
  exactQuotient,
  isConst,
  product,
  sub,
  surelyDiffer,
  surelyNotNegative,
} from "../dims/dim.ts";
import type {
  Attr,
  Attrs,
  Builder,
  ConcreteAttrs,
  DType,
  Node,
  OpDef,
  OpParam,
  Part,
  TensorType,
  Value,
} from "../ir/types.ts";
import { OpError } from "../ir/types.ts";
import { full as fullOp, size as sizeOp } from "./source.ts";

export type Requirer = Pick<Builder, "require"> | undefined;
/** A value, or a literal that adapts to the dtype of its neighbours. */
export type ValueOrNumber = Value | number;

// ------------------------------------------------------------------------------------------- parameters

type ParamMore = Partial<Omit<OpParam, "name" | "kind">>;
const param = (kind: OpParam["kind"]) => {
  return (name: string, more: ParamMore = {}): OpParam => ({ name, kind, ...more });
};
export const tensor = param("tensor");
export const tensors = param("tensors");
export const int = param("int");
export const ints = param("ints");
export const float = param("float");
export const bool = param("bool");
export const word = param("name");
export const size = param("dim");
export const sizes = param("dims");
export const axis = param("axis");
export const axes = param("axes");
export const tuple = param("tuple");
export const dtype = param("dtype");
/** Whether an operand is written with its name where attributes are: one stands before it (group_norm's groups). */
export const byName = (op: Pick<OpDef, "params">, p: OpParam): boolean =>
  op.params
    .slice(0, op.params.indexOf(p))
    .some((q) => !q.implicit && q.kind !== "tensor" && q.kind !== "tensors");
/** What a tuple's parameter takes, in words. */
export const tupleText = (p: OpParam): string =>
  p.length === 1 ? "an int" : `an int or a list of ${["two", "three"][(p.length ?? 0) - 2] ?? p.length}`;

// --------------------------------------------------------------------------------------------- failures

export function fail(
  code: string,
  message: string,
  at: { operand?: number; attr?: string; help?: string } = {},
): never {
  throw new OpError(code, message, at);
}
export const shapeText = (shape: readonly DimLike[]): string =>
  `[${shape.map((d) => dim(d).key).join(", ")}]`;
export const typeText = (t: TensorType): string => `${t.dtype}${shapeText(t.shape)}`;

// ----------------------------------------------------------------------------------------------- dtypes

export const FLOATS: readonly DType[] = ["f32", "f16"];
export const INTS: readonly DType[] = ["i32", "u32"];
export const NUMBERS: readonly DType[] = [...FLOATS, ...INTS];
export const ANY: readonly DType[] = [...NUMBERS, "bool"];
export const isFloat = (t: DType): boolean => t === "f32" || t === "f16";

export function allowDtypes(name: string, types: readonly TensorType[], allowed: readonly DType[]): void {
  types.forEach((t, operand) => {
    if (!allowed.includes(t.dtype))
      fail("E0404", `${name} is not defined for ${t.dtype}`, {
        operand,
        help: allowed.includes("f32") ? "cast it, as in f32(x)" : `it takes ${allowed.join(", ")}`,
      });
  });
}
export function sameDtypes(name: string, types: readonly TensorType[]): void {
  types.forEach((t, operand) => {
    if (t.dtype !== types[0].dtype)
      fail("E0401", `${name}: operands are ${types[0].dtype} and ${t.dtype}`, {
        operand,
        help: castHelp(types[0].dtype, t.dtype),
      });
  });
}
/** What to do where two dtypes differ: numbers without fractions become such with them. */
export const castHelp = (a: DType, b: DType): string =>
  `cast one of them, as in ${!isFloat(a) && isFloat(b) ? b : a}(x)`;

// ----------------------------------------------------------------------------------------------- shapes

/** Two sizes that must be equal: decided, refused, or left to be checked at the call. The literal one is returned. */
export function sameSize(a: Dim, b: Dim, what: string, require: Requirer, refuse: () => never): Dim {
  if (equal(a, b)) return a;
  if (surelyDiffer(a, b)) refuse();
  require?.require({ left: a, relation: "==", right: b, message: what });
  return asConst(b) !== undefined ? b : a;
}

/** left >= right: decided, refused, or left to be checked at the call. */
export function atLeast(left: Dim, right: Dim, message: string, b: Requirer, refuse: () => never): void {
  const room = sub(left, right);
  if ((asConst(room) ?? 0) < 0) refuse();
  if (!surelyNotNegative(room)) b?.require({ left, relation: ">=", right, message });
}

/** size = n * by: decided, refused, or left to be checked at the call. */
export function multipleOf(size: Dim, by: number, message: string, b: Requirer, refuse: () => never): void {
  if (exactQuotient(size, by)) return;
  if (asConst(size) !== undefined) refuse();
  b?.require({ left: size, relation: "divides", right: dim(by), message });
}

/** All of a shape, as a part of it. */
export const wholePart = (shape: readonly Dim[]): Part =>
  shape.map((size) => ({ start: dim(0), size, step: 1 }));
/** True where a part of a shape is all of it. */
export const isWhole = (part: Part, shape: readonly Dim[]): boolean =>
  part.every((p, i) => isConst(p.start, 0) && p.step === 1 && equal(p.size, shape[i]));

/** All operands have one shape (broadcasts are explicit views before this). */
export function sameShapes(name: string, types: readonly TensorType[], require: Requirer): readonly Dim[] {
  return types.slice(1).reduce((shape, t, i) => {
    const refuse = (): never =>
      fail("E0301", `${name}: shapes ${shapeText(shape)} and ${shapeText(t.shape)} differ`, {
        operand: i + 1,
      });
    if (t.shape.length !== shape.length) refuse();
    return shape.map((d, j) =>
      sameSize(d, t.shape[j], `${name}: axis ${j} of both operands`, require, refuse),
    );
  }, types[0].shape);
}

/** numpy's rule, right-aligned, with this language's restriction: only a literal 1 expands; symbols unify. */
export function broadcastShapes(
  name: string,
  shapes: readonly (readonly Dim[])[],
  require?: Requirer,
): readonly Dim[] {
  const rank = Math.max(0, ...shapes.map((s) => s.length));
  const out: Dim[] = [];
  for (let i = 0; i < rank; i++) {
    let size: Dim | undefined;
    shapes.forEach((s, operand) => {
      const d = s[i - rank + s.length];
      if (d === undefined || isConst(d, 1)) return;
      size =
        size === undefined
          ? d
          : sameSize(size, d, `${name}: axis ${i - rank} of both operands`, require, () =>
              fail("E0301", `${name}: shapes ${shapes.map(shapeText).join(" and ")} do not broadcast`, {
                operand,
              }),
            );
    });
    out.push(size ?? dim(1));
  }
  return out;
}

/** Whether a shape broadcasts to another that stays as it is: a literal 1 of that one expands no more. */
export function broadcastsTo(
  name: string,
  from: readonly Dim[],
  to: readonly Dim[],
  require?: Requirer,
): boolean {
  const wide = broadcastShapes(name, [to, from], require);
  return wide.length === to.length && wide.every((d, i) => !isConst(to[i], 1) || isConst(d, 1));
}

export function rankOf(name: string, t: TensorType, rank: number, operand: number, layout: string): void {
  if (t.shape.length !== rank) fail("E0304", `${name} takes ${layout}, given ${typeText(t)}`, { operand });
}

// ------------------------------------------------------------------------------------------------- axes

export function normalizeAxis(name: string, a: number, rank: number, attr = "axis"): number {
  if (!Number.isInteger(a) || a < -rank || a >= rank)
    fail("E0305", `${name}: axis ${a} is out of range for rank ${rank}`, {
      attr,
      help: rank === 0 ? "it has no axes" : `axes count from 0 to ${rank - 1}, or back from -1 to ${-rank}`,
    });
  return a < 0 ? a + rank : a;
}
/** Axes as increasing non-negative numbers; all of them for undefined. */
export function normalizeAxes(name: string, a: Attr, rank: number, attr = "axes"): readonly number[] {
  if (a === undefined) return Array.from({ length: rank }, (_, i) => i);
  const list = (Array.isArray(a) ? a : [a]).map((x) => normalizeAxis(name, x as number, rank, attr));
  if (new Set(list).size !== list.length) fail("E0305", `${name}: an axis is named twice`, { attr });
  return list.sort((x, y) => x - y);
}

// --------------------------------------------------------------------------------- attributes read back

type AnyAttrs = Attrs | ConcreteAttrs;
export const numberAt = (attrs: AnyAttrs, name: string): number => attrs[name] as number;
export const numbersAt = (attrs: AnyAttrs, name: string): readonly number[] =>
  attrs[name] as readonly number[];
export const boolAt = (attrs: AnyAttrs, name: string): boolean => attrs[name] === true;
export const dimAt = (attrs: Attrs, name: string): Dim => dim(attrs[name] as DimLike);
export const dimsAt = (attrs: Attrs, name: string): readonly Dim[] =>
  (attrs[name] as readonly DimLike[]).map((d) => dim(d));
export const dtypeAt = (attrs: AnyAttrs, name = "dtype"): DType => attrs[name] as DType;

// ------------------------------------------------------------------------------------------- algorithms

/**
 * What is no function of one element in any cheap way: the operator itself, which a kernel family computes in the time of
 * its operands' size; and the same as a fold, each element by itself, for what is small.
 */
export function algorithm(fold: OpDef & Required<Pick<OpDef, "lower">>): readonly [OpDef, OpDef] {
  const { lower: _, ...rest } = fold;
  const each: OpDef = { ...fold, name: `${fold.name}_each`, exposed: false, fuses: "fold" };
  const whole: OpDef = {
    ...rest,
    fuses: "algorithm",
    expand: (b, node) => [b.make(each, node.inputs, node.attrs, node.label)],
  };
  return [whole, each];
}

// -------------------------------------------------------------------------------------------- constants

/** A splat of a literal. */
export const full = (b: Builder, value: number, type: TensorType): Value =>
  b.make(fullOp, [], { value, dtype: type.dtype, shape: [...type.shape] });
export const zeros = (b: Builder, type: TensorType): Value => full(b, 0, type);
export const zerosLike = (b: Builder, v: Value): Value => full(b, 0, v.type);
/** The value of a rank-0 or splat literal, else undefined. */
export const literalOf = (v: Value): number | undefined =>
  v.node.op === fullOp ? (v.node.attrs.value as number) : undefined;
/** A size as an i32 scalar; a literal where it is one. */
export function sizeValue(b: Builder, d: DimLike): Value {
  const n = asConst(d);
  return n === undefined ? b.make(sizeOp, [], { dim: dim(d) }) : full(b, n, { dtype: "i32", shape: [] });
}
export const elements = (shape: readonly DimLike[]): Dim => product(shape);

export const operandTypes = (node: Node): readonly TensorType[] => node.inputs.map((v) => v.type);
