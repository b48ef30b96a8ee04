// A loaded model: its entries as methods, its parameters, its life. In: an artefact and load's options. Out: the net.
// Calls are put in order here: each is checked at once, then waits for those before it to be submitted, never for their
// results. What a device needs is a Session; when it is lost, the next call opens another (recovery.ts says with what).
import { openDevice } from "./adapter.ts";
import type * as api from "./api.ts";
import {
  type DeviceLostError,
  DisposedError,
  didYouMean,
  few,
  InputError,
  UnsupportedError,
} from "./errors.ts";
import { evaluateRow } from "./expr.ts";
import { writeFile } from "./files.ts";
import { type Held, hold } from "./hold.ts";
import { describe, type Given, takeInputs } from "./inputs.ts";
import {
  type CallOptions,
  takeCallOptions,
  takeLoadOptions,
  takeSeed,
  takeText,
  takeWeightsOptions,
} from "./options.ts";
import { type BoundEntry, type BoundPlan, bindBlock, bindEntry } from "./plan.ts";
import { timePlan, workOf } from "./profile.ts";
import type { Artefact, EntryPlan } from "./program.ts";
import { type Kept, Recovery } from "./recovery.ts";
import { formatSafetensors } from "./safetensors.ts";
import { neededFeatures, neededUnits } from "./select.ts";
import { type GpuPlan, Session } from "./session.ts";
import { abortable } from "./signals.ts";
import { giveSnapshot, takeSnapshot } from "./snapshot.ts";
import {
  findPlace,
  hostData,
  type LoadedTensor,
  type LoadedWeights,
  type Place,
  placesOf,
  readWeights,
} from "./store.ts";
import { type AnyView, fromGpu, itemBytes, sizeOf, Tensor, toGpu } from "./tensor.ts";
import type { Words } from "./threefry.ts";
import { encodeStep, type Ring, scalarsOf, trainStepOf } from "./train.ts";
import { keepOnGpu, readBack, upload } from "./transfer.ts";

export type Call = (inputs?: { readonly [name: string]: unknown }, options?: object) => Promise<unknown>;

/** A net whose entries are known at run time only; a module's `.d.ts` says more. */
export interface Net extends api.NetBase {
  readonly entries: { readonly [name: string]: Call };
}

/** Runs a plan in another way than a call does; nothing else runs until its promise is settled. */
type Alone = (
  session: Session,
  gpu: GpuPlan<BoundEntry>,
  before: (encoder: GPUCommandEncoder) => void,
) => Promise<unknown>;

/** Plans kept for sizes that may come again. */
const PLANS_KEPT = 16;
/** Calls submitted and not yet finished; more wait, so that a loop that never reads does not fill the queue. */
const IN_FLIGHT = 8;

const nothing = (): void => undefined;

/** Tells the caller of what load does; `check` throws what a callback threw, for load to reject with. */
function tellerOf(
  onProgress: api.LoadOptions["onProgress"],
  onIgnored: (ignored: api.Ignored, model: string) => void = warn,
) {
  let failure: { readonly error: unknown } | undefined;
  const fail = (error: unknown): void => {
    failure ??= { error };
  };
  const call = <T extends unknown[]>(callback: ((...event: T) => void) | undefined, ...event: T): void => {
    if (failure) return;
    try {
      // It may be an async function.
      const told = callback?.(...event) as PromiseLike<unknown> | undefined;
      if (typeof told?.then === "function") told.then(nothing, fail);
    } catch (error) {
      fail(error);
    }
  };
  return {
    tell: (event: api.Progress): void => call(onProgress, event),
    tellIgnored(ignored: api.Ignored, model: string): void {
      if (ignored.missing.length + ignored.unexpected.length > 0) call(onIgnored, ignored, model);
    },
    check(): void {
      if (failure) throw failure.error;
    },
  };
}
type Teller = ReturnType<typeof tellerOf>;

function warn({ missing, unexpected }: api.Ignored, model: string): void {
  const parts = [
    missing.length ? `missing ${few(missing)}` : "",
    unexpected.length ? `unexpected ${few(unexpected)}` : "",
  ];
  console.warn(`${model}: weights were passed over: ${parts.filter(Boolean).join("; ")}`);
}

type LastingOptions = Omit<api.LoadOptions, "weights" | "onProgress" | "onIgnored" | "signal">;

