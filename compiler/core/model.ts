// What the line begins with: a model's parameters, state, one graph per entry and its train blocks, as plain data. A source
// that was checked is one way to have it; an importer or a test makes it without one. In: nothing, or graphs. Out: types, and a
// model of graphs.

import type { HostExpr, Init } from "../../runtime/core/program.ts";
import type { Span } from "./diagnostics/span.ts";
import { asConst, print } from "./dims/dim.ts";
import type { DType, Graph, TensorType, Value } from "./ir/types.ts";
import { RANDOM_STEP } from "./ops/source.ts";

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
  /** The program's own state (the random step) and private buffers: in checkpoints, not beside the weights. */
  readonly internal: boolean;
  readonly doc?: string;
  readonly span: Span;
}

export interface PortInfo {
  readonly name: string;
  readonly type: TensorType;
  /** The dtype as declared, where it differs from the graph's. */
  readonly boundary?: BoundaryDType;
  /** An `int` of the author's: its value is the size of its name. */
  readonly counts?: true;
  /** The shape as the author wrote it, or the inferred one. */
  readonly shapeText: readonly string[];
  readonly span: Span;
}

/**
 * What a model that was checked for debugging knows of a value: the name that its author gave it, and where. A `print` or
 * `assert` is one, too: of what it is handed.
 */
export interface Sight {
  readonly kind: "value" | "print" | "assert";
  /**
   * With the instance before it: `blocks.2.attn.scores`. Several values may have one (the passes of a loop). Of a print: the
   * part of what it was given (`[0]`, `.k`), or nothing.
   */
  readonly name: string;
  /** The words of a print or an assert. */
  readonly text?: string;
  /** Undefined inside a scan where nobody asked for it, and of a print that is words alone. */
  readonly value: Value | undefined;
  /** The number of axes before its own: one for each scan that it is inside of. */
  readonly passes: number;
  /** Of a float inside a scan: zeros of its shape that the scan adds to it, pass by pass. Their gradient is the value's. */
  readonly push?: Value;
  readonly span: Span;
  readonly path: string;
}

export interface CheckedEntry {
  readonly name: string;
  readonly doc?: string;
  /** In eval mode. */
  readonly graph: Graph;
  readonly inputs: readonly PortInfo[];
  readonly outputs: readonly PortInfo[];
  /** Computed as a training step is: nothing is folded into weights, or prepared of them before the call. */
  readonly training?: true;
  /** Where it was checked for debugging. */
  readonly seen?: readonly Sight[];
  readonly span: Span;
}

/** What a step makes of some parameters: an optimiser with its numbers, traced in f32. */
export interface UpdateRule {
  /** Its name. */
  readonly optimizer: string;
  /** One graph over scalars, for every element; else one for each shape, of whole parameters. */
  readonly elementwise: boolean;
  /**
   * By shape (`3,4`; of an element-wise one, none). Inputs: `param`, `grad`, `step` (the number of the good step, from 1) and
   * the host's numbers; its result is the next `param`. What it keeps are `state` leaves and writes, by name.
   */
  readonly graphs: ReadonlyMap<string, Graph>;
  /** What it keeps of each element, or of each parameter. */
  readonly states: readonly {
    readonly name: string;
    readonly init: Init;
    readonly shape: readonly number[];
  }[];
  /** Numbers that the caller of a step may give in their place, by name. */
  readonly hyper: Readonly<Record<string, HostExpr>>;
  readonly groups: readonly RuleGroup[];
}
/** Parameters with the same numbers. */
export interface RuleGroup {
  readonly paths: readonly string[];
  /** By the name of the graphs' input: of `hyper`'s names. */
  readonly numbers: Readonly<Record<string, HostExpr>>;
}

