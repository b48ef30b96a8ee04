// The compiler, top to bottom: read this file first. In: a checked model and options. Out: an artefact with one program per
// target, and what each stage looked like. Each step names what it needs and what it guarantees; every graph is verified
// after every pass when `options.verify` is set (tests).

import {
  type Artefact,
  type EntryPlan,
  PROGRAM_VERSION,
  type Program,
  type TensorSpec,
} from "../../runtime/core/program.ts";
import { diagnostic, InternalError, MdlError, type Span } from "./diagnostics/index.ts";
import { asConst, type Dim, DimError, NOMINAL } from "./dims/dim.ts";
import { PART_OF } from "./ir/build.ts";
import { type Data, dataBytes } from "./ir/data.ts";
import { bindSymbols } from "./ir/transform.ts";
import { type Graph, GraphLimit, type Node, type Value } from "./ir/types.ts";
import { verify } from "./ir/verify.ts";
import type { CheckedModel, HostExpr, PortInfo } from "./model.ts";
import { PARAMS } from "./ops/source.ts";
import { type BufferRun, type FlatParams, GRAIN, type StepState, trainStep } from "./phases/3-grad/step.ts";
import { simplify } from "./phases/4-simplify/simplify.ts";
import type { Group } from "./phases/5-fuse/groups.ts";
import { isClaimed } from "./phases/7-schedule/choose.ts";
import type { Offer } from "./phases/7-schedule/family.ts";
import type { ProgramContext } from "./phases/8-plan/blocks.ts";
import { DerivedTable, planDerived } from "./phases/8-plan/derived.ts";
import { KernelTable } from "./phases/8-plan/kernels.ts";
import { type EntryInput, type EntryReport, planEntry } from "./phases/8-plan/plan.ts";
import type { Place } from "./phases/8-plan/planned.ts";
import type { FlatTensors, ReferenceModel, ReferenceStep } from "./reference/net.ts";
import { limitOf, type Target } from "./targets.ts";

