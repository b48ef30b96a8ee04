// Train blocks that train and decay different parameters of one model, and PyTorch's figures of it (test/figures/groups.json).
import { projectFile } from "./files.ts";

export const groupsSource = `import { Linear } from "std/nn"
model M() {
  a = Linear(6, 5)
  b = Linear(5, 5)
  c = Linear(5, 5)
  e = Linear(5, 3)
  idle = Linear(2, 2)
  fn loss(x: f32[N, 6], y: i32[N]) -> f32 {
    cross_entropy(x |> a |> tanh |> b |> tanh |> c |> tanh |> e, y)
  }
}
train one   for M { minimize loss; update a.*, b.*, idle.*; with sgd(lr = 0.1, momentum = 0.9, weight_decay = 0.05, no_decay = ["*.bias"]) }
train two   for M { minimize loss; update b.*, c.*;         with adamw(lr = 0.02, weight_decay = 0.3, no_decay = ["*.bias"]) }
train three for M { minimize loss; update a.*, e.*;         with adam(lr = 0.01, weight_decay = 0.2, no_decay = ["*.bias"]) }
train all   for M { minimize loss;                          with adamw(lr = 0.005, weight_decay = 0.5, no_decay = ["*.bias"]) }
`;

export const groups = JSON.parse(projectFile("test/figures/groups.json")) as {
  readonly begin: Readonly<
    Record<string, { readonly shape: readonly number[]; readonly data: readonly number[] }>
  >;
  readonly x: readonly number[];
  readonly y: readonly number[];
  readonly steps: readonly {
    readonly block: string;
    readonly loss: number;
    readonly after: Readonly<Record<string, readonly number[]>>;
  }[];
};
/** The largest difference of two lists. */
export const farthest = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((m, v, i) => Math.max(m, Math.abs(v - b[i])), 0);
