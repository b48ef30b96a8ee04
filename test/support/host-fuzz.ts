// A program that uses a model in every way it can, right and wrong, drawn by a seed, and a model of the model in plain
// JavaScript that says what each answer must be. In: a seed. Out: how much was tried, or an error that says what was wrong.
// Each answer is right, or a typed error after which nothing has changed; and each comes.
import fc from "fast-check";
import type { LoadOptions, NetBase, Snapshot, StepResult, Tensor } from "../../runtime/core/api.ts";
import { COPY_SRC } from "../../runtime/core/flags.ts";
import { load, MdlRuntimeError, type Net, Tensor as TensorClass } from "../../runtime/core/index.ts";
import { drawKey, randomBits, seedWords } from "../../runtime/core/threefry.ts";
import { random } from "./mutate.ts";
import { DRAW_HASH, tiny } from "./tiny.ts";

/** What there is to know of a loaded Tiny. */
interface State {
  readonly scale: readonly number[];
  readonly bias: readonly number[];
  readonly count: number;
  /** 1 + the number of the first step that was not finite. */
  readonly bad: number;
  readonly steps: number;
  readonly seed: number | bigint;
}
type Path = "scale" | "bias" | "count";

/** What a call must come to. */
type Expected = (answer: unknown) => void | Promise<void>;
interface Made {
  readonly what: string;
  readonly answer: Promise<unknown>;
  readonly expected: Expected;
  /** It must be refused by a DeviceLostError. */
  readonly lost: boolean;
}

export interface Tally {
  calls: number;
  refused: number;
  losses: number;
  loads: number;
}

const TIMEOUT = 60_000;

export async function fuzzHost(seed: number, tally: Tally, calls = 80): Promise<void> {
  const run = new Run(seed, tally);
  try {
    await run.go(calls);
  } catch (error) {
    const e = error as Error;
    e.message = `${e.message}\n  after ${run.log.slice(-12).join("\n        ")}`;
    throw e;
  } finally {
    run.net?.dispose();
  }
}

class Run {
  readonly log: string[] = [];
  readonly #random: () => number;
  readonly #tally: Tally;
  #garbage = 0;
  readonly #seed: number;
  net: Net | undefined;
  #state!: State;
  /** What a lost device is recovered from, and what of the state it has not. */
  #point!: State;
  #unsaved = new Set<Path | "bad">();
  /** After how many steps it takes snapshots, and how many there were since the last. */
  #every = 0;
  #written = 0;
  /** A loss that the next call must tell. */
  #pending = false;
  #snapshots: { readonly snapshot: Snapshot; readonly state: State }[] = [];
  #far: { readonly tensor: Tensor; readonly values: readonly number[] }[] = [];
  #file: Uint8Array | undefined;

  constructor(seed: number, tally: Tally) {
    this.#seed = seed;
    this.#random = random(seed);
    this.#tally = tally;
  }

