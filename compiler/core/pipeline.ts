// The compiler, top to bottom: read this file first. In: a checked model and options. Out: an artefact with one program per
// target, and what each stage looked like. Each step names what it needs and what it guarantees; every graph is verified
// after every pass when `options.verify` is set (tests).

import { type Artefact, type EntryPlan, PROGRAM_VERSION, type Program } from "../../runtime/core/program.ts";
import { diagnostic, MdlError, type Span } from "./diagnostics/index.ts";
import { asConst, type Dim, DimError, NOMINAL } from "./dims/dim.ts";
import { sameGraph } from "./ir/alike.ts";
import { type Block, eachBlock, mapBlocks, overBlocks } from "./ir/blocks.ts";
import { PART_OF } from "./ir/build.ts";
import { Identity } from "./ir/identity.ts";
import { bindSymbols } from "./ir/transform.ts";
import { type Graph, GraphLimit, type Node, type Value } from "./ir/types.ts";
import { verify } from "./ir/verify.ts";
import type { KernelCode } from "./kernel/code.ts";
import type { About, Routine } from "./kernel/launch.ts";
import { verifyKernel } from "./kernel/verify.ts";
import { blockEntry, type CheckedModel, type CheckedTrain, type HostExpr, type PortInfo } from "./model.ts";
import {
  type BufferRun,
  type Gradients,
  gradientsGraph,
  gradientsOf,
  type StepState,
  trainStep,
  useOf,
  withLossScales,
} from "./phases/3-grad/step.ts";
import { verifyLoops } from "./phases/4-simplify/loops.ts";
import { type Simplified, simplify } from "./phases/4-simplify/simplify.ts";
import { fuse } from "./phases/5-fuse/fuse.ts";
import { type Laid, layout } from "./phases/6-layout/layout.ts";
import { verifyLaid } from "./phases/6-layout/verify.ts";
import { isClaimed, roomFor } from "./phases/7-schedule/choose.ts";
import { panelsFor } from "./phases/7-schedule/contraction/subgroup.ts";
import { blocksPay, filtersFor, wantsBlocks } from "./phases/7-schedule/contraction/winograd.ts";
import { COUNTER, drawWorkgroups } from "./phases/7-schedule/draw.ts";
import { shareEnds } from "./phases/7-schedule/ends.ts";
import type { Offer } from "./phases/7-schedule/family.ts";
import { type Scheduling, schedule } from "./phases/7-schedule/routine.ts";
import { Schedules } from "./phases/7-schedule/same.ts";
import { shareWords } from "./phases/7-schedule/words.ts";
import type { ProgramContext } from "./phases/8-plan/blocks.ts";
import { DerivedTable, planDerived } from "./phases/8-plan/derived.ts";
import { KernelTable, KernelTexts } from "./phases/8-plan/kernels.ts";
import {
  ConstantTable,
  type ParamPlaces,
  Places,
  paramSpecs,
  placeBuffers,
  placeParams,
  placeState,
} from "./phases/8-plan/places.ts";
import { type EntryInput, type EntryReport, planEntry } from "./phases/8-plan/plan.ts";
import { requiresOf } from "./phases/8-plan/requires.ts";
import type { FlatTensors, ReferenceModel, ReferenceStep } from "./reference/net.ts";
import type { Region } from "./regions/region.ts";
import { verifyFused, verifyRegions } from "./regions/verify.ts";
import { limitOf, rulesOf, type Target } from "./targets.ts";

