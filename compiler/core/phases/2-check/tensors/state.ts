// What parameters and buffers hold where an expression stands. In: slots and the state of the trace. Out: values of the graph.
import type { Span } from "../../../diagnostics/report.ts";
import { dim } from "../../../dims/dim.ts";
import type { Value } from "../../../ir/types.ts";
import { param as paramOp, state as stateOp } from "../../../ops/source.ts";
import { type Ctx, type State, step, traceOf } from "../values/context.ts";
import { owner, type Slot, type Val } from "../values/values.ts";

/** A parameter's value, or a buffer's: what the last call that ended has left in it, else its value at entry. */
export function readSlot(ctx: Ctx, slot: Slot, span: Span): Value {
  const trace = traceOf(ctx, span, `the ${slot.kind} ${slot.name}`);
  const own = owner(slot);
  const path = own.paths[0] ?? own.name;
  for (let s: State | undefined = trace.state; s; s = s.outer) {
    const held = s.written.get(path)?.value ?? s.carried.get(path);
    if (held) return held;
  }
  const attrs = { path, dtype: own.dtype, shape: own.shape.map((d) => dim(d)) };
  return trace.b.at({ span: own.span, path: "", calls: [], derived: [] }, () =>
    trace.b.make(own.kind === "param" ? paramOp : stateOp, [], attrs, path.slice(path.lastIndexOf(".") + 1)),
  );
}

/** A local or a result is a value: what its buffers hold now, whatever is written later. */
export function readNow(ctx: Ctx, v: Val, span: Span): Val {
  if (!ctx.trace) return v;
  // A list may hold one list many times: each is visited once, and stays itself where nothing in it is read.
  const known = new Map<Val, Val>();
  const all = (items: readonly Val[]): readonly Val[] => {
    step(ctx, span, items.length >> 4);
    const out = items.map(visit);
    return out.every((x, i) => x === items[i]) ? items : out;
  };
  const made = (v: Val): Val => {
    switch (v.kind) {
      case "slot":
        return v.slot.kind === "buffer" && !v.value ? { ...v, value: readSlot(ctx, v.slot, span) } : v;
      case "list":
      case "tuple": {
        const items = all(v.items);
        return items === v.items ? v : { ...v, items };
      }
      case "record": {
        const before = [...v.fields.values()];
        const now = all(before);
        return now === before
          ? v
          : { ...v, fields: new Map([...v.fields.keys()].map((k, i) => [k, now[i]])) };
      }
      default:
        return v;
    }
  };
  const visit = (v: Val): Val => {
    if (v.kind !== "slot" && v.kind !== "list" && v.kind !== "tuple" && v.kind !== "record") return v;
    const old = known.get(v);
    if (old) return old;
    const out = made(v);
    known.set(v, out);
    return out;
  };
  return visit(v);
}
