// `mdl tune`: measures the ways in which kernels can be computed, on this machine's adapter, and writes down the best. In: a
// source. Out: a table, for `mdl compile --tuning`.

import { classOf, misfit } from "../../../runtime/core/adapter.ts";
import type { NetBase, Profile } from "../../../runtime/core/api.ts";
import { load } from "../../../runtime/core/index.ts";
import type { EntryPlan } from "../../../runtime/core/program.ts";
import type { Tensor } from "../../../runtime/core/tensor.ts";
import { requestExactGpu, runAgainQuietly, UnsupportedError } from "../../../runtime/node/index.ts";
import { type Target, targets } from "../../core/index.ts";
import { drawInputs, type Sizes, sizesOf } from "../draw.ts";
import { InputFailure } from "../failure.ts";
import { writeFiles } from "../files.ts";
import { type ChoiceFlags, callsOf, SourceModel } from "../runnable.ts";
import { table as columns, count, harmless, styleFor } from "../style.ts";
import {
  best,
  type Pick,
  type Row,
  search,
  type Table,
  type Times,
  type Trial,
  tunedTarget,
} from "../tune/index.ts";
import { version } from "../version.ts";

export interface TuneFlags extends ChoiceFlags {
  readonly entry?: readonly string[];
  readonly size?: Sizes;
  readonly budget: number;
  readonly out: string;
}

/** Times a kernel is run for one figure. */
const RUNS = 5;
/** Of a step: what a schedule is told. */
const TOTAL_STEPS = 1000;
/** Results of two ways to compute the same differ by this much of the largest at most. */
const ALIKE = 1e-3;

export async function tuneCommand(file: string, flags: TuneFlags): Promise<number | undefined> {
  const code = await runAgainQuietly();
  if (code !== undefined) return code;
  const gpu = await requestExactGpu();
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw new UnsupportedError("no-adapter", "there is no adapter to tune for: see mdl doctor");
  const target = targetFor(adapter, flags.target);
  const source = new SourceModel(file, flags);
  for (const name of flags.entry ?? []) source.pick(name);
  const names = flags.entry ?? source.entries;
  const say = (text: string): void => void process.stderr.write(`${harmless(text)}\n`);

  let expected: Results | undefined;
  const time = async (of: Target, pick?: Pick): Promise<Times | undefined> => {
    let net: NetBase | undefined;
    try {
      const { artefact } = source.compile({ targets: [of], entries: names, pick });
      const [program] = artefact.programs;
      net = await load(artefact, { target: of.name, train: { totalSteps: TOTAL_STEPS } });
      const { times, results } = await timeAll(net, program.entries, flags.size ?? {});
      expected ??= results;
      return alike(expected, results) ? times : undefined;
    } catch (error) {
      // A choice that this device refuses is none. The first one is what everybody gets.
      if (expected === undefined) throw error;
      return undefined;
    } finally {
      net?.dispose();
    }
  };

  const searched = await search(
    ((pick) => time(target, pick)) satisfies Trial,
    flags.budget * 1000,
    (round, rounds) =>
      say(round === 0 ? `times ${names.join(", ")} as they are` : `tries choice ${round} of ${rounds}`),
  );
  if (!searched)
    throw new InputFailure("the model gives other numbers each time it is called: nothing to tune");
  const rows: Row[] = searched.ways.flatMap((w) => {
    const found = best(w);
    if (!found) return [];
    const { family, version: of, choice } = found.offer;
    return [
      {
        region: w.way,
        family,
        version: of,
        choice,
        microseconds: round(w.times[found.at] as number),
        before: round(w.times[0] as number),
      },
    ];
  });
  const made = {
    by: `mdl tune ${version()}, ${count(searched.rounds, "round")} of ${RUNS} runs`,
    on: adapter.info.description || adapter.info.device,
    date: new Date().toISOString().slice(0, 10),
    of: `${file}: ${names.join(", ")}`,
  };
  const table: Table = { version: 1, target: target.name, adapter: classOf(adapter.info), made, rows };
  // What was measured apart is measured together, too.
  const together = rows.length ? await time(tunedTarget(table)) : undefined;
  await writeFiles([{ path: flags.out, data: `${JSON.stringify(table, null, 2)}\n` }]);
  report(searched.before, together?.total, searched.left, table);
  say(`wrote ${flags.out}`);
  return undefined;
}

