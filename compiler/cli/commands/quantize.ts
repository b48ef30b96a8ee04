// `mdl quantize`: a model's large weights in 16, 8 or 4 bits, as the module of that storage reads them, and what that does to each
// weight and to an entry's results. In: a source and its weights; inputs, or ones that are drawn. Out: a file of weights, a table.
import { basename, dirname, extname, join } from "node:path";
import type { NetBase } from "../../../runtime/core/api.ts";
import { takeInputs } from "../../../runtime/core/inputs.ts";
import type { Artefact, EntryPlan } from "../../../runtime/core/program.ts";
import type { AnyArray } from "../../../runtime/core/tensor.ts";
import { requestGpu, runAgainQuietly, UnsupportedError } from "../../../runtime/node/index.ts";
import {
  blockEntry,
  type Compiled,
  dequantizeWeight,
  QuantizeError,
  quantizeWeight,
  type Storage,
  type StoredWeight,
  storageName,
  storageText,
} from "../../core/index.ts";
import { drawInputs, type Sizes, sizesOf } from "../draw.ts";
import { InputFailure, UsageError } from "../failure.ts";
import { writeFiles } from "../files.ts";
import { parseArgument, readInputs, type Value } from "../inputs.ts";
import { evaluateEntry } from "../reference.ts";
import { type ChoiceFlags, callsOf, entryOf, SourceModel } from "../runnable.ts";
import { bytesText, count, grouped, harmless, type Style, styleFor, table } from "../style.ts";
import { beginning, byPath, formatWeights, loadWeights, storedIn, type Tensors } from "../weights.ts";
import { refuseForeign } from "./compile.ts";

export interface QuantizeFlags extends ChoiceFlags {
  readonly weights: string;
  readonly bits: string;
  readonly group?: number;
  readonly out?: string;
  readonly input?: readonly string[];
  readonly size?: Sizes;
  readonly device: "auto" | "gpu" | "cpu";
  readonly force?: boolean;
  readonly json?: boolean;
}

/** How far numbers are from what they were: the root of the mean square, over that of the numbers; and the largest distance. */
interface Distance {
  readonly relative: number;
  readonly largest: number;
}
interface WeightReport extends Distance {
  readonly path: string;
  readonly shape: readonly number[];
  readonly bytes: number;
}
interface ResultReport extends Distance {
  readonly name: string;
  readonly shape: readonly number[];
  /** Of rows of several numbers, how many have their largest where they had it. */
  readonly agree?: readonly [number, number];
}
interface Report {
  readonly model: string;
  readonly storage: string;
  readonly file: string;
  readonly weights: readonly WeightReport[];
  /** Of all weights, those that stay as they are included; before and after. */
  readonly bytes: readonly [number, number];
  readonly entry?: string;
  readonly drawn: boolean;
  readonly results: readonly ResultReport[];
}

