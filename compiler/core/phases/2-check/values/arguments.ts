// Arguments to parameters: by place and by name, with defaults, and static values to their declared types.
// In: parameters of a layer, fn or op and the given arguments. Out: one value per parameter. Separate because layers, fns,
// builtins and operators all bind alike.
import { foreignParameter } from "../../../diagnostics/foreign.ts";
import { didYouMean } from "../../../diagnostics/nearest.ts";
import type { Span } from "../../../diagnostics/report.ts";
import { asConst } from "../../../dims/dim.ts";
import type * as ast from "../../../syntax/ast.ts";
import { type Ctx, fail, failName, hold, recoverVal } from "./context.ts";
import { type ArgVal, describe, floatVal, type Val } from "./values.ts";

export const paramOf = (params: readonly ast.Param[], name: string | undefined): ast.Param | undefined =>
  params.find((p) => p.name.name === name);

/** What the names of named arguments refer to. */
export function referArgs(ctx: Ctx, args: readonly ArgVal[], params: readonly ast.Param[]): void {
  const { table } = ctx.shared;
  if (table) for (const a of args) table.referTo(a.nameSpan, paramOf(params, a.name)?.name.span);
}

/** Arguments by parameter, undefined where none is given. */
export function matchArgs(
  ctx: Ctx,
  name: string,
  params: readonly string[],
  args: readonly ArgVal[],
  site: Span,
): (ArgVal | undefined)[] {
  const out: (ArgVal | undefined)[] = params.map(() => undefined);
  // All names that there are none of are told of at once.
  const wrong = args.filter((a) => a.name !== undefined && !params.includes(a.name));
  const list = params.length > 0 ? `its parameters are ${params.join(", ")}` : "it takes no arguments";
  for (const a of wrong) {
    const written = a.name as string;
    const ours = foreignParameter(written, params);
    const refuse = (): never =>
      fail(ctx, "E0603", `${name} has no parameter ${written}`, a.nameSpan ?? a.span, {
        help: ours ? `${ours}; ${list}` : (didYouMean(written, params) ?? list),
      });
    if (a === wrong.at(-1)) refuse();
    recoverVal(refuse);
  }
  let place = 0;
  for (const a of args) {
    if (a.name === undefined) {
      if (place >= params.length) {
        const takes =
          params.length === 0
            ? "no arguments"
            : params.length === 1
              ? "1 argument"
              : `${params.length} arguments`;
        fail(ctx, "E0602", `${name} takes ${takes}, given ${args.length}`, a.span, {
          ...(params.length > 0
            ? { help: `its parameter${params.length > 1 ? "s are" : " is"} ${params.join(", ")}` }
            : {}),
        });
      }
      out[place++] = a;
      continue;
    }
    const i = params.indexOf(a.name);
    if (out[i])
      fail(ctx, "E0604", `${name}: ${a.name} is given twice`, a.span, {
        secondary: [{ span: out[i].span, text: "first here" }],
      });
    out[i] = a;
  }
  void site;
  return out;
}

const CALLABLE: ReadonlySet<Val["kind"]> = new Set([
  "fn",
  "op",
  "userop",
  "builtin",
  "instance",
  "partial",
  "list",
  "grad",
  "dtype",
  "layer",
] as const);

/** Whether a value is of a choice's kind, so that the choice says what else is wrong with it. */
function mayBe(type: ast.Type, v: Val): boolean {
  switch (type.kind) {
    case "enum_type":
      return v.kind === "string";
    case "list_type":
      return v.kind === "list" || v.kind === "tuple";
    case "static_type":
      switch (type.name.name) {
        case "int":
          return v.kind === "int";
        case "float":
          return v.kind === "float" || v.kind === "int";
        case "fn":
          return CALLABLE.has(v.kind);
        case "bool":
        case "string":
        case "dtype":
        case "layer":
          return v.kind === type.name.name;
        default:
          return v.kind === "instance";
      }
    default:
      return false;
  }
}
/** `an int, a list or "same"`. */
function wordsOf(type: ast.Type): string {
  switch (type.kind) {
    case "union_type":
      return type.types.map(wordsOf).join(" or ");
    case "enum_type":
      return type.values.map((w) => `"${w.value}"`).join(" or ");
    case "list_type":
      return `a list of ${wordsOf(type.element)}s`.replace(/ of an? /, " of ");
    case "static_type":
      return `${/^[aeiou]/.test(type.name.name) ? "an" : "a"} ${type.name.name}`;
    default:
      return "another value";
  }
}

