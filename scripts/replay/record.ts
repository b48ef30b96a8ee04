// What a revision of the compiler made of one model: what the child process sends, what is kept, what is compared. Data.

/** A model to compile, with everything its source needs: a revision is asked for nothing but its compiler. */
export interface ReplayModel {
  /** Unique, and the same in every run: `dsl-examples/mlp.mdl MLP`. */
  readonly id: string;
  readonly file: string;
  readonly source: string;
  /** Texts of imported files by their path. */
  readonly imports?: Readonly<Record<string, string>>;
  readonly model?: string;
  readonly set?: Readonly<Record<string, number | boolean | string>>;
}

/** One entry on one target. */
export interface EntryRecord {
  readonly name: string;
  /** Dispatches of a call in its sizes, at the nominal sizes, and of what is prepared. */
  readonly dispatches: string;
  readonly nominal: number;
  readonly prepare: number;
  readonly peakBytes: number;
}

export interface TargetRecord {
  readonly target: string;
  /** Names and texts, in the program's order. */
  readonly kernels: readonly { readonly name: string; readonly text: string }[];
  readonly entries: readonly EntryRecord[];
  /** The text of the stage `plan`. */
  readonly plan: string;
}

export type ModelRecord =
  | {
      readonly id: string;
      readonly targets: readonly TargetRecord[];
      /** Bytes of the module, gzipped: as `mdl compile` writes it, and minified where that was asked for and the revision can. */
      readonly bytes: number;
      readonly minifiedBytes?: number;
      /** Milliseconds of processor time of `compile`, for all targets asked for. */
      readonly ms: number;
    }
  | {
      readonly id: string;
      /** Why there is nothing: what `compile` threw, or how the process ended. */
      readonly error: string;
    };
