// Random windows on the adapter: filters for each channel and for all, and pools, of random sizes, steps and borders, over images
// of known and of open sizes, with their gradients, against the reference evaluator on the checked graph. On the adapter's own
// target, whose kernels it compiles soonest.
import { afterEach, describe, expect, it } from "vitest";
import type { Dense } from "../../compiler/core/ir/types.ts";
import { own } from "../support/adapter.ts";
import { budget, firstSeed, untilTimeIsUp } from "../support/budget.ts";
import { testDevice } from "../support/device.ts";
import { disagreement, expectedOf, GraphNet } from "../support/graphs.ts";
import { compileText } from "../support/module.ts";
import { drawDense, randomFrom } from "../support/opcheck.ts";

let open: GraphNet | undefined;
afterEach(() => open?.dispose());

interface Drawn {
  readonly source: string;
  /** Shapes of what its entries take. */
  readonly inputs: Readonly<Record<string, readonly number[]>>;
}

/** A model of a product for each element, windows over what comes out, and a product again. */
function drawWindows(random: () => number): Drawn {
  const pick = <T>(of: readonly T[]): T => of[Math.floor(random() * of.length)];
  const from = (least: number, most: number): number => least + Math.floor(random() * (most - least + 1));
  const pair = (draw: () => number): readonly [number, number] => [draw(), draw()];
  const channels = pick([4, 8, 12]);
  const kernel = pair(() => from(1, 5));
  const dilation = pair(() => pick([1, 1, 2]));
  const padding = kernel.map((k) => from(0, Math.floor(k / 2)));
  const spans = kernel.map((k, i) => (k - 1) * dilation[i] + 1);
  const [high, wide] = [from(spans[0], 40), from(spans[1], 14)];
  const count = from(1, 3);
  const known = { stride: pair(() => pick([1, 1, 2])), padding, dilation };
  const text = Object.entries(known)
    .map(([name, list]) => `${name} = [${list.join()}]`)
    .join(", ");
  const [windows, each] = pick([
    [`conv2d(a, w, ${text}, groups = ${channels})`, 1],
    [`conv2d(a, w, ${text})`, channels],
    [`max_pool2d(a * mean(w), [${kernel.join()}], ${text})`, 1],
  ] as const);
  const inputs = {
    x: [count, 3, high, wide],
    v: [channels, 3, 1, 1],
    w: [channels, each, ...kernel],
    z: [3, channels, 1, 1],
  };
  const open = new Set(["x0", ...(random() < 0.5 ? ["x3"] : [])]);
  const names = { x0: "N", x3: "W" } as Readonly<Record<string, string>>;
  const given = Object.entries(inputs)
    .map(
      ([x, shape]) =>
        `${x}: f32[${shape.map((n, i) => (open.has(`${x}${i}`) ? names[`${x}${i}`] : n)).join(", ")}]`,
    )
    .join(", ");
  const shapeOf = (x: string): string => given.split(`${x}: `)[1].split("]")[0].concat("]");
  const source = `model M() {
  private fn go(${given}) -> f32[N, 3] {
    a = conv2d(x, v)
    b = ${pick(["relu", "gelu", "tanh", "silu"])}(${windows})
    mean(tanh(conv2d(b, z)), axis = [2, 3])
  }
  private fn size(${given}) -> f32 { sum(go(x, v, w, z) ** 2) }
  fn f(${given}) -> f32[N, 3] { go(x, v, w, z) }
  fn slope_x(${given}) -> ${shapeOf("x")} { grad(size, wrt = x)(x, v, w, z) }
  fn slope_w(${given}) -> ${shapeOf("w")} { grad(size, wrt = w)(x, v, w, z) }
}`;
  return { source, inputs };
}

const target = own.name;
describe(`on ${target}`, () => {
  it("random windows and their gradients agree with the reference", async (context) => {
    const { device } = await testDevice(context);
    const n = await untilTimeIsUp(budget(20), firstSeed(40_000), 40, async (seed) => {
      const random = randomFrom(seed);
      const { source, inputs: shapes } = drawWindows(random);
      const c = compileText(source, { targets: [target] });
      const inputs: Record<string, Dense> = Object.fromEntries(
        Object.entries(shapes).map(([x, shape]) => [x, drawDense("f32", shape, random)]),
      );
      const net = await GraphNet.load(c, device, {}, { target });
      open = net;
      try {
        for (const { name, graph } of c.model.entries) {
          const want = expectedOf(graph, inputs, {});
          const got = await net.run(name, inputs);
          for (const [k, v] of Object.entries(want.results)) {
            const message = disagreement(`${name} of seed ${seed}: ${k}`, got[k], v, want.slack[k]);
            if (message) throw new Error(`${message}\n${source}`);
          }
        }
      } finally {
        net.dispose();
      }
    });
    expect(n).toBeGreaterThan(0);
  });
});
