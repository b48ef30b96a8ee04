// What computing is said to take (kernel/work.ts): each operation by its function's row, folds as often as they combine.
import { describe, expect, it } from "vitest";
import { add, dim, evaluate, mul, roughly, sym } from "../../compiler/core/dims/dim.ts";
import { createBuilder } from "../../compiler/core/ir/build.ts";
import type { OpDef } from "../../compiler/core/ir/types.ts";
import { DEAR, functionCost, functionNames } from "../../compiler/core/kernel/functions.ts";
import { isolated } from "../../compiler/core/kernel/values.ts";
import { workOf } from "../../compiler/core/kernel/work.ts";
import { applyOp, opNamed } from "../../compiler/core/ops/index.ts";
import { input } from "../../compiler/core/ops/source.ts";

const N = sym("N");
const work = (op: string, shapes: readonly (readonly (number | typeof N)[])[], attrs = {}): number => {
  const b = createBuilder();
  const xs = shapes.map((shape, i) =>
    b.make(input, [], { name: `x${i}`, dtype: "f32", shape: shape.map((d) => dim(d)) }),
  );
  const def = opNamed(op) as OpDef;
  const names = def.params.filter((p) => p.kind === "tensor").map((p) => p.name);
  const [y] = applyOp(b, def, { ...Object.fromEntries(xs.map((x, i) => [names[i], x])), ...attrs });
  return evaluate(workOf([isolated(y.node).x]), { N: 100 });
};

describe("the work of an expression", () => {
  it("is its loads and calls", () => {
    expect(work("add", [[N], [N]])).toBe(3);
    expect(work("exp", [[N]])).toBe(1 + functionCost("exp"));
  });
  it("counts a fold's body for each of its points", () => {
    // A load, and the sum it goes into.
    expect(work("sum", [[4, N]], { axes: [1] })).toBe(100 * 2);
    // Two loads, a product, a sum.
    expect(
      work("dot", [
        [3, N],
        [N, 2],
      ]),
    ).toBe(100 * 4);
    expect(
      work("conv2d", [
        [1, 2, 5, 5],
        [3, 2, 3, 3],
      ]),
    ).toBe(2 * 3 * 3 * 4);
    expect(work("max_pool3d", [[1, 2, 4, 4, 4]], { kernel: [2, 1, 2] })).toBe(4 * 2);
  });
  it("is told roughly", () => {
    expect([1, 3, 5, 100].map((n) => roughly(dim(n)).key)).toEqual(["1", "4", "4", "128"]);
    expect(roughly(add(mul(N, N, 100), mul(N, 7), 3)).key).toBe("128 * N * N");
    expect(roughly(0).key).toBe("0");
  });
});

it("every scalar function has a cost, and transcendental ones are dear", () => {
  for (const name of functionNames) expect(functionCost(name), name).toBeGreaterThan(0);
  expect(functionNames.filter((name) => functionCost(name) >= DEAR)).toEqual(
    expect.arrayContaining(["exp", "log", "tanh", "sqrt", "pow", "threefry_a"]),
  );
  expect(functionCost("cast_i32")).toBe(1);
});
