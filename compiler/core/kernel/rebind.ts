// A kernel on other values. In: kernel code, and what its buffers hold now. Out: the same code over slots of its own.
import type { Value } from "../ir/types.ts";
import type { BufferSlot, CodeFunction, KernelCode, Stmt, X } from "./code.ts";

export function rebound(code: KernelCode, nowOf: (was: Value) => Value): KernelCode {
  const slots = new Map<BufferSlot, BufferSlot>();
  for (const b of code.buffers) slots.set(b, { ...b, value: nowOf(b.value) });
  const slotOf = (b: BufferSlot): BufferSlot => slots.get(b) as BufferSlot;
  // What is shared stays shared, and what reads no buffer stays what it is.
  const made = new Map<X, X>();
  const all = (list: readonly X[]): readonly X[] => {
    const out = list.map(expr);
    return out.every((x, i) => x === list[i]) ? list : out;
  };
  const expr = (x: X): X => {
    if (x.k === "var" || x.k === "lit" || x.k === "uniform") return x;
    let out = made.get(x);
    if (!out) {
      out = rebuilt(x);
      made.set(x, out);
    }
    return out;
  };
  const rebuilt = (x: X): X => {
    switch (x.k) {
      case "load":
        return { ...x, buffer: slotOf(x.buffer), index: expr(x.index) };
      case "bin": {
        const [a, b] = [expr(x.a), expr(x.b)];
        return a === x.a && b === x.b ? x : { ...x, a, b };
      }
      case "call": {
        const args = all(x.args);
        return args === x.args ? x : { ...x, args };
      }
      case "vec": {
        const parts = all(x.parts);
        return parts === x.parts ? x : { ...x, parts };
      }
      case "splat":
      case "part":
      case "broadcast":
      case "subgroup": {
        const a = expr(x.a);
        return a === x.a ? x : { ...x, a };
      }
      case "shared":
      case "element": {
        const index = expr(x.index);
        return index === x.index ? x : { ...x, index };
      }
      default:
        return x;
    }
  };
  const stmt = (s: Stmt): Stmt => {
    switch (s.k) {
      case "let":
      case "var":
      case "set":
        return { ...s, x: expr(s.x) };
      case "array":
        return { ...s, parts: all(s.parts) };
      case "for":
        return {
          ...s,
          from: expr(s.from),
          below: expr(s.below),
          step: expr(s.step),
          body: s.body.map(stmt),
        };
      case "if":
        return { ...s, cond: expr(s.cond), body: s.body.map(stmt) };
      case "store":
        return { ...s, buffer: slotOf(s.buffer), index: expr(s.index), x: expr(s.x) };
      case "setShared":
        return { ...s, index: expr(s.index), x: expr(s.x) };
      case "run":
        return { ...s, args: all(s.args) };
      case "barrier":
      case "return":
        return s;
    }
  };
  const fn = (f: CodeFunction): CodeFunction => ({
    ...f,
    body: f.body.map(stmt),
    ...(f.result ? { result: expr(f.result) } : {}),
  });
  return {
    ...code,
    buffers: code.buffers.map(slotOf),
    functions: code.functions.map(fn),
    body: code.body.map(stmt),
  };
}
