// Holds an operator to itself: its types to what it computes, its lowering to its reference, its gradient to finite
// differences. In: an operator's worked example (or one drawn at random). Out: nothing, or an error that says where.

import { backward } from "../../compiler/core/autodiff/backward.ts";
import { type Dim, dim, evaluate as evaluateDim, sym } from "../../compiler/core/dims/dim.ts";
import { createBuilder, finishGraph, type GraphBuilder, typeText } from "../../compiler/core/ir/build.ts";
import type { Dense, DType, Graph, OpDef, OpExample, Value } from "../../compiler/core/ir/types.ts";
import { interpretNode } from "../../compiler/core/kernel/interpret.ts";
import { sum } from "../../compiler/core/ops/axes.ts";
import { isFloat } from "../../compiler/core/ops/define.ts";
import { add, mul } from "../../compiler/core/ops/elementwise.ts";
import { type Argument, applyOp } from "../../compiler/core/ops/index.ts";
import { full as fullOp, input as inputOp } from "../../compiler/core/ops/source.ts";
import { bindSizes, dense, evaluate, evaluateNode } from "../../compiler/core/reference/evaluate.ts";
import { inPrimitives } from "../../compiler/core/reference/expand.ts";
import { allclose } from "./allclose.ts";

/** Float functions of one operand that give nothing far larger than they take: for values that are to stay small. */
export const TAME = [
  "relu",
  "tanh",
  "sigmoid",
  "neg",
  "abs",
  "sin",
  "cos",
  "gelu",
  "silu",
  "softplus",
  "leaky_relu",
  "erf",
  "atan",
] as const;

