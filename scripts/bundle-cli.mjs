// The command as a few files: compiler/cli/main.ts with all that it imports, packages too, in place of the hundreds of files
// that Node would look for one by one before `mdl` says a word. Each command stays a file of its own, loaded when it is
// called, and beside each lies its source map: failure.ts reads it when there is a stack to show. The library
// (dist/compiler/core) stays as it is, file by file.
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { build } from "esbuild";

// Looked for where mdl is installed: an optional peer, and what one kind of input needs.
const LEFT_OUT = ["webgpu", "jpeg-js"];

/** Writes the bundle into `folder`, over whatever is there. */
export async function bundleCli(root, folder) {
  rmSync(folder, { recursive: true, force: true });
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: [join(root, "compiler", "cli", "main.ts")],
    outdir: folder,
    bundle: true,
    splitting: true,
    chunkNames: "[name]-[hash]",
    format: "esm",
    platform: "node",
    target: "node20",
    external: LEFT_OUT,
    sourcemap: "linked",
    // The sources themselves are in the library's maps.
    sourcesContent: false,
    metafile: true,
    logLevel: "error",
    // For packages that are not ES modules: commander asks for Node's own.
    banner: {
      js: 'import { createRequire as requireOf } from "node:module"; const require = requireOf(import.meta.url);',
    },
  });
  writeFileSync(join(folder, "LICENSES.txt"), licences(root, Object.keys(metafile.inputs)));
}

/** What the packages in it ask to be kept with them. */
function licences(root, inputs) {
  const folders = new Set(
    inputs.filter((file) => file.includes("node_modules/")).map((file) => packageOf(resolve(root, file))),
  );
  return [...folders]
    .sort()
    .map((folder) => {
      const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
      const file = readdirSync(folder).find((f) => /^licen[cs]e/i.test(f));
      const text = file ? readFileSync(join(folder, file), "utf8").trim() : license;
      return `${name} ${version}\n\n${text}\n`;
    })
    .join(`\n${"-".repeat(80)}\n\n`);
}

/** The folder of the package that a file is of: folders within one may say `{"type": "module"}` in a package.json, too. */
function packageOf(file) {
  for (let folder = dirname(file); ; folder = dirname(folder)) {
    const at = join(folder, "package.json");
    if (existsSync(at) && JSON.parse(readFileSync(at, "utf8")).version) return folder;
  }
}
