// From source text to a loaded module, as a user's build and program do it, for tests on a GPU: compiles by the public API,
// writes the module into a folder of its own and imports it. In: a text and the model's arguments. Out: loaded models whose
// results are plain arrays.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, type TestContext } from "vitest";
import { renderAll } from "../../compiler/core/diagnostics/index.ts";
import { stdSources } from "../../compiler/core/generated/std.ts";
import {
  type Compiled,
  type CompileOptions,
  compile,
  emitModule,
  MdlError,
} from "../../compiler/core/index.ts";
import type { LoadOptions, NetBase, StepResult, Tensor, TypedArrays } from "../../runtime/core/api.ts";
import { testDevice } from "./device.ts";
import { projectRoot } from "./files.ts";

type Data = TypedArrays[keyof TypedArrays];
export type Inputs = {
  readonly [name: string]: Data | { readonly data: Data; readonly shape: readonly number[] };
};
type Entry = (inputs: Inputs) => Promise<{ readonly [name: string]: Tensor }>;
type Step = (inputs: Inputs, options?: StepOptions) => Promise<StepResult>;
type StepOptions = { readonly [name: string]: number };

/** A loaded model. */
export class Net {
  readonly base: NetBase;
  readonly #entries: { readonly [entry: string]: Entry | Step };

  constructor(net: NetBase) {
    this.base = net;
    this.#entries = net as unknown as { readonly [entry: string]: Entry | Step };
  }

  /** Runs an entry; the elements of its results by name. */
  async results(entry: string, inputs: Inputs): Promise<Record<string, Data>> {
    const results = await (this.#entries[entry] as Entry)(inputs);
    return Object.fromEntries(Object.entries(results).map(([name, tensor]) => [name, tensor.data]));
  }

  /** The result that is named as the entry is: the unnamed single one. */
  async call(entry: string, inputs: Inputs): Promise<Data> {
    return (await this.results(entry, inputs))[entry];
  }

  /** Takes a step of the train block `block`; its loss. */
  async step(block: string, inputs: Inputs, options?: StepOptions): Promise<number> {
    return (await (this.#entries[`${block}_step`] as Step)(inputs, options)).loss;
  }

  /** The elements of a parameter or buffer. */
  async parameter(path: string): Promise<Data> {
    return (await this.base.getParameter(path)).read();
  }
}

/** Compiles for a test; a refused source fails it with what the compiler says. */
export function compileText(source: string, options: CompileOptions = {}, file = "main.mdl"): Compiled {
  try {
    return compile(source, file, { verify: true, ...options });
  } catch (error) {
    if (!(error instanceof MdlError)) throw error;
    const text = renderAll(error.diagnostics, (name) => (name === file ? source : stdSources[name]));
    throw new Error(`expected a model:\n${text}`);
  }
}

export interface TestModule {
  /** Loads it on the adapter's device; the calling test is skipped where there is none. */
  load(context: TestContext, options?: LoadOptions): Promise<Net>;
  /** The module's file, compiled at the first use. */
  path(): string;
}

let folder: string | undefined;
const loaded: NetBase[] = [];
let count = 0;

/** A module of the test file; made when a test first needs it, thrown away with its models after the last. */
export const testModule = (source: string, options: CompileOptions = {}): TestModule =>
  testCompiled(() => compileText(source, options));

/** The same of what is compiled elsewhere. */
export function testCompiled(compiled: () => Compiled): TestModule {
  let file: string | undefined;
  const path = (): string => {
    if (file === undefined) {
      const { artefact, name } = compiled();
      if (folder === undefined) {
        const cache = join(projectRoot, "node_modules", ".cache", "mdl");
        mkdirSync(cache, { recursive: true });
        folder = mkdtempSync(join(cache, "test-"));
      }
      file = join(folder, `${name}-${count++}.mjs`);
      writeFileSync(file, emitModule(artefact, { runtime: "inline", source: "main.mdl" }).js);
    }
    return file;
  };
  return {
    path,
    async load(context, loadOptions) {
      const { device } = await testDevice(context);
      const module = (await import(/* @vite-ignore */ pathToFileURL(path()).href)) as {
        load(options: LoadOptions): Promise<NetBase>;
      };
      const net = await module.load({ device, ...loadOptions }).catch((error: unknown) => {
        const forced = loadOptions?.target;
        // A target asked for by name may need what this adapter lacks (f16).
        if (forced === undefined || (error as Error).name !== "UnsupportedError") throw error;
        const why = (error as Error).message.replace(/^.*?fits this adapter [^:]*: /, "");
        return context.skip(`the adapter does not fit: ${why}`);
      });
      loaded.push(net);
      return new Net(net);
    },
  };
}

afterAll(() => {
  for (const net of loaded) net.dispose();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});
