// Models whose kernels would read more than a device binds, as people write them. In: nothing. Out: sources by name.
const NN = `import { BatchNorm2d, Conv2d, Embedding, LayerNorm, Linear } from "std/nn"\n`;
const list = (n: number, of: (i: number) => string): string =>
  Array.from({ length: n }, (_, i) => of(i)).join(", ");
const inputs = (n: number, shape: string, dtype = "f32"): string =>
  list(n, (i) => `x${i}: ${dtype}[${shape}]`);
const names = (n: number): string => list(n, (i) => `x${i}`);
const sum = (n: number, of: (i: number) => string): string =>
  Array.from({ length: n }, (_, i) => of(i)).join(" + ");

/** What programs are run at, where they have sizes beside N and T (test/support/programs). */
const SIZES = "// sizes N=3 T=4 B=2 H=4 W=4; N=1 T=2 B=1 H=4 W=4\n";

export const wide: Readonly<Record<string, string>> = {
  "sums of 8, 9 and 40": `model M {
    fn eight(${inputs(8, "N")}) -> f32[N] { ${sum(8, (i) => `x${i}`)} }
    fn weighted(${inputs(9, "N, 4")}) -> f32[N, 4] { ${sum(9, (i) => `x${i} * ${i + 1}`)} }
    fn forty(${inputs(40, "N")}) -> f32[N] { ${sum(40, (i) => `x${i}`)} }
  }`,
  "joins of 8, 9, 40 and 300": `model M {
    fn eight(${inputs(8, "N, 1")}) -> f32[N, 8] { concat([${names(8)}], axis = 1) }
    fn nine(${inputs(9, "N, 3")}) -> f32[N, 9, 3] { stack([${names(9)}], axis = 1) }
    fn forty(${inputs(40, "N")}) -> f32[40, N] { stack([${names(40)}]) }
    fn mixed(${inputs(16, "N, 2")}) -> f32[N, 32] { concat([${list(16, (i) => `relu(x${i} * x${(i + 5) % 16})`)}], axis = 1) }
    fn flags(${inputs(9, "N", "bool")}) -> bool[9, N] { stack([${names(9)}]) }
    fn many(x: f32[N, 300]) -> f32[N, 300] { concat([x[:, 299 - i, new] * (i + 1) for i in 0..300], axis = 1) }
    fn far(x: f32[300, N]) -> f32[300, N] { concat([x[299 - i, new] for i in 0..300]) }
  }`,
  "eight layers on one input": `${NN}model M {
    heads = [Linear(4, 4) for i in 0..9]
    fn f(x: f32[N, 4]) -> f32[N, 4] { for h in heads with y = zeros(N, 4) { y + tanh(h(x)) } }
    fn loss(x: f32[N, 4]) -> f32 { mean(f(x) ** 2) }
  }
  train t for M { minimize loss; with adam(lr = 0.01) }`,
  "attention head by head": `${SIZES}${NN}layer Head(d: int, h: int) {
    key = Linear(d, h, bias = false)
    query = Linear(d, h, bias = false)
    value = Linear(d, h, bias = false)
    fn forward(x: f32[B, T, d]) -> f32[B, T, h] { attention(query(x), key(x), value(x), causal = true) }
  }
  model M {
    heads = [Head(32, 4) for i in 0..8]
    out = Linear(32, 32)
    fn f(x: f32[B, T, 32]) -> f32[B, T, 32] { out(concat([h(x) for h in heads], axis = -1)) }
    fn loss(x: f32[B, T, 32]) -> f32 { mean(f(x) ** 2) }
  }
  train t for M { minimize loss; with sgd(lr = 0.01) }`,
  "attention over what many parts make": `model M {
    fn f(${inputs(9, "T, 4")}, m: f32[T, T]) -> f32[T, 4] {
      q = concat([x0[:, 0:2] * x1[:, 0:1], x2[:, 2:4] - x3[:, 2:4]], axis = 1)
      k = concat([x4[:, 0:2], x5[:, 2:3], x6[:, 3:4]], axis = 1) * x7
      attention(q, k, x7 + x8 * x0, m)
    }
    fn g(${inputs(9, "T, 4")}, m: f32[T, T]) -> f32 { sum(f(${names(9)}, m) ** 2) }
    fn d(${inputs(9, "T, 4")}, m: f32[T, T]) -> f32[T, 4] { grad(g, wrt = x0)(${names(9)}, m) }
  }`,
  DenseNet: `${SIZES}${NN}layer Dense(c: int, k: int) {
    bn = BatchNorm2d(c)
    conv = Conv2d(c, k, 3, padding = 1, bias = false)
    fn forward(x: f32[N, c, H, W]) -> f32[N, k, H, W] { x |> bn |> relu |> conv }
  }
  model M(k: int = 4) {
    layers = [Dense(8 + i * k, k) for i in 0..9]
    head = Linear(8 + 9 * k, 3)
    fn logits(x: f32[N, 8, H, W]) -> f32[N, 3] {
      parts = for l in layers with parts = [x] { parts + [l(concat(parts, axis = 1))] }
      head(mean(concat(parts, axis = 1), axes = [2, 3]))
    }
    fn loss(x: f32[N, 8, H, W], y: i32[N]) -> f32 { cross_entropy(logits(x), y) }
  }
  train t for M { minimize loss; with sgd(lr = 0.1, momentum = 0.9) }`,
  NeRF: `${NN}model M(freqs: int = 6, h: int = 32) {
    first = Linear(3 + 6 * freqs, h)
    second = Linear(h + 3 + 6 * freqs, h)
    out = Linear(h, 4)
    private fn encode(x: f32[N, 3]) {
      concat([x] + [sin(x * 2.0 ** i * 3.14159) for i in 0..freqs] + [cos(x * 2.0 ** i * 3.14159) for i in 0..freqs], axis = 1)
    }
    fn field(x: f32[N, 3]) -> f32[N, 4] { e = encode(x); out(relu(second(concat([relu(first(e)), e], axis = 1)))) }
    fn loss(x: f32[N, 3], y: f32[N, 4]) -> f32 { mse_loss(field(x), y) }
  }
  train t for M { minimize loss; with adam(lr = 1e-3) }`,
  "a table with embeddings": `${NN}model M {
    tables = [Embedding(10 + i, 4) for i in 0..10]
    first = Linear(45, 16)
    out = Linear(16, 1)
    fn f(ids: i32[N, 10], x: f32[N, 5]) -> f32[N, 1] {
      rows = [tables[i](ids[:, i]) for i in 0..10]
      out(relu(first(concat(rows + [x], axis = 1))))
    }
    fn loss(ids: i32[N, 10], x: f32[N, 5], y: f32[N, 1]) -> f32 { mse_loss(f(ids, x), y) }
  }
  train t for M { minimize loss; with adamw(lr = 1e-3, weight_decay = 0.01); clip norm 1.0 }`,
  "a physics-informed net": `${NN}model M(h: int = 8, depth: int = 3) {
    layers = [Linear(if i == 0 { 2 } else { h }, h) for i in 0..depth]
    out = Linear(h, 1)
    fn u(t: f32[N], x: f32[N]) -> f32[N] {
      y = for l in layers with y = stack([t, x], axis = 1) { tanh(l(y)) }
      out(y)[:, 0]
    }
    private fn total(t: f32[N], x: f32[N]) -> f32 { sum(u(t, x)) }
    fn u_x(t: f32[N], x: f32[N]) -> f32[N] { grad(total, wrt = x)(t, x) }
    private fn total_x(t: f32[N], x: f32[N]) -> f32 { sum(u_x(t, x)) }
    fn residual(t: f32[N], x: f32[N]) -> f32[N] {
      grad(total, wrt = t)(t, x) + u(t, x) * u_x(t, x) - 0.01 * grad(total_x, wrt = x)(t, x)
    }
    fn loss(t: f32[N], x: f32[N]) -> f32 { mean(residual(t, x) ** 2) }
  }
  train t for M { minimize loss; with adam(lr = 1e-3) }`,
  "a step of a diffusion U-Net": `${NN}layer GroupNorm(groups: int, c: int) {
    param weight: f32[c] = ones()
    param bias: f32[c] = zeros()
    fn forward(x: f32[N, c, H, W]) -> f32[N, c, H, W] {
      g = reshape(x, [N, groups, c / groups * H * W])
      (m, v) = moments(g, axes = [2])
      reshape(normalize(g, m[:, :, new], v[:, :, new]), [N, c, H, W]) * weight[:, new, new] + bias[:, new, new]
    }
  }
  layer Block(a: int, b: int) {
    n1 = GroupNorm(2, a)
    c1 = Conv2d(a, b, 3, padding = 1)
    time = Linear(16, b)
    n2 = GroupNorm(2, b)
    c2 = Conv2d(b, b, 3, padding = 1)
    skip = Conv2d(a, b, 1)
    fn forward(x: f32[N, a, H, W], t: f32[N, 16]) -> f32[N, b, H, W] {
      h = x |> n1 |> silu |> c1
      h2 = (h + time(silu(t))[:, :, new, new]) |> n2 |> silu |> c2
      h2 + skip(x)
    }
  }
  model M {
    embed = Linear(16, 16)
    stem = Conv2d(1, 4, 3, padding = 1)
    down = Block(4, 8)
    mid = Block(8, 8)
    up = Block(12, 4)
    out = Conv2d(4, 1, 3, padding = 1)
    fn noise(x: f32[N, 1, 8, 8], t: f32[N]) -> f32[N, 1, 8, 8] {
      e = embed(concat([sin(t[:, new] / 10000.0 ** (i * 0.125)) for i in 0..8] + [cos(t[:, new] / 10000.0 ** (i * 0.125)) for i in 0..8], axis = 1))
      h = stem(x)
      d = down(max_pool2d(h, 2), e)
      m = mid(d, e)
      big = reshape(broadcast_to(m[:, :, :, new, :, new], [N, 8, 4, 2, 4, 2]), [N, 8, 8, 8])
      out(up(concat([big, h], axis = 1), e))
    }
    fn loss(x: f32[N, 1, 8, 8], t: f32[N], y: f32[N, 1, 8, 8]) -> f32 { mse_loss(noise(x, t), y) }
  }
  train t for M { minimize loss; with adam(lr = 1e-3) }`,
  "rows of many operands": `model M {
    fn soft(${inputs(9, "N, 8")}) -> f32[N, 8] { softmax(${sum(9, (i) => `x${i}`)}) }
    fn norm(${inputs(6, "N, 8")}, g: f32[8], b: f32[8], s: f32[N, 1]) -> f32[N, 8] {
      h = ${sum(6, (i) => `x${i}`)}
      m = mean(h, axis = -1, keepdims = true)
      v = mean((h - m) ** 2, axis = -1, keepdims = true)
      ((h - m) * rsqrt(v + 1e-5) * g + b) * s + x0 * x1 + x2 * x3
    }
    fn totals(${inputs(9, "N, 8")}) { (${list(9, (i) => `s${i} = sum(x${i} * x${(i + 1) % 9}, axis = 1)`)}) }
    fn back(${inputs(9, "N, 8")}) { (${list(9, (i) => `r${i} = x${i} / sum(x${i} * x${(i + 1) % 9}, axis = 1, keepdims = true)`)}) }
    private fn total(${inputs(9, "N, 8")}) -> f32 { sum(soft(${names(9)}) ** 2) }
    fn d(${inputs(9, "N, 8")}) -> f32[N, 8] { grad(total, wrt = x4)(${names(9)}) }
  }`,
  "contractions of many operands": `model M {
    fn f(${inputs(9, "N, 8")}, ${list(9, (i) => `w${i}: f32[8, 8]`)}) -> f32[N, 8] {
      h = (${sum(5, (i) => `x${i} * x${i + 4}`)}) @ (${sum(9, (i) => `w${i}`)})
      relu(h + x0) * x1 + x2 * x3 - x4 / (1 + x5 * x5) + x6 * x7 * x8
    }
    fn sums(${inputs(9, "N, 8")}, ${list(9, (i) => `w${i}: f32[8, 8]`)}) -> f32[N, 8] { ${sum(9, (i) => `x${i} @ w${i}`)} }
    fn same(x: f32[N, 8], w: f32[40, 8, 8]) -> f32[N, 8] { for i in 0..40 with y = x { y + (x * i) @ w[i] } }
  }`,
  "a scan that captures much": `model M {
    fn f(x: f32[T, 4], ${list(9, (i) => `c${i}: f32[4]`)}) -> (ys: f32[T, 36], s: f32[4]) {
      scan xt over x axis 0 with s = zeros(4) {
        h = tanh(s + xt + ${sum(9, (i) => `c${i} * s`)})
        s = h * 0.5
        emit ys = concat([h * c0, ${list(8, (i) => `h - c${i + 1}`)}])
      }
    }
    private fn total(x: f32[T, 4], ${list(9, (i) => `c${i}: f32[4]`)}) -> f32 { sum(f(x, ${list(9, (i) => `c${i}`)}).ys) }
    fn d(x: f32[T, 4], ${list(9, (i) => `c${i}: f32[4]`)}) -> f32[4] { grad(total, wrt = c3)(x, ${list(9, (i) => `c${i}`)}) }
  }`,
  "starts on every axis": `model M {
    fn f(x: f32[2, 2, 2, 2, 2, 2, 2, 2], b: f32[1, 1, 1, 1, 1, 1, 1, 1], ${list(8, (i) => `a${i}: i32`)}) {
      (u = update(x, b, at = (${list(8, (i) => `a${i}`)})), s = slice_at(x, at = (${list(8, (i) => `a${i}`)}), sizes = [1, 2, 1, 2, 1, 2, 1, 2]))
    }
  }`,
  "shifted copies of itself": `model M {
    fn f(x: f32[64]) -> f32[64] { for i in 0..24 with h = x { h + concat([h[1:], h[0:1]]) } }
    fn turned(x: f32[4096]) -> f32[4096] { for i in 0..14 with h = x { concat([h[2048:], h[0:2048]]) } }
    fn rows(x: f32[N, 64]) -> f32[N, 64] { for i in 0..12 with h = x { softmax(h + concat([h[:, 1:], h[:, 0:1]], axis = 1)) } }
    fn flipped(x: f32[N, 64]) -> f32[N, 64] { for i in 0..24 with h = x { h * x + h[:, ::-1] } }
  }`,
  "long chains": `model M {
    fn adds(x: f32[N], y: f32[N]) -> f32[N] { for i in 0..300 with h = x { h * 0.5 + y } }
    fn gates(x: f32[N]) -> f32[N] { for i in 0..200 with h = x { h * sigmoid(h) } }
    fn turns(x: f32[N, N]) -> f32[N, N] { for i in 0..150 with h = x { h.T[::-1] } }
    fn slices(x: f32[300]) -> f32 { for i in 0..299 with h = x[299] { h + x[i] * x[298 - i] } }
  }`,
  "lookups through lookups": `model M {
    fn f(${list(9, (i) => `i${i}: i32[N]`)}, x: f32[N]) -> f32[N] { x[${Array.from({ length: 9 }, (_, i) => `i${i}[`).join("")}i0${"]".repeat(9)}] }
  }`,
};

/** n models of random expressions over many tensors, from a seed. */
export function randomWide(next: (below: number) => number): string {
  const count = 2 + next(20);
  const pick = (): string => `x${next(count)}`;
  const expr = (depth: number): string => {
    if (depth === 0) return pick();
    const a = (): string => expr(depth - 1 - next(Math.min(2, depth)) * 0);
    switch (next(14)) {
      case 0:
        return `(${a()} + ${a()})`;
      case 1:
        return `(${a()} * ${a()})`;
      case 2:
        return `tanh(${a()} - ${pick()})`;
      case 3:
        return `softmax(${a()})`;
      case 4:
        return `(${a()} @ (${a()}).T @ ${pick()})`;
      case 5:
        return `concat([${list(2 + next(9), () => `(${expr(Math.min(1, depth - 1))})[:, 0:1]`)}, (${a()})[:, 0:1]], axis = 1)[:, 0:1] * ${pick()}`;
      case 6:
        return `where(${a()} > ${pick()}, ${pick()}, ${a()})`;
      case 7:
        return `(${a()} - mean(${a()}, axis = 1, keepdims = true))`;
      case 8:
        return `(${a()} + sum(${a()} * ${pick()}, axis = 0))`;
      case 9:
        return `(${sum(3 + next(9), () => pick())})`;
      case 10:
        return `(${a()})[::-1]`;
      case 11:
        return `concat([(${a()})[:, 1:], (${a()})[:, 0:1]], axis = 1)`;
      case 12:
        return `(max(${a()}, axis = 1, keepdims = true) * ${pick()})`;
      default:
        return `attention(${a()}, ${a()}, ${a()})`;
    }
  };
  const body = expr(3);
  const shared = `h = ${expr(2)}\n      (a = ${body} + h, b = ${expr(2)} * h, c = sum(${expr(2)} * h))`;
  return `model M {
    fn f(${inputs(count, "8, 8")}) { ${shared} }
    private fn loss(${inputs(count, "8, 8")}) -> f32 { r = f(${names(count)}); sum(r.a * r.b) + r.c }
    fn d(${inputs(count, "8, 8")}) -> f32[8, 8] { grad(loss, wrt = x0)(${names(count)}) }
  }`;
}
