// Tables of `mdl tune`: for a class of adapters, which choices are the best. In: JSON files. Out: targets with those tables, or an
// error that says what is wrong with a file.
import {
  lacksHalf,
  namedTargets,
  type Precision,
  type Target,
  type Tuning,
  type TuningRow,
  targets,
  withPrecision,
} from "../../core/index.ts";
import { InputFailure, UsageError } from "../failure.ts";
import { readText } from "../files.ts";

/** One line: what was chosen, and what it took beside what is taken without the table. */
export interface Row extends TuningRow {
  readonly microseconds: number;
  readonly before: number;
}
/** What one run of `mdl tune` found out. */
export interface Table {
  readonly version: 1;
  /** Of the compiler's: what was tuned. */
  readonly target: string;
  /** Vendor and architecture, as WebGPU tells them. */
  readonly adapter: string;
  /** How it was made, for people. */
  readonly made: { readonly by: string; readonly on: string; readonly date: string; readonly of: string };
  readonly rows: readonly Row[];
}

/** Programs for one target in a module, with the one without a table. */
const MOST = 3;

export function readTable(path: string): Table {
  let table: Partial<Table>;
  try {
    table = JSON.parse(readText(path));
  } catch (error) {
    if (error instanceof InputFailure) throw error;
    throw new InputFailure(`${path} is no JSON: ${(error as Error).message}`);
  }
  const no = (what: string): InputFailure =>
    new InputFailure(`${path} is no table that mdl tune wrote: ${what}`);
  if (typeof table !== "object" || table === null || Array.isArray(table)) throw no("expected an object");
  if (table.version !== 1) throw no(`its version is ${table.version}, this mdl reads 1`);
  if (!targets.some((t) => t.name === table.target))
    throw no(`there is no target ${table.target}; targets are ${targets.map((t) => t.name).join(", ")}`);
  if (typeof table.adapter !== "string") throw no("it names no adapter");
  if (!Array.isArray(table.rows) || !table.rows.every(isRow))
    throw no("its rows are not what they should be");
  return table as Table;
}
function isRow(row: unknown): row is Row {
  if (typeof row !== "object" || row === null) return false;
  const { region, family, version, choice } = row as Partial<Record<keyof Row, unknown>>;
  return (
    typeof region === "string" &&
    typeof family === "string" &&
    typeof version === "number" &&
    typeof choice === "object" &&
    choice !== null &&
    Object.values(choice).every((n) => typeof n === "number" || typeof n === "string")
  );
}

/** The target as it is on the adapters of a table. */
export function tunedTarget(table: Table): Target {
  const base = targets.find((t) => t.name === table.target) as Target;
  const tuning: Tuning = table.rows.map(({ region, family, version, choice }) => ({
    region,
    family,
    version,
    choice,
  }));
  return {
    ...base,
    name: `${base.name}-${table.adapter.replace(/[^\w.]+/g, "-").toLowerCase()}`,
    requires: { ...base.requires, adapters: [table.adapter] },
    tuning,
  };
}

/**
 * The targets to compile for: those that were asked for (all of them by default), tuned ones before the one they vary, and
 * each with f16 before the same without.
 */
export function targetsWith(
  paths: readonly string[],
  asked: readonly string[] | undefined,
  precision?: Precision,
): readonly (string | Target)[] | undefined {
  if (paths.length === 0 && !precision) return asked;
  const wanted = asked ?? targets.map((t) => t.name);
  const tuned: Target[] = [];
  for (const path of paths) {
    const table = readTable(path);
    if (!wanted.includes(table.target)) {
      throw new UsageError(
        `${path} is for the target ${table.target}, and --target asks for ${wanted.join(", ")}`,
      );
    }
    const target = tunedTarget(table);
    if (tuned.some((t) => t.name === target.name))
      throw new UsageError(`two tables are for ${table.target} on ${table.adapter}: give one of them`);
    tuned.push(target);
    const many = tuned.filter((t) => t.name.startsWith(`${table.target}-`)).length;
    if (many >= MOST) {
      throw new UsageError(
        `${many} tables are for ${table.target}: a module holds ${MOST - 1} tuned programs beside the one for all adapters, at most`,
      );
    }
  }
  // A name that is none is refused by the compiler, with those that are.
  const known = namedTargets.filter((t) => wanted.includes(t.name));
  const narrow = precision ? [...tuned, ...known].map((t) => withPrecision(t, precision)) : [];
  // What is for f16 alone has no program beside it without.
  const plain = wanted.filter(
    (name) => precision === undefined || !known.some((t) => t.name === name && lacksHalf(t)),
  );
  return [...narrow, ...tuned, ...plain];
}
