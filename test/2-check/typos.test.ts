/**
 * One mistake each, as someone makes it who knows PyTorch, Python or another shape of mdl: the message names the place and
 * the fix, once, and hides nothing else.
 */
import { describe, expect, it } from "vitest";
import { LineMap } from "../../compiler/core/diagnostics/index.ts";
import { checkText, errorsOf } from "../support/check.ts";
import { random, seeds } from "../support/mutate.ts";

const base = `import { Conv2d, Linear } from "std/nn"

layer Block(cin: int, cout: int) {
  conv = Conv2d(cin, cout, 3, padding = 1)
  fn forward(x: f32[N, cin, H, W]) -> f32[N, cout, floor(H / 2), floor(W / 2)] { x |> conv |> relu |> max_pool2d(2) }
}

model Net(classes: int = 10, width: int = 8) {
  block = Block(3, width)
  head  = Linear(width * 16 * 16, classes)

  fn logits(x: f32[N, 3, 32, 32]) -> f32[N, classes] {
    h = block(x)
    flatten(h) |> head
  }
  fn loss(x: f32[N, 3, 32, 32], y: i32[N]) -> f32 { cross_entropy(logits(x), y) }
  fn accuracy(x: f32[N, 3, 32, 32], y: i32[N]) -> f32 { mean(f32(argmax(logits(x), axis = 1) == y)) }
}

train fit for Net {
  minimize loss
  report accuracy
  with adam(lr = 1e-3)
}
`;

