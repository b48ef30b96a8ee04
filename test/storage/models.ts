// Models with weights that are stored in few bits, and what storing asks to be looked at: sizes that are no whole words or
// groups, tied weights, a weight along either axis, groups, what is read by more than products. In: nothing. Out: sources.
export const ODD = `import { BatchNorm2d, Conv2d, ConvTranspose2d, Embedding, GRU, Linear, LSTM, MultiheadAttention } from "std/nn"

model Odd() {
  a = Linear(37, 45)
  b = Linear(45, 37, bias = false)
  param both: f32[40, 48] = uniform(0.3)
  param normed: f32[32, 64] = uniform(0.3)
  param experts: f32[3, 20, 24] = uniform(0.3)
  param shown: f32[40, 40] = uniform(0.3)
  wide = Linear(64, 128)

  /// Neither axis is whole words.
  fn odd(x: f32[N, 37]) -> f32[N, 37] { x |> a |> relu |> b }
  /// One weight, summed along either axis.
  fn twice(x: f32[N, 40]) -> f32[N, 40] { relu(x @ both) @ both.T }
  /// Read by more than products: it stays as it is.
  fn unit(x: f32[N, 32]) -> f32[N, 64] { x @ (normed / sqrt(sum(normed * normed, axes = 0, keepdims = true))) }
  fn mixed(x: f32[3, N, 20]) -> f32[3, N, 24] { einsum("eni,eio->eno", x, experts) }
  fn show(x: f32[N, 40]) { (y = x @ shown, weight = shown) }
  /// One row: a vector by a matrix.
  fn one(x: f32[1, 64]) -> f32[1, 128] { x |> wide }
  fn few(x: f32[3, 64]) -> f32[3, 128] { x |> wide }
}

model Images() {
  first = Conv2d(3, 40, 3, padding = 1)
  bn    = BatchNorm2d(40)
  group = Conv2d(40, 32, 3, groups = 4, stride = 2)
  deep  = Conv2d(32, 128, 1)
  each  = Conv2d(128, 128, 3, groups = 128, padding = 1)
  up    = ConvTranspose2d(128, 12, 2, stride = 2)
  fn f(x: f32[N, 3, 9, 9]) { x |> first |> bn |> relu |> group |> deep |> each |> up }
}

model Tokens(vocab: int = 70, d: int = 36) {
  table = Embedding(vocab, d)
  attn  = MultiheadAttention(d, 3)
  alone = Embedding(40, 32)
  fn f(ids: i32[N, T]) -> f32[N, T, vocab] {
    x = table(ids)
    (x + attn(x, x, x)) @ table.weight.T
  }
  fn look(ids: i32[N]) -> f32[N, 32] { alone(ids) }
}

model Loops() {
  lstm = LSTM(24, 30)
  gru  = GRU(30, 20, bidirectional = true)
  param w: f32[32, 32] = uniform(0.2)
  /// In loops: what is multiplied by the state, and what is not.
  fn f(x: f32[N, T, 24]) -> f32[N, T, 40] { gru(lstm(x).y).y }
  /// Turned before the loop, and read in it twice.
  fn own(x: f32[T, N, 32]) -> f32[N, 32] {
    turned = w.T
    scan t over x axis 0 with h = zeros([N, 32]) { h = tanh(t @ turned + relu(h @ turned)) }
  }
  /// A loop through the rows of a weight: it stays as it is.
  param rows: f32[40, 32] = uniform(0.2)
  fn walk(x: f32[N, 32]) -> f32[N, 32] {
    scan r over rows axis 0 with h = x { h = tanh(h + r) }
  }
}
`;
