// Weights that are stored in 16, 8 or 4 bits (`--storage`, `mdl quantize`): a checked model becomes one whose large weights are
// parameters of packed words, with scales, that the graphs decode where they read them (ops/stored.ts). Everything behind knows
// graphs and parameters only. In: a checked model and a width. Out: such a model, and where each weight went, which is all that
// quantising needs to know (quantize.ts).
import { asConst, dim } from "./dims/dim.ts";
import { attrsHaveSymbols, createBuilder, usersOf } from "./ir/build.ts";
import { transform } from "./ir/transform.ts";
import type { Builder, Graph, Node, Value } from "./ir/types.ts";
import { applySplits, contractionOf, splitsOf } from "./kernel/contraction.ts";
import { foldOf, indexForm } from "./kernel/lowering.ts";
import { type Axis, loadsOf, type Scalar } from "./kernel/scalar.ts";
import { loweringFor, lowerValue } from "./kernel/values.ts";
import { blockEntry, type CheckedModel, type ParamInfo } from "./model.ts";
import { transpose } from "./ops/movement.ts";
import { scan, scanAttrs } from "./ops/scan.ts";
import { input, param } from "./ops/source.ts";
import { dequantizeOp } from "./ops/stored.ts";
import { expandingBuilder } from "./reference/expand.ts";

/** How large weights are stored: as halves, as bytes with a scale for each channel, as 4 bits with one for each group. */
export interface Storage {
  readonly bits: 16 | 8 | 4;
  /** Of 4 bits: how many numbers side by side share a scale. */
  readonly group?: number;
}
export const STORAGES = ["f16", "int8", "int4"] as const;
export type StorageName = (typeof STORAGES)[number];
export const storageNamed = (name: StorageName): Storage => ({
  bits: name === "f16" ? 16 : name === "int8" ? 8 : 4,
});
export const storageName = ({ bits }: Storage): StorageName => (bits === 16 ? "f16" : `int${bits}`);
/** Numbers of 4 bits that share a scale where nobody says. */
export const GROUP = 32;

/** With the group that it comes to. */
export const storageOf = ({ bits, group = GROUP }: Storage): Storage =>
  bits === 4 ? { bits, group } : { bits };
/** `int4 in groups of 32`. */
export function storageText(storage: Storage): string {
  const { group } = storageOf(storage);
  return `${storageName(storage)}${group === undefined ? "" : ` in groups of ${group}`}`;
}
/** What writes the weights that a model with this storage reads. */
export const quantizeCommand = (storage: Storage, weights: string): string => {
  const { bits, group } = storageOf(storage);
  return `mdl quantize MODEL.mdl --weights ${weights} --bits ${bits}${group === undefined || group === GROUP ? "" : ` --group ${group}`}`;
};

/** A weight that is stored in fewer bits, and how. */
export interface StoredWeight {
  readonly path: string;
  readonly shape: readonly number[];
  readonly bits: 16 | 8 | 4;
  /** The axis along which numbers lie in words: one that products sum over. */
  readonly axis: number;
  /** Numbers along it that share a scale. */
  readonly group: number;
  /** Axes of the weight in the order in which words and scales lie. */
  readonly order: readonly number[];
  /** Paths and shapes (axes in that order) of the tensors that hold it. */
  readonly words: { readonly path: string; readonly shape: readonly number[] };
  readonly scale?: { readonly path: string; readonly shape: readonly number[] };
}

export interface StoredModel {
  readonly model: CheckedModel;
  readonly weights: readonly StoredWeight[];
  /** Training steps that are not there: they update weights as they are declared. */
  readonly leftOut: readonly string[];
}

/** Which weights are worth it. */
export interface Worth {
  /** Those of fewer elements stay as they are: biases, norms, and what would save nothing. */
  readonly elements: number;
  /** What is stored has to be smaller than this part of what it was. */
  readonly part: number;
}
const WORTH: Worth = { elements: 1024, part: 0.6 };

export function storedModel(model: CheckedModel, storage: Storage, worth = WORTH): StoredModel {
  const uses = usesOf(model);
  const taken = new Set([...model.params, ...model.buffers].flatMap((p) => [p.path, ...p.aliases]));
  const weights = model.params.flatMap((p) => {
    const use = uses.get(p.path);
    const weight = use && storedAs(p, use, storage, worth);
    return weight && !taken.has(weight.words.path) && !taken.has(weight.scale?.path ?? "") ? [weight] : [];
  });
  const byPath = new Map(weights.map((w) => [w.path, w]));
  return {
    weights,
    leftOut: model.trains.map(blockEntry),
    model: {
      ...model,
      params: model.params.flatMap((p) => paramsOf(p, byPath.get(p.path))),
      entries: model.entries.map((e) => ({ ...e, graph: decoded(e.graph, byPath) })),
      trains: [],
    },
  };
}

