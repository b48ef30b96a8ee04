// The rules that loops, and values that are laid out, are held to after every step: each is broken once, and said.
import { describe, expect, it } from "vitest";
import { parseGraph } from "../../compiler/core/ir/parse.ts";
import type { Graph, Node, Value } from "../../compiler/core/ir/types.ts";
import { opNamed } from "../../compiler/core/ops/index.ts";
import { verifyLoops } from "../../compiler/core/phases/4-simplify/loops.ts";
import { fuse } from "../../compiler/core/phases/5-fuse/fuse.ts";
import { type Laid, layout } from "../../compiler/core/phases/6-layout/layout.ts";
import { verifyLaid } from "../../compiler/core/phases/6-layout/verify.ts";

describe("loops", () => {
  const LOOP = `graph f(T) {
  %0: f32[T, 3] = input() {name = "x", dtype = "f32", shape = [T, 3]} "x"
  %1: f32[3] = full() {value = 0, dtype = "f32", shape = [3]}
  %2: f32[3], %3: f32[T, 3] = loop(%0, %1) {body = "@body0", symbol = "$t0", count = T, begin = [1], emitAxes = [0], index = $t0}
  return s = %2
  return y = %3
}
graph body0(T, $t0) {
  %0: f32[3] = outside() {index = 1, dtype = "f32", shape = [3]} "s"
  %1: f32[T, 3] = outside() {index = 0, dtype = "f32", shape = [T, 3]} "x"
  %2: f32[3] = pick(%1) {axis = 0, index = $t0}
  %3: f32[3] = add(%0, %2)
  %4: f32[3] = copy(%3)
  return s = %3
  return y = %4
}`;
  const check = (...edits: readonly (readonly [string, string])[]) => {
    const text = edits.reduce((t, [from, to]) => {
      expect(t).toContain(from);
      return t.replace(from, to);
    }, LOOP);
    return () => verifyLoops(parseGraph(text, opNamed), "loops");
  };
  it("that are right pass", () => {
    expect(check()).not.toThrow();
  });
  it.each<[string, RegExp, readonly [string, string][]]>([
    [
      "a leaf of an operand that is not there",
      /none of the operands/,
      [["outside() {index = 0", "outside() {index = 2"]],
    ],
    ["two leaves of one operand", /two leaves/, [["outside() {index = 0", "outside() {index = 1"]]],
    [
      "a leaf of another type",
      /operand 0 is f32\[T, 3\], its leaf f32\[3, T\]/,
      [
        [
          '%1: f32[T, 3] = outside() {index = 0, dtype = "f32", shape = [T, 3]}',
          '%1: f32[3, T] = outside() {index = 0, dtype = "f32", shape = [3, T]}',
        ],
      ],
    ],
    ["one operand for two reads", /read by two leaves/, [["loop(%0, %1)", "loop(%0, %1, %0)"]]],
    ["two carries with one beginning", /two carries begin as one/, [["begin = [1]", "begin = [1, 1]"]]],
    [
      "a leaf of an entry",
      /the leaf state is not bound/,
      [
        [
          'outside() {index = 0, dtype = "f32", shape = [T, 3]}',
          'state() {path = "x", dtype = "f32", shape = [T, 3]}',
        ],
      ],
    ],
    ["a result that no kernel stores", /y is a outside/, [["return y = %4", "return y = %0"]]],
    ["a result in two places", /y is stored in two places/, [["return y = %4", "return y = %3"]]],
    [
      "a size from nowhere",
      /U is no size in pick/,
      [["pick(%1) {axis = 0, index = $t0}", "pick(%1) {axis = 0, index = U}"]],
    ],
    [
      "a scan",
      /a scan was not lowered/,
      [['loop(%0, %1) {body = "@body0", symbol', 'scan(%0, %1) {body = "@body0", symbol']],
    ],
  ])("%s is found", (_what, message, edits) => {
    expect(check(...edits)).toThrow(message);
  });
  it("a counter of a loop around it is found", () => {
    const graph = parseGraph(LOOP, opNamed);
    expect(() => verifyLoops(graph, "loops", ["$t0"])).toThrow(/counts a loop around this one/);
  });
});

