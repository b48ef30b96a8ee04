// Random small graphs through the whole compiler, on the adapter: the kernels of every target against the reference
// evaluator; results, gradients and writes to state, over two calls.
import { afterEach, describe, expect, it } from "vitest";
import { targets } from "../support/adapter.ts";
import { budget, firstSeed, untilTimeIsUp } from "../support/budget.ts";
import { testDevice } from "../support/device.ts";
import { buildGraphs, disagreement, expectedOf, GraphNet } from "../support/graphs.ts";
import { randomGraph } from "../support/random-graphs.ts";

let open: GraphNet | undefined;
afterEach(() => open?.dispose());

describe.each(targets.map((t) => [t.name, t] as const))("on %s", (name, target) => {
  it("random graphs agree with the reference", async (context) => {
    const { device } = await testDevice(context);
    const n = await untilTimeIsUp(budget(18), firstSeed(200_000), 150, async (seed) => {
      const r = randomGraph(seed, { gradients: seed % 2 === 0 });
      const built = buildGraphs([r.graph], [target]);
      const net = await GraphNet.load(built, device, { ...r.params, ...r.state }, { target: name });
      open = net;
      let { state } = r;
      for (let call = 0; call < 2; call++) {
        const want = expectedOf(r.graph, r.inputs, { params: r.params, state, sizes: r.sizes });
        const got = await net.run("main", r.inputs);
        const wrong: (string | undefined)[] = [];
        for (const [k, v] of Object.entries(want.results))
          wrong.push(disagreement(k, got[k], v, want.slack[k]));
        for (const [k, v] of Object.entries(want.writes))
          wrong.push(disagreement(`write ${k}`, await net.stored(k), v, want.slack[k]));
        const message = wrong.filter((m) => m !== undefined).join("\n");
        if (message) throw new Error(`call ${call}: ${message}`);
        // The next call begins from what this one left on the device.
        const left: Record<string, (typeof r.state)[string]> = {};
        for (const path of Object.keys(state)) left[path] = await net.stored(path);
        state = left;
      }
      net.dispose();
    });
    expect(n).toBeGreaterThan(3);
  });
});
