// Checks and converts the arguments of a call. In: an entry's ports and what the caller gave. Out: the sizes (symbols and
// `input.axis`), and for each input its elements or its GPU buffer. Every refusal is an InputError that says what was
// expected and what was given.
import { didYouMean, few, InputError, isObject, reason, shown, told } from "./errors.ts";
import { evaluateRow, firstName } from "./expr.ts";
import { checkIndexes } from "./indexes.ts";
import type { DType, EntryPlan, Port } from "./program.ts";
import {
  type AnyArray,
  arrayOf,
  heldBy,
  isGone,
  itemBytes,
  sizeOf,
  Tensor,
  tagOf,
  takeShape,
  typeText,
} from "./tensor.ts";

/** Elements on the host, or a GPU buffer that holds them. */
export type Source = { readonly data: AnyArray } | { readonly buffer: GPUBuffer };

export interface Given {
  readonly sources: readonly Source[];
  /** Symbols, and sizes by `input.axis`. */
  readonly names: ReadonlyMap<string, number>;
  /** The symbols' values: what a plan is cached by. */
  readonly key: string;
}

const portText = (port: Port): string => `${port.name}: ${typeText(port.dtype, port.shapeText)}`;

/** `checks`: whether elements that are used as indices are looked through. */
export const takeInputs = (
  entry: EntryPlan,
  given: { readonly [name: string]: unknown },
  checks = true,
): Given => reading(`${entry.name}'s inputs`, () => takeAll(entry, given, checks));

function takeAll(entry: EntryPlan, given: { readonly [name: string]: unknown }, checks: boolean): Given {
  const wanted = entry.inputs.map((p) => p.name);
  if (typeof given !== "object" || given === null) {
    throw new InputError(
      "missing-input",
      `${entry.name} expects an object with ${few(wanted) || "no inputs"}`,
    );
  }
  for (const name of Object.keys(given)) {
    if (wanted.includes(name)) continue;
    const has = wanted.length ? `its inputs are ${few(wanted)}` : "it takes no inputs";
    throw new InputError(
      "unknown-input",
      `${entry.name} has no input ${shown(name)}: ${has}${didYouMean(name, wanted)}`,
    );
  }
  const names = new Map<string, number>();
  const taken = entry.inputs.map((port) => {
    if (!Object.hasOwn(given, port.name) || given[port.name] === undefined) {
      throw new InputError("missing-input", `${entry.name} needs ${portText(port)}, which is missing`);
    }
    const value = takeValue(port.dtype, given[port.name], portText(port));
    if (value.shape) {
      if (value.shape.length !== port.shape.length) throw shapeError(port, value.shape);
      value.shape.forEach((size, k) => {
        names.set(`${port.name}.${k}`, size);
      });
      // What counts is the size of its name.
      if (value.count === 1 && "data" in value.source) names.set(port.name, value.source.data[0]);
    }
    return value;
  });

  // Flat arrays: each learns its one unknown size from its length, as soon as the other sizes are known.
  solveSymbols(entry, names);
  const flat = new Set(taken.flatMap((t, i) => (t.shape ? [] : [i])));
  for (let progress = true; progress; ) {
    progress = false;
    for (const i of flat) {
      const port = entry.inputs[i];
      const shape = port.shape.map((id) => evaluateRow(entry.body.exprs, id, names));
      const unknown = shape.flatMap((size, k) => (Number.isNaN(size) ? [k] : []));
      if (unknown.length > 1) continue;
      if (unknown.length === 1) {
        const rest = sizeOf(shape.filter((size) => !Number.isNaN(size)));
        if (taken[i].count % rest !== 0) {
          throw new InputError(
            "input-shape",
            `${portText(port)} takes a multiple of ${rest} elements, given ${taken[i].count}`,
          );
        }
        shape[unknown[0]] = taken[i].count / rest;
      } else if (sizeOf(shape) !== taken[i].count) {
        throw new InputError(
          "input-shape",
          `${portText(port)} takes ${sizeOf(shape)} elements here, given ${taken[i].count}`,
        );
      }
      shape.forEach((size, k) => {
        names.set(`${port.name}.${k}`, size);
      });
      solveSymbols(entry, names);
      flat.delete(i);
      progress = true;
    }
  }
  for (const i of flat) {
    throw new InputError(
      "input-shape",
      `${portText(entry.inputs[i])}: ${taken[i].count} elements do not tell its sizes: give { data, shape }, a Tensor or nested arrays`,
    );
  }
  for (const port of entry.inputs) checkShape(entry, port, names);
  if (checks)
    entry.inputs.forEach((port, i) => {
      const { source } = taken[i];
      if ("data" in source) checkIndexes(entry, port, source.data, names);
    });
  const key = entry.symbols.map((s) => names.get(s.name)).join();
  return { sources: taken.map((t) => t.source), names, key };
}

