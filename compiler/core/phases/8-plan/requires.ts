// What a program asks of an adapter beside its target: room for its buffers, and for the largest operand that each of its entries
// binds, so that a model which cannot run is refused when it is loaded. In: the largest operand of each entry, bytes of the
// buffers. Out: limits, only those that not every device has, and what needs them. An entry that binds more than others is
// refused when it is called.
import type { Requires } from "../../../../runtime/core/program.ts";
import { limitOf, type Target } from "../../targets.ts";
import type { Largest } from "./blocks.ts";

/** What every device allows a buffer: WebGPU's default. */
const BUFFER = 2 ** 28;

export function requiresOf(
  target: Target,
  entries: readonly Largest[],
  buffers: readonly Largest[],
): Requires {
  const { requires } = target;
  const least = entries.length ? entries.reduce((a, b) => (b.bytes < a.bytes ? b : a)) : undefined;
  const buffer = buffers.reduce((a, b) => (b.bytes > a.bytes ? b : a));
  const needs = [
    ["maxStorageBufferBindingSize", least, limitOf(target, "maxStorageBufferBindingSize")],
    ["maxBufferSize", buffer, BUFFER],
  ] as const;
  const over = needs.flatMap(([name, what, most]) =>
    what && what.bytes > most ? [[name, what] as const] : [],
  );
  if (over.length === 0) return requires;
  return {
    ...requires,
    limits: { ...requires.limits, ...Object.fromEntries(over.map(([name, { bytes }]) => [name, bytes])) },
    why: Object.fromEntries(over.map(([name, what]) => [name, ` for ${what.name}`])),
  };
}