// ---------------------------------------------------------------------------------------------------- which, and how

/** How products and look-ups read a weight: by axes of it. */
interface Use {
  /** Those that a product sums over. */
  readonly summed: readonly number[];
  /** The one that words are to lie along, and the one that is to lie side by side. */
  readonly along: number;
  readonly column?: number;
  readonly product: boolean;
}

/** Weights that nothing but products and look-ups read, in any entry, in loops as well. */
function usesOf(model: CheckedModel): Map<string, Use> {
  const uses = new Map<string, Use>();
  const refused = new Set<string>();
  for (const { graph: whole } of model.entries) {
    const graph = inPrimitives(whole);
    for (const { path } of graph.writes) refused.add(path);
    const read = usesIn(graph);
    for (const n of graph.nodes) {
      const path = String(n.attrs.path);
      if (n.op !== param || refused.has(path)) continue;
      const found = read(n.outs[0]);
      if (!found) refused.add(path);
      // A product is what takes the time.
      const all = [uses.get(path), ...(found ?? [])].filter((u) => u !== undefined);
      const use = all.find((u) => u.product) ?? all[0];
      if (use) uses.set(path, use);
    }
  }
  for (const path of refused) uses.delete(path);
  return uses;
}
const inPrimitives = (graph: Graph): Graph =>
  transform(graph, () => undefined, expandingBuilder(createBuilder())).graph;

/** How a graph's weights are read; undefined where one is read by something else. */
function usesIn(graph: Graph): (weight: Value) => readonly Use[] | undefined {
  const users = usersOf(graph.nodes);
  const sinks = new Set([...graph.results, ...graph.writes].map((s) => s.value));
  return (weight) => {
    const out: Use[] = [];
    for (const reader of readersOf(weight, users, sinks) ?? [undefined]) {
      const uses = reader?.op === scan ? usesInLoop(reader, weight) : reader && [useBy(reader, weight)];
      for (const use of uses ?? [undefined]) {
        if (!use) return undefined;
        out.push(use);
      }
    }
    return out;
  };
}
/** The same of a loop that has a weight whole each time; undefined where it goes through slices of it. */
function usesInLoop(loop: Node, weight: Value): readonly Use[] | undefined {
  const { xs, carries, body } = scanAttrs(loop.attrs);
  const at = loop.inputs.flatMap((v, i) => (shownBy(v).base === weight ? [i] : []));
  if (at.some((i) => i < xs + carries)) return undefined;
  const { dtype, shape } = weight.type;
  const over = bodyOver(body, (b, n, i) => {
    if (!at.includes(i)) return undefined;
    const whole = b.make(input, [], { name: String(n.attrs.name), dtype, shape });
    return { inputs: [whole], value: shown(b, whole, shownBy(loop.inputs[i]).views) };
  });
  const whole = inPrimitives(over);
  const read = usesIn(whole);
  const uses = at.map((i) => read(whole.inputs[i].outs[0]));
  return uses.includes(undefined) ? undefined : uses.flatMap((u) => u ?? []);
}

/** What a value shows, through views of one operand whose sizes are known, and these, the innermost first. */
function shownBy(v: Value): { readonly base: Value; readonly views: readonly Node[] } {
  const views: Node[] = [];
  let base = v;
  while (
    base.node.op.fuses === "view" &&
    base.node.inputs.length === 1 &&
    !attrsHaveSymbols(base.node.attrs)
  ) {
    views.unshift(base.node);
    base = base.node.inputs[0];
  }
  return { base, views };
}
const shown = (b: Builder, base: Value, views: readonly Node[]): Value =>
  views.reduce((x, { op, attrs, label }) => b.make(op, [x], attrs, label), base);

/** A loop's body with other inputs, one or more, in the place of some. */
function bodyOver(
  body: Graph,
  instead: (
    b: Builder,
    n: Node,
    i: number,
  ) => { readonly inputs: readonly Value[]; readonly value: Value } | undefined,
): Graph {
  const made = new Map<Node, readonly Value[]>();
  const { graph, map } = transform(body, (b, n) => {
    const i = body.inputs.indexOf(n);
    const other = i < 0 ? undefined : instead(b, n, i);
    if (!other) return undefined;
    made.set(n, other.inputs);
    return [other.value];
  });
  const inputs = body.inputs.flatMap((n) => made.get(n) ?? [map.get(n.outs[0]) as Value]);
  return { ...graph, inputs: inputs.map((v) => v.node) };
}

