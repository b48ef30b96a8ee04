// Elements as text, in PyTorch's manner: four digits, aligned columns, the middle of large axes left out. In: elements with
// their shape. Out: lines for a person.
import type { DType } from "./program.ts";
import type { AnyArray } from "./tensor.ts";

export interface Shown {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: AnyArray;
}

/** With more elements than this, only the first and last three along each axis are shown. */
const SUMMARIZE = 1000;
const EDGE = 3;
const WIDTH = 100;

export function tensorText(result: Shown): string {
  const { shape, data } = result;
  if (data.length === 0) return "[]";
  const cut = data.length > SUMMARIZE;
  const shown: number[] = [];
  const strides = shape.map((_, i) => shape.slice(i + 1).reduce((n, d) => n * d, 1));
  const along = (axis: number): (number | undefined)[] => {
    const n = shape[axis];
    if (!cut || n <= 2 * EDGE) return Array.from({ length: n }, (_, i) => i);
    return [0, 1, 2, undefined, n - 3, n - 2, n - 1];
  };
  const collect = (axis: number, at: number): void => {
    if (axis === shape.length) shown.push(data[at]);
    else for (const i of along(axis)) if (i !== undefined) collect(axis + 1, at + i * strides[axis]);
  };
  collect(0, 0);
  const format = formatter(result.dtype, shown);
  const width = shown.reduce((w, x) => Math.max(w, format(x).length), 0);

  const rowText = (at: number, axis: number, indent: number): string => {
    const cells = along(axis).map((i) => (i === undefined ? "..." : format(data[at + i]).padStart(width)));
    const perLine = Math.max(1, Math.floor((WIDTH - indent) / (width + 2)));
    const lines: string[] = [];
    for (let i = 0; i < cells.length; i += perLine) lines.push(cells.slice(i, i + perLine).join(", "));
    return `[${lines.join(`,\n${" ".repeat(indent + 1)}`)}]`;
  };
  const nested = (axis: number, at: number): string => {
    if (axis === shape.length - 1) return rowText(at, axis, axis);
    const parts = along(axis).map((i) =>
      i === undefined ? "..." : nested(axis + 1, at + i * strides[axis]),
    );
    const gap = "\n".repeat(shape.length - 1 - axis);
    return `[${parts.join(`,${gap}${" ".repeat(axis + 1)}`)}]`;
  };
  return shape.length === 0 ? format(data[0]) : nested(0, 0);
}

/** One notation for all numbers that are shown: whole, fixed or scientific, as PyTorch decides. */
function formatter(dtype: DType, shown: readonly number[]): (x: number) => string {
  if (dtype === "bool") return (x) => (x ? "true" : "false");
  if (dtype === "i32" || dtype === "u32") return String;
  const special = (x: number): string => (Number.isNaN(x) ? "nan" : x > 0 ? "inf" : "-inf");
  const finite = shown.filter((x) => Number.isFinite(x) && x !== 0).map(Math.abs);
  const low = finite.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  const high = finite.reduce((a, b) => Math.max(a, b), 0);
  const whole = shown.every((x) => !Number.isFinite(x) || Number.isInteger(x));
  const scientific = finite.length > 0 && (high > 1e8 || (!whole && (high / low > 1000 || low < 1e-4)));
  const text = (x: number): string => {
    if (scientific) {
      const [digits, exponent] = x.toExponential(4).split("e");
      return `${digits}e${exponent[0]}${exponent.slice(1).padStart(2, "0")}`;
    }
    return whole ? `${x}.` : x.toFixed(4);
  };
  return (x) => (Number.isFinite(x) ? text(x) : special(x));
}
