// Folds that wait for another of the same row, and are had from the same loop all the same. In: what a thread sees at a
// time. Out: the fold, once what it waits for is known.
import type { X } from "../../../kernel/code.ts";
import type { Running } from "../../../kernel/emitter.ts";
import type { Scalar, ScalarOf } from "../../../kernel/scalar.ts";

type Fold = ScalarOf<"fold">;

/** What a fold waits for and, given that, is: of this thread, four wide. */
export interface Taken {
  readonly from: Scalar;
  readonly value: (from: X) => X;
}
export interface Late {
  /** `each`: the four numbers of a step are there or not each by itself; else all or none. */
  running(each: boolean): Running;
  /** Terms of the fold that is waited for, and which of them are there; those that are not are what adds nothing to it. */
  add(run: Running, terms: readonly X[], there: readonly (X | undefined)[]): void;
  wait(fold: Fold, from: Scalar, run: Running): void;
  take(fold: Fold): Taken | undefined;
  has(fold: Fold): boolean;
}