/** Who reads a value, views looked through; undefined where it is a result, or what no kernel reads. */
function readersOf(
  v: Value,
  users: ReadonlyMap<Value, readonly Node[]>,
  sinks: ReadonlySet<Value>,
): Node[] | undefined {
  const out = new Set<Node>();
  const seen = new Set<Value>([v]);
  for (const x of seen) {
    if (sinks.has(x)) return undefined;
    for (const u of users.get(x) ?? []) {
      if (u.op.fuses === "view" && !u.op.indexes) for (const o of u.outs) seen.add(o);
      else if (u.op.lower || (u.op === scan && shownBy(x).base === v)) out.add(u);
      else return undefined;
    }
  }
  return [...out];
}

function useBy(reader: Node, weight: Value): Use | undefined {
  const s = loweringFor((v) => v.node.op.fuses !== "view" || v.node.op.indexes !== undefined);
  const { x } = lowerValue(s, reader.outs[0]);
  const loads = (of: Scalar) => loadsOf(of).filter((l) => l.value === weight);
  const axesOf = (of: Scalar, wanted: readonly Axis[]): number[] => [
    ...new Set(loads(of).flatMap((l) => l.at.flatMap((at, i) => (isAlong(at, wanted) ? [i] : [])))),
  ];
  if (reader.op.indexes) {
    // Looked up: what is not looked up lies side by side.
    const rank = weight.type.shape.length;
    const last = loads(x).every((l) => l.at[rank - 1]?.kind === "axis") && loads(x).length > 0;
    return last ? { summed: [rank - 1], along: rank - 1, product: false } : undefined;
  }
  const fold = foldOf(x);
  if (!fold) return undefined;
  const { x: product } = applySplits(s, fold, contractionOf(fold) ? [] : splitsOf(fold));
  if (product.kind !== "fold" || product.combine !== "add") return undefined;
  const { body, axes: k } = product;
  if (body.kind !== "call" || body.fn !== "mul" || body.args[0] === body.args[1]) return undefined;
  const [[mine, other], ...more] = [body.args, [...body.args].reverse()].filter(([y]) => loads(y).length > 0);
  if (!mine || more.length > 0) return undefined;
  // What it has for itself are columns: one that has none is a filter for each channel, which is small.
  const columns = mine.free.filter((a) => !k.includes(a) && !other.free.includes(a));
  if (columns.length === 0) return undefined;
  const summed = [
    ...new Set(
      loads(mine).flatMap((l) =>
        l.at.flatMap((at, i) => (at.free.length > 0 && at.free.every((a) => k.includes(a)) ? [i] : [])),
      ),
    ),
  ];
  const along = longest(axesOf(mine, k), weight);
  if (along === undefined) return undefined;
  return { summed, along, column: longest(axesOf(mine, columns), weight), product: true };
}
/** A coordinate that goes along an axis, one by one. */
const isAlong = (at: Scalar, axes: readonly Axis[]): boolean => {
  const { terms } = indexForm(at);
  return (
    terms.length === 1 &&
    asConst(terms[0].coef) === 1 &&
    terms[0].atom.kind === "axis" &&
    axes.includes(terms[0].atom.axis)
  );
};
const sizeAt = (v: Value, i: number): number => asConst(v.type.shape[i]) ?? 0;
const longest = (axes: readonly number[], v: Value): number | undefined =>
  [...axes].sort((a, b) => sizeAt(v, b) - sizeAt(v, a))[0];

