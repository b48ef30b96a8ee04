// `mdl train`: a train block's steps over data, on this machine's GPU. In: a source or a module, data, options. Out: weights,
// checkpoints, a log, curves.
import { basename, dirname, extname, join } from "node:path";
import type { NetBase } from "../../../runtime/core/api.ts";
import { NonFiniteError } from "../../../runtime/core/errors.ts";
import type { Artefact, EntryPlan } from "../../../runtime/core/program.ts";
import { signatureOf } from "../../../runtime/core/store.ts";
import { sizeOf } from "../../../runtime/core/tensor.ts";
import { batchCount } from "../../../runtime/data/batches.ts";
import type { Dataset, Plain } from "../../../runtime/data/dataset.ts";
import { runAgainQuietly } from "../../../runtime/node/index.ts";
import { blockEntry, type CheckedTrain, swapName } from "../../core/index.ts";
import { explainBad } from "../debug/explain.ts";
import type { Where } from "../debug/observe.ts";
import { keptStep } from "../debug/snapshot.ts";
import { type Device, gpuOf } from "../device.ts";
import { InputFailure, SourceFailure, UsageError } from "../failure.ts";
import { SourceFiles } from "../files.ts";
import { modelsOf } from "../models.ts";
import { type ChoiceFlags, entryOf, parseSeed, refuseModule, SourceModel, targetHere } from "../runnable.ts";
import { count, grouped, harmless, styleFor } from "../style.ts";
import { type Checkpoint, type RunSettings, readCheckpoint } from "../train/checkpoint.ts";
import { scalarEntries } from "../train/evaluate.ts";
import { findRate } from "../train/lr-find.ts";
import { checkLabels, type Matched, matchInputs, matchText } from "../train/match.ts";
import { Run, type TakenStep } from "../train/run.ts";
import { ratesOf } from "../train/schedule.ts";
import { openParts, readInit, transformsOf } from "../train/setup.ts";

export interface TrainFlags extends ChoiceFlags {
  readonly data?: string;
  readonly val?: string;
  readonly map?: Readonly<Record<string, string>>;
  readonly epochs?: number;
  readonly batch?: number;
  readonly steps?: number;
  readonly lr?: number;
  readonly schedule?: string;
  readonly seed?: string;
  readonly augment?: string;
  readonly normalize?: string;
  readonly dropLast?: boolean;
  readonly workers?: number;
  readonly save?: string;
  readonly keep?: "last" | "best";
  readonly patience?: number;
  readonly plateau?: number;
  readonly checkpoint?: string;
  readonly resume?: string;
  readonly init?: string;
  readonly log?: string;
  readonly plot?: string;
  readonly tensorboard?: string;
  readonly lrFind?: boolean;
  readonly device: Device;
  readonly precision?: "f32" | "f16";
}

/** Epochs and batches where neither the command line nor the block says. */
const EPOCHS = 10;
const BATCH = 32;
/** Of `--lr-find`, without `--steps`. */
const FIND_STEPS = 100;

/** As in a shell: 128 and the number of SIGINT. */
const INTERRUPTED = 130;

