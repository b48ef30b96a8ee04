// What programs mean: checked and then evaluated by the reference, so that a wrong graph shows as a wrong number.
import { describe, expect, it } from "vitest";
import type { Dense, DType } from "../../compiler/core/ir/types.ts";
import type { CheckedModel } from "../../compiler/core/model.ts";
import { dense, evaluate } from "../../compiler/core/reference/evaluate.ts";
import { checkText, errorsOf, modelOf, resultsOf } from "../support/check.ts";

type Data = { readonly shape: readonly number[]; readonly data: readonly number[]; readonly dtype?: DType };
const f32 = (shape: readonly number[], data?: readonly number[]): Data => ({
  shape,
  data: data ?? Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i),
});
const i32 = (shape: readonly number[], data?: readonly number[]): Data => ({
  ...f32(shape, data),
  dtype: "i32",
});
const toDense = (d: Data): Dense => dense(d.dtype ?? "f32", d.shape, d.data);

/** Runs an entry (or a train block's loss) of the one model of a text. */
function run(
  model: CheckedModel,
  entry: string,
  inputs: Readonly<Record<string, Data>>,
  state: {
    params?: Readonly<Record<string, Data>>;
    state?: Readonly<Record<string, Data>>;
    train?: boolean;
  } = {},
) {
  const graph = state.train
    ? model.trains.find((t) => t.name === entry)?.lossGraph
    : model.entries.find((e) => e.name === entry)?.graph;
  if (!graph) throw new Error(`no ${entry}`);
  const map = (x: Readonly<Record<string, Data>> = {}) =>
    Object.fromEntries(Object.entries(x).map(([k, v]) => [k, toDense(v)]));
  const out = evaluate(graph, map(inputs), {
    params: map(state.params),
    state: map(state.state),
    seed: [1, 2],
  });
  return {
    results: Object.fromEntries(Object.entries(out.results).map(([k, v]) => [k, [...v.data]])),
    shapes: Object.fromEntries(Object.entries(out.results).map(([k, v]) => [k, [...v.shape]])),
    writes: Object.fromEntries(Object.entries(out.writes).map(([k, v]) => [k, [...v.data]])),
  };
}
/** The value of `fn f(…)` of a model with nothing else. */
const value = (body: string, inputs: Readonly<Record<string, Data>> = {}): number[] => {
  const params = Object.entries(inputs).map(([k, v]) => `${k}: ${v.dtype ?? "f32"}[${v.shape.join(", ")}]`);
  return run(modelOf(`model M {\n fn f(${params.join(", ")}) {\n ${body}\n }\n}`), "f", inputs).results.f;
};

describe("static values", () => {
  it.each([
    ["zeros(1) + 2 ** 10", [1024]],
    ["zeros(1) + (7 - 1) / 2", [3]],
    ["zeros(1) + 7 % 4 + (-7) % 4", [4]],
    ["zeros(1) + floor(7 / 2) + ceil(7 / 2)", [7]],
    ["zeros(1) + floor(-7 / 2)", [-4]],
    ["zeros(1) + sqrt(16) + 2 ** -1", [4.5]],
    ["zeros(1) + max(3, 7) - min([4, 2, 9])", [5]],
    ["zeros(1) + len(0..5) + len(reversed([1, 2]))", [7]],
    ["zeros(1) + sum([i * i for i in 0..4 if i != 2])", [10]],
    ["sum([zeros(1) + i for i in 0..4]) + sum([2.0 * ones(1), 3])", [11]],
    ["zeros(1) + (if true && !false { 1 } else { 2 })", [1]],
    ["zeros(1) + (for (i, x) in enumerate([5, 6, 7]) with s = 0 { s + i * x })", [20]],
    ["zeros(1) + (for (a, b) in zip([1, 2], [10, 20]) with s = 0 { s + a * b })", [50]],
    ["zeros(1) + [10, 20, 30][-1] + [1, 2, 3, 4][1:3][0]", [32]],
    ["zeros(1) + int(3.7) + float(2) / 4", [3.5]],
    ['f32([1, 2] == [1, 2]) + f32("a" == "b")', [1]],
  ])("%s", (body, want) => {
    expect(value(body)).toEqual(want);
  });

  it("a dim is a value", () => {
    const m = modelOf("model M {\n fn f(x: f32[N, H]) -> f32 { f32(N * H + floor(H / 2)) }\n}");
    expect(run(m, "f", { x: f32([3, 5]) }).results.f).toEqual([17]);
  });
});

