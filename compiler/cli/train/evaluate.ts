// How good a net is on data: entries that give one number, averaged over records. In: a loaded net, a Dataset, entries. Out: metrics
// by name (a batch counts as many times as it has records), and a confusion matrix where it is asked for.
import type { NetBase } from "../../../runtime/core/api.ts";
import type { EntryPlan } from "../../../runtime/core/program.ts";
import type { Tensor } from "../../../runtime/core/tensor.ts";
import { forEvaluation, type Transform } from "../../../runtime/data/augment.ts";
import type { Batch } from "../../../runtime/data/batches.ts";
import type { Dataset } from "../../../runtime/data/dataset.ts";
import { Loader } from "../../../runtime/data/node/loader.ts";
import type { Compiled } from "../../core/index.ts";
import { InputFailure } from "../failure.ts";
import { callsOf } from "../runnable.ts";
import { table } from "../style.ts";
import type { Matched } from "./match.ts";

export type Metrics = Readonly<Record<string, number>>;

/** An entry that scores classes, and what its result is called. */
export interface Scorer {
  readonly entry: EntryPlan;
  /** The column that has the class. */
  readonly labels: string;
}

/** Entries that give one float and take nothing but these inputs (anything, without them). */
export function scalarEntries(model: Compiled["model"], inputs?: readonly string[]): string[] {
  return model.entries
    .filter(
      ({ outputs, inputs: own }) =>
        outputs.length === 1 &&
        outputs[0].type.dtype === "f32" &&
        outputs[0].type.shape.length === 0 &&
        own.some((p) => p.type.shape.length > 0) &&
        (inputs === undefined || own.every((p) => inputs.includes(p.name))),
    )
    .map((e) => e.name);
}

/** The entry whose result is scores of classes: `logits`, `predict`, or the first that could be. */
export function scoringEntry(model: Compiled["model"]): string | undefined {
  const could = model.entries.filter(
    ({ outputs }) =>
      outputs.length === 1 && outputs[0].type.dtype === "f32" && outputs[0].type.shape.length === 2,
  );
  const named = ["logits", "predict"].flatMap((name) => could.find((e) => e.name === name) ?? []);
  return (named[0] ?? could[0])?.name;
}

export interface EvaluateOptions {
  readonly batch: number;
  /** Of the training; what evaluation has of them is done. */
  readonly transforms: readonly Transform[];
  readonly matched: Matched;
  readonly scorer?: Scorer;
}

/** Calls that are under way at once. */
const AHEAD = 4;

/** What an entry takes of a batch. */
export const inputsOf = (entry: EntryPlan, batch: Batch): Batch =>
  Object.fromEntries(entry.inputs.map((p) => [p.name, batch[p.name]]));

type Call = (inputs: Batch) => Promise<Record<string, Tensor>>;

export async function evaluate(
  net: NetBase,
  entries: readonly EntryPlan[],
  data: Dataset,
  { batch, transforms, matched, scorer }: EvaluateOptions,
): Promise<{ readonly metrics: Metrics; readonly confusion?: number[][] }> {
  if (data.size === 0) throw new InputFailure(`${data.name} has no records to evaluate on`);
  const loader = new Loader(data, {
    batch,
    shuffle: false,
    inputs: matched,
    augment: forEvaluation(transforms),
  });
  const calls = callsOf<Call>(net);
  const sums = new Map(entries.map((e) => [e.name, 0]));
  let confusion: number[][] | undefined;
  let at = 0;
  const one = async (inputs: Batch, from: number, count: number): Promise<void> => {
    await Promise.all([
      ...entries.map(async (entry) => {
        const result = await calls[entry.name](inputsOf(entry, inputs));
        const value = result[entry.outputs[0].name].item();
        sums.set(entry.name, (sums.get(entry.name) as number) + value * count);
      }),
      ...(scorer ? [score(inputs, from, count, scorer)] : []),
    ]);
  };
  const score = async (
    inputs: Batch,
    from: number,
    count: number,
    { entry, labels }: Scorer,
  ): Promise<void> => {
    const result = await calls[entry.name](inputsOf(entry, inputs));
    const { data: scores, shape } = result[entry.outputs[0].name];
    const classes = shape[1];
    confusion ??= Array.from({ length: classes }, () => new Array<number>(classes).fill(0));
    const label = new Int32Array(1);
    for (let i = 0; i < count; i++) {
      let most = 0;
      for (let c = 1; c < classes; c++) if (scores[i * classes + c] > scores[i * classes + most]) most = c;
      data.columns[labels].read(from + i, label, 0);
      if (label[0] >= 0 && label[0] < classes) confusion[label[0]][most]++;
    }
  };
  const open: Promise<void>[] = [];
  for await (const inputs of loader.epoch(0)) {
    const count = Math.min(batch, data.size - at);
    const work = one(inputs, at, count);
    work.catch(() => undefined); // told when it is awaited
    open.push(work);
    at += count;
    if (open.length >= AHEAD) await open.shift();
  }
  await Promise.all(open);
  return {
    metrics: Object.fromEntries([...sums].map(([name, sum]) => [name, sum / at])),
    confusion,
  };
}

/** Rows are what a record is, columns what it was taken for. */
export function confusionText(matrix: readonly (readonly number[])[], classes?: readonly string[]): string {
  const name = (i: number): string => classes?.[i] ?? String(i);
  const head = ["", ...matrix.map((_, i) => name(i)), "right"];
  const rows = matrix.map((row, i) => {
    const total = row.reduce((a, b) => a + b, 0);
    const right = total === 0 ? "" : `${((100 * row[i]) / total).toFixed(1)} %`;
    return [name(i), ...row.map((n) => (n === 0 ? "." : String(n))), right];
  });
  return table(
    [head, ...rows],
    head.map((_, i) => i).filter((i) => i > 0),
  );
}
