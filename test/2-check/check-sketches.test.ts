// The programs that the language must be able to say, as a user would write them.
import { describe, expect, test } from "vitest";
import { modelOf, resultsOf } from "../support/check.ts";

const opsOf = (m: ReturnType<typeof modelOf>, entry: string): string[] =>
  m.entries.find((e) => e.name === entry)?.graph.nodes.map((n) => n.op.name) ?? [];

describe("sketches", () => {
  test("a list of skips: the sizes that cannot be decided are checked at the call", () => {
    const m = modelOf(`
import { Conv2d } from "std/nn"
layer DoubleConv(cin: int, cout: int) {
  a = Conv2d(cin, cout, 3, padding = 1)
  b = Conv2d(cout, cout, 3, padding = 1)
  fn forward(x: f32[N, cin, H, W]) { x |> a |> relu |> b |> relu }
}
layer Up(cin: int, cout: int) {
  conv = DoubleConv(cin, cout)
  narrow = Conv2d(cin, cout, 1)
  fn forward(x: f32[N, cin, H, W], skip: f32[N, cout, H2, W2]) -> f32[N, cout, H2, W2] {
    wide = reshape(broadcast_to(narrow(x)[:, :, :, new, :, new], [N, cout, H, 2, W, 2]), [N, cout, 2 * H, 2 * W])
    conv(concat([skip, wide], axis = 1))
  }
}
model UNet(c: int = 4, depth: int = 2) {
  down = [DoubleConv(if i == 0 { 3 } else { c * 2 ** (i - 1) }, c * 2 ** i) for i in 0..depth]
  mid  = DoubleConv(c * 2 ** (depth - 1), c * 2 ** depth)
  up   = [Up(c * 2 ** (i + 1), c * 2 ** i) for i in reversed(0..depth)]
  last = Conv2d(c, 1, 1)

  fn logits(x: f32[N, 3, H, W]) -> f32[N, 1, H, W] {
    (h, skips) = for d in down with h = x, skips = [] {
      s = d(h)
      (max_pool2d(s, 2), skips + [s])
    }
    h = for (u, s) in zip(up, reversed(skips)) with h = mid(h) { u(h, s) }
    last(h)
  }
}`);
    expect(resultsOf(m, "logits")).toEqual(["logits: f32[N, 1, H, W]"]);
    const { constraints } = m.entries[0].graph;
    expect(constraints.length).toBeGreaterThan(0);
    expect(constraints.filter((c) => c.relation === "==").map((c) => c.message)).toEqual([
      "concat: axis 2 of the operands, in up.0: floor(H / 2) must equal 2 * floor(H / 4)",
      "concat: axis 3 of the operands, in up.0: floor(W / 2) must equal 2 * floor(W / 4)",
      "concat: axis 2 of the operands, in up.1: H must equal 2 * floor(H / 2)",
      "concat: axis 3 of the operands, in up.1: W must equal 2 * floor(W / 2)",
    ]);
    expect(m.params.map((p) => p.path)).toContain("down.1.b.weight");
    expect(m.params.map((p) => p.path)).toContain("up.0.conv.a.bias");
  });

  test("two optimisers over parts of one model", () => {
    const m = modelOf(`
import { Linear } from "std/nn"
layer Net(a: int, b: int) { fc = Linear(a, b);  fn forward(x: f32[N, a]) { fc(x) } }
model GAN(z: int = 8, d: int = 16) {
  G = Net(z, d)
  D = Net(d, 1)
  fn generate(noise: f32[N, z]) -> f32[N, d] { G(noise) }
  fn d_loss(x: f32[N, d], noise: f32[N, z]) -> f32 { mean(softplus(-D(x))) + mean(softplus(D(stop_gradient(G(noise))))) }
  fn g_loss(noise: f32[N, z]) -> f32 { mean(softplus(-D(G(noise)))) }
}
train discriminator for GAN { minimize d_loss;  update D.*;  with adam(lr = 2e-4, betas = (0.5, 0.999)) }
train generator     for GAN { minimize g_loss;  update G.*;  with adam(lr = 2e-4, betas = (0.5, 0.999)) }
`);
    expect(m.trains.map((t) => t.name)).toEqual(["discriminator", "generator"]);
    expect(m.trains[0].update).toEqual(["D.fc.weight", "D.fc.bias"]);
    expect(m.trains[1].update).toEqual(["G.fc.weight", "G.fc.bias"]);
    expect(m.trains[0].rules.map((r) => [r.optimizer, r.hyper, r.groups[0].paths])).toEqual([
      ["adam", { lr: 2e-4 }, ["D.fc.weight", "D.fc.bias"]],
    ]);
    expect(m.trains[0].inputs.map((i) => i.name)).toEqual(["x", "noise"]);
  });

  test("transfer learning: a member of another layer, frozen parts, penalties, no decay", () => {
    const m = modelOf(`
import { Conv2d, Dropout, Linear } from "std/nn"
layer VGG(c: int = 4) {
  features = [Conv2d(3, c, 3, padding = 1), relu, max_pool2d(2), Conv2d(c, 2 * c, 3, padding = 1), relu]
  head     = Linear(2 * c * 4 * 4, 10)
  fn forward(x: f32[N, 3, 8, 8]) { x |> features |> flatten |> head }
}
model Flowers {
  trunk = VGG().features
  frozen trunk.*
  head  = [Linear(128, 16), relu, Dropout(0.5), Linear(16, 5)]
  fn logits(x: f32[N, 3, 8, 8]) -> f32[N, 5] { x |> trunk |> flatten |> head }
  fn loss(x: f32[N, 3, 8, 8], y: i32[N]) -> f32 { cross_entropy(logits(x), y) }
}
train tune for Flowers {
  minimize loss + l1(head.*, 1e-5)
  with adamw(lr = one_cycle(3e-4), weight_decay = 1e-2, no_decay = ["*.bias"])
  clip norm 1.0
}`);
    expect(m.params.map((p) => `${p.path}${p.frozen ? " frozen" : ""}`)).toEqual([
      "trunk.0.weight frozen",
      "trunk.0.bias frozen",
      "trunk.3.weight frozen",
      "trunk.3.bias frozen",
      "head.0.weight",
      "head.0.bias",
      "head.3.weight",
      "head.3.bias",
    ]);
    const [t] = m.trains;
    expect(t.update).toEqual(["head.0.weight", "head.0.bias", "head.3.weight", "head.3.bias"]);
    expect(t.rules.map((r) => r.groups.map((g) => g.paths))).toEqual([
      [
        ["head.0.weight", "head.3.weight"],
        ["head.0.bias", "head.3.bias"],
      ],
    ]);
    expect(t.clip).toEqual({ by: "norm", limit: 1 });
    expect(JSON.stringify(t.rules[0].hyper.lr)).toContain("total_steps");
    // Dropout draws in training: the step is counted, and only there.
    expect(t.lossGraph.writes.map((w) => w.path)).toEqual(["random_step"]);
    expect(m.entries.every((e) => e.graph.writes.length === 0)).toBe(true);
    expect(m.buffers.map((b) => [b.path, b.internal])).toEqual([["random_step", true]]);
  });

  test("an operator of one's own, with and without a gradient", () => {
    const m = modelOf(`
/// Squared ReLU.
op relu2(x: f32) -> f32 { m = max(x, 0);  m * m }
grad (g) { g * 2 * max(x, 0) }
op twice(x: f32) -> f32 { x + x }
model M { fn f(x: f32[N, 3]) -> f32[N, 3] { twice(relu2(x)) } }`);
    expect(opsOf(m, "f")).toEqual(["input", "custom", "add"]);
    const node = m.entries[0].graph.nodes.find((n) => n.attrs.name === "relu2");
    expect(node?.op.fuses).toBe("composite");
    expect(node?.op.vjp).toBeDefined();
  });

  test("tied weights and a cache in buffers", () => {
    const m = modelOf(`
import { Embedding, Linear } from "std/nn"
layer Block(d: int, context: int) {
  buffer keys: f32[1, context, d] = zeros()
  fn cached(k: f32[1, d], at: i32) -> f32[1, context, d] {
    all = update(keys, k[:, new, :], at = [0, at, 0])
    keys <- all
    all
  }
}
model GPT(vocab: int = 7, d: int = 4) {
  wte  = Embedding(vocab, d)
  head = Linear(d, vocab, bias = false)
  head.weight = wte.weight
  blocks = [Block(d, 5) for i in 0..2]
  fn logits(ids: i32[B, T]) -> f32[B, T, vocab] { ids |> wte |> head }
  fn next(id: i32[1], at: i32) -> f32[1, vocab] {
    x = wte(id)
    caches = [b.cached(x, at) for b in blocks]
    head(x + mean(caches[0], axis = 1) + mean(caches[1], axis = 1))
  }
}`);
    expect(m.params.map((p) => [p.path, p.aliases])).toEqual([["wte.weight", ["head.weight"]]]);
    const next = m.entries.find((e) => e.name === "next");
    expect(next?.graph.writes.map((w) => w.path)).toEqual(["blocks.0.keys", "blocks.1.keys"]);
    expect(m.buffers.map((b) => b.path)).toEqual(["blocks.0.keys", "blocks.1.keys"]);
  });

  test("recurrence over a length that is not known: what does not change stays outside the loop", () => {
    const m = modelOf(`
import { LSTM } from "std/nn"
model M { lstm = LSTM(3, 4);  fn forward(x: f32[B, T, 3]) -> (y: f32[B, T, 4], s: f32[B, 4], c: f32[B, 4]) { lstm(x) } }`);
    expect(resultsOf(m, "forward")).toEqual(["y: f32[B, T, 4]", "s: f32[B, 4]", "c: f32[B, 4]"]);
    const scan = m.entries[0].graph.nodes.find((n) => n.op.name === "scan");
    expect(scan).toBeDefined();
    const body = scan?.attrs.body as unknown as { nodes: { op: { name: string } }[]; inputs: unknown[] };
    // The slice, two carries, and four captured weights (already transposed where they are).
    expect(body.inputs.length).toBe(7);
    expect(body.nodes.every((n) => n.op.name !== "param")).toBe(true);
  });
});
