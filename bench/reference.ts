// What is right, and how far a result is from it. The sums are plain loops in double precision that share nothing with the
// compiler; they and PyTorch's figures (test/figures) are what every system is held to before anything is timed.

export type Values = ArrayLike<number>;

/** What a system computed, by the names that the workload's reference has. */
export type Results = Readonly<Record<string, Values>>;

/** Expected values; with `at`, those of these elements only, of `size` in all. */
export interface Expected {
  readonly values: Values;
  readonly at?: Values;
  readonly size?: number;
}

/** Of the largest expected value. */
export const TOLERANCE = 1e-4;

/**
 * The largest difference, as a part of the largest expected value, over all expected results. Throws, saying where, for
 * what is missing, misshapen, not finite, or further off than TOLERANCE.
 */
export function largestError(results: Results, expected: Readonly<Record<string, Expected>>): number {
  let worst = 0;
  for (const [name, { values, at, size = values.length }] of Object.entries(expected)) {
    const actual = results[name] as Values | undefined;
    if (!actual) throw new Error(`there is no ${name}`);
    if (actual.length !== size) throw new Error(`${name} has ${actual.length} elements, expected ${size}`);
    for (let i = 0; i < size; i++) {
      if (!Number.isFinite(actual[i])) throw new Error(`${name}[${i}] is ${actual[i]}`);
    }
    let scale = 0;
    for (let i = 0; i < values.length; i++) scale = Math.max(scale, Math.abs(values[i]));
    for (let i = 0; i < values.length; i++) {
      const place = at ? at[i] : i;
      const error = Math.abs(actual[place] - values[i]) / (scale || 1);
      if (error > TOLERANCE) throw new Error(`${name}[${place}] is ${actual[place]}, expected ${values[i]}`);
      worst = Math.max(worst, error);
    }
  }
  return worst;
}

/** Elements of A B, sixty-four a row, of which every column and every tile gets its share. */
export function matmulElements(a: Values, b: Values, m: number, k: number, n: number): Expected {
  const each = Math.min(64, n);
  const values = new Float64Array(m * each);
  const at = new Int32Array(m * each);
  for (let i = 0; i < m; i++) {
    for (let s = 0; s < each; s++) {
      const j = (i * 7 + Math.floor((s * n) / each)) % n;
      let sum = 0;
      for (let l = 0; l < k; l++) sum += a[i * k + l] * b[l * n + j];
      values[i * each + s] = sum;
      at[i * each + s] = i * n + j;
    }
  }
  return { values, at, size: m * n };
}

export interface ConvShape {
  readonly cin: number;
  readonly cout: number;
  readonly height: number;
  readonly width: number;
}

/** A 3 by 3 convolution of one image with padding 1, bias, ReLU and a 2 by 2 pool: all of it, as channels, rows, columns. */
export function convBlock(x: Values, weight: Values, bias: Values, shape: ConvShape): Expected {
  const { cin, cout, height, width } = shape;
  const rows = height >> 1;
  const columns = width >> 1;
  const values = new Float64Array(cout * rows * columns); // zeros: the ReLU
  for (let o = 0; o < cout; o++) {
    for (let i = 0; i < rows * 2; i++) {
      for (let j = 0; j < columns * 2; j++) {
        let sum = bias[o];
        for (let c = 0; c < cin; c++) {
          for (let ky = 0; ky < 3; ky++) {
            const y = i + ky - 1;
            if (y < 0 || y >= height) continue;
            for (let kx = 0; kx < 3; kx++) {
              const at = j + kx - 1;
              if (at < 0 || at >= width) continue;
              sum += x[(c * height + y) * width + at] * weight[((o * cin + c) * 3 + ky) * 3 + kx];
            }
          }
        }
        const out = (o * rows + (i >> 1)) * columns + (j >> 1);
        values[out] = Math.max(values[out], sum);
      }
    }
  }
  return { values };
}
