// docs/training.md's road from PyTorch: its model is compiled, its program trains it, saves it, loads it again, and measures the
// same.
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { compile, emitModule } from "../../compiler/core/index.ts";
import { bundleText } from "../support/bundle.ts";
import { testDevice } from "../support/device.ts";
import { fencesOf } from "../support/fences.ts";
import { projectRoot } from "../support/files.ts";

const folder = join(projectRoot, "node_modules", ".cache", "mdl", `road.${process.pid}`);
mkdirSync(folder, { recursive: true });
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it("trains, saves, reloads and measures the same", async (context) => {
  await testDevice(context);
  const fences = fencesOf("docs/training.md");
  const program = fences.find((f) => f.language === "js" && f.kind === "program")?.body ?? "";
  const model = fences.find((f) => f.language === "mdl" && f.body.includes("model Classifier"))?.body ?? "";
  const { artefact } = compile(model, "classifier.mdl");
  writeFileSync(join(folder, "classifier.js"), emitModule(artefact, { runtime: "inline" }).js);
  const main = join(folder, "main.mjs");
  await bundleText(
    program
      .replace('"mdlc/data"', '"./runtime/data/index.ts"')
      .replace('"./classifier.js"', JSON.stringify(join(folder, "classifier.js"))),
    main,
  );
  const ran = spawnSync(process.execPath, [main], { cwd: folder, encoding: "utf8" });
  expect(
    ran.stdout
      .split("\n")
      .slice(0, 4)
      .every((line) => /^epoch \d: loss \d/.test(line)),
    ran.stderr,
  ).toBe(true);
  const [, accuracy, same] = /accuracy ([\d.]+), reloaded ([\d.]+)/.exec(ran.stdout) ?? [];
  expect(Number(accuracy)).toBeGreaterThan(0.9);
  expect(same).toBe(accuracy);
});
