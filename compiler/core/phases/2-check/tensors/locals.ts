// Locals of a block and the carries of a loop. In: values. Out: names in scope. Separate because blocks, comprehensions and
// both kinds of loop bind alike.
import type * as ast from "../../../syntax/ast.ts";
import {
  type Binding,
  type Ctx,
  evaluate,
  fail,
  giveLabel,
  note,
  recoverVal,
  type Scope,
  see,
} from "../values/context.ts";
import { takeApart } from "../values/targets.ts";
import { describe, ERROR, parts, type Val } from "../values/values.ts";
import { isAside } from "./asides.ts";
import { readNow } from "./state.ts";

/** Binds one name or takes a tuple, list or record apart. */
export function bindTarget(
  ctx: Ctx,
  target: ast.Target,
  val: Val,
  from: ast.Expr | undefined,
  kind: Binding["kind"] = "local",
): void {
  for (const [name, v] of takeApart(ctx, target, val)) bindLocal(ctx, name, v, from, kind);
}

/**
 * A local is bound once, and a block's locals may not hide those of the blocks around it. Two exceptions keep loops
 * readable: a loop may give its outcome the name of one of its own carries (`h = for … with h = x { … }`), and the body
 * of a loop gives a carry its next value by assigning it, once.
 */
function bindLocal(
  ctx: Ctx,
  name: ast.Ident,
  val: Val,
  from: ast.Expr | undefined,
  kind: Binding["kind"],
): void {
  if (name.name === "_") return;
  val = readNow(ctx, val, name.span);
  note(ctx, name.span, val);
  if (kind === "local") see(ctx, name.name, val, name.span);
  const here = ctx.scope.names.get(name.name);
  const carried =
    from &&
    (from.kind === "for" || from.kind === "scan") &&
    from.carries.some((c) => c.name.name === name.name);
  if (here?.kind === "carry" && kind === "local") {
    ctx.scope.names.set(name.name, { val, kind: "local", span: name.span });
    return;
  }
  let old: Binding | undefined = here;
  if (kind === "local")
    for (let s: Scope | undefined = ctx.scope; s && !old; s = s.fn ? undefined : s.parent)
      old = s.names.get(name.name);
  if (old && old.kind !== "member" && !(carried && here)) {
    const what =
      old.kind === "param"
        ? "is a parameter"
        : old.kind === "carry"
          ? "is carried by the loop around this block"
          : "is bound already";
    recoverVal(() =>
      fail(ctx, "E0202", `${name.name} ${what}; locals are assigned once`, name.span, {
        secondary: old.span ? [{ span: old.span, text: "bound here" }] : [],
        help:
          old.kind === "carry"
            ? "make it the value of the loop's body"
            : old !== here
              ? `a block gives what it ends with, under another name: ${inBlock(name.name)}`
              : "give it another name",
      }),
    );
    // What was meant from here on is not known.
    if (old === here) ctx.scope.names.set(name.name, { ...old, val: ERROR });
    return;
  }
  ctx.scope.names.set(name.name, { val, kind, span: name.span });
}

/** How a name takes what a block inside makes of it. */
const inBlock = (name: string): string =>
  `y = for x in xs with ${name} = ${name} { next }, y = if c { a } else { b }`;

/** Binds the carries of a loop in a fresh scope. */
export function carriesOf(ctx: Ctx, carries: readonly ast.Field[]): Map<string, Val> {
  const out = new Map<string, Val>();
  for (const c of carries) {
    if (out.has(c.name.name)) fail(ctx, "E0202", `${c.name.name} is carried twice`, c.name.span);
    giveLabel(c.value, c.name.name);
    out.set(c.name.name, evaluate(ctx, c.value));
  }
  return out;
}

/** The next values of the carries: what the body assigned to them, or its own value. */
export function nextCarries(ctx: Ctx, body: ast.Block, carries: readonly ast.Field[], result: Val): Val[] {
  if (!body.result || isAside(ctx, body.result))
    return carries.map((c) => ctx.scope.names.get(c.name.name)?.val ?? ERROR);
  if (carries.length === 1) return [result];
  const items = parts(result);
  if (result.kind === "error") return carries.map(() => ERROR);
  if (!items || items.length !== carries.length)
    fail(
      ctx,
      "E0308",
      `the loop carries ${carries.length} values, its body gives ${describe(result)}`,
      body.result.span,
      {
        help: `end the body with (${carries.map((c) => c.name.name).join(", ")})`,
      },
    );
  return [...items];
}
