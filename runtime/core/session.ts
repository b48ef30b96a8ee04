// A device at work for one model. In: an open device with its program. Out: pipelines compiled and warmed up, the five
// buffers, plans turned into bind groups, submits and readbacks. It knows nothing of entries' arguments or of training;
// when the device is lost, the whole session is dropped and another one opened.
import type { OpenDevice } from "./adapter.ts";
import type * as api from "./api.ts";
import { pollPolitely } from "./dawn.ts";
import { DeviceLostError, GpuError, LimitError, MdlRuntimeError } from "./errors.ts";
import { COPY_DST, COPY_SRC, MAP_READ, STORAGE, UNIFORM } from "./flags.ts";
import { compilePipelines, dispatch, type Pipelines, type ReadyKernel } from "./pipelines.ts";
import type { BoundPlan, ClearCommand, Command, CopyCommand, DispatchCommand, PlanLimits } from "./plan.ts";
import { type Artefact, BUFFERS, type BufferName, type Program } from "./program.ts";
import { type AnyView, alignTo } from "./tensor.ts";

/** A plan with its GPU objects. */
export interface GpuPlan<P extends BoundPlan = BoundPlan> {
  readonly plan: P;
  readonly uniforms: GPUBuffer;
  /** One per command; undefined for copies. Made anew when the arena was. */
  groups: (GPUBindGroup | undefined)[];
  arena: GPUBuffer | undefined;
}

export interface Readable {
  readonly staging: GPUBuffer;
  copy(encoder: GPUCommandEncoder): void;
  read(): Promise<ArrayBuffer[]>;
}

/** Floating-point operations a millisecond, for splitting submits: low guesses, so that a submit is rather too short. */
const SOFTWARE_RATE = 5e6;
const GPU_RATE = 5e8;
/** Milliseconds of a dispatch, at most: systems end what keeps a GPU for two seconds. */
const LONGEST = 1000;

/** Mappable buffers kept for the next results: as many as calls are in flight at most. */
const STAGING_KEPT = 8;

const isNode = !!(globalThis as { readonly process?: { readonly versions?: { readonly node?: string } } })
  .process?.versions?.node;

export class Session {
  readonly device: GPUDevice;
  readonly program: Program;
  readonly own: boolean;
  readonly limits: PlanLimits;
  lost: GPUDeviceLostInfo | undefined;
  readonly #opened: OpenDevice;
  readonly #artefact: Artefact;
  readonly #buffers = new Map<BufferName, GPUBuffer>();
  readonly #all = new Set<GPUBuffer>();
  #pipelines!: Pipelines;
  /** Why it was closed, where it was: what later work rejects with. */
  #end: Error | undefined;
  /** Promises of the GPU's that are open. */
  readonly #pending = new Set<Promise<unknown>>();
  #free: GPUBuffer[] = [];
  #scratch: GPUBuffer | undefined;
  readonly #costPerSubmit: number;

