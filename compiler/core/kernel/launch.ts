// What a plan orders and places: kernels with their grids, and what else runs for a graph. In: scheduled groups. Out: plain
// data in which values are known by what they are in the graph, not by how they were fused.
import type { Dim, DimLike } from "../dims/dim.ts";
import { dim } from "../dims/dim.ts";
import { type Block, mapBlocks } from "../ir/blocks.ts";
import type { DType, Graph, Node, OpDef, TensorType, Value } from "../ir/types.ts";
import type { BufferSlot, KernelCode } from "./code.ts";

/** What a buffer of a kernel is bound to. */
export interface Binding {
  readonly value: Value;
  readonly access: BufferSlot["access"];
}
/** One kernel, its grid, and what it is bound to. Equal groups share the code, and with it what is found out about it. */
export interface Launch {
  readonly code: KernelCode;
  /** Number of workgroups. */
  readonly groups: Dim;
  /** Values of the uniform words between those that say which workgroups run. */
  readonly uniforms: readonly Dim[];
  /** Values of the code's overrides. */
  readonly overrides: readonly number[];
  /** What it reads and writes: one for each buffer of the code. */
  readonly buffers: readonly Binding[];
  /** Floating-point operations, roughly. */
  readonly cost: Dim;
  /** Calls of unusual sizes alone have work for it. */
  readonly spare?: true;
}
/** What computes a group: kernels in order. One is the ordinary case. */
export interface Launches {
  readonly list: readonly Launch[];
  /** Values that an earlier launch writes and a later one reads, and nobody else: made by `temporary`. */
  readonly temporaries: readonly Value[];
}
/** The ordinary case. */
export const oneLaunch = (launch: Launch): Launches => ({ list: [launch], temporaries: [] });

/** What uses a kernel: the author's names, shapes and the source line. */
export interface About {
  readonly site: string;
  readonly label: string;
}

export type Step =
  | { readonly kind: "launch"; readonly launches: Launches; readonly about: About }
  /** Weights that parameters alone decide: equal keys are computed once; `launches` are there at the first of them. */
  | {
      readonly kind: "prepare";
      readonly key: string;
      readonly roots: readonly Value[];
      readonly launches: Launches | undefined;
      readonly about: About;
    }
  /** Operands are ranges of the whole, into which their kernels store. */
  | {
      readonly kind: "pack";
      readonly whole: Value;
      readonly parts: readonly { readonly value: Value; readonly offset: number }[];
    }
  | { readonly kind: "loop"; readonly node: Node };

/** How many elements of what type a value takes in memory. */
export interface Memory {
  readonly dtype: DType;
  readonly elements: Dim;
}
/** What runs for a graph, in order. */
export interface Routine {
  readonly graph: Graph;
  readonly steps: readonly Step[];
  /** Values that are a stored value seen through views that keep its order. */
  readonly alias: ReadonlyMap<Value, Value>;
  /** Values that are stored over the state they were computed from. */
  readonly inPlace: ReadonlyMap<Value, Value>;
  /** What memory values take that do not take what they are. */
  readonly memory: ReadonlyMap<Value, Memory>;
}

/** The routines with other launches, in steps and in what is prepared for them. */
export function mapLaunches(
  routines: readonly Block<Routine>[],
  launch: (l: Launch) => Launch,
): Block<Routine>[] {
  const launches = (l: Launches): Launches => ({ ...l, list: l.list.map(launch) });
  const step = (s: Step): Step => {
    if (s.kind === "launch") return { ...s, launches: launches(s.launches) };
    return s.kind === "prepare" && s.launches ? { ...s, launches: launches(s.launches) } : s;
  };
  return routines.map((r) => mapBlocks(r, (own) => ({ ...own, steps: own.steps.map(step) })));
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
let made = 0;
/** A value that no graph has, for what a plan needs beside it; `from` says where it came from. */
export function freshValue(
  op: OpDef,
  attrs: Node["attrs"],
  type: TensorType,
  label: string,
  from: Node,
): Value {
  const outs: Value[] = [];
  // No node of a graph has a number below 0.
  const node: Node = { id: -++made, op, inputs: [], attrs, outs, origin: from.origin, label };
  outs.push({ node, index: 0, type });
  return outs[0];
}
/** A value that lives between the launches of one group. */
export const temporary = (name: string, dtype: DType, shape: readonly DimLike[], from: Node): Value =>
  freshValue(scratch, {}, { dtype, shape: shape.map((d) => dim(d)) }, name, from);
