// The reference evaluator: what a graph means, in double precision (integers exact in 32 bits), operator by operator.
// In: a graph and the data its sources name. Out: results and writes. It shares nothing with lowering, fusion or kernels,
// and judges them; `mdl run --device cpu` runs on it.
import { asConst, type Dim, DimError, evaluate as evaluateDim, print, symbols } from "../dims/dim.ts";
import { isDim, isGraph, typeText } from "../ir/build.ts";
import { type Data, isData } from "../ir/data.ts";
import type {
  Attr,
  Attrs,
  ConcreteAttr,
  ConcreteAttrs,
  Dense,
  DType,
  Graph,
  Node,
  TensorType,
  Value,
} from "../ir/types.ts";
import { emptyDense, sizeOf, wrap } from "../ops/dense.ts";
import { loop, loopAttrs, scanAttrs } from "../ops/scan.ts";
import { inPrimitives } from "./expand.ts";
import { evaluateLoop, evaluateScan, pickSlice } from "./scan.ts";

/** Something the data given does not allow: the caller's fault, not ours. */
export class EvaluateError extends Error {
  override name = "EvaluateError";
}

export interface EvaluateOptions {
  readonly params?: Readonly<Record<string, Dense>>;
  readonly state?: Readonly<Record<string, Dense>>;
  readonly seed?: readonly [number, number];
  /** Host-side scalars of a training step. */
  readonly hyper?: Readonly<Record<string, number>>;
  /** Sizes of symbols that the inputs' shapes do not tell. */
  readonly sizes?: Readonly<Record<string, number>>;
  /** Rounds every float to its own precision after each operator. */
  readonly roundFloats?: boolean;
}
export interface Evaluated {
  readonly results: Readonly<Record<string, Dense>>;
  readonly writes: Readonly<Record<string, Dense>>;
  readonly sizes: Readonly<Record<string, number>>;
}

/** A tensor from any list of numbers. */
export function dense(dtype: DType, shape: readonly number[], data: ArrayLike<number>): Dense {
  if (data.length !== sizeOf(shape))
    throw new EvaluateError(`[${shape.join(", ")}] has ${sizeOf(shape)} elements, given ${data.length}`);
  const out = Float64Array.from(data);
  if (dtype !== "f32" && dtype !== "f16") for (let i = 0; i < out.length; i++) out[i] = wrap(dtype, out[i]);
  return { dtype, shape, data: out };
}

export function evaluate(
  graph: Graph,
  inputs: Readonly<Record<string, Dense>>,
  options: EvaluateOptions = {},
): Evaluated {
  const sizes = bindSizes(graph, inputs, options.sizes);
  const run = evaluateGraph(
    inPrimitives(graph),
    { ...options, sizes },
    (node) => inputs[String(node.attrs.name)],
  );
  return {
    results: Object.fromEntries(graph.results.map((r, i) => [r.name, run.results[i]])),
    writes: Object.fromEntries(graph.writes.map((w, i) => [w.path, run.writes[i]])),
    sizes,
  };
}

// ------------------------------------------------------------------------------------------------- sizes

