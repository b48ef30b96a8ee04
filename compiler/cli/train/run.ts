// A training run: epochs, steps, validation, what is written on the way. In: a loaded net and everything the command line decided.
// Out: a trained net, files, lines. Losses are read back a few times a second: each reading waits for the GPU.
import { appendFileSync, writeFileSync } from "node:fs";
import type { NetBase, StepResult } from "../../../runtime/core/api.ts";
import type { EntryPlan } from "../../../runtime/core/program.ts";
import type { Transform } from "../../../runtime/data/augment.ts";
import type { Batch } from "../../../runtime/data/batches.ts";
import type { Dataset } from "../../../runtime/data/dataset.ts";
import { Loader } from "../../../runtime/data/node/loader.ts";
import { ReduceOnPlateau } from "../../../runtime/plateau/index.ts";
import { writeFiles } from "../files.ts";
import { callsOf } from "../runnable.ts";
import { harmless, styleFor } from "../style.ts";
import { chartSvg, curveText, short } from "./chart.ts";
import { formatCheckpoint, type Progress, type RunSettings } from "./checkpoint.ts";
import { evaluate, inputsOf, type Metrics } from "./evaluate.ts";
import type { Matched } from "./match.ts";
import { ProgressLine, Rows, timeText } from "./progress.ts";
import type { Given, Rates } from "./schedule.ts";
import { TensorBoard } from "./tensorboard.ts";

/** A train block's step, taken with each batch. */
export interface BlockStep {
  readonly block: string;
  readonly entry: EntryPlan;
  readonly rates: Rates;
  /** The entry that exchanges parameters and their average, where the block keeps one. */
  readonly swap?: string;
}

export interface RunOptions {
  readonly net: NetBase;
  /** In the order in which they take a batch: one, or a GAN's two. The first one's loss is the run's. */
  readonly blocks: readonly BlockStep[];
  /** Entries that are evaluated after each epoch. */
  readonly metrics: readonly EntryPlan[];
  readonly train: Dataset;
  readonly val?: Dataset;
  readonly matched: Matched;
  readonly transforms: readonly Transform[];
  readonly settings: RunSettings;
  readonly workers: number;
  readonly totalSteps: number;
  readonly from?: Progress;
  readonly save?: string;
  readonly keep: "last" | "best";
  readonly patience?: number;
  /** Epochs without a better loss that are a plateau, for schedules that follow those. */
  readonly plateau?: number;
  /** Written after each epoch, where it was asked for, and when the run is stopped. */
  readonly checkpoint: { readonly path: string; readonly each: boolean };
  readonly log?: string;
  readonly plot?: string;
  readonly tensorboard?: string;
  /** Kept in checkpoints. */
  readonly model: string;
}

/** Milliseconds between two readings of a step's figures. */
const READ_EVERY = 300;

type Figures = Readonly<Record<string, number>>;
type StepCall = (inputs: Batch, options?: object) => Promise<StepResult>;

/** Figures of the first block have their names, those of others their block's before it. */
const figureName = (blocks: readonly BlockStep[], i: number, name: string): string =>
  i === 0 ? name : `${blocks[i].block}_${name}`;

/** The run's loss first. */
const figureNames = (blocks: readonly BlockStep[]): string[] =>
  blocks.flatMap(({ entry }, i) =>
    ["loss", ...(entry.train?.reports ?? [])].map((name) => figureName(blocks, i, name)),
  );

/** A step, by the net's number of it, and what it was called with. */
export interface TakenStep {
  readonly entry: string;
  readonly step: number;
  readonly inputs: Batch;
  readonly hyper: Readonly<Record<string, number>>;
}

export type Ended = "done" | "stopped" | "early";

export class Run {
  readonly #options: RunOptions;
  readonly #line = new ProgressLine();
  readonly #style = styleFor(process.stdout);
  readonly #losses: (readonly [number, number])[];
  readonly #vals: Progress["vals"][number][];
  readonly #board: TensorBoard | undefined;
  readonly #rows: Rows;
  readonly #plateau: ReduceOnPlateau;
  #step: number;
  #epoch: number;
  #batch: number;
  #waited: number;
  #best: number | undefined;
  #stop = false;
  #reading: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;
  #latest: Figures = {};
  #perSecond: number | undefined;
  /** Steps whose figures were not read yet. */
  #unread: TakenStep[] = [];

