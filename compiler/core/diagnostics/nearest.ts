/**
 * The nearest spelling of a name. In: what was written and what exists. Out: the candidate the author most
 * likely meant, or nothing. Separate because every phase that resolves names asks it.
 */
import { foreign } from "./foreign.ts";

/** Undefined where nothing is near enough to be worth a suggestion. */
export function closest(name: string, candidates: Iterable<string>): string | undefined {
  // Of a name of one letter only the case can be mistaken: every other is as near as any.
  const limit = name.length === 1 ? 0.5 : Math.max(1, Math.floor(name.length / 3));
  // Names longer than any that a person types by hand are compared by case alone; and of very many, the first ones are.
  const short = name.length <= 64;
  let left = 10_000;
  let best: string | undefined;
  let bestDistance = limit + 1;
  // The one name that what was written is the beginning of: accuracy for acc.
  let longer: string | undefined;
  let several = name.length < 3;
  for (const candidate of candidates) {
    if (candidate === name) continue;
    if (left-- === 0) break;
    if (candidate.startsWith(name)) {
      if (longer === undefined || longer.startsWith(candidate)) longer = candidate;
      else if (!candidate.startsWith(longer)) several = true;
    }
    // Another case or other underscores is the nearest mistake there is.
    const distance =
      fold(candidate) === fold(name) ? 0.5 : short ? editDistance(name, candidate, limit) : limit + 1;
    if (distance < bestDistance || (distance === bestDistance && best !== undefined && candidate < best)) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return bestDistance <= limit ? best : several ? undefined : longer;
}

/** `did you mean relu?`, or undefined: as the `help` of a diagnostic. */
export function didYouMean(name: string, candidates: Iterable<string>): string | undefined {
  const near = closest(name, candidates);
  return near === undefined ? undefined : `did you mean ${near}?`;
}

/** What another library's name is here, else the nearest spelling. */
export const pointer = (name: string, candidates: Iterable<string>): string | undefined =>
  foreign(name) ?? didYouMean(name, candidates);

const fold = (name: string): string => name.toLowerCase().replaceAll("_", "");

/** Insertions, deletions, replacements and swaps of neighbours; anything over `limit` counts as limit + 1. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) > limit) return limit + 1;
  let before: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let d = Math.min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        d = Math.min(d, before[j - 2] + 1);
      row.push(d);
    }
    before = previous;
    previous = row;
  }
  return previous[b.length];
}