describe("slices", () => {
  const x = f32([4, 3]);
  it.each([
    ["x[1]", [3, 4, 5], [3]],
    ["x[-1]", [9, 10, 11], [3]],
    ["x[:, 1]", [1, 4, 7, 10], [4]],
    ["x[1:3, 0:2]", [3, 4, 6, 7], [2, 2]],
    ["x[1:-1, -2:]", [4, 5, 7, 8], [2, 2]],
    ["x[::2, ::-1]", [2, 1, 0, 8, 7, 6], [2, 3]],
    ["x[3:0:-2, 0]", [9, 3], [2]],
    ["x[..., 0]", [0, 3, 6, 9], [4]],
    ["x[0, new, :, new]", [0, 1, 2], [1, 3, 1]],
    ["x[0:0]", [], [0, 3]],
    ["x.T[0]", [0, 3, 6, 9], [4]],
  ])("%s", (body, want, shape) => {
    const m = modelOf(`model M {\n fn f(x: f32[4, 3]) { ${body} }\n}`);
    const out = run(m, "f", { x });
    expect(out.results.f).toEqual(want);
    expect(out.shapes.f).toEqual(shape);
  });

  it("at a place that is known at run time only", () => {
    const m = modelOf(
      "model M {\n fn f(x: f32[N, 3], i: i32, j: i32[K]) { (a = x[i], b = x[:, i], c = x[j], d = x[j][:, 1:]) }\n}",
    );
    const out = run(m, "f", { x, i: i32([], [2]), j: i32([2], [3, 0]) });
    expect(out.results).toEqual({
      a: [6, 7, 8],
      b: [2, 5, 8, 11],
      c: [9, 10, 11, 0, 1, 2],
      d: [10, 11, 1, 2],
    });
  });

  it("by sizes that are known at the call only", () => {
    const m = modelOf("model M {\n fn f(x: f32[N, 3]) { x[floor(N / 2):N - 1, 0] }\n}");
    expect(run(m, "f", { x: f32([5, 3]) }).results.f).toEqual([6, 9]);
    expect(resultsOf(m, "f")).toEqual(["f: f32[N - floor(N / 2) - 1]"]);
  });
});

describe("symbols", () => {
  it("two that must be equal become one", () => {
    const m = modelOf("model M {\n fn f(x: f32[N, 3], y: f32[M, K]) -> f32[N, K] { x + y }\n}");
    const [x, y] = m.entries[0].inputs;
    expect(x.shapeText).toEqual(["N", "3"]);
    expect(y.shapeText).toEqual(["N", "3"]);
    expect(m.entries[0].graph.symbols).toEqual(["N"]);
    expect(m.entries[0].graph.constraints).toEqual([]);
  });

  it("never broadcast: only a literal 1 does", () => {
    expect(value("x + y", { x: f32([2, 3]), y: f32([1, 3]) })).toEqual([0, 2, 4, 3, 5, 7]);
    expect(errorsOf("model M {\n fn f(x: f32[2, 3], y: f32[2]) { x + y }\n}")[0]).toMatch(/^E0301/);
  });

  it("are fresh at each call", () => {
    const m = modelOf(`
fn total(x: f32[N, M]) -> f32[N] { sum(x, axis = 1) }
model M {
  fn f(x: f32[A, B], y: f32[3, 4]) { (a = total(x), b = total(y), c = total(x[:, new, 0])) }
}`);
    expect(resultsOf(m, "f")).toEqual(["a: f32[A]", "b: f32[3]", "c: f32[A]"]);
  });

  it("... stands for any axes, the same in all parameters of a call", () => {
    const m = modelOf(`
fn scale(x: f32[..., D], by: f32[D]) -> f32[..., D] { x * by }
fn both(x: f32[...], y: f32[...]) -> f32[...] { x + y }
model M {
  fn f(x: f32[A, B, 3], w: f32[3]) { both(scale(x, w), x) }
}`);
    expect(resultsOf(m, "f")).toEqual(["f: f32[A, B, 3]"]);
    expect(
      errorsOf(
        "fn both(x: f32[...], y: f32[...]) { x + y }\nmodel M {\n fn f(x: f32[3, 4]) { both(x, x[0]) }\n}",
      ),
    ).toEqual(["E0502 both: ... is [3, 4] in x and [4] in y"]);
  });

  it("what cannot be decided is checked at the call, once, and names both sides", () => {
    const m = modelOf("model M {\n fn f(x: f32[N, T]) -> f32[N, T / 4, 4] { reshape(x, [N, T / 4, 4]) }\n}");
    const { constraints } = m.entries[0].graph;
    expect(constraints[0]).toMatchObject({ relation: "divides", message: "T must be divisible by 4" });
    expect(constraints.filter((c) => c.relation === "divides").length).toBe(1);
  });

  it("declared results are compared by normal form", () => {
    const m = modelOf(
      "model M {\n fn f(h: f32[H], x: f32[N, 2 * H]) -> f32[N, H * 2] { x + sum(h) }\n fn g(y: f32[H]) -> f32[floor((2 * H + 1) / 2)] { y }\n}",
    );
    expect(m.entries.flatMap((e) => e.graph.constraints)).toEqual([]);
    expect(errorsOf("model M {\n fn f(x: f32[N]) -> f32[N + 1] { x }\n}")).toEqual([
      "E0303 f: axis 0 of the result is N, declared N + 1",
    ]);
  });
});

