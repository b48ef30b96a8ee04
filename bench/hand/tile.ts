// The register tile that both hand-written kernels are built around. A workgroup is one subgroup of eight lanes; a lane owns
// ROWS rows of the result by four columns, in accumulators that have names (an indexed array would live in memory). Each
// lane loads four values along k of every eighth row, and the lanes hand them to each other. There is no barrier.

export const LANES = 8;
export const ROWS = 32;
/** Of a workgroup: four to a lane. */
export const COLUMNS = 4 * LANES;

const upTo = (n: number): number[] => [...Array(n).keys()];
export const rows = upTo(ROWS);
/** Rows are loaded in groups of one a lane. */
export const groups = upTo(ROWS / LANES);

/** `var c0 = VALUE; …` */
export const accumulators = (value: string): string => rows.map((i) => `  var c${i} = ${value};`).join("\n");

/** c += a b for four k: a0 … are rows of the left operand, four k each, b0 … b3 rows of the right one. */
export const multiplyAdd = (indent: string): string =>
  rows
    .map((i) => {
      const of = (k: string): string => `subgroupShuffle(a${Math.floor(i / LANES)}.${k}, ${i % LANES}u)`;
      const sum = ["x", "y", "z", "w"].map((k, u) => `${of(k)} * b${u}`).join(" + ");
      return `${indent}c${i} = c${i} + ${sum};`;
    })
    .join("\n");

/** The right operand in panels of 32 columns, each all of its k by its columns: what a workgroup reads lies together. */
export function columnPanels(k: number, n: number, at: (k: number, column: number) => number): Float32Array {
  const out = new Float32Array(k * n);
  let i = 0;
  for (let panel = 0; panel < n; panel += COLUMNS) {
    for (let l = 0; l < k; l++) {
      for (let column = 0; column < COLUMNS; column++) out[i++] = at(l, panel + column);
    }
  }
  return out;
}

/** The left operand in panels of 32 rows, each four k of all its rows before the next four. */
export function rowPanels(m: number, k: number, at: (row: number, k: number) => number): Float32Array {
  const out = new Float32Array(m * k);
  let i = 0;
  for (let panel = 0; panel < m; panel += ROWS) {
    for (let l = 0; l < k; l += 4) {
      for (let row = 0; row < ROWS; row++) {
        for (let u = 0; u < 4; u++) out[i++] = at(panel + row, l + u);
      }
    }
  }
  return out;
}
