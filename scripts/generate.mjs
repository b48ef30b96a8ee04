// Writes compiler/core/generated/: what the compiler carries as text. It is generated because compiler/core may not
// read files: the standard library's sources (compiler/core/std/*.mdl), the runtime that a module inlines (with and
// without its training part: runtime/core/index.ts and inference.ts and what they import, each as one ES module,
// minified, in short lines, that keeps its exports), and the types of a module's `.d.ts` (runtime/core/api.ts from its line on).
// Files are only written when their text changes, so that a watching vitest and a build's time stamps stay quiet.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const stdDir = join(root, "compiler", "core", "std");
const runtimeDir = join(root, "runtime", "core");
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

/** The runtime as one ES module. */
async function runtimeText(entry) {
  const result = await build({
    entryPoints: [join(runtimeDir, entry)],
    bundle: true,
    write: false,
    format: "esm",
    platform: "neutral",
    target: "es2022",
    minify: true,
    // Node prints the line that an uncaught error was thrown from.
    lineLimit: 120,
    legalComments: "none",
    charset: "utf8",
    logLevel: "silent",
  });
  // A module goes through its user's bundler, too: an import of what is only known at run time is left alone there.
  const hints = "/* @vite-ignore */ /* webpackIgnore: true */";
  return result.outputFiles[0].text.replaceAll(/\bimport\((?=[\w$]+\))/g, `import(${hints} `);
}

/** What runtime/core/api.ts says below its line. */
function moduleTypes() {
  const source = readFileSync(join(runtimeDir, "api.ts"), "utf8").replaceAll("\r\n", "\n");
  return source.slice(source.indexOf("// ---\n") + "// ---\n".length);
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
  const text = (name, value) => `export const ${name}: string = ${JSON.stringify(value)};`;
  const runtime = [
    text("trainingRuntimeText", await runtimeText("index.ts")),
    text("inferenceRuntimeText", await runtimeText("inference.ts")),
    text("moduleTypesText", moduleTypes()),
  ];
  write("runtime-text.ts", runtime.join("\n"));
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) await generate();
