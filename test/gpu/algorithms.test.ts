// Operators that are no function of one element, on the adapter: every way a family offers to compute them, at sizes at which
// it is more than one workgroup or part, against the reference evaluator; and figures of known sums.
import { afterEach, describe, expect, it } from "vitest";
import { dim, sym } from "../../compiler/core/dims/dim.ts";
import { createBuilder, finishGraph } from "../../compiler/core/ir/build.ts";
import type { Attrs, Dense, DType, Graph, OpDef, Value } from "../../compiler/core/ir/types.ts";
import { cast } from "../../compiler/core/ops/axes.ts";
import { mul } from "../../compiler/core/ops/elementwise.ts";
import { cumsumOp } from "../../compiler/core/ops/reduce.ts";
import { input as inputOp } from "../../compiler/core/ops/source.ts";
import { targets } from "../../compiler/core/targets.ts";
import { testDevice } from "../support/device.ts";
import { buildGraphs, disagreement, expectedOf, GraphNet } from "../support/graphs.ts";
import { drawDense, randomFrom } from "../support/opcheck.ts";

let open: GraphNet | undefined;
afterEach(() => open?.dispose());

interface Case {
  readonly name: string;
  /** Types of the operands; sizes may be names. */
  readonly inputs: readonly (readonly [DType, readonly (number | string)[]])[];
  make(b: ReturnType<typeof createBuilder>, inputs: readonly Value[]): Value;
  /** Sizes to call it at, and the range of whole numbers. */
  readonly at: readonly Readonly<Record<string, number>>[];
  readonly range?: readonly [number, number];
}
const graphOf = (c: Case, k: number): Graph => {
  const b = createBuilder();
  const inputs = c.inputs.map(([dtype, shape], i) =>
    b.make(inputOp, [], {
      name: `x${i}`,
      dtype,
      shape: shape.map((n) => (typeof n === "number" ? dim(n) : sym(n))),
    }),
  );
  const value = c.make(b, inputs);
  const symbols = [...new Set(c.inputs.flatMap(([, s]) => s.filter((n) => typeof n === "string")))];
  return finishGraph({
    name: `case${k}`,
    inputs: inputs.map((v) => v.node),
    results: [{ name: "y", value }],
    symbols: symbols as string[],
  });
};
const dataOf = (c: Case, sizes: Readonly<Record<string, number>>, seed: number): Record<string, Dense> => {
  const random = randomFrom(seed);
  return Object.fromEntries(
    c.inputs.map(([dtype, shape], i) => [
      `x${i}`,
      drawDense(
        dtype,
        shape.map((n) => (typeof n === "number" ? n : sizes[n])),
        random,
        dtype === "i32" || dtype === "u32" ? c.range : undefined,
      ),
    ]),
  );
};
const op = (of: OpDef, attrs: Attrs) => (b: ReturnType<typeof createBuilder>, x: readonly Value[]) =>
  b.make(of, x, attrs);

const running: readonly Case[] = [
  {
    name: "the last axis",
    inputs: [["f32", ["R", "K"]]],
    make: op(cumsumOp, { axis: 1, reverse: false }),
    at: [
      { R: 3, K: 2600 },
      { R: 1, K: 1 },
      { R: 70, K: 65 },
      { R: 2, K: 0 },
    ],
  },
  {
    name: "from the end, of what is computed on the way",
    inputs: [["f32", [2, 1030]]],
    make: (b, [x]) => b.make(cumsumOp, [mul(b, x, 0.5)], { axis: 1, reverse: true }),
    at: [{}],
  },
  {
    name: "an axis within",
    inputs: [["f32", [2, "K", 6]]],
    make: op(cumsumOp, { axis: 1, reverse: false }),
    at: [{ K: 1300 }, { K: 3 }],
  },
  {
    name: "an axis within, from the end",
    inputs: [["i32", ["K", 8]]],
    make: op(cumsumOp, { axis: 0, reverse: true }),
    at: [{ K: 2100 }],
    range: [-1000, 1000],
  },
  {
    name: "half precision",
    inputs: [["f32", [3, 700]]],
    make: (b, [x]) => cast(b, b.make(cumsumOp, [cast(b, x, "f16")], { axis: 1, reverse: false }), "f32"),
    at: [{}],
  },
];

async function agree(
  cases: readonly Case[],
  target: (typeof targets)[number],
  device: GPUDevice,
  way: number,
) {
  const graphs = cases.map(graphOf);
  const used = new Set<string>();
  const built = buildGraphs(graphs, [target], undefined, (offers) => {
    const n = Math.min(way, offers.length - 1);
    used.add(offers[n].family.name);
    return offers[n].family.name === offers[0].family.name ? n : 0;
  });
  const net = await GraphNet.load(built, device, {}, { target: target.name });
  open = net;
  const wrong: string[] = [];
  for (const [k, c] of cases.entries())
    for (const sizes of c.at) {
      const data = dataOf(c, sizes, 5 + k);
      const want = expectedOf(graphs[k], data, { sizes });
      const got = await net.run(`case${k}`, data);
      const message = disagreement(c.name, got.y, want.results.y, want.slack.y);
      if (message) wrong.push(`${JSON.stringify(sizes)} ${message}`);
    }
  net.dispose();
  open = undefined;
  expect(wrong).toEqual([]);
  return used;
}

describe.each(targets.map((t) => [t.name, t] as const))("on %s", (_name, target) => {
  it("running sums agree with the reference", async (context) => {
    const { device } = await testDevice(context);
    for (const way of [0, 1]) {
      const used = await agree(running, target, device, way);
      expect(used).toContain("running sum");
    }
  });
});
