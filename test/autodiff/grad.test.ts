// The gradient driver: what flows where, and through what it goes. Each operator's own rule is tested in ops.test.ts.
import { describe, expect, it } from "vitest";
import { backward } from "../../compiler/core/autodiff/backward.ts";
import { dim, sym } from "../../compiler/core/dims/dim.ts";
import { createBuilder, finishGraph, type GraphBuilder } from "../../compiler/core/ir/build.ts";
import { type Dense, type OpDef, OpError, type Value } from "../../compiler/core/ir/types.ts";
import { verify } from "../../compiler/core/ir/verify.ts";
import { castOp, reshapeOp, sum } from "../../compiler/core/ops/axes.ts";
import { dot, matmul } from "../../compiler/core/ops/dot.ts";
import {
  add,
  addOp,
  exp,
  mul,
  mulOp,
  relu,
  sin,
  stopGradient,
  tanh,
} from "../../compiler/core/ops/elementwise.ts";
import { takeOp } from "../../compiler/core/ops/lookup.ts";
import { swapLast } from "../../compiler/core/ops/movement.ts";
import { softmax } from "../../compiler/core/ops/nn.ts";
import { argmaxOp } from "../../compiler/core/ops/reduce.ts";
import { gridSampleOp } from "../../compiler/core/ops/resize.ts";
import { makeScan } from "../../compiler/core/ops/scan.ts";
import { full, input, iota } from "../../compiler/core/ops/source.ts";
import { dense, evaluate } from "../../compiler/core/reference/evaluate.ts";
import { allclose } from "../support/allclose.ts";
import { drawDense, graphOf, randomFrom } from "../support/opcheck.ts";

const tensor = (b: GraphBuilder, name: string, ...shape: number[]): Value =>
  b.make(input, [], { name, dtype: "f32", shape: shape.map((n) => dim(n)) });
const one = (b: GraphBuilder): Value => b.make(full, [], { value: 1, dtype: "f32", shape: [] });
const run = (
  inputs: readonly Value[],
  outs: readonly Value[],
  data: Record<string, Dense>,
): Float64Array[] => {
  const graph = graphOf(inputs, outs);
  verify(graph, "test");
  const { results } = evaluate(graph, data);
  return outs.map((_, i) => results[`y${i}`].data);
};

