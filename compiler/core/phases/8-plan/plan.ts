// From launches to entry plans: order, storage, uniforms, grids. In: what runs for an entry's graph and the bodies of its
// loops. Out: an EntryPlan. Activations share the arena by liveness; parameters, state, derived weights and literals live in
// flat buffers of their own. A write that is not stored in place is copied at the end.

import type {
  Check,
  EntryPlan,
  HostExpr,
  Port,
  PortIndexes,
  Range,
} from "../../../../runtime/core/program.ts";
import { InternalError } from "../../diagnostics/index.ts";
import { add, asConst, type Dim, dim } from "../../dims/dim.ts";
import type { Block } from "../../ir/blocks.ts";
import type { IndexRange, Value } from "../../ir/types.ts";
import type { Routine } from "../../kernel/launch.ts";
import { isFlat, RANDOM_STEP } from "../../ops/source.ts";
import { type Largest, Planner, type ProgramContext } from "./blocks.ts";
import { emitBlock } from "./encode.ts";
import { ExprTable } from "./exprs.ts";
import { type MemoryAt, memoryAt } from "./memory.ts";
import { dispatchesOf, type Planned, type Store } from "./planned.ts";
import { solveSymbols } from "./symbols.ts";

export interface EntryInput {
  readonly name: string;
  readonly doc?: string;
  readonly routine: Block<Routine>;
  readonly shapeText: Readonly<Record<string, readonly string[]>>;
  /** Values of host-side scalars by name. */
  readonly hyper?: Readonly<Record<string, HostExpr>>;
  readonly train?: EntryPlan["train"];
}

/** What `--emit` and the summary say about an entry. */
export interface EntryReport {
  /** Bytes of the arena where the sizes that are open are this. Worked out when it is asked for. */
  readonly memory: (size: number) => MemoryAt;
  /** What a call runs: a loop's as often as it runs. */
  readonly dispatches: Dim;
  readonly largest: Largest;
}