export async function trainCommand(
  file: string,
  name: string | undefined,
  flags: TrainFlags,
): Promise<number | undefined> {
  refuseModule(file, "train");
  const code = await runAgainQuietly();
  if (code !== undefined) return code;
  const resumed = flags.resume === undefined ? undefined : readCheckpoint(flags.resume);
  if (resumed && flags.init !== undefined)
    throw new UsageError("--init is where a run begins, and --resume goes on with one");
  const settings = settingsOf(flags, resumed);
  const { freeze, plateau, patience, keep } = settings;
  // A file may have several; arguments are of the one that was trained.
  const same = resumed && modelsOf(new SourceFiles(file)).all.find((m) => m === resumed.model);
  const model = flags.model ?? same;
  const set = model === resumed?.model ? settings.set : flags.set;
  const source = new SourceModel(file, { ...flags, model, set, freeze });
  const names = pickBlocks(source, name ?? resumed?.block);
  const seed = parseSeed(settings.seed);
  // All that the user gave is read and looked at before anything is made on a GPU.
  const { train, val } = openParts(settings.data, settings.val, seed);
  const trains = names.map((block) => source.checked.trains.find((t) => t.name === block) as CheckedTrain);
  const inputs = [...new Set(trains.flatMap((t) => t.inputs.map((p) => p.name)))];
  const metricNames = val ? scalarEntries(source.checked, inputs) : [];
  const stepNames = trains.map(blockEntry);
  const target = flags.target ?? (await targetHere(flags.device));
  const precision = settings.precision === "f16" ? "f16" : undefined;
  const made = source.open([...stepNames, ...metricNames], target, precision);
  const plan = (of: string): EntryPlan => entryOf(made.artefact, of);
  const steps = stepNames.map(plan);
  const metrics = metricNames.map(plan);
  const matched = matchAll(steps, train, settings.map);
  for (const entry of steps) {
    checkLabels(entry, train, matched);
    if (val) checkLabels(entry, val, matched);
  }
  const batch = flags.batch ?? resumed?.settings.batch ?? steps[0].train?.batch ?? BATCH;
  const perEpoch = batchCount(train, { batch, last: settings.dropLast ? "drop" : "keep" });
  if (perEpoch === 0)
    throw new InputFailure(`${train.name} has ${train.size} records, less than a batch of ${batch}`);
  const totalSteps = Math.min(settings.epochs * perEpoch, settings.steps ?? Number.POSITIVE_INFINITY);
  const whole: RunSettings = { ...settings, batch };
  if (resumed) checkResumed(resumed, made.artefact, whole, train.size, flags);
  const blocks = steps.map((entry, i) => ({
    block: names[i],
    entry,
    rates: ratesOf(entry, {
      totalSteps,
      lr: settings.lr,
      schedule: settings.schedule,
      accumulate: trains[i].accumulate,
    }),
    swap: trains[i].ema === undefined ? undefined : swapName(names[i]),
  }));
  const transforms = transformsOf(settings.augment, settings.normalize);
  const init = flags.init === undefined ? undefined : readInit(made.artefact, flags.init);

  const gpu = await gpuOf(flags.device);
  const net = await made.load({
    gpu,
    target: flags.target && made.artefact.programs[0].target,
    seed,
    train: { totalSteps },
  });
  let ended: string;
  try {
    if (init) await net.loadWeights(init.tensors, { partial: true });
    if (resumed) await restore(net, resumed, flags.resume as string);
    describe(made.artefact, net, [
      [
        "data",
        `${count(train.size, "record")}${val ? `, ${grouped(val.size)} held out` : ""}: ${matchText(train, matched)}`,
      ],
      [
        "steps",
        `${grouped(totalSteps)} of ${batch} records${trains.map((t) => updatesText(t, totalSteps)).join("")}${resumed ? `, going on from ${grouped(resumed.progress.step)}` : ""}`,
      ],
      ...(init ? ([["begins", init.text]] as const) : []),
    ]);
    if (flags.lrFind) {
      await findRate({
        net,
        entry: only(steps),
        train,
        matched,
        transforms,
        batch,
        seed,
        steps: flags.steps ?? FIND_STEPS,
        plot: flags.plot,
      });
      return undefined;
    }
    if (val && metrics.length === 0)
      process.stderr.write(
        `nothing is measured on what is held out: no fn of ${source.checked.name} gives one float of ${inputs.join(", ")}\n`,
      );
    const run = new Run({
      net,
      blocks,
      metrics,
      train,
      val: metrics.length > 0 ? val : undefined,
      matched,
      transforms,
      settings: whole,
      // Where there is something to do ahead of the GPU.
      workers: flags.workers ?? (transforms.length > 0 || isDecoded(train.plain) ? 1 : 0),
      totalSteps,
      from: resumed?.progress,
      save: flags.save,
      keep: keep ?? "last",
      patience,
      plateau,
      checkpoint: { path: checkpointPath(file, flags), each: flags.checkpoint !== undefined },
      log: flags.log,
      plot: flags.plot,
      tensorboard: flags.tensorboard,
      model: source.checked.name,
    });
    // To the end of the process: a second Ctrl-C does not keep the first from being answered.
    const stop = (): void => run.stop();
    process.on("SIGINT", stop).on("SIGTERM", stop);
    ended = await run.run().catch(async (error: unknown) => {
      if (!(error instanceof NonFiniteError)) throw error;
      const of = blocks.find((b) => b.block === error.block) ?? blocks[0];
      const taken = run.taken(of.entry.name, error.step);
      throw taken
        ? await badStep(source, made.artefact, net, error, taken, totalSteps, { device: "gpu", target, gpu })
        : error;
    });
  } finally {
    await net.close();
  }
  const { dim } = styleFor(process.stdout);
  if (ended === "stopped") {
    const path = checkpointPath(file, flags);
    process.stdout.write(
      `stopped; wrote ${harmless(path)}: go on with mdl train ${harmless(file)} --resume ${harmless(path)}\n`,
    );
    return INTERRUPTED;
  }
  if (ended === "early") process.stdout.write(`stopped early: ${patience} epochs were no better\n`);
  if (flags.save !== undefined) process.stdout.write(`${dim("wrote")} ${harmless(flags.save)}\n`);
  return undefined;
}