describe("literals and dtypes", () => {
  it("literals adapt, tensors do not", () => {
    expect(value("2 * x + 1", { x: i32([3]) })).toEqual([1, 3, 5]);
    expect(value("1 - x / 2", { x: f32([3]) })).toEqual([1, 0.5, 0]);
    expect(value("where(x > 0, x, 0.5)", { x: f32([3], [-1, 0, 2]) })).toEqual([0.5, 0.5, 2]);
    expect(value("max(x, 0)", { x: f32([3], [-1, 0, 2]) })).toEqual([0, 0, 2]);
    expect(value("max(x)", { x: f32([3], [-1, 0, 2]) })).toEqual([2]);
    expect(errorsOf("model M {\n fn f(x: f32[N], y: f16[N]) { x + y }\n}")[0]).toMatch(/^E0401/);
    expect(errorsOf("model M {\n fn f(x: f32[N]) { where(x, x, x) }\n}")[0]).toMatch(/^E0404/);
  });

  it("casts", () => {
    expect(value("i32(x)", { x: f32([3], [-1.5, 0.2, 2.9]) })).toEqual([-1, 0, 2]);
    expect(value("f32(x > 1)", { x: f32([3]) })).toEqual([0, 0, 1]);
    expect(value("sum(x > 0)", { x: f32([3]) })).toEqual([2]);
    expect(value("x % 3", { x: i32([4], [-4, -1, 2, 7]) })).toEqual([2, 2, 2, 1]);
  });

  it("i64, i8 and u8 are i32 inside and known at the boundary", () => {
    const m = modelOf("model M {\n fn f(ids: i64[N], pixels: u8[N]) { ids + pixels }\n}");
    expect(m.entries[0].inputs.map((i) => [i.type.dtype, i.boundary])).toEqual([
      ["i32", "i64"],
      ["i32", "u8"],
    ]);
  });
});

