// What a command runs: a source, compiled in memory, or a module that was compiled before. In: a path and the options that
// choose. Out: the artefact, how it is loaded, and the entry that is meant.
import { existsSync, statSync } from "node:fs";
import { extname, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { misfit } from "../../runtime/core/adapter.ts";
import type { LoadOptions, NetBase } from "../../runtime/core/api.ts";
import { load } from "../../runtime/core/index.ts";
import type { Artefact, EntryPlan, Packed } from "../../runtime/core/program.ts";
import { unpack } from "../../runtime/core/unpack.ts";
import { UnsupportedError } from "../../runtime/node/index.ts";
import {
  type Build,
  type BuildOptions,
  blockEntry,
  build,
  type CheckedModel,
  type Compiled,
  type CompileOptions,
  check,
  closest,
  compile,
  MdlError,
  namedTargets,
  type Precision,
  renderAll,
  type SetValue,
  type Target,
  targets,
  withPrecision,
} from "../core/index.ts";
import { type Device, gpuOf } from "./device.ts";
import { InputFailure, UsageError, withSources } from "./failure.ts";
import { SourceFiles } from "./files.ts";
import { modelsOf } from "./models.ts";
import { harmless, painterFor } from "./style.ts";
import { storedIn } from "./weights.ts";

/** What a GPU run needs, of a source or of a module. */
export interface Runnable {
  readonly artefact: Artefact;
  readonly load: (options: LoadOptions) => Promise<NetBase>;
  readonly compiled?: Compiled;
}
/** What a net can be called with, by name: its own type has the entries of no model. */
export const callsOf = <Call>(net: NetBase): Readonly<Record<string, Call>> =>
  (net as unknown as { readonly entries: Readonly<Record<string, Call>> }).entries;

/** The options that choose what is compiled. */
export interface ChoiceFlags {
  readonly model?: string;
  readonly set?: Readonly<Record<string, SetValue>>;
  readonly target?: string;
  /** Large weights are stored as these are: packed by `mdl quantize`, or as they were declared. */
  readonly weights?: string;
  /** Patterns of parameters that no train block trains. */
  readonly freeze?: readonly string[];
}

export const isModule = (file: string): boolean => [".js", ".mjs"].includes(extname(file).toLowerCase());

/** Refuses options that choose what is compiled where that is done already. */
export function refuseChoices(file: string, { model, set }: ChoiceFlags): void {
  if (isModule(file) && (model !== undefined || set !== undefined))
    throw new UsageError(`--model and --set choose what is compiled, and ${file} is compiled`);
}

/** For commands that ask the source what there is. */
export function refuseModule(file: string, command: string): void {
  if (isModule(file))
    throw new UsageError(
      `mdl ${command} takes the source, and ${file} is compiled: give the .mdl file, as in mdl ${command} model.mdl`,
    );
}

/** A source, and the model of it that is meant. */
export class SourceModel {
  readonly path: string;
  readonly #files: SourceFiles;
  readonly #options: CompileOptions;
  /** As checked, without anything compiled. */
  readonly checked: Compiled["model"];

  constructor(path: string, flags: ChoiceFlags) {
    this.path = path;
    this.#files = new SourceFiles(path);
    const { text, file, resolve } = this.#files;
    const models = modelsOf(this.#files);
    const model = flags.model ?? models.main;
    if (flags.model === undefined && models.all.length > 1) {
      const others = models.all.filter((m) => m !== model).join(", ");
      process.stderr.write(`${harmless(file)}: this is ${model}; --model picks another (${others})\n`);
    }
    const storage = flags.weights === undefined ? undefined : storedIn(flags.weights);
    this.#options = { resolve, model, set: flags.set, freeze: flags.freeze, ...(storage && { storage }) };
    this.checked = this.#within(() => compile(text, file, { ...this.#options, entries: [] }).model);
  }

  /** What can be called. */
  get entries(): string[] {
    return [...this.checked.entries.map((e) => e.name), ...this.checked.trains.map(blockEntry)];
  }

  /** Refuses a name that is none, in words of the command line. */
  pick(entry: string): void {
    const only = this.checked.trains.length === 1 ? ["train_step"] : [];
    pickEntry(this.checked.name, entry, [...this.entries, ...only]);
  }

  compile(options: CompileOptions): Compiled {
    const { text, file } = this.#files;
    return this.#within(() => compile(text, file, { ...this.#options, ...options }));
  }

  /**
   * The model as it is checked for debugging: its values have names, and those inside scans can be had where `watch` is true of
   * their name.
   */
  watched(watch: (name: string) => boolean): CheckedModel {
    const { text, file } = this.#files;
    return this.#within(() => {
      const { models, diagnostics } = check(text, file, { ...this.#options, watch });
      if (!models) throw new MdlError(diagnostics);
      return models[0];
    });
  }

  /** Builds a model that was made of this one. */
  build(model: CheckedModel, options: BuildOptions): Build {
    const { text, file } = this.#files;
    return this.#within(() => build(model, { ...options, source: { file, text } }));
  }

  /** The text of the source, or of a file that it imports. */
  get sources(): (file: string) => string | undefined {
    return this.#files.source;
  }
  /** The source's own name in spans. */
  get file(): string {
    return this.#files.file;
  }

  /** Compiles these entries, to be run, for one target or all; says what there is to warn of. */
  open(entries: readonly string[], name: string | undefined, precision?: Precision): Runnable {
    const wanted = name === undefined ? targets : namedTargets.filter((t) => t.name === name);
    const narrow = precision && wanted.map((t) => withPrecision(t, precision));
    // A name that is none is refused where it is looked up.
    const given = narrow?.length ? narrow : name === undefined ? undefined : [name];
    const compiled = this.compile({ entries, targets: given });
    this.warn(compiled);
    const { artefact } = compiled;
    return { artefact, load: (options) => load(artefact, options), compiled };
  }

  /** On standard error. */
  warn({ diagnostics }: Compiled): void {
    if (diagnostics.length === 0) return;
    process.stderr.write(`${renderAll(diagnostics, this.#files.source, painterFor(process.stderr))}\n`);
  }

  #within<T>(body: () => T): T {
    return withSources(this.#files.source, body);
  }
}

/** One entry of a source, to be run; `command` is what an example calls. */
export function compileSource(
  path: string,
  entry: string | undefined,
  flags: ChoiceFlags,
  command = "run",
): Runnable {
  const source = new SourceModel(path, flags);
  if (entry === undefined) {
    const { checked, entries } = source;
    throw new UsageError(
      `which entry of ${checked.name}? ${entries.join(", ")}; for example mdl ${command} ${path} ${entries[0] ?? "ENTRY"}`,
    );
  }
  source.pick(entry);
  return source.open([entry], flags.target);
}

/**
 * The target that a module would take on this machine's first adapter of a kind, so that the others need not be compiled; undefined
 * where there is no adapter, which `load` then says.
 */
export async function targetHere(device: Device = "auto"): Promise<string | undefined> {
  try {
    const adapter = (await (await gpuOf(device)).requestAdapter()) as GPUAdapter | null;
    const fits = (t: Target): boolean => adapter !== null && misfit(t, adapter) === undefined;
    return targets.find(fits)?.name;
  } catch (error) {
    if (error instanceof UnsupportedError) return undefined;
    throw error;
  }
}

export async function importModule(path: string): Promise<Runnable> {
  if (!existsSync(path)) throw new InputFailure(`${path}: no such file`);
  if (!statSync(path).isFile()) throw new InputFailure(`${path} is no file`);
  let made: { readonly artefact?: Artefact | Packed; readonly load?: Runnable["load"] };
  try {
    made = await import(pathToFileURL(resolve(path)).href);
  } catch (error) {
    throw new InputFailure(`${path} cannot be imported: ${(error as Error).message}`);
  }
  // A module holds its data packed.
  const given = made.artefact;
  const artefact = given && "calls" in given ? unpack(given) : given;
  if (typeof made.load !== "function" || typeof artefact !== "object" || !Array.isArray(artefact.programs)) {
    throw new InputFailure(`${path} is no module that mdl compile wrote`);
  }
  return { artefact, load: made.load };
}

export function pickEntry(model: string, entry: string, names: readonly string[]): void {
  if (names.includes(entry)) return;
  const near = closest(entry, names);
  throw new InputFailure(
    `${model} has no entry ${entry}; ${near ? `did you mean ${near}? ` : ""}its entries are ${names.join(", ")}`,
  );
}

export function entryOf(artefact: Artefact, entry: string | undefined): EntryPlan {
  const { entries } = artefact.programs[0];
  const steps = entries.filter((e) => e.train);
  const names = [...entries.map((e) => e.name), ...(steps.length === 1 ? ["train_step"] : [])];
  if (entry === undefined) throw new UsageError(`which entry of ${artefact.name}? ${names.join(", ")}`);
  pickEntry(artefact.name, entry, names);
  return entries.find((e) => e.name === entry) ?? steps[0];
}

export function parseSeed(text: string): bigint {
  if (!/^\d+$/.test(text) || BigInt(text) >= 2n ** 64n) {
    throw new UsageError(`--seed takes an integer from 0 to 2^64 - 1, given ${text}`);
  }
  return BigInt(text);
}
