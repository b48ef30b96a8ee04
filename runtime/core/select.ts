// What of a program is made ready. In: a program and the entries that are wanted. Out: the program with these entries, and
// the kernels and derived weights they need.
import { didYouMean, InputError } from "./errors.ts";
import type { Block, Program } from "./program.ts";
import { trainStepOf } from "./train.ts";

export function selectEntries(program: Program, names: readonly string[] | undefined): Program {
  if (!names) return program;
  const { entries } = program;
  const wanted = names.map((name) => {
    const entry =
      entries.find((e) => e.name === name) ?? (name === "train_step" ? trainStepOf(entries) : undefined);
    if (entry) return entry;
    const known = entries.map((e) => e.name);
    throw new InputError("unknown-entry", `there is no entry ${name}${didYouMean(name, known)}`);
  });
  return { ...program, entries: entries.filter((e) => wanted.includes(e)) };
}

/** Derived weights that the program's entries read, those they are made of first. */
export function neededUnits({ entries, derived }: Program): number[] {
  const needed = new Set<number>();
  const visit = (i: number): void => {
    if (needed.has(i)) return;
    derived[i].derived.forEach(visit);
    needed.add(i);
  };
  for (const entry of entries) entry.derived.forEach(visit);
  return [...needed];
}

/** Features that the program's entries need beside what it requires. */
export const neededFeatures = (program: Program): string[] => [
  ...new Set([...neededKernels(program).keys()].flatMap((i) => program.kernels[i].features ?? [])),
];

/** The program without the entries that need a feature which is not there. */
export function runnable(program: Program, has: (feature: string) => boolean): Program {
  const entries = program.entries.filter((e) => neededFeatures({ ...program, entries: [e] }).every(has));
  return { ...program, entries };
}

/** Kernels that the program's entries and their derived weights dispatch, and whether a loop does. */
export function neededKernels(program: Program): Map<number, boolean> {
  const needed = new Map<number, boolean>();
  const visit = (block: Block, looped: boolean): void => {
    for (const step of block.steps) {
      if (step.kind === "dispatch") needed.set(step.kernel, looped || (needed.get(step.kernel) ?? false));
      if (step.kind === "loop") visit(step.body, true);
    }
  };
  for (const entry of program.entries) visit(entry.body, false);
  for (const i of neededUnits(program)) visit(program.derived[i].body, false);
  return needed;
}
