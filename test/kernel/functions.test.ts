// Scalar functions: their JavaScript meaning at chosen points, and that every WGSL spelling, one and four wide, is WGSL
// (Dawn's null backend compiles them). How far WGSL's results are from the meaning is measured in functions.gpu.test.ts.
import { describe, expect, it } from "vitest";
import { wgslFunction } from "../../compiler/core/backends/wgsl/functions.ts";
import { squeezed } from "../../compiler/core/backends/wgsl/short.ts";
import type { DType } from "../../compiler/core/ir/types.ts";
import {
  callFunction,
  functionArity,
  functionDtype,
  functionNames,
  functionTolerance,
} from "../../compiler/core/kernel/functions.ts";
import { erf, pow, roundHalfEven } from "../../compiler/core/kernel/special.ts";
import { nullDevice } from "../support/device.ts";

describe("special functions in double precision", () => {
  it("erf has the table's values", () => {
    // Abramowitz and Stegun, table 7.1, and mpmath.
    const table: [number, number][] = [
      [0, 0],
      [0.1, 0.1124629160182849],
      [0.5, 0.5204998778130465],
      [1, 0.8427007929497149],
      [1.5, 0.9661051464753108],
      [2, 0.9953222650189527],
      [2.5, 0.999593047982555],
      [3, 0.9999779095030014],
      [4, 0.9999999845827421],
    ];
    for (const [x, y] of table) {
      expect(erf(x)).toBeCloseTo(y, 14);
      expect(erf(-x)).toBeCloseTo(-y, 14);
    }
    expect(erf(1e-9) * 1e9).toBeCloseTo(2 / Math.sqrt(Math.PI), 14);
    expect(erf(40)).toBe(1);
    expect(erf(Number.NaN)).toBeNaN();
  });
  it("rounds halves to even", () => {
    expect([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.4999].map((x) => roundHalfEven(x) + 0)).toEqual([
      -2, -2, 0, 0, 2, 2, 2,
    ]);
  });
  it("pow is C's", () => {
    expect(pow(1, Number.NaN)).toBe(1);
    expect(pow(-1, Number.POSITIVE_INFINITY)).toBe(1);
    expect(pow(-8, 3)).toBe(-512);
    expect(pow(-8, 0.5)).toBeNaN();
  });
});

describe("integer functions", () => {
  it("wrap around in 32 bits", () => {
    expect(callFunction("add", "i32", 2147483647, 1)).toBe(-2147483648);
    expect(callFunction("mul", "i32", 65537, 65537)).toBe(131073);
    expect(callFunction("mul", "u32", 4294967295, 4294967295)).toBe(1);
    expect(callFunction("sub", "u32", 0, 1)).toBe(4294967295);
    expect(callFunction("neg", "i32", -2147483648)).toBe(-2147483648);
  });
  it("floor_div and rem round down and do not fault on zero", () => {
    const cases: [number, number, number, number][] = [
      [7, 2, 3, 1],
      [-7, 2, -4, 1],
      [7, -2, -4, -1],
      [-7, -2, 3, -1],
      [6, -3, -2, 0],
      [5, 0, 0, 0],
    ];
    for (const [x, y, q, r] of cases) {
      expect(callFunction("floor_div", "i32", x, y) + 0).toBe(q);
      expect(callFunction("rem", "i32", x, y) + 0).toBe(r);
    }
  });
  it("casts saturate from floats and wrap between integers", () => {
    expect(callFunction("cast_i32", "f32", 3e9)).toBe(2147483647);
    expect(callFunction("cast_u32", "f32", -1)).toBe(0);
    expect(callFunction("cast_i32", "f32", -1.9)).toBe(-1);
    expect(callFunction("cast_u32", "i32", -1)).toBe(4294967295);
    expect(callFunction("cast_bool", "f32", -0)).toBe(0);
  });
});

describe("dtypes", () => {
  it("are those of the rule", () => {
    expect(functionDtype("add", ["i32", "i32"])).toBe("i32");
    expect(functionDtype("lt", ["f32", "f32"])).toBe("bool");
    expect(functionDtype("select", ["bool", "f16", "f16"])).toBe("f16");
    expect(functionDtype("cast_u32", ["f32"])).toBe("u32");
    expect(functionDtype("threefry_a", ["u32", "u32", "u32", "u32"])).toBe("u32");
    expect(() => functionDtype("nothing", ["f32"])).toThrow("nothing");
  });
});

