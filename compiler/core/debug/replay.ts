// Why a call or a step was bad: the first value that is NaN or infinite where what it was made of was not. In: an entry's graph, or
// a training step's. Out: an entry with one more result, which counts NaNs and infinities in every value; and from these
// counts the place. A step is looked through as it trains, the update included: as an entry, whose inputs are what a step has
// beside its batch and the model's tensors (optimiser state, its numbers), and which writes nothing.
import { dim } from "../dims/dim.ts";
import { createBuilder, finishGraph, reachable } from "../ir/build.ts";
import { isData } from "../ir/data.ts";
import { transform } from "../ir/transform.ts";
import type { Builder, Node, TensorType, Value } from "../ir/types.ts";
import type { CheckedEntry, CheckedModel, CheckedTrain } from "../model.ts";
import { cast, reshape, sum } from "../ops/axes.ts";
import { APART, pack } from "../ops/copy.ts";
import { isFloat } from "../ops/define.ts";
import { isFiniteOp, isInfOp, isNanOp } from "../ops/elementwise.ts";
import { concat } from "../ops/joins.ts";
import { full as fullOp, hyper, input, param, state } from "../ops/source.ts";
import type { FlatTensors, ReferenceModel } from "../reference/net.ts";
import { portOf } from "./entry.ts";

/** What the step has beside its batch and the model's tensors: optimiser state by its path, and its numbers. */
export const HYPER = "$hyper";

export interface Replay {
  /** Results: those of the entry or step. */
  readonly plain: CheckedEntry;
  /** The same, and `counts`. */
  readonly entry: CheckedEntry;
  /** Floats in the order of the step, as `counts` has them: two numbers each. */
  readonly looked: readonly Looked[];
  /** What the entry gives and writes, or the step tests before it writes; in its own graph. */
  readonly sinks: readonly Value[];
  /** Where a value of that graph is in the entry's. */
  readonly at: (v: Value) => Value | undefined;
}
export interface StepReplay extends Replay {
  /** Names of the host's numbers, in the order of the input HYPER. */
  readonly hyper: ReferenceModel["steps"][number]["hyper"];
  /** Optimiser state and counters that are inputs. */
  readonly state: readonly { readonly path: string; readonly type: TensorType }[];
}
export interface Looked {
  /** In the graph that is looked through. */
  readonly of: Value;
  /** In the entry's. */
  readonly value: Value;
}

export const COUNTS = "counts";

/** An entry, looked through. */
export function lookThrough(entry: CheckedEntry): Replay {
  const { graph } = entry;
  const sinks = [...graph.results, ...graph.writes].map((r) => r.value);
  return counting(entry, graph.nodes, (v) => v, sinks);
}

/** A training step. `reference`: of a build of the model with this step. */
export function lookThroughStep(
  model: CheckedModel,
  reference: ReferenceModel,
  train: CheckedTrain,
): StepReplay {
  const step = reference.steps.find((s) => s.block === train.name);
  if (!step) throw new Error(`no step ${train.name}`);
  const buffers = new Set(model.buffers.map((s) => s.path));
  const flats = new Map(reference.flats.map((f) => [f.path, f]));
  const extra: Node[] = [];
  const given: { path: string; type: TensorType }[] = [];
  const { graph, map } = transform(step.graph, (b, n) => {
    if (n.op !== param && n.op !== state && n.op !== hyper) return undefined;
    const path = String(n.attrs.path);
    const whole = flats.get(path);
    if (whole && n.op !== hyper) return [flat(b, whole, n)];
    if (n.op === param || buffers.has(path)) return undefined;
    const { type } = n.outs[0];
    const name = n.op === hyper ? HYPER : path;
    const value = b.make(input, [], { name, dtype: type.dtype, shape: [...type.shape] }, name);
    extra.push(value.node);
    if (n.op === state) given.push({ path, type });
    return [value];
  });
  const ports = extra.map((n) => portOf(String(n.attrs.name), n.outs[0], train.span));
  const entry: CheckedEntry = {
    name: `${train.name}_step`,
    graph: { ...graph, inputs: [...graph.inputs, ...extra], writes: [] },
    inputs: [...train.inputs, ...ports],
    outputs: graph.results.map((r) => portOf(r.name, r.value, train.span)),
    training: true,
    span: train.span,
  };
  // What the step tests: what it writes is gated by that, and good.
  const sinks = step.graph.nodes.flatMap((n) => (n.op === isFiniteOp ? n.inputs : []));
  const looked = counting(entry, step.graph.nodes, (v) => map.get(v) as Value, sinks);
  return { ...looked, hyper: step.hyper, state: given };
}

