// `--weights FILE`: a safetensors file against a model's parameters. In: a path and an artefact. Out: elements by tensor, or
// an error that names the file and lists everything missing, unexpected and misshapen.
import { closeSync, openSync, readSync, statSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { WeightsError } from "../../runtime/core/errors.ts";
import type { Artefact, TensorSpec } from "../../runtime/core/program.ts";
import { formatSafetensors } from "../../runtime/core/safetensors.ts";
import { initialBytes, placesOf, readWeights } from "../../runtime/core/store.ts";
import { type AnyArray, fromGpu, itemBytes, sizeOf } from "../../runtime/core/tensor.ts";
import { seedWords } from "../../runtime/core/threefry.ts";
import {
  quantizeCommand,
  type Storage,
  type StorageName,
  storageNamed,
  storageOf,
  storageText,
} from "../core/index.ts";
import { InputFailure, UsageError } from "./failure.ts";
import { readBytes } from "./files.ts";

export type Tensors = ReadonlyMap<TensorSpec, AnyArray>;

export async function loadWeights(artefact: Artefact, path: string): Promise<Tensors> {
  // A file is read where the wanted tensors lie, however large it is; all else (a stream, nothing) as any input is.
  const isFile = path !== "-" && statSync(path, { throwIfNoEntry: false })?.isFile();
  const source = isFile ? pathToFileURL(path) : readBytes(path);
  try {
    const { tensors } = await readWeights(placesOf(artefact), source);
    return new Map(tensors.map(({ place, data }) => [place.spec, data]));
  } catch (error) {
    if (!(error instanceof WeightsError)) throw error;
    const why = error.code === "weights-mismatch" ? otherwiseStored(artefact.storage, path) : "";
    throw new InputFailure(`${path}: ${error.message}${why}`);
  }
}

/** What is stored otherwise in the file than the model reads it, with the way out. */
function otherwiseStored(wanted: Storage | undefined, path: string): string {
  const given = storedIn(path);
  const [reads, holds] = [wanted, given].map((s) => (s ? storageText(s) : "f32"));
  if (reads === holds) return "";
  const file = given ? "the f32 weights" : path;
  const fix = wanted
    ? `"${quantizeCommand(wanted, file)}" makes what it reads`
    : `compile the model for them (mdl compile MODEL.mdl --weights ${path})`;
  return `\nthe file holds ${holds} weights and the model reads ${reads}: ${fix}`;
}

/** How large weights are stored in a file of `mdl quantize`, as its metadata says; undefined for other files. */
export function storedIn(path: string): Storage | undefined {
  if (path === "-" || !statSync(path, { throwIfNoEntry: false })?.isFile()) return undefined;
  const file = openSync(path, "r");
  try {
    const head = Buffer.alloc(8 + METADATA);
    const text = head.subarray(8, readSync(file, head)).toString("utf8");
    // The command writes it first.
    const [, bits, group] = /^\{"__metadata__":\{[^{}]*"stored":"(\d+) bits(?: by (\d+))?"/.exec(text) ?? [];
    if (bits !== "16" && bits !== "8" && bits !== "4") return undefined;
    return storageOf({ bits: Number(bits) as Storage["bits"], ...(group && { group: Number(group) }) });
  } finally {
    closeSync(file);
  }
}

export interface StorageFlags {
  readonly storage?: StorageName;
  readonly group?: number;
  readonly weights?: string;
}
/** How large weights are stored: as the command line says, else as the file of weights is. */
export function storageOption({ storage, group, weights }: StorageFlags): { readonly storage?: Storage } {
  const given = weights === undefined ? undefined : storedIn(weights);
  if (storage === undefined) {
    if (group !== undefined) throw new UsageError("--group is of --storage int4");
    return given ? { storage: given } : {};
  }
  const wanted = { ...storageNamed(storage), ...(group !== undefined && { group }) };
  if (given && storageText(given) !== storageText(wanted))
    throw new UsageError(
      `${weights} holds ${storageText(given)} weights, --storage says ${storageText(wanted)}: leave --storage out, or quantize again`,
    );
  return { storage: wanted };
}

/** Bytes of a header in which it is found. */
const METADATA = 4096;

/** As `load` takes them. */
export const byPath = (
  tensors: Tensors,
): Record<string, { readonly data: AnyArray; readonly shape: readonly number[] }> =>
  Object.fromEntries([...tensors].map(([spec, data]) => [spec.path, { data, shape: spec.shape }]));

/** The file that the module loads: the model's own paths, in its order and dtypes. */
export function formatWeights(
  artefact: Artefact,
  tensors: Tensors,
  command: (typeof MARKED)[number] = "mdl compile",
): Uint8Array {
  const all = [...artefact.params, ...artefact.state].flatMap((spec) => {
    const data = tensors.get(spec);
    return data ? [{ path: spec.path, dtype: spec.dtype, shape: spec.shape, data }] : [];
  });
  return formatSafetensors(all, metadataOf(artefact, command));
}
/** What a file of weights says of itself. */
function metadataOf({ name, storage }: Artefact, command: (typeof MARKED)[number]): Record<string, string> {
  const stored =
    storage && `${storage.bits} bits${storage.group === undefined ? "" : ` by ${storage.group}`}`;
  return { model: name, [MARK]: command, ...(stored && { stored }) };
}

/** What the metadata of weights says that a command made of others: a copy, which may be replaced. */
const MARK = "written_by";
const MARKED = ["mdl compile", "mdl quantize"] as const;

/** Whether a file that begins so is such a copy; `save()` of a net that was trained writes no such mark. */
export const wasCompiled = (head: Uint8Array): boolean =>
  new RegExp(`"${MARK}"\\s*:\\s*"(${MARKED.join("|")})"`).test(Buffer.from(head).toString("latin1"));

/** Every parameter and state tensor as `load` would begin with it. */
export function beginning(artefact: Artefact, loaded: Tensors | undefined, seed: number | bigint): Tensors {
  const words = seedWords(seed);
  if (!words) throw new InputFailure(`a seed is an integer from 0 to 2^64 - 1, given ${seed}`);
  const out = new Map<TensorSpec, AnyArray>();
  for (const flat of ["params", "state"] as const) {
    const bytes = initialBytes(artefact, flat, words);
    for (const spec of artefact[flat]) {
      const elements = sizeOf(spec.shape);
      const end = spec.offset + Math.ceil((elements * itemBytes(spec.dtype)) / 4) * 4;
      const own = bytes.slice(spec.offset, end).buffer;
      out.set(spec, loaded?.get(spec) ?? fromGpu(spec.dtype, own, elements));
    }
  }
  return out;
}
