// Random loops on the adapter: what they leave, its gradient, and the step that follows the gradient, against the reference
// evaluator on the checked graph. On one target: where values lie is decided alike for all of them, and the others' kernels
// take this adapter long to compile.
import { afterEach, describe, expect, it } from "vitest";
import type { Dense, Graph } from "../../compiler/core/ir/types.ts";
import { own } from "../support/adapter.ts";
import { budget, firstSeed, untilTimeIsUp } from "../support/budget.ts";
import { testDevice } from "../support/device.ts";
import { disagreement, expectedOf, GraphNet } from "../support/graphs.ts";
import { compileText } from "../support/module.ts";
import { drawDense, randomFrom } from "../support/opcheck.ts";
import { randomScan } from "../support/random-scans.ts";

let open: GraphNet | undefined;
afterEach(() => open?.dispose());

const target = own.name;
describe(`on ${target}`, () => {
  it("random loops, their gradients and steps agree with the reference", async (context) => {
    const { device } = await testDevice(context);
    const n = await untilTimeIsUp(budget(15), firstSeed(9_000), 60, async (seed) => {
      const { source, params: names } = randomScan(seed);
      const c = compileText(source, { targets: [target] });
      const graph = (name: string): Graph => {
        const e = c.model.entries.find((x) => x.name === name);
        if (!e) throw new Error(`no entry ${name}`);
        return e.graph;
      };
      const random = randomFrom(seed + 1);
      const draw = (shape: readonly number[]): Dense => {
        const d = drawDense("f32", shape, random);
        return { ...d, data: d.data.map(Math.fround) };
      };
      const params = { w: draw([3, 3]), v: draw([3, 3]), u: draw([3]) };
      const net = await GraphNet.load(c, device, params, { target });
      open = net;
      try {
        for (const [B, T] of [
          [2, 4],
          [1, 3],
          [2, 1],
        ]) {
          const inputs = { x: draw([B, T, 3]), k: draw([B, 3]) };
          for (const entry of ["f", "slope"]) {
            const want = expectedOf(graph(entry), inputs, { params });
            const got = await net.run(entry, inputs);
            for (const [k, v] of Object.entries(want.results)) {
              const message = disagreement(`${entry} at ${B}, ${T}: ${k}`, got[k], v, want.slack[k]);
              if (message) throw new Error(`${message}\n${source}`);
            }
          }
        }
        const inputs = { x: draw([2, 4, 3]), k: draw([2, 3]) };
        const { results, slack } = expectedOf(graph("slope"), inputs, { params });
        const before = await Promise.all(names.map((p) => net.stored(p)));
        const step = (await net.net.entries.fit_step(
          Object.fromEntries(
            Object.entries(inputs).map(([k, v]) => [k, { data: Float32Array.from(v.data), shape: v.shape }]),
          ),
        )) as { readonly loss: Promise<number> };
        await step.loss;
        for (const [i, p] of names.entries()) {
          const after = await net.stored(p);
          const moved = { ...after, data: before[i].data.map((x, j) => x - after.data[j]) };
          const message = disagreement(`step: ${p}`, moved, results[p], slack[p] + 1e-6);
          if (message) throw new Error(`${message}\n${source}`);
        }
      } finally {
        net.dispose();
      }
    });
    expect(n).toBeGreaterThan(0);
  });
});
