// Counts what a system asks of WebGPU, by standing before Dawn's own methods: so they are counted the same way for whatever
// runs. In: a process that has not made its device yet. Out: pipelines, dispatches and bytes so far. To be taken away before
// anything is timed warm.
import { globals } from "webgpu";

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

export class Counters {
  #pipelines = 0;
  #dispatches = 0;
  #bytes = 0;
  #peak = 0;
  readonly #restore: (() => void)[] = [];

  constructor() {
    const sizes = new WeakMap<object, number>();
    for (const name of ["createComputePipeline", "createComputePipelineAsync"]) {
      this.#before("GPUDevice", name, () => {
        this.#pipelines++;
      });
    }
    for (const name of ["dispatchWorkgroups", "dispatchWorkgroupsIndirect"]) {
      this.#before("GPUComputePassEncoder", name, () => {
        this.#dispatches++;
      });
    }
    this.#around(
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
    this.#before("GPUBuffer", "destroy", (buffer) => {
      this.#bytes -= sizes.get(buffer) ?? 0;
      sizes.delete(buffer);
    });
  }

  #grow(bytes: number): void {
    this.#bytes += bytes;
    this.#peak = Math.max(this.#peak, this.#bytes);
  }

  #before(className: string, method: string, note: (self: object) => void): void {
    this.#around(
      className,
      method,
      (original) =>
        function (this: object, ...args: unknown[]) {
          note(this);
          return original.apply(this, args);
        },
    );
  }

  #around(className: string, method: string, wrap: (original: Method) => Method): void {
    const { prototype } = (globals as unknown as Record<string, Class>)[className];
    const original = prototype[method];
    prototype[method] = wrap(original);
    this.#restore.push(() => {
      prototype[method] = original;
    });
  }

  counts(): Counts {
    return { pipelines: this.#pipelines, dispatches: this.#dispatches, peakBytes: this.#peak };
  }

  remove(): void {
    for (const restore of this.#restore.splice(0)) restore();
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
