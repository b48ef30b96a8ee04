// The models of test/trial, and of dsl-examples at full size, with PyTorch's figures for them (test/figures/trial.json and
// examples.json, made by make/trial.py and examples.py). In: names. Out: compiled models, the hash-made weights and inputs they
// belong to, and checks against what is kept of each tensor.
import { readFileSync } from "node:fs";
import {
  type CheckedModel,
  type Compiled,
  type CompileOptions,
  check,
  compile,
} from "../../compiler/core/index.ts";
import type { Summary } from "./figures.ts";
import { projectFile } from "./files.ts";
import { integers, parameter, probe, signed, unitFloats } from "./hashing.ts";
import type { Net } from "./module.ts";

type Rule =
  | { readonly rule: "signed" | "unit" | "bool"; readonly shape: readonly number[] }
  | { readonly rule: "integers"; readonly shape: readonly number[]; readonly below: number }
  | {
      readonly rule: "literal";
      readonly shape: readonly number[];
      readonly data: readonly (number | boolean)[];
    };

export interface TrialFigure {
  readonly source: string;
  readonly model: string;
  readonly set: Readonly<Record<string, number | boolean | string>>;
  readonly salt: string;
  readonly inputs: Readonly<Record<string, Rule>>;
  readonly parameters: Readonly<Record<string, readonly number[]>>;
  readonly entries: Readonly<
    Record<
      string,
      { readonly inputs: readonly string[]; readonly results: Readonly<Record<string, Summary>> }
    >
  >;
  /** One step from the weights above: the loss, and what it added to each parameter and running statistic. */
  readonly steps: Readonly<
    Record<
      string,
      {
        readonly inputs: readonly string[];
        readonly loss: number;
        readonly added: Readonly<Record<string, Summary>>;
      }
    >
  >;
}

const figuresIn = (name: string): Readonly<Record<string, TrialFigure>> =>
  (
    JSON.parse(readFileSync(new URL(`../figures/${name}`, import.meta.url), "utf8")) as {
      figures: Readonly<Record<string, TrialFigure>>;
    }
  ).figures;

export const trialFigures = figuresIn("trial.json");
/** The examples at full size, in the same form (make/examples.py). */
export const exampleFigures = figuresIn("examples.json");

/** Its source, with what it imports. */
const trialFile = (path: string): string | undefined =>
  /^(test\/trial|dsl-examples)\//.test(path) ? projectFile(path) : undefined;

/** The model of a figure, checked. */
export function checkTrial(f: TrialFigure): CheckedModel {
  const { models } = check(projectFile(f.source), f.source, {
    resolve: trialFile,
    model: f.model,
    ...(f.set ? { set: f.set } : {}),
  });
  if (!models?.[0]) throw new Error(`${f.source} has errors`);
  return models[0];
}

export function compileTrial(
  f: TrialFigure,
  options: CompileOptions = {},
  source = projectFile(f.source),
): Compiled {
  return compile(source, f.source, {
    resolve: trialFile,
    model: f.model,
    set: f.set,
    verify: true,
    entries: [...Object.keys(f.entries), ...Object.keys(f.steps).map((s) => `${s}_step`)],
    ...options,
  });
}

export interface Operand {
  readonly dtype: "f32" | "i32" | "bool";
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array | Uint8Array;
}

/** An input by its rule; literals with a fraction or of a float input are f32 where the port is. */
function trialInput(f: TrialFigure, name: string, dtype: string): Operand {
  const how = f.inputs[name];
  const key = f.salt + name;
  const { shape } = how;
  switch (how.rule) {
    case "signed":
      return { dtype: "f32", shape, data: signed(key, shape) };
    case "unit":
      return { dtype: "f32", shape, data: unitFloats(key, shape) };
    case "bool":
      return { dtype: "bool", shape, data: Uint8Array.from(integers(key, shape, 2)) };
    case "integers":
      return { dtype: "i32", shape, data: integers(key, shape, how.below) };
    case "literal":
      if (dtype === "bool") return { dtype, shape, data: Uint8Array.from(how.data, Number) };
      return dtype === "f32"
        ? { dtype, shape, data: Float32Array.from(how.data, Number) }
        : { dtype: "i32", shape, data: Int32Array.from(how.data, Number) };
  }
}

