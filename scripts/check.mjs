// `npm run check`: the type check of the whole tree and of the two walls (tsconfig.core.json, tsconfig.runtime.json),
// after the generated sources are brought up to date.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { generate } from "./generate.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const hasSources = (folder) =>
  existsSync(join(root, folder)) &&
  readdirSync(join(root, folder), { recursive: true }).some((name) => String(name).endsWith(".ts"));

await generate();
const projects = [
  ["tsconfig.json", "."],
  ["tsconfig.core.json", "compiler/core"],
  ["tsconfig.runtime.json", "runtime/core"],
].filter(([, folder]) => folder === "." || hasSources(folder));

let status = 0;
for (const [project] of projects) {
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
  const run = spawnSync(process.execPath, [tsc, "--noEmit", "-p", project], { cwd: root, stdio: "inherit" });
  if (run.status !== 0) {
    console.error(`check: ${project} failed`);
    status = 1;
  }
}
process.exitCode = status;
