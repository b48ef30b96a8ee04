// Checkpoints: all that a run goes on from. In: a net's snapshot and where the run stands. Out: a safetensors file (parameters and
// state as they lie in memory, the rest as metadata), written whole or not at all; and back. What was compiled otherwise, or
// is another model, is refused by the signature: names, types and places of all tensors.
import type { Snapshot } from "../../../runtime/core/api.ts";
import { MdlRuntimeError } from "../../../runtime/core/errors.ts";
import { formatSafetensors, parseSafetensors } from "../../../runtime/core/safetensors.ts";
import type { PlateauState } from "../../../runtime/plateau/index.ts";
import type { SetValue } from "../../core/index.ts";
import { InputFailure } from "../failure.ts";
import { readBytes } from "../files.ts";

const FORMAT = "mdl checkpoint 1";

/** What a run was asked for; a resumed one takes them over where they are not given again. */
export interface RunSettings {
  readonly data: string;
  readonly val?: string;
  readonly map?: Readonly<Record<string, string>>;
  readonly epochs: number;
  readonly batch: number;
  readonly seed: string;
  readonly lr?: number;
  readonly schedule?: string;
  readonly augment?: string;
  readonly normalize?: string;
  readonly steps?: number;
  readonly dropLast?: boolean;
  readonly freeze?: readonly string[];
  readonly precision?: "f32" | "f16";
  /** The model's arguments. */
  readonly set?: Readonly<Record<string, SetValue>>;
  readonly plateau?: number;
  readonly patience?: number;
  readonly keep?: "best" | "last";
}

/** Where a run stands. */
export interface Progress {
  /** Finished steps of the run. */
  readonly step: number;
  /** From 0: the epoch under way, and how many of its batches are done. */
  readonly epoch: number;
  readonly batch: number;
  /** Epochs that did not better the best. */
  readonly waited: number;
  readonly best?: number;
  readonly plateau?: PlateauState;
  /** What the curve is drawn of. */
  readonly losses: readonly (readonly [number, number])[];
  readonly vals: readonly { readonly step: number; readonly metrics: Readonly<Record<string, number>> }[];
}

export interface Checkpoint {
  readonly model: string;
  readonly block: string;
  /** The program whose kernels were run: another one's sums may differ in the last bit. */
  readonly target: string;
  /** Records there were. */
  readonly records: number;
  readonly settings: RunSettings;
  readonly progress: Progress;
  readonly snapshot: Snapshot;
}

export function formatCheckpoint({ snapshot, ...rest }: Checkpoint): Uint8Array {
  const { params, state, seed, ...numbers } = snapshot;
  const words = (bytes: Uint8Array): Uint32Array =>
    new Uint32Array(bytes.slice().buffer, 0, bytes.length / 4);
  const tensor = (path: string, bytes: Uint8Array) => {
    const data = words(bytes);
    return { path, dtype: "u32" as const, shape: [data.length], data };
  };
  return formatSafetensors([tensor("params", params), tensor("state", state)], {
    format: FORMAT,
    checkpoint: JSON.stringify({ ...rest, snapshot: { ...numbers, seed: String(seed) } }),
  });
}

export function readCheckpoint(path: string): Checkpoint {
  const bytes = readBytes(path);
  const refuse = (why: string): InputFailure =>
    new InputFailure(`${path} is no checkpoint of mdl train: ${why}`);
  let tensors: ReturnType<typeof parseSafetensors>;
  try {
    tensors = parseSafetensors(bytes);
  } catch (error) {
    throw error instanceof MdlRuntimeError ? refuse(error.message) : error;
  }
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length))) as {
    readonly __metadata__?: Readonly<Record<string, string>>;
  };
  const { format, checkpoint } = header.__metadata__ ?? {};
  const [params, state] = [tensors.get("params"), tensors.get("state")];
  if (format !== FORMAT || checkpoint === undefined || !params || !state)
    throw refuse(
      format === undefined
        ? "it holds weights alone, which --init takes"
        : `it is of the format ${format}, expected ${FORMAT}`,
    );
  const { snapshot, ...rest } = JSON.parse(checkpoint) as Omit<Checkpoint, "snapshot"> & {
    readonly snapshot: Omit<Snapshot, "seed" | "params" | "state"> & { readonly seed: string };
  };
  return {
    ...rest,
    snapshot: {
      ...snapshot,
      seed: BigInt(snapshot.seed),
      params: params.bytes.slice(),
      state: state.bytes.slice(),
    },
  };
}
