// A bad step as a program kept it: `v8.serialize({ snapshot: await net.snapshot(), batch })`, in a file. In: the file, and the
// source of the model. Out: the call that made the step, with the weights, the optimiser's state and the draws it had.
import { deserialize } from "node:v8";
import type { Snapshot } from "../../../runtime/core/api.ts";
import { MdlRuntimeError } from "../../../runtime/core/errors.ts";
import type { Artefact } from "../../../runtime/core/program.ts";
import { takeSnapshot } from "../../../runtime/core/snapshot.ts";
import { type AnyArray, fromGpu, itemBytes, sizeOf } from "../../../runtime/core/tensor.ts";
import { seedOf } from "../../../runtime/core/threefry.ts";
import { InputFailure } from "../failure.ts";
import { readBytes } from "../files.ts";
import type { Value } from "../inputs.ts";
import type { SourceModel } from "../runnable.ts";
import { type Call, DRAWS } from "./observe.ts";

export interface KeptStep {
  readonly step: number;
  /** How many steps the model was trained on since, and is not as it was then. */
  readonly later: number;
  /** The call, for the ports that it has. */
  readonly call: Call;
}

export function readReplay(source: SourceModel, entry: string, path: string): KeptStep {
  let kept: unknown;
  try {
    kept = deserialize(readBytes(path));
  } catch (error) {
    if (error instanceof InputFailure) throw error;
    throw new InputFailure(`${path} cannot be read: expected what v8.serialize({ snapshot, batch }) gives`);
  }
  const { snapshot, batch } = (typeof kept === "object" && kept !== null ? kept : {}) as {
    readonly snapshot?: Snapshot;
    readonly batch?: Readonly<Record<string, Value>>;
  };
  if (typeof batch !== "object" || batch === null)
    throw new InputFailure(`${path} holds no batch: expected v8.serialize({ snapshot, batch })`);
  return keptStep(source.compile({ targets: ["baseline"] }).artefact, entry, path, snapshot, batch);
}

/** The step of a snapshot of this artefact: the first bad one that it tells of, else the next. */
export function keptStep(
  artefact: Artefact,
  entry: string,
  path: string,
  snapshot: unknown,
  batch: Readonly<Record<string, Value>>,
): KeptStep {
  let taken: ReturnType<typeof takeSnapshot>;
  try {
    taken = takeSnapshot(artefact, snapshot);
  } catch (error) {
    throw error instanceof MdlRuntimeError ? new InputFailure(`${path}: ${error.message}`) : error;
  }
  const tensors = new Map<string, AnyArray>();
  for (const flat of ["params", "state"] as const)
    for (const spec of artefact[flat]) {
      const elements = sizeOf(spec.shape);
      const end = spec.offset + Math.ceil((elements * itemBytes(spec.dtype)) / 4) * 4;
      tensors.set(
        spec.path,
        fromGpu(spec.dtype, taken[flat].slice(spec.offset, end).buffer as ArrayBuffer, elements),
      );
    }
  const block = entry.replace(/_step$/, "");
  const done = taken.steps.get(block) ?? 0;
  const told = tensors.get(`${block}.first_bad_step`);
  const first = told?.[0] ?? 0;
  const step = first > 0 ? first - 1 : done;
  // Before it none was bad.
  told?.fill(0);
  // Each step draws once: what was drawn since the bad one is taken back.
  const draws = tensors.get(DRAWS);
  if (draws) tensors.set(DRAWS, Uint32Array.of(Math.max(0, draws[0] - (done - step))));
  return { step, later: done - step - 1, call: { inputs: batch, tensors, seed: seedOf(taken.seed) } };
}
