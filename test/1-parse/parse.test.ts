/** The parser: what each piece of the grammar means as a tree, where lines end, and what errors say. */
import { describe, expect, it } from "vitest";
import { LineMap } from "../../compiler/core/diagnostics/span.ts";
import { dumpAst } from "../../compiler/core/phases/1-parse/dump.ts";
import { MdlParser } from "../../compiler/core/phases/1-parse/grammar.ts";
import { parse } from "../../compiler/core/phases/1-parse/parse.ts";
import { printExpr } from "../../compiler/core/phases/1-parse/print.ts";
import type {
  Expr,
  FnDecl,
  LayerDecl,
  OpDecl,
  SourceFile,
  TrainDecl,
} from "../../compiler/core/syntax/ast.ts";
import { maxNesting, maxSourceLength, maxTreeDepth } from "../../compiler/core/syntax/limits.ts";
import { childrenOf } from "../../compiler/core/syntax/walk.ts";
import { allSources } from "../support/sources.ts";

function clean(text: string): SourceFile {
  const { ast, diagnostics } = parse(text, "t.mdl");
  expect(diagnostics).toEqual([]);
  return ast;
}

/** The value of `x = …` at top level. */
function expr(text: string): Expr {
  const item = clean(`x = ${text}`).items[0];
  if (item.kind !== "bind") throw new Error(`a ${item.kind}`);
  return item.value;
}

/** `code line:column` of each diagnostic. */
function complaints(text: string): string[] {
  const map = new LineMap(text);
  return parse(text, "t.mdl").diagnostics.map((d) => {
    const { line, column } = map.position(d.primary.span.start);
    return `${d.code} ${line}:${column}`;
  });
}

/** A tree's structure as nested parentheses, to see precedence. */
function shape(e: Expr): string {
  switch (e.kind) {
    case "binary":
      return `(${shape(e.left)} ${e.op} ${shape(e.right)})`;
    case "pipe":
      return `(${shape(e.left)} |> ${shape(e.right)})`;
    case "range":
      return `(${shape(e.start)} .. ${shape(e.stop)})`;
    case "unary":
      return `(${e.op}${shape(e.operand)})`;
    default:
      return printExpr(e);
  }
}

it("the grammar has no ambiguity, left recursion or empty loop", () => {
  expect(() => new MdlParser(true)).not.toThrow();
});

describe("programs", () => {
  for (const { file, text } of allSources()) {
    it(`${file} parses`, () => {
      expect(parse(text, file).diagnostics).toEqual([]);
    });
  }
});

