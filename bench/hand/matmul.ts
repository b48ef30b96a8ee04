// C = A B in f32, written for subgroups of eight. Both operands come packed in panels (tile.ts), as one who writes kernels
// by hand would keep them; m and n are multiples of 32, k of 4.
import type { Values } from "../reference.ts";
import type { HandKernel } from "./kernel.ts";
import {
  accumulators,
  COLUMNS,
  columnPanels,
  groups,
  LANES,
  multiplyAdd,
  ROWS,
  rowPanels,
  rows,
} from "./tile.ts";

export interface MatmulSize {
  readonly m: number;
  readonly k: number;
  readonly n: number;
}

const text = `
enable subgroups;

struct Size { k4: u32, n4: u32 }

@group(0) @binding(0) var<uniform> size: Size;
@group(0) @binding(1) var<storage, read> a: array<vec4f>;        // panel of ${ROWS} rows, k / 4, row
@group(0) @binding(2) var<storage, read> b: array<vec4f>;        // panel of ${COLUMNS} columns, k, lane
@group(0) @binding(3) var<storage, read_write> c: array<vec4f>;  // row, column / 4

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(local_invocation_index) lane: u32) {
${accumulators("vec4f()")}
  var a_at = tile.x * size.k4 * ${ROWS}u + lane;
  var b_at = tile.y * size.k4 * ${4 * LANES}u + lane;
  for (var k = 0u; k < size.k4; k++) {
${groups.map((g) => `    let a${g} = a[a_at + ${g * LANES}u];`).join("\n")}
${[0, 1, 2, 3].map((u) => `    let b${u} = b[b_at + ${u * LANES}u];`).join("\n")}
${multiplyAdd("    ")}
    a_at += ${ROWS}u;
    b_at += ${4 * LANES}u;
  }
  let c_at = tile.x * ${ROWS}u * size.n4 + tile.y * ${LANES}u + lane;
${rows.map((i) => `  c[c_at + ${i}u * size.n4] = c${i};`).join("\n")}
}
`;

export function matmulKernel(a: Values, b: Values, { m, k, n }: MatmulSize): HandKernel {
  return {
    label: "matmul",
    text,
    size: [k / 4, n / 4],
    inputs: [rowPanels(m, k, (i, l) => a[i * k + l]), columnPanels(k, n, (l, j) => b[l * n + j])],
    constants: [],
    outputBytes: 4 * m * n,
    grid: [m / ROWS, n / COLUMNS],
    result: (c) => ({ y: c }),
  };
}
