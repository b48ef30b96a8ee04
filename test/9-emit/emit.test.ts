// Emission: a module holds its artefact unchanged whatever its texts say, and its types accept what works and refuse what
// would not. The modules are run by emit.gpu.test.ts.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, it } from "vitest";
import { emitModule } from "../../compiler/core/phases/9-emit/index.ts";
import { OWN_NAMES } from "../../compiler/core/phases/9-emit/types.ts";
import type { Artefact, Packed } from "../../runtime/core/program.ts";
import { unpack } from "../../runtime/core/unpack.ts";
import { spelled } from "../support/spelled.ts";
import { adder, tiny } from "../support/tiny.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "mdl-emit-"));
afterAll(() => rmSync(folder, { recursive: true }));

let count = 0;
/** Writes and imports a module, outside vitest's own pipeline. */
async function importModule(js: string): Promise<Record<string, unknown>> {
  const path = join(folder, `module${count++}.mjs`);
  writeFileSync(path, js);
  return (await import(/* @vite-ignore */ pathToFileURL(path).href)) as Record<string, unknown>;
}

/** What a module's artefact says. */
const said = (artefact: unknown): unknown => spelled(unpack(artefact as Packed));

/** Text that ends strings, templates, comments and scripts of every kind. */
const HOSTILE =
  // biome-ignore lint/suspicious/noTemplateCurlyInString: hostile text, on purpose
  "*/ ` ${globalThis.hacked = 1} \\` \\${0} ' \" </script><!-- \r\n globalThis.hacked = 2 //\u2028 globalThis.hacked = 3 \u2029\u0000\u0007 é 漢 \ud800 \\";

const hostile: Artefact = {
  ...adder,
  name: HOSTILE,
  doc: HOSTILE,
  texts: adder.texts.map((t, i) => `${t}// ${HOSTILE} ${i}`),
  params: [{ ...tiny.params[0], path: HOSTILE, aliases: ["__proto__"] }],
  programs: adder.programs.map((p) => ({
    ...p,
    target: HOSTILE,
    kernels: p.kernels.map((k) => ({ ...k, name: HOSTILE, constants: { ["__proto__"]: 3 } })),
    entries: p.entries.map((e) => ({
      ...e,
      name: HOSTILE,
      doc: HOSTILE,
      inputs: e.inputs.map((input, i) => ({
        ...input,
        name: `${HOSTILE}${i}`,
        doc: HOSTILE,
        shapeText: [HOSTILE],
      })),
    })),
  })),
};

