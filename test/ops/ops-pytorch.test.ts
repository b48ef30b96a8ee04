// Single operators where conventions matter, against PyTorch's figures (test/figures/make/operators.py): values, and
// gradients along a direction, of the reference evaluator.
import { describe, expect, it } from "vitest";
import { backward } from "../../compiler/core/autodiff/backward.ts";
import { dim } from "../../compiler/core/dims/dim.ts";
import { createBuilder } from "../../compiler/core/ir/build.ts";
import type { Dense } from "../../compiler/core/ir/types.ts";
import { sum } from "../../compiler/core/ops/axes.ts";
import { isFloat } from "../../compiler/core/ops/define.ts";
import { mul } from "../../compiler/core/ops/elementwise.ts";
import { type Argument, applyOp, opForCall } from "../../compiler/core/ops/index.ts";
import { full, input } from "../../compiler/core/ops/source.ts";
import { dense, evaluate } from "../../compiler/core/reference/evaluate.ts";
import { figure, operand } from "../support/figures.ts";
import { signed } from "../support/hashing.ts";
import { graphOf } from "../support/opcheck.ts";

const figures = figure("operators");

/** Of operands that PyTorch differentiates by, there are gradients. */
const there = new Set(figures.names());
/** Attributes that JSON has no numbers for. */
const INFINITE: ReadonlySet<unknown> = new Set(["Infinity", "-Infinity"]);

describe("operators agree with PyTorch", () => {
  for (const c of figures.info.cases ?? []) {
    it(c.name, () => {
      const op = opForCall(c.op, c.operands.length);
      if (!op) throw new Error(`no operator ${c.op}`);
      const b = createBuilder();
      const data: Record<string, Dense> = {};
      const xs = c.operands.map((how, i) => {
        const name = `${c.name}.${i}`;
        const values = operand(name, how);
        const dtype = how.rule === "literal" ? how.dtype : values instanceof Int32Array ? "i32" : "f32";
        data[name] = dense(dtype, how.shape, values);
        return b.make(input, [], { name, dtype, shape: how.shape.map((n) => dim(n)) });
      });
      const args: Record<string, Argument> = Object.fromEntries(
        Object.entries(c.attrs).map(([k, v]) => [k, INFINITE.has(v) ? Number(v) : v]),
      );
      const tensors = op.params.filter((p) => p.kind === "tensor");
      const list = op.params.find((p) => p.kind === "tensors");
      if (list) args[list.name] = xs;
      else
        xs.forEach((x, i) => {
          args[tensors[i].name] = x;
        });
      const [y, ...others] = applyOp(b, op, args);
      data.direction = dense("f32", c.shape, signed(`${c.name}.direction`, c.shape));
      const direction = b.make(input, [], {
        name: "direction",
        dtype: "f32",
        shape: c.shape.map((n) => dim(n)),
      });
      const one = b.make(full, [], { value: 1, dtype: "f32", shape: [] });
      const wrt = xs.filter((x) => isFloat(x.type.dtype));
      const smooth = isFloat(y.type.dtype);
      const found = smooth ? backward(b, [sum(b, mul(b, y, direction))], [one], wrt) : [];
      const grads = wrt.map(
        (x, i) => found[i] ?? b.make(full, [], { value: 0, dtype: "f32", shape: [...x.type.shape] }),
      );
      const { results } = evaluate(graphOf([...xs, direction], [y, ...grads, ...others]), data);
      expect(results.y0.shape).toEqual(c.shape);
      others.forEach((_, i) => {
        figures.check(`${c.name}/other.${i}`, results[`y${1 + grads.length + i}`].data, {
          rtol: 1e-6,
          atol: 1e-7,
        });
      });
      figures.check(`${c.name}/y`, results.y0.data, { rtol: 1e-6, atol: 1e-7 });
      wrt.forEach((x, i) => {
        if (!smooth || !there.has(`${c.name}/grad.${xs.indexOf(x)}`)) return;
        figures.check(`${c.name}/grad.${xs.indexOf(x)}`, results[`y${i + 1}`].data, {
          rtol: 1e-6,
          atol: 1e-7,
        });
      });
    });
  }
});
