// The process of one workload on one system. In: the task, then requests over IPC. Out: what the first calls showed, and
// samples of later ones. It ends when the main process hangs up.
import { Counters } from "./counters.ts";
import type { Answer, Opened, Request, Task } from "./protocol.ts";
import { largestError } from "./reference.ts";
import { sample } from "./sampling.ts";
import { systems } from "./systems/index.ts";
import { CannotRun, type Subject } from "./systems/system.ts";
import { workloads } from "./workloads.ts";

export async function work(task: Task): Promise<void> {
  const send = (message: Opened | Answer): void => void process.send?.(message);
  let subject: Subject | undefined;
  // Listened to from the start, so that the channel stays open.
  process.on("message", async ({ sample: options }: Request) => {
    try {
      if (!subject) throw new Error("nothing is open");
      const { call } = subject;
      send({ kind: "samples", milliseconds: await sample(call, options) });
    } catch (error) {
      send({ kind: "failed", reason: messageOf(error) });
    }
  });
  process.on("disconnect", () => subject?.close());
  try {
    const opened = await open(task);
    subject = opened.subject;
    send(opened.ready);
  } catch (error) {
    send({ kind: cannotRun(error) ? "skipped" : "failed", reason: messageOf(error) });
  }
}

/** A module brings its own copy of the runtime's errors: those go by their name. */
const cannotRun = (error: unknown): boolean =>
  error instanceof CannotRun || (error as Error).name === "UnsupportedError";

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

async function open(task: Task): Promise<{ subject: Subject; ready: Opened }> {
  const workload = workloads.find((w) => w.name === task.workload)!;
  const system = systems.find((s) => s.name === task.system)!;
  const data = workload.data();
  const counters = new Counters();
  const begin = performance.now();
  const subject = await system.open(workload, data, task.shipped);
  const loaded = performance.now();
  await subject.call();
  const called = performance.now();
  const { pipelines } = counters.counts();
  try {
    const maxError = largestError(await subject.results(), data.expected());
    const before = counters.counts().dispatches;
    await subject.call();
    const { dispatches, peakBytes } = counters.counts();
    counters.remove();
    const { description, device, vendor, architecture } = subject.adapter;
    const ready: Opened = {
      kind: "ready",
      device: { name: description || device, vendor, architecture },
      variant: subject.variant,
      loadMs: loaded - begin,
      firstMs: called - loaded,
      maxError,
      pipelines,
      dispatches: dispatches - before,
      peakBytes,
      arenaBytes: subject.arenaBytes(),
    };
    return { subject, ready };
  } catch (error) {
    subject.close();
    throw error;
  }
}