describe("a module's text", () => {
  it("holds the artefact as it was", async () => {
    const { js } = emitModule(tiny, { runtime: "inline", source: "tiny.mdl" });
    const module = await importModule(js);
    expect(said(module["artefact"])).toEqual(spelled(tiny));
    expect(typeof module["load"]).toBe("function");
    for (const name of ["Tensor", "MdlRuntimeError", "InputError", "NonFiniteError"]) {
      expect(typeof module[name]).toBe("function");
    }
    expect(module["default"]).toBeUndefined();
  });

  it("holds hostile names, comments and kernel texts as they were, and runs none of them", async () => {
    const { js } = emitModule(hostile, { runtime: "inline", source: HOSTILE, compiler: HOSTILE });
    const module = await importModule(js);
    expect(said(module["artefact"])).toEqual(spelled(hostile));
    expect((globalThis as Record<string, unknown>)["hacked"]).toBeUndefined();
    expect(/<\/script|<!--/i.test(js)).toBe(false);
  });

  it("is in lines that a person can read where an error is thrown, by classes with their names", async () => {
    const { js } = emitModule(tiny, { runtime: "inline" });
    const runtime = js.slice(js.indexOf("\n// The runtime"));
    // A line may not break in a string, and messages are strings.
    expect(Math.max(...runtime.split("\n").map((line) => line.length))).toBeLessThan(500);
    const module = await importModule(js);
    for (const name of ["Tensor", "MdlRuntimeError", "InputError", "WeightsError", "NonFiniteError"])
      expect((module[name] as { readonly name: string }).name).toBe(name);
    const path = join(folder, "uncaught.mjs");
    writeFileSync(path, `import { load } from "./module${count - 1}.mjs";\nawait load({ weights: 5 });`);
    const { stderr, status } = spawnSync(process.execPath, [path], { encoding: "utf8" });
    expect(status).toBe(1);
    expect(stderr.length).toBeLessThan(4000);
    expect(stderr).toMatch(/^\w+Error: .*$/m);
    expect(stderr).not.toMatch(/\[\w+Error\]/);
  });

  it("keeps numbers that JSON has not", async () => {
    const odd = {
      ...adder,
      state: [{ ...tiny.state[0], init: { kind: "constant", value: Number.NEGATIVE_INFINITY } as const }],
    };
    const module = await importModule(emitModule(odd, { runtime: "inline" }).js);
    expect(said(module["artefact"])).toEqual(spelled(odd));
  });

  it("imports the runtime where asked, and only then", () => {
    const imports = (runtime: "import" | "inline"): string[] => [
      ...new Set(emitModule(tiny, { runtime }).js.match(/(?<=\bfrom )"[^"]*"|^import "[^"]*"/gm) ?? []),
    ];
    expect(imports("import")).toEqual(['"mdlc/runtime"']);
    expect(imports("inline")).toEqual([]);
  });

  it("needs no eval, and carries the training part only where it trains", () => {
    const training = emitModule(tiny, { runtime: "inline" }).js;
    const inference = emitModule(adder, { runtime: "inline" }).js;
    for (const js of [training, inference]) expect(/\beval\b|new Function\b/.test(js)).toBe(false);
    const trains = (js: string): boolean => js.includes("this schedule needs");
    expect([trains(training), trains(inference)]).toEqual([true, false]);
    // An index is looked for where an input is one.
    const indexes = [{ extent: 0, use: "take" }];
    const ids = adder.programs.map((p) => ({
      ...p,
      entries: p.entries.map((e) => ({ ...e, inputs: e.inputs.map((port) => ({ ...port, indexes })) })),
    }));
    const taking = emitModule({ ...adder, programs: ids }, { runtime: "inline" }).js;
    expect([taking, inference].map((js) => js.includes("index-range"))).toEqual([true, false]);
    // And what a lost device takes along where entries write.
    const losing = adder.programs.map((p) => ({
      ...p,
      entries: p.entries.map((e) => ({ ...e, writesState: ["count"] })),
    }));
    const writing = emitModule({ ...adder, programs: losing }, { runtime: "inline" }).js;
    const loses = (js: string): boolean => js.includes("restore() a snapshot of yours");
    expect([training, writing, inference].map(loses)).toEqual([true, true, false]);
    // Nor what only Node has, for pages.
    for (const artefact of [tiny, adder])
      for (const minify of [true, false]) {
        const page = emitModule(artefact, { runtime: "inline", host: "page", minify }).js;
        expect(/node:|\/proc\/|getBuiltinModule/.test(page)).toBe(false);
        expect(page).toContain("made for pages");
      }
    expect(/node:fs/.test(inference) && /getBuiltinModule/.test(inference)).toBe(true);
    // The runtime's share of a module; what it grows by is paid by every page.
    expect(gzipSync(inference).length).toBeLessThan(30_000);
  });
});

/** What the real compiler of TypeScript says of a program that uses the module; empty where it is content. */
function check(
  artefact: Artefact,
  program: string,
  options: readonly string[] = ["--lib", "ES2020", "--types", ""],
): string[] {
  const at = mkdtempSync(join(folder, "types-"));
  writeFileSync(join(at, "model.d.ts"), emitModule(artefact, { runtime: "inline", source: "tiny.mdl" }).dts);
  writeFileSync(join(at, "package.json"), '{ "type": "module" }');
  writeFileSync(
    join(at, "program.ts"),
    `import { load } from "./model.js";\nconst net = await load();\n${program}\n`,
  );
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
  const args = [
    tsc,
    "--noEmit",
    "--strict",
    "--target",
    "ES2022",
    "--module",
    "NodeNext",
    "--pretty",
    "false",
  ];
  const run = spawnSync(process.execPath, [...args, ...options, "program.ts"], { cwd: at, encoding: "utf8" });
  return run.stdout.split("\n").filter((line) => line.includes("error"));
}