export interface PipelineOptions {
  readonly targets: readonly Target[];
  readonly bind?: Readonly<Record<string, number>>;
  /** Only these entries (training steps by `NAME_step`). */
  readonly entries?: readonly string[];
  readonly verify?: boolean;
  /** Takes another of the ways to compute a group than the first: its number. */
  readonly pick?: (offers: readonly Offer[], way: string) => number;
  /** Dispatches are named by the class of their group where there were several ways to compute it: for a tuner. */
  readonly nameWays?: boolean;
  /** Texts of kernels are short rather than readable. */
  readonly minify?: boolean;
  /** Renders a span as `file:line:column`. */
  readonly place: (n: Node) => string;
}
/** One entry of one target, for reports and `--emit`. */
export interface StageReport extends EntryReport {
  readonly entry: string;
  readonly target: string;
  /** As checked (or differentiated). */
  readonly checked: Graph;
  readonly simplified: Graph;
  readonly laid: Block<Laid>;
}
export interface Built {
  readonly artefact: Artefact;
  /** What the reference evaluator runs: it knows no target. */
  readonly reference: ReferenceModel;
  readonly stages: readonly StageReport[];
  readonly kernels: ReadonlyMap<string, KernelTable>;
}

/**
 * Nodes of all entries of a program, simplified: some milliseconds each for all targets together, so that compiling ends.
 * A training step of ResNet-152 has a quarter of it.
 */
export const MAX_PLANNED = 40_000;

interface Source {
  readonly name: string;
  readonly span: Span;
  readonly doc?: string;
  readonly graph: Graph;
  readonly inference: boolean;
  readonly ports: readonly PortInfo[];
  readonly hyper?: Readonly<Record<string, HostExpr>>;
  readonly train?: EntryInput["train"];
  /** What targets share of its simplification. */
  readonly simplified: Simplified;
}

export function build(given: CheckedModel, options: PipelineOptions): Built {
  const model = options.targets.some((t) => t.precision === "f16") ? withLossScales(given) : given;
  // Gradients first, then places: a training step updates what it trains as one flat tensor.
  const begun = beginSteps(model, options);
  const params = placeParams(
    model.params,
    begun.map(({ train, gradients }) => useOf(train, gradients)),
  );
  const { sources, steps, kept, runs, others } = sourcesOf(model, options, begun, params);
  const state = placeState(model.buffers, kept, runs);
  const constants = new ConstantTable([COUNTER]);
  const places = new Places(params.places, state.places, constants, runs);

  const stages: StageReport[] = [];
  const printed = new KernelTexts(options.minify ?? false);
  const tables = new Map<string, KernelTable>();
  const shared = new SharedLayouts();
  const schedules = new Schedules();
  const programs: Program[] = options.targets.map((target) => {
    const kernels = new KernelTable();
    tables.set(target.name, kernels);
    const derived = new DerivedTable(target.backend.rules.alignment);
    const line: Line = {
      target,
      options,
      claims: (n) => isClaimed(n, target),
      shared,
      nodes: { left: MAX_PLANNED },
      scheduling: {
        target,
        identity: new Identity(),
        prepared: new Set(),
        schedules,
        describe: (g, way) =>
          options.nameWays && way !== undefined
            ? { site: way, label: way }
            : describeRegion(g, options.place),
        pick: options.pick,
        flat: flatPlaces(params),
        small: options.minify,
        verify: options.verify,
      },
      planning: { target, kernels, derived, places },
    };
    const scheduled = sources.map((src) => sized(src.name, src.span, () => scheduleEntry(src, line)));
    const look = options.verify ? (code: KernelCode) => verifyKernel(code, rulesOf(target)) : undefined;
    const words = shareWords(
      scheduled.map((x) => x.routine),
      look,
    );
    // Ends of all in one text are some 0.1 kB more than texts that are alike, compressed; and to draw is said in each text.
    const routines = options.minify ? words : drawWorkgroups(shareEnds(words, target, look), target, look);
    const made = sources.map((src, i) =>
      sized(src.name, src.span, () => planned(src, scheduled[i], routines[i], line.planning)),
    );
    stages.push(...made.map((m) => m.report));
    const entries = made.map((m) => m.plan);
    const units = planDerived(derived);
    return {
      target: target.name,
      requires: requiresOf(
        target,
        made.map((m) => m.report.largest),
        [
          { name: "the parameters", bytes: params.bytes },
          { name: "the state", bytes: state.bytes },
          { name: "what is made of the parameters", bytes: derived.bytes },
        ],
      ),
      kernels: kernels.finish(target.backend, printed, target.requires.features),
      entries,
      derived: units,
      derivedBytes: derived.bytes,
      constantBytes: constants.bytes,
    };
  });
  const artefact: Artefact = {
    version: PROGRAM_VERSION,
    name: model.name,
    doc: model.doc,
    params: paramSpecs(model.params, params.places),
    paramBytes: params.bytes,
    state: state.tensors,
    stateBytes: state.bytes,
    texts: printed.texts,
    constants: constants.text(),
    programs,
  };
  const reference: ReferenceModel = {
    entries: [...model.entries.map(({ name, graph }) => ({ name, graph })), ...others],
    steps,
    flats: [
      ...[...params.flats.values()].flat().map(({ path, dtype, total, offsets }) => {
        return { path, dtype, total, members: placedIn(model.params, (of) => offsets.get(of)) };
      }),
      ...runs.map(({ path, total, members }) => {
        const places = new Map(members.map((m) => [m.path, m.at]));
        return {
          path,
          dtype: "f32" as const,
          total,
          members: placedIn(model.buffers, (of) => places.get(of)),
        };
      }),
    ],
  };
  return { artefact, reference, stages, kernels: tables };
}

