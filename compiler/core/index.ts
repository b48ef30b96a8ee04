// The compiler as a library: parse, print, check, build, emit, each by itself, and `compile`, which is all of them. Source text
// or graphs in, artefact and reports out. No file, no GPU: imports come through `resolve`, so that it runs in a browser. The
// command line (compiler/cli) is one of its hosts, and imports nothing else of this folder. docs/library.md has examples.

import type { Artefact, Notes } from "../../runtime/core/program.ts";
import { checkBind } from "./bind.ts";
import { withNotes } from "./debug/index.ts";
import {
  type Diagnostic,
  Diagnostics,
  InternalError,
  LineMap,
  MdlError,
  type Span,
} from "./diagnostics/index.ts";
import { stdSources } from "./generated/std.ts";
import type { Data } from "./ir/data.ts";
import { GraphTextError, parseGraph as parseText } from "./ir/parse.ts";
import { type Constraint, type Graph, type Node, OpError } from "./ir/types.ts";
import { examine } from "./ir/verify.ts";
import { blockEntry, type CheckedModel } from "./model.ts";
import { opNamed } from "./ops/index.ts";
import { parse as parseSource } from "./phases/1-parse/parse.ts";
import { printAst } from "./phases/1-parse/print.ts";
import { type CheckResult, check as checkSource, type SetValue } from "./phases/2-check/check.ts";
import { versionOf } from "./phases/7-schedule/tuned.ts";
import { build as buildModel } from "./pipeline.ts";
import type { ReferenceModel } from "./reference/net.ts";
import { type EntrySummary, summarise } from "./report.ts";
import { emitStage, type Stage } from "./stages.ts";
import { type Storage, type StoredModel, storageOf, storedModel } from "./storage.ts";
import type { SourceFile } from "./syntax/ast.ts";
import { sameTree } from "./syntax/walk.ts";
import { allTargets, lacksHalf, namedTargets, type Target, type TuningRow } from "./targets.ts";

// What the functions below take and give.
export type { Artefact } from "../../runtime/core/program.ts";
export { type LayerCost, layerCosts } from "./costs.ts";
// Looking inside: values by name, and where NaN comes from.
export * as debugging from "./debug/index.ts";
export {
  closest,
  type Diagnostic,
  InternalError,
  type JsonDiagnostic,
  LineMap,
  MdlError,
  type Painter,
  printable,
  renderAll,
  type Span,
  toJSON,
} from "./diagnostics/index.ts";
// Graphs, for importers and tools: sizes, nodes, text, operators.
export { type Dim, type DimLike, dim, print as printSize, sym } from "./dims/dim.ts";
export { type Documented, type DocumentedFile, documented } from "./document.ts";
export { stdSources } from "./generated/std.ts";
export { createBuilder, finishGraph, type GraphBuilder, typeText } from "./ir/build.ts";
export { constantsOf, type Data, literalData } from "./ir/data.ts";
export { GraphTextError } from "./ir/parse.ts";
export { printGraph } from "./ir/print.ts";
export type {
  Attr,
  Attrs,
  Dense,
  DType,
  Graph,
  OpDef,
  OpExample,
  OpParam,
  TensorType,
  Value,
} from "./ir/types.ts";
export {
  blockEntry,
  type CheckedEntry,
  type CheckedModel,
  type CheckedTrain,
  graphModel,
  type LayerInfo,
  type ParamInfo,
  type PortInfo,
  type Sight,
  swapName,
} from "./model.ts";
export { applyOp, byName, exposedOps, opForCall, opNamed } from "./ops/index.ts";
export * as sources from "./ops/source.ts";
export { spatialAxes } from "./ops/window.ts";
export type { CheckResult, SetValue } from "./phases/2-check/check.ts";
export type { Definition, DefinitionKind, Names, TypeInInstance } from "./phases/2-check/names/table.ts";
export { type EmitOptions, type EmittedModule, emitModule } from "./phases/9-emit/index.ts";
// Weights in few bits, for hosts that write them: `mdl quantize`.
export { dequantizeWeight, type Quantized, QuantizeError, quantizeWeight } from "./quantize.ts";
// The judge: results in double precision, without kernels.
export { dense, EvaluateError } from "./reference/evaluate.ts";
export { type ReferenceModel, ReferenceNet } from "./reference/net.ts";
export type { EntrySummary } from "./report.ts";
export { STAGES, type Stage } from "./stages.ts";
export {
  GROUP,
  quantizeCommand,
  STORAGES,
  type Storage,
  type StorageName,
  type StoredModel,
  type StoredWeight,
  storageName,
  storageNamed,
  storageOf,
  storageText,
  storedModel,
} from "./storage.ts";
export type { SourceFile } from "./syntax/ast.ts";
export {
  allTargets as targets,
  lacksHalf,
  namedTargets,
  type Precision,
  type Target,
  type Tuning,
  type TuningRow,
  withPrecision,
} from "./targets.ts";
export { libraryModules, vocabulary, type Word } from "./vocabulary.ts";

