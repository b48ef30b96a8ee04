// What `mdl train` and `mdl eval` have in common: data by the command line, and weights from elsewhere. In: flags. Out: data sets
// in their parts, transforms, tensors.

import { MdlRuntimeError } from "../../../runtime/core/errors.ts";
import type { Artefact, EntryPlan } from "../../../runtime/core/program.ts";
import { convert, parseSafetensors } from "../../../runtime/core/safetensors.ts";
import type { AnyArray } from "../../../runtime/core/tensor.ts";
import { parseTransforms, type Transform } from "../../../runtime/data/augment.ts";
import { type Batch, makeBatch, recipeOf } from "../../../runtime/data/batches.ts";
import type { Dataset } from "../../../runtime/data/dataset.ts";
import { openData } from "../../../runtime/data/node/open.ts";
import { split } from "../../../runtime/data/split.ts";
import { InputFailure, UsageError } from "../failure.ts";
import { readBytes } from "../files.ts";
import type { PictureOptions } from "../pictures/tensor.ts";
import { count } from "../style.ts";
import { matchInputs } from "./match.ts";

export interface Parts {
  readonly train: Dataset;
  readonly val?: Dataset;
}

/** `--data` and `--val`: a share of the data (0.2), data of its own, `none`, or what the data's makers hold out. */
export function openParts(data: string, val: string | undefined, seed: bigint): Parts {
  const { train, test, ordered } = openData(data);
  if (val === undefined) return { train, val: test };
  if (val === "none") return { train };
  const share = Number(val);
  if (val.trim() !== "" && Number.isFinite(share)) {
    if (!(share > 0 && share < 1))
      throw new UsageError(`--val takes a share of the data, as in 0.2, or data; given ${val}`);
    return split(train, share, { seed, by: ordered ? "end" : "random" });
  }
  const other = openData(val);
  return { train, val: other.test ?? other.train };
}

/** `--augment` and `--normalize` as transforms, normalising last. */
export function transformsOf(augment: string | undefined, normalize: string | undefined): Transform[] {
  const some = augment === undefined ? [] : parseTransforms(augment);
  return normalize === undefined ? some : [...some, ...parseTransforms(`normalize:${normalize}`)];
}

/**
 * `--init`: of a file whatever has a parameter's name and shape; the rest begins as declared (a new head on an old trunk). Out:
 * as `loadWeights` takes it, and a sentence.
 */
export function readInit(
  artefact: Artefact,
  path: string,
): {
  readonly tensors: Record<string, { readonly data: AnyArray; readonly shape: readonly number[] }>;
  readonly text: string;
} {
  let file: ReturnType<typeof parseSafetensors>;
  try {
    file = parseSafetensors(readBytes(path));
  } catch (error) {
    throw error instanceof MdlRuntimeError ? new InputFailure(`${path}: ${error.message}`) : error;
  }
  const tensors: Record<string, { data: AnyArray; shape: readonly number[] }> = Object.create(null);
  const others: string[] = [];
  const specs = [...artefact.params, ...artefact.state].filter((s) => s.role !== "internal");
  for (const spec of specs) {
    const name = [spec.path, ...spec.aliases].find((p) => file.has(p));
    const tensor = name === undefined ? undefined : file.get(name);
    const data = tensor && convert(tensor, spec.dtype);
    if (tensor && data && tensor.shape.join() === spec.shape.join())
      tensors[spec.path] = { data, shape: spec.shape };
    else if (tensor)
      others.push(`${spec.path} ([${tensor.shape.join(", ")}] there, [${spec.shape.join(", ")}] here)`);
    else others.push(spec.path);
  }
  const taken = Object.keys(tensors).length;
  if (taken === 0)
    throw new InputFailure(
      `${path} has nothing of ${artefact.name}: its tensors are ${[...file.keys()].slice(0, 6).join(", ")}${file.size > 6 ? ", …" : ""}`,
    );
  const rest = others.length
    ? `; as declared: ${others.slice(0, 4).join(", ")}${others.length > 4 ? ` and ${others.length - 4} more` : ""}`
    : "";
  return { tensors, text: `${taken} of ${count(specs.length, "tensor")} from ${path}${rest}` };
}

/** `3`, or `0:16`: from one record to before another. */
function parseRecords(text: string): { readonly from: number; readonly to: number } {
  const [, first, end] = /^(\d+)(?::(\d+))?$/.exec(text) ?? [];
  const from = Number(first);
  const to = end === undefined ? from + 1 : Number(end);
  if (first === undefined || to <= from)
    throw new UsageError(`--records takes a number or a range, as in 3 or 0:16; given ${text}`);
  return { from, to };
}

/** Records of a data set (of what its makers hold out, where they do) as inputs of an entry; those it has no column for are left. */
export function recordInputs(
  entry: EntryPlan,
  data: string,
  records: string,
  map: Readonly<Record<string, string>> | undefined,
  { mean, std }: PictureOptions,
  given: readonly string[],
): Batch {
  const { train, test } = openData(data);
  const set = test ?? train;
  const { from, to } = parseRecords(records);
  if (to > set.size)
    throw new InputFailure(
      `${set.name} has ${count(set.size, "record")}, --records ${records} asks for more`,
    );
  const open: EntryPlan = { ...entry, inputs: entry.inputs.filter((p) => !given.includes(p.name)) };
  const inputs = matchInputs(open, set, map);
  const channels = (mean ?? std)?.length ?? 1;
  const all = (of: readonly number[] | undefined, value: number): readonly number[] =>
    of ?? new Array<number>(channels).fill(value);
  const normalize: Transform[] =
    mean || std ? [{ kind: "normalize", mean: all(mean, 0), std: all(std, 1) }] : [];
  const recipe = recipeOf(set, { inputs, augment: normalize });
  return makeBatch(
    set,
    recipe,
    Int32Array.from({ length: to - from }, (_, i) => from + i),
    0,
  );
}