  private constructor(artefact: Artefact, opened: OpenDevice, options: api.LoadOptions) {
    this.#artefact = artefact;
    this.#opened = opened;
    this.device = opened.device;
    this.program = opened.program;
    this.own = opened.own;
    const rate = opened.software ? SOFTWARE_RATE : GPU_RATE;
    this.#costPerSubmit = (options.maxSubmitMs ?? (isNode ? LONGEST : 50)) * rate;
    const { maxComputeWorkgroupsPerDimension, minUniformBufferOffsetAlignment, maxStorageBufferBindingSize } =
      opened.device.limits;
    this.limits = {
      maxComputeWorkgroupsPerDimension,
      minUniformBufferOffsetAlignment,
      maxStorageBufferBindingSize,
      maxDispatchCost: Math.min(LONGEST * rate, this.#costPerSubmit),
    };
    this.device.lost.then((info) => {
      this.lost = info;
    });
  }

  static async open(
    artefact: Artefact,
    opened: OpenDevice,
    options: api.LoadOptions,
    tell?: (event: api.Progress) => void,
  ): Promise<Session> {
    const session = new Session(artefact, opened, options);
    try {
      const { program } = opened;
      const usage = STORAGE | COPY_SRC | COPY_DST;
      const { paramBytes, stateBytes } = artefact;
      const { derivedBytes, constantBytes } = program;
      // The arena comes with the first call.
      for (const [i, bytes] of [paramBytes, stateBytes, derivedBytes, constantBytes].entries())
        await session.#make(BUFFERS[i], bytes, usage);
      if (artefact.constants) {
        const bytes = Uint8Array.from(atob(artefact.constants), (c) => c.charCodeAt(0));
        session.write("constants", 0, bytes);
      }
      session.#pipelines = await compilePipelines(session, artefact, program, tell);
      return session;
    } catch (error) {
      session.close(error as Error);
      throw error;
    }
  }

  /** Every kernel has run once. */
  get warm(): Promise<void> {
    return this.#pipelines.warm;
  }

  /** Waits for a GPU promise without taking a core from a software adapter. */
  wait<T>(promise: Promise<T>): Promise<T> {
    this.#expect(promise);
    return pollPolitely(promise, this.#opened.info);
  }

  #expect(promise: Promise<unknown>): void {
    this.#pending.add(promise);
    const gone = (): unknown => this.#pending.delete(promise);
    promise.then(gone, gone);
  }

  /** Resolves when no promise of the GPU's is open: a thread that ends with one takes the process along (Dawn). */
  async idle(): Promise<void> {
    while (this.#pending.size) await Promise.allSettled(this.#pending);
  }

  get software(): boolean {
    return this.#opened.software;
  }

  createBuffer(label: string, size: number, usage: number): GPUBuffer {
    const buffer = this.device.createBuffer({ label: `${this.#artefact.name} ${label}`, size, usage });
    this.#all.add(buffer);
    return buffer;
  }

  destroyBuffer(buffer: GPUBuffer): void {
    this.#all.delete(buffer);
    buffer.destroy();
  }

  /** One of the five, of at least `bytes`. */
  async #make(name: BufferName, bytes: number, usage: number, what = `the ${name}`): Promise<GPUBuffer> {
    this.check();
    const size = Math.max(256, alignTo(bytes, 256));
    const most = this.device.limits.maxBufferSize;
    if (size > most) {
      throw new LimitError(
        "limit",
        `${what} of ${this.#artefact.name} takes ${size} bytes; this device allows ${most}`,
      );
    }
    // The old one (an arena, whose contents nobody needs) goes first, so that both need not fit.
    const old = this.#buffers.get(name);
    if (old) this.destroyBuffer(old);
    this.#buffers.delete(name);
    this.device.pushErrorScope("out-of-memory");
    const buffer = this.createBuffer(name, size, usage);
    const error = await this.device.popErrorScope();
    this.check();
    if (error) {
      this.destroyBuffer(buffer);
      throw new LimitError(
        "out-of-memory",
        `${what} of ${this.#artefact.name} takes ${size} bytes, which the device has not got`,
      );
    }
    this.#buffers.set(name, buffer);
    return buffer;
  }

  buffer(name: BufferName): GPUBuffer {
    return this.#buffers.get(name) as GPUBuffer;
  }

  /** Makes the arena at least this large; a promise only where it has to grow. */
  ensureArena(bytes: number, what: string): Promise<unknown> | undefined {
    const have = this.#buffers.get("arena")?.size ?? 0;
    if (have >= Math.max(bytes, 1)) return undefined;
    return this.#make("arena", bytes, STORAGE | COPY_SRC | COPY_DST, what);
  }

  write(name: BufferName, offset: number, data: AnyView): void {
    if (data.byteLength === 0) return;
    this.device.queue.writeBuffer(this.buffer(name), offset, data as AnyView & ArrayBufferView<ArrayBuffer>);
  }

  /** Uniforms on the GPU; bind groups follow at the first run. */
  prepare<P extends BoundPlan>(plan: P): GpuPlan<P> {
    const uniforms = this.createBuffer("uniforms", alignTo(plan.uniforms.byteLength, 16), UNIFORM | COPY_DST);
    this.device.queue.writeBuffer(uniforms, 0, plan.uniforms);
    return { plan, uniforms, groups: [], arena: undefined };
  }

  release(gpu: GpuPlan): void {
    this.destroyBuffer(gpu.uniforms);
  }

  #kernel({ kernel }: DispatchCommand): ReadyKernel {
    return this.#pipelines.kernels[kernel] as ReadyKernel;
  }

