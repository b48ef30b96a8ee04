// The provider in a browser: navigator.gpu, and nothing of Node's.
import { build } from "esbuild";
import { expect, test } from "vitest";
import { openPage } from "../support/browser.ts";

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
