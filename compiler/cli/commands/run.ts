// `mdl run`: one call of an entry, of a source (compiled here, in memory) or of a module that was compiled before. On a GPU,
// or with --device cpu by the reference evaluator, which needs the source's graph.
import type { NetBase, StepResult } from "../../../runtime/core/api.ts";
import type { Given } from "../../../runtime/core/inputs.ts";
import { tensorText } from "../../../runtime/core/print.ts";
import type { Artefact, EntryPlan } from "../../../runtime/core/program.ts";
import type { Tensor } from "../../../runtime/core/tensor.ts";
import { requestGpu, runAgainQuietly, UnsupportedError } from "../../../runtime/node/index.ts";
import { InternalError, type SetValue } from "../../core/index.ts";
import { UsageError } from "../failure.ts";
import { type Argument, parseArgument, readInputs, type Value } from "../inputs.ts";
import { checkOutputs, type Output, parseOutput, writeResults } from "../outputs.ts";
import type { PictureOptions } from "../pictures/tensor.ts";
import { type Result, shapeText, topText } from "../print-tensor.ts";
import { evaluateEntry } from "../reference.ts";
import {
  callsOf,
  compileSource,
  entryOf,
  importModule,
  isModule,
  parseSeed,
  type Runnable,
  refuseChoices,
} from "../runnable.ts";
import { harmless, styleFor } from "../style.ts";
import { recordInputs } from "../train/setup.ts";
import { beginning, byPath, loadWeights, type Tensors } from "../weights.ts";
import { debugCommand } from "./debug.ts";

export interface RunFlags {
  readonly model?: string;
  readonly set?: Readonly<Record<string, SetValue>>;
  readonly weights?: string;
  readonly input?: readonly string[];
  readonly data?: string;
  readonly records?: string;
  readonly map?: Readonly<Record<string, string>>;
  readonly seed?: string;
  readonly output?: readonly string[];
  readonly grid?: number;
  readonly resize?: "stretch" | "crop" | true;
  readonly mean?: readonly number[];
  readonly std?: readonly number[];
  readonly device: "auto" | "gpu" | "cpu";
  readonly target?: string;
  readonly top?: number;
  readonly watch?: readonly string[];
}

/** The exit code, where the work was done by a child; undefined where it is done. */
export async function runCommand(
  file: string,
  entry: string | undefined,
  flags: RunFlags,
): Promise<number | undefined> {
  const compiled = isModule(file);
  if (compiled && flags.device === "cpu") {
    throw new UsageError(
      `--device cpu evaluates the graph, and ${file} holds none: give the .mdl source, as in mdl run model.mdl ${entry ?? "ENTRY"} --device cpu`,
    );
  }
  refuseChoices(file, flags);
  if (flags.device === "cpu" && flags.target !== undefined) {
    throw new UsageError("--target picks kernels, and --device cpu runs none");
  }
  checkOutputs(flags.output ?? [], flags);
  if (flags.watch) {
    const results = (all: Results): Promise<void> =>
      show(
        all,
        (flags.output ?? []).map((text) => parseOutput(text, Object.keys(all))),
        flags,
      );
    // A debug build of the call, whose inputs are given as ever.
    return debugCommand(file, entry, { ...flags, input: flags.input ?? [] }, results, pictureOptions(flags));
  }
  const args = (flags.input ?? []).map(parseArgument);
  const seed = flags.seed === undefined ? 0n : parseSeed(flags.seed);

  let made: Runnable;
  if (flags.device === "cpu") made = compileSource(file, entry, flags);
  else {
    const code = await runAgainQuietly();
    if (code !== undefined) return code;
    made = compiled ? await importModule(file) : compileSource(file, entry, flags);
  }
  // Everything the user gave is read once, and looked at before a GPU is asked for.
  const call = await readCall(made.artefact, entry, args, flags, seed);
  const { train } = call.entry;
  const names = train ? ["loss", ...train.reports] : call.entry.outputs.map((p) => p.name);
  const outputs = (flags.output ?? []).map((text) => parseOutput(text, names));
  if (flags.device === "cpu") {
    await show(onCpu(made, call), outputs, flags);
    return undefined;
  }
  let results: Results;
  try {
    results = await onGpu(made, call, flags.target);
  } catch (error) {
    if (!(error instanceof NoGpu)) throw error;
    const could = made.compiled && flags.target === undefined;
    if (flags.device !== "auto" || !could) throw error.cause;
    process.stderr.write(
      `${harmless((error.cause as Error).message)}\ngoing on with --device cpu, which is slow\n`,
    );
    results = onCpu(made, call);
  }
  await show(results, outputs, flags);
  return undefined;
}

