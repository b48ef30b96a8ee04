/**
 * The error catalogue: every code has a file in test/errors that gives exactly it at exactly the place the file
 * states (test/errors/README.md).
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  type Code,
  codes,
  type Diagnostic,
  LineMap,
  render,
  toJSON,
} from "../../compiler/core/diagnostics/index.ts";
import type { SetValue } from "../../compiler/core/index.ts";
import { checkFile } from "../support/errors.ts";

const folder = new URL("../errors/", import.meta.url);
const files = readdirSync(folder)
  .filter((f) => f.endsWith(".mdl"))
  .sort();

interface Case {
  readonly file: string;
  readonly text: string;
  readonly exact: readonly string[];
  readonly among: readonly string[];
  readonly model?: string;
  readonly set: Readonly<Record<string, SetValue>>;
}

function read(file: string): Case {
  let text = readFileSync(new URL(file, folder), "utf8");
  const all = (pattern: RegExp): string[][] => [...text.matchAll(pattern)].map((m) => [...m].slice(1));
  const exact = all(/^\/\/ expect ([EW]\d{4} \d+:\d+)$/gm).map(([e]) => e);
  const among = all(/^\/\/ expect-among ([EW]\d{4} \d+:\d+)$/gm).map(([e]) => e);
  const set = Object.fromEntries(
    all(/^\/\/ set (\w+)=(.*)$/gm).map(([key, value]) => [key, JSON.parse(value) as SetValue]),
  );
  const [model] = all(/^\/\/ model (\w+)$/gm).map(([m]) => m);
  for (const [count, part] of all(/^\/\/ repeat (\d+) (".*")$/gm)) {
    text += (JSON.parse(part) as string).repeat(Number(count));
  }
  return { file, text, exact, among, set, ...(model === undefined ? {} : { model }) };
}

function summary(list: readonly Diagnostic[], text: string): string[] {
  const map = new LineMap(text);
  return list.map((d) => {
    const { line, column } = map.position(d.primary.span.start);
    return `${d.code} ${line}:${column}`;
  });
}

describe("errors", () => {
  for (const file of files) {
    it(file, () => {
      const c = read(file);
      expect(c.exact.length + c.among.length, "the file states what it expects").toBeGreaterThan(0);
      const found = checkFile(c.file, c.text, c);
      const here = summary(found, c.text);
      const sources = (f: string): string | undefined => (f === c.file ? c.text : undefined);
      const shown = found
        .slice(0, 10)
        .map((d) => render(d, sources))
        .join("\n");
      if (c.among.length > 0) for (const e of c.among) expect(here, shown).toContain(e);
      else expect(here, shown).toEqual(c.exact);
      const wanted = file.slice(0, 5);
      expect(
        here.some((e) => e.startsWith(wanted)),
        `${file} is about ${wanted}`,
      ).toBe(true);
    });
  }

  it("every code has a file", () => {
    const covered = new Set(files.map((f) => f.slice(0, 5)));
    // What a debug build finds when it runs has no source that is wrong (test/cli/debug.test.ts).
    const checked = (Object.keys(codes) as Code[]).filter((code) => !code.startsWith("E12"));
    expect(checked.filter((code) => !covered.has(code))).toEqual([]);
    expect([...covered].filter((code) => !Object.hasOwn(codes, code))).toEqual([]);
  });

  it("is written as the house writes: lower case, one sentence, no full stop", () => {
    for (const file of files) {
      const c = read(file);
      for (const d of checkFile(c.file, c.text, c)) {
        for (const text of [d.message, d.help, ...d.notes]) {
          if (text === undefined) continue;
          expect(text, `${file}: ${text}`).not.toMatch(/[.!]$/);
          expect(text, `${file}: ${text}`).not.toMatch(
            /^(?:A|An|The|This|No|Not|Expected|Unknown|Cannot|You) /,
          );
        }
      }
    }
  });

  it("comes as JSON with places", () => {
    const c = read("E0107.mdl");
    const json = toJSON(checkFile(c.file, c.text, c), (f) => (f === c.file ? c.text : undefined));
    expect(JSON.parse(JSON.stringify(json))).toMatchObject([
      {
        code: "E0107",
        severity: "error",
        file: "E0107.mdl",
        line: 2,
        column: 46,
        endLine: 2,
        endColumn: 47,
        labels: [{ primary: true }, { primary: false, text: "the first named one", line: 2, column: 36 }],
        path: null,
      },
    ]);
  });
});

it("parts that files import exist", () => {
  for (const file of files) {
    for (const [, path] of read(file).text.matchAll(/from "\.\/(parts\/[\w-]+\.mdl)"/g)) {
      expect(existsSync(new URL(path, folder)), `${file}: ${path}`).toBe(true);
    }
  }
});
