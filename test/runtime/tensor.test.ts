// Tensors and inputs at the boundary: whatever a caller hands in is right or an InputError with its place, memory that is
// gone is noticed, shapes belong to whoever asked, and a printed tensor shows its values. Needs no GPU.
import { inspect } from "node:util";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { InputError } from "../../runtime/core/errors.ts";
import { takeInputs, takeValue } from "../../runtime/core/inputs.ts";
import type { DType } from "../../runtime/core/program.ts";
import { Tensor, toGpu } from "../../runtime/core/tensor.ts";
import { tiny } from "../support/tiny.ts";

const transfer = (view: ArrayBufferView): void => {
  structuredClone(view.buffer, { transfer: [view.buffer as ArrayBuffer] });
};
const Resizable = ArrayBuffer as unknown as new (
  bytes: number,
  options: { maxByteLength: number },
) => ArrayBuffer & { resize(bytes: number): void };
const resizable = (...values: number[]): Float32Array => {
  const view = new Float32Array(new Resizable(4 * values.length, { maxByteLength: 400 }));
  view.set(values);
  return view;
};
const shared = (...values: number[]): Float32Array => {
  const view = new Float32Array(new SharedArrayBuffer(4 * values.length));
  view.set(values);
  return view;
};

/** The elements and the shape that a value comes to. */
function take(dtype: DType, value: unknown): { shape: readonly number[] | undefined; data: number[] } {
  const { shape, source } = takeValue(dtype, value, "x: f32[N]");
  return { shape, data: "data" in source ? [...source.data] : [] };
}
/** What is said to a value that is refused. */
function refusal(dtype: DType, value: unknown): string {
  try {
    take(dtype, value);
  } catch (error) {
    expect(error).toBeInstanceOf(InputError);
    expect((error as InputError).message).toMatch(/^x: f32\[N\]/);
    return (error as InputError).message;
  }
  throw new Error("it was taken");
}