// ------------------------------------------------------------------------------------------------- parse, print

/** The tree of a source; it is whole where no diagnostic is an error, and has holes else. Never throws. */
export function parse(
  source: string,
  file: string,
): { readonly tree: SourceFile; readonly diagnostics: readonly Diagnostic[] } {
  const { ast, diagnostics } = parseSource(source, file);
  return { tree: ast, diagnostics };
}

/** A tree without holes as source text, laid out as the house writes. */
export const print = (tree: SourceFile): string => printAst(tree);

/**
 * A source, laid out: what `mdl fmt` writes. Comments stay, and so does what it means; what comes out is laid out already.
 * Throws MdlError for what does not parse.
 */
export function format(source: string, file: string): string {
  const { ast, diagnostics } = parseSource(source, file);
  if (diagnostics.some((d) => d.severity === "error")) throw new MdlError(diagnostics);
  const text = printAst(ast);
  if (!sameTree(ast, parseSource(text, file).ast))
    throw new InternalError("format", `${file} would not mean the same once it is laid out`);
  return text;
}

/**
 * A graph from its text (`printGraph`), with the data that the text names (`constantsOf`). What operators require of sizes is
 * added to its conditions, so that nothing a call must check is lost. Throws GraphTextError for what cannot be read, and where
 * a node's type is not what its operator gives.
 */
export function parseGraph(text: string, constants?: ReadonlyMap<string, Data>): Graph {
  const graph = parseText(text, opNamed, (name) => constants?.get(name));
  const key = (c: Constraint): string => `${c.left.key} ${c.relation} ${c.right.key}`;
  const conditions = new Map(graph.constraints.map((c) => [key(c), c]));
  try {
    examine(
      graph,
      (what) => {
        throw new GraphTextError(what);
      },
      (c) => {
        if (!conditions.has(key(c))) conditions.set(key(c), c);
      },
    );
  } catch (e) {
    throw e instanceof OpError ? new GraphTextError(`${graph.name}: ${e.message}`) : e;
  }
  return { ...graph, constraints: [...conditions.values()] };
}

// -------------------------------------------------------------------------------------------------------- check

export interface CheckOptions {
  /** Text of an imported file by its path as resolved against the importing file; std/… is built in. */
  readonly resolve?: (path: string) => string | undefined;
  /** Only this model. */
  readonly model?: string;
  /** The model's own arguments. */
  readonly set?: Readonly<Record<string, SetValue>>;
  /** Patterns of parameters that nothing trains, beside those that the source says are frozen: `trunk.*`. */
  readonly freeze?: readonly string[];
  /** Keep what names refer to and what expressions are, for editors. */
  readonly names?: boolean;
  /**
   * Check for debugging: entries and train blocks say which value has which name (`seen`), and what `print` and `assert` are
   * handed. What is inside a scan can be had where this is true of its name.
   */
  readonly watch?: (name: string) => boolean;
}

/**
 * Models with their graphs, diagnostics, and names and types by place where they were asked for. Throws for nothing that a
 * source can be at fault for: where there are errors, there are no models.
 */
export function check(source: string, file: string, options: CheckOptions = {}): CheckResult {
  const { resolve, model, set, freeze, names, watch } = options;
  return checkSource(source, file, {
    parse: parseSource,
    resolve: (path) => stdSources[path] ?? resolve?.(path),
    ...(model === undefined ? {} : { model }),
    ...(set === undefined ? {} : { set }),
    ...(freeze === undefined ? {} : { freeze }),
    ...(names === undefined ? {} : { names }),
    ...(watch === undefined ? {} : { watch }),
  });
}

// -------------------------------------------------------------------------------------------------------- build

