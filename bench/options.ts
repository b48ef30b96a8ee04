// The command line. In: arguments. Out: options, or a message for whoever mistyped.
import { parseArgs } from "node:util";
import { STORAGES, type StorageName } from "../compiler/core/index.ts";

/** What can be measured, by the option that asks for it; `calls` is measured where none is given. */
export const KINDS = ["calls", "curves", "compile", "sizes", "estimate", "figures"] as const;
export type Kind = (typeof KINDS)[number];

export interface BenchOptions {
  /** What is measured, in this order. */
  readonly what: readonly Kind[];
  /** Names of what is measured, of each kind. */
  readonly only: Readonly<Record<Kind, readonly string[]>>;
  readonly systems: readonly string[];
  readonly json?: string;
  /** The name of a page of results to write. */
  readonly results?: string;
  /** A revision to hold this tree's compiler against. */
  readonly compare?: string;
  /** A model of the user's, in place of the workloads. */
  readonly user?: {
    readonly file: string;
    readonly entry?: string;
    readonly model?: string;
    readonly set: Readonly<Record<string, number | boolean | string>>;
    readonly sizes: Readonly<Record<string, number>>;
  };
  /** Cold starts of each at most; compilations. */
  readonly starts: number;
  /** How often the systems of a workload take turns. */
  readonly rounds: number;
  /** Of sampling, in a round. */
  readonly seconds: number;
  readonly atLeast: number;
  /** The systems of a workload are opened at once. */
  readonly together: boolean;
  /** After so many seconds no further peer is started. */
  readonly budget?: number;
  /** To estimate for. */
  readonly chips: readonly string[];
  /** Models of the user's, to estimate. */
  readonly files: readonly string[];
  /** Of those: what stands for a name in their shapes. */
  readonly sizes: Readonly<Record<string, number>>;
  /** How their large weights are stored; as they are declared without. */
  readonly storage?: StorageName;
  /** A line for every kernel. */
  readonly kernels: boolean;
  /** A tuning table: to estimate with, and to make. */
  readonly tuning?: string;
  readonly tune?: string;
  /** Which kernels of the examples keep registers in memory, in place of calls. */
  readonly spills: boolean;
  /** Of those, on all chips but one, kernels that take more registers on that one. */
  readonly above?: number;
}

export const HELP = `npm run bench -- [--only NAME,…] [--systems SYSTEM,…] [--quick] [--json FILE] [--results NAME]
npm run bench -- --estimate CHIP,… [--only NAME,…] [--kernels] [--json FILE] [FILE.mdl … [--size N=32] [--storage int8]]
npm run bench -- --estimate CHIP,… --spills [--above N] [--json FILE] [--results NAME]

Times what the compiler makes, and its peers on the same machine, after their results were checked; prints a table.

  --only a,b        of the workloads (a_matmul1024 … g_train, vgg16, gpt_token, …), or of the rows of other tables
  --systems a,b     of mdl, mdl-f16, ort-webgpu, ort-wasm, ort-cpu, tfjs-webgpu, tfjs-wasm, jax-webgpu, torch-cpu,
                    torch-cuda, torch-cuda-f16, hand
  --quick           the first seven workloads, one start and little sampling: under five minutes, to see that it works
  --starts N        cold starts of each at most (3); --rounds N turns of the systems of a workload (5); --seconds S
                    of sampling in a turn (1.5)
  --together        opens the systems of a workload at once: sooner on many cores, and without cold figures
  --json FILE       writes the rows to a file, too
  --results NAME    writes bench/results/NAME.md with charts and NAME.json
  --compare REV     times another revision's compiler beside this tree's, in place of peers
  --model FILE      times a model of yours, .mdl or .onnx, in place of the workloads:
      --entry E       this entry, or training step NAME_step, of an .mdl file (the first one)
      --mdl-model M   this model of the file; --set k=v an argument of it; may be repeated
      --size N=32     a size that the file leaves open; may be repeated

In place of calls, or with --full beside them:
  --curves          time against batch, sequence length and depth; compile time and memory against graph size
  --compile         the compiler itself: seconds and memory of large models, each in a process of its own
  --sizes           bytes of modules: gzipped, as they are and minified
  --full            all of these
  --figures         computes anew what must come out (bench/figures), with PyTorch
  --estimate CHIPS  what calls would take on GPUs that are not here, by machine code for them and a model of their units
                    (bench/estimate): navi21, navi31, a6000, rtx4090, h100 and more; of the first seven workloads and
                    larger ones, those of --only, or FILE.mdl with --size (32), or calls recorded in FILE.json; --results also
                    takes models and shapes that nothing was tuned for
      --kernels       every kernel of it: registers, spills, workgroup memory, occupancy, bounds
      --tune FILE     tries the choices of kernel families for one chip, and writes a table for mdl compile --tuning
      --tuning FILE   estimates with such a table
      --spills        in place of calls, which kernels of the examples keep registers in memory; of "all" chips, too
      --above N       all kernels on one chip, and on the others those that take more registers there: far sooner

Peers are installed into bench/node_modules when they are first asked for. PyTorch is a Python's: python3, or what
MDL_BENCH_PYTHON names.

Examples: npm run bench -- --only d_resnet18 --json bench.json
          npm run bench -- --compare HEAD~1 --only c_convnet28,g_train
          npm run bench -- --model my.mdl --size N=8 --systems mdl`;

