// Operators over shapes, axes, broadcasts and attributes drawn at random (fast-check prints seed and counterexample):
// lowering against reference, gradients against finite differences, and the whole again with sizes as symbols.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { evaluate as evaluateDim } from "../../compiler/core/dims/dim.ts";
import type { DType, OpDef, OpExample } from "../../compiler/core/ir/types.ts";
import { opNamed } from "../../compiler/core/ops/index.ts";
import { bindSizes } from "../../compiler/core/reference/evaluate.ts";
import { buildCase, checkGradient, checkLowering, checkTypes, type OpCase } from "../support/opcheck.ts";

const op = (name: string): OpDef => {
  const found = opNamed(name);
  if (!found) throw new Error(`no operator ${name}`);
  return found;
};
const RUNS = 40;
const size = fc.integer({ min: 1, max: 4 });
const shape = (min: number, max: number): fc.Arbitrary<number[]> =>
  fc.array(size, { minLength: min, maxLength: max });
const seed = fc.integer({ min: 1, max: 1 << 30 });
/** All axes of extents above 1. */
const all = (shapes: readonly (readonly number[])[]): number[][] =>
  shapes.map((s) => s.map((n, i) => (n > 1 ? i : -1)).filter((i) => i >= 0));

/** Everything that holds of an example, at literal sizes and with symbols. */
function check(
  name: string,
  example: OpExample,
  from: number,
  how: { gradient?: boolean; symbols?: number[][] } = {},
): void {
  const c = buildCase(op(name), example, from);
  checkTypes(op(name), c);
  checkLowering(c.graph, c.data);
  if (how.gradient !== false && !op(name).noGrad) checkGradient(op(name), c);
  if (!how.symbols) return;
  const s = buildCase(op(name), example, from, how.symbols);
  checkTypes(op(name), s);
  checkLowering(s.graph, s.data);
  if (how.gradient !== false && !op(name).noGrad) checkGradient(op(name), s);
}

describe("element-wise operators broadcast", () => {
  /** Two shapes that broadcast: one, and it with leading axes dropped and some axes 1. */
  const pair = shape(0, 4).chain((s) =>
    fc
      .tuple(
        fc.nat(s.length),
        fc.array(fc.boolean(), { minLength: s.length, maxLength: s.length }),
        fc.boolean(),
      )
      .map(([drop, ones, swap]) => {
        const other = s.map((n, i) => (ones[i] ? 1 : n)).slice(drop);
        return swap ? [other, s] : [s, other];
      }),
  );
  const smooth = ["add", "sub", "mul", "maximum", "minimum"];
  const exact = ["add", "sub", "mul", "floor_div", "rem", "eq", "lt", "ge", "maximum"];
  it("floats", () => {
    fc.assert(
      fc.property(pair, fc.constantFrom(...smooth), seed, (shapes, name, from) => {
        check(name, { shapes }, from, { symbols: all(shapes) });
      }),
      { numRuns: RUNS },
    );
  });
  it("division and powers", () => {
    fc.assert(
      fc.property(pair, fc.constantFrom("div", "pow", "rem"), seed, (shapes, name, from) => {
        check(name, { shapes, range: [0.5, 2] }, from, { gradient: name !== "rem" });
      }),
      { numRuns: RUNS },
    );
  });
  it("integers", () => {
    fc.assert(
      fc.property(
        pair,
        fc.constantFrom(...exact),
        fc.constantFrom<DType>("i32", "u32"),
        seed,
        (shapes, name, t, from) => {
          const range: [number, number] = t === "i32" ? [-2147483648, 2147483647] : [0, 4294967295];
          check(name, { shapes, dtypes: [t, t], range }, from, { gradient: false });
          check(name, { shapes, dtypes: [t, t], range: t === "i32" ? [-3, 3] : [0, 3] }, from, {
            gradient: false,
          });
        },
      ),
      { numRuns: RUNS },
    );
  });
  it("select", () => {
    fc.assert(
      fc.property(pair, seed, ([a, b], from) => {
        check("where", { shapes: [a, b, a], dtypes: ["bool", "f32", "f32"] }, from);
      }),
      { numRuns: RUNS },
    );
  });
});

