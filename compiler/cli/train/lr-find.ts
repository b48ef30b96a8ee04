// `--lr-find`: losses of steps whose rate grows from one to the next (Smith, 2017), so that a rate can be chosen by eye. In: a net,
// data. Out: a curve, and where the loss falls steepest. The net is not kept.
import { writeFileSync } from "node:fs";
import type { NetBase, StepResult } from "../../../runtime/core/api.ts";
import { NonFiniteError } from "../../../runtime/core/errors.ts";
import type { EntryPlan } from "../../../runtime/core/program.ts";
import type { Transform } from "../../../runtime/data/augment.ts";
import type { Batch } from "../../../runtime/data/batches.ts";
import type { Dataset } from "../../../runtime/data/dataset.ts";
import { Loader } from "../../../runtime/data/node/loader.ts";
import { UsageError } from "../failure.ts";
import { callsOf } from "../runnable.ts";
import { styleFor } from "../style.ts";
import { chartSvg, curveText, short } from "./chart.ts";
import type { Matched } from "./match.ts";
import { ProgressLine } from "./progress.ts";

export interface FindOptions {
  readonly net: NetBase;
  readonly entry: EntryPlan;
  readonly train: Dataset;
  readonly matched: Matched;
  readonly transforms: readonly Transform[];
  readonly batch: number;
  readonly seed: bigint;
  readonly steps: number;
  readonly plot?: string;
}

const [LOW, HIGH] = [1e-7, 10];
/** A loss of so many times the least ends the search. */
const DIVERGED = 4;
/** Of the moving average. */
const KEEP = 0.9;

export async function findRate(options: FindOptions): Promise<void> {
  const { net, entry, train, matched, transforms, batch, seed, steps, plot } = options;
  if (!entry.implicit.some((i) => i.name === "lr" && i.value !== undefined))
    throw new UsageError(`${entry.name} has no lr to look for`);
  const loader = new Loader(train, { batch, seed, inputs: matched, augment: transforms });
  const step = callsOf<(inputs: Batch, options: object) => Promise<StepResult>>(net)[entry.name];
  const line = new ProgressLine();
  const points: { readonly x: number; readonly y: number }[] = [];
  let average = 0;
  let least = Number.POSITIVE_INFINITY;
  search: for (let epoch = 0; ; epoch++) {
    for await (const inputs of loader.epoch(epoch)) {
      const done = points.length;
      if (done === steps) break search;
      const lr = LOW * (HIGH / LOW) ** (done / Math.max(1, steps - 1));
      const loss = await lossOf(await step(inputs, { lr }));
      if (loss === undefined) break search;
      average = KEEP * average + (1 - KEEP) * loss;
      const smooth = average / (1 - KEEP ** (done + 1));
      points.push({ x: lr, y: smooth });
      least = Math.min(least, smooth);
      line.show({ label: "lr", done: done + 1, total: steps, figures: { lr, loss: smooth } });
      if (done > 10 && smooth > DIVERGED * least) break search;
    }
  }
  line.clear();
  report(points, plot);
}

/** undefined: it was infinite or no number. */
async function lossOf(step: StepResult): Promise<number | undefined> {
  try {
    return await step.loss;
  } catch (error) {
    if (error instanceof NonFiniteError) return undefined;
    throw error;
  }
}

function report(
  points: readonly { readonly x: number; readonly y: number }[],
  plot: string | undefined,
): void {
  const { dim, cyan, bold } = styleFor(process.stdout);
  const losses = points.map((p) => p.y);
  process.stdout.write(`\n${cyan(curveText(losses, dim))}\n`);
  const [first, last] = [points[0], points.at(-1)];
  if (first && last)
    process.stdout.write(
      `  ${dim(`loss over lr, ${first.x.toExponential(0)} to ${last.x.toExponential(0)}`)}\n`,
    );
  // The steepest fall by the logarithm of the rate.
  let steepest: { readonly lr: number; readonly loss: number; readonly slope: number } | undefined;
  for (let i = 1; i + 1 < points.length; i++) {
    const slope = points[i + 1].y - points[i - 1].y;
    if (!steepest || slope < steepest.slope) steepest = { lr: points[i].x, loss: points[i].y, slope };
  }
  if (steepest && steepest.slope < 0)
    process.stdout.write(
      `the loss falls steepest at lr ${bold(steepest.lr.toExponential(1))} (now ${short(steepest.loss)})\n`,
    );
  else process.stdout.write("the loss falls at none of these rates\n");
  if (plot !== undefined)
    writeFileSync(
      plot,
      chartSvg("loss over learning rate", [{ title: "loss", series: [{ name: "smoothed", points }] }], {
        x: "lr",
        log: true,
      }),
    );
}
