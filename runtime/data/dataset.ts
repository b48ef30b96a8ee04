// Records to train on, whatever file they came from. In: arrays, or what a reader makes of a file. Out: a Dataset: columns by
// name, of which a record is a row. A Dataset is plain data and functions made of it (`revive`), so that a worker thread has
// the same one.
import { sizeOf, typeText } from "../core/tensor.ts";

/** Data that cannot be read, or is not what was asked for; the message names the file and, where there is one, the record. */
export class DataError extends Error {
  override name = "DataError";
  readonly code = "data";
}

export type Elements =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Int32Array
  | Uint32Array
  | Float32Array
  | Float64Array;

/** What a record has under one name. */
export interface Column {
  /** As it is given to a model: floats, or integers (classes, tokens). */
  readonly dtype: "f32" | "i32";
  /** Of one record: [1, 28, 28] for a grey image, [] for its class. */
  readonly shape: readonly number[];
  /** Puts the elements of a record at `at`. */
  read(record: number, into: Float32Array | Int32Array, at: number): void;
}

export interface Dataset {
  /** What it was made of, for messages. */
  readonly name: string;
  /** Number of records. */
  readonly size: number;
  readonly columns: Readonly<Record<string, Column>>;
  /** Names of the classes that the column `y` counts; of a text, its characters. */
  readonly classes?: readonly string[];
  /** Where a record came from, for messages: `labels.gz: record 17`. */
  place(record: number, column: string): string;
  /** The same as plain data, which may be sent to a worker. */
  readonly plain: Plain;
}

/** Elements of a column that lie in one array: record i begins at `start + i * stride`. Records may overlap (windows of a text). */
export interface ArrayColumn {
  readonly dtype: "f32" | "i32";
  readonly shape: readonly number[];
  readonly data: Elements;
  readonly start?: number;
  /** Elements from a record to the next; those of one record without it. */
  readonly stride?: number;
  /** What elements are divided by: 255 makes 0 to 1 of bytes. */
  readonly over?: number;
  /** The file it came from. */
  readonly file?: string;
}

export interface PlainArrays {
  readonly kind: "arrays";
  readonly name: string;
  readonly size: number;
  readonly columns: Readonly<Record<string, ArrayColumn>>;
  readonly classes?: readonly string[];
  /** What a record is called in messages: `record`, `line`. */
  readonly unit?: string;
  /** The numbers of the records in their file, as people count there; from 0 without it. */
  readonly places?: ArrayLike<number>;
}
export interface PlainSubset {
  readonly kind: "subset";
  readonly of: Plain;
  readonly records: Int32Array;
}
export interface PlainClasses {
  readonly kind: "classes";
  readonly of: Plain;
  readonly numbers: readonly number[];
}
/** Kinds that only a host can read (folders of pictures) are revived by it. */
export interface PlainOther {
  readonly kind: "pictures";
  readonly [name: string]: unknown;
}
export type Plain = PlainArrays | PlainSubset | PlainClasses | PlainOther;

/** A Dataset of its plain data; `other` makes those of a host. */
export function revive(plain: Plain, other?: (plain: PlainOther) => Dataset): Dataset {
  if (plain.kind === "arrays") return ofArrays(plain);
  if (plain.kind === "subset") return subset(revive(plain.of, other), plain.records);
  if (plain.kind === "classes") return ofClasses(revive(plain.of, other), plain.numbers);
  if (!other) throw new DataError("pictures are read by mdlc/data/node");
  return other(plain);
}

function ofArrays(plain: PlainArrays): Dataset {
  const { name, size, classes, unit = "record", places } = plain;
  const columns: Record<string, Column> = Object.create(null);
  for (const [of, column] of Object.entries(plain.columns)) {
    const { dtype, shape, data, start = 0, over = 1 } = column;
    const count = sizeOf(shape);
    const stride = column.stride ?? count;
    if (size > 0 && start + (size - 1) * stride + count > data.length)
      throw new DataError(
        `${column.file ?? name}: ${size} records of ${typeText(dtype, shape)} want ${start + (size - 1) * stride + count} elements in ${of}, there are ${data.length}`,
      );
    columns[of] = {
      dtype,
      shape,
      read(record, into, at) {
        const from = start + record * stride;
        for (let i = 0; i < count; i++) into[at + i] = over === 1 ? data[from + i] : data[from + i] / over;
      },
    };
  }
  return {
    name,
    size,
    columns,
    classes,
    place: (record, column) =>
      `${plain.columns[column]?.file ?? name}: ${unit} ${places?.[record] ?? record}`,
    plain,
  };
}

