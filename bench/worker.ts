// The process of one workload on one system. In: the task, then requests over IPC. Out: what the first calls showed, and
// samples of later ones. It ends when the main process hangs up.
import { requestExactGpu } from "../runtime/node/index.ts";
import { CallProbe, Counters, GpuClock, withTimestamps } from "./counters.ts";
import type { Answer, Device, Opened, Ready, Request, Task } from "./protocol.ts";
import { type Expected, keep, largestError } from "./reference.ts";
import { sample } from "./sampling.ts";
import { type GpuTime, median } from "./statistics.ts";
import { systemOf } from "./systems/index.ts";
import { CannotRun, type Subject, type System } from "./systems/system.ts";
import { userWorkload } from "./user.ts";
import { STEPS, type Workload } from "./workload.ts";
import { curves, workloads } from "./workloads.ts";

export async function work(task: Task): Promise<void> {
  const send = (message: Opened | Answer): void => void process.send?.(message);
  let subject: Subject | undefined;
  // Listened to from the start, so that the channel stays open.
  process.on("message", async ({ sample: options }: Request) => {
    try {
      if (!subject) throw new Error("nothing is open");
      const milliseconds = await sample(subject.call, options);
      send({ kind: "samples", milliseconds, ...(await gpuTimes(systemOf(task.system), subject)) });
    } catch (error) {
      send({ kind: "failed", reason: messageOf(error) });
    }
  });
  process.on("disconnect", () => {
    subject?.close();
    // Libraries keep threads.
    setTimeout(() => process.exit(), 1000).unref();
  });
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

const workloadOf = ({ workload, user }: Task): Workload =>
  user ? userWorkload(user) : [...workloads, ...curves].find((w) => w.name === workload)!;

async function open(task: Task): Promise<{ subject: Subject; ready: Ready }> {
  const workload = workloadOf(task);
  const system = systemOf(task.system);
  const data = workload.data();
  const counters = system.device === "webgpu" ? new Counters() : undefined;
  const timestamps = system.device === "webgpu" ? withTimestamps() : undefined;
  // Whoever needs it: Dawn is loaded and has looked for drivers before anything is timed.
  if (system.device === "webgpu") await requestExactGpu(system.dawnFeatures);
  const start = await system.prepare(workload, data, task);
  const begin = performance.now();
  const subject = await start();
  const loaded = performance.now();
  timestamps?.remove();
  try {
    await subject.call();
    const called = performance.now();
    const pipelines = counters?.counts().pipelines;
    const before = counters?.counts().dispatches ?? 0;
    await subject.call();
    const dispatches = counters && counters.counts().dispatches - before;
    for (let step = 2; workload.training && step < STEPS; step++) await subject.call();
    const results = await subject.results();
    const maxError = data.expected && largestError(results, data.expected, system.tolerance);
    const kept = data.expected
      ? undefined
      : Object.fromEntries(
          Object.entries(results).map(([name, values]): [string, Expected] => [name, keep(values)]),
        );
    const peakBytes = counters?.counts().peakBytes;
    counters?.remove();
    const ready: Ready = {
      kind: "ready",
      device: deviceOf(subject),
      variant: subject.variant,
      loadMs: loaded - begin,
      firstMs: called - loaded,
      maxError,
      results: kept,
      pipelines,
      dispatches,
      peakBytes,
      arenaBytes: subject.arenaBytes?.(),
      ...(await callTimes(system, subject)),
    };
    return { subject, ready };
  } catch (error) {
    subject.close();
    throw error;
  }
}

function deviceOf({ adapter }: Subject): Device | undefined {
  if (!adapter) return undefined;
  const { description, device, vendor, architecture } = adapter;
  return { name: description || device, vendor, architecture };
}

const PROBED = { calls: 20, milliseconds: 1000 };

async function callTimes(system: System, { call }: Subject): Promise<Pick<Ready, "submitMs" | "ownMs">> {
  const none = { submitMs: undefined, ownMs: undefined };
  if (system.device !== "webgpu") return none;
  const probe = new CallProbe();
  try {
    const times = [];
    const begin = performance.now();
    while (
      times.length < PROBED.calls &&
      (times.length < 3 || performance.now() - begin < PROBED.milliseconds)
    ) {
      const time = await probe.time(call);
      if (!time) return none;
      times.push(time);
    }
    return { submitMs: median(times.map((t) => t.submitted)), ownMs: median(times.map((t) => t.own)) };
  } finally {
    probe.remove();
  }
}

/** After the samples of a round, while the GPU's clocks are up. */
const TIMED = { calls: 5, milliseconds: 300 };

async function gpuTimes(
  { device }: System,
  { call, gpuTimes: own }: Subject,
): Promise<Pick<Extract<Answer, { kind: "samples" }>, "gpu" | "gpuBy">> {
  if (own) return own();
  const none = { gpu: [], gpuBy: undefined };
  if (device !== "webgpu") return none;
  const clock = new GpuClock();
  const gpu: GpuTime[] = [];
  const begin = performance.now();
  while (gpu.length === 0 || (gpu.length < TIMED.calls && performance.now() - begin < TIMED.milliseconds)) {
    const time = await clock.time(call);
    if (!time) return none;
    gpu.push(time);
  }
  return { gpu, gpuBy: "timestamps" };
}
