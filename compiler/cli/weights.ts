// `--weights FILE`: a safetensors file against a model's parameters. In: a path and an artefact. Out: elements by tensor, or
// an error that names the file and lists everything missing, unexpected and misshapen.
import { statSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { WeightsError } from "../../runtime/core/errors.ts";
import type { Artefact, TensorSpec } from "../../runtime/core/program.ts";
import { formatSafetensors } from "../../runtime/core/safetensors.ts";
import { initialBytes, placesOf, readWeights } from "../../runtime/core/store.ts";
import { type AnyArray, fromGpu, itemBytes, sizeOf } from "../../runtime/core/tensor.ts";
import { seedWords } from "../../runtime/core/threefry.ts";
import { InputFailure } from "./failure.ts";
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
    throw error instanceof WeightsError ? new InputFailure(`${path}: ${error.message}`) : error;
  }
}

/** As `load` takes them. */
export const byPath = (
  tensors: Tensors,
): Record<string, { readonly data: AnyArray; readonly shape: readonly number[] }> =>
  Object.fromEntries([...tensors].map(([spec, data]) => [spec.path, { data, shape: spec.shape }]));

/** The file that the module loads: the model's own paths, in its order and dtypes. */
export function formatWeights(artefact: Artefact, tensors: Tensors): Uint8Array {
  const all = [...artefact.params, ...artefact.state].flatMap((spec) => {
    const data = tensors.get(spec);
    return data ? [{ path: spec.path, dtype: spec.dtype, shape: spec.shape, data }] : [];
  });
  return formatSafetensors(all, { model: artefact.name, [MARK]: MARKED });
}

/** What the metadata of weights says that `mdl compile` put beside a module: a copy, which may be replaced. */
const MARK = "written_by";
const MARKED = "mdl compile";

/** Whether a file that begins so is such a copy; `save()` of a net that was trained writes no such mark. */
export const wasCompiled = (head: Uint8Array): boolean =>
  new RegExp(`"${MARK}"\\s*:\\s*"${MARKED}"`).test(Buffer.from(head).toString("latin1"));

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
