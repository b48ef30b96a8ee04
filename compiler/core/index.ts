// The compiler as a library: source text in, artefact and reports out. No file, no GPU: imports come through `resolve`, so
// that it runs in a browser. The command line (compiler/cli) is one of its hosts.

import type { Artefact } from "../../runtime/core/program.ts";
import { checkBind } from "./bind.ts";
import { type Diagnostic, Diagnostics, MdlError } from "./diagnostics/index.ts";
import { evaluateAll, NOMINAL, print } from "./dims/dim.ts";
import { stdSources } from "./generated/std.ts";
import { isGraph } from "./ir/build.ts";
import type { Graph, Node } from "./ir/types.ts";
import type { CheckedModel } from "./model.ts";
import { parse } from "./phases/1-parse/parse.ts";
import { check as checkSource, type SetValue } from "./phases/2-check/check.ts";
import { type Built, build } from "./pipeline.ts";
import type { ReferenceModel } from "./reference/net.ts";
import { emitStage, type Stage } from "./stages.ts";
import { targets as allTargets } from "./targets.ts";

export type { Artefact } from "../../runtime/core/program.ts";
export { type Diagnostic, InternalError, MdlError } from "./diagnostics/index.ts";
export type { CheckedModel } from "./model.ts";
export type { SetValue } from "./phases/2-check/check.ts";
export { type EmitOptions, type EmittedModule, emitModule } from "./phases/9-emit/index.ts";
export type { Stage } from "./stages.ts";

export interface CompileOptions {
  /** Text of an imported file by its path as resolved against the importing file; std/… is built in. */
  readonly resolve?: (path: string) => string | undefined;
  /** Only this model; with several in a file and none named, the first. */
  readonly model?: string;
  /** The model's own arguments. */
  readonly set?: Readonly<Record<string, SetValue>>;
  readonly entries?: readonly string[];
  /** Sizes fixed ahead: smaller, faster kernels for these sizes only. */
  readonly bind?: Readonly<Record<string, number>>;
  /** Names of targets; all by default. */
  readonly targets?: readonly string[];
  /** Check every graph after every pass (tests). */
  readonly verify?: boolean;
  /** Texts of kernels are short (what is loaded), rather than as a person would have written them. */
  readonly minify?: boolean;
}
export interface EntrySummary {
  readonly name: string;
  readonly inputs: string;
  readonly outputs: string;
  readonly target: string;
  /** Nodes that compute something, before fusion. */
  readonly kernelsBefore: number;
  /** Dispatches of a call, without `prepare`, in its sizes (`3 * T + 26`), and their number at the nominal size. */
  readonly dispatches: string;
  readonly nominalDispatches: number;
  readonly prepare: number;
  /** Bytes of arena at the nominal size, and the least that any plan would need. */
  readonly peakBytes: number;
  readonly boundBytes: number;
}
export interface Compiled {
  readonly name: string;
  readonly model: CheckedModel;
  readonly artefact: Artefact;
  /** Entries and steps for the reference evaluator (compiler/core/reference/net.ts). */
  readonly reference: ReferenceModel;
  readonly diagnostics: readonly Diagnostic[];
  readonly report: { readonly entries: readonly EntrySummary[] };
  /** The text of a stage; of one target where the stage has targets (the first by default). */
  emit(stage: Stage, target?: string): string;
}

const resolver = (options: CompileOptions) => (path: string) => stdSources[path] ?? options.resolve?.(path);

/** Diagnostics of a source, without compiling it. */
export function check(source: string, file: string, options: CompileOptions = {}): readonly Diagnostic[] {
  return checkSource(source, file, { resolve: resolver(options), model: options.model, set: options.set })
    .diagnostics;
}

