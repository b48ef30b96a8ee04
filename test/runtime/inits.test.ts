// How parameters begin: PyTorch's initialisers, by what is known of their distributions, and from a seed.
import { describe, expect, it } from "vitest";
import { beginning } from "../../compiler/cli/weights.ts";
import { compile, emitModule } from "../../compiler/core/index.ts";
import { errorsOf } from "../support/check.ts";
import { compileText } from "../support/module.ts";

const modelOf = (...params: readonly (readonly [shape: string, init: string])[]): string => `model M {
${params.map(([shape, init], i) => `  param p${i}: f32[${shape}] = ${init}`).join("\n")}
  fn f(x: f32[]) { x + ${params.map((_, i) => `sum(p${i})`).join(" + ")} }
}`;
/** What a parameter of this shape begins with. */
function drawn(shape: string, init: string, seed = 1): readonly number[] {
  const { artefact } = compileText(modelOf([shape, init]), { targets: ["baseline"] });
  return [...beginning(artefact, undefined, seed).values()].flatMap((data) => [...data]);
}
const moments = (x: readonly number[]) => {
  const mean = x.reduce((a, b) => a + b, 0) / x.length;
  const std = Math.sqrt(x.reduce((a, b) => a + (b - mean) ** 2, 0) / x.length);
  return { mean, std, low: Math.min(...x), high: Math.max(...x) };
};

describe("values from a distribution", () => {
  const n = "64, 32, 5, 2";
  const [fanIn, fanOut] = [320, 640];
  const uniform = (bound: number) => ({ std: bound / Math.sqrt(3), bound });
  it.each([
    ["kaiming_uniform()", uniform(Math.sqrt(6 / fanIn))],
    ["kaiming_uniform(a = sqrt(5))", uniform(1 / Math.sqrt(fanIn))],
    ['kaiming_uniform(mode = "fan_out", nonlinearity = "tanh")', uniform((5 / 3) * Math.sqrt(3 / fanOut))],
    ['kaiming_normal(nonlinearity = "conv_transpose2d")', { std: Math.sqrt(1 / fanIn) }],
    ['kaiming_normal(nonlinearity = "relu")', { std: Math.sqrt(2 / fanIn) }],
    ['kaiming_normal(mode = "fan_out", nonlinearity = "selu")', { std: 0.75 / Math.sqrt(fanOut) }],
    ["xavier_uniform(gain = 2)", uniform(2 * Math.sqrt(6 / (fanIn + fanOut)))],
    ["xavier_normal()", { std: Math.sqrt(2 / (fanIn + fanOut)) }],
    ["normal(0.3)", { std: 0.3 }],
    // Of the interval, the standard deviation is less.
    ["trunc_normal()", { std: 0.8796256610342398, bound: 2 }],
    ["trunc_normal(std = 0.02)", { std: 0.02, bound: 2 }],
  ] as const)("%s", (init, want: { readonly std: number; readonly bound?: number }) => {
    const { mean, std, low, high } = moments(drawn(n, init));
    const error = want.std / Math.sqrt(64 * 320);
    expect(Math.abs(mean)).toBeLessThan(4 * error);
    expect(Math.abs(std - want.std)).toBeLessThan(4 * error);
    if (want.bound === undefined) return;
    expect(Math.max(-low, high)).toBeLessThanOrEqual(want.bound);
  });

  it("a normal distribution is cut where it is said to be, however far out", () => {
    const { mean, std, low, high } = moments(
      drawn("100, 100", "trunc_normal(1.0, mean = 3.0, a = 3.5, b = inf)"),
    );
    // Of what lies beyond half a standard deviation; 1.1411 is the density there over the share beyond.
    expect(mean).toBeCloseTo(3 + 1.1411, 1);
    expect(std).toBeCloseTo(0.518, 1);
    expect(low).toBeGreaterThanOrEqual(3.5);
    expect(high).toBeGreaterThan(5);
    const far = moments(drawn("20, 20", "trunc_normal(a = 9, b = 12)"));
    expect(far.low).toBeGreaterThanOrEqual(9);
    expect(far.mean).toBeCloseTo(9.11, 1);
  });
});

