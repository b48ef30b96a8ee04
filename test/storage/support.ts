// What tests of stored weights share: a model compiled with them, and the weights as the command makes them.
import {
  type Compiled,
  compile,
  dequantizeWeight,
  type Quantized,
  quantizeWeight,
  type Storage,
  type StoredWeight,
  type Target,
} from "../../compiler/core/index.ts";
import { ODD } from "./models.ts";

/** Numbers around 0 from a seed, few of them large. */
export function numbers(count: number, seed: number): Float32Array {
  let state = (seed * 2654435761 + 12345) >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const u = state / 2 ** 32 - 0.5;
    return u * u * u * 4;
  });
}
const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

export interface Tensor {
  readonly dtype: "f32" | "u32";
  readonly shape: readonly number[];
  readonly data: Float32Array | Uint32Array;
}

/** A weight as it is stored, by path. */
export const packed = ({ words, scale }: StoredWeight, q: Quantized): Record<string, Tensor> => ({
  [words.path]: { dtype: "u32", shape: words.shape, data: q.words },
  ...(scale && q.scale && { [scale.path]: { dtype: "f32", shape: scale.shape, data: q.scale } }),
});

export interface Stored {
  readonly plain: Compiled;
  readonly stored: Compiled;
  /** For the stored model, and what that stands for, for the plain one. */
  readonly words: Readonly<Record<string, Tensor>>;
  readonly decoded: Readonly<Record<string, Tensor>>;
}

/** A model as it is and with weights in fewer bits, and weights for both: numbers by path and seed. */
export function stored(
  model: string,
  storage: Storage,
  targets?: readonly (string | Target)[],
  entries?: readonly string[],
): Stored {
  const options = { model, verify: true, ...(targets && { targets }), ...(entries && { entries }) };
  const plain = compile(ODD, "odd.mdl", options);
  const small = compile(ODD, "odd.mdl", { ...options, storage });
  const words: Record<string, Tensor> = {};
  const decoded: Record<string, Tensor> = {};
  const weights = new Map(small.stored?.weights.map((w) => [w.path, w]));
  [...plain.artefact.params, ...plain.artefact.state].forEach(({ path, shape }, i) => {
    const given = numbers(sizeOf(shape), i + 1);
    const data = path.endsWith("var") ? given.map((x) => Math.abs(x) + 0.5) : given;
    const own: Tensor = { dtype: "f32", shape, data };
    const w = weights.get(path);
    if (!w) {
      words[path] = own;
      decoded[path] = own;
      return;
    }
    const q = quantizeWeight(w, data);
    Object.assign(words, packed(w, q));
    decoded[path] = { ...own, data: dequantizeWeight(w, q) };
  });
  return { plain, stored: small, words, decoded };
}
