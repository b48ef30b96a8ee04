/** The printer: what it prints parses to the same tree, comments and all, and prints as itself. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MdlError } from "../../compiler/core/diagnostics/index.ts";
import { format } from "../../compiler/core/index.ts";
import { parse } from "../../compiler/core/phases/1-parse/parse.ts";
import { printAst } from "../../compiler/core/phases/1-parse/print.ts";
import { projectRoot } from "../support/files.ts";
import { generateProgram } from "../support/programs/generate.ts";
import { allSources } from "../support/sources.ts";
import { withoutSpans } from "../support/tree.ts";

function roundTrip(text: string): string {
  const first = parse(text, "t.mdl");
  expect(first.diagnostics).toEqual([]);
  const printed = printAst(first.ast);
  const second = parse(printed, "t.mdl");
  expect(second.diagnostics).toEqual([]);
  expect(withoutSpans(second.ast)).toEqual(withoutSpans(first.ast));
  expect(printAst(second.ast)).toBe(printed);
  return printed;
}

/** Every source of the repository, those with errors included. */
const mdlFiles = (): string[] =>
  ["dsl-examples", "compiler/core/std", "test", "bench"].flatMap((folder) =>
    readdirSync(join(projectRoot, folder), { recursive: true })
      .map((f) => `${folder}/${String(f)}`)
      .filter((f) => f.endsWith(".mdl"))
      .sort(),
  );

describe("print and parse", () => {
  for (const { file, text } of allSources()) it(file, () => void roundTrip(text));

  it("keeps every comment", () => {
    for (const { text } of allSources()) {
      const comments = (t: string): string[] =>
        [...t.matchAll(/\/\/.*$/gm)].map((m) => m[0].trimEnd()).sort();
      expect(comments(printAst(parse(text, "t.mdl").ast))).toEqual(comments(text));
    }
  });

  it("keeps a comment between any two tokens", () => {
    for (const { text } of allSources()) {
      // One comment at a time would take long; at every seventh line end, seven lines' worth apart, is enough to hit every
      // construct.
      const lines = text.split("\n");
      for (let first = 0; first < Math.min(49, lines.length); first += 7) {
        const at = (i: number): boolean => i % 49 === first;
        const marked = lines.map((line, i) => (at(i) ? `${line} // mark` : line)).join("\n");
        const { ast, diagnostics } = parse(marked, "t.mdl");
        expect(diagnostics).toEqual([]);
        const printed = printAst(ast);
        expect(printed.match(/mark/g)?.length, `lines from ${first + 1} of ${text}`).toBe(
          lines.filter((_, i) => at(i)).length,
        );
        expect(printAst(parse(printed, "t.mdl").ast)).toBe(printed);
      }
    }
  });

  it("formats", () => {
    const text = [
      'import {B,  A as  C} from "x"',
      "model  M( a:int=1 ){ block1=f( x ,y )",
      "",
      "",
      "  head  = g(a+b*(c-d)) // the head",
      "  fn f ( x:f32[ N,2 ] )->f32{x|>f}",
      "}",
      "train t for M { minimize loss; batch 3 }",
    ].join("\n");
    expect(roundTrip(text)).toBe(
      [
        'import { B, A as C } from "x"',
        "model M(a: int = 1) {",
        "  block1 = f(x, y)",
        "",
        "  head = g(a + b * (c - d))  // the head",
        "  fn f(x: f32[N, 2]) -> f32 { x |> f }",
        "}",
        "train t for M { minimize loss; batch 3 }",
        "",
      ].join("\n"),
    );
  });
});

