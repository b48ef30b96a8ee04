// The reference evaluator: how it binds sizes, data and state; and whole models by it, their gradients and one training
// step's running statistics, against PyTorch's figures (made in double precision, kept in f32).
import { describe, expect, it } from "vitest";
import { dim, floorDiv, mul, sub, sym } from "../compiler/core/dims/dim.ts";
import { createBuilder, finishGraph } from "../compiler/core/ir/build.ts";
import type { Dense, Graph, Value } from "../compiler/core/ir/types.ts";
import { sum } from "../compiler/core/ops/axes.ts";
import { add } from "../compiler/core/ops/elementwise.ts";
import { full, input, param, state } from "../compiler/core/ops/source.ts";
import type { CheckedModel } from "../compiler/core/phases/2-check/checked.ts";
import { backward } from "../compiler/core/phases/3-grad/backward.ts";
import { dense, EvaluateError, evaluate } from "../compiler/core/reference/evaluate.ts";
import { seedWords } from "../runtime/core/threefry.ts";
import { modelOf } from "./support/check.ts";
import { layerSource, totalInputs } from "./support/figure-sources.ts";
import { type Figure, figure, type WeightTensor } from "./support/figures.ts";
import { projectFile } from "./support/files.ts";

// ------------------------------------------------------------------------------------------------- binding

describe("sizes", () => {
  const graphOver = (shape: Value["type"]["shape"], symbols: string[]): Graph => {
    const b = createBuilder();
    const x = b.make(input, [], { name: "x", dtype: "f32", shape: [...shape] });
    return finishGraph({ name: "g", inputs: [x.node], results: [{ name: "y", value: sum(b, x) }], symbols });
  };
  const ones = (...shape: number[]): Dense =>
    dense("f32", shape, new Array(shape.reduce((a, n) => a * n, 1)).fill(1));
  it("are solved from the inputs' shapes", () => {
    const [n, m] = [sym("N"), sym("M")];
    const graph = graphOver([n, mul(n, 2), sub(mul(m, 3), 1)], ["N", "M"]);
    expect(evaluate(graph, { x: ones(2, 4, 8) }).sizes).toEqual({ N: 2, M: 3 });
    expect(() => evaluate(graph, { x: ones(2, 5, 8) })).toThrow("axis 1 of x is 5, expected 2 * N");
    expect(() => evaluate(graph, { x: ones(2, 4, 7) })).toThrow(EvaluateError);
  });
  it("that no shape tells are asked for", () => {
    const graph = graphOver([floorDiv(sym("H"), 2)], ["H"]);
    expect(() => evaluate(graph, { x: ones(3) })).toThrow("symbol H has no value");
    expect(evaluate(graph, { x: ones(3) }, { sizes: { H: 7 } }).sizes).toEqual({ H: 7 });
  });
  it("must meet the graph's constraints", () => {
    const graph: Graph = {
      ...graphOver([sym("N")], ["N"]),
      constraints: [{ left: sym("N"), relation: "divides", right: dim(2), message: "reshape: halves of x" }],
    };
    expect(evaluate(graph, { x: ones(4) }).results.y.data[0]).toBe(4);
    expect(() => evaluate(graph, { x: ones(3) })).toThrow("reshape: halves of x");
  });
});

