// What stands left of `=`: a name, or names in parentheses, nested as the value is. In: a target and a value. Out: a value for
// each name. Separate because members, locals and loops all take values apart.
import type * as ast from "../../../syntax/ast.ts";
import { type Ctx, fail, recoverVal } from "./context.ts";
import { describe, ERROR, parts, type Val } from "./values.ts";

export function takeApart(ctx: Ctx, target: ast.Target, val: Val): readonly (readonly [ast.Ident, Val])[] {
  if (target.kind === "ident") return [[target, val]];
  const items = parts(val);
  const fits = items?.length === target.items.length;
  if (val.kind !== "error" && !fits) {
    const what = items ? `${describe(val)} has ${items.length} parts` : `${describe(val)} has no parts`;
    const help =
      val.kind === "record" ? `its parts are taken in order, (${[...val.fields.keys()].join(", ")}) = …` : "";
    recoverVal(() =>
      fail(ctx, "E0609", `${target.items.length} names, but ${what}`, target.span, help ? { help } : {}),
    );
  }
  return target.items.flatMap((t, i) => takeApart(ctx, t, fits && items ? items[i] : ERROR));
}
