/** What paths call members, members that are taken apart, unnamed fns, static parameters in any order, counts of a call. */
import { describe, expect, it } from "vitest";
import { dense, evaluate } from "../../compiler/core/reference/evaluate.ts";
import { checkText, errorsOf, modelOf, resultsOf } from "../support/check.ts";

const paths = (source: string): string[] => modelOf(source).params.map((p) => p.path);

describe("names in paths", () => {
  it("a parameter's, with numbers joined", () => {
    const source = `
layer Level(d: int, i: int, way: string) {
  param weight as "weight_l" + i + way: f32[d, d] = zeros()
  param bias   as "bias_l" + i + way: f32[d] = zeros() if i == 0
  fn forward(x: f32[N, d]) -> f32[N, d] { if bias == none { x @ weight } else { x @ weight + bias } }
}
layer Stack(d: int) {
  levels as ["" for k in 0..4] = [Level(d, floor(k / 2), ["", "_reverse"][k % 2]) for k in 0..4]
  fn forward(x: f32[N, d]) -> f32[N, d] { x |> levels }
}
model M { rnn = Stack(3); fn f(x: f32[N, 3]) -> f32[N, 3] { rnn(x) } }`;
    expect(paths(source)).toEqual([
      "rnn.weight_l0",
      "rnn.bias_l0",
      "rnn.weight_l0_reverse",
      "rnn.bias_l0_reverse",
      "rnn.weight_l1",
      "rnn.weight_l1_reverse",
    ]);
  });

  it("a list's items, one word or none", () => {
    const source = `import { Linear } from "std/nn"
model M {
  features as ["norm0", "block.1"] = [Linear(2, 2), Linear(2, 2, bias = false)]
  all as "" = [Linear(2, 2, bias = false), relu, Linear(2, 2, bias = false)]
  last as "head" = Linear(2, 2, bias = false)
  frozen block.*, "2.*"
  fn f(x: f32[N, 2]) -> f32[N, 2] { x |> features |> all |> last }
}`;
    const { params } = modelOf(source);
    expect(params.map((p) => [p.path, p.frozen])).toEqual([
      ["norm0.weight", false],
      ["norm0.bias", false],
      ["block.1.weight", true],
      ["0.weight", false],
      ["2.weight", true],
      ["head.weight", false],
    ]);
  });

  it("refuses what is no path, a list of another length, and one path for two", () => {
    const model = (members: string): string =>
      `import { Linear } from "std/nn"\nmodel M {\n${members}\nfn f(x: f32[3]) -> f32[3] { x }\n}`;
    expect(errorsOf(model('param w as "a b": f32[3] = zeros()'))).toEqual(['E0607 "a b" is no path']);
    expect(errorsOf(model('param w as "": f32[3] = zeros()'))).toEqual(['E0607 "" is no path']);
    expect(errorsOf(model("param w as 3: f32[3] = zeros()"))).toEqual([
      "E0605 paths are strings, not the int 3",
    ]);
    expect(errorsOf(model('w as ["a"] = [Linear(1, 1), Linear(1, 1)]'))).toEqual([
      "E0609 1 paths, but w has 2 items",
    ]);
    expect(
      errorsOf(model('w as ["a", "a"] = [Linear(1, 1, bias = false), Linear(1, 1, bias = false)]')),
    ).toEqual(["E0707 two params are called a.weight"]);
  });
});

describe("taking apart", () => {
  it("makes a member of each name, whose paths begin with it", () => {
    const source = `import { Linear } from "std/nn"
model M {
  (blocks, (last, _)) = for i in 0..2 with b = [], w = (3, 0) { (b + [Linear(w[0], w[0] + 1)], (w[0] + 1, i)) }
  head = Linear(last, 2, bias = false)
  param scale: f32[last] = ones()
  fn f(x: f32[N, 3]) -> f32[N, 2] { (x |> blocks) * scale |> head }
}`;
    expect(paths(source)).toEqual([
      "blocks.0.weight",
      "blocks.0.bias",
      "blocks.1.weight",
      "blocks.1.bias",
      "head.weight",
      "scale",
    ]);
  });

  it("nests in fns, loops and comprehensions", () => {
    const source = `
model M {
  fn f(x: f32[N, 3]) -> f32[N, 3] {
    (y, (h, _)) = (x, (2 * x, 3 * x))
    list = [a + b + c for (a, (b, c)) in [(1, (2, 3)), (4, (5, 6))]]
    s = for (i, (j, _)) in enumerate([(1, 2), (3, 4)]) with s = 0 { s + i * j }
    y + h + f32(list[0] + list[1] + s)
  }
}`;
    const { graph } = modelOf(source).entries[0];
    const x = dense("f32", [1, 3], [1, 2, 3]);
    expect([...evaluate(graph, { x }).results.f.data]).toEqual([27, 30, 33]);
    expect(errorsOf(source.replace("(y, (h, _)) =", "(y, (h, _, z)) ="))).toEqual([
      "E0609 3 names, but a tuple of 2 has 2 parts",
    ]);
  });
});

