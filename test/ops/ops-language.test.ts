// Operators as programs call them: several results, lists of operands, words for numbers, sizes that the call alone knows, and
// what is refused.
import { describe, expect, it } from "vitest";
import { dense, evaluate } from "../../compiler/core/reference/evaluate.ts";
import { errorsOf, modelOf } from "../support/check.ts";

const model = modelOf(`model M {
  fn sorted(x: f32[N]) -> (values: f32[N], indices: i32[N]) {
    (values, indices) = sort(x, descending = true)
    (values = values, indices = indices)
  }
  fn best(x: f32[B, 4]) -> f32[B, 2] {
    (values, _) = top_k(x, 2)
    values
  }
  fn slope(x: f32[B, 4]) -> f32[B, 4] { grad(total, wrt = x)(x) }
  private fn total(x: f32[B, 4]) -> f32 { sum(best(x) * 3) }
  fn spread(x: f32[N], ids: i32[K], y: f32[K]) -> f32[N] { scatter(x, ids, y) + scatter_add(x, ids, y) }
  fn highest(x: f32[N], ids: i32[K], y: f32[K]) -> f32[N] { scatter_reduce(x, ids, y, reduce = "amax", include_self = false) }
  private fn highest_sum(x: f32[N], ids: i32[K], y: f32[K]) -> f32 { sum(highest(x, ids, y)) }
  fn shares(x: f32[N], ids: i32[K], y: f32[K]) -> (x: f32[N], y: f32[K]) {
    (dx, dy) = grad(highest_sum, wrt = (x, y))(x, ids, y)
    (x = dx, y = dy)
  }
  fn summed(x: f32[N, 2], ids: i32[N]) -> f32[3, 2] { segment_sum(x, ids, 3) + index_add(zeros(3, 2), ids, x) }
  fn products(x: f32[B, I, J], y: f32[J, K]) -> f32[B, K] { einsum("bij,jk->bk", x, y) }
  fn around(x: f32[H, W]) -> f32[H + 2, W + 2] { pad(x, low = [1, 1], mode = "reflect") }
  fn larger(x: f32[N, 1, H, W]) -> f32[N, 1, 2 * H, 2 * W] { interpolate(x, scale = 2) }
  fn smooth(x: f32[1, 1, H, W]) -> f32[1, 1, 2 * H, 3] { interpolate(x, [2 * H, 3], mode = "bilinear") }
  fn same(x: f32[N, 1, H, W], w: f32[1, 1, 3, 2]) -> f32[N, 1, H, W] { conv2d(x, w, padding = "same") }
  fn pooled(x: f32[N, 1, H, W]) -> f32[N, 1, 2, 2] { adaptive_avg_pool2d(x, [2, 2]) }
  fn turned(x: f32[1, 1, 4, 4]) -> f32[1, 1, 4, 4] {
    (values, indices) = max_pool2d_with_indices(x, 2)
    max_unpool2d(values, indices, 2)
  }
}`);
const run = (name: string, inputs: Record<string, readonly [readonly number[], readonly number[]]>) => {
  const entry = model.entries.find((e) => e.name === name);
  if (!entry) throw new Error(`no ${name}`);
  const data = Object.fromEntries(
    entry.inputs.map(({ name: n, type }) => [n, dense(type.dtype, inputs[n][0], inputs[n][1])]),
  );
  const { results } = evaluate(entry.graph, data);
  return Object.fromEntries(Object.entries(results).map(([k, v]) => [k, [...v.data]]));
};
const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

