// Kernel code of every family, as data. In: targets. Out: the kernels of a few programs that between them have each kind of
// statement and expression.

import { check } from "../../compiler/core/index.ts";
import type { KernelCode } from "../../compiler/core/kernel/code.ts";
import { build } from "../../compiler/core/pipeline.ts";
import { targets } from "../../compiler/core/targets.ts";

/** Between them, every family and most scalar functions. */
export const SOURCES: readonly string[] = [
  `import { Conv2d } from "std/nn"
   model Conv {
     conv = Conv2d(3, 8, 3)
     fn f(x: f32[N, 3, 10, 10]) -> f32[N, 8, 4, 4] { max_pool2d(relu(conv(x)), 2) }
   }`,
  `model Heads {
     fn f(q: f32[T, 8], k: f32[T, 8], v: f32[T, 8], w: f32[8]) -> f32[T, 8] { attention(q, k, v, causal = true) * w }
     fn loss(q: f32[T, 8], k: f32[T, 8], v: f32[T, 8], w: f32[8]) -> f32 { sum(f(q, k, v, w) ** 2) }
     fn d(q: f32[T, 8], k: f32[T, 8], v: f32[T, 8], w: f32[8]) { (a, b, c) = grad(loss, wrt = (q, k, v))(q, k, v, w); (a = a, b = b, c = c) }
     fn draws(x: f32[N, 8]) -> f32[N, 8] { dropout(erf(x) + log(x) ** 1.5 + tanh(asin(x) % 0.3), 0.5) }
     fn half(x: f16[N, 7]) -> f16[N, 7] { softmax(x * 2) }
     fn most(x: f32[N, 8]) -> (m: f32[N], i: i32[N], a: bool[N], p: f32[N]) {
       (m = max(x, axis = 1), i = argmax(x, axis = 1), a = any(x > 0, axis = 1), p = prod(x, axis = 1))
     }
     fn product(a: f32[N, K], b: f32[K, M]) -> f32[N, M] { relu(a @ b) }
   }`,
];

export function kernelsOf(...names: readonly string[]): KernelCode[] {
  return SOURCES.flatMap((source) => {
    const { models } = check(source, "main.mdl");
    const [model] = models ?? [];
    if (!model) throw new Error("no model");
    const { kernels } = build(model, {
      targets: targets.filter((t) => names.includes(t.name)),
      verify: true,
      place: () => "",
    });
    return [...kernels.values()].flatMap((table) =>
      Array.from({ length: table.count }, (_, i) => table.code(i)),
    );
  });
}
