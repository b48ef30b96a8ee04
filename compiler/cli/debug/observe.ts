// One call of a debug build: on a GPU, or by the reference evaluator. In: a model with one entry, what the entry takes, and every
// tensor of the model. Out: results by name. Nothing is kept.
import type { Gpu } from "../../../runtime/core/api.ts";
import { load } from "../../../runtime/core/index.ts";
import { takeInputs } from "../../../runtime/core/inputs.ts";
import type { Artefact } from "../../../runtime/core/program.ts";
import { put } from "../../../runtime/core/store.ts";
import { type AnyArray, arrayOf } from "../../../runtime/core/tensor.ts";
import { seedWords } from "../../../runtime/core/threefry.ts";
import { evaluateHost } from "../../../runtime/core/train.ts";
import { requestGpu, UnsupportedError } from "../../../runtime/node/index.ts";
import {
  type CheckedEntry,
  type CheckedModel,
  type Dense,
  debugging,
  dense,
  ReferenceNet,
} from "../../core/index.ts";
import { InputFailure } from "../failure.ts";
import type { Value } from "../inputs.ts";
import type { Result } from "../print-tensor.ts";
import { callsOf, type SourceModel } from "../runnable.ts";
import { harmless } from "../style.ts";
import { beginning, type Tensors } from "../weights.ts";

export interface Where {
  readonly device: "auto" | "gpu" | "cpu";
  readonly target?: string;
  /** Where adapters come from, if not from the host. */
  readonly gpu?: Gpu;
}
export interface Call {
  readonly inputs: Readonly<Record<string, Value>>;
  /** Every parameter and buffer by its path, and how often was drawn. */
  readonly tensors: ReadonlyMap<string, AnyArray>;
  readonly seed: bigint | number;
}
export interface Observed {
  readonly results: Readonly<Record<string, Result>>;
  /** What computed it: a target, or the reference evaluator. */
  readonly by: string;
}

/** Says once that there is no GPU, and goes on without. */
let warned = false;

export async function observe(
  source: SourceModel,
  model: CheckedModel,
  entry: CheckedEntry,
  call: Call,
  { device, target, gpu }: Where,
): Promise<Observed> {
  const own = debugging.alone(model, entry);
  if (device !== "cpu") {
    try {
      await requestGpu();
      return await onGpu(
        source.build(own, { targets: target === undefined ? undefined : [target] }).artefact,
        entry,
        call,
        { target, gpu },
      );
    } catch (error) {
      if (device === "gpu" || target !== undefined || (error as Error).name !== UnsupportedError.name)
        throw error;
      if (!warned)
        process.stderr.write(
          `${harmless((error as Error).message)}\ngoing on with --device cpu, which is slow\n`,
        );
      warned = true;
    }
  }
  return { results: byReference(source, own, entry, call, true), by: "reference" };
}

/** By the reference evaluator: in double precision, or rounded after each operator as single precision is. */
export const byReference = (
  source: SourceModel,
  own: CheckedModel,
  entry: CheckedEntry,
  call: Call,
  roundFloats: boolean,
): Record<string, Result> => evaluator(source, own, entry, call, roundFloats)({});

/** The same for many calls: what is given takes the place of inputs and tensors of the first. */
export function evaluator(
  source: SourceModel,
  own: CheckedModel,
  entry: CheckedEntry,
  { inputs, tensors, seed }: Call,
  roundFloats: boolean,
): (instead: Readonly<Record<string, Dense>>) => Record<string, Result> {
  const { artefact, reference } = source.build(own, { targets: ["baseline"] });
  const plan = artefact.programs[0].entries[0];
  const { names } = takeInputs(plan, { ...inputs });
  const given = Object.fromEntries(
    plan.inputs.map((port) => {
      const value = inputs[port.name];
      const shape = port.shape.map((_, axis) => names.get(`${port.name}.${axis}`) as number);
      return [port.name, dense(port.dtype, shape, "data" in value ? value.data : value)];
    }),
  );
  const held = Object.fromEntries(
    [...artefact.params, ...artefact.state].map((spec) => [
      spec.path,
      dense(spec.dtype, spec.shape, tensorOf(tensors, spec.path) as never),
    ]),
  );
  return (instead) => {
    const of = (all: Readonly<Record<string, Dense>>): Record<string, Dense> =>
      Object.fromEntries(Object.entries(all).map(([name, x]) => [name, instead[name] ?? x]));
    const net = new ReferenceNet(reference, {
      tensors: of(held),
      seed: seedWords(seed),
      evaluateHost,
      roundFloats,
    });
    return resultsOf(net.call(entry.name, of(given)));
  };
}
/** In double precision where that is what was computed. */
const resultsOf = (all: Readonly<Record<string, Dense>>): Record<string, Result> =>
  Object.fromEntries(
    Object.entries(all).map(([name, { dtype, shape, data }]) => {
      const out = dtype === "f32" || dtype === "f16" ? data : arrayOf(dtype, data.length);
      if (out !== data) out.set(data);
      return [name, { dtype, shape, data: out as never }];
    }),
  );

async function onGpu(
  artefact: Artefact,
  entry: CheckedEntry,
  call: Call,
  { target, gpu }: Pick<Where, "target" | "gpu">,
): Promise<Observed> {
  const specs = [...artefact.params, ...artefact.state];
  const weights = Object.fromEntries(
    specs
      .filter((s) => s.role !== "internal")
      .map((s) => [s.path, { data: tensorOf(call.tensors, s.path), shape: s.shape }]),
  );
  const net = await load(artefact, { weights, gpu, target, seed: call.seed });
  try {
    const internal = artefact.state.filter((s) => s.role === "internal");
    if (internal.length > 0) {
      // How often was drawn is in no file of weights.
      const snapshot = await net.snapshot();
      for (const s of internal) put(s, tensorOf(call.tensors, s.path), snapshot.state);
      await net.restore(snapshot);
    }
    const run = callsOf<(x: unknown) => Promise<Record<string, Result>>>(net)[entry.name];
    return { results: await run(call.inputs), by: net.target };
  } finally {
    net.dispose();
  }
}

function tensorOf(tensors: ReadonlyMap<string, AnyArray>, path: string): AnyArray {
  const found = tensors.get(path);
  if (!found) throw new InputFailure(`${path} is not given`);
  return found;
}

/** The name of the state that counts draws. */
export const DRAWS = "random_step";

/** Every tensor as a loaded model would begin with it, by path; `draws`: how often was drawn before. */
export function tensorsOf(
  artefact: Artefact,
  loaded: Tensors | undefined,
  seed: bigint | number,
  draws = 0,
): Map<string, AnyArray> {
  return new Map(
    [...beginning(artefact, loaded, seed)].map(([{ path }, data]) => [
      path,
      path === DRAWS ? Uint32Array.of(draws) : data,
    ]),
  );
}
