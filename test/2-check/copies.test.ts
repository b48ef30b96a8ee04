// `target.* <- online.*`: a store into all of an instance, of what another has by the same names. On the reference evaluator.
import { describe, expect, it } from "vitest";
import { dense } from "../../compiler/core/reference/evaluate.ts";
import { farthest } from "../support/groups.ts";
import { compileText } from "../support/module.ts";
import { referenceNet } from "../support/reference.ts";

const SOURCE = (more: string): string => `import { BatchNorm1d, Linear } from "std/nn"
layer Q(d: int) {
  fc = [Linear(d, 8), Linear(8, 2)]
  bn = BatchNorm1d(8)
  fn forward(x: f32[N, d]) -> f32[N, 2] { x |> fc[0] |> bn |> relu |> fc[1] }
}
layer Pair(d: int) {
  online = Q(d)
  target = Q(d)
  fn sync() -> i32 { target.* <- online.*; 1 }
  fn forward(x: f32[N, d]) -> f32[N, 2] { target(x) }
}
model DQN(d: int = 4) {
  online = Q(d)
  target = Q(d)
  pairs  = [Pair(d), Pair(d)]
  frozen target.*, pairs.*
  fn value(x: f32[N, d]) -> f32[N, 2] { online(x) }
  fn goal(x: f32[N, d]) -> f32[N, 2] { target(x) }
  ${more}
}
train fit for DQN { minimize loss; with adam(lr = 0.1) }`;
const LOSS = `fn loss(x: f32[N, d]) -> f32 { mean((online(x) - 1.0) ** 2) }
  fn sync() -> i32 { target.* <- online.*; 1 }
  fn sync_pair() -> i32 { pairs[1].sync() }
  fn part() -> i32 { target.fc[0].* <- online.fc[0].*; 1 }
  fn follow(tau: f32) -> f32 { target.* <- lerp(target.*, online.*, tau); tau }`;

const x = {
  x: dense(
    "f32",
    [5, 4],
    Array.from({ length: 20 }, (_, i) => Math.sin(i)),
  ),
};
const paths = ["fc.0.weight", "fc.0.bias", "fc.1.weight", "fc.1.bias", "bn.weight", "bn.bias"];
const buffers = ["bn.running_mean", "bn.running_var"];

