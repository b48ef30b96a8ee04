// When a metric stops getting better: the counting of PyTorch's ReduceLROnPlateau, for a schedule that says `plateau(…)`. In: a
// metric, once an epoch or whenever it is known. Out: how many plateaus there were, which a step is given. An export of its
// own (`mdlc/plateau`), so that modules whose schedules need no metric do not carry it.

export interface PlateauOptions {
  /** Whether less (a loss) or more (an accuracy) is better. */
  readonly mode?: "min" | "max";
  /** Metrics that may be no better, one after the other, before there is a plateau. */
  readonly patience?: number;
  /** How much better than the best so far is better. */
  readonly threshold?: number;
  /** Whether that is a part of the best, or a difference. */
  readonly thresholdMode?: "rel" | "abs";
  /** Metrics after a plateau that count for nothing. */
  readonly cooldown?: number;
}
/** What `state` gives and `restore` takes: plain data, to be kept beside a snapshot. */
export interface PlateauState {
  readonly plateaus: number;
  readonly best: number | null;
  readonly bad: number;
  readonly cooling: number;
}

const KINDS: Readonly<Record<keyof PlateauOptions, (v: unknown) => boolean>> = {
  mode: (v) => v === "min" || v === "max",
  patience: (v) => Number.isInteger(v) && (v as number) >= 0,
  threshold: (v) => typeof v === "number" && v >= 0,
  thresholdMode: (v) => v === "rel" || v === "abs",
  cooldown: (v) => Number.isInteger(v) && (v as number) >= 0,
};

/** `net.train_step(batch, { plateaus: plateau.plateaus })`, and `plateau.step(loss)` when there is a metric. */
export class ReduceOnPlateau {
  /** How often the metric has stopped getting better. */
  plateaus = 0;
  readonly #options: Required<PlateauOptions>;
  #best: number | undefined;
  #bad = 0;
  #cooling = 0;

  /** PyTorch's defaults. @throws TypeError where an option is none, or no such. */
  constructor(options: PlateauOptions = {}) {
    for (const [name, value] of Object.entries(options)) {
      if (!Object.hasOwn(KINDS, name)) throw new TypeError(`ReduceOnPlateau has no option ${name}`);
      if (value !== undefined && !KINDS[name as keyof PlateauOptions](value))
        throw new TypeError(`ReduceOnPlateau: ${name} cannot be ${value}`);
    }
    this.#options = {
      mode: "min",
      patience: 10,
      threshold: 1e-4,
      thresholdMode: "rel",
      cooldown: 0,
      ...options,
    };
  }

  /** The next metric; whether it is the end of a plateau. NaN is no better than anything. */
  step(metric: number): boolean {
    const { patience, cooldown } = this.#options;
    if (this.#isBetter(metric)) {
      this.#best = metric;
      this.#bad = 0;
    } else this.#bad++;
    if (this.#cooling > 0) {
      this.#cooling--;
      this.#bad = 0;
    }
    if (this.#bad <= patience) return false;
    this.plateaus++;
    this.#cooling = cooldown;
    this.#bad = 0;
    return true;
  }

  #isBetter(metric: number): boolean {
    const best = this.#best;
    const { mode, threshold, thresholdMode } = this.#options;
    if (best === undefined) return !Number.isNaN(metric);
    const sign = mode === "min" ? -1 : 1;
    const bar = thresholdMode === "rel" ? best * (1 + sign * threshold) : best + sign * threshold;
    return mode === "min" ? metric < bar : metric > bar;
  }

  get state(): PlateauState {
    return { plateaus: this.plateaus, best: this.#best ?? null, bad: this.#bad, cooling: this.#cooling };
  }

  restore({ plateaus, best, bad, cooling }: PlateauState): void {
    this.plateaus = plateaus;
    this.#best = best ?? undefined;
    this.#bad = bad;
    this.#cooling = cooling;
  }
}
