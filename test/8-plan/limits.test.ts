/**
 * Budgets hold sizes, not operations only: whatever a source says, check and compile end with a diagnostic or a module, in
 * bounded memory. Each source here once exhausted it, hung, or was an internal error, or is a sibling of one that did.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { bundleText } from "../support/bundle.ts";
import { projectRoot } from "../support/files.ts";

const fn = (body: string, params = "x: f32[N, 3]"): string => `model M { fn f(${params}) { ${body} } }`;
const many = (n: number, each: (i: number) => string, by = "\n"): string =>
  Array.from({ length: n }, (_, i) => each(i)).join(by);
/** `t` doubled again and again by a static loop; what is done with it. */
const doubled = (start: string, next: string, then = "x", times = 60): string =>
  fn(`t = for i in 0..${times} with t = ${start} { ${next} }\n ${then}`);

/** Sources by what they do, each with what must come of it: a code, or a module. */
const sources: Readonly<Record<string, readonly [string, string]>> = {
  // Static values.
  "a list doubled": [doubled("[1]", "t + t"), "E1009"],
  "a list of tensors doubled": [doubled("[x]", "t + t", "t[0]"), "E1009"],
  "a string doubled": [doubled('"ab"', "t + t"), "E1009"],
  "a list of itself twice, called": [doubled("[identity]", "[t, t]", "x |> t"), "E1008"],
  "a list of itself twice, compared": [doubled("[1]", "[t, t]", "if t == t { x } else { x }"), "E1008"],
  "a list of itself twice, as a member": [
    `model M { t = for i in 0..60 with t = [1] { [t, t] }\n fn f(x: f32[N]) -> f32[N] { x } }`,
    "E1008",
  ],
  "zips of zips": [doubled("[1, 2, 3]", "zip(t + t, t + t)"), "E1008"],
  "reversed without end": [
    fn("t = for i in 0..1000 with t = [k for k in 0..40000] { reversed(t) }\n x"),
    "E1009",
  ],
  "long loops in loops": [
    fn(
      `t = for i in 0..300 with t = 0 { for j in 0..300 with u = t { ${many(100, () => "u", " + ")} - ${many(99, () => "u", " - ")} } }\n x`,
    ),
    "E1008",
  ],
  "many entries that loop long": [
    `model M { ${many(100, (k) => `fn f${k}(x: f32[N]) { t = for i in 0..90000 with t = 0 { i }\n x }`)} }`,
    "E1008",
  ],
  "an int without end": [doubled("3", "t * t"), "E1006"],
  // Sizes.
  "a power of a sum": [fn("x", "x: f32[N, (N + 1) ** 40]"), "E1010"],
  "a power of a sum of three": [fn("x", "a: f32[A, B, C], x: f32[(A + B + C + 1) ** 64]"), "E1010"],
  "a product of maxima": [
    fn(`zeros(${many(30, (i) => `max(A, B + ${i})`, " * ")})`, "x: f32[A, B]"),
    "E1006",
  ],
  "a size doubled": [doubled("x.shape[0]", "floor((t + 1) / 3) * floor((t + 2) / 5)", "zeros(t)"), "E1010"],
  "maxima of maxima": [doubled("x.shape[0]", "max(t + 1, min(t + t, 7 * t))", "zeros(t)"), "E1010"],
  "two thousand symbols": [
    fn(
      "x0",
      many(2000, (i) => `x${i}: f32[A${i}]`, ", "),
    ),
    "E1010",
  ],
  "sizes of 2^53": [fn("x + 1", "x: f32[N, 9007199254740991]"), "E1006"],
  "sizes whose product is 2^60": [fn("x + 1", "x: f32[N, N, N, N, N, N, N, 9999999]"), "E1006"],
  "a pad of a thousand million": [fn("pad(x, [0, 0], interior = [1000000000, 1000000000])"), "E1006"],
  "parameters of 40 GB": [
    "model M(k: int = 3000000000) { param w: f32[k, 4] = zeros()\n fn f(x: f32[N, k]) { x @ w } }",
    "E1006",
  ],
  "many parameters of 1 GB": [
    `import { Linear } from "std/nn"\nmodel M { ls = [Linear(16384, 16384) for i in 0..40]\n fn f(x: f32[N, 16384]) { x |> ls } }`,
    "E1006",
  ],
  // Graphs.
  "a split into a million": [fn("split(x, 1000000, axis = 0)[0]"), "E0607"],
  "a split into as many as there may be, again and again": [
    fn("for i in 0..1000 with h = x { concat(split(h, 4096, axis = 0), axis = 0) }"),
    "E1003",
  ],
  "gradients of gradients": [
    `model M { fn f0(x: f32[]) -> f32 { x * x * x * x }\n${many(24, (i) => `fn f${i + 1}(x: f32[]) -> f32 { grad(f${i}, wrt = x)(x) * x * x }`)} }`,
    "E1003",
  ],
  "fns that call the one before twice": [
    `${many(40, (i) => `fn g${i + 1}(x: f32[N]) -> f32[N] { g${i}(x + ${i}) * g${i}(x - ${i}) }`)}\nfn g0(x: f32[N]) -> f32[N] { x }\nmodel M { fn f(x: f32[N]) -> f32[N] { g40(x) } }`,
    "E1003",
  ],
  "layers that hold the one before twice": [
    `layer L0() { param w: f32[1] = zeros() }\n${many(40, (i) => `layer L${i + 1}() { a = L${i}()\n b = L${i}() }`)}\nmodel M { l = L40()\n fn f(x: f32[N]) { x } }`,
    "E1004",
  ],
  // Names and messages.
  "a name of a megabyte": [fn("x", `${"x".repeat(2 ** 20)}: f32[N]`), "E1002"],
  "a string of a megabyte in a message": [fn(`sum(x, axis = "${"x".repeat(2 ** 20)}")`), "E0605"],
  "a hundred thousand names that are not there": [fn(many(50_000, (i) => `y${i} = nothing${i}`)), "E0201"],
  "patterns of many stars": [
    `model M { ${many(2000, (i) => `param ${"a".repeat(200)}${i}: f32[1] = zeros()`)}\n frozen ${many(40, () => `"${"a*".repeat(90)}b"`, ", ")}\n fn f(x: f32[N]) { x } }`,
    "E0704",
  ],
  // Internal errors that were.
  "eval of nothing": [fn("y = eval(); x"), "E0601"],
  "an initialiser in a fn": [fn("y = constant(); x"), "E0204"],
};

