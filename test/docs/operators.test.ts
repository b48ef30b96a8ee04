// docs/operators.md is what the operators' definitions say, and says of each what a reader asks.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { exposedOps } from "../../compiler/core/ops/index.ts";
import { operatorsPage } from "../../scripts/operators-page.ts";

const page = readFileSync(new URL("../../docs/operators.md", import.meta.url), "utf8");

describe("docs/operators.md", () => {
  it("is what the definitions say (npm run docs writes it anew)", () => {
    expect(page).toBe(operatorsPage());
  });

  it("has every operator, with its gradient, PyTorch's name and an example", () => {
    const sections = new Map(page.split("\n### ").map((text) => [text.slice(0, text.indexOf("\n")), text]));
    expect(exposedOps.filter((op) => !sections.has(op.name)).map((op) => op.name)).toEqual([]);
    const lacking = exposedOps.flatMap((op) => {
      const text = sections.get(op.name) ?? "";
      const example = op.examples.length === 0 || text.includes("```text");
      return /gradient: \S/.test(text) && text.includes("PyTorch") && example ? [] : [op.name];
    });
    // Their examples are those of a graph: sizes and places that a call writes otherwise.
    expect(lacking).toEqual([]);
  });
});
