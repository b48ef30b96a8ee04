// Rows in every way a workgroup may have them: long ones in parts, several short ones together, what is read again kept, on
// the adapter beside the reference in double precision. Sizes are no multiples of anything, and one.
import { describe, expect, it } from "vitest";
import { type Target, targets } from "../../compiler/core/index.ts";
import { dense } from "../../compiler/core/reference/evaluate.ts";
import { once, own } from "../support/adapter.ts";
import { difference } from "../support/allclose.ts";
import { signed } from "../support/hashing.ts";
import { compileText, testCompiled } from "../support/module.ts";
import { referenceNet } from "../support/reference.ts";

const gpu = targets.find((t) => t.name === "gpu") as Target;
/** Cuts whatever can be cut, into parts of a few elements each. */
const cut: Target = {
  ...gpu,
  name: "cut",
  rowThreads: 32,
  rows: { groups: 4096, alone: 1, back: 1, ahead: 4 },
};
const compiled = compileText(
  `
model M {
  fn total(x: f32[N, C, W]) -> f32 { sum(x) }
  fn columns(x: f32[N, C, W]) -> f32[W] { sum(x * x, axes = [0, 1]) }
  fn lines(x: f32[N, C, W]) -> f32[N] { sum(abs(x), axes = [1, 2]) }
  fn middles(x: f32[N, C, W]) -> f32[C] { mean(x, axes = [0, 2]) }
  fn eight(x: f32[N, C, 8]) -> f32[8] { var(x + 100, axes = [0, 1]) }
  fn seven(x: f32[N, C, 7]) -> f32[7] { var(x + 100, axes = [0, 1]) }
  fn spread(x: f32[N, C, W]) -> f32[C] { var(x + 100, axes = [0, 2], correction = 0) }
  fn norm(x: f32[N, C, W]) -> f32[N, C, W] {
    (m, v) = moments(x, axes = [0, 2], keepdims = true)
    (x - m) * rsqrt(v + 1e-5)
  }
  fn beside(x: f32[N, C, 12]) -> f32[N, C, 12] {
    (m, v) = moments(x, axes = [0, 1], keepdims = true)
    (x - m) * rsqrt(v + 1e-5)
  }
  fn residual(x: f32[N, C, 12], y: f32[N, C, 12], w: f32[12], b: f32[12]) -> (r: f32[N, C, 12], m: f32[1, 1, 12], v: f32[1, 1, 12], s: f32[1, 1, 12]) {
    (m, v) = moments(x, axes = [0, 1], keepdims = true)
    s = rsqrt(v + 1e-5)
    (relu((x - m) * s * w + b + y), m * 0.1, v * 0.1, s)
  }
  fn masked(x: f32[N, C, 12], y: f32[N, C, 12], w: f32[12], b: f32[12]) -> (d: f32[N, C, 12], p: f32[12], q: f32[12]) {
    g = where(x * w + b <= w - b, 0, y)
    p = sum(g * x, axes = [0, 1])
    q = sum(g, axes = [0, 1])
    (g + x * p + q, p, q)
  }
  fn soft(x: f32[N, C, W]) -> f32[N, C, W] { reshape(softmax(reshape(x, [N * C * W]), axis = 0), [N, C, W]) }
  fn down(x: f32[N, C, 5]) -> f32[N, C, 5] { reshape(log_softmax(reshape(x, [N * C, 5]), axis = 0), [N, C, 5]) }
  fn along(x: f32[N, 37]) -> f32[N, 37] { softmax(x) }
  fn kept(x: f32[N, 1000]) -> f32[N, 1000] { softmax(x * 3) }
  fn layer(x: f32[N, 36]) -> f32[N, 36] {
    (x - mean(x, axis = 1, keepdims = true)) * rsqrt(var(x, axis = 1, keepdims = true) + 1e-5)
  }
  fn three(x: f32[N, 3]) -> (most: f32[N], least: i32[N]) { (max(x, axis = 1), argmin(x, axis = 1)) }
  fn where_most(x: f32[N, C, W]) -> i32[W] { argmax(reshape(x, [N * C, W]), axis = 0) }
  fn extremes(x: f32[N, C, W]) -> (most: f32, least: f32, many: i32) { (max(x), min(x), sum(i32(x > 0))) }
  fn logic(x: f32[N, C, W]) -> (some: f32, each: f32) { (f32(any(x > 0.9)), f32(all(x > -2))) }
  fn products(x: f32[N, C, W]) -> f32[W] { prod(1 + x * 0.01, axes = [0, 1]) }
  fn lse(x: f32[N, C, W]) -> f32[W] { logsumexp(x * 20, axes = [0, 1]) }
}
`,
  { targets: [...once(own.name, "gpu"), cut] },
);
const module = testCompiled(() => compiled);
const reference = referenceNet(compiled);
const entries = compiled.artefact.programs[0].entries;

