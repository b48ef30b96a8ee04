// The graph: SSA over tensors. Plain immutable data; passes build new nodes, they never edit one.
// In: nothing but sizes and spans. Out: the types every phase from the checker to the planner speaks.
import type { Span } from "../diagnostics/report.ts";
import type { Dim } from "../dims/dim.ts";
import type { Lowering, Scalar } from "../kernel/scalar.ts";
import type { Data } from "./data.ts";

export type DType = "f32" | "f16" | "i32" | "u32" | "bool";

/** A tensor's element type and logical shape (NCHW where PyTorch says so; physical layout is the planner's). */
export interface TensorType {
  readonly dtype: DType;
  readonly shape: readonly Dim[];
}

/** Where a node comes from; survives every pass. */
export interface Origin {
  /** The source text to blame. */
  readonly span?: Span;
  /** The instance path, e.g. `trunk.block2.conv`; "" at the model itself. */
  readonly path: string;
  /** Call sites from the entry inwards. */
  readonly calls: readonly Span[];
  /** What it was derived from: "gradient of relu", "fold-batch-norm", … outermost last. */
  readonly derived: readonly string[];
}

export type Attr = number | boolean | string | Dim | Graph | Data | readonly Attr[] | undefined;
export type Attrs = { readonly [name: string]: Attr };

/** One operation. `outs[i]` are its results. */
export interface Node {
  /** Unique within a builder, increasing in creation order: an operand's id is always smaller. */
  readonly id: number;
  readonly op: OpDef;
  readonly inputs: readonly Value[];
  readonly attrs: Attrs;
  readonly outs: readonly Value[];
  readonly origin: Origin;
  /** The author's name for the result, where there is one. */
  readonly label?: string;
}

/** One result of a node; identity is the object. */
export interface Value {
  readonly node: Node;
  readonly index: number;
  readonly type: TensorType;
}

/** A condition on the symbols to be checked at the call. */
export interface Constraint {
  readonly left: Dim;
  /** `==`: left equals right; `divides`: right divides left; `>=`: left is at least right. */
  readonly relation: "==" | "divides" | ">=";
  readonly right: Dim;
  /** Names both sides, for the error at the call. */
  readonly message: string;
  readonly span?: Span;
}

/** Some places of a tensor: per axis `size` of them from `start` on, `step` (at least 1) apart. */
export type Part = readonly { readonly start: Dim; readonly size: Dim; readonly step: number }[];

/** An operand that an operator uses as indices: each names one of `extent` places, counted from 0. */
export interface IndexUse {
  readonly operand: number;
  readonly extent: Dim;
  /** A number outside that is allowed, and means something else (a class to be ignored). */
  readonly except?: number;
  /** What is indexed, for the error at the call. */
  readonly use: string;
}
/** What an input's elements must be, all or those of a part, because something uses them as indices. */
export interface IndexRange extends Omit<IndexUse, "operand"> {
  readonly input: string;
  readonly part?: Part;
}

/**
 * An entry (or the body of a scan): sources are nodes whose op is `input`, `param`, `state`, `seed`; results and writes
 * are its sinks. `nodes` is topological and holds exactly what the sinks need plus every declared input.
 */
export interface Graph {
  readonly name: string;
  readonly nodes: readonly Node[];
  readonly inputs: readonly Node[];
  readonly results: readonly { readonly name: string; readonly value: Value }[];
  /** State written at the end of the call; reads see the value at entry. */
  readonly writes: readonly { readonly path: string; readonly value: Value }[];
  readonly symbols: readonly string[];
  readonly constraints: readonly Constraint[];
  /** What the inputs that are used as indices must be; a call checks what it is given by the host. */
  readonly indexes?: readonly IndexRange[];
}

