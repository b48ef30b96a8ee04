// Tables of numbers as text. In: a file's text, or a matrix. Out: rows of numbers, or text. Cells are apart by commas,
// semicolons or tabs; a first line that is no numbers is a heading.

/** A file that is no table of numbers; the message goes on from the file's name. */
export class CsvError extends Error {
  override name = "CsvError";
}

const NUMBER = /^[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?$/i;
const WORDS: Readonly<Record<string, number>> = {
  nan: Number.NaN,
  true: 1,
  false: 0,
  inf: Number.POSITIVE_INFINITY,
};

/** The number that a cell says; undefined where it says none. */
export function numberOf(cell: string): number | undefined {
  const text = /^"(.*)"$/.exec(cell)?.[1].trim() ?? cell;
  if (NUMBER.test(text)) return Number(text);
  const [, sign, word] = /^([-+]?)(\w+)$/.exec(text.toLowerCase()) ?? [];
  const value = WORDS[word === "infinity" ? "inf" : (word ?? "")];
  return value === undefined ? undefined : sign === "-" ? -value : value;
}

interface Cells {
  readonly rows: readonly { readonly cells: readonly string[] /** From 1. */; readonly line: number }[];
  readonly heading: readonly string[] | undefined;
}

/** Lines as cells. A first line is a heading where none of its cells is a number. */
export function splitCells(text: string): Cells {
  const lines = text.replace(/^\ufeff/, "").split(/\r\n|\n|\r/);
  const filled = lines.flatMap((line, i) => (line.trim() === "" ? [] : [{ line: i + 1, text: line }]));
  const by = [",", ";", "\t"].find((c) => filled[0]?.text.includes(c)) ?? ",";
  const all = filled.map(({ line, text: own }) => ({
    line,
    cells: own.split(by).map((cell) => cell.trim()),
  }));
  const headed = all.length > 0 && all[0].cells.every((cell) => numberOf(cell) === undefined);
  const rows = headed ? all.slice(1) : all;
  return { rows, heading: headed ? all[0].cells : undefined };
}

export function parseCsv(text: string): {
  readonly rows: number;
  readonly columns: number;
  readonly data: number[];
} {
  const { rows } = splitCells(text);
  const columns = rows[0]?.cells.length ?? 0;
  const data: number[] = [];
  for (const { cells, line } of rows) {
    if (cells.length !== columns)
      throw new CsvError(`line ${line} has ${cells.length} cells, the first has ${columns}`);
    cells.forEach((cell, c) => {
      const n = numberOf(cell);
      if (n === undefined)
        throw new CsvError(
          `line ${line}, cell ${c + 1}: expected a number, found ${JSON.stringify(cell.slice(0, 24))}`,
        );
      data.push(n);
    });
  }
  return { rows: rows.length, columns, data };
}

/** A row a line, of the last axis; all others together are the rows. */
export function formatCsv(shape: readonly number[], cell: (i: number) => string): string {
  const columns = shape.at(-1) ?? 1;
  const total = shape.reduce((a, b) => a * b, 1);
  const rows = columns === 0 ? 0 : total / columns;
  return Array.from(
    { length: rows },
    (_, r) => `${Array.from({ length: columns }, (_, c) => cell(r * columns + c)).join(",")}\n`,
  ).join("");
}
