// A kernel on other values. In: kernel code, and what its buffers hold now. Out: the same code over slots of its own.
import type { Value } from "../ir/types.ts";
import type { BufferSlot, KernelCode } from "./code.ts";
import { rewriting } from "./rewrite.ts";

export function rebound(code: KernelCode, nowOf: (was: Value) => Value): KernelCode {
  const slots = new Map<BufferSlot, BufferSlot>();
  for (const b of code.buffers) slots.set(b, { ...b, value: nowOf(b.value) });
  const buffer = (b: BufferSlot): BufferSlot => slots.get(b) as BufferSlot;
  const { stmt, fn } = rewriting({ buffer });
  return {
    ...code,
    buffers: code.buffers.map(buffer),
    functions: code.functions.map(fn),
    body: code.body.map(stmt),
  };
}
