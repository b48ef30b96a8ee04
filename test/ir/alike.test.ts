// Graphs that were made apart and say the same: what counts, and what does not.
import { describe, expect, it } from "vitest";
import { sameGraph, startsAlike } from "../../compiler/core/ir/alike.ts";
import { parseGraph } from "../../compiler/core/ir/parse.ts";
import { printGraph } from "../../compiler/core/ir/print.ts";
import type { Graph } from "../../compiler/core/ir/types.ts";
import { opNamed } from "../../compiler/core/ops/index.ts";
import { randomGraph } from "../support/random-graphs.ts";

const TEXT = `graph f(T, N) {
  %0: f32[T, N] = input() {name = "x", dtype = "f32", shape = [T, N]} "x"
  %1: f32[N] = full() {value = 0, dtype = "f32", shape = [N]}
  %2: f32[N] = scan(%0, %1) {body = "@body0", xs = 1, carries = 1, axes = [0], emitAxes = [], count = T, reverse = false}
  %3: f32[N] = exp(%2) "e"
  %4: f32[N] = sub(%3, %1)
  return y = %4
  return z = %3
}
graph body0(N) {
  %0: f32[N] = input() {name = "in0", dtype = "f32", shape = [N]} "xt"
  %1: f32[N] = input() {name = "in1", dtype = "f32", shape = [N]} "s"
  %2: f32[N] = add(%1, %0)
  %3: f32[N] = tanh(%2)
  return s = %3
}`;
const read = (text: string): Graph => parseGraph(text, opNamed);

describe("two graphs", () => {
  it("that were read from one text are the same", () => {
    expect(sameGraph(read(TEXT), read(TEXT))).toBe(true);
    for (let seed = 0; seed < 20; seed++) {
      const { graph } = randomGraph(seed, { gradients: seed % 2 === 0 });
      expect(sameGraph(graph, randomGraph(seed, { gradients: seed % 2 === 0 }).graph)).toBe(true);
      const again = read(printGraph(graph));
      expect(sameGraph(again, read(printGraph(again)))).toBe(true);
    }
  });
  it.each([
    ["another operator", "exp(%2)", "tanh(%2)"],
    ["another operand", "sub(%3, %1)", "sub(%3, %2)"],
    ["operands the other way round", "sub(%3, %1)", "sub(%1, %3)"],
    ["another attribute", "reverse = false", "reverse = true"],
    ["another body", "tanh(%2)", "exp(%2)"],
    ["another result", "return z = %3", "return z = %2"],
    ["a result under another name", "return z", "return w"],
    ["another label", '"e"', '"h"'],
    ["other symbols", "graph f(T, N)", "graph f(N, T)"],
  ])("differ by %s", (_what, from, to) => {
    expect(TEXT).toContain(from);
    expect(sameGraph(read(TEXT), read(TEXT.replace(from, to)))).toBe(false);
  });
  it("start alike where one gives more", () => {
    const fewer = TEXT.replace("  return z = %3\n", "");
    expect(startsAlike(read(TEXT), read(fewer))).toBe(true);
    expect(startsAlike(read(fewer), read(TEXT))).toBe(false);
    expect(startsAlike(read(TEXT), read(fewer.replace('"e"', '"h"')))).toBe(true);
    expect(startsAlike(read(TEXT), read(fewer.replace("return y = %4", "return y = %3")))).toBe(false);
  });
});