describe("data", () => {
  const setUp = () => {
    const b = createBuilder();
    const x = b.make(input, [], { name: "x", dtype: "f32", shape: [dim(2)] });
    const w = b.make(param, [], { path: "w", dtype: "f32", shape: [dim(2)] });
    const s = b.make(state, [], { path: "s", dtype: "f32", shape: [dim(2)] });
    return finishGraph({
      name: "g",
      inputs: [x.node],
      results: [{ name: "y", value: add(b, x, s) }],
      writes: [{ path: "s", value: add(b, s, w) }],
      symbols: [],
    });
  };
  const two = (a: number, c: number): Dense => dense("f32", [2], [a, c]);
  it("comes by name and path; writes go out and leave what was given alone", () => {
    const s = two(1, 2);
    const { results, writes } = evaluate(
      setUp(),
      { x: two(10, 20) },
      { params: { w: two(5, 5) }, state: { s } },
    );
    expect([...results.y.data]).toEqual([11, 22]);
    expect([...writes.s.data]).toEqual([6, 7]);
    expect([...s.data]).toEqual([1, 2]);
  });
  it("that is missing or of another shape is named", () => {
    const graph = setUp();
    const given = { params: { w: two(5, 5) }, state: { s: two(1, 2) } };
    expect(() => evaluate(graph, {}, given)).toThrow("input x is not given");
    expect(() => evaluate(graph, { x: two(1, 1) }, { ...given, params: {} })).toThrow(
      "parameter w is not given",
    );
    const three = dense("f32", [3], [1, 2, 3]);
    expect(() => evaluate(graph, { x: two(1, 1) }, { ...given, state: { s: three } })).toThrow(
      "state s is f32[2], given f32[3]",
    );
    expect(() => evaluate(graph, { x: three }, given)).toThrow("axis 0 of x is 3, expected 2");
    expect(() => dense("f32", [2], [1])).toThrow("has 2 elements, given 1");
  });
  it("rounds to f32 on request", () => {
    const b = createBuilder();
    const x = b.make(input, [], { name: "x", dtype: "f32", shape: [] });
    const y = add(b, x, 1e-9);
    const graph = finishGraph({
      name: "g",
      inputs: [x.node],
      results: [{ name: "y", value: y }],
      symbols: [],
    });
    const one = { x: dense("f32", [], [1]) };
    expect(evaluate(graph, one).results.y.data[0]).toBeGreaterThan(1);
    expect(evaluate(graph, one, { roundToF32: true }).results.y.data[0]).toBe(1);
  });
});

// -------------------------------------------------------------------------------------------------- models

const close = { rtol: 1e-5, atol: 1e-6 };
const tensorsOf = (weights: ReadonlyMap<string, WeightTensor>): Record<string, Dense> =>
  Object.fromEntries([...weights].map(([path, t]) => [path, dense("f32", t.shape, t.data)]));

function inputsOf(
  graph: Graph,
  given: Readonly<Record<string, Float32Array | Int32Array>>,
  shapes: (name: string) => readonly number[],
): Record<string, Dense> {
  return Object.fromEntries(
    graph.inputs.map((n) => {
      const name = String(n.attrs.name);
      return [name, dense(n.outs[0].type.dtype, shapes(name), given[name])];
    }),
  );
}

/** Weights and buffers by path; the counter of random draws at 0. */
function given(
  model: CheckedModel,
  weights: ReadonlyMap<string, WeightTensor>,
  prefix = "",
): { params: Record<string, Dense>; state: Record<string, Dense> } {
  const all = tensorsOf(new Map([...weights].map(([k, v]) => [prefix + k, v])));
  const find = (p: { path: string; aliases: readonly string[] }): Dense | undefined =>
    all[[p.path, ...p.aliases].find((q) => all[q]) ?? ""];
  const params = Object.fromEntries(model.params.map((p) => [p.path, find(p) as Dense]));
  const zero = (p: { dtype: Dense["dtype"]; shape: readonly number[] }): Dense =>
    dense(p.dtype, p.shape, new Array(p.shape.reduce((a, n) => a * n, 1)).fill(0));
  const buffers = Object.fromEntries(model.buffers.map((p) => [p.path, find(p) ?? zero(p)]));
  return { params, state: buffers };
}

/** The gradients of a scalar result by every parameter and float input, as results of the graph. */
function withGradients(graph: Graph, result: string): { graph: Graph; names: readonly string[] } {
  const b = createBuilder(1 + Math.max(...graph.nodes.map((n) => n.id)));
  const loss = graph.results.find((r) => r.name === result)?.value as Value;
  const leaves = graph.nodes.filter(
    (n) => (n.op === param || n.op === input) && n.outs[0].type.dtype === "f32",
  );
  const one = b.make(full, [], { value: 1, dtype: "f32", shape: [] });
  const grads = backward(
    b,
    [loss],
    [one],
    leaves.map((n) => n.outs[0]),
  );
  const results = leaves.flatMap((n, i) => {
    const value = grads[i];
    return value ? [{ name: `grad/${String(n.attrs.path ?? n.attrs.name)}`, value }] : [];
  });
  return {
    graph: finishGraph({ ...graph, results: [...graph.results, ...results] }),
    names: results.map((r) => r.name),
  };
}
const checked = (f: Figure): CheckedModel =>
  modelOf(projectFile(f.info.source as string), { model: f.info.model, set: f.info.set });
