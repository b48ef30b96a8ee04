/** No input makes the parser throw, hang or forget: mutated programs end in a tree and diagnostics. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { renderAll, toJSON } from "../../compiler/core/diagnostics/render.ts";
import { parse } from "../../compiler/core/phases/1-parse/parse.ts";
import { printAst } from "../../compiler/core/phases/1-parse/print.ts";
import { allSources } from "../support/sources.ts";

const sources = allSources().map((s) => s.text);
const scraps = [
  ...[
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ";",
    "\n",
    "=",
    "<-",
    "->",
    "|>",
    "..",
    "...",
    ".",
    "*",
    "**",
    ".*",
    "*.",
  ],
  ...[
    "if",
    "else",
    "for",
    "in",
    "scan",
    "fn",
    "layer",
    "model",
    "train",
    "op",
    "grad",
    "wgsl",
    "param",
    "emit",
  ],
  ...[
    "import",
    "private",
    "frozen",
    "update",
    "with",
    "over",
    "axis",
    '"',
    "`",
    "//",
    "///",
    "\\",
    "§",
    "\u0000",
  ],
  ...[
    "1e",
    "0x",
    "1.",
    "12abc",
    "9".repeat(400),
    "é",
    "😀",
    "\ud800",
    "\r",
    "\t",
    "\ufeff",
    "x",
    "1",
    "-",
    "!",
    ":",
  ],
];

interface Edit {
  readonly at: number;
  readonly remove: number;
  readonly insert: string;
}
const edit: fc.Arbitrary<Edit> = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  remove: fc.oneof(fc.constant(0), fc.nat(3), fc.nat(60)),
  insert: fc.oneof(fc.constantFrom(...scraps), fc.string({ maxLength: 8 }), fc.constant("")),
});

function mutate(text: string, edits: readonly Edit[]): string {
  let out = text;
  for (const e of edits) {
    const at = Math.floor(e.at * out.length);
    out = out.slice(0, at) + e.insert + out.slice(at + e.remove);
  }
  return out;
}

function survives(text: string): void {
  const { ast, diagnostics } = parse(text, "t.mdl");
  for (const d of diagnostics) {
    for (const { span } of [d.primary, ...d.secondary]) {
      expect(span.start).toBeGreaterThanOrEqual(0);
      expect(span.end).toBeGreaterThanOrEqual(span.start);
      expect(span.end).toBeLessThanOrEqual(text.length);
    }
  }
  const sources = (): string => text;
  expect(renderAll(diagnostics, sources).length).toBeGreaterThanOrEqual(0);
  expect(toJSON(diagnostics, sources)).toHaveLength(diagnostics.length);
  const printed = printAst(ast);
  // Without errors the tree is whole, and its text gives it back.
  if (diagnostics.length === 0) expect(printAst(parse(printed, "t.mdl").ast)).toBe(printed);
}

// A second or two by themselves; other suites may have the cores.
describe("mutated programs", { timeout: 120_000 }, () => {
  it("1,000 of them end in a tree and diagnostics", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...sources),
        fc.array(edit, { minLength: 1, maxLength: 6 }),
        (text, edits) => {
          survives(mutate(text, edits));
        },
      ),
      { numRuns: 1000 },
    );
  });

  it("so do soups of tokens", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...scraps), { maxLength: 60 }), (parts) =>
        survives(parts.join(" ")),
      ),
      { numRuns: 500 },
    );
  });

  it("so does every beginning of a program", () => {
    for (const text of sources) for (let end = 0; end < text.length; end += 37) survives(text.slice(0, end));
  });
});
