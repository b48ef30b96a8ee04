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

function numberOf(cell: string): number | undefined {
  const text = /^"(.*)"$/.exec(cell)?.[1].trim() ?? cell;
  if (NUMBER.test(text)) return Number(text);
  const [, sign, word] = /^([-+]?)(\w+)$/.exec(text.toLowerCase()) ?? [];
  const value = WORDS[word === "infinity" ? "inf" : (word ?? "")];
  return value === undefined ? undefined : sign === "-" ? -value : value;
}

export function parseCsv(text: string): {
  readonly rows: number;
  readonly columns: number;
  readonly data: number[];
} {
  const lines = text.replace(/^\ufeff/, "").split(/\r\n|\n|\r/);
  const first = lines.find((line) => line.trim() !== "") ?? "";
  const by = [",", ";", "\t"].find((c) => first.includes(c)) ?? ",";
  const data: number[] = [];
  let rows = 0;
  let columns = 0;
  let headed = false;
  lines.forEach((line, i) => {
    if (line.trim() === "") return;
    const cells = line.split(by).map((cell) => cell.trim());
    const numbers = cells.map(numberOf);
    if (rows === 0 && !headed && numbers.every((n) => n === undefined)) {
      headed = true;
      return;
    }
    if (rows === 0) columns = cells.length;
    if (cells.length !== columns)
      throw new CsvError(`line ${i + 1} has ${cells.length} cells, the first has ${columns}`);
    numbers.forEach((n, c) => {
      if (n === undefined)
        throw new CsvError(
          `line ${i + 1}, cell ${c + 1}: expected a number, found ${JSON.stringify(cells[c].slice(0, 24))}`,
        );
      data.push(n);
    });
    rows++;
  });
  return { rows, columns, data };
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
