// A GAN for pictures of 8 by 8, for tests of train blocks that take turns. In: nothing. Out: text.
export const GAN = `import { binary_cross_entropy_with_logits } from "std/loss"
import { Linear } from "std/nn"

layer Net(cin: int, cout: int) {
  hidden = Linear(cin, 32)
  out    = Linear(32, cout)
  fn forward(x: f32[N, cin]) -> f32[N, cout] { x |> hidden |> relu |> out }
}

model Gan(code: int = 4) {
  G = Net(code, 64)
  D = Net(64, 1)

  fn make(z: f32[N, code]) -> f32[N, 1, 8, 8] { sigmoid(G(z)) |> reshape([N, 1, 8, 8]) }
  private fn d_loss(x: f32[N, 64], z: f32[N, code]) -> f32 {
    real = D(x)
    fake = D(stop_gradient(sigmoid(G(z))))
    binary_cross_entropy_with_logits(real, ones(N, 1)) + binary_cross_entropy_with_logits(fake, zeros(N, 1))
  }
  private fn g_loss(z: f32[N, code]) -> f32 { binary_cross_entropy_with_logits(D(sigmoid(G(z))), ones(N, 1)) }
}

train discriminator for Gan { minimize d_loss; update D.*; with adam(lr = 2e-3) }
train generator for Gan { minimize g_loss; update G.*; with adam(lr = 2e-3) }
`;
