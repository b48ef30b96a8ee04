// The parts of the runtime that need no GPU: random bits, conversions, safetensors files that are not to be trusted,
// sizes inferred from arguments, plans evaluated for sizes, schedules, and the choice of a program.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { misfit } from "../../runtime/core/adapter.ts";
import { openBytes } from "../../runtime/core/files.ts";
import { takeInputs } from "../../runtime/core/inputs.ts";
import { bindEntry } from "../../runtime/core/plan.ts";
import type { EntryPlan, Expr, Program } from "../../runtime/core/program.ts";
import { convert, formatSafetensors, parseSafetensors } from "../../runtime/core/safetensors.ts";
import { initialBytes } from "../../runtime/core/store.ts";
import { bf16ToNumber, f16ToNumber, numberToF16 } from "../../runtime/core/tensor.ts";
import {
  drawKey,
  fnv1a,
  normal,
  randomBits,
  seedWords,
  threefry2x32,
  uniformFromBits,
} from "../../runtime/core/threefry.ts";
import { evaluateHost } from "../../runtime/core/train.ts";
import { tiny } from "../support/tiny.ts";

describe("random bits", () => {
  it("are Threefry-2x32's published vectors", () => {
    const hex = (words: readonly number[]): string[] => words.map((w) => w.toString(16));
    expect(hex(threefry2x32([0, 0], [0, 0]))).toEqual(["6b200159", "99ba4efe"]);
    const ones = 0xffffffff;
    expect(hex(threefry2x32([ones, ones], [ones, ones]))).toEqual(["1cb996fc", "bb002be7"]);
    expect(hex(threefry2x32([0x13198a2e, 0x03707344], [0x243f6a88, 0x85a308d3]))).toEqual([
      "c4923a9c",
      "483df7a0",
    ]);
  });

  it("hash paths by FNV-1a of their UTF-8", () => {
    expect(fnv1a("")).toBe(0x811c9dc5);
    expect(fnv1a("a")).toBe(0xe40c292c);
    expect(fnv1a("foobar")).toBe(0xbf9cf968);
    expect(fnv1a("ä")).not.toBe(fnv1a("a"));
  });

  it("make uniforms and normals of the right moments", () => {
    const key = drawKey([1, 2], fnv1a("w"), 0);
    const n = 20_000;
    const moments = (draw: (i: number) => number): [number, number] => {
      const x = Array.from({ length: n }, (_, i) => draw(i));
      const mean = x.reduce((a, b) => a + b, 0) / n;
      return [mean, x.reduce((a, b) => a + (b - mean) ** 2, 0) / n];
    };
    const [mean, variance] = moments((i) => uniformFromBits(randomBits(key, i)));
    expect(mean).toBeCloseTo(0.5, 1.5);
    expect(variance).toBeCloseTo(1 / 12, 2);
    const [normalMean, normalVariance] = moments((i) => normal(key, i));
    expect(Math.abs(normalMean)).toBeLessThan(0.03);
    expect(Math.abs(normalVariance - 1)).toBeLessThan(0.05);
  });

  it("split seeds into two words, and refuse what is none", () => {
    expect(seedWords(2 ** 32 + 5)).toEqual([5, 1]);
    expect(seedWords(2n ** 64n - 1n)).toEqual([0xffffffff, 0xffffffff]);
    for (const bad of [-1, 1.5, Number.NaN, 2 ** 53, -1n, 2n ** 64n]) expect(seedWords(bad)).toBeUndefined();
  });
});

describe("numbers", () => {
  it("go through half precision and back for all 65,536 patterns", () => {
    for (let bits = 0; bits < 65536; bits++) {
      const value = f16ToNumber(bits);
      if (Number.isNaN(value)) expect(Number.isNaN(f16ToNumber(numberToF16(value)))).toBe(true);
      else if (numberToF16(value) !== bits) throw new Error(`${bits}: ${value} became ${numberToF16(value)}`);
    }
  });

  it("round to the nearest half, ties to even", () => {
    fc.assert(
      fc.property(fc.float({ min: -70000, max: 70000, noNaN: true }), (x) => {
        const got = f16ToNumber(numberToF16(x));
        if (Math.abs(x) >= 65520) return Math.abs(got) === Number.POSITIVE_INFINITY;
        const bits = numberToF16(x);
        const neighbours = [bits - 1, bits + 1]
          .filter((b) => (b & 0x7c00) !== 0x7c00 && b >= 0)
          .map(f16ToNumber);
        return neighbours.every((other) => {
          const [mine, theirs] = [Math.abs(got - x), Math.abs(other - x)];
          return mine < theirs || (mine === theirs && (bits & 1) === 0) || other === got || other * x < 0;
        });
      }),
    );
  });

  it("read bfloat16 as the upper half of a float", () => {
    expect([0x3f80, 0xc000, 0x7f80].map(bf16ToNumber)).toEqual([1, -2, Number.POSITIVE_INFINITY]);
  });
});