class LoadedNet {
  static readonly name: string = "Net"; // survives minification
  readonly name: string;
  readonly entries: Record<string, Call> = Object.create(null);
  readonly #artefact: Artefact;
  readonly #options: LastingOptions;
  readonly #places: ReadonlyMap<string, Place>;
  readonly #recovery: Recovery;
  #session: Session | undefined;
  #seed: Words;
  #disposed = false;
  /** No call is taken any more. */
  #closing = false;
  #tail: Promise<unknown> | undefined;
  readonly #inFlight = new Set<Promise<unknown>>();
  #plans = new Map<string, GpuPlan<BoundEntry>>();
  #units = new Map<number, GpuPlan>();
  #stale = new Set<number>();
  #rings = new Map<string, Ring>();
  /** Finished steps by train block. */
  #steps = new Map<string, number>();
  /** Calls that drew random numbers by the model's own seed: the state at `#counter` in the state buffer. */
  #draws = 0;
  readonly #counter: number | undefined;
  /** Calls made in one age stand or fall together: those of an age whose values were lost with a device are refused. */
  #age = 1;
  #lostAge = 0;
  #loss: DeviceLostError | undefined;

  private constructor(artefact: Artefact, options: LastingOptions) {
    this.name = artefact.name;
    this.#artefact = artefact;
    this.#options = options;
    this.#places = placesOf(artefact);
    this.#recovery = new Recovery(artefact);
    this.#seed = takeSeed("seed", options.seed ?? 0);
    const draws = artefact.programs.flatMap((p) => p.entries.flatMap((e) => e.implicit));
    this.#counter = draws.find((i) => i.counter !== undefined)?.counter;
  }

  static async load(artefact: Artefact, given: unknown): Promise<LoadedNet> {
    // Weights are large, and the rest is not needed after load.
    const { weights, onProgress, onIgnored, signal, ...options } = takeLoadOptions(artefact, given);
    const net = new LoadedNet(artefact, options);
    try {
      await abortable(signal, () => net.#open(weights, tellerOf(onProgress, onIgnored)));
    } catch (error) {
      net.dispose();
      throw error;
    }
    return net;
  }

  async #open(weights: api.Weights | undefined, teller: Teller): Promise<void> {
    let reading: Promise<LoadedWeights> | undefined;
    const { href = weights } = (weights ?? {}) as { readonly href?: unknown };
    const place = typeof href === "string" ? href : undefined;
    const read = (): void => {
      teller.tell({ phase: "weights", done: 0, total: 1 });
      reading = readWeights(this.#places, place ?? weights, this.#options);
      reading.catch(nothing); // told below
    };
    // Memory is the caller's and copied now. Files and URLs are read once the device is there, because Dawn is started
    // while nobody opens files (dawn.ts).
    if (weights !== undefined && place === undefined) read();
    await this.#openSession(teller, place === undefined ? nothing : read);
    if (reading) {
      const { tensors, ignored } = await (reading as Promise<LoadedWeights>);
      this.#recovery.put(tensors);
      teller.tellIgnored(ignored, this.name);
      teller.tell({ phase: "weights", done: 1, total: 1 });
    }
    this.#fill(this.#recovery.recover(this.#seed));
    await this.#makeReady();
    if (this.#disposed) throw new DisposedError(this.name);
    teller.check();
    const { entries } = this.#now.program;
    const all = this.#artefact.programs[0].entries;
    for (const { name } of all) {
      const entry = entries.find((e) => e.name === name);
      this.entries[name] = entry ? this.#method(entry) : () => Promise.reject(this.#missing(name));
    }
    // `fit_step` is `train_step`, too, where there is one train block.
    const step = trainStepOf(all);
    if (step) this.entries["train_step"] = this.entries[step.name];
  }

  /** Why an entry is not there: it was not asked for, or the device cannot run it. */
  #missing(name: string): Error {
    const { device, program } = this.#now;
    const whole = this.#artefact.programs.find((p) => p.target === program.target) ?? program;
    const wanted = this.#options.entries ?? [name];
    const entry = whole.entries.find((e) => e.name === name);
    const needs = entry ? neededFeatures({ ...whole, entries: [entry] }) : [];
    const lacks = needs.filter((feature) => !device.features.has(feature));
    if (lacks.length === 0 || !(wanted.includes(name) || wanted.includes("train_step")))
      return notReady(name);
    return new UnsupportedError("feature", `${name} needs ${few(lacks)}, which this device has not got`);
  }

  /** The session in force. */
  get #now(): Session {
    return this.#session as Session;
  }

