// Writes compiler/core/generated/: what the compiler carries as text. It is generated because compiler/core may not
// read files: the standard library's sources (compiler/core/std/*.mdl), and the runtime that a module inlines
// (runtime/core/index.ts and what it imports, as one minified ES module that keeps its exports).
// Files are only written when their text changes, so that a watching vitest and a build's time stamps stay quiet.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const stdDir = join(root, "compiler", "core", "std");
const runtimeEntry = join(root, "runtime", "core", "index.ts");
const outDir = join(root, "compiler", "core", "generated");

/** The standard library by import path: compiler/core/std/nn.mdl is "std/nn". */
function stdSources() {
  if (!existsSync(stdDir)) return {};
  const files = readdirSync(stdDir, { recursive: true })
    .map(String)
    .filter((name) => name.endsWith(".mdl"))
    .sort();
  return Object.fromEntries(
    files.map((name) => [
      `std/${name.slice(0, -".mdl".length).split(sep).join("/")}`,
      readFileSync(join(stdDir, name), "utf8").replaceAll("\r\n", "\n"),
    ]),
  );
}

/** The runtime as one ES module; empty as long as there is none. */
async function runtimeText() {
  if (!existsSync(runtimeEntry)) return "";
  const result = await build({
    entryPoints: [runtimeEntry],
    bundle: true,
    write: false,
    format: "esm",
    platform: "neutral",
    target: "es2022",
    minify: true,
    legalComments: "none",
    charset: "utf8",
    logLevel: "silent",
  });
  // A module goes through its user's bundler, too: an import of what is only known at run time is left alone there.
  const hints = "/* @vite-ignore */ /* webpackIgnore: true */";
  return result.outputFiles[0].text.replaceAll(/\bimport\((?=[\w$]+\))/g, `import(${hints} `);
}

function write(name, body) {
  const file = join(outDir, name);
  const text = `// Written by scripts/generate.mjs; do not edit.\n${body}\n`;
  if (existsSync(file) && readFileSync(file, "utf8") === text) return;
  writeFileSync(file, text);
  console.error(`generate: wrote ${relative(root, file)}`);
}

/** Brings compiler/core/generated/ up to date. Throws when the runtime cannot be bundled. */
export async function generate() {
  mkdirSync(outDir, { recursive: true });
  write(
    "std.ts",
    `export const stdSources: Record<string, string> = ${JSON.stringify(stdSources(), null, 2)};`,
  );
  write("runtime-text.ts", `export const runtimeText: string = ${JSON.stringify(await runtimeText())};`);
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) await generate();