describe("a module's types", () => {
  it("accept what works, without the DOM's or Node's types", () => {
    const program = `
import { InputError, type Net, NonFiniteError, Tensor } from "./model.js";
const { sum } = await net.add({ a: new Float32Array(3), b: [1, 2, 3] });
const data: Float32Array = sum.data;
const shape: readonly number[] = sum.shape;
await net.add({ a: sum, b: { data, shape: [3] } });
await net.add({ a: new Tensor("f32", [3], data), b: new Tensor("f32", shape, data) });
const { y } = await net.chain({ x: [[1, 2, 3, 4]] }, { outputs: ["y"] });
const { picked, big } = await net.pick({ m: [true], a: new BigInt64Array(1) });
const integers: Int32Array = picked.data;
const bytes: Uint8Array = big.data;
const kept = await net.entries.add({ a: y, b: y }, { gpu: true });
const later: Float32Array = await kept.sum.read();
const step = await net.train_step({ x: new Float32Array(2) }, { lr: 1e-3, seed: 7n });
const loss: number = await step.loss;
const done: number = (await step.read()).steps_done;
await net.fit_step({ x: data });
await net.draw();
await net.setParameter("scale", [1, 2, 3, 4]);
const saved: Uint8Array = await net.save();
await net.loadWeights(saved, { partial: true });
await net.restore(await net.snapshot());
const open: Net = await load({ weights: { scale: data }, bind: { N: 8 }, train: { totalSteps: 10 }, onProgress: (e) => e.done / e.total });
try {
  open.dispose();
} catch (error) {
  if (error instanceof NonFiniteError) { const n: number = error.step; }
  if (error instanceof InputError) { const code: string = error.code; }
}
export { bytes, done, integers, later, loss };`;
    expect(check(tiny, program)).toEqual([]);
    expect(check(hostile, "")).toEqual([]);
  });

  it("go with a page's own GPUDevice and `using`", () => {
    const program = `
declare const device: GPUDevice;
await using_();
async function using_() { using own = await load({ device, gpu: navigator.gpu, weights: new URL("https://x.y/z") }); own.target; }`;
    const options = ["--lib", "ES2023,DOM,ESNext.Disposable", "--types", ""];
    expect(check(tiny, program, options)).toEqual([]);
  });

  const refused: readonly (readonly [string, string, RegExp])[] = [
    ["a misspelt input", "await net.add({ a: [1], bb: [1] });", /'bb'/],
    ["a missing input", "await net.add({ a: [1] });", /'b' is missing|Property 'b'/],
    ["the wrong dtype", "await net.add({ a: new Int32Array(1), b: [1] });", /Int32Array/],
    [
      "a tensor of another dtype",
      "const { picked } = await net.pick({ m: [true], a: [1] }); await net.add({ a: picked, b: [1] });",
      /"i32"/,
    ],
    ["a misspelt entry", "await net.ad({ a: [1], b: [1] });", /'ad'/],
    ["a misspelt result", "const { product } = await net.add({ a: [1], b: [1] });", /'product'/],
    [
      "a result that was not asked for",
      'const { hidden } = await net.chain({ x: [[1]] }, { outputs: ["y"] });',
      /'hidden'/,
    ],
    ["an unknown option", "await net.add({ a: [1], b: [1] }, { lr: 1 });", /'lr'/],
    ["an unknown hyperparameter", "await net.train_step({ x: [1] }, { momentum: 1 });", /'momentum'/],
    ["a misspelt report", "(await net.train_step({ x: [1] })).accuracy;", /'accuracy'/],
    ["a misspelt parameter", 'await net.getParameter("scales");', /"scales"/],
    ["a misspelt load option", 'await load({ weight: "x" });', /'weight'/],
  ];
  // One run for all: line n of the program is case n.
  it(`refuse ${refused.map(([what]) => what).join(", ")}`, () => {
    const program = refused.map(([, text]) => `{ ${text} }`).join("\n");
    const errors = check(tiny, program);
    for (const [i, [what, , message]] of refused.entries()) {
      const here = errors.filter((e) => e.startsWith(`program.ts(${i + 3},`));
      expect(here, what).toHaveLength(1);
      expect(here[0], what).toMatch(message);
    }
  });

  it("leave an entry that is called like a method to `entries`", () => {
    const renamed = {
      ...adder,
      programs: adder.programs.map((p) => ({
        ...p,
        entries: OWN_NAMES.map((name) => ({ ...p.entries[0], name })),
      })),
    };
    const program =
      "await net.entries.save({ a: [1], b: [1] }); const b: Uint8Array = await net.save(); net.entries.then({ a: [1], b: [1] });";
    expect(check(renamed, program)).toEqual([]);
  });
});
