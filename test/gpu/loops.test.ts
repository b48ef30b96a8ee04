// Training through loops, on the adapter, against what PyTorch's unrolled loops give: the loss, and the gradient that a step
// of plain gradient descent follows (test/figures/loops.json, made by test/figures/make/loops.py). One model with a train
// block for each loss, so that several blocks share parameters. No evaluator of ours has a say here.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { targets } from "../../compiler/core/targets.ts";
import { difference } from "../support/allclose.ts";
import { parameter, signed } from "../support/hashing.ts";
import { testModule } from "../support/module.ts";

interface Figures {
  readonly sizes: { readonly B: number; readonly T: number; readonly d: number; readonly h: number };
  readonly parameters: { readonly [path: string]: readonly number[] };
  readonly losses: {
    readonly [name: string]: {
      readonly loss: number;
      readonly gradients: { readonly [path: string]: readonly number[] };
    };
  };
}
const figures = JSON.parse(
  readFileSync(new URL("../figures/loops.json", import.meta.url), "utf8"),
) as Figures;

const FNS = `
  private fn hoisted_rnn(x: f32[B, T, d]) -> f32 {
    last = scan xt over ih(x) axis 1 with s = zeros(B, h) { s = tanh(xt + hh(s)) }
    mean(last ** 2)
  }
  private fn leaky(x: f32[B, T, d]) -> f32 {
    r = scan xt over x axis 1 with s = zeros(B, d) {
      s = 0.9 * s + 0.1 * tanh(xt @ leak)
      emit y = s
    }
    mean((r.y - 1) ** 2)
  }
  private fn begun(x: f32[B, T, d]) -> f32 {
    first = zeros(B, 1) + start
    r = scan xt over x axis 1 with a = first, b = first * 0.5 {
      z = sigmoid(score(a))
      (a, b) = (tanh(ih(xt) + b), a * z)
      emit e = a - b
    }
    mean(r.e ** 2) + sum(r.a) * 0.1 + mean(r.b ** 2)
  }
  private fn looked_up(x: f32[B, T, d]) -> f32 {
    r = scan xt over x axis 1 with s = zeros(B, d), i = iota(B) {
      s = tanh(s + take(table, i) * xt)
      i = (i + 2) % 4
    }
    mean(r.s ** 2)
  }
  private fn nested(x: f32[B, T, d]) -> f32 {
    r = scan xt over x axis 1 with s = zeros(B, d) {
      q = scan xu over x axis 1 with c = s {
        c = tanh(0.5 * c + xu @ leak + xt)
        emit z = c
      }
      s = 0.5 * s + q.c
      emit y = sum(q.z, axis = 1)
    }
    mean(r.s ** 2) + mean(r.y ** 2) * 0.01
  }
  private fn penalised(x: f32[B, T, d]) -> f32 {
    leaky(x) + 100 * sum(grad(leaky, wrt = x)(x) ** 2)
  }
  private fn attention_loss(x: f32[B, T, d]) -> f32 {
    keys = x @ leak
    r = scan xt over x axis 1 with s = zeros(B, d) {
      a = softmax(mix(tanh(keys + s[:, new]))[:, :, 0], axis = 1)
      s = sum(a[:, :, new] * x, axis = 1) + 0.5 * tanh(xt)
      emit y = s
    }
    mean(r.y ** 2)
  }`;
const source = (losses: readonly string[]): string => `import { Linear } from "std/nn"
model Loops(d: int = ${figures.sizes.d}, h: int = ${figures.sizes.h}) {
  ih    = Linear(d, h)
  hh    = Linear(h, h, bias = false)
  score = Linear(h, 1)
  mix   = Linear(d, 1, bias = false)
  param leak:  f32[d, d] = zeros()
  param start: f32[h]    = zeros()
  param table: f32[4, d] = zeros()
${FNS}
}
${losses.map((l) => `train ${l}_fit for Loops { minimize ${l === "attention" ? "attention_loss" : l}; with sgd(lr = 1.0) }`).join("\n")}
`;

const every = Object.keys(figures.losses);
/** The other targets differ in their kernels only, which this adapter compiles slowly. */
const tried: Readonly<Record<string, readonly string[]>> = {
  "cpu-subgroup": every,
  gpu: ["hoisted_rnn", "begun"],
  baseline: ["hoisted_rnn"],
};

describe.each(targets.map((t) => t.name))("on %s", (target) => {
  const names = tried[target] ?? every;
  const module = testModule(source(names), { targets: [target] });
  for (const name of names)
    it(name, async (context) => {
      const { sizes, parameters, losses } = figures;
      const net = await module.load(context, { target });
      const all = Object.entries(parameters);
      for (const [path, shape] of all) await net.base.setParameter(path, parameter(path, shape));
      const x = { data: signed("x", [sizes.B, sizes.T, sizes.d]), shape: [sizes.B, sizes.T, sizes.d] };
      const want = losses[name];
      expect(await net.step(`${name}_fit`, { x })).toBeCloseTo(want.loss, 5);
      for (const [path, shape] of all) {
        const before = parameter(path, shape);
        const after = await net.parameter(path);
        const moved = before.map((v, i) => v - Number(after[i]));
        const gradient = want.gradients[path] ?? Array.from(before, () => 0);
        const wrong = difference(moved, gradient, { name: path, shape, rtol: 1e-4, atol: 2e-6 });
        if (wrong) throw new Error(wrong);
      }
    });
});
