// docs/reliability.md: each test it names is there.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { projectFile, projectRoot } from "../support/files.ts";

const page = projectFile("docs/reliability.md");

it("names tests and folders that there are", () => {
  const tests = [...page.matchAll(/`([\w/.-]+\.test\.ts)`/g)].map(([, name]) => name.replace(/^test\//, ""));
  expect(tests.length).toBeGreaterThan(30);
  expect(tests.filter((name) => !existsSync(join(projectRoot, "test", name)))).toEqual([]);
  const others = [...page.matchAll(/`((?:test|compiler|runtime)\/(?![\w./-]*\.test\.ts`)[\w/.-]+)`/g)].map(
    ([, path]) => path,
  );
  expect(others.filter((path) => !existsSync(join(projectRoot, path)))).toEqual([]);
});

it("says something of each promise", () => {
  const rows = page.split("\n").filter((l) => l.startsWith("| ") && l.includes(".test.ts"));
  expect(rows.filter((row) => !/^\| .{10,} \| `/.test(row))).toEqual([]);
});
