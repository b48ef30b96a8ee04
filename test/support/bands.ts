// A small net that tells bands apart, and its data, for tests of what trains. In: nothing. Out: texts.
export const BANDS = `import { Linear } from "std/nn"

model Bands(classes: int = 4) {
  hidden = Linear(64, 16)
  head   = Linear(16, classes)

  fn logits(x: f32[N, 64]) -> f32[N, classes]    { x |> hidden |> relu |> dropout(0.1) |> head }
  fn loss(x: f32[N, 64], y: i32[N]) -> f32       { cross_entropy(logits(x), y) }
  fn accuracy(x: f32[N, 64], y: i32[N]) -> f32   { mean(f32(argmax(logits(x), axis = -1) == y)) }
}

train fit for Bands {
  minimize loss
  report   accuracy
  with     adam(lr = cosine(1e-2))
  batch    16
}
`;

/**
 * The same with all that a block can have of state: an average, sums of gradients, plateaus; and as the second model of its
 * file, with another argument.
 */
export const BANDS_STATE = BANDS.replace(
  "with     adam(lr = cosine(1e-2))",
  "with     adam(lr = plateau(1e-2, factor = 0.5))\n  ema      0.9\n  accumulate 2",
)
  .replace("classes: int = 4", "classes: int = 4, p: float = 0.1")
  .replace("dropout(0.1)", "dropout(p)")
  .replace("model Bands", "model First { fn one(x: f32[N]) -> f32[N] { x } }\n\nmodel Bands");
