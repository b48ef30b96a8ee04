// `--input name=VALUE`: from the command line to what an entry takes. In: the arguments and the entry's ports. Out: data by
// name, checked against the declaration, or an InputFailure that says the file, what was expected and what was given.
// VALUE is a file (.npy, .npz:NAME, .json, .csv, .png, .jpg, .bin with raw little-endian elements), `-` for standard input, or a
// literal: 3, true, [1, 2].
import { existsSync } from "node:fs";
import { InputError } from "../../runtime/core/errors.ts";
import { type Given, takeInputs } from "../../runtime/core/inputs.ts";
import type { EntryPlan, Port } from "../../runtime/core/program.ts";
import { type AnyArray, arrayOf, f16ToNumber, typeText } from "../../runtime/core/tensor.ts";
import { CsvError, parseCsv } from "../../runtime/data/csv.ts";
import { decodePicture, isPicture } from "../../runtime/data/node/pictures/decode.ts";
import { type Picture, PictureError } from "../../runtime/data/node/pictures/picture.ts";
import { isZip, readNpz, ZipError } from "../../runtime/data/node/zip.ts";
import { isNpy, NpyError, parseNpy } from "../../runtime/data/npy.ts";
import { InputFailure, UsageError } from "./failure.ts";
import { readBytes } from "./files.ts";
import { type PictureOptions, toTensor } from "./pictures/tensor.ts";

/** What takeInputs takes: elements with a shape, or flat ones whose one unknown size is inferred. */
export type Value = AnyArray | { readonly data: AnyArray; readonly shape: readonly number[] };

export interface Argument {
  readonly name: string;
  readonly value: string;
}

export function parseArgument(text: string): Argument {
  const at = text.indexOf("=");
  if (at <= 0)
    throw new UsageError(`--input takes name=FILE, given ${text}; for example --input x=image.npy`);
  return { name: text.slice(0, at), value: text.slice(at + 1) };
}

export const portText = (port: Port): string =>
  `${port.name}: ${port.shapeText.length ? typeText(port.dtype, port.shapeText) : port.dtype}`;

/** The entry's inputs by name, and what the runtime makes of them; `there` are given already. */
export function readInputs(
  entry: EntryPlan,
  args: readonly Argument[],
  pictures: PictureOptions = {},
  there: Readonly<Record<string, Value>> = {},
): { values: Record<string, Value>; given: Given } {
  const wanted = entry.inputs.map((p) => p.name);
  const values: Record<string, Value> = { ...there };
  const from = new Map<string, string>();
  let standardInput: string | undefined;
  for (const { name, value } of args) {
    const port = entry.inputs.find((p) => p.name === name);
    if (!port) {
      const has = wanted.length
        ? `its inputs are ${entry.inputs.map(portText).join(", ")}`
        : "it takes no inputs";
      throw new InputFailure(`${entry.name} has no input ${name}: ${has}`);
    }
    if (Object.hasOwn(values, name)) throw new UsageError(`--input ${name} is given twice`);
    if (value === "-" && standardInput)
      throw new UsageError(`standard input is given to ${standardInput} and to ${name}`);
    if (value === "-") standardInput = name;
    values[name] = readValue({ entry, port, pictures }, value);
    from.set(name, value === "-" ? "standard input" : value);
  }
  const missing = entry.inputs.filter((p) => !Object.hasOwn(values, p.name));
  if (missing.length) {
    const example = missing
      .map((p) => `--input ${p.name}=${p.shape.length ? `${p.name}.npy` : "3"}`)
      .join(" ");
    throw new InputFailure(
      `${entry.name} needs ${missing.map(portText).join(", ")}, which ${missing.length > 1 ? "are" : "is"} missing; give ${example}`,
    );
  }
  try {
    return { values, given: takeInputs(entry, values) };
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    const files = [...from].filter(([name]) =>
      new RegExp(`\\b${name.replace(/\W/g, "\\$&")}\\b`).test(error.message),
    );
    const places = files.map(([name, place]) => `${name} is ${place}`).join(", ");
    throw new InputFailure(places ? `${error.message} (${places})` : error.message);
  }
}

