// Colours and columns for the terminal. In: a stream. Out: functions that colour text, or leave it where the stream is no
// terminal. NO_COLOR and FORCE_COLOR are respected; picocolors' own test is not used because it colours in CI, too.
import colors from "picocolors";
import { type Painter, printable } from "../core/index.ts";

interface Stream {
  readonly isTTY?: boolean;
}

export function wantsColor(stream: Stream, env: NodeJS.ProcessEnv = process.env): boolean {
  if (env["NO_COLOR"]) return false;
  const forced = env["FORCE_COLOR"];
  if (forced !== undefined && forced !== "") return forced !== "0" && forced !== "false";
  return stream.isTTY === true && env["TERM"] !== "dumb";
}

export type Style = ReturnType<typeof colors.createColors>;
export const styleFor = (stream: Stream): Style => colors.createColors(wantsColor(stream));

export function painterFor(stream: Stream): Painter {
  const c = styleFor(stream);
  return {
    error: (text) => c.bold(c.red(text)),
    warning: (text) => c.bold(c.yellow(text)),
    strong: c.bold,
    secondary: c.blue,
    gutter: c.dim,
    help: c.cyan,
  };
}

/** Text of several lines that may hold what a file or a path says: no line of it moves a terminal's cursor. */
export const harmless = (text: string): string => text.split("\n").map(printable).join("\n");

/** `1 kernel`, `3 kernels`. */
export const count = (n: number, one: string, many = `${one}s`): string =>
  `${grouped(n)} ${n === 1 ? one : many}`;
/** A whole number by thousands: `25,557,032`. Node takes 20 ms to load what `toLocaleString` knows of languages. */
export const grouped = (n: number): string => String(n).replace(/\B(?=(\d{3})+$)/g, ",");

/** Bytes as a person reads them: `812 B`, `4.1 kB`, `11.7 MB`. */
export function bytesText(bytes: number): string {
  let value = bytes;
  let unit = "B";
  for (const next of ["kB", "MB", "GB"]) {
    if (value < 1000) break;
    value /= 1000;
    unit = next;
  }
  return `${unit === "B" || value >= 99.95 ? Math.round(value) : value.toFixed(1)} ${unit}`;
}

/** Text without colours, for widths. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character begins a colour
export const bare = (text: string): string => text.replace(/\x1b\[[0-9;]*m/g, "");

/** Rows as columns, two blanks apart; `right` says which are aligned to the right. */
export function table(
  rows: readonly (readonly string[])[],
  right: readonly number[] = [],
  indent = "  ",
): string {
  const widths: number[] = [];
  for (const row of rows)
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, bare(cell).length);
    });
  return rows
    .map((row) => {
      const cells = row.map((cell, i) => {
        const gap = " ".repeat(widths[i] - bare(cell).length);
        return right.includes(i) ? gap + cell : cell + gap;
      });
      return (indent + cells.join("  ")).trimEnd();
    })
    .join("\n");
}
