// How tensors begin: constants, uniform and normal values. In the place of inits.ts, where there is nothing else.
import type { RareInit, TensorSpec } from "./program.ts";
import { type AnyArray, arrayOf, sizeOf } from "./tensor.ts";
import { drawKey, fnv1a, normal, randomBits, uniformFromBits, type Words } from "./threefry.ts";

/** A tensor as it begins. */
export function initial(spec: TensorSpec, seed: Words): AnyArray {
  const init = spec.init as Exclude<TensorSpec["init"], RareInit>;
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