  async #openSession(teller?: Teller, whenOpen: () => void = nothing): Promise<void> {
    const opened = await openDevice(this.#artefact, this.#options);
    whenOpen();
    if (this.#disposed) {
      if (opened.own) opened.device.destroy();
      throw new DisposedError(this.name);
    }
    const session = await Session.open(this.#artefact, opened, this.#options, teller?.tell);
    if (this.#disposed) {
      session.close(new DisposedError(this.name));
      throw new DisposedError(this.name);
    }
    this.#session = session;
    this.#plans.clear();
    this.#units.clear();
    this.#rings.clear();
    this.#stale = new Set(opened.program.derived.keys());
    teller?.check();
  }

  /** Parameters, state and counts as in `kept`. */
  #fill({ params, state, steps, seed }: Kept): void {
    this.#now.write("params", 0, params);
    this.#now.write("state", 0, state);
    this.#steps = new Map(steps);
    this.#seed = seed;
    this.#draws = this.#drawsIn(state);
    this.#wrote();
  }

  #drawsIn(state: Uint8Array): number {
    if (this.#counter === undefined) return 0;
    return new DataView(state.buffer, state.byteOffset).getUint32(this.#counter, true);
  }

  /** Every kernel compiled, derived weights, and the plans of sizes that were announced. */
  async #makeReady(): Promise<void> {
    const { program, warm } = this.#now;
    await warm;
    await this.#rebuild(neededUnits(program));
    const bind = this.#options.bind;
    if (!bind) return;
    for (const entry of program.entries) {
      if (!entry.symbols.every(({ name }) => Object.hasOwn(bind, name))) continue;
      const names = new Map(entry.symbols.map(({ name }) => [name, bind[name]]));
      for (const port of entry.inputs) {
        port.shape.forEach((id, k) => {
          names.set(`${port.name}.${k}`, evaluateRow(entry.body.exprs, id, names));
        });
      }
      const { plan } = this.#plan(entry, { names, key: entry.symbols.map((s) => names.get(s.name)).join() });
      await this.#now.ensureArena(plan.arenaBytes, entry.name);
    }
  }

  // ---------------------------------------------------------------------------------------------- order

