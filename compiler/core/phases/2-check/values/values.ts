// What expressions evaluate to while a model is checked: static values, and tensors as values of the graph being built.
// In: nothing. Out: the value types and how they are named in messages.
import type { HostExpr, Init } from "../../../../../runtime/core/program.ts";
import type { Span } from "../../../diagnostics/span.ts";
import { asConst, type Dim, type DimLike, dim, print } from "../../../dims/dim.ts";
import { typeText } from "../../../ir/build.ts";
import type { DType, OpDef, Value } from "../../../ir/types.ts";
import type * as ast from "../../../syntax/ast.ts";
import type { Module } from "../names/modules.ts";
import type { Scope } from "./context.ts";

export type Val =
  /** A static int or a size over symbols; the two are one kind. */
  | { readonly kind: "int"; readonly dim: Dim }
  | { readonly kind: "float"; readonly value: number }
  | { readonly kind: "bool"; readonly value: boolean }
  | { readonly kind: "string"; readonly value: string }
  | { readonly kind: "none" }
  | { readonly kind: "dtype"; readonly dtype: DType }
  | { readonly kind: "list" | "tuple"; readonly items: readonly Val[] }
  | { readonly kind: "record"; readonly fields: ReadonlyMap<string, Val> }
  | { readonly kind: "tensor"; readonly value: Value }
  /** A parameter or buffer by name; becomes a tensor where one is needed. */
  | { readonly kind: "slot"; readonly slot: Slot; readonly value?: Value }
  | { readonly kind: "instance"; readonly instance: Instance; readonly pinned: boolean }
  | { readonly kind: "layer"; readonly decl: ast.LayerDecl | ast.ModelDecl; readonly module: Module }
  | FnVal
  | { readonly kind: "userop"; readonly decl: ast.OpDecl; readonly module: Module }
  | { readonly kind: "op"; readonly def: OpDef }
  /** A function of the language itself. */
  | { readonly kind: "builtin"; readonly name: string }
  /** A callable with its later arguments given; the first is still to come. */
  | { readonly kind: "partial"; readonly callee: Val; readonly args: readonly ArgVal[] }
  | { readonly kind: "checkpoint"; readonly fn: Val }
  | { readonly kind: "grad"; readonly fn: Val; readonly wrt: ast.Expr; readonly ctx: unknown }
  /** `why`: it is none of this shape. */
  | { readonly kind: "init"; readonly make: (shape: readonly number[]) => Init | { readonly why: string } }
  /** A number the host computes at each step (schedules). */
  | { readonly kind: "host"; readonly expr: HostExpr }
  /** An optimiser as declared, and with its numbers. */
  | {
      readonly kind: "optimizer";
      readonly decl: ast.OptimizerDecl;
      readonly module: Module;
      readonly args?: readonly ArgVal[];
    }
  /** What a failed expression leaves behind; using it fails without a further report. */
  | { readonly kind: "error" };

/** A declared parameter or buffer of one instance. */
export interface Slot {
  readonly kind: "param" | "buffer";
  readonly name: string;
  /** A buffer that no file of weights holds. */
  readonly private: boolean;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly init: Init;
  /** Its declared type, as messages show it. */
  readonly span: Span;
  readonly doc?: string;
  /** Set by `place`: its first path, then the others. */
  paths: string[];
  frozen: boolean;
  /** The slot this one is tied to. */
  tied: Slot | undefined;
}

export interface Instance {
  readonly decl: ast.LayerDecl | ast.ModelDecl | ast.OptimizerDecl;
  readonly module: Module;
  readonly args: Map<string, Val>;
  readonly members: Map<string, Val>;
  /** What paths call a member, where that is not its name: one word, or one for each item of its list. */
  readonly called: Map<string, string | readonly string[]>;
  /** Arguments and what is bound to names so far, without params and buffers: what declarations of these see. */
  readonly statics: Scope;
  /** Scope of its fns: arguments and members. */
  readonly scope: Scope;
  /** Set by `place`. */
  path: string | undefined;
}

export interface FnVal {
  readonly kind: "fn";
  readonly decl: ast.FnDecl;
  readonly module: Module;
  /** The instance whose method it is, or in whose body an unnamed one stands. */
  readonly self?: Instance;
  /** The names that an unnamed fn sees where it stands. */
  readonly around?: Scope;
  readonly pinned: boolean;
}

export interface ArgVal {
  readonly name?: string;
  readonly nameSpan?: Span;
  readonly val: Val;
  readonly span: Span;
}

export const intVal = (d: DimLike): Val => ({ kind: "int", dim: dim(d) });
export const floatVal = (value: number): Val => ({ kind: "float", value });
export const boolVal = (value: boolean): Val => ({ kind: "bool", value });
export const tensorVal = (value: Value): Val => ({ kind: "tensor", value });
export const NONE: Val = { kind: "none" };
export const ERROR: Val = { kind: "error" };

