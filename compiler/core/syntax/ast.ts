/**
 * The syntax tree of mdl: what the parser makes, the printer prints and the checker reads. Plain data.
 *
 * Every node has a `kind` and a `span`; unions are discriminated by `kind`. Where the text did not parse
 * there is an "error" node: it has been reported already, so a reader gives it no meaning and says nothing
 * more about it. The depth of a tree is bounded (limits.ts), so a reader may recurse.
 *
 * Names are kept as written; the parser resolves nothing. `f32(x)`, `ConvBlock(1, 32)` and `relu(x)` are
 * all calls, and `x.T`, `block.weight`, `net.eval` are all members.
 */
import type { Diagnostic } from "../diagnostics/report.ts";
import type { Span } from "../diagnostics/span.ts";

/** What a parser makes of a source; the checker is handed one, for the files that a source imports. */
export type Parse = (source: string, file: string) => Parsed;
export interface Parsed {
  readonly ast: SourceFile;
  /** In the order of the text. */
  readonly diagnostics: readonly Diagnostic[];
}

/** What the reader of the text needs and its meaning does not: comments and blank lines. */
export interface Trivia {
  /** Comments on lines of their own before the node. */
  readonly leading: readonly Comment[];
  /** Comments inside the node with no later node to lead, such as those before a closing brace. */
  readonly inner: readonly Comment[];
  /** The comment that ends the node's last line. */
  readonly trailing?: Comment;
  /** Whether a blank line stands directly before the node. */
  readonly blankBefore: boolean;
}

/** A `//` comment. `text` is what follows the two slashes, unchanged. Doc comments are in `doc` fields instead. */
export interface Comment {
  readonly text: string;
  readonly span: Span;
  /** Whether a blank line stands directly before the comment. */
  readonly blankBefore: boolean;
}

export interface NodeBase {
  readonly span: Span;
  readonly trivia?: Trivia;
}

export interface Ident extends NodeBase {
  readonly kind: "ident";
  readonly name: string;
}

/** A hole: text that did not parse, reported already. */
export interface ErrorNode extends NodeBase {
  readonly kind: "error";
}

// ---------------------------------------------------------------------------------------------- top level

export interface SourceFile extends NodeBase {
  readonly kind: "source_file";
  readonly items: readonly Item[];
}

export type Item =
  | ImportDecl
  | LayerDecl
  | ModelDecl
  | OptimizerDecl
  | FnDecl
  | OpDecl
  | TrainDecl
  | BindMember
  | ErrorNode;

/** `import { Linear, Conv2d as Conv } from "std/nn"` */
export interface ImportDecl extends NodeBase {
  readonly kind: "import";
  readonly names: readonly ImportName[];
  readonly from: StringLiteral;
}

export interface ImportName extends NodeBase {
  readonly kind: "import_name";
  readonly name: Ident;
  /** The name after `as`. */
  readonly alias?: Ident;
}

/** `word Name(params) { members }`; `params` is empty where the list is omitted. */
interface MembersDecl extends NodeBase {
  readonly name: Ident;
  readonly params: readonly Param[];
  readonly members: readonly Member[];
  readonly doc?: string;
  /** Whether the author has it on one line; the printer keeps that. */
  readonly oneLine?: boolean;
}

export interface LayerDecl extends MembersDecl {
  readonly kind: "layer";
}

export interface ModelDecl extends MembersDecl {
  readonly kind: "model";
}

/** Its buffers are what it keeps beside a parameter, its `update` is a step. */
export interface OptimizerDecl extends MembersDecl {
  readonly kind: "optimizer";
}

/** A parameter of a layer, model (static), fn (static or tensor) or op (scalar). An unnamed fn's need no type. */
export interface Param extends NodeBase {
  readonly kind: "param";
  readonly name: Ident;
  readonly type: Type;
  readonly default?: Expr;
}

/** A fn: a free function at top level, a method in a layer, an entry in a model unless `private`. */
export interface FnDecl extends NodeBase {
  readonly kind: "fn";
  readonly name: Ident;
  readonly params: readonly Param[];
  /** Absent: inferred from the body. */
  readonly result?: Type | RecordType;
  readonly body: Block;
  readonly private: boolean;
  readonly doc?: string;
}