  constructor(options: RunOptions) {
    this.#options = options;
    const { from, log, tensorboard, blocks, metrics, val } = options;
    const measured = val ? metrics.map((m) => `val ${m.name}`) : [];
    this.#rows = new Rows([
      "epoch",
      "loss",
      ...figureNames(blocks).slice(1),
      ...measured,
      "lr",
      "samples/s",
      "time",
    ]);
    this.#losses = [...(from?.losses ?? [])];
    this.#vals = [...(from?.vals ?? [])];
    this.#step = from?.step ?? 0;
    this.#epoch = from?.epoch ?? 0;
    this.#batch = from?.batch ?? 0;
    this.#waited = from?.waited ?? 0;
    this.#best = from?.best;
    this.#plateau = new ReduceOnPlateau(options.plateau === undefined ? {} : { patience: options.plateau });
    if (from?.plateau) this.#plateau.restore(from.plateau);
    if (log !== undefined && from === undefined) writeFileSync(log, "");
    this.#board = tensorboard === undefined ? undefined : new TensorBoard(tensorboard);
  }

  get #block(): string {
    return this.#options.blocks.map((b) => b.block).join(",");
  }

  /** What a step was given that turned out to be bad. */
  taken(entry: string, step: number): TakenStep | undefined {
    return this.#unread.find((t) => t.entry === entry && t.step === step);
  }

  /** Ends the run after the step under way. */
  stop(): void {
    this.#stop = true;
  }

  async run(): Promise<Ended> {
    const { settings, train, matched, transforms, workers } = this.#options;
    const loader = new Loader(train, {
      batch: settings.batch,
      seed: BigInt(settings.seed),
      last: settings.dropLast ? "drop" : "keep",
      inputs: matched,
      augment: transforms,
      workers,
    });
    const since = performance.now();
    let ended: Ended | undefined;
    try {
      while (ended === undefined) ended = await this.#runEpoch(loader);
    } catch (error) {
      this.#log("end", { reason: "failed", message: (error as Error).message });
      throw error;
    } finally {
      this.#line.clear();
      await loader.close();
    }
    if (ended === "stopped") await this.#checkpoint();
    else if (this.#options.keep === "last" || this.#best === undefined) await this.#saveWeights();
    const seconds = (performance.now() - since) / 1000;
    this.#log("end", {
      loss: this.#losses.at(-1)?.[1],
      lr: this.#lr(),
      samples_per_s: this.#perSecond,
      val: this.#vals.at(-1)?.metrics,
      seconds,
      reason: ended,
    });
    this.#curve(seconds);
    this.#plot();
    return ended;
  }

  /** An epoch, or what is left of it, and what is done after one; says how the run ended, where it did. */
  async #runEpoch(loader: Loader): Promise<Ended | undefined> {
    const { settings, totalSteps, val, patience, checkpoint, keep } = this.#options;
    if (this.#epoch >= settings.epochs || this.#step >= totalSteps) return "done";
    const began = performance.now();
    const before = this.#step;
    const samples = await this.#trainEpoch(loader);
    if (this.#stop && this.#batch < loader.count) return "stopped";
    const seconds = (performance.now() - began) / 1000;
    const found = val ? await this.#validate(val) : undefined;
    // `--steps` may end a run within an epoch, which a resumed one goes on with.
    if (this.#batch >= loader.count) {
      this.#epoch++;
      this.#batch = 0;
    }
    const mean = this.#meanSince(before);
    this.#tell(mean, samples / seconds, seconds, found);
    // By the loss on what is held out, where it is measured, else by that of the training.
    const judged = found?.["loss"] ?? mean;
    const better = this.#judge(judged);
    this.#plateau.step(judged);
    if (better && keep === "best") await this.#saveWeights();
    if (checkpoint.each) await this.#checkpoint();
    if (this.#stop && this.#epoch < settings.epochs) return "stopped";
    return patience !== undefined && this.#waited >= patience ? "early" : undefined;
  }

  /** The row of an epoch, its event, its points. */
  #tell(loss: number, perSecond: number, seconds: number, found: Metrics | undefined): void {
    const { metrics, blocks } = this.#options;
    const lr = this.#lr();
    this.#line.clear();
    this.#rows.add([
      String(this.#number),
      short(loss),
      ...figureNames(blocks)
        .slice(1)
        .map((name) => short(this.#latest[name] ?? Number.NaN)),
      ...(found ? metrics.map((m) => short(found[m.name])) : []),
      lr === undefined ? "-" : short(lr),
      String(Math.round(perSecond)),
      timeText(seconds),
    ]);
    this.#log("epoch", { loss, lr, samples_per_s: perSecond, val: found });
    this.#board?.add(this.#step, {
      "epoch/loss": loss,
      ...Object.fromEntries(Object.entries(found ?? {}).map(([k, v]) => [`val/${k}`, v])),
    });
    if (found) this.#vals.push({ step: this.#step, metrics: found });
  }

  /** The epoch under way, else the last one, from 1. */
  get #number(): number {
    return this.#batch > 0 ? this.#epoch + 1 : this.#epoch;
  }

  /** What schedules may ask for. */
  get #given(): Given {
    return { plateaus: this.#plateau.plateaus };
  }

  /** Does something with the averages of parameters in their place, where a block keeps one. */
  async #averaged<T>(work: () => Promise<T>): Promise<T> {
    const { net, blocks } = this.#options;
    const entries = callsOf<() => Promise<unknown>>(net);
    const swap = async (): Promise<void> => {
      for (const { swap: name } of blocks) if (name !== undefined) await entries[name]();
    };
    await swap();
    try {
      return await work();
    } finally {
      await swap();
    }
  }

  /** Of the last finished step. */
  #lr(): number | undefined {
    return this.#options.blocks[0].rates.at(Math.max(0, this.#step - 1), this.#given);
  }

  /** The samples of an epoch, or of what is left of it; ends early where the run is stopped. */
  async #trainEpoch(loader: Loader): Promise<number> {
    const { net, blocks, settings, totalSteps, train } = this.#options;
    const entries = callsOf<StepCall>(net);
    let samples = 0;
    let last = { time: performance.now(), samples: 0 };
    let readAt = 0;
    for await (const batch of loader.epoch(this.#epoch, this.#batch)) {
      if (this.#stop || this.#step >= totalSteps) break;
      if (this.#failure) throw this.#failure.error;
      const results: StepResult[] = [];
      for (const { entry, rates } of blocks) {
        const inputs = inputsOf(entry, batch);
        const hyper = rates.override(this.#step, this.#given);
        const result = await entries[entry.name](inputs, hyper);
        this.#unread.push({ entry: entry.name, step: result.step, inputs, hyper });
        results.push(result);
      }
      const records = Math.min(settings.batch, train.size - this.#batch * settings.batch);
      samples += records;
      this.#step++;
      this.#batch++;
      const now = performance.now();
      const final = this.#batch === loader.count || this.#step === totalSteps;
      if (!this.#reading && (now - readAt > READ_EVERY || final)) {
        readAt = now;
        const [step, epoch, lr] = [this.#step, this.#epoch, this.#lr()];
        this.#reading = Promise.all(results.map((r) => r.read())).then(
          (all) => {
            const figures = Object.fromEntries(
              all.flatMap((own, i) =>
                Object.entries(own as Figures).map(([name, v]) => [figureName(blocks, i, name), v]),
              ),
            );
            this.#reading = undefined;
            this.#unread = this.#unread.filter((t) => t.step > results[0].step);
            const time = performance.now();
            if (samples > last.samples && time > last.time)
              this.#perSecond = (1000 * (samples - last.samples)) / (time - last.time);
            last = { time, samples };
            this.#figures(step, epoch, lr, figures);
          },
          (error: unknown) => {
            this.#reading = undefined;
            this.#failure ??= { error };
          },
        );
      }
      // The last one counts for the row, so that an epoch of few steps has a loss, too.
      if (final) await this.#settle();
      const remaining = totalSteps - this.#step;
      this.#line.show({
        label: `epoch ${this.#epoch + 1}/${settings.epochs}`,
        done: this.#batch,
        total: loader.count,
        figures: this.#latest,
        perSecond: this.#perSecond,
        left: this.#perSecond && (remaining * settings.batch) / this.#perSecond,
      });
    }
    await this.#settle();
    return samples;
  }

  async #settle(): Promise<void> {
    await this.#reading;
    if (this.#failure) throw this.#failure.error;
  }

  #figures(step: number, epoch: number, lr: number | undefined, figures: Figures): void {
    this.#latest = figures;
    this.#losses.push([step, figures["loss"]]);
    this.#log("step", { epoch: epoch + 1, step, lr, samples_per_s: this.#perSecond });
    this.#board?.add(step, {
      lr,
      ...Object.fromEntries(Object.entries(figures).map(([k, v]) => [`train/${k}`, v])),
      samples_per_s: this.#perSecond,
    });
  }

  #log(event: "step" | "epoch" | "end", fields: object): void {
    const { log } = this.#options;
    if (log === undefined) return;
    const all = { event, epoch: this.#number, step: this.#step, ...this.#latest, ...fields };
    appendFileSync(log, `${JSON.stringify(all)}\n`);
  }

  /** Of the losses that were read after a step; the last one where none was. */
  #meanSince(before: number): number {
    const own = this.#losses.filter(([step]) => step > before).map(([, loss]) => loss);
    return own.length
      ? own.reduce((a, b) => a + b, 0) / own.length
      : (this.#losses.at(-1)?.[1] ?? Number.NaN);
  }

  async #validate(val: Dataset): Promise<Metrics> {
    const { net, metrics, settings, transforms, matched } = this.#options;
    this.#line.show({ label: "validating", done: 0, total: 1, figures: this.#latest }, true);
    const { metrics: found } = await this.#averaged(() =>
      evaluate(net, metrics, val, { batch: settings.batch, transforms, matched }),
    );
    return found;
  }

  #judge(value: number): boolean {
    const better = this.#best === undefined || value < this.#best;
    if (better) this.#best = value;
    this.#waited = better ? 0 : this.#waited + 1;
    return better;
  }

  async #saveWeights(): Promise<void> {
    const { save, net } = this.#options;
    if (save === undefined) return;
    await writeFiles([{ path: save, data: await this.#averaged(() => net.save()) }]);
  }

  async #checkpoint(): Promise<void> {
    const { net, checkpoint, settings, train, model } = this.#options;
    const data = formatCheckpoint({
      model,
      block: this.#block,
      target: net.target,
      records: train.size,
      settings,
      progress: {
        step: this.#step,
        epoch: this.#epoch,
        batch: this.#batch,
        waited: this.#waited,
        best: this.#best,
        plateau: this.#plateau.state,
        losses: this.#losses,
        vals: this.#vals,
      },
      snapshot: await net.snapshot(),
    });
    await writeFiles([{ path: checkpoint.path, data }]);
  }

  #curve(seconds: number): void {
    if (this.#losses.length < 2) return;
    const { dim, cyan } = this.#style;
    const losses = this.#losses.map(([, loss]) => loss);
    const last = this.#losses.at(-1)?.[1] as number;
    process.stdout.write(
      `\n${cyan(curveText(losses, dim))}\n  ${dim(`loss ${short(this.#losses[0][1])} to ${short(last)} in ${this.#step} steps, ${timeText(seconds)}`)}\n`,
    );
  }

  #plot(): void {
    const { plot, model } = this.#options;
    if (plot === undefined) return;
    const losses = this.#losses.map(([x, y]) => ({ x, y }));
    const names = [...new Set(this.#vals.flatMap((v) => Object.keys(v.metrics)))];
    const ofVal = (name: string) => ({
      name: `val ${name}`,
      points: this.#vals.map((v) => ({ x: v.step, y: v.metrics[name] })),
    });
    const charts = [
      {
        title: "loss",
        series: [{ name: "train", points: losses }, ...(names.includes("loss") ? [ofVal("loss")] : [])],
      },
      ...names.filter((name) => name !== "loss").map((name) => ({ title: name, series: [ofVal(name)] })),
    ];
    writeFileSync(plot, chartSvg(`${harmless(model)}: ${this.#block}`, charts));
  }
}
