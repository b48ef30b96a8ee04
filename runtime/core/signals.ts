// Aborting what has not begun. In: an AbortSignal and work. Out: the work's promise, or a rejection with the signal's reason.
import type * as api from "./api.ts";
import { MdlRuntimeError } from "./errors.ts";

export const reasonOf = (signal: api.Signal): unknown =>
  signal.reason ?? new MdlRuntimeError("aborted", "this was aborted by its signal");

/**
 * The promise of `work`; it rejects as soon as the signal aborts, unless the work has called `go` by then: what is on its
 * way to the GPU cannot be called back. `go` throws where the signal has aborted.
 */
export function abortable<T>(
  signal: api.Signal | undefined,
  work: (go: () => void) => Promise<T>,
): Promise<T> {
  if (!signal) return work(() => undefined);
  return new Promise((resolve, reject) => {
    let gone = false;
    const go = (): void => {
      if (signal.aborted) throw reasonOf(signal);
      gone = true;
    };
    const abort = (): void => {
      if (!gone) reject(reasonOf(signal));
    };
    if (signal.aborted) {
      abort();
      return;
    }
    signal.addEventListener("abort", abort);
    const settled = (): void => signal.removeEventListener("abort", abort);
    work(go).then(resolve, reject).then(settled);
  });
}