  /**
   * Runs `work` after all work before it; at once, synchronously, where there is none. `replaces`: it says what the model
   * is from now on, so that nothing can be lost that it would miss.
   */
  #inOrder<T>(work: () => Promise<T>, replaces = false): Promise<T> {
    if (this.#closing) return Promise.reject(new DisposedError(this.name));
    if (replaces) this.#age++;
    const age = this.#age;
    const ready = async (): Promise<T> => {
      if (this.#disposed) throw new DisposedError(this.name);
      if (this.#now.lost) await this.#reopen(age, replaces);
      if (age <= this.#lostAge) throw this.#loss;
      return work();
    };
    const run = this.#unlessDisposed(this.#tail ? this.#tail.then(ready) : ready());
    const tail = run.then(nothing, nothing);
    this.#tail = tail;
    tail.then(() => {
      if (this.#tail === tail) this.#tail = undefined;
    });
    return run;
  }

  async #reopen(age: number, replaces: boolean): Promise<void> {
    const old = this.#now;
    if (!old.own) throw old.lostError();
    let lost: string | undefined;
    old.close(old.lostError());
    try {
      await this.#openSession();
      lost = this.#recovery.lostText(this.#steps);
      const draws = this.#draws;
      this.#fill(this.#recovery.recover(this.#seed));
      // The count of draws is the host's: it goes back only where the rest does.
      if (!lost) this.#setDraws(draws);
      await this.#makeReady();
      this.#now.check();
    } catch (cause) {
      if (this.#disposed) throw cause;
      const why = (cause as Error)?.message ?? cause;
      throw old.lostError(cause, `opening another failed: ${why}; the next call tries again`);
    }
    this.#recovery.recovered();
    if (lost && !replaces) {
      this.#loss = old.lostError(undefined, lost);
      // Calls that were made by now could not know.
      this.#lostAge = age;
      if (this.#age === age) this.#age++;
    }
  }

  #unlessDisposed<T>(promise: Promise<T>): Promise<T> {
    return promise.catch((error: unknown) => {
      throw this.#disposed ? new DisposedError(this.name) : error;
    });
  }

  /** A result that is under way: counted until it is there, and refused with the right error. */
  #track<T>(done: Promise<T>): Promise<T> {
    const tracked = this.#unlessDisposed(done);
    this.#inFlight.add(tracked);
    tracked.then(nothing, nothing).then(() => this.#inFlight.delete(tracked));
    return tracked;
  }

  // ---------------------------------------------------------------------------------------------- calls

  #method(entry: EntryPlan): Call {
    return async (inputs = {}, options) => {
      const { result } = await this.#call(entry, inputs, options);
      return result;
    };
  }

  async #call(
    entry: EntryPlan,
    inputs: { readonly [name: string]: unknown },
    given: unknown,
    alone?: Alone,
  ): Promise<{ result: unknown }> {
    if (this.#closing) throw new DisposedError(this.name);
    const options = takeCallOptions(entry, given);
    const taken = takeInputs(entry, inputs, options.checks ?? this.#options.checks);
    const session = this.#now;
    // A call that has to wait takes its inputs along: the caller may reuse the arrays, or free the buffers.
    const held = this.#tail || session.lost ? hold(session, entry, taken) : undefined;
    try {
      const { done } = await abortable(options.signal, (go) =>
        this.#inOrder(() => this.#begin(entry, taken, session, held, options, go, alone)),
      );
      return { result: await done };
    } finally {
      held?.release();
    }
  }

  /** Submits a call; `done` is its result. `made` is the session in force when it was made. */
  async #begin(
    entry: EntryPlan,
    given: Given,
    made: Session,
    before: Held | undefined,
    options: CallOptions,
    go: () => void,
    alone: Alone | undefined,
  ): Promise<{ done: Promise<unknown> | object }> {
    const session = this.#now;
    this.#sameDevice(entry, given, made);
    const gpu = this.#plan(entry, given);
    const { plan } = gpu;
    const implicit = this.#implicit(entry, options);
    let held = before;
    try {
      if (this.#mustWait(entry, plan)) {
        held ??= hold(session, entry, given);
        while (this.#inFlight.size >= IN_FLIGHT) await Promise.race(this.#inFlight).catch(nothing);
        await this.#rebuild(entry.derived);
        await session.ensureArena(plan.arenaBytes, this.#sizesText(entry, given));
      }
      if (held) await held.accepted;
      session.check();
      go();
      return await this.#submit(entry, gpu, held?.sources ?? given.sources, implicit, options, alone);
    } finally {
      if (!before) held?.release();
    }
  }

  async #submit(
    entry: EntryPlan,
    gpu: GpuPlan<BoundEntry>,
    sources: Given["sources"],
    implicit: readonly AnyView[],
    options: CallOptions,
    alone: Alone | undefined,
  ): Promise<{ done: Promise<unknown> | object }> {
    const session = this.#now;
    const draws = entry.implicit.some((i) => i.counter !== undefined);
    const { value: done, accepted } = session.guarded(() => {
      // A seed that is given says all: the same call draws the same, whatever was called before.
      if (draws) this.#gpuDraws(options.seed ? 0 : this.#draws);
      const before = upload(session, gpu.plan, sources, implicit);
      const encoded = alone?.(session, gpu, before) ?? this.#encode(entry, gpu, before, options);
      if (draws && options.seed) this.#gpuDraws(this.#draws);
      return encoded;
    });
    // Told below; results that stay on the GPU are nobody's then.
    accepted.catch(() => {
      if (options.gpu) for (const tensor of Object.values(done as Record<string, Tensor>)) tensor.dispose();
    });
    if (done instanceof Promise) done.catch(nothing);
    this.#recovery.wrote(this.#lasting(entry));
    this.#wrote([...entry.writesParams, ...entry.writesState]);
    // A step that the GPU refused is none, so the next one waits until that is known.
    if (entry.train || alone) await accepted;
    // Nothing else runs meanwhile.
    if (alone) await done;
    if (draws && !options.seed) this.#draws = (this.#draws + 1) >>> 0;
    if (entry.train) this.#steps.set(entry.train.block, this.#stepOf(entry) + 1);
    const kept = this.#isDue(entry) ? this.#capture() : undefined;
    return { done: this.#track(Promise.all([done, accepted, kept]).then(([result]) => result)) };
  }

  /** What an entry writes and a lost device loses. The count of draws is the host's own. */
  #lasting({ writesParams, writesState }: EntryPlan): string[] {
    const counter = this.#artefact.state.find((s) => s.offset === this.#counter);
    return [...writesParams, ...writesState.filter((path) => path !== counter?.path)];
  }

  #stepOf(entry: EntryPlan): number {
    return entry.train ? (this.#steps.get(entry.train.block) ?? 0) : 0;
  }

  #setDraws(draws: number): void {
    this.#draws = draws;
    this.#gpuDraws(draws);
  }

  #gpuDraws(draws: number): void {
    if (this.#counter !== undefined) this.#now.write("state", this.#counter, Uint32Array.of(draws));
  }

  /** Whether a snapshot is to be taken after this call. */
  #isDue(entry: EntryPlan): boolean {
    const every = this.#options.snapshotEvery as
      | { readonly steps?: number; readonly ms?: number }
      | undefined;
    return !!every && this.#lasting(entry).length > 0 && this.#recovery.isDue(every);
  }

  #sameDevice(entry: EntryPlan, { sources }: Given, made: Session): void {
    if (made === this.#session || !sources.some((s) => "buffer" in s)) return;
    throw new InputError(
      "input-device",
      `${entry.name}: its inputs on the GPU were on the device that was lost; give them again`,
    );
  }

  /** Whether something has to happen before a call can be encoded. */
  #mustWait(entry: EntryPlan, plan: BoundPlan): boolean {
    const { size } = this.#now.buffer("arena") ?? { size: 0 };
    return (
      this.#inFlight.size >= IN_FLIGHT ||
      size < plan.arenaBytes ||
      entry.derived.some((i) => this.#stale.has(i))
    );
  }

  #encode(
    entry: EntryPlan,
    gpu: GpuPlan<BoundEntry>,
    copyInputs: (encoder: GPUCommandEncoder) => void,
    { outputs: wanted, gpu: stay }: CallOptions,
  ): Promise<unknown> | object {
    const session = this.#now;
    const { outputs } = gpu.plan;
    const ports = wanted ? outputs.filter((o) => wanted.includes(o.port.name)) : outputs;
    if (!entry.train && !stay) return readBack(session, gpu, ports, copyInputs);
    const kept = entry.train
      ? encodeStep(session, gpu, entry, this.#stepOf(entry), this.#rings, copyInputs)
      : keepOnGpu(session, gpu, ports, copyInputs);
    this.#track(session.wait(session.device.queue.onSubmittedWorkDone())).catch(nothing);
    return kept;
  }

  #plan(entry: EntryPlan, given: Pick<Given, "names" | "key">): GpuPlan<BoundEntry> {
    const session = this.#now;
    const key = `${entry.name}|${given.key}`;
    let gpu = this.#plans.get(key);
    this.#plans.delete(key);
    gpu ??= session.prepare(bindEntry(session.program, entry, given.names, session.limits));
    this.#plans.set(key, gpu); // the latest is last
    if (this.#plans.size > PLANS_KEPT) {
      const [oldest, old] = this.#plans.entries().next().value as [string, GpuPlan<BoundEntry>];
      session.release(old);
      this.#plans.delete(oldest);
    }
    return gpu;
  }

  /** `predict at N = 4096`, for messages about memory. */
  #sizesText(entry: EntryPlan, { names }: Given): string {
    const sizes = entry.symbols.map(({ name }) => `${name} = ${names.get(name)}`);
    return sizes.length ? `${entry.name} at ${sizes.join(", ")}` : entry.name;
  }

