// A page in headless Chromium for tests. In: files by path, served from memory on 127.0.0.1 (WebGPU wants a secure
// context, which localhost is). Out: a page on "/", or the test is skipped with the reason. Chromium brings a software
// adapter of its own (SwiftShader), so that no driver is needed.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import { onTestFinished, type TestContext } from "vitest";
import { locateChromium } from "../../scripts/chromium.mjs";

const TYPES: Record<string, string> = {
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".html": "text/html",
};

/** Opens "/" of a server that has these files; everything is closed when the test ends. */
export async function openPage(
  context: TestContext,
  files: Record<string, string | Uint8Array>,
): Promise<Page> {
  const executablePath = locateChromium();
  if (!executablePath) return context.skip("no Chromium to test with");
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://localhost").pathname;
    const body = path === "/" ? "<!doctype html><title>mdl</title>" : files[path.slice(1)];
    response.writeHead(body === undefined ? 404 : 200, {
      "Content-Type": TYPES[extname(path) || ".html"] ?? "application/octet-stream",
      // Without these a page has no SharedArrayBuffer.
      "Cross-Origin-Opener-Policy": "same-origin",
      "Cross-Origin-Embedder-Policy": "require-corp",
    });
    response.end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  let browser: Browser | undefined;
  onTestFinished(async () => {
    await browser?.close();
    server.close();
  });
  // Root, as in a container, cannot use Chromium's sandbox; the pages are our own.
  const sandbox = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  browser = await chromium.launch({ executablePath, args: ["--enable-unsafe-webgpu", ...sandbox] });
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  const hasAdapter =
    "navigator.gpu ? navigator.gpu.requestAdapter().then((adapter) => adapter !== null) : false";
  if (!(await page.evaluate(hasAdapter))) return context.skip("Chromium has no WebGPU adapter here");
  return page;
}