describe("expressions", () => {
  it.each([
    ["a + b * c", "(a + (b * c))"],
    ["a - b - c", "((a - b) - c)"],
    ["a / b * c % d @ e", "((((a / b) * c) % d) @ e)"],
    ["-x ** 2", "(-(x ** 2))"],
    ["2 ** -x ** 2", "(2 ** (-(x ** 2)))"],
    ["a ** b ** c", "(a ** (b ** c))"],
    ["-a * b", "((-a) * b)"],
    ["!a && b || c", "(((!a) && b) || c)"],
    ["a == b && c < d", "((a == b) && (c < d))"],
    ["0..n - 1", "(0 .. (n - 1))"],
    ["a + b |> f |> g", "(((a + b) |> f) |> g)"],
    ["(a + b) * c", "((a + b) * c)"],
    ["- -x", "(-(-x))"],
  ])("%s groups as %s", (text, expected) => {
    expect(shape(expr(text))).toBe(expected);
  });

  it("reads numbers as written", () => {
    expect(expr("1_000")).toMatchObject({ kind: "int", value: 1000, raw: "1_000" });
    expect(expr("0xff")).toMatchObject({ kind: "int", value: 255 });
    expect(expr("1e-5")).toMatchObject({ kind: "float", value: 1e-5 });
    expect(expr("2e4")).toMatchObject({ kind: "float", value: 20000 });
    expect(expr("0.25")).toMatchObject({ kind: "float", value: 0.25 });
  });

  it("reads strings with their escapes", () => {
    expect(expr(String.raw`"a\n\"\\\u{1f600}"`)).toMatchObject({ kind: "string", value: 'a\n"\\😀' });
  });

  it("tells parentheses, tuples and records apart", () => {
    expect(expr("(a)")).toMatchObject({ kind: "name" });
    expect(expr("(a, b)")).toMatchObject({ kind: "tuple", items: [{ name: "a" }, { name: "b" }] });
    expect(expr("(a = 1)")).toMatchObject({ kind: "record", fields: [{ name: { name: "a" } }] });
  });

  it("reads every kind of slice", () => {
    const index = expr("x[:, a:b:c, ::2, 1:, :-1, ..., new, i]");
    if (index.kind !== "index") throw new Error(index.kind);
    expect(index.items.map((i) => i.kind)).toEqual([
      ...["slice", "slice", "slice", "slice", "slice", "ellipsis", "new", "at"],
    ]);
    expect(index.items[1]).toMatchObject({ start: { name: "a" }, stop: { name: "b" }, step: { name: "c" } });
    expect(index.items[0]).not.toHaveProperty("start");
    expect(index.items[2]).toMatchObject({ step: { value: 2 } });
  });

  it("calls the result of a call", () => {
    const call = expr("grad(loss, wrt = x)(x, y)");
    expect(call).toMatchObject({
      kind: "call",
      callee: { kind: "call", args: [{}, { name: { name: "wrt" } }] },
    });
    expect(expr("net.eval()(x)")).toMatchObject({ callee: { callee: { kind: "member" } } });
  });

  it("reads patterns and not products", () => {
    expect(expr("l1(head.*, 1e-5)")).toMatchObject({ args: [{ value: { segments: ["head", "*"] } }, {}] });
    expect(expr("a.b * c")).toMatchObject({ kind: "binary", op: "*" });
    expect(expr("l2(*.bias)")).toMatchObject({ args: [{ value: { segments: ["*", "bias"] } }] });
    expect(expr("f(blocks[0].*.w)")).toMatchObject({
      args: [{ value: { segments: ["blocks", "0", "*", "w"] } }],
    });
  });

  it("reads comprehensions, for, scan and if", () => {
    expect(expr("[f(i) for i in 0..n if i != 2]")).toMatchObject({
      kind: "comprehension",
      target: { name: "i" },
      condition: { op: "!=" },
    });
    expect(expr("for (u, s) in zip(a, b) with h = x, l = [] { (h, l) }")).toMatchObject({
      kind: "for",
      target: { items: [{ name: "u" }, { name: "s" }] },
      carries: [{ name: { name: "h" } }, { name: { name: "l" } }],
    });
    expect(expr("scan xt over x axis 1 with s = zeros(B) { emit y = s }")).toMatchObject({
      kind: "scan",
      axis: { value: 1 },
      body: { statements: [{ kind: "emit" }] },
    });
    expect(expr("if a { 1 } else if b { 2 } else { 3 }")).toMatchObject({
      kind: "if",
      else: { kind: "if", else: { kind: "block" } },
    });
  });

  it("gives a span to everything, within its parent's", () => {
    for (const { text, file } of allSources()) {
      const visit = (
        node: { span: { start: number; end: number } } & Parameters<typeof childrenOf>[0],
      ): void => {
        expect(node.span.start).toBeLessThanOrEqual(node.span.end);
        for (const child of childrenOf(node)) {
          expect(child.span.start).toBeGreaterThanOrEqual(node.span.start);
          expect(child.span.end).toBeLessThanOrEqual(node.span.end);
          visit(child);
        }
      };
      visit(parse(text, file).ast);
    }
  });
});

