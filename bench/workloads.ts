// What is timed. In: nothing. Out: workloads by name, each with its data, what must come out, and how the language says it.
// Weights and inputs are hash-made, as in the tests; networks are held to PyTorch's figures, the rest to bench/reference.ts.
import type { CompileOptions } from "../compiler/core/index.ts";
import { Figure, type FigureInfo } from "../test/support/figures.ts";
import { parameter, signed } from "../test/support/hashing.ts";
import { readSafetensors } from "../test/support/safetensors.ts";
import { readBytes } from "./paths.ts";
import { convBlock, type Expected, matmulElements } from "./reference.ts";

export interface HostTensor<Data = Float32Array> {
  readonly shape: readonly number[];
  readonly data: Data;
}

/** What the systems are given, in PyTorch's layouts; and what the first call must then give. */
export interface WorkloadData {
  readonly inputs: Readonly<Record<string, HostTensor<Float32Array | Int32Array>>>;
  /** Parameters and running statistics by path. */
  readonly weights: ReadonlyMap<string, HostTensor>;
  /** By result; for a training step also parameters after it, by path. */
  expected(): Readonly<Record<string, Expected>>;
}

/** How mdl says it. */
export interface MdlModel {
  readonly file: string;
  /** Added to the file's text: a train block. */
  readonly append?: string;
  readonly options: CompileOptions;
  readonly entry: string;
}

export interface Workload {
  readonly name: string;
  readonly what: string;
  /** Floating-point operations of a call: two for a multiplication and an addition. */
  readonly flops: number;
  readonly training?: boolean;
  readonly mdl: MdlModel;
  data(): WorkloadData;
}

const SIDE = 1024;
export const matmulSize = { m: SIDE, k: SIDE, n: SIDE };
const matmul: Workload = {
  name: "a_matmul1024",
  what: "matmul 1024 x 1024 x 1024",
  flops: 2 * SIDE ** 3,
  mdl: { file: "bench/models/matmul.mdl", options: { entries: ["y"] }, entry: "y" },
  data() {
    const shape = [SIDE, SIDE];
    const a = signed("a", shape);
    const b = signed("b", shape);
    return {
      inputs: { a: { shape, data: a }, b: { shape, data: b } },
      weights: new Map(),
      expected: () => ({ y: matmulElements(a, b, SIDE, SIDE, SIDE) }),
    };
  },
};

const convFlops = (cin: number, cout: number, side: number): number => 2 * cin * cout * 9 * side * side;

export const convSize = { cin: 64, cout: 64, height: 56, width: 56 };
const conv: Workload = {
  name: "b_conv64_56",
  what: "conv 3 x 3 + relu + pool, 64 to 64 channels, 56 x 56",
  flops: convFlops(64, 64, 56),
  mdl: { file: "bench/models/conv_block.mdl", options: { entries: ["y"] }, entry: "y" },
  data() {
    const { cin, cout, height, width } = convSize;
    const shape = [1, cin, height, width];
    const x = signed("x", shape);
    const weights = new Map(
      Object.entries({ weight: [cout, cin, 3, 3], bias: [cout] }).map(([path, shape]) => [
        path,
        { shape, data: parameter(path, shape) },
      ]),
    );
    return {
      inputs: { x: { shape, data: x } },
      weights,
      expected: () => ({ y: convBlock(x, weights.get("weight")!.data, weights.get("bias")!.data, convSize) }),
    };
  },
};

/** An input of a figure. */
function given<T extends Float32Array | Int32Array>(f: Figure, name: string): HostTensor<T> {
  return { shape: f.info.inputs[name].shape, data: f.inputs()[name] as T };
}

function figure(name: string): Figure {
  const { metadata, tensors } = readSafetensors(readBytes(`test/figures/${name}.safetensors`));
  return new Figure(JSON.parse(metadata["figure"]) as FigureInfo, tensors);
}

const BATCH = 32;
/** The figure's rows, each as often, so that its mean loss and gradients are the batch's, too; no two eights are alike. */
const rowOf = (i: number, rows: number): number => (5 * i + Math.floor(i / rows)) % rows;

/** A batch of the figure's rows. */
function batch<T extends Float32Array | Int32Array>({ shape, data }: HostTensor<T>): HostTensor<T> {
  return { shape: [BATCH, ...shape.slice(1)], data: repeat(data, shape[0]) };
}

function repeat<T extends Float32Array | Int32Array>(values: T, rows: number): T {
  const each = values.length / rows;
  const out = values.constructor as new (length: number) => T;
  const repeated = new out(BATCH * each);
  for (let i = 0; i < BATCH; i++) {
    const from = rowOf(i, rows) * each;
    repeated.set(values.subarray(from, from + each), i * each);
  }
  return repeated;
}

const convnetFlops =
  BATCH * (convFlops(1, 32, 28) + convFlops(32, 64, 14) + convFlops(64, 128, 7) + 2 * 128 * 3 * 3 * 10);

const convnet: Workload = {
  name: "c_convnet28",
  what: "ConvNet, batch 32",
  flops: convnetFlops,
  mdl: {
    file: "dsl-examples/convnet.mdl",
    options: { model: "ConvNet", entries: ["logits"] },
    entry: "logits",
  },
  data() {
    const f = figure("convnet_full");
    return {
      inputs: { x: batch(given(f, "x")) },
      weights: f.weights(),
      expected: () => ({ logits: { values: batch(f.expected("logits")).data } }),
    };
  },
};

const resnet18: Workload = {
  name: "d_resnet18",
  what: "ResNet-18, 224 x 224",
  flops: 3628e6,
  mdl: {
    file: "dsl-examples/resnet18.mdl",
    options: { model: "ResNet18", entries: ["logits"] },
    entry: "logits",
  },
  data() {
    const f = figure("resnet18");
    return {
      inputs: { x: given(f, "x") },
      weights: f.weights(),
      expected: () => ({ logits: { values: f.expected("logits").data } }),
    };
  },
};

const LR = 1e-3;
const training: Workload = {
  name: "g_train",
  what: "ConvNet training step, Adam, batch 32",
  // Forward, the gradient of what goes in and the gradient of the weights.
  flops: 3 * convnetFlops,
  training: true,
  mdl: {
    file: "dsl-examples/convnet.mdl",
    append: `\ntrain adam for ConvNet { minimize loss;  with adam(lr = ${LR}) }\n`,
    options: { model: "ConvNet", set: { p: 0 }, entries: ["adam_step"] },
    entry: "adam_step",
  },
  data() {
    const f = figure("convnet_full");
    const weights = f.weights();
    const expected = (): Record<string, Expected> => {
      const out: Record<string, Expected> = { loss: { values: f.expected("loss").data } };
      // Adam's first step is w - lr g / (|g| + eps), and the figure has the first gradients of every parameter.
      for (const [path, { first }] of Object.entries(f.info.gradients!)) {
        const { data } = weights.get(path)!;
        out[path] = {
          values: first.map((g, i) => data[i] - (LR * g) / (Math.abs(g) + 1e-8)),
          at: first.map((_, i) => i),
          size: data.length,
        };
      }
      return out;
    };
    return { inputs: { x: batch(given(f, "x")), y: batch(given(f, "y")) }, weights, expected };
  },
};

export const workloads: readonly Workload[] = [matmul, conv, convnet, resnet18, training];
