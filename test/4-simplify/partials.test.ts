// Folds that are taken in parts: what combines the parts is what the operator says, and nothing else is cut.
import { describe, expect, it } from "vitest";
import { dim } from "../../compiler/core/dims/dim.ts";
import { createBuilder, finishGraph } from "../../compiler/core/ir/build.ts";
import type { ConcreteAttrs, Dense, DType, OpDef, Reduction } from "../../compiler/core/ir/types.ts";
import { sumOp } from "../../compiler/core/ops/axes.ts";
import { allOps } from "../../compiler/core/ops/index.ts";
import { input } from "../../compiler/core/ops/source.ts";
import { splitReductions } from "../../compiler/core/phases/4-simplify/split.ts";
import { dense } from "../../compiler/core/reference/evaluate.ts";

const whole = { axes: [0, 1], keepdims: false };
function run(op: OpDef, x: Dense, attrs: ConcreteAttrs): Dense {
  const [type] = op.infer([{ dtype: x.dtype, shape: x.shape.map((n) => dim(n)) }], attrs as never);
  const shape = type.shape.map((d) => Number(d.key));
  const out = dense(type.dtype, shape, new Array(shape.reduce((a, b) => a * b, 1)).fill(0));
  op.reference?.([x], attrs, [out]);
  return out;
}

describe("reductions in parts", () => {
  const cut = allOps.filter((op) => op.reduction?.combine);
  it("are what the whole is, combined as the operator says", () => {
    expect(cut.map((op) => op.name).sort()).toEqual(["all", "any", "max", "min", "prod", "sum"]);
    for (const op of cut) {
      const dtype: DType = op.name === "any" || op.name === "all" ? "bool" : "f32";
      for (const data of [
        [1, 0, 1, 1, 0, 1],
        [0, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 1, 1],
      ]) {
        const x = dense(dtype, [2, 3], dtype === "bool" ? data : data.map((v, i) => v * 0.5 - i));
        const parts = run(op, x, { axes: [1], keepdims: false });
        const combine = op.reduction?.combine?.() as OpDef;
        expect(Array.from(run(combine, parts, { axes: [0], keepdims: false }).data), op.name).toEqual(
          Array.from(run(op, x, whole).data),
        );
      }
    }
  });

  const split = (op: OpDef): string[] => {
    const b = createBuilder();
    const x = b.make(input, [], { name: "x", dtype: "f32", shape: [dim(1 << 16)] }, "x");
    const y = b.make(op, [x], { axes: [0], keepdims: false });
    const graph = finishGraph({
      name: "f",
      inputs: [x.node],
      results: [{ name: "y", value: y }],
      symbols: [],
    });
    return splitReductions(graph, 32)
      .nodes.map((n) => n.op.name)
      .filter((name) => name !== "input" && name !== "reshape");
  };
  it("go by what an operator says, not by how its attributes are called", () => {
    const squares: OpDef = {
      ...sumOp,
      name: "sum_of_squares",
      reduction: {
        ...(sumOp.reduction as Reduction),
        over: (b, x, axes) => b.make(squares, [x], { axes: [...axes] }),
      },
    };
    const middle: OpDef = { ...sumOp, name: "middle", reduction: undefined };
    expect(split(squares)).toEqual(["sum_of_squares", "sum"]);
    expect(split(middle)).toEqual(["middle"]);
  });
});
