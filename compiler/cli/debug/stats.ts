// A tensor in figures: what a table of values shows of each. In: its elements. Out: numbers of the finite ones, how many are not,
// and a histogram.

export interface Stats {
  readonly count: number;
  readonly nan: number;
  readonly inf: number;
  /** Of the finite elements; undefined where there is none. */
  readonly min: number | undefined;
  readonly max: number | undefined;
  readonly mean: number | undefined;
  /** As torch.std has it: of n - 1; undefined below two. */
  readonly std: number | undefined;
  /** Finite elements in as many parts of [min, max], which are equally wide. */
  readonly histogram: readonly number[];
}

export const BINS = 12;

export function statsOf(data: ArrayLike<number>, bins = BINS): Stats {
  let nan = 0;
  let inf = 0;
  let n = 0;
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  // Welford: no sum of large squares.
  let mean = 0;
  let squares = 0;
  for (let i = 0; i < data.length; i++) {
    const x = data[i];
    if (!Number.isFinite(x)) {
      if (Number.isNaN(x)) nan++;
      else inf++;
      continue;
    }
    n++;
    if (x < min) min = x;
    if (x > max) max = x;
    const d = x - mean;
    mean += d / n;
    squares += d * (x - mean);
  }
  const histogram = new Array<number>(bins).fill(0);
  for (let i = 0; n > 0 && i < data.length; i++) {
    if (!Number.isFinite(data[i])) continue;
    const part = max === min ? 0 : (data[i] - min) / (max - min);
    histogram[Math.min(bins - 1, Math.floor(part * bins))]++;
  }
  return {
    count: data.length,
    nan,
    inf,
    min: n ? min : undefined,
    max: n ? max : undefined,
    mean: n ? mean : undefined,
    std: n > 1 ? Math.sqrt(squares / (n - 1)) : undefined,
    histogram,
  };
}

const BARS = "▁▂▃▄▅▆▇█";
/** One column a bin; a blank where a bin is empty. */
export function barsOf({ histogram }: Stats): string {
  const most = Math.max(...histogram);
  if (most === 0) return "";
  return histogram
    .map((n) => (n === 0 ? " " : BARS[Math.min(BARS.length - 1, Math.floor((n / most) * BARS.length))]))
    .join("");
}

/** A number in four digits. */
export function short(x: number | undefined): string {
  if (x === undefined) return "";
  if (Number.isInteger(x) && Math.abs(x) < 1e6) return String(x);
  const size = Math.abs(x);
  return size >= 1e5 || size < 1e-3 ? x.toExponential(2) : x.toPrecision(4);
}

/** `3 NaN, 1 ∞`; nothing where all are finite. */
export const badText = ({ nan, inf }: Pick<Stats, "nan" | "inf">): string =>
  [nan ? `${nan} NaN` : "", inf ? `${inf} ∞` : ""].filter(Boolean).join(", ");

/** The first element that is NaN or infinite, as an index. */
export function firstBad(data: ArrayLike<number>, shape: readonly number[]): string | undefined {
  for (let i = 0; i < data.length; i++)
    if (!Number.isFinite(data[i])) return `[${indexOf(i, shape).join(", ")}]`;
  return undefined;
}
export function indexOf(element: number, shape: readonly number[]): number[] {
  const at: number[] = [];
  let rest = element;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    at.unshift(rest % shape[axis]);
    rest = Math.floor(rest / shape[axis]);
  }
  return at;
}