type Results = Readonly<Record<string, Result>>;

class NoGpu extends Error {}

// ---------------------------------------------------------------------------------------------- the call

/** What the command line says of the call. */
interface GivenCall {
  readonly entry: EntryPlan;
  readonly values: Record<string, Value>;
  readonly given: Given;
  readonly weights: Tensors | undefined;
  readonly seed: bigint;
}

async function readCall(
  artefact: Artefact,
  name: string | undefined,
  args: readonly Argument[],
  flags: RunFlags,
  seed: bigint,
): Promise<GivenCall> {
  const entry = entryOf(artefact, name);
  const { data, records = "0", map } = flags;
  const names = args.map((a) => a.name);
  const there =
    data === undefined ? {} : recordInputs(entry, data, records, map, pictureOptions(flags), names);
  const inputs = readInputs(entry, args, pictureOptions(flags), there);
  const weights = flags.weights === undefined ? undefined : await loadWeights(artefact, flags.weights);
  warnOfDrawn(artefact, flags);
  return { entry, ...inputs, weights, seed };
}

function pictureOptions({ resize, mean, std }: RunFlags): PictureOptions {
  if (std?.some((x) => x === 0)) throw new UsageError("--std divides, and 0 cannot");
  return { mean, std, resize: resize === true ? "stretch" : resize };
}

async function onGpu(
  { load: open }: Runnable,
  { entry, values, weights, seed }: GivenCall,
  target: string | undefined,
): Promise<Results> {
  let net: NetBase;
  try {
    await requestGpu();
    net = await open({
      weights: weights && byPath(weights),
      target,
      seed,
      train: { totalSteps: TOTAL_STEPS },
    });
  } catch (error) {
    throw (error as Error).name === UnsupportedError.name ? new NoGpu("no GPU", { cause: error }) : error;
  }
  try {
    return await call(net, entry, values);
  } finally {
    net.dispose();
  }
}

/** Of one step, the length of a schedule changes no figure that is printed. */
const TOTAL_STEPS = 1000;

type Call = (inputs: Readonly<Record<string, Value>>) => Promise<unknown>;

async function call(net: NetBase, entry: EntryPlan, values: Record<string, Value>): Promise<Results> {
  const result = await callsOf<Call>(net)[entry.name](values);
  if (!entry.train) return result as Record<string, Tensor>;
  const figures = await (result as StepResult).read();
  return Object.fromEntries(
    Object.entries(figures).map(([name, x]) => [
      name,
      { dtype: "f32", shape: [], data: Float32Array.of(x) } as const,
    ]),
  );
}

function onCpu(
  { compiled, artefact }: Runnable,
  { entry, values, given, weights, seed }: GivenCall,
): Results {
  if (!compiled) throw new InternalError("run", "a module was given to the reference evaluator");
  return evaluateEntry(compiled, entry, values, given, beginning(artefact, weights, seed), seed, TOTAL_STEPS);
}

/** Numbers from random weights look like any others. */
function warnOfDrawn(artefact: Artefact, flags: RunFlags): void {
  if (flags.weights !== undefined || artefact.params.every((p) => p.init.kind === "constant")) return;
  process.stderr.write(
    `${artefact.name} runs with parameters as they are initialised (seed ${flags.seed ?? 0}): give trained ones with --weights FILE\n`,
  );
}

// -------------------------------------------------------------------------------------------- the results

async function show(results: Results, outputs: readonly Output[], flags: RunFlags): Promise<void> {
  if (outputs.length > 0) {
    const paths = await writeResults(results, outputs, flags);
    for (const path of paths) process.stderr.write(`wrote ${harmless(path)}\n`);
    // Standard output may be the results themselves.
    if (flags.top === undefined || outputs.some((o) => o.path === "-")) return;
  }
  const style = styleFor(process.stdout);
  const all = Object.entries(results);
  if (all.length === 0) process.stdout.write("the entry has no results\n");
  for (const [name, result] of all) {
    const ranked = flags.top !== undefined && result.shape.length > 0;
    const head = `${style.bold(name)}: ${style.cyan(shapeText(result))}`;
    if (ranked) process.stdout.write(`${head}\n${topText(result, flags.top as number)}\n`);
    else if (result.shape.length === 0) process.stdout.write(`${head} = ${tensorText(result)}\n`);
    else process.stdout.write(`${head}\n${tensorText(result)}\n`);
  }
}