function storedAs(p: ParamInfo, use: Use, storage: Storage, worth: Worth): StoredWeight | undefined {
  const { path, shape, dtype } = p;
  const elements = shape.reduce((a, b) => a * b, 1);
  if (dtype !== "f32" || shape.length < 2 || elements < worth.elements) return undefined;
  const { bits } = storage;
  const { along, column, summed } = use;
  const name = storageName(storage);
  const size = shape[along];
  const most = bits === 4 ? (storage.group ?? GROUP) : size;
  const grouped = most < size;
  const group = Math.min(most, size);
  const others = shape.map((_, i) => i).filter((i) => i !== column);
  // What is summed innermost is the words' axis; a window's places are outside.
  if (column !== undefined) others.sort((a, b) => Number(a === along) - Number(b === along) || a - b);
  const order = column === undefined ? others : [...others, column];
  const words = shape.map((d, i) => (i === along ? Math.ceil((d * bits) / 32) : d));
  // One for each channel; of groups, one for each place that is summed over, too.
  const scales = shape.map((d, i) => {
    if (i === along) return grouped ? Math.ceil(d / group) : 1;
    return grouped || !summed.includes(i) ? d : 1;
  });
  const lying = (list: readonly number[]): number[] => order.map((i) => list[i]);
  const count = (list: readonly number[]): number => list.reduce((a, b) => a * b, 1);
  if (count(words) + (bits === 16 ? 0 : count(scales)) > worth.part * elements) return undefined;
  return {
    path,
    shape,
    bits,
    axis: along,
    group,
    order,
    words: { path: `${path}.${name}`, shape: lying(words) },
    ...(bits === 16 ? {} : { scale: { path: `${path}.${name}_scale`, shape: lying(scales) } }),
  };
}

// -------------------------------------------------------------------------------------------------------- the model

/** The parameters that stand for one. */
function paramsOf(p: ParamInfo, weight: StoredWeight | undefined): ParamInfo[] {
  if (!weight) return [p];
  const end = (path: string): string => path.slice(p.path.length);
  const as = (dtype: "u32" | "f32", { path, shape }: StoredWeight["words"]): ParamInfo => ({
    ...p,
    path,
    aliases: p.aliases.map((a) => a + end(path)),
    dtype,
    shape,
    init: { kind: "constant", value: 0 },
  });
  return [as("u32", weight.words), ...(weight.scale ? [as("f32", weight.scale)] : [])];
}

/** The graph with what it reads of the weights decoded; where a loop reads one, in its body. */
function decoded(graph: Graph, weights: ReadonlyMap<string, StoredWeight>): Graph {
  const weightOf = (v: Value): StoredWeight | undefined =>
    v.node.op === param ? weights.get(String(v.node.attrs.path)) : undefined;
  return transform(graph, (b, n, inputs) => {
    if (n.op === scan) {
      const taken = n.inputs.map((v) => weightOf(shownBy(v).base));
      if (taken.every((w) => w === undefined)) return undefined;
      const body = bodyOver(scanAttrs(n.attrs).body, (to, own, i) => {
        const weight = taken[i];
        if (!weight) return undefined;
        const parts = partsOf(weight, ({ name, dtype, shape }) =>
          to.make(input, [], {
            name: `${String(own.attrs.name)}.${name}`,
            dtype,
            shape: shape.map((d) => dim(d)),
          }),
        );
        const whole = decode(to, weight, parts, own.label);
        return { inputs: parts, value: shown(to, whole, shownBy(n.inputs[i]).views) };
      });
      const operands = inputs.flatMap((v, i) => {
        const weight = taken[i];
        const label = shownBy(n.inputs[i]).base.node.label;
        return weight ? partsOf(weight, (part) => paramOf(b, part, label)) : [v];
      });
      return b.node(scan, operands, { ...n.attrs, body }, n.label);
    }
    const weight = n.op === param ? weightOf(n.outs[0]) : undefined;
    return (
      weight && [
        decode(
          b,
          weight,
          partsOf(weight, (part) => paramOf(b, part, n.label)),
          n.label,
        ),
      ]
    );
  }).graph;
}

interface Part {
  readonly name: "words" | "scale";
  readonly dtype: "u32" | "f32";
  readonly path: string;
  readonly shape: readonly number[];
}
const partsOf = ({ words, scale }: StoredWeight, make: (part: Part) => Value): Value[] => [
  make({ name: "words", dtype: "u32", ...words }),
  ...(scale ? [make({ name: "scale", dtype: "f32", ...scale })] : []),
];
const paramOf = (b: Builder, { name, dtype, path, shape }: Part, label = "weight"): Value =>
  b.make(
    param,
    [],
    { path, dtype, shape: shape.map((d) => dim(d)) },
    name === "words" ? label : `${label}_scale`,
  );
/** The weight that words and scales, lying in its order, stand for. */
function decode(
  b: Builder,
  { order, axis, bits, group, shape }: StoredWeight,
  parts: readonly Value[],
  label: string | undefined,
): Value {
  const back = order.map((_, i) => order.indexOf(i));
  const lying = parts.map((v) => transpose(b, v, back));
  return b.make(dequantizeOp, lying, { bits, axis, size: dim(shape[axis]), group }, label);
}
