// Literal tensors of every dtype, as an importer writes them: what kernels read is what the graph's text says.
import { describe, expect, it } from "vitest";
import { build, graphModel, parseGraph } from "../../compiler/core/index.ts";
import { dense } from "../../compiler/core/reference/evaluate.ts";
import { targets } from "../support/adapter.ts";
import { testDevice } from "../support/device.ts";
import { GraphNet } from "../support/graphs.ts";

const TEXT = `
graph picked(N) {
  %0: f32[N, 4] = input() {name = "x", dtype = "f32", shape = [N, 4]}
  %1: f32[4] = constant() {data = f32<0.5, -2, 1e-30, 3>, dtype = "f32", shape = [4]}
  %2: i32[4] = constant() {data = i32<-2147483648, -1, 0, 7>, dtype = "i32", shape = [4]}
  %3: u32[4] = constant() {data = u32<4294967295, 1, 0, 2147483648>, dtype = "u32", shape = [4]}
  %4: bool[4] = constant() {data = bool<1, 0, 1, 0>, dtype = "bool", shape = [4]}
  %5: f32[N, 4] = broadcast_to(%1) {shape = [N, 4]}
  %6: f32[N, 4] = add(%0, %5)
  %7: bool[N, 4] = broadcast_to(%4) {shape = [N, 4]}
  %8: f32[N, 4] = where(%7, %6, %0)
  %9: i32[4] = copy(%2)
  %10: u32[4] = copy(%3)
  return y = %8
  return ints = %9
  return words = %10
}`;
const HALF = `
graph half(N) {
  %0: f32[N, 5] = input() {name = "x", dtype = "f32", shape = [N, 5]}
  %1: f16[5] = constant() {data = f16<0.333251953125, -65504, 0.5, 6e-8, 0.1>, dtype = "f16", shape = [5]}
  %2: f32[5] = cast(%1) {dtype = "f32"}
  %3: f32[N, 5] = broadcast_to(%2) {shape = [N, 5]}
  %4: f32[N, 5] = add(%0, %3)
  return y = %4
}`;

describe.each(targets.map((t) => [t.name] as const))("on %s", (target) => {
  it("literal tensors hold what they say", async (context) => {
    const { device } = await testDevice(context);
    const { artefact } = build(graphModel("Constants", [parseGraph(TEXT)]), {
      targets: [target],
      verify: true,
    });
    const net = await GraphNet.load({ artefact }, device, {}, { target });
    const { y, ints, words } = await net.run("picked", { x: dense("f32", [2, 4], [1, 1, 1, 1, 2, 2, 2, 2]) });
    expect([...y.data]).toEqual([1.5, 1, 1, 1, 2.5, 2, 2, 2]);
    expect([...ints.data]).toEqual([-2147483648, -1, 0, 7]);
    expect([...words.data]).toEqual([4294967295, 1, 0, 2147483648]);
    net.dispose();
  });
  it("those in half precision, too", async (context) => {
    const { device } = await testDevice(context);
    if (!device.features.has("shader-f16")) return context.skip("the adapter has no shader-f16");
    const { artefact } = build(graphModel("Half", [parseGraph(HALF)]), { targets: [target], verify: true });
    const net = await GraphNet.load({ artefact }, device, {}, { target });
    const { y } = await net.run("half", { x: dense("f32", [1, 5], [0, 0, 0, 0, 0]) });
    expect([...y.data]).toEqual([0.333251953125, -65504, 0.5, 2 ** -24, Math.fround(0.0999755859375)]);
    net.dispose();
  });
});
