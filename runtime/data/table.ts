// Tables as text, one record a line. In: a file's text, and which column is the label. Out: features f32[n] as `x`, the label as
// `y`: a class where it is words or whole numbers, else a float. Another column of words is refused: what it means as a number is
// the author's to say.
import { numberOf, splitCells } from "./csv.ts";
import { DataError, type Dataset, revive } from "./dataset.ts";

export interface TableOptions {
  /** The label's heading or number (from 0; -1 is the last); the last without it. */
  readonly label?: string;
  /** Headings or numbers of columns that are left out. */
  readonly drop?: readonly string[];
  /** What the features are divided by. */
  readonly over?: number;
  /** `value` takes the label as a float, also where all of them are whole. */
  readonly target?: "class" | "value";
}

export function table(text: string, file: string, options: TableOptions = {}): Dataset {
  const { rows, heading } = splitCells(text);
  if (rows.length === 0) throw new DataError(`${file} has no lines`);
  const width = rows[0].cells.length;
  for (const { cells, line } of rows)
    if (cells.length !== width)
      throw new DataError(
        `${file}: line ${line} has ${cells.length} cells, line ${rows[0].line} has ${width}`,
      );
  const find = (name: string): number => {
    const at = heading?.indexOf(name) ?? -1;
    const number = at >= 0 ? at : /^-?\d+$/.test(name) ? (Number(name) + width) % width : -1;
    if (number >= 0 && number < width) return number;
    throw new DataError(
      `${file} has no column ${name}: ${heading ? `they are ${heading.join(", ")}` : `it has ${width} without headings, 0 to ${width - 1}`}`,
    );
  };
  const label = find(options.label ?? String(width - 1));
  const dropped = new Set((options.drop ?? []).map(find));
  const features = Array.from({ length: width }, (_, c) => c).filter((c) => c !== label && !dropped.has(c));
  const x = new Float32Array(rows.length * features.length);
  rows.forEach(({ cells, line }, r) => {
    features.forEach((c, k) => {
      const value = numberOf(cells[c]);
      if (value === undefined)
        throw new DataError(
          `${file}: line ${line}, ${heading?.[c] ?? `column ${c}`}: expected a number, found ${JSON.stringify(cells[c].slice(0, 24))}; a column that is no feature is left out with drop=${heading?.[c] ?? c}`,
        );
      x[r * features.length + k] = value / (options.over ?? 1);
    });
  });
  const { dtype, data, classes } = labelsOf(
    rows.map(({ cells, line }) => ({ cell: cells[label], line })),
    file,
    options.target,
  );
  return revive({
    kind: "arrays",
    name: file,
    size: rows.length,
    classes,
    unit: "line",
    places: Int32Array.from(rows, ({ line }) => line),
    columns: {
      x: { dtype: "f32", shape: [features.length], data: x, file },
      y: { dtype, shape: [], data, file },
    },
  });
}

function labelsOf(
  cells: readonly { readonly cell: string; readonly line: number }[],
  file: string,
  target: TableOptions["target"],
): { readonly dtype: "f32" | "i32"; readonly data: Float32Array | Int32Array; readonly classes?: string[] } {
  const numbers = cells.map(({ cell }) => numberOf(cell));
  const words = numbers.some((n) => n === undefined);
  if (target === "value" && words) {
    const at = numbers.indexOf(undefined);
    throw new DataError(
      `${file}: line ${cells[Math.max(0, at)].line}: expected a number as the label, found ${JSON.stringify(cells[Math.max(0, at)].cell.slice(0, 24))}`,
    );
  }
  if (words) {
    const classes = [...new Set(cells.map(({ cell }) => cell))].sort();
    const place = new Map(classes.map((name, i) => [name, i]));
    return { dtype: "i32", data: Int32Array.from(cells, ({ cell }) => place.get(cell) as number), classes };
  }
  const whole = target !== "value" && numbers.every((n) => Number.isInteger(n));
  return whole
    ? { dtype: "i32", data: Int32Array.from(numbers as number[]) }
    : { dtype: "f32", data: Float32Array.from(numbers as number[]) };
}