describe("backward", () => {
  it("adds what comes back along several ways", () => {
    const b = createBuilder();
    const x = tensor(b, "x");
    const y = add(b, mul(b, x, x), mul(b, x, 3));
    const [g] = backward(b, [y], [one(b)], [x]);
    expect([...run([x], [g as Value], { x: dense("f32", [], [5]) })[0]]).toEqual([13]);
  });
  it.each([
    [5, 3],
    [3, 5],
    [4, 4],
  ])("moves what goes back through a lookup of %i rows by the first %i numbers", (rows, many) => {
    const b = createBuilder();
    const x = tensor(b, "x", rows, 2);
    const w = tensor(b, "w", many, 2);
    const numbers = b.make(iota, [], { extent: dim(many), dtype: "i32" });
    const taken = b.make(takeOp, [x, numbers], { axis: 0 });
    const [g] = backward(b, [taken], [w], [x]) as Value[];
    const graph = graphOf([x, w], [g]);
    expect(graph.nodes.map((n) => n.op.fuses)).not.toContain("algorithm");
    const data = Array.from({ length: 2 * many }, (_, i) => i + 1);
    const [dx] = run([x, w], [g], {
      x: dense("f32", [rows, 2], new Array(2 * rows).fill(0)),
      w: dense("f32", [many, 2], data),
    });
    expect([...dx]).toEqual(Array.from({ length: 2 * rows }, (_, i) => data[i] ?? 0));
  });
  it("gives gradients of values in the middle and of what they are made from", () => {
    const b = createBuilder();
    const x = tensor(b, "x");
    const h = mul(b, x, x);
    const y = mul(b, h, x);
    const grads = backward(b, [y], [one(b)], [h, x]) as Value[];
    const [dh, dx] = run([x], grads, { x: dense("f32", [], [2]) });
    expect([dh[0], dx[0]]).toEqual([2, 12]);
  });
  it("gives nothing where there is no way, or only through integers", () => {
    const b = createBuilder();
    const [x, z] = [tensor(b, "x", 3), tensor(b, "z", 3)];
    const index = b.make(argmaxOp, [x], { axis: 0, keepdims: false });
    const y = add(b, sum(b, z), b.make(castOp, [index], { dtype: "f32" }));
    const [dx, dz] = backward(b, [y], [one(b)], [x, z]);
    expect(dx).toBeUndefined();
    expect(dz).toBeDefined();
  });
  it("stops at stop_gradient", () => {
    const b = createBuilder();
    const x = tensor(b, "x");
    const y = mul(b, x, stopGradient(b, mul(b, x, x)));
    const [g] = backward(b, [y], [one(b)], [x]);
    expect([...run([x], [g as Value], { x: dense("f32", [], [3]) })[0]]).toEqual([9]);
  });
  it("differentiates only what is needed", () => {
    const b = createBuilder();
    const [x, w] = [tensor(b, "x", 2, 3), tensor(b, "w", 3, 2)];
    const y = sum(b, matmul(b, x, w));
    const before = b.count;
    backward(b, [y], [one(b)], [w]);
    const onlyW = b.count - before;
    const again = b.count;
    backward(b, [y], [one(b)], [w, x]);
    expect(b.count - again).toBeLessThanOrEqual(onlyW);
  });
  it("seeds several outputs", () => {
    const b = createBuilder();
    const x = tensor(b, "x");
    const [y, z] = [mul(b, x, x), exp(b, x)];
    const [g] = backward(b, [y, z], [one(b), undefined], [x]);
    expect([...run([x], [g as Value], { x: dense("f32", [], [4]) })[0]]).toEqual([8]);
  });
  it("refuses an operator without a gradient, with its reason", () => {
    const opaque: OpDef = { ...addOp, name: "opaque", vjp: undefined, noGrad: "it is opaque" };
    const b = createBuilder();
    const x = tensor(b, "x");
    const y = b.make(opaque, [x, x]);
    expect(() => backward(b, [y], [one(b)], [x])).toThrow(OpError);
    expect(() => backward(b, [y], [one(b)], [x])).toThrow("opaque has no gradient: it is opaque");
  });
  it("goes through a composite with the same operand twice", () => {
    const twice: OpDef = {
      ...mulOp,
      name: "twice",
      fuses: "composite",
      vjp: undefined,
      reference: undefined,
      lower: undefined,
      expand: (b, n) => [mul(b, n.inputs[0], n.inputs[1])],
    };
    const b = createBuilder();
    const x = tensor(b, "x");
    const y = b.make(twice, [x, x]);
    const [g] = backward(b, [y], [one(b)], [x]);
    expect([...run([x], [g as Value], { x: dense("f32", [], [3]) })[0]]).toEqual([6]);
  });
  it.each([
    // softmax's operand and the weight it multiplies share a producer: each way counts once.
    ["a composite's", [4], (b: GraphBuilder, h: Value) => mul(b, softmax(b, h, -1), h)],
    // Where an image is read is computed from the image (a spatial transformer).
    ["grid_sample's", [1, 2, 2, 2], (b: GraphBuilder, h: Value) => b.make(gridSampleOp, [h, tanh(b, h)])],
  ] as const)("does not differentiate beyond %s operands on their behalf", (_, shape, make) => {
    const b = createBuilder();
    const x = tensor(b, "x", ...shape);
    const h = tanh(b, x);
    const y = sum(b, make(b, h));
    const [g] = backward(b, [y], [one(b)], [x]);
    const random = randomFrom(3);
    const data = { x: drawDense("f32", shape, random) };
    const value = (d: Dense): number => run([x], [y], { x: d })[0][0];
    const [found] = run([x], [g as Value], data);
    const expected = Array.from(data.x.data, (_, i) => {
      const at = (delta: number): number => {
        const moved = Float64Array.from(data.x.data);
        moved[i] += delta;
        return value({ ...data.x, data: moved });
      };
      return (at(1e-5) - at(-1e-5)) / 2e-5;
    });
    allclose(found, expected, { rtol: 1e-7, atol: 1e-9 });
  });
  it("marks where a gradient comes from", () => {
    const b = createBuilder();
    const x = tensor(b, "x");
    const y = b.at({ path: "trunk.act", calls: [], derived: [] }, () => tanh(b, x));
    const [g] = backward(b, [y], [one(b)], [x]);
    expect((g as Value).node.origin).toMatchObject({ path: "trunk.act", derived: ["gradient of tanh"] });
  });
  it("repeats itself: the same graph gives the same nodes", () => {
    const build = (): string => {
      const b = createBuilder();
      const [x, w] = [tensor(b, "x", 2, 3), tensor(b, "w", 3, 3)];
      const y = sum(b, relu(b, matmul(b, relu(b, matmul(b, x, w)), w)));
      const grads = backward(b, [y], [one(b)], [w, x]) as Value[];
      return graphOf([x, w], grads)
        .nodes.map((n) => `${n.id}${n.op.name}(${n.inputs.map((v) => v.node.id)})`)
        .join(" ");
    };
    expect(build()).toBe(build());
  });
  it("differentiates deep graphs without recursion", () => {
    const b = createBuilder();
    const x = tensor(b, "x");
    let y = x;
    for (let i = 0; i < 20_000; i++) y = add(b, y, i % 7);
    const [g] = backward(b, [y], [one(b)], [x]);
    expect([...run([x], [g as Value], { x: dense("f32", [], [1]) })[0]]).toEqual([1]);
  });
});

