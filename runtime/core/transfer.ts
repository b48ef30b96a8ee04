// What goes to the GPU and comes back around a plan's run. In: a bound entry, its inputs, and which results are wanted. Out:
// the inputs in their ranges, and results as tensors on the host or on the GPU.
import { InputError, reason } from "./errors.ts";
import { COPY_DST, COPY_SRC, STORAGE } from "./flags.ts";
import type { Source } from "./inputs.ts";
import type { BoundEntry, BoundPort } from "./plan.ts";
import type { GpuPlan, Session } from "./session.ts";
import { type AnyView, alignTo, fromGpu, sizeOf, Tensor, toGpu } from "./tensor.ts";

/** Writes inputs into their ranges; what is on the GPU already is copied by the returned function. */
export function upload(
  session: Session,
  plan: BoundEntry,
  sources: readonly Source[],
  implicit: readonly AnyView[],
): (encoder: GPUCommandEncoder) => void {
  const copies: { readonly from: GPUBuffer; readonly to: BoundPort }[] = [];
  plan.inputs.forEach((input, i) => {
    const source = sources[i];
    if ("buffer" in source) {
      if (!(source.buffer.usage & COPY_SRC)) {
        throw new InputError("input-usage", `${input.port.name}: its GPUBuffer needs the usage COPY_SRC`);
      }
      copies.push({ from: source.buffer, to: input });
      return;
    }
    session.write(input.range.buffer, input.range.offset, toGpu(input.port.dtype, source.data));
  });
  plan.implicit.forEach((range, i) => {
    session.write(range.buffer, range.offset, implicit[i]);
  });
  return (encoder) => {
    for (const { from, to } of copies) {
      const { buffer, offset, bytes } = to.range;
      if (bytes > 0)
        copyInput(encoder, to.port.name, from, session.buffer(buffer), offset, alignTo(bytes, 4));
    }
  };
}

/** Copies from what a caller called a GPUBuffer. */
export function copyInput(
  encoder: GPUCommandEncoder,
  name: string,
  from: GPUBuffer,
  to: GPUBuffer,
  offset: number,
  bytes: number,
): void {
  try {
    encoder.copyBufferToBuffer(from, 0, to, offset, bytes);
  } catch (cause) {
    throw new InputError("input-dtype", `${name}: this is no GPUBuffer: ${reason(cause)}`, cause);
  }
}

/** Runs a plan; where it cannot be encoded, what was made for its results is freed. */
function runOrFree(
  session: Session,
  gpu: GpuPlan<BoundEntry>,
  before: (encoder: GPUCommandEncoder) => void,
  made: readonly GPUBuffer[],
  after: (encoder: GPUCommandEncoder) => void,
): void {
  try {
    session.run(gpu, before, after);
  } catch (error) {
    for (const buffer of made) session.destroyBuffer(buffer);
    throw error;
  }
}

/** Results copied into one mappable buffer in the same submit, and read from there. */
export async function readBack(
  session: Session,
  gpu: GpuPlan<BoundEntry>,
  ports: readonly BoundPort[],
  before: (encoder: GPUCommandEncoder) => void,
): Promise<Record<string, Tensor>> {
  const parts = ports.map(({ range }) => ({ ...range, from: session.buffer(range.buffer) }));
  const { staging, copy, read } = session.readable(parts);
  runOrFree(session, gpu, before, [staging], copy);
  // Even a call that returns nothing is done only when the GPU is.
  if (!parts.some((part) => part.bytes > 0)) await session.wait(session.device.queue.onSubmittedWorkDone());
  const bytes = await read();
  // By entries, here and below: a result may be called `__proto__`.
  return Object.fromEntries(
    ports.map(({ port, shape }, i) => {
      return [port.name, new Tensor(port.dtype, [...shape], fromGpu(port.dtype, bytes[i], sizeOf(shape)))];
    }),
  );
}

/** Results copied to buffers of their own, which stay on the GPU. */
export function keepOnGpu(
  session: Session,
  gpu: GpuPlan<BoundEntry>,
  ports: readonly BoundPort[],
  before: (encoder: GPUCommandEncoder) => void,
): Record<string, Tensor> {
  const buffers = ports.map(({ port, range }) =>
    session.createBuffer(port.name, Math.max(4, alignTo(range.bytes, 4)), STORAGE | COPY_SRC | COPY_DST),
  );
  runOrFree(session, gpu, before, buffers, (encoder) => {
    ports.forEach(({ range }, i) => {
      const size = alignTo(range.bytes, 4);
      if (size > 0)
        encoder.copyBufferToBuffer(session.buffer(range.buffer), range.offset, buffers[i], 0, size);
    });
  });
  return Object.fromEntries(
    ports.map(({ port, shape, range }, i) => {
      const buffer = buffers[i];
      const remote = {
        buffer,
        fetch: async () => {
          const [bytes] = await session.read([{ from: buffer, offset: 0, bytes: range.bytes }]);
          return fromGpu(port.dtype, bytes, sizeOf(shape));
        },
        free: () => session.destroyBuffer(buffer),
      };
      return [port.name, new Tensor(port.dtype, [...shape], undefined, remote)];
    }),
  );
}
