// What is moved out of loops: operators over one more axis mean what they mean slice by slice; random loops, with gradients
// and second derivatives, keep their numbers through every pass of simplification, however often they run; and what is left
// in a recurrent layer's loop.
import { describe, expect, it } from "vitest";
import { dim } from "../../compiler/core/dims/dim.ts";
import { createBuilder, finishGraph } from "../../compiler/core/ir/build.ts";
import type { Dense, Graph, Node, Value } from "../../compiler/core/ir/types.ts";
import { verify } from "../../compiler/core/ir/verify.ts";
import { emptyDense } from "../../compiler/core/ops/dense.ts";
import { allOps } from "../../compiler/core/ops/index.ts";
import { loop, scan } from "../../compiler/core/ops/scan.ts";
import { input } from "../../compiler/core/ops/source.ts";
import { verifyLoops } from "../../compiler/core/phases/4-simplify/loops.ts";
import { passes } from "../../compiler/core/phases/4-simplify/simplify.ts";
import { evaluate } from "../../compiler/core/reference/evaluate.ts";
import { difference } from "../support/allclose.ts";
import { budget, firstSeed, untilTimeIsUp } from "../support/budget.ts";
import { compileText } from "../support/module.ts";
import { buildCase, drawDense, randomFrom } from "../support/opcheck.ts";
import { randomScan } from "../support/random-scans.ts";

const PASSES = 3;
const nodeOf = (graph: Graph): Node => graph.nodes.find((n) => n.op !== input) as Node;
const only = (graph: Graph, data: Record<string, Dense>): Dense =>
  Object.values(evaluate(graph, data).results)[0];

describe("an operator over one more axis", () => {
  const saying = allOps.filter((op) => op.along !== undefined);
  it("is what several say", () => {
    expect(saying.map((op) => op.name)).toEqual(
      expect.arrayContaining(["reshape", "broadcast_to", "transpose", "slice", "concat", "dot"]),
    );
  });
  for (const op of saying)
    op.examples.forEach((example, k) => {
      it(`${op.name}, example ${k + 1}`, () => {
        const { graph, data } = buildCase(op, example, 70 + k);
        const n = nodeOf(graph);
        const names = n.inputs.map((v) => String(v.node.attrs.name));
        const random = randomFrom(k + 5);
        const slices = Array.from({ length: PASSES }, () =>
          Object.fromEntries(
            names.map((name) => [name, drawDense(data[name].dtype, data[name].shape, random)]),
          ),
        );
        // The operands of all passes, one behind the other.
        const b = createBuilder();
        const stacked: Record<string, Dense> = {};
        const given = n.inputs.map((v, i): Value => {
          const name = names[i];
          const { dtype, shape } = data[name];
          const whole = emptyDense(dtype, [PASSES, ...shape]);
          slices.forEach((s, t) => {
            whole.data.set(s[name].data, t * (whole.data.length / PASSES));
          });
          stacked[name] = whole;
          return b.make(
            input,
            [],
            { name, dtype, shape: [PASSES, ...v.type.shape].map((d) => dim(d)) },
            name,
          );
        });
        const made = op.along?.(b, n, given, dim(PASSES)) as Value;
        expect(made.type.shape.map((d) => d.key)).toEqual(
          [dim(PASSES), ...n.outs[0].type.shape].map((d) => d.key),
        );
        const inputs = [...new Set(given.map((v) => v.node))];
        const all = only(
          finishGraph({ name: "all", inputs, results: [{ name: "y", value: made }], symbols: [] }),
          stacked,
        );
        slices.forEach((s, t) => {
          const want = only(graph, { ...data, ...s });
          const size = want.data.length;
          const part = { ...want, data: all.data.slice(t * size, (t + 1) * size) };
          expect(
            difference(part.data, want.data, { name: `pass ${t}`, rtol: 1e-12, atol: 1e-12 }),
          ).toBeUndefined();
        });
      });
    });
});

