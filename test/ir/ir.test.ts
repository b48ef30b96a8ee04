// The data that passes hand on: sizes in normal form, facts about index expressions, graphs as text, the table of size
// expressions, the arena. Properties against brute force; seeds are printed by fast-check.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  add,
  asConst,
  ceilDiv,
  type Dim,
  DimError,
  dim,
  equal,
  evaluate,
  exactQuotient,
  floorDiv,
  literalDivisor,
  max,
  min,
  mod,
  mul,
  neg,
  parseDim,
  print,
  roundUp,
  sub,
  substitute,
  surelyDiffer,
  sym,
  symbols,
} from "../../compiler/core/dims/dim.ts";
import { compile } from "../../compiler/core/index.ts";
import { isGraph } from "../../compiler/core/ir/build.ts";
import { GraphTextError, parseGraph } from "../../compiler/core/ir/parse.ts";
import { printGraph } from "../../compiler/core/ir/print.ts";
import type { Graph } from "../../compiler/core/ir/types.ts";
import { verify } from "../../compiler/core/ir/verify.ts";
import { alignedAt, inRange, strideAlong } from "../../compiler/core/kernel/facts.ts";
import { createLowering, type ScalarContext } from "../../compiler/core/kernel/lowering.ts";
import type { Axis, Scalar } from "../../compiler/core/kernel/scalar.ts";
import { opNamed } from "../../compiler/core/ops/index.ts";
import { ExprTable } from "../../compiler/core/phases/8-plan/exprs.ts";
import { build } from "../../compiler/core/pipeline.ts";
import { evaluate as evaluateGraph } from "../../compiler/core/reference/evaluate.ts";
import { targets as allTargets } from "../../compiler/core/targets.ts";
import { evaluateRow, evaluateRows } from "../../runtime/core/expr.ts";
import { modelOf } from "../support/check.ts";
import { randomFrom } from "../support/opcheck.ts";
import { randomGraph } from "../support/random-graphs.ts";
import { allSources } from "../support/sources.ts";

const NAMES = ["A", "B", "C"] as const;
type Env = Record<string, number>;
const env: fc.Arbitrary<Env> = fc.record({ A: fc.nat(9), B: fc.nat(9), C: fc.nat(300) });

/** A size, and what it means, computed beside it. */
interface Meant {
  readonly d: Dim;
  readonly value: (e: Env) => number;
}
const meant: fc.Arbitrary<Meant> = fc.letrec<{ any: Meant }>((tie) => {
  const two = fc.tuple(tie("any"), tie("any"));
  const literal = fc.integer({ min: -7, max: 12 }).map((n): Meant => ({ d: dim(n), value: () => n }));
  const symbol = fc.constantFrom(...NAMES).map((n): Meant => ({ d: sym(n), value: (e) => e[n] }));
  const op = (f: (x: Dim, y: Dim) => Dim, g: (x: number, y: number) => number): fc.Arbitrary<Meant> =>
    two.map(([x, y]) => ({ d: f(x.d, y.d), value: (e) => g(x.value(e), y.value(e)) }));
  const byLiteral = (
    f: (x: Dim, n: number) => Dim,
    g: (x: number, n: number) => number,
  ): fc.Arbitrary<Meant> =>
    fc
      .tuple(tie("any"), fc.integer({ min: 1, max: 12 }))
      .map(([x, n]) => ({ d: f(x.d, n), value: (e) => g(x.value(e), n) }));
  // A divisor that is no literal is a symbol plus one: never zero.
  const bySymbol = fc.tuple(tie("any"), fc.constantFrom(...NAMES)).map(
    ([x, n]): Meant => ({
      d: floorDiv(x.d, add(sym(n), 1)),
      value: (e) => Math.floor(x.value(e) / (e[n] + 1)),
    }),
  );
  return {
    any: fc.oneof(
      { maxDepth: 4, depthSize: "small" },
      literal,
      symbol,
      op(add, (x, y) => x + y),
      op(sub, (x, y) => x - y),
      op(mul, (x, y) => x * y),
      op(min, Math.min),
      op(max, Math.max),
      byLiteral(floorDiv, (x, n) => Math.floor(x / n)),
      byLiteral(ceilDiv, (x, n) => Math.ceil(x / n)),
      byLiteral(mod, (x, n) => x - n * Math.floor(x / n)),
      byLiteral(roundUp, (x, n) => n * Math.ceil(x / n)),
      bySymbol,
    ),
  };
}).any;
/** -0 is 0 here. */
const same = (a: number, b: number): void => expect(a + 0).toBe(b + 0);

