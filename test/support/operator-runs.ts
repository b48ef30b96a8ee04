// Drawn calls of operators (operator-cases.ts) on a device: many of them in one compiled module, results and gradients of
// the emitted kernels against the reference evaluator. In: seeds, a target. Out: what differs, and how much was compared.
import { backward } from "../../compiler/core/autodiff/backward.ts";
import { evaluate as evaluateDim } from "../../compiler/core/dims/dim.ts";
import { createBuilder, finishGraph } from "../../compiler/core/ir/build.ts";
import { type Dense, type Graph, OpError, type Value } from "../../compiler/core/ir/types.ts";
import { functionNames, functionTolerance } from "../../compiler/core/kernel/functions.ts";
import { isFloat } from "../../compiler/core/ops/define.ts";
import { input } from "../../compiler/core/ops/source.ts";
import { bindSizes, evaluate } from "../../compiler/core/reference/evaluate.ts";
import { inPrimitives } from "../../compiler/core/reference/expand.ts";
import type { Target } from "../../compiler/core/targets.ts";
import { difference } from "./allclose.ts";
import { buildGraphs, GraphNet, type Tensors } from "./graphs.ts";
import { drawDense, randomFrom } from "./opcheck.ts";
import {
  built,
  type Drawn,
  drawn,
  indices,
  storable,
  storedOf,
  textOf,
  withSpecials,
} from "./operator-cases.ts";

export interface Case {
  readonly drawn: Drawn;
  /** What a device computes, and what judges it: the same, but where weights are stored in few bits. */
  readonly graph: Graph;
  readonly judge: Graph;
  readonly data: Tensors;
  /** Parameters of either. */
  readonly weights: Tensors;
  readonly params: Tensors;
  /** Which weights are stored, and how. */
  readonly stored?: string;
}

/** What a device is given: floats as single precision has them. */
const single = (x: Dense): Dense => (isFloat(x.dtype) ? { ...x, data: x.data.map(Math.fround) } : x);

/** Calls of all operators, or of those that have weights, with these stored. */
export type Draw = "all" | "stored";

/** The call as a graph, with weights stored where it has such; undefined where it is not for a device. */
export function caseOf(seed: number, name: string, draw: Draw = "all"): Case | undefined {
  const d = draw === "all" ? drawn(seed) : { ...drawn(seed, storable()), stored: true };
  const stored = d.stored ? storedOf(d, (one) => graphOf(one, name), name) : undefined;
  if (stored) {
    const { plain, graph, data, words, decoded, text } = stored;
    return { drawn: d, graph, judge: plain, data, weights: words, params: decoded, stored: text };
  }
  const own = draw === "all" ? graphOf(d, name) : undefined;
  return own && { drawn: d, ...own, judge: own.graph, weights: {}, params: {} };
}
/** With the gradients of its floats along directions, where it has any. */
function graphOf(d: Drawn, name: string): Pick<Case, "graph" | "data"> | undefined {
  const { op, example, seed } = d;
  // Halves have tests of their own (gpu/precision.test.ts): not every device has them.
  if (example.dtypes?.includes("f16")) return undefined;
  const c = built(d);
  if (indices(c) === "never") return undefined;
  const sizes = bindSizes(c.graph, c.data);
  const b = createBuilder(c.b.count);
  const data: Record<string, Dense> = Object.fromEntries(
    Object.entries(d.special ? withSpecials(op, c.data, seed) : c.data).map(([k, x]) => [k, single(x)]),
  );
  const inputs = [...c.inputs];
  const results = c.outs.map((value, i) => ({ name: `y${i}`, value }));
  const wrt = c.inputs.filter((v) => v.type.dtype === "f32");
  if (!d.special && example.grad !== false && !op.noGrad && wrt.length > 0 && seed % 2 === 0) {
    const random = randomFrom(seed + 1);
    const directions = c.outs.map((v, i): Value | undefined => {
      if (v.type.dtype !== "f32") return undefined;
      const shape = v.type.shape.map((n) => evaluateDim(n, sizes));
      data[`d${i}`] = single(drawDense("f32", shape, random));
      const one = b.make(input, [], { name: `d${i}`, dtype: "f32", shape: [...v.type.shape] });
      inputs.push(one);
      return one;
    });
    backward(b, c.outs, directions, wrt).forEach((value, i) => {
      if (value) results.push({ name: `g${i}`, value });
    });
  }
  const graph = finishGraph({
    name,
    inputs: inputs.map((v) => v.node),
    results,
    symbols: [...new Set(Object.keys(sizes))],
  });
  return { graph, data };
}

