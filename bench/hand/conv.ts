// A 3 by 3 convolution with padding 1, bias, ReLU and 2 by 2 pool of one image in f32, written for subgroups of eight, as an
// implicit product of matrices. The image comes and goes with channels last, the weights are packed. Rows of the product
// are (window of the pool, position in it), so that a pool is the maximum of four of a lane's own accumulators. The number
// of windows is a multiple of 8, channels out of 32, channels in of 4.
import type { Values } from "../reference.ts";
import type { HandKernel } from "./kernel.ts";
import { accumulators, COLUMNS, columnPanels, groups, LANES, multiplyAdd, ROWS } from "./tile.ts";

export interface ConvShape {
  readonly cin: number;
  readonly cout: number;
  readonly height: number;
  readonly width: number;
}

const WINDOWS = ROWS / 4;

/** Where the row of a group lies in the image, and, for a tap, where its channels begin and whether there are any. */
const decode = (g: number): string => `  let row${g} = tile.x * ${ROWS}u + ${g * LANES}u + lane;
  let window${g} = row${g} / 4u;
  let y${g} = window${g} / columns * 2u + (row${g} & 2u) / 2u;
  let x${g} = window${g} % columns * 2u + (row${g} & 1u);`;
const locate = (g: number): string => `      let i${g} = y${g} + ky - 1u;
      let j${g} = x${g} + kx - 1u;
      let inside${g} = i${g} < size.height && j${g} < size.width;
      let from${g} = select(0u, (i${g} * size.width + j${g}) * size.cin4, inside${g});`;

const text = `
enable subgroups;

struct Size { height: u32, width: u32, cin4: u32, cout4: u32, kernel: u32 }

@group(0) @binding(0) var<uniform> size: Size;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;        // row, column, channel / 4
@group(0) @binding(2) var<storage, read> weight: array<vec4f>;   // panel of ${COLUMNS} channels out, tap, channel in, lane
@group(0) @binding(3) var<storage, read> bias: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4f>;  // row, column, channel / 4

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(local_invocation_index) lane: u32) {
  let channel = tile.y * ${LANES}u + lane;
  let columns = size.width / 2u;
${groups.map(decode).join("\n")}
  let start = bias[channel];
${accumulators("start")}
  var w_at = tile.y * size.kernel * size.kernel * size.cin4 * ${4 * LANES}u + lane;
  for (var ky = 0u; ky < size.kernel; ky++) {
    for (var kx = 0u; kx < size.kernel; kx++) {
${groups.map(locate).join("\n")}
      for (var k = 0u; k < size.cin4; k++) {
${groups.map((g) => `        let a${g} = select(vec4f(), x[from${g} + k], inside${g});`).join("\n")}
${[0, 1, 2, 3].map((u) => `        let b${u} = weight[w_at + ${u * LANES}u];`).join("\n")}
${multiplyAdd("        ")}
        w_at += ${4 * LANES}u;
      }
    }
  }
  let out = tile.x * ${WINDOWS}u * size.cout4 + channel;
${[...Array(WINDOWS).keys()]
  .map((w) => {
    const [c0, c1, c2, c3] = [0, 1, 2, 3].map((p) => `c${4 * w + p}`);
    return `  y[out + ${w}u * size.cout4] = max(max(max(${c0}, ${c1}), max(${c2}, ${c3})), vec4f());`;
  })
  .join("\n")}
}
`;

function transpose(x: Values, rows: number, columns: number): Float32Array {
  return Float32Array.from(
    { length: rows * columns },
    (_, i) => x[(i % rows) * columns + Math.floor(i / rows)],
  );
}

export function convKernel(x: Values, weight: Values, bias: Values, shape: ConvShape): HandKernel {
  const { cin, cout, height, width } = shape;
  const windows = (height / 2) * (width / 2);
  const packed = columnPanels(
    9 * cin,
    cout,
    (k, o) => weight[(o * cin + (k % cin)) * 9 + Math.floor(k / cin)],
  );
  return {
    label: "conv + relu + pool",
    text,
    size: [height, width, cin / 4, cout / 4, 3],
    inputs: [transpose(x, cin, height * width)],
    constants: [packed, Float32Array.from(bias)],
    outputBytes: 4 * windows * cout,
    grid: [windows / WINDOWS, cout / COLUMNS],
    result: (y) => ({ y: transpose(y, windows, cout) }),
  };
}
