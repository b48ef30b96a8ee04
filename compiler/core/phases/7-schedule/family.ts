// What a kernel family is. In: a group with layouts, and a target. Out: Launches: the kernels that compute it, in order.
// A family says what it can compute and in which ways; a way is data, so that a tuner can try others. `families.ts` is the
// list, `choose.ts` picks from it.
import type { Node, Value } from "../../ir/types.ts";
import type { Placing } from "../../kernel/emitter.ts";
import type { Launches } from "../../kernel/launch.ts";
import type { Fused, Region } from "../../regions/region.ts";
import type { Target } from "../../targets.ts";
import type { Layouts } from "../6-layout/layouts.ts";
import type { Filter } from "../6-layout/weights.ts";
import type { Nest } from "./contraction/nest.ts";

export { type Launch, type Launches, oneLaunch, temporary } from "../../kernel/launch.ts";

/** A way to compute a group: numbers (tile, unroll, split, workgroup) and words (staging), by name. */
export type Choice = { readonly [what: string]: number | string };

export interface ScheduleContext {
  readonly fused: Fused;
  readonly layouts: Layouts;
  readonly target: Target;
  /** Stored copies in a better layout, per group that reads them. */
  readonly packed: ReadonlyMap<Region, ReadonlyMap<Value, Value>>;
  /** What a group reads in place of its filter (contraction/winograd.ts). */
  readonly filters: ReadonlyMap<Region, Filter>;
  /** Products may round what they read to f16. */
  readonly half?: boolean;
  readonly placing?: Placing;
  /** A module of few bytes: a text that one target alone has is not worth it for a part of the time. */
  readonly small?: boolean;
  /** Takes another of the ways to compute a group than the first (a tuner, a test): its number. */
  readonly pick?: (offers: readonly Offer[], job: Job) => number;
}
/** A family that can compute a group, and one of its ways. */
export interface Offer {
  readonly family: Family;
  readonly choice: Choice;
}
/** What is to be computed, and what families ask about it. */
export interface Job {
  readonly ctx: ScheduleContext;
  readonly group: Region;
  /** The contraction it is, or the product of a vector and a matrix, in rows, columns and batch; undefined for what is none. */
  nest(): Nest | undefined;
}

export interface Family<C extends Choice = Choice> {
  readonly name: string;
  /** Counts what makes old measurements of its choices say nothing of its kernels; 1 where nothing did. */
  readonly version?: number;
  /** Whether it computes this composite or algorithm as a whole on this target: it is not expanded then. */
  claims?(node: Node, target: Target): boolean;
  /** Its kernels are of few statements. */
  readonly brief?: true;
  /** What a launch of it binds beside operands and results of what it claims: temporaries. */
  readonly room?: number;
  /** The ways to compute a group here; the first is the default. None where it is not for this family. */
  choices(job: Job): readonly C[];
  lower(job: Job, choice: C): Launches;
}
