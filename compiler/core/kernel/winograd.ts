// Correlations with a filter of three taps by Winograd's method: of `tile` + 2 neighbouring elements come `tile` results by
// tile + 2 multiplications instead of 3 * tile. In: how many results. Out: the three small matrices, of polynomials through
// Cook and Toom's points. Over images the method is applied along either axis.

/** Taps along an axis. */
export const TAPS = 3;
/**
 * Where the polynomials are evaluated, besides at infinity: numbers whose powers and differences are exact, and which keep what
 * is summed of one size. With four results the largest error is about three times that of summing all terms in order
 * (docs/performance.md); other points are worse, up to seven times.
 */
const POINTS: Readonly<Record<number, readonly number[]>> = { 4: [0, 1, -1, 0.5, -2] };
/** Results along an axis that there are points for. */
export const TILES: readonly number[] = [4];

export type Matrix = readonly (readonly number[])[];
export interface Transforms {
  /** [tile + 2, tile + 2]: neighbouring elements to factors. */
  readonly image: Matrix;
  /** [tile + 2, 3]: taps to factors. */
  readonly filter: Matrix;
  /** [tile, tile + 2]: products to results. */
  readonly result: Matrix;
}

export function transformsOf(tile: number): Transforms {
  const points = POINTS[tile];
  const powers = (p: number, count: number): number[] => Array.from({ length: count }, (_, i) => p ** i);
  const others = (p: number): readonly number[] => points.filter((q) => q !== p);
  const side = tile + TAPS - 1;
  const padded = (row: readonly number[]): number[] => [...row, ...Array(side - row.length).fill(0)];
  const last = (row: readonly number[], at: number): number[] => row.map((_, i) => (i === at ? 1 : 0));
  const result = points.map((p) => powers(p, tile));
  return {
    image: [...points.map((p) => padded(withRoots(others(p)))), withRoots(points)],
    filter: [
      ...points.map((p) => {
        const scale = others(p).reduce((product, q) => product * (p - q), 1);
        return powers(p, TAPS).map((x) => x / scale || 0);
      }),
      last(Array(TAPS).fill(0), TAPS - 1),
    ],
    result: Array.from({ length: tile }, (_, i) => [...result.map((row) => row[i]), i === tile - 1 ? 1 : 0]),
  };
}
/** Coefficients of the polynomial with these roots, from x^0 on; that of the highest power is 1. */
const withRoots = (roots: readonly number[]): number[] =>
  roots.reduce<number[]>(
    (poly, root) =>
      Array.from({ length: poly.length + 1 }, (_, i) => (poly[i - 1] ?? 0) - root * (poly[i] ?? 0)),
    [1],
  );