describe("layers", () => {
  const shared = `
import { Linear } from "std/nn"
layer Twice(f: Linear) {
  fn forward(x: f32[N, 2]) { x |> f |> f }
}
model M {
  a = Linear(2, 2, bias = false)
  b = a
  t = Twice(a)
  u = Twice(Linear(2, 2, bias = false))
  fn f(x: f32[N, 2]) { x |> a |> b |> t |> u }
}`;
  it("an instance bound twice or passed as an argument is shared, and loads under every path", () => {
    const m = modelOf(shared);
    expect(m.params.map((p) => [p.path, p.aliases])).toEqual([
      ["a.weight", ["b.weight", "t.f.weight"]],
      ["u.f.weight", []],
    ]);
    const double = f32([2, 2], [2, 0, 0, 2]);
    const out = run(
      m,
      "f",
      { x: f32([1, 2], [1, 3]) },
      { params: { "a.weight": double, "u.f.weight": f32([2, 2], [0, 1, 1, 0]) } },
    );
    expect(out.results.f).toEqual([16, 48]);
  });

  it("paths are PyTorch's: list elements by index", () => {
    const m = modelOf(`
import { BasicBlock } from "std/nn"
model M {
  layer1 = [BasicBlock(4, 4), BasicBlock(4, 8, stride = 2)]
  fn f(x: f32[N, 4, 8, 8]) { layer1(x) }
}`);
    expect(m.params.map((p) => p.path)).toEqual([
      ...["conv1.weight", "bn1.weight", "bn1.bias", "conv2.weight", "bn2.weight", "bn2.bias"].map(
        (p) => `layer1.0.${p}`,
      ),
      ...["conv1.weight", "bn1.weight", "bn1.bias", "conv2.weight", "bn2.weight", "bn2.bias"].map(
        (p) => `layer1.1.${p}`,
      ),
      "layer1.1.downsample.0.weight",
      "layer1.1.downsample.1.weight",
      "layer1.1.downsample.1.bias",
    ]);
    expect(m.buffers.map((b) => b.path)).toContain("layer1.1.downsample.1.running_var");
  });

  it("a tie is one tensor, called by its first declaration", () => {
    const m = modelOf(`
import { Embedding, Linear } from "std/nn"
model M {
  head  = Linear(3, 5, bias = false)
  embed = Embedding(5, 3)
  head.weight = embed.weight
  fn f(ids: i32[N]) { ids |> embed |> head }
}`);
    expect(m.params.map((p) => [p.path, p.aliases, p.init])).toEqual([
      ["head.weight", ["embed.weight"], { kind: "normal", mean: 0, std: 1 }],
    ]);
    expect(m.entries[0].graph.nodes.filter((n) => n.op.name === "param").length).toBe(1);
  });

  it("layers and fns are static arguments, and an empty list is the identity", () => {
    const m = modelOf(`
import { Linear } from "std/nn"
fn twice(f: fn, x: f32[...]) { f(f(x)) }
layer Stack(block: layer, n: int, act: fn = relu) {
  layers = [block(2, 2) for _ in 0..n]
  fn forward(x: f32[N, 2]) { x |> layers |> act }
}
model M {
  s = Stack(Linear, 2)
  e = Stack(Linear, 0, act = identity)
  fn f(x: f32[N, 2]) { twice(neg, e(x)) }
}`);
    expect(m.params.length).toBe(4);
    expect(run(m, "f", { x: f32([1, 2]) }).results.f).toEqual([0, 1]);
  });

  it("initialisers take fan-in and fan-out from the shape", () => {
    const m = modelOf(`
model M {
  param a: f32[8, 4, 3, 3] = he_normal()
  param b: f32[6, 2] = xavier_uniform()
  param c: f32[2] = uniform(-1, 3)
  param d: f32[] = 0.5
  buffer n: i32 = 0
  fn f(x: f32[N]) { x }
}`);
    expect(m.params.map((p) => p.init)).toEqual([
      { kind: "normal", mean: 0, std: Math.sqrt(2 / 36) },
      { kind: "uniform", low: -Math.sqrt(6 / 8), high: Math.sqrt(6 / 8) },
      { kind: "uniform", low: -1, high: 3 },
      { kind: "constant", value: 0.5 },
    ]);
    expect(m.buffers.map((b) => [b.dtype, b.init])).toEqual([["i32", { kind: "constant", value: 0 }]]);
  });

  it("imports other files, and checks them", () => {
    const files = {
      "parts/gate.mdl": "layer Gate(k: float) {\n fn forward(x: f32[N]) -> f32[N] { x * k }\n}\n",
    };
    const m = modelOf(
      'import { Gate as G } from "./parts/gate.mdl"\nmodel M {\n g = G(3)\n fn f(x: f32[N]) { g(x) }\n}',
      { files },
    );
    expect(run(m, "f", { x: f32([2]) }).results.f).toEqual([0, 3]);
    expect(
      errorsOf(
        'import { Gate } from "./parts/gate.mdl"\nmodel M {\n g = Gate(3)\n fn f(x: f32[N]) { g(x) }\n}',
        { files: { "parts/gate.mdl": "layer Gate(k: float) {\n fn forward(x: f32[N]) { x * kk }\n}" } },
      ),
    ).toEqual(["E0201 there is no kk here"]);
  });

  it("names the import that is missing", () => {
    const { diagnostics } = checkText("model M {\n fc = Linear(3, 4)\n fn f(x: f32[N, 3]) { fc(x) }\n}");
    expect(diagnostics.map((d) => [d.code, d.help])).toEqual([["E0201", 'import { Linear } from "std/nn"']]);
  });

  it.each([
    ["fc", "the parameters in it are fc.*"],
    ["fd.*", "did you mean fc?"],
  ])("says what a pattern of no parameter would have to be: %s", (pattern, help) => {
    const { diagnostics } = checkText(
      `import { Linear } from "std/nn"\nmodel M {\n fc = Linear(3, 4)\n frozen ${pattern}\n fn f(x: f32[N, 3]) { fc(x) }\n}`,
    );
    expect(diagnostics.map((d) => [d.code, d.help])).toEqual([["E0704", help]]);
  });

  it("models take arguments from outside", () => {
    const text =
      "model A(k: int = 2) {\n fn f(x: f32[N]) { x * k }\n}\nmodel B(p: float) {\n fn f(x: f32[N]) { x * p }\n}";
    expect(errorsOf(text)).toEqual(["E0610 the model B needs a value for p"]);
    const b = modelOf(text, { model: "B", set: { p: 3 } });
    expect(run(b, "f", { x: f32([2]) }).results.f).toEqual([0, 3]);
    expect(errorsOf(text, { model: "A", set: { kk: 3 } })).toEqual(["E0603 the model A has no parameter kk"]);
    expect(errorsOf(text, { model: "C" })).toEqual(["E0205 there is no model C in main.mdl"]);
  });
});

