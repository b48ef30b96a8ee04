/** Sizes of inputs that are expressions of symbols, and results that may not decide them. */
import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/core/index.ts";
import { bindSizes, dense } from "../../compiler/core/reference/evaluate.ts";
import { takeInputs } from "../../runtime/core/inputs.ts";
import { errorsOf, modelOf, resultsOf } from "../support/check.ts";

describe("a size that is linear in a symbol", () => {
  const source = `
model M {
  fn shrink(x: f32[N, 1, 8 * H, 4 * W + 1]) -> f32[N, 1, H, W] { avg_pool2d(x[:, :, :, 1:], [8, 4]) }
}`;
  const zeros = (shape: number[]): Float32Array => new Float32Array(shape.reduce((a, b) => a * b, 1));
  const given = (shape: number[]): { data: Float32Array; shape: number[] } => ({ data: zeros(shape), shape });

  it("binds it, in the reference and in a module alike", () => {
    const m = modelOf(source);
    expect(m.entries[0].graph.symbols).toEqual(["N", "H", "W"]);
    expect(resultsOf(m, "shrink")).toEqual(["shrink: f32[N, 1, H, W]"]);
    const sizes = bindSizes(m.entries[0].graph, {
      x: dense("f32", [2, 1, 24, 21], [...zeros([2, 1, 24, 21])]),
    });
    expect(sizes).toEqual({ N: 2, H: 3, W: 5 });
    const [entry] = compile(source, "m.mdl", { targets: ["baseline"] }).artefact.programs[0].entries;
    const { names } = takeInputs(entry, { x: given([2, 1, 24, 21]) });
    expect([names.get("N"), names.get("H"), names.get("W")]).toEqual([2, 3, 5]);
    // 30 is no multiple of 8, and 4 * W + 1 is never 20.
    expect(() => takeInputs(entry, { x: given([2, 1, 30, 21]) })).toThrow(/axis 2 is 30/);
    expect(() => takeInputs(entry, { x: given([2, 1, 24, 20]) })).toThrow(/axis 3 is 20/);
  });

  it("binds it at a call within the model, whatever order the sizes come in", () => {
    const m = modelOf(`
layer Halves(c: int) {
  fn forward(x: f32[N, K * 2, K + c + M]) -> f32[N, K, M] { mean(reshape(x, N, 2, K, K + c + M), axis = 1)[:, :, K + c:] }
}
model M {
  halves = Halves(2)
  fn f(x: f32[N, 4, 10]) { halves(x) }
  fn g(x: f32[N, 2 * A, A + B + 2]) { halves(x) }
  fn h(x: f32[N, P, Q]) { halves(x) }
}`);
    expect(resultsOf(m, "f")).toEqual(["f: f32[N, 2, 6]"]);
    expect(resultsOf(m, "g")).toEqual(["g: f32[N, A, B]"]);
    // What shows at the call only is checked there.
    expect(m.entries[2].graph.constraints.map((c) => `${c.left.key} ${c.relation} ${c.right.key}`)).toContain(
      "P divides 2",
    );
  });

  it("is refused once, where no size of the symbol fits", () => {
    const layer = "layer L { fn forward(x: f32[N, 2 * K]) -> f32[N, 2 * K] { x } }\n";
    expect(errorsOf(`${layer}model M { l = L()\n fn f(x: f32[N, 3]) { l(x) } }`)).toEqual([
      "E0307 L: axis 1 of x is 2 * K, given 3",
    ]);
    const five = "layer L { fn forward(x: f32[N, K + 5]) -> f32[N, K] { x[:, 5:] } }\n";
    expect(errorsOf(`${five}model M { l = L()\n fn f(x: f32[N, 3]) { l(x) } }`)).toEqual([
      "E0307 L: axis 1 of x is K + 5, given 3",
    ]);
  });

  it("leaves no negative size at the call", () => {
    const { graph } = modelOf("model M { fn f(x: f32[H + 5]) -> f32[H] { x[5:] } }").entries[0];
    expect(() => bindSizes(graph, { x: dense("f32", [3], [1, 2, 3]) })).toThrow();
    expect(bindSizes(graph, { x: dense("f32", [7], [1, 2, 3, 4, 5, 6, 7]) })).toEqual({ H: 2 });
  });

  it("is one error where the size binds nothing", () => {
    for (const size of ["H * W", "floor(H / 2)", "H * H", "max(H, 4)", "H / 2"])
      expect(
        errorsOf(`model M { fn f(x: f32[N, ${size}]) -> f32[N, ${size}] { relu(x) + x } }`).length,
        size,
      ).toBe(1);
  });
});

describe("a declared result", () => {
  const f = (type: string, body: string, params = "x: f32[N, 4], y: f32[M, 4]"): string[] =>
    errorsOf(`model M(k: int = 10) { fn f(${params}) -> ${type} { ${body} } }`);

  it("does not pin what the inputs leave free", () => {
    expect(f("f32[k, N]", "x @ zeros(4, k)", "x: f32[N, 4]")).toEqual([
      "E0303 f: axis 0 of the result is N, declared k = 10",
    ]);
    expect(f("f32[8, 4]", "x", "x: f32[N, 4]")).toEqual(["E0303 f: axis 0 of the result is N, declared 8"]);
    expect(f("f32[N, 4]", "y")).toEqual(["E0303 f: axis 0 of the result is M, declared N"]);
    expect(f("(a: f32[N, 4], b: f32[N, 4])", "(a = x, b = y)")).toEqual([
      "E0303 f.b: axis 0 of the result is M, declared N",
    ]);
    expect(f("f32[floor(H / 2)]", "x[::2]", "x: f32[H]")).toEqual([
      "E0303 f: axis 0 of the result is floor((H + 1) / 2), declared floor(H / 2)",
    ]);
    // The same in a fn that an entry calls.
    expect(
      errorsOf(
        "layer L { fn forward(x: f32[K, 4]) -> f32[4, K] { x } }\nmodel M { l = L()\n fn f(x: f32[N, 4]) { l(x) } }",
      ),
    ).toEqual(["E0303 L: axis 0 of the result is N, declared 4"]);
  });

  it("may rest on what the body demands of the inputs", () => {
    expect(f("f32[N, 4]", "x + y")).toEqual([]);
    expect(f("f32[M, 4]", "x + y")).toEqual([]);
    expect(f("f32[N, T]", "reshape(reshape(x, N, T / 4, 4), N, 4 * (T / 4))", "x: f32[N, T]")).toEqual([]);
    expect(f("f32[N, 2 * floor(T / 2)]", "reshape(reshape(x, N, 2, T / 2), N, T)", "x: f32[N, T]")).toEqual(
      [],
    );
    expect(f("f32[ceil(H / 2)]", "x[::2]", "x: f32[H]")).toEqual([]);
  });
});
