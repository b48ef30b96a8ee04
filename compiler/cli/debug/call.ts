// A call of a source's entry, or a training step, to be looked into. In: the command line. Out: the model with names, the entry,
// what it is called with, and every tensor it begins with.
import type { Artefact, EntryPlan } from "../../../runtime/core/program.ts";
import type { AnyArray } from "../../../runtime/core/tensor.ts";
import { blockEntry, type CheckedModel, debugging } from "../../core/index.ts";
import { drawInputs, type Sizes, sizesOf } from "../draw.ts";
import { UsageError } from "../failure.ts";
import { parseArgument, readInputs, type Value } from "../inputs.ts";
import type { PictureOptions } from "../pictures/tensor.ts";
import { type ChoiceFlags, isModule, parseSeed, SourceModel } from "../runnable.ts";
import { loadWeights } from "../weights.ts";
import { type Call, tensorsOf } from "./observe.ts";

export interface CallFlags extends ChoiceFlags {
  readonly weights?: string;
  readonly input?: readonly string[];
  readonly size?: Sizes;
  readonly seed?: string;
  /** Of a training step: its number. */
  readonly step?: number;
}

/** The source of a command that looks into a model; a module holds neither lines nor names. */
export function openSource(file: string, flags: ChoiceFlags, command: string): SourceModel {
  if (isModule(file))
    throw new UsageError(
      `${file} is compiled, and holds no names: give the .mdl source, as in mdl ${command} model.mdl`,
    );
  return new SourceModel(file, flags);
}

/** Of a train block its name will do, and of the only one `train`. */
export function entryNamed(source: SourceModel, name: string | undefined, command: string): string {
  const { checked, entries, path } = source;
  if (name === undefined)
    throw new UsageError(
      `which entry of ${checked.name}? ${entries.join(", ")}; for example mdl ${command} ${path} ${entries[0] ?? "ENTRY"}`,
    );
  const only = /^train(_step)?$/.test(name) && checked.trains.length === 1 ? checked.trains[0] : undefined;
  const block = checked.trains.find((t) => t.name === name) ?? only;
  if (block && !entries.includes(name)) return blockEntry(block);
  source.pick(name);
  return name;
}

export interface Opened {
  readonly model: CheckedModel;
  readonly debugged: debugging.DebugEntry;
  /** Of the entry, for its ports. */
  readonly artefact: Artefact;
  readonly plan: EntryPlan;
  readonly call: Call;
  readonly sizes: ReadonlyMap<string, number>;
  readonly drawn: boolean;
}

export async function openCall(
  source: SourceModel,
  entry: string,
  watch: (name: string) => boolean,
  flags: CallFlags,
  pictures: PictureOptions = {},
): Promise<Opened> {
  const model = source.watched(watch);
  const debugged = debugging.debugEntry(model, entry);
  const { artefact } = source.build(debugging.alone(model, debugged.entry), { targets: ["baseline"] });
  const [plan] = artefact.programs[0].entries;
  if (flags.input !== undefined && flags.size !== undefined)
    throw new UsageError("--size is of inputs that are drawn, and --input gives them");
  const drawn = flags.input === undefined && plan.inputs.length > 0;
  // Two of everything: one of a batch has no deviation, and hides what goes wrong between several.
  const twos = Object.fromEntries(plan.symbols.map((s) => [s.name, 2]));
  const sizes = sizesOf(plan, { ...twos, ...flags.size });
  const inputs: Readonly<Record<string, Value>> =
    flags.input === undefined
      ? drawInputs(plan, sizes, 1)
      : readInputs(plan, flags.input.map(parseArgument), pictures).values;
  const loaded = flags.weights === undefined ? undefined : await loadWeights(artefact, flags.weights);
  const seed = flags.seed === undefined ? 0n : parseSeed(flags.seed);
  const tensors: ReadonlyMap<string, AnyArray> = tensorsOf(artefact, loaded, seed, flags.step ?? 0);
  return { model, debugged, artefact, plan, call: { inputs, tensors, seed }, sizes, drawn };
}
