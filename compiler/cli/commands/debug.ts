// `mdl debug`: one call of an entry or training step, looked into. In: a source, an entry, inputs (drawn where none are given).
// Out: what print was handed, a table of all values by name and line, forward and gradients, asserts that do not hold, and
// where NaN or infinity first came from. `mdl run --watch NAME` is the same for the values that are named.

import { runAgainQuietly } from "../../../runtime/node/index.ts";
import { blockEntry, debugging, renderAll } from "../../core/index.ts";
import { type CallFlags, entryNamed, openCall, openSource } from "../debug/call.ts";
import { explainBad } from "../debug/explain.ts";
import { observe, type Where } from "../debug/observe.ts";
import { broken, chosen, placesIn, printText, rowJson, rowsOf, tableText } from "../debug/show.ts";
import { readReplay } from "../debug/snapshot.ts";
import { EXIT, UsageError } from "../failure.ts";
import type { PictureOptions } from "../pictures/tensor.ts";
import { type Result, shapeText } from "../print-tensor.ts";
import { harmless, painterFor, styleFor } from "../style.ts";

export interface DebugFlags extends CallFlags, Where {
  readonly watch?: readonly string[];
  readonly json?: true;
  readonly replay?: string;
  readonly lr?: number;
  readonly totalSteps?: number;
}

/** The exit code: 1 where an assert does not hold, or something is NaN or infinite that should not be. */
export async function debugCommand(
  file: string,
  name: string | undefined,
  flags: DebugFlags,
  results?: (all: Readonly<Record<string, Result>>) => Promise<void>,
  pictures?: PictureOptions,
): Promise<number> {
  const source = openSource(file, flags, "debug");
  const entry = entryNamed(source, name, "debug");
  if (flags.replay !== undefined && (flags.input ?? flags.weights ?? flags.seed) !== undefined)
    throw new UsageError(
      "--replay holds the batch, the weights and the seed: no --input, --weights or --seed beside it",
    );
  if (flags.device !== "cpu") {
    const code = await runAgainQuietly();
    if (code !== undefined) return code;
  }
  const patterns = flags.watch ?? [];
  const wanted = (of: string): boolean =>
    patterns.length === 0 || patterns.some((p) => debugging.matches(p, of));
  const replay = flags.replay === undefined ? undefined : readReplay(source, entry, flags.replay);
  const opened = await openCall(source, entry, wanted, flags, pictures);
  const { model, debugged, plan, drawn } = opened;
  const call = replay ? replay.call : opened.call;
  const numbers = {
    step: replay?.step ?? flags.step ?? 0,
    totalSteps: flags.totalSteps ?? TOTAL_STEPS,
    ...(flags.lr === undefined ? {} : { hyper: { lr: flags.lr } }),
  };
  const isStep = model.trains.some((t) => blockEntry(t) === entry);
  const watched = chosen(debugged, patterns);
  const notes = [...debugged.prints, ...debugged.asserts];
  const { entry: kept, outputs } = debugging.keeping(debugged.entry, [
    ...watched.map((w) => w.value),
    ...notes.flatMap((s) => s.value ?? []),
  ]);
  const observed = await observe(source, model, kept, call, flags);
  const dataOf = ({
    value,
  }: {
    readonly value?: debugging.Watched["value"] | undefined;
  }): Result | undefined => value && observed.results[outputs.get(value) as string];
  const place = placesIn(source.sources, source.file);
  const rows = rowsOf(watched, (w) => dataOf(w) as Result, place);
  const failed = broken(debugged.asserts, dataOf);
  const own = Object.fromEntries(debugged.entry.outputs.map((p) => [p.name, observed.results[p.name]]));
  const isBad =
    Object.values(own).some(bad) || rows.some((r) => r.kind === "gradient" && r.stats.nan + r.stats.inf > 0);
  // A step may be bad in its update alone.
  const asked = replay !== undefined || isBad || (isStep && patterns.length === 0);
  const found = asked ? await explainBad(source, model, entry, call, flags, numbers) : undefined;
  const problems = [...failed, ...(found ? [found] : [])];
  const style = styleFor(process.stdout);
  if (flags.json) {
    const say = ({ code, message, primary, notes }: (typeof problems)[number]): object => ({
      code,
      message,
      place: place(primary.span),
      notes,
    });
    const json = {
      model: model.name,
      entry,
      by: observed.by,
      values: rows.map(rowJson),
      problems: problems.map(say),
    };
    process.stdout.write(`${JSON.stringify(json, null, 2)}\n`);
    return problems.length ? EXIT.input : EXIT.done;
  }
  const prints = printText(debugged.prints, dataOf, place, source.sources, style);
  if (prints) process.stdout.write(`${harmless(prints)}\n\n`);
  if (results) await results(own);
  const shown = plan.inputs.map((p) => {
    const value = call.inputs[p.name];
    return "shape" in value ? `${p.name} ${shapeText({ dtype: p.dtype, shape: value.shape })}` : p.name;
  });
  const about = [
    `by ${observed.by === "reference" ? "the reference evaluator" : observed.by}`,
    ...(drawn && !replay ? [`${shown.join(", ")} drawn`] : []),
    ...(flags.weights === undefined && !replay
      ? [`parameters as they are initialised (seed ${flags.seed ?? 0})`]
      : []),
  ];
  process.stdout.write(`${style.bold(`${model.name} ${entry}`)} ${style.dim(about.join("; "))}\n`);
  if (rows.length > 0) process.stdout.write(`${harmless(tableText(rows, style))}\n`);
  if (problems.length > 0)
    process.stderr.write(`\n${renderAll(problems, source.sources, painterFor(process.stderr))}`);
  else if (replay)
    process.stdout.write(
      `\nthe step is good when it is made again: nothing in it is NaN or infinite (steps trained between it and the snapshot may be why)\n`,
    );
  return problems.length > 0 ? EXIT.input : EXIT.done;
}

/** What a schedule is told where nobody says. */
const TOTAL_STEPS = 1000;

const bad = ({ data }: Result): boolean => {
  const list = data as ArrayLike<number>;
  for (let i = 0; i < list.length; i++) if (!Number.isFinite(list[i])) return true;
  return false;
};
