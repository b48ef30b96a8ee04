// docs/training.md: every model on it compiles, those that only show something, too; what its tables name is there.
import { describe, expect, it } from "vitest";
import { parseTransforms } from "../../runtime/data/augment.ts";
import { dataForms } from "../../runtime/data/node/index.ts";
import { fencesOf } from "../support/fences.ts";
import { projectFile } from "../support/files.ts";
import { compileText } from "../support/module.ts";

const models = fencesOf("docs/training.md").filter((f) => f.language === "mdl" && /^model /m.test(f.body));
const page = projectFile("docs/training.md");

describe("docs/training.md", () => {
  it.each(models)("line $line compiles, with its steps", ({ body }) => {
    const { artefact } = compileText(body, { targets: ["baseline"] });
    expect(artefact.programs[0].entries.some((e) => e.train)).toBe(true);
  });
  it("has all kinds of data and all augmentations", () => {
    expect(models.length).toBeGreaterThan(2);
    for (const form of dataForms) expect(page).toContain(`\`${form.split("?")[0].split(",")[0]}`);
    for (const [, list] of page.matchAll(/augment(?:ment)?:? "?([a-z]+[:\d.,a-z]*)/g))
      if (list.includes(",")) parseTransforms(list);
    for (const kind of [
      "crop:4",
      "flip",
      "rotate:15",
      "shift:0.1",
      "scale:0.9:1.1",
      "erase",
      "mixup:0.2",
      "cutmix",
    ]) {
      expect(page).toContain(`\`${kind}\``);
      expect(parseTransforms(kind)).toHaveLength(1);
    }
  });
});
