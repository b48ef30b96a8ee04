// Matrices of a subgroup where no device has them: the text of a kernel with plain functions in their place. In: a target with
// such a unit. Out: a target whose kernels are printed so; everything before the text is the real one's.
//
// A lane of the 32 of a subgroup holds a row of the left factor, eight columns of the right one, and of the result what these
// give; so all 32 must come to each statement, as WGSL asks, but nothing is exchanged between lanes, and subgroups of any size
// can run it. Sums are f32, one product after the other: the devices' own order, and where they round, is theirs to choose.
// Which threads are a subgroup is not for kernels to know, either: here the first are the last.
import { wgsl } from "../../compiler/core/backends/wgsl/wgsl.ts";
import { gpuMatrix, type Target, withPrecision } from "../../compiler/core/targets.ts";

const SIZE = 16;
const LANES = 32;

/** The target for matrices, in f16 as it must be, for any adapter that has that. */
export function emulatedMatrices(changed: Partial<Target> = {}): Target {
  const target = { ...withPrecision(gpuMatrix, "f16"), name: "gpu-matrix-emulated", ...changed };
  return {
    ...target,
    requires: { features: ["shader-f16"], limits: {} },
    backend: {
      ...wgsl,
      print(k, options) {
        const { text, features, overrides } = wgsl.print(k, options);
        if (!text.includes("subgroup_matrix")) return { text, features, overrides };
        return { text: emulated(text), features: ["shader-f16"], overrides };
      },
    },
  };
}

/** The target for matrices: the real one on a device that has them (DAWN_FEATURES in test/support/device.ts), else in place of it. */
export function matricesFor(
  { features }: Pick<GPUDevice, "features">,
  changed: Partial<Target> = {},
): Target {
  const real = gpuMatrix.requires.features.every((f) => features.has(f));
  return real ? { ...withPrecision(gpuMatrix, "f16"), ...changed } : emulatedMatrices(changed);
}

/** A text in which every lane has its part of each matrix in variables. */
export function emulated(text: string): string {
  const made = new Map<string, string>();
  const matrix = (role: string): string => `subgroup_matrix_${role}<\\w+,\\s*${SIZE},\\s*${SIZE}>`;
  const order = "\\s*(row_major|col_major)>\\(&(\\w+)";
  const out = text
    .replace(/enable (subgroups|chromium_experimental_subgroup_matrix);/g, "")
    .replace(
      /(@builtin\(local_invocation_index\)\s*)(\w+)(\s*:\s*u32),\s*@builtin\(subgroup_id\)\s*(\w+)\s*:\s*u32\)\s*\{/,
      (_all, before: string, lid: string, type: string, id: string) => {
        const last = Number(/@workgroup_size\((\d+)\)/.exec(text)?.[1]) / LANES - 1;
        return `${before}${lid}${type}) { let ${id} = ${last}u - ${lid} / ${LANES}u; emu_lane = i32(${lid} % ${LANES}u); emu_size = ${SIZE} + i32(${lid} / 1024u);`;
      },
    )
    .replace(new RegExp(`subgroupMatrixLoad<${matrix("(left|right)")},${order}`, "g"), (_all, ...of) => {
      const [role, by, array] = of as string[];
      const name = `emu_${role}_${by}_${array}`;
      made.set(name, loadOf(role, by, array, name));
      return `${name}(0`;
    })
    .replace(new RegExp(`subgroupMatrixStore<${order}`, "g"), (_all, ...of) => {
      const [by, array] = of as string[];
      const name = `emu_store_${by}_${array}`;
      made.set(name, storeTo(by, array, name));
      return `${name}(0`;
    })
    .replace(/\bsubgroupMatrixMultiplyAccumulate\(/g, "emu_multiply(")
    .replace(new RegExp(matrix("result"), "g"), "emu_result");
  if (/subgroup_?matrix/i.test(out)) throw new Error(`matrices are left in\n${out}`);
  // Directives come first; functions and variables may be anywhere.
  return `${out}\n${PRELUDE}\n${[...made.values()].join("\n")}\n`;
}

const PRELUDE = `
var<private> emu_lane: i32;
// A software adapter writes out loops whose bounds it knows, and takes seconds to.
var<private> emu_size: i32;
struct emu_left { row: array<f16, ${SIZE}> }
struct emu_right { cols: array<f16, ${(SIZE * SIZE) / 2}> }
struct emu_result { row: array<f32, ${SIZE / 2}> }
fn emu_multiply(a: emu_left, b: emu_right, c: emu_result) -> emu_result {
  var x = a.row;
  var y = b.cols;
  var sum = c;
  for (var k = 0; k < emu_size; k++) {
    for (var j = 0; j < emu_size / 2; j++) { sum.row[j] += f32(x[k]) * f32(y[k * ${SIZE / 2} + j]); }
  }
  return sum;
}`;
/** Where an element is: rows, or columns, lie `stride` apart. */
const at = (by: string, row: string, col: string): string =>
  by === "row_major" ? `at + (${row}) * stride + ${col}` : `at + (${col}) * stride + ${row}`;
const ROW = `emu_lane % ${SIZE}`;
const COL = `emu_lane / ${SIZE} * ${SIZE / 2} + j`;

function loadOf(role: string, by: string, array: string, name: string): string {
  const body =
    role === "left"
      ? `for (var k = 0; k < emu_size; k++) { m.row[k] = ${array}[${at(by, ROW, "k")}]; }`
      : `for (var k = 0; k < emu_size; k++) { for (var j = 0; j < emu_size / 2; j++) {
    m.cols[k * ${SIZE / 2} + j] = ${array}[${at(by, "k", COL)}];
  } }`;
  return `fn ${name}(z: i32, at: i32, stride: i32) -> emu_${role} { var m: emu_${role}; ${body} return m; }`;
}
function storeTo(by: string, array: string, name: string): string {
  return `fn ${name}(z: i32, at: i32, m: emu_result, stride: i32) {
  var own = m.row;
  for (var j = 0; j < emu_size / 2; j++) { ${array}[${at(by, ROW, COL)}] = own[j]; }
}`;
}
