// `npm run build`: generated sources, then dist/ with declarations (tsconfig.build.json), in which the command is a bundle
// (bundle-cli.mjs). It is built beside dist/ and then takes its place, so that files whose source is gone do not stay and a
// program that runs from dist/ meanwhile finds either the old one or the new one. With type errors dist/ is replaced all the
// same, but not called built.
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { bundleCli } from "./bundle-cli.mjs";
import { startBuild } from "./freshness.mjs";
import { generate } from "./generate.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const dist = join(root, "dist");
const next = join(root, `dist.${process.pid}`);

await generate();
const recordSources = startBuild(root);
const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
const args = [tsc, "-p", "tsconfig.build.json", "--outDir", next];
const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: "inherit" });
if (existsSync(next)) {
  await bundleCli(root, join(next, "compiler", "cli"));
  const bin = join(next, "compiler", "cli", "main.js");
  chmodSync(bin, 0o755);
  if (status === 0) recordSources(next);
  rmSync(dist, { recursive: true, force: true });
  renameSync(next, dist);
}
process.exitCode = status ?? 1;
