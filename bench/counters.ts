// Counts what a system asks of WebGPU, and times what the GPU does for it, by standing before Dawn's own methods: so it is done
// the same way for whatever runs. In: a process that has not made its device yet. Out: pipelines, dispatches and bytes so far;
// milliseconds of calls. To be taken away before anything is timed warm.
import { globals } from "webgpu";
import { COPY_DST, COPY_SRC, MAP_READ, QUERY_RESOLVE } from "../runtime/core/flags.ts";
import { busyAndSpan, type GpuTime, type Interval } from "./statistics.ts";

export interface Counts {
  readonly pipelines: number;
  readonly dispatches: number;
  /** The most bytes of buffers that were there at once: weights, activations, staging and all. */
  readonly peakBytes: number;
}

/** Milliseconds of a call on the thread that made it. */
export interface CallTime {
  /** From the call to where its last submit returned. */
  readonly submitted: number;
  /** Of these, outside of Dawn's methods: the time of whoever called them. */
  readonly own: number;
}

type Method = (this: object, ...args: unknown[]) => unknown;
type Class = { readonly prototype: Record<string, Method> };

/** Stands before methods of Dawn's classes until it is removed. */
class Guard {
  readonly #restore: (() => void)[] = [];

  around(className: string, method: string, wrap: (original: Method) => Method): void {
    const { prototype } = (globals as unknown as Record<string, Class>)[className];
    const original = prototype[method];
    prototype[method] = wrap(original);
    this.#restore.push(() => {
      prototype[method] = original;
    });
  }

  before(className: string, method: string, note: (self: object) => void): void {
    this.around(
      className,
      method,
      (original) =>
        function (this: object, ...args: unknown[]) {
          note(this);
          return original.apply(this, args);
        },
    );
  }

  remove(): void {
    for (const restore of this.#restore.splice(0)) restore();
  }
}

export class Counters {
  #pipelines = 0;
  #dispatches = 0;
  #bytes = 0;
  #peak = 0;
  readonly #guard = new Guard();

  constructor() {
    const sizes = new WeakMap<object, number>();
    for (const name of ["createComputePipeline", "createComputePipelineAsync"]) {
      this.#guard.before("GPUDevice", name, () => {
        this.#pipelines++;
      });
    }
    for (const name of ["dispatchWorkgroups", "dispatchWorkgroupsIndirect"]) {
      this.#guard.before("GPUComputePassEncoder", name, () => {
        this.#dispatches++;
      });
    }
    this.#guard.around(
      "GPUDevice",
      "createBuffer",
      (original) =>
        function (this: object, ...args: unknown[]) {
          const buffer = original.apply(this, args) as object;
          const { size } = args[0] as { readonly size: number };
          sizes.set(buffer, size);
          counters.#grow(size);
          return buffer;
        },
    );
    const counters = this;
    this.#guard.before("GPUBuffer", "destroy", (buffer) => {
      this.#bytes -= sizes.get(buffer) ?? 0;
      sizes.delete(buffer);
    });
  }

  #grow(bytes: number): void {
    this.#bytes += bytes;
    this.#peak = Math.max(this.#peak, this.#bytes);
  }

  counts(): Counts {
    return { pipelines: this.#pipelines, dispatches: this.#dispatches, peakBytes: this.#peak };
  }

  remove(): void {
    this.#guard.remove();
  }
}

const TIMESTAMPS = "timestamp-query";

/** Devices made until it is removed have timestamps, where their adapter has them: asked for or not. */
export function withTimestamps(): { remove(): void } {
  const guard = new Guard();
  guard.around(
    "GPUAdapter",
    "requestDevice",
    (original) =>
      function (this: object, descriptor?: unknown) {
        const { requiredFeatures = [], ...rest } = (descriptor ?? {}) as GPUDeviceDescriptor;
        const features = new Set<GPUFeatureName>(requiredFeatures);
        if ((this as GPUAdapter).features.has(TIMESTAMPS)) features.add(TIMESTAMPS);
        return original.call(this, { ...rest, requiredFeatures: [...features] });
      },
  );
  return guard;
}

/** Passes that one query set has room for: WebGPU has no larger sets. */
const PASSES = 2048;

/** Times what the GPU does in a call: its clock at the begin and end of every compute pass. */
export class GpuClock {
  readonly #sets: GPUQuerySet[] = [];
  #device: GPUDevice | undefined;
  #passes = 0;
  /** There was a pass that could not be timed. */
  #missed = false;

