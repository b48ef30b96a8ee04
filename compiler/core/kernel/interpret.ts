// Evaluates scalar expressions by their meaning: what a kernel's arithmetic is held to, without a GPU.
// In: a Scalar, values of its axes, sizes and the data of what it loads. Out: a number (doubles; integers wrap).
// Operators' `lower` is tested with it against their `reference`; a read outside its operand is an error unless the
// expression does not need it.
import { type Dim, evaluate } from "../dims/dim.ts";
import type { Dense, Node, Value } from "../ir/types.ts";
import { callFunction } from "./functions.ts";
import { createLowering, identityOf, type ScalarContext } from "./lowering.ts";
import type { Axis, Combine, Scalar } from "./scalar.ts";

export interface InterpretContext {
  readonly s: ScalarContext;
  readonly sizes: Readonly<Record<string, number>>;
  data(value: Value): Dense;
}

/** The value of `x` as a function of what `axes` holds at the moment. */
export function compileScalar(x: Scalar, c: InterpretContext, axes: Map<Axis, number>): () => number {
  const known = new Map<Scalar, () => number>();
  const opaque = (): Readonly<Record<string, number>> => {
    const all: Record<string, number> = { ...c.sizes };
    for (const [name, d] of c.s.opaques) all[name] = evaluate(d, c.sizes);
    return all;
  };
  const env = opaque();
  const size = (d: Dim): number => evaluate(d, env);
  const go = (y: Scalar): (() => number) => {
    let f = known.get(y);
    if (!f) {
      f = make(y);
      known.set(y, f);
    }
    return f;
  };
  const make = (y: Scalar): (() => number) => {
    switch (y.kind) {
      case "const":
        return () => y.value;
      case "axis":
        return () => {
          const v = axes.get(y.axis);
          if (v === undefined) throw new Error(`axis ${y.axis.name} is not bound`);
          return v;
        };
      case "index": {
        const terms = y.terms.map((t) => ({ coef: size(t.coef), atom: go(t.atom) }));
        const offset = size(y.offset);
        return () => terms.reduce((sum, t) => sum + t.coef * t.atom(), offset) | 0;
      }
      case "div": {
        const arg = go(y.arg);
        const by = size(y.by);
        // As devices do, which take both for unsigned: an operator that divides a negative coordinate must not use the result.
        return () => Math.floor((arg() >>> 0) / by) | 0;
      }
      case "load": {
        const { shape, data } = c.data(y.value);
        const at = y.at.map(go);
        return () => {
          let offset = 0;
          for (let i = 0; i < at.length; i++) {
            const p = at[i]();
            if (p < 0 || p >= shape[i])
              throw new Error(`${y.value.node.op.name} read at ${p} of ${shape[i]} on axis ${i}`);
            offset = offset * shape[i] + p;
          }
          return data[offset];
        };
      }
      case "call": {
        const args = y.args.map(go);
        // Only the chosen side is computed, so that a guarded read stays inside.
        if (y.fn === "select") return () => (args[0]() ? args[1]() : args[2]());
        const { dtype } = y.args[0];
        return () => callFunction(y.fn, dtype, ...args.map((a) => a()));
      }
      case "fold": {
        const body = go(y.body);
        const extents = y.axes.map((a) => size(a.extent));
        return () => {
          let total = identityOf(y.combine, y.dtype);
          eachPoint(y.axes, extents, axes, () => {
            total = combineFunction(y.combine, y, total, body());
          });
          return total;
        };
      }
    }
  };
  return go(x);
}
const combineFunction = (combine: Combine, y: Scalar, a: number, b: number): number =>
  callFunction(combine, y.dtype, a, b);

function eachPoint(
  axes: readonly Axis[],
  extents: readonly number[],
  env: Map<Axis, number>,
  f: () => void,
): void {
  const walk = (i: number): void => {
    if (i === axes.length) {
      f();
      return;
    }
    for (let v = 0; v < extents[i]; v++) {
      env.set(axes[i], v);
      walk(i + 1);
    }
  };
  walk(0);
}

/** All elements of a node's result by its `lower`. */
export function interpretNode(
  node: Node,
  index: number,
  data: (value: Value) => Dense,
  sizes: Readonly<Record<string, number>> = {},
): Float64Array {
  const lower = node.op.lower;
  if (!lower) throw new Error(`${node.op.name} has no lowering`);
  const s = createLowering();
  const { shape } = node.outs[index].type;
  const axes = shape.map((d, i) => s.axis(`i${i}`, d));
  const x = lower(
    s,
    node,
    axes.map((a) => s.axisValue(a)),
    index,
  );
  const env = new Map<Axis, number>(axes.map((a) => [a, 0]));
  const f = compileScalar(x, { s, sizes, data }, env);
  const out: number[] = [];
  eachPoint(
    axes,
    shape.map((d) => evaluate(d, sizes)),
    env,
    () => void out.push(f()),
  );
  return Float64Array.from(out);
}
