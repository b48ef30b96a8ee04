// A model by the reference evaluator: entries and training steps with what they leave behind. In: graphs of entries and
// steps, where parameters lie in the flat buffer, and the tensors it begins with. Out: results; parameters and state are
// held between calls, as a loaded net holds them. A step's host scalars are evaluated by the caller's function, which is
// the runtime's own, as initial values are: the parts that both sides must have in common.
import type { HostExpr } from "../../../runtime/core/program.ts";
import type { Dense, DType, Graph } from "../ir/types.ts";
import { emptyDense, sizeOf } from "../ops/dense.ts";
import { type Evaluated, EvaluateError, evaluate } from "./evaluate.ts";

/** A source that stands for several parameters or buffers at once, in a step's graph, and where each lies in it. */
export interface FlatTensors {
  readonly path: string;
  readonly dtype: DType;
  /** In elements, as the places are. */
  readonly total: number;
  readonly members: readonly {
    readonly path: string;
    readonly shape: readonly number[];
    readonly at: number;
  }[];
}
export interface ReferenceStep {
  readonly block: string;
  readonly graph: Graph;
  /** In order: later ones may name earlier ones. */
  readonly hyper: Readonly<Record<string, HostExpr>>;
}
export interface ReferenceModel {
  readonly entries: readonly { readonly name: string; readonly graph: Graph }[];
  readonly steps: readonly ReferenceStep[];
  readonly flats: readonly FlatTensors[];
}

type Words = readonly [number, number];
type Tensors = Readonly<Record<string, Dense>>;
type Numbers = Readonly<Record<string, number | undefined>>;

export interface ReferenceOptions {
  /** Every parameter and state tensor by its path, optimiser state and counters included. */
  readonly tensors: Tensors;
  readonly seed?: Words;
  readonly totalSteps?: number;
  /** A schedule's value, as the runtime evaluates it. */
  readonly evaluateHost: (expr: HostExpr, names: Numbers) => number;
  /** Rounds every float to its own precision after each operator: what single precision may do. */
  readonly roundFloats?: boolean;
}
export interface CallOptions {
  readonly seed?: Words;
}

export class ReferenceNet {
  readonly #model: ReferenceModel;
  readonly #options: ReferenceOptions;
  readonly #tensors: Map<string, Dense>;
  readonly #steps = new Map<string, number>();

  constructor(model: ReferenceModel, options: ReferenceOptions) {
    this.#model = model;
    this.#options = options;
    this.#tensors = new Map(Object.entries(options.tensors));
  }

  /** A parameter or state tensor as it is now. */
  tensor(path: string): Dense {
    const found = this.#tensors.get(path);
    if (!found) throw new EvaluateError(`no tensor is called ${path}`);
    return found;
  }

  /** The results of an entry; what it writes is kept. */
  call(entry: string, inputs: Tensors, options: CallOptions = {}): Tensors {
    const found = this.#model.entries.find((e) => e.name === entry);
    if (!found) throw new EvaluateError(`there is no entry ${entry}`);
    return this.#run(found.graph, inputs, options).results;
  }

  /**
   * Takes a step of a train block; its loss, reports and flag. `hyper` takes the place of the block's own numbers (`lr`).
   * As in the runtime, the number of the step goes on after a bad one, too.
   */
  step(
    block: string,
    inputs: Tensors,
    { seed, ...hyper }: CallOptions & { readonly [name: string]: unknown } = {},
  ): Tensors {
    const found = this.#model.steps.find((s) => s.block === block);
    if (!found) throw new EvaluateError(`there is no train block ${block}`);
    const step = this.#steps.get(block) ?? 0;
    const given = hyper as Numbers;
    const names: Record<string, number | undefined> = {
      step,
      total_steps: this.#options.totalSteps,
      ...given,
    };
    for (const [name, expr] of Object.entries(found.hyper))
      names[name] = given[name] ?? this.#options.evaluateHost(expr, names);
    const scalars = Object.fromEntries(Object.keys(found.hyper).map((n) => [n, names[n] as number]));
    const { results } = this.#run(found.graph, inputs, { seed }, scalars);
    this.#steps.set(block, step + 1);
    return results;
  }

  #run(
    graph: Graph,
    inputs: Tensors,
    { seed }: CallOptions,
    hyper?: Readonly<Record<string, number>>,
  ): Evaluated {
    const held = Object.fromEntries(this.#tensors);
    const read = new Set(graph.nodes.map((n) => n.attrs.path));
    const flats = this.#model.flats.filter((f) => read.has(f.path));
    const all = { ...held, ...Object.fromEntries(flats.map((f) => [f.path, this.#flatten(f)])) };
    const run = evaluate(graph, inputs, {
      params: all,
      state: all,
      seed: seed ?? this.#options.seed,
      hyper,
      roundFloats: this.#options.roundFloats,
    });
    for (const [path, value] of Object.entries(run.writes)) {
      const flat = flats.find((f) => f.path === path);
      if (flat) this.#unflatten(flat, value);
      else this.#tensors.set(path, value);
    }
    return run;
  }

  #flatten({ dtype, total, members }: FlatTensors): Dense {
    const all = emptyDense(dtype, [total]);
    for (const p of members) all.data.set(this.tensor(p.path).data, p.at);
    return all;
  }
  #unflatten({ dtype, members }: FlatTensors, all: Dense): void {
    for (const { path, shape, at } of members)
      this.#tensors.set(path, { dtype, shape, data: all.data.slice(at, at + sizeOf(shape)) });
  }
}