export interface BuildOptions {
  /** Only these entries (training steps by `NAME_step`). */
  readonly entries?: readonly string[];
  /** Sizes fixed ahead: smaller, faster kernels for these sizes only. */
  readonly bind?: Readonly<Record<string, number>>;
  /** Names of the compiler's targets, or targets of one's own, which `load` tries first; all of the compiler's by default. */
  readonly targets?: readonly (string | Target)[];
  /** Check every graph after every pass (tests). */
  readonly verify?: boolean;
  /**
   * For a tuner: asked of each group of operations that can be computed in several ways, which one it is to be (0 is what is
   * taken otherwise). `way` is the class that a row of a `Tuning` speaks of; dispatches are labelled with it.
   */
  readonly pick?: (offers: readonly Alternative[], way: string) => number;
  /** Large weights in fewer bits: the module reads what `mdl quantize` makes of them, and has no training steps. */
  readonly storage?: Storage;
  /** Texts of kernels are short (what is loaded), rather than as a person would have written them. */
  readonly minify?: boolean;
  /** The text the model was checked from, for lines in the names of dispatches; a model of graphs has none. */
  readonly source?: { readonly file: string; readonly text: string };
}

/** A way to compute a group: the choice of a kernel family. */
export type Alternative = Omit<TuningRow, "region">;

/** What was built: an artefact to emit or load, and what there is to see of it. */
export interface Build {
  readonly name: string;
  readonly model: CheckedModel;
  readonly artefact: Artefact;
  /** Entries and steps for the reference evaluator (`ReferenceNet`). */
  readonly reference: ReferenceModel;
  readonly report: { readonly entries: readonly EntrySummary[] };
  /** Where `storage` was asked for: which weights are stored so, and the training steps that are left out. */
  readonly stored?: Omit<StoredModel, "model">;
  /** The text of a stage behind the source; of one target where the stage has targets (the first by default). */
  emit(stage: Exclude<Stage, "ast">, target?: string): string;
}

/**
 * Kernels, plans and places of a model, however it was come by. Throws MdlError where options name what is not there, and for
 * sizes and graphs beyond what can be had.
 */
export function build(given: CheckedModel, options: BuildOptions = {}): Build {
  const problems = new Diagnostics();
  const { source } = options;
  const start = source ? { file: source.file, start: 0, end: 0 } : given.span;
  const stored = options.storage && storedModel(given, checkedStorage(options.storage, start, problems));
  const model = stored?.model ?? given;
  const targets = targetsOf(options.targets ?? allTargets, (what, help) => {
    problems.report("E0606", what, start, { help });
  });
  if (problems.hasErrors) throw new MdlError(problems.list());
  for (const e of options.entries ?? []) {
    const names = [...model.entries.map((x) => x.name), ...model.trains.map(blockEntry)];
    if (!names.includes(e) && !(e === "train_step" && model.trains.length === 1))
      problems.report("E0205", `${model.name} has no entry ${e}`, model.span, {
        help: given.trains.length > model.trains.length ? TRAINS_F32 : `it has ${names.join(", ")}`,
      });
  }
  if (options.bind) checkBind(model, options.bind, options.entries, problems);
  if (problems.hasErrors) throw new MdlError(problems.list());
  const built = buildModel(model, {
    targets,
    bind: options.bind,
    entries: options.entries,
    verify: options.verify,
    minify: options.minify,
    pick:
      options.pick &&
      ((offers, way) =>
        options.pick?.(
          offers.map((o) => ({ family: o.family.name, version: versionOf(o), choice: o.choice })),
          way,
        ) ?? 0),
    nameWays: options.pick !== undefined,
    place: source ? placeIn(source.file, source.text) : () => "",
  });
  return {
    name: model.name,
    model,
    artefact: options.storage ? { ...built.artefact, storage: storageOf(options.storage) } : built.artefact,
    reference: built.reference,
    ...(stored && { stored: { weights: stored.weights, leftOut: stored.leftOut } }),
    report: { entries: summarise(built) },
    emit: (stage, target) => emitStage(stage, built, target ?? targets[0].name),
  };
}

const TRAINS_F32 = "training updates weights as they are declared: compile it without storage";