export class UsageError extends Error {
  override readonly name = "UsageError";
}

export interface Known extends Readonly<Record<Kind, readonly string[]>> {
  readonly systems: readonly string[];
  readonly chips: readonly string[];
  /** Of calls, those that --quick takes. */
  readonly quick: readonly string[];
  /** Of estimates, those that are made where none is named. */
  readonly usual: readonly string[];
  /** Those that a page of results has. */
  readonly page: readonly string[];
}

/** Within five minutes, the peers' last first call and the compiler's own rows included. */
const QUICK = { starts: 1, rounds: 1, seconds: 0.3, atLeast: 3, budget: 210 };
const WHOLE = { starts: 3, rounds: 5, seconds: 1.5, atLeast: 5 };
/** Two that are nearly alike take turns more often. */
const COMPARED = { starts: 3, rounds: 15, seconds: 0.5, atLeast: 3 };
const COMPARED_QUICKLY = { starts: 1, rounds: 5, seconds: 0.2, atLeast: 3 };

/** The options; undefined where help was asked for. */
export function parseOptions(args: readonly string[], known: Known): BenchOptions | undefined {
  const { values, positionals } = parse(args);
  if (values.help) return undefined;
  const asked = KINDS.filter((kind) => kind !== "calls" && values[kind] !== undefined);
  if (asked.length > 1)
    throw new UsageError(`--${asked.join(" and --")} are two tables: one at a time, or --full`);
  if (values.full && asked.length > 0) throw new UsageError(`--full has --${asked[0]} in it`);
  const what: readonly Kind[] = values.full
    ? ["calls", "curves", "compile", "sizes"]
    : asked.length > 0
      ? asked
      : ["calls"];

  if (what[0] !== "estimate" && positionals.length > 0)
    throw new UsageError(`what is ${positionals[0]} for?`);

  const names = listOf("only", values.only, [...new Set(what.flatMap((kind) => known[kind]))]);
  const only = Object.fromEntries(
    KINDS.map((kind) => {
      // Files that are named are what is to be estimated, then.
      if (names === undefined && positionals.length > 0) return [kind, []];
      if (names === undefined && kind === "estimate")
        return [kind, values.results === undefined ? known.usual : known.page];
      const all = kind === "calls" && values.quick && names === undefined ? known.quick : known[kind];
      return [kind, all.filter((name) => names === undefined || names.includes(name))];
    }),
  ) as unknown as Record<Kind, readonly string[]>;
  const systems = listOf("systems", values.systems, known.systems);
  listOf("storage", values.storage, STORAGES);
  if (values.compare !== undefined && systems !== undefined)
    throw new UsageError("--compare times this tree and a revision; --systems is for peers");
  if (values.compare !== undefined && what.some((kind) => kind !== "calls" && kind !== "curves"))
    throw new UsageError("--compare times calls");
  if (values.model !== undefined && (names !== undefined || what[0] !== "calls" || what.length > 1))
    throw new UsageError("--model is timed in place of the workloads");
  if (values.model === undefined && (values.entry ?? values["mdl-model"] ?? values.set) !== undefined)
    throw new UsageError("--entry, --mdl-model and --set belong to --model FILE");
  if (values.results !== undefined && !/^[\w.-]+$/.test(values.results))
    throw new UsageError("--results takes a name: letters, digits, dots and dashes");

  const named = values.spills && values.estimate === "all" ? known.chips.join() : values.estimate;
  const chips = listOf("estimate", named, known.chips) ?? [];
  if (values.spills && chips.length === 0) throw new UsageError("--spills goes with --estimate");
  if (values.above !== undefined && !values.spills) throw new UsageError("--above goes with --spills");
  if ((values.tune ?? values.tuning) !== undefined && chips.length === 0)
    throw new UsageError("--tune and --tuning go with --estimate");
  if (values.tune !== undefined && (chips.length > 1 || values.tuning !== undefined))
    throw new UsageError("--tune makes a table for one chip, from nothing");
  const sizes = Object.fromEntries((values.size ?? []).map(sizeFrom));
  const user =
    values.model === undefined
      ? undefined
      : {
          file: values.model,
          entry: values.entry,
          model: values["mdl-model"],
          set: Object.fromEntries(
            (values.set ?? []).map((text) => pair("--set", text)).map(([k, v]) => [k, scalarOf(v)]),
          ),
          sizes,
        };
  return {
    what,
    only,
    systems: known.systems.filter((s) =>
      values.compare === undefined ? (systems?.includes(s) ?? true) : s === "mdl",
    ),
    json: values.json,
    results: values.results,
    compare: values.compare,
    user,
    ...extentOf(values.compare !== undefined, values.quick ?? false),
    together: values.together ?? false,
    ...amountOf("starts", values.starts, true),
    ...amountOf("rounds", values.rounds, true),
    ...amountOf("seconds", values.seconds, false),
    chips: [...new Set(chips)],
    files: positionals,
    sizes,
    storage: STORAGES.find((s) => s === values.storage),
    kernels: values.kernels ?? false,
    tuning: values.tuning,
    tune: values.tune,
    spills: values.spills ?? false,
    ...amountOf("above", values.above, true),
  };
}

