// The models that are compiled: those of the tree as it is, whatever the revision, so that one which refuses a model says so.
// In: the tree's top. Out: sources with all they import.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { generateProgram } from "../../test/support/programs/generate.ts";
import { wide } from "../../test/support/wide.ts";
import type { ReplayModel } from "./record.ts";

/** Folders whose files hold models, with all that these import. */
const FOLDERS = [
  "dsl-examples",
  "bench/models",
  "test/programs",
  "test/support/sketches",
  "test/trial",
] as const;

/** Models too large to compile for every look at a change: `npm run bench -- --compile` times them. */
const LARGE = /^bench\/models\/compile\//;

/** Every layer of `std/nn` as a model that trains: how it is made, its inputs, and the call's result. */
const LAYERS: Readonly<Record<string, readonly [make: string, inputs: string, result: string]>> = {
  Linear: ["Linear(12, 20)", "x: f32[N, 12]", "it(x)"],
  Conv2d: ["Conv2d(4, 8, 3, stride = 2, padding = 1)", "x: f32[N, 4, H, W]", "it(x)"],
  "Conv2d grouped": ["Conv2d(8, 8, 3, padding = 1, groups = 8)", "x: f32[N, 8, 12, 12]", "it(x)"],
  "Conv2d dilated": ["Conv2d(4, 8, 3, dilation = 2)", "x: f32[N, 4, 12, 12]", "it(x)"],
  Conv1d: ["Conv1d(4, 8, 3, padding = 1)", "x: f32[N, 4, L]", "it(x)"],
  Conv3d: ["Conv3d(4, 8, 3, stride = 2, padding = 1)", "x: f32[N, 4, 6, 8, 8]", "it(x)"],
  ConvTranspose1d: ["ConvTranspose1d(4, 8, 3, stride = 2)", "x: f32[N, 4, 12]", "it(x)"],
  ConvTranspose2d: ["ConvTranspose2d(4, 8, 2, stride = 2)", "x: f32[N, 4, 6, 6]", "it(x)"],
  ConvTranspose3d: ["ConvTranspose3d(4, 8, 2, stride = 2)", "x: f32[N, 4, 3, 4, 4]", "it(x)"],
  Embedding: ["Embedding(50, 16)", "x: i32[B, T]", "it(x)"],
  BatchNorm1d: ["BatchNorm1d(12)", "x: f32[N, 12]", "it(x)"],
  BatchNorm2d: ["BatchNorm2d(4)", "x: f32[N, 4, H, W]", "it(x)"],
  BatchNorm3d: ["BatchNorm3d(4)", "x: f32[N, 4, 3, 4, 4]", "it(x)"],
  LayerNorm: ["LayerNorm(24)", "x: f32[B, T, 24]", "it(x)"],
  RMSNorm: ["RMSNorm(24)", "x: f32[B, T, 24]", "it(x)"],
  Dropout: ["Dropout(0.2)", "x: f32[B, T, 24]", "it(x)"],
  MaxPool2d: ["MaxPool2d(3, stride = 2, padding = 1)", "x: f32[N, 4, H, W]", "it(x)"],
  AvgPool2d: ["AvgPool2d(2)", "x: f32[N, 4, H, W]", "it(x)"],
  MaxPool1d: ["MaxPool1d(2)", "x: f32[N, 4, L]", "it(x)"],
  AvgPool1d: ["AvgPool1d(2)", "x: f32[N, 4, L]", "it(x)"],
  MaxPool3d: ["MaxPool3d(2)", "x: f32[N, 4, 4, 6, 6]", "it(x)"],
  AvgPool3d: ["AvgPool3d(2)", "x: f32[N, 4, 4, 6, 6]", "it(x)"],
  global_avg_pool: ["global_avg_pool", "x: f32[N, 4, H, W]", "it(x)"],
  BasicBlock: ["BasicBlock(4, 8, stride = 2)", "x: f32[N, 4, 12, 12]", "it(x)"],
  Bottleneck: ["Bottleneck(16, 4)", "x: f32[N, 16, 12, 12]", "it(x)"],
  MLP: ["MLP(24, p = 0.1)", "x: f32[B, T, 24]", "it(x)"],
  SelfAttention: ["SelfAttention(32, 4, causal = true)", "x: f32[B, T, 32]", "it(x)"],
  ZeroBiasLinear: ["ZeroBiasLinear(12, 20)", "x: f32[N, 12]", "it(x)"],
  MultiHeadAttention: ["MultiHeadAttention(32, 4)", "x: f32[B, T, 32], y: f32[B, S, 32]", "it(x, y, y)"],
  TransformerBlock: ["TransformerBlock(32, 4, p = 0.1)", "x: f32[B, T, 32]", "it(x)"],
  LSTM: ["LSTM(12, 16)", "x: f32[B, T, 12]", "it(x).y"],
  GRU: ["GRU(12, 16)", "x: f32[B, T, 12]", "it(x).y"],
};

