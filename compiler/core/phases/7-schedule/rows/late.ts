// Folds that wait for another of the same row, and are had from the same loop all the same. In: what a thread sees at a
// time. Out: the fold, once what it waits for is known.
import type { X } from "../../../kernel/code.ts";
import type { Emitter, Running } from "../../../kernel/emitter.ts";
import type { Scalar, ScalarOf } from "../../../kernel/scalar.ts";

type Fold = ScalarOf<"fold">;

/** What a fold waits for and, given that, is: of this thread, four wide. */
interface Taken {
  readonly from: Scalar;
  readonly value: (from: X) => X;
}
export abstract class Late<Seen extends Running = Running> {
  protected readonly em: Emitter;
  private readonly waiting = new Map<Fold, { readonly from: Scalar; readonly seen: Seen }>();
  private readonly known = new Set<Fold>();

  constructor(em: Emitter) {
    this.em = em;
  }
  has(fold: Fold): boolean {
    return this.known.has(fold);
  }
  wait(fold: Fold, from: Scalar, seen: Seen): void {
    this.known.add(fold);
    this.waiting.set(fold, { from, seen });
  }
  take(fold: Fold): Taken | undefined {
    const found = this.waiting.get(fold);
    if (!found) return undefined;
    this.waiting.delete(fold);
    return { from: found.from, value: (from) => this.about(found.seen, from) };
  }
  /** `each`: the four numbers of a step are there or not each by itself; else all or none. */
  abstract running(each: boolean): Seen;
  /** Terms of the fold that is waited for, and which of them are there; those that are not are what adds nothing to it. */
  abstract add(seen: Seen, terms: readonly X[], there: readonly (X | undefined)[]): void;
  /** The fold, of what a thread saw, given what it waited for. */
  protected abstract about(seen: Seen, from: X): X;
}
