// `--estimate CHIP --tune FILE`: which choices of kernel families are the best for a chip that is not here, as `mdl tune` finds it
// out for one that is. In: calls, a chip. Out: a table for `mdl compile --tuning`. Its microseconds are estimates.
import { writeFileSync } from "node:fs";
import {
  type Alternative,
  best,
  type Row,
  search,
  type Table,
  tunedTarget,
  type Way,
} from "../../compiler/cli/tune/index.ts";
import { targets } from "../../compiler/core/index.ts";
import { type KnownCall, targetFor } from "./calls.ts";
import type { Chip } from "./chips.ts";
import type { Estimator } from "./estimate.ts";
import { ARITHMETIC, type Figures } from "./figures.ts";
import type { EstimateRow } from "./report.ts";

/** What WebGPU calls a device with this chip. */
export const adapterOf = (chip: Chip): string => [chip.vendor, chip.architecture].join(" ");

/** A kernel that is not compiled, keeps registers in memory, or whose loops were not found, is no choice. */
const REFUSED = Number.POSITIVE_INFINITY;
/** Of products that read their factors from where they lie, the model leaves as much out: caches at large sizes (README.md). */
const UNSTAGED = 2;

export interface Tuned {
  readonly table: Table;
  /** All that was tried. */
  readonly ways: readonly Way[];
  readonly before: readonly EstimateRow[];
  /** With the table, of the same calls. */
  readonly after: readonly EstimateRow[];
}

/** A table that is the best for all calls together; `made` says of what it was made. */
export async function tune(
  estimator: Estimator,
  chip: Chip,
  asked: readonly KnownCall[],
  made: Table["made"],
  say: (line: string) => void,
): Promise<Tuned> {
  const name = targetFor(chip);
  const target = targets.find((t) => t.name === name)!;
  const found: Searched[] = [];
  for (const known of asked) {
    const searched = await search(
      async (pick) => {
        const [row] = estimator.rows(known.make({ targets: [target], pick }), name, [chip]);
        return { ways: waysOf(row), total: row.us };
      },
      Number.POSITIVE_INFINITY,
      (round, rounds) =>
        say(`${known.name} on ${chip.name}: ${round === 0 ? "as it is" : `choice ${round} of ${rounds}`}`),
    );
    if (searched) found.push({ total: searched.before, ways: searched.ways });
  }
  const ways = together(found);
  const table: Table = {
    version: 1,
    target: name,
    adapter: adapterOf(chip),
    made,
    rows: ways.flatMap(rowOf),
  };
  const rows = (own: Parameters<KnownCall["make"]>[0], of: string): EstimateRow[] =>
    asked.flatMap((known) => estimator.rows(known.make(own), of, [chip]));
  const tuned = tunedTarget(table);
  return {
    table,
    ways,
    before: rows({ targets: [target] }, name),
    after: rows({ targets: [tuned] }, tuned.name),
  };
}
export const writeTable = (file: string, table: Table): void =>
  writeFileSync(file, `${JSON.stringify(table, null, 2)}\n`);

/** Of one call: what its choices would take, and all of it as it is. */
export interface Searched {
  readonly total: number;
  readonly ways: readonly Way[];
}

/** Dispatches are labelled by their class where somebody picks. */
function waysOf({ kernels }: EstimateRow): ReadonlyMap<string, number> {
  const ways = new Map<string, number>();
  for (const { site, times, figures: f } of kernels) {
    const us =
      f && f.spilled === 0 && f.matched ? Math.max(f.memoryUs, f.computeUs * lackOf(f)) * times : REFUSED;
    ways.set(site, (ways.get(site) ?? 0) + us);
  }
  return ways;
}

const lackOf = ({ shared, whole }: Figures): number =>
  shared === 0 && whole.fmas > ARITHMETIC ? UNSTAGED : 1;

/**
 * Classes that several calls have, as one: a choice counts where all of them were tried with it, and a microsecond of a short
 * call for more than one of a long call.
 */
export function together(found: readonly Searched[]): Way[] {
  const byClass = new Map<string, { readonly way: Way; readonly total: number }[]>();
  for (const { ways, total } of found)
    for (const way of ways) byClass.set(way.way, [...(byClass.get(way.way) ?? []), { way, total }]);
  return [...byClass].flatMap(([way, list]) => {
    // The first of two calls may be of two choices: one of them is no gain for one of the calls.
    const offers = list[0].way.offers.filter((o) => list.every((l) => timeOf(l.way, o) !== undefined));
    const first = list[0].way.offers[0];
    if (list.some((l) => !same(l.way.offers[0], first))) return [];
    const sum = (o: Alternative): number => list.reduce((n, l) => n + (timeOf(l.way, o)! * 1e6) / l.total, 0);
    const share = offers.map(sum);
    const scale = list.reduce((n, l) => n + timeOf(l.way, first)!, 0) / share[0];
    return [{ way, offers, times: share.map((x) => x * scale) }];
  });
}
const same = (a: Alternative, b: Alternative): boolean =>
  JSON.stringify([a.family, a.version, a.choice]) === JSON.stringify([b.family, b.version, b.choice]);
const timeOf = ({ offers, times }: Way, offer: Alternative): number | undefined =>
  times[offers.findIndex((o) => same(o, offer))];

function rowOf(way: Way): Row[] {
  const found = Number.isFinite(way.times[0]) ? best(way) : undefined;
  if (!found) return [];
  const { family, version, choice } = found.offer;
  const round = (x: number): number => Math.round(x * 10) / 10;
  return [
    {
      region: way.way,
      family,
      version,
      choice,
      microseconds: round(way.times[found.at] as number),
      before: round(way.times[0] as number),
    },
  ];
}
