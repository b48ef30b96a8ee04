// What convolutions and pools share: windows over n spatial axes. In: a rank, and attributes with a number an axis. Out:
// parameters, sizes, and the coordinates of a window's elements, forwards (lower) and by brute force (reference).
// conv1d, conv2d and conv3d are one definition over these, and so are the pools.
import { add, type Dim, type DimLike, dim, mul, sub } from "../dims/dim.ts";
import type { Attrs, ConcreteAttrs, OpParam } from "../ir/types.ts";
import type { Lowering, Scalar } from "../kernel/scalar.ts";
import { numbersAt, tuple } from "./define.ts";

/** What one spatial axis is called: in shapes, in attributes of a kernel, as a loop, in words. */
export interface SpatialAxis {
  readonly shape: string;
  readonly knob: string;
  readonly loop: string;
  readonly word: string;
}
const AXES: readonly SpatialAxis[] = [
  { shape: "D", knob: "d", loop: "z", word: "depth" },
  { shape: "H", knob: "h", loop: "y", word: "height" },
  { shape: "W", knob: "w", loop: "x", word: "width" },
];
/** The ranks there are operators for. */
export const RANKS: readonly number[] = AXES.map((_, i) => i + 1);
/** The spatial axes of a rank; a sequence's only one is its length. */
export function spatialAxes(rank: number): readonly SpatialAxis[] {
  return rank === 1
    ? [{ ...AXES[AXES.length - 1], shape: "L", word: "length" }]
    : AXES.slice(AXES.length - rank);
}
/** 0 .. rank - 1. */
export const directions = (rank: number): readonly number[] => Array.from({ length: rank }, (_, d) => d);
/** One number for every direction. */
export const everyWhere = (rank: number, n: number): readonly number[] => new Array<number>(rank).fill(n);
/** `C, H, W` as in the text of a shape. */
export const spatialText = (rank: number, before: string, of: (a: SpatialAxis) => string): string =>
  `[${[before, ...spatialAxes(rank).map(of)].join(", ")}]`;
/** [N, C, H, W] */
export const imageText = (rank: number): string => spatialText(rank, "N, C", (a) => a.shape);

/** Attributes of a window, by direction. `kernel` is absent where an operand's shape says it. */
export interface Window {
  readonly stride: readonly number[];
  readonly padding: readonly number[];
  readonly dilation: readonly number[];
}
export const windowOf = (a: Attrs | ConcreteAttrs): Window => ({
  stride: numbersAt(a, "stride"),
  padding: numbersAt(a, "padding"),
  dilation: numbersAt(a, "dilation"),
});
/** An attribute of one number a direction, given as one for all of them or as a list. */
export const perAxis = (
  rank: number,
  name: string,
  more: Omit<Partial<OpParam>, "default"> & { readonly default?: number } = {},
): OpParam =>
  tuple(name, {
    ...more,
    default: more.default === undefined ? undefined : everyWhere(rank, more.default),
    length: rank,
  });

/** Elements a dilated window spans. */
export const spanOf = (kernel: DimLike, dilation: number): Dim => add(mul(sub(kernel, 1), dilation), 1);

/** A kernel parameter where it is not the one that index arithmetic simplifies by. */
export const knob = (s: Lowering, rank: number, what: string, d: number, value: number, none: number): Dim =>
  value === none ? dim(value) : s.opaque(`${what}_${spatialAxes(rank)[d].knob}`, value);

/** The image coordinates of the element at `tap` of the window at `position`. */
export function elementAt(
  s: Lowering,
  a: Window,
  position: readonly Scalar[],
  tap: readonly Scalar[],
): readonly Scalar[] {
  const rank = position.length;
  return position.map((y, d) =>
    s.iadd(
      s.imul(y, knob(s, rank, "stride", d, a.stride[d], 1)),
      s.imul(tap[d], knob(s, rank, "dilation", d, a.dilation[d], 1)),
      sub(dim(0), knob(s, rank, "padding", d, a.padding[d], 0)),
    ),
  );
}
/** How a read is guarded whose image coordinates may leave the image in these directions. */
export function guardAlong(
  away: readonly number[],
  outside: number,
): { outside: number; guard: readonly number[] } | undefined {
  return away.length ? { outside, guard: away.map((d) => 2 + d) } : undefined;
}

/** A run of windows: `count` of them, from offset `window` on, each with its element at `tap`, from offset `image` on. */
export interface Run {
  readonly tap: number;
  readonly image: number;
  readonly window: number;
  readonly count: number;
}
/**
 * Every pair of a window and an element of it, by runs along the last axis, a stride apart in the image. Offsets are into
 * one image, one kernel and one map of windows. The taps of a window come in order.
 */
export function runsOf(
  image: readonly number[],
  kernel: readonly number[],
  windows: readonly number[],
  a: Window,
): readonly Run[] {
  const last = image.length - 1;
  const runs: Run[] = [];
  const walk = (d: number, tap: number, at: number, window: number): void => {
    for (let k = 0; k < kernel[d]; k++) {
      const shift = k * a.dilation[d] - a.padding[d];
      const first = Math.max(0, Math.ceil(-shift / a.stride[d]));
      const end = Math.min(windows[d] - 1, Math.floor((image[d] - 1 - shift) / a.stride[d]));
      const [t, i, w] = [tap * kernel[d] + k, at * image[d] + shift, window * windows[d]];
      if (d < last) {
        for (let y = first; y <= end; y++) walk(d + 1, t, i + y * a.stride[d], w + y);
      } else if (end >= first)
        runs.push({ tap: t, image: i + first * a.stride[d], window: w + first, count: end + 1 - first });
    }
  };
  walk(0, 0, 0, 0);
  return runs;
}
export const sizeOf = (shape: readonly number[]): number => shape.reduce((p, n) => p * n, 1);