describe("sizes", () => {
  const N = sym("N");
  const M = sym("M");

  it("have one normal form", () => {
    expect(print(add(N, 1, N))).toBe("2 * N + 1");
    expect(equal(mul(add(N, 1), sub(N, 1)), sub(mul(N, N), 1))).toBe(true);
    expect(print(floorDiv(add(mul(2, N), 3), 2))).toBe("N + 1");
    expect(print(floorDiv(add(mul(4, N), 2), 8))).toBe("floor(N / 2)");
    expect(equal(floorDiv(floorDiv(N, 2), 3), floorDiv(N, 6))).toBe(true);
    expect(equal(max(N, M), max(M, N))).toBe(true);
    expect(asConst(sub(max(N, add(N, 2)), N))).toBe(2);
    expect(equal(N, M)).toBe(false);
    expect(surelyDiffer(N, add(N, 1))).toBe(true);
    expect(surelyDiffer(N, M)).toBe(false);
    expect(print(neg(sub(N, M)))).toBe("M - N");
    expect([...symbols(floorDiv(add(N, M), min(N, 3)))].sort()).toEqual(["M", "N"]);
  });
  it("refuse what leaves the exact integers", () => {
    expect(() => dim(0.5)).toThrow(DimError);
    expect(() => mul(2 ** 30, 2 ** 30)).toThrow(DimError);
    expect(() => floorDiv(N, 0)).toThrow(DimError);
    expect(() => evaluate(mul(N, N), { N: 2 ** 40 })).toThrow(DimError);
    expect(() => evaluate(N, {})).toThrow(/N has no value/);
    for (const text of ["", "N +", "floor(N)", "min(N)", "(N", "N M"])
      expect(() => parseDim(text), text).toThrow(DimError);
  });
  it("mean what was written, at any values", () => {
    fc.assert(
      fc.property(meant, env, (m, e) => {
        same(evaluate(m.d, e), m.value(e));
      }),
      { numRuns: 2000 },
    );
  });
  it("are read back from their text", () => {
    fc.assert(
      fc.property(meant, (m) => {
        expect(print(parseDim(print(m.d)))).toBe(print(m.d));
      }),
      { numRuns: 2000 },
    );
  });
  it("may be substituted in part, and then in full", () => {
    fc.assert(
      fc.property(meant, env, fc.subarray([...NAMES]), (m, e, first) => {
        const part = substitute(m.d, (n) => (first.includes(n as "A") ? e[n] : undefined));
        for (const n of symbols(part)) expect(first).not.toContain(n);
        same(evaluate(part, e), m.value(e));
        same(asConst(substitute(m.d, (n) => e[n])) as number, m.value(e));
      }),
      { numRuns: 1000 },
    );
  });
  it("divide exactly only where they do", () => {
    fc.assert(
      fc.property(meant, meant, env, (x, y, e) => {
        const q = exactQuotient(x.d, y.d);
        if (q && y.value(e) !== 0) same(evaluate(q, e) * y.value(e), x.value(e));
        const n = literalDivisor(x.d);
        if (n === 0) same(x.value(e), 0);
        else expect(Math.abs(x.value(e)) % Math.abs(n)).toBe(0);
        const product = exactQuotient(mul(x.d, 6), 3);
        same(evaluate(product as Dim, e), 2 * x.value(e));
      }),
      { numRuns: 1000 },
    );
  });
});

describe("the table of size expressions", () => {
  it("evaluates as the sizes do, in a loop's table as well", () => {
    fc.assert(
      fc.property(
        fc.array(meant, { minLength: 1, maxLength: 6 }),
        fc.array(meant, { maxLength: 6 }),
        env,
        (outer, inner, e) => {
          const table = new ExprTable();
          const ids = outer.map((m) => table.id(m.d));
          const child = table.child();
          const innerIds = inner.map((m) => child.id(m.d));
          const names = new Map(Object.entries(e));
          const own = evaluateRows(table.rows, names, []);
          expect(own.length).toBe(table.rows.length);
          const values = evaluateRows(child.rows, names, own);
          outer.forEach((m, i) => void same(values[ids[i]], m.value(e)));
          inner.forEach((m, i) => void same(values[innerIds[i]], m.value(e)));
          outer.forEach((m, i) => void same(evaluateRow(table.rows, ids[i], names), m.value(e)));
        },
      ),
      { numRuns: 500 },
    );
  });
  it("has each size once", () => {
    const table = new ExprTable();
    const a = table.id(add(mul(sym("N"), 3), 1));
    const before = table.rows.length;
    expect(table.id(add(1, mul(3, sym("N"))))).toBe(a);
    expect(table.rows.length).toBe(before);
  });
});

