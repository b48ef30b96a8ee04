// The Program format: what the compiler hands to the runtime. Plain JSON-able data, versioned.
// In: nothing. Out: types only (the compiler imports them type-only; the runtime interprets them). One artefact holds one
// Program per target; programs share kernel texts. Sizes are expressions evaluated at the call.

export const PROGRAM_VERSION = 4;

export type DType = "f32" | "f16" | "i32" | "u32" | "bool";

/**
 * One row of an expression table: a literal, a symbol's name, or an operator on earlier rows of the same table (a loop
 * body's table continues its parent's numbering). Integer arithmetic; `/` is floor division, `%` has the divisor's sign.
 */
export type Expr = number | string | readonly ["+" | "-" | "*" | "/" | "%" | "min" | "max", number, number];
/** Index into the expression table in force. */
export type ExprId = number;

/** The runtime's buffers. `arena` holds inputs, activations and results of a call; the others outlive it. */
export const BUFFERS = ["params", "state", "derived", "constants", "arena"] as const;
export type BufferName = (typeof BUFFERS)[number];

/**
 * A byte range: of a slot of the arena, or of another buffer. `offset` counts from where that begins and is a multiple of
 * 256 at the value's start; both are expressions in bytes.
 */
export interface Range {
  readonly buffer: BufferName;
  /** In the arena: index into the `slots` in force. Without it, `offset` counts from the buffer's beginning. */
  readonly slot?: number;
  readonly offset: ExprId;
  readonly bytes: ExprId;
}

export interface Kernel {
  /** e.g. `conv2d_relu_max_pool2d`; unique within the program. */
  readonly name: string;
  /** Index into Artefact.texts. */
  readonly text: number;
  /** Storage bindings 1..n in order (binding 0 is the uniform block). */
  readonly access: readonly ("read" | "read_write")[];
  /** 32-bit words in the uniform block: where its workgroups end, the words of the dispatch, and where they begin. */
  readonly uniformWords: number;
  /** Optional features that its text asks for, beside the program's: without them the entries that run it are not there. */
  readonly features?: readonly string[];
  /** Its workgroups draw the numbers of what they compute, as long as there are some: so many workgroups are enough. */
  readonly draws?: number;
  /** Calls of unusual sizes alone run it: it is not made ready before one of them comes. */
  readonly spare?: true;
  /** Values of `override` constants by name, if any. */
  readonly constants?: Readonly<Record<string, number>>;
}

export interface Dispatch {
  readonly kind: "dispatch";
  /** Index into Program.kernels. */
  readonly kernel: number;
  readonly bind: readonly Range[];
  /** i32 words of the uniform block between the first and the last. */
  readonly uniforms: readonly ExprId[];
  /**
   * Number of workgroups. The runtime folds it over x and y where it passes 65,535, and cuts a dispatch that would take too
   * long into several: the kernel adds its last word to workgroup_id.x + workgroup_id.y * num_workgroups.x, and leaves when
   * that is >= word 0. 0: the dispatch is skipped.
   */
  readonly groups: ExprId;
  /** Estimated floating-point operations, for cutting what would take long. */
  readonly cost?: ExprId;
  /** For people: where it came from (`convnet.mdl:9:5 in block1`). Its label is the kernel's name and this. */
  readonly site: string;
}
export interface Copy {
  readonly kind: "copy";
  readonly from: Range;
  readonly to: Range;
  readonly label: string;
}
/** Fills a range with zero bytes. */
export interface Clear {
  readonly kind: "clear";
  readonly range: Range;
  readonly label: string;
}
/** Runs `body` with `symbol` = 0 .. count - 1; rows of body.exprs are evaluated for each. */
export interface Loop {
  readonly kind: "loop";
  readonly symbol: string;
  readonly count: ExprId;
  readonly body: Block;
  readonly label: string;
}
export type Step = Dispatch | Copy | Clear | Loop;
export interface Block {
  readonly exprs: readonly Expr[];
  readonly steps: readonly Step[];
}

