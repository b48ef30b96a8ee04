// What `mdl train` and `mdl eval` have in common: data by the command line, and weights from elsewhere. In: flags. Out: data sets
// in their parts, transforms, tensors.

import { MdlRuntimeError } from "../../../runtime/core/errors.ts";
import type { Artefact } from "../../../runtime/core/program.ts";
import { convert, parseSafetensors } from "../../../runtime/core/safetensors.ts";
import type { AnyArray } from "../../../runtime/core/tensor.ts";
import { parseTransforms, type Transform } from "../../../runtime/data/augment.ts";
import type { Dataset } from "../../../runtime/data/dataset.ts";
import { openData } from "../../../runtime/data/node/open.ts";
import { split } from "../../../runtime/data/split.ts";
import { InputFailure, UsageError } from "../failure.ts";
import { readBytes } from "../files.ts";
import { count } from "../style.ts";

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
