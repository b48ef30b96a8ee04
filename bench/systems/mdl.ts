// The product, as a user gets it: the compiler makes a module with its runtime inside, and the process imports that. The
// compiler may be another revision's (`--compare`).
import { writeFileSync } from "node:fs";
import { posix } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import type { CompileOptions } from "../../compiler/core/index.ts";
import * as library from "../../compiler/core/index.ts";
import type { Artefact, LoadOptions, NetBase, StepResult, Tensor } from "../../runtime/core/index.ts";
import { writeSafetensors } from "../../test/support/safetensors.ts";
import { readText } from "../paths.ts";
import { type MdlModel, STEPS } from "../workload.ts";
import { HALF_TOLERANCE, type System } from "./system.ts";

/** What is used of the library: another revision has it, too. */
export type Library = Pick<typeof library, "compile" | "emitModule">;

/** A model of the tree. */
export function compileModel(
  { file, append = "", open, options }: MdlModel,
  compile = library.compile,
): Artefact {
  const text = readText(file) + append;
  const source = open ? text.replaceAll("private buffer ", "buffer ") : text;
  const resolve = (path: string): string => readText(posix.normalize(path));
  try {
    return compile(source, file, { resolve, ...options }).artefact;
  } catch (error) {
    const [first] =
      (error as { diagnostics?: readonly { code: string; message: string }[] }).diagnostics ?? [];
    throw first ? new Error(`${file}: ${first.code} ${first.message}`) : error;
  }
}

type Entry = (inputs: object) => Promise<Readonly<Record<string, Tensor>>>;
type Step = (inputs: object) => Promise<StepResult>;
type Net = NetBase & Readonly<Record<string, Entry | Step>>;

/** What the names of systems of other revisions begin with. */
export const REVISION = "mdl@";

type Ways = Partial<Pick<System, "what" | "tolerance" | "precision" | "dawnFeatures">> &
  Pick<CompileOptions, "targets">;

export const mdlOf = (name: string, compiler: Library | undefined, ways: Ways = {}): System => ({
  name,
  what: ways.what ?? "another revision's compiler",
  device: "webgpu",
  tolerance: ways.tolerance ?? 1e-4,
  precision: ways.precision,
  dawnFeatures: ways.dawnFeatures,
  lacks: ({ mdl }) => (mdl ? undefined : "mdl does not read ONNX files"),

  async build({ name: workload, mdl: model }, folder) {
    const { targets } = ways;
    const asked = targets ? { ...model!, options: { ...model!.options, targets } } : model!;
    const artefact = compileModel(asked, compiler!.compile);
    const { js } = compiler!.emitModule(artefact, { runtime: "inline", source: model!.file });
    const file = posix.join(folder, `${workload}-${name.replace(/\W/g, "-")}.mjs`);
    writeFileSync(file, js);
    return { file, bytes: gzipSync(js, { level: 9 }).length };
  },

  async prepare({ training, mdl: model }, { inputs, weights }, { shipped }) {
    const { entry, scalars } = model!;
    const module = (await import(pathToFileURL(shipped!.file).href)) as {
      load(options: LoadOptions): Promise<Net>;
    };
    // The peers have no caches of keys and values in a model; where a call does not read them, they begin as they are.
    const options = weights.size > 0 ? { weights: writeSafetensors(weights), partial: true } : {};
    const given = { ...inputs, ...scalars };
    return async () => {
      const net = await module.load(options);
      let results: Record<string, ArrayLike<number>> = {};
      const losses: number[] = [];
      const infer = async (): Promise<void> => {
        const out = await (net[entry] as Entry)(given);
        results = Object.fromEntries(Object.entries(out).map(([result, tensor]) => [result, tensor.data]));
      };
      const train = async (): Promise<void> => {
        losses.push(await (await (net[entry] as Step)(given)).loss);
      };
      return {
        variant: net.target,
        adapter: (net.device as unknown as GPUDevice).adapterInfo,
        call: training ? train : infer,
        results: async () => (training ? { losses: losses.slice(0, STEPS) } : results),
        arenaBytes: () => net.memory().arena,
        close: () => net.dispose(),
      };
    };
  },
});

export const mdl: System = mdlOf("mdl", library, { what: "this tree's compiler" });

/** What products read and give in f16, multiplied by matrices of a subgroup where the device has them. */
export const mdlF16: System = mdlOf("mdl-f16", library, {
  what: "this tree's compiler with --precision f16: less than what others compute",
  tolerance: HALF_TOLERANCE,
  precision: "f16",
  dawnFeatures: ["allow_unsafe_apis", "vulkan_enable_f16_on_nvidia"],
  targets: library.namedTargets
    .filter((t) => t.requires.adapter === "gpu")
    .map((t) => library.withPrecision(t, "f16")),
});
