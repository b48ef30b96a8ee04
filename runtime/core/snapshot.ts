// Snapshots as callers have them. In: a caller's, or ours. Out: the other, copied; or an InputError.
import type * as api from "./api.ts";
import { InputError } from "./errors.ts";
import { copyBytes } from "./files.ts";
import { describe } from "./inputs.ts";
import type { Artefact } from "./program.ts";
import { type Kept, takeSteps } from "./recovery.ts";
import { signatureOf } from "./store.ts";
import { alignTo, tagOf } from "./tensor.ts";
import { seedOf, seedWords } from "./threefry.ts";

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
export function takeSnapshot(artefact: Artefact, given: unknown): Kept {
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
    steps: takeSteps(artefact, steps, refuse),
    seed: words,
  };
}
