/** docs/language.md: its snippets compile, and its grammar knows the words and limits the parser knows. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { renderAll } from "../../compiler/core/diagnostics/index.ts";
import { NOMINAL } from "../../compiler/core/dims/dim.ts";
import { parse } from "../../compiler/core/phases/1-parse/parse.ts";
import { allTokens } from "../../compiler/core/phases/1-parse/tokens.ts";
import { LIMITS } from "../../compiler/core/phases/2-check/values/context.ts";
import {
  maxNameLength,
  maxNesting,
  maxSourceLength,
  maxTreeDepth,
} from "../../compiler/core/syntax/limits.ts";
import { checkText } from "../support/check.ts";
import { fencesOf } from "../support/fences.ts";

const text = readFileSync(new URL("../../docs/language.md", import.meta.url), "utf8");
const fences = fencesOf("docs/language.md");
const snippets = fences.filter((f) => f.language === "mdl");

describe("snippets", () => {
  for (const { kind, body, line } of snippets) {
    if (kind === "fragment") {
      it(`the fragment at line ${line} parses`, () => {
        // A part of a file, of a layer's body or of a fn's.
        const tries = [body, `layer L {\n${body}\n}`, `fn f() {\n${body}\n}`].map(
          (t) => parse(t, "t.mdl").diagnostics,
        );
        expect(Math.min(...tries.map((d) => d.length))).toBe(0);
      });
    } else {
      it(`the program at line ${line} compiles`, () => {
        const { diagnostics } = checkText(body);
        expect(renderAll(diagnostics, () => body)).toBe("");
      });
    }
  }

  it("are there", () => {
    expect(snippets.length).toBeGreaterThan(8);
  });
});

describe("grammar", () => {
  const grammar = fences.find((f) => f.language === "ebnf")?.body ?? "";
  const words = [...grammar.matchAll(/"([^"]+)"/g)].map((m) => m[1]);

  it("has every word and symbol of the lexer", () => {
    // Names of tokens made from words, and the labels of symbols, which are what is in the text.
    const labels = allTokens
      .map((t) => t.LABEL?.match(/^`(.+)`$/)?.[1])
      .filter((l) => l !== undefined && l !== ";");
    expect(labels.filter((l) => !words.includes(l as string))).toEqual([]);
  });

  it("defines what it uses", () => {
    const bare = grammar.replace(/"[^"]*"/g, "").replace(/\(\*.*?\*\)/g, "");
    const defined = new Set([...bare.matchAll(/^(\w+) +=/gm)].map((m) => m[1]));
    const used = new Set(bare.match(/\b[a-z]\w*\b/g));
    expect([...used].filter((u) => !defined.has(u) && u !== "list" && u !== "lines")).toEqual([]);
  });

  it("names the reserved words", () => {
    const reserved = allTokens.filter(
      (t) => /^[A-Z][a-z]+$/.test(t.name) && t.LABEL === `\`${t.name.toLowerCase()}\``,
    );
    const own = reserved.filter((t) => (t.CATEGORIES ?? []).length === 0).map((t) => t.name.toLowerCase());
    const said = text.match(/Reserved are `([^`]+)`/)?.[1].split(" ");
    expect(said?.toSorted()).toEqual(own.sort());
  });

  it("says the limits", () => {
    const row = (of: string): string => text.split("\n").find((l) => l.startsWith(`| ${of}`)) ?? "";
    const n = (x: number): string => x.toLocaleString("en");
    expect(row("nesting")).toContain(`${maxNesting} deep`);
    expect(row("an expression")).toContain(`${maxTreeDepth} levels`);
    expect(row("a file")).toContain(`${maxSourceLength / 2 ** 20} MiB, ${maxNameLength} characters`);
    expect(row("instances")).toContain(`${n(LIMITS.instances)}; ${LIMITS.layerDepth} deep`);
    expect(row("operations")).toContain(n(LIMITS.nodes));
    expect(row("calls")).toContain(`${n(LIMITS.calls)}; ${LIMITS.callDepth} deep`);
    expect(row("steps")).toContain(n(LIMITS.iterations));
    expect(row("static expressions")).toContain(n(LIMITS.steps));
    expect(row("items")).toContain(n(LIMITS.items));
    expect(row("a size")).toContain(`${LIMITS.sizeTerms} terms, ${n(LIMITS.sizeText)} characters`);
    expect(row("a size")).toContain(`${LIMITS.symbols} in an entry`);
    expect(row("a tensor")).toContain(`${LIMITS.rank} axes, 2^${Math.log2(LIMITS.elements)} elements`);
    expect(row("a tensor")).toContain(`every symbol is ${NOMINAL}`);
    expect(row("parameters")).toContain(`${LIMITS.bytes / 2 ** 30} GiB`);
  });
});
