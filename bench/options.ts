// The command line. In: arguments. Out: options, or a message for whoever mistyped.
import { parseArgs } from "node:util";

export interface BenchOptions {
  /** What is measured: calls, compiling, or modules' bytes; or estimated: calls on GPUs that are not here. */
  readonly what: "calls" | "compile" | "sizes" | "estimate";
  /** Names of what is measured. */
  readonly only: readonly string[];
  readonly systems: readonly string[];
  readonly json?: string;
  /** Cold starts of each; compilations. */
  readonly starts: number;
  /** How often the systems of a workload take turns. */
  readonly rounds: number;
  /** Of sampling, in a round. */
  readonly seconds: number;
  readonly atLeast: number;
  /** To estimate for. */
  readonly chips: readonly string[];
  /** Models of the user's, to estimate. */
  readonly files: readonly string[];
  /** Of those: what stands for a name in their shapes. */
  readonly sizes: Readonly<Record<string, number>>;
  /** A line for every kernel. */
  readonly kernels: boolean;
}

export const HELP = `npm run bench -- [--compile | --sizes] [--only NAME,…] [--systems SYSTEM,…] [--quick] [--json FILE]
npm run bench -- --estimate CHIP,… [--only NAME,…] [--kernels] [--json FILE] [FILE.mdl … [--size N=32]]

Times what the compiler makes, after its results were checked, and prints a table.

  --compile   times the compiler itself instead: seconds and memory of large models, each in a process of its own
  --sizes     bytes of modules instead: gzipped, as they are and minified
  --estimate  what calls would take on GPUs that are not here, by machine code for them and a model of their units
              (bench/estimate): navi21, navi31, a6000, rtx4090, h100 and more
  --kernels   every kernel of it: registers, spills, workgroup memory, occupancy, bounds
  --size      what stands for a name in the shapes of FILE.mdl (32)
  --only      of a_matmul1024, b_conv64_56, c_convnet28, d_resnet18, g_train; or of the rows of the other tables
  --systems   of mdl, hand (kernels written by hand, as a yardstick)
  --quick     one start and little sampling, one compilation each: to see that it works, not for figures
  --json      writes the rows to a file, too

Example: npm run bench -- --only d_resnet18 --json bench.json`;

export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The options; undefined where help was asked for. */
export function parseOptions(
  args: readonly string[],
  known: Readonly<Record<BenchOptions["what"] | "systems" | "chips", readonly string[]>>,
): BenchOptions | undefined {
  const { values, positionals } = parse(args);
  if (values.help) return undefined;
  const pick = (option: string, given: string | undefined, all: readonly string[]): readonly string[] => {
    if (given === undefined) return all;
    const names = given.split(",").filter(Boolean);
    const wrong = names.find((name) => !all.includes(name));
    if (wrong !== undefined)
      throw new UsageError(`--${option}: there is no ${wrong}; there are ${all.join(", ")}`);
    if (names.length === 0) throw new UsageError(`--${option} names nothing; there are ${all.join(", ")}`);
    return all.filter((name) => names.includes(name));
  };
  const extent = values.quick
    ? { starts: 1, rounds: 1, seconds: 0.3, atLeast: 3 }
    : { starts: 3, rounds: 5, seconds: 1.5, atLeast: 5 };
  const tables = (["compile", "sizes", "estimate"] as const).filter((name) => values[name] !== undefined);
  if (tables.length > 1) throw new UsageError(`--${tables.join(" and --")} are two tables: one at a time`);
  const [what = "calls"] = tables;
  if (what !== "estimate" && positionals.length > 0) throw new UsageError(`what is ${positionals[0]} for?`);
  // Files that are named are what is wanted, then.
  const only =
    positionals.length > 0 && values.only === undefined ? [] : pick("only", values.only, known[what]);
  return {
    what,
    only,
    systems: pick("systems", values.systems, known.systems),
    json: values.json,
    ...extent,
    chips: values.estimate === undefined ? [] : pick("estimate", values.estimate, known.chips),
    files: positionals,
    sizes: Object.fromEntries((values.size ?? []).map(sizeFrom)),
    kernels: values.kernels ?? false,
  };
}

function sizeFrom(text: string): [string, number] {
  const [, name, value] = /^(\w+)=(\d+)$/.exec(text) ?? [];
  if (name === undefined) throw new UsageError(`--size ${text} is not NAME=NUMBER`);
  return [name, Number(value)];
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        compile: { type: "boolean" },
        sizes: { type: "boolean" },
        estimate: { type: "string" },
        kernels: { type: "boolean" },
        size: { type: "string", multiple: true },
        only: { type: "string" },
        systems: { type: "string" },
        json: { type: "string" },
        quick: { type: "boolean" },
        help: { type: "boolean", short: "h" },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}