describe("state", () => {
  it("reads see the value at entry, writes commit at the end", () => {
    const m = modelOf(
      "model M {\n buffer n: f32[2] = zeros()\n fn f(x: f32[2]) {\n n <- n + x\n n * 10\n }\n}",
    );
    const out = run(m, "f", { x: f32([2], [1, 2]) }, { state: { n: f32([2], [3, 4]) } });
    expect(out.results.f).toEqual([30, 40]);
    expect(out.writes.n).toEqual([4, 6]);
  });

  const counter =
    "layer Counter() {\n buffer n: i32[] = zeros()\n fn forward(x: f32[2]) {\n n <- n + 1\n x\n }\n}\n";
  const left = (body: string, more = "", input = f32([2, 3, 2])): Record<string, number[]> => {
    const type = `f32[${input.shape.map((d, i) => (i === 1 ? "T" : d)).join(", ")}]`;
    const m = modelOf(`${counter}model M {\n c = Counter()\n ${more}\n fn f(x: ${type}) {\n ${body}\n }\n}`);
    const out = run(m, "f", { x: input }, { state: { "c.n": i32([], [5]), own: i32([], [7]) } });
    return { ...out.writes, ...out.results };
  };

  it("is written in the order of the calls", () => {
    expect(left("c(c(x[0, 0]))")["c.n"]).toEqual([7]);
    // The same values twice are two calls.
    expect(left("c(x[0, 0]) + c(x[0, 0])")["c.n"]).toEqual([7]);
    expect(left("for t in [0, 1, 2] with h = x[0, 0] { c(h) }")["c.n"]).toEqual([8]);
    // What a call left is read behind it; a local keeps what it was.
    const read = left("before = c.n\n y = c(x[0, 0])\n (before = before, after = c.n, y = y)");
    expect([read.before, read.after]).toEqual([[5], [6]]);
    const shared = left("g(x[0, 0]) + c(x[0, 1])", "private fn g(x: f32[2]) { c(c(x)) }");
    expect(shared["c.n"]).toEqual([8]);
    const other = left(
      "g()\n own <- own + 1\n (x = x, seen = own)",
      "buffer own: i32[] = zeros()\n private fn g() { own <- own * 10 }",
    );
    // The fn's own reads see what was there, and what it called left.
    expect([other.own, other.seen]).toEqual([[71], [70]]);
  });

  it("is written in each pass of a scan", () => {
    const scan = (body: string): string => `scan t over x axis 1 with s = zeros(2, 2) { ${body} }`;
    expect(left(scan("s = s + c(t[0])"))["c.n"]).toEqual([8]);
    expect(left(scan("s = s + c(c(t[0]))"))["c.n"]).toEqual([11]);
    expect(left(scan("s = s + c(t[0])"), "", f32([2, 0, 2], []))["c.n"]).toEqual([5]);
    // Each pass reads what the one before left: 5 + 5, 10 + 10, 20 + 20.
    const doubled = left(
      `own <- c.n\n r = scan t over x axis 1 { c.n <- c.n * 2\n emit y = c.n }\n (y = r, now = c.n)`,
      "buffer own: i32[] = zeros()",
    );
    expect([doubled.y, doubled.now, doubled["c.n"], doubled.own]).toEqual([[5, 10, 20], [40], [40], [5]]);
    // A loop in a loop, and one behind the other.
    const nested = `r = scan t over x axis 1 { q = scan u over x axis 1 { emit z = c(u[0]) }\n emit y = q[:, 0] + t[0] }`;
    expect(left(`${nested}\n r`)["c.n"]).toEqual([14]);
    expect(left(`${nested}\n ${scan("s = s + c(t[0])")} + r[0, 0]`)["c.n"]).toEqual([17]);
  });

  it("is not written by a call while a fn around it is to write it", () => {
    const text = (f: string): string =>
      `model M {\n buffer n: i32[] = zeros()\n private fn g() { n <- n + 10 }\n fn f(x: f32[T]) {\n ${f}\n x\n }\n}`;
    expect(errorsOf(text("n <- n + 1\n g()")).join()).toContain("E0902");
    expect(errorsOf(text("n <- n + 1\n n <- n + 1")).join()).toContain("E0902");
    expect(errorsOf(text("n <- 0\n _ = scan t over x axis 0 { n <- n + 1\n emit y = t }")).join()).toContain(
      "E0902",
    );
    expect(errorsOf(text("g()\n n <- n + 1"))).toEqual([]);
  });

  it("train and eval are static: batch norm and dropout", () => {
    const text = (use: string): string => `
import { BatchNorm2d, Dropout } from "std/nn"
model M {
  bn = BatchNorm2d(1)
  drop = Dropout(0.5)
  fn f(x: f32[N, 1, H, W]) -> f32 { sum(x |> ${use}) }
}
train fit for M {
  minimize f
  with sgd(lr = 1)
}`;
    const x = f32([2, 1, 1, 2], [1, 3, 5, 7]);
    const params = { "bn.weight": f32([1], [1]), "bn.bias": f32([1], [0]) };
    const state = {
      "bn.running_mean": f32([1], [0]),
      "bn.running_var": f32([1], [1]),
      random_step: { ...i32([], [0]), dtype: "u32" as const },
    };
    const m = modelOf(text("bn"));
    expect(run(m, "f", { x }, { params, state }).results.f[0]).toBeCloseTo(16, 3);
    expect(m.entries[0].graph.writes).toEqual([]);
    const train = run(m, "fit", { x }, { params, state, train: true });
    expect(train.results.loss[0]).toBeCloseTo(0, 5);
    expect(train.writes["bn.running_mean"][0]).toBeCloseTo(0.4, 6);
    // Unbiased: 20 / 3.
    expect(train.writes["bn.running_var"][0]).toBeCloseTo(0.9 + (0.1 * 20) / 3, 6);
    // Pinned, it is as in eval, and stores nothing.
    const pinned = run(modelOf(text("bn.eval()")), "fit", { x }, { params, state, train: true });
    expect(pinned.results.loss[0]).toBeCloseTo(16, 3);
    expect(pinned.writes).toEqual({});
    const dropped = modelOf(text("drop |> bn.eval()"));
    const out = run(dropped, "fit", { x }, { params, state, train: true });
    expect(out.writes.random_step).toEqual([1]);
    expect(run(dropped, "f", { x }, { params, state }).results.f[0]).toBeCloseTo(16, 3);
  });

  it("random operations have keys of their own, the same in a loss and its report", () => {
    const m = modelOf(`
import { Linear } from "std/nn"
model M {
  fc = [Linear(4, 4), Linear(4, 4)]
  fn net(x: f32[N, 4]) -> f32[N, 4] { h = dropout(fc[0](x), 0.5); dropout(fc[1](dropout(h, 0.5)), 0.5) }
  fn loss(x: f32[N, 4]) -> f32 { mean(net(x)) }
  fn spread(x: f32[N, 4]) -> f32 { mean(abs(net(x))) }
  fn twice(x: f32[N, 4]) -> f32 { mean(net(x) * net(x)) }
}
train fit for M {
  minimize loss
  report spread
  with sgd(lr = 1)
}
train two for M {
  minimize twice
  with sgd(lr = 1)
}`);
    const keys = (name: string): unknown[] =>
      m.trains
        .find((t) => t.name === name)
        ?.lossGraph.nodes.filter((n) => n.op.name === "random_bits")
        .map((n) => n.attrs.hash) ?? [];
    expect(new Set(keys("fit")).size).toBe(3);
    expect(keys("fit").length).toBe(3);
    // Called twice in one loss, a net drops out differently each time.
    expect(new Set(keys("two")).size).toBe(6);
  });
});

