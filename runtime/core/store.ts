// Parameters and state on the host's side: what is where in the flat buffers, how they begin, and how weights become their
// contents. In: an artefact's tensor specs and weights. Out: bytes for the two buffers. Touches no GPU.
import type * as api from "./api.ts";
import { didYouMean, few, InputError, shown, WeightsError } from "./errors.ts";
import { attempt, openBytes } from "./files.ts";
import { initial } from "./inits.ts";
import { describe, takeValue } from "./inputs.ts";
import type { Artefact, TensorSpec } from "./program.ts";
import { convert, type FileTensor, HEAD_BYTES, headerLength, parseHeader } from "./safetensors.ts";
import { type AnyArray, alignTo, sizeOf, toGpu, typeText } from "./tensor.ts";
import { fnv1a, type Words } from "./threefry.ts";

export type Flat = "params" | "state";

export interface Place {
  readonly spec: TensorSpec;
  readonly flat: Flat;
}

/** Every tensor by its path and its aliases. */
export function placesOf(artefact: Artefact): Map<string, Place> {
  const places = new Map<string, Place>();
  for (const flat of ["params", "state"] as const) {
    for (const spec of artefact[flat]) {
      for (const path of [spec.path, ...spec.aliases]) places.set(path, { spec, flat });
    }
  }
  return places;
}

export function findPlace(places: ReadonlyMap<string, Place>, path: string): Place {
  const place = places.get(path);
  if (place) return place;
  throw new InputError(
    "unknown-parameter",
    `no parameter is called ${shown(String(path))}${didYouMean(path, [...places.keys()])}`,
  );
}

/** Of names, types and places: equal for artefacts whose flat buffers mean the same. */
export function signatureOf(artefact: Artefact): number {
  return fnv1a(
    JSON.stringify(
      [artefact.params, artefact.state].map((l) => l.map((s) => [s.path, s.dtype, s.shape, s.offset])),
    ),
  );
}

export function put(spec: TensorSpec, data: AnyArray, into: Uint8Array): void {
  const raw = toGpu(spec.dtype, data);
  into.set(
    new Uint8Array(raw.buffer, raw.byteOffset, Math.min(raw.byteLength, into.length - spec.offset)),
    spec.offset,
  );
}

/** One flat buffer's bytes as the model declares them, but for the tensors that are in `loaded`. */
export function initialBytes(
  artefact: Artefact,
  flat: Flat,
  seed: Words,
  loaded?: ReadonlyMap<TensorSpec, LoadedTensor>,
): Uint8Array {
  const bytes = new Uint8Array(alignTo(flat === "params" ? artefact.paramBytes : artefact.stateBytes, 4));
  // Drawing takes longer than reading.
  for (const spec of artefact[flat]) put(spec, loaded?.get(spec)?.data ?? initial(spec, seed), bytes);
  return bytes;
}

export interface LoadedTensor {
  readonly place: Place;
  readonly data: AnyArray;
}

export interface LoadedWeights {
  readonly tensors: readonly LoadedTensor[];
  /** Of the model's, what the weights have not; of theirs, what the model has not. */
  readonly ignored: api.Ignored;
}

/**
 * The tensors of `weights`, converted and matched with the model's. Rejects with one WeightsError that lists everything
 * missing, unexpected and misshapen. PyTorch's `num_batches_tracked` counters are passed over. What an optimiser keeps is
 * no weight: names of it are unexpected. The caller's memory is copied before this function returns its promise.
 */
export const readWeights = (
  places: ReadonlyMap<string, Place>,
  weights: unknown,
  options: api.WeightsOptions = {},
): Promise<LoadedWeights> => attempt("those given", () => matchWeights(places, weights, options));

