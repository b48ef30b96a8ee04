// What is timed. In: nothing. Out: workloads by name, each with its data, what must come out, how the language says it, and
// the network that peers are told. Weights and inputs are hash-made, as in the tests; what must come out is PyTorch's, in
// double precision (figures.ts).
import type { CompileOptions } from "../compiler/core/index.ts";
import { integers, parameter, signed } from "../test/support/hashing.ts";
import { expectedOf } from "./figures.ts";
import * as models from "./networks/models.ts";
import type { Network, Training } from "./networks/network.ts";
import type { HostTensor, MdlModel, Workload, WorkloadData } from "./workload.ts";

interface Spec {
  readonly name: string;
  readonly what: string;
  readonly network: () => Network;
  readonly mdl: MdlModel;
  /** The ints of an input are below this. */
  readonly below?: number;
  /** Others are as their names say (`parameter`). */
  readonly signedWeights?: RegExp;
  readonly point?: Workload["point"];
}

/** The weights a network names, whole; and inputs of its shapes. */
export function dataOf(
  network: Network,
  spec: Pick<Spec, "below" | "signedWeights">,
): Omit<WorkloadData, "expected"> {
  const weights = new Map<string, HostTensor>();
  for (const [name, { shape, part }] of Object.entries(network.params)) {
    const path = part?.of ?? name;
    const whole = part?.shape ?? shape;
    if (weights.has(path)) continue;
    weights.set(path, {
      shape: whole,
      data: (spec.signedWeights?.test(path) ? signed : parameter)(path, whole),
    });
  }
  const inputs = Object.fromEntries(
    Object.entries(network.inputs).map(([name, { shape, dtype }]) => [
      name,
      { shape, data: dtype === "i32" ? integers(name, shape, spec.below ?? 10) : signed(name, shape) },
    ]),
  );
  return { inputs, weights };
}

function workload(spec: Spec): Workload {
  let built: Network | undefined;
  const network = (): Network => {
    built ??= spec.network();
    return built;
  };
  return {
    name: spec.name,
    what: spec.what,
    mdl: spec.mdl,
    point: spec.point,
    get flops() {
      return network().flops;
    },
    get training() {
      return network().training !== undefined;
    },
    get network() {
      return network();
    },
    data: () => ({ ...dataOf(network(), spec), expected: expectedOf(spec.name) }),
  };
}

/** A model's entry, or a training step by an optimiser of ours in place of the file's. */
const from = (file: string, entry: string, model?: string, options: CompileOptions = {}): MdlModel => ({
  file,
  entry,
  options: { ...options, ...(model ? { model } : {}), entries: [entry] },
});

const examples = "dsl-examples";
const own = "bench/models";

function step(
  file: string,
  model: string,
  { kind, ...numbers }: Training["optimizer"],
  options?: CompileOptions,
): MdlModel {
  const args = Object.entries(numbers).map(([name, value]) => `${name} = ${value}`);
  return {
    ...from(`${examples}/${file}`, "bench_step", model, options),
    append: `\ntrain bench for ${model} { minimize loss;  with ${kind}(${args.join(", ")}) }\n`,
  };
}

const ADAM = { kind: "adam", lr: 1e-3 } as const;
const SGD = { kind: "sgd", lr: 0.01, momentum: 0.9 } as const;
const transformer = `${examples}/transformer.mdl`;
const gptOptions = (depth: number): CompileOptions => ({ set: { p: 0, depth } });
const gptCall = (depth: number): MdlModel => from(transformer, "logits", "GPT", gptOptions(depth));
const convnetCall = from(`${examples}/convnet.mdl`, "logits", "ConvNet");
const encoderCall = from(transformer, "encode", "Encoder");

const PLACE = 64;

