// What the interpreter carries along: names in scope, the graph being built, the instance path and the calls that led here.
// In: nothing. Out: Scope, Trace, Ctx, Interpreter, failing with a diagnostic, and the budgets. Separate because every part of
// the checker needs it and it needs none of them.

import type { HostExpr } from "../../../../../runtime/core/program.ts";
import { didYouMean, pointer } from "../../../diagnostics/nearest.ts";
import {
  type Code,
  type DiagnosticExtra,
  type Diagnostics,
  diagnostic,
  type Span,
} from "../../../diagnostics/report.ts";
import {
  asConst,
  type Dim,
  DimError,
  type DimLike,
  evaluateAll,
  NOMINAL,
  print,
  surelyDiffer,
} from "../../../dims/dim.ts";
import { type Indexing, MAX_GRAPH_VALUES } from "../../../ir/build.ts";
import {
  type Builder,
  type Constraint,
  GraphLimit,
  type Node,
  type Origin,
  type Value,
} from "../../../ir/types.ts";
import type { Sight } from "../../../model.ts";
import type * as ast from "../../../syntax/ast.ts";
import type { Module } from "../names/modules.ts";
import type { SourceTable } from "../names/table.ts";
import { type ArgVal, ERROR, type Instance, type Slot, type Val } from "./values.ts";

/**
 * Limits that turn run-away programs into diagnostics: of time, of memory, and of what later phases can take. Each bounds a
 * sum over the whole check where nothing else is said, so that many small things end as one large thing does. Sizes have
 * limits of their own (dims/dim.ts), and so have names, nesting and a file's length (syntax/limits.ts).
 */
export const LIMITS = {
  instances: 20_000,
  /** Values of all graphs; those that grad and expansions make are counted. One graph has its builder's limit. */
  nodes: MAX_GRAPH_VALUES,
  /** Calls of fns within one entry. */
  calls: 50_000,
  callDepth: 100,
  /** Expressions being evaluated within one another, calls included; keeps clear of the JavaScript stack. */
  depth: 1_000,
  /** Steps of static loops, ranges and comprehensions within one entry. */
  iterations: 100_000,
  /** Expressions evaluated, calls of functions without a body and comparisons of items. */
  steps: 4_000_000,
  /** Items of lists, tuples and records, and characters of strings that were put together. */
  items: 4_000_000,
  /** Terms of one size, and characters of its text. */
  sizeTerms: 64,
  sizeText: 2_000,
  layerDepth: 64,
  rank: 8,
  /** Symbols of one entry: each is an argument of the plan of every call. */
  symbols: 64,
  /** Elements of one tensor with every symbol at NOMINAL: 2^44 leaves room for strides, bytes and tiles within 2^53. */
  elements: 2 ** 44,
  /** Bytes of all parameters, and of all buffers: what the largest buffers of a GPU hold. */
  bytes: 2 ** 32,
} as const;

/** What a check has used up of its limits. */
export interface Spent {
  instances: number;
  nodes: number;
  steps: number;
  items: number;
}

/** Thrown after a diagnostic was reported; caught where checking can go on (statements, members, entries). */
export class Failed extends Error {
  override name = "Failed";
}
/** A budget is spent: nothing is gained by going on with this entry, or with the model where it is being built. */
export class Exhausted extends Failed {
  override name = "Exhausted";
}

export interface Binding {
  readonly val: Val;
  readonly span?: Span;
  /** `carry`: bound by a loop's `with`, so its body may give it its next value by assignment, once. */
  readonly kind: "local" | "param" | "symbol" | "member" | "carry" | "loop";
}

/** Names of one block, fn, instance or loop body. */
export class Scope {
  readonly parent: Scope | undefined;
  readonly names = new Map<string, Binding>();
  /** True for the outermost scope of a fn: locals of blocks inside may not shadow what is in it. */
  readonly fn: boolean;
  constructor(parent?: Scope, fn = false) {
    this.parent = parent;
    this.fn = fn;
  }
  find(name: string): Binding | undefined {
    for (let s: Scope | undefined = this; s; s = s.parent) {
      const b = s.names.get(name);
      if (b) return b;
    }
    return undefined;
  }
  /** Names visible here, for spelling. */
  all(): string[] {
    const out: string[] = [];
    for (let s: Scope | undefined = this; s; s = s.parent) out.push(...s.names.keys());
    return out;
  }
}