/** A tensor at the boundary of an entry. */
export interface Port {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly ExprId[];
  /** The shape as the author wrote it, for messages and types: ["N", "1", "28", "28"]. */
  readonly shapeText: readonly string[];
  readonly range: Range;
  readonly doc?: string;
  /** For inputs whose elements are used as indices: what they must be. Checked in data from the host. */
  readonly indexes?: readonly PortIndexes[];
}
/** Elements of an input, all or those of a part, that are indices: from 0 to extent - 1. */
export interface PortIndexes {
  readonly extent: ExprId;
  /** A number outside that is allowed (a class to be ignored). */
  readonly except?: number;
  /** Per axis: start, count, step. */
  readonly part?: readonly (readonly [ExprId, ExprId, ExprId])[];
  /** What is indexed: `take from axis 0 of [50257, 768], in wte`. */
  readonly use: string;
}
/** left relation right, else the call is refused with `message`. */
export interface Check {
  readonly left: ExprId;
  readonly relation: "==" | "divides" | ">=";
  readonly right: ExprId;
  readonly message: string;
}

/**
 * Host-side scalar of the step (learning-rate schedules): evaluated in double precision per call. Names: `step` (0-based
 * count of finished steps), `total_steps` (given to load or mdl train, else a typed error), `lr` (the caller's override).
 */
export type HostExpr = number | string | readonly [string, ...HostExpr[]];

export interface EntryPlan {
  readonly name: string;
  readonly doc?: string;
  /** Symbols in order, each solved from actual sizes: rows of `solve` name them `input.axis`, e.g. "x.0". */
  readonly symbols: readonly { readonly name: string; readonly value: ExprId }[];
  /** Table of `symbols[].value`: over names `input.axis` only. */
  readonly solve: readonly Expr[];
  /** Evaluated before anything runs; over symbols. That each input is of its port's shape is checked before. */
  readonly checks: readonly Check[];
  readonly body: Block;
  /** Rows of body.exprs used by ports. Shapes of inputs are checked against them. */
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  /** Bytes of each value that lies in the arena. The runtime lays them out (arena.ts) by the steps that name them. */
  readonly slots: readonly ExprId[];
  /** Inputs the runtime fills itself: `seed` (u32[2]), hyperparameters (f32, by HostExpr). Ranges are in the arena. */
  readonly implicit: readonly {
    readonly name: string;
    readonly dtype: DType;
    readonly range: Range;
    readonly value?: HostExpr;
    /** Of a seed: where the state buffer counts the calls that drew (u32), in bytes. */
    readonly counter?: number;
  }[];
  /** Derived units this entry reads. */
  readonly derived: readonly number[];
  /** Parameters and state this entry writes (paths), so that derived values of them go stale. */
  readonly writesParams: readonly string[];
  readonly writesState: readonly string[];
  /** Present on training steps. */
  readonly train?: {
    readonly block: string;
    readonly loss: string;
    readonly reports: readonly string[];
    readonly batch?: number;
    readonly flag?: string;
  };
}

/** A derived weight: rebuilt by `body` when one of its sources was written. */
export interface DerivedUnit {
  readonly name: string;
  readonly sources: readonly string[];
  readonly body: Block;
  readonly slots: readonly ExprId[];
  /** Earlier units this one reads. */
  readonly derived: readonly number[];
}

/** How a parameter or buffer begins; random kinds draw Threefry uniforms keyed by (seed, hash of the path). */
export type Init =
  | { readonly kind: "constant"; readonly value: number }
  | { readonly kind: "uniform"; readonly low: number; readonly high: number }
  | { readonly kind: "normal"; readonly mean: number; readonly std: number }
  | RareInit;
