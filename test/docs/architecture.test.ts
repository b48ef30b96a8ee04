// docs/architecture.md and the pages beside it: every excerpt is what the compiler prints, every file they name is there,
// every folder of the rooms is on the map, and the programs in them are accepted by the compiler and by TypeScript.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { renderAll } from "../../compiler/core/diagnostics/index.ts";
import { compile, emitModule } from "../../compiler/core/index.ts";
import { parse } from "../../compiler/core/phases/1-parse/parse.ts";
import { printAst } from "../../compiler/core/phases/1-parse/print.ts";
import { passes } from "../../compiler/core/phases/4-simplify/simplify.ts";
import { targets } from "../../compiler/core/targets.ts";
import { excerptNames, modelOf, refresh } from "../../scripts/excerpts.ts";
import { checkText } from "../support/check.ts";
import { projectFile } from "../support/files.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const pages = ["architecture", "performance", "embedding", "training"];
const textOf = (name: string): string => readFileSync(join(root, "docs", `${name}.md`), "utf8");
const architecture = textOf("architecture");

describe("docs/architecture.md", () => {
  it("shows what the compiler prints (npm run docs writes it anew)", () => {
    expect(architecture).toBe(refresh(architecture));
  });

  it("uses every excerpt, once", () => {
    const used = [...architecture.matchAll(/<!-- excerpt: ([\w-]+) -->/g)].map((m) => m[1]);
    expect(used.toSorted()).toEqual([...excerptNames].sort());
  });

  it("says truly that the printed tree is the model's text", () => {
    const source = modelOf(architecture);
    expect(printAst(parse(source, "tiny.mdl").ast)).toBe(source);
  });

  it("has every room on its map, and no other", () => {
    const folders = (path: string): string[] =>
      readdirSync(join(root, path), { withFileTypes: true }).flatMap((e) =>
        e.isDirectory() ? [`${path}/${e.name}`] : [],
      );
    const rooms = [
      ...folders("compiler/core").filter((f) => !f.endsWith("/phases") && !f.endsWith("/generated")),
      ...folders("compiler/core/phases"),
      ...folders("compiler").filter((f) => f !== "compiler/core"),
      ...folders("runtime"),
    ];
    const map = [...architecture.matchAll(/^\| `((?:compiler|runtime)\/[\w/-]+)` \|/gm)].map((m) => m[1]);
    expect(map.filter((f) => f !== "compiler/core/generated").sort()).toEqual(rooms.sort());
  });

  it("has every file of runtime/core on its list", () => {
    const list = architecture.slice(
      architecture.indexOf("### The runtime"),
      architecture.indexOf("### Errors and"),
    );
    const files = readdirSync(join(root, "runtime/core")).filter((f) => f.endsWith(".ts"));
    expect(files.filter((f) => !list.includes(`\`${f}\``))).toEqual([]);
  });

  it("names every file of the kernel families", () => {
    const folder = join(root, "compiler/core/phases/7-schedule");
    const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((f) => f.endsWith(".ts"));
    expect(files.filter((f) => !architecture.includes(`\`${f}\``))).toEqual([]);
  });

  it("names every pass of simplification and every target", () => {
    expect(passes.filter((p) => !architecture.includes(`\`${p.name}\``)).map((p) => p.name)).toEqual([]);
    expect(targets.filter((t) => !architecture.includes(`\`${t.name}\``)).map((t) => t.name)).toEqual([]);
  });

  it("says why of every library", () => {
    const { dependencies, devDependencies } = JSON.parse(projectFile("package.json"));
    const libraries = Object.keys({ ...dependencies, ...devDependencies }).filter(
      (n) => !n.startsWith("@types/"),
    );
    const section = architecture.slice(architecture.indexOf("## Libraries"));
    expect(libraries.filter((n) => !section.includes(n))).toEqual([]);
  });
});