/** A buffer's new value. */
export interface Stored {
  readonly slot: Slot;
  readonly value: Value;
  readonly span: Span;
}
/** What a fn, or a pass of a scan's body, stores when it ends, and those it was called from. */
export interface Stores {
  readonly own: Map<string, Stored>;
  readonly outer: Stores | undefined;
}
/** What buffers hold by path: since an entry began, or a pass of a scan's body, whose buffers are carried. */
export interface State {
  readonly written: Map<string, Stored>;
  readonly carried: ReadonlyMap<string, Value>;
  readonly outer: State | undefined;
}
export const newState = (carried: State["carried"] = new Map(), outer?: State): State => ({
  written: new Map(),
  carried,
  outer,
});
export const newStores = (outer?: Stores): Stores => ({ own: new Map(), outer });

/** The sequence of which a value inside a scan is one slice. */
export interface SliceOf {
  readonly sequence: Value;
  readonly axis: number;
}

/** A gradient taken in a scan's body: which slices and carries its fn is computed of, and of what it is taken. */
export interface PendingGradient {
  readonly leaves: ReadonlySet<Node>;
  readonly wanted: ReadonlySet<Value>;
  readonly keys: readonly string[];
  readonly ctx: Ctx;
  readonly span: Span;
}

/** One graph in the making. */
export interface Trace {
  readonly b: Builder;
  readonly name: string;
  /** Nodes made so far. */
  readonly count: () => number;
  /** The id of the node that is made next. */
  readonly next: () => number;
  /** Conditions of the call so far. */
  readonly constraints: () => readonly Constraint[];
  /** What was used as indices so far. */
  readonly indexings: () => readonly Indexing[];
  /** What is one slice of a sequence, inside a scan. */
  readonly slices: Map<Node, SliceOf>;
  readonly inputs: Node[];
  /** Gradients in the body of the scan at hand, until it is known what its carries depend on. */
  gradients: PendingGradient[];
  /** Values by the names they got so far, where the model is checked for debugging; an op's body has a graph of its own. */
  readonly seen: Sight[] | undefined;
  state: State;
  calls: number;
  /** Random operations so far by instance path and fn, within one outermost expression. */
  randoms: Map<string, number>;
  /** In an optimiser: a number of the host's, as a value. */
  readonly hyper?: (expr: HostExpr) => Value;
  /** Inside the body of a scan, the number of its pass (over all scans around it): what random operations are keyed by. */
  pass: Value | undefined;
}

/**
 * What evaluates syntax (interpret/expr.ts). What holds syntax of its own (a layer, a size in a type, a scan, an operator of
 * the author's) is handed it, and knows nothing else of it: so calls, which lead everywhere, lead nobody back.
 */
export interface Interpreter {
  expr(ctx: Ctx, e: ast.Expr): Val;
  /** In the scope of `ctx` itself. */
  block(ctx: Ctx, block: ast.Block): Val;
  statement(ctx: Ctx, s: ast.Stmt): void;
  /** `at`: what is called, as it is written; `site`: the call. */
  call(ctx: Ctx, callee: Val, args: readonly ArgVal[], site: ast.Expr, at: Span): Val;
}

/** Shared by a whole check. */
export interface Shared {
  readonly interpreter: Interpreter;
  readonly out: Diagnostics;
  /** Names and types for editors, where a host asks for them. */
  readonly table: SourceTable<Val> | undefined;
  /** Where the model is checked for debugging: whether a value inside a scan is wanted, by its name. */
  readonly watch: ((name: string) => boolean) | undefined;
  readonly root: Module;
  /** Values of top-level constants, once evaluated. */
  readonly constants: Map<ast.BindMember, Val>;
  /** Declarations that a syntax error lies in: what comes of them says nothing. */
  readonly damaged: ReadonlySet<object>;
  /** One for all models of a check. */
  readonly spent: Spent;
  /** Within the entry at hand. */
  iterations: number;
  depth: number;
  /** Parameters and buffers of the model at hand, once it is built and placed. */
  slots: readonly Slot[];
}

