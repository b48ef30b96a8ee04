// docs/std.md is what the doc comments of the standard library say; `npm run docs` writes it anew.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { stdPage } from "../../compiler/cli/document.ts";
import { projectRoot } from "../support/files.ts";

it("docs/std.md is up to date (npm run docs)", () => {
  expect(readFileSync(join(projectRoot, "docs/std.md"), "utf8")).toBe(stdPage());
});
