// Sizes that the call alone tells and that do not fit: a condition of the graph, which refuses the call with a message.
// What the text itself tells is an error of the checker.
import { describe, expect, it } from "vitest";
import { dense, evaluate } from "../../compiler/core/reference/evaluate.ts";
import { errorsOf, modelOf } from "../support/check.ts";

/** `f` of one input x of `size` elements. */
function call(body: string, size: number, more = ""): number[] {
  const model = modelOf(`model M { ${more}\n fn f(x: f32[T]) { ${body} } }`);
  const data = Array.from({ length: size }, (_, i) => i);
  const state = { b: dense("f32", [4], [0, 0, 0, 0]) };
  return [...evaluate(model.entries[0].graph, { x: dense("f32", [size], data) }, { state }).results.f.data];
}

describe("a size known at the call only", () => {
  it("must leave room for a block", () => {
    const buffer = "buffer b: f32[4] = zeros()";
    expect(call("update(b, x, at = [1])", 2, buffer)).toEqual([0, 0, 1, 0]);
    expect(() => call("update(b, x, at = [0])", 6, buffer)).toThrow(
      /update: a block of \[T\] must fit into axis 0 of \[4\]/,
    );
    expect(call("slice_at(x, [1], [4])", 5)).toEqual([1, 2, 3, 4]);
    expect(() => call("slice_at(x, [0], [4])", 3)).toThrow(
      /slice_at: a block of \[4\] must fit into axis 0 of \[T\]/,
    );
    // The gradient of a slice is an update.
    expect(() => call("slice_at(x, [0], [T - 1 + 2])", 3)).toThrow();
  });

  it.each([
    ["zeros(T - 5) + 0.0 * sum(x)", /zeros: a size: T - 5 must be at least 0/],
    ["pad(x, [T - 5])", /pad: low: T - 5 must be at least 0/],
    ["reshape(x, [(T - 5) * (T - 5), -1])[0] * 0.0 + x[:floor((T - 5) / 2)]", /./],
    ["x[:floor((T - 5) / 2)]", /the slice 0:floor\(\(T \+ 1\) \/ 2\) - 3/],
    ["x[T - 5:]", /slice: start of axis 0/],
    ["broadcast_to(sum(x), [T - 5])", /broadcast_to: shape/],
  ])("is at least 0 in %s", (body, message) => {
    expect(() => call(body, 3)).toThrow(message);
  });

  it("is refused by the checker where the text tells it", () => {
    const codes = (body: string): string[] =>
      errorsOf(`model M { fn f(x: f32[3]) { ${body} } }`).map((d) => d.slice(0, 5));
    expect(codes("slice_at(x, [0], [4])")).toEqual(["E0302"]);
    expect(codes("update(zeros(2), x, at = [0])")).toEqual(["E0302"]);
    expect(codes("pad(x, [0 - 1])")).toEqual(["E0607"]);
  });
});

describe("batch statistics", () => {
  const text = (layer: string, x: string): string => `
    import { BatchNorm1d, BatchNorm2d, Linear } from "std/nn"
    model M {
      bn = ${layer}
      fn f(x: ${x}) { bn(x) }
      fn loss(x: ${x}) -> f32 { mean(square(bn(x))) }
    }
    train fit for M { minimize loss; with sgd(lr = 0.1) }`;
  const step = (layer: string, x: string, shape: readonly number[]): number[] => {
    const { trains, params } = modelOf(text(layer, x));
    const n = shape.reduce((a, d) => a * d, 1);
    const data = {
      x: dense(
        "f32",
        shape,
        Array.from({ length: n }, (_, i) => i * i),
      ),
    };
    const filled = (value: number) => dense("f32", [2], [value, value]);
    return [
      ...evaluate(trains[0].lossGraph, data, {
        params: Object.fromEntries(params.map((p) => [p.path, filled(1)])),
        state: { "bn.running_mean": filled(0), "bn.running_var": filled(1) },
      }).writes["bn.running_var"].data,
    ];
  };

  it("of more than one value per channel are taken", () => {
    // 0.9 + 0.1 * the unbiased variance of (0, 4) and (1, 9).
    expect(step("BatchNorm1d(2)", "f32[N, 2]", [2, 2])).toEqual([0.9 + 0.1 * 8, 0.9 + 0.1 * 32].map(near));
    expect(step("BatchNorm2d(2)", "f32[N, 2, H, W]", [1, 2, 1, 2])).toEqual([0.95, 2.15].map(near));
  });

  it("of one are refused at the call, before anything runs", () => {
    expect(() => step("BatchNorm1d(2)", "f32[N, 2]", [1, 2])).toThrow(
      /moments: at least 2 values are needed for each statistic, in bn: N must be at least 2/,
    );
    expect(() => step("BatchNorm2d(2)", "f32[N, 2, H, W]", [1, 2, 1, 1])).toThrow(/at least 2 values/);
  });

  it("of one are an error of the checker where the text tells it", () => {
    expect(errorsOf(text("BatchNorm1d(2)", "f32[1, 2]"))).toEqual([
      "E0504 moments: at least 2 values are needed for each statistic, given 1",
    ]);
  });
});
const near = (x: number): unknown => expect.closeTo(x, 6);

describe("sizes that only empty tensors have", () => {
  const half = "layer L { fn forward(x: f32[N], y: f32[N]) { x + y } }";
  it.each([
    [
      "model M { fn f(x: f32[N]) { x + concat([x, x], axis = 0) } }",
      /E0301 add: shapes \[N\] and \[2 \* N\]/,
    ],
    ["model M { fn f(x: f32[N, 4]) { reshape(x, [N, 8]) } }", /E0302 reshape: \[N, 4\] has 4 \* N elements/],
    [
      `${half}\nmodel M { l = L() fn f(x: f32[N], y: f32[2 * N]) { l(x, y) } }`.replace(") fn", ")\n fn"),
      /E0502 L: N is N in x and 2 \* N in y/,
    ],
  ])("are an error of the text: %s", (source, message) => {
    expect(errorsOf(source).join("\n")).toMatch(message);
  });
  it("are fine where a literal 0 says that they are meant", () =>
    expect(errorsOf("model M { fn f(x: f32[N]) { x + zeros(0) } }")).toEqual([]));
});