// ---------------------------------------------------------------------------------------------------- scan

/** A small recurrent cell: s' = tanh(x @ w + s * a), emitting sin(s') + x; over axis 1 of x [B, T, D]. */
function recurrence(
  b: GraphBuilder,
  x: Value,
  s0: Value,
  w: Value,
  a: Value,
  reverse = false,
): readonly Value[] {
  const inner = createBuilder();
  const [B, T, D] = x.type.shape;
  const formal = (name: string, place: number, shape: Value["type"]["shape"]): Value =>
    inner.make(input, [], { name, dtype: "f32", shape: [...shape], place });
  const xt = formal("xt", 0, [B, D]);
  const s = formal("s", 1, s0.type.shape);
  const [wf, af] = [formal("w", 2, w.type.shape), formal("a", 3, a.type.shape)];
  const next = tanh(inner, add(inner, matmul(inner, xt, wf), mul(inner, s, af)));
  const body = finishGraph({
    name: "body",
    inputs: [xt, s, wf, af].map((v) => v.node),
    results: [
      { name: "s", value: next },
      { name: "y", value: add(inner, sin(inner, next), xt) },
    ],
    symbols: [],
  });
  return makeScan(b, [x, s0, w, a], { body, xs: 1, carries: 1, axes: [1], emitAxes: [1], count: T, reverse });
}