/** Numbers in [0, 1) from a seed. */
export function randomFrom(seed: number): () => number {
  let state = (seed ^ 0x9e3779b9) >>> 0;
  return () => {
    // mulberry32
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export function drawDense(
  dtype: DType,
  shape: readonly number[],
  random: () => number,
  range?: readonly [number, number],
): Dense {
  const n = shape.reduce((a, b) => a * b, 1);
  const draw = (): number => {
    if (dtype === "bool") return random() < 0.5 ? 0 : 1;
    if (isFloat(dtype)) {
      const [low, high] = range ?? [-1, 1];
      return low + (high - low) * random();
    }
    const [low, high] = range ?? [0, 4];
    return Math.floor(low + (high - low + 1) * random());
  };
  return dense(dtype, shape, Array.from({ length: n }, draw));
}

export interface OpCase {
  readonly b: GraphBuilder;
  readonly inputs: readonly Value[];
  readonly outs: readonly Value[];
  readonly data: Readonly<Record<string, Dense>>;
  readonly graph: Graph;
}

/**
 * The operator applied as the language applies it, to inputs with data. Axes named in `symbols` (per operand) get a
 * symbol for a size, one for each number, so that equal sizes unify.
 */
export function buildCase(
  op: OpDef,
  example: OpExample,
  seed = 1,
  symbols: readonly (readonly number[])[] = [],
): OpCase {
  const random = randomFrom(seed);
  const b = createBuilder();
  const data: Record<string, Dense> = {};
  const inputs = example.shapes.map((shape, i) => {
    const dtype = example.dtypes?.[i] ?? "f32";
    data[`x${i}`] = drawDense(dtype, shape, random, example.range);
    const sizes = shape.map((n, k): Dim => (symbols[i]?.includes(k) ? sym(`S${n}`) : dim(n)));
    return b.make(inputOp, [], { name: `x${i}`, dtype, shape: sizes });
  });
  const args: Record<string, Argument> = { ...(example.attrs as Record<string, Argument> | undefined) };
  let next = 0;
  for (const p of op.params) {
    if (p.kind === "tensor" && next < inputs.length) args[p.name] = inputs[next++];
    else if (p.kind === "tensors") {
      args[p.name] = inputs.slice(next);
      next = inputs.length;
    }
  }
  const outs = applyOp(b, op, args);
  return { b, inputs, outs, data, graph: graphOf(inputs, outs) };
}
export const graphOf = (inputs: readonly Value[], outs: readonly Value[]): Graph =>
  finishGraph({
    name: "case",
    inputs: inputs.map((v) => v.node),
    results: outs.map((value, i) => ({ name: `y${i}`, value })),
    symbols: [],
  });

/** The node the operator's own rule types, whether or not the call was expanded. */
export function checkTypes(op: OpDef, c: OpCase): void {
  const { results, sizes } = evaluate(c.graph, c.data);
  c.outs.forEach((v, i) => {
    const r = results[`y${i}`];
    const text = `${r.dtype}[${r.shape.join(", ")}]`;
    const typed = `${v.type.dtype}[${v.type.shape.map((d) => evaluateDim(d, sizes)).join(", ")}]`;
    if (text !== typed) throw new Error(`${op.name}: typed ${typed}, computes ${text}`);
  });
  // A definition gives what the rule says.
  for (const n of c.graph.nodes) {
    if (!n.op.expand || n.op.fuses !== "composite") continue;
    n.op.expand(c.b, n).forEach((v, i) => {
      if (typeText(v.type) !== typeText(n.outs[i].type))
        throw new Error(
          `${n.op.name}: typed ${typeText(n.outs[i].type)}, its definition gives ${typeText(v.type)}`,
        );
    });
  }
}

/** Every primitive of the graph: its lowering against its reference, on the reference's operands. */
export function checkLowering(
  graph: Graph,
  data: Readonly<Record<string, Dense>>,
  params: Readonly<Record<string, Dense>> = {},
): number {
  const values = new Map<Value, Dense>();
  const get = (v: Value): Dense => values.get(v) as Dense;
  let checked = 0;
  const context = { sizes: bindSizes(graph, data), params };
  for (const node of inPrimitives(graph).nodes) {
    const outs = evaluateNode(node, node.inputs.map(get), context, (n) => data[String(n.attrs.name)]);
    node.outs.forEach((v, i) => void values.set(v, outs[i]));
    if (!node.op.lower) continue;
    node.outs.forEach((_, i) => {
      const name = `${node.op.name} lowered`;
      allclose(interpretNode(node, i, get, context.sizes), outs[i].data, {
        rtol: 1e-9,
        atol: 1e-12,
        name,
        shape: outs[i].shape,
      });
    });
    checked++;
  }
  return checked;
}

const floatInputs = (c: { inputs: readonly Value[] }): readonly Value[] =>
  c.inputs.filter((v) => isFloat(v.type.dtype));

/** sum(outs * weights), weights drawn: a scalar whose gradient tells all of them. */
function weighted(
  b: GraphBuilder,
  sizes: Readonly<Record<string, number>>,
  outs: readonly Value[],
  seed: number,
): { value: Value; weights: readonly Value[]; data: Record<string, Dense> } | undefined {
  const random = randomFrom(seed + 77);
  const data: Record<string, Dense> = {};
  const weights: Value[] = [];
  let value: Value | undefined;
  outs.forEach((v, i) => {
    if (!isFloat(v.type.dtype)) return;
    const shape = v.type.shape.map((d) => evaluateDim(d, sizes));
    const name = `w${seed}_${i}`;
    data[name] = drawDense(v.type.dtype, shape, random);
    const w = b.make(inputOp, [], { name, dtype: v.type.dtype, shape: [...v.type.shape] });
    weights.push(w);
    const s = sum(b, mul(b, v, w));
    value = value ? add(b, value, s) : s;
  });
  return value && { value, weights, data };
}

export interface GradientCheck {
  readonly order: 1 | 2;
  readonly step?: number;
  readonly rtol?: number;
  readonly atol?: number;
}

/** The gradient of the outputs (or the gradient of that gradient) with respect to every float operand. */
export function checkGradient(op: OpDef, c: OpCase, how: GradientCheck = { order: 1 }): number {
  const { b } = c;
  const sizes = bindSizes(c.graph, c.data);
  const wrt = floatInputs(c);
  let objective = weighted(b, sizes, c.outs, 1);
  if (!objective || wrt.length === 0) return 0;
  let data = { ...c.data, ...objective.data };
  let inputs = [...c.inputs, ...objective.weights];
  let grads = gradients(b, objective.value, wrt);
  if (how.order === 2) {
    const first = grads.filter((g): g is Value => g !== undefined);
    objective = weighted(b, sizes, first, 2);
    if (!objective) return 0;
    data = { ...data, ...objective.data };
    inputs = [...inputs, ...objective.weights];
    grads = gradients(b, objective.value, wrt);
  }
  const scalar = objective.value;
  const value = graphOf(inputs, [scalar]);
  const f = (d: Readonly<Record<string, Dense>>): number => evaluate(value, d).results.y0.data[0];
  const present = grads.map((g, i) => ({ g, x: wrt[i] })).filter((p) => p.g !== undefined);
  const analytic = evaluate(
    graphOf(
      inputs,
      present.map((p) => p.g as Value),
    ),
    data,
  ).results;
  wrt.forEach((x, k) => {
    const name = String(x.node.attrs.name);
    const place = present.findIndex((p) => p.x === x);
    const found = place < 0 ? new Float64Array(data[name].data.length) : analytic[`y${place}`].data;
    const expected = differences(f, data, name, how.step ?? 1e-5);
    allclose(found, expected, {
      rtol: how.rtol ?? 1e-5,
      atol: how.atol ?? 1e-7,
      name: `${op.name}: ${how.order === 2 ? "second " : ""}gradient of operand ${k}`,
      shape: data[name].shape,
    });
  });
  checkLowering(
    graphOf(
      inputs,
      present.map((p) => p.g as Value),
    ),
    data,
  );
  return present.length;
}
function gradients(b: GraphBuilder, y: Value, wrt: readonly Value[]): readonly (Value | undefined)[] {
  const one = b.make(fullOp, [], { value: 1, dtype: y.type.dtype, shape: [] });
  return backward(b, [y], [one], wrt);
}

/** Central differences of f along every element of one input. */
function differences(
  f: (d: Readonly<Record<string, Dense>>) => number,
  data: Readonly<Record<string, Dense>>,
  name: string,
  h: number,
): Float64Array {
  const x = data[name];
  const out = new Float64Array(x.data.length);
  for (let i = 0; i < out.length; i++) {
    const at = (v: number): number => {
      const moved = Float64Array.from(x.data);
      moved[i] = v;
      return f({ ...data, [name]: { ...x, data: moved } });
    };
    out[i] = (at(x.data[i] + h) - at(x.data[i] - h)) / (2 * h);
  }
  return out;
}
