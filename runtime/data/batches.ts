// Batches of a data set, in an order of their own each epoch. In: a Dataset, and how to make inputs of its columns. Out: objects
// that an entry takes: `{ x: { data, shape }, y: { data, shape } }`. The order depends on seed and epoch, what is drawn for a
// record on seed, epoch and record: where a run was stopped and how many workers there are changes nothing.
import { sizeOf } from "../core/tensor.ts";
import {
  applyTransforms,
  checkTransforms,
  mixBatch,
  mixesBatches,
  parseTransforms,
  type Size,
  type Transform,
} from "./augment.ts";
import { type Column, DataError, type Dataset } from "./dataset.ts";
import { drawOf, keyOf, normal, permutation } from "./random.ts";

/** What an input is made of. */
export interface InputOf {
  /** A column of the data. */
  readonly column: string;
  /** Of one record, where it is another than the column's: [784] of [1, 28, 28]. */
  readonly shape?: readonly number[];
  /** Shares of so many classes instead of the number of one. */
  readonly oneHot?: number;
}

/** What is drawn for each record, of its own: the noise of a GAN's generator. */
export interface DrawnInput {
  readonly draw: "normal" | "uniform";
  /** Of one record. */
  readonly shape: readonly number[];
}

export interface BatchOptions {
  /** Records of a batch. */
  readonly batch: number;
  /** 0 without it. */
  readonly seed?: number | bigint;
  /** Orders and draws are another epoch's each time; 0 without it. */
  readonly epoch?: number;
  /** Without it, records come in an order that is drawn; with `false` as they lie. */
  readonly shuffle?: boolean;
  /** `drop`: a last batch that is not full is left out. */
  readonly last?: "keep" | "drop";
  /** The first batch, for going on within an epoch. */
  readonly from?: number;
  /** Inputs by name; without it, the columns under their own names. */
  readonly inputs?: Readonly<Record<string, string | InputOf | DrawnInput>>;
  /** As `crop:4,flip`, or a list of transforms; they change the columns that are pictures (f32[c, h, w]). */
  readonly augment?: string | readonly Transform[];
}

export interface BatchInput {
  readonly data: Float32Array | Int32Array;
  readonly shape: readonly number[];
}
export type Batch = Readonly<Record<string, BatchInput>>;

/** How many batches an epoch has. */
export function batchCount(
  { size }: Dataset,
  { batch, last = "keep" }: Pick<BatchOptions, "batch" | "last">,
): number {
  return last === "drop" ? Math.floor(size / batch) : Math.ceil(size / batch);
}

/** All that a worker needs to make batches, as plain data. */
export interface Recipe {
  readonly seed: number | bigint;
  readonly transforms: readonly Transform[];
  readonly inputs: readonly (Required<Pick<InputOf, "column" | "shape">> &
    Pick<InputOf, "oneHot"> & { readonly name: string })[];
  readonly drawn: readonly (DrawnInput & { readonly name: string })[];
}

export function recipeOf(data: Dataset, options: Omit<BatchOptions, "batch">): Recipe {
  const { seed = 0, augment = [] } = options;
  const transforms = typeof augment === "string" ? parseTransforms(augment) : augment;
  const names = options.inputs ?? Object.fromEntries(Object.keys(data.columns).map((name) => [name, name]));
  const given = Object.entries(names);
  const drawn = given.flatMap(([name, of]) =>
    typeof of !== "string" && "draw" in of ? [{ ...of, name }] : [],
  );
  const inputs = given.flatMap(([name, of]) => {
    if (typeof of !== "string" && "draw" in of) return [];
    const from: InputOf = typeof of === "string" ? { column: of } : of;
    if (!Object.hasOwn(data.columns, from.column))
      throw new DataError(
        `${data.name} has no ${from.column}: it has ${Object.keys(data.columns).join(", ")}`,
      );
    const column = data.columns[from.column];
    const shape = from.oneHot !== undefined ? [from.oneHot] : (from.shape ?? column.shape);
    if (from.oneHot === undefined && sizeOf(shape) !== sizeOf(column.shape))
      throw new DataError(
        `${name}: [${column.shape.join(", ")}] of ${from.column} cannot be laid out as [${shape.join(", ")}]`,
      );
    return [{ name, column: from.column, shape, oneHot: from.oneHot }];
  });
  const pictures = inputs.filter((i) => pictureSize(data.columns[i.column]));
  if (transforms.length > 0 && pictures.length === 0)
    throw new DataError(
      `${transforms[0].kind} changes pictures, and ${data.name} has none: ${Object.entries(data.columns)
        .map(([name, c]) => `${name} is ${c.dtype}[${c.shape.join(", ")}]`)
        .join(", ")}`,
    );
  for (const i of pictures) checkTransforms(transforms, pictureSize(data.columns[i.column]) as Size);
  const mixed = transforms.find(mixesBatches);
  if (mixed && !inputs.some((i) => i.oneHot !== undefined))
    throw new DataError(
      `${mixed.kind} blends labels, so the loss has to take shares of classes, y: f32[N, classes], as cross_entropy does, too`,
    );
  return { seed, transforms, inputs, drawn };
}

