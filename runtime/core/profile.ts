// Times a plan dispatch by dispatch: another encoding of the same plan, one pass each. In: a plan that is ready to run.
// Out: microseconds per command, by the GPU's timestamps where it has them, else by the host's clock around each submit.
import { COPY_SRC, QUERY_RESOLVE } from "./flags.ts";
import type { Command } from "./plan.ts";
import type { GpuPlan, Session } from "./session.ts";

export interface Timings {
  readonly by: "timestamps" | "clock";
  readonly microseconds: readonly number[];
}

/** What a command computes and touches. */
export function workOf(c: Command): { readonly flops: number; readonly bytes: number } {
  if (c.kind === "dispatch") return { flops: c.cost, bytes: c.bind.reduce((n, b) => n + b.bytes, 0) };
  return { flops: 0, bytes: c.kind === "copy" ? 2 * c.from.bytes : c.range.bytes };
}

/** WebGPU's most queries in a set is 4096: two a command. */
const BATCH = 2048;

export async function timePlan(
  session: Session,
  gpu: GpuPlan,
  before: (encoder: GPUCommandEncoder) => void,
): Promise<Timings> {
  const { device } = session;
  const { commands } = gpu.plan;
  session.bindIfStale(gpu);
  const microseconds: number[] = [];
  const first = device.createCommandEncoder();
  before(first);
  device.queue.submit([first.finish()]);
  if (!device.features.has("timestamp-query")) {
    for (let i = 0; i < commands.length; i++) {
      await session.wait(device.queue.onSubmittedWorkDone());
      const start = performance.now();
      const encoder = device.createCommandEncoder();
      session.encodeAlone(encoder, gpu, i);
      device.queue.submit([encoder.finish()]);
      await session.wait(device.queue.onSubmittedWorkDone());
      microseconds.push((performance.now() - start) * 1000);
    }
    return { by: "clock", microseconds };
  }
  const querySet = device.createQuerySet({ type: "timestamp", count: 2 * BATCH });
  const resolved = session.createBuffer("timestamps", 16 * BATCH, QUERY_RESOLVE | COPY_SRC);
  for (let from = 0; from < commands.length; from += BATCH) {
    const count = Math.min(BATCH, commands.length - from);
    const encoder = device.createCommandEncoder();
    for (let i = 0; i < count; i++) {
      session.encodeAlone(encoder, gpu, from + i, {
        querySet,
        beginningOfPassWriteIndex: 2 * i,
        endOfPassWriteIndex: 2 * i + 1,
      });
    }
    encoder.resolveQuerySet(querySet, 0, 2 * count, resolved, 0);
    device.queue.submit([encoder.finish()]);
    const [bytes] = await session.read([{ from: resolved, offset: 0, bytes: 16 * count }]);
    const times = new BigUint64Array(bytes);
    for (let i = 0; i < count; i++) {
      // Copies have no pass and leave their queries as they were.
      const timed = commands[from + i].kind === "dispatch" && times[2 * i + 1] >= times[2 * i];
      microseconds.push(timed ? Number(times[2 * i + 1] - times[2 * i]) / 1000 : 0);
    }
  }
  querySet.destroy();
  session.destroyBuffer(resolved);
  return { by: "timestamps", microseconds };
}
