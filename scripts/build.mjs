// `npm run build`: generated sources, then dist/ with declarations (tsconfig.build.json). Files whose source is gone
// are removed: dist/ is emptied first.
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { generate } from "./generate.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

await generate();
rmSync(join(root, "dist"), { recursive: true, force: true });
const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
const run = spawnSync(process.execPath, [tsc, "-p", "tsconfig.build.json"], { cwd: root, stdio: "inherit" });
const bin = join(root, "dist", "compiler", "cli", "main.js");
if (existsSync(bin)) chmodSync(bin, 0o755);
process.exitCode = run.status ?? 1;
