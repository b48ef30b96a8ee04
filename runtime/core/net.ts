// A loaded model: its entries as methods, its parameters, its life. In: an artefact and load's options. Out: the net.
// Calls are put in order here: each is checked at once, then waits for those before it to be submitted, never for their
// results. What a device needs is a Session; when it is lost, the next call opens another.
import { openDevice } from "./adapter.ts";
import type * as api from "./api.ts";
import { DisposedError, didYouMean, few, InputError, MdlRuntimeError } from "./errors.ts";
import { evaluateRow } from "./expr.ts";
import { writeFile } from "./files.ts";
import { type Given, type Source, takeInputs } from "./inputs.ts";
import { type BoundEntry, type BoundPlan, bindBlock, bindEntry } from "./plan.ts";
import { timePlan } from "./profile.ts";
import type { Artefact, EntryPlan, TensorSpec } from "./program.ts";
import { formatSafetensors } from "./safetensors.ts";
import { neededUnits, trainStepOf } from "./select.ts";
import { type GpuPlan, Session } from "./session.ts";
import {
  type Flat,
  findPlace,
  hostData,
  initialBytes,
  type LoadedTensor,
  type LoadedWeights,
  type Place,
  placesOf,
  put,
  readWeights,
  signatureOf,
} from "./store.ts";
import { alignTo, fromGpu, itemBytes, sizeOf, Tensor, toGpu } from "./tensor.ts";
import { seedWords, type Words } from "./threefry.ts";
import type { Ring, TrainPiece } from "./train.ts";
import { keepOnGpu, readBack, upload } from "./transfer.ts";

/** The parts that a module may leave out. */
export interface Pieces {
  readonly train?: TrainPiece;
}

export type Call = (inputs?: { readonly [name: string]: unknown }, options?: object) => Promise<unknown>;

/** A net whose entries are known at run time only; a module's `.d.ts` says more. */
export interface Net extends api.NetBase {
  readonly entries: { readonly [name: string]: Call };
}

/** Plans kept for sizes that may come again. */
const PLANS_KEPT = 16;
/** Calls submitted and not yet finished; more wait, so that a loop that never reads does not fill the queue. */
const IN_FLIGHT = 8;

const nothing = (): void => undefined;
const copies = (sources: readonly Source[]): Source[] =>
  sources.map((s) => ("data" in s ? { data: s.data.slice() } : s));

class LoadedNet {
  readonly name: string;
  readonly entries: Record<string, Call> = Object.create(null);
  readonly #artefact: Artefact;
  readonly #options: api.LoadOptions;
  readonly #pieces: Pieces;
  readonly #places: ReadonlyMap<string, Place>;
  #session!: Session;
  #seed: Words;
  #disposed = false;
  #tail: Promise<unknown> | undefined;
  readonly #inFlight = new Set<Promise<unknown>>();
  #plans = new Map<string, GpuPlan<BoundEntry>>();
  #units = new Map<number, GpuPlan>();
  #stale = new Set<number>();
  #rings = new Map<string, Ring>();
  #steps: Record<string, number> = {};
  /** For opening the model again on another device: the last snapshot, and what was loaded or set since. */
  #snapshot: api.Snapshot | undefined;
  #loaded = new Map<TensorSpec, LoadedTensor>();

  constructor(artefact: Artefact, options: api.LoadOptions, pieces: Pieces) {
    this.name = artefact.name;
    this.#artefact = artefact;
    this.#options = options;
    this.#pieces = pieces;
    this.#places = placesOf(artefact);
    this.#seed = takeSeed(options.seed ?? 0);
  }