describe("lines", () => {
  const statements = (body: string): number => {
    const fn = clean(`fn f() {\n${body}\n}`).items[0] as FnDecl;
    return fn.body.statements.length + (fn.body.result === undefined ? 0 : 1);
  };

  it.each([
    ["x =\n 1", 1],
    ["a +\n b", 1],
    ["a\n + b", 1],
    ["a\n |> f\n |> g", 1],
    ["a\n .b", 1],
    ["f(a,\n b\n)", 1],
    ["[a\n, b]", 1],
    ["if c { 1 }\n else { 2 }", 1],
    ["a // comment\n |> f", 1],
    ["a\n\n // comment\n\n |> f", 1],
    ["a\n -b", 2],
    ["a\n (b, c) = d", 2],
    ["a\n [b]", 2],
    ["a; b; c", 3],
    ["f(if c {\n a\n b\n} else { d })", 1],
  ])("%j is %d", (body, count) => {
    expect(statements(body)).toBe(count);
  });

  it("keeps a pattern's star from going on", () => {
    const model = clean("model M {\n  frozen trunk.*\n  head = Linear(1, 2)\n}").items[0];
    expect(model).toMatchObject({ members: [{ kind: "frozen" }, { kind: "bind" }] });
  });
});

describe("declarations", () => {
  it("reads a layer", () => {
    const [layer] = clean(`
/// Doc.
///  Second line.
layer L(c: int, mode: "a" | "b" = "a", sizes: [int], act: fn = relu, mask: f32[...]? = none) {
  param weight: f32[c, floor(H / 2)] = ones()
  param bias: f32[c] = zeros() if bias
  buffer count: i32 = zeros()
  frozen weight
  inner = Linear(c, c)
  inner.weight = weight
  private fn forward(x: f32[..., c]) -> (y: f32[..., c], z: bool[]) { count <- count + 1; x }
}`).items as [LayerDecl];
    expect(layer.doc).toBe("Doc.\n Second line.");
    expect(layer.params.map((p) => p.type.kind)).toEqual([
      ...["static_type", "enum_type", "list_type", "static_type", "optional_type"],
    ]);
    expect(layer.members.map((m) => m.kind)).toEqual([
      ...["param_decl", "param_decl", "buffer_decl", "frozen", "bind", "tie", "fn"],
    ]);
    expect(layer.members[1]).toMatchObject({ when: { name: "bias" } });
    expect(layer.members[2]).toMatchObject({ type: { kind: "tensor_type", dims: [] } });
    expect(layer.members[6]).toMatchObject({
      private: true,
      result: { fields: [{}, { type: { kind: "tensor_type", dtype: { name: "bool" } } }] },
      body: { statements: [{ kind: "store" }], result: { kind: "name" } },
    });
  });

  it("reads imports over several lines", () => {
    const [item] = clean('import {\n  A,\n  B as C,\n} from "std/nn"').items;
    expect(item).toMatchObject({
      names: [{ name: { name: "A" } }, { alias: { name: "C" } }],
      from: { value: "std/nn" },
    });
  });

  it("reads an operator with gradient and WGSL", () => {
    const [op] = clean("op f(x: f32) -> f32 { x }\ngrad (g) { g }\nwgsl `return x;`").items as [OpDecl];
    expect(op).toMatchObject({ grad: { cotangent: { name: "g" } }, wgsl: { text: "return x;" } });
  });

  it("reads every train clause", () => {
    const [train] = clean(`train t for M {
  minimize a + l1(head.*, 1e-5); update D.*, *.bias, "*.bn*"; frozen blocks.0.1.w; report a, b(k = 5)
  with adam(lr = 1e-3); batch 32; clip norm 1.0; ema 0.999
}`).items as [TrainDecl];
    expect(train.clauses.map((c) => c.kind)).toEqual([
      ...["minimize", "update", "frozen", "report", "with", "batch", "clip", "ema"],
    ]);
    expect(train.clauses[1]).toMatchObject({
      patterns: [{ segments: ["D", "*"] }, { segments: ["*", "bias"] }, { segments: ["*", "bn*"] }],
    });
    expect(train.clauses[2]).toMatchObject({ patterns: [{ segments: ["blocks", "0", "1", "w"] }] });
  });

  it("lets contextual words be names", () => {
    clean("op = 1\nmodel = 2\ntrain = 3\nupdate = axis + over + emit + with");
    clean("fn f(layer: int, batch: f32[N]) { emit = batch; grad(f)(emit) }");
  });
});

