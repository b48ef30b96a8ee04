// Parts of a data set. In: a Dataset, a share, a seed. Out: two Datasets that have no record in common.
import { DataError, type Dataset, subset } from "./dataset.ts";
import { keyOf, permutation } from "./random.ts";

export interface SplitOptions {
  /** Decides which records are held out; 0 without it. */
  readonly seed?: number | bigint;
  /** `end`: the last records, for what has an order (a text). `random` without it. */
  readonly by?: "random" | "end";
}

/** Holds out a share of the records: `0.2` is a fifth (rounded, at least one on each side). */
export function split(
  data: Dataset,
  share: number,
  { seed = 0, by = "random" }: SplitOptions = {},
): { readonly train: Dataset; readonly val: Dataset } {
  if (!(share > 0 && share < 1)) throw new DataError(`a share is between 0 and 1, given ${share}`);
  if (data.size < 2) throw new DataError(`${data.name} has ${data.size} records, which cannot be split`);
  const held = Math.min(data.size - 1, Math.max(1, Math.round(share * data.size)));
  const order =
    by === "random"
      ? permutation(data.size, keyOf(seed, "split", 0))
      : Int32Array.from({ length: data.size }, (_, i) => i);
  // In the order of the file, so that what is read one by one is read forwards.
  const train = order.slice(0, data.size - held).sort();
  const val = order.slice(data.size - held).sort();
  return { train: subset(data, train), val: subset(data, val) };
}