function pictureSize({ dtype, shape }: Column): Size | undefined {
  if (dtype !== "f32" || shape.length !== 3) return undefined;
  return { channels: shape[0], height: shape[1], width: shape[2] };
}

/** These records as one batch. */
export function makeBatch(data: Dataset, recipe: Recipe, records: Int32Array, epoch: number): Batch {
  const count = records.length;
  const key = keyOf(recipe.seed, "augment", epoch);
  const own = recipe.transforms.filter((t) => !mixesBatches(t));
  const batch: Record<string, BatchInput> = Object.create(null);
  for (const { name, column, shape, oneHot } of recipe.inputs) {
    const from = data.columns[column];
    const elements = sizeOf(shape);
    const picture = pictureSize(from);
    if (oneHot !== undefined) {
      const one = new Int32Array(1);
      const shares = new Float32Array(count * oneHot);
      records.forEach((record, i) => {
        from.read(record, one, 0);
        if (!(one[0] >= 0 && one[0] < oneHot))
          throw new DataError(
            `${data.place(record, column)} has the class ${one[0]}, expected 0 to ${oneHot - 1}`,
          );
        shares[i * oneHot + one[0]] = 1;
      });
      batch[name] = { data: shares, shape: [count, oneHot] };
      continue;
    }
    const out = from.dtype === "f32" ? new Float32Array(count * elements) : new Int32Array(count * elements);
    records.forEach((record, i) => {
      from.read(record, out, i * elements);
      if (picture && own.length > 0)
        applyTransforms(
          (out as Float32Array).subarray(i * elements, (i + 1) * elements),
          picture,
          own,
          drawOf(key, record),
        );
    });
    batch[name] = { data: out, shape: [count, ...shape] };
  }
  for (const { name, draw, shape } of recipe.drawn) {
    const elements = sizeOf(shape);
    const out = new Float32Array(count * elements);
    const own = keyOf(recipe.seed, `draw ${name}`, epoch);
    records.forEach((record, i) => {
      const next = drawOf(own, record);
      for (let k = 0; k < elements; k++) out[i * elements + k] = draw === "normal" ? normal(next) : next();
    });
    batch[name] = { data: out, shape: [count, ...shape] };
  }
  const labels = recipe.inputs.find((i) => i.oneHot !== undefined);
  const pictures = recipe.inputs.find((i) => pictureSize(data.columns[i.column]));
  for (const t of recipe.transforms) {
    if (!mixesBatches(t) || !labels || !pictures) continue;
    // One draw a batch, by the record that is its first.
    const draw = drawOf(keyOf(recipe.seed, t.kind, epoch), records[0]);
    const size = pictureSize(data.columns[pictures.column]) as Size;
    const [x, y] = [batch[pictures.name].data, batch[labels.name].data];
    mixBatch(t, x as Float32Array, size, y as Float32Array, count, draw);
  }
  return batch;
}

/** The records of an epoch, in its order. */
export function orderOf(
  { size }: Dataset,
  { seed = 0, epoch = 0, shuffle = true }: Pick<BatchOptions, "seed" | "epoch" | "shuffle">,
): Int32Array {
  return shuffle
    ? permutation(size, keyOf(seed, "order", epoch))
    : Int32Array.from({ length: size }, (_, i) => i);
}

/** One epoch. */
export function* batches(data: Dataset, options: BatchOptions): Generator<Batch, void, undefined> {
  const { batch, epoch = 0, from = 0 } = options;
  if (!Number.isSafeInteger(batch) || batch < 1)
    throw new DataError(`a batch has at least one record, given ${batch}`);
  const recipe = recipeOf(data, options);
  const order = orderOf(data, options);
  const count = batchCount(data, options);
  for (let i = from; i < count; i++)
    yield makeBatch(data, recipe, order.subarray(i * batch, (i + 1) * batch), epoch);
}
