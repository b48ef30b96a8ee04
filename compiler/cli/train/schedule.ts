// The learning rate of each step as `mdl train` has it. In: a training step's entry, `--lr` and `--schedule`. Out: its value by
// step. A schedule on the command line is the language's own, compiled: whatever a train block can say, and defined once.

import type { EntryPlan, HostExpr } from "../../../runtime/core/program.ts";
import { evaluateHost } from "../../../runtime/core/train.ts";
import { compile, MdlError } from "../../core/index.ts";
import { UsageError } from "../failure.ts";

/** Numbers of the caller's that schedules ask for, as `plateaus`. */
export type Given = Readonly<Record<string, number>>;

export interface Rates {
  /** Of a step; undefined where the block has none by the name of lr. */
  readonly at: (step: number, given: Given) => number | undefined;
  /** What a step is given: a rate in place of its own schedule's, and what its schedules ask for. */
  readonly override: (step: number, given: Given) => Given;
}

export interface RateOptions {
  readonly totalSteps: number;
  readonly lr: number | undefined;
  readonly schedule: string | undefined;
  /** Calls that are one update, which schedules count. */
  readonly accumulate: number | undefined;
}

export function ratesOf(entry: EntryPlan, options: RateOptions): Rates {
  const { totalSteps, lr, schedule, accumulate } = options;
  const own = entry.implicit.find((i) => i.name === "lr")?.value;
  const asked = entry.implicit.flatMap(({ name, value }) =>
    typeof value === "number" && name !== "lr" ? [name] : [],
  );
  const known = (given: Given): Given =>
    Object.fromEntries(Object.entries(given).filter(([name]) => asked.includes(name)));
  if (own === undefined) {
    if (lr !== undefined || schedule !== undefined)
      throw new UsageError(
        `${entry.name} has no lr of its own to replace: ${schedule === undefined ? "--lr" : "--schedule"} does nothing here`,
      );
    return { at: () => undefined, override: (_step, given) => known(given) };
  }
  const value = (expr: HostExpr, step: number, given: Given): number =>
    evaluateHost(expr, { step, total_steps: totalSteps, plateaus: 0, ...given });
  const peak = peakOf(totalSteps, (step) => value(own, step, {}));
  const made = (at: (step: number, given: Given) => number): Rates => ({
    at,
    override: (step, given) => ({ ...known(given), lr: at(step, given) }),
  });
  if (schedule !== undefined) {
    const expr = compileSchedule(schedule, lr ?? peak, accumulate);
    return made((step, given) => value(expr, step, given));
  }
  // The block's schedule keeps its shape: what was its largest rate is this one.
  if (lr !== undefined)
    return made((step, given) => (peak === 0 ? lr : (lr * value(own, step, given)) / peak));
  return { at: (step, given) => value(own, step, given), override: (_step, given) => known(given) };
}

function peakOf(totalSteps: number, at: (step: number) => number): number {
  let peak = 0;
  const every = Math.max(1, Math.floor(totalSteps / 4096));
  for (let step = 0; step < totalSteps; step += every) peak = Math.max(peak, at(step));
  return peak;
}

/** `one_cycle` of this rate, or a whole call: `one_cycle(3e-3, pct = 0.2)`. */
function compileSchedule(text: string, lr: number, accumulate: number | undefined): HostExpr {
  const call = /^\s*\w+\s*$/.test(text) ? `${text}(${lr})` : text;
  const source = `model Schedule {
  param w: f32[1] = zeros()
  fn loss() -> f32 { sum(w) }
}
train fit for Schedule {
  minimize loss
  with sgd(lr = ${call})
  ${accumulate === undefined ? "" : `accumulate ${accumulate}`}
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
