// The checker's entry: files in, models out. In: the root file's text or tree, a callback for imports, choices of the
// command line. Out: per model its parameters, a graph per entry, its train blocks; or diagnostics. No exception leaves it
// for what a user wrote; anything else is an InternalError.
import { didYouMean } from "../../diagnostics/nearest.ts";
import { type Diagnostic, Diagnostics, InternalError } from "../../diagnostics/report.ts";
import { asConst, type Dim, dim, print, substitute, sym, symbols } from "../../dims/dim.ts";
import { createBuilder, finishGraph, reachable } from "../../ir/build.ts";
import type { Constraint, Graph, Value } from "../../ir/types.ts";
import type { CheckedEntry, CheckedModel, ParamInfo, PortInfo } from "../../model.ts";
import { add } from "../../ops/elementwise.ts";
import { full, input as inputOp, RANDOM_STEP, seed as seedOp } from "../../ops/source.ts";
import type * as ast from "../1-parse/ast.ts";
import { parse } from "../1-parse/parse.ts";
import { stepValue } from "./apply.ts";
import { finish, frame, tensorType } from "./call.ts";
import {
  type Ctx,
  contain,
  Failed,
  fail,
  LIMITS,
  newState,
  report,
  type Shared,
  type Spent,
  spendGraph,
  type Trace,
  withDims,
} from "./context.ts";
import { damageOf } from "./damage.ts";
import { evalBlock, evalExpr, isBuiltinName } from "./expr.ts";
import { checkLiterals, indexRanges } from "./indexes.ts";
import { baseCtx, construct, type Instance, place, type Slot } from "./instances.ts";
import { loadModules, type Module } from "./modules.ts";
import { checkNames } from "./names.ts";
import { checkSize, toTensor } from "./tensors.ts";
import { checkTrain } from "./train.ts";
import {
  bindSymbol,
  declaredType,
  dimText,
  introduces,
  isSymbolName,
  lineOf,
  openSymbols,
  shapeTexts,
} from "./types.ts";
import { checkWgsl } from "./userop.ts";
import {
  type ArgVal,
  boolVal,
  describe,
  type FnVal,
  floatVal,
  intVal,
  NONE,
  tensorVal,
  type Val,
} from "./values.ts";

/** A value given on the command line for a model's parameter. */
export type SetValue = number | boolean | string;

export interface CheckOptions {
  /** Text of `std/nn` and of imported files by resolved name; undefined where there is none. */
  readonly resolve: (path: string) => string | undefined;
  /** Only this model. */
  readonly model?: string;
  readonly set?: Readonly<Record<string, SetValue>>;
}

export interface CheckResult {
  /** Undefined where there are errors. */
  readonly models: readonly CheckedModel[] | undefined;
  readonly diagnostics: readonly Diagnostic[];
}

/** Checks the file `file` with the text `source`. */
export function check(source: string, file: string, options: CheckOptions): CheckResult {
  const out = new Diagnostics();
  const parsed = parse(source, file);
  for (const d of parsed.diagnostics) out.add(d);
  if (!out.hasErrors) return checkTree(parsed.ast, file, options, out);
  // A syntax error in one place hides nothing elsewhere.
  const damage = damageOf(parsed.ast, source, parsed.diagnostics);
  const rest = new Diagnostics();
  try {
    checkTree(parsed.ast, file, options, rest, damage.nodes);
  } catch (e) {
    // A tree with holes is no input of the checker's: what it says is a help, and never a reason to stop.
    if (!(e instanceof InternalError)) throw e;
  }
  for (const d of rest.list()) if (damage.believes(d)) out.add(d);
  return { models: undefined, diagnostics: out.list() };
}

