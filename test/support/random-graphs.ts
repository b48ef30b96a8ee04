// Random small graphs, for passes and kernels to be tried on. In: a seed. Out: a graph over inputs, parameters and state,
// with data for them. Values stay small, so that single precision can be told from wrong.

import { backward } from "../../compiler/core/autodiff/backward.ts";
import {
  asConst,
  type Dim,
  dim,
  evaluate as evaluateDim,
  floorDiv,
  mul,
  sym,
} from "../../compiler/core/dims/dim.ts";
import { createBuilder, finishGraph } from "../../compiler/core/ir/build.ts";
import type { Dense, DType, Graph, Node, Value } from "../../compiler/core/ir/types.ts";
import { type Argument, applyOp, opNamed } from "../../compiler/core/ops/index.ts";
import { full, input, iota, param, size, state } from "../../compiler/core/ops/source.ts";
import { drawDense, randomFrom, TAME } from "./opcheck.ts";

export interface RandomGraph {
  readonly graph: Graph;
  readonly inputs: Readonly<Record<string, Dense>>;
  readonly params: Readonly<Record<string, Dense>>;
  readonly state: Readonly<Record<string, Dense>>;
  readonly sizes: Readonly<Record<string, number>>;
}

export interface RandomOptions {
  /** Nodes asked for; composites count once. */
  readonly steps?: number;
  /** Whether results may be gradients. */
  readonly gradients?: boolean;
  /** The size of symbol N; drawn without it. */
  readonly n?: number;
}

