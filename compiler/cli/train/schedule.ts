// The learning rate of each step as `mdl train` has it. In: a training step's entry, `--lr` and `--schedule`. Out: its value by
// step. A schedule on the command line is the language's own, compiled: whatever a train block can say, and defined once.

import type { EntryPlan, HostExpr } from "../../../runtime/core/program.ts";
import { evaluateHost } from "../../../runtime/core/train.ts";
import { compile, MdlError } from "../../core/index.ts";
import { UsageError } from "../failure.ts";

export interface Rates {
  /** Of a step; undefined where the block has none by the name of lr. */
  readonly at: (step: number) => number | undefined;
  /** What a step is given in place of its own schedule. */
  readonly override: (step: number) => { readonly lr: number } | undefined;
}

export function ratesOf(
  entry: EntryPlan,
  totalSteps: number,
  lr: number | undefined,
  schedule: string | undefined,
): Rates {
  const own = entry.implicit.find((i) => i.name === "lr")?.value;
  if (own === undefined) {
    if (lr !== undefined || schedule !== undefined)
      throw new UsageError(
        `${entry.name} has no lr of its own to replace: ${schedule === undefined ? "--lr" : "--schedule"} does nothing here`,
      );
    return { at: () => undefined, override: () => undefined };
  }
  const value = (expr: HostExpr, step: number): number =>
    evaluateHost(expr, { step, total_steps: totalSteps });
  if (schedule !== undefined) {
    const expr = compileSchedule(schedule, lr ?? peakOf(own, totalSteps, value));
    return made((step) => value(expr, step));
  }
  if (lr !== undefined) {
    // The block's schedule keeps its shape: what was its largest rate is this one.
    const peak = peakOf(own, totalSteps, value);
    return made((step) => (peak === 0 ? lr : (lr * value(own, step)) / peak));
  }
  return { at: (step) => value(own, step), override: () => undefined };
}

const made = (at: (step: number) => number): Rates => ({ at, override: (step) => ({ lr: at(step) }) });

function peakOf(expr: HostExpr, totalSteps: number, value: (expr: HostExpr, step: number) => number): number {
  if (typeof expr === "number") return expr;
  let peak = 0;
  const every = Math.max(1, Math.floor(totalSteps / 4096));
  for (let step = 0; step < totalSteps; step += every) peak = Math.max(peak, value(expr, step));
  return peak;
}

/** `one_cycle` of this rate, or a whole call: `one_cycle(3e-3, pct = 0.2)`. */
function compileSchedule(text: string, lr: number): HostExpr {
  const call = /^\s*\w+\s*$/.test(text) ? `${text}(${lr})` : text;
  const source = `model Schedule {
  param w: f32[1] = zeros()
  fn loss() -> f32 { sum(w) }
}
train fit for Schedule {
  minimize loss
  with sgd(lr = ${call})
}
`;
  try {
    const { artefact } = compile(source, "--schedule", { entries: ["fit_step"] });
    const step = artefact.programs[0].entries.find((e) => e.train);
    return step?.implicit.find((i) => i.name === "lr")?.value as HostExpr;
  } catch (error) {
    if (!(error instanceof MdlError)) throw error;
    throw new UsageError(
      `--schedule ${text}: ${error.diagnostics[0]?.message ?? "it is no schedule"}; mdl ops lists schedules`,
    );
  }
}
