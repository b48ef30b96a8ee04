// Random loops as source text: carries that are computed, handed on, swapped or left alone; emitted values that are
// carries, slices, views, captured, emitted twice or read again; loops in loops and one behind the other. In: a seed. Out: a
// model whose entry gives all the loops leave, whose `slope` is its gradient and whose step follows it.
import { randomFrom } from "./opcheck.ts";

export interface RandomScan {
  readonly source: string;
  readonly params: readonly string[];
}

export function randomScan(seed: number): RandomScan {
  const random = randomFrom(seed);
  const upTo = (n: number): number => Math.floor(random() * n);
  const one = <T>(list: readonly T[]): T => list[upTo(list.length)];
  let names = 0;

  /** A value of [B, 3] from others of that shape. */
  const made = (pool: readonly string[]): string => {
    const [a, b] = [one(pool), one(pool)];
    return one([
      `tanh(${a} @ w)`,
      `${a} @ v.T`,
      `${a} + ${b}`,
      `${a} * sigmoid(${b})`,
      `tanh(${a}) - ${b}`,
      `softmax(${a} + u)`,
      `${a} + mean(${b}, axis = 1)[:, new]`,
      `relu(${a} @ w + ${b} @ v + u)`,
      `concat([${a}[:, 1:], ${b}[:, :1]], axis = 1)`,
      `(${a}.T * 0.5).T`,
    ]);
  };
  /** A loop over `sequence`: its text, and the names of what it carries and emits. */
  const loop = (
    sequence: string,
    axis: number,
    outer: readonly string[],
    depth: number,
  ): { text: string; carries: string[]; emits: string[] } => {
    const id = names++;
    const carries = Array.from({ length: 1 + upTo(3) }, (_, i) => `c${id}_${i}`);
    const pool = [`t${id}`, ...carries, ...outer];
    const lines: string[] = [];
    for (let i = upTo(3) + 1; i > 0; i--) {
      const name = `h${names++}`;
      lines.push(`${name} = ${made(pool)}`);
      pool.push(name, name);
    }
    if (depth > 0 && random() < 0.4) {
      const inner = loop("seq", 1, [one(pool), one(pool)], depth - 1);
      const name = `r${names++}`;
      lines.push(`${name} = ${inner.text}`);
      pool.push(`${name}.${one(inner.carries)}`);
      if (inner.emits.length > 0)
        pool.push(`${name}.${one(inner.emits)}[:, -1]`, `sum(${name}.${one(inner.emits)}, axis = 1)`);
    }
    const emits = Array.from({ length: 1 + upTo(3) }, (_, i) => `e${id}_${i}`);
    const emitted = emits.map((e) => `emit ${e} = ${random() < 0.7 ? one(pool) : made(pool)}`);
    const next = carries.map(() => (random() < 0.7 ? one(pool) : made(pool)));
    // Named in between: an assignment to a carry is what later lines read.
    const named = next.map((v, i) => `n${id}_${i} = 0.9 * ${v}`);
    const plain = random() < 0.5;
    const values = plain ? next : next.map((_, i) => `n${id}_${i}`);
    const assign =
      carries.length === 1
        ? `${carries[0]} = ${values[0]}`
        : `(${carries.join(", ")}) = (${values.join(", ")})`;
    const initial = carries.map((c) => `${c} = ${one(["zeros(B, 3)", ...outer, ...outer])}`);
    const text = [
      `scan t${id} over ${sequence} axis ${axis} with ${initial.join(", ")} {`,
      ...[...lines, ...emitted, ...(plain ? [] : named), assign].map((l) => `  ${l}`),
      "}",
    ].join("\n");
    return { text, carries, emits };
  };
  const first = loop("x", 1, ["k", "(k @ v)"], 1);
  const second =
    random() < 0.5 ? loop(`r.${one(first.emits)}`, 1, ["k", `r.${one(first.carries)}`], 0) : undefined;
  const parts = [
    ...first.carries.map((c) => `r.${c}`),
    ...first.emits.map((e) => `r.${e}`),
    ...(second ? [...second.carries.map((c) => `q.${c}`), ...second.emits.map((e) => `q.${e}`)] : []),
  ];
  const body = [
    "seq = stack([k, k * 0.5, k @ w], axis = 1)",
    `r = ${first.text}`,
    ...(second ? [`q = ${second.text}`] : []),
  ].join("\n");
  const indent = (text: string, by: string): string =>
    text
      .split("\n")
      .map((l) => by + l)
      .join("\n");
  // A gradient of what the loss does not depend on would be refused: on these it does, whatever the loops do.
  const all = "0.01 * sum(tanh(x @ w + x @ v + u))";
  const loss = [...parts.map((p, i) => `mean(square(${p} + ${(0.1 * (i + 1)).toFixed(1)}))`), all].join(
    " + ",
  );
  const wrt = ["w", "v", "u"];
  const source = `model M() {
  param w: f32[3, 3] = normal(0.5)
  param v: f32[3, 3] = normal(0.5)
  param u: f32[3]    = normal(0.5)
  private fn all(x: f32[B, T, 3], k: f32[B, 3]) {
${indent(body, "    ")}
    (${parts.map((p, i) => `p${i} = ${p}`).join(", ")})
  }
  fn f(x: f32[B, T, 3], k: f32[B, 3]) { all(x, k) }
  fn loss(x: f32[B, T, 3], k: f32[B, 3]) -> f32 {
    a = all(x, k)
    ${parts.reduce((text, p, i) => text.replace(`(${p} +`, `(a.p${i} +`), loss)}
  }
  fn slope(x: f32[B, T, 3], k: f32[B, 3]) {
    (dw, dv, du, dx) = grad(loss, wrt = (w, v, u, x))(x, k)
    (w = dw, v = dv, u = du, x = dx)
  }
}
train fit for M { minimize loss; with sgd(lr = 1.0) }`;
  return { source, params: wrt };
}