/** Those that only modules which have one carry the code of (inits.ts). */
export type RareInit =
  /** Normal between low and high. */
  | {
      readonly kind: "trunc_normal";
      readonly mean: number;
      readonly std: number;
      readonly low: number;
      readonly high: number;
    }
  /** Normal, but zeros at from to to. */
  | {
      readonly kind: "gap";
      readonly mean: number;
      readonly std: number;
      readonly from: number;
      readonly to: number;
    }
  /** Rows (axis 0, or if there are fewer, what they hold) of length `gain` at right angles. */
  | { readonly kind: "orthogonal"; readonly gain: number }
  /** In each of `groups` that begin `apart` elements from each other, ones at first, first + step, …: `many` of them; else zeros. */
  | {
      readonly kind: "ones";
      readonly first: number;
      readonly step: number;
      readonly many: number;
      readonly groups: number;
      readonly apart: number;
    }
  /** Of a matrix, normal but for `zeros` elements of each column. */
  | { readonly kind: "sparse"; readonly zeros: number; readonly std: number };

/** A named tensor that outlives calls: in the flat `params` or `state` buffer at a 256-byte-aligned offset. */
export interface TensorSpec {
  /** The safetensors key: the first declaration's path. */
  readonly path: string;
  /** Other paths that are tied to it; accepted on loading, must agree. */
  readonly aliases: readonly string[];
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Byte offset in its flat buffer. */
  readonly offset: number;
  readonly bytes: number;
  readonly init: Init;
  readonly frozen?: boolean;
  /** `buffer`s of the author (saved beside parameters); otherwise internal (optimiser moments, counters): checkpoints only. */
  readonly role: "param" | "buffer" | "internal";
}

export interface Requires {
  readonly features: readonly string[];
  readonly limits: Readonly<Record<string, number>>;
  /** Of a limit that the kernels of this target do not all need: ` for `, and what needs it. */
  readonly why?: Readonly<Record<string, string>>;
  /** Exact subgroup size the kernels were written for. */
  readonly subgroupSize?: number;
  /** "cpu": only software adapters; "gpu": only others. */
  readonly adapter?: "cpu" | "gpu";
  /** Only adapters of these vendors or classes (vendor and architecture, `amd rdna-3`): its kernels were tuned for them. */
  readonly adapters?: readonly string[];
}

export interface Program {
  readonly target: string;
  readonly requires: Requires;
  readonly kernels: readonly Kernel[];
  readonly entries: readonly EntryPlan[];
  readonly derived: readonly DerivedUnit[];
  readonly derivedBytes: number;
  readonly constantBytes: number;
}

export interface Artefact {
  readonly version: number;
  readonly name: string;
  readonly doc?: string;
  /** Large weights are packed words (`PATH.int8`), which `mdl quantize` makes of f32; kernels decode them. */
  readonly storage?: { readonly bits: 16 | 8 | 4; readonly group?: number };
  readonly params: readonly TensorSpec[];
  readonly paramBytes: number;
  readonly state: readonly TensorSpec[];
  readonly stateBytes: number;
  /** Kernel texts shared between programs. */
  readonly texts: readonly string[];
  /** Base64 of the constants buffer (literal tensors), shared between programs. */
  readonly constants?: string;
  /** In order of preference: load takes the first whose `requires` the adapter meets. */
  readonly programs: readonly Program[];
}

/**
 * An artefact as a module holds it: plain data, too, in which targets, entries and layers say once what they share. `pack`
 * (compiler/core/phases/9-emit) writes it, `unpack` reads it. What is "coded" is the difference to the last of its kind in the
 * same list (calls, sites, places and sources: in the same program), so that layers that are alike are alike in the text.
 */