/** Checks a tree that parsed without errors. */
export function checkTree(
  tree: ast.SourceFile,
  file: string,
  options: CheckOptions,
  out = new Diagnostics(),
  damaged: ReadonlySet<object> = new Set(),
): CheckResult {
  let models: CheckedModel[] | undefined;
  guard(out, tree, () => {
    const { root, modules } = loadModules(tree, file, options.resolve, isBuiltinName, out);
    for (const m of modules) if (!m.file.startsWith("std/")) checkNames(m, options.resolve, out);
    models = checkModels(root, options, out, damaged);
  });
  return { models: out.hasErrors ? undefined : models, diagnostics: out.list() };
}

/** Keeps exceptions in: a full stack is a program nested too deeply, anything unexpected is our bug. */
function guard(
  out: Diagnostics,
  at: ast.NodeBase & { readonly span: ast.SourceFile["span"] },
  body: () => void,
): void {
  try {
    body();
  } catch (e) {
    if (e instanceof Failed) return;
    if (e instanceof RangeError && /call stack/i.test(e.message)) {
      out.report("E1005", "calls and expressions are nested too deeply", {
        ...at.span,
        end: Math.min(at.span.end, at.span.start + 1),
      });
      return;
    }
    if (e instanceof InternalError) throw e;
    throw new InternalError("check", e instanceof Error ? e.message : String(e), { cause: e });
  }
}

function checkModels(
  root: Module,
  options: CheckOptions,
  out: Diagnostics,
  damaged: ReadonlySet<object>,
): CheckedModel[] {
  const items = root.source.items;
  const models = items.filter((i) => i.kind === "model");
  const start = { ...root.source.span, end: root.source.span.start };
  const spent: Spent = { instances: 0, nodes: 0, steps: 0, items: 0 };
  const shared = (): Shared => ({
    out,
    root,
    constants: new Map(),
    damaged,
    spent,
    iterations: 0,
    depth: 0,
    slots: [],
  });
  for (const i of items) if (i.kind === "op") checkWgsl({ ...baseCtx(shared(), root) }, i);
  let wanted = models;
  if (options.model !== undefined) {
    wanted = models.filter((m) => m.name.name === options.model);
    if (wanted.length === 0) {
      const names = models.map((m) => m.name.name);
      const help =
        didYouMean(options.model, names) ?? (names.length > 0 ? `there is ${names.join(", ")}` : undefined);
      out.report(
        "E0205",
        `there is no model ${options.model} in ${root.file}`,
        start,
        help === undefined ? {} : { help },
      );
    }
  }
  for (const t of root.trains)
    if (!models.some((m) => m.name.name === t.model.name)) {
      const help = didYouMean(
        t.model.name,
        models.map((m) => m.name.name),
      );
      out.report(
        "E0205",
        `there is no model ${t.model.name} in this file`,
        t.model.span,
        help === undefined ? {} : { help },
      );
    }
  const made: CheckedModel[] = [];
  for (const m of wanted) {
    const model = contain(() => checkModel(shared(), root, m, options.set ?? {}), undefined);
    if (model) made.push(model);
  }
  return made;
}

function checkModel(
  shared: Shared,
  root: Module,
  decl: ast.ModelDecl,
  set: Readonly<Record<string, SetValue>>,
): CheckedModel {
  const ctx = baseCtx(shared, root);
  const instance = construct(ctx, decl, root, modelArgs(ctx, decl, set), decl.name.span, []);
  const slots = place(instance, shared);
  shared.slots = slots;
  reservedNames(ctx, root, decl, slots);
  const entries: CheckedEntry[] = [];
  let random = false;
  for (const m of decl.members) {
    if (m.kind !== "fn" || m.private || shared.damaged.has(m)) continue;
    const entry = contain(() => checkEntry(shared, instance, m), undefined);
    if (!entry) continue;
    entries.push(entry);
    random ||= entry.graph.writes.some((w) => w.path === RANDOM_STEP);
  }
  const trains = root.trains
    .filter((t) => t.model.name === decl.name.name && !shared.damaged.has(t))
    .flatMap((t) => {
      const train = contain(() => checkTrain(shared, instance, t), undefined);
      if (train) random ||= train.lossGraph.writes.some((w) => w.path === RANDOM_STEP);
      return train ? [train] : [];
    });
  const info = (s: Slot): ParamInfo => ({
    path: s.paths[0],
    aliases: s.paths.slice(1),
    dtype: s.dtype,
    shape: s.shape,
    init: s.init,
    frozen: s.frozen,
    internal: false,
    ...(s.doc === undefined ? {} : { doc: s.doc }),
    span: s.span,
  });
  const step: ParamInfo = {
    path: RANDOM_STEP,
    aliases: [],
    dtype: "u32",
    shape: [],
    init: { kind: "constant", value: 0 },
    frozen: false,
    internal: true,
    span: decl.name.span,
  };
  return {
    name: decl.name.name,
    ...(decl.doc === undefined ? {} : { doc: decl.doc }),
    params: slots.filter((s) => s.kind === "param").map(info),
    buffers: [...slots.filter((s) => s.kind === "buffer").map(info), ...(random ? [step] : [])],
    entries,
    trains,
    span: decl.span,
  };
}

