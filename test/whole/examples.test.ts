// The examples: each compiles for every target; parameters of those that say so have PyTorch's and torchvision's names and shapes
// (test/figures/examples.json).
import { expect, it } from "vitest";
import { emitModule } from "../../compiler/core/index.ts";
import { allTargets } from "../../compiler/core/targets.ts";
import { checkExample, compileExample, type Example, examples } from "../support/examples.ts";
import { allSources } from "../support/sources.ts";
import { checkTrial, exampleFigures } from "../support/trial-figures.ts";

it("all of them are looked at", () => {
  const models = allSources()
    .filter(({ file }) => file.startsWith("dsl-examples/"))
    .flatMap(({ file, text }) => [...text.matchAll(/^model (\w+)/gm)].map(([, m]) => `${file} ${m}`));
  expect(examples.map((e) => `dsl-examples/${e.file}.mdl ${e.model}`).sort()).toEqual(models.sort());
});

it.each(examples)(
  "$model compiles for every target",
  (example) => {
    const { artefact } = compileExample(example, { targets: allTargets.map((t) => t.name), verify: false });
    const model = checkExample(example);
    const names = [...model.entries.map((e) => e.name), ...model.trains.map((t) => `${t.name}_step`)];
    expect(artefact.programs.map((p) => p.target)).toEqual(allTargets.map((t) => t.name));
    for (const program of artefact.programs) expect(program.entries.map((e) => e.name)).toEqual(names);
  },
  120_000,
);

it.each(Object.entries(exampleFigures))(
  "%s has the parameters of PyTorch's module, by name and shape",
  (_, f) => {
    const { params, buffers } = checkTrial(f);
    const own = [...params, ...buffers.filter((b) => !b.internal)];
    expect(Object.fromEntries(own.map((p) => [p.path, p.shape]))).toEqual(f.parameters);
  },
);

it("the text of an LSTM does not grow with its sequence", () => {
  const lstm = examples.find((e) => e.model === "CharLSTM") as Example;
  const made = (T?: number) => {
    const { artefact } = compileExample(lstm, {
      targets: ["gpu"],
      bind: T ? { T } : undefined,
      verify: false,
    });
    const [{ entries }] = artefact.programs;
    return {
      steps: entries.map((e) => e.body.steps.length),
      js: emitModule(artefact, { runtime: "import" }).js.length,
    };
  };
  // Where sizes are known, schedules are chosen by them: a long sum takes a launch more than a short one, and that is all.
  const [open, short, long, longest] = [made(), made(8), made(512), made(4096)];
  for (const { steps } of [long, longest])
    for (const [i, n] of steps.entries()) expect(Math.abs(n - short.steps[i])).toBeLessThanOrEqual(6);
  for (const { js } of [open, long, longest]) expect(Math.abs(js / short.js - 1)).toBeLessThan(0.25);
}, 120_000);