/**
 * `op relu2(x: f32) -> f32 { m = max(x, 0); m * m }` with, after it, optionally
 * `grad (g) { g * 2 * max(x, 0) }` (a tuple where there are several params) and optionally a body of its
 * own in WGSL, in backticks: wgsl `let m = max(x, 0.0); return m * m;`
 */
export interface OpDecl extends NodeBase {
  readonly kind: "op";
  readonly name: Ident;
  readonly params: readonly Param[];
  readonly result?: Type | RecordType;
  readonly body: Block;
  readonly grad?: OpGrad;
  readonly wgsl?: OpWgsl;
  readonly doc?: string;
}

export interface OpGrad extends NodeBase {
  readonly kind: "op_grad";
  /** The name of the incoming gradient. */
  readonly cotangent: Ident;
  readonly body: Block;
}

export interface OpWgsl extends NodeBase {
  readonly kind: "op_wgsl";
  /** The text between the backticks, unchanged. */
  readonly text: string;
}

/** `train NAME for MODEL { clauses }` */
export interface TrainDecl extends NodeBase {
  readonly kind: "train";
  readonly name: Ident;
  readonly model: Ident;
  readonly clauses: readonly TrainClause[];
  readonly doc?: string;
  /** Whether the author has it on one line; the printer keeps that. */
  readonly oneLine?: boolean;
}

export type TrainClause =
  | MinimizeClause
  | UpdateClause
  | FrozenDecl
  | ReportClause
  | WithClause
  | BatchClause
  | ClipClause
  | EmaClause
  | AccumulateClause
  | MaxNormClause
  | LossScaleClause
  | GradientsClause
  | ErrorNode;

/** `minimize loss + l1(head.*, 1e-5)` */
export interface MinimizeClause extends NodeBase {
  readonly kind: "minimize";
  readonly value: Expr;
}

/** `update D.*, E.*`: what this block trains; everything that is not frozen where it is absent. */
export interface UpdateClause extends NodeBase {
  readonly kind: "update";
  readonly patterns: readonly Pattern[];
}

/** `report accuracy, top5` or `report accuracy(k = 5)`; a bare name is a fn of the model. */
export interface ReportClause extends NodeBase {
  readonly kind: "report";
  readonly values: readonly Expr[];
}

/** `with adamw(lr = cosine(1e-3, warmup = 200))`, `with sgd(lr = 0.1) for head.*`: a group of parameters by their names. */
export interface WithClause extends NodeBase {
  readonly kind: "with";
  readonly optimizer: Expr;
  /** Absent: all that no other `with` names. */
  readonly patterns?: readonly Pattern[];
}

/** `batch 32` */
export interface BatchClause extends NodeBase {
  readonly kind: "batch";
  readonly size: Expr;
}

/** `clip norm 1.0` or `clip value 0.5` */
export interface ClipClause extends NodeBase {
  readonly kind: "clip";
  readonly by: "norm" | "value";
  readonly limit: Expr;
}

/** `ema 0.999` */
export interface EmaClause extends NodeBase {
  readonly kind: "ema";
  readonly decay: Expr;
}

/** `accumulate 4`: as many calls make one update. */
export interface AccumulateClause extends NodeBase {
  readonly kind: "accumulate";
  readonly count: Expr;
}

/** `max_norm 3.0 for head.*` */
export interface MaxNormClause extends NodeBase {
  readonly kind: "max_norm";
  readonly limit: Expr;
  readonly patterns?: readonly Pattern[];
}

/** `gradients`, in the place of `with`: the block gives them, and updates nothing. */
export interface GradientsClause extends NodeBase {
  readonly kind: "gradients";
}

/** `loss_scale 65536` */
export interface LossScaleClause extends NodeBase {
  readonly kind: "loss_scale";
  readonly initial: Expr;
}

// ------------------------------------------------------------------------------------------------ members

export type Member =
  | ParamDecl
  | BufferDecl
  | FrozenDecl
  | BindMember
  | TupleMember
  | TieDecl
  | FnDecl
  | ErrorNode;

/**
 * `param weight: f32[cout, cin, 3, 3] = he_normal()`, optionally ending `if bias`: the parameter exists
 * only where that static condition holds and its name is `none` elsewhere. The condition is read in the
 * scope of the layer's own parameters, so `param bias: f32[c] = zeros() if bias` tests the static one.
 * `param weight as "weight_l" + i: …` is called so in paths.
 */