describe("operators in programs", () => {
  it("give several results", () => {
    expect(run("sorted", { x: [[4], [2, 5, 5, 1]] })).toEqual({
      values: [5, 5, 2, 1],
      indices: [1, 2, 0, 3],
    });
    const x = [
      [2, 4],
      [1, 4, 3, 2, 0, -1, 7, 7],
    ] as const;
    expect(run("best", { x }).best).toEqual([4, 3, 7, 7]);
    expect(run("slope", { x }).slope).toEqual([0, 3, 3, 0, 0, 0, 3, 3]);
  });
  it("scatter", () => {
    const at = { x: [[3], [1, 2, 3]], ids: [[3], [0, 2, 0]], y: [[3], [10, 20, 30]] } as const;
    expect(run("spread", at).spread).toEqual([30 + 41, 2 + 2, 20 + 23]);
    expect(
      run("summed", {
        x: [
          [3, 2],
          [1, 2, 3, 4, 5, 6],
        ],
        ids: [[3], [2, 0, 2]],
      }).summed,
    ).toEqual([6, 8, 0, 0, 12, 16]);
  });
  it("reduce what is scattered, and share a gradient among ties without what has no part in them", () => {
    const at = { x: [[3], [5, 0, 7]], ids: [[4], [0, 0, 0, 2]], y: [[4], [5, 5, 1, -1]] } as const;
    expect(run("highest", at).highest).toEqual([5, 0, -1]);
    expect(run("shares", at)).toEqual({ x: [0, 1, 0], y: [0.5, 0.5, 0, 1] });
  });
  it("take sizes that the call knows", () => {
    expect(
      run("products", {
        x: [
          [1, 2, 2],
          [1, 2, 3, 4],
        ],
        y: [
          [2, 1],
          [1, 10],
        ],
      }).products,
    ).toEqual([64]);
    expect(
      run("around", {
        x: [
          [2, 2],
          [1, 2, 3, 4],
        ],
      }).around,
    ).toEqual([4, 3, 4, 3, 2, 1, 2, 1, 4, 3, 4, 3, 2, 1, 2, 1]);
    expect(
      run("larger", {
        x: [
          [1, 1, 1, 2],
          [1, 2],
        ],
      }).larger,
    ).toEqual([1, 1, 2, 2, 1, 1, 2, 2]);
    expect(
      run("smooth", {
        x: [
          [1, 1, 1, 3],
          [1, 2, 3],
        ],
      }).smooth,
    ).toEqual([1, 2, 3, 1, 2, 3]);
    expect(
      run("same", {
        x: [
          [1, 1, 2, 2],
          [1, 2, 3, 4],
        ],
        w: [
          [1, 1, 3, 2],
          [0, 0, 1, 1, 0, 0],
        ],
      }).same,
    ).toEqual([3, 2, 7, 4]);
    expect(run("pooled", { x: [[1, 1, 3, 3], upTo(9)] }).pooled).toEqual([2, 3, 5, 6]);
    expect(run("turned", { x: [[1, 1, 4, 4], upTo(16)] }).turned).toEqual([
      0, 0, 0, 0, 0, 5, 0, 7, 0, 0, 0, 0, 0, 13, 0, 15,
    ]);
  });
  it.each([
    ["top_k(x, 5)", "E0302", "top_k: 5 of 4 elements"],
    ['einsum("ij,jk->ik", x)', "E0601", "has 2 operands, given 1"],
    ['einsum("ijk", x)', "E0304", "names 3 axes"],
    ['einsum("ij->ik", x)', "E0606", "k of the result is in no operand"],
    ['pad(x, low = [0, 4], mode = "reflect")', "E0302", "need 5 on axis 1"],
    ['pad(x, low = [0, 4], mode = "mirror")', "E0606", 'mode is not "mirror"'],
    ["interpolate(x[new, new], scale = 2, size = [2, 2])", "E0601", "a size or a scale"],
    ['interpolate(x[new, new], scale = 2, mode = "trilinear")', "E0606", "3 spatial axes"],
    ['conv2d(x[new, new], ones(1, 1, 2, 2), padding = "same", stride = 2)', "E0607", "stride of 1"],
    ['conv2d(x[new, new], ones(1, 1, 2, 2), padding = "sam")', "E0606", 'padding is not "sam"'],
    ["scatter(x, iota(4), x)", "E0302", "do not fit"],
    ["pixel_shuffle(x[new], 2)", "E0302", "do not divide by 4"],
    ["adaptive_avg_pool2d(x[new, new], [2])", undefined, ""],
    ["adaptive_avg_pool2d(x[new, new], [0, 1])", "E0607", "above 0"],
    ["fold(x.T[new], size = [3, 3], kernel = 2)", "E0302", "positions"],
  ])("%s: %s", (body, code, message) => {
    const found = errorsOf(`model M { fn f(x: f32[3, 4]) { ${body} } }`);
    if (code === undefined) expect(found).toEqual([]);
    else expect(found.join()).toContain(code);
    expect(found.join()).toContain(message);
  });
});
