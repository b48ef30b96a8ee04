// What the line begins with: a model's parameters, state, one graph per entry and its train blocks, as plain data. A source
// that was checked is one way to have it; an importer or a test makes it without one. In: nothing. Out: types.

import type { HostExpr, Init } from "../../runtime/core/program.ts";
import type { Span } from "./diagnostics/span.ts";
import type { DType, Graph, TensorType } from "./ir/types.ts";

export type { HostExpr, Init };

/** A dtype at the boundary; i8, u8 and i64 are i32 inside. */
export type BoundaryDType = DType | "i8" | "u8" | "i64";

export interface ParamInfo {
  /** The first declaration's path: the safetensors key. */
  readonly path: string;
  /** Every other path by which it is reached (sharing, ties). */
  readonly aliases: readonly string[];
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly init: Init;
  /** For parameters: left alone by every training step. */
  readonly frozen: boolean;
  /** The program's own state (the random step): in checkpoints, not beside the weights. */
  readonly internal: boolean;
  readonly doc?: string;
  readonly span: Span;
}

export interface PortInfo {
  readonly name: string;
  readonly type: TensorType;
  /** The dtype as declared, where it differs from the graph's. */
  readonly boundary?: BoundaryDType;
  /** The shape as the author wrote it, or the inferred one. */
  readonly shapeText: readonly string[];
  readonly span: Span;
}

export interface CheckedEntry {
  readonly name: string;
  readonly doc?: string;
  /** In eval mode. */
  readonly graph: Graph;
  readonly inputs: readonly PortInfo[];
  readonly outputs: readonly PortInfo[];
  readonly span: Span;
}

export interface Optimizer {
  readonly kind: "sgd" | "adam" | "adamw";
  /** Numbers and schedules by their PyTorch names: lr, momentum, beta1, beta2, eps, weight_decay, … */
  readonly args: Readonly<Record<string, HostExpr>>;
  readonly nesterov: boolean;
  /** Paths whose weight decay is 0. */
  readonly noDecay: readonly string[];
}

export interface CheckedTrain {
  readonly name: string;
  readonly doc?: string;
  /** In train mode: results are `loss` and the reports by name; writes hold running statistics and the random step. */
  readonly lossGraph: Graph;
  readonly inputs: readonly PortInfo[];
  readonly reports: readonly string[];
  /** Paths of the parameters this block trains, in order of declaration. */
  readonly update: readonly string[];
  readonly optimizer: Optimizer;
  readonly batch?: number;
  readonly clip?: { readonly by: "norm" | "value"; readonly limit: number };
  readonly span: Span;
}

export interface CheckedModel {
  readonly name: string;
  readonly doc?: string;
  readonly params: readonly ParamInfo[];
  readonly buffers: readonly ParamInfo[];
  readonly entries: readonly CheckedEntry[];
  readonly trains: readonly CheckedTrain[];
  readonly span: Span;
}
