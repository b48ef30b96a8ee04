// How far WGSL's scalar functions are from their meaning on this adapter: within the table's tolerance everywhere, four
// wide as one wide, and NaN and infinity told by bits.
import { describe, expect, it } from "vitest";
import { wgslFunction } from "../../compiler/core/backends/wgsl/functions.ts";
import { callFunction, functionTolerance } from "../../compiler/core/kernel/functions.ts";
import { type TestDevice, testDevice } from "../support/device.ts";

// Node has no GPUBufferUsage: the flags by their numbers.
const [MAP_READ, COPY_SRC, COPY_DST, STORAGE] = [1, 4, 8, 128];

/** y[i] = fn(a[i], b[i]) on the device, by the 1-wide or 4-wide spelling. */
async function compute(
  t: TestDevice,
  fn: string,
  arity: number,
  a: Float32Array,
  b: Float32Array,
  width: 1 | 4,
  bool = false,
): Promise<Float32Array> {
  const { device } = t;
  const type = width === 1 ? "f32" : "vec4<f32>";
  const names = ["x", "y"].slice(0, arity);
  const { text, preludes } = wgslFunction(fn, names, "f32", width);
  const code = `${[...(preludes?.values() ?? [])].join("\n")}
@group(0) @binding(0) var<storage, read> a: array<${type}>;
@group(0) @binding(1) var<storage, read> b: array<${type}>;
@group(0) @binding(2) var<storage, read_write> o: array<${type}>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let i = id.x;
  if (i >= arrayLength(&a)) { return; }
  let x = a[i];
  let y = b[i];
  o[i] = ${bool ? `select(${type}(), ${type}(1.0), ${text})` : text};
}`;
  const pipeline = await device.createComputePipelineAsync({
    layout: "auto",
    compute: { module: device.createShaderModule({ code }), entryPoint: "main" },
  });
  const upload = (data: Float32Array): GPUBuffer => {
    const buffer = device.createBuffer({
      size: data.byteLength,
      usage: STORAGE | COPY_DST,
    });
    device.queue.writeBuffer(buffer, 0, data as Float32Array<ArrayBuffer>);
    return buffer;
  };
  const buffers = [
    upload(a),
    upload(b),
    device.createBuffer({ size: a.byteLength, usage: STORAGE | COPY_SRC }),
  ];
  const back = device.createBuffer({
    size: a.byteLength,
    usage: MAP_READ | COPY_DST,
  });
  const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
  const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, group);
  pass.dispatchWorkgroups(Math.ceil(a.length / width / 64));
  pass.end();
  encoder.copyBufferToBuffer(buffers[2], 0, back, 0, a.byteLength);
  device.queue.submit([encoder.finish()]);
  await back.mapAsync(1);
  const out = new Float32Array(back.getMappedRange().slice(0));
  for (const buffer of [...buffers, back]) buffer.destroy();
  return out;
}

/** The spacing of f32 at a number. */
const spacing = (x: number): number => 2 ** (Math.max(-126, Math.floor(Math.log2(Math.abs(x)))) - 23);

const COUNT = 16384;
const sweep = (low: number, high: number): Float32Array =>
  Float32Array.from({ length: COUNT }, (_, i) => low + ((high - low) * (i + 0.37)) / COUNT);

// Near 0, in the middle, and where what it is made of would overflow or has lost its digits.
const ranges: { readonly [fn: string]: readonly (readonly [number, number])[] } = {
  exp: [[-10, 10]],
  exp2: [
    [-1, 1],
    [-126, 127],
  ],
  sinh: [
    [-1e-3, 1e-3],
    [-2, 2],
    [-12, 12],
    [40, 50],
    [-89, -80],
  ],
  cosh: [
    [-2, 2],
    [-12, 12],
    [40, 50],
    [80, 89],
  ],
  asinh: [
    [-1e-3, 1e-3],
    [-3, 3],
    [-1e4, 1e4],
    [1e8, 1e10],
    [1e18, 3e38],
  ],
  acosh: [
    [1, 1.001],
    [1, 4],
    [1, 1e4],
    [1e8, 1e10],
    [1e18, 3e38],
  ],
  atanh: [
    [-1e-3, 1e-3],
    [-0.99, 0.99],
    [0.999, 0.99999],
  ],
  erfc: [
    [-4, 1.2],
    [0.9, 2.1],
    [2, 9],
    [9, 12],
  ],
  expm1: [
    [-1e-3, 1e-3],
    [-0.5, 0.5],
    [-10, 10],
  ],
  log: [
    [1e-3, 0.9],
    [0.9, 1.1],
    [1, 1e6],
  ],
  log2: [
    [1e-3, 0.9],
    [0.9, 1.1],
    [1, 1e6],
  ],
  log1p: [
    [-0.99, -0.2],
    [-1e-3, 1e-3],
    [-0.5, 0.5],
    [1, 1000],
  ],
  tanh: [
    [-1e-3, 1e-3],
    [-1, 1],
    [-20, 20],
  ],
  sigmoid: [[-10, 10]],
  erf: [
    [-1e-3, 1e-3],
    [-1.2, 1.2],
    [-6, 6],
  ],
  asin: [
    [-1, 1],
    [-1e-3, 1e-3],
  ],
  acos: [[-1, 1]],
  atan: [
    [-1e-3, 1e-3],
    [-3, 3],
    [-1000, 1000],
  ],
  sin: [[-10, 10]],
  cos: [[-10, 10]],
  tan: [[-1.5, 1.5]],
  sqrt: [[0, 100]],
  rsqrt: [[1e-3, 100]],
  reciprocal: [[1e-3, 100]],
  abs: [[-3, 3]],
  round: [[-4.5, 4.5]],
  floor: [[-3, 3]],
  ceil: [[-3, 3]],
  trunc: [[-3, 3]],
};