/** Every function of `std/loss`: its inputs, and the call. */
const LOSSES: Readonly<Record<string, readonly [inputs: string, call: string]>> = {
  l1_loss: ["x: f32[N, 8], y: f32[N, 8]", "(x * w, y)"],
  smooth_l1_loss: ["x: f32[N, 8], y: f32[N, 8]", "(x * w, y)"],
  hinge_loss: ["x: f32[N, 8], y: f32[N, 8]", "(x * w, y)"],
  contrastive_loss: ["x: f32[N, 8], y: f32[N, 8]", "(x * w, y)"],
  huber_loss: ["x: f32[N, 8], y: f32[N, 8]", "(x * w, y)"],
  binary_cross_entropy_with_logits: ["x: f32[N, 8], y: f32[N, 8]", "(x * w, y)"],
  nll_loss: ["x: f32[N, 8], y: i32[N]", "(log_softmax(x * w), y)"],
};

/** Programs drawn at random, of the first seeds: what nobody thought of. */
const RANDOM = 24;

export function replayModels(root: string): ReplayModel[] {
  const made: ReplayModel[] = [];
  const inline = (id: string, source: string): void => {
    made.push({ id, file: `${id.replaceAll(" ", "-")}.mdl`, source });
  };
  for (const folder of FOLDERS) made.push(...modelsIn(root, folder).filter((m) => !LARGE.test(m.file)));
  for (const [name, [make, inputs, result]] of Object.entries(LAYERS))
    inline(
      `std/nn ${name}`,
      `import { ${name.split(" ")[0]} } from "std/nn"
model M(scale: int = 1) {
  it = ${make}
  param w: f32[] = ones()
  fn call(${inputs}) { ${result} * w }
  fn loss(${inputs}) -> f32 { mean(square(call(${inputs.replaceAll(/: \w+\[[^\]]*\]/g, "")}))) }
}
train fit for M { minimize loss; with adam(lr = 0.01) }
`,
    );
  for (const [name, [inputs, call]] of Object.entries(LOSSES))
    inline(
      `std/loss ${name}`,
      `import { ${name} } from "std/loss"
model M {
  param w: f32[8] = ones()
  fn loss(${inputs}) -> f32 { ${name}${call} }
}
train fit for M { minimize loss; with sgd(lr = 0.01) }
`,
    );
  for (const [name, source] of Object.entries(wide)) inline(`wide ${name}`, source);
  for (let seed = 0; seed < RANDOM; seed++) inline(`random ${seed}`, generateProgram(seed));
  return made;
}

/** The models of a folder's files, and each again for every value that its author names for a choice. */
function modelsIn(root: string, folder: string): ReplayModel[] {
  if (!existsSync(join(root, folder))) return [];
  const names = readdirSync(join(root, folder), { recursive: true })
    .map((name) => String(name).replaceAll("\\", "/"))
    .filter((name) => name.endsWith(".mdl"))
    .sort();
  const texts = Object.fromEntries(
    names.map((name) => [`${folder}/${name}`, readFileSync(join(root, folder, name), "utf8")]),
  );
  return Object.entries(texts).flatMap(([file, source]) => {
    const imports = /^import .* from "\./m.test(source) ? texts : undefined;
    return [...source.matchAll(/^model (\w+)(.*)/gm)].flatMap(([, model, parameters]) => {
      const plain: ReplayModel = { id: `${file} ${model}`, file, source, imports, model };
      // `how: "transposed" | "bilinear" = "transposed"`
      const choice = /(\w+): ((?:"\w+" \| )+"\w+") = "(\w+)"/.exec(parameters);
      if (!choice) return [plain];
      const [, name, values, first] = choice;
      const others = [...values.matchAll(/"(\w+)"/g)].map(([, v]) => v).filter((v) => v !== first);
      return [plain, ...others.map((v) => ({ ...plain, id: `${plain.id} ${v}`, set: { [name]: v } }))];
    });
  });
}
