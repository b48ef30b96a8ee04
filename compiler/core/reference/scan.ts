// scan, and the loop it becomes, by their meaning: the body once per slice, in order, the carries handed on, the emitted values collected.
// In: operands and the number of slices. Out: final carries and stacked values.
import { evaluate } from "../dims/dim.ts";
import type { Dense, Graph, TensorType } from "../ir/types.ts";
import { emptyDense, sizeOf } from "../ops/dense.ts";
import type { LoopAttrs, ScanAttrs } from "../ops/scan.ts";

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
  return [
    ...carries,
    ...a.emitAxes.map((axis, i) =>
      stacked(a.body.results[a.carries + i].value.type, axis, emitted[i], count, sizes),
    ),
  ];
}

/** The same of a loop: its body finds the counter among the sizes, and its leaves by their index. */
export function evaluateLoop(
  a: LoopAttrs,
  inputs: readonly Dense[],
  { sizes }: { readonly sizes: Readonly<Record<string, number>> },
  run: (
    body: Graph,
    leaf: (index: number) => Dense,
    sizes: Readonly<Record<string, number>>,
  ) => readonly Dense[],
): readonly Dense[] {
  const count = evaluate(a.count, sizes);
  let carries = a.begin.map((i) => inputs[i]);
  const carryAt = new Map(a.begin.map((operand, i) => [operand, i]));
  const emitted: Dense[][] = a.emitAxes.map(() => new Array<Dense>(count));
  for (let k = 0; k < count; k++) {
    const here = { ...sizes, [a.symbol]: k };
    const results = run(a.body, (i) => carries[carryAt.get(i) ?? -1] ?? inputs[i], here);
    carries = results.slice(0, carries.length);
    const t = evaluate(a.index, here);
    a.emitAxes.forEach((_, i) => {
      emitted[i][t] = results[carries.length + i];
    });
  }
  return [
    ...carries,
    ...a.emitAxes.map((axis, i) =>
      stacked(a.body.results[carries.length + i].value.type, axis, emitted[i], count, sizes),
    ),
  ];
}

/** The slices of an emitted value along their axis. */
function stacked(
  type: TensorType,
  axis: number,
  slices: readonly Dense[],
  count: number,
  sizes: Readonly<Record<string, number>>,
): Dense {
  const shape = type.shape.map((d) => evaluate(d, sizes));
  const whole = emptyDense(type.dtype, [...shape.slice(0, axis), count, ...shape.slice(axis)]);
  slices.forEach((slice, t) => {
    eachRun(whole.shape, axis, t, (from, to, length) =>
      whole.data.set(slice.data.subarray(to, to + length), from),
    );
  });
  return whole;
}