async function matchWeights(
  places: ReadonlyMap<string, Place>,
  weights: unknown,
  options: api.WeightsOptions,
): Promise<LoadedWeights> {
  const { strict = true, partial = !strict } = options ?? {};
  if (typeof strict !== "boolean" || typeof partial !== "boolean")
    throw new InputError("option", "strict and partial are true or false");
  const missing: string[] = [];
  const unexpected: string[] = [];
  const misshapen: string[] = [];
  const seen = new Set<TensorSpec>();
  const loaded = new Map<TensorSpec, LoadedTensor & { readonly path: string }>();
  /** Where a tensor of the weights goes; undefined where it goes nowhere. */
  const wanted = (path: string): Place | undefined => {
    const place = places.get(path);
    if (place && place.spec.role !== "internal") {
      seen.add(place.spec);
      return place;
    }
    if (!path.endsWith("num_batches_tracked")) unexpected.push(path);
    return undefined;
  };
  const take = (place: Place, path: string, data: AnyArray | string): void => {
    if (typeof data === "string") {
      misshapen.push(data);
      return;
    }
    const first = loaded.get(place.spec);
    if (first && !first.data.every((x, i) => Object.is(x, data[i])))
      misshapen.push(`${first.path} and ${path} are tied but differ`);
    if (!first) loaded.set(place.spec, { place, data, path });
  };

  const opening = openBytes(weights);
  if (opening) {
    const source = await opening;
    try {
      const head = await source.read(0, Math.min(HEAD_BYTES, source.size));
      const header = await source.read(8, headerLength(head, source.size));
      for (const [path, { dtype, shape, begin, end }] of parseHeader(header, source.size)) {
        const place = wanted(path);
        if (!place) continue;
        const fits = shape.join() === place.spec.shape.join();
        // What does not fit is not read.
        const bytes = fits ? await source.read(begin, end - begin) : new Uint8Array();
        take(place, path, fromFile(place.spec, path, { dtype, shape, bytes }));
      }
    } finally {
      await source.close();
    }
  } else {
    for (const [path, given] of recordOf(weights)) {
      const place = wanted(path);
      if (place) take(place, path, fromRecord(place.spec, path, given));
    }
  }

  for (const { spec } of places.values()) {
    if (spec.role === "internal" || seen.has(spec)) continue;
    seen.add(spec);
    missing.push(spec.path);
  }
  const refused = [
    missing.length && !partial ? `missing ${few(missing)}` : "",
    unexpected.length && strict ? `unexpected ${few(unexpected)}${prefixHint(places, unexpected)}` : "",
    few(misshapen),
  ].filter(Boolean);
  if (refused.length) {
    throw new WeightsError("weights-mismatch", `the weights do not fit the model: ${refused.join("; ")}`, {
      missing,
      unexpected,
      misshapen,
    });
  }
  return { tensors: [...loaded.values()], ignored: { missing, unexpected } };
}

/** Tensors by path, given as an object or a Map. */
function recordOf(weights: unknown): Iterable<[string, unknown]> {
  if (weights instanceof Map) return weights;
  if (Object.prototype.toString.call(weights) === "[object Object]")
    return Object.entries(weights as Record<string, unknown>);
  throw new WeightsError(
    "weights-source",
    `weights are a path, a URL, bytes, a Blob, a Response or tensors by path, given ${describe(weights)}`,
  );
}

/** All names that the model does not know begin alike, and it would know one of them without that. */
function prefixHint(places: ReadonlyMap<string, Place>, unexpected: readonly string[]): string {
  const prefix = unexpected[0].slice(0, unexpected[0].indexOf(".") + 1);
  const plain = unexpected.map((path) => path.slice(prefix.length));
  if (
    !prefix ||
    !unexpected.every((path) => path.startsWith(prefix)) ||
    !plain.some((path) => places.has(path))
  )
    return "";
  const fix = prefix === "module." ? "DataParallel adds it: save model.module.state_dict()" : "take it off";
  return ` (all begin with ${shown(prefix)}, which the model's names do not; ${fix})`;
}

const expects = (spec: TensorSpec): string => typeText(spec.dtype, spec.shape);

/** The elements, or what is wrong with them. */
function fromFile(spec: TensorSpec, path: string, tensor: FileTensor): AnyArray | string {
  const given = `the file has ${typeText(tensor.dtype, tensor.shape)}`;
  if (tensor.shape.join() !== spec.shape.join()) return `${path}: expected ${expects(spec)}, ${given}`;
  return (
    convert(tensor, spec.dtype) ?? `${path}: expected ${expects(spec)}, ${given}, whose elements do not fit`
  );
}

function fromRecord(spec: TensorSpec, path: string, value: unknown): AnyArray | string {
  try {
    return hostData(spec, path, value);
  } catch (error) {
    return (error as Error).message;
  }
}

/** A value for a tensor, given by the caller: a copy of its own. */
export function hostData(spec: TensorSpec, path: string, value: unknown): AnyArray {
  const what = `${path}: ${expects(spec)}`;
  const { shape, count, source } = takeValue(spec.dtype, value, what);
  if (!("data" in source))
    throw new InputError("input-dtype", `${what}: weights in a GPUBuffer cannot be taken`);
  if (count !== sizeOf(spec.shape) || (shape && shape.join() !== spec.shape.join())) {
    throw new InputError(
      "input-shape",
      `expected ${what}, given ${shape ? typeText(spec.dtype, shape) : `${count} elements`}`,
    );
  }
  return source.data.slice();
}