/** A dense tensor of the reference evaluator: doubles for floats, exact integers for i32/u32, 0/1 for bool. */
export interface Dense {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

/** What an operator's rule throws when operands or attributes don't fit; the checker adds place and path. */
export class OpError extends Error {
  override name = "OpError";
  readonly code: string;
  /** Which operand is at fault, for the caret (index into inputs), or the attribute's name. */
  readonly at: { readonly operand?: number; readonly attr?: string; readonly help?: string };
  constructor(code: string, message: string, at: { operand?: number; attr?: string; help?: string } = {}) {
    super(message);
    this.code = code;
    this.at = at;
  }
}

/** What a builder throws when its graph has more values than its limit: the program is at fault, at its current place. */
export class GraphLimit extends Error {
  override name = "GraphLimit";
  readonly limit: number;
  constructor(limit: number) {
    super(`a graph has at most ${limit} values`);
    this.limit = limit;
  }
}

/**
 * How fusion may treat an operator; the only thing a pass may ask.
 * - source: a leaf (input, param, state, seed, constant data)
 * - map: one output element from one element of each operand at the same (broadcast) coordinates
 * - view: movement; one output element is one operand element elsewhere (or a constant outside)
 * - fold: one output element combines many (reductions, windows, contractions): lower() returns a fold
 * - composite: `expand` is its definition; a kernel family may claim it before that
 * - algorithm: no function of one output element (a running sum, a scatter): a kernel family computes it, in several
 *   launches maybe; `expand`, where there is one, stands for it where none claims it (what is small)
 * - control: holds a graph and runs it (scan)
 * - pack: storage-level concatenation: operands are written straight into ranges of the result
 */
export type Fuses = "source" | "map" | "view" | "fold" | "composite" | "algorithm" | "control" | "pack";

/** A parameter of an operator as the language sees it. */
export interface OpParam {
  readonly name: string;
  /**
   * tensor: an operand; tensors: a list of operands (concat, stack); otherwise a static attribute.
   * `axis`/`axes` accept negative numbers and arrive in infer() normalised by `normalizeAxes` (ops/define.ts).
   * `dims`: a list of sizes (may hold symbols); `tuple`: an int or a list of `length` ints, arrives as a list.
   */
  readonly kind:
    | "tensor"
    | "tensors"
    | "int"
    | "ints"
    | "float"
    | "bool"
    | "name"
    | "dim"
    | "dims"
    | "axis"
    | "axes"
    | "tuple"
    | "dtype";
  /** Of a `tuple`: how many, one for each spatial axis, outermost first. */
  readonly length?: number;
  readonly optional?: boolean;
  readonly default?: Attr;
  /** Other spellings the language takes (`axis` for `axes`). */
  readonly aliases?: readonly string[];
  /** The dtype of a literal given here, where it is not its neighbours'. */
  readonly literal?: DType;
  /** For `tensors`: one that stands alone is a list of one. */
  readonly alone?: boolean;
  /** Never written by the user: the checker gives it by this name (`seed`, `step`, `hash`, `training`). */
  readonly implicit?: boolean;
  /** For `name`: the allowed words; for `tuple`: those that stand for numbers. */
  readonly among?: readonly string[];
  readonly doc?: string;
}

/** Creates nodes: checks by `infer`, hash-conses equal pure nodes, carries the current origin. */
export interface Builder {
  /** `typed`: its results' types, where they are known: of an equal node on operands of the same types. */
  node(
    op: OpDef,
    inputs: readonly Value[],
    attrs?: Attrs,
    label?: string,
    typed?: readonly TensorType[],
  ): readonly Value[];
  /** The single result of `node`. */
  make(op: OpDef, inputs: readonly Value[], attrs?: Attrs, label?: string): Value;
  /** Runs `body` with another origin for the nodes it creates. */
  at<T>(origin: Origin, body: () => T): T;
  readonly origin: Origin;
  /** Records a condition to be checked at the call. */
  require(c: Constraint): void;
}

/**
 * Differentiates (autodiff/backward.ts): the gradients of sum(outputs * seeds) with respect to `wrt`, undefined where there
 * is none.
 */
export type Backward = (
  b: Builder,
  outputs: readonly Value[],
  seeds: readonly (Value | undefined)[],
  wrt: readonly Value[],
) => readonly (Value | undefined)[];

/** What a fold over axes is, for passes that take it apart. */
export interface Reduction {
  /** The axes that a call takes together. */
  axes(attrs: Attrs): readonly number[];
  /** The same fold of x over other axes; they are gone from the result. */
  over(b: Builder, x: Value, axes: readonly number[], attrs: Attrs): Value;
  /** True where op(c * x) = c * op(x) for a c that is the same along the axes. */
  readonly linear?: boolean;
}

/**
 * One filter at every place of an image: result[n, o, p] = sum over channels c and taps t of image[n, c, p + t + offset] *
 * filter[o, c, t], with zeros outside the image.
 */
export interface Correlation {
  readonly image: Value;
  readonly filter: Value;
  readonly offset: readonly number[];
}

/** Everything the compiler knows about one operator. */
export interface OpDef {
  /** The same spelling in .mdl, graph text and kernel names. */
  readonly name: string;
  readonly doc: string;
  /** What PyTorch calls it, as one writes it there, where that is not `torch.` and the name; empty where it has none. */
  readonly torch?: string;
  readonly fuses: Fuses;
  /** The signature, in order. Tensor operands first in `inputs` order; the rest are attributes by name. */
  readonly params: readonly OpParam[];
  /** False for operators the language does not expose (gradients' own primitives, sources). Default true. */
  readonly exposed?: boolean;
  /** False when equal operands do not mean equal results (never merged by hash-consing). Default true. */
  readonly pure?: boolean;
  /** Types of the results; throws OpError. Attributes have defaults filled in. */
  infer(inputs: readonly TensorType[], attrs: Attrs, b?: Pick<Builder, "require">): readonly TensorType[];
  /** Meaning in double precision (integers exact), naive, sharing nothing with lower(). Sizes are numbers here. */
  reference?(inputs: readonly Dense[], attrs: ConcreteAttrs, outs: readonly Dense[]): void;
  /** Gradients of the operands given those of the results (undefined = zero / not differentiable). */
  vjp?(
    b: Builder,
    node: Node,
    grads: readonly (Value | undefined)[],
    /** For operators that hold a graph of their own; goes no further than the operands, nor than `wrt`. */
    backward: Backward,
    /** Of which operands the gradient is asked for; others need not be computed. */
    needed: readonly boolean[],
  ): readonly (Value | undefined)[];
  /** Why there is no gradient, where vjp is absent on purpose. */
  readonly noGrad?: string;
  /** One element of result `index` as a function of its coordinates (map, view, fold). */
  lower?(s: Lowering, node: Node, at: readonly Scalar[], index: number): Scalar;
  /** The operands that are indices, and of what. */
  indexes?(inputs: readonly TensorType[], attrs: Attrs): readonly IndexUse[];
  /**
   * For what only moves elements: the operands, and their parts, in which the elements of a part of the result are found
   * unchanged (with `except`: all but those of that number). Undefined where that cannot be said.
   */
  comesFrom?(
    node: Node,
    part: Part,
  ): readonly { readonly operand: number; readonly part: Part; readonly except?: number }[] | undefined;
  /**
   * The same over one more axis, the first: of operands that all have it, `extent` long. Maps and reductions need not say
   * it. Absent where it is not said; a loop then computes the operator pass by pass (4-simplify/hoist.ts).
   */
  along?(b: Builder, node: Node, inputs: readonly Value[], extent: Dim): Value;
  /** True where operands broadcast to one shape at the call; all exposed maps do. */
  readonly broadcasts?: boolean;
  /** Fills attributes whose default depends on the operands (all axes, stride = kernel); applied before infer. */
  complete?(inputs: readonly TensorType[], attrs: Attrs): Attrs;
  /** True where a call is said at once by `expand` (conveniences that no pass and no kernel family looks for). */
  inline?(inputs: readonly TensorType[], attrs: Attrs): boolean;
  /** Of a fold that takes whole axes of its first operand together. */
  readonly reduction?: Reduction;
  /** Where it is one: a step at a time, over all channels. */
  correlation?(node: Node): Correlation | undefined;
  /**
   * Where a scale of the result is one of an operand: op(x) * s, for an s that varies along `axis` of the result only, is
   * op with `operand` * s along its axis `from`.
   */
  readonly scales?: { readonly operand: number; readonly from: number; readonly axis: number };
  /** True where a reader is not to run before all operands are there, though it reads the first alone. */
  readonly late?: boolean;
  /** Of a view: it is larger than what it shows. What is made of it is not made ahead, though parameters alone decide it. */
  readonly unpacks?: boolean;
  /** True where op(op(a, b), c) with the same attributes is op(a, b, c): many operands may be joined in steps. */
  readonly associative?: boolean;
  /** Composite: the definition, in terms of other operators. Algorithm: what stands for it where no family claims it. */
  expand?(b: Builder, node: Node): readonly Value[];
  /** Worked examples: drive the generated tests and the docs. */
  readonly examples: readonly OpExample[];
}

export interface OpExample {
  /** Shapes of the operands; dtype f32 unless `dtypes` says otherwise. Values are drawn in [-1, 1] (ints: 0..4). */
  readonly shapes: readonly (readonly number[])[];
  readonly dtypes?: readonly DType[];
  readonly attrs?: { readonly [name: string]: unknown };
  /** Range of the drawn values, where the domain is restricted (log, sqrt, indices). */
  readonly range?: readonly [number, number];
  /** Skip the finite-difference check (piecewise points, integers). */
  readonly grad?: boolean;
}

/** Attributes with every Dim evaluated. */
export type ConcreteAttr = number | boolean | string | Graph | Data | readonly ConcreteAttr[] | undefined;
export type ConcreteAttrs = { readonly [name: string]: ConcreteAttr };
