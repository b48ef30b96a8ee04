// In a browser: the provider is navigator.gpu, and nothing of Node's; the compiler is itself.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { expect, test } from "vitest";
import { openPage } from "../support/browser.ts";
import { projectRoot } from "../support/files.ts";

test("requestGpu gives the page's navigator.gpu, and asks for no package", async (context) => {
  const { outputFiles } = await build({
    entryPoints: ["runtime/core/dawn.ts"],
    bundle: true,
    format: "esm",
    platform: "browser",
    write: false,
  });
  const page = await openPage(context, {
    "dawn.js": outputFiles[0]?.text ?? "",
    "main.js": `
      import { requestGpu, pollPolitely, isSoftwareAdapter } from "./dawn.js";
      export async function main() {
        const gpu = await requestGpu();
        const adapter = await gpu.requestAdapter();
        const device = await adapter.requestDevice();
        await pollPolitely(device.queue.onSubmittedWorkDone(), adapter.info);
        return { own: gpu === navigator.gpu, software: isSoftwareAdapter(adapter.info) === adapter.info.isFallbackAdapter };
      }`,
  });
  // As text: vitest would rewrite the import of a function given here.
  const found = await page.evaluate('import("/main.js").then(({ main }) => main())');
  expect(found).toEqual({ own: true, software: true });
});

test("the compiler runs in a page: a source with an import, checked, compiled, laid out and run", async (context) => {
  const bundle = async (entry: string): Promise<string> => {
    const { outputFiles } = await build({
      entryPoints: [entry],
      bundle: true,
      minify: true,
      format: "esm",
      platform: "browser",
      external: ["node:*", "webgpu"],
      write: false,
    });
    return outputFiles[0]?.text ?? "";
  };
  const page = await openPage(context, {
    "mdlc.js": await bundle("compiler/core/index.ts"),
    "runtime.js": await bundle("runtime/core/index.ts"),
    "lib.mdl": "fn twice(x: f32[...]) -> f32[...] { 2 * x }",
    // The program of docs/library.md.
    "main.js": libraryProgram("In a browser"),
  });
  expect(await page.evaluate('import("/main.js").then(({ main }) => main())')).toEqual({
    results: [2, 0, 6],
    refused: "E0201 there is no rellu here",
    text: "x = 1\n",
  });
});

/** The program below a heading of docs/library.md, as a page imports it. */
function libraryProgram(heading: string): string {
  const text = readFileSync(join(projectRoot, "docs/library.md"), "utf8");
  const program = /```js page\n([\s\S]*?)```/.exec(text.slice(text.indexOf(`## ${heading}`)))?.[1] ?? "";
  return program.replace('"mdlc/runtime"', '"./runtime.js"').replace('"mdlc"', '"./mdlc.js"');
}
