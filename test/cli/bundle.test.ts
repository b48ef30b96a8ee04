// The command as it is shipped: few files, each command its own, and stacks that name the sources.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { explain } from "../../compiler/cli/failure.ts";
import { sourceStack } from "../../compiler/cli/stack.ts";
import { plain } from "../../compiler/core/diagnostics/index.ts";
import { bundleCli } from "../../scripts/bundle-cli.mjs";
import { projectRoot } from "../support/files.ts";

// In the tree, where packages that stay apart are found.
const cache = join(projectRoot, "node_modules", ".cache", "mdl");
mkdirSync(cache, { recursive: true });
const folder = mkdtempSync(join(cache, "cli-"));
beforeAll(() => bundleCli(projectRoot, folder), 60_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it("runs by itself, and says whose code is in it", () => {
  const ran = (args: string[]) =>
    spawnSync(process.execPath, [join(folder, "main.js"), ...args], { encoding: "utf8" });
  expect(ran(["--version"]).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  const example = join(projectRoot, "dsl-examples", "mlp.mdl");
  expect(ran(["check", example])).toMatchObject({ status: 0, stdout: "1 file: no errors\n" });
  expect(ran(["check", "not-there.mdl"]).status).toBe(1);
  const licences = readFileSync(join(folder, "LICENSES.txt"), "utf8");
  for (const name of ["chevrotain", "commander", "lodash-es", "picocolors"])
    expect(licences).toMatch(new RegExp(`^${name} \\d`, "m"));
});

it("tells of a bug by the sources' places", () => {
  const files = readdirSync(folder).filter((f) => f.endsWith(".js"));
  const texts = files.map((name) => [name, readFileSync(join(folder, name), "utf8").split("\n")] as const);
  const isIt = (text: string): boolean => /^function checkModels\(/.test(text);
  const [name, lines] = texts.find(([, all]) => all.some(isIt)) ?? ["none", []];
  const line = lines.findIndex(isIt) + 1;
  expect(line).toBeGreaterThan(0);
  const error = new TypeError("x is undefined");
  error.stack = `TypeError: x is undefined\n    at checkModels (${pathToFileURL(join(folder, name))}:${line}:10)`;
  const source = join(projectRoot, "compiler", "core", "phases", "2-check", "check.ts");
  const at =
    readFileSync(source, "utf8")
      .split("\n")
      .findIndex((text) => text.startsWith("function checkModels(")) + 1;
  expect(sourceStack(error.stack)).toContain(`checkModels (${source}:${at}:`);
  expect(explain(error, plain, "check").text).toMatch(/^internal error in check: x is undefined/);
});