/** What the scalar functions of a graph may be off by, beside the rounding of each operator. */
function allowance(graph: Graph): { rtol: number; atol: number } {
  const known = new Set(functionNames);
  const all = [...new Set(inPrimitives(graph).nodes.map((n) => n.op.name))].filter((n) => known.has(n));
  const own = all.map((n) => functionTolerance(n));
  return {
    rtol: 2e-5 + own.reduce((sum, t) => sum + t.ulp, 0) * 2 ** -22,
    atol: 2e-6 + own.reduce((sum, t) => sum + 2 * (t.abs ?? 0), 0),
  };
}

const told = (c: Case): string => `${textOf(c.drawn)}${c.stored ? ` with ${c.stored}` : ""}`;

export interface Outcome {
  cases: number;
  /** With weights in few bits. */
  stored: number;
  tensors: number;
  elements: number;
  readonly wrong: string[];
}

/** Differences of one case, in words. */
function compared(c: Case, found: Readonly<Record<string, Dense>>, outcome: Outcome): void {
  const { judge, params } = c;
  const exact = evaluate(judge, c.data, { params }).results;
  // What overflows single precision is infinite there, and here.
  const rounded = evaluate(judge, c.data, { params, roundFloats: true }).results;
  const { rtol, atol } = allowance(judge);
  outcome.cases++;
  if (c.stored) outcome.stored++;
  for (const [name, want] of Object.entries(rounded)) {
    const got = found[name];
    outcome.tensors++;
    outcome.elements += want.data.length;
    let message: string | undefined;
    if (got?.dtype !== want.dtype || got.shape.join() !== want.shape.join())
      message = `${name}: ${got?.dtype}[${got?.shape.join(", ")}], expected ${want.dtype}[${want.shape.join(", ")}]`;
    else if (!isFloat(want.dtype))
      message = difference(got.data, want.data, { name, shape: want.shape, rtol: 0, atol: 0 });
    else {
      let [most, slack] = [0, 0];
      want.data.forEach((v, i) => {
        if (!Number.isFinite(v) || !Number.isFinite(exact[name].data[i])) return;
        most = Math.max(most, Math.abs(v));
        slack = Math.max(slack, Math.abs(v - exact[name].data[i]));
      });
      message = difference(got.data, want.data, {
        name,
        shape: want.shape,
        rtol,
        atol: (atol + rtol) * Math.max(1, most) + 32 * slack,
      });
    }
    if (message) outcome.wrong.push(`${told(c)}\n    ${message}`);
  }
}

/** Runs the calls of `count` seeds on a device with one target's kernels. */
export async function runDrawn(
  device: GPUDevice,
  target: Target,
  first: number,
  count: number,
  draw?: Draw,
): Promise<Outcome> {
  const outcome: Outcome = { cases: 0, stored: 0, tensors: 0, elements: 0, wrong: [] };
  const cases: Case[] = [];
  for (let i = 0; i < count; i++) {
    try {
      const c = caseOf(first + i, `case${i}`, draw);
      if (c) cases.push(c);
    } catch (e) {
      // A gradient that asks for what a symbol hides, as a kernel's size.
      if (!(e instanceof OpError)) throw e;
    }
  }
  const net = await GraphNet.load(
    buildGraphs(
      cases.map((c) => c.graph),
      [target],
    ),
    device,
    Object.assign({}, ...cases.map((c) => c.weights)),
    { target: target.name },
  );
  try {
    for (const c of cases) {
      try {
        compared(c, await net.run(c.graph.name, c.data), outcome);
      } catch (e) {
        outcome.wrong.push(`${told(c)}\n    ${(e as Error).message}`);
      }
    }
  } finally {
    net.dispose();
  }
  return outcome;
}