describe("reductions over any axes", () => {
  const reduction = shape(1, 4).chain((s) =>
    fc.tuple(fc.constant(s), fc.subarray(s.map((_, i) => i)), fc.boolean()),
  );
  const names = ["sum", "mean", "max", "min", "prod", "logsumexp", "var"];
  it("floats", () => {
    fc.assert(
      fc.property(reduction, fc.constantFrom(...names), seed, ([s, axes, keepdims], name, from) => {
        const attrs = {
          axes: axes.map((a) => (a % 2 ? a : a - s.length)),
          keepdims,
          ...(name === "var" ? { correction: 0 } : {}),
        };
        check(name, { shapes: [s], attrs }, from, { symbols: all([s]) });
      }),
      { numRuns: RUNS },
    );
  });
  it("integers and bools", () => {
    fc.assert(
      fc.property(
        reduction,
        fc.constantFrom("sum", "max", "prod", "any", "all", "sum_bool"),
        seed,
        ([s, axes, keepdims], name, from) => {
          const dtype: DType = ["any", "all", "sum_bool"].includes(name) ? "bool" : "i32";
          check(
            name === "sum_bool" ? "sum" : name,
            { shapes: [s], dtypes: [dtype], attrs: { axes, keepdims } },
            from,
            { gradient: false },
          );
        },
      ),
      { numRuns: RUNS },
    );
  });
  it("softmax, argmax, cumsum along one", () => {
    const one = shape(1, 4).chain((s) => fc.tuple(fc.constant(s), fc.nat(s.length - 1)));
    fc.assert(
      fc.property(
        one,
        fc.constantFrom("softmax", "log_softmax", "argmax", "argmin", "cumsum"),
        seed,
        ([s, axis], name, from) => {
          check(name, { shapes: [s], attrs: { axis } }, from, { symbols: all([s]) });
        },
      ),
      { numRuns: RUNS },
    );
  });
});

describe("movement", () => {
  it("reshape between any two shapes of one number of elements", () => {
    // Factors dealt out twice, differently: boundaries agree in some places and not in others.
    const factors = fc.array(fc.integer({ min: 2, max: 3 }), { maxLength: 5 });
    const deal = (fs: number[], cuts: boolean[]): number[] =>
      fs.reduce<number[]>((out, f, i) => {
        if (i === 0 || cuts[i]) out.push(f);
        else out[out.length - 1] *= f;
        return out;
      }, []);
    const flips = fc.array(fc.boolean(), { minLength: 6, maxLength: 6 });
    fc.assert(
      fc.property(factors, flips, flips, fc.nat(3), seed, (fs, a, b, ones, from) => {
        const to = deal(fs, b);
        for (let i = 0; i < ones; i++) to.splice((i * 2) % (to.length + 1), 0, 1);
        check("reshape", { shapes: [deal(fs, a)], attrs: { shape: to } }, from);
      }),
      { numRuns: 2 * RUNS },
    );
  });
  it("transpose", () => {
    const permuted = shape(1, 4).chain((s) =>
      fc.tuple(
        fc.constant(s),
        fc.shuffledSubarray(
          s.map((_, i) => i),
          { minLength: s.length },
        ),
      ),
    );
    fc.assert(
      fc.property(permuted, seed, ([s, perm], from) =>
        check("transpose", { shapes: [s], attrs: { perm } }, from, { symbols: all([s]) }),
      ),
      { numRuns: RUNS },
    );
  });
  it("slice, in both directions", () => {
    const axis = fc.integer({ min: 1, max: 6 }).chain((n) =>
      fc
        .tuple(fc.constant(n), fc.nat(n - 1), fc.constantFrom(1, 2, 3, -1, -2), fc.nat(5))
        .map(([extent, start, step, want]) => {
          const most = step > 0 ? Math.floor((extent - 1 - start) / step) + 1 : Math.floor(start / -step) + 1;
          return { extent, start, step, count: Math.min(want, most) };
        }),
    );
    fc.assert(
      fc.property(fc.array(axis, { minLength: 1, maxLength: 3 }), seed, (axes, from) => {
        const attrs = {
          starts: axes.map((a) => a.start),
          sizes: axes.map((a) => a.count),
          steps: axes.map((a) => a.step),
        };
        check("slice", { shapes: [axes.map((a) => a.extent)], attrs }, from);
      }),
      { numRuns: 2 * RUNS },
    );
  });
  it("pad, also between elements", () => {
    const amount = fc.tuple(fc.nat(2), fc.nat(2), fc.nat(2), size);
    fc.assert(
      fc.property(fc.array(amount, { minLength: 1, maxLength: 3 }), seed, (axes, from) => {
        const shapes = [axes.map((a) => a[3])];
        const attrs = {
          low: axes.map((a) => a[0]),
          high: axes.map((a) => a[1]),
          interior: axes.map((a) => a[2]),
          value: 0.25,
        };
        check("pad", { shapes, attrs }, from, { symbols: all(shapes) });
      }),
      { numRuns: RUNS },
    );
  });
  it("concat and split", () => {
    const parts = shape(1, 3).chain((s) =>
      fc.tuple(fc.constant(s), fc.nat(s.length - 1), fc.array(fc.nat(3), { minLength: 1, maxLength: 4 })),
    );
    fc.assert(
      fc.property(parts, seed, ([s, axis, sizes], from) => {
        const shapes = sizes.map((n) => s.map((d, i) => (i === axis ? n : d)));
        check("concat", { shapes, attrs: { axis } }, from);
        const whole = s.map((d, i) => (i === axis ? sizes.reduce((a, n) => a + n, 0) : d));
        check("split", { shapes: [whole], attrs: { axis, sizes } }, from);
      }),
      { numRuns: RUNS },
    );
  });
});

