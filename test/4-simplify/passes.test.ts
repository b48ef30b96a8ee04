// Every pass keeps the numbers: random small graphs, with their gradients, evaluated by the reference before and after each,
// verified after each, and carried on to kernels of every target.
import { describe, expect, it } from "vitest";
import { verify } from "../../compiler/core/ir/verify.ts";
import { narrow } from "../../compiler/core/phases/4-simplify/narrow.ts";
import { expand, passes } from "../../compiler/core/phases/4-simplify/simplify.ts";
import { evaluate } from "../../compiler/core/reference/evaluate.ts";
import { budget, firstSeed, untilTimeIsUp } from "../support/budget.ts";
import { buildGraphs, disagreement, type Expected, expectedOf } from "../support/graphs.ts";
import { compileText } from "../support/module.ts";
import { drawDense, randomFrom } from "../support/opcheck.ts";
import { randomGraph } from "../support/random-graphs.ts";

/** What differs between two evaluations; nothing but rounding may. */
function agree(pass: string, before: Expected, after: Expected): void {
  for (const part of ["results", "writes"] as const)
    for (const [name, want] of Object.entries(before[part])) {
      const message = disagreement(`${pass}: ${name}`, after[part][name], want, 1e-7, 1e-9);
      if (message) throw new Error(message);
    }
}

describe("every pass of simplification", () => {
  it.each([
    ["inference", true],
    ["training", false],
  ])(
    "keeps the numbers of random graphs, for %s",
    async (_name, inference) => {
      const n = await untilTimeIsUp(budget(12), firstSeed(inference ? 1 : 50_000), 400, (seed) => {
        const r = randomGraph(seed, { gradients: !inference || seed % 2 === 0 });
        const given = { params: r.params, state: r.state, sizes: r.sizes };
        verify(r.graph, "random");
        const before = expectedOf(r.graph, r.inputs, given);
        let g = r.graph;
        for (const pass of passes) {
          g = pass.run(g, { inference });
          verify(g, pass.name);
          agree(pass.name, before, expectedOf(g, r.inputs, given));
        }
        for (const node of g.nodes) expect(node.op.fuses, node.op.name).not.toBe("composite");
      });
      expect(n).toBeGreaterThan(5);
    },
    120_000,
  );
});

it("gives a part of a product the bits that it has in the whole", () => {
  const { model } = compileText(
    `model M {
    fn last(x: f32[N, T, 5], w: f32[5, 7], b: f32[7]) -> f32[N, 7] { relu(x @ w + b)[:, -1] }
    fn each(x: f32[4, N, 5], w: f32[4, 5, 6], z: f32[4, N, 6]) -> f32[2, N, 3] { ((x @ w) * z)[1:3, :, ::-2] }
    fn row(x: f32[N, 5], w: f32[3, 5, 6]) -> f32[3, 1, 6] { (x @ w)[:, 0:1] }
  }`,
    { targets: [] },
  );
  const shapes = [
    { x: [3, 4, 5], w: [5, 7], b: [7] },
    { x: [4, 3, 5], w: [4, 5, 6], z: [4, 3, 6] },
    { x: [2, 5], w: [3, 5, 6] },
  ];
  model.entries.forEach(({ name, graph }, i) => {
    const draw = randomFrom(i);
    const data = Object.fromEntries(
      Object.entries(shapes[i]).map(([n, shape]) => [n, drawDense("f32", shape, draw)]),
    );
    const before = expand(graph, { inference: true });
    const after = narrow(before);
    expect(after, name).not.toBe(before);
    expect(evaluate(after, data).results).toEqual(evaluate(before, data).results);
  });
});

describe("fusing and planning", () => {
  it("ends in kernels for every target, whatever the graph", async () => {
    const n = await untilTimeIsUp(budget(20), firstSeed(100_000), 400, (seed) => {
      const { artefact } = buildGraphs([
        randomGraph(seed, { gradients: seed % 3 === 0, steps: 4 + (seed % 20) }).graph,
      ]);
      for (const program of artefact.programs)
        for (const kernel of program.kernels) expect(kernel.access.length).toBeLessThanOrEqual(8);
    });
    expect(n).toBeGreaterThan(5);
  }, 120_000);
});

describe("the verifier", () => {
  const { graph } = randomGraph(7, { steps: 6 });
  const last = graph.nodes[graph.nodes.length - 1];

  it("accepts what the builder makes, and names the pass otherwise", () => {
    verify(graph, "test");
    expect(() => verify({ ...graph, nodes: [...graph.nodes].reverse() }, "shuffle")).toThrow(
      /shuffle.*comes before/,
    );
  });
  it("finds operands, sinks and inputs that are not there", () => {
    expect(() => verify({ ...graph, nodes: graph.nodes.slice(0, -1) }, "test")).toThrow(
      /not in the graph|comes before/,
    );
    const other = randomGraph(8).graph.results[0];
    expect(() => verify({ ...graph, results: [other] }, "test")).toThrow(/sink y0 is not in the graph/);
  });
  it("finds types that the operator's rule does not give", () => {
    const wrong = { ...last, outs: [] as never[] };
    expect(() =>
      verify({ ...graph, nodes: [...graph.nodes.slice(0, -1), wrong], results: [] }, "test"),
    ).toThrow(/results, its rule gives/);
  });
  it("finds a state written twice", () => {
    const one = randomGraph(9).graph;
    const value = one.results[0].value;
    expect(() => verify({ ...one, writes: [0, 1].map(() => ({ path: "s", value })) }, "test")).toThrow(
      /written twice/,
    );
  });
});