/** The symbols' values, solved from the inputs' shapes; the graph's constraints hold. */
export function bindSizes(
  graph: Graph,
  inputs: Readonly<Record<string, Dense>>,
  given: Readonly<Record<string, number>> = {},
): Readonly<Record<string, number>> {
  const sizes: Record<string, number> = { ...given };
  const open: { dim: Dim; value: number; what: string }[] = [];
  for (const node of graph.inputs) {
    const name = String(node.attrs.name);
    const data = inputs[name];
    const { type } = node.outs[0];
    if (!data) throw new EvaluateError(`input ${name} is not given`);
    if (data.dtype !== type.dtype || data.shape.length !== type.shape.length)
      throw new EvaluateError(
        `input ${name} is ${typeText(type)}, given ${data.dtype}[${data.shape.join(", ")}]`,
      );
    if (node.attrs.counts) sizes[name] = Number(data.data[0]);
    type.shape.forEach(
      (d, i) => void open.push({ dim: d, value: data.shape[i], what: `axis ${i} of ${name}` }),
    );
  }
  // A size with one unknown symbol, once and linearly, tells it; as long as one does.
  for (let progress = true; progress; ) {
    progress = false;
    for (const { dim, value } of open) {
      const unknown = [...symbols(dim)].filter((s) => sizes[s] === undefined);
      if (unknown.length !== 1) continue;
      const solved = solve(dim, unknown[0], value, sizes);
      if (solved === undefined) continue;
      sizes[unknown[0]] = solved;
      progress = true;
    }
  }
  for (const { dim, value, what } of open)
    if (number(dim, sizes) !== value) throw new EvaluateError(`${what} is ${value}, expected ${print(dim)}`);
  for (const c of graph.constraints) {
    const [left, right] = [number(c.left, sizes), number(c.right, sizes)];
    const holds =
      c.relation === "=="
        ? left === right
        : c.relation === ">="
          ? left >= right
          : right !== 0 && left % right === 0;
    if (!holds)
      throw new EvaluateError(
        `${c.message}: ${print(c.left)} = ${left} and ${print(c.right)} = ${right} do not fit`,
      );
  }
  return sizes;
}
/** The value of a symbol that a size is linear in, from the size's value. */
function solve(
  d: Dim,
  symbol: string,
  value: number,
  sizes: Readonly<Record<string, number>>,
): number | undefined {
  const at = (x: number): number => evaluateDim(d, { ...sizes, [symbol]: x });
  const linear = d.terms.every((t) => t.atoms.every((a) => a.kind === "symbol"));
  const slope = linear ? at(1) - at(0) : 0;
  if (slope === 0 || at(2) - at(1) !== slope) return undefined;
  const x = (value - at(0)) / slope;
  return Number.isInteger(x) && x >= 0 ? x : undefined;
}
function number(d: Dim, sizes: Readonly<Record<string, number>>): number {
  try {
    return evaluateDim(d, sizes);
  } catch (e) {
    if (e instanceof DimError) throw new EvaluateError(e.message);
    throw e;
  }
}

// ------------------------------------------------------------------------------------------------ graphs

export interface Context extends EvaluateOptions {
  readonly sizes: Readonly<Record<string, number>>;
}

/** Runs a graph in primitives; `bind` gives its inputs' data. */
export function evaluateGraph(
  graph: Graph,
  context: Context,
  bind: (input: Node) => Dense | undefined,
): { results: readonly Dense[]; writes: readonly Dense[] } {
  const values = new Map<Value, Dense>();
  const left = usesOf(graph);
  const get = (v: Value): Dense => {
    const found = values.get(v);
    if (!found) throw new EvaluateError(`${v.node.op.name} has no value`);
    return found;
  };
  for (const node of graph.nodes) {
    const ins = node.inputs.map(get);
    const outs = evaluateNode(node, ins, context, bind);
    node.outs.forEach((v, i) => void values.set(v, outs[i]));
    // What nothing reads any more is let go.
    for (const v of node.inputs) {
      const n = (left.get(v) as number) - 1;
      left.set(v, n);
      if (n === 0) values.delete(v);
    }
  }
  return { results: graph.results.map((r) => get(r.value)), writes: graph.writes.map((w) => get(w.value)) };
}
function usesOf(graph: Graph): Map<Value, number> {
  const uses = new Map<Value, number>();
  const use = (v: Value): void => void uses.set(v, (uses.get(v) ?? 0) + 1);
  for (const n of graph.nodes) n.inputs.forEach(use);
  for (const r of graph.results) use(r.value);
  for (const w of graph.writes) use(w.value);
  return uses;
}

const shapeOf = (t: TensorType, context: Context): readonly number[] =>
  t.shape.map((d) => number(d, context.sizes));