  /** The runtime's own inputs: the seed and the host's scalars of the step. */
  #implicit(entry: EntryPlan, { seed, hyper }: CallOptions): AnyView[] {
    const total = this.#options.train?.totalSteps;
    const scalars = entry.train && scalarsOf(entry, this.#stepOf(entry), total, hyper);
    return entry.implicit.map((_, i) => scalars?.[i] ?? Uint32Array.from(seed ?? this.#seed));
  }

  // ------------------------------------------------------------------------------------ derived weights

  /** Marks what is derived from these paths (all without) as stale. */
  #wrote(paths?: readonly string[]): void {
    if (paths && paths.length === 0) return;
    this.#now.program.derived.forEach((unit, i) => {
      const hit =
        !paths || unit.sources.some((s) => paths.includes(s)) || unit.derived.some((d) => this.#stale.has(d));
      if (hit) this.#stale.add(i);
    });
  }

  /** Brings derived weights up to date, those they read first. Before the inputs: it uses the arena, too. */
  async #rebuild(wanted: readonly number[]): Promise<void> {
    if (this.#stale.size === 0) return;
    const session = this.#now;
    for (const i of wanted) {
      if (!this.#stale.has(i)) continue;
      const unit = session.program.derived[i];
      await this.#rebuild(unit.derived);
      let gpu = this.#units.get(i);
      if (!gpu) {
        const plan: BoundPlan = bindBlock(session.program, unit, new Map(), session.limits);
        gpu = session.prepare(plan);
        this.#units.set(i, gpu);
      }
      const growing = session.ensureArena(gpu.plan.arenaBytes, unit.name);
      if (growing) await growing;
      session.run(gpu);
      this.#stale.delete(i);
    }
  }

  // --------------------------------------------------------------------------------- parameters, state

  parameters(): readonly api.Parameter[] {
    const { params, state } = this.#artefact;
    return [...params, ...state].map(({ path, aliases, dtype, shape, bytes, frozen, role }) => {
      return { path, aliases: [...aliases], dtype, shape: [...shape], bytes, frozen: frozen ?? false, role };
    });
  }

  #find(method: string, path: unknown): Place {
    return findPlace(this.#places, takeText(`${method}: the path`, path));
  }

  /** The tensors at these places, read in order with the calls. */
  async #readTensors(places: readonly Place[]): Promise<Tensor[]> {
    const { done } = await this.#inOrder(async () => {
      const session = this.#now;
      const parts = places.map(({ spec, flat }) => ({
        from: session.buffer(flat),
        offset: spec.offset,
        bytes: sizeOf(spec.shape) * itemBytes(spec.dtype),
      }));
      return { done: this.#track(session.read(parts)) };
    });
    const read = await done;
    return places.map(({ spec: { dtype, shape } }, i) => {
      return new Tensor(dtype, shape, fromGpu(dtype, read[i], sizeOf(shape)));
    });
  }

  async getParameter(path: string): Promise<Tensor> {
    const [tensor] = await this.#readTensors([this.#find("getParameter", path)]);
    return tensor;
  }

  async setParameter(path: string, value: unknown): Promise<void> {
    const place = this.#find("setParameter", path);
    const take = (host: unknown): LoadedTensor => ({ place, data: hostData(place.spec, path, host) });
    const far = value instanceof Tensor && value.buffer ? value : undefined;
    // On its way at once, so that the tensor may be disposed of.
    const reading = far?.read().then((data) => take({ data, shape: far.shape }));
    reading?.catch(nothing); // told below
    const tensor = reading ?? take(value);
    await this.#inOrder(async () => {
      // Without an await where it is there: what waits is overtaken.
      this.#writeTensors([tensor instanceof Promise ? await tensor : tensor]);
    });
  }

  #writeTensors(tensors: readonly LoadedTensor[]): void {
    for (const { place, data } of tensors) {
      const { spec, flat } = place;
      this.#now.write(flat, spec.offset, toGpu(spec.dtype, data));
      if (flat === "state" && spec.offset === this.#counter) this.#draws = data[0];
    }
    this.#recovery.put(tensors);
    this.#wrote(tensors.map((t) => t.place.spec.path));
  }

  async loadWeights(weights: api.Weights, options?: object): Promise<api.Ignored> {
    const { signal, ...fit } = takeWeightsOptions("loadWeights", options);
    const reading = readWeights(this.#places, weights, fit);
    reading.catch(nothing); // told below
    return abortable(signal, (go) =>
      this.#inOrder(async () => {
        const { tensors, ignored } = await abortable(signal, () => reading);
        go();
        this.#writeTensors(tensors);
        return ignored;
      }),
    );
  }

  async save(place?: string | { readonly href: string }): Promise<Uint8Array | undefined> {
    const path = typeof place === "object" && place !== null ? place.href : place;
    if (place !== undefined && typeof path !== "string")
      throw new InputError("option", `save takes a path or a URL, given ${describe(place)}`);
    const all = [...this.#places.values()].filter(({ spec }) => spec.role !== "internal");
    const places = [...new Map(all.map((p) => [p.spec, p])).values()];
    const read = await this.#readTensors(places);
    const tensors = places.map(({ spec }, i) => ({ ...spec, data: read[i].data }));
    const bytes = formatSafetensors(tensors, { model: this.name });
    if (path === undefined) return bytes;
    await writeFile(path, bytes);
    return undefined;
  }

  /** Submits the copy of all that training changes; what comes is what a lost device is recovered from. */
  #capture(): Promise<Kept> {
    const session = this.#now;
    const { paramBytes, stateBytes } = this.#artefact;
    const moment = this.#recovery.now();
    const [steps, seed] = [new Map(this.#steps), this.#seed];
    const parts = [
      { from: session.buffer("params"), offset: 0, bytes: paramBytes },
      { from: session.buffer("state"), offset: 0, bytes: stateBytes },
    ];
    const reading = session.read(parts).then((read) => {
      const [params, state] = read.map((bytes) => new Uint8Array(bytes));
      const kept = { params, state, steps, seed };
      if (session === this.#session) this.#recovery.keep(kept, moment);
      return kept;
    });
    return this.#track(reading);
  }

  async snapshot(): Promise<api.Snapshot> {
    const { done } = await this.#inOrder(async () => ({ done: this.#capture() }));
    return giveSnapshot(this.#artefact, await done);
  }

  async restore(snapshot: api.Snapshot): Promise<void> {
    const kept = takeSnapshot(this.#artefact, snapshot);
    await this.#inOrder(async () => {
      this.#recovery.replace(kept);
      this.#fill(kept);
    }, true);
  }

  async reset(seed?: number | bigint): Promise<void> {
    const words = seed === undefined ? undefined : takeSeed("reset: the seed", seed);
    await this.#inOrder(async () => {
      if (words) {
        this.#recovery.replace(undefined);
        this.#fill(this.#recovery.recover(words));
        return;
      }
      const state = this.#recovery.resetState(this.#seed);
      this.#now.write("state", 0, state);
      this.#steps.clear();
      this.#draws = this.#drawsIn(state);
      this.#wrote();
    }, words !== undefined);
  }

  // ------------------------------------------------------------------------------------------ the rest

  get target(): string {
    return this.#now.program.target;
  }

  get device(): api.GpuDevice {
    return this.#now.device as unknown as api.GpuDevice;
  }

  async profile(name: string, inputs: { readonly [name: string]: unknown }): Promise<api.Profile> {
    const { entries, kernels } = this.#now.program;
    const wanted = takeText("profile: the entry", name);
    const entry = entries.find((e) => e.name === wanted);
    if (!entry) {
      const names = entries.map((e) => e.name);
      throw new InputError("unknown-entry", `${this.name} has no entry ${name}${didYouMean(name, names)}`);
    }
    const { result } = await this.#call(entry, inputs, undefined, async (session, gpu, before) => {
      const { by, microseconds } = await timePlan(session, gpu, before);
      const rows = gpu.plan.commands.map((c, i) => ({
        label: c.label,
        kernel: c.kind === "dispatch" ? kernels[c.kernel].name : c.kind,
        groups: c.kind === "dispatch" ? c.groups : 0,
        ...workOf(c),
        microseconds: microseconds[i],
      }));
      return { entry: name, rows, by, totalMicroseconds: microseconds.reduce((a, b) => a + b, 0) };
    });
    return result as api.Profile;
  }

  memory(): api.Memory {
    return this.#now.memory();
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#closing = true;
    this.#disposed = true;
    this.#session?.close(new DisposedError(this.name));
    this.#plans.clear();
    this.#units.clear();
    this.#recovery.replace(undefined);
  }

  async close(): Promise<void> {
    this.#closing = true;
    while (!this.#disposed && this.#tail) await this.#tail;
    if (!this.#disposed) await this.#now.idle();
    this.dispose();
  }
}

const notReady = (name: string): InputError =>
  new InputError("not-ready", `${name} was not made ready: name it in load({ entries: […] })`);

/** Methods that an entry of the same name does not hide; `then` would make the net a promise. */
export async function openNet(artefact: Artefact, options: unknown): Promise<Net> {
  const net = await LoadedNet.load(artefact, options);
  for (const [name, call] of Object.entries(net.entries)) {
    if (!(name in net) && name !== "then")
      Object.defineProperty(net, name, { value: call, enumerable: true });
  }
  const ends = { dispose: () => net.dispose(), asyncDispose: () => net.close() };
  for (const [name, value] of Object.entries(ends))
    Object.defineProperty(net, Symbol[name as "dispose"] ?? Symbol.for(`Symbol.${name}`), { value });
  return net as unknown as Net;
}
