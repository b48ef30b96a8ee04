// Training through loops, on the adapter, against what PyTorch's unrolled loops give: the loss, and the gradient that a step
// of plain gradient descent follows (test/figures/loops.json, made by test/figures/make/loops.py). One model with a train
// block for each loss, so that several blocks share parameters. No evaluator of ours has a say here.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { once, own, targets } from "../support/adapter.ts";
import { difference } from "../support/allclose.ts";
import { parameter, signed } from "../support/hashing.ts";
import { testModule } from "../support/module.ts";

interface Statistics {
  readonly running_mean: readonly number[];
  readonly running_var: readonly number[];
}
interface Figures {
  readonly sizes: { readonly B: number; readonly T: number; readonly d: number; readonly h: number };
  readonly seed: number;
  readonly parameters: { readonly [path: string]: readonly number[] };
  readonly batch_norm: {
    readonly twice: Statistics & {
      readonly loss: number;
      readonly weight: readonly number[];
      readonly bias: readonly number[];
    };
    readonly then_looped: Statistics;
  };
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
  }
  private fn dropped(x: f32[B, T, d]) -> f32 {
    one = dropout(ones(B, h), 0.5)
    s = scan xt over x axis 1 with s = zeros(B, h) {
      s = tanh(xt @ ih.weight.T + dropout(hh(s), 0.5)) * one
    }
    sum(s ** 2)
  }
  private fn dropped_twice(x: f32[B, T, d]) -> f32 {
    s = scan xt over x axis 1 with s = zeros(B, d) {
      c = scan xu over x axis 1 with c = s { c = tanh(dropout(c + xu @ leak, 0.5) + xt) }
      s = 0.5 * s + c
    }
    mean(s ** 2)
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

const NORMS = `import { BatchNorm1d } from "std/nn"
model Norms(d: int = ${figures.sizes.d}) {
  bn = BatchNorm1d(d)
  fn twice(real: f32[N, d], fake: f32[N, d]) -> f32 { mean(bn(real) ** 3) + mean(bn(2 * fake + 1) ** 4) }
  fn looped(x: f32[B, T, d]) -> f32 {
    y = scan xt over x axis 1 { emit y = bn(xt) }
    mean(y ** 2)
  }
}
train twice_fit  for Norms { minimize twice; with sgd(lr = 1.0) }
train looped_fit for Norms { minimize looped; with sgd(lr = 0.0) }`;

const every = Object.keys(figures.losses);
/** The targets that are not the adapter's own differ in their kernels only, which a software adapter compiles slowly. */
const tried: Readonly<Record<string, readonly string[]>> = {
  gpu: ["hoisted_rnn", "begun", "dropped"],
  baseline: ["hoisted_rnn"],
};

describe.each(targets.map((t) => t.name))("on %s", (target) => {
  const names = target === own.name ? every : (tried[target] ?? every);
  const module = testModule(source(names), { targets: [target] });
  for (const name of names)
    it(name, async (context) => {
      const { sizes, parameters, losses } = figures;
      const net = await module.load(context, { target, seed: figures.seed });
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

it.for(once(own.name, "baseline"))(
  "batch norm follows each of its calls, and each pass of a loop, on %s",
  async (target, context) => {
    const net = await testModule(NORMS, { targets: [target] }).load(context, { target });
    const { sizes, batch_norm: norm } = figures;
    const names = ["weight", "bias", "running_mean", "running_var"] as const;
    const begin = Object.fromEntries(names.map((n) => [n, parameter(`bn.${n}`, [sizes.d])]));
    for (const n of names) await net.base.setParameter(`bn.${n}`, begin[n]);
    const given = (name: string, shape: readonly number[]) => ({ data: signed(name, shape), shape });
    const loss = await net.step("twice_fit", {
      real: given("real", [6, sizes.d]),
      fake: given("fake", [6, sizes.d]),
    });
    expect(loss).toBeCloseTo(norm.twice.loss, 4);
    const agree = async (
      name: (typeof names)[number],
      want: readonly number[],
      moved = false,
    ): Promise<void> => {
      const now = Array.from(await net.parameter(`bn.${name}`), Number);
      const got = moved ? now.map((v, i) => begin[name][i] - v) : now;
      const wrong = difference(got, want, { name, rtol: 1e-4, atol: 1e-5 });
      if (wrong) throw new Error(wrong);
    };
    for (const n of names) await agree(n, norm.twice[n], n === "weight" || n === "bias");
    await net.step("looped_fit", { x: given("x", [sizes.B, sizes.T, sizes.d]) });
    await agree("running_mean", norm.then_looped.running_mean);
    await agree("running_var", norm.then_looped.running_var);
  },
);