describe("matrices with a property", () => {
  const product = (x: readonly number[], rows: number, cols: number): number[] =>
    Array.from({ length: rows * rows }, (_, i) => {
      let sum = 0;
      for (let k = 0; k < cols; k++) sum += x[Math.floor(i / rows) * cols + k] * x[(i % rows) * cols + k];
      return sum;
    });
  it("rows are at right angles, or columns are", () => {
    const wide = product(drawn("6, 4, 3", "orthogonal(gain = 2)"), 6, 12);
    for (const [i, v] of wide.entries()) expect(v).toBeCloseTo(i % 7 === 0 ? 4 : 0, 5);
    const tall = drawn("12, 6", "orthogonal()");
    const turned = Array.from({ length: 72 }, (_, i) => tall[(i % 12) * 6 + Math.floor(i / 12)]);
    for (const [i, v] of product(turned, 6, 12).entries()) expect(v).toBeCloseTo(i % 7 === 0 ? 1 : 0, 5);
    // All directions: none of them is preferred.
    expect(moments(drawn("200, 200", "orthogonal()")).mean).toBeCloseTo(0, 2);
    expect(drawn("3, 3", "orthogonal()", 1)).not.toEqual(drawn("3, 3", "orthogonal()", 2));
  });
  it("eye_ and dirac_ are PyTorch's", () => {
    expect(drawn("2, 3", "eye()")).toEqual([1, 0, 0, 0, 1, 0]);
    expect(drawn("3, 2, 3", "dirac()")).toEqual([0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    // torch.nn.init.dirac_(torch.empty(4, 2, 2, 3), groups=2).flatten().nonzero()
    const at = drawn("4, 2, 2, 3", "dirac(groups = 2)").flatMap((v, i) => (v === 1 ? [i] : []));
    expect(at).toEqual([4, 22, 28, 46]);
  });
  it("an embedding's padding is zeros, and the rest as ever", () => {
    const begin = (padding: string) => {
      const { artefact } = compileText(
        `import { Embedding } from "std/nn"\nmodel M { table = Embedding(4, 3${padding})\n fn f(i: i32[N]) { table(i) } }`,
        { targets: ["baseline"] },
      );
      return [...beginning(artefact, undefined, 1).values()].flatMap((data) => [...data]);
    };
    const plain = begin("");
    for (const [padding, from] of [
      [", 1", 3],
      [", -1", 9],
    ] as const)
      expect(begin(padding)).toEqual(plain.map((v, i) => (i >= from && i < from + 3 ? 0 : v)));
  });
  it("each column has as many zeros as it is to have", () => {
    const x = drawn("10, 40", "sparse(0.25, std = 2.0)");
    const zeros = Array.from({ length: 40 }, (_, c) => x.filter((v, i) => i % 40 === c && v === 0).length);
    expect(new Set(zeros)).toEqual(new Set([3]));
    const rows = Array.from(
      { length: 10 },
      (_, r) => x.filter((v, i) => Math.floor(i / 40) === r && v === 0).length,
    );
    expect(Math.max(...rows)).toBeLessThan(24);
    expect(moments(x.filter((v) => v !== 0)).std).toBeCloseTo(2, 0);
  });
});

it("says what an initialiser is not for", () => {
  for (const [shape, init, text] of [
    ["3", "orthogonal()", /orthogonal is of two axes and more, given \[3\]/],
    ["3, 3, 3", "eye()", /eye is of two axes/],
    ["3, 3", "dirac()", /dirac is of three to five axes/],
    ["3, 3, 3", "dirac(groups = 2)", /dirac: 2 groups of 3 channels/],
    ["3, 3", "trunc_normal(a = 2, b = -2)", /a below b/],
    ["3, 3", "sparse(1.5)", /between 0 and 1/],
    ["3, 3", 'kaiming_uniform(mode = "fan_it")', /mode/],
  ] as const)
    expect(errorsOf(modelOf([shape, init])).join()).toMatch(text);
});

it("is carried by modules that have one alone", () => {
  const text = (init: string) =>
    emitModule(compile(modelOf(["4, 4", init]), "m.mdl").artefact, { runtime: "inline" }).js;
  expect(text("orthogonal()")).toMatch(/trunc_normal/);
  expect(text("xavier_uniform()")).not.toMatch(/trunc_normal/);
});
