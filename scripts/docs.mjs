// `npm run docs`: writes the excerpts in docs/architecture.md anew (excerpts.ts says what they are).
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { bundle } from "./run-ts.mjs";

const page = join(fileURLToPath(new URL("..", import.meta.url)), "docs", "architecture.md");
const file = await bundle("scripts/excerpts.ts");
try {
  const { refresh } = await import(pathToFileURL(file).href);
  const before = readFileSync(page, "utf8");
  const after = refresh(before);
  if (after !== before) writeFileSync(page, after);
  console.log(`docs/architecture.md: ${after === before ? "as it should be" : "written anew"}`);
} finally {
  rmSync(file, { force: true });
}