function solveSymbols(entry: EntryPlan, names: Map<string, number>): void {
  for (const symbol of entry.symbols) {
    const value = evaluateRow(entry.solve, symbol.value, names);
    if (!Number.isNaN(value)) names.set(symbol.name, value);
  }
}

function shapeError(port: Port, shape: readonly number[], detail = ""): InputError {
  return new InputError(
    "input-shape",
    `expected ${portText(port)}, given ${typeText(port.dtype, shape)}${detail}`,
  );
}

function checkShape(entry: EntryPlan, port: Port, names: ReadonlyMap<string, number>): void {
  const shape = port.shapeText.map((_, k) => names.get(`${port.name}.${k}`) as number);
  port.shape.forEach((id, k) => {
    const expected = evaluateRow(entry.body.exprs, id, names);
    if (shape[k] === expected) return;
    const symbol = entry.symbols.find((s) => s.name === port.shapeText[k]);
    const from = symbol && firstName(entry.solve, symbol.value);
    if (!symbol || !from) throw shapeError(port, shape, ` (axis ${k} is ${shape[k]}, expected ${expected})`);
    const dot = from.lastIndexOf(".");
    throw new InputError(
      "symbol-mismatch",
      `${symbol.name} is ${expected} in ${from.slice(0, dot)} (axis ${from.slice(dot + 1)}) and ${shape[k]} in ${port.name} (axis ${k})`,
    );
  });
}

interface Taken {
  /** Undefined for a flat array, which only says how many elements it has. */
  readonly shape?: readonly number[];
  readonly count: number;
  readonly source: Source;
}

const isGpuBuffer = (value: unknown): value is GPUBuffer =>
  isObject(value) && "mapState" in value && "usage" in value;

/** A Tensor, of this module or another: each inlines a class of its own. */
const isTensor = (value: unknown): value is Tensor =>
  value instanceof Tensor || (isObject(value) && "dtype" in value && "buffer" in value && "toArray" in value);

/** A value for a tensor of `dtype`; `what` names it in messages. */
export const takeValue = (dtype: DType, value: unknown, what: string): Taken =>
  reading(what, () => takeAny(dtype, value, what));

/** What the caller's own objects throw (getters, proxies), and what there is no room for, as an InputError. */
function reading<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (cause instanceof InputError) throw cause;
    throw new InputError("input", `${what}: it cannot be read: ${reason(cause)}`, cause);
  }
}

function takeAny(dtype: DType, value: unknown, what: string): Taken {
  if (isTensor(value)) {
    const { buffer } = value;
    if (value.dtype !== dtype) throw dtypeError(dtype, what, `a Tensor of ${told(value.dtype)}`);
    return shaped(what, value.shape, takeFlat(dtype, buffer ?? elementsOf(value, what), what) as Flat);
  }
  const flat = takeFlat(dtype, value, what);
  if (flat) return flat;
  if (typeof value === "number" || typeof value === "boolean" || Array.isArray(value))
    return takeNested(dtype, value, what);
  if (isObject(value) && "data" in value && "shape" in value) {
    const { data, shape } = value;
    const elements =
      takeFlat(dtype, data, what) ?? (Array.isArray(data) ? takeNested(dtype, data, what) : undefined);
    if (!elements) throw dtypeError(dtype, what, `a shape with ${describe(data)} as data`);
    return shaped(what, shape, elements);
  }
  throw dtypeError(dtype, what, describe(value));
}

function elementsOf(tensor: Tensor, what: string): AnyArray {
  try {
    return tensor.data;
  } catch (cause) {
    const { code } = cause as { readonly code?: string };
    throw new InputError(code ?? "input", `${what}: ${reason(cause)}`, cause);
  }
}