describe("an input", () => {
  it("is taken in every form that is said, each element what it was", () => {
    const foreign = runInNewContext("Float32Array.of(1, 2)");
    const other = { dtype: "f32", shape: [2], buffer: undefined, data: Float32Array.of(1, 2), toArray() {} };
    const forms: unknown[] = [
      Float32Array.of(1, 2),
      shared(1, 2),
      resizable(1, 2),
      foreign,
      new Float32Array(resizable(0, 1, 2, 3).buffer, 4, 2),
      [1, 2],
      Object.freeze([1, 2]),
      new Proxy([1, 2], {}),
      { data: Float32Array.of(1, 2), shape: [2] },
      { data: [1, 2], shape: [2] },
      { data: shared(1, 2), shape: Uint32Array.of(2) },
      new Tensor("f32", [2], Float32Array.of(1, 2)),
      other, // of another module, which has a class of its own
    ];
    for (const form of forms) expect(take("f32", form).data).toEqual([1, 2]);
    expect(take("f32", { data: Float32Array.of(1, 2), shape: [1, 2] }).shape).toEqual([1, 2]);
    expect(take("f32", new Float32Array(0))).toEqual({ shape: undefined, data: [] });
    expect(take("f32", [[], []])).toEqual({ shape: [2, 0], data: [] });
    expect(take("f32", 3)).toEqual({ shape: [], data: [3] });
    expect(take("f32", [Number.NaN, -0, 1e39])).toEqual({ shape: [3], data: [Number.NaN, -0, Infinity] });
    expect(take("i32", BigInt64Array.of(-5n)).data).toEqual([-5]);
    for (const narrow of [Int8Array, Uint8Array, Uint8ClampedArray, Int16Array])
      expect(take("i32", narrow.of(7)).data).toEqual([7]);
    expect(take("i32", [-(2 ** 31), 2 ** 31 - 1, -0]).data).toEqual([-(2 ** 31), 2 ** 31 - 1, 0]);
    expect(take("u32", [2 ** 32 - 1]).data).toEqual([2 ** 32 - 1]);
    expect(take("bool", [true, false, 1, 0]).data).toEqual([1, 0, 1, 0]);
    expect([...toGpu("bool", Uint8Array.of(0, 1, 255))]).toEqual([0, 1, 1]);
  });

  it("goes to the GPU from memory of its own, whoever shares or resizes it", () => {
    for (const view of [shared(1, 2), resizable(1, 2)]) {
      const sent = toGpu("f32", view);
      expect([...sent]).toEqual([1, 2]);
      expect(sent.buffer).toBeInstanceOf(ArrayBuffer);
      expect((sent.buffer as unknown as { readonly resizable: boolean }).resizable).toBe(false);
    }
    const own = Float32Array.of(1);
    expect(toGpu("f32", own)).toBe(own);
  });

  it("of another kind of number, or beyond its range, is refused with its place", () => {
    const refused: [DType, unknown, RegExp][] = [
      ["f32", Float64Array.of(1), /takes a Float32Array.*given a Float64Array/],
      ["f32", Int32Array.of(1), /given an Int32Array/],
      ["f32", new DataView(new ArrayBuffer(8)), /given a DataView/],
      ["f32", new ArrayBuffer(8), /given an ArrayBuffer/],
      ["f32", new SharedArrayBuffer(8), /given a SharedArrayBuffer/],
      ["f32", "1", /given a string/],
      ["f32", 1n, /given a bigint/],
      ["f32", undefined, /given undefined/],
      ["f32", null, /given null/],
      ["f32", Symbol("x"), /given a symbol/],
      ["f32", () => 1, /given a function/],
      ["f32", new Map(), /given a Map/],
      ["f32", Object.create(null), /given an? object/],
      ["f32", true, /holds a boolean/],
      ["f32", [1, "2"], /holds a string/],
      ["f32", [1n], /holds a bigint/],
      ["f32", [Float32Array.of(1)], /holds a Float32Array/],
      ["i32", [1.5], /1\.5 at 0 is no i32/],
      ["i32", [0, Number.NaN], /NaN at 1 is no i32/],
      ["i32", [2 ** 31], /2147483648 at 0/],
      ["i32", BigInt64Array.of(0n, 2n ** 31n), /2147483648 at 1 is no 32-bit integer/],
      ["i32", BigUint64Array.of(0n), /given a BigUint64Array/],
      ["i32", Uint32Array.of(0), /given a Uint32Array/],
      ["i32", Float32Array.of(0), /given a Float32Array/],
      ["u32", [-1], /-1 at 0 is no u32/],
      ["u32", Int32Array.of(1), /given an Int32Array/],
      ["bool", [2], /2 at 0 is no bool/],
      ["bool", [256], /256 at 0 is no bool/],
      ["bool", [Number.NaN], /NaN at 0 is no bool/],
      ["bool", Int32Array.of(1), /given an Int32Array/],
      ["f32", new Tensor("i32", [1], Int32Array.of(1)), /given a Tensor of i32/],
    ];
    for (const [dtype, value, message] of refused) expect(refusal(dtype, value)).toMatch(message);
  });

  it("that is ragged, has holes or no such shape is refused with its place", () => {
    const data = Float32Array.of(1, 2, 3, 4);
    const sparse: number[] = [];
    sparse.length = 2 ** 32 - 1;
    const endless = Object.assign([1, 2], {
      *[Symbol.iterator]() {
        for (;;) yield 1;
      },
    });
    expect(take("f32", endless).data).toEqual([1, 2]);
    const refused: [unknown, RegExp][] = [
      [[[1, 2], [3]], /not of one length \(axis 1, near element 2\)/],
      [[[1], 2], /not of one length/],
      [[1, [2]], /holds an Array/],
      // biome-ignore lint/suspicious/noSparseArray: a hole, on purpose
      [[1, , 3], /holds undefined/],
      [sparse, /holds undefined/],
      [{ data, shape: [5] }, /\[5\] is 5 elements, its data has 4/],
      [{ data, shape: [2] }, /\[2\] is 2 elements/],
      [{ data, shape: [-1, -4] }, /a shape is a list of sizes, given \[-1, -4\]/],
      [{ data, shape: [Number.NaN] }, /a list of sizes, given \[NaN\]/],
      [{ data, shape: [1.5] }, /given \[1\.5\]/],
      [{ data, shape: ["4"] }, /a list of sizes/],
      [{ data, shape: [4n] }, /a list of sizes/],
      [{ data, shape: [Symbol("4")] }, /a list of sizes/],
      [{ data, shape: [2 ** 53] }, /a list of sizes/],
      [{ data, shape: [2 ** 40, 2 ** 40] }, /a list of sizes/],
      [{ data, shape: 4 }, /a list of sizes, given number/],
      [{ data, shape: "4" }, /a list of sizes, given string/],
      [{ data, shape: null }, /a list of sizes/],
      [{ data, shape: undefined }, /a list of sizes/],
      [{ data: { data, shape: [4] }, shape: [4] }, /an? Object as data/],
      [{ data: "1234", shape: [4] }, /a string as data/],
      [{ data: undefined, shape: [0] }, /undefined as data/],
    ];
    for (const [value, message] of refused) expect(refusal("f32", value)).toMatch(message);
  });

  it("whose memory is gone is refused, not taken for an empty one", () => {
    const gone = Float32Array.of(1, 2);
    const tensor = new Tensor("f32", [2], gone);
    const inner = Float32Array.of(1, 2);
    transfer(gone);
    transfer(inner);
    const shrunk = new Float32Array(new Resizable(16, { maxByteLength: 16 }), 8, 2);
    (shrunk.buffer as unknown as { resize(n: number): void }).resize(4);
    const tracking = resizable(1, 2);
    const tracked = new Tensor("f32", [2], tracking);
    (tracking.buffer as unknown as { resize(n: number): void }).resize(4);
    for (const value of [gone, tensor, { data: inner, shape: [2] }, shrunk, tracked])
      expect(refusal("f32", value)).toMatch(/transferred or resized/);
    expect(() => tensor.data).toThrow(expect.objectContaining({ name: "InputError", code: "detached" }));
    expect(() => tensor.toArray()).toThrow(/f32\[2\] lost its elements/);
    const empty = Int32Array.of();
    transfer(empty);
    expect(refusal("i32", empty)).toMatch(/transferred/);
    const big = BigInt64Array.of(1n);
    transfer(big);
    expect(refusal("i32", big)).toMatch(/transferred/);
  });

  it("that throws while it is read is refused with what it threw", () => {
    const thrower = {
      get(): never {
        throw new Error("mine");
      },
    };
    const revoked = Proxy.revocable([1], {});
    revoked.revoke();
    const values = [
      new Proxy([1, 2], thrower),
      new Proxy({}, { has: thrower.get }),
      revoked.proxy,
      Object.defineProperty([1, 2], 1, thrower),
      Object.defineProperty({ shape: [1] }, "data", { ...thrower, enumerable: true }),
      Object.defineProperty({ data: [1] }, "shape", { ...thrower, enumerable: true }),
      Object.defineProperty([1], 0, {
        get() {
          throw null;
        },
      }),
    ];
    for (const value of values) expect(refusal("f32", value)).toMatch(/cannot be read|mine|thrown|revoked/);
    const add = tiny.programs[0].entries[0];
    for (const given of [
      Object.defineProperty({ a: [1] }, "b", { ...thrower, enumerable: true }),
      new Proxy({}, { ownKeys: thrower.get }),
      null,
      undefined,
      5,
      "ab",
      [[1], [2]],
    ])
      expect(() => takeInputs(add, given as object as Record<string, unknown>)).toThrow(InputError);
  });

  it("that a caller misnames is named without what a terminal would obey", () => {
    const add = tiny.programs[0].entries[0];
    const given = { a: [1], b: [1], "\x1b[2J\nx": [1] };
    expect(() => takeInputs(add, given)).toThrow("add has no input \\u{1b}[2J\\u{a}x: its inputs are a, b");
  });
});