/** The number a static value is, where it is one and known. */
export function asNumber(v: Val): number | undefined {
  if (v.kind === "float") return v.value;
  return v.kind === "int" ? asConst(v.dim) : undefined;
}

/** A number as the language writes it. */
export const numberText = (n: number): string =>
  Number.isNaN(n)
    ? "nan"
    : Number.isFinite(n)
      ? Object.is(n, -0)
        ? "-0.0"
        : String(n)
      : n > 0
        ? "inf"
        : "-inf";

/** What an expression is, as text for editors: a tensor's type, a static value and its kind. */
export function typeOfVal(v: Val): string {
  switch (v.kind) {
    case "int":
      return `int = ${print(v.dim)}`;
    case "float":
      return `float = ${numberText(v.value)}`;
    case "bool":
      return `bool = ${v.value}`;
    case "string":
      return `string = ${JSON.stringify(v.value)}`;
    case "dtype":
      return `dtype = ${v.dtype}`;
    case "list":
      return v.items.length === 0 ? "[]" : `[${listed(v.items)}]`;
    case "tuple":
      return `(${listed(v.items)})`;
    case "record":
      return `(${[...v.fields].map(([k, x]) => `${k}: ${typeOfVal(x)}`).join(", ")})`;
    case "tensor":
      return typeText(v.value.type);
    case "slot":
      return `${v.slot.kind} ${v.slot.dtype}[${v.slot.shape.join(", ")}]`;
    case "instance":
      return v.instance.decl.name.name;
    default:
      return describe(v).replace(/^(the|an?) /, "");
  }
}
const MOST_LISTED = 4;
/** Equal neighbours once, with their number; long lists by their beginning. */
function listed(items: readonly Val[]): string {
  const runs: { text: string; n: number }[] = [];
  for (const v of items) {
    const text = typeOfVal(v);
    const last = runs.at(-1);
    if (last?.text === text) last.n++;
    else if (runs.length === MOST_LISTED) return `${runTexts(runs)}, …`;
    else runs.push({ text, n: 1 });
  }
  return runTexts(runs);
}
const runTexts = (runs: readonly { text: string; n: number }[]): string =>
  runs.map((r) => (r.n === 1 ? r.text : `${r.n} × ${r.text}`)).join(", ");

/** A value in a few words, for messages. */
export function describe(v: Val): string {
  switch (v.kind) {
    case "int":
      return asConst(v.dim) === undefined ? `the size ${print(v.dim)}` : `the int ${print(v.dim)}`;
    case "float":
      return `the float ${numberText(v.value)}`;
    case "bool":
      return String(v.value);
    case "string":
      return JSON.stringify(v.value);
    case "none":
      return "none";
    case "dtype":
      return `the dtype ${v.dtype}`;
    case "list":
      return `a list of ${v.items.length}`;
    case "tuple":
      return `a tuple of ${v.items.length}`;
    case "record":
      return `a record (${[...v.fields.keys()].join(", ")})`;
    case "tensor":
      return `a tensor ${typeText(v.value.type)}`;
    case "slot":
      return `the ${v.slot.kind} ${v.slot.name}`;
    case "instance":
      return `an instance of ${v.instance.decl.name.name}`;
    case "layer":
      return `the ${v.decl.kind} ${v.decl.name.name}`;
    case "fn":
      return v.around ? "an unnamed fn" : `the fn ${v.decl.name.name}`;
    case "userop":
      return `the op ${v.decl.name.name}`;
    case "op":
      return `the operator ${v.def.name}`;
    case "builtin":
      return `the function ${v.name}`;
    case "partial":
      return `${describe(v.callee)} with some arguments`;
    case "checkpoint":
      return `${describe(v.fn)} under checkpoint`;
    case "grad":
      return "a gradient function";
    case "init":
      return "an initialiser";
    case "host":
      return "a schedule";
    case "optimizer":
      return `the optimizer ${v.decl.name.name}`;
    case "error":
      return "an error";
  }
}

/** The slot that holds the data. */
export function owner(slot: Slot): Slot {
  let s = slot;
  while (s.tied) s = s.tied;
  return s;
}

/** The path under which a slot is stored. */
export const pathOf = (slot: Slot): string => owner(slot).paths[0] ?? slot.name;

/** What a tuple, list or record is taken apart into. */
export function parts(val: Val): readonly Val[] | undefined {
  if (val.kind === "tuple" || val.kind === "list") return val.items;
  return val.kind === "record" ? [...val.fields.values()] : undefined;
}

/** A member as paths have it: what they call it, or each item of its list, with the value. */
export function calledParts(instance: Instance, name: string): readonly (readonly [string, Val])[] {
  const val = instance.members.get(name) as Val;
  const called = instance.called.get(name) ?? name;
  return typeof called === "string" ? [[called, val]] : (parts(val) ?? []).map((v, i) => [called[i], v]);
}