const sizes = [
  { N: 33, C: 6, W: 40 },
  { N: 700, C: 3, W: 5 },
  { N: 5, C: 64, W: 12 },
  { N: 1, C: 1, W: 1 },
  { N: 2, C: 1, W: 130 },
];
/** Columns of what has a number of them. */
const COLUMNS: Readonly<Record<string, number>> = {
  eight: 8,
  seven: 7,
  beside: 12,
  residual: 12,
  masked: 12,
  down: 5,
  along: 37,
  kept: 1000,
  layer: 36,
  three: 3,
};

describe.each(once("cut", "gpu", own.name))("rows on %s", (target) => {
  it("are what the reference says", async (context) => {
    const net = await module.load(context, { target });
    const wrong: string[] = [];
    for (const { N, C, W } of sizes)
      for (const { name, inputs } of entries) {
        const second = COLUMNS[name];
        const flat = ["along", "kept", "layer", "three"].includes(name);
        const shape = flat ? [N > 100 ? 3000 : N, second] : [N, C, second ?? W];
        const x = signed(`${name}${shape}`, shape);
        // The others are as wide, or as wide and long.
        const given = Object.fromEntries(
          inputs.map((i) => {
            const own = i.shape.length === 1 ? shape.slice(-1) : shape;
            return [i.name, { data: i.name === "x" ? x : signed(`${name}${i.name}${own}`, own), shape: own }];
          }),
        );
        const got = await net.results(name, given);
        const exact = Object.entries(given).map(([i, v]) => [i, dense("f32", v.shape, v.data)] as const);
        const want = reference.call(name, Object.fromEntries(exact));
        for (const [key, { data }] of Object.entries(want)) {
          const off = difference(got[key], data, { rtol: 1e-4, atol: 1e-5, name: `${name} ${shape}` });
          if (off) wrong.push(off);
        }
      }
    expect(wrong.join("\n")).toBe("");
  });
});

it("cuts and keeps where it says so", () => {
  const text = compiled.emit("kernels", "cut");
  expect(text).toMatch(/spread_parts|var_parts/);
  expect(text).toContain("_parts_2");
  expect(text).toContain("_rows ");
  expect(compiled.emit("kernels", "gpu")).toContain("kept");
});

/** Rows too long to be kept, of few threads: the largest and the sum of exponentials below it come from one pass. */
const thin: Target = {
  ...gpu,
  name: "thin",
  requires: { features: [], limits: { maxComputeInvocationsPerWorkgroup: 32 } },
  rowThreads: 32,
};
/** The same in parts, each of which sums below its own largest. */
const parted: Target = { ...thin, name: "parted", rows: cut.rows };
it.for([thin, parted])(
  "sums exponentials below the largest in one pass, whatever numbers a row has: $name",
  async (of, context) => {
    const long = compileText(
      `
model M {
  fn soft(x: f32[N, 4101]) -> f32[N, 4101] { softmax(x, axis = 1) }
  fn even(x: f32[N, 4100]) -> (p: f32[N, 4100], l: f32[N]) { (softmax(x, axis = 1), logsumexp(x, axis = 1)) }
  fn columns(x: f32[2100, N]) -> f32[2100, N] { log_softmax(x, axis = 0) }
}
`,
      { targets: [of] },
    );
    const text = long.emit("kernels", of.name);
    expect(text.match(/with the largest/g)).toHaveLength(3);
    expect(text.includes("_parts")).toBe(of === parted);
    const net = await testCompiled(() => long).load(context);
    const exact = referenceNet(long);
    const { NaN: none, POSITIVE_INFINITY: most, NEGATIVE_INFINITY: least } = Number;
    const changes: readonly ((i: number, x: number) => number)[] = [
      (_, x) => x,
      (_, x) => 300 * x - 1000,
      (i, x) => (i < 3000 ? least : x),
      (i, x) => (i === 1500 ? x : least),
      () => least,
      (i, x) => (i === 1200 ? none : x),
      (i, x) => (i === 1300 ? most : x),
      (i, x) => (i % 2 === 0 ? 1.7e38 : -1.7e38 * Math.abs(x)),
      () => -3.4028234663852886e38,
    ];
    const rows = changes.length;
    for (const { name } of long.artefact.programs[0].entries) {
      const length = { soft: 4101, even: 4100 }[name] ?? 2100;
      const shape = length === 2100 ? [length, rows] : [rows, length];
      const drawn = signed(name, shape);
      const data = drawn.map((x, at) =>
        length === 2100
          ? changes[at % rows](Math.floor(at / rows), x)
          : changes[Math.floor(at / length)](at % length, x),
      );
      const got = await net.results(name, { x: { shape, data } });
      const want = exact.call(name, { x: dense("f32", shape, data) });
      for (const [key, { data: expected }] of Object.entries(want))
        expect(
          difference(got[key], expected, { rtol: 1e-5, atol: 1e-6, name: `${name}.${key}`, shape }),
        ).toBeUndefined();
    }
  },
);