describe("a Tensor", () => {
  it("is made of what fits together only", () => {
    const make = Tensor as unknown as new (...args: unknown[]) => Tensor;
    for (const args of [
      ["f64", [1], Float64Array.of(1)],
      ["toString", [1], Float32Array.of(1)],
      [undefined, [1], Float32Array.of(1)],
      ["f32", [1], [1]],
      ["f32", [1], Int32Array.of(1)],
      ["f32", [1], undefined],
      ["f32", [2], Float32Array.of(1)],
      ["f32", [-1], Float32Array.of(1)],
      ["f32", [Number.NaN], Float32Array.of(1)],
      ["f32", 1, Float32Array.of(1)],
      ["f32", undefined, Float32Array.of(1)],
      [Symbol("f32"), [1], Float32Array.of(1)],
      [],
    ])
      expect(() => new make(...args)).toThrow(InputError);
  });

  it("of anything at all is made, or refused with a typed error", () => {
    const make = Tensor as unknown as new (...args: unknown[]) => Tensor;
    const every = { withBigInt: true, withNullPrototype: true, withSparseArray: true, withTypedArray: true };
    const dtype = fc.oneof(fc.constantFrom("f32", "f16", "i32", "u32", "bool"), fc.anything(every));
    const shape = fc.oneof(fc.array(fc.nat(3), { maxLength: 3 }), fc.anything(every));
    const data = fc.oneof(
      fc.float32Array({ maxLength: 8 }),
      fc.int32Array({ maxLength: 8 }),
      fc.anything(every),
    );
    fc.assert(
      fc.property(dtype, shape, data, (...args) => {
        try {
          const tensor = new make(...args);
          expect(tensor.data.length).toBe(tensor.shape.reduce((a, b) => a * b, 1));
          expect(inspect(tensor)).toMatch(/^Tensor \w+\[/);
        } catch (error) {
          expect(error).toBeInstanceOf(InputError);
        }
      }),
      { numRuns: 1000 },
    );
  });

  it("keeps its shape, whatever is done to the one it was made with or gave away", () => {
    const sizes = [2, 3];
    const tensor = new Tensor("f32", sizes, new Float32Array(6));
    sizes[0] = 9;
    (tensor.shape as number[]).shift();
    (tensor.shape as number[])[0] = 7;
    expect(tensor.shape).toEqual([2, 3]);
    expect(tensor.toArray()).toEqual([
      [0, 0, 0],
      [0, 0, 0],
    ]);
  });

  it("prints its type and its values, long ones cut as PyTorch cuts them", () => {
    const of = (shape: number[], ...values: number[]): Tensor =>
      new Tensor("f32", shape, Float32Array.from(values));
    expect(inspect(of([2, 2], 0.5, -1.25, 3, 0.125))).toBe(
      "Tensor f32[2, 2]\n[[ 0.5000, -1.2500],\n [ 3.0000,  0.1250]]",
    );
    expect(String(of([], 2.5))).toBe("Tensor f32[] 2.5000");
    expect(String(of([0, 3]))).toBe("Tensor f32[0, 3] []");
    expect(String(of([3], Number.NaN, Infinity, 1))).toBe("Tensor f32[3] [nan, inf,  1.]");
    expect(String(new Tensor("bool", [2], Uint8Array.of(1, 0)))).toBe("Tensor bool[2] [ true, false]");
    const long = new Tensor(
      "i32",
      [2000],
      Int32Array.from({ length: 2000 }, (_, i) => i),
    );
    expect(String(long)).toBe("Tensor i32[2000] [   0,    1,    2, ..., 1997, 1998, 1999]");
    expect(inspect({ logits: of([1, 2], 1, 2) })).toContain("logits: Tensor f32[1, 2] [[1., 2.]]");
    // Small axes only: nothing is left out, and nothing is too much.
    expect(String(new Tensor("u32", Array(17).fill(2), new Uint32Array(2 ** 17))).length).toBeGreaterThan(
      2 ** 17,
    );
    const kept = { buffer: {} as GPUBuffer, fetch: async () => Float32Array.of(1), free: () => undefined };
    const onGpu = new Tensor("f32", [1], undefined, kept);
    expect(inspect(onGpu)).toBe("Tensor f32[1] that is on the GPU: await read() first");
    expect(() => onGpu.data).toThrow(expect.objectContaining({ code: "on-gpu" }));
    onGpu.dispose();
    expect(inspect(onGpu)).toBe("Tensor f32[1] that was disposed of");
    const gone = Float32Array.of(1);
    const tensor = new Tensor("f32", [1], gone);
    transfer(gone);
    expect(inspect(tensor)).toMatch(/^Tensor f32\[1\] that lost its elements/);
  });

  it("prints its own name, and so do the errors", async () => {
    expect(Tensor.name).toBe("Tensor");
    const error = new InputError("code", "message");
    expect([error.name, String(error), error.stack?.split("\n")[0]]).toEqual([
      "InputError",
      "InputError: message",
      "InputError: message",
    ]);
  });
});