export async function quantizeCommand(
  path: string,
  name: string | undefined,
  flags: QuantizeFlags,
): Promise<number | undefined> {
  if (flags.device !== "cpu") {
    const code = await runAgainQuietly();
    if (code !== undefined) return code;
  }
  const storage: Storage = {
    bits: Number(flags.bits) as Storage["bits"],
    ...(flags.group !== undefined && { group: flags.group }),
  };
  if (flags.group !== undefined && storage.bits !== 4) throw new UsageError("--group is of --bits 4");
  if (flags.size !== undefined && flags.input !== undefined)
    throw new UsageError("--size is of inputs that are drawn, and --input gives them");
  const already = storedIn(flags.weights);
  if (already)
    throw new InputFailure(
      `${flags.weights} holds ${storageText(already)} weights already: quantize takes those that they were made of`,
    );
  // The weights that are given are f32's: what they are turned into is asked for by --bits.
  const { weights, ...choices } = flags;
  const source = new SourceModel(path, choices);
  if (name !== undefined) source.pick(name);
  const entry = name ?? source.checked.entries[0]?.name;
  if (source.checked.trains.some((t) => blockEntry(t) === entry || entry === "train_step"))
    throw new InputFailure(`${entry} trains, and training keeps weights as they are declared: name an entry`);
  const entries = entry === undefined ? [] : [entry];
  const plain = source.compile({ entries });
  const small = source.compile({ entries, storage });
  source.warn(small);
  const stored = small.stored?.weights ?? [];
  if (stored.length === 0)
    throw new InputFailure(
      `${source.checked.name} has no weights to store in ${storage.bits} bits: it takes 1,024 numbers and more that products or look-ups alone read`,
    );
  const given = await loadWeights(plain.artefact, weights);
  const call = entry === undefined ? undefined : inputsOf(entryOf(plain.artefact, entry), flags);
  const { tensors, reports } = quantizeAll(small.artefact, stored, given, weights);

  const out =
    flags.out ??
    join(dirname(weights), `${basename(weights, extname(weights))}.${storageName(storage)}.safetensors`);
  const data = formatWeights(small.artefact, tensors, "mdl quantize");
  if (!flags.force) refuseForeign(out, data);
  await writeFiles([{ path: out, data }]);
  const results = call ? await compare({ plain, small, given, tensors }, call, flags.device) : [];
  const report: Report = {
    model: plain.name,
    storage: storageText(storage),
    file: out,
    weights: reports,
    bytes: [plain, small].map((c) => c.artefact.params.reduce((n, p) => n + p.bytes, 0)) as [number, number],
    ...(entry !== undefined && { entry }),
    drawn: flags.input === undefined && (call?.entry.inputs.length ?? 0) > 0,
    results,
  };
  if (flags.json) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
  else process.stdout.write(`${harmless(text(report, styleFor(process.stdout)))}\n`);
  return undefined;
}

// ------------------------------------------------------------------------------------------------- the weights

function quantizeAll(
  artefact: Artefact,
  stored: readonly StoredWeight[],
  given: Tensors,
  file: string,
): { readonly tensors: Tensors; readonly reports: readonly WeightReport[] } {
  const specs = new Map([...artefact.params, ...artefact.state].map((s) => [s.path, s]));
  const tensors = new Map<Artefact["params"][number], AnyArray>();
  const put = (path: string, data: AnyArray): void => {
    const spec = specs.get(path);
    if (spec) tensors.set(spec, data);
  };
  const byName = new Map(stored.map((w) => [w.path, w]));
  const reports: WeightReport[] = [];
  for (const [{ path }, data] of given) {
    const w = byName.get(path);
    if (!w) {
      put(path, data);
      continue;
    }
    const q = made(w, data, file);
    put(w.words.path, q.words);
    if (w.scale && q.scale) put(w.scale.path, q.scale);
    reports.push({
      path,
      shape: w.shape,
      bytes: q.words.byteLength + (q.scale?.byteLength ?? 0),
      ...distance(data, dequantizeWeight(w, q)),
    });
  }
  return { tensors, reports };
}
function made(w: StoredWeight, data: AnyArray, file: string) {
  try {
    return quantizeWeight(w, data);
  } catch (error) {
    throw error instanceof QuantizeError ? new InputFailure(`${file}: ${error.message}`) : error;
  }
}
function distance(before: ArrayLike<number>, after: ArrayLike<number>): Distance {
  let [square, whole, largest] = [0, 0, 0];
  for (let i = 0; i < before.length; i++) {
    const far = Math.abs(after[i] - before[i]);
    square += far * far;
    whole += before[i] * before[i];
    // A NaN is the largest of all.
    if (!(far <= largest)) largest = far;
  }
  return { relative: square === 0 ? 0 : Math.sqrt(square / whole), largest };
}

// ------------------------------------------------------------------------------------------------- the results

interface Call {
  readonly entry: EntryPlan;
  readonly values: Readonly<Record<string, Value>>;
}
function inputsOf(entry: EntryPlan, flags: QuantizeFlags): Call {
  if (flags.input !== undefined)
    return { entry, values: readInputs(entry, flags.input.map(parseArgument)).values };
  return { entry, values: drawInputs(entry, sizesOf(entry, flags.size ?? {}), 1) };
}

interface Both {
  readonly plain: Compiled;
  readonly small: Compiled;
  readonly given: Tensors;
  readonly tensors: Tensors;
}
type Results = Readonly<
  Record<string, { readonly shape: readonly number[]; readonly data: ArrayLike<number> }>
