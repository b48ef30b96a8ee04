// Memory of the examples, from their plans: what a call needs of the arena, against what lives at once.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { compile } from "../../compiler/core/index.ts";
import { projectRoot } from "../support/files.ts";

const folder = join(projectRoot, "dsl-examples");
const near = (path: string): string => readFileSync(join(folder, path), "utf8");
const models = readdirSync(folder)
  .filter((file) => file.endsWith(".mdl"))
  .flatMap((file) => {
    const source = near(file);
    return [...source.matchAll(/^(?:export )?model (\w+)/gm)].map(([, model]) => ({ file, source, model }));
  });

describe("the arena's peak", () => {
  it.each(models)(
    "of $file's $model is within 1.15 of what lives at once, with one example and with 32",
    ({ file, source, model }) => {
      const { report } = compile(source, file, { model, resolve: near });
      const wasteful = report.entries.flatMap(({ target, name, memory }) =>
        memory
          .filter(({ peak, bound }) => peak > 1.15 * bound)
          .map((m) => `${target} ${name}: ${JSON.stringify(m)}`),
      );
      expect(report.entries[0].memory.map((m) => m.size)).toEqual([1, 32]);
      expect(wasteful).toEqual([]);
    },
    120_000,
  );
});