export interface Packed
  // Texts may be folded: `fold` (compiler/core/phases/9-emit) writes them, `unfold` reads them.
  extends Omit<Artefact, "params" | "state" | "programs">,
    Readonly<Record<"params" | "state", readonly PackedTensor[]>> {
  /** What `params` and `state` refer to. */
  readonly inits: readonly Init[];
  /**
   * One table for all blocks, each a row or its text (`12*-3`: an operand is a row's number, or below 0 how far back it is);
   * those of loops go on counting from its end.
   */
  readonly exprs: readonly (number | string)[];
  readonly kernels: readonly PackedKernel[];
  /**
   * Steps without their places, in ExprIds. The first number (coded) is what is done: 0 copies, 1 clears, 2 loops (count), and
   * from 3 on it is a kernel: groups, cost (-1: none), uniforms.
   */
  readonly calls: readonly (readonly number[])[];
  /** Of dispatches the site, of other steps the label. */
  readonly sites: readonly string[];
  /**
   * Ranges that are no whole slot: the buffer (by its index in BUFFERS), the bytes, and the offset in bytes (coded); or buffer,
   * bytes, offset as ExprId, and slot (-1: none). Parameters and state, each a whole, come first and are not said again: they
   * have two rows behind the last of `exprs`, offset and bytes; of the others those without a slot have one.
   */
  readonly places: readonly (readonly [number, ExprId, number] | readonly [number, ExprId, ExprId, number])[];
  /** What all targets say of an entry. */
  readonly heads: readonly PackedHead[];
  readonly programs: readonly PackedProgram[];
}
/** Path, shape, index of its init, and what is not as usual: f32, no aliases, placed behind the one before. */
export type PackedTensor = readonly [string, readonly number[], number, Partial<TensorSpec>?];
/**
 * Name, text, and what is not as usual: how buffers are bound as its text says (`accessOf`), and a block of as many words as a
 * call gives it.
 */
export type PackedKernel = readonly [string, number, Partial<Kernel>?];
/** Steps: site (coded), then the places (PackedPlace), or of a loop its symbol, rows and steps. */
export type PackedStep =
  | readonly [number, ...PackedPlace[]]
  | readonly [number, string, readonly (number | string)[], readonly PackedStep[]];
/**
 * A whole slot (coded); or -1 - n for a place: n % 3 says of what (parameters, state, others), and the rest how far it is
 * behind the last one of these. Coded differences d from here on are 2d, or -1 - 2d where d is below 0.
 */
export type PackedPlace = number;
/** A path of the model's: n % 2 says of what (parameters, state), the rest is coded; or the text. */
export type PackedPath = number | string;
export interface PackedHead
  extends Omit<
    EntryPlan,
    | "solve"
    | "body"
    | "slots"
    | "inputs"
    | "outputs"
    | "implicit"
    | "derived"
    | "writesParams"
    | "writesState"
  > {
  readonly inputs: readonly Omit<Port, "range">[];
  readonly outputs: readonly Omit<Port, "range">[];
  readonly implicit: readonly Omit<EntryPlan["implicit"][number], "range">[];
  readonly writesParams: readonly PackedPath[];
  readonly writesState: readonly PackedPath[];
}
/** Index of the head; slots; steps; places of inputs, outputs and implicit inputs; derived units (coded). */
export type PackedEntry = readonly [
  number,
  readonly ExprId[],
  readonly PackedStep[],
  readonly PackedPlace[],
  readonly number[],
];
export interface PackedProgram extends Omit<Program, "kernels" | "entries" | "derived"> {
  /**
   * Of all steps, those of loops behind the loop: 0 for the one that the program before has at the same place in its own
   * order, else coded (one more where that is not below 0).
   */
  readonly calls: readonly number[];
  readonly entries: readonly PackedEntry[];
  /** Name, sources, slots, steps, and how far back the units are that it reads (coded). */
  readonly derived: readonly (readonly [
    string,
    readonly PackedPath[],
    readonly ExprId[],
    readonly PackedStep[],
    readonly number[],
  ])[];
}

// What a debug build's module says beside its calls (notes.ts).

export interface Note {
  readonly kind: "print" | "assert";
  /** `net.mdl:34`, and the instance. */
  readonly at: string;
  /** The author's words, or what stands in the source. */
  readonly text: string;
  /** Which result of `by`; none where it is words alone. */
  readonly output?: string;
  /** Axes before its own: one for each scan that it is inside of. */
  readonly passes: number;
}
export interface Noted {
  /** The entry that computes what is noted: of the same inputs, writing nothing. None where all is words. */
  readonly by?: string;
  readonly notes: readonly Note[];
}
/** By entry. */
export type Notes = Readonly<Record<string, Noted>>;
