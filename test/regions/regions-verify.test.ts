// The rules that regions are held to after every step of fusion: each is broken once, and said.
import { describe, expect, it } from "vitest";
import { parseGraph } from "../../compiler/core/ir/parse.ts";
import type { Node, Value } from "../../compiler/core/ir/types.ts";
import { opNamed } from "../../compiler/core/ops/index.ts";
import { fuse, fuseSteps } from "../../compiler/core/phases/5-fuse/fuse.ts";
import type { Fused, Region } from "../../compiler/core/regions/region.ts";
import { verifyFused, verifyRegions } from "../../compiler/core/regions/verify.ts";
import { randomGraph } from "../support/random-graphs.ts";

const graph = parseGraph(
  `graph f(N) {
  %0: f32[N, 64] = input() {name = "x", dtype = "f32", shape = [N, 64]} "x"
  %1: f32[64, 64] = param() {path = "w", dtype = "f32", shape = [64, 64]} "w"
  %2: f32[64, 64] = exp(%1)
  %3: f32[N, 64] = dot(%0, %2)
  %4: f32[N, 64] = relu(%3)
  %5: f32[64, N] = transpose(%4) {perm = [1, 0]}
  %6: f32[64] = sum(%5) {axes = [1], keepdims = false}
  return y = %6
}`,
  opNamed,
);
const [x, w, exp, dot, relu, , sum] = graph.nodes;
const region = (nodes: readonly Node[], more: Partial<Region> = {}): Region => ({
  id: nodes[0].id,
  kind: "map",
  nodes: new Set(nodes),
  roots: [nodes[nodes.length - 1].outs[0]],
  anchor: nodes[0],
  derived: false,
  ...more,
});

describe("regions", () => {
  const check =
    (...regions: Region[]) =>
    (): void =>
      verifyRegions(graph, regions, "merge");
  it("that are right pass", () => {
    expect(check(region([dot, relu]), region([exp], { derived: true }), region([sum]))).not.toThrow();
  });
  it.each<[string, RegExp, () => void]>([
    [
      "one without what it grew from",
      /merge: f: the map of dot#\d+ does not compute/,
      check(region([relu], { anchor: dot })),
    ],
    [
      "one with a node of another graph",
      /which is not in the graph/,
      check(region([randomGraph(1).graph.results[0].value.node])),
    ],
    ["one with a source", /computes the source param/, check(region([w, exp]))],
    ["a prepared one that needs the call", /known at the call only/, check(region([dot], { derived: true }))],
    [
      "one that stores what it does not compute",
      /stores relu#\d+, which it does not/,
      check(region([dot], { roots: relu.outs })),
    ],
    ["two that store one value", /relu#\d+ is stored twice/, check(region([dot, relu]), region([relu]))],
    [
      "two that wait for each other",
      /waits for another that waits for it/,
      check(region([dot, sum], { roots: [dot.outs[0], sum.outs[0]] }), region([relu])),
    ],
  ])("%s", (_name, message, broken) => {
    expect(broken).toThrow(message);
  });
  it("may read their own values through what is computed again", () => {
    expect(check(region([dot, sum], { roots: [dot.outs[0], sum.outs[0]] }))).not.toThrow();
  });
});

describe("what fusion ends with", () => {
  const fused = fuse(graph, { maxBindings: 8, derive: true });
  const stored = (v: Value): Region => fused.home.get(v) as Region;
  const without = (v: Value): Fused => {
    const home = new Map(fused.home);
    home.delete(v);
    const groups = fused.groups.map((g) => (g.roots.includes(v) ? { ...g, roots: [] } : g));
    for (const g of groups) for (const r of g.roots) home.set(r, g);
    return { ...fused, home, groups };
  };
  it("passes, after every step", () => {
    const steps: string[] = [];
    fuse(graph, { maxBindings: 8, derive: true }, (step, regions) => {
      verifyRegions(graph, regions(), step);
      steps.push(step);
    });
    expect(steps).toEqual(fuseSteps.map((s) => s.name));
    verifyFused(fused, "fuse");
    expect(fused.groups.length).toBe(3);
  });
  it("has a home for everything that is stored, and for nothing else", () => {
    const twin = { ...fused, home: new Map([...fused.home, [sum.outs[0], region([sum])]]) };
    expect(() => verifyFused(twin, "fuse")).toThrow(/sum#\d+ is not at home where it is stored/);
    const loose = { ...fused, home: new Map([...fused.home, [dot.outs[0], stored(relu.outs[0])]]) };
    expect(() => verifyFused(loose, "fuse")).toThrow(/nobody stores dot#\d+ where it is at home/);
    expect(() => verifyFused(without(sum.outs[0]), "fuse")).toThrow(/nobody stores sum#\d+, which the graph/);
  });
  it("runs what is read before what reads it", () => {
    const turned = { ...fused, groups: [...fused.groups].reverse() };
    expect(() => verifyFused(turned, "fuse")).toThrow(/reads \w+#\d+ before it is stored/);
  });
  it("inlines expressions only", () => {
    const opaque = { ...exp.op, lower: undefined };
    const own = { ...exp, op: opaque };
    const value = { ...exp.outs[0], node: own };
    const reader = { ...dot, inputs: [x.outs[0], value] } as Node;
    const result = { ...dot.outs[0], node: reader };
    (reader as { outs: readonly Value[] }).outs = [result];
    const other = { ...graph, nodes: [x, w, own, reader], results: [{ name: "y", value: result }] };
    const g = region([reader], { kind: "contraction" });
    const made = { graph: other, groups: [g], home: new Map([[result, g]]), alias: new Map() };
    expect(() => verifyFused(made, "fuse")).toThrow(/exp#\d+ is no expression, and nobody stores it/);
  });
});
