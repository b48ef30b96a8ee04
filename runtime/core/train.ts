// What only modules with training steps carry: the host's scalars of a step, and results that stay on the GPU until they
// are read. In: a train entry's plan and what a step left in the ring. Out: numbers, lazily. Apart from the rest so that an
// inference module can leave it out (no-train.ts is in its place there).
import { bug, InputError, MdlRuntimeError, NonFiniteError } from "./errors.ts";
import { ARITHMETIC } from "./expr.ts";
import { COPY_DST, COPY_SRC } from "./flags.ts";
import type { BoundEntry, BoundPort } from "./plan.ts";
import type { EntryPlan, HostExpr } from "./program.ts";
import type { GpuPlan, Session } from "./session.ts";
import { type AnyView, alignTo, fromGpu, inspect, toGpu } from "./tensor.ts";

/** Host expressions know these, which work on numbers (0 is false), and what `Math` has. */
const OPERATORS: Readonly<Record<string, (a: number, b: number, c: number) => number>> = {
  ...ARITHMETIC,
  "/": (a, b) => a / b,
  "**": (a, b) => a ** b,
  "<": (a, b) => +(a < b),
  "<=": (a, b) => +(a <= b),
  ">": (a, b) => +(a > b),
  ">=": (a, b) => +(a >= b),
  "==": (a, b) => +(a === b),
  "!=": (a, b) => +(a !== b),
  and: (a, b) => +(!!a && !!b),
  or: (a, b) => +(!!a || !!b),
  not: (a) => +!a,
  where: (c, yes, no) => (c ? yes : no),
};

/** A schedule's value. Names: `step`, `total_steps`, and the caller's numbers by name. */
export function evaluateHost(expr: HostExpr, names: Readonly<Record<string, number | undefined>>): number {
  if (typeof expr === "number") return expr;
  if (typeof expr === "string") {
    const value = Object.hasOwn(names, expr) ? names[expr] : undefined;
    if (value !== undefined) return value;
    if (expr === "total_steps") {
      throw new InputError(
        "total-steps",
        "this schedule needs the number of steps to come: load({ train: { totalSteps } })",
      );
    }
    throw new InputError(
      "schedule",
      `this step needs a number for ${expr}: give it in the call's options, { ${expr}: … }`,
    );
  }
  const [name, ...args] = expr;
  const known = [OPERATORS, Math].find((functions) => Object.hasOwn(functions, name));
  if (!known) throw bug(`a schedule uses the unknown function ${name}`);
  return (known as Readonly<Record<string, (...x: number[]) => number>>)[name](
    ...args.map((arg) => evaluateHost(arg, names)),
  );
}

/** The scalars of a step, by their place among its implicit inputs: the caller's (`hyper`), else by their schedules. */
export function scalarsOf(
  entry: EntryPlan,
  step: number,
  totalSteps: number | undefined,
  hyper: Readonly<Record<string, number>>,
): AnyView[] {
  // Later ones may be computed from earlier ones (a step size from lr), so that an override reaches both.
  const names: Record<string, number | undefined> = Object.assign(Object.create(null), {
    step,
    total_steps: totalSteps,
    ...hyper,
  });
  const scalars: AnyView[] = [];
  entry.implicit.forEach(({ name, dtype, value }, i) => {
    if (value === undefined) return;
    const given = Object.hasOwn(hyper, name) ? hyper[name] : undefined;
    const number = given ?? evaluateHost(value, names);
    // As the GPU will have it: 1e39 is infinite there.
    if (!Number.isFinite(Math.fround(number))) {
      const by = given === undefined ? "by its schedule" : "as given";
      throw new InputError(
        "hyperparameter",
        `${entry.name}: ${name} is ${number} at step ${step}, ${by}; it must be a finite number. Nothing was changed`,
      );
    }
    names[name] = number;
    scalars[i] = toGpu(dtype, dtype === "i32" ? Int32Array.of(number) : Float32Array.of(number));
  });
  return scalars;
}

/** The most steps whose figures are kept for reading. */
const KEPT = 1024;

const HIDDEN = ["step", "read", "then"];

/** Figures of the latest steps, one slot each. */
export interface Ring {
  readonly session: Session;
  readonly buffer: GPUBuffer;
  readonly slotBytes: number;
  readonly slots: number;
  taken: number;
}

function makeRing(session: Session, ports: readonly BoundPort[]): Ring {
  const slotBytes = Math.max(4, slotOffsets(ports).total);
  const slots = Math.min(KEPT, Math.max(8, Math.floor(2 ** 20 / slotBytes)));
  return {
    session,
    buffer: session.createBuffer("steps", slotBytes * slots, COPY_SRC | COPY_DST),
    slotBytes,
    slots,
    taken: 0,
  };
}