type Flat = Pick<Taken, "count" | "source">;

/** A GPU buffer or a typed array; undefined where it is neither. */
function takeFlat(dtype: DType, value: unknown, what: string): Flat | undefined {
  if (isGpuBuffer(value))
    return { count: Math.floor(value.size / itemBytes(dtype)), source: { buffer: value } };
  if (!ArrayBuffer.isView(value)) return undefined;
  const data = takeView(dtype, value, what);
  return { count: data.length, source: { data } };
}

function shaped(what: string, sizes: unknown, { count, source }: Flat): Taken {
  const shape = takeShape(sizes, what);
  const size = sizeOf(shape);
  if ("buffer" in source ? count < size : count !== size)
    throw new InputError("input-shape", `${what}: [${shape}] is ${size} elements, its data has ${count}`);
  return { shape, count: size, source };
}

function dtypeError(dtype: DType, what: string, given: string): InputError {
  const takes =
    dtype === "i32" ? "an Int32Array (or another of signed integers, or of bytes)" : `a ${heldBy(dtype)}`;
  return new InputError(
    "input-dtype",
    `${what} takes ${takes}, nested arrays, a Tensor or a GPUBuffer, given ${given}`,
  );
}

/** `a string`, `an Int32Array`: what a value is, for messages. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value !== "object") return `a ${typeof value}`;
  const own: unknown = value.constructor?.name;
  const name = shown((typeof own === "string" && own) || "object");
  return `${/^[AEIO]/.test(name) ? "an" : "a"} ${name}`;
}

function takeView(dtype: DType, view: ArrayBufferView, what: string): AnyArray {
  const tag = tagOf(view);
  const array = view as AnyArray;
  if (tag !== "DataView" && isGone(view))
    throw new InputError("detached", `${what}: the memory of this ${tag} was transferred or resized`);
  if (tag === "BigInt64Array" && dtype === "i32") {
    const from = view as unknown as BigInt64Array;
    const to = new Int32Array(from.length);
    for (let i = 0; i < from.length; i++) {
      to[i] = Number(from[i]);
      if (BigInt(to[i]) !== from[i])
        throw new InputError("input-range", `${what}: ${from[i]} at ${i} is no 32-bit integer`);
    }
    return to;
  }
  // Narrower integers (i8 and u8 in the model) are i32 on the device.
  if (dtype === "i32" && ["Int8Array", "Uint8Array", "Uint8ClampedArray", "Int16Array"].includes(tag ?? ""))
    return Int32Array.from(view as unknown as Iterable<number>);
  if (tag !== heldBy(dtype) && !(dtype === "f16" && tag === "Float16Array"))
    throw dtypeError(dtype, what, describe(view));
  return array;
}

function takeNested(dtype: DType, value: unknown, what: string): Taken {
  const shape: number[] = [];
  let leaf = value;
  for (; Array.isArray(leaf) && shape.length < 32; leaf = leaf[0]) shape.push(leaf.length);
  // Before there is room for all of them.
  if (shape.every((d) => d > 0) && typeof leaf !== "number" && typeof leaf !== "boolean")
    throw dtypeError(dtype, what, `an array that holds ${describe(leaf)}`);
  const data = arrayOf(dtype, sizeOf(shape));
  let at = 0;
  const fill = (v: unknown, axis: number): void => {
    if (axis < shape.length) {
      if (!Array.isArray(v) || v.length !== shape[axis]) {
        throw new InputError(
          "input-shape",
          `${what}: its nested arrays are not of one length (axis ${axis}, near element ${at})`,
        );
      }
      for (let i = 0; i < shape[axis]; i++) fill(v[i], axis + 1);
      return;
    }
    const number = typeof v === "boolean" && dtype === "bool" ? Number(v) : v;
    if (typeof number !== "number") throw dtypeError(dtype, what, `an array that holds ${describe(v)}`);
    data[at] = number;
    if (dtype !== "f32" && dtype !== "f16" && (data[at] !== number || (dtype === "bool" && number > 1))) {
      throw new InputError("input-range", `${what}: ${number} at ${at} is no ${dtype}`);
    }
    at++;
  };
  fill(value, 0);
  return { shape, count: data.length, source: { data } };
}