/** Why a step was bad, by making it once more; the error itself where that is not known. */
async function badStep(
  source: SourceModel,
  artefact: Artefact,
  net: NetBase,
  error: NonFiniteError,
  { entry, step, inputs, hyper }: TakenStep,
  totalSteps: number,
  where: Where,
): Promise<Error> {
  const { call, later } = keptStep(artefact, entry, "the run", await net.snapshot(), inputs);
  const found = await explainBad(
    source,
    source.watched(() => true),
    entry,
    call,
    where,
    { step, totalSteps, hyper },
  );
  if (found) return new SourceFailure([found], source.sources);
  const since =
    net.target !== where.target
      ? " in f32: what it computes is beyond f16, which ends at 65504"
      : later > 0
        ? `, with the weights as they are ${count(later, "step")} later`
        : ", which is a bug in mdl";
  return new InputFailure(`${error.message}. Made again, it is good${since}`);
}

/** Where several steps make an update: how many, and what comes of those that are left over at the end. */
function updatesText({ name, accumulate = 1 }: CheckedTrain, steps: number): string {
  if (accumulate === 1) return "";
  const left = steps % accumulate;
  const dropped = left > 0 ? `, the last ${left} of the run none` : "";
  return `; every ${accumulate} of ${name} make an update${dropped}`;
}

/** Whether records are files that are decoded when they are read. */
const isDecoded = (plain: Plain): boolean =>
  plain.kind === "subset" ? isDecoded(plain.of) : plain.kind === "pictures";

/** The train blocks that are meant: one, or several that take each batch in turn (`discriminator,generator`). */
function pickBlocks(source: SourceModel, name: string | undefined): string[] {
  const blocks = source.checked.trains.filter((t) => t.rules.length > 0).map((t) => t.name);
  const { name: model } = source.checked;
  if (blocks.length === 0)
    throw new InputFailure(
      `${model} has no train block: train fit for ${model} { minimize loss; with adam(lr = 1e-3) }`,
    );
  if (name === undefined && blocks.length > 1)
    throw new UsageError(
      `which train block of ${model}? ${blocks.join(", ")}; for example mdl train ${source.path} ${blocks[0]}, or ${blocks.slice(0, 2).join(",")} to take turns`,
    );
  const wanted = name?.split(",").map((own) => own.trim().replace(/_step$/, "")) ?? blocks;
  for (const own of wanted)
    if (!blocks.includes(own))
      throw new InputFailure(`${model} has no train block ${own}; its train blocks are ${blocks.join(", ")}`);
  return wanted;
}

/** Inputs of several steps that have the same name are the same. */
function matchAll(
  steps: readonly EntryPlan[],
  data: Dataset,
  map: Readonly<Record<string, string>> | undefined,
): Matched {
  const own = (entry: EntryPlan): Record<string, string> =>
    Object.fromEntries(
      Object.entries(map ?? {}).filter(
        ([input]) => steps.length === 1 || entry.inputs.some((p) => p.name === input),
      ),
    );
  return Object.assign({}, ...steps.map((entry) => matchInputs(entry, data, own(entry))));
}