/** What is replaced, by what, every error that comes of it, and what the first one's help says. */
const mistakes: readonly (readonly [string, string, readonly string[], RegExp])[] = [
  // Names.
  ["Conv2d, Linear }", "Conv2d }", ["E0201 10:11"], /import \{ Linear \} from "std\/nn"/],
  ["Conv2d, Linear }", "Conv2d, Linear, SyncBatchNorm }", ["E0802 1:26"], /BatchNorm2d/],
  ["Conv2d, Linear }", "Conv2d, Liner }", ["E0802 1:18", "E0201 10:11"], /did you mean Linear/],
  ['"std/nn"', '"torch.nn"', ["E0801 1:32"], /layers come from "std\/nn"/],
  ["conv = Conv2d", "conv = nn.Conv2d", ["E0201 4:10"], /no module stands before it: write Conv2d/],
  ["conv = Conv2d", "conv = torch.nn.Sequential", ["E0201 4:10"], /write a list: \[Linear/],
  ["conv = Conv2d", "conv = Conv2D", ["E0201 4:10"], /did you mean Conv2d/],
  ["x |> conv", "x |> self.conv", ["E0201 5:87"], /members are named directly: conv\(x\)/],
  ["|> relu", "|> F.relu", ["E0201 5:95"], /write relu/],
  ["|> relu", "|> nn.ReLU()", ["E0201 5:95"], /import \{ ReLU \}/],
  ["|> relu", "|> F.nothing", ["E0201 5:95"], /no module before them/],
  ["report accuracy", "report acc", ["E0201 22:10"], /did you mean accuracy/],
  ["flatten(h)", "h[:, None]", ["E0201 14:10"], /made by new: x\[:, new\]/],
  [
    "h = block(x)",
    "if training { h = block(x) } else { h = block(x) }",
    ["E0201 14:13"],
    /a block that has ended/,
  ],
  [
    "h = block(x)",
    "h = block(x)\n    for b in [relu] { h = b(h) }",
    ["E0202 14:23"],
    /y = for x in xs with h = h \{ next \}/,
  ],
  ["|> relu", "|> ReLU", ["E0201 5:95"], /import \{ ReLU \} from "std\/nn"/],
  ["h = block(x)", "h = block(x.view(1, 3, 32, 32))", ["E0203 13:17"], /write reshape/],
  ["h = block(x)", "h = block(x.relu())", ["E0203 13:17"], /operators are called on it: relu\(x\)/],
  ["flatten(h)", "view(h, 4)", ["E0201 14:5"], /write reshape/],
  ["flatten(h)", "permute(h, 0, 1, 3, 2)", ["E0201 14:5"], /write transpose/],
  ["flatten(h)", "cat([h, h], 1)", ["E0201 14:5"], /write concat/],
  ["flatten(h)", "expand(h, 2)", ["E0201 14:5"], /broadcast_to/],
  ["flatten(h)", "bmm(h, h)", ["E0201 14:5"], /a @ b/],
  ["flatten(h)", "h.flatten(1)", ["E0203 14:7"], /operators are called on it: flatten\(x\)/],
  ["flatten(h)", "torch.flatten(h, 1)", ["E0201 14:5"], /write flatten/],
  ["flatten(h)", "block + h", ["E0506 14:5"], /call it/],
  ["flatten(h)", "transpose(h, 1, 2)", ["E0305 14:18"], /transpose\(x, \[0, 2, 1\]\)/],
  [
    "cross_entropy(logits(x), y)",
    "nn.CrossEntropyLoss()(logits(x), y)",
    ["E0201 16:53"],
    /write cross_entropy\(logits, y\)/,
  ],
  [
    "logits(x: f32[N, 3, 32, 32])",
    "logits(self, x: f32[N, 3, 32, 32])",
    ["E0110 12:13"],
    /members are named directly/,
  ],
  ["h = block(x)", "h = if x == None { x } else { block(x) }", ["E0201 13:17"], /write none/],
  ["classes: int = 10", "classes: int = None", ["E0201 8:26"], /write none/],
  // Types.
  ["logits(x: f32[", "logits(x: float32[", ["E0206 12:16"], /called f32/],
  ["logits(x: f32[", "logits(x: Tensor[", ["E0206 12:16"], /its dtype with its sizes/],
  ["logits(x: f32[", "logits(x: torch.float[", ["E0101 12:21"], /./],
  ["y: i32[N]) -> f32 { cross", "y: int64[N]) -> f32 { cross", ["E0206 16:36"], /i32/],
  ["logits(x: f32[N, 3", "logits(x: f32[n, 3", ["E0201 12:20"], /begins with a capital: N/],
  ["loss(x: f32[N, 3", "loss(x: f32[batch, 3", ["E0201 16:18"], /begins with a capital: Batch/],
  [
    "fn loss(x: f32[N, 3, 32, 32], y: i32[N])",
    "fn loss(x: f32[n, 3, 32, 32], y: i32[n])",
    ["E0201 16:18"],
    /capital: N/,
  ],
  ["-> f32[N, classes]", "-> f32[classes, N]", ["E0303 14:5"], /inputs bind sizes and a result does not/],
  ["-> f32[N, classes]", "-> f32[N, clases]", ["E0201 12:45"], /did you mean classes/],
  // Arguments.
  ["3, padding = 1", "kernel_size = 3, padding = 1", ["E0603 4:28"], /it is called k;/],
  ["padding = 1", "pad = 1", ["E0603 4:31"], /it is called padding;/],
  ["axis = 1", "dim = 1", ["E0603 17:84"], /it is called axis;/],
  ["lr = 1e-3", "learning_rate = 1e-3", ["E0603 23:13"], /it is called lr;/],
  ["adam(", "Adam(", ["E0907 23:8"], /did you mean adam/],
  ["minimize loss", "minimise loss", ["E0109 21:3"], /did you mean minimize/],
  ["3, padding = 1", "kernel_size = 3, pads = 1", ["E0603 4:28", "E0603 4:45"], /it is called k;/],
  ["classes: int = 10", "classes: int = 10.0", ["E0605 8:11"], /write 10/],
  ["adam(lr = 1e-3)", "adam(lr = CosineAnnealingLR(1e-3))", ["E0201 23:18"], /write cosine\(1e-3/],
  ["adam(lr = 1e-3)", "adam(lr = 1e-3, betas = 0.9)", ["E0605 23:32"], /write \[a, b\]/],
  ["adam(lr = 1e-3)", "adam(lr = step_decay(1e-3))", ["E0601 23:18"], /value, every, gamma/],
  [
    "y: i32[N]) -> f32 { cross",
    "y: f32[N]) -> f32 { cross",
    ["E0404 16:78"],
    /declare the target y: i32\[N\]/,
  ],
  ["axis = 1", "axis = 2", ["E0305 17:91"], /from 0 to 1, or back from -1 to -2/],
  // Train blocks.
  ["minimize loss", "minimize loss(x, y)", ["E0506 21:17"], /write loss alone/],
  ["minimize loss", "minimize cross_entropy(logits, y)", ["E0201 21:34"], /without their inputs/],
  ["minimize loss", "loss cross_entropy", ["E0109 21:3"], /minimize loss/],
  ["report accuracy", "batch_size 32", ["E0109 22:3"], /write batch 32/],
  ["report accuracy", "clip 1.0", ["E0101 22:8"], /clip norm 1.0/],
  ["train fit for Net", "train Net", ["E0101 20:11"], /train fit for Net/],
  // Syntax.
  ["h = block(x)", "h = true ? block(x) : x", ["E0101 13:14"], /if c \{ a \} else \{ b \}/],
  ["classes: int = 10", "classes: float = .5", ["E0101 8:28"], /digit before its point/],
  ["Block(3, width)", "Block(3, width // 2)", ["E0105 9:16"], /floor\(a \/ b\)/],
  ["logits(x: f32[N, 3, 32, 32])", "logits(x: f32[?, 3, 32, 32])", ["E0101 12:20"], /a name with a capital/],
  ["logits(x: f32[N, 3, 32, 32])", "logits(x: f32(N, 3, 32, 32))", ["E0101 12:19"], /one pair of brackets/],
  [
    "{\n    h = block(x)\n    flatten(h) |> head\n  }",
    ":\n    flatten(block(x)) |> head",
    ["E0101 12:54"],
    /bodies stand in braces/,
  ],
  ["h = block(x)", "h = block(x)\n    h += 1", ["E0101 14:8"], /bound once: y = x \+ 1/],
  ["h = block(x)", "h = block(x)\n    h *= 2", ["E0101 14:8"], /bound once: y = x \* 1/],
  ["flatten(h) |> head", "return flatten(h) |> head", ["E0101 14:12"], /the expression it ends with/],
  ["fn loss", "def loss", ["E0101 16:3"], /declared with fn/],
  ["h = block(x)", "let h = block(x)", ["E0101 13:9"], /no keyword/],
  ["h = block(x)", "h = x if true else block(x)", ["E0101 13:11"], /if c \{ a \} else \{ b \}/],
  ["h = block(x)", "h = if not false { block(x) } else { block(x) }", ["E0101 13:16"], /not is written !/],
  [
    "h = block(x)",
    "h = if true and true { block(x) } else { block(x) }",
    ["E0101 13:17"],
    /and is written &&/,
  ],
  ["h = block(x)", "h = (lambda z: z)(block(x))", ["E0101 13:17"], /write fn\(x\) \{ x \+ 1 \}/],
  ["h = block(x)", "# a comment\n    h = block(x)", ["E0102 13:5"], /comments begin with \/\//],
  ["layer Block", "import torch\nlayer Block", ["E0101 3:8"], /operators need no import/],
  ["layer Block", "from torch import nn\nlayer Block", ["E0101 3:1"], /operators need no import/],
  ["layer Block(cin", "class Block(cin", ["E0101 3:1"], /declare a layer or a model/],
  ["Block(3, width)", "Block(3 width)", ["E0101 9:19"], /./],
];

const places = (source: string): { at: string; help: string }[] => {
  const map = new LineMap(source);
  return checkText(source)
    .diagnostics.filter((d) => d.severity === "error")
    .map((d) => {
      const { line, column } = map.position(d.primary.span.start);
      return { at: `${d.code} ${line}:${column}`, help: d.help ?? "" };
    });
};

describe("one mistake", () => {
  it("the program without any is right", () => expect(places(base)).toEqual([]));
  for (const [from, to, expected, help] of mistakes)
    it(`${from.split("\n")[0]} as ${to.split("\n").join(" ")}`, () => {
      expect(base).toContain(from);
      const found = places(base.replace(from, to));
      expect(found.map((f) => f.at)).toEqual(expected);
      if (help.source !== ".") expect(found[0].help).toMatch(help);
    });
});

describe("several mistakes", () => {
  it("an unknown name hides only what depends on it", () => {
    const source = `import { Linear, Nothing } from "std/nn"
model M {
  a = Nothing(4)
  b = Linear(4, 5)
  fn f(x: f32[N, 4]) -> f32[N, 4] { b(a(x)) }
  fn g(x: f32[N, 4]) -> f32[N, 4] { h = a(x); b(x) }
}`;
    expect(errorsOf(source)).toEqual([
      "E0802 std/nn has no Nothing",
      "E0303 g: axis 1 of the result is 5, declared 4",
    ]);
  });
  it("a syntax error hides nothing elsewhere, and says nothing of what it damages", () => {
    const source = `import { Linear } from "std/nn"
model M {
  a = Linear(4 4)
  b = Linear(4, 5)
  fn f(x: f32[N, 4]) -> f32[N, 5] { b(a(x)) }
  fn g(x: f32[N, 4]) -> f32[N, 4] { b(x) }
  fn h(x: f32[N, 4]) { y = view(x, 2, 2); x }
  fn i(x: f32[N 4]) -> f32[N] { sum(x, axis = 1) }
  fn j(x: f32[N, 4]) -> f32[N, 5] { b(i(x)) }
}`;
    expect(errorsOf(source)).toEqual([
      "E0101 expected `,` or `)`, found `4`",
      "E0303 g: axis 1 of the result is 5, declared 4",
      "E0201 there is no view here",
      "E0101 expected `,` or `]`, found `4`",
    ]);
  });
  it("an error behind a hundred warnings is one", () => {
    const unused = Array.from({ length: 150 }, (_, i) => `a${i} = 1`).join("\n");
    const found = errorsOf(`model M { fn f(x: f32[N]) { ${unused}\n nothing(x) } }`);
    expect(found).toEqual(["E0201 there is no nothing here"]);
  });
  it("right programs with one token lost or gained are said to be broken there alone", () => {
    let broken = 0;
    const wrong: string[] = [];
    for (let i = 0; i < 120; i++) {
      const next = random(1000 + i);
      const list = seeds[i % seeds.length].match(/\/\/[^\n]*|\s+|\w+|"[^"\n]*"|->|<-|\|>|[^\s\w]/g) ?? [];
      const at = Math.floor(next() * list.length);
      if (/^\s+$|^\/\//.test(list[at])) continue;
      if (next() < 0.5) list.splice(at, 1);
      else list.splice(at, 0, [")", "(", "}", ",", ":", "=", "]"][Math.floor(next() * 7)]);
      const found = errorsOf(list.join(""));
      if (!found.some((e) => e.startsWith("E01"))) continue;
      broken++;
      wrong.push(...found.filter((e) => !/^E(01|10)/.test(e)).map((e) => `${i}: ${e}`));
    }
    expect(broken).toBeGreaterThan(50);
    expect(wrong).toEqual([]);
  });
});

describe("a member that stands before a declaration", () => {
  it("is seen in its type, its initial value and its condition", () => {
    expect(
      errorsOf(`
layer Attention(d: int, heads: int) {
  tokens = d / heads
  param weight: f32[tokens, d] = normal(1 / sqrt(tokens)) if tokens > 1
  buffer seen: i32[tokens] = zeros()
  fn forward(x: f32[N, d]) -> f32[N, tokens] { x @ weight.T }
}
model M { a = Attention(8, 2)\n fn f(x: f32[N, 8]) -> f32[N, 4] { a(x) } }`),
    ).toEqual([]);
  });
  it("is not seen where it stands below: the message says so", () => {
    const source =
      "layer L { param w: f32[k] = zeros()\n k = 3 }\nmodel M { l = L()\n fn f(x: f32[N]) { x } }";
    expect(places(source)).toEqual([
      { at: "E0201 1:24", help: "k is bound below; bind it before this declaration" },
    ]);
  });
});
