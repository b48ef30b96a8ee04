// The checker's entry: files in, models out. In: the root file's text or tree, a callback for imports, choices of the
// command line. Out: per model its parameters, a graph per entry, its train blocks; or diagnostics. No exception leaves it
// for what a user wrote; anything else is an InternalError.
// The rooms beside it, each of which imports only those before it: `names` (files, names and sizes by the text alone), `values`
// (what expressions evaluate to, where they stand, declared types), `instances` (layers built, parameters and their paths),
// `tensors` (operators applied, and the forms that make tensors), `interpret` (expressions, calls, the language's functions),
// `entries` (entries and train blocks as graphs, and what is solved for).
import { didYouMean } from "../../diagnostics/nearest.ts";
import { type Diagnostic, Diagnostics, InternalError } from "../../diagnostics/report.ts";
import { type CheckedEntry, type CheckedModel, type ParamInfo, swapName } from "../../model.ts";
import { RANDOM_STEP } from "../../ops/source.ts";
import type * as ast from "../../syntax/ast.ts";
import { checkEntry } from "./entries/entry.ts";
import { checkTrain } from "./entries/train.ts";
import { construct } from "./instances/construct.ts";
import { matchSlots, place } from "./instances/slots.ts";
import { builtinModule, builtinNames, isBuiltinName } from "./interpret/builtins.ts";
import { interpreter } from "./interpret/expr.ts";
import { damageOf } from "./names/damage.ts";
import { loadModules, type Module } from "./names/modules.ts";
import { checkNames } from "./names/names.ts";
import { type Names, SourceTable } from "./names/table.ts";
import { checkWgsl } from "./tensors/userop.ts";
import {
  baseCtx,
  type Ctx,
  contain,
  Failed,
  fail,
  report,
  type Shared,
  type Spent,
} from "./values/context.ts";
import { type ArgVal, boolVal, floatVal, intVal, type Slot, typeOfVal, type Val } from "./values/values.ts";

/** A value given on the command line for a model's parameter. */
export type SetValue = number | boolean | string;

export interface CheckOptions {
  /** Reads a file's text. */
  readonly parse: ast.Parse;
  /** Text of `std/nn` and of imported files by resolved name; undefined where there is none. */
  readonly resolve: (path: string) => string | undefined;
  /** Only this model. */
  readonly model?: string;
  readonly set?: Readonly<Record<string, SetValue>>;
  /** Patterns of parameters that nothing trains, beside those that the source says are frozen: `trunk.*`. */
  readonly freeze?: readonly string[];
  /** Keep what names refer to and what expressions are, for editors: `CheckResult.names`. */
  readonly names?: boolean;
  /**
   * Check for debugging: entries and train blocks say which value has which name (`seen`), and what `print` and `assert` are
   * handed. What is inside a scan can be had where this is true of its name.
   */
  readonly watch?: (name: string) => boolean;
}

export interface CheckResult {
  /** Undefined where there are errors. */
  readonly models: readonly CheckedModel[] | undefined;
  readonly diagnostics: readonly Diagnostic[];
  /** Where `names` was asked for; it says what is known where there are errors, too. */
  readonly names?: Names;
}

/** Checks the file `file` with the text `source`. */
export function check(source: string, file: string, options: CheckOptions): CheckResult {
  const out = new Diagnostics();
  const parsed = options.parse(source, file);
  for (const d of parsed.diagnostics) out.add(d);
  const table = options.names ? new SourceTable<Val>(typeOfVal) : undefined;
  if (!out.hasErrors) return checkTree(parsed.ast, file, options, out, new Set(), table);
  // A syntax error in one place hides nothing elsewhere.
  const damage = damageOf(parsed.ast, source, parsed.diagnostics);
  const rest = new Diagnostics();
  try {
    checkTree(parsed.ast, file, options, rest, damage.nodes, table);
  } catch (e) {
    // A tree with holes is no input of the checker's: what it says is a help, and never a reason to stop.
    if (!(e instanceof InternalError)) throw e;
  }
  for (const d of rest.list()) if (damage.believes(d)) out.add(d);
  return { models: undefined, diagnostics: out.list(), ...(table ? { names: table } : {}) };
}

const builtins = { has: isBuiltinName, names: builtinNames, module: builtinModule };

/** Checks a tree that parsed without errors. */
export function checkTree(
  tree: ast.SourceFile,
  file: string,
  options: CheckOptions,
  out = new Diagnostics(),
  damaged: ReadonlySet<object> = new Set(),
  table?: SourceTable<Val>,
): CheckResult {
  let models: CheckedModel[] | undefined;
  guard(out, tree, () => {
    const { root, modules } = loadModules(
      tree,
      file,
      { ...options, whole: table !== undefined },
      builtins,
      out,
    );
    for (const m of modules) {
      const ours = m.file.startsWith("std/");
      if (!ours || table) checkNames(m, options.resolve, builtins, ours ? new Diagnostics() : out, table);
    }
    models = checkModels(root, options, out, damaged, table);
  });
  return {
    models: out.hasErrors ? undefined : models,
    diagnostics: out.list(),
    ...(table ? { names: table } : {}),
  };
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
  table: SourceTable<Val> | undefined,
): CheckedModel[] {
  const items = root.source.items;
  const models = items.filter((i) => i.kind === "model");
  const start = { ...root.source.span, end: root.source.span.start };
  const spent: Spent = { instances: 0, nodes: 0, steps: 0, items: 0 };
  const shared = (): Shared => ({
    interpreter,
    out,
    table,
    watch: options.watch,
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
    const model = contain(() => checkModel(shared(), root, m, options), undefined);
    if (model) made.push(model);
  }
  return made;
}

function checkModel(
  shared: Shared,
  root: Module,
  decl: ast.ModelDecl,
  { set = {}, freeze = [] }: CheckOptions,
): CheckedModel {
  const ctx = baseCtx(shared, root);
  const instance = construct(ctx, decl, root, modelArgs(ctx, decl, set), decl.name.span, []);
  const { slots, layers } = place(instance, shared);
  shared.slots = slots;
  for (const text of freeze) {
    const pattern: ast.Pattern = { kind: "pattern", segments: text.split("."), span: decl.name.span };
    for (const s of matchSlots(ctx, slots, pattern, "")) s.frozen = true;
  }
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
    internal: s.private,
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
    layers,
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
  const steps = [...trains.keys()].flatMap((t) => [`${t}_step`, `${t}_gradients`, swapName(t)]);
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
