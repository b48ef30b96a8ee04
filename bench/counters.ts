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
