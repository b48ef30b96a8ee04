// A debug build is another graph of the same entry: the values that somebody asked for are results of it, too. So what is shown
// was computed by the same compiler, and everything around it is fused as ever. In: a model that was checked for debugging
// (`watch`) and an entry of it, or a train block. Out: its values by name, forward and gradients, and an entry that gives those
// which were asked for. Nothing behind this knows of debugging: it is an entry as any other.
import { backward } from "../autodiff/backward.ts";
import type { Span } from "../diagnostics/span.ts";
import { print } from "../dims/dim.ts";
import { createBuilder, finishGraph } from "../ir/build.ts";
import type { Graph, Node, Value } from "../ir/types.ts";
import {
  blockEntry,
  type CheckedEntry,
  type CheckedModel,
  type CheckedTrain,
  type PortInfo,
  type Sight,
} from "../model.ts";
import { full, isFloat } from "../ops/define.ts";
import { input, param, state } from "../ops/source.ts";

/** A value that can be asked for. */
export interface Watched {
  /** Where several values have one name, each has its number: `h[0]`, `h[1]`. */
  readonly name: string;
  readonly kind: "input" | "parameter" | "buffer" | "value" | "gradient";
  readonly value: Value;
  /** Axes before its own: one for each scan that it is inside of. */
  readonly passes: number;
  /** Zeros that are added to it, where it is inside of a scan: what its gradient is taken by. */
  readonly push?: Value;
  readonly span: Span | undefined;
  /** The instance it is in. */
  readonly path: string;
}
export interface DebugEntry {
  /** Of a train block: the loss, the reports and the gradients, in train mode; nothing is written. */
  readonly entry: CheckedEntry;
  /** What is computed first stands first, and gradients behind all that they are of. */
  readonly values: readonly Watched[];
  /** Names inside scans that were not asked for when the model was checked. */
  readonly others: readonly string[];
  readonly prints: readonly Sight[];
  readonly asserts: readonly Sight[];
  /** Both, in the order of the program. */
  readonly sights: readonly Sight[];
}

/** An entry, or a train block by its own: `NAME_step`, or `NAME_gradients`. */
export function debugEntry(model: CheckedModel, name: string): DebugEntry {
  const entry = model.entries.find((e) => e.name === name);
  if (entry) return made(entry, entry.seen ?? [], valuesOf(model, entry.graph, entry.seen ?? []), []);
  const train = model.trains.find((t) => blockEntry(t) === name);
  if (!train) throw new Error(`${model.name} has no entry ${name}`);
  return trainEntry(model, train);
}

function trainEntry(model: CheckedModel, train: CheckedTrain): DebugEntry {
  const { lossGraph } = train;
  const seen = train.seen ?? [];
  const loss = lossGraph.results[0].value;
  const trained = new Set(train.update);
  const leaves = lossGraph.nodes.filter((n) => n.op === param && trained.has(String(n.attrs.path)));
  // Gradients of what lies between the parameters and the loss.
  const moved = new Set<Node>(leaves);
  for (const n of lossGraph.nodes)
    if (n.inputs.some((v) => moved.has(v.node) && isFloat(v.type.dtype))) moved.add(n);
  const values = valuesOf(model, lossGraph, seen);
  const between = values.filter(
    ({ value, passes, push }) => (passes === 0 || push) && isFloat(value.type.dtype) && moved.has(value.node),
  );
  const nodes = seen.flatMap((s) => (s.value ? [s.value.node] : []));
  const b = createBuilder(1 + Math.max(0, ...[...lossGraph.nodes, ...nodes].map((n) => n.id)));
  const grads = backward(
    b,
    [loss],
    [full(b, 1, loss.type)],
    between.map((w) => w.push ?? w.value),
  );
  const gradients = between
    .flatMap((w, i): Watched[] => {
      const value = grads[i];
      return value ? [{ ...w, kind: "gradient", value }] : [];
    })
    .reverse();
  const entry: CheckedEntry = {
    name: blockEntry(train),
    graph: { ...lossGraph, writes: [] },
    inputs: train.inputs,
    outputs: lossGraph.results.map((r) => portOf(r.name, r.value, train.span)),
    training: true,
    span: train.span,
  };
  return made(entry, seen, values, gradients);
}