describe("hostile sources", () => {
  const folder = join(projectRoot, "node_modules", ".cache", "mdl", `limits-${process.pid}`);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("end with a diagnostic, in bounded memory", { timeout: 300_000 }, async () => {
    mkdirSync(folder, { recursive: true });
    const program = join(folder, "compile.mjs");
    await bundleText(
      `
          import { readFileSync } from "node:fs";
          import { compile, MdlError } from "./compiler/core/index.ts";
          const said = {};
          for (const [name, [source]] of Object.entries(JSON.parse(readFileSync(process.argv[2], "utf8")))) {
            try {
              compile(source, "main.mdl", { targets: ["baseline"] });
              said[name] = { codes: ["a module"], long: 0 };
            } catch (e) {
              const list = e instanceof MdlError ? e.diagnostics.filter((d) => d.severity === "error") : [];
              said[name] = {
                codes: e instanceof MdlError ? list.map((d) => d.code) : [String(e)],
                long: Math.max(0, ...list.map((d) => d.message.length + (d.help ?? "").length)),
              };
            }
            console.error(name, performance.now().toFixed(0), said[name].codes[0]);
          }
          console.log(JSON.stringify(said));`,
      program,
    );
    const file = join(folder, "sources.json");
    writeFileSync(file, JSON.stringify(sources));
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ["--max-old-space-size=1000", program, file],
      { encoding: "utf8", timeout: 280_000 },
    );
    expect(status, stderr.slice(-4000)).toBe(0);
    const said = JSON.parse(stdout) as Record<string, { codes: string[]; long: number }>;
    for (const [name, [, code]] of Object.entries(sources)) {
      expect(said[name].codes, name).toContain(code);
      expect(said[name].long, `${name}: a message that can be read`).toBeLessThan(2_500);
    }
  });
});