/** Of a float where an int stands: the same number, or how a quotient is one. */
const wholeHelp = (v: Val): string | undefined =>
  v.kind !== "float"
    ? undefined
    : Number.isSafeInteger(v.value)
      ? `write ${v.value}`
      : "write int(x), or floor(a / b) of ints";

/** A static value as a declared type, ints widening to floats. */
export function coerceStatic(
  caller: Ctx,
  inside: Ctx,
  type: ast.Type,
  v: Val,
  span: Span,
  what: string,
): Val {
  const wrong = (want: string, help?: string): never =>
    fail(caller, "E0605", `${what} is ${want}, given ${describe(v)}`, span, help ? { help } : {});
  if (v.kind === "error" || type.kind === "error") return v;
  switch (type.kind) {
    case "any_type":
      return v;
    case "optional_type":
      return v.kind === "none" ? v : coerceStatic(caller, inside, type.element, v, span, what);
    case "union_type": {
      const fitting = type.types.find((t) => mayBe(t, v));
      return fitting ? coerceStatic(caller, inside, fitting, v, span, what) : wrong(wordsOf(type));
    }
    case "list_type":
      if (v.kind !== "list" && v.kind !== "tuple") return wrong("a list", "write [a, b] or (a, b)");
      hold(caller, span, v.items.length);
      return {
        kind: "list",
        items: v.items.map((i) => coerceStatic(caller, inside, type.element, i, span, what)),
      };
    case "enum_type": {
      const words = type.values.map((w) => w.value);
      if (v.kind !== "string") return wrong(words.map((w) => `"${w}"`).join(" or "));
      if (!words.includes(v.value))
        failName(
          caller,
          "E0606",
          `${what} is not one of its choices`,
          v.value,
          words,
          span,
          `choose ${words.map((w) => `"${w}"`).join(" or ")}`,
        );
      return v;
    }
    case "tensor_type":
      return fail(inside, "E0206", "a layer's parameters are static", type.span, {
        help: "use int, float, bool, a list, fn or layer; tensors are params",
      });
    case "static_type":
      switch (type.name.name) {
        case "int":
          if (v.kind !== "int") return wrong("an int", wholeHelp(v));
          if (!caller.trace && asConst(v.dim) === undefined) return wrong("a static int");
          return v;
        case "float":
          if (v.kind === "float") return v;
          if (v.kind === "int" && asConst(v.dim) !== undefined) return floatVal(asConst(v.dim) as number);
          return wrong("a float");
        case "schedule":
          if (v.kind === "host" || v.kind === "float") return v;
          if (v.kind === "int" && asConst(v.dim) !== undefined) return floatVal(asConst(v.dim) as number);
          return wrong("a number or a schedule");
        case "bool":
          return v.kind === "bool" ? v : wrong("a bool");
        case "string":
          return v.kind === "string" ? v : wrong("a string");
        case "dtype":
          return v.kind === "dtype" ? v : wrong("a dtype");
        case "fn":
          return CALLABLE.has(v.kind)
            ? v
            : wrong("a fn", v.kind === "string" ? `write ${v.value}, without quotes` : undefined);
        case "layer":
          return v.kind === "layer" ? v : wrong("a layer");
        default: {
          const item = inside.module.names.get(type.name.name)?.item;
          if (inside.module.missing.has(type.name.name)) return v;
          if (!item || (item.kind !== "layer" && item.kind !== "model"))
            return failName(
              inside,
              "E0206",
              `there is no type ${type.name.name}`,
              type.name.name,
              [
                "int",
                "float",
                "bool",
                "string",
                "schedule",
                "fn",
                "layer",
                "f32",
                "i32",
                ...inside.module.names.keys(),
              ],
              type.span,
            );
          if (v.kind !== "instance" || v.instance.decl !== item)
            return wrong(`an instance of ${type.name.name}`);
          return v;
        }
      }
  }
}