  /** Bind groups of every command, shared where they are equal. */
  #bind(gpu: GpuPlan): void {
    const known = new Map<string, GPUBindGroup>();
    gpu.groups = gpu.plan.commands.map((c) => {
      if (c.kind !== "dispatch") return undefined;
      const kernel = this.#kernel(c);
      const at = kernel.looped ? 0 : c.block;
      const key = [kernel.layoutKey, kernel.blockBytes, at, ...c.bind.map(Object.values)].join();
      let group = known.get(key);
      if (!group) {
        group = this.#pipelines.group(kernel, gpu.uniforms, at, (i) => {
          const { buffer, offset, bytes } = c.bind[i];
          return bytes > 0 ? { buffer: this.buffer(buffer), offset, size: alignTo(bytes, 16) } : undefined;
        });
        known.set(key, group);
      }
      return group;
    });
    gpu.arena = this.#buffers.get("arena");
  }

  /**
   * Encodes a plan and submits it: in one pass and one submit, unless copies split the pass or the estimate passes what a
   * submit may take. `before` and `after` add copies at the ends. The arena is there already.
   */
  run(
    gpu: GpuPlan,
    before?: (encoder: GPUCommandEncoder) => void,
    after?: (encoder: GPUCommandEncoder) => void,
  ): void {
    const { device } = this;
    this.bindIfStale(gpu);
    let encoder = device.createCommandEncoder();
    before?.(encoder);
    let pass: GPUComputePassEncoder | undefined;
    let current: GPUComputePipeline | undefined;
    let cost = 0;
    const endPass = (): void => {
      pass?.end();
      pass = undefined;
      current = undefined;
    };
    const { commands } = gpu.plan;
    for (let i = 0; i < commands.length; i++) {
      const c = commands[i];
      if (c.kind !== "dispatch") {
        endPass();
        this.#move(encoder, c);
        continue;
      }
      if (cost > 0 && cost + c.cost > this.#costPerSubmit) {
        endPass();
        device.queue.submit([encoder.finish()]);
        encoder = device.createCommandEncoder();
        cost = 0;
      }
      cost += c.cost;
      pass ??= encoder.beginComputePass();
      const kernel = this.#kernel(c);
      if (kernel.pipeline !== current) pass.setPipeline(kernel.pipeline);
      current = kernel.pipeline;
      dispatch(pass, kernel, gpu.groups[i], c);
    }
    endPass();
    after?.(encoder);
    device.queue.submit([encoder.finish()]);
  }

  bindIfStale(gpu: GpuPlan): void {
    if (gpu.groups.length !== gpu.plan.commands.length || gpu.arena !== this.#buffers.get("arena"))
      this.#bind(gpu);
  }

  /** One command in a pass of its own. */
  encodeAlone(
    encoder: GPUCommandEncoder,
    gpu: GpuPlan,
    i: number,
    timestampWrites?: GPUComputePassTimestampWrites,
  ): void {
    const c: Command = gpu.plan.commands[i];
    if (c.kind !== "dispatch") {
      this.#move(encoder, c);
      return;
    }
    const pass = encoder.beginComputePass({ timestampWrites });
    const kernel = this.#kernel(c);
    pass.setPipeline(kernel.pipeline);
    dispatch(pass, kernel, gpu.groups[i], c);
    pass.end();
  }

  #move(encoder: GPUCommandEncoder, c: CopyCommand | ClearCommand): void {
    if (c.kind === "clear") {
      encoder.clearBuffer(this.buffer(c.range.buffer), c.range.offset, alignTo(c.range.bytes, 4));
      return;
    }
    const { from, to } = c;
    const size = alignTo(from.bytes, 4);
    const [source, target] = [this.buffer(from.buffer), this.buffer(to.buffer)];
    if (source !== target) {
      encoder.copyBufferToBuffer(source, from.offset, target, to.offset, size);
      return;
    }
    // WebGPU copies between different buffers only.
    if (!this.#scratch || this.#scratch.size < size) {
      if (this.#scratch) this.destroyLater(this.#scratch);
      this.#scratch = this.createBuffer("scratch", size, COPY_SRC | COPY_DST);
    }
    encoder.copyBufferToBuffer(source, from.offset, this.#scratch, 0, size);
    encoder.copyBufferToBuffer(this.#scratch, 0, target, to.offset, size);
  }

  /** For a buffer that commands not yet submitted may still use. */
  destroyLater(buffer: GPUBuffer): void {
    queueMicrotask(() => this.destroyBuffer(buffer));
  }

  /** A mappable buffer from the pool. */
  takeStaging(bytes: number): GPUBuffer {
    const i = this.#free.findIndex((b) => b.size >= bytes && b.size <= 4 * Math.max(bytes, 65536));
    if (i >= 0) return this.#free.splice(i, 1)[0];
    const most = this.device.limits.maxBufferSize;
    if (bytes > most)
      throw new LimitError("limit", `${bytes} bytes to read back at once; this device allows ${most}`);
    const size = Math.min(2 ** Math.ceil(Math.log2(Math.max(bytes, 4096))), most);
    return this.createBuffer("staging", size, MAP_READ | COPY_DST);
  }

  /**
   * Runs `work`, which submits. `accepted` rejects where the device refused something of it: a LimitError where memory ran
   * out, else a GpuError.
   */
  guarded<T>(work: () => T): { readonly value: T; readonly accepted: Promise<void> } {
    const { device } = this;
    const scopes: Promise<GPUError | null>[] = [];
    device.pushErrorScope("out-of-memory");
    device.pushErrorScope("validation");
    let value: T;
    try {
      value = work();
    } catch (error) {
      throw error instanceof MdlRuntimeError ? error : this.gpuError(error);
    } finally {
      scopes.push(device.popErrorScope(), device.popErrorScope());
      for (const scope of scopes) this.#expect(scope);
    }
    return { value, accepted: this.#accepted(scopes) };
  }

  async #accepted([validation, memory]: readonly Promise<GPUError | null>[]): Promise<void> {
    let refused: GPUError | null;
    let full: GPUError | null;
    try {
      [refused, full] = [await validation, await memory];
    } catch (cause) {
      throw await this.explain(cause);
    }
    this.check();
    if (full) throw new LimitError("out-of-memory", `the GPU has not got the memory: ${full.message}`, full);
    if (refused) throw this.gpuError(refused);
  }

  /** The bytes of a staging buffer, copied; it goes back to the pool. */
  async readStaging(staging: GPUBuffer, bytes: number): Promise<ArrayBuffer> {
    try {
      const size = alignTo(Math.max(bytes, 4), 4);
      await this.wait(staging.mapAsync(1, 0, size));
      const copy = staging.getMappedRange(0, size).slice(0);
      staging.unmap();
      this.#free.push(staging);
      if (this.#free.length > STAGING_KEPT) this.destroyBuffer(this.#free.shift() as GPUBuffer);
      return copy;
    } catch (cause) {
      this.destroyBuffer(staging);
      throw await this.explain(cause);
    }
  }

  /** Room for copies of parts of buffers: how they get there, and what they are once that was submitted. */
  readable(
    parts: readonly { readonly from: GPUBuffer; readonly offset: number; readonly bytes: number }[],
  ): Readable {
    let total = 0;
    const places = parts.map((part) => {
      const at = total;
      const size = alignTo(part.bytes, 4);
      total += size;
      return { ...part, at, size };
    });
    const staging = this.takeStaging(total);
    return {
      staging,
      copy: (encoder) => {
        for (const { from, offset, at, size } of places)
          if (size > 0) encoder.copyBufferToBuffer(from, offset, staging, at, size);
      },
      read: async () => {
        const all = await this.readStaging(staging, total);
        return places.map(({ at, size }) => (parts.length === 1 ? all : all.slice(at, at + size)));
      },
    };
  }

  /** Reads parts of buffers back, in one submit. */
  async read(parts: Parameters<Session["readable"]>[0]): Promise<ArrayBuffer[]> {
    this.check();
    const { value: there, accepted } = this.guarded(() => {
      const made = this.readable(parts);
      const encoder = this.device.createCommandEncoder();
      made.copy(encoder);
      this.device.queue.submit([encoder.finish()]);
      return made;
    });
    const [all] = await Promise.all([there.read(), accepted]);
    return all;
  }

  /** What a rejected GPU promise means. */
  async explain(cause: unknown): Promise<Error> {
    // The promise of the loss may settle a little after what it broke.
    if (!this.#end)
      await Promise.race([this.device.lost, new Promise((resolve) => setTimeout(resolve, 100))]);
    if (this.#end) return this.#end;
    if (this.lost) return this.lostError(cause);
    return cause instanceof MdlRuntimeError ? cause : this.gpuError(cause);
  }

  gpuError(cause: unknown): GpuError {
    return new GpuError("gpu", `the GPU failed: ${(cause as Error)?.message ?? cause}`, cause);
  }

  lostError(cause?: unknown, next?: string): DeviceLostError {
    const why = this.lost?.message ? ` (${this.lost.message.trim()})` : "";
    const then = this.own
      ? "the next call opens another, with what was snapshotted, loaded or set last"
      : "it was handed in, so load the model again with another one";
    return new DeviceLostError("device-lost", `the GPU device was lost${why}; ${next ?? then}`, cause);
  }

  /** Throws where the device is known to be lost, or this is closed. */
  check(): void {
    if (this.#end) throw this.#end;
    if (this.lost) throw this.lostError();
  }

  memory(): api.Memory {
    let total = 0;
    for (const buffer of this.#all) total += buffer.size;
    let other = total;
    const named = BUFFERS.map((name) => {
      const size = this.#buffers.get(name)?.size ?? 0;
      other -= size;
      return [name, size] as const;
    });
    const sizes = Object.fromEntries(named) as Record<BufferName, number>;
    return { ...sizes, other, total, buffers: this.#all.size };
  }

  /** Frees everything; what is asked of it from now on rejects with `end`. */
  close(end: Error): void {
    this.#end ??= end;
    for (const buffer of this.#all) buffer.destroy();
    this.#all.clear();
    this.#buffers.clear();
    this.#free = [];
    if (this.own) this.device.destroy();
  }
}