/** Operand dtypes a function is spelled for. */
function dtypesOf(fn: string): readonly DType[] {
  if (["and", "or", "xor", "not"].includes(fn)) return ["bool"];
  if (fn === "inside") return ["i32"];
  if (fn.startsWith("unpack_")) return ["u32"];
  if (fn.startsWith("bitwise_")) return ["i32", "u32"];
  if (fn === "shift_right" || fn.startsWith("threefry")) return ["u32"];
  if (
    ["add", "sub", "mul", "floor_div", "rem", "max", "min", "clamp", "relu", "lt", "le", "gt", "ge"].includes(
      fn,
    )
  )
    return ["f32", "i32", "u32"];
  if (fn === "eq" || fn === "ne") return ["f32", "i32", "u32", "bool"];
  if (fn === "neg" || fn === "abs" || fn === "sign") return ["f32", "i32"];
  if (fn.startsWith("cast_")) return ["f32", "i32", "u32", "bool"];
  return ["f32"];
}
const casts = ["cast_f16", "cast_f32", "cast_i32", "cast_u32", "cast_bool"];

/** A kernel that calls a function on what it reads, so that nothing is a constant. */
function kernelOf(fn: string, t: DType, width: 1 | 4): string {
  const type = (d: DType): string => (width === 1 ? d : `vec4<${d}>`);
  const zero = width === 1 ? "0u" : "vec4<u32>()";
  const from = (i: number, d: DType): string =>
    d === "bool" ? `(a[${i}] != ${zero})` : d === "u32" ? `a[${i}]` : `bitcast<${type(d)}>(a[${i}])`;
  const dtypes: DType[] =
    fn === "select"
      ? ["bool", t, t]
      : fn === "unless_nan"
        ? [t, "u32"]
        : fn.startsWith("unpack_")
          ? [t, "i32"]
          : Array.from({ length: functionArity(fn) }, () => t);
  const names = dtypes.map((_, i) => `x${i}`);
  const result = functionDtype(fn, dtypes);
  const { text, preludes } = wgslFunction(fn, names, dtypes[0], width);
  const store =
    result === "bool"
      ? `select(${zero}, ${type("u32")}(1u), ${text})`
      : result === "u32"
        ? text
        : `bitcast<${type("u32")}>(${result === "f16" ? `${type("f32")}(${text})` : text})`;
  return `${result === "f16" ? "enable f16;\n" : ""}${[...(preludes?.values() ?? [])].join("\n")}
@group(0) @binding(0) var<storage, read_write> a: array<${type("u32")}>;
@compute @workgroup_size(1) fn main() {
${dtypes.map((d, i) => `  let x${i}: ${type(d)} = ${from(i, d)};`).join("\n")}
  a[0] = ${store};
}`;
}

describe("WGSL spellings", () => {
  it("are valid for every function, dtype and width, minified too", async () => {
    const { device } = await nullDevice();
    for (const fn of [...functionNames, ...casts])
      for (const t of dtypesOf(fn))
        for (const [width, short] of [
          [1, false],
          [4, false],
          [1, true],
          [4, true],
        ] as const) {
          const whole = kernelOf(fn, t, width);
          const code = short ? squeezed(whole) : whole;
          device.pushErrorScope("validation");
          const info = await device.createShaderModule({ code }).getCompilationInfo();
          const error = await device.popErrorScope();
          expect(
            [...info.messages.map((m) => m.message), ...(error ? [error.message] : [])],
            `${fn} ${t} ${width}\n${code}`,
          ).toEqual([]);
        }
  });
  it("put operands in parentheses where they need them", () => {
    const text = (fn: string, ...args: string[]): string => wgslFunction(fn, args, "f32", 1).text;
    expect(text("mul", "a + b", "c")).toBe("(a + b) * c");
    expect(text("max", "a + b", "c")).toBe("mdl_max_1(a + b, c)");
    expect(text("mul", "f(a)(b)", "x[i].y")).toBe("f(a)(b) * x[i].y");
    expect(text("mul", "(a) + (b)", "f(a) + g(b)")).toBe("((a) + (b)) * (f(a) + g(b))");
    expect(text("neg", "-x")).toBe("-(-x)");
  });
  it("bring each prelude once, before what calls it", () => {
    const { preludes } = wgslFunction("log", ["x"], "f32", 4);
    expect([...(preludes?.keys() ?? [])]).toEqual(["mdl_log1p_core_4", "mdl_log_4"]);
  });
  it("have a tolerance, zero where exact", () => {
    expect(functionTolerance("floor")).toEqual({ ulp: 0 });
    expect(functionTolerance("tanh").ulp).toBeGreaterThan(0);
  });
});
