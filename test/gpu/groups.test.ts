// Parameter groups on the adapter: blocks that train and decay different parameters of one model take PyTorch's steps, and
// what a block does not train keeps every bit.
import { expect, it } from "vitest";
import { own, targets } from "../support/adapter.ts";
import { patient } from "../support/budget.ts";
import { farthest, groups, groupsSource } from "../support/groups.ts";
import { testModule } from "../support/module.ts";

const module = testModule(groupsSource);
const TRAINED: Readonly<Record<string, string>> = { one: "ab", two: "bc", three: "ae", all: "abce" };

// The update is the same kernel on every target; what is around it takes half a minute to compile on the others.
for (const { name: target } of targets.filter((t) => patient || t.name === own.name))
  it(`on ${target}`, async (context) => {
    const net = await module.load(context, { target });
    for (const [path, { shape, data }] of Object.entries(groups.begin))
      await net.base.setParameter(path, { data: Float32Array.from(data), shape });
    const inputs = {
      x: { data: Float32Array.from(groups.x), shape: [4, 6] },
      y: { data: Int32Array.from(groups.y), shape: [4] },
    };
    const paths = Object.keys(groups.begin);
    const all = async (): Promise<Record<string, number[]>> =>
      Object.fromEntries(
        await Promise.all(paths.map(async (p) => [p, Array.from(await net.parameter(p), Number)] as const)),
      );
    let before = await all();
    for (const [i, { block, loss, after }] of groups.steps.entries()) {
      expect(await net.step(block, inputs), `step ${i}`).toBeCloseTo(loss, 5);
      const now = await all();
      for (const path of paths) {
        expect(farthest(now[path], after[path]), `step ${i}: ${path}`).toBeLessThan(2e-5);
        if (!TRAINED[block].includes(path[0]) || path.startsWith("idle"))
          expect(now[path], `step ${i}: ${path} is not trained`).toEqual(before[path]);
      }
      before = now;
    }
  });
