// What a lost device is recovered from where no entry writes: the snapshot that was restored, and what was loaded or set since.
// In: what happens to parameters and state. Out: bytes to begin with. Touches no GPU. All bytes here are the runtime's own:
// what comes in and goes out is copied. recovery.ts adds what calls write; a module without such entries has this in its place.
import type { Artefact, TensorSpec } from "./program.ts";
import type { Moment } from "./recovery.ts";
import { type Flat, initialBytes, type LoadedTensor, put } from "./store.ts";
import type { Words } from "./threefry.ts";

/** A snapshot of ours. */
export interface Kept {
  readonly params: Uint8Array;
  readonly state: Uint8Array;
  /** Finished steps by train block. */
  readonly steps: ReadonlyMap<string, number>;
  readonly seed: Words;
}

export class Recovery {
  protected readonly artefact: Artefact;
  protected kept: Kept | undefined;
  protected loaded = new Map<TensorSpec, LoadedTensor>();

  constructor(artefact: Artefact) {
    this.artefact = artefact;
  }

  /** Tensors that were loaded or set; their data is kept. */
  put(tensors: readonly LoadedTensor[]): void {
    for (const tensor of tensors) this.loaded.set(tensor.place.spec, tensor);
  }

  /** From now on the model is as in `kept`, or as it begins. */
  replace(kept: Kept | undefined): void {
    this.kept = kept;
    this.loaded.clear();
  }

  /** State is as it begins, which is returned; parameters stay what they are. */
  resetState(seed: Words): Uint8Array {
    if (this.kept) this.kept = this.withoutState(this.kept);
    for (const [spec, { place }] of this.loaded) if (place.flat === "state") this.loaded.delete(spec);
    return initialBytes(this.artefact, "state", seed);
  }

  protected withoutState(kept: Kept): Kept {
    return { ...kept, state: initialBytes(this.artefact, "state", kept.seed), steps: new Map() };
  }

  /** What the model goes on from. */
  recover(seed: Words): Kept {
    const { kept, loaded } = this;
    const bytesOf = (flat: Flat): Uint8Array => {
      if (!kept) return initialBytes(this.artefact, flat, seed, loaded);
      const bytes = kept[flat].slice();
      for (const { place, data } of loaded.values()) if (place.flat === flat) put(place.spec, data, bytes);
      return bytes;
    };
    return {
      steps: kept?.steps ?? new Map(),
      seed: kept?.seed ?? seed,
      params: bytesOf("params"),
      state: bytesOf("state"),
    };
  }

  /** The model is on a device again, as `recover` gave it. */
  recovered(): void {}

  /** Calls have written these. */
  wrote(_paths: readonly string[]): void {}

  /** Whether a snapshot is to be taken after a call that wrote something. */
  isDue(_every: { readonly steps?: number; readonly ms?: number }): boolean {
    return false;
  }

  /** What goes with a device that is lost now, of so many finished steps; undefined where nothing does. */
  lostText(_steps: ReadonlyMap<string, number>): string | undefined {
    return undefined;
  }

  /** A snapshot is begun. */
  now(): Moment | undefined {
    return undefined;
  }

  /** Takes a snapshot of that moment, unless something else has taken the model's place since. */
  keep(_kept: Kept, _moment: Moment | undefined): void {}
}

/** A snapshot's counts of finished steps, checked. */
export function takeSteps(
  _artefact: Artefact,
  _steps: unknown,
  _refuse: (why: string) => Error,
): Map<string, number> {
  return new Map();
}
