// Buffers that one formula writes are written by it at once (3-grad/alike.ts): which are, and that each has its own value.
import { describe, expect, it } from "vitest";
import { dense } from "../../compiler/core/reference/evaluate.ts";
import { compileText } from "../support/module.ts";
import { referenceNet } from "../support/reference.ts";

const SOURCE = `model M() {
  param w: f32[3] = ones()
  buffer a: f32[3] = ones()
  buffer b: f32[5] = zeros()
  buffer c: f32[3] = ones()
  buffer d: f32[3] = ones()
  buffer e: f32[2] = ones()
  buffer f: f32[2] = ones()
  buffer g: f32[2] = ones()
  buffer h: f32[2] = ones()
  fn loss(x: f32[3], y: f32[5], z: f32[2]) -> f32 {
    a <- lerp(a, x, 0.25)
    b <- lerp(b, y * 2.0, 0.25)
    // Another number: another formula.
    c <- lerp(c, x, 0.5)
    // Another buffer's value beside its own.
    d <- lerp(d, a, 0.5)
    // Nothing beside, and no number where everything is zero.
    e <- e * 2.0
    f <- f * 2.0
    g <- z / g
    h <- z / h
    sum(w * x) + sum(y)
  }
}
train fit for M { minimize loss; with sgd(lr = 0.5) }`;

describe("buffers of one formula", () => {
  const compiled = compileText(SOURCE, { targets: ["gpu"] });
  const { graph } = compiled.reference.steps[0];
  it("are written as one tensor", () => {
    const runs = graph.writes.map((w) => w.path).filter((p) => p.startsWith("$buffers"));
    // a and b, of 256 bytes each; c and d; the others as they are, side by side.
    expect(runs).toEqual(["$buffers.0.128", "$buffers.512.128", "$buffers.1024.256"]);
    const packs = graph.nodes.filter((n) => n.op.name === "pack" && n.label === "written");
    expect(packs.map((n) => n.inputs.length)).toEqual([2, 2, 4]);
  });
  it("have each its own value", () => {
    const net = referenceNet(compiled);
    const inputs = (bad = 0) => ({
      x: dense("f32", [3], [2, 3, 4]),
      y: dense("f32", [5], [1, 2, 3, 4, 5 + bad]),
      z: dense("f32", [2], [8, 4]),
    });
    const values = (path: string): number[] => [...net.tensor(path).data];
    net.step("fit", inputs());
    expect(values("a")).toEqual([1.25, 1.5, 1.75]);
    expect(values("b")).toEqual([0.5, 1, 1.5, 2, 2.5]);
    expect(values("c")).toEqual([1.5, 2, 2.5]);
    expect(values("d")).toEqual([1, 1, 1]);
    expect([values("e"), values("f")]).toEqual([
      [2, 2],
      [2, 2],
    ]);
    expect([values("g"), values("h")]).toEqual([
      [8, 4],
      [8, 4],
    ]);
    net.step("fit", inputs());
    expect(values("d")).toEqual([1.125, 1.25, 1.375]);
    expect(values("g")).toEqual([1, 1]);
    // A bad step writes none of it.
    const before = values("a");
    net.step("fit", inputs(Number.NaN));
    expect(values("a")).toEqual(before);
    expect(values("b").every(Number.isFinite)).toBe(true);
  });
});
