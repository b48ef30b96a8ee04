// Parameters that a training step updates as one tensor. In: which parameters each step trains, and which of those decay.
// Out: an order in which those of one step lie side by side, and what is true of which rows. So a frozen parameter has no
// gradient, no moments and no part in the update, and which rows decay is some comparisons, whatever their number.
import { type Dim, dim } from "../dims/dim.ts";
import type { Builder, Value } from "../ir/types.ts";
import { broadcastTo, reshape } from "./axes.ts";
import { and, ge, lt, or } from "./elementwise.ts";
import { iota } from "./source.ts";

/** What one training step does with parameters. */
export interface ParamUse {
  readonly block: string;
  /** Of the trained: by which of the block's rules, and in which of that rule's groups. */
  readonly trained: ReadonlyMap<string, { readonly rule: number; readonly group: number }>;
}

/** From a row (included) to a row (not included). */
export type Rows = readonly [number, number];

/**
 * Parameters of one dtype that a step updates as one tensor, in elements from the first one's beginning. The length is a
 * multiple of `GRAIN` rows.
 */
export interface FlatParams {
  readonly dtype: "f32" | "f16";
  /** Elements of a row; each parameter begins one. */
  readonly row: number;
  /** Of all parameters in it, those that lie between trained ones as well. */
  readonly offsets: ReadonlyMap<string, number>;
  readonly total: number;
  /** The source path of all of them at once, and their bytes among the parameters. */
  readonly path: string;
  readonly place: { readonly offset: number; readonly bytes: number };
  /** The rule that updates it, and what its state is called apart from that of others. */
  readonly rule: number;
  readonly suffix: string;
  /** Rows of each of the rule's groups; undefined where all are of it. */
  readonly groups: readonly (readonly Rows[] | undefined)[];
  /** Rows that are trained, where others lie between them. */
  readonly trained?: readonly Rows[];
}
/** What is trained alike: parameters of two such classes are kept a grain apart. */
export const trainedAlike = (path: string, uses: readonly ParamUse[]): string =>
  uses.map((u) => u.trained.get(path)?.rule ?? "").join();

/**
 * The order of parameters in memory: that of the model, but for what is trained apart, by another rule or with other numbers.
 * Those that the first step trains come first, and each further step's in turn from the other end (a Gray code), so that what
 * each of two steps trains is one run, whatever they share.
 */
export function trainingOrder<T extends { readonly path: string }>(
  params: readonly T[],
  uses: readonly ParamUse[],
): readonly T[] {
  const rank = ({ path }: T): number[] => {
    let bit = 0;
    const bits = uses.map((u) => {
      bit ^= u.trained.has(path) ? 1 : 0;
      return -bit;
    });
    const by = (of: "rule" | "group"): number[] => uses.map((u) => u.trained.get(path)?.[of] ?? 0);
    return [...bits, ...by("rule"), ...by("group")];
  };
  const ranks = new Map(params.map((p) => [p, rank(p)]));
  // Stable: equal ones stay as the author has them.
  return [...params].sort((a, b) => {
    const [x, y] = [ranks.get(a), ranks.get(b)] as [number[], number[]];
    const i = x.findIndex((n, k) => n !== y[k]);
    return i < 0 ? 0 : x[i] - y[i];
  });
}

/** The rows of those of a list that `has`, as few ranges as can be: undefined where all have. Rows in order. */
export function rangesOf<T extends { readonly rows: Rows }>(
  list: readonly T[],
  has: (x: T) => boolean,
): readonly Rows[] | undefined {
  if (list.every(has)) return undefined;
  const out: [number, number][] = [];
  let open = false;
  for (const x of list) {
    if (has(x)) {
      if (open) out[out.length - 1][1] = x.rows[1];
      else out.push([...x.rows]);
    }
    open = has(x);
  }
  return out;
}

/** bool of a shape whose last axis is a row's elements: true in the rows of these ranges. */
export function inRows(b: Builder, ranges: readonly Rows[], shape: readonly Dim[]): Value {
  const outer = shape.slice(0, -1);
  const rows = outer.reduce((n, d) => n * Number(d.key), 1);
  const row = reshape(b, b.make(iota, [], { extent: dim(rows), dtype: "i32" }), [...outer, dim(1)]);
  const within = ranges
    .map(([from, to]) => {
      const above = from === 0 ? undefined : ge(b, row, from);
      const below = to >= rows ? undefined : lt(b, row, to);
      return above && below ? and(b, above, below) : (above ?? below ?? ge(b, row, 0));
    })
    .reduce<Value | undefined>((x, y) => (x ? or(b, x, y) : y), undefined);
  return broadcastTo(b, within ?? lt(b, row, 0), shape);
}