/** What `mdl fmt` does, where an author may choose and where not. */
describe("format", () => {
  const formatted = (...lines: string[]): string[] => {
    const text = format(lines.join("\n"), "t.mdl");
    expect(format(text, "t.mdl")).toBe(text);
    return text.trimEnd().split("\n");
  };
  const same = (...lines: string[]): void => expect(formatted(...lines)).toEqual(lines);

  it("leaves the house's own alone, and means the same of all there is", () => {
    for (const file of mdlFiles()) {
      const text = readFileSync(join(projectRoot, file), "utf8");
      const before = parse(text, file);
      if (before.diagnostics.some((d) => d.severity === "error")) {
        expect(() => format(text, file), file).toThrow(MdlError);
        continue;
      }
      const after = format(text, file);
      expect(withoutSpans(parse(after, file).ast), file).toEqual(withoutSpans(before.ast));
      expect(format(after, file), file).toBe(after);
      const comments = (t: string): string[] =>
        [...t.matchAll(/\/\/.*$/gm)].map((m) => m[0].trimEnd()).sort();
      expect(comments(after), file).toEqual(comments(text));
      if (/^(?:dsl-examples|compiler\/core\/std)\//.test(file)) expect(after, file).toBe(text);
    }
  });

  it("means the same of random programs", () => {
    for (let seed = 0; seed < 60; seed++) {
      const text = generateProgram(seed);
      const after = format(text, "t.mdl");
      expect(withoutSpans(parse(after, "t.mdl").ast)).toEqual(withoutSpans(parse(text, "t.mdl").ast));
      expect(format(after, "t.mdl")).toBe(after);
    }
  });

  it("means the same wherever comments, blanks and line ends are put", () => {
    const marks = ["\n", " // c\n", "\n\n\n", "  ", "\n// d\n", " /// e\n", ";", "\r\n"];
    const sources = allSources();
    const mark = fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.constantFrom(...marks));
    fc.assert(
      fc.property(fc.nat(sources.length - 1), fc.array(mark, { maxLength: 4 }), (which, places) => {
        let { text } = sources[which];
        for (const [where, what] of places) {
          const at = Math.floor(where * text.length);
          text = text.slice(0, at) + what + text.slice(at);
        }
        fc.pre(parse(text, "t.mdl").diagnostics.every((d) => d.severity !== "error"));
        // Throws where it would not.
        const after = format(text, "t.mdl");
        expect(format(after, "t.mdl")).toBe(after);
      }),
      { numRuns: 60 },
    );
  });

  it("puts what belongs together in columns", () => {
    same(
      "layer L(d: int, affine: bool = true) {",
      "  param  weight: f32[d, d] = ones()  if affine",
      "  param  bias:   f32[d]    = zeros() if affine",
      "  buffer a_mean_of_all: f32[d] = zeros()",
      "  buffer some:          f32    = zeros()  // one",
      "  fc   = Linear(d, d)",
      "  norm = LayerNorm(d)  // two",
      "",
      "  fn a(x: f32[d]) -> f32[d]      { fc(x) }",
      "  fn longer(x: f32[d]) -> f32[d] { norm(x) }",
      "  fn forward(x: f32[d]) {",
      "    mean = a(x)",
      "    norm = 1",
      "    some <- mean",
      "    mean",
      "  }",
      "}",
      "",
      "train one   for L { minimize a; with sgd() }",
      "train three for L { minimize a; with sgd() }",
    );
  });

  it("keeps lines where an author may break them, and fills others before it takes one an element", () => {
    same("fn f(x: f32) {", "  x |> first |> second", "    |> third |> fourth", "}");
    same("model M { fn f(x: f32) -> f32 { x } }");
    const args = Array.from({ length: 12 }, (_, i) => `argument_${i}`);
    same("y = f(", `  ${args.slice(0, 9).join(", ")}, a_tenth`, ")");
    expect(formatted(`y = f(${args.join(", ")})`)).toEqual(["y = f(", ...args.map((a) => `  ${a},`), ")"]);
  });

  it("writes what cannot be seen as escapes, and one line end for all", () => {
    expect(formatted('x = "a\u200bb\\u{202e}"\r', "y = 1\r")).toEqual([
      'x = "a\\u{200b}b\\u{202e}"',
      "y = 1",
    ]);
  });
});

/** Expressions of every kind, as text with parentheses around every operand. */
const { expr } = fc.letrec((tie) => {
  const e = tie("expr") as fc.Arbitrary<string>;
  const name = fc.constantFrom("a", "b", "some_longer_name", "x");
  const list = fc.array(e, { maxLength: 3 });
  const block = e.map((v) => `{ ${v} }`);
  const operators = [...["+", "-", "*", "/", "%", "@", "**", "|>", "&&", "||", "==", "<", ">=", ".."]];
  return {
    expr: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      name,
      fc.constantFrom("1", "0x1f", "2.5e-3", "true", '"s\\n"', "head.*", "*.bias"),
      fc.tuple(e, fc.constantFrom(...operators), e).map(([l, op, r]) => `(${l}) ${op} (${r})`),
      fc.tuple(fc.constantFrom("-", "!"), e).map(([op, v]) => `${op}(${v})`),
      fc.tuple(e, list).map(([f, args]) => `(${f})(${args.join(", ")})`),
      fc.tuple(e, name, e).map(([f, n, v]) => `(${f})(${n} = ${v})`),
      fc.tuple(e, name).map(([o, n]) => `(${o}).${n}`),
      fc.tuple(e, e, e).map(([o, i, j]) => `(${o})[${i}, :${j}, ::, new, ...]`),
      list.map((items) => `[${items.join(", ")}]`),
      fc.tuple(e, e).map(([l, r]) => `(${l}, ${r})`),
      fc.tuple(name, e).map(([n, v]) => `(${n} = ${v})`),
      fc.tuple(e, name, e, e).map(([v, n, i, c]) => `[${v} for ${n} in ${i} if ${c}]`),
      fc.tuple(e, block, block).map(([c, t, f]) => `if ${c} ${t} else ${f}`),
      fc.tuple(name, e, e, block).map(([n, i, v, b]) => `for ${n} in ${i} with h = ${v} ${b}`),
      fc.tuple(name, e, e, block).map(([n, s, v, b]) => `scan ${n} over ${s} axis 1 with h = ${v} ${b}`),
    ),
  };
});

describe("random expressions", () => {
  it("print and parse back", () => {
    fc.assert(
      fc.property(expr as fc.Arbitrary<string>, (text) => {
        const { diagnostics } = parse(`x = ${text}`, "t.mdl");
        // A pattern that is indexed or called is refused; everything else must come back.
        fc.pre(diagnostics.length === 0);
        roundTrip(`x = ${text}`);
        roundTrip(`fn f() {\n  ${text}\n}`);
      }),
      { numRuns: 500 },
    );
  });
});
