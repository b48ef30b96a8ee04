// The emitted module where users put it: plain Node, a page under a strict Content-Security-Policy, a worker, and a page
// that hands its own device in.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { emitModule } from "../../compiler/core/phases/9-emit/index.ts";
import { OWN_NAMES } from "../../compiler/core/phases/9-emit/types.ts";
import type { Net } from "../../runtime/core/index.ts";
import { openPage } from "../support/browser.ts";
import { testDevice } from "../support/device.ts";
import { adder, tiny } from "../support/tiny.ts";

const { js } = emitModule(tiny, { runtime: "inline", source: "tiny.mdl" });

/** What every host does with it; `load` and the device differ. */
const MAIN = `
export async function main(load, options) {
  const net = await load({ ...options, weights: { scale: [1, 2, 3, 4], bias: [1, 1, 1, 1], count: 0 }, train: { totalSteps: 10 } });
  const { y } = await net.chain({ x: [[1, 1, 1, 1], [2, 2, 2, 2]] });
  const { total } = await net.scan({ x: new Float32Array([1, 2, 3, 4, 5, 6, 7, 8]) });
  const losses = [];
  for (const x of [2, 4]) losses.push(await (await net.train_step({ x: [x] }, { lr: 0.25 })).loss);
  const scale = await net.getParameter("scale");
  const file = await net.save();
  await net.loadWeights(new Blob([file]));
  const refused = await net.add({ a: [1] }).catch((error) => error.name + " " + error.code);
  return JSON.stringify({ y: y.toArray(), total: [...total.data], losses, scale: [...scale.data], bytes: file.length > 100, refused });
}`;
const EXPECTED = {
  y: [
    [2, 3, 4, 5],
    [3, 5, 7, 9],
  ],
  total: [6, 8, 10, 12],
  losses: [2, 4],
  scale: [-0.5, 0.5, 1.5, 2.5],
  bytes: true,
  refused: "InputError missing-input",
};

