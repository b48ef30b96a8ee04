// Kernel code: the statements of one kernel, as data. What a kernel means stays apart from how it is
// written down (backends/). In: schedules build it through the Emitter. Out: KernelCode, printed or inspected.
import type { Dim } from "../dims/dim.ts";
import type { DType, TensorType } from "../ir/types.ts";

/** Two is what a pair of neighbours is read as, and taken apart again. */
export type Width = 1 | 2 | 4;

/** A typed expression. `width` 4 is a vec4. */
export type X = { readonly dtype: DType; readonly width: Width } & (
  | { readonly k: "var"; readonly name: string }
  | { readonly k: "lit"; readonly value: number }
  /** A word of the uniform block. Infinities come in this way, too, as bits. */
  | { readonly k: "uniform"; readonly slot: UniformSlot; readonly bits?: boolean }
  /** A size that is a constant of the pipeline. */
  | { readonly k: "override"; readonly slot: OverrideSlot }
  /** `/` and `%` of integers take both for unsigned: what is divided is an index. Shifts and `&` are by a literal. */
  | {
      readonly k: "bin";
      readonly op: "+" | "-" | "*" | "/" | "%" | "<" | ">=" | "&&" | ">>";
      readonly a: X;
      readonly b: X;
    }
  | { readonly k: "call"; readonly fn: string; readonly args: readonly X[] }
  | { readonly k: "splat"; readonly a: X }
  | { readonly k: "vec"; readonly parts: readonly X[] }
  | { readonly k: "part"; readonly a: X; readonly i: number }
  | { readonly k: "load"; readonly buffer: BufferSlot; readonly index: X }
  | { readonly k: "shared"; readonly name: string; readonly index: X }
  | { readonly k: "element"; readonly name: string; readonly index: X }
  | { readonly k: "broadcast"; readonly a: X; readonly lane: number }
  | { readonly k: "subgroup"; readonly combine: "add" | "mul" | "max" | "min"; readonly a: X }
  /** Which of the workgroup's subgroups this is: the same for all that hold a matrix together. */
  | { readonly k: "subgroupId" }
);

/** What an expression is made of. */
export function partsOf(x: X): readonly X[] {
  switch (x.k) {
    case "bin":
      return [x.a, x.b];
    case "call":
      return x.args;
    case "vec":
      return x.parts;
    case "splat":
    case "part":
    case "broadcast":
    case "subgroup":
      return [x.a];
    case "load":
    case "shared":
    case "element":
      return [x.index];
    default:
      return [];
  }
}
/** The expression over other parts, in the order of `partsOf`; itself where they are the ones it has. */
export function withParts(x: X, parts: readonly X[]): X {
  if (partsOf(x).every((p, i) => p === parts[i])) return x;
  const [a, b] = parts;
  switch (x.k) {
    case "bin":
      return { ...x, a, b };
    case "call":
      return { ...x, args: parts };
    case "vec":
      return { ...x, parts };
    case "splat":
    case "part":
    case "broadcast":
    case "subgroup":
      return { ...x, a };
    case "load":
    case "shared":
    case "element":
      return { ...x, index: a };
    default:
      return x;
  }
}
/** How many expressions lie within one another; `known` keeps the answers. */
export function depthOf(x: X, known: Map<X, number>): number {
  let depth = known.get(x);
  if (depth === undefined) {
    depth = 0;
    for (const part of partsOf(x)) depth = Math.max(depth, depthOf(part, known));
    known.set(x, ++depth);
  }
  return depth;
}

export interface UniformSlot {
  readonly dim: Dim;
  name: string;
}

/** A constant of the pipeline, an i32 above 0. */
export interface OverrideSlot {
  readonly name: string;
}

/** A storage binding: one buffer range, one element type. What it is bound to, a launch says. */
export interface BufferSlot {
  /** Of the value that it was made for. */
  readonly type: TensorType;
  /** Of its elements in memory: kernels compute with the value's own type. */
  readonly dtype: DType;
  name: string;
  access: "read" | "read_write";
  /** Declared vec4 when any access is four wide. */
  wide: boolean;
  /** Loops read it two wide: declared vec2, whatever else is read of it. */
  pairs?: true;
}
/** How many of its elements are one of the array that it is declared as. */
export const declaredWidth = (b: BufferSlot): Width => (b.pairs ? 2 : b.wide ? 4 : 1);

export type Stmt =
  /** `group`: the number of the workgroup, counted as a kernel that runs beside others counts it. */
  | { readonly k: "let"; readonly name: string; readonly x: X; readonly group?: true }
  | { readonly k: "var"; readonly name: string; readonly x: X }
  /** A private array filled with values; read by `element`. */
  | { readonly k: "array"; readonly name: string; readonly parts: readonly X[] }
  | { readonly k: "set"; readonly name: string; readonly x: X }
  | {
      readonly k: "for";
      readonly name: string;
      readonly from: X;
      readonly below: X;
      readonly step: X;
      readonly body: readonly Stmt[];
    }
  | { readonly k: "if"; readonly cond: X; readonly body: readonly Stmt[] }
  | { readonly k: "store"; readonly buffer: BufferSlot; readonly index: X; readonly x: X }
  | { readonly k: "setShared"; readonly name: string; readonly index: X; readonly x: X }
  | { readonly k: "run"; readonly fn: string; readonly args: readonly X[] }
  /** A matrix of the subgroup: a factor, which is read from workgroup memory, or a result, which begins as zeros. */
  | { readonly k: "matrix"; readonly name: string; readonly type: MatrixType; readonly from?: MatrixPlace }
  /** Adds a product to a result. */
  | { readonly k: "multiply"; readonly into: string; readonly left: string; readonly right: string }
  | { readonly k: "storeMatrix"; readonly matrix: string; readonly to: MatrixPlace }
  | { readonly k: "barrier" }
  | { readonly k: "return" };