/** What the entries of one program share on their way. */
interface Line {
  readonly target: Target;
  readonly options: PipelineOptions;
  readonly claims: (node: Node) => boolean;
  readonly shared: SharedLayouts;
  readonly nodes: { left: number };
  readonly scheduling: Scheduling;
  readonly planning: ProgramContext;
}

/** An entry up to its kernels. */
interface Scheduled {
  readonly checked: Graph;
  readonly graph: Graph;
  readonly laid: Block<Laid>;
  readonly routine: Block<Routine>;
}

/** The line: a graph, step by step, to what runs. After simplification each step does the same with the bodies of loops. */
function scheduleEntry(src: Source, line: Line): Scheduled {
  const { target, options, claims } = line;
  const maxBindings = limitOf(target, "maxStorageBuffersPerShaderStage");

  const checked = options.bind ? bindSymbols(src.graph, (name) => options.bind?.[name]) : src.graph;
  if (options.verify) verify(checked, "check");

  const simplified = simplify(
    checked,
    // One buffer is what the node stores.
    {
      inference: src.inference,
      claims,
      operands: maxBindings - 1,
      bytes: limitOf(target, "maxStorageBufferBindingSize"),
    },
    (pass, g) => {
      if (options.verify) verify(g, pass);
    },
    src.simplified,
  );
  if (options.verify) verifyLoops(simplified, "loops");
  line.nodes.left -= simplified.nodes.length;
  if (line.nodes.left < 0) throw new GraphLimit(MAX_PLANNED);

  const { graph, laid } = line.shared.of(src, simplified, line);
  const routine = mapBlocks(laid, (own, loop) => schedule(line.scheduling, own, loop));
  return { checked, graph, laid, routine };
}
/** The end of the line: its kernels are those of the whole program. */
function planned(
  src: Source,
  { checked, graph, laid }: Scheduled,
  routine: Block<Routine>,
  planning: ProgramContext,
): { plan: EntryPlan; report: StageReport } {
  const { plan, report } = planEntry(planning, {
    name: src.name,
    doc: src.doc,
    routine,
    shapeText: Object.fromEntries(src.ports.map((p) => [p.name, p.shapeText])),
    hyper: src.hyper,
    train: src.train,
  });
  return {
    plan,
    report: { ...report, entry: src.name, target: planning.target.name, checked, simplified: graph, laid },
  };
}

