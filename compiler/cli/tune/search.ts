// The tuner's search. In: a way to build the model with a choice for each class of groups, and to time what was built. Out: for
// each class the time of its choices. All classes take their next choice in one round, so that as many programs are built as
// the class with the most choices has, and not as many as there are combinations.

/** A way to compute a group. */
export interface Alternative {
  readonly family: string;
  readonly version: number;
  readonly choice: { readonly [what: string]: number | string };
}
/** Asked for the number of the choice. */
export type Pick = (offers: readonly Alternative[], way: string) => number;
/** What was measured of one program: microseconds by class, and of everything. */
export interface Times {
  readonly ways: ReadonlyMap<string, number>;
  readonly total: number;
}
/** Builds, loads, times; undefined where the program does not run here, or gives other numbers. */
export type Trial = (pick: Pick) => Promise<Times | undefined>;

export interface Way {
  readonly way: string;
  readonly offers: readonly Alternative[];
  /** Microseconds of each offer; undefined where it was not tried. */
  readonly times: (number | undefined)[];
}
export interface Searched {
  readonly ways: readonly Way[];
  /** Microseconds with the first choices. */
  readonly before: number;
  readonly rounds: number;
  /** Rounds that were left out for want of time. */
  readonly left: number;
}

/** Of all time; classes with less are left alone. */
const SHARE = 0.005;
/** A choice is better from this part of time saved: less is noise. */
const GAIN = 0.05;

export async function search(
  trial: Trial,
  milliseconds: number,
  tell: (round: number, rounds: number) => void,
): Promise<Searched | undefined> {
  const since = performance.now();
  const offersOf = new Map<string, readonly Alternative[]>();
  tell(0, 0);
  const first = await trial((offers, way) => {
    if (offers.length > 1) offersOf.set(way, offers);
    return 0;
  });
  if (!first) return undefined;
  const ways: Way[] = [...first.ways]
    .filter(([way, us]) => us >= SHARE * first.total && offersOf.has(way))
    .sort((a, b) => b[1] - a[1])
    .map(([way, us]) => {
      const offers = offersOf.get(way) as readonly Alternative[];
      return { way, offers, times: offers.map((_, i) => (i === 0 ? us : undefined)) };
    });
  const rounds = Math.max(0, ...ways.map((w) => w.offers.length - 1));
  let round = 1;
  for (; round <= rounds; round++) {
    // The next round takes about as long as those before.
    const spent = performance.now() - since;
    if (spent + spent / round > milliseconds) break;
    tell(round, rounds);
    const trying = new Map(ways.filter((w) => round < w.offers.length).map((w) => [w.way, w]));
    const times = await trial((offers, way) => (trying.has(way) && round < offers.length ? round : 0));
    for (const [way, w] of trying) w.times[round] = times?.ways.get(way);
  }
  return { ways, before: first.total, rounds: round - 1, left: rounds - round + 1 };
}

/** The choice of a class that is clearly better than the first; undefined where none is. */
export function best({
  offers,
  times,
}: Way): { readonly at: number; readonly offer: Alternative } | undefined {
  const first = times[0] as number;
  let at = 0;
  for (const [i, t] of times.entries()) if (t !== undefined && t < (times[at] as number)) at = i;
  return (times[at] as number) < (1 - GAIN) * first ? { at, offer: offers[at] } : undefined;
}
