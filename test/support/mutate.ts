// Programs that are almost right: good sources with a few tokens changed. In: a seed. Out: a text, mostly one that parses.
import { readFileSync } from "node:fs";

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
/** Good programs of every kind. */
export const seeds = [
  read("dsl-examples/lstm.mdl"),
  read("dsl-examples/mlp.mdl"),
  read("dsl-examples/transformer.mdl").replaceAll("= 4,", "= 2,"),
  read("dsl-examples/convnet.mdl"),
  read("compiler/core/std/loss.mdl"),
  `
import { BatchNorm2d, Conv2d, Dropout, Linear } from "std/nn"
op relu2(x: f32) -> f32 { m = max(x, 0);  m * m }
grad (g) { g * 2 * max(x, 0) }
layer Skip(c: int, deep: bool = true, mode: "add" | "none" = "add") {
  conv = Conv2d(c, c, 3, padding = 1)
  bn   = BatchNorm2d(c)
  more = if deep { [Conv2d(c, c, 1), relu, Dropout(0.5)] } else { identity }
  buffer seen: i32 = 0
  fn forward(x: f32[N, c, H, W]) -> f32[N, c, H, W] {
    seen <- seen + 1
    h = x |> conv |> bn |> relu2 |> more
    if mode == "add" { h + x } else { h }
  }
}
model Net(c: int = 4, depth: int = 2) {
  stem   = Conv2d(3, c, 3, padding = 1)
  blocks = [Skip(c, deep = i > 0) for i in 0..depth]
  head   = [Linear(c, 8), relu, Linear(8, 5)]
  frozen stem.*
  fn logits(x: f32[N, 3, H, W]) -> f32[N, 5] {
    (h, all) = for b in blocks with h = stem(x), all = [] { y = b(h); (y, all + [y]) }
    mean(h + all[0], axes = [2, 3]) |> head
  }
  fn loss(x: f32[N, 3, H, W], y: i32[N]) -> f32 { cross_entropy(logits(x), y) }
  fn saliency(x: f32[N, 3, H, W], y: i32[N]) -> f32[N, H, W] { max(abs(grad(loss, wrt = x)(x, y)), axis = 1) }
  fn crop(x: f32[N, 3, H, W], at: i32) { (a = x[:, 0, 1:-1, ::2], b = x[at], c = x[..., new, 2], d = x[::-1].T) }
}
train fit for Net {
  minimize loss + l1(head.*, 1e-5)
  with adamw(lr = one_cycle(3e-4), no_decay = ["*.bias"])
  clip norm 1.0
  batch 32
}`,
];

/** A small generator with a seed that a failure prints. */
export function random(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const tokens = (text: string): string[] =>
  text.match(/\/\/[^\n]*|\s+|[A-Za-z_]\w*|\d[\w.]*|"[^"\n]*"|[-+*/<>=!|&.:]+|[^\s\w]/g) ?? [];
const words =
  'x y N H f32 i32 bool 0 1 -1 2 3.5 1e30 9007199254740991 none training true [] () "a" identity relu zeros sum max grad params forward self loss self.x T eval constant normal split pad view reshape broadcast_to iota concat zip range reversed size 1e308 4294967296 -2147483649 1000000000 constructor __proto__ toString then'.split(
    " ",
  );
// Names and sizes that nobody writes.
words.push("long".repeat(80), "(N + 1) ** 40", "[x, x] + [x, x]", "split(x, 100000000)");

const keywords = new Set(
  "import from layer model fn op grad wgsl train for in if else scan over axis with emit param buffer frozen private minimize report update batch clip norm value ema new".split(
    " ",
  ),
);
const isName = (t: string): boolean => /^[A-Za-z_]/.test(t) && !keywords.has(t);

/** Mostly changes that still parse: other names, other numbers, other operators. */
export function mutate(text: string, next: () => number): string {
  const list = tokens(text);
  const pick = <T>(xs: readonly T[]): T => xs[Math.floor(next() * xs.length)];
  const count = 1 + Math.floor(next() * 3);
  for (let k = 0; k < count; k++) {
    const at = Math.floor(next() * list.length);
    const t = list[at];
    const kind = next();
    if (/^\s+$|^\/\//.test(t)) continue;
    if (kind < 0.02) list.splice(at, 1);
    else if (kind < 0.04) list.splice(at, 0, pick(list));
    else if (isName(t)) list[at] = kind < 0.7 ? pick(list.filter(isName)) : pick(words);
    else if (/^\d/.test(t))
      list[at] = pick([
        "0",
        "1",
        "2",
        "3",
        "7",
        "1000000",
        "9007199254740991",
        "3000000000",
        "0.5",
        "1e9",
        "N",
        "x",
        t,
      ]);
    else if (/^(?:[-+*/@%]|\*\*|==|<=?|>=?|&&|\|>)$/.test(t))
      list[at] = pick(["+", "-", "*", "/", "%", "**", "@", "==", "<", "&&", "|>"]);
  }
  return list.join("");
}
