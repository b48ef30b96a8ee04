// Losses where the numbers are hard: scores at large common offsets, infinities, classes that do not count. Values and
// gradients of the emitted kernels, on each target and in both precisions, against PyTorch's (test/figures/losses.json,
// made by test/figures/make/losses.py).
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { targets } from "../../compiler/core/targets.ts";
import { difference } from "../support/allclose.ts";
import { testModule } from "../support/module.ts";

type Numbers = readonly (number | boolean | "NaN" | "Infinity" | "-Infinity")[];
interface LossCase {
  readonly entry: string;
  readonly inputs: {
    readonly [name: string]: {
      readonly dtype: "f32" | "f16" | "i32" | "bool";
      readonly shape: readonly number[];
      readonly data: Numbers;
    };
  };
  readonly expected: { readonly [result: string]: Numbers };
}
const cases = JSON.parse(
  readFileSync(new URL("../figures/losses.json", import.meta.url), "utf8"),
) as readonly LossCase[];

const losses = (x: string): string => `
  private fn total${x}(x: ${x}[N, 3], y: i32[N]) -> ${x} { cross_entropy(x, y, reduction = "sum") }
  fn offsets${x === "f32" ? "" : "16"}(x: ${x}[N, 3], y: i32[N]) {
    (l = total${x}(x, y), each = cross_entropy(x, y, reduction = "none"), ls = log_softmax(x), s = softmax(x),
     lse = logsumexp(x, axis = 1), gx = grad(total${x}, wrt = x)(x, y))
  }`;
const half = `model Losses {${losses("f16")}}`;
const single = `
import { binary_cross_entropy_with_logits, nll_loss } from "std/loss"
model Losses {
  ${losses("f32")}
  private fn lse(x: f32[N, 3]) -> f32 { sum(logsumexp(x, axis = 1)) }
  fn sums(x: f32[N, 3]) { (y = logsumexp(x, axis = 1), all = logsumexp(x), gx = grad(lse, wrt = x)(x)) }

  private fn mean3(x: f32[N, 3], y: i32[N]) -> f32 { cross_entropy(x, y) }
  private fn nll3(x: f32[N, 3], y: i32[N]) -> f32 { nll_loss(log_softmax(x), y) }
  fn ignored(x: f32[N, 3], y: i32[N]) {
    (l = mean3(x, y), total = cross_entropy(x, y, reduction = "sum"), each = cross_entropy(x, y, reduction = "none"),
     nll = nll3(x, y), gx = grad(mean3, wrt = x)(x, y), gx_nll = grad(nll3, wrt = x)(x, y))
  }
  private fn one(x: f32[N, 3], y: i32[N]) -> f32 { cross_entropy(x, y, ignore_index = 1) }
  fn ignored1(x: f32[N, 3], y: i32[N]) {
    (l = one(x, y), nll = nll_loss(log_softmax(x), y, ignore_index = 1), gx = grad(one, wrt = x)(x, y))
  }
  private fn image(x: f32[N, 3, 2, 2], y: i32[N, 2, 2]) -> f32 { cross_entropy(x, y) }
  fn images(x: f32[N, 3, 2, 2], y: i32[N, 2, 2]) { (l = image(x, y), gx = grad(image, wrt = x)(x, y)) }
  private fn bce(x: f32[N], y: f32[N]) -> f32 { binary_cross_entropy_with_logits(x, y) }
  fn logits(x: f32[N], y: f32[N]) { (l = bce(x, y), gx = grad(bce, wrt = x)(x, y)) }
  private fn plus(x: f32[N]) -> f32 { sum(softplus(x)) }
  fn softplus_(x: f32[N]) { (y = softplus(x), gx = grad(plus, wrt = x)(x)) }
}`;
const arrays = { f32: Float32Array, f16: Float32Array, i32: Int32Array, bool: Uint8Array };

// Entries of f16 are a module of their own: an adapter without it runs the others.
for (const [isHalf, module] of [
  [false, testModule(single)],
  [true, testModule(half)],
] as const) {
  describe.each(targets.map((t) => t.name))(`losses${isHalf ? " in f16" : ""} on %s`, (target) => {
    it("agree with PyTorch", async (context) => {
      const net = await module.load(context, { target });
      const wrong: (string | undefined)[] = [];
      let ran = 0;
      for (const [i, c] of cases.entries()) {
        if ((c.inputs["x"].dtype === "f16") !== isHalf) continue;
        const inputs = Object.fromEntries(
          Object.entries(c.inputs).map(([k, v]) => [
            k,
            { data: arrays[v.dtype].from(v.data.map(Number)), shape: v.shape },
          ]),
        );
        const got = await net.results(c.entry === "softplus" ? "softplus_" : c.entry, inputs);
        if (got["gx_nll"]) wrong.push(difference(got["gx_nll"], got["gx"], { name: `${i}: gx_nll` }));
        for (const [k, want] of Object.entries(c.expected)) {
          // f16 holds 65,504 at most and eleven bits.
          const numbers = want.map((v) =>
            isHalf && Math.abs(Number(v)) > 65520 ? Number(v) * Infinity : Number(v),
          );
          const how = isHalf ? { rtol: 1e-3, atol: 1e-3 } : { rtol: 1e-5, atol: 1e-5 };
          wrong.push(difference(got[k], numbers, { ...how, name: `${i}: ${c.entry}.${k}` }));
        }
        ran++;
      }
      expect(wrong.filter((w) => w !== undefined)).toEqual([]);
      expect(ran).toBeGreaterThan(5);
    });
  });
}
