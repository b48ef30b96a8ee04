// Products have a kernel for calls with many tiles and one for calls with few, where a target says so: a call runs one of them, by
// its sizes. Both on the adapter beside the reference, with sums cut and whole, windows, batches and rows that no tile divides.
import { expect, it } from "vitest";
import { type Target, targets } from "../../compiler/core/index.ts";
import { dense } from "../../compiler/core/reference/evaluate.ts";
import { allclose } from "../support/allclose.ts";
import { signed } from "../support/hashing.ts";
import { compileText, testCompiled } from "../support/module.ts";
import { referenceNet } from "../support/reference.ts";

const gpu = targets.find((t) => t.name === "gpu") as Target;
const few: Target = {
  ...gpu,
  name: "gpu-few",
  requires: { features: [], limits: {} },
  tile: { rows: 64, cols: 64, depth: 16, high: 8, wide: 8, slices: 1 },
  scattered: undefined,
  few: { below: 8, tile: gpu.tile },
};

const source = `import { Conv2d } from "std/nn"
model M {
  conv = Conv2d(4, 12, 3, padding = 1)
  fn product(x: f32[N, K], y: f32[K, 70]) -> f32[N, 70] { relu(x @ y) }
  fn pooled(x: f32[N, 4, 10, 10]) -> f32[N, 12, 5, 5] { x |> conv |> relu |> max_pool2d(2) }
  fn pooled_by_threes(x: f32[N, 4, 10, 10]) -> f32[N, 12, 3, 3] { x |> conv |> relu |> max_pool2d(3) }
}`;

const cases: readonly { what: string; target: Target; tiles: readonly string[]; atol?: number }[] = [
  {
    what: "runs the kernel for few tiles or the one for many, by the sizes of the call",
    target: few,
    tiles: ["64x64x16, 8x8 a thread", "32x32x32, 4x4 a thread of 2 slices"],
  },
  {
    what: "shares long sums and windows out to slices",
    target: { ...gpu, requires: few.requires },
    tiles: ["32x32x32, 4x4 a thread of 2 slices", "27x32x32, 9x4 a thread of 2 slices"],
  },
  {
    what: "shares the terms of large tiles out to slices",
    target: { ...few, tile: { ...few.tile, slices: 2 }, few: undefined },
    tiles: ["64x64x16, 8x8 a thread of 2 slices"],
    // One of 9,100 elements, of a sum of 520 terms, was off by 1.3e-5.
    atol: 2e-5,
  },
];
it.for(cases)("$what", async ({ target, tiles, atol = 1e-5 }, context) => {
  const compiled = compileText(source, { targets: [target] });
  const kernels = compiled.emit("kernels", target.name);
  for (const tile of tiles) expect(kernels).toContain(tile);
  const net = await testCompiled(() => compiled).load(context);
  const reference = referenceNet(compiled);
  const compare = async (entry: string, given: Record<string, [number[], Float32Array]>): Promise<void> => {
    const list = Object.entries(given);
    const got = await net.call(
      entry,
      Object.fromEntries(list.map(([k, [shape, data]]) => [k, { shape, data }])),
    );
    const exact = Object.fromEntries(list.map(([k, [shape, data]]) => [k, dense("f32", shape, data)]));
    allclose(got, reference.call(entry, exact)[entry].data, { rtol: 1e-4, atol });
  };
  for (const [n, k] of [
    [0, 40],
    [1, 1],
    [3, 0],
    [33, 300],
    [65, 37],
    [130, 520],
  ]) {
    const x = signed("x", [n, k]);
    if (n === 33) x[17] = Number.NaN;
    await compare("product", { x: [[n, k], x], y: [[k, 70], signed("y", [k, 70])] });
  }
  for (const entry of ["pooled", "pooled_by_threes"])
    for (const n of [0, 1, 3]) await compare(entry, { x: [[n, 4, 10, 10], signed("x", [n, 4, 10, 10])] });
});