const LITERAL = /^(?:[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?inf(?:inity)?|nan|true|false)$/i;

/** What is to be read for, and how. */
interface For {
  readonly entry: EntryPlan;
  readonly port: Port;
  readonly pictures: PictureOptions;
}

const EXTENSIONS = ".npy, .npz, .json, .csv, .png, .jpg or .bin";

function readValue(wanted: For, value: string): Value {
  const { port } = wanted;
  if (LITERAL.test(value)) return fromNested(port, literal(value), value);
  if (value === "-") return sniff(wanted, readBytes("-"), "standard input");
  if (value.startsWith("[") && !existsSync(value)) return fromJson(port, value, value);
  // `arrays.npz:x`: one of several.
  const [, archive, name] = existsSync(value) ? [] : (/^(.+\.npz):([^:]+)$/i.exec(value) ?? []);
  const bytes = readBytes(archive ?? value);
  if (archive !== undefined) return fromNpz(port, bytes, archive, name);
  const extension = /\.(\w+)$/.exec(value)?.[1].toLowerCase();
  if (extension === "npy") return fromNpy(port, bytes, value);
  if (extension === "npz") return fromNpz(port, bytes, value);
  if (extension === "json") return fromJson(port, decode(bytes, value, "JSON"), value);
  if (extension === "csv" || extension === "tsv") return fromCsv(port, decode(bytes, value, "table"), value);
  if (extension === "png" || extension === "jpg" || extension === "jpeg")
    return fromPicture(wanted, bytes, value);
  if (extension === "bin" || extension === "raw") return fromRaw(port, bytes, value);
  return byContents(wanted, bytes, value) ?? refuseKind(value);
}

const refuseKind = (value: string): never => {
  throw new InputFailure(`${value}: expected a file that ends in ${EXTENSIONS}`);
};

/** Files whose first bytes say what they are. */
function byContents(wanted: For, bytes: Uint8Array, place: string): Value | undefined {
  if (isNpy(bytes)) return fromNpy(wanted.port, bytes, place);
  if (isZip(bytes)) return fromNpz(wanted.port, bytes, place);
  if (isPicture(bytes)) return fromPicture(wanted, bytes, place);
  return undefined;
}

/** Standard input has no name: .npy, .npz and pictures by their first bytes, JSON by being JSON, else raw elements. */
function sniff(wanted: For, bytes: Uint8Array, place: string): Value {
  const { port } = wanted;
  const known = byContents(wanted, bytes, place);
  if (known) return known;
  if (bytes.length === 0) throw new InputFailure(`${place} is empty, expected ${portText(port)}`);
  const first = bytes.find((b) => b > 0x20);
  if (first !== undefined && /[[{"\d.+\-tfniN]/.test(String.fromCharCode(first))) {
    try {
      const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes).trim();
      if (LITERAL.test(text)) return fromNested(port, literal(text), place);
      JSON.parse(text);
      return fromJson(port, text, place);
    } catch (error) {
      if (error instanceof InputFailure) throw error;
      // Raw elements that happen to begin like JSON.
    }
  }
  return fromRaw(port, bytes, place);
}

const decode = (bytes: Uint8Array, place: string, what: string): string => {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new InputFailure(`${place} is no ${what}: it is not UTF-8 text`);
  }
};

function literal(text: string): number | boolean {
  if (/^(true|false)$/i.test(text)) return text.toLowerCase() === "true";
  if (/inf/i.test(text)) return text.startsWith("-") ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  return Number(text);
}

// ------------------------------------------------------------------------------------------------- .npy

const isFloat = (dtype: string): boolean => dtype === "f32" || dtype === "f16";
const NUMPY = { f32: "float32", f16: "float32", i32: "int32", u32: "uint32", bool: "bool" } as const;

function fromNpy(port: Port, bytes: Uint8Array, place: string): Value {
  try {
    const { dtype, shape, data } = parseNpy(bytes);
    // Widths are converted, kinds are not: a model that takes f32 means no bytes of 0 to 255.
    const fits =
      port.dtype === "bool"
        ? dtype === "bool"
        : isFloat(port.dtype)
          ? dtype.startsWith("float")
          : /^u?int/.test(dtype);
    if (!fits) {
      throw new InputFailure(
        `${place}: expected ${portText(port)}, the file has ${dtype}(${shape.join(", ")}); convert it, as in x.astype(np.${NUMPY[port.dtype]})`,
      );
    }
    return { data: elements(port, data, place), shape };
  } catch (error) {
    if (!(error instanceof NpyError)) throw error;
    throw new InputFailure(`${place} is no .npy file that can be read: ${error.message}`);
  }
}

/** One array of several: the one that is named, or the only one, or the one that is called as the input. */
function fromNpz(port: Port, bytes: Uint8Array, place: string, name?: string): Value {
  try {
    const arrays = readNpz(bytes);
    const picked =
      name !== undefined
        ? arrays.find((e) => e.name === name || `${e.name}.npy` === name)
        : arrays.length === 1
          ? arrays[0]
          : arrays.find((e) => e.name === port.name);
    if (!picked) {
      const names =
        arrays
          .slice(0, 8)
          .map((e) => e.name)
          .join(", ") || "no arrays";
      const more = arrays.length > 8 ? ` and ${arrays.length - 8} more` : "";
      throw new InputFailure(
        name !== undefined
          ? `${place} has no array ${name}: it has ${names}${more}`
          : `${place} has ${names}${more}: say which one, as in --input ${port.name}=${place}:${arrays[0]?.name ?? port.name}`,
      );
    }
    return fromNpy(port, picked.read(), `${place}:${picked.name}`);
  } catch (error) {
    if (!(error instanceof ZipError)) throw error;
    throw new InputFailure(`${place} is no .npz file that can be read: ${error.message}`);
  }
}

// ------------------------------------------------------------------------------------------------- .csv

function fromCsv(port: Port, text: string, place: string): Value {
  try {
    const { rows, columns, data } = parseCsv(text);
    const flat = elements(port, data, place);
    if (port.shape.length === 2) return { data: flat, shape: [rows, columns] };
    if (port.shape.length === 1 && (rows === 1 || columns === 1)) return { data: flat, shape: [data.length] };
    if (port.shape.length === 0 && data.length === 1) return { data: flat, shape: [] };
    // Rows are the first axis, and a row holds the elements of all the others.
    if (port.shape.length > 2) return flat;
    throw new InputFailure(
      `${place}: expected ${portText(port)}, the file has ${rows} rows of ${columns} numbers`,
    );
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    throw new InputFailure(`${place} is no table of numbers: ${error.message}`);
  }
}

// ---------------------------------------------------------------------------------------------- pictures

function fromPicture({ entry, port, pictures }: For, bytes: Uint8Array, place: string): Value {
  let picture: Picture;
  try {
    picture = decodePicture(bytes);
  } catch (error) {
    if (!(error instanceof PictureError)) throw error;
    throw new InputFailure(`${place} is no picture that can be read: ${error.message}`);
  }
  try {
    return toTensor(picture, entry, port, pictures);
  } catch (error) {
    if (!(error instanceof PictureError)) throw error;
    throw new InputFailure(`${place} ${error.message}`);
  }
}

// ------------------------------------------------------------------------------------------ all of them

/** Elements as the port holds them; integers that do not fit are refused. */
function elements(port: Port, from: ArrayLike<number | bigint>, place: string): AnyArray {
  const out = arrayOf(port.dtype, from.length);
  const exact = !isFloat(port.dtype);
  for (let i = 0; i < from.length; i++) {
    const value = Number(from[i]);
    out[i] = value;
    if (exact && out[i] !== value) {
      throw new InputFailure(`${place}: ${from[i]} at ${i} is no ${port.dtype}, which ${port.name} is`);
    }
  }
  return out;
}

// ------------------------------------------------------------------------------------------------- .json

/** JSON has no NaN and no infinities: they are strings. */
const WORDS: Readonly<Record<string, number>> = {
  NaN: Number.NaN,
  Infinity: Number.POSITIVE_INFINITY,
  "-Infinity": Number.NEGATIVE_INFINITY,
};

function fromJson(port: Port, text: string, place: string): Value {
  let json: unknown;
  try {
    json = JSON.parse(text.replace(/^\ufeff/, ""));
  } catch (error) {
    throw new InputFailure(`${place} is no JSON: ${(error as Error).message}`);
  }
  // What `--output` writes for several results: an object by name.
  if (typeof json === "object" && json !== null && !Array.isArray(json)) {
    const own = (json as Record<string, unknown>)[port.name];
    if (own === undefined) {
      const names = Object.keys(json).slice(0, 8).join(", ");
      throw new InputFailure(
        `${place}: expected nested arrays of numbers, the file has an object with ${names || "nothing"}`,
      );
    }
    json = own;
  }
  return fromNested(port, json, place);
}

function fromNested(port: Port, nested: unknown, place: string): Value {
  const shape: number[] = [];
  for (let v = nested; Array.isArray(v); v = v[0]) {
    shape.push(v.length);
    if (shape.length > 32)
      throw new InputFailure(`${place}: expected ${portText(port)}, its arrays are nested too deeply`);
  }
  const flat: number[] = [];
  const walk = (v: unknown, axis: number): void => {
    if (axis === shape.length) {
      const n = typeof v === "string" && Object.hasOwn(WORDS, v) ? WORDS[v] : v;
      if (typeof n === "boolean" && port.dtype === "bool") flat.push(Number(n));
      else if (typeof n === "number" && (port.dtype !== "bool" || n === 0 || n === 1)) flat.push(n);
      else
        throw new InputFailure(
          `${place}: expected ${portText(port)}, given ${JSON.stringify(v) ?? "nothing"} at ${flat.length}`,
        );
      return;
    }
    if (!Array.isArray(v) || v.length !== shape[axis]) {
      throw new InputFailure(
        `${place}: its nested arrays are not of one length (axis ${axis}, near element ${flat.length})`,
      );
    }
    for (const element of v) walk(element, axis + 1);
  };
  walk(nested, 0);
  return { data: elements(port, flat, place), shape };
}

// -------------------------------------------------------------------------------------------------- raw

function fromRaw(port: Port, bytes: Uint8Array, place: string): Value {
  const item = port.dtype === "bool" ? 1 : port.dtype === "f16" ? 2 : 4;
  if (bytes.byteLength % item !== 0) {
    throw new InputFailure(
      `${place}: expected ${portText(port)} as raw elements of ${item} bytes, the file has ${bytes.byteLength} bytes`,
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const out = arrayOf(port.dtype, bytes.byteLength / item);
  for (let i = 0; i < out.length; i++) {
    const at = i * item;
    switch (port.dtype) {
      case "f32":
        out[i] = view.getFloat32(at, true);
        break;
      case "f16":
        out[i] = f16ToNumber(view.getUint16(at, true));
        break;
      case "i32":
        out[i] = view.getInt32(at, true);
        break;
      case "u32":
        out[i] = view.getUint32(at, true);
        break;
      case "bool":
        out[i] = view.getUint8(at) ? 1 : 0;
    }
  }
  return out;
}
