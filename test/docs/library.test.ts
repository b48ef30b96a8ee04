// docs/library.md: its programs run, each by itself, and print what the page says.
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { bundleText } from "../support/bundle.ts";
import { fencesOf } from "../support/fences.ts";
import { projectRoot } from "../support/files.ts";

const fences = fencesOf("docs/library.md");
const programs = fences.flatMap((f, i) =>
  f.kind === "program" ? [{ line: f.line, program: f.body, output: fences[i + 1] }] : [],
);
const folder = join(projectRoot, "node_modules", ".cache", "mdl", `library.${process.pid}`);
mkdirSync(folder, { recursive: true });
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("docs/library.md", () => {
  it("shows parse, check, build, emit and graphs", () => {
    expect(programs.length).toBe(4);
    for (const { output } of programs) expect(output?.language).toBe("text");
  });
  it.each(programs)("line $line prints what it says", async ({ line, program, output }) => {
    const file = join(folder, `${line}.mjs`);
    await bundleText(program.replaceAll('"mdlc"', '"./compiler/core/index.ts"'), file);
    const run = spawnSync(process.execPath, [file], { encoding: "utf8" });
    expect(run.stderr).toBe("");
    expect(run.stdout).toBe(output.body);
  });
});