// Beside node_modules, so that the module finds the package webgpu as a user's would.
const modules = fileURLToPath(new URL("../../node_modules/.cache/", import.meta.url));
let folder = "";
beforeAll(() => {
  mkdirSync(modules, { recursive: true });
  folder = mkdtempSync(join(modules, "mdl-module-"));
  writeFileSync(join(folder, "tiny.mjs"), js);
  writeFileSync(join(folder, "small.mjs"), emitModule(tiny, { runtime: "inline", minify: true }).js);
  writeFileSync(join(folder, "main.mjs"), MAIN);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("in plain Node", () => {
  const run = (program: string): { status: number | null; stdout: string; stderr: string } => {
    const path = join(folder, "program.mjs");
    writeFileSync(path, program);
    return spawnSync(process.execPath, [path], { encoding: "utf8", timeout: 60_000 });
  };

  it("runs, and the program ends by itself, disposed of or not", async (context) => {
    await testDevice(context);
    for (const [module, end] of [
      ["tiny", ""],
      ["small", "net.dispose();"],
    ]) {
      const { status, stdout } = run(`
        import { load } from "./${module}.mjs";
        import { main } from "./main.mjs";
        let net;
        console.log(await main(async (options) => (net = await load(options)), {}));
        ${end}`);
      expect(JSON.parse(stdout)).toEqual(EXPECTED);
      expect(status).toBe(0);
    }
  });

  it("ends in a typed error, and exit code 1, where a step is not awaited", async (context) => {
    await testDevice(context);
    const { status, stderr } = run(`
      import { load } from "./tiny.mjs";
      const net = await load();
      net.add({ a: [1] });`);
    expect(status).toBe(1);
    expect(stderr).toMatch(/^InputError: add needs b: f32\[N\]/m);
    expect(stderr.length).toBeLessThan(4000);
  });

  it("keeps its own methods where entries are called alike", async (context) => {
    const { device } = await testDevice(context);
    const entries = OWN_NAMES.map((name) => ({ ...adder.programs[0].entries[0], name }));
    const renamed = { ...adder, programs: [{ ...adder.programs[0], entries }] };
    const path = join(folder, "renamed.mjs");
    writeFileSync(path, emitModule(renamed, { runtime: "inline" }).js);
    const { load } = (await import(/* @vite-ignore */ pathToFileURL(path).href)) as {
      load(o: object): Promise<Net>;
    };
    const net = await load({ device });
    expect(net.name).toBe("Adder");
    expect(String(net)).toBe("[object Object]");
    expect(await net.save()).toBeInstanceOf(Uint8Array);
    for (const name of OWN_NAMES) {
      const { sum } = (await net.entries[name]({ a: [1], b: [2] })) as { sum: { item(): number } };
      expect(sum.item()).toBe(3);
    }
    net.dispose();
  });
});

describe("in headless Chromium", () => {
  const page = (name: string): string => `<!doctype html>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'self'; worker-src 'self'; connect-src 'self'">
<script type="module" src="${name}.js"></script>`;
  // Results are told by the document's title: under this policy nothing can be evaluated in the page.
  const tell = (promise: string): string =>
    `${promise}.then((text) => { document.title = text; }, (error) => { document.title = JSON.stringify(String(error.stack)); });`;
  const files = {
    "tiny.js": js,
    "main.js": MAIN,
    "own.html": page("own"),
    "own.js": `
      import { load } from "./tiny.js";
      import { main } from "./main.js";
      ${tell("main(load, {})")}`,
    "given.html": page("given"),
    "given.js": `
      import { load } from "./tiny.js";
      import { main } from "./main.js";
      async function run() {
        const adapter = await navigator.gpu.requestAdapter();
        const device = await adapter.requestDevice();
        let net;
        const text = await main(async (options) => (net = await load(options)), { device });
        net.dispose();
        // Still the page's.
        device.createBuffer({ size: 16, usage: GPUBufferUsage.STORAGE }).destroy();
        await device.queue.onSubmittedWorkDone();
        return text;
      }
      ${tell("run()")}`,
    "memory.html": page("memory"),
    "memory.js": `
      import { load, Tensor } from "./tiny.js";
      const shared = (view) => { const to = new view.constructor(new SharedArrayBuffer(view.byteLength)); to.set(view); return to; };
      const resizable = (view) => { const to = new view.constructor(new ArrayBuffer(view.byteLength, { maxByteLength: 2 * view.byteLength })); to.set(view); return to; };
      async function run() {
        const net = await load({ weights: { scale: [1, 2, 3, 4], bias: [1, 1, 1, 1], count: 0 }, train: { totalSteps: 10 } });
        const file = await net.save();
        const snapshot = await net.snapshot();
        const x = Float32Array.of(1, 1, 1, 1);
        const told = {};
        for (const [name, of] of Object.entries({ shared, resizable })) {
          const results = [];
          const call = async (x) => results.push([...(await net.chain({ x })).y.data].join());
          for (const given of [of(x), new Tensor("f32", [1, 4], of(x)), { data: of(x), shape: [1, 4] }]) await call(given);
          for (const weights of [of(file), of(file).buffer]) { await net.loadWeights(weights); await call(x); }
          const other = await load({ weights: of(file) });
          results.push([...(await other.chain({ x })).y.data].join());
          other.dispose();
          await net.setParameter("scale", of(Float32Array.of(1, 2, 3, 4)));
          await call(x);
          await net.restore({ ...snapshot, params: of(snapshot.params), state: of(snapshot.state) });
          await call(x);
          const { picked } = await net.pick({ m: of(Uint8Array.of(1, 0)), a: of(Int32Array.of(7, 8)) });
          told[name] = [...new Set(results), results.length, picked.data.join()];
        }
        const refused = async (name, work) => { told[name] = await work().then(() => "taken", (error) => error.name + " " + error.code); };
        const used = await fetch("./tiny.js");
        await used.arrayBuffer();
        await refused("used", () => net.loadWeights(used));
        await refused("missing", () => net.loadWeights("./nope"));
        await refused("html", () => net.loadWeights("./memory.html"));
        await refused("file", () => net.loadWeights("file:///etc/passwd"));
        await refused("path", () => net.save("x.safetensors"));
        return JSON.stringify(told);
      }
      ${tell("run()")}`,
    "worker.html": page("worker"),
    "worker.js": `
      const worker = new Worker("./inside.js", { type: "module" });
      const done = new Promise((resolve, reject) => {
        worker.onmessage = ({ data }) => resolve(data);
        worker.onerror = (event) => reject(new Error(event.message));
      });
      ${tell("done")}`,
    "inside.js": `
      import { load } from "./tiny.js";
      import { main } from "./main.js";
      main(load, {}).then(postMessage, (error) => postMessage(JSON.stringify(String(error.stack))));`,
  };

  it("runs in a page without eval, in a worker, on a device handed in, and with memory of every kind", async (context) => {
    const same = ["2,3,4,5", 8, "7,-1"];
    const memory = {
      shared: same,
      resizable: same,
      used: "WeightsError weights-source",
      missing: "WeightsError weights-source",
      html: "WeightsError weights-format",
      file: "WeightsError weights-source",
      path: "WeightsError weights-source",
    };
    const chromium = await openPage(context, files);
    const base = chromium.url();
    for (const name of ["own", "given", "worker", "memory"]) {
      await chromium.goto(`${base}${name}.html`);
      let title = "";
      for (let i = 0; i < 600 && !title; i++) {
        title = await chromium.title();
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      expect(JSON.parse(title), name).toEqual(name === "memory" ? memory : EXPECTED);
    }
  });
});
