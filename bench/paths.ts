// Where the tree is. The benchmark runs as one bundled file somewhere below its top (scripts/run-ts.mjs), so that the place
// of a source file says nothing: what is looked for is the folder above that has the examples. In: nothing. Out: paths.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** This program's file: what a process of its own for a workload runs again. */
export const program = fileURLToPath(import.meta.url);

export const root = findRoot(dirname(program));

function findRoot(folder: string): string {
  if (existsSync(join(folder, "dsl-examples"))) return folder;
  const above = dirname(folder);
  if (above === folder) throw new Error("the benchmark is run from outside of its repository");
  return findRoot(above);
}

export const readText = (path: string): string => readFileSync(join(root, path), "utf8");

export const readBytes = (path: string): Uint8Array => readFileSync(join(root, path));
