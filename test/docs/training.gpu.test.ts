// The programs of the pages are trained, not only compiled: those without a train block get one that teaches each of their
// entries. A few steps are those of the reference evaluator, parameter by parameter; more of them lower the loss. A layer
// whose gradient never arrives (a loop's, once) is found by either.
import { describe, expect, it } from "vitest";
import type { Compiled } from "../../compiler/core/index.ts";
import { dense } from "../../compiler/core/reference/evaluate.ts";
import { fencesOf } from "../support/fences.ts";
import { integers, unitFloats } from "../support/hashing.ts";
import { compileText, type Inputs, testCompiled } from "../support/module.ts";
import { referenceNet } from "../support/reference.ts";

const pages = ["docs/language.md", "docs/training.md", "README.md"];
const programs = pages.flatMap((page) =>
  fencesOf(page)
    .filter((f) => f.language === "mdl" && f.kind !== "fragment")
    .map((f) => ({ at: `${page}:${f.line}`, source: f.body })),
);

/** Sizes the symbols of an example have in this test. */
const SIZES: Readonly<Record<string, number>> = { N: 6, B: 3, T: 4 };

/** The program with a loss over what its entries give, where it trains nothing itself. */
function taught(source: string): string | undefined {
  const { model } = compileText(source, { targets: ["baseline"] });
  if (model.trains.length > 0) return source;
  if (model.params.every((p) => p.frozen)) return undefined;
  const inputs = new Map(
    model.entries
      .flatMap((e) => e.inputs)
      .map((p) => [p.name, `${p.name}: ${p.type.dtype}[${p.shapeText.join(", ")}]`]),
  );
  const terms = model.entries.flatMap((e) => {
    const call = `${e.name}(${e.inputs.map((p) => p.name).join(", ")})`;
    if (e.outputs.length === 1) return e.outputs[0].type.dtype === "f32" ? [call] : [];
    return e.outputs.filter((o) => o.type.dtype === "f32").map((o) => `${call}.${o.name}`);
  });
  const loss = terms.map((t) => `mean((${t} - 0.3) ** 2)`).join(" + ");
  const head = new RegExp(`^model ${model.name}\\b[^{]*\\{`, "m").exec(source);
  if (!head) throw new Error(`no model ${model.name} in the program`);
  const at = head.index + head[0].length;
  const fn = `\n  private fn taught(${[...inputs.values()].join(", ")}) -> f32 { ${loss} }\n`;
  return `${source.slice(0, at)}${fn}${source.slice(at)}\ntrain teach for ${model.name} { minimize taught; with adam(lr = 0.01) }\n`;
}

function inputsOf(
  compiled: Compiled,
  block: string,
): Record<string, { dtype: "f32" | "i32"; shape: number[]; data: Float32Array | Int32Array }> {
  const found = compiled.model.trains.find((t) => t.name === block);
  return Object.fromEntries(
    (found?.inputs ?? []).map((p) => {
      // Symbols have a size here; what the author wrote as an argument of the model is a number in the type.
      const shape = p.type.shape.map((d) => SIZES[d.key] ?? Number(d.key));
      const data =
        p.type.dtype === "f32"
          ? unitFloats(`${block}.${p.name}`, shape)
          : integers(`${block}.${p.name}`, shape, 2);
      return [p.name, { dtype: p.type.dtype as "f32" | "i32", shape, data }];
    }),
  );
}
describe.each(programs)("$at", ({ source }) => {
  const text = taught(source);
  it.skipIf(text === undefined)("takes the reference's steps, and learns", async (context) => {
    const compiled = compileText(text as string);
    const module = testCompiled(() => compiled);
    for (const { name: block } of compiled.model.trains) {
      const inputs = inputsOf(compiled, block);
      const given: Inputs = Object.fromEntries(
        Object.entries(inputs).map(([k, { shape, data }]) => [k, { shape, data }]),
      );
      const net = await module.load(context, { seed: 3, train: { totalSteps: 100 } });
      const reference = referenceNet(compiled, { seed: 3, totalSteps: 100 });
      const exact = Object.fromEntries(
        Object.entries(inputs).map(([k, v]) => [k, dense(v.dtype, v.shape, v.data)]),
      );
      const paths = compiled.artefact.params.filter((p) => !p.frozen).map((p) => p.path);
      const before = new Map(await Promise.all(paths.map(async (p) => [p, await net.parameter(p)] as const)));
      let first = Number.NaN;
      for (let step = 0; step < 3; step++) {
        const loss = await net.step(block, given);
        if (step === 0) first = loss;
        const want = reference.step(block, exact).loss.data[0];
        expect(Math.abs(loss - want), `loss of step ${step}`).toBeLessThan(
          1e-4 * Math.max(1, Math.abs(want)),
        );
      }
      let moved = 0;
      for (const path of paths) {
        const [was, now, want] = [before.get(path), await net.parameter(path), reference.tensor(path).data];
        const size = Math.hypot(...Array.from(want, (x, i) => x - Number(was?.[i])));
        const off = Math.hypot(...Array.from(want, (x, i) => x - Number(now[i])));
        if (size > 0) moved++;
        expect(off, `${path} after three steps`).toBeLessThan(1e-5 + 1e-2 * size);
      }
      expect(moved).toBeGreaterThan(0);
      let last = first;
      for (let step = 0; step < 40; step++) last = await net.step(block, given);
      expect(last).toBeLessThan(first);
    }
  });
});

it("the pages have programs to train", () => {
  expect(programs.length).toBeGreaterThan(8);
});