const made = (
  entry: CheckedEntry,
  seen: readonly Sight[],
  values: readonly Watched[],
  gradients: readonly Watched[],
): DebugEntry => ({
  entry,
  values: [...values, ...gradients],
  others: [...new Set(seen.flatMap((s) => (s.kind === "value" && !s.value ? [s.name] : [])))],
  prints: seen.filter((s) => s.kind === "print"),
  asserts: seen.filter((s) => s.kind === "assert"),
  sights: seen.filter((s) => s.kind !== "value"),
});

const KINDS = new Map([
  [input, "input"],
  [param, "parameter"],
  [state, "buffer"],
] as const);

function valuesOf(model: CheckedModel, { inputs, nodes }: Graph, seen: readonly Sight[]): Watched[] {
  const spans = new Map([...model.params, ...model.buffers].map((p) => [p.path, p.span]));
  const leaf = (n: Node): Watched => {
    const name = String(n.attrs.name ?? n.attrs.path);
    const span = n.origin.span ?? spans.get(name);
    return { name, kind: KINDS.get(n.op) ?? "value", value: n.outs[0], passes: 0, span, path: "" };
  };
  const leaves = [...inputs, ...nodes.filter((n) => n.op === param || n.op === state)].map(leaf);
  // What is an input of this name is listed as that.
  const own = new Map(leaves.map((w) => [w.name, w.value]));
  return numbered([...leaves, ...named(seen).filter((w) => own.get(w.name) !== w.value)]);
}

const named = (seen: readonly Sight[]): Watched[] =>
  seen.flatMap(({ kind, name, value, passes, push, span, path }) =>
    kind === "value" && value ? [{ name, kind, value, passes, push, span, path }] : [],
  );

/** Several values of one name get their numbers; one value of several names has them all. */
function numbered(list: readonly Watched[]): Watched[] {
  const count = new Map<string, number>();
  for (const { name } of list) count.set(name, (count.get(name) ?? 0) + 1);
  const next = new Map<string, number>();
  return list.map((w) => {
    if (count.get(w.name) === 1) return w;
    const k = next.get(w.name) ?? 0;
    next.set(w.name, k + 1);
    return { ...w, name: `${w.name}[${k}]` };
  });
}

export const portOf = (name: string, { type }: Value, span: Span): PortInfo => ({
  name,
  type,
  shapeText: type.shape.map(print),
  span,
});

/** The entry with further results, and what each is called among them. */
export function keeping(
  entry: CheckedEntry,
  values: Iterable<Value>,
): { readonly entry: CheckedEntry; readonly outputs: ReadonlyMap<Value, string> } {
  const outputs = new Map<Value, string>();
  for (const v of values) if (!outputs.has(v)) outputs.set(v, `kept${outputs.size}`);
  const { graph } = entry;
  const more = [...outputs].map(([value, name]) => ({ name, value }));
  return {
    outputs,
    entry: {
      ...entry,
      graph: finishGraph({ ...graph, results: [...graph.results, ...more] }),
      outputs: [...entry.outputs, ...more.map(({ name, value }) => portOf(name, value, entry.span))],
    },
  };
}

/** A model of this entry alone. */
export const alone = (model: CheckedModel, entry: CheckedEntry): CheckedModel => ({
  ...model,
  entries: [entry],
  trains: [],
});

/**
 * Whether a name is meant: the name itself, with or without its number, what lies in an instance of the name, or a pattern in
 * which `*` stands for any part.
 */
export function matches(pattern: string, name: string): boolean {
  const escaped = pattern.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replaceAll("*", ".*");
  return new RegExp(`^${escaped}(\\[\\d+\\])*$`).test(name);
}
