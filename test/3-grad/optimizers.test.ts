// Optimisers of std/optim take PyTorch's steps (test/figures/optimizers.golden.json), on the reference evaluator; one of the author's own
// does what it says, and what it must not be is said.
import { describe, expect, it } from "vitest";
import { dense } from "../../compiler/core/reference/evaluate.ts";
import { projectFile } from "../support/files.ts";
import { farthest } from "../support/groups.ts";
import { compileText } from "../support/module.ts";
import { referenceNet } from "../support/reference.ts";

const figures = JSON.parse(projectFile("test/figures/optimizers.golden.json")) as {
  readonly begin: Readonly<
    Record<string, { readonly shape: readonly number[]; readonly data: readonly number[] }>
  >;
  readonly x: readonly number[];
  readonly y: readonly number[];
  readonly runs: Readonly<
    Record<
      string,
      { readonly losses: readonly number[]; readonly after: Readonly<Record<string, readonly number[]>> }
    >
  >;
};
const MODEL = `import { Linear } from "std/nn"
model M() {
  a = Linear(5, 4)
  b = Linear(4, 6)
  c = Linear(6, 3)
  fn loss(x: f32[N, 5], y: i32[N]) -> f32 { cross_entropy(x |> a |> tanh |> b |> tanh |> c, y) }
}
`;
const tensors = Object.fromEntries(
  Object.entries(figures.begin).map(([path, { shape, data }]) => [path, dense("f32", shape, data)]),
);
const inputs = { x: dense("f32", [7, 5], figures.x), y: dense("i32", [7], figures.y) };

describe("optimisers take PyTorch's steps", () => {
  // All of them in one program: each is a train block.
  const runs = Object.entries(figures.runs);
  const blocks = runs.map(([clauses], i) => `train t${i} for M { minimize loss; ${clauses} }\n`);
  const compiled = compileText(MODEL + blocks.join(""), { targets: ["baseline"] });
  it.each(runs.map(([clauses, run], i) => ({ clauses, run, i })))("$clauses", ({ run, i }) => {
    const net = referenceNet(compiled, { tensors });
    // PyTorch keeps some numbers in single precision (NAdam's product), and so does what an optimiser begins with here.
    for (const loss of run.losses) expect(net.step(`t${i}`, inputs).loss.data[0]).toBeCloseTo(loss, 7);
    for (const [path, want] of Object.entries(run.after))
      expect(farthest(net.tensor(path).data, want), path).toBeLessThan(1e-7);
  });
});