/**
 * Records of arrays in memory: `{ x: { data, shape: [60000, 1, 28, 28] }, y: labels }`, whose first axis counts them. Bytes
 * become floats from 0 to 1 where they have a shape of pictures ([n, c, h, w]), else integers stay integers.
 */
export function fromArrays(
  arrays: Readonly<Record<string, Elements | { readonly data: Elements; readonly shape: readonly number[] }>>,
  options: { readonly name?: string; readonly classes?: readonly string[] } = {},
): Dataset {
  const { name = "arrays", classes } = options;
  let size: number | undefined;
  const columns: Record<string, ArrayColumn> = Object.create(null);
  for (const [of, given] of Object.entries(arrays)) {
    const { data, shape } = ArrayBuffer.isView(given) ? { data: given, shape: [given.length] } : given;
    if (shape.length === 0 || sizeOf(shape) !== data.length)
      throw new DataError(
        `${name}: ${of} has ${data.length} elements, its shape [${shape.join(", ")}] says other`,
      );
    if (size !== undefined && shape[0] !== size)
      throw new DataError(`${name}: ${of} has ${shape[0]} records, the others have ${size}`);
    size = shape[0];
    const floats = data instanceof Float32Array || data instanceof Float64Array;
    const bytes = data instanceof Uint8Array && shape.length === 4;
    columns[of] = {
      dtype: floats || bytes ? "f32" : "i32",
      shape: shape.slice(1),
      data,
      over: bytes ? 255 : undefined,
    };
  }
  if (size === undefined) throw new DataError(`${name}: there are no arrays`);
  return ofArrays({ kind: "arrays", name, size, columns, classes });
}

/** Some of the records, in this order. */
export function subset(of: Dataset, records: Int32Array): Dataset {
  const columns = Object.fromEntries(
    Object.entries(of.columns).map(([name, column]): [string, Column] => [
      name,
      { ...column, read: (record, into, at) => column.read(records[record], into, at) },
    ]),
  );
  return {
    name: of.name,
    size: records.length,
    columns,
    classes: of.classes,
    place: (record, column) => of.place(records[record], column),
    plain: { kind: "subset", of: of.plain, records },
  };
}

/** The records of some classes, by name or number; `y` counts these classes, from 0 and in this order. */
export function ofClasses(of: Dataset, wanted: readonly (string | number)[]): Dataset {
  const { y } = of.columns;
  if (y?.dtype !== "i32" || y.shape.length > 0)
    throw new DataError(`${of.name} has no classes: there is no column y of one integer`);
  const numbers = wanted.map((text) => numberOfClass(of, text));
  const twice = numbers.findIndex((n, i) => numbers.indexOf(n) < i);
  if (twice >= 0) throw new DataError(`${of.name}: class ${wanted[twice]} is asked for twice`);
  const place = new Map(numbers.map((n, i) => [n, i]));
  const label = new Int32Array(1);
  const records: number[] = [];
  for (let i = 0; i < of.size; i++) {
    y.read(i, label, 0);
    if (place.has(label[0])) records.push(i);
  }
  const some = subset(of, Int32Array.from(records));
  const counted: Column = {
    ...some.columns["y"],
    read(record, into, at) {
      y.read(records[record], label, 0);
      into[at] = place.get(label[0]) as number;
    },
  };
  return {
    ...some,
    columns: { ...some.columns, y: counted },
    classes: numbers.map((n) => of.classes?.[n] ?? String(n)),
    plain: { kind: "classes", of: of.plain, numbers },
  };
}

function numberOfClass(of: Dataset, wanted: string | number): number {
  const named = typeof wanted === "string" ? (of.classes?.indexOf(wanted) ?? -1) : -1;
  if (named >= 0) return named;
  const number = typeof wanted === "number" ? wanted : /^\d+$/.test(wanted) ? Number(wanted) : -1;
  if (number >= 0 && number < (of.classes?.length ?? Number.POSITIVE_INFINITY)) return number;
  throw new DataError(
    `${of.name} has no class ${wanted}${of.classes ? `: they are ${of.classes.join(", ")}` : ""}`,
  );
}
