// Losses where the numbers are hard: scores at large common offsets, infinities, classes that do not count. Values and
// gradients of the emitted kernels, on each target and in both precisions, against PyTorch's (test/figures/losses.json,
// made by test/figures/make/losses.py).
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { dense, evaluate } from "../../compiler/core/reference/evaluate.ts";
import { own, targets } from "../support/adapter.ts";
import { difference } from "../support/allclose.ts";
import { compileText, testModule } from "../support/module.ts";

type Numbers = readonly (number | boolean | "NaN" | "Infinity" | "-Infinity")[];
interface LossCase {
  readonly group: "losses" | "attention";
  readonly entry: string;
  readonly inputs: {
    readonly [name: string]: {
      readonly dtype: "f32" | "f16" | "i32" | "bool";
      readonly shape: readonly number[];
      readonly data: Numbers;
    };
  };
  readonly atol?: number;
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
const attentions = (x: "f32" | "f16"): string => {
  const suffix = x === "f32" ? "" : "16";
  const entry = (name: string, mask: string, more: string): string => {
    const m = mask ? ", m" : "";
    const params = `q: ${x}[B, 2, T, 4], k: ${x}[B, 2, S, 4], v: ${x}[B, 2, S, 4], c: ${x}[B, 2, T, 4]${mask && `, m: ${mask}`}`;
    const wrt = `q, k, v${mask.startsWith("f") ? ", m" : ""}`;
    return `
  private fn sum_${name}(${params}) -> ${x} { sum(attention(q, k, v${m}${more}) * c) }
  fn ${name}${suffix}(${params}) {
    (gq, gk, gv${mask.startsWith("f") ? ", gm" : ""}) = grad(sum_${name}, wrt = (${wrt}))(q, k, v, c${m})
    (y = attention(q, k, v${m}${more}), gq = gq, gk = gk, gv = gv${mask.startsWith("f") ? ", gm = gm" : ""})
  }`;
  };
  const both = `${entry("masked_causal", "bool[T, S]", ", causal = true")}
    ${entry("added_causal", `${x}[T, S]`, ", causal = true")}`;
  return x === "f16"
    ? `model Attention { ${both} }`
    : `model Attention {
    ${entry("causal", "", ", causal = true, scale = 0.5")}
    ${both}
    ${entry("padded", "bool[B, 1, 1, S]", "")}
  }`;
};
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
  fn plus_(x: f32[N]) { (y = softplus(x), gx = grad(plus, wrt = x)(x)) }
}`;
const arrays = { f32: Float32Array, f16: Float32Array, i32: Int32Array, bool: Uint8Array };

/** One target with a kernel of its own for attention, one with its definition. */
const attended = [own, targets.find((t) => t.fastShared !== own.fastShared) ?? own].map((t) => t.name);
// Entries of f16 are a module of their own: an adapter without it runs the others.
const groups = [
  { name: "losses", group: "losses", isHalf: false, source: single, on: targets.map((t) => t.name) },
  { name: "losses in f16", group: "losses", isHalf: true, source: half, on: targets.map((t) => t.name) },
  {
    name: "attention",
    group: "attention",
    isHalf: false,
    source: attentions("f32"),
    on: attended,
  },
  {
    name: "attention in f16",
    group: "attention",
    isHalf: true,
    source: attentions("f16"),
    on: attended,
  },
] as const;
const casesOf = (group: string, isHalf: boolean): [number, LossCase][] =>
  [...cases.entries()].filter(
    ([, c]) => c.group === group && Object.values(c.inputs).some((v) => v.dtype === "f16") === isHalf,
  );
/** What of a case's results is not PyTorch's. */
function wrongOf(
  i: number,
  c: LossCase,
  got: { readonly [name: string]: ArrayLike<number> },
  isHalf: boolean,
): (string | undefined)[] {
  return Object.entries(c.expected)
    .filter(([k]) => k !== "s" || c.group === "losses")
    .map(([k, want]) => {
      // f16 holds 65,504 at most and eleven bits.
      const numbers = want.map((v) =>
        isHalf && Math.abs(Number(v)) > 65520 ? Number(v) * Infinity : Number(v),
      );
      const how = isHalf ? { rtol: 2e-3, atol: 1e-3 } : { rtol: 1e-5, atol: 1e-5 };
      return difference(got[k], numbers, {
        ...how,
        ...(c.atol ? { atol: c.atol } : {}),
        name: `${i}: ${c.entry}.${k}`,
      });
    });
}

for (const { name, group, isHalf, source, on } of groups) {
  it(`${name} of the reference agree with PyTorch`, () => {
    const { model } = compileText(source);
    const wrong = casesOf(group, isHalf).flatMap(([i, c]) => {
      const { graph } = model.entries.find((e) => e.name === c.entry) as (typeof model.entries)[number];
      const inputs = Object.fromEntries(
        Object.entries(c.inputs).map(([k, v]) => [k, dense(v.dtype, v.shape, v.data.map(Number))]),
      );
      const { results } = evaluate(graph, inputs);
      const got = Object.fromEntries(
        Object.entries(results).map(([k, v]) => [k, isHalf ? v.data.map(toHalf) : v.data]),
      );
      return wrongOf(i, c, got, isHalf);
    });
    expect(wrong.filter((w) => w !== undefined)).toEqual([]);
  });

  const module = testModule(source);
  describe.each(on)(`${name} on %s`, (target) => {
    it("agree with PyTorch", async (context) => {
      const net = await module.load(context, { target });
      const wrong: (string | undefined)[] = [];
      for (const [i, c] of casesOf(group, isHalf)) {
        const inputs = Object.fromEntries(
          Object.entries(c.inputs).map(([k, v]) => [
            k,
            { data: arrays[v.dtype].from(v.data.map(Number)), shape: v.shape },
          ]),
        );
        const got = await net.results(c.entry, inputs);
        if (got["gx_nll"]) wrong.push(difference(got["gx_nll"], got["gx"], { name: `${i}: gx_nll` }));
        wrong.push(...wrongOf(i, c, got, isHalf));
      }
      expect(wrong.filter((w) => w !== undefined)).toEqual([]);
      expect(casesOf(group, isHalf).length).toBeGreaterThan(2);
    });
  });
}
const toHalf = (v: number): number => (Math.abs(v) > 65520 ? v * Infinity : v);
