// `npm run docs`: writes anew the excerpts in docs/architecture.md (excerpts.ts says what they are), the figures in
// docs/performance.md from the results that are committed (bench/figures-section.ts), docs/operators.md from the operators'
// definitions (operators-page.ts), and docs/std.md from the doc comments of the standard library (compiler/cli/document.ts).
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { bundle } from "./run-ts.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

async function refresh(page, source, change) {
  const file = await bundle(source);
  try {
    const path = join(root, page);
    const before = existsSync(path) ? readFileSync(path, "utf8") : "";
    const after = change(await import(pathToFileURL(file).href), before);
    if (after !== before) writeFileSync(path, after);
    console.log(`${page}: ${after === before ? "as it should be" : "written anew"}`);
  } finally {
    rmSync(file, { force: true });
  }
}

const results = (name) => {
  const file = join(root, "bench", "results", `${name}.json`);
  return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : undefined;
};

await refresh("docs/architecture.md", "scripts/excerpts.ts", ({ refresh }, page) => refresh(page));
await refresh("docs/performance.md", "bench/figures-section.ts", ({ refreshFigures }, page) =>
  refreshFigures(page, results),
);
await refresh("docs/operators.md", "scripts/operators-page.ts", ({ operatorsPage }) => operatorsPage());
await refresh("docs/std.md", "compiler/cli/document.ts", ({ stdPage }) => stdPage());
