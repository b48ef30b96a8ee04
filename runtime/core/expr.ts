// Evaluates what a Program leaves open until the call: tables of integer expressions over sizes, and the host's scalars of
// a training step. In: rows and values of names. Out: numbers; NaN where a name has no value yet.
import type { Expr, ExprId } from "./program.ts";

export type Names = ReadonlyMap<string, number>;

/** What works on integers and on real numbers alike; `min` and `max` are `Math`'s. */
export const ARITHMETIC: Readonly<Record<string, (a: number, b: number) => number>> = {
  "+": (a, b) => a + b,
  "-": (a, b) => a - b,
  "*": (a, b) => a * b,
  "%": (a, b) => a - b * Math.floor(a / b),
};

const apply = (op: string, a: number, b: number): number =>
  op === "/" ? Math.floor(a / b) : (ARITHMETIC[op] ?? Math[op as "min" | "max"])(a, b);

/** `outer` and after it the values of `rows`, whose operands are indices into that. */
export function evaluateRows(rows: readonly Expr[], names: Names, outer: readonly number[]): number[] {
  const values = [...outer];
  for (const row of rows) {
    values.push(
      typeof row === "number"
        ? row
        : typeof row === "string"
          ? (names.get(row) ?? Number.NaN)
          : apply(row[0], values[row[1]], values[row[2]]),
    );
  }
  return values;
}

/** One row of a table and what it needs: for the few that are wanted before the whole table can be had. */
export function evaluateRow(rows: readonly Expr[], id: ExprId, names: Names): number {
  const row = rows[id];
  if (typeof row === "number") return row;
  if (typeof row === "string") return names.get(row) ?? Number.NaN;
  return apply(row[0], evaluateRow(rows, row[1], names), evaluateRow(rows, row[2], names));
}

/** The first name a row depends on: where a symbol was solved from. */
export function firstName(rows: readonly Expr[], id: ExprId): string | undefined {
  const row = rows[id];
  if (typeof row === "string") return row;
  if (typeof row === "number") return undefined;
  return firstName(rows, row[1]) ?? firstName(rows, row[2]);
}
