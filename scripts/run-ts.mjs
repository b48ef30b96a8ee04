// Runs a TypeScript program of this repository from its sources (Node 20 cannot): bundles what is ours into one file
// with a source map, leaves packages where they are, and runs that.
//   node scripts/run-ts.mjs bench/main.ts ARG…
import { mkdirSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";
import { generate } from "./generate.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Bundles the entry and returns the file to run. It lies in the tree, so that packages are found. */
export async function bundle(entry) {
  await generate();
  const folder = join(root, "node_modules", ".cache", "mdl");
  mkdirSync(folder, { recursive: true });
  const outfile = join(folder, `${basename(entry, ".ts")}.${process.pid}.mjs`);
  await build({
    entryPoints: [join(root, entry)],
    outfile,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    packages: "external",
    // Several hundred files, which Node would look for one by one: a third of a second each time.
    alias: { chevrotain: "./node_modules/chevrotain/lib/chevrotain.mjs" },
    absWorkingDir: root,
    sourcemap: "inline",
    logLevel: "error",
  });
  return outfile;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [entry, ...args] = process.argv.slice(2);
  const { rmSync } = await import("node:fs");
  const { run } = await import("./bootstrap.mjs");
  const file = await bundle(entry);
  try {
    process.exitCode = await run(["--enable-source-maps", file, ...args]);
  } finally {
    rmSync(file, { force: true });
  }
}