describe("loops", () => {
  it("keep their numbers through every pass, run never, once and often", async () => {
    const tried = await untilTimeIsUp(budget(15), firstSeed(300), 60, (seed) => {
      const source = randomScan(seed)
        .source.replace(/^train .*$/m, "")
        // The gradient of a gradient, through the loops of both.
        .replace(
          /\}\s*$/,
          `  private fn steep(x: f32[B, T, 3], k: f32[B, 3]) -> f32 { s = slope(x, k);  mean(square(s.w)) + mean(square(s.x)) + mean(square(k @ v)) }
  fn curve(x: f32[B, T, 3], k: f32[B, 3]) -> f32[3, 3] { grad(steep, wrt = v)(x, k) }
}`,
        );
      const model = compileText(source, { targets: [] }).model;
      const random = randomFrom(seed);
      const params = Object.fromEntries(model.params.map((p) => [p.path, drawDense("f32", p.shape, random)]));
      for (const { name, graph } of model.entries)
        for (const inference of [true, false]) {
          let g = graph;
          for (const pass of passes) {
            g = pass.run(g, { inference });
            verify(g, pass.name);
            if (!["hoist", "loops"].includes(pass.name)) continue;
            if (pass.name === "loops") verifyLoops(g, pass.name);
            for (const T of [0, 1, 3]) {
              const x = drawDense("f32", [2, T, 3], random);
              const k = drawDense("f32", [2, 3], random);
              // Means over no steps are NaN, before and after.
              const before = evaluate(graph, { x, k }, { params }).results;
              const after = evaluate(g, { x, k }, { params }).results;
              for (const [r, want] of Object.entries(before)) {
                const wrong = difference(after[r].data, want.data, {
                  name: `${name} after ${pass.name} at T = ${T}: ${r}`,
                  rtol: 1e-9,
                  atol: 1e-9,
                });
                if (wrong) throw new Error(`${wrong}\n${source}`);
              }
            }
          }
        }
    });
    expect(tried).toBeGreaterThan(3);
  }, 600_000);
  it("leave a recurrent layer its recurrent product and its gates", () => {
    const plain = `layer RNN(d: int, h: int) {
  param w: f32[h, d] = zeros()
  param u: f32[h, h] = zeros()
  fn forward(x: f32[B, T, d]) -> (y: f32[B, T, h], s: f32[B, h]) {
    scan xt over x axis 1 with s = zeros(B, h) { s = tanh(xt @ w.T + s @ u.T);  emit y = s }
  }
}`;
    const source = (
      layer: string,
    ): string => `${layer === "RNN" ? plain : `import { ${layer} } from "std/nn"`}
model M(d: int = 8, h: int = 8) {
  cell = ${layer}(d, h)
  fn f(x: f32[B, T, d]) { cell(x) }
  private fn loss(x: f32[B, T, d]) -> f32 { mean(square(cell(x).y)) }
}
train fit for M { minimize loss; with sgd(lr = 1.0) }`;
    const perPass = (layer: string): Record<string, number> => {
      const c = compileText(source(layer), { targets: ["gpu"] });
      return Object.fromEntries(
        c.report.entries.map((e) => [e.name, Number(/^(\d+) \* T/.exec(e.dispatches)?.[1] ?? 1)]),
      );
    };
    for (const [layer, forward, step] of [
      ["RNN", 1, 4],
      ["GRU", 2, 7],
      ["LSTM", 2, 6],
    ] as const) {
      const { f, fit_step } = perPass(layer);
      expect(f, layer).toBeLessThanOrEqual(forward);
      expect(fit_step, layer).toBeLessThanOrEqual(step);
    }
  });
  it("that hand nothing on are none", () => {
    const c = compileText(
      `model M { param w: f32[4, 4] = zeros()
  fn f(x: f32[B, T, 4]) { scan xt over x axis 1 { emit y = softmax(xt @ w) } } }`,
      { targets: ["gpu"], verify: true },
    );
    const left = (g: Graph): boolean => g.nodes.some((n) => n.op === scan || n.op === loop);
    expect(left(c.model.entries[0].graph)).toBe(true);
    expect(c.report.entries[0].dispatches).not.toMatch(/T/);
  });
});