/** Where an expression is evaluated. Immutable; inner places are copies. */
export interface Ctx {
  readonly shared: Shared;
  readonly module: Module;
  readonly scope: Scope;
  readonly trace: Trace | undefined;
  readonly stores: Stores;
  readonly self: Instance | undefined;
  readonly path: string;
  /** Name of the fn being evaluated. */
  readonly fn: string;
  readonly calls: readonly Span[];
  readonly mode: "eval" | "train";
  /** Where a store goes over all of an instance (`target.* <- online.*`): the path of the one at hand within it. */
  readonly each?: string;
  /** Axes that `...` stands for in this call. */
  readonly rest: { dims: readonly Dim[] | undefined };
}

export const baseCtx = (shared: Shared, module: Module): Ctx => ({
  shared,
  module,
  scope: new Scope(),
  trace: undefined,
  stores: newStores(),
  self: undefined,
  path: "",
  fn: "",
  calls: [],
  mode: "eval",
  rest: { dims: undefined },
});

/** Keeps for editors what the name or expression at `span` is here. */
export function note(ctx: Ctx, span: Span, val: Val): void {
  const { table } = ctx.shared;
  if (!table || val.kind === "error") return;
  table.value(span, ctx.self && ctx.self.path === undefined ? ctx.self : ctx.path, val);
}

/** Keeps for debugging that a value has this name here; of a record or list, its parts. */
export function see(ctx: Ctx, name: string, val: Val, span: Span): void {
  const { path } = ctx;
  const seen = ctx.trace?.seen;
  if (!seen || !ctx.shared.watch) return;
  const full = [path, name].filter(Boolean).join(".");
  if (full === "") return;
  const add = (of: string, v: Val): void => {
    if (v.kind === "record") for (const [k, x] of v.fields) add(`${of}.${k}`, x);
    else if (v.kind === "tensor" && !seen.some((s) => s.name === of && s.value === v.value))
      seen.push({ kind: "value", name: of, value: v.value, passes: 0, span, path });
  };
  add(full, val);
}

/** The value of an expression, where it stands. */
export const evaluate = (ctx: Ctx, e: ast.Expr): Val => ctx.shared.interpreter.expr(ctx, e);

export const inner = (ctx: Ctx, fn = false): Ctx => ({ ...ctx, scope: new Scope(ctx.scope, fn) });

/** Innermost calls first, as diagnostics want them; long chains keep their ends. */
function callsOf(ctx: Ctx): readonly Span[] {
  const calls = [...ctx.calls].reverse();
  return calls.length <= 8 ? calls : [...calls.slice(0, 5), ...calls.slice(-3)];
}

export function report(ctx: Ctx, code: Code, message: string, span: Span, extra: DiagnosticExtra = {}): void {
  ctx.shared.out.add(diagnostic(code, message, span, { path: ctx.path, calls: callsOf(ctx), ...extra }));
}

export function fail(ctx: Ctx, code: Code, message: string, span: Span, extra: DiagnosticExtra = {}): never {
  report(ctx, code, message, span, extra);
  throw new Failed(message);
}

/** Fails for good: `recover` lets it pass, `contain` does not. */
export function exhaust(
  ctx: Ctx,
  code: Code,
  message: string,
  span: Span,
  extra: DiagnosticExtra = {},
): never {
  report(ctx, code, message, span, extra);
  throw new Exhausted(message);
}

/** Fails with the nearest spelling as help. */
export function failName(
  ctx: Ctx,
  code: Code,
  message: string,
  name: string,
  candidates: Iterable<string>,
  span: Span,
  otherwise?: string,
): never {
  // Many mistakes are told of without a search for what was meant.
  const help = ctx.shared.out.knows(code, message, span)
    ? undefined
    : ((code === "E0201" || code === "E0206" ? pointer : didYouMean)(name, candidates) ?? otherwise);
  fail(ctx, code, message, span, help === undefined ? {} : { help });
}

const DIM_CODES: Readonly<Record<DimError["why"], Code>> = {
  zero: "E0608",
  fraction: "E0505",
  large: "E1006",
  complex: "E1010",
  text: "E0505",
  unbound: "E0501",
};

const budgetHelp = "does a loop double a value, or a fn call another several times, and that again?";

/** Counts `n` steps of work that no graph shows. */
export function step(ctx: Ctx, span: Span, n = 1): void {
  ctx.shared.spent.steps += n;
  if (ctx.shared.spent.steps > LIMITS.steps)
    exhaust(ctx, "E1008", `static values take more than ${LIMITS.steps} steps to compute`, span, {
      help: budgetHelp,
    });
}