export interface ParamDecl extends NodeBase {
  readonly kind: "param_decl";
  readonly name: Ident;
  readonly called?: Expr;
  readonly type: Type;
  readonly init?: Expr;
  readonly when?: Expr;
  readonly doc?: string;
}

/**
 * `buffer running_mean: f32[c] = zeros()`, with `if` as a param has it. A `private buffer` is in no file of weights: a cache
 * (PyTorch's `persistent = False`).
 */
export interface BufferDecl extends NodeBase {
  readonly kind: "buffer_decl";
  readonly name: Ident;
  readonly private: boolean;
  readonly called?: Expr;
  readonly type: Type;
  readonly init?: Expr;
  readonly when?: Expr;
  readonly doc?: string;
}

/** `frozen trunk.*, head.bias`, in a layer or model and in a train block. */
export interface FrozenDecl extends NodeBase {
  readonly kind: "frozen";
  readonly patterns: readonly Pattern[];
}

/**
 * `conv1 = Conv2d(3, 8, 3)`: an instance, a list of them or any static value; at top level a constant. In a body
 * `blocks as ["block" + i for i in 0..n] = […]` says what paths call it, or each of its items.
 */
export interface BindMember extends NodeBase {
  readonly kind: "bind";
  readonly name: Ident;
  readonly called?: Expr;
  readonly value: Expr;
  readonly doc?: string;
}

/** `(blocks, width) = for … { … }` in a body: a member for each name. */
export interface TupleMember extends NodeBase {
  readonly kind: "bind_tuple";
  readonly target: TupleTarget;
  readonly value: Expr;
}

/** `head.weight = embed.weight` */
export interface TieDecl extends NodeBase {
  readonly kind: "tie";
  /** A member, or an index of a list and then a member: `blocks[0].head.weight`. */
  readonly target: MemberExpr | IndexExpr;
  readonly value: Expr;
}

/**
 * A glob over parameter paths: `D.*`, `*.bias`, `blocks.0.*`, and as a string in frozen and update whatever
 * has stars inside names: `"*.bn*"`. In expressions a name follows or precedes the star. Each segment is the text between
 * dots; `*` in a segment stands for any run of characters without a dot, but a segment that is only `*`
 * at the end (or the beginning) of a pattern stands for one or more segments.
 */
export interface Pattern extends NodeBase {
  readonly kind: "pattern";
  readonly segments: readonly string[];
}

// -------------------------------------------------------------------------------------------------- types

export type Type =
  | TensorType
  | StaticType
  | EnumType
  | ListType
  | UnionType
  | OptionalType
  | AnyType
  | ErrorNode;

/** No type is written: a parameter of an unnamed fn that takes whatever it is given. */
export interface AnyType extends NodeBase {
  readonly kind: "any_type";
}

/**
 * `f32[N, c, floor(H / 2)]`; also `f32` with `dims` empty. The dtype is one of f32 f16 i32 u32 i8 u8 i64
 * or, with brackets, bool and any other name (which the checker refuses). `bool` without brackets is the
 * static type; `bool[]` is the tensor of no axes.
 */
export interface TensorType extends NodeBase {
  readonly kind: "tensor_type";
  readonly dtype: Ident;
  readonly dims: readonly Dim[];
}

/** A dim is an expression over symbols and static ints, or `...` for any number of axes (at most one). */
export type Dim = Expr | EllipsisDim;

export interface EllipsisDim extends NodeBase {
  readonly kind: "ellipsis";
}

/** `int`, `float`, `bool`, `string`, `fn`, `layer`, or the name of a layer (an instance of it). */
export interface StaticType extends NodeBase {
  readonly kind: "static_type";
  readonly name: Ident;
}

/** `"zeros" | "reflect"` */
export interface EnumType extends NodeBase {
  readonly kind: "enum_type";
  readonly values: readonly StringLiteral[];
}

/** `[int]` */
export interface ListType extends NodeBase {
  readonly kind: "list_type";
  readonly element: Type;
}

/** `int | [int] | "same"`: a value of one of these static types. */
export interface UnionType extends NodeBase {
  readonly kind: "union_type";
  readonly types: readonly Type[];
}

/** `f32[N]?`: the type, or `none`. */
export interface OptionalType extends NodeBase {
  readonly kind: "optional_type";
  readonly element: Type;
}

