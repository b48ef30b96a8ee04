// What is estimated: calls of modules at sizes, as the dispatches they come to. In: models. Out: kernels' texts with grids and
// uniform blocks, by the runtime's own evaluation of the plan. Launches, uploads and readbacks are not in it.
import { readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { type CompileOptions, compile } from "../../compiler/core/index.ts";
import { bindBlock } from "../../runtime/core/plan.ts";
import type { Artefact } from "../../runtime/core/program.ts";
import { compileModel } from "../systems/mdl.ts";
import type { MdlModel } from "../workload.ts";
import { workloads } from "../workloads.ts";
import type { KernelText } from "./machine-code.ts";

export interface Call {
  readonly name: string;
  readonly what: string;
  readonly artefact: Artefact;
  readonly entry: string;
  readonly sizes: Readonly<Record<string, number>>;
}
/** One that is made here, when it is asked for. */
export interface KnownCall extends Pick<Call, "name" | "what" | "sizes"> {
  readonly model: MdlModel;
}

const timed = (name: string): MdlModel => workloads.find((w) => w.name === name)!.mdl!;
const model = (file: string, entry: string, options: CompileOptions = {}): MdlModel => ({
  file,
  entry,
  options: { ...options, entries: [entry] },
});
const resnet18 = (entry: string): MdlModel => model("dsl-examples/resnet18.mdl", entry);

/** The benchmark's workloads, and the larger ones that a GPU is bought for. */
export const calls: readonly KnownCall[] = [
  { name: "a_matmul1024", what: "matmul 1024³", model: timed("a_matmul1024"), sizes: {} },
  {
    name: "b_conv64_56",
    what: "conv 3×3 + ReLU + pool, 64→64, 56²",
    model: timed("b_conv64_56"),
    sizes: { N: 1, H: 56, W: 56 },
  },
  { name: "c_convnet28", what: "ConvNet, N = 32", model: timed("c_convnet28"), sizes: { N: 32 } },
  { name: "d_resnet18", what: "ResNet-18, N = 1", model: timed("d_resnet18"), sizes: { N: 1 } },
  {
    name: "e_mobilenetv2",
    what: "MobileNetV2, N = 1",
    model: model("bench/models/compile/mobilenetv2.mdl", "logits"),
    sizes: { N: 1, H: 224, W: 224 },
  },
  {
    name: "f_encoder",
    what: "encoder block, T = 128, d = 256",
    model: model("dsl-examples/transformer.mdl", "encode", { model: "Encoder" }),
    sizes: { B: 1, T: 128 },
  },
  { name: "g_train", what: "training step of c with Adam", model: timed("g_train"), sizes: { N: 32 } },
  {
    name: "conv64_n32",
    what: "conv 3×3 64→64, 56², N = 32",
    model: model("bench/models/conv.mdl", "y"),
    sizes: { N: 32, H: 56, W: 56 },
  },
  { name: "resnet18_n32", what: "ResNet-18, N = 32", model: resnet18("logits"), sizes: { N: 32 } },
  {
    name: "resnet18_step",
    what: "training step of ResNet-18, N = 32",
    model: resnet18("fit_step"),
    sizes: { N: 32 },
  },
  {
    name: "attention",
    what: "attention, B = 8, H = 4, T = 256, D = 64",
    model: model("bench/models/attention.mdl", "y"),
    sizes: { B: 8, T: 256 },
  },
  {
    name: "gpt_step",
    what: "training step of GPT, B = 32, T = 128",
    model: model("dsl-examples/transformer.mdl", "fit_step", { model: "GPT" }),
    sizes: { B: 32, T: 128 },
  },
];

/** A dispatch, and how often a call has it. */
export interface Dispatch extends KernelText {
  readonly name: string;
  readonly site: string;
  readonly groups: number;
  /** As the device takes them: over x and y. */
  readonly grid: readonly [number, number, number];
  /** The uniform block. */
  readonly block: Uint8Array;
  /** Of its tensors. */
  readonly bytes: number;
  times: number;
}

const TARGET = "gpu";
const forGpu = { targets: [TARGET] };
const NOMINAL = 32;
/** What WebGPU always has. */
const LIMITS = {
  maxComputeWorkgroupsPerDimension: 65535,
  minUniformBufferOffsetAlignment: 256,
  maxStorageBufferBindingSize: 2 ** 53,
};

export const compileCall = ({ name, what, model, sizes }: KnownCall): Call => ({
  name,
  what,
  sizes,
  entry: model.entry,
  artefact: compileModel({ ...model, options: { ...model.options, ...forGpu } }),
});

/** All entries of the first model of a file, each a call; sizes that are not said are 32. */
export function callsOfFile(path: string, sizes: Readonly<Record<string, number>>): Call[] {
  const source = readFileSync(path, "utf8");
  const file = basename(path);
  const near = (import_: string): string => readFileSync(join(dirname(path), import_), "utf8");
  const { artefact } = compile(source, file, { ...forGpu, resolve: near });
  return artefact.programs[0].entries.map((entry) => ({
    name: `${file.replace(/\.mdl$/, "")}.${entry.name}`,
    what: `${file}: ${entry.name}`,
    artefact,
    entry: entry.name,
    sizes: Object.fromEntries(entry.symbols.map(({ name }) => [name, sizes[name] ?? NOMINAL])),
  }));
}

/** The distinct dispatches of a call, in the order they are first run. */
export function dispatchesOf({ artefact, entry: entryName, sizes }: Call): Dispatch[] {
  const program = artefact.programs.find((p) => p.target === TARGET)!;
  const entry = program.entries.find((e) => e.name === entryName);
  if (!entry)
    throw new Error(`there is no entry ${entryName}, only ${program.entries.map((e) => e.name).join(", ")}`);
  const plan = bindBlock(program, entry, new Map(Object.entries(sizes)), LIMITS);
  const found = new Map<string, Dispatch>();
  for (const command of plan.commands) {
    if (command.kind !== "dispatch") continue;
    const kernel = program.kernels[command.kernel];
    const at = command.block / 4;
    const words = plan.uniforms.slice(at, at + kernel.uniformWords);
    const key = `${command.kernel} ${words.join()}`;
    const known = found.get(key);
    if (known) known.times++;
    else
      found.set(key, {
        name: kernel.name,
        site: command.label.slice(kernel.name.length).trim(),
        code: artefact.texts[kernel.text],
        constants: kernel.constants,
        groups: command.groups,
        grid: [command.x, command.y, 1],
        block: new Uint8Array(words.buffer),
        bytes: command.bind.reduce((n, b) => n + b.bytes, 0),
        times: 1,
      });
  }
  return [...found.values()];
}