/** Regions of a simplified graph and the bodies of its loops, and where and how their values lie. */
function layOut(simplified: Graph, src: Source, { target, options, claims }: Line): Block<Laid> {
  const maxBindings = limitOf(target, "maxStorageBuffersPerShaderStage");
  const room = (n: Node): number => roomFor(n, target);
  return overBlocks(simplified, (graph, loop) => {
    const derive = src.inference && !loop;
    // What gives gradients without an update has no scale for them.
    const precision = derive || (src.train && !loop) ? target.precision : undefined;
    // In training what is next to zero decides which way a gradient goes: sums are in order there.
    // The small form has one way to compute a convolution: software adapters are not what it is for.
    const blocks = derive && precision === undefined && !options.minify && blocksPay(graph, target);
    const filterFor = blocks ? filtersFor(target) : undefined;
    const panelsIn = panelsFor(target);
    const alone = (n: Node): boolean => blocks && wantsBlocks(n, target);
    const notInPlace = new Set<string>();
    for (;;) {
      const often = loop !== undefined;
      const cut = { maxBindings, derive, claims, room, alone, notInPlace, often };
      const fused = fuse(graph, cut, (step, regions) => {
        if (options.verify) verifyRegions(graph, regions(), step);
      });
      if (options.verify) verifyFused(fused, "fuse");
      const made = layout(fused, { derive, maxBindings, precision, filterFor, panelsIn, room: target });
      if (options.verify) verifyLaid(made, "layout");
      // An update in place shares a binding. Where it turns out not to be one, and the kernel counted on it, it is cut anew.
      const open = made.overfull.filter((path) => !notInPlace.has(path));
      if (open.length === 0) return made;
      for (const path of open) notInPlace.add(path);
    }
  });
}

/** What targets have in common: where an entry is the same graph for two of them, its regions and layouts are made once. */
class SharedLayouts {
  private readonly known = new Map<Source, { graph: Graph; asked: string; laid: Block<Laid> }[]>();

  of(src: Source, graph: Graph, line: Line): { graph: Graph; laid: Block<Laid> } {
    const list = this.known.get(src) ?? [];
    this.known.set(src, list);
    const asked = whatIsAsked(graph, line);
    const same = list.find((x) => x.asked === asked && sameGraph(x.graph, graph));
    if (same) return same;
    const made = { graph, asked, laid: layOut(graph, src, line) };
    list.push(made);
    return made;
  }
}
/** What `layOut` asks of the target. */
function whatIsAsked(graph: Graph, { target, claims }: Line): string {
  const answers: unknown[] = [
    limitOf(target, "maxStorageBuffersPerShaderStage"),
    target.precision,
    target.winograd,
    target.apart,
    target.fours,
    panelsFor(target) && target.broad,
  ];
  for (const { own } of eachBlock(overBlocks(graph, (g) => g)))
    for (const n of own.nodes)
      if (n.op.fuses === "composite" || n.op.fuses === "algorithm")
        answers.push([claims(n), roomFor(n, target)]);
  return JSON.stringify(answers);
}

const isWanted = (options: PipelineOptions, name: string): boolean =>
  options.entries === undefined || options.entries.includes(name);

interface Begun {
  readonly train: CheckedTrain;
  readonly name: string;
  readonly gradients: Gradients;
}
/** The training steps to compile, as far as where parameters lie does not matter. */
function beginSteps(model: CheckedModel, options: PipelineOptions): Begun[] {
  return model.trains.flatMap((train) => {
    // `train_step` too where there is one block.
    const name = blockEntry(train);
    if (!isWanted(options, name) && !(model.trains.length === 1 && isWanted(options, "train_step")))
      return [];
    return [{ train, name, gradients: sized(name, train.span, () => gradientsOf(model, train)) }];
  });
}