/** A matrix that the lanes of a subgroup hold together, each a part of it that only the device knows. */
export interface MatrixType {
  readonly role: "left" | "right" | "result";
  readonly dtype: DType;
  readonly rows: number;
  readonly cols: number;
}
/** Where a matrix lies in workgroup memory: rows, or columns, each side by side and `stride` elements from the next. */
export interface MatrixPlace {
  readonly array: string;
  /** Of its first element; the same for all lanes of a subgroup. */
  readonly index: X;
  readonly stride: number;
  readonly along: "rows" | "columns";
}
/** Whether statements have matrices of a subgroup. */
export const hasMatrices = (list: readonly Stmt[]): boolean =>
  list.some((s) => s.k === "matrix" || ((s.k === "if" || s.k === "for") && hasMatrices(s.body)));

/** What a statement says itself, without what is in its body, in the order in which it is written. */
export function expressionsOf(s: Stmt): readonly X[] {
  switch (s.k) {
    case "let":
    case "var":
    case "set":
      return [s.x];
    case "array":
      return s.parts;
    case "for":
      return [s.from, s.below, s.step];
    case "if":
      return [s.cond];
    case "store":
    case "setShared":
      return [s.index, s.x];
    case "run":
      return s.args;
    case "matrix":
      return s.from ? [s.from.index] : [];
    case "storeMatrix":
      return [s.to.index];
    default:
      return [];
  }
}

export interface CodeFunction {
  readonly name: string;
  readonly params: readonly { readonly name: string; readonly dtype: DType; readonly width: Width }[];
  /** Result, for functions that return `result` at the end of `body`. */
  readonly result?: X;
  readonly body: readonly Stmt[];
}

/** An array in workgroup memory. */
export interface SharedArray {
  readonly name: string;
  readonly dtype: DType;
  readonly width: Width;
  readonly size: number;
}

export interface KernelCode {
  readonly name: string;
  readonly family: string;
  readonly uniforms: readonly UniformSlot[];
  readonly overrides: readonly OverrideSlot[];
  readonly buffers: readonly BufferSlot[];
  readonly shared: readonly SharedArray[];
  readonly functions: readonly CodeFunction[];
  readonly workgroup: number;
  readonly body: readonly Stmt[];
  readonly subgroups: boolean;
  /** Of a kernel whose workgroups draw what they compute: what they count in, the last of the buffers. */
  readonly draws?: BufferSlot;
  /** Loop nest with compute levels, for people (`--emit kernels`). */
  readonly nest: readonly string[];
}

export const lit = (value: number, dtype: DType = "i32"): X => ({ k: "lit", value, dtype, width: 1 });
export const variable = (name: string, dtype: DType, width: Width = 1): X => ({
  k: "var",
  name,
  dtype,
  width,
});
export const bin = (op: Extract<X, { k: "bin" }>["op"], a: X, b: X): X => {
  const la = a.k === "lit" ? a.value : undefined;
  const lb = b.k === "lit" ? b.value : undefined;
  if (a.dtype === "i32") {
    if (op === "+" && la === 0) return b;
    if ((op === "+" || op === "-") && lb === 0) return a;
    if (op === "*" && (la === 1 || lb === 1)) return la === 1 ? b : a;
  }
  if (a.dtype === "i32" && a.width === 1 && b.width === 1) {
    if (op === "*" && (la === 0 || lb === 0)) return lit(0);
    // Over an empty tensor: the kernel never runs, and a device may refuse the text.
    if ((op === "/" || op === "%") && lb === 0) return lit(0);
    if (la !== undefined && lb !== undefined) {
      if (op === "+") return lit(la + lb);
      if (op === "-") return lit(la - lb);
      if (op === "*") return lit(la * lb);
    }
  }
  if (a.dtype === "i32" && lb === 1) {
    if (op === "/") return a;
    if (op === "%") return widen(lit(0), a.width);
  }
  const width = Math.max(a.width, b.width) as Width;
  const bool = op === "<" || op === ">=" || op === "&&";
  return { k: "bin", op, a: widen(a, width), b: widen(b, width), dtype: bool ? "bool" : a.dtype, width };
};
export const widen = (a: X, width: Width): X =>
  a.width === width || width === 1 ? a : { k: "splat", a, dtype: a.dtype, width: 4 };
/** The number that a literal is, for one element or spread out. */
export const literalOf = (x: X): number | undefined =>
  x.k === "splat" ? literalOf(x.a) : x.k === "lit" ? x.value : undefined;
export const part = (a: X, i: number): X =>
  a.width === 1
    ? a
    : a.k === "vec"
      ? a.parts[i]
      : a.k === "splat"
        ? a.a
        : { k: "part", a, i, dtype: a.dtype, width: 1 };
export const vec = (parts: readonly X[]): X => ({ k: "vec", parts, dtype: parts[0].dtype, width: 4 });
/** The number of the subgroup in its workgroup. */
export const subgroupId: X = { k: "subgroupId", dtype: "i32", width: 1 };
/** An element of an array in workgroup memory. */
export const sharedAt = (a: SharedArray, index: X): X => ({
  k: "shared",
  name: a.name,
  index,
  dtype: a.dtype,
  width: a.width,
});
export const call = (fn: string, args: readonly X[], dtype: DType): X => {
  const width = Math.max(...args.map((a) => a.width)) as Width;
  return { k: "call", fn, args: args.map((a) => widen(a, width)), dtype, width };
};