/** `(y: f32[N], h: f32[N, d])`, as a fn's result only. */
export interface RecordType extends NodeBase {
  readonly kind: "record_type";
  readonly fields: readonly FieldType[];
}

export interface FieldType extends NodeBase {
  readonly kind: "field_type";
  readonly name: Ident;
  readonly type: Type;
}

// --------------------------------------------------------------------------------------------- statements

/**
 * `{ statements; result }`. `result` is the expression a block ends with; absent where it ends with another
 * statement or is empty.
 */
export interface Block extends NodeBase {
  readonly kind: "block";
  readonly statements: readonly Stmt[];
  readonly result?: Expr;
  /** Whether the author broke the line after the brace; the printer keeps that. */
  readonly multiline: boolean;
}

export type Stmt = LetStmt | StoreStmt | EmitStmt | ExprStmt | ErrorNode;

/** `h = f(x)`, `(a, b) = f(x)` or `(y, (h, c)) = f(x)`; a target `_` is thrown away. */
export interface LetStmt extends NodeBase {
  readonly kind: "let";
  readonly target: Target;
  readonly value: Expr;
}

/** `running_mean <- lerp(running_mean, mean, momentum)` */
export interface StoreStmt extends NodeBase {
  readonly kind: "store";
  /** A name, a path to another instance's buffer, or all of an instance: `target.* <- online.*`. */
  readonly target: NameExpr | MemberExpr | IndexExpr | Pattern;
  readonly value: Expr;
}

/** `emit y = s`, in a scan's body only (the checker's to say). */
export interface EmitStmt extends NodeBase {
  readonly kind: "emit";
  readonly name: Ident;
  readonly value: Expr;
}

/** An expression that is not the last of its block: its value is unused. */
export interface ExprStmt extends NodeBase {
  readonly kind: "expr_stmt";
  readonly value: Expr;
}

/** What a `let`, a `for` or a `scan` binds. */
export type Target = Ident | TupleTarget;

export interface TupleTarget extends NodeBase {
  readonly kind: "tuple_target";
  readonly items: readonly Target[];
}

// -------------------------------------------------------------------------------------------- expressions

export type Expr =
  | IntLiteral
  | FloatLiteral
  | BoolLiteral
  | StringLiteral
  | NameExpr
  | Pattern
  | CallExpr
  | MemberExpr
  | IndexExpr
  | UnaryExpr
  | BinaryExpr
  | PipeExpr
  | RangeExpr
  | ListExpr
  | TupleExpr
  | RecordExpr
  | ComprehensionExpr
  | IfExpr
  | ForExpr
  | ScanExpr
  | FnExpr
  | ErrorNode;

/** `32`, `1_000`, `0xff`. `value` is exact: a literal over 2^53 is reported. */
export interface IntLiteral extends NodeBase {
  readonly kind: "int";
  readonly value: number;
  /** As written. */
  readonly raw: string;
}

/** `0.5`, `1e-5`, `2e4` */
export interface FloatLiteral extends NodeBase {
  readonly kind: "float";
  readonly value: number;
  readonly raw: string;
}

export interface BoolLiteral extends NodeBase {
  readonly kind: "bool";
  readonly value: boolean;
}

/** `"zeros"`; `value` has its escapes (\n \t \" \\ \u{…}) resolved. */
export interface StringLiteral extends NodeBase {
  readonly kind: "string";
  readonly value: string;
}

/** A name where a value stands; `training` and `none` are such names. */
export interface NameExpr extends NodeBase {
  readonly kind: "name";
  readonly name: string;
}

export interface CallExpr extends NodeBase {
  readonly kind: "call";
  readonly callee: Expr;
  readonly args: readonly Arg[];
}

/** `x` or `axis = -1`. Positional ones come first (the parser reports others). */
export interface Arg extends NodeBase {
  readonly kind: "arg";
  readonly name?: Ident;
  readonly value: Expr;
}

/** `block.weight`, `w.T`, `net.eval` */
export interface MemberExpr extends NodeBase {
  readonly kind: "member";
  readonly object: Expr;
  readonly name: Ident;
}

/** `x[:, 1:-1, ..., new]` */
export interface IndexExpr extends NodeBase {
  readonly kind: "index";
  readonly object: Expr;
  readonly items: readonly IndexItem[];
}