describe("comments", () => {
  it("belong to what they stand beside", () => {
    const [layer] = clean(
      "layer L {\n  // before\n  a = 1 // behind\n\n  b = f( // first\n    c,\n  )\n  // last\n}",
    ).items as [LayerDecl];
    expect(layer.members[0].trivia).toMatchObject({
      leading: [{ text: " before" }],
      trailing: { text: " behind" },
    });
    expect(layer.members[1].trivia).toMatchObject({ blankBefore: true });
    expect(layer.members[1]).toMatchObject({
      value: { args: [{ trivia: { leading: [{ text: " first" }] } }] },
    });
    expect(layer.trivia).toMatchObject({ inner: [{ text: " last" }] });
  });

  it("are documentation directly above a declaration only", () => {
    const [a, b] = clean("/// Far.\n\n/// Near.\nlayer A {}\n//// Not.\nlayer B {}").items as LayerDecl[];
    expect(a.doc).toBe("Near.");
    expect(a.trivia?.leading).toMatchObject([{ text: "/ Far." }]);
    expect(b.doc).toBeUndefined();
  });
});

describe("recovery", () => {
  it("reports every mistake in one go", () => {
    const text = [
      "layer A(c: int, k) {",
      "  x = foo(a b, 3)",
      "  fn f(x: f32[N]) -> f32[N] {",
      "    let z = 3",
      "    q = a and b",
      "    x[0] = 3",
      "    y = ",
      "  }",
      "  fn g(x: ) { x }",
      "}",
      "junk here",
      "fn h() { if a b { 1 } else { 2 ) } }",
    ].join("\n");
    expect(complaints(text)).toEqual([
      ...["E0110 1:17", "E0101 2:13", "E0101 4:9", "E0101 5:11", "E0106 6:5", "E0101 7:8", "E0101 9:11"],
      ...["E0101 11:1", "E0101 12:15", "E0105 12:32"],
    ]);
  });

  it("keeps what was read around a mistake", () => {
    const { ast } = parse(
      "layer A {\n  x = (1 2)\n  y = 3\n  fn f(x: f32[N] { x }\n  fn g() { 1 }\n}\nz = 1",
      "t.mdl",
    );
    expect(ast.items.map((i) => i.kind)).toEqual(["layer", "bind"]);
    expect((ast.items[0] as LayerDecl).members.map((m) => m.kind)).toEqual(["bind", "bind", "fn", "fn"]);
  });

  it("finds the brace that was left open", () => {
    expect(complaints("layer A {\n  fn f() {\n    x\n\n  fn g() { y }\n}\nfn h() { z }")).toEqual([
      "E0105 2:10",
    ]);
    expect(complaints("layer A {\n  fn g() { y }\n\nlayer B {\n  x = 1\n}")).toEqual(["E0105 1:9"]);
    expect(complaints("fn f() {\n  x = g(a, h(b)\n  y = 2\n}\nfn g() { 1 + }")).toEqual([
      "E0105 2:8",
      "E0101 5:14",
    ]);
    expect(complaints("fn f() { (a] }")).toEqual(["E0105 1:12"]);
    expect(complaints("fn f() { a }\n}\nfn g() { ]b }")).toEqual(["E0105 2:1", "E0105 3:10"]);
  });

  it("says what is expected and where the bracket began", () => {
    const [d] = parse("x = f(a b)", "t.mdl").diagnostics;
    expect(d.message).toBe("expected `,` or `)`, found `b`");
    expect(d.secondary).toMatchObject([
      { text: "`)` closes the call that starts here", span: { start: 5, end: 6 } },
    ]);
  });

  it.each([
    ["fn f() { return x }", "the value of a block is the expression it ends with"],
    ["fn f() { let x = 1 }", "a binding has no keyword: x = 1"],
    ["x = a or b", "or is written ||"],
    ["x = f(a = b = c)", "= binds a name at the beginning of a line; to compare, write =="],
    ["train t for M { minimise loss }", "did you mean minimize?"],
    ["x = 1.", "write 1.0"],
    ["x = a & b", "and is written &&"],
  ])("%s: %s", (text, help) => {
    expect(parse(text, "t.mdl").diagnostics.map((d) => d.help)).toContain(help);
  });

  it("stops after a number of errors", () => {
    const { diagnostics } = parse("x = )\n".repeat(1000), "t.mdl");
    expect(diagnostics.length).toBeLessThan(150);
    const unclosed = parse("a b\n".repeat(1000), "t.mdl").diagnostics;
    expect(unclosed.at(-1)?.code).toBe("E1007");
  });
});

