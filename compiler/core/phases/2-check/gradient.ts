// grad(f, wrt = x): waits for the gradient driver (phases/3-grad).
import type * as ast from "../1-parse/ast.ts";
import { type Ctx, fail } from "./context.ts";
import type { ArgVal, Val } from "./values.ts";
export function callGrad(ctx: Ctx, _g: Val, _args: readonly ArgVal[], site: ast.Expr): Val {
  return fail(ctx, "E1101", "grad is not available yet", site.span);
}