>;

async function compare(both: Both, call: Call, device: QuantizeFlags["device"]): Promise<ResultReport[]> {
  let results: readonly [Results, Results];
  try {
    results = device === "cpu" ? onCpu(both, call) : await onGpu(both, call);
  } catch (error) {
    if (device !== "auto" || (error as Error).name !== UnsupportedError.name) throw error;
    process.stderr.write(
      `${harmless((error as Error).message)}\ngoing on with --device cpu, which is slow\n`,
    );
    results = onCpu(both, call);
  }
  const [before, after] = results;
  return Object.entries(before).map(([name, { shape, data }]) => {
    const own = after[name].data;
    const classes = shape.at(-1) ?? 1;
    // Of pictures there is no largest to look for.
    const rows = classes > 1 && shape.length <= 3 ? data.length / classes : 0;
    let same = 0;
    for (let r = 0; r < rows; r++) if (peak(data, r, classes) === peak(own, r, classes)) same++;
    return { name, shape, ...distance(data, own), ...(rows > 0 && { agree: [same, rows] as const }) };
  });
}
function peak(data: ArrayLike<number>, row: number, classes: number): number {
  let best = 0;
  for (let i = 1; i < classes; i++) if (data[row * classes + i] > data[row * classes + best]) best = i;
  return best;
}

function onCpu({ plain, small, given, tensors }: Both, { entry, values }: Call): readonly [Results, Results] {
  const taken = takeInputs(entry, values);
  const run = (of: Compiled, own: Tensors): Results =>
    evaluateEntry(of, entry, values, taken, beginning(of.artefact, own, 0), 0, 1);
  return [run(plain, given), run(small, tensors)];
}
async function onGpu(
  { plain, small, given, tensors }: Both,
  { entry, values }: Call,
): Promise<readonly [Results, Results]> {
  await requestGpu();
  const { load } = await import("../../../runtime/core/index.ts");
  const run = async (of: Compiled, own: Tensors): Promise<Results> => {
    const net: NetBase = await load(of.artefact, { weights: byPath(own), seed: 0 });
    try {
      return await callsOf<(inputs: object) => Promise<Results>>(net)[entry.name](values);
    } finally {
      net.dispose();
    }
  };
  return [await run(plain, given), await run(small, tensors)];
}

// --------------------------------------------------------------------------------------------------- the report

const percent = (x: number): string => `${(100 * x).toPrecision(2)} %`;

function text(report: Report, style: Style): string {
  const { model, storage, weights, bytes, entry, drawn, results, file } = report;
  const head = ["weight", "shape", "bytes", "error", "largest"].map(style.dim);
  const rows = weights.map((w) => [
    style.cyan(w.path),
    w.shape.map(grouped).join(" x "),
    bytesText(w.bytes),
    percent(w.relative),
    w.largest.toPrecision(2),
  ]);
  const lines = [
    `${style.bold(model)}: ${count(weights.length, "weight")} as ${storage}`,
    "",
    table([head, ...rows], [2, 3, 4]),
    "",
  ];
  if (entry !== undefined) {
    const columns = ["result", "shape", "error", "largest", ""].map(style.dim);
    const found = results.map(({ name, shape, relative, largest, agree }) => [
      style.cyan(name),
      shape.length ? shape.map(grouped).join(" x ") : "a number",
      percent(relative),
      largest.toPrecision(2),
      agree
        ? `${grouped(agree[0])} of ${count(agree[1], "row")} ${agree[1] === 1 ? "has" : "have"} the largest where it was`
        : "",
    ]);
    const of = drawn ? ", of inputs drawn at random (give your own with --input)" : "";
    lines.push(`${style.bold(entry)} against f32${of}`, "", table([columns, ...found], [2, 3]), "");
  }
  lines.push(
    style.dim("error: the root of the mean square of what changed, over that of what it was"),
    `${style.bold("wrote")} ${style.green(file)}: parameters of ${bytesText(bytes[1])} for ${bytesText(bytes[0])}`,
  );
  return lines.join("\n");
}