/** Names that the compiler itself gives: training steps and the random step. */
function reservedNames(ctx: Ctx, root: Module, decl: ast.ModelDecl, slots: readonly Slot[]): void {
  const trains = new Map<string, ast.TrainDecl>();
  for (const t of root.trains) {
    if (t.model.name !== decl.name.name) continue;
    const old = trains.get(t.name.name);
    if (old)
      report(ctx, "E0202", `${decl.name.name} has two train blocks ${t.name.name}`, t.name.span, {
        secondary: [{ span: old.name.span, text: "first here" }],
      });
    else trains.set(t.name.name, t);
  }
  const steps = [...trains.keys()].map((t) => `${t}_step`);
  if (trains.size === 1) steps.push("train_step");
  for (const m of decl.members)
    if (m.kind === "fn" && !m.private && steps.includes(m.name.name))
      report(ctx, "E0202", `${m.name.name} is the entry of a train block`, m.name.span, {
        help: "give the fn another name, or make it private",
      });
  for (const s of slots)
    if (s.paths.includes(RANDOM_STEP))
      report(ctx, "E0202", `${RANDOM_STEP} is the program's own state`, s.span, {
        help: "give it another name",
      });
}

function modelArgs(ctx: Ctx, decl: ast.ModelDecl, set: Readonly<Record<string, SetValue>>): ArgVal[] {
  const names = decl.params.map((p) => p.name.name);
  const args: ArgVal[] = [];
  for (const [name, v] of Object.entries(set)) {
    if (!names.includes(name)) {
      const help =
        didYouMean(name, names) ?? (names.length > 0 ? `its parameters are ${names.join(", ")}` : undefined);
      report(
        ctx,
        "E0603",
        `the model ${decl.name.name} has no parameter ${name}`,
        decl.name.span,
        help === undefined ? {} : { help },
      );
      continue;
    }
    const val: Val =
      typeof v === "boolean"
        ? boolVal(v)
        : typeof v === "string"
          ? { kind: "string", value: v }
          : Number.isSafeInteger(v)
            ? intVal(v)
            : floatVal(v);
    args.push({ name, val, span: decl.name.span });
  }
  for (const p of decl.params)
    if (!p.default && !args.some((a) => a.name === p.name.name))
      fail(ctx, "E0610", `the model ${decl.name.name} needs a value for ${p.name.name}`, p.span, {
        help: `give it a default, or pass --set ${p.name.name}=…`,
      });
  return args;
}

// ---------------------------------------------------------------------------------------------- entries

/** A graph in the making, with its builder. */
export function newTrace(name: string): Trace {
  const b = createBuilder();
  return {
    b,
    name,
    count: () => b.count,
    constraints: () => b.constraints,
    indexings: () => b.indexings,
    slices: new Map(),
    inputs: [],
    state: newState(),
    calls: 0,
    randoms: new Map(),
    pass: undefined,
  };
}

