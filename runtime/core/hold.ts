// What a call that has to wait takes along, so that the caller may do with its arrays and buffers what it likes at once.
// In: a call's inputs. Out: copies of them, on the host or on the GPU as they were.
import { COPY_DST, COPY_SRC } from "./flags.ts";
import type { Given, Source } from "./inputs.ts";
import type { EntryPlan } from "./program.ts";
import type { Session } from "./session.ts";
import { type AnyArray, alignTo, itemBytes } from "./tensor.ts";
import { copyInput } from "./transfer.ts";

export interface Held {
  readonly sources: readonly Source[];
  /** Rejects where a buffer could not be copied. */
  readonly accepted: Promise<void>;
  release(): void;
}

export function hold(session: Session, entry: EntryPlan, { sources, names }: Given): Held {
  if (sources.every((s) => "data" in s)) {
    const held = sources.map((s) => ({ data: (s as { data: AnyArray }).data.slice() }));
    return { sources: held, accepted: Promise.resolve(), release: () => undefined };
  }
  const made: GPUBuffer[] = [];
  const { value, accepted } = session.guarded(() => {
    const encoder = session.device.createCommandEncoder();
    const held = sources.map((source, i): Source => {
      if ("data" in source) return { data: source.data.slice() };
      const { name, dtype, shape } = entry.inputs[i];
      const count = shape.reduce((n, _, axis) => n * (names.get(`${name}.${axis}`) as number), 1);
      const size = alignTo(count * itemBytes(dtype), 4);
      // What cannot be copied from is refused when it is used.
      if (size === 0 || !(source.buffer.usage & COPY_SRC)) return source;
      const buffer = session.createBuffer(`held ${name}`, size, COPY_SRC | COPY_DST);
      made.push(buffer);
      copyInput(encoder, name, source.buffer, buffer, 0, size);
      return { buffer };
    });
    if (made.length) session.device.queue.submit([encoder.finish()]);
    return held;
  });
  accepted.catch(() => undefined); // told at the call's turn
  return {
    sources: value,
    accepted,
    release: () => {
      for (const buffer of made.splice(0)) session.destroyBuffer(buffer);
    },
  };
}