describe("a store into all of an instance", () => {
  const compiled = compileText(SOURCE(LOSS), { targets: ["gpu"] });
  const begun = () => {
    const net = referenceNet(compiled, { seed: 2 });
    for (let i = 0; i < 3; i++) net.step("fit", x);
    return net;
  };
  const values = (net: ReturnType<typeof begun>, path: string): number[] => [...net.tensor(path).data];

  it("copies parameters and buffers", () => {
    const net = begun();
    const before = net.call("value", x).value.data;
    expect(farthest(net.call("goal", x).goal.data, before)).toBeGreaterThan(0.01);
    net.call("sync", {});
    for (const p of [...paths, ...buffers])
      expect(values(net, `target.${p}`), p).toEqual(values(net, `online.${p}`));
    expect(farthest(net.call("goal", x).goal.data, before)).toBe(0);
  });
  it("is of what the expression makes of each", () => {
    const net = begun();
    const old = paths.map((p) => values(net, `target.${p}`));
    net.call("follow", { tau: dense("f32", [], [0.25]) });
    paths.forEach((p, i) => {
      const online = values(net, `online.${p}`);
      const want = old[i].map((v, k) => v + 0.25 * (online[k] - v));
      expect(farthest(values(net, `target.${p}`), want), p).toBeLessThan(1e-6);
    });
  });
  it("goes by paths within the instance, and no further", () => {
    const net = begun();
    const others = ["pairs.0.target.fc.0.weight", "target.fc.0.weight"].map((p) => values(net, p));
    net.call("sync_pair", {});
    for (const p of paths)
      expect(values(net, `pairs.1.target.${p}`)).toEqual(values(net, `pairs.1.online.${p}`));
    expect(["pairs.0.target.fc.0.weight", "target.fc.0.weight"].map((p) => values(net, p))).toEqual(others);
    const second = values(net, "target.fc.1.weight");
    net.call("part", {});
    expect(values(net, "target.fc.0.weight")).toEqual(values(net, "online.fc.0.weight"));
    expect(values(net, "target.fc.1.weight")).toEqual(second);
  });
  it("is a part of a training step, too", () => {
    const loss = `fn loss(x: f32[N, d]) -> f32 {
    target.* <- lerp(target.*, online.*, 0.5)
    mean((online(x) - stop_gradient(target.eval()(x))) ** 2)
  }`;
    const net = referenceNet(compileText(SOURCE(loss), { targets: ["gpu"] }), { seed: 2 });
    const [online, target] = ["online", "target"].map((n) => values(net, `${n}.fc.0.weight`));
    net.step("fit", x);
    // The parameters before the update.
    expect(
      farthest(
        values(net, "target.fc.0.weight"),
        target.map((v, i) => (v + online[i]) / 2),
      ),
    ).toBeLessThan(1e-6);
    expect(values(net, "online.fc.0.weight")).not.toEqual(online);
  });

  it.each([
    ["targt.* <- online.*", "E0704", "nothing is called targt.* here"],
    ["target.* <- onlin.*", "E0704", "nothing is called onlin.* here"],
    ["target.* <- online.fc.*", "E0704", "online.fc has no fc.0.weight"],
    ["target.fc[0].* <- online.fc[1].*", "E0307", "given [2, 8]"],
    ["online.* <- target.*", "E0910", "is stored into by the loss, and trained by this block"],
    ["target.*.weight <- online.*", "E0901", "a store is into all of one instance"],
  ])("cannot be: %s", (store, code, message) => {
    let said = "";
    try {
      compileText(SOURCE(`fn loss(x: f32[N, d]) -> f32 { ${store}; mean(online.fc[0](x)) }`), {
        targets: ["gpu"],
      });
    } catch (error) {
      said = (error as Error).message;
    }
    expect(said).toContain(code);
    expect(said).toContain(message);
  });
});

describe("StochasticDepth", () => {
  const source = (p: number, mode: string): string => `import { StochasticDepth } from "std/nn"
model M() {
  drop = StochasticDepth(${p}, "${mode}")
  param w: f32[3, 2] = ones()
  fn eval_of(x: f32[N, 3, 2]) -> f32[N, 3, 2] { drop(x) }
  fn loss(x: f32[N, 3, 2]) -> f32 { sum(drop(x * w)) }
  fn kept(x: f32[N, 3, 2]) -> f32 { sum(drop(x) * x) / sum(x * x) }
}
train fit for M { minimize loss; gradients; report kept }`;
  const ones = { x: dense("f32", [64, 3, 2], Array(384).fill(1)) };
  it("drops whole rows and scales the others, in training alone", () => {
    const net = referenceNet(compileText(source(0.25, "row"), { targets: ["gpu"] }), { seed: 1 });
    expect([...net.call("eval_of", ones).eval_of.data]).toEqual([...ones.x.data]);
    const { w, kept } = net.call("fit_gradients", ones);
    // Each element of w has the same rows: as many as were kept, times 4 / 3.
    expect(new Set(w.data).size).toBe(1);
    const rows = w.data[0] * 0.75;
    expect(rows).toBeCloseTo(Math.round(rows), 4);
    expect(rows).toBeGreaterThan(38);
    expect(rows).toBeLessThan(58);
    expect(kept.data[0]).toBeCloseTo(w.data[0] / 64, 5);
  });
  it("drops a batch as a whole where it says so", () => {
    const net = referenceNet(compileText(source(0.5, "batch"), { targets: ["gpu"] }), { seed: 1 });
    const seen = new Set(Array.from({ length: 12 }, () => net.call("fit_gradients", ones).kept.data[0]));
    expect([...seen].sort()).toEqual([0, 2]);
  });
});
