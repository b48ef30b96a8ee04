// The verifier of kernel code: each rule has a broken kernel that trips it, and one that is whole passes.
import { describe, expect, it } from "vitest";
import { InternalError } from "../../compiler/core/diagnostics/index.ts";
import { dim } from "../../compiler/core/dims/dim.ts";
import { createBuilder } from "../../compiler/core/ir/build.ts";
import {
  type BufferSlot,
  type CodeFunction,
  type KernelCode,
  lit,
  type MatrixPlace,
  type MatrixType,
  type Stmt,
  variable,
  type Width,
  type X,
} from "../../compiler/core/kernel/code.ts";
import { verifyKernel } from "../../compiler/core/kernel/verify.ts";
import { input } from "../../compiler/core/ops/source.ts";
import { baseline, rulesOf } from "../../compiler/core/targets.ts";

const value = createBuilder().make(input, [], { name: "x", dtype: "f32", shape: [dim(64)] }, "x");
const slot = (name: string, access: BufferSlot["access"] = "read", wide = false): BufferSlot => ({
  type: value.type,
  dtype: "f32",
  name,
  access,
  wide,
});
const x = slot("x");
const y = slot("y", "read_write");
const load = (buffer: BufferSlot, width: Width = 1): X => ({
  k: "load",
  buffer,
  index: variable("i", "i32"),
  dtype: "f32",
  width,
});
const i: Stmt = { k: "let", name: "i", x: variable("lane", "i32") };
const store = (of: X, buffer = y): Stmt => ({ k: "store", buffer, index: variable("i", "i32"), x: of });
const count = { dim: dim(64), name: "d0" };
const whole: KernelCode = {
  name: "twice",
  family: "map",
  uniforms: [count],
  overrides: [],
  buffers: [x, y],
  shared: [{ name: "tile", dtype: "f32", width: 4, size: 16 }],
  functions: [
    {
      name: "double",
      params: [{ name: "half", dtype: "f32", width: 1 }],
      result: {
        k: "bin",
        op: "*",
        a: variable("half", "f32"),
        b: lit(2, "f32"),
        dtype: "f32",
        width: 1,
      },
      body: [],
    },
  ],
  workgroup: 64,
  body: [i, { k: "barrier" }, store({ k: "call", fn: "fn:double", args: [load(x)], dtype: "f32", width: 1 })],
  subgroups: false,
  nest: [],
};
const check = (change: Partial<KernelCode>): void => verifyKernel({ ...whole, ...change }, rulesOf(baseline));
const body = (...list: Stmt[]): Partial<KernelCode> => ({ body: [i, ...list] });
const helper = (f: Partial<CodeFunction>): Partial<KernelCode> => ({
  functions: [{ ...whole.functions[0], ...f }],
});
const one = lit(1, "f32");
const four: X = { k: "splat", a: one, dtype: "f32", width: 4 };
const bin = (op: "+" | "<" | "&&", a: X, b: X): X => ({
  k: "bin",
  op,
  a,
  b,
  dtype: op === "+" ? a.dtype : "bool",
  width: 1,
});

const halves = { name: "halves", dtype: "f16", width: 1, size: 400 } as const;
const sums = { name: "sums", dtype: "f32", width: 1, size: 400 } as const;
const from: MatrixPlace = { array: "halves", index: lit(8), stride: 24, along: "columns" };
const left = { role: "left", dtype: "f16", rows: 16, cols: 16 } as const;
const factor = (type: MatrixType = left, place: Partial<MatrixPlace> = {}, name = "a"): Stmt => ({
  k: "matrix",
  name,
  type,
  from: { ...from, ...place },
});
const right = factor({ ...left, role: "right" }, {}, "b");
const result: Stmt = { k: "matrix", name: "c", type: { role: "result", dtype: "f32", rows: 16, cols: 16 } };
const multiply: Stmt = { k: "multiply", into: "c", left: "a", right: "b" };
const kept: Stmt = { k: "storeMatrix", matrix: "c", to: { ...from, array: "sums" } };
/** Statements beside arrays for factors and sums. */
const matrices = (...list: Stmt[]): Partial<KernelCode> => ({ ...body(...list), shared: [halves, sums] });
const some = (s: Stmt): Stmt => ({ k: "if", cond: bin("<", variable("i", "i32"), lit(8)), body: [s] });