export function planEntry(p: ProgramContext, e: EntryInput): { plan: EntryPlan; report: EntryReport } {
  const planner = new Planner(p);
  const top = e.routine.own;
  const { graph } = top;
  const body = planner.block(e.routine);
  // Results live to the end; writes that could not be done in place are copied after everything.
  const steps: Planned[] = [...body];
  for (const w of graph.writes) {
    const { buffer, place } = p.places.written(w.path);
    const from = planner.storeOf(w.value, top);
    planner.noteDerived(from);
    if (from.kind === "fixed" && from.buffer === buffer && asConst(from.at) === place.offset) continue;
    steps.push({
      kind: "copy",
      from: { ...from, bytes: dim(place.bytes) },
      to: { kind: "fixed", buffer, at: dim(place.offset), bytes: dim(place.bytes) },
      label: `write ${w.path}`,
    });
  }
  for (const r of graph.results) {
    planner.noteDerived(planner.storeOf(r.value, top));
  }
  // An input that nothing reads has a place, too.
  for (const n of graph.inputs) planner.storeOf(n.outs[0], top);
  const given = graph.nodes
    .filter((n) => n.op.fuses === "source")
    .map((n) => planner.storeOf(n.outs[0], top));
  checkWritten(
    steps,
    given,
    graph.results.map((r) => planner.storeOf(r.value, top)),
  );
  const table = new ExprTable();
  const range = (t: ExprTable, s: Store): Range => ({
    ...(s.kind === "arena" ? { buffer: "arena", slot: s.tenant } : { buffer: s.buffer }),
    offset: t.id(s.at),
    bytes: t.id(s.bytes),
  });
  // Inputs, results, checks. A name may be one that every object has.
  const textOf = new Map(Object.entries(e.shapeText));
  const port = (name: string, v: Value, store: Store): Port => ({
    name,
    dtype: v.type.dtype,
    shape: v.type.shape.map((d) => table.id(d)),
    shapeText: textOf.get(name) ?? v.type.shape.map((d) => d.key),
    range: range(table, store),
  });
  const inputs = graph.inputs.map((n) => {
    const name = String(n.attrs.name);
    const indexes = (graph.indexes ?? []).filter((r) => r.input === name);
    return {
      ...port(name, n.outs[0], planner.storeOf(n.outs[0], top)),
      ...(indexes.length === 0 ? {} : { indexes: indexes.map((r) => indexRange(r, table)) }),
    };
  });
  const outputs = graph.results.map((r) => port(r.name, r.value, planner.storeOf(r.value, top)));
  const implicit: EntryPlan["implicit"][number][] = [];
  for (const n of graph.nodes) {
    if (n.op.name === "seed")
      implicit.push({
        name: "seed",
        dtype: "u32",
        range: range(table, planner.storeOf(n.outs[0], top)),
        // What does not count a draw (a debug build's entry) draws as the next one that does.
        counter: graph.writes.some((w) => w.path === RANDOM_STEP)
          ? p.places.state.get(RANDOM_STEP)?.offset
          : undefined,
      });
    if (n.op.name === "hyper") {
      const whole = planner.storeOf(n.outs[0], top);
      (n.attrs.names as readonly string[]).forEach((name, i) => {
        implicit.push({
          name,
          dtype: "f32",
          range: range(table, { ...whole, at: add(whole.at, 4 * i), bytes: dim(4) }),
          value: e.hyper?.[name],
        });
      });
    }
  }
  const { solve, values } = solveSymbols(graph);
  const checks = graph.constraints.map(({ left, relation, right, message }): Check => {
    return { left: table.id(left), relation, right: table.id(right), message };
  });
  const slots = planner.tenants.map((bytes) => table.id(bytes));
  const plan: EntryPlan = {
    name: e.name,
    doc: e.doc,
    symbols: graph.symbols.map((name) => ({ name, value: solve.id((values.get(name) as { dim: Dim }).dim) })),
    solve: solve.rows,
    checks,
    body: emitBlock(steps, table, range),
    inputs,
    outputs,
    slots,
    implicit,
    derived: [...planner.derivedUsed].sort((a, b) => a - b),
    writesParams: graph.writes.some((w) => isFlat(w.path))
      ? [...p.places.params.keys()].filter((k) => !isFlat(k))
      : graph.writes.flatMap((w) => (p.places.params.has(w.path) ? [w.path] : [])),
    writesState: graph.writes.flatMap((w) => (p.places.params.has(w.path) ? [] : p.places.buffersOf(w.path))),
    train: e.train,
  };
  const { alignment } = p.target.backend.rules;
  const known = new Map<number, MemoryAt>();
  const memory = (size: number): MemoryAt => {
    const made = known.get(size) ?? memoryAt(plan, planner.tenants, size, alignment);
    known.set(size, made);
    return made;
  };
  return { plan, report: { memory, dispatches: dispatchesOf(steps), largest: planner.largest } };
}

/** No step, and no result, reads a place of the arena that nothing has written. */
function checkWritten(steps: readonly Planned[], given: readonly Store[], results: readonly Store[]): void {
  const written = new Set<number>();
  const write = (s: Store): void => {
    if (s.kind === "arena") written.add(s.tenant);
  };
  const read = (s: Store, label: string): void => {
    if (s.kind === "arena" && !written.has(s.tenant))
      throw new InternalError("plan", `${label} reads what nothing has written`);
  };
  const visit = (list: readonly Planned[]): void => {
    for (const s of list) {
      if (s.kind === "loop") visit(s.steps);
      else if (s.kind === "clear") write(s.store);
      else if (s.kind === "copy") {
        read(s.from, s.label);
        write(s.to);
      } else {
        s.stores.forEach((x, i) => {
          if (!s.writes[i]) read(x, s.site);
        });
        s.stores.forEach((x, i) => {
          if (s.writes[i]) write(x);
        });
      }
    }
  };
  for (const s of given) write(s);
  visit(steps);
  for (const s of results) read(s, "a result");
}

function indexRange({ extent, except, part, use }: IndexRange, table: ExprTable): PortIndexes {
  const places = part?.map((p) => [table.id(p.start), table.id(p.size), table.id(dim(p.step))] as const);
  return {
    extent: table.id(extent),
    ...(except === undefined ? {} : { except }),
    ...(places ? { part: places } : {}),
    use,
  };
}