function only(steps: readonly EntryPlan[]): EntryPlan {
  if (steps.length === 1) return steps[0];
  throw new UsageError("--lr-find looks for the rate of one train block: name it");
}

/** The command line's, else the checkpoint's, else those of the house. */
function settingsOf(flags: TrainFlags, resumed: Checkpoint | undefined): Omit<RunSettings, "batch"> {
  const old: Partial<RunSettings> = resumed?.settings ?? {};
  const data = flags.data ?? old.data;
  if (data === undefined)
    throw new UsageError(
      "--data says what to train on, as in --data mnist:DIR or --data csv:iris.csv?label=Species",
    );
  return {
    data,
    val: flags.val ?? old.val,
    map: flags.map ?? old.map,
    epochs: flags.epochs ?? old.epochs ?? EPOCHS,
    seed: flags.seed ?? old.seed ?? "0",
    lr: flags.lr ?? old.lr,
    schedule: flags.schedule ?? old.schedule,
    augment: flags.augment ?? old.augment,
    normalize: flags.normalize ?? old.normalize,
    steps: flags.steps ?? old.steps,
    dropLast: flags.dropLast ?? old.dropLast,
    freeze: flags.freeze ?? old.freeze,
    precision: flags.precision ?? old.precision,
    set: flags.set ?? old.set,
    plateau: flags.plateau ?? old.plateau,
    patience: flags.patience ?? old.patience,
    keep: flags.keep ?? old.keep,
  };
}

/** A checkpoint is of this model, and of data that has the same order. */
function checkResumed(
  { snapshot, settings, records, model, progress }: Checkpoint,
  artefact: Artefact,
  now: RunSettings,
  size: number,
  { resume }: TrainFlags,
): void {
  const refuse = (why: string): InputFailure => new InputFailure(`${resume} cannot be gone on with: ${why}`);
  const [was, is] = [settings.precision ?? "f32", now.precision ?? "f32"];
  if (snapshot.signature !== signatureOf(artefact) && was !== is)
    throw refuse(
      `its run was in ${was} and this is in ${is}, which keep another state; go on without --precision, or begin with its weights: --precision ${is} --init WEIGHTS`,
    );
  if (snapshot.signature !== signatureOf(artefact))
    throw refuse(
      `it is of ${model === artefact.name ? `another ${model}, with other parameters or another optimiser` : `${model}, and this is ${artefact.name}`}`,
    );
  if (records !== size)
    throw refuse(`its run had ${count(records, "record")}, ${now.data} has ${grouped(size)}`);
  // Between epochs a run may go on in another way; within one, the order of records would be another.
  if (progress.batch === 0) return;
  for (const name of ["batch", "seed", "dropLast"] as const)
    if (now[name] !== settings[name])
      throw refuse(
        `it stopped within an epoch with ${name} ${settings[name] ?? false}, given ${now[name] ?? false}`,
      );
}

async function restore(net: NetBase, { snapshot, target }: Checkpoint, path: string): Promise<void> {
  await net.restore(snapshot);
  if (net.target !== target)
    process.stderr.write(
      `${harmless(path)} was made by kernels of ${target}, these are ${net.target}'s: the last bits may differ\n`,
    );
}

/** Beside the weights, else here, by the model's file. */
function checkpointPath(file: string, { checkpoint, save, resume }: TrainFlags): string {
  const named = checkpoint ?? resume;
  if (named !== undefined) return named;
  if (save !== undefined) return join(dirname(save), `${basename(save, extname(save))}.ckpt`);
  return `${basename(file, extname(file))}.ckpt`;
}

function describe(artefact: Artefact, net: NetBase, lines: readonly (readonly [string, string])[]): void {
  const { bold, dim } = styleFor(process.stdout);
  const parameters = artefact.params.reduce((n, p) => n + sizeOf(p.shape), 0);
  process.stdout.write(`${bold(artefact.name)}, ${count(parameters, "parameter")}, on ${net.target}\n`);
  for (const [name, text] of lines) process.stdout.write(`  ${dim(name.padEnd(6))} ${harmless(text)}\n`);
}