describe.each(pages)("docs/%s.md", (page) => {
  const text = textOf(page);

  it("names files that are there", () => {
    // `plan.ts` alone is a file of the folder that the heading or the table's row is about.
    const all = new Set(
      ["compiler", "runtime", "scripts", "test", "docs", "dsl-examples", "bench"]
        .filter((d) => existsSync(join(root, d)))
        .flatMap((d) => readdirSync(join(root, d), { recursive: true }).map((f) => `${d}/${f}`)),
    );
    const named = [...text.matchAll(/`(\w[\w./-]*\.(?:ts|mjs|mdl|json))`/g)].map((m) => m[1]);
    const invented = new Set([
      "tiny.mdl",
      "model.mdl",
      "classifier.mdl",
      "convnet.js",
      "tiny.js",
      "tokenizer.json",
    ]);
    const missing = named.filter(
      (n) =>
        !invented.has(n) &&
        !existsSync(join(root, n)) &&
        ![...all].some((f) => f.endsWith(`/${n}`) && !f.includes("node_modules")),
    );
    expect(missing).toEqual([]);
  });

  it("links to pages and headings that are there", () => {
    const anchors = (body: string): string[] =>
      [...body.matchAll(/^#+ (.*)$/gm)].map((m) =>
        m[1]
          .toLowerCase()
          .replace(/[^\w\- ]/g, "")
          .replaceAll(" ", "-"),
      );
    for (const [, file, anchor] of text.matchAll(/\]\(([\w./-]*\.md)?(?:#([\w-]+))?\)/g)) {
      if (file) expect(existsSync(join(root, "docs", file)), file).toBe(true);
      const body = file ? readFileSync(join(root, "docs", file), "utf8") : text;
      if (anchor) expect(anchors(body)).toContain(anchor);
    }
  });

  const programs = [...text.matchAll(/^```mdl\n([\s\S]*?)^```$/gm)].map((m) => m[1]);
  if (programs.length > 0)
    it("shows programs that compile", () => {
      for (const program of programs)
        expect(renderAll(checkText(program).diagnostics, () => program)).toBe("");
    });
});

describe("TypeScript in the pages", () => {
  const folder = mkdtempSync(join(tmpdir(), "mdl-docs-"));
  afterAll(() => rmSync(folder, { recursive: true }));

  it("is accepted beside the module of dsl-examples/convnet.mdl", () => {
    const { artefact } = compile(projectFile("dsl-examples/convnet.mdl"), "convnet.mdl", {
      targets: ["baseline"],
    });
    writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
    writeFileSync(join(folder, "convnet.d.ts"), emitModule(artefact, { runtime: "inline" }).dts);
    const files = ["embedding", "training"].flatMap((page) =>
      [...textOf(page).matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, body], i) => {
        const file = join(folder, `${page}${i}.ts`);
        // What a snippet takes from the program around it.
        const needs = /\bimport\b.*convnet/.test(body)
          ? ""
          : 'import { load } from "./convnet.js";\nconst net = await load();\n';
        const given =
          "declare const images: Float32Array, labels: Int32Array, device: GPUDevice, batches: AsyncIterable<{ x: Float32Array; y: Int32Array }>;\n";
        writeFileSync(
          file,
          `${needs}${given}{\n${body.replace(/^import.*$/gm, "")}\n}\nexport {};\n${(body.match(/^import.*$/gm) ?? []).join("\n")}`,
        );
        return file;
      }),
    );
    expect(files.length).toBeGreaterThan(4);
    const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
    const options =
      "--noEmit --strict --target ES2022 --module NodeNext --moduleResolution NodeNext --skipLibCheck";
    const lib = ["--lib", "ES2023,DOM,DOM.Iterable,DOM.AsyncIterable", "--types", ""];
    const run = spawnSync(process.execPath, [tsc, ...options.split(" "), ...lib, ...files], {
      cwd: folder,
      encoding: "utf8",
    });
    expect(run.stdout).toBe("");
  });
});