const broken: readonly (readonly [string, RegExp, Partial<KernelCode>])[] = [
  [
    "more buffers than a device binds",
    /storage buffers: 9/,
    { buffers: [y, ...Array.from({ length: 8 }, (_, n) => slot(`x${n}`))] },
  ],
  [
    "more uniforms than a block holds",
    /bytes of uniforms/,
    { uniforms: Array.from({ length: 20000 }, (_, n) => ({ dim: dim(n), name: `d${n}` })) },
  ],
  [
    "more words than a structure has members",
    /uniform words/,
    { uniforms: Array.from({ length: 1100 }, (_, n) => ({ dim: dim(n), name: `d${n}` })) },
  ],
  [
    "more workgroup memory than there is",
    /workgroup memory: 16400/,
    { shared: [{ name: "tile", dtype: "f32", width: 4, size: 1025 }] },
  ],
  ["more threads than a workgroup has", /threads: 512/, { workgroup: 512 }],
  ["a word of WGSL as a name", /var is a word/, { buffers: [slot("var"), y] }],
  ["a name that the printer writes itself", /Params is a word/, { buffers: [slot("Params"), y] }],
  ["a name with two underscores first", /no identifier/, body({ k: "let", name: "__a", x: one })],
  ["a name that begins with a digit", /no identifier/, body({ k: "let", name: "1a", x: one })],
  ["a buffer and an array of one name", /tile is declared twice/, { buffers: [slot("tile"), y] }],
  ["two variables of one name", /i is declared twice/, body(i)],
  ["two uniform words of one name", /d0 is there twice/, { uniforms: [count, { ...count }] }],
  ["a variable that nobody declares", /i is used/, { body: [store(one)] }],
  [
    "a variable from a block that is over",
    /v is used/,
    body(
      { k: "if", cond: lit(1, "bool"), body: [{ k: "let", name: "v", x: one }] },
      store(variable("v", "f32")),
    ),
  ],
  ["a variable of another function", /i is used/, helper({ result: load(x) })],
  [
    "a uniform word that is not the kernel's",
    /not one of the kernel's/,
    body({ k: "let", name: "n", x: { k: "uniform", slot: { ...count }, dtype: "i32", width: 1 } }),
  ],
  ["a literal that is infinite", /no literal of f32/, body(store(lit(Number.POSITIVE_INFINITY, "f32")))],
  ["a literal that is no number", /no literal of f32/, body(store(lit(Number.NaN, "f32")))],
  ["a literal beyond f32", /beyond f32/, body(store(lit(1e39, "f32")))],
  ["a literal beyond f16", /beyond f16/, body({ k: "let", name: "h", x: lit(70000, "f16") })],
  ["a literal beyond i32", /beyond i32/, body({ k: "let", name: "n", x: lit(2 ** 31) })],
  ["half an integer", /no literal of i32/, body({ k: "let", name: "n", x: lit(0.5) })],
  ["a sum of two types", /f32 of 1 \+ i32 of 1/, body(store(bin("+", one, lit(1))))],
  [
    "a comparison of a number and a vector",
    /f32 of 4 < f32 of 1/,
    body({ k: "let", name: "b", x: { ...bin("<", four, one), width: 4 } }),
  ],
  ["a conjunction of numbers", /&& of f32/, body({ k: "let", name: "b", x: bin("&&", one, one) })],
  [
    "a variable taken for another type",
    /i is i32 of 1, not|i32 of 1|f32 of 1, not i32/,
    body(store(variable("i", "f32"))),
  ],
  [
    "a vector of three",
    /a vector of 3/,
    body({ k: "let", name: "v", x: { k: "vec", parts: [one, one, one], dtype: "f32", width: 4 } }),
  ],
  [
    "a part of a number",
    /what a part is of/,
    body(store({ k: "part", a: one, i: 0, dtype: "f32", width: 1 })),
  ],
  ["an index that is a float", /an index into x/, body(store({ ...load(x), index: one } as X))],
  ["a buffer that is not bound", /read and not bound/, body(store(load(slot("z"))))],
  ["two elements of a buffer of single ones", /two wide/, body({ k: "let", name: "v", x: load(x, 2) })],
  [
    "a pair that is computed with",
    /of a pair/,
    body({ k: "let", name: "v", x: { ...bin("+", one, one), width: 2 } }),
  ],
  ["four elements of a buffer of single ones", /four wide/, body({ k: "let", name: "v", x: load(x, 4) })],
  ["a write to a buffer bound for reading", /bound for reading/, body(store(one, x))],
  ["a write of another type", /what y gets/, body(store(lit(1)))],
  [
    "a function that is not there",
    /triple is called and not declared/,
    body(store({ k: "call", fn: "fn:triple", args: [one], dtype: "f32", width: 1 })),
  ],
  [
    "a function with too many operands",
    /called with 2 operands/,
    body(store({ k: "call", fn: "fn:double", args: [one, one], dtype: "f32", width: 1 })),
  ],
  [
    "a built-in function with too few",
    /select of 1 operands/,
    body(store({ k: "call", fn: "select", args: [one], dtype: "f32", width: 1 })),
  ],
  ["a write to what is no variable", /i is set and no var/, body({ k: "set", name: "i", x: lit(0) })],
  [
    "a variable set to another type",
    /what v is set to/,
    body({ k: "var", name: "v", x: one }, { k: "set", name: "v", x: four }),
  ],
  [
    "a bound that is a float",
    /a bound of k/,
    body({ k: "for", name: "k", from: lit(0), below: one, step: lit(1), body: [] }),
  ],
  ["a condition that is a number", /a condition/, body({ k: "if", cond: lit(1), body: [] })],
  [
    "a workgroup array that is none",
    /no array in workgroup memory/,
    body({ k: "setShared", name: "x", index: lit(0), x: one }),
  ],
  [
    "a narrow write to a wide array",
    /what tile gets/,
    body({ k: "setShared", name: "tile", index: lit(0), x: one }),
  ],
  [
    "a barrier that some threads skip",
    /a barrier/,
    body({ k: "if", cond: bin("<", variable("i", "i32"), lit(8)), body: [{ k: "barrier" }] }),
  ],
  ["a matrix that some lanes do not load", /some lanes/, matrices(some(factor()))],
  [
    "a product that some lanes do not compute",
    /some lanes/,
    matrices(factor(), right, result, some(multiply)),
  ],
  ["a matrix that some lanes do not store", /some lanes/, matrices(result, some(kept))],
  [
    "a factor of another type than its array",
    /f16 does not lie in sums/,
    matrices(factor(left, { array: "sums" })),
  ],
  ["a factor out of an array that is none", /f16 does not lie in y/, matrices(factor(left, { array: "y" }))],
  ["a factor of nothing", /left matrix of nothing/, matrices({ k: "matrix", name: "a", type: left })],
  [
    "a result that begins as something",
    /result matrix/,
    matrices(factor({ ...left, role: "result", dtype: "f16" })),
  ],
  ["a matrix whose lines overlap", /are 8 apart/, matrices(factor(left, { stride: 8 }))],
  [
    "lines that begin between sixteen bytes",
    /no multiple of 16 bytes/,
    matrices(factor(left, { stride: 20 })),
  ],
  ["a matrix beyond its array", /larger than halves/, matrices(factor(left, { index: lit(32) }))],
  [
    "a matrix somewhere that is a float",
    /where a matrix lies in halves is f32/,
    matrices(factor(left, { index: one })),
  ],
  [
    "a left factor as the right one",
    /a is no right matrix/,
    matrices(factor(), result, { ...multiply, right: "a" }),
  ],
  [
    "a product into what is no result",
    /a is no result/,
    matrices(factor(), right, { ...multiply, into: "a" }),
  ],
  [
    "factors of other sizes",
    /not of the size/,
    matrices(factor({ ...left, cols: 8 }), right, result, multiply),
  ],
  ["a factor that is stored", /a is no result/, matrices(factor(), { ...kept, matrix: "a" })],
];

describe("kernel code", () => {
  it("that is whole passes", () => {
    check({});
    check(matrices(factor(), right, result, multiply, kept));
  });
  it.each(broken)("with %s does not", (_name, message, change) => {
    let said: unknown;
    try {
      check(change);
    } catch (error) {
      said = error;
    }
    expect(said).toBeInstanceOf(InternalError);
    expect(String(said)).toMatch(/kernel twice \(map\)/);
    expect(String(said)).toMatch(message);
  });
});