/** Inputs of an entry or step by name, in the dtypes that the compiled model declares. */
export function trialInputs(
  f: TrialFigure,
  compiled: Compiled,
  entry: string,
  names: readonly string[],
): Record<string, Operand> {
  const plan = compiled.artefact.programs[0].entries.find((e) => e.name === entry);
  return Object.fromEntries(
    names.map((name) => [
      name,
      trialInput(f, name, plan?.inputs.find((p) => p.name === name)?.dtype ?? "f32"),
    ]),
  );
}

export const trialWeights = (
  f: TrialFigure,
): ReadonlyMap<string, { shape: readonly number[]; data: Float32Array }> =>
  new Map(
    Object.entries(f.parameters).map(([path, shape]) => [
      path,
      { shape, data: parameter(f.salt + path, shape) },
    ]),
  );

/**
 * Throws unless a tensor is the one summarised, to `tolerance` of its norm (or of `floor`, where it is nearly nothing: the
 * gradient of a bias in front of a batch norm is rounding alone).
 */
export function checkSummary(
  what: string,
  name: string,
  actual: ArrayLike<number>,
  expected: Summary,
  tolerance: number,
  floor: number,
): void {
  const values = Array.from(actual);
  const size = expected.shape.reduce((a, b) => a * b, 1);
  if (values.length !== size)
    throw new Error(`${what}: ${name} has ${values.length} elements, expected ${size}`);
  // The probe's direction has elements below 1, so neither it nor the sum moves by more than the norm of an error times
  // the root of the number of elements.
  const allowed = tolerance * Math.max(expected.norm, floor * Math.sqrt(size));
  const checks: [string, number, number, number][] = [
    ["norm", Math.hypot(...values), expected.norm, allowed],
    ["sum", values.reduce((a, b) => a + b, 0), expected.sum, allowed * Math.sqrt(size)],
    ["probe", probe(name, values), expected.probe, allowed * Math.sqrt(size)],
    ...expected.first.map((e, i): [string, number, number, number] => [
      `element ${i}`,
      values[i],
      e,
      allowed,
    ]),
  ];
  for (const [kind, got, want, most] of checks)
    if (!(Math.abs(got - want) <= most))
      throw new Error(
        `${what}: ${name}: ${kind} is ${got}, PyTorch's is ${want} (allowed ${most.toExponential(1)})`,
      );
}

/** Throws unless a net that `load` gives has the figure's results, and each step from new ones its loss and what it added. */
export async function figureAgrees(
  name: string,
  f: TrialFigure,
  compiled: Compiled,
  load: () => Promise<Net>,
): Promise<void> {
  const net = await load();
  for (const [entry, { inputs, results }] of Object.entries(f.entries)) {
    const out = await net.results(entry, trialInputs(f, compiled, entry, inputs));
    for (const [result, summary] of Object.entries(results))
      checkSummary(`${name} ${entry}`, result, out[result], summary, 1e-4, 1e-4);
  }
  net.base.dispose();
  for (const [block, { inputs, loss, added }] of Object.entries(f.steps)) {
    const trained = await load();
    const got = await trained.step(block, trialInputs(f, compiled, `${block}_step`, inputs));
    if (!(Math.abs(got - loss) < 1e-4 * Math.max(1, Math.abs(loss))))
      throw new Error(`${name} ${block}: the loss is ${got}, PyTorch's is ${loss}`);
    for (const [path, summary] of Object.entries(added)) {
      const before = parameter(f.salt + path, f.parameters[path]);
      const after = await trained.parameter(path);
      const delta = Array.from(before, (x, i) => Number(after[i]) - x);
      checkSummary(`${name} ${block}`, path, delta, summary, 1e-3, 1e-4);
    }
    trained.base.dispose();
  }
}
