// Writes compiler/core/generated/: what the compiler carries as text. It is generated because compiler/core may not
// read files: the standard library's sources (compiler/core/std/*.mdl), the runtime that a module inlines (with and
// without its training part, what it knows of Node, and more: runtime/core/index.ts and what it imports, each time as one
// minified ES module that keeps its exports), and the types of a module's `.d.ts` (runtime/core/api.ts from its line on).
// Files are only written when their text changes, so that a watching vitest and a build's time stamps stay quiet.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { rolldown } from "rolldown";
import { parseAst } from "rolldown/parseAst";

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

/** What a module may be made without, and the file that takes another's place then. */
const SWAPS = {
  inits: "few-inits.ts",
  node: "page.ts",
  indexes: "no-indexes.ts",
  train: "no-train.ts",
  recovery: "unwritten.ts",
};

/** The runtime as one ES module, as short as it gets, without these parts; and where its lines may end. */
async function runtimeText(without) {
  const bundle = await rolldown({
    input: join(runtimeDir, "index.ts"),
    platform: "neutral",
    transform: { target: "es2022" },
    logLevel: "silent",
    plugins: [
      {
        name: "swap",
        resolveId(id) {
          const part = without.find((p) => id === `./${p}.ts`);
          return part && join(runtimeDir, SWAPS[part]);
        },
      },
    ],
  });
  const { output } = await bundle.generate({ format: "esm", minify: true, comments: false });
  await bundle.close();
  // A module goes through its user's bundler, too: an import of what is only known at run time is left alone there.
  const hints = "/* @vite-ignore */ /* webpackIgnore: true */";
  const text = output[0].code.replaceAll(/\bimport\((?=[\w$]+\))/g, `import(${hints} `).trim();
  return { text, lines: lineEnds(text) };
}

/** What a debug build's module has behind its runtime: `mdlNoting`. */
async function notingText() {
  const bundle = await rolldown({
    input: join(runtimeDir, "notes.ts"),
    platform: "neutral",
    transform: { target: "es2022" },
    logLevel: "silent",
  });
  const { output } = await bundle.generate({
    format: "iife",
    name: "mdlNotes",
    minify: true,
    comments: false,
  });
  await bundle.close();
  return `${output[0].code.trim()}\nconst mdlNoting = mdlNotes.noting;`;
}

/** With and without each part: by what is left out. */
async function runtimes() {
  const all = {};
  for (const node of [[], ["node"]]) {
    // A training step writes.
    for (const indexes of [[], ["indexes"]])
      for (const steps of [[], ["train"], ["train", "recovery"]]) {
        const without = ["inits", ...node, ...indexes, ...steps];
        all[without.join()] = await runtimeText(without);
      }
    // Those that have rare initial values are few: they have all else, but for training.
    for (const train of [[], ["train"]])
      all[[...node, ...train].join()] = await runtimeText([...node, ...train]);
  }
  return all;
}

/** Node prints the line that an uncaught error was thrown from: lines end where statements and members begin. */
function lineEnds(code) {
  const places = new Set();
  // None of these follows a word that a line may not end with (return, async, throw).
  const lists = ["body", "cases", "consequent", "declarations", "properties", "elements", "arguments"];
  const visit = (node) => {
    if (!node || typeof node !== "object") return;
    for (const [name, value] of Object.entries(node)) {
      if (lists.includes(name) && Array.isArray(value))
        for (const element of value) if (element) places.add(element.start);
      visit(value);
    }
  };
  visit(parseAst(code));
  const ends = [];
  let from = 0;
  let to = 0;
  for (const place of [...places, code.length].sort((a, b) => a - b)) {
    if (place - from > 120 && to > from) {
      ends.push(to - from);
      from = to;
    }
    to = place;
  }
  return ends;
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
  const constant = (name, type, value) => `export const ${name}: ${type} = ${JSON.stringify(value)};`;
  const texts = "Readonly<Record<string, { readonly text: string; readonly lines: readonly number[] }>>";
  const runtime = [
    constant("runtimes", texts, await runtimes()),
    constant("notingText", "string", await notingText()),
    constant("moduleTypesText", "string", moduleTypes()),
  ];
  write("runtime-text.ts", runtime.join("\n"));
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) await generate();