const entryOf = (model: CheckedModel, name: string): Graph =>
  model.entries.find((e) => e.name === name)?.graph as Graph;
const shapeIn =
  (f: Figure) =>
  (name: string): readonly number[] =>
    f.info.inputs[name]?.shape ?? [];

describe("models by the reference agree with PyTorch", () => {
  for (const name of ["mlp", "char_lstm", "gpt"]) {
    it(`${name}: scores, loss and gradients`, () => {
      const f = figure(name);
      const model = checked(f);
      const data = given(model, f.weights());
      const logits = entryOf(model, "logits");
      f.check(
        "eval/result/logits",
        evaluate(logits, inputsOf(logits, f.inputs(), shapeIn(f)), data).results.logits.data,
        close,
      );
      const { graph, names } = withGradients(entryOf(model, "loss"), "loss");
      const { results } = evaluate(graph, inputsOf(graph, f.inputs(), shapeIn(f)), data);
      f.check("eval/result/loss", results.loss.data, close);
      expect(names.length).toBeGreaterThan(4);
      for (const n of names) f.check(`eval/${n}`, results[n].data, close);
    });
  }
  it("encoder", () => {
    const f = figure("encoder");
    const model = checked(f);
    const graph = entryOf(model, "encode");
    f.check(
      "eval/result/encode",
      evaluate(graph, inputsOf(graph, f.inputs(), shapeIn(f)), given(model, f.weights())).results.encode.data,
      close,
    );
  });
  for (const name of ["convnet", "convnet_bn", "convnet_dropout", "convnet_bn_dropout"]) {
    it(`${name}: a training step's loss, gradients and running statistics`, () => {
      const f = figure(name);
      const model = checked(f);
      const data = { ...given(model, f.weights()), seed: seedWords(f.info.dropout?.seed ?? 0) };
      const logits = entryOf(model, "logits");
      f.check(
        "logits",
        evaluate(logits, inputsOf(logits, f.inputs(1), shapeIn(f)), data).results.logits.data,
        close,
      );
      const { graph, names } = withGradients(model.trains[0].lossGraph, "loss");
      const { results, writes } = evaluate(graph, inputsOf(graph, f.inputs(1), shapeIn(f)), data);
      f.check("adam/1/loss", results.loss.data, close);
      for (const n of names) if (n !== "grad/x") f.check(`adam/1/${n}`, results[n].data, close);
      const statistics = f.names("adam/1/state/").filter((n) => n.includes("running_"));
      expect(statistics.length).toBe(name.includes("bn") ? 6 : 0);
      for (const path of statistics) f.check(`adam/1/state/${path}`, writes[path].data, close);
    });
  }
  for (const name of [
    "residual",
    "residual_projection",
    "transformer_block",
    "multi_head_attention",
    "lstm",
    "gru",
  ]) {
    it(`layer ${name}: results and gradients`, () => {
      const f = figure(name);
      // The train block and the gradients in the language are others' tests.
      const source = layerSource(f)
        .split("\n")
        .filter((line) => !/^\s*(fn gradient|train )/.test(line))
        .join("\n");
      const model = modelOf(source);
      const data = given(model, f.weights(), "it.");
      const { graph } = withGradients(entryOf(model, "total"), "total");
      const totals = totalInputs(f);
      const shape = (n: string): readonly number[] =>
        n.startsWith("direction_") ? f.expected(`eval/result/${n.slice(10)}`).shape : shapeIn(f)(n);
      const { results } = evaluate(graph, inputsOf(graph, totals, shape), data);
      const gradients = f.names("eval/grad/");
      expect(gradients.length).toBeGreaterThan(3);
      for (const n of gradients)
        f.check(`eval/grad/${n}`, results[`grad/${shapeIn(f)(n).length > 0 ? n : `it.${n}`}`].data, close);
    });
  }
});