export interface CheckedTrain {
  readonly name: string;
  readonly doc?: string;
  /** In train mode: results are `loss` and the reports by name; writes hold running statistics and the random step. */
  readonly lossGraph: Graph;
  readonly inputs: readonly PortInfo[];
  /** `GRAD_NORM` is one of the step's own. */
  readonly reports: readonly string[];
  /** Paths of the parameters this block trains, in order of declaration. */
  readonly update: readonly string[];
  /** None where the block gives its gradients and updates nothing. */
  readonly rules: readonly UpdateRule[];
  readonly batch?: number;
  readonly clip?: { readonly by: "norm" | "value"; readonly limit: number };
  /** Calls that make one update: their gradients' mean. */
  readonly accumulate?: number;
  /** How much of an average of the parameters is kept at each update. */
  readonly ema?: number;
  /** Parameters whose rows are no longer than that. */
  readonly maxNorm: readonly { readonly limit: number; readonly paths: readonly string[] }[];
  /** What the loss is multiplied by at first, while gradients are computed. */
  readonly lossScale?: number;
  /** Where it was checked for debugging. */
  readonly seen?: readonly Sight[];
  readonly span: Span;
}

/** What calls a train block: its step, or what gives its gradients. */
export const blockEntry = (t: Pick<CheckedTrain, "name" | "rules">): string =>
  `${t.name}_${t.rules.length > 0 ? "step" : "gradients"}`;

/** What exchanges the parameters that a train block updates with the averages that it keeps of them. */
export const swapName = (block: string): string => `${block}_swap_ema`;

/** The report that is the norm of all gradients, before they are clipped. */
export const GRAD_NORM = "grad_norm";

/** An instance of a layer within a model, by the path that its parameters' names begin with. */
export interface LayerInfo {
  readonly path: string;
  /** The name of its declaration. */
  readonly layer: string;
}

export interface CheckedModel {
  readonly name: string;
  readonly doc?: string;
  /** In the order of declaration, what is outside before what is inside; a model of graphs has none. */
  readonly layers: readonly LayerInfo[];
  readonly params: readonly ParamInfo[];
  readonly buffers: readonly ParamInfo[];
  readonly entries: readonly CheckedEntry[];
  readonly trains: readonly CheckedTrain[];
  readonly span: Span;
}

/**
 * A model of graphs alone, as an importer has them: each graph is an entry of its name, its `param` and `state` leaves are the
 * model's parameters and buffers. `inits`: how these begin, by path; zeros where nothing is said (weights are loaded then).
 */
export function graphModel(
  name: string,
  graphs: readonly Graph[],
  inits: Readonly<Record<string, Init>> = {},
): CheckedModel {
  const span: Span = { file: name, start: 0, end: 0 };
  const found = { param: new Map<string, ParamInfo>(), state: new Map<string, ParamInfo>() };
  const port = (of: string, type: TensorType): PortInfo => ({
    name: of,
    type,
    shapeText: type.shape.map(print),
    span,
  });
  const leaf = (kind: "param" | "state", path: string, type: TensorType): void => {
    const shape = type.shape.map((d) => asConst(d));
    const known = shape.filter((d) => d !== undefined);
    if (known.length < shape.length) throw new Error(`${path} has a size that is not a number`);
    const old = found[kind].get(path);
    if (old && (old.dtype !== type.dtype || old.shape.join() !== known.join()))
      throw new Error(`${path} is of two types`);
    found[kind].set(path, {
      path,
      aliases: [],
      dtype: type.dtype,
      shape: known,
      init: inits[path] ?? { kind: "constant", value: 0 },
      frozen: false,
      internal: path === RANDOM_STEP,
      span,
    });
  };
  for (const { nodes } of graphs)
    for (const { op, attrs, outs } of nodes)
      if (op.name === "param" || op.name === "state") leaf(op.name, String(attrs.path), outs[0].type);
  for (const { writes } of graphs)
    for (const { path, value } of writes) if (!found.param.has(path)) leaf("state", path, value.type);
  return {
    name,
    layers: [],
    params: [...found.param.values()],
    buffers: [...found.state.values()],
    entries: graphs.map((graph) => ({
      name: graph.name,
      graph,
      inputs: graph.inputs.map((n) => port(String(n.attrs.name), n.outs[0].type)),
      outputs: graph.results.map((r) => port(r.name, r.value.type)),
      span,
    })),
    trains: [],
    span,
  };
}
