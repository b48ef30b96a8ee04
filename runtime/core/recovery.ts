// What a lost device is recovered from: the last snapshot, what was loaded or set since, and which values calls have written
// that neither of them has. In: what happens to parameters and state. Out: bytes to begin with, and what would be lost.
// Touches no GPU. All bytes here are the runtime's own: what comes in and goes out is copied.
import type * as api from "./api.ts";
import { InputError } from "./errors.ts";
import { copyBytes } from "./files.ts";
import { describe } from "./inputs.ts";
import type { Artefact, TensorSpec } from "./program.ts";
import { type Flat, initialBytes, type LoadedTensor, put, signatureOf } from "./store.ts";
import { alignTo, tagOf } from "./tensor.ts";
import { seedOf, seedWords, type Words } from "./threefry.ts";
import type { TrainPiece } from "./train.ts";

/** A snapshot of ours. */
export interface Kept {
  readonly params: Uint8Array;
  readonly state: Uint8Array;
  /** Finished steps by train block. */
  readonly steps: ReadonlyMap<string, number>;
  readonly seed: Words;
}

/** A moment: what is written before it is in a snapshot that is begun at it. */
export interface Moment {
  readonly clock: number;
  readonly era: number;
  readonly resets: number;
  readonly loaded: ReadonlyMap<TensorSpec, LoadedTensor>;
}

export class Recovery {
  readonly #artefact: Artefact;
  #kept: Kept | undefined;
  #loaded = new Map<TensorSpec, LoadedTensor>();
  /** When each path was last written by a call. */
  #unsaved = new Map<string, number>();
  #clock = 0;
  /** Counts what makes snapshots that are under way obsolete. */
  #era = 0;
  /** How often state alone was reset. */
  #resets = 0;

  constructor(artefact: Artefact) {
    this.#artefact = artefact;
  }

  /** Calls have written these. */
  wrote(paths: readonly string[]): void {
    this.#clock++;
    for (const path of paths) this.#unsaved.set(path, this.#clock);
  }

  /** Whether something was written that would be lost with the device. */
  get unsaved(): boolean {
    return this.#unsaved.size > 0;
  }

  /** Tensors that were loaded or set; their data is kept. */
  put(tensors: readonly LoadedTensor[]): void {
    for (const tensor of tensors) {
      this.#loaded.set(tensor.place.spec, tensor);
      this.#unsaved.delete(tensor.place.spec.path);
    }
  }

  now(): Moment {
    return { clock: this.#clock, era: this.#era, resets: this.#resets, loaded: new Map(this.#loaded) };
  }

  /** Takes a snapshot of that moment, unless something else has taken the model's place since. */
  keep(kept: Kept, { clock, era, resets, loaded }: Moment): void {
    if (era !== this.#era) return;
    this.#kept = resets === this.#resets ? kept : this.#withoutState(kept);
    for (const [spec, tensor] of loaded) if (this.#loaded.get(spec) === tensor) this.#loaded.delete(spec);
    for (const [path, at] of this.#unsaved) if (at <= clock) this.#unsaved.delete(path);
  }

  /** From now on the model is as in `kept`, or as it begins. */
  replace(kept: Kept | undefined): void {
    this.#era++;
    this.#kept = kept;
    this.#loaded.clear();
    this.#unsaved.clear();
  }

  /** State is as it begins, which is returned; parameters stay what they are. */
  resetState(seed: Words): Uint8Array {
    this.#resets++;
    const state = initialBytes(this.#artefact, "state", seed);
    if (this.#kept) this.#kept = this.#withoutState(this.#kept);
    for (const [spec, { place }] of this.#loaded) if (place.flat === "state") this.#loaded.delete(spec);
    for (const { path } of this.#artefact.state) this.#unsaved.delete(path);
    return state;
  }

  #withoutState(kept: Kept): Kept {
    return { ...kept, state: initialBytes(this.#artefact, "state", kept.seed), steps: new Map() };
  }

  /** What the model goes on from; nothing is unsaved then. */
  recover(seed: Words): Kept {
    const kept = this.#kept;
    const bytesOf = (flat: Flat): Uint8Array => {
      const bytes = kept?.[flat].slice() ?? initialBytes(this.#artefact, flat, seed, this.#loaded);
      if (kept)
        for (const { place, data } of this.#loaded.values())
          if (place.flat === flat) put(place.spec, data, bytes);
      return bytes;
    };
    return {
      steps: this.steps,
      seed: kept?.seed ?? seed,
      params: bytesOf("params"),
      state: bytesOf("state"),
    };
  }

  /** The model is on a device again, as `recover` gave it. */
  recovered(): void {
    this.#unsaved.clear();
  }

  get hasSnapshot(): boolean {
    return this.#kept !== undefined;
  }

  /** Finished steps there. */
  get steps(): ReadonlyMap<string, number> {
    return this.#kept?.steps ?? new Map();
  }

  clear(): void {
    this.replace(undefined);
  }
}

/** A snapshot for the caller. */
export function giveSnapshot(artefact: Artefact, { params, state, steps, seed }: Kept): api.Snapshot {
  return {
    signature: signatureOf(artefact),
    params: params.slice(),
    state: state.slice(),
    steps: Object.fromEntries(steps),
    seed: seedOf(seed),
  };
}

/** A caller's snapshot, copied; refused with an InputError where it is none, or another model's. */
export function takeSnapshot(artefact: Artefact, given: unknown, train: TrainPiece | undefined): Kept {
  const refuse = (why: string): InputError =>
    new InputError("snapshot", `${artefact.name} cannot be restored: ${why}`);
  const not = (what: string, value: unknown): InputError => refuse(`${what}, given ${describe(value)}`);
  if (typeof given !== "object" || given === null) throw not("expected a snapshot", given);
  const { signature, params, state, steps, seed } = given as Readonly<Record<keyof api.Snapshot, unknown>>;
  if (signature !== signatureOf(artefact)) {
    throw refuse(
      typeof signature === "number"
        ? "this snapshot is of another model, with other parameters"
        : "expected a snapshot, which has a signature",
    );
  }
  const bytesOf = (name: string, value: unknown, size: number): Uint8Array => {
    if (tagOf(value) !== "Uint8Array") throw not(`its ${name} are a Uint8Array`, value);
    const view = value as Uint8Array;
    // A view of memory that is gone has no bytes, and cannot be copied.
    const bytes = view.byteLength ? copyBytes(view) : new Uint8Array();
    if (bytes.length === alignTo(size, 4)) return bytes;
    throw refuse(
      `its ${name} have ${bytes.length} bytes instead of ${alignTo(size, 4)}${bytes.length ? "" : " (were they transferred elsewhere?)"}`,
    );
  };
  const words = typeof seed === "number" || typeof seed === "bigint" ? seedWords(seed) : undefined;
  if (!words) throw not("its seed is an integer from 0 or a bigint", seed);
  return {
    params: bytesOf("params", params, artefact.paramBytes),
    state: bytesOf("state", state, artefact.stateBytes),
    steps: train?.takeSteps(artefact, steps, refuse) ?? new Map(),
    seed: words,
  };
}