describe("scan", () => {
  const shapes = { x: [2, 4, 3], s0: [2, 3], w: [3, 3], a: [3] };
  const data = (seed: number): Record<string, Dense> => {
    const random = randomFrom(seed);
    return Object.fromEntries(
      Object.entries(shapes).map(([k, shape]) => [k, drawDense("f32", shape, random)]),
    );
  };
  const setUp = (reverse: boolean) => {
    const b = createBuilder();
    const inputs = Object.entries(shapes).map(([k, shape]) => tensor(b, k, ...shape));
    const [x, s0, w, a] = inputs;
    const [last, ys] = recurrence(b, x, s0, w, a, reverse);
    // A loss over both results, of which the second has a weight that differs per element.
    const weight = b.make(castOp, [b.make(iota, [], { extent: dim(24), dtype: "i32" })], { dtype: "f32" });
    const flat = b.make(reshapeOp, [ys], { shape: [dim(24)] });
    const loss = add(b, sum(b, mul(b, last, last)), sum(b, mul(b, flat, sin(b, weight))));
    return { b, inputs, loss };
  };

  for (const reverse of [false, true]) {
    it(`agrees with finite differences${reverse ? ", backwards" : ""}`, () => {
      const { b, inputs, loss } = setUp(reverse);
      const grads = backward(b, [loss], [one(b)], inputs) as Value[];
      const given = data(5);
      const found = run(inputs, grads, given);
      const graph = graphOf(inputs, [loss]);
      Object.keys(shapes).forEach((name, k) => {
        const expected = given[name].data.map((_, i) => {
          const at = (delta: number): number => {
            const moved = Float64Array.from(given[name].data);
            moved[i] += delta;
            return evaluate(graph, { ...given, [name]: { ...given[name], data: moved } }).results.y0.data[0];
          };
          return (at(1e-5) - at(-1e-5)) / 2e-5;
        });
        allclose(found[k], expected, { rtol: 1e-6, atol: 1e-8, name: `gradient of ${name}` });
      });
    });
  }
  it("has second derivatives", () => {
    const { b, inputs, loss } = setUp(false);
    const x = inputs[0];
    const [g] = backward(b, [loss], [one(b)], [x]) as Value[];
    const norm = sum(b, mul(b, g, g));
    const [h] = backward(b, [norm], [one(b)], [x]) as Value[];
    const given = data(6);
    const [found] = run(inputs, [h], given);
    const graph = graphOf(inputs, [norm]);
    const expected = given.x.data.map((_, i) => {
      const at = (delta: number): number => {
        const moved = Float64Array.from(given.x.data);
        moved[i] += delta;
        return evaluate(graph, { ...given, x: { ...given.x, data: moved } }).results.y0.data[0];
      };
      return (at(1e-5) - at(-1e-5)) / 2e-5;
    });
    allclose(found, expected, { rtol: 1e-5, atol: 1e-7 });
  });
  it("runs over a length known at the call, none included", () => {
    const b = createBuilder();
    const x = b.make(input, [], { name: "x", dtype: "f32", shape: [dim(2), sym("T"), dim(3)] });
    const [s0, w, a] = [tensor(b, "s0", 2, 3), tensor(b, "w", 3, 3), tensor(b, "a", 3)];
    const inputs = [x, s0, w, a];
    const [last, ys] = recurrence(b, x, s0, w, a);
    const loss = add(b, sum(b, last), sum(b, ys));
    const grads = backward(b, [loss], [one(b)], inputs) as Value[];
    const graph = finishGraph({
      name: "g",
      inputs: inputs.map((v) => v.node),
      results: [ys, ...grads].map((value, i) => ({ name: `y${i}`, value })),
      symbols: ["T"],
    });
    verify(graph, "test");
    for (const T of [0, 1, 5]) {
      const given = { ...data(7), x: drawDense("f32", [2, T, 3], randomFrom(T)) };
      const { results } = evaluate(graph, given);
      expect(results.y0.shape).toEqual([2, T, 3]);
      expect(results.y1.shape).toEqual([2, T, 3]);
      // Without a step the initial carry is the final one.
      if (T === 0) expect([...results.y2.data]).toEqual(new Array(6).fill(1));
    }
  });
});

describe("the gradient of a matrix that is used transposed", () => {
  it("is a product as the matrix lies, with nothing behind it", () => {
    const b = createBuilder();
    const [x, w, v, u] = [
      tensor(b, "x", 5, 3),
      tensor(b, "w", 4, 3),
      tensor(b, "v", 3, 5),
      tensor(b, "u", 4, 3),
    ];
    const y = dot(b, x, swapLast(b, w));
    const z = dot(b, swapLast(b, v), swapLast(b, u));
    const loss = sum(b, add(b, mul(b, y, y), z));
    const [dw, dv] = backward(b, [loss], [one(b)], [w, v]) as Value[];
    expect(dv.node.op.name).toBe("dot");
    expect(dw.node.op.name).toBe("dot");
    const random = randomFrom(3);
    const data = {
      x: drawDense("f32", [5, 3], random),
      w: drawDense("f32", [4, 3], random),
      v: drawDense("f32", [3, 5], random),
      u: drawDense("f32", [4, 3], random),
    };
    const [gw, gv] = run([x, w, v, u], [dw, dv], data);
    const at = (d: Dense, i: number, j: number): number => d.data[i * d.shape[1] + j];
    for (let o = 0; o < 4; o++)
      for (let c = 0; c < 3; c++) {
        let want = 0;
        for (let n = 0; n < 5; n++) {
          let out = 0;
          for (let k = 0; k < 3; k++) out += at(data.x, n, k) * at(data.w, o, k);
          want += 2 * out * at(data.x, n, c);
        }
        expect(gw[o * 3 + c]).toBeCloseTo(want, 10);
      }
    for (let c = 0; c < 3; c++)
      for (let n = 0; n < 5; n++)
        expect(gv[c * 5 + n]).toBeCloseTo(
          [0, 1, 2, 3].reduce((t, o) => t + at(data.u, o, c), 0),
          10,
        );
  });
});