export type IndexItem = IndexAt | IndexSlice | IndexNew | EllipsisDim;

/** One index, which removes the axis. */
export interface IndexAt extends NodeBase {
  readonly kind: "at";
  readonly value: Expr;
}

/** `a:b:step`, each of them optional. */
export interface IndexSlice extends NodeBase {
  readonly kind: "slice";
  readonly start?: Expr;
  readonly stop?: Expr;
  readonly step?: Expr;
}

/** `new`: an axis of extent 1. */
export interface IndexNew extends NodeBase {
  readonly kind: "new";
}

export type UnaryOp = "-" | "!";

export interface UnaryExpr extends NodeBase {
  readonly kind: "unary";
  readonly op: UnaryOp;
  readonly operand: Expr;
}

export type BinaryOp =
  | "||"
  | "&&"
  | "=="
  | "!="
  | "<"
  | "<="
  | ">"
  | ">="
  | "+"
  | "-"
  | "*"
  | "/"
  | "%"
  | "@"
  | "**";

/** Left-associative, but `**`, which is right-associative and binds tighter than a minus before it. */
export interface BinaryExpr extends NodeBase {
  readonly kind: "binary";
  readonly op: BinaryOp;
  readonly opSpan: Span;
  readonly left: Expr;
  readonly right: Expr;
}

/** `left |> right` */
export interface PipeExpr extends NodeBase {
  readonly kind: "pipe";
  readonly opSpan: Span;
  readonly left: Expr;
  readonly right: Expr;
  /** Whether the author broke the line around the operator; the printer keeps that. */
  readonly newLine?: boolean;
}

/** `start..stop`, half-open. */
export interface RangeExpr extends NodeBase {
  readonly kind: "range";
  readonly start: Expr;
  readonly stop: Expr;
}

/** `[a, b]` */
export interface ListExpr extends NodeBase {
  readonly kind: "list";
  readonly items: readonly Expr[];
}

/** `(a, b)`, two or more; `(a)` is `a` itself. */
export interface TupleExpr extends NodeBase {
  readonly kind: "tuple";
  readonly items: readonly Expr[];
}

/** `(s = a, c = b)`, one or more, all of them named. */
export interface RecordExpr extends NodeBase {
  readonly kind: "record";
  readonly fields: readonly Field[];
}

export interface Field extends NodeBase {
  readonly kind: "field";
  readonly name: Ident;
  readonly value: Expr;
}

/** `[Block(d) for i in 0..depth if i != 2]` */
export interface ComprehensionExpr extends NodeBase {
  readonly kind: "comprehension";
  readonly element: Expr;
  readonly target: Target;
  readonly iterable: Expr;
  readonly condition?: Expr;
}

/** `if c { a } else { b }`, static. `else if` nests as an IfExpr. */
export interface IfExpr extends NodeBase {
  readonly kind: "if";
  readonly condition: Expr;
  readonly then: Block;
  readonly else?: Block | IfExpr;
}

/** `for (u, s) in zip(up, skips) with h = x { u(h, s) }`: static; its value is the last value of the carries. */
export interface ForExpr extends NodeBase {
  readonly kind: "for";
  readonly target: Target;
  readonly iterable: Expr;
  readonly carries: readonly Field[];
  readonly body: Block;
}

/** `scan xt over x axis 1 with s = …, c = … { …; emit y = s }`: a loop over one axis, at run time. */
export interface ScanExpr extends NodeBase {
  readonly kind: "scan";
  /** A tuple of names where `sequence` is a tuple of as many. */
  readonly target: Target;
  readonly sequence: Expr;
  readonly axis: Expr;
  readonly carries: readonly Field[];
  readonly body: Block;
}

/** `fn(x) { relu(x) + x }`: an unnamed fn, which sees the names around it. */
export interface FnExpr extends NodeBase {
  readonly kind: "fn_expr";
  readonly params: readonly Param[];
  readonly result?: Type | RecordType;
  readonly body: Block;
}

export type Node =
  | SourceFile
  | Item
  | ImportName
  | Param
  | OpGrad
  | OpWgsl
  | TrainClause
  | Member
  | Type
  | RecordType
  | FieldType
  | EllipsisDim
  | Block
  | Stmt
  | TupleTarget
  | Ident
  | Expr
  | Arg
  | Field
  | IndexItem;