export function evaluateNode(
  node: Node,
  inputs: readonly Dense[],
  context: Context,
  bind: (input: Node) => Dense | undefined,
): readonly Dense[] {
  const { op, attrs } = node;
  if (op === loop)
    return evaluateLoop(loopAttrs(attrs), inputs, context, (body, leaf, sizes) => {
      const prepared = inPrimitives(body);
      return evaluateGraph(prepared, { ...context, sizes }, (n) => leaf(Number(n.attrs.index))).results;
    });
  if (op.fuses === "control")
    return evaluateScan(scanAttrs(attrs), inputs, context, (body, data) => {
      const prepared = inPrimitives(body);
      const given = new Map(prepared.inputs.map((n, i) => [n, data[i]]));
      return evaluateGraph(prepared, context, (n) => given.get(n)).results;
    });
  if (op.fuses === "source") return [source(node, context, bind)];
  const outs = node.outs.map((v) => emptyDense(v.type.dtype, shapeOf(v.type, context)));
  if (op.name === "pick")
    return [pickSlice(inputs[0], Number(attrs.axis), number(attrs.index as Dim, context.sizes))];
  if (!op.reference) throw new EvaluateError(`${op.name} has no reference`);
  op.reference(inputs, concrete(attrs, context.sizes), outs);
  if (context.roundFloats) outs.forEach(roundAll);
  return outs;
}
function roundAll({ dtype, data }: Dense): void {
  if (dtype !== "f32" && dtype !== "f16") return;
  const round = dtype === "f32" ? Math.fround : roundToF16;
  for (let i = 0; i < data.length; i++) data[i] = round(data[i]);
}
/** To half precision, ties to even. */
export function roundToF16(x: number): number {
  if (x === 0 || !Number.isFinite(x)) return x;
  const unit = 2 ** (Math.max(-14, Math.floor(Math.log2(Math.abs(x)))) - 10);
  const low = Math.floor(x / unit);
  const rest = x / unit - low;
  const rounded = (rest > 0.5 || (rest === 0.5 && low % 2 !== 0) ? low + 1 : low) * unit;
  return Math.abs(rounded) > 65504 ? Math.sign(x) * Number.POSITIVE_INFINITY : rounded;
}

/** The data of a leaf. */
function rowsOf({ dtype, data, shape: [, ...row] }: Dense, from: number, shape: readonly number[]): Dense {
  const size = row.reduce((a, b) => a * b, 1);
  return dense(dtype, shape, data.slice(from * size, (from + shape[0]) * size));
}

function source(node: Node, context: Context, bind: (input: Node) => Dense | undefined): Dense {
  const { op, attrs } = node;
  const { type } = node.outs[0];
  const need = (found: Dense | undefined, what: string): Dense => {
    if (!found) throw new EvaluateError(`${what} is not given`);
    const shape = shapeOf(type, context);
    if (
      found.dtype !== type.dtype ||
      found.shape.length !== shape.length ||
      found.shape.some((d, i) => d !== shape[i])
    )
      throw new EvaluateError(
        `${what} is ${type.dtype}[${shape.join(", ")}], given ${found.dtype}[${found.shape.join(", ")}]`,
      );
    return found;
  };
  switch (op.name) {
    case "param": {
      const found = context.params?.[String(attrs.path)];
      return need(
        found && attrs.from !== undefined ? rowsOf(found, Number(attrs.from), shapeOf(type, context)) : found,
        `parameter ${String(attrs.path)}`,
      );
    }
    case "state":
      return need(context.state?.[String(attrs.path)], `state ${String(attrs.path)}`);
    case "seed":
      return dense("u32", [2], context.seed ?? [0, 0]);
    case "hyper": {
      const names = attrs.names as readonly string[];
      return need(
        dense(
          "f32",
          [names.length],
          names.map((n) => {
            const v = context.hyper?.[n];
            if (v === undefined) throw new EvaluateError(`${n} is not given`);
            return v;
          }),
        ),
        "hyper",
      );
    }
    case "constant":
      return dense(type.dtype, shapeOf(type, context), (attrs.data as Data).elements);
    default:
      return need(bind(node), `input ${String(attrs.name)}`);
  }
}

/** Attributes with every size a number. */
export function concrete(attrs: Attrs, sizes: Readonly<Record<string, number>>): ConcreteAttrs {
  const one = (a: Attr): ConcreteAttr => {
    if (a === undefined || typeof a !== "object") return a;
    if (isDim(a)) return asConst(a) ?? number(a, sizes);
    if (isGraph(a) || isData(a)) return a;
    return (a as readonly Attr[]).map(one);
  };
  return Object.fromEntries(Object.entries(attrs).map(([k, v]) => [k, one(v)]));
}