describe("safetensors", () => {
  const file = formatSafetensors(
    [
      { path: "w", dtype: "f32", shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) },
      { path: "__proto__", dtype: "bool", shape: [3], data: Uint8Array.of(1, 0, 1) },
      { path: "7", dtype: "i32", shape: [], data: Int32Array.of(-5) },
      { path: "half", dtype: "f16", shape: [1], data: Float32Array.of(0.5) },
    ],
    { model: 'a "model"' },
  );

  it("go out and come back", () => {
    const tensors = parseSafetensors(file);
    expect([...tensors.keys()].sort()).toEqual(["7", "__proto__", "half", "w"]);
    expect(convert(tensors.get("w")!, "f32")).toEqual(Float32Array.of(1, 2, 3, 4));
    expect(convert(tensors.get("__proto__")!, "bool")).toEqual(Uint8Array.of(1, 0, 1));
    expect(convert(tensors.get("7")!, "i32")).toEqual(Int32Array.of(-5));
    expect(convert(tensors.get("half")!, "f32")).toEqual(Float32Array.of(0.5));
    expect((file.length - 16 - 3 - 4 - 2) % 8).toBe(0); // the header is padded to eight
  });

  it("convert what is the same kind of number, and refuse what is not or does not fit", () => {
    const of = (dtype: string, array: ArrayBufferView, count = 2) => ({
      dtype,
      shape: [count],
      bytes: new Uint8Array(array.buffer, array.byteOffset, array.byteLength),
    });
    expect(convert(of("F64", Float64Array.of(1.5, 1e300)), "f32")).toEqual(
      Float32Array.of(1.5, Number.POSITIVE_INFINITY),
    );
    expect(convert(of("F16", Uint16Array.of(0x3c00, 0xc000)), "f32")).toEqual(Float32Array.of(1, -2));
    expect(convert(of("BF16", Uint16Array.of(0x3f80, 0xc000)), "f32")).toEqual(Float32Array.of(1, -2));
    expect(convert(of("I64", BigInt64Array.of(3n, -4n)), "i32")).toEqual(Int32Array.of(3, -4));
    expect(convert(of("I64", BigInt64Array.of(2n ** 40n, 0n)), "i32")).toBeUndefined();
    expect(convert(of("I32", Int32Array.of(1, 2)), "f32")).toBeUndefined();
    expect(convert(of("F32", Float32Array.of(1, 2)), "i32")).toBeUndefined();
    // Bytes that no Float32Array could look at where they are.
    const odd = new Uint8Array(9);
    odd.set(new Uint8Array(Float32Array.of(7, 8).buffer), 1);
    expect(convert({ dtype: "F32", shape: [2], bytes: odd.subarray(1) }, "f32")).toEqual(
      Float32Array.of(7, 8),
    );
  });

  it("are refused with a typed error, whatever is wrong with them", () => {
    const header = (json: unknown, body = 0): Uint8Array => {
      const text = new TextEncoder().encode(typeof json === "string" ? json : JSON.stringify(json));
      const out = new Uint8Array(8 + text.length + body);
      new DataView(out.buffer).setBigUint64(0, BigInt(text.length), true);
      out.set(text, 8);
      return out;
    };
    const entry = { dtype: "F32", shape: [2], data_offsets: [0, 8] };
    const files: [Uint8Array, RegExp][] = [
      [new Uint8Array(3), /it has 3 bytes/],
      [new Uint8Array(8).fill(255), /header is longer/],
      [header("<!doctype html>"), /header is no JSON/],
      [header("null"), /header is no object/],
      [header({ a: entry }, 4), /a lies beyond its end/],
      [header({ a: { ...entry, shape: [3] } }, 8), /a has 8 bytes for \[3\]/],
      [header({ a: { ...entry, shape: [-2] } }, 8), /a number that is no size/],
      [header({ a: { ...entry, dtype: "toString" } }, 8), /unknown dtype toString/],
      [header({ a: { ...entry, data_offsets: [8, 0] } }, 8), /bytes for/],
      [header({ a: null }), /a has no dtype/],
    ];
    for (const [bytes, message] of files) {
      expect(() => parseSafetensors(bytes)).toThrow(message);
      expect(() => parseSafetensors(bytes)).toThrow(expect.objectContaining({ code: "weights-format" }));
    }
    fc.assert(
      fc.property(fc.nat(file.length - 1), fc.nat(255), (at, value) => {
        const mutated = file.slice();
        mutated[at] = value;
        try {
          parseSafetensors(mutated);
        } catch (error) {
          expect(error).toMatchObject({ name: "WeightsError" });
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("come from anything that holds bytes", async () => {
    for (const source of [file, file.slice().buffer, new Blob([file.slice()]), new Response(file.slice())]) {
      const opened = (await openBytes(source))!;
      expect(await opened.read(0, opened.size)).toEqual(file);
      expect(await opened.read(3, 5)).toEqual(file.slice(3, 8));
    }
    expect(openBytes({ w: file })).toBeUndefined();
    await expect(openBytes(new Response("no", { status: 404 }))).rejects.toMatchObject({
      code: "weights-source",
    });
  });
});

/** An entry whose inputs have these shapes; symbols are solved from the axes named. */
function entryOf(inputs: Record<string, string[]>, symbols: Record<string, string>): EntryPlan {
  const exprs: Expr[] = [];
  const id = (text: string): number => {
    const twice = /^2 \* (\w+)$/.exec(text);
    if (!twice) return exprs.push(/^\d+$/.test(text) ? Number(text) : text) - 1;
    return exprs.push(["*", exprs.push(2) - 1, exprs.push(twice[1]) - 1]) - 1;
  };
  const solve: Expr[] = [];
  const range = { buffer: "arena" as const, offset: exprs.push(0) - 1, bytes: 0 };
  return {
    name: "f",
    symbols: Object.entries(symbols).map(([name, from]) => {
      const half = /^(.*) \/ 2$/.exec(from);
      const row = half ? (["/" as const, solve.push(half[1]) - 1, solve.push(2) - 1] as const) : from;
      return { name, value: solve.push(row) - 1 };
    }),
    solve,
    checks: [],
    body: { exprs, steps: [] },
    inputs: Object.entries(inputs).map(([name, shapeText]) => ({
      name,
      dtype: "f32",
      shape: shapeText.map(id),
      shapeText,
      range,
    })),
    outputs: [],
    slots: [],
    implicit: [],
    derived: [],
    writesParams: [],
    writesState: [],
  };
}

describe("sizes", () => {
  const flat = (n: number): Float32Array => new Float32Array(n);

  it("are inferred from flat arrays, also by way of other inputs", () => {
    const f = entryOf({ x: ["B", "T"], y: ["T"] }, { B: "x.0", T: "y.0" });
    const { names, key } = takeInputs(f, { x: flat(12), y: flat(4) });
    expect([names.get("B"), names.get("T"), key]).toEqual([3, 4, "3,4"]);
    // A size that is twice a symbol.
    const g = entryOf({ x: ["2 * N", "3"] }, { N: "x.0 / 2" });
    expect(takeInputs(g, { x: flat(24) }).names.get("N")).toBe(4);
    expect(() => takeInputs(g, { x: flat(9) })).toThrow(/axis 0 is 3, expected 2/);
  });

  it("that a flat array does not tell are asked for", () => {
    const f = entryOf({ x: ["B", "T"] }, { B: "x.0", T: "x.1" });
    expect(() => takeInputs(f, { x: flat(12) })).toThrow(
      /x: f32\[B, T\]: 12 elements do not tell its sizes: give \{ data, shape \}/,
    );
    expect(takeInputs(f, { x: { data: flat(12), shape: [3, 4] } }).key).toBe("3,4");
  });

  it("survive anything a caller may give", () => {
    const f = entryOf({ x: ["N", "2"] }, { N: "x.0" });
    const cyclic: unknown[] = [];
    cyclic.push(cyclic);
    for (const x of [
      cyclic,
      {},
      () => 1,
      Symbol("x"),
      new Date(),
      { data: flat(2), shape: [1.5, 2] },
      { data: {}, shape: [1, 2] },
      [[1, "2"]],
      [[1, null]],
      5n,
    ]) {
      expect(() => takeInputs(f, { x })).toThrow(expect.objectContaining({ name: "InputError" }));
    }
    fc.assert(
      fc.property(fc.anything(), (x) => {
        try {
          takeInputs(f, { x });
        } catch (error) {
          expect(error).toMatchObject({ name: "InputError" });
        }
      }),
    );
  });
});

describe("plans", () => {
  const limits = {
    maxComputeWorkgroupsPerDimension: 4,
    minUniformBufferOffsetAlignment: 256,
    maxStorageBufferBindingSize: 2 ** 27,
    maxDispatchCost: Number.POSITIVE_INFINITY,
  };
  const [add] = tiny.programs[0].entries;

  it("fold grids over two dimensions and refuse what is too large for them", () => {
    const plan = (n: number) =>
      bindEntry(
        tiny.programs[0],
        add,
        new Map([
          ["N", n],
          ["a.0", n],
          ["b.0", n],
        ]),
        limits,
      );
    const grid = (n: number) =>
      plan(n).commands.map((c) => (c.kind === "dispatch" ? [c.groups, c.x, c.y] : []))[0];
    expect(grid(64 * 4)).toEqual([4, 4, 1]);
    expect(grid(64 * 5)).toEqual([5, 3, 2]);
    expect(grid(64 * 16)).toEqual([16, 4, 4]);
    expect(() => plan(64 * 17)).toThrow(/17 workgroups; this device runs 16 at most/);
  });

  it("cut a dispatch that would take too long, so that each workgroup runs once", () => {
    const sizes = new Map([
      ["N", 64 * 10],
      ["a.0", 64 * 10],
      ["b.0", 64 * 10],
    ]);
    const { commands, uniforms } = bindEntry(tiny.programs[0], add, sizes, {
      ...limits,
      maxDispatchCost: 200,
    });
    const runs = commands.map((c) => {
      if (c.kind !== "dispatch") return c.kind;
      const [end, n, first] = uniforms.slice(c.block / 4);
      return { first, end, n, groups: c.groups, grid: c.x * c.y, cost: c.cost };
    });
    expect(runs).toEqual([
      { first: 0, end: 3, n: 640, groups: 3, grid: 3, cost: 192 },
      { first: 3, end: 6, n: 640, groups: 3, grid: 3, cost: 192 },
      { first: 6, end: 9, n: 640, groups: 3, grid: 3, cost: 192 },
      { first: 9, end: 10, n: 640, groups: 1, grid: 1, cost: 64 },
    ]);
  });

  it("share uniform blocks that are equal, and differ where iterations do", () => {
    const scan = tiny.programs[0].entries.find((e) => e.name === "scan")!;
    const { commands } = bindEntry(
      tiny.programs[0],
      scan,
      new Map([
        ["T", 3],
        ["x.0", 3],
      ]),
      limits,
    );
    expect(commands.map((c) => (c.kind === "dispatch" ? c.block : c.kind))).toEqual([
      "clear",
      0,
      256,
      512,
      "copy",
    ]);
  });

  it("begin parameters alike everywhere: the bytes are known", () => {
    const bytes = initialBytes(tiny, "params", [0, 0]);
    const scale = new Float32Array(bytes.buffer, 0, 4);
    const key = threefry2x32([0, 0], [fnv1a("scale"), 0]);
    expect([...scale]).toEqual(
      [0, 1, 2, 3].map((i) => Math.fround(2 * ((threefry2x32(key, [i, 0])[0] >>> 8) / 2 ** 24) - 1)),
    );
  });
});

describe("schedules", () => {
  const at = (step: number, more = {}): Record<string, number> => ({ step, ...more });

  it("compute what the language says", () => {
    const cosine = ["*", 0.5, ["+", 1, ["cos", ["*", Math.PI, ["/", "step", "total_steps"]]]]] as const;
    expect(evaluateHost(cosine, at(5, { total_steps: 10 }))).toBeCloseTo(0.5);
    const warm = ["where", ["<", "step", 10], ["/", "step", 10], 1] as const;
    expect([0, 5, 10, 20].map((s) => evaluateHost(warm, at(s)))).toEqual([0, 0.5, 1, 1]);
    expect(evaluateHost(["**", 0.5, ["floor", ["/", "step", 3]]], at(7))).toBe(0.25);
    expect(evaluateHost(["min", ["max", "step", 2], 4], at(9))).toBe(4);
    expect(evaluateHost(["-", 0, ["%", -7, 3]], at(0))).toBe(-2);
  });

  it("ask for what they need", () => {
    expect(() => evaluateHost("total_steps", at(0))).toThrow(/load\(\{ train: \{ totalSteps \} \}\)/);
    expect(() => evaluateHost("plateau", at(0))).toThrow(/needs a number for plateau/);
    expect(() => evaluateHost(["constructor", 1], at(0))).toThrow(/unknown function constructor/);
    expect(() => evaluateHost("constructor", at(0))).toThrow(/needs a number/);
  });
});

describe("the choice of a program", () => {
  const requires = (r: Partial<Program["requires"]>): Program => ({
    ...tiny.programs[0],
    requires: { features: [], limits: {}, ...r },
  });
  const offer = (info: object, limits = {}, features: string[] = []) => ({
    features: new Set(features),
    limits: {
      maxBufferSize: 1000,
      minUniformBufferOffsetAlignment: 64,
      ...limits,
    } as unknown as GPUSupportedLimits,
    info: {
      vendor: "",
      architecture: "",
      device: "",
      description: "",
      isFallbackAdapter: false,
      ...info,
    } as GPUAdapterInfo,
  });
  const llvmpipe = offer(
    {
      vendor: "mesa",
      architecture: "software",
      isFallbackAdapter: true,
      subgroupMinSize: 8,
      subgroupMaxSize: 8,
    },
    {},
    ["subgroups"],
  );
  const nvidia = offer(
    { vendor: "nvidia", architecture: "ampere", subgroupMinSize: 32, subgroupMaxSize: 32 },
    {},
    ["subgroups"],
  );
  const intel = offer({ vendor: "intel", architecture: "xe", subgroupMinSize: 8, subgroupMaxSize: 32 }, {}, [
    "subgroups",
  ]);

  it("goes by features, limits, subgroups and the kind of adapter", () => {
    const cpu = requires({ features: ["subgroups"], subgroupSize: 8, adapter: "cpu" });
    expect(misfit(cpu, llvmpipe)).toBeUndefined();
    expect(misfit(cpu, nvidia)).toMatch(/subgroups of 8, this has 32/);
    expect(misfit(cpu, intel)).toMatch(/this has 8 to 32/);
    expect(misfit(requires({ adapter: "cpu" }), nvidia)).toMatch(/software/);
    expect(misfit(requires({ adapter: "gpu" }), llvmpipe)).toMatch(/real GPUs/);
    expect(misfit(requires({ adapter: "gpu" }), llvmpipe, true)).toBeUndefined();
    expect(misfit(requires({ features: ["shader-f16"] }), nvidia)).toBe("needs shader-f16");
    expect(misfit(requires({ features: ["shader-f16"] }), nvidia, true)).toBe("needs shader-f16");
    expect(misfit(requires({ limits: { maxBufferSize: 1001 } }), nvidia)).toMatch(
      /maxBufferSize 1001, this has 1000/,
    );
    expect(misfit(requires({ limits: { maxBufferSize: 1000 } }), nvidia)).toBeUndefined();
    // Alignments are better when smaller.
    expect(misfit(requires({ limits: { minUniformBufferOffsetAlignment: 256 } }), nvidia)).toBeUndefined();
    expect(misfit(requires({ limits: { minUniformBufferOffsetAlignment: 32 } }), nvidia)).toMatch(
      /Alignment 32/,
    );
    expect(misfit(requires({ limits: { maxFutureThings: 1 } }), nvidia)).toMatch(/this has 0/);
  });
});