  async open(): Promise<void> {
    const { weights, onProgress } = this.#options;
    let reading: Promise<LoadedWeights> | undefined;
    if (weights !== undefined) {
      onProgress?.({ phase: "weights", done: 0, total: 1 });
      reading = readWeights(this.#places, weights, this.#options);
      reading.catch(nothing); // told below
    }
    await this.#openSession();
    try {
      const { tensors = [], ignored = undefined } = (await reading) ?? {};
      for (const tensor of tensors) this.#loaded.set(tensor.place.spec, tensor);
      if (ignored) tellIgnored(this.name, ignored, this.#options.onIgnored);
      if (reading) onProgress?.({ phase: "weights", done: 1, total: 1 });
      this.#fill();
      await this.#makeReady();
    } catch (error) {
      this.dispose();
      throw error;
    }
    const { entries } = this.#session.program;
    const all = this.#artefact.programs[0].entries;
    for (const { name } of all) {
      const entry = entries.find((e) => e.name === name);
      this.entries[name] = entry ? this.#method(entry) : () => Promise.reject(notReady(name));
    }
    // `fit_step` is `train_step`, too, where there is one train block.
    const step = trainStepOf(all);
    if (step) this.entries["train_step"] = this.entries[step.name];
  }

  async #openSession(): Promise<void> {
    const opened = await openDevice(this.#artefact, this.#options);
    const session = await Session.open(this.#artefact, opened, this.#options);
    if (this.#disposed) {
      session.close();
      throw new DisposedError(this.name);
    }
    this.#session = session;
    this.#plans.clear();
    this.#units.clear();
    this.#rings.clear();
    this.#stale = new Set(opened.program.derived.keys());
  }

  /** Parameters and state into their buffers: as in the last snapshot, else as drawn and loaded. */
  #fill(): void {
    if (this.#snapshot) {
      this.#writeSnapshot(this.#snapshot);
      this.#writeTensors([...this.#loaded.values()]);
      return;
    }
    this.#steps = {};
    for (const flat of ["params", "state"] as const) {
      const bytes = initialBytes(this.#artefact, flat, this.#seed);
      for (const { place, data } of this.#loaded.values())
        if (place.flat === flat) put(place.spec, data, bytes);
      this.#session.write(flat, 0, bytes);
    }
    this.#wrote();
  }

  /** Derived weights, and the plans of sizes that were announced. */
  async #makeReady(): Promise<void> {
    const { program } = this.#session;
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
      await this.#session.ensureArena(plan.arenaBytes, entry.name);
    }
  }

  // ---------------------------------------------------------------------------------------------- order

  /** Runs `work` after all work before it; at once, synchronously, where there is none. */
  #inOrder<T>(work: () => Promise<T>): Promise<T> {
    if (this.#disposed) return Promise.reject(new DisposedError(this.name));
    const ready = async (): Promise<T> => {
      if (this.#disposed) throw new DisposedError(this.name);
      if (this.#session.lost) await this.#reopen();
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

  async #reopen(): Promise<void> {
    const old = this.#session;
    if (!old.own) throw old.lostError();
    old.close();
    await this.#openSession();
    this.#fill();
    await this.#makeReady();
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
    return async (inputs = {}, options = {}) => {
      const { result } = await this.#call(entry, inputs, options as Record<string, unknown>);
      return result;
    };
  }

  async #call(
    entry: EntryPlan,
    inputs: { readonly [name: string]: unknown },
    options: Readonly<Record<string, unknown>>,
  ): Promise<{ result: unknown }> {
    if (this.#disposed) throw new DisposedError(this.name);
    if (entry.train) this.#trainPiece().checkHyper(entry, options);
    else checkOptions(entry, options);
    let given = takeInputs(entry, inputs);
    // A call that has to wait takes its inputs along: the caller may reuse the arrays.
    if (this.#tail) given = { ...given, sources: copies(given.sources) };
    const { done } = await this.#inOrder(() => this.#begin(entry, given, options));
    return { result: await done };
  }

  #trainPiece(): TrainPiece {
    const { train } = this.#pieces;
    if (!train)
      throw new MdlRuntimeError(
        "internal",
        "this module was made without its training part; this is a bug of mdl",
      );
    return train;
  }

  /** Submits a call; `done` is its result. */
  async #begin(
    entry: EntryPlan,
    given: Given,
    options: Readonly<Record<string, unknown>>,
  ): Promise<{ done: Promise<unknown> | object }> {
    const session = this.#session;
    const gpu = this.#plan(entry, given);
    const { plan } = gpu;
    const implicit = this.#implicit(entry, options);
    let { sources } = given;
    if (this.#mustWait(entry, plan)) {
      sources = copies(sources);
      while (this.#inFlight.size >= IN_FLIGHT) await Promise.race(this.#inFlight).catch(nothing);
      await this.#rebuild(entry.derived);
      await session.ensureArena(plan.arenaBytes, this.#sizesText(entry, given));
    }
    session.check();

    session.device.pushErrorScope("validation");
    let done: Promise<unknown> | object;
    let scope: Promise<GPUError | null>;
    try {
      done = this.#encode(entry, gpu, upload(this.#session, plan, sources, implicit), options);
    } finally {
      scope = session.device.popErrorScope();
    }
    this.#wrote([...entry.writesParams, ...entry.writesState]);
    const failed = scope.then(
      (error) => {
        if (error) throw session.gpuError(error);
      },
      nothing, // the device is gone, which the result's own promise tells
    );
    if (entry.train) {
      await failed;
      return { done };
    }
    return { done: this.#track(Promise.all([done, failed]).then(([result]) => result)) };
  }

  /** Whether something has to happen before a call can be encoded. */
  #mustWait(entry: EntryPlan, plan: BoundPlan): boolean {
    const { size } = this.#session.buffer("arena") ?? { size: 0 };
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
    options: Readonly<Record<string, unknown>>,
  ): Promise<unknown> | object {
    const session = this.#session;
    const { outputs } = gpu.plan;
    if (!entry.train) {
      const wanted = options["outputs"] as readonly string[] | undefined;
      const ports = wanted ? outputs.filter((o) => wanted.includes(o.port.name)) : outputs;
      if (!options["gpu"]) return readBack(session, gpu, ports, copyInputs);
      const kept = keepOnGpu(session, gpu, ports, copyInputs);
      this.#track(session.wait(session.device.queue.onSubmittedWorkDone())).catch(nothing);
      return kept;
    }
    const train = this.#trainPiece();
    const step = this.#steps[entry.train.block] ?? 0;
    const ring = this.#rings.get(entry.name) ?? train.makeRing(session, outputs);
    this.#rings.set(entry.name, ring);
    const { copy, result } = train.keepFigures(ring, entry, outputs, step);
    session.run(gpu, copyInputs, copy);
    this.#steps[entry.train.block] = step + 1;
    this.#track(session.wait(session.device.queue.onSubmittedWorkDone())).catch(nothing);
    return result;
  }

  #plan(entry: EntryPlan, given: Pick<Given, "names" | "key">): GpuPlan<BoundEntry> {
    const session = this.#session;
    const key = `${entry.name}|${given.key}`;
    let gpu = this.#plans.get(key);
    this.#plans.delete(key);
    gpu ??= session.prepare(bindEntry(session.program, entry, given.names, session.device.limits));
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
  #implicit(entry: EntryPlan, options: Readonly<Record<string, unknown>>): Float32Array[] | Uint32Array[] {
    const given = options as Readonly<Record<string, number | undefined>>;
    // Later scalars may be computed from earlier ones (a step size from lr), so that an override reaches both.
    const names: Record<string, number | undefined> = {
      step: entry.train ? (this.#steps[entry.train.block] ?? 0) : 0,
      total_steps: this.#options.train?.totalSteps,
      ...given,
    };
    return entry.implicit.map(({ name, dtype, value }) => {
      if (value === undefined) {
        if (name !== "seed")
          throw new MdlRuntimeError("internal", `${name} has no value; this is a bug of mdl`);
        return Uint32Array.from(given["seed"] === undefined ? this.#seed : takeSeed(given["seed"]));
      }
      const number = given[name] ?? this.#trainPiece().evaluateHost(value, names);
      names[name] = number;
      return toGpu(dtype, dtype === "i32" ? Int32Array.of(number) : Float32Array.of(number));
    }) as Float32Array[];
  }

  // ------------------------------------------------------------------------------------ derived weights

  /** Marks what is derived from these paths (all without) as stale. */
  #wrote(paths?: readonly string[]): void {
    if (paths && paths.length === 0) return;
    this.#session.program.derived.forEach((unit, i) => {
      const hit =
        !paths || unit.sources.some((s) => paths.includes(s)) || unit.derived.some((d) => this.#stale.has(d));
      if (hit) this.#stale.add(i);
    });
  }

  /** Brings derived weights up to date, those they read first. Before the inputs: it uses the arena, too. */
  async #rebuild(wanted: readonly number[]): Promise<void> {
    if (this.#stale.size === 0) return;
    const session = this.#session;
    for (const i of wanted) {
      if (!this.#stale.has(i)) continue;
      const unit = session.program.derived[i];
      await this.#rebuild(unit.derived);
      let gpu = this.#units.get(i);
      if (!gpu) {
        const plan: BoundPlan = bindBlock(
          session.program,
          unit.body,
          new Map(),
          unit.arenaBytes,
          session.device.limits,
        );
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

  /** Reads in order with the calls. */
  async #readFlat(
    parts: readonly { readonly flat: Flat; readonly offset: number; readonly bytes: number }[],
  ): Promise<ArrayBuffer[]> {
    const { done } = await this.#inOrder(async () => {
      const session = this.#session;
      return { done: this.#track(session.read(parts.map((p) => ({ ...p, from: session.buffer(p.flat) })))) };
    });
    return done;
  }

  async getParameter(path: string): Promise<Tensor> {
    const { spec, flat } = findPlace(this.#places, path);
    const count = sizeOf(spec.shape);
    const [bytes] = await this.#readFlat([
      { flat, offset: spec.offset, bytes: count * itemBytes(spec.dtype) },
    ]);
    return new Tensor(spec.dtype, spec.shape, fromGpu(spec.dtype, bytes, count));
  }

  async setParameter(path: string, value: unknown): Promise<void> {
    const place = findPlace(this.#places, path);
    const { buffer } = value instanceof Tensor ? value : {};
    if (value instanceof Tensor && buffer) await value.read();
    const host = value instanceof Tensor ? { data: value.data, shape: value.shape } : value;
    const data = hostData(place.spec, path, host);
    await this.#inOrder(async () => this.#writeTensors([{ place, data }]));
  }

  #writeTensors(tensors: readonly LoadedTensor[]): void {
    for (const tensor of tensors) {
      const { spec, flat } = tensor.place;
      this.#session.write(flat, spec.offset, toGpu(spec.dtype, tensor.data));
      this.#loaded.set(spec, tensor);
    }
    this.#wrote(tensors.map((t) => t.place.spec.path));
  }

  async loadWeights(weights: api.Weights, options: api.WeightsOptions = {}): Promise<api.Ignored> {
    const { tensors, ignored } = await readWeights(this.#places, weights, options);
    await this.#inOrder(async () => this.#writeTensors(tensors));
    return ignored;
  }

  async save(place?: string | { readonly href: string }): Promise<Uint8Array | undefined> {
    const all = [...new Set(this.#places.values())].filter(({ spec }) => spec.role !== "internal");
    const places = [...new Map(all.map((p) => [p.spec, p])).values()];
    const parts = places.map(({ spec, flat }) => ({
      flat,
      offset: spec.offset,
      bytes: sizeOf(spec.shape) * itemBytes(spec.dtype),
    }));
    const read = parts.length ? await this.#readFlat(parts) : [];
    const tensors = places.map(({ spec }, i) => ({
      path: spec.path,
      dtype: spec.dtype,
      shape: spec.shape,
      data: fromGpu(spec.dtype, read[i], sizeOf(spec.shape)),
    }));
    const bytes = formatSafetensors(tensors, { model: this.name });
    if (place === undefined) return bytes;
    await writeFile(typeof place === "string" ? place : place.href, bytes);
    return undefined;
  }

  async snapshot(): Promise<api.Snapshot> {
    const { paramBytes, stateBytes } = this.#artefact;
    const { done, steps, covered } = await this.#inOrder(async () => {
      const session = this.#session;
      const parts = [
        { from: session.buffer("params"), offset: 0, bytes: paramBytes },
        { from: session.buffer("state"), offset: 0, bytes: stateBytes },
      ];
      return {
        steps: { ...this.#steps },
        covered: [...this.#loaded],
        done: this.#track(session.read(parts)),
      };
    });
    const [params, state] = (await done).map((b) => new Uint8Array(b));
    for (const [spec, tensor] of covered) if (this.#loaded.get(spec) === tensor) this.#loaded.delete(spec);
    this.#snapshot = { signature: signatureOf(this.#artefact), params, state, steps };
    return this.#snapshot;
  }

  async restore(snapshot: api.Snapshot): Promise<void> {
    const { paramBytes, stateBytes } = this.#artefact;
    const fits =
      snapshot?.signature === signatureOf(this.#artefact) &&
      snapshot.params.byteLength === alignTo(paramBytes, 4) &&
      snapshot.state.byteLength === alignTo(stateBytes, 4);
    if (!fits) {
      throw new InputError(
        "snapshot",
        `this snapshot is of another model: its parameters are not those of ${this.name}`,
      );
    }
    await this.#inOrder(async () => {
      this.#snapshot = snapshot;
      this.#loaded.clear();
      this.#writeSnapshot(snapshot);
    });
  }

  #writeSnapshot(snapshot: api.Snapshot): void {
    this.#session.write("params", 0, snapshot.params);
    this.#session.write("state", 0, snapshot.state);
    this.#steps = { ...snapshot.steps };
    this.#wrote();
  }

  async reset(seed?: number | bigint): Promise<void> {
    const words = seed === undefined ? undefined : takeSeed(seed);
    await this.#inOrder(async () => {
      this.#session.write("state", 0, initialBytes(this.#artefact, "state", words ?? this.#seed));
      if (words) {
        this.#seed = words;
        this.#session.write("params", 0, initialBytes(this.#artefact, "params", words));
      }
      for (const [spec, { place }] of this.#loaded)
        if (words || place.flat === "state") this.#loaded.delete(spec);
      this.#snapshot = undefined;
      this.#steps = {};
      this.#wrote();
    });
  }

  // ------------------------------------------------------------------------------------------ the rest

  get target(): string {
    return this.#session.program.target;
  }

  get device(): api.GpuDevice {
    return this.#session.device as unknown as api.GpuDevice;
  }

  async profile(name: string, inputs: { readonly [name: string]: unknown }): Promise<api.Profile> {
    const { entries, kernels } = this.#session.program;
    const entry = entries.find((e) => e.name === name);
    if (!entry) {
      const names = entries.map((e) => e.name);
      throw new InputError("unknown-entry", `${this.name} has no entry ${name}${didYouMean(name, names)}`);
    }
    const given = takeInputs(entry, inputs);
    return this.#inOrder(async () => {
      const session = this.#session;
      const gpu = this.#plan(entry, given);
      const implicit = this.#implicit(entry, {});
      await this.#rebuild(entry.derived);
      await session.ensureArena(gpu.plan.arenaBytes, this.#sizesText(entry, given));
      const copyInputs = upload(this.#session, gpu.plan, given.sources, implicit);
      const { by, microseconds } = await timePlan(session, gpu, copyInputs);
      if (entry.train) this.#steps[entry.train.block] = (this.#steps[entry.train.block] ?? 0) + 1;
      this.#wrote([...entry.writesParams, ...entry.writesState]);
      const rows = gpu.plan.commands.map((c, i) => ({
        label: c.label,
        kernel: c.kind === "dispatch" ? kernels[c.kernel].name : c.kind,
        groups: c.kind === "dispatch" ? c.groups : 0,
        microseconds: microseconds[i],
      }));
      return { entry: name, rows, by, totalMicroseconds: microseconds.reduce((a, b) => a + b, 0) };
    });
  }

  memory(): api.Memory {
    return this.#session.memory();
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#session.close();
    this.#plans.clear();
    this.#units.clear();
    this.#loaded.clear();
    this.#snapshot = undefined;
  }
}

function takeSeed(seed: unknown): Words {
  const words = typeof seed === "number" || typeof seed === "bigint" ? seedWords(seed) : undefined;
  if (!words)
    throw new InputError(
      "seed",
      `a seed is an integer from 0 to 2^53 - 1, or a bigint below 2^64, given ${seed}`,
    );
  return words;
}

function tellIgnored(model: string, ignored: api.Ignored, tell: api.LoadOptions["onIgnored"]): void {
  const { missing, unexpected } = ignored;
  if (missing.length + unexpected.length === 0) return;
  if (tell) {
    tell(ignored);
    return;
  }
  const parts = [
    missing.length ? `missing ${few(missing)}` : "",
    unexpected.length ? `unexpected ${few(unexpected)}` : "",
  ];
  console.warn(`${model}: weights were passed over: ${parts.filter(Boolean).join("; ")}`);
}

const notReady = (name: string): InputError =>
  new InputError("not-ready", `${name} was not made ready: name it in load({ entries: […] })`);

const OPTIONS = ["outputs", "seed", "gpu"];

function checkOptions(entry: EntryPlan, options: Readonly<Record<string, unknown>>): void {
  for (const name of Object.keys(options)) {
    if (OPTIONS.includes(name)) continue;
    throw new InputError("unknown-option", `${entry.name} has no option ${name}${didYouMean(name, OPTIONS)}`);
  }
  const wanted = options["outputs"];
  if (wanted === undefined) return;
  const names = entry.outputs.map((p) => p.name);
  if (!Array.isArray(wanted)) throw new InputError("option", `${entry.name}: outputs is a list of names`);
  for (const name of wanted) {
    if (!names.includes(name)) {
      throw new InputError(
        "unknown-output",
        `${entry.name} has no result ${name}: its results are ${few(names)}`,
      );
    }
  }
}

/** Methods that an entry of the same name does not hide; `then` would make the net a promise. */
export async function openNet(artefact: Artefact, options: api.LoadOptions, pieces: Pieces): Promise<Net> {
  const net = new LoadedNet(artefact, options, pieces);
  await net.open();
  for (const [name, call] of Object.entries(net.entries)) {
    if (!(name in net) && name !== "then")
      Object.defineProperty(net, name, { value: call, enumerable: true });
  }
  Object.defineProperty(net, Symbol.dispose ?? Symbol.for("Symbol.dispose"), { value: () => net.dispose() });
  return net as unknown as Net;
}