  /** Undefined where a device has no timestamps, and where a pass has timestamps of its owner's. */
  async time(call: () => Promise<void>): Promise<GpuTime | undefined> {
    this.#passes = 0;
    this.#missed = false;
    const guard = this.#watch();
    try {
      await call();
    } finally {
      guard.remove();
    }
    if (this.#missed || !this.#device || this.#passes === 0) return undefined;
    return busyAndSpan(await this.#intervals(this.#device));
  }

  #watch(): Guard {
    const clock = this;
    const guard = new Guard();
    const owners = new WeakMap<object, GPUDevice>();
    guard.around(
      "GPUDevice",
      "createCommandEncoder",
      (original) =>
        function (this: object, ...args: unknown[]) {
          const encoder = original.apply(this, args) as object;
          owners.set(encoder, this as GPUDevice);
          return encoder;
        },
    );
    guard.around(
      "GPUCommandEncoder",
      "beginComputePass",
      (original) =>
        function (this: object, descriptor?: unknown) {
          const given = (descriptor ?? {}) as GPUComputePassDescriptor;
          const timestampWrites = given.timestampWrites ? undefined : clock.#writes(owners.get(this));
          if (timestampWrites) return original.call(this, { ...given, timestampWrites });
          clock.#missed = true;
          return original.apply(this, descriptor === undefined ? [] : [descriptor]);
        },
    );
    return guard;
  }

  #writes(device: GPUDevice | undefined): GPUComputePassTimestampWrites | undefined {
    if (!device?.features.has(TIMESTAMPS)) return undefined;
    this.#device ??= device;
    if (device !== this.#device) return undefined;
    const pass = this.#passes++;
    const at = Math.floor(pass / PASSES);
    this.#sets[at] ??= device.createQuerySet({ type: "timestamp", count: 2 * PASSES });
    const first = 2 * (pass % PASSES);
    return {
      querySet: this.#sets[at],
      beginningOfPassWriteIndex: first,
      endOfPassWriteIndex: first + 1,
    };
  }

  async #intervals(device: GPUDevice): Promise<Interval[]> {
    const bytes = 16 * this.#passes;
    const resolved = device.createBuffer({ size: bytes, usage: QUERY_RESOLVE | COPY_SRC });
    const staging = device.createBuffer({ size: bytes, usage: COPY_DST | MAP_READ });
    const encoder = device.createCommandEncoder();
    for (let from = 0; from < this.#passes; from += PASSES) {
      const count = Math.min(PASSES, this.#passes - from);
      encoder.resolveQuerySet(this.#sets[from / PASSES], 0, 2 * count, resolved, 16 * from);
    }
    encoder.copyBufferToBuffer(resolved, 0, staging, 0, bytes);
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(MAP_READ);
    const clock = new BigUint64Array(staging.getMappedRange().slice(0));
    staging.destroy();
    resolved.destroy();
    // A pass that was encoded and never submitted has left its queries alone.
    return Array.from({ length: this.#passes }, (_, i): Interval => [clock[2 * i], clock[2 * i + 1]]).filter(
      ([begin, end]) => begin > 0n && end >= begin,
    );
  }
}

/** Times calls up to their last submit, by standing before all of Dawn's methods: a tenth of a microsecond each. */
export class CallProbe {
  #inside = 0;
  #submitted: number | undefined;
  #insideThen = 0;
  readonly #restore: (() => void)[] = [];

  constructor() {
    for (const [name, { prototype }] of Object.entries(globals as unknown as Record<string, Class>)) {
      if (!name.startsWith("GPU") || !prototype) continue;
      for (const method of Object.getOwnPropertyNames(prototype)) {
        const found = Object.getOwnPropertyDescriptor(prototype, method);
        if (method === "constructor" || typeof found?.value !== "function" || !found.writable) continue;
        this.#wrap(prototype, method, name === "GPUQueue" && method === "submit");
      }
    }
  }

  #wrap(prototype: Record<string, Method>, method: string, submits: boolean): void {
    const probe = this;
    const original = prototype[method];
    prototype[method] = function (this: object, ...args: unknown[]) {
      const begin = performance.now();
      try {
        return original.apply(this, args);
      } finally {
        const end = performance.now();
        probe.#inside += end - begin;
        if (submits) {
          probe.#submitted = end;
          probe.#insideThen = probe.#inside;
        }
      }
    };
    this.#restore.push(() => {
      prototype[method] = original;
    });
  }

  /** Undefined for a call that submitted nothing. */
  async time(call: () => Promise<void>): Promise<CallTime | undefined> {
    this.#inside = 0;
    this.#submitted = undefined;
    const begin = performance.now();
    await call();
    if (this.#submitted === undefined) return undefined;
    const submitted = this.#submitted - begin;
    return { submitted, own: submitted - this.#insideThen };
  }

  remove(): void {
    for (const restore of this.#restore.splice(0)) restore();
  }
}