/** Compiles one model of a source; throws MdlError with diagnostics for what the source is at fault for. */
export function compile(source: string, file: string, options: CompileOptions = {}): Compiled {
  const checked = checkSource(source, file, {
    resolve: resolver(options),
    model: options.model,
    set: options.set,
  });
  if (!checked.models || checked.diagnostics.some((d) => d.severity === "error"))
    throw new MdlError(checked.diagnostics);
  const model = checked.models[0];
  const problems = new Diagnostics();
  const start = { file, start: 0, end: 0 };
  if (!model) problems.report("E0205", `there is no model in ${file}`, start);
  const known = new Set(allTargets.map((t) => t.name as string));
  for (const t of options.targets ?? [])
    if (!known.has(t))
      problems.report("E0606", `there is no target ${t}`, start, {
        help: `targets are ${[...known].join(", ")}`,
      });
  if (problems.hasErrors || !model) throw new MdlError(problems.list());
  for (const e of options.entries ?? []) {
    const names = [...model.entries.map((x) => x.name), ...model.trains.map((t) => `${t.name}_step`)];
    if (!names.includes(e) && !(e === "train_step" && model.trains.length === 1))
      problems.report("E0205", `${model.name} has no entry ${e}`, model.span, {
        help: `it has ${names.join(", ")}`,
      });
  }
  if (options.bind) checkBind(model, options.bind, options.entries, problems);
  if (problems.hasErrors) throw new MdlError(problems.list());
  const lines = lineIndex(source);
  const place = (n: Node): string => {
    const span = n.origin.calls[0] ?? n.origin.span;
    const at = n.origin.span ?? span;
    if (!at) return "";
    if (at.file !== file && n.origin.calls.length > 0) {
      const call = [...n.origin.calls].reverse().find((c) => c.file === file);
      if (call) return `${file}:${lines(call.start)}`;
    }
    return at.file === file ? `${file}:${lines(at.start)}` : at.file;
  };
  const targets = allTargets.filter((t) => !options.targets || options.targets.includes(t.name));
  const built = build(model, {
    targets,
    bind: options.bind,
    entries: options.entries,
    verify: options.verify,
    minify: options.minify,
    place,
  });
  return {
    name: model.name,
    model,
    artefact: built.artefact,
    reference: built.reference,
    diagnostics: checked.diagnostics,
    report: { entries: summarise(built) },
    emit: (stage, target) =>
      emitStage(stage, { source, file, parse, model, built, target: target ?? targets[0].name }),
  };
}

function summarise(built: Built): EntrySummary[] {
  return built.stages.map((s) => {
    const program = built.artefact.programs.find(
      (p) => p.target === s.target,
    ) as Artefact["programs"][number];
    const plan = program.entries.find(
      (e) => e.name === s.entry,
    ) as Artefact["programs"][number]["entries"][number];
    const count = (steps: typeof plan.body.steps): number =>
      steps.filter((x) => x.kind === "dispatch").length;
    const port = (p: (typeof plan.inputs)[number]): string =>
      `${p.name}: ${p.dtype}[${p.shapeText.join(", ")}]`;
    return {
      name: s.entry,
      inputs: plan.inputs.map(port).join(", "),
      outputs: plan.outputs.map(port).join(", "),
      target: s.target,
      kernelsBefore: computing(s.simplified),
      dispatches: print(s.dispatches),
      nominalDispatches: evaluateAll(s.dispatches, NOMINAL),
      prepare: plan.derived.reduce((n, u) => n + count(program.derived[u].body.steps), 0),
      peakBytes: s.peak,
      boundBytes: s.bound,
    };
  });
}

/** Nodes that compute something, those of loop bodies once. */
function computing(graph: Graph): number {
  return graph.nodes.reduce((n, node) => {
    const own = (node.op.fuses === "map" || node.op.fuses === "fold") && node.inputs.length > 0 ? 1 : 0;
    return (
      n + own + Object.values(node.attrs).reduce<number>((m, a) => m + (isGraph(a) ? computing(a) : 0), 0)
    );
  }, 0);
}

/** Line numbers by offset. */
function lineIndex(source: string): (offset: number) => string {
  const starts = [0];
  for (let i = 0; i < source.length; i++) if (source[i] === "\n") starts.push(i + 1);
  return (offset) => {
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const mid = (low + high + 1) >> 1;
      if (starts[mid] <= offset) low = mid;
      else high = mid - 1;
    }
    return `${low + 1}:${offset - starts[low] + 1}`;
  };
}