/** Symbols that turned out to be equal to something else, found in one pass and used in the next. */
export type Solved = Map<string, Dim>;

/**
 * Runs `body` until no condition says that one of the entry's own symbols is something else: `x: f32[N, d], y: f32[M]`
 * with `x + y` makes M and N one symbol, and the whole is traced again with it.
 */
export function untilSolved<T extends { readonly constraints: readonly Constraint[] }>(
  body: (solved: Solved) => T,
): T {
  const solved: Solved = new Map();
  for (let round = 0; ; round++) {
    const result = body(solved);
    const found =
      round < 16
        ? result.constraints.map(solvable).find((s) => s !== undefined && !solved.has(s.name))
        : undefined;
    if (!found) return result;
    for (const [name, d] of solved)
      solved.set(
        name,
        substitute(d, (s) => (s === found.name ? found.dim : undefined)),
      );
    solved.set(found.name, found.dim);
  }
}

function solvable(c: Constraint): { name: string; dim: Dim } | undefined {
  if (c.relation !== "==") return undefined;
  const bare = (d: Dim): string | undefined => {
    const [t] = d.terms;
    return d.terms.length === 1 && t.coef === 1 && t.atoms.length === 1 && t.atoms[0].kind === "symbol"
      ? t.atoms[0].name
      : undefined;
  };
  const [l, r] = [bare(c.left), bare(c.right)];
  // Of two symbols the later one gives way, so that the first input decides.
  if (r !== undefined && !symbols(c.left).has(r)) return { name: r, dim: c.left };
  if (l !== undefined && !symbols(c.right).has(l)) return { name: l, dim: c.right };
  return undefined;
}

interface Traced {
  readonly graph: Graph;
  readonly inputs: readonly PortInfo[];
  readonly outputs: readonly PortInfo[];
  readonly constraints: readonly Constraint[];
}

export function checkEntry(shared: Shared, model: Instance, decl: ast.FnDecl): CheckedEntry {
  const traced = untilSolved((solved) => traceEntry(shared, model, decl, solved));
  return {
    name: decl.name.name,
    ...(decl.doc === undefined ? {} : { doc: decl.doc }),
    graph: traced.graph,
    inputs: traced.inputs,
    outputs: traced.outputs,
    span: decl.name.span,
  };
}

