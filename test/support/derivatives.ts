// Random programs of smooth steps with their first and second derivatives: loops, checkpoints, operators with gradients of
// their own, lookups and composites in one another. In: a seed. Out: nothing, or an error that says where differences in
// double precision disagree.
import type { Dense } from "../../compiler/core/ir/types.ts";
import { dense, evaluate } from "../../compiler/core/reference/evaluate.ts";
import { modelOf } from "./check.ts";
import { drawDense, randomFrom } from "./opcheck.ts";

/** Steps from h: f32[3, 4] and w: f32[4, 4] to another f32[3, 4]; smooth, and of nothing large. */
const STEPS: readonly string[] = [
  "tanh(h @ w)",
  "softmax(h + x, axis = -1) * h",
  "sin(h) * cos(linear(x, w))",
  "layer_norm(h, eps = 0.5)",
  "h * sigmoid(h) + 0.3 * x",
  'einsum("ij,jk->ik", h, tanh(w)) * 0.3',
  "cumsum(tanh(h), axis = 1) * 0.3",
  "cumprod(1 + 0.2 * tanh(h), axis = 0)",
  "logsumexp(h, axis = 1)[:, new] - h * 0.3",
  "logcumsumexp(h, axis = 1) * 0.2 - x",
  "exp(-(h ** 2)) + 0.1 * x",
  "h / sqrt(1 + sum(h * h, axis = 0))",
  "log1p(h * h) * atan(x)",
  "conv1d(h[new], w[:3, :3, new] * 0.4, padding = 0)[0] + x * 0.2",
  "take(h, abs(2 - 2 * iota(3)), axis = 0) * tanh(x)",
  "gather(h, argmax(x, axis = 1)[:, new], axis = 1) * 0.5 + h",
  "flip(roll(h, 1, axis = 1), axis = 0) * x",
  "concat([h[:, 2:], h[:, :2] * h[:, 2:]], axis = 1)",
  "where(iota(4) > 1, h * h, sin(h))",
  "attention(h[new], x[new], tanh(h)[new])[0]",
  "erf(h) + gelu(x * h) * 0.3",
  "cube(h * 0.5) + pair(h, x)",
  "both(h, x).p * 0.3 + both(sin(h), x).s",
  "prod(1 + 0.2 * tanh(h), axis = 1)[:, new] * x",
  "h * std(h + 2 * f32(iota(4)), axis = 1)[:, new] * 0.4",
  "sort(h + 10 * x, axis = 1)[0] * 0.1 + h",
  "pad(h[1:, 1:], [1, 1], [0, 0]) * x + h * 0.2",
  "take(avg_pool1d(h[new] * x, 2, stride = 1)[0], min(iota(4), 2), axis = 1) * 0.3",
  "(scan ht over h axis 0 with s = w[0] * 0.5 {\n emit y = tanh(s + ht) * s\n s = tanh(w @ s + ht) * 0.5\n }).y * h",
  "(scan ht over h axis 1 with s = x[:, 0] { s = s * 0.5 + sin(ht * s) })[:, new] * h",
  "(scan (ht, i) over (h, iota(3)) axis 0 with s = w[1] {\n emit y = checkpoint(turn)(s, ht) * (1 + f32(i))\n s = turn(s, ht)\n }).y * 0.3",
  "(scan a over h axis 0 with s = x[0] {\n s = tanh(s + (scan b over w axis 0 with t = a { t = sin(t * b) + s * 0.2 }))\n }) * h",
  "for i in range(2) with g = h { checkpoint(cell)(g) * tanh(x + i) }",
  "checkpoint(two)(h)",
  "h + 0.3 * grad(energy, wrt = e)(h)",
];
const program = (seed: number): string => {
  const random = randomFrom(seed);
  const pick = (n: number): number => Math.floor(random() * n);
  const lines = Array.from({ length: 2 + pick(3) }, (_, k) =>
    STEPS[pick(STEPS.length)].replaceAll(/\bh\b(?!\))/g, `h${k}`).replaceAll(/\bh\)/g, `h${k})`),
  );
  return `
op cube(a: f32) -> f32 { a * a * a } grad (g) { 3 * a * a * g }
op pair(a: f32, b: f32) -> f32 { sin(a) * b } grad (g) { (cos(a) * b * g, sin(a) * g) }
op both(a: f32, b: f32) -> (s: f32, p: f32) { (s = a + b * b, p = a * sin(b)) } grad (g) {
  (g.s + sin(b) * g.p, 2 * b * g.s + a * cos(b) * g.p)
}
model M {
  param w: f32[4, 4] = zeros()
  private fn cell(h: f32[3, 4]) -> f32[3, 4] { tanh(h @ w) * h }
  private fn two(h: f32[3, 4]) -> f32[3, 4] { checkpoint(cell)(cell(h)) + sin(h) }
  private fn energy(e: f32[3, 4]) -> f32 { sum(tanh(e @ w) * e) }
  private fn turn(s: f32[4], a: f32[4]) -> f32[4] { tanh(w @ s + a) * 0.5 }
  fn total(x: f32[3, 4]) -> f32 {
    h0 = x * 0.7 + 0.3 * (x @ w)
${lines.map((line, k) => `    h${k + 1} = ${line}`).join("\n")}
    sum(tanh(h${lines.length}) * (0.5 + sin(1 + f32(iota(4)))))
  }
  private fn along(x: f32[3, 4], u: f32[3, 4], v: f32[4, 4]) -> f32 {
    (gx, gw) = grad(total, wrt = (x, w))(x)
    sum(gx * u) + sum(gw * v)
  }
  fn first(x: f32[3, 4], u: f32[3, 4], v: f32[4, 4]) { along(x, u, v) }
  fn second(x: f32[3, 4], u: f32[3, 4], v: f32[4, 4]) {
    (gx, gw) = grad(along, wrt = (x, w))(x, u, v)
    sum(gx * u) + sum(gw * v)
  }
}`;
};

export function checkDerivatives(seed: number): void {
  const source = program(seed);
  const model = modelOf(source);
  const random = randomFrom(seed + 1);
  const [x, u] = [0, 1].map(() => drawDense("f32", [3, 4], random));
  const [w, v] = [0, 1].map(() => drawDense("f32", [4, 4], random));
  const moved = (a: Dense, along: Dense, by: number): Dense =>
    dense(
      "f32",
      a.shape,
      a.data.map((n, i) => n + by * along.data[i]),
    );
  const at = (name: string, by: number): number => {
    const { graph } = model.entries.find((e) => e.name === name)!;
    const inputs = { x: moved(x, u, by), u, v };
    return evaluate(graph, inputs, { params: { w: moved(w, v, by) } }).results[name].data[0];
  };
  const step = 1e-4;
  const slope = (name: string): number =>
    (8 * (at(name, step) - at(name, -step)) - (at(name, 2 * step) - at(name, -2 * step))) / (12 * step);
  for (const [of, is] of [
    ["total", "first"],
    ["first", "second"],
  ]) {
    const [expected, actual] = [slope(of), at(is, 0)];
    if (!(Math.abs(actual - expected) <= 1e-6 * (1 + Math.abs(expected))))
      throw new Error(`seed ${seed}: ${is} is ${actual}, by differences ${expected}\n${source}`);
  }
}
