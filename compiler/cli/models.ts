// Which model of a file a command is about, and what its module is called. In: a source and the options that choose. Out:
// names. A module is named after the file where the file has one model, or one of the file's own name (convnet.mdl and
// ConvNet); other models' modules bear the model's name. So a module's name does not depend on the options.
import { basename, extname } from "node:path";
import { parse, type SetValue } from "../core/index.ts";
import { UsageError } from "./failure.ts";
import type { SourceFiles } from "./files.ts";

export interface Models {
  /** In the order of the file; empty where the file does not parse so far. */
  readonly all: readonly string[];
  /** The one that is meant where one is meant and none is named. */
  readonly main: string | undefined;
  moduleName(model: string): string;
}

const fold = (name: string): string => name.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "");

export function modelsOf(files: SourceFiles): Models {
  const all = parse(files.text, files.file).tree.items.flatMap((i) =>
    i.kind === "model" ? [i.name.name] : [],
  );
  const name = basename(files.file, extname(files.file));
  // `..mdl` has no name of its own: what it makes is called after the model, and stays in the folder that was asked for.
  const stem = /^\.*$/.test(name) ? undefined : name;
  const own = all.length === 1 ? all[0] : all.find((name) => stem !== undefined && fold(name) === fold(stem));
  return {
    all,
    main: own ?? all[0],
    moduleName: (model) => (model === own && stem !== undefined ? stem : model),
  };
}

/** `--set classes=5`. */
export function parseSet(
  text: string,
  before: Readonly<Record<string, SetValue>> = {},
): Record<string, SetValue> {
  const [name, value] = pair(text, "--set", "classes=5");
  const number = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(value) ? Number(value) : undefined;
  return { ...before, [name]: number ?? (value === "true" ? true : value === "false" ? false : value) };
}

/** `--bind N=8`: sizes by name. */
export const parseBind = sizesBy("--bind");
/** `--size N=8`. */
export const parseSize = sizesBy("--size");

function sizesBy(option: string) {
  return (text: string, before: Readonly<Record<string, number>> = {}): Record<string, number> => {
    const [name, value] = pair(text, option, "N=8");
    const size = Number(value);
    if (value.trim() === "" || !Number.isSafeInteger(size) || size < 0)
      throw new UsageError(`${option} ${name} takes a size, given ${value}; for example ${option} ${name}=8`);
    return { ...before, [name]: size };
  };
}

function pair(text: string, option: string, example: string): [string, string] {
  const at = text.indexOf("=");
  if (at <= 0)
    throw new UsageError(`${option} takes name=value, given ${text}; for example ${option} ${example}`);
  return [text.slice(0, at), text.slice(at + 1)];
}

export const collect = (text: string, before: readonly string[] = []): string[] => [...before, text];