const specs: readonly Spec[] = [
  {
    name: "a_matmul1024",
    what: "matmul 1024 x 1024 x 1024, both factors given at the call",
    network: () => models.matmul(1024),
    mdl: from(`${own}/matmul.mdl`, "y"),
  },
  {
    name: "b_conv64_56",
    what: "conv 3 x 3 + relu + pool 2 x 2, 64 to 64 channels, one 56 x 56 image",
    network: () => models.convBlock(64, 64, 56),
    mdl: from(`${own}/conv_block.mdl`, "y"),
  },
  { name: "c_convnet28", what: "ConvNet, 32 images", network: () => models.convnet(32), mdl: convnetCall },
  {
    name: "d_resnet18",
    what: "ResNet-18, one 224 x 224 image",
    network: () => models.resnet18(1),
    mdl: from(`${examples}/resnet18.mdl`, "logits"),
  },
  {
    name: "e_mobilenetv2",
    what: "MobileNetV2, one 224 x 224 image",
    network: () => models.mobilenetv2(1),
    mdl: from(`${own}/compile/mobilenetv2.mdl`, "logits"),
  },
  {
    name: "f_encoder",
    what: "transformer encoder block, 128 tokens of 256",
    network: () => models.encoder(1, 128),
    mdl: encoderCall,
  },
  {
    name: "g_train",
    what: "ConvNet training step, Adam, 32 images",
    network: () => models.convnet(32, ADAM),
    mdl: step("convnet.mdl", "ConvNet", ADAM, { set: { p: 0 } }),
  },
  {
    name: "vgg16",
    what: "VGG-16 with one linear layer, one 224 x 224 image",
    network: () => models.vgg16(1),
    mdl: from(`${own}/vgg16.mdl`, "logits"),
  },
  {
    name: "resnet50",
    what: "ResNet-50, one 224 x 224 image",
    network: () => models.resnet50(1),
    mdl: from(`${own}/compile/resnet50.mdl`, "logits"),
  },
  {
    name: "unet",
    what: "U-Net of width 32, three halvings, one 128 x 128 image",
    network: () => models.unet(1, 128, 32, 3),
    mdl: from(`${own}/unet.mdl`, "y"),
  },
  {
    name: "gpt_prefill",
    what: "GPT of 4 blocks, 128 tokens at once",
    network: () => models.gpt(1, 128, 4),
    mdl: gptCall(4),
    below: 65,
  },
  {
    name: "gpt_token",
    what: `the same GPT, one token behind ${PLACE}`,
    network: () => models.gptToken(PLACE, 4),
    mdl: { ...from(transformer, "next", "GPT", gptOptions(4)), scalars: { at: PLACE }, open: true },
    below: 65,
    signedWeights: /\.(keys|values)$/,
  },
  {
    name: "lstm",
    what: "LSTM of 128 between embedding and head, 16 sequences of 64 characters",
    network: () => models.charLstm(16, 64),
    mdl: from(`${examples}/lstm.mdl`, "logits"),
    below: 65,
  },
  {
    name: "resnet20_train",
    what: "ResNet-20 training step, SGD with momentum, 32 images",
    network: () => models.resnet20(32, SGD),
    mdl: step("resnet20.mdl", "ResNet20", SGD),
  },
  {
    name: "gpt_train",
    what: "GPT training step, Adam, 8 sequences of 128 characters",
    network: () => models.gpt(8, 128, 4, ADAM),
    mdl: step("transformer.mdl", "GPT", ADAM, gptOptions(4)),
    below: 65,
  },
  {
    name: "softmax",
    what: "softmax of 1024 rows of 1024",
    network: () => models.softmax(1024, 1024),
    mdl: from(`${own}/rows.mdl`, "y", "Softmax"),
  },
  {
    name: "layer_norm",
    what: "layer norm of 1024 rows of 1024",
    network: () => models.layerNorm(1024, 1024),
    mdl: from(`${own}/rows.mdl`, "y", "Norm"),
  },
  {
    name: "attention",
    what: "attention, 8 x 4 heads of 64, 256 tokens",
    network: () => models.attention(8, 4, 256, 64),
    mdl: from(`${own}/attention.mdl`, "y"),
  },
];

export const workloads: readonly Workload[] = specs.map(workload);

/** The workloads that `--quick` takes: those that peers were measured with first. */
export const quickWorkloads: readonly string[] = workloads.slice(0, 7).map((w) => w.name);

interface CurveSpec {
  readonly name: string;
  readonly axis: string;
  readonly points: readonly number[];
  readonly spec: (at: number) => Omit<Spec, "name" | "point">;
}

const curveSpecs: readonly CurveSpec[] = [
  {
    name: "convnet_batch",
    axis: "batch",
    points: [1, 8, 32, 128],
    spec: (n) => ({ what: `ConvNet, ${n} images`, network: () => models.convnet(n), mdl: convnetCall }),
  },
  {
    name: "encoder_length",
    axis: "tokens",
    points: [64, 128, 256, 512],
    spec: (t) => ({
      what: `encoder block, ${t} tokens`,
      network: () => models.encoder(1, t),
      mdl: encoderCall,
    }),
  },
  {
    name: "gpt_depth",
    axis: "blocks",
    points: [2, 4, 8, 16],
    spec: (n) => ({
      what: `GPT of ${n} blocks`,
      network: () => models.gpt(1, 64, n),
      mdl: gptCall(n),
      below: 65,
    }),
  },
];

/** Points of curves: a workload each, called CURVE_AT. */
export const curves: readonly Workload[] = curveSpecs.flatMap(({ name, axis, points, spec }) =>
  points.map((at) => workload({ ...spec(at), name: `${name}_${at}`, point: { curve: name, axis, at } })),
);
export const curveNames: readonly string[] = curveSpecs.map((c) => c.name);
