// The layer behind a pool has tiles of few rows: an example is a row there, and calls of one are as usual as calls of many.
import { expect, it } from "vitest";
import { cpuSubgroup } from "../../compiler/core/targets.ts";
import { compileText } from "../support/module.ts";

const tilesOf = (source: string): readonly string[] => {
  const text = compileText(source, { targets: [cpuSubgroup], verify: true }).emit(
    "kernels",
    cpuSubgroup.name,
  );
  return [...text.matchAll(/^kernel dot\S* \(contraction\.subgroup (\S+),/gm)].map(([, tile]) => tile);
};

it("behind a convolution, of which it is next to nothing", () => {
  const source = `import { Conv2d, Linear } from "std/nn"
model M() {
  conv = Conv2d(16, 64, 3, padding = 1)
  head = Linear(64, 1000)
  fn f(x: f32[N, 16, H, W]) -> f32[N, 1000] { x |> conv |> relu |> mean([2, 3]) |> head }
}`;
  expect(tilesOf(source)).toEqual(["8x32"]);
});

it("not where it is all there is, nor where a position of a sequence is a row", () => {
  const alone = `import { Linear } from "std/nn"
model M() {
  one = Linear(512, 512)
  two = Linear(512, 512)
  fn f(x: f32[N, 512]) -> f32[N, 512] { x |> one |> relu |> two }
}`;
  // Layers that differ in what follows their sums are one kernel.
  expect(tilesOf(alone)).toEqual(["32x32"]);
  const sequence = `import { Linear } from "std/nn"
model M() {
  wide = Linear(512, 8192)
  back = Linear(8192, 512)
  head = Linear(512, 64)
  fn f(x: f32[B, T, 512]) -> f32[B, T, 64] { x |> wide |> relu |> back |> head }
}`;
  expect(tilesOf(sequence)).toEqual(["32x64"]);
});
