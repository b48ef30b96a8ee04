// A program for a process of its own, from TypeScript text that imports as from the repository's root. In: the text and where
// to put it. Out: one file that Node runs; packages stay outside.
import { build } from "esbuild";
import { projectRoot } from "./files.ts";

export async function bundleText(contents: string, outfile: string): Promise<void> {
  await build({
    stdin: { contents, resolveDir: projectRoot, loader: "ts" },
    outfile,
    bundle: true,
    format: "esm",
    platform: "node",
    packages: "external",
    logLevel: "error",
  });
}
