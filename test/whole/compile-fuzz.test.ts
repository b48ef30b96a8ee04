// The whole compiler on programs that are almost right: each ends in diagnostics or in a module, never in another
// exception. And on programs that are far too long: they compile in seconds, or are refused, in bounded memory.
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { compile, emitModule, MdlError } from "../../compiler/core/index.ts";
import { targets } from "../../compiler/core/targets.ts";
import { mutationSeed, mutations } from "../support/budget.ts";
import { bundleText } from "../support/bundle.ts";
import { projectRoot } from "../support/files.ts";
import { mutate, random, seeds } from "../support/mutate.ts";

describe("mutated programs, through the whole compiler", () => {
  const rounds = mutations(1000);
  const base = mutationSeed(7);
  const parts = 5;
  const reached = { refused: 0, modules: 0 };
  for (let part = 0; part < parts; part++) {
    it(`end in diagnostics or modules (${part + 1} of ${parts})`, { timeout: 240_000 }, () => {
      for (let i = part; i < rounds; i += parts) {
        const seed = base * 1_000_003 + i;
        const source = mutate(seeds[i % seeds.length], random(seed));
        try {
          const { artefact } = compile(source, "main.mdl", { targets: [targets[i % targets.length].name] });
          const { js } = emitModule(artefact, { runtime: "import" });
          expect(js.length).toBeGreaterThan(100);
          reached.modules++;
        } catch (e) {
          if (e instanceof MdlError) {
            expect(e.diagnostics.length).toBeGreaterThan(0);
            reached.refused++;
            continue;
          }
          const cause = e instanceof Error && e.cause instanceof Error ? e.cause.stack : "";
          throw new Error(`seed ${seed}: ${e instanceof Error ? e.stack : e}\n${cause}\n${source}`);
        }
      }
    });
  }
  it("come to both ends", () => {
    expect(reached.refused).toBeGreaterThan(rounds / 5);
    expect(reached.modules).toBeGreaterThan(rounds / 50);
  });
});

/** About so many bytes of source: many layers, each used once, in one model; comments are a third of it. */
function long(bytes: number): string {
  const lines: string[] = ['import { Linear } from "std/nn"'];
  let size = 0;
  let k = 0;
  while (size < bytes) {
    const text = `
// Layer ${k} of a program that nobody would write by hand, with a comment that is as long as its code is.
layer Layer${k}(d: int = 8, slope: float = 0.${k % 10}) {
  param weight: f32[d, d] = he_normal()
  param bias:   f32[d]    = zeros()
  fn forward(x: f32[N, d]) -> f32[N, d] {
    h = x @ weight + bias
    relu(h) - slope * relu(-h)
  }
}`;
    lines.push(text);
    size += text.length;
    k++;
  }
  lines.push("model M() {");
  for (let i = 0; i < Math.min(k, 40); i++) lines.push(`  l${i} = Layer${i}()`);
  lines.push(
    `  fn logits(x: f32[N, 8]) -> f32[N, 8] { x ${Array.from({ length: Math.min(k, 40) }, (_, i) => `|> l${i}`).join(" ")} }`,
  );
  lines.push("}");
  return lines.join("\n");
}

describe("long programs", () => {
  const folder = join(projectRoot, "node_modules", ".cache", "mdl", `long-${process.pid}`);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** Compiles in a process of its own with so much heap; what it says. */
  async function run(
    source: string,
  ): Promise<{ said: string; status: number | null; error: string; seconds: number }> {
    mkdirSync(folder, { recursive: true });
    const program = join(folder, "compile.mjs");
    await bundleText(
      `
          import { readFileSync } from "node:fs";
          import { compile, MdlError } from "./compiler/core/index.ts";
          const started = performance.now();
          let said;
          try {
            const { artefact } = compile(readFileSync(process.argv[2], "utf8"), "long.mdl", { targets: ["baseline"] });
            said = "module " + artefact.programs[0].kernels.length;
          } catch (e) {
            if (!(e instanceof MdlError)) throw e;
            said = e.diagnostics[0].code + " " + e.diagnostics[0].message;
          }
          console.log(JSON.stringify({ said, seconds: (performance.now() - started) / 1000 }));`,
      program,
    );
    const file = join(folder, "long.mdl");
    writeFileSync(file, source);
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ["--max-old-space-size=2000", program, file],
      {
        encoding: "utf8",
        timeout: 150_000,
      },
    );
    const told = (stdout ? JSON.parse(stdout) : { said: "", seconds: 0 }) as {
      said: string;
      seconds: number;
    };
    return { ...told, status, error: stderr };
  }

  it("of a megabyte compile, in seconds", { timeout: 180_000 }, async () => {
    const source = long(1 << 20);
    expect(source.length).toBeGreaterThan(1 << 20);
    const { said, status, error, seconds } = await run(source);
    expect(error).toBe("");
    expect(status).toBe(0);
    expect(said).toMatch(/^module \d+$/);
    expect(seconds).toBeLessThan(60);
  });
  it("of ten megabytes compile or are refused, within 2 GB", { timeout: 180_000 }, async () => {
    const { said, status, error } = await run(long(10 << 20));
    expect(error).toBe("");
    expect(status).toBe(0);
    expect(said).toMatch(/^module \d+$|^E10\d\d .*(long|large|big|bytes|MiB|MB)/);
  });
});
