// Steps as rows of the program.

import type { Block, Dispatch, Range, Step } from "../../../../runtime/core/program.ts";
import type { ExprTable } from "./exprs.ts";
import type { Planned, Store } from "./planned.ts";
/** Rows and steps; loops come last, when the parent's table is complete. */
export function emitBlock(
  steps: readonly Planned[],
  table: ExprTable,
  range: (t: ExprTable, s: Store) => Range,
): Block {
  const out: (Step | undefined)[] = [];
  const loops: { at: number; step: Extract<Planned, { kind: "loop" }>; count: number }[] = [];
  for (const s of steps) {
    if (s.kind === "loop") {
      loops.push({ at: out.length, step: s, count: table.id(s.count) });
      out.push(undefined);
    } else if (s.kind === "copy")
      out.push({ kind: "copy", from: range(table, s.from), to: range(table, s.to), label: s.label });
    else if (s.kind === "clear") out.push({ kind: "clear", range: range(table, s.store), label: s.label });
    else {
      const d: Dispatch = {
        kind: "dispatch",
        kernel: s.kernel,
        bind: s.stores.map((x) => range(table, x)),
        uniforms: s.launch.uniforms.map((u) => table.id(u)),
        groups: table.id(s.launch.groups),
        cost: table.id(s.launch.cost),
        site: s.site,
      };
      out.push(d);
    }
  }
  for (const l of loops) {
    const child = table.child();
    out[l.at] = {
      kind: "loop",
      symbol: l.step.symbol,
      count: l.count,
      body: emitBlock(l.step.steps, child, range),
      label: l.step.label,
    };
  }
  return { exprs: table.rows, steps: out as Step[] };
}