/** Binds a model's fn to inputs of the graph. Inputs made before by the same name are the same. */
export function bindEntry(
  ctx: Ctx,
  trace: Trace,
  decl: ast.FnDecl,
  solved: Solved,
  ports: Map<string, PortInfo & { readonly value: Value }>,
  given: ReadonlyMap<string, ArgVal> = new Map(),
): void {
  const tensors: { p: ast.Param; type: ast.TensorType }[] = [];
  for (const p of decl.params) {
    const type = tensorType(p.type);
    if (!type) continue;
    if (p.type.kind === "optional_type" && p.default) {
      ctx.scope.names.set(p.name.name, { val: NONE, kind: "param", span: p.name.span });
      continue;
    }
    tensors.push({ p, type });
  }
  entrySymbols(ctx, trace, tensors, solved);
  if ([...ctx.scope.names.values()].filter((b) => b.kind === "symbol").length > LIMITS.symbols)
    fail(ctx, "E1010", `${decl.name.name} has more than ${LIMITS.symbols} symbols`, decl.name.span);
  for (const p of decl.params) {
    const arg = given.get(p.name.name);
    const tensor = tensors.find((t) => t.p === p);
    const old = ctx.scope.names.get(p.name.name);
    if (old && old.val.kind === "none") continue;
    if (old) fail(ctx, "E0202", `${p.name.name} is bound twice`, p.name.span);
    if (tensor) {
      const { type, boundary } = declaredType(ctx, tensor.type);
      const text = shapeTexts(tensor.type, type.shape);
      const before = ports.get(p.name.name);
      // A lower-case size has been told of; what it would be in another fn is not known.
      if (
        before &&
        [...before.type.shape, ...type.shape].some((d) => [...symbols(d)].some((s) => !isSymbolName(s)))
      )
        throw new Failed("size");
      checkSize(ctx, type, p.type.span);
      if (type.shape.some((d) => (asConst(d) ?? 0) < 0))
        fail(ctx, "E0504", `${p.name.name} has a negative size`, p.type.span);
      if (
        before &&
        (before.type.dtype !== type.dtype ||
          before.type.shape.map(print).join() !== type.shape.map(print).join())
      )
        fail(
          ctx,
          "E0307",
          `${p.name.name} is ${type.dtype}[${text.join(", ")}] here and ${before.type.dtype}[${before.shapeText.join(", ")}] elsewhere in this block`,
          p.span,
          {
            secondary: [{ span: before.span, text: "elsewhere" }],
          },
        );
      let value = before?.value;
      if (!value) {
        const attrs = { name: p.name.name, dtype: type.dtype, shape: [...type.shape] };
        value = trace.b.at({ span: p.span, path: "", calls: [], derived: [] }, () =>
          trace.b.make(inputOp, [], attrs, p.name.name),
        );
        trace.inputs.push(value.node);
        ports.set(p.name.name, {
          name: p.name.name,
          type,
          ...(boundary ? { boundary } : {}),
          shapeText: text,
          span: p.span,
          value,
        });
      }
      ctx.scope.names.set(p.name.name, { val: tensorVal(value), kind: "param", span: p.name.span });
      continue;
    }
    const val = arg ? arg.val : p.default ? evalExpr(ctx, p.default) : undefined;
    if (!val)
      fail(
        ctx,
        "E0601",
        `the entry ${decl.name.name} has a static parameter ${p.name.name} without default`,
        p.span,
        {
          help: "give it a default, or make the fn private",
        },
      );
    ctx.scope.names.set(p.name.name, { val, kind: "param", span: p.name.span });
  }
}

/**
 * Symbols come into being in the sizes of an entry's inputs: by a size that is the symbol, or that is linear in one symbol
 * that nothing else binds. The call solves them the same way (8-plan).
 */
function entrySymbols(
  ctx: Ctx,
  trace: Trace,
  tensors: readonly { readonly p: ast.Param; readonly type: ast.TensorType }[],
  solved: Solved,
): void {
  const bind = (name: string, span: ast.Expr["span"]): void =>
    bindSymbol(ctx, name, solved.get(name) ?? sym(name), span);
  const sizes = tensors.flatMap(({ type }) => type.dims.filter((d) => d.kind !== "ellipsis"));
  for (const d of sizes) if (introduces(ctx, d) && !ctx.scope.names.has(d.name)) bind(d.name, d.span);
  for (let again = true; again; ) {
    again = false;
    for (const d of sizes) {
      const open = openSymbols(ctx, d);
      const line = open.length === 1 ? lineOf(ctx, d, open[0]) : undefined;
      const coef = line && asConst(line.coef);
      if (!line || !coef) continue;
      bind(open[0], d.span);
      again = true;
      // H + 5 of 3 elements is none.
      if (asConst(line.rest) !== 0 || coef < 0)
        trace.b.require({
          left: sym(open[0]),
          relation: ">=",
          right: dim(0),
          message: `${dimText(d)} leaves no size for ${open[0]}`,
          span: d.span,
        });
    }
  }
}

function traceEntry(shared: Shared, model: Instance, decl: ast.FnDecl, solved: Solved): Traced {
  const trace = newTrace(decl.name.name);
  const fn: FnVal = { kind: "fn", decl, module: model.module, self: model, pinned: false };
  const ctx: Ctx = { ...frame({ ...baseCtx(shared, model.module), trace, mode: "eval" }, fn) };
  const ports = new Map<string, PortInfo & { readonly value: Value }>();
  shared.depth = 0;
  shared.iterations = 0;
  return spendGraph(shared, trace, () => {
    bindEntry(ctx, trace, decl, solved, ports);
    const val = finish(ctx, decl, evalBlock(ctx, decl.body));
    const results = withDims(ctx, decl.name.span, () => resultsOf(ctx, decl, val));
    return {
      ...seal(ctx, trace, results),
      inputs: [...ports.values()].map(({ value: _, ...port }) => port),
      outputs: results.map((r) => r.port),
    };
  });
}

