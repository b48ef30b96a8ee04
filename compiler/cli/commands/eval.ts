// `mdl eval`: how good weights are on data. In: a source, weights, data. Out: metrics by name: a line each, or JSON; a confusion
// matrix where it is asked for.
import type { EntryPlan } from "../../../runtime/core/program.ts";
import { runAgainQuietly } from "../../../runtime/node/index.ts";
import { type Device, gpuOf } from "../device.ts";
import { InputFailure } from "../failure.ts";
import { type ChoiceFlags, entryOf, parseSeed, refuseModule, SourceModel, targetHere } from "../runnable.ts";
import { count, harmless, styleFor, table } from "../style.ts";
import { short } from "../train/chart.ts";
import { confusionText, evaluate, scalarEntries, scoringEntry } from "../train/evaluate.ts";
import { checkLabels, columnsOf, type Matched, matchInputs } from "../train/match.ts";
import { openParts, transformsOf } from "../train/setup.ts";
import { byPath, loadWeights } from "../weights.ts";

export interface EvalFlags extends ChoiceFlags {
  readonly data: string;
  readonly val?: string;
  readonly weights: string;
  readonly map?: Readonly<Record<string, string>>;
  readonly batch: number;
  readonly seed: string;
  readonly normalize?: string;
  readonly entry?: readonly string[];
  readonly confusion?: boolean;
  readonly json?: boolean;
  readonly device: Device;
}

export async function evalCommand(file: string, flags: EvalFlags): Promise<number | undefined> {
  refuseModule(file, "eval");
  const code = await runAgainQuietly();
  if (code !== undefined) return code;
  const source = new SourceModel(file, flags);
  const { checked } = source;
  // What is held out, where something is; else all there is.
  const parts = openParts(flags.data, flags.val, parseSeed(flags.seed));
  const data = parts.val ?? parts.train;
  for (const name of flags.entry ?? []) source.pick(name);
  const names = flags.entry ?? scalarEntries(checked);
  if (names.length === 0)
    throw new InputFailure(
      `${checked.name} has no fn that gives one float, such as fn accuracy(x: f32[N, …], y: i32[N]) -> f32`,
    );
  const scores = flags.confusion ? scoringEntry(checked) : undefined;
  if (flags.confusion && scores === undefined)
    throw new InputFailure(
      `${checked.name} has no fn that scores classes, f32[N, classes], for a confusion matrix`,
    );
  const { artefact, load } = source.open(
    [...names, ...(scores ? [scores] : [])],
    flags.target ?? (await targetHere(flags.device)),
  );
  const weights = await loadWeights(artefact, flags.weights);
  const entries: EntryPlan[] = [];
  let matched: Matched = {};
  let refusal: unknown;
  for (const name of names) {
    try {
      const entry = entryOf(artefact, name);
      matched = { ...matched, ...matchInputs(entry, data, flags.map) };
      entries.push(entry);
    } catch (error) {
      // Of several, those count that the data has the inputs of.
      if (!(error instanceof InputFailure) || flags.entry) throw error;
      refusal = error;
    }
  }
  if (entries.length === 0) throw refusal;
  for (const entry of entries) checkLabels(entry, data, matched);
  const labels = [...columnsOf(matched)].find(
    (column) => data.columns[column].dtype === "i32" && data.columns[column].shape.length === 0,
  );
  if (scores !== undefined && labels === undefined)
    throw new InputFailure(`${data.name} has no column of classes for a confusion matrix`);
  const net = await load({
    gpu: await gpuOf(flags.device),
    target: flags.target,
    weights: byPath(weights),
    seed: 0,
  });
  const { metrics, confusion } = await evaluate(net, entries, data, {
    batch: flags.batch,
    transforms: transformsOf(undefined, flags.normalize),
    matched,
    scorer: scores !== undefined && labels ? { entry: entryOf(artefact, scores), labels } : undefined,
  }).finally(() => net.close());
  if (flags.json) {
    process.stdout.write(`${JSON.stringify(confusion ? { ...metrics, confusion } : metrics)}\n`);
    return undefined;
  }
  const { bold } = styleFor(process.stdout);
  process.stdout.write(`${bold(checked.name)} on ${count(data.size, "record")} of ${harmless(data.name)}\n`);
  const rows = Object.entries(metrics).map(([name, value]) => [name, short(value)]);
  process.stdout.write(`${table(rows, [1])}\n`);
  if (confusion)
    process.stdout.write(
      `\nrows: what it is; columns: what it was taken for\n${confusionText(confusion, data.classes)}\n`,
    );
  return undefined;
}
