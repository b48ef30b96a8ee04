// What a lost device is recovered from where entries write: unwritten.ts, and the last snapshot, and which values calls have
// written that neither has. In: what happens to parameters and state. Out: what would be lost, too.
import { describe } from "./inputs.ts";
import type { TensorSpec } from "./program.ts";
import type { LoadedTensor } from "./store.ts";
import type { Words } from "./threefry.ts";
import { type Kept, type takeSteps as take, Recovery as Unwritten } from "./unwritten.ts";

export type { Kept } from "./unwritten.ts";

/** A moment: what is written before it is in a snapshot that is begun at it. */
export interface Moment {
  readonly clock: number;
  readonly era: number;
  readonly resets: number;
  readonly loaded: ReadonlyMap<TensorSpec, LoadedTensor>;
}

export class Recovery extends Unwritten {
  /** When each path was last written by a call. */
  #unsaved = new Map<string, number>();
  #clock = 0;
  /** Counts what makes snapshots that are under way obsolete. */
  #era = 0;
  /** How often state alone was reset. */
  #resets = 0;
  /** Since the last snapshot: calls that wrote, and when it was. */
  #written = 0;
  #keptAt = performance.now();

  override wrote(paths: readonly string[]): void {
    this.#clock++;
    for (const path of paths) this.#unsaved.set(path, this.#clock);
  }

  override isDue({
    steps = Number.POSITIVE_INFINITY,
    ms = Number.POSITIVE_INFINITY,
  }: Parameters<Unwritten["isDue"]>[0]): boolean {
    return ++this.#written >= steps || performance.now() - this.#keptAt >= ms;
  }

  override lostText(steps: ReadonlyMap<string, number>): string | undefined {
    if (this.#unsaved.size === 0) return undefined;
    const { kept } = this;
    const gone = [...steps]
      .map(([block, n]) => [block, n - (kept?.steps.get(block) ?? 0)] as const)
      .filter(([, n]) => n > 0)
      .map(([block, n]) => `${n} step${n > 1 ? "s" : ""} of ${block}`);
    const at = [...(kept?.steps ?? [])].map(([block, n]) => `step ${n} of ${block}`);
    return `what ${gone.join(", ") || "calls"} changed since ${kept ? "the last snapshot" : "it was loaded"} is gone. Another device was opened, and the model goes on from ${
      kept ? `that snapshot${at.length ? ` (${at.join(", ")})` : ""}` : "its weights as loaded"
    }: restore() a snapshot of yours, or let the net take them as it goes: load({ snapshotEvery: 100 })`;
  }

  override put(tensors: readonly LoadedTensor[]): void {
    super.put(tensors);
    for (const { place } of tensors) this.#unsaved.delete(place.spec.path);
  }

  override now(): Moment {
    this.#written = 0;
    this.#keptAt = performance.now();
    return { clock: this.#clock, era: this.#era, resets: this.#resets, loaded: new Map(this.loaded) };
  }

  override keep(kept: Kept, { clock, era, resets, loaded }: Moment): void {
    if (era !== this.#era) return;
    this.kept = resets === this.#resets ? kept : this.withoutState(kept);
    for (const [spec, tensor] of loaded) if (this.loaded.get(spec) === tensor) this.loaded.delete(spec);
    for (const [path, at] of this.#unsaved) if (at <= clock) this.#unsaved.delete(path);
  }

  override replace(kept: Kept | undefined): void {
    super.replace(kept);
    this.#era++;
    this.#unsaved.clear();
  }

  override resetState(seed: Words): Uint8Array {
    this.#resets++;
    for (const { path } of this.artefact.state) this.#unsaved.delete(path);
    return super.resetState(seed);
  }

  override recovered(): void {
    this.#unsaved.clear();
  }
}

export const takeSteps: typeof take = (artefact, steps, refuse) => {
  const not = (what: string, value: unknown): Error => refuse(`${what}, given ${describe(value)}`);
  if (typeof steps !== "object" || steps === null) throw not("its steps are an object", steps);
  const blocks = artefact.programs.flatMap((p) => p.entries.flatMap((e) => e.train?.block ?? []));
  const counts = new Map<string, number>(Object.entries(steps));
  for (const [block, count] of counts) {
    if (!blocks.includes(block)) throw refuse(`it has steps of ${block}, and there is no such train block`);
    if (!Number.isSafeInteger(count) || count < 0)
      throw not(`its steps of ${block} are an integer from 0`, count);
  }
  return counts;
};