function counting(
  entry: CheckedEntry,
  nodes: readonly Node[],
  at: (v: Value) => Value,
  sinks: readonly Value[],
): Replay {
  const looked = [...nodes]
    .sort((x, y) => x.id - y.id)
    .flatMap((n) => n.outs)
    .filter((v) => isFloat(v.type.dtype) && !isView(v.node) && v.node.op !== fullOp)
    .map((of): Looked => ({ of, value: at(of) }));
  const b = createBuilder(
    1 + Math.max(0, ...entry.graph.nodes.map((n) => n.id), ...looked.map((l) => l.value.node.id)),
  );
  const counted = looked.flatMap(({ value }) =>
    [isNanOp, isInfOp].map((op) => {
      const found = cast(b, b.make(op, [value]), "f32");
      return reshape(b, value.type.shape.length === 0 ? found : sum(b, found), [dim(1)]);
    }),
  );
  const { graph } = entry;
  if (counted.length === 0) return { plain: entry, entry, looked, sinks, at };
  const offsets = counted.map((_, i) => i * APART);
  const counts = b.make(pack, counted, { offsets, total: counted.length * APART }, COUNTS);
  return {
    plain: entry,
    entry: {
      ...entry,
      training: true,
      graph: finishGraph({ ...graph, results: [...graph.results, { name: COUNTS, value: counts }] }),
      outputs: [...entry.outputs, portOf(COUNTS, counts, entry.span)],
    },
    looked,
    sinks,
    at,
  };
}

/** A flat tensor of the parameters or buffers that lie in it, with zeros between. */
function flat(b: Builder, { members, total, dtype }: FlatTensors, n: Node): Value {
  const parts: Value[] = [];
  let end = 0;
  const zeros = (to: number): void => {
    if (to > end) parts.push(b.make(fullOp, [], { value: 0, dtype, shape: [dim(to - end)] }));
  };
  for (const { path, shape, at } of [...members].sort((x, y) => x.at - y.at)) {
    const size = shape.reduce((x, y) => x * y, 1);
    zeros(at);
    const value = b.make(n.op, [], { path, dtype, shape: shape.map((d) => dim(d)) }, path);
    parts.push(reshape(b, value, [dim(size)]));
    end = at + size;
  }
  zeros(total);
  return concat(b, parts, 0);
}

/** Where its elements are those of its operand, it is bad where that is. */
const isView = (n: Node): boolean => n.op.fuses === "view" && n.inputs.length === 1;

interface Bad {
  readonly nan: number;
  readonly inf: number;
}
export interface Origin {
  /** In the step's own graph. */
  readonly value: Value;
  readonly nan: number;
  readonly inf: number;
  /** Itself and its operands, as far as they were looked at. */
  readonly shown: readonly Looked[];
}

/**
 * The first value that is bad, on the way to something the step gives or writes, where no operand is; an infinity that the
 * author wrote (a mask's) is none. Undefined where nothing the step gives is bad.
 */
export function originIn({ looked, sinks, at }: Replay, counts: ArrayLike<number>): Origin | undefined {
  const known = new Map<Value, Bad>(
    looked.map(({ of }, i) => [of, { nan: counts[2 * i * APART], inf: counts[(2 * i + 1) * APART] }]),
  );
  const base = (v: Value): Value => (isView(v.node) ? base(v.node.inputs[0]) : v);
  const bad = (v: Value): Bad | undefined => {
    const own = known.get(base(v)) ?? literalBad(base(v).node);
    return own && (own.nan > 0 || own.inf > 0) ? own : undefined;
  };
  const meant = new Map<Value, boolean>();
  // Iterative by the order of the graph: operands come first.
  const nodes = reachable(sinks);
  for (const n of nodes)
    for (const v of n.outs) {
      const own = bad(v);
      const operands = n.inputs.filter((x) => bad(x));
      const literal = n.inputs.length === 0 && literalBad(n) !== undefined;
      meant.set(
        v,
        own !== undefined &&
          own.nan === 0 &&
          (literal || (operands.length > 0 && operands.every((x) => meant.get(x)))),
      );
    }
  const isBad = (v: Value): boolean => bad(v) !== undefined && !meant.get(v);
  const reached = new Set<Value>();
  const open = sinks.filter(isBad);
  let first: Value | undefined;
  for (let v = open.pop(); v; v = open.pop()) {
    if (reached.has(v)) continue;
    reached.add(v);
    const from = v.node.inputs.filter(isBad);
    open.push(...from);
    if (from.length === 0 && (!first || v.node.id < first.node.id)) first = v;
  }
  if (!first) return undefined;
  const shown = [...new Set([first, ...first.node.inputs])].flatMap((of) => {
    const value = at(of);
    return value ? [{ of, value }] : [];
  });
  const { nan, inf } = bad(first) as Bad;
  return { value: first, nan, inf, shown };
}

function literalBad(n: Node): Bad | undefined {
  const numbers =
    n.op === fullOp ? [Number(n.attrs.value)] : isData(n.attrs.data) ? n.attrs.data.elements : [];
  const nan = Array.from(numbers).filter(Number.isNaN).length;
  const inf = Array.from(numbers).filter((x) => Math.abs(x) === Number.POSITIVE_INFINITY).length;
  return nan || inf ? { nan, inf } : undefined;
}

/** The parameter or buffer whose element of a flat tensor this is. */
export function memberAt(reference: ReferenceModel, total: number, element: number): string | undefined {
  for (const f of reference.flats) {
    if (f.total !== total) continue;
    const found = f.members.find(
      (m) => element >= m.at && element < m.at + m.shape.reduce((x, y) => x * y, 1),
    );
    if (found) return found.path;
  }
  return undefined;
}