const extentOf = (compared: boolean, quick: boolean): typeof WHOLE & { readonly budget?: number } => {
  if (compared) return quick ? COMPARED_QUICKLY : COMPARED;
  return quick ? QUICK : WHOLE;
};

/** What is given in place of the usual extent. */
function amountOf<Name extends string>(
  option: Name,
  text: string | undefined,
  whole: boolean,
): Partial<Record<Name, number>> {
  if (text === undefined) return {};
  const amount = Number(text);
  if (!(amount > 0 && amount < 1e6) || (whole && !Number.isInteger(amount)))
    throw new UsageError(`--${option} takes a ${whole ? "whole number" : "number"} above 0, given ${text}`);
  return { [option]: amount } as Record<Name, number>;
}

/** Names of an option, all of them known. */
function listOf(
  option: string,
  given: string | undefined,
  all: readonly string[],
): readonly string[] | undefined {
  if (given === undefined) return undefined;
  const names = given.split(",").filter(Boolean);
  const wrong = names.find((name) => !all.includes(name));
  if (wrong !== undefined)
    throw new UsageError(`--${option}: there is no ${wrong}; there are ${all.join(", ")}`);
  if (names.length === 0) throw new UsageError(`--${option} names nothing; there are ${all.join(", ")}`);
  return names;
}

function pair(option: string, text: string): [string, string] {
  const at = text.indexOf("=");
  if (at <= 0) throw new UsageError(`${option} takes name=value, given ${text}`);
  return [text.slice(0, at), text.slice(at + 1)];
}

const scalarOf = (text: string): number | boolean | string =>
  text === "true"
    ? true
    : text === "false"
      ? false
      : text !== "" && Number.isFinite(Number(text))
        ? Number(text)
        : text;

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
        curves: { type: "boolean" },
        compile: { type: "boolean" },
        sizes: { type: "boolean" },
        figures: { type: "boolean" },
        estimate: { type: "string" },
        kernels: { type: "boolean" },
        tuning: { type: "string" },
        tune: { type: "string" },
        spills: { type: "boolean" },
        above: { type: "string" },
        full: { type: "boolean" },
        only: { type: "string" },
        systems: { type: "string" },
        json: { type: "string" },
        results: { type: "string" },
        compare: { type: "string" },
        model: { type: "string" },
        entry: { type: "string" },
        "mdl-model": { type: "string" },
        set: { type: "string", multiple: true },
        size: { type: "string", multiple: true },
        storage: { type: "string" },
        quick: { type: "boolean" },
        together: { type: "boolean" },
        starts: { type: "string" },
        rounds: { type: "string" },
        seconds: { type: "string" },
        help: { type: "boolean", short: "h" },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}
