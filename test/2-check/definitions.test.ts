// What names refer to and what expressions are, by place: what an editor asks of a check.
import { describe, expect, it } from "vitest";
import { stdSources } from "../../compiler/core/generated/std.ts";
import { parse } from "../../compiler/core/phases/1-parse/parse.ts";
import type { Names } from "../../compiler/core/phases/2-check/names/table.ts";
import type * as ast from "../../compiler/core/syntax/ast.ts";
import { childrenOf } from "../../compiler/core/syntax/walk.ts";
import { checkText } from "../support/check.ts";
import { mutate, random } from "../support/mutate.ts";
import { generateProgram } from "../support/programs/generate.ts";
import { allSources } from "../support/sources.ts";

const FILE = "main.mdl";
const SOURCE = `
import { Conv2d as Conv, Linear } from "std/nn"
import { scaled } from "./ops.mdl"

/// Twice a convolution.
layer Block(cin: int, cout: int) {
  conv = Conv(cin, cout, 3, padding = 1)
  param gain: f32[cout, 1, 1] = ones()
  fn forward(x: f32[N, cin, H, W]) { y = conv(x); relu(y) * gain }
}
model Net(width: int = 8) {
  a = Block(1, width)
  b = Block(width, 2 * width)
  head = Linear(2 * width, 4)

  fn logits(image: f32[N, 1, H, W]) {
    h = image |> a |> b
    pooled = mean(h, axes = [2, 3])
    total = for k in 0..2 with s = pooled { s = s + pooled }
    head(scaled(total, factor = 0.5))
  }
  private fn loss(image: f32[N, 1, H, W], y: i32[N]) { cross_entropy(logits(image), y) }
  private fn slope(w: f32[M]) -> f32 { sum(w * w * b.gain[0, 0, 0]) }
  fn derivative(w: f32[M]) { d = grad(slope, wrt = w); d(w) }
}
train fit for Net { minimize loss + l2(head.*, 1e-4)
  with sgd(lr = cosine(0.1, warmup = 10)) }
`;
const FILES = {
  "./ops.mdl": "",
  "ops.mdl": "/// x times a factor.\nfn scaled(x: f32[...], factor: float) { x * factor }\n",
};
const textOf = (file: string): string =>
  file === FILE ? SOURCE : ((FILES as Record<string, string>)[file] ?? stdSources[file]);

const { names, diagnostics } = checkText(SOURCE, { names: true, files: FILES });
const table = names as Names;
/** The offset of the n-th place where a text occurs as a word. */
function at(text: string, n = 0): number {
  const found = [...SOURCE.matchAll(new RegExp(`(?<!\\w)${text.replace(/[.*+()[\]|]/g, "\\$&")}`, "g"))];
  return (found[n] as RegExpExecArray).index;
}
/** What is defined at a place, as `kind name file:line`. */
function definition(offset: number): string {
  const d = table.definitionAt(FILE, offset)?.definition;
  if (!d) return "nothing";
  if (!d.span) return `${d.kind} ${d.name}`;
  const line = textOf(d.span.file).slice(0, d.span.start).split("\n").length;
  expect(textOf(d.span.file).slice(d.span.start, d.span.end)).toBe(d.name);
  return `${d.kind} ${d.name} ${d.span.file}:${line}`;
}
const types = (offset: number): string[] =>
  (table.typesAt(FILE, offset)?.types ?? []).map((t) => `${t.path || "."}: ${t.type}`);

/** Names that a clause brings along, and those of the host. */
const apart =
  /^(sgd|adam|adamw|cosine|linear|one_cycle|constant|step_decay|exponential|l1|l2|step|total_steps)$/;

