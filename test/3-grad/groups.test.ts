// Parameters by what trains and decays them: placed so that what a step updates is one run, with state for nothing else, and
// the steps PyTorch takes with parameter groups. On the reference evaluator; test/gpu/groups.test.ts runs kernels.
import { describe, expect, it } from "vitest";
import { rangesOf, trainingOrder } from "../../compiler/core/ops/flat.ts";
import { dense } from "../../compiler/core/reference/evaluate.ts";
import { farthest, groups, groupsSource } from "../support/groups.ts";
import { compileText } from "../support/module.ts";
import { referenceNet } from "../support/reference.ts";

describe("parameter groups", () => {
  it("take PyTorch's steps", () => {
    const compiled = compileText(groupsSource, { targets: ["baseline"] });
    const tensors = Object.fromEntries(
      Object.entries(groups.begin).map(([path, { shape, data }]) => [path, dense("f32", shape, data)]),
    );
    const net = referenceNet(compiled, { tensors });
    const inputs = { x: dense("f32", [4, 6], groups.x), y: dense("i32", [4], groups.y) };
    for (const [i, { block, loss, after }] of groups.steps.entries()) {
      const out = net.step(block, inputs);
      expect(Math.abs(out.loss.data[0] - loss), `step ${i}: loss`).toBeLessThan(1e-9);
      for (const [path, want] of Object.entries(after))
        expect(farthest(net.tensor(path).data, want), `step ${i}: ${path}`).toBeLessThan(1e-9);
    }
  });

  const source = (clauses: string): string => `model M() {
    param body: f32[300, 300] = ones()
    param head: f32[10, 300]  = ones()
    param bias: f32[10]       = zeros()
    fn loss(x: f32[N, 300]) -> f32 { mean((x @ body) @ head.T + bias) }
  }
  train fit for M { minimize loss; ${clauses} }`;
  const artefactOf = (clauses: string) => compileText(source(clauses), { targets: ["gpu"] }).artefact;
  const moments = (clauses: string): number =>
    artefactOf(clauses)
      .state.filter((s) => s.path.startsWith("fit.exp_avg"))
      .reduce((n, s) => n + s.bytes, 0);

  it("keep no state for what is frozen", () => {
    const all = moments("with adamw(lr = 0.1)");
    const few = moments("frozen body; with adamw(lr = 0.1)");
    expect(all).toBeGreaterThanOrEqual(2 * 4 * (90_000 + 3000 + 10));
    // A multiple of 64 rows of 256 bytes.
    expect(few).toBe(2 * 16_384);
  });

  it("keep no tables: literals do not grow with the model", () => {
    for (const clauses of [
      'with adamw(lr = 0.1, no_decay = ["bias"])',
      'with adamw(lr = 0.1, no_decay = ["head"])',
      'frozen head; with sgd(lr = 0.1, weight_decay = 0.1, no_decay = ["bias"])',
    ]) {
      const { programs, constants } = artefactOf(clauses);
      // What workgroups count in.
      expect(programs[0].constantBytes).toBe(256);
      expect(constants).toBeUndefined();
    }
  });

  it("are listed in the author's order, wherever they lie", () => {
    const plain = artefactOf("with adamw(lr = 0.1)").params;
    const moved = artefactOf('frozen body; with adamw(lr = 0.1, no_decay = ["head"])').params;
    expect(moved.map((p) => p.path)).toEqual(["body", "head", "bias"]);
    expect(plain.map((p) => p.offset)).toEqual([...plain.map((p) => p.offset)].sort((a, b) => a - b));
    const at = Object.fromEntries(moved.map((p) => [p.path, p.offset]));
    expect(at.bias).toBe(0);
    expect(at.head).toBeGreaterThan(at.bias);
    expect(at.body).toBeGreaterThan(at.head);
  });
});