function targetFor(adapter: GPUAdapter, name: string | undefined): Target {
  const asked = targets.filter((t) => name === undefined || t.name === name);
  if (asked.length === 0)
    throw new InputFailure(
      `there is no target ${name}: targets are ${targets.map((t) => t.name).join(", ")}`,
    );
  const fits = asked.find((t) => !misfit(t, adapter, name !== undefined));
  if (fits) return fits;
  const why = asked.map((t) => `${t.name} ${misfit(t, adapter, true)}`);
  throw new UnsupportedError("unsupported", `no target fits this adapter: ${why.join(", ")}`);
}

type Results = ReadonlyMap<string, readonly ArrayLike<number>[]>;

async function timeAll(
  net: NetBase,
  entries: readonly EntryPlan[],
  given: Sizes,
): Promise<{ times: Times; results: Results }> {
  const ways = new Map<string, number>();
  const results = new Map<string, readonly ArrayLike<number>[]>();
  let total = 0;
  for (const entry of entries) {
    const sizes = Object.fromEntries(
      entry.symbols.flatMap((s) => (given[s.name] ? [[s.name, given[s.name]]] : [])),
    );
    const inputs = drawInputs(entry, sizesOf(entry, sizes), 1);
    const call = callsOf<(x: object) => Promise<unknown>>(net)[entry.name];
    // Before anything was trained: the same numbers whichever way they are computed.
    const result = await call(inputs);
    if (!entry.train)
      results.set(
        entry.name,
        Object.values(result as Record<string, Tensor>).map((t) => t.data as ArrayLike<number>),
      );
    const profiles: Profile[] = [];
    for (let i = 0; i <= RUNS; i++) profiles.push(await net.profile(entry.name, inputs));
    profiles[0].rows.forEach((row, i) => {
      const us = Math.min(...profiles.slice(1).map((p) => p.rows[i].microseconds));
      const way = row.label.slice(row.kernel.length + 1);
      total += us;
      ways.set(way, (ways.get(way) ?? 0) + us);
    });
  }
  return { times: { ways, total }, results };
}

function alike(a: Results, b: Results): boolean {
  for (const [name, list] of a)
    for (const [i, x] of list.entries()) {
      const y = b.get(name)?.[i];
      if (!y || y.length !== x.length) return false;
      let most = 0;
      for (let j = 0; j < x.length; j++) if (Number.isFinite(x[j])) most = Math.max(most, Math.abs(x[j]));
      for (let j = 0; j < x.length; j++)
        if (!(Object.is(x[j], y[j]) || Math.abs(x[j] - y[j]) <= ALIKE * most)) return false;
    }
  return true;
}

const round = (x: number): number => Math.round(x * 10) / 10;

function report(before: number, after: number | undefined, left: number, table: Table): void {
  const style = styleFor(process.stdout);
  const lines: string[] = [];
  if (table.rows.length === 0)
    lines.push("nothing was clearly faster than what is taken anyway: the table is empty");
  else {
    lines.push(
      columns(
        [
          ["before", "after", "choice", "of"].map((h) => style.dim(h)),
          ...table.rows.map((r) => [
            `${r.before} µs`,
            style.green(`${r.microseconds} µs`),
            `${r.family} ${Object.entries(r.choice)
              .map(([what, n]) => `${what} ${n}`)
              .join(", ")}`,
            r.region,
          ]),
        ],
        [0, 1],
      ),
    );
    if (after !== undefined)
      lines.push(
        "",
        `all kernels together: ${round(before)} µs before, ${style.bold(`${round(after)} µs`)} with the table`,
      );
    else
      lines.push(
        "",
        style.red("with the table the model does not run here: please report it with the table"),
      );
  }
  if (left > 0) lines.push(`${count(left, "round")} of choices had no time: give a larger --budget`);
  process.stdout.write(`${harmless(lines.join("\n"))}\n`);
}
