// Reads the committed reference figures (test/figures/*.safetensors, made by test/figures/make) and makes the weights and
// inputs they belong to again. A figure's name in, its settings, tensors and hash-made operands out.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { allclose, type Tolerance } from "./allclose.ts";
import { integers, parameter, signed } from "./hashing.ts";
import { type HostTensor, readSafetensors } from "./safetensors.ts";

/** How an operand is made again. */
export type Recipe =
  | { readonly rule: "signed"; readonly shape: readonly number[] }
  | { readonly rule: "integers"; readonly shape: readonly number[]; readonly below: number }
  | {
      readonly rule: "literal";
      readonly dtype: "f32" | "i32" | "bool";
      readonly shape: readonly number[];
      /** What is no number in JSON is a word. */
      readonly data: readonly (number | string)[];
    };

/** What the numbers of a large tensor come down to. */
export interface Summary {
  readonly shape: readonly number[];
  readonly norm: number;
  readonly sum: number;
  /** `probe(name, values)` of hashing.ts. */
  readonly probe: number;
  readonly first: readonly number[];
}

/** One case of the figure "operators"; tensors `NAME/y`, `NAME/other.I` where there are several results, and `NAME/grad.I`. */
export interface OperatorCase {
  readonly name: string;
  readonly op: string;
  readonly operands: readonly Recipe[];
  readonly attrs: { readonly [name: string]: number | boolean | string | readonly number[] };
  readonly shape: readonly number[];
}

/** What test/figures/make/__main__.py writes beside the tensors; which of them a figure has is said there. */
export interface FigureInfo {
  readonly name: string;
  readonly made_by: string;
  readonly source?: string;
  readonly model?: string;
  readonly layer?: string;
  readonly set: { readonly [argument: string]: number | boolean };
  readonly salt: string;
  readonly parameters: { readonly [path: string]: readonly number[] };
  readonly inputs: { readonly [name: string]: Recipe };
  readonly modes?: readonly ("eval" | "train")[];
  readonly optimizers?: { readonly [name: string]: { readonly [setting: string]: number } };
  readonly steps?: number;
  /** The seed masks are drawn from, and the place in the program that draws. */
  readonly dropout?: { readonly seed: number; readonly site: string };
  readonly gradients?: { readonly [path: string]: Summary };
  readonly cases?: readonly OperatorCase[];
  readonly float32_error: { readonly [group: string]: number };
}

export interface WeightTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

export interface Shaped {
  readonly data: Float32Array | Int32Array;
  readonly shape: readonly number[];
}

export class Figure {
  readonly info: FigureInfo;
  readonly #tensors: ReadonlyMap<string, HostTensor>;

  constructor(info: FigureInfo, tensors: ReadonlyMap<string, HostTensor>) {
    this.info = info;
    this.#tensors = tensors;
  }

  /** Names of its tensors that begin with `prefix`, without it. */
  names(prefix = ""): string[] {
    return [...this.#tensors.keys()].filter((k) => k.startsWith(prefix)).map((k) => k.slice(prefix.length));
  }

  /** An expected tensor. */
  expected(name: string): HostTensor & { readonly data: Float32Array } {
    const found = this.#tensors.get(name);
    if (found === undefined || !(found.data instanceof Float32Array)) {
      throw new Error(`figure ${this.info.name} has no float tensor ${name}`);
    }
    return { ...found, data: found.data };
  }

  /** Throws, naming figure and tensor, unless `actual` agrees with the expected tensor `name`. */
  check(name: string, actual: ArrayLike<number>, tolerance: Tolerance = {}): void {
    const { shape, data } = this.expected(name);
    allclose(actual, data, { name: `${this.info.name}: ${name}`, shape, ...tolerance });
  }

  /** The weights (and running statistics) it starts from. */
  weights(): Map<string, WeightTensor> {
    return new Map(
      Object.entries(this.info.parameters).map(([path, shape]) => [
        path,
        { shape, data: parameter(this.info.salt + path, shape) },
      ]),
    );
  }

  /** The inputs of the call, or of batch `step` (from 1) where the figure is of training. */
  inputs(step?: number): Record<string, Float32Array | Int32Array> {
    const training = this.info.steps !== undefined || this.info.gradients !== undefined;
    const suffix = training ? `.${step ?? 1}` : "";
    return Object.fromEntries(
      Object.entries(this.info.inputs).map(([name, how]) => [
        name,
        operand(this.info.salt + name + suffix, how),
      ]),
    );
  }

  /** The same with their shapes, which a call needs where two sizes are open. */
  shapedInputs(step?: number): Record<string, Shaped> {
    return Object.fromEntries(
      Object.entries(this.inputs(step)).map(([name, data]) => [
        name,
        { data, shape: this.info.inputs[name].shape },
      ]),
    );
  }

  /** The direction in which gradients of result `name` were taken. */
  direction(name: string, shape: readonly number[]): Float32Array {
    return signed(`${this.info.salt}direction.${name}`, shape);
  }
}

/** An operand by its recipe; `name` seeds the hash-made ones. */
export function operand(name: string, how: Recipe): Float32Array | Int32Array {
  switch (how.rule) {
    case "signed":
      return signed(name, how.shape);
    case "integers":
      return integers(name, how.shape, how.below);
    case "literal":
      return how.dtype === "f32"
        ? Float32Array.from(how.data.map(Number))
        : Int32Array.from(how.data.map(Number));
  }
}

/** Reads test/figures/NAME.safetensors. */
export function figure(name: string): Figure {
  const path = fileURLToPath(new URL(`../figures/${name}.safetensors`, import.meta.url));
  const { metadata, tensors } = readSafetensors(readFileSync(path));
  return new Figure(JSON.parse(metadata["figure"]) as FigureInfo, tensors);
}
