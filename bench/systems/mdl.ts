// The product, as a user gets it: the compiler makes a module with its runtime inside, and the process imports that.
import { writeFileSync } from "node:fs";
import { posix } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { renderAll } from "../../compiler/core/diagnostics/index.ts";
import { compile, emitModule, MdlError } from "../../compiler/core/index.ts";
import type { Artefact, LoadOptions, NetBase, StepResult, Tensor } from "../../runtime/core/index.ts";
import { writeSafetensors } from "../../test/support/safetensors.ts";
import { readText } from "../paths.ts";
import type { Results } from "../reference.ts";
import type { MdlModel } from "../workloads.ts";
import type { System } from "./system.ts";

export function compileModel({ file, append = "", options }: MdlModel): Artefact {
  const source = readText(file) + append;
  try {
    return compile(source, file, { resolve: (path) => readText(posix.normalize(path)), ...options }).artefact;
  } catch (error) {
    if (!(error instanceof MdlError)) throw error;
    throw new Error(renderAll(error.diagnostics, (name) => (name === file ? source : undefined)));
  }
}

type Entry = (inputs: object) => Promise<Readonly<Record<string, Tensor>>>;
type Step = (inputs: object) => Promise<StepResult>;
type Net = NetBase & Readonly<Record<string, Entry | Step>>;

export const mdl: System = {
  name: "mdl",
  lacks: () => undefined,

  build({ name, mdl: model }, folder) {
    const { js } = emitModule(compileModel(model), { runtime: "inline", source: model.file });
    const file = posix.join(folder, `${name}.mjs`);
    writeFileSync(file, js);
    return { file, bytes: gzipSync(js, { level: 9 }).length };
  },

  async open({ training, mdl: { entry } }, { inputs, weights }, shipped) {
    const module = (await import(pathToFileURL(shipped!.file).href)) as {
      load(options: LoadOptions): Promise<Net>;
    };
    const net = await module.load(weights.size > 0 ? { weights: writeSafetensors(weights) } : {});
    let results: Record<string, ArrayLike<number>> = {};
    const infer = async (): Promise<void> => {
      const out = await (net[entry] as Entry)(inputs);
      results = Object.fromEntries(Object.entries(out).map(([name, tensor]) => [name, tensor.data]));
    };
    const train = async (): Promise<void> => {
      results = { loss: [await (await (net[entry] as Step)(inputs)).loss] };
    };
    return {
      variant: net.target,
      adapter: (net.device as unknown as GPUDevice).adapterInfo,
      call: training ? train : infer,
      async results(): Promise<Results> {
        const out = { ...results };
        if (training) {
          for (const { path, role } of net.parameters()) {
            if (role === "param") out[path] = (await (await net.getParameter(path)).read()) as Float32Array;
          }
        }
        return out;
      },
      arenaBytes: () => net.memory().arena,
      close: () => net.dispose(),
    };
  },
};
