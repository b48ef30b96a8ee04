// What a run says while it runs: a line that is written over where there is a terminal, and a table, one row an epoch,
// on standard output.
import { bare, styleFor } from "../style.ts";
import { short } from "./chart.ts";

const BAR = 24;
/** Milliseconds between two drawings. */
const EVERY = 100;

export function timeText(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  const two = (n: number): string => String(n).padStart(2, "0");
  const [h, m] = [Math.floor(s / 3600), Math.floor(s / 60) % 60];
  return h > 0 ? `${h}:${two(m)}:${two(s % 60)}` : `${m}:${two(s % 60)}`;
}

export interface Shown {
  readonly label: string;
  readonly done: number;
  readonly total: number;
  readonly figures: Readonly<Record<string, number | undefined>>;
  readonly perSecond?: number;
  readonly left?: number;
}

export class ProgressLine {
  // Standard error may go through another program that keeps Dawn's chatter back.
  readonly #stream = process.stderr.isTTY ? process.stderr : process.stdout;
  readonly #on = this.#stream.isTTY === true && process.env["TERM"] !== "dumb";
  readonly #style = styleFor(this.#stream);
  #drawn = 0;
  #there = false;

  show({ label, done, total, figures, perSecond, left }: Shown, always = false): void {
    if (!this.#on) return;
    const now = performance.now();
    if (!always && now - this.#drawn < EVERY) return;
    this.#drawn = now;
    const { cyan, dim } = this.#style;
    const filled = total > 0 ? Math.round((done / total) * BAR) : 0;
    const bar = cyan("━".repeat(filled)) + dim("─".repeat(BAR - filled));
    const numbers = Object.entries(figures).flatMap(([name, v]) =>
      v === undefined ? [] : [`${name} ${short(v)}`],
    );
    const speed = perSecond === undefined ? [] : [`${Math.round(perSecond)} samples/s`];
    const rest = left === undefined || !Number.isFinite(left) ? [] : [dim(`${timeText(left)} left`)];
    const line = [`${label} ${bar}`, `${done}/${total}`, ...numbers, ...speed, ...rest].join("  ");
    const width = this.#stream.columns ?? 80;
    const plain = bare(line);
    this.#stream.write(`\r\x1b[2K${plain.length < width ? line : plain.slice(0, width - 1)}`);
    this.#there = true;
  }

  /** Makes room for other lines. */
  clear(): void {
    if (this.#there) this.#stream.write("\r\x1b[2K");
    this.#there = false;
  }
}

/** Rows below a heading, in columns that are known beforehand. */
export class Rows {
  readonly #names: readonly string[];
  readonly #widths: readonly number[];
  #headed = false;

  constructor(names: readonly string[]) {
    this.#names = names;
    this.#widths = names.map((name) => Math.max(8, name.length));
  }

  add(cells: readonly string[]): void {
    const line = (own: readonly string[]): string =>
      `  ${own.map((cell, i) => cell.padStart(this.#widths[i])).join("  ")}\n`;
    if (!this.#headed) process.stdout.write(styleFor(process.stdout).bold(line(this.#names)));
    this.#headed = true;
    process.stdout.write(line(cells));
  }
}