describe("rules and groups", () => {
  const MODEL = `import { Linear } from "std/nn"
model M() {
  a = Linear(6, 5)
  b = Linear(5, 5)
  c = Linear(5, 5)
  e = Linear(5, 3)
  param half: f16[5] = ones()
  fn loss(x: f32[N, 6], y: i32[N]) -> f32 {
    cross_entropy((x |> a |> tanh |> b |> tanh |> c |> tanh) * f32(half) |> e, y)
  }
}
`;
  const inputs = { x: dense("f32", [4, 6], groups.x), y: dense("i32", [4], groups.y) };
  const paths = ["a", "b", "c", "e"].flatMap((l) => [`${l}.weight`, `${l}.bias`]).concat("half");
  const BLOCKS = [
    'train one   for M { minimize loss; with sgd(lr = 0.1, momentum = 0.9) for a.*, c.*; with adam(lr = 0.02, weight_decay = 0.2, no_decay = ["*.bias"]) }',
    "train two   for M { minimize loss; frozen a.*; with adamw(lr = 0.05) for b.weight, e.bias; with lamb(lr = 0.1) for half, c.weight; with rmsprop(lr = 0.03) }",
    "train three for M { minimize loss; update c.*, a.bias, half; with lion(lr = 0.01) for c.bias; with sgd(lr = 0.2) }",
    "train four  for M { minimize loss; update b.*, e.*; with nadam(lr = 0.1) for e.*; with nadam(lr = 0.01) }",
  ];
  it("of one block do not depend on how others lay parameters out", () => {
    const all = compileText(MODEL + BLOCKS.join("\n"), { targets: ["gpu"] });
    for (const block of BLOCKS) {
      const name = block.split(" ")[1];
      const [joint, alone] = [all, compileText(MODEL + block, { targets: ["gpu"] })].map((c) =>
        referenceNet(c, { seed: 5 }),
      );
      for (let i = 0; i < 3; i++) {
        joint.step(name, inputs);
        alone.step(name, inputs);
      }
      for (const p of paths)
        expect(farthest(joint.tensor(p).data, alone.tensor(p).data), `${name}: ${p}`).toBeLessThan(1e-12);
    }
  });
  it("take turns, each with a state of its own", () => {
    const net = referenceNet(compileText(MODEL + BLOCKS.join("\n"), { targets: ["gpu"] }), { seed: 5 });
    const values = () => Object.fromEntries(paths.map((p) => [p, [...net.tensor(p).data]]));
    for (const [name, trained] of [
      ["one", paths],
      ["two", paths.filter((p) => !p.startsWith("a"))],
      ["three", ["c.weight", "c.bias", "a.bias", "half"]],
      ["four", ["b.weight", "b.bias", "e.weight", "e.bias"]],
      ["two", paths.filter((p) => !p.startsWith("a"))],
    ] as const) {
      const before = values();
      expect(net.step(name, inputs).bad_step.data[0]).toBe(0);
      const after = values();
      for (const p of paths)
        expect(JSON.stringify(after[p]) !== JSON.stringify(before[p]), `${name}: ${p}`).toBe(
          (trained as readonly string[]).includes(p),
        );
    }
    expect(net.tensor("two.step").data[0]).toBe(2);
    expect(net.tensor("three.step").data[0]).toBe(1);
  });
  it("follow another rate where theirs is a part of it, and have one of their own", () => {
    const source = `${MODEL}train fit for M { minimize loss; with sgd(lr = 0.1 * lr) for a.*; with sgd(lr = 0.5) for b.*; with sgd(lr = 1) }`;
    const compiled = compileText(source, { targets: ["gpu"] });
    expect(compiled.reference.steps[0].hyper).toEqual({ lr: 1, lr_1: ["*", 0.1, "lr"], lr_2: 0.5 });
    const moved = (hyper: Record<string, number>): number[] => {
      const net = referenceNet(compiled, { seed: 5 });
      const before = ["a.bias", "b.bias", "c.bias"].map((p) => net.tensor(p).data[0]);
      net.step("fit", inputs, hyper);
      return ["a.bias", "b.bias", "c.bias"].map((p, i) => net.tensor(p).data[0] - before[i]);
    };
    const plain = moved({});
    const near = (got: number[], by: number[]): void =>
      got.forEach((m, i) => {
        expect(m).toBeCloseTo(plain[i] * by[i], 6);
      });
    near(moved({ lr: 3 }), [3, 1, 3]);
    near(moved({ lr_1: 0.3 }), [3, 1, 1]);
    near(moved({ lr_2: 0 }), [1, 0, 1]);
  });
});

describe("the order of parameters", () => {
  const list = ["p", "q", "r", "s"].map((path) => ({ path }));
  const use = (block: string, trained: string, first = trained) => ({
    block,
    trained: new Map([...trained].map((p) => [p, { rule: 0, group: first.includes(p) ? 0 : 1 }])),
  });
  const order = (...uses: ReturnType<typeof use>[]): string =>
    trainingOrder(list, uses)
      .map((p) => p.path)
      .join("");
  it("is the author's where all are trained alike", () => {
    expect(order()).toBe("pqrs");
    expect(order(use("a", "pqrs"), use("b", "pqrs"))).toBe("pqrs");
  });
  it("has what is trained first, and of that the first group", () => {
    expect(order(use("a", "qrs", "rs"))).toBe("rsqp");
  });
  it("makes what each of two blocks trains one run", () => {
    for (const [a, b] of [
      ["pq", "rs"],
      ["pr", "qr"],
      ["pqrs", "q"],
      ["s", "qs"],
      ["", "r"],
    ]) {
      const all = order(use("a", a), use("b", b));
      for (const set of [a, b]) {
        const at = [...set].map((c) => all.indexOf(c));
        if (at.length) expect(Math.max(...at) - Math.min(...at), `${all}: ${set}`).toBe(at.length - 1);
      }
    }
  });
  it("is told as ranges", () => {
    const rows = (n: number) => list.slice(0, n).map((p, i) => ({ ...p, rows: [2 * i, 2 * i + 2] as const }));
    expect(rangesOf(rows(4), () => true)).toBeUndefined();
    expect(rangesOf(rows(4), () => false)).toEqual([]);
    expect(rangesOf(rows(4), (x) => x.path !== "q")).toEqual([
      [0, 2],
      [4, 8],
    ]);
  });
});