describe("an optimiser of the author's own", () => {
  const model = (more: string): string => `model M() {
  param w: f32[3, 2] = ones()
  param v: f32[4] = ones()
  fn loss(x: f32[3]) -> f32 { sum((x @ w) ** 2) + sum(v * v) }
}
${more}`;
  const errors = (text: string): string => {
    try {
      compileText(model(text), { targets: ["gpu"] });
    } catch (error) {
      return (error as Error).message;
    }
    return "";
  };

  it("has its numbers, its state and its update", () => {
    const compiled = compileText(
      model(`/// Steps by the sign; how many there were of each element, and the largest norm of all, are kept.
optimizer signs(lr: schedule = 0.5, fade: float = 0.5) {
  buffer moved: f32 = 0
  buffer rate: f32 = 2
  fn update(w: f32, g: f32, t: f32) -> f32 {
    moved <- moved + abs(sign(g))
    rate <- rate * fade
    w - sign(g) * (lr * rate) / t
  }
}
train fit for M { minimize loss; with signs(lr = linear(1, final = 0)) }`),
      { targets: ["gpu"] },
    );
    const net = referenceNet(compiled, { totalSteps: 4 });
    const x = { x: dense("f32", [3], [1, 0, -1]) };
    for (let i = 0; i < 2; i++) net.step("fit", x);
    // lr 1, then 0.75; rate 2, then 1; the number of the step 1, then 2. Of (x @ w) nothing moves: it is 0.
    expect([...net.tensor("v").data]).toEqual(Array(4).fill(1 - 2 + 0.375));
    expect([...net.tensor("w").data]).toEqual(Array(6).fill(1));
    // One number for all, where it hangs on no element.
    expect(net.tensor("fit.rate")).toMatchObject({ shape: [], data: Float64Array.of(0.5) });
    expect(net.tensor("fit.moved").shape).toEqual([64 * 64]);
  });

  it("sees whole parameters where it says f32[...], each with a state of its own", () => {
    const compiled = compileText(
      model(`optimizer normed(lr: schedule = 1) {
  buffer norm: f32 = 0
  buffer last: f32[...] = 0
  fn update(w: f32[...], g: f32[...]) -> f32[...] {
    n = sqrt(sum(g * g))
    norm <- norm + n
    last <- g
    w - (g + last) * lr / n
  }
}
train fit for M { minimize loss; with normed(lr = 0.5) }`),
      { targets: ["gpu"] },
    );
    const net = referenceNet(compiled);
    const x = { x: dense("f32", [3], [1, 1, 1]) };
    net.step("fit", x);
    // d/dv is 2 each, of norm 4; d/dw is 2 * 3 each, of norm 6 * sqrt(6).
    expect([...net.tensor("v").data]).toEqual(Array(4).fill(0.75));
    for (const w of net.tensor("w").data) expect(w).toBeCloseTo(1 - 3 / (6 * Math.sqrt(6)), 6);
    // 256 bytes for each parameter: w, then v.
    const norms = net.tensor("fit.norm");
    expect(norms.shape).toEqual([128]);
    expect(norms.data[0]).toBeCloseTo(6 * Math.sqrt(6), 5);
    expect(norms.data[64]).toBe(4);
    expect([...net.tensor("fit.last").data.slice(64, 68)]).toEqual([2, 2, 2, 2]);
  });

  it("sees a whole parameter of one number, too", () => {
    const source = `model M() {
  param s: f32 = 2
  fn loss(x: f32[3]) -> f32 { sum(x * s) }
}
train fit for M { minimize loss; with lamb(lr = 0.1) }`;
    const net = referenceNet(compileText(source, { targets: ["gpu"] }));
    net.step("fit", { x: dense("f32", [3], [1, 2, 3]) });
    // As long as the parameter, times the rate, whatever the gradient and the weight decay are.
    expect(net.tensor("s").data[0]).toBeCloseTo(2 - 0.1 * 2, 12);
  });

  const one = (update: string, more = ""): string =>
    `optimizer own(lr: schedule = 1) { ${more}; fn update(w: f32, g: f32) -> f32 { ${update} } }
train fit for M { minimize loss; with own() }`;
  it.each([
    ["the sum of an element", one("w - sum(g)"), "E0303", "own cannot use sum of one element"],
    ["a random number", one("w - dropout(g, 0.5)"), "E0303", "own draws random numbers"],
    [
      "an update of nothing",
      `optimizer own() { buffer s: f32 = 0 }
train fit for M { minimize loss; with own() }`,
      "E0204",
      "own has no fn update",
    ],
    ["a parameter", one("w - g", "param p: f32 = 0"), "E0206", "own declares a parameter"],
    [
      "a draw as a beginning",
      one("w - g", "buffer s: f32 = normal(1)"),
      "E0706",
      "s of an optimizer begins as one number",
    ],
    [
      "a result of another shape",
      `optimizer own() { fn update(w: f32[...], g: f32[...]) { sum(w) } }
train fit for M { minimize loss; with own() }`,
      "E0405",
      "not the parameter's next value",
    ],
    [
      "no such number",
      `${one("w - g").replace("own()", "own(rate = 1)")}`,
      "E0603",
      "own has no parameter rate",
    ],
    [
      "a schedule for what is fixed",
      `train fit for M { minimize loss; with sgd(momentum = cosine(1)) }`,
      "E0605",
      "momentum takes a number; lr and weight_decay may follow a schedule",
    ],
    [
      "nothing that is trained",
      `train fit for M { minimize loss; frozen v; with sgd() for v; with adam() }`,
      "E0908",
      "this block trains nothing that v names",
    ],
    [
      "two groups for one",
      `train fit for M { minimize loss; with sgd() for v; with adam() for "*" }`,
      "E0905",
      "v is in two groups",
    ],
    [
      "two for the rest",
      `train fit for M { minimize loss; with sgd(); with adam() }`,
      "E0905",
      "with stands twice",
    ],
    ["none for the rest", `train fit for M { minimize loss; with sgd() for v }`, "E0904", "no with is for w"],
    ["a vector for Muon", `train fit for M { minimize loss; with muon() }`, "E0304", "in v"],
  ])("cannot be: %s", (_, text, code, message) => {
    const said = errors(text);
    expect(said).toContain(code);
    expect(said).toContain(message);
  });
});
