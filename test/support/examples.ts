// The models of dsl-examples at sizes small enough for the reference evaluator, with inputs for each of their entries and
// steps. In: nothing. Out: compiled models, their hash-made weights and inputs.
import { evaluate } from "../../compiler/core/dims/dim.ts";
import { type CheckedModel, type Compiled, type CompileOptions, check } from "../../compiler/core/index.ts";
import { projectFile } from "./files.ts";
import { integers, parameter, unitFloats } from "./hashing.ts";
import { compileText } from "./module.ts";
import type { Operand } from "./trial-figures.ts";

export interface Example {
  readonly file: string;
  readonly model: string;
  /** Arguments that make it small. */
  readonly set: Readonly<Record<string, number>>;
  /** What its symbols are, and counts that are given at the call. */
  readonly sizes: Readonly<Record<string, number>>;
  /** Integers are below this, or what is said for an input by its name. */
  readonly below: number;
  readonly belowOf?: Readonly<Record<string, number>>;
}

const image = { N: 2, H: 32, W: 32 };

export const examples: readonly Example[] = [
  { file: "linear", model: "LinearRegression", set: { features: 3 }, sizes: { N: 5 }, below: 1 },
  { file: "mlp", model: "MLP", set: { inputs: 7, hidden: 8, classes: 4 }, sizes: { N: 5 }, below: 4 },
  { file: "convnet", model: "ConvNet", set: { width: 2 }, sizes: { N: 3 }, below: 10 },
  { file: "convnet", model: "ConvNetBN", set: { width: 2 }, sizes: { N: 3 }, below: 10 },
  { file: "lenet5", model: "LeNet5", set: { width: 3, classes: 4 }, sizes: { N: 2 }, below: 4 },
  { file: "vgg16", model: "VGG16", set: { width: 2, hidden: 6, classes: 5 }, sizes: image, below: 5 },
  { file: "vgg16", model: "VGG16Head", set: { width: 2, hidden: 6, classes: 5 }, sizes: image, below: 5 },
  // Batch norms over few elements make gradients that a millionth moves by half.
  {
    file: "resnet18",
    model: "ResNet18",
    set: { width: 4, size: 32, classes: 5 },
    sizes: { ...image, N: 4 },
    below: 5,
  },
  {
    file: "resnet50",
    model: "ResNet50",
    set: { width: 4, size: 64, classes: 5 },
    sizes: { N: 4, H: 64, W: 64 },
    below: 5,
  },
  { file: "resnet20", model: "ResNet20", set: { width: 4, depth: 1 }, sizes: image, below: 10 },
  { file: "resnet20-head", model: "ResNet20Head", set: { width: 4, depth: 1 }, sizes: image, below: 4 },
  { file: "mobilenetv2", model: "MobileNetV2", set: { width: 1, classes: 5 }, sizes: image, below: 5 },
  { file: "unet", model: "UNet", set: { width: 2, depth: 2 }, sizes: { N: 2, H: 2, W: 3 }, below: 2 },
  {
    file: "autoencoder",
    model: "Autoencoder",
    set: { inputs: 12, hidden: 8, code: 3, width: 4 },
    sizes: { N: 4 },
    below: 1,
  },
  {
    file: "autoencoder",
    model: "VAE",
    set: { inputs: 12, hidden: 8, code: 3, width: 4 },
    sizes: { N: 4, n: 3 },
    below: 1,
  },
  { file: "dcgan", model: "DCGAN", set: { nz: 5, width: 2 }, sizes: { N: 2 }, below: 1 },
  { file: "lstm", model: "CharLSTM", set: { vocab: 11, d: 5, h: 6 }, sizes: { B: 2, T: 4 }, below: 11 },
  {
    file: "encoder",
    model: "TextClassifier",
    set: { vocab: 6, d: 8, heads: 2, depth: 2, hidden: 16, context: 8 },
    sizes: { B: 3, T: 6 },
    below: 6,
    belowOf: { y: 2 },
  },
  {
    file: "transformer",
    model: "Encoder",
    set: { d: 8, heads: 2, hidden: 16 },
    sizes: { B: 2, T: 5 },
    below: 1,
  },
  {
    file: "transformer",
    model: "GPT",
    set: { vocab: 13, d: 16, heads: 2, depth: 2, context: 8 },
    sizes: { B: 2, T: 5 },
    below: 13,
    belowOf: { at: 4 },
  },
  {
    file: "llama",
    model: "Llama",
    set: { vocab: 17, d: 16, heads: 4, kv: 2, hidden: 12, depth: 2, context: 8 },
    sizes: { B: 2, T: 3 },
    below: 17,
    belowOf: { at: 4 },
  },
  {
    file: "vit",
    model: "ViT",
    set: { size: 16, patch: 8, d: 12, heads: 3, depth: 2, classes: 5 },
    sizes: { N: 2 },
    below: 5,
  },
];

/** Examples may import one another. */
const resolve = (path: string): string => projectFile(`dsl-examples/${path}`);
const textOf = ({ file }: Example): string => projectFile(`dsl-examples/${file}.mdl`);

/** The model at its small size, checked. */
export function checkExample(example: Example): CheckedModel {
  const { set, model } = example;
  const { models } = check(textOf(example), `${example.file}.mdl`, { model, set, resolve });
  if (!models?.[0]) throw new Error(`${example.file}.mdl has errors`);
  return models[0];
}

export function compileExample(example: Example, options: CompileOptions = {}): Compiled {
  const { set, model } = example;
  return compileText(textOf(example), { model, set, resolve, ...options }, `${example.file}.mdl`);
}

/**
 * A source, its train blocks with plain gradient descent: of optimisers that divide by a gradient's size the first step is the
 * gradient's sign, which rounding alone decides where it is nearly nothing.
 */
export const withDescent = (source: string): string =>
  source.replace(/^( {2}with +)\w+\(.*\)$/gm, "$1sgd(lr = 0.1)");

export function compileWithDescent(example: Example, options: CompileOptions = {}): Compiled {
  const { set, model } = example;
  return compileText(
    withDescent(textOf(example)),
    { model, set, resolve, ...options },
    `${example.file}.mdl`,
  );
}

export const exampleWeights = (
  model: CheckedModel,
): ReadonlyMap<string, { readonly shape: readonly number[]; readonly data: Float32Array }> =>
  new Map(
    [...model.params, ...model.buffers.filter((b) => !b.internal)].map(({ path, shape }) => [
      path,
      { shape, data: parameter(path, shape) },
    ]),
  );

/** Inputs of an entry, or of a train block by its name. */
export function exampleInputs(example: Example, model: CheckedModel, name: string): Record<string, Operand> {
  const found = model.entries.find((e) => e.name === name) ?? model.trains.find((t) => t.name === name);
  if (!found) throw new Error(`${model.name} has no ${name}`);
  const { sizes, below, belowOf } = example;
  return Object.fromEntries(
    found.inputs.map(({ name: port, type, counts }): [string, Operand] => {
      const shape = type.shape.map((d) => evaluate(d, sizes));
      if (type.dtype === "f32") return [port, { dtype: "f32", shape, data: unitFloats(port, shape) }];
      const data = counts ? Int32Array.of(sizes[port]) : integers(port, shape, belowOf?.[port] ?? below);
      return [port, { dtype: "i32", shape, data }];
    }),
  );
}