function slotOffsets(ports: readonly BoundPort[]): { at: number[]; total: number } {
  let total = 0;
  const at = ports.map(({ range }) => {
    const here = total;
    total += alignTo(range.bytes, 4);
    return here;
  });
  return { at, total };
}

/** Adds the copies that keep a step's figures, and returns what reads them. */
function keepFigures(
  ring: Ring,
  entry: EntryPlan,
  ports: readonly BoundPort[],
  step: number,
): { copy(encoder: GPUCommandEncoder): void; result: object } {
  const { session } = ring;
  const serial = ring.taken++;
  const base = (serial % ring.slots) * ring.slotBytes;
  const { at, total } = slotOffsets(ports);
  const { block, loss, reports, flag } = entry.train as NonNullable<EntryPlan["train"]>;

  const fetch = async (): Promise<Record<string, number>> => {
    if (ring.taken - serial > ring.slots) {
      throw new MdlRuntimeError(
        "step-gone",
        `the figures of ${block}'s step ${step} are no longer kept: read them within ${ring.slots} steps`,
      );
    }
    const [bytes] = await session.read([{ from: ring.buffer, offset: base, bytes: total }]);
    const figures = new Map<string, number>();
    ports.forEach(({ port, shape, range }, i) => {
      const count = shape.reduce((a, b) => a * b, 1);
      const part = bytes.slice(at[i], at[i] + alignTo(range.bytes, 4));
      figures.set(port.name, fromGpu(port.dtype, part, count)[0]);
    });
    // 0 as long as every step was finite, else 1 + the number of the first that was not.
    const bad = figures.get(flag ?? "");
    if (bad) throw new NonFiniteError(bad - 1, block);
    return Object.fromEntries([
      ["loss", figures.get(loss)],
      ...reports.map((name) => [name, figures.get(name)]),
    ]) as Record<string, number>;
  };
  let fetched: Promise<Record<string, number>> | undefined;
  let known: Record<string, number> | undefined;
  const read = (): Promise<Record<string, number>> => {
    fetched ??= fetch().then((figures) => {
      known = figures;
      return figures;
    });
    return fetched;
  };
  const result = {};
  // Getters, so that nothing is read back, and no rejection is without a listener, until somebody asks.
  for (const name of ["loss", ...reports]) {
    // A step's own members, and `then`, which would make it a promise: read() has reports of these names.
    if (HIDDEN.includes(name)) continue;
    Object.defineProperty(result, name, {
      enumerable: false,
      get: () => read().then((figures) => figures[name]),
    });
  }
  Object.defineProperty(result, "step", { enumerable: true, value: step });
  Object.defineProperty(result, "read", { value: read });
  const print = (): string => {
    const text = ["loss", ...reports].map((name) => `${name} ${known ? known[name] : "(on the GPU)"}`);
    return `step ${step} of ${block}: ${text.join(", ")}${known ? "" : "; await step.read() brings them"}`;
  };
  Object.defineProperty(result, inspect, { value: print });
  // A report may have this name.
  if (!Object.hasOwn(result, "toString")) Object.defineProperty(result, "toString", { value: print });
  return {
    copy(encoder) {
      ports.forEach(({ range }, i) => {
        if (range.bytes === 0) return;
        encoder.copyBufferToBuffer(
          session.buffer(range.buffer),
          range.offset,
          ring.buffer,
          base + at[i],
          alignTo(range.bytes, 4),
        );
      });
    },
    result,
  };
}

/** The entry that is `train_step`, too: the only training step, where no entry has that name. */
export function trainStepOf(entries: readonly EntryPlan[]): EntryPlan | undefined {
  const steps = entries.filter((e) => e.train);
  return steps.length === 1 && !entries.some((e) => e.name === "train_step") ? steps[0] : undefined;
}

/** Runs a step and keeps its figures; what reads them is its result. */
export function encodeStep(
  session: Session,
  gpu: GpuPlan<BoundEntry>,
  entry: EntryPlan,
  step: number,
  rings: Map<string, Ring>,
  before: (encoder: GPUCommandEncoder) => void,
): object {
  const { outputs } = gpu.plan;
  const ring = rings.get(entry.name) ?? makeRing(session, outputs);
  rings.set(entry.name, ring);
  const { copy, result } = keepFigures(ring, entry, outputs, step);
  session.run(gpu, before, copy);
  return result;
}