export interface PipelineOptions {
  readonly targets: readonly Target[];
  readonly bind?: Readonly<Record<string, number>>;
  /** Only these entries (training steps by `NAME_step`). */
  readonly entries?: readonly string[];
  readonly verify?: boolean;
  /** Takes another of the ways to compute a group than the first: its number. */
  readonly pick?: (offers: readonly Offer[]) => number;
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

/** Parameters, state and literals lie the same in all programs: what the strictest backend asks for. */
const ALIGN = 256;
const bytesPer = (dtype: string): number => (dtype === "f16" ? 2 : 4);

/** Places named tensors one after the other, each at a multiple of 256 bytes. */
function place<
  T extends { readonly path: string; readonly dtype: string; readonly shape: readonly number[] },
>(list: readonly T[]): { places: Map<string, Place>; total: number } {
  const places = new Map<string, Place>();
  let total = 0;
  for (const t of list) {
    const bytes = t.shape.reduce((a, b) => a * b, 1) * bytesPer(t.dtype);
    places.set(t.path, { offset: total, bytes });
    total += Math.ceil(bytes / ALIGN) * ALIGN;
  }
  return { places, total };
}

/**
 * Parameters by dtype, one after the other: those of one float dtype are a flat tensor of the step's, as long as its
 * reduction in two steps wants.
 */
function placeParams(params: CheckedModel["params"]): {
  places: Map<string, Place>;
  flats: FlatParams[];
  bytes: number;
} {
  const places = new Map<string, Place>();
  const flats: FlatParams[] = [];
  let bytes = 0;
  const section = (list: CheckedModel["params"]): { inside: Map<string, Place>; total: number } => {
    const { places: inside, total } = place(list);
    for (const [path, at] of inside) places.set(path, { offset: bytes + at.offset, bytes: at.bytes });
    return { inside, total };
  };
  for (const dtype of ["f32", "f16"] as const) {
    const list = params.filter((p) => p.dtype === dtype);
    if (list.length === 0) continue;
    const { inside, total } = section(list);
    const size = bytesPer(dtype);
    const grain = GRAIN * ALIGN;
    const whole = { offset: bytes, bytes: Math.ceil(total / grain) * grain };
    const path = dtype === "f32" ? PARAMS : `${PARAMS}.${dtype}`;
    places.set(path, whole);
    flats.push({
      dtype,
      row: ALIGN / size,
      path,
      total: whole.bytes / size,
      offsets: new Map([...inside].map(([k, v]) => [k, v.offset / size])),
    });
    bytes += whole.bytes;
  }
  bytes += section(params.filter((p) => p.dtype !== "f32" && p.dtype !== "f16")).total;
  return { places, flats, bytes: Math.max(ALIGN, bytes) };
}

interface Source {
  readonly name: string;
  readonly span: Span;
  readonly doc?: string;
  readonly graph: Graph;
  readonly inference: boolean;
  readonly ports: readonly PortInfo[];
  readonly hyper?: Readonly<Record<string, HostExpr>>;
  readonly train?: EntryInput["train"];
}

export function build(model: CheckedModel, options: PipelineOptions): Built {
  const { places: paramPlaces, flats, bytes: paramBytes } = placeParams(model.params);

  // Entries, and one training step per train block (`train_step` too where there is one block).
  const wanted = (name: string): boolean => options.entries === undefined || options.entries.includes(name);
  const sources: Source[] = [];
  const internal: StepState[] = [];
  const runs: BufferRun[] = [];
  // The author's buffers come first in the state, so their places are known before the optimisers' are.
  const bufferAt = new Map([...place(model.buffers).places].map(([path, at]) => [path, at.offset]));
  const steps: ReferenceStep[] = [];
  for (const e of model.entries)
    if (wanted(e.name))
      sources.push({
        name: e.name,
        span: e.span,
        doc: e.doc,
        graph: e.graph,
        inference: true,
        ports: [...e.inputs, ...e.outputs],
      });
  for (const t of model.trains) {
    const name = `${t.name}_step`;
    if (!wanted(name) && !(model.trains.length === 1 && wanted("train_step"))) continue;
    const step = sized(name, t.span, () => trainStep(model, t, flats, bufferAt));
    internal.push(...step.state);
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
    });
  }
  const buffers = [
    ...model.buffers.map((b) => ({ ...b, role: b.internal ? ("internal" as const) : ("buffer" as const) })),
    ...internal.map((s) => ({ ...s, aliases: [] as string[], role: "internal" as const, frozen: false })),
  ];
  const state = place(buffers);
  for (const r of runs) state.places.set(r.path, { offset: r.offset, bytes: 4 * r.total });

  // Literal tensors, shared by all programs.
  const constants: { bytes: Uint8Array; offset: number }[] = [];
  const constantAt = new Map<Data, Place>();
  let constantBytes = 0;
  const constant = (n: Node): Place => {
    const data = n.attrs.data as Data;
    let at = constantAt.get(data);
    if (!at) {
      const bytes = dataBytes(data);
      at = { offset: constantBytes, bytes: bytes.byteLength };
      constants.push({ bytes, offset: constantBytes });
      constantBytes += Math.ceil(bytes.byteLength / ALIGN) * ALIGN;
      constantAt.set(data, at);
    }
    return at;
  };

  const by = (name: string): number | undefined => options.bind?.[name];
  const stages: StageReport[] = [];
  const texts: string[] = [];
  const knownTexts = new Map<string, number>();
  const tables = new Map<string, KernelTable>();
  const programs: Program[] = options.targets.map((target) => {
    const kernels = new KernelTable();
    tables.set(target.name, kernels);
    const derived = new DerivedTable(target.backend.rules.alignment);
    const context: ProgramContext = {
      target,
      kernels,
      derived,
      params: paramPlaces,
      state: state.places,
      members: new Map(runs.map((r) => [r.path, r.members.map((m) => m.path)])),
      constant,
      describe: (g) => describeGroup(g, options.place),
      claims: (n) => isClaimed(n, target),
      verify: options.verify,
      pick: options.pick,
    };
    let nodes = 0;
    const entryOf = (src: Source): EntryPlan => {
      const checked = options.bind ? bindSymbols(src.graph, by) : src.graph;
      if (options.verify) verify(checked, "check");
      const simplified = simplify(
        checked,
        {
          inference: src.inference,
          claims: context.claims,
          busyRows: target.busyRows,
          // One buffer is what the node stores.
          operands: limitOf(target, "maxStorageBuffersPerShaderStage") - 1,
        },
        (pass, g) => {
          if (options.verify) verify(g, pass);
        },
      );
      nodes += simplified.nodes.length;
      if (nodes > MAX_PLANNED) throw new GraphLimit(MAX_PLANNED);
      const shapeText = Object.fromEntries(src.ports.map((p) => [p.name, p.shapeText]));
      const { plan, report } = planEntry(context, {
        name: src.name,
        doc: src.doc,
        graph: simplified,
        derive: src.inference,
        shapeText,
        hyper: src.hyper,
        train: src.train,
      });
      stages.push({ ...report, entry: src.name, target: target.name, checked, simplified });
      return plan;
    };
    const entries = sources.map((src) => sized(src.name, src.span, () => entryOf(src)));
    const units = planDerived(derived);
    return {
      target: target.name,
      requires: target.requires,
      kernels: kernels.finish(target.backend, texts, knownTexts, target.requires.features),
      entries,
      derived: units,
      derivedBytes: derived.bytes,
      constantBytes,
    };
  });
  const spec = (
    list: readonly {
      path: string;
      aliases: readonly string[];
      dtype: string;
      shape: readonly number[];
      init: TensorSpec["init"];
      frozen: boolean;
    }[],
    places: ReadonlyMap<string, Place>,
    role: (i: number) => TensorSpec["role"],
  ): TensorSpec[] =>
    list.map((t, i) => {
      const at = places.get(t.path);
      if (!at) throw new InternalError("plan", `${t.path} has no place`);
      return {
        path: t.path,
        aliases: t.aliases,
        dtype: t.dtype as TensorSpec["dtype"],
        shape: t.shape,
        offset: at.offset,
        bytes: at.bytes,
        init: t.init,
        ...(t.frozen ? { frozen: true } : {}),
        role: role(i),
      };
    });
  const artefact: Artefact = {
    version: PROGRAM_VERSION,
    name: model.name,
    doc: model.doc,
    params: spec(model.params, paramPlaces, () => "param"),
    paramBytes,
    state: spec(buffers, state.places, (i) => buffers[i].role),
    stateBytes: state.total,
    texts,
    constants: constantBytes > 0 ? base64(constants, constantBytes) : undefined,
    programs,
  };
  const reference: ReferenceModel = {
    entries: model.entries.map(({ name, graph }) => ({ name, graph })),
    steps,
    flats: [
      ...flats.map(({ path, dtype, total, offsets }) => {
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
function describeGroup(g: Group, placeOf: (n: Node) => string): { site: string; label: string } {
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

function base64(parts: readonly { bytes: Uint8Array; offset: number }[], total: number): string {
  const all = new Uint8Array(total);
  for (const p of parts) all.set(p.bytes, p.offset);
  let text = "";
  for (let i = 0; i < all.length; i += 0x8000) text += String.fromCharCode(...all.subarray(i, i + 0x8000));
  return (globalThis as unknown as { btoa(text: string): string }).btoa(text);
}