describe("definitions", () => {
  it("need no errors to be absent, and there are none here", () => {
    expect(diagnostics.map((d) => d.message)).toEqual([]);
  });
  it.each([
    ["a local", at("h,"), "local h main.mdl:17"],
    ["a parameter of a fn", at("image |>"), "parameter image main.mdl:16"],
    ["a parameter of a layer", at("cin, cout, 3"), "parameter cin main.mdl:6"],
    ["a member", at("conv(x)"), "member conv main.mdl:7"],
    ["a tensor to be trained", at("gain }"), "param gain main.mdl:8"],
    ["a fn of the model", at("logits(image)"), "fn logits main.mdl:16"],
    ["a layer", at("Block(width"), "layer Block main.mdl:6"],
    ["an import under another name", at("Conv(cin"), `layer Conv2d std/nn:${lineOf("layer Conv2d(")}`],
    ["what an import names", at("Linear"), `layer Linear std/nn:${lineOf("layer Linear(")}`],
    ["a fn of another file", at("scaled(total"), "fn scaled ops.mdl:2"],
    ["an argument's name", at("factor = 0.5"), "parameter factor ops.mdl:2"],
    ["an argument's name in a layer", at("padding = 1"), `parameter padding std/nn:${lineOf("  padding: ")}`],
    ["a member of another instance", at("gain[0"), "param gain main.mdl:8"],
    ["a symbol", at("H, W]) {", 0), "symbol H main.mdl:9"],
    ["what a gradient is of", at("w); d(w)"), "parameter w main.mdl:23"],
    ["a carry's next value", at("s + pooled"), "local s main.mdl:19"],
    ["the model of a train block", at("Net {"), "model Net main.mdl:11"],
    ["what is minimised", at("loss + l2"), "fn loss main.mdl:22"],
    ["a pattern's first name", at("head.*"), "member head main.mdl:14"],
    ["an operator", at("relu"), "builtin relu"],
  ])("find %s", (_what, offset, expected) => {
    expect(definition(offset)).toBe(expected);
  });
  it("are found for every name of the examples and of the standard library", () => {
    // Names that a clause brings along, and those of the host.
    const apart =
      /^(sgd|adam|adamw|cosine|linear|one_cycle|constant|step_decay|exponential|l1|l2|step|total_steps)$/;
    const missing: string[] = [];
    const examples = allSources().filter((s) => s.file.startsWith("dsl-examples/"));
    // Some import what is beside them.
    const files = Object.fromEntries(examples.map((s) => [s.file.slice("dsl-examples/".length), s.text]));
    for (const { file, text: source } of examples) {
      const result = checkText(source, { names: true, files });
      const visit = (f: string) => (n: ast.Node) => {
        if (n.kind === "name" && !apart.test(n.name) && !result.names?.definitionAt(f, n.span.start))
          missing.push(`${file} ${f} ${n.name} at ${n.span.start}`);
        childrenOf(n).forEach(visit(f));
      };
      visit(FILE)(parse(source, FILE).ast);
      visit("std/nn")(parse(stdSources["std/nn"], "std/nn").ast);
    }
    expect(missing).toEqual([]);
  });
  it("are found in random programs, and broken ones end in no exception", () => {
    for (let seed = 0; seed < 60; seed++) {
      const source = generateProgram(seed);
      const result = checkText(source, { names: true });
      const visit = (n: ast.Node): void => {
        if (n.kind === "name" && !apart.test(n.name))
          expect(result.names?.definitionAt(FILE, n.span.start), `${seed} ${n.name}`).toBeDefined();
        childrenOf(n).forEach(visit);
      };
      visit(parse(source, FILE).ast);
      const torn = mutate(source, random(seed));
      const broken = checkText(torn, { names: true }).names as Names;
      for (let at = 0; at < torn.length; at += 11) broken.typesAt(FILE, at);
    }
  });
  it("know where they are named: what a rename would change", () => {
    const d = table.definitionAt(FILE, at("gain:"))?.definition;
    const places = d ? table.referencesTo(d).map((s) => SOURCE.slice(0, s.start).split("\n").length) : [];
    expect(places).toEqual([8, 9, 23]);
    expect(table.definitions().find((x) => x.name === "Block")?.doc).toBe("Twice a convolution.");
  });
});

describe("types", () => {
  it("are those of each instance", () => {
    expect(types(at("y = conv"))).toEqual(["a: f32[N, 8, H, W]", "b: f32[N, 16, H, W]"]);
    expect(types(at("x: f32[N, cin"))).toEqual(["a: f32[N, 1, H, W]", "b: f32[N, 8, H, W]"]);
  });
  it("are of the innermost expression, static values among them", () => {
    expect(types(at("width, 2"))).toEqual([".: int = 8"]);
    expect(types(at("head(scaled"))).toEqual([".: Linear"]);
    expect(types(at("pooled = mean"))).toEqual([".: f32[N, 16]"]);
    expect(types(at("gain: f32"))).toEqual(["a: param f32[8, 1, 1]", "b: param f32[16, 1, 1]"]);
  });
  it("are there where a size was solved for, and where there are errors", () => {
    const sum = "model M { fn f(x: f32[A], y: f32[B]) { z = x + y\n z } }";
    const z = checkText(sum, { names: true }).names?.typesAt(FILE, sum.indexOf("z ="))?.types;
    expect(z).toEqual([{ path: "", type: "f32[A]" }]);
    const wrong = "model M { fn f(x: f32[A]) { y = x * 2\n y @ nope } }";
    const broken = checkText(wrong, { names: true });
    expect(broken.diagnostics.map((d) => d.code)).toEqual(["E0201"]);
    expect(broken.names?.typesAt(FILE, wrong.indexOf("y ="))?.types).toEqual([{ path: "", type: "f32[A]" }]);
    const torn = "model M { fn f(x: f32[A]) { y = x * \n }\n fn g(x: f32[A]) { x + 1 } }";
    expect(checkText(torn, { names: true }).names?.typesAt(FILE, torn.indexOf("x + 1"))?.types).toHaveLength(
      1,
    );
  });
  it("cost nothing where nobody asks", () => {
    expect(checkText(SOURCE, { files: FILES }).names).toBeUndefined();
  });
});

function lineOf(text: string): number {
  const std = stdSources["std/nn"];
  return std.slice(0, std.indexOf(text)).split("\n").length;
}
