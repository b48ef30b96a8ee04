// The command line. In: arguments. Out: options, or a message for whoever mistyped.
import { parseArgs } from "node:util";

export interface BenchOptions {
  /** What is measured: calls, compiling, or modules' bytes. */
  readonly what: "calls" | "compile" | "sizes";
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
}

export const HELP = `npm run bench -- [--compile | --sizes] [--only NAME,…] [--systems SYSTEM,…] [--quick] [--json FILE]

Times what the compiler makes, after its results were checked, and prints a table.

  --compile   times the compiler itself instead: seconds and memory of large models, each in a process of its own
  --sizes     bytes of modules instead: gzipped, as they are and minified
  --only      of a_matmul1024, b_conv64_56, c_convnet28, d_resnet18, g_train; or of the rows of the other two tables
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
  known: Readonly<Record<BenchOptions["what"] | "systems", readonly string[]>>,
): BenchOptions | undefined {
  const { values } = parse(args);
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
  if (values.compile && values.sizes)
    throw new UsageError("--compile and --sizes are two tables: one at a time");
  const what = values.compile ? "compile" : values.sizes ? "sizes" : "calls";
  return {
    what,
    only: pick("only", values.only, known[what]),
    systems: pick("systems", values.systems, known.systems),
    json: values.json,
    ...extent,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        compile: { type: "boolean" },
        sizes: { type: "boolean" },
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
