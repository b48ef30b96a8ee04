// Arithmetic of indices as kernels do it, against what it means (kernel/interpret.ts): random coordinates with quotients and
// remainders, of one element and of four neighbours, guarded where they may be negative, and loads and stores at them. What
// is computed here is kernel code as data, as devices compute it: in 32 bits, `/` and `%` unsigned.
import { describe, expect, it } from "vitest";
import { wgsl } from "../../compiler/core/backends/wgsl/wgsl.ts";
import { type Dim, dim, evaluate, mul, sym } from "../../compiler/core/dims/dim.ts";
import { createBuilder } from "../../compiler/core/ir/build.ts";
import type { Stmt, X } from "../../compiler/core/kernel/code.ts";
import { variable } from "../../compiler/core/kernel/code.ts";
import { Emitter } from "../../compiler/core/kernel/emitter.ts";
import { callFunction } from "../../compiler/core/kernel/functions.ts";
import { compileScalar } from "../../compiler/core/kernel/interpret.ts";
import { createLowering } from "../../compiler/core/kernel/lowering.ts";
import type { Axis, Scalar } from "../../compiler/core/kernel/scalar.ts";
import { input } from "../../compiler/core/ops/source.ts";
import { randomFrom } from "../support/opcheck.ts";

const SIZES = { N: 3, C: 12 };
const SOME = 1 << 14;

/** What a kernel's statements compute: values of variables, one or four wide. */
class Machine {
  readonly vars = new Map<string, number[]>();
  readonly sizes: Readonly<Record<string, number>>;
  readonly buffers = new Map<string, number[]>();
  constructor(sizes: Readonly<Record<string, number>>) {
    this.sizes = sizes;
  }
  run(list: readonly Stmt[]): void {
    for (const s of list) {
      if (s.k === "let") this.vars.set(s.name, this.value(s.x));
      else if (s.k === "if") {
        if (this.value(s.cond)[0]) this.run(s.body);
      } else if (s.k === "store") {
        const at = this.value(s.index)[0] * s.x.width;
        const to = this.buffers.get(s.buffer.name) ?? [];
        this.buffers.set(s.buffer.name, to);
        for (const [u, v] of this.value(s.x).entries()) to[at + u] = v;
      } else throw new Error(`${s.k} is not for this`);
    }
  }
  value(x: X): number[] {
    const each = (n: number, f: (u: number) => number): number[] => Array.from({ length: n }, (_, u) => f(u));
    switch (x.k) {
      case "var":
        return this.vars.get(x.name) as number[];
      case "lit":
        return [x.value];
      case "uniform":
        return [evaluate(x.slot.dim, this.sizes) | 0];
      case "splat":
        return each(4, () => this.value(x.a)[0]);
      case "vec":
        return x.parts.map((p) => this.value(p)[0]);
      case "part":
        return [this.value(x.a)[x.i]];
      case "load": {
        // What lies at i is i; where there is nothing a device gives what it likes.
        const at = this.value(x.index)[0] * x.width;
        return each(x.width, (u) => (at + u >= 0 && at + u < SOME ? at + u : -7));
      }
      case "bin": {
        const [a, b] = [this.value(x.a), this.value(x.b)];
        return each(x.width, (u) => binary(x.op, a[u], b[u]));
      }
      case "call": {
        const args = x.args.map((q) => this.value(q));
        return each(x.width, (u) => callFunction(x.fn, x.args[0].dtype, ...args.map((q) => q[u])));
      }
      default:
        throw new Error(`${x.k} is not for this`);
    }
  }
}
function binary(op: string, a: number, b: number): number {
  switch (op) {
    case "+":
      return (a + b) | 0;
    case "-":
      return (a - b) | 0;
    case "*":
      return Math.imul(a, b);
    case "/":
      return Math.floor((a >>> 0) / (b >>> 0)) | 0;
    case "%":
      return ((a >>> 0) % (b >>> 0)) | 0;
    case ">>":
      return a >> b;
    case "&":
      return a & b;
    default:
      throw new Error(op);
  }
}

const dense = {
  dtype: "i32" as const,
  shape: [SOME],
  data: Float64Array.from({ length: SOME }, (_, i) => i),
};