describe("unnamed fns", () => {
  it("see the names around them, in bodies and in fns", () => {
    const source = `import { Linear } from "std/nn"
layer Twice(f: fn) { fn forward(x: f32[...]) -> f32[...] { f(f(x)) } }
model M(slope: float = 0.5) {
  head = Linear(3, 3, bias = false)
  body = [fn(x) { x * slope }, Twice(fn(x: f32[...]) -> f32[...] { x + 1 }), fn(x, k = 2) {
    y = x * k
    y - 1
  }]
  fn f(x: f32[N, 3]) -> f32[N, 3] {
    c = 10.0
    add = fn(a, b) { a + b + c }
    x |> body |> add(1)
  }
  fn g(x: f32[3]) -> f32[3] { grad(fn(y: f32[3]) -> f32 { sum(y * y * slope) }, wrt = y)(x) }
}`;
    const model = modelOf(source);
    const x = dense("f32", [1, 3], [2, 4, 6]);
    const at = (name: string, x: ReturnType<typeof dense>): number[] => [
      ...evaluate(model.entries.find((e) => e.name === name)!.graph, { x }).results[name].data,
    ];
    expect(at("f", x)).toEqual([16, 18, 20]);
    expect(at("g", dense("f32", [3], [2, 4, 6]))).toEqual([2, 4, 6]);
  });

  it("are told from fns with a name, which are declarations", () => {
    expect(errorsOf("model M { fn f(x: f32[3]) -> f32[3] {\n fn g(x) { x }\n x } }")).toEqual([
      "E0101 expected an expression, found `fn`",
    ]);
    const { diagnostics } = checkText(
      "model M { fn f(x: f32[3]) -> f32[3] {\n g = fn(y) { y + z }\n g(x) } }",
    );
    expect(diagnostics.map((d) => `${d.code} ${d.message}`)).toEqual(["E0201 there is no z here"]);
  });
});

describe("parameters of fns", () => {
  it("may be static in any order", () => {
    const source = `
fn f(x: f32[N, h], h: int, w: f32[k * h], k: int) -> f32[N, k * h] { concat([x, x], axis = 1) * w }
model M {
  fn g(x: f32[N, d], w: f32[2 * d], d: int = 3) -> f32[N, 6] { f(x, d, w, k = 2) }
}`;
    expect(errorsOf(source)).toEqual([]);
    expect(resultsOf(modelOf(source), "g")).toEqual(["g: f32[N, 6]"]);
  });

  it("of an entry that are ints without default are sizes of the call", () => {
    const source = `
model M(d: int = 2) {
  fn sample(n: int, scale: f32) -> f32[n, d] { broadcast_to(iota(n)[:, new], [n, d]) |> f32 |> fn(x) { x * scale * f32(n) } }
  fn both(x: f32[N, 2], n: int) -> f32[N + 2 * n, d] { concat([x, sample(n, 1.0), sample(n, 2.0)], axis = 0) }
  fn twice(n: int) -> f32[2 * n, d] { sample(2 * n, 1.0) }
}`;
    const model = modelOf(source);
    expect(resultsOf(model, "both")).toEqual(["both: f32[N + 2 * n, 2]"]);
    expect(resultsOf(model, "twice")).toEqual(["twice: f32[2 * n, 2]"]);
    const sample = model.entries[0];
    expect(sample.inputs.map((i) => [i.name, i.counts ?? false])).toEqual([
      ["n", true],
      ["scale", false],
    ]);
    const given = { n: dense("i32", [], [3]), scale: dense("f32", [], [0.5]) };
    const out = evaluate(sample.graph, given).results.sample;
    expect([out.shape, [...out.data]]).toEqual([
      [3, 2],
      [0, 0, 1.5, 1.5, 3, 3],
    ]);
  });
});

describe("types of static parameters", () => {
  it("may be one of several", () => {
    const layer = `layer L(k: int | [int] | "same" | "full") {
  n = if k == "same" || k == "full" { 0 } else { sum(ntuple(k, 2)) }
  fn forward(x: f32[N]) -> f32[N] { x + f32(n) }
}
`;
    const model = (k: string): string =>
      `${layer}model M {\n l = L(${k})\n fn f(x: f32[N]) -> f32[N] { l(x) }\n}`;
    for (const k of ["3", "[1, 2]", "(1, 2)", '"same"']) expect(errorsOf(model(k))).toEqual([]);
    expect(errorsOf(model("3.0"))).toEqual([
      'E0605 L: k is an int or a list of ints or "same" or "full", given the float 3',
    ]);
    expect(errorsOf(model('"all"'))).toEqual(["E0606 L: k is not one of its choices"]);
    expect(errorsOf(model("[1, 2, 3]"))).toEqual(["E0605 2 values are needed here, given 3"]);
  });
});