/** An index expression, the axes in it, and what it means. */
interface Index {
  readonly x: Scalar;
  readonly value: (at: ReadonlyMap<Axis, number>, e: Env) => number;
}
describe("facts about index expressions", () => {
  /** Draws an expression >= 0 over some axes of literal and symbolic extents, as lowerings build them. */
  function draw(random: () => number): { s: ScalarContext; axes: Axis[]; index: Index } {
    const s = createLowering();
    const below = (n: number): number => Math.floor(random() * n);
    const extents = [dim(4), dim(8), dim(3), dim(12), sym("A"), mul(4, sym("A")), dim(1), dim(6)];
    const axes = Array.from({ length: 1 + below(3) }, (_, i) =>
      s.axis(`i${i}`, extents[below(extents.length)]),
    );
    const sizes: readonly (readonly [Dim, (e: Env) => number])[] = [
      [dim(1), () => 1],
      [dim(2), () => 2],
      [dim(4), () => 4],
      [dim(3), () => 3],
      [dim(8), () => 8],
      [dim(12), () => 12],
      [sym("A"), (e) => e.A],
      [mul(4, sym("A")), (e) => 4 * e.A],
      [mul(3, sym("A")), (e) => 3 * e.A],
    ];
    const go = (depth: number): Index => {
      const kind = depth === 0 ? 0 : below(6);
      const [by, n] = sizes[below(sizes.length)];
      switch (kind) {
        case 1:
        case 2: {
          const [p, q] = [go(depth - 1), go(depth - 1)];
          return { x: s.iadd(p.x, q.x), value: (at, e) => p.value(at, e) + q.value(at, e) };
        }
        case 3: {
          const p = go(depth - 1);
          return { x: s.imul(p.x, by), value: (at, e) => p.value(at, e) * n(e) };
        }
        case 4: {
          const p = go(depth - 1);
          return { x: s.idiv(p.x, by), value: (at, e) => Math.floor(p.value(at, e) / n(e)) };
        }
        case 5: {
          const p = go(depth - 1);
          return { x: s.imod(p.x, by), value: (at, e) => p.value(at, e) % n(e) };
        }
        default: {
          const axis = axes[below(axes.length)];
          if (random() < 0.15) return { x: s.dim(by), value: (_at, e) => n(e) };
          return { x: s.axisValue(axis), value: (at) => at.get(axis) as number };
        }
      }
    };
    return { s, axes, index: go(1 + below(4)) };
  }
  /** The value of a built expression. */
  function valueAt(x: Scalar, at: ReadonlyMap<Axis, number>, e: Env): number {
    switch (x.kind) {
      case "axis":
        return at.get(x.axis) as number;
      case "index":
        return x.terms.reduce(
          (sum, t) => sum + evaluate(t.coef, e) * valueAt(t.atom, at, e),
          evaluate(x.offset, e),
        );
      case "div":
        return Math.floor(valueAt(x.arg, at, e) / evaluate(x.by, e));
      default:
        throw new Error(`an index has a ${x.kind}`);
    }
  }
  function everyPoint(axes: readonly Axis[], e: Env, f: (at: Map<Axis, number>) => void): void {
    const at = new Map<Axis, number>();
    const go = (i: number): void => {
      if (i === axes.length) {
        f(at);
        return;
      }
      const n = evaluate(axes[i].extent, e);
      for (let v = 0; v < n; v++) {
        at.set(axes[i], v);
        go(i + 1);
      }
    };
    go(0);
  }
  const ENVS: readonly Env[] = [{ A: 1 }, { A: 2 }, { A: 3 }, { A: 5 }];

  it("hold at every point", () => {
    let proven = 0;
    fc.assert(
      fc.property(fc.integer(), (from) => {
        const { axes, index } = draw(randomFrom(from));
        const { x } = index;
        const bounds = [dim(1), dim(4), dim(8), dim(12), sym("A"), mul(4, sym("A")), dim(100)];
        const within = bounds.filter((b) => inRange(x, b));
        const steps = axes.map((a) => strideAlong(x, a, 4));
        const aligned = axes.map((a) => alignedAt(x, a, 4, 4));
        proven +=
          within.length + steps.filter((q) => q !== undefined).length + aligned.filter(Boolean).length;
        for (const e of ENVS)
          everyPoint(axes, e, (at) => {
            const v = valueAt(x, at, e);
            same(v, index.value(at, e));
            for (const b of within) {
              expect(v).toBeGreaterThanOrEqual(0);
              expect(v).toBeLessThan(evaluate(b, e));
            }
            axes.forEach((a, i) => {
              const p = at.get(a) as number;
              const step = steps[i];
              // Within an aligned group of four.
              if (step && p % 4 !== 3) {
                const next = new Map(at).set(a, p + 1);
                same(valueAt(x, next, e) - v, evaluate(step, e));
              }
              if (aligned[i] && p % 4 === 0) expect(v % 4).toBe(0);
            });
          });
      }),
      { numRuns: 250 },
    );
    expect(proven).toBeGreaterThan(250);
  });
  it("are shown where schedules need them", () => {
    const s = createLowering();
    const [n, c] = [s.axis("n", sym("N")), s.axis("c", 8)];
    const linear = s.iadd(s.imul(s.axisValue(n), 8), s.axisValue(c));
    expect(inRange(linear, mul(8, sym("N")))).toBe(true);
    expect(s.idiv(linear, 8)).toBe(s.axisValue(n));
    // The whole part of a division of a division stays: floor((floor(n / 3) + 2) / 2) is floor(n / 6) + 1.
    const third = s.idiv(s.axisValue(n), 3);
    expect(s.idiv(s.iadd(third, 2), 2)).toBe(s.iadd(s.idiv(s.axisValue(n), 6), 1));
    expect(s.imod(linear, 8)).toBe(s.axisValue(c));
    expect(print(strideAlong(linear, c, 4) as Dim)).toBe("1");
    expect(alignedAt(linear, c, 4, 4)).toBe(true);
    expect(strideAlong(s.idiv(s.axisValue(c), 2), c, 4)).toBeUndefined();
    expect(print(strideAlong(s.idiv(s.axisValue(c), 4), c, 4) as Dim)).toBe("0");
  });
});