/** A width that there is, and a group that fits into words. */
function checkedStorage(storage: Storage, at: Span, problems: Diagnostics): Storage {
  const { bits, group } = storage;
  if (![16, 8, 4].includes(bits))
    problems.report("E0607", `weights are stored in 16, 8 or 4 bits, not ${bits}`, at);
  else if (group !== undefined && bits !== 4)
    problems.report("E0607", "a group of numbers that share a scale is for 4 bits", at, {
      help: "8 bits have a scale for each channel, 16 have none",
    });
  else if (group !== undefined && !(Number.isSafeInteger(group) && group > 0 && group % 8 === 0))
    problems.report("E0607", `${group} numbers of 4 bits are no group`, at, {
      help: "a group is a multiple of 8: 32, 64, 128",
    });
  if (problems.hasErrors) throw new MdlError(problems.list());
  return storage;
}

/** The targets that were asked for, in the order `load` tries them. */
function targetsOf(
  asked: readonly (string | Target)[],
  refuse: (what: string, help: string) => void,
): readonly Target[] {
  const known = namedTargets.map((t) => t.name);
  const once = [...new Set(asked)];
  const names = once.map((t) => (typeof t === "string" ? t : t.name));
  names.forEach((name, i) => {
    if (names.indexOf(name) < i) refuse(`there are two targets ${name}`, "give each a name of its own");
    if (once[i] === name && !known.includes(name))
      refuse(`there is no target ${name}`, `targets are ${known.join(", ")}`);
    const target = typeof once[i] === "string" ? namedTargets.find((t) => t.name === name) : once[i];
    if (target && lacksHalf(target))
      refuse(
        `the target ${name} is for products in f16, and is asked for without`,
        'mdl compile and mdl train take --precision f16; in a library it is withPrecision(target, "f16")',
      );
  });
  const own = once.filter((t): t is Target => typeof t !== "string" && !allTargets.includes(t));
  return [...own, ...allTargets.filter((t) => once.includes(t.name) || once.includes(t))];
}

/** Where a node stands in the user's own file, as `file:line:column`; what lies elsewhere says its file. */
function placeIn(file: string, text: string): (n: Node) => string {
  const map = new LineMap(text);
  const at = (offset: number): string => {
    const { line, column } = map.position(offset);
    return `${file}:${line}:${column}`;
  };
  return ({ origin }) => {
    const span = origin.span ?? origin.calls[0];
    if (!span) return "";
    if (span.file === file) return at(span.start);
    const call = origin.calls.findLast((c) => c.file === file);
    return call ? at(call.start) : span.file;
  };
}

// ------------------------------------------------------------------------------------------------------ compile

export interface CompileOptions extends Omit<CheckOptions, "names">, Omit<BuildOptions, "source"> {
  /** A module that shows what `print` is handed and tests what `assert` says, with each call: `notes` is for `emitModule`. */
  readonly debug?: boolean;
}

export interface Compiled extends Omit<Build, "emit"> {
  /** Of a build with `debug`. */
  readonly notes?: Notes;
  readonly diagnostics: readonly Diagnostic[];
  /** The text of a stage; of one target where the stage has targets (the first by default). */
  emit(stage: Stage, target?: string): string;
}

/**
 * Checks a source and builds one of its models: the one that is named, else the first. Throws MdlError with diagnostics for
 * what the source is at fault for.
 */
export function compile(source: string, file: string, options: CompileOptions = {}): Compiled {
  const { debug } = options;
  const checked = check(
    source,
    file,
    debug ? { ...options, watch: options.watch ?? (() => false) } : options,
  );
  if (!checked.models || checked.diagnostics.some((d) => d.severity === "error"))
    throw new MdlError(checked.diagnostics);
  const [own] = checked.models;
  if (!own) {
    const problems = new Diagnostics();
    problems.report("E0205", `there is no model in ${file}`, { file, start: 0, end: 0 });
    throw new MdlError(problems.list());
  }
  const textOf = (of: string): string | undefined =>
    of === file ? source : (stdSources[of] ?? options.resolve?.(of));
  const { model, notes } = debug ? withNotes(own, textOf) : { model: own, notes: undefined };
  const entries = options.entries?.flatMap((e) => [e, notes?.[e]?.by ?? []].flat());
  const built = build(model, { ...options, entries, source: { file, text: source } });
  return {
    ...built,
    ...(notes && { notes }),
    diagnostics: checked.diagnostics,
    emit: (stage, target) => (stage === "ast" ? print(parse(source, file).tree) : built.emit(stage, target)),
  };
}
