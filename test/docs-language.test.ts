/** docs/language.md: its snippets compile, and its grammar knows the words and limits the parser knows. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { renderAll } from "../compiler/core/diagnostics/index.ts";
import { maxNesting, maxSourceLength, maxTreeDepth } from "../compiler/core/phases/1-parse/limits.ts";
import { parse } from "../compiler/core/phases/1-parse/parse.ts";
import { allTokens } from "../compiler/core/phases/1-parse/tokens.ts";
import { checkText } from "./support/check.ts";
import { fencesOf } from "./support/fences.ts";

const text = readFileSync(new URL("../docs/language.md", import.meta.url), "utf8");
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
    expect(text).toContain(`nest ${maxNesting} deep`);
    expect(text).toContain(`${maxTreeDepth} levels deep`);
    expect(text).toContain(`${maxSourceLength / 2 ** 20} MiB`);
  });
});
