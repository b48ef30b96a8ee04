// Results as text for a terminal: their types, and with `--top K` the classes with the largest values of each row. Their
// elements are printed as a module's tensors print themselves (runtime/core/print.ts).
import type { Shown } from "../../runtime/core/print.ts";
import { typeText } from "../../runtime/core/tensor.ts";
import { count, table } from "./style.ts";

export type Result = Shown;

export const shapeText = ({ dtype, shape }: Pick<Result, "dtype" | "shape">): string =>
  shape.length ? typeText(dtype, shape) : dtype;

/** Rows of a result whose largest values are listed. */
const TOP_ROWS = 16;

/** The K largest of each row along the last axis, by class. */
export function topText({ shape, data, dtype }: Result, k: number): string {
  const classes = shape[shape.length - 1];
  const rows = classes === 0 ? 0 : data.length / classes;
  const lines: string[] = [];
  for (let row = 0; row < Math.min(rows, TOP_ROWS); row++) {
    const values = data.subarray(row * classes, (row + 1) * classes);
    const order = Array.from({ length: classes }, (_, i) => i).sort(
      (a, b) => largerFirst(values[a], values[b]) || a - b,
    );
    if (rows > 1) lines.push(`  row ${indexText(row, shape.slice(0, -1))}`);
    const cells = order
      .slice(0, k)
      .map((i) => [String(i), dtype === "f32" || dtype === "f16" ? digits(values[i]) : String(values[i])]);
    lines.push(table(cells, [0, 1], "    "));
  }
  if (rows > TOP_ROWS) lines.push(`  … and ${count(rows - TOP_ROWS, "more row")}`);
  return lines.join("\n");
}

/** NaN last. */
const largerFirst = (a: number, b: number): number => {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
  return a === b ? 0 : a > b ? -1 : 1;
};

const digits = (x: number): string => {
  if (!Number.isFinite(x)) return String(x);
  return Math.abs(x) >= 1e6 || (x !== 0 && Math.abs(x) < 1e-4) ? x.toExponential(3) : x.toFixed(4);
};

function indexText(row: number, shape: readonly number[]): string {
  const at: number[] = [];
  let rest = row;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    at.unshift(rest % shape[axis]);
    rest = Math.floor(rest / shape[axis]);
  }
  return at.join(", ");
}
