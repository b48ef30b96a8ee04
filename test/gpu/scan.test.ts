// Loops on the adapter: carries handed on, swapped or left alone, slices emitted as they are, loops in loops, nothing to
// loop over; with gradients through them. Kernels of every target against the reference evaluator on the checked graph.
import { afterEach, describe, it } from "vitest";
import { evaluate as evaluateDim } from "../../compiler/core/dims/dim.ts";
import type { Dense } from "../../compiler/core/ir/types.ts";
import { targets } from "../support/adapter.ts";
import { deviceFor } from "../support/device.ts";
import { disagreement, expectedOf, GraphNet } from "../support/graphs.ts";
import { compileText } from "../support/module.ts";
import { drawDense, randomFrom } from "../support/opcheck.ts";

const SOURCE = `model M() {
  param w: f32[3, 3] = zeros()
  param b: f32[3]    = zeros()
  buffer last: f32[3] = zeros()

  /// The plain recurrent net.
  fn rnn(x: f32[B, T, 3]) -> (y: f32[B, T, 3], s: f32[B, 3]) {
    scan xt over x axis 1 with s = zeros(B, 3) { s = tanh(xt @ w + s @ w + b);  emit y = s }
  }
  /// Carries that change places; the initial ones are inputs.
  fn swap(x: f32[T, 2], p: f32[2], q: f32[2]) -> (y: f32[T, 2], p: f32[2], q: f32[2]) {
    scan xt over x axis 0 with p = p, q = q { (p, q) = (q + xt, p);  emit y = p - q }
  }
  /// A slice is emitted as it is, and transposed; a carry is left alone.
  fn pass(x: f32[2, T, 3], k: f32[3]) -> (y: f32[2, T, 3], z: f32[T, 3, 2], k: f32[3]) {
    r = scan xt over x axis 1 with k = k { k = k;  emit y = xt;  emit z = xt.T * k[:, new] }
    (y = r.y, z = transpose(r.z, [1, 0, 2]), k = r.k)
  }
  /// Sums that a softmax of each step sees; the running maximum beside.
  fn rows(x: f32[T, B, 5]) -> (y: f32[T, B, 5], m: f32[B]) {
    r = scan xt over x axis 0 with m = zeros(B) { m = max(m, max(xt, axis = -1));  emit y = softmax(xt + m[:, new]) }
    (y = r.y, m = r.m)
  }
  /// A loop in a loop.
  fn nested(x: f32[T, U, 3]) -> f32[3] {
    scan row over x axis 0 with s = zeros(3) {
      inner = scan v over row axis 0 with c = s * 0.5 { c = tanh(c + v @ w) }
      s = inner + 0.25 * s
    }
  }
  /// The inner loop's results are the outer one's.
  fn handed(x: f32[T, U, 3]) -> (y: f32[T, U, 3], s: f32[3]) {
    scan row over x axis 0 with s = ones(3) {
      inner = scan v over row axis 0 with c = s { c = tanh(c + v @ w);  emit z = c }
      s = inner.c
      emit y = inner.z
    }
  }
  /// What stays the same in the loop, and what a loop leaves behind.
  fn state(x: f32[T, 3]) -> f32[3] {
    r = scan xt over x axis 0 with s = last { s = 0.5 * s + xt * sigmoid(b) }
    last <- r
    r + last
  }
  /// A buffer written in each pass; values emitted twice, captured, read again; carries and results of every dtype.
  fn mixed(x: f32[T, 3]) {
    r = scan xt over x axis 0 with s = zeros(3), n = 0, odd = false {
      h = tanh(xt @ w + s)
      emit y = h
      emit z = h
      emit k = b
      emit half = f16(h) * 2
      emit even = n % 2 == 0
      last <- 0.5 * last + h @ w
      (s, n, odd) = (h @ w.T + last, n + 1, !odd)
    }
    (y = r.y, z = r.z, k = r.k, half = f32(r.half), even = r.even, s = r.s, n = r.n, odd = r.odd, last = last)
  }
  private fn total(x: f32[B, T, 3]) -> f32 { r = rnn(x);  sum(square(r.y)) + sum(r.s) }
  fn slope(x: f32[B, T, 3]) -> f32[B, T, 3] { grad(total, wrt = x)(x) }
  private fn sum_nested(x: f32[T, U, 3]) -> f32 { sum(nested(x)) }
  fn slope_nested(x: f32[T, U, 3]) -> f32[T, U, 3] { grad(sum_nested, wrt = x)(x) }
}`;

const SIZES: Readonly<Record<string, readonly Readonly<Record<string, number>>[]>> = {
  rnn: [
    { B: 2, T: 4 },
    { B: 1, T: 1 },
    { B: 5, T: 9 },
    { B: 2, T: 0 },
    { B: 0, T: 3 },
  ],
  swap: [{ T: 5 }, { T: 4 }, { T: 1 }, { T: 0 }],
  pass: [{ T: 3 }, { T: 1 }, { T: 0 }],
  rows: [
    { T: 3, B: 4 },
    { T: 1, B: 1 },
  ],
  nested: [
    { T: 2, U: 3 },
    { T: 3, U: 1 },
    { T: 1, U: 0 },
    { T: 0, U: 2 },
  ],
  handed: [
    { T: 2, U: 3 },
    { T: 3, U: 1 },
    { T: 2, U: 0 },
    { T: 1, U: 2 },
  ],
  state: [{ T: 4 }, { T: 1 }],
  mixed: [{ T: 4 }, { T: 1 }, { T: 0 }],
  slope: [
    { B: 2, T: 4 },
    { B: 1, T: 1 },
  ],
  slope_nested: [
    { T: 2, U: 3 },
    { T: 1, U: 1 },
  ],
};

let open: GraphNet | undefined;
afterEach(() => open?.dispose());

describe.each(targets.map((t) => t.name))("on %s", (target) => {
  for (const [entry, sizes] of Object.entries(SIZES))
    it(entry, async (context) => {
      const c = compileText(SOURCE, { targets: [target], entries: [entry] });
      const { device } = await deviceFor(context, c.artefact.programs[0]);
      const random = randomFrom(5);
      const draw = (shape: readonly number[]): Dense => {
        const d = drawDense("f32", shape, random);
        return { ...d, data: d.data.map(Math.fround) };
      };
      const params = { w: draw([3, 3]), b: draw([3]) };
      let state: Record<string, Dense> = { last: draw([3]) };
      open = await GraphNet.load(c, device, { ...params, ...state }, { target });
      const graph = c.model.entries.find((e) => e.name === entry)?.graph;
      if (!graph) throw new Error(`no entry ${entry}`);
      for (const at of [...sizes, sizes[0]]) {
        const data: Record<string, Dense> = {};
        for (const n of graph.inputs)
          data[String(n.attrs.name)] = draw(n.outs[0].type.shape.map((d) => evaluateDim(d, at)));
        const want = expectedOf(graph, data, { params, state });
        const got = await open.run(entry, data);
        const where = JSON.stringify(at);
        for (const [k, v] of Object.entries(want.results)) {
          const message = disagreement(`${where}: ${k}`, got[k], v, want.slack[k]);
          if (message) throw new Error(message);
        }
        for (const [k, v] of Object.entries(want.writes)) {
          const left = await open.stored(k);
          const message = disagreement(`${where}: write ${k}`, left, v, want.slack[k]);
          if (message) throw new Error(message);
          state = { ...state, [k]: left };
        }
      }
    });
});