describe("lookups", () => {
  it("take and gather, with indices outside, too", () => {
    const table = shape(1, 3).chain((s) => fc.tuple(fc.constant(s), fc.nat(s.length - 1), shape(0, 2)));
    fc.assert(
      fc.property(table, seed, ([s, axis, index], from) => {
        const like = s.map((d, i) => (i === axis ? 3 : d));
        // What an index outside reads has no gradient, which differences would not find.
        for (const gradient of [false, true]) {
          const range = gradient ? ([0, s[axis] - 1] as const) : ([-2, 5] as const);
          const common = { dtypes: ["f32", "i32"] as const, attrs: { axis }, range };
          check("take", { shapes: [s, index], ...common }, from, { gradient, symbols: all([s, index]) });
          check("gather", { shapes: [s, like], ...common }, from, { gradient });
        }
      }),
      { numRuns: RUNS },
    );
  });
  it("run-time slices and updates", () => {
    const blocks = fc.array(fc.tuple(size, fc.nat(2)), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(blocks, seed, (axes, from) => {
        const block = axes.map((a) => a[0]);
        const whole = axes.map((a) => a[0] + a[1]);
        const starts = axes.map((): number[] => []);
        const ints = axes.map((): DType => "i32");
        check(
          "slice_at",
          { shapes: [whole, ...starts], dtypes: ["f32", ...ints], attrs: { sizes: block }, range: [-2, 4] },
          from,
        );
        check(
          "update",
          { shapes: [whole, block, ...starts], dtypes: ["f32", "f32", ...ints], range: [-2, 4] },
          from,
        );
      }),
      { numRuns: RUNS },
    );
  });
});

