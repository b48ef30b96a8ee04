// Symbols that a condition of the call says are something else. In: a way to trace an entry. Out: what it gives once no symbol
// is left to be solved for. Separate because entries and train blocks are traced alike.
import { type Dim, substitute, symbols } from "../../../dims/dim.ts";
import type { Constraint } from "../../../ir/types.ts";
import type { SourceTable } from "../names/table.ts";

/** Symbols that turned out to be equal to something else, found in one pass and used in the next. */
export type Solved = Map<string, Dim>;

/**
 * Runs `body` until no condition says that one of the entry's own symbols is something else: `x: f32[N, d], y: f32[M]`
 * with `x + y` makes M and N one symbol, and the whole is traced again with it.
 */
export function untilSolved<T extends { readonly constraints: readonly Constraint[] }>(
  table: Pick<SourceTable<unknown>, "mark" | "back"> | undefined,
  body: (solved: Solved) => T,
): T {
  const solved: Solved = new Map();
  const mark = table?.mark ?? 0;
  for (let round = 0; ; round++) {
    table?.back(mark);
    const result = body(solved);
    const found =
      round < 16
        ? result.constraints.map(solvable).find((s) => s !== undefined && !solved.has(s.name))
        : undefined;
    if (!found) return result;
    for (const [name, d] of solved)
      solved.set(
        name,
        substitute(d, (s) => (s === found.name ? found.dim : undefined)),
      );
    solved.set(found.name, found.dim);
  }
}

function solvable(c: Constraint): { name: string; dim: Dim } | undefined {
  if (c.relation !== "==") return undefined;
  const bare = (d: Dim): string | undefined => {
    const [t] = d.terms;
    return d.terms.length === 1 && t.coef === 1 && t.atoms.length === 1 && t.atoms[0].kind === "symbol"
      ? t.atoms[0].name
      : undefined;
  };
  const [l, r] = [bare(c.left), bare(c.right)];
  // Of two symbols the later one gives way, so that the first input decides.
  if (r !== undefined && !symbols(c.left).has(r)) return { name: r, dim: c.left };
  if (l !== undefined && !symbols(c.right).has(l)) return { name: l, dim: c.right };
  return undefined;
}