describe("functions on the adapter", () => {
  for (const [fn, list] of Object.entries(ranges)) {
    it(fn, async (context) => {
      const t = await testDevice(context);
      const tolerance = functionTolerance(fn);
      for (const [low, high] of list) {
        const x = sweep(low, high);
        for (const width of [1, 4] as const) {
          const y = await compute(t, fn, 1, x, x, width);
          let worst = { excess: 0, text: "" };
          x.forEach((v, i) => {
            const exact = callFunction(fn, "f32", v);
            // Half a spacing is what rounding the exact result to f32 costs.
            const allowed = (tolerance.ulp + 0.5) * spacing(exact) + (tolerance.abs ?? 0);
            const excess = Math.abs(y[i] - exact) / allowed;
            if (!(excess <= Math.max(1, worst.excess)))
              worst = { excess, text: `${fn}(${v}) is ${y[i]}, exactly ${exact}, ${width} wide` };
          });
          expect(worst.text).toBe("");
        }
      }
    });
  }

  it("atan2 knows all quadrants, at any distance", async (context) => {
    const t = await testDevice(context);
    const tolerance = functionTolerance("atan2");
    for (const scale of [1e-30, 1, 1e19, 2e38])
      for (const width of [1, 4] as const) {
        const turn = sweep(-Math.PI, Math.PI);
        const [y, x] = [turn.map((v) => scale * Math.sin(v)), turn.map((v) => scale * Math.cos(v))];
        const out = await compute(t, "atan2", 2, y, x, width);
        const wrong = [...out].flatMap((v, i) => {
          const exact = Math.atan2(y[i], x[i]);
          return Math.abs(v - exact) <= (tolerance.ulp + 0.5) * spacing(exact)
            ? []
            : [`atan2(${y[i]}, ${x[i]}) is ${v}, exactly ${exact}`];
        });
        expect(wrong.slice(0, 3)).toEqual([]);
      }
  });

  it("fmod and copysign have the signs that C's have, and fmod is exact", async (context) => {
    const t = await testDevice(context);
    const x = Float32Array.of(7, -7, 7, -7, 5.5, -5.5, 0, -0, 1e30, 3e38, 1, -1);
    const y = Float32Array.of(2, 2, -2, -2, 2, -2, 3, 4, 0.7, 1e-3, -0, 0);
    for (const fn of ["fmod", "copysign"])
      for (const width of [1, 4] as const) {
        const out = await compute(t, fn, 2, x, y, width);
        const want = [...x].map((v, i) => callFunction(fn, "f32", v, y[i]));
        expect([...out], fn).toEqual(want.map(Math.fround));
      }
  });

  it("pow has C's special cases", async (context) => {
    const t = await testDevice(context);
    const pairs: [number, number][] = [
      [2, 10],
      [-2, 3],
      [-2, 2],
      [-2, 0.5],
      [0, 0],
      [0, 2],
      [0, -1],
      [1, 1e30],
      [-1, 5],
      [3, 0],
      [0.5, -3],
      [-3, 0],
      [2, -149],
      [10, 3],
      [1.5, 2],
      [-0.5, 1],
    ];
    const x = Float32Array.from(pairs.map((p) => p[0]));
    const y = Float32Array.from(pairs.map((p) => p[1]));
    for (const width of [1, 4] as const) {
      const out = await compute(t, "pow", 2, x, y, width);
      pairs.forEach(([a, b], i) => {
        const exact = Math.fround(callFunction("pow", "f32", a, Math.fround(b)));
        if (Number.isFinite(exact))
          expect(Math.abs(out[i] - exact), `${a} ** ${b} is ${out[i]}`).toBeLessThanOrEqual(
            64 * spacing(exact),
          );
        else expect(out[i], `${a} ** ${b}`).toBe(exact);
      });
    }
  });

  it("rem and floor_div have the sign of the divisor", async (context) => {
    const t = await testDevice(context);
    const x = Float32Array.of(7, -7, 7, -7, 5.5, -5.5, 0, 1);
    const y = Float32Array.of(2, 2, -2, -2, 2, 2, 3, 4);
    for (const fn of ["rem", "floor_div"]) {
      const out = await compute(t, fn, 2, x, y, 4);
      expect([...out].map((v) => v + 0)).toEqual([...x].map((v, i) => callFunction(fn, "f32", v, y[i]) + 0));
    }
  });

  it("NaN and infinity are told by their bits", async (context) => {
    const t = await testDevice(context);
    const x = Float32Array.of(
      0,
      1,
      -1,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      3e38,
      1e-45,
    );
    for (const fn of ["is_nan", "is_inf", "is_finite"])
      for (const width of [1, 4] as const) {
        const out = await compute(t, fn, 1, x, x, width, true);
        expect([...out], fn).toEqual([...x].map((v) => callFunction(fn, "f32", v)));
      }
  });
});