/** The graphs to compile: entries, and one training step per train block. */
function sourcesOf(
  model: CheckedModel,
  options: PipelineOptions,
  begun: readonly Begun[],
  params: ParamPlaces,
) {
  const sources: Source[] = [];
  const steps: ReferenceStep[] = [];
  /** State that steps keep, and buffers that they write as one. */
  const kept: StepState[] = [];
  const runs: BufferRun[] = [];
  const others: ReferenceModel["entries"][number][] = [];
  const bufferAt = placeBuffers(model.buffers);
  for (const e of model.entries)
    if (isWanted(options, e.name))
      sources.push({
        name: e.name,
        span: e.span,
        doc: e.doc,
        graph: e.graph,
        inference: !e.training,
        ports: [...e.inputs, ...e.outputs],
        simplified: [],
      });
  for (const { train: t, name, gradients } of begun) {
    if (t.rules.length === 0) {
      const graph = gradientsGraph(t, gradients);
      others.push({ name, graph });
      // In train mode: nothing of it is derived from parameters beforehand.
      sources.push({
        name,
        span: t.span,
        doc: t.doc,
        graph,
        inference: false,
        ports: t.inputs,
        simplified: [],
      });
      continue;
    }
    const flats = params.flats.get(t.name) ?? [];
    const step = sized(name, t.span, () => trainStep(t, gradients, flats, bufferAt));
    kept.push(...step.state);
    runs.push(...step.runs);
    steps.push({ block: t.name, graph: step.graph, hyper: step.hyper });
    sources.push({
      name,
      span: t.span,
      doc: t.doc,
      graph: step.graph,
      inference: false,
      ports: t.inputs,
      hyper: step.hyper,
      train: { block: t.name, loss: "loss", reports: t.reports, batch: t.batch, flag: step.flag },
      simplified: [],
    });
    if (step.swap) {
      others.push({ name: step.swap.name, graph: step.swap });
      sources.push({
        name: step.swap.name,
        span: t.span,
        doc: `Exchanges the parameters that ${t.name} trains and their averages (\`ema\`); called again, it changes them back.`,
        graph: step.swap,
        inference: false,
        ports: [],
        simplified: [],
      });
    }
  }
  return { sources, steps, kept, runs, others };
}

/** Runs a part of an entry's way; a graph or size that grows beyond what can be had is the source's fault. */
function sized<T>(name: string, at: Span, body: () => T): T {
  try {
    return body();
  } catch (e) {
    if (e instanceof GraphLimit)
      throw new MdlError([
        diagnostic("E1003", `${name} expands to more than ${e.limit} operations`, at, {
          help: "gradients and composites multiply what the source says",
        }),
      ]);
    if (e instanceof DimError)
      throw new MdlError([
        diagnostic(e.why === "complex" ? "E1010" : "E1006", `${name} has no plan: ${e.message}`, at, {
          notes: [`sizes that nothing binds are taken to be ${NOMINAL}`],
          help: "bind the sizes, or make them smaller",
        }),
      ]);
    throw e;
  }
}

/** Where each parameter lies in a flat tensor that some step trains. */
function flatPlaces({ flats }: ParamPlaces): Scheduling["flat"] {
  const places = new Map<string, { readonly path: string; readonly offset: number }>();
  for (const { path, offsets } of [...flats.values()].flat())
    for (const [of, offset] of offsets) places.set(of, { path, offset });
  return (path) => places.get(path);
}

/** Those of a list that lie in a flat tensor, with their places. */
const placedIn = (
  list: CheckedModel["params"],
  at: (path: string) => number | undefined,
): FlatTensors["members"] =>
  list.flatMap(({ path, shape }) => {
    const place = at(path);
    return place === undefined ? [] : [{ path, shape, at: place }];
  });

/** What uses a kernel: the author's names, shapes and the source line. */
function describeRegion(g: Region, placeOf: (n: Node) => string): About {
  const root = g.roots[g.roots.length - 1];
  const names = [...new Set(g.roots.map((r) => r.node.label).filter(Boolean))].join(", ");
  const at = placeOf(g.anchor);
  const path = g.anchor.origin.path;
  const derived = g.anchor.origin.derived.findLast((d) => !d.startsWith(PART_OF));
  const label = [at, path ? `in ${path}` : "", derived ? `(${derived})` : ""].filter(Boolean).join(" ");
  return { site: `${label}${names ? ` ${names}` : ""}: ${typeOf(root)}`.trim(), label };
}
const typeOf = (v: Value): string =>
  `${v.type.dtype}[${v.type.shape.map((d: Dim) => asConst(d) ?? d.key).join(", ")}]`;