describe("values that are laid out", () => {
  const made = (text: string, derive = true): Laid => {
    const graph: Graph = parseGraph(text, opNamed);
    return layout(fuse(graph, { maxBindings: 8, derive }), { derive, maxBindings: 8 });
  };
  /** A convolution over a packed weight, whose result lies with its channels innermost, and what reads it. */
  const conv = (): Laid =>
    made(`graph f(N) {
  %0: f32[N, 4, 10, 10] = input() {name = "x", dtype = "f32", shape = [N, 4, 10, 10]}
  %1: f32[8, 4, 3, 3] = param() {path = "w", dtype = "f32", shape = [8, 4, 3, 3]}
  %2: f32[N, 8, 8, 8] = conv2d(%0, %1) {stride = [1, 1], padding = [0, 0], dilation = [1, 1], groups = 1, padding_high = [0, 0]}
  %3: f32[N, 8] = sum(%2) {axes = [2, 3], keepdims = false}
  %4: f32[8, N] = transpose(%3) {perm = [1, 0]}
  %5: f32[8, N] = tanh(%4)
  return y = %5
  return s = %3
}`);
  /** An update in place, and a sum of the old value. */
  const update = (): Laid =>
    made(`graph f() {
  %0: f32[4] = input() {name = "x", dtype = "f32", shape = [4]}
  %1: f32[4] = state() {path = "m", dtype = "f32", shape = [4]}
  %2: f32[4] = add(%1, %0)
  %3: f32[] = sum(%1) {axes = [0], keepdims = false}
  write "m" <- %2
  return y = %3
}`);
  const named = (laid: Laid, op: string): Value =>
    [...laid.fused.home.keys()].find((v) => v.node.op.name === op) as Value;
  const broken = (laid: Laid) => () => verifyLaid(laid, "layout");

  it("pass where they are right", () => {
    expect(broken(conv())).not.toThrow();
    expect(broken(update())).not.toThrow();
    const laid = conv();
    expect(laid.layouts.order(named(laid, "conv2d"))).toEqual([0, 2, 3, 1]);
  });
  it("an order that is none is found", () => {
    const laid = conv();
    laid.layouts.set(named(laid, "conv2d"), { order: [0, 2, 3, 3] });
    expect(broken(laid)).toThrow(/lies as \[0, 2, 3, 3\], which is no order of its axes/);
  });
  it("a result in an order of its own is found", () => {
    const laid = conv();
    laid.layouts.set(named(laid, "sum"), { order: [1, 0] });
    expect(broken(laid)).toThrow(/sum#\d+ lies in an order of its own and is a result/);
  });
  it("a written value in an order of its own is found", () => {
    const laid = update();
    const wide: Laid = { ...laid, layouts: { ...laid.layouts, order: () => [1] } };
    expect(broken(wide)).toThrow(/no order of its axes/);
  });
  it("a value that is at home elsewhere is found", () => {
    const laid = conv();
    const [a, b] = laid.fused.groups;
    const home = new Map(laid.fused.home).set(a.roots[0], b);
    expect(broken({ ...laid, fused: { ...laid.fused, home } })).toThrow(/at home in another region/);
  });
  it("an alias of other elements, or of what is not stored, is found", () => {
    const laid = conv();
    const [sum, conv2d] = [named(laid, "sum"), named(laid, "conv2d")];
    const withAlias = (v: Value, base: Value): Laid => ({
      ...laid,
      fused: { ...laid.fused, alias: new Map([[v, base]]) },
    });
    expect(broken(withAlias(sum, conv2d))).toThrow(/conv2d#\d+ lies in an order of its own/);
    laid.layouts.set(conv2d, { order: [0, 1, 2, 3] });
    expect(broken(withAlias(sum, conv2d))).toThrow(/has other elements than conv2d/);
    expect(broken(withAlias(sum, sum.node.inputs[0].node.inputs[0]))).toThrow(/which no kernel stores/);
  });
  it("a region that is missing, or runs too early, is found", () => {
    const laid = conv();
    expect(broken({ ...laid, order: laid.order.slice(1) })).toThrow(/not those that were made/);
    expect(broken({ ...laid, order: [...laid.order].reverse() })).toThrow(/before it is there/);
  });
  it("a packed copy of something else is found", () => {
    const laid = conv();
    const [[g, copies]] = [...laid.packed];
    const [[of, made]] = [...copies];
    const other = { ...made.node, inputs: [named(laid, "sum")] } as Node;
    const wrong = { ...made, node: other };
    expect(broken({ ...laid, packed: new Map([[g, new Map([[of, wrong]])]]) })).toThrow(
      /is no copy of it|before it is there|is not there when/,
    );
  });
  it("what is overwritten while others need it is found", () => {
    const laid = update();
    expect(laid.inPlace.size).toBe(1);
    expect(broken({ ...laid, order: [...laid.order].reverse() })).toThrow(
      /reads state#\d+ after it is overwritten/,
    );
    const [[, source]] = [...laid.inPlace];
    const results = [{ name: "m", value: source }];
    const graph = { ...laid.fused.graph, results };
    expect(broken({ ...laid, fused: { ...laid.fused, graph } })).toThrow(
      /the result state#\d+ is overwritten/,
    );
    const sum = named(laid, "sum");
    expect(broken({ ...laid, inPlace: new Map([[sum, source]]) })).toThrow(/no pointwise kernel of the call/);
    const both = new Map([...laid.inPlace, [sum, source] as const]);
    expect(broken({ ...laid, inPlace: both })).toThrow(/one state is overwritten twice/);
  });
});
