// The examples on the adapter: every entry and step at a small size as the reference evaluator has them, and at full size as PyTorch
// has them (test/figures/examples.json). A software adapter takes seconds to compile a model's kernels, so an ordinary run takes
// those that nothing else looks at and that are quick; MDL_TEST_SECONDS takes all, the small ones on every target.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, type TestContext } from "vitest";
import type { Dense } from "../../compiler/core/ir/types.ts";
import { dense } from "../../compiler/core/reference/evaluate.ts";
import { type Generated, type Generator, generate } from "../../runtime/generate/index.ts";
import { targets } from "../support/adapter.ts";
import { allclose } from "../support/allclose.ts";
import { patient } from "../support/budget.ts";
import {
  checkExample,
  compileWithDescent,
  type Example,
  exampleInputs,
  examples,
  exampleWeights,
  withDescent,
} from "../support/examples.ts";
import { projectFile } from "../support/files.ts";
import { compileText, type Net, testCompiled } from "../support/module.ts";
import { denseTensors, referenceNet } from "../support/reference.ts";
import { writeSafetensors } from "../support/safetensors.ts";
import { sharedData } from "../support/shared-data.ts";
import { compileTrial, exampleFigures, figureAgrees, trialWeights } from "../support/trial-figures.ts";

const USUAL = ["LinearRegression", "MLP", "VAE", "VGG16Head", "CharLSTM", "Encoder"];
const QUICK = ["linear", "lenet5", "vae", "encoder"];

const small = examples.filter((e) => patient || USUAL.includes(e.model));
describe.each(small.map((e) => [e.model, e] as const))("%s, small", (_, example) => {
  const own = patient ? targets.map((t) => t.name) : ["own"];
  it.for(own)("is what the reference evaluator has, target %s", async (name, context: TestContext) => {
    await smallAgrees(example, context, name === "own" ? undefined : name);
  });
});

async function smallAgrees(example: Example, context: TestContext, target?: string): Promise<void> {
  const model = checkExample(example);
  const compiled = compileWithDescent(example, target === undefined ? {} : { targets: [target] });
  const weights = exampleWeights(model);
  const module = testCompiled(() => compiled);
  const load = (): Promise<Net> => module.load(context, { weights: writeSafetensors(weights), target });
  const judge = (from = weights) => referenceNet(compiled, { tensors: denseTensors(from) });
  const denseOf = (inputs: ReturnType<typeof exampleInputs>): Record<string, Dense> =>
    Object.fromEntries(
      Object.entries(inputs).map(([name, { dtype, shape, data }]) => [name, dense(dtype, shape, data)]),
    );
  const close = (what: string, got: ArrayLike<number>, expected: Dense, nudged = expected): void => {
    const { data, shape } = expected;
    const scale = data.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    const moved = data.reduce((most, x, i) => Math.max(most, Math.abs(x - nudged.data[i])), 0);
    // A test that lets everything pass would say nothing.
    expect(moved, `${what}: a millionth moves it by a twentieth`).toBeLessThan(scale / 20 + 1e-6);
    const atol = 1e-4 * scale + 2 * moved + 1e-6;
    allclose(got, data, { name: `${example.model}: ${what}`, shape, rtol: 1e-3, atol });
  };

  const net = await load();
  for (const { name } of model.entries) {
    const inputs = exampleInputs(example, model, name);
    const expected = judge().call(name, denseOf(inputs));
    // Caches are empty again; running statistics would be, too.
    await net.base.reset();
    await net.base.loadWeights(writeSafetensors(weights));
    const got = await net.results(name, inputs);
    for (const [result, value] of Object.entries(expected)) close(`${name}, ${result}`, got[result], value);
  }
  net.base.dispose();
  for (const { name } of model.trains) {
    const inputs = exampleInputs(example, model, name);
    // A deep net's gradient moves far by little: by how much is asked of the reference.
    const [reference, nudged] = [judge(), judge(byAMillionth(weights))];
    const [expected, other] = [reference, nudged].map((net) => net.step(name, denseOf(inputs)));
    const trained = await load();
    close(`${name}, loss`, [await trained.step(name, inputs)], expected.loss, other.loss);
    for (const path of weights.keys())
      close(`${name}, ${path}`, await trained.parameter(path), reference.tensor(path), nudged.tensor(path));
    trained.base.dispose();
  }
}

/** The same weights, each off by a millionth at most, either way. */
const byAMillionth = (weights: ReturnType<typeof exampleWeights>): ReturnType<typeof exampleWeights> =>
  new Map(
    [...weights].map(([path, { shape, data }], i) => [
      path,
      { shape, data: data.map((x, j) => x * (1 + 1e-6 * (((7919 * j + 104729 * i) % 201) / 100 - 1))) },
    ]),
  );

describe("at full size", () => {
  it.for(Object.entries(exampleFigures).filter(([name]) => patient || QUICK.includes(name)))(
    "%s is what PyTorch has",
    async ([name, f], context: TestContext) => {
      const compiled = compileTrial(f, {}, withDescent(projectFile(f.source)));
      const module = testCompiled(() => compiled);
      const weights = writeSafetensors(trialWeights(f));
      await figureAgrees(name, f, compiled, () => module.load(context, { weights }));
    },
  );
});

it("Llama tells a trained model's story, token by token", async (context) => {
  const folder = sharedData(context, "models", "stories260K");
  const { greedy_tokens: story, text } = JSON.parse(
    readFileSync(join(folder, "expected_greedy_200.json"), "utf8"),
  ) as { readonly greedy_tokens: readonly number[]; readonly text: string };
  const words = JSON.parse(readFileSync(join(folder, "vocab.json"), "utf8")) as readonly [string, number][];
  const byte = (word: string): number[] => {
    const hex = /^<0x(..)>$/.exec(word)?.[1];
    return hex ? [Number.parseInt(hex, 16)] : [...new TextEncoder().encode(word)];
  };
  const tokenizer = {
    size: words.length,
    ends: [],
    encode: () => [],
    bytes: (id: number) => Uint8Array.from(byte(words[id][0])),
  };
  const source = projectFile("dsl-examples/llama.mdl");
  const compiled = compileText(source, { entries: ["next"] }, "llama.mdl");
  const weights = join(folder, "model.safetensors");
  const net = await testCompiled(() => compiled).load(context, { weights });
  const told: Generated[] = [];
  const options = { tokenizer, prompt: story.slice(0, 1), tokens: story.length - 1, temperature: 0 };
  for await (const token of generate(net.base as Net["base"] & Generator, compiled.artefact, options))
    told.push(token);
  expect(told.map((t) => t.id)).toEqual(story.slice(1));
  expect(
    told
      .map((t) => t.text)
      .join("")
      .trimStart(),
  ).toBe(text);
});