describe("limits", () => {
  const codes = (text: string): string[] => [...new Set(parse(text, "t.mdl").diagnostics.map((d) => d.code))];
  const n = 10_000;

  it("says once where 10,000 parentheses are too many, and goes on behind them", () => {
    const text = `x = ${"(".repeat(n)}1${")".repeat(n)}\ny = f(a b)`;
    expect(complaints(text)).toEqual([`E1001 1:${5 + maxNesting}`, "E0101 2:9"]);
  });

  it.each([
    ["parentheses", `x = ${"(".repeat(n)}`],
    ["braces", `fn f() ${"{".repeat(n)}${"}".repeat(n)}`],
    ["lists", `x = ${"[".repeat(n)}${"]".repeat(n)}`],
    ["calls", `x = ${"f(".repeat(n)}${")".repeat(n)}`],
    ["list types", `fn f(x: ${"[".repeat(n)}int${"]".repeat(n)}) {}`],
    ["minuses", `x = ${"-".repeat(n)}1`],
    ["members", `x = a${".b".repeat(n)}`],
    ["calls of calls", `x = a${"()".repeat(n)}`],
    ["sums", `x = a${" + a".repeat(n)}`],
    ["powers", `x = a${" ** a".repeat(n)}`],
    ["pipes", `x = a${" |> a".repeat(n)}`],
    ["ifs", `x = ${"if ".repeat(n)}`],
    ["else ifs", `x = if a { 1 }${" else if a { 1 }".repeat(n)}`],
    ["fors", `x = ${"for a in ".repeat(n)}`],
    ["carries", `x = ${"for a in b with c = d, e = ".repeat(n)}`],
    ["scans", `x = ${"scan a over ".repeat(n)}`],
    ["blocks", `x = ${"if a { ".repeat(n)}${"}".repeat(n)}`],
  ])("10,000 %s end in E1001", (_, text) => {
    expect(codes(text)).toContain("E1001");
  });

  it("takes what a person would write", () => {
    clean(`x = ${"(".repeat(maxNesting)}1${")".repeat(maxNesting)}`);
    clean(`x = a${" + a".repeat(maxTreeDepth - 10)}`);
    clean(`x = [${"1, ".repeat(100_000)}]`);
  });

  it("bounds the depth of every tree", () => {
    const { ast } = parse(
      `x = ${"f([a + if b { ".repeat(n)}1${" }])".repeat(n)} ${" + a".repeat(n)}`,
      "t.mdl",
    );
    expect(() => dumpAst(ast)).not.toThrow();
  });

  it("takes 1 MB and refuses what is larger than its limit", () => {
    const text = allSources()
      .map((s) => s.text)
      .join("\n");
    const big = text.repeat(Math.ceil(2 ** 20 / text.length));
    expect(parse(big, "t.mdl").diagnostics).toEqual([]);
    expect(parse(" ".repeat(maxSourceLength + 1), "t.mdl").diagnostics).toMatchObject([{ code: "E1002" }]);
  });
});
