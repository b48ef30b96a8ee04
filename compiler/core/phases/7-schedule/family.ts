// What a kernel family is. In: a group with layouts, and a target. Out: Launches: the kernels that compute it, in order.
// A family says what it can compute and in which ways; a way is data, so that a tuner can try others. `families.ts` is the
// list, `choose.ts` picks from it.
import type { Dim, DimLike } from "../../dims/dim.ts";
import { dim } from "../../dims/dim.ts";
import type { DType, Node, OpDef, Value } from "../../ir/types.ts";
import type { BufferSlot, KernelCode } from "../../kernel/code.ts";
import type { Placing } from "../../kernel/emitter.ts";
import type { Target } from "../../targets.ts";
import type { Fused, Group } from "../5-fuse/groups.ts";
import type { Layouts } from "../6-layout/layouts.ts";
import type { Nest } from "./contraction/nest.ts";

/** One kernel and its grid. */
export interface Launch {
  readonly code: KernelCode;
  /** Number of workgroups. */
  readonly groups: Dim;
  /** Values of the uniform words after word 0. */
  readonly uniforms: readonly Dim[];
  /** What it binds, reads and writes, in order. */
  readonly buffers: readonly BufferSlot[];
  /** Floating-point operations, roughly. */
  readonly cost: Dim;
}
/** What computes a group: kernels in order. One is the ordinary case. */
export interface Launches {
  readonly list: readonly Launch[];
  /** Values that an earlier launch writes and a later one reads, and nobody else: made by `temporary`. */
  readonly temporaries: readonly Value[];
}
/** The ordinary case. */
export const oneLaunch = (launch: Launch): Launches => ({ list: [launch], temporaries: [] });

/** A way to compute a group: numbers (tile, unroll, split, workgroup) and words (staging), by name. */
export type Choice = { readonly [what: string]: number | string };

export interface ScheduleContext {
  readonly fused: Fused;
  readonly layouts: Layouts;
  readonly target: Target;
  /** Stored copies in a better layout, per group that reads them. */
  readonly packed: ReadonlyMap<Group, ReadonlyMap<Value, Value>>;
  readonly placing?: Placing;
  /** Takes another of the ways to compute a group than the first (a tuner, a test): its number. */
  readonly pick?: (offers: readonly Offer[]) => number;
}
/** A family that can compute a group, and one of its ways. */
export interface Offer {
  readonly family: Family;
  readonly choice: Choice;
}
/** What is to be computed, and what families ask about it. */
export interface Job {
  readonly ctx: ScheduleContext;
  readonly group: Group;
  /** The contraction it is, in rows, columns and batch; undefined for what is none. */
  nest(): Nest | undefined;
}

export interface Family<C extends Choice = Choice> {
  readonly name: string;
  /** Whether it computes this composite or algorithm as a whole on this target: it is not expanded then. */
  claims?(node: Node, target: Target): boolean;
  /** What a launch of it binds beside operands and results of what it claims: temporaries. */
  readonly room?: number;
  /** The ways to compute a group here; the first is the default. None where it is not for this family. */
  choices(job: Job): readonly C[];
  lower(job: Job, choice: C): Launches;
}

const scratch: OpDef = {
  name: "temporary",
  doc: "What one launch of a group leaves for the next.",
  fuses: "source",
  exposed: false,
  pure: false,
  params: [],
  infer: () => [],
  examples: [],
};
/** A value that lives between the launches of one group. */
export function temporary(name: string, dtype: DType, shape: readonly DimLike[], from: Node): Value {
  const outs: Value[] = [];
  const node: Node = { id: -1, op: scratch, inputs: [], attrs: {}, outs, origin: from.origin, label: name };
  outs.push({ node, index: 0, type: { dtype, shape: shape.map((d) => dim(d)) } });
  return outs[0];
}