describe("gradients in the language", () => {
  it("of an argument, twice", () => {
    const m = modelOf(`
model M {
  private fn cube(x: f32) -> f32 { x * x * x }
  private fn slope(x: f32) -> f32 { grad(cube, wrt = x)(x) }
  fn f(x: f32) -> (first: f32, second: f32) { (first = slope(x), second = grad(slope, wrt = x)(x)) }
}`);
    expect(run(m, "f", { x: f32([], [2]) }).results).toEqual({ first: [12], second: [12] });
  });

  it("takes the fn's own argument, not what depends on the same value", () => {
    const m = modelOf(`
model M {
  private fn dotted(x: f32[N], y: f32[N]) -> f32 { sum(x * y) }
  fn f(x: f32[N]) -> f32[N] { grad(dotted, wrt = x)(x, 3 * x) }
  fn g(x: f32[N]) -> f32[N] { grad(dotted, wrt = x)(x, stop_gradient(x) * 2) }
}`);
    expect(run(m, "f", { x: f32([2], [1, 2]) }).results.f).toEqual([3, 6]);
    expect(run(m, "g", { x: f32([2], [1, 2]) }).results.g).toEqual([2, 4]);
  });

  it("of parameters", () => {
    const m = modelOf(`
import { Linear } from "std/nn"
model M {
  fc = Linear(2, 1)
  private fn loss(x: f32[N, 2]) -> f32 { sum(fc(x)) }
  fn all(x: f32[N, 2]) { g = grad(loss, wrt = params)(x); h = grad(loss, wrt = fc.weight)(x); (a = h, b = sum(h)) }
}`);
    const params = { "fc.weight": f32([1, 2]), "fc.bias": f32([1]) };
    expect(run(m, "all", { x: f32([2, 2], [1, 2, 3, 4]) }, { params }).results).toEqual({
      a: [4, 6],
      b: [10],
    });
  });

  it("pipes into what grad and checkpoint give", () => {
    const m = modelOf(`
model M {
  private fn total(x: f32[N]) -> f32 { sum(x * x) }
  fn f(x: f32[N]) -> f32[N] { x |> checkpoint(relu) |> grad(total, wrt = x) }
}`);
    expect(run(m, "f", { x: f32([2], [-1, 2]) }).results.f).toEqual([0, 4]);
  });

  it("through an operator's own gradient", () => {
    const text = (grad: string): string => `
op odd(x: f32, y: f32) -> f32 { x * y }
${grad}
model M {
  private fn total(x: f32[N]) -> f32 { sum(odd(x, 2)) }
  fn f(x: f32[N]) -> f32[N] { grad(total, wrt = x)(x) }
  fn v(x: f32[N]) -> f32[N] { odd(x, 2) }
}`;
    const x = f32([2], [1, 2]);
    expect(run(modelOf(text("")), "f", { x }).results.f).toEqual([2, 2]);
    const own = modelOf(text("grad (g) { (g * y * 10, 0) }"));
    expect(run(own, "f", { x }).results.f).toEqual([20, 20]);
    expect(run(own, "v", { x }).results.v).toEqual([2, 4]);
  });
});

