// Parameters and state on the host's side: what is where in the flat buffers, how they begin, and how weights become their
// contents. In: an artefact's tensor specs and weights. Out: bytes for the two buffers. Touches no GPU.
import type * as api from "./api.ts";
import { didYouMean, few, InputError, WeightsError } from "./errors.ts";
import { readBytes } from "./files.ts";
import { takeValue } from "./inputs.ts";
import type { Artefact, TensorSpec } from "./program.ts";
import { convert, type FileTensor, parseSafetensors } from "./safetensors.ts";
import { type AnyArray, arrayOf, sizeOf, toGpu, typeText } from "./tensor.ts";
import { drawKey, fnv1a, normal, randomBits, uniformFromBits, type Words } from "./threefry.ts";

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
    `no parameter is called ${path}${didYouMean(path, [...places.keys()])}`,
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

/** A tensor as it begins. */
function initial(spec: TensorSpec, seed: Words): AnyArray {
  const { init } = spec;
  const data = arrayOf(spec.dtype, sizeOf(spec.shape));
  if (init.kind === "constant") return data.fill(init.value);
  const key = drawKey(seed, fnv1a(spec.path), 0);
  for (let i = 0; i < data.length; i++) {
    data[i] =
      init.kind === "uniform"
        ? init.low + (init.high - init.low) * uniformFromBits(randomBits(key, i))
        : init.mean + init.std * normal(key, i);
  }
  return data;
}

export function put(spec: TensorSpec, data: AnyArray, into: Uint8Array): void {
  const raw = toGpu(spec.dtype, data);
  into.set(
    new Uint8Array(raw.buffer, raw.byteOffset, Math.min(raw.byteLength, into.length - spec.offset)),
    spec.offset,
  );
}

/** One flat buffer's bytes as the model declares them. */
export function initialBytes(artefact: Artefact, flat: Flat, seed: Words): Uint8Array {
  const bytes = new Uint8Array(
    Math.ceil((flat === "params" ? artefact.paramBytes : artefact.stateBytes) / 4) * 4,
  );
  for (const spec of artefact[flat]) put(spec, initial(spec, seed), bytes);
  return bytes;
}

export interface LoadedTensor {
  readonly place: Place;
  readonly data: AnyArray;
}

/**
 * The tensors of `weights`, converted and matched with the model's. Rejects with one WeightsError that lists everything
 * missing, unexpected and misshapen. PyTorch's `num_batches_tracked` counters are passed over.
 */
export async function readWeights(
  places: ReadonlyMap<string, Place>,
  weights: api.Weights,
  partial = false,
): Promise<LoadedTensor[]> {
  const bytes = await readBytes(weights);
  const file: ReadonlyMap<string, FileTensor | unknown> = bytes
    ? parseSafetensors(bytes)
    : new Map(Object.entries(weights ?? {}));
  const loaded = new Map<TensorSpec, LoadedTensor & { readonly path: string }>();
  const unexpected: string[] = [];
  const misshapen: string[] = [];
  for (const [path, given] of file) {
    const place = places.get(path);
    if (!place) {
      if (!path.endsWith("num_batches_tracked")) unexpected.push(path);
      continue;
    }
    const data = bytes
      ? fromFile(place.spec, path, given as FileTensor)
      : fromRecord(place.spec, path, given);
    if (typeof data === "string") {
      misshapen.push(data);
      continue;
    }
    const first = loaded.get(place.spec);
    if (first && !first.data.every((x, i) => Object.is(x, data[i]))) {
      misshapen.push(`${first.path} and ${path} are tied but differ`);
    }
    loaded.set(place.spec, first ?? { place, data, path });
  }
  const missing = partial
    ? []
    : [...new Set([...places.values()].map((p) => p.spec))]
        .filter(
          (spec) =>
            spec.role !== "internal" &&
            !loaded.has(spec) &&
            !misshapen.some((m) => m.startsWith(`${spec.path}: `)),
        )
        .map((spec) => spec.path);
  if (missing.length || unexpected.length || misshapen.length) {
    const parts = [
      missing.length ? `missing ${few(missing)}` : "",
      unexpected.length ? `unexpected ${few(unexpected)}` : "",
      misshapen.length ? few(misshapen) : "",
    ];
    throw new WeightsError(
      "weights-mismatch",
      `the weights do not fit the model: ${parts.filter(Boolean).join("; ")}`,
      {
        missing,
        unexpected,
        misshapen,
      },
    );
  }
  return [...loaded.values()];
}

const expects = (spec: TensorSpec): string => typeText(spec.dtype, spec.shape);

/** The elements, or what is wrong with them. */
function fromFile(spec: TensorSpec, path: string, tensor: FileTensor): AnyArray | string {
  const text = `${path}: expected ${expects(spec)}, the file has ${typeText(tensor.dtype, tensor.shape)}`;
  if (tensor.shape.join() !== spec.shape.join()) return text;
  return convert(tensor, spec.dtype) ?? text;
}

function fromRecord(spec: TensorSpec, path: string, value: unknown): AnyArray | string {
  try {
    return hostData(spec, path, value);
  } catch (error) {
    return (error as Error).message;
  }
}

/** A value for a tensor, given by the caller. */
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
  return source.data;
}