  #int(below: number): number {
    return Math.floor(this.#random() * below);
  }
  #pick<T>(items: readonly T[]): T {
    return items[this.#int(items.length)];
  }
  #small(n: number): number[] {
    return Array.from({ length: n }, () => this.#int(9) - 4);
  }
  #drawSeed(): number | bigint {
    return this.#pick([0, 1, 2 ** 40 + 3, 2n ** 63n + 5n, this.#int(1000)]);
  }

  async go(calls: number): Promise<void> {
    const start = { scale: this.#small(4), bias: this.#small(4), count: this.#int(5) };
    const seed = this.#drawSeed();
    const weights = { scale: start.scale, bias: Float32Array.from(start.bias), count: [start.count][0] };
    this.#every = this.#pick([0, 0, 1, 3]);
    const snapshotEvery = this.#every || undefined;
    this.net = await load(tiny, { weights, seed, train: { totalSteps: 1000 }, snapshotEvery });
    weights.bias.fill(99);
    this.#state = { ...start, bad: 0, steps: 0, seed };
    this.#point = this.#state;
    for (let n = 0; n < calls; ) {
      const kind = this.#random();
      if (kind < 0.05) await this.#lose();
      else if (kind < 0.08) await this.#loseInTheMiddle();
      else if (kind < 0.45 && !this.#pending) n += await this.#misuse();
      else if (kind < 0.5 && !this.#pending) n += await this.#abort();
      else if (kind < 0.53 && !this.#pending) n += await this.#loadBadly();
      else n += await this.#burst(1 + this.#int(this.#random() < 0.3 ? 10 : 2));
    }
    await this.#verify("the end");
  }

  // ---------------------------------------------------------------------------------------- right calls

  async #burst(size: number): Promise<number> {
    const made: Made[] = [];
    for (let i = 0; i < size; i++) made.push(this.#call());
    // Nobody may be told of a rejection too late.
    const ends = await within(Promise.allSettled(made.map((m) => m.answer)), () =>
      made.map((m) => m.what).join(", "),
    );
    this.#pending = false;
    for (const [i, { what, expected, lost }] of made.entries()) {
      const end = ends[i];
      if (lost) {
        if (end.status === "fulfilled") throw new Error(`${what} did not tell of the lost device`);
        if ((end.reason as Error).name !== "DeviceLostError") throw end.reason;
        this.#tally.refused++;
        continue;
      }
      if (end.status === "rejected")
        throw new Error(`${what}: ${(end.reason as Error)?.stack ?? end.reason}`);
      await within(Promise.resolve(expected(end.value)), () => what);
    }
    return size;
  }

  /** A right call of any method, on its way; the model has taken it in. */
  #call(): Made {
    const net = this.net as Net;
    const [kind, make] = this.#pick<readonly [string, () => readonly [Promise<unknown>, Expected]]>([
      ["add", () => this.#add(net)],
      ["add", () => this.#add(net)],
      ["chain", () => this.#chain(net)],
      ["doubled", () => this.#doubled(net)],
      ["scan", () => this.#scan(net)],
      ["draw", () => this.#draw(net)],
      ["fit_step", () => this.#step(net)],
      ["fit_step", () => this.#step(net)],
      ["fit_step", () => this.#step(net)],
      ["getParameter", () => this.#get(net)],
      ["setParameter", () => this.#set(net)],
      ["loadWeights", () => this.#loadWeights(net)],
      ["save", () => this.#save(net)],
      ["snapshot", () => this.#snapshot(net)],
      ["restore", () => this.#restore(net)],
      ["reset", () => this.#reset(net)],
      ["profile", () => this.#profile(net)],
    ]);
    this.#tally.calls++;
    this.log.push(kind);
    const before = [this.#state, this.#point, new Set(this.#unsaved)] as const;
    const far = this.#far.length;
    const pending = this.#pending;
    const [answer, expected] = make();
    // `restore` and `reset(seed)` have cleared it.
    const lost = pending && this.#pending;
    if (lost) {
      [this.#state, this.#point, this.#unsaved] = before;
      this.#far.length = far;
    }
    answer.catch(() => undefined);
    return { what: kind, answer, expected, lost };
  }

  /** An input of these values, in any of the forms it may have; what it is made of is overwritten after the call. */
  #input(
    values: readonly number[],
    after: (() => void)[],
    shape: readonly number[] = [values.length],
  ): unknown {
    const array = Float32Array.from(values);
    after.push(() => array.fill(77));
    const nested = (axis: number, from: number): unknown => {
      if (axis === shape.length) return values[from];
      const inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
      return Array.from({ length: shape[axis] }, (_, i) => nested(axis + 1, from + i * inner));
    };
    const far = this.#far.find((f) => f.values.join() === values.join());
    switch (this.#int(far && shape.length === 1 ? 7 : 6)) {
      case 0:
        return nested(0, 0);
      case 1:
        return { data: array, shape: [...shape] };
      case 2:
        return new TensorClass("f32", [...shape], array);
      case 3: {
        const shared = new Float32Array(new SharedArrayBuffer(4 * values.length));
        shared.set(values);
        after.push(() => shared.fill(66));
        return shared;
      }
      case 4: {
        const part = new Float32Array(values.length + 3);
        part.set(values, 2);
        after.push(() => part.fill(55));
        return { data: part.subarray(2, 2 + values.length), shape: [...shape] };
      }
      case 6:
        return far?.tensor;
      default:
        return { data: nested(0, 0), shape: [...shape] };
    }
  }

  #entry(
    net: Net,
    name: string,
    inputs: object,
    options: object | undefined,
    after: (() => void)[],
  ): Promise<unknown> {
    const answer = net.entries[name]({ ...inputs }, options);
    for (const change of after) change();
    return answer;
  }

  #add(net: Net): readonly [Promise<unknown>, Expected] {
    const n = this.#pick([1, 2, 3, 64, 65, 1 + this.#int(300)]);
    const after: (() => void)[] = [];
    const known = this.#far.length && this.#random() < 0.5 ? this.#pick(this.#far) : undefined;
    const a = known?.values ?? this.#small(n);
    const b = this.#small(a.length);
    const stay = this.#random() < 0.2;
    const sum = a.map((x, i) => x + b[i]);
    const options = this.#pick([undefined, {}, { outputs: ["sum"] }, { seed: 3 }]);
    const inputs = { a: this.#input(a, after), b: this.#input(b, after) };
    const answer = this.#entry(net, "add", inputs, stay ? { ...options, gpu: true } : options, after);
    return [
      answer,
      async (given) => {
        const { sum: tensor } = given as { sum: Tensor };
        same("add's shape", [...tensor.shape], [a.length]);
        if (!stay) return same("add", [...tensor.data], sum);
        if (this.#random() < 0.7) same("add on the GPU", [...(await tensor.read())], sum);
        if (this.#random() < 0.5 || this.#far.length > 3) tensor.dispose();
        else this.#far.push({ tensor, values: sum });
      },
    ];
  }

  #rows(): readonly [number[], number] {
    const n = this.#int(5);
    return [this.#small(4 * n), n];
  }

  #chain(net: Net): readonly [Promise<unknown>, Expected] {
    const [x, n] = this.#rows();
    const after: (() => void)[] = [];
    const { scale, bias } = this.#state;
    const only = this.#random() < 0.3;
    // No nested form says the width of no rows.
    const input = n ? this.#input(x, after, [n, 4]) : { data: new Float32Array(0), shape: [0, 4] };
    const answer = this.#entry(net, "chain", { x: input }, only ? { outputs: ["y"] } : undefined, after);
    return [
      answer,
      (given) => {
        const results = given as { hidden?: Tensor; y: Tensor };
        const y = x.map((v, i) => v * scale[i % 4] + bias[i % 4]);
        same("chain", [...results.y.data], y);
        same("chain's results", Object.keys(results), only ? ["y"] : ["hidden", "y"]);
      },
    ];
  }

  #doubled(net: Net): readonly [Promise<unknown>, Expected] {
    const x = this.#small(8);
    const after: (() => void)[] = [];
    const { scale } = this.#state;
    const answer = this.#entry(net, "doubled", { x: this.#input(x, after, [2, 4]) }, undefined, after);
    return [
      answer,
      (given) =>
        same(
          "doubled",
          [...(given as { y: Tensor }).y.data],
          x.map((v, i) => 2 * v * scale[i % 4]),
        ),
    ];
  }

  #scan(net: Net): readonly [Promise<unknown>, Expected] {
    const t = 1 + this.#int(6);
    const x = this.#small(4 * t);
    const after: (() => void)[] = [];
    const answer = this.#entry(net, "scan", { x: this.#input(x, after, [t, 4]) }, undefined, after);
    const total = [0, 1, 2, 3].map((k) => x.filter((_, i) => i % 4 === k).reduce((a, b) => a + b, 0));
    return [answer, (given) => same("scan", [...(given as { total: Tensor }).total.data], total)];
  }

  #draw(net: Net): readonly [Promise<unknown>, Expected] {
    const own = this.#random() < 0.5 ? this.#drawSeed() : undefined;
    const seed = own ?? this.#state.seed;
    const answer = net.entries["draw"]({}, own === undefined ? undefined : { seed: own });
    return [
      answer,
      (given) => {
        const key = drawKey(seedWords(seed) as readonly [number, number], DRAW_HASH, 0);
        const bits = Array.from({ length: 100 }, (_, i) => randomBits(key, i));
        same(`draw by ${seed}`, [...(given as { bits: Tensor }).bits.data], bits);
      },
    ];
  }

  #step(net: Net): readonly [Promise<unknown>, Expected] {
    const n = this.#pick([1, 2, 4]);
    const x = this.#small(n);
    const broken = this.#random() < 0.03;
    if (broken) x[0] = this.#pick([Number.NaN, Number.POSITIVE_INFINITY]);
    const lr = this.#pick([0, 0.5, 1]);
    const after: (() => void)[] = [];
    const answer = this.#entry(net, "fit_step", { x: this.#input(x, after) }, { lr }, after);
    const before = this.#state;
    const loss = x.reduce((a, b) => a + b, 0) / n;
    const bad = broken && !before.bad ? before.count + 1 : before.bad;
    const scale = broken ? before.scale : before.scale.map((s) => s - lr * loss);
    this.#state = { ...before, scale, bad, count: before.count + 1, steps: before.steps + 1 };
    this.#unsaved.add("scale").add("count");
    if (!this.#pending && this.#every && ++this.#written >= this.#every) this.#keep();
    return [
      answer,
      async (given) => {
        const step = given as StepResult<"steps_done">;
        same("the step", step.step, before.steps);
        if (this.#random() < 0.5) return;
        const figures = await step.read().catch((error: unknown) => error);
        if (bad)
          same(
            "a bad step",
            [(figures as Error).name, (figures as { step: number }).step],
            ["NonFiniteError", bad - 1],
          );
        else same("figures", figures, { loss, steps_done: before.count + 1 });
      },
    ];
  }

  #get(net: Net): readonly [Promise<unknown>, Expected] {
    const path = this.#pick(["scale", "tied.scale", "bias", "count"]);
    const wanted = this.#state[path.replace("tied.", "") as Path];
    return [net.getParameter(path), (given) => same(path, [...(given as Tensor).data], [wanted].flat())];
  }

  #put(values: Partial<Pick<State, Path>>): void {
    this.#state = { ...this.#state, ...values };
    this.#point = { ...this.#point, ...values };
    for (const path of Object.keys(values)) this.#unsaved.delete(path as Path);
  }

  #set(net: Net): readonly [Promise<unknown>, Expected] {
    const path = this.#pick(["scale", "bias", "count"] as const);
    const after: (() => void)[] = [];
    const value = path === "count" ? this.#int(9) : this.#small(4);
    const input = typeof value === "number" ? value : this.#input(value, after);
    const answer = net.setParameter(path, input as never);
    for (const change of after) change();
    if (!this.#pending) this.#put({ [path]: value });
    return [answer, () => undefined];
  }

  #loadWeights(net: Net): readonly [Promise<unknown>, Expected] {
    const all = { scale: this.#small(4), bias: this.#small(4), count: this.#int(9) };
    const partial = this.#random() < 0.5;
    const values = partial ? { [this.#pick(["scale", "bias"] as const)]: this.#small(4) } : all;
    const record: Record<string, unknown> = {};
    const after: (() => void)[] = [];
    for (const [path, value] of Object.entries(values))
      record[path] = typeof value === "number" ? Int32Array.of(value) : this.#input(value as number[], after);
    // What is on the GPU is no weight.
    for (const [path, value] of Object.entries(values))
      if ((record[path] as Tensor).buffer && typeof value !== "number")
        record[path] = [...(value as number[])];
    if (typeof values.count === "number") record["count"] = { data: record["count"], shape: [] };
    const answer = net.loadWeights(record as never, partial ? { partial } : undefined);
    for (const change of after) change();
    for (const path of Object.keys(record)) record[path] = null;
    if (!this.#pending) this.#put(values);
    return [answer, () => undefined];
  }

  #save(net: Net): readonly [Promise<unknown>, Expected] {
    const { scale, bias } = this.#state;
    return [
      net.save(),
      async (given) => {
        this.#file = given as Uint8Array;
        const text = new TextDecoder("latin1").decode(this.#file);
        for (const path of ["scale", "bias", "count"])
          if (!text.includes(`"${path}"`)) throw new Error(`save has no ${path}`);
        const bytes = this.#file.slice(-36);
        same("save", [...new Float32Array(bytes.buffer, 0, 8)], [...scale, ...bias]);
      },
    ];
  }

  /** There is a snapshot of what there is. */
  #keep(): void {
    this.#point = this.#state;
    this.#unsaved.clear();
    this.#written = 0;
  }

  #snapshot(net: Net): readonly [Promise<unknown>, Expected] {
    const state = this.#state;
    if (!this.#pending) this.#keep();
    return [
      net.snapshot(),
      (given) => {
        const snapshot = given as Snapshot;
        same("a snapshot's seed", BigInt(snapshot.seed), BigInt(state.seed));
        same("a snapshot's steps", snapshot.steps["fit"] ?? 0, state.steps);
        this.#snapshots.push({ snapshot, state });
        if (this.#snapshots.length > 4) this.#snapshots.shift();
      },
    ];
  }

  #restore(net: Net): readonly [Promise<unknown>, Expected] {
    if (this.#snapshots.length === 0) return this.#get(net);
    const { snapshot, state } = this.#pick(this.#snapshots);
    const copy = structuredClone(snapshot);
    const answer = net.restore(copy);
    copy.params.fill(1);
    copy.state.fill(1);
    this.#state = state;
    this.#point = state;
    this.#unsaved.clear();
    this.#pending = false;
    return [answer, () => undefined];
  }

  #reset(net: Net): readonly [Promise<unknown>, Expected] {
    // With a seed, parameters are drawn: a snapshot's are put back at once, so that the model need not draw.
    if (this.#random() < 0.3 && this.#snapshots.length) {
      net.reset(this.#drawSeed()).catch(() => undefined);
      return this.#restore(net);
    }
    const answer = net.reset();
    if (!this.#pending) {
      this.#state = { ...this.#state, count: 0, bad: 0, steps: 0 };
      this.#point = { ...this.#point, count: 0, bad: 0, steps: 0 };
      this.#unsaved.delete("count");
    }
    return [answer, () => undefined];
  }

  #profile(net: Net): readonly [Promise<unknown>, Expected] {
    return [
      net.profile("add", { a: [1], b: [1] }),
      (given) => same("profile", (given as { rows: unknown[] }).rows.length, 1),
    ];
  }

  // ---------------------------------------------------------------------------------------------- losses

  async #lose(): Promise<void> {
    const device = (this.net as Net).device as unknown as GPUDevice;
    device.destroy();
    await device.lost;
    this.#tally.losses++;
    this.log.push(`lost with ${[...this.#unsaved].join() || "nothing"}`);
    this.#far = [];
    this.#pending ||= this.#unsaved.size > 0;
    this.#state = this.#point;
    this.#unsaved.clear();
  }

  /** While calls are under way: each comes to something, and what is left is looked at afresh. */
  async #loseInTheMiddle(): Promise<void> {
    const made: Made[] = [];
    for (let i = 0; i < 6; i++) {
      made.push(this.#call());
      if (i === this.#int(6)) ((this.net as Net).device as unknown as GPUDevice).destroy();
    }
    ((this.net as Net).device as unknown as GPUDevice).destroy();
    this.#tally.losses++;
    this.log.push("lost in the middle");
    const ends = await within(Promise.allSettled(made.map((m) => m.answer)), () =>
      made.map((m) => m.what).join(", "),
    );
    for (const [i, end] of ends.entries())
      if (end.status === "rejected") this.#typed(made[i].what, end.reason);
    this.#far = [];
    await this.#resync();
  }

  async #resync(): Promise<void> {
    const net = this.net as Net;
    // Losses may still have to be told.
    for (let i = 0; i < 3; i++)
      await net.getParameter("scale").catch((error: unknown) => this.#typed("a look", error));
    // Small integers, so that all sums are exact.
    await net.setParameter("scale", this.#small(4));
    await net.setParameter("bias", this.#small(4));
    await net.setParameter("count", 1);
    const read = async (path: string): Promise<number[]> => [...(await net.getParameter(path)).data];
    const snapshot = await net.snapshot();
    const [scale, bias, [count], [bad]] = [
      await read("scale"),
      await read("bias"),
      await read("count"),
      await read("bad_step"),
    ];
    this.#state = { scale, bias, count, bad, steps: snapshot.steps["fit"] ?? 0, seed: snapshot.seed };
    this.#keep();
    this.#pending = false;
  }

  // ---------------------------------------------------------------------------------------- wrong calls

  #typed(what: string, error: unknown): void {
    this.#tally.refused++;
    if (error instanceof MdlRuntimeError) return;
    throw new Error(`${what}: no typed error: ${(error as Error)?.stack ?? String(error)}`);
  }

  /** Values that nobody expects, and some that somebody may. */
  #odd(): unknown {
    const specials: (() => unknown)[] = [
      () => undefined,
      () => null,
      () => Number.NaN,
      () => -1,
      () => 1e300,
      () => 2 ** 53,
      () => "",
      () => "8",
      () => "__proto__",
      () => [],
      () => ({}),
      () => Object.create(null),
      () => Symbol("s"),
      () => () => 1,
      () => new Map([["scale", [1, 2, 3, 4]]]),
      () => new Proxy({}, {}),
      () => new Date(0),
      () => new Float32Array(3),
      () => new Float64Array(2),
      () => new DataView(new ArrayBuffer(8)),
      () => new Uint8Array(new SharedArrayBuffer(8)),
      () => detached(),
      () => ({ data: detached(), shape: [4] }),
      () => ({ data: [1], shape: "4" }),
      () => ({ data: [1], shape: [1e9, 1e9] }),
      () => ({ data: [1], shape: null }),
      () => ({ size: 4, usage: COPY_SRC, mapState: "unmapped" }),
      () => ({ href: 5 }),
      () => ({ arrayBuffer: () => Promise.reject(new TypeError("mine")) }),
      () => ({ arrayBuffer: async () => "text" }),
      () => ({ aborted: false, addEventListener() {}, removeEventListener() {} }),
      () => Promise.resolve(1),
      () => cyclic(),
      () => BigInt(2) ** BigInt(70),
      () => new TensorClass("i32", [2], Int32Array.of(1, 2)),
    ];
    if (this.#random() < 0.6) return this.#pick(specials)();
    const seed = (this.#seed * 1000 + this.#garbage++) | 0;
    return fc.sample(
      fc.anything({
        withBigInt: true,
        withDate: true,
        withMap: true,
        withTypedArray: true,
        withNullPrototype: true,
      }),
      { seed, numRuns: 1 },
    )[0];
  }

  /** One value of `args`, at any depth, becomes an odd one; sometimes one is added or a byte changed. */
  #spoil(args: readonly unknown[]): unknown[] {
    const copy = [...args];
    const at = this.#int(copy.length + 1);
    const value = copy[at];
    const plain =
      typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
    if (value instanceof Uint8Array && this.#random() < 0.8) {
      const bytes = value.slice(0, this.#random() < 0.3 ? this.#int(value.length) : value.length);
      for (let i = 0; i < 3; i++) if (bytes.length) bytes[this.#int(bytes.length)] = this.#int(256);
      copy[at] = bytes;
    } else if (plain && this.#random() < 0.8) {
      const names = Object.keys(value);
      if (names.length && this.#random() < 0.8) {
        const name = this.#pick(names);
        const [spoilt] = this.#spoil([(value as Record<string, unknown>)[name]]);
        copy[at] = { ...value, [name]: spoilt };
      } else {
        const name = this.#pick([
          "extra",
          "then",
          "constructor",
          "lr",
          "gpu",
          "seed",
          "outputs",
          "partial",
          "signal",
        ]);
        copy[at] = { ...value, [name]: this.#odd() };
      }
    } else copy[at] = this.#odd();
    return copy;
  }

  async #misuse(): Promise<number> {
    const net = this.net as unknown as NetBase & Record<string, (...args: unknown[]) => unknown>;
    const [name, args] = this.#pick<readonly [string, unknown[]]>([
      [
        "add",
        [
          { a: [1, 2], b: Float32Array.of(3, 4) },
          { outputs: ["sum"], gpu: false, seed: 1 },
        ],
      ],
      ["chain", [{ x: { data: new Float32Array(8), shape: [2, 4] } }, {}]],
      ["pick", [{ m: [true, false], a: Int32Array.of(1, 2) }, { outputs: ["picked", "big"] }]],
      ["draw", [{}, { seed: 4 }]],
      ["fit_step", [{ x: [1, 2] }, { lr: 0.5, seed: 1 }]],
      ["train_step", [{ x: Float32Array.of(1) }, { lr: 1 }]],
      ["getParameter", ["scale"]],
      ["setParameter", ["scale", [1, 2, 3, 4]]],
      ["setParameter", ["count", 3]],
      [
        "loadWeights",
        [
          { scale: [1, 2, 3, 4], bias: [1, 2, 3, 4], count: 1 },
          { partial: true, strict: true },
        ],
      ],
      ["loadWeights", [this.#file ?? new Uint8Array(16), {}]],
      ["save", [this.#pick<unknown>([undefined, "/nowhere/at/all"])]],
      ["restore", [this.#snapshots.length ? this.#pick(this.#snapshots).snapshot : {}]],
      ["reset", [3]],
      ["profile", ["chain", { x: new Float32Array(4) }]],
      ["snapshot", []],
      ["parameters", []],
      ["memory", []],
    ]);
    const spoilt = this.#spoil(args);
    // A string is a path: none is to be written.
    if (name === "save" && typeof spoilt[0] === "string") spoilt[0] = `/nowhere/${spoilt[0].length}`;
    this.#tally.calls++;
    this.log.push(`${name}(${spoilt.map(brief).join(", ")})`);
    let answer: unknown;
    try {
      answer = await within(Promise.resolve(net[name](...spoilt)), () => `${name} spoilt`);
      // Figures that are read: a bad step is told there.
      const { read } = (answer ?? {}) as { read?: () => Promise<unknown> };
      if (typeof read === "function") await within(read.call(answer), () => `${name} spoilt, read`);
    } catch (error) {
      this.#typed(name, error);
      // A step that was made and then read is a step.
      if (answer === undefined) {
        await this.#verify(`after ${name} was refused`);
        return 1;
      }
    }
    const changes = /step|set|load|snapshot|restore/.test(name);
    if (changes) await this.#resync();
    else await this.#verify(`after ${name}`);
    return 1;
  }

  async #loadBadly(): Promise<number> {
    const { device } = this.net as Net;
    const good = {
      device,
      weights: { scale: [1, 2, 3, 4], bias: [1, 2, 3, 4], count: 1 },
      target: "baseline",
      seed: 1,
      entries: ["add", "chain"],
      bind: { N: 3 },
      train: { totalSteps: 3 },
      snapshotEvery: { steps: 3 },
      maxSubmitMs: 50,
      onProgress: () => undefined,
    };
    const [options] = this.#spoil([good]);
    this.#tally.calls++;
    this.#tally.loads++;
    this.log.push(`load(${brief(options)})`);
    try {
      const net = await within(load(tiny, options as LoadOptions), () => "load spoilt");
      const { sum } = (await net.entries["add"]({ a: [1], b: [2] })) as { sum: Tensor };
      same("add of a net that was loaded oddly", sum.item(), 3);
      net.dispose();
    } catch (error) {
      this.#typed("load", error);
    }
    await this.#verify("after a load");
    return 1;
  }

  async #abort(): Promise<number> {
    const net = this.net as Net;
    const control = new AbortController();
    const { signal } = control;
    const reason = new Error("enough");
    const value = this.#small(4);
    const turns = this.#int(4);
    const other = this.#random() < 0.5 ? net.getParameter("bias") : undefined;
    this.log.push("abort");
    const answer = net.loadWeights({ scale: value }, { partial: true, signal } as object);
    const step = net.entries["add"]({ a: [1], b: [1] }, { signal });
    for (let i = 0; i < turns; i++) await Promise.resolve();
    control.abort(reason);
    const [loaded, added] = await within(Promise.allSettled([answer, step, other]), () => "abort");
    if (loaded.status === "fulfilled") this.#put({ scale: value });
    for (const end of [loaded, added])
      if (end.status === "rejected" && end.reason !== reason) throw new Error(`abort: ${end.reason}`);
    await this.#verify("after an abort");
    this.#tally.calls += 2;
    return 2;
  }

  /** That the model is what it should be. */
  async #verify(when: string): Promise<void> {
    if (this.#pending) return;
    const net = this.net as Net;
    const read = async (path: string): Promise<number[]> => [...(await net.getParameter(path)).data];
    const { scale, bias, count } = this.#state;
    const found = await within(Promise.all([read("scale"), read("bias"), read("count")]), () => when);
    same(`parameters ${when}`, found, [[...scale], [...bias], [count]]);
  }
}

function detached(): Float32Array {
  const array = Float32Array.of(1, 2, 3, 4);
  structuredClone(array.buffer, { transfer: [array.buffer] });
  return array;
}

function cyclic(): unknown {
  const list: unknown[] = [];
  list.push(list);
  return list;
}

function brief(value: unknown): string {
  try {
    return (
      JSON.stringify(value, (_, v: unknown) => (typeof v === "bigint" ? `${v}n` : v))?.slice(0, 200) ??
      typeof value
    );
  } catch {
    return typeof value;
  }
}

function same(what: string, given: unknown, wanted: unknown): void {
  const text = (value: unknown): string =>
    JSON.stringify(value, (_, v: unknown) => (typeof v === "bigint" ? `${v}n` : Object.is(v, -0) ? 0 : v));
  if (text(given) !== text(wanted))
    throw new Error(`${what}: given ${text(given)}, expected ${text(wanted)}`);
}

/** A promise that does not come is an error. */
async function within<T>(promise: Promise<T>, what: () => string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer: ${what()}`)), TIMEOUT);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