export function randomGraph(seed: number, options: RandomOptions = {}): RandomGraph {
  const random = randomFrom(seed * 7919 + 13);
  const below = (n: number): number => Math.floor(random() * n);
  const pick = <T>(list: readonly T[]): T => list[below(list.length)];
  const chance = (p: number): boolean => random() < p;
  const b = createBuilder();
  const inputs: Record<string, Dense> = {};
  const params: Record<string, Dense> = {};
  const stored: Record<string, Dense> = {};
  const sizes = { N: options.n ?? pick([1, 2, 3, 5, 8]) };
  /** Known only at the call, most of the time. */
  const N = chance(0.75) ? sym("N") : dim(sizes.N);
  const concrete = (shape: readonly Dim[]): number[] => shape.map((d) => evaluateDim(d, sizes));
  const count = (v: Value): number => concrete(v.type.shape).reduce((a, x) => a * x, 1);
  const sources: Node[] = [];
  /** Multiples of an eighth half of the time: sums and products of these are exact, so that ties are ties. */
  const grainy = chance(0.5);
  const data = (dtype: DType, shape: readonly Dim[], range?: readonly [number, number]): Dense => {
    const d = drawDense(dtype, concrete(shape), random, range ?? (dtype === "f32" ? [-1, 1] : undefined));
    return dtype === "f32" && grainy
      ? { ...d, data: d.data.map((x) => Math.round(x * 8) / 8) }
      : { ...d, data: d.data.map((x) => Math.fround(x)) };
  };
  const op = (name: string, args: Readonly<Record<string, Argument>>): Value => {
    const def = opNamed(name);
    if (!def) throw new Error(`no operator ${name}`);
    return applyOp(b, def, args)[0];
  };
  const makeInput = (dtype: DType, shape: readonly Dim[], range?: readonly [number, number]): Value => {
    const name = `x${Object.keys(inputs).length}`;
    inputs[name] = data(dtype, shape, range);
    const v = b.make(input, [], { name, dtype, shape });
    sources.push(v.node);
    return v;
  };
  const makeParam = (shape: readonly Dim[]): Value => {
    const path = `p${Object.keys(params).length}`;
    params[path] = data("f32", shape);
    return b.make(param, [], { path, dtype: "f32", shape });
  };
  const makeState = (shape: readonly Dim[]): Value => {
    const path = `s${Object.keys(stored).length}`;
    stored[path] = data("f32", shape);
    return b.make(state, [], { path, dtype: "f32", shape });
  };

  const literalSizes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 17, 20];
  const randomShape = (): Dim[] => {
    const rank = pick([1, 2, 2, 3, 3, 4, 4, 5]);
    const most = rank >= 4 ? 8 : 20;
    const shape: Dim[] = Array.from({ length: rank }, () => dim(pick(literalSizes.filter((n) => n <= most))));
    if (sources.length === 0 || chance(0.6)) shape[rank === 4 ? pick([0, 0, 0, 2, 3]) : below(rank)] = N;
    return shape;
  };
  const values: Value[] = [makeInput("f32", randomShape())];
  if (chance(0.5)) values.push(makeInput("f32", chance(0.5) ? values[0].type.shape : randomShape()));
  if (chance(0.2)) values.push(makeState([...randomShape().map((d) => dim(asConst(d) ?? 4))]));

  /** Prefers young values: depth finds more than breadth. */
  const some = (test: (v: Value) => boolean = () => true): Value | undefined => {
    const list = values.filter((v) => v.type.dtype === "f32" && test(v));
    if (list.length === 0) return undefined;
    return chance(0.6) ? list[Math.max(0, list.length - 1 - below(3))] : pick(list);
  };
  const axesOf = (v: Value): number[] => v.type.shape.map((_, i) => i);
  const subset = (list: readonly number[]): number[] => {
    const out = list.filter(() => chance(0.5));
    return out.length > 0 ? out : [pick(list)];
  };
  /** A value that broadcasts to `v`'s shape. */
  const companion = (v: Value): Value | number => {
    const same = values.filter(
      (w) =>
        w !== v &&
        w.type.dtype === "f32" &&
        w.type.shape.length === v.type.shape.length &&
        w.type.shape.every((d, i) => d.key === v.type.shape[i].key),
    );
    if (same.length > 0 && chance(0.6)) return pick(same);
    if (chance(0.25)) return pick([2, 0.5, -1, 0, 1]);
    const fits = values.filter((w) => {
      if (w.type.dtype !== "f32" || w.type.shape.length > v.type.shape.length) return false;
      const off = v.type.shape.length - w.type.shape.length;
      return w.type.shape.every((d, i) => d.key === "1" || d.key === v.type.shape[i + off].key);
    });
    if (fits.length > 0 && chance(0.5)) return pick(fits);
    const literal = v.type.shape.every((d) => asConst(d) !== undefined);
    const tail = v.type.shape
      .slice(below(v.type.shape.length + 1))
      .map((d) => (asConst(d) === undefined || chance(0.3) ? dim(1) : d));
    return literal && chance(0.2) ? makeState(v.type.shape) : makeParam(tail);
  };
  const scaled = (v: Value, by: number): Value => op("mul", { x: v, y: by });

  type Step = () => Value | undefined;
  const steps: readonly (readonly [number, Step])[] = [
    [
      3,
      () => {
        const x = some();
        return x && op(pick(TAME), { x });
      },
    ],
    [
      1,
      () => {
        const x = some();
        return x && op(pick(["exp", "square", "expm1"]), { x: op("tanh", { x }) });
      },
    ],
    [
      1,
      () => {
        const x = some();
        return (
          x &&
          op(pick(["sqrt", "rsqrt", "log", "reciprocal", "log1p"]), {
            x: op("add", { x: op("abs", { x }), y: 0.5 }),
          })
        );
      },
    ],
    [
      4,
      () => {
        const x = some();
        return (
          x &&
          op(
            pick(["add", "sub", "mul", "maximum", "minimum"]),
            chance(0.5) ? { x, y: companion(x) } : { y: x, x: companion(x) },
          )
        );
      },
    ],
    [
      1,
      () => {
        const x = some();
        if (!x) return undefined;
        const y = companion(x);
        const condition = op(pick(["lt", "ge", "gt"]), { x, y });
        return op("where", { condition, x: chance(0.5) ? op("neg", { x }) : x, y: chance(0.5) ? 0.25 : x });
      },
    ],
    [
      3,
      () => {
        const x = some((v) => v.type.shape.length > 0);
        return (
          x &&
          op(pick(["sum", "mean", "max", "min", "mean", "logsumexp"]), {
            x,
            axes: subset(axesOf(x)),
            keepdims: chance(0.5),
          })
        );
      },
    ],
    [
      1,
      () => {
        const x = some((v) => v.type.shape.length > 0);
        return x && op("var", { x, axes: subset(axesOf(x)), keepdims: chance(0.7), correction: 0 });
      },
    ],
    [
      1,
      () => {
        const x = some((v) => v.type.shape.length > 0);
        if (!x) return undefined;
        const axes = subset(axesOf(x));
        const [m, v] = applyOp(b, opNamed("moments")!, { x, axes, keepdims: true });
        return op("mul", { x: op("sub", { x, y: m }), y: op("rsqrt", { x: op("add", { x: v, y: 0.1 }) }) });
      },
    ],
    [
      2,
      () => {
        const x = some((v) => v.type.shape.length > 0);
        return x && op(pick(["softmax", "log_softmax"]), { x, axis: below(x.type.shape.length) });
      },
    ],
    [
      1,
      () => {
        const x = some((v) => v.type.shape.length > 0 && asConst(v.type.shape.at(-1)!) !== undefined);
        if (!x) return undefined;
        const last = [x.type.shape.at(-1)!];
        return op("layer_norm", {
          x,
          weight: chance(0.7) ? makeParam(last) : undefined,
          ...(chance(0.5) ? { weight: makeParam(last), bias: makeParam(last) } : {}),
          eps: 0.1,
        });
      },
    ],
    [
      3,
      () => {
        const x = some((v) => v.type.shape.length >= 1 && asConst(v.type.shape.at(-1)!) !== undefined);
        if (!x) return undefined;
        const k = x.type.shape.at(-1)!;
        const w = makeParam([k, dim(pick([1, 3, 4, 5, 8, 12, 33]))]);
        const y = op("matmul", { x, y: w });
        return scaled(chance(0.6) ? op("add", { x: y, y: makeParam([w.type.shape[1]]) }) : y, 0.5);
      },
    ],
    [
      1,
      () => {
        // Contractions of activations with activations, also with themselves.
        const x = some((v) => v.type.shape.length >= 2);
        if (!x) return undefined;
        const rank = x.type.shape.length;
        const perm = [...axesOf(x).slice(0, rank - 2), rank - 1, rank - 2];
        const y = chance(0.5) ? x : op("tanh", { x });
        return scaled(
          chance(0.5)
            ? op("matmul", { x, y: op("transpose", { x: y, perm }) })
            : op("matmul", { x: op("transpose", { x, perm }), y }),
          0.25,
        );
      },
    ],
    [
      1,
      () => {
        // q, k, v: several contractions of one operand.
        const x = some((v) => v.type.shape.length >= 2 && asConst(v.type.shape.at(-1)!) !== undefined);
        if (!x) return undefined;
        const k = x.type.shape.at(-1)!;
        const m = pick([3, 4, 8]);
        const bias = chance(0.5);
        const [p, q] = [0, 1].map(() => {
          const y = op("matmul", { x, y: makeParam([k, dim(m)]) });
          return bias ? op("add", { x: y, y: makeParam([dim(m)]) }) : y;
        });
        return op("tanh", { x: op(pick(["mul", "add"]), { x: p, y: q }) });
      },
    ],
    [
      3,
      () => {
        const x = some((v) => v.type.shape.length === 4 && asConst(v.type.shape[1]) !== undefined);
        if (!x) return undefined;
        const c = asConst(x.type.shape[1])!;
        const [, , h, w] = concrete(x.type.shape);
        const groups = chance(0.25) ? pick([1, 2, 3, 4].filter((g) => c % g === 0)) : 1;
        const kernel = [Math.min(pick([1, 2, 3]), h), Math.min(pick([1, 2, 3]), w)];
        const symbolic = x.type.shape.slice(2).some((d) => asConst(d) === undefined);
        const padding = symbolic ? kernel.map((n) => (n % 2 === 1 ? (n - 1) / 2 : 0)) : [below(3), below(3)];
        const weight = makeParam([
          dim(groups * pick([1, 2, 3, 4, 8])),
          dim(c / groups),
          dim(kernel[0]),
          dim(kernel[1]),
        ]);
        const stride = symbolic ? 1 : pick([1, 1, 2, [2, 1]]);
        let y = op("conv2d", {
          x,
          weight,
          padding,
          stride,
          groups,
          ...(chance(0.5) ? { bias: makeParam([weight.type.shape[0]]) } : {}),
        });
        const channel = [dim(1), weight.type.shape[0], dim(1), dim(1)];
        if (chance(0.4))
          y = op("add", { x: op("mul", { x: y, y: makeParam(channel) }), y: makeParam(channel) });
        if (chance(0.4)) y = op("relu", { x: y });
        return scaled(y, 0.5);
      },
    ],
    [
      2,
      () => {
        const x = some(
          (v) =>
            v.type.shape.length === 4 &&
            v.type.shape.slice(2).every((d) => asConst(d) !== undefined) &&
            concrete(v.type.shape)
              .slice(2)
              .every((n) => n >= 2),
        );
        if (!x) return undefined;
        const kernel = chance(0.7) ? [2, 2] : [2, 1];
        const stride = chance(0.7) ? kernel : [1, 1];
        return op(pick(["max_pool2d", "avg_pool2d", "max_pool2d"]), {
          x,
          kernel,
          stride,
          padding: chance(0.2) ? [1, 0] : [0, 0],
        });
      },
    ],
    [
      1,
      () => {
        const x = some((v) => v.type.shape.length >= 2);
        if (!x) return undefined;
        const at = below(x.type.shape.length - 1);
        const shape = [
          ...x.type.shape.slice(0, at),
          mul(x.type.shape[at], x.type.shape[at + 1]),
          ...x.type.shape.slice(at + 2),
        ];
        return op("reshape", { x, shape });
      },
    ],
    [
      1,
      () => {
        const x = some(
          (v) => v.type.shape.some((d) => (asConst(d) ?? 1) % 2 === 0) && v.type.shape.length <= 4,
        );
        if (!x) return undefined;
        const at = x.type.shape.findIndex((d) => (asConst(d) ?? 1) % 2 === 0);
        return op("reshape", {
          x,
          shape: [
            ...x.type.shape.slice(0, at),
            floorDiv(x.type.shape[at], 2),
            dim(2),
            ...x.type.shape.slice(at + 1),
          ],
        });
      },
    ],
    [
      2,
      () => {
        const x = some((v) => v.type.shape.length >= 2);
        if (!x) return undefined;
        const perm = axesOf(x);
        for (let i = perm.length - 1; i > 0; i--) {
          const j = below(i + 1);
          [perm[i], perm[j]] = [perm[j], perm[i]];
        }
        return op("transpose", { x, perm });
      },
    ],
    [
      1,
      () => {
        const x = some((v) => v.type.shape.some((d) => (asConst(d) ?? 0) >= 2));
        if (!x) return undefined;
        const at = x.type.shape.findIndex((d) => (asConst(d) ?? 0) >= 2);
        const n = asConst(x.type.shape[at])!;
        const starts = x.type.shape.map(() => 0);
        const steps_ = x.type.shape.map(() => 1);
        const counts: Dim[] = [...x.type.shape];
        const way = below(3);
        if (way === 0) {
          starts[at] = below(n - 1);
          counts[at] = dim(1 + below(n - starts[at]));
        } else if (way === 1) {
          steps_[at] = 2;
          counts[at] = dim(Math.ceil(n / 2));
        } else {
          steps_[at] = -1;
          starts[at] = n - 1;
        }
        return op("slice", { x, starts, sizes: counts, steps: steps_ });
      },
    ],
    [
      1,
      () => {
        const x = some((v) => v.type.shape.length > 0);
        if (!x) return undefined;
        const low = axesOf(x).map(() => below(3));
        const high = axesOf(x).map(() => below(2));
        return op("pad", { x, low, high, value: pick([0, 0, 0.5]) });
      },
    ],
    [
      1,
      () => {
        const x = some((v) => v.type.shape.length > 0);
        if (!x) return undefined;
        const axis = below(x.type.shape.length);
        const others = values.filter(
          (w) =>
            w.type.dtype === "f32" &&
            w.type.shape.length === x.type.shape.length &&
            w.type.shape.every((d, i) => i === axis || d.key === x.type.shape[i].key),
        );
        return chance(0.8)
          ? op("concat", { xs: [x, pick(others)], axis })
          : op("stack", { xs: [x, op("neg", { x })], axis });
      },
    ],
    [
      1,
      () => {
        const x = some((v) => v.type.shape.length >= 1 && v.type.shape.length <= 4);
        if (!x) return undefined;
        const y = op("unsqueeze", { x, axes: [below(x.type.shape.length + 1)] });
        return op("broadcast_to", {
          x: y,
          shape: y.type.shape.map((d) => (d.key === "1" ? dim(pick([2, 3])) : d)),
        });
      },
    ],
    [
      1,
      () => {
        const x = some((v) => v.type.shape.length > 0 && v.type.shape.length <= 3);
        if (!x) return undefined;
        const axis = below(x.type.shape.length);
        const index = makeInput("i32", [chance(0.5) ? N : dim(pick([1, 4, 6]))], [-1, 4]);
        return op("take", { x, index, axis });
      },
    ],
    [
      1,
      () => {
        const x = some((v) => v.type.shape.length > 0 && v.type.shape.length <= 3);
        return x && scaled(op("cumsum", { x, axis: below(x.type.shape.length), reverse: chance(0.5) }), 0.3);
      },
    ],
    [
      1,
      () => {
        const x = some((v) => v.type.shape.length > 0 && v.type.shape.length <= 3);
        if (!x) return undefined;
        const a = op(pick(["argmax", "argmin"]), { x, axis: below(x.type.shape.length), keepdims: true });
        return scaled(op("add", { x: op("cast", { x: a, dtype: "f32" }), y: scaled(x, 0.125) }), 0.25);
      },
    ],
    [
      1,
      () => {
        const x = some((v) => v.type.shape.length > 0);
        if (!x) return undefined;
        const ramp = op("cast", {
          x: b.make(iota, [], { extent: x.type.shape.at(-1)!, dtype: "i32" }),
          dtype: "f32",
        });
        const n = op("cast", { x: b.make(size, [], { dim: N }), dtype: "f32" });
        return op("mul", {
          x,
          y: op("reciprocal", { x: op("add", { x: op("add", { x: ramp, y: n }), y: 1 }) }),
        });
      },
    ],
    [
      1,
      () => {
        const x = some((v) => v.type.shape.length >= 1 && v.type.shape.every((d) => (asConst(d) ?? 0) >= 1));
        if (!x) return undefined;
        const at = x.type.shape.map((_, i) => (i === 0 ? makeInput("i32", [], [-1, 4]) : 0));
        const block = x.type.shape.map((d) => Math.ceil(asConst(d)! / 2));
        if (chance(0.5)) return op("slice_at", { x, at, sizes: block });
        const part = op("slice", { x: op("neg", { x }), starts: x.type.shape.map(() => 0), sizes: block });
        return op("update", { x, block: part, at });
      },
    ],
    [
      1,
      () => {
        const q = some((v) => v.type.shape.length === 4);
        if (!q) return undefined;
        return op("attention", {
          q,
          k: op("tanh", { x: q }),
          v: chance(0.5) ? q : op("neg", { x: q }),
          causal: chance(0.5),
          scale: 0.4,
        });
      },
    ],
  ];
  const total = steps.reduce((n, [w]) => n + w, 0);
  const wanted = options.steps ?? 3 + below(9);
  for (let made = 0, tries = 0; made < wanted && tries < 100; tries++) {
    let at = random() * total;
    let chosen = 0;
    while (chosen < steps.length - 1 && at >= steps[chosen][0]) at -= steps[chosen++][0];
    const [, step] = steps[chosen];
    const v = step();
    if (v?.type.dtype !== "f32" || v.type.shape.length > 6 || count(v) > 6000) continue;
    values.push(v);
    made++;
  }

  // Results: the youngest and some others; writes: state of a literal shape, read before or not.
  const results: { name: string; value: Value }[] = [{ name: "y0", value: values[values.length - 1] }];
  for (const v of values.slice(0, -1))
    if (chance(0.12)) results.push({ name: `y${results.length}`, value: v });
  if (options.gradients && chance(0.5)) {
    const y = results[0].value;
    const wrt = [...new Set(values[0].node.op === input ? [values[0]] : []), ...paramsOf(y)];
    const one = b.make(full, [], {
      value: 1 / Math.max(1, count(y)),
      dtype: "f32",
      shape: [...y.type.shape],
    });
    for (const g of backward(b, [y], [one], wrt))
      if (g) results.push({ name: `y${results.length}`, value: g });
  }
  const writes: { path: string; value: Value }[] = [];
  for (const path of Object.keys(stored)) {
    const s = b.make(state, [], { path, dtype: "f32", shape: stored[path].shape.map((n) => dim(n)) });
    const same = values.filter(
      (v) =>
        v.type.dtype === "f32" &&
        v.type.shape.length === s.type.shape.length &&
        v.type.shape.every((d, k) => d.key === s.type.shape[k].key),
    );
    if (chance(0.8))
      writes.push({
        path,
        value: pick([
          () => pick(same.length > 0 ? same : [s]),
          () => op("add", { x: s, y: 1 }),
          () => op("mul", { x: pick(same.length > 0 ? same : [s]), y: s }),
        ])(),
      });
  }
  if (chance(0.15)) {
    const v = some((x) => x.type.shape.every((d) => asConst(d) !== undefined));
    if (v) {
      const path = `s${Object.keys(stored).length}`;
      stored[path] = data("f32", v.type.shape);
      writes.push({ path, value: v });
    }
  }
  const graph = finishGraph({
    name: "main",
    inputs: sources,
    results,
    writes,
    symbols: usedSymbols(sources),
    constraints: b.constraints,
  });
  const used = (all: Record<string, Dense>): Record<string, Dense> =>
    Object.fromEntries(
      Object.entries(all).filter(
        ([path]) => writes.some((w) => w.path === path) || graph.nodes.some((n) => n.attrs.path === path),
      ),
    );
  return { graph, inputs, params: used(params), state: used(stored), sizes };
}

/** The parameters a value is made from. */
function paramsOf(v: Value): Value[] {
  const out = new Set<Value>();
  const seen = new Set<Node>();
  const visit = (n: Node): void => {
    if (seen.has(n)) return;
    seen.add(n);
    if (n.op === param) out.add(n.outs[0]);
    for (const i of n.inputs) visit(i.node);
  };
  visit(v.node);
  return [...out];
}
const usedSymbols = (inputs: readonly Node[]): string[] =>
  inputs.some((n) => n.outs[0].type.shape.some((d) => asConst(d) === undefined)) ? ["N"] : [];