/** Counts what a static value of `n` items or characters holds; called before it is made. */
export function hold(ctx: Ctx, span: Span, n: number): void {
  ctx.shared.spent.items += n;
  if (ctx.shared.spent.items > LIMITS.items)
    exhaust(ctx, "E1009", `lists and strings come to more than ${LIMITS.items} items`, span, {
      help: budgetHelp,
    });
}

/** Counts static iterations against the budget. */
export function spend(ctx: Ctx, n: number, at: ast.Expr): void {
  ctx.shared.iterations += n;
  if (ctx.shared.iterations > LIMITS.iterations)
    exhaust(ctx, "E1008", `static loops and ranges take at most ${LIMITS.iterations} steps in all`, at.span);
}

/** Elements of a shape with every symbol at the size that plans are judged by. */
export const nominalElements = (shape: readonly Dim[]): number =>
  shape.reduce((n, d) => n * (asConst(d) ?? evaluateAll(d, NOMINAL)), 1);

/** Runs `body`, which fills `trace`, and counts what that came to, however it ends. */
export function spendGraph<T>(shared: Shared, trace: Trace, body: () => T): T {
  try {
    return body();
  } finally {
    shared.spent.nodes += trace.count();
  }
}

/** A size that a program works with has a few dozen terms; what is built of these stays within the limits of dims. */
export function plainSize(ctx: Ctx, d: Dim, span: Span): void {
  if (d.terms.length <= LIMITS.sizeTerms && d.key.length <= LIMITS.sizeText) return;
  fail(ctx, "E1010", `a size of ${d.terms.length} terms: ${print(d).slice(0, 60)} …`, span, {
    help: `sizes have at most ${LIMITS.sizeTerms} terms and ${LIMITS.sizeText} characters`,
  });
}

/** Runs `body`; what the user's sizes break, and graphs beyond their limit, become a diagnostic at `span`. */
export function withDims<T>(ctx: Ctx, span: Span, body: () => T): T {
  try {
    return body();
  } catch (e) {
    if (e instanceof GraphLimit)
      exhaust(ctx, "E1003", `${ctx.trace?.name ?? "this"} expands to more than ${e.limit} operations`, span, {
        help: budgetHelp,
      });
    if (!(e instanceof DimError)) throw e;
    fail(ctx, DIM_CODES[e.why], e.why === "zero" ? "division by zero" : e.message, span);
  }
}

/** Runs `body`, giving `instead` where it failed (with its report made). */
export function recover<T>(body: () => T, instead: T): T {
  try {
    return body();
  } catch (e) {
    if (e instanceof Failed && !(e instanceof Exhausted)) return instead;
    throw e;
  }
}
/** The same, where a spent budget ends too. */
export function contain<T>(body: () => T, instead: T): T {
  try {
    return body();
  } catch (e) {
    if (e instanceof Failed) return instead;
    throw e;
  }
}
export const recoverVal = (body: () => Val): Val => recover(body, ERROR);

export const originOf = (ctx: Ctx, span: Span): Origin => ({
  span,
  path: ctx.path,
  calls: ctx.calls,
  derived: [],
});

/** The graph being built; an expression that needs one is not static. */
export function traceOf(ctx: Ctx, span: Span, what: string): Trace {
  return (
    ctx.trace ?? fail(ctx, "E0506", `${what} is known at run time only; a static value is needed here`, span)
  );
}

/** Two sizes must be equal: shown, refuted, or checked at the call. */
export function sameDim(
  ctx: Ctx,
  left: Dim,
  right: Dim,
  message: () => string,
  span: Span,
): "equal" | "differ" | "checked" {
  if (left.key === right.key) return "equal";
  if (surelyDiffer(left, right)) return "differ";
  if (!ctx.trace) return "differ";
  ctx.trace.b.require({ left, relation: "==", right, message: message(), span });
  return "checked";
}

export const shapeText = (shape: readonly DimLike[]): string => `[${shape.map(print).join(", ")}]`;

/** The author's names for values: the node made for this expression is labelled so. */
const labels = new WeakMap<ast.Expr, string>();
export const labelOf = (e: ast.Expr): string | undefined => labels.get(e);
export const giveLabel = (e: ast.Expr, name: string): void => void labels.set(e, name);