describe("scan", () => {
  it("carries and emits, and captures what is around it", () => {
    const m = modelOf(`
model M {
  param w: f32[2] = ones()
  fn f(x: f32[T, 2], k: f32) -> (y: f32[T, 2], s: f32[2]) {
    scan xt over x axis 0 with s = zeros(2) {
      s = s + xt * w * k
      emit y = s
    }
  }
}`);
    const out = run(m, "f", { x: f32([3, 2]), k: f32([], [10]) }, { params: { w: f32([2], [1, 2]) } });
    expect(out.results).toEqual({ y: [0, 20, 20, 80, 60, 180], s: [60, 180] });
  });

  it("over two sequences, another axis, without carries", () => {
    const m = modelOf(
      "model M {\n fn f(x: f32[2, T], z: f32[2, S]) {\n scan (a, b) over (x, z) axis 1 { emit y = a * b }\n }\n}",
    );
    expect(run(m, "f", { x: f32([2, 3]), z: f32([2, 3]) }).results.f).toEqual([0, 1, 4, 9, 16, 25]);
    expect(m.entries[0].graph.symbols).toEqual(["T"]);
  });

  it("nests", () => {
    const m = modelOf(`
model M {
  fn f(x: f32[A, B]) -> f32[A] {
    scan row over x axis 0 { emit y = total(row) }
  }
  private fn total(row: f32[B]) -> f32 {
    scan v over row axis 0 with s = 0.0 { s = s + v }
  }
}`);
    expect(run(m, "f", { x: f32([2, 3]) }).results.f).toEqual([3, 12]);
  });
});

