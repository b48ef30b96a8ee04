// The reference evaluator: how it binds sizes, data, state and seeds; and one training step of the examples with batch norm
// and dropout by it, against PyTorch's figures (made in double precision, kept in f32).
import { describe, expect, it } from "vitest";
import { dim, floorDiv, mul, sub, sym } from "../../compiler/core/dims/dim.ts";
import { createBuilder, finishGraph } from "../../compiler/core/ir/build.ts";
import type { Dense, Graph, Value } from "../../compiler/core/ir/types.ts";
import { sum } from "../../compiler/core/ops/axes.ts";
import { add } from "../../compiler/core/ops/elementwise.ts";
import { input, param, state } from "../../compiler/core/ops/source.ts";
import { dense, EvaluateError, evaluate } from "../../compiler/core/reference/evaluate.ts";
import { seedWords } from "../../runtime/core/threefry.ts";
import { modelOf } from "../support/check.ts";
import { figure } from "../support/figures.ts";
import { projectFile } from "../support/files.ts";
import { denseWeights, withGradients } from "../support/reference.ts";

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
    expect(evaluate(graph, one, { roundFloats: true }).results.y.data[0]).toBe(1);
  });
});

// ------------------------------------------------------------------------------------------ training steps

describe("a step's loss, gradients and running statistics agree with PyTorch", () => {
  for (const name of ["convnet", "convnet_bn", "convnet_dropout", "convnet_bn_dropout"]) {
    it(name, () => {
      const f = figure(name);
      const model = modelOf(projectFile(f.info.source as string), { model: f.info.model, set: f.info.set });
      const weights = denseWeights(f);
      // The counter of random draws begins at 0.
      const counters = model.buffers
        .filter((p) => p.internal)
        .map((p) => [p.path, dense(p.dtype, [], [0])] as const);
      const data = {
        params: weights,
        state: { ...weights, ...Object.fromEntries(counters) },
        seed: seedWords(f.info.dropout?.seed ?? 0),
      };
      const inputs = Object.fromEntries(
        Object.entries(f.inputs(1)).map(([input, values]) => [
          input,
          dense(values instanceof Int32Array ? "i32" : "f32", f.info.inputs[input].shape, values),
        ]),
      );
      const { results, writes } = evaluate(withGradients(model.trains[0].lossGraph), inputs, data);
      const close = { rtol: 1e-5, atol: 1e-6 };
      f.check("adam/1/loss", results.loss.data, close);
      const gradients = f.names("adam/1/grad/");
      expect(gradients.length).toBeGreaterThan(4);
      for (const path of gradients) f.check(`adam/1/grad/${path}`, results[`gradient ${path}`].data, close);
      const statistics = f.names("adam/1/state/").filter((path) => path.includes("running_"));
      expect(statistics.length).toBe(name.includes("bn") ? 6 : 0);
      for (const path of statistics) f.check(`adam/1/state/${path}`, writes[path].data, close);
    });
  }
});
