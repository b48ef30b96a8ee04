// scan by its meaning: the body once per slice, in order, the carries handed on, the emitted values collected.
// In: operands and the number of slices. Out: final carries and stacked values.
import { evaluate } from "../dims/dim.ts";
import type { Dense, Graph } from "../ir/types.ts";
import { emptyDense, sizeOf } from "../ops/dense.ts";
import type { ScanAttrs } from "../ops/scan.ts";

/** The slice of an axis at an index. */
export function pickSlice(x: Dense, axis: number, index: number): Dense {
  const out = emptyDense(x.dtype, [...x.shape.slice(0, axis), ...x.shape.slice(axis + 1)]);
  eachRun(x.shape, axis, index, (from, to, length) => out.data.set(x.data.subarray(from, from + length), to));
  return out;
}
/** Runs of the slice: offset in the whole, offset in the slice, length. */
function eachRun(
  whole: readonly number[],
  axis: number,
  index: number,
  f: (from: number, to: number, length: number) => void,
): void {
  const outer = sizeOf(whole.slice(0, axis));
  const inner = sizeOf(whole.slice(axis + 1));
  for (let p = 0; p < outer; p++) f((p * whole[axis] + index) * inner, p * inner, inner);
}

export function evaluateScan(
  a: ScanAttrs,
  inputs: readonly Dense[],
  { sizes }: { readonly sizes: Readonly<Record<string, number>> },
  run: (body: Graph, data: readonly Dense[]) => readonly Dense[],
): readonly Dense[] {
  const xs = inputs.slice(0, a.xs);
  const count = evaluate(a.count, sizes);
  let carries = inputs.slice(a.xs, a.xs + a.carries);
  const captured = inputs.slice(a.xs + a.carries);
  const emitted: Dense[][] = a.emitAxes.map(() => new Array<Dense>(count));
  for (let k = 0; k < count; k++) {
    const t = a.reverse ? count - 1 - k : k;
    const results = run(a.body, [...xs.map((x, i) => pickSlice(x, a.axes[i], t)), ...carries, ...captured]);
    carries = results.slice(0, a.carries);
    a.emitAxes.forEach((_, i) => {
      emitted[i][t] = results[a.carries + i];
    });
  }
  const stacked = a.emitAxes.map((axis, i) => {
    const type = a.body.results[a.carries + i].value.type;
    const shape = type.shape.map((d) => evaluate(d, sizes));
    const whole = emptyDense(type.dtype, [...shape.slice(0, axis), count, ...shape.slice(axis)]);
    emitted[i].forEach((slice, t) => {
      eachRun(whole.shape, axis, t, (from, to, length) =>
        whole.data.set(slice.data.subarray(to, to + length), from),
      );
    });
    return whole;
  });
  return [...carries, ...stacked];
}