describe("indices in kernels", () => {
  it("are what they mean, for one element and for four", () => {
    let shared = 0;
    for (let seed = 0; seed < 150; seed++) {
      const random = randomFrom(seed);
      const int = (n: number): number => Math.floor(random() * n);
      const pick = <T>(list: readonly T[]): T => list[int(list.length)];
      const b = createBuilder();
      const value = b.make(input, [], { name: "x", dtype: "i32", shape: [dim(SOME)] }).node.outs[0];
      const out = b.make(input, [], { name: "y", dtype: "i32", shape: [dim(SOME)] }).node.outs[0];
      const s = createLowering();
      const C = sym("C");
      const size = (): Dim => pick([1, 2, 3, 4, 5, 7, 8, 12, 16, 28, 64, C, sym("N")].map((d) => dim(d)));
      const length = pick([32, 96, 112]);
      const lane = s.axis("i", length);
      const other = s.axis("j", pick([5, 8, 16]));
      const stride = s.opaque("stride", pick([1, 2, 3]));
      /** Never negative. */
      const index = (depth: number): Scalar => {
        const axis = s.axisValue(pick([lane, lane, other]));
        if (depth === 0) return axis;
        const x = index(depth - 1);
        switch (int(7)) {
          case 0:
            return s.idiv(x, size());
          case 1:
            return s.imod(x, size());
          case 2:
            return s.iadd(x, axis, int(5));
          case 3:
            return s.imul(x, pick([1, 2, 4, 8]));
          case 4:
            return s.iadd(s.imul(s.idiv(x, 4), pick([4, 12])), s.imod(axis, 4));
          case 5: {
            // Back to front.
            const d = size();
            return s.iadd(d, -1, s.imul(s.imod(x, d), -1));
          }
          default:
            return s.iadd(s.imul(s.idiv(x, size()), size()), s.imod(x, size()));
        }
      };
      const x = index(1 + int(4));
      // As gradients of strided windows have it: a quotient of what may be negative, where it has no remainder.
      const before = s.iadd(x, -int(9));
      const by = pick([stride, dim(2), dim(3), dim(4)]);
      const quotient = s.idiv(before, by);
      const exact = s.call("eq", s.iadd(before, s.imul(s.imul(quotient, by), -1)), s.const("i32", 0));
      const inside = s.call("and", s.inside(quotient, dim(20)), exact);
      const guarded = s.select(inside, quotient, s.const("i32", -1));
      const address = s.imod(index(2), SOME);
      const i = s.axisValue(lane);
      const place = s.iadd(s.imul(s.imod(i, 8), pick([1, 3])), s.imul(s.idiv(i, 8), 40));
      const read = s.load(value, [address]);
      const roots: Scalar[] = [x, guarded, s.call("add", read, guarded), place];

      for (let point = 0; point < 4; point++) {
        const base = 4 * int(length / 4);
        const j = int(evaluate(other.extent, {}));
        const em = new Emitter(
          s,
          {
            order: () => [0],
            pitch: () => undefined,
            offset: (_s, _v, [only]) => only,
            dtype: (v) => v.type.dtype,
          },
          wgsl.words,
        );
        em.bind(lane, variable("base", "i32"));
        em.bind(other, variable("j", "i32"));
        em.count(roots);
        const wide = roots.map((r) => em.x(r, lane));
        const one = roots.map((r) => em.x(r));
        em.store(out, [place], em.x(x, lane), lane);
        const opaque = Object.fromEntries([...s.opaques].map(([name, d]) => [name, evaluate(d, SIZES)]));
        const m = new Machine({ ...SIZES, ...opaque });
        m.vars.set("base", [base]);
        m.vars.set("j", [j]);
        m.run(em.stack[0].stmts);
        let [values, places]: number[][] = [[], []];
        const axes = new Map<Axis, number>([
          [lane, base],
          [other, j],
        ]);
        roots.forEach((r, n) => {
          const meant = compileScalar(r, { s, sizes: SIZES, data: () => dense }, axes);
          const want = [0, 1, 2, 3].map((u) => {
            axes.set(lane, base + u);
            return meant();
          });
          axes.set(lane, base);
          if (r === x) values = want;
          if (r === place) places = want;
          expect(m.value(one[n])).toEqual([want[0]]);
          const have = m.value(wide[n]);
          if (have.length === 1) shared++;
          expect(
            have.length === 1 ? [0, 1, 2, 3].map(() => have[0]) : have,
            `seed ${seed}, root ${n}`,
          ).toEqual(want);
        });
        const [[, stored]] = m.buffers;
        for (let u = 0; u < 4; u++) expect(stored[places[u]]).toBe(values[u]);
      }
    }
    expect(shared).toBeGreaterThan(100);
  });

  it("are the quotients that they were simplified from", () => {
    let simpler = 0;
    for (let seed = 0; seed < 400; seed++) {
      const random = randomFrom(seed);
      const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)];
      const s = createLowering();
      const sizes = { N: pick([1, 2, 3, 5]), C: pick([1, 3, 4]) };
      const [N, C] = [sym("N"), sym("C")];
      const extents: Dim[] = [
        pick([dim(2), dim(5), N, C]),
        pick([dim(3), dim(4), N, mul(N, C)]),
        pick([dim(8), C]),
      ];
      const axes = extents.map((d, i) => s.axis(`i${i}`, d));
      // The offset of an element, its axes in row-major order or in another one, divided by extents of some of them and more.
      const inner = pick([extents[2], dim(4), dim(8)]);
      const strides = [mul(inner, pick([extents[1], dim(4)])), inner, pick([dim(1), dim(2)])];
      const offset = pick([0, 0, 1, 3]);
      const x = s.isum(
        axes.map((a) => s.axisValue(a)),
        strides,
        offset,
      );
      const by = mul(pick([inner, extents[2], dim(1)]), pick([extents[1], N, C, dim(4), dim(6)]));
      const quotient = s.idiv(x, by);
      const rest = s.imod(x, by);
      if (quotient.kind !== "div" || quotient.arg !== x) simpler++;
      const ends = extents.map((d) => evaluate(d, sizes));
      const at = new Map<Axis, number>();
      const compiled = [quotient, rest].map((r) => compileScalar(r, { s, sizes, data: () => dense }, at));
      for (let point = 0; point < 12; point++) {
        const place = ends.map((n) => Math.floor(random() * n));
        axes.forEach((a, i) => void at.set(a, place[i]));
        const whole = place.reduce((sum, v, i) => sum + v * evaluate(strides[i], sizes), offset);
        const d = evaluate(by, sizes);
        expect(
          compiled.map((f) => f()),
          `seed ${seed}`,
        ).toEqual([Math.floor(whole / d), whole % d]);
      }
    }
    expect(simpler).toBeGreaterThan(50);
  });
});