describe("contractions", () => {
  it("matmul of any ranks", () => {
    const operands = fc.tuple(
      size,
      size,
      size,
      shape(0, 2),
      fc.nat(2),
      fc.nat(2),
      fc.boolean(),
      fc.boolean(),
    );
    fc.assert(
      fc.property(operands, seed, ([m, k, n, batch, dropX, dropY, vectorX, vectorY], from) => {
        const x = vectorX ? [k] : [...batch.slice(Math.min(dropX, batch.length)), m, k];
        const y = vectorY ? [k] : [...batch.slice(Math.min(dropY, batch.length)), k, n];
        check("matmul", { shapes: [x, y] }, from, { symbols: all([x, y]) });
      }),
      { numRuns: RUNS },
    );
  });

  interface Axis2 {
    readonly kernel: number;
    readonly stride: number;
    readonly dilation: number;
    readonly low: number;
    readonly high: number;
    readonly extent: number;
  }
  const along: fc.Arbitrary<Axis2> = fc
    .record({
      kernel: fc.integer({ min: 1, max: 3 }),
      stride: fc.integer({ min: 1, max: 3 }),
      dilation: fc.integer({ min: 1, max: 3 }),
      low: fc.nat(2),
      high: fc.nat(2),
      extra: fc.nat(4),
    })
    .map(({ extra, ...a }) => ({
      ...a,
      extent: Math.max(1, (a.kernel - 1) * a.dilation + 1 - a.low - a.high) + extra,
    }));

  it("conv2d with any stride, padding, dilation and groups, and its gradients", () => {
    fc.assert(
      fc.property(
        along,
        along,
        fc.integer({ min: 1, max: 2 }),
        fc.integer({ min: 1, max: 2 }),
        fc.constantFrom(1, 2),
        seed,
        (h, w, cin, cout, groups, from) => {
          const shapes = [
            [2, cin * groups, h.extent, w.extent],
            [cout * groups, cin, h.kernel, w.kernel],
          ];
          const attrs = {
            stride: [h.stride, w.stride],
            dilation: [h.dilation, w.dilation],
            padding: [h.low, w.low],
            padding_high: [h.high, w.high],
            groups,
          };
          const symbols = [[0, 2, 3].filter((i) => shapes[0][i] > 1), []];
          check("conv2d", { shapes, attrs }, from, { symbols });
        },
      ),
      { numRuns: RUNS },
    );
  });
  it("conv2d has second derivatives at any stride", () => {
    fc.assert(
      fc.property(along, along, seed, (h, w, from) => {
        const shapes = [
          [1, 1, h.extent, w.extent],
          [2, 1, h.kernel, w.kernel],
        ];
        const attrs = {
          stride: [h.stride, w.stride],
          dilation: [h.dilation, w.dilation],
          padding: [h.low, w.low],
          padding_high: [h.high, w.high],
        };
        const c: OpCase = buildCase(op("conv2d"), { shapes, attrs }, from);
        checkGradient(op("conv2d"), c, { order: 2, rtol: 1e-4, atol: 1e-6 });
      }),
      { numRuns: RUNS / 2 },
    );
  });
  it("pools with any window", () => {
    const window = fc
      .record({
        kernel: fc.integer({ min: 1, max: 3 }),
        stride: fc.integer({ min: 1, max: 4 }),
        dilation: fc.integer({ min: 1, max: 2 }),
        half: fc.boolean(),
        extra: fc.nat(4),
      })
      .map((a) => {
        // A window with nothing but padding in it has no largest element.
        const padding = a.half ? Math.floor(a.kernel / 2) : 0;
        return {
          ...a,
          padding,
          extent: (a.kernel - 1) * a.dilation + 1 + a.extra,
        };
      });
    fc.assert(
      fc.property(
        window,
        window,
        fc.boolean(),
        fc.constantFrom("max_pool2d", "avg_pool2d", "sum_pool2d"),
        fc.boolean(),
        seed,
        (h, w, ceil_mode, name, include, from) => {
          const average = name === "avg_pool2d";
          const extent = (a: typeof h): number =>
            average ? Math.max(1, a.kernel - 2 * a.padding) + a.extra : a.extent;
          const attrs = {
            kernel: [h.kernel, w.kernel],
            stride: [h.stride, w.stride],
            padding: [h.padding, w.padding],
            ceil_mode,
            ...(average ? { count_include_pad: include } : { dilation: [h.dilation, w.dilation] }),
          };
          const shapes = [[1, 2, extent(h), extent(w)]];
          check(name, { shapes, attrs }, from, {
            symbols: [[2, 3].filter((i) => shapes[0][i] > 1)],
          });
        },
      ),
      { numRuns: RUNS },
    );
  });
});

describe("sizes as symbols", () => {
  it("become the same sizes at the call", () => {
    const c = buildCase(
      op("conv2d"),
      {
        shapes: [
          [2, 3, 7, 5],
          [4, 3, 3, 3],
        ],
        attrs: { stride: 2, padding: 1 },
      },
      1,
      [[0, 2, 3]],
    );
    const sizes = bindSizes(c.graph, c.data);
    expect(sizes).toEqual({ S2: 2, S7: 7, S5: 5 });
    expect(c.outs[0].type.shape.map((d) => evaluateDim(d, sizes))).toEqual([2, 4, 4, 3]);
  });
});