/** Collects a trace into a graph. */
export function seal(
  ctx: Ctx,
  trace: ReturnType<typeof newTrace>,
  results: readonly { readonly name: string; readonly value: Value }[],
): { graph: Graph; constraints: readonly Constraint[] } {
  const writes = [...trace.state.written].map(([path, w]) => ({ path, value: w.value }));
  const sinks = [...results, ...writes].map((r) => r.value);
  if (reachable(sinks).some((n) => n.op === seedOp))
    writes.push({ path: RANDOM_STEP, value: nextStep(trace) });
  checkLiterals(ctx, trace);
  const constraints = trace.constraints().map(sayBoth);
  const used = new Set<string>();
  for (const i of trace.inputs) for (const d of i.outs[0].type.shape) symbols(d, used);
  const graph = finishGraph({
    name: trace.name,
    inputs: trace.inputs,
    results: results.map(({ name, value }) => ({ name, value })),
    writes,
    symbols: [...used],
    constraints,
    indexes: indexRanges(trace.indexings(), trace.inputs, trace.slices),
  });
  for (const n of graph.nodes)
    for (const v of n.outs) {
      const span = n.origin.span ?? ctx.calls[0];
      if (span) checkSize({ ...ctx, path: n.origin.path, calls: n.origin.calls }, v.type, span);
    }
  return { graph, constraints };
}

/** A condition's message names both sides. */
function sayBoth(c: Constraint): Constraint {
  const [left, right] = [print(c.left), print(c.right)];
  if (c.message.includes(left) && c.message.includes(right)) return c;
  const verb =
    c.relation === "==" ? "must equal" : c.relation === ">=" ? "must be at least" : "must be divisible by";
  return { ...c, message: `${c.message}: ${left} ${verb} ${right}` };
}

function nextStep(trace: Trace): Value {
  const one = trace.b.make(full, [], { value: 1, dtype: "u32", shape: [] });
  return add(trace.b, stepValue(trace), one);
}

interface Result {
  readonly name: string;
  readonly value: Value;
  readonly port: PortInfo;
}

/** What an entry gives: a record by its names, a single value by the entry's. */
function resultsOf(ctx: Ctx, decl: ast.FnDecl, val: Val): Result[] {
  const span = decl.body.result?.span ?? decl.name.span;
  const declared = (name: string): ast.TensorType | undefined => {
    const r = decl.result;
    if (r?.kind !== "record_type") return r?.kind === "tensor_type" ? r : undefined;
    const f = r.fields.find((x) => x.name.name === name);
    return f ? tensorType(f.type) : undefined;
  };
  const one = (name: string, v: Val): Result => {
    const value = toTensor(ctx, v, span);
    const type = declared(name);
    return {
      name,
      value,
      port: {
        name,
        type: value.type,
        shapeText: shapeTexts(type, value.type.shape),
        span: type?.span ?? span,
      },
    };
  };
  const { name } = decl.name;
  if (val.kind === "record") return [...val.fields].map(([k, v]) => one(k, v));
  if (val.kind === "tuple" || val.kind === "list")
    return fail(ctx, "E0303", `the entry ${name} gives ${describe(val)}, whose parts have no names`, span, {
      help: "give a record: (a = …, b = …)",
    });
  if (val.kind === "none") {
    // An entry may do nothing but store.
    if (ctx.trace && ctx.trace.state.written.size > 0) return [];
    return fail(ctx, "E0303", `the entry ${name} gives nothing`, decl.name.span);
  }
  return [one(name, val)];
}