describe("origins", () => {
  it("every node knows its text, its instance and the calls that led to it; the author's names are labels", () => {
    const source = `
layer Inner(k: float) {
  fn forward(x: f32[N]) { scaled = x * k; tanh(scaled) }
}
model M {
  deep = [Inner(1), Inner(2)]
  fn f(x: f32[N]) { deep(x) }
}`;
    const m = modelOf(source);
    const tanhs = m.entries[0].graph.nodes.filter((n) => n.op.name === "tanh");
    expect(tanhs.map((n) => n.origin.path)).toEqual(["deep.0", "deep.1"]);
    const { span, calls } = tanhs[1].origin;
    expect(source.slice(span?.start, span?.end)).toBe("tanh(scaled)");
    expect(calls.map((c) => source.slice(c.start, c.end))).toEqual(["deep(x)"]);
    expect(m.entries[0].graph.nodes.filter((n) => n.op.name === "mul").map((n) => n.label)).toEqual([
      "scaled",
      "scaled",
    ]);
  });
});

describe("limits", () => {
  it("calls that call themselves end with the reason, quickly", () => {
    const started = performance.now();
    expect(
      errorsOf(
        "fn a(x: f32[N]) { b(x) }\nfn b(x: f32[N]) { a(x) + a(x) }\nmodel M {\n fn f(x: f32[N]) { a(x) }\n}",
      ),
    ).toEqual(["E1005 calls are nested more than 100 deep"]);
    const deep = `model M {\n fn f(x: f32[N]) { ${"relu(".repeat(50)}x${")".repeat(50)} }\n}`;
    expect(errorsOf(deep)).toEqual([]);
    expect(performance.now() - started).toBeLessThan(10_000);
  });

  it("a long chain of operators is as deep as the parser allows and no deeper", () => {
    const chain = (n: number): string =>
      `model M {\n fn f(x: f32[N]) { ${Array.from({ length: n }, () => "x").join(" + ")} }\n}`;
    expect(errorsOf(chain(400))).toEqual([]);
    expect(errorsOf(chain(20_000)).every((e) => e.startsWith("E1001"))).toBe(true);
  });

  it("a warning does not stop a model", () => {
    const r = checkText("model M {\n fn f(x: f32[N]) {\n relu(x)\n x\n }\n}");
    expect(r.models?.length).toBe(1);
    expect(r.diagnostics.map((d) => d.code)).toEqual(["W0202"]);
  });
});

it("says of a scan whose next value is wrong what is wrong with it, and nothing of the carry", () => {
  const source = `model M {
  param w: f32[3] = ones()
  private fn q(x: f32[3]) -> f32 { sum(x) }
  fn f(x: f32[N, 3]) -> f32[3] {
    scan z over x axis 0 with a = zeros(3) {
      g = grad(q, wrt = w)(z)
      a = a + g
    }
  }
}`;
  expect(errorsOf(source)).toEqual(["E1101 q does not depend differentiably on w"]);
});