describe("graphs as text", () => {
  const roundTrip = (g: Graph, name: string): Graph => {
    const text = printGraph(g);
    const back = parseGraph(text, opNamed);
    expect(printGraph(back), name).toBe(text);
    verify(back, name);
    return back;
  };
  it("are read back: operators and gradients of the author's, after every pass", () => {
    const source = `
op relu2(x: f32) -> f32 { m = max(x, 0); m * m }
grad (g) { g * 2 * max(x, 0) }
op mix(a: f32, b: f32, t: float = 0.5) -> f32 { relu2(a) * t + b * (1 - t) }
grad (g) { (g * t * relu2(b), g * (1 - t)) }
layer Cell(d: int) {
  param weight: f32[d, d] = normal(0.1)
  fn forward(x: f32[B, T, d]) -> f32[B, d] {
    s = scan xt over x axis 1 with s = zeros(B, d) { s = mix(relu2(xt @ weight), s, t = 0.25) }
    mix(s, 1)
  }
}
model M(d: int = 3) {
  cell = Cell(d)
  fn loss(x: f32[B, T, d]) -> f32 { mean(dropout(cell(x), 0.5)) }
  fn ofInput(x: f32[B, T, d]) -> f32[B, T, d] { grad(loss, wrt = x)(x) }
  fn ofParam(x: f32[B, T, d]) -> f32[d, d] { grad(loss, wrt = cell.weight)(x) }
  fn norm(x: f32[B, T, d]) -> f32 { sum(ofParam(x) ** 2) }
  private fn scaled(x: f32[B], y: f32[B]) -> f32 { sum(mix(x, y) * x) }
  fn second(x: f32[B], y: f32[B]) -> f32 { sum(grad(scaled, wrt = x)(x, x * y)) }
  fn twice(x: f32[B]) -> f32[B] { grad(second, wrt = x)(x, x) }
}
train fit for M { minimize loss + norm; with adam(lr = 1e-3); clip norm 1.0 }
train penalised for M { minimize loss; with sgd(lr = 0.1) }`;
    const model = modelOf(source);
    const built = build(model, { targets: allTargets, verify: true, place: () => "" });
    let customs = 0;
    for (const e of model.entries) roundTrip(e.graph, e.name);
    for (const t of model.trains) roundTrip(t.lossGraph, t.name);
    for (const s of built.stages) {
      const back = roundTrip(s.checked, `${s.entry} checked or differentiated`);
      customs += back.nodes.filter((n) => n.op.name === "custom").length;
      roundTrip(s.simplified, `${s.entry} simplified for ${s.target}`);
    }
    expect(customs).toBeGreaterThan(10);
  }, 120_000);
  it("mean the same when read back", () => {
    for (let seed = 1; seed <= 40; seed++) {
      const r = randomGraph(seed, { gradients: true });
      const given = { params: r.params, state: r.state, sizes: r.sizes };
      const back = roundTrip(r.graph, `seed ${seed}`);
      const [a, b] = [r.graph, back].map((g) => evaluateGraph(g, r.inputs, given));
      expect(b.results).toEqual(a.results);
      expect(b.writes).toEqual(a.writes);
    }
  });
  it("say where they cannot be read", () => {
    const good = printGraph(randomGraph(3).graph);
    const bad: readonly (readonly [string, RegExp])[] = [
      [good.replace("graph main", "grph main"), /line 1: expected `graph/],
      [good.replace(/^}$/m, ""), /expected `}`/],
      [good.replace(/ = input\(/, " = inputs("), /line 2: there is no operator inputs/],
      [good.replace(/return y0 = %\d+/, "return y0 = %9999"), /%9999 has no value/],
      [`${good}\nmore`, /expected the end/],
    ];
    for (const [text, message] of bad) {
      expect(() => parseGraph(text, opNamed)).toThrow(GraphTextError);
      expect(() => parseGraph(text, opNamed)).toThrow(message);
    }
  });
  it("hold the bodies of loops", () => {
    const source = allSources().find((f) => f.file === "dsl-examples/lstm.mdl");
    const c = compile(source?.text ?? "", "lstm.mdl", { targets: ["baseline"], entries: ["logits"] });
    const graph = parseGraph(printGraph(c.model.entries[0].graph), opNamed);
    const loops = [graph, ...parsedBodies(graph)].flatMap((g) =>
      g.nodes.filter((n) => n.op.fuses === "control"),
    );
    expect(loops.length).toBeGreaterThan(0);
    for (const n of loops) expect(isGraph(n.attrs.body)).toBe(true);
  });
});
function parsedBodies(g: Graph): Graph[] {
  return g.nodes.flatMap((n) => (isGraph(n.attrs.body) ? [n.attrs.body, ...parsedBodies(n.attrs.body)] : []));
}

describe("what is fused, as text", () => {
  const fused = (body: string, more = ""): string => {
    const source = `model M() {\n${more}\n  fn f${body}\n}`;
    return compile(source, "m.mdl", { targets: ["cpu-subgroup"], verify: true }).emit("fused");
  };
  it("convolution, bias, relu and pool", () => {
    expect(
      fused(
        "(x: f32[N, 4, 8, 8]) -> f32[N, 16, 4, 4] { conv2d(x, w, b, padding = 1) |> relu |> max_pool2d(2) }",
        "  param w: f32[16, 4, 3, 3] = zeros()\n  param b: f32[16] = zeros()",
      ),
    ).toMatchInlineSnapshot(`
      "entry f (cpu-subgroup)
        prepare map { %copy copy } -> w: f32[16, 4, 3, 3] lying as [2, 3, 1, 0]
        contraction { %2 conv2d; %6 add; %7 relu; %8 max_pool2d } -> max_pool2d: f32[N, 16, 4, 4]"
    `);
  });
  it("two convolutions: channels innermost between them, as nobody sees it", () => {
    expect(
      fused(
        "(x: f32[N, 4, 8, 8]) -> f32[N, 8, 8, 8] { conv2d(relu(conv2d(x, v, padding = 1)), w, padding = 1) }",
        "  param v: f32[8, 4, 3, 3] = zeros()\n  param w: f32[8, 8, 3, 3] = zeros()",
      ),
    ).toMatchInlineSnapshot(`
      "entry f (cpu-subgroup)
        prepare map { %copy copy } -> v: f32[8, 4, 3, 3] lying as [2, 3, 1, 0]
        contraction { %2 conv2d; %3 relu } -> relu: f32[N, 8, 8, 8] lying as [0, 2, 3, 1]
        prepare map { %copy copy } -> w: f32[8, 8, 3, 3] lying as [2, 3, 1, 0]
        contraction { %5 conv2d } -> conv2d: f32[N, 8, 8, 8]"
    `);
  });
  it("softmax of a sum", () => {
    expect(fused("(x: f32[N, 10], y: f32[10]) -> f32[N, 10] { softmax(x + y) }")).toMatchInlineSnapshot(`
      "entry f (cpu-subgroup)
        rows { %3 add; %4 max; %5 reshape; %6 stop_gradient; %7 broadcast_to; %8 sub; %9 exp; %10 sum; %11 reshape; %12 broadcast_to; %13 div } -> div: f32[N, 10]"
    `);
  });
});
