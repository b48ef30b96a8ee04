// What is estimated: calls of modules at sizes, as the dispatches they come to. In: models. Out: kernels' texts with grids and
// uniform blocks, by the runtime's own evaluation of the plan. Launches, uploads and readbacks are not in it.
import { readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { type CompileOptions, compile, type StorageName, storageNamed } from "../../compiler/core/index.ts";
import { evaluateRow } from "../../runtime/core/expr.ts";
import { bindBlock } from "../../runtime/core/plan.ts";
import type { Artefact, EntryPlan } from "../../runtime/core/program.ts";
import { compileModel } from "../systems/mdl.ts";
import type { MdlModel, Workload } from "../workload.ts";
import { quickWorkloads, workloads } from "../workloads.ts";
import type { Chip } from "./chips.ts";
import type { KernelText } from "./machine-code.ts";
import type { Part } from "./report.ts";

export interface Call {
  readonly name: string;
  readonly what: string;
  readonly artefact: Artefact;
  readonly entry: string;
  /** What stands for the names in its shapes. */
  readonly sizes: Readonly<Record<string, number>>;
}
/** What it is compiled for, and which of the ways to compute a group is taken. */
export type Made = Pick<CompileOptions, "targets" | "pick">;
/** One that is made here, when it is asked for; for GPUs, without more said. */
export interface KnownCall extends Pick<Call, "name" | "what"> {
  make(how?: Made): Call;
}

/** What a chip's driver would be given: the maker's own program where there is one. */
export const targetFor = (chip: Chip): string => (chip.vendor === "nvidia" ? "gpu-nvidia" : "gpu");
const forGpu: Made = { targets: ["gpu-nvidia", "gpu"] };
const NOMINAL = 32;

/** A workload of the benchmark: its sizes are those of its inputs. */
const ofWorkload = ({ name, what, mdl, network }: Workload): KnownCall => ({
  name,
  what,
  make(how = forGpu) {
    const { entry: id, options } = mdl!;
    const artefact = compileModel({ ...mdl!, options: { ...options, ...how } });
    const entry = entryOf(artefact, id);
    const names = new Map(
      Object.entries(network!.inputs).flatMap(([input, { shape }]) =>
        shape.map((n, axis) => [`${input}.${axis}`, n] as const),
      ),
    );
    const sizes = entry.symbols.map(({ name, value }) => [name, evaluateRow(entry.solve, value, names)]);
    return { name, what, artefact, entry: id, sizes: Object.fromEntries(sizes) };
  },
});

const ENTRIES = {
  shapes: ["product", "outer", "strided", "narrow", "attend", "norm", "vocabulary", "cell", "token"],
  memory: [
    ...["softmax_rows", "softmax_long", "layer_norm_rows", "rms_norm_rows"],
    ...["sum_rows", "sum_columns", "sum_all", "sum_channels", "argmax_rows"],
    ...["added", "gelued", "transposed", "pooled", "averaged", "running", "gathered"],
  ],
} as const;

/** Larger ones, that a GPU is bought for. */
const large = (name: string, what: string, mdl: MdlModel, sizes: Call["sizes"]): KnownCall => ({
  name,
  what,
  make: (how = forGpu) => {
    const artefact = compileModel({ ...mdl, options: { ...mdl.options, entries: [mdl.entry], ...how } });
    return { name, what, artefact, entry: mdl.entry, sizes };
  },
});
const resnet18 = (entry: string): MdlModel => ({ file: "dsl-examples/resnet18.mdl", entry, options: {} });

/** Entries of a model of bench/models, whose sizes are known, by its name and theirs. */
function ofFile(name: keyof typeof ENTRIES): KnownCall[] {
  const file = `bench/models/${name}.mdl`;
  return ENTRIES[name].map((entry) =>
    large(`${name}_${entry}`, `${entry} of ${file}`, { file, entry, options: {} }, {}),
  );
}

export const calls: readonly KnownCall[] = [
  ...workloads.filter((w) => w.mdl && w.network).map(ofWorkload),
  large(
    "conv64_n32",
    "conv 3×3 64→64 with its block's rest, 56², N = 32",
    { file: "bench/models/conv.mdl", entry: "y", options: {} },
    { N: 32, H: 56, W: 56 },
  ),
  large("resnet18_n32", "ResNet-18, N = 32", resnet18("logits"), { N: 32 }),
  large("resnet18_step", "training step of ResNet-18, N = 32", resnet18("fit_step"), { N: 32 }),
  large(
    "gpt_step",
    "training step of GPT, B = 32, T = 128",
    { file: "dsl-examples/transformer.mdl", entry: "fit_step", options: { model: "GPT" } },
    { B: 32, T: 128 },
  ),
  ...ofFile("shapes"),
  ...ofFile("memory"),
];
/** Of the benchmark, and larger ones: what kernels were made for. */
const known = [...quickWorkloads, "attention", "conv64_n32", "resnet18_n32", "resnet18_step", "gpt_step"];
/** Models and shapes that no kernel was tuned for. */
const heldOut = ["vgg16", "resnet50", "unet", "gpt_prefill", "gpt_token", "lstm", "resnet20_train"];
/** What a page of results has, where nothing is named. */
export const parts: readonly Part[] = [
  { title: "Workloads", text: "What kernels were made for.", of: known },
  {
    title: "Held out",
    text: "Models and shapes that no kernel was tuned for ([shapes.mdl](../models/shapes.mdl)).",
    of: [...heldOut, ...ofFile("shapes").map(({ name }) => name)],
  },
  {
    title: "Rows and elements",
    text: "What memory bounds: one kernel each, or as many as it is cut into ([memory.mdl](../models/memory.mdl)).",
    of: ofFile("memory").map(({ name }) => name),
  },
];

/** Those that are estimated where none is named. */
export const usualCalls: readonly string[] = known;

/** All entries of the first model of a file, each a call; sizes that are not said are 32. */
export function callsOfFile(
  path: string,
  sizes: Readonly<Record<string, number>>,
  storage?: StorageName,
): KnownCall[] {
  const source = readFileSync(path, "utf8");
  const file = basename(path);
  const near = (other: string): string => readFileSync(join(dirname(path), other), "utf8");
  const made = (how: Made): Artefact =>
    compile(source, file, {
      ...how,
      resolve: near,
      ...(storage && { storage: storageNamed(storage) }),
    }).artefact;
  const usual = made(forGpu);
  return usual.programs[0].entries.map(({ name: entry, symbols }) => {
    const own = symbols.map(({ name }) => [name, sizes[name] ?? NOMINAL]);
    const name = `${file.replace(/\.mdl$/, "")}.${entry}`;
    const what = `${file}: ${entry}`;
    return {
      name,
      what,
      make: (how) => ({
        name,
        what,
        artefact: how ? made(how) : usual,
        entry,
        sizes: Object.fromEntries(own),
      }),
    };
  });
}

/** A dispatch, and how often a call has it. */
export interface Dispatch extends KernelText {
  readonly name: string;
  readonly site: string;
  readonly groups: number;
  /** As the device takes them: over x and y. */
  readonly grid: readonly [number, number, number];
  /** What small buffers hold that loops and addresses may depend on. */
  readonly small: readonly { readonly group: number; readonly binding: number; readonly bytes: Uint8Array }[];
  /** Of its tensors. */
  readonly bytes: number;
  times: number;
}

/** What WebGPU always has. */
const LIMITS = {
  maxComputeWorkgroupsPerDimension: 65535,
  minUniformBufferOffsetAlignment: 256,
  maxStorageBufferBindingSize: 2 ** 53,
  maxDispatchCost: Number.POSITIVE_INFINITY,
};

function entryOf({ programs: [program] }: Pick<Artefact, "programs">, name: string): EntryPlan {
  const entry = program.entries.find((e) => e.name === name);
  if (!entry)
    throw new Error(`there is no entry ${name}, only ${program.entries.map((e) => e.name).join(", ")}`);
  return entry;
}

/** The distinct dispatches of a call on a target, in the order they are first run. */
export function dispatchesOf({ artefact, entry: entryName, sizes }: Call, target: string): Dispatch[] {
  const program = artefact.programs.find((p) => p.target === target)!;
  const entry = entryOf({ programs: [program] }, entryName);
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
        // The uniform block.
        small: [{ group: 0, binding: 0, bytes: new Uint8Array(words.buffer) }],
        bytes: command.bind.reduce((n, b) => n + b.bytes, 0),
        times: 1,
      });
  }
  return [...found.values()];
}
